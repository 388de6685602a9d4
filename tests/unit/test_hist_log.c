/*
 * bench/hist: the V2 encoding and the log. Pins: bytes that other HdrHistogram tools would read otherwise, a round trip
 * that loses or moves a value, corrupt or truncated bytes that pass (or crash, or cost time without bound), a tag that
 * breaks its line, and fixtures that a later version no longer reads.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "bench/hist/internal.h"
#include "tests/unit/hist_same.h"

/* ---- helpers --------------------------------------------------------------------------------- */

static void assert_round_trip(const struct hist *h)
{
    char *text;
    struct hist back;
    assert_int_equal(hist_encode(h, &text), 0);
    assert_int_equal(hist_decode(text, strlen(text), &back), 0);
    assert_same(h, &back);
    hist_clear(&back);
    free(text);
}

/* What a payload holds, inflated: header and counts. */
static size_t inflated(const char *text, uint8_t *out, size_t cap)
{
    uint8_t packed[4096];
    assert_true(strlen(text) / 4 * 3 <= sizeof(packed));
    ptrdiff_t len = hist_base64_decode(text, strlen(text), packed);
    assert_true(len > HIST_OUTER_LEN);
    uLongf got = cap;
    assert_int_equal(uncompress(out, &got, packed + HIST_OUTER_LEN, (uLong)len - HIST_OUTER_LEN), Z_OK);
    return got;
}

/* The other way: a payload around these bytes. To be freed. */
static char *deflated(const uint8_t *plain, size_t len, uint32_t cookie, int length_error)
{
    uLongf got = compressBound(len);
    uint8_t *packed = malloc(HIST_OUTER_LEN + got);
    assert_non_null(packed);
    assert_int_equal(compress(packed + HIST_OUTER_LEN, &got, plain, len), Z_OK);
    uint32_t outer[2] = {htonl(cookie), htonl((uint32_t)((long)got + length_error))};
    memcpy(packed, outer, sizeof(outer));
    char *text = malloc(HIST_BASE64_LEN(HIST_OUTER_LEN + got));
    assert_non_null(text);
    hist_base64_encode(packed, HIST_OUTER_LEN + got, text);
    free(packed);
    return text;
}

static int decode_plain(const uint8_t *plain, size_t len, struct hist *out)
{
    char *text = deflated(plain, len, 0x1c849314, 0);
    int err = hist_decode(text, strlen(text), out);
    free(text);
    return err;
}

/* Our header, and a payload of `len` bytes that the caller puts after it. */
#define HEADER(len)                                                                                                    \
    0x1c, 0x84, 0x93, 0x13, 0, 0, 0, (len),    /* V2; payload's length */                                              \
        0, 0, 0, 0, 0, 0, 0, 3,                /* offset; digits */                                                    \
        0, 0, 0, 0, 0, 0, 0, 1,                /* lowest discernible value */                                          \
        0, 0, 0x03, 0x46, 0x30, 0xb8, 0xa0, 0, /* highest: 3600000000000 */                                            \
        0x3f, 0xf0, 0, 0, 0, 0, 0, 0           /* 1.0 */

/* ---- the encoding ---------------------------------------------------------------------------- */

/* The format's description, byte by byte. */
static void bytes_of_an_encoding(void **state)
{
    (void)state;
    struct hist h = {0};
    /* Two empty ones, as a run (-2: 3); then 2 (4), a single empty one (0), 64 (0x80 0x01), ... */
    static const uint8_t payload[] = {HEADER(9), 0x03, 0x04, 0x00, 0x80, 0x01, 0xc7, 0x0f, 0xfe, 0x7f};
    assert_int_equal(hist_record_n(&h, 2, 2), 0);
    assert_int_equal(hist_record_n(&h, 4, 64), 0);
    /* 996 empty ones: -996 is 1991, 0x47 | 0x80, 0x0f; then 8191: 16382. */
    assert_int_equal(hist_record_n(&h, 1001, 8191), 0);
    char *text;
    uint8_t plain[256];
    assert_int_equal(hist_encode(&h, &text), 0);
    /* "HISTF" is how the cookie looks in base64: people grep for it. */
    assert_memory_equal(text, "HISTF", 5);
    assert_int_equal(inflated(text, plain, sizeof(plain)), sizeof(payload));
    assert_memory_equal(plain, payload, sizeof(payload));
    free(text);
    hist_clear(&h);
    struct hist back;
    assert_int_equal(decode_plain(payload, sizeof(payload), &back), 0);
    assert_true(back.total == 2 + 64 + 8191 && hist_count_at(&back, 1001) == 8191 && hist_count_at(&back, 2) == 2);
    hist_clear(&back);
}

