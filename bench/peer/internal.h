/* bench/peer, for its own files only. */
#ifndef BENCH_PEER_INTERNAL_H
#define BENCH_PEER_INTERNAL_H

#include "bench/peer/peer.h"
#include "bench/peer/quality.h"

/* ---- configuration: what the command line says (cli.c) --------------------------------------- */

#define PEER_MAX_SESSION 200
#define PEER_MAX_KEY     1024

struct peer_config {
    const struct peer_technique *technique;
    union base_ep server;
    char session[PEER_MAX_SESSION + 1];
    uint8_t file_key[PEER_MAX_KEY];
    size_t file_key_len;
    enum wire_role role;
    uint64_t trials, first_trial, seed;
    uint64_t wait_ns; /* for the server's answers and for the other peer */
    uint16_t port_lo, port_hi;
    bool json, pipe, quiet, discover;
    struct peer_options options;
};

/* Parses the command line; exits with status 1 and one line on bad usage (argp's way). */
void peer_config_parse(struct peer_config *config, const struct peer_technique *technique, int argc, char **argv);

/* ---- options (options.c) --------------------------------------------------------------------- */

/* Starts with every option's default: the chassis's own ("mode", "timeout", ...) and the technique's. */
void peer_options_init(struct peer_options *o, const struct peer_technique *technique);
/* Sets one. 0, -ENOENT for an unknown name, -EINVAL for a bad value. */
int peer_options_set(struct peer_options *o, const struct peer_technique *technique, const char *name,
                     const char *value);
/* What a value of this option looks like, for error lines. */
const char *peer_option_expects(const struct peer_option *option, const struct peer_technique *technique, char *buf,
                                size_t cap);
/* What the mode that is set goes over. */
enum peer_transport peer_options_transport(const struct peer_options *o, const struct peer_technique *technique);
const struct peer_option *peer_options_find(const struct peer_options *o, const char *name);
/* "transport=tcp\nmode=...\n..." ; -ENOSPC when it does not fit. */
int peer_options_to_text(const struct peer_options *o, const struct peer_technique *technique, char *buf, size_t cap);
/* Reads what role a's program wrote. Unknown names are refused: they would change what is measured. 0, or -EINVAL
 * with the offending line in *bad (of BASE_EP_STRLEN bytes). */
int peer_options_from_text(struct peer_options *o, const struct peer_technique *technique, const char *text, char *bad,
                           size_t cap);

/* ---- facts and plan on the wire (facts.c) ---------------------------------------------------- */

int peer_facts_encode(const struct peer_facts *f, uint8_t *buf, size_t cap);
int peer_facts_decode(const uint8_t *buf, size_t len, struct peer_facts *out);
void peer_facts_free(struct peer_facts *f);
/* The endpoint to aim at: what S saw first. Unset without samples. */
union base_ep peer_facts_mapped(const struct peer_facts *f);
/* "same", "varies" or "unknown": whether samples to several endpoints gave one mapping. */
const char *peer_facts_mapping(const struct peer_facts *f);

/* Both were seen at one public address: they are behind one NAT. */
bool peer_facts_share_address(const struct peer_facts *a, const struct peer_facts *b);

/* Adds without looking for an equal one. -ENOSPC, -ENOMEM. */
int peer_candidates_append(struct peer_candidates *c, const union base_ep *ep, enum peer_path_kind kind, float p);

int peer_plan_encode(const struct peer_plan *p, uint8_t *buf, size_t cap);
int peer_plan_decode(const uint8_t *buf, size_t len, struct peer_plan *out);
void peer_plan_free(struct peer_plan *p);
/* Frees the candidates alone. */
void peer_plan_drop_lists(struct peer_plan *p);

/* ---- parts of the search plan: pure (search.c) ------------------------------------------------ */

enum wire_role peer_other(enum wire_role role);
struct peer_candidates *peer_plan_list(struct peer_plan *p, enum wire_role role);

/* Caps on a search beside those of the options; 0: none. */
struct peer_search_limits {
    uint32_t holes, probes;
};
/* What the options say, and who opens. */
void peer_search_begin(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                       struct peer_plan *out);
/* peer_search_plan(); limits may be NULL. */
int peer_search_plan_within(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                            struct base_rng *rng, bool tcp, const struct peer_search_limits *limits,
                            struct peer_plan *out);
