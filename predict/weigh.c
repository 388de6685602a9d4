/*
 * Which kind of allocation explains the ports? Prior times evidence: what explains them without effort wins. A port
 * that is preserved by chance, or follows the last one by chance, is one in 64,512.
 */
#include <math.h>

#include "predict/internal.h"

/* Richter et al. 2016, cellular carriers: 45 % random, 26 % sequential, the rest preserved; homes preserve more. */
#define PRIOR_PRESERVE   0.35
#define PRIOR_SEQUENTIAL 0.30
#define PRIOR_RANGE      0.35
static double log_preserve(const struct draws *d)
{
    double uniform = log(1 / (PORT_HI - PORT_LO + 1.0)), sum = 0;
    unsigned begin = d->n > EVIDENCE_DRAWS ? d->n - EVIDENCE_DRAWS : 0;
    for (unsigned i = begin; i < d->n; i++)
        sum += d->d[i].local_port == 0              ? uniform
               : d->d[i].local_port == d->d[i].port ? log(P_PRESERVED)
                                                    : uniform + log(1 - P_PRESERVED);
    return sum;
}

static double log_range(const struct draws *d)
{
    uint32_t min = UINT16_MAX, max = 0;
    unsigned begin = d->n > EVIDENCE_DRAWS ? d->n - EVIDENCE_DRAWS : 0;
    for (unsigned i = begin; i < d->n; i++) {
        min = d->d[i].port < min ? d->d[i].port : min;
        max = d->d[i].port > max ? d->d[i].port : max;
    }
    return d->n ? predict_spans_evidence(min, max, d->n - begin) : 0;
}

static void prior_of(const struct predict_behaviour *known, double prior[3])
{
    prior[0] = PRIOR_PRESERVE;
    prior[1] = PRIOR_SEQUENTIAL;
    prior[2] = PRIOR_RANGE;
    if (!known || known->ports.value == PREDICT_PORTS_UNKNOWN)
        return;
    int which = known->ports.value == PREDICT_PORTS_PRESERVE     ? 0
                : known->ports.value == PREDICT_PORTS_SEQUENTIAL ? 1
                                                                 : 2;
    double confidence = fmin(0.999, known->ports.confidence);
    for (int i = 0; i < 3; i++)
        prior[i] = i == which ? confidence : (1 - confidence) / 2;
}

void predict_weigh(const struct draws *d, const struct predict_behaviour *known, struct weights *out)
{
    double prior[3], log_w[3], log_sequential, w[3], sum = 0;
    prior_of(known, prior);
    out->n_readings = predict_sequences(d, known ? known->step : 0, out->readings, &log_sequential);
    log_w[0] = log_preserve(d);
    log_w[1] = out->n_readings ? log_sequential : -INFINITY;
    log_w[2] = log_range(d);
    double best = fmax(log_w[0], fmax(log_w[1], log_w[2]));
    for (int i = 0; i < 3; i++)
        sum += w[i] = prior[i] * exp(log_w[i] - best);
    out->preserve = w[0] / sum;
    out->sequential = w[1] / sum;
    out->range = w[2] / sum;
}
