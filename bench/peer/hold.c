/*
 * --hold-for: how long does a path live without traffic? After the agreement both sides keep silent for that time; then
 * one side speaks, and the other answers. Only one: a packet of the other would open the way anew. What lives is what
 * a user has who comes back after a pause: the speaker's own NAT may have made it a new mapping, and then the other
 * side's filter decides.
 */
#include <string.h>

#include "bench/peer/internal.h"

/* The speaker repeats its word: a lost packet is no dead path. */
#define WORDS       4
#define WORD_MIN_NS (100 * BASE_NS_PER_MS)
#define WORD_MAX_NS (300 * BASE_NS_PER_MS)

uint64_t peer_hold_for_ns(const struct peer_options *o)
{
    return peer_option_u64(o, "hold-for");
}

static bool speaks(const struct peer_trial *t)
{
    bool a = strcmp(peer_option_text(&t->peer->config.options, "hold-by"), "a") == 0;
    return a == (t->peer->role == WIRE_ROLE_A);
}

static uint64_t word_ns(const struct peer_trial *t)
{
    uint64_t word = t->plan.rtt_ns + t->plan.rtt_ns / 2;
    return word < WORD_MIN_NS ? WORD_MIN_NS : word > WORD_MAX_NS ? WORD_MAX_NS : word;
}

static void settle(struct peer_trial *t, bool alive)
{
    if (t->hold.settled)
        return;
    t->hold.settled = true;
    loop_cancel(t->peer->loop, &t->hold.timer);
    peer_trial_field(t, "hold_ns", json_integer((json_int_t)peer_hold_for_ns(&t->peer->config.options)));
    peer_trial_field(t, "hold_alive", json_boolean(alive));
    if (!alive && strcmp(peer_option_text(&t->peer->config.options, "hold-dead"), "fail") == 0) {
        peer_trial_why(t, "path_died");
        peer_trial_finish(t, RECORD_TIMEOUT, 0);
    } else if (alive) {
        peer_after_held(t);
    } else {
        peer_trial_finish(t, RECORD_OK, 0);
    }
}

static void again(struct peer_trial *t, uint64_t when_ns)
{
    peer_trial_hold(t);
    loop_timer(t->peer->loop, &t->hold.timer, when_ns);
}

static void timer_done(struct loop_op *op, int res)
{
    struct peer_trial *t = op->owner;
    if (res == 0 && !t->hold.settled && t->state == PEER_TRIAL_PUNCHING && t->chosen) {
        if (speaks(t) && t->hold.words < WORDS) {
            t->hold.words++;
            t->chosen->send(t->chosen, WIRE_PATH_HEARTBEAT);
            again(t, base_now_ns() + word_ns(t));
        } else {
            settle(t, false);
        }
    }
    peer_trial_release(t);
}

void peer_hold_begin(struct peer_trial *t)
{
    uint64_t until = t->agreed_ns + peer_hold_for_ns(&t->peer->config.options);
    t->hold.on = true;
    loop_op_init(&t->hold.timer, timer_done, t);
    /* Who listens waits for all the words; the two agreed within a round trip or two. */
    again(t, speaks(t) ? until : until + (WORDS + 1) * word_ns(t) + PEER_HOLD_SLACK_NS);
}

void peer_hold_heard(struct peer_trial *t, const struct peer_path *path)
{
    if (!t->hold.on || path != t->chosen)
        return;
    if (!speaks(t))
        t->chosen->send(t->chosen, WIRE_PATH_HEARTBEAT);
    if (!speaks(t) || t->hold.words > 0)
        settle(t, true);
}

void peer_hold_lost(struct peer_trial *t, const struct peer_path *path)
{
    if (t->hold.on && path == t->chosen)
        settle(t, false);
}

void peer_hold_close(struct peer_trial *t)
{
    if (t->hold.on)
        loop_cancel(t->peer->loop, &t->hold.timer);
}
