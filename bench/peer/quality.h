/*
 * --quality: how good an agreed path is. bench/peer, for its own files only.
 *
 * quality.c has the method; quality_flow.c what is pure of it: the messages, and the accounts of what was sent and of
 * what came.
 */
#ifndef BENCH_PEER_QUALITY_H
#define BENCH_PEER_QUALITY_H

#include "bench/peer/technique.h"

/* ---- messages (quality_flow.c; pure) ---------------------------------------------------------- */

/* The data of a path message with WIRE_PATH_MEASURE. All of one layout:
 * {kind u8, ask u8, number u64, amount u64, ns u64}, big-endian; what follows is filling. */
enum peer_quality_kind {
    PEER_QUALITY_PING = 1, /* number */
    PEER_QUALITY_PONG,     /* the ping's number */
    PEER_QUALITY_BULK,     /* number, from 0; ask: acknowledge it; filled up to PEER_QUALITY_BULK_LEN */
    PEER_QUALITY_ACK,      /* number: the highest that came, and 1; amount: how many of those before are lost */
    PEER_QUALITY_STOP,     /* number: how many were sent */
    PEER_QUALITY_RESULT,   /* number: how many came; amount: bytes in that time; ns */
    PEER_QUALITY_GO,       /* role a: send now */
    PEER_QUALITY_END,      /* role a: that was all; role b: so it is */
    PEER_QUALITY_KINDS
};
#define PEER_QUALITY_MSG_LEN 26
/* With the path message's own 40 bytes 1200: under IPv6's least MTU of 1280 with its headers. */
#define PEER_QUALITY_BULK_LEN 1160

struct peer_quality_msg {
    enum peer_quality_kind kind;
    bool ask;
    uint64_t number, amount, ns;
};
void peer_quality_encode(const struct peer_quality_msg *msg, uint8_t out[PEER_QUALITY_MSG_LEN]);
/* 0, or -EBADMSG. */
int peer_quality_decode(const uint8_t *buf, size_t len, struct peer_quality_msg *out);

/* ---- round trips (quality_flow.c; pure) ------------------------------------------------------- */

#define PEER_QUALITY_PINGS 20
struct peer_rtts {
    uint64_t ns[PEER_QUALITY_PINGS];
    size_t n;
};
/* What is beyond PEER_QUALITY_PINGS is left out. */
void peer_rtts_add(struct peer_rtts *r, uint64_t ns);
/* Sorts; the median is Hyndman and Fan's type 7. All 0 without a round trip. */
struct peer_rtt_summary {
    uint64_t min, p50, max;
} peer_rtts_summary(struct peer_rtts *r);

/* ---- datagrams out (quality_flow.c; pure) ----------------------------------------------------- */

/*
 * What may be in flight: a window in datagrams as TCP's, slow start and CUBIC (RFC 9438), which is what a TCP path
 * beside it has on Linux; RFC 8085 asks for such a one of whoever sends much over UDP. Nothing is sent again: what is
 * lost is counted.
 */
struct peer_flight {
    uint64_t sent, next;         /* how many; up to which one the other side has looked */
    uint64_t lost;               /* of those, as the other side said last */
    uint64_t given_up;           /* those before were not heard of in time */
    double kept, kept_threshold; /* the window and its threshold then */
    uint64_t recover;            /* one loss counts until this one is heard of */
    double window, threshold;    /* datagrams */
    double before, knee_s;       /* the window before the last loss; when it is reached again, from then on */
    uint64_t epoch_ns;           /* when it began to grow from there; 0 = not yet */
    uint64_t rtt_ns;             /* the last one that was timed */
    uint64_t timed, timed_ns;    /* the one that is timed; 0 = none */
    uint64_t last_ns;            /* when something was sent or heard */
};
void peer_flight_init(struct peer_flight *f, uint64_t rtt_ns, uint64_t now_ns);
/* How many may be sent now. */
uint64_t peer_flight_room(const struct peer_flight *f);
/* Whether the next one is to ask for an acknowledgement: each fourth, and the last there is room for. */
bool peer_flight_asks(const struct peer_flight *f);
void peer_flight_sent(struct peer_flight *f, uint64_t now_ns);
/* An acknowledgement; one that is old, or of what was never sent, changes nothing. */
void peer_flight_heard(struct peer_flight *f, uint64_t next, uint64_t lost, uint64_t now_ns);
/* True when nothing was heard for too long: all that was in flight is given up, and the window begins anew. */
bool peer_flight_expired(struct peer_flight *f, uint64_t now_ns);

/* ---- what came (quality_flow.c; pure) --------------------------------------------------------- */

struct peer_arrivals {
    uint64_t next;              /* the highest number that came, and 1 */
    uint64_t seen;              /* bit i: number next - 1 - i came */
    uint64_t received;          /* different ones */
    uint64_t lost;              /* missing, and three later ones have come */
    uint64_t bytes;             /* after first_ns */
    uint64_t first_ns, last_ns; /* 0 = none yet */
};
void peer_arrivals_init(struct peer_arrivals *a);
/* False for one that came already, or 64 numbers after its time. */
bool peer_arrivals_add(struct peer_arrivals *a, uint64_t number, uint64_t bytes, uint64_t now_ns);
/* bit/s; 0 where there was no time. */
uint64_t peer_quality_bps(uint64_t bytes, uint64_t ns);

/* ---- the measurement (quality.c) -------------------------------------------------------------- */

/* Beyond twice the option's time: pings, the ends of both flows, the last words. All of it lies within --timeout. */
#define PEER_QUALITY_EXTRA_NS (5 * BASE_NS_PER_S)

struct peer_trial;
struct peer_path;

enum peer_quality_step {
    PEER_QUALITY_PINGING, /* role a; role b is here until it ends */
    PEER_QUALITY_UP,
    PEER_QUALITY_DOWN,
    PEER_QUALITY_LAST,
};
enum peer_quality_flow { PEER_QUALITY_IDLE, PEER_QUALITY_SENDS, PEER_QUALITY_STOPS };

struct peer_quality {
    struct loop_op timer;
    bool begun, on, settled; /* on: from the first turn of the loop after it began */
    const char *why;         /* what is missing is missing because of that; static, NULL = nothing is */
    enum peer_quality_step step;
    uint64_t step_ns, until_ns; /* when it began; when all of it ends */
    uint64_t said_ns;           /* when what is to be answered was said last; 0 = not yet */

    uint64_t pings, ping_ns; /* sent; 0 = the last one is answered */
    struct peer_rtts rtts;

    enum peer_quality_flow flow; /* ours */
    uint64_t flow_ns;            /* when it is to stop; then, when it did */
    struct peer_flight out;
    struct base_bucket cap;
    struct peer_arrivals in;
    bool have_result, have_stop;
    struct peer_quality_msg result, stop;
};

/* So long each way; 0: nothing is measured. */
uint64_t peer_quality_ns(const struct peer_options *o);
/* The path is agreed: measures it, then finishes the trial. */
void peer_quality_begin(struct peer_trial *t);
/* The data of a message with WIRE_PATH_MEASURE came on the chosen path. */
void peer_quality_message(struct peer_trial *t, const uint8_t *data, size_t len, uint64_t now_ns);
/* TCP: there is room again for what could not be taken. */
void peer_quality_room(struct peer_trial *t);
/* Whether the chassis is to hand over such messages of this path. */
bool peer_quality_listens(const struct peer_trial *t, const struct peer_path *path);
/* The path was reset, or the like: nothing more will come. */
void peer_quality_lost(struct peer_trial *t, const struct peer_path *path);
void peer_quality_close(struct peer_trial *t);

#endif
