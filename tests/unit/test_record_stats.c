/*
 * bench/record statistics. Pins: an interval that is not the published one (a wrong root, z or continuity correction),
 * bounds outside of [0, 1], a quantile of another type than 7, unsorted or off the end, a test that rejects too often,
 * an exact p-value that is only nearly so, a rank off by one, Holm's factors out of order, and a prediction in the
 * wrong bin.
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

/* ---- pairs ----------------------------------------------------------------------------------- */

static void paired_difference_matches_newcombe_1998c(void **state)
{
    (void)state;
    static const struct {
        struct record_pairs pairs;
        double lo, hi, digits;
    } published[] = {
        {{36, 12, 2, 0}, 0.0569, 0.3404, 1e-4}, /* Newcombe 1998c, method 10 */
        {{1, 1, 7, 12}, -0.507, -0.026, 1e-3},  /* Fagerland, Lydersen, Laake 2014: airways, before and after */
        {{14, 5, 0, 22}, 0.011, 0.226, 1e-3},   /* Altman et al. 2000, table 6.2 */
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(published); i++) {
        struct record_interval d = record_newcombe_paired(&published[i].pairs, RECORD_Z95);
        assert_true(fabs(d.lo - published[i].lo) <= published[i].digits / 2 + 1e-9);
        assert_true(fabs(d.hi - published[i].hi) <= published[i].digits / 2 + 1e-9);
    }
}

static void paired_difference_at_the_ends(void **state)
{
    (void)state;
    struct record_interval none = record_newcombe_paired(&(struct record_pairs){0}, RECORD_Z95);
    assert_true(none.lo == -1 && none.hi == 1);
    struct base_rng rng;
    base_rng_seed(&rng, 1);
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t top = 1ULL << base_rng_below(&rng, 30);
        struct record_pairs p = {base_rng_below(&rng, top), base_rng_below(&rng, top), base_rng_below(&rng, top),
                                 base_rng_below(&rng, top)};
        double n = (double)(p.both + p.only_a + p.only_b + p.neither);
        if (n == 0)
            continue;
        double difference = ((double)p.only_a - (double)p.only_b) / n;
        struct record_interval d = record_newcombe_paired(&p, RECORD_Z95);
        assert_true(d.lo >= -1 - 1e-12 && d.hi <= 1 + 1e-12);
        assert_true(d.lo <= difference + 1e-12 && d.hi >= difference - 1e-12);
        /* A and B changed over. */
        struct record_pairs mirrored = {p.both, p.only_b, p.only_a, p.neither};
        struct record_interval m = record_newcombe_paired(&mirrored, RECORD_Z95);
        assert_true(fabs(m.lo + d.hi) < 1e-9 && fabs(m.hi + d.lo) < 1e-9);
    }
}

static void exact_pairs_match_published(void **state)
{
    (void)state;
    static const struct {
        uint64_t a, b;
        double p;
    } published[] = {
        {9, 2, 2 * 67.0 / 2048},           /* Fay 2010, exact McNemar: 0.0654 */
        {21, 4, 0.0009105205535888672},    /* Hollander and Wolfe, example 3.5: one-sided 0.00046 */
        {9, 3, 0.14599609375},             /* R's binom.test(9, 12) */
        {7, 1, 2 * 9.0 / 256},             /* by hand */
        {0, 5, 2.0 / 32},                  /* by hand */
        {1, 0, 1},                         /* by hand */
        {0, 0, 1},                         /* nothing differs */
        {50, 50, 1},                       /* twice more than half */
        {86, 150, 3.715936139571442e-05},  /* Agresti, approval of the prime minister; in exact fractions */
        {400, 600, 2.7284641560660184e-10} /* in exact fractions */
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(published); i++) {
        double p = record_exact_pairs(published[i].a, published[i].b);
        assert_true(fabs(p - published[i].p) <= 1e-10 * published[i].p);
        assert_true(record_exact_pairs(published[i].b, published[i].a) == p);
    }
    /* Millions: within what the normal curve says of 3 deviations, 0.0027. */
    double p = record_exact_pairs(2000000 - 3000, 2000000 + 3000);
    assert_true(p > 0.00269 && p < 0.00271);
    assert_true(record_exact_pairs(0, 10000000) == 0);
}

/* ---- families -------------------------------------------------------------------------------- */

