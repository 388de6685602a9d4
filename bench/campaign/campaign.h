/*
 * bench/campaign: the program `bench`. It expands a campaign into cells, measures each cell in a worker process of its
 * own (a lab with the programs in it), and writes down what came out. Programs are started, never linked.
 *
 *   config.c   campaign.ini -> struct campaign_config       cells.c    config -> cells (pure)
 *   blocks.c   cells -> ranges of trials, shards (pure)
 *   link.c     [link] -> each host's access link (pure)
 *   side.c     HOME@CARRIER                              hosts.c    the hosts of a cell, and their NATs
 *   worker.c   one range of one cell's trials, in a lab (program.c, peers.c, turn.c, exec.c; worker.h)
 *   coordinator.c   the workers, and the only writer
 *   jobs.c     what workers are given, in which order
 *   exec_config.c   the keys of `use = exec` (pure)         shell.c    a command in a host, and what it is told
 *   results.c  the folder: run.json, trials.jsonl           resume.c   what a folder already has
 *   folder.c   a folder, without its campaign file
 *   summary.c  summary.csv, the table, the expectations     hlog.c     latency.hlog
 *   pace.c     how many workers at once (pure)           progress.c the status line
 *   field.c    what S recorded between two real lines -> a folder
 *   report*.c  what report, compare and check make of recorded results: report.h
 *   cmd_*.c    the subcommands                              main.c     dispatch
 */
#ifndef BENCH_CAMPAIGN_H
#define BENCH_CAMPAIGN_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/base/base.h"
#include "bench/lab/lab.h"
#include "bench/loop/loop.h"
#include "bench/record/record.h"

/* One line: "file:line: what is wrong and what to write instead". */
#define CAMPAIGN_ERROR_LEN 512

#define CAMPAIGN_MAX_NATS       64
#define CAMPAIGN_MAX_PAIRS      64
#define CAMPAIGN_MAX_PROFILES   128
#define CAMPAIGN_MAX_TECHNIQUES 32
#define CAMPAIGN_MAX_LINKS      32
#define CAMPAIGN_MAX_EXPECT     64
#define CAMPAIGN_MAX_BUDGETS    64
#define CAMPAIGN_MAX_TRIALS     1000000
#define CAMPAIGN_MAX_WARMUP     100
#define CAMPAIGN_MAX_PARALLEL   512

/* Fills err and returns res. */
__attribute__((format(printf, 3, 4))) int campaign_fail(int res, char err[CAMPAIGN_ERROR_LEN], const char *fmt, ...);

/* ---- techniques (techniques.c) --------------------------------------------------------------- */

struct campaign_technique {
    const char *name;
    const char *program;
    const char *transport;
    const char *mode;         /* the default one, passed with --mode */
    const char *const *modes; /* what NAME:MODE may say, NULL-terminated */
    const char *doc;
};

/* The table, ended by name NULL. */
const struct campaign_technique *campaign_techniques(void);

#define CAMPAIGN_OPTIONS_LEN 256

enum campaign_end { CAMPAIGN_A, CAMPAIGN_B, CAMPAIGN_S, CAMPAIGN_ENDS };

#define CAMPAIGN_COMMAND_LEN  4096
#define CAMPAIGN_PATTERN_LEN  256
#define CAMPAIGN_MAX_STATUSES 8

enum campaign_start { CAMPAIGN_START_UNSET, CAMPAIGN_TOGETHER, CAMPAIGN_A_FIRST, CAMPAIGN_B_FIRST };
/* Whether s is started afresh for each trial (the default), or once for a range of a cell's trials. */
enum campaign_starts { CAMPAIGN_STARTS_UNSET, CAMPAIGN_STARTS_ANEW, CAMPAIGN_STARTS_ONCE };

