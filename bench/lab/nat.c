/*
 * The emulated NAT: the way of a packet through it.
 *
 * As in Linux a packet from inside loses its hop before it makes any state, one from outside after it has met its
 * session: an unsolicited SYN is answered whatever its TTL.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lab/nat_state.h"

const char *lab_nat_drop_name(enum lab_nat_drop reason)
{
    static const char *const names[LAB_NAT_DROP_N] = {
        [LAB_NAT_DROP_NONE] = "none",
        [LAB_NAT_DROP_MALFORMED] = "malformed",
        [LAB_NAT_DROP_NOT_IPV4] = "not-ipv4",
        [LAB_NAT_DROP_PROTOCOL] = "protocol",
        [LAB_NAT_DROP_FRAGMENT] = "fragment",
        [LAB_NAT_DROP_TTL] = "ttl",
        [LAB_NAT_DROP_NOT_OURS] = "not-ours",
        [LAB_NAT_DROP_UNSOLICITED] = "unsolicited",
        [LAB_NAT_DROP_FILTERED] = "filtered",
        [LAB_NAT_DROP_INVALID] = "invalid",
        [LAB_NAT_DROP_RELATED] = "related",
        [LAB_NAT_DROP_BLACKLISTED] = "blacklisted",
        [LAB_NAT_DROP_HELD] = "held",
        [LAB_NAT_DROP_HAIRPIN] = "hairpin",
        [LAB_NAT_DROP_PORTS] = "no-port",
        [LAB_NAT_DROP_TABLE] = "table-full",
        [LAB_NAT_DROP_HOST_LIMIT] = "host-limit",
        [LAB_NAT_DROP_RATE] = "rate",
        [LAB_NAT_DROP_MEMORY] = "memory",
    };
    return (unsigned)reason < LAB_NAT_DROP_N ? names[reason] : "?";
}

/* SplitMix64's finisher over both words: neighbours in address and port must not be neighbours in the table. */
uint32_t nat_hash(const struct lab_nat *nat, struct lab_addr addr, uint64_t rest)
{
    uint64_t x = addr.hi * 0x9e3779b97f4a7c15ULL ^ addr.lo ^ (rest + nat->salt) * 0xd6e8feb86659fd93ULL;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return (uint32_t)(x ^ x >> 31);
}

/* ---- from inside ----------------------------------------------------------------------------- */

/* A connection-dependent mapping ends where its connection does: a new SYN is a new connection. */
static bool outlived(const struct lab_nat *nat, uint32_t session, const struct nat_packet *p)
{
    if (nat->profile.mapping != LAB_MAP_CONNECTION || p->ip.proto != NAT_TCP)
        return false;
    return (p->tcp_flags & (NAT_SYN | NAT_ACK)) == NAT_SYN && !nat_tcp_is_retransmission(nat_session(nat, session), p);
}

static void reopen(const struct lab_nat *nat, struct nat_session *s, const struct nat_packet *p)
{
    s->from_inside = p->dir == LAB_NAT_OUT;
    s->seen_in = s->seen_out = false;
    nat_tcp_begin(nat, s, p);
}

/* What a TCP verdict means for the session; an invalid segment is the caller's to see first. */
static void settle(struct lab_nat *nat, uint32_t session, const struct nat_packet *p, enum nat_tcp_verdict verdict,
                   bool changed)
{
    bool outward = p->dir == LAB_NAT_OUT;
    if (verdict == NAT_TCP_KILL) {
        nat_session_close(nat, session);
        return;
    }
    if (verdict == NAT_TCP_REOPEN)
        reopen(nat, nat_session(nat, session), p);
    enum nat_touch touch = verdict == NAT_TCP_IGNORE ? NAT_SEEN : verdict == NAT_TCP_DOUBT ? NAT_DOUBTED : NAT_REFRESH;
    if (verdict == NAT_TCP_REOPEN || changed)
        touch = NAT_MOVED;
    nat_session_touch(nat, session, outward, touch, p->now_ns);
}

