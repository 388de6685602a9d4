/* bench/campaign: what is measured by a worker, and by all of them. */
#ifndef BENCH_CAMPAIGN_MEASURE_H
#define BENCH_CAMPAIGN_MEASURE_H

#include "bench/campaign/hosts.h"
#include "bench/campaign/results.h"

/* ---- one range of one cell (worker.c) -------------------------------------------------------- */

/* Trials first .. first + count - 1 of one cell. Trials are numbered from config->warmup on, so that those of the
 * warm-up have numbers, too: first - warmup .. first - 1. */
struct campaign_job {
    const struct campaign_config *config;
    const struct campaign_cell *cell;
    const char *program_dir;
    struct campaign_pcap pcap;
    uint64_t first, count; /* those that count; config->warmup others come before them */
};

/* What a worker writes: a line that begins with '{' is a joint record, one with '!' says what failed, '+' that its lab
 * stands and its programs run, and '#' how late the lab's packets were since the last such line (99th percentile, ns).
 */
#define CAMPAIGN_LINE_FAILED  '!'
#define CAMPAIGN_LINE_STARTED '+'
#define CAMPAIGN_LINE_LATE    '#'
/* The longest line: two sides, each as long as one frame to S can be, and the rest. */
#define CAMPAIGN_LINE_MAX (1u << 20)

/* Runs in a process of its own, and writes to fd. The exit status. */
int campaign_worker_main(const struct campaign_job *job, int fd);

/* ---- all of them (coordinator.c) ------------------------------------------------------------- */

struct campaign_run {
    const struct campaign_config *config;
    const struct campaign_cell *cells;
    struct campaign_tally *tallies;
    size_t n;
    const char *program_dir;
    struct campaign_pcap pcap;
    struct campaign_results *results;
    struct loop *loop;
    size_t parallel; /* workers at once */
    bool paced;      /* at most; how many is decided by how late packets are */
    /* what came of it */
    int signal;        /* stopped by it; 0 = ran to the end */
    int err;           /* stopped by an error, -errno; 0 = none */
    size_t unmeasured; /* cells with trials that could not be measured */
    uint64_t late_ns;  /* how late the lab's packets were: the median over the reports of their 99th percentiles */
    size_t most;       /* workers at once */
    json_t *load;      /* of run.json's `loads`; the caller's */
};

/* The most workers to run at once on this machine, of so many that there are to run. */
size_t campaign_auto_parallel(const struct campaign_config *config, size_t ranges);
/* Measures all that is missing. 0, or -errno when it had to stop (the reason has been said). */
int campaign_coordinate(struct campaign_run *run);

/* ---- before anything runs (turn.c) ----------------------------------------------------------- */

/* Is there a TURN server for the cells that relay? 0, or -ENOENT: said on stderr. */
int campaign_turn_check(const struct campaign_cell *cells, size_t n);

#endif
