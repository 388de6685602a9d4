/* Samples to a behaviour: the posterior that the model uses, said in words. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "predict/internal.h"

/* Less likely values are called unknown. */
#define BELIEF_LEAST 0.6
/* Wider than this a range is "random", narrower ones are blocks and bands: Richter et al. 2016 saw blocks to 4,096. */
#define BAND_MOST 4096u

static struct predict_belief belief(int value, double confidence)
{
    return confidence < BELIEF_LEAST ? (struct predict_belief){0, 0}
                                     : (struct predict_belief){value, fmin(1, confidence)};
}

static void classify_pool(const struct draws *d, struct predict_behaviour *b)
{
    struct pool_belief pool;
    double arbitrary = 0;
    predict_pool(d, &pool);
    b->pool_seen = d->pool_seen;
    memcpy(b->pool, d->pool, sizeof(b->pool));
    b->pool_size = pool.likeliest > d->pool_seen ? pool.likeliest : d->pool_seen;
    for (int i = 0; i < 6; i++)
        arbitrary += pool.weight[i];
    if (arbitrary > pool.fixed)
        b->pooling = belief(PREDICT_POOLING_ARBITRARY, arbitrary);
    else
        b->pooling = belief(d->pool_seen > 1 ? PREDICT_POOLING_PAIRED : PREDICT_POOLING_SINGLE, pool.fixed);
}

/* Where the range is thought to end, and what it is then called. */
static void classify_range(const struct draws *d, double confidence, struct predict_behaviour *b)
{
    struct span spans[MOST_SPANS];
    unsigned n = predict_spans(b->port_min, b->port_max, b->port_draws, spans);
    double narrow = 0, block = 0, band = 0;
    const struct span *best = NULL;
    for (unsigned i = 0; i < n; i++) {
        uint32_t width = spans[i].hi - spans[i].lo + 1;
        bool aligned = (width & (width - 1)) == 0 && spans[i].lo % width == 0;
        if (width > BAND_MOST)
            continue;
        narrow += spans[i].weight;
        *(aligned ? &block : &band) += spans[i].weight;
    }
    for (unsigned i = 0; i < n; i++)
        if ((spans[i].hi - spans[i].lo + 1 <= BAND_MOST) == (narrow > 0.5) && (!best || spans[i].weight > best->weight))
            best = &spans[i];
    if (best && d->n > 1) {
        b->range_lo = (uint16_t)best->lo;
        b->range_hi = (uint16_t)best->hi;
    }
    if (narrow <= 0.5)
        b->ports = belief(PREDICT_PORTS_RANDOM, confidence * (1 - narrow));
    else if (block > band)
        b->ports = belief(PREDICT_PORTS_BLOCK, confidence * narrow);
    else
        b->ports = belief(PREDICT_PORTS_BAND, confidence * narrow);
    /* Formula 2 for a band: the draws' spread says more about its width than any one hypothesis. */
    if (b->ports.value == PREDICT_PORTS_BAND && b->port_draws >= 2) {
        double width = predict_range_width(b->port_max - b->port_min, b->port_draws);
        double slack = fmax(0, (width - (b->port_max - b->port_min)) / 2);
        b->range_lo = (uint16_t)fmax(1, b->port_min - slack);
        b->range_hi = (uint16_t)fmin(PORT_HI, b->port_max + slack);
    }
}

static void classify_sequence(const struct sequences *q, double confidence, struct predict_behaviour *b)
{
    b->ports = belief(PREDICT_PORTS_SEQUENTIAL, confidence);
    if (b->ports.value == 0)
        return;
    b->step = q->step * q->s[0].direction;
    b->sequences = q->n;
    b->foreign_dispersion = predict_foreign_dispersion(&q->foreign);
    for (unsigned i = 0; i < q->gaps.n; i++) {
        b->foreign_seen += q->gaps.x[i];
        b->foreign_seconds += q->gaps.dt[i];
    }
}

/* Even to even and odd to odd, from local ports of both kinds: by chance once in 2^draws. */
static bool keeps_parity(const struct draws *d)
{
    unsigned odd = 0;
    for (unsigned i = 0; i < d->n; i++) {
        if (d->d[i].local_port == 0 || ((d->d[i].local_port ^ d->d[i].port) & 1))
            return false;
        odd += d->d[i].local_port & 1;
    }
    return d->n >= 8 && odd > 1 && odd + 1 < d->n;
}

static void classify_ports(const struct draws *d, struct predict_behaviour *b)
{
    struct weights w;
    predict_weigh(d, NULL, &w);
    b->port_min = UINT16_MAX;
    for (unsigned i = 0; i < d->n; i++) {
        b->port_min = d->d[i].port < b->port_min ? d->d[i].port : b->port_min;
        b->port_max = d->d[i].port > b->port_max ? d->d[i].port : b->port_max;
    }
    b->port_draws = d->n;
    b->keeps_parity = keeps_parity(d);
    /* Preserving shows in one draw; a rule between ports takes three. */
    if (w.preserve >= fmax(w.sequential, w.range))
        b->ports = belief(PREDICT_PORTS_PRESERVE, w.preserve);
    else if (d->n >= 3 && w.sequential > w.range)
        classify_sequence(&w.readings[0], w.sequential, b);
    else if (d->n >= 3)
        classify_range(d, w.range, b);
}

void predict_classify(const struct predict_sample *samples, size_t n, struct predict_behaviour *b)
{
    struct draws d;
    struct predict_behaviour fresh = {.filtering = b->filtering,
                                      .hairpin = b->hairpin,
                                      .syn = b->syn,
                                      .rst = b->rst,
                                      .window = b->window,
                                      .lifetime_s = b->lifetime_s};
    predict_draws(samples, n, &d);
    fresh.mapping = d.mapping;
    fresh.samples = d.samples;
    if (d.n > 0) {
        classify_pool(&d, &fresh);
        if (d.mapping.value == PREDICT_MAPPING_NONE)
            fresh.ports = belief(PREDICT_PORTS_PRESERVE, d.mapping.confidence);
        else
            classify_ports(&d, &fresh);
    }
    *b = fresh;
}
