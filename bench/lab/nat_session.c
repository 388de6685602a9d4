/*
 * Mappings and sessions: found, made under the caps, kept alive, ended on time.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/lab/nat_state.h"

/* What a closed connection's leftovers may still need, or one that a RST has put in doubt (conntrack's time). */
#define CLOSE_S 10u

/* ---- the heap of deadlines ------------------------------------------------------------------- */

static void heap_put(struct lab_nat *nat, uint32_t pos, struct nat_heap_slot slot)
{
    nat->heap.slots[pos] = slot;
    nat_session(nat, slot.session)->heap_pos = pos;
}

static void heap_up(struct lab_nat *nat, uint32_t pos, struct nat_heap_slot slot)
{
    for (; pos && nat->heap.slots[(pos - 1) / 2].key > slot.key; pos = (pos - 1) / 2)
        heap_put(nat, pos, nat->heap.slots[(pos - 1) / 2]);
    heap_put(nat, pos, slot);
}

static void heap_down(struct lab_nat *nat, uint32_t pos, struct nat_heap_slot slot)
{
    const struct nat_heap *h = &nat->heap;
    for (uint32_t child; (child = 2 * pos + 1) < h->n; pos = child) {
        if (child + 1 < h->n && h->slots[child + 1].key < h->slots[child].key)
            child++;
        if (h->slots[child].key >= slot.key)
            break;
        heap_put(nat, pos, h->slots[child]);
    }
    heap_put(nat, pos, slot);
}

static bool heap_push(struct lab_nat *nat, uint32_t session, uint64_t key)
{
    struct nat_heap *h = &nat->heap;
    if (h->n == h->capacity) {
        uint32_t capacity = h->capacity ? h->capacity * 2 : 64;
        struct nat_heap_slot *grown = realloc(h->slots, capacity * sizeof(*grown));
        if (!grown)
            return false;
        h->slots = grown;
        h->capacity = capacity;
    }
    heap_up(nat, h->n++, (struct nat_heap_slot){key, session});
    return true;
}

static void heap_remove(struct lab_nat *nat, uint32_t pos)
{
    struct nat_heap *h = &nat->heap;
    struct nat_heap_slot last = h->slots[--h->n];
    if (pos == h->n)
        return;
    if (pos && h->slots[(pos - 1) / 2].key > last.key)
        heap_up(nat, pos, last);
    else
        heap_down(nat, pos, last);
}

/* A later deadline is noticed when the old one comes up; an earlier one has to move now. */
static void set_deadline(struct lab_nat *nat, struct nat_session *s, uint64_t expires_ns)
{
    struct nat_heap_slot slot = nat->heap.slots[s->heap_pos];
    s->expires_ns = expires_ns;
    if (expires_ns >= slot.key)
        return;
    slot.key = expires_ns;
    heap_up(nat, s->heap_pos, slot);
}

/* The session that really ends first; NAT_NIL without any. */
static uint32_t first_to_end(struct lab_nat *nat)
{
    while (nat->heap.n) {
        struct nat_heap_slot top = nat->heap.slots[0];
        uint64_t expires = nat_session(nat, top.session)->expires_ns;
        if (expires <= top.key)
            return top.session;
        top.key = expires;
        heap_down(nat, 0, top);
    }
    return NAT_NIL;
}

/* ---- finding --------------------------------------------------------------------------------- */

/* What the mapping class looks at of the remote (RFC 4787 section 4.1). */
static uint32_t inside_hash(const struct lab_nat *nat, uint8_t proto, const struct nat_ep *in,
                            const struct nat_ep *remote)
{
    uint32_t h = nat_hash(nat, in->addr, (uint64_t)proto << 16 | in->port);
    switch (nat->profile.mapping) {
    case LAB_MAP_AD:
        return h ^ nat_hash(nat, remote->addr, 1);
    case LAB_MAP_APD:
    case LAB_MAP_CONNECTION:
        return h ^ nat_hash(nat, remote->addr, 1 + (uint64_t)remote->port);
    default:
        return h;
    }
}

static bool key_matches(const struct lab_nat *nat, const struct nat_mapping *m, uint8_t proto, const struct nat_ep *in,
                        const struct nat_ep *remote)
{
    if (m->proto != proto || m->in_port != in->port || !lab_addr_equal(m->in_addr, in->addr))
        return false;
    if (nat->profile.mapping == LAB_MAP_EI || nat->profile.mapping == LAB_MAP_UNSET)
        return true;
    if (!lab_addr_equal(m->remote_addr, remote->addr))
        return false;
    return nat->profile.mapping == LAB_MAP_AD || m->remote_port == remote->port;
}

