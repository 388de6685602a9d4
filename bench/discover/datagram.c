/* UDP: local ports, and questions asked from them. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/discover/internal.h"

/* RFC 8489, 6.2.1, but for a path whose round trip is measured: four losses in a row are rare. */
#define TRIES      4
#define RTO_FIRST  (400 * BASE_NS_PER_MS)
#define RTO_MIN_NS (120 * BASE_NS_PER_MS)
#define MAX_DRAWS  256
#define READ_BURST 32

/* ---- questions ------------------------------------------------------------------------------- */

static void ask_stop(struct item *item)
{
    struct ask *ask = (struct ask *)item;
    loop_cancel(ask->d->loop, &ask->timer);
}

static bool ask_pending(const struct item *item)
{
    return loop_op_pending(&((const struct ask *)item)->timer);
}

static void ask_end(struct ask *ask, enum discover_verdict verdict)
{
    if (ask->done)
        return;
    ask->done = true;
    ask->verdict = verdict;
    ask->d->result.bad[verdict]++;
    loop_cancel(ask->d->loop, &ask->timer);
    test_done(ask->test);
}

/* May an answer to this question come from there? Where S was asked to change, from one that it says it has. */
static bool right_origin(const struct ask *ask, const union base_ep *from)
{
    const struct discover *d = ask->d;
    if (ask->options.change == 0)
        return base_ep_equal(from, &ask->to);
    bool addr = ask->options.change & WIRE_STUN_CHANGE_IP;
    if (addr)
        return base_ep_equal(from, &d->other_both);
    return base_ep_same_addr(from, &ask->to) && base_ep_port(from) != base_ep_port(&ask->to);
}

static void ask_read(struct ask *ask, const uint8_t *buf, size_t len, const union base_ep *from)
{
    struct discover *d = ask->d;
    struct discover_answer answer;
    if (ask->done) {
        /* A repeated question's second answer says the same, unless somebody lies. */
        if (ask->verdict == DISCOVER_ANSWER &&
            discover_read_answer(buf, len, ask->request.txid, d->local.sa.sa_family, &answer) == DISCOVER_ANSWER &&
            !base_ep_equal(&answer.mapped, &ask->answer.mapped))
            d->result.bad[DISCOVER_CHANGING]++;
        return;
    }
    enum discover_verdict verdict =
        discover_read_answer(buf, len, ask->request.txid, d->local.sa.sa_family, &ask->answer);
    ask->from = *from;
    ask->answered_ns = base_now_ns();
    if (verdict == DISCOVER_ANSWER && !right_origin(ask, from)) {
        /* A server that ignores CHANGE-REQUEST answers from where it was asked: that is an answer, too. */
        if (ask->options.change == 0 || !base_ep_equal(from, &ask->to)) {
            d->result.bad[DISCOVER_OTHER_ORIGIN]++;
            return;
        }
        verdict = DISCOVER_OTHER_ORIGIN;
    }
    if (verdict == DISCOVER_ANSWER && !ask->options.delay_ms && ask->port == ask->asker)
        sample_add(d, &ask->port->local, &ask->to, &ask->answer.mapped, ask->answered_ns);
    ask_end(ask, verdict);
}

static void ask_send(struct ask *ask)
{
    struct discover *d = ask->d;
    if (ask->sent_ns == 0)
        ask->sent_ns = base_now_ns();
    /* What cannot be sent now is lost like any datagram. */
    (void)!sendto(ask->asker->fd, ask->request.bytes, ask->request.len, MSG_DONTWAIT | MSG_NOSIGNAL, &ask->to.sa,
                  base_ep_len(&ask->to));
    ask->tries--;
    loop_timer(d->loop, &ask->timer, base_now_ns() + ask->rto_ns);
}

static void ask_timer(struct loop_op *op, int res)
{
    struct ask *ask = op->owner;
    if (discover_over(ask->d) || ask->done || res != 0)
        return;
    if (ask->tries > 0)
        ask_send(ask);
    else
        ask_end(ask, DISCOVER_SILENCE);
}