/* `use = exec`: anybody's pair of commands. By CAMPAIGN_A, CAMPAIGN_B and CAMPAIGN_S, where it says so. */
struct campaign_exec {
    bool used;                                       /* something was set */
    char run[CAMPAIGN_ENDS][CAMPAIGN_COMMAND_LEN];   /* for /bin/sh; s: "" = no server */
    char ready[CAMPAIGN_ENDS][CAMPAIGN_PATTERN_LEN]; /* POSIX ERE on a line of output; "" = none */
    char success[2][CAMPAIGN_PATTERN_LEN];           /* "" = this side is not asked */
    enum campaign_start start;
    uint64_t delay_ns; /* of the second one, after the first one was started, and is ready */
    enum campaign_starts server;
    uint64_t timeout_ns;                    /* 0 = the campaign's */
    const char *transport;                  /* "tcp" or "udp"; static */
    uint8_t gave_up[CAMPAIGN_MAX_STATUSES]; /* exit statuses that mean that the attempt failed, not the program */
    size_t n_gave_up;
};

/* KEY = VALUE of a [technique LABEL] section with `use = exec`; `more`: an indented line that goes on with the key
 * before. -ENOENT for a key that exec has not; -EINVAL with err filled (without a place). */
int campaign_exec_set(struct campaign_exec *e, const char *key, const char *value, bool more,
                      char err[CAMPAIGN_ERROR_LEN]);
/* Whether all that must be given is, and fits together. 0, or -EINVAL with err filled. */
int campaign_exec_check(const struct campaign_exec *e, char err[CAMPAIGN_ERROR_LEN]);
/* The keys, with commas between them; static. */
const char *campaign_exec_keys(void);
/* For run.json. New reference. */
json_t *campaign_exec_json(const struct campaign_exec *e);

/* What a campaign names: NAME or NAME:MODE, or a section [technique LABEL] that gives one of them options. */
struct campaign_choice {
    const struct campaign_technique *technique;
    const char *mode;                   /* static */
    char label[48];                     /* in cell names: "simopen", "portspray-punch", "none" */
    char options[CAMPAIGN_OPTIONS_LEN]; /* separated by blanks; of role a's program, what each side has for itself of
                                           both */
    struct campaign_exec exec;          /* technique exec only */
    bool relay, relay_given;            /* mode auto has a relay as its last resort; `relay` was written */
};

/* Whether its peers are given a TURN server: `turnserver` has to be there. */
bool campaign_choice_relays(const struct campaign_choice *choice);

/* Whether side a asks its router for a port: one of Linux runs `miniupnpd` then. */
bool campaign_choice_maps(const struct campaign_choice *choice);

/* "tcp" or "udp"; static. */
const char *campaign_choice_transport(const struct campaign_choice *choice);

/* The sections [technique LABEL], with the keys `use` (NAME or NAME:MODE), `options` and `relay`, or those of exec. */
struct campaign_variants {
    struct campaign_choice list[CAMPAIGN_MAX_TECHNIQUES]; /* technique NULL: `use` has not come yet */
    size_t n;
};

/* These give 0, or -EINVAL with what is wrong, without a place, in err. `more`: an indented line that goes on with the
 * key before. */
int campaign_variant_set(struct campaign_variants *v, const char *label, const char *key, const char *value, bool more,
                         char err[CAMPAIGN_ERROR_LEN]);
/* A label of a section, or else what campaign_choice_parse() takes. */
int campaign_variant_resolve(const struct campaign_variants *v, const char *text, struct campaign_choice *out,
                             char err[CAMPAIGN_ERROR_LEN]);
int campaign_choice_parse(const char *text, struct campaign_choice *out, char err[CAMPAIGN_ERROR_LEN]);

/* ---- the campaign file (config.c, values.c) -------------------------------------------------- */

/* Cells whose NATs, technique and link match these globs. */
struct campaign_pattern {
    char nat_a[96], nat_b[96], technique[96], link[96];
};

/* Instead of the campaign's `trials`, for the cells that match. The last line that matches a cell rules. */
struct campaign_budget {
    char text[160]; /* as it was written */
    struct campaign_pattern cells;
    uint64_t trials;
};

