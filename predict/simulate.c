/*
 * Monte Carlo. Two of them: whole trials, in which a predictor sees samples of a simulated NAT and chooses its holes;
 * and bare punches against a fixed window, which are what the closed forms describe. The allocator here shares nothing
 * with the model but the meaning of the words: it counts, draws, and marks ports as taken.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "predict/internal.h"

#define MOST_SIM_SAMPLES 128

struct world {
    const struct predict_sim *sim;
    struct predict_rng *rng;
    uint32_t at[PREDICT_MAX_POOL]; /* of each address's sequence: an offset from lo */
    uint64_t taken[PREDICT_MAX_POOL][PORT_WORDS];
    struct predict_candidate *holes;
    size_t n_holes;
};

static unsigned addresses_of(const struct predict_sim *s)
{
    return s->addresses ? s->addresses : 1;
}

static uint32_t width_of(const struct predict_sim *s)
{
    return (uint32_t)s->hi - s->lo + 1;
}

static double dispersion_of(const struct predict_sim *s)
{
    return s->foreign == PREDICT_FOREIGN_NEGATIVE_BINOMIAL ? s->dispersion : 1;
}

/* ---- a NAT --------------------------------------------------------------------------------------- */

static void advance(struct world *w, unsigned address, uint32_t steps)
{
    int64_t width = width_of(w->sim), at = w->at[address] + (int64_t)w->sim->step * steps % width;
    w->at[address] = (uint32_t)((at % width + width) % width);
}

/* What others allocate in dt seconds. Only sequences notice. */
static void elapse(struct world *w, double dt)
{
    if (w->sim->ports != PREDICT_PORTS_SEQUENTIAL || w->sim->foreign == PREDICT_FOREIGN_NONE || dt <= 0)
        return;
    uint32_t n = predict_rng_count(w->rng, w->sim->rate * dt, dispersion_of(w->sim));
    if (addresses_of(w->sim) == 1)
        advance(w, 0, n);
    for (uint32_t i = 0; i < n && addresses_of(w->sim) > 1; i++)
        advance(w, predict_rng_below(w->rng, addresses_of(w->sim)), 1);
}

static struct predict_ep external(unsigned address, uint16_t port)
{
    return (struct predict_ep){.addr = {198, 51, 100, (uint8_t)(1 + address)}, .len = 4, .port = port};
}

static struct predict_ep allocate(struct world *w, uint16_t local)
{
    const struct predict_sim *s = w->sim;
    unsigned address = predict_rng_below(w->rng, addresses_of(s));
    uint16_t port = local;
    if (s->ports == PREDICT_PORTS_SEQUENTIAL) {
        port = (uint16_t)(s->lo + w->at[address]);
        advance(w, address, 1);
    } else if (s->ports != PREDICT_PORTS_PRESERVE) {
        do
            port = (uint16_t)(s->lo + predict_rng_below(w->rng, width_of(s)));
        while (predict_port_get(w->taken[address], port));
        predict_port_set(w->taken[address], port);
    }
    return external(address, port);
}

static void restart(struct world *w)
{
    for (unsigned i = 0; i < addresses_of(w->sim); i++)
        w->at[i] = predict_rng_below(w->rng, width_of(w->sim));
    memset(w->taken, 0, sizeof(w->taken));
}

/* ---- a trial ------------------------------------------------------------------------------------- */

/* Away from what preserving NATs could be asked for by chance. */
#define LOCAL_PORT 33000

static void take_samples(struct world *w, struct predict_sample *samples)
{
    double t = 0;
    for (unsigned i = 0; i < w->sim->samples; i++) {
        if (i > 0) {
            elapse(w, w->sim->sample_interval);
            t += w->sim->sample_interval;
        }
        uint16_t local = (uint16_t)(LOCAL_PORT + predict_rng_below(w->rng, 20000));
        samples[i] = (struct predict_sample){
            .t = t + w->sim->jitter * predict_rng_double(w->rng),
            .local = {.addr = {10, 0, 0, 1}, .len = 4, .port = local},
            .remote = {.addr = {192, 0, 2, 1}, .len = 4, .port = (uint16_t)(3478 + i)},
            .mapped = allocate(w, local),
        };
    }
}

