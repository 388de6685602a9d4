/*
 * The same random packet sequences through a netfilter router and through its emulated twin: the same verdicts and the
 * same translations, up to the port chosen.
 *
 * Pins: an emulated NAT that treats a packet otherwise than Linux does: a session that opens or ends with another
 * packet, a segment that only one of the two takes for INVALID, an ICMP error that only one translates, a field that
 * only one rewrites. A drop of the router is proven by a marker packet that follows it and comes out.
 */
#include "tests/lab/differential_nats.h"

/* A longer search: DIFFERENTIAL_SEEDS="FIRST COUNT". */
#define SEQUENCES 300u
#define STEPS     60u

/* ---- comparing ------------------------------------------------------------------------------- */

/* Where the external port of a packet that came out is, and the checksums that follow from it. */
struct port_place {
    size_t port, sums[2];
    unsigned n_sums;
};

static struct port_place place_of(const struct step *s)
{
    static const size_t sum_at[] = {[TCP] = 16, [UDP] = 6, [ICMP] = 2};
    size_t sum = sum_at[s->flow->proto];
    if (s->kind != K_ERROR)
        return (struct port_place){.port = s->kind == K_ECHO ? 24 : 20, .sums = {20 + sum}, .n_sums = 1};
    /* The quoted packet's destination, or identifier. */
    return (struct port_place){
        .port = s->flow->proto == ICMP ? 52 : 50, .sums = {22, 48 + sum}, .n_sums = sum + 2 <= s->quote - 20 ? 2 : 1};
}

/* From what a NAT let out, the outside learns the port; what had it before towards that remote is gone. */
static void learn(struct run *r, struct flow *f, unsigned nat, uint16_t port)
{
    for (unsigned i = 0; i < N_FLOWS; i++) {
        struct flow *g = &r->flows[i];
        if (g->proto == f->proto && g->remote == f->remote && g->far_port == f->far_port && g->ext[nat] == port)
            g->known[nat] = false;
    }
    f->known[nat] = true;
    f->ext[nat] = port;
}

/* The same bytes, up to the external port and what follows from it. */
static bool same_translation(struct run *r, const struct step *s, const struct result got[N_NATS])
{
    struct pkt a = got[REAL].p, b = got[TWIN].p;
    if (a.len != b.len || !sums_ok(a.b, a.len) || !sums_ok(b.b, b.len))
        return false;
    if (s->dir == OUT) {
        struct port_place place = place_of(s);
        unsigned port_a = r16(a.b + place.port), port_b = r16(b.b + place.port);
        if (s->kind == K_ERROR && (port_a != ext_of(r, s->flow, REAL) || port_b != ext_of(r, s->flow, TWIN)))
            return false;
        if (s->kind != K_ERROR) {
            learn(r, s->flow, REAL, (uint16_t)port_a);
            learn(r, s->flow, TWIN, (uint16_t)port_b);
        }
        memcpy(b.b + place.port, a.b + place.port, 2);
        for (unsigned i = 0; i < place.n_sums && port_a != port_b; i++)
            memcpy(b.b + place.sums[i], a.b + place.sums[i], 2);
    }
    return memcmp(a.b, b.b, a.len) == 0;
}

/* A difference that is right to keep, and changes neither NAT's table. */
struct explained {
    const char *what, *reason;
    bool (*matches)(const struct step *s, const struct result got[N_NATS]);
};

static bool is_quench(const struct step *s, const struct result got[N_NATS])
{
    return s->kind == K_ERROR && (s->type == 4 || s->type == 5) && got[REAL].verdict == LAB_NAT_FORWARD;
}

static const struct explained explained[] = {
    {"ICMP source quench or redirect", "Linux translates it; the emulator follows RFC 5508 and RFC 6633 and drops it",
     is_quench},
};

#define N_EXPLAINED BASE_ARRAY_LEN(explained)

struct tally {
    unsigned steps, same[2], leaked, other_port, differences;
    unsigned explained[N_EXPLAINED];
};

static const char *say(const struct result *got)
{
    static const char *const names[] = {"forward", "drop", "reply", "hairpin"};
    return got->leaked ? "leak (counts as drop)" : names[got->verdict];
}

static bool explain(const struct step *s, const struct result got[N_NATS], struct tally *t)
{
    for (size_t i = 0; i < N_EXPLAINED; i++)
        if (explained[i].matches(s, got)) {
            t->explained[i]++;
            return true;
        }
    return false;
}

/* One step through both. False: they differ. */
static bool same_step(struct pair *pair, struct run *r, const struct step *s, struct result got[N_NATS],
                      struct tally *t)
{
    struct pkt real = build(r, s, REAL), twin = build(r, s, TWIN);
    got[REAL] = through_real(pair, s->dir, &real);
    got[TWIN] = through_twin(pair, s->dir, &twin);
    t->steps++;
    t->leaked += got[REAL].leaked;
    if (got[REAL].verdict != got[TWIN].verdict)
        return false;
    if (got[REAL].verdict != LAB_NAT_DROP && !same_translation(r, s, got))
        return false;
    t->same[got[REAL].verdict == LAB_NAT_DROP]++;
    t->other_port += s->dir == OUT && s->flow->known[REAL] && s->flow->ext[REAL] != s->flow->ext[TWIN];
    return true;
}

