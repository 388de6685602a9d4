/* The tests over TCP: mapping, allocation, filtering, unsolicited SYNs, hairpinning. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/discover/internal.h"

static bool good(const struct link *l)
{
    return l && l->done && l->verdict == DISCOVER_ANSWER;
}

/* ---- first contact --------------------------------------------------------------------------- */

static void contact_start(struct test *t)
{
    struct discover *d = t->d;
    d->first_slot = slot_open(d);
    d->control_slot = slot_open(d);
    if (!d->first_slot || !d->control_slot || slot_listen(d->control_slot) < 0) {
        discover_fail(d, -EADDRINUSE, "no local port is free");
        return;
    }
    t->ops[0] = d->first_link = link_start(t, d->first_slot, &d->config.server, 0, 0);
    control_start(t, d->control_slot);
}

static void contact_judge(struct test *t)
{
    struct discover *d = t->d;
    const struct link *first = t->ops[0];
    char ep[BASE_EP_STRLEN];
    if (good(first)) {
        /* The handshake and the question: two round trips. */
        d->result.rtt_ns = (first->answered_ns - first->began_ns) / 2;
        learn_server(d, &first->answer.other);
        return;
    }
    base_ep_format(&d->config.server, ep);
    if (first && first->verdict != DISCOVER_SILENCE)
        discover_fail(d, -EPROTO, "%s from %s over TCP", discover_verdict_text(first->verdict), ep);
    else if (first && first->connected)
        discover_fail(d, -EPROTO, "%s takes connections, but answers no STUN over TCP", ep);
    else
        discover_fail(d, first ? first->err : -ENOMEM, "no connection to %s: %s", ep,
                      strerror(first ? -first->err : ENOMEM));
}

stage_fn *const tcp_contact[] = {contact_start, contact_judge, NULL};

/* ---- mapping: as RFC 5780, 4.3 ------------------------------------------------------------------ */

/* The connections stay open, so that the mapping stays; one after the other, for NATs that let only the last
 * destination answer. */
static void mapping_next(struct test *t)
{
    struct discover *d = t->d;
    const union base_ep *to[] = {&d->other_port, &d->other_addr, &d->other_both};
    if (t->round < 3) {
        t->ops[1 + t->round] = link_start(t, d->first_slot, to[t->round], 0, 0);
        test_again(t);
    }
}

static void mapping_judge(struct test *t)
{
    struct discover *d = t->d;
    union base_ep mapped[4] = {d->first_link->answer.mapped};
    for (size_t i = 1; i < 4; i++) {
        struct link *l = t->ops[i];
        if (good(l))
            mapped[i] = l->answer.mapped;
        if (l)
            link_close(l);
    }
    link_close(d->first_link);
    judge_mapping(d, mapped);
    if (d->result.behaviour.mapping.value != PREDICT_MAPPING_APD)
        test_end(t);
}

/*
 * Address-and-port-dependent, or connection-dependent? The same 5-tuple twice while the NAT still has it: a SYN to an
 * endpoint of S that ignores it, and one of a fresh socket. One mapping is of the 5-tuple, two are of the connection.
 * (After a connection has ended, many NATs forget: that a reopened one gets a new port says nothing.)
 */
enum { CD_LEASE = 4, CD_SOURCE = 5, CD_FIRST = 6, CD_SLOT = 7 };
#define CD_POLLS   8
#define CD_POLL_NS (60 * BASE_NS_PER_MS)

static void cd_lease(struct test *t)
{
    t->ops[CD_SLOT] = slot_open(t->d);
    t->ops[CD_LEASE] = probe_lease(t, true);
    t->round = 0;
}

static void cd_syn(struct test *t)
{
    const struct probe *lease = t->ops[CD_LEASE];
    struct slot *slot = t->ops[CD_SLOT];
    if (!slot || !lease || lease->result != WIRE_PROBED_DONE || slot_syn(slot, &lease->ep) < 0)
        test_end(t);
    else
        wait_start(t, t->d->result.rtt_ns + 20 * BASE_NS_PER_MS);
}

