/*
 * The candidates in best order. Three sources are merged, always the one that adds most next: the single ports (the
 * mapping that is there, preserved ones), the best next hole of each sequence, and the ports of the ranges, which
 * between two ranges' bounds are all alike ("cells"). Every candidate also adds what it catches of the ranges it lies
 * in, so p is of the whole mixture.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "predict/internal.h"

/* Past so many candidates equal ones are counted by the chunk, their gain shared out evenly. */
#define ONE_BY_ONE 1024
#define CHUNK      256
/* A sequence's hole that adds less than this is left to the ranges. */
#define GAIN_LEAST 1e-9
#define MOST_CELLS (PREDICT_MAX_POOL * (2 * MOST_COVERS + 1))

struct cell {
    uint8_t address;
    uint32_t lo, hi;
    uint64_t covers;
    double density;
};

struct ranking {
    struct predict_model *m;
    struct predict_rng *rng;
    struct predict_candidate *out;
    size_t n, max;
    struct cell cells[MOST_CELLS];
    unsigned n_cells, cell;
    uint32_t in_order, at; /* m->order: ports of the cell, and the next one's place */
    double cell_gain;
    unsigned preserved; /* how many of the preserved ports are out */
    bool same_out;
};

/* ---- ranges -------------------------------------------------------------------------------------- */

double predict_cover_miss(double n, double holes, double more, double probes)
{
    double left = n - holes;
    if (more <= 0 || probes <= 0)
        return 1;
    if (probes + more > left)
        return 0;
    if (probes == 1)
        return 1 - more / left;
    if (more == 1)
        return 1 - probes / left;
    /* The product over the chunk, by its middle: off by less than one in a million where chunks are small. */
    return exp(more * log1p(-probes / (left - (more - 1) / 2)));
}

/* What `more` holes in a cell catch of the ranges around it; takes them when told to. */
static double cover_gain(struct predict_model *m, uint64_t covers, double more, bool take)
{
    double gain = 0;
    for (; covers; covers &= covers - 1) {
        struct cover *c = &m->covers[__builtin_ctzll(covers)];
        double miss = c->miss * predict_cover_miss(c->n, c->holes, more, m->probes);
        gain += c->weight * (c->miss - miss);
        if (take) {
            c->miss = miss;
            c->holes += more;
        }
    }
    return gain;
}

/* The ranges that may yield this port. */
static uint64_t covers_at(const struct predict_model *m, unsigned address, uint32_t port)
{
    uint64_t set = 0;
    for (unsigned i = 0; i < m->n_covers; i++)
        if ((m->covers[i].everywhere || address == m->last) && port >= m->covers[i].lo && port <= m->covers[i].hi)
            set |= UINT64_C(1) << i;
    return set;
}

