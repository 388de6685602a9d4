/*
 * The closed forms. Pins: a formula that disagrees with the number printed beside it, with exact enumeration where that
 * can be done, or with itself at the ends (K + M > N, N = 1, probabilities near 0 and 1); loss of digits at 65,536
 * ports.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "predict/predict.h"

static void assert_near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%.12g, but %.12g was expected (within %g)", got, want, tolerance);
}

static void printed_checks(void **state)
{
    (void)state;
    static const struct {
        uint32_t n, k, m;
        double percent;
    } one[] = {
        {64512, 256, 256, 63.9}, {15535, 64, 256, 65.5}, {1024, 16, 64, 64.7}, {251, 8, 64, 90.9}, {128, 4, 32, 68.9}};
    for (size_t i = 0; i < sizeof(one) / sizeof(one[0]); i++)
        assert_near(100 * predict_p_random(one[i].n, one[i].k, one[i].m), one[i].percent, 0.05);
    /* Tailscale's table, and K = 64 of 251. */
    assert_near(predict_p_random(65535, 256, 256), 0.64, 0.01);
    assert_near(predict_p_random(65535, 256, 1024), 0.98, 0.005);
    assert_near(predict_p_random(65535, 256, 2048), 0.999, 0.001);
    assert_near(predict_p_random(251, 64, 1), 0.25, 0.006);
    assert_near(predict_p_random(251, 64, 8), 0.91, 0.005);
    assert_near(100 * predict_p_sequential(35, 0.2, 16), 99.8, 0.05);
    assert_near(100 * predict_p_sequential(100, 0.2, 16), 92.7, 0.05);
    assert_near(100 * predict_p_sequential(360, 0.2, 16), 65.5, 0.05);
    assert_near(predict_p_sequential(100, 0.2, 1), 1 / sqrt(2 * M_PI * 20), 0.002);
    assert_near(predict_p_both(64512, 65536, 65536), 0.64, 0.005);
    assert_near(predict_p_both(65535, 256, 2048), 0.0001, 0.00003);
}

/* All sets of m of n, as bits: how many meet the first k? */
static double enumerate(uint32_t n, uint32_t k, uint32_t m)
{
    uint32_t sets = 0, hits = 0, holes = (1u << k) - 1;
    for (uint32_t set = 0; set < 1u << n; set++) {
        if ((uint32_t)__builtin_popcount(set) != m)
            continue;
        sets++;
        hits += (set & holes) != 0;
    }
    return (double)hits / sets;
}

static void random_ports_by_enumeration(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 10; n++)
        for (uint32_t k = 0; k <= n; k++)
            for (uint32_t m = 0; m <= n; m++)
                assert_near(predict_p_random(n, k, m), enumerate(n, k, m), 1e-12);
    /* Pairs of 3 x 3: formula 4 is formula 1 of the pairs. */
    for (uint32_t a = 0; a <= 9; a++)
        for (uint32_t b = 0; b <= 9; b++)
            assert_near(predict_p_both(3, a, b), enumerate(9, a, b), 1e-12);
}

static void digits_are_kept(void **state)
{
    (void)state;
    assert_near(predict_p_random(65536, 1, 1) * 65536, 1, 1e-12);
    assert_near(predict_p_random(65536, 65536, 1), 1, 0);
    assert_near(predict_p_random(65536, 65535, 1) * 65536, 65535, 1e-7);
    assert_near(predict_p_random(65536, 2, 65534), 1 - 1 / (65536.0 * 65535 / 2), 1e-15);
    assert_near(predict_p_random(1, 1, 1), 1, 0);
    assert_near(predict_p_random(1, 0, 1), 0, 0);
    assert_near(predict_p_random(100, 60, 41), 1, 0);
    assert_near(predict_p_random(0, 0, 0), 0, 0);
    for (uint32_t n = 1; n <= 65536; n *= 2)
        for (uint32_t k = 1; k <= n; k *= 2) {
            double last = 0;
            for (uint32_t m = 1; m <= n; m *= 2) {
                double p = predict_p_random(n, k, m);
                assert_true(p >= last && p <= 1 && p > 0);
                assert_near(predict_p_random(n, m, k), p, 1e-12);
                last = p;
            }
        }
    /* Where the terms are too many to add, against where they are not: the expansion that PEERS' rule of thumb is. */
    assert_near(predict_p_both(65536, 2e5, 2e5), -expm1(-2e5 * 2e5 / (65536.0 * 65536.0)), 1e-4);
    assert_near(predict_p_both(65536, 99999, 1e6) - predict_p_both(65536, 100001, 1e6), 0, 1e-8);
    assert_near(predict_p_both(65536, 1, 1) * 65536 * 65536, 1, 1e-9);
    assert_near(predict_p_both(65536, 4294967296.0, 1), 1, 0);
}

static void least_k(void **state)
{
    (void)state;
    static const double targets[] = {0.01, 0.5, 0.9, 0.99, 0.9999};
    assert_int_equal(predict_k_random(64512, 0, 0.5), 0);
    assert_int_equal(predict_k_random(10, 10, 0.5), 1);
    for (uint32_t n = 3; n <= 65536; n = n * 3 + 1)
        for (uint32_t m = 1; m <= n; m = m * 4 + 1)
            for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
                uint32_t k = predict_k_random(n, m, targets[i]);
                assert_true(predict_p_random(n, k, m) >= targets[i] - 1e-12);
                assert_true(k == 1 || predict_p_random(n, k - 1, m) < targets[i] + 1e-12);
            }
    assert_int_equal(predict_k_random(128, 128, 0.99), 1);
}

