/*
 * A TURN server for tests, on the same loop as the client and on loopback: it relays nothing, it answers as it is told
 * to, and notes what it was asked. Data to any peer comes back from that peer.
 */
#ifndef TESTS_UNIT_TURN_SERVER_H
#define TESTS_UNIT_TURN_SERVER_H

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/loop/loop.h"
#include "bench/wire/wire.h"

#define FAKE_CONNECTIONS 4
#define FAKE_REALM       "test.example"
#define FAKE_PEER        "203.0.113.7:4000"

struct fake;
struct fake_connection {
    struct fake *fake;
    int fd;
    struct loop_op op;
    uint8_t buf[8192];
    size_t len;
};

struct fake {
    struct loop *loop;
    union base_ep ep, from;
    int udp, listener;
    struct loop_op udp_op, accept_op;
    struct fake_connection connections[FAKE_CONNECTIONS];
    size_t n_connections;
    struct fake_connection *now, *control; /* NULL: over UDP */

    /* behaviour */
    const char *user, *password;
    uint32_t lifetime_s;
    unsigned stale;    /* so many authenticated requests get 438 */
    bool mute;         /* nothing is answered */
    unsigned lose;     /* the first so many requests are lost */
    bool forge;        /* each success is preceded by one with a wrong MAC */
    bool split;        /* TCP: every byte on its own */
    unsigned method;   /* this method is refused ... */
    unsigned code;     /* ... with this code */
    unsigned taken;    /* so many of the client's endpoints have an allocation already */
    uint16_t ports[4]; /* theirs */
    unsigned n_ports;
    unsigned refresh;  /* Refresh is refused with this */
    const char *early; /* comes right behind the answer to ConnectionBind, in one write with it */

    /* what was seen: a letter a request, upper case with credentials */
    char log[256];
    unsigned nonce;
    size_t dropped;
};

static inline void fake_send(struct fake *f, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    ssize_t n = 0;
    if (!f->now) {
        n = sendto(f->udp, p, len, 0, &f->from.sa, base_ep_len(&f->from));
    } else if (f->split) {
        for (size_t i = 0; i < len && n >= 0; i++)
            n = send(f->now->fd, p + i, 1, MSG_NOSIGNAL);
    } else {
        n = send(f->now->fd, p, len, MSG_NOSIGNAL);
    }
    f->dropped += n < 0;
}

static inline char fake_letter(unsigned method)
{
    static const char letters[] = "..."
                                  "ar.sdpcxbt"; /* allocate refresh send data permission channel connect bind */
    return method < sizeof(letters) - 1 ? letters[method] : '?';
}

static inline void fake_note(struct fake *f, unsigned method, bool authenticated)
{
    size_t len = strlen(f->log);
    char c = fake_letter(method);
    if (len + 1 < sizeof(f->log))
        f->log[len] = authenticated ? (char)(c - 'a' + 'A') : c;
}

static inline void fake_key(const struct fake *f, uint8_t key[WIRE_TURN_KEY_LEN])
{
    wire_turn_key(f->user, FAKE_REALM, strlen(FAKE_REALM), f->password, key);
}

static inline void fake_error(struct fake *f, const struct wire_turn *msg, unsigned code, bool challenge)
{
    uint8_t buf[512], key[WIRE_TURN_KEY_LEN];
    char nonce[32];
    struct wire_stun_writer w;
    wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_ERROR, msg->stun.method, msg->stun.txid);
    wire_stun_put_error(&w, (uint16_t)code, "no");
    if (challenge) {
        snprintf(nonce, sizeof(nonce), "nonce-%u", f->nonce);
        wire_stun_put(&w, WIRE_STUN_REALM, FAKE_REALM, strlen(FAKE_REALM));
        wire_stun_put(&w, WIRE_STUN_NONCE, nonce, strlen(nonce));
    } else {
        fake_key(f, key);
        wire_stun_put_integrity(&w, key, sizeof(key));
    }
    fake_send(f, buf, (size_t)wire_stun_end(&w, false));
}

