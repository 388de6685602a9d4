/* The tests over UDP: RFC 5780 sections 4.3 to 4.6, and last-destination-only filtering. */
#include <errno.h>
#include <string.h>

#include "bench/discover/internal.h"

static bool good(const struct ask *ask)
{
    return ask && ask->done && ask->verdict == DISCOVER_ANSWER;
}

static union base_ep mapped_of(const struct ask *ask)
{
    return good(ask) ? ask->answer.mapped : (union base_ep){0};
}

/* ---- first contact: the server's alternate address, the round trip; and whether it says twice the same --------- */

#define JOIN_STEP_NS (20 * BASE_NS_PER_MS)
#define JOIN_WAIT_NS (200 * BASE_NS_PER_MS)

static void contact_first(struct test *t)
{
    struct discover *d = t->d;
    d->first_port = port_open(d);
    d->control_slot = slot_open(d);
    if (!d->first_port) {
        discover_fail(d, -EADDRINUSE, "no local port is free");
        return;
    }
    t->ops[0] = ask_start(t, d->first_port, &d->config.server, NULL, 0, 0);
    if (d->control_slot)
        control_start(NULL, d->control_slot);
}

static void contact_second(struct test *t)
{
    struct discover *d = t->d;
    const struct ask *first = t->ops[0];
    if (!good(first)) {
        enum discover_verdict v = first ? first->verdict : DISCOVER_SILENCE;
        /* Something came, but nothing that answers us. */
        for (int bad = DISCOVER_NOT_STUN; v == DISCOVER_SILENCE && bad < DISCOVER_N_VERDICTS; bad++)
            if (d->result.bad[bad])
                v = (enum discover_verdict)bad;
        char ep[BASE_EP_STRLEN];
        discover_fail(d, v == DISCOVER_SILENCE ? -ETIMEDOUT : -EPROTO, "%s from %s over UDP%s",
                      discover_verdict_text(v), base_ep_format(&d->config.server, ep),
                      v == DISCOVER_SILENCE ? ": is it a STUN server, and does the way there let UDP through?" : "");
        return;
    }
    d->result.rtt_ns = first->answered_ns - first->sent_ns;
    learn_server(d, &first->answer.other);
    t->ops[1] = ask_start(t, d->first_port, &d->config.server, NULL, 0, 0);
}

/* The control connection was begun at the same time, and takes three round trips; without it we know less. */
static void contact_join(struct test *t)
{
    if (control_settled(t->d) || t->round * JOIN_STEP_NS > 4 * t->d->result.rtt_ns + JOIN_WAIT_NS)
        return;
    wait_start(t, JOIN_STEP_NS);
    test_again(t);
}

static void contact_judge(struct test *t)
{
    const struct ask *first = t->ops[0], *second = t->ops[1];
    if (!good(second) || base_ep_equal(&first->answer.mapped, &second->answer.mapped))
        return;
    char a[BASE_EP_STRLEN], b[BASE_EP_STRLEN];
    t->d->result.bad[DISCOVER_CHANGING]++;
    discover_fail(t->d, -EPROTO,
                  "asked twice from one port, the server saw %s and then %s: it lies, or the NAT forgets at once",
                  base_ep_format(&first->answer.mapped, a), base_ep_format(&second->answer.mapped, b));
}

stage_fn *const udp_contact[] = {contact_first, contact_second, contact_join, contact_judge, NULL};

/* ---- mapping: RFC 5780, 4.3 -------------------------------------------------------------------- */

/* One after the other: a NAT that lets only the last destination answer would swallow the rest. */
static void mapping_next(struct test *t)
{
    struct discover *d = t->d;
    const union base_ep *to[] = {&d->config.server, &d->other_port, &d->other_addr, &d->other_both};
    if (t->round < 4) {
        t->ops[t->round] = ask_start(t, d->first_port, to[t->round], NULL, 0, 0);
        test_again(t);
    }
}

static void mapping_judge(struct test *t)
{
    union base_ep mapped[4];
    for (size_t i = 0; i < 4; i++)
        mapped[i] = mapped_of(t->ops[i]);
    judge_mapping(t->d, mapped);
}

