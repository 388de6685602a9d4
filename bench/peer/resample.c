/*
 * Sampling again, during a trial: where does our NAT have us now? A few STUN requests at once, from the registered
 * socket or from a fresh one, whose mapping is as new as those of the probes to come.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer/internal.h"

#define MAX_TARGETS 4
/* With doubling, 7 RTO in all. */
#define TRIES      3
#define RTO_MIN_NS (50 * BASE_NS_PER_MS)

struct target {
    uint8_t txid[WIRE_STUN_TXID_LEN];
    uint8_t request[WIRE_STUN_HEADER_LEN + 8];
    int request_len;
    union base_ep mapped;
};

struct peer_resampler {
    struct peer_trial *trial;
    struct loop_op timer;
    unsigned socket, tries;
    uint64_t rto_ns;
    bool finished;
    size_t n;
    struct target targets[MAX_TARGETS];
};

/* What the plan was made from. */
static union base_ep planned_with(const struct peer_trial *t)
{
    const struct peer_sample *last = peer_facts_last(&t->ours);
    return last ? last->mapped : (union base_ep){0};
}

static void finish(struct peer_resampler *r)
{
    union base_ep eps[MAX_TARGETS];
    struct peer_event event = {.kind = PEER_EVENT_SAMPLED, .remote = planned_with(r->trial), .eps = eps};
    r->finished = true;
    for (size_t i = 0; i < r->n; i++)
        if (base_ep_is_set(&r->targets[i].mapped))
            eps[event.n_eps++] = r->targets[i].mapped;
    peer_trial_event(r->trial, &event);
}

static bool all_in(const struct peer_resampler *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (!base_ep_is_set(&r->targets[i].mapped))
            return false;
    return true;
}

void peer_resample_stun(struct peer_trial *t, const uint8_t *buf, size_t len)
{
    struct peer_resampler *r = t->resampler;
    struct wire_stun msg;
    if (!r || r->finished || wire_stun_decode(buf, len, &msg) < 0 || msg.cls != WIRE_STUN_SUCCESS)
        return;
    for (size_t i = 0; i < r->n; i++)
        if (memcmp(msg.txid, r->targets[i].txid, sizeof(msg.txid)) == 0)
            r->targets[i].mapped = base_ep_is_set(&msg.xor_mapped) ? msg.xor_mapped : msg.mapped;
    if (all_in(r))
        loop_cancel(t->peer->loop, &r->timer);
}

static void send_round(struct peer_resampler *r)
{
    struct peer *peer = r->trial->peer;
    for (size_t i = 0; i < r->n; i++)
        if (!base_ep_is_set(&r->targets[i].mapped))
            peer_datagrams_send_from(r->trial, r->socket, &peer->stun[i], r->targets[i].request,
                                     (size_t)r->targets[i].request_len);
    loop_timer(peer->loop, &r->timer, base_now_ns() + r->rto_ns);
    r->rto_ns *= 2;
    r->tries++;
}

static void timer_done(struct loop_op *op, int res)
{
    struct peer_resampler *r = op->owner;
    struct peer_trial *t = r->trial;
    (void)res; /* cancelled: all answers are in, or the trial ends */
    if (t->state < PEER_TRIAL_REPORTED && r->tries < TRIES && !all_in(r)) {
        send_round(r);
        return;
    }
    t->resampler = NULL;
    if (t->state < PEER_TRIAL_REPORTED)
        finish(r);
    free(r);
    peer_trial_release(t);
}

static int make_targets(struct peer_resampler *r)
{
    const struct peer *peer = r->trial->peer;
    r->n = peer->n_stun < MAX_TARGETS ? peer->n_stun : MAX_TARGETS;
    for (size_t i = 0; i < r->n; i++) {
        struct target *target = &r->targets[i];
        struct wire_stun_writer w;
        int err = base_random_bytes(target->txid, sizeof(target->txid));
        if (err < 0)
            return err;
        wire_stun_begin(&w, target->request, sizeof(target->request), WIRE_STUN_REQUEST, WIRE_STUN_BINDING,
                        target->txid);
        target->request_len = wire_stun_end(&w, true);
        if (target->request_len < 0)
            return target->request_len;
    }
    return r->n ? 0 : -EDESTADDRREQ;
}

int peer_udp_resample(struct peer_trial *t, unsigned socket)
{
    if (t->resampler)
        return -EBUSY;
    struct peer_resampler *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->trial = t;
    r->socket = socket;
    r->rto_ns = t->peer->rtt_ns + t->peer->rtt_ns / 2 > RTO_MIN_NS ? t->peer->rtt_ns + t->peer->rtt_ns / 2 : RTO_MIN_NS;
    loop_op_init(&r->timer, timer_done, r);
    int err = make_targets(r);
    if (err < 0) {
        free(r);
        return err;
    }
    t->resampler = r;
    peer_trial_hold(t);
    send_round(r);
    return 0;
}

void peer_resample_close(struct peer_trial *t)
{
    if (t->resampler)
        loop_cancel(t->peer->loop, &t->resampler->timer);
}
