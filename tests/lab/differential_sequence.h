/*
 * Random packet sequences for the differential test: flows between two hosts inside and two outside, whose TCP ends
 * mostly do what a TCP would do next, and otherwise what is just off or nonsense. One seed is one sequence; the packets
 * of a step are built for each NAT, since the outside sends to the external port that it saw of that one.
 */
#ifndef TESTS_LAB_DIFFERENTIAL_SEQUENCE_H
#define TESTS_LAB_DIFFERENTIAL_SEQUENCE_H

#include "tests/unit/nat_packets.h"

#define ROUTER_EXT "198.51.100.1"
#define MIDDLE     "192.0.2.7" /* a router on the way, which sends ICMP errors */

enum { PSH = 8, URG = 32 };
enum { TCP = 6, UDP = 17, ICMP = 1 };

/* The two NATs, wherever there are two of something. */
enum { REAL, TWIN, N_NATS };

static const char *const insides[] = {"10.1.0.2", "10.1.0.3"};
static const char *const remotes[] = {"203.0.113.10", "203.0.113.11"};

/* ---- packets to send ------------------------------------------------------------------------- */

/* One end of a TCP connection, as the sequence means it; the NATs may have their own opinion. */
struct end {
    uint32_t isn, next;
    bool open;
};

struct flow {
    uint8_t proto;
    unsigned inside, remote;
    uint16_t in_port, far_port;
    struct end ends[2]; /* inside, outside */
    bool known[N_NATS];
    uint16_t ext[N_NATS]; /* the external port, as last seen outside */
};

enum kind { K_DATAGRAM, K_TCP, K_ECHO, K_ERROR };

/* A packet, before it is known which external port it is to go to. */
struct step {
    enum kind kind;
    enum lab_nat_dir dir;
    struct flow *flow;
    unsigned flags, win, scale, sack; /* scale: 0 = no SYN options; sack: the option's block ends that far on */
    uint32_t seq, ack;
    size_t len;
    unsigned type, code, quote; /* ICMP; bytes of the quoted packet */
    bool middle;                /* an error that comes from a router on the way */
};

#define N_FLOWS 8u

struct run {
    struct base_rng rng;
    struct flow flows[N_FLOWS];
    bool deep; /* mostly one flow */
    uint64_t seed;
};

static const char *at(char buf[32], const char *addr, unsigned port)
{
    snprintf(buf, 32, "%s:%u", addr, port);
    return buf;
}

/* Is this port of the router's some flow's towards the same remote endpoint? */
static bool is_taken(const struct run *r, const struct flow *f, unsigned nat, uint16_t port)
{
    for (unsigned i = 0; i < N_FLOWS; i++) {
        const struct flow *g = &r->flows[i];
        if (g->proto == f->proto && g->remote == f->remote && g->far_port == f->far_port && g->known[nat] &&
            g->ext[nat] == port)
            return true;
    }
    return false;
}

/* Where the outside sends to: what it saw last, else the port that is likeliest, else one that is nobody's. */
static uint16_t ext_of(const struct run *r, const struct flow *f, unsigned nat)
{
    if (f->known[nat])
        return f->ext[nat];
    if (!is_taken(r, f, REAL, f->in_port) && !is_taken(r, f, TWIN, f->in_port))
        return f->in_port;
    return (uint16_t)(700 + f->in_port % 100);
}

/* The endpoints of a packet of the flow: as seen inside, or as seen outside of that NAT. */
static void ends_of(const struct run *r, const struct flow *f, unsigned nat, enum lab_nat_dir dir, bool seen_outside,
                    char src[32], char dst[32])
{
    char near[32], far[32];
    at(far, remotes[f->remote], f->far_port);
    if (seen_outside)
        at(near, ROUTER_EXT, ext_of(r, f, nat));
    else
        at(near, insides[f->inside], f->in_port);
    memcpy(src, dir == OUT ? near : far, 32);
    memcpy(dst, dir == OUT ? far : near, 32);
}

static struct pkt segment(const char *src, const char *dst, const struct step *s)
{
    size_t options = s->scale ? 8 : s->sack ? 12 : 0;
    struct pkt p = ip_packet(TCP, src, dst, 20 + options + s->len);
    w32(p.b + 24, s->seq);
    w32(p.b + 28, s->ack);
    p.b[32] = (uint8_t)((20 + options) / 4 << 4);
    p.b[33] = (uint8_t)s->flags;
    w16(p.b + 34, s->win);
    if (s->scale) {
        static const uint8_t template[8] = {4, 2, 1, 1, 1, 3, 3, 0};
        memcpy(p.b + 40, template, 8);
        p.b[47] = (uint8_t)(s->scale - 1);
    } else if (s->sack) {
        static const uint8_t template[4] = {1, 1, 5, 10};
        memcpy(p.b + 40, template, 4);
        w32(p.b + 44, s->ack + s->sack - 1);
        w32(p.b + 48, s->ack + s->sack);
    }
    memset(p.b + 40 + options, 'x', s->len);
    seal(&p);
    return p;
}

