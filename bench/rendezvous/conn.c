/*
 * TCP connections: STUN or the control protocol, by the first byte. A connection that says nothing holds no buffer:
 * readiness comes from the loop, bytes are read into one shared buffer, and only the start of an unfinished message
 * is kept. Outside its own read callback, a connection always has its read operation pending; it is freed when its
 * last operation has completed.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/rendezvous/conn.h"

/* Nobody has proven anything yet: that much has to do, in bytes and in time. */
#define UNPROVEN_NS  (30 * BASE_NS_PER_S)
#define STUN_IDLE_NS (60 * BASE_NS_PER_S)
/* A STUN answer over a stream that was asked to come later: one at a time. */
#define LATER_MAX 64
/* For the peer to take what is queued and to close first, so that nothing is lost to a reset. */
#define DRAIN_NS (5 * BASE_NS_PER_S)
/* A peer that does not read while that much waits for it is gone or hostile. */
#define TX_MAX (4 * WIRE_FRAME_MAX)
/* Connections taken and reads made in one go, before others get a turn. */
#define ACCEPT_BURST        64
#define READ_BURST          4
#define ACCEPT_RETRY_NS     (100 * BASE_NS_PER_MS)
#define ACCEPT_LOG_EVERY_NS (10 * BASE_NS_PER_S)
/* A peer whose host vanished is noticed after about 30 s. */
#define KEEPALIVE_IDLE_S  15
#define KEEPALIVE_EVERY_S 5
#define KEEPALIVE_COUNT   3
#define USER_TIMEOUT_MS   30000

/* Outlives its connection until its timer has completed. */
struct later {
    struct conn *conn; /* NULL = gone */
    struct loop_op op;
    size_t len;
    uint8_t bytes[LATER_MAX];
};

/* ---- life ------------------------------------------------------------------------------------ */

static void bytes_free(struct conn_bytes *b)
{
    free(b->at);
    *b = (struct conn_bytes){0};
}

static int bytes_reserve(struct conn_bytes *b, size_t cap)
{
    if (cap <= b->cap)
        return 0;
    uint8_t *grown = realloc(b->at, cap);
    if (!grown)
        return -ENOMEM;
    b->at = grown;
    b->cap = cap;
    return 0;
}

static void conn_maybe_free(struct conn *c)
{
    if (c->state != CONN_CLOSED || c->read_op.pending || c->write_op.pending)
        return;
    close(c->fd);
    if (c->prev)
        c->prev->next = c->next;
    else
        c->server->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->server->n_conns--;
    bytes_free(&c->rx);
    bytes_free(&c->tx);
    free(c->pending);
    free(c);
}

static void drop_extras(struct conn *c)
{
    struct prober *p = c->prober;
    c->prober = NULL;
    if (p)
        prober_close(p);
    if (c->later) {
        c->later->conn = NULL;
        loop_cancel(c->server->loop, &c->later->op);
        c->later = NULL;
    }
}

/* The connection is over, whoever ended it: a session that it was in hears of it. Its last operation frees it. */
void conn_close_now(struct conn *c)
{
    struct session *s = c->session;
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_CLOSED;
    c->session = NULL;
    drop_extras(c);
    loop_cancel(c->server->loop, &c->read_op);
    loop_cancel(c->server->loop, &c->write_op);
    if (!s)
        return;
    if (c->broken)
        session_vanished(s, c->role, base_now_ns());
    else
        session_left(s, c->role);
    server_settle(c->server, s);
}

struct conn *conn_next(const struct conn *c)
{
    return c->next;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void tx_flush(struct conn *c)
{
    while (c->tx.len > 0) {
        ssize_t n = send(c->fd, c->tx.at, c->tx.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!c->write_op.pending)
                loop_poll(c->server->loop, &c->write_op, c->fd, POLLOUT);
            return;
        }
        if (n < 0) {
            /* The read side will see the end, and that is where connections end. */
            c->broken = true;
            shutdown(c->fd, SHUT_RDWR);
            break;
        }
        memmove(c->tx.at, c->tx.at + n, c->tx.len - (size_t)n);
        c->tx.len -= (size_t)n;
    }
    bytes_free(&c->tx);
    if (c->state == CONN_DRAINING)
        shutdown(c->fd, SHUT_WR);
}

