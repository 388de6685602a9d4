/*
 * The emulated NAT: one box between an inside and an outside. Pure: packets, time and a seed in; verdicts, rewritten
 * packets and answers out. No I/O, no clock.
 *
 *     lab_nat_create(&nat, &profile, external, n_external, &gateway, seed, now);
 *     switch (lab_nat_packet(nat, LAB_NAT_OUT, data, len, now, &out)) {
 *     case LAB_NAT_FORWARD: ... data goes on to the other side
 *     case LAB_NAT_HAIRPIN: ... data goes back inside
 *     case LAB_NAT_REPLY:   ... data is gone; out.reply goes back to where it came from
 *     case LAB_NAT_DROP:    ... out.reason says why
 *     }
 *     while (lab_nat_next(nat) <= now && lab_nat_timer(nat, now, &out)) ... out.reply goes outside
 *
 * Words: a mapping ties an internal endpoint to an external one (RFC 4787 section 2.1); a session is a mapping and one
 * remote endpoint, it has the timer and the TCP state; a mapping lives as long as it has a session.
 *
 * What is translated: IPv4; TCP, UDP, ICMP echo by identifier, and ICMP errors with the packet they quote (RFC 5508).
 * IPv6 and other protocols are dropped. Of a fragmented packet the first fragment is translated, the others are dropped
 * (they carry no ports; RFC 4787 REQ-14 would have them held). TCP and UDP checksums are mended, not verified: a wrong
 * one stays wrong, and its receiver drops it.
 */
#ifndef BENCH_LAB_NAT_H
#define BENCH_LAB_NAT_H

#include "bench/lab/lab.h"
#include "bench/lab/packet.h"

struct lab_nat;

enum lab_nat_dir { LAB_NAT_OUT, LAB_NAT_IN }; /* inside to outside, outside to inside */

enum lab_nat_verdict { LAB_NAT_FORWARD, LAB_NAT_DROP, LAB_NAT_REPLY, LAB_NAT_HAIRPIN };

/* Why a packet went no further. */
enum lab_nat_drop {
    LAB_NAT_DROP_NONE,
    LAB_NAT_DROP_MALFORMED,   /* truncated, or a wrong IPv4 header or ICMP checksum */
    LAB_NAT_DROP_NOT_IPV4,    /* another IP version */
    LAB_NAT_DROP_PROTOCOL,    /* not TCP, UDP, ICMP echo or an ICMP error */
    LAB_NAT_DROP_FRAGMENT,    /* a fragment but the first */
    LAB_NAT_DROP_TTL,         /* its hops were used up */
    LAB_NAT_DROP_NOT_OURS,    /* from outside, and not to an external address */
    LAB_NAT_DROP_UNSOLICITED, /* no mapping has that external endpoint */
    LAB_NAT_DROP_FILTERED,    /* a mapping has it, but this remote may not use it */
    LAB_NAT_DROP_INVALID,     /* TCP state or window check; conntrack's INVALID */
    LAB_NAT_DROP_RELATED,     /* an ICMP error about no session */
    LAB_NAT_DROP_BLACKLISTED,
    LAB_NAT_DROP_HELD, /* an unsolicited SYN, answered later or never */
    LAB_NAT_DROP_HAIRPIN,
    LAB_NAT_DROP_PORTS, /* no free port */
    LAB_NAT_DROP_TABLE,
    LAB_NAT_DROP_HOST_LIMIT,
    LAB_NAT_DROP_RATE,
    LAB_NAT_DROP_MEMORY,
    LAB_NAT_DROP_N
};

/* "unsolicited", "filtered", ...: for records. */
const char *lab_nat_drop_name(enum lab_nat_drop reason);

struct lab_nat_out {
    enum lab_nat_drop reason; /* with DROP and REPLY */
    size_t reply_len;         /* with REPLY and after lab_nat_timer; bytes */
    uint8_t reply[LAB_ICMP_MAX];
};

/* Since lab_nat_create; a reset does not touch them. */
struct lab_nat_counters {
    uint64_t mappings_made, sessions_made;
    uint64_t sessions_expired, sessions_evicted;
    uint64_t foreign; /* allocations by cross traffic */
    uint64_t out, in, hairpinned;
    uint64_t replies;                  /* RST and ICMP made here */
    uint64_t drops[LAB_NAT_DROP_N];    /* a packet that got a reply counts here too */
    uint64_t mappings, sessions, held; /* now */
    uint64_t bytes;                    /* of memory, now */
};

/* The emulator's defaults where a profile leaves a time or range at 0: RFC 4787 REQ-5, RFC 5382 REQ-5. */
#define LAB_NAT_UDP_NEW_S         120u
#define LAB_NAT_UDP_STREAM_S      300u
#define LAB_NAT_TCP_SYN_SENT_S    240u
#define LAB_NAT_TCP_ESTABLISHED_S 7440u
#define LAB_NAT_TCP_CLOSING_S     240u
#define LAB_NAT_ICMP_S            60u /* RFC 5508 REQ-2 */
#define LAB_NAT_PORT_LO           1024u
#define LAB_NAT_PORT_HI           65535u
#define LAB_NAT_BLOCK_SIZE        128u
#define LAB_NAT_MAX_BLOCKS        16u /* of one subscriber */
#define LAB_NAT_HOLD_S            6u  /* RFC 5382 REQ-4 */

/*
 * A NAT as `profile` says (its backend and `under` are not looked at, and `pool` not beyond n_external), with 1 to 16
 * IPv4 `external` addresses; `gateway` is its IPv4 address inside (it sends ICMP errors from there). Both are copied.
 * `seed` drives every choice. 0, -EINVAL or -ENOMEM.
 */
int lab_nat_create(struct lab_nat **out, const struct lab_profile *profile, const union base_ep *external,
                   size_t n_external, const union base_ep *gateway, uint64_t seed, uint64_t now_ns);
void lab_nat_destroy(struct lab_nat *nat);

/*
 * One packet that came from the side that `dir` says. FORWARD and HAIRPIN: it was rewritten in place, one hop was
 * taken, and it is as long as its IP header says. now_ns never goes back between calls.
 */
enum lab_nat_verdict lab_nat_packet(struct lab_nat *nat, enum lab_nat_dir dir, uint8_t *data, size_t len,
                                    uint64_t now_ns, struct lab_nat_out *out);

/* When lab_nat_timer has something to do; UINT64_MAX = nothing. Expiry needs no call: it is done before each packet. */
uint64_t lab_nat_next(const struct lab_nat *nat);
/* Does what is due, one answer a call: true with out->reply to be sent outside. Call until false. */
bool lab_nat_timer(struct lab_nat *nat, uint64_t now_ns, struct lab_nat_out *out);

/*
 * A fresh NAT: every session goes but those of TCP connections to `keep` (NULL, unset or port 0 keeps nothing), and
 * with them counters of sequences, held SYNs, blacklists and foreign allocations. A host with a kept session keeps its
 * external address and its block or band. `restart-after` counts from here again.
 */
void lab_nat_reset(struct lab_nat *nat, const union base_ep *keep, uint64_t now_ns);

/* Other external addresses, as many as before: before a reset that keeps nothing. */
void lab_nat_readdress(struct lab_nat *nat, const union base_ep *external, size_t n);

void lab_nat_counters(const struct lab_nat *nat, struct lab_nat_counters *out);

#endif
