/*
 * The search plan that the spraying techniques share. Pins: roles the wrong way round, a budget that misses its target
 * or exceeds what the sides can open, holes made twice or at ports that do not exist, two sides that read one plan
 * differently, a hopeless pair that is tried, a retry that repeats what failed, options past their bounds, many holes
 * behind a NAT that lets only the last destination answer.
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
#include "tcp_punch/synspray.h"

#define N_SAMPLES 32

enum ports { STABLE, RANDOM, SEQUENTIAL, RANGE };

static union base_ep ep(const char *addr, int port)
{
    char text[64];
    union base_ep out;
    snprintf(text, sizeof(text), "%s:%d", addr, port);
    assert_int_equal(base_ep_parse(text, &out), 0);
    return out;
}

static struct peer_facts facts(const char *addr, enum ports ports, uint64_t seed)
{
    struct base_rng rng;
    struct peer_facts f = {.n_samples = N_SAMPLES, .rtt_ns = 40000000, .taken_ns = 122000000, .open_files = 20000};
    base_rng_seed(&rng, seed);
    f.samples = calloc(N_SAMPLES, sizeof(*f.samples));
    for (int i = 0; i < N_SAMPLES; i++) {
        int port = ports == STABLE       ? 20000
                   : ports == RANDOM     ? 1024 + (int)base_rng_below(&rng, 64512)
                   : ports == SEQUENTIAL ? 30000 + i
                                         : 40000 + (int)base_rng_below(&rng, 2000);
        f.samples[i] = (struct peer_sample){.t_ns = 80000000 + (uint64_t)i * 1000,
                                            .local = ep("10.0.0.2", 20000),
                                            .remote = ep(i % 2 ? "192.0.2.2" : "192.0.2.1", 3478 + i / 2),
                                            .mapped = ep(addr, port)};
    }
    return f;
}

/* Plans with the options given as NAME=VALUE, ended by NULL. */
static int plan_of(struct peer_facts *a, struct peer_facts *b, struct peer_plan *plan, const char *const *set)
{
    struct peer_options o;
    struct base_rng rng;
    base_rng_seed(&rng, 7);
    peer_options_init(&o, &synspray_technique);
    for (; *set; set += 2)
        assert_int_equal(peer_options_set(&o, &synspray_technique, set[0], set[1]), 0);
    *plan = (struct peer_plan){.predicted_p = NAN, .rtt_ns = 40000000};
    return synspray_plan(a, b, &o, &rng, plan);
}

static int plan_pair(enum ports a, enum ports b, struct peer_plan *plan, const char *const *set)
{
    struct peer_facts fa = facts("198.51.100.1", a, 1), fb = facts("203.0.113.1", b, 2);
    int err = plan_of(&fa, &fb, plan, set);
    peer_facts_free(&fa);
    peer_facts_free(&fb);
    return err;
}

static const char *const none[] = {NULL, NULL};

static void who_stays_opens(void **state)
{
    (void)state;
    struct peer_plan p;
    for (int reversed = 0; reversed < 2; reversed++)
        for (int moves = RANDOM; moves <= RANGE; moves++) {
            enum ports a = reversed ? (enum ports)moves : STABLE, b = reversed ? STABLE : (enum ports)moves;
            assert_int_equal(plan_pair(a, b, &p, none), 0);
            assert_true(p.search.on && !p.search.known && !p.search.meet && !p.infeasible);
            assert_int_equal(p.search.opener, reversed ? WIRE_ROLE_B : WIRE_ROLE_A);
            assert_true(p.predicted_p >= 0.99 && p.predicted_p <= 1);
            /* The prober aims at the one endpoint that stays. */
            union base_ep stays = ep(reversed ? "203.0.113.1" : "198.51.100.1", 20000);
            const struct peer_candidates *to = reversed ? &p.for_a : &p.for_b;
            assert_int_equal(to->n, 1);
            assert_true(base_ep_equal(&to->list[0].ep, &stays));
            peer_plan_free(&p);
        }
    assert_int_equal(plan_pair(STABLE, STABLE, &p, none), 0);
    assert_true(p.search.known);
    peer_plan_free(&p);
}

