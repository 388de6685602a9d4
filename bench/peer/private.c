/* The addresses that this host has by itself. */
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

#include "bench/peer/internal.h"

static void add_private(struct peer_facts *f, union base_ep ep, uint16_t port)
{
    base_ep_set_port(&ep, port);
    for (size_t i = 0; i < f->n_private; i++)
        if (base_ep_equal(&f->private_eps[i], &ep))
            return;
    if (f->n_private < PEER_MAX_PRIVATE)
        f->private_eps[f->n_private++] = ep;
}

void peer_private_list(struct peer_trial *t)
{
    struct peer_facts *f = &t->ours;
    union base_ep way_out = t->peer->local;
    struct ifaddrs *all = NULL;
    if (!base_ep_is_any(&way_out))
        add_private(f, way_out, t->port);
    if (getifaddrs(&all) < 0)
        return;
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != way_out.sa.sa_family || (i->ifa_flags & IFF_LOOPBACK))
            continue;
        union base_ep ep = {0};
        memcpy(&ep, i->ifa_addr,
               i->ifa_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
        /* Link-local addresses need a scope that means nothing to the other host. */
        if (ep.sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&ep.v6.sin6_addr))
            continue;
        add_private(f, ep, t->port);
    }
    freeifaddrs(all);
}
