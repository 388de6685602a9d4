/* STUN messages: RFC 8489 sections 5 and 14, RFC 5780 section 7. */
#include <errno.h>

#include "bench/wire/internal.h"

/*
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+---------------------------+-------------------------------+
 * |0 0| M11..M7 C1 M6..M4 C0 M3..M0 |       length (no header)      |
 * +-+-+---------------------------+-------------------------------+
 * |                   magic cookie 0x2112A442                     |
 * +---------------------------------------------------------------+
 * |                  transaction id (96 bits)                     |
 * +---------------------------------------------------------------+
 *
 * followed by attributes {type u16, length u16, value, padding to 4 bytes}.
 */
#define ATTR_HEADER      WIRE_STUN_ATTR_HEADER
#define INTEGRITY_LEN    WIRE_SHA1_LEN
#define FINGERPRINT_LEN  4
#define FINGERPRINT_XOR  0x5354554eu /* "STUN", RFC 8489 14.7 */
#define FAMILY_IPV4      0x01
#define FAMILY_IPV6      0x02
#define COMPREHEND_LIMIT 0x8000 /* below it, an attribute must be understood */
/* RFC 8489, 14.8: an ERROR-CODE's reason is shorter than 128 characters, at most 763 bytes. */
#define REASON_MAX 763

/* Attributes of RFC 8489 that are understood as far as that nothing follows from them here. */
enum { USERHASH = 0x001E, PASSWORD_ALGORITHM = 0x001D, INTEGRITY_SHA256 = 0x001C };

/* CRC-32 of ITU V.42, by nibbles: sixteen words instead of a table of 1 KB for messages of a hundred bytes. */
static uint32_t crc32_of(const uint8_t *p, size_t len)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        crc = crc >> 4 ^ table[(crc ^ p[i]) & 15];
        crc = crc >> 4 ^ table[(crc ^ (uint32_t)p[i] >> 4) & 15];
    }
    return ~crc;
}

/* ---- decoding -------------------------------------------------------------------------------- */

int wire_stun_frame_len(const uint8_t *buf, size_t len)
{
    if (len > 0 && buf[0] & 0xC0)
        return -EBADMSG;
    if (len < WIRE_STUN_HEADER_LEN)
        return -EAGAIN;
    size_t whole = WIRE_STUN_HEADER_LEN + (size_t)wire_load16(buf + 2);
    if (whole % 4 != 0 || whole > WIRE_STUN_MAX_LEN || wire_load32(buf + 4) != WIRE_STUN_COOKIE)
        return -EBADMSG;
    return (int)whole;
}

/* XOR with the cookie and the transaction id, which follow each other in the header (RFC 8489, 14.2). */
static void xor_address(uint8_t *addr, size_t len, const uint8_t txid[WIRE_STUN_TXID_LEN])
{
    uint8_t key[4 + WIRE_STUN_TXID_LEN];
    wire_store32(key, WIRE_STUN_COOKIE);
    memcpy(key + 4, txid, WIRE_STUN_TXID_LEN);
    for (size_t i = 0; i < len; i++)
        addr[i] ^= key[i];
}

int wire_stun_read_address(const uint8_t *value, size_t len, const uint8_t *txid, union base_ep *out)
{
    uint8_t addr[16];
    bool v4 = len == 8 && value[1] == FAMILY_IPV4, v6 = len == 20 && value[1] == FAMILY_IPV6;
    if (!v4 && !v6)
        return -EBADMSG;
    uint16_t port = wire_load16(value + 2);
    memcpy(addr, value + 4, len - 4);
    if (txid) {
        port ^= WIRE_STUN_COOKIE >> 16;
        xor_address(addr, len - 4, txid);
    }
    if (!base_ep_is_set(out))
        *out = base_ep_from_bytes(v4 ? AF_INET : AF_INET6, addr, port);
    return 0;
}

