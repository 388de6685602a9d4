/*
 * What `bench report`, `compare` and `check` make of recorded results. Reading and preparing is apart from drawing:
 *
 *   report_lines.c, report_read.c    folders of results -> struct report_set, one line of trials.jsonl at a time
 *   report_cells.c    finding cells, what was seen of each, orders of names (pure)
 *   report_compare.c  differences between two lists of cells (pure)
 *   report_predictions.c  cells beside what their plans predicted (pure)
 *   report_pairings.c which technique stands beside which (pure)
 *   report_plots.c    which plots there are, and their data     report_shapes.c  curves, bins, bars (pure)
 *   report_quality.c  how good paths were: rows (pure), table, plots
 *   report_draw.c     gnuplot                                   report_html.c, report_page.c    the page
 *
 * A trial costs a few bits and a success 8 bytes: what is recorded about it is read once and forgotten.
 */
#ifndef BENCH_CAMPAIGN_REPORT_H
#define BENCH_CAMPAIGN_REPORT_H

#include "bench/campaign/campaign.h"
#include "bench/record/record.h"

#define REPORT_MAX_RUNS   16
#define REPORT_MAX_BESIDE 32
/* Ways to fail that are told apart, by outcome and by what the peers say of it; the last stands for all others. */
#define REPORT_REASONS    16
#define REPORT_REASON_LEN 48
#define REPORT_PART_LEN   96
#define REPORT_MAX_CELLS  65536
/* Of adjusted p-values: what is at most that differs. */
#define REPORT_ALPHA 0.05

/* One folder. */
struct report_run {
    char dir[PATH_MAX];
    char name[REPORT_PART_LEN]; /* of the folder, for people */
    json_t *json;               /* its run.json */
    uint64_t records;           /* trials read */
};

/* One trial's path, where it was measured. */
struct report_quality {
    char path[12];
    struct record_quality q;
};

struct report_cell {
    char name[256];
    char nat_a[REPORT_PART_LEN], nat_b[REPORT_PART_LEN], label[REPORT_PART_LEN], link[REPORT_PART_LEN];
    char transport[8], technique[32], mode[32];
    size_t run;
    uint64_t holes, probes; /* asked for by the campaign's options; 0 = the plan chose */
    uint64_t n, ok;
    uint64_t outcomes[RECORD_OUTCOMES];
    uint64_t paths[RECORD_PATHS]; /* of the successes */
    uint64_t reasons[REPORT_REASONS];
    uint64_t *connect_ns; /* of the successes, in any order */
    size_t n_connect, cap_connect;
    struct report_quality *quality;
    size_t n_quality, cap_quality;
    struct record_calibration calibration; /* without what was called infeasible: it was not tried */
    uint8_t *seen, *won;                   /* bits by trial */
    uint64_t bits;
};

struct report_set {
    struct report_run runs[REPORT_MAX_RUNS];
    size_t n_runs;
    struct report_cell *cells; /* in the campaigns' order, then as they came */
    size_t n, cap;
    uint32_t *index; /* by run and name: an open hash of 1 + the place in cells */
    size_t slots;
    char reasons[REPORT_REASONS][REPORT_REASON_LEN];
    size_t n_reasons;
    const char *beside[REPORT_MAX_BESIDE][2]; /* techniques to compare, as asked for; none: TCP with UDP by position */
    size_t n_beside;
};

/* ---- cells (report_cells.c; pure) ------------------------------------------------------------ */

/* The cell of that run, made if there is none. NULL: no memory, or more than REPORT_MAX_CELLS. Cells move when one is
 * made. */
struct report_cell *report_cell_get(struct report_set *set, size_t run, const char *name);
/* The same, but NULL if there is none. */
struct report_cell *report_cell_find(const struct report_set *set, size_t run, const char *name);
/* Splits NAT-A/NAT-B/LABEL/LINK; what is not of that form is a NAT pair of its own, and `label` its technique. */
void report_cell_name_parts(struct report_cell *cell, const char *label);
/* Counts a trial; why = "" where the peers did not say. 0, -EEXIST (it is there already), -ERANGE (its number), or
 * -ENOMEM. */
int report_cell_add(struct report_set *set, struct report_cell *cell, const struct record_view *view, const char *why);
/* Puts the ways to fail into an order that does not depend on that of the trials. */
void report_reasons_sort(struct report_set *set);
bool report_cell_bit(const uint8_t *bits, uint64_t n, uint64_t trial);
void report_set_free(struct report_set *set);

/* The mean of the plans' predictions; NAN for none. */
double report_predicted(const struct record_calibration *c);
/* The control, which sends nothing: it belongs into tables, not beside techniques. */
bool report_is_control(const struct report_cell *cell);

/* What is behind `--name` in a technique's options; 0 = nothing. */
uint64_t report_option(const char *options, const char *name);

/* ---- reading (report_lines.c, report_read.c) ------------------------------------------------- */

