/*
 * Packets and a NAT for the tests of the emulator: endpoints are texts ("10.0.0.2:5000"), a packet is built with right
 * checksums and says afterwards, as text, where it comes from and goes to.
 */
#ifndef TESTS_UNIT_NAT_PACKETS_H
#define TESTS_UNIT_NAT_PACKETS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/lab/nat.h"

#define OUT LAB_NAT_OUT
#define IN  LAB_NAT_IN
#define S   BASE_NS_PER_S
#define MS  BASE_NS_PER_MS

#define FIN 1u
#define SYN 2u
#define RST 4u
#define ACK 16u

/* The usual cast: two hosts inside, the NAT's first address, two servers of two ports. */
#define A   "10.0.0.2:5000"
#define A2  "10.0.0.2:5001"
#define B   "10.0.0.3:5000"
#define EXT "203.0.113.1"
#define S1  "198.51.100.1:80"
#define S1B "198.51.100.1:81"
#define S2  "198.51.100.2:80"

struct pkt {
    uint8_t b[1600];
    size_t len;
};

struct world {
    struct lab_nat *nat;
    struct lab_nat_out out;
    uint64_t now;
};

static inline void w16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void w32(uint8_t *p, uint32_t v)
{
    w16(p, v >> 16);
    w16(p + 2, v & 0xffff);
}

static inline unsigned r16(const uint8_t *p)
{
    return (unsigned)(p[0] << 8 | p[1]);
}

static inline union base_ep ep_of(const char *text)
{
    union base_ep ep;
    if (base_ep_parse(text, &ep) < 0 && base_ep_parse_addr(text, &ep) < 0)
        fail_msg("bad endpoint %s", text);
    return ep;
}

/* Right sums for what is in the packet now. */
static inline void seal(struct pkt *p)
{
    uint8_t proto = p->b[9];
    size_t len = p->len - 20, at = proto == 6 ? 16 : proto == 17 ? 6 : 2;
    w16(p->b + 10, 0);
    w16(p->b + 10, lab_sum_finish(lab_sum(p->b, 20, 0)));
    w16(p->b + 20 + at, 0);
    uint32_t sum = proto == 1 ? 0 : lab_sum(p->b + 12, 8, (uint32_t)(proto + len));
    uint16_t check = lab_sum_finish(lab_sum(p->b + 20, len, sum));
    w16(p->b + 20 + at, proto == 17 && !check ? 0xffff : check);
}

static inline struct pkt ip_packet(uint8_t proto, const char *src, const char *dst, size_t body)
{
    struct pkt p = {.len = 20 + body};
    union base_ep s = ep_of(src), d = ep_of(dst);
    size_t n;
    p.b[0] = 0x45;
    w16(p.b + 2, (unsigned)p.len);
    p.b[8] = 64;
    p.b[9] = proto;
    memcpy(p.b + 12, base_ep_bytes(&s, &n), 4);
    memcpy(p.b + 16, base_ep_bytes(&d, &n), 4);
    w16(p.b + 20, base_ep_port(&s));
    w16(p.b + 22, base_ep_port(&d));
    return p;
}

static inline struct pkt udp(const char *src, const char *dst)
{
    struct pkt p = ip_packet(17, src, dst, 12);
    w16(p.b + 24, 12);
    memcpy(p.b + 28, "data", 4);
    seal(&p);
    return p;
}

static inline struct pkt tcp_data(const char *src, const char *dst, unsigned flags, uint32_t seq, uint32_t ack,
                                  size_t len)
{
    struct pkt p = ip_packet(6, src, dst, 20 + len);
    w32(p.b + 24, seq);
    w32(p.b + 28, ack);
    p.b[32] = 5 << 4;
    p.b[33] = (uint8_t)flags;
    w16(p.b + 34, 64240);
    memset(p.b + 40, 'x', len);
    seal(&p);
    return p;
}

static inline struct pkt tcp(const char *src, const char *dst, unsigned flags, uint32_t seq, uint32_t ack)
{
    return tcp_data(src, dst, flags, seq, ack, 0);
}

static inline struct pkt echo(uint8_t type, const char *src, const char *dst, unsigned id)
{
    struct pkt p = ip_packet(1, src, dst, 12);
    memset(p.b + 20, 0, 12);
    p.b[20] = type;
    w16(p.b + 24, id);
    seal(&p);
    return p;
}

