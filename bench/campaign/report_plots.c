/* Which plots a report has, and the data of each: bench/report/NAME.gp says what it expects. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/report.h"

/* Characters of a name beside an axis, and how wide one is at 11 px. */
#define NAME_CHARS 34
#define CHAR_PX    6.4

/* ---- what belongs together ------------------------------------------------------------------- */

/* Cells of one run and link are drawn together, others never. */
static bool same_place(const struct report_cell *a, const struct report_cell *b)
{
    return a->run == b->run && strcmp(a->link, b->link) == 0;
}

static bool same_pair(const struct report_cell *a, const struct report_cell *b)
{
    return strcmp(a->nat_a, b->nat_a) == 0 && strcmp(a->nat_b, b->nat_b) == 0;
}

static bool same_label(const struct report_cell *a, const struct report_cell *b)
{
    return strcmp(a->label, b->label) == 0;
}

typedef bool same_fn(const struct report_cell *a, const struct report_cell *b);

static bool same_panel(const struct report_cell *a, const struct report_cell *b)
{
    return same_place(a, b) && same_label(a, b);
}

static bool same_pair_place(const struct report_cell *a, const struct report_cell *b)
{
    return same_place(a, b) && same_pair(a, b);
}

/* Cells that are the first of their kind, in order; the array is the caller's. */
struct kinds {
    struct report_cell **list;
    size_t n;
};

static int find_kinds(struct report_set *set, same_fn *same, bool (*wanted)(const struct report_cell *),
                      struct kinds *out)
{
    *out = (struct kinds){.list = calloc(set->n + 1, sizeof(*out->list))};
    if (!out->list)
        return -ENOMEM;
    for (size_t i = 0; i < set->n; i++) {
        bool known = wanted && !wanted(&set->cells[i]);
        /* Most are of the kind that came last. */
        for (size_t k = out->n; k > 0 && !known; k--)
            known = same(&set->cells[i], out->list[k - 1]);
        if (!known)
            out->list[out->n++] = &set->cells[i];
    }
    return 0;
}

static bool is_technique(const struct report_cell *c)
{
    return !report_is_control(c);
}

static bool is_tcp(const struct report_cell *c)
{
    return strcmp(c->transport, "tcp") == 0;
}

static bool is_udp(const struct report_cell *c)
{
    return strcmp(c->transport, "udp") == 0;
}

void report_place(const struct report_set *set, const struct report_cell *cell, char *out, size_t cap)
{
    if (set->n_runs > 1)
        snprintf(out, cap, "%s: %s", set->runs[cell->run].name, cell->link);
    else
        snprintf(out, cap, "%s", cell->link);
}

/* ---- figures --------------------------------------------------------------------------------- */

struct writer {
    struct report_set *set;
    struct report_figures *figures;
    const char *dir;
    struct report_figure *now;
    FILE *data;
    int error;
};

static bool id_taken(const struct report_figures *f, const char *id)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->list[i].id, id) == 0)
            return true;
    return false;
}

/* Two cells' names may become the same file name: the later one gets a number. */
static void make_id(const struct report_figures *f, const char *kind, const char *what, char id[REPORT_ID_LEN])
{
    char part[REPORT_ID_LEN - 32];
    report_file_part(what, part, sizeof(part));
    snprintf(id, REPORT_ID_LEN, "%.16s%s%s", kind, *part ? "-" : "", part);
    for (unsigned i = 2; id_taken(f, id); i++)
        snprintf(id, REPORT_ID_LEN, "%.16s%s%s-%u", kind, *part ? "-" : "", part, i);
}

/* Begins a figure: its data go to w->data. False: no more figures, or an error. */
static bool begin(struct writer *w, enum report_section section, const char *script, const char *kind, const char *what)
{
    struct report_figures *f = w->figures;
    char path[PATH_MAX];
    if (w->error)
        return false;
    if (f->n == REPORT_MAX_FIGURES) {
        f->left_out++;
        return false;
    }
    w->now = &f->list[f->n];
    *w->now = (struct report_figure){.section = section};
    make_id(f, kind, what, w->now->id);
    snprintf(w->now->script, sizeof(w->now->script), "%s", script);
    bool fits = (size_t)snprintf(path, sizeof(path), "%s/%s.tsv", w->dir, w->now->id) < sizeof(path);
    w->data = fits ? fopen(path, "we") : NULL;
    if (!w->data)
        w->error = fits ? -errno : -ENAMETOOLONG;
    return w->data != NULL;
}