static void the_budget_reaches_the_target(void **state)
{
    (void)state;
    static const char *const half[] = {"target", "50%", NULL};
    struct peer_plan p;
    assert_int_equal(plan_pair(STABLE, RANDOM, &p, none), 0);
    /* Formula 1, reckoned here by itself. */
    double miss = 1;
    for (uint32_t i = 0; i < p.search.holes; i++)
        miss *= (64512.0 - p.search.probes - i) / (64512.0 - i);
    assert_float_equal(p.predicted_p, 1 - miss, 1e-6);
    assert_in_range(p.search.holes, 545, 700);
    assert_in_range(p.search.probes, 545, 700);
    uint32_t full = p.search.holes;
    peer_plan_free(&p);
    assert_int_equal(plan_pair(STABLE, RANDOM, &p, half), 0);
    assert_true(p.search.holes < full && p.predicted_p >= 0.5);
    peer_plan_free(&p);
    /* What is narrower or moves in sequence needs far less. */
    assert_int_equal(plan_pair(STABLE, SEQUENTIAL, &p, none), 0);
    assert_true(p.search.holes < 64);
    peer_plan_free(&p);
    assert_int_equal(plan_pair(STABLE, RANGE, &p, none), 0);
    assert_true(p.search.holes < 200);
    for (size_t i = 0; i < p.for_a.n; i++)
        assert_in_range(base_ep_port(&p.for_a.list[i].ep), 39500, 42500);
    peer_plan_free(&p);
}

static void both_moving(void **state)
{
    (void)state;
    struct peer_plan p;
    assert_int_equal(plan_pair(RANDOM, RANDOM, &p, none), 0);
    assert_true(p.infeasible && p.predicted_p < 0.01);
    peer_plan_free(&p);
    assert_int_equal(plan_pair(SEQUENTIAL, SEQUENTIAL, &p, none), 0);
    assert_true(!p.infeasible && p.search.meet && p.predicted_p > 0.5);
    assert_int_equal(p.for_a.n, 1);
    assert_int_equal(p.for_b.n, 1);
    peer_plan_free(&p);
    /* In a range: well inside of what was seen, as its ends are not known, and at no port that a sample holds. */
    struct peer_facts a = facts("198.51.100.1", RANGE, 1), b = facts("203.0.113.1", RANGE, 2);
    assert_int_equal(plan_of(&a, &b, &p, none), 0);
    assert_true(p.search.meet && p.predicted_p > 0.9);
    assert_in_range(base_ep_port(&p.for_a.list[0].ep), 40500, 41500);
    assert_in_range(base_ep_port(&p.for_b.list[0].ep), 40500, 41500);
    for (size_t i = 0; i < b.n_samples; i++)
        assert_false(base_ep_equal(&b.samples[i].mapped, &p.for_a.list[0].ep));
    peer_plan_free(&p);
    peer_facts_free(&a);
    peer_facts_free(&b);
}

static void the_article_s_window(void **state)
{
    (void)state;
    static const char *const window[] = {"window", "-20,30", NULL};
    static const char *const wide[] = {"window", "-9000,9000", "entries", "60000", NULL};
    struct peer_plan p;
    assert_int_equal(plan_pair(STABLE, SEQUENTIAL, &p, window), 0);
    assert_int_equal(p.search.holes, 51);
    assert_int_equal(p.for_a.n, 51);
    assert_int_equal(base_ep_port(&p.for_a.list[0].ep), 30031 - 20);
    assert_int_equal(base_ep_port(&p.for_a.list[50].ep), 30031 + 30);
    peer_plan_free(&p);
    assert_int_equal(plan_pair(STABLE, SEQUENTIAL, &p, wide), -ENOSPC);
    assert_non_null(strstr(p.why, "8192"));
    peer_plan_free(&p);
}

static void more_than_the_limits_is_said(void **state)
{
    (void)state;
    static const char *const files[] = {"holes", "30000", "entries", "65535", NULL};
    static const char *const entries[] = {"probes", "3000", NULL};
    struct peer_plan p;
    assert_int_equal(plan_pair(STABLE, RANDOM, &p, files), -EMFILE);
    assert_non_null(strstr(p.why, "opener's limit is 20000"));
    peer_plan_free(&p);
    assert_int_equal(plan_pair(STABLE, RANDOM, &p, entries), -E2BIG);
    assert_non_null(strstr(p.why, "--entries 2000"));
    peer_plan_free(&p);
    /* What nobody asked for is capped. */
    struct peer_facts a = facts("198.51.100.1", STABLE, 1), b = facts("203.0.113.1", RANDOM, 2);
    a.open_files = 256;
    assert_int_equal(plan_of(&a, &b, &p, none), 0);
    assert_true(p.search.holes <= 256 && p.search.probes <= 256 && p.predicted_p < 0.99);
    peer_plan_free(&p);
    a.n_samples = 0;
    assert_int_equal(plan_of(&a, &b, &p, none), -EINVAL);
    peer_plan_free(&p);
    peer_facts_free(&a);
    peer_facts_free(&b);
}

