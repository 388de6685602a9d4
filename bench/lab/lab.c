/*
 * The internet: packets come out of one host's TUN device, lose a hop, cross two access links, and go into another's.
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
 *
 * TUN devices are polled through the ring and drained with plain read(): a TUN read submitted to io_uring is handed
 * to a worker thread, which costs fifty times as much.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/lab/internal.h"

/* Packets taken from one TUN before the others and the timer get their turn. */
#define BATCH 128
/* The largest IP packet. */
#define PACKET_MAX 65536
/* The delay queue: two full sprays of all ports in flight, and a second of a gigabit. */
#define QUEUE_PARCELS 262144
#define QUEUE_BYTES   (128u << 20)
/* Time-exceeded messages to one host; routers bound them, and a low-TTL spray makes one per packet. */
#define ICMP_PER_S 10000.0
#define ICMP_BURST 1000.0

/* The lab's own router, as seen in traceroutes: RFC 7600's dummy address, and one from RFC 3849's block. */
#define ROUTER_V4 "192.0.0.8"
#define ROUTER_V6 "2001:db8:ffff::8"

/* The timer's least distance: in a spray packets are due every microsecond, and a timer for each would cost more than
 * the packets. It adds at most this to a packet's delay, and only right after another's. */
#define TIMER_SPACING_NS (50 * BASE_NS_PER_US)

#define NO_TIMER UINT64_MAX

static union base_ep router_v4, router_v6;

/* ---- delivery -------------------------------------------------------------------------------- */

static void forward(struct lab_host *from, uint8_t *data, size_t len);
static void arm(struct lab *lab);

static void put(struct lab_host *to, const uint8_t *data, size_t len)
{
    struct lab_counters *c = &to->lab->counters;
    ssize_t n = write(to->tun, data, len);
    if (n == (ssize_t)len) {
        c->packets++;
        c->bytes += len;
    } else {
        c->overflow++;
    }
}

/* What came out of a host's NAT. */
static void carry(struct lab_host *host, enum lab_box_exit exit, const struct lab_box_packet *packet)
{
    if (exit == LAB_BOX_INSIDE)
        put(host, packet->data, packet->len);
    else if (exit == LAB_BOX_OUTSIDE)
        forward(host, packet->data, packet->len);
}

static void deliver(struct lab_host *to, uint8_t *data, size_t len)
{
    struct lab *lab = to->lab;
    struct lab_box_packet packet;
    if (to->box.n == 0) {
        put(to, data, len);
        return;
    }
    packet.data = data;
    packet.len = len;
    carry(to, lab_box_pass(&to->box, LAB_NAT_IN, &packet, base_now_ns()), &packet);
    uint64_t next = lab_box_next(&to->box);
    if (next < lab->nat_ns) {
        lab->nat_ns = next;
        arm(lab);
    }
}

static void serve_nats(struct lab *lab, uint64_t now)
{
    struct lab_box_packet packet;
    enum lab_box_exit exit;
    if (now < lab->nat_ns)
        return;
    lab->nat_ns = UINT64_MAX;
    for (size_t i = 0; i < lab->n_hosts; i++) {
        struct lab_host *host = lab->hosts[i];
        while ((exit = lab_box_timer(&host->box, &packet, now)) != LAB_BOX_NOWHERE)
            carry(host, exit, &packet);
        uint64_t next = lab_box_next(&host->box);
        lab->nat_ns = next < lab->nat_ns ? next : lab->nat_ns;
    }
}

static void arm(struct lab *lab)
{
    uint64_t next = lab_queue_next(&lab->queue);
    if (lab->nat_ns < next)
        next = lab->nat_ns;
    if (next < lab->fired_ns + TIMER_SPACING_NS)
        next = lab->fired_ns + TIMER_SPACING_NS;
    if (lab->stopping || next >= lab->timer_ns)
        return;
    if (loop_op_pending(&lab->timer)) {
        /* It completes as cancelled (or has just fired), and timer_done arms it anew. */
        lab->timer_ns = next;
        loop_cancel(lab->loop, &lab->timer);
        return;
    }
    lab->timer_ns = next;
    loop_timer(lab->loop, &lab->timer, next);
}

