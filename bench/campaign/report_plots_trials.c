/* Plots of why trials failed, of success against the budget, and of predictions against what came out. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/report_plots.h"

/* ---- why not --------------------------------------------------------------------------------- */

struct bar {
    uint64_t n, ok, reasons[REPORT_REASONS];
};

static struct bar bar_of(const struct report_set *set, const struct report_cell *kind, report_same_fn *same)
{
    struct bar bar = {0};
    for (size_t i = 0; i < set->n; i++) {
        const struct report_cell *c = &set->cells[i];
        if (!same(c, kind))
            continue;
        bar.n += c->n;
        bar.ok += c->ok;
        for (size_t r = 0; r < set->n_reasons; r++)
            bar.reasons[r] += c->reasons[r];
    }
    return bar;
}

/* Block `at`: 0 = the successes, then a reason each. */
static void put_segments(struct report_writer *w, const struct bar *bars, size_t n, size_t at)
{
    report_plot_name(w, at ? w->set->reasons[at - 1] : "ok");
    fputc('\n', w->data);
    for (size_t i = 0; i < n; i++) {
        uint64_t from = at ? bars[i].ok : 0, len = at ? bars[i].reasons[at - 1] : bars[i].ok;
        for (size_t r = 0; r + 1 < at; r++)
            from += bars[i].reasons[r];
        double scale = bars[i].n ? 100 / (double)bars[i].n : 0;
        fprintf(w->data, "%zu\t%.5g\t%.5g\n", i, (double)from * scale, (double)(from + len) * scale);
    }
    report_plot_block(w);
}

static bool same_cell(const struct report_cell *a, const struct report_cell *b)
{
    return report_same_panel(a, b) && report_same_pair(a, b);
}

/* The rows' names; how wide they are. */
static int put_rows(struct report_writer *w, const struct report_kinds *k, bool pairs)
{
    int left = 60;
    for (size_t i = 0; i < k->n; i++) {
        char title[512], text[1024], plain[256];
        report_plot_title(w, k->list[i], true, title, sizeof(title));
        if (pairs)
            snprintf(text, sizeof(text), "%.90s / %.90s, %.300s", k->list[i]->nat_a, k->list[i]->nat_b, title);
        else
            snprintf(text, sizeof(text), "%.300s", title);
        report_plain(text, 64, plain, sizeof(plain));
        fprintf(w->data, "%zu\t%s\n", i, plain);
        int px = (int)((double)strlen(plain) * CHAR_PX);
        left = px > left ? px : left;
    }
    return left;
}

static void bars(struct report_writer *w, const struct report_kinds *k, report_same_fn *same, bool pairs)
{
    struct bar *list = calloc(k->n + 1, sizeof(*list));
    size_t n = w->set->n_reasons + 1, keyrows = (n + 1) / 2;
    if (!list)
        w->error = -ENOMEM;
    if (!list || !report_plot_begin(w, REPORT_FAILURES, "failures.gp", pairs ? "failures-cells" : "failures", "")) {
        free(list);
        return;
    }
    for (size_t i = 0; i < k->n; i++)
        list[i] = bar_of(w->set, k->list[i], same);
    for (size_t at = 0; at < n; at++)
        put_segments(w, list, k->n, at);
    int left = put_rows(w, k, pairs);
    report_plot_params(
        w, "n = %zu; rows = %zu; left = %d; keyrows = %zu; wd = %d; ht = %zu; title = 'What came of the trials'", n,
        k->n, left + 14, keyrows, left + 14 + 620, 88 + 18 * keyrows + (pairs ? 17 : 24) * k->n);
    snprintf(w->now->caption, sizeof(w->now->caption), "%s",
             pairs ? "Each cell" : "All NAT pairs of a technique together");
    report_plot_end(w);
    free(list);
}

/* More are no picture any more: the table of cells has them. */
#define BARS_MOST 64

int report_plot_failures(struct report_writer *w)
{
    struct report_kinds panels, cells;
    int res = report_kinds_find(w->set, report_same_panel, NULL, &panels);
    if (res < 0)
        return res;
    if (panels.n)
        bars(w, &panels, report_same_panel, false);
    res = report_kinds_find(w->set, same_cell, report_is_technique, &cells);
    if (res == 0 && cells.n > 1 && cells.n <= BARS_MOST)
        bars(w, &cells, same_cell, true);
    free(cells.list);
    free(panels.list);
    return res;
}

/* ---- budget ---------------------------------------------------------------------------------- */

static bool has_budget(const struct report_cell *c)
{
    return report_is_technique(c) && c->holes && c->probes && c->n;
}

static bool same_transport(const struct report_cell *a, const struct report_cell *b)
{
    return strcmp(a->transport, b->transport) == 0;
}

static double budget_of(const struct report_cell *c)
{
    return (double)c->holes * (double)c->probes;
}

static int by_budget(const void *x, const void *y)
{
    const struct report_cell *const *a = x, *const *b = y;
    double one = budget_of(*a), other = budget_of(*b);
    return (one > other) - (one < other);
}

/* A pair's cells of one transport, by budget. */
static size_t budgets(struct report_set *set, const struct report_cell *pair,
                      bool (*transport)(const struct report_cell *), struct report_cell **out)
{
    size_t n = 0;
    for (size_t i = 0; i < set->n; i++) {
        struct report_cell *c = &set->cells[i];
        if (has_budget(c) && report_same_pair_place(c, pair) && transport(c))
            out[n++] = c;
    }
    qsort(out, n, sizeof(struct report_cell *), by_budget);
    return n;
}

