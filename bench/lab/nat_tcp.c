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

/* a is later than b, modulo 2^32 (RFC 9293 section 3.4); half of the circle away counts as later, as in Linux. */
static bool later(uint32_t a, uint32_t b)
{
    return (int32_t)(b - a) < 0;
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
    if (header == at)
        return; /* as in Linux, what the side's last SYN said stands */
    *side = (struct nat_tcp_side){.end = side->end,
                                  .max_end = side->max_end,
                                  .max_win = side->max_win,
                                  .max_ack = side->max_ack,
                                  .liberal = side->liberal};
    while ((option = next_option(p->body, header, &at))) {
        if (option[0] == OPTION_SACKOK && option[1] == 2)
            side->sack = true;
        if (option[0] != OPTION_SCALE || option[1] != 3)
            continue;
        side->scaled = true;
        side->scale = option[2] > SCALE_MOST ? SCALE_MOST : option[2];
    }
}

/* The highest right edge of the SACK blocks counts as acknowledged (RFC 2018 section 3: 2 + 8n bytes). */
static void read_sack(const struct nat_packet *p, struct segment *s)
{
    size_t at = 20, header = (size_t)(p->body[12] >> 4) * 4;
    const uint8_t *option;
    while ((option = next_option(p->body, header, &at))) {
        if (option[0] != OPTION_SACK || option[1] < 10 || option[1] % 8 != 2)
            continue;
        for (unsigned i = 2; i < option[1]; i += 8) {
            uint32_t right = nat_get32(option + i + 4);
            if (later(right, s->sack))
                s->sack = right;
        }
        return;
    }
}

/* ---- windows --------------------------------------------------------------------------------- */

static void side_from_syn(const struct nat_packet *p, const struct segment *s, struct nat_tcp_side *side)
{
    side->end = side->max_end = s->end;
    side->max_win = s->win ? s->win : 1;
    read_syn_options(p, side);
}

/* A SYN of the other side, or a later one of this side: scaling needs both (RFC 7323 section 2.2), which the answer
 * decides. */
static void side_again(const struct nat_packet *p, const struct segment *s, bool reply, struct nat_tcp_side *from,
                       struct nat_tcp_side *to)
{
    side_from_syn(p, s, from);
    if (reply && (!from->scaled || !to->scaled))
        from->scale = to->scale = 0;
}

