/*
 * bench/hist: buckets, recording, merging, reading. Pins: a bucket edge that is not HdrHistogram's, a value that loses
 * its third digit anywhere from 1 us to 1 h, a merge that differs from recording together, a correction that differs
 * from its definition or takes as long as the ratio says, a quantile off by one rank, and a half-done failure.
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/hist_same.h"

/* A value from 1 us to 1 h, every magnitude alike. */
static uint64_t any_latency(struct base_rng *rng)
{
    uint64_t magnitude = 1000ULL << base_rng_below(rng, 32);
    uint64_t ns = magnitude + base_rng_below(rng, magnitude);
    return ns > HIST_MAX_NS ? HIST_MAX_NS : ns;
}

/* By the definition: units of 1 below 2048, then 1024 buckets of 2^k in [1024 * 2^k, 2048 * 2^k). */
static void bucket_edges(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns, lo, hi;
    } known[] = {
        {0, 0, 0},
        {1, 1, 1},
        {1000, 1000, 1000},
        {1023, 1023, 1023},
        {1024, 1024, 1024},
        {2047, 2047, 2047},
        {2048, 2048, 2049},
        {2049, 2048, 2049},
        {2050, 2050, 2051},
        {4095, 4094, 4095},
        {4096, 4096, 4099},
        {10000, 10000, 10007},
        {40000000, 39976960, 40009727},
        {1000000000, 999817216, 1000341503},
        {HIST_MAX_NS, 3599182594048, 3601330077695},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(known); i++) {
        assert_true(hist_lowest_equivalent(known[i].ns) == known[i].lo);
        assert_true(hist_highest_equivalent(known[i].ns) == known[i].hi);
    }
}

static void three_digits_everywhere(void **state)
{
    (void)state;
    struct base_rng rng;
    base_rng_seed(&rng, 1);
    for (unsigned i = 0; i < 300000; i++) {
        uint64_t ns = any_latency(&rng), lo = hist_lowest_equivalent(ns), hi = hist_highest_equivalent(ns);
        assert_true(lo <= ns && ns <= hi);
        /* "Three significant digits" is one unit in 1000 at most, as integers. */
        assert_true((hi - lo) * 1000 <= lo);
        /* The buckets tile: no gap, no overlap. */
        assert_true(hist_lowest_equivalent(hi + 1) == hi + 1);
        assert_true(hist_highest_equivalent(lo - 1) == lo - 1);
        assert_true(hist_lowest_equivalent(hi) == lo && hist_highest_equivalent(lo) == hi);
    }
}

static void every_bucket_holds_its_own(void **state)
{
    (void)state;
    struct hist h = {0};
    uint64_t buckets = 0, ns;
    for (ns = 0; ns <= HIST_MAX_NS; ns = hist_highest_equivalent(ns) + 1)
        assert_int_equal(hist_record_n(&h, ns, ++buckets), 0);
    /* 2048 single ones, 30 times 1024, and 1024 to 1676 of the last width. */
    assert_int_equal(buckets, 2048 + 30 * 1024 + 653);
    struct hist_iter it = {0};
    uint64_t seen = 0;
    for (ns = 0; hist_next(&h, &it); ns = it.hi + 1) {
        assert_true(it.lo == ns && it.count == ++seen);
        assert_true(hist_count_at(&h, it.lo) == seen && hist_count_at(&h, it.hi < HIST_MAX_NS ? it.hi : it.lo) == seen);
    }
    assert_true(seen == buckets && h.total == buckets * (buckets + 1) / 2);
    hist_clear(&h);
}

static void nothing_and_little(void **state)
{
    (void)state;
    struct hist h = {0};
    struct hist_iter it = {0};
    assert_false(hist_next(&h, &it));
    assert_true(hist_min(&h) == 0 && hist_max(&h) == 0 && hist_mean(&h) == 0 && hist_quantile(&h, 0.5) == 0);
    assert_int_equal(hist_record_n(&h, 5, 0), 0);
    assert_true(h.total == 0);
    assert_int_equal(hist_record(&h, 40000000), 0);
    assert_true(hist_min(&h) == 39976960 && hist_max(&h) == 40009727 && hist_mean(&h) == 39993344);
    for (unsigned percent = 1; percent < 150; percent++)
        assert_true(hist_quantile(&h, percent / 100.0) == 40009727);
    assert_true(hist_quantile(&h, 0) == 39976960 && hist_quantile(&h, -1) == 39976960);
    hist_clear(&h);
    assert_true(h.total == 0 && hist_max(&h) == 0);
}

