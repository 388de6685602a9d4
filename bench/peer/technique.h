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
#include "predict/predict.h"

/* ---- options --------------------------------------------------------------------------------- */

enum peer_option_kind {
    PEER_OPT_U64,
    PEER_OPT_DURATION,
    PEER_OPT_CHOICE,
    PEER_OPT_WORD_OR_U64, /* one of choices, or a number */
    PEER_OPT_PERCENT,     /* "99%", "99.9%": between 0 and 100, both excluded */
    PEER_OPT_SPAN,        /* "off", or "LO,HI": two signed numbers, LO not above HI */
    PEER_OPT_OFFSET,      /* a duration that may have a minus before it */
    PEER_OPT_ENDPOINT,    /* ADDR:PORT, or nothing */
    PEER_OPT_TEXT,        /* whatever fits */
};

/* One option, on the command line as --name, in a session as the line "name=value": role a's rule. */
struct peer_option {
    const char *name;
    const char *arg;   /* placeholder in --help */
    const char *value; /* default, as text */
    const char *help;
    enum peer_option_kind kind;
    uint64_t lo, hi;            /* bounds; ns for durations; of a span's numbers and an offset, without their signs */
    const char *const *choices; /* NULL-terminated, for PEER_OPT_CHOICE and PEER_OPT_WORD_OR_U64 */
    bool local;                 /* this side's own: neither sent to the other side nor taken from it */
};

#define PEER_MAX_OPTIONS  32
#define PEER_OPTION_VALUE 256

/* The values of one session, checked against the tables. */
struct peer_options {
    const struct peer_option *table[PEER_MAX_OPTIONS];
    char value[PEER_MAX_OPTIONS][PEER_OPTION_VALUE];
    bool given[PEER_MAX_OPTIONS]; /* by who started the program: no default */
    size_t n;
};

/* The value of a known option; naming an unknown one is a bug and aborts. */
uint64_t peer_option_u64(const struct peer_options *o, const char *name); /* durations in ns */
const char *peer_option_text(const struct peer_options *o, const char *name);
/* Whether it was set on this side's command line; what role b has from role a was not. */
bool peer_option_given(const struct peer_options *o, const char *name);
/* PEER_OPT_WORD_OR_U64: true and *n when it is a number. */
bool peer_option_number(const struct peer_options *o, const char *name, uint64_t *n);
double peer_option_fraction(const struct peer_options *o, const char *name); /* a percentage, as 0 to 1 */
/* False for "off". */
bool peer_option_span(const struct peer_options *o, const char *name, int *lo, int *hi);
/* False for nothing. */
bool peer_option_ep(const struct peer_options *o, const char *name, union base_ep *out);
int64_t peer_option_offset(const struct peer_options *o, const char *name); /* ns */

/* ---- facts and plan -------------------------------------------------------------------------- */

enum peer_transport { PEER_UDP, PEER_TCP };

enum peer_path_kind {
    PEER_PATH_DIRECT,
    PEER_PATH_PRIVATE,
    PEER_PATH_HAIRPIN,
    PEER_PATH_RELAY,
    PEER_PATH_REVERSED, /* started by the hidden side while the reachable one only waited */
    PEER_PATH_KINDS
};
const char *peer_path_name(enum peer_path_kind kind);

#define PEER_MAX_PRIVATE    8
#define PEER_MAX_SAMPLES    1024
#define PEER_MAX_CANDIDATES 8192

/* One observation of a mapping. t_ns: when S was asked, and so when the mapping was made; this peer's clock, from the
 * trial's begin. */
struct peer_sample {
    uint64_t t_ns;
    union base_ep local, remote, mapped;
};

/* What one side knows of itself when a trial is planned. */
struct peer_facts {
    uint8_t nonce[WIRE_NONCE_LEN];
    union base_ep private_eps[PEER_MAX_PRIVATE]; /* own addresses with the registered port; of both families where
                                                    those are raced */
    size_t n_private;
    struct peer_sample *samples; /* owned; peer_facts_free() */
    size_t n_samples;
    uint64_t taken_ns; /* when these facts were complete, on the samples' clock; for a plan: when that is made */
    uint64_t rtt_ns;   /* to S, as S measured it; filled in by the receiver of the facts */
    uint64_t open_files;
    uint16_t port_lo, port_hi;          /* local ports to punch from */
    struct predict_behaviour behaviour; /* what discovery learnt of its NAT; {0}: nothing */
    bool judged;                        /* in a plan's own copy: judgement is what the samples and behaviour say */
    struct predict_behaviour judgement;
};

