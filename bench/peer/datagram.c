/* The registered UDP socket: STUN answers to the sampler, path messages to their paths. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/peer/internal.h"

/* Datagrams taken at one wake-up: others must get their turn. */
#define BATCH 64
/* Only proven messages make a path, so this bounds what a peer gone mad may cost. */
#define MAX_PATHS 4096

struct peer_datagrams {
    struct peer_trial *trial;
    int fd;
    struct loop_op poll_op;
    bool closing;
    uint64_t path_id; /* one for the socket: a message is proven before its path is known */
    size_t n_paths;
    uint8_t first[WIRE_PATH_LEN]; /* the opening proof, made once: a spray repeats it */
    bool have_first;
    uint64_t last_heartbeat_ns;
};

static enum wire_role other_role(const struct peer_trial *t)
{
    return peer_trial_role(t) == WIRE_ROLE_A ? WIRE_ROLE_B : WIRE_ROLE_A;
}

static struct peer_path *find_path(const struct peer_trial *t, const union base_ep *remote)
{
    for (struct peer_path *p = t->paths; p; p = p->next)
        if (base_ep_equal(&p->remote, remote))
            return p;
    return NULL;
}

int peer_datagrams_send_raw(struct peer_trial *t, const union base_ep *to, const void *buf, size_t len)
{
    ssize_t n = sendto(t->datagrams->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL, &to->sa, base_ep_len(to));
    return n < 0 ? -errno : 0;
}

static void send_message(struct peer_path *path, uint8_t extra_flags)
{
    struct peer_trial *t = path->trial;
    uint8_t buf[WIRE_PATH_LEN];
    struct wire_path_msg msg = peer_verify_out(&path->verify, (uint32_t)t->number);
    msg.flags |= extra_flags;
    wire_path_encode(&t->keys, peer_trial_role(t), &msg, buf);
    peer_trial_count(t, "packets", 1);
    peer_datagrams_send_raw(t, &path->remote, buf, sizeof(buf));
}

int peer_udp_probe(struct peer_trial *t, const union base_ep *to)
{
    struct peer_datagrams *d = t->datagrams;
    struct peer_path *path = find_path(t, to);
    if (path) {
        send_message(path, 0);
        return 0;
    }
    if (!d->have_first) {
        struct wire_path_msg msg = {.flags = WIRE_PATH_PROOF, .trial = (uint32_t)t->number, .path_id = d->path_id};
        wire_path_encode(&t->keys, peer_trial_role(t), &msg, d->first);
        d->have_first = true;
    }
    peer_trial_count(t, "packets", 1);
    return peer_datagrams_send_raw(t, to, d->first, sizeof(d->first));
}

/* ---- receiving ------------------------------------------------------------------------------- */

static struct peer_path *make_path(struct peer_datagrams *d, const union base_ep *from)
{
    struct peer_path *path = d->n_paths < MAX_PATHS ? calloc(1, sizeof(*path)) : NULL;
    if (!path)
        return NULL;
    path->send = send_message;
    peer_path_init(path, d->trial, from, false, d->path_id);
    d->n_paths++;
    return path;
}

static void path_message(struct peer_datagrams *d, const union base_ep *from, const uint8_t *buf, size_t len)
{
    struct peer_trial *t = d->trial;
    struct wire_path_msg msg;
    if (!t->have_plan || wire_path_decode(&t->keys, other_role(t), buf, len, &msg) < 0) {
        peer_trial_error(t, "strangers");
        return;
    }
    struct peer_path *path = find_path(t, from);
    if (!path)
        path = make_path(d, from);
    if (!path)
        return;
    if ((msg.flags & (WIRE_PATH_DATA | WIRE_PATH_FIN)) && path == t->chosen && t->agreed &&
        len >= WIRE_PATH_LEN + (size_t)msg.data_len)
        peer_pipe_data(t->peer, buf + WIRE_PATH_LEN, msg.data_len, msg.flags & WIRE_PATH_FIN);
    peer_path_message(path, &msg);
}

