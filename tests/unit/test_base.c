/*
 * bench/base. Pins: an endpoint that prints as something it does not parse as; numbers accepted in notations that
 * nobody meant; a random sequence that changes between versions (then no recorded seed reproduces anything) or leans;
 * a permutation that repeats a port; a bucket that breaks its rate or its promised wait; a log line that is forged.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/base/base.h"

/* ---- endpoints ------------------------------------------------------------------------------- */

static void endpoint_round_trips(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "192.0.2.1:3478", "0.0.0.0:0", "255.255.255.255:65535", "[2001:db8::1]:3478",
        "[::]:0",         "[::1]:1",   "[::ffff:192.0.2.1]:80", "[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(texts); i++) {
        union base_ep ep, copy;
        char buf[BASE_EP_STRLEN];
        assert_int_equal(base_ep_parse(texts[i], &ep), 0);
        assert_string_equal(base_ep_format(&ep, buf), texts[i]);
        size_t len;
        const uint8_t *bytes = base_ep_bytes(&ep, &len);
        assert_int_equal(len, texts[i][0] == '[' ? 16 : 4);
        copy = base_ep_from_bytes(ep.sa.sa_family, bytes, base_ep_port(&ep));
        assert_true(base_ep_equal(&ep, &copy));
        assert_memory_equal(&ep, &copy, base_ep_len(&ep));
    }
}

static void endpoint_fields(void **state)
{
    (void)state;
    static const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 9};
    union base_ep ep;
    char buf[BASE_EP_STRLEN];
    assert_int_equal(base_ep_parse("192.0.2.1:3478", &ep), 0);
    assert_int_equal(ep.v4.sin_family, AF_INET);
    assert_int_equal(ep.v4.sin_port, htons(3478));
    assert_int_equal(ep.v4.sin_addr.s_addr, htonl(0xc0000201));
    assert_int_equal(base_ep_len(&ep), sizeof(struct sockaddr_in));
    assert_string_equal(base_ep_format_addr(&ep, buf), "192.0.2.1");

    assert_int_equal(base_ep_parse("[2001:db8::9]:5349", &ep), 0);
    assert_int_equal(ep.v6.sin6_family, AF_INET6);
    assert_int_equal(ep.v6.sin6_port, htons(5349));
    assert_memory_equal(&ep.v6.sin6_addr, v6, 16);
    assert_int_equal(base_ep_len(&ep), sizeof(struct sockaddr_in6));
    assert_string_equal(base_ep_format_addr(&ep, buf), "2001:db8::9");
    base_ep_set_port(&ep, 7);
    assert_int_equal(base_ep_port(&ep), 7);

    assert_int_equal(base_ep_parse_addr("2001:db8::9", &ep), 0);
    assert_int_equal(base_ep_port(&ep), 0);
    assert_int_equal(base_ep_parse_addr("[2001:db8::9]", &ep), -EINVAL);
    assert_int_equal(base_ep_parse_addr("example.org", &ep), -EINVAL);
}

static void endpoint_refuses(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        ":",
        ":80",
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2:80",
        "256.0.0.1:1",
        "192.0.2.1:-1",
        "192.0.2.1:+80",
        "192.0.2.1: 80",
        "192.0.2.1:80 ",
        "::1:80",
        "[::1]",
        "[::1]:",
        "[::1",
        "[]:80",
        "[:80",
        "[",
        "]:80",
        "[192.0.2.1]:80",
        "[::1]]:80",
        "[fe80::1%eth0]:80",
        "localhost:80",
        "[::1]x:80",
        "192.0.2.1:0x50",
        "192.0.2.1:80:80",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]:80",
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(texts); i++) {
        union base_ep ep, before;
        memset(&ep, 0xa5, sizeof(ep));
        before = ep;
        if (base_ep_parse(texts[i], &ep) != -EINVAL)
            fail_msg("accepted: '%s'", texts[i]);
        assert_memory_equal(&ep, &before, sizeof(ep));
    }
}

