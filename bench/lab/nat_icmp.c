/*
 * ICMP errors through the NAT, with what they quote (RFC 5508 section 4), and the RST that a NAT answers with.
 */
#include <string.h>

#include "bench/lab/nat_state.h"

#define HOPS_START 64u

/* The packet inside an ICMP error. */
struct quoted {
    uint8_t *ip;
    size_t len;
    uint8_t proto;
    struct nat_ep src, dst;
};

/* Its endpoints. ICMP errors quote the IP header and eight bytes at least (RFC 792). */
static bool read_quoted(const struct nat_packet *p, struct quoted *q)
{
    q->ip = p->body + 8;
    q->len = p->body_len - 8;
    if (q->len < 28 || q->ip[0] >> 4 != 4)
        return false;
    size_t header = (size_t)(q->ip[0] & 15) * 4;
    if (header < 20 || q->len < header + 8 || nat_get16(q->ip + 6) & 0x1fff)
        return false;
    const uint8_t *body = q->ip + header;
    q->proto = q->ip[9];
    q->src = (struct nat_ep){.addr = nat_addr(q->ip + 12)};
    q->dst = (struct nat_ep){.addr = nat_addr(q->ip + 16)};
    if (q->proto == NAT_TCP || q->proto == NAT_UDP) {
        q->src.port = nat_get16(body);
        q->dst.port = nat_get16(body + 2);
        return true;
    }
    /* A query that the inside sent, or an answer to it. */
    if (q->proto != NAT_ICMP || (body[0] != 8 && body[0] != 0))
        return false;
    if ((p->dir == LAB_NAT_IN) != (body[0] == 8))
        return false;
    if (p->dir == LAB_NAT_IN)
        q->src.port = nat_get16(body + 4);
    else
        q->dst.port = nat_get16(body + 4);
    return true;
}

static void sum_icmp(struct nat_packet *p)
{
    nat_put16(p->body + 2, 0);
    nat_put16(p->body + 2, lab_sum_finish(lab_sum(p->body, p->body_len, 0)));
}

/* From outside, about what the inside sent (RFC 5508 REQ-4). */
static bool error_in(struct lab_nat *nat, struct nat_packet *p, struct quoted *q)
{
    uint32_t mapping = nat_mapping_of_outside(nat, q->proto, &q->src);
    if (mapping == NAT_NIL || nat_session_find(nat, mapping, &q->dst) == NAT_NIL ||
        !lab_addr_equal(p->dst.addr, q->src.addr))
        return false;
    const struct nat_mapping *m = nat_mapping(nat, mapping);
    struct nat_ep in = {.addr = m->in_addr, .port = m->in_port};
    nat_rewrite_quoted(q->ip, q->len, &in, NULL);
    nat_rewrite(p, NULL, &in);
    return true;
}

/* From inside, about what was let in (RFC 5508 REQ-5). */
static bool error_out(struct lab_nat *nat, struct nat_packet *p, struct quoted *q)
{
    uint32_t mapping = nat_mapping_of_inside(nat, q->proto, &q->dst, &q->src);
    if (mapping == NAT_NIL || nat_session_find(nat, mapping, &q->src) == NAT_NIL)
        return false;
    struct nat_ep external = nat_external_ep(nat, nat_mapping(nat, mapping));
    nat_rewrite_quoted(q->ip, q->len, NULL, &external);
    nat_rewrite(p, &external, NULL);
    return true;
}

enum lab_nat_drop nat_icmp_error(struct lab_nat *nat, struct nat_packet *p)
{
    struct quoted q;
    /* RFC 5508 REQ-3: a wrong checksum must not be mended by ours. */
    if (lab_sum_finish(lab_sum(p->body, p->body_len, 0)) != 0 || !read_quoted(p, &q))
        return LAB_NAT_DROP_MALFORMED;
    if (!(p->dir == LAB_NAT_IN ? error_in(nat, p, &q) : error_out(nat, p, &q)))
        return LAB_NAT_DROP_RELATED;
    sum_icmp(p);
    return LAB_NAT_DROP_NONE;
}

/* ---- RST ------------------------------------------------------------------------------------- */

/* Addresses and ports the other way round. */
static void turn_round(const struct nat_packet *p, uint8_t *out)
{
    memset(out, 0, 40);
    out[0] = 0x45;
    nat_put16(out + 2, 40);
    out[6] = 0x40; /* do not fragment */
    out[8] = HOPS_START;
    out[9] = NAT_TCP;
    memcpy(out + 12, p->data + 16, 4);
    memcpy(out + 16, p->data + 12, 4);
    memcpy(out + 20, p->body + 2, 2);
    memcpy(out + 22, p->body, 2);
}

size_t nat_icmp_rst(const struct nat_packet *p, uint8_t out[LAB_ICMP_MAX])
{
    const uint8_t *tcp = p->body;
    size_t payload = p->body_len - (size_t)(tcp[12] >> 4) * 4;
    turn_round(p, out);
    out[32] = 5 << 4;
    if (p->tcp_flags & NAT_ACK) {
        memcpy(out + 24, tcp + 8, 4);
        out[33] = NAT_RST;
    } else {
        uint32_t taken = (uint32_t)payload + !!(p->tcp_flags & NAT_SYN) + !!(p->tcp_flags & NAT_FIN);
        nat_put32(out + 28, nat_get32(tcp + 4) + taken);
        out[33] = NAT_RST | NAT_ACK;
    }
    nat_put16(out + 10, lab_sum_finish(lab_sum(out, 20, 0)));
    nat_put16(out + 36, lab_sum_finish(lab_sum(out + 20, 20, lab_sum(out + 12, 8, NAT_TCP + 20))));
    return 40;
}