static void cd_source(struct test *t)
{
    t->ops[CD_SOURCE] = probe_source(t, t->ops[CD_LEASE]);
}

/* Back to the question until its answer tells of more SYNs than before. */
static void cd_check(struct test *t)
{
    const struct probe *source = t->ops[CD_SOURCE], *first = t->ops[CD_FIRST];
    if (!source || source->result == WIRE_PROBED_CANNOT || source->result == WIRE_PROBED_REFUSED ||
        t->round == CD_POLLS) {
        test_end(t);
    } else if (source->result == WIRE_PROBED_NOTHING || (first && source->count <= first->count)) {
        t->round++;
        wait_start(t, CD_POLL_NS);
        t->stages -= 2;
    }
}

/* The first SYN's socket goes before it repeats its SYN; what has come until then is counted. */
static void cd_drop(struct test *t)
{
    slot_drop(t->ops[CD_SLOT]);
    wait_start(t, t->d->result.rtt_ns + 20 * BASE_NS_PER_MS);
    t->round = 0;
}

static void cd_keep(struct test *t)
{
    t->ops[CD_FIRST] = t->ops[CD_SOURCE];
}

static void cd_judge(struct test *t)
{
    const struct probe *first = t->ops[CD_FIRST], *second = t->ops[CD_SOURCE];
    struct discover *d = t->d;
    const struct slot *slot = t->ops[CD_SLOT];
    const struct probe *lease = t->ops[CD_LEASE];
    slot_drop(t->ops[CD_SLOT]);
    sample_add(d, &slot->local, &lease->ep, &first->ep, first->answered_ns);
    if (!base_ep_equal(&first->ep, &second->ep)) {
        sample_add(d, &slot->local, &lease->ep, &second->ep, second->answered_ns);
        believe(d, PREDICT_MAPPING, PREDICT_MAPPING_CD, 0.99);
    }
    note(d, PREDICT_MAPPING, "%s", "");
}

stage_fn *const tcp_mapping[] = {mapping_next, mapping_judge, cd_lease,  cd_syn,   cd_source,
                                 cd_check,     cd_drop,       cd_source, cd_check, cd_keep,
                                 cd_syn,       cd_source,     cd_check,  cd_judge, NULL};

/* ---- allocation ------------------------------------------------------------------------------ */

#define PAUSE_NS (250 * BASE_NS_PER_MS)

static unsigned first_burst(unsigned all)
{
    return all - all / 3;
}

static void connect_from_fresh(struct test *t, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct link *l = link_start(t, slot_open(t->d), &t->d->config.server, 0, 0);
        if (l && t->n < TEST_OPS)
            t->ops[t->n++] = l;
    }
}

static void allocation_first(struct test *t)
{
    connect_from_fresh(t, first_burst(t->d->config.samples));
}

static void allocation_pause(struct test *t)
{
    wait_start(t, PAUSE_NS);
}

static void allocation_second(struct test *t)
{
    connect_from_fresh(t, t->d->config.samples - first_burst(t->d->config.samples));
}

static void allocation_judge(struct test *t)
{
    judge_allocation(t->d);
    if (allocation_narrow(t->d))
        connect_from_fresh(t, t->d->config.samples);
}

static void allocation_refine(struct test *t)
{
    for (unsigned i = 0; i < t->n; i++)
        link_close(t->ops[i]);
    judge_narrow(t->d);
}

stage_fn *const tcp_allocation[] = {allocation_first, allocation_pause,  allocation_second,
                                    allocation_judge, allocation_refine, NULL};

/* ---- filtering and unsolicited SYNs ---------------------------------------------------------- */

/* A NAT that holds SYNs answers after 6 s (RFC 5382, REQ-4). */
#define HOLD_NS  (6 * BASE_NS_PER_S)
#define SHORT_NS (900 * BASE_NS_PER_MS)
/* The kernel repeats a SYN after so long: one may be lost. */
#define SYN_REPEAT_NS (1 * BASE_NS_PER_S)
#define SETTLE_NS     (600 * BASE_NS_PER_MS)
#define HOLD_LEAST    (5 * BASE_NS_PER_S)