static void endpoint_compares(void **state)
{
    (void)state;
    union base_ep a, b, unset;
    char buf[BASE_EP_STRLEN];
    memset(&unset, 0, sizeof(unset));
    base_ep_parse("192.0.2.1:1", &a);
    base_ep_parse("192.0.2.1:2", &b);
    assert_true(base_ep_same_addr(&a, &b));
    assert_false(base_ep_equal(&a, &b));
    base_ep_parse("192.0.2.2:1", &b);
    assert_false(base_ep_same_addr(&a, &b));
    assert_false(base_ep_equal(&a, &b));
    /* The same leading bytes in another family. */
    base_ep_parse("0.0.0.0:1", &a);
    base_ep_parse("[::]:1", &b);
    assert_false(base_ep_same_addr(&a, &b));
    assert_true(base_ep_is_any(&a));
    assert_true(base_ep_is_any(&b));
    assert_false(base_ep_is_any(&unset));
    assert_false(base_ep_is_set(&unset));
    assert_true(base_ep_is_set(&a));
    assert_false(base_ep_equal(&a, &unset));
    assert_string_equal(base_ep_format(&unset, buf), "none");
    assert_string_equal(base_ep_format_addr(&unset, buf), "none");
    size_t len = 99;
    base_ep_bytes(&unset, &len);
    assert_int_equal(len, 0);
    base_ep_parse("[::1]:1", &b);
    assert_false(base_ep_is_any(&b));
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {
        {"0", 0},
        {"40ms", 40000000},
        {"1.5s", 1500000000},
        {"200us", 200000},
        {"10ns", 10},
        {"0s", 0},
        {"0.25ms", 250000},
        {".5s", 500000000},
        {"2m", 120000000000},
        {"1h", 3600000000000},
        {"8760h", 31536000000000000},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(good); i++) {
        uint64_t ns = 1;
        if (base_parse_duration(good[i].text, &ns) != 0 || ns != good[i].ns)
            fail_msg("%s: %llu ns", good[i].text, (unsigned long long)ns);
    }
    static const char *const bad[] = {"",     "5",    "40",    "ms",   ".",   ".s",       "-1s",    "+1s",    " 1s",
                                      "1 s",  "1s ",  "1ss",   "1e3s", "1e3", "0x10s",    "0x0",    "0x1p3s", "inf",
                                      "infs", "nans", "1..5s", "1,5s", "1d",  "9999999h", "1e400s", "8761h"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++) {
        uint64_t ns = 77;
        if (base_parse_duration(bad[i], &ns) != -EINVAL)
            fail_msg("accepted: '%s'", bad[i]);
        assert_int_equal(ns, 77);
    }
}

static void integers(void **state)
{
    (void)state;
    uint64_t v = 0;
    assert_int_equal(base_parse_u64("0", 0, 10, &v), 0);
    assert_int_equal(v, 0);
    assert_int_equal(base_parse_u64("10", 0, 10, &v), 0);
    assert_int_equal(v, 10);
    assert_int_equal(base_parse_u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
    assert_true(v == UINT64_MAX);
    v = 5;
    assert_int_equal(base_parse_u64("11", 0, 10, &v), -ERANGE);
    assert_int_equal(base_parse_u64("1", 2, 10, &v), -ERANGE);
    assert_int_equal(base_parse_u64("18446744073709551616", 0, UINT64_MAX, &v), -ERANGE);
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x10", "1e3", "1.0", "ten"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++)
        assert_int_equal(base_parse_u64(bad[i], 0, UINT64_MAX, &v), -EINVAL);
    assert_int_equal(v, 5);
}

static void clock_moves_forward(void **state)
{
    (void)state;
    uint64_t last = base_now_ns();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = base_now_ns();
        assert_true(now >= last);
        last = now;
    }
}

/* ---- random ---------------------------------------------------------------------------------- */

/* Expected values come from a separate implementation of the published algorithms, itself checked against the
 * reference outputs of SplitMix64 (seed 1234567) and xoshiro256** (state 1, 2, 3, 4). */
