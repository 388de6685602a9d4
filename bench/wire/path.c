/* Path messages: the keyed proof that two peers exchange on a new path. */
#include <errno.h>

#include "bench/wire/internal.h"

/* Everything in front of the MAC. */
#define PATH_HEADER (WIRE_PATH_LEN - WIRE_MAC_LEN)

static void path_mac(const struct wire_path_keys *keys, enum wire_role role, const uint8_t header[PATH_HEADER],
                     uint8_t out[WIRE_MAC_LEN])
{
    static const char label[] = "punchbench path";
    uint8_t text[sizeof(label) + 1 + 2 * WIRE_NONCE_LEN + PATH_HEADER];
    uint8_t mac[WIRE_SHA256_LEN];
    uint8_t *p = text + sizeof(label);
    memcpy(text, label, sizeof(label));
    *p++ = (uint8_t)role; /* nobody's proof can be sent back to him */
    memcpy(p, keys->nonce_a, WIRE_NONCE_LEN);
    memcpy(p + WIRE_NONCE_LEN, keys->nonce_b, WIRE_NONCE_LEN);
    memcpy(p + 2 * WIRE_NONCE_LEN, header, PATH_HEADER);
    wire_hmac_sha256(keys->key, WIRE_KEY_LEN, text, sizeof(text), mac);
    memcpy(out, mac, WIRE_MAC_LEN);
}

void wire_path_encode(const struct wire_path_keys *keys, enum wire_role role, const struct wire_path_msg *msg,
                      uint8_t out[WIRE_PATH_LEN])
{
    out[0] = WIRE_PATH_MAGIC;
    out[1] = msg->flags;
    wire_store16(out + 2, msg->data_len);
    wire_store32(out + 4, msg->trial);
    wire_store64(out + 8, msg->path_id);
    wire_store64(out + 16, msg->peer_path_id);
    path_mac(keys, role, out, out + PATH_HEADER);
}

int wire_path_decode(const struct wire_path_keys *keys, enum wire_role role, const uint8_t *buf, size_t len,
                     struct wire_path_msg *out)
{
    if (len > 0 && buf[0] != WIRE_PATH_MAGIC)
        return -EBADMSG;
    if (len < WIRE_PATH_LEN)
        return -EAGAIN;
    struct wire_path_msg msg = {
        .flags = buf[1],
        .data_len = wire_load16(buf + 2),
        .trial = wire_load32(buf + 4),
        .path_id = wire_load64(buf + 8),
        .peer_path_id = wire_load64(buf + 16),
    };
    if (msg.data_len > WIRE_PATH_MAX_DATA || (msg.data_len && !(msg.flags & (WIRE_PATH_DATA | WIRE_PATH_MEASURE))))
        return -EBADMSG;
    /* The trial number is no secret, and looking at it first saves a MAC for what an earlier trial left in flight. */
    if (msg.trial != keys->trial)
        return -EACCES;
    uint8_t mac[WIRE_MAC_LEN];
    path_mac(keys, role, buf, mac);
    if (!wire_mac_equal(mac, buf + PATH_HEADER, WIRE_MAC_LEN))
        return -EACCES;
    *out = msg;
    return 0;
}
