/*
 * rtnetlink and ctnetlink through libmnl. A socket belongs to the namespace in which it was opened, wherever this
 * process is later.
 */
#ifndef BENCH_LAB_NETLINK_H
#define BENCH_LAB_NETLINK_H

#include <stddef.h>
#include <stdint.h>

#include "bench/base/base.h"

struct mnl_socket;

struct lab_nl {
    struct mnl_socket *sock;
    uint32_t seq;
};

/* rtnetlink (or ctnetlink) of the current namespace. 0, or -errno. */
int lab_nl_open(struct lab_nl *nl);
int lab_ct_open(struct lab_nl *nl);
void lab_nl_close(struct lab_nl *nl);

/* All return 0 or -errno. Devices are named; they must be in the socket's namespace. */

/* Sets a device up; txqlen 0 leaves its queue as it is. */
int lab_nl_link_up(struct lab_nl *nl, const char *dev, unsigned txqlen);
/* Waits until a device that is up can send and receive (RFC 2863: operational): a veth's second side wakes the first
 * one in the background, and until then what is sent to it is dropped. -ETIMEDOUT after 2 s. */
int lab_nl_wait_ready(struct lab_nl *nl, const char *dev);
/* Waits until an address of a device that is up is taken for our own: IPv6 addresses become so in the background, and
 * until then what comes to them is dropped. -ETIMEDOUT after 2 s. */
int lab_nl_wait_addr(struct lab_nl *nl, const union base_ep *addr);
/* A pair of Ethernet devices: `dev` here, `peer` in the namespace peer_ns; their MAC addresses are given, so that
 * both sides can know each other without ARP. */
int lab_nl_veth(struct lab_nl *nl, const char *dev, const uint8_t mac[6], const char *peer, int peer_ns,
                const uint8_t peer_mac[6]);
int lab_nl_addr(struct lab_nl *nl, const char *dev, const union base_ep *addr, unsigned prefix_len);
/* The default route of the address's family, through dev; gateway NULL = the device leads there itself. `source`:
 * the address that sockets without one get. */
int lab_nl_default_route(struct lab_nl *nl, const char *dev, const union base_ep *gateway, const union base_ep *source);
/* A neighbour that never ages: no ARP and no neighbour discovery between a host and its router. */
int lab_nl_neighbour(struct lab_nl *nl, const char *dev, const union base_ep *addr, const uint8_t mac[6]);

/* Deletes all conntrack entries whose mark is not `keep_mark` in the bits of keep_mark (0 = all entries). */
int lab_ct_flush(struct lab_nl *ct, uint32_t keep_mark);

/* What conntrack counted in its namespace since that was made, over all processors ("conntrack -S"). */
struct lab_ct_stats {
    uint64_t invalid;       /* packets that no state allows: not translated */
    uint64_t insert_failed; /* a new entry lost against another one with the same tuple: the packet is dropped */
    uint64_t drop;          /* no memory for an entry, or the table is full */
    uint64_t early_drop;    /* entries that had to make room in a full table */
    uint64_t error;
};
int lab_ct_stats(struct lab_nl *ct, struct lab_ct_stats *out);

/* Named counters of an nftables table of family inet: their packets. Those that are not there stay 0. */
struct lab_nft_counter {
    const char *name;
    uint64_t packets;
};
int lab_nft_counters(struct lab_nl *nf, const char *table, struct lab_nft_counter *counters, size_t n);

#endif