static bool is_hole(const struct world *w, const struct predict_ep *ep)
{
    for (size_t i = 0; i < w->n_holes; i++)
        if (predict_ep_equal(&w->holes[i].ep, ep))
            return true;
    return false;
}

static bool probe(struct world *w)
{
    elapse(w, w->sim->after);
    for (unsigned i = 0; i < w->sim->own_before; i++)
        allocate(w, (uint16_t)(LOCAL_PORT - 1 - i));
    for (unsigned i = 0; i < w->sim->probes; i++) {
        if (i > 0)
            elapse(w, w->sim->interval);
        struct predict_ep ep = allocate(w, (uint16_t)(LOCAL_PORT + i));
        if (is_hole(w, &ep))
            return true;
    }
    return false;
}

static void account(struct predict_sim_result *out, double p, bool hit)
{
    struct predict_bin *bin = &out->bins[p >= 1 ? 9 : (int)(p * 10)];
    out->trials++;
    out->hits += hit;
    out->predicted += p;
    out->brier += (p - hit) * (p - hit);
    bin->n++;
    bin->hits += hit;
    bin->predicted += p;
}

static int run_trial(struct world *w, struct predict_sim_result *out)
{
    const struct predict_sim *s = w->sim;
    struct predict_sample samples[MOST_SIM_SAMPLES];
    struct predict_query q = {
        .after = s->after, .own_before = s->own_before, .probes = s->probes, .interval = s->interval};
    if (s->ports == PREDICT_PORTS_PRESERVE)
        q.local = (struct predict_ep){.addr = {10, 0, 0, 1}, .len = 4, .port = LOCAL_PORT};
    restart(w);
    take_samples(w, samples);
    struct predict_model *m = predict_model_create(s->kind, samples, s->samples, NULL, &q);
    if (!m)
        return -ENOMEM;
    w->n_holes = predict_rank(m, w->holes, s->holes, w->rng);
    predict_model_free(m);
    account(out, predict_sum(w->holes, w->n_holes), probe(w));
    return 0;
}

static bool sensible(const struct predict_sim *s)
{
    uint64_t ours = (uint64_t)s->samples + s->own_before + s->probes;
    bool random = s->ports != PREDICT_PORTS_SEQUENTIAL && s->ports != PREDICT_PORTS_PRESERVE;
    return s->lo >= 1 && s->lo <= s->hi && s->samples >= 1 && s->samples <= MOST_SIM_SAMPLES && s->probes >= 1 &&
           s->holes >= 1 && s->addresses <= PREDICT_MAX_POOL && s->ports != PREDICT_PORTS_UNKNOWN && s->rate >= 0 &&
           s->rate <= 1e5 && s->after >= 0 && s->after <= 1e5 && s->interval >= 0 && s->sample_interval >= 0 &&
           s->sample_interval <= 1e5 && s->interval <= 1e5 && s->jitter >= 0 && (!random || ours <= width_of(s)) &&
           (s->ports != PREDICT_PORTS_SEQUENTIAL || s->step != 0);
}

int predict_simulate(const struct predict_sim *sim, uint64_t trials, struct predict_rng *rng,
                     struct predict_sim_result *out)
{
    memset(out, 0, sizeof(*out));
    if (!sensible(sim))
        return -EINVAL;
    struct world *w = calloc(1, sizeof(*w));
    int err = w ? 0 : -ENOMEM;
    if (w) {
        w->sim = sim;
        w->rng = rng;
        w->holes = malloc(sim->holes * sizeof(*w->holes));
        err = w->holes ? 0 : -ENOMEM;
    }
    for (uint64_t i = 0; err == 0 && i < trials; i++)
        err = run_trial(w, out);
    if (w)
        free(w->holes);
    free(w);
    out->predicted /= out->trials ? (double)out->trials : 1;
    out->brier /= out->trials ? (double)out->trials : 1;
    return err;
}

