/* How good the paths were that trials measured (--quality): rows of a cell and a kind of path, their table, and plots.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/report_plots.h"

/* ---- rows ------------------------------------------------------------------------------------ */

/* As they are shown; what is none of these comes last. */
static const char *const kinds[] = {"direct", "private", "hairpin", "reversed", "relay"};

static size_t kind_of(const char *path)
{
    size_t i = 0;
    while (i < BASE_ARRAY_LEN(kinds) && strcmp(kinds[i], path) != 0)
        i++;
    return i;
}

/* Of what was measured: 0 was not. Sorts. */
static struct report_spread spread_of(uint64_t *values, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (values[i])
            values[kept++] = values[i];
    return (struct report_spread){.lo = record_quantile(values, kept, 0),
                                  .mid = record_quantile(values, kept, 0.5),
                                  .hi = record_quantile(values, kept, 1),
                                  .n = kept};
}

/* The values of the row's trials: of the member at this offset. */
static struct report_spread spread(const struct report_quality_row *row, size_t offset, uint64_t *room)
{
    const struct report_cell *c = row->cell;
    size_t n = 0;
    for (size_t i = 0; i < c->n_quality; i++)
        if (strcmp(c->quality[i].path, row->path) == 0)
            memcpy(&room[n++], (const char *)&c->quality[i].q + offset, sizeof(*room));
    return spread_of(room, n);
}

static void fill(struct report_quality_row *row, uint64_t *room)
{
    const struct report_cell *c = row->cell;
    row->rtt = spread(row, offsetof(struct record_quality, rtt_p50_ns), room);
    row->rtt.lo = spread(row, offsetof(struct record_quality, rtt_min_ns), room).lo;
    row->rtt.hi = spread(row, offsetof(struct record_quality, rtt_max_ns), room).hi;
    row->up = spread(row, offsetof(struct record_quality, up_bps), room);
    row->down = spread(row, offsetof(struct record_quality, down_bps), room);
    for (size_t i = 0; i < c->n_quality; i++) {
        const struct record_quality *q = &c->quality[i].q;
        if (strcmp(c->quality[i].path, row->path) != 0)
            continue;
        row->n++;
        row->sent[0] += q->up_sent;
        row->lost[0] += q->up_lost;
        row->sent[1] += q->down_sent;
        row->lost[1] += q->down_lost;
    }
}

/* Cells come in the campaign's order, so that of addresses is it. */
static int by_place(const void *x, const void *y)
{
    const struct report_quality_row *a = x, *b = y;
    if (a->cell->run != b->cell->run)
        return a->cell->run < b->cell->run ? -1 : 1;
    int link = strcmp(a->cell->link, b->cell->link);
    if (link)
        return link;
    if (kind_of(a->path) != kind_of(b->path))
        return kind_of(a->path) < kind_of(b->path) ? -1 : 1;
    return a->cell != b->cell ? (a->cell < b->cell ? -1 : 1) : strcmp(a->path, b->path);
}

static bool is_first(const struct report_cell *c, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(c->quality[i].path, c->quality[at].path) == 0)
            return false;
    return true;
}

int report_quality_rows(const struct report_set *set, struct report_quality_row **rows, size_t *n)
{
    size_t most = 0, longest = 0;
    for (size_t i = 0; i < set->n; i++) {
        most += set->cells[i].n_quality;
        longest = set->cells[i].n_quality > longest ? set->cells[i].n_quality : longest;
    }
    *n = 0;
    *rows = calloc(most + 1, sizeof(**rows));
    uint64_t *room = calloc(longest + 1, sizeof(*room));
    for (size_t i = 0; *rows && room && i < set->n; i++) {
        const struct report_cell *c = &set->cells[i];
        for (size_t k = 0; k < c->n_quality; k++)
            if (is_first(c, k)) {
                (*rows)[*n] = (struct report_quality_row){.cell = c, .path = c->quality[k].path};
                fill(&(*rows)[(*n)++], room);
            }
    }
    int res = *rows && room ? 0 : -ENOMEM;
    if (res == 0)
        qsort(*rows, *n, sizeof(**rows), by_place);
    else
        free(*rows);
    free(room);
    return res;
}

/* ---- the table ------------------------------------------------------------------------------- */

static void put_text(FILE *out, const char *text)
{
    fputs("<td>", out);
    report_html_text(out, text);
    fputs("</td>", out);
}

static void put_spread(FILE *out, const struct report_spread *s, double unit)
{
    if (s->n)
        fprintf(out, "<td class=\"n\">%.1f [%.1f, %.1f]</td>", (double)s->mid / unit, (double)s->lo / unit,
                (double)s->hi / unit);
    else
        fputs("<td class=\"n\">-</td>", out);
}

static void put_loss(FILE *out, uint64_t lost, uint64_t sent)
{
    if (sent)
        fprintf(out, "<td class=\"n\">%.2f</td>", 100 * (double)lost / (double)sent);
    else
        fputs("<td class=\"n\">-</td>", out);
}

