/*
 * What comes from outside unasked: filtering (RFC 4787 section 5), and the answers to it (RFC 5382 REQ-4).
 */
#include <string.h>

#include "bench/lab/nat_state.h"

/* ---- filtering ------------------------------------------------------------------------------- */

bool nat_filter_passes(const struct lab_nat *nat, uint32_t mapping, uint32_t session, const struct nat_ep *remote)
{
    const struct nat_mapping *m = nat_mapping(nat, mapping);
    switch (nat->profile.filtering) {
    case LAB_FILTER_EI:
        return true;
    case LAB_FILTER_LAST:
        return m->remote_port == remote->port && lab_addr_equal(m->remote_addr, remote->addr);
    case LAB_FILTER_AD:
        if (session != NAT_NIL)
            return true;
        return nat->profile.mapping == LAB_MAP_EI ? nat_permit_has(nat, mapping, remote->addr)
                                                  : lab_addr_equal(m->remote_addr, remote->addr);
    default:
        return session != NAT_NIL;
    }
}

/* ---- blacklist ------------------------------------------------------------------------------- */

static struct nat_source *source_find(const struct lab_nat *nat, struct lab_addr addr)
{
    uint32_t i = nat_table_first(&nat->sources, nat_hash(nat, addr, 0));
    for (; i != NAT_NIL; i = nat_table_next(&nat->sources, i)) {
        struct nat_source *s = nat_table_at(&nat->sources, i);
        if (lab_addr_equal(s->addr, addr))
            return s;
    }
    return NULL;
}

bool nat_filter_blacklisted(struct lab_nat *nat, struct lab_addr addr, uint64_t now_ns)
{
    if (!nat->profile.blacklist_after)
        return false;
    struct nat_source *s = source_find(nat, addr);
    if (!s || s->until_ns == 0)
        return false;
    if (now_ns < s->until_ns)
        return true;
    s->until_ns = 0;
    s->count = 0;
    return false;
}

static void source_count(struct lab_nat *nat, struct lab_addr addr, uint64_t now_ns)
{
    if (!nat->profile.blacklist_after)
        return;
    struct nat_source *s = source_find(nat, addr);
    if (!s) {
        uint32_t i = nat->sources.n < NAT_MAX_SOURCES ? nat_table_add(&nat->sources, nat_hash(nat, addr, 0)) : NAT_NIL;
        if (i == NAT_NIL)
            return;
        s = nat_table_at(&nat->sources, i);
        s->addr = addr;
    }
    if (++s->count == nat->profile.blacklist_after)
        s->until_ns = nat_after(now_ns, nat->profile.blacklist_s);
}

/* ---- held SYNs ------------------------------------------------------------------------------- */

static struct nat_held *held_at(const struct lab_nat *nat, uint32_t i)
{
    return nat_table_at(&nat->held, i);
}

static uint32_t held_hash(const struct lab_nat *nat, const struct nat_ep *external, const struct nat_ep *remote)
{
    return nat_hash(nat, remote->addr, (uint64_t)remote->port << 16 | external->port);
}

/* An answered or cancelled one stays in the queue with due_ns 0 until its turn: the queue is singly linked. */
static uint32_t held_find(const struct lab_nat *nat, const struct nat_ep *external, const struct nat_ep *remote)
{
    uint32_t i = nat_table_first(&nat->held, held_hash(nat, external, remote));
    for (; i != NAT_NIL; i = nat_table_next(&nat->held, i)) {
        const struct nat_held *h = held_at(nat, i);
        if (h->due_ns && nat_ep_equal(&h->remote, remote) && nat_ep_equal(&h->external, external))
            break;
    }
    return i;
}

static void hold(struct lab_nat *nat, const struct nat_packet *p)
{
    /* The first of a connection's SYNs counts; its retransmissions are dropped with it. */
    if (nat->held.n >= NAT_MAX_HELD || held_find(nat, &p->dst, &p->src) != NAT_NIL)
        return;
    uint32_t i = nat_table_add(&nat->held, held_hash(nat, &p->dst, &p->src));
    if (i == NAT_NIL)
        return;
    struct nat_held *h = held_at(nat, i);
    h->due_ns = nat_after(p->now_ns, LAB_NAT_HOLD_S);
    h->remote = p->src;
    h->external = p->dst;
    h->newer = NAT_NIL;
    h->len = (uint16_t)(p->ip.len < NAT_HELD_BYTES ? p->ip.len : NAT_HELD_BYTES);
    memcpy(h->data, p->data, h->len);
    if (nat->held_newest != NAT_NIL)
        held_at(nat, nat->held_newest)->newer = i;
    else
        nat->held_oldest = i;
    nat->held_newest = i;
}

