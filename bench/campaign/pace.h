/* bench/campaign, for the coordinator: how many workers at once, and how far they are. */
#ifndef BENCH_CAMPAIGN_PACE_H
#define BENCH_CAMPAIGN_PACE_H

#include "bench/campaign/campaign.h"

/* ---- how many at once (pace.c; pure) --------------------------------------------------------- */

struct campaign_pace {
    size_t min, max, limit; /* workers */
    bool slow;              /* the limit has been too high */
    size_t reports, late;   /* since it was judged; of those over their bound */
    uint64_t solo_ns[CAMPAIGN_MAX_TECHNIQUES];
};

/* Begins with min. */
void campaign_pace_init(struct campaign_pace *p, size_t min, size_t max);
/* How late packets were (99th percentile) when a worker with that technique was alone; the most rules. */
void campaign_pace_solo(struct campaign_pace *p, size_t technique, uint64_t late_ns);
/* How late they were now, with so many workers. Moves the limit. */
void campaign_pace_report(struct campaign_pace *p, size_t technique, uint64_t late_ns, size_t running);
/* What is still as it should be. */
uint64_t campaign_pace_bound(const struct campaign_pace *p, size_t technique);

/* ---- progress (progress.c) ------------------------------------------------------------------- */

/* Of one cell: trials that are left, and what those of this run took. */
struct campaign_left {
    size_t technique; /* of the campaign's list */
    uint64_t left;    /* trials */
    uint64_t chain;   /* of those, at least so many come one after the other */
    uint64_t made, spent_ns;
};

/* Seconds until all are measured by so many workers; NAN: nothing is known yet. What a trial of a cell takes is the
 * mean of its own, or else of its technique's, or else of all. Pure. */
double campaign_eta(const struct campaign_left *cells, size_t n, size_t workers);

struct campaign_progress {
    bool terminal;
    bool shown;
};

void campaign_progress_init(struct campaign_progress *p);
/* The status line as text: "312/960 trials, 16 workers, about 41 s left". eta_s NAN: without the last. Pure. */
void campaign_progress_format(uint64_t done, uint64_t total, size_t workers, double eta_s, char *buf, size_t cap);
void campaign_progress_show(struct campaign_progress *p, const char *text);
/* Takes the line away, so that something else can be printed. */
void campaign_progress_hide(struct campaign_progress *p);

#endif
