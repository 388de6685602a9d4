/*
 * Spraying SYNs: TCP through a NAT that gives every connection a new port. The opener, whose mapping stays, opens holes
 * to many candidate ports; the prober connects from many ports. One pair that meets is enough.
 *
 * Between the sides, through S: "ready" (all my holes, or probes, are out); when the prober's budget is used up and
 * nothing came, either "next" (it begins another attempt) or "spent", which the opener answers with its "verdict".
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tcp_punch/synspray_internal.h"

enum note { NOTE_READY = 1, NOTE_SPENT, NOTE_VERDICT, NOTE_NEXT };

static void maybe_closed(struct synspray *s)
{
    if (!s->closing || s->closed || s->ready_op.pending || s->turn_op.pending || s->accept_op.pending)
        return;
    s->closed = true;
    json_decref(s->attempts);
    s->attempts = NULL;
    synspray_sockets_close(s);
    peer_trial_closed(s->trial);
}

void synspray_count_failure(struct synspray *s, int err)
{
    const char *name = err == -ECONNREFUSED                          ? "refused"
                       : err == -ECONNRESET                          ? "reset"
                       : err == -EADDRNOTAVAIL || err == -EADDRINUSE ? "port_busy"
                       : err == -EHOSTUNREACH || err == -ENETUNREACH ? "unreachable"
                       : err == -ETIMEDOUT                           ? "timed_out"
                       : err == -EMFILE || err == -ENFILE            ? "no_files"
                                                                     : "failed";
    peer_trial_error(s->trial, name);
}

uint64_t synspray_silence_ns(const struct synspray *s)
{
    uint64_t silence = SYNSPRAY_SILENCE_RTTS * s->plan->rtt_ns;
    return silence > SYNSPRAY_SILENCE_MIN_NS ? silence : SYNSPRAY_SILENCE_MIN_NS;
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void turn(struct synspray *s)
{
    if (s->stopping || peer_trial_over(s->trial))
        return;
    uint64_t now = base_now_ns();
    uint64_t next = s->aiming ? synspray_holes_turn(s, now) : synspray_probes_turn(s, now);
    if (next != UINT64_MAX && !s->stopping && !s->turn_op.pending)
        loop_timer(peer_trial_loop(s->trial), &s->turn_op, next);
}

static void turn_done(struct loop_op *op, int res)
{
    struct synspray *s = op->owner;
    (void)res; /* cancelled: something has happened, so it is looked at now */
    turn(s);
    maybe_closed(s);
}

void synspray_wake(struct synspray *s)
{
    if (s->turn_op.pending)
        loop_cancel(peer_trial_loop(s->trial), &s->turn_op);
    else if (!s->stopping)
        loop_timer(peer_trial_loop(s->trial), &s->turn_op, base_now_ns());
}

static void ready_done(struct loop_op *op, int res)
{
    struct synspray *s = op->owner;
    if (!s->stopping && res > 0)
        synspray_ready(s);
    if (!s->stopping)
        loop_poll(peer_trial_loop(s->trial), op, s->epoll_fd, POLLIN);
    maybe_closed(s);
}

static void accept_done(struct loop_op *op, int res)
{
    struct synspray *s = op->owner;
    union base_ep remote = {0};
    socklen_t len = sizeof(remote);
    if (res >= 0 && (s->stopping || getpeername(res, &remote.sa, &len) < 0)) {
        synspray_close_fd(res);
    } else if (res >= 0) {
        peer_trial_count(s->trial, "accepted", 1);
        s->landed++;
        if (peer_tcp_offer(s->trial, res, &remote) == 0)
            s->live++;
    }
    if (!s->stopping)
        loop_accept(peer_trial_loop(s->trial), op, s->listen_fd);
    maybe_closed(s);
}

/* ---- between the sides ----------------------------------------------------------------------- */

static void tell(struct synspray *s, enum note kind, uint8_t what)
{
    uint8_t note[] = {(uint8_t)kind, (uint8_t)s->attempt, what, 0};
    peer_trial_note(s->trial, note, sizeof(note));
}

void synspray_tell_ready(struct synspray *s)
{
    if (s->told_ready)
        return;
    s->told_ready = true;
    tell(s, NOTE_READY, 0);
}

/* ---- attempts -------------------------------------------------------------------------------- */