static void holm_matches_published(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        double p[5], want[5];
    } published[] = {
        {5, {0.50, 0.003, 0.32, 0.054, 0.0003}, {0.64, 0.012, 0.64, 0.162, 0.0015}}, /* pingouin's multicomp */
        {4, {0.01, 0.04, 0.03, 0.005}, {0.03, 0.06, 0.06, 0.02}},                    /* Wikipedia's H1 to H4 */
        {5,
         {0.319, 0.201, 0.4, 0.374, 0.113},
         {0.957, 0.804, 0.957, 0.957, 0.565}}, /* stdlib's padjust, R's p.adjust */
        {3, {0.02, 0.02, 0.02}, {0.06, 0.06, 0.06}},
        {2, {0, 1}, {0, 1}},
        {1, {0.7}, {0.7}},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(published); i++) {
        double adjusted[5];
        record_holm(published[i].p, adjusted, published[i].n);
        for (size_t j = 0; j < published[i].n; j++)
            assert_true(fabs(adjusted[j] - published[i].want[j]) < 1e-9);
    }
    record_holm(NULL, NULL, 0);
}

static void benjamini_hochberg_matches_published(void **state)
{
    (void)state;
    /* Benjamini and Hochberg 1995, section 3.2: thrombolysis, 15 comparisons; at 0.05 theirs rejects 4, Holm's 3. */
    static const double p[] = {0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
                               0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000};
    double bh[15], holm[15];
    unsigned found = 0, strictly = 0;
    record_benjamini_hochberg(p, bh, 15);
    record_holm(p, holm, 15);
    for (size_t i = 0; i < 15; i++) {
        found += bh[i] <= 0.05;
        strictly += holm[i] <= 0.05;
    }
    assert_int_equal(found, 4);
    assert_int_equal(strictly, 3);
    static const struct {
        size_t n;
        double p[5], want[5];
    } known[] = {
        {5, {0.50, 0.003, 0.32, 0.054, 0.0003}, {0.5, 0.0075, 0.4, 0.09, 0.0015}}, /* pingouin's multicomp */
        {4, {0.01, 0.04, 0.03, 0.005}, {0.02, 0.04, 0.04, 0.02}},                  /* by hand */
        {3, {0.02, 0.02, 0.02}, {0.02, 0.02, 0.02}},
        {2, {0, 1}, {0, 1}},
        {1, {0.7}, {0.7}},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(known); i++) {
        record_benjamini_hochberg(known[i].p, bh, known[i].n);
        for (size_t j = 0; j < known[i].n; j++)
            assert_true(fabs(bh[j] - known[i].want[j]) < 1e-9);
    }
    record_benjamini_hochberg(NULL, NULL, 0);
}

/* ---- one proportion -------------------------------------------------------------------------- */

static void binomial_matches_published(void **state)
{
    (void)state;
    /* Conover 1971, p. 97, after Mendel: 682 of 925 against three quarters; R's binom.test says 0.3825. */
    assert_near(record_binomial(682, 925, 0.75), 0.3825);
    assert_true(fabs(record_binomial(9, 12, 0.5) - 0.14599609375) < 1e-9);
    /* By hand: of 4 trials at 1/4, none (81/256) is as likely as or likelier than 2, 3, 4 (67/256), 1 is likelier. */
    assert_true(fabs(record_binomial(2, 4, 0.25) - 67.0 / 256) < 1e-12);
    assert_true(fabs(record_binomial(0, 4, 0.25) - 148.0 / 256) < 1e-12);
    /* What is certain, and what cannot be. */
    assert_true(record_binomial(5, 5, 1) == 1 && record_binomial(4, 5, 1) == 0);
    assert_true(record_binomial(0, 5, 0) == 1 && record_binomial(1, 5, 0) == 0);
    assert_true(record_binomial(0, 0, 0.3) == 1);
    assert_true(record_binomial(100, 100, 0.99) > 0.5 && record_binomial(90, 100, 0.99) < 1e-6);
}