__attribute__((format(printf, 2, 3))) static void set_params(struct writer *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(w->now->params, sizeof(w->now->params), fmt, args);
    va_end(args);
}

static void end(struct writer *w)
{
    bool bad = ferror(w->data) != 0;
    if (fclose(w->data) != 0 || bad)
        w->error = -EIO;
    w->data = NULL;
    w->figures->n++;
}

static void put_name(struct writer *w, const char *text)
{
    char plain[256];
    report_plain(text, NAME_CHARS, plain, sizeof(plain));
    fputs(plain, w->data);
}

/* What ends a block; the next one begins. */
static void next_block(struct writer *w)
{
    fputs("\n\n", w->data);
}

static int name_px(const char *text)
{
    size_t n = strlen(text);
    return (int)((double)(n < NAME_CHARS ? n : NAME_CHARS + 3) * CHAR_PX);
}

static int widest(const struct report_names *names)
{
    int px = 30;
    for (size_t i = 0; i < names->n; i++)
        px = name_px(names->list[i]) > px ? name_px(names->list[i]) : px;
    return px;
}

/* A title out of a label and a place, both foreign. */
static void title_of(const struct writer *w, const struct report_cell *c, bool label, char *out, size_t cap)
{
    char place[2 * REPORT_PART_LEN + 8], text[4 * REPORT_PART_LEN];
    report_place(w->set, c, place, sizeof(place));
    const char *transport = is_tcp(c) ? "TCP" : is_udp(c) ? "UDP" : "";
    if (label)
        snprintf(text, sizeof(text), "%s%s%s%s%s", c->label, *transport ? ", " : "", transport,
                 w->figures->same_link ? "" : ", ", w->figures->same_link ? "" : place);
    else
        snprintf(text, sizeof(text), "%s", place);
    report_plain(text, 70, out, cap);
}

static void file_of(const struct writer *w, const struct report_cell *c, bool label, char *out, size_t cap)
{
    char place[2 * REPORT_PART_LEN + 8] = "";
    if (!w->figures->same_link)
        report_place(w->set, c, place, sizeof(place));
    snprintf(out, cap, "%s%s%s", label ? c->label : "", label && *place ? "-" : "", place);
}

/* ---- success --------------------------------------------------------------------------------- */

static void put_names(struct writer *w, const struct report_names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        fprintf(w->data, "%zu\t", i);
        put_name(w, names->list[i]);
        fputc('\n', w->data);
    }
}

static void put_cells(struct writer *w, const struct report_cell *kind, struct report_names *a, struct report_names *b)
{
    for (size_t i = 0; i < w->set->n; i++) {
        const struct report_cell *c = &w->set->cells[i];
        char text[8];
        if (!same_panel(c, kind))
            continue;
        size_t y = report_name(a, c->nat_a), x = report_name(b, c->nat_b);
        if (!c->n)
            continue;
        report_percent(c->ok, c->n, text);
        double p = 100 * (double)c->ok / (double)c->n;
        fprintf(w->data, "%zu\t%zu\t%.4f\t%s\t%d\n", x, y, p, text, p < 55);
    }
}

static void heat(struct writer *w, const struct report_cell *kind)
{
    struct report_names a = {0}, b = {0};
    char what[512], title[512];
    file_of(w, kind, true, what, sizeof(what));
    title_of(w, kind, true, title, sizeof(title));
    if (!begin(w, REPORT_SUCCESS, "heat.gp", "success", what))
        return;
    put_cells(w, kind, &a, &b);
    /* A block without a row would be no block. */
    fputs("-9\t-9\t0\t\t0\n", w->data);
    next_block(w);
    put_names(w, &b);
    next_block(w);
    put_names(w, &a);
    bool many = a.n > 10 || b.n > 10;
    int cw = many ? 27 : 44, ch = many ? 21 : 30, left = widest(&a) + 16, bottom = widest(&b) + 16;
    int wd = left + (int)b.n * cw + 64, title_px = (int)strlen(title) * 8 + 20;
    wd = wd > title_px ? wd : title_px;
    set_params(w, "cols = %zu; rows = %zu; text = %d; left = %d; bottom = %d; wd = %d; ht = %d; title = '%s'", b.n, a.n,
               many ? 10 : 13, left, bottom, wd, bottom + (int)a.n * ch + 34, title);
    snprintf(w->now->caption, sizeof(w->now->caption), "Success of %.80s, %%", title);
    end(w);
    report_names_free(&a);
    report_names_free(&b);
}

