/*
 * What the nat_*.c files share. Sessions, mappings, hosts, permits and sources are entries of hash tables and are named
 * by index; an entry's address is good until it is removed (chunks never move). External ports are looked up in a
 * two-level array per external address and protocol. Expiry is a heap over sessions whose keys are lower bounds of
 * their deadlines: a refresh writes the deadline only, and the heap catches up when the old key comes due.
 */
#ifndef BENCH_LAB_NAT_STATE_H
#define BENCH_LAB_NAT_STATE_H

#include "bench/lab/nat.h"

#define NAT_NIL       UINT32_MAX
#define NAT_MAX_ADDRS 16u
#define NAT_NEVER     UINT64_MAX

#define NAT_ICMP 1
#define NAT_TCP  6
#define NAT_UDP  17

/* ---- nat_table.c: storage -------------------------------------------------------------------- */

/* First member of every entry. */
struct nat_link {
    uint32_t next, hash;
};

struct nat_table {
    size_t entry; /* bytes */
    uint8_t **chunks;
    uint32_t n_chunks, high, free, n;
    uint32_t *heads;
    uint32_t n_heads; /* a power of two, or 0 */
};

void nat_table_init(struct nat_table *t, size_t entry);
void nat_table_free(struct nat_table *t);
/* A zeroed entry; NAT_NIL when there is no memory. */
uint32_t nat_table_add(struct nat_table *t, uint32_t hash);
void nat_table_remove(struct nat_table *t, uint32_t index);
void nat_table_clear(struct nat_table *t);
size_t nat_table_bytes(const struct nat_table *t);

#define NAT_CHUNK 512u

static inline void *nat_table_at(const struct nat_table *t, uint32_t index)
{
    return t->chunks[index / NAT_CHUNK] + (size_t)(index % NAT_CHUNK) * t->entry;
}

/* Candidates for a hash, in turn: the caller compares keys. NAT_NIL at the end. */
static inline uint32_t nat_table_first(const struct nat_table *t, uint32_t hash)
{
    return t->n_heads ? t->heads[hash & (t->n_heads - 1)] : NAT_NIL;
}

static inline uint32_t nat_table_next(const struct nat_table *t, uint32_t index)
{
    return ((const struct nat_link *)nat_table_at(t, index))->next;
}

/* Who has each external port of one address and protocol: 0 = free, NAT_FOREIGN, or a mapping's index + 1. */
#define NAT_FOREIGN UINT32_MAX
#define NAT_PAGE    256u

struct nat_page {
    uint32_t owner[NAT_PAGE];
    uint16_t used;
};

struct nat_ports {
    struct nat_page *pages[65536 / NAT_PAGE];
    size_t bytes;
};

static inline uint32_t nat_ports_get(const struct nat_ports *p, uint16_t port)
{
    const struct nat_page *page = p->pages[port / NAT_PAGE];
    return page ? page->owner[port % NAT_PAGE] : 0;
}

/* False when there is no memory (never for owner 0). */
bool nat_ports_set(struct nat_ports *p, uint16_t port, uint32_t owner);
/* Free ports in [lo, hi], and the k-th of them (k below that count). */
uint32_t nat_ports_count_free(const struct nat_ports *p, uint32_t lo, uint32_t hi);
uint16_t nat_ports_nth_free(const struct nat_ports *p, uint32_t lo, uint32_t hi, uint32_t k);
void nat_ports_clear_foreign(struct nat_ports *p);
void nat_ports_free(struct nat_ports *p);

/* ---- entries --------------------------------------------------------------------------------- */

struct nat_ep {
    struct lab_addr addr;
    uint16_t port; /* host order; an ICMP echo's identifier on the inside's side, 0 on the remote's */
};

static inline bool nat_ep_equal(const struct nat_ep *a, const struct nat_ep *b)
{
    return a->port == b->port && lab_addr_equal(a->addr, b->addr);
}

struct nat_host {
    struct nat_link link;
    struct lab_addr addr;
    uint32_t sessions;
    uint32_t oldest, newest; /* of its sessions */
    uint16_t band_lo;
    uint16_t blocks[LAB_NAT_MAX_BLOCKS]; /* number of the block in the range */
    uint8_t n_blocks;
    uint8_t external; /* paired: which address */
    bool placed;      /* external, band or first block was chosen */
};

/* Hosts stay until a reset: this many source addresses are no home and no carrier's customers. */
#define NAT_MAX_HOSTS 65536u

struct nat_mapping {
    struct nat_link link;                 /* by internal endpoint and what of the remote the class looks at */
    struct lab_addr in_addr, remote_addr; /* remote: the key's, and the last destination */
    uint16_t in_port, remote_port, port;
    uint8_t proto, external;
    uint32_t host, sessions;
};

