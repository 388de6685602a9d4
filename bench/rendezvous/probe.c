/*
 * What S does for a connection that discovers its NAT: it leases endpoints that ignore SYNs or refuse them, says where
 * SYNs to them came from, and connects to the peer's mapped endpoints. Only a connection that has proven the key gets
 * here, and S connects only to the address that it sees on that connection, or that a SYN to one of its leases came
 * from: whoever forges such a SYN gets one SYN for it, sent to where he says that he is.
 */
#include <errno.h>
#include <time.h> /* before errqueue.h, which uses its types */

#include <linux/errqueue.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/rendezvous/internal.h"

#define LEASES_MAX   32
#define SOURCES_MAX  8
#define ATTEMPTS_MAX 16
/* All of one connection: a discovery makes some thirty. */
#define CONNECTS_MAX 128
/* Longer than the 6 s for which a NAT may hold a SYN (RFC 5382, REQ-4), and than a lost one's repetition. */
#define WAIT_MAX_NS (10 * BASE_NS_PER_S)
/* SYNs at 0, 1 and 3 s; up to 15 s the kernel waits. */
#define SYN_REPEATS 3

struct lease {
    union base_ep ep;
    int fd;
    bool sees; /* the sniffer watches for it */
    union base_ep sources[SOURCES_MAX];
    size_t n_sources; /* all that came; the ring holds the latest */
};

struct attempt {
    struct prober *prober;
    struct attempt *next;
    int fd;
    uint64_t stamp;
    bool ended;
    struct loop_op ready_op, timer_op;
};

struct prober {
    struct server *server;
    struct conn *conn; /* NULL = gone */
    struct prober *next, *prev;
    union base_ep asked, alternate, from;
    struct lease leases[LEASES_MAX];
    size_t n_leases, n_attempts, n_connects;
    struct attempt *attempts;
};

/* ---- answers --------------------------------------------------------------------------------- */

static void answer_begin(struct wire_writer *w, uint8_t *frame, size_t cap, uint64_t stamp, enum wire_probed result)
{
    wire_frame_begin(w, frame, cap, WIRE_PROBED);
    wire_put_u64(w, WIRE_F_STAMP, stamp);
    wire_put_u64(w, WIRE_F_PROBED, result);
}

static void answer_send(struct prober *p, struct wire_writer *w)
{
    int len = wire_frame_end(w, (uint32_t)base_rng_u64(&p->server->host.masks));
    if (p->conn && len > 0)
        conn_send(p->conn, w->buf, (size_t)len);
}

static void answer(struct prober *p, uint64_t stamp, enum wire_probed result)
{
    uint8_t frame[128];
    struct wire_writer w;
    answer_begin(&w, frame, sizeof(frame), stamp, result);
    answer_send(p, &w);
}

/* ---- sockets --------------------------------------------------------------------------------- */

/* Bound to `local`; port 0 = any. */
static int bound_socket(const union base_ep *local)
{
    int on = 1, fd = socket(local->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (bind(fd, &local->sa, base_ep_len(local)) == 0)
        return fd;
    int err = -errno;
    close(fd);
    return err;
}

static void close_reset(int fd)
{
    struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
}

/* ---- leases ---------------------------------------------------------------------------------- */

/* Listens, but a filter in the kernel drops whatever comes, before TCP could answer it. */
static int make_silent(int fd)
{
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog program = {.len = BASE_ARRAY_LEN(code), .filter = code};
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 || listen(fd, 1) < 0)
        return -errno;
    return 0;
}

static void on_lease(struct prober *p, uint64_t stamp, bool silent)
{
    uint8_t frame[128];
    struct wire_writer w;
    struct lease *lease = &p->leases[p->n_leases];
    socklen_t len = sizeof(lease->ep);
    if (p->n_leases == LEASES_MAX) {
        answer(p, stamp, WIRE_PROBED_REFUSED);
        return;
    }
    union base_ep local = p->asked;
    base_ep_set_port(&local, 0);
    int fd = bound_socket(&local);
    if (fd < 0 || (silent && make_silent(fd) < 0) || getsockname(fd, &lease->ep.sa, &len) < 0) {
        if (fd >= 0)
            close(fd);
        answer(p, stamp, WIRE_PROBED_CANNOT);
        return;
    }
    lease->fd = fd;
    lease->sees = sniffer_want(p->server, lease->ep.sa.sa_family);
    answer_begin(&w, frame, sizeof(frame), stamp, WIRE_PROBED_DONE);
    wire_put_u64(&w, WIRE_F_LEASE, p->n_leases++);
    wire_put_ep(&w, WIRE_F_STUN, &lease->ep);
    answer_send(p, &w);
}

static struct lease *lease_of(struct prober *p, const struct wire_reader *r)
{
    uint64_t n;
    return wire_get_u64(r, WIRE_F_LEASE, &n) < 0 || n >= p->n_leases ? NULL : &p->leases[n];
}

