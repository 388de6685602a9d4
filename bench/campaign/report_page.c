/* What the page says of expectations, predictions, and of which techniques it compares. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/report_page.h"
#include "bench/campaign/report_plots.h"

/* ---- expectations ---------------------------------------------------------------------------- */

void report_page_checks(struct report_page *p)
{
    char *lines = NULL, err[CAMPAIGN_ERROR_LEN];
    size_t len = 0, judged, all = 0;
    FILE *mem = open_memstream(&lines, &len);
    int violated = 0;
    if (!mem)
        return;
    for (size_t i = 0; i < p->set->n_runs && violated >= 0; i++) {
        int n = report_check(mem, p->set, i, &judged, err);
        all += judged;
        violated = n < 0 ? n : violated + n;
    }
    fclose(mem);
    if (violated < 0) {
        report_page_raw(p, "<p class=\"bad\">");
        report_page_text(p, "%s", err);
        report_page_raw(p, "</p>\n");
    } else if (violated > 0) {
        report_page_raw(p,
                        violated <= 5 ? "<details open><summary class=\"bad\">" : "<details><summary class=\"bad\">");
        report_page_text(p, "%d of %zu cells with an expectation are not as expected", violated, all);
        report_page_raw(p, "</summary>\n<pre>");
        report_html_text(p->out, lines);
        report_page_raw(p, "</pre></details>\n");
    } else if (all) {
        report_page_raw(p, "<p>");
        report_page_text(p, "All %zu cells with an expectation are as expected.", all);
        report_page_raw(p, "</p>\n");
    }
    free(lines);
}

/* ---- predictions ----------------------------------------------------------------------------- */

static void put_prediction(struct report_page *p, const struct report_prediction *r)
{
    const struct report_cell *c = r->cell;
    report_page_raw(p, "<tr>");
    report_page_cell(p, TD, "%s", c->nat_a);
    report_page_cell(p, TD, "%s", c->nat_b);
    report_page_cell(p, TD, "%s", c->label);
    report_page_cell(p, NUM, "%llu/%llu", (unsigned long long)c->ok, (unsigned long long)c->n);
    report_page_cell(p, NUM, "%.1f [%.1f, %.1f]", 100 * (double)c->ok / (double)c->n, 100 * r->interval.lo,
                     100 * r->interval.hi);
    report_page_cell(p, NUM, "%.2f", 100 * r->predicted);
    report_page_cell(p, NUM, "%.2g", r->p);
    report_page_cell(p, TD, "%s",
                     r->p_holm <= REPORT_ALPHA ? "yes"
                     : r->p_bh <= REPORT_ALPHA ? "only Benjamini-Hochberg"
                                               : "no");
    report_page_cell(p, TD, "%s", r->asked ? "as predicted" : "otherwise, or nothing");
    report_page_raw(p, "</tr>\n");
}

/* Longer, nobody reads it; bench check has all. */
#define OUTSIDE_MOST 100

static void put_outside(struct report_page *p, const struct report_predictions *all)
{
    size_t put = 0;
    report_page_raw(p, "<details><summary>");
    report_page_text(p, "The %zu cells outside%s", all->n - all->inside,
                     all->n - all->inside > OUTSIDE_MOST ? ", the least likely first (all: bench check)" : "");
    report_page_raw(p,
                    "</summary>\n<div class=\"table\"><table><thead><tr><th>NAT a</th><th>NAT b</th><th>technique</th>"
                    "<th class=\"n\">ok/trials</th><th class=\"n\">success, % [95 %, Wilson]</th><th class=\"n\">"
                    "predicted, %</th><th class=\"n\">p</th><th>remains outside</th><th>campaign expects</th></tr>"
                    "</thead><tbody>\n");
    for (size_t i = 0; i < all->n && put < OUTSIDE_MOST; i++)
        if (!all->list[i].inside) {
            put_prediction(p, &all->list[i]);
            put++;
        }
    report_page_raw(p, "</tbody></table></div></details>\n");
}

