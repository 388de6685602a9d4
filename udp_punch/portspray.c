/*
 * UDP hole punching. Mode punch is the classic (Ford, Srisuresh, Kegel 2005, section 3): both sides send to the other's
 * public and private endpoints until a path answers. The other modes are for a side whose NAT gives every destination a
 * new port: the opener sends from its registered socket to many ports, the prober from many sockets to the opener. One
 * pair that meets is enough. The chassis verifies, keeps answered paths alive and chooses one.
 */
#include "udp_punch/portspray.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "udp_punch/portspray_internal.h"

/* So long a verified path waits for the agreement, beside which nothing is searched. */
#define AGREE_SILENCES 2

/* ---- turns ----------------------------------------------------------------------------------- */

static uint64_t punch_turn(struct portspray *s, uint64_t now)
{
    const struct peer_candidates *c = peer_trial_candidates(s->trial);
    uint64_t begin_ns = peer_trial_start_ns(s->trial) + peer_trial_wait_ns(s->trial);
    if (now < begin_ns && peer_trial_wait_ns(s->trial) > 0)
        return begin_ns; /* who is to be connected to */
    if (!s->begun)
        peer_trial_count(s->trial, "holes", c->n);
    s->begun = true;
    /* The likeliest last: some NATs let only the last destination answer. */
    for (size_t i = c->n; i-- > 0;) {
        /* A full socket buffer or an unreachable network is for the next round. */
        if (peer_udp_probe(s->trial, &c->list[i].ep) < 0)
            peer_trial_error(s->trial, "send_failed");
    }
    if (base_ep_is_set(&s->target))
        peer_udp_probe(s->trial, &s->target);
    return now + s->interval_ns;
}

/* A verified path is agreed within a round trip or two. One that is not may have lost its NAT. */
static bool agreement_late(const struct portspray *s, uint64_t now, uint64_t *when)
{
    *when = s->verified_ns + AGREE_SILENCES * portspray_silence_of(s->plan.rtt_ns);
    return now >= *when;
}

void portspray_unverify(struct portspray *s)
{
    if (!s->verified)
        return;
    s->verified = false;
    portspray_wake(s);
}

static uint64_t next_turn(struct portspray *s, uint64_t now)
{
    uint64_t when;
    if (s->verified && !agreement_late(s, now, &when))
        return when;
    s->verified = false;
    return s->punch ? punch_turn(s, now) : s->aiming ? portspray_holes_turn(s, now) : portspray_probes_turn(s, now);
}

static void turn(struct portspray *s)
{
    if (s->stopping || peer_trial_over(s->trial))
        return;
    uint64_t next = next_turn(s, base_now_ns());
    if (next != UINT64_MAX && !s->stopping && !s->timer.pending)
        loop_timer(peer_trial_loop(s->trial), &s->timer, next);
}

static void timer_done(struct loop_op *op, int res)
{
    struct portspray *s = op->owner;
    (void)res; /* cancelled: something has happened, so it is looked at now */
    if (s->closing)
        peer_trial_closed(s->trial);
    else
        turn(s);
}

void portspray_wake(struct portspray *s)
{
    if (s->timer.pending)
        loop_cancel(peer_trial_loop(s->trial), &s->timer);
    else if (!s->stopping)
        loop_timer(peer_trial_loop(s->trial), &s->timer, base_now_ns());
}

/* ---- the contract ---------------------------------------------------------------------------- */

/*
 * A later attempt changes the strategy where that was left open: holes that came before the probes and failed may have
 * met a NAT that answers such packets, and that then keeps the port for itself. Behind probes they find mappings.
 */
static bool waits_for_other(const struct portspray *s, unsigned attempt)
{
    const struct peer_search *p = &s->plan.search;
    bool open = p->order == PEER_TOGETHER && p->ttl == PEER_TTL_OFF;
    enum peer_order order = p->careful            ? peer_search_attempt(&s->plan, attempt).order
                            : attempt > 0 && open ? PEER_PROBES_FIRST
                                                  : p->order;
    return order == (s->opener ? PEER_PROBES_FIRST : PEER_HOLES_FIRST);
}