stage_fn *const udp_mapping[] = {mapping_next, mapping_judge, NULL};

/* ---- allocation: many local ports, twice ----------------------------------------------------- */

#define PAUSE_NS (250 * BASE_NS_PER_MS)

/* How many of `all` samples are taken in the first burst; the rest shows what others took meanwhile. */
static unsigned first_burst(unsigned all)
{
    return all - all / 3;
}

static void ask_from_fresh(struct test *t, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        ask_start(t, port_open(t->d), &t->d->config.server, NULL, 0, 0);
}

static void allocation_first(struct test *t)
{
    ask_from_fresh(t, first_burst(t->d->config.samples));
}

static void allocation_pause(struct test *t)
{
    wait_start(t, PAUSE_NS);
}

static void allocation_second(struct test *t)
{
    ask_from_fresh(t, t->d->config.samples - first_burst(t->d->config.samples));
}

static void allocation_judge(struct test *t)
{
    judge_allocation(t->d);
    if (allocation_narrow(t->d))
        ask_from_fresh(t, t->d->config.samples);
}

static void allocation_refine(struct test *t)
{
    judge_narrow(t->d);
}

stage_fn *const udp_allocation[] = {allocation_first, allocation_pause,  allocation_second,
                                    allocation_judge, allocation_refine, NULL};

/* ---- filtering: RFC 5780, 4.4 ------------------------------------------------------------------ */

/* Fewer than usual: each that a NAT filters may count against us there. */
#define FILTER_TRIES 3

/* Each from a port of its own, so that nothing that went before has opened the filter. */
static void filter_ask(struct test *t)
{
    struct discover *d = t->d;
    struct request_options both = {.change = WIRE_STUN_CHANGE_IP | WIRE_STUN_CHANGE_PORT},
                           port = {.change = WIRE_STUN_CHANGE_PORT};
    if (d->result.two_addresses)
        t->ops[0] = ask_start(t, port_open(d), &d->config.server, &both, FILTER_TRIES, 0);
    t->ops[1] = ask_start(t, port_open(d), &d->config.server, &port, FILTER_TRIES, 0);
}

static void filter_judge(struct test *t)
{
    struct discover *d = t->d;
    const struct ask *both = t->ops[0], *port = t->ops[1];
    d->filter.other_addr = good(both);
    d->filter.other_port = good(port);
    bool answered_elsewise = (both && both->verdict != DISCOVER_SILENCE && !good(both)) ||
                             (port && port->verdict != DISCOVER_SILENCE && !good(port));
    d->filter.asked = port && !answered_elsewise;
    if (answered_elsewise)
        note(d, PREDICT_FILTERING, "the server does not answer from elsewhere (CHANGE-REQUEST)");
}

stage_fn *const udp_filter[] = {filter_ask, filter_judge, NULL};

/* ---- last-destination-only: may an endpoint still answer after another one was sent to? ------- */

#define DELAY_MS 400

static const union base_ep *second_endpoint(const struct discover *d)
{
    return base_ep_is_set(&d->other_both) ? &d->other_both : d->n_stun > 1 ? &d->stun[1] : NULL;
}

static uint16_t delay_ms(const struct discover *d)
{
    return (uint16_t)(DELAY_MS + 3 * d->result.rtt_ns / BASE_NS_PER_MS);
}

/* Two ports, as one lost answer must not look like a filter; and a third one that sends to nobody else, as silence
 * tells something only where a late answer is heard at all. */
enum { LAST_ASKED = 2, LAST_CONTROL = LAST_ASKED, LAST_LATE, LAST_OTHER = LAST_LATE };

static void last_ask(struct test *t)
{
    struct discover *d = t->d;
    struct request_options later = {.delay_ms = delay_ms(d)};
    if (!second_endpoint(d) || d->mapping_moves || delay_ms(d) > WIRE_STUN_DELAY_MAX_MS) {
        test_end(t);
        return;
    }
    for (unsigned i = 0; i < LAST_LATE; i++)
        t->ops[i] =
            ask_start(NULL, port_open(d), &d->config.server, &later, 1, delay_ms(d) * BASE_NS_PER_MS + patience_ns(d));
    wait_start(t, d->result.rtt_ns + 50 * BASE_NS_PER_MS);
}