uint64_t short_wait_ns(const struct discover *d)
{
    uint64_t ns = 3 * d->result.rtt_ns + 400 * BASE_NS_PER_MS;
    return ns > SHORT_NS ? ns : SHORT_NS;
}

uint64_t repeat_wait_ns(const struct discover *d)
{
    return SYN_REPEAT_NS + short_wait_ns(d);
}

static uint64_t long_wait_ns(const struct discover *d)
{
    return SYN_REPEAT_NS + HOLD_NS + 300 * BASE_NS_PER_MS + 2 * d->result.rtt_ns;
}

static bool established(const struct probe *p)
{
    return p && p->result == WIRE_PROBED_ESTABLISHED;
}

/* It was tried, and nobody let it in. */
static bool filtered(const struct probe *p)
{
    return p && (p->result == WIRE_PROBED_RST || p->result == WIRE_PROBED_ICMP || p->result == WIRE_PROBED_NOTHING);
}

/* S connects to the control connection's own mapped endpoint, beside which we listen. */
static void filter_ask(struct test *t)
{
    struct discover *d = t->d;
    if (!d->result.rendezvous) {
        test_end(t);
        return;
    }
    t->ops[0] = probe_connect(t, WIRE_FROM_OTHER_ADDRESS, NULL, &d->seen, long_wait_ns(d));
    t->ops[1] = probe_connect(t, WIRE_FROM_OTHER_PORT, NULL, &d->seen, repeat_wait_ns(d));
}

/* The policy shows where something was filtered; where nothing is, at a port that nobody uses. */
static void filter_again(struct test *t)
{
    struct discover *d = t->d;
    const struct probe *addr = t->ops[0], *port = t->ops[1];
    d->filter.other_addr = established(addr);
    d->filter.other_port = established(port);
    d->filter.asked = filtered(port) || established(port);
    if (filtered(addr))
        test_end(t);
    else if (filtered(port))
        t->ops[2] = probe_connect(t, WIRE_FROM_OTHER_PORT, NULL, &d->seen, long_wait_ns(d));
    else if (established(addr))
        wait_start(t, SETTLE_NS);
    else
        test_end(t);
    if (filtered(addr))
        judge_syn(d, addr, false);
}

static bool is_used(const struct discover *d, uint16_t port)
{
    for (size_t i = 0; i < d->result.n_samples; i++)
        if (base_ep_port(&d->result.samples[i].mapped) == port)
            return true;
    return base_ep_port(&d->seen) == port;
}

/* A port of our own NAT that should have no mapping: a free local one where ports are preserved, else one among those
 * that were given to us, so that it is nobody else's. */
static union base_ep unused_endpoint(struct discover *d)
{
    const struct predict_behaviour *b = &d->result.behaviour;
    union base_ep ep = d->seen;
    if (b->ports.value == PREDICT_PORTS_PRESERVE) {
        const struct slot *slot = slot_open(d);
        base_ep_set_port(&ep, slot ? base_ep_port(&slot->local) : base_ep_port(&ep));
        return ep;
    }
    uint16_t lo = UINT16_MAX, hi = 0;
    for (size_t i = 0; i < d->result.n_samples; i++) {
        uint16_t port = base_ep_port(&d->result.samples[i].mapped);
        lo = port < lo ? port : lo;
        hi = port > hi ? port : hi;
    }
    for (unsigned i = 0; i < 64; i++) {
        uint16_t port = (uint16_t)(lo + base_rng_below(&d->rng, 1U + hi - lo));
        base_ep_set_port(&ep, port);
        if (!is_used(d, port))
            break;
    }
    return ep;
}

static void filter_unused(struct test *t)
{
    struct discover *d = t->d;
    if (t->ops[2]) {
        judge_syn(d, t->ops[2], false);
        test_end(t);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        union base_ep to = unused_endpoint(d);
        t->ops[3 + i] = probe_connect(t, WIRE_FROM_OTHER_ADDRESS, NULL, &to, long_wait_ns(d));
    }
}

