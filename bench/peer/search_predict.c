/* From what peers know of themselves to predict's samples and behaviours, and back to endpoints. Pure. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer/internal.h"

/* The rate cap lets so many probes go at once; only larger budgets are spread over time. */
#define BURST 64
/* From the plan to the start: it crosses S. */
#define START_RTTS 1
/* Seconds of others' allocations that count from earlier trials: traffic changes with the hour. */
#define MEMORY_S 30.0
/* And it comes in bursts: to know the mean of many allocations well says little of the next few. */
#define MEMORY_SEEN 16.0
/* A property that is known so well is relied on. */
#define SURE_ENOUGH 0.95
/* So many draws that spread so far are of all unprivileged ports: of a narrower range, one in thousands would. */
#define MANY_DRAWS 16
#define WIDE       52000
/* A sweep past one port is looked at in so many parts, and a port that is so nearly as good as the best is as good. */
#define SWEEP_PARTS 16
#define NEARLY      0.95

struct side {
    struct predict_sample *samples;
    struct predict_behaviour behaviour;
    struct predict_side side;
};

static struct predict_ep to_predict(const union base_ep *ep)
{
    struct predict_ep out = {.port = base_ep_port(ep)};
    size_t len;
    const uint8_t *bytes = base_ep_bytes(ep, &len);
    out.len = (uint8_t)len;
    if (len)
        memcpy(out.addr, bytes, len);
    return out;
}

static union base_ep from_predict(const struct predict_ep *ep)
{
    return base_ep_from_bytes(ep->len == 16 ? AF_INET6 : AF_INET, ep->addr, ep->port);
}

/*
 * What discovery learnt once a session stands beside what this trial's samples show: the samples rule where they are as
 * sure, as a line may have moved to another NAT since.
 */
static void judge(struct side *s, const struct peer_facts *f)
{
    if (f->judged) {
        s->behaviour = f->judgement;
        return;
    }
    struct predict_behaviour fresh = f->behaviour;
    predict_classify(s->samples, f->n_samples, &fresh);
    bool learnt =
        f->behaviour.mapping.value != PREDICT_MAPPING_UNKNOWN && f->behaviour.mapping.value == fresh.mapping.value;
    /* A sequence shows itself; who learnt something else of it looked at a bad moment. */
    bool counts = fresh.ports.value == PREDICT_PORTS_SEQUENTIAL && fresh.ports.confidence >= SURE_ENOUGH &&
                  f->behaviour.ports.value != PREDICT_PORTS_SEQUENTIAL;
    s->behaviour = learnt && !counts ? f->behaviour : fresh;
}

static struct predict_sample *samples_of(const struct peer_facts *f)
{
    struct predict_sample *out = calloc(f->n_samples ? f->n_samples : 1, sizeof(*out));
    for (size_t i = 0; out && i < f->n_samples; i++)
        out[i] = (struct predict_sample){
            .t = (double)f->samples[i].t_ns / 1e9,
            .local = to_predict(&f->samples[i].local),
            .remote = to_predict(&f->samples[i].remote),
            .mapped = to_predict(&f->samples[i].mapped),
        };
    return out;
}

struct predict_behaviour peer_predict_behaviour(const struct peer_facts *f)
{
    struct side s = {.samples = samples_of(f)};
    if (s.samples)
        judge(&s, f);
    free(s.samples);
    return s.behaviour;
}

void peer_predict_judge(struct peer_facts *f)
{
    f->judgement = peer_predict_behaviour(f);
    f->judged = true;
}

/* Mapping by address shows a port or two in a trial: their range is seen over several. */
static bool draws_few(const struct predict_behaviour *b)
{
    return b->mapping.value == PREDICT_MAPPING_AD && b->port_draws > 0 && b->ports.value != PREDICT_PORTS_SEQUENTIAL &&
           b->ports.value != PREDICT_PORTS_PRESERVE;
}

static void add_draws(struct predict_behaviour *fresh, const struct predict_behaviour *learnt)
{
    fresh->port_min = learnt->port_min < fresh->port_min ? learnt->port_min : fresh->port_min;
    fresh->port_max = learnt->port_max > fresh->port_max ? learnt->port_max : fresh->port_max;
    fresh->port_draws += learnt->port_draws;
    fresh->samples += learnt->samples;
}

