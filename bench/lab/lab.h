/*
 * bench/lab: the internet in one process. Hosts are unnamed network namespaces; each one's way out is a TUN device
 * that this process reads and writes: it is the network between them. A host may sit behind a router: a second
 * namespace with nftables (backend = netfilter), a NAT in this process (backend = emulated; nat.h), or a program that
 * containers use (backend = program). Everything goes when the process does: nothing is ever named.
 *
 * The lab shares no code with prediction, wire formats or techniques, so that it cannot confirm their mistakes.
 */
#ifndef BENCH_LAB_H
#define BENCH_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "bench/base/base.h"
#include "bench/loop/loop.h"

/* ---- profiles -------------------------------------------------------------------------------- */

enum lab_backend { LAB_BACKEND_NONE, LAB_BACKEND_NETFILTER, LAB_BACKEND_EMULATED, LAB_BACKEND_PROGRAM };
/* What a program NAT runs (backend = program). */
enum lab_program { LAB_PROGRAM_UNSET, LAB_PROGRAM_SLIRP4NETNS, LAB_PROGRAM_PASTA };

/* RFC 4787 section 4.1, as seen from outside; "connection-dependent": a new port even for the same 5-tuple; none: a
 * firewall that translates nothing. */
enum lab_mapping { LAB_MAP_UNSET, LAB_MAP_EI, LAB_MAP_AD, LAB_MAP_APD, LAB_MAP_CONNECTION, LAB_MAP_NONE };
/* RFC 4787 section 5. */
enum lab_filtering { LAB_FILTER_UNSET, LAB_FILTER_EI, LAB_FILTER_AD, LAB_FILTER_APD, LAB_FILTER_LAST };
/* How an external port is chosen. Preserve: the internal one while it is free, else a random one. Sequential: the last
 * one plus `step`. Parity: the same, skipping to the internal port's parity (RFC 4787 section 4.2.2). Random: uniform
 * over the free ports of the range. Block: uniform in the subscriber's own aligned blocks. Band: uniform in a band of
 * `block_size` ports that lies somewhere in the range, one for each subscriber, not exclusive. */
enum lab_ports {
    LAB_PORTS_UNSET,
    LAB_PORTS_PRESERVE,
    LAB_PORTS_RANDOM,
    LAB_PORTS_SEQUENTIAL,
    LAB_PORTS_PARITY,
    LAB_PORTS_BLOCK,
    LAB_PORTS_BAND,
};
/* What an unsolicited SYN from outside gets. RST: it reaches the router's own INPUT, and occupies the port
 * (conntrack remembers it, so that the host's own mapping has to move: "port poisoning"). */
/* The emulator: ICMP: port unreachable at once; hold: after 6 s, unless the inside sends its own SYN meanwhile
 * (RFC 5382 REQ-4). */
enum lab_unsolicited {
    LAB_UNSOLICITED_UNSET,
    LAB_UNSOLICITED_DROP,
    LAB_UNSOLICITED_RST,
    LAB_UNSOLICITED_ICMP,
    LAB_UNSOLICITED_HOLD,
};
enum lab_window { LAB_WINDOW_UNSET, LAB_WINDOW_STRICT, LAB_WINDOW_LIBERAL, LAB_WINDOW_NONE };
/* Other people's allocations on the same NAT. Negative binomial: independent increments, `dispersion` is the variance
 * over the mean of the count in any interval. */
enum lab_cross { LAB_CROSS_NONE, LAB_CROSS_POISSON, LAB_CROSS_NEGATIVE_BINOMIAL };
/* RFC 4787 section 4.1 (REQ-2) and section 6 (REQ-9): the source address that a hairpinned packet shows. */
enum lab_pooling { LAB_POOL_UNSET, LAB_POOL_PAIRED, LAB_POOL_ARBITRARY };
enum lab_hairpin { LAB_HAIRPIN_UNSET, LAB_HAIRPIN_OFF, LAB_HAIRPIN_INTERNAL, LAB_HAIRPIN_EXTERNAL };
/* Which packets restart a timer (RFC 4787 REQ-6). */
enum lab_refresh { LAB_REFRESH_UNSET, LAB_REFRESH_OUTBOUND, LAB_REFRESH_BOTH };
enum lab_rst { LAB_RST_UNSET, LAB_RST_CLOSES, LAB_RST_IN_WINDOW, LAB_RST_IGNORED };
enum lab_at_cap { LAB_AT_CAP_UNSET, LAB_AT_CAP_DROP, LAB_AT_CAP_EVICT };

