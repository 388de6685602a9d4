/*
 * A TURN allocation's life: begun, kept alive, deleted (RFC 8656, sections 7 to 12).
 *
 * Freeing: only ever at the end of a completion (turn_maybe_free), and only when `dead` is set and no operation is
 * pending. Who wants to die sets the timer, so that one more completion is sure to come.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/baseline/internal.h"

#define PERMISSION_NS (240 * BASE_NS_PER_S)
#define CHANNEL_NS    (540 * BASE_NS_PER_S)
/* Of an allocation (RFC 8656, 7.2). */
#define DEFAULT_LIFETIME_S 600
/* Refreshed so long before the end (RFC 8656, 8: about a minute), or at half time where that is later. */
#define REFRESH_EARLY_S 60
/* A deletion is not waited for longer than this: the server also forgets by itself. */
#define LINGER_NS BASE_NS_PER_S

const char *baseline_turn_fate_name(enum baseline_turn_fate fate)
{
    static const char *const names[BASELINE_TURN_FATES] = {
        "turn_ok",
        "turn_no_answer",
        "turn_unreachable",
        "turn_wrong_credentials",
        "turn_stale_nonce",
        "turn_gone",
        "turn_quota",
        "turn_capacity",
        "turn_forbidden",
        "turn_unsupported",
        "turn_peer_unreachable",
        "turn_protocol",
    };
    return fate < BASELINE_TURN_FATES ? names[fate] : "turn_protocol";
}

enum baseline_turn_fate turn_fate_of(uint16_t code)
{
    switch (code) {
    case 0:
        return BASELINE_TURN_OK;
    case WIRE_TURN_E_UNAUTHORIZED:
    case WIRE_TURN_E_WRONG_CREDENTIALS:
        return BASELINE_TURN_WRONG_CREDENTIALS;
    case WIRE_TURN_E_STALE_NONCE:
        return BASELINE_TURN_STALE_NONCE;
    case WIRE_TURN_E_ALLOCATION_MISMATCH:
        return BASELINE_TURN_GONE;
    case WIRE_TURN_E_QUOTA:
        return BASELINE_TURN_QUOTA;
    case WIRE_TURN_E_CAPACITY:
        return BASELINE_TURN_CAPACITY;
    case WIRE_TURN_E_FORBIDDEN:
        return BASELINE_TURN_FORBIDDEN;
    case WIRE_TURN_E_BAD_REQUEST:
    case 420:
    case WIRE_TURN_E_ADDRESS_FAMILY:
    case WIRE_TURN_E_TRANSPORT:
        return BASELINE_TURN_UNSUPPORTED;
    case WIRE_TURN_E_CONNECTION_FAILED:
        return BASELINE_TURN_PEER_UNREACHABLE;
    default:
        return BASELINE_TURN_PROTOCOL;
    }
}

enum baseline_turn_fate turn_fate_of_errno(int err)
{
    switch (-err) {
    case ECONNREFUSED:
    case ENETUNREACH:
    case EHOSTUNREACH:
        return BASELINE_TURN_UNREACHABLE;
    case EBADMSG:
    case EMSGSIZE:
        return BASELINE_TURN_PROTOCOL;
    default:
        return BASELINE_TURN_NO_ANSWER;
    }
}

void turn_emit(struct baseline_turn *turn, const struct baseline_turn_event *event)
{
    bool wanted =
        event->kind == BASELINE_TURN_CLOSED || event->kind == BASELINE_TURN_FAILED || turn->state != TURN_FAILED;
    if (wanted && (!turn->closing || event->kind == BASELINE_TURN_CLOSED))
        turn->config.event(turn->config.owner, event);
    else if (event->kind == BASELINE_TURN_CONNECTED)
        close(event->fd);
}

