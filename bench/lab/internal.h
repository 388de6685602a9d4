/*
 * What the files of this room share: the lab and its hosts.
 */
#ifndef BENCH_LAB_INTERNAL_H
#define BENCH_LAB_INTERNAL_H

#include "bench/lab/lab.h"
#include "bench/lab/link.h"
#include "bench/lab/nat.h"
#include "bench/lab/netlink.h"
#include "bench/lab/packet.h"

/* What one host needs besides its link; three hosts a cell, and a server may have several addresses. */
#define LAB_MAX_PUBLIC 16

/* What a router tells of itself: lab_router_counters(). */
#define LAB_ROUTER_COUNTERS 8

/* The router between a host and the internet: a namespace of its own. Unused: netns is -1. */
struct lab_router {
    int netns;
    int count_fd; /* nf_conntrack_count of its namespace */
    struct lab_nl ct;
    struct lab_counter base[LAB_ROUTER_COUNTERS]; /* at the last reset */
    bool maps;                                    /* lab_offer_mappings() */
};

/* A program between a host and the internet, in a namespace of its own. Unused: both are -1. */
struct lab_userspace {
    int netns, pidfd;
};

/* A NAT, the one that it is under, and so on. */
#define LAB_BOX_MAX LAB_CHAIN_MAX

/* The emulated NATs between a host and the internet, from the inside out. Unused: n is 0. */
struct lab_box {
    struct lab_profile profiles[LAB_BOX_MAX];
    struct lab_nat *nats[LAB_BOX_MAX];
    struct lab_counter base[LAB_BOX_MAX][LAB_NAT_COUNTERS]; /* at the last reset */
    struct lab_pcap *taps[LAB_BOX_MAX + 1];                 /* inside of nats[i], and the outside; NULL = none */
    unsigned n;
};

struct lab_host;

/* Which host has an address: open addressing, never more than half full, nothing is ever removed. */
struct lab_directory {
    struct {
        struct lab_addr addr;
        struct lab_host *host; /* NULL = free */
    } * slots;
    size_t size; /* a power of two */
    size_t n;
};

struct lab_host {
    struct lab *lab;
    char name[64];
    size_t index;           /* in lab->hosts */
    struct lab_host *above; /* the shared NAT that it is behind; NULL = the internet */
    bool shared;            /* no host, but a NAT that some are behind: no namespace and no TUN */
    struct lab_directory inside;
    struct lab_profile profile;
    union base_ep addrs[LAB_MAX_PUBLIC]; /* on its outside */
    struct lab_addr keys[LAB_MAX_PUBLIC];
    size_t n_addrs;
    uint64_t restarts; /* since the last reset */
    bool moved;        /* those are not the ones that it began with */
    union base_ep own; /* what lab_host_addr() tells */
    /* Of the last two of addrs, behind a router that translates IPv4 alone: the host's own, and the router's. */
    bool has_beside;
    int netns;
    struct lab_router router;
    struct lab_userspace userspace;
    struct lab_box box;
    int tun; /* in the router's namespace, or else in the host's */
    int lan; /* the inside of a shared netfilter router; -1 = none */
    struct loop_op readable, lan_readable;
    struct lab_lane up, down;
    struct base_rng rng;
    struct base_bucket icmp;
    uint64_t *last_ns; /* latest arrival from here, by the receiver's index; at its lane, where that stands alone */
    size_t n_last;
};

struct lab_spawner {
    pid_t init;   /* first process of the PID namespace that holds everything spawned; 0 = none */
    int pid_ns;   /* its PID namespace, -1 = none */
    int lifeline; /* while this end is open, init lives */
    int *pidfds;  /* of spawned processes that were not seen to be reaped */
    size_t n, capacity;
};

struct lab {
    struct loop *loop;
    uint64_t seed;
    struct lab_host **hosts;
    size_t n_hosts;
    struct lab_directory directory;
    struct lab_queue queue;
    struct loop_op timer;
    uint64_t timer_ns; /* when the pending timer fires */
    uint64_t fired_ns; /* when it last did */
    uint64_t nat_ns;   /* no NAT has anything to do before */
    uint64_t now_ns;   /* of the packet that is on its way now */
    struct lab_devices *devices;
    struct lab_lateness late;
    struct lab_counters counters;
    union base_ep keep;
    struct lab_spawner spawner;
    bool stopping;
};

