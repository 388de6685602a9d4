/*
 * Foreign traffic of unknown rate and unknown burstiness. For each dispersion (variance over mean) the counts in
 * disjoint intervals are negative binomial with shape rate * dt / (dispersion - 1), whose limit at 1 is Poisson. The
 * prior on the rate is Gamma(1/2, PRIOR_S): Jeffreys' 1/2 of formula 6, and a bound that keeps five samples within a
 * millisecond from believing in 10,000 a second.
 */
#include <math.h>

#include "predict/internal.h"

/* Seconds of evidence that the prior is worth: the mean rate is then 100/s, between Klinec and Matyas' 51 and 264. */
#define PRIOR_S 0.005
/* Closer in time than this samples cannot be ordered: answers are late by fractions of a millisecond. */
#define SHORTEST_S 2e-4

static const double dispersions[N_DISPERSIONS] = {1, 2, 4, 8};
/* Poisson is rejected in 20 % of the 5-s windows at peak (Klinec, Matyas 2014), so it is one possibility of several. */
static const double priors[N_DISPERSIONS] = {0.3, 0.25, 0.25, 0.2};

/* The grid of rates: log-spaced. */
#define RATE_LO 0.02
#define RATE_HI 20000.0

static double at_least(double dt)
{
    return dt < SHORTEST_S ? SHORTEST_S : dt;
}

static void fit_poisson(const struct gaps *g, const double *log_factorial, struct foreign *out, double *log_evidence)
{
    double sum = 0, seconds = PRIOR_S, log_e = 0;
    for (unsigned i = 0; i < g->n; i++) {
        double dt = at_least(g->dt[i]);
        log_e += g->x[i] * log(dt) - log_factorial[i];
        sum += g->x[i];
        seconds += dt;
    }
    out->shape = sum + 0.5;
    out->seconds = seconds;
    *log_evidence = log_e + lgamma(out->shape) - lgamma(0.5) + 0.5 * log(PRIOR_S) - out->shape * log(seconds);
}

/* Short products are faster than lgamma, and as exact. */
#define SHORT_PRODUCT 8

/* log of shape (shape + 1) ... (shape + x - 1) / x! for one shape: samples that came together share it. */
struct rising {
    double shape, log_gamma; /* log_gamma: NAN until a long product needs it */
    double product[SHORT_PRODUCT + 1];
    uint32_t known; /* products up to this */
};

static void rising_init(struct rising *r, double shape)
{
    *r = (struct rising){.shape = shape, .log_gamma = NAN};
}

/* log_factorial: of x; for x past SHORT_PRODUCT. */
static double log_rising(struct rising *r, uint32_t x, double log_factorial)
{
    if (x > SHORT_PRODUCT) {
        if (isnan(r->log_gamma))
            r->log_gamma = lgamma(r->shape);
        return lgamma(r->shape + x) - r->log_gamma - log_factorial;
    }
    for (; r->known < x; r->known++)
        r->product[r->known + 1] = r->product[r->known] + log((r->shape + r->known) / (r->known + 1.0));
    return r->product[x];
}

/* The gaps' likelihood is not looked at any further where it falls below the best one's by so much. */
#define LOG_HOPELESS 40
/* lgamma(0.5) */
#define LOG_GAMMA_HALF 0.57236494292470008707

/* log likelihood of a rate, added to log_l. */
static double log_likelihood(const struct gaps *g, const double *log_factorial, double rate, int k, double log_l,
                             double best)
{
    double d = dispersions[k], log_p = -log(d), log_q = log1p(-1 / d);
    struct rising r = {.shape = -1};
    for (unsigned i = 0; i < g->n && log_l > best - LOG_HOPELESS; i++) {
        double shape = rate * at_least(g->dt[i]) / (d - 1);
        if (shape != r.shape)
            rising_init(&r, shape);
        log_l += log_rising(&r, g->x[i], log_factorial[i]) + shape * log_p + g->x[i] * log_q;
    }
    return log_l;
}

static void fit_grid(const struct gaps *g, const double *log_factorial, int k, struct foreign *out,
                     double *log_evidence)
{
    double best = -INFINITY, log_w[N_RATES], sum = 0, width = log(RATE_HI / RATE_LO) / (N_RATES - 1);
    for (int j = 0; j < N_RATES; j++) {
        double rate = out->rate[j];
        /* Gamma(1/2, PRIOR_S) per unit of log rate. */
        double prior = 0.5 * log(PRIOR_S * rate) - PRIOR_S * rate - LOG_GAMMA_HALF + log(width);
        log_w[j] = log_likelihood(g, log_factorial, rate, k, prior, best);
        best = fmax(best, log_w[j]);
    }
    for (int j = 0; j < N_RATES; j++)
        sum += out->grid[k][j] = exp(log_w[j] - best);
    for (int j = 0; j < N_RATES; j++)
        out->grid[k][j] /= sum;
    *log_evidence = best + log(sum);
}

