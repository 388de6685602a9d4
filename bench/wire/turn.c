/*
 * TURN messages: RFC 8656 sections 12.4 and 18, RFC 6062 section 6.2. They are STUN messages with further attributes;
 * channel data is a format of its own.
 */
#include <errno.h>
#include <openssl/evp.h>

#include "bench/wire/internal.h"

/* ---- messages -------------------------------------------------------------------------------- */

static int read_u32(const uint8_t *value, size_t len, bool *has, uint32_t *out)
{
    if (len != 4)
        return -EBADMSG;
    if (!*has)
        *out = wire_load32(value);
    *has = true;
    return 0;
}

/* CHANNEL-NUMBER: the number, then two bytes of zeros (RFC 8656, 18.1). */
static int read_channel(const uint8_t *value, size_t len, struct wire_turn *out)
{
    if (len != 4)
        return -EBADMSG;
    if (!out->has_channel)
        out->channel = wire_load16(value);
    out->has_channel = true;
    return 0;
}

static int read_transport(const uint8_t *value, size_t len, struct wire_turn *out)
{
    if (len != 4)
        return -EBADMSG;
    if (!out->transport)
        out->transport = value[0];
    return 0;
}

static int read_text(const uint8_t *value, size_t len, const char **text, size_t *text_len)
{
    if (len > WIRE_TURN_TEXT_MAX)
        return -EBADMSG;
    if (!*text) {
        *text = (const char *)value;
        *text_len = len;
    }
    return 0;
}

static void read_data(const uint8_t *value, size_t len, struct wire_turn *out)
{
    if (out->data)
        return;
    out->data = value;
    out->data_len = len;
}

/* -ENOENT: none of TURN's. */
static int read_attr(uint16_t type, const uint8_t *value, size_t len, struct wire_turn *out)
{
    switch (type) {
    case WIRE_TURN_CHANNEL_NUMBER:
        return read_channel(value, len, out);
    case WIRE_TURN_LIFETIME:
        return read_u32(value, len, &out->has_lifetime, &out->lifetime_s);
    case WIRE_TURN_CONNECTION_ID:
        return read_u32(value, len, &out->has_connection, &out->connection);
    case WIRE_TURN_XOR_PEER_ADDRESS:
        return wire_stun_read_address(value, len, out->stun.txid, &out->peer);
    case WIRE_TURN_XOR_RELAYED_ADDRESS:
        return wire_stun_read_address(value, len, out->stun.txid, &out->relayed);
    case WIRE_TURN_REQUESTED_TRANSPORT:
        return read_transport(value, len, out);
    case WIRE_TURN_DATA_ATTR:
        read_data(value, len, out);
        return 0;
    case WIRE_STUN_USERNAME:
        return read_text(value, len, &out->username, &out->username_len);
    case WIRE_STUN_REALM:
        return read_text(value, len, &out->realm, &out->realm_len);
    case WIRE_STUN_NONCE:
        return read_text(value, len, &out->nonce, &out->nonce_len);
    case WIRE_TURN_REQUESTED_ADDRESS_FAMILY:
    case WIRE_TURN_EVEN_PORT:
    case WIRE_TURN_DONT_FRAGMENT:
    case WIRE_TURN_RESERVATION_TOKEN:
        return 0; /* known; nothing follows from them at a client */
    default:
        return -ENOENT;
    }
}

static void forget_unknown(struct wire_stun *stun, uint16_t type)
{
    size_t kept = 0;
    for (size_t i = 0; i < stun->n_unknown; i++)
        if (stun->unknown[i] != type)
            stun->unknown[kept++] = stun->unknown[i];
    stun->n_unknown = kept;
}

