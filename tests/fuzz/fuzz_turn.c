/*
 * Pins: a TURN decoder that reads outside the message; a stream that is split elsewhere when it comes in pieces; and
 * channel data or a message that does not come back as it was written. The input is one TCP stream of messages, and
 * also one datagram.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void inside(const void *p, size_t n, const uint8_t *data, size_t len)
{
    const uint8_t *at = p;
    require(!p || (at >= data && at + n <= data + len));
}

static void round_trip(const struct wire_turn *in)
{
    static uint8_t buf[WIRE_STUN_MAX_LEN];
    struct wire_stun_writer w;
    struct wire_turn out;
    wire_stun_begin(&w, buf, sizeof(buf), in->stun.cls, in->stun.method, in->stun.txid);
    wire_stun_put_address(&w, WIRE_TURN_XOR_PEER_ADDRESS, &in->peer);
    wire_stun_put_address(&w, WIRE_TURN_XOR_RELAYED_ADDRESS, &in->relayed);
    if (in->has_connection)
        wire_stun_put_u32(&w, WIRE_TURN_CONNECTION_ID, in->connection);
    if (in->has_lifetime)
        wire_stun_put_u32(&w, WIRE_TURN_LIFETIME, in->lifetime_s);
    /* What does not fit beside the rest came in a message without them. */
    if (in->data && in->data_len < 1024)
        wire_stun_put(&w, WIRE_TURN_DATA_ATTR, in->data, in->data_len);
    int len = wire_stun_end(&w, true);
    require(len > 0 && wire_turn_decode(buf, (size_t)len, &out) == 0);
    require(base_ep_equal(&out.peer, &in->peer) && base_ep_equal(&out.relayed, &in->relayed));
    require(out.has_connection == in->has_connection && out.connection == in->connection);
    require(out.has_lifetime == in->has_lifetime && out.lifetime_s == in->lifetime_s);
    require(in->data_len >= 1024 || out.data_len == in->data_len);
    require(in->data_len >= 1024 || !in->data || memcmp(out.data, in->data, in->data_len) == 0);
}

static void message(const uint8_t *data, size_t len)
{
    struct wire_turn msg;
    uint8_t key[WIRE_TURN_KEY_LEN];
    if (wire_turn_decode(data, len, &msg) < 0)
        return;
    require(msg.stun.n_unknown <= WIRE_STUN_MAX_UNKNOWN);
    inside(msg.data, msg.data_len, data, len);
    inside(msg.username, msg.username_len, data, len);
    inside(msg.realm, msg.realm_len, data, len);
    inside(msg.nonce, msg.nonce_len, data, len);
    if (msg.realm && wire_turn_key("user", msg.realm, msg.realm_len, "password", key) == 0)
        wire_stun_check_integrity(data, len, &msg.stun, key, sizeof(key));
    round_trip(&msg);
}

static void channel(const uint8_t *data, size_t len)
{
    uint8_t *buf = malloc(len + 4);
    uint16_t number;
    const uint8_t *body;
    size_t body_len;
    require(buf != NULL);
    if (wire_turn_channel_decode(data, len, &number, &body, &body_len) == 0) {
        inside(body, body_len, data, len);
        int n = wire_turn_channel_encode(number, body, body_len, true, buf, len + 4);
        require(n >= (int)body_len + WIRE_TURN_CHANNEL_HEADER && wire_turn_stream_len(buf, (size_t)n) == n);
        require(memcmp(buf, data, WIRE_TURN_CHANNEL_HEADER + body_len) == 0);
    }
    free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    message(data, len);
    channel(data, len);
    for (size_t at = 0; at < len;) {
        /* However little of it is there, the verdict does not change once it is given. */
        int whole = wire_turn_stream_len(data + at, len - at), verdict = -EAGAIN;
        require(whole < 0 || (whole >= 4 && whole <= WIRE_TURN_STREAM_MAX));
        for (size_t n = 0; n < 8 && n < len - at; n++) {
            int now = wire_turn_stream_len(data + at, n);
            require(verdict == -EAGAIN || now == verdict || now == -EBADMSG);
            verdict = now;
        }
        if (whole < 0 || (size_t)whole > len - at)
            break;
        message(data + at, (size_t)whole);
        channel(data + at, (size_t)whole);
        at += (size_t)whole;
    }
    return 0;
}
