/* --pipe: a punched netcat. Over TCP a byte stream; over UDP datagrams, as lossy as the path. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/peer/internal.h"

#define CHUNK 65536
/* UDP: the end mark may be lost like any datagram; it is repeated, and answered by the other side's own. */
#define FIN_REPEATS     5
#define FIN_INTERVAL_NS (50 * BASE_NS_PER_MS)

/* UDP: what came before our side of the pipe stood. The other side may be a moment ahead: it had the joint record
 * first. Datagrams beyond this are lost, as on any full buffer. */
static struct {
    uint8_t bytes[CHUNK];
    size_t len;
    bool fin;
} early;

struct peer_pipe {
    struct peer *peer;
    struct peer_path *path; /* UDP */
    int fd;                 /* TCP; -1 over UDP */
    struct loop_op in_read, out_write, path_send, path_recv, fin_timer;
    uint8_t in[CHUNK], out[CHUNK];
    size_t in_len, in_at, out_len, out_at;
    bool in_ended, in_polled, out_ended, closing;
    int fins_left;
};

static void maybe_free(struct peer_pipe *p)
{
    if (!p->closing || p->in_read.pending || p->out_write.pending || p->path_send.pending || p->path_recv.pending ||
        p->fin_timer.pending)
        return;
    struct peer *peer = p->peer;
    if (p->fd >= 0)
        close(p->fd);
    peer->pipe = NULL;
    free(p);
    peer_session_end(peer, peer->ok == peer->trials ? BASE_EXIT_OK : BASE_EXIT_FAILED);
}

void peer_pipe_stop(struct peer *peer)
{
    struct peer_pipe *p = peer->pipe;
    if (!p || p->closing)
        return;
    p->closing = true;
    loop_cancel(peer->loop, &p->in_read);
    loop_cancel(peer->loop, &p->out_write);
    loop_cancel(peer->loop, &p->path_send);
    loop_cancel(peer->loop, &p->path_recv);
    /* One completion must come, to free it: where stdin has ended nothing else may be pending. */
    if (p->fin_timer.pending)
        loop_cancel(peer->loop, &p->fin_timer);
    else
        loop_timer(peer->loop, &p->fin_timer, 0);
}

/* Both directions done: the pipe has done its work. */
static void check_end(struct peer_pipe *p)
{
    if (p->in_ended && p->out_ended && !p->fins_left && !p->out_write.pending)
        peer_pipe_stop(p->peer);
}

static void read_stdin(struct peer_pipe *p)
{
    size_t cap = p->fd >= 0 ? CHUNK : WIRE_PATH_MAX_DATA;
    if (!p->closing && !p->in_ended)
        loop_read(p->peer->loop, &p->in_read, STDIN_FILENO, p->in, cap);
}

static void read_path(struct peer_pipe *p)
{
    if (!p->closing && p->fd >= 0 && !p->out_ended)
        loop_recv(p->peer->loop, &p->path_recv, p->fd, p->out, CHUNK);
}

static void send_fin(struct peer_pipe *p)
{
    peer_datagrams_send_data(p->path, "", 0, true);
    if (--p->fins_left > 0)
        loop_timer(p->peer->loop, &p->fin_timer, base_now_ns() + FIN_INTERVAL_NS);
}

static void fin_done(struct loop_op *op, int res)
{
    struct peer_pipe *p = op->owner;
    if (res == 0 && !p->closing) {
        send_fin(p);
        check_end(p);
    }
    maybe_free(p);
}

static void stdin_ended(struct peer_pipe *p)
{
    p->in_ended = true;
    if (p->fd >= 0) {
        shutdown(p->fd, SHUT_WR);
    } else {
        p->fins_left = FIN_REPEATS;
        send_fin(p);
    }
    check_end(p);
}

