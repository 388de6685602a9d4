/* bench/baseline, for the files of the techniques `relay` and `mapped`, whose role b is the relay's. */
#ifndef BENCH_BASELINE_RELAY_H
#define BENCH_BASELINE_RELAY_H

#include "bench/baseline/baseline.h"

/* What a mode is made of. */
struct relay_mode {
    const char *name;
    bool tcp;                                    /* the relayed transport */
    bool channel;                                /* UDP: a channel in place of indications */
    enum { RELAY_WAITS, RELAY_CONNECTS } opener; /* TCP: does side a's server connect? */
    bool both;                                   /* TCP: each side has an allocation */
};

/* The names of the options that say where the server is and who we are to it. */
struct relay_account {
    const char *server, *user, *password, *password_file;
    const char *transport; /* NULL: UDP's relay is reached over UDP */
};

/* Channel mode: the datagram that made us bind waits here until the channel stands. */
struct relay_held {
    union base_ep from;
    uint8_t data[BASELINE_TURN_MAX_DATA];
    size_t len;
};

struct relay {
    struct peer_trial *trial;
    struct relay_mode mode;
    const struct relay_account *account;
    bool resort;                  /* acts for another technique */
    struct baseline_turn *turn;   /* NULL = none (any more) */
    struct baseline_portmap *map; /* technique `mapped`; likewise */
    char user[PEER_OPTION_VALUE], password[PEER_OPTION_VALUE];
    unsigned carrier;          /* UDP */
    union base_ep own, theirs; /* relayed endpoints: ours, and the other side's */
    unsigned asked, granted;   /* permissions */
    bool permitted, ready;     /* all of ours stand; the other side's do */
    bool connecting;           /* tcp-both, tcp-connect: asked for */
    struct relay_held held;
    struct loop_op timer;  /* role b: probes, or connects again */
    struct loop_op tcp_op; /* role b: connects, or accepts */
    int fd;                /* of tcp_op; -1 = none */
    bool handed_over;      /* role b, TCP: the chassis has a connection */
    bool stopping, closing, closed;
};

/* ---- relay_note.c: what the two sides tell each other; pure ----------------------------------- */

enum relay_note_kind {
    RELAY_NOTE_AT = 1,     /* my relayed endpoint */
    RELAY_NOTE_READY = 2,  /* my permission for yours stands */
    RELAY_NOTE_FAILED = 3, /* enum baseline_turn_fate */
};
#define RELAY_NOTE_MAX 20
struct relay_note {
    enum relay_note_kind kind;
    union base_ep at;
    enum baseline_turn_fate fate;
};
size_t relay_note_encode(const struct relay_note *note, uint8_t out[RELAY_NOTE_MAX]);
/* 0, or -EBADMSG. */
int relay_note_decode(const uint8_t *buf, size_t len, struct relay_note *out);

/* ---- relay.c --------------------------------------------------------------------------------- */

/* The trial's state, made ready; nothing is pending yet. */
struct relay *relay_begin(struct peer_trial *t, struct relay_mode mode);
/* To the other side. */
void relay_tell(struct relay *r, const struct relay_note *note);
/* A field of the record: that time, counted from the start instant (ns). */
void relay_mark(struct relay *r, const char *name, uint64_t at_ns);
/* The trial cannot succeed on this side: told here, and to the other side. */
void relay_give_up(struct relay *r, enum baseline_turn_fate fate, uint16_t code);
/* Nothing new is begun any more; a path that stands stays. */
void relay_stop(struct relay *r);
void relay_maybe_closed(struct relay *r);

/* ---- relay_allocation.c: the side that has an allocation -------------------------------------- */

/* 0, or -errno after one line that says what to do. */
int relay_credentials(struct relay *r);
int relay_allocate(struct relay *r);
/* tcp-both: the other side's relayed endpoint or its permission has come. */
void relay_meet(struct relay *r);

/* ---- relay_peer.c: the side that is the allocation's peer ------------------------------------- */

int relay_peer_open(struct relay *r);
/* The relayed endpoint is known: to it. */
void relay_peer_go(struct relay *r);
/* A connection or a path was lost: again. */
void relay_peer_again(struct relay *r);
void relay_peer_stop(struct relay *r);
void relay_timer_done(struct loop_op *op, int res);
void relay_tcp_done(struct loop_op *op, int res);

#endif