/* One line without its end, which is '\0'. 0 to go on, or -errno with err filled. */
typedef int report_line_fn(void *user, const char *line, size_t len, char err[CAMPAIGN_ERROR_LEN]);
/* All lines of dir's trials.jsonl, .gz, .xz or .zst: the first of them that is there. A last line that a kill tore does
 * not count, and is said on stderr. 0, or -errno with err filled. */
int report_lines(const char *dir, report_line_fn *take, void *user, char err[CAMPAIGN_ERROR_LEN]);

/* Adds a folder's run.json and trials to the set. 0, or -errno with err filled; -EPROTONOSUPPORT for a newer schema. */
int report_read(struct report_set *set, const char *dir, char err[CAMPAIGN_ERROR_LEN]);

/* ---- comparing (report_compare.c; pure) ------------------------------------------------------ */

struct report_latency {
    size_t n;
    uint64_t median;
    uint64_t lo, hi; /* 95 % by order statistics; lo = 0 or hi = 0: too few to bound it there */
};
/* Sorts the cell's connect_ns. */
struct report_latency report_latency(struct report_cell *cell);

struct report_difference {
    struct report_cell *a, *b;
    bool paired;
    struct record_pairs pairs;
    double diff; /* success of a minus that of b */
    struct record_interval interval;
    double p, p_holm, p_bh;
    struct report_latency la, lb;
    double median_diff;              /* ns, a minus b; NAN: one of them has no success */
    struct record_interval median_i; /* ns; infinite where the samples are too small */
    double ks_d, ks_p, ks_p_holm;    /* NAN likewise */
};

/* Fills all but the adjusted p-values; sorts latencies. Paired: by the trials' numbers. */
void report_compare(struct report_cell *a, struct report_cell *b, bool paired, struct report_difference *out);
/* Holm's adjustment over all of them: one family of success rates, one of latencies; of the rates also Benjamini and
 * Hochberg's. 0, or -ENOMEM. */
int report_adjust(struct report_difference *list, size_t n);

/* What many comparisons come to. */
struct report_counts {
    size_t n;            /* with trials on both sides */
    size_t above, below; /* the interval lies above 0, below it */
    size_t holm, bh;     /* that differ after the adjustment */
};
struct report_counts report_count(const struct report_difference *list, size_t n);
/* A technique that no cell has is a mistake: said on stderr, with those that there are. 0, or -ENOENT. */
int report_check_label(const struct report_set *set, const char *label);
/* Splits "X,Y" in place. False: it is not of that form. */
bool report_split_labels(char *arg, const char *out[2]);

/* ---- predictions (report_predictions.c; pure) ------------------------------------------------ */

/* The mean of what the plans of all trials said, those that they called infeasible at 0: they were not tried, so none
 * of them can succeed. NAN: no plan said anything. */
double report_expected(const struct report_cell *cell);

struct report_prediction {
    const struct report_cell *cell;
    double predicted;                /* report_expected() */
    struct record_interval interval; /* Wilson's, 95 %, of what was measured */
    bool inside;                     /* it holds the prediction */
    bool asked;                      /* the campaign expects the cell to be as predicted (report_asked()) */
    double p, p_holm, p_bh; /* of "each trial succeeds with that probability", exact; trials whose predictions differ
                               vary less, so it errs to the large side */
};
struct report_predictions {
    struct report_prediction *list; /* the least likely first; the caller frees it */
    size_t n, inside;
    size_t holm, bh; /* that remain outside after the adjustment */
    size_t untried;  /* cells where every plan said infeasible: nothing to judge */
    size_t asked, asked_inside;
};
/* Of a run's cells in which a plan predicted anything and was tried. 0, or -ENOMEM; out->list may be set either way. */
int report_predictions(const struct report_set *set, size_t run, struct report_predictions *out);

/* ---- expectations (cmd_check.c) -------------------------------------------------------------- */

/* One line on `out` for each cell that its run's campaign expected otherwise; how many. -errno with err filled when the
 * run's expectations cannot be read. */
int report_check(FILE *out, const struct report_set *set, size_t run, size_t *judged, char err[CAMPAIGN_ERROR_LEN]);
/* Marks and counts the cells that the run's campaign expects to be as predicted. 0, or -errno with err filled. */
int report_asked(const struct report_set *set, size_t run, struct report_predictions *predictions,
                 char err[CAMPAIGN_ERROR_LEN]);

/* ---- shapes (report_shapes.c; pure) ---------------------------------------------------------- */

/* Foreign text as part of a plot: what gnuplot or its data files would take for more than text becomes '_', what is
 * longer than `most` characters ends in "...". Never empty. */
void report_plain(const char *text, size_t most, char *out, size_t cap);
/* Letters, digits, '-', '.' and '_' only: part of a file's name. */
void report_file_part(const char *text, char *out, size_t cap);
/* A rate for a small field: "0", "<1", "37", ">99", "100"; "" for no trials. */
void report_percent(uint64_t ok, uint64_t n, char out[8]);