/* Lengths of 1 to 9 bytes; the ninth byte has eight bits of its own, where plain LEB128 needs a tenth byte. */
static void counts_of_every_length(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 63; bit++) {
        for (int more = -1; more <= 0; more++) {
            uint64_t count = (1ULL << bit) + (uint64_t)(int64_t)more;
            struct hist h = {0};
            assert_int_equal(hist_record_n(&h, 0, count), 0);
            char *text;
            uint8_t plain[256];
            assert_int_equal(hist_encode(&h, &text), 0);
            size_t bytes = inflated(text, plain, sizeof(plain)) - HIST_HEADER_LEN;
            unsigned bits = count == 0 ? 1 : 65 - (unsigned)__builtin_clzll(count);
            assert_int_equal(bytes, bits > 56 ? 9 : (bits + 6) / 7);
            free(text);
            assert_round_trip(&h);
            hist_clear(&h);
        }
    }
}

static void round_trips(void **state)
{
    (void)state;
    struct hist h = {0};
    assert_round_trip(&h);
    assert_int_equal(hist_record(&h, 0), 0);
    assert_round_trip(&h);
    hist_clear(&h);
    assert_int_equal(hist_record(&h, 123456789), 0);
    assert_round_trip(&h);
    hist_clear(&h);
    assert_int_equal(hist_record_n(&h, HIST_MAX_NS, INT64_MAX), 0);
    assert_round_trip(&h);
    hist_clear(&h);
    struct base_rng rng;
    base_rng_seed(&rng, 5);
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned n = 1U << base_rng_below(&rng, 12); n > 0; n--)
            assert_int_equal(hist_record_n(&h, base_rng_u64(&rng) % HIST_MAX_NS >> base_rng_below(&rng, 42),
                                           base_rng_u64(&rng) >> (20 + base_rng_below(&rng, 44))),
                             0);
        assert_round_trip(&h);
        hist_clear(&h);
    }
    /* The largest of all: every bucket of its own count. */
    for (uint64_t ns = 0; ns <= HIST_MAX_NS; ns = hist_highest_equivalent(ns) + 1)
        assert_int_equal(hist_record_n(&h, ns, base_rng_u64(&rng) >> 24), 0);
    assert_round_trip(&h);
    hist_clear(&h);
}

/* Nothing that is cut short passes, and nothing is left behind. */
static void truncations_are_refused(void **state)
{
    (void)state;
    struct hist h = {0}, back;
    for (uint64_t ns = 1000; ns < HIST_MAX_NS; ns *= 3)
        assert_int_equal(hist_record(&h, ns), 0);
    char *text;
    uint8_t plain[512];
    assert_int_equal(hist_encode(&h, &text), 0);
    for (size_t n = 0; n < strlen(text); n++) {
        assert_int_equal(hist_decode(text, n, &back), -EBADMSG);
        assert_true(back.total == 0 && hist_max(&back) == 0);
    }
    size_t len = inflated(text, plain, sizeof(plain));
    assert_int_equal(decode_plain(plain, len, &back), 0);
    assert_same(&h, &back);
    hist_clear(&back);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(decode_plain(plain, n, &back), -EBADMSG);
    plain[len] = 0;
    assert_int_equal(decode_plain(plain, len + 1, &back), -EBADMSG);
    free(text);
    hist_clear(&h);
}

