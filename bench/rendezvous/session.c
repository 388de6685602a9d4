/* The session's state machine. Frames of one peer arrive in order, and a trial ends only when both sides have reported
 * or one is gone, so nothing of an old trial can arrive in a new one. */
#include "bench/rendezvous/session.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rendezvous/session_state.h"

/* Room in a forwarded frame for what S adds to the body. */
#define FORWARD_ROOM 128

/* ---- sending --------------------------------------------------------------------------------- */

void session_begin(struct session *s, struct wire_writer *w, enum wire_frame_type type)
{
    wire_frame_begin(w, s->host->scratch, sizeof(s->host->scratch), type);
}

int session_end(struct session *s, struct wire_writer *w, struct session_side *to)
{
    int len = wire_frame_end(w, (uint32_t)base_rng_u64(&s->host->masks));
    if (len > 0 && to->can_rejoin && wire_frame_lasts(w->type))
        wire_kept_add(&to->kept, s->host->scratch, (size_t)len);
    if (len > 0 && to->peer)
        s->host->send(to->peer, s->host->scratch, (size_t)len);
    return len < 0 ? len : 0;
}

void session_send_text(struct session *s, struct session_side *to, enum wire_frame_type type, uint64_t code,
                       const char *text)
{
    struct wire_writer w;
    session_begin(s, &w, type);
    if (code)
        wire_put_u64(&w, WIRE_F_CODE, code);
    wire_put_text(&w, WIRE_F_TEXT, text);
    session_end(s, &w, to);
}

void session_dismiss(struct session *s, struct session_side *side)
{
    if (side->peer)
        s->host->finish(side->peer);
    side->peer = NULL;
}

void session_ping(struct session *s, struct session_side *to, uint64_t now)
{
    struct wire_writer w;
    to->ping_stamp = now;
    session_begin(s, &w, WIRE_PING);
    wire_put_u64(&w, WIRE_F_STAMP, now);
    wire_put_u64(&w, WIRE_F_RTT_NS, session_rtt(to));
    if (to->can_rejoin)
        wire_put_u64(&w, WIRE_F_RECEIVED, to->received);
    session_end(s, &w, to);
}

static int on_ping(struct session *s, struct session_side *from, const struct wire_reader *r)
{
    struct wire_writer w;
    uint64_t stamp = 0;
    wire_get_u64(r, WIRE_F_STAMP, &stamp);
    session_begin(s, &w, WIRE_PONG);
    wire_put_u64(&w, WIRE_F_STAMP, stamp);
    wire_put_u64(&w, WIRE_F_RECEIVED, from->received);
    session_end(s, &w, from);
    return 0;
}

/* ---- round trips ----------------------------------------------------------------------------- */

void session_rtt_add(struct session_side *side, uint64_t rtt_ns)
{
    side->rtt_ns[side->n_rtt++ % SESSION_RTT_SAMPLES] = rtt_ns;
}

uint64_t session_rtt(const struct session_side *side)
{
    unsigned n = side->n_rtt < SESSION_RTT_SAMPLES ? side->n_rtt : SESSION_RTT_SAMPLES;
    uint64_t least = n ? side->rtt_ns[0] : 0;
    for (unsigned i = 1; i < n; i++)
        if (side->rtt_ns[i] < least)
            least = side->rtt_ns[i];
    return least;
}

void session_delays(uint64_t rtt_a_ns, uint64_t rtt_b_ns, uint64_t *delay_a_ns, uint64_t *delay_b_ns)
{
    uint64_t a = rtt_a_ns / 2, b = rtt_b_ns / 2, most = a > b ? a : b;
    *delay_a_ns = most - a;
    *delay_b_ns = most - b;
}

static int on_pong(struct session_side *from, const struct wire_reader *r, uint64_t now)
{
    uint64_t stamp;
    if (wire_get_u64(r, WIRE_F_STAMP, &stamp) < 0)
        return -EPROTO;
    if (from->ping_stamp && stamp == from->ping_stamp && now >= stamp) {
        session_rtt_add(from, now - stamp);
        from->ping_stamp = 0;
    }
    return 0;
}

/* ---- trials ---------------------------------------------------------------------------------- */

static void start_trial(struct session *s, uint64_t now)
{
    s->state = SESSION_FACTS;
    s->deadline_ns = now + SESSION_FACTS_NS;
    s->predicted_p = (double)NAN;
    for (size_t i = 0; i < 2; i++) {
        struct session_side *side = &s->sides[i];
        struct wire_writer w;
        side->facts = side->reported = false;
        session_begin(s, &w, WIRE_TRIAL);
        wire_put_u64(&w, WIRE_F_TRIAL, s->trial);
        session_end(s, &w, side);
        session_ping(s, side, now);
    }
}

