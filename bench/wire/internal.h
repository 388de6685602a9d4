/* bench/wire, for its own files only. */
#ifndef BENCH_WIRE_INTERNAL_H
#define BENCH_WIRE_INTERNAL_H

#include <string.h>

#include "bench/wire/wire.h"

#define WIRE_SHA1_LEN   20
#define WIRE_SHA256_LEN 32

static inline uint16_t wire_load16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t wire_load32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t wire_load64(const uint8_t *p)
{
    return (uint64_t)wire_load32(p) << 32 | wire_load32(p + 4);
}

static inline void wire_store16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void wire_store32(uint8_t *p, uint32_t v)
{
    wire_store16(p, (uint16_t)(v >> 16));
    wire_store16(p + 2, (uint16_t)v);
}

static inline void wire_store64(uint8_t *p, uint64_t v)
{
    wire_store32(p, (uint32_t)(v >> 32));
    wire_store32(p + 4, (uint32_t)v);
}

/* memcpy's pointers must not be NULL even for no bytes (C11 7.24.1). */
static inline void wire_copy(uint8_t *to, const void *from, size_t len)
{
    if (len)
        memcpy(to, from, len);
}

#define WIRE_STUN_ATTR_HEADER 4

/* An attribute's value with its padding (RFC 8489, 14). */
static inline size_t wire_stun_padded(size_t len)
{
    return (len + 3) & ~(size_t)3;
}

/* Reads an address attribute's value into *out unless that is set: the first of several counts (RFC 8489, 14). XORed
 * with the transaction id where that is not NULL. 0, or -EBADMSG. */
int wire_stun_read_address(const uint8_t *value, size_t len, const uint8_t *txid, union base_ep *out);

/* HMAC-SHA256; the schedule of the last key is kept, so that a run of MACs under one key is cheap. */
void wire_hmac_sha256(const uint8_t *key, size_t key_len, const uint8_t *data, size_t len,
                      uint8_t out[WIRE_SHA256_LEN]);
void wire_hmac_sha1(const uint8_t *key, size_t key_len, const uint8_t *data, size_t len, uint8_t out[WIRE_SHA1_LEN]);
/* Compares in time that depends on len only. */
bool wire_mac_equal(const uint8_t *a, const uint8_t *b, size_t len);

#endif
