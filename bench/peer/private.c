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

/* Loopback leads nowhere; link-local addresses need a scope that means nothing to the other host. */
static bool usable(const struct ifaddrs *i, union base_ep *out)
{
    *out = (union base_ep){0};
    if (!i->ifa_addr || (i->ifa_flags & IFF_LOOPBACK))
        return false;
    if (i->ifa_addr->sa_family == AF_INET6) {
        memcpy(&out->v6, i->ifa_addr, sizeof(out->v6));
        return !IN6_IS_ADDR_LINKLOCAL(&out->v6.sin6_addr);
    }
    if (i->ifa_addr->sa_family != AF_INET)
        return false;
    memcpy(&out->v4, i->ifa_addr, sizeof(out->v4));
    return true;
}

static bool races_families(const struct peer_trial *t)
{
    const char *mode = peer_option_text(&t->peer->config.options, "mode");
    for (const char *const *m = t->technique->dual_modes; m && *m; m++)
        if (strcmp(*m, mode) == 0)
            return true;
    return false;
}

sa_family_t peer_private_other(const struct peer_trial *t)
{
    sa_family_t other = t->peer->config.server.sa.sa_family == AF_INET ? AF_INET6 : AF_INET, found = AF_UNSPEC;
    struct ifaddrs *all = NULL;
    union base_ep ep;
    if (!races_families(t) || getifaddrs(&all) < 0)
        return AF_UNSPEC;
    for (struct ifaddrs *i = all; i; i = i->ifa_next)
        if (usable(i, &ep) && ep.sa.sa_family == other)
            found = other;
    freeifaddrs(all);
    return found;
}

void peer_private_list(struct peer_trial *t)
{
    struct peer_facts *f = &t->ours;
    union base_ep way_out = t->peer->local, ep;
    struct ifaddrs *all = NULL;
    if (!base_ep_is_any(&way_out))
        add_private(f, way_out, t->port);
    if (getifaddrs(&all) < 0)
        return;
    for (struct ifaddrs *i = all; i; i = i->ifa_next)
        if (usable(i, &ep) && (ep.sa.sa_family == way_out.sa.sa_family || ep.sa.sa_family == t->other))
            add_private(f, ep, t->port);
    freeifaddrs(all);
}

static bool is_public4(uint32_t a)
{
    static const struct {
        uint32_t net, mask;
    } others[] = {
        {0x0a000000, 0xff000000}, {0xac100000, 0xfff00000}, {0xc0a80000, 0xffff0000},
        {0x64400000, 0xffc00000}, {0xa9fe0000, 0xffff0000}, {0x7f000000, 0xff000000},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(others); i++)
        if ((a & others[i].mask) == others[i].net)
            return false;
    return true;
}

bool peer_is_public(const union base_ep *ep)
{
    if (ep->sa.sa_family == AF_INET)
        return is_public4(ntohl(ep->v4.sin_addr.s_addr));
    return (ep->v6.sin6_addr.s6_addr[0] & 0xe0) == 0x20; /* 2000::/3, RFC 4291 2.4 and IANA */
}