static bool waits_for_other(const struct synspray *s)
{
    const struct peer_search *p = &s->search;
    if (p->known)
        return false;
    if (s->opener)
        return p->order == PEER_PROBES_FIRST && s->mode == SYNSPRAY_HOLD;
    /* Without sockets that answer, only a finished listener can. */
    return p->order == PEER_HOLES_FIRST || s->mode != SYNSPRAY_HOLD;
}

static void begin_attempt(struct synspray *s, unsigned attempt)
{
    s->attempt = attempt;
    s->search = peer_search_attempt(s->plan, attempt);
    s->attempt_ns = attempt == 0 ? peer_trial_start_ns(s->trial) : base_now_ns();
    uint64_t wait_ns = peer_trial_wait_ns(s->trial);
    s->begin_ns = waits_for_other(s) ? UINT64_MAX : wait_ns > 0 ? s->attempt_ns + wait_ns : 0;
    s->other_ready_ns = 0;
    s->done = s->refused = s->landed = 0;
    if (s->aiming)
        synspray_holes_begin(s);
    else
        synspray_probes_begin(s);
}

/* One more line for the record. */
static void note_attempt(struct synspray *s)
{
    const struct peer_search *p = &s->search;
    uint64_t now = base_now_ns();
    if (!s->attempts)
        s->attempts = json_array();
    json_t *line = json_pack("{s:s, s:i, s:i, s:i, s:I}", "order", peer_order_name(p->order), "packets", (int)s->done,
                             "refused", (int)s->refused, "landed", (int)s->landed, "ns",
                             (json_int_t)(now > s->attempt_ns ? now - s->attempt_ns : 0));
    if (s->plan->strategy)
        json_object_set_new(line, "strategy", json_string(peer_strategy_name(peer_strategy_of(s->plan, s->attempt))));
    if (s->opener)
        json_object_set_new(line, "ttl", s->ttl > 0 ? json_integer(s->ttl) : json_null());
    json_array_append_new(s->attempts, line);
    peer_trial_field(s->trial, "attempts", json_incref(s->attempts));
}

static void next_attempt(struct synspray *s)
{
    note_attempt(s);
    synspray_drop_all(s);
    begin_attempt(s, s->attempt + 1);
    peer_trial_attempt(s->trial, s->attempt);
    synspray_wake(s);
}

void synspray_spent(struct synspray *s)
{
    if (s->told_spent)
        return;
    s->told_spent = true;
    if (s->attempt + 1 < s->search.attempts) {
        next_attempt(s);
        tell(s, NOTE_NEXT, 0);
    } else {
        tell(s, NOTE_SPENT, 0);
    }
}

static void fail(struct synspray *s, enum record_outcome outcome, const char *why)
{
    if (*why)
        peer_trial_why(s->trial, why);
    note_attempt(s);
    peer_trial_fail(s->trial, outcome);
}

static void on_ready_note(struct synspray *s)
{
    s->other_ready_ns = base_now_ns();
    if (s->begin_ns == UINT64_MAX)
        s->begin_ns = s->other_ready_ns;
    synspray_wake(s);
}

/* kind, attempt, outcome (of a verdict), reason (of a verdict) */
static void on_note(struct synspray *s, const uint8_t *note, size_t len)
{
    if (len < 4)
        return;
    if (note[0] == NOTE_NEXT && s->opener && note[1] == (uint8_t)(s->attempt + 1) &&
        s->attempt + 1 < s->search.attempts) {
        next_attempt(s);
        return;
    }
    if (note[1] != (uint8_t)s->attempt)
        return;
    if (note[0] == NOTE_READY) {
        on_ready_note(s);
    } else if (note[0] == NOTE_SPENT && s->opener && s->live == 0) {
        struct synspray_verdict v = synspray_judge(s, RECORD_PREDICT_MISS);
        uint8_t verdict[] = {NOTE_VERDICT, (uint8_t)s->attempt, (uint8_t)v.outcome, synspray_why_number(v.why)};
        peer_trial_note(s->trial, verdict, sizeof(verdict));
        fail(s, v.outcome, v.why);
    } else if (note[0] == NOTE_VERDICT && !s->opener && s->live == 0 && note[2] < RECORD_OUTCOMES &&
               note[2] != RECORD_OK) {
        fail(s, (enum record_outcome)note[2], synspray_why_name(note[3]));
    }
}