/* TCP and UDP alternate, so that they stand side by side; then what is neither. */
static int all_heats(struct writer *w)
{
    struct kinds k;
    int res = find_kinds(w->set, same_panel, NULL, &k);
    size_t tcp = 0, udp = 0;
    while (res == 0 && (tcp < k.n || udp < k.n)) {
        while (tcp < k.n && !(is_technique(k.list[tcp]) && is_tcp(k.list[tcp])))
            tcp++;
        if (tcp < k.n)
            heat(w, k.list[tcp++]);
        while (udp < k.n && !(is_technique(k.list[udp]) && is_udp(k.list[udp])))
            udp++;
        if (udp < k.n)
            heat(w, k.list[udp++]);
    }
    for (size_t i = 0; res == 0 && i < k.n; i++)
        if (!is_technique(k.list[i]) || !(is_tcp(k.list[i]) || is_udp(k.list[i])))
            heat(w, k.list[i]);
    free(k.list);
    return res;
}

/* ---- TCP minus UDP --------------------------------------------------------------------------- */

/* The technique over UDP that stands opposite one over TCP: the one at the same place of its own list. */
static const struct report_cell *counterpart(const struct kinds *k, const struct report_cell *tcp)
{
    size_t at = 0, i;
    for (i = 0; i < k->n && k->list[i] != tcp; i++)
        at += same_place(k->list[i], tcp) && is_tcp(k->list[i]);
    for (i = 0; i < k->n; i++)
        if (same_place(k->list[i], tcp) && is_udp(k->list[i]) && at-- == 0)
            return k->list[i];
    return NULL;
}

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
        struct report_cell *a = &set->cells[i], *b = same_panel(a, tcp) ? cell_of(set, a, udp->label) : NULL;
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

static void forest(struct writer *w, const struct report_cell *tcp, const struct report_cell *udp,
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
    if (!begin(w, REPORT_DIFFERENCE, "forest.gp", "difference", what))
        return;
    for (size_t i = 0; i < rows; i++)
        fprintf(w->data, "%zu\t%.4f\t%.4f\t%.4f\n", i, 100 * list[i].diff, 100 * list[i].interval.lo,
                100 * list[i].interval.hi);
    next_block(w);
    for (size_t i = 0; i < rows; i++) {
        snprintf(text, sizeof(text), "%.90s / %.90s", list[i].a->nat_a, list[i].a->nat_b);
        fprintf(w->data, "%zu\t", i);
        char plain[256];
        report_plain(text, 50, plain, sizeof(plain));
        fprintf(w->data, "%s\n", plain);
        int px = (int)((double)strlen(plain) * CHAR_PX);
        left = px > left ? px : left;
    }
    set_params(w, "rows = %zu; left = %d; wd = %d; ht = %zu; title = '%s'", rows, left + 14, left + 14 + 460,
               88 + 17 * rows, title);
    snprintf(w->now->caption, sizeof(w->now->caption), "%zu NAT pairs; %zu intervals exclude 0%s", n, apart,
             n > FOREST_ROWS ? "; shown are the pairs that differ most (all: bench compare --techniques)" : "");
    end(w);
}

static int all_forests(struct writer *w)
{
    struct kinds k;
    int res = find_kinds(w->set, same_panel, is_technique, &k);
    struct report_difference *list = calloc(w->set->n + 1, sizeof(*list));
    if (!list)
        res = -ENOMEM;
    for (size_t i = 0; res == 0 && i < k.n; i++) {
        const struct report_cell *udp = is_tcp(k.list[i]) ? counterpart(&k, k.list[i]) : NULL;
        size_t n = udp ? differences(w->set, k.list[i], udp, list) : 0;
        if (n)
            forest(w, k.list[i], udp, list, n);
    }
    free(list);
    free(k.list);
    return res;
}

/* ---- time to connect ------------------------------------------------------------------------- */

struct pick {
    const struct report_cell *kind;
    same_fn *same;
};

static bool is_picked(const struct report_cell *c, const void *user)
{
    const struct pick *p = user;
    return is_technique(c) && p->same(c, p->kind);
}

static void put_ms(void *user, double ns, double share)
{
    const struct writer *w = user;
    fprintf(w->data, "%.6g\t%.6g\n", ns / 1e6, 100 * share);
}

#define CDF_POINTS 400

