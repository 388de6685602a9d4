/*
 * Coming back to S. A NAT that restarts takes the control connection with it: a RST says so, or silence. While a word
 * of S is due, one that is late is asked for, and when there is no answer either, a second connection is tried beside
 * the first: whichever speaks first stays. The new one says who we are, proves the key and the place's token, and both
 * ends send again what the other one lacks (wire.h).
 */
#include <errno.h>
#include <string.h>

#include "bench/peer/internal.h"

/* In a trial S is asked after some round trips without a word of it; between trials it has nothing to say. */
#define QUIET_RTTS   2
#define QUIET_MIN_NS (50 * BASE_NS_PER_MS)
#define IDLE_NS      (5 * BASE_NS_PER_S)
/* Jitter and a busy host keep an answer longer than a round trip, and one that is lost is sent again after 200 ms and a
 * round trip. A mistake costs one connection. */
#define ANSWER_RTTS   6
#define ANSWER_MIN_NS (250 * BASE_NS_PER_MS)
/* One try: room for one lost SYN. After that TCP would wait for 3 s where a new connection waits for one. */
#define TRY_NS   (2 * BASE_NS_PER_S)
#define PAUSE_NS (200 * BASE_NS_PER_MS)
/* S keeps the place as long. Where one of five packets is lost a try fails in three of ten cases. */
#define GIVE_UP_NS (20 * BASE_NS_PER_S)

static uint64_t rtts(const struct peer *peer, unsigned n, uint64_t least_ns)
{
    uint64_t ns = n * peer->rtt_ns;
    return ns > least_ns ? ns : least_ns;
}

static bool watched(const struct peer *peer)
{
    return peer->rejoin.able && !peer->bye && (peer->state == PEER_WAITING || peer->state == PEER_RUNNING);
}

/* ---- frames that last ------------------------------------------------------------------------ */

void peer_rejoin_keep(struct peer *peer, enum wire_frame_type type, const uint8_t *frame, size_t len)
{
    if (peer->rejoin.able && wire_frame_lasts(type))
        wire_kept_add(&peer->rejoin.kept, frame, len);
}

static void drop_next(struct peer *peer)
{
    peer_control_abort(peer->rejoin.next);
    peer->rejoin.next = NULL;
    peer->rejoin.committed = false;
}

void peer_rejoin_heard(struct peer *peer, enum wire_frame_type type, const struct wire_reader *r)
{
    struct peer_rejoin *j = &peer->rejoin;
    uint64_t received, rtt, stamp;
    j->received += wire_frame_lasts(type);
    j->heard_ns = base_now_ns();
    j->asked_ns = j->lost_ns = 0;
    if (j->next && !j->committed)
        drop_next(peer);
    if (type == WIRE_PING && wire_get_u64(r, WIRE_F_RTT_NS, &rtt) == 0)
        peer_session_rtt(peer, rtt);
    if (type == WIRE_PONG && wire_get_u64(r, WIRE_F_STAMP, &stamp) == 0 && stamp <= j->heard_ns)
        peer_session_rtt(peer, j->heard_ns - stamp);
    if ((type == WIRE_PING || type == WIRE_PONG) && wire_get_u64(r, WIRE_F_RECEIVED, &received) == 0)
        wire_kept_drop(&j->kept, received);
}

/* ---- the new connection ---------------------------------------------------------------------- */

static void connected(struct peer *peer)
{
    struct peer_rejoin *j = &peer->rejoin;
    if (base_random_bytes(j->nonce, sizeof(j->nonce)) < 0) {
        drop_next(peer);
        return;
    }
    struct wire_writer *w = peer_control_begin(peer, WIRE_HELLO);
    peer_session_hello(peer, w, j->nonce);
    wire_put_u64(w, WIRE_F_ROLE, peer->role);
    wire_put_u64(w, WIRE_F_REJOIN, 1);
    peer_control_end_on(j->next);
}