static void set_ttl(struct portspray *s, uint16_t ttl)
{
    s->ttl = ttl == PEER_TTL_AUTO ? -1 : ttl;
}

void portspray_attempt(struct portspray *s, unsigned n)
{
    s->attempt = n;
    if (n > 0)
        peer_trial_attempt(s->trial, n);
    s->begin_ns = waits_for_other(s, n) ? UINT64_MAX : 0;
    s->round = 0;
    s->round_begun = s->done = s->told_ready = s->told_spent = false;
    s->first_out_ns = s->other_ready_ns = s->quiet_ns = 0;
    s->n_batch = 0;
    if (s->plan.search.careful)
        set_ttl(s, peer_search_attempt(&s->plan, n).ttl);
}

static int copy_list(const struct peer_candidates *from, struct peer_candidates *to)
{
    *to = (struct peer_candidates){.n = from->n};
    if (from->n == 0)
        return 0;
    to->list = malloc(from->n * sizeof(from->list[0]));
    if (!to->list)
        return -ENOMEM;
    memcpy(to->list, from->list, from->n * sizeof(from->list[0]));
    return 0;
}

static enum portspray_order order_of(const char *name)
{
    return strcmp(name, "scan") == 0     ? PORTSPRAY_SCAN
           : strcmp(name, "random") == 0 ? PORTSPRAY_SHUFFLED
                                         : PORTSPRAY_OUTWARD;
}

/* Each side's own pace: presets let the prober's sockets go at once, and the holes one by one. */
static void set_pace(struct portspray *s, const struct peer_options *o)
{
    uint64_t rate = s->plan.search.rate, n;
    if (!s->aiming && peer_option_number(o, "probe-rate", &n))
        rate = n;
    base_bucket_init(&s->bucket, (double)rate, (double)peer_option_u64(o, "burst"), base_now_ns());
}

static int open_search(struct portspray *s)
{
    struct peer_trial *t = s->trial;
    const struct peer_options *o = peer_trial_options(t);
    const struct peer_search *p = &s->plan.search;
    uint64_t rounds;
    s->opener = p->opener == peer_trial_role(t);
    s->aiming = s->opener && !p->meet;
    s->full = strcmp(s->plan.mode, "full") == 0;
    s->order = order_of(peer_option_text(o, "sweep"));
    s->attempts = p->attempts;
    /* A second round is for lost packets. A hole is open when its packet has left the NAT, a probe has to arrive. */
    s->rounds = peer_option_number(o, "rounds", &rounds) ? (uint32_t)rounds : s->aiming ? 1 : 2;
    set_ttl(s, p->ttl);
    set_pace(s, o);
    portspray_attempt(s, 0);
    if (peer_trial_candidates(t)->n > 0)
        s->target = peer_trial_candidates(t)->list[0].ep;
    else if (!s->aiming)
        return -EBADMSG;
    return s->aiming ? 0 : portspray_probes_open(s);
}

static int portspray_open(struct peer_trial *t)
{
    struct portspray *s = peer_trial_state(t);
    const struct peer_plan *plan = peer_trial_plan(t);
    s->trial = t;
    s->plan = *plan;
    s->plan.for_a = s->plan.for_b = (struct peer_candidates){.list = NULL};
    s->interval_ns = peer_option_u64(peer_trial_options(t), "interval");
    s->punch = !plan->search.on || plan->search.known;
    loop_op_init(&s->timer, timer_done, s);
    if (s->punch)
        return 0;
    int err = copy_list(&plan->for_a, &s->plan.for_a);
    if (err == 0)
        err = copy_list(&plan->for_b, &s->plan.for_b);
    return err < 0 ? err : open_search(s);
}

static void portspray_go(struct peer_trial *t)
{
    struct portspray *s = peer_trial_state(t);
    /* The bucket's burst is for the start. */
    s->bucket.last_ns = base_now_ns();
    turn(s);
}

static void stop(struct portspray *s)
{
    s->stopping = true;
    loop_cancel(peer_trial_loop(s->trial), &s->timer);
}