static void last_ask_other(struct test *t)
{
    for (unsigned i = 0; i < LAST_ASKED; i++) {
        const struct ask *later = t->ops[i];
        t->ops[LAST_OTHER + i] = later ? ask_start(t, later->port, second_endpoint(t->d), NULL, 0, 0) : NULL;
    }
}

static void last_wait(struct test *t)
{
    wait_start(t, delay_ms(t->d) * BASE_NS_PER_MS + patience_ns(t->d));
}

static void last_judge(struct test *t)
{
    struct discover *d = t->d;
    unsigned asked = 0, came = 0;
    for (unsigned i = 0; i < LAST_ASKED; i++) {
        const struct ask *later = t->ops[i], *other = t->ops[LAST_OTHER + i];
        if (!later || !good(other))
            continue;
        /* An answer at once means that the server knows nothing of delays. */
        bool early = good(later) && later->answered_ns - later->sent_ns < delay_ms(d) * BASE_NS_PER_MS;
        if (early || (later->done && later->verdict == DISCOVER_ERROR))
            return;
        asked++;
        came += good(later);
    }
    d->filter.last_known = asked > 0 && (came > 0 || good(t->ops[LAST_CONTROL]));
    d->filter.last = came == 0;
    if (!d->filter.last_known)
        test_repeat(t, udp_last, LAST_ROUNDS);
}

stage_fn *const udp_last[] = {last_ask, last_ask_other, last_wait, last_judge, NULL};

/* ---- hairpin: RFC 4787, 6 ---------------------------------------------------------------------- */

#define HAIRPIN_ROUNDS 3

static void hairpin_map(struct test *t)
{
    struct discover *d = t->d;
    for (unsigned i = 0; i < 2; i++)
        t->ops[i] = ask_start(t, port_open(d), &d->config.server, NULL, 0, 0);
}

/* Both ways: so each one's filter has seen the other's address. */
static void hairpin_send(struct test *t)
{
    const struct ask *a = t->ops[0], *b = t->ops[1];
    if (!good(a) || !good(b)) {
        test_end(t);
        return;
    }
    if (t->round == HAIRPIN_ROUNDS)
        return;
    port_hairpin(a->port, &b->answer.mapped);
    port_hairpin(b->port, &a->answer.mapped);
    wait_start(t, 100 * BASE_NS_PER_MS + t->d->result.rtt_ns);
    test_again(t);
}

static void hairpin_judge(struct test *t)
{
    const struct ask *a = t->ops[0], *b = t->ops[1];
    struct discover *d = t->d;
    const union base_ep *seen =
        base_ep_is_set(&a->port->hairpin_from) ? &a->port->hairpin_from : &b->port->hairpin_from;
    const union base_ep *sender = seen == &a->port->hairpin_from ? &b->port->local : &a->port->local;
    if (d->result.behaviour.mapping.value == PREDICT_MAPPING_NONE)
        note(d, PREDICT_HAIRPIN, "there is no NAT");
    else if (!base_ep_is_set(seen))
        believe(d, PREDICT_HAIRPIN, PREDICT_HAIRPIN_OFF, 0.95);
    else
        believe(d, PREDICT_HAIRPIN, base_ep_equal(seen, sender) ? PREDICT_HAIRPIN_INTERNAL : PREDICT_HAIRPIN_EXTERNAL,
                0.99);
}

stage_fn *const udp_hairpin[] = {hairpin_map, hairpin_send, hairpin_judge, NULL};

/* ---- a series of samples ---------------------------------------------------------------------- */

const union base_ep *series_remote(const struct discover *d, unsigned n)
{
    return d->n_stun ? &d->stun[n % d->n_stun] : &d->config.server;
}

/* Nobody waits for a late answer; its port goes when the memory for it is needed again. */
static void series_next(struct test *t)
{
    struct discover *d = t->d;
    struct ask **at = (struct ask **)&t->ops[t->round % TEST_OPS];
    if (t->round >= d->config.series)
        return;
    if (*at)
        port_close((*at)->port);
    *at = ask_start(NULL, port_open(d), series_remote(d, t->round), NULL, 0, 0);
    wait_start(t, d->config.series_interval_ns);
    test_again(t);
}