static void binomial_rejects_at_most_as_often_as_it_says(void **state)
{
    (void)state;
    /* Exactly, over all outcomes of 100 trials: what a cell of a campaign has. */
    for (unsigned percent = 1; percent < 100; percent += 7) {
        double rate = percent / 100.0, rejected = 0;
        for (unsigned k = 0; k <= 100; k++)
            if (record_binomial(k, 100, rate) <= 0.05)
                rejected += exp(lgamma(101) - lgamma(k + 1) - lgamma(101 - k)) * pow(rate, k) * pow(1 - rate, 100 - k);
        assert_true(rejected <= 0.05);
    }
}

/* ---- quantiles ------------------------------------------------------------------------------- */

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

/* The median's interval, as tables for the sign test have it (Hollander and Wolfe, example 3.6, is n = 25). */
static void ranks_of_the_median_match_tables(void **state)
{
    (void)state;
    static const struct {
        size_t n, lo, hi;
        double percent;
    } table[] = {{6, 1, 6, 96.9},    {7, 1, 7, 98.4},     {8, 1, 8, 99.2},   {9, 2, 8, 96.1},   {10, 2, 9, 97.9},
                 {11, 2, 10, 98.8},  {12, 3, 10, 96.1},   {13, 3, 11, 97.8}, {14, 3, 12, 98.7}, {15, 4, 12, 96.5},
                 {16, 4, 13, 97.9},  {17, 5, 13, 95.1},   {18, 5, 14, 96.9}, {19, 5, 15, 98.1}, {20, 6, 15, 95.9},
                 {25, 8, 18, 95.67}, {100, 40, 61, 96.48}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(table); i++) {
        struct record_ranks r = record_quantile_ranks(table[i].n, 0.5, 0.95);
        assert_int_equal(r.lo, table[i].lo);
        assert_int_equal(r.hi, table[i].hi);
        assert_true(fabs(100 * r.coverage - table[i].percent) < 0.0501);
    }
    assert_true(fabs(record_quantile_ranks(25, 0.5, 0.95).coverage - 0.9567147493362427) < 1e-12);
}

/* Others, computed in exact fractions from the definition. */
static void ranks_of_other_quantiles(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        double q;
        size_t lo, hi;
        double coverage;
    } known[] = {
        {100, 0.9, 84, 96, 0.955690107191223},
        {400, 0.99, 392, 400, 0.961280887066518},
        {1000, 0.9, 881, 919, 0.9549071811148258},
        {1000, 0.99, 983, 997, 0.9760947634979771},
        {60, 0.9, 49, 59, 0.9716382358365523},
        {59, 0.95, 52, 60, 0.9911362570110953},
        {100, 0.99, 97, 101, 0.9816259635553504}, /* 100 values do not bound the 99th percentile from above */
        {5, 0.5, 0, 6, 1},                        /* nor 5 the median */
        {0, 0.5, 0, 1, 1},
        {10, 0, 0, 1, 1},
        {10, 1, 10, 11, 1},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(known); i++) {
        struct record_ranks r = record_quantile_ranks(known[i].n, known[i].q, 0.95);
        assert_int_equal(r.lo, known[i].lo);
        assert_int_equal(r.hi, known[i].hi);
        assert_true(fabs(r.coverage - known[i].coverage) < 1e-9);
    }
    /* Ten million values: 1.96 deviations of sqrt(n / 4) on both sides. */
    struct record_ranks r = record_quantile_ranks(10000000, 0.5, 0.95);
    assert_in_range(r.lo, 4996900, 4996903);
    assert_in_range(r.hi, 5003098, 5003101);
    assert_true(r.coverage >= 0.95 && r.coverage < 0.9502);
}

/* ---- two samples ----------------------------------------------------------------------------- */

/* Hollander and Wolfe 1999, example 5.4: effect of feedback, J = 6, P = .0524. In hundredths, from -2 up. */
static void ks_matches_published(void **state)
{
    (void)state;
    uint64_t a[] = {185, 1060, 700, 571, 629, 974, 448, 525, 85, 1038};
    uint64_t b[] = {455, 1407, 246, 235, 469, 106, 373, 273, 165, 163};
    struct record_ks r = record_ks(a, 10, b, 10);
    assert_true(r.exact && fabs(r.d - 0.6) < 1e-12);
    assert_near(r.p, 0.0524);
}