void conn_send(struct conn *c, const uint8_t *bytes, size_t len)
{
    if (c->state == CONN_CLOSED || c->state == CONN_DRAINING)
        return;
    if (c->tx.len == 0) {
        ssize_t n = send(c->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n == (ssize_t)len)
            return;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    if (c->tx.len + len > TX_MAX || bytes_reserve(&c->tx, c->tx.len + len) < 0) {
        shutdown(c->fd, SHUT_RDWR);
        return;
    }
    memcpy(c->tx.at + c->tx.len, bytes, len);
    c->tx.len += len;
    tx_flush(c);
}

static void write_ready(struct loop_op *op, int res)
{
    struct conn *c = op->owner;
    if (c->state != CONN_CLOSED && res != -ECANCELED)
        tx_flush(c);
    conn_maybe_free(c);
}

void conn_finish(struct conn *c)
{
    if (c->state == CONN_CLOSED || c->state == CONN_DRAINING)
        return;
    c->state = CONN_DRAINING;
    c->session = NULL;
    drop_extras(c);
    c->deadline_ns = base_now_ns() + DRAIN_NS;
    bytes_free(&c->rx);
    tx_flush(c);
}

/* ---- STUN ------------------------------------------------------------------------------------ */

static void later_due(struct loop_op *op, int res)
{
    struct later *later = op->owner;
    if (later->conn) {
        later->conn->later = NULL;
        if (res == 0)
            conn_send(later->conn, later->bytes, later->len);
    }
    free(later);
}

static void answer_later(struct conn *c, const struct stun_reply *reply, const uint8_t *bytes, uint64_t now)
{
    struct later *later = !c->later && reply->len <= LATER_MAX ? calloc(1, sizeof(*later)) : NULL;
    if (!later)
        return;
    later->conn = c;
    later->len = reply->len;
    memcpy(later->bytes, bytes, reply->len);
    c->later = later;
    loop_op_init(&later->op, later_due, later);
    loop_timer(c->server->loop, &later->op, now + reply->delay_ms * BASE_NS_PER_MS);
}

static int next_stun(struct conn *c, uint8_t *at, size_t len, size_t *need, uint64_t now)
{
    uint8_t out[WIRE_STUN_MAX_LEN];
    union base_ep asked = {0};
    socklen_t asked_len = sizeof(asked);
    int whole = wire_stun_frame_len(at, len);
    *need = WIRE_STUN_HEADER_LEN;
    if (whole == -EAGAIN)
        return 0;
    if (whole < 0) {
        c->server->violations++;
        conn_finish(c);
        return -EPROTO;
    }
    *need = (size_t)whole;
    if (len < *need)
        return 0;
    c->deadline_ns = now + STUN_IDLE_NS;
    if (!limits_take(c->server->stun_limits, &c->from, now))
        return whole;
    getsockname(c->fd, &asked.sa, &asked_len);
    struct stun_ask ask = {.from = &c->from, .stream = true};
    site_ask(c->site, &asked, &ask);
    struct stun_reply reply = stun_answer(&ask, at, (size_t)whole, out);
    if (reply.len && reply.delay_ms)
        answer_later(c, &reply, out, now);
    else if (reply.len)
        conn_send(c, out, reply.len);
    return whole;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* By the first byte (RFC 7983). What is neither gets the answer of a control connection. */
static void tell_apart(struct conn *c, uint8_t first, uint64_t now)
{
    c->state = first < 4 ? CONN_STUN : CONN_CONTROL;
    if (c->state == CONN_STUN)
        c->deadline_ns = now + STUN_IDLE_NS;
}

/* Takes whole messages off the front. How many bytes are done with; *need is what the next message takes. */
static size_t consume(struct conn *c, uint8_t *at, size_t len, size_t *need)
{
    size_t done = 0;
    uint64_t now = base_now_ns();
    *need = 0;
    while (done < len && c->state < CONN_DRAINING) {
        if (c->state == CONN_NEW)
            tell_apart(c, at[done], now);
        bool stun = c->state == CONN_STUN;
        int n = stun ? next_stun(c, at + done, len - done, need, now) : conn_frame(c, at + done, len - done, need);
        if (n <= 0)
            break;
        if (!stun)
            conn_take_frame(c, at + done, (size_t)n, now);
        done += (size_t)n;
        *need = 0;
    }
    return done;
}

/* Reads once. 1 for more to come, 0 when drained, or when the connection is over. */
static int read_once(struct conn *c)
{
    struct server *server = c->server;
    bool kept = c->rx.len > 0;
    size_t need, room = kept ? c->rx.cap - c->rx.len : SERVER_SCRATCH;
    uint8_t *to = kept ? c->rx.at + c->rx.len : server->scratch;
    ssize_t n = recv(c->fd, to, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        c->broken |= n < 0;
        conn_close_now(c);
        return 0;
    }
    if (c->state == CONN_DRAINING)
        return 1;
    uint8_t *at = kept ? c->rx.at : server->scratch;
    size_t len = (kept ? c->rx.len : 0) + (size_t)n;
    size_t done = consume(c, at, len, &need);
    if (c->state >= CONN_DRAINING)
        return c->state == CONN_DRAINING;
    size_t left = len - done;
    if (kept && left)
        memmove(c->rx.at, c->rx.at + done, left);
    c->rx.len = kept ? left : 0;
    if (left == 0) {
        bytes_free(&c->rx);
    } else if (bytes_reserve(&c->rx, need > left ? need : left) < 0) {
        conn_close_now(c);
        return 0;
    } else if (!kept) {
        memcpy(c->rx.at, server->scratch + done, left);
        c->rx.len = left;
    }
    return 1;
}

static void read_ready(struct loop_op *op, int res)
{
    struct conn *c = op->owner;
    if (res == -ECANCELED || c->server->stopping)
        conn_close_now(c);
    for (unsigned i = 0; i < READ_BURST && c->state != CONN_CLOSED; i++)
        if (!read_once(c))
            break;
    if (c->state != CONN_CLOSED)
        loop_poll(c->server->loop, op, c->fd, POLLIN);
    else
        conn_maybe_free(c);
}

void conn_tick(struct server *server, uint64_t now)
{
    for (struct conn *c = server->conns, *next; c; c = next) {
        next = c->next;
        if (!c->deadline_ns || now < c->deadline_ns || c->state == CONN_CLOSED)
            continue;
        if (c->state == CONN_CONTROL || c->state == CONN_CHALLENGED)
            conn_refuse(c, WIRE_E_TIMEOUT, "no proof of the key in time");
        else
            conn_close_now(c);
    }
}

/* ---- accepting ------------------------------------------------------------------------------- */

static void tune(int fd)
{
    int on = 1, idle = KEEPALIVE_IDLE_S, every = KEEPALIVE_EVERY_S, count = KEEPALIVE_COUNT, timeout = USER_TIMEOUT_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

static void conn_open(const struct site *site, int fd, const union base_ep *from, uint64_t now)
{
    struct server *server = site->server;
    struct conn *c = calloc(1, sizeof(*c));
    if (!c) {
        close(fd);
        return;
    }
    tune(fd);
    c->server = server;
    c->site = site;
    c->fd = fd;
    c->from = *from;
    c->deadline_ns = now + UNPROVEN_NS;
    c->next = server->conns;
    if (c->next)
        c->next->prev = c;
    server->conns = c;
    server->n_conns++;
    loop_op_init(&c->read_op, read_ready, c);
    loop_op_init(&c->write_op, write_ready, c);
    loop_poll(server->loop, &c->read_op, fd, POLLIN);
    server_wake(server);
}

static void accept_again(struct loop_op *op, int res)
{
    struct site *site = op->owner;
    if (res != -ECANCELED && !site->server->stopping)
        loop_poll(site->server->loop, &site->tcp_op, site->tcp_fd, POLLIN);
}

/* Out of descriptors or memory: what waits in the backlog waits a little longer, and the log says so once in a while.
 */
static void accept_failed(struct site *site, int err)
{
    struct server *server = site->server;
    uint64_t now = base_now_ns();
    if (!server->last_accept_error_ns || now - server->last_accept_error_ns > ACCEPT_LOG_EVERY_NS) {
        base_error("cannot accept connections: %s: %zu are open; raise the open-file limit (ulimit -n)", strerror(err),
                   server->n_conns);
        server->last_accept_error_ns = now;
    }
    loop_timer(server->loop, &site->retry_op, now + ACCEPT_RETRY_NS);
}

static bool transient(int err)
{
    return err == EAGAIN || err == EINTR || err == ECONNABORTED || err == EPROTO;
}

static void accept_ready(struct loop_op *op, int res)
{
    struct site *site = op->owner;
    struct server *server = site->server;
    if (res == -ECANCELED || server->stopping)
        return;
    uint64_t now = base_now_ns();
    for (unsigned i = 0; i < ACCEPT_BURST; i++) {
        union base_ep from = {0};
        socklen_t len = sizeof(from);
        int fd = accept4(site->tcp_fd, &from.sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            conn_open(site, fd, &from, now);
        } else if (transient(errno)) {
            break;
        } else {
            accept_failed(site, errno);
            return;
        }
    }
    loop_poll(server->loop, op, site->tcp_fd, POLLIN);
}

void conn_accept_start(struct site *site)
{
    loop_op_init(&site->tcp_op, accept_ready, site);
    loop_op_init(&site->retry_op, accept_again, site);
    loop_poll(site->server->loop, &site->tcp_op, site->tcp_fd, POLLIN);
}
