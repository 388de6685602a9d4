/*
 * TCP as a NAT follows it: which state a session is in, which sequence numbers belong to it.
 *
 * strict is what Linux's connection tracking does (the bounds are those of van Rooij, "Real stateful TCP packet
 * filtering in IP Filter", 2000; what Linux makes of each was observed on 6.18, packet by packet). Dropped: a segment
 * that is above the window by more than the receiver's window, or acknowledges what was not sent. Passed, but believed
 * in nothing: a segment that is a little above, one below, a late acknowledgement. So a SYN-ACK whose initial sequence
 * number is later than the one of the SYN that opened the hole is dropped, but for the first few milliseconds of
 * Linux's number clock; an earlier one passes, and the session never becomes established. liberal is the same without
 * windows. none looks at flags only to know which timer applies.
 */
#include "bench/lab/nat_state.h"

/* The least that an acknowledgement may lag behind: a delayed one of a full unscaled window, and some. */
#define ACK_WINDOW_LEAST 66000u

#define OPTION_END    0u
#define OPTION_NOP    1u
#define OPTION_SCALE  3u
#define OPTION_SACKOK 4u
#define OPTION_SACK   5u
#define SCALE_MOST    14u /* RFC 7323 section 2.3 */

struct segment {
    uint32_t seq, end, ack, sack, win;
    uint32_t raw_ack; /* the field, whatever the flags say */
    uint8_t flags;    /* what kind of segment it is: SYN, ACK, FIN, RST alone */
    bool syn, fin, rst, has_ack;
};

