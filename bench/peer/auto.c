/* Mode auto: what both sides' samples, and discovery where it was asked for, say about the best way. Pure. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/peer/internal.h"

/* A property that is known so well is relied on. */
#define SURE_ENOUGH 0.9
/* Without prediction of ports a technique that keeps to its registered ports tries so many candidates. */
#define FEW_HOLES 48
/*
 * Some routers shut out who sends them several packets unasked, and know few flows: where the ports are narrow a first
 * attempt with so few probes and holes is tried, if it reaches the target.
 */
#define SHY_PROBES 6
#define SHY_HOLES  64
/* Silence that ends an attempt, as in the techniques. */
#define SILENCE_RTTS   3
#define SILENCE_MIN_NS (150 * BASE_NS_PER_MS)

struct evidence {
    struct peer_facts own; /* judged; the samples are the caller's */
    const struct peer_facts *facts;
    struct predict_behaviour b;
    bool stays, open;
    size_t n_at; /* addresses seen */
    union base_ep at[PEER_MAX_ADDRESSES];
};

struct deciding {
    struct evidence side[2];
    const struct peer_options *options;
    struct base_rng *rng;
    const struct peer_ways *ways;
    struct peer_plan *out;
};

const char *peer_strategy_name(enum peer_strategy strategy)
{
    static const char *const names[PEER_STRATEGIES] = {NULL,     "direct", "punch", "predicted",
                                                       "random", "both",   "meet",  "infeasible"};
    return strategy < PEER_STRATEGIES ? names[strategy] : NULL;
}

enum peer_strategy peer_strategy_of(const struct peer_plan *plan, unsigned n)
{
    return n > 0 && plan->search.wide ? PEER_STRATEGY_BOTH : plan->strategy;
}

/* ---- evidence -------------------------------------------------------------------------------- */

/* S sees the very endpoint that the host has: no NAT. */
static bool is_open(const struct peer_facts *f)
{
    union base_ep mapped = peer_facts_mapped(f);
    for (size_t i = 0; i < f->n_private; i++)
        if (base_ep_equal(&f->private_eps[i], &mapped))
            return true;
    return false;
}

static void look_at(struct evidence *e, const struct peer_facts *f)
{
    e->own = *f;
    peer_predict_judge(&e->own);
    e->facts = &e->own;
    e->b = e->own.judgement;
    e->stays = peer_facts_stable(f);
    e->open = e->stays && is_open(f);
    e->n_at = peer_facts_addresses(f, e->at);
}

static bool filters_by(const struct evidence *e, int filtering)
{
    return e->b.filtering.value == filtering && e->b.filtering.confidence >= SURE_ENOUGH;
}

/*
 * Whoever knows the endpoint gets in. A host with a public IPv4 address is taken for one without a firewall, unless
 * that is known; of IPv6 addresses all are public, and home routers filter them (RFC 6092).
 */
static bool lets_all_in(const struct evidence *e)
{
    bool known = e->b.filtering.value != PREDICT_FILTERING_UNKNOWN;
    bool bare = e->open && !known && e->at[0].sa.sa_family == AF_INET;
    return e->stays && (filters_by(e, PREDICT_FILTERING_NONE) || filters_by(e, PREDICT_FILTERING_EI) || bare);
}

static bool share_an_address(const struct deciding *d)
{
    for (size_t i = 0; i < d->side[0].n_at; i++)
        for (size_t k = 0; k < d->side[1].n_at; k++)
            if (base_ep_same_addr(&d->side[0].at[i], &d->side[1].at[k]))
                return true;
    return false;
}

/* How sure it is that the mapping is what it was taken for. */
static double stays_p(const struct evidence *e)
{
    return e->b.mapping.value == PREDICT_MAPPING_EI || e->b.mapping.value == PREDICT_MAPPING_NONE ||
                   e->b.mapping.value == PREDICT_MAPPING_UNKNOWN
               ? fmax(e->b.mapping.confidence, e->open ? SURE_ENOUGH : 0)
               : 0;
}

/* ---- without a search ------------------------------------------------------------------------ */

static void set_mode(const struct deciding *d, const char *mode)
{
    snprintf(d->out->mode, sizeof(d->out->mode), "%s", mode);
}

static int plan_registered(const struct deciding *d, enum peer_strategy strategy, double p)
{
    int err = peer_plan_registered(d->side[0].facts, d->side[1].facts, d->out);
    set_mode(d, d->ways->punch);
    d->out->strategy = strategy;
    d->out->predicted_p = p;
    d->out->search.attempts = 1;
    peer_search_known(d->out);
    return err;
}

