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
/* For --quality: some messages of it at a time; the answers to the other side's have room beside our own. */
#define WIDE_RX (64 << 10)
#define WIDE_TX (32 << 10)
#define RESERVE 4096
/* What the kernel takes beyond what is in flight: no slow link is to be busy for long with what it has taken. */
#define UNSENT_MOST (32 << 10)
/* Strangers may find the listener: bounded, so that they cannot take all descriptors. */
#define MAX_STREAMS 256

struct peer_stream {
    struct peer_path path; /* first: a path of a TCP trial is a stream */
    int fd;                /* -1 = closed or detached */
    struct loop_op recv_op, send_op;
    uint8_t *rx, *tx, *out; /* small[], or wide */
    size_t rx_cap, tx_cap, rx_len, tx_len, out_len;
    uint8_t small[RX_CAP + 2 * TX_CAP], *wide;
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
    free(s->wide);
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
    if (s->tx_len + WIRE_PATH_LEN > s->tx_cap) {
        lose(s, -ENOBUFS); /* the other end sends without reading: not a peer */
        return;
    }
    struct wire_path_msg msg = peer_verify_out(&path->verify, (uint32_t)t->number);
    msg.flags |= extra_flags;
    wire_path_encode(&t->keys, peer_trial_role(t), &msg, s->tx + s->tx_len);
    s->tx_len += WIRE_PATH_LEN;
    flush(s);
}

static int measure(struct peer_path *path, const void *data, size_t len)
{
    struct peer_stream *s = (struct peer_stream *)path;
    struct peer_trial *t = path->trial;
    size_t spare = len > PEER_QUALITY_MSG_LEN ? RESERVE : 0;
    if (s->closing || s->fd < 0)
        return -EPIPE;
    if (s->tx_len + WIRE_PATH_LEN + len + spare > s->tx_cap)
        return -EAGAIN;
    struct wire_path_msg msg = peer_verify_out(&path->verify, (uint32_t)t->number);
    msg.flags |= WIRE_PATH_MEASURE;
    msg.data_len = (uint16_t)len;
    wire_path_encode(&t->keys, peer_trial_role(t), &msg, s->tx + s->tx_len);
    memcpy(s->tx + s->tx_len + WIRE_PATH_LEN, data, len);
    s->tx_len += WIRE_PATH_LEN + len;
    flush(s);
    return 0;
}

static void send_done(struct loop_op *op, int res)
{
    struct peer_stream *s = op->owner;
    if (res < 0 || (size_t)res != s->out_len) {
        lose(s, res < 0 ? res : -EPIPE);
    } else {
        flush(s);
        if (peer_quality_listens(s->path.trial, &s->path))
            peer_quality_room(s->path.trial);
    }
    maybe_free(s);
}

static void receive(struct peer_stream *s)
{
    if (s->rx_len < s->rx_cap)
        loop_recv(s->path.trial->peer->loop, &s->recv_op, s->fd, s->rx + s->rx_len, s->rx_cap - s->rx_len);
}

/* After the agreement what comes is the user's: it stays in rx for the pipe. While the path is held in silence, only
 * the word that ends it comes; while it is measured, what is measured with. */
static bool listens(const struct peer_stream *s)
{
    const struct peer_hold *hold = &s->path.trial->hold;
    return !s->closing && (!peer_verify_agreed(&s->path.verify) || (hold->on && !hold->settled) ||
                           peer_quality_listens(s->path.trial, &s->path));
}

/* How long the message at p is, once it was taken; -EAGAIN: it is not whole. */
static int take_message(struct peer_stream *s, const uint8_t *p, size_t len, uint64_t now)
{
    struct peer_trial *t = s->path.trial;
    enum wire_role other = peer_trial_role(t) == WIRE_ROLE_A ? WIRE_ROLE_B : WIRE_ROLE_A;
    struct wire_path_msg msg;
    int err = wire_path_decode(&t->keys, other, p, len, &msg);
    if (err < 0)
        return err == -EAGAIN ? err : -EACCES;
    if (!(msg.flags & WIRE_PATH_MEASURE)) {
        peer_path_message(&s->path, &msg);
        return WIRE_PATH_LEN;
    }
    if (!peer_quality_listens(t, &s->path))
        return -EBADMSG;
    if (len < WIRE_PATH_LEN + (size_t)msg.data_len)
        return -EAGAIN;
    peer_quality_message(t, p + WIRE_PATH_LEN, msg.data_len, now);
    return WIRE_PATH_LEN + msg.data_len;
}

static int take_messages(struct peer_stream *s)
{
    uint64_t now = base_now_ns(); /* all of it has come by now */
    size_t at = 0;
    int len = 0;
    while (listens(s) && (len = take_message(s, s->rx + at, s->rx_len - at, now)) > 0)
        at += (size_t)len;
    s->rx_len -= at;
    memmove(s->rx, s->rx + at, s->rx_len);
    return len < 0 && len != -EAGAIN ? len : 0;
}

/* Takes what is there, and reads on. */
static void heard(struct peer_stream *s)
{
    int err = take_messages(s);
    if (err < 0)
        lose(s, err);
    else if (listens(s))
        receive(s);
}

static void recv_done(struct loop_op *op, int res)
{
    struct peer_stream *s = op->owner;
    if (res <= 0) {
        lose(s, res < 0 ? res : -ECONNRESET);
    } else {
        s->rx_len += (size_t)res;
        heard(s);
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
    s->rx = s->small;
    s->tx = s->small + RX_CAP;
    s->out = s->tx + TX_CAP;
    s->rx_cap = RX_CAP;
    s->tx_cap = TX_CAP;
    loop_op_init(&s->recv_op, recv_done, s);
    loop_op_init(&s->send_op, send_done, s);
    peer_path_init(&s->path, t, remote, true, id);
    s->path.established_ns = peer_trial_now_ns(t);
    s->path.send = send_message;
    s->path.measure = measure;
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

int peer_stream_widen(struct peer_path *path)
{
    struct peer_stream *s = (struct peer_stream *)path;
    int unsent = UNSENT_MOST;
    if (s->recv_op.pending || s->fd < 0 || s->wide)
        return -EBUSY;
    s->wide = malloc(WIDE_RX + 2 * WIDE_TX);
    if (!s->wide)
        return -ENOMEM;
    memcpy(s->wide, s->rx, s->rx_len);
    memcpy(s->wide + WIDE_RX, s->tx, s->tx_len);
    s->rx = s->wide;
    s->tx = s->rx + WIDE_RX;
    s->out = s->tx + WIDE_TX; /* what is being sent is still in small[] */
    s->rx_cap = WIDE_RX;
    s->tx_cap = WIDE_TX;
    setsockopt(s->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
    heard(s);
    maybe_free(s);
    return 0;
}

int peer_stream_detach(struct peer_path *path, uint8_t *rest, size_t cap, size_t *rest_len)
{
    struct peer_stream *s = (struct peer_stream *)path;
    if (s->rx_len > cap || s->fd < 0)
        return -EINVAL;
    if (s->recv_op.pending)
        return -EBUSY;
    memcpy(rest, s->rx, s->rx_len);
    *rest_len = s->rx_len;
    int fd = s->fd;
    s->fd = -1;
    return fd;
}
