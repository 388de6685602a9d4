/*
 * bench/record statistics by simulation, from one seed: does an interval hold the truth as often as it says, and does a
 * test reject what is true as seldom as it says? Pins: an error that worked examples happen to miss, such as a tail on
 * one side only. The bounds leave four standard errors of 10000 rounds (0.009 at 95 %) beside what the method itself
 * does.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bench/record/record.h"

#define ROUNDS 10000

static void assert_share(const char *what, unsigned hits, unsigned rounds, double lo, double hi)
{
    double share = (double)hits / rounds;
    if (!(share >= lo && share <= hi))
        fail_msg("%s: %.4f is not in [%.4f, %.4f]", what, share, lo, hi);
}

static uint64_t draw(struct base_rng *rng, uint64_t n, double p)
{
    uint64_t k = 0;
    for (uint64_t i = 0; i < n; i++)
        k += base_rng_double(rng) < p;
    return k;
}

static bool holds(struct record_interval i, double truth)
{
    return i.lo <= truth && truth <= i.hi;
}

/* Wilson's coverage swings about 95 % with p, by some 3 % for these (Newcombe 1998a, figure 1), and is right on
 * average. */
static void wilson_covers(void **state)
{
    (void)state;
    static const double p[] = {0.1, 0.25, 0.5, 0.8, 0.95};
    struct base_rng rng;
    base_rng_seed(&rng, 11);
    for (size_t i = 0; i < BASE_ARRAY_LEN(p); i++) {
        unsigned hits = 0;
        for (unsigned r = 0; r < ROUNDS; r++)
            hits += holds(record_wilson(draw(&rng, 100, p[i]), 100, RECORD_Z95), p[i]);
        assert_share("wilson", hits, ROUNDS, 0.92, 0.98);
    }
    unsigned hits = 0, under = 0, over = 0;
    for (unsigned r = 0; r < ROUNDS; r++) {
        double truth = base_rng_double(&rng);
        struct record_interval w = record_wilson(draw(&rng, 100, truth), 100, RECORD_Z95);
        hits += holds(w, truth);
        under += w.hi < truth;
        over += w.lo > truth;
    }
    assert_share("wilson, any p", hits, ROUNDS, 0.941, 0.962);
    /* Both sides miss. */
    assert_share("wilson, below", under, ROUNDS, 0.015, 0.035);
    assert_share("wilson, above", over, ROUNDS, 0.015, 0.035);
}

static void differences_cover(void **state)
{
    (void)state;
    struct base_rng rng;
    base_rng_seed(&rng, 12);
    unsigned hits = 0, same = 0, under = 0, over = 0;
    for (unsigned r = 0; r < ROUNDS; r++) {
        double p1 = base_rng_double(&rng), p2 = base_rng_double(&rng);
        struct record_interval d = record_newcombe(draw(&rng, 50, p1), 50, draw(&rng, 80, p2), 80, RECORD_Z95);
        hits += holds(d, p1 - p2);
        under += d.hi < p1 - p2;
        over += d.lo > p1 - p2;
        same += holds(record_newcombe(draw(&rng, 50, p1), 50, draw(&rng, 80, p1), 80, RECORD_Z95), 0);
    }
    assert_share("newcombe", hits, ROUNDS, 0.941, 0.97);
    assert_share("newcombe, no difference", same, ROUNDS, 0.941, 0.975);
    assert_share("newcombe, below", under, ROUNDS, 0.01, 0.035);
    assert_share("newcombe, above", over, ROUNDS, 0.01, 0.035);
}

/* Pairs that go together: the condition of a pair is bad for both or for neither, to a degree. */
static struct record_pairs draw_pairs(struct base_rng *rng, unsigned n, double pa, double pb, double together)
{
    struct record_pairs p = {0};
    for (unsigned i = 0; i < n; i++) {
        double ua = base_rng_double(rng), ub = base_rng_double(rng) < together ? ua : base_rng_double(rng);
        bool a = ua < pa, b = ub < pb;
        p.both += a && b;
        p.only_a += a && !b;
        p.only_b += !a && b;
        p.neither += !a && !b;
    }
    return p;
}

