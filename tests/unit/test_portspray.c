/*
 * The plans of the UDP search. Pins: a sweep that misses a port, sends to one twice or to port 0, or stops at 65535; an
 * aim that follows the prober's port past an end of the range to nowhere, or leaves the other addresses of a pool
 * behind; a budget under the target or over a cap; lifted caps that nobody asked for by name.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/peer/internal.h"
#include "predict/predict.h"
#include "udp_punch/portspray_internal.h"

static union base_ep ep(const char *text)
{
    union base_ep out;
    assert_int_equal(base_ep_parse(text, &out), 0);
    return out;
}

/* ---- the sweep ------------------------------------------------------------------------------- */

static void sweep_has_each_port_once(void **state)
{
    (void)state;
    static const struct {
        uint16_t start, lo, hi;
    } cases[] = {{1, 1, 65535},       {65535, 1, 65535},    {65530, 1, 65535}, {32768, 1, 65535}, {40000, 1024, 65535},
                 {1024, 1024, 65535}, {65535, 1024, 65535}, {7, 7, 7},         {8, 7, 8},         {500, 1024, 1030}};
    static const enum portspray_order orders[] = {PORTSPRAY_OUTWARD, PORTSPRAY_SCAN, PORTSPRAY_SHUFFLED};
    for (size_t c = 0; c < BASE_ARRAY_LEN(cases); c++)
        for (size_t o = 0; o < BASE_ARRAY_LEN(orders); o++) {
            static uint8_t seen[65536];
            struct portspray_sweep s;
            uint16_t port;
            uint32_t n = 0;
            memset(seen, 0, sizeof(seen));
            portspray_sweep_init(&s, orders[o], cases[c].start, cases[c].lo, cases[c].hi, 9);
            for (; portspray_sweep_next(&s, &port); n++) {
                assert_true(port >= cases[c].lo && port <= cases[c].hi);
                assert_int_equal(seen[port]++, 0);
            }
            assert_int_equal(n, cases[c].hi - cases[c].lo + 1);
            assert_false(portspray_sweep_next(&s, &port));
        }
}

static void sweep_goes_as_it_says(void **state)
{
    (void)state;
    static const uint16_t outward[] = {65534, 65535, 65533, 1, 65532, 2, 65531, 3};
    static const uint16_t scan[] = {65534, 65535, 1, 2, 3, 4, 5, 6};
    struct portspray_sweep a, b, c;
    uint16_t port;
    unsigned in_order = 0;
    portspray_sweep_init(&a, PORTSPRAY_OUTWARD, 65534, 1, 65535, 0);
    portspray_sweep_init(&b, PORTSPRAY_SCAN, 65534, 1, 65535, 0);
    portspray_sweep_init(&c, PORTSPRAY_SHUFFLED, 65534, 1, 65535, 0);
    for (size_t i = 0; i < BASE_ARRAY_LEN(scan); i++) {
        assert_true(portspray_sweep_next(&a, &port));
        assert_int_equal(port, outward[i]);
        assert_true(portspray_sweep_next(&b, &port));
        assert_int_equal(port, scan[i]);
        assert_true(portspray_sweep_next(&c, &port));
        in_order += port == scan[i] || port == outward[i];
    }
    assert_true(in_order < 2);
}

/* ---- aiming anew ----------------------------------------------------------------------------- */