/* a is later than b, modulo 2^32 (RFC 9293 section 3.4). */
static bool later(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

/* ---- segments -------------------------------------------------------------------------------- */

static struct segment segment_of(const struct nat_packet *p)
{
    const uint8_t *t = p->body;
    struct segment s = {.seq = nat_get32(t + 4), .ack = nat_get32(t + 8), .win = nat_get16(t + 14)};
    s.syn = t[13] & NAT_SYN;
    s.fin = t[13] & NAT_FIN;
    s.rst = t[13] & NAT_RST;
    s.has_ack = t[13] & NAT_ACK;
    s.sack = s.raw_ack = s.ack;
    s.flags = s.rst ? NAT_RST : t[13] & (NAT_SYN | NAT_ACK | NAT_FIN);
    s.end = s.seq + (uint32_t)(p->body_len - (size_t)(t[12] >> 4) * 4) + s.syn + s.fin;
    return s;
}

/* The next option at *at, or NULL; *at moves behind it. */
static const uint8_t *next_option(const uint8_t *tcp, size_t header, size_t *at)
{
    while (*at < header && tcp[*at] == OPTION_NOP)
        ++*at;
    if (*at + 2 > header || tcp[*at] == OPTION_END)
        return NULL;
    const uint8_t *option = tcp + *at;
    if (option[1] < 2 || *at + option[1] > header)
        return NULL;
    *at += option[1];
    return option;
}

static void read_syn_options(const struct nat_packet *p, struct nat_tcp_side *side)
{
    size_t at = 20, header = (size_t)(p->body[12] >> 4) * 4;
    const uint8_t *option;
    side->scale = 0;
    side->scaled = side->sack = false;
    while ((option = next_option(p->body, header, &at))) {
        if (option[0] == OPTION_SACKOK && option[1] == 2)
            side->sack = true;
        if (option[0] != OPTION_SCALE || option[1] != 3)
            continue;
        side->scaled = true;
        side->scale = option[2] > SCALE_MOST ? SCALE_MOST : option[2];
    }
}

/* The highest right edge of the SACK blocks counts as acknowledged (RFC 2018). */
static void read_sack(const struct nat_packet *p, struct segment *s)
{
    size_t at = 20, header = (size_t)(p->body[12] >> 4) * 4;
    const uint8_t *option;
    while ((option = next_option(p->body, header, &at))) {
        if (option[0] != OPTION_SACK)
            continue;
        for (unsigned i = 2; i + 8 <= option[1]; i += 8) {
            uint32_t right = nat_get32(option + i + 4);
            if (later(right, s->sack))
                s->sack = right;
        }
    }
}

/* ---- windows --------------------------------------------------------------------------------- */

static void side_from_syn(const struct nat_packet *p, const struct segment *s, struct nat_tcp_side *side)
{
    side->end = side->max_end = s->end;
    side->max_win = s->win ? s->win : 1;
    read_syn_options(p, side);
}

/* A SYN of the other side, or a later one of this side: scaling needs both (RFC 7323 section 2.2). */
static void side_again(const struct nat_packet *p, const struct segment *s, struct nat_tcp_side *from,
                       struct nat_tcp_side *to)
{
    side_from_syn(p, s, from);
    if (!from->scaled || !to->scaled)
        from->scale = to->scale = 0;
}

/* The first that is seen of a side, and no SYN: taken as it is. */
static void side_from_middle(const struct segment *s, struct nat_tcp_side *from, struct nat_tcp_side *to)
{
    from->end = s->end;
    from->max_win = s->win ? s->win : 1;
    from->max_end = s->end + from->max_win;
    if (to->max_win == 0)
        to->end = to->max_end = s->sack;
    else if (s->sack == to->end + 1)
        to->end++; /* a keep-alive was acknowledged */
}

static void update_window(const struct segment *s, struct nat_tcp_side *from, struct nat_tcp_side *to)
{
    uint32_t win = s->syn ? s->win : s->win << from->scale;
    uint32_t seen = win + (s->sack - s->ack);
    if (from->max_win < seen)
        from->max_win = seen;
    if (later(s->end, from->end))
        from->end = s->end;
    if (s->has_ack && (!from->acked || later(s->ack, from->max_ack))) {
        from->max_ack = s->ack;
        from->acked = true;
    }
    if (to->max_win && later(s->end, from->max_end))
        to->max_win += s->end - from->max_end;
    if (later(s->sack + win, to->max_end - 1))
        to->max_end = s->sack + win + (win == 0);
}

/* The four bounds, in the order in which they decide. */
static enum nat_tcp_verdict check_window(const struct segment *s, struct nat_tcp_side *from,
                                         const struct nat_tcp_side *to)
{
    uint32_t lag = from->max_win > ACK_WINDOW_LEAST ? from->max_win : ACK_WINDOW_LEAST;
    bool ack_late_enough = later(s->sack, to->end - lag - 1), ack_sent = !later(s->sack, to->end);
    bool data_new_enough = later(s->end, from->end - to->max_win - 1);
    if (later(s->seq, from->max_end)) {
        /* A little too much passes, by no more than the receiver's window: some hosts overrun it. What is sent counts,
         * so that its acknowledgement is valid too. */
        bool little = to->max_win && s->end - from->max_end + 1 <= to->max_win;
        if (!little || !data_new_enough || !ack_late_enough || !ack_sent)
            return NAT_TCP_INVALID;
        from->end = s->end;
        return NAT_TCP_IGNORE;
    }
    if (!ack_sent)
        return NAT_TCP_INVALID;
    if (to->max_win && !data_new_enough)
        return NAT_TCP_IGNORE;
    return ack_late_enough ? NAT_TCP_PASS : NAT_TCP_IGNORE;
}

static enum nat_tcp_verdict follow_window(const struct nat_session *session, const struct nat_packet *p,
                                          struct segment *s, struct nat_tcp_side *from, struct nat_tcp_side *to)
{
    bool opening = session->tcp_state == NAT_TCP_SYN_SENT || session->tcp_state == NAT_TCP_SYN_RECV;
    if (to->sack && s->has_ack)
        read_sack(p, s);
    if (from->max_win == 0 && !s->syn) {
        side_from_middle(s, from, to);
    } else if (s->syn && (from->max_win == 0 || (opening && later(s->end, from->end)))) {
        side_again(p, s, from, to);
        if (!s->has_ack && from == &session->tcp[1])
            return NAT_TCP_PASS; /* simultaneous open (RFC 9293 section 3.5) */
    }
    if (!s->has_ack || (s->rst && s->ack == 0))
        s->ack = s->sack = to->end;
    if (s->rst && s->seq == 0 && session->tcp_state == NAT_TCP_SYN_SENT)
        s->seq = s->end = from->end; /* the answer to a SYN (RFC 9293 section 3.10.7.1) */
    enum nat_tcp_verdict verdict = check_window(s, from, to);
    if (verdict == NAT_TCP_PASS)
        update_window(s, from, to);
    return verdict;
}

/* ---- states ---------------------------------------------------------------------------------- */

enum { MOVE_IGNORE = -1, MOVE_INVALID = -2 };

static int move_syn(enum nat_tcp_state state, bool reply)
{
    switch (state) {
    case NAT_TCP_NONE:
    case NAT_TCP_SYN_SENT:
        return reply ? NAT_TCP_SYN_SENT2 : NAT_TCP_SYN_SENT;
    case NAT_TCP_SYN_SENT2:
        return NAT_TCP_SYN_SENT2;
    case NAT_TCP_TIME_WAIT:
        return NAT_TCP_SYN_SENT; /* RFC 9293 section 3.10.7.4: may be reopened */
    case NAT_TCP_CLOSE:
        return reply ? MOVE_INVALID : NAT_TCP_SYN_SENT;
    default:
        return reply ? MOVE_INVALID : MOVE_IGNORE;
    }
}

static int move_syn_ack(enum nat_tcp_state state, bool reply)
{
    if (state == NAT_TCP_SYN_SENT2 || (state == NAT_TCP_SYN_SENT && reply) || (state == NAT_TCP_SYN_RECV && !reply))
        return NAT_TCP_SYN_RECV;
    return reply ? MOVE_IGNORE : MOVE_INVALID;
}

static int move_fin(enum nat_tcp_state state)
{
    switch (state) {
    case NAT_TCP_SYN_RECV:
    case NAT_TCP_ESTABLISHED:
        return NAT_TCP_FIN_WAIT;
    case NAT_TCP_FIN_WAIT:
    case NAT_TCP_CLOSE_WAIT:
    case NAT_TCP_LAST_ACK:
        return NAT_TCP_LAST_ACK;
    case NAT_TCP_TIME_WAIT:
    case NAT_TCP_CLOSE:
        return (int)state;
    default:
        return MOVE_INVALID;
    }
}

static int move_ack(enum nat_tcp_state state, bool reply)
{
    switch (state) {
    case NAT_TCP_SYN_RECV:
        return reply ? NAT_TCP_SYN_RECV : NAT_TCP_ESTABLISHED;
    case NAT_TCP_ESTABLISHED:
    case NAT_TCP_CLOSE:
        return (int)state;
    case NAT_TCP_FIN_WAIT:
    case NAT_TCP_CLOSE_WAIT:
        return NAT_TCP_CLOSE_WAIT;
    case NAT_TCP_LAST_ACK:
    case NAT_TCP_TIME_WAIT:
        return NAT_TCP_TIME_WAIT;
    default:
        return reply ? MOVE_IGNORE : MOVE_INVALID;
    }
}

/* The state after a segment without RST. */
static int move(enum nat_tcp_state state, const struct segment *s, bool reply)
{
    if (s->syn)
        return s->has_ack ? move_syn_ack(state, reply) : move_syn(state, reply);
    if (s->fin)
        return move_fin(state);
    return s->has_ack ? move_ack(state, reply) : MOVE_INVALID;
}

/* ---- sessions -------------------------------------------------------------------------------- */

/* Combinations that no TCP sends are INVALID whatever the connection; PSH, ECE and CWR do not matter. */
static bool flags_make_sense(const struct lab_nat *nat, const struct nat_packet *p)
{
    if (nat->profile.window == LAB_WINDOW_NONE)
        return true;
    switch (p->tcp_flags & (NAT_SYN | NAT_ACK | NAT_RST | NAT_FIN | NAT_URG)) {
    case NAT_SYN:
    case NAT_SYN | NAT_URG:
    case NAT_SYN | NAT_ACK:
    case NAT_RST:
    case NAT_RST | NAT_ACK:
    case NAT_FIN | NAT_ACK:
    case NAT_FIN | NAT_ACK | NAT_URG:
    case NAT_ACK:
    case NAT_ACK | NAT_URG:
        return true;
    default:
        return false;
    }
}

bool nat_tcp_may_begin(const struct lab_nat *nat, const struct nat_packet *p)
{
    if (!flags_make_sense(nat, p))
        return false;
    uint8_t flags = p->tcp_flags & (NAT_SYN | NAT_ACK | NAT_RST | NAT_FIN);
    if (flags == NAT_SYN)
        return true;
    /* A connection that is older than the table is picked up where it is; but never from outside. */
    if (p->dir == LAB_NAT_IN)
        return nat->profile.window == LAB_WINDOW_NONE && !(flags & NAT_RST);
    return flags == NAT_ACK || (nat->profile.window == LAB_WINDOW_NONE && !(flags & NAT_RST));
}

void nat_tcp_begin(const struct lab_nat *nat, struct nat_session *session, const struct nat_packet *p)
{
    struct segment s = segment_of(p);
    struct nat_tcp_side *from = &session->tcp[0];
    session->tcp[0] = session->tcp[1] = (struct nat_tcp_side){0};
    session->assured = session->fin_seen = session->last_reply = false;
    session->last_flags = s.flags;
    session->last_end = s.flags == NAT_ACK ? s.end : 0;
    if (s.syn) {
        side_from_syn(p, &s, from);
        session->tcp_state = s.has_ack ? NAT_TCP_SYN_RECV : NAT_TCP_SYN_SENT;
    } else {
        from->end = s.end;
        from->max_win = s.win ? s.win : 1;
        from->max_end = s.end + from->max_win;
        session->tcp[0].sack = session->tcp[1].sack = true;
        session->tcp[0].liberal = session->tcp[1].liberal = true;
        session->tcp_state = s.fin ? NAT_TCP_FIN_WAIT : NAT_TCP_ESTABLISHED;
    }
    if (nat->profile.window != LAB_WINDOW_NONE)
        follow_window(session, p, &s, from, &session->tcp[1]);
}

bool nat_tcp_is_retransmission(const struct nat_session *session, const struct nat_packet *p)
{
    struct segment s = segment_of(p);
    bool opening = session->tcp_state == NAT_TCP_SYN_SENT || session->tcp_state == NAT_TCP_SYN_SENT2 ||
                   session->tcp_state == NAT_TCP_SYN_RECV;
    return opening && session->tcp[session->from_inside ? 0 : 1].end == s.end;
}

static void remember(struct nat_session *session, const struct segment *s, bool reply)
{
    session->last_flags = s->flags;
    session->last_reply = reply;
    if (s->flags == NAT_ACK)
        session->last_end = s->end;
}

/* What passes unchecked may be the truth: a SYN that is ignored here, and answered there. */
static void remember_ignored(struct nat_session *session, const struct nat_packet *p, const struct segment *s,
                             bool reply)
{
    struct nat_tcp_side options = {0};
    if (s->flags == NAT_SYN && !reply)
        read_syn_options(p, &options);
    session->last_scale = options.scale;
    session->last_scaled = options.scaled;
    session->last_sack = options.sack;
    session->last_flags = s->flags;
    session->last_reply = reply;
    session->last_end = s->end;
    session->last_win = (uint16_t)s->win;
}

/* The answer to a SYN that was ignored: the ends know better than the table, which begins anew. */
static bool answers_ignored_syn(const struct nat_session *session, const struct segment *s, bool reply)
{
    return s->syn && s->has_ack && session->last_flags == NAT_SYN && session->last_reply != reply &&
           s->raw_ack == session->last_end;
}

static void begin_anew(struct nat_session *session, bool reply)
{
    struct nat_tcp_side *opener = &session->tcp[!reply];
    *opener = (struct nat_tcp_side){.end = session->last_end, .max_end = session->last_end};
    opener->max_win = session->last_win ? session->last_win : 1;
    opener->scale = session->last_scale;
    opener->scaled = session->last_scaled;
    opener->sack = session->last_sack;
    /* Linux goes on to let through unchecked what a connection picked up midway gets from its other end. */
    session->tcp[reply] = (struct nat_tcp_side){.liberal = session->tcp[reply].liberal};
    session->tcp_state = NAT_TCP_SYN_SENT;
}

/* ---- RST ------------------------------------------------------------------------------------- */

enum reset { RESET_CLOSES, RESET_CLOSES_UNSEEN, RESET_CHALLENGED, RESET_INVALID };

/* RFC 5961 section 3: a RST counts where it is exactly what the receiver expects next, or where nothing stands yet.
 * UNSEEN: without a look at windows, which are outdated in a closing connection. */
static enum reset judge_reset(const struct nat_session *session, const struct segment *s, bool reply)
{
    const struct nat_tcp_side *other = &session->tcp[!reply];
    bool established = session->tcp_state == NAT_TCP_ESTABLISHED && session->assured;
    bool last_syn = session->last_flags == NAT_SYN && session->last_reply != reply,
         last_ack = session->last_flags == NAT_ACK;
    bool answered = session->from_inside ? session->seen_in : session->seen_out;
    if (session->tcp_state >= NAT_TCP_FIN_WAIT)
        return RESET_CLOSES_UNSEEN;
    /* A SYN that was let through unchecked makes what was acknowledged before it old. */
    if (other->acked && session->last_flags != NAT_SYN && !(s->seq == 0 && !established)) {
        if (later(other->max_ack, s->seq))
            return RESET_INVALID;
        bool train = last_ack && session->last_reply == reply && s->seq == session->last_end;
        if (established && s->seq != other->max_ack && !train)
            return RESET_CHALLENGED;
        return RESET_CLOSES;
    }
    /* The answer to a SYN or ACK that was let through unchecked. */
    bool to_ack = !other->acked && !session->assured && last_ack;
    if (((answered && last_syn) || to_ack) && s->raw_ack == session->last_end)
        return RESET_CLOSES_UNSEEN;
    return RESET_CLOSES;
}

static enum nat_tcp_verdict track_reset(const struct lab_nat *nat, struct nat_session *session,
                                        const struct nat_packet *p, struct segment *s, bool reply, bool *changed)
{
    bool liberal = nat->profile.window != LAB_WINDOW_STRICT || session->tcp[reply].liberal;
    bool answered = session->from_inside ? session->seen_in : session->seen_out;
    if (nat->profile.rst == LAB_RST_IGNORED)
        return NAT_TCP_IGNORE;
    if (nat->profile.rst != LAB_RST_IN_WINDOW)
        return NAT_TCP_KILL;
    enum reset reset = judge_reset(session, s, reply);
    if (reset == RESET_INVALID)
        return NAT_TCP_INVALID;
    if (reset != RESET_CLOSES_UNSEEN) {
        enum nat_tcp_verdict verdict = follow_window(session, p, s, &session->tcp[reply], &session->tcp[!reply]);
        if (verdict != NAT_TCP_PASS && !liberal)
            return verdict;
    }
    remember(session, s, reply);
    /* Nobody has answered yet: there is nothing to keep. */
    if (!answered)
        return NAT_TCP_KILL;
    if (reset == RESET_CHALLENGED)
        return NAT_TCP_PASS;
    *changed = true;
    session->tcp_state = NAT_TCP_CLOSE;
    return NAT_TCP_PASS;
}

/* ---- following ------------------------------------------------------------------------------- */

/* Without checks: flags alone say where the connection is. */
static void track_loosely(struct nat_session *session, const struct segment *s, bool reply)
{
    int next = move(session->tcp_state, s, reply);
    if (next >= 0)
        session->tcp_state = (uint8_t)next;
    else if (!s->syn && session->tcp_state < NAT_TCP_ESTABLISHED && session->seen_in && session->seen_out)
        session->tcp_state = NAT_TCP_ESTABLISHED;
}

enum nat_tcp_verdict nat_tcp_track(const struct lab_nat *nat, struct nat_session *session, const struct nat_packet *p,
                                   bool *changed)
{
    struct segment s = segment_of(p);
    bool reply = (p->dir == LAB_NAT_OUT) != session->from_inside;
    enum nat_tcp_state before = session->tcp_state;
    struct nat_tcp_side *from = &session->tcp[reply], *to = &session->tcp[!reply];
    *changed = false;
    if (!flags_make_sense(nat, p))
        return NAT_TCP_INVALID;
    if (s.rst)
        return track_reset(nat, session, p, &s, reply, changed);
    int next = move(before, &s, reply);
    if (next == NAT_TCP_SYN_SENT && before >= NAT_TCP_TIME_WAIT) {
        bool aborted = session->last_flags == NAT_RST && session->last_reply == reply;
        if (session->fin_seen || aborted || nat->profile.window == LAB_WINDOW_NONE)
            return NAT_TCP_REOPEN;
        next = MOVE_IGNORE;
    }
    if (nat->profile.window == LAB_WINDOW_NONE) {
        track_loosely(session, &s, reply);
        *changed = session->tcp_state != before;
        return NAT_TCP_PASS;
    }
    if (next == MOVE_INVALID)
        return NAT_TCP_INVALID;
    if (next == MOVE_IGNORE && answers_ignored_syn(session, &s, reply)) {
        begin_anew(session, reply);
        next = NAT_TCP_SYN_RECV;
    } else if (next == MOVE_IGNORE) {
        remember_ignored(session, p, &s, reply);
        return NAT_TCP_IGNORE;
    }
    enum nat_tcp_verdict verdict = follow_window(session, p, &s, from, to);
    if (verdict != NAT_TCP_PASS && nat->profile.window == LAB_WINDOW_STRICT && !from->liberal)
        return verdict;
    remember(session, &s, reply);
    session->tcp_state = (uint8_t)next;
    *changed = next != (int)before;
    session->fin_seen |= next == NAT_TCP_FIN_WAIT;
    bool answered = session->from_inside ? session->seen_in : session->seen_out;
    if (answered && next == NAT_TCP_ESTABLISHED && (before == NAT_TCP_SYN_RECV || before == NAT_TCP_ESTABLISHED))
        session->assured = true;
    return NAT_TCP_PASS;
}
