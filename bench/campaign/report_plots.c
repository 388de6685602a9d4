/* TCP minus UDP; and which plots there are. bench/report/NAME.gp says what data it expects. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/report_plots.h"

/* ---- TCP minus UDP --------------------------------------------------------------------------- */

static struct report_cell *cell_of(struct report_set *set, const struct report_cell *pair, const char *label)
{
    char name[sizeof(pair->name)];
    int len = snprintf(name, sizeof(name), "%s/%s/%s/%s", pair->nat_a, pair->nat_b, label, pair->link);
    return (size_t)len < sizeof(name) ? report_cell_find(set, pair->run, name) : NULL;
}

/* Differences of all pairs of NATs, of two techniques of one place. */
static size_t differences(struct report_set *set, const struct report_cell *tcp, const struct report_cell *udp,
                          struct report_difference *out)
{
    size_t n = 0;
    for (size_t i = 0; i < set->n; i++) {
        struct report_cell *a = &set->cells[i], *b = report_same_panel(a, tcp) ? cell_of(set, a, udp->label) : NULL;
        if (b && a->n && b->n)
            report_compare(a, b, false, &out[n++]);
    }
    return n;
}

static int by_size(const void *x, const void *y)
{
    const struct report_difference *a = x, *b = y;
    double one = fabs(a->diff), other = fabs(b->diff);
    if (one != other)
        return one < other ? 1 : -1;
    return a->a < b->a ? -1 : a->a > b->a;
}

#define FOREST_ROWS 40

/* The place of a pairing, behind `between`; nothing where all have the same one. */
static void name_place(const struct report_writer *w, const struct report_pairing *p, const char *between, char *out,
                       size_t cap)
{
    char place[256];
    report_place(w->set, p->tcp, place, sizeof(place));
    snprintf(out, cap, "%s%s", w->figures->same_link ? "" : between, w->figures->same_link ? "" : place);
}

static void title_pair(const struct report_writer *w, const struct report_pairing *p, char *out, size_t cap)
{
    char text[512], place[264];
    name_place(w, p, ", ", place, sizeof(place));
    snprintf(text, sizeof(text), "%s, %s, minus %s, %s%s", p->tcp->label, report_transport(p->tcp), p->udp->label,
             report_transport(p->udp), place);
    report_plain(text, 90, out, cap);
}

static void put_row_names(struct report_writer *w, const struct report_difference *list, size_t rows, int *left)
{
    for (size_t i = 0; i < rows; i++) {
        char text[256], plain[256];
        snprintf(text, sizeof(text), "%.90s / %.90s", list[i].a->nat_a, list[i].a->nat_b);
        report_plain(text, 50, plain, sizeof(plain));
        fprintf(w->data, "%zu\t%s\n", i, plain);
        int px = (int)((double)strlen(plain) * CHAR_PX);
        *left = px > *left ? px : *left;
    }
}

static void forest(struct report_writer *w, const char *what, const char *title, const struct report_counts *counts,
                   struct report_difference *list, size_t n)
{
    size_t rows = n < FOREST_ROWS ? n : FOREST_ROWS;
    int left = 60;
    if (n > FOREST_ROWS)
        qsort(list, n, sizeof(*list), by_size);
    if (!report_plot_begin(w, REPORT_DIFFERENCE, "forest.gp", "difference", what))
        return;
    for (size_t i = 0; i < rows; i++)
        fprintf(w->data, "%zu\t%.4f\t%.4f\t%.4f\t%d\n", i, 100 * list[i].diff, 100 * list[i].interval.lo,
                100 * list[i].interval.hi, list[i].p_holm <= REPORT_ALPHA);
    report_plot_block(w);
    put_row_names(w, list, rows, &left);
    report_plot_params(w, "rows = %zu; left = %d; wd = %d; ht = %zu; title = '%s'", rows, left + 14, left + 14 + 460,
                       88 + 17 * rows, title);
    snprintf(w->now->caption, sizeof(w->now->caption),
             "%zu NAT pairs; %zu intervals exclude 0; filled: also after Holm's adjustment (%zu)%s", counts->n,
             counts->above + counts->below, counts->holm,
             n > FOREST_ROWS ? "; shown are the pairs that differ most (all: bench compare --techniques)" : "");
    report_plot_end(w);
}

/* A map of fewer pairs shows no more than the forest. */
#define MAP_PAIRS 9

static int compare_pair(struct report_writer *w, const struct report_pairings *all, const struct report_pairing *p,
                        struct report_difference *list)
{
    char what[512], place[264], title[512], caption[512];
    size_t n = differences(w->set, p->tcp, p->udp, list);
    int res = report_adjust(list, n);
    if (res < 0 || !n)
        return res;
    struct report_counts k = report_count(list, n);
    title_pair(w, p, title, sizeof(title));
    name_place(w, p, "-", place, sizeof(place));
    snprintf(what, sizeof(what), "%s-%s%s", p->tcp->label, p->udp->label, place);
    snprintf(
        caption, sizeof(caption),
        "Success of %.200s: percentage points. Of %zu NAT pairs the first is better in %zu and the second in %zu "
        "(95 %% intervals that exclude 0; without any difference up to %.0f would by chance). Framed: differs also "
        "after Holm's adjustment (%zu; %zu after Benjamini and Hochberg's)",
        title, k.n, k.above, k.below, 0.05 * (double)k.n, k.holm, k.bh);
    size_t map = w->figures->n;
    bool both = n >= MAP_PAIRS && map + 2 <= REPORT_MAX_FIGURES;
    if (both)
        report_plot_difference(w, p->tcp, all->n == 1 ? "" : what, title, caption, list, n);
    forest(w, what, title, &k, list, n);
    if (both && w->figures->n == map + 2) {
        w->figures->list[map].pair = 1;
        w->figures->list[map + 1].pair = 2;
    }
    return 0;
}

static int all_differences(struct report_writer *w)
{
    struct report_pairings pairs;
    int res = report_pairings_find(w->set, &pairs);
    if (res < 0)
        return res;
    struct report_difference *list = calloc(w->set->n + 1, sizeof(*list));
    if (!list)
        res = -ENOMEM;
    for (size_t i = 0; res == 0 && i < pairs.n; i++)
        res = compare_pair(w, &pairs, &pairs.list[i], list);
    free(list);
    report_pairings_free(&pairs);
    return res;
}

/* ---- all ------------------------------------------------------------------------------------- */

int report_plots_prepare(struct report_set *set, const char *dir, struct report_figures *out)
{
    static int (*const all[])(struct report_writer *) = {
        report_plot_success, all_differences,         report_plot_latencies, report_plot_failures,
        report_plot_budgets, report_plot_calibration, report_plot_qualities};
    struct report_writer w = {.set = set, .figures = out, .dir = dir};
    *out = (struct report_figures){.same_link = true};
    for (size_t i = 1; i < set->n; i++)
        out->same_link &= report_same_place(&set->cells[i], &set->cells[0]);
    int res = 0;
    for (size_t i = 0; res == 0 && i < BASE_ARRAY_LEN(all); i++)
        res = all[i](&w);
    return res < 0 ? res : w.error;
}