static void series_last(struct test *t)
{
    wait_start(t, patience_ns(t->d));
}

stage_fn *const udp_series[] = {series_next, series_last, NULL};

/* ---- an idle mapping's lifetime: RFC 5780, 4.6, with all durations side by side ---------------- */

/*
 * For each duration two ports: X makes a mapping and stays idle so long; then Y asks S to answer to X's mapped port
 * (RESPONSE-PORT). If that arrives, X's mapping was there. First durations from 5 s on, each half longer than the one
 * before; then seven between the last that lived and the first that did not.
 */
#define LIFETIME_FIRST_S 5.0
#define LIFETIME_GROWTH  1.5
#define LIFETIME_STEPS   7
#define LIFETIME_MAX     14

static double lifetime_of(const struct discover *d, unsigned i)
{
    double s = LIFETIME_FIRST_S;
    if (d->life.hi > 0)
        return d->life.lo + (d->life.hi - d->life.lo) * (i + 1) / (LIFETIME_STEPS + 1);
    for (unsigned k = 0; k < i; k++)
        s *= LIFETIME_GROWTH;
    return s;
}

static void lifetime_map(struct test *t)
{
    struct discover *d = t->d;
    unsigned most = d->life.hi > 0 ? LIFETIME_STEPS : LIFETIME_MAX;
    t->n = t->round = 0;
    while (t->n < most && lifetime_of(d, t->n) <= (double)d->config.lifetime_max_s) {
        t->ops[t->n] = ask_start(t, port_open(d), &d->config.server, NULL, 0, 0);
        t->n++;
    }
}

static void lifetime_wait(struct test *t)
{
    struct discover *d = t->d;
    const struct ask *x = t->round < t->n ? t->ops[t->round] : NULL;
    if (!x)
        return;
    uint64_t due = x->answered_ns + (uint64_t)(lifetime_of(d, t->round) * 1e9), now = base_now_ns();
    wait_start(t, due > now ? due - now : 0);
}

/* Y's answer arrives at X's port, under Y's transaction id: the ask is X's port's to see. */
static void lifetime_ask(struct test *t)
{
    struct discover *d = t->d;
    struct ask *x = t->round < t->n ? t->ops[t->round] : NULL;
    if (!good(x))
        return;
    struct request_options options = {.response_port = base_ep_port(&x->answer.mapped)};
    struct port *y = port_open(d);
    struct ask *ask = ask_start(t, y, &d->config.server, &options, 2, patience_ns(d));
    if (ask) {
        y->asks = ask->next;
        ask->port = x->port;
        ask->next = x->port->asks;
        x->port->asks = ask;
    }
    t->ops[LIFETIME_MAX + t->round] = ask;
}

static void lifetime_judge(struct test *t);
static stage_fn *const lifetime_more[] = {lifetime_wait, lifetime_ask, lifetime_judge, NULL};
static stage_fn *const lifetime_refine[] = {lifetime_map, lifetime_wait, lifetime_ask, lifetime_judge, NULL};

static void lifetime_judge(struct test *t)
{
    struct discover_result *r = &t->d->result;
    const struct ask *came = t->ops[LIFETIME_MAX + t->round];
    double s = lifetime_of(t->d, t->round);
    bool refined = t->d->life.hi > 0, alive = good(came);
    if (t->round >= t->n) {
        t->d->result.behaviour.lifetime_s = r->lifetime_hi_s > 0 ? (r->lifetime_lo_s + r->lifetime_hi_s) / 2 : 0;
        return;
    }
    if (alive) {
        r->lifetime_lo_s = s;
        t->round++;
        t->stages = lifetime_more;
        return;
    }
    r->lifetime_hi_s = s;
    if (!refined) {
        t->d->life.lo = r->lifetime_lo_s;
        t->d->life.hi = s;
        t->stages = lifetime_refine;
        return;
    }
    r->behaviour.lifetime_s = (r->lifetime_lo_s + r->lifetime_hi_s) / 2;
}

stage_fn *const udp_lifetime[] = {lifetime_map, lifetime_wait, lifetime_ask, lifetime_judge, NULL};
