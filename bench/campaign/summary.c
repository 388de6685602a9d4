/* What came out: a row a cell, for programs (summary.csv) and for people (the table), and the controls. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/results.h"

static double rate_of(const struct campaign_tally *t)
{
    return t->measured ? (double)t->outcomes[RECORD_OK] / (double)t->measured : 0;
}

/* The mean of the plans' predictions; NAN for none. */
static double predicted(const struct record_calibration *c)
{
    double sum = 0;
    for (unsigned i = 0; i < RECORD_CALIBRATION_BINS; i++)
        sum += c->bins[i].sum_p;
    return c->n ? sum / (double)c->n : NAN;
}

static uint64_t connect_quantile(const struct campaign_tally *t, double q)
{
    return record_quantile(t->connect_ns, t->n_connect, q);
}

/* ---- summary.csv ----------------------------------------------------------------------------- */

static void csv_head(FILE *out)
{
    fputs("cell,nat_a,nat_b,technique,mode,transport,link,rtt_ms,trials,ok,rate,wilson_lo,wilson_hi,"
          "predicted,brier,connect_p50_ns,connect_p99_ns",
          out);
    for (unsigned o = RECORD_OK + 1; o < RECORD_OUTCOMES; o++)
        fprintf(out, ",%s", record_outcome_name(o));
    for (unsigned p = 0; p < RECORD_PATHS; p++)
        fprintf(out, ",%s", record_path_name((enum record_path)p));
    fputc('\n', out);
}

static void csv_row(FILE *out, const struct campaign_cell *cell, const struct campaign_tally *t)
{
    struct record_interval w = record_wilson(t->outcomes[RECORD_OK], t->measured, RECORD_Z95);
    const struct campaign_choice *choice = cell->choice;
    fprintf(out, "%s,%s,%s,%s,%s,%s,%s,%.10g,%llu,%llu,", cell->name, cell->nat_a->name, cell->nat_b->name,
            choice->technique->name, choice->mode, campaign_choice_transport(choice), cell->link->label,
            (double)campaign_link_rtt(cell->link, CAMPAIGN_A, CAMPAIGN_B) / (double)BASE_NS_PER_MS,
            (unsigned long long)t->measured, (unsigned long long)t->outcomes[RECORD_OK]);
    if (t->measured)
        fprintf(out, "%.6f", rate_of(t));
    fprintf(out, ",%.6f,%.6f,", w.lo, w.hi);
    if (t->calibration.n)
        fprintf(out, "%.6f,%.6f,", predicted(&t->calibration), record_brier(&t->calibration));
    else
        fputs(",,", out);
    if (t->n_connect)
        fprintf(out, "%llu,%llu", (unsigned long long)connect_quantile(t, 0.5),
                (unsigned long long)connect_quantile(t, 0.99));
    else
        fputc(',', out);
    for (unsigned o = RECORD_OK + 1; o < RECORD_OUTCOMES; o++)
        fprintf(out, ",%llu", (unsigned long long)t->outcomes[o]);
    for (unsigned p = 0; p < RECORD_PATHS; p++)
        fprintf(out, ",%llu", (unsigned long long)t->paths[p]);
    fputc('\n', out);
}

void campaign_summary_csv(FILE *out, const struct campaign_cell *cells, const struct campaign_tally *tallies, size_t n)
{
    csv_head(out);
    for (size_t i = 0; i < n; i++)
        csv_row(out, &cells[i], &tallies[i]);
}

struct csv {
    const struct campaign_cell *cells;
    const struct campaign_tally *tallies;
    size_t n;
};

static int write_csv(FILE *out, const void *what)
{
    const struct csv *c = what;
    campaign_summary_csv(out, c->cells, c->tallies, c->n);
    return 0;
}

int campaign_summary_write(const char *dir, const struct campaign_cell *cells, const struct campaign_tally *tallies,
                           size_t n)
{
    const struct csv c = {cells, tallies, n};
    return campaign_file_replace(dir, "summary.csv", write_csv, &c);
}