void peer_predict_learn(const struct peer_facts *f, struct predict_behaviour *learnt)
{
    struct predict_behaviour fresh = *learnt;
    struct predict_sample *samples = samples_of(f);
    if (!samples)
        return;
    predict_classify(samples, f->n_samples, &fresh);
    free(samples);
    if (draws_few(&fresh)) {
        if (draws_few(learnt))
            add_draws(&fresh, learnt);
        *learnt = fresh;
        return;
    }
    bool was = learnt->ports.value == PREDICT_PORTS_SEQUENTIAL, is = fresh.ports.value == PREDICT_PORTS_SEQUENTIAL;
    if (was && is && learnt->step == fresh.step) {
        double keep = fmin(MEMORY_S / fmax(MEMORY_S, learnt->foreign_seconds),
                           MEMORY_SEEN / fmax(MEMORY_SEEN, learnt->foreign_seen));
        learnt->foreign_seen = keep * learnt->foreign_seen + fresh.foreign_seen;
        learnt->foreign_seconds = keep * learnt->foreign_seconds + fresh.foreign_seconds;
        learnt->samples += fresh.samples;
    } else if (was || learnt->mapping.value == PREDICT_MAPPING_UNKNOWN) {
        /* Another NAT than before, or the first look at one. */
        *learnt = is ? fresh : (struct predict_behaviour){.mapping = {0, 0}};
    }
}

void peer_predict_age(struct peer_facts *ours, uint64_t ours_ns, struct peer_facts *theirs, uint64_t theirs_ns)
{
    ours->taken_ns += ours_ns;
    theirs->taken_ns += theirs_ns + (ours->rtt_ns + theirs->rtt_ns) / 2;
}

/* interval: seconds between two probes. */
static int open_side(struct side *s, const struct peer_facts *f, const struct peer_timing *timing, double interval)
{
    double last = 0;
    s->samples = samples_of(f);
    if (!s->samples)
        return -ENOMEM;
    for (size_t i = 0; i < f->n_samples; i++)
        last = fmax(last, s->samples[i].t);
    judge(s, f);
    s->side = (struct predict_side){.samples = s->samples, .n = f->n_samples, .behaviour = &s->behaviour};
    s->side.query.after = fmax(0, (double)f->taken_ns / 1e9 - last) + START_RTTS * (double)timing->rtt_ns / 1e9;
    s->side.query.interval = interval;
    return 0;
}

static void from_registered(struct side *s, const struct peer_facts *f, const struct peer_facts *to)
{
    union base_ep remote = peer_facts_mapped(to);
    s->side.query.local = f->n_samples ? to_predict(&f->samples[0].local) : (struct predict_ep){.len = 0};
    s->side.query.remote = to_predict(&remote);
}

static bool stable(const struct side *s)
{
    int mapping = s->behaviour.mapping.value;
    return mapping == PREDICT_MAPPING_EI || mapping == PREDICT_MAPPING_NONE;
}

static double interval_of(uint32_t probes, uint32_t rate)
{
    return probes > BURST && rate > 0 ? 1.0 / (double)rate : 0; /* 0: no cap */
}

/* Only a sequence moves on meanwhile: others take ports between ours. Where both move, the opener's are a sequence too.
 */
static bool takes_time(const struct side sides[2], const struct predict_plan *plan, const struct peer_timing *timing,
                       double interval[2])
{
    bool differs = false;
    for (int i = 0; i < 2; i++) {
        uint32_t n = i == plan->opener ? plan->holes : plan->probes;
        bool moves = sides[i].behaviour.ports.value == PREDICT_PORTS_SEQUENTIAL;
        double takes = moves ? interval_of(n, timing->rate) : 0;
        differs |= takes != interval[i];
        interval[i] = takes;
    }
    return differs;
}

