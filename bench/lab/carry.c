/*
 * The way of a packet: out of one host's TUN device, through its NATs, over two access links, through the other's NATs,
 * into its TUN device. Everything that happens once a packet is here.
 *
 * A host behind a shared NAT is in that one's inside network: its packets go to its neighbour there over their two
 * links, or over its own link to the shared NAT, which sends them on from its own place as a host would.
 *
 * TUN devices are polled through the ring and drained with plain read(): a TUN read in io_uring that finds nothing
 * waits in its own poll, or in a worker thread, which costs fifty times as much. Writes are gathered (device.c).
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/lab/internal.h"

/* Packets taken from one TUN before the others and the timer get their turn. */
#define BATCH 128
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
static void enter(struct lab_host *shared, uint8_t *data, size_t len);
static void leave(struct lab_host *host, uint8_t *data, size_t len);
static void arm(struct lab *lab);

static void put(struct lab_host *to, uint8_t *data, size_t len)
{
    if (to->shared && to->lan < 0)
        enter(to, data, len);
    else
        lab_devices_write(to->lab, to->tun, data, len);
}

/* What came out of a host's NAT. */
static void carry(struct lab_host *host, enum lab_box_exit exit, struct lab_box_packet *packet)
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
        lab_tap(&to->box, 0, data, len);
        put(to, data, len);
        return;
    }
    packet.data = data;
    packet.len = len;
    carry(to, lab_box_pass(&to->box, LAB_NAT_IN, &packet, lab->now_ns), &packet);
    uint64_t next = lab_box_next(&to->box);
    if (next < lab->nat_ns) {
        lab->nat_ns = next;
        arm(lab);
    }
}

/* ---- links ----------------------------------------------------------------------------------- */

/* Where a parcel of the queue is: at its receiver's outside; before the way down to there; at a shared NAT's inside. */
enum { STAGE_ARRIVED, STAGE_DOWN, STAGE_INSIDE };

static void send_later(struct lab_host *to, uint64_t due_ns, uint32_t stage, const uint8_t *data, size_t len)
{
    struct lab *lab = to->lab;
    if (lab_queue_push(&lab->queue, due_ns, to, stage, data, len) < 0) {
        lab->counters.overflow++;
        return;
    }
    lab->counters.delayed += stage != STAGE_DOWN;
    arm(lab);
}

static void arrive(struct lab_host *to, uint32_t stage, uint8_t *data, size_t len)
{
    if (stage != STAGE_INSIDE) {
        deliver(to, data, len);
    } else if (to->lan >= 0) {
        lab_tap(&to->box, 1, data, len);
        lab_devices_write(to->lab, to->lan, data, len);
    } else {
        leave(to, data, len);
    }
}

/* Delivering rewrites a packet, and a copy of it may be needed still. */
static void arrive_copy(struct lab_host *to, uint32_t stage, const uint8_t *data, size_t len)
{
    uint8_t copy[LAB_PACKET_MAX];
    memcpy(copy, data, len);
    arrive(to, stage, copy, len);
}

static void count(struct lab *lab, const struct lab_crossing *crossing)
{
    lab->counters.lost += crossing->lost;
    lab->counters.duplicated += crossing->duplicated;
    lab->counters.reordered += crossing->reordered;
    lab->counters.rate_dropped += crossing->rate_dropped;
}

static void settle(struct lab_host *to, uint32_t stage, const struct lab_crossing *crossing, uint8_t *data, size_t len,
                   uint64_t now)
{
    for (unsigned i = 0; i < crossing->n; i++)
        if (stage == STAGE_DOWN || crossing->due_ns[i] > now)
            send_later(to, crossing->due_ns[i], stage, data, len);
        else if (i + 1 < crossing->n)
            arrive_copy(to, stage, data, len);
        else
            arrive(to, stage, data, len);
}

static void cross(struct lab_host *from, struct lab_host *to, uint8_t *data, size_t len, uint64_t now)
{
    struct lab_crossing crossing;
    bool alone = lab_lane_alone(&to->down);
    lab_lane_cross(&from->up, alone ? NULL : &to->down, &from->rng, now, len, &from->last_ns[to->index], &crossing);
    count(from->lab, &crossing);
    settle(to, alone ? STAGE_DOWN : STAGE_ARRIVED, &crossing, data, len, now);
}

