/*
 * UDP sockets: the registered one (in both families where those are raced), and the further ones of a prober, whose
 * ports the kernel chooses. STUN answers go to the sampler, path messages to their paths. A path is of one socket and
 * one remote endpoint.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/peer/internal.h"

/* Datagrams taken at one wake-up: others must get their turn. */
#define BATCH 64
/* The same of each further socket: one of them hears of one path. */
#define EXTRA_BATCH 4
/* Only proven messages make a path, so this bounds what a peer gone mad may cost. */
#define MAX_PATHS 4096
/* Answered paths that are repeated at one tick, until one is agreed. Where many answer, each gets its turn. */
#define TICK_PATHS 64
/* Where a spray lands many answers come at once; the kernel cuts this to net.core.rmem_max. */
#define RECEIVE_BUFFER (1 << 20)

struct peer_socket {
    struct peer_datagrams *datagrams;
    int fd; /* -1 = a carrier's */
    peer_carrier_fn *carrier;
    void *carrier_owner;
    uint64_t path_id;             /* one for the socket: a message is proven before its path is known */
    uint8_t first[WIRE_PATH_LEN]; /* the opening proof, made once: a spray repeats it */
    bool have_first;
};

struct peer_datagrams {
    struct peer_trial *trial;
    struct peer_socket registered, other; /* the registered port in S's family, and in the other one */
    struct peer_socket **extra;
    unsigned n_extra;
    int epoll_fd; /* of the extra ones; -1 = none */
    struct loop_op poll_op, other_op, epoll_op;
    bool closing;
    size_t n_paths, next_tick;
    uint64_t heartbeat_ns, last_heartbeat_ns;
};

struct datagram_path {
    struct peer_path path; /* first: a struct peer_path of this file is one of these */
    struct peer_socket *socket;
};

static enum wire_role other_role(const struct peer_trial *t)
{
    return peer_trial_role(t) == WIRE_ROLE_A ? WIRE_ROLE_B : WIRE_ROLE_A;
}

static struct peer_socket *socket_of(const struct peer_path *path)
{
    return ((const struct datagram_path *)path)->socket;
}

static struct peer_path *find_path(const struct peer_socket *socket, const union base_ep *remote)
{
    for (struct peer_path *p = socket->datagrams->trial->paths; p; p = p->next)
        if (socket_of(p) == socket && base_ep_equal(&p->remote, remote))
            return p;
    return NULL;
}

/* ---- sending --------------------------------------------------------------------------------- */

static int send_to(const struct peer_socket *socket, const union base_ep *to, const void *buf, size_t len)
{
    if (socket->carrier)
        return socket->carrier(socket->carrier_owner, to, buf, len);
    ssize_t n = sendto(socket->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL, &to->sa, base_ep_len(to));
    return n < 0 ? -errno : 0;
}

int peer_datagrams_send_raw(struct peer_trial *t, const union base_ep *to, const void *buf, size_t len)
{
    return send_to(&t->datagrams->registered, to, buf, len);
}

int peer_datagrams_send_from(struct peer_trial *t, unsigned socket, const union base_ep *to, const void *buf,
                             size_t len)
{
    struct peer_datagrams *d = t->datagrams;
    return socket > d->n_extra ? -EBADF : send_to(socket ? d->extra[socket - 1] : &d->registered, to, buf, len);
}

static void send_message(struct peer_path *path, uint8_t extra_flags)
{
    struct peer_trial *t = path->trial;
    uint8_t buf[WIRE_PATH_LEN];
    struct wire_path_msg msg = peer_verify_out(&path->verify, (uint32_t)t->number);
    msg.flags |= extra_flags;
    wire_path_encode(&t->keys, peer_trial_role(t), &msg, buf);
    peer_trial_count(t, "packets", 1);
    send_to(socket_of(path), &path->remote, buf, sizeof(buf));
}

static const uint8_t *first_proof(struct peer_socket *socket)
{
    struct peer_trial *t = socket->datagrams->trial;
    if (!socket->have_first) {
        struct wire_path_msg msg = {.flags = WIRE_PATH_PROOF, .trial = (uint32_t)t->number, .path_id = socket->path_id};
        wire_path_encode(&t->keys, peer_trial_role(t), &msg, socket->first);
        socket->have_first = true;
    }
    return socket->first;
}