/* About: the rate lies in the cell's 99.9 % Wilson interval. Predicted: so does the mean of what the plans said. */
enum campaign_op { CAMPAIGN_EXACTLY, CAMPAIGN_AT_LEAST, CAMPAIGN_AT_MOST, CAMPAIGN_ABOUT, CAMPAIGN_PREDICTED };

/* A control: cells that match must have this success rate. The last line that matches a cell rules. */
struct campaign_expect {
    char text[160]; /* "open/open/simopen = 100%" as written */
    struct campaign_pattern cells;
    enum campaign_op op;
    double rate;    /* 0 to 1 */
    unsigned paths; /* bits: which ways its successes may have gone; 0 = any */
    int line;
};

/* ---- links (link.c; pure) -------------------------------------------------------------------- */

#define CAMPAIGN_LINK_KEYS 10
#define CAMPAIGN_LINK_NAME 40

struct campaign_link_value {
    double value; /* ns, a probability, or bit/s */
    int line;     /* 0 = not from a file */
    bool set;
};

/* A peer's NAT restarts in the middle of each trial. */
struct campaign_restart {
    bool on, readdress; /* with another public address */
    uint64_t at_ns;     /* after the start */
};

struct campaign_link {
    char name[CAMPAIGN_LINK_NAME + 1];  /* of [link NAME]; "" = [link] */
    char label[CAMPAIGN_LINK_NAME + 1]; /* in cell names: the name, or "rtt40" */
    int line;
    /* What was written: by key, host (0 = any, a, b, s) and way (0 = both, up, down). */
    struct campaign_link_value given[CAMPAIGN_LINK_KEYS][1 + CAMPAIGN_ENDS][3];
    struct lab_link access[CAMPAIGN_ENDS]; /* of each host; filled in by campaign_link_finish(), as is this: */
    struct campaign_restart restarts[2];   /* of a's and of b's NAT */
    bool both;                             /* the peers have IPv6 beside IPv4, behind stateful filters */
    int both_line;                         /* where that is said; 0 = not */
};

/* KEY = VALUE of a [link] section; line 0 = not from a file, may be set again. 0, or -EINVAL with err filled (without a
 * place). */
int campaign_link_set(struct campaign_link *link, const char *key, const char *value, int line,
                      char err[CAMPAIGN_ERROR_LEN]);
/* Whether all that must be given is: a round trip. */
bool campaign_link_complete(const struct campaign_link *link);
void campaign_link_finish(struct campaign_link *link);
/* The delays of a round trip between two hosts (ns), and the longest one. */
uint64_t campaign_link_rtt(const struct campaign_link *link, enum campaign_end one, enum campaign_end other);
uint64_t campaign_link_longest(const struct campaign_link *link);
/* For run.json. New reference. */
json_t *campaign_link_json(const struct campaign_link *link);

#define CAMPAIGN_SIDE_LEN 80
/* A session's longest name. */
#define CAMPAIGN_CELL_NAME 200

/*
 * What one host is behind, "HOME@CARRIER@...", from the host outwards: HOME is a NAT of its own, or nothing; what
 * follows an '@' is a NAT that others may be behind as well. The two sides of a cell share what both name
 * there, counted from the outside: a@x@y and b@x@y share x and y, a@x@y and b@x@z nothing. A profile's own `under` is
 * never shared.
 */
struct campaign_side {
    char name[CAMPAIGN_SIDE_LEN + 1]; /* as it was written */
    const struct lab_profile *nats[1 + LAB_CHAIN_MAX];
    size_t n; /* at least 1; nats[0] is HOME, NULL: directly behind nats[1] */
};

/* Profiles, each read once. */
struct campaign_profiles {
    struct lab_profile list[CAMPAIGN_MAX_PROFILES];
    size_t n;
};

/* Reads the profiles that it names from dir; the side points into them. 0, or -errno with what is wrong, without a
 * place, in err. */
