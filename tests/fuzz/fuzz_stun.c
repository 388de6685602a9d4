/* Pins: a STUN decoder that reads outside the message, or takes what its own encoder could not have meant. */
#include <stdlib.h>
#include <string.h>

#include "bench/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool ok)
{
    if (!ok)
        abort();
}

/* What was understood must survive being written and read again. */
static void round_trip(const struct wire_stun *in)
{
    uint8_t buf[WIRE_STUN_MAX_LEN];
    struct wire_stun_writer w;
    struct wire_stun out;
    wire_stun_begin(&w, buf, sizeof(buf), in->cls, in->method, in->txid);
    wire_stun_put_address(&w, WIRE_STUN_XOR_MAPPED_ADDRESS, &in->xor_mapped);
    wire_stun_put_address(&w, WIRE_STUN_MAPPED_ADDRESS, &in->mapped);
    wire_stun_put_address(&w, WIRE_STUN_OTHER_ADDRESS, &in->other);
    wire_stun_put_address(&w, WIRE_STUN_RESPONSE_ORIGIN, &in->origin);
    if (in->n_unknown)
        wire_stun_put_unknown(&w, in->unknown, in->n_unknown);
    int len = wire_stun_end(&w, true);
    require(len > 0 && wire_stun_decode(buf, (size_t)len, &out) == 0);
    require(out.cls == in->cls && out.method == in->method && out.has_fingerprint);
    require(base_ep_equal(&out.xor_mapped, &in->xor_mapped));
    require(base_ep_equal(&out.mapped, &in->mapped));
    require(base_ep_equal(&out.other, &in->other));
    require(base_ep_equal(&out.origin, &in->origin));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct wire_stun msg;
    int whole = wire_stun_frame_len(data, len);
    require(whole < 0 || (whole >= WIRE_STUN_HEADER_LEN && whole <= WIRE_STUN_MAX_LEN));
    if (wire_stun_decode(data, len, &msg) < 0)
        return 0;
    require((size_t)whole == len && msg.n_unknown <= WIRE_STUN_MAX_UNKNOWN);
    require(!msg.reason || (const uint8_t *)msg.reason + msg.reason_len <= data + len);
    require(!msg.software || (const uint8_t *)msg.software + msg.software_len <= data + len);
    wire_stun_check_integrity(data, len, &msg, (const uint8_t *)"VOkJxbRl1RmTxUk/WvJxBt", 22);
    round_trip(&msg);
    return 0;
}