static inline size_t fake_success(struct fake *f, const struct wire_turn *msg, bool wrong, uint8_t *buf, size_t cap)
{
    uint8_t key[WIRE_TURN_KEY_LEN];
    struct wire_stun_writer w;
    union base_ep relayed;
    base_ep_parse(wrong ? "192.0.2.66:666" : "192.0.2.15:50000", &relayed);
    wire_stun_begin(&w, buf, cap, WIRE_STUN_SUCCESS, msg->stun.method, msg->stun.txid);
    if (msg->stun.method == WIRE_TURN_ALLOCATE) {
        wire_stun_put_address(&w, WIRE_TURN_XOR_RELAYED_ADDRESS, &relayed);
        wire_stun_put_address(&w, WIRE_STUN_XOR_MAPPED_ADDRESS, &f->from);
    }
    if (msg->stun.method == WIRE_TURN_ALLOCATE || msg->stun.method == WIRE_TURN_REFRESH)
        wire_stun_put_u32(&w, WIRE_TURN_LIFETIME, msg->has_lifetime && !msg->lifetime_s ? 0 : f->lifetime_s);
    if (msg->stun.method == WIRE_TURN_CONNECT)
        wire_stun_put_u32(&w, WIRE_TURN_CONNECTION_ID, 77);
    fake_key(f, key);
    key[0] ^= wrong;
    wire_stun_put_integrity(&w, key, sizeof(key));
    return (size_t)wire_stun_end(&w, true);
}

static inline void fake_succeed(struct fake *f, const struct wire_turn *msg)
{
    uint8_t buf[1024];
    size_t len;
    if (f->forge) {
        len = fake_success(f, msg, true, buf, sizeof(buf));
        fake_send(f, buf, len);
    }
    len = fake_success(f, msg, false, buf, sizeof(buf));
    if (msg->stun.method == WIRE_TURN_CONNECTION_BIND && f->early) {
        memcpy(buf + len, f->early, strlen(f->early));
        len += strlen(f->early);
    }
    fake_send(f, buf, len);
}

static inline void fake_echo(struct fake *f, const struct wire_turn *msg)
{
    uint8_t buf[2048];
    struct wire_stun_writer w;
    wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_INDICATION, WIRE_TURN_DATA, msg->stun.txid);
    wire_stun_put_address(&w, WIRE_TURN_XOR_PEER_ADDRESS, &msg->peer);
    wire_stun_put(&w, WIRE_TURN_DATA_ATTR, msg->data, msg->data_len);
    fake_send(f, buf, (size_t)wire_stun_end(&w, false));
}

/* A peer has connected to the relayed endpoint. */
static inline void fake_attempt(struct fake *f)
{
    static const uint8_t txid[WIRE_STUN_TXID_LEN] = "attempt";
    uint8_t buf[256];
    struct wire_stun_writer w;
    union base_ep peer;
    base_ep_parse(FAKE_PEER, &peer);
    wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_INDICATION, WIRE_TURN_CONNECTION_ATTEMPT, txid);
    wire_stun_put_address(&w, WIRE_TURN_XOR_PEER_ADDRESS, &peer);
    wire_stun_put_u32(&w, WIRE_TURN_CONNECTION_ID, 78);
    f->now = f->control;
    fake_send(f, buf, (size_t)wire_stun_end(&w, false));
}

static inline bool fake_has_allocation(struct fake *f)
{
    uint16_t port = base_ep_port(&f->from);
    for (unsigned i = 0; i < f->n_ports; i++)
        if (f->ports[i] == port)
            return true;
    if (f->n_ports >= f->taken || f->n_ports >= BASE_ARRAY_LEN(f->ports))
        return false;
    f->ports[f->n_ports++] = port;
    return true;
}

static inline void fake_request(struct fake *f, const uint8_t *buf, size_t len, const struct wire_turn *msg)
{
    uint8_t key[WIRE_TURN_KEY_LEN];
    char nonce[32];
    fake_note(f, msg->stun.method, msg->stun.integrity != NULL);
    if (f->lose) {
        f->lose--;
        return;
    }
    if (f->mute)
        return;
    fake_key(f, key);
    if (!wire_stun_check_integrity(buf, len, &msg->stun, key, sizeof(key))) {
        fake_error(f, msg, 401, true);
        return;
    }
    snprintf(nonce, sizeof(nonce), "nonce-%u", f->nonce);
    if (f->stale) {
        f->stale--;
        f->nonce++;
        fake_error(f, msg, 438, true);
    } else if (msg->nonce_len != strlen(nonce) || memcmp(msg->nonce, nonce, msg->nonce_len) != 0) {
        fake_error(f, msg, 438, true);
    } else if (f->code && f->method == msg->stun.method) {
        fake_error(f, msg, f->code, false);
    } else if (f->taken && msg->stun.method == WIRE_TURN_ALLOCATE && fake_has_allocation(f)) {
        fake_error(f, msg, WIRE_TURN_E_ALLOCATION_MISMATCH, false);
    } else if (f->refresh && msg->stun.method == WIRE_TURN_REFRESH) {
        fake_error(f, msg, f->refresh, false);
    } else {
        fake_succeed(f, msg);
    }
}

