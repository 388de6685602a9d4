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

struct ranking {
    struct predict_model *m;
    struct predict_rng *rng;
    struct predict_candidate *out;
    size_t n, max;
    unsigned cell;
    uint32_t in_order, at; /* shuffled: ports of the cell in m->order, and the next one's place */
    uint32_t port;         /* else the next port to look at */
    double cell_gain;      /* of one more; negative: to be found */
    bool run_known;        /* the best run's next hole, while no run has changed */
    unsigned run;
    uint32_t run_position;
    double run_gain;
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

/* What is left of a cover after one more hole: asked for again and again until one is taken. */
static double miss_next(const struct predict_model *m, struct cover *c)
{
    if (c->next < 0)
        c->next = c->miss * predict_cover_miss(c->n, c->holes, 1, m->probes);
    return c->next;
}

/* What `more` holes in a cell catch of the ranges around it; takes them when told to. */
static double cover_gain(struct predict_model *m, uint64_t covers, double more, bool take)
{
    double gain = 0;
    for (; covers; covers &= covers - 1) {
        struct cover *c = &m->covers[__builtin_ctzll(covers)];
        double miss = more == 1 ? miss_next(m, c) : c->miss * predict_cover_miss(c->n, c->holes, more, m->probes);
        gain += c->weight * (c->miss - miss);
        if (take) {
            c->miss = miss;
            c->holes += more;
            c->next = -1;
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

/* They depend on neither the number of probes nor the ranking. */
static void make_cells(struct predict_model *m)
{
    uint32_t edges[2 * MOST_COVERS] = {0};
    unsigned n = 0;
    m->n_cells = 0;
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
                m->cells[m->n_cells++] = (struct cell){(uint8_t)a, edges[i], edges[i + 1] - 1, covers, density};
        }
    qsort(m->cells, m->n_cells, sizeof(m->cells[0]), by_density);
    m->have_cells = true;
}

static bool is_free(const struct predict_model *m, unsigned address, uint32_t port)
{
    return !predict_port_get(m->taken[address], port) && !predict_port_get(m->used[address], port);
}

/* The ports of a cell that are free now, in random order. */
static void shuffle(struct ranking *r, const struct cell *c)
{
    struct predict_model *m = r->m;
    for (uint32_t port = c->lo; port <= c->hi; port++)
        if (is_free(m, c->address, port))
            m->order[r->in_order++] = (uint16_t)port;
    for (uint32_t i = r->in_order; i > 1; i--) {
        uint32_t j = predict_rng_below(r->rng, i);
        uint16_t port = m->order[i - 1];
        m->order[i - 1] = m->order[j];
        m->order[j] = port;
    }
}

static void open_cell(struct ranking *r)
{
    r->in_order = r->at = 0;
    r->cell_gain = -1;
    if (r->cell >= r->m->n_cells)
        return;
    r->port = r->m->cells[r->cell].lo;
    if (r->rng)
        shuffle(r, &r->m->cells[r->cell]);
}

/* The open cell's next port: free, and not taken by a sequence meanwhile. 0: none is left. */
static uint32_t next_port(struct ranking *r)
{
    const struct predict_model *m = r->m;
    const struct cell *c = &m->cells[r->cell];
    if (r->rng) {
        while (r->at < r->in_order && predict_port_get(m->taken[c->address], m->order[r->at]))
            r->at++;
        return r->at < r->in_order ? m->order[r->at] : 0;
    }
    while (r->port <= c->hi && !is_free(m, c->address, r->port))
        r->port++;
    return r->port <= c->hi ? r->port : 0;
}

/* False: no port is left in any cell. */
static bool cell_ready(struct ranking *r)
{
    while (r->cell < r->m->n_cells && next_port(r) == 0) {
        r->cell++;
        open_cell(r);
    }
    if (r->cell >= r->m->n_cells)
        return false;
    if (r->cell_gain < 0)
        r->cell_gain = cover_gain(r->m, r->m->cells[r->cell].covers, 1, false);
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
    const struct cell *c = &r->m->cells[r->cell];
    uint32_t n = 0, port;
    size_t first = r->n;
    for (; n < most && r->n < r->max && (port = next_port(r)) != 0; n++)
        put(r, c->address, (uint16_t)port, 0);
    double gain = n ? cover_gain(r->m, c->covers, n, true) / n : 0;
    for (size_t i = first; i < r->n; i++)
        r->out[i].p = gain;
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
    if (r->m->p_preserve <= 0 || r->preserved >= r->m->probes)
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

static void find_best_run(struct ranking *r)
{
    const struct predict_model *m = r->m;
    r->run_known = true;
    r->run_gain = 0;
    for (unsigned i = 0; i < m->n_runs; i++) {
        double g;
        uint32_t h = predict_run_best(&m->runs[i], &g);
        g *= worth(m, i);
        if (h && g > r->run_gain) {
            r->run = i;
            r->run_gain = g;
            r->run_position = h;
        }
    }
}

/* Takes the port in every sequence that passes it: two readings of the same samples often agree on a port. */
static void put_run(struct ranking *r)
{
    struct predict_model *m = r->m;
    unsigned i = r->run;
    struct run *run = &m->runs[i];
    uint32_t position = r->run_position;
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
    r->run_known = false;
    put_single(r, address, port, after - before);
}

/* ---- all ----------------------------------------------------------------------------------------- */

static void reset(struct ranking *r)
{
    struct predict_model *m = r->m;
    memset(m->taken, 0, m->addresses * sizeof(m->taken[0]));
    for (unsigned i = 0; i < m->n_runs; i++)
        predict_run_reset(&m->runs[i]);
    for (unsigned i = 0; i < m->n_covers; i++) {
        m->covers[i].miss = 1;
        m->covers[i].holes = 0;
        m->covers[i].next = -1;
    }
    if (!m->have_cells)
        make_cells(m);
    open_cell(r);
}

static bool step(struct ranking *r)
{
    double same = r->same_out ? 0 : r->m->p_same, kept = preserved_gain(r);
    bool ready = cell_ready(r);
    double cell = ready ? r->cell_gain : 0;
    if (!r->run_known)
        find_best_run(r);
    double run = r->run_gain < GAIN_LEAST ? 0 : r->run_gain;
    const struct run *best = &r->m->runs[r->run];
    if (same > 0 && same >= fmax(run, fmax(kept, cell)))
        put_same(r);
    else if (kept > GAIN_LEAST && kept >= fmax(run, cell))
        put_preserved(r);
    else if (run > 0 && (run >= cell ||
                         run + cover_gain(r->m, covers_at(r->m, best->address, predict_run_port(best, r->run_position)),
                                          1, false) >=
                             cell))
        put_run(r);
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

/* ---- as many as are needed ----------------------------------------------------------------------- */

bool predict_model_plain(const struct predict_model *m)
{
    double sum = 0;
    for (unsigned i = 0; i < m->n_covers; i++)
        sum += m->covers[i].weight;
    return m->kind == PREDICT_MIXTURE && m->n_groups == 0 && m->p_same <= 0 && m->p_preserve <= GAIN_LEAST &&
           sum <= 1 + GAIN_LEAST;
}

/* A bound of what `more` holes may add: as if each of them were in every range, and met what the last one meets. */
static double most_gain(const struct predict_model *m, double more)
{
    double gain = 0;
    for (unsigned i = 0; i < m->n_covers; i++) {
        const struct cover *c = &m->covers[i];
        double left = c->n - c->holes;
        double miss = m->probes + more > left ? 0 : exp(more * log1p(-(double)m->probes / (left - more + 1)));
        gain += c->weight * c->miss * (1 - miss);
    }
    return gain;
}

size_t predict_rank_enough(struct predict_model *m, struct predict_candidate *out, size_t max, size_t within,
                           double enough)
{
    struct ranking r = {.m = m, .out = out, .max = max};
    size_t most = within && within < max ? within : max, summed = 0, look = 0;
    double sum = 0;
    reset(&r);
    while (r.n < most && sum < enough) {
        if (within && r.n >= look) {
            if (sum + most_gain(m, (double)(most - r.n)) < enough - GAIN_LEAST)
                break;
            look = r.n + CHUNK;
        }
        if (!step(&r))
            break;
        for (; summed < r.n; summed++)
            sum += out[summed].p;
    }
    return r.n;
}

double predict_sum(const struct predict_candidate *c, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += c[i].p;
    return fmin(1, sum);
}
