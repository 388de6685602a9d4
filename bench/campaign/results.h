/* bench/campaign: what was measured, what is missing, and the folder that has it. */
#ifndef BENCH_CAMPAIGN_RESULTS_H
#define BENCH_CAMPAIGN_RESULTS_H

#include "bench/campaign/campaign.h"
#include "bench/record/record.h"

/* ---- what was measured (tally.c; pure) ------------------------------------------------------- */

struct campaign_tally {
    uint64_t first, trials; /* which there are: first .. first + trials - 1 */
    bool *done;             /* from `first` on */
    bool *mine;             /* which of them this run is to measure; NULL: all */
    uint64_t measured;
    uint64_t outcomes[RECORD_OUTCOMES];
    uint64_t paths[RECORD_PATHS]; /* of the successes */
    uint64_t *connect_ns;         /* of the successes */
    size_t n_connect;
    uint64_t total_ns;                     /* of all of them together */
    uint64_t unmeasured;                   /* recorded as errors because the cell's programs failed */
    struct record_calibration calibration; /* of the trials whose plan predicted something and tried it */
};

int campaign_tally_init(struct campaign_tally *t, uint64_t first, uint64_t trials);
void campaign_tally_free(struct campaign_tally *t);
/* 0; -ERANGE for a trial that the campaign does not have; -EEXIST for one that is there already. */
int campaign_tally_add(struct campaign_tally *t, const struct record_view *view);
/* Whether this cell has such a trial, and it is there. */
bool campaign_tally_has(const struct campaign_tally *t, uint64_t trial);
/* The first run of missing trials at or after `from` that are this run's: first and count. False: there is none. */
bool campaign_tally_missing(const struct campaign_tally *t, uint64_t from, uint64_t *first, uint64_t *count);
/* How many trials are this run's to measure, those that are there included. */
uint64_t campaign_tally_mine(const struct campaign_tally *t);

/* ---- ranges of trials (blocks.c; pure) ------------------------------------------------------- */

/* What one worker makes in one go. A cell's trials are cut every config->block, so that long cells can be measured at
 * several places at once, lie all over the campaign's time, and be split among machines. */
struct campaign_range {
    size_t cell;
    uint64_t first, count;
};

/* I/N, from 1/1; 0/0 = all of the campaign. */
struct campaign_shard {
    uint64_t index, count;
};

/* "2/4". 0, or -EINVAL. */
int campaign_shard_parse(const char *text, struct campaign_shard *out);
/* Marks what is the shard's: blocks in a random order that the campaign's seed decides, dealt out in turn, so that the
 * shards together are exactly the campaign. With until_width whole cells are, for only who has seen all of a cell's
 * trials knows when to end. 0, or -ENOMEM. */
int campaign_shard_mark(const struct campaign_config *config, struct campaign_tally *tallies, size_t n,
                        struct campaign_shard shard);
/* What is missing of a cell and may be started, from *from on, at most to the end of its block; *from is moved on. With
 * until_width a cell's blocks come one after the other, and it ends with the first one after which the 95 % Wilson
 * interval of all its trials is at most so wide. False: nothing. */
bool campaign_range_next(const struct campaign_config *config, const struct campaign_tally *t, uint64_t *from,
                         uint64_t *first, uint64_t *count);
/* How many trials a cell will have, as far as can be told: with until_width, if its rate stays as it is. */
uint64_t campaign_trials_expected(const struct campaign_config *config, const struct campaign_tally *t);

/* ---- the folder (results.c, resume.c) -------------------------------------------------------- */

struct campaign_results {
    char dir[PATH_MAX];
    int trials_fd;       /* appended to; locked against a second writer */
    uint64_t started_ms; /* as its run.json says */
};

/* run.json: what will be measured, and on what. New reference. */
json_t *campaign_run_json(const struct campaign_config *config, const struct campaign_cell *cells, size_t n,
                          const char *filter, const char *profile_dir, const char *loop_features);
/* Says how two run.json differ in what is measured. True when they are one campaign; which shard it is, is not looked
 * at. */
bool campaign_run_same(const json_t *there, const json_t *here, char err[CAMPAIGN_ERROR_LEN]);
/* What THERE becomes when it goes on as HERE with more trials a cell, for a trial's seed does not depend on how many
 * there are, or with other expectations, which are no part of what is measured. New reference; NULL when the trials are
 * fewer, or anything else differs. */
json_t *campaign_run_grow(const json_t *there, const json_t *here);
/* Which shard; 0/0 for the whole. */
struct campaign_shard campaign_run_shard(const json_t *run);
void campaign_run_set_shard(json_t *run, struct campaign_shard shard);
/* When it was started, ms since the epoch; 0 where it does not say. */
uint64_t campaign_run_started_ms(const json_t *run);

