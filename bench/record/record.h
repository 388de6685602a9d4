/*
 * bench/record: what a trial leaves behind. The joint record (schema 1), the run description, and (in stats.h)
 * the statistics.
 * results/FORMATS.md describes the formats for readers.
 */
#ifndef BENCH_RECORD_H
#define BENCH_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/base/base.h"
#include "bench/record/stats.h"

#define RECORD_SCHEMA 1

enum record_outcome {
    RECORD_OK,
    RECORD_TIMEOUT,
    RECORD_REFUSED,
    RECORD_PREDICT_MISS,
    RECORD_INFEASIBLE,
    RECORD_AUTH_FAILED,
    RECORD_ERROR,
    RECORD_OUTCOMES
};
/* "ok", "timeout", ...; static. */
const char *record_outcome_name(enum record_outcome outcome);
/* 0, or -EINVAL. */
int record_outcome_parse(const char *name, enum record_outcome *out);

enum record_phase {
    RECORD_PHASE_JOIN,
    RECORD_PHASE_SAMPLE,
    RECORD_PHASE_EXCHANGE,
    RECORD_PHASE_PLAN,
    RECORD_PHASE_OPEN,
    RECORD_PHASE_ESTABLISHED,
    RECORD_PHASE_VERIFY,
    RECORD_PHASES
};
const char *record_phase_name(enum record_phase phase);

/* Which way a success went. */
enum record_path {
    RECORD_PATH_DIRECT,
    RECORD_PATH_PRIVATE,
    RECORD_PATH_HAIRPIN,
    RECORD_PATH_REVERSED,
    RECORD_PATH_RELAY,
    RECORD_PATHS
};
/* "direct", "private", ...; static. */
const char *record_path_name(enum record_path path);
/* 0, or -EINVAL. */
int record_path_parse(const char *name, enum record_path *out);

/* One side's report, as each peer makes it and S merges it. Durations are local to that peer: no clocks agree. */
struct record_side {
    enum record_outcome outcome;
    int error;                        /* errno, with outcome error; 0 = none */
    enum record_phase phase;          /* where it ended */
    char path[12];                    /* "direct", "private", ...; "" = none */
    uint64_t phase_ns[RECORD_PHASES]; /* how long each phase took; 0 = not reached */
    uint64_t connect_ns;              /* start to this side's verification; 0 = not verified */
    uint64_t total_ns;                /* join (or the trial's begin, after the first) to the end */
    uint64_t choose_ns;               /* start to the moment this side may use the path */
    bool acked;                       /* the other side confirmed our proof */
    json_t *fields;                   /* the technique's and the chassis's counters; owned, may be NULL */
};

void record_side_clear(struct record_side *side);
/* The side as the JSON object that travels in a REPORT and stands as "a" or "b" in the joint record: flat, with the
 * members of `fields` beside its own (which win). New reference, NULL without memory. */
json_t *record_side_to_json(const struct record_side *side);
/* Reads what record_side_to_json wrote. Foreign bytes: what is missing is 0, but for the outcome; a wrong type or range
 * is -EBADMSG, and *out is then cleared. The caller calls record_side_clear() on *out in the end. */
int record_side_from_json(const json_t *json, struct record_side *out);

/* What S knows of a trial beside the two sides. */
struct record_trial {
    const char *cell;
    uint64_t trial;
    uint64_t seed;
    const char *technique;
    const char *mode;
    const char *transport;
    uint64_t rtt_ns;    /* between the peers, as far as S can tell: the sum of their RTTs to S, halved each way */
    double predicted_p; /* NAN = the plan made no prediction */
};

/*
 * The joint record: ok only when both sides are, each with the other's confirmation (`acked`) and a connect_ns; an "ok"
 * without them counts as error EPROTO in verify. connect_ns and the phases are the later side's, total_ns the longer
 * side's. When the sides' outcomes differ, the most specific one stands:
 * auth_failed > error > refused > infeasible > predict_miss > timeout > ok.
 * `a` or `b` may be NULL: that side never reported, which is error ENODATA in the phase where the other one ended.
 * New reference, NULL without memory.
 */
json_t *record_joint(const struct record_trial *trial, const struct record_side *a, const struct record_side *b);

/* One line of compact JSON and '\n', flushed. 0, or -errno. */
int record_write_line(FILE *out, const json_t *record);

/* ---- the ways that were considered (steps.c) ------------------------------------------------- */

/* BEATEN: it was tried beside another one, which was through first. */
enum record_step_result {
    RECORD_STEP_SKIPPED,
    RECORD_STEP_FAILED,
    RECORD_STEP_BEATEN,
    RECORD_STEP_OK,
    RECORD_STEP_RESULTS
};

/* One way to the other peer, in the order in which they were decided on. */
struct record_step {
    char step[12]; /* "private", "punch", ... */
    enum record_step_result result;
    char reason[20];            /* of a skipped one; "" = none */
    uint64_t start_ns, took_ns; /* of one that was tried: from the trial's start; how long */
};

/* More than one trial considers. */
#define RECORD_MAX_STEPS 32

/* The list that stands as "steps" in a side. New reference, NULL without memory. */
json_t *record_steps_to_json(const struct record_step *steps, size_t n);
/* Reads a side's "steps": how many (at most max), 0 where there are none (other modes, older records); -EBADMSG for a
 * list that is none. */
int record_steps_read(const json_t *side, struct record_step *out, size_t max);

/* ---- reading back ---------------------------------------------------------------------------- */

/* How good the path of a trial was (--quality); 0 = not measured. */
struct record_quality {
    uint64_t rtt_min_ns, rtt_p50_ns, rtt_max_ns;
    uint64_t up_bps, down_bps;                       /* role a to b, and back */
    uint64_t up_sent, up_lost, down_sent, down_lost; /* datagrams */
};

/* What summaries need of one joint record. */
struct record_view {
    char cell[256];
    char technique[32];
    char mode[32];
    char transport[8];
    char path[12];
    uint64_t trial;
    uint64_t seed;
    enum record_outcome outcome;
    uint64_t connect_ns;
    uint64_t total_ns;
    double predicted_p; /* NAN = none */
    bool measured;      /* it has a quality, if only to say what is missing */
    struct record_quality quality;
    char step[12]; /* mode auto: the step that succeeded; "" = none, or not told */
};

/* Reads one line of trials.jsonl. 0; -EBADMSG for what is not a trial record; -EPROTONOSUPPORT for a newer schema. */
int record_view_parse(const char *line, size_t len, struct record_view *out);
/* The same of a line that was parsed already (with JSON_REJECT_DUPLICATES): for who needs more of it. */
int record_view_read(const json_t *json, struct record_view *out);

#endif