/* Any one byte of the base64 changed: refused, for zlib's checksum covers the rest, or read as the very same. */
static void corruption_is_refused(void **state)
{
    (void)state;
    struct hist h = {0}, back;
    struct base_rng rng;
    base_rng_seed(&rng, 6);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(hist_record(&h, base_rng_below(&rng, HIST_MAX_NS)), 0);
    char *text;
    assert_int_equal(hist_encode(&h, &text), 0);
    size_t len = strlen(text), refused = 0;
    for (size_t i = 0; i < len; i++) {
        char was = text[i];
        text[i] = (char)base_rng_u64(&rng);
        int err = text[i] == was ? -EBADMSG : hist_decode(text, len, &back);
        if (err == 0)
            assert_same(&h, &back);
        else
            assert_true(err == -EBADMSG || (err == -EPROTONOSUPPORT && i < 6));
        refused += err != 0;
        if (err == 0)
            hist_clear(&back);
        text[i] = was;
    }
    /* What may pass: the word size in the cookie, and bits after base64's last byte. */
    assert_true(refused + 4 >= len);
    free(text);
    hist_clear(&h);
}

static void lies_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t byte;
        int want;
    } lies[] = {
        {0, 0x1d, -EBADMSG},         /* no cookie */
        {3, 0x11, -EPROTONOSUPPORT}, /* V1 */
        {3, 0x18, -EPROTONOSUPPORT}, /* V0 */
        {3, 0x14, -EBADMSG},         /* compressed within compressed */
        {4, 0xff, -EBADMSG},         /* a payload of 4 GB */
        {7, 0, -EBADMSG},            /* of 0 bytes, and two follow */
        {7, 1, -EBADMSG},            /* ends within a number */
        {12, 1, -EBADMSG},           /* 16777219 digits */
        {15, 6, -EBADMSG},           /* 6 digits */
        {23, 0, -EBADMSG},           /* a lowest value of 0 */
        {16, 0x80, -EBADMSG},        /* a negative one */
        {16, 0x7f, -EBADMSG},        /* one above the highest */
        {24, 0x80, -EBADMSG},        /* a negative highest value */
        {8, 1, 0},                   /* an offset: means nothing */
        {39, 1, 0},                  /* the ratio: means nothing */
    };
    static const uint8_t good[] = {HEADER(2), 0x80, 0x01};
    uint8_t plain[sizeof(good)];
    struct hist back;
    assert_int_equal(decode_plain(good, sizeof(good), &back), 0);
    assert_true(back.total == 64);
    hist_clear(&back);
    for (size_t i = 0; i < BASE_ARRAY_LEN(lies); i++) {
        memcpy(plain, good, sizeof(good));
        plain[lies[i].at] = lies[i].byte;
        assert_int_equal(decode_plain(plain, sizeof(plain), &back), lies[i].want);
        hist_clear(&back);
    }
    static const struct {
        uint32_t cookie;
        int length_error, want;
    } outer[] = {
        {0x1c849304, 0, 0},        {0x1c849314, 1, -EBADMSG},         {0x1c849314, -1, -EBADMSG},
        {0x1c849313, 0, -EBADMSG}, {0x1c849312, 0, -EPROTONOSUPPORT}, {0x0c72124f, 0, -EPROTONOSUPPORT},
        {0, 0, -EBADMSG},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(outer); i++) {
        char *text = deflated(good, sizeof(good), outer[i].cookie, outer[i].length_error);
        assert_int_equal(hist_decode(text, strlen(text), &back), outer[i].want);
        hist_clear(&back);
        free(text);
    }
}

