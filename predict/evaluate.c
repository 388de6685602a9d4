/* Replaying a trace. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "predict/evaluate.h"

const unsigned predict_budgets[EVALUATE_BUDGETS] = {1, 10, 50, 1000};
/* The budget whose success probability the calibration table is about. */
#define CALIBRATED 2

void predict_evaluate_forget(struct evaluate *e)
{
    e->n = 0;
}

static void calibrate(struct evaluate_score *score, double p, bool hit)
{
    struct predict_bin *bin = &score->bins[p >= 1 ? 9 : (int)(p * 10)];
    bin->n++;
    bin->hits += hit;
    bin->predicted += p;
}

static void score_kind(struct evaluate *e, struct predict_model *m, enum predict_kind kind,
                       const struct predict_ep *came)
{
    struct evaluate_score *score = &e->score[kind];
    size_t n = predict_rank(m, e->candidates, predict_budgets[EVALUATE_BUDGETS - 1], &e->rng), rank = 0;
    while (rank < n && !predict_ep_equal(&e->candidates[rank].ep, came))
        rank++;
    for (int i = 0; i < EVALUATE_BUDGETS; i++)
        score->hits[i] += rank < n && rank < predict_budgets[i];
    /* The probability of what came, wherever it ranks. */
    struct predict_candidate one = {.ep = *came, .p = rank < n ? e->candidates[rank].p : 0};
    double p = predict_success(m, &one, 1);
    score->bits += p > 0 ? fmin(-log2(p), EVALUATE_FLOOR_BITS) : EVALUATE_FLOOR_BITS;
    size_t k = predict_budgets[CALIBRATED] < n ? predict_budgets[CALIBRATED] : n;
    calibrate(score, predict_sum(e->candidates, k), rank < k);
}

static int predict_one(struct evaluate *e, const struct predict_sample *s)
{
    struct predict_query q = {
        .after = s->t - e->context[e->n - 1].t, .probes = 1, .local = s->local, .remote = s->remote};
    for (int kind = 0; kind < PREDICT_N_KINDS; kind++) {
        struct predict_model *m = predict_model_create((enum predict_kind)kind, e->context, e->n, NULL, &q);
        if (!m)
            return -ENOMEM;
        score_kind(e, m, (enum predict_kind)kind, &s->mapped);
        predict_model_free(m);
    }
    e->predictions++;
    return 0;
}

int predict_evaluate_add(struct evaluate *e, const struct predict_sample *s, bool skip)
{
    int err = skip || e->n == 0 ? 0 : predict_one(e, s);
    if (e->n == EVALUATE_CONTEXT)
        memmove(e->context, e->context + 1, --e->n * sizeof(e->context[0]));
    e->context[e->n++] = *s;
    return err;
}