static void aim_follows_the_port(void **state)
{
    (void)state;
    struct peer_plan plan = {.search = {.on = true, .opener = WIRE_ROLE_B, .random_at = ep("203.0.113.1:0")}};
    union base_ep was = ep("203.0.113.1:65000"), now = ep("203.0.113.9:65530");
    union base_ep own = ep("203.0.113.1:65001"), past = ep("203.0.113.1:65010"), pool = ep("203.0.113.7:65001"),
                  home = ep("10.2.0.2:4000");
    peer_candidates_add(&plan.for_b, &own, PEER_PATH_DIRECT, NAN);
    peer_candidates_add(&plan.for_b, &past, PEER_PATH_DIRECT, NAN);
    peer_candidates_add(&plan.for_b, &pool, PEER_PATH_DIRECT, NAN);
    peer_candidates_add(&plan.for_b, &home, PEER_PATH_PRIVATE, NAN);
    peer_candidates_add(&plan.for_a, &own, PEER_PATH_DIRECT, NAN);
    portspray_aim_anew(&plan, &was, &now);
    static const char *const want[] = {"203.0.113.9:65531", "203.0.113.9:5", "203.0.113.7:65531", "10.2.0.2:4000"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(want); i++) {
        char text[BASE_EP_STRLEN];
        assert_string_equal(base_ep_format(&plan.for_b.list[i].ep, text), want[i]);
    }
    /* What the prober aims at is another matter, and what is drawn is drawn on the new address. */
    assert_true(base_ep_equal(&plan.for_a.list[0].ep, &own));
    assert_true(base_ep_same_addr(&plan.search.random_at, &now));
    assert_int_equal(base_ep_port(&plan.search.random_at), 0);
    /* And back, down past port 1. */
    portspray_aim_anew(&plan, &now, &was);
    assert_true(base_ep_equal(&plan.for_b.list[0].ep, &own));
    assert_true(base_ep_equal(&plan.for_b.list[1].ep, &past));
    peer_plan_free(&plan);
}

/* Where the prober's NAT came back with other addresses, and was seen at two of them. */
static void aim_follows_the_pool(void **state)
{
    (void)state;
    struct peer_plan plan = {.mode = "random",
                             .search = {.on = true,
                                        .opener = WIRE_ROLE_A,
                                        .holes = 100,
                                        .random_lo = PEER_RANDOM_LO,
                                        .random_hi = PEER_RANDOM_HI,
                                        .random_at = ep("203.0.113.1:0")}};
    union base_ep was = ep("203.0.113.1:4000"), now[2] = {ep("203.0.113.101:5000"), ep("203.0.113.102:6000")};
    unsigned at[2] = {0, 0};
    assert_int_equal(portspray_aim_pool(&plan, &was, now, 0), 0); /* S did not answer: as it was */
    assert_int_equal(plan.for_a.n, 0);
    assert_int_equal(portspray_aim_pool(&plan, &was, now, 2), 0);
    assert_int_equal(plan.for_a.n, 100);
    for (size_t i = 0; i < plan.for_a.n; i++)
        for (size_t k = 0; k < 2; k++)
            at[k] += base_ep_same_addr(&plan.for_a.list[i].ep, &now[k]);
    assert_int_equal(at[0] + at[1], 100); /* nothing goes to the old address */
    assert_in_range(at[0], 25, 75);
    assert_true(base_ep_same_addr(&plan.search.random_at, &now[1]));
    peer_plan_free(&plan);
}

/* ---- plans ----------------------------------------------------------------------------------- */

struct world {
    struct peer_facts a, b;
    struct peer_options options;
    struct base_rng rng;
    struct peer_plan plan;
};

static struct peer_facts facts(const char *const *mapped, size_t n)
{
    struct peer_facts f = {.open_files = 20000, .taken_ns = 41000000, .port_lo = 20000, .port_hi = 60000};
    f.samples = calloc(n, sizeof(*f.samples));
    assert_non_null(f.samples);
    for (size_t i = 0; i < n; i++) {
        char remote[32];
        snprintf(remote, sizeof(remote), "192.0.2.%zu:3478", 1 + i);
        f.samples[f.n_samples++] = (struct peer_sample){i + 1, ep("10.1.0.2:4000"), ep(remote), ep(mapped[i])};
    }
    return f;
}

static const char *const stays[] = {"198.51.100.1:4000", "198.51.100.1:4000", "198.51.100.1:4000", "198.51.100.1:4000"};
static const char *const moves[] = {"203.0.113.1:40312", "203.0.113.1:2210", "203.0.113.1:61001", "203.0.113.1:18003"};
static const char *const pools[] = {"203.0.113.1:40312", "203.0.113.2:2210", "203.0.113.1:61001", "203.0.113.3:18003"};

