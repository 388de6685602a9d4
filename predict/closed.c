/*
 * The closed forms, each for every N up to 65,536. Probabilities near 0 and near 1 both keep their digits: products are
 * sums of log1p(), and complements are expm1().
 */
#include <math.h>
#include <stdlib.h>

#include "predict/internal.h"

/* exp() of less is 0. */
#define LOG_NOTHING (-745.0)
/* Terms up to here are added one by one; past it Stirling's series is exact to 1e-7. */
#define MANY_TERMS 100000.0

/* ---- 1 to 4: random ports ------------------------------------------------------------------------ */

/* log of C(n-a, b) / C(n, b): the sum of log(1 - a/(n-i)) over i < b. Symmetric in a and b. */
static double log_all_miss(double n, double a, double b)
{
    if (a > b) {
        double swap = a;
        a = b;
        b = swap;
    }
    if (a <= 0)
        return 0;
    if (a + b > n)
        return -INFINITY;
    double sum = 0;
    if (a <= MANY_TERMS) {
        for (uint32_t i = 0; i < a && sum > LOG_NOTHING; i++)
            sum += log1p(-b / (n - i));
        return sum;
    }
    /* Stirling on the four factorials; the terms with log n cancel. */
    double x = a / n, y = b / n, z = 1 - x - y;
    if (z <= 0)
        return -INFINITY;
    sum = n * ((1 - x) * log1p(-x) + (1 - y) * log1p(-y) - z * log(z));
    return sum + 0.5 * (log1p(-x) + log1p(-y) - log(z));
}

double predict_p_random(uint32_t n, uint32_t k, uint32_t m)
{
    return -expm1(log_all_miss(n, k < n ? k : n, m < n ? m : n));
}

uint32_t predict_k_random(uint32_t n, uint32_t m, double p)
{
    if (m == 0 || n == 0)
        return 0;
    if (m >= n)
        return 1;
    double want = log1p(-(p < 1 ? p : 1)), sum = 0;
    uint32_t k = 0;
    while (k < n - m && sum > want)
        sum += log1p(-(double)m / (n - k++));
    return sum <= want ? (k > 0 ? k : 1) : n - m + 1;
}

double predict_p_spread(uint32_t n, uint32_t r, uint32_t k, uint32_t m)
{
    if (r <= n)
        return predict_p_random(n, k, m);
    double useful = (double)k * n / r;
    uint32_t least = (uint32_t)useful;
    double lo = predict_p_random(n, least, m), part = useful - least;
    return part > 0 ? lo + part * (predict_p_random(n, least + 1, m) - lo) : lo;
}

double predict_range_width(double spread, uint32_t n)
{
    return n < 2 ? INFINITY : spread * (n + 1.0) / (n - 1.0);
}

double predict_range_inside(uint32_t n)
{
    return n < 2 ? 0 : (n - 1.0) / (n + 1.0);
}

double predict_p_retries(double p, double r)
{
    return p >= 1 ? (r > 0) : -expm1(r * log1p(-p));
}

double predict_p_scan(uint32_t n, double scanned)
{
    return n == 0 ? 0 : fmin(1, scanned / n);
}

double predict_p_both(uint32_t n, double a, double b)
{
    double pairs = (double)n * n;
    return -expm1(log_all_miss(pairs, fmin(a, pairs), fmin(b, pairs)));
}

/* ---- 5 and 6: sequences -------------------------------------------------------------------------- */

double predict_poisson(double mean, uint32_t x)
{
    if (mean <= 0)
        return x == 0;
    return exp(x * log(mean) - mean - lgamma(x + 1.0));
}

double predict_negative_binomial(double r, double p, uint32_t x)
{
    if (p >= 1 || r <= 0)
        return x == 0;
    return exp(lgamma(r + x) - lgamma(r) - lgamma(x + 1.0) + r * log(p) + x * log1p(-p));
}

struct counts {
    double a, b;
    bool poisson;
};

static double mass(const struct counts *c, double x)
{
    if (x < 0)
        return 0;
    return c->poisson ? predict_poisson(c->a, (uint32_t)x) : predict_negative_binomial(c->a, c->b, (uint32_t)x);
}

/* Both have one mode, so the best w counts in a row grow from it, each time on the likelier side. */
static double best_window(const struct counts *c, double mode, uint32_t w)
{
    double sum = 0, below = mode - 1, above = mode, p_below = mass(c, below), p_above = mass(c, above);
    for (uint32_t i = 0; i < w; i++) {
        bool up = p_above >= p_below;
        double p = up ? p_above : p_below;
        sum += p;
        /* Both tails fall faster than geometrically from here on. */
        if (p < 1e-18 && i > 0)
            break;
        if (up)
            p_above = mass(c, ++above);
        else
            p_below = mass(c, --below);
    }
    return fmin(1, sum);
}

