/* The coordinator's own: coordinator.c runs the workers and writes records, jobs.c decides what they are given. */
#ifndef BENCH_CAMPAIGN_COORDINATOR_H
#define BENCH_CAMPAIGN_COORDINATOR_H

#include "bench/campaign/lines.h"
#include "bench/campaign/measure.h"
#include "bench/campaign/pace.h"
#include "bench/hist/hist.h"

struct job {
    struct campaign_range range;
    unsigned attempt;
    bool solo; /* it begins alone, to see how late packets are then */
    bool lost; /* not all of it was measured, and it is not tried again */
};

struct coordinator;

/* A place for one worker. */
struct slot {
    struct coordinator *c;
    struct job job;
    size_t index; /* of the job in the queue */
    bool busy;
    bool starting; /* it is still building its lab */
    bool refused;  /* its records are not to be trusted any more */
    int pidfd;
    uint64_t since_ns; /* its start, or its last record */
    struct loop_op died_op;
    struct campaign_lines lines;
};

struct coordinator {
    struct campaign_run *run;
    struct loop *loop;
    struct slot *slots;
    struct job *jobs; /* a queue: next to take, end */
    size_t next, end, cap;
    size_t solo;  /* so many in front begin alone */
    size_t round; /* while they are planned: where this round's begin */
    struct base_rng order;
    size_t running, starting, max_starting;
    struct campaign_pace pace;
    uint64_t alone_until_ns;                  /* for the job that is alone; 0: none is */
    struct hist late;                         /* of all reports */
    struct campaign_left *times;              /* by cell: what trials took */
    uint64_t begin_ns, changed_ns, worker_ns; /* workers * time until changed_ns */
    uint64_t done;                            /* trials in the file */
    uint64_t proven;                          /* of those, what workers measured in this run */
    uint64_t failures;                        /* of workers */
    bool *unmeasured;                         /* by cell */
    size_t *pending;                          /* by cell: jobs that have not ended */
    bool hopeless;
    bool over; /* no operation is started any more */
    int err;   /* why it had to stop */
    int signal_fd;
    struct loop_op signal_op, status_op, alone_op;
    struct campaign_progress progress;
};

static inline bool coordinator_stopping(const struct coordinator *c)
{
    return c->run->signal || c->err || c->hopeless;
}

static inline size_t coordinator_technique_of(const struct coordinator *c, size_t cell)
{
    return (size_t)(c->run->cells[cell].choice - c->run->config->techniques);
}

/* ---- coordinator.c --------------------------------------------------------------------------- */

/* A worker's lab and programs die with it. What it has written already is still read. */
void coordinator_stop_workers(struct coordinator *c);
/* The first reason stands. */
void coordinator_stop_for(struct coordinator *c, int err);
/* Appends a line to the file, and counts it. 0, or -errno: said, and stopped for. */
int coordinator_keep_record(struct coordinator *c, struct campaign_tally *tally, const struct record_view *view,
                            const char *line, size_t len);
/* A warning about a cell, past the status line. */
void coordinator_say(struct coordinator *c, size_t cell, const char *what);

/* ---- jobs.c ---------------------------------------------------------------------------------- */

/* All that is missing becomes jobs. 0, or -ENOMEM. */
int coordinator_plan_jobs(struct coordinator *c);
/* What its worker did not measure is tried once more, or is lost; what it did may call for more. */
void coordinator_job_ended(struct coordinator *c, size_t index);
/* What is lost belongs in the denominator; but where nothing at all could be measured it is this machine that failed,
 * and the trials stay to be made. */
void coordinator_settle_lost(struct coordinator *c);

#endif
