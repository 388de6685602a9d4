/*
 * Sampling: STUN binding requests from the registered port to several endpoints of S, over the transport that the
 * punch will use. Over TCP the connections stay open until the trial ends: they keep the mapping alive.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/peer/internal.h"

/* RFC 8489, 6.2.1: retransmit with doubling; its RTO of 500 ms is for unknown paths, ours are measured. */
#define UDP_TRIES      6
#define TCP_TRIES      2
#define UDP_RTO_MIN_NS (100 * BASE_NS_PER_MS)
/* With no answer yet: long enough for one lost SYN (1 s) and its answer. */
#define TCP_LIMIT_NS (4 * BASE_NS_PER_S)
/* With so many samples in when an answer is late, the rest is not waited for. With fewer, each missing one is asked
 * again on its own: some NATs let only the last destination answer. */
#define ENOUGH 3
/* Of many that were asked at once, at most this share answers through a NAT that lets only the last destination answer:
 * no path that anybody would punch loses so many. */
#define LAST_ONLY_SHARE 4
/* How fast others take ports shows only over time: of many samples a third is taken this much later. */
#define MANY    8
#define SPAN_NS (100 * BASE_NS_PER_MS)
/* A port whose connections to S linger (EADDRNOTAVAIL) is left for another one. */
#define MAX_REPICKS 8

struct target {
    struct peer_sampler *sampler;
    union base_ep to;
    uint8_t txid[WIRE_STUN_TXID_LEN];
    uint8_t request[WIRE_STUN_HEADER_LEN + 8];
    int request_len;
    bool done;
    bool waiting; /* TCP: for its turn to be asked again */
    int err;
    union base_ep mapped;
    uint64_t t_ns; /* when it was asked: the NAT makes the mapping then */
    /* TCP */
    int fd;
    struct loop_op op;
    enum { CONNECTING, SENDING, RECEIVING } step;
    uint8_t rx[512];
    size_t rx_len;
};

struct peer_sampler {
    struct peer_trial *trial;
    struct loop_op timer;
    unsigned tries, repicks;
    uint64_t rto_ns;
    bool finished, closing, again;
    bool serial; /* one at a time */
    size_t n, asked;
    size_t in_at_once; /* answers that had come when the others were asked again one by one */
    struct target targets[];
};

static void start_targets(struct peer_sampler *s);
static void ask_next(struct peer_sampler *s);
static void ask_more(struct peer_sampler *s, size_t n);

static bool is_tcp(const struct peer_sampler *s)
{
    return peer_trial_is_tcp(s->trial);
}

static size_t count_open(const struct peer_sampler *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += !s->targets[i].done;
    return n;
}

