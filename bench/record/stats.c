/* Statistics on trials: proportions, their differences, and families of comparisons. Pure. */
#include <math.h>

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

/* How the sides of pairs go together, -1 to 1, with Newcombe's correction of half the pairs towards 0. */
static double pair_phi(const struct record_pairs *p)
{
    double both = (double)p->both, a = (double)p->only_a, b = (double)p->only_b, neither = (double)p->neither;
    double margins = sqrt(both + a) * sqrt(b + neither) * sqrt(both + b) * sqrt(a + neither);
    if (margins == 0)
        return 0;
    double excess = both * neither - a * b, half = (both + a + b + neither) / 2;
    if (excess > 0)
        excess = excess > half ? excess - half : 0;
    return excess / margins;
}

struct record_interval record_newcombe_paired(const struct record_pairs *pairs, double z)
{
    uint64_t n = pairs->both + pairs->only_a + pairs->only_b + pairs->neither;
    if (n == 0)
        return (struct record_interval){-1, 1};
    uint64_t ka = pairs->both + pairs->only_a, kb = pairs->both + pairs->only_b;
    double pa = (double)ka / (double)n, pb = (double)kb / (double)n, phi = pair_phi(pairs);
    struct record_interval a = record_wilson(ka, n, z), b = record_wilson(kb, n, z);
    double al = pa - a.lo, au = a.hi - pa, bl = pb - b.lo, bu = b.hi - pb;
    /* Not below 0, where rounding could take a square that is 0. */
    double below = fmax(0, al * al - 2 * phi * al * bu + bu * bu);
    double above = fmax(0, bl * bl - 2 * phi * bl * au + au * au);
    return (struct record_interval){pa - pb - sqrt(below), pa - pb + sqrt(above)};
}

double record_exact_pairs(uint64_t a, uint64_t b)
{
    double n = (double)a + (double)b, smaller = (double)(a < b ? a : b);
    /* The tail from its largest term down: that of k - 1 is k / (n - k + 1) of that of k, at most 1. */
    double term = exp(lgamma(n + 1) - lgamma(smaller + 1) - lgamma(n - smaller + 1) - n * M_LN2), sum = 0;
    for (uint64_t k = a < b ? a : b; term > sum * 1e-17; k--) {
        sum += term;
        /* 0 after k = 0: the end. */
        term *= (double)k / (n - (double)k + 1);
    }
    return fmin(1, 2 * sum);
}

void record_holm(const double *p, double *adjusted, size_t n)
{
    /* The i-th smallest, times n - i + 1; equal ones all times the largest of their factors. */
    for (size_t i = 0; i < n; i++) {
        size_t smaller = 0;
        for (size_t j = 0; j < n; j++)
            smaller += p[j] < p[i];
        adjusted[i] = fmin(1, (double)(n - smaller) * p[i]);
    }
    /* None below that of a smaller one. In place: a maximum of maxima is the same. */
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (p[j] <= p[i] && adjusted[j] > adjusted[i])
                adjusted[i] = adjusted[j];
}

void record_benjamini_hochberg(const double *p, double *adjusted, size_t n)
{
    /* The i-th smallest, times n / i; of equal ones all have the largest i. */
    for (size_t i = 0; i < n; i++) {
        size_t rank = 0;
        for (size_t j = 0; j < n; j++)
            rank += p[j] <= p[i];
        adjusted[i] = fmin(1, (double)n * p[i] / (double)rank);
    }
    /* None above that of a larger one. In place: a minimum of minima is the same. */
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (p[j] >= p[i] && adjusted[j] < adjusted[i])
                adjusted[i] = adjusted[j];
}
