/*
 * tcp_punch/synspray, for its own files only.
 *
 *   synspray.c          the contract: roles, turns, notes between the sides, the end
 *   synspray_sockets.c  many sockets: the table, one epoll descriptor for all, what became of each
 *   synspray_holes.c    the opener: holes in three modes
 *   synspray_probes.c   the prober
 *   synspray_explain.c  why it failed
 */
#ifndef TCP_PUNCH_SYNSPRAY_INTERNAL_H
#define TCP_PUNCH_SYNSPRAY_INTERNAL_H

#include "tcp_punch/synspray.h"

/* System calls are made in batches, between which the loop serves what is ready: 32 held holes take about half a
 * millisecond. */
#define SYNSPRAY_BATCH 32
/* Nothing is looked at more often than this; at the default rate two entries are due in it. */
#define SYNSPRAY_TURN_NS BASE_NS_PER_MS
/* What was silent for some round trips stays silent: nobody waits for the kernel's retransmission after 1 s. */
#define SYNSPRAY_SILENCE_RTTS   3
#define SYNSPRAY_SILENCE_MIN_NS (150 * BASE_NS_PER_MS)

enum synspray_mode { SYNSPRAY_HOLD, SYNSPRAY_REUSE, SYNSPRAY_LISTEN };

/* One socket in flight. */
struct synspray_entry {
    union base_ep to;
    int fd; /* -1 = free */
    uint32_t generation;
    uint32_t next_free;
    float weight;     /* of a probe: the share of the holes that it may have met */
    uint64_t born_ns; /* when its SYN left */
};

struct synspray {
    struct peer_trial *trial;
    const struct peer_plan *plan;
    struct peer_search search; /* of this attempt */
    enum synspray_mode mode;
    bool opener; /* by role */
    bool aiming; /* makes holes, each to an endpoint of its own; else sends probes, all to one */
    unsigned attempt;

    struct synspray_entry *entries;
    uint32_t n_entries, free_entry, in_flight;
    int epoll_fd;
    struct loop_op ready_op, turn_op, accept_op;
    int listen_fd;

    struct peer_holes holes;
    union base_ep next_hole; /* taken from holes, not made yet */
    bool have_next, holes_done;
    uint64_t begin_ns; /* UINT64_MAX: waits for the other side */
    uint64_t first_ns; /* when the first hole was made */
    uint64_t scan_ns;  /* when an entry may have become old */
    uint32_t scan_at;  /* a scan for old ones goes on here; the oldest of those that are not */
    uint64_t scan_oldest;
    int reuse_fd;
    int ttl; /* of SYNs; 0 = the host's own; -1 = not chosen yet */

    double spent;            /* probes that had their chance, or will have had it: up to M */
    uint64_t last_ns;        /* when the last one left */
    uint64_t other_ready_ns; /* the other side has all its holes or probes out; 0 = not yet */
    bool told_ready, told_spent;
    uint32_t live; /* connections that the chassis has */

    json_t *attempts;    /* what was done in each, for the record */
    uint64_t attempt_ns; /* when this one began */
    uint32_t done;       /* holes or probes of this one */
    uint32_t refused;    /* of those */
    uint32_t landed;     /* connections of this one */

    bool capped; /* descriptors or ports ran out */
    bool stopping, closing, closed;
};

/* ---- synspray.c ---- */

/* When to look again: the turn comes at the earliest of all. */
void synspray_wake(struct synspray *s);
void synspray_count_failure(struct synspray *s, int err);
/* All holes, or all probes, are out: the other side is told once an attempt. */
void synspray_tell_ready(struct synspray *s);
/* The prober's budget is spent. */
void synspray_spent(struct synspray *s);
uint64_t synspray_silence_ns(const struct synspray *s);

/* ---- synspray_sockets.c ---- */

int synspray_sockets_open(struct synspray *s, uint32_t n);
/* A free entry, or NULL. It is in flight once synspray_watch() has taken its descriptor. */
struct synspray_entry *synspray_entry_take(struct synspray *s);
void synspray_entry_free(struct synspray *s, struct synspray_entry *e);
/* Watches fd, whose connect() is under way. 0, or -errno; takes fd in every case. */
int synspray_watch(struct synspray *s, struct synspray_entry *e, int fd);
/* Closes the entry's socket without a trace and frees the entry. */
void synspray_entry_drop(struct synspray *s, struct synspray_entry *e);
void synspray_drop_all(struct synspray *s);
/* What is ready on the epoll descriptor. */
void synspray_ready(struct synspray *s);
void synspray_sockets_close(struct synspray *s);
/* Closes a socket so that nothing of it stays: no FIN, no TIME_WAIT. */
void synspray_close_fd(int fd);

/* ---- synspray_holes.c ---- */

void synspray_holes_begin(struct synspray *s);
/* Makes what is due; returns when to come again (UINT64_MAX: not before something happens). */
uint64_t synspray_holes_turn(struct synspray *s, uint64_t now);
void synspray_hole_failed(struct synspray *s, struct synspray_entry *e, int err);
int synspray_listen(struct synspray *s);

/* ---- synspray_explain.c ---- */

struct synspray_verdict {
    enum record_outcome outcome;
    const char *why; /* static */
};

/* As far as this side can tell. */
struct synspray_verdict synspray_judge(const struct synspray *s, enum record_outcome outcome);
/* A reason as a number for a note, and back. */
uint8_t synspray_why_number(const char *why);
const char *synspray_why_name(uint8_t number);

/* ---- synspray_probes.c ---- */

void synspray_probes_begin(struct synspray *s);
uint64_t synspray_probes_turn(struct synspray *s, uint64_t now);
void synspray_probe_failed(struct synspray *s, struct synspray_entry *e, int err);

#endif