int wire_turn_decode(const uint8_t *buf, size_t len, struct wire_turn *out)
{
    memset(out, 0, sizeof(*out));
    int err = wire_stun_decode(buf, len, &out->stun);
    if (err < 0)
        return err;
    /* It is whole, and every attribute fits. What follows MESSAGE-INTEGRITY nobody vouches for. */
    const uint8_t *end = out->stun.integrity ? out->stun.integrity - WIRE_STUN_ATTR_HEADER : buf + len;
    for (const uint8_t *at = buf + WIRE_STUN_HEADER_LEN; at < end;) {
        uint16_t type = wire_load16(at);
        size_t value_len = wire_load16(at + 2);
        err = read_attr(type, at + WIRE_STUN_ATTR_HEADER, value_len, out);
        if (err == 0)
            forget_unknown(&out->stun, type);
        else if (err != -ENOENT)
            return err;
        at += WIRE_STUN_ATTR_HEADER + wire_stun_padded(value_len);
    }
    return 0;
}

int wire_turn_key(const char *user, const char *realm, size_t realm_len, const char *password,
                  uint8_t out[WIRE_TURN_KEY_LEN])
{
    unsigned len = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) && EVP_DigestUpdate(ctx, user, strlen(user)) &&
              EVP_DigestUpdate(ctx, ":", 1) && EVP_DigestUpdate(ctx, realm, realm_len) &&
              EVP_DigestUpdate(ctx, ":", 1) && EVP_DigestUpdate(ctx, password, strlen(password)) &&
              EVP_DigestFinal_ex(ctx, out, &len) && len == WIRE_TURN_KEY_LEN;
    EVP_MD_CTX_free(ctx);
    return ok ? 0 : -ENOTSUP;
}

/* ---- channel data ---------------------------------------------------------------------------- */

/*
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-------------------------------+-------------------------------+
 * |        channel number         |   length of data, unpadded    |
 * +-------------------------------+-------------------------------+
 * |                             data                              |
 */

static bool is_channel(uint16_t number)
{
    return number >= WIRE_TURN_CHANNEL_MIN && number <= WIRE_TURN_CHANNEL_MAX;
}

int wire_turn_channel_encode(uint16_t channel, const void *data, size_t len, bool tcp, uint8_t *buf, size_t cap)
{
    size_t whole = WIRE_TURN_CHANNEL_HEADER + (tcp ? wire_stun_padded(len) : len);
    if (len > UINT16_MAX || whole > cap || !is_channel(channel))
        return -ENOSPC;
    wire_store16(buf, channel);
    wire_store16(buf + 2, (uint16_t)len);
    wire_copy(buf + WIRE_TURN_CHANNEL_HEADER, data, len);
    memset(buf + WIRE_TURN_CHANNEL_HEADER + len, 0, whole - WIRE_TURN_CHANNEL_HEADER - len);
    return (int)whole;
}

int wire_turn_channel_decode(const uint8_t *buf, size_t len, uint16_t *channel, const uint8_t **data, size_t *data_len)
{
    if (len < WIRE_TURN_CHANNEL_HEADER || !is_channel(wire_load16(buf)))
        return -EBADMSG;
    size_t n = wire_load16(buf + 2);
    if (n > len - WIRE_TURN_CHANNEL_HEADER || len - WIRE_TURN_CHANNEL_HEADER - n > 3)
        return -EBADMSG;
    *channel = wire_load16(buf);
    *data = buf + WIRE_TURN_CHANNEL_HEADER;
    *data_len = n;
    return 0;
}

int wire_turn_stream_len(const uint8_t *buf, size_t len)
{
    if (len < WIRE_TURN_CHANNEL_HEADER)
        return len > 0 && buf[0] > 3 && (buf[0] & 0xF0) != 0x40 ? -EBADMSG : -EAGAIN;
    size_t body = wire_load16(buf + 2);
    if (is_channel(wire_load16(buf)))
        return (int)(WIRE_TURN_CHANNEL_HEADER + wire_stun_padded(body));
    if (buf[0] > 3 || body % 4 != 0 || (len >= 8 && wire_load32(buf + 4) != WIRE_STUN_COOKIE))
        return -EBADMSG;
    return (int)(WIRE_STUN_HEADER_LEN + body);
}
