/* Pins: a PCP or NAT-PMP response that is read past its end, or whose parts do not survive being asked for again. */
#include <stdlib.h>
#include <string.h>

#include "bench/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct wire_portmap got, again;
    uint8_t buf[WIRE_PORTMAP_MAX_LEN];
    if (wire_portmap_decode(data, len, &got) < 0)
        return 0;
    require(len <= WIRE_PORTMAP_MAX_LEN && (got.protocol == WIRE_PORTMAP_PCP || got.protocol == WIRE_PORTMAP_NATPMP));
    require(!got.address || got.protocol == WIRE_PORTMAP_NATPMP);
    if (got.protocol != WIRE_PORTMAP_PCP || (got.transport != 6 && got.transport != 17))
        return 0;
    /* As a request, made a response: what both have is the same. */
    base_ep_parse_addr("10.0.0.1", &got.client);
    int n = wire_portmap_encode(&got, buf, sizeof(buf));
    require(n == 60);
    buf[1] |= 0x80;
    require(wire_portmap_decode(buf, (size_t)n, &again) == 0);
    require(again.internal_port == got.internal_port && again.lifetime_s == got.lifetime_s);
    require(memcmp(again.nonce, got.nonce, sizeof(got.nonce)) == 0 && base_ep_equal(&again.external, &got.external));
    return 0;
}
