/* What TCP and UDP paths share: from a proven message to reply, event, choice and agreement. */
#include <errno.h>

#include "bench/peer/internal.h"

const char *peer_path_name(enum peer_path_kind kind)
{
    static const char *const names[PEER_PATH_KINDS] = {"direct", "private", "hairpin", "relay", "reversed"};
    return kind < PEER_PATH_KINDS ? names[kind] : "direct";
}

void peer_trial_relayed(struct peer_trial *t, const union base_ep *at)
{
    t->relayed = true;
    t->relayed_at = at ? *at : (union base_ep){0};
}

/* A remote endpoint that the plan names is of the plan's kind; the other side's own addresses are private. */
static enum peer_path_kind listed_kind(const struct peer_candidates *c, const union base_ep *remote)
{
    for (size_t i = 0; i < c->n; i++)
        if (base_ep_equal(&c->list[i].ep, remote))
            return c->list[i].kind;
    for (size_t i = 0; i < c->n; i++)
        if (base_ep_same_addr(&c->list[i].ep, remote))
            return c->list[i].kind;
    return PEER_PATH_DIRECT;
}

/*
 * Behind one public address every path that is not private comes through that NAT, whatever endpoint it shows: one that
 * hairpins from the internal source shows an address of its inside. A reversed path was there before the reachable side
 * had begun to send.
 */
static enum peer_path_kind path_kind(const struct peer_trial *t, const union base_ep *remote)
{
    enum peer_path_kind kind = listed_kind(peer_trial_candidates(t), remote);
    if (t->relayed && (!base_ep_is_set(&t->relayed_at) || base_ep_equal(&t->relayed_at, remote)))
        return PEER_PATH_RELAY;
    if (kind != PEER_PATH_DIRECT)
        return kind;
    union base_ep mapped = peer_facts_mapped(&t->ours);
    if (t->have_theirs && remote->sa.sa_family == mapped.sa.sa_family && peer_facts_share_address(&t->ours, &t->theirs))
        return PEER_PATH_HAIRPIN;
    return peer_trial_still_waits(t) ? PEER_PATH_REVERSED : PEER_PATH_DIRECT;
}

void peer_path_init(struct peer_path *path, struct peer_trial *t, const union base_ep *remote, bool stream,
                    uint64_t path_id)
{
    path->trial = t;
    path->remote = *remote;
    path->kind = path_kind(t, remote);
    peer_verify_init(&path->verify, peer_trial_role(t), stream, path_id);
    path->next = t->paths;
    t->paths = path;
}

static void tell(struct peer_path *path, enum peer_event_kind kind, int err)
{
    struct peer_event event = {.kind = kind, .remote = path->remote, .err = err};
    peer_trial_event(path->trial, &event);
}

/* A choice that is not agreed within some round trips may be of a path that is gone: its NAT restarted. */
#define AGREE_RTTS   3
#define AGREE_MIN_NS (150 * BASE_NS_PER_MS)

static bool choice_is_late(const struct peer_trial *t)
{
    uint64_t wait = AGREE_RTTS * t->plan.rtt_ns;
    return !t->agreed && base_now_ns() - t->chosen_ns >= (wait > AGREE_MIN_NS ? wait : AGREE_MIN_NS);
}

static unsigned choose(struct peer_path *path)
{
    struct peer_trial *t = path->trial;
    if (peer_trial_role(t) != WIRE_ROLE_A || (t->chosen && !choice_is_late(t)))
        return 0;
    t->chosen = path;
    t->chosen_ns = base_now_ns();
    return peer_verify_choose(&path->verify);
}

void peer_path_message(struct peer_path *path, const struct wire_path_msg *msg)
{
    struct peer_trial *t = path->trial;
    unsigned news = peer_verify_in(&path->verify, msg);
    if (!path->established_ns)
        path->established_ns = peer_trial_now_ns(t);
    if (news & PEER_NEWS_VERIFIED) {
        path->verified_ns = peer_trial_now_ns(t);
        news |= choose(path);
    }
    if (news & PEER_NEWS_REPLY)
        path->send(path, 0);
    if (news & PEER_NEWS_VERIFIED)
        tell(path, PEER_EVENT_VERIFIED, 0);
    if (msg->flags & WIRE_PATH_HEARTBEAT)
        peer_hold_heard(t, path);
    if (news & PEER_NEWS_AGREED) {
        t->chosen = path;
        peer_trial_agreed(t, path);
        tell(path, PEER_EVENT_CHOSEN, 0);
    }
}

void peer_path_rechoose(struct peer_trial *t)
{
    if (peer_trial_role(t) != WIRE_ROLE_A || !t->chosen || !choice_is_late(t))
        return;
    for (struct peer_path *p = t->paths; p; p = p->next)
        if (p != t->chosen && peer_verify_verified(&p->verify) && !p->verify.chosen_out) {
            choose(p);
            p->send(p, 0);
            return;
        }
}

void peer_path_forget(struct peer_path *path)
{
    struct peer_trial *t = path->trial;
    for (struct peer_path **p = &t->paths; *p; p = &(*p)->next)
        if (*p == path) {
            *p = path->next;
            break;
        }
    if (t->chosen == path)
        t->chosen = NULL;
}

void peer_path_lost(struct peer_path *path, int err)
{
    struct peer_trial *t = path->trial;
    peer_hold_lost(t, path);
    peer_quality_lost(t, path);
    peer_path_forget(path);
    if (err == -EACCES)
        peer_trial_error(t, "auth_failures");
    tell(path, PEER_EVENT_LOST, err);
    if (t->chosen || peer_trial_over(t) || peer_trial_role(t) != WIRE_ROLE_A)
        return;
    for (struct peer_path *p = t->paths; p; p = p->next)
        if (peer_verify_verified(&p->verify)) {
            choose(p);
            p->send(p, 0);
            return;
        }
}