/* A profile, as bench/profiles/NAME.ini says it. Plain data; later backends add keys. Times in seconds, 0 = the
 * kernel's default. */
struct lab_profile {
    char name[64];
    enum lab_backend backend;
    enum lab_program program;
    enum lab_mapping mapping;
    enum lab_filtering filtering;
    enum lab_ports ports;
    bool ipv6;                 /* it is for IPv6; else for IPv4, a netfilter router for either */
    uint16_t port_lo, port_hi; /* both 0 = the backend's own */
    enum lab_unsolicited unsolicited;
    enum lab_window window;
    unsigned udp_new_s, udp_stream_s;
    unsigned tcp_syn_sent_s, tcp_established_s, tcp_closing_s;
    /* The emulator's; 0 = none, no limit, or the emulator's default. */
    int step;                    /* ports, not 0; negative counts down */
    unsigned block_size, blocks; /* ports in a block or band; blocks of one subscriber at most */
    enum lab_cross cross;
    double cross_rate, cross_dispersion; /* per second; variance / mean, over 1 */
    unsigned pool;                       /* external addresses */
    enum lab_pooling pooling;
    enum lab_hairpin hairpin;
    enum lab_refresh refresh;
    enum lab_rst rst;
    unsigned table_size, host_limit, new_per_s; /* sessions */
    enum lab_at_cap table_at_cap, host_at_cap;  /* a rate has nothing to evict */
    unsigned blacklist_after, blacklist_s;      /* unsolicited packets of one source */
    bool rewrite_payload;
    unsigned restart_after_s;
    char under[64]; /* the profile of the NAT that this one sits behind, "" = none */
    char dir[256];  /* the folder that this one was read from, where `under` is looked for */
};

/* A one-line error: "file:line: what is wrong and what to write instead". */
#define LAB_ERROR_LEN 256

/* Reads one profile file. 0, or -errno with err filled: unknown keys and bad values name their line. */
int lab_profile_read(const char *path, struct lab_profile *out, char err[LAB_ERROR_LEN]);
/* Finds NAME.ini in dir (a name, not a path: no '/'). */
int lab_profile_find(const char *dir, const char *name, struct lab_profile *out, char err[LAB_ERROR_LEN]);

/* ---- the internet ---------------------------------------------------------------------------- */

struct lab;
struct lab_host;

/*
 * One direction of a host's access link. A packet first waits for the transmitter (rate), then it is under way, where
 * everything else happens to it: a lost packet has used the rate up, the copy of a duplicated one has not.
 */
struct lab_way {
    uint64_t delay_ns;
    uint64_t jitter_ns; /* uniform in [0, jitter), order kept */
    double loss;        /* the probability of each packet */
    double duplication; /* that it comes twice, the copy right behind it */
    double reordering;  /* that it is held back by reorder_ns, while those behind it go past */
    uint64_t reorder_ns;
    uint64_t rate;     /* bit/s of whole IP packets, one after the other; 0 = no limit */
    uint64_t queue_ns; /* a packet that would wait longer for the transmitter is dropped (tail drop) */
};

/* One host's access link: up is from the host, down is to it. */
struct lab_link {
    struct lab_way up, down;
};

static inline struct lab_link lab_link_both(struct lab_way way)
{
    return (struct lab_link){.up = way, .down = way};
}

/*
 * Says whether this process may build a lab: root, or an unprivileged user namespace that can be made and can open
 * the TUN device. On success the process may have entered a new user namespace. Call once, single-threaded, before
 * anything else. 0, or -errno with one clear sentence in err.
 */
int lab_enter(char err[LAB_ERROR_LEN]);

/* An empty internet on `loop`; seed drives the links and the NATs. */
int lab_create(struct lab **out, struct loop *loop, uint64_t seed, char err[LAB_ERROR_LEN]);
/* Kills what was spawned and is still there, closes everything. Stops its ops first: call it with the loop not
 * running; it runs the loop until its own ops have completed. */
void lab_destroy(struct lab *lab);

