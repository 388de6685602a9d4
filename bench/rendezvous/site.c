/* Where S is reachable: which endpoints there are, which one stands in for which, and their sockets. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bench/rendezvous/internal.h"

#define BACKLOG 4096
/* A burst of a few thousand requests fits while we are busy elsewhere; the kernel caps it. */
#define RECEIVE_BUFFER (4 * 1024 * 1024)

static bool add(struct site *sites, size_t *n, union base_ep ep)
{
    for (size_t i = 0; i < *n; i++)
        if (base_ep_equal(&sites[i].ep, &ep))
            return false;
    sites[*n] = (struct site){.ep = ep, .udp_fd = -1, .tcp_fd = -1, .any = base_ep_is_any(&ep)};
    for (size_t i = 0; i < 4; i++)
        sites[*n].twin[i] = i ? SIZE_MAX : *n;
    (*n)++;
    return true;
}

static size_t find(const struct site *sites, size_t n, const union base_ep *addr, uint16_t port)
{
    for (size_t i = 0; i < n; i++)
        if (base_ep_same_addr(&sites[i].ep, addr) && base_ep_port(&sites[i].ep) == port)
            return i;
    return SIZE_MAX;
}

/* The first site of that address. */
static size_t find_addr(const struct site *sites, size_t n, const union base_ep *addr)
{
    size_t i = 0;
    while (i < n && !base_ep_same_addr(&sites[i].ep, addr))
        i++;
    return i;
}

/* The port that a site changes to: ports go in pairs, so that changing twice leads back; an odd last one goes with the
 * first. */
static uint16_t other_port(const struct rendezvous_config *config, uint16_t port)
{
    size_t n = config->n_listen;
    if (n == 1)
        return base_ep_port(&config->listen[0]) == port ? (uint16_t)(port + 1) : base_ep_port(&config->listen[0]);
    for (size_t i = 0; i < n; i++) {
        if (base_ep_port(&config->listen[i]) != port)
            continue;
        return base_ep_port(&config->listen[(i ^ 1) < n ? (i ^ 1) : 0]);
    }
    return 0;
}

static void pair(const struct rendezvous_config *config, struct site *sites, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct site *s = &sites[i];
        bool alternate = base_ep_same_addr(&s->ep, &config->alternate);
        const union base_ep *addr = alternate ? &config->listen[0] : &config->alternate;
        uint16_t port = base_ep_port(&s->ep), changed = other_port(config, port);
        s->twin[1] = find(sites, n, &s->ep, changed);
        s->twin[2] = find(sites, n, addr, port);
        s->twin[3] = find(sites, n, addr, changed);
    }
}

/* Without an alternate address: at least another port of the same one, where there is one. */
static void pair_ports(struct site *sites, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 1; k < n && sites[i].twin[1] == SIZE_MAX; k++)
            if (base_ep_same_addr(&sites[i].ep, &sites[(i + k) % n].ep))
                sites[i].twin[1] = (i + k) % n;
}

/* RFC 5780 needs one address with two ports, and another with the same two. */
static const char *alternate_fits(const struct rendezvous_config *config)
{
    for (size_t i = 0; i < config->n_listen; i++) {
        if (config->listen[i].sa.sa_family != config->alternate.sa.sa_family)
            return "--alternate and --listen must be of one family, IPv4 or IPv6";
        if (base_ep_is_any(&config->listen[i]))
            return "--alternate needs --listen with an address of its own, not 0.0.0.0 or [::]";
        if (base_ep_same_addr(&config->listen[i], &config->alternate))
            return "--alternate must be another address than --listen";
        if (!base_ep_same_addr(&config->listen[i], &config->listen[0]))
            return "with --alternate, every --listen must have the same address";
    }
    if (config->n_listen == 1 && base_ep_port(&config->listen[0]) == 65535)
        return "--alternate also uses the next port: choose a --listen port below 65535, or give two";
    return NULL;
}

static void add_alternates(const struct rendezvous_config *config, struct site *sites, size_t *n)
{
    if (config->n_listen == 1) {
        union base_ep second = config->listen[0];
        base_ep_set_port(&second, (uint16_t)(base_ep_port(&second) + 1));
        add(sites, n, second);
    }
    size_t primary = *n;
    for (size_t i = 0; i < primary; i++) {
        union base_ep ep = config->alternate;
        base_ep_set_port(&ep, base_ep_port(&sites[i].ep));
        add(sites, n, ep);
    }
    pair(config, sites, *n);
}

/*
 * Further ports on every address, so that one round trip shows as many mappings as a predictor wants. They answer like
 * the others, but have no twins: CHANGE-REQUEST is for the ports that were named.
 */
