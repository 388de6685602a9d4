/* Whether cells came out as their plans predicted: what was measured beside the mean prediction, cell by cell. Pure. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "bench/campaign/report.h"

double report_expected(const struct report_cell *cell)
{
    uint64_t n = cell->calibration.n + cell->outcomes[RECORD_INFEASIBLE];
    double sum = 0;
    for (unsigned i = 0; i < RECORD_CALIBRATION_BINS; i++)
        sum += cell->calibration.bins[i].sum_p;
    return n ? sum / (double)n : (double)NAN;
}

static struct report_prediction judge(const struct report_cell *c)
{
    struct report_prediction p = {.cell = c,
                                  .predicted = report_expected(c),
                                  .interval = record_wilson(c->ok, c->n, RECORD_Z95),
                                  .p_holm = NAN,
                                  .p_bh = NAN};
    /* A mean of many 1.0 may come out a little below. */
    p.inside = p.interval.lo - 1e-9 <= p.predicted && p.predicted <= p.interval.hi + 1e-9;
    p.p = record_binomial(c->ok, c->n, fmin(1, p.predicted + (p.predicted > 1 - 1e-9 ? 1e-9 : 0)));
    return p;
}

static int adjust(struct report_prediction *list, size_t n)
{
    double *p = calloc(3 * n + 1, sizeof(*p)), *holm = p ? p + n : NULL, *bh = p ? p + 2 * n : NULL;
    if (!p)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        p[i] = list[i].p;
    record_holm(p, holm, n);
    record_benjamini_hochberg(p, bh, n);
    for (size_t i = 0; i < n; i++) {
        list[i].p_holm = holm[i];
        list[i].p_bh = bh[i];
    }
    free(p);
    return 0;
}

/* The least likely first. */
static int by_p(const void *x, const void *y)
{
    const struct report_prediction *a = x, *b = y;
    if (a->p != b->p)
        return a->p < b->p ? -1 : 1;
    return a->cell < b->cell ? -1 : a->cell > b->cell;
}

int report_predictions(const struct report_set *set, size_t run, struct report_predictions *out)
{
    *out = (struct report_predictions){.list = calloc(set->n + 1, sizeof(*out->list))};
    if (!out->list)
        return -ENOMEM;
    for (size_t i = 0; i < set->n; i++) {
        const struct report_cell *c = &set->cells[i];
        if (c->run != run || !c->n)
            continue;
        if (c->calibration.n)
            out->list[out->n++] = judge(c);
        else
            out->untried += c->outcomes[RECORD_INFEASIBLE] > 0;
    }
    int res = adjust(out->list, out->n);
    if (out->n)
        qsort(out->list, out->n, sizeof(*out->list), by_p);
    for (size_t i = 0; i < out->n; i++) {
        out->inside += out->list[i].inside;
        out->holm += out->list[i].p_holm <= REPORT_ALPHA;
        out->bh += out->list[i].p_bh <= REPORT_ALPHA;
    }
    return res;
}
