/*
 * Mode auto's decisions, as a table over what two NATs do. Pins: a search where none is needed, none where one is, a
 * hopeless pair that is tried, a hopeful one that is not, a retry that repeats what failed, a prediction that is not of
 * all attempts, attempts that the deadline or the caps have no room for, what a technique cannot do, a step that is
 * tried before its turn, missing or with the wrong result.
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
#include "tcp_punch/simopen.h"
#include "tcp_punch/synspray.h"
#include "udp_punch/portspray.h"

#define N_SAMPLES 32

enum nat { OPEN, CONE, RESTRICTED, FULL_CONE, LAST_ONLY, RANDOM, SEQUENTIAL, BAND, POOL, NATS };

static union base_ep ep(const char *addr, unsigned port)
{
    char text[64];
    union base_ep out;
    snprintf(text, sizeof(text), "%s:%u", addr, port);
    assert_int_equal(base_ep_parse(text, &out), 0);
    return out;
}

static unsigned port_of(enum nat nat, unsigned i, struct base_rng *rng)
{
    switch (nat) {
    case RANDOM:
    case POOL:
        return 1024 + (unsigned)base_rng_below(rng, 64512);
    case SEQUENTIAL:
        return 30000 + i;
    case BAND:
        return 40100 + (unsigned)base_rng_below(rng, 251);
    default:
        return 20000;
    }
}

static struct peer_facts facts(const char *net, enum nat nat, uint64_t seed)
{
    static const int filters[NATS] = {
        [RESTRICTED] = PREDICT_FILTERING_AD, [FULL_CONE] = PREDICT_FILTERING_EI, [LAST_ONLY] = PREDICT_FILTERING_LAST};
    struct base_rng rng;
    struct peer_facts f = {.n_samples = N_SAMPLES, .rtt_ns = 40000000, .taken_ns = 222000000, .open_files = 20000};
    char addr[32];
    base_rng_seed(&rng, seed);
    f.samples = calloc(N_SAMPLES, sizeof(*f.samples));
    assert_non_null(f.samples);
    for (unsigned i = 0; i < N_SAMPLES; i++) {
        snprintf(addr, sizeof(addr), "%s.%u", net, nat == POOL ? 1 + (unsigned)base_rng_below(&rng, 4) : 1);
        f.samples[i] = (struct peer_sample){.t_ns = 80000000 + (uint64_t)i * 1000,
                                            .local = nat == OPEN ? ep(addr, 20000) : ep("10.0.0.2", 20000),
                                            .remote = ep(i % 2 ? "192.0.2.2" : "192.0.2.1", 3478 + i / 2),
                                            .mapped = ep(addr, port_of(nat, i, &rng))};
    }
    f.private_eps[f.n_private++] = f.samples[0].local;
    if (filters[nat])
        f.behaviour.filtering = (struct predict_belief){filters[nat], 0.98};
    return f;
}

struct pair {
    struct peer_facts a, b;
    struct peer_plan plan;
    uint64_t deadline_ns;
};

static void done(struct pair *p)
{
    peer_plan_free(&p->plan);
    peer_facts_free(&p->a);
    peer_facts_free(&p->b);
}

/* Plans with the options given as NAME, VALUE, ended by NULL. */
static int plan(struct pair *p, const struct peer_technique *t, const char *const *set)
{
    struct peer_options o;
    struct base_rng rng;
    base_rng_seed(&rng, 7);
    peer_options_init(&o, t);
    assert_int_equal(peer_options_set(&o, t, "mode", "auto"), 0);
    for (; set && *set; set += 2)
        assert_int_equal(peer_options_set(&o, t, set[0], set[1]), 0);
    peer_plan_free(&p->plan);
    p->plan = (struct peer_plan){
        .predicted_p = NAN, .rtt_ns = 40000000, .deadline_ns = p->deadline_ns ? p->deadline_ns : 3 * BASE_NS_PER_S};
    return t->plan(&p->a, &p->b, &o, &rng, &p->plan);
}

static struct pair pair_of(enum nat a, enum nat b)
{
    return (struct pair){.a = facts("198.51.100", a, 1), .b = facts("203.0.113", b, 2)};
}

/* ---- the table ------------------------------------------------------------------------------- */

