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

#include "bench/rendezvous/internal.h"

/* Nobody has proven anything yet: that much has to do, in bytes and in time. */
#define UNPROVEN_FRAME_MAX 4096
#define UNPROVEN_NS        (10 * BASE_NS_PER_S)
#define STUN_IDLE_NS       (60 * BASE_NS_PER_S)
#define DISCOVER_IDLE_NS   (120 * BASE_NS_PER_S)
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

struct bytes {
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
    struct pending_hello *pending;
    uint64_t deadline_ns; /* 0 = none */
    union base_ep from;
    struct bytes rx, tx;
    struct loop_op read_op, write_op;
    struct prober *prober;
    struct later *later; /* NULL = none */
};

/* Outlives its connection until its timer has completed. */
struct later {
    struct conn *conn; /* NULL = gone */
    struct loop_op op;
    size_t len;
    uint8_t bytes[LATER_MAX];
};

/* ---- life ------------------------------------------------------------------------------------ */

static void bytes_free(struct bytes *b)
{
    free(b->at);
    *b = (struct bytes){0};
}

static int bytes_reserve(struct bytes *b, size_t cap)
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
    if (s) {
        session_left(s, c->role);
        server_settle(c->server, s);
    }
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

/* Tells the peer why, and ends. */
static void conn_refuse(struct conn *c, enum wire_error code, const char *why)
{
    uint8_t frame[256];
    char from[BASE_EP_STRLEN];
    struct wire_writer w;
    struct session *s = c->session;
    base_info("%s: refused: %s", base_ep_format(&c->from, from), why);
    wire_frame_begin(&w, frame, sizeof(frame), WIRE_ERROR);
    wire_put_u64(&w, WIRE_F_CODE, code);
    wire_put_text(&w, WIRE_F_TEXT, why);
    int len = wire_frame_end(&w, (uint32_t)base_rng_u64(&c->server->host.masks));
    if (len > 0)
        conn_send(c, frame, (size_t)len);
    conn_finish(c);
    if (s) {
        session_left(s, c->role);
        server_settle(c->server, s);
    }
}

static void conn_violation(struct conn *c, enum wire_error code, const char *why)
{
    c->server->violations++;
    conn_refuse(c, code, why);
}

/* ---- the control protocol -------------------------------------------------------------------- */

static void on_hello(struct conn *c, const struct wire_reader *r, uint64_t now)
{
    struct server *server = c->server;
    struct wire_writer w;
    uint8_t frame[128], key[WIRE_KEY_LEN], proof[WIRE_MAC_LEN];
    const char *why;
    if (!limits_take(server->join_limits, &c->from, now)) {
        conn_refuse(c, WIRE_E_BUSY, "too many joins from this address: wait a second");
        return;
    }
    struct pending_hello *p = calloc(1, sizeof(*p));
    if (!p || base_random_bytes(p->server_nonce, sizeof(p->server_nonce)) < 0) {
        free(p);
        conn_refuse(c, WIRE_E_BUSY, "the server is out of memory");
        return;
    }
    c->pending = p;
    if (session_read_hello(r, &p->hello, &why) < 0) {
        conn_violation(c, WIRE_E_PROTOCOL, why);
        return;
    }
    wire_session_key(server->config->key, server->config->key_len, p->hello.session, key);
    wire_join_proof(key, WIRE_JOIN_SERVER, p->hello.nonce, p->server_nonce, proof);
    wire_frame_begin(&w, frame, sizeof(frame), WIRE_CHALLENGE);
    wire_put_bytes(&w, WIRE_F_NONCE, p->server_nonce, sizeof(p->server_nonce));
    wire_put_bytes(&w, WIRE_F_PROOF, proof, sizeof(proof));
    int len = wire_frame_end(&w, (uint32_t)base_rng_u64(&server->host.masks));
    c->state = CONN_CHALLENGED;
    p->challenged_ns = base_now_ns();
    conn_send(c, frame, len > 0 ? (size_t)len : 0);
}

static bool proven(const struct conn *c, const struct wire_reader *r)
{
    const struct pending_hello *p = c->pending;
    uint8_t key[WIRE_KEY_LEN], proof[WIRE_MAC_LEN], expected[WIRE_MAC_LEN];
    if (wire_get_exact(r, WIRE_F_PROOF, proof, sizeof(proof)) < 0)
        return false;
    wire_session_key(c->server->config->key, c->server->config->key_len, p->hello.session, key);
    wire_join_proof(key, WIRE_JOIN_PEER, p->hello.nonce, p->server_nonce, expected);
    return wire_proof_equal(proof, expected);
}