static void paired_differences_cover(void **state)
{
    (void)state;
    struct base_rng rng;
    base_rng_seed(&rng, 13);
    unsigned hits = 0, under = 0, over = 0;
    for (unsigned r = 0; r < ROUNDS; r++) {
        double pa = base_rng_double(&rng), pb = base_rng_double(&rng);
        struct record_pairs pairs = draw_pairs(&rng, 60, pa, pb, base_rng_double(&rng));
        struct record_interval d = record_newcombe_paired(&pairs, RECORD_Z95);
        hits += holds(d, pa - pb);
        under += d.hi < pa - pb;
        over += d.lo > pa - pb;
    }
    assert_share("paired", hits, ROUNDS, 0.941, 0.975);
    assert_share("paired, below", under, ROUNDS, 0.01, 0.035);
    assert_share("paired, above", over, ROUNDS, 0.01, 0.035);
}

/* What is true is rejected at 5 % in at most 5 % of all cases, and what is false often. */
static void exact_pairs_keep_their_level(void **state)
{
    (void)state;
    struct base_rng rng;
    base_rng_seed(&rng, 14);
    unsigned wrong = 0, right = 0;
    for (unsigned r = 0; r < ROUNDS; r++) {
        struct record_pairs same = draw_pairs(&rng, 200, 0.6, 0.6, 0.3);
        struct record_pairs other = draw_pairs(&rng, 200, 0.7, 0.5, 0.3);
        wrong += record_exact_pairs(same.only_a, same.only_b) <= 0.05;
        right += record_exact_pairs(other.only_a, other.only_b) <= 0.05;
    }
    assert_share("exact pairs, no difference", wrong, ROUNDS, 0.02, 0.05);
    assert_share("exact pairs, a difference of 20 %", right, ROUNDS, 0.97, 1);
}

/* 15 true hypotheses and 5 that anybody rejects: a false one among the rejected in 1 - (1 - 0.05 / 15)^15 of all cases.
 */
static void holm_keeps_its_level(void **state)
{
    (void)state;
    struct base_rng rng;
    base_rng_seed(&rng, 15);
    unsigned wrong = 0, naive = 0;
    for (unsigned r = 0; r < ROUNDS; r++) {
        double p[20], adjusted[20];
        bool any = false, any_naive = false;
        for (unsigned i = 0; i < 20; i++)
            p[i] = i < 5 ? 1e-6 : base_rng_double(&rng);
        record_holm(p, adjusted, 20);
        for (unsigned i = 0; i < 20; i++) {
            if (i < 5)
                assert_true(adjusted[i] <= 0.05);
            any |= i >= 5 && adjusted[i] <= 0.05;
            any_naive |= i >= 5 && p[i] <= 0.05;
        }
        wrong += any;
        naive += any_naive;
    }
    assert_share("holm", wrong, ROUNDS, 0.04, 0.0575);
    assert_share("no correction", naive, ROUNDS, 0.5, 0.6);
}

/* The same twenty: of those that it rejects the expected share of false ones is exactly 0.05 * 15 / 20, and with all of
 * them true any rejection is one: 0.05. */
