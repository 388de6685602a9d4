/*
 * Closed forms against the simulator, which allocates and counts and knows no formula. Pins: a formula, or an
 * allocator, that is off by more than the simulator's 99 % interval. Of 50 points one in two runs would show one
 * outside by chance alone, so a point outside is measured again on fresh randomness, ten times longer, and must then be
 * inside.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "predict/predict.h"

#define TRIALS 60000
#define Z99    2.575829

static unsigned points, again;

static bool inside(const struct predict_sim *s, uint32_t ahead, double closed, uint64_t trials, uint64_t seed)
{
    struct predict_rng rng;
    double lo, hi;
    predict_rng_seed(&rng, seed);
    predict_wilson(predict_simulate_window(s, ahead, trials, &rng), trials, Z99, &lo, &hi);
    return closed >= lo && closed <= hi;
}

static void check(const struct predict_sim *s, uint32_t ahead, double closed)
{
    points++;
    if (inside(s, ahead, closed, TRIALS, 1000 + points))
        return;
    again++;
    if (!inside(s, ahead, closed, 10 * TRIALS, 2000 + points))
        fail_msg("closed form %.6f is outside the simulator's 99 %% interval: K %u, M %u, range %u-%u, rate %g", closed,
                 s->holes, s->probes, s->lo, s->hi, s->rate);
}

static void random_ports(void **state)
{
    (void)state;
    static const struct {
        uint16_t lo, hi;
        unsigned k, m;
    } at[] = {
        {1024, 65535, 256, 256},
        {1024, 65535, 545, 545},
        {1024, 65535, 2000, 20},
        {1024, 65535, 1, 1000},
        {50001, 65535, 64, 256},
        {50001, 65535, 100, 10},
        {1024, 2047, 16, 64},
        {1024, 2047, 1, 1},
        {20000, 20250, 8, 64},
        {20000, 20250, 64, 1},
        {20000, 20250, 64, 8},
        {20000, 20250, 30, 30},
        {1920, 2047, 4, 32},
        {1920, 2047, 32, 4},
        {1920, 2047, 100, 28},
        {1920, 2047, 100, 29},
        {10000, 11999, 40, 40},
        {10000, 11999, 100, 100},
        {7, 7, 1, 1},
        {60000, 60001, 1, 1},
        {1, 65535, 300, 300},
        {65534, 65535, 1, 2},
    };
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        struct predict_sim s = {.ports = PREDICT_PORTS_RANDOM,
                                .lo = at[i].lo,
                                .hi = at[i].hi,
                                .holes = at[i].k,
                                .probes = at[i].m,
                                .samples = 1};
        /* The simulator counts the sample among the mappings that the range must hold. */
        if (at[i].m + 1u > (unsigned)at[i].hi - at[i].lo + 1)
            continue;
        check(&s, 0, predict_p_random((uint32_t)at[i].hi - at[i].lo + 1, at[i].k, at[i].m));
    }
}

static void sequences(void **state)
{
    (void)state;
    static const double rates[] = {0, 1, 10, 51, 264};
    static const struct {
        double t, interval;
        unsigned m, w;
    } at[] = {{0.2, 0, 1, 16},     {0.1, 0, 1, 1}, {0.05, 0.002, 8, 2},
              {0.2, 0.009, 32, 4}, {1, 0, 16, 8},  {0.1, 0.02, 4, 4}};
    for (size_t r = 0; r < sizeof(rates) / sizeof(rates[0]); r++)
        for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
            struct predict_sim s = {.ports = PREDICT_PORTS_SEQUENTIAL,
                                    .lo = 1024,
                                    .hi = 65535,
                                    .step = 1,
                                    .foreign = PREDICT_FOREIGN_POISSON,
                                    .rate = rates[r],
                                    .samples = 1,
                                    .after = at[i].t,
                                    .interval = at[i].interval,
                                    .probes = at[i].m,
                                    .holes = at[i].w};
            uint32_t ahead = predict_best_ahead(rates[r], at[i].t, at[i].interval, at[i].m, at[i].w);
            check(&s, ahead, predict_p_sweep(rates[r], at[i].t, at[i].interval, at[i].m, at[i].w, ahead));
            /* And off the best place. */
            check(&s, ahead + 2, predict_p_sweep(rates[r], at[i].t, at[i].interval, at[i].m, at[i].w, ahead + 2));
        }
}

/* Negative binomial traffic: the window's mass, added up port by port. */
static void bursts(void **state)
{
    (void)state;
    static const double dispersions[] = {1.5, 2, 4, 8};
    for (size_t i = 0; i < sizeof(dispersions) / sizeof(dispersions[0]); i++)
        for (int busy = 0; busy < 2; busy++) {
            double rate = busy ? 264 : 51, d = dispersions[i], mean = rate * 0.1, sum = 0;
            uint32_t ahead = (uint32_t)(mean * 0.7) + 1;
            struct predict_sim s = {.ports = PREDICT_PORTS_SEQUENTIAL,
                                    .lo = 1024,
                                    .hi = 65535,
                                    .step = -2,
                                    .foreign = PREDICT_FOREIGN_NEGATIVE_BINOMIAL,
                                    .rate = rate,
                                    .dispersion = d,
                                    .samples = 1,
                                    .after = 0.1,
                                    .probes = 1,
                                    .holes = 8};
            for (uint32_t x = 0; x < 8; x++)
                sum += predict_negative_binomial(mean / (d - 1), 1 / d, ahead - 1 + x);
            check(&s, ahead, sum);
        }
    print_message("%u points, %u of them measured again\n", points, again);
    assert_true(points >= 40);
}

static void seeds_repeat(void **state)
{
    (void)state;
    struct predict_sim s = {.ports = PREDICT_PORTS_SEQUENTIAL,
                            .lo = 1024,
                            .hi = 65535,
                            .step = 1,
                            .foreign = PREDICT_FOREIGN_POISSON,
                            .rate = 51,
                            .samples = 4,
                            .sample_interval = 0.04,
                            .after = 0.1,
                            .probes = 2,
                            .holes = 6};
    struct predict_sim_result a, b, c;
    struct predict_rng rng;
    predict_rng_seed(&rng, 5);
    assert_int_equal(predict_simulate(&s, 200, &rng, &a), 0);
    predict_rng_seed(&rng, 5);
    assert_int_equal(predict_simulate(&s, 200, &rng, &b), 0);
    assert_int_equal(predict_simulate(&s, 200, &rng, &c), 0);
    assert_true(a.hits == b.hits && a.predicted == b.predicted && a.brier == b.brier);
    assert_true(a.predicted != c.predicted && a.brier != c.brier);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    struct predict_sim good = {
        .ports = PREDICT_PORTS_RANDOM, .lo = 10, .hi = 20, .samples = 1, .probes = 1, .holes = 1};
    struct predict_sim_result r;
    struct predict_rng rng;
    predict_rng_seed(&rng, 1);
    assert_int_equal(predict_simulate(&good, 10, &rng, &r), 0);
    struct predict_sim bad[] = {good, good, good, good, good, good};
    bad[0].lo = 0;
    bad[1].lo = 21;
    bad[2].probes = 11;
    bad[3].samples = 0;
    bad[4].ports = PREDICT_PORTS_SEQUENTIAL;
    bad[5].rate = NAN;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(predict_simulate(&bad[i], 10, &rng, &r), -22);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_ports), cmocka_unit_test(sequences),           cmocka_unit_test(bursts),
        cmocka_unit_test(seeds_repeat), cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