/* Room for one IP_TTL or IPV6_HOPLIMIT. */
union ttl_control {
    struct cmsghdr align;
    char buf[CMSG_SPACE(sizeof(int))];
};

/* The time to live goes with the packet, not with the socket: answers from the same socket must arrive. */
static void set_ttl(struct msghdr *msg, union ttl_control *control, sa_family_t family, int ttl)
{
    if (ttl <= 0)
        return;
    memset(control, 0, sizeof(*control));
    msg->msg_control = control->buf;
    msg->msg_controllen = sizeof(control->buf);
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    c->cmsg_level = family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
    c->cmsg_type = family == AF_INET6 ? IPV6_HOPLIMIT : IP_TTL;
    c->cmsg_len = CMSG_LEN(sizeof(ttl));
    memcpy(CMSG_DATA(c), &ttl, sizeof(ttl));
}

static int probe_batch(struct peer_socket *socket, const union base_ep *to, size_t n, int ttl)
{
    struct mmsghdr batch[PEER_UDP_BATCH];
    union ttl_control control;
    struct iovec proof = {(void *)(uintptr_t)first_proof(socket), WIRE_PATH_LEN};
    memset(batch, 0, n * sizeof(batch[0]));
    for (size_t i = 0; i < n; i++) {
        struct msghdr *msg = &batch[i].msg_hdr;
        msg->msg_name = (void *)(uintptr_t)&to[i];
        msg->msg_namelen = base_ep_len(&to[i]);
        msg->msg_iov = &proof;
        msg->msg_iovlen = 1;
        set_ttl(msg, &control, to[i].sa.sa_family, ttl);
    }
    int sent = sendmmsg(socket->fd, batch, (unsigned)n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        return -errno;
    peer_trial_count(socket->datagrams->trial, "packets", (uint64_t)sent);
    return sent;
}

static int probe_carried(struct peer_socket *socket, const union base_ep *to, size_t n)
{
    int err = 0;
    size_t sent = 0;
    while (sent < n && (err = send_to(socket, &to[sent], first_proof(socket), WIRE_PATH_LEN)) == 0)
        sent++;
    peer_trial_count(socket->datagrams->trial, "packets", sent);
    return sent ? (int)sent : err;
}

int peer_udp_probe_many(struct peer_trial *t, unsigned socket, const union base_ep *to, size_t n, int ttl)
{
    struct peer_datagrams *d = t->datagrams;
    if (socket > d->n_extra || n == 0)
        return n ? -EBADF : 0;
    if (socket && d->extra[socket - 1]->carrier)
        return probe_carried(d->extra[socket - 1], to, n);
    return probe_batch(socket ? d->extra[socket - 1] : &d->registered, to, n < PEER_UDP_BATCH ? n : PEER_UDP_BATCH,
                       ttl);
}

int peer_udp_probe(struct peer_trial *t, const union base_ep *to)
{
    struct peer_datagrams *d = t->datagrams;
    bool other = to->sa.sa_family != t->peer->config.server.sa.sa_family;
    struct peer_socket *socket = other ? &d->other : &d->registered;
    if (socket->fd < 0)
        return -EAFNOSUPPORT;
    struct peer_path *path = find_path(socket, to);
    if (path) {
        send_message(path, 0);
        return 0;
    }
    peer_trial_count(t, "packets", 1);
    return send_to(socket, to, first_proof(socket), WIRE_PATH_LEN);
}

static int send_body(struct peer_path *path, uint8_t flags, const void *data, size_t len)
{
    struct peer_trial *t = path->trial;
    uint8_t buf[WIRE_PATH_LEN + WIRE_PATH_MAX_DATA];
    struct wire_path_msg msg = peer_verify_out(&path->verify, (uint32_t)t->number);
    msg.flags |= flags;
    msg.data_len = (uint16_t)len;
    wire_path_encode(&t->keys, peer_trial_role(t), &msg, buf);
    memcpy(buf + WIRE_PATH_LEN, data, len);
    return send_to(socket_of(path), &path->remote, buf, WIRE_PATH_LEN + len);
}

int peer_datagrams_send_data(struct peer_path *path, const void *data, size_t len, bool fin)
{
    return send_body(path, (uint8_t)((len ? WIRE_PATH_DATA : 0) | (fin ? WIRE_PATH_FIN : 0)), data, len);
}

static int measure(struct peer_path *path, const void *data, size_t len)
{
    return send_body(path, WIRE_PATH_MEASURE, data, len);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static struct peer_path *make_path(struct peer_socket *socket, const union base_ep *from)
{
    struct peer_datagrams *d = socket->datagrams;
    struct datagram_path *path = d->n_paths < MAX_PATHS ? calloc(1, sizeof(*path)) : NULL;
    if (!path)
        return NULL;
    path->path.send = send_message;
    path->path.measure = measure;
    path->socket = socket;
    peer_path_init(&path->path, d->trial, from, false, socket->path_id);
    if (socket->carrier)
        path->path.kind = PEER_PATH_RELAY;
    peer_trial_count(d->trial, "paths", 1);
    d->n_paths++;
    return &path->path;
}

static void path_message(struct peer_socket *socket, const union base_ep *from, const uint8_t *buf, size_t len)
{
    struct peer_trial *t = socket->datagrams->trial;
    struct wire_path_msg msg;
    if (!t->have_plan || wire_path_decode(&t->keys, other_role(t), buf, len, &msg) < 0) {
        peer_trial_error(t, "strangers");
        return;
    }
    struct peer_path *path = find_path(socket, from);
    if (!path)
        path = make_path(socket, from);
    if (!path)
        return;
    bool whole = path == t->chosen && t->agreed && len >= WIRE_PATH_LEN + (size_t)msg.data_len;
    if ((msg.flags & WIRE_PATH_MEASURE) && whole) {
        peer_quality_message(t, buf + WIRE_PATH_LEN, msg.data_len, base_now_ns());
        return;
    }
    if ((msg.flags & (WIRE_PATH_DATA | WIRE_PATH_FIN)) && whole)
        peer_pipe_data(t->peer, buf + WIRE_PATH_LEN, msg.data_len, msg.flags & WIRE_PATH_FIN);
    peer_path_message(path, &msg);
}

static bool is_server(const struct peer_trial *t, const union base_ep *from)
{
    for (size_t i = 0; i < t->peer->n_stun; i++)
        if (base_ep_equal(&t->peer->stun[i], from))
            return true;
    return false;
}

static void take(struct peer_socket *socket, const union base_ep *from, const uint8_t *buf, size_t len)
{
    struct peer_trial *t = socket->datagrams->trial;
    if (len > 0 && buf[0] < 4 && is_server(t, from)) {
        peer_sampler_stun(t, from, buf, len);
        peer_resample_stun(t, buf, len);
    } else if (len > 0 && buf[0] == WIRE_PATH_MAGIC) {
        path_message(socket, from, buf, len);
    } else {
        peer_trial_error(t, "strangers");
    }
}

static void receive(struct peer_socket *socket, int limit)
{
    for (int i = 0; i < limit && !socket->datagrams->closing; i++) {
        uint8_t buf[2048];
        union base_ep from = {0};
        socklen_t from_len = sizeof(from);
        ssize_t n = recvfrom(socket->fd, buf, sizeof(buf), MSG_DONTWAIT, &from.sa, &from_len);
        if (n < 0 && errno != EINTR)
            break;
        if (n >= 0)
            take(socket, &from, buf, (size_t)n);
    }
}

static void maybe_free(struct peer_datagrams *d)
{
    struct peer_trial *t = d->trial;
    if (!d->closing || d->poll_op.pending || d->other_op.pending || d->epoll_op.pending)
        return;
    for (unsigned i = 0; i < d->n_extra; i++) {
        if (d->extra[i]->fd >= 0)
            close(d->extra[i]->fd);
        free(d->extra[i]);
    }
    free(d->extra);
    if (d->epoll_fd >= 0)
        close(d->epoll_fd);
    close(d->registered.fd);
    if (d->other.fd >= 0)
        close(d->other.fd);
    t->datagrams = NULL;
    free(d);
    peer_trial_release(t);
}

static void poll_done(struct loop_op *op, int res)
{
    struct peer_datagrams *d = op->owner;
    if (res > 0)
        receive(&d->registered, BATCH);
    if (!d->closing)
        loop_poll(d->trial->peer->loop, op, d->registered.fd, POLLIN);
    maybe_free(d);
}

static void other_done(struct loop_op *op, int res)
{
    struct peer_datagrams *d = op->owner;
    if (res > 0)
        receive(&d->other, BATCH);
    if (!d->closing)
        loop_poll(d->trial->peer->loop, op, d->other.fd, POLLIN);
    maybe_free(d);
}

static void epoll_done(struct loop_op *op, int res)
{
    struct peer_datagrams *d = op->owner;
    struct epoll_event events[BATCH];
    int n = res > 0 && !d->closing ? epoll_wait(d->epoll_fd, events, BATCH, 0) : 0;
    for (int i = 0; i < n && !d->closing; i++)
        receive(events[i].data.ptr, EXTRA_BATCH);
    if (!d->closing)
        loop_poll(d->trial->peer->loop, op, d->epoll_fd, POLLIN);
    maybe_free(d);
}

/* ---- keeping alive --------------------------------------------------------------------------- */

/* S's answer shows that the mapping stands; nobody waits for it. */
static void heartbeat_to_server(struct peer_trial *t)
{
    uint8_t request[WIRE_STUN_HEADER_LEN + 8], txid[WIRE_STUN_TXID_LEN];
    struct wire_stun_writer w;
    if (t->peer->n_stun == 0 || base_random_bytes(txid, sizeof(txid)) < 0)
        return;
    wire_stun_begin(&w, request, sizeof(request), WIRE_STUN_REQUEST, WIRE_STUN_BINDING, txid);
    int len = wire_stun_end(&w, true);
    if (len > 0)
        peer_datagrams_send_raw(t, &t->peer->stun[0], request, (size_t)len);
}

/* Some of the answered paths, each in its turn. */
static void repeat_paths(struct peer_datagrams *d)
{
    size_t i = 0, from = d->n_paths > TICK_PATHS ? d->next_tick % d->n_paths : 0;
    for (struct peer_path *p = d->trial->paths; p; p = p->next, i++)
        if (i >= from && i < from + TICK_PATHS)
            send_message(p, 0);
    d->next_tick = from + TICK_PATHS;
}

void peer_datagrams_tick(struct peer_trial *t)
{
    struct peer_datagrams *d = t->datagrams;
    uint64_t now = base_now_ns();
    bool due = d->heartbeat_ns && now - d->last_heartbeat_ns >= d->heartbeat_ns;
    if (due)
        d->last_heartbeat_ns = now;
    if (!t->agreed) {
        peer_path_rechoose(t);
        repeat_paths(d);
        if (due)
            heartbeat_to_server(t);
    } else if (due && t->chosen && !t->hold.on) {
        send_message(t->chosen, WIRE_PATH_HEARTBEAT);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

/* port 0: the kernel's choice. */
static int socket_open(struct peer_socket *socket_out, sa_family_t family, uint16_t port)
{
    union base_ep any = {0};
    int room = RECEIVE_BUFFER, on = 1;
    any.sa.sa_family = family;
    base_ep_set_port(&any, port);
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, &any.sa, base_ep_len(&any)) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    if (port)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    socket_out->fd = fd;
    return 0;
}

/* The registered port, in both families where those are raced. Without the other one, but for its port being taken, the
 * trial goes on. */
static int open_registered(struct peer_datagrams *d, uint16_t port)
{
    struct peer_trial *t = d->trial;
    d->epoll_fd = d->other.fd = -1;
    d->registered.datagrams = d->other.datagrams = d;
    int err = base_random_bytes(&d->registered.path_id, sizeof(d->registered.path_id));
    if (err < 0)
        return err;
    d->other.path_id = d->registered.path_id - 1;
    err = socket_open(&d->registered, t->peer->config.server.sa.sa_family, port);
    if (err < 0 || t->other == AF_UNSPEC)
        return err;
    err = socket_open(&d->other, t->other, port);
    if (err == -EADDRINUSE)
        close(d->registered.fd);
    else if (err < 0)
        t->other = AF_UNSPEC;
    return err == -EADDRINUSE ? err : 0;
}

int peer_datagrams_open(struct peer_trial *t, uint16_t port)
{
    struct peer_datagrams *d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    d->trial = t;
    int err = open_registered(d, port);
    if (err < 0) {
        free(d);
        return err;
    }
    const struct peer_options *o = &t->peer->config.options;
    d->heartbeat_ns = peer_options_find(o, "keepalive") ? peer_option_u64(o, "keepalive") : 0;
    d->last_heartbeat_ns = base_now_ns();
    loop_op_init(&d->poll_op, poll_done, d);
    loop_op_init(&d->other_op, other_done, d);
    loop_op_init(&d->epoll_op, epoll_done, d);
    loop_poll(t->peer->loop, &d->poll_op, d->registered.fd, POLLIN);
    if (d->other.fd >= 0)
        loop_poll(t->peer->loop, &d->other_op, d->other.fd, POLLIN);
    t->datagrams = d;
    peer_trial_hold(t);
    return 0;
}

/* Room for one more, and the descriptor that they all wait in. */
static int extra_room(struct peer_datagrams *d)
{
    if ((d->n_extra & (d->n_extra - 1)) == 0) {
        unsigned cap = d->n_extra ? 2 * d->n_extra : 1;
        struct peer_socket **grown = realloc(d->extra, cap * sizeof(struct peer_socket *));
        if (!grown)
            return -ENOMEM;
        d->extra = grown;
    }
    if (d->epoll_fd >= 0)
        return 0;
    d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (d->epoll_fd < 0)
        return -errno;
    loop_poll(d->trial->peer->loop, &d->epoll_op, d->epoll_fd, POLLIN);
    return 0;
}

/* Takes it over: numbered, with a path id of its own. */
static int add_extra(struct peer_datagrams *d, struct peer_socket *s)
{
    d->extra[d->n_extra++] = s;
    /* Distinct is enough: no answer to one socket counts for another. The first one is random. */
    s->path_id = d->registered.path_id + d->n_extra;
    first_proof(s);
    return (int)d->n_extra;
}

int peer_udp_socket(struct peer_trial *t)
{
    struct peer_datagrams *d = t->datagrams;
    int err = extra_room(d);
    struct peer_socket *s = err == 0 ? calloc(1, sizeof(*s)) : NULL;
    if (!s)
        return err ? err : -ENOMEM;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    s->datagrams = d;
    err = socket_open(s, d->trial->peer->config.server.sa.sa_family, 0);
    if (err < 0) {
        free(s);
        return err;
    }
    if (epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, s->fd, &event) < 0) {
        err = -errno;
        close(s->fd);
        free(s);
        return err;
    }
    return add_extra(d, s);
}

int peer_udp_carrier(struct peer_trial *t, peer_carrier_fn *send, void *owner)
{
    struct peer_datagrams *d = t->datagrams;
    int err = extra_room(d);
    struct peer_socket *s = err == 0 ? calloc(1, sizeof(*s)) : NULL;
    if (!s)
        return err ? err : -ENOMEM;
    *s = (struct peer_socket){.datagrams = d, .fd = -1, .carrier = send, .carrier_owner = owner};
    return add_extra(d, s);
}

void peer_udp_carried(struct peer_trial *t, unsigned carrier, const union base_ep *from, const uint8_t *buf, size_t len)
{
    struct peer_datagrams *d = t->datagrams;
    if (d && !d->closing && carrier >= 1 && carrier <= d->n_extra)
        take(d->extra[carrier - 1], from, buf, len);
}

void peer_datagrams_close(struct peer_trial *t)
{
    struct peer_datagrams *d = t->datagrams;
    if (!d || d->closing)
        return;
    d->closing = true;
    loop_cancel(t->peer->loop, &d->poll_op);
    loop_cancel(t->peer->loop, &d->other_op);
    loop_cancel(t->peer->loop, &d->epoll_op);
    while (t->paths) {
        struct peer_path *p = t->paths;
        t->paths = p->next;
        free(p);
    }
    t->chosen = NULL;
    maybe_free(d);
}
