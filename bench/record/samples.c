/* Two samples: do they come from one distribution? Pure. */
#include <math.h>
#include <stdlib.h>

#include "bench/record/record.h"

/* Up to here the p-value is exact: some ten milliseconds. */
#define EXACT_STEPS 4000000.0

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The largest |i * n - j * m|, i and j being how many values of each sample are at most x. Both are sorted. */
static double largest_gap(const uint64_t *a, size_t m, const uint64_t *b, size_t n)
{
    double gap = 0;
    for (size_t i = 0, j = 0; i < m && j < n;) {
        uint64_t x = a[i] < b[j] ? a[i] : b[j];
        while (i < m && a[i] == x)
            i++;
        while (j < n && b[j] == x)
            j++;
        gap = fmax(gap, fabs((double)i * (double)n - (double)j * (double)m));
    }
    return gap;
}

/* P(gap reached) over all orders of m + n values, each as likely as the others: the probability that a path from (0, 0)
 * to (m, n) leaves |i * n - j * m| < gap, summed where it leaves. reach[j] is that of having come to (i, j) within. */
static double exact_p(size_t m, size_t n, double gap, double *reach)
{
    double left = 0;
    for (size_t i = 0; i <= m; i++)
        for (size_t j = 0; j <= n; j++) {
            double before = (double)(m + n - i - j) + 1, p = i + j == 0 ? 1 : 0;
            if (i > 0)
                p += reach[j] * ((double)(m - i) + 1) / before;
            if (j > 0)
                p += reach[j - 1] * ((double)(n - j) + 1) / before;
            bool within = fabs((double)i * (double)n - (double)j * (double)m) < gap;
            left += within ? 0 : p;
            reach[j] = within ? p : 0;
        }
    return fmin(1, left);
}

/* Kolmogorov's limit, with Stephens's correction for finite samples (1970). */
static double limit_p(double d, double m, double n)
{
    double root = sqrt(m * n / (m + n)), lambda = (root + 0.12 + 0.11 / root) * d, sum = 0;
    /* The alternating series converges slowly there, to 1 within 1e-9. */
    if (lambda < 0.2)
        return 1;
    for (int k = 1; k <= 100; k++)
        sum += (k % 2 ? 2 : -2) * exp(-2 * k * k * lambda * lambda);
    return fmax(0, fmin(1, sum));
}

struct record_ks record_ks(uint64_t *a, size_t m, uint64_t *b, size_t n)
{
    struct record_ks r = {.p = 1};
    if (m == 0 || n == 0)
        return r;
    qsort(a, m, sizeof(*a), compare_u64);
    qsort(b, n, sizeof(*b), compare_u64);
    double gap = largest_gap(a, m, b, n), steps = (double)m * (double)n;
    r.d = gap / steps;
    double *reach = steps <= EXACT_STEPS ? calloc(n + 1, sizeof(*reach)) : NULL;
    r.exact = reach != NULL;
    r.p = gap == 0 ? 1 : reach ? exact_p(m, n, gap, reach) : limit_p(r.d, (double)m, (double)n);
    free(reach);
    return r;
}
