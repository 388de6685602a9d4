/*
 * bench/record: statistics on trials. Pure. Others include record.h.
 * A proportion is k successes of n trials, failures of every kind in n.
 */
#ifndef BENCH_RECORD_STATS_H
#define BENCH_RECORD_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The 95 % two-sided normal quantile. */
#define RECORD_Z95 1.959963984540054

struct record_interval {
    double lo, hi;
};

/* ---- proportions ----------------------------------------------------------------------------- */

/* Wilson score interval for k successes of n (Wilson 1927; Newcombe 1998a, method 3). n = 0 gives [0, 1]. */
struct record_interval record_wilson(uint64_t k, uint64_t n, double z);
/* Difference p1 - p2 of two independent proportions (Newcombe 1998b, method 10). n1 or n2 = 0 gives [-1, 1]. */
struct record_interval record_newcombe(uint64_t k1, uint64_t n1, uint64_t k2, uint64_t n2, double z);

/* Pairs of trials under the same conditions, A and B: what came of them. */
struct record_pairs {
    uint64_t both, only_a, only_b, neither;
};
/* Difference pA - pB for pairs (Newcombe 1998c, method 10). No pairs give [-1, 1]. */
struct record_interval record_newcombe_paired(const struct record_pairs *pairs, double z);
/* Exact two-sided p-value of "A and B succeed equally often" from the pairs that differ: McNemar's test with the
 * binomial in place of chi-squared (McNemar 1947), twice the smaller tail. Of values instead of successes it is the
 * sign test: a pairs where A was the larger, b where B was; ties in neither. 1 for none at all. */
double record_exact_pairs(uint64_t a, uint64_t b);

/* Exact two-sided p-value of "each trial succeeds with probability p": that of all counts at most as likely as k
 * (Clopper and Pearson's tails are another way; this one is R's binom.test). 1 without trials. */
double record_binomial(uint64_t k, uint64_t n, double p);

/* Exact two-sided p-value of "both succeed equally often" for two independent proportions: the probability of all
 * tables with these margins that are at most as likely as this one (Fisher 1935). Conservative. 1 without trials. */
double record_fisher(uint64_t k1, uint64_t n1, uint64_t k2, uint64_t n2);

/* Holm's adjusted p-values for a family of n comparisons (Holm 1979): rejecting those at most alpha keeps the chance of
 * any false rejection in the family at most alpha, whatever their dependence. p in [0, 1]; n^2 steps; not in place. */
void record_holm(const double *p, double *adjusted, size_t n);
/* Benjamini and Hochberg's (1995): rejecting those at most alpha keeps the expected share of false ones among the
 * rejected at most alpha, where the comparisons are independent. More are found than by Holm's, and a few of them are
 * wrong. p in [0, 1]; n^2 steps; not in place. */
void record_benjamini_hochberg(const double *p, double *adjusted, size_t n);

/* ---- quantiles ------------------------------------------------------------------------------- */

/* Sorts values and returns the q-quantile, Hyndman-Fan type 7; 0 for n = 0. */
uint64_t record_quantile(uint64_t *values, size_t n, double q);

/* The order statistics, counted from 1, that enclose a quantile; lo = 0 or hi = n + 1: the sample is too small to bound
 * it on that side. */
struct record_ranks {
    size_t lo, hi;
    double coverage; /* at least what was asked for */
};
/*
 * Distribution-free interval for the q-quantile of what n values were drawn from: the values of rank lo to hi hold it
 * with probability `coverage`, at most (1 - confidence) / 2 on either side being missed (Thompson 1936; Hahn and Meeker
 * 1991, 5.2). Conservative for values that tie. hist_quantile(h, rank / n) is the value of a rank.
 */
struct record_ranks record_quantile_ranks(size_t n, double q, double confidence);

/* ---- two samples ----------------------------------------------------------------------------- */

struct record_ks {
    double d; /* the largest distance between the two distribution functions, 0 to 1 */
    double p; /* how likely such a distance is when both come from one distribution */
    bool exact;
};
/* Kolmogorov and Smirnov's two-sample test, two-sided (Smirnov 1939). Sorts both. The p-value is exact up to m * n of
 * some million (and where memory lasts), then the limit with Stephens's correction (1970); conservative where values
 * tie. An empty sample gives d = 0, p = 1. */
struct record_ks record_ks(uint64_t *a, size_t m, uint64_t *b, size_t n);

/* ---- predictions ----------------------------------------------------------------------------- */

#define RECORD_CALIBRATION_BINS 10

/* Predicted probabilities against what happened. All zero is empty. */
struct record_calibration {
    uint64_t n;
    double squares; /* the sum of (p - outcome)^2 */
    struct record_calibration_bin {
        uint64_t n, k;
        double sum_p;
    } bins[RECORD_CALIBRATION_BINS]; /* of p in [i / 10, (i + 1) / 10), the last with 1 */
};
/* A trial that was predicted to succeed with probability p. What is no probability (NAN: no prediction) is left out:
 * false. */
bool record_calibration_add(struct record_calibration *c, double p, bool ok);
/* Adds what is in `more`. */
void record_calibration_merge(struct record_calibration *c, const struct record_calibration *more);
/* Brier score: the mean squared error of the predicted probability, 0 (perfect) to 1. Half of Brier's own figure
 * (1950), which also sums over "it did not". NAN for no trials. */
double record_brier(const struct record_calibration *c);

/* One bin to plot: predictions are calibrated when mean_p lies in the interval about as often as its level says. */
struct record_calibration_point {
    double mean_p;                   /* of the predictions in the bin */
    double measured;                 /* the successes' share */
    struct record_interval interval; /* Wilson's, of `measured` */
};
/* false for an empty bin. */
bool record_calibration_point(const struct record_calibration *c, unsigned bin, double z,
                              struct record_calibration_point *out);

#endif