/* Every rank of 1 to 100: 0.07 * 100 is 7.000000000000001 in binary, and is the 7th all the same. */
static void quantiles_hit_their_rank(void **state)
{
    (void)state;
    struct hist h = {0};
    for (uint64_t ns = 1; ns <= 100; ns++)
        assert_int_equal(hist_record(&h, ns), 0);
    for (unsigned percent = 1; percent <= 100; percent++)
        assert_int_equal(hist_quantile(&h, percent / 100.0), percent);
    assert_int_equal(hist_quantile(&h, 0.071), 8);
    assert_int_equal(hist_quantile(&h, 0.0001), 1);
    assert_int_equal(hist_quantile(&h, 7), 100);
    assert_true(hist_mean(&h) == 50.5);
    hist_clear(&h);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Against the sorted values themselves. */
static void quantiles_of_random_values(void **state)
{
    (void)state;
    enum { N = 5000 };
    static uint64_t values[N];
    struct base_rng rng;
    base_rng_seed(&rng, 2);
    struct hist h = {0};
    double sum = 0;
    for (unsigned i = 0; i < N; i++) {
        values[i] = any_latency(&rng);
        sum += (double)values[i];
        assert_int_equal(hist_record(&h, values[i]), 0);
    }
    qsort(values, N, sizeof(*values), compare);
    for (unsigned rank = 1; rank <= N; rank++)
        assert_true(hist_quantile(&h, (double)rank / N) == hist_highest_equivalent(values[rank - 1]));
    assert_true(hist_min(&h) == hist_lowest_equivalent(values[0]));
    assert_true(hist_max(&h) == hist_highest_equivalent(values[N - 1]));
    assert_true(hist_mean(&h) > 0.999 * sum / N && hist_mean(&h) < 1.001 * sum / N);
    hist_clear(&h);
}

static void merge_is_recording_together(void **state)
{
    (void)state;
    struct base_rng rng;
    base_rng_seed(&rng, 3);
    for (unsigned round = 0; round < 20; round++) {
        struct hist parts[4] = {{0}}, all = {0}, merged = {0};
        for (unsigned i = 0; i < 2000; i++) {
            uint64_t ns = any_latency(&rng), count = 1 + base_rng_below(&rng, 3);
            assert_int_equal(hist_record_n(&parts[base_rng_below(&rng, 4)], ns, count), 0);
            assert_int_equal(hist_record_n(&all, ns, count), 0);
        }
        /* In any order. */
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(hist_add(&merged, &parts[(i + round) % 4]), 0);
        assert_same(&merged, &all);
        /* And with itself. */
        assert_int_equal(hist_add(&merged, &merged), 0);
        assert_int_equal(hist_add(&all, &parts[0]), 0);
        for (unsigned i = 1; i < 4; i++)
            assert_int_equal(hist_add(&all, &parts[i]), 0);
        assert_same(&merged, &all);
        for (unsigned i = 0; i < 4; i++)
            hist_clear(&parts[i]);
        hist_clear(&all);
        hist_clear(&merged);
    }
}

/* The definition, a value at a time. */
static void record_corrected_slowly(struct hist *h, uint64_t ns, uint64_t expected)
{
    assert_int_equal(hist_record(h, ns), 0);
    while (expected > 0 && ns >= 2 * expected) {
        ns -= expected;
        assert_int_equal(hist_record(h, ns), 0);
    }
}

static void correction_is_the_definition(void **state)
{
    (void)state;
    struct hist h = {0};
    /* 100 ms where one was due every 10 ms: 100, 90, ..., 10 ms. */
    assert_int_equal(hist_record_corrected(&h, 100000000, 1, 10000000), 0);
    assert_true(h.total == 10);
    for (uint64_t ns = 10000000; ns <= 100000000; ns += 10000000)
        assert_true(hist_count_at(&h, ns) == 1);
    hist_clear(&h);
    struct base_rng rng;
    base_rng_seed(&rng, 4);
    for (unsigned i = 0; i < 2000; i++) {
        struct hist quick = {0}, slow = {0};
        uint64_t ns = any_latency(&rng), expected = base_rng_below(&rng, 10) ? ns / (1 + base_rng_below(&rng, 300)) : 0;
        assert_int_equal(hist_record_corrected(&quick, ns, 1, expected), 0);
        record_corrected_slowly(&slow, ns, expected);
        assert_same(&quick, &slow);
        hist_clear(&quick);
        hist_clear(&slow);
    }
}

/* An hour late on every nanosecond: a loop over the values would not end today. */
static void correction_is_bounded(void **state)
{
    (void)state;
    struct hist h = {0};
    assert_int_equal(hist_record_corrected(&h, HIST_MAX_NS, 1, 1), 0);
    assert_true(h.total == HIST_MAX_NS);
    assert_true(hist_count_at(&h, 1) == 1 && hist_count_at(&h, 2048) == 2 && hist_count_at(&h, 1000000000) == 524288);
    hist_clear(&h);
}

static void what_does_not_fit_leaves_no_trace(void **state)
{
    (void)state;
    struct hist h = {0}, full = {0};
    assert_int_equal(hist_record(&h, HIST_MAX_NS + 1), -ERANGE);
    assert_int_equal(hist_record_corrected(&h, UINT64_MAX, 1, 1000), -ERANGE);
    assert_int_equal(hist_record_n(&h, 1, (uint64_t)INT64_MAX + 1), -EOVERFLOW);
    assert_int_equal(hist_record_corrected(&h, 1000, (uint64_t)INT64_MAX / 900, 1), -EOVERFLOW);
    assert_int_equal(hist_record_corrected(&h, 1000, UINT64_MAX / 2, 1), -EOVERFLOW);
    assert_true(h.total == 0 && hist_max(&h) == 0);
    assert_int_equal(hist_record_n(&full, 7, INT64_MAX), 0);
    assert_int_equal(hist_record(&h, 9), 0);
    assert_int_equal(hist_add(&full, &h), -EOVERFLOW);
    assert_int_equal(hist_add(&full, &full), -EOVERFLOW);
    assert_true(full.total == INT64_MAX && hist_count_at(&full, 9) == 0 && hist_quantile(&full, 1) == 7);
    assert_true(hist_count_at(&full, UINT64_MAX) == 0);
    hist_clear(&h);
    hist_clear(&full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket_edges),
        cmocka_unit_test(three_digits_everywhere),
        cmocka_unit_test(every_bucket_holds_its_own),
        cmocka_unit_test(nothing_and_little),
        cmocka_unit_test(quantiles_hit_their_rank),
        cmocka_unit_test(quantiles_of_random_values),
        cmocka_unit_test(merge_is_recording_together),
        cmocka_unit_test(correction_is_the_definition),
        cmocka_unit_test(correction_is_bounded),
        cmocka_unit_test(what_does_not_fit_leaves_no_trace),
    };
    return cmocka_run_group_tests_name("hist", tests, NULL, NULL);
}