uint32_t nat_mapping_of_inside(const struct lab_nat *nat, uint8_t proto, const struct nat_ep *in,
                               const struct nat_ep *remote)
{
    uint32_t hash = inside_hash(nat, proto, in, remote), i = nat_table_first(&nat->mappings, hash);
    while (i != NAT_NIL && !key_matches(nat, nat_mapping(nat, i), proto, in, remote))
        i = nat_table_next(&nat->mappings, i);
    return i;
}

uint32_t nat_mapping_of_outside(const struct lab_nat *nat, uint8_t proto, const struct nat_ep *external)
{
    uint32_t address = nat_external_index(nat, external->addr);
    if (address == NAT_NIL)
        return NAT_NIL;
    uint32_t owner = nat_ports_get(nat_ports(nat, address, proto), external->port);
    return owner == 0 || owner == NAT_FOREIGN ? NAT_NIL : owner - 1;
}

static uint32_t session_hash(const struct lab_nat *nat, uint32_t mapping, const struct nat_ep *remote)
{
    return nat_hash(nat, remote->addr, (uint64_t)mapping << 16 | remote->port);
}

uint32_t nat_session_find(const struct lab_nat *nat, uint32_t mapping, const struct nat_ep *remote)
{
    uint32_t i = nat_table_first(&nat->sessions, session_hash(nat, mapping, remote));
    for (; i != NAT_NIL; i = nat_table_next(&nat->sessions, i)) {
        const struct nat_session *s = nat_session(nat, i);
        if (s->mapping == mapping && s->remote_port == remote->port && lab_addr_equal(s->remote_addr, remote->addr))
            break;
    }
    return i;
}

static uint32_t host_find(const struct lab_nat *nat, struct lab_addr addr)
{
    uint32_t i = nat_table_first(&nat->hosts, nat_hash(nat, addr, 0));
    while (i != NAT_NIL && !lab_addr_equal(nat_host(nat, i)->addr, addr))
        i = nat_table_next(&nat->hosts, i);
    return i;
}

/* ---- permits: address-dependent filtering of a mapping that any remote shares ------------------ */

static bool uses_permits(const struct lab_nat *nat)
{
    return nat->profile.filtering == LAB_FILTER_AD && nat->profile.mapping == LAB_MAP_EI;
}

static uint32_t permit_find(const struct lab_nat *nat, uint32_t mapping, struct lab_addr addr)
{
    uint32_t i = nat_table_first(&nat->permits, nat_hash(nat, addr, mapping));
    for (; i != NAT_NIL; i = nat_table_next(&nat->permits, i)) {
        const struct nat_permit *p = nat_table_at(&nat->permits, i);
        if (p->mapping == mapping && lab_addr_equal(p->addr, addr))
            break;
    }
    return i;
}

bool nat_permit_has(const struct lab_nat *nat, uint32_t mapping, struct lab_addr addr)
{
    return permit_find(nat, mapping, addr) != NAT_NIL;
}

static void permit_add(struct lab_nat *nat, struct nat_session *s)
{
    uint32_t i = permit_find(nat, s->mapping, s->remote_addr);
    if (i == NAT_NIL) {
        i = nat_table_add(&nat->permits, nat_hash(nat, s->remote_addr, s->mapping));
        if (i == NAT_NIL)
            return; /* no memory: that address stays filtered */
        struct nat_permit *fresh = nat_table_at(&nat->permits, i);
        fresh->mapping = s->mapping;
        fresh->addr = s->remote_addr;
    }
    ((struct nat_permit *)nat_table_at(&nat->permits, i))->sessions++;
    s->permits = true;
}

