/*
 * Packets of the NAT: reading them, and writing other endpoints into them with checksums that follow (RFC 1624,
 * RFC 3022 section 4.2).
 */
#include <stdio.h>
#include <string.h>

#include "bench/lab/nat_state.h"

#define IP_CHECK  10u
#define IP_SRC    12u
#define IP_DST    16u
#define ECHO      8u
#define ECHO_BACK 0u

/* ---- reading --------------------------------------------------------------------------------- */

/* Types 3, 11 and 12 (RFC 5508 section 4); 4 and 5 are not for others to see. */
static bool is_icmp_error(uint8_t type)
{
    return type == 3 || type == 11 || type == 12;
}

static enum lab_nat_drop read_icmp(struct nat_packet *p)
{
    uint8_t type;
    if (p->body_len < 8)
        return LAB_NAT_DROP_MALFORMED;
    type = p->body[0];
    if (is_icmp_error(type)) {
        p->icmp_error = true;
        return LAB_NAT_DROP_NONE;
    }
    if (type != ECHO && type != ECHO_BACK)
        return LAB_NAT_DROP_PROTOCOL;
    /* Queries go out and answers come in; the other way round there is no mapping by identifier (RFC 5508 3.1). */
    if ((type == ECHO) != (p->dir == LAB_NAT_OUT))
        return LAB_NAT_DROP_UNSOLICITED;
    uint16_t id = nat_get16(p->body + 4);
    if (p->dir == LAB_NAT_OUT)
        p->src.port = id;
    else
        p->dst.port = id;
    return LAB_NAT_DROP_NONE;
}

static enum lab_nat_drop read_tcp(struct nat_packet *p)
{
    if (p->body_len < 20)
        return LAB_NAT_DROP_MALFORMED;
    size_t header = (size_t)(p->body[12] >> 4) * 4;
    if (header < 20 || header > p->body_len)
        return LAB_NAT_DROP_MALFORMED;
    p->tcp_flags = p->body[13];
    p->src.port = nat_get16(p->body);
    p->dst.port = nat_get16(p->body + 2);
    return LAB_NAT_DROP_NONE;
}

static enum lab_nat_drop read_udp(struct nat_packet *p)
{
    if (p->body_len < 8)
        return LAB_NAT_DROP_MALFORMED;
    p->src.port = nat_get16(p->body);
    p->dst.port = nat_get16(p->body + 2);
    return LAB_NAT_DROP_NONE;
}

enum lab_nat_drop nat_packet_read(uint8_t *data, size_t len, enum lab_nat_dir dir, uint64_t now_ns,
                                  struct nat_packet *out)
{
    *out = (struct nat_packet){.data = data, .dir = dir, .now_ns = now_ns};
    if (!lab_packet_parse(data, len, &out->ip))
        return LAB_NAT_DROP_MALFORMED;
    if (out->ip.version != 4)
        return LAB_NAT_DROP_NOT_IPV4;
    if (lab_sum_finish(lab_sum(data, out->ip.header_len, 0)) != 0)
        return LAB_NAT_DROP_MALFORMED;
    if (nat_get16(data + 6) & 0x1fff)
        return LAB_NAT_DROP_FRAGMENT;
    out->body = data + out->ip.header_len;
    out->body_len = out->ip.len - out->ip.header_len;
    out->src.addr = out->ip.src;
    out->dst.addr = out->ip.dst;
    switch (out->ip.proto) {
    case NAT_TCP:
        return read_tcp(out);
    case NAT_UDP:
        return read_udp(out);
    case NAT_ICMP:
        return read_icmp(out);
    default:
        return LAB_NAT_DROP_PROTOCOL;
    }
}

/* ---- checksums ------------------------------------------------------------------------------- */

/* RFC 1624 eqn. 3 over n 16-bit words: HC' = ~(~HC + sum(~m) + sum(m')). */
static uint16_t follow(uint16_t check, const uint8_t *old, const uint8_t *new, size_t n)
{
    uint32_t sum = (uint16_t)~check;
    for (size_t i = 0; i < n; i++)
        sum += (uint32_t)(uint16_t)~nat_get16(old + 2 * i) + nat_get16(new + 2 * i);
    return lab_sum_finish(sum);
}

/* What changed, kept until the checksums have followed. */
struct change {
    uint8_t old[12], new[12]; /* addresses 8, ports 4 */
};

static void put_addr(uint8_t *at, const struct nat_ep *ep)
{
    if (ep)
        memcpy(at, nat_v4(&ep->addr), 4);
}

static void put_port(uint8_t *at, const struct nat_ep *ep)
{
    if (ep)
        nat_put16(at, ep->port);
}

static void change_addrs(uint8_t *ip, const struct nat_ep *src, const struct nat_ep *dst, struct change *c)
{
    memcpy(c->old, ip + IP_SRC, 8);
    put_addr(ip + IP_SRC, src);
    put_addr(ip + IP_DST, dst);
    memcpy(c->new, ip + IP_SRC, 8);
    nat_put16(ip + IP_CHECK, follow(nat_get16(ip + IP_CHECK), c->old, c->new, 4));
}