int peer_predict_plan(const struct peer_facts *a, const struct peer_facts *b, int opener,
                      const struct peer_timing *timing, const struct predict_caps *caps, struct predict_plan *out)
{
    struct side sides[2] = {{.samples = NULL}, {.samples = NULL}};
    double interval[2] = {0, 0};
    int err = 0;
    /* Once as if all went at once; again where the budget turns out to take its time. */
    for (int round = 0; round < 2 && err == 0; round++) {
        err = open_side(&sides[0], a, timing, interval[0]);
        if (err == 0)
            err = open_side(&sides[1], b, timing, interval[1]);
        /* A mapping that stays is the registered port's; who moves probes from fresh ports. */
        if (err == 0 && stable(&sides[0]))
            from_registered(&sides[0], a, b);
        if (err == 0 && stable(&sides[1]))
            from_registered(&sides[1], b, a);
        if (err == 0)
            err = predict_plan(&sides[0].side, &sides[1].side, opener, caps, out);
        free(sides[0].samples);
        free(sides[1].samples);
        sides[0].samples = sides[1].samples = NULL;
        if (err < 0 || !takes_time(sides, out, timing, interval))
            break;
    }
    return err;
}

/* From all unprivileged ports; *one: on one address. */
static bool is_wide(const struct peer_facts *f, const struct peer_timing *timing, bool *one)
{
    struct side s = {.samples = NULL};
    if (open_side(&s, f, timing, 0) < 0)
        return false;
    const struct predict_behaviour *b = &s.behaviour;
    bool wide = b->ports.value == PREDICT_PORTS_RANDOM && b->ports.confidence >= SURE_ENOUGH;
    bool everywhere = b->port_draws >= MANY_DRAWS && b->port_max - b->port_min > WIDE;
    *one = b->pooling.value == PREDICT_POOLING_SINGLE || b->pooling.value == PREDICT_POOLING_PAIRED;
    free(s.samples);
    return wide && everywhere;
}

bool peer_predict_is_random(const struct peer_facts *f, const struct peer_timing *timing)
{
    bool one;
    return is_wide(f, timing, &one) && one;
}

bool peer_predict_is_random_pool(const struct peer_facts *f, const struct peer_timing *timing)
{
    bool one;
    return is_wide(f, timing, &one) && !one;
}

int32_t peer_predict_drift(const struct peer_facts *f, uint32_t probes, const struct peer_timing *timing)
{
    struct side s = {.samples = NULL};
    if (open_side(&s, f, timing, 0) < 0)
        return 0;
    int64_t drift = s.behaviour.ports.value == PREDICT_PORTS_SEQUENTIAL ? (int64_t)s.behaviour.step * probes : 0;
    free(s.samples);
    return drift > UINT16_MAX ? UINT16_MAX : drift < -UINT16_MAX ? -UINT16_MAX : (int32_t)drift;
}

static struct predict_model *open_model(struct side *s, const struct peer_facts *f, uint32_t probes,
                                        const struct peer_timing *timing)
{
    if (open_side(s, f, timing, interval_of(probes, timing->rate)) < 0)
        return NULL;
    s->side.query.probes = probes;
    return predict_model_create(PREDICT_MIXTURE, s->samples, f->n_samples, &s->behaviour, &s->side.query);
}

/* A port that one of our own samples holds: where mappings move, the next one is another. */
static bool held(const struct side *s, const struct peer_facts *f, const union base_ep *ep)
{
    for (size_t i = 0; i < f->n_samples && !stable(s); i++)
        if (base_ep_equal(&f->samples[i].mapped, ep))
            return true;
    return false;
}

/* As peer_predict_rank(), of a model that is open. */
static int rank(const struct side *s, struct predict_model *m, const struct peer_facts *f, struct base_rng *rng,
                union base_ep *eps, float *ps, size_t max)
{
    struct predict_rng order;
    struct predict_candidate *list = calloc(max + f->n_samples, sizeof(*list));
    if (!list)
        return -ENOMEM;
    if (rng)
        predict_rng_seed(&order, base_rng_u64(rng));
    size_t n = predict_rank(m, list, max + f->n_samples, rng ? &order : NULL), kept = 0;
    for (size_t i = 0; i < n && kept < max; i++) {
        union base_ep ep = from_predict(&list[i].ep);
        if (held(s, f, &ep))
            continue;
        eps[kept] = ep;
        if (ps)
            ps[kept] = (float)list[i].p;
        kept++;
    }
    free(list);
    return (int)kept;
}