/* From here on S may speak on the new connection only. */
static void prove(struct peer *peer, const struct wire_reader *r)
{
    struct peer_rejoin *j = &peer->rejoin;
    uint8_t nonce[WIRE_NONCE_LEN], proof[WIRE_MAC_LEN], expected[WIRE_MAC_LEN];
    if (wire_get_exact(r, WIRE_F_NONCE, nonce, sizeof(nonce)) < 0 ||
        wire_get_exact(r, WIRE_F_PROOF, proof, sizeof(proof)) < 0) {
        drop_next(peer);
        return;
    }
    wire_join_proof(peer->key, WIRE_JOIN_SERVER, j->nonce, nonce, expected);
    if (!wire_proof_equal(proof, expected)) {
        drop_next(peer);
        return;
    }
    peer_control_abort(peer->control);
    peer->control = NULL;
    j->committed = true;
    struct wire_writer *w = peer_control_begin(peer, WIRE_PROVE);
    wire_join_proof(peer->key, WIRE_JOIN_PEER, j->nonce, nonce, proof);
    wire_put_bytes(w, WIRE_F_PROOF, proof, sizeof(proof));
    wire_rejoin_proof(peer->key, j->token, j->nonce, nonce, proof);
    wire_put_bytes(w, WIRE_F_TOKEN, proof, sizeof(proof));
    wire_put_u64(w, WIRE_F_RECEIVED, j->received);
    peer_control_end_on(j->next);
}

void peer_trial_tell_rejoined(struct peer_trial *t)
{
    struct peer_event event = {.kind = PEER_EVENT_REJOINED};
    if (!t->rejoined || t->state != PEER_TRIAL_PUNCHING)
        return;
    t->rejoined = false;
    peer_trial_event(t, &event);
}

static void put_back(struct peer *peer, const struct wire_reader *r)
{
    struct peer_rejoin *j = &peer->rejoin;
    const uint8_t *frame;
    uint64_t received;
    size_t len, at = 0;
    if (!j->committed || wire_get_u64(r, WIRE_F_RECEIVED, &received) < 0 || j->kept.torn ||
        wire_kept_drop(&j->kept, received) < 0) {
        peer_session_lost(peer, -EBADMSG);
        return;
    }
    peer->control = j->next;
    j->next = NULL;
    j->committed = false;
    j->heard_ns = base_now_ns();
    j->asked_ns = j->lost_ns = 0;
    peer_control_hand_over(peer->control, &peer_session_events);
    while ((len = wire_kept_next(&j->kept, &at, &frame)) > 0)
        peer_control_send(peer->control, frame, len);
    base_debug("back in session '%s'", peer->config.session);
    if (!peer->trial)
        return;
    peer_trial_count(peer->trial, "rejoined", 1);
    peer->trial->rejoined = true;
    peer_trial_tell_rejoined(peer->trial);
}

static void frame(struct peer *peer, enum wire_frame_type type, const struct wire_reader *r)
{
    uint64_t code = 0;
    if (type == WIRE_CHALLENGE && !peer->rejoin.committed)
        prove(peer, r);
    else if (type == WIRE_JOINED)
        put_back(peer, r);
    else if (type == WIRE_ERROR && wire_get_u64(r, WIRE_F_CODE, &code) == 0 && code == WIRE_E_BUSY)
        drop_next(peer); /* and again, after a pause */
    else if (type == WIRE_ERROR)
        peer_session_refused(peer, r);
}

static void lost(struct peer *peer, int err)
{
    struct peer_rejoin *j = &peer->rejoin;
    drop_next(peer);
    j->next_ns = base_now_ns();
    /* Nobody listens there: whoever kept our place is gone. */
    if (!peer->control && err == -ECONNREFUSED)
        peer_session_lost(peer, j->err ? j->err : err);
}

static const struct peer_control_events rejoin_events = {.connected = connected, .frame = frame, .lost = lost};