static void order_follows_what_nats_answer(void **state)
{
    (void)state;
    static const char *const off[] = {"ttl", "off", NULL};
    static const struct {
        int opener, prober;
        bool off;
        enum peer_order order;
        int ttl;
    } cases[] = {
        {PREDICT_SYN_UNKNOWN, PREDICT_SYN_UNKNOWN, false, PEER_TOGETHER, PEER_TTL_AUTO},
        {PREDICT_SYN_DROP, PREDICT_SYN_DROP, false, PEER_TOGETHER, PEER_TTL_OFF},
        {PREDICT_SYN_DROP, PREDICT_SYN_RST, false, PEER_TOGETHER, PEER_TTL_AUTO},
        {PREDICT_SYN_DROP, PREDICT_SYN_RST, true, PEER_PROBES_FIRST, PEER_TTL_OFF},
        {PREDICT_SYN_RST, PREDICT_SYN_DROP, false, PEER_HOLES_FIRST, PEER_TTL_OFF},
    };
    struct peer_facts a = facts("198.51.100.1", STABLE, 1), b = facts("203.0.113.1", RANDOM, 2);
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        struct peer_plan p;
        a.behaviour.syn = (struct predict_belief){cases[i].opener, 0.95};
        b.behaviour.syn = (struct predict_belief){cases[i].prober, 0.95};
        assert_int_equal(plan_of(&a, &b, &p, cases[i].off ? off : none), 0);
        assert_int_equal(p.search.order, cases[i].order);
        assert_int_equal(p.search.ttl, cases[i].ttl);
        peer_plan_free(&p);
    }
    peer_facts_free(&a);
    peer_facts_free(&b);
}