/* Finds or makes the session of an outbound packet, and follows it; *external becomes its external endpoint. */
static enum lab_nat_drop outbound_session(struct lab_nat *nat, struct nat_packet *p, struct nat_ep *external)
{
    bool tcp = p->ip.proto == NAT_TCP, changed = false;
    enum nat_tcp_verdict verdict = NAT_TCP_PASS;
    uint32_t session = NAT_NIL, mapping = nat_mapping_of_inside(nat, p->ip.proto, &p->src, &p->dst);
    if (mapping != NAT_NIL)
        session = nat_session_find(nat, mapping, &p->dst);
    if (session != NAT_NIL && outlived(nat, session, p)) {
        nat_session_close(nat, session);
        session = mapping = NAT_NIL;
    }
    if (session == NAT_NIL) {
        if (tcp && !nat_tcp_may_begin(nat, p))
            return LAB_NAT_DROP_INVALID;
        enum lab_nat_drop why = nat_session_open(nat, &mapping, &p->src, &p->dst, p, true, &session);
        if (why != LAB_NAT_DROP_NONE)
            return why;
    } else if (tcp) {
        verdict = nat_tcp_track(nat, nat_session(nat, session), p, &changed);
    }
    if (verdict == NAT_TCP_INVALID)
        return LAB_NAT_DROP_INVALID;
    *external = nat_external_ep(nat, nat_mapping(nat, mapping));
    settle(nat, session, p, verdict, changed);
    if (tcp && p->tcp_flags & NAT_SYN)
        nat_filter_unhold(nat, external, &p->dst);
    return LAB_NAT_DROP_NONE;
}

/* ---- from outside ---------------------------------------------------------------------------- */

/* A session for a remote that the filter lets in, but that the inside has never sent to. */
static enum lab_nat_drop inbound_open(struct lab_nat *nat, struct nat_packet *p, uint32_t mapping, uint32_t *session)
{
    /* Outbound packets alone keep a mapping: an inbound datagram then leaves nothing behind (RFC 4787 REQ-6). */
    if (p->ip.proto != NAT_TCP && nat->profile.refresh != LAB_REFRESH_BOTH)
        return LAB_NAT_DROP_NONE;
    if (p->ip.proto == NAT_TCP && !nat_tcp_may_begin(nat, p))
        return LAB_NAT_DROP_INVALID;
    return nat_session_open(nat, &mapping, NULL, &p->src, p, false, session);
}

