/* The control connection to S, and what we ask of S on it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/discover/internal.h"

#define RX_MAX        (64 * 1024)
#define JOIN_LIMIT_NS (2 * BASE_NS_PER_S)
#define SESSION       "discover"

struct control {
    struct item item;
    struct discover *d;
    struct test *test;
    struct slot *slot;
    int fd;
    bool settled;
    uint64_t next_stamp;
    uint8_t key[WIRE_KEY_LEN], nonce[WIRE_NONCE_LEN];
    struct loop_op op, timer;
    bool connected;
    size_t rx_len;
    uint8_t rx[RX_MAX];
};

/* ---- life ------------------------------------------------------------------------------------ */

static void control_stop(struct item *item)
{
    struct control *c = (struct control *)item;
    loop_cancel(c->d->loop, &c->op);
    loop_cancel(c->d->loop, &c->timer);
    if (c->fd >= 0)
        close_reset(c->fd);
    c->fd = -1;
}

static bool control_pending(const struct item *item)
{
    const struct control *c = (const struct control *)item;
    return loop_op_pending(&c->op) || loop_op_pending(&c->timer);
}

static void settle(struct control *c)
{
    if (c->settled)
        return;
    c->settled = true;
    loop_cancel(c->d->loop, &c->timer);
    test_done(c->test);
}

static void probe_end(struct probe *p, enum wire_probed result);
static void probe_stop(struct item *item);

/* The connection is of no use, or not any more; why goes to the notes. */
static void lost(struct control *c, const char *why)
{
    struct discover *d = c->d;
    if (d->over || c->fd < 0)
        return;
    if (!*d->control_problem)
        strncpy(d->control_problem, why, sizeof(d->control_problem) - 1);
    d->result.rendezvous = false;
    control_stop(&c->item);
    for (struct item *i = d->items; i; i = i->next)
        if (i->stop == probe_stop)
            probe_end((struct probe *)i, WIRE_PROBED_CANNOT);
    settle(c);
}

