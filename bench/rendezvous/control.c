/* The control protocol on one connection, up to the session: HELLO, the proof of the key, a place; then frames. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rendezvous/conn.h"

/* Nobody has proven anything yet: that much has to do. */
#define UNPROVEN_FRAME_MAX 4096
#define DISCOVER_IDLE_NS   (120 * BASE_NS_PER_S)

/* ---- refusing -------------------------------------------------------------------------------- */

void conn_refuse(struct conn *c, enum wire_error code, const char *why)
{
    uint8_t frame[256];
    char from[BASE_EP_STRLEN];
    struct wire_writer w;
    struct session *s = c->session;
    base_info("%s: refused: %s", base_ep_format(&c->from, from), why);
    wire_frame_begin(&w, frame, sizeof(frame), WIRE_ERROR);
    wire_put_u64(&w, WIRE_F_CODE, code);
    wire_put_text(&w, WIRE_F_TEXT, why);
    int len = wire_frame_end(&w, (uint32_t)base_rng_u64(&c->server->host.masks));
    if (len > 0)
        conn_send(c, frame, (size_t)len);
    conn_finish(c);
    if (s) {
        session_left(s, c->role);
        server_settle(c->server, s);
    }
}

static void conn_violation(struct conn *c, enum wire_error code, const char *why)
{
    c->server->violations++;
    conn_refuse(c, code, why);
}

/* ---- joining --------------------------------------------------------------------------------- */

static void on_hello(struct conn *c, const struct wire_reader *r, uint64_t now)
{
    struct server *server = c->server;
    struct wire_writer w;
    uint8_t frame[128], key[WIRE_KEY_LEN], proof[WIRE_MAC_LEN];
    const char *why;
    if (!limits_take(server->join_limits, &c->from, now)) {
        conn_refuse(c, WIRE_E_BUSY, "too many joins from this address: wait a second");
        return;
    }
    struct pending_hello *p = calloc(1, sizeof(*p));
    if (!p || base_random_bytes(p->server_nonce, sizeof(p->server_nonce)) < 0) {
        free(p);
        conn_refuse(c, WIRE_E_BUSY, "the server is out of memory");
        return;
    }
    c->pending = p;
    if (session_read_hello(r, &p->hello, &why) < 0) {
        conn_violation(c, WIRE_E_PROTOCOL, why);
        return;
    }
    wire_session_key(server->config->key, server->config->key_len, p->hello.session, key);
    wire_join_proof(key, WIRE_JOIN_SERVER, p->hello.nonce, p->server_nonce, proof);
    wire_frame_begin(&w, frame, sizeof(frame), WIRE_CHALLENGE);
    wire_put_bytes(&w, WIRE_F_NONCE, p->server_nonce, sizeof(p->server_nonce));
    wire_put_bytes(&w, WIRE_F_PROOF, proof, sizeof(proof));
    int len = wire_frame_end(&w, (uint32_t)base_rng_u64(&server->host.masks));
    c->state = CONN_CHALLENGED;
    p->challenged_ns = base_now_ns();
    conn_send(c, frame, len > 0 ? (size_t)len : 0);
}

static bool proven(const struct conn *c, const struct wire_reader *r)
{
    const struct pending_hello *p = c->pending;
    uint8_t key[WIRE_KEY_LEN], proof[WIRE_MAC_LEN], expected[WIRE_MAC_LEN];
    if (wire_get_exact(r, WIRE_F_PROOF, proof, sizeof(proof)) < 0)
        return false;
    wire_session_key(c->server->config->key, c->server->config->key_len, p->hello.session, key);
    wire_join_proof(key, WIRE_JOIN_PEER, p->hello.nonce, p->server_nonce, expected);
    return wire_proof_equal(proof, expected);
}

/* Back after a lost connection: it must know what only the peer of that place was told. */
static bool knows_place(const struct conn *c, const struct pending_hello *p, const struct wire_reader *r,
                        struct session **out)
{
    struct session *s = server_find(c->server, p->hello.session);
    const uint8_t *token = s ? session_token(s, p->hello.role) : NULL;
    uint8_t key[WIRE_KEY_LEN], proof[WIRE_MAC_LEN], expected[WIRE_MAC_LEN];
    if (!token || wire_get_exact(r, WIRE_F_TOKEN, proof, sizeof(proof)) < 0)
        return false;
    wire_session_key(c->server->config->key, c->server->config->key_len, p->hello.session, key);
    wire_rejoin_proof(key, token, p->hello.nonce, p->server_nonce, expected);
    *out = s;
    return wire_proof_equal(proof, expected);
}