/* What a host, or a NAT that hosts share, begins with. Everything is copied. */
struct lab_place {
    const char *name; /* one of its own in the lab */
    const struct lab_profile *profile;
    struct lab_host *behind; /* a shared NAT of this lab; NULL = it is on the internet */
    /* On the internet side, or in the network of the NAT that it is behind: the router's addresses, or the host's own
     * with profile backend none; the first is the main one. Where one is given and the profile of an emulated NAT has a
     * pool, the further ones follow that one in its /24. */
    const union base_ep *outside;
    size_t n_outside;
    /* The host's address behind its router (a /24 with the router at .1; ignored without a router); of a shared NAT any
     * address of the network inside. */
    const union base_ep *inside;
    /* An IPv6 address of the host's own beside those, NULL = none: its router, which must be a netfilter one of its
     * own, or none, filters what nobody asked for (RFC 6092) and does not translate it. */
    const union base_ep *beside;
    struct lab_link link; /* between its outside and what is before it */
};

/* Adds a host with its router, if the profile has one. An emulated NAT is IPv4 only. 0, or -errno with err filled. */
int lab_add(struct lab *lab, const struct lab_place *place, struct lab_host **out, char err[LAB_ERROR_LEN]);

/*
 * Adds a NAT that hosts and further such NATs can be behind (IPv4): a home router with two hosts, a carrier NAT with
 * two homes. Inside of it is one network: what is addressed to another one's address there goes there directly, without
 * a hop; all else goes through the NAT, which sends it on or, for its own addresses, back inside as its profile's
 * hairpin says. At most LAB_CHAIN_MAX NATs lie between a host and the internet. It is no place for programs: of the
 * functions for hosts, lab_host_name(), lab_host_addr() (any), lab_host_mappings() and lab_host_counters() may be used.
 */
int lab_add_shared(struct lab *lab, const struct lab_place *place, struct lab_host **out, char err[LAB_ERROR_LEN]);
#define LAB_CHAIN_MAX 4

/* lab_add() of a host on the internet. */
int lab_add_host(struct lab *lab, const char *name, const struct lab_profile *profile,
                 const union base_ep *public_addrs, size_t n_public, const union base_ep *private_addr,
                 const struct lab_link *link, struct lab_host **out, char err[LAB_ERROR_LEN]);

/*
 * Port mapping, as home routers offer it (PCP, NAT-PMP, UPnP-IGD): Debian's miniupnpd on the host's own netfilter
 * router, until the lab ends. It takes documentation addresses for private ones, and hands none of those out; so the
 * router gets the further address `outside`, which it hands out instead. NULL: its own, as if it were behind another
 * NAT. Mappings stay across lab_reset_nats(): who asked for one takes it back, or its lifetime ends.
 * 0; -ENOTSUP, without err: the host has no such router; or -errno with err filled; -ENOENT: the program is missing.
 */
int lab_offer_mappings(struct lab *lab, struct lab_host *host, const union base_ep *outside, char err[LAB_ERROR_LEN]);
#define LAB_MAPPER         "miniupnpd"
#define LAB_MAPPER_PACKAGE "miniupnpd-nftables"

/* A descriptor of the host's network namespace, owned by the lab ("nsenter --net=/proc/PID/fd/N"). */
int lab_host_netns(const struct lab_host *host);
/* The host's own address: behind its router, the private one. */
const union base_ep *lab_host_addr(const struct lab_host *host);

/* Programs that end together, daemons and whatever else they started included: a PID namespace of their own. */
struct lab_group;
/* 0, or -ENOMEM. */
int lab_group_create(struct lab_group **out);
/* Kills what still runs of it (SIGKILL), waits until all of it is gone, and frees it; NULL is none. */
void lab_group_end(struct lab_group *group);

/* How a program starts in a host. Descriptors of -1 mean /dev/null. */
struct lab_command {
    const char *const *argv; /* NULL-terminated; argv[0] is searched in PATH */
    int fd_in, fd_out, fd_err;
    char *const *env;        /* NAME=VALUE, added to our own environment, NULL-terminated; NULL = none */
    struct lab_group *group; /* it leads a session of its own; NULL = the lab's, in our session */
};

/* Starts a program inside the host. It and all its descendants are killed when this process ends or the lab is
 * destroyed: they live in a PID namespace of the lab (where they have other pids than *pid). The caller waits for it,
 * or leaves that to lab_destroy(). 0 with *pid and *pidfd (the caller's to close), or -errno; -ENOENT when there is no
 * such program. */
int lab_spawn(struct lab *lab, struct lab_host *host, const struct lab_command *cmd, pid_t *pid, int *pidfd);