bool control_settled(const struct discover *d)
{
    return !d->control || d->control->settled;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static int send_frame(struct control *c, struct wire_writer *w)
{
    uint32_t mask;
    int len = base_random_bytes(&mask, sizeof(mask));
    if (len == 0)
        len = wire_frame_end(w, mask);
    /* A few hundred bytes that the peer answers one by one: the socket's buffer takes them. */
    if (len > 0 && send(c->fd, w->buf, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) != len)
        len = -EIO;
    return len < 0 ? len : 0;
}

static int say_hello(struct control *c)
{
    uint8_t frame[256];
    struct wire_writer w;
    int err = base_random_bytes(c->nonce, sizeof(c->nonce));
    if (err < 0)
        return err;
    wire_session_key(c->d->key, c->d->config.key_len, SESSION, c->key);
    wire_frame_begin(&w, frame, sizeof(frame), WIRE_HELLO);
    wire_put_text(&w, WIRE_F_SESSION, SESSION);
    wire_put_text(&w, WIRE_F_TECHNIQUE, WIRE_DISCOVER);
    wire_put_bytes(&w, WIRE_F_NONCE, c->nonce, sizeof(c->nonce));
    return send_frame(c, &w);
}

static void on_challenge(struct control *c, const struct wire_reader *r)
{
    uint8_t frame[128], nonce[WIRE_NONCE_LEN], proof[WIRE_MAC_LEN], expected[WIRE_MAC_LEN];
    struct wire_writer w;
    if (wire_get_exact(r, WIRE_F_NONCE, nonce, sizeof(nonce)) < 0 ||
        wire_get_exact(r, WIRE_F_PROOF, proof, sizeof(proof)) < 0) {
        lost(c, "the server's challenge cannot be read");
        return;
    }
    wire_join_proof(c->key, WIRE_JOIN_SERVER, c->nonce, nonce, expected);
    if (!wire_proof_equal(proof, expected)) {
        lost(c, "the server has another key: check --key-file");
        return;
    }
    wire_join_proof(c->key, WIRE_JOIN_PEER, c->nonce, nonce, proof);
    wire_frame_begin(&w, frame, sizeof(frame), WIRE_PROVE);
    wire_put_bytes(&w, WIRE_F_PROOF, proof, sizeof(proof));
    if (send_frame(c, &w) < 0)
        lost(c, "the connection to the server broke");
}

static void on_joined(struct control *c, const struct wire_reader *r)
{
    struct discover *d = c->d;
    struct wire_reader all = *r;
    uint16_t field;
    const uint8_t *value;
    size_t len;
    while (wire_next(&all, &field, &value, &len))
        if (field == WIRE_F_STUN && d->n_stun < DISCOVER_STUN_MAX &&
            wire_value_ep(value, len, &d->stun[d->n_stun]) == 0)
            d->n_stun++;
    if (wire_get_ep(r, WIRE_F_SEEN, &d->seen) < 0) {
        lost(c, "the server does not say where it sees us");
        return;
    }
    for (size_t i = 0; i < d->n_stun && !base_ep_is_set(&d->other_port); i++)
        if (base_ep_same_addr(&d->stun[i], &d->config.server) && !base_ep_equal(&d->stun[i], &d->config.server))
            d->other_port = d->stun[i];
    d->result.rendezvous = true;
    settle(c);
}

static void on_probed(struct control *c, const struct wire_reader *r);

static void on_error(struct control *c, const struct wire_reader *r)
{
    char text[128] = "no reason", why[DISCOVER_NOTE];
    wire_get_text(r, WIRE_F_TEXT, text, sizeof(text));
    text[strcspn(text, "\n\t")] = '\0';
    snprintf(why, sizeof(why), "the server refused us: %s", text);
    lost(c, why);
}

static void on_frame(struct control *c, enum wire_frame_type type, const struct wire_reader *r)
{
    if (type == WIRE_CHALLENGE && !c->settled)
        on_challenge(c, r);
    else if (type == WIRE_JOINED && !c->settled)
        on_joined(c, r);
    else if (type == WIRE_PROBED && c->settled)
        on_probed(c, r);
    else if (type == WIRE_ERROR)
        on_error(c, r);
}

static void take_frames(struct control *c)
{
    size_t at = 0;
    while (c->fd >= 0) {
        struct wire_reader r;
        enum wire_frame_type type;
        int len = wire_frame_len(c->rx + at, c->rx_len - at);
        if (len == -EAGAIN || (len > 0 && (size_t)len > c->rx_len - at && len <= RX_MAX))
            break;
        if (len < 0 || len > RX_MAX || wire_frame_open(c->rx + at, (size_t)len, &type, &r) < 0) {
            lost(c, "the server is a plain STUN server");
            return;
        }
        on_frame(c, type, &r);
        at += (size_t)len;
    }
    memmove(c->rx, c->rx + at, c->rx_len - at);
    c->rx_len -= at;
}

static void control_step(struct loop_op *op, int res)
{
    struct control *c = op->owner;
    if (discover_over(c->d) || c->fd < 0)
        return;
    if (!c->connected) {
        c->connected = res == 0 && say_hello(c) == 0;
        res = c->connected ? 1 : -1;
    } else if (res > 0) {
        c->rx_len += (size_t)res;
        take_frames(c);
    }
    if (res <= 0)
        lost(c, !c->connected ? "the server takes no TCP connection"
                : c->settled  ? "the connection to the server broke"
                              : "the server is a plain STUN server");
    if (c->fd >= 0)
        loop_recv(c->d->loop, op, c->fd, c->rx + c->rx_len, sizeof(c->rx) - c->rx_len);
}

static void control_late(struct loop_op *op, int res)
{
    struct control *c = op->owner;
    if (!discover_over(c->d) && res == 0 && !c->settled)
        lost(c, "the server is a plain STUN server");
}

void control_start(struct test *t, struct slot *slot)
{
    struct discover *d = slot->d;
    int fd = slot_socket(slot);
    struct control *c = fd >= 0 ? calloc(1, sizeof(*c)) : NULL;
    if (!c) {
        if (fd >= 0)
            close(fd);
        return;
    }
    c->item = (struct item){.stop = control_stop, .pending = control_pending};
    c->d = d;
    c->test = t;
    c->slot = slot;
    c->fd = fd;
    d->control = c;
    item_add(d, &c->item);
    loop_op_init(&c->op, control_step, c);
    loop_op_init(&c->timer, control_late, c);
    test_wait(t);
    loop_connect(d->loop, &c->op, fd, &d->config.server);
    loop_timer(d->loop, &c->timer, base_now_ns() + JOIN_LIMIT_NS);
}

/* ---- probes ---------------------------------------------------------------------------------- */

static void probe_stop(struct item *item)
{
    (void)item;
}

static bool probe_pending(const struct item *item)
{
    (void)item;
    return false;
}

static void probe_end(struct probe *p, enum wire_probed result)
{
    if (p->done)
        return;
    p->done = true;
    p->result = result;
    p->answered_ns = base_now_ns();
    test_done(p->test);
}

static void on_probed(struct control *c, const struct wire_reader *r)
{
    uint64_t stamp, result;
    struct item *i = c->d->items;
    if (wire_get_u64(r, WIRE_F_STAMP, &stamp) < 0 || wire_get_u64(r, WIRE_F_PROBED, &result) < 0)
        return;
    while (i && (i->stop != probe_stop || ((struct probe *)i)->stamp != stamp))
        i = i->next;
    if (!i)
        return;
    struct probe *p = (struct probe *)i;
    wire_get_u64(r, WIRE_F_ICMP, &p->icmp);
    wire_get_u64(r, WIRE_F_LEASE, &p->lease);
    wire_get_u64(r, WIRE_F_COUNT, &p->count);
    if (wire_get_ep(r, WIRE_F_STUN, &p->ep) < 0)
        wire_get_ep(r, WIRE_F_SOURCE, &p->ep);
    probe_end(p, result <= WIRE_PROBED_REFUSED ? (enum wire_probed)result : WIRE_PROBED_CANNOT);
}

/* NULL when out of memory; without a connection to S it is over at once. */
static struct probe *probe_make(struct test *t, enum wire_probe what, struct wire_writer *w, uint8_t *frame, size_t cap)
{
    struct control *c = t->d->control;
    struct probe *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->item = (struct item){.stop = probe_stop, .pending = probe_pending};
    p->test = t;
    p->sent_ns = base_now_ns();
    item_add(t->d, &p->item);
    if (!c || c->fd < 0 || !t->d->result.rendezvous) {
        p->done = true;
        p->result = WIRE_PROBED_CANNOT;
        return p;
    }
    p->stamp = ++c->next_stamp;
    wire_frame_begin(w, frame, cap, WIRE_PROBE);
    wire_put_u64(w, WIRE_F_STAMP, p->stamp);
    wire_put_u64(w, WIRE_F_PROBE, what);
    return p;
}

static struct probe *probe_send(struct probe *p, struct wire_writer *w)
{
    if (!p || p->done)
        return p;
    test_wait(p->test);
    if (send_frame(p->test->d->control, w) < 0)
        lost(p->test->d->control, "the connection to the server broke");
    return p;
}

struct probe *probe_lease(struct test *t, bool silent)
{
    uint8_t frame[128];
    struct wire_writer w;
    return probe_send(probe_make(t, silent ? WIRE_PROBE_SILENT : WIRE_PROBE_CLOSED, &w, frame, sizeof(frame)), &w);
}

struct probe *probe_source(struct test *t, const struct probe *lease)
{
    uint8_t frame[128];
    struct wire_writer w;
    struct probe *p = probe_make(t, WIRE_PROBE_SOURCE, &w, frame, sizeof(frame));
    if (p && !p->done)
        wire_put_u64(&w, WIRE_F_LEASE, lease->lease);
    return probe_send(p, &w);
}

struct probe *probe_connect(struct test *t, enum wire_from from, const struct probe *lease, const union base_ep *to,
                            uint64_t wait_ns)
{
    uint8_t frame[256];
    struct wire_writer w;
    struct probe *p = probe_make(t, WIRE_PROBE_CONNECT, &w, frame, sizeof(frame));
    if (p && !p->done) {
        wire_put_u64(&w, WIRE_F_FROM, from);
        if (lease)
            wire_put_u64(&w, WIRE_F_LEASE, lease->lease);
        wire_put_ep(&w, WIRE_F_TARGET, to);
        wire_put_u64(&w, WIRE_F_WAIT_NS, wait_ns);
    }
    return probe_send(p, &w);
}