static void rng_is_the_published_algorithm(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed, out[4];
    } known[] = {
        {0, {0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x1a5f849d4933e6e0, 0x6aa594f1262d2d2c}},
        {1, {0xb3f2af6d0fc710c5, 0x853b559647364cea, 0x92f89756082a4514, 0x642e1c7bc266a3a7}},
        {42, {0x15780b2e0c2ec716, 0x6104d9866d113a7e, 0xae17533239e499a1, 0xecb8ad4703b360a1}},
        {UINT64_MAX, {0x8f5520d52a7ead08, 0xc476a018caa1802d, 0x81de31c0d260469e, 0xbf658d7e065f3c2f}},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(known); i++) {
        struct base_rng rng;
        base_rng_seed(&rng, known[i].seed);
        for (size_t j = 0; j < 4; j++)
            assert_true(base_rng_u64(&rng) == known[i].out[j]);
    }
    static const uint64_t reference[] = {11520,
                                         0,
                                         1509978240,
                                         1215971899390074240,
                                         1216172134540287360,
                                         607988272756665600,
                                         16172922978634559625ULL,
                                         8476171486693032832};
    struct base_rng rng = {{1, 2, 3, 4}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(reference); i++)
        assert_true(base_rng_u64(&rng) == reference[i]);
}

static void derived_streams_are_fixed_and_unrelated(void **state)
{
    (void)state;
    static const uint64_t known[] = {0x092240303fb66034, 0x7fb1197ad9a1e9e1, 0xdd734441035052fd};
    struct base_rng rng;
    base_rng_derive(&rng, 7, "link", 3);
    for (size_t i = 0; i < BASE_ARRAY_LEN(known); i++)
        assert_true(base_rng_u64(&rng) == known[i]);

    /* Neighbouring seeds, labels and indices: no first value twice, and about half of the bits differ. */
    static const char *const labels[] = {"link", "linl", "plan", ""};
    uint64_t first[4 * 4 * 16];
    size_t n = 0;
    for (uint64_t seed = 0; seed < 4; seed++)
        for (size_t l = 0; l < 4; l++)
            for (uint64_t i = 0; i < 16; i++) {
                base_rng_derive(&rng, seed, labels[l], i);
                first[n++] = base_rng_u64(&rng);
            }
    unsigned long bits = 0, pairs = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) {
            assert_true(first[i] != first[j]);
            bits += (unsigned)__builtin_popcountll(first[i] ^ first[j]);
            pairs++;
        }
    double mean = (double)bits / (double)pairs;
    assert_true(mean > 31.5 && mean < 32.5);
}

/* The sequence is fixed by its seed, so this cannot flake: it fails when the algorithm changes for the worse. */
static void below_is_uniform(void **state)
{
    (void)state;
    enum { BINS = 100, DRAWS = 100000 };
    unsigned count[BINS] = {0};
    struct base_rng rng;
    base_rng_seed(&rng, 2024);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t x = base_rng_below(&rng, BINS);
        assert_true(x < BINS);
        count[x]++;
    }
    double chi = 0, expected = (double)DRAWS / BINS;
    for (int i = 0; i < BINS; i++)
        chi += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
    /* 99 degrees of freedom: the 0.1 % and 99.9 % quantiles. */
    assert_true(chi > 61.1 && chi < 148.2);
}

static void below_has_no_modulo_bias(void **state)
{
    (void)state;
    /* With a bound of 3/4 of 2^64, plain modulo would make the lowest third twice as likely: 1/2 instead of 1/3. */
    enum { DRAWS = 30000 };
    const uint64_t bound = 3ULL << 62;
    struct base_rng rng;
    base_rng_seed(&rng, 5);
    unsigned low = 0;
    for (int i = 0; i < DRAWS; i++)
        low += base_rng_below(&rng, bound) < bound / 3;
    assert_true(low > DRAWS * 0.32 && low < DRAWS * 0.347);
    for (int i = 0; i < 10; i++)
        assert_true(base_rng_below(&rng, 1) == 0);
}

static void doubles_are_in_range(void **state)
{
    (void)state;
    struct base_rng rng;
    base_rng_seed(&rng, 9);
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        double x = base_rng_double(&rng);
        assert_true(x >= 0 && x < 1);
        sum += x;
    }
    /* The mean's standard deviation is 0.0009. */
    assert_true(sum / 100000 > 0.4964 && sum / 100000 < 0.5036);
}

