/* STUN answers: what is in them, and what is wrong with them. Pure. */
#include <string.h>

#include "bench/discover/discover.h"

static bool is_host(const union base_ep *ep)
{
    if (ep->sa.sa_family == AF_INET6)
        return !base_ep_is_any(ep) && ep->v6.sin6_addr.s6_addr[0] != 0xff;
    uint8_t first = (uint8_t)(ntohl(ep->v4.sin_addr.s_addr) >> 24);
    return first != 0 && first < 224;
}

enum discover_verdict discover_read_answer(const uint8_t *buf, size_t len, const uint8_t txid[WIRE_STUN_TXID_LEN],
                                           sa_family_t family, struct discover_answer *out)
{
    struct wire_stun msg;
    *out = (struct discover_answer){0};
    if (wire_stun_decode(buf, len, &msg) < 0 || msg.cls == WIRE_STUN_REQUEST || msg.cls == WIRE_STUN_INDICATION)
        return DISCOVER_NOT_STUN;
    if (memcmp(msg.txid, txid, sizeof(msg.txid)) != 0 || msg.method != WIRE_STUN_BINDING)
        return DISCOVER_OTHER_TXID;
    if (msg.cls == WIRE_STUN_ERROR) {
        out->error = msg.error_code;
        return DISCOVER_ERROR;
    }
    const union base_ep *mapped = base_ep_is_set(&msg.xor_mapped) ? &msg.xor_mapped : &msg.mapped;
    if (!base_ep_is_set(mapped))
        return DISCOVER_NO_MAPPED;
    if (mapped->sa.sa_family != family)
        return DISCOVER_OTHER_FAMILY;
    if (base_ep_port(mapped) == 0)
        return DISCOVER_PORT_ZERO;
    if (!is_host(mapped))
        return DISCOVER_NO_HOST;
    out->mapped = *mapped;
    /* An alternate address that nobody can have is as good as none. */
    if (base_ep_is_set(&msg.other) && msg.other.sa.sa_family == family && base_ep_port(&msg.other) &&
        is_host(&msg.other))
        out->other = msg.other;
    return DISCOVER_ANSWER;
}

const char *discover_verdict_text(enum discover_verdict verdict)
{
    static const char *const texts[DISCOVER_N_VERDICTS] = {
        [DISCOVER_ANSWER] = "a good answer",
        [DISCOVER_SILENCE] = "no answer",
        [DISCOVER_NOT_STUN] = "something that is no STUN answer",
        [DISCOVER_OTHER_TXID] = "an answer with a wrong transaction id",
        [DISCOVER_ERROR] = "an error",
        [DISCOVER_NO_MAPPED] = "an answer without a mapped address",
        [DISCOVER_OTHER_FAMILY] = "a mapped address of another family",
        [DISCOVER_PORT_ZERO] = "a mapped port 0",
        [DISCOVER_NO_HOST] = "a mapped address that no host can have",
        [DISCOVER_OTHER_ORIGIN] = "an answer from an endpoint that was not asked",
        [DISCOVER_CHANGING] = "answers that contradict each other",
    };
    return verdict < DISCOVER_N_VERDICTS ? texts[verdict] : "?";
}