static void in_read_done(struct loop_op *op, int res)
{
    struct peer_pipe *p = op->owner;
    if (p->closing) {
        maybe_free(p);
        return;
    }
    if (p->in_polled || res == -EAGAIN) {
        /* Somebody made our stdin non-blocking: wait for it, then read. */
        p->in_polled = !p->in_polled;
        if (p->in_polled)
            loop_poll(p->peer->loop, op, STDIN_FILENO, POLLIN);
        else
            read_stdin(p);
    } else if (res <= 0) {
        stdin_ended(p);
    } else if (p->fd >= 0) {
        p->in_len = (size_t)res;
        p->in_at = 0;
        loop_send(p->peer->loop, &p->path_send, p->fd, p->in, p->in_len);
    } else {
        peer_datagrams_send_data(p->path, p->in, (size_t)res, false);
        read_stdin(p);
    }
    maybe_free(p);
}

static void path_send_done(struct loop_op *op, int res)
{
    struct peer_pipe *p = op->owner;
    if (!p->closing && res < 0) {
        base_error("the path broke: %s", strerror(-res));
        peer_pipe_stop(p->peer);
    } else if (!p->closing) {
        p->in_at += (size_t)res;
        if (p->in_at < p->in_len)
            loop_send(p->peer->loop, op, p->fd, p->in + p->in_at, p->in_len - p->in_at);
        else
            read_stdin(p);
    }
    maybe_free(p);
}

static void write_stdout(struct peer_pipe *p)
{
    loop_write(p->peer->loop, &p->out_write, STDOUT_FILENO, p->out + p->out_at, p->out_len - p->out_at);
}

static void out_write_done(struct loop_op *op, int res)
{
    struct peer_pipe *p = op->owner;
    if (!p->closing && res < 0) {
        base_error("cannot write to stdout: %s", strerror(-res));
        peer_pipe_stop(p->peer);
    } else if (!p->closing) {
        p->out_at += (size_t)res;
        if (p->out_at < p->out_len)
            write_stdout(p);
        else
            read_path(p);
        check_end(p);
    }
    maybe_free(p);
}

static void path_recv_done(struct loop_op *op, int res)
{
    struct peer_pipe *p = op->owner;
    if (!p->closing && res < 0) {
        base_error("the path broke: %s", strerror(-res));
        peer_pipe_stop(p->peer);
    } else if (!p->closing && res == 0) {
        p->out_ended = true;
        check_end(p);
    } else if (!p->closing) {
        p->out_len = (size_t)res;
        p->out_at = 0;
        write_stdout(p);
    }
    maybe_free(p);
}

void peer_pipe_data(struct peer *peer, const uint8_t *data, size_t len, bool fin)
{
    struct peer_pipe *p = peer->pipe;
    if (!p && peer->config.pipe && len <= sizeof(early.bytes) - early.len) {
        memcpy(early.bytes + early.len, data, len);
        early.len += len;
        early.fin = early.fin || fin;
    }
    if (!p || p->closing)
        return;
    /* Datagrams go out whole and at once, like netcat's. */
    if (len > 0 && write(STDOUT_FILENO, data, len) < 0) {
        base_error("cannot write to stdout: %s", strerror(errno));
        peer_pipe_stop(peer);
        return;
    }
    if (fin)
        p->out_ended = true;
    check_end(p);
}

int peer_pipe_start(struct peer *peer, struct peer_path *path)
{
    struct peer_pipe *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->peer = peer;
    p->path = path;
    p->fd = -1;
    loop_op_init(&p->in_read, in_read_done, p);
    loop_op_init(&p->out_write, out_write_done, p);
    loop_op_init(&p->path_send, path_send_done, p);
    loop_op_init(&p->path_recv, path_recv_done, p);
    loop_op_init(&p->fin_timer, fin_done, p);
    if (peer_trial_is_tcp(path->trial)) {
        p->fd = peer_stream_detach(path, p->out, CHUNK, &p->out_len);
        if (p->fd < 0) {
            int err = p->fd;
            free(p);
            return err;
        }
    }
    peer->pipe = p;
    if (p->out_len > 0)
        write_stdout(p);
    else
        read_path(p);
    read_stdin(p);
    peer_pipe_data(peer, early.bytes, early.len, early.fin);
    return 0;
}
