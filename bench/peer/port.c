/* The registered port: chosen from the seed, checked to be free, shared by all TCP sockets of the trial. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/peer/internal.h"

/* Draws before we say that the range is used up. */
#define MAX_DRAWS 256

static union base_ep wildcard(sa_family_t family, uint16_t port)
{
    union base_ep any = {0};
    any.sa.sa_family = family;
    base_ep_set_port(&any, port);
    return any;
}

static sa_family_t family_of(const struct peer_trial *t)
{
    return t->peer->config.server.sa.sa_family;
}

bool peer_trial_has_family(const struct peer_trial *t, sa_family_t family)
{
    return family == family_of(t) || (family != AF_UNSPEC && family == t->other);
}

/* Each family has the port for itself. */
static void only_its_own(int fd, sa_family_t family)
{
    int on = 1;
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
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
static int reserve_tcp(sa_family_t family, uint16_t port, int *reserved)
{
    union base_ep any = wildcard(family, port);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    only_its_own(fd, family);
    if (bind(fd, &any.sa, base_ep_len(&any)) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    set_reuse(fd);
    if (*reserved >= 0)
        close(*reserved);
    *reserved = fd;
    return 0;
}

/* In both families. Without the other one, but for its port being taken, the trial goes on. */
static int reserve_both(struct peer_trial *t, uint16_t port)
{
    int err = reserve_tcp(family_of(t), port, &t->reserve_fd);
    if (err < 0 || t->other == AF_UNSPEC)
        return err;
    err = reserve_tcp(t->other, port, &t->reserve_other_fd);
    if (err < 0 && err != -EADDRINUSE)
        t->other = AF_UNSPEC;
    return err == -EADDRINUSE ? err : 0;
}

int peer_trial_repick(struct peer_trial *t)
{
    const struct peer_config *c = &t->peer->config;
    int err = -EADDRINUSE;
    t->other = peer_private_other(t);
    for (int i = 0; i < MAX_DRAWS && (err == -EADDRINUSE || err == -EACCES); i++) {
        t->port = (uint16_t)(c->port_lo + base_rng_below(&t->port_rng, (uint64_t)(c->port_hi - c->port_lo) + 1));
        err = peer_trial_is_tcp(t) ? reserve_both(t, t->port) : peer_datagrams_open(t, t->port);
    }
    return err;
}

static int registered_socket(const struct peer_trial *t, sa_family_t family, int flags)
{
    union base_ep any = wildcard(family, t->port);
    if (!peer_trial_has_family(t, family))
        return -EAFNOSUPPORT;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        return -errno;
    only_its_own(fd, family);
    set_reuse(fd);
    if (bind(fd, &any.sa, base_ep_len(&any)) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

int peer_tcp_socket_of(struct peer_trial *t, sa_family_t family)
{
    return registered_socket(t, family, 0);
}

int peer_tcp_socket(struct peer_trial *t)
{
    return peer_tcp_socket_of(t, family_of(t));
}

int peer_tcp_listener_of(struct peer_trial *t, sa_family_t family, int backlog)
{
    int fd = peer_tcp_socket_of(t, family);
    if (fd >= 0 && listen(fd, backlog) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

int peer_tcp_listener(struct peer_trial *t, int backlog)
{
    return peer_tcp_listener_of(t, family_of(t), backlog);
}

int peer_tcp_socket_nonblocking(struct peer_trial *t)
{
    return registered_socket(t, family_of(t), SOCK_NONBLOCK);
}

int peer_tcp_socket_fresh(struct peer_trial *t)
{
    int fd = socket(family_of(t), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}