static void print_hex(const char *name, const struct result *got)
{
    if (got->verdict != LAB_NAT_FORWARD && got->verdict != LAB_NAT_REPLY)
        return;
    print_message("    %s:", name);
    for (size_t i = 0; i < got->p.len && i < 96; i++)
        print_message("%s%02x", i % 4 ? "" : " ", got->p.b[i]);
    print_message("\n");
}

/* The steps of one sequence again, up to the difference. */
static void print_sequence(const struct run *r, const struct step *steps, const char *const said[][N_NATS], unsigned n,
                           const struct result got[N_NATS])
{
    print_message("seed %llu, step %u: netfilter and the emulated NAT differ\n", (unsigned long long)r->seed, n);
    for (unsigned i = 0; i <= n; i++) {
        if (steps[i].flow != steps[n].flow)
            continue;
        print_step(&steps[i], i);
        print_message(": %s / %s\n", said[i][REAL], said[i][TWIN]);
    }
    print_hex("netfilter", &got[REAL]);
    print_hex("emulated", &got[TWIN]);
}

/* A sequence ends with its first unexplained difference: from there on the tables may differ. */
static void sequence(struct pair *pair, uint64_t seed, bool loud, struct tally *t)
{
    struct run r;
    struct step steps[STEPS];
    const char *said[STEPS][N_NATS];
    struct result got[N_NATS];
    run_begin(&r, seed);
    pair_reset(pair);
    for (unsigned i = 0; i < STEPS; i++) {
        steps[i] = next_step(&r);
        bool same = same_step(pair, &r, &steps[i], got, t);
        said[i][REAL] = say(&got[REAL]);
        said[i][TWIN] = say(&got[TWIN]);
        if (same || explain(&steps[i], got, t))
            continue;
        t->differences++;
        if (loud)
            print_sequence(&r, steps, said, i, got);
        return;
    }
}

static void print_tally(const struct tally *t)
{
    print_message("%u steps: %u forwarded by both, %u dropped by both (%u left the router untranslated), %u with "
                  "another port; %u unexplained differences\n",
                  t->steps, t->same[0], t->same[1], t->leaked, t->other_port, t->differences);
    for (size_t i = 0; i < N_EXPLAINED; i++)
        print_message("  explained, %u times: %s: %s\n", t->explained[i], explained[i].what, explained[i].reason);
}

static struct tally compare(const char *real, enum lab_window window, unsigned max_loud)
{
    struct tally t = {0};
    struct pair *pair = pair_new(real, window);
    unsigned long long first = 1, count = SEQUENCES;
    const char *seeds = getenv("DIFFERENTIAL_SEEDS");
    if (seeds && sscanf(seeds, "%llu %llu", &first, &count) != 2)
        fail_msg("DIFFERENTIAL_SEEDS=%s: want \"FIRST COUNT\"", seeds);
    for (unsigned long long i = 0; i < count; i++)
        sequence(pair, first + i, t.differences < max_loud, &t);
    pair_free(pair);
    return t;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void assert_same(const char *real, enum lab_window window)
{
    struct tally t = compare(real, window, 3);
    print_tally(&t);
    assert_int_equal(t.differences, 0);
    /* The sequences do get somewhere. */
    assert_true(t.same[0] > t.steps / 5 && t.same[1] > t.steps / 8 && t.other_port > 0);
}

static void strict_is_as_netfilter(void **state)
{
    (void)state;
    assert_same("linux-strict", LAB_WINDOW_STRICT);
}

/* nf_conntrack_tcp_be_liberal */
static void liberal_is_as_netfilter(void **state)
{
    (void)state;
    assert_same("linux-liberal", LAB_WINDOW_LIBERAL);
}

/* The comparison does find a NAT that checks windows otherwise. */
static void liberal_differs_from_strict(void **state)
{
    (void)state;
    struct tally t = compare("linux-strict", LAB_WINDOW_LIBERAL, 0);
    print_message("%u differences, as there should be\n", t.differences);
    assert_true(t.differences > 0);
}

static char why_no_lab[LAB_ERROR_LEN];

static void no_lab_here(void **state)
{
    (void)state;
    print_message("skip: %s\n", why_no_lab);
    skip();
}

int main(void)
{
    static const struct CMUnitTest none[] = {cmocka_unit_test(no_lab_here)};
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(strict_is_as_netfilter),
        cmocka_unit_test(liberal_is_as_netfilter),
        cmocka_unit_test(liberal_differs_from_strict),
    };
    if (lab_enter(why_no_lab) < 0)
        return cmocka_run_group_tests(none, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