void turn_fail(struct baseline_turn *turn, enum baseline_turn_fate fate, uint16_t code)
{
    struct baseline_turn_event event = {.kind = BASELINE_TURN_FAILED, .fate = fate, .code = code, .fd = -1};
    if (turn->state == TURN_FAILED)
        return;
    turn->state = TURN_FAILED;
    turn->linger_ns = 0;
    turn_requests_drop(turn);
    turn_tcp_cancel(turn);
    turn_wake(turn);
    turn_emit(turn, &event);
}

/* ---- peers ----------------------------------------------------------------------------------- */

struct turn_peer *turn_find_peer(struct baseline_turn *turn, const union base_ep *ep)
{
    for (size_t i = 0; i < turn->n_peers; i++)
        if (base_ep_equal(&turn->peers[i].ep, ep))
            return &turn->peers[i];
    return NULL;
}

struct turn_peer *turn_find_channel(struct baseline_turn *turn, uint16_t channel)
{
    for (size_t i = 0; i < turn->n_peers; i++)
        if (turn->peers[i].channel == channel && turn->peers[i].bound)
            return &turn->peers[i];
    return NULL;
}

static struct turn_peer *add_peer(struct baseline_turn *turn, const union base_ep *ep)
{
    struct turn_peer *peer = turn_find_peer(turn, ep);
    if (!peer && turn->n_peers < BASELINE_TURN_MAX_PEERS) {
        peer = &turn->peers[turn->n_peers++];
        *peer = (struct turn_peer){.ep = *ep};
    }
    return peer;
}

static int ask_permission(struct baseline_turn *turn, const union base_ep *ep)
{
    struct turn_ask ask = {.method = WIRE_TURN_CREATE_PERMISSION, .peer = *ep};
    return turn_ask(turn, &ask);
}

static int ask_channel(struct baseline_turn *turn, const struct turn_peer *peer)
{
    struct turn_ask ask = {.method = WIRE_TURN_CHANNEL_BIND, .peer = peer->ep, .channel = peer->channel};
    return turn_ask(turn, &ask);
}

int baseline_turn_permit(struct baseline_turn *turn, const union base_ep *ep)
{
    if (turn->state != TURN_ALLOCATED || turn->closing)
        return -ENOTCONN;
    return add_peer(turn, ep) ? ask_permission(turn, ep) : -ENOSPC;
}

int baseline_turn_bind(struct baseline_turn *turn, const union base_ep *ep)
{
    if (turn->state != TURN_ALLOCATED || turn->closing)
        return -ENOTCONN;
    struct turn_peer *peer = add_peer(turn, ep);
    if (!peer)
        return -ENOSPC;
    if (!peer->channel)
        peer->channel = turn->next_channel++;
    return ask_channel(turn, peer);
}

int baseline_turn_connect(struct baseline_turn *turn, const union base_ep *ep)
{
    struct turn_ask ask = {.method = WIRE_TURN_CONNECT, .peer = *ep};
    if (turn->state != TURN_ALLOCATED || turn->closing)
        return -ENOTCONN;
    return turn_ask(turn, &ask);
}

int baseline_turn_send(struct baseline_turn *turn, const union base_ep *ep, const void *data, size_t len)
{
    uint8_t buf[WIRE_STUN_MAX_LEN], txid[WIRE_STUN_TXID_LEN];
    struct wire_stun_writer w;
    if (turn->state != TURN_ALLOCATED || turn->closing)
        return -ENOTCONN;
    if (len > BASELINE_TURN_MAX_DATA)
        return -EMSGSIZE;
    const struct turn_peer *peer = turn_find_peer(turn, ep);
    int n = 0;
    if (peer && peer->bound) {
        n = wire_turn_channel_encode(peer->channel, data, len, turn->config.tcp, buf, sizeof(buf));
    } else {
        n = base_random_bytes(txid, sizeof(txid));
        if (n < 0)
            return n;
        wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_INDICATION, WIRE_TURN_SEND, txid);
        wire_stun_put_address(&w, WIRE_TURN_XOR_PEER_ADDRESS, ep);
        wire_stun_put(&w, WIRE_TURN_DATA_ATTR, data, len);
        n = wire_stun_end(&w, false);
    }
    return n < 0 ? n : turn_server_send(turn, buf, (size_t)n);
}

