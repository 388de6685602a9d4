/*
 * The last resort of mode auto: where punching is infeasible, has failed, or has had half of the deadline, another
 * technique goes on in the same trial. Role a begins, for it has what that needs; role b follows when the first note of
 * it comes, or when its own punching has failed. Both techniques' notes go through S: those of the last resort are
 * marked.
 */
#include <errno.h>
#include <string.h>

#include "bench/peer/internal.h"

/* Punching mostly takes some round trips, and the last resort needs several: each has half of the time. */
#define PUNCH_SHARE 2
/* No technique's own notes begin with this. */
#define MARK     0xff
#define NOTE_MAX 255

bool peer_resort_given(const struct peer_options *o, const struct peer_technique *technique)
{
    const struct peer_technique *last = technique->last_resort;
    return last && strcmp(peer_option_text(o, "mode"), "auto") == 0 && *peer_option_text(o, last->options[0].name);
}

/* ---- services of its own ---------------------------------------------------------------------- */

enum peer_transport peer_trial_transport(const struct peer_trial *t)
{
    return peer_trial_is_tcp(t) ? PEER_TCP : PEER_UDP;
}

size_t peer_trial_other(const struct peer_trial *t, union base_ep out[PEER_MAX_ADDRESSES])
{
    return t->theirs.n_samples ? peer_facts_addresses(&t->theirs, out) : 0;
}

/* ---- notes ----------------------------------------------------------------------------------- */

int peer_trial_note(struct peer_trial *t, const void *bytes, size_t len)
{
    uint8_t marked[1 + NOTE_MAX] = {MARK};
    if (t->resort.on && len > NOTE_MAX)
        return -EMSGSIZE;
    if (t->resort.on) {
        memcpy(marked + 1, bytes, len);
        bytes = marked;
        len++;
    }
    struct wire_writer *w = peer_control_begin(t->peer, WIRE_NOTE);
    wire_put_bytes(w, WIRE_F_BODY, bytes, len);
    peer_control_end(t->peer);
    return 0;
}

/* ---- taking over ----------------------------------------------------------------------------- */

static void mark(struct peer_trial *t, uint64_t after_ns)
{
    t->resort.on = t->steps.relay = true;
    t->steps.relay_ns = after_ns;
    t->acting = t->technique->last_resort;
    peer_trial_field(t, "resort_ns", json_integer((json_int_t)after_ns));
}

static void begin(struct peer_trial *t)
{
    if (t->resort.on || t->state != PEER_TRIAL_PUNCHING || t->agreed)
        return;
    if (t->technique_open)
        t->acting->close(t); /* it may take its time: its state stays until the trial goes */
    t->resort.punch_state = t->technique_state;
    t->technique_state = NULL;
    t->technique_open = false;
    mark(t, peer_trial_now_ns(t) - t->start_ns);
    int err = peer_trial_open(t);
    if (err < 0)
        peer_trial_finish(t, RECORD_ERROR, err);
    else
        t->acting->go(t);
}

static void timer_done(struct loop_op *op, int res)
{
    struct peer_trial *t = op->owner;
    if (res == 0 || t->resort.due)
        begin(t);
    peer_trial_release(t);
}

static void set_timer(struct peer_trial *t, uint64_t when_ns)
{
    peer_trial_hold(t);
    loop_timer(t->peer->loop, &t->resort.timer, when_ns);
}

void peer_resort_init(struct peer_trial *t)
{
    loop_op_init(&t->resort.timer, timer_done, t);
}

void peer_resort_instead(struct peer_trial *t)
{
    mark(t, 0);
}

void peer_resort_wait(struct peer_trial *t)
{
    if (t->plan.resort && !t->resort.on && peer_trial_role(t) == WIRE_ROLE_A && !peer_trial_over(t))
        set_timer(t, t->start_ns + t->plan.deadline_ns / PUNCH_SHARE);
}

bool peer_resort_takes_over(struct peer_trial *t, enum record_outcome outcome)
{
    if (!t->plan.resort || t->resort.on)
        return false;
    if (t->resort.failed)
        return true;
    t->resort.failed = t->resort.due = true;
    t->resort.outcome = outcome;
    /* Not from within the technique: it is to be closed. */
    if (t->resort.timer.pending)
        loop_cancel(t->peer->loop, &t->resort.timer);
    else
        set_timer(t, base_now_ns());
    return true;
}

void peer_resort_noted(struct peer_trial *t, const struct peer_event *note)
{
    struct peer_event event = *note;
    bool marked = t->plan.resort && note->note_len > 0 && note->note[0] == MARK;
    if (marked && peer_trial_role(t) == WIRE_ROLE_B)
        begin(t);
    if (marked != t->resort.on)
        return; /* of a technique that acts no longer, or not yet */
    if (marked) {
        event.note++;
        event.note_len--;
    }
    peer_trial_event(t, &event);
}

void peer_resort_close(struct peer_trial *t)
{
    loop_cancel(t->peer->loop, &t->resort.timer);
}