static int read_error(const uint8_t *value, size_t len, struct wire_stun *out)
{
    if (len < 4 || len - 4 > REASON_MAX)
        return -EBADMSG;
    unsigned hundreds = value[2] & 7, number = value[3];
    if (hundreds < 3 || hundreds > 6 || number > 99)
        return -EBADMSG;
    if (out->error_code)
        return 0;
    out->error_code = (uint16_t)(hundreds * 100 + number);
    out->reason = (const char *)value + 4;
    out->reason_len = len - 4;
    return 0;
}

static int read_change_request(const uint8_t *value, size_t len, struct wire_stun *out)
{
    if (len != 4)
        return -EBADMSG;
    if (!out->has_change_request)
        out->change_request = wire_load32(value) & (WIRE_STUN_CHANGE_IP | WIRE_STUN_CHANGE_PORT);
    out->has_change_request = true;
    return 0;
}

static int read_response_port(const uint8_t *value, size_t len, struct wire_stun *out)
{
    /* RFC 5780, 7.5 counts the two bytes of padding or does not, depending on how one reads it. */
    if (len != 2 && len != 4)
        return -EBADMSG;
    if (!out->has_response_port)
        out->response_port = wire_load16(value);
    out->has_response_port = true;
    return 0;
}

static void read_unknown(uint16_t type, struct wire_stun *out)
{
    if (type >= COMPREHEND_LIMIT || out->n_unknown == WIRE_STUN_MAX_UNKNOWN)
        return;
    for (size_t i = 0; i < out->n_unknown; i++)
        if (out->unknown[i] == type)
            return;
    out->unknown[out->n_unknown++] = type;
}

/* Every attribute but the two that guard the message. */
static int read_attr(uint16_t type, const uint8_t *value, size_t len, struct wire_stun *out)
{
    switch (type) {
    case WIRE_STUN_MAPPED_ADDRESS:
        return wire_stun_read_address(value, len, NULL, &out->mapped);
    case WIRE_STUN_XOR_MAPPED_ADDRESS:
        return wire_stun_read_address(value, len, out->txid, &out->xor_mapped);
    case WIRE_STUN_OTHER_ADDRESS:
        return wire_stun_read_address(value, len, NULL, &out->other);
    case WIRE_STUN_RESPONSE_ORIGIN:
        return wire_stun_read_address(value, len, NULL, &out->origin);
    case WIRE_STUN_ERROR_CODE:
        return read_error(value, len, out);
    case WIRE_STUN_CHANGE_REQUEST:
        return read_change_request(value, len, out);
    case WIRE_STUN_RESPONSE_PORT:
        return read_response_port(value, len, out);
    case WIRE_STUN_PADDING:
        out->padding_len = len;
        return 0;
    case WIRE_STUN_DELAY:
        if (len != WIRE_STUN_DELAY_LEN)
            return -EBADMSG;
        out->has_delay = true;
        out->delay_ms = wire_load16(value);
        return 0;
    case WIRE_STUN_SOFTWARE:
        out->software = (const char *)value;
        out->software_len = len;
        return 0;
    case WIRE_STUN_USERNAME:
    case WIRE_STUN_UNKNOWN_ATTRIBUTES:
    case WIRE_STUN_REALM:
    case WIRE_STUN_NONCE:
    case WIRE_STUN_PRIORITY:
    case USERHASH:
    case PASSWORD_ALGORITHM:
    case INTEGRITY_SHA256:
        return 0;
    default:
        read_unknown(type, out);
        return 0;
    }
}

/* FINGERPRINT covers all in front of it, with the length field as it stands (RFC 8489, 14.7). */
static int read_fingerprint(const uint8_t *buf, size_t len, size_t at, size_t value_len, struct wire_stun *out)
{
    if (value_len != FINGERPRINT_LEN || at + ATTR_HEADER + FINGERPRINT_LEN != len)
        return -EBADMSG;
    if (wire_load32(buf + at + ATTR_HEADER) != (crc32_of(buf, at) ^ FINGERPRINT_XOR))
        return -EBADMSG;
    out->has_fingerprint = true;
    return 0;
}