#define DIRECT PEER_STRATEGY_DIRECT
#define PUNCH  PEER_STRATEGY_PUNCH
#define PREDI  PEER_STRATEGY_PREDICTED
#define DRAWN  PEER_STRATEGY_RANDOM
#define MEET   PEER_STRATEGY_MEET
#define NEVER  PEER_STRATEGY_INFEASIBLE
#define REVERS PEER_STRATEGY_REVERSED

struct expected {
    enum nat a, b;
    enum peer_strategy spray, simopen; /* synspray and portspray alike */
    double least, most;                /* predicted_p, of the spraying ones */
};

static const struct expected table[] = {
    {OPEN, OPEN, DIRECT, DIRECT, 0.97, 1},
    {OPEN, CONE, REVERS, REVERS, 0.97, 1},
    {CONE, CONE, PUNCH, PUNCH, 0.97, 1},
    {FULL_CONE, CONE, REVERS, REVERS, 0.97, 1},
    {OPEN, RANDOM, REVERS, REVERS, 0.97, 1},
    {FULL_CONE, RANDOM, REVERS, REVERS, 0.97, 1},
    {FULL_CONE, SEQUENTIAL, REVERS, REVERS, 0.97, 1},
    {RESTRICTED, RANDOM, DIRECT, DIRECT, 0.95, 1},
    {RESTRICTED, POOL, DIRECT, DIRECT, 0.9, 1},
    {CONE, RANDOM, DRAWN, NEVER, 0.999, 1},
    {CONE, POOL, DRAWN, NEVER, 0.99, 1},
    {CONE, SEQUENTIAL, PREDI, PREDI, 0.999, 1},
    {CONE, BAND, PREDI, PREDI, 0.999, 1},
    {LAST_ONLY, SEQUENTIAL, PREDI, PREDI, 0.9, 1},
    {LAST_ONLY, RANDOM, DRAWN, NEVER, 0.01, 0.2},
    {SEQUENTIAL, SEQUENTIAL, MEET, MEET, 0.9, 1},
    {BAND, BAND, MEET, NEVER, 0.9, 1},
    {SEQUENTIAL, BAND, MEET, NEVER, 0.9, 1},
    {RANDOM, RANDOM, NEVER, NEVER, 0, 0.01},
    {RANDOM, POOL, NEVER, NEVER, 0, 0.01},
    {POOL, POOL, NEVER, NEVER, 0, 0.01},
};

/* What nothing is sent for has no candidates; what is tried has some on both sides. */
static void check_shape(const struct peer_plan *p)
{
    bool never = p->strategy == NEVER;
    assert_int_equal(p->infeasible, never);
    assert_int_equal(p->search.known, p->strategy == DIRECT || p->strategy == PUNCH || p->strategy == REVERS);
    assert_int_equal(p->waits != WIRE_ROLE_NONE, p->strategy == REVERS);
    assert_int_equal(p->search.meet && !never, p->strategy == MEET);
    if (never) {
        assert_int_equal(p->for_a.n + p->for_b.n, 0);
        assert_true(p->predicted_p < PEER_AUTO_HOPELESS);
        return;
    }
    bool drawn = base_ep_is_set(&p->search.random_at);
    assert_true(p->for_a.n > 0 || (drawn && p->search.opener == WIRE_ROLE_A));
    assert_true(p->for_b.n > 0 || (drawn && p->search.opener == WIRE_ROLE_B));
    assert_true(p->predicted_p >= PEER_AUTO_HOPELESS && p->predicted_p <= 1);
}

static void check_row(const struct expected *e, bool swapped)
{
    static const struct peer_technique *const sprays[] = {&synspray_technique, &portspray_technique};
    struct pair p = swapped ? pair_of(e->b, e->a) : pair_of(e->a, e->b);
    for (size_t i = 0; i < BASE_ARRAY_LEN(sprays); i++) {
        assert_int_equal(plan(&p, sprays[i], NULL), 0);
        assert_string_equal(peer_strategy_name(p.plan.strategy), peer_strategy_name(e->spray));
        assert_true(p.plan.predicted_p >= e->least && p.plan.predicted_p <= e->most);
        check_shape(&p.plan);
        if (e->spray == DRAWN || e->spray == PREDI)
            assert_int_equal(p.plan.search.opener, swapped ? WIRE_ROLE_B : WIRE_ROLE_A);
    }
    assert_int_equal(plan(&p, &simopen_technique, NULL), 0);
    assert_string_equal(peer_strategy_name(p.plan.strategy), peer_strategy_name(e->simopen));
    check_shape(&p.plan);
    assert_true(p.plan.for_a.n <= 64 && p.plan.for_b.n <= 64);
    done(&p);
}

