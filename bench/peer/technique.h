/*
 * bench/peer/technique.h: the contract between the chassis and a technique.
 *
 * The chassis owns the session with S, the trial's clock and deadline, the registered port and its samples, the rate
 * cap, the verification of every path, the choice of one, the record and the teardown. A technique is a pure plan and
 * an event-driven punch: it makes packets leave, and hands what answers to the chassis.
 *
 * One trial, from the technique's side:
 *   plan()   role a only. Pure: both sides' facts, the options and an rng in, a plan out. No I/O, no clock.
 *   open()   the plan is known on both sides; make ready what must not cost time at the start. May fail.
 *   go()     the start instant. From here connect_ns counts.
 *   event()  something happened (below). May call any service but must not free its state.
 *   close()  the trial is over: cancel every own operation, close every own descriptor that was not handed to the
 *            chassis, and once the last completion has come call peer_trial_closed(), from close() itself at the
 *            earliest. Called exactly once if open() was called, whether it failed or not.
 *
 * All calls come from the loop's thread. A technique never exits and never blocks.
 */
#ifndef BENCH_PEER_TECHNIQUE_H
#define BENCH_PEER_TECHNIQUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/base/base.h"
#include "bench/loop/loop.h"
#include "bench/record/record.h"
#include "bench/wire/wire.h"

/* ---- options --------------------------------------------------------------------------------- */

enum peer_option_kind { PEER_OPT_U64, PEER_OPT_DURATION, PEER_OPT_CHOICE };

/* One option, on the command line as --name, in a session as the line "name=value": role a's rule. */
struct peer_option {
    const char *name;
    const char *arg;   /* placeholder in --help */
    const char *value; /* default, as text */
    const char *help;
    enum peer_option_kind kind;
    uint64_t lo, hi;            /* bounds; ns for durations */
    const char *const *choices; /* NULL-terminated, for PEER_OPT_CHOICE */
};

#define PEER_MAX_OPTIONS  32
#define PEER_OPTION_VALUE 48

/* The values of one session, checked against the tables. */
struct peer_options {
    const struct peer_option *table[PEER_MAX_OPTIONS];
    char value[PEER_MAX_OPTIONS][PEER_OPTION_VALUE];
    size_t n;
};

/* The value of a known option; naming an unknown one is a bug and aborts. */
uint64_t peer_option_u64(const struct peer_options *o, const char *name); /* durations in ns */
const char *peer_option_text(const struct peer_options *o, const char *name);

/* ---- facts and plan -------------------------------------------------------------------------- */

enum peer_transport { PEER_UDP, PEER_TCP };

enum peer_path_kind { PEER_PATH_DIRECT, PEER_PATH_PRIVATE, PEER_PATH_HAIRPIN, PEER_PATH_KINDS };
const char *peer_path_name(enum peer_path_kind kind);

#define PEER_MAX_PRIVATE    8
#define PEER_MAX_SAMPLES    1024
#define PEER_MAX_CANDIDATES 8192

/* One observation of a mapping. t_ns is this peer's clock, from the trial's begin. */
struct peer_sample {
    uint64_t t_ns;
    union base_ep local, remote, mapped;
};

/* What one side knows of itself when a trial is planned. */
struct peer_facts {
    uint8_t nonce[WIRE_NONCE_LEN];
    union base_ep private_eps[PEER_MAX_PRIVATE]; /* own addresses with the registered port */
    size_t n_private;
    struct peer_sample *samples; /* owned; peer_facts_free() */
    size_t n_samples;
    uint64_t rtt_ns; /* to S, as S measured it; filled in by the receiver of the facts */
    uint64_t open_files;
};

struct peer_candidate {
    union base_ep ep;
    float p;      /* probability that this is the one; NAN = not predicted */
    uint8_t kind; /* enum peer_path_kind */
};

struct peer_candidates {
    struct peer_candidate *list; /* owned; best first */
    size_t n;
};

/* Made once by role a, sent to both, recorded. */
struct peer_plan {
    char mode[16];
    uint8_t nonce_a[WIRE_NONCE_LEN], nonce_b[WIRE_NONCE_LEN];
    struct peer_candidates for_a, for_b; /* what side a, side b aims at */
    uint64_t deadline_ns;                /* from the start */
    uint64_t rtt_ns;                     /* between the peers, estimated */
    double predicted_p;                  /* NAN = no prediction */
    bool infeasible;                     /* nothing will be sent */
};

