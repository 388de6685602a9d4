/* What a STUN request is answered with: RFC 8489 section 6.3, RFC 5780 section 6. No socket: bytes in, bytes out. */
#include <string.h>

#include "bench/rendezvous/internal.h"

#define SOFTWARE "punchbench"
/* Headers of PADDING and FINGERPRINT, and the latter's value. */
#define PADDING_ROOM 12
/* RFC 3489 had 128 bits of transaction id where the cookie and the 96 bits are now. */
#define CLASSIC_ID_AT  4
#define CLASSIC_ID_LEN 4

static void finish(struct wire_stun_writer *w, const struct wire_stun *request, struct stun_reply *reply)
{
    int len = wire_stun_end(w, request->has_fingerprint);
    reply->len = len > 0 ? (size_t)len : 0;
}

static void refuse_both(const struct wire_stun *request, uint8_t *out, struct stun_reply *reply)
{
    struct wire_stun_writer w;
    wire_stun_begin(&w, out, WIRE_STUN_MAX_LEN, WIRE_STUN_ERROR, request->method, request->txid);
    wire_stun_put_error(&w, 400, "Bad Request");
    finish(&w, request, reply);
}

static void refuse(const struct wire_stun *request, const uint16_t *attrs, size_t n, uint8_t *out,
                   struct stun_reply *reply)
{
    struct wire_stun_writer w;
    wire_stun_begin(&w, out, WIRE_STUN_MAX_LEN, WIRE_STUN_ERROR, request->method, request->txid);
    wire_stun_put_error(&w, 420, "Unknown Attribute");
    wire_stun_put_unknown(&w, attrs, n);
    finish(&w, request, reply);
}

/* What cannot be done here is as good as unknown (RFC 5780, 6.1): only one address, or a stream. */
static bool cannot(const struct stun_ask *ask, const struct wire_stun *request, uint16_t *attr)
{
    unsigned change = stun_change(request->change_request);
    if (request->has_change_request && change && (ask->stream || !ask->site[change]))
        *attr = WIRE_STUN_CHANGE_REQUEST;
    else if (request->has_response_port && ask->stream)
        *attr = WIRE_STUN_RESPONSE_PORT;
    else if (request->padding_len && ask->stream)
        *attr = WIRE_STUN_PADDING;
    else
        return false;
    return true;
}

static void succeed(const struct stun_ask *ask, const struct wire_stun *request, bool classic, uint8_t *out,
                    struct stun_reply *reply)
{
    static const uint8_t padding[WIRE_STUN_MAX_LEN];
    struct wire_stun_writer w;
    reply->change = request->has_change_request ? stun_change(request->change_request) : 0;
    if (request->has_response_port)
        base_ep_set_port(&reply->to, request->response_port);
    wire_stun_begin(&w, out, WIRE_STUN_MAX_LEN, WIRE_STUN_SUCCESS, request->method, request->txid);
    wire_stun_put_address(&w, classic ? WIRE_STUN_MAPPED_ADDRESS : WIRE_STUN_XOR_MAPPED_ADDRESS, ask->from);
    if (!classic) {
        wire_stun_put_address(&w, WIRE_STUN_RESPONSE_ORIGIN, ask->site[reply->change]);
        if (ask->site[3])
            wire_stun_put_address(&w, WIRE_STUN_OTHER_ADDRESS, ask->site[3]);
        /* To an address that UDP has not proven, our name goes only where the asker gave his: every byte more than the
         * request had is a gift to whoever forges sources. */
        if (ask->stream || request->software)
            wire_stun_put(&w, WIRE_STUN_SOFTWARE, SOFTWARE, sizeof(SOFTWARE) - 1);
        size_t room = WIRE_STUN_MAX_LEN - w.len - PADDING_ROOM;
        if (request->padding_len)
            wire_stun_put(&w, WIRE_STUN_PADDING, padding, request->padding_len < room ? request->padding_len : room);
    }
    finish(&w, request, reply);
}

/* For discovery: nothing but the mapping, later; never more bytes than came, as nobody has proven anything. */
static void succeed_later(const struct stun_ask *ask, const struct wire_stun *request, size_t request_len, uint8_t *out,
                          struct stun_reply *reply)
{
    struct wire_stun_writer w;
    if (request->delay_ms > WIRE_STUN_DELAY_MAX_MS)
        return;
    wire_stun_begin(&w, out, WIRE_STUN_MAX_LEN, WIRE_STUN_SUCCESS, request->method, request->txid);
    wire_stun_put_address(&w, WIRE_STUN_XOR_MAPPED_ADDRESS, ask->from);
    int len = wire_stun_end(&w, false);
    reply->delay_ms = request->delay_ms;
    reply->len = len > 0 && (size_t)len <= request_len ? (size_t)len : 0;
}

static void answer(const struct stun_ask *ask, const uint8_t *bytes, size_t len, bool classic, uint8_t *out,
                   struct stun_reply *reply)
{
    struct wire_stun request;
    uint16_t attr;
    if (wire_stun_decode(bytes, len, &request) < 0 || request.cls != WIRE_STUN_REQUEST ||
        request.method != WIRE_STUN_BINDING)
        return;
    if (request.n_unknown)
        refuse(&request, request.unknown, request.n_unknown, out, reply);
    else if (cannot(ask, &request, &attr))
        refuse(&request, &attr, 1, out, reply);
    else if (request.has_response_port && request.padding_len)
        refuse_both(&request, out, reply); /* RFC 5780, 6.1 */
    else if (request.has_delay && !request.has_change_request && !request.has_response_port && !classic)
        succeed_later(ask, &request, len, out, reply);
    else if (!request.has_response_port || request.response_port)
        succeed(ask, &request, classic, out, reply);
}

struct stun_reply stun_answer(const struct stun_ask *ask, uint8_t *request, size_t len, uint8_t *out)
{
    static const uint8_t cookie[4] = {0x21, 0x12, 0xA4, 0x42};
    struct stun_reply reply = {.to = *ask->from};
    uint8_t id[CLASSIC_ID_LEN];
    if (len < WIRE_STUN_HEADER_LEN)
        return reply;
    memcpy(id, request + CLASSIC_ID_AT, sizeof(id));
    bool classic = memcmp(id, cookie, sizeof(id)) != 0;
    /* A client of RFC 3489 gets its mapping unmasked, under its whole id. */
    if (classic && ask->stream)
        return reply;
    memcpy(request + CLASSIC_ID_AT, cookie, sizeof(id));
    answer(ask, request, len, classic, out, &reply);
    if (reply.len)
        memcpy(out + CLASSIC_ID_AT, id, sizeof(id));
    return reply;
}