void session_next_trial(struct session *s, uint64_t now)
{
    if (s->trial == s->first + s->trials) {
        struct wire_writer w;
        s->state = SESSION_ENDED;
        base_info("session '%s': done, %llu trials", s->name, (unsigned long long)s->trials);
        for (size_t i = 0; i < 2; i++) {
            session_begin(s, &w, WIRE_BYE);
            session_end(s, &w, &s->sides[i]);
            /* Who can come back for the last frames ends the connection itself once it has them. */
            if (!s->sides[i].can_rejoin)
                session_dismiss(s, &s->sides[i]);
        }
        s->deadline_ns = now + SESSION_AWAY_NS;
    } else if (s->host->step) {
        s->state = SESSION_STEPPING;
        s->host->want_step(s->host, s);
    } else {
        start_trial(s, now);
    }
}

void session_step(struct session *s, uint64_t now)
{
    if (s->state == SESSION_STEPPING)
        start_trial(s, now);
}

static void maybe_close_trial(struct session *s, uint64_t now)
{
    if (!s->sides[0].reported || !s->sides[1].reported)
        return;
    session_close_trial(s);
    s->trial++;
    session_next_trial(s, now);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static int get_body(const struct wire_reader *r, const uint8_t **body, size_t *len)
{
    if (wire_get_bytes(r, WIRE_F_BODY, body, len) < 0 || *len > WIRE_FRAME_MAX - FORWARD_ROOM)
        return -EPROTO;
    return 0;
}

static void put_rtts(struct wire_writer *w, const struct session_side *own, const struct session_side *other)
{
    wire_put_u64(w, WIRE_F_RTT_NS, session_rtt(own));
    wire_put_u64(w, WIRE_F_PEER_RTT_NS, session_rtt(other));
}

static int on_facts(struct session *s, struct session_side *from, struct session_side *to, const struct wire_reader *r,
                    uint64_t now, const char **why)
{
    const uint8_t *body;
    size_t len;
    struct wire_writer w;
    if (s->state == SESSION_ABORTED)
        return 0; /* it crossed our ABORT */
    *why = s->state != SESSION_FACTS || from->facts ? "facts out of turn" : "facts without a body, or too large";
    if (s->state != SESSION_FACTS || from->facts || get_body(r, &body, &len) < 0)
        return -EPROTO;
    from->facts = true;
    session_begin(s, &w, WIRE_FACTS);
    wire_put_bytes(&w, WIRE_F_BODY, body, len);
    put_rtts(&w, to, from);
    session_end(s, &w, to);
    if (to->facts) {
        s->state = SESSION_PLAN;
        s->deadline_ns = now + SESSION_PLAN_NS;
    }
    return 0;
}

static int on_plan(struct session *s, struct session_side *from, const struct wire_reader *r, uint64_t now,
                   const char **why)
{
    struct session_side *a = &s->sides[0], *b = &s->sides[1];
    const uint8_t *body;
    size_t len;
    uint64_t deadline_ns, delay[2];
    if (s->state == SESSION_ABORTED && from == a)
        return 0;
    *why = from != a                  ? "a plan from role b"
           : s->state != SESSION_PLAN ? "a plan out of turn"
                                      : "a plan without body and deadline, or too large";
    if (from != a || s->state != SESSION_PLAN || get_body(r, &body, &len) < 0 ||
        wire_get_u64(r, WIRE_F_STAMP, &deadline_ns) < 0 || deadline_ns > SESSION_DEADLINE_MAX_NS)
        return -EPROTO;
    session_delays(session_rtt(a), session_rtt(b), &delay[0], &delay[1]);
    /* The farther one first: the nearer one has time to spare. */
    for (size_t n = 0; n < 2; n++) {
        size_t i = delay[0] <= delay[1] ? n : 1 - n;
        struct wire_writer w;
        session_begin(s, &w, WIRE_PLAN);
        wire_put_bytes(&w, WIRE_F_BODY, body, len);
        wire_put_u64(&w, WIRE_F_DELAY_NS, delay[i]);
        put_rtts(&w, &s->sides[i], &s->sides[1 - i]);
        session_end(s, &w, &s->sides[i]);
    }
    s->state = SESSION_PUNCH;
    s->deadline_ns = now + deadline_ns + SESSION_REPORT_NS;
    if (s->host->started)
        s->host->started(s->host, s, s->trial, (session_rtt(a) > session_rtt(b) ? session_rtt(a) : session_rtt(b)) / 2);
    return 0;
}

static int on_note(struct session *s, struct session_side *to, const struct wire_reader *r, const char **why)
{
    const uint8_t *body;
    size_t len;
    struct wire_writer w;
    *why = "a note without a body, or too large";
    if (get_body(r, &body, &len) < 0)
        return -EPROTO;
    if (!session_in_trial(s) || to->reported)
        return 0; /* the trial ended while the note was on its way */
    session_begin(s, &w, WIRE_NOTE);
    wire_put_bytes(&w, WIRE_F_BODY, body, len);
    session_end(s, &w, to);
    return 0;
}

static int read_report(struct session *s, struct session_side *from, const struct wire_reader *r)
{
    const uint8_t *text;
    size_t len;
    if (wire_get_bytes(r, WIRE_F_TEXT, &text, &len) < 0 || len > SESSION_REPORT_MAX)
        return -EBADMSG;
    json_t *json = json_loadb((const char *)text, len, 0, NULL);
    int err = json ? record_side_from_json(json, &from->report) : -EBADMSG;
    if (err == 0 && from == &s->sides[0]) {
        const json_t *p = json_object_get(json, "predicted_p");
        s->predicted_p = json_is_number(p) ? json_number_value(p) : (double)NAN;
    }
    json_decref(json);
    return err;
}

/* Before the plan, one side's report ends the trial for the other as well. */
static void abort_other(struct session *s, enum wire_role from, uint64_t now)
{
    char text[160];
    const struct record_side *report = &session_side(s, from)->report;
    struct session_side *other = &s->sides[from == WIRE_ROLE_A];
    if (s->state != SESSION_FACTS && s->state != SESSION_PLAN)
        return;
    s->state = SESSION_ABORTED;
    s->deadline_ns = now + SESSION_REPORT_NS;
    snprintf(text, sizeof(text), "peer %s gave up (%s): %s", session_role_name(from), record_phase_name(report->phase),
             report->error ? strerror(report->error) : record_outcome_name(report->outcome));
    base_info("session '%s' trial %llu: %s", s->name, (unsigned long long)s->trial, text);
    if (!other->reported)
        session_send_text(s, other, WIRE_ABORT, 0, text);
}

static int on_report(struct session *s, enum wire_role role, const struct wire_reader *r, uint64_t now,
                     const char **why)
{
    struct session_side *from = session_side(s, role);
    uint64_t trial = s->trial;
    *why = "a report out of turn";
    wire_get_u64(r, WIRE_F_TRIAL, &trial);
    if (!session_in_trial(s) || from->reported || trial != s->trial)
        return -EPROTO;
    *why = "a report that is no JSON object, or too large";
    if (read_report(s, from, r) < 0)
        return -EPROTO;
    from->reported = true;
    abort_other(s, role, now);
    maybe_close_trial(s, now);
    return 0;
}

int session_frame(struct session *s, enum wire_role role, enum wire_frame_type type, const struct wire_reader *r,
                  uint64_t now, const char **why)
{
    struct session_side *from = session_side(s, role), *to = &s->sides[role == WIRE_ROLE_A];
    uint64_t received;
    *why = "a frame that does not belong here";
    from->received += wire_frame_lasts(type);
    if (from->can_rejoin && wire_get_u64(r, WIRE_F_RECEIVED, &received) == 0 &&
        wire_kept_drop(&from->kept, received) < 0)
        return -EPROTO;
    if (type == WIRE_PONG)
        return on_pong(from, r, now);
    if (type == WIRE_PING && from->can_rejoin)
        return on_ping(s, from, r);
    if (s->state == SESSION_ENDED && from->can_rejoin)
        return 0; /* it crossed our last word */
    if (s->state == SESSION_WAITING || s->state == SESSION_ENDED)
        return -EPROTO;
    switch (type) {
    case WIRE_FACTS:
        return on_facts(s, from, to, r, now, why);
    case WIRE_PLAN:
        return on_plan(s, from, r, now, why);
    case WIRE_NOTE:
        return on_note(s, to, r, why);
    case WIRE_REPORT:
    case WIRE_ABORT:
        return on_report(s, role, r, now, why);
    default:
        return -EPROTO;
    }
}
