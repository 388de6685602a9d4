/*
 * How far it is to the other peer's NAT: datagrams of rising time to live to its mapped endpoint, and the ICMP time
 * exceeded that they draw (RFC 792), read from the sockets' error queues: no root. The last hop that answers lies
 * before the NAT, as a NAT takes what is addressed to itself, whatever its time to live. Hops that are silent are
 * passed over; a packet that is to end before the NAT then ends a little earlier.
 *
 * Once a session and address: the first trial that needs it measures it before the plan is made, so that both sides
 * still start together.
 */
#include <errno.h>
#include <time.h> /* before errqueue.h, which does not include it */

#include <linux/errqueue.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <unistd.h>

#include "bench/peer/internal.h"

/* So many datagrams at once: at most as many reach the other NAT unasked, which tells them from an attack. */
#define WINDOW   PEER_HOPS_WINDOW
#define MAX_HOPS 32
/* An answer from before the NAT comes sooner than one from the peer; and what slow routers need. */
#define WAIT_SHARE 1.25
#define WAIT_MORE  (15 * BASE_NS_PER_MS)
#define LOOK_NS    (3 * BASE_NS_PER_MS)
/* A hop that is past our own NATs has an address that hosts on the internet can have. */
static bool is_public(struct in_addr addr)
{
    union base_ep ep = {.v4 = {.sin_family = AF_INET, .sin_addr = addr}};
    return peer_is_public(&ep);
}

static void close_window(struct peer_hops *h)
{
    for (int i = 0; i < WINDOW; i++) {
        if (h->fds[i] >= 0)
            close(h->fds[i]);
        h->fds[i] = -1;
    }
}

static void finish(struct peer_hops *h, int result)
{
    close_window(h);
    h->result = result;
}

static int send_one(const struct peer_hops *h, int ttl)
{
    static const char text[] = "punchbench: how far?";
    int on = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)) < 0 ||
        setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)) < 0 ||
        sendto(fd, text, sizeof(text), 0, &h->to.sa, base_ep_len(&h->to)) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static int send_window(struct peer_hops *h)
{
    int err = 0;
    h->answered = 0;
    for (int i = 0; i < WINDOW; i++) {
        h->fds[i] = send_one(h, h->first + i);
        if (h->fds[i] < 0)
            err = h->fds[i];
    }
    h->until_ns = base_now_ns() + h->wait_ns;
    return err;
}

/* The offender of a time exceeded; false when there is none (yet). */
static bool read_offender(int fd, struct in_addr *out)
{
    char control[256], data[64];
    struct iovec iov = {data, sizeof(data)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    if (recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
        return false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        struct sock_extended_err err;
        struct sockaddr_in from;
        if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_RECVERR ||
            c->cmsg_len < CMSG_LEN(sizeof(err) + sizeof(from)))
            continue;
        memcpy(&err, CMSG_DATA(c), sizeof(err));
        memcpy(&from, CMSG_DATA(c) + sizeof(err), sizeof(from));
        if (err.ee_origin != SO_EE_ORIGIN_ICMP || err.ee_type != ICMP_TIME_EXCEEDED || from.sin_family != AF_INET)
            continue;
        *out = from.sin_addr;
        return true;
    }
    return false;
}

static void look(struct peer_hops *h)
{
    for (int i = 0; i < WINDOW; i++) {
        struct in_addr offender;
        if (h->fds[i] < 0 || !read_offender(h->fds[i], &offender))
            continue;
        h->answered |= 1u << i;
        if (h->first + i > h->last) {
            h->last = h->first + i;
            h->last_from = offender;
        }
    }
}

/* The window is over: on when its end still answered, else that was it. */
static void judge(struct peer_hops *h)
{
    bool more = h->answered >> (WINDOW - 2) != 0;
    close_window(h);
    h->first += WINDOW;
    if (more && h->first + WINDOW <= MAX_HOPS) {
        int err = send_window(h);
        if (err < 0)
            finish(h, err);
        return;
    }
    /* Nothing past our own NATs has answered: no time to live is known to leave them. */
    bool passes = h->last > 0 && is_public(h->last_from) && h->last_from.s_addr != h->own.s_addr;
    finish(h, passes ? h->last : -ENODATA);
}

static void timer_done(struct loop_op *op, int res)
{
    struct peer_hops *h = op->owner;
    if (res == 0 && h->result == 0) {
        look(h);
        if (h->answered == (1u << WINDOW) - 1 || base_now_ns() >= h->until_ns)
            judge(h);
    }
    if (res == 0 && h->result == 0)
        loop_timer(h->loop, op, base_now_ns() + LOOK_NS);
    else
        close_window(h);
    if (res == 0 && h->result != 0)
        h->done(h->owner);
}

bool peer_hops_busy(const struct peer_hops *h)
{
    return h->timer.pending && h->result == 0;
}

void peer_hops_init(struct peer_hops *h, struct loop *loop, void (*done)(void *owner), void *owner)
{
    *h = (struct peer_hops){.loop = loop, .done = done, .owner = owner};
    for (int i = 0; i < WINDOW; i++)
        h->fds[i] = -1;
    loop_op_init(&h->timer, timer_done, h);
}

void peer_hops_measure(struct peer_hops *h, const union base_ep *own, const union base_ep *to, uint64_t rtt_ns)
{
    if (h->timer.pending || base_ep_same_addr(&h->to, to))
        return;
    h->to = *to;
    h->result = h->last = 0;
    if (to->sa.sa_family != AF_INET || own->sa.sa_family != AF_INET || base_ep_same_addr(own, to)) {
        h->result = -EAFNOSUPPORT;
        return;
    }
    h->own = own->v4.sin_addr;
    h->first = 1;
    h->wait_ns = (uint64_t)(WAIT_SHARE * (double)rtt_ns) + WAIT_MORE;
    int err = send_window(h);
    if (err < 0)
        finish(h, err);
    else
        loop_timer(h->loop, &h->timer, base_now_ns() + LOOK_NS);
}

void peer_hops_stop(struct peer_hops *h)
{
    loop_cancel(h->loop, &h->timer);
}