/* ---- bare punches -------------------------------------------------------------------------------- */

#define TABLE_MOST 65536u
#define GUIDE_BITS 12

/* Counts by inversion of a table, entered through a guide (Chen, Asau 1974): two memory accesses a draw. */
struct counter {
    double *cdf;
    uint32_t n;
    uint32_t guide[1 << GUIDE_BITS];
};

static double mass_of(double mean, double dispersion, uint32_t x)
{
    return dispersion > 1 ? predict_negative_binomial(mean / (dispersion - 1), 1 / dispersion, x)
                          : predict_poisson(mean, x);
}

static bool counter_init(struct counter *c, double mean, double dispersion)
{
    double sum = 0;
    c->n = 0;
    c->cdf = calloc(TABLE_MOST, sizeof(double));
    if (!c->cdf)
        return false;
    do {
        c->cdf[c->n] = sum += mass_of(mean, dispersion, c->n);
        c->n++;
        /* Rounding may keep the sum below: past the mean no mass worth naming comes. */
        if (c->n > mean + 50 * sqrt(mean * dispersion) + 100 * dispersion)
            break;
    } while (c->n < TABLE_MOST && (sum < 1 - 1e-13 || c->n <= mean));
    c->cdf[c->n - 1] = 2;
    for (uint32_t i = 0, x = 0; i < 1u << GUIDE_BITS; i++) {
        while (c->cdf[x] < (double)i / (1 << GUIDE_BITS))
            x++;
        c->guide[i] = x;
    }
    return true;
}

static inline uint32_t counter_draw(const struct counter *c, struct predict_rng *rng)
{
    double u = predict_rng_double(rng);
    uint32_t x = c->guide[(uint32_t)(u * (1 << GUIDE_BITS))];
    while (c->cdf[x] <= u)
        x++;
    return x;
}

static uint64_t sweep(const struct predict_sim *s, uint32_t ahead, uint64_t trials, struct predict_rng *rng)
{
    struct counter start, between;
    double rate = s->foreign == PREDICT_FOREIGN_NONE ? 0 : s->rate;
    uint64_t hits = 0, end = (uint64_t)ahead + s->holes;
    bool good = counter_init(&start, rate * s->after, dispersion_of(s));
    bool both = counter_init(&between, rate * s->interval, dispersion_of(s));
    for (uint64_t i = 0; good && both && i < trials; i++) {
        uint64_t at = 1 + s->own_before + counter_draw(&start, rng);
        for (unsigned j = 1; at < ahead && j < s->probes; j++)
            at += 1 + counter_draw(&between, rng);
        hits += at >= ahead && at < end;
    }
    free(start.cdf);
    free(between.cdf);
    return hits;
}

/* Probes at distinct random ports; any K holes are as good as the first K. */
static uint64_t scatter(const struct predict_sim *s, uint64_t trials, struct predict_rng *rng)
{
    uint64_t hits = 0, *stamp = calloc(65536, sizeof(*stamp));
    uint32_t width = width_of(s);
    for (uint64_t i = 1; stamp && i <= trials; i++) {
        bool hit = false;
        for (unsigned j = 0; j < s->probes && j < width && !hit; j++) {
            uint32_t port;
            do
                port = predict_rng_below(rng, width);
            while (stamp[port] == i);
            stamp[port] = i;
            hit = port < s->holes;
        }
        hits += hit;
    }
    free(stamp);
    return hits;
}

uint64_t predict_simulate_window(const struct predict_sim *sim, uint32_t ahead, uint64_t trials,
                                 struct predict_rng *rng)
{
    if (!sensible(sim))
        return 0;
    return sim->ports == PREDICT_PORTS_SEQUENTIAL ? sweep(sim, ahead, trials, rng) : scatter(sim, trials, rng);
}