/* What was seen last; NULL without samples. */
const struct peer_sample *peer_facts_last(const struct peer_facts *f);
/* All samples, at least two, show one mapping. */
bool peer_facts_stable(const struct peer_facts *f);

struct peer_candidate {
    union base_ep ep;
    float p;      /* probability that this is the one; NAN = not predicted */
    uint8_t kind; /* enum peer_path_kind */
};

struct peer_candidates {
    struct peer_candidate *list; /* owned; best first */
    size_t n;
};

enum peer_order {
    PEER_TOGETHER,     /* both sides begin at the start instant */
    PEER_HOLES_FIRST,  /* the prober begins when the opener's holes stand */
    PEER_PROBES_FIRST, /* the opener begins when the prober's probes are out */
    PEER_ORDERS
};
/* "together", "holes", "probes" */
const char *peer_order_name(enum peer_order order);

/* Time to live of the packets that open holes: PEER_TTL_OFF, PEER_TTL_AUTO or 1 to 255. */
#define PEER_TTL_OFF  0
#define PEER_TTL_AUTO 256

/* What a plan decided on, for the record. NONE: the technique's mode did, by name. */
enum peer_strategy {
    PEER_STRATEGY_NONE,
    PEER_STRATEGY_DIRECT,     /* one side lets everybody in, or is reached at one hole: the other goes straight there */
    PEER_STRATEGY_PUNCH,      /* both endpoints stay */
    PEER_STRATEGY_PREDICTED,  /* holes where the model expects the prober's next mappings */
    PEER_STRATEGY_RANDOM,     /* holes drawn from all ports that the prober's NAT may use */
    PEER_STRATEGY_BOTH,       /* the predicted holes first, drawn ones after them */
    PEER_STRATEGY_MEET,       /* both move, each towards one port that the other one passes */
    PEER_STRATEGY_INFEASIBLE, /* not worth a packet */
    PEER_STRATEGY_REVERSED,   /* one side lets everybody in: it waits, the other connects */
    PEER_STRATEGIES
};
/* "direct", "punch", ...; NULL for NONE. */
const char *peer_strategy_name(enum peer_strategy strategy);

/*
 * A search: the opener opens holes towards where the prober's next mappings may be, the prober probes. The opener's
 * list of candidates comes first, best first; what is missing to `holes` is drawn from random_lo..random_hi on the
 * address `random_at`, none twice (struct peer_holes).
 */
struct peer_search {
    bool on;                 /* false: the plan has no search */
    enum wire_role opener;   /* the other side is the prober */
    uint32_t holes, probes;  /* K and M: of one attempt */
    uint32_t attempts;       /* until the deadline */
    uint16_t ttl;            /* of the opener's holes */
    enum peer_order order;   /* when each side begins */
    uint32_t rate, entries;  /* caps of each side: new ones a second (0: none), and in flight at once */
    bool known;              /* the prober's mapping stays: one hole, one probe from its registered port */
    bool pool;               /* the list is drawn over the addresses of a pool; of role a only, not sent */
    bool meet;               /* both move: the holes too go from ports of their own, all to the first candidate */
    union base_ep random_at; /* unset: nothing is drawn */
    uint16_t random_lo, random_hi;
    uint64_t seed; /* of the draw */
    int32_t drift; /* ports that a sequence has moved on by the next attempt, at least; 0: no sequence */
    bool careful;  /* later attempts: holes first, at a low time to live, so that no NAT is sent what it must refuse */
    uint32_t wide; /* later attempts: so many holes and probes at least, the holes drawn once the list ends; 0: no */
    uint64_t gap_ns; /* TCP: one hole at a time, each for so long; 0: all of them */
};