/* A time for a small field: "<1", "61", "980", "1.2s", "15s". */
void report_ms(double ms, char out[8]);

/* Names in the order in which they came first. */
struct report_names {
    const char **list;
    size_t n, cap;
};
/* Where it is, added if it was not; SIZE_MAX: no memory. The text is not copied. */
size_t report_name(struct report_names *names, const char *text);
void report_names_free(struct report_names *names);

/* All latencies of the cells that `take` says yes to, sorted; and how many trials they had. */
struct report_sample {
    uint64_t *ns;
    size_t n;
    uint64_t trials;
};
typedef bool report_take_fn(const struct report_cell *cell, const void *user);
int report_sample_make(const struct report_set *set, report_take_fn *take, const void *user, struct report_sample *out);

/* The steps of a CDF of at most `most` + 2 points: calls put(x_ns, share of all trials). Thinning keeps each point
 * within 1 / most of the successes of where it was. */
typedef void report_point_fn(void *user, double x, double y);
void report_cdf(const struct report_sample *s, size_t most, report_point_fn *put, void *user);

/* The range of an axis of latencies (ms), with some air; logarithmic when it spans more than a factor of six. */
struct report_axis {
    double lo, hi;
    bool logarithmic;
};
struct report_axis report_axis(const struct report_sample *samples, size_t n);
/* The bin's edges (ms), and its share of all trials. */
struct report_bin {
    double lo, hi, share;
};
/* Of `n` bins over the axis. */
void report_histogram(const struct report_sample *s, const struct report_axis *axis, struct report_bin *bins, size_t n);

/* ---- plots (report_plots.c, report_draw.c) ----------------------------------------------------- */

enum report_section {
    REPORT_SUCCESS,
    REPORT_DIFFERENCE,
    REPORT_LATENCY,
    REPORT_FAILURES,
    REPORT_BUDGET,
    REPORT_CALIBRATION,
    REPORT_QUALITY,
    REPORT_SECTIONS
};

#define REPORT_MAX_FIGURES 256
#define REPORT_ID_LEN      120

struct report_figure {
    enum report_section section;
    char id[REPORT_ID_LEN]; /* of its files: ID.svg, ID.tsv */
    char script[16];        /* in bench/report */
    char params[1024];      /* gnuplot assignments; numbers, and names that report_plain() made */
    const char *group;      /* a heading over it and what follows; NULL: none */
    unsigned pair;          /* 1: stands beside the one that follows, which has 2 */
    bool wide;              /* a large matrix: two of them share the page's width */
    char caption[512];      /* plain text */
};

struct report_figures {
    struct report_figure list[REPORT_MAX_FIGURES];
    size_t n, left_out;
    bool same_link; /* all cells of one run and link: names need not say them */
};

/* Writes the data files of all plots into dir, and lists the plots. 0, or -errno. */
int report_plots_prepare(struct report_set *set, const char *dir, struct report_figures *out);
/* Draws them all, in dir, with one gnuplot. 0, or -errno with err filled; -ENOENT: there is no gnuplot. */
int report_plots_draw(const struct report_figures *figures, const char *dir, char err[CAMPAIGN_ERROR_LEN]);
/* The run and link of a cell for people: "rtt40", with several runs "lab: rtt40". */
void report_place(const struct report_set *set, const struct report_cell *cell, char *out, size_t cap);

/* ---- quality of paths (report_quality.c) ------------------------------------------------------- */

/* Of n values: the least, the median, the greatest; n = 0: none. */
struct report_spread {
    uint64_t lo, mid, hi;
    size_t n;
};
/* One cell's paths of one kind. */
struct report_quality_row {
    const struct report_cell *cell;
    const char *path;
    size_t n;                      /* trials */
    struct report_spread rtt;      /* ns: the least of all, the median of the trials' medians, the greatest of all */
    struct report_spread up, down; /* bit/s, of trials */
    uint64_t sent[2], lost[2];     /* datagrams, up and down */
};
/* Those of one run and link together; there direct, private, hairpin, reversed and relayed paths in turn, each in the
 * order of the cells. The array is the caller's. 0, or -ENOMEM. */
int report_quality_rows(const struct report_set *set, struct report_quality_row **rows, size_t *n);
/* The rows as HTML; how many, or -ENOMEM. */
int report_quality_table(FILE *out, const struct report_set *set);

/* ---- the page (report_html.c) ------------------------------------------------------------------ */

/* Text for HTML: markup escaped, control characters as U+FFFD. */
void report_html_text(FILE *out, const char *text);
/* The whole page from the template, the plots in dir inlined. 0, or -errno with err filled. */
int report_html(FILE *out, struct report_set *set, const struct report_figures *figures, const char *dir,
                char err[CAMPAIGN_ERROR_LEN]);

/* Writes report.html and plots/ into out_dir, in whole or not at all. 0, or -errno with err filled. */
int report_write(struct report_set *set, const char *out_dir, char err[CAMPAIGN_ERROR_LEN]);

#endif