static void timer_done(struct loop_op *op, int res)
{
    struct lab *lab = op->owner;
    struct lab_parcel *parcel;
    (void)res;
    lab->timer_ns = NO_TIMER;
    if (lab->stopping)
        return;
    uint64_t now = base_now_ns();
    lab->fired_ns = now;
    for (int i = 0; i < BATCH && (parcel = lab_queue_pop(&lab->queue, now)); i++) {
        lab_lateness_add(&lab->late, base_now_ns() - parcel->due_ns);
        deliver(parcel->to, parcel->data, parcel->len);
        free(parcel);
    }
    serve_nats(lab, base_now_ns());
    arm(lab);
}

static void send_later(struct lab_host *to, uint64_t due_ns, const uint8_t *data, size_t len)
{
    struct lab *lab = to->lab;
    if (lab_queue_push(&lab->queue, due_ns, to, data, len) < 0) {
        lab->counters.overflow++;
        return;
    }
    lab->counters.delayed++;
    arm(lab);
}

/* ---- forwarding ------------------------------------------------------------------------------ */

static bool is_own_addr(const struct lab_host *host, struct lab_addr addr)
{
    for (size_t i = 0; i < host->n_addrs; i++)
        if (lab_addr_equal(host->keys[i], addr))
            return true;
    return false;
}

/* The packet crossed its sender's link before it died; the answer crosses it again. */
static void expire(struct lab_host *from, const uint8_t *data, const struct lab_packet *packet, uint64_t now)
{
    uint8_t answer[LAB_ICMP_MAX];
    uint64_t *last = &from->last_ns[from->index], due;
    from->lab->counters.ttl_expired++;
    if (!base_bucket_take(&from->icmp, now))
        return;
    size_t len = lab_packet_time_exceeded(data, packet, packet->version == 4 ? &router_v4 : &router_v6, answer);
    if (len == 0)
        return;
    if (!lab_link_cross(&from->link, &from->link, &from->rng, now, last, &due))
        from->lab->counters.lost++;
    else if (due <= now)
        deliver(from, answer, len);
    else
        send_later(from, due, answer, len);
}

