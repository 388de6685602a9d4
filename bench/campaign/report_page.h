/* Parts of the page, for report_html.c and report_page.c only. */
#ifndef BENCH_CAMPAIGN_REPORT_PAGE_H
#define BENCH_CAMPAIGN_REPORT_PAGE_H

#include "bench/campaign/report.h"

struct report_page {
    FILE *out;
    struct report_set *set;
    const struct report_figures *figures;
    const char *dir;
    char *err;
    int error;
};

/* Markup, as it is. */
void report_page_raw(struct report_page *p, const char *markup);
/* Printed, then escaped; up to 1,023 bytes. */
__attribute__((format(printf, 2, 3))) void report_page_text(struct report_page *p, const char *fmt, ...);
/* A field of a table, beginning with `open`. */
__attribute__((format(printf, 3, 4))) void report_page_cell(struct report_page *p, const char *open, const char *fmt,
                                                            ...);
#define TD  "<td>"
#define NUM "<td class=\"n\">"

/* Which cells are not as their campaigns expect. */
void report_page_checks(struct report_page *p);
/* Which cells are not as their plans predicted. */
void report_page_predictions(struct report_page *p);
/* Which techniques stand beside each other. */
void report_page_pairings(struct report_page *p);

#endif