/* Counts that lead out of the layout, or to more values than fit. */
static void counts_out_of_bounds_are_refused(void **state)
{
    (void)state;
    struct hist back;
    /* 33792 buckets: 2048 and 31 times 1024. A run of all but one, and a count in the last: over an hour. */
    static const uint8_t last[] = {HEADER(4), 0xfd, 0x8f, 0x04, 0x02};
    assert_int_equal(decode_plain(last, sizeof(last), &back), -ERANGE);
    /* A run of one more, of 2^62, and of 2^63. */
    static const uint8_t over[] = {HEADER(3), 0x81, 0x90, 0x04};
    assert_int_equal(decode_plain(over, sizeof(over), &back), -EBADMSG);
    static const uint8_t far_over[] = {HEADER(9), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
    assert_int_equal(decode_plain(far_over, sizeof(far_over), &back), -EBADMSG);
    static const uint8_t farthest[] = {HEADER(9), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    assert_int_equal(decode_plain(farthest, sizeof(farthest), &back), -EBADMSG);
    /* All of them, and one more. */
    static const uint8_t all[] = {HEADER(3), 0xff, 0x8f, 0x04};
    assert_int_equal(decode_plain(all, sizeof(all), &back), 0);
    static const uint8_t one_more[] = {HEADER(4), 0xff, 0x8f, 0x04, 0x00};
    assert_int_equal(decode_plain(one_more, sizeof(one_more), &back), -EBADMSG);
    /* INT64_MAX values, and one more. */
    static const uint8_t full[] = {HEADER(9), 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    assert_int_equal(decode_plain(full, sizeof(full), &back), 0);
    assert_true(back.total == INT64_MAX);
    hist_clear(&back);
    static const uint8_t fuller[] = {HEADER(10), 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    assert_int_equal(decode_plain(fuller, sizeof(fuller), &back), -EOVERFLOW);
    assert_true(back.total == 0);
}

/* After the end of the deflated stream, within the length that the payload says. */
static void what_follows_is_refused(void **state)
{
    (void)state;
    static const uint8_t good[] = {HEADER(1), 0x02};
    uint8_t packed[HIST_OUTER_LEN + 128] = {0};
    uLongf got = sizeof(packed) - HIST_OUTER_LEN;
    assert_int_equal(compress(packed + HIST_OUTER_LEN, &got, good, sizeof(good)), Z_OK);
    for (unsigned more = 0; more < 4; more++) {
        uint32_t outer[2] = {htonl(0x1c849314), htonl((uint32_t)got + more)};
        memcpy(packed, outer, sizeof(outer));
        char text[HIST_BASE64_LEN(sizeof(packed))];
        struct hist back;
        size_t len = hist_base64_encode(packed, HIST_OUTER_LEN + got + more, text);
        assert_int_equal(hist_decode(text, len, &back), more == 0 ? 0 : -EBADMSG);
        hist_clear(&back);
    }
}

/* The widest layout (5 digits to 2^62) full of single empty buckets: megabytes from a few kilobytes, and then the end.
 */
static void a_bomb_ends(void **state)
{
    (void)state;
    uint8_t header[] = {HEADER(0)};
    size_t len = 16 << 20;
    uint8_t *plain = calloc(1, len);
    assert_non_null(plain);
    memcpy(plain, header, sizeof(header));
    plain[4] = 0x00, plain[5] = 0xff, plain[15] = 5, plain[24] = 0x3f;
    struct hist back;
    assert_int_equal(decode_plain(plain, len, &back), -EBADMSG);
    free(plain);
}

/* Buckets of 2 digits and of 1024 ns are taken over at their lowest value. */
static void other_layouts(void **state)
{
    (void)state;
    struct hist back;
    /* 2 digits: units of 1 below 256, then 128 of each width. Bucket 300 is 128 + 44 of the second double width. */
    static const uint8_t two[] = {HEADER(3), 0xd7, 0x04, 0x02};
    uint8_t plain[sizeof(two)];
    memcpy(plain, two, sizeof(two));
    plain[15] = 2;
    assert_int_equal(decode_plain(plain, sizeof(plain), &back), 0);
    assert_true(back.total == 1 && hist_count_at(&back, (128 + 44) << 1) == 1);
    hist_clear(&back);
    /* A lowest value of 1000 ns means units of 512 ns: bucket 300 begins at 153600 ns. */
    memcpy(plain, two, sizeof(two));
    plain[22] = 0x03, plain[23] = 0xe8;
    assert_int_equal(decode_plain(plain, sizeof(plain), &back), 0);
    assert_true(back.total == 1 && hist_count_at(&back, 153600) == 1);
    hist_clear(&back);
}

static void base64_is_rfc_4648(void **state)
{
    (void)state;
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"},
                                             {"\xff\xef\xbe", "/+++"}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(vectors); i++) {
        char text[16];
        uint8_t data[16];
        size_t len = strlen(vectors[i][0]);
        assert_int_equal(hist_base64_encode((const uint8_t *)vectors[i][0], len, text), strlen(vectors[i][1]));
        assert_string_equal(text, vectors[i][1]);
        assert_int_equal(hist_base64_decode(text, strlen(text), data), len);
        assert_memory_equal(data, vectors[i][0], len);
    }
    static const char *const bad[] = {"Zg=", "Zg", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm9-", "=m9v", "Z\0=="};
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++) {
        uint8_t data[16];
        assert_int_equal(hist_base64_decode(bad[i], i == 8 ? 4 : strlen(bad[i]), data), -EBADMSG);
    }
}

/* ---- the log --------------------------------------------------------------------------------- */

static void head_of_a_log(void **state)
{
    (void)state;
    char *head;
    assert_int_equal(hist_log_head(1441812279474, &head), 0);
    assert_string_equal(head,
                        "#[Histogram log format version 1.3]\n"
                        "#[StartTime: 1441812279.474 (seconds since epoch), 2015-09-09T15:24:39Z]\n"
                        "#[BaseTime: 1441812279.474 (seconds since epoch)]\n"
                        "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n");
    enum hist_log_kind want[] = {HIST_LOG_NOTHING, HIST_LOG_START_TIME, HIST_LOG_BASE_TIME, HIST_LOG_NOTHING};
    char *line = head;
    for (size_t i = 0; i < BASE_ARRAY_LEN(want); i++) {
        struct hist_log_entry e;
        size_t len = (size_t)(strchr(line, '\n') - line) + 1;
        assert_int_equal(hist_log_parse(line, len, &e), 0);
        assert_int_equal(e.kind, want[i]);
        assert_true(e.time_ms == (i == 1 || i == 2 ? 1441812279474 : 0));
        line += len;
    }
    free(head);
    assert_int_equal(hist_log_head(UINT64_MAX, &head), 0);
    free(head);
}

static void lines_of_a_log(void **state)
{
    (void)state;
    struct hist h = {0};
    assert_int_equal(hist_record(&h, 40000000), 0);
    char *line, *payload;
    assert_int_equal(hist_encode(&h, &payload), 0);
    char want[512];
    assert_int_equal(hist_log_line("a/b tcp", 12345, 1500, &h, &line), 0);
    snprintf(want, sizeof(want), "Tag=a/b%%20tcp,12.345,1.500,40.010,%s\n", payload);
    assert_string_equal(line, want);
    struct hist_log_entry e;
    assert_int_equal(hist_log_parse(line, strlen(line), &e), 0);
    assert_int_equal(e.kind, HIST_LOG_INTERVAL);
    assert_string_equal(e.tag, "a/b tcp");
    assert_true(e.time_ms == 12345 && e.length_ms == 1500);
    assert_same(&e.hist, &h);
    hist_clear(&e.hist);
    free(line);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hist_log_line(i ? "" : NULL, 0, 0, &h, &line), 0);
        snprintf(want, sizeof(want), "0.000,0.000,40.010,%s\n", payload);
        assert_string_equal(line, want);
        free(line);
    }
    free(payload);
    hist_clear(&h);
}

/* Whatever a cell is called, its line stays one line of five fields, and the name comes back. */
static void any_tag_survives(void **state)
{
    (void)state;
    struct base_rng rng;
    base_rng_seed(&rng, 8);
    struct hist h = {0};
    for (unsigned round = 0; round < 2000; round++) {
        char tag[HIST_TAG_MAX + 1] = "a,b c\nd\re%2Cf\"g%h%\t\x01\x7f\xc3\xa9#";
        if (round > 0) {
            size_t len = base_rng_below(&rng, HIST_TAG_MAX + 1);
            for (size_t i = 0; i < len; i++)
                tag[i] = (char)(1 + base_rng_below(&rng, 255));
            tag[len] = '\0';
        }
        char *line;
        struct hist_log_entry e;
        assert_int_equal(hist_log_line(tag, round, 1, &h, &line), 0);
        size_t commas = 0;
        for (const char *at = line; *at; at++) {
            assert_true(*at == '\n' ? at[1] == '\0' : *at > ' ' && *at < 0x7f);
            commas += *at == ',';
        }
        assert_int_equal(commas, tag[0] ? 4 : 3);
        assert_int_equal(hist_log_parse(line, strlen(line), &e), 0);
        assert_string_equal(e.tag, tag);
        free(line);
    }
    char tag[HIST_TAG_MAX + 2], *line;
    memset(tag, ' ', sizeof(tag));
    tag[HIST_TAG_MAX + 1] = '\0';
    assert_int_equal(hist_log_line(tag, 0, 0, &h, &line), -ENAMETOOLONG);
    tag[HIST_TAG_MAX] = '\0';
    assert_int_equal(hist_log_line(tag, 0, 0, &h, &line), 0);
    free(line);
}

#define EMPTY "HISTFAAAACF4nJNpmSzMwMDAyAABzFAayGd2M9ixgMH+A1QEAFKmBEw="

static void lines_of_others(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int want;
        enum hist_log_kind kind;
        const char *tag;
        uint64_t time_ms;
    } lines[] = {
        {"", 0, HIST_LOG_NOTHING, "", 0},
        {"\r\n", 0, HIST_LOG_NOTHING, "", 0},
        {"# Tag=a,1,1,1,x", 0, HIST_LOG_NOTHING, "", 0},
        {"#[StartTime: 1.5 (seconds since epoch)]\r\n", 0, HIST_LOG_START_TIME, "", 1500},
        {"#[BaseTime: 2]", 0, HIST_LOG_BASE_TIME, "", 2000},
        {"1.9999,2,3," EMPTY "\r\n", 0, HIST_LOG_INTERVAL, "", 1999},
        {"Tag=100%,1,2.5,3.," EMPTY, 0, HIST_LOG_INTERVAL, "100%", 1000},
        {"Tag=%zz%4,0.0625,2.5,3," EMPTY, 0, HIST_LOG_INTERVAL, "%zz%4", 62},
        {"Tag=%00,1,2,3," EMPTY, 0, HIST_LOG_INTERVAL, "%00", 1000},
        {"#[StartTime: soon]", -EBADMSG, 0, "", 0},
        {"#[BaseTime: 99999999999999999999]", -EBADMSG, 0, "", 0},
        {"hello", -EBADMSG, 0, "", 0},
        {"Tag=a", -EBADMSG, 0, "", 0},
        {"Tag=a,", -EBADMSG, 0, "", 0},
        {"Tag=a,1,2,3", -EBADMSG, 0, "", 0},
        {"Tag=a,1,2,3,", -EBADMSG, 0, "", 0},
        {"Tag=a,-1,2,3," EMPTY, -EBADMSG, 0, "", 0},
        {"Tag=a,1,.5,3," EMPTY, -EBADMSG, 0, "", 0},
        {"Tag=a,1,2,nan," EMPTY, -EBADMSG, 0, "", 0},
        {"Tag=a,1,2,3," EMPTY ",", -EBADMSG, 0, "", 0},
        {"Tag=a,1,2,3, " EMPTY, -EBADMSG, 0, "", 0},
        {"Tag=a,99999999999999999999999,2,3," EMPTY, -EBADMSG, 0, "", 0},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(lines); i++) {
        struct hist_log_entry e;
        int err = hist_log_parse(lines[i].line, strlen(lines[i].line), &e);
        if (err != lines[i].want)
            fail_msg("'%s' gives %d", lines[i].line, err);
        if (err < 0)
            continue;
        assert_int_equal(e.kind, lines[i].kind);
        assert_string_equal(e.tag, lines[i].tag);
        assert_true(e.time_ms == lines[i].time_ms && e.hist.total == 0);
    }
}

