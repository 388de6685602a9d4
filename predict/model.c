/*
 * A model is a mixture of what the next mapping may be: the one that is there already, a preserved port, the
 * continuation of a sequence, a port drawn from a range; each with its posterior probability. Prior times evidence:
 * the same ports are explained by each in turn, and what explains them without effort wins.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "predict/internal.h"

/* An unknown mapping behaviour: most NATs are endpoint-independent. */
#define P_EI_UNTESTED 0.7
/* However sure the samples are: the chance that the NAT does something else, and any port may come. */
#define P_SURPRISE 1e-3
/* Less likely parts are left out. */
#define PART_LEAST 1e-6

struct build {
    struct predict_model *m;
    const struct predict_behaviour *b;
    struct pool_belief pool;
};

/* Counts of foreign allocations before the first probe, and their rates. */
struct scratch {
    double pmf[65536], rate[65536];
};

/* Whether the behaviour was learnt from more than these samples. */
static bool knows_more(const struct build *x)
{
    return x->b && x->b->samples > x->m->d.samples;
}

/* ---- the parts' weights -------------------------------------------------------------------------- */

/* What one kind of predictor alone believes in. */
static void restrict_to(struct build *x, enum predict_kind kind)
{
    struct predict_model *m = x->m;
    if (kind == PREDICT_MIXTURE) {
        m->w.preserve *= 1 - P_SURPRISE;
        m->w.sequential *= 1 - P_SURPRISE;
        m->w.range *= 1 - P_SURPRISE;
        return;
    }
    m->w.preserve = kind == PREDICT_PRESERVE;
    m->w.sequential = kind == PREDICT_SEQUENTIAL;
    m->w.range = kind == PREDICT_RANGE || kind == PREDICT_POOL || kind == PREDICT_RANDOM;
    if (kind == PREDICT_RANGE || kind == PREDICT_RANDOM)
        x->pool.fixed = 1;
    if (kind == PREDICT_POOL && x->pool.fixed > 0.5 && m->addresses > 1)
        x->pool.fixed = 0.5;
}

/* ---- the mapping that is there ------------------------------------------------------------------- */

static struct predict_belief mapping_of(const struct build *x)
{
    return x->b && x->b->mapping.confidence > 0 ? x->b->mapping : x->m->d.mapping;
}

static bool would_reuse(int mapping, const struct predict_sample *s, const struct predict_query *q)
{
    if (s->mapped.port == 0 || s->local.port != q->local.port ||
        (q->local.len && s->local.len && !predict_ep_same_address(&s->local, &q->local)))
        return false;
    switch (mapping) {
    case PREDICT_MAPPING_AD:
        return predict_ep_same_address(&s->remote, &q->remote);
    case PREDICT_MAPPING_APD:
        return predict_ep_equal(&s->remote, &q->remote);
    case PREDICT_MAPPING_CD:
        return false;
    default:
        return true;
    }
}