/* Takes a plan across the wire and back. */
static void send_plan(const struct peer_plan *p, struct peer_plan *out)
{
    static uint8_t buf[256 * 1024];
    int len = peer_plan_encode(p, buf, sizeof(buf));
    assert_true(len > 0);
    assert_int_equal(peer_plan_decode(buf, (size_t)len, out), 0);
    /* Cut anywhere: refused, or decoded without a search; never a crash, never a half-read search. */
    for (int cut = 0; cut < len; cut += cut < 400 ? 1 : 97) {
        struct peer_plan half;
        if (peer_plan_decode(buf, (size_t)cut, &half) == 0) {
            assert_true(!half.search.on || half.search.holes == p->search.holes);
            peer_plan_free(&half);
        }
    }
    for (int bit = 0; bit < 400 * 8 && bit < len * 8; bit++) {
        struct peer_plan other;
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (peer_plan_decode(buf, (size_t)len, &other) == 0)
            peer_plan_free(&other);
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void both_sides_read_the_same_holes(void **state)
{
    (void)state;
    static const char *const lifted[] = {"holes", "12000", "probes", "5", "entries", "65535", NULL};
    static const char *const *const sets[] = {none, lifted};
    for (size_t k = 0; k < BASE_ARRAY_LEN(sets); k++) {
        struct peer_plan p, sent;
        static struct peer_holes here, there;
        static uint8_t seen[65536];
        assert_int_equal(plan_pair(STABLE, RANDOM, &p, sets[k]), 0);
        send_plan(&p, &sent);
        memset(seen, 0, sizeof(seen));
        peer_holes_init(&here, &p, WIRE_ROLE_A, 0);
        peer_holes_init(&there, &sent, WIRE_ROLE_A, 0);
        union base_ep x, y, other = ep("203.0.113.1", 1);
        uint32_t n = 0;
        while (peer_holes_next(&here, &x)) {
            assert_true(peer_holes_next(&there, &y) && base_ep_equal(&x, &y));
            assert_true(base_ep_same_addr(&x, &other));
            assert_true(base_ep_port(&x) >= 1024);
            assert_int_equal(seen[base_ep_port(&x)]++, 0);
            n++;
        }
        assert_false(peer_holes_next(&there, &y));
        assert_int_equal(n, p.search.holes);
        peer_plan_free(&p);
        peer_plan_free(&sent);
    }
}

static void a_retry_differs(void **state)
{
    (void)state;
    static const char *const retry[] = {"attempts", "3", NULL};
    struct peer_plan p;
    assert_int_equal(plan_pair(STABLE, RANDOM, &p, retry), 0);
    struct peer_search first = peer_search_attempt(&p, 0), second = peer_search_attempt(&p, 1),
                       third = peer_search_attempt(&p, 2);
    assert_int_equal(first.holes, p.search.holes);
    assert_true(second.holes > first.holes && third.holes > second.holes && third.holes <= third.entries);
    assert_true(second.order != first.order && second.ttl == PEER_TTL_OFF);
    assert_true(third.order == first.order && third.ttl == first.ttl);
    static struct peer_holes h;
    static uint8_t seen[65536];
    union base_ep x;
    unsigned again = 0;
    memset(seen, 0, sizeof(seen));
    peer_holes_init(&h, &p, WIRE_ROLE_A, 0);
    while (peer_holes_next(&h, &x))
        seen[base_ep_port(&x)] = 1;
    peer_holes_init(&h, &p, WIRE_ROLE_A, 1);
    while (peer_holes_next(&h, &x))
        again += seen[base_ep_port(&x)];
    assert_true(again < second.holes / 8);
    peer_plan_free(&p);
    /* A sequence has moved on by what the first attempt's probes took. */
    assert_int_equal(plan_pair(STABLE, SEQUENTIAL, &p, retry), 0);
    assert_int_equal(p.search.drift, p.search.probes);
    peer_holes_init(&h, &p, WIRE_ROLE_A, 1);
    assert_true(peer_holes_next(&h, &x));
    assert_int_equal(base_ep_port(&x), base_ep_port(&p.for_a.list[0].ep) + p.search.drift);
    peer_plan_free(&p);
}

static void behaviour_survives_the_wire(void **state)
{
    (void)state;
    static uint8_t buf[16384];
    struct peer_facts in = facts("203.0.113.1", RANGE, 3), out;
    in.port_lo = 20000;
    in.port_hi = 32767;
    predict_classify(NULL, 0, &in.behaviour);
    in.behaviour.mapping = (struct predict_belief){PREDICT_MAPPING_APD, 0.9};
    in.behaviour.syn = (struct predict_belief){PREDICT_SYN_RST, 0.75};
    in.behaviour.step = -2;
    in.behaviour.port_min = 40000;
    in.behaviour.port_max = 41990;
    in.behaviour.foreign_seen = 51.5;
    in.behaviour.pool[0] = (struct predict_ep){.addr = {203, 0, 113, 1}, .len = 4};
    in.behaviour.pool_seen = in.behaviour.pool_size = 1;
    int len = peer_facts_encode(&in, buf, sizeof(buf));
    assert_true(len > 0);
    assert_int_equal(peer_facts_decode(buf, (size_t)len, &out), 0);
    assert_int_equal(out.taken_ns, in.taken_ns);
    assert_int_equal(out.port_lo, 20000);
    assert_int_equal(out.port_hi, 32767);
    assert_int_equal(out.behaviour.syn.value, PREDICT_SYN_RST);
    assert_float_equal(out.behaviour.syn.confidence, 0.75, 1e-8);
    assert_int_equal(out.behaviour.step, -2);
    assert_int_equal(out.behaviour.port_max, 41990);
    assert_float_equal(out.behaviour.foreign_seen, 51.5, 1e-6);
    assert_true(predict_ep_same_address(&out.behaviour.pool[0], &in.behaviour.pool[0]));
    peer_facts_free(&out);
    for (int bit = 0; bit < len * 8; bit++) {
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (peer_facts_decode(buf, (size_t)len, &out) == 0)
            peer_facts_free(&out);
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    peer_facts_free(&in);
}

static void options_keep_their_bounds(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"window", "30,-20"}, {"window", "-20"},      {"window", "1,70000"}, {"window", "a,b"},    {"window", ""},
        {"ttl", "0"},         {"ttl", "256"},         {"ttl", "-1"},         {"ttl", "low"},       {"holes", "0"},
        {"holes", "65536"},   {"probes", "none"},     {"target", "100%"},    {"target", "0%"},     {"target", "99"},
        {"target", "nan%"},   {"target", "1e1%"},     {"entries", "0"},      {"entries", "65536"}, {"attempts", "0"},
        {"attempts", "101"},  {"order", "backwards"}, {"opener", "c"},       {"mode", "spray"},
    };
    static const char *const good[][2] = {{"window", "-20,30"}, {"window", "off"},    {"ttl", "off"},
                                          {"ttl", "255"},       {"target", "99.99%"}, {"holes", "auto"},
                                          {"order", "probes"},  {"opener", "b"}};
    struct peer_options o, copy;
    char text[1024], line[128];
    int lo, hi;
    peer_options_init(&o, &synspray_technique);
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++)
        if (peer_options_set(&o, &synspray_technique, bad[i][0], bad[i][1]) != -EINVAL)
            fail_msg("--%s '%s' was taken", bad[i][0], bad[i][1]);
    for (size_t i = 0; i < BASE_ARRAY_LEN(good); i++)
        assert_int_equal(peer_options_set(&o, &synspray_technique, good[i][0], good[i][1]), 0);
    assert_false(peer_option_span(&o, "window", &lo, &hi));
    assert_int_equal(peer_options_set(&o, &synspray_technique, "window", "-20,30"), 0);
    assert_true(peer_option_span(&o, "window", &lo, &hi) && lo == -20 && hi == 30);
    assert_float_equal(peer_option_fraction(&o, "target"), 0.9999, 1e-12);
    /* As role b gets them. */
    peer_options_init(&copy, &synspray_technique);
    assert_true(peer_options_to_text(&o, &synspray_technique, text, sizeof(text)) > 0);
    assert_int_equal(peer_options_from_text(&copy, &synspray_technique, text, line, sizeof(line)), 0);
    assert_true(peer_option_span(&copy, "window", &lo, &hi) && lo == -20 && hi == 30);
    assert_string_equal(peer_option_text(&copy, "opener"), "b");
}

