/* Plots of the time to connect. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/report_plots.h"

/* ---- time to connect ------------------------------------------------------------------------- */

struct pick {
    const struct report_cell *kind;
    report_same_fn *same;
};

static bool is_picked(const struct report_cell *c, const void *user)
{
    const struct pick *p = user;
    return report_is_technique(c) && p->same(c, p->kind);
}

static void put_ms(void *user, double ns, double share)
{
    const struct report_writer *w = user;
    fprintf(w->data, "%.6g\t%.6g\n", ns / 1e6, 100 * share);
}

#define CDF_POINTS 400

/* One series: from the axis to its first step, and from its last one on to the end. */
static void put_cdf(struct report_writer *w, const char *name, const struct report_sample *s,
                    const struct report_axis *axis)
{
    char text[160], plain[200];
    snprintf(text, sizeof(text), "%.90s, %zu of %llu", name, s->n, (unsigned long long)s->trials);
    report_plain(text, 60, plain, sizeof(plain));
    fprintf(w->data, "%s\n%.6g\t0\n", plain, axis->lo);
    report_cdf(s, CDF_POINTS, put_ms, w);
    fprintf(w->data, "%.6g\t%.6g\n", axis->hi, s->trials ? 100 * (double)s->n / (double)s->trials : 0);
    report_plot_block(w);
}

#define HIST_BINS 60

static void histogram(struct report_writer *w, const struct report_cell *kind, const struct report_sample *s,
                      const struct report_axis *axis, size_t at)
{
    struct report_bin bins[HIST_BINS];
    char what[512], title[512];
    report_plot_file(w, kind, true, what, sizeof(what));
    report_plot_title(w, kind, true, title, sizeof(title));
    if (!s->n || !report_plot_begin(w, REPORT_LATENCY, "hist.gp", "histogram", what))
        return;
    w->now->group = "Histograms: all NAT pairs of a technique together";
    report_histogram(s, axis, bins, HIST_BINS);
    for (size_t i = 0; i < HIST_BINS; i++)
        if (bins[i].share > 0)
            fprintf(w->data, "%.6g\t%.6g\t%.6g\n", bins[i].lo, bins[i].hi, 100 * bins[i].share);
    report_plot_params(w, "at = %zu; lo = %.6g; hi = %.6g; logarithmic = %d; wd = 430; ht = 250; title = '%s'", at,
                       axis->lo, axis->hi, axis->logarithmic, title);
    snprintf(w->now->caption, sizeof(w->now->caption), "%zu successes of %llu trials", s->n,
             (unsigned long long)s->trials);
    report_plot_end(w);
}

/* The techniques of one place (or of one pair of NATs there), a curve each. */
struct latencies {
    struct report_cell **kinds;
    struct report_sample *samples;
    size_t n;
    struct report_axis axis;
};

static void latencies_free(struct latencies *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->samples[i].ns);
    free(l->samples);
    free(l->kinds);
}

static bool same_cell(const struct report_cell *a, const struct report_cell *b)
{
    return report_same_panel(a, b) && report_same_pair(a, b);
}

static int gather(struct report_writer *w, const struct report_kinds *all, const struct report_cell *group,
                  report_same_fn *in_group, report_same_fn *series, struct latencies *out)
{
    *out = (struct latencies){.kinds = calloc(all->n + 1, sizeof(struct report_cell *)),
                              .samples = calloc(all->n + 1, sizeof(*out->samples))};
    int res = out->kinds && out->samples ? 0 : -ENOMEM;
    for (size_t i = 0; res == 0 && i < all->n; i++) {
        struct pick p = {all->list[i], series};
        if (!in_group(all->list[i], group))
            continue;
        out->kinds[out->n] = all->list[i];
        res = report_sample_make(w->set, is_picked, &p, &out->samples[out->n++]);
    }
    out->axis = report_axis(out->samples, out->n);
    return res;
}

static void cdf(struct report_writer *w, const struct latencies *l, const char *kind, const char *what,
                const char *title)
{
    size_t any = 0;
    for (size_t i = 0; i < l->n; i++)
        any += l->samples[i].n;
    if (!any || !report_plot_begin(w, REPORT_LATENCY, "cdf.gp", kind, what))
        return;
    bool small = strcmp(kind, "cdf-pair") == 0;
    w->now->group = small ? "Each NAT pair" : "All NAT pairs of a technique together";
    size_t keyrows = small ? l->n : (l->n + 1) / 2;
    for (size_t i = 0; i < l->n; i++)
        put_cdf(w, l->kinds[i]->label, &l->samples[i], &l->axis);
    report_plot_params(
        w,
        "n = %zu; lo = %.6g; hi = %.6g; logarithmic = %d; across = %d; keyrows = %zu; wd = %d; ht = %zu; "
        "title = '%s'",
        l->n, l->axis.lo, l->axis.hi, l->axis.logarithmic, small ? 1 : 2, keyrows, small ? 430 : 760,
        (small ? 240u : 380u) + 17 * keyrows, title);
    snprintf(w->now->caption, sizeof(w->now->caption), "%s", small ? "One NAT pair" : "Each trial counted once");
    report_plot_end(w);
}

