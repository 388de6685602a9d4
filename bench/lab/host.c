#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/lab/internal.h"
#include "bench/lab/netns.h"

int lab_host_fail(const struct lab_host *host, int res, const char *what, char err[LAB_ERROR_LEN])
{
    snprintf(err, LAB_ERROR_LEN, "host %s: %s: %s", host->name, what, strerror(-res));
    return res;
}

void lab_host_quiet(bool ipv6)
{
    /* Where one of these is missing the kernel lacks IPv6 or the feature, and there is nothing to silence. */
    if (!ipv6) {
        lab_ns_sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        lab_ns_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    }
    lab_ns_sysctl("net/ipv6/conf/default/accept_ra", "0");
    lab_ns_sysctl("net/ipv6/conf/default/autoconf", "0");
    lab_ns_sysctl("net/ipv6/conf/default/router_solicitations", "0");
    lab_ns_sysctl("net/ipv6/conf/default/addr_gen_mode", "1");
    lab_ns_sysctl("net/ipv6/conf/default/mldv2_unsolicited_report_interval", "0");
    lab_ns_sysctl("net/ipv4/conf/all/rp_filter", "0");
    lab_ns_sysctl("net/ipv4/conf/default/rp_filter", "0");
    /* ping without capabilities, as in a container. */
    lab_ns_sysctl("net/ipv4/ping_group_range", "0 2147483647");
}

static int tun_configure(struct lab_host *host, const char *dev)
{
    /* Behind an emulated NAT the TUN is the host's and not the router's. A firewall has no address but its inner one.
     */
    bool firewall = lab_host_is_firewalled(host);
    const union base_ep *addrs = host->box.n ? &host->own : firewall ? &host->addrs[1] : host->addrs;
    size_t n = host->box.n || firewall ? 1 : host->n_addrs - (host->has_beside ? 2 : 0);
    const union base_ep *beside = lab_host_beside(host);
    struct lab_nl nl;
    bool routed[2] = {false, false}; /* IPv4, IPv6 */
    int res = lab_nl_open(&nl);
    if (res < 0)
        return res;
    for (size_t i = 0; i < n && res == 0 && !firewall; i++)
        res = lab_nl_addr(&nl, dev, &addrs[i], addrs[i].sa.sa_family == AF_INET ? 32 : 128);
    if (res == 0)
        res = lab_nl_link_up(&nl, dev, LAB_TUN_QUEUE);
    for (size_t i = 0; i < n && res == 0; i++) {
        bool *done = &routed[addrs[i].sa.sa_family == AF_INET6];
        if (!*done)
            res = lab_nl_default_route(&nl, dev, NULL, &addrs[i]);
        *done = true;
    }
    if (res == 0 && beside)
        res = lab_nl_default_route(&nl, dev, NULL, &beside[1]);
    for (size_t i = 0; i < n && res == 0; i++)
        res = lab_nl_wait_addr(&nl, &addrs[i]);
    lab_nl_close(&nl);
    return res;
}

int lab_host_tun(struct lab_host *host, const char *dev, char err[LAB_ERROR_LEN])
{
    int res = lab_ns_tun(dev, &host->tun);
    if (res < 0)
        return lab_host_fail(host, res, "could not make a TUN device (/dev/net/tun)", err);
    res = tun_configure(host, dev);
    return res < 0 ? lab_host_fail(host, res, "could not configure the TUN device", err) : 0;
}

static bool any_ipv6(const struct lab_host *host)
{
    for (size_t i = 0; i < host->n_addrs; i++)
        if (host->addrs[i].sa.sa_family == AF_INET6)
            return true;
    return host->own.sa.sa_family == AF_INET6;
}

int lab_host_build(struct lab_host *host, char err[LAB_ERROR_LEN])
{
    bool has_router = host->profile.backend == LAB_BACKEND_NETFILTER;
    bool has_program = host->profile.backend == LAB_BACKEND_PROGRAM;
    int saved, res = lab_box_build(host, err);
    if (res < 0)
        return res;
    res = lab_ns_create(&host->netns);
    if (res < 0)
        return lab_host_fail(host, res, "could not make a network namespace", err);
    res = lab_ns_enter(host->netns, &saved);
    if (res < 0)
        return lab_host_fail(host, res, "could not enter its namespace", err);
    lab_host_quiet(any_ipv6(host));
    res = has_router || has_program ? 0 : lab_host_tun(host, LAB_HOST, err);
    lab_ns_leave(saved);
    if (res == 0 && has_router)
        res = lab_router_build(host, err);
    if (res == 0 && has_program)
        res = lab_userspace_build(host, err);
    return res;
}

void lab_host_close(struct lab_host *host)
{
    lab_router_close(&host->router);
    lab_userspace_close(&host->userspace);
    lab_box_close(&host->box);
    if (host->tun >= 0)
        close(host->tun);
    if (host->lan >= 0)
        close(host->lan);
    if (host->netns >= 0)
        close(host->netns);
    host->tun = host->lan = host->netns = -1;
}
