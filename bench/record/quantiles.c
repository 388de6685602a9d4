/* Quantiles of a sample, and where the population's may lie. Pure. */
#include <math.h>
#include <stdlib.h>

#include "bench/record/record.h"

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

uint64_t record_quantile(uint64_t *values, size_t n, double q)
{
    if (n == 0)
        return 0;
    qsort(values, n, sizeof(*values), compare_u64);
    q = q < 0 ? 0 : q > 1 ? 1 : q;
    double h = (double)(n - 1) * q;
    size_t i = (size_t)h;
    if (i + 1 >= n)
        return values[n - 1];
    /* On the difference, which fits a double better than the values do. */
    return values[i] + (uint64_t)llround((h - (double)i) * (double)(values[i + 1] - values[i]));
}

/* P(B = k) for B of binomial (n, q), 0 < q < 1. */
static double binomial(double n, double k, double q)
{
    return exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(q) + (n - k) * log1p(-q));
}

struct record_ranks record_quantile_ranks(size_t n, double q, double confidence)
{
    /* B = the number of values below the quantile. It lies between the values of rank lo and hi when lo <= B < hi. */
    if (!(q > 0))
        return (struct record_ranks){0, 1, 1};
    if (q >= 1)
        return (struct record_ranks){n, n + 1, 1};
    double tail = (1 - confidence) / 2, mean = (double)n * q, deviation = sqrt(mean * (1 - q));
    /* Bernstein's inequality: less than e^-250 of B lies further below its mean. The sum is short for large n. */
    double begin = floor(mean - 40 * deviation - 200);
    struct record_ranks r = {.lo = 0, .hi = n + 1};
    double below = 0, sum = 0;
    for (size_t k = begin > 0 ? (size_t)begin : 0; k <= n; k++) {
        sum += binomial((double)n, (double)k, q);
        if (sum <= tail) {
            below = sum;
            r.lo = k + 1;
        }
        /* k = n would say rank n + 1: open. Rounding may keep the sum just below its end there. */
        if (sum >= 1 - tail || k == n) {
            r.hi = k + 1;
            break;
        }
    }
    r.coverage = (r.hi > n ? 1 : sum) - below;
    return r;
}