/* Samples of n whose distribution functions are k / n apart: Gnedenko and Korolyuk's closed form (1951). */
static void ks_matches_the_closed_form(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 60; n++)
        for (size_t k = 1; k <= n; k++) {
            uint64_t a[60], b[60];
            for (size_t i = 0; i < n; i++) {
                a[i] = 2 * i;
                b[i] = 2 * (i + k) - 1;
            }
            double want = 0;
            for (size_t i = 1; i * k <= n; i++)
                want += (i % 2 ? 2 : -2) * exp(2 * lgamma((double)n + 1) - lgamma((double)(n - i * k) + 1) -
                                               lgamma((double)(n + i * k) + 1));
            struct record_ks r = record_ks(a, n, b, n);
            assert_true(fabs(r.d - (double)k / (double)n) < 1e-12);
            assert_true(fabs(r.p - fmin(1, want)) < 1e-9);
        }
}

static void ks_of_unequal_and_empty_samples(void **state)
{
    (void)state;
    /* By hand: of the 10 orders of 3 and 2 values, 2 have all of one sample first. */
    uint64_t a[] = {3, 1, 2}, b[] = {9, 8};
    struct record_ks r = record_ks(a, 3, b, 2);
    assert_true(r.d == 1 && fabs(r.p - 0.2) < 1e-12);
    /* The same values are at no distance; with ties nothing is between them. */
    uint64_t c[] = {5, 5, 7}, d[] = {5, 7, 5};
    assert_true(record_ks(c, 3, d, 3).d == 0 && record_ks(c, 3, d, 3).p == 1);
    assert_true(record_ks(NULL, 0, d, 3).p == 1 && record_ks(c, 3, NULL, 0).p == 1);
}

/* Under one distribution p is uniform; the exact one and the limit's must agree where the one takes over. */
static void ks_rejects_as_often_as_it_says(void **state)
{
    (void)state;
    struct base_rng rng;
    base_rng_seed(&rng, 5);
    static uint64_t a[2500], b[2500];
    unsigned rejected = 0, rounds = 2000;
    for (unsigned k = 0; k < rounds; k++) {
        for (size_t i = 0; i < 60; i++) {
            a[i] = base_rng_u64(&rng);
            b[i] = base_rng_u64(&rng);
        }
        rejected += record_ks(a, 60, b, 45).p <= 0.05;
    }
    /* At most 5 %, and not far below: three deviations are 1.5 %. */
    assert_true(rejected >= rounds * 3 / 100 && rejected <= rounds * 65 / 1000);
    for (size_t shift = 1; shift < 100; shift += 7) {
        struct record_ks r[2];
        for (size_t k = 0; k < 2; k++) {
            size_t n = k ? 2002 : 1998;
            for (size_t i = 0; i < n; i++) {
                a[i] = 2 * i;
                b[i] = 2 * (i + shift) + 1;
            }
            r[k] = record_ks(a, n, b, n);
        }
        assert_true(r[0].exact && !r[1].exact && fabs(r[0].p - r[1].p) < 0.01);
    }
}

/* ---- predictions ----------------------------------------------------------------------------- */

/* Brier 1950, table 1: ten forecasts of rain; his score of 0.19 counts "no rain" too. */
static void brier_matches_brier_1950(void **state)
{
    (void)state;
    static const double p[] = {0.7, 0.9, 0.8, 0.4, 0.2, 0, 0, 0, 0, 0.1};
    static const bool rain[] = {false, true, true, true, false, false, false, false, false, false};
    struct record_calibration c = {0};
    assert_true(isnan(record_brier(&c)));
    for (size_t i = 0; i < BASE_ARRAY_LEN(p); i++)
        assert_true(record_calibration_add(&c, p[i], rain[i]));
    assert_true(fabs(record_brier(&c) - 0.19 / 2) < 1e-12);
    assert_false(record_calibration_add(&c, NAN, true));
    assert_false(record_calibration_add(&c, -0.1, true));
    assert_false(record_calibration_add(&c, 1.1, true));
    assert_int_equal(c.n, 10);
}