static inline void fake_take(struct fake *f, const uint8_t *buf, size_t len)
{
    struct wire_turn msg;
    if (len && buf[0] >= 0x40) {
        fake_send(f, buf, len); /* channel data: back as it came */
    } else if (wire_turn_decode(buf, len, &msg) == 0 && msg.stun.cls == WIRE_STUN_REQUEST) {
        if (f->now && msg.stun.method != WIRE_TURN_CONNECTION_BIND)
            f->control = f->now;
        fake_request(f, buf, len, &msg);
    } else if (msg.stun.method == WIRE_TURN_SEND && msg.data) {
        fake_note(f, WIRE_TURN_SEND, false);
        fake_echo(f, &msg);
    }
}

static inline void fake_udp_done(struct loop_op *op, int res)
{
    struct fake *f = op->owner;
    uint8_t buf[4096];
    socklen_t len = sizeof(f->from);
    ssize_t n = res > 0 ? recvfrom(f->udp, buf, sizeof(buf), MSG_DONTWAIT, &f->from.sa, &len) : -1;
    f->now = NULL;
    if (n > 0)
        fake_take(f, buf, (size_t)n);
    if (res > 0)
        loop_poll(f->loop, op, f->udp, POLLIN);
}

static inline void fake_tcp_done(struct loop_op *op, int res)
{
    struct fake_connection *c = op->owner;
    struct fake *f = c->fake;
    if (res <= 0)
        return;
    c->len += (size_t)res;
    for (;;) {
        int whole = wire_turn_stream_len(c->buf, c->len);
        if (whole < 0 || (size_t)whole > c->len)
            break;
        f->now = c;
        fake_take(f, c->buf, (size_t)whole);
        c->len -= (size_t)whole;
        memmove(c->buf, c->buf + whole, c->len);
    }
    loop_recv(f->loop, op, c->fd, c->buf + c->len, sizeof(c->buf) - c->len);
}

static inline void fake_accepted(struct loop_op *op, int res)
{
    struct fake *f = op->owner;
    if (res < 0 || f->n_connections == FAKE_CONNECTIONS)
        return;
    struct fake_connection *c = &f->connections[f->n_connections++];
    *c = (struct fake_connection){.fake = f, .fd = res};
    loop_op_init(&c->op, fake_tcp_done, c);
    loop_recv(f->loop, &c->op, c->fd, c->buf, sizeof(c->buf));
    loop_accept(f->loop, op, f->listener);
}

/* One port for both transports. False when there is none. */
static inline bool fake_open(struct fake *f, struct loop *loop)
{
    socklen_t len = sizeof(f->ep);
    *f =
        (struct fake){.loop = loop, .user = "user", .password = "secret", .lifetime_s = 600, .udp = -1, .listener = -1};
    loop_op_init(&f->udp_op, fake_udp_done, f);
    loop_op_init(&f->accept_op, fake_accepted, f);
    for (int i = 0; i < 20; i++) {
        base_ep_parse("127.0.0.1:0", &f->ep);
        f->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(f->udp, &f->ep.sa, base_ep_len(&f->ep)) == 0 && getsockname(f->udp, &f->ep.sa, &len) == 0 &&
            bind(f->listener, &f->ep.sa, base_ep_len(&f->ep)) == 0 && listen(f->listener, 8) == 0) {
            loop_poll(loop, &f->udp_op, f->udp, POLLIN);
            loop_accept(loop, &f->accept_op, f->listener);
            return true;
        }
        close(f->udp);
        close(f->listener);
    }
    return false;
}

/* The loop runs dry then. */
static inline void fake_close(struct fake *f)
{
    loop_cancel(f->loop, &f->udp_op);
    loop_cancel(f->loop, &f->accept_op);
    for (size_t i = 0; i < f->n_connections; i++)
        loop_cancel(f->loop, &f->connections[i].op);
}

static inline void fake_free(struct fake *f)
{
    close(f->udp);
    close(f->listener);
    for (size_t i = 0; i < f->n_connections; i++)
        close(f->connections[i].fd);
}

#endif