static void ranges_and_retries(void **state)
{
    (void)state;
    assert_near(predict_p_spread(251, 502, 16, 64), predict_p_random(251, 8, 64), 1e-15);
    assert_near(predict_p_spread(251, 251, 8, 64), predict_p_random(251, 8, 64), 1e-15);
    assert_true(predict_p_spread(251, 300, 8, 64) < predict_p_random(251, 8, 64));
    assert_near(predict_range_width(80, 5), 120, 1e-12);
    assert_near(predict_range_inside(5), 4.0 / 6, 1e-15);
    assert_true(predict_range_inside(1) == 0 && isinf(predict_range_width(0, 1)));
    assert_near(predict_p_retries(0.5, 3), 0.875, 1e-15);
    assert_near(predict_p_retries(1, 1), 1, 0);
    assert_near(predict_p_retries(1e-9, 2), 2e-9, 1e-17);
    assert_near(predict_p_scan(1000, 250), 0.25, 0);
    assert_near(predict_p_scan(1000, 2500), 1, 0);
}

static void counts_add_up(void **state)
{
    (void)state;
    static const double means[] = {0, 1e-9, 0.5, 20, 72, 5000};
    for (size_t i = 0; i < sizeof(means) / sizeof(means[0]); i++) {
        double sum = 0, mean = 0;
        for (uint32_t x = 0; x < 65536; x++) {
            double p = predict_poisson(means[i], x);
            sum += p;
            mean += x * p;
        }
        assert_near(sum, 1, 1e-9);
        assert_near(mean, means[i], 1e-6 * (1 + means[i]));
        assert_near(predict_p_sequential(means[i], 1, 65536), 1, 1e-9);
    }
    /* Formula 6: the mean is (c + 1/2) t / T; with much evidence it is formula 5; with none at all about nothing. */
    double sum = 0, mean = 0;
    for (uint32_t x = 0; x < 65536; x++) {
        double p = predict_negative_binomial(10.5, 0.5 / 0.7, x);
        sum += p;
        mean += x * p;
    }
    assert_near(sum, 1, 1e-9);
    assert_near(mean, 10.5 * 0.2 / 0.5, 1e-9);
    assert_near(predict_p_sequential_unknown(1e7, 1e5, 0.2, 16), predict_p_sequential(100, 0.2, 16), 1e-4);
    assert_true(predict_p_sequential_unknown(20, 0.2, 0.2, 16) < predict_p_sequential(100, 0.2, 16));
    assert_near(predict_p_sequential_unknown(0, 0, 0.2, 16), 0, 0);
}

/* A sweep by its definition: all ways that the first few probes can go. */
static double sweep_from(double rate, double t, double interval, uint32_t m, uint32_t at, uint32_t lo, uint32_t hi)
{
    double p = 0;
    for (uint32_t x = 0; m > 0 && at + 1 + x < hi; x++) {
        uint32_t s = at + 1 + x;
        double rest = s >= lo ? 1 : sweep_from(rate, interval, interval, m - 1, s, lo, hi);
        p += predict_poisson(rate * t, x) * rest;
    }
    return p;
}

static void sweeps(void **state)
{
    (void)state;
    for (uint32_t m = 1; m <= 4; m++)
        for (uint32_t w = 1; w <= 3; w++)
            for (uint32_t ahead = 1; ahead <= 7; ahead++)
                assert_near(predict_p_sweep(30, 0.1, 0.02, m, w, ahead),
                            sweep_from(30, 0.1, 0.02, m, 0, ahead, ahead + w), 1e-12);
    /* A window at the very next port is met by the first socket or by none. */
    assert_near(predict_p_sweep(100, 0.2, 0.01, 1, 4, 1), predict_p_sweep(100, 0.2, 0.01, 32, 4, 1), 1e-12);
    /* One socket is formula 5; and 32 sockets with W = 4 at 100/s reach 99.2 % when they are 9 ms apart. */
    uint32_t ahead = predict_best_ahead(100, 0.2, 0, 1, 16);
    assert_near(predict_p_sweep(100, 0.2, 0, 1, 16, ahead), predict_p_sequential(100, 0.2, 16), 1e-12);
    ahead = predict_best_ahead(100, 0.2, 0.009, 32, 4);
    assert_near(100 * predict_p_sweep(100, 0.2, 0.009, 32, 4, ahead), 99.2, 0.1);
    assert_near(predict_p_sweep(0, 0, 0, 1, 1, 1), 1, 1e-15);
    assert_near(predict_p_sweep(100, 0.2, 0, 0, 4, 1), 0, 0);
    assert_near(predict_p_sweep(100, 0.2, 0, 4, 4, 65535), 0, 0);
}

static void timing_and_wilson(void **state)
{
    (void)state;
    double lo, hi;
    assert_true(predict_no_unsolicited(0.009, 0.02) && predict_no_unsolicited(-0.0199, 0.02));
    assert_false(predict_no_unsolicited(-0.02, 0.02) || predict_no_unsolicited(0.03, 0.02));
    /* Newcombe 1998, table I: 15 of 148 is 6.24 to 16.05 %. */
    predict_wilson(15, 148, 1.959964, &lo, &hi);
    assert_near(lo, 0.0624, 0.0001);
    assert_near(hi, 0.1605, 0.0001);
    predict_wilson(0, 0, 2, &lo, &hi);
    assert_true(lo == 0 && hi == 1);
    predict_wilson(5, 5, 2, &lo, &hi);
    assert_true(hi == 1 && lo > 0.5);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(printed_checks),
        cmocka_unit_test(random_ports_by_enumeration),
        cmocka_unit_test(digits_are_kept),
        cmocka_unit_test(least_k),
        cmocka_unit_test(ranges_and_retries),
        cmocka_unit_test(counts_add_up),
        cmocka_unit_test(sweeps),
        cmocka_unit_test(timing_and_wilson),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