/* The lists are in the plan: each side tries all of its own until the deadline. */
void peer_search_known(struct peer_plan *out);

/* ---- predict's answers for peers: pure (search_predict.c) -------------------------------------- */

struct peer_timing {
    uint32_t rate;   /* new mappings a second at most */
    uint64_t rtt_ns; /* between the peers */
    bool tcp;
};

/* Adds what the samples of one trial tell to what earlier ones did: of sequences, how many ports others take. */
void peer_predict_learn(const struct peer_facts *f, struct predict_behaviour *learnt);
/* What is known of the NAT, from discovery and these samples; unknown without memory. */
struct predict_behaviour peer_predict_behaviour(const struct peer_facts *f);
/* Keeps that in the facts: a plan asks for it again and again. */
void peer_predict_judge(struct peer_facts *f);
/* Brings both to the moment of the plan: so long after ours were complete, and after theirs came (they crossed S). */
void peer_predict_age(struct peer_facts *ours, uint64_t ours_ns, struct peer_facts *theirs, uint64_t theirs_ns);
/* opener: 0 (a), 1 (b), -1 (either). 0, or -errno. */
int peer_predict_plan(const struct peer_facts *a, const struct peer_facts *b, int opener,
                      const struct peer_timing *timing, const struct predict_caps *caps, struct predict_plan *out);
/* The next mapping is any of 1024 to 65535 on one address: the closed form holds. */
bool peer_predict_is_random(const struct peer_facts *f, const struct peer_timing *timing);
/* The same, on any of several addresses each time. */
bool peer_predict_is_random_pool(const struct peer_facts *f, const struct peer_timing *timing);
/* By how many ports `probes` mappings of its own move a sequence on; 0 where there is none. */
int32_t peer_predict_drift(const struct peer_facts *f, uint32_t probes, const struct peer_timing *timing);
/* The best `max` endpoints where f's next `probes` mappings from fresh ports may be; ps may be NULL. How many, or
 * -errno. */
int peer_predict_rank(const struct peer_facts *f, uint32_t probes, const struct peer_timing *timing,
                      struct base_rng *rng, union base_ep *eps, float *ps, size_t max);
/* The one endpoint to wait at while f makes `probes` mappings; *share: its probability over that of the likeliest one,
 * which leaves less time. 0, or -errno. */
int peer_predict_one(const struct peer_facts *f, uint32_t probes, const struct peer_timing *timing, union base_ep *out,
                     double *share);
/* Success probability of exactly these holes; NAN without memory. */
double peer_predict_success(const struct peer_facts *f, uint32_t probes, const struct peer_timing *timing,
                            const struct peer_candidates *holes);

/* ---- verification of one path: pure (verify.c) ----------------------------------------------- */

/*
 * A path starts with nothing known. A message whose MAC is right proves the other side (proof_in); one that
 * acknowledges our path id shows that ours arrived (ack_in). Over TCP the handshake has already shown both directions,
 * so the proof alone verifies; over UDP it takes both. Role a chooses, role b agrees.
 */
struct peer_verify {
    enum wire_role role; /* ours */
    bool stream;
    bool proof_in, ack_in, chosen_in, chosen_out;
    uint64_t mine, theirs;
};

enum peer_news { PEER_NEWS_PROOF = 1, PEER_NEWS_VERIFIED = 2, PEER_NEWS_AGREED = 4, PEER_NEWS_REPLY = 8 };

void peer_verify_init(struct peer_verify *v, enum wire_role role, bool stream, uint64_t path_id);
/* Takes a decoded (proven) message; PEER_NEWS_* that it brought. */
unsigned peer_verify_in(struct peer_verify *v, const struct wire_path_msg *msg);
/* Role a chooses this path; PEER_NEWS_*. The next message carries it. */
unsigned peer_verify_choose(struct peer_verify *v);
bool peer_verify_verified(const struct peer_verify *v);
bool peer_verify_agreed(const struct peer_verify *v);
/* The message to send now. */
struct wire_path_msg peer_verify_out(const struct peer_verify *v, uint32_t trial);

