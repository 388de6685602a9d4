/*
 * The lab: its hosts, their life, and what it tells. The packets' way is carry.c.
 *
 * How it is used:
 *
 *     char err[LAB_ERROR_LEN];
 *     if (lab_enter(err) < 0 || loop_create(&loop, 0) < 0 || lab_create(&lab, loop, seed, err) < 0) ...
 *     lab_set_keep(lab, &server_control);                  // the connection that lab_reset_nats() spares
 *     lab_profile_find("bench/profiles", "linux-strict", &profile, err);
 *     lab_add_host(lab, "a", &profile, &public_a, 1, &private_a, &link, &a, err);
 *     lab_add_host(lab, "s", &open, public_s, 2, NULL, &no_link, &s, err);
 *     lab_spawn(lab, a, &(struct lab_command){argv, -1, out, 2}, &pid, &pidfd);
 *     loop_poll(loop, &op, pidfd, POLLIN);                 // and waitid(P_PIDFD, pidfd, ...) when it fires
 *     loop_run(loop);                                      // packets move while the loop runs
 *     lab_reset_nats(lab);                                 // between trials
 *     lab_destroy(lab);
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lab/internal.h"

/* From one public address to the next, in its /24, and back: beyond the largest pool. */
#define MOVE_BY 100

/* ---- life ------------------------------------------------------------------------------------ */

int lab_create(struct lab **out, struct loop *loop, uint64_t seed, char err[LAB_ERROR_LEN])
{
    struct lab *lab = calloc(1, sizeof(*lab));
    int res = lab ? 0 : -ENOMEM;
    if (lab) {
        lab->loop = loop;
        lab->seed = seed;
        lab_spawner_init(&lab->spawner);
        res = lab_carry_init(lab);
    }
    if (res < 0) {
        free(lab);
        snprintf(err, LAB_ERROR_LEN, "no memory for the lab");
        return res;
    }
    *out = lab;
    return 0;
}

static void host_free(struct lab_host *host)
{
    lab_host_close(host);
    lab_capture_close(host);
    lab_carry_leave(host);
    lab_directory_free(&host->inside);
    free(host);
}

void lab_destroy(struct lab *lab)
{
    if (!lab)
        return;
    lab_spawner_stop(&lab->spawner);
    lab_carry_stop(lab);
    for (size_t i = 0; i < lab->n_hosts; i++)
        host_free(lab->hosts[i]);
    lab_directory_free(&lab->directory);
    free(lab->hosts);
    free(lab);
}

/* The address that slirp4netns gives in its /24. */
#define SLIRP_HOST 100

/* ---- hosts ----------------------------------------------------------------------------------- */

bool lab_host_has(const struct lab_host *host, struct lab_addr addr)
{
    for (size_t i = 0; i < host->n_addrs; i++)
        if (lab_addr_equal(host->keys[i], addr))
            return true;
    return false;
}

bool lab_host_is_firewalled(const struct lab_host *host)
{
    return host->profile.backend == LAB_BACKEND_NETFILTER && host->profile.mapping == LAB_MAP_NONE;
}

const union base_ep *lab_host_beside(const struct lab_host *host)
{
    return host->has_beside ? &host->addrs[host->n_addrs - 2] : NULL;
}

/* The public addresses of a pool of which the first is given. Returns how many. */
static size_t pool_addrs(const union base_ep *first, unsigned pool, union base_ep out[LAB_MAX_PUBLIC])
{
    size_t n = pool < LAB_MAX_PUBLIC ? pool : LAB_MAX_PUBLIC;
    for (size_t i = 0; i < n; i++)
        out[i] = lab_box_address(first, (unsigned)i);
    return n;
}

struct lab_directory *lab_host_network(struct lab_host *host)
{
    return host->above ? &host->above->inside : &host->lab->directory;
}

static unsigned own_nats(const struct lab_host *host)
{
    return host->profile.backend == LAB_BACKEND_NETFILTER || host->profile.backend == LAB_BACKEND_PROGRAM ? 1
                                                                                                          : host->box.n;
}

