/*
 * The V2 compressed encoding, read. Foreign bytes. The payload is inflated a piece at a time and never stands in memory
 * as a whole; every number in it moves on by a bucket or more, and the header bounds the buckets.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "bench/hist/internal.h"

/* The uncompressed bytes, one after the other. */
struct source {
    z_stream z;
    uint8_t piece[4096];
    size_t at, have;
    bool ended;
};

/* The layout that a payload says it has. */
struct layout {
    uint32_t payload_len;
    unsigned half_bits; /* log2 of half the sub-buckets */
    unsigned unit_bits; /* log2 of the lowest discernible value */
    uint64_t indices;
};

/* 0, or -EBADMSG where the data ends early or is no deflate. */
static int refill(struct source *s)
{
    s->z.next_out = s->piece;
    s->z.avail_out = sizeof(s->piece);
    int rc = s->ended ? Z_DATA_ERROR : inflate(&s->z, Z_NO_FLUSH);
    s->at = 0;
    s->have = sizeof(s->piece) - s->z.avail_out;
    s->ended = rc == Z_STREAM_END;
    if (rc == Z_MEM_ERROR)
        return -ENOMEM;
    return rc == Z_OK || rc == Z_STREAM_END ? 0 : -EBADMSG;
}

static int get_byte(struct source *s, uint8_t *out)
{
    /* An inflate that gives nothing has either ended or taken all its input, and fails the next time. */
    while (s->at == s->have) {
        int err = refill(s);
        if (err < 0)
            return err;
    }
    *out = s->piece[s->at++];
    return 0;
}

/* Nothing may follow: neither in the stream nor after it. */
static int expect_end(struct source *s)
{
    while (!s->ended && s->at == s->have) {
        int err = refill(s);
        if (err < 0)
            return err;
    }
    return s->at == s->have && s->z.avail_in == 0 ? 0 : -EBADMSG;
}

static uint64_t load_be(const uint8_t *at, size_t len)
{
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++)
        v = v << 8 | at[i];
    return v;
}

static int check_cookie(const uint8_t *at, uint32_t want)
{
    uint32_t cookie = (uint32_t)load_be(at, 4) & ~HIST_COOKIE_WORD_MASK;
    if (cookie == want)
        return 0;
    /* 0x1c849301 and ..02 are V1, ..08 and ..09 V0, and 0x0c72124e and ..4f hold floating-point values. */
    bool known = cookie == 0x1c849301U || cookie == 0x1c849302U || cookie == 0x1c849308U || cookie == 0x1c849309U ||
                 cookie == 0x0c72120eU || cookie == 0x0c72120fU;
    return known ? -EPROTONOSUPPORT : -EBADMSG;
}

/* Buckets as HdrHistogram counts them: the first holds values below 2^half_bits * 2 * unit, each next one twice that.
 */
static uint64_t layout_indices(const struct layout *l, uint64_t highest)
{
    unsigned bits = l->half_bits + 1 + l->unit_bits;
    uint64_t buckets = 1;
    while (bits < 63 && highest >> bits != 0) {
        bits++;
        buckets++;
    }
    return (buckets + 1) << l->half_bits;
}

static int get_layout(struct source *s, struct layout *l)
{
    /* log2 of half of 2 * 10^digits, rounded up to a power of two. */
    static const uint8_t half_bits[] = {0, 4, 7, 10, 14, 17};
    uint8_t header[HIST_HEADER_LEN];
    for (size_t i = 0; i < sizeof(header); i++) {
        int err = get_byte(s, &header[i]);
        if (err < 0)
            return err;
    }
    int err = check_cookie(header, HIST_COOKIE_V2);
    if (err < 0)
        return err;
    uint64_t digits = load_be(header + 12, 4), lowest = load_be(header + 16, 8), highest = load_be(header + 24, 8);
    if (digits >= BASE_ARRAY_LEN(half_bits) || lowest < 1 || lowest > INT64_MAX / 2 || highest > INT64_MAX ||
        highest < 2 * lowest)
        return -EBADMSG;
    l->payload_len = (uint32_t)load_be(header + 4, 4);
    l->half_bits = half_bits[digits];
    l->unit_bits = 63 - (unsigned)__builtin_clzll(lowest);
    if (l->half_bits + l->unit_bits > 61)
        return -EBADMSG;
    l->indices = layout_indices(l, highest);
    return 0;
}

/* One ZigZag LEB128 number of at most `left` bytes; `left` goes down by what it took. */
static int get_leb128(struct source *s, uint32_t *left, int64_t *out)
{
    uint64_t zigzag = 0;
    uint8_t byte = 0x80;
    for (unsigned i = 0; i < HIST_LEB128_MAX && (byte & 0x80); i++) {
        if (*left == 0)
            return -EBADMSG;
        int err = get_byte(s, &byte);
        if (err < 0)
            return err;
        --*left;
        /* The ninth byte has no continuation bit: all eight count. */
        if (i == HIST_LEB128_MAX - 1) {
            zigzag |= (uint64_t)byte << 56;
            break;
        }
        zigzag |= (uint64_t)(byte & 0x7f) << (7 * i);
    }
    *out = (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1);
    return 0;
}

static int record_index(struct hist *h, const struct layout *l, uint64_t index, uint64_t count)
{
    uint64_t half = 1ULL << l->half_bits, bucket = index >> l->half_bits, value = index;
    if (bucket > 0) {
        value = (index & (half - 1)) + half;
        bucket--;
    }
    unsigned shift = (unsigned)bucket + l->unit_bits;
    if (shift > 63 || value > HIST_MAX_NS >> shift)
        return -ERANGE;
    return hist_record_n(h, value << shift, count);
}

static int get_counts(struct source *s, const struct layout *l, struct hist *h)
{
    uint64_t index = 0;
    for (uint32_t left = l->payload_len; left > 0;) {
        int64_t number;
        int err = get_leb128(s, &left, &number);
        if (err < 0)
            return err;
        uint64_t buckets = number < 0 ? 0 - (uint64_t)number : 1;
        if (buckets > l->indices - index)
            return -EBADMSG;
        if (number > 0)
            err = record_index(h, l, index, (uint64_t)number);
        if (err < 0)
            return err;
        index += buckets;
    }
    return 0;
}

/* What is inside base64. */
static int decode_packed(uint8_t *packed, size_t len, struct hist *h)
{
    if (len < HIST_OUTER_LEN)
        return -EBADMSG;
    int err = check_cookie(packed, HIST_COOKIE_V2_COMPRESSED);
    if (err < 0)
        return err;
    if (load_be(packed + 4, 4) != len - HIST_OUTER_LEN)
        return -EBADMSG;
    struct source s = {.z = {.next_in = packed + HIST_OUTER_LEN, .avail_in = (uInt)(len - HIST_OUTER_LEN)}};
    if (inflateInit(&s.z) != Z_OK)
        return -ENOMEM;
    struct layout layout;
    err = get_layout(&s, &layout);
    if (err == 0)
        err = get_counts(&s, &layout, h);
    if (err == 0)
        err = expect_end(&s);
    inflateEnd(&s.z);
    return err;
}

int hist_decode(const char *text, size_t len, struct hist *out)
{
    *out = (struct hist){0};
    uint8_t *packed = malloc(len / 4 * 3 + 1);
    if (!packed)
        return -ENOMEM;
    ptrdiff_t packed_len = hist_base64_decode(text, len, packed);
    int err = packed_len < 0 ? (int)packed_len : decode_packed(packed, (size_t)packed_len, out);
    free(packed);
    if (err < 0)
        hist_clear(out);
    return err;
}
