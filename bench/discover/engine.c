/* Tests and their stages, the life of a discovery, samples and notes. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/discover/internal.h"

/* ---- operations ------------------------------------------------------------------------------ */

void item_add(struct discover *d, struct item *item)
{
    item->next = d->items;
    d->items = item;
}

/* Tells the owner once nothing of the loop points here any more. */
static void maybe_tell(struct discover *d)
{
    if (!d->over || d->told || loop_op_pending(&d->end_op))
        return;
    for (struct item *i = d->items; i; i = i->next)
        if (i->pending(i))
            return;
    d->told = true;
    d->result.took_ns = base_now_ns() - d->start_ns;
    d->done(d, d->owner);
}

bool discover_over(struct discover *d)
{
    if (!d->over)
        return false;
    maybe_tell(d);
    return true;
}

static void ended(struct loop_op *op, int res)
{
    (void)res;
    maybe_tell(op->owner);
}

static void finish(struct discover *d)
{
    if (d->over)
        return;
    judge_unknown(d);
    d->over = true;
    /* `done` comes from the loop, never from within a call. */
    loop_op_init(&d->end_op, ended, d);
    loop_timer(d->loop, &d->end_op, base_now_ns());
    for (struct item *i = d->items; i; i = i->next)
        i->stop(i);
}

/* ---- waiting --------------------------------------------------------------------------------- */

struct wait {
    struct item item;
    struct test *test;
    struct loop_op op;
};

static void wait_stop(struct item *item)
{
    struct wait *w = (struct wait *)item;
    loop_cancel(w->test->d->loop, &w->op);
}

static bool wait_pending(const struct item *item)
{
    return loop_op_pending(&((const struct wait *)item)->op);
}

static void wait_over(struct loop_op *op, int res)
{
    struct wait *w = op->owner;
    (void)res;
    if (!discover_over(w->test->d))
        test_done(w->test);
}