static void on_source(struct prober *p, uint64_t stamp, const struct wire_reader *r)
{
    uint8_t frame[128];
    struct wire_writer w;
    const struct lease *lease = lease_of(p, r);
    if (!lease || !lease->sees) {
        answer(p, stamp, lease ? WIRE_PROBED_CANNOT : WIRE_PROBED_REFUSED);
        return;
    }
    answer_begin(&w, frame, sizeof(frame), stamp, lease->n_sources ? WIRE_PROBED_DONE : WIRE_PROBED_NOTHING);
    if (lease->n_sources)
        wire_put_ep(&w, WIRE_F_SOURCE, &lease->sources[(lease->n_sources - 1) % SOURCES_MAX]);
    wire_put_u64(&w, WIRE_F_COUNT, lease->n_sources);
    answer_send(p, &w);
}

void prober_syn(struct server *server, const union base_ep *from, const union base_ep *to)
{
    for (struct prober *p = server->probers; p; p = p->next) {
        for (size_t i = 0; i < p->n_leases; i++) {
            struct lease *lease = &p->leases[i];
            if (base_ep_port(&lease->ep) == base_ep_port(to) &&
                (to->sa.sa_family == AF_INET6 || base_ep_same_addr(&lease->ep, to)))
                lease->sources[lease->n_sources++ % SOURCES_MAX] = *from;
        }
    }
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void prober_maybe_free(struct prober *p)
{
    if (p->conn || p->attempts)
        return;
    for (size_t i = 0; i < p->n_leases; i++) {
        close(p->leases[i].fd);
        if (p->leases[i].sees)
            sniffer_unwant(p->server, p->leases[i].ep.sa.sa_family);
    }
    if (p->prev)
        p->prev->next = p->next;
    else
        p->server->probers = p->next;
    if (p->next)
        p->next->prev = p->prev;
    free(p);
}

static void attempt_maybe_free(struct attempt *a)
{
    struct prober *p = a->prober;
    struct attempt **at = &p->attempts;
    if (!a->ended || a->ready_op.pending || a->timer_op.pending)
        return;
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    p->n_attempts--;
    free(a);
    prober_maybe_free(p);
}

static void attempt_end(struct attempt *a)
{
    if (a->ended)
        return;
    a->ended = true;
    loop_cancel(a->prober->server->loop, &a->ready_op);
    loop_cancel(a->prober->server->loop, &a->timer_op);
    close_reset(a->fd);
}

/* A RST and an ICMP error end a connect alike; only the latter is in the error queue. */
static bool read_icmp(int fd, uint64_t *icmp)
{
    char control[256];
    struct msghdr msg = {.msg_control = control, .msg_controllen = sizeof(control)};
    if (recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
        return false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        struct sock_extended_err e;
        bool ours = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
        if (!ours)
            continue;
        memcpy(&e, CMSG_DATA(c), sizeof(e));
        *icmp = (uint64_t)e.ee_type << 8 | e.ee_code;
        return e.ee_origin == SO_EE_ORIGIN_ICMP || e.ee_origin == SO_EE_ORIGIN_ICMP6;
    }
    return false;
}

static void attempt_report(struct attempt *a)
{
    uint8_t frame[128];
    struct wire_writer w;
    int err = 0;
    socklen_t len = sizeof(err);
    uint64_t icmp;
    getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &err, &len);
    if (read_icmp(a->fd, &icmp)) {
        answer_begin(&w, frame, sizeof(frame), a->stamp, WIRE_PROBED_ICMP);
        wire_put_u64(&w, WIRE_F_ICMP, icmp);
        answer_send(a->prober, &w);
        return;
    }
    answer(a->prober, a->stamp,
           err == 0                                   ? WIRE_PROBED_ESTABLISHED
           : err == ECONNREFUSED || err == ECONNRESET ? WIRE_PROBED_RST
           : err == ETIMEDOUT                         ? WIRE_PROBED_NOTHING
                                                      : WIRE_PROBED_CANNOT);
}

static void attempt_ready(struct loop_op *op, int res)
{
    struct attempt *a = op->owner;
    if (!a->ended && res >= 0) {
        attempt_report(a);
        attempt_end(a);
    }
    attempt_maybe_free(a);
}

static void attempt_late(struct loop_op *op, int res)
{
    struct attempt *a = op->owner;
    if (!a->ended && res == 0) {
        answer(a->prober, a->stamp, WIRE_PROBED_NOTHING);
        attempt_end(a);
    }
    attempt_maybe_free(a);
}

static int start_connect(const union base_ep *local, const union base_ep *to)
{
    int on = 1, repeats = SYN_REPEATS, fd = bound_socket(local);
    if (fd < 0)
        return fd;
    setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &repeats, sizeof(repeats));
    if (to->sa.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
    else
        setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
    if (connect(fd, &to->sa, base_ep_len(to)) == 0 || errno == EINPROGRESS)
        return fd;
    int err = -errno;
    close(fd);
    return err;
}