static void secret_bytes_differ(void **state)
{
    (void)state;
    uint8_t a[64] = {0}, b[64] = {0};
    assert_int_equal(base_random_bytes(a, sizeof(a)), 0);
    assert_int_equal(base_random_bytes(b, sizeof(b)), 0);
    assert_memory_not_equal(a, b, sizeof(a));
    /* Past the 256 bytes that the kernel gives in one piece. */
    enum { BIG = 100000 };
    uint8_t *big = calloc(1, BIG);
    assert_non_null(big);
    assert_int_equal(base_random_bytes(big, BIG), 0);
    assert_memory_not_equal(big + BIG - 64, (uint8_t[64]){0}, 64);
    free(big);
}

/* ---- permutation ----------------------------------------------------------------------------- */

static void perm_is_a_bijection(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1, 2, 3, 4, 5, 16, 17, 100, 4096, 64512, 65535, 65536};
    for (size_t s = 0; s < BASE_ARRAY_LEN(sizes); s++)
        for (uint64_t seed = 0; seed < 5; seed++) {
            struct base_perm p;
            uint8_t *seen = calloc(1, sizes[s]);
            assert_non_null(seen);
            base_perm_init(&p, sizes[s], seed);
            for (uint64_t i = 0; i < sizes[s]; i++) {
                uint64_t x = base_perm_at(&p, i);
                assert_true(x < sizes[s]);
                assert_int_equal(seen[x]++, 0);
            }
            free(seen);
        }
    struct base_perm p;
    base_perm_init(&p, 1ULL << 32, 1);
    assert_true(base_perm_at(&p, (1ULL << 32) - 1) < 1ULL << 32);
}

static void perm_shuffles(void **state)
{
    (void)state;
    struct base_perm a, b, again;
    base_perm_init(&a, 64512, 1);
    base_perm_init(&b, 64512, 2);
    base_perm_init(&again, 64512, 1);
    unsigned same = 0, fixed = 0, neighbours = 0;
    for (uint64_t i = 0; i < 64512; i++) {
        uint64_t x = base_perm_at(&a, i);
        assert_true(base_perm_at(&again, i) == x);
        same += x == base_perm_at(&b, i);
        fixed += x == i;
        neighbours += i > 0 && x == base_perm_at(&a, i - 1) + 1;
    }
    /* Each is Poisson with mean 1 in a random permutation. */
    assert_in_range(same, 0, 8);
    assert_in_range(fixed, 0, 8);
    assert_in_range(neighbours, 0, 8);
    /* The first half of the order falls evenly on both halves of the range. */
    unsigned low = 0;
    for (uint64_t i = 0; i < 32256; i++)
        low += base_perm_at(&a, i) < 32256;
    assert_in_range(low, 16128 - 400, 16128 + 400);
}

/* ---- token bucket ---------------------------------------------------------------------------- */

static void bucket_gives_burst_then_rate(void **state)
{
    (void)state;
    struct base_bucket b;
    uint64_t t = 5 * BASE_NS_PER_S;
    base_bucket_init(&b, 1000, 10, t);
    for (int i = 0; i < 10; i++)
        assert_true(base_bucket_take(&b, t));
    assert_false(base_bucket_take(&b, t));
    assert_true(base_bucket_wait_ns(&b, 1, t) == BASE_NS_PER_MS);
    assert_false(base_bucket_take(&b, t + BASE_NS_PER_MS - 1000));
    assert_true(base_bucket_take(&b, t + BASE_NS_PER_MS));
    assert_false(base_bucket_take(&b, t + BASE_NS_PER_MS));
    /* A long idle time fills it to its depth and no further. */
    t += 3600 * BASE_NS_PER_S;
    for (int i = 0; i < 10; i++)
        assert_true(base_bucket_take(&b, t));
    assert_false(base_bucket_take(&b, t));
    /* A clock that stands or steps back gives nothing and takes nothing. */
    assert_false(base_bucket_take(&b, t - BASE_NS_PER_S));
    assert_true(base_bucket_take(&b, t + BASE_NS_PER_MS));
    assert_true(base_bucket_wait_ns(&b, 11, t) == UINT64_MAX);
}