/* An ICMP error from `src` that quotes `len` bytes of `about`. */
static inline struct pkt icmp_error(uint8_t type, uint8_t code, const char *src, const char *dst,
                                    const struct pkt *about, size_t len)
{
    struct pkt p = ip_packet(1, src, dst, 8 + len);
    memset(p.b + 20, 0, 8);
    p.b[20] = type;
    p.b[21] = code;
    memcpy(p.b + 28, about->b, len);
    seal(&p);
    return p;
}

static inline const char *ep_text(const uint8_t *addr, unsigned port, char buf[32])
{
    snprintf(buf, 32, "%u.%u.%u.%u:%u", addr[0], addr[1], addr[2], addr[3], port);
    return buf;
}

/* Four at a time, so that a call may compare two. */
static inline char *text_slot(void)
{
    static char slots[4][32];
    static unsigned next;
    return slots[next++ % 4];
}

static inline const char *src_of(const struct pkt *p)
{
    return ep_text(p->b + 12, r16(p->b + 20), text_slot());
}

static inline const char *dst_of(const struct pkt *p)
{
    return ep_text(p->b + 16, r16(p->b + 22), text_slot());
}

static inline unsigned src_port(const struct pkt *p)
{
    return r16(p->b + 20);
}

static inline bool sums_ok(const uint8_t *data, size_t len)
{
    struct lab_packet ip;
    return lab_packet_parse(data, len, &ip) && lab_packet_checksums_ok(data, &ip);
}

static inline struct world world_pool(const struct lab_profile *profile, size_t n, uint64_t seed)
{
    struct world w = {.now = 100 * S};
    union base_ep external[16], gateway = ep_of("10.0.0.1");
    for (size_t i = 0; i < n; i++) {
        char text[32];
        snprintf(text, sizeof(text), "203.0.113.%zu", i + 1);
        external[i] = ep_of(text);
    }
    assert_int_equal(lab_nat_create(&w.nat, profile, external, n, &gateway, seed, w.now), 0);
    return w;
}

static inline struct world world_of(struct lab_profile profile)
{
    return world_pool(&profile, 1, 1);
}

static inline void world_end(struct world *w)
{
    lab_nat_destroy(w->nat);
}

/* Sends, and holds every packet that goes on to right checksums. */
static inline enum lab_nat_verdict give(struct world *w, enum lab_nat_dir dir, struct pkt *p)
{
    enum lab_nat_verdict v = lab_nat_packet(w->nat, dir, p->b, p->len, w->now, &w->out);
    if ((v == LAB_NAT_FORWARD || v == LAB_NAT_HAIRPIN) && !(r16(p->b + 6) & 0x3fff))
        assert_true(sums_ok(p->b, p->len));
    if (v == LAB_NAT_REPLY)
        assert_true(sums_ok(w->out.reply, w->out.reply_len));
    return v;
}

#define passes(w, dir, p) assert_int_equal(give(w, dir, p), LAB_NAT_FORWARD)
#define dropped(w, dir, p, why)                                                                                        \
    do {                                                                                                               \
        assert_int_equal(give(w, dir, p), LAB_NAT_DROP);                                                               \
        assert_string_equal(lab_nat_drop_name((w)->out.reason), why);                                                  \
    } while (0)

/* An outbound datagram; the external endpoint it leaves from. */
static inline const char *udp_out(struct world *w, const char *src, const char *dst)
{
    struct pkt p = udp(src, dst);
    passes(w, OUT, &p);
    assert_string_equal(dst_of(&p), dst);
    return src_of(&p);
}

/* Does a datagram from src to the external endpoint come in? */
static inline bool udp_in(struct world *w, const char *src, const char *external)
{
    struct pkt p = udp(src, external);
    enum lab_nat_verdict v = give(w, IN, &p);
    if (v == LAB_NAT_FORWARD)
        assert_string_equal(src_of(&p), src);
    return v == LAB_NAT_FORWARD;
}

static inline struct lab_nat_counters counters(const struct world *w)
{
    struct lab_nat_counters c;
    lab_nat_counters(w->nat, &c);
    return c;
}

#endif