/* More curves than this in one plot are not told apart: TCP and UDP then have one each. */
#define CURVES 6

static void cdfs(struct report_writer *w, const struct latencies *l, const char *what, const char *title)
{
    static bool (*const transports[])(const struct report_cell *) = {report_is_tcp, report_is_udp};
    if (l->n <= CURVES) {
        cdf(w, l, "cdf", what, title);
        return;
    }
    for (size_t t = 0; t < 2; t++) {
        struct latencies part = {.kinds = calloc(l->n, sizeof(struct report_cell *)),
                                 .samples = calloc(l->n, sizeof(*part.samples)),
                                 .axis = l->axis};
        for (size_t i = 0; part.kinds && part.samples && i < l->n; i++)
            if (transports[t](l->kinds[i])) {
                part.kinds[part.n] = l->kinds[i];
                part.samples[part.n++] = l->samples[i];
            }
        cdf(w, &part, t ? "cdf-udp" : "cdf-tcp", what, title);
        free(part.kinds);
        free(part.samples);
    }
}

/* With more pairs than this, curves of each would fill the page. */
#define PAIR_CURVES 16

static int pair_cdfs(struct report_writer *w, const struct report_cell *place, struct report_axis axis)
{
    struct report_kinds pairs = {0}, cells = {0};
    int res = report_kinds_find(w->set, report_same_pair_place, report_is_technique, &pairs);
    if (res == 0 && (res = report_kinds_find(w->set, same_cell, report_is_technique, &cells)) < 0)
        free(pairs.list);
    if (res < 0)
        return res;
    size_t here = 0;
    for (size_t i = 0; i < pairs.n; i++)
        here += report_same_place(pairs.list[i], place);
    for (size_t i = 0; res == 0 && here > 1 && here <= PAIR_CURVES && i < pairs.n; i++) {
        struct latencies l;
        char text[512], title[512], what[512], at[256];
        if (!report_same_place(pairs.list[i], place))
            continue;
        res = gather(w, &cells, pairs.list[i], report_same_pair_place, same_cell, &l);
        snprintf(text, sizeof(text), "%.90s / %.90s", pairs.list[i]->nat_a, pairs.list[i]->nat_b);
        report_plain(text, 56, title, sizeof(title));
        report_plot_file(w, place, false, at, sizeof(at));
        snprintf(what, sizeof(what), "%.90s-%.90s-%.90s", pairs.list[i]->nat_a, pairs.list[i]->nat_b, at);
        what[strlen(what) - (*at ? 0 : 1)] = '\0';
        /* One for all of them, so that they compare at a glance. */
        l.axis = axis;
        if (res == 0)
            cdf(w, &l, "cdf-pair", what, title);
        latencies_free(&l);
    }
    free(pairs.list);
    free(cells.list);
    return res;
}

/* Where each pair has no curves: too many pairs, or too many techniques. */
static int medians(struct report_writer *w)
{
    struct report_kinds pairs;
    int res = report_kinds_find(w->set, report_same_pair_place, report_is_technique, &pairs);
    free(pairs.list);
    return res < 0 || pairs.n <= PAIR_CURVES ? res : report_plot_medians(w);
}

static int place_latency(struct report_writer *w, const struct report_kinds *panels, const struct report_cell *place)
{
    struct latencies l;
    char what[256], title[512], text[300], at[256];
    int res = gather(w, panels, place, report_same_place, report_same_panel, &l);
    report_plot_file(w, place, false, what, sizeof(what));
    report_place(w->set, place, at, sizeof(at));
    snprintf(text, sizeof(text), "Time to connect, %.200s", at);
    report_plain(text, 90, title, sizeof(title));
    if (res == 0)
        cdfs(w, &l, what, title);
    for (size_t i = 0; res == 0 && i < l.n; i++)
        histogram(w, l.kinds[i], &l.samples[i], &l.axis, i);
    struct report_axis axis = l.axis;
    bool few = l.n <= CURVES;
    latencies_free(&l);
    return res < 0 || !few ? res : pair_cdfs(w, place, axis);
}

int report_plot_latencies(struct report_writer *w)
{
    struct report_kinds panels, places;
    int res = report_kinds_find(w->set, report_same_panel, report_is_technique, &panels);
    if (res < 0)
        return res;
    res = report_kinds_find(w->set, report_same_place, report_is_technique, &places);
    for (size_t i = 0; res == 0 && i < places.n; i++)
        res = place_latency(w, &panels, places.list[i]);
    free(places.list);
    free(panels.list);
    return res < 0 ? res : medians(w);
}