/* One direction of a TCP connection, as a window check sees it (van Rooij 2000). */
struct nat_tcp_side {
    uint32_t end, max_end, max_win, max_ack;
    uint8_t scale;
    bool scaled, sack, liberal, acked;
    bool closes; /* it began the closing */
};

enum nat_tcp_state {
    NAT_TCP_NONE,
    NAT_TCP_SYN_SENT,
    NAT_TCP_SYN_SENT2, /* both sides have sent a SYN: simultaneous open */
    NAT_TCP_SYN_RECV,
    NAT_TCP_ESTABLISHED,
    NAT_TCP_FIN_WAIT,
    NAT_TCP_CLOSE_WAIT,
    NAT_TCP_LAST_ACK,
    NAT_TCP_TIME_WAIT,
    NAT_TCP_CLOSE,
};

struct nat_session {
    struct nat_link link; /* by mapping and remote */
    struct lab_addr remote_addr;
    uint64_t expires_ns;
    uint32_t mapping, heap_pos;
    uint32_t older, newer; /* of the host's */
    uint16_t remote_port;
    uint8_t tcp_state;
    bool from_inside; /* who began it */
    bool seen_out, seen_in;
    bool permits;        /* counted in a permit */
    bool assured : 1;    /* established, and acknowledged by both */
    bool both_syn : 1;   /* a SYN from either side */
    bool challenged : 1; /* a SYN was ignored while the last ACK was due: the next ACK may be about that SYN */
    bool last_reply : 1; /* the last segment came from the other side than the first one */
    bool last_scaled : 1, last_sack : 1;
    uint8_t last_flags, last_scale; /* scale, scaled, sack: of the last ignored SYN */
    uint16_t last_win;
    uint32_t last_end, last_ack; /* of the last pure ACK, or of what was ignored */
    struct nat_tcp_side tcp[2];  /* the side that began, the other */
};

/* Address-dependent filtering of an endpoint-independent mapping: the addresses that the inside has sent to. */
struct nat_permit {
    struct nat_link link;
    struct lab_addr addr;
    uint32_t mapping, sessions;
};

/* Somebody outside who sends what nobody asked for. */
struct nat_source {
    struct nat_link link;
    struct lab_addr addr;
    uint32_t count;
    uint64_t until_ns; /* blacklisted; 0 = not */
};
/* More are not remembered: whoever can forge that many addresses is not kept out by a list. */
#define NAT_MAX_SOURCES 4096u

struct nat_heap {
    struct nat_heap_slot {
        uint64_t key;
        uint32_t session;
    } * slots;
    uint32_t n, capacity;
};

/* Ports that foreigners hold, oldest first. */
struct nat_foreign {
    struct nat_foreign_port {
        uint64_t expires_ns;
        uint16_t port;
        uint8_t external;
    } * ring;
    uint32_t head, n, capacity; /* a power of two */
};

/* An unsolicited SYN that waits for its answer; what an ICMP error has to quote is its beginning. */
#define NAT_HELD_BYTES 80u
#define NAT_MAX_HELD   4096u

struct nat_held {
    struct nat_link link; /* by external and remote endpoint */
    uint64_t due_ns;
    struct nat_ep remote, external;
    uint32_t newer;
    uint16_t len;
    uint8_t data[NAT_HELD_BYTES];
};

struct lab_nat {
    struct lab_profile profile;
    union base_ep external[NAT_MAX_ADDRS], gateway;
    struct lab_addr external_addr[NAT_MAX_ADDRS];
    uint32_t n_external;
    uint32_t lo, hi; /* port range */
    uint32_t salt;
    struct base_rng rng;

    struct nat_table sessions, mappings, hosts, permits, sources, held;
    uint32_t held_oldest, held_newest;
    struct nat_heap heap;
    struct nat_ports *ports;          /* [external * 3 + protocol] */
    uint32_t position[NAT_MAX_ADDRS]; /* sequential: the next candidate, as an offset into the range */
    uint8_t *block_taken;             /* [external * n_blocks + block] */
    uint32_t n_blocks;

    struct nat_foreign foreign;
    uint64_t foreign_ns; /* up to when cross traffic was played; */
    bool foreign_warm;   /* and it had run before that */

    struct base_bucket fresh; /* new-per-second */
    uint64_t restart_ns;
    struct lab_nat_counters counters;
};

/* ---- a packet on its way --------------------------------------------------------------------- */

struct nat_packet {
    uint8_t *data;
    struct lab_packet ip;
    uint8_t *body; /* after the IP header */
    size_t body_len;
    struct nat_ep src, dst;
    enum lab_nat_dir dir;
    uint64_t now_ns;
    uint8_t tcp_flags;
    bool icmp_error;
};