/* A host behind a shared NAT has its outside in that one's /24. */
static int check_behind(struct lab_host *host, const struct lab_place *place, char err[LAB_ERROR_LEN])
{
    unsigned nats = own_nats(host);
    if (!place->behind)
        return 0;
    if (!place->behind->shared)
        return lab_host_fail(host, -EINVAL, "only a shared NAT has hosts behind it", err);
    for (const struct lab_host *h = place->behind; h; h = h->above)
        nats += own_nats(h);
    if (nats > LAB_CHAIN_MAX)
        return lab_host_fail(host, -EINVAL, "at most four NATs, one behind the other", err);
    union base_ep gateway = lab_gateway_of(&place->behind->own);
    for (size_t i = 0; i < place->n_outside; i++) {
        union base_ep here = place->outside[i].sa.sa_family == AF_INET ? lab_gateway_of(&place->outside[i]) : gateway;
        if (place->outside[i].sa.sa_family != AF_INET || !base_ep_same_addr(&here, &gateway) ||
            base_ep_same_addr(&place->outside[i], &gateway))
            return lab_host_fail(host, -EINVAL, "it needs an address in the network of the NAT that it is behind", err);
    }
    return 0;
}

static int take_outside(struct lab_host *host, const union base_ep *addrs, size_t n, char err[LAB_ERROR_LEN])
{
    if (n == 0 || n > LAB_MAX_PUBLIC)
        return lab_host_fail(host, -EINVAL, "a host has 1 to 16 public addresses", err);
    for (size_t i = 0; i < n; i++) {
        if (!base_ep_is_set(&addrs[i]) || base_ep_is_any(&addrs[i]))
            return lab_host_fail(host, -EINVAL, "a public address is not set", err);
        host->addrs[i] = addrs[i];
        base_ep_set_port(&host->addrs[i], 0);
        host->keys[i] = lab_addr_of(&addrs[i]);
        if (lab_directory_find(lab_host_network(host), host->keys[i]) || lab_host_has(host, host->keys[i]))
            return lab_host_fail(host, -EEXIST, "a public address is taken", err);
        host->n_addrs++;
    }
    return 0;
}

/* The host's own address is the public one; the router's, beside it in the same network, is public too. */
static int firewall_facts(struct lab_host *host, const struct lab_place *place, char err[LAB_ERROR_LEN])
{
    if (host->shared || place->behind || place->n_outside != 1)
        return lab_host_fail(host, -EINVAL, "a firewall stands before one host on the internet, with one address", err);
    union base_ep both[2] = {place->outside[0], lab_gateway_of(&place->outside[0])};
    host->own = both[0];
    base_ep_set_port(&host->own, 0);
    return take_outside(host, both, 2, err);
}

/* Beside what it has of IPv4. Without a router it is simply one more address. */
static int take_beside(struct lab_host *host, const struct lab_place *place, char err[LAB_ERROR_LEN])
{
    bool routed = host->profile.backend == LAB_BACKEND_NETFILTER;
    if (!place->beside)
        return 0;
    if (host->shared || place->behind || host->own.sa.sa_family != AF_INET || lab_host_is_firewalled(host) ||
        place->beside->sa.sa_family != AF_INET6 || (!routed && host->profile.backend != LAB_BACKEND_NONE))
        return lab_host_fail(
            host, -EINVAL, "IPv6 beside IPv4 needs a host on the internet with a netfilter router, or with none", err);
    union base_ep all[LAB_MAX_PUBLIC];
    size_t n = host->n_addrs;
    if (n + 2 > LAB_MAX_PUBLIC)
        return lab_host_fail(host, -EINVAL, "a host has 1 to 16 public addresses", err);
    memcpy(all, host->addrs, n * sizeof(all[0]));
    all[n] = *place->beside;
    all[n + 1] = lab_gateway_of(place->beside);
    host->n_addrs = 0;
    host->has_beside = routed;
    return take_outside(host, all, n + (routed ? 2 : 1), err);
}