static void what_is_done_follows_from_both_sides(void **state)
{
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(table); i++) {
        check_row(&table[i], false);
        check_row(&table[i], true);
    }
}

/* ---- attempts -------------------------------------------------------------------------------- */

static void a_retry_changes_the_strategy(void **state)
{
    (void)state;
    static struct peer_holes h;
    struct pair p = pair_of(CONE, SEQUENTIAL);
    union base_ep x;
    unsigned n = 0, far = 0;
    assert_int_equal(plan(&p, &synspray_technique, NULL), 0);
    assert_int_equal(p.plan.search.attempts, PEER_AUTO_ATTEMPTS);
    assert_string_equal(peer_strategy_name(peer_strategy_of(&p.plan, 0)), "predicted");
    assert_string_equal(peer_strategy_name(peer_strategy_of(&p.plan, 1)), "both");
    /* The first one keeps to the prediction, the second one goes past it. */
    peer_holes_init(&h, &p.plan, WIRE_ROLE_A, 0);
    for (n = 0; peer_holes_next(&h, &x); n++)
        assert_in_range(base_ep_port(&x), 30000, 30200);
    assert_int_equal(n, p.plan.search.holes);
    peer_holes_init(&h, &p.plan, WIRE_ROLE_A, 1);
    for (n = 0; peer_holes_next(&h, &x); n++)
        far += base_ep_port(&x) > 32000 || base_ep_port(&x) < 28000;
    assert_true(n > 500 && far > 400);
    assert_int_equal(peer_search_attempt(&p.plan, 1).probes, n);
    done(&p);
}

static void attempts_fit_the_deadline_and_the_caps(void **state)
{
    (void)state;
    static const char *const five[] = {"attempts", "5", NULL};
    struct pair p = pair_of(CONE, RANDOM);
    assert_int_equal(plan(&p, &synspray_technique, NULL), 0);
    assert_int_equal(p.plan.search.attempts, PEER_AUTO_ATTEMPTS);
    double all = p.plan.predicted_p, one = predict_p_random(64512, p.plan.search.holes, p.plan.search.probes);
    assert_true(all > one && one >= 0.99);
    assert_int_equal(plan(&p, &synspray_technique, five), 0);
    assert_true(p.plan.search.attempts <= 5);
    /* Over UDP the ports of earlier attempts are still open: all of them together stay under the cap. */
    assert_int_equal(plan(&p, &portspray_technique, NULL), 0);
    assert_int_equal(p.plan.search.attempts, 2);
    uint32_t sum = p.plan.search.holes + peer_search_attempt(&p.plan, 1).holes;
    assert_true(sum <= p.plan.search.entries && sum + peer_search_attempt(&p.plan, 2).holes > p.plan.search.entries);
    /* A short deadline has room for one; its prediction is that of one. */
    p.deadline_ns = 600 * BASE_NS_PER_MS;
    assert_int_equal(plan(&p, &synspray_technique, NULL), 0);
    assert_int_equal(p.plan.search.attempts, 1);
    assert_float_equal(p.plan.predicted_p, one, 1e-9);
    done(&p);
}

static void a_carrier_s_subscriber_has_few_flows(void **state)
{
    (void)state;
    static const struct peer_technique *const sprays[] = {&synspray_technique, &portspray_technique};
    struct pair p = pair_of(CONE, POOL);
    for (size_t i = 0; i < BASE_ARRAY_LEN(sprays); i++) {
        unsigned on[4] = {0};
        assert_int_equal(plan(&p, sprays[i], NULL), 0);
        assert_true(p.plan.search.probes <= 900 && p.plan.search.holes > p.plan.search.probes);
        for (size_t k = 0; k < p.plan.for_a.n; k++)
            for (unsigned j = 0; j < 4; j++) {
                char addr[32];
                snprintf(addr, sizeof(addr), "203.0.113.%u", j + 1);
                union base_ep at = ep(addr, 1);
                on[j] += base_ep_same_addr(&at, &p.plan.for_a.list[k].ep);
            }
        /* Every address that was seen has its share. */
        for (unsigned j = 0; j < 4; j++)
            assert_true(on[j] > p.plan.for_a.n / 6);
    }
    done(&p);
}

