/*
 * One session of two peers: who is who, the trials one after the other, the joint records. No socket, no clock: frames
 * come in, frames go out through the host, time is passed. server.c is the host; tests are another.
 */
#ifndef BENCH_RENDEZVOUS_SESSION_H
#define BENCH_RENDEZVOUS_SESSION_H

#include "bench/base/base.h"
#include "bench/record/record.h"
#include "bench/wire/wire.h"

#define SESSION_TECHNIQUE_MAX 31
#define SESSION_OPTIONS_MAX   2047
#define SESSION_TRIALS_MAX    1000000000

/* How long S waits for what a peer owes it. TCP sends again after 0.2, 0.6, 1.4, 3, 6.2 and 12.6 s or so: where one of
 * five packets is lost, one message of 16,000 takes longer than that. */
#define SESSION_FACTS_NS  (40 * BASE_NS_PER_S)
#define SESSION_PLAN_NS   (20 * BASE_NS_PER_S)
#define SESSION_REPORT_NS (20 * BASE_NS_PER_S)
/* How long the place of a peer whose connection was lost is kept: a home router needs some seconds to start again, and
 * a peer tries every 2 s. */
#define SESSION_AWAY_NS (20 * BASE_NS_PER_S)
/* Longest deadline that a plan may set. */
#define SESSION_DEADLINE_MAX_NS (24 * 3600 * BASE_NS_PER_S)
/* The joint record, with both reports in it, has to fit into one frame. */
#define SESSION_REPORT_MAX (WIRE_FRAME_MAX / 2 - 4096)

struct session;

/* What a session needs of the world. `peer` is what session_join() was given. */
struct session_host {
    void (*send)(void *peer, const uint8_t *frame, size_t len);
    /* The session is done with this peer: close when the peer did, or soon. No call for it comes after this. */
    void (*finish)(void *peer);
    /* One joint record, a JSON line without its newline. */
    void (*record)(struct session_host *host, const char *line);
    /* Both have the plan: the trial starts in so many ns. NULL: nobody wants to know. */
    void (*started)(struct session_host *host, const struct session *s, uint64_t trial, uint64_t in_ns);
    /* With `step`: the session waits for session_step() before its next trial. */
    void (*want_step)(struct session_host *host, struct session *s);
    bool step;
    struct base_rng masks;
    uint8_t scratch[WIRE_FRAME_MAX];
};

/* What HELLO says. */
struct session_hello {
    char session[WIRE_SESSION_MAX + 1];
    char technique[SESSION_TECHNIQUE_MAX + 1];
    char options[SESSION_OPTIONS_MAX + 1];
    enum wire_role role;
    uint64_t trials, first, seed;
    uint8_t nonce[WIRE_NONCE_LEN];
    bool can_rejoin, rejoin; /* it can come back; it does */
    uint64_t received;       /* lasting frames of ours that it has */
};

/* Reads a HELLO. 0, or -EBADMSG with a reason (static). */
int session_read_hello(const struct wire_reader *r, struct session_hello *out, const char **why);

struct session_place {
    const union base_ep *stun; /* where to sample, the best first */
    size_t n_stun;
    const union base_ep *seen;
    uint64_t rtt_ns;      /* the first measurement */
    const uint8_t *token; /* random, for this place; NULL: nobody comes back to it */
};

/* NULL when out of memory. `host` outlives it. */
struct session *session_create(struct session_host *host, const char *name);
void session_free(struct session *s);

/* A proven peer joins. 0 with its role, or the enum wire_error that it is to be told, with a reason (static). */
int session_join(struct session *s, const struct session_hello *hello, const struct session_place *place, void *peer,
                 uint64_t now, enum wire_role *role, const char **why);
/* The token of a place whose peer may come back; NULL: there is no such place. */
const uint8_t *session_token(const struct session *s, enum wire_role role);
/* A peer that has proven the key and the token comes back on another connection; the one before, if it still stands, is
 * finished. 0, or the enum wire_error that it is to be told, with a reason (static). */
int session_rejoin(struct session *s, const struct session_hello *hello, const struct session_place *place, void *peer,
                   uint64_t now, const char **why);
/* A frame from `role`. 0, or -EPROTO with a reason (static): the host tells the peer, then calls session_left(). */
int session_frame(struct session *s, enum wire_role role, enum wire_frame_type type, const struct wire_reader *r,
                  uint64_t now, const char **why);
/* The peer ended its connection. */
void session_left(struct session *s, enum wire_role role);
/* The peer's connection broke: it may come back for SESSION_AWAY_NS, if it can. */
void session_vanished(struct session *s, enum wire_role role, uint64_t now);
/* All trials are done, or it was given up: only the last frames are on their way. */
bool session_ended(const struct session *s);
/* Nobody waits for anybody any more. */
void session_give_up(struct session *s);
/* The line that `step` waits for is there. */
void session_step(struct session *s, uint64_t now);
/* Looks at the deadline. */
void session_tick(struct session *s, uint64_t now);
/* Nobody is left in it: the host frees it. */
bool session_over(const struct session *s);
const char *session_name(const struct session *s);

/* Start delays that let both sides start at the same instant, from their round trips to S: the nearer one waits for
 * what the farther one's copy of the plan takes longer. */
void session_delays(uint64_t rtt_a_ns, uint64_t rtt_b_ns, uint64_t *delay_a_ns, uint64_t *delay_b_ns);

/* For the host's lists. */
struct session_links {
    struct session *next;      /* in its bucket */
    struct session *step_next; /* among those that wait for a line */
    bool stepping;
};
struct session_links *session_links(struct session *s);

#endif
