/* Predicted probabilities against what happened. Pure. */
#include <math.h>

#include "bench/record/record.h"

bool record_calibration_add(struct record_calibration *c, double p, bool ok)
{
    if (!(p >= 0 && p <= 1))
        return false;
    unsigned i = (unsigned)(p * RECORD_CALIBRATION_BINS);
    struct record_calibration_bin *bin = &c->bins[i < RECORD_CALIBRATION_BINS ? i : RECORD_CALIBRATION_BINS - 1];
    double error = p - (ok ? 1 : 0);
    c->n++;
    c->squares += error * error;
    bin->n++;
    bin->k += ok;
    bin->sum_p += p;
    return true;
}

void record_calibration_merge(struct record_calibration *c, const struct record_calibration *more)
{
    c->n += more->n;
    c->squares += more->squares;
    for (unsigned i = 0; i < RECORD_CALIBRATION_BINS; i++) {
        c->bins[i].n += more->bins[i].n;
        c->bins[i].k += more->bins[i].k;
        c->bins[i].sum_p += more->bins[i].sum_p;
    }
}

double record_brier(const struct record_calibration *c)
{
    return c->n == 0 ? (double)NAN : c->squares / (double)c->n;
}

bool record_calibration_point(const struct record_calibration *c, unsigned bin, double z,
                              struct record_calibration_point *out)
{
    if (bin >= RECORD_CALIBRATION_BINS || c->bins[bin].n == 0)
        return false;
    const struct record_calibration_bin *b = &c->bins[bin];
    out->mean_p = b->sum_p / (double)b->n;
    out->measured = (double)b->k / (double)b->n;
    out->interval = record_wilson(b->k, b->n, z);
    return true;
}