/* One hole lies well inside of the sweep that is to pass it: a prober that starts late has not passed it yet. */
static void one_hole_waits_for_who_is_late(void **state)
{
    (void)state;
    struct pair p = pair_of(LAST_ONLY, SEQUENTIAL);
    assert_int_equal(plan(&p, &synspray_technique, NULL), 0);
    assert_int_equal(p.plan.search.holes, 1);
    assert_int_equal(p.plan.for_a.n, 1);
    unsigned port = base_ep_port(&p.plan.for_a.list[0].ep), last = 30000 + N_SAMPLES - 1;
    assert_in_range(port, last + p.plan.search.probes / 8, last + p.plan.search.probes);
    done(&p);
}

/* ---- the order of decisions ------------------------------------------------------------------ */

/* The steps as "private:other_address hairpin:other_address ... punch": name, and why not. */
static const char *steps_of(const struct peer_plan *p, const struct peer_step_times *times)
{
    static const char marks[RECORD_STEP_RESULTS] = {'-', '!', '~', '+'};
    static char text[512];
    struct record_step steps[RECORD_MAX_STEPS];
    size_t n = peer_steps_list(p, times, steps), len = 0;
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%c%s%s%s", i ? " " : "", marks[steps[i].result],
                                steps[i].step, steps[i].reason[0] ? ":" : "", steps[i].reason);
    return text;
}

#define ELSEWHERE                                                                                                      \
    "-private:other_address -hairpin:other_address -reversed:none_reachable -direct:filtered -punch:moves "

/* The order of the article: reversal; then of topology three (1) full cone, (2) restricted, (3) port-restricted, (4)
 * prediction and retries; then the relay. + is what succeeded, ~ what was tried beside it, ! what failed. */
static void the_steps_follow_the_article(void **state)
{
    (void)state;
    static const struct {
        enum nat a, b;
        enum peer_path_kind kind;
        const char *ok, *failed;
    } rows[] = {
        {OPEN, CONE, PEER_PATH_REVERSED, "~private -hairpin:other_address +reversed",
         "!private -hairpin:other_address !reversed !punch -relay:not_asked"},
        {RANDOM, FULL_CONE, PEER_PATH_REVERSED, "~private -hairpin:other_address +reversed",
         "!private -hairpin:other_address !reversed !direct -relay:not_asked"},
        {FULL_CONE, OPEN, PEER_PATH_DIRECT, "~private -hairpin:other_address -reversed:both_reachable +direct",
         "!private -hairpin:other_address -reversed:both_reachable !direct -relay:not_asked"},
        {RESTRICTED, RANDOM, PEER_PATH_DIRECT, "~private -hairpin:other_address -reversed:none_reachable +direct",
         "!private -hairpin:other_address -reversed:none_reachable !direct -relay:not_asked"},
        {CONE, CONE, PEER_PATH_DIRECT,
         "~private -hairpin:other_address -reversed:none_reachable -direct:filtered +punch",
         "!private -hairpin:other_address -reversed:none_reachable -direct:filtered !punch -relay:not_asked"},
        {CONE, CONE, PEER_PATH_PRIVATE,
         "+private -hairpin:other_address -reversed:none_reachable -direct:filtered ~punch", NULL},
        {CONE, SEQUENTIAL, PEER_PATH_DIRECT, ELSEWHERE "!predicted +both",
         ELSEWHERE "!predicted !both -relay:not_asked"},
        {CONE, RANDOM, PEER_PATH_DIRECT, ELSEWHERE "-predicted:not_predictable !random +random",
         ELSEWHERE "-predicted:not_predictable !random !random -relay:not_asked"},
        {SEQUENTIAL, SEQUENTIAL, PEER_PATH_DIRECT, ELSEWHERE "+meet", ELSEWHERE "!meet -relay:not_asked"},
        {RANDOM, RANDOM, PEER_PATH_DIRECT, NULL,
         ELSEWHERE "-predicted:not_predictable -random:hopeless -relay:not_asked"},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(rows); i++) {
        struct pair p = pair_of(rows[i].a, rows[i].b);
        assert_int_equal(plan(&p, &synspray_technique, NULL), 0);
        struct peer_step_times times = {.end_ns = 500000000, .ok = true, .kind = rows[i].kind};
        times.n_attempts = p.plan.search.attempts > 1 && !p.plan.search.known ? 1 : 0;
        times.attempt_ns[0] = 400000000;
        /* A reversed path is there before the other side begins. */
        if (p.plan.strategy == REVERS)
            times.end_ns = p.plan.wait_ns / 2;
        if (rows[i].ok)
            assert_string_equal(steps_of(&p.plan, &times), rows[i].ok);
        times.ok = false;
        times.end_ns = 900000000;
        if (rows[i].failed)
            assert_string_equal(steps_of(&p.plan, &times), rows[i].failed);
        done(&p);
    }
}