/* Rounding must not break the promise: who waits as told, gets the token. Else a pacing timer fires twice a packet. */
static void bucket_keeps_its_promise(void **state)
{
    (void)state;
    static const double rates[] = {0.3, 1, 3, 7, 999, 1000, 2000, 1e5 / 3, 1e6, 3e8};
    for (size_t r = 0; r < BASE_ARRAY_LEN(rates); r++) {
        struct base_bucket b;
        uint64_t t = 123456789, begin = t;
        base_bucket_init(&b, rates[r], 4, t);
        unsigned taken = 0;
        for (int i = 0; i < 2000; i++) {
            t += base_bucket_wait_ns(&b, 1, t);
            if (!base_bucket_take(&b, t))
                fail_msg("rate %g: token %d was not there after the wait", rates[r], i);
            taken++;
        }
        double allowed = 4 + rates[r] * (double)(t - begin) * 1e-9;
        assert_true(taken <= allowed + 1e-3);
        /* A wait is rounded up to a whole ns, so the rate is met to within that. */
        assert_true((double)(t - begin) <= 2000 / rates[r] * 1e9 + 2000);
    }
}

static void bucket_without_rate_never_waits(void **state)
{
    (void)state;
    struct base_bucket b;
    base_bucket_init(&b, 0, 0, 1);
    for (int i = 0; i < 1000; i++)
        assert_true(base_bucket_take(&b, 1));
    assert_true(base_bucket_wait_ns(&b, 1e9, 1) == 0);
}

static void bucket_wait_is_bounded(void **state)
{
    (void)state;
    struct base_bucket b;
    base_bucket_init(&b, 1e-15, 1, 0);
    assert_true(base_bucket_take(&b, 0));
    /* More ns than 64 bits hold: never, not a wrapped-around "soon". */
    assert_true(base_bucket_wait_ns(&b, 1, 0) == UINT64_MAX);
}

/* ---- log ------------------------------------------------------------------------------------- */

/* What base_log wrote to stderr, through a pipe. */
static size_t logged(char *buf, size_t size, enum base_log_level level, const char *text)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    base_log(level, "%s", text);
    dup2(saved, STDERR_FILENO);
    close(saved);
    size_t len = 0;
    ssize_t n;
    while ((n = read(ends[0], buf + len, size - 1 - len)) > 0)
        len += (size_t)n;
    buf[len] = '\0';
    close(ends[0]);
    return len;
}

static void log_neutralises_controls(void **state)
{
    (void)state;
    char line[4096];
    base_log_init("prog", BASE_LOG_INFO);
    logged(line, sizeof(line), BASE_LOG_ERROR, "a\nprog: forged\r\x1b[31mred\x7f\ttab\x01");
    assert_string_equal(line, "prog: a?prog: forged??[31mred??tab?\n");
    /* U+009B is a control sequence introducer for some terminals; other UTF-8 stays readable. */
    logged(line, sizeof(line), BASE_LOG_WARN,
           "caf\xc3\xa9 \xc2\x9b"
           "31m \xc2\xa9");
    assert_string_equal(line, "prog: warning: caf\xc3\xa9 ??31m \xc2\xa9\n");
}

static void log_is_one_bounded_line(void **state)
{
    (void)state;
    char big[5000], line[8192];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    base_log_init("prog", BASE_LOG_INFO);
    size_t len = logged(line, sizeof(line), BASE_LOG_INFO, big);
    assert_true(len > 500 && len <= 1024);
    assert_int_equal(line[len - 1], '\n');
    assert_null(memchr(line, '\n', len - 1));
    assert_null(memchr(line, '\0', len));
    /* A program called by a long path must not overflow the line. */
    base_log_init(big + sizeof(big) - 1030, BASE_LOG_INFO);
    len = logged(line, sizeof(line), BASE_LOG_INFO, "hello");
    assert_true(len > 0 && len <= 1024);
    assert_int_equal(line[len - 1], '\n');
    base_log_init("prog", BASE_LOG_INFO);
}