static const char *add_samples(const struct rendezvous_config *config, struct site *sites, size_t *n)
{
    size_t named = *n;
    uint64_t first = config->sample_first;
    for (size_t i = 0; i < named && !config->sample_first; i++)
        first = base_ep_port(&sites[i].ep) >= first ? base_ep_port(&sites[i].ep) + 1U : first;
    if (first + config->sample_ports - 1 > UINT16_MAX)
        return "--sample-ports reach beyond 65535: name a lower first one, as --sample-ports 16@40000";
    for (uint64_t port = first; port < first + config->sample_ports; port++) {
        for (size_t i = 0; i < named; i++) {
            union base_ep ep = sites[i].ep;
            if (find_addr(sites, named, &ep) < i)
                continue;
            if (*n == RENDEZVOUS_MAX_SITES)
                return "--sample-ports on that many addresses are too many: ask for fewer";
            base_ep_set_port(&ep, (uint16_t)port);
            if (!add(sites, n, ep))
                return "--sample-ports overlap a --listen port: name another first one, as --sample-ports 16@40000";
            sites[*n - 1].sample = true;
        }
    }
    return NULL;
}

static int refuse(char *why, size_t cap, const char *text)
{
    snprintf(why, cap, "%s", text);
    return -EINVAL;
}

int site_plan(const struct rendezvous_config *config, struct site *sites, size_t *n, char *why, size_t cap)
{
    char text[BASE_EP_STRLEN];
    *n = 0;
    for (size_t i = 0; i < config->n_listen; i++) {
        if (!add(sites, n, config->listen[i])) {
            snprintf(why, cap, "--listen %s is there twice", base_ep_format(&config->listen[i], text));
            return -EINVAL;
        }
    }
    const char *bad = base_ep_is_set(&config->alternate) ? alternate_fits(config) : NULL;
    if (bad)
        return refuse(why, cap, bad);
    if (base_ep_is_set(&config->alternate))
        add_alternates(config, sites, n);
    else
        pair_ports(sites, *n);
    bad = config->sample_ports ? add_samples(config, sites, n) : NULL;
    return bad ? refuse(why, cap, bad) : 0;
}

/* ---- sockets --------------------------------------------------------------------------------- */

static int bind_socket(int fd, const struct site *site)
{
    int on = 1;
    /* Each family on its own: an IPv4 peer behind a mapped address would look like an IPv6 one to its NAT's samples. */
    if (site->ep.sa.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
        return -errno;
    return bind(fd, &site->ep.sa, base_ep_len(&site->ep)) < 0 ? -errno : 0;
}

static int open_tcp(struct site *site)
{
    int on = 1, fd = socket(site->ep.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    site->tcp_fd = fd;
    /* A restarted server must not wait for its old connections' TIME_WAIT. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    int err = bind_socket(fd, site);
    return err < 0 ? err : listen(fd, BACKLOG) < 0 ? -errno : 0;
}

static int open_udp(struct site *site)
{
    int on = 1, size = RECEIVE_BUFFER, fd = socket(site->ep.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    site->udp_fd = fd;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    bool v6 = site->ep.sa.sa_family == AF_INET6;
    if (site->any &&
        setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &on, sizeof(on)) < 0)
        return -errno;
    return bind_socket(fd, site);
}

int site_open(struct site *site, const char **what)
{
    *what = "TCP";
    int err = open_tcp(site);
    if (err < 0)
        return err;
    *what = "UDP";
    return open_udp(site);
}

void site_close(struct site *site)
{
    if (site->udp_fd >= 0)
        close(site->udp_fd);
    if (site->tcp_fd >= 0)
        close(site->tcp_fd);
    site->udp_fd = site->tcp_fd = -1;
}

static size_t list_add(union base_ep *out, size_t n, size_t max, const union base_ep *ep)
{
    for (size_t i = 0; i < n; i++)
        if (base_ep_equal(&out[i], ep))
            return n;
    if (n < max)
        out[n++] = *ep;
    return n;
}

size_t site_stun_list(const struct server *server, const union base_ep *asked, union base_ep *out, size_t max)
{
    size_t n = list_add(out, 0, max, asked);
    for (size_t i = 0; i < server->n_sites; i++) {
        const struct site *site = &server->sites[i];
        union base_ep ep = site->ep;
        if (ep.sa.sa_family != asked->sa.sa_family)
            continue;
        if (site->any) {
            ep = *asked;
            base_ep_set_port(&ep, base_ep_port(&site->ep));
        }
        n = list_add(out, n, max, &ep);
    }
    return n;
}

void site_ask(const struct site *site, const union base_ep *asked, struct stun_ask *ask)
{
    ask->site[0] = asked;
    for (size_t i = 1; i < 4; i++)
        ask->site[i] = site->twin[i] == SIZE_MAX ? NULL : &site->server->sites[site->twin[i]].ep;
}
