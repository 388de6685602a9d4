/* Control frames: fields in a masked body. */
#include <errno.h>

#include "bench/wire/internal.h"

#define FIELD_HEADER 6 /* id u16, length u32 */
#define MASK_AT      8
/* An endpoint is its port and 4 or 16 bytes of address. */
#define EP_V4_LEN 6
#define EP_V6_LEN 18

/* XORs with the mask's four bytes in turn, by words: bodies reach 256 KB. */
static void mask_body(uint8_t *body, size_t len, const uint8_t mask[4])
{
    uint64_t wide, word;
    size_t i = 0;
    memcpy(&wide, mask, 4);
    memcpy((uint8_t *)&wide + 4, mask, 4);
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, body + i, 8);
        word ^= wide;
        memcpy(body + i, &word, 8);
    }
    for (; i < len; i++)
        body[i] ^= mask[i & 3];
}

/* ---- writing --------------------------------------------------------------------------------- */

void wire_fields_begin(struct wire_writer *w, uint8_t *buf, size_t cap)
{
    *w = (struct wire_writer){.buf = buf, .cap = cap < WIRE_FRAME_MAX ? cap : WIRE_FRAME_MAX};
}

void wire_frame_begin(struct wire_writer *w, uint8_t *buf, size_t cap, enum wire_frame_type type)
{
    wire_fields_begin(w, buf, cap);
    if (w->cap < WIRE_FRAME_HEADER) {
        w->overflow = true;
        return;
    }
    buf[0] = WIRE_FRAME_MAGIC;
    buf[1] = (uint8_t)type;
    wire_store16(buf + 2, WIRE_FRAME_VERSION);
    w->len = WIRE_FRAME_HEADER;
    w->type = type;
}

static uint8_t *reserve_field(struct wire_writer *w, uint16_t field, size_t len)
{
    if (w->overflow || w->cap - w->len < FIELD_HEADER || len > w->cap - w->len - FIELD_HEADER) {
        w->overflow = true;
        return NULL;
    }
    uint8_t *p = w->buf + w->len;
    wire_store16(p, field);
    wire_store32(p + 2, (uint32_t)len);
    w->len += FIELD_HEADER + len;
    return p + FIELD_HEADER;
}

void wire_put_u64(struct wire_writer *w, uint16_t field, uint64_t value)
{
    uint8_t *p = reserve_field(w, field, 8);
    if (p)
        wire_store64(p, value);
}

void wire_put_bytes(struct wire_writer *w, uint16_t field, const void *value, size_t len)
{
    uint8_t *p = reserve_field(w, field, len);
    if (p)
        wire_copy(p, value, len);
}

void wire_put_text(struct wire_writer *w, uint16_t field, const char *text)
{
    wire_put_bytes(w, field, text, strlen(text));
}

void wire_put_ep(struct wire_writer *w, uint16_t field, const union base_ep *ep)
{
    size_t len;
    const uint8_t *addr = base_ep_bytes(ep, &len);
    uint8_t *p = len ? reserve_field(w, field, 2 + len) : NULL;
    if (!p)
        return;
    wire_store16(p, base_ep_port(ep));
    memcpy(p + 2, addr, len);
}

int wire_frame_end(struct wire_writer *w, uint32_t mask)
{
    if (w->overflow)
        return -ENOSPC;
    wire_store32(w->buf + 4, (uint32_t)(w->len - WIRE_FRAME_HEADER));
    wire_store32(w->buf + MASK_AT, mask);
    mask_body(w->buf + WIRE_FRAME_HEADER, w->len - WIRE_FRAME_HEADER, w->buf + MASK_AT);
    return (int)w->len;
}

int wire_fields_end(const struct wire_writer *w)
{
    return w->overflow ? -ENOSPC : (int)w->len;
}

/* ---- reading --------------------------------------------------------------------------------- */

int wire_frame_len(const uint8_t *buf, size_t len)
{
    if (len > 0 && buf[0] != WIRE_FRAME_MAGIC)
        return -EBADMSG;
    if (len < WIRE_FRAME_HEADER)
        return -EAGAIN;
    if (wire_load16(buf + 2) != WIRE_FRAME_VERSION)
        return -EPROTONOSUPPORT;
    uint32_t body = wire_load32(buf + 4);
    if (body > WIRE_FRAME_MAX - WIRE_FRAME_HEADER)
        return -EMSGSIZE;
    return (int)(WIRE_FRAME_HEADER + body);
}