/* The ways to the other peer that mode auto considers, in the order in which it does. */
enum peer_step {
    PEER_STEP_PRIVATE,   /* to the other's own addresses */
    PEER_STEP_HAIRPIN,   /* to its public one, by the NAT that both are behind */
    PEER_STEP_REVERSED,  /* the hidden side connects to the reachable one */
    PEER_STEP_DIRECT,    /* both send, and at least one gets in wherever it comes from */
    PEER_STEP_PUNCH,     /* each opens its filter for the other's endpoint */
    PEER_STEP_PREDICTED, /* as the strategies from here */
    PEER_STEP_RANDOM,
    PEER_STEP_BOTH,
    PEER_STEP_MEET,
    PEER_STEP_RELAY,
    PEER_STEPS
};
const char *peer_step_name(enum peer_step step);

/* Why a step is not tried. */
enum peer_step_reason {
    PEER_STEP_TRIED,
    PEER_STEP_ONE_ADDRESS,     /* both are behind the same public address */
    PEER_STEP_OTHER_ADDRESS,   /* they are not */
    PEER_STEP_NONE_REACHABLE,  /* neither is known to let everybody in */
    PEER_STEP_BOTH_REACHABLE,  /* both are: nobody is hidden */
    PEER_STEP_FILTERED,        /* no filter is known to let in whom it was not opened for */
    PEER_STEP_MOVES,           /* a mapping moves */
    PEER_STEP_NOT_PREDICTABLE, /* no next mapping is likelier than others */
    PEER_STEP_HOPELESS,        /* the probability of all attempts is below PEER_AUTO_HOPELESS */
    PEER_STEP_NOT_ASKED,       /* nobody gave a relay */
    PEER_STEP_REASONS
};

#define PEER_MAX_STEPS 12
struct peer_considered {
    uint8_t step, reason;
};

/* Made once by role a, sent to both, recorded. */
struct peer_plan {
    char mode[16];
    uint8_t nonce_a[WIRE_NONCE_LEN], nonce_b[WIRE_NONCE_LEN];
    struct peer_candidates for_a, for_b; /* what side a, side b aims at */
    uint64_t deadline_ns;                /* from the start */
    uint64_t rtt_ns;                     /* between the peers, estimated */
    double predicted_p;                  /* NAN = no prediction; of punching, whatever the last resort does */
    bool infeasible;                     /* nothing will be sent, but by the last resort */
    bool resort;                         /* role a has a last resort: no failure is the end without it */
    enum peer_strategy strategy;         /* of the first attempt */
    struct peer_search search;
    enum wire_role waits; /* this side is reachable: it sends nothing of its own before wait_ns; NONE = both begin */
    uint64_t wait_ns;     /* from the start */
    struct peer_considered steps[PEER_MAX_STEPS]; /* mode auto */
    size_t n_steps;
    char why[160]; /* role a: what is in the way, for the one who started the programs; not sent */
};

/* Appends; -ENOSPC past PEER_MAX_CANDIDATES, -ENOMEM. An endpoint that is there already is left as it is. */
int peer_candidates_add(struct peer_candidates *c, const union base_ep *ep, enum peer_path_kind kind, float p);
/*
 * The plain plan, shared by the techniques without a search: each side aims at the other's registered endpoint as S saw
 * it, and at the other's private endpoints (Ford, Srisuresh, Kegel 2005, 3.3). Behind one address the public endpoint
 * is a hairpin. Where both have addresses of the family that S is not asked in, those are aimed at likewise, without a
 * head start for either family (RFC 8421, 4): the path that is verified first wins. 0, or -errno.
 */
int peer_plan_registered(const struct peer_facts *a, const struct peer_facts *b, struct peer_plan *out);

/* ---- the search plan, shared by the spraying techniques (search.c; pure) ---------------------- */

/* The options that peer_search_plan() reads: the head of a technique's table. */
#define PEER_SEARCH_N_OPTIONS 9
extern const struct peer_option peer_search_options[PEER_SEARCH_N_OPTIONS];

/*
 * Roles, budget, candidates, time to live and order from both sides' facts. Over TCP each hole and each
 * probe takes a descriptor. 0; -EMFILE when the budget asked for exceeds a side's open files (out->why says which), or
 * -errno.
 */