static void held_pop(struct lab_nat *nat)
{
    uint32_t i = nat->held_oldest;
    nat->held_oldest = held_at(nat, i)->newer;
    if (nat->held_oldest == NAT_NIL)
        nat->held_newest = NAT_NIL;
    nat_table_remove(&nat->held, i);
}

void nat_filter_unhold(struct lab_nat *nat, const struct nat_ep *external, const struct nat_ep *remote)
{
    uint32_t i = nat->held.n ? held_find(nat, external, remote) : NAT_NIL;
    if (i == NAT_NIL)
        return;
    held_at(nat, i)->due_ns = 0;
    while (nat->held_oldest != NAT_NIL && held_at(nat, nat->held_oldest)->due_ns == 0)
        held_pop(nat);
}

uint64_t lab_nat_next(const struct lab_nat *nat)
{
    return nat->held_oldest == NAT_NIL ? NAT_NEVER : held_at(nat, nat->held_oldest)->due_ns;
}

bool lab_nat_timer(struct lab_nat *nat, uint64_t now_ns, struct lab_nat_out *out)
{
    struct lab_packet ip;
    out->reason = LAB_NAT_DROP_NONE;
    out->reply_len = 0;
    nat_run_to(nat, now_ns);
    while (nat->held_oldest != NAT_NIL) {
        struct nat_held h = *held_at(nat, nat->held_oldest);
        if (h.due_ns > now_ns)
            return false;
        held_pop(nat);
        /* The total length that the header tells is longer than what was kept, where the SYN carried data. */
        if (h.due_ns == 0)
            continue;
        ip = (struct lab_packet){.src = h.remote.addr, .dst = h.external.addr, .version = 4, .proto = NAT_TCP};
        ip.header_len = (size_t)(h.data[0] & 15) * 4;
        ip.len = h.len;
        uint32_t external = nat_external_index(nat, h.external.addr);
        out->reply_len = lab_packet_unreachable(h.data, &ip, &nat->external[external], out->reply);
        if (out->reply_len == 0)
            continue;
        nat->counters.replies++;
        return true;
    }
    return false;
}

/* ---- unsolicited ----------------------------------------------------------------------------- */

static bool is_syn(const struct nat_packet *p)
{
    return p->ip.proto == NAT_TCP && (p->tcp_flags & (NAT_SYN | NAT_ACK | NAT_RST | NAT_FIN)) == NAT_SYN;
}

enum lab_nat_verdict nat_filter_unsolicited(struct lab_nat *nat, const struct nat_packet *p, enum lab_nat_drop why,
                                            struct lab_nat_out *out)
{
    source_count(nat, p->src.addr, p->now_ns);
    out->reason = why;
    switch (nat->profile.unsolicited) {
    case LAB_UNSOLICITED_RST:
        if (p->ip.proto == NAT_TCP && !(p->tcp_flags & NAT_RST))
            out->reply_len = nat_icmp_rst(p, out->reply);
        break;
    case LAB_UNSOLICITED_ICMP:
        if (is_syn(p))
            out->reply_len = lab_packet_unreachable(p->data, &p->ip,
                                                    &nat->external[nat_external_index(nat, p->dst.addr)], out->reply);
        break;
    case LAB_UNSOLICITED_HOLD:
        if (!is_syn(p))
            break;
        out->reason = LAB_NAT_DROP_HELD;
        hold(nat, p);
        break;
    default:
        break;
    }
    return out->reply_len ? LAB_NAT_REPLY : LAB_NAT_DROP;
}

void nat_filter_reset(struct lab_nat *nat)
{
    nat_table_clear(&nat->sources);
    nat_table_clear(&nat->held);
    nat->held_oldest = nat->held_newest = NAT_NIL;
}