/* From a host to the inside of the shared NAT that it is behind. */
static void cross_up(struct lab_host *from, uint8_t *data, size_t len, uint64_t now)
{
    struct lab_crossing crossing;
    lab_lane_cross(&from->up, NULL, &from->rng, now, len, &from->last_ns[from->above->index], &crossing);
    count(from->lab, &crossing);
    settle(from->above, STAGE_INSIDE, &crossing, data, len, now);
}

/* From the inside of a shared NAT to a host behind it. */
static void cross_in(struct lab_host *shared, struct lab_host *to, uint8_t *data, size_t len, uint64_t now)
{
    struct lab_crossing crossing = {.due_ns = {now}, .n = 1};
    bool alone = lab_lane_alone(&to->down);
    if (!alone)
        lab_lane_cross(&to->down, NULL, &shared->rng, now, len, &shared->last_ns[to->index], &crossing);
    count(shared->lab, &crossing);
    settle(to, alone ? STAGE_DOWN : STAGE_ARRIVED, &crossing, data, len, now);
}

/* It has come to the way down at its due time, after all that came there before it. */
static void cross_down(struct lab_parcel *parcel, uint64_t now)
{
    struct lab_host *to = parcel->to;
    struct lab_crossing crossing;
    lab_lane_cross(&to->down, NULL, &to->rng, parcel->due_ns, parcel->len, &to->down.last_ns, &crossing);
    count(to->lab, &crossing);
    settle(to, STAGE_ARRIVED, &crossing, parcel->data, parcel->len, now);
}

/* ---- the timer ------------------------------------------------------------------------------- */

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
        lab->now_ns = base_now_ns();
        if (parcel->stage == STAGE_DOWN) {
            cross_down(parcel, now);
        } else {
            lab_lateness_add(&lab->late, lab->now_ns - parcel->due_ns);
            arrive(parcel->to, parcel->stage, parcel->data, parcel->len);
        }
        free(parcel);
    }
    lab->now_ns = base_now_ns();
    serve_nats(lab, lab->now_ns);
    lab_devices_flush(lab);
    arm(lab);
}

/* ---- forwarding ------------------------------------------------------------------------------ */

/* The packet crossed its sender's link before it died; the answer crosses it again. */
static void expire(struct lab_host *from, const uint8_t *data, const struct lab_packet *packet, uint64_t now)
{
    uint8_t answer[LAB_ICMP_MAX];
    from->lab->counters.ttl_expired++;
    if (!base_bucket_take(&from->icmp, now))
        return;
    size_t len = lab_packet_time_exceeded(data, packet, packet->version == 4 ? &router_v4 : &router_v6, answer);
    if (len != 0)
        cross(from, from, answer, len, now);
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
    uint64_t now = lab->now_ns;
    if (!lab_packet_parse(data, len, &packet) || grow_last(from) < 0) {
        lab->counters.malformed++;
        return;
    }
    if (!lab_host_has(from, packet.src)) {
        lab->counters.bad_source++;
        return;
    }
    if (from->above) {
        struct lab_host *neighbour = lab_directory_find(&from->above->inside, packet.dst);
        if (neighbour)
            cross(from, neighbour, data, packet.len, now);
        else
            cross_up(from, data, packet.len, now);
        return;
    }
    if (!lab_packet_hop(data, packet.version)) {
        expire(from, data, &packet, now);
        return;
    }
    struct lab_host *to = lab_directory_find(&lab->directory, packet.dst);
    if (to)
        cross(from, to, data, packet.len, now);
    else
        lab->counters.no_route++;
}

/* What a shared NAT let through, or sent back, to the inside. */
static void enter(struct lab_host *shared, uint8_t *data, size_t len)
{
    struct lab_packet packet;
    struct lab_host *to = NULL;
    if (lab_packet_parse(data, len, &packet) && grow_last(shared) == 0)
        to = lab_directory_find(&shared->inside, packet.dst);
    if (to)
        cross_in(shared, to, data, packet.len, shared->lab->now_ns);
    else
        shared->lab->counters.no_route++;
}

