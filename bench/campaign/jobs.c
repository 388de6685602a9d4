/*
 * What workers are given: ranges of cells in a random order that the seed decides, after a few trials of each technique
 * alone. What a failed worker did not measure is tried once more; what is missing then is recorded as an error, because
 * a trial that was meant to be made belongs in the denominator.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/coordinator.h"

#define ATTEMPTS 2
/* Trials of each technique that are made alone, before several are at once. */
#define SOLO_TRIALS 5
/* So many failed workers before the first record mean that nothing works here: the rest is not tried. */
#define HOPELESS 4

static int grow_jobs(struct coordinator *c)
{
    size_t cap = c->cap ? c->cap * 2 : 64;
    struct job *jobs = realloc(c->jobs, cap * sizeof(*jobs));
    if (!jobs)
        return -ENOMEM;
    c->jobs = jobs;
    c->cap = cap;
    return 0;
}

static int add_job(struct coordinator *c, struct campaign_range range, unsigned attempt)
{
    int res = c->end == c->cap ? grow_jobs(c) : 0;
    if (res < 0)
        return res;
    /* Anywhere among those that wait, or those of its round: cells and their ranges are started in a random order, so
     * that what drifts on this machine does not line up with them. */
    size_t begin = c->next > c->solo ? c->next : c->solo;
    begin = begin > c->round ? begin : c->round;
    size_t at = begin + (size_t)base_rng_below(&c->order, c->end - begin + 1);
    memmove(&c->jobs[at + 1], &c->jobs[at], (c->end - at) * sizeof(c->jobs[0]));
    c->jobs[at] = (struct job){.range = range, .attempt = attempt};
    c->end++;
    c->pending[range.cell]++;
    return 0;
}

/* What is missing of a cell between two trials. */
static int add_missing(struct coordinator *c, size_t cell, uint64_t from, uint64_t end, unsigned attempt)
{
    struct campaign_range range = {.cell = cell};
    int res = 0;
    while (res == 0 && campaign_range_next(c->run->config, &c->run->tallies[cell], &from, &range.first, &range.count) &&
           range.first < end) {
        if (range.count > end - range.first)
            range.count = end - range.first;
        res = add_job(c, range, attempt);
    }
    return res;
}

/* Brings a job of each technique to the front, with a few trials of it; the rest of its range waits. */
static int plan_solo(struct coordinator *c)
{
    bool seen[CAMPAIGN_MAX_TECHNIQUES] = {false};
    size_t front = 0;
    for (size_t i = 0; i < c->end; i++) {
        struct job job = c->jobs[i];
        size_t technique = coordinator_technique_of(c, job.range.cell);
        if (seen[technique])
            continue;
        seen[technique] = true;
        c->jobs[i] = c->jobs[front];
        uint64_t few = job.range.count < SOLO_TRIALS ? job.range.count : SOLO_TRIALS;
        c->jobs[front] = (struct job){.range = {job.range.cell, job.range.first, few}, .attempt = 1, .solo = true};
        c->solo = ++front;
        struct campaign_range rest = {job.range.cell, job.range.first + few, job.range.count - few};
        if (rest.count > 0 && add_job(c, rest, 1) < 0)
            return -ENOMEM;
    }
    return 0;
}

static uint64_t most_trials(const struct coordinator *c)
{
    uint64_t most = 0;
    for (size_t i = 0; i < c->run->n; i++)
        most = c->run->tallies[i].trials > most ? c->run->tallies[i].trials : most;
    return most;
}

/* In rounds, of one block of each cell: what is interrupted has measured all cells about as often. */
static int plan_rounds(struct coordinator *c)
{
    uint64_t block = c->run->config->block, most = most_trials(c);
    int res = 0;
    for (uint64_t from = 0; res == 0 && from < most; from += block) {
        c->round = c->end;
        for (size_t i = 0; res == 0 && i < c->run->n; i++) {
            uint64_t first = c->run->tallies[i].first + from;
            res = add_missing(c, i, first, first + block, 1);
        }
    }
    c->round = 0;
    return res;
}