/* No session: this connection is about its own NAT. */
static void begin_discovery(struct conn *c, const union base_ep *asked, uint64_t rtt_ns, uint64_t now)
{
    char from[BASE_EP_STRLEN];
    c->state = CONN_DISCOVER;
    c->deadline_ns = now + DISCOVER_IDLE_NS;
    c->prober = prober_open(c, c->site, asked, &c->from, rtt_ns);
    if (c->prober)
        base_info("%s: discovers its NAT", base_ep_format(&c->from, from));
    else
        conn_refuse(c, WIRE_E_BUSY, "the server is out of memory");
}

static void on_prove(struct conn *c, const struct wire_reader *r, uint64_t now)
{
    struct pending_hello *p = c->pending;
    union base_ep stun[RENDEZVOUS_MAX_SITES], asked = {0};
    socklen_t len = sizeof(asked);
    char from[BASE_EP_STRLEN];
    const char *why;
    struct session *s = NULL;
    if (!proven(c, r)) {
        conn_refuse(c, WIRE_E_AUTH, "wrong key");
        return;
    }
    getsockname(c->fd, &asked.sa, &len);
    struct session_place place = {
        .stun = stun,
        .n_stun = site_stun_list(c->server, &asked, stun, BASE_ARRAY_LEN(stun)),
        .seen = &c->from,
        .rtt_ns = now - p->challenged_ns,
    };
    c->pending = NULL;
    if (strcmp(p->hello.technique, WIRE_DISCOVER) == 0) {
        begin_discovery(c, &asked, place.rtt_ns, now);
        free(p);
        return;
    }
    /* Joined before the session speaks: it may end the session with this very call. */
    c->state = CONN_JOINED;
    c->deadline_ns = 0;
    int err = server_join(c->server, &p->hello, &place, c, &s, &c->role, &why);
    if (err) {
        conn_refuse(c, (enum wire_error)err, why);
    } else {
        if (c->state == CONN_JOINED)
            c->session = s;
        base_info("session '%s': peer %s joined from %s", p->hello.session, c->role == WIRE_ROLE_B ? "b" : "a",
                  base_ep_format(&c->from, from));
    }
    free(p);
}

static void on_frame(struct conn *c, uint8_t *frame, size_t len, uint64_t now)
{
    struct wire_reader r;
    enum wire_frame_type type;
    const char *why = NULL;
    if (wire_frame_open(frame, len, &type, &r) < 0) {
        conn_violation(c, WIRE_E_PROTOCOL, "a frame that cannot be read");
    } else if (c->state == CONN_CONTROL && type == WIRE_HELLO) {
        on_hello(c, &r, now);
    } else if (c->state == CONN_CHALLENGED && type == WIRE_PROVE) {
        on_prove(c, &r, now);
    } else if (c->state == CONN_DISCOVER) {
        c->deadline_ns = now + DISCOVER_IDLE_NS;
        if (prober_frame(c->prober, type, &r, now, &why) < 0)
            conn_violation(c, WIRE_E_PROTOCOL, why);
    } else if (c->state == CONN_JOINED) {
        struct session *s = c->session;
        if (session_frame(s, c->role, type, &r, now, &why) < 0)
            conn_violation(c, WIRE_E_PROTOCOL, why);
        else
            server_settle(c->server, s);
    } else {
        conn_violation(c, WIRE_E_PROTOCOL, "a frame before its time");
    }
}

/* The bytes of the first whole frame, 0 when it is not whole yet (*need = its length, as far as known), or -errno. */
static int next_frame(struct conn *c, const uint8_t *at, size_t len, size_t *need)
{
    int whole = wire_frame_len(at, len);
    *need = WIRE_FRAME_HEADER;
    if (whole == -EAGAIN)
        return 0;
    if (whole == -EPROTONOSUPPORT)
        conn_violation(c, WIRE_E_VERSION, "another version of the protocol: run the same release everywhere");
    else if (whole == -EMSGSIZE || (whole > UNPROVEN_FRAME_MAX && c->state != CONN_JOINED))
        conn_violation(c, WIRE_E_PROTOCOL, "an oversized frame");
    else if (whole < 0)
        conn_violation(c, WIRE_E_PROTOCOL, "not a frame");
    if (c->state == CONN_DRAINING)
        return -EPROTO;
    *need = (size_t)whole;
    return len < *need ? 0 : whole;
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
        int n = stun ? next_stun(c, at + done, len - done, need, now) : next_frame(c, at + done, len - done, need);
        if (n <= 0)
            break;
        if (!stun)
            on_frame(c, at + done, (size_t)n, now);
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