static void portspray_event(struct peer_trial *t, const struct peer_event *event)
{
    struct portspray *s = peer_trial_state(t);
    if (event->kind == PEER_EVENT_VERIFIED) {
        s->verified = true; /* the spray ends here; the chassis agrees with the other side */
        s->verified_ns = base_now_ns();
        if (!s->timer.pending)
            portspray_wake(s);
    } else if (event->kind == PEER_EVENT_CHOSEN)
        stop(s);
    else if (event->kind == PEER_EVENT_REJOINED && !s->stopping)
        portspray_rejoined(s);
    else if (event->kind == PEER_EVENT_NOTE && !s->stopping)
        portspray_note(s, event->note, event->note_len);
    else if (event->kind == PEER_EVENT_SAMPLED && !s->stopping)
        portspray_sampled(s, &event->remote, event->eps, event->n_eps);
}

static void portspray_close(struct peer_trial *t)
{
    struct portspray *s = peer_trial_state(t);
    s->closing = true;
    stop(s);
    free(s->plan.for_a.list);
    free(s->plan.for_b.list);
    if (!s->timer.pending)
        peer_trial_closed(t);
}

static const char *const modes[] = {"punch", "window", "random", "full", "auto", NULL};
static const char *const dual_modes[] = {"punch", "auto", NULL};
static const char *const sweeps[] = {"outward", "scan", "random", NULL};
static const char *const auto_word[] = {"auto", NULL};
static const char *const same_word[] = {"same", NULL};

#define OWN_OPTIONS 6
static const struct peer_option own_options[OWN_OPTIONS] = {
    {.name = "interval",
     .arg = "TIME",
     .value = "20ms",
     .help = "time between two probes to one endpoint",
     .kind = PEER_OPT_DURATION,
     .lo = BASE_NS_PER_MS,
     .hi = 10 * BASE_NS_PER_S},
    {.name = "rounds",
     .arg = "N",
     .value = "auto",
     .help = "how often a search repeats its packets; 0: until the deadline; auto: each hole once, each probe twice",
     .kind = PEER_OPT_WORD_OR_U64,
     .lo = 0,
     .hi = 100000,
     .choices = auto_word},
    {.name = "burst",
     .arg = "N",
     .value = "64",
     .help = "packets of a search that may go at once",
     .kind = PEER_OPT_U64,
     .lo = 1,
     .hi = 65535},
    {.name = "probe-rate",
     .arg = "N",
     .value = "same",
     .help = "new probes a second at most, where it is another than --rate; 0: unlimited",
     .kind = PEER_OPT_WORD_OR_U64,
     .lo = 0,
     .hi = 10000000,
     .choices = same_word},
    {.name = "sweep",
     .arg = "ORDER",
     .value = "outward",
     .help = "how mode full goes through the ports: from the predicted one outward, upward, or in random order",
     .kind = PEER_OPT_CHOICE,
     .choices = sweeps},
    {.name = "keepalive",
     .arg = "TIME",
     .value = "5s",
     .help = "time between two heartbeats, to the server during a trial and on the chosen path after it; 0: none",
     .kind = PEER_OPT_DURATION,
     .lo = 0,
     .hi = 3600 * BASE_NS_PER_S},
};

/* The search's options, then its own: filled in before main(), for tables of two rooms cannot be joined by the
 * compiler. */
static struct peer_option options[PEER_SEARCH_N_OPTIONS + OWN_OPTIONS];

__attribute__((constructor)) static void join_options(void)
{
    memcpy(options, peer_search_options, sizeof(peer_search_options));
    memcpy(options + PEER_SEARCH_N_OPTIONS, own_options, sizeof(own_options));
}

const struct peer_technique portspray_technique = {
    .name = "portspray",
    .doc = "Punches a UDP path through two NATs, and measures it: whether it succeeds, how long it takes, why it "
           "fails.",
    .transport = PEER_UDP,
    .modes = modes,
    .dual_modes = dual_modes,
    .options = options,
    .n_options = BASE_ARRAY_LEN(options),
    .plan = portspray_plan,
    .state_size = sizeof(struct portspray),
    .open = portspray_open,
    .go = portspray_go,
    .event = portspray_event,
    .close = portspray_close,
};
