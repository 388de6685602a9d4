/*
 * The emulator's port sequences against closed-form theory, 1,000 draws each, with fixed seeds: uniform ranges, bands
 * and blocks (hypergeometric hits, spread of a sample), sequences with foreign allocations (Poisson and negative
 * binomial). Pins: an allocator that is biased, forgets that ports are not drawn twice, or lets foreigners take too
 * many or too few. Each test is passed by the emulator at significance 0.001 and is shown to refuse a wrong allocator.
 */
#include <math.h>

#include "tests/unit/nat_packets.h"

#define DRAWS 1000u
#define Z     3.09 /* the 0.999 quantile of the normal distribution */

static struct lab_profile profile_of(enum lab_ports ports, unsigned lo, unsigned hi)
{
    return (struct lab_profile){.backend = LAB_BACKEND_EMULATED,
                                .mapping = LAB_MAP_APD,
                                .filtering = LAB_FILTER_APD,
                                .ports = ports,
                                .refresh = LAB_REFRESH_OUTBOUND,
                                .port_lo = (uint16_t)lo,
                                .port_hi = (uint16_t)hi,
                                .udp_new_s = 1,
                                .udp_stream_s = 1};
}

/* The external port of a fresh mapping; n tells one from another. */
static unsigned draw(struct world *w, unsigned n)
{
    struct pkt p = udp(A, S1);
    w32(p.b + 16, 0xc6336401u + n / 1000);
    w16(p.b + 22, 1 + n % 1000);
    seal(&p);
    assert_int_equal(lab_nat_packet(w->nat, OUT, p.b, p.len, w->now, &w->out), LAB_NAT_FORWARD);
    return src_port(&p);
}

/* ---- statistics ------------------------------------------------------------------------------ */

/* Wilson, Hilferty 1931. */
static double chi_square_limit(double df)
{
    double a = 2.0 / (9.0 * df), x = 1.0 - a + Z * sqrt(a);
    return df * x * x * x;
}

static double chi_square(const unsigned *seen, const double *expected, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (seen[i] - expected[i]) * (seen[i] - expected[i]) / expected[i];
    return sum;
}

/* Neighbouring classes are merged until each expects at least five. The last one takes what is beyond. */
static bool fits(const unsigned *seen, const double *p, size_t n)
{
    unsigned merged_seen[512] = {0};
    double expected[512] = {0}, rest = 1.0;
    size_t k = 0;
    assert_true(n <= 512);
    for (size_t i = 0; i < n; i++) {
        double mass = i + 1 == n ? rest : p[i];
        merged_seen[k] += seen[i];
        expected[k] += mass * DRAWS;
        rest -= p[i];
        if (expected[k] >= 5.0 && i + 1 < n)
            k++;
    }
    if (expected[k] < 5.0 && k > 0) {
        merged_seen[k - 1] += merged_seen[k];
        expected[k - 1] += expected[k];
        k--;
    }
    return chi_square(merged_seen, expected, k + 1) < chi_square_limit((double)k);
}

static bool binomial_fits(unsigned hits, double p)
{
    return fabs(hits - DRAWS * p) < Z * sqrt(DRAWS * p * (1.0 - p)) + 0.5;
}

/* Formula 1: K holes, M probes, N ports, none drawn twice. */
static double hit_probability(unsigned ports, unsigned holes, unsigned probes)
{
    double miss = 1.0;
    for (unsigned i = 0; i < holes; i++)
        miss *= (double)(ports - probes - i) / (ports - i);
    return 1.0 - miss;
}

static double poisson_pmf(unsigned k, double mean)
{
    return exp(k * log(mean) - mean - lgamma(k + 1.0));
}

/* Variance / mean = d; r = mean / (d - 1), p = 1 / d. */
static double negative_binomial_pmf(unsigned k, double mean, double d)
{
    double r = mean / (d - 1.0);
    return exp(lgamma(k + r) - lgamma(r) - lgamma(k + 1.0) - r * log(d) + k * log(1.0 - 1.0 / d));
}

