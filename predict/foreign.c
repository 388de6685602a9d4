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

static void fit_poisson(const struct gaps *g, struct foreign *out, double *log_evidence)
{
    double sum = 0, seconds = PRIOR_S, log_e = 0;
    for (unsigned i = 0; i < g->n; i++) {
        double dt = at_least(g->dt[i]);
        log_e += g->x[i] * log(dt) - lgamma(g->x[i] + 1.0);
        sum += g->x[i];
        seconds += dt;
    }
    out->shape = sum + 0.5;
    out->seconds = seconds;
    *log_evidence = log_e + lgamma(out->shape) - lgamma(0.5) + 0.5 * log(PRIOR_S) - out->shape * log(seconds);
}

static double log_negative_binomial(double shape, double log_p, double log_q, uint32_t x)
{
    double log_rising = 0;
    /* Short products are faster than lgamma, and as exact. */
    if (x <= 8)
        for (uint32_t i = 0; i < x; i++)
            log_rising += log((shape + i) / (i + 1.0));
    else
        log_rising = lgamma(shape + x) - lgamma(shape) - lgamma(x + 1.0);
    return log_rising + shape * log_p + x * log_q;
}

static void fit_grid(const struct gaps *g, int k, struct foreign *out, double *log_evidence)
{
    double d = dispersions[k], log_p = -log(d), log_q = log1p(-1 / d), best = -INFINITY, log_w[N_RATES], sum = 0;
    double width = log(RATE_HI / RATE_LO) / (N_RATES - 1);
    for (int j = 0; j < N_RATES; j++) {
        double rate = out->rate[j];
        /* Gamma(1/2, PRIOR_S) per unit of log rate. */
        double log_l = 0.5 * log(PRIOR_S * rate) - PRIOR_S * rate - lgamma(0.5) + log(width);
        for (unsigned i = 0; i < g->n && log_l > best - 40; i++)
            log_l += log_negative_binomial(rate * at_least(g->dt[i]) / (d - 1), log_p, log_q, g->x[i]);
        log_w[j] = log_l;
        best = log_l > best ? log_l : best;
    }
    for (int j = 0; j < N_RATES; j++)
        sum += out->grid[k][j] = exp(log_w[j] - best);
    for (int j = 0; j < N_RATES; j++)
        out->grid[k][j] /= sum;
    *log_evidence = best + log(sum);
}

void predict_foreign_fit(const struct gaps *gaps, struct foreign *out)
{
    double log_e[N_DISPERSIONS], best = -INFINITY, sum = 0;
    for (int j = 0; j < N_RATES; j++)
        out->rate[j] = RATE_LO * pow(RATE_HI / RATE_LO, (double)j / (N_RATES - 1));
    fit_poisson(gaps, out, &log_e[0]);
    for (int k = 1; k < N_DISPERSIONS; k++)
        fit_grid(gaps, k, out, &log_e[k]);
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

/* Adds weight * negative binomial(r, p) and its rate moment (mean rate given x: (a + b x)). The recurrence runs upward
   from where the masses matter, so that nothing underflows on the way. Returns the end of what matters. */
static uint32_t add_counts(double weight, double r, double p, double a, double b, double *pmf, double *rate,
                           uint32_t size)
{
    double mean = r * (1 - p) / p, sd = sqrt(mean / p), q = 1 - p;
    uint32_t from = mean > 12 * sd ? (uint32_t)(mean - 12 * sd) : 0;
    if (from >= size)
        return size;
    double mass = weight * predict_negative_binomial(r, p, from);
    uint32_t x = from;
    for (; x < size; x++) {
        pmf[x] += mass;
        rate[x] += mass * (a + b * x);
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
    uint32_t end = 0;
    for (uint32_t x = 0; x < size; x++)
        pmf[x] = rate[x] = 0;
    double span = f->seconds + (t > 0 ? t : 0);
    if (t <= 0) {
        pmf[0] = 1;
        rate[0] = predict_foreign_rate(f);
        return 1;
    }
    end = add_counts(f->weight[0], f->shape, f->seconds / span, f->shape / span, 1 / span, pmf, rate, size);
    for (int k = 1; k < N_DISPERSIONS; k++) {
        double d = dispersions[k];
        for (int j = 0; j < N_RATES; j++) {
            double w = f->weight[k] * f->grid[k][j];
            if (w < WEIGHT_LEAST)
                continue;
            uint32_t e = add_counts(w, f->rate[j] * t / (d - 1), 1 / d, f->rate[j], 0, pmf, rate, size);
            end = e > end ? e : end;
        }
    }
    end = end < size ? end + 1 : size;
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
