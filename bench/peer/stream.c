/* TCP paths: a connected socket, proven and verified; later the pipe's. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/peer/internal.h"

/* A few messages at most stand between two peers: proof, acknowledgement, choice, and their repetition. */
#define TX_CAP (8 * WIRE_PATH_LEN)
#define RX_CAP (8 * WIRE_PATH_LEN)
/* Strangers may find the listener: bounded, so that they cannot take all descriptors. */
#define MAX_STREAMS 256

struct peer_stream {
    struct peer_path path; /* first: a path of a TCP trial is a stream */
    int fd;                /* -1 = closed or detached */
    struct loop_op recv_op, send_op;
    uint8_t rx[RX_CAP], tx[TX_CAP], out[TX_CAP];
    size_t rx_len, tx_len, out_len;
    bool closing;
    struct peer_stream *next;
};

static void unlink_stream(struct peer_stream *s)
{
    for (struct peer_stream **p = &s->path.trial->streams; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            return;
        }
}

static void maybe_free(struct peer_stream *s)
{
    if (!s->closing || s->recv_op.pending || s->send_op.pending)
        return;
    struct peer_trial *t = s->path.trial;
    if (s->fd >= 0) {
        /* Reset, not FIN: no TIME_WAIT is left on a port that the next trial may draw. */
        struct linger reset = {.l_onoff = 1};
        setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(s->fd);
    }
    unlink_stream(s);
    free(s);
    peer_trial_release(t);
}

static void stop(struct peer_stream *s)
{
    s->closing = true;
    loop_cancel(s->path.trial->peer->loop, &s->recv_op);
    loop_cancel(s->path.trial->peer->loop, &s->send_op);
}

static void lose(struct peer_stream *s, int err)
{
    if (s->closing)
        return;
    stop(s);
    peer_path_lost(&s->path, err);
}

static void flush(struct peer_stream *s)
{
    if (s->send_op.pending || s->tx_len == 0 || s->closing)
        return;
    memcpy(s->out, s->tx, s->tx_len);
    s->out_len = s->tx_len;
    s->tx_len = 0;
    loop_send(s->path.trial->peer->loop, &s->send_op, s->fd, s->out, s->out_len);
}

static void send_message(struct peer_path *path, uint8_t extra_flags)
{
    struct peer_stream *s = (struct peer_stream *)path;
    struct peer_trial *t = path->trial;
    if (s->closing || s->fd < 0)
        return;
    if (s->tx_len + WIRE_PATH_LEN > TX_CAP) {
        lose(s, -ENOBUFS); /* the other end sends without reading: not a peer */
        return;
    }
    struct wire_path_msg msg = peer_verify_out(&path->verify, (uint32_t)t->number);
    msg.flags |= extra_flags;
    wire_path_encode(&t->keys, peer_trial_role(t), &msg, s->tx + s->tx_len);
    s->tx_len += WIRE_PATH_LEN;
    flush(s);
}

static void send_done(struct loop_op *op, int res)
{
    struct peer_stream *s = op->owner;
    if (res < 0 || (size_t)res != s->out_len)
        lose(s, res < 0 ? res : -EPIPE);
    else
        flush(s);
    maybe_free(s);
}

static void receive(struct peer_stream *s)
{
    if (s->rx_len < RX_CAP)
        loop_recv(s->path.trial->peer->loop, &s->recv_op, s->fd, s->rx + s->rx_len, RX_CAP - s->rx_len);
}

/* After the agreement what comes is the user's: it stays in rx for the pipe. While the path is held in silence, only
 * the word that ends it comes. */
static bool listens(const struct peer_stream *s)
{
    const struct peer_hold *hold = &s->path.trial->hold;
    return !s->closing && (!peer_verify_agreed(&s->path.verify) || (hold->on && !hold->settled));
}

static int take_messages(struct peer_stream *s)
{
    struct peer_trial *t = s->path.trial;
    enum wire_role other = peer_trial_role(t) == WIRE_ROLE_A ? WIRE_ROLE_B : WIRE_ROLE_A;
    while (listens(s)) {
        struct wire_path_msg msg;
        int err = wire_path_decode(&t->keys, other, s->rx, s->rx_len, &msg);
        if (err == -EAGAIN)
            return 0;
        if (err < 0)
            return -EACCES;
        s->rx_len -= WIRE_PATH_LEN;
        memmove(s->rx, s->rx + WIRE_PATH_LEN, s->rx_len);
        peer_path_message(&s->path, &msg);
    }
    return 0;
}

static void recv_done(struct loop_op *op, int res)
{
    struct peer_stream *s = op->owner;
    if (res <= 0) {
        lose(s, res < 0 ? res : -ECONNRESET);
    } else {
        s->rx_len += (size_t)res;
        int err = take_messages(s);
        if (err < 0)
            lose(s, err);
        else if (listens(s))
            receive(s);
    }
    maybe_free(s);
}

static size_t count_streams(const struct peer_trial *t)
{
    size_t n = 0;
    for (const struct peer_stream *s = t->streams; s; s = s->next)
        n++;
    return n;
}

int peer_tcp_offer(struct peer_trial *t, int fd, const union base_ep *remote)
{
    struct peer_stream *s = NULL;
    uint64_t id;
    if (!peer_trial_over(t) && count_streams(t) < MAX_STREAMS && base_random_bytes(&id, sizeof(id)) == 0)
        s = calloc(1, sizeof(*s));
    if (!s) {
        close(fd);
        return -ECANCELED;
    }
    int on = 1;
    /* The ring waits only on blocking descriptors. */
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    s->fd = fd;
    loop_op_init(&s->recv_op, recv_done, s);
    loop_op_init(&s->send_op, send_done, s);
    peer_path_init(&s->path, t, remote, true, id);
    s->path.established_ns = peer_trial_now_ns(t);
    s->path.send = send_message;
    s->next = t->streams;
    t->streams = s;
    peer_trial_hold(t);
    peer_trial_count(t, "established", 1);
    send_message(&s->path, 0);
    receive(s);
    return 0;
}

void peer_streams_close(struct peer_trial *t, const struct peer_path *keep)
{
    struct peer_stream *next;
    for (struct peer_stream *s = t->streams; s; s = next) {
        next = s->next;
        if (&s->path == keep || s->closing)
            continue;
        peer_path_forget(&s->path);
        stop(s);
        maybe_free(s);
    }
}

int peer_stream_detach(struct peer_path *path, uint8_t *rest, size_t cap, size_t *rest_len)
{
    struct peer_stream *s = (struct peer_stream *)path;
    if (s->rx_len > cap || s->fd < 0)
        return -EINVAL;
    memcpy(rest, s->rx, s->rx_len);
    *rest_len = s->rx_len;
    int fd = s->fd;
    s->fd = -1;
    return fd;
}