static void put_measured(struct report_writer *w, const char *name, struct report_cell **list, size_t n)
{
    fprintf(w->data, "%s\n", name);
    for (size_t i = 0; i < n; i++) {
        struct record_interval iv = record_wilson(list[i]->ok, list[i]->n, RECORD_Z95);
        fprintf(w->data, "%.10g\t%.5g\t%.5g\t%.5g\n", budget_of(list[i]),
                100 * (double)list[i]->ok / (double)list[i]->n, 100 * iv.lo, 100 * iv.hi);
    }
    report_plot_block(w);
}

/* False: no plan predicted anything. */
static bool put_predicted(struct report_writer *w, const char *name, struct report_cell **list, size_t n)
{
    bool any = false;
    for (size_t i = 0; i < n; i++)
        any |= list[i]->calibration.n > 0;
    if (!any)
        return false;
    fprintf(w->data, "%s\n", name);
    for (size_t i = 0; i < n; i++)
        if (list[i]->calibration.n)
            fprintf(w->data, "%.10g\t%.5g\n", budget_of(list[i]), 100 * report_predicted(&list[i]->calibration));
    report_plot_block(w);
    return true;
}

static int budget(struct report_writer *w, const struct report_cell *pair)
{
    static bool (*const transports[])(const struct report_cell *) = {report_is_tcp, report_is_udp};
    static const char *const names[][2] = {{"TCP, measured", "TCP, predicted"}, {"UDP, measured", "UDP, predicted"}};
    struct report_cell **list = calloc(w->set->n + 1, sizeof(struct report_cell *));
    char text[512], title[512], what[512], place[256], kinds[8] = "";
    size_t n = 0, most = 0;
    if (!list)
        return -ENOMEM;
    for (size_t t = 0; t < 2; t++) {
        size_t m = budgets(w->set, pair, transports[t], list);
        most = m > most ? m : most;
    }
    report_place(w->set, pair, place, sizeof(place));
    const char *at = w->figures->same_link ? "" : place, *sep = *at ? ", " : "";
    snprintf(text, sizeof(text), "%.90s / %.90s%s%.200s", pair->nat_a, pair->nat_b, sep, at);
    snprintf(what, sizeof(what), "%.90s-%.90s%s%.200s", pair->nat_a, pair->nat_b, *at ? "-" : "", at);
    report_plain(text, 56, title, sizeof(title));
    if (most >= 2 && report_plot_begin(w, REPORT_BUDGET, "budget.gp", "budget", what)) {
        for (size_t t = 0; t < 2; t++) {
            size_t m = budgets(w->set, pair, transports[t], list);
            if (!m)
                continue;
            put_measured(w, names[t][0], list, m);
            kinds[n++] = "TU"[t];
            if (put_predicted(w, names[t][1], list, m))
                kinds[n++] = "tu"[t];
        }
        report_plot_params(w, "n = %zu; blocks = '%s'; wd = 430; ht = 320; title = '%s'", n, kinds, title);
        report_plot_end(w);
    }
    free(list);
    return 0;
}

int report_plot_budgets(struct report_writer *w)
{
    struct report_kinds pairs;
    int res = report_kinds_find(w->set, report_same_pair_place, has_budget, &pairs);
    for (size_t i = 0; res == 0 && i < pairs.n; i++)
        res = budget(w, pairs.list[i]);
    free(pairs.list);
    return res;
}

/* ---- calibration ----------------------------------------------------------------------------- */

static bool predicts(const struct report_cell *c)
{
    return c->calibration.n > 0;
}

static void put_calibration(struct report_writer *w, const struct report_cell *kind)
{
    struct record_calibration sum = {0};
    struct record_calibration_point p;
    char name[96];
    for (size_t i = 0; i < w->set->n; i++)
        if (same_transport(&w->set->cells[i], kind))
            record_calibration_merge(&sum, &w->set->cells[i].calibration);
    snprintf(name, sizeof(name), "%s, %llu trials, Brier score %.4f",
             report_is_tcp(kind)   ? "TCP"
             : report_is_udp(kind) ? "UDP"
                                   : "?",
             (unsigned long long)sum.n, record_brier(&sum));
    fprintf(w->data, "%s\n", name);
    for (unsigned b = 0; b < RECORD_CALIBRATION_BINS; b++)
        if (record_calibration_point(&sum, b, RECORD_Z95, &p))
            fprintf(w->data, "%.5g\t%.5g\t%.5g\t%.5g\n", 100 * p.mean_p, 100 * p.measured, 100 * p.interval.lo,
                    100 * p.interval.hi);
    report_plot_block(w);
}

int report_plot_calibration(struct report_writer *w)
{
    struct report_kinds k;
    int res = report_kinds_find(w->set, same_transport, predicts, &k);
    if (res == 0 && k.n && report_plot_begin(w, REPORT_CALIBRATION, "calibration.gp", "calibration", "")) {
        for (size_t i = 0; i < k.n; i++)
            put_calibration(w, k.list[i]);
        report_plot_params(w, "n = %zu; wd = 520; ht = 560; title = 'Predicted and measured success'", k.n);
        report_plot_end(w);
    }
    free(k.list);
    return res;
}