int campaign_side_read(const char *text, const char *dir, struct campaign_profiles *profiles, struct campaign_side *out,
                       char err[CAMPAIGN_ERROR_LEN]);
/* Whether a cell of the two is IPv6's: one of the NATs is for it. Else all is IPv4. */
bool campaign_sides_ipv6(const struct campaign_side *a, const struct campaign_side *b);
/* Whether one family will do for both. 0, or -EINVAL with what is wrong, without a place, in err. */
int campaign_sides_check(const struct campaign_side *a, const struct campaign_side *b, char err[CAMPAIGN_ERROR_LEN]);
/* Whether the peers can have both families. 0, or -EINVAL with what is wrong, without a place, in err. */
int campaign_sides_check_both(const struct campaign_side *a, const struct campaign_side *b,
                              char err[CAMPAIGN_ERROR_LEN]);
/* How many NATs both share, counted from the outside; a HOME never. */
size_t campaign_sides_shared(const struct campaign_side *a, const struct campaign_side *b);

struct campaign_config {
    char path[PATH_MAX];
    char name[64];
    uint64_t seed;
    uint64_t trials;     /* a cell; with until_width the most */
    uint64_t warmup;     /* trials of each worker before those that count */
    uint64_t block;      /* trials that one worker makes in one go */
    double until_width;  /* of a cell's 95 % Wilson interval, which ends its trials; 0 = none */
    uint64_t timeout_ns; /* of one punch */
    uint64_t parallel;   /* cells at once; 0 = auto */
    struct campaign_profiles profiles;
    struct campaign_side nats_a[CAMPAIGN_MAX_NATS], nats_b[CAMPAIGN_MAX_NATS]; /* each with each */
    size_t n_a, n_b;
    struct campaign_side pairs[CAMPAIGN_MAX_PAIRS][2]; /* and these */
    size_t n_pairs;
    struct campaign_choice techniques[CAMPAIGN_MAX_TECHNIQUES];
    size_t n_techniques;
    struct campaign_link links[CAMPAIGN_MAX_LINKS];
    size_t n_links;
    struct campaign_expect expects[CAMPAIGN_MAX_EXPECT];
    size_t n_expects;
    struct campaign_budget budgets[CAMPAIGN_MAX_BUDGETS];
    size_t n_budgets;
};

/* Reads a campaign and the profiles it names. 0, or -errno with err filled. */
int campaign_config_read(const char *path, const char *profile_dir, struct campaign_config *out,
                         char err[CAMPAIGN_ERROR_LEN]);
/* "1%", "0.5%", "0"; *out in [0, 1]. 0, or -EINVAL. */
int campaign_parse_percent(const char *text, double *out);
/* "64M", "1G", "500k", "4096": bytes, by powers of 1024. 0, or -EINVAL. */
int campaign_parse_size(const char *text, uint64_t *out);
/* PATTERN/PATTERN/PATTERN[/PATTERN] and a number of trials. 0, or -EINVAL with err filled (without a place). */
int campaign_budget_parse(const char *pattern, const char *value, struct campaign_budget *out,
                          char err[CAMPAIGN_ERROR_LEN]);
/* PATTERN/PATTERN/PATTERN[/PATTERN] and "100%", ">= 99%", "<= 1%", "~ 25%" or "predicted", each also with a path or
 * several behind it: "100% private", "100% private|hairpin". 0, or -EINVAL with err filled (without a place). */
int campaign_expect_parse(const char *pattern, const char *value, struct campaign_expect *out,
                          char err[CAMPAIGN_ERROR_LEN]);

/* ---- cells (cells.c; pure) ------------------------------------------------------------------- */

struct campaign_cell {
    char name[CAMPAIGN_CELL_NAME + 1]; /* nat-a/nat-b/technique/link */
    const struct campaign_side *nat_a, *nat_b;
    const struct campaign_choice *choice;
    const struct campaign_link *link;
    uint64_t trials; /* at most, numbered from the campaign's `warmup` on */
    uint64_t seed;   /* 53 bits, so that every JSON reader has it exactly */
};