void predict_foreign_fit(const struct gaps *gaps, struct foreign *out)
{
    double log_e[N_DISPERSIONS], best = -INFINITY, sum = 0, log_factorial[MOST_GAPS];
    for (int j = 0; j < N_RATES; j++)
        out->rate[j] = RATE_LO * pow(RATE_HI / RATE_LO, (double)j / (N_RATES - 1));
    for (unsigned i = 0; i < gaps->n; i++)
        log_factorial[i] = lgamma(gaps->x[i] + 1.0);
    fit_poisson(gaps, log_factorial, out, &log_e[0]);
    for (int k = 1; k < N_DISPERSIONS; k++)
        fit_grid(gaps, log_factorial, k, out, &log_e[k]);
    for (int k = 0; k < N_DISPERSIONS; k++)
        best = fmax(best, log_e[k]);
    for (int k = 0; k < N_DISPERSIONS; k++)
        sum += out->weight[k] = priors[k] * exp(log_e[k] - best);
    for (int k = 0; k < N_DISPERSIONS; k++)
        out->weight[k] /= sum;
    out->log_evidence = best + log(sum);
}

double predict_foreign_dispersion(const struct foreign *f)
{
    double mean = 0;
    for (int k = 0; k < N_DISPERSIONS; k++)
        mean += f->weight[k] * dispersions[k];
    return mean;
}

double predict_foreign_rate(const struct foreign *f)
{
    double mean = f->weight[0] * f->shape / f->seconds;
    for (int k = 1; k < N_DISPERSIONS; k++)
        for (int j = 0; j < N_RATES; j++)
            mean += f->weight[k] * f->grid[k][j] * f->rate[j];
    return mean;
}

/* Sums by the count: what lies past end is not there yet. */
struct tally {
    double *pmf, *rate;
    uint32_t end, size;
};

static void extend(struct tally *c, uint32_t end)
{
    for (; c->end < end; c->end++)
        c->pmf[c->end] = c->rate[c->end] = 0;
}

/* Adds weight * negative binomial(r, p) and its rate moment (mean rate given x: (a + b x)). The recurrence runs upward
   from where the masses matter, so that nothing underflows on the way. Returns the end of what matters. */
static uint32_t add_counts(struct tally *c, double weight, double r, double p, double a, double b)
{
    double mean = r * (1 - p) / p, sd = sqrt(mean / p), q = 1 - p;
    uint32_t from = mean > 12 * sd ? (uint32_t)(mean - 12 * sd) : 0;
    if (from >= c->size)
        return c->size;
    double mass = weight * predict_negative_binomial(r, p, from);
    uint32_t x = from;
    for (; x < c->size; x++) {
        extend(c, x + 1);
        c->pmf[x] += mass;
        c->rate[x] += mass * (a + b * x);
        /* Past the mean the ratio of neighbours only falls, so the rest is a small multiple of this. */
        if (x > mean && mass < 1e-12)
            break;
        mass *= q * (r + x) / (x + 1.0);
    }
    return x;
}

/* Weights below this of a grid's whole are not worth their pass. */
#define WEIGHT_LEAST 1e-4

uint32_t predict_foreign_counts(const struct foreign *f, double t, double *pmf, double *rate, uint32_t size)
{
    struct tally c = {.pmf = pmf, .rate = rate, .size = size};
    double span = f->seconds + (t > 0 ? t : 0);
    if (t <= 0) {
        pmf[0] = 1;
        rate[0] = predict_foreign_rate(f);
        return 1;
    }
    uint32_t end = add_counts(&c, f->weight[0], f->shape, f->seconds / span, f->shape / span, 1 / span);
    for (int k = 1; k < N_DISPERSIONS; k++) {
        double d = dispersions[k];
        for (int j = 0; j < N_RATES; j++) {
            double w = f->weight[k] * f->grid[k][j];
            if (w < WEIGHT_LEAST)
                continue;
            uint32_t e = add_counts(&c, w, f->rate[j] * t / (d - 1), 1 / d, f->rate[j], 0);
            end = e > end ? e : end;
        }
    }
    end = end < size ? end + 1 : size;
    extend(&c, end);
    double sum = 0;
    for (uint32_t x = 0; x < end; x++) {
        sum += pmf[x];
        rate[x] = pmf[x] > 0 ? rate[x] / pmf[x] : 0;
    }
    /* What the pruned weights held is spread over the rest; what lies past size is not. */
    if (end < size && sum > 0)
        for (uint32_t x = 0; x < end; x++)
            pmf[x] /= sum;
    return end;
}