static int grow_last(struct lab_host *from)
{
    size_t n = from->lab->n_hosts;
    if (from->n_last >= n)
        return 0;
    uint64_t *grown = realloc(from->last_ns, n * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    memset(grown + from->n_last, 0, (n - from->n_last) * sizeof(*grown));
    from->last_ns = grown;
    from->n_last = n;
    return 0;
}

static void forward(struct lab_host *from, uint8_t *data, size_t len)
{
    struct lab *lab = from->lab;
    struct lab_packet packet;
    uint64_t now = base_now_ns(), due;
    if (!lab_packet_parse(data, len, &packet) || grow_last(from) < 0) {
        lab->counters.malformed++;
        return;
    }
    if (!is_own_addr(from, packet.src)) {
        lab->counters.bad_source++;
        return;
    }
    if (!lab_packet_hop(data, packet.version)) {
        expire(from, data, &packet, now);
        return;
    }
    struct lab_host *to = lab_directory_find(&lab->directory, packet.dst);
    if (!to)
        lab->counters.no_route++;
    else if (!lab_link_cross(&from->link, &to->link, &from->rng, now, &from->last_ns[to->index], &due))
        lab->counters.lost++;
    else if (due <= now)
        deliver(to, data, packet.len);
    else
        send_later(to, due, data, packet.len);
}

/* A packet that a host's TUN gave us. */
static void leave(struct lab_host *host, uint8_t *data, size_t len)
{
    struct lab_box_packet packet;
    if (host->box.n == 0) {
        forward(host, data, len);
        return;
    }
    packet.data = data;
    packet.len = len;
    carry(host, lab_box_pass(&host->box, LAB_NAT_OUT, &packet, base_now_ns()), &packet);
}

static void tun_readable(struct loop_op *op, int res)
{
    struct lab_host *host = op->owner;
    uint8_t buf[PACKET_MAX];
    ssize_t n;
    /* A device that only reports errors would be polled for ever. */
    if (host->lab->stopping || res < 0 || !(res & POLLIN))
        return;
    for (int i = 0; i < BATCH && (n = read(host->tun, buf, sizeof(buf))) > 0; i++)
        leave(host, buf, (size_t)n);
    loop_poll(host->lab->loop, op, host->tun, POLLIN);
}

/* ---- life ------------------------------------------------------------------------------------ */

int lab_create(struct lab **out, struct loop *loop, uint64_t seed, char err[LAB_ERROR_LEN])
{
    struct lab *lab = calloc(1, sizeof(*lab));
    if (!lab) {
        snprintf(err, LAB_ERROR_LEN, "no memory for the lab");
        return -ENOMEM;
    }
    base_ep_parse_addr(ROUTER_V4, &router_v4);
    base_ep_parse_addr(ROUTER_V6, &router_v6);
    lab->loop = loop;
    lab->seed = seed;
    lab->timer_ns = NO_TIMER;
    lab->nat_ns = UINT64_MAX;
    lab_queue_init(&lab->queue, QUEUE_PARCELS, QUEUE_BYTES);
    loop_op_init(&lab->timer, timer_done, lab);
    lab_spawner_init(&lab->spawner);
    *out = lab;
    return 0;
}

static bool ops_pending(const struct lab *lab)
{
    bool pending = loop_op_pending(&lab->timer);
    for (size_t i = 0; i < lab->n_hosts; i++)
        pending |= loop_op_pending(&lab->hosts[i]->readable);
    return pending;
}

static void host_free(struct lab_host *host)
{
    lab_host_close(host);
    free(host->last_ns);
    free(host);
}

void lab_destroy(struct lab *lab)
{
    if (!lab)
        return;
    lab_spawner_stop(&lab->spawner);
    lab->stopping = true;
    loop_cancel(lab->loop, &lab->timer);
    for (size_t i = 0; i < lab->n_hosts; i++)
        loop_cancel(lab->loop, &lab->hosts[i]->readable);
    while (ops_pending(lab) && loop_run_once(lab->loop, BASE_NS_PER_S) == 0)
        ;
    for (size_t i = 0; i < lab->n_hosts; i++)
        host_free(lab->hosts[i]);
    lab_queue_free(&lab->queue);
    lab_directory_free(&lab->directory);
    free(lab->hosts);
    free(lab);
}

/* ---- hosts ----------------------------------------------------------------------------------- */

/* The public addresses of a pool of which the first is given. Returns how many. */
static size_t pool_addrs(const union base_ep *first, unsigned pool, union base_ep out[LAB_MAX_PUBLIC])
{
    size_t n = pool < LAB_MAX_PUBLIC ? pool : LAB_MAX_PUBLIC;
    for (size_t i = 0; i < n; i++)
        out[i] = lab_box_address(first, (unsigned)i);
    return n;
}

static int host_facts(struct lab_host *host, const union base_ep *public_addrs, size_t n_public,
                      const union base_ep *private_addr, char err[LAB_ERROR_LEN])
{
    bool has_router = host->profile.backend != LAB_BACKEND_NONE;
    union base_ep pool[LAB_MAX_PUBLIC];
    if (n_public > 0 && host->box.n && public_addrs[0].sa.sa_family != AF_INET)
        return lab_host_fail(host, -EINVAL, "an emulated NAT needs an IPv4 address", err);
    if (n_public == 1 && host->box.n) {
        if ((ntohl(public_addrs[0].v4.sin_addr.s_addr) & 255) + lab_box_pool(&host->box) > 255)
            return lab_host_fail(host, -EINVAL, "its NAT's pool does not fit behind that address", err);
        n_public = pool_addrs(public_addrs, lab_box_pool(&host->box), pool);
        public_addrs = pool;
    }
    if (n_public == 0 || n_public > LAB_MAX_PUBLIC)
        return lab_host_fail(host, -EINVAL, "a host has 1 to 16 public addresses", err);
    if (has_router && (!private_addr || private_addr->sa.sa_family != public_addrs[0].sa.sa_family))
        return lab_host_fail(host, -EINVAL, "a private address of the public one's family is needed", err);
    for (size_t i = 0; i < n_public; i++) {
        if (!base_ep_is_set(&public_addrs[i]) || base_ep_is_any(&public_addrs[i]))
            return lab_host_fail(host, -EINVAL, "a public address is not set", err);
        host->addrs[i] = public_addrs[i];
        base_ep_set_port(&host->addrs[i], 0);
        host->keys[i] = lab_addr_of(&public_addrs[i]);
        if (lab_directory_find(&host->lab->directory, host->keys[i]) || is_own_addr(host, host->keys[i]))
            return lab_host_fail(host, -EEXIST, "a public address is taken", err);
        host->n_addrs++;
    }
    host->own = has_router ? *private_addr : host->addrs[0];
    base_ep_set_port(&host->own, 0);
    return 0;
}

static struct lab_host *host_new(struct lab *lab, const char *name, const struct lab_profile *profile,
                                 const struct lab_link *link)
{
    struct lab_host *host = calloc(1, sizeof(*host));
    if (!host)
        return NULL;
    host->lab = lab;
    snprintf(host->name, sizeof(host->name), "%s", name);
    host->profile = *profile;
    host->link = *link;
    host->netns = host->tun = host->router.netns = host->router.count_fd = -1;
    base_rng_derive(&host->rng, lab->seed, host->name, 0);
    base_bucket_init(&host->icmp, ICMP_PER_S, ICMP_BURST, base_now_ns());
    loop_op_init(&host->readable, tun_readable, host);
    return host;
}

/* Joins a built host to the internet. */
static int host_publish(struct lab *lab, struct lab_host *host)
{
    struct lab_host **grown = realloc(lab->hosts, (lab->n_hosts + 1) * sizeof(struct lab_host *));
    if (!grown)
        return -ENOMEM;
    lab->hosts = grown;
    for (size_t i = 0; i < host->n_addrs; i++) {
        int res = lab_directory_add(&lab->directory, host->keys[i], host);
        if (res < 0)
            return res;
    }
    host->index = lab->n_hosts;
    lab->hosts[lab->n_hosts++] = host;
    loop_poll(lab->loop, &host->readable, host->tun, POLLIN);
    return 0;
}

int lab_add_host(struct lab *lab, const char *name, const struct lab_profile *profile,
                 const union base_ep *public_addrs, size_t n_public, const union base_ep *private_addr,
                 const struct lab_link *link, struct lab_host **out, char err[LAB_ERROR_LEN])
{
    struct lab_host *host = host_new(lab, name, profile, link);
    if (!host) {
        snprintf(err, LAB_ERROR_LEN, "host %s: no memory", name);
        return -ENOMEM;
    }
    int res = lab_box_profiles(host, err);
    if (res == 0)
        res = host_facts(host, public_addrs, n_public, private_addr, err);
    if (res == 0)
        res = lab_host_build(host, err);
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

/* Packets of the kept connection: to or from that endpoint. */
static bool is_kept(const struct lab_parcel *parcel, void *user)
{
    const union base_ep *keep = user;
    struct lab_addr addr = lab_addr_of(keep);
    struct lab_packet packet;
    uint16_t src, dst, port = base_ep_port(keep);
    if (!lab_packet_parse(parcel->data, parcel->len, &packet) ||
        !lab_packet_tcp_ports(parcel->data, &packet, &src, &dst))
        return false;
    return (dst == port && lab_addr_equal(packet.dst, addr)) || (src == port && lab_addr_equal(packet.src, addr));
}

int lab_reset_nats(struct lab *lab)
{
    lab_queue_filter(&lab->queue, is_kept, &lab->keep);
    for (size_t i = 0; i < lab->n_hosts; i++) {
        struct lab_router *router = &lab->hosts[i]->router;
        int res = router->netns < 0 ? 0 : lab_router_reset(router);
        if (res < 0)
            return res;
        lab_box_reset(&lab->hosts[i]->box, &lab->keep, base_now_ns());
    }
    return 0;
}

int lab_host_mappings(struct lab *lab, struct lab_host *host, uint64_t *out)
{
    (void)lab;
    *out = host->box.n ? lab_box_mappings(&host->box) : 0;
    return host->router.netns < 0 ? 0 : lab_router_mappings(&host->router, out);
}

int lab_host_counters(struct lab *lab, struct lab_host *host, struct lab_counter out[LAB_MAX_COUNTERS])
{
    (void)lab;
    return (int)lab_box_counters(&host->box, out);
}

void lab_counters(struct lab *lab, struct lab_counters *out)
{
    *out = lab->counters;
    out->late_p99_ns = lab_lateness_quantile(&lab->late, 0.99);
    out->late_max_ns = lab->late.max_ns;
}
