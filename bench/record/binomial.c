/* The exact binomial test of one proportion. Pure. */
#include <math.h>

#include "bench/record/record.h"

double record_binomial(uint64_t k, uint64_t n, double p)
{
    double trials = (double)n, log_p = log(p), log_q = log1p(-p), sum = 0;
    if (!(p > 0 && p < 1))
        return k == (p > 0 ? n : 0);
    double constant = lgamma(trials + 1), seen = 0;
    /* The first round is k itself: what the others are held against. */
    for (uint64_t i = 0; i <= n + 1; i++) {
        double at = (double)(i == 0 ? k : i - 1);
        double here = constant - lgamma(at + 1) - lgamma(trials - at + 1) + at * log_p + (trials - at) * log_q;
        if (i == 0)
            seen = here;
        /* Equally likely ones count: lgamma's rounding must not part them. */
        else if (here <= seen + 1e-7)
            sum += exp(here);
    }
    return fmin(1, sum);
}
