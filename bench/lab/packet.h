/*
 * What a router on the internet does to a packet: look at its addresses, count down its hops, answer when it
 * dies. Pure: memory in, memory out.
 */
#ifndef BENCH_LAB_PACKET_H
#define BENCH_LAB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/base/base.h"

/* An address of either family, comparable in two words: 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2). */
struct lab_addr {
    uint64_t hi, lo;
};

struct lab_packet {
    struct lab_addr src, dst;
    uint8_t version; /* 4 or 6 */
    uint8_t proto;   /* of the first header after IP */
    size_t header_len;
    size_t len; /* as the IP header says; never more than what was read */
};

struct lab_addr lab_addr_of(const union base_ep *ep);

static inline bool lab_addr_equal(struct lab_addr a, struct lab_addr b)
{
    return a.hi == b.hi && a.lo == b.lo;
}

/* Reads the IP header. False when it is not a whole IPv4 or IPv6 packet. */
bool lab_packet_parse(const uint8_t *data, size_t len, struct lab_packet *out);

/* The ports of a TCP segment, host order. False for another protocol, and for a fragment that has none. */
bool lab_packet_tcp_ports(const uint8_t *data, const struct lab_packet *packet, uint16_t *src, uint16_t *dst);

/* One hop: counts the TTL or hop limit down and mends the IPv4 header checksum (RFC 1624). False when the packet
 * may not go further (its TTL was 1 or 0); it is then unchanged. */
bool lab_packet_hop(uint8_t *data, uint8_t version);

/* The most that lab_packet_time_exceeded writes: RFC 4443 2.4 (c) for IPv6; IPv4 stays within 576 (RFC 1812 4.3.2.3).
 */
#define LAB_ICMP_MAX 1280

/* Builds the ICMP (or ICMPv6) time-exceeded answer to `data`, from `router` (of the same family). Returns its
 * length, or 0 where none may be sent: to ICMP errors, later fragments, multicast or unspecified sources
 * (RFC 1812 4.3.2.7, RFC 4443 2.4 (e)). */
size_t lab_packet_time_exceeded(const uint8_t *data, const struct lab_packet *packet, const union base_ep *router,
                                uint8_t out[LAB_ICMP_MAX]);

/* The same for ICMP port unreachable (type 3, code 3; RFC 792, RFC 5382 REQ-4). IPv4 only: 0 for IPv6. */
size_t lab_packet_unreachable(const uint8_t *data, const struct lab_packet *packet, const union base_ep *router,
                              uint8_t out[LAB_ICMP_MAX]);

/* The Internet checksum (RFC 1071) of len bytes, added to the partial sum `sum`; host order, not inverted. */
uint32_t lab_sum(const uint8_t *data, size_t len, uint32_t sum);
/* Folds a partial sum and inverts it: what goes into a checksum field, big-endian. */
uint16_t lab_sum_finish(uint32_t sum);
/* Recomputes everything: the IPv4 header checksum and that of TCP, UDP (0 over IPv4 = none), ICMP or ICMPv6. */
bool lab_packet_checksums_ok(const uint8_t *data, const struct lab_packet *packet);

#endif