/* ---- paths (path.c: what streams and datagrams share) ---------------------------------------- */

struct peer_path {
    struct peer_trial *trial;
    struct peer_verify verify;
    union base_ep remote;
    enum peer_path_kind kind;
    uint64_t established_ns, verified_ns; /* base_now_ns(); 0 = not yet */
    void (*send)(struct peer_path *path, uint8_t extra_flags);
    /* A message of --quality. 0, or -errno: nothing was taken, -EAGAIN for now (TCP: peer_quality_room() follows). */
    int (*measure)(struct peer_path *path, const void *data, size_t len);
    struct peer_path *next;
};

void peer_path_init(struct peer_path *path, struct peer_trial *t, const union base_ep *remote, bool stream,
                    uint64_t path_id);
/* Feeds a proven message to the path and acts on what is new: reply, event, choice, agreement. */
void peer_path_message(struct peer_path *path, const struct wire_path_msg *msg);
/* Role a: another verified path, where the chosen one is not agreed in time. */
void peer_path_rechoose(struct peer_trial *t);
/* Takes the path out of the trial's list, without an event. */
void peer_path_forget(struct peer_path *path);
/* The path is gone (-errno): tells the technique; role a chooses another where it can. */
void peer_path_lost(struct peer_path *path, int err);

/* ---- TCP paths (stream.c) -------------------------------------------------------------------- */

struct peer_stream;
/* Closes all streams of the trial but `keep` (NULL = all). */
void peer_streams_close(struct peer_trial *t, const struct peer_path *keep);
/* For --quality: larger buffers, and the stream is read again, which may be the end of the path. 0, or -errno. */
int peer_stream_widen(struct peer_path *path);
/* Takes the agreed stream's descriptor out for --pipe, with the bytes that came after the last message. -EBUSY: it is
 * being read. */
int peer_stream_detach(struct peer_path *path, uint8_t *rest, size_t cap, size_t *rest_len);

/* ---- UDP socket and paths (datagram.c) ------------------------------------------------------- */

struct peer_datagrams;
/* Opens the registered socket on `port`. -EADDRINUSE asks for another port. */
int peer_datagrams_open(struct peer_trial *t, uint16_t port);
/* Sends a STUN request from the registered socket; 0 or -errno. */
int peer_datagrams_send_raw(struct peer_trial *t, const union base_ep *to, const void *buf, size_t len);
/* The same from another socket, by its number. */
int peer_datagrams_send_from(struct peer_trial *t, unsigned socket, const union base_ep *to, const void *buf,
                             size_t len);
/* Re-sends on answered paths that are not agreed yet, heartbeats on the agreed one. */
void peer_datagrams_tick(struct peer_trial *t);
void peer_datagrams_close(struct peer_trial *t);
/* --pipe: sends user bytes (len <= WIRE_PATH_MAX_DATA) on the agreed path. */
int peer_datagrams_send_data(struct peer_path *path, const void *buf, size_t len, bool fin);

/* ---- sampling (sample.c) --------------------------------------------------------------------- */

struct peer_sampler;
/* Learns the registered port's mappings at the given STUN endpoints; peer_trial_sampled() follows. 0, or -errno. */
int peer_sampler_start(struct peer_trial *t);
void peer_sampler_stun(struct peer_trial *t, const union base_ep *from, const uint8_t *buf, size_t len);
/* Stops and closes; the connections that hold a TCP mapping open go too. */
void peer_sampler_close(struct peer_trial *t);
/* Ends the connections that have answered, which held the mappings until now. Before the report: once S has recorded
 * the trial nothing of them is under way, where a NAT could take it for a stranger's. */
void peer_sampler_hang_up(struct peer_trial *t);

/* ---- sampling again during a trial (resample.c) ---------------------------------------------- */

struct peer_resampler;
void peer_resample_stun(struct peer_trial *t, const uint8_t *buf, size_t len);
void peer_resample_close(struct peer_trial *t);

/* ---- --hold-for (hold.c) --------------------------------------------------------------------- */