static void log_levels_and_errno(void **state)
{
    (void)state;
    char line[4096];
    base_log_init("prog", BASE_LOG_WARN);
    assert_int_equal(logged(line, sizeof(line), BASE_LOG_INFO, "hidden"), 0);
    assert_int_equal(logged(line, sizeof(line), BASE_LOG_DEBUG, "hidden"), 0);
    assert_true(logged(line, sizeof(line), BASE_LOG_ERROR, "seen") > 0);
    base_log_init("prog", BASE_LOG_DEBUG);
    logged(line, sizeof(line), BASE_LOG_DEBUG, "detail");
    assert_string_equal(line, "prog: debug: detail\n");
    base_log_init("prog", BASE_LOG_INFO);
    /* "log it, then return -errno" must return the errno that was logged. */
    int saved = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    errno = EXDEV;
    base_error("to a closed stderr");
    int err = errno;
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_int_equal(err, EXDEV);
}

static void open_files_are_raised(void **state)
{
    (void)state;
    struct rlimit before, low, after;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = (struct rlimit){.rlim_cur = 64, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_true(base_raise_open_files() == before.rlim_max);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
    assert_true(after.rlim_cur == before.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void open_files_are_counted(void **state)
{
    (void)state;
    uint64_t before = base_open_files();
    int fds[70];
    for (size_t i = 0; i < BASE_ARRAY_LEN(fds); i++)
        assert_true((fds[i] = dup(STDERR_FILENO)) >= 0);
    assert_int_equal(base_open_files(), before + BASE_ARRAY_LEN(fds));
    for (size_t i = 0; i < BASE_ARRAY_LEN(fds); i++)
        close(fds[i]);
    assert_true(before >= 1);
    assert_int_equal(base_open_files(), before);
}

/* ---- key files ------------------------------------------------------------------------------- */

static void key_files_lose_the_newline_only(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err;
        size_t len;
    } cases[] = {
        {"secret\n", 0, 6}, {" a b \r\n", 0, 5}, {"no newline", 0, 10}, {"", -ENODATA, 0}, {"\n\n", -ENODATA, 0}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        char path[] = "/tmp/test_base_key_XXXXXX";
        uint8_t key[64];
        size_t len = 99;
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, cases[i].text, strlen(cases[i].text)), (ssize_t)strlen(cases[i].text));
        close(fd);
        assert_int_equal(base_read_key(path, key, sizeof(key), &len), cases[i].err);
        assert_int_equal(len, cases[i].len);
        assert_memory_equal(key, cases[i].text, len);
        unlink(path);
        assert_int_equal(base_read_key(path, key, sizeof(key), &len), -ENOENT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoint_round_trips),
        cmocka_unit_test(endpoint_fields),
        cmocka_unit_test(endpoint_refuses),
        cmocka_unit_test(endpoint_compares),
        cmocka_unit_test(durations),
        cmocka_unit_test(integers),
        cmocka_unit_test(clock_moves_forward),
        cmocka_unit_test(rng_is_the_published_algorithm),
        cmocka_unit_test(derived_streams_are_fixed_and_unrelated),
        cmocka_unit_test(below_is_uniform),
        cmocka_unit_test(below_has_no_modulo_bias),
        cmocka_unit_test(doubles_are_in_range),
        cmocka_unit_test(secret_bytes_differ),
        cmocka_unit_test(perm_is_a_bijection),
        cmocka_unit_test(perm_shuffles),
        cmocka_unit_test(bucket_gives_burst_then_rate),
        cmocka_unit_test(bucket_keeps_its_promise),
        cmocka_unit_test(bucket_without_rate_never_waits),
        cmocka_unit_test(bucket_wait_is_bounded),
        cmocka_unit_test(log_neutralises_controls),
        cmocka_unit_test(log_is_one_bounded_line),
        cmocka_unit_test(log_levels_and_errno),
        cmocka_unit_test(open_files_are_raised),
        cmocka_unit_test(open_files_are_counted),
        cmocka_unit_test(key_files_lose_the_newline_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