static void permit_drop(struct lab_nat *nat, const struct nat_session *s)
{
    uint32_t i = permit_find(nat, s->mapping, s->remote_addr);
    struct nat_permit *p = nat_table_at(&nat->permits, i);
    if (--p->sessions == 0)
        nat_table_remove(&nat->permits, i);
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void host_unlink(struct lab_nat *nat, struct nat_host *host, const struct nat_session *s)
{
    if (s->older != NAT_NIL)
        nat_session(nat, s->older)->newer = s->newer;
    else
        host->oldest = s->newer;
    if (s->newer != NAT_NIL)
        nat_session(nat, s->newer)->older = s->older;
    else
        host->newest = s->older;
    host->sessions--;
}

static void mapping_remove(struct lab_nat *nat, uint32_t mapping)
{
    const struct nat_mapping *m = nat_mapping(nat, mapping);
    nat_ports_set(nat_ports(nat, m->external, m->proto), m->port, 0);
    nat_table_remove(&nat->mappings, mapping);
}

void nat_session_close(struct lab_nat *nat, uint32_t session)
{
    struct nat_session *s = nat_session(nat, session);
    struct nat_mapping *m = nat_mapping(nat, s->mapping);
    uint32_t mapping = s->mapping;
    if (s->permits)
        permit_drop(nat, s);
    host_unlink(nat, nat_host(nat, m->host), s);
    heap_remove(nat, s->heap_pos);
    nat_table_remove(&nat->sessions, session);
    if (--m->sessions == 0)
        mapping_remove(nat, mapping);
}

void nat_session_expire(struct lab_nat *nat, uint64_t now_ns)
{
    while (nat->heap.n && nat->heap.slots[0].key <= now_ns) {
        uint32_t first = first_to_end(nat);
        if (nat_session(nat, first)->expires_ns > now_ns)
            break;
        nat_session_close(nat, first);
        nat->counters.sessions_expired++;
    }
}

/* ---- timers ---------------------------------------------------------------------------------- */

static unsigned close_s(const struct lab_profile *p)
{
    return p->tcp_closing_s < CLOSE_S ? p->tcp_closing_s : CLOSE_S;
}

static unsigned timeout_of(const struct lab_nat *nat, const struct nat_session *s, uint8_t proto)
{
    const struct lab_profile *p = &nat->profile;
    if (proto == NAT_UDP)
        return s->seen_in && s->seen_out ? p->udp_stream_s : p->udp_new_s;
    if (proto == NAT_ICMP)
        return LAB_NAT_ICMP_S;
    switch (s->tcp_state) {
    case NAT_TCP_ESTABLISHED:
        return p->tcp_established_s;
    case NAT_TCP_FIN_WAIT:
    case NAT_TCP_CLOSE_WAIT:
    case NAT_TCP_LAST_ACK:
    case NAT_TCP_TIME_WAIT:
        return p->tcp_closing_s;
    case NAT_TCP_CLOSE:
        return close_s(p);
    default:
        return p->tcp_syn_sent_s;
    }
}

void nat_session_touch(struct lab_nat *nat, uint32_t session, bool outbound, enum nat_touch touch, uint64_t now_ns)
{
    struct nat_session *s = nat_session(nat, session);
    struct nat_mapping *m = nat_mapping(nat, s->mapping);
    if (outbound) {
        s->seen_out = true;
        m->remote_addr = s->remote_addr;
        m->remote_port = s->remote_port;
        if (uses_permits(nat) && !s->permits)
            permit_add(nat, s);
    } else {
        s->seen_in = true;
    }
    bool may = touch == NAT_REFRESH && (outbound || nat->profile.refresh == LAB_REFRESH_BOTH);
    if (may || touch == NAT_MOVED)
        set_deadline(nat, s, nat_after(now_ns, timeout_of(nat, s, m->proto)));
    else if (touch == NAT_DOUBTED)
        set_deadline(nat, s, nat_after(now_ns, close_s(&nat->profile)));
}

/* ---- making ---------------------------------------------------------------------------------- */

static enum lab_nat_drop evict(struct lab_nat *nat, enum lab_at_cap at_cap, uint32_t victim, uint32_t *mapping,
                               enum lab_nat_drop why)
{
    if (at_cap != LAB_AT_CAP_EVICT || victim == NAT_NIL)
        return why;
    /* The mapping that is about to get a session may go with the victim. */
    if (*mapping != NAT_NIL && nat_session(nat, victim)->mapping == *mapping &&
        nat_mapping(nat, *mapping)->sessions == 1)
        *mapping = NAT_NIL;
    nat_session_close(nat, victim);
    nat->counters.sessions_evicted++;
    return LAB_NAT_DROP_NONE;
}

static enum lab_nat_drop caps(struct lab_nat *nat, uint32_t *mapping, const struct nat_host *host, uint64_t now_ns)
{
    const struct lab_profile *p = &nat->profile;
    enum lab_nat_drop why = LAB_NAT_DROP_NONE;
    if (p->new_per_s && !base_bucket_take(&nat->fresh, now_ns))
        return LAB_NAT_DROP_RATE;
    if (p->host_limit && host->sessions >= p->host_limit)
        why = evict(nat, p->host_at_cap, host->oldest, mapping, LAB_NAT_DROP_HOST_LIMIT);
    if (why == LAB_NAT_DROP_NONE && p->table_size && nat->sessions.n >= p->table_size)
        why = evict(nat, p->table_at_cap, first_to_end(nat), mapping, LAB_NAT_DROP_TABLE);
    return why;
}

static uint32_t host_of(struct lab_nat *nat, struct lab_addr addr)
{
    uint32_t i = host_find(nat, addr);
    if (i != NAT_NIL)
        return i;
    i = nat->hosts.n < NAT_MAX_HOSTS ? nat_table_add(&nat->hosts, nat_hash(nat, addr, 0)) : NAT_NIL;
    if (i == NAT_NIL)
        return i;
    struct nat_host *host = nat_host(nat, i);
    host->addr = addr;
    host->oldest = host->newest = NAT_NIL;
    return i;
}

static enum lab_nat_drop mapping_make(struct lab_nat *nat, uint32_t host, uint8_t proto, const struct nat_ep *in,
                                      const struct nat_ep *remote, uint64_t now_ns, uint32_t *out)
{
    uint8_t external;
    uint16_t port;
    if (!nat_alloc(nat, nat_host(nat, host), proto, in->port, now_ns, &external, &port))
        return LAB_NAT_DROP_PORTS;
    uint32_t i = nat_table_add(&nat->mappings, inside_hash(nat, proto, in, remote));
    if (i == NAT_NIL)
        return LAB_NAT_DROP_MEMORY;
    struct nat_mapping *m = nat_mapping(nat, i);
    m->in_addr = in->addr;
    m->in_port = in->port;
    m->remote_addr = remote->addr;
    m->remote_port = remote->port;
    m->proto = proto;
    m->external = external;
    m->port = port;
    m->host = host;
    if (!nat_ports_set(nat_ports(nat, external, proto), port, i + 1)) {
        nat_table_remove(&nat->mappings, i);
        return LAB_NAT_DROP_MEMORY;
    }
    nat->counters.mappings_made++;
    *out = i;
    return LAB_NAT_DROP_NONE;
}

static void host_link(struct lab_nat *nat, struct nat_host *host, uint32_t session)
{
    struct nat_session *s = nat_session(nat, session);
    s->newer = NAT_NIL;
    s->older = host->newest;
    if (host->newest != NAT_NIL)
        nat_session(nat, host->newest)->newer = session;
    else
        host->oldest = session;
    host->newest = session;
    host->sessions++;
}

static uint32_t session_make(struct lab_nat *nat, uint32_t mapping, const struct nat_ep *remote,
                             const struct nat_packet *p, bool from_inside)
{
    uint32_t i = nat_table_add(&nat->sessions, session_hash(nat, mapping, remote));
    if (i == NAT_NIL)
        return i;
    struct nat_session *s = nat_session(nat, i);
    struct nat_mapping *m = nat_mapping(nat, mapping);
    s->remote_addr = remote->addr;
    s->remote_port = remote->port;
    s->mapping = mapping;
    s->from_inside = from_inside;
    if (m->proto == NAT_TCP)
        nat_tcp_begin(nat, s, p);
    s->expires_ns = nat_after(p->now_ns, timeout_of(nat, s, m->proto));
    if (!heap_push(nat, i, s->expires_ns)) {
        nat_table_remove(&nat->sessions, i);
        return NAT_NIL;
    }
    host_link(nat, nat_host(nat, m->host), i);
    m->sessions++;
    nat->counters.sessions_made++;
    return i;
}

enum lab_nat_drop nat_session_open(struct lab_nat *nat, uint32_t *mapping, const struct nat_ep *in,
                                   const struct nat_ep *remote, const struct nat_packet *p, bool from_inside,
                                   uint32_t *session)
{
    uint32_t host = *mapping != NAT_NIL ? nat_mapping(nat, *mapping)->host : host_of(nat, in->addr);
    enum lab_nat_drop why;
    if (host == NAT_NIL)
        return LAB_NAT_DROP_MEMORY;
    why = caps(nat, mapping, nat_host(nat, host), p->now_ns);
    if (why == LAB_NAT_DROP_NONE && *mapping == NAT_NIL && !from_inside)
        return LAB_NAT_DROP_TABLE; /* the mapping itself was evicted */
    if (why == LAB_NAT_DROP_NONE && *mapping == NAT_NIL)
        why = mapping_make(nat, host, p->ip.proto, in, remote, p->now_ns, mapping);
    if (why != LAB_NAT_DROP_NONE)
        return why;
    *session = session_make(nat, *mapping, remote, p, from_inside);
    if (*session != NAT_NIL)
        return LAB_NAT_DROP_NONE;
    if (nat_mapping(nat, *mapping)->sessions == 0)
        mapping_remove(nat, *mapping);
    return LAB_NAT_DROP_MEMORY;
}