/* ---- uniform --------------------------------------------------------------------------------- */

#define BINS 64u

/* 1,000 draws in 64 classes of 1,008 ports. */
static bool uniform(const unsigned *ports)
{
    unsigned seen[BINS] = {0};
    double expected[BINS];
    for (unsigned i = 0; i < DRAWS; i++)
        seen[(ports[i] - 1024) / 1008]++;
    for (unsigned i = 0; i < BINS; i++)
        expected[i] = (double)DRAWS / BINS;
    return chi_square(seen, expected, BINS) < chi_square_limit(BINS - 1);
}

/* Ups and downs: of 1,000 independent draws two thirds are turning points, with variance (16 n - 29) / 90. */
static bool unordered(const unsigned *ports)
{
    unsigned turns = 0;
    for (unsigned i = 1; i + 1 < DRAWS; i++)
        turns += (ports[i] > ports[i - 1]) == (ports[i] > ports[i + 1]);
    return fabs(turns - 2.0 * (DRAWS - 2) / 3.0) < Z * sqrt((16.0 * DRAWS - 29.0) / 90.0);
}

static void random_is_uniform(void **state)
{
    (void)state;
    for (int cross = LAB_CROSS_NONE; cross <= LAB_CROSS_NEGATIVE_BINOMIAL; cross++) {
        struct lab_profile p = profile_of(LAB_PORTS_RANDOM, 1024, 65535);
        unsigned ports[DRAWS];
        p.cross = (enum lab_cross)cross;
        p.cross_rate = 5000;
        p.cross_dispersion = 10;
        struct world w = world_pool(&p, 1, 31);
        for (unsigned i = 0; i < DRAWS; i++, w.now += MS)
            ports[i] = draw(&w, i);
        assert_true(uniform(ports));
        assert_true(unordered(ports));
        world_end(&w);
    }
}

/* What these tests are worth: an upper quarter that is never drawn, and a sequence. */
static void uniform_refuses(void **state)
{
    (void)state;
    struct lab_profile p = profile_of(LAB_PORTS_RANDOM, 1024, 49407);
    unsigned ports[DRAWS];
    struct world w = world_pool(&p, 1, 31);
    for (unsigned i = 0; i < DRAWS; i++)
        ports[i] = draw(&w, i);
    assert_false(uniform(ports));
    assert_true(unordered(ports));
    for (unsigned i = 0; i < DRAWS; i++)
        ports[i] = 1024 + i * 64;
    assert_true(uniform(ports));
    assert_false(unordered(ports));
    world_end(&w);
}

/* ---- formula 1: hits ------------------------------------------------------------------------- */

/* Of DRAWS trials, in how many one of `probes` fresh mappings is one of `holes` fixed ports. */
static unsigned hits(struct lab_profile p, unsigned first, unsigned holes, unsigned probes)
{
    struct world w = world_pool(&p, 1, 32);
    unsigned n = 0;
    for (unsigned t = 0; t < DRAWS; t++) {
        bool hit = false;
        for (unsigned i = 0; i < probes; i++)
            hit |= draw(&w, i) - first < holes;
        n += hit;
        w.now += 20 * MS;
        lab_nat_reset(w.nat, NULL, w.now);
    }
    world_end(&w);
    return n;
}

/* Foreigners change nothing here: whose ports they are is as random as ever. */
static void random_hits(void **state)
{
    (void)state;
    struct lab_profile p = profile_of(LAB_PORTS_RANDOM, 2000, 3023);
    assert_true(binomial_fits(hits(p, 2100, 16, 64), hit_probability(1024, 16, 64)));
    p.cross = LAB_CROSS_POISSON;
    p.cross_rate = 300;
    assert_true(binomial_fits(hits(p, 2100, 16, 64), hit_probability(1024, 16, 64)));
    /* With replacement it would be 63.5 %, a quarter fewer ports 75 %: the second is told apart at 1,000 draws. */
    p.cross = LAB_CROSS_NONE;
    p.port_hi = 2767;
    assert_false(binomial_fits(hits(p, 2100, 16, 64), hit_probability(1024, 16, 64)));
}

