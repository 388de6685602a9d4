/* Success by NAT pair, and TCP minus UDP; and which plots there are. bench/report/NAME.gp says what data it expects. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/report_plots.h"

/* ---- success --------------------------------------------------------------------------------- */

/* The technique over UDP that stands opposite one over TCP: the one at the same place of its own list. */
static const struct report_cell *counterpart(const struct report_kinds *k, const struct report_cell *tcp)
{
    size_t at = 0, i;
    for (i = 0; i < k->n && k->list[i] != tcp; i++)
        at += report_same_place(k->list[i], tcp) && report_is_tcp(k->list[i]);
    for (i = 0; i < k->n; i++)
        if (report_same_place(k->list[i], tcp) && report_is_udp(k->list[i]) && at-- == 0)
            return k->list[i];
    return NULL;
}

static void put_names(struct report_writer *w, const struct report_names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        fprintf(w->data, "%zu\t", i);
        report_plot_name(w, names->list[i]);
        fputc('\n', w->data);
    }
}

static void put_cells(struct report_writer *w, const struct report_cell *kind, struct report_names *a,
                      struct report_names *b)
{
    for (size_t i = 0; i < w->set->n; i++) {
        const struct report_cell *c = &w->set->cells[i];
        char text[8];
        if (!report_same_panel(c, kind))
            continue;
        size_t y = report_name(a, c->nat_a), x = report_name(b, c->nat_b);
        if (!c->n)
            continue;
        report_percent(c->ok, c->n, text);
        double p = 100 * (double)c->ok / (double)c->n;
        fprintf(w->data, "%zu\t%zu\t%.4f\t%s\t%d\n", x, y, p, text, p < 55);
    }
}

static void heat(struct report_writer *w, const struct report_cell *kind)
{
    struct report_names a = {0}, b = {0};
    char what[512], title[512];
    report_plot_file(w, kind, true, what, sizeof(what));
    report_plot_title(w, kind, true, title, sizeof(title));
    if (!report_plot_begin(w, REPORT_SUCCESS, "heat.gp", "success", what))
        return;
    put_cells(w, kind, &a, &b);
    /* A block without a row would be no block. */
    fputs("-9\t-9\t0\t\t0\n", w->data);
    report_plot_block(w);
    put_names(w, &b);
    report_plot_block(w);
    put_names(w, &a);
    bool many = a.n > 10 || b.n > 10;
    /* Fewer names have room for larger letters. */
    double scale = many ? 1 : 1.15;
    int cw = many ? 24 : 44, ch = many ? 20 : 30;
    int left = (int)(scale * report_widest(&a)) + 18, bottom = (int)(scale * report_widest(&b)) + 18;
    int wd = left + (int)b.n * cw + 64, title_px = (int)strlen(title) * 8 + 20;
    wd = wd > title_px ? wd : title_px;
    w->now->wide = many;
    report_plot_params(
        w, "cols = %zu; rows = %zu; bar = %d; text = %d; left = %d; bottom = %d; wd = %d; ht = %d; title = '%s'", b.n,
        a.n, (int)a.n * ch >= 90, many ? 10 : 13, left, bottom, wd, bottom + (int)a.n * ch + 34, title);
    snprintf(w->now->caption, sizeof(w->now->caption), "Success of %.80s, %%", title);
    report_plot_end(w);
    report_names_free(&a);
    report_names_free(&b);
}

static void heat_of_pair(struct report_writer *w, const struct report_cell *kind, unsigned side)
{
    size_t before = w->figures->n;
    heat(w, kind);
    if (w->figures->n > before)
        w->figures->list[before].pair = side;
}

/* Each technique over TCP with its counterpart beside it; `drawn` says which cells' panels that were. */
static void heats_in_pairs(struct report_writer *w, const struct report_kinds *k, bool *drawn)
{
    for (size_t i = 0; i < k->n; i++) {
        const struct report_cell *tcp = k->list[i], *udp = report_is_tcp(tcp) ? counterpart(k, tcp) : NULL;
        if (!udp || w->figures->n + 2 > REPORT_MAX_FIGURES)
            continue;
        heat_of_pair(w, tcp, 1);
        heat_of_pair(w, udp, 2);
        drawn[tcp - w->set->cells] = drawn[udp - w->set->cells] = true;
    }
}

