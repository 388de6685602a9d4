/* Requests to a TURN server: credentials, retransmission, and what an answer means (RFC 8489, sections 6.2 and 9.2). */
#include <errno.h>
#include <string.h>

#include "bench/baseline/internal.h"

#define RTO_NS (500 * BASE_NS_PER_MS)
/* Over UDP the last of seven is waited for 16 RTO; over TCP as long in all (RFC 8489, 6.2.1 and 6.2.2). */
#define PATIENCE_NS (39500 * BASE_NS_PER_MS)

uint64_t turn_patience_ns(const struct baseline_turn *turn)
{
    return turn->config.patience_ns ? turn->config.patience_ns : PATIENCE_NS;
}

/* ---- making ---------------------------------------------------------------------------------- */

static void put_ask(struct wire_stun_writer *w, const struct baseline_turn *turn, const struct turn_ask *ask)
{
    const uint8_t transport[4] = {turn->config.relay_tcp ? WIRE_TURN_TCP : WIRE_TURN_UDP};
    /* An IPv4 address is what a server relays from otherwise (RFC 8656, 7.2). */
    const uint8_t family[4] = {WIRE_TURN_IPV6};
    const uint8_t channel[4] = {(uint8_t)(ask->channel >> 8), (uint8_t)ask->channel};
    switch (ask->method) {
    case WIRE_TURN_ALLOCATE:
        wire_stun_put(w, WIRE_TURN_REQUESTED_TRANSPORT, transport, sizeof(transport));
        if (turn->config.server.sa.sa_family == AF_INET6)
            wire_stun_put(w, WIRE_TURN_REQUESTED_ADDRESS_FAMILY, family, sizeof(family));
        if (ask->lifetime_s)
            wire_stun_put_u32(w, WIRE_TURN_LIFETIME, ask->lifetime_s);
        break;
    case WIRE_TURN_REFRESH:
        wire_stun_put_u32(w, WIRE_TURN_LIFETIME, ask->lifetime_s);
        break;
    case WIRE_TURN_CHANNEL_BIND:
        wire_stun_put(w, WIRE_TURN_CHANNEL_NUMBER, channel, sizeof(channel));
        break;
    case WIRE_TURN_CONNECTION_BIND:
        wire_stun_put_u32(w, WIRE_TURN_CONNECTION_ID, ask->connection);
        break;
    default:
        break;
    }
    wire_stun_put_address(w, WIRE_TURN_XOR_PEER_ADDRESS, &ask->peer);
}

int turn_build(const struct baseline_turn *turn, const struct turn_ask *ask, uint8_t txid[WIRE_STUN_TXID_LEN],
               uint8_t *buf, size_t cap)
{
    struct wire_stun_writer w;
    int err = base_random_bytes(txid, WIRE_STUN_TXID_LEN);
    if (err < 0)
        return err;
    wire_stun_begin(&w, buf, cap, WIRE_STUN_REQUEST, ask->method, txid);
    put_ask(&w, turn, ask);
    if (turn->have_key) {
        wire_stun_put(&w, WIRE_STUN_USERNAME, turn->user, strlen(turn->user));
        wire_stun_put(&w, WIRE_STUN_REALM, turn->realm, turn->realm_len);
        wire_stun_put(&w, WIRE_STUN_NONCE, turn->nonce, turn->nonce_len);
        wire_stun_put_integrity(&w, turn->key, sizeof(turn->key));
    }
    return wire_stun_end(&w, true);
}

/* Fresh bytes under the credentials of now, and the first sending. */
static int send_request(struct baseline_turn *turn, struct turn_request *r)
{
    int len = turn_build(turn, &r->ask, r->txid, r->bytes, sizeof(r->bytes));
    if (len < 0)
        return len;
    uint64_t now = base_now_ns();
    r->len = (size_t)len;
    r->authenticated = turn->have_key;
    r->interval_ns = turn->config.rto_ns ? turn->config.rto_ns : RTO_NS;
    r->again_ns = turn->config.tcp ? UINT64_MAX : now + r->interval_ns;
    r->until_ns = now + turn_patience_ns(turn);
    turn_server_send(turn, r->bytes, r->len); /* what the socket had no room for is sent again */
    turn_wake(turn);
    return 0;
}