static void put_row(FILE *out, const struct report_set *set, const struct report_quality_row *row)
{
    char place[2 * REPORT_PART_LEN + 8];
    report_place(set, row->cell, place, sizeof(place));
    fputs("<tr>", out);
    put_text(out, place);
    put_text(out, *row->path ? row->path : "-");
    put_text(out, row->cell->nat_a);
    put_text(out, row->cell->nat_b);
    put_text(out, row->cell->label);
    put_text(out, row->cell->transport);
    fprintf(out, "<td class=\"n\">%zu</td>", row->n);
    put_spread(out, &row->rtt, 1e6);
    put_spread(out, &row->up, 1e6);
    put_spread(out, &row->down, 1e6);
    put_loss(out, row->lost[0], row->sent[0]);
    put_loss(out, row->lost[1], row->sent[1]);
    fputs("</tr>\n", out);
}

int report_quality_table(FILE *out, const struct report_set *set)
{
    struct report_quality_row *rows;
    size_t n;
    int res = report_quality_rows(set, &rows, &n);
    if (res < 0)
        return res;
    if (n)
        fputs("<div class=\"table\"><table><thead><tr><th>link</th><th>path</th><th>NAT a</th><th>NAT b</th>"
              "<th>technique</th><th>over</th><th class=\"n\">trials</th>"
              "<th class=\"n\">round trip, ms: median [least, greatest]</th>"
              "<th class=\"n\">up, Mbit/s: median [least, greatest]</th><th class=\"n\">down, Mbit/s</th>"
              "<th class=\"n\">lost up, %</th><th class=\"n\">lost down, %</th></tr></thead>\n<tbody>\n",
              out);
    for (size_t i = 0; i < n; i++)
        put_row(out, set, &rows[i]);
    if (n)
        fputs("</tbody></table></div>\n", out);
    free(rows);
    return (int)n;
}

/* ---- plots ----------------------------------------------------------------------------------- */

/* More are no picture any more: the table has them. */
#define ROWS_MOST 48

struct series {
    const char *name;
    size_t offset; /* of a spread in a row */
};

static void put_series(struct report_writer *w, const struct report_quality_row *rows, size_t n,
                       const struct series *series, double unit)
{
    fprintf(w->data, "%s\n", series->name);
    for (size_t i = 0; i < n; i++) {
        struct report_spread s;
        memcpy(&s, (const char *)&rows[i] + series->offset, sizeof(s));
        if (s.n)
            fprintf(w->data, "%zu\t%.6g\t%.6g\t%.6g\n", i, (double)s.mid / unit, (double)s.lo / unit,
                    (double)s.hi / unit);
    }
    /* A block without a row would be no block. */
    fputs("-9\t0\t0\t0\n", w->data);
    report_plot_block(w);
}

static int put_names(struct report_writer *w, const struct report_quality_row *rows, size_t n)
{
    int left = 60;
    for (size_t i = 0; i < n; i++) {
        const struct report_cell *c = rows[i].cell;
        char text[512], plain[256];
        snprintf(text, sizeof(text), "%s: %.90s / %.90s, %.90s", *rows[i].path ? rows[i].path : "-", c->nat_a, c->nat_b,
                 c->label);
        report_plain(text, 64, plain, sizeof(plain));
        fprintf(w->data, "%zu\t%s\n", i, plain);
        int px = (int)((double)strlen(plain) * CHAR_PX);
        left = px > left ? px : left;
    }
    return left + 14;
}

static void bars(struct report_writer *w, const struct report_quality_row *rows, size_t n, const char *kind,
                 const char *axis, double unit, const struct series *series, size_t n_series)
{
    char what[512], place[512];
    size_t shown = n < ROWS_MOST ? n : ROWS_MOST;
    report_plot_file(w, rows[0].cell, false, what, sizeof(what));
    report_plot_title(w, rows[0].cell, false, place, sizeof(place));
    if (!report_plot_begin(w, REPORT_QUALITY, "quality.gp", kind, what))
        return;
    for (size_t i = 0; i < n_series; i++)
        put_series(w, rows, shown, &series[i], unit);
    int left = put_names(w, rows, shown);
    report_plot_params(w, "n = %zu; rows = %zu; left = %d; wd = %d; ht = %zu; axis = '%s'; title = '%s'", n_series,
                       shown, left, left + 460, 110 + 24 * shown, axis, place);
    snprintf(w->now->caption, sizeof(w->now->caption), "%s, median with least and greatest%s", axis,
             shown < n ? "; the first rows of the table" : "");
    report_plot_end(w);
}

static size_t same_place(const struct report_quality_row *rows, size_t n)
{
    size_t same = 1;
    while (same < n && report_same_place(rows[same].cell, rows[0].cell))
        same++;
    return same;
}

int report_plot_qualities(struct report_writer *w)
{
    static const struct series throughput[] = {{"up, a to b", offsetof(struct report_quality_row, up)},
                                               {"down, b to a", offsetof(struct report_quality_row, down)}};
    static const struct series rtt[] = {{"round trip", offsetof(struct report_quality_row, rtt)}};
    struct report_quality_row *rows;
    size_t n;
    int res = report_quality_rows(w->set, &rows, &n);
    if (res < 0)
        return res;
    for (size_t i = 0, same; i < n; i += same) {
        same = same_place(rows + i, n - i);
        bars(w, rows + i, same, "throughput", "Throughput, Mbit/s", 1e6, throughput, BASE_ARRAY_LEN(throughput));
        bars(w, rows + i, same, "round-trip", "Round trip, ms", 1e6, rtt, BASE_ARRAY_LEN(rtt));
    }
    free(rows);
    return 0;
}