/* A packet that a host's TUN gave us, or that came to a shared NAT from inside. */
static void leave(struct lab_host *host, uint8_t *data, size_t len)
{
    struct lab_box_packet packet;
    if (host->box.n == 0) {
        lab_tap(&host->box, 0, data, len);
        forward(host, data, len);
        return;
    }
    packet.data = data;
    packet.len = len;
    carry(host, lab_box_pass(&host->box, LAB_NAT_OUT, &packet, host->lab->now_ns), &packet);
}

/* What a shared netfilter router sends to its inside. */
static void leave_inwards(struct lab_host *shared, uint8_t *data, size_t len)
{
    lab_tap(&shared->box, 1, data, len);
    enter(shared, data, len);
}

static void tun_readable(struct loop_op *op, int res)
{
    struct lab_host *host = op->owner;
    bool inside = op == &host->lan_readable;
    int tun = inside ? host->lan : host->tun;
    uint8_t buf[LAB_PACKET_MAX];
    ssize_t n;
    /* A device that only reports errors would be polled for ever. */
    if (host->lab->stopping || res < 0 || !(res & POLLIN))
        return;
    for (int i = 0; i < BATCH && (n = read(tun, buf, sizeof(buf))) > 0; i++) {
        host->lab->now_ns = base_now_ns();
        if (inside)
            leave_inwards(host, buf, (size_t)n);
        else
            leave(host, buf, (size_t)n);
    }
    lab_devices_flush(host->lab);
    loop_poll(host->lab->loop, op, tun, POLLIN);
}

/* ---- life ------------------------------------------------------------------------------------ */

int lab_carry_init(struct lab *lab)
{
    base_ep_parse_addr(ROUTER_V4, &router_v4);
    base_ep_parse_addr(ROUTER_V6, &router_v6);
    lab->timer_ns = NO_TIMER;
    lab->nat_ns = UINT64_MAX;
    lab_queue_init(&lab->queue, QUEUE_PARCELS, QUEUE_BYTES);
    loop_op_init(&lab->timer, timer_done, lab);
    return lab_devices_create(&lab->devices);
}

void lab_carry_join(struct lab_host *host, const struct lab_link *link)
{
    host->up.way = link->up;
    host->down.way = link->down;
    base_rng_derive(&host->rng, host->lab->seed, host->name, 0);
    base_bucket_init(&host->icmp, ICMP_PER_S, ICMP_BURST, base_now_ns());
    loop_op_init(&host->readable, tun_readable, host);
    loop_op_init(&host->lan_readable, tun_readable, host);
}

void lab_carry_start(struct lab_host *host)
{
    if (host->tun >= 0)
        loop_poll(host->lab->loop, &host->readable, host->tun, POLLIN);
    if (host->lan >= 0)
        loop_poll(host->lab->loop, &host->lan_readable, host->lan, POLLIN);
}

void lab_carry_leave(struct lab_host *host)
{
    free(host->last_ns);
}

static bool ops_pending(const struct lab *lab)
{
    bool pending = loop_op_pending(&lab->timer);
    for (size_t i = 0; i < lab->n_hosts; i++)
        pending |= loop_op_pending(&lab->hosts[i]->readable) || loop_op_pending(&lab->hosts[i]->lan_readable);
    return pending;
}

void lab_carry_stop(struct lab *lab)
{
    lab->stopping = true;
    loop_cancel(lab->loop, &lab->timer);
    for (size_t i = 0; i < lab->n_hosts; i++) {
        loop_cancel(lab->loop, &lab->hosts[i]->readable);
        loop_cancel(lab->loop, &lab->hosts[i]->lan_readable);
    }
    while (ops_pending(lab) && loop_run_once(lab->loop, BASE_NS_PER_S) == 0)
        ;
    lab_queue_free(&lab->queue);
    lab_devices_destroy(lab->devices);
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

void lab_carry_reset(struct lab *lab)
{
    lab_queue_filter(&lab->queue, is_kept, &lab->keep);
    for (size_t i = 0; i < lab->n_hosts; i++) {
        struct lab_host *host = lab->hosts[i];
        lab_lane_reset(&host->up);
        lab_lane_reset(&host->down);
        if (host->n_last)
            memset(host->last_ns, 0, host->n_last * sizeof(*host->last_ns));
    }
}
