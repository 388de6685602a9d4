/*
 * What the sides tell each other through S, as [kind, attempt, ...]:
 *   ready    my first round is out
 *   aim      the prober got nothing and begins the next attempt: where its NAT had it, and has it now, the last first
 *   again    the same, but its NAT has lost what it had: nothing was refused, and the opener stays where it is
 *   target   the sender's endpoint now: the opener's, after an aim; of a plain punch, after its NAT restarted
 *   spent    the prober got nothing and has no attempt left
 *   verdict  the opener has nothing either: both give up
 */
#include <errno.h>
#include <string.h>

#include "udp_punch/portspray_internal.h"

enum note { NOTE_READY = 1, NOTE_AIM, NOTE_TARGET, NOTE_SPENT, NOTE_VERDICT, NOTE_AGAIN };

/* kind, attempt, and endpoints: address length, address, port */
#define EP_MAX   (1 + 16 + 2)
#define MOST_EPS 8
#define NOTE_MAX (2 + MOST_EPS * EP_MAX)

static void put_ep(uint8_t *note, size_t *len, const union base_ep *ep)
{
    size_t n = 0;
    const uint8_t *addr = base_ep_bytes(ep, &n);
    note[(*len)++] = (uint8_t)n;
    memcpy(note + *len, addr, n);
    *len += n;
    note[(*len)++] = (uint8_t)(base_ep_port(ep) >> 8);
    note[(*len)++] = (uint8_t)base_ep_port(ep);
}

/* The endpoint `first`, if any, and then those of the list from its end. */
static void tell_eps(struct portspray *s, enum note kind, const union base_ep *first, const union base_ep *list,
                     size_t n)
{
    uint8_t note[NOTE_MAX] = {(uint8_t)kind, (uint8_t)s->attempt};
    size_t len = 2;
    if (first)
        put_ep(note, &len, first);
    for (size_t i = 1; i <= n && i < MOST_EPS; i++)
        put_ep(note, &len, &list[n - i]);
    peer_trial_note(s->trial, note, len);
}

static void tell(struct portspray *s, enum note kind)
{
    tell_eps(s, kind, NULL, NULL, 0);
}

/* The endpoint at *at, which moves behind it. */
static bool read_ep(const uint8_t *note, size_t len, size_t *at, union base_ep *out)
{
    const uint8_t *p = note + *at;
    size_t left = len - *at, n = left ? p[0] : 0;
    if ((n != 4 && n != 16) || left < 1 + n + 2)
        return false;
    *out = base_ep_from_bytes(n == 4 ? AF_INET : AF_INET6, p + 1, (uint16_t)(p[1 + n] << 8 | p[2 + n]));
    *at += 1 + n + 2;
    return base_ep_port(out) != 0;
}

void portspray_tell_ready(struct portspray *s)
{
    /* Probes need to know which socket the holes are of. */
    if (s->told_ready || s->resampling)
        return;
    s->told_ready = true;
    tell(s, NOTE_READY);
}

/* ---- the prober ------------------------------------------------------------------------------ */

void portspray_spent(struct portspray *s)
{
    if (s->told_spent)
        return;
    s->told_spent = true;
    int err = -ENOENT;
    if (s->attempt + 1 < s->attempts) {
        int fresh = peer_udp_socket(s->trial);
        err = fresh < 0 ? fresh : peer_udp_resample(s->trial, (unsigned)fresh);
    }
    /* portspray_sampled() follows */
    if (err < 0 && err != -EBUSY)
        tell(s, NOTE_SPENT);
}

/* As many attempts as at the start: what the NAT forgot no longer counts against its table. */
void portspray_rejoined(struct portspray *s)
{
    portspray_unverify(s);
    if (s->punch || s->opener) {
        s->opener_moved = true;
        peer_udp_resample(s->trial, s->hole_socket); /* portspray_sampled() follows */
        return;
    }
    s->attempts = s->attempt + 1 + s->plan.search.attempts;
    s->told_spent = false;
    s->forgotten = true;
    portspray_spent(s);
}

/* ---- the opener ------------------------------------------------------------------------------ */

/* A NAT that has refused probes at our port may have moved its holes to another one for good: a fresh socket has a port
 * that nobody has been refused at. */
