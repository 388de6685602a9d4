/* Private to predict/. */
#ifndef PREDICT_INTERNAL_H
#define PREDICT_INTERNAL_H

#include "predict/predict.h"

/* ---- rng.c --------------------------------------------------------------------------------------- */

uint64_t predict_rng_next(struct predict_rng *rng);
/* [0, 1) */
double predict_rng_double(struct predict_rng *rng);
/* [0, n) */
uint32_t predict_rng_below(struct predict_rng *rng, uint32_t n);
uint32_t predict_rng_poisson(struct predict_rng *rng, double mean);
/* Poisson where dispersion (variance over mean) is at most 1, else negative binomial. */
uint32_t predict_rng_count(struct predict_rng *rng, double mean, double dispersion);

#endif