int peer_search_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                     struct base_rng *rng, bool tcp, struct peer_plan *out);

/*
 * The search of attempt n (from 0) of this plan: 0 is the plan's own; later ones have larger budgets under the same
 * caps, other random ports, and every second one another order and time to live.
 */
struct peer_search peer_search_attempt(const struct peer_plan *plan, unsigned n);
/* What attempt n does. */
enum peer_strategy peer_strategy_of(const struct peer_plan *plan, unsigned n);

/* The success probability that a budget aims at, so that with what packets get lost the target is reached. */
double peer_search_aim(double target);
/* The least number of holes, and of probes, that reaches the aim over so many ports; `most` where that is too few. */
uint32_t peer_search_alike(uint32_t ports, double aim, uint32_t most);

/* Ports that NATs draw from where nothing narrower is known: all but the privileged ones. */
#define PEER_RANDOM_LO    1024
#define PEER_RANDOM_HI    65535
#define PEER_RANDOM_PORTS (PEER_RANDOM_HI - PEER_RANDOM_LO + 1)

#define PEER_MAX_ADDRESSES 16
/* The distinct addresses that the samples show, the last one first; there must be a sample. How many. */
size_t peer_facts_addresses(const struct peer_facts *f, union base_ep out[PEER_MAX_ADDRESSES]);
/*
 * The share of new mappings that fall on an address that was seen. One address, seen each time, is taken for the only
 * one. Of several, n samples of which k saw an address that no other saw miss about k of n of the pool (Good 1953); at
 * least one more address is allowed for then.
 */
double peer_facts_seen_share(const struct peer_facts *f);
/* Success probability of holes drawn from so many ports, where that share of the probes' mappings falls on them. */
double peer_search_drawn_p(uint32_t ports, double seen, uint64_t holes, uint64_t probes);
/* Lists the plan's number of holes, drawn from PEER_RANDOM_LO..HI of all these addresses, none twice. 0, or -errno. */
int peer_search_draw(struct peer_plan *out, const union base_ep *at, size_t n_at);

/* What one side aims at in one attempt, in order: its candidates and, for the opener, the drawn ports. */
struct peer_holes {
    struct peer_search search;
    const struct peer_candidates *list;
    unsigned attempt;
    uint32_t next, limit;
    bool draws;
    uint64_t drawn;
    struct base_perm perm;
    uint8_t listed[65536 / 8]; /* ports of the candidates on random_at */
};
void peer_holes_init(struct peer_holes *h, const struct peer_plan *plan, enum wire_role role, unsigned attempt);
/* False when there is none left. */
bool peer_holes_next(struct peer_holes *h, union base_ep *out);

/* ---- mode auto, shared by all techniques (auto.c; pure) --------------------------------------- */

/* What a technique can do, and in which of its modes it does so. */
struct peer_ways {
    const char *punch;    /* each side sends to the other's registered endpoint, and to its private ones */
    const char *search;   /* a struct peer_search: holes and probes */
    bool registered_only; /* all packets leave from the registered ports: few holes, one probe, one attempt */
    bool tcp;             /* each hole and each probe takes a descriptor; a failed attempt's are closed */
};

/* Samples that mode auto takes, unless told: so many show whether a mapping moves, how, and all addresses of a pool. */
#define PEER_AUTO_SAMPLES 32
/* Attempts that mode auto makes, unless told, where the deadline and the caps have room for them. */
#define PEER_AUTO_ATTEMPTS 3
/* Below this success probability, of all attempts together, nothing is sent: infeasible. */
#define PEER_AUTO_HOPELESS 0.01