/* The first that is seen of a side, and no SYN: taken as it is. */
static void side_from_middle(const struct segment *s, struct nat_tcp_side *from, struct nat_tcp_side *to)
{
    uint32_t win = s->win << from->scale;
    from->end = s->end;
    from->max_win = win ? win : 1;
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
    bool ack_late_enough = later(s->sack, to->end - lag - 1), ack_sent = later(to->end + 1, s->sack);
    bool data_new_enough = later(s->end, from->end - to->max_win - 1);
    if (!later(from->max_end + 1, s->seq)) {
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

static void remember_ack(struct nat_session *session, const struct segment *s, bool reply)
{
    session->last_reply = reply;
    session->last_ack = s->ack;
    session->last_end = s->end;
    session->last_win = (uint16_t)s->win;
}

/* Initializes the sides from the segment where it must, checks it, and learns from one that fits. */
static enum nat_tcp_verdict follow_window(struct nat_session *session, const struct nat_packet *p, struct segment *s,
                                          bool reply)
{
    struct nat_tcp_side *from = &session->tcp[reply], *to = &session->tcp[!reply];
    bool opening = session->tcp_state == NAT_TCP_SYN_SENT || session->tcp_state == NAT_TCP_SYN_RECV;
    bool first = from->max_win == 0;
    if (to->sack && s->has_ack)
        read_sack(p, s);
    if (first && !s->syn) {
        side_from_middle(s, from, to);
    } else if (s->syn && (first || (opening && later(s->end, from->end)))) {
        side_again(p, s, reply, from, to);
        if (!s->has_ack && (first || reply))
            return NAT_TCP_PASS; /* simultaneous open (RFC 9293 section 3.5) */
    }
    if (!s->has_ack || (s->rst && s->ack == 0))
        s->ack = s->sack = to->end;
    if (s->rst && s->seq == 0 && session->tcp_state == NAT_TCP_SYN_SENT)
        s->seq = s->end = from->end; /* the answer to a SYN (RFC 9293 section 3.10.7.1) */
    enum nat_tcp_verdict verdict = check_window(s, from, to);
    if (verdict != NAT_TCP_PASS)
        return verdict;
    update_window(s, from, to);
    if (s->flags == NAT_ACK)
        remember_ack(session, s, reply);
    return NAT_TCP_PASS;
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

static void forget(struct nat_session *session)
{
    session->tcp[0] = session->tcp[1] = (struct nat_tcp_side){0};
    session->assured = session->both_syn = session->challenged = false;
    session->last_reply = session->last_scaled = session->last_sack = false;
    session->last_flags = session->last_scale = 0;
    session->last_win = 0;
    session->last_end = session->last_ack = 0;
}

void nat_tcp_begin(const struct lab_nat *nat, struct nat_session *session, const struct nat_packet *p)
{
    struct segment s = segment_of(p);
    struct nat_tcp_side *from = &session->tcp[0];
    forget(session);
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
        follow_window(session, p, &s, false);
    session->last_flags = s.flags;
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
}

/* What passes unchecked may be the truth: a SYN that is ignored here, and answered there. */
static void remember_ignored(struct nat_session *session, const struct nat_packet *p, const struct segment *s,
                             bool reply)
{
    remember(session, s, reply);
    session->last_end = s->end;
    session->last_win = (uint16_t)s->win;
    if (session->tcp_state == NAT_TCP_SYN_SENT && s->flags == NAT_ACK && reply)
        session->last_ack = s->ack;
    if (s->flags != NAT_SYN || reply)
        return;
    struct nat_tcp_side options = {0};
    read_syn_options(p, &options);
    session->last_scale = options.scale;
    session->last_scaled = options.scaled;
    session->last_sack = options.sack;
    session->both_syn = false;
    session->challenged = session->tcp_state == NAT_TCP_LAST_ACK;
}

/* A FIN or RST that does not fit an established connection is dropped, but not forgotten: the next SYN of its sender
 * begins anew. */
static void remember_invalid(struct nat_session *session, const struct segment *s, bool reply)
{
    bool answer = session->last_reply != reply && session->last_flags & (NAT_FIN | NAT_RST);
    if (session->assured && (s->rst || s->fin) && !answer)
        remember(session, s, reply);
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
    session->challenged = false;
    /* Linux goes on to let through unchecked what a connection picked up midway gets from its other end. */
    session->tcp[reply] = (struct nat_tcp_side){.liberal = session->tcp[reply].liberal};
}

static bool is_answered(const struct nat_session *session)
{
    return session->from_inside ? session->seen_in : session->seen_out;
}

/* ---- RST ------------------------------------------------------------------------------------- */

enum reset { RESET_CLOSES, RESET_CLOSES_UNSEEN, RESET_CHALLENGED, RESET_INVALID };

/* RFC 5961 section 3: a RST counts where it is exactly what the receiver expects next, or where nothing stands yet.
 * UNSEEN: without a look at windows, which are outdated in a closing connection. */
static enum reset judge_reset(const struct nat_session *session, const struct segment *s, bool reply)
{
    const struct nat_tcp_side *other = &session->tcp[!reply];
    bool established = session->tcp_state == NAT_TCP_ESTABLISHED && session->assured;
    bool after_syn = session->last_flags == NAT_SYN, after_ack = session->last_flags == NAT_ACK;
    if (session->tcp_state >= NAT_TCP_FIN_WAIT)
        return RESET_CLOSES_UNSEEN;
    /* A SYN that was let through unchecked makes what was acknowledged before it old. */
    if (other->acked && !after_syn) {
        if (s->seq == 0 && !established)
            return RESET_CLOSES;
        if (later(other->max_ack, s->seq))
            return RESET_INVALID;
        bool train = after_ack && session->last_reply == reply && s->seq == session->last_end;
        return established && s->seq != other->max_ack && !train ? RESET_CHALLENGED : RESET_CLOSES;
    }
    /* The answer to a SYN or ACK that was let through unchecked; to a challenging ACK (RFC 5961 section 4). */
    bool to_unseen =
        ((is_answered(session) && after_syn && session->last_reply != reply) || (!session->assured && after_ack)) &&
        s->raw_ack == session->last_end;
    bool to_challenge =
        session->tcp_state == NAT_TCP_SYN_SENT && after_ack && session->last_reply && s->seq == session->last_ack;
    return to_unseen || to_challenge ? RESET_CLOSES_UNSEEN : RESET_CLOSES;
}

/* What a segment is by the windows; who is liberal lets it pass all the same, and knows nothing against it. */
static enum nat_tcp_verdict judge_window(struct nat_session *session, const struct nat_packet *p, struct segment *s,
                                         bool reply, bool liberal)
{
    enum nat_tcp_verdict verdict = follow_window(session, p, s, reply);
    if (liberal)
        return NAT_TCP_PASS;
    if (verdict == NAT_TCP_INVALID)
        remember_invalid(session, s, reply);
    return verdict;
}

static enum nat_tcp_verdict track_reset(const struct lab_nat *nat, struct nat_session *session,
                                        const struct nat_packet *p, struct segment *s, bool reply, bool *changed)
{
    bool liberal = nat->profile.window != LAB_WINDOW_STRICT || session->tcp[reply].liberal;
    if (nat->profile.rst == LAB_RST_IGNORED)
        return NAT_TCP_IGNORE;
    if (nat->profile.rst != LAB_RST_IN_WINDOW)
        return NAT_TCP_KILL;
    enum reset reset = judge_reset(session, s, reply);
    if (reset == RESET_INVALID)
        return NAT_TCP_INVALID;
    if (reset != RESET_CLOSES_UNSEEN) {
        enum nat_tcp_verdict verdict = judge_window(session, p, s, reply, liberal);
        if (verdict != NAT_TCP_PASS)
            return verdict;
    }
    remember(session, s, reply);
    /* Nobody has answered yet: there is nothing to keep. */
    if (!is_answered(session))
        return NAT_TCP_KILL;
    if (reset == RESET_CHALLENGED)
        return NAT_TCP_DOUBT;
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

/* RFC 5961 section 4: an end answers a SYN that does not fit with an ACK, which does not acknowledge the last FIN. */
static bool is_challenge_ack(const struct nat_session *session, const struct segment *s, bool reply)
{
    return session->tcp_state == NAT_TCP_LAST_ACK && s->flags == NAT_ACK && session->challenged &&
           session->last_flags == NAT_SYN && session->last_reply != reply;
}

/* A new SYN on a connection that is over begins another; one that is not known to be over may be mistaken. */
static bool is_over(const struct lab_nat *nat, const struct nat_session *session, bool reply)
{
    bool aborted = session->last_flags == NAT_RST && session->last_reply == reply;
    return session->tcp[0].closes || session->tcp[1].closes || aborted || nat->profile.window == LAB_WINDOW_NONE;
}

/* A segment of which the state has an opinion: against the windows, and into the next state. */
static enum nat_tcp_verdict track_state(const struct lab_nat *nat, struct nat_session *session,
                                        const struct nat_packet *p, struct segment *s, bool reply, int next)
{
    enum nat_tcp_state before = session->tcp_state;
    bool liberal = nat->profile.window == LAB_WINDOW_LIBERAL || session->tcp[reply].liberal;
    enum nat_tcp_verdict verdict = judge_window(session, p, s, reply, liberal);
    if (verdict != NAT_TCP_PASS)
        return verdict;
    remember(session, s, reply);
    session->tcp_state = (uint8_t)next;
    session->tcp[reply].closes |= next == NAT_TCP_FIN_WAIT && next != (int)before;
    if (is_answered(session) && next == NAT_TCP_ESTABLISHED &&
        (before == NAT_TCP_SYN_RECV || before == NAT_TCP_ESTABLISHED))
        session->assured = true;
    /* A SYN again does not restart the timer of one that nobody has answered. */
    return s->flags == NAT_SYN && before == NAT_TCP_SYN_SENT && !is_answered(session) ? NAT_TCP_IGNORE : NAT_TCP_PASS;
}

enum nat_tcp_verdict nat_tcp_track(const struct lab_nat *nat, struct nat_session *session, const struct nat_packet *p,
                                   bool *changed)
{
    struct segment s = segment_of(p);
    bool reply = (p->dir == LAB_NAT_OUT) != session->from_inside;
    enum nat_tcp_state before = session->tcp_state;
    *changed = false;
    if (!flags_make_sense(nat, p))
        return NAT_TCP_INVALID;
    if (s.rst)
        return track_reset(nat, session, p, &s, reply, changed);
    int next = move(before, &s, reply);
    if (next == NAT_TCP_SYN_SENT && before >= NAT_TCP_TIME_WAIT) {
        if (is_over(nat, session, reply))
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
    } else if (is_challenge_ack(session, &s, reply)) {
        session->challenged = false;
        return NAT_TCP_IGNORE;
    }
    session->both_syn |= next == NAT_TCP_SYN_SENT2;
    /* In a simultaneous open the last ACK is as good from either side. */
    if (before == NAT_TCP_SYN_RECV && s.flags == NAT_ACK && session->both_syn)
        next = NAT_TCP_ESTABLISHED;
    enum nat_tcp_verdict verdict = track_state(nat, session, p, &s, reply, next);
    *changed = session->tcp_state != before;
    return verdict;
}