static int read_attrs(const uint8_t *buf, size_t len, struct wire_stun *out)
{
    size_t at = WIRE_STUN_HEADER_LEN;
    while (at < len) {
        if (len - at < ATTR_HEADER)
            return -EBADMSG;
        uint16_t type = wire_load16(buf + at);
        size_t value_len = wire_load16(buf + at + 2);
        const uint8_t *value = buf + at + ATTR_HEADER;
        int err = 0;
        if (wire_stun_padded(value_len) > len - at - ATTR_HEADER)
            return -EBADMSG;
        if (type == WIRE_STUN_FINGERPRINT)
            err = read_fingerprint(buf, len, at, value_len, out);
        else if (type == WIRE_STUN_MESSAGE_INTEGRITY && value_len != INTEGRITY_LEN)
            err = -EBADMSG;
        else if (type == WIRE_STUN_MESSAGE_INTEGRITY && !out->integrity)
            out->integrity = value;
        else if (!out->integrity) /* nobody vouches for what follows it (RFC 8489, 14.5) */
            err = read_attr(type, value, value_len, out);
        if (err < 0)
            return err;
        at += ATTR_HEADER + wire_stun_padded(value_len);
    }
    return 0;
}

int wire_stun_decode(const uint8_t *buf, size_t len, struct wire_stun *out)
{
    int whole = wire_stun_frame_len(buf, len);
    if (whole < 0 || (size_t)whole != len)
        return -EBADMSG;
    memset(out, 0, sizeof(*out));
    unsigned type = wire_load16(buf);
    out->cls = (enum wire_stun_class)((type >> 4 & 1) | (type >> 7 & 2));
    out->method = (uint16_t)((type & 0x000F) | (type >> 1 & 0x0070) | (type >> 2 & 0x0F80));
    memcpy(out->txid, buf + 8, WIRE_STUN_TXID_LEN);
    return read_attrs(buf, len, out);
}

/* HMAC over the first `len` bytes, with the length field as if MESSAGE-INTEGRITY were the end (RFC 8489, 14.5). */
static void integrity_of(const uint8_t *buf, size_t len, const uint8_t *key, size_t key_len, uint8_t out[INTEGRITY_LEN])
{
    uint8_t copy[WIRE_STUN_MAX_LEN];
    memcpy(copy, buf, len);
    wire_store16(copy + 2, (uint16_t)(len + ATTR_HEADER + INTEGRITY_LEN - WIRE_STUN_HEADER_LEN));
    wire_hmac_sha1(key, key_len, copy, len, out);
}

bool wire_stun_check_integrity(const uint8_t *buf, size_t len, const struct wire_stun *msg, const uint8_t *key,
                               size_t key_len)
{
    uint8_t mac[INTEGRITY_LEN];
    if (!msg->integrity || len > WIRE_STUN_MAX_LEN)
        return false;
    integrity_of(buf, (size_t)(msg->integrity - buf) - ATTR_HEADER, key, key_len, mac);
    return wire_mac_equal(mac, msg->integrity, INTEGRITY_LEN);
}

/* ---- encoding -------------------------------------------------------------------------------- */

void wire_stun_begin(struct wire_stun_writer *w, uint8_t *buf, size_t cap, enum wire_stun_class cls, uint16_t method,
                     const uint8_t txid[WIRE_STUN_TXID_LEN])
{
    unsigned c = cls, m = method;
    *w = (struct wire_stun_writer){.buf = buf, .cap = cap < WIRE_STUN_MAX_LEN ? cap : WIRE_STUN_MAX_LEN};
    if (w->cap < WIRE_STUN_HEADER_LEN) {
        w->overflow = true;
        return;
    }
    wire_store16(buf, (uint16_t)((m & 0x000F) | (m & 0x0070) << 1 | (m & 0x0F80) << 2 | (c & 1) << 4 | (c & 2) << 7));
    wire_store16(buf + 2, 0);
    wire_store32(buf + 4, WIRE_STUN_COOKIE);
    memcpy(buf + 8, txid, WIRE_STUN_TXID_LEN);
    w->len = WIRE_STUN_HEADER_LEN;
}

