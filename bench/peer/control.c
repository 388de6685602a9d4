/* The control connection to S: whole frames in, whole frames out, in order. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/peer/internal.h"

#define RX_INITIAL 4096
/* A server that stops acknowledging is gone after this long. */
#define USER_TIMEOUT_MS 15000

struct buffer {
    uint8_t *bytes;
    size_t len, cap;
};

struct peer_control {
    struct peer *peer;
    int fd;
    union base_ep to;
    struct loop_op connect_op, recv_op, send_op;
    struct buffer rx, sending, waiting;
    uint8_t *scratch; /* the frame that is being written */
    struct wire_writer writer;
    bool closed;
    unsigned busy; /* inside callbacks: they still use it */
};

static int reserve(struct buffer *b, size_t cap)
{
    if (cap <= b->cap)
        return 0;
    uint8_t *grown = realloc(b->bytes, cap);
    if (!grown)
        return -ENOMEM;
    b->bytes = grown;
    b->cap = cap;
    return 0;
}

static void maybe_free(struct peer_control *c)
{
    if (!c->closed || c->busy || c->connect_op.pending || c->recv_op.pending || c->send_op.pending)
        return;
    close(c->fd);
    free(c->rx.bytes);
    free(c->sending.bytes);
    free(c->waiting.bytes);
    free(c->scratch);
    free(c);
}

static void lost(struct peer_control *c, int err)
{
    if (!c->closed)
        peer_session_lost(c->peer, err);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void send_next(struct peer_control *c)
{
    struct buffer empty = c->sending;
    if (c->send_op.pending || c->waiting.len == 0 || c->closed)
        return;
    c->sending = c->waiting;
    c->waiting = empty;
    c->waiting.len = 0;
    loop_send(c->peer->loop, &c->send_op, c->fd, c->sending.bytes, c->sending.len);
}

static void send_done(struct loop_op *op, int res)
{
    struct peer_control *c = op->owner;
    c->busy++;
    if (res < 0 || (size_t)res != c->sending.len)
        lost(c, res < 0 ? res : -EPIPE);
    else
        send_next(c);
    c->busy--;
    maybe_free(c);
}

struct wire_writer *peer_control_begin(struct peer *peer, enum wire_frame_type type)
{
    struct peer_control *c = peer->control;
    /* The session may have ended under a caller: what it writes then goes nowhere. */
    static struct wire_writer nowhere;
    if (!c) {
        wire_fields_begin(&nowhere, NULL, 0);
        return &nowhere;
    }
    wire_frame_begin(&c->writer, c->scratch, WIRE_FRAME_MAX, type);
    return &c->writer;
}

void peer_control_end(struct peer *peer)
{
    struct peer_control *c = peer->control;
    uint32_t mask;
    if (!c)
        return;
    int len = base_random_bytes(&mask, sizeof(mask));
    if (len == 0)
        len = wire_frame_end(&c->writer, mask);
    if (len > 0 && reserve(&c->waiting, c->waiting.len + (size_t)len) < 0)
        len = -ENOMEM;
    if (len < 0) {
        lost(c, len);
        return;
    }
    memcpy(c->waiting.bytes + c->waiting.len, c->scratch, (size_t)len);
    c->waiting.len += (size_t)len;
    send_next(c);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void receive(struct peer_control *c)
{
    loop_recv(c->peer->loop, &c->recv_op, c->fd, c->rx.bytes + c->rx.len, c->rx.cap - c->rx.len);
}

/* Takes whole frames off the front. 0, or -errno. */
static int take_frames(struct peer_control *c)
{
    size_t at = 0;
    int err = 0;
    while (!c->closed) {
        err = wire_frame_len(c->rx.bytes + at, c->rx.len - at);
        if (err < 0)
            break;
        size_t len = (size_t)err;
        if (c->rx.len - at < len) {
            err = reserve(&c->rx, len + RX_INITIAL);
            break;
        }
        struct wire_reader r;
        enum wire_frame_type type;
        err = wire_frame_open(c->rx.bytes + at, len, &type, &r);
        if (err < 0)
            break;
        peer_session_frame(c->peer, type, &r);
        at += len;
    }
    memmove(c->rx.bytes, c->rx.bytes + at, c->rx.len - at);
    c->rx.len -= at;
    return err == -EAGAIN || err > 0 ? 0 : err;
}

static void recv_done(struct loop_op *op, int res)
{
    struct peer_control *c = op->owner;
    c->busy++;
    if (res <= 0) {
        lost(c, res);
    } else {
        c->rx.len += (size_t)res;
        int err = take_frames(c);
        if (err < 0)
            lost(c, err);
        else if (!c->closed)
            receive(c);
    }
    c->busy--;
    maybe_free(c);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void connect_done(struct loop_op *op, int res)
{
    struct peer_control *c = op->owner;
    c->busy++;
    if (res < 0) {
        lost(c, res);
    } else if (!c->closed) {
        receive(c);
        peer_session_connected(c->peer);
    }
    c->busy--;
    maybe_free(c);
}

static void tune(int fd)
{
    int on = 1, timeout = USER_TIMEOUT_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

int peer_control_open(struct peer *peer)
{
    struct peer_control *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->peer = peer;
    c->to = peer->config.server;
    c->scratch = malloc(WIRE_FRAME_MAX);
    c->fd = socket(c->to.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int err = c->fd < 0 ? -errno : 0;
    if (!err && (!c->scratch || reserve(&c->rx, RX_INITIAL) < 0))
        err = -ENOMEM;
    if (err) {
        if (c->fd >= 0)
            close(c->fd);
        free(c->rx.bytes);
        free(c->scratch);
        free(c);
        return err;
    }
    tune(c->fd);
    loop_op_init(&c->connect_op, connect_done, c);
    loop_op_init(&c->recv_op, recv_done, c);
    loop_op_init(&c->send_op, send_done, c);
    peer->control = c;
    loop_connect(peer->loop, &c->connect_op, c->fd, &c->to);
    return 0;
}

void peer_control_close(struct peer *peer)
{
    struct peer_control *c = peer->control;
    if (!c || c->closed)
        return;
    c->closed = true;
    shutdown(c->fd, SHUT_RDWR);
    loop_cancel(peer->loop, &c->connect_op);
    loop_cancel(peer->loop, &c->recv_op);
    loop_cancel(peer->loop, &c->send_op);
    peer->control = NULL;
    maybe_free(c);
}

union base_ep peer_control_local(const struct peer *peer)
{
    union base_ep ep = {0};
    socklen_t len = sizeof(ep);
    if (peer->control)
        getsockname(peer->control->fd, &ep.sa, &len);
    base_ep_set_port(&ep, 0);
    return ep;
}