/* One stays and lets in whom it has sent to, whatever the port: a hole to each address of the other. */
static int plan_by_address(const struct deciding *d, int stays)
{
    const struct evidence *opener = &d->side[stays], *prober = &d->side[!stays];
    struct peer_candidates *holes = stays ? &d->out->for_b : &d->out->for_a;
    double p = stays_p(opener) * opener->b.filtering.confidence * peer_facts_seen_share(prober->facts);
    int err = plan_registered(d, PEER_STRATEGY_DIRECT, p);
    for (size_t i = 0; i < prober->n_at && err == 0; i++)
        err = peer_candidates_add(holes, &prober->at[i], PEER_PATH_DIRECT, NAN);
    d->out->search.opener = stays ? WIRE_ROLE_B : WIRE_ROLE_A;
    peer_search_known(d->out);
    return err;
}

static int give_up(const struct deciding *d, double p)
{
    peer_plan_drop_lists(d->out);
    d->out->search.attempts = 1;
    d->out->strategy = PEER_STRATEGY_INFEASIBLE;
    d->out->predicted_p = p;
    d->out->infeasible = true;
    return 0;
}

/* ---- attempts -------------------------------------------------------------------------------- */

static uint64_t attempt_ns(const struct peer_plan *plan, unsigned n)
{
    struct peer_search s = peer_search_attempt(plan, n);
    uint64_t silence = SILENCE_RTTS * plan->rtt_ns > SILENCE_MIN_NS ? SILENCE_RTTS * plan->rtt_ns : SILENCE_MIN_NS;
    uint64_t most = s.holes > s.probes ? s.holes : s.probes;
    uint64_t all = s.order == PEER_TOGETHER ? most : (uint64_t)s.holes + s.probes;
    return (s.rate ? all * BASE_NS_PER_S / s.rate : 0) + silence + 2 * plan->rtt_ns;
}

/* As many as the deadline has room for, and over UDP, where what was opened stays open, the caps. */
static void fit_attempts(const struct deciding *d, uint32_t want)
{
    struct peer_search *s = &d->out->search;
    uint64_t ns = 0, holes = 0, probes = 0;
    uint32_t n = 0;
    for (; n < want; n++) {
        struct peer_search next = peer_search_attempt(d->out, n);
        ns += attempt_ns(d->out, n);
        holes += next.holes;
        probes += next.probes;
        bool fits = d->ways->tcp || (holes <= s->entries && probes <= s->entries);
        if (n > 0 && (!fits || ns > d->out->deadline_ns))
            break;
    }
    s->attempts = n;
}

static double attempt_p(const struct deciding *d, const struct evidence *prober, unsigned n)
{
    struct peer_search s = peer_search_attempt(d->out, n);
    uint32_t ports = PEER_RANDOM_PORTS;
    return s.wide ? predict_p_random(ports, s.holes, s.probes) / (double)prober->n_at : d->out->predicted_p;
}

/*
 * A retry of drawn ports is as likely as the first; one of predicted ports may fail for the reason that the first one
 * failed for, so it draws ports too, and counts for those alone.
 */
static void plan_retries(const struct deciding *d, const struct evidence *prober, uint32_t want)
{
    struct peer_search *s = &d->out->search;
    const struct peer_timing timing = {s->rate, d->out->rtt_ns, d->ways->tcp};
    uint32_t files = prober->facts->open_files > 64 ? (uint32_t)prober->facts->open_files - 64 : UINT32_MAX;
    if (d->out->strategy == PEER_STRATEGY_PREDICTED && want > 1) {
        s->random_at = prober->at[0];
        base_ep_set_port(&s->random_at, 0);
        s->random_lo = PEER_RANDOM_LO;
        s->random_hi = PEER_RANDOM_HI;
        s->drift = peer_predict_drift(prober->facts, s->probes, &timing);
        s->wide = peer_search_alike(PEER_RANDOM_PORTS, peer_search_aim(0.99), files < s->entries ? files : s->entries);
    }
    /* Over UDP the first one is the fast one. It fails where a NAT keeps a port for whom it has refused there. */
    s->careful = !d->ways->tcp;
    fit_attempts(d, want);
    double miss = 1 - d->out->predicted_p;
    for (unsigned n = 1; n < s->attempts; n++)
        miss *= 1 - attempt_p(d, prober, n);
    d->out->predicted_p = 1 - miss;
}