static void set(struct world *w, const char *name, const char *value)
{
    assert_int_equal(peer_options_set(&w->options, &portspray_technique, name, value), 0);
}

static void make(struct world *w, const char *mode, const char *const *of_b)
{
    *w = (struct world){.a = facts(stays, 4), .b = facts(of_b, 4)};
    peer_options_init(&w->options, &portspray_technique);
    base_rng_seed(&w->rng, 1);
    set(w, "mode", mode);
}

static int plan(struct world *w)
{
    peer_plan_free(&w->plan);
    w->plan = (struct peer_plan){.predicted_p = NAN, .deadline_ns = 10 * BASE_NS_PER_S, .rtt_ns = 40 * BASE_NS_PER_MS};
    return portspray_plan(&w->a, &w->b, &w->options, &w->rng, &w->plan);
}

static void done(struct world *w)
{
    peer_plan_free(&w->plan);
    peer_facts_free(&w->a);
    peer_facts_free(&w->b);
}

static void random_reaches_the_target(void **state)
{
    (void)state;
    struct world w;
    make(&w, "random", moves);
    assert_int_equal(plan(&w), 0);
    const struct peer_search *s = &w.plan.search;
    assert_int_equal(s->opener, WIRE_ROLE_A);
    assert_true(w.plan.predicted_p >= 0.99 && w.plan.predicted_p < 0.999);
    assert_true(s->holes > 500 && s->holes < 700 && s->holes == s->probes);
    assert_int_equal(s->rate, 2000);
    assert_int_equal(w.plan.for_a.n, 0);
    /* The other side makes it up where one number is given, and the plan says what that is worth. */
    set(&w, "probes", "100");
    assert_int_equal(plan(&w), 0);
    assert_int_equal(s->probes, 100);
    assert_int_equal(s->holes, 2000);
    assert_true(fabs(w.plan.predicted_p - predict_p_random(64512, 2000, 100)) < 1e-9);
    /* Of several attempts no more than the cap on entries allows. */
    set(&w, "holes", "300");
    set(&w, "attempts", "20");
    assert_int_equal(plan(&w), 0);
    assert_int_equal(s->attempts, 6);
    done(&w);
}

static void random_covers_a_pool(void **state)
{
    (void)state;
    struct world w;
    unsigned on[3] = {0};
    make(&w, "random", pools);
    assert_int_equal(plan(&w), 0);
    assert_int_equal(w.plan.for_a.n, w.plan.search.holes);
    for (size_t i = 0; i < w.plan.for_a.n; i++)
        for (unsigned k = 0; k < 3; k++) {
            union base_ep at = ep(k == 0 ? "203.0.113.1:0" : k == 1 ? "203.0.113.2:0" : "203.0.113.3:0");
            on[k] += base_ep_same_addr(&at, &w.plan.for_a.list[i].ep);
        }
    assert_int_equal(on[0] + on[1] + on[2], w.plan.for_a.n);
    for (unsigned k = 0; k < 3; k++)
        assert_true(on[k] > w.plan.for_a.n / 4);
    /* Two of four samples saw an address of their own: the pool is larger than that, and half of the probes go astray.
     */
    const struct peer_search *s = &w.plan.search;
    assert_float_equal(w.plan.predicted_p, predict_p_random(3 * 64512, s->holes, s->probes / 2), 1e-9);
    assert_true(w.plan.predicted_p < 0.97);
    /* The sweep has each address once. */
    set(&w, "mode", "full");
    assert_int_equal(plan(&w), 0);
    assert_int_equal(w.plan.for_a.n, 3);
    assert_int_equal(w.plan.search.holes, 65535);
    done(&w);
}

