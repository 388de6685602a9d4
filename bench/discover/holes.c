/*
 * What becomes of a hole over TCP. A SYN of ours to an endpoint of S that ignores it opens the hole, and S connects
 * from there:
 *  - to the socket that is still connecting: a simultaneous open, whose SYN-ACK carries the sequence number that the
 * NAT has seen;
 *  - to a listener that took the closed socket's place: its SYN-ACK carries a later number, which a NAT that checks
 *    windows does not let out. Linux's numbers move on by one in 64 ns, a NAT lets pass up to 65,535 too much: after
 *    5 ms the difference is clear.
 * A hole that S's RST has met is tried with a listener as well.
 */
#include <string.h>

#include "bench/discover/internal.h"

enum { TRIES = 3, KINDS = 2, HOLES = TRIES * KINDS };
/* Places in test.ops; of each, the first TRIES are held, the others made anew. */
enum { LEASE = 0, SLOT = LEASE + HOLES, SOURCE = SLOT + HOLES, LINK = SOURCE + HOLES, PROBE = LINK + HOLES };

#define POLLS     10
#define POLL_NS   (60 * BASE_NS_PER_MS)
#define ANEW_NS   (40 * BASE_NS_PER_MS)
#define REPEAT_NS (700 * BASE_NS_PER_MS) /* the kernel repeats a SYN after 1 s */

_Static_assert(PROBE + HOLES <= TEST_OPS, "a test's memory");

/* Where S has to connect to: where it saw the SYN come from; else, where one mapping serves all, what STUN said. */
static bool target_of(const struct test *t, unsigned i, union base_ep *out)
{
    const struct probe *source = t->ops[SOURCE + i];
    const struct link *link = t->ops[LINK + i];
    if (source && source->result == WIRE_PROBED_DONE)
        *out = source->ep;
    else if (link && link->done && link->verdict == DISCOVER_ANSWER)
        *out = link->answer.mapped;
    else
        return false;
    return true;
}

static bool usable(const struct test *t, unsigned i)
{
    const struct probe *lease = t->ops[LEASE + i];
    return t->ops[SLOT + i] && lease && lease->result == WIRE_PROBED_DONE;
}

static void window_lease(struct test *t)
{
    if (!t->d->result.rendezvous) {
        test_end(t);
        return;
    }
    for (unsigned i = 0; i < HOLES; i++) {
        t->ops[LEASE + i] = probe_lease(t, true);
        t->ops[SLOT + i] = slot_open(t->d);
    }
}

static void window_syn(struct test *t)
{
    for (unsigned i = 0; i < HOLES; i++) {
        const struct probe *lease = t->ops[LEASE + i];
        if (usable(t, i) && slot_syn(t->ops[SLOT + i], &lease->ep) < 0)
            t->ops[SLOT + i] = NULL;
    }
    wait_start(t, t->d->result.rtt_ns + 20 * BASE_NS_PER_MS);
}

static void window_source(struct test *t)
{
    for (unsigned i = 0; i < HOLES; i++) {
        const struct probe *known = t->ops[SOURCE + i];
        if (usable(t, i) && !(known && known->result != WIRE_PROBED_NOTHING))
            t->ops[SOURCE + i] = probe_source(t, t->ops[LEASE + i]);
    }
}

static void window_check(struct test *t)
{
    struct discover *d = t->d;
    unsigned missing = 0, blind = 0;
    for (unsigned i = 0; i < HOLES; i++) {
        const struct probe *source = t->ops[SOURCE + i];
        missing += source && source->result == WIRE_PROBED_NOTHING;
        blind += source && source->result == WIRE_PROBED_CANNOT;
        if (source && source->result == WIRE_PROBED_DONE) {
            d->result.sees_syns = true;
        }
    }
    if (missing && t->round * POLL_NS < REPEAT_NS && t->round < POLLS) {
        t->round++;
        wait_start(t, POLL_NS);
        t->stages -= 2;
        return;
    }
    for (unsigned i = 0; blind && !d->mapping_moves && i < HOLES; i++)
        if (usable(t, i))
            t->ops[LINK + i] = link_start(t, t->ops[SLOT + i], &d->config.server, 0, 0);
}