static struct pkt echo_of(const char *src, const char *dst, unsigned type, unsigned id)
{
    char a[32], b[32];
    snprintf(a, sizeof(a), "%.*s", (int)strcspn(src, ":"), src);
    snprintf(b, sizeof(b), "%.*s", (int)strcspn(dst, ":"), dst);
    return echo((uint8_t)type, a, b, id);
}

static struct pkt build(const struct run *r, const struct step *s, unsigned nat)
{
    char src[32], dst[32];
    const struct flow *f = s->flow;
    bool inbound = s->dir == IN;
    if (s->kind == K_ERROR) {
        /* About a packet that went the other way, as this side saw it. */
        struct pkt about;
        struct step quoted = {.flags = ACK, .seq = f->ends[inbound ? 0 : 1].next, .win = 1000};
        ends_of(r, f, nat, inbound ? OUT : IN, inbound, src, dst);
        if (f->proto == TCP)
            about = segment(src, dst, &quoted);
        else if (f->proto == UDP)
            about = udp(src, dst);
        else
            about = echo_of(src, dst, inbound ? 8 : 0, inbound ? ext_of(r, f, nat) : f->in_port);
        const char *from = !inbound ? insides[f->inside] : s->middle ? MIDDLE : remotes[f->remote];
        src[strcspn(src, ":")] = dst[strcspn(dst, ":")] = '\0';
        size_t len = s->quote < about.len ? s->quote : about.len;
        return icmp_error((uint8_t)s->type, (uint8_t)s->code, from, src, &about, len);
    }
    ends_of(r, f, nat, s->dir, inbound, src, dst);
    if (s->kind == K_ECHO)
        return echo_of(src, dst, s->type, inbound ? ext_of(r, f, nat) : f->in_port);
    return s->kind == K_DATAGRAM ? udp(src, dst) : segment(src, dst, s);
}

static void print_step(const struct step *s, unsigned n)
{
    const struct flow *f = s->flow;
    static const char *const kinds[] = {"datagram", "tcp", "echo", "icmp error about"};
    print_message("  %2u %s %s %s:%u %s %s:%u", n, s->dir == OUT ? "out" : "in ", kinds[s->kind], insides[f->inside],
                  f->in_port, s->dir == OUT ? "->" : "<-", remotes[f->remote], f->far_port);
    if (s->kind == K_TCP)
        print_message(" %s%s%s%s%s%s seq %u ack %u len %zu win %u scale %u sack %u (ends at %u/%u)",
                      s->flags & SYN ? "S" : "", s->flags & FIN ? "F" : "", s->flags & RST ? "R" : "",
                      s->flags & PSH ? "P" : "", s->flags & URG ? "U" : "", s->flags & ACK ? "A" : "", s->seq, s->ack,
                      s->len, s->win, s->scale, s->sack, f->ends[0].next, f->ends[1].next);
    if (s->kind == K_ECHO || s->kind == K_ERROR)
        print_message(" proto %u type %u code %u quote %u", f->proto, s->type, s->code, s->quote);
}

/* ---- random sequences ------------------------------------------------------------------------ */

static unsigned pick(struct run *r, unsigned n)
{
    return (unsigned)(base_rng_u64(&r->rng) % n);
}

#define PICK(r, array) (array)[pick(r, (unsigned)BASE_ARRAY_LEN(array))]

/* Off the right number: at the edges of windows, and anywhere. */
static uint32_t off(struct run *r)
{
    static const int32_t edges[] = {0,      0,      0,      0,      0,      0,       0,       1,
                                    -1,     2,      -2,     100,    -100,   1000,    -1000,   64239,
                                    64240,  64241,  -64240, -64241, 65536,  65999,   66000,   66001,
                                    -65999, -66000, -66001, -66002, 128480, -128480, 1 << 20, 1 << 30};
    return pick(r, 16) ? (uint32_t)PICK(r, edges) : (uint32_t)base_rng_u64(&r->rng);
}

/* What a TCP would send next, or nearly. */
static void tcp_proper(struct run *r, struct step *s)
{
    struct end *me = &s->flow->ends[s->dir == IN], *other = &s->flow->ends[s->dir == OUT];
    if (!me->open && !other->open && pick(r, 4)) {
        s->dir = OUT;
        me = &s->flow->ends[0], other = &s->flow->ends[1];
    }
    s->win = 64240;
    if (!me->open) {
        me->isn = (uint32_t)base_rng_u64(&r->rng);
        s->seq = me->isn;
        s->flags = other->open && pick(r, 4) ? SYN | ACK : SYN;
        s->scale = pick(r, 2) ? 1 + pick(r, 8) : 0;
    } else if (!other->open || pick(r, 8) == 0) {
        s->seq = me->isn; /* again, or the SYN-ACK of a simultaneous open */
        s->flags = other->open ? SYN | ACK : SYN;
    } else {
        static const unsigned kinds[] = {ACK, ACK, ACK, ACK | PSH, ACK | PSH, ACK | PSH, FIN | ACK, RST, RST | ACK};
        s->seq = me->next;
        s->flags = PICK(r, kinds);
        s->len = s->flags & PSH ? 1 + pick(r, 1000) : 0;
    }
    s->ack = s->flags & ACK ? other->next : 0;
}