/* Both behind one public address: topologies two and four. */
static void behind_one_address_two_steps_race(void **state)
{
    (void)state;
    struct pair p = {.a = facts("203.0.113", CONE, 1), .b = facts("203.0.113", CONE, 2)};
    struct peer_step_times times = {.end_ns = 500000000, .ok = true, .kind = PEER_PATH_HAIRPIN};
    assert_int_equal(plan(&p, &portspray_technique, NULL), 0);
    assert_string_equal(steps_of(&p.plan, &times), "~private +hairpin");
    times.kind = PEER_PATH_PRIVATE;
    assert_string_equal(steps_of(&p.plan, &times), "+private ~hairpin");
    times.ok = false;
    assert_string_equal(steps_of(&p.plan, &times), "!private !hairpin -relay:not_asked");
    done(&p);
}

/* The reachable side waits; what comes after that, because it was not reachable, is a step of its own. */
static void a_reversal_that_fails_becomes_a_punch(void **state)
{
    (void)state;
    struct pair p = pair_of(CONE, OPEN);
    struct record_step steps[RECORD_MAX_STEPS];
    assert_int_equal(plan(&p, &simopen_technique, NULL), 0);
    assert_int_equal(p.plan.waits, WIRE_ROLE_B);
    assert_in_range(p.plan.wait_ns, 2 * p.plan.rtt_ns, p.plan.deadline_ns / 2);
    struct peer_step_times times = {.end_ns = p.plan.wait_ns + 60000000, .ok = true, .kind = PEER_PATH_DIRECT};
    assert_string_equal(steps_of(&p.plan, &times), "~private -hairpin:other_address !reversed +punch");
    assert_int_equal(peer_steps_list(&p.plan, &times, steps), 4);
    assert_int_equal(steps[2].took_ns, p.plan.wait_ns);
    assert_int_equal(steps[3].start_ns, p.plan.wait_ns);
    assert_int_equal(steps[3].took_ns, 60000000);
    /* The other side began a little earlier than this one. */
    times.end_ns = p.plan.wait_ns - 500000;
    assert_string_equal(steps_of(&p.plan, &times), "~private -hairpin:other_address !reversed +punch");
    times.kind = PEER_PATH_PRIVATE;
    assert_string_equal(steps_of(&p.plan, &times), "+private -hairpin:other_address ~reversed");
    /* A short deadline still has room for it. */
    p.deadline_ns = 200000000;
    assert_int_equal(plan(&p, &simopen_technique, NULL), 0);
    assert_int_equal(p.plan.wait_ns, 100000000);
    done(&p);
}

static void the_relay_comes_last(void **state)
{
    (void)state;
    struct pair p = pair_of(CONE, CONE);
    struct record_step steps[RECORD_MAX_STEPS];
    struct peer_step_times times = {
        .relay = true, .relay_ns = 500000000, .end_ns = 600000000, .ok = true, .kind = PEER_PATH_RELAY};
    assert_int_equal(plan(&p, &simopen_technique, NULL), 0);
    assert_string_equal(steps_of(&p.plan, &times), "!private -hairpin:other_address -reversed:none_reachable "
                                                   "-direct:filtered !punch +relay");
    assert_int_equal(peer_steps_list(&p.plan, &times, steps), 6);
    assert_int_equal(steps[4].took_ns, 500000000);
    assert_int_equal(steps[5].start_ns, 500000000);
    assert_int_equal(steps[5].took_ns, 100000000);
    /* A punched path was through first, after all. */
    times.kind = PEER_PATH_DIRECT;
    assert_string_equal(steps_of(&p.plan, &times), "~private -hairpin:other_address -reversed:none_reachable "
                                                   "-direct:filtered +punch ~relay");
    times.ok = false;
    assert_string_equal(steps_of(&p.plan, &times), "!private -hairpin:other_address -reversed:none_reachable "
                                                   "-direct:filtered !punch !relay");
    done(&p);
}