/* TCP and UDP side by side, then what has no counterpart, and the controls. */
static int all_heats(struct report_writer *w)
{
    struct report_kinds techniques, all;
    bool *drawn = calloc(w->set->n + 1, sizeof(*drawn));
    int res = report_kinds_find(w->set, report_same_panel, report_is_technique, &techniques);
    int more = report_kinds_find(w->set, report_same_panel, NULL, &all);
    if (!drawn || res < 0 || more < 0)
        res = -ENOMEM;
    if (res == 0)
        heats_in_pairs(w, &techniques, drawn);
    for (size_t i = 0; res == 0 && i < all.n; i++)
        if (!drawn[all.list[i] - w->set->cells])
            heat(w, all.list[i]);
    free(drawn);
    free(techniques.list);
    free(all.list);
    return res;
}

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

static void forest(struct report_writer *w, const struct report_cell *tcp, const struct report_cell *udp,
                   struct report_difference *list, size_t n)
{
    char what[512], title[512], text[512], place[256];
    size_t rows = n < FOREST_ROWS ? n : FOREST_ROWS, apart = 0;
    int left = 60;
    for (size_t i = 0; i < n; i++)
        apart += list[i].interval.lo > 0 || list[i].interval.hi < 0;
    if (n > FOREST_ROWS)
        qsort(list, n, sizeof(*list), by_size);
    report_place(w->set, tcp, place, sizeof(place));
    snprintf(what, sizeof(what), "%s-%s%s%s", tcp->label, udp->label, w->figures->same_link ? "" : "-",
             w->figures->same_link ? "" : place);
    snprintf(text, sizeof(text), "%s minus %s%s%s", tcp->label, udp->label, w->figures->same_link ? "" : ", ",
             w->figures->same_link ? "" : place);
    report_plain(text, 90, title, sizeof(title));
    if (!report_plot_begin(w, REPORT_DIFFERENCE, "forest.gp", "difference", what))
        return;
    for (size_t i = 0; i < rows; i++)
        fprintf(w->data, "%zu\t%.4f\t%.4f\t%.4f\n", i, 100 * list[i].diff, 100 * list[i].interval.lo,
                100 * list[i].interval.hi);
    report_plot_block(w);
    for (size_t i = 0; i < rows; i++) {
        snprintf(text, sizeof(text), "%.90s / %.90s", list[i].a->nat_a, list[i].a->nat_b);
        fprintf(w->data, "%zu\t", i);
        char plain[256];
        report_plain(text, 50, plain, sizeof(plain));
        fprintf(w->data, "%s\n", plain);
        int px = (int)((double)strlen(plain) * CHAR_PX);
        left = px > left ? px : left;
    }
    report_plot_params(w, "rows = %zu; left = %d; wd = %d; ht = %zu; title = '%s'", rows, left + 14, left + 14 + 460,
                       88 + 17 * rows, title);
    snprintf(w->now->caption, sizeof(w->now->caption), "%zu NAT pairs; %zu intervals exclude 0%s", n, apart,
             n > FOREST_ROWS ? "; shown are the pairs that differ most (all: bench compare --techniques)" : "");
    report_plot_end(w);
}

static int all_forests(struct report_writer *w)
{
    struct report_kinds k;
    int res = report_kinds_find(w->set, report_same_panel, report_is_technique, &k);
    struct report_difference *list = calloc(w->set->n + 1, sizeof(*list));
    if (!list)
        res = -ENOMEM;
    for (size_t i = 0; res == 0 && i < k.n; i++) {
        const struct report_cell *udp = report_is_tcp(k.list[i]) ? counterpart(&k, k.list[i]) : NULL;
        size_t n = udp ? differences(w->set, k.list[i], udp, list) : 0;
        if (n)
            forest(w, k.list[i], udp, list, n);
    }
    free(list);
    free(k.list);
    return res;
}

/* ---- all ------------------------------------------------------------------------------------- */

int report_plots_prepare(struct report_set *set, const char *dir, struct report_figures *out)
{
    static int (*const all[])(struct report_writer *) = {all_heats,
                                                         all_forests,
                                                         report_plot_latencies,
                                                         report_plot_failures,
                                                         report_plot_budgets,
                                                         report_plot_calibration,
                                                         report_plot_qualities};
    struct report_writer w = {.set = set, .figures = out, .dir = dir};
    *out = (struct report_figures){.same_link = true};
    for (size_t i = 1; i < set->n; i++)
        out->same_link &= report_same_place(&set->cells[i], &set->cells[0]);
    int res = 0;
    for (size_t i = 0; res == 0 && i < BASE_ARRAY_LEN(all); i++)
        res = all[i](&w);
    return res < 0 ? res : w.error;
}