/* All cells whose name matches the glob (NULL = all), in the order of the file. The array is the caller's; it points
 * into config. 0, -ENOMEM, or -ENOENT when none matches. */
int campaign_expand(const struct campaign_config *config, const char *filter, struct campaign_cell **out, size_t *n);
bool campaign_pattern_matches(const struct campaign_pattern *p, const char *nat_a, const char *nat_b,
                              const char *technique, const char *link);
/* The line that rules this cell, or NULL. */
const struct campaign_expect *campaign_expect_for(const struct campaign_config *config,
                                                  const struct campaign_cell *cell);

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
 * there are. New reference; NULL when those are fewer, or anything else differs. */
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

/* ---- measuring (worker.c, coordinator.c) ----------------------------------------------------- */

/* The three hosts of every cell. */
struct campaign_hosts {
    struct lab *lab;
    struct lab_host *a, *b, *s;
    bool ipv6;
    const char *outside[CAMPAIGN_ENDS]; /* the address that the internet sees, of a pool the first; static */
};

/* Where rendezvous runs: two ports of host s's first address, and its second address; the first address alone. */
struct campaign_server {
    const char *listen, *listen_2, *alternate, *addr;
};
const struct campaign_server *campaign_server_of(bool ipv6);
/* On each of the two addresses; a technique asks for as many as it wants. */
#define CAMPAIGN_SAMPLE_PORTS "32"

/* Builds s, a and b. 0, or -errno with err filled; *out is then empty. */
int campaign_hosts_create(struct campaign_hosts *out, struct loop *loop, uint64_t seed,
                          const struct campaign_side *nat_a, const struct campaign_side *nat_b,
                          const struct campaign_link *link, char err[LAB_ERROR_LEN]);
void campaign_hosts_destroy(struct campaign_hosts *hosts);

/* restart.c: NATs that restart in the middle of a trial, as a link says */

struct campaign_restarts {
    struct loop *loop;
    const struct campaign_hosts *hosts;
    const struct campaign_link *link;
    struct loop_op ops[2];
    int err; /* the first that failed; 0 = none did */
};

bool campaign_restarts_any(const struct campaign_link *link);
void campaign_restarts_init(struct campaign_restarts *r, struct loop *loop, const struct campaign_hosts *hosts,
                            const struct campaign_link *link);
/* The trial starts at start_ns: its restarts are then due. */
void campaign_restarts_begin(struct campaign_restarts *r, uint64_t start_ns);
/* A line of `rendezvous --starts`: true when it tells of a start, and of nothing else; the trial's restarts are then
 * due. */
bool campaign_restarts_line(struct campaign_restarts *r, const char *line, size_t len);
/* Of `err`. */
const char *campaign_restarts_explain(int err);
/* The trial is over: what did not come in time does not come. */
void campaign_restarts_stop(struct campaign_restarts *r);

/* turn.c: before anything runs: is there a TURN server for the cells that relay? 0, or -ENOENT: said on stderr. */
int campaign_turn_check(const struct campaign_cell *cells, size_t n);

/* shell.c: a command in a host */

struct campaign_shell {
    const struct campaign_hosts *hosts;
    enum campaign_end end;   /* where */
    const char *command;     /* for /bin/sh -c */
    const char *program_dir; /* our own programs' */
    uint64_t trial, seed;
    uint64_t timeout_ns;
    int fd_in, fd_out, fd_err; /* as in struct lab_command */
    struct lab_group *group;   /* as there */
};

/* Starts it, with what it has to know in its environment: PUNCHBENCH_ROLE, ... (the README lists them). As lab_spawn().
 */
int campaign_shell_start(const struct campaign_shell *shell, pid_t *pid, int *pidfd);

/* pcap.c: what passes the hosts' interfaces, on request */

struct campaign_pcap {
    const char *dir; /* NULL: nothing is captured */
    uint64_t limit;  /* bytes a file */
};