/*
 * The plan by evidence. The first line that holds decides:
 *
 *   both are behind one public address                                   punch (private and hairpin paths)
 *   one stays and is open, or known to filter by nothing                 reversed: it waits, the other one connects
 *   both are                                                             direct
 *   both registered endpoints stay                                       punch
 *   one stays and is known to filter by address                          direct, a hole to each seen address
 *   one stays, the other's next mappings are predictable                 predicted; again as both
 *   one stays, the other draws its ports                                 random; again larger, in another order
 *   both move, and the model knows a meeting (predict_plan())            meet
 *   otherwise, or where all of it together is below PEER_AUTO_HOPELESS:
 *     both have addresses of the family that S was not asked in          punch
 *     else                                                                infeasible
 *
 * Roles, budget, order and time to live are peer_search_plan()'s, whose options rule here too. predicted_p is that of
 * all attempts; NAN behind one address, where only the NAT's hairpin could tell. What was considered is in out->steps,
 * in the order of the article: reversal (topology one), private and hairpin (two and four), then of topology three full
 * cone and restricted (direct), port-restricted (punch), prediction and its retries. 0, or -errno (out->why).
 */
int peer_auto_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                   struct base_rng *rng, const struct peer_ways *ways, struct peer_plan *out);

/* ---- events ---------------------------------------------------------------------------------- */

enum peer_event_kind {
    PEER_EVENT_VERIFIED, /* a path's proofs are in */
    PEER_EVENT_LOST,     /* a path that was handed over is gone: err says why */
    PEER_EVENT_CHOSEN,   /* both sides agreed on this path: stop searching */
    PEER_EVENT_NOTE,     /* a message from the other side's technique, through S */
    PEER_EVENT_REJOINED, /* the connection to S was lost and is back: our NAT may have forgotten everything */
    PEER_EVENT_SAMPLED,  /* UDP: what peer_udp_resample() found */
};

struct peer_event {
    enum peer_event_kind kind;
    union base_ep remote; /* VERIFIED, LOST, CHOSEN; SAMPLED: our last mapping when the plan was made */
    int err;              /* LOST: -errno; -EACCES = the other end could not prove the key */
    const uint8_t *note;  /* NOTE */
    size_t note_len;
    const union base_ep *eps; /* SAMPLED: our mappings, as S saw them, the last one made last */
    size_t n_eps;             /* 0: no answer came */
};

/* ---- the technique --------------------------------------------------------------------------- */

struct peer_trial;

struct peer_technique {
    const char *name;
    const char *doc; /* one paragraph for --help */
    enum peer_transport transport;
    const char *const *modes; /* NULL-terminated; the first is the default; "none" is the chassis's own */
    /* Modes that are of TCP where `transport` is PEER_UDP; NULL = none. */
    const char *const *tcp_modes;
    /* Modes that race the endpoints of both families where both hosts have both; NULL = none. */
    const char *const *dual_modes;
    const struct peer_option *options;
    size_t n_options;
    /* STUN endpoints of S to sample the registered port's mapping at before each trial: the default of --samples. They
     * are asked at once, of more than eight a third 100 ms later. 0 = 4, which tell a mapping that stays from one that
     * moves. */
    unsigned samples;
    int (*plan)(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                struct base_rng *rng, struct peer_plan *out);
    size_t state_size; /* zeroed before open(); peer_trial_state() */
    int (*open)(struct peer_trial *t);
    void (*go)(struct peer_trial *t);
    void (*event)(struct peer_trial *t, const struct peer_event *event);
    void (*close)(struct peer_trial *t);
    /* Optional: the deadline has passed; what became of it, as far as this side can tell (peer_trial_why()). */
    enum record_outcome (*explain)(struct peer_trial *t, enum record_outcome outcome);
    /*
     * Optional: what is left to mode auto on both sides once punching is infeasible, has failed, or has had half of the
     * deadline. It acts in the same trial in place of this one, from open() to close(), but plans nothing; paths that
     * this one made may still win. Its first option, where it is not empty on role a's side, turns it on. A program
     * joins the two: techniques do not know each other.
     */
    const struct peer_technique *last_resort;
};

/* ---- services of the chassis ----------------------------------------------------------------- */