static void put_back(struct conn *c, struct pending_hello *p, const struct session_place *place,
                     const struct wire_reader *r, uint64_t now)
{
    struct session *s;
    const char *why = "there is no such place to come back to";
    int err = WIRE_E_GONE;
    wire_get_u64(r, WIRE_F_RECEIVED, &p->hello.received);
    if (knows_place(c, p, r, &s)) {
        c->state = CONN_JOINED;
        c->deadline_ns = 0;
        err = session_rejoin(s, &p->hello, place, c, now, &why);
    }
    if (err) {
        conn_refuse(c, (enum wire_error)err, why);
        return;
    }
    c->role = p->hello.role;
    c->session = s;
}

static void join(struct conn *c, const struct pending_hello *p, const struct session_place *place)
{
    char from[BASE_EP_STRLEN];
    const char *why;
    struct session *s = NULL;
    /* Joined before the session speaks: it may end the session with this very call. */
    c->state = CONN_JOINED;
    c->deadline_ns = 0;
    int err = server_join(c->server, &p->hello, place, c, &s, &c->role, &why);
    if (err) {
        conn_refuse(c, (enum wire_error)err, why);
        return;
    }
    if (c->state == CONN_JOINED)
        c->session = s;
    base_info("session '%s': peer %s joined from %s", p->hello.session, c->role == WIRE_ROLE_B ? "b" : "a",
              base_ep_format(&c->from, from));
}

/* No session: this connection is about its own NAT. */
static void begin_discovery(struct conn *c, const union base_ep *asked, uint64_t rtt_ns, uint64_t now)
{
    char from[BASE_EP_STRLEN];
    c->state = CONN_DISCOVER;
    c->deadline_ns = now + DISCOVER_IDLE_NS;
    c->prober = prober_open(c, c->site, asked, &c->from, rtt_ns);
    if (c->prober)
        base_info("%s: discovers its NAT", base_ep_format(&c->from, from));
    else
        conn_refuse(c, WIRE_E_BUSY, "the server is out of memory");
}

static void on_prove(struct conn *c, const struct wire_reader *r, uint64_t now)
{
    struct pending_hello *p = c->pending;
    union base_ep stun[RENDEZVOUS_MAX_SITES], asked = {0};
    socklen_t len = sizeof(asked);
    uint8_t token[WIRE_TOKEN_LEN];
    if (!proven(c, r)) {
        conn_refuse(c, WIRE_E_AUTH, "wrong key");
        return;
    }
    getsockname(c->fd, &asked.sa, &len);
    struct session_place place = {
        .stun = stun,
        .n_stun = site_stun_list(c->server, &asked, stun, BASE_ARRAY_LEN(stun)),
        .seen = &c->from,
        .rtt_ns = now - p->challenged_ns,
        .token = base_random_bytes(token, sizeof(token)) == 0 ? token : NULL,
    };
    c->pending = NULL;
    if (strcmp(p->hello.technique, WIRE_DISCOVER) == 0)
        begin_discovery(c, &asked, place.rtt_ns, now);
    else if (p->hello.rejoin)
        put_back(c, p, &place, r, now);
    else
        join(c, p, &place);
    free(p);
}

void conn_take_frame(struct conn *c, uint8_t *frame, size_t len, uint64_t now)
{
    struct wire_reader r;
    enum wire_frame_type type;
    const char *why = NULL;
    if (wire_frame_open(frame, len, &type, &r) < 0) {
        conn_violation(c, WIRE_E_PROTOCOL, "a frame that cannot be read");
    } else if (c->state == CONN_CONTROL && type == WIRE_HELLO) {
        on_hello(c, &r, now);
    } else if (c->state == CONN_CHALLENGED && type == WIRE_PROVE) {
        on_prove(c, &r, now);
    } else if (c->state == CONN_DISCOVER) {
        c->deadline_ns = now + DISCOVER_IDLE_NS;
        if (prober_frame(c->prober, type, &r, now, &why) < 0)
            conn_violation(c, WIRE_E_PROTOCOL, why);
    } else if (c->state == CONN_JOINED) {
        struct session *s = c->session;
        if (session_frame(s, c->role, type, &r, now, &why) < 0)
            conn_violation(c, WIRE_E_PROTOCOL, why);
        else
            server_settle(c->server, s);
    } else {
        conn_violation(c, WIRE_E_PROTOCOL, "a frame before its time");
    }
}

int conn_frame(struct conn *c, const uint8_t *at, size_t len, size_t *need)
{
    int whole = wire_frame_len(at, len);
    *need = WIRE_FRAME_HEADER;
    if (whole == -EAGAIN)
        return 0;
    if (whole == -EPROTONOSUPPORT)
        conn_violation(c, WIRE_E_VERSION, "another version of the protocol: run the same release everywhere");
    else if (whole == -EMSGSIZE || (whole > UNPROVEN_FRAME_MAX && c->state != CONN_JOINED))
        conn_violation(c, WIRE_E_PROTOCOL, "an oversized frame");
    else if (whole < 0)
        conn_violation(c, WIRE_E_PROTOCOL, "not a frame");
    if (c->state == CONN_DRAINING)
        return -EPROTO;
    *need = (size_t)whole;
    return len < *need ? 0 : whole;
}
