/*
 * bench/record statistics. Pins: an interval that is not the published one (a wrong root, z or continuity correction),
 * bounds outside of [0, 1], and a quantile of another type than 7, unsorted or off the end.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/record/record.h"

static void assert_near(double got, double want)
{
    if (fabs(got - want) > 0.00005001)
        fail_msg("got %.6f, the paper has %.4f", got, want);
}

/* Newcombe 1998a, table I, method 3 (Wilson without continuity correction). */
static void wilson_matches_newcombe_1998a(void **state)
{
    (void)state;
    static const struct {
        uint64_t k, n;
        double lo, hi;
    } published[] = {
        {81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0.0000, 0.1611}, {1, 29, 0.0061, 0.1718}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(published); i++) {
        struct record_interval w = record_wilson(published[i].k, published[i].n, RECORD_Z95);
        assert_near(w.lo, published[i].lo);
        assert_near(w.hi, published[i].hi);
    }
}

static void wilson_at_the_ends(void **state)
{
    (void)state;
    struct record_interval none = record_wilson(0, 0, RECORD_Z95);
    assert_true(none.lo == 0 && none.hi == 1);
    struct record_interval zero = record_wilson(0, 20, RECORD_Z95), all = record_wilson(20, 20, RECORD_Z95);
    assert_true(zero.lo == 0);
    assert_true(all.hi == 1);
    assert_near(all.lo, 1 - zero.hi);
    for (uint64_t k = 0; k <= 1000; k++) {
        struct record_interval w = record_wilson(k, 1000, RECORD_Z95);
        assert_true(w.lo >= 0 && w.hi <= 1 && w.lo <= (double)k / 1000 && w.hi >= (double)k / 1000);
    }
}

/* Newcombe 1998b, table II, method 10. */
static void difference_matches_newcombe_1998b(void **state)
{
    (void)state;
    static const struct {
        uint64_t k1, n1, k2, n2;
        double lo, hi;
    } published[] = {{56, 70, 48, 80, 0.0524, 0.3339}, {9, 10, 3, 10, 0.1705, 0.8090},  {6, 7, 2, 7, 0.0582, 0.8062},
                     {5, 56, 0, 29, -0.0381, 0.1926},  {0, 10, 0, 20, -0.1611, 0.2775}, {0, 10, 0, 10, -0.2775, 0.2775},
                     {10, 10, 0, 20, 0.6791, 1.0000},  {10, 10, 0, 10, 0.6075, 1.0000}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(published); i++) {
        struct record_interval d =
            record_newcombe(published[i].k1, published[i].n1, published[i].k2, published[i].n2, RECORD_Z95);
        assert_near(d.lo, published[i].lo);
        assert_near(d.hi, published[i].hi);
    }
    struct record_interval nothing = record_newcombe(0, 0, 1, 2, RECORD_Z95);
    assert_true(nothing.lo == -1 && nothing.hi == 1);
}

/* R's quantile(), type 7: of c(1, 2, 4, 8, 16) the quartiles are 2, 4, 8 and the 90th percentile 12.8. */
static void quantile_is_type_7(void **state)
{
    (void)state;
    uint64_t v[] = {16, 2, 8, 1, 4};
    assert_int_equal(record_quantile(v, 5, 0.5), 4);
    assert_int_equal(v[0], 1);
    assert_int_equal(v[4], 16);
    assert_int_equal(record_quantile(v, 5, 0.25), 2);
    assert_int_equal(record_quantile(v, 5, 0.75), 8);
    assert_int_equal(record_quantile(v, 5, 0), 1);
    assert_int_equal(record_quantile(v, 5, 1), 16);
    assert_int_equal(record_quantile(v, 5, 2), 16);
    uint64_t ns[] = {16000000, 2000000, 8000000, 1000000, 4000000};
    assert_int_equal(record_quantile(ns, 5, 0.9), 12800000);
}

static void quantile_of_few(void **state)
{
    (void)state;
    uint64_t one[] = {7}, two[] = {40, 20};
    assert_int_equal(record_quantile(NULL, 0, 0.5), 0);
    assert_int_equal(record_quantile(one, 1, 0.99), 7);
    assert_int_equal(record_quantile(two, 2, 0.5), 30);
    /* Between neighbours at the top of the range, where a double no longer tells them apart. */
    uint64_t big[] = {UINT64_MAX - 4, UINT64_MAX};
    assert_true(record_quantile(big, 2, 0.5) == UINT64_MAX - 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson_matches_newcombe_1998a),
        cmocka_unit_test(wilson_at_the_ends),
        cmocka_unit_test(difference_matches_newcombe_1998b),
        cmocka_unit_test(quantile_is_type_7),
        cmocka_unit_test(quantile_of_few),
    };
    return cmocka_run_group_tests_name("record_stats", tests, NULL, NULL);
}
