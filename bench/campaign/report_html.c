/* The page: the template's text, its marks filled in. Everything that comes from records goes through
 * report_html_text(). */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/places.h"
#include "bench/campaign/report_page.h"
#include "bench/campaign/report_plots.h"

/* ---- text ------------------------------------------------------------------------------------ */

void report_html_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        switch (c) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        case '\n':
        case '\t':
            fputc(c, out);
            break;
        default:
            /* No HTML may hold these. */
            if (c < ' ' || c == 0x7f)
                fputs("\xef\xbf\xbd", out);
            else
                fputc(c, out);
        }
    }
}

/* Printed, then escaped. */
void report_page_text(struct report_page *p, const char *fmt, ...)
{
    char buf[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(buf, sizeof(buf), fmt, args);
    va_end(args);
    report_html_text(p->out, buf);
}

void report_page_raw(struct report_page *p, const char *markup)
{
    fputs(markup, p->out);
}

void report_page_cell(struct report_page *p, const char *open, const char *fmt, ...)
{
    char buf[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(buf, sizeof(buf), fmt, args);
    va_end(args);
    report_page_raw(p, open);
    report_html_text(p->out, buf);
    report_page_raw(p, "</td>");
}

static FILE *open_part(struct report_page *p, const char *name)
{
    char path[PATH_MAX];
    bool fits = (size_t)snprintf(path, sizeof(path), "%s/report/%s", campaign_data_dir(), name) < sizeof(path);
    FILE *f = fits ? fopen(path, "re") : NULL;
    if (!f)
        p->error = campaign_fail(-ENOENT, p->err, "%.300s cannot be read: %s", path, strerror(errno));
    return f;
}

/* ---- plots ----------------------------------------------------------------------------------- */

/* Replaces each `from` in the line, which has room for `cap` bytes. */
static void replace(char *line, size_t cap, const char *from, const char *to)
{
    size_t n = strlen(from), m = strlen(to);
    for (char *at = line; (at = strstr(at, from)); at += m) {
        size_t rest = strlen(at + n) + 1;
        if ((size_t)(at - line) + m + rest > cap)
            return;
        memmove(at + m, at + n, rest);
        for (size_t i = 0; i < m; i++)
            at[i] = to[i];
    }
}

/*
 * gnuplot's SVG becomes part of the page: black is the page's ink, the white ground goes, and the names of its symbols
 * and patterns, which every plot has alike, become the plot's own.
 */
static void inline_line(struct report_page *p, char *line, size_t cap, size_t number)
{
    char to[64];
    if (strncmp(line, "<rect x=\"0\" y=\"0\"", 17) == 0 || strncmp(line, "<desc>", 6) == 0 ||
        strncmp(line, "<title", 6) == 0)
        return;
    replace(line, cap, "'black'", "'currentColor'");
    replace(line, cap, "\"black\"", "\"currentColor\"");
    replace(line, cap, "rgb(  0,   0,   0)", "currentColor");
    replace(line, cap, "rgb(0,0,0)", "currentColor");
    snprintf(to, sizeof(to), "id='f%zu-gp", number);
    replace(line, cap, "id='gp", to);
    snprintf(to, sizeof(to), "href='#f%zu-gp", number);
    replace(line, cap, "href='#gp", to);
    snprintf(to, sizeof(to), "url(#f%zu-gp", number);
    replace(line, cap, "url(#gp", to);
    snprintf(to, sizeof(to), "id=\"f%zu-canvas\"", number);
    replace(line, cap, "id=\"gnuplot_canvas\"", to);
    fputs(line, p->out);
}

static void inline_svg(struct report_page *p, size_t number)
{
    const struct report_figure *f = &p->figures->list[number];
    char path[PATH_MAX], line[16384];
    bool begun = false;
    if ((size_t)snprintf(path, sizeof(path), "%s/%s.svg", p->dir, f->id) >= sizeof(path))
        return;
    FILE *in = fopen(path, "re");
    if (!in) {
        p->error = campaign_fail(-EIO, p->err, "gnuplot did not draw %.200s", path);
        return;
    }
    /* Half of the buffer is room for what the replacements add. */
    while (fgets(line, sizeof(line) / 2, in)) {
        if (!begun && strncmp(line, "<svg", 4) == 0) {
            begun = true;
            report_page_raw(p, "<svg role=\"img\" aria-label=\"");
            report_html_text(p->out, *f->caption ? f->caption : f->id);
            report_page_raw(p, "\"\n");
        } else if (begun) {
            inline_line(p, line, sizeof(line), number);
        }
    }
    fclose(in);
}

static void put_group(struct report_page *p, const char *group, bool first)
{
    report_page_raw(p, first ? "" : "</div>\n");
    if (group) {
        report_page_raw(p, "<h3>");
        report_page_text(p, "%s", group);
        report_page_raw(p, "</h3>\n");
    }
    report_page_raw(p, "<div class=\"figures\">\n");
}

static void put_figures(struct report_page *p, enum report_section section, const char *none)
{
    const char *group = NULL;
    size_t n = 0;
    for (size_t i = 0; i < p->figures->n; i++) {
        const struct report_figure *f = &p->figures->list[i];
        if (f->section != section)
            continue;
        if (n == 0 || f->group != group)
            put_group(p, f->group, n == 0);
        group = f->group;
        n++;
        report_page_raw(p, f->pair != 1 ? "" : f->wide ? "<div class=\"pair wide\">" : "<div class=\"pair\">");
        report_page_raw(p, f->wide ? "<figure class=\"wide\">\n" : "<figure>\n");
        inline_svg(p, i);
        report_page_raw(p, "<figcaption>");
        report_page_text(p, "%s", f->caption);
        report_page_raw(p, *f->caption ? " &middot; plots/" : "plots/");
        report_page_text(p, "%s.svg", f->id);
        report_page_raw(p, f->pair == 2 ? "</figcaption>\n</figure></div>\n" : "</figcaption>\n</figure>\n");
    }
    report_page_raw(p, n ? "</div>\n" : "<p>");
    if (!n)
        report_page_text(p, "%s", none);
    report_page_raw(p, n ? "" : "</p>\n");
}

static void put_success(struct report_page *p)
{
    put_figures(p, REPORT_SUCCESS, "No trial was recorded.");
    if (p->figures->left_out) {
        report_page_raw(p, "<p class=\"bad\">");
        report_page_text(p, "%zu plots more than the %d of one report were left out.", p->figures->left_out,
                         REPORT_MAX_FIGURES);
        report_page_raw(p, "</p>\n");
    }
}

static void put_difference(struct report_page *p)
{
    report_page_pairings(p);
    put_figures(p, REPORT_DIFFERENCE, "No NAT pair was measured with both.");
}

static void put_latency(struct report_page *p)
{
    put_figures(p, REPORT_LATENCY, "No trial succeeded.");
}

static void put_failures(struct report_page *p)
{
    put_figures(p, REPORT_FAILURES, "No trial was recorded.");
}

static void put_budget(struct report_page *p)
{
    put_figures(p, REPORT_BUDGET, "This campaign does not vary the budget (technique options --holes and --probes).");
}

static void put_calibration(struct report_page *p)
{
    put_figures(p, REPORT_CALIBRATION, "No plan predicted a probability: plain techniques do not.");
    report_page_predictions(p);
}

static void put_quality(struct report_page *p)
{
    int n = report_quality_table(p->out, p->set);
    if (n < 0)
        p->error = campaign_fail(n, p->err, "no memory");
    else
        put_figures(p, REPORT_QUALITY, "No trial measured its path (option --quality).");
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void put_title(struct report_page *p)
{
    const json_t *campaign = json_object_get(p->set->runs[0].json, "campaign");
    const char *name = json_string_value(json_object_get(campaign, "name"));
    report_page_text(p, "punchbench: %.100s", name ? name : p->set->runs[0].name);
    for (size_t i = 1; i < p->set->n_runs; i++)
        report_page_text(p, ", %.100s", p->set->runs[i].name);
}

static void put_style(struct report_page *p)
{
    FILE *in = open_part(p, "style.css");
    int c;
    while (in && (c = fgetc(in)) != EOF)
        fputc(c, p->out);
    if (in)
        fclose(in);
}

static void put_summary(struct report_page *p)
{
    uint64_t trials = 0, ok = 0;
    size_t empty = 0;
    for (size_t i = 0; i < p->set->n; i++) {
        trials += p->set->cells[i].n;
        ok += p->set->cells[i].ok;
        empty += !p->set->cells[i].n;
    }
    report_page_raw(p, "<p>");
    report_page_text(p, "%llu trials in %zu cells (NAT pair, technique, link), %llu of them ok.",
                     (unsigned long long)trials, p->set->n, (unsigned long long)ok);
    if (empty)
        report_page_text(p, " %zu cells have no trial yet.", empty);
    report_page_raw(p, "</p>\n");
    report_page_checks(p);
}

static void put_ms(struct report_page *p, uint64_t ns, bool known)
{
    if (known)
        report_page_cell(p, NUM, "%.1f", (double)ns / 1e6);
    else
        report_page_cell(p, NUM, "-");
}

static void put_median(struct report_page *p, struct report_cell *c)
{
    struct report_latency l = report_latency(c);
    char lo[24] = "?", hi[24] = "?";
    if (!l.n) {
        report_page_raw(p, NUM "-</td>" NUM "-</td>");
        return;
    }
    if (l.lo)
        snprintf(lo, sizeof(lo), "%.1f", (double)l.lo / 1e6);
    if (l.hi)
        snprintf(hi, sizeof(hi), "%.1f", (double)l.hi / 1e6);
    report_page_cell(p, NUM, "%.1f [%s, %s]", (double)l.median / 1e6, lo, hi);
    put_ms(p, record_quantile(c->connect_ns, c->n_connect, 0.99), true);
}

static void put_reasons(struct report_page *p, const struct report_cell *c)
{
    report_page_raw(p, TD);
    bool any = false;
    for (size_t r = 0; r < p->set->n_reasons; r++)
        if (c->reasons[r]) {
            report_page_text(p, "%s%llu %s", any ? ", " : "", (unsigned long long)c->reasons[r], p->set->reasons[r]);
            any = true;
        }
    report_page_raw(p, "</td>");
}

static void put_row(struct report_page *p, struct report_cell *c)
{
    struct record_interval w = record_wilson(c->ok, c->n, RECORD_Z95);
    char place[2 * REPORT_PART_LEN + 8];
    report_place(p->set, c, place, sizeof(place));
    report_page_raw(p, "<tr>");
    report_page_cell(p, TD, "%s", c->nat_a);
    report_page_cell(p, TD, "%s", c->nat_b);
    report_page_cell(p, TD, "%s", c->label);
    report_page_cell(p, TD, "%s", place);
    report_page_cell(p, NUM, "%llu/%llu", (unsigned long long)c->ok, (unsigned long long)c->n);
    if (c->n)
        report_page_cell(p, NUM, "%.1f [%.1f, %.1f]", 100 * (double)c->ok / (double)c->n, 100 * w.lo, 100 * w.hi);
    else
        report_page_cell(p, NUM, "-");
    if (c->calibration.n)
        report_page_cell(p, NUM, "%.1f", 100 * report_predicted(&c->calibration));
    else
        report_page_cell(p, NUM, "-");
    put_median(p, c);
    put_reasons(p, c);
    report_page_raw(p, "</tr>\n");
}

/* More make a page that no browser likes; summary.csv has them all. */
#define ROWS_MAX 5000

static void put_table_head(struct report_page *p)
{
    report_page_raw(
        p,
        "</summary>\n<div class=\"table\"><table><thead><tr><th>NAT a</th><th>NAT b</th><th>technique</th><th>link</th>"
        "<th class=\"n\">ok/trials</th><th class=\"n\">success, % [95 %, Wilson]</th><th class=\"n\">predicted, %</th>"
        "<th class=\"n\">median, ms [95 %]</th><th class=\"n\">p99, ms</th><th>failures</th></tr></thead>\n<tbody>\n");
}

static void put_all_cells(struct report_page *p)
{
    report_page_raw(p, "<details open><summary>");
    report_page_text(p, "%zu cells", p->set->n);
    put_table_head(p);
    for (size_t i = 0; i < p->set->n; i++)
        put_row(p, &p->set->cells[i]);
    report_page_raw(p, "</tbody></table></div></details>\n");
}

/* A table a technique and link, of the cells among the first `n`. */
static void put_panel(struct report_page *p, const struct report_cell *kind, size_t n)
{
    char place[2 * REPORT_PART_LEN + 8];
    size_t cells = 0;
    for (size_t i = 0; i < n; i++)
        cells += report_same_panel(&p->set->cells[i], kind);
    report_place(p->set, kind, place, sizeof(place));
    report_page_raw(p, "<details><summary>");
    report_page_text(p, "%s, %s: %zu cells", kind->label, place, cells);
    put_table_head(p);
    for (size_t i = 0; i < n; i++)
        if (report_same_panel(&p->set->cells[i], kind))
            put_row(p, &p->set->cells[i]);
    report_page_raw(p, "</tbody></table></div></details>\n");
}

/* More are folded away. More than the other make a page that no browser likes; summary.csv has them all. */
#define ROWS_OPEN 60
#define ROWS_MAX  5000

static void put_cells(struct report_page *p)
{
    struct report_kinds k;
    size_t n = p->set->n < ROWS_MAX ? p->set->n : ROWS_MAX;
    if (p->set->n <= ROWS_OPEN) {
        put_all_cells(p);
        return;
    }
    if (report_kinds_find(p->set, report_same_panel, NULL, &k) < 0)
        return;
    if (n < p->set->n) {
        report_page_raw(p, "<p>");
        report_page_text(p, "Of %zu cells the first %zu; summary.csv has all.", p->set->n, n);
        report_page_raw(p, "</p>\n");
    }
    for (size_t i = 0; i < k.n; i++)
        if (k.list[i] < p->set->cells + n)
            put_panel(p, k.list[i], n);
    free(k.list);
}

/* ---- beside the literature ------------------------------------------------------------------- */

static void put_ours(struct report_page *p)
{
    report_page_raw(
        p,
        "<h3>Ours: attempts by pairs of peers, in this report's NAT pairs, unweighted</h3>\n<p class=\"soft\">A trial "
        "is one "
        "attempt of one technique; it counts whatever the NATs are, and no market share weighs them. An average over "
        "NAT pairs that somebody chose says how these pairs fared, not how the internet does.</p>\n"
        "<div class=\"table\"><table><thead><tr><th>technique</th><th>link</th><th class=\"n\">ok/trials</th><th "
        "class=\"n\">success, "
        "% [95 %, Wilson]</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < p->set->n; i++) {
        const struct report_cell *c = &p->set->cells[i];
        uint64_t n = 0, ok = 0;
        bool first = true;
        for (size_t k = 0; k < p->set->n; k++) {
            const struct report_cell *d = &p->set->cells[k];
            if (d->run != c->run || strcmp(d->link, c->link) != 0 || strcmp(d->label, c->label) != 0)
                continue;
            first &= k >= i;
            if (!first)
                break;
            n += d->n;
            ok += d->ok;
        }
        if (!first || !n)
            continue;
        struct record_interval w = record_wilson(ok, n, RECORD_Z95);
        char place[2 * REPORT_PART_LEN + 8];
        report_place(p->set, c, place, sizeof(place));
        report_page_raw(p, "<tr>");
        report_page_cell(p, TD, "%s", c->label);
        report_page_cell(p, TD, "%s", place);
        report_page_cell(p, NUM, "%llu/%llu", (unsigned long long)ok, (unsigned long long)n);
        report_page_cell(p, NUM, "%.1f [%.1f, %.1f]", 100 * (double)ok / (double)n, 100 * w.lo, 100 * w.hi);
        report_page_raw(p, "</tr>\n");
    }
    report_page_raw(p, "</tbody></table></div>\n");
}

/* A line: what is counted, the source, its number, of what; separated by tabs, grouped by the first. */
static void put_theirs(struct report_page *p, FILE *in)
{
    char line[2048], kind[128] = "";
    bool open = false;
    while (fgets(line, sizeof(line), in)) {
        char *rest = line, *field[4];
        line[strcspn(line, "\n")] = '\0';
        for (size_t i = 0; i < 4; i++)
            field[i] = rest ? strsep(&rest, "\t") : NULL;
        if (!field[3])
            continue;
        if (strcmp(kind, field[0]) != 0) {
            report_page_raw(p, open ? "</tbody></table></div>\n<h3>" : "<h3>");
            snprintf(kind, sizeof(kind), "%s", field[0]);
            report_page_text(p, "Theirs: %s", kind);
            report_page_raw(
                p, "</h3>\n<div class=\"table\"><table><thead><tr><th>source</th><th>number</th><th>of what</th></tr>"
                   "</thead><tbody>\n");
            open = true;
        }
        report_page_raw(p, "<tr>");
        report_page_cell(p, TD, "%s", field[1]);
        report_page_cell(p, TD, "%s", field[2]);
        report_page_cell(p, TD, "%s", field[3]);
        report_page_raw(p, "</tr>\n");
    }
    report_page_raw(p, open ? "</tbody></table></div>\n" : "");
}

static void put_literature(struct report_page *p)
{
    FILE *in = open_part(p, "literature.tsv");
    put_ours(p);
    if (in) {
        put_theirs(p, in);
        fclose(in);
    }
}

/* ---- the run --------------------------------------------------------------------------------- */

static void put_value(struct report_page *p, const json_t *value)
{
    if (json_is_string(value)) {
        report_page_text(p, "%s", json_string_value(value));
        return;
    }
    char *dumped = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    report_html_text(p->out, dumped ? dumped : "-");
    free(dumped);
}

static void put_members(struct report_page *p, const json_t *object, const char *const *names)
{
    report_page_raw(p, "<div class=\"table\"><table><tbody>\n");
    for (; *names; names++) {
        report_page_raw(p, "<tr><th>");
        report_page_text(p, "%s", *names);
        report_page_raw(p, "</th><td>");
        put_value(p, json_object_get(object, *names));
        report_page_raw(p, "</td></tr>\n");
    }
    report_page_raw(p, "</tbody></table></div>\n");
}

static void put_details(struct report_page *p, const char *what, const json_t *value)
{
    char *dumped = value ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    report_page_raw(p, "<details><summary>");
    report_page_text(p, "%s", what);
    report_page_raw(p, "</summary>\n<pre>");
    report_html_text(p->out, dumped ? dumped : "-");
    report_page_raw(p, "</pre></details>\n");
    free(dumped);
}

static void put_run(struct report_page *p)
{
    static const char *const machine[] = {"version", "kernel",   "machine", "cpus", "loop_features",
                                          "clock",   "parallel", "started", NULL};
    static const char *const plan[] = {"name", "seed", "trials", "timeout_ns", "filter", NULL};
    for (size_t i = 0; i < p->set->n_runs; i++) {
        const struct report_run *run = &p->set->runs[i];
        const json_t *campaign = json_object_get(run->json, "campaign");
        report_page_raw(p, "<h3>");
        report_page_text(p, "%s: %llu trials recorded", run->name, (unsigned long long)run->records);
        report_page_raw(p, "</h3>\n");
        put_members(p, run->json, machine);
        put_members(p, campaign, plan);
        put_details(p, "Techniques", json_object_get(campaign, "techniques"));
        put_details(p, "Links", json_object_get(campaign, "links"));
        put_details(p, "Expectations", json_object_get(campaign, "expect"));
        put_details(p, "NAT profiles", json_object_get(run->json, "profiles"));
    }
}

/* ---- the template ---------------------------------------------------------------------------- */

static const struct {
    const char *mark;
    void (*put)(struct report_page *p);
} marks[] = {
    {"title", put_title},       {"style", put_style},           {"summary", put_summary},
    {"success", put_success},   {"difference", put_difference}, {"latency", put_latency},
    {"failures", put_failures}, {"budget", put_budget},         {"calibration", put_calibration},
    {"cells", put_cells},       {"literature", put_literature}, {"run", put_run},
    {"quality", put_quality},
};

/* Puts what stands at "{{" and gives what follows it. */
static char *fill_mark(struct report_page *p, char *at)
{
    char *close = strstr(at, "}}");
    if (!close)
        return at + strlen(at);
    *close = '\0';
    for (size_t i = 0; i < BASE_ARRAY_LEN(marks); i++)
        if (strcmp(marks[i].mark, at + 2) == 0)
            marks[i].put(p);
    return close + 2;
}

int report_html(FILE *out, struct report_set *set, const struct report_figures *figures, const char *dir,
                char err[CAMPAIGN_ERROR_LEN])
{
    struct report_page p = {.out = out, .set = set, .figures = figures, .dir = dir, .err = err};
    char line[4096];
    FILE *template = open_part(&p, "template.html");
    while (template && p.error == 0 && fgets(line, sizeof(line), template)) {
        char *at = line, *mark;
        while ((mark = strstr(at, "{{"))) {
            *mark = '\0';
            report_page_raw(&p, at);
            *mark = '{';
            at = fill_mark(&p, mark);
        }
        report_page_raw(&p, at);
    }
    if (template)
        fclose(template);
    if (p.error == 0 && (fflush(out) != 0 || ferror(out)))
        p.error = campaign_fail(-EIO, err, "report.html cannot be written: %s", strerror(errno));
    return p.error;
}