static void try_again(struct peer *peer, uint64_t now)
{
    struct peer_rejoin *j = &peer->rejoin;
    if (j->next && now - j->next_ns < TRY_NS)
        return;
    if (!j->next && j->next_ns && now - j->next_ns < PAUSE_NS)
        return;
    drop_next(peer);
    j->next_ns = now;
    int err = peer_control_open(peer, &rejoin_events, &j->next);
    if (err < 0)
        base_debug("no new connection to the server: %s", strerror(-err));
}

/* ---- watching -------------------------------------------------------------------------------- */

/* When to look again; 0: there is nothing to watch any more. */
static uint64_t look(struct peer *peer)
{
    struct peer_rejoin *j = &peer->rejoin;
    uint64_t now = base_now_ns();
    uint64_t quiet = peer->trial ? rtts(peer, QUIET_RTTS, QUIET_MIN_NS) : IDLE_NS;
    if (!watched(peer))
        return 0;
    if (peer->control && now < j->heard_ns + quiet)
        return j->heard_ns + quiet;
    if (peer->control && !j->asked_ns) {
        j->asked_ns = now;
        struct wire_writer *w = peer_control_begin(peer, WIRE_PING);
        wire_put_u64(w, WIRE_F_STAMP, now);
        wire_put_u64(w, WIRE_F_RECEIVED, j->received);
        peer_control_end(peer);
    }
    uint64_t answer = j->asked_ns + rtts(peer, ANSWER_RTTS, ANSWER_MIN_NS);
    if (peer->control && now < answer)
        return answer;
    if (!j->lost_ns)
        j->lost_ns = now;
    if (now - j->lost_ns >= GIVE_UP_NS) {
        peer_session_lost(peer, j->err ? j->err : -ETIMEDOUT);
        return 0;
    }
    try_again(peer, now);
    return now + PAUSE_NS / 4;
}

static void timer_done(struct loop_op *op, int res)
{
    struct peer *peer = op->owner;
    (void)res; /* cancelled: something has changed, so it is looked at now */
    uint64_t when = look(peer);
    if (when && !op->pending)
        loop_timer(peer->loop, op, when);
}

void peer_rejoin_watch(struct peer *peer)
{
    struct peer_rejoin *j = &peer->rejoin;
    if (!watched(peer))
        return;
    if (j->timer.pending)
        loop_cancel(peer->loop, &j->timer);
    else
        loop_timer(peer->loop, &j->timer, base_now_ns());
}

bool peer_rejoin_lost(struct peer *peer, int err)
{
    struct peer_rejoin *j = &peer->rejoin;
    bool ours = err == -EBADMSG || err == -EMSGSIZE || err == -EPROTONOSUPPORT || err == -ENOMEM || err == -ENOSPC;
    /* 0: S itself has closed. */
    if (!watched(peer) || err == 0 || ours || j->kept.torn)
        return false;
    peer_control_abort(peer->control);
    peer->control = NULL;
    j->err = err;
    if (!j->lost_ns)
        j->lost_ns = base_now_ns();
    peer_rejoin_watch(peer);
    return true;
}

/* ---- life ------------------------------------------------------------------------------------ */

void peer_rejoin_init(struct peer *peer)
{
    loop_op_init(&peer->rejoin.timer, timer_done, peer);
}

void peer_rejoin_joined(struct peer *peer, const struct wire_reader *r)
{
    struct peer_rejoin *j = &peer->rejoin;
    j->able = wire_get_exact(r, WIRE_F_TOKEN, j->token, sizeof(j->token)) == 0;
    j->heard_ns = base_now_ns();
}

void peer_rejoin_stop(struct peer *peer)
{
    drop_next(peer);
    loop_cancel(peer->loop, &peer->rejoin.timer);
    wire_kept_free(&peer->rejoin.kept);
    peer->rejoin.able = false;
}