typedef int campaign_write_fn(FILE *out, const void *what);
/* DIR/NAME anew, in whole or not at all: `write` writes all of it, and gives 0 or -errno. 0, or -errno. */
int campaign_file_replace(const char *dir, const char *name, campaign_write_fn *write, const void *what);
/* run.json. */
int campaign_run_write(const char *dir, const json_t *run);
/* Appends to the `loads` of a folder's run.json what the machine bore; takes the reference. 0, or -errno. */
int campaign_run_add_load(const char *dir, json_t *load);

/* Makes the folder with run.json and an empty trials.jsonl; or, to resume, opens one that is of the same campaign, or
 * of it with fewer trials a cell (not a shard), and counts what is there into the tallies (one a cell). A torn last
 * line is cut off. 0, or -errno with err filled. */
int campaign_results_open(struct campaign_results *r, const char *dir, bool resume, const json_t *run,
                          const struct campaign_cell *cells, struct campaign_tally *tallies, size_t n,
                          char err[CAMPAIGN_ERROR_LEN]);
/* Appends one line (with its '\n') in one write. 0, or -errno. */
int campaign_results_append(struct campaign_results *r, const char *line, size_t len);
void campaign_results_close(struct campaign_results *r);

/* Reads trials.jsonl from fd into the tallies. *good is the length of its whole lines; *torn says that bytes follow.
 * 0, or -errno with "line N: what" in err. */
int campaign_resume_read(FILE *in, const struct campaign_cell *cells, struct campaign_tally *tallies, size_t n,
                         long *good, bool *torn, char err[CAMPAIGN_ERROR_LEN]);

/* Cells by name. */
struct campaign_index {
    struct campaign_name {
        const char *name;
        size_t cell;
    } * sorted;
    size_t n;
};

/* 0, or -ENOMEM. The cells must outlive it. */
int campaign_index_make(struct campaign_index *index, const struct campaign_cell *cells, size_t n);
/* The cell's number; n: there is none. */
size_t campaign_index_find(const struct campaign_index *index, const char *name);
void campaign_index_free(struct campaign_index *index);

/* A whole line, with its '\n', of a trial that now counts (res 0), or that was there already (-EEXIST; err says so).
 * What it returns stands; with something else than 0, err says why. */
typedef int campaign_trial_fn(void *owner, size_t cell, const struct record_view *view, const char *line, size_t len,
                              int res, char err[CAMPAIGN_ERROR_LEN]);
/* Reads a trials.jsonl into the tallies, with a call for each line (on_trial may be NULL). A last line that a kill tore
 * is not read: *torn. 0, or -errno with "line N: what" in err. */
int campaign_trials_read(FILE *in, const struct campaign_index *index, struct campaign_tally *tallies,
                         campaign_trial_fn *on_trial, void *owner, bool *torn, char err[CAMPAIGN_ERROR_LEN]);

/* ---- summary (summary.c) --------------------------------------------------------------------- */

/* summary.csv into dir, in whole or not at all. 0, or -errno. */
int campaign_summary_write(const char *dir, const struct campaign_cell *cells, const struct campaign_tally *tallies,
                           size_t n);
void campaign_summary_csv(FILE *out, const struct campaign_cell *cells, const struct campaign_tally *tallies, size_t n);
void campaign_summary_table(FILE *out, const struct campaign_cell *cells, const struct campaign_tally *tallies,
                            size_t n);
/* Whether `ok` of `n` > 0 trials are as expected; predicted = the mean of what the plans said, NAN: nothing; paths: how
 * many of the successes went which way. Pure. */
bool campaign_expect_holds(const struct campaign_expect *e, uint64_t ok, uint64_t n, double predicted,
                           const uint64_t paths[RECORD_PATHS]);
/* What is not as expected, as text: "30 of 50 ok", and where paths are expected "by private 20, hairpin 10". */
void campaign_expect_found(char *buf, size_t cap, const struct campaign_expect *e, uint64_t ok, uint64_t n,
                           const uint64_t paths[RECORD_PATHS]);
/* Predicted probabilities beside what came out, by tenths, and the Brier score; nothing where nothing was predicted. */
void campaign_summary_calibration(FILE *out, const struct campaign_tally *tallies, size_t n);
/* One line on `out` for each cell that is not as expected; how many. Cells without a trial are not judged. */
size_t campaign_summary_check(FILE *out, const struct campaign_config *config, const struct campaign_cell *cells,
                              const struct campaign_tally *tallies, size_t n);

/* ---- latency.hlog (hlog.c) ------------------------------------------------------------------- */

/* latency.hlog into dir, in whole or not at all: a line a cell, tagged with its name, of the successes' connect_ns.
 * It starts at started_ms (since the epoch); a line's length is the sum of its trials' total_ns. 0, or -errno. */
int campaign_hlog_write(const char *dir, uint64_t started_ms, const struct campaign_cell *cells,
                        const struct campaign_tally *tallies, size_t n);

#endif