/* ---- another port ----------------------------------------------------------------------------- */

/* A NAT may give us a port whose last owner has left an allocation on the server: three are tried (RFC 8656, 7.4). */
#define MAX_MOVES 2

static bool moves(struct baseline_turn *turn, const struct turn_ask *ask, uint16_t code)
{
    bool can = ask->method == WIRE_TURN_ALLOCATE && code == WIRE_TURN_E_ALLOCATION_MISMATCH && !turn->config.tcp &&
               turn->moves < MAX_MOVES && !turn->closing;
    if (!can || turn_server_move(turn) < 0)
        return false;
    turn->moves++;
    return turn_ask(turn, ask) == 0;
}

/* ---- doubt ----------------------------------------------------------------------------------- */

/* Some servers call a request for an allocation that has expired just bad (coturn: 400, not 437): a Refresh tells. */
static bool doubts(struct baseline_turn *turn, const struct turn_ask *ask, uint16_t code)
{
    struct turn_ask refresh = {.method = WIRE_TURN_REFRESH, .lifetime_s = turn->config.lifetime_s};
    if (code != WIRE_TURN_E_BAD_REQUEST || turn->doubted || ask->method == WIRE_TURN_ALLOCATE ||
        ask->method == WIRE_TURN_REFRESH)
        return false;
    if (!refresh.lifetime_s)
        refresh.lifetime_s = DEFAULT_LIFETIME_S;
    turn->doubted = turn_ask(turn, &refresh) == 0;
    turn->doubt = *ask;
    return turn->doubted;
}

