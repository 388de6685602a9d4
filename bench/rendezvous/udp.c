/* STUN over UDP: wait for readiness on the loop, then drain the socket in batches. One system call for many datagrams
 * costs less than one completion for each. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rendezvous/internal.h"

#define BATCH 64
/* Batches of one socket before everybody else gets a turn. */
#define ROUNDS 8
/* A little more than we accept, so that what is too long is seen to be. */
#define DATAGRAM (WIRE_STUN_MAX_LEN + 4)
#define CONTROL  CMSG_SPACE(sizeof(struct in6_pktinfo))

struct slot {
    union base_ep from, to, asked;
    struct iovec in, out;
    uint8_t request[DATAGRAM];
    uint8_t reply[WIRE_STUN_MAX_LEN];
    _Alignas(struct cmsghdr) uint8_t control[CONTROL];
};

struct udp_batch {
    struct mmsghdr in[BATCH], out[BATCH];
    struct slot slots[BATCH];
};

struct udp_batch *udp_batch_create(void)
{
    return calloc(1, sizeof(struct udp_batch));
}

void udp_batch_free(struct udp_batch *batch)
{
    free(batch);
}

static void prepare(struct udp_batch *b, const struct site *site)
{
    for (size_t i = 0; i < BATCH; i++) {
        struct slot *s = &b->slots[i];
        s->in = (struct iovec){.iov_base = s->request, .iov_len = sizeof(s->request)};
        b->in[i].msg_hdr = (struct msghdr){
            .msg_name = &s->from,
            .msg_namelen = sizeof(s->from),
            .msg_iov = &s->in,
            .msg_iovlen = 1,
            .msg_control = site->any ? s->control : NULL,
            .msg_controllen = site->any ? sizeof(s->control) : 0,
        };
    }
}

/* On a wildcard socket: the address that was asked, which the answer has to come from. */
static bool read_asked(const struct site *site, struct msghdr *msg, struct slot *s)
{
    s->asked = site->ep;
    if (!site->any)
        return true;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            s->asked.v4.sin_addr = info.ipi_addr;
            return true;
        }
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            s->asked.v6.sin6_addr = info.ipi6_addr;
            return true;
        }
    }
    return false;
}

static void write_asked(const union base_ep *asked, struct msghdr *msg, uint8_t *control)
{
    bool v6 = asked->sa.sa_family == AF_INET6;
    struct in_pktinfo info = {.ipi_spec_dst = asked->v4.sin_addr};
    struct in6_pktinfo info6 = {.ipi6_addr = asked->v6.sin6_addr};
    size_t len = v6 ? sizeof(info6) : sizeof(info);
    memset(control, 0, CONTROL);
    msg->msg_control = control;
    msg->msg_controllen = CMSG_SPACE(len);
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    c->cmsg_level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
    c->cmsg_type = v6 ? IPV6_PKTINFO : IP_PKTINFO;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), v6 ? (void *)&info6 : (void *)&info, len);
}

void udp_send(const struct site *site, const union base_ep *asked, const union base_ep *to, const uint8_t *bytes,
              size_t len)
{
    _Alignas(struct cmsghdr) uint8_t control[CONTROL];
    union base_ep name = *to;
    struct iovec out = {.iov_base = (void *)bytes, .iov_len = len};
    struct msghdr msg = {.msg_name = &name, .msg_namelen = base_ep_len(to), .msg_iov = &out, .msg_iovlen = 1};
    if (site->any)
        write_asked(asked, &msg, control);
    (void)!sendmsg(site->udp_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Answers one datagram. True when the answer waits in `out` for this site's socket. */
static bool handle(struct site *site, struct mmsghdr *in, struct slot *s, struct mmsghdr *out)
{
    struct server *server = site->server;
    struct stun_ask ask = {.from = &s->from};
    if (in->msg_len > WIRE_STUN_MAX_LEN || in->msg_hdr.msg_flags & MSG_TRUNC || !read_asked(site, &in->msg_hdr, s))
        return false;
    site_ask(site, &s->asked, &ask);
    struct stun_reply reply = stun_answer(&ask, s->request, in->msg_len, s->reply);
    if (!reply.len)
        return false;
    if (reply.delay_ms) {
        delay_put(site, &s->asked, &reply, s->reply);
        return false;
    }
    s->to = reply.to;
    s->out = (struct iovec){.iov_base = s->reply, .iov_len = reply.len};
    out->msg_hdr =
        (struct msghdr){.msg_name = &s->to, .msg_namelen = base_ep_len(&s->to), .msg_iov = &s->out, .msg_iovlen = 1};
    if (site->any)
        write_asked(&s->asked, &out->msg_hdr, s->control);
    if (reply.change == 0)
        return true;
    /* UDP promises nothing: an answer that cannot be sent now is one that was lost. */
    (void)!sendmsg(server->sites[site->twin[reply.change]].udp_fd, &out->msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL);
    return false;
}

static void send_all(int fd, struct mmsghdr *out, unsigned n)
{
    for (unsigned at = 0; at < n;) {
        int sent = sendmmsg(fd, out + at, n - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        /* The first of the rest failed: that one is lost, the others may still go. */
        at += sent > 0 ? (unsigned)sent : 1;
    }
}

/* One batch. The number of datagrams that came. */
static int drain(struct site *site, uint64_t now)
{
    struct server *server = site->server;
    struct udp_batch *b = server->batch;
    unsigned n_out = 0;
    prepare(b, site);
    int n = recvmmsg(site->udp_fd, b->in, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        struct slot *s = &b->slots[i];
        if (limits_take(server->stun_limits, &s->from, now) && handle(site, &b->in[i], s, &b->out[n_out]))
            n_out++;
    }
    send_all(site->udp_fd, b->out, n_out);
    return n;
}

static void udp_ready(struct loop_op *op, int res)
{
    struct site *site = op->owner;
    struct server *server = site->server;
    if (server->stopping || res == -ECANCELED)
        return;
    uint64_t now = base_now_ns();
    for (unsigned round = 0; round < ROUNDS; round++)
        if (drain(site, now) < BATCH)
            break;
    loop_poll(server->loop, op, site->udp_fd, POLLIN);
}

void udp_start(struct site *site)
{
    loop_op_init(&site->udp_op, udp_ready, site);
    loop_poll(site->server->loop, &site->udp_op, site->udp_fd, POLLIN);
}
