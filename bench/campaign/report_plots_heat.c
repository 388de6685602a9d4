/* NAT by NAT: success, the median time to connect, and TCP minus UDP. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/report_plots.h"

/* Decides the colour of a field's letters. */
enum { GROUND_LIGHT, GROUND_DARK, GROUND_EVEN };

/* What a field shows: false = nothing. The value is on the palette's scale. */
struct field {
    double value;
    char text[8];
    int ground;  /* GROUND_... */
    bool marked; /* with a frame */
};
typedef bool field_fn(struct report_cell *cell, const void *user, struct field *out);

struct heat {
    enum report_section section;
    const char *id, *what; /* of its files */
    const char *title, *caption;
    const char *kind; /* "success", "ms" or "points": bench/report/heat.gp has a palette for each */
    double lo, hi;    /* of the scale */
    field_fn *field;
    const void *user;
};

static void put_names(struct report_writer *w, const struct report_names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        fprintf(w->data, "%zu\t", i);
        report_plot_name(w, names->list[i]);
        fputc('\n', w->data);
    }
    report_plot_block(w);
}

static void put_fields(struct report_writer *w, const struct heat *h, const struct report_cell *kind,
                       struct report_names *a, struct report_names *b)
{
    for (size_t i = 0; i < w->set->n; i++) {
        struct report_cell *c = &w->set->cells[i];
        struct field f = {.value = 0};
        if (!report_same_panel(c, kind))
            continue;
        size_t y = report_name(a, c->nat_a), x = report_name(b, c->nat_b);
        if (h->field(c, h->user, &f))
            fprintf(w->data, "%zu\t%zu\t%.4f\t%s\t%d\t%d\n", x, y, f.value, f.text, f.ground, f.marked);
    }
    /* A block without a row would be no block. */
    fputs("-9\t-9\t0\t\t0\t0\n", w->data);
    report_plot_block(w);
}

/* More names than this, and a field is small. */
#define FEW_NAMES 10

static void size_heat(struct report_writer *w, const struct heat *h, const struct report_names *a,
                      const struct report_names *b)
{
    bool many = a->n > FEW_NAMES || b->n > FEW_NAMES;
    /* Fewer names have room for larger letters. */
    double scale = many ? 1 : 1.15;
    int cw = many ? 27 : 44, ch = many ? 20 : 30;
    int left = (int)(scale * report_widest(a)) + 18, bottom = (int)(scale * report_widest(b)) + 18;
    int wd = left + (int)b->n * cw + 64, title_px = (int)strlen(h->title) * 8 + 20;
    wd = wd > title_px ? wd : title_px;
    w->now->wide = many;
    report_plot_params(w,
                       "kind = '%s'; lo = %.6g; hi = %.6g; cols = %zu; rows = %zu; bar = %d; text = %d; left = %d; "
                       "bottom = %d; wd = %d; ht = %d; title = '%s'",
                       h->kind, h->lo, h->hi, b->n, a->n, (int)a->n * ch >= 90, many ? 10 : 13, left, bottom, wd,
                       bottom + (int)a->n * ch + 34, h->title);
}

static bool heat(struct report_writer *w, const struct heat *h, const struct report_cell *kind, unsigned side)
{
    struct report_names a = {0}, b = {0};
    if (!report_plot_begin(w, h->section, "heat.gp", h->id, h->what))
        return false;
    w->now->pair = side;
    put_fields(w, h, kind, &a, &b);
    put_names(w, &b);
    put_names(w, &a);
    size_heat(w, h, &a, &b);
    snprintf(w->now->caption, sizeof(w->now->caption), "%s", h->caption);
    report_plot_end(w);
    report_names_free(&a);
    report_names_free(&b);
    return true;
}

/* ---- success --------------------------------------------------------------------------------- */

static bool success_field(struct report_cell *c, const void *user, struct field *out)
{
    (void)user;
    if (!c->n)
        return false;
    out->value = 100 * (double)c->ok / (double)c->n;
    out->ground = out->value < 55 ? GROUND_DARK : GROUND_LIGHT;
    report_percent(c->ok, c->n, out->text);
    return true;
}

static void success(struct report_writer *w, const struct report_cell *kind, unsigned side)
{
    char what[512], title[512], caption[600];
    report_plot_file(w, kind, true, what, sizeof(what));
    report_plot_title(w, kind, true, title, sizeof(title));
    snprintf(caption, sizeof(caption), "Success of %.80s, %%", title);
    struct heat h = {REPORT_SUCCESS, "heatmap", what, title, caption, "success", 0, 100, success_field, NULL};
    heat(w, &h, kind, side);
}

/* ---- the median time to connect --------------------------------------------------------------- */

struct scale {
    double lo, hi; /* ms */
};