static void change_ports(uint8_t *body, const struct nat_ep *src, const struct nat_ep *dst, struct change *c)
{
    memcpy(c->old + 8, body, 4);
    put_port(body, src);
    put_port(body + 2, dst);
    memcpy(c->new + 8, body, 4);
}

/* RFC 768: 0 is "no checksum", and a sum that comes out as 0 is written as its other zero. */
static void follow_udp(uint8_t *at, const uint8_t *old, const uint8_t *new, size_t n)
{
    uint16_t check = nat_get16(at);
    if (check == 0)
        return;
    check = follow(check, old, new, n);
    nat_put16(at, check ? check : 0xffff);
}

static void change_echo(uint8_t *body, const struct nat_ep *ep)
{
    uint8_t old[2] = {body[4], body[5]};
    if (!ep)
        return;
    nat_put16(body + 4, ep->port);
    nat_put16(body + 2, follow(nat_get16(body + 2), old, body + 4, 1));
}

/* ---- rewriting ------------------------------------------------------------------------------- */

void nat_rewrite(struct nat_packet *p, const struct nat_ep *src, const struct nat_ep *dst)
{
    struct change c;
    change_addrs(p->data, src, dst, &c);
    switch (p->ip.proto) {
    case NAT_TCP:
        change_ports(p->body, src, dst, &c);
        nat_put16(p->body + 16, follow(nat_get16(p->body + 16), c.old, c.new, 6));
        break;
    case NAT_UDP:
        change_ports(p->body, src, dst, &c);
        follow_udp(p->body + 6, c.old, c.new, 6);
        break;
    default:
        if (!p->icmp_error)
            change_echo(p->body, p->dir == LAB_NAT_OUT ? src : dst);
    }
}

void nat_rewrite_quoted(uint8_t *ip, size_t len, const struct nat_ep *src, const struct nat_ep *dst)
{
    struct change c;
    size_t header = (size_t)(ip[0] & 15) * 4, body_len = len - header;
    uint8_t *body = ip + header;
    change_addrs(ip, src, dst, &c);
    if (ip[9] == NAT_ICMP) {
        change_echo(body, src ? src : dst);
        return;
    }
    change_ports(body, src, dst, &c);
    if (ip[9] == NAT_UDP)
        follow_udp(body + 6, c.old, c.new, 6);
    else if (body_len >= 18)
        nat_put16(body + 16, follow(nat_get16(body + 16), c.old, c.new, 6));
}

/* ---- rewrite-payload ------------------------------------------------------------------------- */

static size_t payload_offset(const struct nat_packet *p)
{
    return p->ip.proto == NAT_TCP ? (size_t)(p->body[12] >> 4) * 4 : 8;
}

static bool replace(uint8_t *payload, size_t len, const void *from, const void *to, size_t n)
{
    bool any = false;
    for (uint8_t *at = payload; len >= n && (at = memmem(at, (size_t)(payload + len - at), from, n)); at += n) {
        memcpy(at, to, n);
        any = true;
    }
    return any;
}

static void dotted(struct lab_addr addr, char out[16])
{
    const uint8_t *b = nat_v4(&addr);
    snprintf(out, 16, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
}

/* A whole new sum over the body; only what carried a right one gets it. */
static void sum_anew(struct nat_packet *p)
{
    uint8_t *check = p->body + (p->ip.proto == NAT_TCP ? 16 : 6);
    if (p->ip.proto == NAT_UDP && nat_get16(check) == 0)
        return;
    nat_put16(check, 0);
    uint32_t sum = lab_sum(p->data + IP_SRC, 8, (uint32_t)(p->ip.proto + p->body_len));
    uint16_t value = lab_sum_finish(lab_sum(p->body, p->body_len, sum));
    nat_put16(check, p->ip.proto == NAT_UDP && value == 0 ? 0xffff : value);
}

/*
 * A crude ALG, as RFC 5389 section 2 tells of: the bytes of the inner address are replaced wherever they are, be they
 * an address or not. The dotted text too, but only where both texts have one length: no packet grows, no sequence
 * number moves. An address that is cut in two by a segment boundary stays.
 */
void nat_rewrite_payload(struct nat_packet *p, struct lab_addr from, struct lab_addr to)
{
    char text_from[16], text_to[16];
    if (p->ip.proto == NAT_ICMP || nat_get16(p->data + 6) & 0x2000 || !lab_packet_checksums_ok(p->data, &p->ip))
        return;
    uint8_t *payload = p->body + payload_offset(p);
    size_t len = p->body_len - payload_offset(p);
    dotted(from, text_from);
    dotted(to, text_to);
    bool any = replace(payload, len, nat_v4(&from), nat_v4(&to), 4);
    if (strlen(text_from) == strlen(text_to))
        any |= replace(payload, len, text_from, text_to, strlen(text_from));
    if (any)
        sum_anew(p);
}