static int host_facts(struct lab_host *host, const struct lab_place *place, char err[LAB_ERROR_LEN])
{
    bool has_router = host->profile.backend != LAB_BACKEND_NONE;
    const union base_ep *outside = place->outside;
    size_t n = place->n_outside;
    union base_ep pool[LAB_MAX_PUBLIC];
    if (n > 0 && host->profile.backend == LAB_BACKEND_PROGRAM && outside[0].sa.sa_family != AF_INET)
        return lab_host_fail(host, -EINVAL, "a program as its NAT needs an IPv4 address", err);
    if (n > 0 && host->box.n && outside[0].sa.sa_family != AF_INET)
        return lab_host_fail(host, -EINVAL, "an emulated NAT needs an IPv4 address", err);
    int res = check_behind(host, place, err);
    if (res < 0)
        return res;
    if (n == 1 && host->box.n) {
        if ((ntohl(outside[0].v4.sin_addr.s_addr) & 255) + lab_box_pool(&host->box) > 255)
            return lab_host_fail(host, -EINVAL, "its NAT's pool does not fit behind that address", err);
        n = pool_addrs(outside, lab_box_pool(&host->box), pool);
        outside = pool;
    }
    if (n > 0 && host->profile.ipv6 && outside[0].sa.sa_family != AF_INET6)
        return lab_host_fail(host, -EINVAL, "its router is for IPv6", err);
    if (lab_host_is_firewalled(host))
        return firewall_facts(host, place, err);
    if (n > 0 && has_router && (!place->inside || place->inside->sa.sa_family != outside[0].sa.sa_family))
        return lab_host_fail(host, -EINVAL, "a private address of the public one's family is needed", err);
    res = take_outside(host, outside, n, err);
    if (res < 0)
        return res;
    host->own = has_router ? *place->inside : host->addrs[0];
    base_ep_set_port(&host->own, 0);
    if (host->profile.program == LAB_PROGRAM_SLIRP4NETNS)
        host->own.v4.sin_addr.s_addr = (host->own.v4.sin_addr.s_addr & htonl(0xffffff00u)) | htonl(SLIRP_HOST);
    return take_beside(host, place, err);
}

static struct lab_host *host_new(struct lab *lab, const struct lab_place *place)
{
    struct lab_host *host = calloc(1, sizeof(*host));
    if (!host)
        return NULL;
    host->lab = lab;
    host->above = place->behind;
    snprintf(host->name, sizeof(host->name), "%s", place->name);
    host->profile = *place->profile;
    host->netns = host->tun = host->lan = host->router.netns = host->router.count_fd = -1;
    host->userspace = (struct lab_userspace){-1, -1};
    lab_carry_join(host, &place->link);
    return host;
}

/* Joins a built host to the internet, or to the network of the NAT that it is behind. */
static int host_publish(struct lab *lab, struct lab_host *host)
{
    struct lab_host **grown = realloc(lab->hosts, (lab->n_hosts + 1) * sizeof(struct lab_host *));
    if (!grown)
        return -ENOMEM;
    lab->hosts = grown;
    for (size_t i = 0; i < host->n_addrs; i++) {
        int res = lab_directory_add(lab_host_network(host), host->keys[i], host);
        if (res < 0)
            return res;
    }
    host->index = lab->n_hosts;
    lab->hosts[lab->n_hosts++] = host;
    lab_carry_start(host);
    return 0;
}

static int build(struct lab_host *host, char err[LAB_ERROR_LEN])
{
    if (!host->shared)
        return lab_host_build(host, err);
    return host->box.n ? lab_box_build(host, err) : lab_router_build(host, err);
}

static int add(struct lab *lab, const struct lab_place *place, bool shared, struct lab_host **out,
               char err[LAB_ERROR_LEN])
{
    struct lab_host *host = host_new(lab, place);
    if (!host) {
        snprintf(err, LAB_ERROR_LEN, "host %s: no memory", place->name);
        return -ENOMEM;
    }
    host->shared = shared;
    int res = lab_box_profiles(host, err);
    if (res == 0 && shared && host->profile.backend == LAB_BACKEND_NONE)
        res = lab_host_fail(host, -EINVAL, "what hosts share has to be a NAT", err);
    if (res == 0)
        res = host_facts(host, place, err);
    if (res == 0)
        res = build(host, err);
    if (res == 0) {
        res = host_publish(lab, host);
        if (res < 0)
            lab_host_fail(host, res, "could not be added", err);
    }
    if (res < 0) {
        host_free(host);
        return res;
    }
    *out = host;
    return 0;
}

int lab_add(struct lab *lab, const struct lab_place *place, struct lab_host **out, char err[LAB_ERROR_LEN])
{
    return add(lab, place, false, out, err);
}