int peer_predict_rank(const struct peer_facts *f, uint32_t probes, const struct peer_timing *timing,
                      struct base_rng *rng, union base_ep *eps, float *ps, size_t max)
{
    struct side s = {.samples = NULL};
    struct predict_model *m = open_model(&s, f, probes, timing);
    int n = m ? rank(&s, m, f, rng, eps, ps, max) : -ENOMEM;
    predict_model_free(m);
    free(s.samples);
    return n;
}

/* The port in the middle of what was seen that no sample holds: of a range whose ends are not known for sure. */
static union base_ep middle(const struct side *s, const struct peer_facts *f)
{
    union base_ep ep = peer_facts_last(f)->mapped;
    uint32_t lo = UINT16_MAX, hi = 0;
    for (size_t i = 0; i < f->n_samples; i++) {
        uint32_t port = base_ep_port(&f->samples[i].mapped);
        lo = port < lo ? port : lo;
        hi = port > hi ? port : hi;
    }
    for (uint32_t port = lo + (hi - lo) / 2; port <= hi; port++) {
        base_ep_set_port(&ep, (uint16_t)port);
        if (!held(s, f, &ep))
            break;
    }
    return ep;
}

/*
 * Where a sequence sweeps past many ports, most of them are about as likely to be hit: later ones than the first of
 * these, as far as the middle of the sweep, still are when a busy host or network starts it late.
 */
static union base_ep later(const struct side *s, const struct predict_model *m, uint32_t probes, union base_ep first,
                           double *share)
{
    struct predict_candidate c = {.ep = to_predict(&first)};
    double most = predict_success(m, &c, 1);
    union base_ep best = first;
    for (uint32_t i = 1; i <= SWEEP_PARTS / 2; i++) {
        int64_t port = base_ep_port(&first) + (int64_t)s->behaviour.step * (probes * i / SWEEP_PARTS);
        if (port < 1024 || port > UINT16_MAX)
            break;
        c.ep.port = (uint16_t)port;
        double p = predict_success(m, &c, 1);
        if (p < NEARLY * most)
            break;
        *share = p / most;
        base_ep_set_port(&best, (uint16_t)port);
    }
    return best;
}

int peer_predict_one(const struct peer_facts *f, uint32_t probes, const struct peer_timing *timing, union base_ep *out,
                     double *share)
{
    struct side s = {.samples = NULL};
    struct predict_model *m = f->n_samples ? open_model(&s, f, probes, timing) : NULL;
    int ports = s.behaviour.ports.value, err = f->n_samples ? -ENOMEM : -EINVAL;
    *share = 1;
    if (m && (ports == PREDICT_PORTS_RANDOM || ports == PREDICT_PORTS_BAND || ports == PREDICT_PORTS_BLOCK)) {
        *out = middle(&s, f);
        err = 0;
    } else if (m) {
        err = rank(&s, m, f, NULL, out, NULL, 1);
        err = err < 0 ? err : err == 0 ? -EINVAL : 0;
        if (err == 0 && ports == PREDICT_PORTS_SEQUENTIAL)
            *out = later(&s, m, probes, *out, share);
    }
    predict_model_free(m);
    free(s.samples);
    return err;
}

double peer_predict_success(const struct peer_facts *f, uint32_t probes, const struct peer_timing *timing,
                            const struct peer_candidates *holes)
{
    struct side s = {.samples = NULL};
    struct predict_model *m = open_model(&s, f, probes, timing);
    struct predict_candidate *list = m ? calloc(holes->n ? holes->n : 1, sizeof(*list)) : NULL;
    for (size_t i = 0; list && i < holes->n; i++)
        list[i].ep = to_predict(&holes->list[i].ep);
    double p = list ? predict_success(m, list, holes->n) : NAN;
    free(list);
    predict_model_free(m);
    free(s.samples);
    return p;
}