static void tags_of_others_are_bounded(void **state)
{
    (void)state;
    for (int len = 0; len < 1000; len++) {
        char line[1200];
        struct hist_log_entry e;
        int n = snprintf(line, sizeof(line), "Tag=%0*d,1,2,3," EMPTY, len, 0);
        int tag = len > 0 ? len : 1;
        assert_int_equal(hist_log_parse(line, (size_t)n, &e), tag > HIST_TAG_MAX ? -EBADMSG : 0);
        if (tag <= HIST_TAG_MAX)
            assert_int_equal(strlen(e.tag), tag);
    }
}

/* ---- fixtures: kept, and read forever -------------------------------------------------------- */

struct fact {
    const char *tag;
    uint64_t total, max, median, p999;
    unsigned buckets;
};

static void check_fact(const struct fact *want, const struct hist_log_entry *e)
{
    unsigned buckets = 0;
    struct hist_iter it = {0};
    while (hist_next(&e->hist, &it))
        buckets++;
    assert_string_equal(e->tag, want->tag);
    assert_true(e->hist.total == want->total);
    assert_int_equal(buckets, want->buckets);
    /* 0: another layout, of which the upper ends are its own. */
    if (want->max == 0)
        return;
    assert_true(hist_max(&e->hist) == want->max);
    assert_true(hist_quantile(&e->hist, 0.5) == want->median);
    assert_true(hist_quantile(&e->hist, 0.999) == want->p999);
}