int lab_add_shared(struct lab *lab, const struct lab_place *place, struct lab_host **out, char err[LAB_ERROR_LEN])
{
    return add(lab, place, true, out, err);
}

int lab_add_host(struct lab *lab, const char *name, const struct lab_profile *profile,
                 const union base_ep *public_addrs, size_t n_public, const union base_ep *private_addr,
                 const struct lab_link *link, struct lab_host **out, char err[LAB_ERROR_LEN])
{
    const struct lab_place place = {.name = name,
                                    .profile = profile,
                                    .outside = public_addrs,
                                    .n_outside = n_public,
                                    .inside = private_addr,
                                    .link = *link};
    return lab_add(lab, &place, out, err);
}

const char *lab_host_name(const struct lab_host *host)
{
    return host->name;
}

int lab_host_netns(const struct lab_host *host)
{
    return host->netns;
}

const union base_ep *lab_host_addr(const struct lab_host *host)
{
    return &host->own;
}

/* ---- NAT state, counters --------------------------------------------------------------------- */

int lab_set_keep(struct lab *lab, const union base_ep *keep)
{
    char err[LAB_ERROR_LEN];
    lab->keep = *keep;
    for (size_t i = 0; i < lab->n_hosts; i++) {
        struct lab_router *router = &lab->hosts[i]->router;
        int res = router->netns < 0 ? 0 : lab_router_keep(router, keep, err);
        if (res < 0)
            return res;
    }
    return 0;
}

int lab_reset_nats(struct lab *lab)
{
    lab_carry_reset(lab);
    for (size_t i = 0; i < lab->n_hosts; i++) {
        struct lab_router *router = &lab->hosts[i]->router;
        int res = router->netns < 0 ? 0 : lab_router_reset(router);
        if (res < 0)
            return res;
        lab_box_reset(&lab->hosts[i]->box, &lab->keep, base_now_ns());
        lab_capture_flush(lab->hosts[i]);
        res = lab_view_reset(lab->hosts[i]);
        if (res < 0)
            return res;
    }
    return 0;
}

/* Only what is on the internet may move: the networks inside are laid out once. */
static int readdress(struct lab_host *host)
{
    union base_ep moved[LAB_MAX_PUBLIC];
    int by = host->moved ? -MOVE_BY : MOVE_BY;
    if (!host->box.n || host->above)
        return -ENOTSUP;
    for (size_t i = 0; i < host->n_addrs; i++) {
        unsigned last = ntohl(host->addrs[i].v4.sin_addr.s_addr) & 255;
        moved[i] = lab_box_address(&host->addrs[i], (unsigned)by);
        struct lab_addr key = lab_addr_of(&moved[i]);
        struct lab_host *owner = lab_directory_find(lab_host_network(host), key);
        if (last + (unsigned)by > 254 || (owner && owner != host))
            return -ENOTSUP;
        int res = owner ? 0 : lab_directory_add(lab_host_network(host), key, host);
        if (res < 0)
            return res;
    }
    host->moved = !host->moved;
    for (size_t i = 0; i < host->n_addrs; i++) {
        host->addrs[i] = moved[i];
        host->keys[i] = lab_addr_of(&moved[i]);
    }
    lab_nat_readdress(host->box.nats[host->box.n - 1], moved, host->n_addrs);
    return 0;
}

int lab_restart_nat(struct lab *lab, struct lab_host *host, bool other_address)
{
    (void)lab;
    while (host && host->router.netns < 0 && !host->box.n)
        host = host->above;
    if (!host)
        return -ENOENT;
    int res = other_address ? readdress(host) : 0;
    if (res < 0)
        return res;
    host->restarts++;
    lab_box_reset(&host->box, NULL, base_now_ns());
    return host->router.netns < 0 ? 0 : lab_router_restart(&host->router);
}

void lab_counters(struct lab *lab, struct lab_counters *out)
{
    *out = lab->counters;
    out->late_p99_ns = lab_lateness_quantile(&lab->late, 0.99);
    out->late_max_ns = lab->late.max_ns;
}

void lab_restart_lateness(struct lab *lab)
{
    lab_lateness_clear(&lab->late);
}