/* Beyond the words' time. All of it lies within --timeout: punching has what this leaves. */
#define PEER_HOLD_SLACK_NS BASE_NS_PER_S
#define PEER_HOLD_EXTRA_NS (3 * BASE_NS_PER_S)

struct peer_hold {
    struct loop_op timer;
    unsigned words;
    bool on, settled;
};
/* 0: nothing is held. */
uint64_t peer_hold_for_ns(const struct peer_options *o);
/* The path is agreed: silence begins, and the trial is finished once it is known whether the path outlives it. */
void peer_hold_begin(struct peer_trial *t);
/* A heartbeat came on this path. */
void peer_hold_heard(struct peer_trial *t, const struct peer_path *path);
/* It was reset, or the like: nothing more will come. */
void peer_hold_lost(struct peer_trial *t, const struct peer_path *path);
void peer_hold_close(struct peer_trial *t);

/* ---- what becomes of an agreed path (after.c) ------------------------------------------------- */

/* Punching has at least this of --timeout, where something follows it. */
#define PEER_AFTER_PUNCH_NS (3 * BASE_NS_PER_S)

/* What --hold-for and --quality leave of --timeout. 0, or -EINVAL with plan->why. */
int peer_after_deadline(const struct peer_options *options, struct peer_plan *plan);
/* The path is agreed: in the end the trial is finished. */
void peer_after_agreed(struct peer_trial *t);
/* The same, once it has outlived --hold-for. */
void peer_after_held(struct peer_trial *t);

/* ---- the last resort of mode auto (resort.c) -------------------------------------------------- */

struct peer_resort {
    struct loop_op timer; /* role a: half of the deadline; then whenever it is due at once */
    bool on;              /* it acts */
    bool due;
    bool failed; /* punching did, with this outcome */
    enum record_outcome outcome;
    void *punch_state; /* of the technique that it took over from */
};
/* Whether this side's options name one, and the mode is auto. */
bool peer_resort_given(const struct peer_options *o, const struct peer_technique *technique);
void peer_resort_init(struct peer_trial *t);
/* There is nothing else: it acts from the start. */
void peer_resort_instead(struct peer_trial *t);
/* The start instant. */
void peer_resort_wait(struct peer_trial *t);
/* Punching has failed on this side. True: that is not the end. */
bool peer_resort_takes_over(struct peer_trial *t, enum record_outcome outcome);
/* A note of the other side goes to the technique that sent it. */
void peer_resort_noted(struct peer_trial *t, const struct peer_event *note);
void peer_resort_close(struct peer_trial *t);

/* ---- one side begins later (skew.c) ---------------------------------------------------------- */

/* How much later than the common instant that role begins (ns). */
uint64_t peer_skew_ns(const struct peer_options *options, enum wire_role role);

/* Notes that came before this side's start. */
struct peer_skew_notes {
    uint8_t *bytes;
    size_t len;
};
/* Copies it; without room or memory it is lost. */
void peer_skew_keep(struct peer_skew_notes *kept, const uint8_t *note, size_t len);
/* The note at *at, from 0 on, as an event that points into kept; false after the last one. */
bool peer_skew_next(const struct peer_skew_notes *kept, size_t *at, struct peer_event *event);
void peer_skew_free(struct peer_skew_notes *kept);

/* ---- what auto considered (steps.c) ----------------------------------------------------------- */

#define PEER_MAX_NOTED 12

/* All from the start. */
struct peer_step_times {
    uint64_t attempt_ns[PEER_MAX_NOTED]; /* when the second attempt began, the third, ... */
    unsigned n_attempts;
    bool relay; /* the last resort took over, then: */
    uint64_t relay_ns;
    uint64_t end_ns;
    bool ok;
    enum peer_path_kind kind; /* of the path, if ok */
};

/* The step that does what the strategy says. */
enum peer_step peer_step_of(enum peer_strategy strategy);
/* The plan's steps with their results. How many. Pure. */
size_t peer_steps_list(const struct peer_plan *plan, const struct peer_step_times *times,
                       struct record_step out[RECORD_MAX_STEPS]);