void *peer_trial_state(struct peer_trial *t);
struct loop *peer_trial_loop(struct peer_trial *t);
const struct peer_plan *peer_trial_plan(const struct peer_trial *t);
const struct peer_options *peer_trial_options(const struct peer_trial *t);
enum wire_role peer_trial_role(const struct peer_trial *t);
/* Reversal: so long after the start this side, which is reachable, only listens; 0: it begins at once. */
uint64_t peer_trial_wait_ns(const struct peer_trial *t);
/* A further attempt, from 1, begins now: a step of the record. */
void peer_trial_attempt(struct peer_trial *t, unsigned attempt);
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
/* Says in one word in this side's record why it failed: "window_check", ...; static storage, the last one stands. */
void peer_trial_why(struct peer_trial *t, const char *why);
/* Sets a number, a text or a list of this side's record. */
void peer_trial_field(struct peer_trial *t, const char *name, json_t *value);
/* The technique has tried all it had: settles this side's outcome (not ok) before the deadline. */
void peer_trial_fail(struct peer_trial *t, enum record_outcome outcome);
/* Sends bytes to the other side's technique through S. 0, or -errno. */
int peer_trial_note(struct peer_trial *t, const void *bytes, size_t len);
/* The rate cap: takes one token for a new attempt, or says how long to wait for it (ns). */
uint64_t peer_trial_throttle(struct peer_trial *t);

/*
 * The time to live with which a packet to the other peer's mapped address ends just before its NAT, and past our own
 * NATs; 0 while it is being measured (only where the option "ttl" says auto); -errno where it cannot be.
 */
int peer_trial_hops(const struct peer_trial *t);

/* The registered port. */
uint16_t peer_trial_port(const struct peer_trial *t);
/* Every path that is made from now on to this endpoint, NULL: to any, goes through a relay. */
void peer_trial_relayed(struct peer_trial *t, const union base_ep *at);
enum peer_transport peer_trial_transport(const struct peer_trial *t);
/* The addresses that S saw the other side at in this trial (no ports), the last one first. How many. */
size_t peer_trial_other(const struct peer_trial *t, union base_ep out[PEER_MAX_ADDRESSES]);

/* TCP: a socket bound to the registered port with SO_REUSEADDR and SO_REUSEPORT; or -errno. */
int peer_tcp_socket(struct peer_trial *t);
/* The same, listening. */
int peer_tcp_listener(struct peer_trial *t, int backlog);
/* Whether this trial has the registered port in that family, too: that of S it always has. */
bool peer_trial_has_family(const struct peer_trial *t, sa_family_t family);
/* peer_tcp_socket() and peer_tcp_listener() of one of its families. */
int peer_tcp_socket_of(struct peer_trial *t, sa_family_t family);
int peer_tcp_listener_of(struct peer_trial *t, sa_family_t family, int backlog);
/* peer_tcp_socket(), non-blocking, for techniques with many sockets. */
int peer_tcp_socket_nonblocking(struct peer_trial *t);
/* A non-blocking socket of a port that the kernel chooses, for probes; or -errno. */
int peer_tcp_socket_fresh(struct peer_trial *t);
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
/* One more socket, of a port that the kernel chooses: its number, counted from 1 (0 is the registered one), or -errno.
 * The chassis takes what answers it, and closes it at the trial's end. */
int peer_udp_socket(struct peer_trial *t);
/*
 * The first proof from a socket to at most PEER_UDP_BATCH of n endpoints that have not answered yet, in one system
 * call; ttl 0 is the host's default, and later packets are not concerned. How many were sent, or -errno of the first
 * (-EAGAIN: the socket's buffer is full).
 */
#define PEER_UDP_BATCH 64
int peer_udp_probe_many(struct peer_trial *t, unsigned socket, const union base_ep *to, size_t n, int ttl);
/*
 * UDP: a way that is no socket of this host, as through a relay. send() takes a datagram that is gone when it returns:
 * 0, or -errno. A number for peer_udp_probe_many(), or -errno. Its paths are PEER_PATH_RELAY.
 */
typedef int peer_carrier_fn(void *owner, const union base_ep *to, const void *buf, size_t len);
int peer_udp_carrier(struct peer_trial *t, peer_carrier_fn *send, void *owner);
/* A datagram came on that way. */
void peer_udp_carried(struct peer_trial *t, unsigned carrier, const union base_ep *from, const uint8_t *buf,
                      size_t len);
/* Asks S again where our NAT has a socket, by its number. PEER_EVENT_SAMPLED follows once; 0, or -errno. */
int peer_udp_resample(struct peer_trial *t, unsigned socket);

#endif