static size_t count_in(const struct peer_sampler *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += base_ep_is_set(&s->targets[i].mapped);
    return n;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void close_target(struct target *target)
{
    struct linger reset = {.l_onoff = 1};
    if (target->fd < 0)
        return;
    setsockopt(target->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(target->fd);
    target->fd = -1;
}

static void close_targets(struct peer_sampler *s)
{
    for (size_t i = 0; i < s->n; i++)
        close_target(&s->targets[i]);
}

static void maybe_free(struct peer_sampler *s)
{
    if (!s->closing || s->timer.pending)
        return;
    for (size_t i = 0; i < s->n; i++)
        if (s->targets[i].op.pending)
            return;
    struct peer_trial *t = s->trial;
    close_targets(s);
    t->sampler = NULL;
    free(s);
    peer_trial_release(t);
}

static int collect(struct peer_sampler *s)
{
    struct peer_facts *f = &s->trial->ours;
    int err = -ETIMEDOUT;
    f->samples = calloc(s->n, sizeof(*f->samples));
    if (!f->samples)
        return -ENOMEM;
    for (size_t i = 0; i < s->n; i++) {
        struct target *target = &s->targets[i];
        if (!base_ep_is_set(&target->mapped)) {
            err = target->err ? target->err : err;
            continue;
        }
        union base_ep local = s->trial->peer->local;
        base_ep_set_port(&local, s->trial->port);
        f->samples[f->n_samples++] = (struct peer_sample){target->t_ns, local, target->to, target->mapped};
    }
    return f->n_samples ? 0 : err;
}

/* A SYN that the kernel repeats later would change whom such a NAT lets in. */
static void drop_unanswered(struct peer_sampler *s)
{
    for (size_t i = 0; i < s->n; i++) {
        struct target *target = &s->targets[i];
        if (base_ep_is_set(&target->mapped))
            continue;
        if (target->op.pending)
            loop_cancel(s->trial->peer->loop, &target->op); /* target_step() drops it */
        else
            close_target(target);
    }
}

static bool last_only(const struct peer_sampler *s)
{
    size_t at_once = s->serial ? s->in_at_once : count_in(s);
    return s->n >= MANY && count_in(s) > 0 && at_once <= s->n / LAST_ONLY_SHARE;
}

static void finish(struct peer_sampler *s)
{
    if (s->finished || s->closing)
        return;
    s->finished = true;
    loop_cancel(s->trial->peer->loop, &s->timer);
    s->trial->last_only = last_only(s);
    if (is_tcp(s))
        drop_unanswered(s);
    peer_trial_sampled(s->trial, collect(s));
}

/* ---- one answer ------------------------------------------------------------------------------ */

static int make_request(struct target *target)
{
    struct wire_stun_writer w;
    int err = base_random_bytes(target->txid, sizeof(target->txid));
    if (err < 0)
        return err;
    wire_stun_begin(&w, target->request, sizeof(target->request), WIRE_STUN_REQUEST, WIRE_STUN_BINDING, target->txid);
    target->request_len = wire_stun_end(&w, true);
    return target->request_len < 0 ? target->request_len : 0;
}

/* Checks a STUN answer against its request. */
static int read_answer(struct target *target, const uint8_t *buf, size_t len)
{
    struct wire_stun msg;
    if (wire_stun_decode(buf, len, &msg) < 0 || memcmp(msg.txid, target->txid, sizeof(msg.txid)) != 0)
        return -EBADMSG;
    const union base_ep *mapped = base_ep_is_set(&msg.xor_mapped) ? &msg.xor_mapped : &msg.mapped;
    if (msg.cls != WIRE_STUN_SUCCESS || !base_ep_is_set(mapped))
        return -EPROTO;
    target->mapped = *mapped;
    return 0;
}

static void target_done(struct target *target, int err)
{
    struct peer_sampler *s = target->sampler;
    target->done = true;
    target->err = err;
    if (err == -EADDRNOTAVAIL || err == -EADDRINUSE)
        s->again = true;
    if (s->serial && count_open(s) > 0 && count_in(s) < ENOUGH) {
        ask_next(s);
        return;
    }
    if (count_open(s) > 0 && !s->serial)
        return;
    if (s->again && !s->closing && s->repicks++ < MAX_REPICKS && peer_trial_repick(s->trial) == 0) {
        close_targets(s);
        start_targets(s);
        return;
    }
    finish(s);
}

/* ---- UDP ------------------------------------------------------------------------------------- */

void peer_sampler_stun(struct peer_trial *t, const union base_ep *from, const uint8_t *buf, size_t len)
{
    struct peer_sampler *s = t->sampler;
    for (size_t i = 0; s && !s->closing && i < s->n; i++) {
        struct target *target = &s->targets[i];
        if (!target->done && base_ep_equal(&target->to, from) && read_answer(target, buf, len) == 0) {
            target_done(target, 0);
            return;
        }
    }
}

static void stamp(struct target *target)
{
    target->t_ns = base_now_ns() - target->sampler->trial->begin_ns;
}

static void udp_ask(struct target *target)
{
    stamp(target);
    peer_datagrams_send_raw(target->sampler->trial, &target->to, target->request, (size_t)target->request_len);
}

/* RFC 8489, 6.2.1 */
static void udp_round(struct peer_sampler *s)
{
    if (s->serial)
        ask_next(s);
    for (size_t i = 0; i < s->n && !s->serial; i++)
        if (!s->targets[i].done)
            udp_ask(&s->targets[i]);
    s->rto_ns *= 2;
    loop_timer(s->trial->peer->loop, &s->timer, base_now_ns() + s->rto_ns);
}

/* ---- TCP ------------------------------------------------------------------------------------- */

/* RFC 8489, 6.2.2: over a stream the answer may come in pieces. */
static int tcp_received(struct target *target, int res)
{
    if (res <= 0)
        return res < 0 ? res : -ECONNRESET;
    target->rx_len += (size_t)res;
    int len = wire_stun_frame_len(target->rx, target->rx_len);
    if (len == -EAGAIN || (len > 0 && (size_t)len > target->rx_len))
        return target->rx_len < sizeof(target->rx) ? -EAGAIN : -EBADMSG;
    return len < 0 ? len : read_answer(target, target->rx, (size_t)len);
}

static void target_step(struct loop_op *op, int res)
{
    struct target *target = op->owner;
    struct peer_sampler *s = target->sampler;
    struct loop *loop = s->trial->peer->loop;
    int err = res < 0 ? res : 0;
    if (s->closing || s->finished || target->done) {
        if (s->finished && !base_ep_is_set(&target->mapped))
            close_target(target);
        maybe_free(s);
        return;
    }
    if (target->waiting && err < 0) {
        close_target(target);
        ask_next(s);
        return;
    }
    target->waiting = false;
    if (err == 0 && target->step == CONNECTING) {
        target->step = SENDING;
        loop_send(loop, op, target->fd, target->request, (size_t)target->request_len);
        return;
    }
    if (err == 0 && target->step == RECEIVING)
        err = tcp_received(target, res);
    if ((err == 0 && target->step == SENDING) || err == -EAGAIN) {
        target->step = RECEIVING;
        loop_recv(loop, op, target->fd, target->rx + target->rx_len, sizeof(target->rx) - target->rx_len);
        return;
    }
    target_done(target, err);
    maybe_free(s);
}

static void tcp_connect(struct target *target)
{
    int fd = peer_tcp_socket(target->sampler->trial);
    stamp(target);
    target->fd = fd;
    target->step = CONNECTING;
    target->rx_len = 0;
    if (fd >= 0)
        loop_connect(target->sampler->trial->peer->loop, &target->op, fd, &target->to);
}

/* ---- late answers ------------------------------------------------------------------------------ */

/* TCP: what is under way is given up; each target gets a turn of its own once nothing of it is pending. */
static void begin_serial(struct peer_sampler *s)
{
    s->serial = true;
    s->in_at_once = count_in(s);
    for (size_t i = 0; i < s->n && is_tcp(s); i++)
        if (!s->targets[i].done) {
            s->targets[i].waiting = true;
            loop_cancel(s->trial->peer->loop, &s->targets[i].op);
        }
}

static void tcp_ask_again(struct target *target)
{
    if (target->fd >= 0)
        close(target->fd);
    target->waiting = false;
    tcp_connect(target);
    if (target->fd < 0)
        target_done(target, target->fd);
}

/* The first one that has no answer, unless one is being asked already. */
static void ask_next(struct peer_sampler *s)
{
    struct target *next = NULL;
    for (size_t i = 0; i < s->n; i++) {
        struct target *target = &s->targets[i];
        if (target->op.pending)
            return;
        if (!target->done && !next)
            next = target;
    }
    if (next && is_tcp(s))
        tcp_ask_again(next);
    else if (next)
        udp_ask(next);
}

/* The timer fired. */
static void late(struct peer_sampler *s)
{
    if (s->asked < s->n) {
        ask_more(s, s->n);
        return;
    }
    size_t in = count_in(s);
    if (count_open(s) == 0) {
        finish(s);
        return;
    }
    bool last = s->tries++ >= (is_tcp(s) ? TCP_TRIES : UDP_TRIES);
    if (last || in >= ENOUGH) {
        finish(s);
        return;
    }
    if (in && !s->serial)
        begin_serial(s);
    if (is_tcp(s))
        loop_timer(s->trial->peer->loop, &s->timer, base_now_ns() + TCP_LIMIT_NS);
    else
        udp_round(s);
}

static void timer_done(struct loop_op *op, int res)
{
    struct peer_sampler *s = op->owner;
    (void)op;
    if (res == 0 && !s->finished && !s->closing)
        late(s);
    maybe_free(s);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Asks so many more, and arms the timer for what comes next. */
static void ask_more(struct peer_sampler *s, size_t n)
{
    bool tcp = is_tcp(s);
    for (; n > 0 && s->asked < s->n; n--) {
        struct target *target = &s->targets[s->asked++];
        if (target->err == 0 && tcp)
            tcp_connect(target);
        else if (target->err == 0)
            udp_ask(target);
        /* A socket that cannot be had counts as an answer that never came; the others go on. */
        if (target->err < 0 || (tcp && target->fd < 0)) {
            target->err = target->err < 0 ? target->err : target->fd;
            target->done = true;
            target->fd = -1;
        }
    }
    uint64_t wait = s->asked < s->n ? SPAN_NS : tcp ? 2 * s->rto_ns : s->rto_ns;
    if (!s->timer.pending)
        loop_timer(s->trial->peer->loop, &s->timer, base_now_ns() + (count_open(s) ? wait : 0));
}

static void start_targets(struct peer_sampler *s)
{
    s->again = s->serial = false;
    s->asked = 0;
    s->tries = 1;
    for (size_t i = 0; i < s->n; i++) {
        struct target *target = &s->targets[i];
        target->done = target->waiting = false;
        target->mapped = (union base_ep){0};
        target->fd = -1;
        target->err = make_request(target);
    }
    ask_more(s, s->n > MANY ? s->n - s->n / 3 : s->n);
}

int peer_sampler_start(struct peer_trial *t)
{
    struct peer *peer = t->peer;
    size_t want = (size_t)peer_option_u64(&peer->config.options, "samples");
    size_t n = peer->n_stun < want ? peer->n_stun : want;
    struct peer_sampler *s = calloc(1, sizeof(*s) + n * sizeof(s->targets[0]));
    if (!s)
        return -ENOMEM;
    s->trial = t;
    s->n = n;
    s->rto_ns = 2 * peer->rtt_ns > UDP_RTO_MIN_NS ? 2 * peer->rtt_ns : UDP_RTO_MIN_NS;
    loop_op_init(&s->timer, timer_done, s);
    for (size_t i = 0; i < s->n; i++) {
        s->targets[i] = (struct target){.sampler = s, .to = peer->stun[i], .fd = -1};
        loop_op_init(&s->targets[i].op, target_step, &s->targets[i]);
    }
    t->sampler = s;
    peer_trial_hold(t);
    start_targets(s);
    return 0;
}

void peer_sampler_hang_up(struct peer_trial *t)
{
    struct peer_sampler *s = t->sampler;
    for (size_t i = 0; s && s->finished && i < s->n; i++)
        if (!s->targets[i].op.pending)
            close_target(&s->targets[i]);
}

void peer_sampler_close(struct peer_trial *t)
{
    struct peer_sampler *s = t->sampler;
    if (!s || s->closing)
        return;
    s->closing = true;
    loop_cancel(t->peer->loop, &s->timer);
    for (size_t i = 0; i < s->n; i++)
        loop_cancel(t->peer->loop, &s->targets[i].op);
    maybe_free(s);
}
