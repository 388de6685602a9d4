/* What is different between two cells. Pure. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "bench/campaign/report.h"

struct report_latency report_latency(struct report_cell *cell)
{
    struct report_latency l = {.n = cell->n_connect};
    if (!l.n)
        return l;
    l.median = record_quantile(cell->connect_ns, l.n, 0.5); /* sorts */
    struct record_ranks r = record_quantile_ranks(l.n, 0.5, 0.95);
    l.lo = r.lo ? cell->connect_ns[r.lo - 1] : 0;
    l.hi = r.hi <= l.n ? cell->connect_ns[r.hi - 1] : 0;
    return l;
}

/* Each side's own interval, combined as Newcombe combines proportions' ("square and add": Zou and Donner 2008). */
static struct record_interval median_interval(const struct report_latency *a, const struct report_latency *b)
{
    double ma = (double)a->median, mb = (double)b->median, d = ma - mb;
    struct record_interval i = {-INFINITY, INFINITY};
    if (a->lo && b->hi)
        i.lo = d - hypot(ma - (double)a->lo, (double)b->hi - mb);
    if (a->hi && b->lo)
        i.hi = d + hypot((double)a->hi - ma, mb - (double)b->lo);
    return i;
}

static void compare_latencies(struct report_difference *d)
{
    d->la = report_latency(d->a);
    d->lb = report_latency(d->b);
    d->median_diff = d->ks_d = d->ks_p = d->ks_p_holm = NAN;
    d->median_i = (struct record_interval){-INFINITY, INFINITY};
    if (!d->la.n || !d->lb.n)
        return;
    struct record_ks ks = record_ks(d->a->connect_ns, d->la.n, d->b->connect_ns, d->lb.n);
    d->ks_d = ks.d;
    d->ks_p = ks.p;
    d->median_diff = (double)d->la.median - (double)d->lb.median;
    d->median_i = median_interval(&d->la, &d->lb);
}

/* Trials that both have, by number. */
static struct record_pairs pair_up(const struct report_cell *a, const struct report_cell *b)
{
    struct record_pairs p = {0};
    for (uint64_t t = 0; t < a->bits && t < b->bits; t++) {
        if (!report_cell_bit(a->seen, a->bits, t) || !report_cell_bit(b->seen, b->bits, t))
            continue;
        bool won_a = report_cell_bit(a->won, a->bits, t), won_b = report_cell_bit(b->won, b->bits, t);
        p.both += won_a && won_b;
        p.only_a += won_a && !won_b;
        p.only_b += !won_a && won_b;
        p.neither += !won_a && !won_b;
    }
    return p;
}

void report_compare(struct report_cell *a, struct report_cell *b, bool paired, struct report_difference *out)
{
    *out = (struct report_difference){.a = a, .b = b, .paired = paired, .p_holm = NAN, .p_bh = NAN};
    out->diff = a->n && b->n ? (double)a->ok / (double)a->n - (double)b->ok / (double)b->n : NAN;
    if (paired) {
        struct record_pairs *p = &out->pairs;
        *p = pair_up(a, b);
        double n = (double)(p->both + p->only_a + p->only_b + p->neither);
        out->diff = n > 0 ? ((double)p->only_a - (double)p->only_b) / n : NAN;
        out->interval = record_newcombe_paired(p, RECORD_Z95);
        out->p = record_exact_pairs(p->only_a, p->only_b);
    } else {
        out->interval = record_newcombe(a->ok, a->n, b->ok, b->n, RECORD_Z95);
        out->p = record_fisher(a->ok, a->n, b->ok, b->n);
    }
    compare_latencies(out);
}

/* Of what there is: NAN stays NAN, and does not count. */
static int adjust(double *p, size_t n, void (*method)(const double *, double *, size_t))
{
    double *there = calloc(2 * n + 1, sizeof(*there)), *adjusted = there ? there + n : NULL;
    size_t m = 0;
    if (!there)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (!isnan(p[i]))
            there[m++] = p[i];
    method(there, adjusted, m);
    m = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(p[i]))
            p[i] = adjusted[m++];
    free(there);
    return 0;
}

int report_adjust(struct report_difference *list, size_t n)
{
    double *holm = calloc(3 * n + 1, sizeof(*holm)), *bh = holm ? holm + n : NULL, *ks = holm ? bh + n : NULL;
    if (!holm)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        holm[i] = bh[i] = isnan(list[i].diff) ? (double)NAN : list[i].p;
        ks[i] = list[i].ks_p;
    }
    int res = adjust(holm, n, record_holm);
    res = res < 0 ? res : adjust(bh, n, record_benjamini_hochberg);
    res = res < 0 ? res : adjust(ks, n, record_holm);
    for (size_t i = 0; res == 0 && i < n; i++) {
        list[i].p_holm = holm[i];
        list[i].p_bh = bh[i];
        list[i].ks_p_holm = ks[i];
    }
    free(holm);
    return res;
}

struct report_counts report_count(const struct report_difference *list, size_t n)
{
    struct report_counts c = {0};
    for (size_t i = 0; i < n; i++) {
        if (isnan(list[i].diff))
            continue;
        c.n++;
        c.above += list[i].interval.lo > 0;
        c.below += list[i].interval.hi < 0;
        c.holm += list[i].p_holm <= REPORT_ALPHA;
        c.bh += list[i].p_bh <= REPORT_ALPHA;
    }
    return c;
}