/* Room for an attribute of len bytes, its header and padding written; NULL when there is none. */
static uint8_t *reserve_attr(struct wire_stun_writer *w, uint16_t attr, size_t len)
{
    if (w->overflow || len > w->cap || wire_stun_padded(len) + ATTR_HEADER > w->cap - w->len) {
        w->overflow = true;
        return NULL;
    }
    uint8_t *p = w->buf + w->len;
    wire_store16(p, attr);
    wire_store16(p + 2, (uint16_t)len);
    memset(p + ATTR_HEADER + len, 0, wire_stun_padded(len) - len);
    w->len += ATTR_HEADER + wire_stun_padded(len);
    return p + ATTR_HEADER;
}

void wire_stun_put(struct wire_stun_writer *w, uint16_t attr, const void *value, size_t len)
{
    uint8_t *p = reserve_attr(w, attr, len);
    if (p)
        wire_copy(p, value, len);
}

void wire_stun_put_u32(struct wire_stun_writer *w, uint16_t attr, uint32_t value)
{
    uint8_t bytes[4];
    wire_store32(bytes, value);
    wire_stun_put(w, attr, bytes, sizeof(bytes));
}

void wire_stun_put_address(struct wire_stun_writer *w, uint16_t attr, const union base_ep *ep)
{
    size_t len;
    const uint8_t *addr = base_ep_bytes(ep, &len);
    bool mask = attr == WIRE_STUN_XOR_MAPPED_ADDRESS || attr == WIRE_TURN_XOR_PEER_ADDRESS ||
                attr == WIRE_TURN_XOR_RELAYED_ADDRESS;
    uint8_t *p = len ? reserve_attr(w, attr, 4 + len) : NULL;
    if (!p)
        return;
    p[0] = 0;
    p[1] = len == 4 ? FAMILY_IPV4 : FAMILY_IPV6;
    wire_store16(p + 2, (uint16_t)(base_ep_port(ep) ^ (mask ? WIRE_STUN_COOKIE >> 16 : 0)));
    memcpy(p + 4, addr, len);
    if (mask)
        xor_address(p + 4, len, w->buf + 8);
}

void wire_stun_put_error(struct wire_stun_writer *w, uint16_t code, const char *reason)
{
    size_t len = strnlen(reason, REASON_MAX);
    uint8_t *p = reserve_attr(w, WIRE_STUN_ERROR_CODE, 4 + len);
    if (!p)
        return;
    wire_store16(p, 0);
    p[2] = (uint8_t)(code / 100);
    p[3] = (uint8_t)(code % 100);
    wire_copy(p + 4, reason, len);
}

void wire_stun_put_unknown(struct wire_stun_writer *w, const uint16_t *attrs, size_t n)
{
    uint8_t *p = reserve_attr(w, WIRE_STUN_UNKNOWN_ATTRIBUTES, 2 * n);
    for (size_t i = 0; p && i < n; i++)
        wire_store16(p + 2 * i, attrs[i]);
}

void wire_stun_put_integrity(struct wire_stun_writer *w, const uint8_t *key, size_t key_len)
{
    size_t at = w->len;
    uint8_t *p = reserve_attr(w, WIRE_STUN_MESSAGE_INTEGRITY, INTEGRITY_LEN);
    if (p)
        integrity_of(w->buf, at, key, key_len, p);
}

int wire_stun_end(struct wire_stun_writer *w, bool fingerprint)
{
    size_t at = w->len;
    uint8_t *p = fingerprint ? reserve_attr(w, WIRE_STUN_FINGERPRINT, FINGERPRINT_LEN) : NULL;
    if (w->overflow)
        return -ENOSPC;
    wire_store16(w->buf + 2, (uint16_t)(w->len - WIRE_STUN_HEADER_LEN));
    if (p)
        wire_store32(p, crc32_of(w->buf, at) ^ FINGERPRINT_XOR);
    return (int)w->len;
}
