/* The plots of a report, for report_plots*.c and report_figures.c only. */
#ifndef BENCH_CAMPAIGN_REPORT_PLOTS_H
#define BENCH_CAMPAIGN_REPORT_PLOTS_H

#include "bench/campaign/report.h"

/* Characters of a name beside an axis, and how wide one is at 11 px. */
#define NAME_CHARS 34
#define CHAR_PX    6.4

/* ---- what is drawn together (report_figures.c; pure) ----------------------------------------- */

/* Place: of one run and link. Only such cells share a plot. */
bool report_same_place(const struct report_cell *a, const struct report_cell *b);
bool report_same_pair(const struct report_cell *a, const struct report_cell *b);
bool report_same_panel(const struct report_cell *a, const struct report_cell *b); /* place and technique */
bool report_same_pair_place(const struct report_cell *a, const struct report_cell *b);
bool report_is_technique(const struct report_cell *c); /* no control */
bool report_is_tcp(const struct report_cell *c);
bool report_is_udp(const struct report_cell *c);
const char *report_transport(const struct report_cell *c); /* "TCP", "UDP" or "?" */

typedef bool report_same_fn(const struct report_cell *a, const struct report_cell *b);

/* Cells that are the first of their kind, in order; the array is the caller's. */
struct report_kinds {
    struct report_cell **list;
    size_t n;
};
/* wanted = NULL: of all cells. 0, or -ENOMEM. */
int report_kinds_find(struct report_set *set, report_same_fn *same, bool (*wanted)(const struct report_cell *),
                      struct report_kinds *out);

/* ---- TCP beside UDP (report_pairings.c; pure) ------------------------------------------------ */

/* Each the first cell of its technique there. */
struct report_pairing {
    const struct report_cell *tcp, *udp;
};
struct report_pairings {
    struct report_pairing *list;
    size_t n;
    const struct report_cell **alone; /* techniques without a counterpart */
    size_t n_alone;
};
/* set->beside where there is any; else the first technique over TCP and the first over UDP, the second ones, and so on,
 * in the campaign's order. 0, or -ENOMEM. */
int report_pairings_find(struct report_set *set, struct report_pairings *out);
void report_pairings_free(struct report_pairings *p);

/* ---- a figure (report_figures.c) ------------------------------------------------------------- */

struct report_writer {
    struct report_set *set;
    struct report_figures *figures;
    const char *dir;
    struct report_figure *now;
    FILE *data; /* of the figure that was begun */
    int error;
};

/* Begins a figure, whose files are KIND-WHAT. False: no more figures, or an error. */
bool report_plot_begin(struct report_writer *w, enum report_section section, const char *script, const char *kind,
                       const char *what);
/* Assignments for gnuplot. */
__attribute__((format(printf, 2, 3))) void report_plot_params(struct report_writer *w, const char *fmt, ...);
void report_plot_name(struct report_writer *w, const char *text);
/* Ends a block of data. */
void report_plot_block(struct report_writer *w);
void report_plot_end(struct report_writer *w);
/* Pixels of a name beside an axis. */
int report_name_px(const char *text);
int report_widest(const struct report_names *names);
/* A title out of a cell's label (if `label`) and place. */
void report_plot_title(const struct report_writer *w, const struct report_cell *c, bool label, char *out, size_t cap);
/* The same for a file's name. */
void report_plot_file(const struct report_writer *w, const struct report_cell *c, bool label, char *out, size_t cap);

/* ---- the plots; 0, or -errno ------------------------------------------------------------------- */

int report_plot_success(struct report_writer *w);
int report_plot_medians(struct report_writer *w);
int report_plot_latencies(struct report_writer *w);
int report_plot_failures(struct report_writer *w);
int report_plot_budgets(struct report_writer *w);
int report_plot_calibration(struct report_writer *w);
int report_plot_qualities(struct report_writer *w);

/* A map of the differences of all NAT pairs; the list may be in any order. */
void report_plot_difference(struct report_writer *w, const struct report_cell *tcp, const char *what, const char *title,
                            const char *caption, const struct report_difference *list, size_t n);

#endif