static enum record_outcome synspray_explain(struct peer_trial *t, enum record_outcome outcome)
{
    struct synspray *s = peer_trial_state(t);
    struct synspray_verdict v = synspray_judge(s, outcome);
    if (*v.why)
        peer_trial_why(t, v.why);
    note_attempt(s);
    return v.outcome;
}

/* ---- the contract ---------------------------------------------------------------------------- */

static enum synspray_mode mode_of(const char *name)
{
    return strcmp(name, "reuse") == 0 ? SYNSPRAY_REUSE : strcmp(name, "listen") == 0 ? SYNSPRAY_LISTEN : SYNSPRAY_HOLD;
}

/* Later attempts are larger. */
static uint32_t entries_needed(const struct synspray *s)
{
    const struct peer_search *p = &s->search;
    if (s->aiming && !s->opener)
        return (uint32_t)peer_trial_candidates(s->trial)->n;
    if (s->aiming && p->attempts == 1)
        return p->holes;
    return p->entries > p->holes ? p->entries : p->holes;
}

static int synspray_open(struct peer_trial *t)
{
    struct synspray *s = peer_trial_state(t);
    s->trial = t;
    s->plan = peer_trial_plan(t);
    s->search = s->plan->search;
    s->listen_fd = s->epoll_fd = s->reuse_fd = s->ttl = -1;
    loop_op_init(&s->ready_op, ready_done, s);
    loop_op_init(&s->turn_op, turn_done, s);
    loop_op_init(&s->accept_op, accept_done, s);
    if (!s->search.on)
        return -EBADMSG;
    s->opener = s->search.opener == peer_trial_role(t);
    s->aiming = s->search.known || (s->opener && !s->search.meet);
    /* Where the other mapping is known there is nothing to compare: each side holds one hole. */
    s->mode = s->search.known ? SYNSPRAY_HOLD : mode_of(s->plan->mode);
    int err = synspray_sockets_open(s, entries_needed(s));
    if (err == 0 && s->aiming && s->mode == SYNSPRAY_HOLD)
        err = synspray_listen(s);
    if (err < 0)
        return err;
    loop_poll(peer_trial_loop(t), &s->ready_op, s->epoll_fd, POLLIN);
    begin_attempt(s, 0);
    return 0;
}

static void synspray_go(struct peer_trial *t)
{
    turn(peer_trial_state(t));
}

static void stop(struct synspray *s)
{
    struct loop *loop = peer_trial_loop(s->trial);
    if (s->stopping)
        return;
    s->stopping = true;
    loop_cancel(loop, &s->ready_op);
    loop_cancel(loop, &s->turn_op);
    loop_cancel(loop, &s->accept_op);
    if (s->listen_fd >= 0)
        close(s->listen_fd); /* whoever waits in its backlog is reset */
    if (s->reuse_fd >= 0)
        synspray_close_fd(s->reuse_fd);
    s->listen_fd = s->reuse_fd = -1;
    synspray_drop_all(s);
}

static void synspray_event(struct peer_trial *t, const struct peer_event *event)
{
    struct synspray *s = peer_trial_state(t);
    if (event->kind == PEER_EVENT_CHOSEN)
        stop(s);
    if (s->stopping)
        return;
    if (event->kind == PEER_EVENT_NOTE)
        on_note(s, event->note, event->note_len);
    if (event->kind == PEER_EVENT_LOST) {
        synspray_count_failure(s, event->err);
        if (s->live > 0)
            s->live--;
        synspray_wake(s);
    }
}

static void synspray_close(struct peer_trial *t)
{
    struct synspray *s = peer_trial_state(t);
    stop(s);
    s->closing = true;
    maybe_closed(s);
}

static const char *const modes[] = {"hold", "reuse", "listen", "auto", NULL};

const struct peer_technique synspray_technique = {
    .name = "synspray",
    .doc = "Punches a TCP path to a peer whose NAT gives every connection a new port: one side opens many holes, the "
           "other connects from many ports; and measures how often that succeeds, how long it takes, why it fails.",
    .transport = PEER_TCP,
    .modes = modes,
    .options = peer_search_options,
    .n_options = PEER_SEARCH_N_OPTIONS,
    .samples = 32,
    .plan = synspray_plan,
    .state_size = sizeof(struct synspray),
    .open = synspray_open,
    .go = synspray_go,
    .event = synspray_event,
    .close = synspray_close,
    .explain = synspray_explain,
};
