/*
 * What a trial does with the path that was agreed, before it reports: holds it in silence (--hold-for), then measures
 * it
 * (--quality). Punching has what these leave of --timeout.
 */
#include <errno.h>
#include <stdio.h>

#include "bench/peer/internal.h"

static void explain(const struct peer_options *options, uint64_t needed_ns, char *why, size_t cap)
{
    bool hold = peer_hold_for_ns(options), quality = peer_quality_ns(options);
    snprintf(why, cap, "--timeout %s leaves no time beside %s%s%s%s%s: make it %llus or more",
             peer_option_text(options, "timeout"), hold ? "--hold-for " : "",
             hold ? peer_option_text(options, "hold-for") : "", hold && quality ? " and " : "",
             quality ? "--quality " : "", quality ? peer_option_text(options, "quality") : "",
             (unsigned long long)((needed_ns + BASE_NS_PER_S - 1) / BASE_NS_PER_S));
}

int peer_after_deadline(const struct peer_options *options, struct peer_plan *plan)
{
    uint64_t hold = peer_hold_for_ns(options), quality = peer_quality_ns(options);
    uint64_t after = (hold ? hold + PEER_HOLD_EXTRA_NS : 0) + (quality ? 2 * quality + PEER_QUALITY_EXTRA_NS : 0);
    plan->deadline_ns = peer_option_u64(options, "timeout");
    if (after && plan->deadline_ns < after + PEER_AFTER_PUNCH_NS) {
        explain(options, after + PEER_AFTER_PUNCH_NS, plan->why, sizeof(plan->why));
        return -EINVAL;
    }
    plan->deadline_ns -= after;
    return 0;
}

void peer_after_held(struct peer_trial *t)
{
    if (peer_quality_ns(&t->peer->config.options))
        peer_quality_begin(t);
    else
        peer_trial_finish(t, RECORD_OK, 0);
}

void peer_after_agreed(struct peer_trial *t)
{
    /* Role a may choose again before it knows that b has agreed: what has begun goes on with the path of now. */
    if (t->hold.on || t->quality.begun)
        return;
    if (peer_hold_for_ns(&t->peer->config.options))
        peer_hold_begin(t);
    else
        peer_after_held(t);
}
