/*
 * bench/campaign: the program `bench`. It expands a campaign into cells, measures each cell in a worker process of its
 * own (a lab with the programs in it), and writes down what came out. Programs are started, never linked.
 *
 * This header says what a campaign is; the others are for the files of one subject each.
 *
 *   config.h   campaign.ini -> struct campaign_config: config.c, values.c, techniques.c, exec_config.c (pure),
 *              side.c (HOME@CARRIER), link.c ([link] -> each host's access link; pure)
 *   cells.c    config -> cells (pure)
 *   results.h  tally.c, blocks.c (cells -> ranges of trials, shards; pure)
 *              results.c, run_json.c (the folder: run.json, trials.jsonl), resume.c (what a folder already has)
 *              summary.c (summary.csv, the table, the expectations), hlog.c (latency.hlog)
 *   folder.h   a folder, without its campaign file
 *   hosts.h    hosts.c (the hosts of a cell, and their NATs), restart.c, shell.c (a command in a host, and what it is
 *              told), pcap.c, nats.c
 *   measure.h  what is asked of the workers and of who runs them:
 *              worker.h       one range of one cell's trials, in a lab (worker.c, program.c, peers.c, turn.c, exec.c)
 *              coordinator.h  the workers, and the only writer (coordinator.c), and what they are given (jobs.c)
 *              pace.h         how many at once (pace.c; pure), how long still (progress.c)
 *              lines.h        lines from a pipe (lines.c)
 *   field.h    what S recorded between two real lines -> a folder
 *   report.h   what report, compare and check make of recorded results: report*.c
 *   commands.h the subcommands (cmd_*.c), their common options (common.c); main.c dispatches
 *   places.h   where things are, and whose (places.c)
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

/* ---- what is asked of cells (values.c) ------------------------------------------------------- */

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

/* The delays of a round trip between two hosts (ns), and the longest one. */
uint64_t campaign_link_rtt(const struct campaign_link *link, enum campaign_end one, enum campaign_end other);
uint64_t campaign_link_longest(const struct campaign_link *link);
/* For run.json. New reference. */
json_t *campaign_link_json(const struct campaign_link *link);

/* ---- what hosts are behind (side.c) ---------------------------------------------------------- */

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

/* Whether a cell of the two is IPv6's: one of the NATs is for it. Else all is IPv4. */
bool campaign_sides_ipv6(const struct campaign_side *a, const struct campaign_side *b);
/* How many NATs both share, counted from the outside; a HOME never. */
size_t campaign_sides_shared(const struct campaign_side *a, const struct campaign_side *b);

/* ---- the campaign (config.c) ----------------------------------------------------------------- */

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

#endif
