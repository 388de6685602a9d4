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
/* Who waits to be connected to waits for two attempts, as one packet may be lost; and then goes in the middle of the
 * third: a SYN that met the other side's new one at its router was taken for invalid there, time and again. */
#define WAIT_SILENCES 2.5

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
    static const char *const names[PEER_STRATEGIES] = {NULL,   "direct", "punch",      "predicted", "random",
                                                       "both", "meet",   "infeasible", "reversed"};
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

/* How sure it is that the mapping is what it was taken for. */
static double stays_p(const struct evidence *e)
{
    return e->b.mapping.value == PREDICT_MAPPING_EI || e->b.mapping.value == PREDICT_MAPPING_NONE ||
                   e->b.mapping.value == PREDICT_MAPPING_UNKNOWN
               ? fmax(e->b.mapping.confidence, e->open ? SURE_ENOUGH : 0)
               : 0;
}

/* ---- the steps ------------------------------------------------------------------------------- */

static void consider(const struct deciding *d, enum peer_step step, enum peer_step_reason reason)
{
    struct peer_plan *out = d->out;
    if (out->n_steps < PEER_MAX_STEPS)
        out->steps[out->n_steps++] = (struct peer_considered){(uint8_t)step, (uint8_t)reason};
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

static uint64_t silence_ns(const struct peer_plan *plan)
{
    return SILENCE_RTTS * plan->rtt_ns > SILENCE_MIN_NS ? SILENCE_RTTS * plan->rtt_ns : SILENCE_MIN_NS;
}

/*
 * Connection reversal: one side is reachable, the other is hidden and told to connect. The reachable one only listens;
 * where nothing has come in some time the evidence was wrong, and it opens its own filter, too.
 */
static int plan_reversed(const struct deciding *d, int reachable)
{
    struct peer_plan *out = d->out;
    uint64_t wait = (uint64_t)(WAIT_SILENCES * (double)silence_ns(out));
    int err = plan_registered(d, PEER_STRATEGY_REVERSED, stays_p(&d->side[reachable]));
    out->waits = reachable ? WIRE_ROLE_B : WIRE_ROLE_A;
    out->wait_ns = wait < out->deadline_ns / 2 ? wait : out->deadline_ns / 2;
    consider(d, PEER_STEP_REVERSED, PEER_STEP_TRIED);
    consider(d, d->side[!reachable].stays ? PEER_STEP_PUNCH : PEER_STEP_DIRECT, PEER_STEP_TRIED);
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
    uint64_t silence = silence_ns(plan);
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

static bool has_other_family(const struct evidence *e)
{
    for (size_t i = 0; i < e->facts->n_private; i++)
        if (e->facts->private_eps[i].sa.sa_family != e->at[0].sa.sa_family)
            return true;
    return false;
}

/* Where both have addresses of the other family, which nobody asked S about, a punch there may do. */
static int plan_other_family(const struct deciding *d)
{
    if (!has_other_family(&d->side[0]) || !has_other_family(&d->side[1]))
        return 0;
    d->out->infeasible = false;
    consider(d, PEER_STEP_PUNCH, PEER_STEP_TRIED);
    return plan_registered(d, PEER_STRATEGY_PUNCH, NAN);
}

/* Case (4) of topology three: what is there to predict, and is it worth a packet? */
static int consider_search(const struct deciding *d)
{
    int err = plan_search(d);
    enum peer_strategy s = d->out->strategy;
    bool narrow = is_narrow(&d->side[0]) || is_narrow(&d->side[1]);
    if (err < 0)
        return err;
    if (s != PEER_STRATEGY_PREDICTED && s != PEER_STRATEGY_MEET)
        consider(d, PEER_STEP_PREDICTED, narrow ? PEER_STEP_HOPELESS : PEER_STEP_NOT_PREDICTABLE);
    consider(d, peer_step_of(s), s == PEER_STRATEGY_INFEASIBLE ? PEER_STEP_HOPELESS : PEER_STEP_TRIED);
    return s == PEER_STRATEGY_INFEASIBLE ? plan_other_family(d) : 0;
}

/* ---- the order ------------------------------------------------------------------------------- */

/* Topologies two and four. */
static int plan_one_address(const struct deciding *d)
{
    consider(d, PEER_STEP_PRIVATE, PEER_STEP_TRIED);
    consider(d, PEER_STEP_HAIRPIN, PEER_STEP_TRIED);
    return plan_registered(d, PEER_STRATEGY_PUNCH, NAN);
}

/* Where each knows the other's endpoint: topology one, and cases (1) to (3) of topology three. -EAGAIN: it is none. */
static int plan_known(const struct deciding *d)
{
    const struct evidence *x = &d->side[0], *y = &d->side[1];
    bool in[2] = {lets_all_in(x), lets_all_in(y)};
    /* Both may have further addresses, and one may be behind the other's NAT. */
    consider(d, PEER_STEP_PRIVATE, PEER_STEP_TRIED);
    consider(d, PEER_STEP_HAIRPIN, PEER_STEP_OTHER_ADDRESS);
    if (in[0] != in[1])
        return plan_reversed(d, in[1]);
    consider(d, PEER_STEP_REVERSED, in[0] ? PEER_STEP_BOTH_REACHABLE : PEER_STEP_NONE_REACHABLE);
    for (int i = 0; i < 2; i++)
        if (!(x->stays && y->stays) && d->side[i].stays && filters_by(&d->side[i], PREDICT_FILTERING_AD)) {
            consider(d, PEER_STEP_DIRECT, PEER_STEP_TRIED);
            return plan_by_address(d, i);
        }
    if (!in[0])
        consider(d, PEER_STEP_DIRECT, PEER_STEP_FILTERED);
    if (x->stays && y->stays) {
        consider(d, in[0] ? PEER_STEP_DIRECT : PEER_STEP_PUNCH, PEER_STEP_TRIED);
        return plan_registered(d, in[0] ? PEER_STRATEGY_DIRECT : PEER_STRATEGY_PUNCH, stays_p(x) * stays_p(y));
    }
    consider(d, PEER_STEP_PUNCH, PEER_STEP_MOVES);
    return -EAGAIN;
}

int peer_auto_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                   struct base_rng *rng, const struct peer_ways *ways, struct peer_plan *out)
{
    struct deciding d = {.options = options, .rng = rng, .ways = ways, .out = out};
    if (a->n_samples == 0 || b->n_samples == 0)
        return -EINVAL;
    look_at(&d.side[0], a);
    look_at(&d.side[1], b);
    peer_search_begin(a, b, options, out);
    out->n_steps = 0;
    if (peer_facts_share_address(a, b))
        return plan_one_address(&d);
    int err = plan_known(&d);
    if (err != -EAGAIN)
        return err;
    /* A search goes to the other's NAT alone. */
    out->steps[0].reason = PEER_STEP_OTHER_ADDRESS;
    return consider_search(&d);
}