#define NAT_FIN 1u
#define NAT_SYN 2u
#define NAT_RST 4u
#define NAT_ACK 16u
#define NAT_URG 32u

static inline uint16_t nat_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t nat_get32(const uint8_t *p)
{
    return (uint32_t)nat_get16(p) << 16 | nat_get16(p + 2);
}

static inline void nat_put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void nat_put32(uint8_t *p, uint32_t v)
{
    nat_put16(p, v >> 16);
    nat_put16(p + 2, v & 0xffff);
}

/* The four bytes of an IPv4 address. */
static inline const uint8_t *nat_v4(const struct lab_addr *addr)
{
    return (const uint8_t *)addr + 12;
}

static inline struct lab_addr nat_addr(const uint8_t *v4)
{
    union {
        uint8_t raw[16];
        struct lab_addr addr;
    } u = {.raw = {[10] = 0xff, [11] = 0xff, [12] = v4[0], [13] = v4[1], [14] = v4[2], [15] = v4[3]}};
    return u.addr;
}

static inline uint64_t nat_after(uint64_t now_ns, unsigned seconds)
{
    return now_ns + (uint64_t)seconds * BASE_NS_PER_S;
}

static inline struct nat_session *nat_session(const struct lab_nat *nat, uint32_t i)
{
    return nat_table_at(&nat->sessions, i);
}

static inline struct nat_mapping *nat_mapping(const struct lab_nat *nat, uint32_t i)
{
    return nat_table_at(&nat->mappings, i);
}

static inline struct nat_host *nat_host(const struct lab_nat *nat, uint32_t i)
{
    return nat_table_at(&nat->hosts, i);
}

static inline struct nat_ports *nat_ports(const struct lab_nat *nat, uint32_t external, uint8_t proto)
{
    return &nat->ports[external * 3 + (proto == NAT_TCP ? 0u : proto == NAT_UDP ? 1u : 2u)];
}

/* Which external address this is; NAT_NIL = none. */
static inline uint32_t nat_external_index(const struct lab_nat *nat, struct lab_addr addr)
{
    for (uint32_t i = 0; i < nat->n_external; i++)
        if (lab_addr_equal(nat->external_addr[i], addr))
            return i;
    return NAT_NIL;
}

static inline struct nat_ep nat_external_ep(const struct lab_nat *nat, const struct nat_mapping *m)
{
    return (struct nat_ep){.addr = nat->external_addr[m->external], .port = m->port};
}

uint32_t nat_hash(const struct lab_nat *nat, struct lab_addr addr, uint64_t rest);

/* ---- nat_rewrite.c: memory in, memory out ---------------------------------------------------- */

/* Reads a packet that has an IP header: its protocol's header, endpoints, or that it is an ICMP error. */
enum lab_nat_drop nat_packet_read(uint8_t *data, size_t len, enum lab_nat_dir dir, uint64_t now_ns,
                                  struct nat_packet *out);
/* Puts new endpoints into the packet (NULL = leave); checksums follow by RFC 1624. For ICMP echo, the identifier is
 * the port of the side that is inside. */
void nat_rewrite(struct nat_packet *p, const struct nat_ep *src, const struct nat_ep *dst);
/* The same for a TCP, UDP or ICMP echo packet that an ICMP error quotes: `len` bytes of it are there. */
void nat_rewrite_quoted(uint8_t *ip, size_t len, const struct nat_ep *src, const struct nat_ep *dst);
/* rewrite-payload: replaces address `from` by `to` in the payload. */
void nat_rewrite_payload(struct nat_packet *p, struct lab_addr from, struct lab_addr to);

/* ---- nat_tcp.c ------------------------------------------------------------------------------- */

enum nat_tcp_verdict {
    NAT_TCP_PASS,    /* belongs to the connection */
    NAT_TCP_IGNORE,  /* passes, and says nothing about it */
    NAT_TCP_INVALID, /* dropped */
    NAT_TCP_DOUBT,   /* passes, and ends the session soon unless something else does */
    NAT_TCP_KILL,    /* passes, and ends the session at once */
    NAT_TCP_REOPEN,  /* a SYN on a finished connection: a new one */
};

/* May this segment begin a session? */
bool nat_tcp_may_begin(const struct lab_nat *nat, const struct nat_packet *p);
/* The first segment of a session. */
void nat_tcp_begin(const struct lab_nat *nat, struct nat_session *s, const struct nat_packet *p);
/* Follows a segment; *changed = the state moved, so that the timer does. */
enum nat_tcp_verdict nat_tcp_track(const struct lab_nat *nat, struct nat_session *s, const struct nat_packet *p,
                                   bool *changed);