static void window_anew(struct test *t)
{
    union base_ep to;
    for (unsigned i = 0; i < HOLES; i++) {
        const struct slot *slot = t->ops[SLOT + i];
        const struct probe *lease = t->ops[LEASE + i];
        if (usable(t, i) && target_of(t, i, &to))
            sample_add(t->d, &slot->local, &lease->ep, &to, base_now_ns());
    }
    for (unsigned i = TRIES; i < HOLES; i++) {
        if (!usable(t, i))
            continue;
        slot_drop(t->ops[SLOT + i]);
        if (slot_listen(t->ops[SLOT + i]) < 0)
            t->ops[SLOT + i] = NULL;
    }
    wait_start(t, ANEW_NS);
}

static void window_connect(struct test *t)
{
    union base_ep to;
    for (unsigned i = 0; i < HOLES; i++)
        if (usable(t, i) && target_of(t, i, &to))
            t->ops[PROBE + i] = probe_connect(t, WIRE_FROM_LEASE, t->ops[LEASE + i], &to, short_wait_ns(t->d));
}

static void window_judge(struct test *t)
{
    struct discover *d = t->d;
    for (unsigned i = 0; i < HOLES; i++) {
        const struct probe *p = t->ops[PROBE + i];
        if (!p || p->result == WIRE_PROBED_CANNOT || p->result == WIRE_PROBED_REFUSED)
            continue;
        bool ok = p->result == WIRE_PROBED_ESTABLISHED;
        *(i < TRIES ? &d->hole.held : &d->hole.remade) += 1;
        *(i < TRIES ? &d->hole.held_ok : &d->hole.remade_ok) += ok;
    }
    for (unsigned i = 0; i < TRIES; i++)
        if (t->ops[SLOT + i])
            slot_drop(t->ops[SLOT + i]);
}

stage_fn *const hole_window[] = {window_lease, window_syn,     window_source, window_check,
                                 window_anew,  window_connect, window_judge,  NULL};

/* ---- a RST from S's side --------------------------------------------------------------------- */

static void reset_lease(struct test *t)
{
    if (!t->d->result.rendezvous) {
        test_end(t);
        return;
    }
    t->ops[LEASE] = probe_lease(t, false);
    t->ops[SLOT] = slot_open(t->d);
}

static void reset_syn(struct test *t)
{
    const struct probe *lease = t->ops[LEASE];
    if (!usable(t, 0) || slot_syn(t->ops[SLOT], &lease->ep) < 0)
        test_end(t);
    else
        wait_start(t, t->d->result.rtt_ns + 40 * BASE_NS_PER_MS);
}

static void reset_source(struct test *t)
{
    t->ops[SOURCE] = probe_source(t, t->ops[LEASE]);
}

static void reset_check(struct test *t)
{
    const struct probe *source = t->ops[SOURCE];
    if (source && source->result == WIRE_PROBED_NOTHING && t->round++ < POLLS) {
        wait_start(t, POLL_NS);
        t->stages -= 2;
    } else if (source && source->result == WIRE_PROBED_CANNOT && !t->d->mapping_moves) {
        t->ops[LINK] = link_start(t, t->ops[SLOT], &t->d->config.server, 0, 0);
    }
}

static void reset_listen(struct test *t)
{
    slot_drop(t->ops[SLOT]);
    if (slot_listen(t->ops[SLOT]) < 0)
        test_end(t);
    else
        wait_start(t, ANEW_NS);
}

static void reset_connect(struct test *t)
{
    union base_ep to;
    if (target_of(t, 0, &to))
        t->ops[PROBE] = probe_connect(t, WIRE_FROM_LEASE, t->ops[LEASE], &to, repeat_wait_ns(t->d));
    else
        test_end(t);
}

/* Under a strict window check the listener's SYN-ACK does not get out; but S's SYN got in, where the hole is. */
static void reset_judge(struct test *t)
{
    struct discover *d = t->d;
    const struct probe *p = t->ops[PROBE];
    union base_ep from;
    if (!p || p->result == WIRE_PROBED_CANNOT || p->result == WIRE_PROBED_REFUSED)
        return;
    d->hole.rst_tried = true;
    d->hole.rst_through = p->result == WIRE_PROBED_ESTABLISHED;
    d->hole.rst_reached = slot_half_open(t->ops[SLOT], &from);
}

stage_fn *const hole_reset[] = {reset_lease,  reset_syn,     reset_source, reset_check,
                                reset_listen, reset_connect, reset_judge,  NULL};