/* One series: from the axis to its first step, and from its last one on to the end. */
static void put_cdf(struct writer *w, const char *name, const struct report_sample *s, const struct report_axis *axis)
{
    char text[160], plain[200];
    snprintf(text, sizeof(text), "%.90s, %zu of %llu", name, s->n, (unsigned long long)s->trials);
    report_plain(text, 60, plain, sizeof(plain));
    fprintf(w->data, "%s\n%.6g\t0\n", plain, axis->lo);
    report_cdf(s, CDF_POINTS, put_ms, w);
    fprintf(w->data, "%.6g\t%.6g\n", axis->hi, s->trials ? 100 * (double)s->n / (double)s->trials : 0);
    next_block(w);
}

#define HIST_BINS 60

static void histogram(struct writer *w, const struct report_cell *kind, const struct report_sample *s,
                      const struct report_axis *axis, size_t at)
{
    struct report_bin bins[HIST_BINS];
    char what[512], title[512];
    file_of(w, kind, true, what, sizeof(what));
    title_of(w, kind, true, title, sizeof(title));
    if (!s->n || !begin(w, REPORT_LATENCY, "hist.gp", "histogram", what))
        return;
    report_histogram(s, axis, bins, HIST_BINS);
    for (size_t i = 0; i < HIST_BINS; i++)
        if (bins[i].share > 0)
            fprintf(w->data, "%.6g\t%.6g\t%.6g\n", bins[i].lo, bins[i].hi, 100 * bins[i].share);
    set_params(w, "at = %zu; lo = %.6g; hi = %.6g; logarithmic = %d; wd = 430; ht = 250; title = '%s'", at, axis->lo,
               axis->hi, axis->logarithmic, title);
    snprintf(w->now->caption, sizeof(w->now->caption), "%zu successes of %llu trials", s->n,
             (unsigned long long)s->trials);
    end(w);
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
    return same_panel(a, b) && same_pair(a, b);
}

