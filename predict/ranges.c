/*
 * From a few draws to the range behind them. Hypotheses: the ranges that systems use, blocks that are aligned to their
 * size (RFC 7422), and bands of any width anywhere. n draws from one of width w have the likelihood w^-n; a band's
 * place is integrated out, so what is left is the trapezoid that formula 2 summarises.
 */
#include <math.h>
#include <stdlib.h>

#include "predict/internal.h"

/* Prior: about half of the NATs that draw at random use everything; a customary range is likelier than any one band. */
static const struct span customary[] = {
    {1024, 65535, 0.40},                        /* RFC 6335's user and dynamic ports, netfilter's fully-random */
    {32768, 65535, 0.05}, {49152, 65535, 0.05}, /* RFC 6335, 8.1.2 */
    {50001, 65535, 0.05},                       /* pf */
    {32768, 60999, 0.03},                       /* Linux' own ephemeral ports */
    {1, 65535, 0.02},
};
#define N_CUSTOMARY (sizeof(customary) / sizeof(customary[0]))
#define P_BLOCK     0.15
#define P_BAND      0.25

#define BLOCK_BITS_LO 6
#define BLOCK_BITS_HI 12
/* Widths of bands: a quarter of an octave apart, from 32 ports up. */
#define WIDTHS      45
#define WIDTH_LO    32.0
#define WIDTH_RATIO 1.189207
/* Places of one band that are told apart. */
#define PLACES 3
#define ALL    (N_CUSTOMARY + BLOCK_BITS_HI - BLOCK_BITS_LO + 1 + WIDTHS * PLACES)

/* The likelihood of the draws given w, relative to all 64,512 ports, so that nothing underflows. */
static double log_likelihood(double width, unsigned n)
{
    return -(double)n * log(width / (PORT_HI - PORT_LO + 1.0));
}

static unsigned add(struct span *out, unsigned at, uint32_t lo, uint32_t hi, double log_weight)
{
    out[at] = (struct span){lo, hi, log_weight};
    return at + 1;
}

static unsigned add_band(struct span *out, unsigned at, uint32_t w, uint32_t min, uint32_t max, unsigned n)
{
    uint32_t bottom = min < PORT_LO ? 1 : PORT_LO, range = PORT_HI - bottom + 1;
    if (w > range || (n > 0 && max - min + 1 > w))
        return at;
    /* Its lowest port may be anything from first to last. */
    uint32_t first = n > 0 && max + 1 > bottom + w ? max + 1 - w : bottom, last = PORT_HI - w + 1;
    last = n > 0 && min < last ? min : last;
    double log_w = log(P_BAND / WIDTHS) + log_likelihood(w, n) + log((last - first + 1.0) / (range - w + 1.0));
    unsigned places = last - first + 1 < PLACES ? 1 : PLACES;
    for (unsigned i = 0; i < places; i++) {
        uint32_t lo = first + (uint32_t)((last - first) * (2.0 * i + 1) / (2.0 * places));
        at = add(out, at, lo, lo + w - 1, log_w - log(places));
    }
    return at;
}

static unsigned all_spans(uint32_t min, uint32_t max, unsigned n, struct span *out)
{
    unsigned at = 0;
    for (unsigned i = 0; i < N_CUSTOMARY; i++)
        if (n == 0 || (min >= customary[i].lo && max <= customary[i].hi))
            at = add(out, at, customary[i].lo, customary[i].hi,
                     log(customary[i].weight) + log_likelihood(customary[i].hi - customary[i].lo + 1.0, n));
    for (unsigned bits = BLOCK_BITS_LO; n > 0 && bits <= BLOCK_BITS_HI; bits++) {
        double blocks = (PORT_HI + 1.0) / (1u << bits);
        if (min >> bits == max >> bits)
            at = add(out, at, min >> bits << bits, (((min >> bits) + 1) << bits) - 1,
                     log(P_BLOCK / (BLOCK_BITS_HI - BLOCK_BITS_LO + 1) / blocks) + log_likelihood(1u << bits, n));
    }
    for (unsigned i = 0; i < WIDTHS; i++)
        at = add_band(out, at, (uint32_t)(WIDTH_LO * pow(WIDTH_RATIO, i)), min, max, n);
    for (unsigned i = 0; i < at; i++) {
        /* Port 0 is none. */
        out[i].hi = out[i].hi > PORT_HI ? PORT_HI : out[i].hi;
        out[i].lo = out[i].lo ? out[i].lo : 1;
    }
    return at;
}

static int by_weight(const void *a, const void *b)
{
    double x = ((const struct span *)a)->weight, y = ((const struct span *)b)->weight;
    return (x < y) - (x > y);
}

double predict_spans_evidence(uint32_t min, uint32_t max, unsigned n)
{
    struct span all[ALL];
    unsigned count = all_spans(min, max, n, all);
    double best = -INFINITY, sum = 0;
    for (unsigned i = 0; i < count; i++)
        best = fmax(best, all[i].weight);
    for (unsigned i = 0; i < count; i++)
        sum += exp(all[i].weight - best);
    return count == 0 ? -INFINITY : best + log(sum) - n * log(PORT_HI - PORT_LO + 1.0);
}

/* Less likely ones are left out. */
#define SPAN_LEAST 1e-4

unsigned predict_spans(uint32_t min, uint32_t max, unsigned n, struct span out[MOST_SPANS])
{
    struct span all[ALL];
    unsigned count = all_spans(min, max, n, all), kept = 0;
    double sum = 0;
    qsort(all, count, sizeof(all[0]), by_weight);
    while (kept < count && kept < MOST_SPANS && all[kept].weight > all[0].weight + log(SPAN_LEAST)) {
        out[kept] = all[kept];
        out[kept].weight = exp(all[kept].weight - all[0].weight);
        sum += out[kept++].weight;
    }
    for (unsigned i = 0; i < kept; i++)
        out[i].weight /= sum;
    return kept;
}