/* Role a, mode auto: puts them into this side's record; end_ns is set, t->chosen the path of a success. */
void peer_steps_note(struct peer_trial *t, enum record_outcome outcome);
/* Reversal: the reachable side has surely sent nothing of its own yet. */
bool peer_trial_still_waits(const struct peer_trial *t);

/* ---- this host's own addresses (private.c) ---------------------------------------------------- */

/* Lists the endpoints that a host in the same home could reach us at: the one towards S first, then the interfaces';
 * where both families are raced, of both. */
void peer_private_list(struct peer_trial *t);
/* The family beside that of S that this trial races, too; AF_UNSPEC = none: this mode does not, or there is no address
 * of it. */
sa_family_t peer_private_other(const struct peer_trial *t);
/* Hosts on the internet can have it (RFC 6890). */
bool peer_is_public(const union base_ep *ep);

/* ---- one trial (trial.c) --------------------------------------------------------------------- */

#define PEER_MAX_STUN     256
#define PEER_MAX_COUNTERS 24

enum peer_trial_state {
    PEER_TRIAL_SAMPLING,
    PEER_TRIAL_EXCHANGING, /* facts sent, waiting for the other's (a) or for the plan */
    PEER_TRIAL_PLANNED,    /* the plan is here, the start is set */
    PEER_TRIAL_PUNCHING,
    PEER_TRIAL_REPORTED, /* our side is told; waiting for the joint record */
    PEER_TRIAL_CLOSING,
};

struct peer_counter {
    const char *name;
    uint64_t n;
    bool is_error;
};

struct peer_trial {
    struct peer *peer;
    const struct peer_technique *technique, *acting; /* acting: it, or its last resort */
    uint64_t number;
    enum peer_trial_state state;
    struct base_rng rng, port_rng;
    struct base_bucket throttle;
    uint16_t port;        /* registered, local */
    bool last_only;       /* the samples came as if only the last destination may answer */
    int reserve_fd;       /* TCP: holds the port from choice to close */
    sa_family_t other;    /* the registered port is ours in this family, too; AF_UNSPEC = no */
    int reserve_other_fd; /* TCP: as reserve_fd */

    struct peer_facts ours, theirs;
    bool have_theirs;
    struct peer_plan plan;
    bool have_plan;
    struct wire_path_keys keys;

    uint64_t begin_ns, sampled_ns, theirs_ns, planned_ns, plan_sent_ns, start_ns, opened_ns, agreed_ns, end_ns;
    struct loop_op start_timer, deadline_timer, tick_timer;

    struct peer_path *paths; /* all live paths */
    struct peer_path *chosen;
    uint64_t chosen_ns; /* role a: when */
    bool agreed;
    bool relayed; /* peer_trial_relayed(): to relayed_at; unset: to anywhere */
    union base_ep relayed_at;
    bool recorded; /* its joint record has been printed */
    bool rejoined; /* and the technique has not been told yet */
    struct peer_stream *streams;
    struct peer_datagrams *datagrams;
    struct peer_sampler *sampler;
    struct peer_resampler *resampler;
    struct peer_hold hold;
    struct peer_quality quality;
    struct peer_skew_notes early;
    struct peer_step_times steps;

    void *technique_state;
    bool technique_open; /* open() was called, of the acting one too */
    unsigned unclosed;   /* techniques whose peer_trial_closed() is still to come */
    struct peer_resort resort;
    struct record_side side;
    struct peer_counter counters[PEER_MAX_COUNTERS];
    size_t n_counters;
    const char *why; /* static */
    json_t *fields;  /* of the technique, for the side's record; NULL = none */
    /* operations of the chassis that are under way; the trial is freed when none is left */
    unsigned holds;
};