int coordinator_plan_jobs(struct coordinator *c)
{
    base_rng_derive(&c->order, c->run->config->seed, "order", 0);
    int res = plan_rounds(c);
    /* With as few as may run at once in any case there is nothing to find out. */
    if (res == 0 && c->run->paced && c->end > c->pace.min)
        res = plan_solo(c);
    return res;
}

/* A cell that ends by its interval's width: its next block, when it has to have one. */
static void go_on(struct coordinator *c, size_t cell)
{
    if (c->run->config->until_width <= 0 || c->pending[cell] > 0 || coordinator_stopping(c))
        return;
    int res = add_missing(c, cell, 0, UINT64_MAX, 1);
    if (res < 0)
        coordinator_stop_for(c, res);
}

static json_t *unmeasured_record(const struct coordinator *c, size_t cell, uint64_t trial)
{
    const struct campaign_cell *what = &c->run->cells[cell];
    struct record_trial t = {.cell = what->name,
                             .trial = trial,
                             .seed = what->seed,
                             .technique = what->choice->technique->name,
                             .mode = what->choice->mode,
                             .transport = campaign_choice_transport(what->choice),
                             .predicted_p = NAN};
    return record_joint(&t, NULL, NULL);
}

static void record_unmeasured(struct coordinator *c, size_t cell, uint64_t trial)
{
    struct campaign_tally *tally = &c->run->tallies[cell];
    json_t *record = unmeasured_record(c, cell, trial);
    char *line = record ? json_dumps(record, JSON_COMPACT) : NULL;
    size_t len = line ? strlen(line) : 0;
    struct record_view view;
    json_decref(record);
    if (!line || record_view_parse(line, len, &view) < 0) {
        coordinator_stop_for(c, -ENOMEM);
    } else {
        line[len] = '\n'; /* in place of the NUL */
        coordinator_keep_record(c, tally, &view, line, len + 1);
        tally->unmeasured++;
    }
    free(line);
}

static void give_up(struct coordinator *c, const struct job *job)
{
    const struct campaign_tally *tally = &c->run->tallies[job->range.cell];
    char what[96];
    uint64_t n = 0;
    for (uint64_t t = job->range.first; t < job->range.first + job->range.count && !coordinator_stopping(c); t++)
        if (!campaign_tally_has(tally, t)) {
            record_unmeasured(c, job->range.cell, t);
            n++;
        }
    if (!c->unmeasured[job->range.cell])
        c->run->unmeasured++;
    c->unmeasured[job->range.cell] = true;
    snprintf(what, sizeof(what), "%llu trials could not be measured and count as errors", (unsigned long long)n);
    coordinator_say(c, job->range.cell, what);
}

static uint64_t missing_of(const struct coordinator *c, const struct job *job)
{
    uint64_t n = 0;
    for (uint64_t t = job->range.first; t < job->range.first + job->range.count; t++)
        n += !campaign_tally_has(&c->run->tallies[job->range.cell], t);
    return n;
}

void coordinator_job_ended(struct coordinator *c, size_t index)
{
    const struct job job = c->jobs[index];
    c->pending[job.range.cell]--;
    if (coordinator_stopping(c))
        return;
    if (missing_of(c, &job) == 0) {
        go_on(c, job.range.cell);
        return;
    }
    c->failures++;
    if (job.attempt >= ATTEMPTS) {
        c->jobs[index].lost = true;
    } else {
        int res = add_missing(c, job.range.cell, job.range.first, job.range.first + job.range.count, job.attempt + 1);
        if (res < 0)
            coordinator_stop_for(c, res);
    }
    if (c->failures >= HOPELESS && c->proven == 0) {
        c->hopeless = true;
        coordinator_stop_workers(c);
    }
}

void coordinator_settle_lost(struct coordinator *c)
{
    bool any = false;
    for (size_t i = 0; i < c->end; i++)
        any |= c->jobs[i].lost;
    if (c->hopeless || (any && c->proven == 0 && !coordinator_stopping(c))) {
        c->hopeless = true;
        base_error("no cell could be measured here: nothing is recorded");
    }
    for (size_t i = 0; i < c->end && !coordinator_stopping(c); i++)
        if (c->jobs[i].lost)
            give_up(c, &c->jobs[i]);
}
