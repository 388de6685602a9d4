/* What the files of one session share: session.c, session_join.c, session_record.c. */
#ifndef BENCH_RENDEZVOUS_SESSION_STATE_H
#define BENCH_RENDEZVOUS_SESSION_STATE_H

#include "bench/rendezvous/session.h"

#define SESSION_RTT_SAMPLES 8
/* Room for the frames of one trial that a peer may lack: facts, plan and record can be a frame's worth each. */
#define SESSION_KEPT_MAX (3u * WIRE_FRAME_MAX)

enum session_state {
    SESSION_WAITING, /* for the second peer */
    SESSION_STEPPING,
    SESSION_FACTS,
    SESSION_PLAN,
    SESSION_PUNCH,
    SESSION_ABORTED, /* without a plan: only the reports are missing */
    SESSION_ENDED,
};

struct session_side {
    void *peer; /* NULL = not there */
    uint64_t rtt_ns[SESSION_RTT_SAMPLES];
    unsigned n_rtt;
    uint64_t ping_stamp; /* 0 = none under way */
    bool facts, reported;
    struct record_side report;
    /* Of one that can come back. */
    bool can_rejoin;
    uint64_t away_until_ns; /* its connection was lost, and its place is kept until then; 0 = no */
    uint8_t token[WIRE_TOKEN_LEN];
    struct wire_kept kept;
    uint64_t received; /* lasting frames of it */
};

struct session {
    struct session_host *host;
    struct session_links links;
    enum session_state state;
    uint64_t deadline_ns;
    uint64_t trials, first, trial, seed;
    double predicted_p;
    struct session_side sides[2]; /* a, b */
    char *technique;
    char *options;
    char name[];
};

static inline struct session_side *session_side(struct session *s, enum wire_role role)
{
    return &s->sides[role == WIRE_ROLE_B];
}

static inline const char *session_role_name(enum wire_role role)
{
    return role == WIRE_ROLE_B ? "b" : "a";
}

static inline bool session_in_trial(const struct session *s)
{
    return s->state >= SESSION_FACTS && s->state <= SESSION_ABORTED;
}

/* Its place is taken, whether its connection stands or not. */
static inline bool session_seated(const struct session_side *side)
{
    return side->peer || side->away_until_ns;
}

/* ---- session.c ---- */

void session_begin(struct session *s, struct wire_writer *w, enum wire_frame_type type);
/* Sends what was begun, and keeps it where it lasts. 0, or -ENOSPC for what does not fit into a frame. */
int session_end(struct session *s, struct wire_writer *w, struct session_side *to);
void session_send_text(struct session *s, struct session_side *to, enum wire_frame_type type, uint64_t code,
                       const char *text);
void session_ping(struct session *s, struct session_side *to, uint64_t now);
void session_dismiss(struct session *s, struct session_side *side);
void session_rtt_add(struct session_side *side, uint64_t rtt_ns);
/* The least of the last few: what is above it is queues and schedulers. */
uint64_t session_rtt(const struct session_side *side);
/* Both are here: the next trial, or the end. */
void session_next_trial(struct session *s, uint64_t now);

/* ---- session_record.c ---- */

/* How far the trial had come, as far as S can see. */
enum record_phase session_phase(const struct session *s);
/* Writes the trial's joint record and sends it to both. */
void session_close_trial(struct session *s);

#endif