/* The range is one band, or one block: where it lies is then known. */
static void band_and_block_hits(void **state)
{
    (void)state;
    struct lab_profile p = profile_of(LAB_PORTS_BAND, 2000, 2250);
    p.block_size = 251;
    assert_true(binomial_fits(hits(p, 2100, 8, 64), hit_probability(251, 8, 64)));
    p.cross = LAB_CROSS_NEGATIVE_BINOMIAL;
    p.cross_rate = 40;
    p.cross_dispersion = 3;
    assert_true(binomial_fits(hits(p, 2100, 8, 64), hit_probability(251, 8, 64)));
    p = profile_of(LAB_PORTS_BLOCK, 2048, 2175);
    assert_true(binomial_fits(hits(p, 2060, 4, 32), hit_probability(128, 4, 32)));
    p.cross = LAB_CROSS_POISSON;
    p.cross_rate = 40;
    assert_true(binomial_fits(hits(p, 2060, 4, 32), hit_probability(128, 4, 32)));
    /* What this is worth: a block of half or twice the size. */
    p.cross = LAB_CROSS_NONE;
    p.port_hi = 2111;
    p.block_size = 64;
    assert_false(binomial_fits(hits(p, 2060, 4, 32), hit_probability(128, 4, 32)));
    p.port_hi = 2303;
    p.block_size = 256;
    assert_false(binomial_fits(hits(p, 2060, 4, 32), hit_probability(128, 4, 32)));
}

/* Two probes that never draw alike: without replacement exactly. */
static void nothing_is_drawn_twice(void **state)
{
    (void)state;
    struct lab_profile p = profile_of(LAB_PORTS_RANDOM, 2000, 2999);
    struct world w = world_pool(&p, 1, 33);
    unsigned char seen[1000] = {0};
    for (unsigned i = 0; i < 1000; i++) {
        unsigned port = draw(&w, i) - 2000;
        assert_int_equal(seen[port]++, 0);
    }
    world_end(&w);
}

/* Where blocks and bands lie: uniform over the range. */
static void places_are_uniform(void **state)
{
    (void)state;
    struct lab_profile p = profile_of(LAB_PORTS_BLOCK, 1024, 65535);
    p.block_size = 1008;
    struct world w = world_pool(&p, 1, 34);
    unsigned ports[DRAWS];
    for (unsigned i = 0; i < DRAWS; i++) {
        lab_nat_reset(w.nat, NULL, w.now);
        ports[i] = draw(&w, 0);
    }
    assert_true(uniform(ports));
    assert_true(unordered(ports));
    world_end(&w);
}

/* ---- formula 2: spread of a sample ----------------------------------------------------------- */

#define SAMPLE 10u

/* Of DRAWS samples, in how many the next draw lies between the least and the greatest; and the mean estimate of the
 * range's width. */
static unsigned next_inside(struct lab_profile p, double *width)
{
    struct world w = world_pool(&p, 1, 35);
    unsigned inside = 0;
    *width = 0;
    for (unsigned t = 0; t < DRAWS; t++) {
        unsigned lo = 65536, hi = 0;
        for (unsigned i = 0; i < SAMPLE; i++) {
            unsigned port = draw(&w, i);
            lo = port < lo ? port : lo;
            hi = port > hi ? port : hi;
        }
        unsigned next = draw(&w, SAMPLE);
        inside += next > lo && next < hi;
        *width += (double)(hi - lo) * (SAMPLE + 1) / (SAMPLE - 1) / DRAWS;
        lab_nat_reset(w.nat, NULL, w.now);
    }
    world_end(&w);
    return inside;
}

