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
    const struct peer_control_events *events;
    int fd;
    union base_ep to;
    struct loop_op connect_op, recv_op, send_op;
    struct buffer rx, sending, waiting;
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
    free(c);
}

static void lost(struct peer_control *c, int err)
{
    if (!c->closed)
        c->events->lost(c->peer, err);
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

void peer_control_send(struct peer_control *c, const uint8_t *bytes, size_t len)
{
    if (!c || c->closed)
        return;
    if (reserve(&c->waiting, c->waiting.len + len) < 0) {
        lost(c, -ENOMEM);
        return;
    }
    memcpy(c->waiting.bytes + c->waiting.len, bytes, len);
    c->waiting.len += len;
    send_next(c);
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* One at a time, one thread. What is written once the session has ended goes nowhere. */
static uint8_t scratch[WIRE_FRAME_MAX];
static struct wire_writer writer;

struct wire_writer *peer_control_begin(struct peer *peer, enum wire_frame_type type)
{
    (void)peer;
    wire_frame_begin(&writer, scratch, sizeof(scratch), type);
    return &writer;
}

static int finish_frame(void)
{
    uint32_t mask;
    int err = base_random_bytes(&mask, sizeof(mask));
    return err < 0 ? err : wire_frame_end(&writer, mask);
}

void peer_control_end(struct peer *peer)
{
    int len = finish_frame();
    if (len < 0 && peer->control)
        lost(peer->control, len);
    if (len < 0)
        return;
    peer_rejoin_keep(peer, writer.type, scratch, (size_t)len);
    peer_control_send(peer->control, scratch, (size_t)len);
}

void peer_control_end_on(struct peer_control *c)
{
    int len = finish_frame();
    if (len < 0)
        lost(c, len);
    else
        peer_control_send(c, scratch, (size_t)len);
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
        c->events->frame(c->peer, type, &r);
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
        c->events->connected(c->peer);
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

int peer_control_open(struct peer *peer, const struct peer_control_events *events, struct peer_control **out)
{
    struct peer_control *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->peer = peer;
    c->events = events;
    c->to = peer->config.server;
    c->fd = socket(c->to.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int err = c->fd < 0 ? -errno : 0;
    if (!err)
        err = reserve(&c->rx, RX_INITIAL);
    if (err) {
        if (c->fd >= 0)
            close(c->fd);
        free(c->rx.bytes);
        free(c);
        return err;
    }
    tune(c->fd);
    loop_op_init(&c->connect_op, connect_done, c);
    loop_op_init(&c->recv_op, recv_done, c);
    loop_op_init(&c->send_op, send_done, c);
    *out = c;
    loop_connect(peer->loop, &c->connect_op, c->fd, &c->to);
    return 0;
}

void peer_control_hand_over(struct peer_control *c, const struct peer_control_events *events)
{
    c->events = events;
}

static void close_it(struct peer_control *c)
{
    c->closed = true;
    loop_cancel(c->peer->loop, &c->connect_op);
    loop_cancel(c->peer->loop, &c->recv_op);
    loop_cancel(c->peer->loop, &c->send_op);
    maybe_free(c);
}

void peer_control_close(struct peer_control *c)
{
    if (!c || c->closed)
        return;
    shutdown(c->fd, SHUT_RDWR);
    close_it(c);
}

/* S takes a FIN for our end, a RST for a connection that broke. */
void peer_control_abort(struct peer_control *c)
{
    struct linger reset = {.l_onoff = 1};
    if (!c || c->closed)
        return;
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close_it(c);
}

union base_ep peer_control_local(const struct peer_control *c)
{
    union base_ep ep = {0};
    socklen_t len = sizeof(ep);
    getsockname(c->fd, &ep.sa, &len);
    base_ep_set_port(&ep, 0);
    return ep;
}
