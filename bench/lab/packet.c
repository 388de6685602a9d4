#include <string.h>

#include "bench/lab/packet.h"

#define IPV4_MIN   20u
#define IPV6_LEN   40u
#define ICMP_LEN   8u
#define ICMPV4_MAX 576u
#define HOPS_START 64

#define PROTO_ICMP   1
#define PROTO_TCP    6
#define PROTO_UDP    17
#define PROTO_ICMPV6 58

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static struct lab_addr addr_v4(const uint8_t *p)
{
    uint8_t raw[16] = {[10] = 0xff, [11] = 0xff};
    struct lab_addr addr;
    memcpy(raw + 12, p, 4);
    memcpy(&addr, raw, sizeof(addr));
    return addr;
}

static struct lab_addr addr_v6(const uint8_t *p)
{
    struct lab_addr addr;
    memcpy(&addr, p, sizeof(addr));
    return addr;
}

struct lab_addr lab_addr_of(const union base_ep *ep)
{
    size_t len;
    const uint8_t *bytes = base_ep_bytes(ep, &len);
    if (len == 4)
        return addr_v4(bytes);
    if (len == 16)
        return addr_v6(bytes);
    return (struct lab_addr){0};
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool parse_v4(const uint8_t *p, size_t len, struct lab_packet *out)
{
    if (len < IPV4_MIN)
        return false;
    size_t header = (size_t)(p[0] & 15) * 4, total = get16(p + 2);
    if (header < IPV4_MIN || total < header || total > len)
        return false;
    *out = (struct lab_packet){.src = addr_v4(p + 12),
                               .dst = addr_v4(p + 16),
                               .version = 4,
                               .proto = p[9],
                               .header_len = header,
                               .len = total};
    return true;
}

static bool parse_v6(const uint8_t *p, size_t len, struct lab_packet *out)
{
    if (len < IPV6_LEN)
        return false;
    size_t total = IPV6_LEN + get16(p + 4);
    if (total > len)
        return false;
    *out = (struct lab_packet){.src = addr_v6(p + 8),
                               .dst = addr_v6(p + 24),
                               .version = 6,
                               .proto = p[6],
                               .header_len = IPV6_LEN,
                               .len = total};
    return true;
}

bool lab_packet_parse(const uint8_t *data, size_t len, struct lab_packet *out)
{
    if (len == 0)
        return false;
    if (data[0] >> 4 == 4)
        return parse_v4(data, len, out);
    return data[0] >> 4 == 6 && parse_v6(data, len, out);
}

bool lab_packet_tcp_ports(const uint8_t *data, const struct lab_packet *packet, uint16_t *src, uint16_t *dst)
{
    bool later_fragment = packet->version == 4 && (get16(data + 6) & 0x1fff);
    if (packet->proto != PROTO_TCP || later_fragment || packet->len < packet->header_len + 4)
        return false;
    *src = get16(data + packet->header_len);
    *dst = get16(data + packet->header_len + 2);
    return true;
}

/* ---- a hop ----------------------------------------------------------------------------------- */

bool lab_packet_hop(uint8_t *data, uint8_t version)
{
    if (version == 6) {
        if (data[7] <= 1)
            return false;
        data[7]--;
        return true;
    }
    if (data[8] <= 1)
        return false;
    /* RFC 1624 eqn. 3: HC' = ~(~HC + ~m + m'), where m is the word of TTL and protocol. */
    uint16_t old = get16(data + 8);
    data[8]--;
    uint32_t sum = (uint16_t)~get16(data + 10);
    sum += (uint16_t)~old;
    sum += get16(data + 8);
    put16(data + 10, lab_sum_finish(sum));
    return true;
}

/* ---- checksums ------------------------------------------------------------------------------- */

uint32_t lab_sum(const uint8_t *data, size_t len, uint32_t sum)
{
    /* 64 KB of 0xffff words stay below 2^32, so that one fold at the end is enough. */
    for (; len > 1; data += 2, len -= 2)
        sum += get16(data);
    return len ? sum + (uint32_t)(data[0] << 8) : sum;
}

uint16_t lab_sum_finish(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* RFC 9293 3.1, RFC 8200 8.1: addresses, length and protocol. */
static uint32_t pseudo_header(const uint8_t *p, const struct lab_packet *packet)
{
    size_t payload = packet->len - packet->header_len;
    uint32_t sum = packet->proto + (uint32_t)(payload >> 16) + (uint32_t)(payload & 0xffff);
    return packet->version == 4 ? lab_sum(p + 12, 8, sum) : lab_sum(p + 8, 32, sum);
}

bool lab_packet_checksums_ok(const uint8_t *data, const struct lab_packet *packet)
{
    const uint8_t *body = data + packet->header_len;
    size_t len = packet->len - packet->header_len;
    uint32_t start = 0;
    if (packet->version == 4 && lab_sum_finish(lab_sum(data, packet->header_len, 0)) != 0)
        return false;
    switch (packet->proto) {
    case PROTO_UDP:
        if (packet->version == 4 && len >= 8 && get16(body + 6) == 0)
            return true;
        start = pseudo_header(data, packet);
        break;
    case PROTO_TCP:
    case PROTO_ICMPV6:
        start = pseudo_header(data, packet);
        break;
    case PROTO_ICMP:
        break;
    default:
        return true;
    }
    return lab_sum_finish(lab_sum(body, len, start)) == 0;
}

/* ---- ICMP errors ----------------------------------------------------------------------------- */

static bool may_answer_v4(const uint8_t *p, const struct lab_packet *packet)
{
    bool later_fragment = get16(p + 6) & 0x1fff;
    bool from_one_host = p[12] != 0 && p[12] < 224;
    if (later_fragment || !from_one_host)
        return false;
    if (packet->proto != PROTO_ICMP)
        return true;
    if (packet->len <= packet->header_len)
        return false;
    /* Only queries may be answered: echo, timestamp and the like. */
    uint8_t type = p[packet->header_len];
    return type == 8 || type == 0 || (type >= 13 && type <= 18);
}

static bool may_answer_v6(const uint8_t *p, const struct lab_packet *packet)
{
    bool unspecified = packet->src.hi == 0 && packet->src.lo == 0;
    if (p[8] == 0xff || unspecified)
        return false;
    if (packet->proto != PROTO_ICMPV6)
        return true;
    /* RFC 4443 2.1: error messages have types below 128. */
    return packet->len > packet->header_len && p[packet->header_len] >= 128;
}

static size_t icmp_error_v4(const uint8_t *p, const struct lab_packet *packet, const uint8_t *router, uint8_t type,
                            uint8_t code, uint8_t *out)
{
    size_t quoted = packet->len;
    if (quoted > ICMPV4_MAX - IPV4_MIN - ICMP_LEN)
        quoted = ICMPV4_MAX - IPV4_MIN - ICMP_LEN;
    size_t total = IPV4_MIN + ICMP_LEN + quoted;
    memset(out, 0, IPV4_MIN + ICMP_LEN);
    out[0] = 0x45;
    put16(out + 2, (uint16_t)total);
    out[8] = HOPS_START;
    out[9] = PROTO_ICMP;
    memcpy(out + 12, router, 4);
    memcpy(out + 16, p + 12, 4);
    put16(out + 10, lab_sum_finish(lab_sum(out, IPV4_MIN, 0)));
    out[20] = type;
    out[21] = code;
    memcpy(out + IPV4_MIN + ICMP_LEN, p, quoted);
    put16(out + 22, lab_sum_finish(lab_sum(out + IPV4_MIN, ICMP_LEN + quoted, 0)));
    return total;
}

static size_t time_exceeded_v6(const uint8_t *p, const struct lab_packet *packet, const uint8_t *router, uint8_t *out)
{
    size_t quoted = packet->len;
    if (quoted > LAB_ICMP_MAX - IPV6_LEN - ICMP_LEN)
        quoted = LAB_ICMP_MAX - IPV6_LEN - ICMP_LEN;
    struct lab_packet answer = {.version = 6, .proto = PROTO_ICMPV6, .header_len = IPV6_LEN};
    answer.len = IPV6_LEN + ICMP_LEN + quoted;
    memset(out, 0, IPV6_LEN + ICMP_LEN);
    out[0] = 0x60;
    put16(out + 4, (uint16_t)(ICMP_LEN + quoted));
    out[6] = PROTO_ICMPV6;
    out[7] = HOPS_START;
    memcpy(out + 8, router, 16);
    memcpy(out + 24, p + 8, 16);
    out[40] = 3; /* time exceeded, code 0: hop limit exceeded in transit (RFC 4443 3.3) */
    memcpy(out + IPV6_LEN + ICMP_LEN, p, quoted);
    uint32_t sum = lab_sum(out + IPV6_LEN, ICMP_LEN + quoted, pseudo_header(out, &answer));
    put16(out + 42, lab_sum_finish(sum));
    return answer.len;
}

size_t lab_packet_time_exceeded(const uint8_t *data, const struct lab_packet *packet, const union base_ep *router,
                                uint8_t out[LAB_ICMP_MAX])
{
    size_t addr_len;
    const uint8_t *addr = base_ep_bytes(router, &addr_len);
    if (packet->version == 4 && addr_len == 4 && may_answer_v4(data, packet))
        return icmp_error_v4(data, packet, addr, 11, 0, out); /* code 0: in transit (RFC 792) */
    if (packet->version == 6 && addr_len == 16 && may_answer_v6(data, packet))
        return time_exceeded_v6(data, packet, addr, out);
    return 0;
}

size_t lab_packet_unreachable(const uint8_t *data, const struct lab_packet *packet, const union base_ep *router,
                              uint8_t out[LAB_ICMP_MAX])
{
    size_t addr_len;
    const uint8_t *addr = base_ep_bytes(router, &addr_len);
    if (packet->version != 4 || addr_len != 4 || !may_answer_v4(data, packet))
        return 0;
    return icmp_error_v4(data, packet, addr, 3, 3, out);
}