/* The address that this connection comes from, or one that a SYN to its leases came from. */
static bool may_connect(const struct prober *p, const union base_ep *to)
{
    if (base_ep_port(to) == 0 || to->sa.sa_family != p->from.sa.sa_family)
        return false;
    if (base_ep_same_addr(to, &p->from))
        return true;
    for (size_t i = 0; i < p->n_leases; i++)
        for (size_t k = 0; k < p->leases[i].n_sources && k < SOURCES_MAX; k++)
            if (base_ep_equal(to, &p->leases[i].sources[k]))
                return true;
    return false;
}

/* Where S connects from. False when it has no such endpoint. */
static bool local_of(struct prober *p, const struct wire_reader *r, union base_ep *out)
{
    uint64_t from = WIRE_FROM_LEASE;
    const struct lease *lease = lease_of(p, r);
    wire_get_u64(r, WIRE_F_FROM, &from);
    *out = from == WIRE_FROM_OTHER_ADDRESS ? p->alternate : p->asked;
    if (from == WIRE_FROM_LEASE && lease)
        *out = lease->ep;
    else
        base_ep_set_port(out, 0);
    return base_ep_is_set(out) && from <= WIRE_FROM_OTHER_ADDRESS && (from != WIRE_FROM_LEASE || lease);
}

static void on_connect(struct prober *p, uint64_t stamp, const struct wire_reader *r, uint64_t now)
{
    union base_ep to, local;
    uint64_t wait_ns = 0;
    if (wire_get_ep(r, WIRE_F_TARGET, &to) < 0 || !may_connect(p, &to) || p->n_attempts == ATTEMPTS_MAX ||
        p->n_connects == CONNECTS_MAX || wire_get_u64(r, WIRE_F_WAIT_NS, &wait_ns) < 0 || wait_ns > WAIT_MAX_NS ||
        !limits_take(p->server->probe_limits, &to, now)) {
        answer(p, stamp, WIRE_PROBED_REFUSED);
        return;
    }
    struct attempt *a = local_of(p, r, &local) ? calloc(1, sizeof(*a)) : NULL;
    int fd = a ? start_connect(&local, &to) : -ENOENT;
    if (fd < 0) {
        free(a);
        answer(p, stamp, WIRE_PROBED_CANNOT);
        return;
    }
    *a = (struct attempt){.prober = p, .next = p->attempts, .fd = fd, .stamp = stamp};
    p->attempts = a;
    p->n_attempts++;
    p->n_connects++;
    loop_op_init(&a->ready_op, attempt_ready, a);
    loop_op_init(&a->timer_op, attempt_late, a);
    loop_poll(p->server->loop, &a->ready_op, fd, POLLOUT);
    loop_timer(p->server->loop, &a->timer_op, now + wait_ns);
}

/* ---- the connection -------------------------------------------------------------------------- */

int prober_frame(struct prober *p, enum wire_frame_type type, const struct wire_reader *r, uint64_t now,
                 const char **why)
{
    uint64_t stamp, what;
    *why = "a probe that cannot be read";
    if (type != WIRE_PROBE || wire_get_u64(r, WIRE_F_STAMP, &stamp) < 0 || wire_get_u64(r, WIRE_F_PROBE, &what) < 0)
        return -EPROTO;
    switch (what) {
    case WIRE_PROBE_SILENT:
    case WIRE_PROBE_CLOSED:
        on_lease(p, stamp, what == WIRE_PROBE_SILENT);
        break;
    case WIRE_PROBE_SOURCE:
        on_source(p, stamp, r);
        break;
    case WIRE_PROBE_CONNECT:
        on_connect(p, stamp, r, now);
        break;
    default:
        answer(p, stamp, WIRE_PROBED_CANNOT);
    }
    return 0;
}

static void tell_joined(struct prober *p, uint64_t rtt_ns)
{
    static union base_ep stun[RENDEZVOUS_MAX_SITES];
    static uint8_t frame[64 * RENDEZVOUS_MAX_SITES];
    struct wire_writer w;
    size_t n = site_stun_list(p->server, &p->asked, stun, BASE_ARRAY_LEN(stun));
    wire_frame_begin(&w, frame, sizeof(frame), WIRE_JOINED);
    for (size_t i = 0; i < n; i++)
        wire_put_ep(&w, WIRE_F_STUN, &stun[i]);
    wire_put_ep(&w, WIRE_F_SEEN, &p->from);
    wire_put_u64(&w, WIRE_F_RTT_NS, rtt_ns);
    answer_send(p, &w);
}

struct prober *prober_open(struct conn *c, const struct site *site, const union base_ep *asked,
                           const union base_ep *from, uint64_t rtt_ns)
{
    struct server *server = site->server;
    struct stun_ask ask;
    struct prober *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->server = server;
    p->conn = c;
    p->asked = *asked;
    p->from = *from;
    site_ask(site, asked, &ask);
    if (ask.site[2])
        p->alternate = *ask.site[2];
    p->next = server->probers;
    if (p->next)
        p->next->prev = p;
    server->probers = p;
    tell_joined(p, rtt_ns);
    return p;
}

void prober_close(struct prober *p)
{
    p->conn = NULL;
    for (struct attempt *a = p->attempts; a; a = a->next)
        attempt_end(a);
    prober_maybe_free(p);
}