/* Two ports: should one of them have been in use after all, its host answered with a RST, and the quieter one counts.
 */
static void filter_judge(struct test *t)
{
    const struct probe *a = t->ops[3], *b = t->ops[4];
    bool quieter = b && filtered(b) && (!filtered(a) || (a->result == WIRE_PROBED_RST && b->result != WIRE_PROBED_RST));
    if (a)
        judge_syn(t->d, quieter ? b : a, true);
}

stage_fn *const tcp_filter[] = {filter_ask, filter_again, filter_unused, filter_judge, NULL};

void judge_syn(struct discover *d, const struct probe *p, bool unused)
{
    enum predict_syn value = PREDICT_SYN_UNKNOWN;
    if (p->result == WIRE_PROBED_NOTHING)
        value = PREDICT_SYN_DROP;
    else if (p->result == WIRE_PROBED_RST)
        value = PREDICT_SYN_RST;
    else if (p->result == WIRE_PROBED_ICMP)
        value = p->answered_ns - p->sent_ns >= HOLD_LEAST ? PREDICT_SYN_HOLD : PREDICT_SYN_ICMP;
    believe(d, PREDICT_SYN, value, value ? 0.95 : 0);
    if (value == PREDICT_SYN_UNKNOWN)
        return;
    if (value == PREDICT_SYN_ICMP || value == PREDICT_SYN_HOLD)
        note(d, PREDICT_SYN, "ICMP type %u code %u after %.1f s", (unsigned)(p->icmp >> 8), (unsigned)(p->icmp & 255),
             (double)(p->answered_ns - p->sent_ns) / 1e9);
    else if (d->result.behaviour.mapping.value == PREDICT_MAPPING_NONE)
        note(d, PREDICT_SYN, "there is no NAT: this host's own answer");
    else if (unused)
        note(d, PREDICT_SYN, "at a port without a mapping: the others let everybody in");
}

/* ---- last-destination-only ------------------------------------------------------------------- */

#define DELAY_MS 500

/* The control sends to nobody else: silence tells something only where a late answer is heard at all. */
enum { LAST_ASKED, LAST_CONTROL, LAST_OTHER };

static uint16_t delay_ms(const struct discover *d)
{
    return (uint16_t)(DELAY_MS + 5 * d->result.rtt_ns / BASE_NS_PER_MS);
}

/* A question whose answer comes late. Its acknowledgement must be in before another endpoint is sent to, else our own
 * repetition of the question would make this the last destination again: delayed acknowledgements take 40 ms. */
static void last_ask(struct test *t)
{
    struct discover *d = t->d;
    if (!d->result.rendezvous || d->mapping_moves || !base_ep_is_set(&d->other_port) ||
        delay_ms(d) > WIRE_STUN_DELAY_MAX_MS) {
        test_end(t);
        return;
    }
    for (unsigned i = 0; i <= LAST_CONTROL; i++)
        t->ops[i] = link_start(NULL, slot_open(d), &d->config.server, delay_ms(d),
                               delay_ms(d) * BASE_NS_PER_MS + d->result.rtt_ns + patience_ns(d));
    wait_start(t, 2 * d->result.rtt_ns + 150 * BASE_NS_PER_MS);
}

static void last_ask_other(struct test *t)
{
    struct discover *d = t->d;
    const struct link *later = t->ops[LAST_ASKED];
    t->ops[LAST_OTHER] = NULL;
    if (later)
        t->ops[LAST_OTHER] = link_start(t, later->slot, base_ep_is_set(&d->other_both) ? &d->other_both : &d->other_port, 0, 0);
}

static void last_wait(struct test *t)
{
    wait_start(t, delay_ms(t->d) * BASE_NS_PER_MS + t->d->result.rtt_ns + patience_ns(t->d));
}