/* ---- the table ------------------------------------------------------------------------------- */

struct widths {
    int nat_a, nat_b, technique;
    int link; /* 0 = all cells have the same one: no column */
    bool predicted;
};

static void widen(int *width, const char *text)
{
    int len = (int)strlen(text);
    if (len > *width)
        *width = len;
}

static void table_names(FILE *out, const struct widths *w, const char *nat_a, const char *nat_b, const char *technique,
                        const char *link)
{
    fprintf(out, "%-*s  %-*s  %-*s  ", w->nat_a, nat_a, w->nat_b, nat_b, w->technique, technique);
    if (w->link)
        fprintf(out, "%-*s  ", w->link, link);
}

static void table_row(FILE *out, const struct widths *w, const struct campaign_cell *cell,
                      const struct campaign_tally *t)
{
    struct record_interval i = record_wilson(t->outcomes[RECORD_OK], t->measured, RECORD_Z95);
    char score[48], interval[32] = "-", p50[24] = "-", p99[24] = "-", expected[24] = "-";
    snprintf(score, sizeof(score), "%llu/%llu", (unsigned long long)t->outcomes[RECORD_OK],
             (unsigned long long)t->measured);
    if (t->measured)
        snprintf(interval, sizeof(interval), "%5.1f - %5.1f %%", 100 * i.lo, 100 * i.hi);
    if (t->n_connect) {
        snprintf(p50, sizeof(p50), "%.1f ms", (double)connect_quantile(t, 0.5) / (double)BASE_NS_PER_MS);
        snprintf(p99, sizeof(p99), "%.1f ms", (double)connect_quantile(t, 0.99) / (double)BASE_NS_PER_MS);
    }
    table_names(out, w, cell->nat_a->name, cell->nat_b->name, cell->choice->label, cell->link->label);
    if (t->calibration.n)
        snprintf(expected, sizeof(expected), "%.1f %%", 100 * predicted(&t->calibration));
    if (w->predicted)
        fprintf(out, "%9s  ", expected);
    fprintf(out, "%9s  %15s  %11s  %11s\n", score, interval, p50, p99);
}

void campaign_summary_table(FILE *out, const struct campaign_cell *cells, const struct campaign_tally *tallies,
                            size_t n)
{
    struct widths w = {.nat_a = 5, .nat_b = 5, .technique = 9};
    bool links = false;
    for (size_t i = 0; i < n; i++) {
        widen(&w.nat_a, cells[i].nat_a->name);
        widen(&w.nat_b, cells[i].nat_b->name);
        widen(&w.technique, cells[i].choice->label);
        links |= strcmp(cells[i].link->label, cells[0].link->label) != 0;
        w.predicted |= tallies[i].calibration.n > 0;
    }
    for (size_t i = 0; links && i < n; i++)
        widen(&w.link, cells[i].link->label);
    table_names(out, &w, "NAT a", "NAT b", "technique", "link");
    if (w.predicted)
        fprintf(out, "%9s  ", "predicted");
    fprintf(out, "%9s  %15s  %11s  %11s\n", "ok/trials", "95 % interval", "connect p50", "connect p99");
    for (size_t i = 0; i < n; i++)
        table_row(out, &w, &cells[i], &tallies[i]);
}

/* ---- calibration ----------------------------------------------------------------------------- */

void campaign_summary_calibration(FILE *out, const struct campaign_tally *tallies, size_t n)
{
    struct record_calibration all = {0};
    for (size_t i = 0; i < n; i++)
        record_calibration_merge(&all, &tallies[i].calibration);
    if (!all.n)
        return;
    fprintf(out, "predicted    mean   ok/trials  measured    95 %% interval\n");
    for (unsigned b = 0; b < RECORD_CALIBRATION_BINS; b++) {
        struct record_calibration_point p;
        if (!record_calibration_point(&all, b, RECORD_Z95, &p))
            continue;
        bool inside = p.interval.lo <= p.mean_p && p.mean_p <= p.interval.hi;
        char score[48];
        snprintf(score, sizeof(score), "%llu/%llu", (unsigned long long)all.bins[b].k,
                 (unsigned long long)all.bins[b].n);
        fprintf(out, "%.1f - %.1f  %.4f  %9s  %6.1f %%  %5.1f - %5.1f %%%s\n", b / 10.0, (b + 1) / 10.0, p.mean_p,
                score, 100 * p.measured, 100 * p.interval.lo, 100 * p.interval.hi, inside ? "" : "  outside");
    }
    fprintf(out, "Brier score %.4f over %llu trials\n", record_brier(&all), (unsigned long long)all.n);
}