/* Formula 2, where `width` ports are drawn from. The spread has a variance of 2 (n-1) / ((n+1)^2 (n+2)) widths squared;
 * drawn without repeats, it estimates width + 1. */
static bool spread_fits(struct lab_profile p, unsigned width)
{
    double n = SAMPLE, estimate, inside = (n - 1.0) / (n + 1.0);
    double sd = sqrt(2.0 * (n - 1) / ((n + 1) * (n + 1) * (n + 2)) / DRAWS) * (n + 1) / (n - 1);
    bool next = binomial_fits(next_inside(p, &estimate), inside);
    return next && fabs(estimate / (width + 1.0) - 1.0) < Z * sd;
}

/* Foreigners among them or not: where others have ports, the ones that are left are as spread. */
static void spread(void **state)
{
    (void)state;
    for (int cross = LAB_CROSS_NONE; cross <= LAB_CROSS_NEGATIVE_BINOMIAL; cross++) {
        struct lab_profile range = profile_of(LAB_PORTS_RANDOM, 50001, 65535);
        struct lab_profile band = profile_of(LAB_PORTS_BAND, 1024, 65535);
        struct lab_profile block = profile_of(LAB_PORTS_BLOCK, 1024, 65535);
        range.cross = band.cross = block.cross = (enum lab_cross)cross;
        range.cross_rate = 1000;
        band.cross_rate = block.cross_rate = 40;
        range.cross_dispersion = band.cross_dispersion = block.cross_dispersion = 3;
        band.block_size = 251;
        block.block_size = 128;
        assert_true(spread_fits(range, 15535));
        assert_true(spread_fits(band, 251));
        assert_true(spread_fits(block, 128));
        assert_false(spread_fits(band, 240)); /* what this is worth */
        assert_false(spread_fits(block, 134));
    }
    /* A sequence is never inside what it has left, foreigners or not. */
    struct lab_profile p = profile_of(LAB_PORTS_SEQUENTIAL, 1024, 65535);
    assert_false(spread_fits(p, 64512));
    p.cross = LAB_CROSS_POISSON;
    p.cross_rate = 100;
    assert_false(spread_fits(p, 64512));
}

/* ---- formula 5: sequences -------------------------------------------------------------------- */

#define T_NS  (200 * MS)
#define MOST  512u
#define RANGE 64512

static struct lab_profile sequence(enum lab_cross cross, double rate, int step)
{
    struct lab_profile p = profile_of(LAB_PORTS_SEQUENTIAL, 1024, 65535);
    p.cross = cross;
    p.cross_rate = rate;
    p.cross_dispersion = 3;
    p.step = step;
    return p;
}

/* How often X foreigners came between two allocations, 0.2 s apart. */
static void foreigners(struct lab_profile p, unsigned seen[MOST])
{
    struct world w = world_pool(&p, 1, 36);
    memset(seen, 0, MOST * sizeof(*seen));
    unsigned before = draw(&w, 0);
    for (unsigned i = 1; i <= DRAWS; i++) {
        w.now += T_NS;
        unsigned port = draw(&w, i);
        int moved = (((int)port - (int)before) * (p.step < 0 ? -1 : 1) + RANGE) % RANGE;
        int size = abs(p.step);
        /* Around the range's end an even step may come back on the other parity. */
        unsigned x = (unsigned)(moved / size) - 1;
        seen[x < MOST ? x : MOST - 1]++;
        before = port;
    }
    world_end(&w);
}

static bool poisson_fits(const unsigned *seen, double mean)
{
    double p[MOST];
    for (unsigned i = 0; i < MOST; i++)
        p[i] = poisson_pmf(i, mean);
    return fits(seen, p, MOST);
}

static bool negative_binomial_fits(const unsigned *seen, double mean, double d)
{
    double p[MOST];
    for (unsigned i = 0; i < MOST; i++)
        p[i] = negative_binomial_pmf(i, mean, d);
    return fits(seen, p, MOST);
}