static void tcp_wild(struct run *r, struct step *s)
{
    static const unsigned kinds[] = {SYN,       SYN,       SYN | ACK, SYN | ACK, SYN | ACK, ACK,       ACK,
                                     ACK | PSH, ACK | PSH, FIN | ACK, RST,       RST,       RST | ACK, FIN,
                                     SYN | FIN, 0,         SYN | RST, PSH,       ACK | URG, SYN | URG, FIN | URG | PSH};
    static const unsigned wins[] = {64240, 64240, 64240, 65535, 1000, 100, 1, 0};
    struct end *me = &s->flow->ends[s->dir == IN], *other = &s->flow->ends[s->dir == OUT];
    s->flags = PICK(r, kinds);
    s->win = PICK(r, wins);
    s->seq = (s->flags & SYN ? me->isn : me->next) + off(r);
    s->ack = s->flags & ACK || pick(r, 8) == 0 ? other->next + off(r) : 0;
    if (s->flags & RST && pick(r, 4) == 0)
        s->seq = 0;
    s->len = s->flags & PSH ? 1 + pick(r, 1400) : 0;
    if (s->flags & SYN)
        s->scale = pick(r, 2) ? 1 + pick(r, 8) : 0;
    else if (pick(r, 8) == 0)
        s->sack = 1 + pick(r, 3000);
}

static void tcp_step(struct run *r, struct step *s)
{
    s->kind = K_TCP;
    bool proper = pick(r, 100) < 60;
    if (proper)
        tcp_proper(r, s);
    else
        tcp_wild(r, s);
    struct end *me = &s->flow->ends[s->dir == IN];
    if (s->flags & SYN && (proper || pick(r, 3) == 0)) {
        me->isn = s->seq;
        me->next = s->seq + 1;
        me->open = true;
    } else if (proper) {
        me->next = s->seq + (uint32_t)s->len + !!(s->flags & FIN);
    }
    if (s->flags & RST && pick(r, 3))
        s->flow->ends[0].open = s->flow->ends[1].open = false;
}

static void error_step(struct run *r, struct step *s)
{
    static const unsigned kinds[][2] = {{3, 0}, {3, 1}, {3, 3}, {3, 4}, {11, 0}, {11, 1}, {12, 0}, {4, 0}, {5, 1}};
    static const unsigned quotes[] = {28, 28, 40, 1500, 27, 20};
    unsigned k = pick(r, (unsigned)BASE_ARRAY_LEN(kinds));
    s->kind = K_ERROR;
    s->type = kinds[k][0];
    s->code = kinds[k][1];
    s->quote = PICK(r, quotes);
    s->middle = pick(r, 2);
}

static struct step next_step(struct run *r)
{
    struct step s = {.dir = pick(r, 2) ? OUT : IN, .flow = &r->flows[pick(r, N_FLOWS)]};
    if (r->deep && pick(r, 4))
        s.flow = &r->flows[0];
    if (pick(r, 10) == 0) {
        error_step(r, &s);
    } else if (s.flow->proto == TCP) {
        tcp_step(r, &s);
    } else if (s.flow->proto == UDP) {
        s.kind = K_DATAGRAM;
    } else {
        s.kind = K_ECHO;
        s.type = (s.dir == OUT) == (pick(r, 6) != 0) ? 8 : 0;
    }
    return s;
}

/* Few endpoints, so that flows meet; half of the sequences are mostly one TCP connection, which gets far. */
static void run_begin(struct run *r, uint64_t seed)
{
    static const uint8_t protos[N_FLOWS] = {TCP, TCP, TCP, TCP, UDP, UDP, UDP, ICMP};
    *r = (struct run){.seed = seed};
    base_rng_seed(&r->rng, seed);
    r->deep = seed % 2;
    for (unsigned i = 0; i < N_FLOWS; i++) {
        struct flow *f = &r->flows[i];
        bool unique;
        do {
            *f = (struct flow){.proto = r->deep && i < 7 ? TCP : protos[i]};
            f->inside = pick(r, 2);
            f->remote = pick(r, 2);
            f->in_port = (uint16_t)(5000 + pick(r, r->deep ? 8 : 2));
            f->far_port = f->proto == ICMP ? 0 : (uint16_t)(6000 + pick(r, 2));
            unique = true;
            for (unsigned j = 0; j < i; j++) {
                const struct flow *g = &r->flows[j];
                unique &= g->proto != f->proto || g->inside != f->inside || g->remote != f->remote ||
                          g->in_port != f->in_port || g->far_port != f->far_port;
            }
        } while (!unique);
    }
}

#endif