static void calibration_bins(void **state)
{
    (void)state;
    struct record_calibration c = {0};
    struct record_calibration_point point;
    for (unsigned i = 0; i < RECORD_CALIBRATION_BINS + 1; i++)
        assert_false(record_calibration_point(&c, i, RECORD_Z95, &point));
    /* 15 of 148 (Newcombe 1998a) at 0.1 and 0.2 less a little, and the ends. */
    for (unsigned i = 0; i < 148; i++)
        record_calibration_add(&c, i % 2 ? 0.1 : 0.1999, i < 15);
    record_calibration_add(&c, 0, false);
    record_calibration_add(&c, 1, true);
    assert_true(record_calibration_point(&c, 1, RECORD_Z95, &point));
    assert_true(fabs(point.mean_p - 0.14995) < 1e-9 && fabs(point.measured - 15.0 / 148) < 1e-12);
    assert_near(point.interval.lo, 0.0624);
    assert_near(point.interval.hi, 0.1605);
    assert_true(record_calibration_point(&c, 0, RECORD_Z95, &point) && point.mean_p == 0 && point.measured == 0);
    assert_true(record_calibration_point(&c, 9, RECORD_Z95, &point) && point.mean_p == 1 && point.measured == 1);
    assert_false(record_calibration_point(&c, 2, RECORD_Z95, &point));
}

/* ---- Fisher's exact test --------------------------------------------------------------------- */

static void fisher_gives_the_published_values(void **state)
{
    (void)state;
    /* Fisher 1935: the lady tasting tea, 3 of 4 and 1 of 4: 34 of 70 tables are as unlikely. */
    assert_true(fabs(record_fisher(3, 4, 1, 4) - 34.0 / 70) < 1e-9);
    /* Fisher's twins (Agresti 1992): 10 of 12 and 2 of 15; two-sided 0.000536724. */
    assert_true(fabs(record_fisher(10, 13, 2, 17) - 0.0005367241) < 1e-9);
    assert_true(record_fisher(2, 17, 10, 13) == record_fisher(10, 13, 2, 17));
    /* By hand: 20 of 20 and 0 of 20 are two of the C(40, 20) tables. */
    assert_true(fabs(record_fisher(20, 20, 0, 20) - 2 / 137846528820.0) < 1e-18);
    assert_true(record_fisher(0, 0, 0, 0) == 1 && record_fisher(3, 3, 0, 0) == 1);
    assert_true(record_fisher(0, 20, 0, 20) == 1 && record_fisher(20, 20, 20, 20) == 1);
}

static void fisher_rejects_at_most_as_often_as_it_says(void **state)
{
    (void)state;
    /* Exactly, over all outcomes of two samples of 12 at one rate. */
    for (int tenths = 1; tenths < 10; tenths += 2) {
        double rate = tenths / 10.0, rejected = 0;
        for (unsigned a = 0; a <= 12; a++)
            for (unsigned b = 0; b <= 12; b++)
                if (record_fisher(a, 12, b, 12) <= 0.05)
                    rejected += exp(2 * lgamma(13) - lgamma(a + 1) - lgamma(13 - a) - lgamma(b + 1) - lgamma(13 - b)) *
                                pow(rate, a + b) * pow(1 - rate, 24 - a - b);
        assert_true(rejected <= 0.05);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fisher_gives_the_published_values),
        cmocka_unit_test(fisher_rejects_at_most_as_often_as_it_says),
        cmocka_unit_test(wilson_matches_newcombe_1998a),
        cmocka_unit_test(wilson_at_the_ends),
        cmocka_unit_test(difference_matches_newcombe_1998b),
        cmocka_unit_test(paired_difference_matches_newcombe_1998c),
        cmocka_unit_test(paired_difference_at_the_ends),
        cmocka_unit_test(exact_pairs_match_published),
        cmocka_unit_test(holm_matches_published),
        cmocka_unit_test(benjamini_hochberg_matches_published),
        cmocka_unit_test(binomial_matches_published),
        cmocka_unit_test(binomial_rejects_at_most_as_often_as_it_says),
        cmocka_unit_test(quantile_is_type_7),
        cmocka_unit_test(quantile_of_few),
        cmocka_unit_test(ranks_of_the_median_match_tables),
        cmocka_unit_test(ranks_of_other_quantiles),
        cmocka_unit_test(ks_matches_published),
        cmocka_unit_test(ks_matches_the_closed_form),
        cmocka_unit_test(ks_of_unequal_and_empty_samples),
        cmocka_unit_test(ks_rejects_as_often_as_it_says),
        cmocka_unit_test(brier_matches_brier_1950),
        cmocka_unit_test(calibration_bins),
    };
    return cmocka_run_group_tests_name("record_stats", tests, NULL, NULL);
}
