/* Fisher's exact test of two independent proportions. Pure. */
#include <math.h>

#include "bench/record/record.h"

static double log_choose(double n, double k)
{
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
}

double record_fisher(uint64_t k1, uint64_t n1, uint64_t k2, uint64_t n2)
{
    /* With both margins fixed, k1 is hypergeometric; its possible values are lo to hi. */
    double a = (double)n1, b = (double)n2;
    uint64_t k = k1 + k2, lo = k > n2 ? k - n2 : 0, hi = k < n1 ? k : n1;
    double all = log_choose(a + b, (double)k), sum = 0;
    double seen = log_choose(a, (double)k1) + log_choose(b, (double)k2) - all;
    for (uint64_t i = lo; i <= hi; i++) {
        double here = log_choose(a, (double)i) + log_choose(b, (double)(k - i)) - all;
        /* Equally likely ones count: lgamma's rounding must not part them. */
        if (here <= seen + 1e-7)
            sum += exp(here);
    }
    return fmin(1, sum);
}