static bool median_field(struct report_cell *c, const void *user, struct field *out)
{
    const struct scale *s = user;
    if (!c->n_connect)
        return false;
    out->value = (double)record_quantile(c->connect_ns, c->n_connect, 0.5) / 1e6;
    /* Slow is dark. */
    bool slow = log(out->value / s->lo) > 0.45 * log(s->hi / s->lo);
    out->ground = slow ? GROUND_DARK : GROUND_LIGHT;
    report_ms(out->value, out->text);
    return true;
}

/* One scale for all techniques of a place. */
static struct scale medians_of(struct report_set *set, const struct report_cell *place)
{
    struct scale s = {INFINITY, 0};
    for (size_t i = 0; i < set->n; i++) {
        struct report_cell *c = &set->cells[i];
        if (!c->n_connect || !report_same_place(c, place))
            continue;
        double ms = (double)record_quantile(c->connect_ns, c->n_connect, 0.5) / 1e6;
        s.lo = fmin(s.lo, ms);
        s.hi = fmax(s.hi, ms);
    }
    s.lo *= 0.95;
    s.hi *= 1.05;
    return s;
}

static void median(struct report_writer *w, const struct report_cell *kind, unsigned side)
{
    char what[512], title[512], text[600];
    struct scale s = medians_of(w->set, kind);
    if (!(s.lo <= s.hi))
        return;
    report_plot_file(w, kind, true, what, sizeof(what));
    report_plot_title(w, kind, true, title, sizeof(title));
    snprintf(text, sizeof(text), "Median time to connect of %.80s, ms", title);
    struct heat h = {REPORT_LATENCY, "median", what, title, text, "ms", s.lo, s.hi, median_field, &s};
    size_t before = w->figures->n;
    if (heat(w, &h, kind, side))
        w->figures->list[before].group = "The median of each NAT pair";
}

/* ---- TCP and UDP side by side, then what has no counterpart, and the controls ------------------ */

typedef void draw_fn(struct report_writer *w, const struct report_cell *kind, unsigned side);

static int in_pairs(struct report_writer *w, draw_fn *draw, bool (*wanted)(const struct report_cell *))
{
    struct report_pairings pairs;
    struct report_kinds all;
    int res = report_pairings_find(w->set, &pairs);
    if (res < 0)
        return res;
    bool *drawn = calloc(w->set->n + 1, sizeof(*drawn));
    res = drawn ? report_kinds_find(w->set, report_same_panel, wanted, &all) : -ENOMEM;
    for (size_t i = 0; res == 0 && i < pairs.n; i++) {
        size_t tcp = (size_t)(pairs.list[i].tcp - w->set->cells), udp = (size_t)(pairs.list[i].udp - w->set->cells);
        if (drawn[tcp] || drawn[udp] || w->figures->n + 2 > REPORT_MAX_FIGURES)
            continue;
        draw(w, pairs.list[i].tcp, 1);
        draw(w, pairs.list[i].udp, 2);
        drawn[tcp] = drawn[udp] = true;
    }
    for (size_t i = 0; res == 0 && i < all.n; i++)
        if (!drawn[all.list[i] - w->set->cells])
            draw(w, all.list[i], 0);
    if (drawn && res == 0)
        free(all.list);
    free(drawn);
    report_pairings_free(&pairs);
    return res;
}

int report_plot_success(struct report_writer *w)
{
    return in_pairs(w, success, NULL);
}

int report_plot_medians(struct report_writer *w)
{
    return in_pairs(w, median, report_is_technique);
}

/* ---- TCP minus UDP --------------------------------------------------------------------------- */

struct differences {
    const struct report_difference *list;
    size_t n;
};

static bool difference_field(struct report_cell *c, const void *user, struct field *out)
{
    const struct differences *d = user;
    const struct report_difference *found = NULL;
    for (size_t i = 0; i < d->n && !found; i++)
        found = d->list[i].a == c ? &d->list[i] : NULL;
    if (!found || isnan(found->diff))
        return false;
    out->value = 100 * found->diff;
    bool even = fabs(out->value) < 0.5;
    out->ground = even ? GROUND_EVEN : fabs(out->value) > 60 ? GROUND_DARK : GROUND_LIGHT;
    out->marked = found->p_holm <= REPORT_ALPHA;
    /* No "-0". */
    snprintf(out->text, sizeof(out->text), even ? "0" : "%+.0f", out->value);
    return true;
}

void report_plot_difference(struct report_writer *w, const struct report_cell *tcp, const char *what, const char *title,
                            const char *caption, const struct report_difference *list, size_t n)
{
    struct differences d = {list, n};
    struct heat h = {REPORT_DIFFERENCE, "tcp-udp", what, title, caption, "points", -100, 100, difference_field, &d};
    heat(w, &h, tcp, 0);
}