static void full_lifts_caps_by_name_only(void **state)
{
    (void)state;
    struct world w;
    make(&w, "full", moves);
    assert_int_equal(plan(&w), 0);
    const struct peer_search *s = &w.plan.search;
    assert_int_equal(s->holes, 65535);
    assert_int_equal(s->probes, 1);
    assert_int_equal(s->rate, 0);
    assert_true(w.plan.predicted_p > 0.999);
    /* A rate that was asked for rules, and so it does not get through in time. */
    set(&w, "rate", "1000");
    assert_int_equal(plan(&w), 0);
    assert_int_equal(s->rate, 1000);
    assert_true(fabs(w.plan.predicted_p - 10000.0 / 65535) < 0.01);
    set(&w, "entries", "500");
    assert_int_equal(plan(&w), 0);
    assert_int_equal(s->holes, 500);
    done(&w);
    make(&w, "random", moves);
    assert_int_equal(plan(&w), 0);
    assert_int_equal(s->rate, 2000);
    assert_true(s->holes <= 2000 && s->probes <= 2000);
    done(&w);
}

static void window_is_where_it_was_asked(void **state)
{
    (void)state;
    struct world w;
    make(&w, "window", moves);
    set(&w, "window", "-3,4");
    assert_int_equal(plan(&w), 0);
    assert_int_equal(w.plan.for_a.n, 8);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(base_ep_port(&w.plan.for_a.list[i].ep), 18000 + i);
    /* Nothing beyond the ends of the port range. */
    w.b.samples[3].mapped = ep("203.0.113.1:65534");
    assert_int_equal(plan(&w), 0);
    assert_int_equal(w.plan.for_a.n, 5);
    done(&w);
}

static void where_both_stay_nothing_is_searched(void **state)
{
    (void)state;
    static const char *const modes[] = {"random", "full", "window"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(modes); i++) {
        struct world w;
        make(&w, modes[i], stays);
        assert_int_equal(plan(&w), 0);
        assert_true(w.plan.search.known);
        assert_true(w.plan.for_a.n < 4);
        done(&w);
    }
}

/* A sample each: nothing is known of either mapping. */
static void one_sample_is_taken_at_its_word(void **state)
{
    (void)state;
    static const char *const names[] = {"full", "random"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(names); i++) {
        struct world w;
        make(&w, names[i], moves);
        w.a.n_samples = w.b.n_samples = 1;
        assert_int_equal(plan(&w), 0);
        assert_false(w.plan.search.meet);
        assert_int_equal(w.plan.for_b.n, 1);
        assert_int_equal(base_ep_port(&w.plan.for_b.list[0].ep), 4000);
        done(&w);
    }
}

static void descriptors_are_counted(void **state)
{
    (void)state;
    struct world w;
    make(&w, "random", moves);
    w.b.open_files = 300;
    /* Chosen numbers give way. */
    assert_int_equal(plan(&w), 0);
    assert_int_equal(w.plan.search.probes, 300 - 64);
    assert_true(w.plan.search.holes > 1000);
    /* The holes are of one socket. */
    w.a.open_files = 70;
    assert_int_equal(plan(&w), 0);
    assert_true(w.plan.search.holes > 1000);
    /* What was asked for is refused in one line. */
    set(&w, "probes", "237");
    assert_int_equal(plan(&w), -EMFILE);
    assert_non_null(strstr(w.plan.why, "the prober's limit is 300"));
    done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sweep_has_each_port_once),
        cmocka_unit_test(sweep_goes_as_it_says),
        cmocka_unit_test(aim_follows_the_port),
        cmocka_unit_test(aim_follows_the_pool),
        cmocka_unit_test(random_reaches_the_target),
        cmocka_unit_test(random_covers_a_pool),
        cmocka_unit_test(full_lifts_caps_by_name_only),
        cmocka_unit_test(window_is_where_it_was_asked),
        cmocka_unit_test(where_both_stay_nothing_is_searched),
        cmocka_unit_test(one_sample_is_taken_at_its_word),
        cmocka_unit_test(descriptors_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