/* open() of the acting technique. 0, or -errno. */
int peer_trial_open(struct peer_trial *t);
/* Begins trial `number`. 0, or -errno. */
int peer_trial_begin(struct peer *peer, uint64_t number);
void peer_trial_sampled(struct peer_trial *t, int err);
void peer_trial_facts(struct peer_trial *t, const struct wire_reader *r);
/* Role a: plans once both sides' facts are here. */
void peer_trial_make_plan(struct peer_trial *t);
void peer_trial_planned(struct peer_trial *t, const struct wire_reader *r);
void peer_trial_noted(struct peer_trial *t, const struct wire_reader *r);
/* Tells the technique that the connection to S was lost and is back, once it punches. */
void peer_trial_tell_rejoined(struct peer_trial *t);
void peer_trial_agreed(struct peer_trial *t, struct peer_path *path);
/* Settles this side's outcome and reports it to S. Later calls do nothing. */
void peer_trial_finish(struct peer_trial *t, enum record_outcome outcome, int err);
/* Takes the trial from the session and tears it down. It goes once its last operation has completed; the next trial
 * does not wait for that. */
void peer_trial_end(struct peer_trial *t);
enum record_phase peer_trial_phase(const struct peer_trial *t);
/* The time, but not before the start instant: the other side's start may come a little earlier than ours. */
uint64_t peer_trial_now_ns(const struct peer_trial *t);
void peer_trial_event(struct peer_trial *t, const struct peer_event *event);
/* Another registered port: the one chosen cannot be used. 0, or -EADDRINUSE when none is free. */
int peer_trial_repick(struct peer_trial *t);
/* Reports that this trial cannot even be planned here (-errno in `phase`). */
void peer_trial_abort(struct peer_trial *t, enum record_phase phase, int err);
void peer_trial_hold(struct peer_trial *t);
void peer_trial_release(struct peer_trial *t);

/* ---- the distance to the other peer's NAT (hops.c) ------------------------------------------- */

#define PEER_HOPS_WINDOW 4

struct peer_hops {
    struct loop *loop;
    struct loop_op timer;
    union base_ep to;
    struct in_addr own;
    int result; /* 0: not known yet; hops; or -errno */
    int fds[PEER_HOPS_WINDOW], first;
    unsigned answered; /* bits: of this window */
    int last;          /* the farthest hop that answered, and who that was */
    struct in_addr last_from;
    uint64_t wait_ns, until_ns;
    void (*done)(void *owner); /* once for each measurement that took time */
    void *owner;
};

void peer_hops_init(struct peer_hops *h, struct loop *loop, void (*done)(void *owner), void *owner);
/* True while it is being measured. */
bool peer_hops_busy(const struct peer_hops *h);
/* Measures the way to this address, unless that is done or under way. rtt_ns: to the other peer. */
void peer_hops_measure(struct peer_hops *h, const union base_ep *own, const union base_ep *to, uint64_t rtt_ns);
void peer_hops_stop(struct peer_hops *h);

/* ---- --discover (learn.c) -------------------------------------------------------------------- */

/* Fills peer->behaviour as far as it can be learnt, running the loop meanwhile. 0, or -errno of the loop. */
int peer_learn(struct peer *peer);

/* ---- the control connection (control.c) ------------------------------------------------------ */

struct peer_control;
/* What happens on a connection. It may be closed or handed over from inside them. */
struct peer_control_events {
    void (*connected)(struct peer *peer);
    void (*frame)(struct peer *peer, enum wire_frame_type type, const struct wire_reader *r);
    void (*lost)(struct peer *peer, int err); /* -errno, 0 = closed by S */
};
int peer_control_open(struct peer *peer, const struct peer_control_events *events, struct peer_control **out);
/* Sends a frame that was built in place: begin, put fields, end. Without a connection what lasts goes out on the next
 * one. */
struct wire_writer *peer_control_begin(struct peer *peer, enum wire_frame_type type);
void peer_control_end(struct peer *peer);
/* The same, ended on this very connection, and not kept. */
void peer_control_end_on(struct peer_control *c);
void peer_control_send(struct peer_control *c, const uint8_t *bytes, size_t len);
void peer_control_hand_over(struct peer_control *c, const struct peer_control_events *events);
/* NULL is closed already. */
void peer_control_close(struct peer_control *c);
void peer_control_abort(struct peer_control *c);
/* The host's address on this connection; port 0. */
union base_ep peer_control_local(const struct peer_control *c);

/* ---- coming back after a lost connection (rejoin.c) ------------------------------------------- */

