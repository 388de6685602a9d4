/* Port mapping: PCP's MAP (RFC 6887, sections 7 and 11) and NAT-PMP (RFC 6886, section 3). */
#include <errno.h>

#include "bench/wire/internal.h"

/*
 * PCP: 24 bytes of header, 36 of MAP, then options {code u8, reserved u8, length u16, value, padding to 4}.
 *
 * request   | version 2 | 0, opcode | reserved u16     | lifetime u32 | client's address, 16 bytes    |
 * response  | version 2 | 1, opcode | reserved, result | lifetime u32 | epoch u32 | reserved 12 bytes |
 * MAP       | nonce, 12 bytes | protocol u8, reserved | internal port u16, external port u16 | external address, 16 |
 *
 * An IPv4 address is IPv4-mapped IPv6.
 */
#define PCP_HEADER   24
#define PCP_MAP_LEN  36
#define PCP_RESPONSE 0x80
#define PCP_OP_MAP   1

/* NAT-PMP: | version 0 | opcode | ... ; 1 maps UDP, 2 TCP; a response's opcode is 128 more. */
#define PMP_RESPONSE    128
#define PMP_ADDRESS_LEN 12
#define PMP_MAPPED_LEN  16
enum { PMP_OP_ADDRESS = 0, PMP_OP_UDP = 1, PMP_OP_TCP = 2 };
enum { PROTO_TCP = 6, PROTO_UDP = 17 };

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

static void put_address(uint8_t *to, const union base_ep *ep)
{
    size_t len;
    const uint8_t *addr = base_ep_bytes(ep, &len);
    memset(to, 0, 16);
    /* None: all zeros of IPv4's kind (RFC 6887, 11.1). */
    if (len != 16)
        memcpy(to, v4_mapped, sizeof(v4_mapped));
    if (len == 4)
        memcpy(to + 12, addr, 4);
    else if (len == 16)
        memcpy(to, addr, 16);
}

static union base_ep get_address(const uint8_t *from, uint16_t port)
{
    bool v4 = memcmp(from, v4_mapped, sizeof(v4_mapped)) == 0;
    return base_ep_from_bytes(v4 ? AF_INET : AF_INET6, v4 ? from + 12 : from, port);
}

static int encode_pcp(const struct wire_portmap *ask, uint8_t *buf, size_t cap)
{
    uint8_t *map = buf + PCP_HEADER;
    if (cap < PCP_HEADER + PCP_MAP_LEN)
        return -ENOSPC;
    if (ask->address || !base_ep_is_set(&ask->client))
        return -EINVAL;
    memset(buf, 0, PCP_HEADER + PCP_MAP_LEN);
    buf[0] = WIRE_PORTMAP_PCP;
    buf[1] = PCP_OP_MAP;
    wire_store32(buf + 4, ask->lifetime_s);
    put_address(buf + 8, &ask->client);
    memcpy(map, ask->nonce, WIRE_PORTMAP_NONCE_LEN);
    map[12] = ask->transport;
    wire_store16(map + 16, ask->internal_port);
    wire_store16(map + 18, base_ep_is_set(&ask->external) ? base_ep_port(&ask->external) : 0);
    put_address(map + 20, &ask->external);
    return PCP_HEADER + PCP_MAP_LEN;
}

static int encode_natpmp(const struct wire_portmap *ask, uint8_t *buf, size_t cap)
{
    int len = ask->address ? 2 : 12;
    if (cap < (size_t)len)
        return -ENOSPC;
    memset(buf, 0, (size_t)len);
    buf[0] = WIRE_PORTMAP_NATPMP;
    buf[1] = ask->address ? PMP_OP_ADDRESS : ask->transport == PROTO_TCP ? PMP_OP_TCP : PMP_OP_UDP;
    if (ask->address)
        return len;
    wire_store16(buf + 4, ask->internal_port);
    /* A deletion suggests port 0 (RFC 6886, 3.4). */
    if (ask->lifetime_s && base_ep_is_set(&ask->external))
        wire_store16(buf + 6, base_ep_port(&ask->external));
    wire_store32(buf + 8, ask->lifetime_s);
    return len;
}

int wire_portmap_encode(const struct wire_portmap *ask, uint8_t *buf, size_t cap)
{
    if (!ask->address && ask->transport != PROTO_TCP && ask->transport != PROTO_UDP)
        return -EINVAL;
    return ask->protocol == WIRE_PORTMAP_PCP ? encode_pcp(ask, buf, cap) : encode_natpmp(ask, buf, cap);
}

static int decode_pcp(const uint8_t *buf, size_t len, struct wire_portmap *out)
{
    const uint8_t *map = buf + PCP_HEADER;
    if (len < PCP_HEADER || len > WIRE_PORTMAP_MAX_LEN || len % 4 != 0 || buf[1] != (PCP_RESPONSE | PCP_OP_MAP))
        return -EBADMSG;
    out->protocol = WIRE_PORTMAP_PCP;
    out->result = buf[3];
    out->lifetime_s = wire_load32(buf + 4);
    out->epoch_s = wire_load32(buf + 8);
    /* An error may be a header alone: the server did not understand the rest. */
    if (len < PCP_HEADER + PCP_MAP_LEN)
        return out->result ? 0 : -EBADMSG;
    memcpy(out->nonce, map, WIRE_PORTMAP_NONCE_LEN);
    out->transport = map[12];
    out->internal_port = wire_load16(map + 16);
    out->external = get_address(map + 20, wire_load16(map + 18));
    return 0;
}

static int decode_natpmp(const uint8_t *buf, size_t len, struct wire_portmap *out)
{
    const uint8_t any[4] = {0};
    if (len < 8 || buf[1] < PMP_RESPONSE || buf[1] > PMP_RESPONSE + PMP_OP_TCP)
        return -EBADMSG;
    out->protocol = WIRE_PORTMAP_NATPMP;
    out->result = wire_load16(buf + 2);
    out->epoch_s = wire_load32(buf + 4);
    out->address = buf[1] == PMP_RESPONSE + PMP_OP_ADDRESS;
    out->transport = out->address ? 0 : buf[1] == PMP_RESPONSE + PMP_OP_TCP ? PROTO_TCP : PROTO_UDP;
    size_t whole = out->address ? PMP_ADDRESS_LEN : PMP_MAPPED_LEN;
    if (len != whole)
        return out->result && len == 8 ? 0 : -EBADMSG; /* likewise */
    if (out->address) {
        out->external = base_ep_from_bytes(AF_INET, buf + 8, 0);
        return 0;
    }
    out->internal_port = wire_load16(buf + 8);
    out->external = base_ep_from_bytes(AF_INET, any, wire_load16(buf + 10));
    out->lifetime_s = wire_load32(buf + 12);
    return 0;
}

int wire_portmap_decode(const uint8_t *buf, size_t len, struct wire_portmap *out)
{
    memset(out, 0, sizeof(*out));
    if (len < 4)
        return -EBADMSG;
    if (buf[0] == WIRE_PORTMAP_PCP)
        return decode_pcp(buf, len, out);
    return buf[0] == WIRE_PORTMAP_NATPMP ? decode_natpmp(buf, len, out) : -EBADMSG;
}