static int by_port(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int by_density(const void *a, const void *b)
{
    const struct cell *x = a, *y = b;
    if (x->density != y->density)
        return x->density < y->density ? 1 : -1;
    return x->lo != y->lo ? (x->lo < y->lo ? -1 : 1) : x->address - y->address;
}

static void make_cells(struct ranking *r)
{
    const struct predict_model *m = r->m;
    uint32_t edges[2 * MOST_COVERS] = {0};
    unsigned n = 0;
    for (unsigned i = 0; i < m->n_covers; i++) {
        edges[n++] = m->covers[i].lo;
        edges[n++] = m->covers[i].hi + 1;
    }
    qsort(edges, n, sizeof(edges[0]), by_port);
    for (unsigned a = 0; a < m->addresses; a++)
        for (unsigned i = 0; i + 1 < n; i++) {
            uint64_t covers = edges[i] < edges[i + 1] ? covers_at(m, a, edges[i]) : 0;
            double density = 0;
            for (uint64_t c = covers; c; c &= c - 1)
                density += m->covers[__builtin_ctzll(c)].weight / m->covers[__builtin_ctzll(c)].n;
            if (covers)
                r->cells[r->n_cells++] = (struct cell){(uint8_t)a, edges[i], edges[i + 1] - 1, covers, density};
        }
    qsort(r->cells, r->n_cells, sizeof(r->cells[0]), by_density);
}

/* The next cell's ports that are not taken, shuffled. */
static void open_cell(struct ranking *r)
{
    r->in_order = r->at = 0;
    for (; r->cell < r->n_cells && r->in_order == 0; r->cell += r->in_order == 0) {
        const struct cell *c = &r->cells[r->cell];
        for (uint32_t port = c->lo; port <= c->hi; port++)
            if (!predict_port_get(r->m->taken[c->address], port) && !predict_port_get(r->m->used[c->address], port))
                r->m->order[r->in_order++] = (uint16_t)port;
    }
    for (uint32_t i = r->in_order; r->rng && i > 1; i--) {
        uint32_t j = predict_rng_below(r->rng, i);
        uint16_t port = r->m->order[i - 1];
        r->m->order[i - 1] = r->m->order[j];
        r->m->order[j] = port;
    }
    r->cell_gain = -1;
}

/* Skips what a sequence has taken meanwhile. False: no port is left. */
static bool cell_ready(struct ranking *r)
{
    for (;;) {
        while (r->at < r->in_order && predict_port_get(r->m->taken[r->cells[r->cell].address], r->m->order[r->at]))
            r->at++;
        if (r->at < r->in_order)
            break;
        if (r->in_order)
            r->cell++;
        if (r->cell >= r->n_cells)
            return false;
        open_cell(r);
        if (r->in_order == 0)
            return false;
    }
    if (r->cell_gain < 0)
        r->cell_gain = cover_gain(r->m, r->cells[r->cell].covers, 1, false);
    return true;
}

/* ---- one candidate ------------------------------------------------------------------------------- */

static void put(struct ranking *r, unsigned address, uint16_t port, double p)
{
    struct predict_candidate *c = &r->out[r->n++];
    c->ep = r->m->pool[address];
    c->ep.port = port;
    c->p = p;
    predict_port_set(r->m->taken[address], port);
}

static void put_chunk(struct ranking *r, uint32_t most)
{
    const struct cell *c = &r->cells[r->cell];
    uint32_t begin = r->at, n = 0;
    size_t first = r->n;
    while (n < most && r->at < r->in_order && r->n < r->max) {
        uint16_t port = r->m->order[r->at++];
        if (predict_port_get(r->m->taken[c->address], port))
            continue;
        put(r, c->address, port, 0);
        n++;
    }
    double gain = n ? cover_gain(r->m, c->covers, n, true) / n : 0;
    for (size_t i = first; i < r->n; i++)
        r->out[i].p = gain;
    if (begin != r->at)
        r->cell_gain = -1;
}

/* A port from one of the other sources: adds what the ranges give there, once. */
static void put_single(struct ranking *r, unsigned address, uint16_t port, double p)
{
    if (predict_port_get(r->m->taken[address], port)) {
        for (size_t i = 0; i < r->n; i++)
            if (r->out[i].ep.port == port && predict_ep_same_address(&r->out[i].ep, &r->m->pool[address]))
                r->out[i].p += p;
        return;
    }
    uint64_t covers = predict_port_get(r->m->used[address], port) ? 0 : covers_at(r->m, address, port);
    put(r, address, port, p + cover_gain(r->m, covers, 1, true));
    r->cell_gain = -1;
}

/* ---- single ports -------------------------------------------------------------------------------- */

static double preserved_gain(const struct ranking *r)
{
    if (r->preserved >= r->m->probes)
        return 0;
    return r->m->p_preserve * P_PRESERVED * pow(1 - P_PRESERVED, r->preserved);
}

static void put_same(struct ranking *r)
{
    int address = predict_model_address(r->m, &r->m->same);
    r->same_out = true;
    if (address >= 0)
        put_single(r, (unsigned)address, r->m->same.port, r->m->p_same);
}

static void put_preserved(struct ranking *r)
{
    double gain = preserved_gain(r);
    uint16_t port = (uint16_t)(r->m->local_port + r->preserved++);
    if (port != 0)
        put_single(r, r->m->last, port, gain);
}

/* ---- sequences ----------------------------------------------------------------------------------- */

/* What a gain of run i is worth, given what the runs of its group have hit already. */
static double worth(const struct predict_model *m, unsigned i)
{
    double factor = m->group_weight[m->runs[i].group] * m->runs[i].share;
    for (unsigned j = 0; m->probes > 1 && j < m->n_runs; j++)
        if (j != i && m->runs[j].group == m->runs[i].group)
            factor *= 1 - m->runs[j].share * m->runs[j].hit;
    return factor;
}

static unsigned best_run(const struct predict_model *m, uint32_t *position, double *gain)
{
    unsigned best = 0;
    *gain = 0;
    for (unsigned i = 0; i < m->n_runs; i++) {
        double g;
        uint32_t h = predict_run_best(&m->runs[i], &g);
        g *= worth(m, i);
        if (h && g > *gain) {
            best = i;
            *gain = g;
            *position = h;
        }
    }
    return best;
}

/* Takes the port in every sequence that passes it: two readings of the same samples often agree on a port. */
static void put_run(struct ranking *r, unsigned i, uint32_t position)
{
    struct predict_model *m = r->m;
    struct run *run = &m->runs[i];
    uint16_t port = predict_run_port(run, position);
    unsigned address = run->address;
    double before = 0, after = 0, hit[MOST_RUNS];
    for (unsigned j = 0; j < m->n_runs; j++)
        hit[j] = m->runs[j].hit;
    before = predict_runs_success(m, hit);
    for (unsigned j = 0; j < m->n_runs; j++) {
        uint32_t h = j == i ? position : m->runs[j].address == address ? predict_run_position(&m->runs[j], port) : 0;
        if (h)
            predict_run_take(&m->runs[j], h);
        hit[j] = m->runs[j].hit;
    }
    after = predict_runs_success(m, hit);
    put_single(r, address, port, after - before);
}

/* ---- all ----------------------------------------------------------------------------------------- */

static void reset(struct ranking *r)
{
    struct predict_model *m = r->m;
    memset(m->taken, 0, sizeof(m->taken));
    for (unsigned i = 0; i < m->n_runs; i++)
        predict_run_reset(&m->runs[i]);
    for (unsigned i = 0; i < m->n_covers; i++) {
        m->covers[i].miss = 1;
        m->covers[i].holes = 0;
    }
    make_cells(r);
    open_cell(r);
}

static bool step(struct ranking *r)
{
    uint32_t position = 0;
    double run, same = r->same_out ? 0 : r->m->p_same, kept = preserved_gain(r);
    unsigned i = best_run(r->m, &position, &run);
    bool ready = cell_ready(r);
    double cell = ready ? r->cell_gain : 0;
    if (run < GAIN_LEAST)
        run = 0;
    if (same > 0 && same >= fmax(run, fmax(kept, cell)))
        put_same(r);
    else if (kept > GAIN_LEAST && kept >= fmax(run, cell))
        put_preserved(r);
    else if (run > 0 &&
             (run >= cell ||
              run + cover_gain(r->m, covers_at(r->m, r->m->runs[i].address, predict_run_port(&r->m->runs[i], position)),
                               1, false) >=
                  cell))
        put_run(r, i, position);
    else if (ready)
        put_chunk(r, r->n < ONE_BY_ONE ? 1 : CHUNK);
    else
        return false;
    return true;
}

static void settle(struct predict_candidate *c, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += c[i].p;
    for (size_t i = 0; sum > 1 && i < n; i++)
        c[i].p /= sum;
}

size_t predict_rank(struct predict_model *m, struct predict_candidate *out, size_t max, struct predict_rng *rng)
{
    if (m->kind >= PREDICT_FIXED_PLUS50)
        return predict_fixed_rank(m, out, max);
    struct ranking r = {.m = m, .rng = rng, .out = out, .max = max};
    reset(&r);
    while (r.n < max && step(&r))
        ;
    settle(out, r.n);
    return r.n;
}

double predict_sum(const struct predict_candidate *c, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += c[i].p;
    return fmin(1, sum);
}
