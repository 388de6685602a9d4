/*
 * UDP hole punching. Mode punch is the classic (Ford, Srisuresh, Kegel 2005, section 3): both sides send to the other's
 * public and private endpoints until a path answers. The chassis verifies, keeps answered paths alive and chooses one.
 */
#include "udp_punch/portspray.h"

#include <errno.h>

struct portspray {
    struct peer_trial *trial;
    struct loop_op timer;
    uint64_t interval_ns;
    bool closing;
};

static void probe_all(struct portspray *s)
{
    const struct peer_candidates *c = peer_trial_candidates(s->trial);
    /* The likeliest last: some NATs let only the last destination answer. */
    for (size_t i = c->n; i-- > 0;) {
        /* A full socket buffer or an unreachable network is for the next round. */
        if (peer_udp_probe(s->trial, &c->list[i].ep) < 0)
            peer_trial_error(s->trial, "send_failed");
    }
}

static void timer_done(struct loop_op *op, int res)
{
    struct portspray *s = op->owner;
    if (res == 0 && !s->closing && !peer_trial_over(s->trial)) {
        probe_all(s);
        loop_timer(peer_trial_loop(s->trial), op, base_now_ns() + s->interval_ns);
    } else if (s->closing) {
        peer_trial_closed(s->trial);
    }
}

static int portspray_open(struct peer_trial *t)
{
    struct portspray *s = peer_trial_state(t);
    s->trial = t;
    s->interval_ns = peer_option_u64(peer_trial_options(t), "interval");
    loop_op_init(&s->timer, timer_done, s);
    return 0;
}

static void portspray_go(struct peer_trial *t)
{
    struct portspray *s = peer_trial_state(t);
    peer_trial_count(t, "holes", peer_trial_candidates(t)->n);
    probe_all(s);
    loop_timer(peer_trial_loop(t), &s->timer, peer_trial_start_ns(t) + s->interval_ns);
}

static void portspray_event(struct peer_trial *t, const struct peer_event *event)
{
    struct portspray *s = peer_trial_state(t);
    if (event->kind == PEER_EVENT_CHOSEN)
        loop_cancel(peer_trial_loop(t), &s->timer);
}

static void portspray_close(struct peer_trial *t)
{
    struct portspray *s = peer_trial_state(t);
    s->closing = true;
    if (s->timer.pending)
        loop_cancel(peer_trial_loop(t), &s->timer);
    else
        peer_trial_closed(t);
}

static const char *const modes[] = {"punch", NULL};

static const struct peer_option options[] = {
    {.name = "interval",
     .arg = "TIME",
     .value = "20ms",
     .help = "time between two probes to one endpoint",
     .kind = PEER_OPT_DURATION,
     .lo = BASE_NS_PER_MS,
     .hi = 10 * BASE_NS_PER_S},
};

const struct peer_technique portspray_technique = {
    .name = "portspray",
    .doc = "Punches a UDP path through two NATs, and measures it: whether it succeeds, how long it takes, why it "
           "fails.",
    .transport = PEER_UDP,
    .modes = modes,
    .options = options,
    .n_options = BASE_ARRAY_LEN(options),
    .plan = portspray_plan,
    .state_size = sizeof(struct portspray),
    .open = portspray_open,
    .go = portspray_go,
    .event = portspray_event,
    .close = portspray_close,
};
