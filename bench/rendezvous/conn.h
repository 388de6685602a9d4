/* One TCP connection: conn.c (its life, its bytes, STUN) and control.c (the control protocol). */
#ifndef BENCH_RENDEZVOUS_CONN_H
#define BENCH_RENDEZVOUS_CONN_H

#include "bench/rendezvous/internal.h"

enum conn_state {
    CONN_NEW, /* no byte yet */
    CONN_STUN,
    CONN_CONTROL, /* before HELLO */
    CONN_CHALLENGED,
    CONN_JOINED,
    CONN_DISCOVER, /* proven, but in no session */
    CONN_DRAINING, /* nothing more to say or to hear */
    CONN_CLOSED,
};

struct conn_bytes {
    uint8_t *at;
    size_t len, cap;
};

/* What a peer said in HELLO, until it has proven it. */
struct pending_hello {
    struct session_hello hello;
    uint8_t server_nonce[WIRE_NONCE_LEN];
    uint64_t challenged_ns;
};

struct conn {
    struct server *server;
    const struct site *site;
    struct conn *next, *prev;
    int fd;
    enum conn_state state;
    enum wire_role role;
    struct session *session;
    bool broken; /* it did not end, it was lost */
    struct pending_hello *pending;
    uint64_t deadline_ns; /* 0 = none */
    union base_ep from;
    struct conn_bytes rx, tx;
    struct loop_op read_op, write_op;
    struct prober *prober;
    struct later *later; /* NULL = none */
};

/* The bytes of the first whole frame, which conn_take_frame() takes; 0 when it is not whole yet (*need = its length, as
 * far as known); or -errno: the connection is over. */
int conn_frame(struct conn *c, const uint8_t *at, size_t len, size_t *need);
void conn_take_frame(struct conn *c, uint8_t *frame, size_t len, uint64_t now);
/* Tells the peer why, and ends. */
void conn_refuse(struct conn *c, enum wire_error code, const char *why);

#endif