struct peer_rejoin {
    bool able; /* S keeps our place: it gave a token for it */
    uint8_t token[WIRE_TOKEN_LEN];
    uint8_t nonce[WIRE_NONCE_LEN];
    struct wire_kept kept;
    uint64_t received;         /* lasting frames of S */
    struct peer_control *next; /* the connection that is to take over; NULL = none */
    bool committed;            /* on that one the key was proven: the other one is given up */
    struct loop_op timer;
    uint64_t heard_ns, asked_ns; /* S's last word; our PING since then, 0 = none */
    uint64_t lost_ns;            /* since when there is no connection, or no answer on it; 0 = all is well */
    uint64_t next_ns;            /* when `next` was opened, or the last one failed */
    int err;                     /* what the connection was lost of */
};

void peer_rejoin_init(struct peer *peer);
/* JOINED came: with a token, S keeps our place. */
void peer_rejoin_joined(struct peer *peer, const struct wire_reader *r);
/* Keeps a frame that lasts until S has it. */
void peer_rejoin_keep(struct peer *peer, enum wire_frame_type type, const uint8_t *frame, size_t len);
/* A frame of S came on the session's connection. */
void peer_rejoin_heard(struct peer *peer, enum wire_frame_type type, const struct wire_reader *r);
/* The session's connection was lost. True: a way back is being looked for. */
bool peer_rejoin_lost(struct peer *peer, int err);
/* Something is due from S now: its silence is watched more closely. */
void peer_rejoin_watch(struct peer *peer);
void peer_rejoin_stop(struct peer *peer);

/* ---- the session (session.c) ----------------------------------------------------------------- */

enum peer_session_state {
    PEER_CONNECTING,
    PEER_JOINING,
    PEER_WAITING, /* joined, the other peer is not there yet */
    PEER_RUNNING,
    PEER_PIPING,
    PEER_ENDING,
};

struct peer {
    struct peer_config config;
    struct loop *loop;
    enum peer_session_state state;
    uint8_t key[WIRE_KEY_LEN];
    uint8_t nonce[WIRE_NONCE_LEN];
    enum wire_role role;
    struct peer_control *control; /* NULL: there is none now */
    struct peer_rejoin rejoin;
    union base_ep local; /* our address on the way to S; port 0 */
    union base_ep stun[PEER_MAX_STUN];
    size_t n_stun;
    uint64_t rtt_ns;    /* to S */
    bool server_proven; /* S holds the session's key */
    uint64_t connect_ns, hello_ns, join_ns;
    uint64_t trials, first_trial, seed;
    struct peer_trial *trial;
    uint64_t done, ok;
    bool bye;
    int status;
    uint64_t open_files;
    struct loop_op wait_timer, signal_op;
    int signal_fd;
    struct peer_pipe *pipe;
    struct peer_hops hops;
    struct predict_behaviour behaviour; /* of our NAT, as far as earlier trials have shown it */
};

/* Of the session's own connection. */
extern const struct peer_control_events peer_session_events;
/* The connection to S is lost for good: -errno, 0 = closed by S. */
void peer_session_lost(struct peer *peer, int err);
/* Another measurement of the round trip to S: the least counts, for what was lost and sent again takes longer. */
void peer_session_rtt(struct peer *peer, uint64_t rtt_ns);
/* S said no. */
void peer_session_refused(struct peer *peer, const struct wire_reader *r);
/* Fills HELLO. */
void peer_session_hello(struct peer *peer, struct wire_writer *w, const uint8_t nonce[WIRE_NONCE_LEN]);
/* Ends the session with a line and a status; everything closes, and the loop runs dry. */
void peer_session_end(struct peer *peer, int status);

/* ---- --pipe (pipe.c) ------------------------------------------------------------------------- */

struct peer_pipe;
/* Joins stdin and stdout to the trial's agreed path. 0, or -errno. */
int peer_pipe_start(struct peer *peer, struct peer_path *path);
void peer_pipe_data(struct peer *peer, const uint8_t *data, size_t len, bool fin); /* a datagram came */
void peer_pipe_stop(struct peer *peer);

static inline bool peer_trial_is_tcp(const struct peer_trial *t)
{
    return peer_options_transport(&t->peer->config.options, t->technique) == PEER_TCP;
}

#endif