/* ---- evidence -------------------------------------------------------------------------------- */

static void behind_one_address_the_private_path_is_tried(void **state)
{
    (void)state;
    struct pair p = {.a = facts("203.0.113", RANDOM, 1), .b = facts("203.0.113", RANDOM, 2)};
    assert_int_equal(plan(&p, &synspray_technique, NULL), 0);
    assert_int_equal(p.plan.strategy, PUNCH);
    assert_true(isnan(p.plan.predicted_p) && !p.plan.infeasible);
    assert_int_equal(p.plan.for_a.list[p.plan.for_a.n - 1].kind, PEER_PATH_PRIVATE);
    done(&p);
}

/* What is only suspected of a filter is not relied on; what is known of an open host's firewall is. */
/* Ports that nobody can guess over IPv4, and addresses of IPv6 on both sides: not on one. */
static void the_other_family_may_do(void **state)
{
    (void)state;
    struct pair p = pair_of(RANDOM, RANDOM);
    struct peer_step_times times = {.end_ns = 100000000, .ok = true, .kind = PEER_PATH_DIRECT};
    p.a.private_eps[p.a.n_private++] = ep("[2001:db8:a::2]", 20000);
    assert_int_equal(plan(&p, &simopen_technique, NULL), 0);
    assert_int_equal(p.plan.strategy, NEVER);
    p.b.private_eps[p.b.n_private++] = ep("[2001:db8:b::2]", 20000);
    p.b.private_eps[p.b.n_private++] = ep("[fd00::2]", 20000);
    assert_int_equal(plan(&p, &simopen_technique, NULL), 0);
    assert_int_equal(p.plan.strategy, PUNCH);
    assert_true(!p.plan.infeasible && isnan(p.plan.predicted_p));
    /* One of the internet is no private path; one that is not is. */
    assert_int_equal(p.plan.for_a.n, 4);
    assert_int_equal(p.plan.for_a.list[2].kind, PEER_PATH_DIRECT);
    assert_int_equal(p.plan.for_a.list[3].kind, PEER_PATH_PRIVATE);
    assert_string_equal(steps_of(&p.plan, &times), ELSEWHERE "-predicted:not_predictable -random:hopeless +punch");
    done(&p);
    /* On one link: two hosts of one home. */
    p = pair_of(CONE, CONE);
    p.a.private_eps[p.a.n_private++] = ep("[2001:db8:a::2]", 20000);
    p.b.private_eps[p.b.n_private++] = ep("[2001:db8:a::3]", 20000);
    assert_int_equal(plan(&p, &portspray_technique, NULL), 0);
    assert_int_equal(p.plan.for_a.list[p.plan.for_a.n - 1].kind, PEER_PATH_PRIVATE);
    done(&p);
}

static void a_shared_pool_shows_among_all_samples(void **state)
{
    (void)state;
    struct pair p = {.a = facts("203.0.113", POOL, 1), .b = facts("203.0.113", POOL, 2)};
    /* The first ones differ, as they may. */
    p.a.samples[0].mapped = ep("203.0.113.1", 20000);
    p.b.samples[0].mapped = ep("203.0.113.2", 20000);
    assert_int_equal(plan(&p, &portspray_technique, NULL), 0);
    assert_int_equal(p.plan.strategy, PUNCH);
    assert_int_equal(p.plan.for_a.list[0].kind, PEER_PATH_HAIRPIN);
    done(&p);
}