/* A sequence whose second ten samples come 100 ms later, after `foreign` allocations by others. */
static void spread(struct peer_facts *f, uint16_t from, uint16_t foreign)
{
    for (size_t i = 0; i < f->n_samples; i++) {
        bool late = i >= f->n_samples - 10;
        f->samples[i].t_ns = 1000 * (uint64_t)i + (late ? 100000000 : 0);
        base_ep_set_port(&f->samples[i].mapped, (uint16_t)(from + i + (late ? foreign : 0)));
    }
}

/* What others take is learnt over trials, and the surer it is the better is the one hole that there is. */
static void trials_teach_the_foreign_rate(void **state)
{
    (void)state;
    struct peer_facts a = facts("198.51.100.1", STABLE, 1), b = facts("203.0.113.1", SEQUENTIAL, 2);
    struct predict_behaviour learnt = {0}, before;
    struct peer_plan once, later;
    spread(&b, 30000, 0);
    assert_int_equal(plan_of(&a, &b, &once, (const char *const[]){"holes", "1", "probes", "1", NULL}), 0);
    for (int trial = 0; trial < 10; trial++) {
        spread(&b, (uint16_t)(20000 + 1000 * trial), 0);
        peer_predict_learn(&b, &learnt);
    }
    assert_int_equal(learnt.ports.value, PREDICT_PORTS_SEQUENTIAL);
    assert_true(learnt.foreign_seconds > 0.9 && learnt.foreign_seconds < 1.1);
    assert_true(learnt.foreign_seen == 0 && learnt.samples == 10 * N_SAMPLES);
    b.behaviour = learnt;
    assert_int_equal(plan_of(&a, &b, &later, (const char *const[]){"holes", "1", "probes", "1", NULL}), 0);
    assert_true(later.predicted_p > once.predicted_p + 0.1 && later.predicted_p < 1);
    peer_plan_free(&once);
    peer_plan_free(&later);

    /* Busier now: it counts with what was before. Another kind of NAT: nothing of it stays. */
    before = learnt;
    spread(&b, 40000, 20);
    peer_predict_learn(&b, &learnt);
    assert_true(learnt.foreign_seen == 20 && learnt.foreign_seconds > before.foreign_seconds);
    /* Traffic comes in bursts: many of its allocations are not remembered, so that the plan stays as unsure as it is.
     */
    for (int trial = 0; trial < 10; trial++) {
        spread(&b, (uint16_t)(20000 + 1000 * trial), 20);
        peer_predict_learn(&b, &learnt);
    }
    assert_true(learnt.foreign_seen > 30 && learnt.foreign_seen < 40);
    struct peer_facts random = facts("203.0.113.1", RANDOM, 3);
    peer_predict_learn(&random, &learnt);
    assert_true(learnt.foreign_seconds == 0 && learnt.ports.value == PREDICT_PORTS_UNKNOWN);
    peer_facts_free(&random);
    peer_facts_free(&a);
    peer_facts_free(&b);
}