static void find_same(struct build *x, const struct predict_sample *samples, size_t n)
{
    struct predict_belief mapping = mapping_of(x);
    struct predict_model *m = x->m;
    double latest = -INFINITY;
    if (m->q.local.port == 0)
        return;
    if (mapping.value == PREDICT_MAPPING_NONE && m->d.samples) {
        m->same = m->d.last.mapped;
        m->same.port = m->q.local.port;
        m->p_same = mapping.confidence;
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (samples[i].t >= latest && would_reuse(mapping.value, &samples[i], &m->q)) {
            latest = samples[i].t;
            m->same = samples[i].mapped;
            m->p_same = mapping.value == PREDICT_MAPPING_UNKNOWN ? P_EI_UNTESTED : mapping.confidence;
        }
}

/* ---- addresses ----------------------------------------------------------------------------------- */

static void place_addresses(struct build *x)
{
    struct predict_model *m = x->m;
    memcpy(m->pool, m->d.pool, sizeof(m->pool));
    m->addresses = m->d.pool_seen;
    if (m->addresses == 0 && x->b) {
        m->addresses = x->b->pool_seen < PREDICT_MAX_POOL ? x->b->pool_seen : PREDICT_MAX_POOL;
        memcpy(m->pool, x->b->pool, m->addresses * sizeof(m->pool[0]));
    }
    if (m->d.n > 0) {
        int last = predict_model_address(m, &m->d.last.mapped);
        m->last = last < 0 ? 0 : (unsigned)last;
        m->last_port = m->d.last.mapped.port;
    }
    /* A candidate needs some address, even an unset one. */
    m->addresses = m->addresses ? m->addresses : 1;
    predict_pool(&m->d, &x->pool);
}

static void share_addresses(struct build *x)
{
    struct predict_model *m = x->m;
    for (unsigned a = 0; a < m->addresses; a++) {
        m->p_address[a] = a == m->last ? x->pool.fixed : 0;
        for (unsigned i = 0; i < 6; i++)
            m->p_address[a] += x->pool.fixed < 1 ? x->pool.weight[i] / x->pool.size[i] : 0;
    }
}

int predict_model_address(const struct predict_model *m, const struct predict_ep *ep)
{
    for (unsigned i = 0; i < m->addresses; i++)
        if (predict_ep_same_address(&m->pool[i], ep))
            return (int)i;
    return -1;
}

/* ---- sequences ----------------------------------------------------------------------------------- */

/* The chance that a draw begins a sequence that no sample has shown: those seen once only, of all (Good, Turing). */
static double unseen(const struct sequences *q, unsigned n)
{
    unsigned once = 0;
    for (unsigned i = 0; i < q->n; i++)
        once += q->s[i].n == 1;
    return q->n < 2 ? 0 : (double)once / (n + 1);
}

static double share_of(const struct predict_model *m, const struct sequences *q, unsigned k)
{
    const struct sequence *s = &q->s[k];
    double on_address = 0, mine = s->n;
    for (unsigned i = 0; i < q->n; i++)
        on_address += q->s[i].address == s->address ? q->s[i].n : 0;
    if (q->in_turn && m->probes == 1)
        return (q->next_turn + m->q.own_before) % q->n == k ? 0.95 : 0.05 / (q->n - 1);
    return m->p_address[s->address] * mine / on_address * (1 - unseen(q, m->d.n));
}

/* Finds where the first probe is in sequence k of a group, unless that is known for so many of ours before it. */
static bool find_starts(struct predict_model *m, unsigned group, unsigned k, uint32_t own, uint32_t room,
                        struct scratch **scratch)
{
    const struct sequences *q = &m->w.readings[m->group_reading[group]];
    const struct sequence *s = &q->s[k];
    struct starts *starts = &m->starts[group][k];
    double t = m->q.after + (m->d.last.t > s->t ? m->d.last.t - s->t : 0);
    if (starts->f && starts->own == own)
        return true;
    if (!*scratch)
        *scratch = malloc(sizeof(**scratch));
    if (!*scratch)
        return false;
    predict_starts_free(starts);
    uint32_t n = predict_foreign_counts(&q->foreign, t, (*scratch)->pmf, (*scratch)->rate, room - own);
    return predict_starts_init(starts, own, (*scratch)->pmf, (*scratch)->rate, n, m->q.interval);
}

static bool add_run(struct predict_model *m, unsigned group, unsigned k, struct scratch **scratch)
{
    const struct sequences *q = &m->w.readings[m->group_reading[group]];
    const struct sequence *s = &q->s[k];
    double share = share_of(m, q, k);
    if (share < PART_LEAST)
        return true;
    struct run *r = &m->runs[m->n_runs];
    *r = (struct run){.address = s->address,
                      .step = q->step * s->direction,
                      .from = s->from,
                      .lo = m->lowest,
                      .range = PORT_HI - m->lowest + 1,
                      .group = group};
    /* Ours come at this one's share; those before the probes move the start. */
    uint32_t own = (uint32_t)(m->q.own_before * share + 0.5), room = r->range - 1;
    own = own < room ? own : room - 1;
    if (!find_starts(m, group, k, own, room, scratch))
        return false;
    r->share = -expm1(m->probes * log1p(-fmin(share, 1 - 1e-12)));
    m->n_runs++;
    /* Of M probes a binomial number is in this one: rather a run too short than holes too far apart. */
    double mine = m->probes * share / r->share, sd = sqrt(m->probes * share * fmax(0, 1 - share));
    return predict_run_init(r, &m->starts[group][k], fmax(1, mine - sd));
}

/* The readings that are likely enough, and what is known of the foreign traffic in them. */
static void add_groups(struct build *x)
{
    struct predict_model *m = x->m;
    m->lowest = PORT_LO;
    for (unsigned i = 0; i < m->d.n; i++)
        m->lowest = m->d.d[i].port < m->lowest ? 1 : m->lowest;
    for (unsigned i = 0; i < m->w.n_readings && m->w.sequential >= PART_LEAST; i++) {
        struct sequences *q = &m->w.readings[i];
        double weight = m->w.sequential * q->weight * (1 - m->p_same);
        if (weight < PART_LEAST)
            continue;
        if (knows_more(x) && x->b->foreign_seconds > 0 && q->gaps.n < MOST_GAPS) {
            q->gaps.x[q->gaps.n] = (uint32_t)x->b->foreign_seen;
            q->gaps.dt[q->gaps.n++] = x->b->foreign_seconds;
            predict_foreign_fit(&q->gaps, &q->foreign);
        }
        m->group_reading[m->n_groups] = i;
        m->group_weight[m->n_groups++] = weight;
    }
}

static void drop_runs(struct predict_model *m)
{
    for (unsigned i = 0; i < m->n_runs; i++)
        predict_run_free(&m->runs[i]);
    m->n_runs = 0;
}

bool predict_model_aim(struct predict_model *m, unsigned probes)
{
    struct scratch *scratch = NULL;
    bool good = true;
    drop_runs(m);
    m->probes = probes ? probes : 1;
    for (unsigned g = 0; g < m->n_groups && good; g++)
        for (unsigned k = 0; k < m->w.readings[m->group_reading[g]].n && good; k++)
            good = add_run(m, g, k, &scratch);
    free(scratch);
    return good;
}

/* ---- ranges -------------------------------------------------------------------------------------- */

/* Mappings of ours live at least so long. */
#define IN_USE_S 20.0

static void mark_used(struct predict_model *m)
{
    memset(m->used, 0, m->addresses * sizeof(m->used[0]));
    for (unsigned i = 0; i < m->d.n; i++)
        if (m->d.last.t + m->q.after - m->d.d[i].t < IN_USE_S)
            predict_port_set(m->used[m->d.d[i].address], m->d.d[i].port);
}

/* Used ports inside. */
static double used_in(const struct predict_model *m, const struct span *s, bool everywhere)
{
    double n = 0;
    for (unsigned a = 0; a < m->addresses; a++)
        for (uint32_t w = s->lo >> 6; w <= s->hi >> 6 && (everywhere || a == m->last); w++) {
            uint64_t word = m->used[a][w];
            for (; word; word &= word - 1) {
                uint32_t port = (w << 6) + (uint32_t)__builtin_ctzll(word);
                n += port >= s->lo && port <= s->hi;
            }
        }
    return n;
}

static void add_cover(struct predict_model *m, const struct span *s, double weight, bool everywhere, double addresses)
{
    if (weight < PART_LEAST || m->n_covers == MOST_COVERS)
        return;
    double n = addresses * (s->hi - s->lo + 1.0) - used_in(m, s, everywhere);
    m->covers[m->n_covers++] = (struct cover){s->lo, s->hi, everywhere, weight, n > 1 ? n : 1, 1, 0, -1};
}

static unsigned spans_of(const struct build *x, struct span *spans)
{
    const struct predict_model *m = x->m;
    uint32_t min = UINT16_MAX, max = 0;
    unsigned n = m->d.n;
    if (m->kind == PREDICT_RANDOM) {
        spans[0] = (struct span){PORT_LO, PORT_HI, 1};
        return 1;
    }
    for (unsigned i = 0; i < m->d.n; i++) {
        min = m->d.d[i].port < min ? m->d.d[i].port : min;
        max = m->d.d[i].port > max ? m->d.d[i].port : max;
    }
    if (x->b && x->b->port_draws > n && x->b->port_min && x->b->port_min <= x->b->port_max) {
        min = x->b->port_min < min ? x->b->port_min : min;
        max = x->b->port_max > max ? x->b->port_max : max;
        n = x->b->port_draws;
    } else if (x->b && n == 0 && x->b->range_lo && x->b->range_lo <= x->b->range_hi) {
        spans[0] = (struct span){x->b->range_lo, x->b->range_hi, 1};
        return 1;
    }
    return predict_spans(min, max, n, spans);
}

static void add_ranges(struct build *x)
{
    static const struct span anywhere = {PORT_LO, PORT_HI, 1};
    struct predict_model *m = x->m;
    struct span spans[MOST_SPANS];
    unsigned n = spans_of(x, spans);
    double left = 0, arbitrary = 0;
    for (unsigned i = 0; i < 6; i++)
        arbitrary += x->pool.weight[i] / x->pool.size[i];
    /* What preserves a port that we do not know is to us a draw from all. */
    double weight = m->w.range + (m->q.local.port == 0 ? m->w.preserve : 0);
    for (unsigned i = 0; i < m->w.n_readings; i++)
        left += m->w.sequential * m->w.readings[i].weight * unseen(&m->w.readings[i], m->d.n);
    weight = (weight + left) * (1 - m->p_same);
    if (m->kind == PREDICT_MIXTURE)
        add_cover(m, &anywhere, P_SURPRISE * (1 - m->p_same), false, 1);
    for (unsigned i = 0; i < n; i++) {
        add_cover(m, &spans[i], weight * spans[i].weight * x->pool.fixed, false, 1);
        if (m->addresses > 1 && x->pool.fixed < 1)
            add_cover(m, &spans[i], weight * spans[i].weight * (1 - x->pool.fixed), true,
                      (1 - x->pool.fixed) / arbitrary);
    }
}

/* ---- all together -------------------------------------------------------------------------------- */

static void assemble(struct build *x, const struct predict_sample *samples, size_t n)
{
    struct predict_model *m = x->m;
    predict_draws(samples, n, &m->d);
    place_addresses(x);
    mark_used(m);
    predict_weigh(&m->d, knows_more(x) ? x->b : NULL, &m->w);
    restrict_to(x, m->kind);
    share_addresses(x);
    if (m->kind == PREDICT_MIXTURE || m->kind == PREDICT_PRESERVE)
        find_same(x, samples, n);
    m->local_port = m->q.local.port;
    m->p_preserve = m->local_port ? m->w.preserve * (1 - m->p_same) * m->p_address[m->last] : 0;
    add_ranges(x);
    add_groups(x);
}

struct predict_model *predict_model_create(enum predict_kind kind, const struct predict_sample *samples, size_t n,
                                           const struct predict_behaviour *b, const struct predict_query *query)
{
    struct predict_model *m = malloc(sizeof(*m));
    if (!m)
        return NULL;
    memset(m, 0, offsetof(struct predict_model, cells));
    m->kind = kind;
    m->q = *query;
    assemble(&(struct build){.m = m, .b = b}, samples, n);
    if (!predict_model_aim(m, query->probes)) {
        predict_model_free(m);
        return NULL;
    }
    return m;
}

void predict_model_free(struct predict_model *m)
{
    if (!m)
        return;
    drop_runs(m);
    for (unsigned g = 0; g < m->n_groups; g++)
        for (unsigned k = 0; k < PREDICT_MAX_SEQUENCES; k++)
            predict_starts_free(&m->starts[g][k]);
    free(m);
}

double predict_runs_success(const struct predict_model *m, const double *hit)
{
    double p = 0;
    for (unsigned g = 0; g < m->n_groups; g++) {
        double sum = 0, miss = 1;
        for (unsigned i = 0; i < m->n_runs; i++)
            if (m->runs[i].group == g) {
                sum += m->runs[i].share * hit[i];
                miss *= 1 - m->runs[i].share * hit[i];
            }
        /* One probe is in one sequence only; several fall on them as if independently. */
        p += m->group_weight[g] * (m->probes == 1 ? sum : 1 - miss);
    }
    return p;
}
