/* bench/baseline, for its own files only. */
#ifndef BENCH_BASELINE_INTERNAL_H
#define BENCH_BASELINE_INTERNAL_H

#include "bench/baseline/baseline.h"
#include "bench/wire/wire.h"

#define TURN_MAX_REQUESTS    16
#define TURN_MAX_CONNECTIONS 8
#define TURN_TX_CAP          65536

/* What a request asks; its bytes are made anew for each nonce. */
struct turn_ask {
    uint16_t method;
    union base_ep peer;
    uint16_t channel;
    uint32_t lifetime_s;
    uint32_t connection;
};

struct turn_request {
    bool active, authenticated, retried;
    struct turn_ask ask;
    uint8_t txid[WIRE_STUN_TXID_LEN];
    uint8_t bytes[WIRE_STUN_MAX_LEN];
    size_t len;
    uint64_t again_ns, interval_ns, until_ns; /* UDP: when to send it again; when to give up */
};

struct turn_peer {
    union base_ep ep;
    bool permitted, bound;
    uint16_t channel;               /* 0 = none asked for */
    uint64_t permit_ns, channel_ns; /* when to ask again; 0 = not (yet) to be kept */
};

/* A second TCP connection to the server, on its way to being bound to a peer's (RFC 6062, 4.3). */
struct turn_connection {
    struct baseline_turn *turn;
    bool active, incoming, authenticated, retried;
    enum { TURN_CONNECTING, TURN_SENDING, TURN_READING } step;
    int fd;
    struct loop_op op;
    uint32_t id;
    union base_ep peer;
    uint8_t txid[WIRE_STUN_TXID_LEN];
    uint8_t buf[WIRE_STUN_MAX_LEN];
    size_t len, want;
    uint64_t until_ns;
};

enum turn_state { TURN_ALLOCATING, TURN_ALLOCATED, TURN_FAILED };

struct baseline_turn {
    struct loop *loop;
    struct baseline_turn_config config;
    char user[BASELINE_TURN_MAX_NAME + 1], password[BASELINE_TURN_MAX_NAME + 1];
    enum turn_state state;
    bool closing; /* baseline_turn_close() was called: no event but the last */
    bool dead;    /* every operation is cancelled; freed with the last completion */
    uint64_t linger_ns;

    /* credentials */
    bool have_key;
    char realm[WIRE_TURN_TEXT_MAX], nonce[WIRE_TURN_TEXT_MAX];
    size_t realm_len, nonce_len;
    uint8_t key[WIRE_TURN_KEY_LEN];

    unsigned moves;      /* UDP: how often another port was taken, as there was an allocation already */
    uint64_t refresh_ns; /* when the allocation is due; 0 = not known */
    bool doubted;        /* doubt was refused with 400: a Refresh is to tell whether the allocation still stands */
    struct turn_ask doubt;
    struct turn_request requests[TURN_MAX_REQUESTS];
    struct turn_peer peers[BASELINE_TURN_MAX_PEERS];
    size_t n_peers;
    uint16_t next_channel;
    struct turn_connection connections[TURN_MAX_CONNECTIONS];

    struct loop_op timer;
    uint64_t timer_ns; /* what it is set to, while pending */

    int fd;
    struct loop_op io_op, send_op; /* UDP: poll; TCP: connect, then recv */
    uint64_t connect_until_ns;     /* TCP */
    uint8_t rx[WIRE_TURN_STREAM_MAX];
    size_t rx_len;
    uint8_t tx[TURN_TX_CAP], out[TURN_TX_CAP];
    size_t tx_len, out_len;
};

/* ---- turn.c ---------------------------------------------------------------------------------- */

void turn_emit(struct baseline_turn *turn, const struct baseline_turn_event *event);
/* The allocation is lost or not to be had. */
void turn_fail(struct baseline_turn *turn, enum baseline_turn_fate fate, uint16_t code);
/* Something is due at another time than the timer thinks. */
void turn_wake(struct baseline_turn *turn);
/* At the end of each completion: frees what is dead. */
void turn_maybe_free(struct baseline_turn *turn);
enum baseline_turn_fate turn_fate_of(uint16_t code);
enum baseline_turn_fate turn_fate_of_errno(int err);
struct turn_peer *turn_find_peer(struct baseline_turn *turn, const union base_ep *ep);
struct turn_peer *turn_find_channel(struct baseline_turn *turn, uint16_t channel);
/* A success or an error (code) came for this. */
void turn_answered(struct baseline_turn *turn, const struct turn_ask *ask, const struct wire_turn *msg);
void turn_refused(struct baseline_turn *turn, const struct turn_ask *ask, enum baseline_turn_fate fate, uint16_t code);

/* ---- turn_request.c -------------------------------------------------------------------------- */

uint64_t turn_patience_ns(const struct baseline_turn *turn);
/* Starts a request. 0, -ENOSPC, or -errno. */
int turn_ask(struct baseline_turn *turn, const struct turn_ask *ask);
/* Makes the bytes of a request under the credentials of now. The length, or -errno. */
int turn_build(const struct baseline_turn *turn, const struct turn_ask *ask, uint8_t txid[WIRE_STUN_TXID_LEN],
               uint8_t *buf, size_t cap);
/*
 * What an answer means for its request: TURN_TAKE (it counts), TURN_AGAIN (ask again: new credentials are in place),
 * TURN_DROP (not authentic: as if it never came), or TURN_REFUSE with a fate.
 */
enum turn_verdict { TURN_TAKE, TURN_AGAIN, TURN_DROP, TURN_REFUSE };
enum turn_verdict turn_judge(struct baseline_turn *turn, const uint8_t *buf, size_t len, const struct wire_turn *msg,
                             bool authenticated, bool retried, enum baseline_turn_fate *fate);
/* A message from the server: an answer, or an indication. */
void turn_message(struct baseline_turn *turn, const uint8_t *buf, size_t len);
/* Sends again what is due, gives up what is late; the next time, UINT64_MAX = never. */
void turn_requests_due(struct baseline_turn *turn, uint64_t now_ns);
uint64_t turn_requests_next(const struct baseline_turn *turn);
void turn_requests_drop(struct baseline_turn *turn);

/* ---- turn_server.c: the way to the server ---------------------------------------------------- */

/* The socket. 0, or -errno. What is sent before the start waits, over TCP. */
int turn_server_open(struct baseline_turn *turn);
/* UDP, from within what was received: goes on from another port. 0, or -errno: all is as it was. */
int turn_server_move(struct baseline_turn *turn);
/* From here on operations are pending. */
void turn_server_start(struct baseline_turn *turn);
/* Sends a message. 0, or -errno: -EAGAIN where there is no room. */
int turn_server_send(struct baseline_turn *turn, const void *buf, size_t len);
void turn_server_cancel(struct baseline_turn *turn);

/* ---- turn_tcp.c: RFC 6062 -------------------------------------------------------------------- */

/* Opens a connection for this id and binds it. */
void turn_tcp_bind(struct baseline_turn *turn, uint32_t id, const union base_ep *peer, bool incoming);
void turn_tcp_due(struct baseline_turn *turn, uint64_t now_ns);
uint64_t turn_tcp_next(const struct baseline_turn *turn);
void turn_tcp_cancel(struct baseline_turn *turn);
bool turn_tcp_pending(const struct baseline_turn *turn);

#endif