int turn_ask(struct baseline_turn *turn, const struct turn_ask *ask)
{
    for (size_t i = 0; i < TURN_MAX_REQUESTS; i++) {
        struct turn_request *r = &turn->requests[i];
        if (r->active)
            continue;
        r->ask = *ask;
        r->retried = false;
        r->active = true; /* the timer looks at it */
        int err = send_request(turn, r);
        r->active = err == 0;
        return err;
    }
    return -ENOSPC;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* The realm and nonce of a challenge. False when it has none, or no key can be made. */
static bool take_challenge(struct baseline_turn *turn, const struct wire_turn *msg)
{
    if (!msg->realm || !msg->nonce)
        return false;
    memcpy(turn->realm, msg->realm, msg->realm_len);
    turn->realm_len = msg->realm_len;
    memcpy(turn->nonce, msg->nonce, msg->nonce_len);
    turn->nonce_len = msg->nonce_len;
    turn->have_key = wire_turn_key(turn->user, turn->realm, turn->realm_len, turn->password, turn->key) == 0;
    return turn->have_key;
}

enum turn_verdict turn_judge(struct baseline_turn *turn, const uint8_t *buf, size_t len, const struct wire_turn *msg,
                             bool authenticated, bool retried, enum baseline_turn_fate *fate)
{
    uint16_t code = msg->stun.cls == WIRE_STUN_ERROR ? msg->stun.error_code : 0;
    if (msg->stun.cls == WIRE_STUN_ERROR && !code)
        return TURN_DROP;
    *fate = turn_fate_of(code);
    /* Challenges are not authenticated: there may be no common key yet (RFC 8489, 9.2.5). */
    if (code == WIRE_TURN_E_UNAUTHORIZED && !authenticated)
        return take_challenge(turn, msg) ? TURN_AGAIN : TURN_REFUSE;
    if (code == WIRE_TURN_E_STALE_NONCE)
        return !retried && take_challenge(turn, msg) ? TURN_AGAIN : TURN_REFUSE;
    if (code == WIRE_TURN_E_UNAUTHORIZED)
        return TURN_REFUSE;
    /* Other errors count without a MAC, which not all servers add; but not with a wrong one. */
    bool right = wire_stun_check_integrity(buf, len, &msg->stun, turn->key, sizeof(turn->key));
    if (authenticated && !right && (!code || msg->stun.integrity))
        return TURN_DROP;
    if (code)
        return TURN_REFUSE;
    *fate = BASELINE_TURN_PROTOCOL;
    return msg->stun.n_unknown ? TURN_REFUSE : TURN_TAKE;
}

static void answer(struct baseline_turn *turn, struct turn_request *r, const uint8_t *buf, size_t len,
                   const struct wire_turn *msg)
{
    enum baseline_turn_fate fate = BASELINE_TURN_OK;
    enum turn_verdict verdict = turn_judge(turn, buf, len, msg, r->authenticated, r->retried, &fate);
    struct turn_ask ask = r->ask;
    if (verdict == TURN_DROP)
        return;
    if (verdict == TURN_AGAIN) {
        /* A challenge to a request without credentials is not the one retry. */
        r->retried = r->authenticated;
        if (send_request(turn, r) == 0)
            return;
        verdict = TURN_REFUSE;
        fate = BASELINE_TURN_PROTOCOL;
    }
    r->active = false;
    if (verdict == TURN_TAKE)
        turn_answered(turn, &ask, msg);
    else
        turn_refused(turn, &ask, fate, msg->stun.error_code);
}

static void indication(struct baseline_turn *turn, const struct wire_turn *msg)
{
    if (turn->state != TURN_ALLOCATED || turn->closing || msg->stun.n_unknown || !base_ep_is_set(&msg->peer))
        return;
    struct baseline_turn_event event = {
        .kind = BASELINE_TURN_DATA, .peer = msg->peer, .data = msg->data, .data_len = msg->data_len, .fd = -1};
    if (msg->stun.method == WIRE_TURN_DATA && msg->data)
        turn_emit(turn, &event);
    else if (msg->stun.method == WIRE_TURN_CONNECTION_ATTEMPT && msg->has_connection)
        turn_tcp_bind(turn, msg->connection, &msg->peer, true);
}

void turn_message(struct baseline_turn *turn, const uint8_t *buf, size_t len)
{
    struct wire_turn msg;
    if (wire_turn_decode(buf, len, &msg) < 0)
        return;
    if (msg.stun.cls == WIRE_STUN_INDICATION) {
        indication(turn, &msg);
        return;
    }
    if (msg.stun.cls == WIRE_STUN_REQUEST)
        return;
    for (size_t i = 0; i < TURN_MAX_REQUESTS; i++) {
        struct turn_request *r = &turn->requests[i];
        if (r->active && r->ask.method == msg.stun.method && memcmp(r->txid, msg.stun.txid, WIRE_STUN_TXID_LEN) == 0) {
            answer(turn, r, buf, len, &msg);
            return;
        }
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

void turn_requests_due(struct baseline_turn *turn, uint64_t now_ns)
{
    for (size_t i = 0; i < TURN_MAX_REQUESTS; i++) {
        struct turn_request *r = &turn->requests[i];
        if (r->active && now_ns >= r->until_ns) {
            struct turn_ask ask = r->ask;
            r->active = false;
            turn_refused(turn, &ask, BASELINE_TURN_NO_ANSWER, 0);
        } else if (r->active && now_ns >= r->again_ns) {
            r->interval_ns *= 2;
            r->again_ns = now_ns + r->interval_ns;
            turn_server_send(turn, r->bytes, r->len);
        }
    }
}

uint64_t turn_requests_next(const struct baseline_turn *turn)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < TURN_MAX_REQUESTS; i++) {
        const struct turn_request *r = &turn->requests[i];
        if (r->active && r->again_ns < next)
            next = r->again_ns;
        if (r->active && r->until_ns < next)
            next = r->until_ns;
    }
    return next;
}

void turn_requests_drop(struct baseline_turn *turn)
{
    for (size_t i = 0; i < TURN_MAX_REQUESTS; i++)
        turn->requests[i].active = false;
}