static void take_other_socket(struct portspray *s)
{
    int fresh = s->plan.search.careful ? peer_udp_socket(s->trial) : 0;
    unsigned socket = fresh > 0 ? (unsigned)fresh : s->hole_socket;
    if (peer_udp_resample(s->trial, socket) < 0)
        return;
    s->hole_socket = socket;
    s->resampling = socket > 0;
}

static void on_aim(struct portspray *s, const uint8_t *note, size_t len)
{
    union base_ep was, now[MOST_EPS];
    size_t at = 2, n = 0;
    unsigned attempt = s->attempt + 1;
    if (!s->opener || note[1] != (uint8_t)attempt)
        return;
    portspray_unverify(s); /* the prober has nothing, or nothing any more */
    /* Without an answer from S the prober does not know: the aim stays, but its mappings are new all the same. */
    if (read_ep(note, len, &at, &was))
        while (n < MOST_EPS && read_ep(note, len, &at, &now[MOST_EPS - 1 - n]))
            n++;
    if (n > 0 && portspray_aim_pool(&s->plan, &was, &now[MOST_EPS - n], n) < 0)
        peer_trial_error(s->trial, "no_memory");
    if (n > 0)
        s->target = now[MOST_EPS - 1];
    peer_trial_count(s->trial, "aimed_anew", 1);
    portspray_attempt(s, attempt);
    if (note[0] == NOTE_AIM)
        take_other_socket(s);
    portspray_wake(s);
}

void portspray_sampled(struct portspray *s, const union base_ep *was, const union base_ep *eps, size_t n)
{
    s->resampling = false;
    if (s->verified) {
        s->told_spent = false;
        return;
    }
    if (s->punch || s->opener) {
        bool moved = n > 0 && (s->hole_socket > 0 || !base_ep_equal(was, &eps[n - 1]));
        if (n > 0 && (moved || !s->opener_moved))
            tell_eps(s, NOTE_TARGET, &eps[n - 1], NULL, 0);
        s->opener_moved = false;
        if (s->first_out_ns)
            portspray_tell_ready(s);
        return;
    }
    portspray_attempt(s, s->attempt + 1);
    if (!base_ep_is_set(&s->seen_at))
        s->seen_at = *was;
    tell_eps(s, s->forgotten ? NOTE_AGAIN : NOTE_AIM, n > 0 ? &s->seen_at : NULL, eps, n);
    if (n > 0)
        s->seen_at = eps[n - 1];
    if (portspray_probes_open(s) == 0)
        portspray_wake(s);
}

static void give_up(struct portspray *s)
{
    peer_trial_why(s->trial, "predict_miss");
    peer_trial_fail(s->trial, RECORD_PREDICT_MISS);
}

/* ---- what comes ------------------------------------------------------------------------------ */

static void on_ready(struct portspray *s)
{
    s->other_ready_ns = base_now_ns();
    if (s->begin_ns == UINT64_MAX)
        s->begin_ns = s->other_ready_ns;
    portspray_wake(s);
}

/* Where the other side is now. A prober's packets so far went elsewhere. */
static void on_target(struct portspray *s, const union base_ep *ep)
{
    bool other = !base_ep_equal(ep, &s->target);
    s->target = *ep;
    if (other && s->punch)
        portspray_unverify(s);
    else if (other && s->round > 0 && !s->verified)
        portspray_spent(s);
}

void portspray_note(struct portspray *s, const uint8_t *note, size_t len)
{
    union base_ep ep;
    size_t at = 2;
    if (len < 2)
        return;
    if (note[0] == NOTE_AIM || note[0] == NOTE_AGAIN) {
        on_aim(s, note, len);
        return;
    }
    if (note[1] != (uint8_t)s->attempt)
        return;
    if (note[0] == NOTE_READY) {
        on_ready(s);
    } else if (note[0] == NOTE_TARGET && !s->opener && read_ep(note, len, &at, &ep)) {
        on_target(s, &ep);
    } else if (note[0] == NOTE_SPENT && s->opener && !s->verified) {
        tell(s, NOTE_VERDICT);
        give_up(s);
    } else if (note[0] == NOTE_VERDICT && !s->opener && !s->verified) {
        give_up(s);
    }
}