int wire_fields_open(const uint8_t *buf, size_t len, struct wire_reader *out)
{
    size_t at = 0;
    while (at < len) {
        if (len - at < FIELD_HEADER)
            return -EBADMSG;
        size_t value_len = wire_load32(buf + at + 2);
        if (value_len > len - at - FIELD_HEADER)
            return -EBADMSG;
        at += FIELD_HEADER + value_len;
    }
    *out = (struct wire_reader){.buf = buf, .len = len};
    return 0;
}

int wire_frame_open(uint8_t *buf, size_t len, enum wire_frame_type *type, struct wire_reader *out)
{
    int whole = wire_frame_len(buf, len);
    if (whole < 0 || (size_t)whole != len || buf[1] < WIRE_HELLO || buf[1] > WIRE_PROBED)
        return -EBADMSG;
    mask_body(buf + WIRE_FRAME_HEADER, len - WIRE_FRAME_HEADER, buf + MASK_AT);
    wire_store32(buf + MASK_AT, 0); /* open twice is open once */
    *type = (enum wire_frame_type)buf[1];
    return wire_fields_open(buf + WIRE_FRAME_HEADER, len - WIRE_FRAME_HEADER, out);
}

bool wire_next(struct wire_reader *r, uint16_t *field, const uint8_t **value, size_t *len)
{
    if (r->pos >= r->len)
        return false;
    const uint8_t *p = r->buf + r->pos;
    *field = wire_load16(p);
    *len = wire_load32(p + 2);
    *value = p + FIELD_HEADER;
    r->pos += FIELD_HEADER + *len;
    return true;
}

int wire_get_bytes(const struct wire_reader *r, uint16_t field, const uint8_t **out, size_t *len)
{
    struct wire_reader from = {.buf = r->buf, .len = r->len};
    uint16_t id;
    while (wire_next(&from, &id, out, len))
        if (id == field)
            return 0;
    return -ENOENT;
}

int wire_value_u64(const uint8_t *value, size_t len, uint64_t *out)
{
    if (len != 8)
        return -EBADMSG;
    *out = wire_load64(value);
    return 0;
}

int wire_value_ep(const uint8_t *value, size_t len, union base_ep *out)
{
    if (len != EP_V4_LEN && len != EP_V6_LEN)
        return -EBADMSG;
    *out = base_ep_from_bytes(len == EP_V4_LEN ? AF_INET : AF_INET6, value + 2, wire_load16(value));
    return 0;
}

int wire_get_u64(const struct wire_reader *r, uint16_t field, uint64_t *out)
{
    const uint8_t *value;
    size_t len;
    int err = wire_get_bytes(r, field, &value, &len);
    return err < 0 ? err : wire_value_u64(value, len, out);
}

int wire_get_ep(const struct wire_reader *r, uint16_t field, union base_ep *out)
{
    const uint8_t *value;
    size_t len;
    int err = wire_get_bytes(r, field, &value, &len);
    return err < 0 ? err : wire_value_ep(value, len, out);
}

int wire_get_exact(const struct wire_reader *r, uint16_t field, void *out, size_t len)
{
    const uint8_t *value;
    size_t value_len;
    int err = wire_get_bytes(r, field, &value, &value_len);
    if (err < 0)
        return err;
    if (value_len != len)
        return -EBADMSG;
    wire_copy(out, value, len);
    return 0;
}

int wire_get_text(const struct wire_reader *r, uint16_t field, char *out, size_t cap)
{
    const uint8_t *value;
    size_t len;
    int err = wire_get_bytes(r, field, &value, &len);
    if (err < 0)
        return err;
    if (len >= cap)
        return -EBADMSG;
    for (size_t i = 0; i < len; i++)
        if ((value[i] < 0x20 && value[i] != '\n' && value[i] != '\t') || value[i] == 0x7f)
            return -EBADMSG;
    memcpy(out, value, len);
    out[len] = '\0';
    return 0;
}