/* ---- carry.c --------------------------------------------------------------------------------- */

/* 0 or -ENOMEM. */
int lab_carry_init(struct lab *lab);
/* Ends the ops: runs the loop until they have completed. Frees what is under way. */
void lab_carry_stop(struct lab *lab);
/* Drops what is under way, but for the connections to lab->keep; the links begin anew. */
void lab_carry_reset(struct lab *lab);
/* A host with its name, lab and link; then, once it is in the directory, its packets; and its end. */
void lab_carry_join(struct lab_host *host, const struct lab_link *link);
void lab_carry_start(struct lab_host *host);
void lab_carry_leave(struct lab_host *host);

/* ---- device.c -------------------------------------------------------------------------------- */

/* The largest IP packet. */
#define LAB_PACKET_MAX 65536
/* Packets of one system call: enough to share its cost, few enough that the first does not wait for the last. */
#define LAB_DEVICE_BATCH 32

/* 0 or -ENOMEM. */
int lab_devices_create(struct lab_devices **out);
void lab_devices_destroy(struct lab_devices *devices);
/* Takes a copy; it is written when the lab flushes, and counted then. */
void lab_devices_write(struct lab *lab, int tun, const uint8_t *data, size_t len);
void lab_devices_flush(struct lab *lab);

/* ---- lab.c ----------------------------------------------------------------------------------- */

/* Whether it is one of the host's addresses on its outside. */
bool lab_host_has(const struct lab_host *host, struct lab_addr addr);
/* Behind a router that filters and does not translate: the host's own address is a public one. */
bool lab_host_is_firewalled(const struct lab_host *host);
/* Its own IPv6 address, with a router that translates IPv4 alone; else NULL. The router's is behind it. */
const union base_ep *lab_host_beside(const struct lab_host *host);
/* Who is where its outside is: the internet, or the inside of a shared NAT. */
struct lab_directory *lab_host_network(struct lab_host *host);

/* ---- router.c -------------------------------------------------------------------------------- */

#define LAB_WAN  "wan"
#define LAB_LAN  "lan"
#define LAB_HOST "eth0"

/* A line in the TUN's queue for every port of a full spray; the default of 500 drops it. */
#define LAB_TUN_QUEUE 65536

/* The router's address in the private network: .1 of the host's /24, ::1 of its /64. */
union base_ep lab_gateway_of(const union base_ep *host);
/* Builds host->router between host->netns (or, if it is shared, host->lan) and a TUN (host->tun). 0, or -errno with err
 * filled. */
int lab_router_build(struct lab_host *host, char err[LAB_ERROR_LEN]);
void lab_router_close(struct lab_router *router);
int lab_router_keep(struct lab_router *router, const union base_ep *keep, char err[LAB_ERROR_LEN]);
int lab_router_reset(struct lab_router *router);
/* All of it goes. */
int lab_router_restart(struct lab_router *router);
int lab_router_mappings(struct lab_router *router, uint64_t *out);
/* Since it was built. 0, or -errno. */
int lab_router_counters(struct lab_router *router, struct lab_counter out[LAB_ROUTER_COUNTERS]);

/* Has nft do so, in the current namespace. 0, or -errno with err filled. */
int lab_router_nft(const char *rules, char err[LAB_ERROR_LEN]);

/* ---- mapper.c ---------------------------------------------------------------------------------- */

/* The router restarts: what was mapped goes. In its namespace. 0, or -errno. */
int lab_mapper_forget(void);

/* ---- userspace.c ----------------------------------------------------------------------------- */

/* Makes host->tun in a namespace beside the host's, and starts the program between the two. 0, or -errno with err
 * filled. The lab's end ends it. */
int lab_userspace_build(struct lab_host *host, char err[LAB_ERROR_LEN]);
void lab_userspace_close(struct lab_userspace *userspace);

/* ---- host.c ---------------------------------------------------------------------------------- */