static void take(struct peer_datagrams *d, const union base_ep *from, const uint8_t *buf, size_t len)
{
    if (len > 0 && buf[0] < 4)
        peer_sampler_stun(d->trial, from, buf, len);
    else if (len > 0 && buf[0] == WIRE_PATH_MAGIC && !d->closing)
        path_message(d, from, buf, len);
    else
        peer_trial_error(d->trial, "strangers");
}

static void poll_done(struct loop_op *op, int res)
{
    struct peer_datagrams *d = op->owner;
    struct peer_trial *t = d->trial;
    for (int i = 0; i < BATCH && res > 0 && !d->closing; i++) {
        uint8_t buf[2048];
        union base_ep from = {0};
        socklen_t from_len = sizeof(from);
        ssize_t n = recvfrom(d->fd, buf, sizeof(buf), MSG_DONTWAIT, &from.sa, &from_len);
        if (n < 0 && errno != EINTR)
            break;
        if (n >= 0)
            take(d, &from, buf, (size_t)n);
    }
    if (!d->closing) {
        loop_poll(t->peer->loop, op, d->fd, POLLIN);
        return;
    }
    close(d->fd);
    t->datagrams = NULL;
    free(d);
    peer_trial_release(t);
}

/* ---- keeping alive --------------------------------------------------------------------------- */

/* RFC 4787, REQ-5: no mapping lives shorter than 2 minutes; real ones do from 10 s (Richter et al. 2016). */
#define HEARTBEAT_NS (5 * BASE_NS_PER_S)

void peer_datagrams_tick(struct peer_trial *t)
{
    if (!t->agreed) {
        for (struct peer_path *p = t->paths; p; p = p->next)
            send_message(p, 0);
        return;
    }
    uint64_t now = base_now_ns();
    if (t->chosen && now - t->datagrams->last_heartbeat_ns >= HEARTBEAT_NS) {
        t->datagrams->last_heartbeat_ns = now;
        send_message(t->chosen, WIRE_PATH_HEARTBEAT);
    }
}

int peer_datagrams_send_data(struct peer_path *path, const void *data, size_t len, bool fin)
{
    struct peer_trial *t = path->trial;
    uint8_t buf[WIRE_PATH_LEN + WIRE_PATH_MAX_DATA];
    struct wire_path_msg msg = peer_verify_out(&path->verify, (uint32_t)t->number);
    msg.flags |= (len ? WIRE_PATH_DATA : 0) | (fin ? WIRE_PATH_FIN : 0);
    msg.data_len = (uint16_t)len;
    wire_path_encode(&t->keys, peer_trial_role(t), &msg, buf);
    memcpy(buf + WIRE_PATH_LEN, data, len);
    return peer_datagrams_send_raw(t, &path->remote, buf, WIRE_PATH_LEN + len);
}

/* ---- life ------------------------------------------------------------------------------------ */

int peer_datagrams_open(struct peer_trial *t, uint16_t port)
{
    union base_ep any = {0};
    any.sa.sa_family = t->peer->config.server.sa.sa_family;
    base_ep_set_port(&any, port);
    int fd = socket(any.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    struct peer_datagrams *d = calloc(1, sizeof(*d));
    int err = d ? 0 : -ENOMEM;
    if (!err && bind(fd, &any.sa, base_ep_len(&any)) < 0)
        err = -errno;
    if (!err)
        err = base_random_bytes(&d->path_id, sizeof(d->path_id));
    if (err < 0) {
        free(d);
        close(fd);
        return err;
    }
    d->trial = t;
    d->fd = fd;
    loop_op_init(&d->poll_op, poll_done, d);
    loop_poll(t->peer->loop, &d->poll_op, fd, POLLIN);
    t->datagrams = d;
    peer_trial_hold(t);
    return 0;
}

void peer_datagrams_close(struct peer_trial *t)
{
    struct peer_datagrams *d = t->datagrams;
    if (!d || d->closing)
        return;
    d->closing = true;
    loop_cancel(t->peer->loop, &d->poll_op);
    while (t->paths) {
        struct peer_path *p = t->paths;
        t->paths = p->next;
        free(p);
    }
    t->chosen = NULL;
}
