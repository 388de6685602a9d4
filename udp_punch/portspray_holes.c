/* The opener: from the registered socket to where the prober's next mappings may be, in batches, paced. */
#include <errno.h>
#include <string.h>

#include "udp_punch/portspray_internal.h"

/* Nothing is looked at more often than this; at the default rate two holes are due in it. */
#define TURN_NS BASE_NS_PER_MS
/* After so many batches of one turn the loop serves what came: a batch takes about a quarter of a millisecond, so a
 * success is noticed well within a round trip. */
#define TURN_BATCHES 16

static void begin_round(struct portspray *s, uint64_t now)
{
    s->round_ns = now;
    s->round_begun = true;
    if (!s->full) {
        peer_holes_init(&s->holes, &s->plan, peer_trial_role(s->trial), s->attempt);
        return;
    }
    const struct peer_search *p = &s->plan.search;
    s->next_at = SIZE_MAX;
    portspray_sweep_init(&s->sweep, s->order, base_ep_port(&s->target), p->random_lo, p->random_hi,
                         p->seed + s->attempt);
}

/* The sweep's next port, on each of the addresses that the plan lists. */
static bool next_swept(struct portspray *s, union base_ep *out)
{
    const struct peer_search *p = &s->plan.search;
    const struct peer_candidates *at = p->opener == WIRE_ROLE_A ? &s->plan.for_a : &s->plan.for_b;
    if (s->next_at >= at->n) {
        if (s->sweep.next >= p->holes || !portspray_sweep_next(&s->sweep, &s->swept))
            return false;
        s->next_at = 0;
    }
    *out = at->n ? at->list[s->next_at].ep : p->random_at;
    s->next_at++;
    base_ep_set_port(out, s->swept);
    return true;
}

static bool next_hole(struct portspray *s, union base_ep *out)
{
    return s->full ? next_swept(s, out) : peer_holes_next(&s->holes, out);
}

/* False when the round has no more. */
static bool fill(struct portspray *s, uint64_t now)
{
    while (s->n_batch < PEER_UDP_BATCH) {
        if (!base_bucket_take(&s->bucket, now))
            return true;
        if (!next_hole(s, &s->batch[s->n_batch])) {
            s->bucket.tokens += 1; /* not needed after all */
            return false;
        }
        s->n_batch++;
    }
    return true;
}

/* 0, or when to try again: a full buffer empties itself. */
static uint64_t send_batch(struct portspray *s, uint64_t now)
{
    int sent = peer_udp_probe_many(s->trial, s->hole_socket, s->batch, s->n_batch, s->ttl);
    if (sent == -EAGAIN || sent == -ENOBUFS)
        return now + TURN_NS;
    if (sent < 0)
        peer_trial_error(s->trial, "send_failed");
    else if (s->round == 0)
        peer_trial_count(s->trial, "holes", (uint64_t)sent);
    size_t gone = sent < 0 ? 1 : (size_t)sent;
    s->n_batch -= gone;
    memmove(s->batch, s->batch + gone, s->n_batch * sizeof(s->batch[0]));
    s->quiet_ns = now;
    return 0;
}

static uint64_t round_out(struct portspray *s)
{
    uint64_t now = base_now_ns();
    if (s->round == 0) {
        s->first_out_ns = now;
        peer_trial_field(s->trial, "spray_ns", json_integer((json_int_t)(now - s->round_ns)));
        portspray_tell_ready(s);
    }
    s->round++;
    s->round_begun = false;
    s->done = s->rounds && s->round >= s->rounds;
    return s->done ? UINT64_MAX : s->round_ns + s->interval_ns;
}

/* False while the distance to the other NAT is being measured. Where it cannot be, holes go all the way. */
static bool know_ttl(struct portspray *s)
{
    int hops = s->ttl < 0 ? peer_trial_hops(s->trial) : s->ttl;
    if (s->ttl < 0 && hops == 0)
        return false;
    if (s->ttl < 0 || s->round + s->attempt == 0)
        peer_trial_field(s->trial, "ttl",
                         hops < 0   ? json_string("unmeasured")
                         : hops > 0 ? json_integer(hops)
                                    : json_null());
    s->ttl = hops > 0 ? hops : 0;
    return true;
}

uint64_t portspray_holes_turn(struct portspray *s, uint64_t now)
{
    if (s->done || now < s->begin_ns)
        return s->done ? UINT64_MAX : s->begin_ns;
    if (!s->round_begun)
        begin_round(s, now);
    if (!know_ttl(s))
        return now + TURN_NS;
    for (int i = 0; i < TURN_BATCHES; i++) {
        bool more = fill(s, now);
        if (s->n_batch == 0 && !more)
            return round_out(s);
        if (s->n_batch == 0) {
            uint64_t wait = base_bucket_wait_ns(&s->bucket, 1, now);
            return now + (wait > TURN_NS ? wait : TURN_NS);
        }
        uint64_t again = send_batch(s, now);
        if (again)
            return again;
    }
    return now;
}