/* It stands: then the request was refused for what it is. */
static void doubt_ends(struct baseline_turn *turn)
{
    if (!turn->doubted)
        return;
    turn_refused(turn, &turn->doubt, turn_fate_of(WIRE_TURN_E_BAD_REQUEST), WIRE_TURN_E_BAD_REQUEST);
    turn->doubted = false;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void set_refresh(struct baseline_turn *turn, const struct wire_turn *msg)
{
    uint64_t s = msg->has_lifetime ? msg->lifetime_s : 0;
    uint64_t wait = s > 2 * REFRESH_EARLY_S ? (s - REFRESH_EARLY_S) * BASE_NS_PER_S : s * BASE_NS_PER_S / 2;
    turn->refresh_ns = s ? base_now_ns() + wait : 0;
}

static void allocated(struct baseline_turn *turn, const struct wire_turn *msg)
{
    struct baseline_turn_event event = {
        .kind = BASELINE_TURN_ALLOCATED, .peer = msg->relayed, .mapped = msg->stun.xor_mapped, .fd = -1};
    if (!base_ep_is_set(&msg->relayed)) {
        turn_fail(turn, BASELINE_TURN_PROTOCOL, 0);
        return;
    }
    turn->state = TURN_ALLOCATED;
    set_refresh(turn, msg);
    turn_emit(turn, &event);
}

static void kept(struct baseline_turn *turn, const struct turn_ask *ask)
{
    const struct baseline_turn_config *c = &turn->config;
    uint64_t now = base_now_ns();
    struct turn_peer *peer = turn_find_peer(turn, &ask->peer);
    bool channel = ask->method == WIRE_TURN_CHANNEL_BIND;
    struct baseline_turn_event event = {
        .kind = channel ? BASELINE_TURN_BOUND : BASELINE_TURN_PERMITTED, .peer = ask->peer, .fd = -1};
    if (!peer)
        return;
    bool first = channel ? !peer->bound : !peer->permitted;
    /* A channel is bound for ten minutes, but permits for five only. */
    peer->permitted = true;
    peer->permit_ns = now + (c->permission_ns ? c->permission_ns : PERMISSION_NS);
    if (channel) {
        peer->bound = true;
        peer->channel_ns = now + (c->channel_ns ? c->channel_ns : CHANNEL_NS);
    }
    if (first)
        turn_emit(turn, &event);
}

void turn_answered(struct baseline_turn *turn, const struct turn_ask *ask, const struct wire_turn *msg)
{
    switch (ask->method) {
    case WIRE_TURN_ALLOCATE:
        allocated(turn, msg);
        break;
    case WIRE_TURN_REFRESH:
        if (turn->closing)
            turn->linger_ns = 0;
        else
            set_refresh(turn, msg);
        doubt_ends(turn);
        break;
    case WIRE_TURN_CONNECT:
        if (msg->has_connection)
            turn_tcp_bind(turn, msg->connection, &ask->peer, false);
        else
            turn_refused(turn, ask, BASELINE_TURN_PROTOCOL, 0);
        break;
    default:
        kept(turn, ask);
    }
    turn_wake(turn);
}

void turn_refused(struct baseline_turn *turn, const struct turn_ask *ask, enum baseline_turn_fate fate, uint16_t code)
{
    struct baseline_turn_event event = {
        .kind = BASELINE_TURN_REFUSED, .peer = ask->peer, .fate = fate, .code = code, .fd = -1};
    struct turn_peer *peer = turn_find_peer(turn, &ask->peer);
    bool mine = ask->method == WIRE_TURN_ALLOCATE || ask->method == WIRE_TURN_REFRESH;
    /* A server that does not answer, does not know the allocation, or no longer knows us, has lost it. A peer that is
     * out of its reach is no reason. */
    bool lost = fate == BASELINE_TURN_GONE || fate == BASELINE_TURN_WRONG_CREDENTIALS ||
                fate == BASELINE_TURN_STALE_NONCE ||
                (fate == BASELINE_TURN_NO_ANSWER && ask->method != WIRE_TURN_CONNECT);
    /* The server is waiting for the peer, and so are we no longer. */
    if (fate == BASELINE_TURN_NO_ANSWER && ask->method == WIRE_TURN_CONNECT)
        event.fate = BASELINE_TURN_PEER_UNREACHABLE;
    if (doubts(turn, ask, code) || moves(turn, ask, code))
        return;
    if (mine || lost) {
        turn_fail(turn, fate, code);
        return;
    }
    if (peer && ask->method == WIRE_TURN_CHANNEL_BIND) {
        peer->bound = false;
        peer->channel_ns = 0;
    } else if (peer && ask->method == WIRE_TURN_CREATE_PERMISSION) {
        peer->permitted = false;
        peer->permit_ns = 0;
    }
    turn_emit(turn, &event);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* What must be renewed: asked for once; the answer sets the next time, and no answer ends it all. */
static void renew(struct baseline_turn *turn, uint64_t now)
{
    struct turn_ask ask = {.method = WIRE_TURN_REFRESH, .lifetime_s = turn->config.lifetime_s};
    if (turn->refresh_ns && now >= turn->refresh_ns) {
        /* A Refresh always says how long. */
        if (!ask.lifetime_s)
            ask.lifetime_s = DEFAULT_LIFETIME_S;
        turn->refresh_ns = 0;
        turn_ask(turn, &ask);
    }
    for (size_t i = 0; i < turn->n_peers; i++) {
        struct turn_peer *peer = &turn->peers[i];
        if (peer->channel_ns && now >= peer->channel_ns) {
            peer->channel_ns = 0;
            ask_channel(turn, peer);
        }
        if (peer->permit_ns && now >= peer->permit_ns) {
            peer->permit_ns = 0;
            ask_permission(turn, &peer->ep);
        }
    }
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return b && b < a ? b : a;
}

static uint64_t next_ns(const struct baseline_turn *turn)
{
    uint64_t next = sooner(turn_requests_next(turn), turn_tcp_next(turn));
    if (turn->closing)
        return turn->linger_ns < next ? turn->linger_ns : next;
    next = sooner(next, turn->connect_until_ns);
    if (turn->state != TURN_ALLOCATED)
        return next;
    next = sooner(next, turn->refresh_ns);
    for (size_t i = 0; i < turn->n_peers; i++)
        next = sooner(sooner(next, turn->peers[i].channel_ns), turn->peers[i].permit_ns);
    return next;
}

void turn_wake(struct baseline_turn *turn)
{
    uint64_t next = turn->dead ? UINT64_MAX : next_ns(turn);
    if (next == UINT64_MAX)
        return;
    if (!turn->timer.pending) {
        turn->timer_ns = next;
        loop_timer(turn->loop, &turn->timer, next);
    } else if (next < turn->timer_ns) {
        turn->timer_ns = 0;
        loop_cancel(turn->loop, &turn->timer); /* its completion sets it anew */
    }
}

static void die(struct baseline_turn *turn)
{
    turn->dead = true;
    turn_requests_drop(turn);
    turn_server_cancel(turn);
    turn_tcp_cancel(turn);
}

static void timer_done(struct loop_op *op, int res)
{
    struct baseline_turn *turn = op->owner;
    uint64_t now = base_now_ns();
    (void)res; /* cancelled: to be set anew */
    turn_requests_due(turn, now);
    turn_tcp_due(turn, now);
    if (turn->connect_until_ns && now >= turn->connect_until_ns) {
        turn->connect_until_ns = UINT64_MAX;
        loop_cancel(turn->loop, &turn->io_op); /* its completion fails the allocation */
    }
    if (turn->state == TURN_ALLOCATED && !turn->closing)
        renew(turn, now);
    if (turn->closing && now >= turn->linger_ns)
        die(turn);
    turn_wake(turn);
    turn_maybe_free(turn);
}

/* ---- life ------------------------------------------------------------------------------------ */

void turn_maybe_free(struct baseline_turn *turn)
{
    struct baseline_turn_event event = {.kind = BASELINE_TURN_CLOSED, .fd = -1};
    if (!turn->dead || turn->timer.pending || turn->io_op.pending || turn->send_op.pending || turn_tcp_pending(turn))
        return;
    close(turn->fd);
    turn_emit(turn, &event);
    explicit_bzero(turn->password, sizeof(turn->password));
    free(turn);
}

static bool config_ok(const struct baseline_turn_config *c)
{
    return base_ep_is_set(&c->server) && c->user && c->password && c->event && (c->tcp || !c->relay_tcp) && *c->user &&
           strlen(c->user) <= BASELINE_TURN_MAX_NAME && strlen(c->password) <= BASELINE_TURN_MAX_NAME;
}

int baseline_turn_open(struct loop *loop, const struct baseline_turn_config *config, struct baseline_turn **out)
{
    struct turn_ask ask = {.method = WIRE_TURN_ALLOCATE, .lifetime_s = config->lifetime_s};
    if (!config_ok(config))
        return -EINVAL;
    struct baseline_turn *turn = calloc(1, sizeof(*turn));
    if (!turn)
        return -ENOMEM;
    turn->loop = loop;
    turn->config = *config;
    memcpy(turn->user, config->user, strlen(config->user));
    memcpy(turn->password, config->password, strlen(config->password));
    turn->config.user = turn->user;
    turn->config.password = turn->password;
    turn->next_channel = WIRE_TURN_CHANNEL_MIN;
    loop_op_init(&turn->timer, timer_done, turn);
    int err = turn_server_open(turn);
    if (err == 0) {
        err = turn_ask(turn, &ask);
        if (err < 0)
            close(turn->fd);
    }
    if (err < 0) {
        free(turn);
        return err;
    }
    turn_server_start(turn);
    *out = turn;
    return 0;
}

void baseline_turn_close(struct baseline_turn *turn)
{
    struct turn_ask ask = {.method = WIRE_TURN_REFRESH};
    if (turn->closing)
        return;
    turn->closing = true;
    turn_requests_drop(turn);
    turn_tcp_cancel(turn);
    if (turn->state == TURN_ALLOCATED && turn_ask(turn, &ask) == 0)
        turn->linger_ns = base_now_ns() + LINGER_NS;
    turn_wake(turn);
}
