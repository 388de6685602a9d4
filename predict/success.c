/* The success probability of a given set of holes, whoever chose it. */
#include <math.h>
#include <stdlib.h>

#include "predict/internal.h"

typedef uint64_t port_set[PORT_WORDS];

static double preserved(const struct predict_model *m, port_set *holes)
{
    double miss = 1;
    for (unsigned j = 0; j < m->probes && m->p_preserve > 0 && miss > 1e-9; j++)
        if (predict_port_get(holes[m->last], (uint16_t)(m->local_port + j)))
            miss *= 1 - P_PRESERVED;
    return m->p_preserve * (1 - miss);
}

/* Holes in [lo, hi] of one address at ports that may still be drawn. */
static uint32_t holes_in(const uint64_t *holes, const uint64_t *used, uint32_t lo, uint32_t hi)
{
    uint32_t n = 0;
    for (uint32_t w = lo >> 6; w <= hi >> 6; w++) {
        uint64_t word = holes[w] & ~used[w];
        if (w == lo >> 6)
            word &= ~UINT64_C(0) << (lo & 63);
        if (w == hi >> 6)
            word &= ~UINT64_C(0) >> (63 - (hi & 63));
        for (; word; word &= word - 1)
            n++;
    }
    return n;
}

static double covered(const struct predict_model *m, port_set *holes)
{
    double p = 0;
    for (unsigned i = 0; i < m->n_covers; i++) {
        const struct cover *c = &m->covers[i];
        uint32_t in = 0;
        for (unsigned a = 0; a < m->addresses; a++)
            if (c->everywhere || a == m->last)
                in += holes_in(holes[a], m->used[a], c->lo, c->hi);
        double miss = 1;
        for (uint32_t h = 0; h < in && miss > 0; h++)
            miss *= predict_cover_miss(c->n, h, 1, m->probes);
        p += c->weight * (1 - miss);
    }
    return p;
}

/* A fixed window claims its width, and nothing past it. */
static double fixed(const struct predict_candidate *holes, size_t n)
{
    double p = 0;
    for (size_t i = 0; i < n; i++)
        p += holes[i].p;
    return fmin(1, p);
}

double predict_success(const struct predict_model *m, const struct predict_candidate *holes, size_t n)
{
    double hit[MOST_RUNS] = {0}, p;
    if (m->kind >= PREDICT_FIXED_PLUS50)
        return fixed(holes, n);
    port_set *set = calloc(m->addresses, sizeof(*set));
    if (!set)
        return 0;
    for (size_t i = 0; i < n; i++) {
        int address = predict_model_address(m, &holes[i].ep);
        if (address >= 0 && holes[i].ep.port)
            predict_port_set(set[address], holes[i].ep.port);
    }
    int same = m->p_same > 0 ? predict_model_address(m, &m->same) : -1;
    p = same >= 0 && predict_port_get(set[same], m->same.port) ? m->p_same : 0;
    p += preserved(m, set) + covered(m, set);
    for (unsigned i = 0; i < m->n_runs; i++)
        hit[i] = predict_run_success(&m->runs[i], set[m->runs[i].address]);
    p += predict_runs_success(m, hit);
    free(set);
    return fmin(1, p);
}