void wait_start(struct test *t, uint64_t ns)
{
    struct wait *w = calloc(1, sizeof(*w));
    if (!w)
        return; /* no wait is a short one */
    w->item = (struct item){.stop = wait_stop, .pending = wait_pending};
    w->test = t;
    item_add(t->d, &w->item);
    loop_op_init(&w->op, wait_over, w);
    test_wait(t);
    loop_timer(t->d->loop, &w->op, base_now_ns() + ns);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void next_phase(struct discover *d);

static void test_run(struct test *t)
{
    struct discover *d = t->d;
    if (t->running)
        return;
    t->running = true;
    while (!t->over && !d->over && t->waiting == 0) {
        stage_fn *stage = *t->stages;
        if (!stage) {
            t->over = true;
            break;
        }
        t->stages++;
        stage(t);
    }
    t->running = false;
    if (t->over && --d->running == 0)
        next_phase(d);
}

void test_begin(struct discover *d, stage_fn *const *stages)
{
    struct test *t = calloc(1, sizeof(*t));
    if (!t) {
        discover_fail(d, -ENOMEM, "no memory");
        return;
    }
    t->d = d;
    t->stages = stages;
    t->next = d->tests;
    d->tests = t;
    d->running++;
    /* It runs from the loop, so that tests that begin together are all known before the first one ends. */
    wait_start(t, 0);
}

void test_wait(struct test *t)
{
    if (t)
        t->waiting++;
}

void test_done(struct test *t)
{
    if (!t || t->over)
        return;
    t->waiting--;
    test_run(t);
}

void test_end(struct test *t)
{
    static stage_fn *const none[] = {NULL};
    t->stages = none;
}

void test_again(struct test *t)
{
    t->stages--;
    t->round++;
}

void test_repeat(struct test *t, stage_fn *const *stages, unsigned most)
{
    if (++t->round < most)
        t->stages = stages;
}

/* Tests of one phase run side by side; what would disturb another one's counting comes in a phase of its own. */
static void next_phase(struct discover *d)
{
    bool tcp = is_tcp(d);
    while (!d->over && d->running == 0) {
        switch (d->phase++) {
        case PHASE_CONTACT:
            test_begin(d, tcp ? tcp_mapping : udp_mapping);
            break;
        case PHASE_MAPPING:
            test_begin(d, tcp ? tcp_allocation : udp_allocation);
            break;
        case PHASE_ALLOCATION:
            test_begin(d, tcp ? tcp_filter : udp_filter);
            test_begin(d, tcp ? tcp_last : udp_last);
            test_begin(d, tcp ? tcp_hairpin : udp_hairpin);
            if (tcp) {
                test_begin(d, hole_window);
                test_begin(d, hole_reset);
            }
            break;
        case PHASE_REST:
            judge_filtering(d);
            judge_holes(d);
            if (!tcp && d->config.lifetime_max_s)
                test_begin(d, udp_lifetime);
            break;
        case PHASE_SLOW:
            d->in_series = true;
            if (d->config.series)
                test_begin(d, tcp ? tcp_series : udp_series);
            break;
        default:
            finish(d);
        }
    }
}

/* ---- samples and notes ----------------------------------------------------------------------- */

void sample_add(struct discover *d, const union base_ep *local, const union base_ep *remote,
                const union base_ep *mapped, uint64_t now_ns)
{
    struct discover_result *r = &d->result;
    struct discover_sample sample = {now_ns - d->start_ns, *local, *remote, *mapped};
    if (d->config.on_sample)
        d->config.on_sample(&sample, d->owner);
    if (d->in_series)
        return;
    if (r->n_samples == d->cap_samples) {
        size_t cap = d->cap_samples ? 2 * d->cap_samples : 64;
        struct discover_sample *grown = realloc(r->samples, cap * sizeof(*grown));
        if (!grown)
            return;
        r->samples = grown;
        d->cap_samples = cap;
    }
    if (r->n_samples == 0) {
        r->local = *local;
        r->mapped = *mapped;
    }
    r->samples[r->n_samples++] = sample;
}

void believe(struct discover *d, enum predict_property property, int value, double confidence)
{
    *predict_belief(&d->result.behaviour, property) = (struct predict_belief){value, confidence};
}

void note(struct discover *d, enum predict_property property, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(d->result.notes[property], DISCOVER_NOTE, fmt, args);
    va_end(args);
}

void discover_fail(struct discover *d, int err, const char *fmt, ...)
{
    va_list args;
    if (d->over)
        return;
    d->result.err = err;
    va_start(args, fmt);
    vsnprintf(d->result.problem, DISCOVER_NOTE, fmt, args);
    va_end(args);
    finish(d);
}

int request_make(struct request *r, const struct request_options *o)
{
    struct wire_stun_writer w;
    uint8_t delay[WIRE_STUN_DELAY_LEN] = {(uint8_t)(o->delay_ms >> 8), (uint8_t)o->delay_ms};
    uint8_t port[4] = {(uint8_t)(o->response_port >> 8), (uint8_t)o->response_port};
    int err = base_random_bytes(r->txid, sizeof(r->txid));
    if (err < 0)
        return err;
    wire_stun_begin(&w, r->bytes, sizeof(r->bytes), WIRE_STUN_REQUEST, WIRE_STUN_BINDING, r->txid);
    if (o->change)
        wire_stun_put_u32(&w, WIRE_STUN_CHANGE_REQUEST, o->change);
    if (o->delay_ms)
        wire_stun_put(&w, WIRE_STUN_DELAY, delay, sizeof(delay));
    if (o->response_port)
        wire_stun_put(&w, WIRE_STUN_RESPONSE_PORT, port, sizeof(port));
    int len = wire_stun_end(&w, true);
    r->len = len > 0 ? (size_t)len : 0;
    return len < 0 ? len : 0;
}

uint64_t patience_ns(const struct discover *d)
{
    return 3 * d->result.rtt_ns + 250 * BASE_NS_PER_MS;
}

void learn_server(struct discover *d, const union base_ep *other)
{
    const union base_ep *server = &d->config.server;
    if (!base_ep_is_set(other) || base_ep_same_addr(other, server) || base_ep_port(other) == base_ep_port(server))
        return;
    d->result.two_addresses = true;
    d->other_both = d->other_addr = *other;
    d->other_port = *server;
    base_ep_set_port(&d->other_addr, base_ep_port(server));
    base_ep_set_port(&d->other_port, base_ep_port(other));
}

struct predict_sample discover_to_predict(const struct discover_sample *s)
{
    struct predict_sample out = {.t = (double)s->t_ns / 1e9};
    const union base_ep *from[] = {&s->local, &s->remote, &s->mapped};
    struct predict_ep *to[] = {&out.local, &out.remote, &out.mapped};
    for (size_t i = 0; i < 3; i++) {
        size_t len;
        const uint8_t *bytes = base_ep_bytes(from[i], &len);
        memcpy(to[i]->addr, bytes, len);
        to[i]->len = (uint8_t)len;
        to[i]->port = base_ep_port(from[i]);
    }
    return out;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* The address that the route to S goes out from. */
static int find_local(struct discover *d)
{
    socklen_t len = sizeof(d->local);
    const union base_ep *server = &d->config.server;
    int fd = socket(server->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;
    if (fd < 0)
        return -errno;
    if (connect(fd, &server->sa, base_ep_len(server)) < 0 || getsockname(fd, &d->local.sa, &len) < 0)
        err = -errno;
    close(fd);
    base_ep_set_port(&d->local, 0);
    return err;
}

int discover_start(struct loop *loop, const struct discover_config *config, discover_done_fn *done, void *owner,
                   struct discover **out)
{
    struct discover *d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    d->config = *config;
    d->config.key_len = config->key_len < sizeof(d->key) ? config->key_len : sizeof(d->key);
    if (config->key)
        memcpy(d->key, config->key, d->config.key_len);
    if (d->config.port_lo == 0) {
        d->config.port_lo = DISCOVER_PORT_LO;
        d->config.port_hi = DISCOVER_PORT_HI;
    }
    if (d->config.samples == 0)
        d->config.samples = DISCOVER_SAMPLES;
    d->loop = loop;
    d->done = done;
    d->owner = owner;
    d->start_ns = base_now_ns();
    base_rng_derive(&d->rng, config->seed, "discover", (uint64_t)config->transport);
    int err = find_local(d);
    if (err == 0)
        err = base_random_bytes(d->hairpin_txid, sizeof(d->hairpin_txid));
    if (err < 0) {
        free(d);
        return err;
    }
    *out = d;
    test_begin(d, is_tcp(d) ? tcp_contact : udp_contact);
    return 0;
}

void discover_stop(struct discover *d)
{
    /* What there is to know is known by then. */
    if (d->in_series)
        finish(d);
    else
        discover_fail(d, -ECANCELED, "stopped before the end");
}

const struct discover_result *discover_result(const struct discover *d)
{
    return &d->result;
}

void discover_free(struct discover *d)
{
    if (!d)
        return;
    for (struct item *i = d->items, *next; i; i = next) {
        next = i->next;
        free(i);
    }
    for (struct test *t = d->tests, *next; t; t = next) {
        next = t->next;
        free(t);
    }
    free(d->result.samples);
    free(d);
}
