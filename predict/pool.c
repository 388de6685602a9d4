/* Address pools (RFC 4787, 4.1): does this host keep its external address, or is it one of several each time? */
#include <math.h>

#include "predict/internal.h"

/* Richter et al. 2016: 21 % of carrier NATs show pool addresses, most of them paired; home NATs have one. */
#define P_FIXED 0.97
/* A host with one address may be moved to another. */
#define P_MOVED 0.01

#define N_SIZES 6
static const unsigned sizes[N_SIZES] = {2, 3, 4, 6, 8, 16};

/* log of the probability that n draws from a pool of this size show what was seen, up to the names of addresses. */
static double log_arbitrary(unsigned size, unsigned seen, unsigned n)
{
    if (size < seen)
        return -INFINITY;
    return lgamma(size + 1.0) - lgamma(size - seen + 1.0) - n * log(size);
}

void predict_pool(const struct draws *d, struct pool_belief *out)
{
    unsigned switches = 0;
    double sum;
    for (unsigned i = 1; i < d->n; i++)
        switches += d->d[i].address != d->d[i - 1].address;
    double log_fixed = log(P_FIXED) + switches * log(P_MOVED), log_w[N_SIZES], best = log_fixed;
    for (unsigned i = 0; i < N_SIZES; i++) {
        log_w[i] = log((1 - P_FIXED) / (double)N_SIZES) + log_arbitrary(sizes[i], d->pool_seen, d->n);
        best = fmax(best, log_w[i]);
    }
    sum = out->fixed = exp(log_fixed - best);
    for (unsigned i = 0; i < N_SIZES; i++) {
        out->size[i] = sizes[i];
        sum += out->weight[i] = exp(log_w[i] - best);
    }
    double likeliest = out->fixed /= sum;
    out->likeliest = d->pool_seen > 0;
    for (unsigned i = 0; i < N_SIZES; i++) {
        out->weight[i] /= sum;
        if (out->weight[i] > likeliest) {
            likeliest = out->weight[i];
            out->likeliest = sizes[i];
        }
    }
}