static void benjamini_hochberg_keeps_its_level(void **state)
{
    (void)state;
    struct base_rng rng;
    base_rng_seed(&rng, 16);
    double share = 0;
    unsigned any = 0;
    for (unsigned r = 0; r < ROUNDS; r++) {
        double p[20], adjusted[20];
        unsigned wrong = 0, all = 0;
        for (unsigned i = 0; i < 20; i++)
            p[i] = i < 5 ? 1e-6 : base_rng_double(&rng);
        record_benjamini_hochberg(p, adjusted, 20);
        for (unsigned i = 0; i < 20; i++) {
            all += adjusted[i] <= 0.05;
            wrong += i >= 5 && adjusted[i] <= 0.05;
        }
        share += all ? (double)wrong / all : 0;
        for (unsigned i = 0; i < 5; i++)
            p[i] = base_rng_double(&rng);
        record_benjamini_hochberg(p, adjusted, 20);
        for (unsigned i = 0; i < 20; i++)
            if (adjusted[i] <= 0.05) {
                any++;
                break;
            }
    }
    assert_true(fabs(share / ROUNDS - 0.0375) < 0.003);
    assert_share("benjamini and hochberg, all true", any, ROUNDS, 0.045, 0.055);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Whatever the distribution: here it is uniform, of which the quantile of q is q. */
static void ranks_cover(void **state)
{
    (void)state;
    enum { N = 80 };
    static const double q[] = {0.1, 0.5, 0.9};
    struct base_rng rng;
    base_rng_seed(&rng, 16);
    unsigned hits[3] = {0}, under[3] = {0}, over[3] = {0};
    for (unsigned r = 0; r < ROUNDS; r++) {
        double values[N];
        for (unsigned i = 0; i < N; i++)
            values[i] = base_rng_double(&rng);
        qsort(values, N, sizeof(*values), compare);
        for (unsigned i = 0; i < 3; i++) {
            struct record_ranks ranks = record_quantile_ranks(N, q[i], 0.95);
            assert_true(ranks.lo >= 1 && ranks.hi <= N);
            over[i] += values[ranks.lo - 1] > q[i];
            under[i] += values[ranks.hi - 1] < q[i];
            hits[i] += values[ranks.lo - 1] <= q[i] && q[i] <= values[ranks.hi - 1];
        }
    }
    for (unsigned i = 0; i < 3; i++) {
        double says = record_quantile_ranks(N, q[i], 0.95).coverage;
        assert_share("ranks", hits[i], ROUNDS, says - 0.009, says + 0.009);
        assert_share("ranks, below", under[i], ROUNDS, 0.005, 0.031);
        assert_share("ranks, above", over[i], ROUNDS, 0.005, 0.031);
    }
}

/* A predictor that knows the odds lies in its bins' intervals; one that says the root of them does not. */
static void calibration_tells_good_from_bad(void **state)
{
    (void)state;
    struct base_rng rng;
    base_rng_seed(&rng, 17);
    unsigned good_in = 0, bad_in = 0, bins = 0;
    for (unsigned r = 0; r < 400; r++) {
        struct record_calibration good = {0}, bad = {0};
        struct record_calibration_point point;
        for (unsigned i = 0; i < 1000; i++) {
            double p = base_rng_double(&rng);
            bool ok = base_rng_double(&rng) < p;
            record_calibration_add(&good, p, ok);
            record_calibration_add(&bad, sqrt(p), ok);
        }
        assert_true(record_brier(&good) < record_brier(&bad));
        /* The variance of a coin of p, over all p: 1/6. */
        assert_true(fabs(record_brier(&good) - 1.0 / 6) < 0.03);
        for (unsigned i = 3; i < 8; i++, bins++) {
            good_in += record_calibration_point(&good, i, RECORD_Z95, &point) && holds(point.interval, point.mean_p);
            bad_in += record_calibration_point(&bad, i, RECORD_Z95, &point) && holds(point.interval, point.mean_p);
        }
    }
    assert_share("a good predictor", good_in, bins, 0.93, 0.97);
    assert_share("a bad predictor", bad_in, bins, 0, 0.25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson_covers),
        cmocka_unit_test(differences_cover),
        cmocka_unit_test(paired_differences_cover),
        cmocka_unit_test(exact_pairs_keep_their_level),
        cmocka_unit_test(holm_keeps_its_level),
        cmocka_unit_test(benjamini_hochberg_keeps_its_level),
        cmocka_unit_test(ranks_cover),
        cmocka_unit_test(calibration_tells_good_from_bad),
    };
    return cmocka_run_group_tests_name("record_coverage", tests, NULL, NULL);
}