double predict_p_sequential(double rate, double t, uint32_t w)
{
    struct counts c = {.a = rate * t, .poisson = true};
    return best_window(&c, floor(c.a), w);
}

double predict_p_overdispersed(double mean, double dispersion, uint32_t w)
{
    struct counts c = {.a = mean / (dispersion - 1), .b = 1 / dispersion};
    if (dispersion <= 1 || mean <= 0)
        return predict_p_sequential(mean, 1, w);
    return best_window(&c, c.a > 1 ? floor((c.a - 1) * (1 - c.b) / c.b) : 0, w);
}

double predict_p_sequential_unknown(double seen, double seconds, double t, uint32_t w)
{
    struct counts c = {.a = seen + 0.5, .b = seconds / (seconds + t)};
    if (seconds <= 0)
        return t <= 0 && w > 0;
    double mode = c.a > 1 ? floor((c.a - 1) * (1 - c.b) / c.b) : 0;
    return best_window(&c, mode, w);
}

/* ---- 7: a sweep ---------------------------------------------------------------------------------- */

/* Positions that are kept: a sweep never starts further ahead. */
#define SWEEP_MOST 65536u
/* Of a Poisson distribution, what is left out of the kernel. */
#define KERNEL_TAIL 1e-14

/* Fills kernel[0 ... n-1] with Poisson masses up to the tail, at most max of them. */
static uint32_t poisson_kernel(double mean, double *kernel, uint32_t max)
{
    double left = 1;
    uint32_t n = 0;
    while (n < max && (left > KERNEL_TAIL || n <= mean)) {
        kernel[n] = predict_poisson(mean, n);
        left -= kernel[n++];
    }
    return n;
}

/* One more allocation of ours after Poisson foreign ones: position s goes to s + 1 + X. From the top, in place. */
static void step_on(double *at, uint32_t size, const double *kernel, uint32_t n)
{
    for (uint32_t s = size; s-- > 0;) {
        double sum = 0;
        for (uint32_t x = 0; x < n && x + 1 <= s; x++)
            sum += at[s - 1 - x] * kernel[x];
        at[s] = sum;
    }
}

/* The positions of the allocations only grow: mass that has entered the window is a hit, mass past it is lost. */
double predict_p_sweep(double rate, double t, double interval, uint32_t m, uint32_t w, uint32_t ahead)
{
    if (m == 0 || w == 0 || ahead == 0 || ahead + (uint64_t)w > SWEEP_MOST)
        return 0;
    uint32_t size = ahead + w;
    double *at = calloc(size, sizeof(*at)), *kernel = calloc(size, sizeof(*kernel)), hit = 0;
    if (at && kernel) {
        for (uint32_t s = 1; s < size; s++)
            at[s] = predict_poisson(rate * t, s - 1);
        uint32_t n = poisson_kernel(rate * interval, kernel, size);
        for (uint32_t j = 0; j < m; j++) {
            if (j > 0)
                step_on(at, size, kernel, n);
            for (uint32_t s = ahead; s < size; s++) {
                hit += at[s];
                at[s] = 0;
            }
        }
    }
    free(at);
    free(kernel);
    return fmin(1, hit);
}

uint32_t predict_best_ahead(double rate, double t, double interval, uint32_t m, uint32_t w)
{
    double mean = rate * t + 1, span = m * (1 + rate * interval), sd = sqrt(rate * (t + m * interval)) + 1;
    double most = fmin(mean + span + 4 * sd, SWEEP_MOST - w - 1.0), best = -1;
    uint32_t at = 1, from = mean > 6 * sd ? (uint32_t)(mean - 6 * sd) : 1;
    /* Coarsely first: the success probability has one hill. */
    uint32_t stride = (uint32_t)fmax(1, sd / 4);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t a = from; a <= most; a += stride) {
            double p = predict_p_sweep(rate, t, interval, m, w, a);
            if (p > best) {
                best = p;
                at = a;
            }
        }
        from = at > stride ? at - stride : 1;
        most = at + stride;
        stride = 1;
    }
    return at;
}

/* ---- 8, and an interval -------------------------------------------------------------------------- */

bool predict_no_unsolicited(double skew, double delay)
{
    return fabs(skew) < delay;
}

void predict_wilson(uint64_t k, uint64_t n, double z, double *lo, double *hi)
{
    *lo = 0;
    *hi = 1;
    if (n == 0)
        return;
    double p = (double)k / (double)n, z2 = z * z, centre = 2 * (double)k + z2, denominator = 2 * ((double)n + z2);
    double half = z * sqrt(z2 + 4 * (double)k * (1 - p));
    if (k > 0)
        *lo = (centre - half) / denominator;
    if (k < n)
        *hi = (centre + half) / denominator;
}
