/*
 * What the files of this room share: the lab and its hosts.
 */
#ifndef BENCH_LAB_INTERNAL_H
#define BENCH_LAB_INTERNAL_H

#include "bench/lab/lab.h"
#include "bench/lab/link.h"
#include "bench/lab/netlink.h"
#include "bench/lab/packet.h"

/* What one host needs besides its link; three hosts a cell, and a server may have several addresses. */
#define LAB_MAX_PUBLIC 16

/* The router between a host and the internet: a namespace of its own. Unused: netns is -1. */
struct lab_router {
    int netns;
    int count_fd; /* nf_conntrack_count of its namespace */
    struct lab_nl ct;
};

struct lab_host {
    struct lab *lab;
    char name[64];
    size_t index; /* in lab->hosts */
    struct lab_profile profile;
    union base_ep addrs[LAB_MAX_PUBLIC]; /* on the internet side */
    struct lab_addr keys[LAB_MAX_PUBLIC];
    size_t n_addrs;
    union base_ep own; /* what lab_host_addr() tells */
    int netns;
    struct lab_router router;
    int tun; /* in the router's namespace, or else in the host's */
    struct loop_op readable;
    struct lab_link link;
    struct base_rng rng;
    struct base_bucket icmp;
    uint64_t *last_ns; /* latest arrival from here, by the receiver's index */
    size_t n_last;
};

/* Which host has an address: open addressing, never more than half full, nothing is ever removed. */
struct lab_directory {
    struct {
        struct lab_addr addr;
        struct lab_host *host; /* NULL = free */
    } * slots;
    size_t size; /* a power of two */
    size_t n;
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
    struct lab_lateness late;
    struct lab_counters counters;
    union base_ep keep;
    struct lab_spawner spawner;
    bool stopping;
};

/* ---- router.c -------------------------------------------------------------------------------- */

#define LAB_WAN  "wan"
#define LAB_LAN  "lan"
#define LAB_HOST "eth0"

/* A line in the TUN's queue for every port of a full spray; the default of 500 drops it. */
#define LAB_TUN_QUEUE 65536

/* Builds host->router between host->netns and a TUN (host->tun). 0, or -errno with err filled. */
int lab_router_build(struct lab_host *host, char err[LAB_ERROR_LEN]);
void lab_router_close(struct lab_router *router);
int lab_router_keep(struct lab_router *router, const union base_ep *keep, char err[LAB_ERROR_LEN]);
int lab_router_reset(struct lab_router *router);
int lab_router_mappings(struct lab_router *router, uint64_t *out);

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

/* ---- directory.c ----------------------------------------------------------------------------- */

/* 0, -EEXIST or -ENOMEM. */
int lab_directory_add(struct lab_directory *dir, struct lab_addr addr, struct lab_host *host);
struct lab_host *lab_directory_find(const struct lab_directory *dir, struct lab_addr addr);
void lab_directory_free(struct lab_directory *dir);

/* ---- spawn.c --------------------------------------------------------------------------------- */

void lab_spawner_init(struct lab_spawner *spawner);
/* Kills and reaps everything that was spawned. */
void lab_spawner_stop(struct lab_spawner *spawner);

#endif