/* Finds the mapping of an inbound packet, filters and follows it; *in becomes its internal endpoint. */
static enum lab_nat_drop inbound_session(struct lab_nat *nat, struct nat_packet *p, struct nat_ep *in)
{
    uint32_t mapping = nat_mapping_of_outside(nat, p->ip.proto, &p->dst), session;
    enum nat_tcp_verdict verdict = NAT_TCP_PASS;
    bool changed = false;
    if (mapping == NAT_NIL)
        return LAB_NAT_DROP_UNSOLICITED;
    session = nat_session_find(nat, mapping, &p->src);
    if (!nat_filter_passes(nat, mapping, session, &p->src))
        return LAB_NAT_DROP_FILTERED;
    const struct nat_mapping *m = nat_mapping(nat, mapping);
    *in = (struct nat_ep){.addr = m->in_addr, .port = m->in_port};
    if (session == NAT_NIL) {
        enum lab_nat_drop why = inbound_open(nat, p, mapping, &session);
        if (why != LAB_NAT_DROP_NONE || session == NAT_NIL)
            return why;
    } else if (p->ip.proto == NAT_TCP) {
        verdict = nat_tcp_track(nat, nat_session(nat, session), p, &changed);
    }
    if (verdict == NAT_TCP_INVALID)
        return LAB_NAT_DROP_INVALID;
    /* The hole was the old connection's, and goes with it; only an open filter takes a new one. */
    if (verdict == NAT_TCP_REOPEN && nat->profile.filtering != LAB_FILTER_EI &&
        nat->profile.filtering != LAB_FILTER_AD) {
        nat_session_close(nat, session);
        return LAB_NAT_DROP_FILTERED;
    }
    settle(nat, session, p, verdict, changed);
    return LAB_NAT_DROP_NONE;
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static enum lab_nat_verdict drop(enum lab_nat_drop why, struct lab_nat_out *out)
{
    out->reason = why;
    return LAB_NAT_DROP;
}

static enum lab_nat_verdict hop_exceeded(const struct nat_packet *p, const union base_ep *self, struct lab_nat_out *out)
{
    out->reason = LAB_NAT_DROP_TTL;
    out->reply_len = lab_packet_time_exceeded(p->data, &p->ip, self, out->reply);
    return out->reply_len ? LAB_NAT_REPLY : LAB_NAT_DROP;
}

/* To one of our own external addresses from inside (RFC 4787 section 6). */
static enum lab_nat_verdict hairpin(struct lab_nat *nat, struct nat_packet *p, struct lab_nat_out *out)
{
    struct nat_ep in, external;
    if (nat->profile.hairpin != LAB_HAIRPIN_INTERNAL && nat->profile.hairpin != LAB_HAIRPIN_EXTERNAL)
        return drop(LAB_NAT_DROP_HAIRPIN, out);
    if (p->ip.proto == NAT_ICMP)
        return drop(LAB_NAT_DROP_HAIRPIN, out);
    enum lab_nat_drop why = outbound_session(nat, p, &external);
    if (why != LAB_NAT_DROP_NONE)
        return drop(why, out);
    struct nat_packet back = *p;
    back.src = external;
    back.dir = LAB_NAT_IN;
    why = inbound_session(nat, &back, &in);
    if (why != LAB_NAT_DROP_NONE)
        return drop(why, out);
    nat_rewrite(p, nat->profile.hairpin == LAB_HAIRPIN_EXTERNAL ? &external : NULL, &in);
    lab_packet_hop(p->data, 4);
    nat->counters.hairpinned++;
    return LAB_NAT_HAIRPIN;
}

static enum lab_nat_verdict outbound(struct lab_nat *nat, struct nat_packet *p, struct lab_nat_out *out)
{
    struct nat_ep external;
    enum lab_nat_drop why;
    if (p->data[8] <= 1)
        return hop_exceeded(p, &nat->gateway, out);
    bool to_self = nat_external_index(nat, p->dst.addr) != NAT_NIL;
    if (p->icmp_error) {
        why = to_self ? LAB_NAT_DROP_HAIRPIN : nat_icmp_error(nat, p);
        if (why != LAB_NAT_DROP_NONE)
            return drop(why, out);
    } else if (to_self) {
        return hairpin(nat, p, out);
    } else {
        why = outbound_session(nat, p, &external);
        if (why != LAB_NAT_DROP_NONE)
            return drop(why, out);
        nat_rewrite(p, &external, NULL);
        if (nat->profile.rewrite_payload)
            nat_rewrite_payload(p, p->src.addr, external.addr);
    }
    lab_packet_hop(p->data, 4);
    nat->counters.out++;
    return LAB_NAT_FORWARD;
}

static bool is_unasked(enum lab_nat_drop why, const struct lab_nat *nat)
{
    /* A router that rejects sends a RST to a segment that its connection tracking does not know, too. */
    return why == LAB_NAT_DROP_UNSOLICITED || why == LAB_NAT_DROP_FILTERED ||
           (why == LAB_NAT_DROP_INVALID && nat->profile.unsolicited == LAB_UNSOLICITED_RST);
}

static enum lab_nat_verdict inbound(struct lab_nat *nat, struct nat_packet *p, struct lab_nat_out *out)
{
    struct nat_ep in;
    enum lab_nat_drop why;
    uint32_t external = nat_external_index(nat, p->dst.addr);
    if (external == NAT_NIL)
        return drop(LAB_NAT_DROP_NOT_OURS, out);
    if (nat_filter_blacklisted(nat, p->src.addr, p->now_ns))
        return drop(LAB_NAT_DROP_BLACKLISTED, out);
    if (p->icmp_error) {
        if (p->data[8] <= 1)
            return drop(LAB_NAT_DROP_TTL, out);
        why = nat_icmp_error(nat, p);
        if (why != LAB_NAT_DROP_NONE)
            return drop(why, out);
    } else {
        why = inbound_session(nat, p, &in);
        if (is_unasked(why, nat))
            return nat_filter_unsolicited(nat, p, why, out);
        if (why != LAB_NAT_DROP_NONE)
            return drop(why, out);
        if (p->data[8] <= 1)
            return hop_exceeded(p, &nat->external[external], out);
        nat_rewrite(p, NULL, &in);
    }
    lab_packet_hop(p->data, 4);
    nat->counters.in++;
    return LAB_NAT_FORWARD;
}

enum lab_nat_verdict lab_nat_packet(struct lab_nat *nat, enum lab_nat_dir dir, uint8_t *data, size_t len,
                                    uint64_t now_ns, struct lab_nat_out *out)
{
    struct nat_packet p;
    enum lab_nat_verdict verdict;
    out->reason = LAB_NAT_DROP_NONE;
    out->reply_len = 0;
    nat_run_to(nat, now_ns);
    enum lab_nat_drop why = nat_packet_read(data, len, dir, now_ns, &p);
    if (why != LAB_NAT_DROP_NONE)
        verdict = drop(why, out);
    else
        verdict = dir == LAB_NAT_OUT ? outbound(nat, &p, out) : inbound(nat, &p, out);
    if (verdict == LAB_NAT_DROP || verdict == LAB_NAT_REPLY)
        nat->counters.drops[out->reason]++;
    nat->counters.replies += verdict == LAB_NAT_REPLY;
    return verdict;
}

void nat_run_to(struct lab_nat *nat, uint64_t now_ns)
{
    if (now_ns >= nat->restart_ns) {
        lab_nat_reset(nat, NULL, now_ns);
        nat->restart_ns = NAT_NEVER;
    }
    nat_session_expire(nat, now_ns);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void or_default(unsigned *value, unsigned otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static void defaults(struct lab_profile *p)
{
    or_default(&p->udp_new_s, LAB_NAT_UDP_NEW_S);
    or_default(&p->udp_stream_s, p->udp_new_s > LAB_NAT_UDP_STREAM_S ? p->udp_new_s : LAB_NAT_UDP_STREAM_S);
    or_default(&p->tcp_syn_sent_s, LAB_NAT_TCP_SYN_SENT_S);
    or_default(&p->tcp_established_s, LAB_NAT_TCP_ESTABLISHED_S);
    or_default(&p->tcp_closing_s, LAB_NAT_TCP_CLOSING_S);
    or_default(&p->block_size, LAB_NAT_BLOCK_SIZE);
    or_default(&p->blocks, 1);
    if (p->step == 0)
        p->step = 1;
    if (p->mapping == LAB_MAP_UNSET)
        p->mapping = LAB_MAP_EI;
    if (p->port_lo == 0 && p->port_hi == 0) {
        p->port_lo = LAB_NAT_PORT_LO;
        p->port_hi = LAB_NAT_PORT_HI;
    }
}

static bool addresses_ok(const union base_ep *external, size_t n, const union base_ep *gateway)
{
    if (n == 0 || n > NAT_MAX_ADDRS || gateway->sa.sa_family != AF_INET)
        return false;
    for (size_t i = 0; i < n; i++)
        if (external[i].sa.sa_family != AF_INET)
            return false;
    return true;
}

static void init_tables(struct lab_nat *nat)
{
    nat_table_init(&nat->sessions, sizeof(struct nat_session));
    nat_table_init(&nat->mappings, sizeof(struct nat_mapping));
    nat_table_init(&nat->hosts, sizeof(struct nat_host));
    nat_table_init(&nat->permits, sizeof(struct nat_permit));
    nat_table_init(&nat->sources, sizeof(struct nat_source));
    nat_table_init(&nat->held, sizeof(struct nat_held));
    nat->held_oldest = nat->held_newest = NAT_NIL;
}

int lab_nat_create(struct lab_nat **out, const struct lab_profile *profile, const union base_ep *external,
                   size_t n_external, const union base_ep *gateway, uint64_t seed, uint64_t now_ns)
{
    struct lab_profile p = *profile;
    defaults(&p);
    if (!addresses_ok(external, n_external, gateway) || p.port_lo > p.port_hi)
        return -EINVAL;
    if (p.ports == LAB_PORTS_BLOCK && p.block_size > (unsigned)(p.port_hi - p.port_lo) + 1)
        return -EINVAL;
    struct lab_nat *nat = calloc(1, sizeof(*nat));
    if (!nat)
        return -ENOMEM;
    init_tables(nat);
    nat->profile = p;
    nat->gateway = *gateway;
    nat->n_external = (uint32_t)(p.pool && p.pool < n_external ? p.pool : n_external);
    for (uint32_t i = 0; i < nat->n_external; i++) {
        nat->external[i] = external[i];
        nat->external_addr[i] = lab_addr_of(&external[i]);
    }
    nat->lo = p.port_lo;
    nat->hi = p.port_hi;
    base_rng_seed(&nat->rng, seed);
    nat->salt = (uint32_t)base_rng_u64(&nat->rng);
    nat->n_blocks = p.ports == LAB_PORTS_BLOCK ? (nat->hi - nat->lo + 1) / p.block_size : 0;
    nat->ports = calloc((size_t)nat->n_external * 3, sizeof(*nat->ports));
    nat->block_taken = calloc((size_t)nat->n_external * nat->n_blocks + 1, 1);
    if (!nat->ports || !nat->block_taken) {
        lab_nat_destroy(nat);
        return -ENOMEM;
    }
    lab_nat_reset(nat, NULL, now_ns);
    *out = nat;
    return 0;
}

void lab_nat_destroy(struct lab_nat *nat)
{
    if (!nat)
        return;
    nat_table_free(&nat->sessions);
    nat_table_free(&nat->mappings);
    nat_table_free(&nat->hosts);
    nat_table_free(&nat->permits);
    nat_table_free(&nat->sources);
    nat_table_free(&nat->held);
    for (uint32_t i = 0; nat->ports && i < nat->n_external * 3; i++)
        nat_ports_free(&nat->ports[i]);
    free(nat->ports);
    free(nat->block_taken);
    free(nat->heap.slots);
    free(nat->foreign.ring);
    free(nat);
}

/* ---- reset ----------------------------------------------------------------------------------- */

static bool is_kept(const struct lab_nat *nat, const struct nat_session *s, const struct nat_ep *keep)
{
    return keep->port && nat_mapping(nat, s->mapping)->proto == NAT_TCP && s->remote_port == keep->port &&
           lab_addr_equal(s->remote_addr, keep->addr);
}

/* Hosts without a kept session are forgotten; the others keep the place where their ports are. */
static void reset_hosts(struct lab_nat *nat)
{
    for (uint32_t h = 0; h < nat->hosts.n_heads; h++) {
        for (uint32_t i = nat->hosts.heads[h], next; i != NAT_NIL; i = next) {
            const struct nat_host *host = nat_host(nat, i);
            next = host->link.next;
            if (host->sessions == 0)
                nat_table_remove(&nat->hosts, i);
            for (uint32_t b = 0; host->sessions && b < host->n_blocks; b++)
                nat->block_taken[(size_t)host->external * nat->n_blocks + host->blocks[b]] = 1;
        }
    }
}

void lab_nat_reset(struct lab_nat *nat, const union base_ep *keep, uint64_t now_ns)
{
    struct nat_ep kept = {0};
    if (keep && base_ep_is_set(keep))
        kept = (struct nat_ep){.addr = lab_addr_of(keep), .port = base_ep_port(keep)};
    for (uint32_t h = 0; h < nat->sessions.n_heads; h++) {
        for (uint32_t i = nat->sessions.heads[h], next; i != NAT_NIL; i = next) {
            next = nat_table_next(&nat->sessions, i);
            if (!is_kept(nat, nat_session(nat, i), &kept))
                nat_session_close(nat, i);
        }
    }
    nat_alloc_reset(nat);
    reset_hosts(nat);
    nat_filter_reset(nat);
    nat_cross_reset(nat, now_ns);
    base_bucket_init(&nat->fresh, nat->profile.new_per_s, nat->profile.new_per_s, now_ns);
    nat->restart_ns = nat->profile.restart_after_s ? nat_after(now_ns, nat->profile.restart_after_s) : NAT_NEVER;
}

void lab_nat_readdress(struct lab_nat *nat, const union base_ep *external, size_t n)
{
    for (uint32_t i = 0; i < nat->n_external && i < n; i++) {
        nat->external[i] = external[i];
        nat->external_addr[i] = lab_addr_of(&external[i]);
    }
}

void lab_nat_counters(const struct lab_nat *nat, struct lab_nat_counters *out)
{
    *out = nat->counters;
    out->mappings = nat->mappings.n;
    out->sessions = nat->sessions.n;
    out->held = nat->held.n;
    out->bytes = sizeof(*nat) + nat_table_bytes(&nat->sessions) + nat_table_bytes(&nat->mappings) +
                 nat_table_bytes(&nat->hosts) + nat_table_bytes(&nat->permits) + nat_table_bytes(&nat->sources) +
                 nat_table_bytes(&nat->held) + nat->heap.capacity * sizeof(*nat->heap.slots) +
                 nat->foreign.capacity * sizeof(*nat->foreign.ring);
    for (uint32_t i = 0; i < nat->n_external * 3; i++)
        out->bytes += sizeof(nat->ports[i]) + nat->ports[i].bytes;
}