static void last_judge(struct test *t)
{
    struct discover *d = t->d;
    const struct link *later = t->ops[LAST_ASKED], *control = t->ops[LAST_CONTROL], *other = t->ops[LAST_OTHER];
    d->filter.last_known = later && later->connected && good(other) && (good(later) || good(control));
    d->filter.last = !good(later);
    for (unsigned i = 0; i <= LAST_OTHER; i++) {
        if (t->ops[i])
            link_close(t->ops[i]);
    }
    if (!d->filter.last_known)
        test_repeat(t, tcp_last, LAST_ROUNDS);
}

stage_fn *const tcp_last[] = {last_ask, last_ask_other, last_wait, last_judge, NULL};

/* ---- hairpin --------------------------------------------------------------------------------- */

static void hairpin_map(struct test *t)
{
    struct discover *d = t->d;
    for (unsigned i = 0; i < 2; i++)
        t->ops[i] = link_start(t, slot_open(d), &d->config.server, 0, 0);
}

/* Both ways: so each one's filter has seen the other's address; a repeated SYN (1 s) comes through if the first did
 * not. */
static void hairpin_connect(struct test *t)
{
    struct discover *d = t->d;
    struct link *a = t->ops[0], *b = t->ops[1];
    if (!good(a) || !good(b) || d->result.behaviour.mapping.value == PREDICT_MAPPING_NONE) {
        note(d, PREDICT_HAIRPIN, "%s", good(a) && good(b) ? "there is no NAT" : "a connection to the server failed");
        test_end(t);
        return;
    }
    int err = slot_listen(a->slot);
    if (err == 0)
        err = slot_listen(b->slot);
    if (err == 0)
        err = slot_syn(a->slot, &b->answer.mapped);
    if (err == 0)
        err = slot_syn(b->slot, &a->answer.mapped);
    /* The first SYN may have come back already, and waits at the second port's listener. */
    if (err < 0 && err != -EADDRNOTAVAIL) {
        note(d, PREDICT_HAIRPIN, "cannot connect to our own mapped endpoint: %s", strerror(-err));
        test_end(t);
        return;
    }
    wait_start(t, 1300 * BASE_NS_PER_MS + 2 * d->result.rtt_ns);
}

/* The handshake ended: over the socket that connected, or over the listener. */
static bool came_through(const struct slot *slot)
{
    union base_ep peer;
    socklen_t len = sizeof(peer);
    if (getpeername(slot->held, &peer.sa, &len) == 0)
        return true;
    int fd = accept4(slot->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close_reset(fd);
    return fd >= 0;
}

static void hairpin_judge(struct test *t)
{
    struct discover *d = t->d;
    struct link *links[] = {t->ops[0], t->ops[1]};
    enum predict_hairpin value = PREDICT_HAIRPIN_OFF;
    for (unsigned i = 0; i < 2; i++) {
        union base_ep from;
        if (came_through(links[i]->slot))
            value = PREDICT_HAIRPIN_EXTERNAL;
        /* A SYN from the inner address gets an answer that its sender does not expect. */
        else if (value == PREDICT_HAIRPIN_OFF && slot_half_open(links[i]->slot, &from))
            value = PREDICT_HAIRPIN_INTERNAL;
    }
    believe(d, PREDICT_HAIRPIN, value, value == PREDICT_HAIRPIN_OFF ? 0.95 : 0.99);
    for (unsigned i = 0; i < 2; i++) {
        link_close(links[i]);
        slot_drop(links[i]->slot);
    }
}

stage_fn *const tcp_hairpin[] = {hairpin_map, hairpin_connect, hairpin_judge, NULL};

/* ---- a series of samples ---------------------------------------------------------------------- */

static void series_next(struct test *t)
{
    struct discover *d = t->d;
    struct link **at = (struct link **)&t->ops[t->round % TEST_OPS];
    if (t->round >= d->config.series)
        return;
    if (*at) {
        link_close(*at);
        slot_close((*at)->slot);
    }
    *at = link_start(NULL, slot_open(d), series_remote(d, t->round), 0, 0);
    wait_start(t, d->config.series_interval_ns);
    test_again(t);
}

static void series_last(struct test *t)
{
    wait_start(t, patience_ns(t->d));
}

stage_fn *const tcp_series[] = {series_next, series_last, NULL};