/* ---- the controls ---------------------------------------------------------------------------- */

/* 99.9 %, two-sided: of a thousand cells that are as expected, one is called wrong. */
#define Z999 3.2905

/* Every success went one of the ways that it may. */
static bool paths_hold(const struct campaign_expect *e, uint64_t ok, const uint64_t paths[RECORD_PATHS])
{
    uint64_t right = 0;
    for (unsigned i = 0; i < RECORD_PATHS; i++)
        right += e->paths >> i & 1 ? paths[i] : 0;
    return !e->paths || right == ok;
}

bool campaign_expect_holds(const struct campaign_expect *e, uint64_t ok, uint64_t n, double predicted_p,
                           const uint64_t paths[RECORD_PATHS])
{
    /* Half a trial: rates are written with few digits. */
    double off = (double)ok / (double)n - e->rate, half = 0.5 / (double)n;
    struct record_interval i = record_wilson(ok, n, Z999);
    if (!paths_hold(e, ok, paths))
        return false;
    switch (e->op) {
    case CAMPAIGN_AT_LEAST:
        return off > -half;
    case CAMPAIGN_AT_MOST:
        return off < half;
    case CAMPAIGN_ABOUT:
        return i.lo <= e->rate && e->rate <= i.hi;
    case CAMPAIGN_PREDICTED:
        return i.lo <= predicted_p && predicted_p <= i.hi; /* not for NAN */
    default:
        return fabs(off) < half;
    }
}

void campaign_expect_found(char *buf, size_t cap, const struct campaign_expect *e, uint64_t ok, uint64_t n,
                           const uint64_t paths[RECORD_PATHS])
{
    const char *between = ", by ";
    size_t len = (size_t)snprintf(buf, cap, "%llu of %llu ok", (unsigned long long)ok, (unsigned long long)n);
    for (unsigned i = 0; e->paths && i < RECORD_PATHS; i++)
        if (paths[i] && len < cap) {
            len += (size_t)snprintf(buf + len, cap - len, "%s%s %llu", between, record_path_name((enum record_path)i),
                                    (unsigned long long)paths[i]);
            between = ", ";
        }
}

static bool holds(const struct campaign_expect *e, const struct campaign_tally *t)
{
    /* What was infeasible was predicted to fail. */
    uint64_t tried = t->calibration.n, n = tried + t->outcomes[RECORD_INFEASIBLE];
    double p = !n ? (double)NAN : tried ? predicted(&t->calibration) * (double)tried / (double)n : 0;
    return campaign_expect_holds(e, t->outcomes[RECORD_OK], t->measured, p, t->paths);
}

size_t campaign_summary_check(FILE *out, const struct campaign_config *config, const struct campaign_cell *cells,
                              const struct campaign_tally *tallies, size_t n)
{
    size_t violated = 0;
    char found[160];
    for (size_t i = 0; i < n; i++) {
        const struct campaign_expect *e = campaign_expect_for(config, &cells[i]);
        if (!e || !tallies[i].measured || holds(e, &tallies[i]))
            continue;
        campaign_expect_found(found, sizeof(found), e, tallies[i].outcomes[RECORD_OK], tallies[i].measured,
                              tallies[i].paths);
        fprintf(out, "not as expected: %s: %s, but %s:%d says %s\n", cells[i].name, found, config->path, e->line,
                e->text);
        violated++;
    }
    return violated;
}