/*
 * Fresh NAT state: every mapping in every router goes, and every packet that is still under way, except those of TCP
 * connections to `keep` (a control connection; port 0 or an unset endpoint keeps nothing). 0, or -errno.
 */
int lab_set_keep(struct lab *lab, const union base_ep *keep); /* before any traffic; applies to routers added later */
int lab_reset_nats(struct lab *lab);

/*
 * The NAT of a host restarts, and every NAT that the same box emulates with it; of a host without one, the shared NAT
 * that it is behind: every mapping goes, those of `keep` too. What is under way stays, and so do counters. With
 * `readdress` an emulated NAT comes back with its public addresses 100 further in their /24, and with the old ones at
 * its next such restart. 0; -ENOENT without a NAT; -ENOTSUP for another address of what cannot change it; or -errno.
 */
int lab_restart_nat(struct lab *lab, struct lab_host *host, bool readdress);

/*
 * From now on writes what passes each interface of the hosts that are there into pcap files in `dir`, which must exist,
 * each at most `limit` bytes long: NAME.pcap is host NAME's own, NAME-out.pcap the outside of its NAT, NAME-out2.pcap
 * the outside of the NAT that this one is under; of a shared NAT NAME-in.pcap is the inside. Of a netfilter router or a
 * program only the outside passes through the lab. Packets are there before their sender's link loses or delays them,
 * and after the receiver's did. What fails later ends that file, with one line on stderr. 0, or -errno with err filled.
 */
int lab_capture(struct lab *lab, const char *dir, uint64_t limit, char err[LAB_ERROR_LEN]);

/* What went through, since lab_create. */
struct lab_counters {
    uint64_t packets, bytes; /* delivered */
    uint64_t lost;           /* by the link's loss */
    uint64_t duplicated;     /* copies made by a link */
    uint64_t reordered;      /* held back by a link */
    uint64_t rate_dropped;   /* by a link whose rate's queue was full */
    uint64_t no_route;       /* to an address nobody has: dropped */
    uint64_t bad_source;     /* from an address that the sender does not have: dropped (RFC 2827); what a NAT leaks */
    uint64_t malformed;      /* no IP packet */
    uint64_t ttl_expired;    /* dropped; ICMP time-exceeded was sent, at a bounded rate */
    uint64_t overflow;       /* the delay queue was full, or a TUN refused the packet */
    uint64_t delayed;        /* went through the delay queue */
    uint64_t late_p99_ns;    /* how late the delay queue let go: 99th percentile (10 us steps) and maximum */
    uint64_t late_max_ns;
};
void lab_counters(struct lab *lab, struct lab_counters *out);
/* Counts lateness anew from here on. */
void lab_restart_lateness(struct lab *lab);
/* Mappings in the host's router now; 0 without a router, or -errno. */
int lab_host_mappings(struct lab *lab, struct lab_host *host, uint64_t *out);

/* What the host's own emulated NAT did since lab_add_host: "mappings-made", "replies", "drop-unsolicited", ...; of the
 * NAT that it is under, "outer-mappings-made", ..., and then "outer2-", "outer3-". */
struct lab_counter {
    char name[40];
    uint64_t value;
};
#define LAB_MAX_COUNTERS 128
/* How many were written; 0 for a host without an emulated NAT. */
int lab_host_counters(struct lab *lab, struct lab_host *host, struct lab_counter out[LAB_MAX_COUNTERS]);

/* One NAT, and what it did since the last lab_reset_nats() (since lab_add_host before the first). */
#define LAB_NAT_COUNTERS 32
#define LAB_VIEW_HOSTS   8
struct lab_nat_view {
    const char *profile; /* the lab's, as are the names */
    enum lab_backend backend;
    const struct lab_host *host; /* whose it is: a host, or itself shared */
    const char *behind[LAB_VIEW_HOSTS];
    size_t n_behind;   /* hosts behind it */
    unsigned level;    /* how many NATs lie between it and the farthest of them */
    uint64_t restarts; /* by lab_restart_nat() */
    uint64_t mappings; /* now; of a netfilter router all of conntrack's entries */
    struct lab_counter counters[LAB_NAT_COUNTERS];
    size_t n;
};
/* The NATs of the lab from the first host's on, `cap` at most. How many, or -errno. */
int lab_nats(struct lab *lab, struct lab_nat_view *out, size_t cap);
const char *lab_host_name(const struct lab_host *host);

#endif