/* Discovery took a sequence for a narrow band. */
static void samples_that_count_rule_over_what_was_learnt(void **state)
{
    (void)state;
    struct peer_facts b = facts("203.0.113.1", SEQUENTIAL, 2), c = facts("203.0.113.1", RANGE, 2);
    struct predict_behaviour learnt = peer_predict_behaviour(&c);
    assert_int_equal(learnt.ports.value, PREDICT_PORTS_BAND);
    learnt.mapping = peer_predict_behaviour(&b).mapping;
    learnt.syn = (struct predict_belief){PREDICT_SYN_RST, 0.75};
    b.behaviour = c.behaviour = learnt;
    struct predict_behaviour used = peer_predict_behaviour(&b);
    assert_int_equal(used.ports.value, PREDICT_PORTS_SEQUENTIAL);
    assert_int_equal(used.step, 1);
    assert_int_equal(used.syn.value, PREDICT_SYN_RST);
    assert_int_equal(peer_predict_behaviour(&c).ports.value, PREDICT_PORTS_BAND);
    peer_facts_free(&b);
    peer_facts_free(&c);
}

/* One side took its samples half a second before the other had its own: meanwhile others took ports. */
static void facts_that_waited_are_older(void **state)
{
    (void)state;
    static const char *const one[] = {"holes", "1", "probes", "1", NULL};
    uint16_t port[3];
    for (int i = 0; i < 3; i++) {
        struct peer_facts a = facts("198.51.100.1", STABLE, 1), b = facts("203.0.113.1", SEQUENTIAL, 2);
        struct peer_plan p;
        spread(&b, 30000, 200); /* in 0.1 s */
        a.taken_ns = b.taken_ns = 100 * BASE_NS_PER_MS;
        peer_predict_age(&a, i == 0 ? 40 * BASE_NS_PER_MS : 500 * BASE_NS_PER_MS, &b,
                         i == 2 ? 460 * BASE_NS_PER_MS : 0);
        assert_int_equal(a.taken_ns, (i == 0 ? 140 : 600) * BASE_NS_PER_MS);
        assert_int_equal(b.taken_ns, (i == 2 ? 600 : 140) * BASE_NS_PER_MS);
        assert_int_equal(plan_of(&a, &b, &p, one), 0);
        assert_int_equal(p.for_a.n, 1);
        port[i] = base_ep_port(&p.for_a.list[0].ep);
        peer_plan_free(&p);
        peer_facts_free(&a);
        peer_facts_free(&b);
    }
    /* Only the age of the one that moves counts: 2,000 a second, 0.46 s longer; the likeliest is less than the mean. */
    assert_int_equal(port[0], port[1]);
    assert_in_range(port[2] - port[0], 400, 920);
}

/* Where both move, it does not matter who is called the opener: what takes long is as likely to miss on either side. */
static void both_move_alike_whoever_opens(void **state)
{
    (void)state;
    struct peer_facts busy = facts("198.51.100.1", SEQUENTIAL, 1), still = facts("203.0.113.1", SEQUENTIAL, 2);
    struct peer_plan first, second;
    spread(&busy, 30000, 26);
    spread(&still, 30000, 0);
    assert_int_equal(plan_of(&busy, &still, &first, (const char *const[]){NULL}), 0);
    assert_int_equal(plan_of(&still, &busy, &second, (const char *const[]){NULL}), 0);
    assert_true(first.search.meet && second.search.meet);
    assert_true(first.predicted_p > 0.7 && first.predicted_p < 0.95);
    assert_true(fabs(first.predicted_p - second.predicted_p) < 0.03);
    peer_plan_free(&first);
    peer_plan_free(&second);
    peer_facts_free(&busy);
    peer_facts_free(&still);
}