#define CAMPAIGN_PCAP_LIMIT (64ULL << 20)

/* Makes the folder. 0, or -errno: said on stderr. */
int campaign_pcap_prepare(const struct campaign_pcap *pcap);
/* The folder of one cell's captures: its name with '+' for '/', and where it does not begin with trial 0, that one. */
int campaign_pcap_dir(const struct campaign_pcap *pcap, const char *cell, uint64_t first_trial, char out[PATH_MAX]);
/* Makes dir, and captures into it from now on. 0, or -errno with err filled. */
int campaign_pcap_start(struct lab *lab, const char *dir, uint64_t limit, char err[LAB_ERROR_LEN]);

/* nats.c: what the lab's NATs did since the last reset; new reference, NULL: it could not be read. */
json_t *campaign_nats_json(struct lab *lab);
/* What peers take for a direct path may be a hairpin: through a NAT with several addresses they cannot tell. The lab's
 * NAT that both are behind can; `path` of the record becomes its word, those of the sides stay theirs. 0, or -errno. */
int campaign_nats_path(struct lab *lab, char **record);
/* Puts that into a record, a JSON object in a line of its own on the heap, as its last member. 0, or -errno. */
int campaign_nats_append(struct lab *lab, char **record);

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

/* ---- reading lines from a pipe (lines.c) ----------------------------------------------------- */

struct campaign_lines;
/* One line, NUL instead of '\n'; or NULL at the end of the stream. */
typedef void campaign_line_fn(struct campaign_lines *lines, char *line, size_t len);

struct campaign_lines {
    struct loop *loop;
    struct loop_op op;
    int fd; /* owned */
    bool ended;
    campaign_line_fn *on_line;
    void *owner;
    char *buf;
    size_t len, cap, max;
};

/* Reads fd until its end. A line longer than max is cut. */
void campaign_lines_start(struct campaign_lines *l, struct loop *loop, int fd, size_t max, campaign_line_fn *on_line,
                          void *owner);
/* Cancels; the owner waits until loop_op_pending(&l->op) is false, then frees. */
void campaign_lines_stop(struct campaign_lines *l);
void campaign_lines_free(struct campaign_lines *l);

/* ---- where things are (places.c) ------------------------------------------------------------- */

/* Profiles and campaigns: $PUNCHBENCH_DATA, or where they were when this was built. */
const char *campaign_data_dir(void);
/* A campaign that somebody named: a file, or else the name of one that came with the program. */
void campaign_find(const char *given, char out[PATH_MAX]);
/* The folder of this very program, where its companions are. 0, or -errno. */
int campaign_program_dir(char out[PATH_MAX]);
/* Whether it would be found by its name. */
bool campaign_in_path(const char *program);
/* mkdir -p. 0, or -errno. */
int campaign_make_dirs(const char *path);

/* ---- options that subcommands share (common.c) ------------------------------------------------ */

struct argp;

struct campaign_common {
    const char *profiles; /* NULL = where they are */
    struct campaign_pcap pcap;
};

/* As an argp child; its input is a struct campaign_common. */
extern const struct argp campaign_common_argp;
/* The folder of the profiles. */
void campaign_profile_dir(const struct campaign_common *common, char out[PATH_MAX]);

/* Gives what `sudo` made to the user who called it ($SUDO_UID, $SUDO_GID): path and all that is in it. */
void campaign_give_back(const char *path);

/* ---- subcommands ----------------------------------------------------------------------------- */

int campaign_cmd_run(int argc, char **argv);
int campaign_cmd_lab(int argc, char **argv);
int campaign_cmd_list(int argc, char **argv);
int campaign_cmd_report(int argc, char **argv);
int campaign_cmd_compare(int argc, char **argv);
int campaign_cmd_check(int argc, char **argv);
int campaign_cmd_merge(int argc, char **argv);
int campaign_cmd_brief(int argc, char **argv);
int campaign_cmd_field(int argc, char **argv);

#endif
