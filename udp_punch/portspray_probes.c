/*
 * The prober: one proof from each of its sockets to the opener's one endpoint, paced. Each socket gets a mapping of its
 * own. A later round repeats from the same sockets: it makes no new mappings. Nor does a search after the NAT has
 * restarted: those sockets that went on meanwhile have new mappings already, as good as any, and a NAT may allow a host
 * only so many.
 */
#include <errno.h>
#include <string.h>

#include "udp_punch/portspray_internal.h"

#define TURN_NS BASE_NS_PER_MS
/* A socket's first packet, its mapping and the NAT's work take some 5 us. */
#define TURN_PROBES 64

static bool draws(const struct portspray *s)
{
    return strcmp(s->plan.mode, "random") == 0 || peer_strategy_of(&s->plan, s->attempt) == PEER_STRATEGY_RANDOM;
}

int portspray_probes_open(struct portspray *s)
{
    struct peer_search search = peer_search_attempt(&s->plan, s->attempt);
    uint32_t want = s->opener ? search.holes : search.probes;
    bool keep = s->forgotten && draws(s) && 2 * s->n_sockets >= want;
    s->next_probe = 0;
    s->forgotten = false;
    if (keep) {
        s->n_sockets = s->n_sockets < want ? s->n_sockets : want;
        return 0;
    }
    s->n_sockets = s->attempt == 0 ? 1 : 0; /* the registered one is the first attempt's */
    s->first_socket = 0;
    while (s->n_sockets < want) {
        int socket = peer_udp_socket(s->trial);
        if (socket < 0) {
            peer_trial_error(s->trial, socket == -EMFILE || socket == -ENFILE ? "no_files" : "no_sockets");
            break;
        }
        if (s->attempt > 0 && s->n_sockets == 0)
            s->first_socket = (unsigned)socket;
        s->n_sockets++;
    }
    return s->n_sockets ? 0 : -EMFILE;
}

/* Whether the next round may begin: the second one is for what was lost, so it waits for the other side's first. */
static bool round_due(const struct portspray *s, uint64_t now, uint64_t *when)
{
    uint64_t numbers_say;
    if (s->round == 0)
        return true;
    *when = s->round_ns + s->interval_ns;
    if (!peer_option_number(peer_trial_options(s->trial), "rounds", &numbers_say) && !s->other_ready_ns)
        *when = UINT64_MAX;
    return *when <= now;
}

static void round_out(struct portspray *s)
{
    if (s->round == 0) {
        s->first_out_ns = base_now_ns();
        portspray_tell_ready(s);
    }
    s->round++;
    s->round_begun = false;
    s->next_probe = 0;
    s->done = s->rounds && s->round >= s->rounds;
}

/* The last probe, and the last hole, have had their round trips. */
static uint64_t all_out(struct portspray *s, uint64_t now)
{
    if (s->opener || !s->other_ready_ns)
        return UINT64_MAX;
    uint64_t last = s->quiet_ns > s->other_ready_ns ? s->quiet_ns : s->other_ready_ns;
    uint64_t end = last + portspray_silence_of(s->plan.rtt_ns);
    if (now < end)
        return end;
    portspray_spent(s);
    return UINT64_MAX;
}

/* 0, or when to come again. */
static uint64_t send_one(struct portspray *s, uint64_t now)
{
    if (!base_bucket_take(&s->bucket, now)) {
        uint64_t wait = base_bucket_wait_ns(&s->bucket, 1, now);
        return now + (wait > TURN_NS ? wait : TURN_NS);
    }
    int sent = peer_udp_probe_many(s->trial, s->first_socket + s->next_probe, &s->target, 1, 0);
    if (sent == -EAGAIN || sent == -ENOBUFS)
        return now + TURN_NS;
    if (sent < 0)
        peer_trial_error(s->trial, "send_failed");
    else if (s->round == 0)
        peer_trial_count(s->trial, "probes", 1);
    s->next_probe++;
    s->quiet_ns = now;
    return 0;
}

uint64_t portspray_probes_turn(struct portspray *s, uint64_t now)
{
    uint64_t when = UINT64_MAX;
    if (now < s->begin_ns)
        return s->begin_ns;
    if (s->done)
        return all_out(s, now);
    if (!s->round_begun) {
        if (!round_due(s, now, &when))
            return when;
        s->round_begun = true;
        s->round_ns = now;
    }
    for (int i = 0; i < TURN_PROBES && s->next_probe < s->n_sockets; i++) {
        uint64_t again = send_one(s, now);
        if (again)
            return again;
    }
    if (s->next_probe < s->n_sockets)
        return now;
    round_out(s);
    return s->done ? all_out(s, now) : round_due(s, now, &when) ? now : when;
}
