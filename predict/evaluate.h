/* Replaying a trace: each mapping is predicted from those before it. Private: the program's and the tests'. */
#ifndef PREDICT_EVALUATE_H
#define PREDICT_EVALUATE_H

#include "predict/internal.h"

#define EVALUATE_BUDGETS 4
extern const unsigned predict_budgets[EVALUATE_BUDGETS]; /* 1, 10, 50, 1000 */
/* Samples that a prediction is made from: as a peer has them. */
#define EVALUATE_CONTEXT 16
/* A probability of 2^-20 is a miss: less than any port at random. */
#define EVALUATE_FLOOR_BITS 20.0

struct evaluate_score {
    uint64_t hits[EVALUATE_BUDGETS];
    double bits;                 /* sum of -log2 of the probability of what came */
    struct predict_bin bins[10]; /* of the success probability at a budget of 50 */
};

struct evaluate {
    struct predict_sample context[EVALUATE_CONTEXT];
    unsigned n;
    uint64_t predictions;
    struct evaluate_score score[PREDICT_N_KINDS];
    struct predict_rng rng;
    struct predict_candidate candidates[1000];
};

/* Forgets the samples, not the scores. */
void predict_evaluate_forget(struct evaluate *e);
/* Predicts s from the samples so far (unless skip, or there are none), then adds it to them. 0 or -ENOMEM. */
int predict_evaluate_add(struct evaluate *e, const struct predict_sample *s, bool skip);

#endif