static int gather(struct writer *w, const struct kinds *all, const struct report_cell *group, same_fn *in_group,
                  same_fn *series, struct latencies *out)
{
    *out = (struct latencies){.kinds = calloc(all->n + 1, sizeof(*out->kinds)),
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

static void cdf(struct writer *w, const struct latencies *l, const char *kind, const char *what, const char *title)
{
    size_t any = 0;
    for (size_t i = 0; i < l->n; i++)
        any += l->samples[i].n;
    if (!any || !begin(w, REPORT_LATENCY, "cdf.gp", kind, what))
        return;
    bool small = strcmp(kind, "cdf-pair") == 0;
    for (size_t i = 0; i < l->n; i++)
        put_cdf(w, l->kinds[i]->label, &l->samples[i], &l->axis);
    set_params(w, "n = %zu; lo = %.6g; hi = %.6g; logarithmic = %d; wd = %d; ht = %zu; title = '%s'", l->n, l->axis.lo,
               l->axis.hi, l->axis.logarithmic, small ? 430 : 760, (small ? 250u : 380u) + 18 * ((l->n + 1) / 2),
               title);
    snprintf(w->now->caption, sizeof(w->now->caption), "%s",
             small ? "One NAT pair" : "All NAT pairs of a technique together, each trial counted once");
    end(w);
}

/* With more pairs than this, curves of each would fill the page. */
#define PAIR_CURVES 16

static int pair_cdfs(struct writer *w, const struct report_cell *place, struct report_axis axis)
{
    struct kinds pairs, cells;
    int res = find_kinds(w->set, same_pair_place, is_technique, &pairs);
    if (res == 0 && (res = find_kinds(w->set, same_cell, is_technique, &cells)) < 0)
        free(pairs.list);
    if (res < 0)
        return res;
    size_t here = 0;
    for (size_t i = 0; i < pairs.n; i++)
        here += same_place(pairs.list[i], place);
    for (size_t i = 0; res == 0 && here > 1 && here <= PAIR_CURVES && i < pairs.n; i++) {
        struct latencies l;
        char text[512], title[512], what[512], at[256];
        if (!same_place(pairs.list[i], place))
            continue;
        res = gather(w, &cells, pairs.list[i], same_pair_place, same_cell, &l);
        snprintf(text, sizeof(text), "%.90s / %.90s", pairs.list[i]->nat_a, pairs.list[i]->nat_b);
        report_plain(text, 56, title, sizeof(title));
        file_of(w, place, false, at, sizeof(at));
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

static int place_latency(struct writer *w, const struct kinds *panels, const struct report_cell *place)
{
    struct latencies l;
    char what[256], title[512], text[300], at[256];
    int res = gather(w, panels, place, same_place, same_panel, &l);
    file_of(w, place, false, what, sizeof(what));
    report_place(w->set, place, at, sizeof(at));
    snprintf(text, sizeof(text), "Time to connect, %.200s", at);
    report_plain(text, 90, title, sizeof(title));
    if (res == 0)
        cdf(w, &l, "cdf", what, title);
    for (size_t i = 0; res == 0 && i < l.n; i++)
        histogram(w, l.kinds[i], &l.samples[i], &l.axis, i);
    struct report_axis axis = l.axis;
    latencies_free(&l);
    return res < 0 ? res : pair_cdfs(w, place, axis);
}

static int all_latencies(struct writer *w)
{
    struct kinds panels, places;
    int res = find_kinds(w->set, same_panel, is_technique, &panels);
    if (res < 0)
        return res;
    res = find_kinds(w->set, same_place, is_technique, &places);
    for (size_t i = 0; res == 0 && i < places.n; i++)
        res = place_latency(w, &panels, places.list[i]);
    free(places.list);
    free(panels.list);
    return res;
}

/* ---- why not --------------------------------------------------------------------------------- */

struct bar {
    uint64_t n, ok, reasons[REPORT_REASONS];
};

static struct bar bar_of(const struct report_set *set, const struct report_cell *kind)
{
    struct bar bar = {0};
    for (size_t i = 0; i < set->n; i++) {
        const struct report_cell *c = &set->cells[i];
        if (!same_panel(c, kind))
            continue;
        bar.n += c->n;
        bar.ok += c->ok;
        for (size_t r = 0; r < set->n_reasons; r++)
            bar.reasons[r] += c->reasons[r];
    }
    return bar;
}

/* Block `at`: 0 = the successes, then a reason each. */
static void put_segments(struct writer *w, const struct bar *bars, size_t n, size_t at)
{
    put_name(w, at ? w->set->reasons[at - 1] : "ok");
    fputc('\n', w->data);
    for (size_t i = 0; i < n; i++) {
        uint64_t from = at ? bars[i].ok : 0, len = at ? bars[i].reasons[at - 1] : bars[i].ok;
        for (size_t r = 0; r + 1 < at; r++)
            from += bars[i].reasons[r];
        double scale = bars[i].n ? 100 / (double)bars[i].n : 0;
        fprintf(w->data, "%zu\t%.5g\t%.5g\n", i, (double)from * scale, (double)(from + len) * scale);
    }
    next_block(w);
}

static int failures(struct writer *w)
{
    struct kinds k;
    int res = find_kinds(w->set, same_panel, NULL, &k), left = 60;
    struct bar *bars = calloc(k.n + 1, sizeof(*bars));
    if (res == 0 && bars && k.n && begin(w, REPORT_FAILURES, "failures.gp", "failures", "")) {
        size_t n = w->set->n_reasons + 1, keyrows = (n + 2) / 3;
        for (size_t i = 0; i < k.n; i++)
            bars[i] = bar_of(w->set, k.list[i]);
        for (size_t at = 0; at < n; at++)
            put_segments(w, bars, k.n, at);
        for (size_t i = 0; i < k.n; i++) {
            char text[512];
            title_of(w, k.list[i], true, text, sizeof(text));
            fprintf(w->data, "%zu\t", i);
            put_name(w, text);
            fputc('\n', w->data);
            left = name_px(text) > left ? name_px(text) : left;
        }
        set_params(
            w, "n = %zu; rows = %zu; left = %d; keyrows = %zu; wd = %d; ht = %zu; title = 'What came of the trials'", n,
            k.n, left + 14, keyrows, left + 14 + 720, 88 + 18 * keyrows + 24 * k.n);
        snprintf(w->now->caption, sizeof(w->now->caption), "All NAT pairs of a technique together");
        end(w);
    }
    if (!bars)
        res = -ENOMEM;
    free(bars);
    free(k.list);
    return res;
}

/* ---- budget ---------------------------------------------------------------------------------- */

static bool has_budget(const struct report_cell *c)
{
    return is_technique(c) && c->holes && c->probes && c->n;
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
        if (has_budget(c) && same_pair_place(c, pair) && transport(c))
            out[n++] = c;
    }
    qsort(out, n, sizeof(struct report_cell *), by_budget);
    return n;
}

static void put_measured(struct writer *w, const char *name, struct report_cell **list, size_t n)
{
    fprintf(w->data, "%s\n", name);
    for (size_t i = 0; i < n; i++) {
        struct record_interval iv = record_wilson(list[i]->ok, list[i]->n, RECORD_Z95);
        fprintf(w->data, "%.10g\t%.5g\t%.5g\t%.5g\n", budget_of(list[i]),
                100 * (double)list[i]->ok / (double)list[i]->n, 100 * iv.lo, 100 * iv.hi);
    }
    next_block(w);
}

/* False: no plan predicted anything. */
static bool put_predicted(struct writer *w, const char *name, struct report_cell **list, size_t n)
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
    next_block(w);
    return true;
}

static int budget(struct writer *w, const struct report_cell *pair)
{
    static bool (*const transports[])(const struct report_cell *) = {is_tcp, is_udp};
    static const char *const names[][2] = {{"TCP, measured", "TCP, predicted"}, {"UDP, measured", "UDP, predicted"}};
    struct report_cell **list = calloc(w->set->n + 1, sizeof(*list));
    char text[512], title[512], what[512], place[256], kinds[32] = "";
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
    if (most >= 2 && begin(w, REPORT_BUDGET, "budget.gp", "budget", what)) {
        for (size_t t = 0; t < 2; t++) {
            size_t m = budgets(w->set, pair, transports[t], list);
            if (!m)
                continue;
            put_measured(w, names[t][0], list, m);
            snprintf(kinds + strlen(kinds), sizeof(kinds) - strlen(kinds), "%zu ", 2 * t);
            n++;
            if (!put_predicted(w, names[t][1], list, m))
                continue;
            snprintf(kinds + strlen(kinds), sizeof(kinds) - strlen(kinds), "%zu ", 2 * t + 1);
            n++;
        }
        set_params(w, "n = %zu; kinds = '%s'; wd = 430; ht = 320; title = '%s'", n, kinds, title);
        end(w);
    }
    free(list);
    return 0;
}

static int all_budgets(struct writer *w)
{
    struct kinds pairs;
    int res = find_kinds(w->set, same_pair_place, has_budget, &pairs);
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

static void put_calibration(struct writer *w, const struct report_cell *kind)
{
    struct record_calibration sum = {0};
    struct record_calibration_point p;
    char name[96];
    for (size_t i = 0; i < w->set->n; i++)
        if (same_transport(&w->set->cells[i], kind))
            record_calibration_merge(&sum, &w->set->cells[i].calibration);
    snprintf(name, sizeof(name), "%s, %llu trials, Brier score %.4f",
             is_tcp(kind)   ? "TCP"
             : is_udp(kind) ? "UDP"
                            : "?",
             (unsigned long long)sum.n, record_brier(&sum));
    fprintf(w->data, "%s\n", name);
    for (unsigned b = 0; b < RECORD_CALIBRATION_BINS; b++)
        if (record_calibration_point(&sum, b, RECORD_Z95, &p))
            fprintf(w->data, "%.5g\t%.5g\t%.5g\t%.5g\n", 100 * p.mean_p, 100 * p.measured, 100 * p.interval.lo,
                    100 * p.interval.hi);
    next_block(w);
}

static int calibration(struct writer *w)
{
    struct kinds k;
    int res = find_kinds(w->set, same_transport, predicts, &k);
    if (res == 0 && k.n && begin(w, REPORT_CALIBRATION, "calibration.gp", "calibration", "")) {
        for (size_t i = 0; i < k.n; i++)
            put_calibration(w, k.list[i]);
        set_params(w, "n = %zu; wd = 520; ht = 560; title = 'Predicted and measured success'", k.n);
        end(w);
    }
    free(k.list);
    return res;
}

/* ---- all ------------------------------------------------------------------------------------- */

int report_plots_prepare(struct report_set *set, const char *dir, struct report_figures *out)
{
    static int (*const all[])(struct writer *) = {all_heats, all_forests, all_latencies,
                                                  failures,  all_budgets, calibration};
    struct writer w = {.set = set, .figures = out, .dir = dir};
    *out = (struct report_figures){.same_link = true};
    for (size_t i = 1; i < set->n; i++)
        out->same_link &= same_place(&set->cells[i], &set->cells[0]);
    int res = 0;
    for (size_t i = 0; res == 0 && i < BASE_ARRAY_LEN(all); i++)
        res = all[i](&w);
    return res < 0 ? res : w.error;
}
