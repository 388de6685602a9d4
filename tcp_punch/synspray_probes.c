/*
 * The prober: connections from ports of their own, all to the opener's one endpoint, paced. A probe that was refused or
 * was silent for some round trips is replaced by one from a new port, which gets a new mapping.
 */
#include <errno.h>
#include <sys/socket.h>

#include "tcp_punch/synspray_internal.h"

/* The chassis's rate cap lets so many go at once. */
#define BURST 64
/* The opener may begin so much later than we do. */
#define HOLES_LATE_NS (10 * BASE_NS_PER_MS)

/*
 * The share of the holes that a probe sent now may meet. A hole that is made later lets the opener's SYN out, which
 * comes in through the probe's own mapping: then all count. A SYN that ends on the way does not, and the probe meets
 * only what stands when it arrives.
 */
static float chance(const struct synspray *s, uint64_t now)
{
    const struct peer_search *p = &s->search;
    uint64_t start = s->attempt_ns + HOLES_LATE_NS;
    if (p->ttl == PEER_TTL_OFF || s->other_ready_ns || p->holes == 0 || p->rate == 0 || p->meet)
        return 1;
    if (now + s->plan->rtt_ns / 2 < start)
        return 0;
    uint64_t standing_ns = now + s->plan->rtt_ns / 2 - start;
    double standing = BURST + (double)p->rate * (double)standing_ns / 1e9;
    return standing < p->holes ? (float)(standing / p->holes) : 1;
}

static int send_probe(struct synspray *s, uint64_t now)
{
    const struct peer_candidates *c = peer_trial_candidates(s->trial);
    struct synspray_entry *e = c->n ? synspray_entry_take(s) : NULL;
    if (!e)
        return -EMFILE;
    e->to = c->list[0].ep;
    int fd = peer_tcp_socket_fresh(s->trial);
    int err = fd < 0 ? fd : 0;
    if (fd >= 0 && connect(fd, &e->to.sa, base_ep_len(&e->to)) < 0 && errno != EINPROGRESS) {
        err = -errno;
        synspray_close_fd(fd);
    }
    if (err == 0)
        err = synspray_watch(s, e, fd);
    if (err < 0) {
        synspray_entry_free(s, e);
        return err;
    }
    peer_trial_count(s->trial, "packets", 1);
    s->done++;
    e->born_ns = s->last_ns = now;
    e->weight = chance(s, now);
    s->spent += e->weight;
    return 0;
}

/* In flight at once: the plan's cap. The oldest make room once they have been silent for long enough. */
static void drop_silent(struct synspray *s, uint64_t now)
{
    uint64_t silence = synspray_silence_ns(s);
    if (s->in_flight < s->n_entries || now < s->scan_ns)
        return;
    uint64_t oldest = now;
    for (uint32_t i = 0; i < s->n_entries; i++) {
        struct synspray_entry *e = &s->entries[i];
        if (e->fd < 0)
            continue;
        if (now - e->born_ns >= silence)
            synspray_entry_drop(s, e);
        else if (e->born_ns < oldest)
            oldest = e->born_ns;
    }
    s->scan_ns = oldest + silence;
}

static bool budget_left(const struct synspray *s)
{
    return s->spent + 1e-3 < (s->opener ? s->search.holes : s->search.probes);
}

/* The last probe, and the last hole, have had their round trips. */
static uint64_t all_out(struct synspray *s, uint64_t now)
{
    synspray_tell_ready(s);
    if (s->opener || !s->other_ready_ns)
        return UINT64_MAX;
    uint64_t last = s->last_ns > s->other_ready_ns ? s->last_ns : s->other_ready_ns;
    uint64_t end = last + synspray_silence_ns(s);
    if (now < end)
        return end;
    if (s->live == 0)
        synspray_spent(s);
    return UINT64_MAX;
}

uint64_t synspray_probes_turn(struct synspray *s, uint64_t now)
{
    if (now < s->begin_ns)
        return s->begin_ns;
    for (int i = 0; i < SYNSPRAY_BATCH && budget_left(s); i++) {
        drop_silent(s, now);
        if (s->in_flight == s->n_entries)
            return s->scan_ns > now ? s->scan_ns : now + SYNSPRAY_TURN_NS;
        uint64_t wait = peer_trial_throttle(s->trial);
        if (wait > 0)
            return now + (wait > SYNSPRAY_TURN_NS ? wait : SYNSPRAY_TURN_NS);
        int err = send_probe(s, now);
        if (err < 0) {
            synspray_count_failure(s, err);
            s->capped = true;
            return now + 10 * SYNSPRAY_TURN_NS;
        }
    }
    return budget_left(s) ? now : all_out(s, now);
}

/* Refused before the holes stood: it had no chance yet, and another takes its place at once. */
void synspray_probe_failed(struct synspray *s, struct synspray_entry *e, int err)
{
    synspray_count_failure(s, err);
    s->refused += err == -ECONNREFUSED || err == -ECONNRESET;
    if (!s->other_ready_ns || e->born_ns < s->other_ready_ns)
        s->spent -= e->weight;
    synspray_entry_drop(s, e);
    synspray_wake(s);
}

void synspray_probes_begin(struct synspray *s)
{
    s->spent = 0;
    s->last_ns = 0;
    s->scan_ns = 0;
    s->told_ready = s->told_spent = false;
}