struct ask *ask_start(struct test *t, struct port *port, const union base_ep *to, const struct request_options *options,
                      unsigned tries, uint64_t last_ns)
{
    static const struct request_options plain;
    struct ask *ask = port && base_ep_is_set(to) ? calloc(1, sizeof(*ask)) : NULL;
    if (!ask)
        return NULL;
    struct discover *d = port->d;
    *ask = (struct ask){
        .item = {.stop = ask_stop, .pending = ask_pending}, .d = d, .test = t, .port = port, .asker = port, .to = *to};
    ask->options = options ? *options : plain;
    ask->tries = tries ? tries : TRIES;
    ask->rto_ns = d->result.rtt_ns ? 2 * d->result.rtt_ns : RTO_FIRST;
    if (ask->rto_ns < RTO_MIN_NS)
        ask->rto_ns = RTO_MIN_NS;
    if (last_ns)
        ask->rto_ns = last_ns;
    loop_op_init(&ask->timer, ask_timer, ask);
    if (request_make(&ask->request, &ask->options) < 0) {
        free(ask);
        return NULL;
    }
    item_add(d, &ask->item);
    ask->next = port->asks;
    port->asks = ask;
    test_wait(t);
    ask_send(ask);
    return ask;
}

/* ---- ports ----------------------------------------------------------------------------------- */

static void port_stop(struct item *item)
{
    struct port *port = (struct port *)item;
    loop_cancel(port->d->loop, &port->op);
    if (port->fd >= 0)
        close(port->fd);
    port->fd = -1;
}

static bool port_pending(const struct item *item)
{
    return loop_op_pending(&((const struct port *)item)->op);
}

static void port_read(struct port *port, const uint8_t *buf, size_t len, const union base_ep *from)
{
    struct discover *d = port->d;
    struct wire_stun msg;
    if (wire_stun_decode(buf, len, &msg) < 0) {
        d->result.bad[DISCOVER_NOT_STUN]++;
        return;
    }
    if (msg.cls == WIRE_STUN_INDICATION && memcmp(msg.txid, d->hairpin_txid, sizeof(msg.txid)) == 0) {
        port->hairpin_from = *from;
        return;
    }
    for (struct ask *ask = port->asks; ask; ask = ask->next) {
        if (memcmp(ask->request.txid, msg.txid, sizeof(msg.txid)) == 0) {
            ask_read(ask, buf, len, from);
            return;
        }
    }
    d->result.bad[DISCOVER_OTHER_TXID]++;
}

static void port_ready(struct loop_op *op, int res)
{
    struct port *port = op->owner;
    struct discover *d = port->d;
    uint8_t buf[WIRE_STUN_MAX_LEN];
    (void)res;
    for (unsigned i = 0; i < READ_BURST && !d->over && port->fd >= 0; i++) {
        union base_ep from = {0};
        socklen_t from_len = sizeof(from);
        ssize_t n = recvfrom(port->fd, buf, sizeof(buf), MSG_DONTWAIT, &from.sa, &from_len);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n > 0)
            port_read(port, buf, (size_t)n, &from);
    }
    if (!discover_over(d) && port->fd >= 0)
        loop_poll(d->loop, op, port->fd, POLLIN);
}

void port_close(struct port *port)
{
    if (port->fd >= 0)
        port_stop(&port->item);
}

struct port *port_open(struct discover *d)
{
    struct port *port = calloc(1, sizeof(*port));
    int fd = socket(d->local.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err = -1;
    for (int i = 0; i < MAX_DRAWS && port && fd >= 0 && err < 0; i++) {
        port->local = d->local;
        base_ep_set_port(&port->local, (uint16_t)(d->config.port_lo +
                                                  base_rng_below(&d->rng, 1U + d->config.port_hi - d->config.port_lo)));
        err = bind(fd, &port->local.sa, base_ep_len(&port->local));
    }
    if (err < 0) {
        if (fd >= 0)
            close(fd);
        free(port);
        return NULL;
    }
    port->item = (struct item){.stop = port_stop, .pending = port_pending};
    port->d = d;
    port->fd = fd;
    loop_op_init(&port->op, port_ready, port);
    item_add(d, &port->item);
    loop_poll(d->loop, &port->op, fd, POLLIN);
    return port;
}

void port_hairpin(struct port *port, const union base_ep *to)
{
    uint8_t bytes[64];
    struct wire_stun_writer w;
    wire_stun_begin(&w, bytes, sizeof(bytes), WIRE_STUN_INDICATION, WIRE_STUN_BINDING, port->d->hairpin_txid);
    int len = wire_stun_end(&w, true);
    if (len > 0)
        (void)!sendto(port->fd, bytes, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL, &to->sa, base_ep_len(to));
}
