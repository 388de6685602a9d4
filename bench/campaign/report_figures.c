/* What the plots have in common: what is drawn together, a figure and its data file. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/report_plots.h"

/* ---- what belongs together ------------------------------------------------------------------- */

/* Cells of one run and link are drawn together, others never. */
bool report_same_place(const struct report_cell *a, const struct report_cell *b)
{
    return a->run == b->run && strcmp(a->link, b->link) == 0;
}

bool report_same_pair(const struct report_cell *a, const struct report_cell *b)
{
    return strcmp(a->nat_a, b->nat_a) == 0 && strcmp(a->nat_b, b->nat_b) == 0;
}

static bool report_same_label(const struct report_cell *a, const struct report_cell *b)
{
    return strcmp(a->label, b->label) == 0;
}

bool report_same_panel(const struct report_cell *a, const struct report_cell *b)
{
    return report_same_place(a, b) && report_same_label(a, b);
}

bool report_same_pair_place(const struct report_cell *a, const struct report_cell *b)
{
    return report_same_place(a, b) && report_same_pair(a, b);
}

int report_kinds_find(struct report_set *set, report_same_fn *same, bool (*wanted)(const struct report_cell *),
                      struct report_kinds *out)
{
    *out = (struct report_kinds){.list = calloc(set->n + 1, sizeof(struct report_cell *))};
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

bool report_is_technique(const struct report_cell *c)
{
    return !report_is_control(c);
}

bool report_is_tcp(const struct report_cell *c)
{
    return strcmp(c->transport, "tcp") == 0;
}

bool report_is_udp(const struct report_cell *c)
{
    return strcmp(c->transport, "udp") == 0;
}

const char *report_transport(const struct report_cell *c)
{
    return report_is_tcp(c) ? "TCP" : report_is_udp(c) ? "UDP" : "?";
}

void report_place(const struct report_set *set, const struct report_cell *cell, char *out, size_t cap)
{
    if (set->n_runs > 1)
        snprintf(out, cap, "%s: %s", set->runs[cell->run].name, cell->link);
    else
        snprintf(out, cap, "%s", cell->link);
}

/* ---- figures --------------------------------------------------------------------------------- */

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
bool report_plot_begin(struct report_writer *w, enum report_section section, const char *script, const char *kind,
                       const char *what)
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

__attribute__((format(printf, 2, 3))) void report_plot_params(struct report_writer *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(w->now->params, sizeof(w->now->params), fmt, args);
    va_end(args);
}

void report_plot_end(struct report_writer *w)
{
    bool bad = ferror(w->data) != 0;
    if (fclose(w->data) != 0 || bad)
        w->error = -EIO;
    w->data = NULL;
    w->figures->n++;
}

void report_plot_name(struct report_writer *w, const char *text)
{
    char plain[256];
    report_plain(text, NAME_CHARS, plain, sizeof(plain));
    fputs(plain, w->data);
}

/* What ends a block; the next one begins. */
void report_plot_block(struct report_writer *w)
{
    fputs("\n\n", w->data);
}

int report_name_px(const char *text)
{
    size_t n = strlen(text);
    return (int)((double)(n < NAME_CHARS ? n : NAME_CHARS + 3) * CHAR_PX);
}

int report_widest(const struct report_names *names)
{
    int px = 30;
    for (size_t i = 0; i < names->n; i++)
        px = report_name_px(names->list[i]) > px ? report_name_px(names->list[i]) : px;
    return px;
}

/* A title out of a label and a place, both foreign. */
void report_plot_title(const struct report_writer *w, const struct report_cell *c, bool label, char *out, size_t cap)
{
    char place[2 * REPORT_PART_LEN + 8], text[4 * REPORT_PART_LEN];
    report_place(w->set, c, place, sizeof(place));
    const char *transport = report_is_tcp(c) ? "TCP" : report_is_udp(c) ? "UDP" : "";
    if (label)
        snprintf(text, sizeof(text), "%s%s%s%s%s", c->label, *transport ? ", " : "", transport,
                 w->figures->same_link ? "" : ", ", w->figures->same_link ? "" : place);
    else
        snprintf(text, sizeof(text), "%s", place);
    report_plain(text, 70, out, cap);
}

void report_plot_file(const struct report_writer *w, const struct report_cell *c, bool label, char *out, size_t cap)
{
    char place[2 * REPORT_PART_LEN + 8] = "";
    if (!w->figures->same_link)
        report_place(w->set, c, place, sizeof(place));
    snprintf(out, cap, "%s%s%s", label ? c->label : "", label && *place ? "-" : "", place);
}
