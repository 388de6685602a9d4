/*
 * Data connections of a TCP allocation (RFC 6062): a further TCP connection to the server, bound by ConnectionBind to
 * the server's connection with the peer. The answer is read to its last byte and no further: what follows it is the
 * peer's, and stays in the socket for whoever gets that.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "bench/baseline/internal.h"

static void end_connection(struct turn_connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->active = false;
}

static void give_up(struct turn_connection *c, enum baseline_turn_fate fate, uint16_t code)
{
    struct baseline_turn *turn = c->turn;
    struct baseline_turn_event event = {
        .kind = BASELINE_TURN_REFUSED, .peer = c->peer, .incoming = c->incoming, .fate = fate, .code = code, .fd = -1};
    end_connection(c);
    turn_emit(turn, &event);
}

static int send_bind(struct turn_connection *c)
{
    struct turn_ask ask = {.method = WIRE_TURN_CONNECTION_BIND, .connection = c->id};
    int len = turn_build(c->turn, &ask, c->txid, c->buf, sizeof(c->buf));
    if (len < 0)
        return len;
    c->authenticated = c->turn->have_key;
    c->step = TURN_SENDING;
    c->len = (size_t)len;
    loop_send(c->turn->loop, &c->op, c->fd, c->buf, c->len);
    return 0;
}

static int read_more(struct turn_connection *c)
{
    if (c->want > sizeof(c->buf))
        return -EMSGSIZE;
    loop_recv(c->turn->loop, &c->op, c->fd, c->buf + c->len, c->want - c->len);
    return 0;
}

static void hand_over(struct turn_connection *c)
{
    struct baseline_turn *turn = c->turn;
    struct baseline_turn_event event = {
        .kind = BASELINE_TURN_CONNECTED, .peer = c->peer, .incoming = c->incoming, .fd = c->fd};
    c->fd = -1;
    c->active = false;
    turn_emit(turn, &event);
}

static int take_answer(struct turn_connection *c)
{
    struct wire_turn msg;
    enum baseline_turn_fate fate = BASELINE_TURN_OK;
    if (wire_turn_decode(c->buf, c->len, &msg) < 0 || msg.stun.method != WIRE_TURN_CONNECTION_BIND ||
        msg.stun.cls < WIRE_STUN_SUCCESS || memcmp(msg.stun.txid, c->txid, sizeof(c->txid)) != 0)
        return -EBADMSG;
    switch (turn_judge(c->turn, c->buf, c->len, &msg, c->authenticated, c->retried, &fate)) {
    case TURN_TAKE:
        hand_over(c);
        return 0;
    case TURN_AGAIN:
        c->retried = true;
        return send_bind(c);
    case TURN_DROP:
        return -EBADMSG; /* over TCP nobody else can have sent it, and nothing better will follow */
    case TURN_REFUSE:
        give_up(c, fate, msg.stun.error_code);
        return 0;
    }
    return -EBADMSG;
}

static int received(struct turn_connection *c, int res)
{
    if (res <= 0)
        return res < 0 ? res : -ECONNRESET;
    c->len += (size_t)res;
    if (c->len < c->want)
        return read_more(c);
    int whole = wire_stun_frame_len(c->buf, c->len);
    if (whole < 0)
        return whole;
    c->want = (size_t)whole;
    return c->len < c->want ? read_more(c) : take_answer(c);
}

static void step_done(struct loop_op *op, int res)
{
    struct turn_connection *c = op->owner;
    struct baseline_turn *turn = c->turn;
    int err = res < 0 ? res : 0;
    if (!c->active || turn->closing || turn->state == TURN_FAILED) {
        end_connection(c);
    } else {
        if (err == 0 && c->step == TURN_CONNECTING) {
            err = send_bind(c);
        } else if (err == 0 && c->step == TURN_SENDING) {
            size_t sent = c->len;
            c->step = TURN_READING;
            c->len = 0;
            c->want = WIRE_STUN_HEADER_LEN;
            err = (size_t)res != sent ? -EPIPE : read_more(c);
        } else if (c->step == TURN_READING) {
            err = received(c, res);
        }
        if (err < 0)
            give_up(c, turn_fate_of_errno(err), 0);
    }
    turn_maybe_free(turn);
}

void turn_tcp_bind(struct baseline_turn *turn, uint32_t id, const union base_ep *peer, bool incoming)
{
    struct turn_connection *c = NULL;
    int on = 1;
    for (size_t i = 0; i < TURN_MAX_CONNECTIONS && !c; i++)
        if (!turn->connections[i].active && !turn->connections[i].op.pending)
            c = &turn->connections[i];
    int fd = c ? socket(turn->config.server.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0) {
        /* The server forgets it after 30 s (RFC 6062, 5.2). */
        struct baseline_turn_event event = {
            .kind = BASELINE_TURN_REFUSED, .peer = *peer, .incoming = incoming, .fd = -1};
        event.fate = BASELINE_TURN_PROTOCOL;
        turn_emit(turn, &event);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    *c =
        (struct turn_connection){.turn = turn, .active = true, .incoming = incoming, .fd = fd, .id = id, .peer = *peer};
    c->until_ns = base_now_ns() + turn_patience_ns(turn);
    loop_op_init(&c->op, step_done, c);
    loop_connect(turn->loop, &c->op, fd, &turn->config.server);
    turn_wake(turn);
}

void turn_tcp_due(struct baseline_turn *turn, uint64_t now_ns)
{
    for (size_t i = 0; i < TURN_MAX_CONNECTIONS; i++) {
        struct turn_connection *c = &turn->connections[i];
        if (!c->active || now_ns < c->until_ns)
            continue;
        c->until_ns = UINT64_MAX;
        loop_cancel(turn->loop, &c->op); /* its completion gives up */
    }
}

uint64_t turn_tcp_next(const struct baseline_turn *turn)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < TURN_MAX_CONNECTIONS; i++)
        if (turn->connections[i].active && turn->connections[i].until_ns < next)
            next = turn->connections[i].until_ns;
    return next;
}

void turn_tcp_cancel(struct baseline_turn *turn)
{
    for (size_t i = 0; i < TURN_MAX_CONNECTIONS; i++)
        loop_cancel(turn->loop, &turn->connections[i].op);
}

bool turn_tcp_pending(const struct baseline_turn *turn)
{
    for (size_t i = 0; i < TURN_MAX_CONNECTIONS; i++)
        if (turn->connections[i].op.pending)
            return true;
    return false;
}