/* Appends; -ENOSPC past PEER_MAX_CANDIDATES, -ENOMEM. An endpoint that is there already is left as it is. */
int peer_candidates_add(struct peer_candidates *c, const union base_ep *ep, enum peer_path_kind kind, float p);
/*
 * The plain plan, shared by the techniques without a search: each side aims at the other's registered endpoint as S saw
 * it, and at the other's private endpoints (Ford, Srisuresh, Kegel 2005, 3.3). Behind one address the public endpoint
 * is a hairpin. 0, or -errno.
 */
int peer_plan_registered(const struct peer_facts *a, const struct peer_facts *b, struct peer_plan *out);

/* ---- events ---------------------------------------------------------------------------------- */

enum peer_event_kind {
    PEER_EVENT_VERIFIED, /* a path's proofs are in */
    PEER_EVENT_LOST,     /* a path that was handed over is gone: err says why */
    PEER_EVENT_CHOSEN,   /* both sides agreed on this path: stop searching */
    PEER_EVENT_NOTE,     /* a message from the other side's technique, through S */
};

struct peer_event {
    enum peer_event_kind kind;
    union base_ep remote; /* VERIFIED, LOST, CHOSEN */
    int err;              /* LOST: -errno; -EACCES = the other end could not prove the key */
    const uint8_t *note;  /* NOTE */
    size_t note_len;
};

/* ---- the technique --------------------------------------------------------------------------- */

struct peer_trial;

struct peer_technique {
    const char *name;
    const char *doc; /* one paragraph for --help */
    enum peer_transport transport;
    const char *const *modes; /* NULL-terminated; the first is the default; "none" is the chassis's own */
    const struct peer_option *options;
    size_t n_options;
    /* STUN endpoints of S to sample the registered port's mapping at before each trial: the default of --samples. They
     * are asked all at once, so more of them cost bytes and table entries, not time. 0 = 4, which tell a mapping that
     * stays from one that moves. */
    unsigned samples;
    int (*plan)(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                struct base_rng *rng, struct peer_plan *out);
    size_t state_size; /* zeroed before open(); peer_trial_state() */
    int (*open)(struct peer_trial *t);
    void (*go)(struct peer_trial *t);
    void (*event)(struct peer_trial *t, const struct peer_event *event);
    void (*close)(struct peer_trial *t);
};

/* ---- services of the chassis ----------------------------------------------------------------- */

void *peer_trial_state(struct peer_trial *t);
struct loop *peer_trial_loop(struct peer_trial *t);
const struct peer_plan *peer_trial_plan(const struct peer_trial *t);
const struct peer_options *peer_trial_options(const struct peer_trial *t);
enum wire_role peer_trial_role(const struct peer_trial *t);
/* What this side aims at. */
const struct peer_candidates *peer_trial_candidates(const struct peer_trial *t);
/* The start instant and the deadline, on base_now_ns()'s clock. */
uint64_t peer_trial_start_ns(const struct peer_trial *t);
uint64_t peer_trial_deadline_ns(const struct peer_trial *t);
/* Seeded by (session seed, role, trial): every random choice of a technique comes from here. */
struct base_rng *peer_trial_rng(struct peer_trial *t);
/* True once the outcome is settled: nothing new is to be started. */
bool peer_trial_over(const struct peer_trial *t);
void peer_trial_closed(struct peer_trial *t);
/* Adds n to a counter of this side's record ("holes", "packets", ...); the name is static storage. */
void peer_trial_count(struct peer_trial *t, const char *counter, uint64_t n);
/* Counts an error of this side's record ("refused", "reset", ...). */
void peer_trial_error(struct peer_trial *t, const char *counter);
/* Sends bytes to the other side's technique through S. 0, or -errno. */
int peer_trial_note(struct peer_trial *t, const void *bytes, size_t len);
/* The rate cap: takes one token for a new attempt, or says how long to wait for it (ns). */
uint64_t peer_trial_throttle(struct peer_trial *t);

/* TCP: a socket bound to the registered port with SO_REUSEADDR and SO_REUSEPORT; or -errno. */
int peer_tcp_socket(struct peer_trial *t);
/*
 * Hands a connected socket over: the chassis proves and verifies over it and closes it. Takes fd in every case.
 * VERIFIED, CHOSEN or LOST follow. 0, or -errno.
 */
int peer_tcp_offer(struct peer_trial *t, int fd, const union base_ep *remote);

/*
 * UDP: sends this trial's proof from the registered socket to an endpoint. Answers, and paths that the other side
 * opened, are verified and kept alive by the chassis. 0, or -errno of sendto (-EAGAIN: the socket's buffer is full).
 */
int peer_udp_probe(struct peer_trial *t, const union base_ep *to);

#endif