static void sequential_poisson(void **state)
{
    static const int steps[] = {1, 2, -1};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(steps); i++) {
        unsigned seen[MOST];
        foreigners(sequence(LAB_CROSS_POISSON, 35, steps[i]), seen);
        assert_true(poisson_fits(seen, 7.0));
        assert_false(poisson_fits(seen, 8.0)); /* a foreigner too few or too many a step */
        assert_false(poisson_fits(seen, 6.0));
    }
}

static void sequential_quiet(void **state)
{
    (void)state;
    unsigned seen[MOST];
    foreigners(sequence(LAB_CROSS_NONE, 0, 1), seen);
    assert_int_equal(seen[0], DRAWS);
}

static void sequential_negative_binomial(void **state)
{
    static const double rates[] = {51, 264};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(rates); i++) {
        unsigned seen[MOST];
        foreigners(sequence(LAB_CROSS_NEGATIVE_BINOMIAL, rates[i], 1), seen);
        assert_true(negative_binomial_fits(seen, rates[i] * 0.2, 3));
        assert_false(poisson_fits(seen, rates[i] * 0.2));
        assert_false(negative_binomial_fits(seen, rates[i] * 0.2, 2));
    }
}

/* A window of 16 candidates at its best place catches 99.8, 92.7 and 65.5 %. */
static void window_catches(void **state)
{
    static const struct {
        double rate, p;
    } cases[] = {{35, 0.998}, {100, 0.927}, {360, 0.655}};
    (void)state;
    for (size_t c = 0; c < BASE_ARRAY_LEN(cases); c++) {
        unsigned seen[MOST], caught = 0, best_at = 0;
        double mean = cases[c].rate * 0.2, best = 0;
        for (unsigned at = 0; at + 16 < MOST; at++) {
            double mass = 0;
            for (unsigned i = at; i < at + 16; i++)
                mass += poisson_pmf(i, mean);
            if (mass > best) {
                best = mass;
                best_at = at;
            }
        }
        assert_true(fabs(best - cases[c].p) < 0.0006);
        foreigners(sequence(LAB_CROSS_POISSON, cases[c].rate, 1), seen);
        for (unsigned i = best_at; i < best_at + 16; i++)
            caught += seen[i];
        assert_true(binomial_fits(caught, best));
    }
}

/* The process has independent increments: looking often sees the same as looking once. */
static void often_is_as_once(void **state)
{
    (void)state;
    for (int cross = LAB_CROSS_POISSON; cross <= LAB_CROSS_NEGATIVE_BINOMIAL; cross++) {
        struct lab_profile p = sequence((enum lab_cross)cross, 100, 1);
        struct world w = world_pool(&p, 1, 37);
        unsigned seen[MOST] = {0}, n = 0;
        uint64_t before;
        draw(&w, n++);
        for (unsigned i = 0; i < DRAWS; i++) {
            before = counters(&w).foreign;
            for (unsigned k = 0; k < 20; k++) {
                w.now += T_NS / 20;
                draw(&w, n++);
            }
            uint64_t x = counters(&w).foreign - before;
            seen[x < MOST ? x : MOST - 1]++;
        }
        assert_int_equal(poisson_fits(seen, 20.0), cross == LAB_CROSS_POISSON);
        assert_int_equal(negative_binomial_fits(seen, 20.0, 3), cross == LAB_CROSS_NEGATIVE_BINOMIAL);
        world_end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_is_uniform),
        cmocka_unit_test(uniform_refuses),
        cmocka_unit_test(random_hits),
        cmocka_unit_test(band_and_block_hits),
        cmocka_unit_test(nothing_is_drawn_twice),
        cmocka_unit_test(places_are_uniform),
        cmocka_unit_test(spread),
        cmocka_unit_test(sequential_poisson),
        cmocka_unit_test(sequential_quiet),
        cmocka_unit_test(sequential_negative_binomial),
        cmocka_unit_test(window_catches),
        cmocka_unit_test(often_is_as_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