/* ---- with a search --------------------------------------------------------------------------- */

static bool is_narrow(const struct evidence *e)
{
    int ports = e->b.ports.value;
    return ports == PREDICT_PORTS_SEQUENTIAL || ports == PREDICT_PORTS_BLOCK || ports == PREDICT_PORTS_BAND;
}

static enum peer_strategy strategy_of(const struct deciding *d, const struct evidence *prober)
{
    if (d->out->search.meet)
        return PEER_STRATEGY_MEET;
    return is_narrow(prober) && !base_ep_is_set(&d->out->search.random_at) ? PEER_STRATEGY_PREDICTED
                                                                           : PEER_STRATEGY_RANDOM;
}

static struct peer_search_limits limits_of(const struct deciding *d)
{
    bool one_stays = d->side[0].stays || d->side[1].stays;
    struct peer_search_limits limits = {0, 0};
    if (d->ways->registered_only)
        limits = (struct peer_search_limits){one_stays ? FEW_HOLES : 1, 1};
    else if (one_stays && filters_by(&d->side[!d->side[0].stays], PREDICT_FILTERING_LAST))
        limits.holes = 1;
    return limits;
}

static int plan_within(const struct deciding *d, const struct peer_search_limits *limits)
{
    return peer_search_plan_within(d->side[0].facts, d->side[1].facts, d->options, d->rng, d->ways->tcp, limits,
                                   d->out);
}

static int plan_shy(const struct deciding *d, const struct peer_search_limits *limits)
{
    static const struct peer_search_limits shy = {SHY_HOLES, SHY_PROBES};
    bool any_limits = !limits->holes && !limits->probes, one_stays = d->side[0].stays || d->side[1].stays;
    if (any_limits && one_stays && is_narrow(&d->side[d->side[0].stays])) {
        int err = plan_within(d, &shy);
        if (err < 0 || (!d->out->infeasible && d->out->predicted_p >= peer_option_fraction(d->options, "target")))
            return err;
        peer_plan_drop_lists(d->out);
        d->out->infeasible = false;
        d->out->predicted_p = NAN;
    }
    return plan_within(d, any_limits ? NULL : limits);
}

static int plan_search(const struct deciding *d)
{
    struct peer_plan *out = d->out;
    struct peer_search_limits limits = limits_of(d);
    uint32_t attempts = out->search.attempts;
    uint64_t asked;
    int err = plan_shy(d, &limits);
    if (err < 0)
        return err;
    if (out->infeasible)
        return give_up(d, out->predicted_p);
    const struct evidence *prober = &d->side[out->search.opener == WIRE_ROLE_A];
    set_mode(d, d->ways->search);
    out->strategy = strategy_of(d, prober);
    if (d->ways->registered_only || out->search.meet || limits.holes == 1)
        attempts = 1;
    else if (!peer_options_find(d->options, "attempts") || !peer_option_number(d->options, "attempts", &asked))
        attempts = PEER_AUTO_ATTEMPTS;
    plan_retries(d, prober, attempts);
    return out->predicted_p < PEER_AUTO_HOPELESS ? give_up(d, out->predicted_p) : 0;
}

int peer_auto_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                   struct base_rng *rng, const struct peer_ways *ways, struct peer_plan *out)
{
    struct deciding d = {.options = options, .rng = rng, .ways = ways, .out = out};
    if (a->n_samples == 0 || b->n_samples == 0)
        return -EINVAL;
    look_at(&d.side[0], a);
    look_at(&d.side[1], b);
    const struct evidence *x = &d.side[0], *y = &d.side[1];
    peer_search_begin(a, b, options, out);
    if (share_an_address(&d))
        return plan_registered(&d, PEER_STRATEGY_PUNCH, NAN);
    if (x->stays && y->stays)
        return plan_registered(&d, lets_all_in(x) || lets_all_in(y) ? PEER_STRATEGY_DIRECT : PEER_STRATEGY_PUNCH,
                               stays_p(x) * stays_p(y));
    for (int i = 0; i < 2; i++)
        if (lets_all_in(&d.side[i]))
            return plan_registered(&d, PEER_STRATEGY_DIRECT, stays_p(&d.side[i]));
    for (int i = 0; i < 2; i++)
        if (d.side[i].stays && filters_by(&d.side[i], PREDICT_FILTERING_AD))
            return plan_by_address(&d, i);
    return plan_search(&d);
}