static struct peer_plan plan_for_last(struct peer_facts *a, struct peer_facts *b, const char *holes, uint64_t deadline)
{
    struct peer_plan p = {.predicted_p = NAN, .rtt_ns = 40000000, .deadline_ns = deadline};
    struct peer_options o;
    struct base_rng rng;
    base_rng_seed(&rng, 7);
    peer_options_init(&o, &synspray_technique);
    assert_int_equal(peer_options_set(&o, &synspray_technique, "mode", "hold"), 0);
    assert_int_equal(peer_options_set(&o, &synspray_technique, "holes", holes), 0);
    assert_int_equal(synspray_plan(a, b, &o, &rng, &p), 0);
    return p;
}

/* Of holes made at once such a NAT keeps the last one: 619 of them would reach nothing, whatever was predicted. */
static void one_hole_at_a_time_where_only_the_last_may_answer(void **state)
{
    (void)state;
    struct peer_facts a = facts("198.51.100.1", STABLE, 1), b = facts("203.0.113.1", RANDOM, 2);
    struct peer_plan p = plan_for_last(&a, &b, "auto", 10 * BASE_NS_PER_S), sent;
    assert_true(p.search.gap_ns == 0 && p.search.holes > 500);
    peer_plan_free(&p);

    a.behaviour.filtering = (struct predict_belief){PREDICT_FILTERING_LAST, 0.99};
    p = plan_for_last(&a, &b, "auto", 10 * BASE_NS_PER_S);
    send_plan(&p, &sent);
    /* The probes stand first; each hole goes all the way and stays until it can have been answered. */
    assert_true(sent.search.gap_ns >= p.rtt_ns && sent.search.gap_ns < 2 * p.rtt_ns);
    assert_true(sent.search.order == PEER_PROBES_FIRST && sent.search.ttl == PEER_TTL_OFF);
    assert_int_equal(sent.search.probes, 2000);
    /* All of it before the deadline, and no more promised than so few can do. */
    uint64_t spray = (uint64_t)sent.search.probes * BASE_NS_PER_S / sent.search.rate;
    assert_true(spray + sent.search.holes * sent.search.gap_ns < 10 * BASE_NS_PER_S);
    double miss = 1;
    for (uint32_t i = 0; i < p.search.holes; i++)
        miss *= (64512.0 - p.search.probes - i) / (64512.0 - i);
    assert_float_equal(p.predicted_p, 1 - miss, 1e-6);
    assert_true(p.predicted_p > 0.99);
    peer_plan_free(&sent);
    peer_plan_free(&p);

    /* Less time, fewer holes, and an honest number. What was asked for rules; so does who is not sure enough. */
    p = plan_for_last(&a, &b, "auto", 3 * BASE_NS_PER_S);
    assert_true(p.search.gap_ns > 0 && p.predicted_p < 0.8);
    peer_plan_free(&p);
    p = plan_for_last(&a, &b, "100", 10 * BASE_NS_PER_S);
    assert_true(p.search.gap_ns == 0 && p.search.holes == 100);
    peer_plan_free(&p);
    a.behaviour.filtering.confidence = 0.5;
    p = plan_for_last(&a, &b, "auto", 10 * BASE_NS_PER_S);
    assert_true(p.search.gap_ns == 0);
    peer_plan_free(&p);
    peer_facts_free(&a);
    peer_facts_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_stays_opens),
        cmocka_unit_test(the_budget_reaches_the_target),
        cmocka_unit_test(both_moving),
        cmocka_unit_test(the_article_s_window),
        cmocka_unit_test(more_than_the_limits_is_said),
        cmocka_unit_test(order_follows_what_nats_answer),
        cmocka_unit_test(both_sides_read_the_same_holes),
        cmocka_unit_test(a_retry_differs),
        cmocka_unit_test(behaviour_survives_the_wire),
        cmocka_unit_test(options_keep_their_bounds),
        cmocka_unit_test(trials_teach_the_foreign_rate),
        cmocka_unit_test(facts_that_waited_are_older),
        cmocka_unit_test(samples_that_count_rule_over_what_was_learnt),
        cmocka_unit_test(both_move_alike_whoever_opens),
        cmocka_unit_test(one_hole_at_a_time_where_only_the_last_may_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