static void put_predictions(struct report_page *p, const struct report_run *run, const struct report_predictions *all)
{
    report_page_raw(p, "<h3>");
    report_page_text(p, "Cell by cell%s%s", p->set->n_runs > 1 ? ": " : "", p->set->n_runs > 1 ? run->name : "");
    report_page_raw(p, "</h3>\n<p>");
    report_page_text(p,
                     "The 95 %% interval of what was measured holds the mean prediction in %zu of %zu cells (%.1f %%).",
                     all->inside, all->n, 100 * (double)all->inside / (double)all->n);
    if (all->asked)
        report_page_text(p, " Of the %zu that the campaign expects to be as predicted, in %zu (%.1f %%).", all->asked,
                         all->asked_inside, 100 * (double)all->asked_inside / (double)all->asked);
    if (all->untried)
        report_page_text(p, " %zu further cells were called infeasible in every trial, and not tried.", all->untried);
    report_page_raw(p, "</p>\n<p class=\"soft\">");
    report_page_text(
        p,
        "With predictions that are all true up to %.0f of %zu would lie outside by chance. Adjusted for so "
        "many comparisons (exact binomial tests), %zu remain outside by Holm's method, and %zu by "
        "Benjamini and Hochberg's. Trials that a plan called infeasible count as predicted to fail.",
        0.05 * (double)all->n, all->n, all->holm, all->bh);
    report_page_raw(p, "</p>\n");
    if (all->inside < all->n)
        put_outside(p, all);
}

void report_page_predictions(struct report_page *p)
{
    char err[CAMPAIGN_ERROR_LEN];
    for (size_t i = 0; i < p->set->n_runs; i++) {
        struct report_predictions all;
        /* Expectations that cannot be read are said above. */
        if (report_predictions(p->set, i, &all) == 0 && all.n) {
            report_asked(p->set, i, &all, err);
            put_predictions(p, &p->set->runs[i], &all);
        }
        free(all.list);
    }
}

/* ---- TCP beside UDP -------------------------------------------------------------------------- */

void report_page_pairings(struct report_page *p)
{
    struct report_pairings pairs;
    char place[2 * REPORT_PART_LEN + 8];
    if (report_pairings_find(p->set, &pairs) < 0)
        return;
    if (!pairs.n) {
        report_page_raw(p, "<p>");
        report_page_text(p, "%s", "This campaign has no technique over TCP beside one over UDP.");
        report_page_raw(p, "</p>\n");
        report_pairings_free(&pairs);
        return;
    }
    report_page_raw(p, "<ul>\n");
    for (size_t i = 0; i < pairs.n; i++) {
        const struct report_cell *a = pairs.list[i].tcp, *b = pairs.list[i].udp;
        report_place(p->set, a, place, sizeof(place));
        report_page_raw(p, "<li>");
        report_page_text(p, "%s (%s) minus %s (%s)%s%s", a->label, *a->transport ? a->transport : "?", b->label,
                         *b->transport ? b->transport : "?", p->figures->same_link ? "" : ", ",
                         p->figures->same_link ? "" : place);
        report_page_raw(p, "</li>\n");
    }
    report_page_raw(p, "</ul>\n<p class=\"soft\">");
    report_page_text(p, "%s",
                     p->set->n_beside
                         ? "As asked for with --techniques."
                         : "Paired is the first technique over TCP with the first one over UDP, the second "
                           "with the second, and so on, in the campaign's order; bench report --techniques "
                           "X,Y pairs others.");
    for (size_t i = 0; i < pairs.n_alone; i++)
        report_page_text(p, "%s%s", i ? ", " : " Without a counterpart: ", pairs.alone[i]->label);
    report_page_raw(p, pairs.n_alone ? ".</p>\n" : "</p>\n");
    report_pairings_free(&pairs);
}