static void check_fixture(const char *path, const struct fact *facts, size_t n)
{
    FILE *in = fopen(path, "r");
    if (!in)
        fail_msg("%s: %s: run from the root of the tree", path, strerror(errno));
    char *line = NULL;
    size_t size = 0, intervals = 0;
    ssize_t len;
    while ((len = getline(&line, &size, in)) > 0) {
        struct hist_log_entry e;
        assert_int_equal(hist_log_parse(line, (size_t)len, &e), 0);
        if (e.kind == HIST_LOG_INTERVAL) {
            assert_true(intervals < n);
            check_fact(&facts[intervals++], &e);
        }
        hist_clear(&e.hist);
    }
    assert_int_equal(intervals, n);
    free(line);
    fclose(in);
}

/* The facts are what hdr-histogram-js 3.0.1 says of its log and of ours. */
static void fixtures_stay_readable(void **state)
{
    (void)state;
    static const struct fact theirs[] = {
        {"empty", 0, 0, 0, 0, 0},
        {"one", 1, 40009727, 40009727, 40009727, 1},
        {"max", 1, 3601330077695, 3601330077695, 3601330077695, 1},
        {"counts", 281474976710655, 48031, 48031, 48031, 48},
        {"corrected", 100, 1000341503, 500170751, 1000341503, 100},
        {"random", 2000, 2665480191, 385791, 2420113407, 1905},
        {"", 100, 1691353087, 510719, 1691353087, 100},
        {"resized", 300, 1786773503, 613375, 1786773503, 296},
        {"foreign-2-digits", 300, 0, 0, 0, 279},
        {"foreign-microseconds", 300, 0, 0, 0, 245},
    };
    check_fixture("tests/vectors/hdr-histogram-js.hlog", theirs, BASE_ARRAY_LEN(theirs));
    static const struct fact ours[] = {
        {"empty", 0, 0, 0, 0, 0},
        {"one", 1, 40009727, 40009727, 40009727, 1},
        {"max", 1, 3601330077695, 3601330077695, 3601330077695, 1},
        {"corrected", 300, 1000341503, 500170751, 1000341503, 100},
        {"counts, with spaces", 281474976710655, 48031, 48031, 48031, 48},
        {"random", 100000, 3601330077695, 863231, 3446711255039, 29054},
        {"", 100, 78774271, 46825471, 78774271, 97},
    };
    check_fixture("tests/vectors/punchbench.hlog", ours, BASE_ARRAY_LEN(ours));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_an_encoding),
        cmocka_unit_test(counts_of_every_length),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(truncations_are_refused),
        cmocka_unit_test(corruption_is_refused),
        cmocka_unit_test(lies_are_refused),
        cmocka_unit_test(counts_out_of_bounds_are_refused),
        cmocka_unit_test(what_follows_is_refused),
        cmocka_unit_test(a_bomb_ends),
        cmocka_unit_test(other_layouts),
        cmocka_unit_test(base64_is_rfc_4648),
        cmocka_unit_test(head_of_a_log),
        cmocka_unit_test(lines_of_a_log),
        cmocka_unit_test(any_tag_survives),
        cmocka_unit_test(lines_of_others),
        cmocka_unit_test(tags_of_others_are_bounded),
        cmocka_unit_test(fixtures_stay_readable),
    };
    return cmocka_run_group_tests_name("hist_log", tests, NULL, NULL);
}