/* Same connection's first SYN again (a retransmission), as against a new connection from the same endpoints. */
bool nat_tcp_is_retransmission(const struct nat_session *s, const struct nat_packet *p);

/* ---- nat_alloc.c, nat_cross.c ---------------------------------------------------------------- */

/* Chooses an external address and port for a new mapping of `host`. False: nothing is free. */
bool nat_alloc(struct lab_nat *nat, struct nat_host *host, uint8_t proto, uint16_t in_port, uint64_t now_ns,
               uint8_t *external, uint16_t *port);
/* A uniformly chosen free port of [lo, hi] in `ports`; false when there is none. */
bool nat_alloc_random(struct lab_nat *nat, const struct nat_ports *ports, uint32_t lo, uint32_t hi, uint16_t *port);
/* The next port of the sequence of an external address; moves it. parity: -1 = any, or the lowest bit. */
bool nat_alloc_next(struct lab_nat *nat, uint32_t external, const struct nat_ports *ports, int parity, uint16_t *port);
/* Random places for the sequences; blocks that no host has are free. */
void nat_alloc_reset(struct lab_nat *nat);

/* How many arrivals the profile's cross traffic has in `seconds`. */
uint64_t nat_cross_count(struct base_rng *rng, const struct lab_profile *p, double seconds);
/* Lets foreigners allocate (and give back) up to now. */
void nat_cross_run(struct lab_nat *nat, uint64_t now_ns);
void nat_cross_reset(struct lab_nat *nat, uint64_t now_ns);

/* ---- nat_session.c --------------------------------------------------------------------------- */

uint32_t nat_mapping_of_inside(const struct lab_nat *nat, uint8_t proto, const struct nat_ep *in,
                               const struct nat_ep *remote);
uint32_t nat_mapping_of_outside(const struct lab_nat *nat, uint8_t proto, const struct nat_ep *external);
uint32_t nat_session_find(const struct lab_nat *nat, uint32_t mapping, const struct nat_ep *remote);
/* A session of `*mapping`, which is made for `in` too when it is NAT_NIL. On failure nothing is left behind. */
enum lab_nat_drop nat_session_open(struct lab_nat *nat, uint32_t *mapping, const struct nat_ep *in,
                                   const struct nat_ep *remote, const struct nat_packet *p, bool from_inside,
                                   uint32_t *session);
/* What a packet does to its session's timer: nothing, what `refresh` says, restart it in any case, or shorten it. */
enum nat_touch { NAT_SEEN, NAT_REFRESH, NAT_MOVED, NAT_DOUBTED };
/* A packet of the session passed: what the inside sent opens the filter, and the timer restarts if it may. */
void nat_session_touch(struct lab_nat *nat, uint32_t session, bool outbound, enum nat_touch touch, uint64_t now_ns);
/* Ends a session, and its mapping with the last one. */
void nat_session_close(struct lab_nat *nat, uint32_t session);
/* Ends what is over at now. */
void nat_session_expire(struct lab_nat *nat, uint64_t now_ns);
bool nat_permit_has(const struct lab_nat *nat, uint32_t mapping, struct lab_addr addr);

/* ---- nat.c ----------------------------------------------------------------------------------- */

/* Restarts and ends what is due at now. */
void nat_run_to(struct lab_nat *nat, uint64_t now_ns);

/* ---- nat_filter.c ---------------------------------------------------------------------------- */

bool nat_filter_passes(const struct lab_nat *nat, uint32_t mapping, uint32_t session, const struct nat_ep *remote);
bool nat_filter_blacklisted(struct lab_nat *nat, struct lab_addr addr, uint64_t now_ns);
/* What nobody asked for: counts it, holds it, answers it. */
enum lab_nat_verdict nat_filter_unsolicited(struct lab_nat *nat, const struct nat_packet *p, enum lab_nat_drop why,
                                            struct lab_nat_out *out);
/* The inside has sent its own SYN: the held one is forgotten. */
void nat_filter_unhold(struct lab_nat *nat, const struct nat_ep *external, const struct nat_ep *remote);
void nat_filter_reset(struct lab_nat *nat);

/* ---- nat_icmp.c ------------------------------------------------------------------------------ */

/* An ICMP error: translated with what it quotes, or the reason why not. */
enum lab_nat_drop nat_icmp_error(struct lab_nat *nat, struct nat_packet *p);
/* A RST in answer to a segment without RST (RFC 9293 section 3.10.7.1). Returns its length. */
size_t nat_icmp_rst(const struct nat_packet *p, uint8_t out[LAB_ICMP_MAX]);

#endif
