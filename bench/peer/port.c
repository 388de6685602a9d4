/* The registered port: chosen from the seed, checked to be free, shared by all TCP sockets of the trial. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/peer/internal.h"

/* Draws before we say that the range is used up. */
#define MAX_DRAWS 256

static union base_ep wildcard(const struct peer_trial *t, uint16_t port)
{
    union base_ep any = {0};
    any.sa.sa_family = t->peer->config.server.sa.sa_family;
    base_ep_set_port(&any, port);
    return any;
}

static void set_reuse(int fd)
{
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
}

/*
 * Binding without SO_REUSEADDR finds the ports that others use, TIME_WAIT included; setting it afterwards lets the
 * trial's own sockets join (the kernel compares the flags of both sockets at the second bind).
 */
static int reserve_tcp(struct peer_trial *t, uint16_t port)
{
    union base_ep any = wildcard(t, port);
    int fd = socket(any.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, &any.sa, base_ep_len(&any)) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    set_reuse(fd);
    if (t->reserve_fd >= 0)
        close(t->reserve_fd);
    t->reserve_fd = fd;
    return 0;
}

int peer_trial_repick(struct peer_trial *t)
{
    const struct peer_config *c = &t->peer->config;
    int err = -EADDRINUSE;
    for (int i = 0; i < MAX_DRAWS && (err == -EADDRINUSE || err == -EACCES); i++) {
        t->port = (uint16_t)(c->port_lo + base_rng_below(&t->port_rng, (uint64_t)(c->port_hi - c->port_lo) + 1));
        err = peer_trial_is_tcp(t) ? reserve_tcp(t, t->port) : peer_datagrams_open(t, t->port);
    }
    return err;
}

static int registered_socket(struct peer_trial *t, int flags)
{
    union base_ep any = wildcard(t, t->port);
    int fd = socket(any.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        return -errno;
    set_reuse(fd);
    if (bind(fd, &any.sa, base_ep_len(&any)) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

int peer_tcp_socket(struct peer_trial *t)
{
    return registered_socket(t, 0);
}

int peer_tcp_listener(struct peer_trial *t, int backlog)
{
    int fd = peer_tcp_socket(t);
    if (fd >= 0 && listen(fd, backlog) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

int peer_tcp_socket_nonblocking(struct peer_trial *t)
{
    return registered_socket(t, SOCK_NONBLOCK);
}

int peer_tcp_socket_fresh(struct peer_trial *t)
{
    int fd = socket(t->peer->config.server.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}