/* Builds the namespaces and devices of a host whose facts are filled in. 0, or -errno with err filled. */
int lab_host_build(struct lab_host *host, char err[LAB_ERROR_LEN]);
/* Closes what host_build opened; also after a failure. */
void lab_host_close(struct lab_host *host);
/* Sysctls of every namespace: no IPv6 autoconfiguration, no reverse-path filter. */
void lab_host_quiet(bool ipv6);
/* The TUN and its addresses, in the current namespace. */
int lab_host_tun(struct lab_host *host, const char *dev, char err[LAB_ERROR_LEN]);
/* Writes "what: strerror" with the host's name. Returns res. */
int lab_host_fail(const struct lab_host *host, int res, const char *what, char err[LAB_ERROR_LEN]);

/* ---- nat_box.c ------------------------------------------------------------------------------- */

enum lab_box_exit { LAB_BOX_NOWHERE, LAB_BOX_INSIDE, LAB_BOX_OUTSIDE };

/* A packet on its way: `data` is rewritten in place, or becomes `reply`. */
struct lab_box_packet {
    uint8_t *data;
    size_t len;
    uint8_t reply[LAB_ICMP_MAX];
};

/* Fills in host->box.profiles, if the host's NAT is emulated. 0, or -errno with err filled. */
int lab_box_profiles(struct lab_host *host, char err[LAB_ERROR_LEN]);
/* How many addresses the outermost NAT has; IPv4 addresses after the first follow it. */
unsigned lab_box_pool(const struct lab_box *box);
union base_ep lab_box_address(const union base_ep *first, unsigned i);
/* The NATs of a host whose facts are filled in. 0, or -errno with err filled. */
int lab_box_build(struct lab_host *host, char err[LAB_ERROR_LEN]);
void lab_box_close(struct lab_box *box);
/* Where a packet (or the answer to it) comes out that went in on the side that dir says. */
enum lab_box_exit lab_box_pass(struct lab_box *box, enum lab_nat_dir dir, struct lab_box_packet *packet,
                               uint64_t now_ns);
/* As lab_nat_next and lab_nat_timer: one packet a call, NOWHERE = no more. */
uint64_t lab_box_next(const struct lab_box *box);
enum lab_box_exit lab_box_timer(struct lab_box *box, struct lab_box_packet *packet, uint64_t now_ns);
void lab_box_reset(struct lab_box *box, const union base_ep *keep, uint64_t now_ns);
uint64_t lab_box_mappings(const struct lab_box *box, unsigned level);
/* Of one NAT, since it was made. How many. */
size_t lab_box_counters(const struct lab_box *box, unsigned level, struct lab_counter out[LAB_NAT_COUNTERS]);

/* ---- nat_view.c ------------------------------------------------------------------------------ */

/* What lab_nats() tells begins anew. 0, or -errno. */
int lab_view_reset(struct lab_host *host);

/* ---- pcap.c ---------------------------------------------------------------------------------- */

struct lab_pcap;
/* Makes the file anew; `limit` is in bytes. 0, or -errno. */
int lab_pcap_open(struct lab_pcap **out, const char *path, uint64_t limit);
void lab_pcap_packet(struct lab_pcap *p, const uint8_t *data, size_t len);
void lab_pcap_flush(struct lab_pcap *p);
void lab_pcap_close(struct lab_pcap *p);
void lab_capture_flush(struct lab_host *host);
void lab_capture_close(struct lab_host *host);

static inline void lab_tap(const struct lab_box *box, unsigned boundary, const uint8_t *data, size_t len)
{
    if (box->taps[boundary])
        lab_pcap_packet(box->taps[boundary], data, len);
}

/* ---- directory.c ----------------------------------------------------------------------------- */

/* 0, -EEXIST or -ENOMEM. */
int lab_directory_add(struct lab_directory *dir, struct lab_addr addr, struct lab_host *host);
struct lab_host *lab_directory_find(const struct lab_directory *dir, struct lab_addr addr);
void lab_directory_free(struct lab_directory *dir);

/* ---- spawn.c --------------------------------------------------------------------------------- */

void lab_spawner_init(struct lab_spawner *spawner);
/* lab_spawn() in a namespace that is no host's. */
int lab_spawn_at(struct lab *lab, int netns, const struct lab_command *cmd, pid_t *pid, int *pidfd);
/* Kills and reaps everything that was spawned. */
void lab_spawner_stop(struct lab_spawner *spawner);

#endif
