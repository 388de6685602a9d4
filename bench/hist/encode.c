/* The V2 compressed encoding, written. The format stands in hist.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "bench/hist/internal.h"

static uint8_t *put_be32(uint8_t *at, uint32_t v)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        *at++ = (uint8_t)(v >> shift);
    return at;
}

static uint8_t *put_be64(uint8_t *at, uint64_t v)
{
    return put_be32(put_be32(at, (uint32_t)(v >> 32)), (uint32_t)v);
}

static uint8_t *put_leb128(uint8_t *at, int64_t value)
{
    uint64_t zigzag = value < 0 ? 2 * (0 - (uint64_t)value) - 1 : 2 * (uint64_t)value;
    for (int i = 0; i < 8 && zigzag > 0x7f; i++, zigzag >>= 7)
        *at++ = (uint8_t)(zigzag | 0x80);
    *at++ = (uint8_t)zigzag;
    return at;
}

/* The counts of buckets 0 to `used` - 1; a run of empty ones becomes one negative number. */
static uint8_t *put_counts(uint8_t *at, const struct hist *h, size_t used)
{
    for (size_t i = 0; i < used;) {
        size_t begin = i;
        while (i < used && hist_count_index(h, i) == 0)
            i++;
        if (i - begin > 1)
            at = put_leb128(at, -(int64_t)(i - begin));
        else if (i - begin == 1)
            at = put_leb128(at, 0);
        if (i < used)
            at = put_leb128(at, (int64_t)hist_count_index(h, i++));
    }
    return at;
}

/* Header and payload, uncompressed, to be freed. */
static uint8_t *encode_plain(const struct hist *h, size_t *len)
{
    /* An empty histogram is one empty bucket. Each number, a run's too, stands for one bucket or more. */
    size_t used = hist_used(h) > 0 ? hist_used(h) : 1;
    uint8_t *plain = malloc(HIST_HEADER_LEN + HIST_LEB128_MAX * used);
    if (!plain)
        return NULL;
    uint8_t *end = put_counts(plain + HIST_HEADER_LEN, h, used);
    uint8_t *at = put_be32(plain, HIST_COOKIE_V2 | HIST_COOKIE_WORD);
    at = put_be32(at, (uint32_t)(end - plain - HIST_HEADER_LEN));
    at = put_be32(at, 0);
    at = put_be32(at, HIST_DIGITS);
    at = put_be64(at, 1);
    at = put_be64(at, HIST_MAX_NS);
    put_be64(at, 0x3ff0000000000000); /* 1.0 */
    *len = (size_t)(end - plain);
    return plain;
}

int hist_encode(const struct hist *h, char **out)
{
    size_t plain_len;
    uint8_t *plain = encode_plain(h, &plain_len);
    if (!plain)
        return -ENOMEM;
    uLongf deflated = compressBound(plain_len);
    uint8_t *packed = malloc(HIST_OUTER_LEN + deflated);
    char *text = NULL;
    /* Cannot fail but for memory: the room is zlib's own bound. */
    if (packed && compress(packed + HIST_OUTER_LEN, &deflated, plain, plain_len) == Z_OK)
        text = malloc(HIST_BASE64_LEN(HIST_OUTER_LEN + deflated));
    if (text) {
        put_be32(put_be32(packed, HIST_COOKIE_V2_COMPRESSED | HIST_COOKIE_WORD), (uint32_t)deflated);
        hist_base64_encode(packed, HIST_OUTER_LEN + deflated, text);
    }
    free(plain);
    free(packed);
    *out = text;
    return text ? 0 : -ENOMEM;
}
