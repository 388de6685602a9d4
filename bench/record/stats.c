/* Statistics on trials: intervals for proportions and their differences, quantiles. Pure. */
#include <math.h>
#include <stdlib.h>

#include "bench/record/record.h"

struct record_interval record_wilson(uint64_t k, uint64_t n, double z)
{
    if (n == 0)
        return (struct record_interval){0, 1};
    double p = (double)k / (double)n, z2 = z * z;
    double denominator = 2 * ((double)n + z2);
    double centre = 2 * (double)k + z2;
    double half = z * sqrt(z2 + 4 * (double)k * (1 - p));
    struct record_interval i = {(centre - half) / denominator, (centre + half) / denominator};
    /* Exact at the ends, where rounding would leave 1e-17 or 1 - 1e-17. */
    if (k == 0)
        i.lo = 0;
    if (k == n)
        i.hi = 1;
    return i;
}

struct record_interval record_newcombe(uint64_t k1, uint64_t n1, uint64_t k2, uint64_t n2, double z)
{
    if (n1 == 0 || n2 == 0)
        return (struct record_interval){-1, 1};
    double p1 = (double)k1 / (double)n1, p2 = (double)k2 / (double)n2;
    struct record_interval w1 = record_wilson(k1, n1, z), w2 = record_wilson(k2, n2, z);
    double below = hypot(p1 - w1.lo, w2.hi - p2), above = hypot(w1.hi - p1, p2 - w2.lo);
    return (struct record_interval){p1 - p2 - below, p1 - p2 + above};
}

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