static void a_filter_must_be_known(void **state)
{
    (void)state;
    struct pair p = pair_of(FULL_CONE, RANDOM);
    p.a.behaviour.filtering.confidence = 0.6;
    assert_int_equal(plan(&p, &synspray_technique, NULL), 0);
    assert_int_equal(p.plan.strategy, DRAWN);
    done(&p);
    p = pair_of(OPEN, RANDOM);
    p.a.behaviour.filtering = (struct predict_belief){PREDICT_FILTERING_APD, 0.98};
    assert_int_equal(plan(&p, &synspray_technique, NULL), 0);
    assert_int_equal(p.plan.strategy, DRAWN);
    p.a.n_samples = 0;
    assert_int_equal(plan(&p, &synspray_technique, NULL), -EINVAL);
    done(&p);
}

static void the_plan_crosses_the_wire(void **state)
{
    (void)state;
    static uint8_t buf[256 * 1024];
    struct pair p = pair_of(CONE, SEQUENTIAL);
    struct peer_plan out;
    assert_int_equal(plan(&p, &portspray_technique, NULL), 0);
    int len = peer_plan_encode(&p.plan, buf, sizeof(buf));
    assert_true(len > 0);
    assert_int_equal(peer_plan_decode(buf, (size_t)len, &out), 0);
    assert_int_equal(out.strategy, p.plan.strategy);
    assert_int_equal(out.n_steps, p.plan.n_steps);
    assert_memory_equal(out.steps, p.plan.steps, sizeof(out.steps));
    assert_int_equal(out.waits, WIRE_ROLE_NONE);
    assert_int_equal(out.search.wide, p.plan.search.wide);
    assert_true(out.search.wide > 500);
    peer_plan_free(&out);
    done(&p);
    p = pair_of(OPEN, RANDOM);
    assert_int_equal(plan(&p, &portspray_technique, NULL), 0);
    len = peer_plan_encode(&p.plan, buf, sizeof(buf));
    assert_true(len > 0);
    assert_int_equal(peer_plan_decode(buf, (size_t)len, &out), 0);
    assert_int_equal(out.waits, WIRE_ROLE_A);
    assert_int_equal(out.wait_ns, p.plan.wait_ns);
    peer_plan_free(&out);
    done(&p);
    /* A filter alone is worth telling: the mapping is in the samples. */
    struct peer_facts f = facts("203.0.113", LAST_ONLY, 1), g;
    len = peer_facts_encode(&f, buf, sizeof(buf));
    assert_true(len > 0);
    assert_int_equal(peer_facts_decode(buf, (size_t)len, &g), 0);
    assert_int_equal(g.behaviour.filtering.value, PREDICT_FILTERING_LAST);
    peer_facts_free(&f);
    peer_facts_free(&g);
}

/* More samples than the other modes take, unless their number was given, in whichever order. */
static void auto_takes_more_samples(void **state)
{
    (void)state;
    struct peer_options o;
    peer_options_init(&o, &portspray_technique);
    assert_int_equal(peer_option_u64(&o, "samples"), 4);
    assert_int_equal(peer_options_set(&o, &portspray_technique, "mode", "auto"), 0);
    assert_int_equal(peer_option_u64(&o, "samples"), PEER_AUTO_SAMPLES);
    assert_int_equal(peer_options_set(&o, &portspray_technique, "mode", "punch"), 0);
    assert_int_equal(peer_option_u64(&o, "samples"), 4);
    assert_int_equal(peer_options_set(&o, &portspray_technique, "samples", "7"), 0);
    assert_int_equal(peer_options_set(&o, &portspray_technique, "mode", "auto"), 0);
    assert_int_equal(peer_option_u64(&o, "samples"), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_done_follows_from_both_sides),
        cmocka_unit_test(a_retry_changes_the_strategy),
        cmocka_unit_test(attempts_fit_the_deadline_and_the_caps),
        cmocka_unit_test(a_carrier_s_subscriber_has_few_flows),
        cmocka_unit_test(one_hole_waits_for_who_is_late),
        cmocka_unit_test(the_steps_follow_the_article),
        cmocka_unit_test(behind_one_address_two_steps_race),
        cmocka_unit_test(a_reversal_that_fails_becomes_a_punch),
        cmocka_unit_test(the_relay_comes_last),
        cmocka_unit_test(the_other_family_may_do),
        cmocka_unit_test(a_shared_pool_shows_among_all_samples),
        cmocka_unit_test(behind_one_address_the_private_path_is_tried),
        cmocka_unit_test(a_filter_must_be_known),
        cmocka_unit_test(the_plan_crosses_the_wire),
        cmocka_unit_test(auto_takes_more_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
