/*
 * A Linux router: a namespace with a veth pair to its host, a TUN to the internet, and nftables between them.
 *
 * What is unsolicited is dropped in INPUT, which is before conntrack confirms the entry: it never occupies a port.
 * The -rst profiles leave INPUT open: the router answers SYNs with RST and datagrams with ICMP, and the confirmed
 * entry then stands in the way of the host's own mapping, as on real routers without a firewall on INPUT.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/lab/internal.h"
#include "bench/lab/netns.h"

/* Conntrack mark of connections that lab_reset_nats() spares. */
#define KEEP_MARK 1u

#define RULES_LEN 2048

/* Locally administered; each pair of namespaces has its own Ethernet. */
static const uint8_t mac_router[6] = {0x02, 0, 0, 0, 0, 0x01};
static const uint8_t mac_host[6] = {0x02, 0, 0, 0, 0, 0x02};

/* ---- rules ----------------------------------------------------------------------------------- */

static void rules_masquerade(const struct lab_profile *p, char *buf, size_t len)
{
    char to[32] = "";
    if (p->port_lo)
        snprintf(to, sizeof(to), " to :%u-%u", p->port_lo, p->port_hi);
    snprintf(buf, len, "meta l4proto { tcp, udp } masquerade%s%s", to,
             p->ports == LAB_PORTS_RANDOM ? " random,fully-random" : "");
}

/* What translates: nothing, in a firewall; beside an IPv6 address of the host's own IPv4 alone. */
static void rules_nat(const struct lab_profile *p, bool beside, char *buf, size_t len)
{
    const char *which = beside ? "meta nfproto ipv4 " : "";
    char masquerade[96];
    rules_masquerade(p, masquerade, sizeof(masquerade));
    buf[0] = '\0';
    if (p->mapping != LAB_MAP_NONE)
        snprintf(buf, len,
                 "  chain out {\n"
                 "    type nat hook postrouting priority srcnat; policy accept;\n"
                 "    oifname \"" LAB_WAN "\" %s%s\n"
                 "    oifname \"" LAB_WAN "\" %smasquerade\n"
                 "  }\n",
                 which, masquerade, which);
}

/* Marks the connection that lab_reset_nats() spares; nothing, where there is none. */
static void rule_keep(const union base_ep *keep, char *buf, size_t len)
{
    char addr[BASE_EP_STRLEN];
    buf[0] = '\0';
    if (base_ep_is_set(keep) && base_ep_port(keep))
        snprintf(buf, len, "%s daddr %s tcp dport %u ct mark set %u\n", keep->sa.sa_family == AF_INET ? "ip" : "ip6",
                 base_ep_format_addr(keep, addr), base_ep_port(keep), KEEP_MARK);
}

/* A NAT's unsolicited packets are the router's own (INPUT); a firewall's are the host's (FORWARD). What conntrack calls
 * INVALID is not translated and so goes nowhere; a firewall has to drop it. */
static void rules_text(const struct lab_profile *p, bool beside, const union base_ep *keep, char out[RULES_LEN])
{
    char nat[512], spared[128];
    rules_nat(p, beside, nat, sizeof(nat));
    rule_keep(keep, spared, sizeof(spared));
    snprintf(out, RULES_LEN,
             "table inet lab {\n"
             "  counter out {}\n"
             "  counter in {}\n"
             "  counter unsolicited {}\n"
             "  chain keep {\n"
             "    %s\n"
             "  }\n"
             "%s"
             "  chain through {\n"
             "    type filter hook forward priority filter; policy drop;\n"
             "%s"
             "    iifname \"" LAB_LAN "\" oifname \"" LAB_WAN "\" jump keep\n"
             "    iifname \"" LAB_LAN "\" oifname \"" LAB_WAN "\" counter name out accept\n"
             "    ct state established,related counter name in accept\n"
             "    iifname \"" LAB_WAN "\" ct state new counter name unsolicited%s\n"
             "  }\n"
             "  chain in {\n"
             "    type filter hook input priority filter; policy accept;\n"
             "    iifname \"" LAB_WAN "\" ct state != { established, related } counter name unsolicited %s\n"
             "  }\n"
             "}\n",
             spared, nat,
             p->mapping == LAB_MAP_NONE ? "    ct state invalid drop\n"
             : beside                   ? "    meta nfproto ipv6 ct state invalid drop\n"
                                        : "",
             p->unsolicited == LAB_UNSOLICITED_RST ? " meta l4proto tcp reject with tcp reset" : "",
             p->unsolicited == LAB_UNSOLICITED_RST ? "" : "drop");
}

int lab_router_nft(const char *rules, char err[LAB_ERROR_LEN])
{
    static const char *const argv[] = {"nft", "-f", "-", NULL};
    char said[128] = "";
    int res = lab_ns_run(argv, rules, said, sizeof(said));
    if (res == -ENOENT)
        snprintf(err, LAB_ERROR_LEN, "the program nft is missing: install the package nftables");
    else if (res < 0)
        snprintf(err, LAB_ERROR_LEN,
                 "nft refused the router's rules: %s (does this kernel have nf_tables, nft_masq and nf_conntrack?)",
                 *said ? said : strerror(-res));
    return res;
}

/* ---- building -------------------------------------------------------------------------------- */

union base_ep lab_gateway_of(const union base_ep *host)
{
    union base_ep gw = *host;
    base_ep_set_port(&gw, 0);
    if (gw.sa.sa_family == AF_INET) {
        gw.v4.sin_addr.s_addr = (gw.v4.sin_addr.s_addr & htonl(0xffffff00u)) | htonl(1);
    } else {
        memset(gw.v6.sin6_addr.s6_addr + 8, 0, 7);
        gw.v6.sin6_addr.s6_addr[15] = 1;
    }
    return gw;
}

static unsigned private_prefix(const union base_ep *ep)
{
    return ep->sa.sa_family == AF_INET ? 24 : 64;
}

/* In the router's namespace. */
static int lan_router_side(struct lab_host *host, const union base_ep *gateway)
{
    struct lab_nl nl;
    int res = lab_nl_open(&nl);
    if (res < 0)
        return res;
    res = lab_nl_veth(&nl, LAB_LAN, mac_router, LAB_HOST, host->netns, mac_host);
    if (res == 0)
        res = lab_nl_addr(&nl, LAB_LAN, gateway, private_prefix(gateway));
    if (res == 0)
        res = lab_nl_link_up(&nl, LAB_LAN, 0);
    if (res == 0)
        res = lab_nl_neighbour(&nl, LAB_LAN, &host->own, mac_host);
    const union base_ep *beside = lab_host_beside(host);
    if (res == 0 && beside)
        res = lab_nl_addr(&nl, LAB_LAN, &beside[1], private_prefix(&beside[1]));
    if (res == 0 && beside)
        res = lab_nl_neighbour(&nl, LAB_LAN, beside, mac_host);
    lab_nl_close(&nl);
    return res;
}

/* Of a shared router, in its namespace: those behind it are reached through the lab. */
static int lan_shared(struct lab_host *host, const union base_ep *gateway)
{
    struct lab_nl nl;
    int res = lab_ns_tun(LAB_LAN, &host->lan);
    if (res < 0)
        return res;
    res = lab_nl_open(&nl);
    if (res < 0)
        return res;
    res = lab_nl_addr(&nl, LAB_LAN, gateway, private_prefix(gateway));
    if (res == 0)
        res = lab_nl_link_up(&nl, LAB_LAN, LAB_TUN_QUEUE);
    lab_nl_close(&nl);
    return res;
}

/* In the host's namespace. */
static int lan_host_side(struct lab_host *host, const union base_ep *gateway)
{
    struct lab_nl nl;
    int res = lab_nl_open(&nl);
    if (res < 0)
        return res;
    res = lab_nl_addr(&nl, LAB_HOST, &host->own, private_prefix(&host->own));
    if (res == 0)
        res = lab_nl_link_up(&nl, LAB_HOST, 0);
    if (res == 0)
        res = lab_nl_neighbour(&nl, LAB_HOST, gateway, mac_router);
    if (res == 0)
        res = lab_nl_default_route(&nl, LAB_HOST, gateway, &host->own);
    const union base_ep *beside = lab_host_beside(host);
    if (res == 0 && beside)
        res = lab_nl_addr(&nl, LAB_HOST, beside, private_prefix(beside));
    if (res == 0 && beside)
        res = lab_nl_neighbour(&nl, LAB_HOST, &beside[1], mac_router);
    if (res == 0 && beside)
        res = lab_nl_default_route(&nl, LAB_HOST, &beside[1], beside);
    lab_nl_close(&nl);
    return res;
}

static int set_number(const char *path, unsigned value)
{
    char text[16];
    if (value == 0)
        return 0;
    snprintf(text, sizeof(text), "%u", value);
    return lab_ns_sysctl(path, text);
}

/* In the router's namespace, after nft: conntrack's sysctls appear with its first rule. */
static int set_conntrack(const struct lab_profile *p)
{
#define CT "net/netfilter/nf_conntrack_"
    const struct {
        const char *path;
        unsigned value;
    } sets[] = {
        {CT "udp_timeout", p->udp_new_s},
        {CT "udp_timeout_stream", p->udp_stream_s},
        {CT "tcp_timeout_syn_sent", p->tcp_syn_sent_s},
        {CT "tcp_timeout_established", p->tcp_established_s},
        {CT "tcp_timeout_fin_wait", p->tcp_closing_s},
        {CT "tcp_timeout_close_wait", p->tcp_closing_s},
        {CT "tcp_timeout_last_ack", p->tcp_closing_s},
        {CT "tcp_timeout_time_wait", p->tcp_closing_s},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(sets); i++) {
        int res = set_number(sets[i].path, sets[i].value);
        if (res < 0)
            return res;
    }
    return lab_ns_sysctl(CT "tcp_be_liberal", p->window == LAB_WINDOW_LIBERAL ? "1" : "0");
#undef CT
}

static int open_counter(struct lab_router *router)
{
    router->count_fd = open("/proc/sys/net/netfilter/nf_conntrack_count", O_RDONLY | O_CLOEXEC);
    return router->count_fd < 0 ? -errno : 0;
}

/* In the router's namespace. */
static int build_inside(struct lab_host *host, const union base_ep *gateway, char err[LAB_ERROR_LEN])
{
    char rules[RULES_LEN];
    lab_host_quiet(gateway->sa.sa_family == AF_INET6 || host->has_beside);
    int res = host->shared ? lan_shared(host, gateway) : lan_router_side(host, gateway);
    if (res < 0)
        return lab_host_fail(host, res, "could not join host and router (veth, TUN)", err);
    res = lab_host_tun(host, LAB_WAN, err);
    if (res < 0)
        return res;
    rules_text(&host->profile, host->has_beside, &host->lab->keep, rules);
    res = lab_router_nft(rules, err);
    if (res < 0)
        return res;
    res = set_conntrack(&host->profile);
    if (res == 0)
        res = open_counter(&host->router);
    if (res == 0)
        res = lab_ct_open(&host->router.ct);
    if (res == 0 && gateway->sa.sa_family == AF_INET)
        res = lab_ns_sysctl("net/ipv4/ip_forward", "1");
    if (res == 0 && (gateway->sa.sa_family == AF_INET6 || host->has_beside))
        res = lab_ns_sysctl("net/ipv6/conf/all/forwarding", "1");
    if (res == -EROFS)
        return lab_host_fail(host, res, "the router needs a writable /proc/sys (a privileged container, or none)", err);
    return res < 0 ? lab_host_fail(host, res, "could not set the router's sysctls or conntrack", err) : 0;
}

static int wait_ready(int netns, const char *dev, const union base_ep *addr)
{
    struct lab_nl nl;
    int saved, res = lab_ns_enter(netns, &saved);
    if (res < 0)
        return res;
    res = lab_nl_open(&nl);
    if (res == 0)
        res = lab_nl_wait_ready(&nl, dev);
    if (res == 0)
        res = lab_nl_wait_addr(&nl, addr);
    lab_nl_close(&nl);
    lab_ns_leave(saved);
    return res;
}

int lab_router_build(struct lab_host *host, char err[LAB_ERROR_LEN])
{
    union base_ep gateway = lab_gateway_of(&host->own);
    int saved, res = lab_ns_create(&host->router.netns);
    if (res < 0)
        return lab_host_fail(host, res, "could not make the router's namespace", err);
    res = lab_ns_enter(host->router.netns, &saved);
    if (res < 0)
        return lab_host_fail(host, res, "could not enter the router's namespace", err);
    res = build_inside(host, &gateway, err);
    lab_ns_leave(saved);
    if (res < 0 || host->shared)
        return res;
    res = lab_ns_enter(host->netns, &saved);
    if (res < 0)
        return lab_host_fail(host, res, "could not enter the host's namespace", err);
    res = lan_host_side(host, &gateway);
    lab_ns_leave(saved);
    if (res < 0)
        return lab_host_fail(host, res, "could not give the host its address and route", err);
    const union base_ep *beside = lab_host_beside(host);
    res = wait_ready(host->netns, LAB_HOST, &host->own);
    if (res == 0)
        res = wait_ready(host->router.netns, LAB_LAN, &gateway);
    if (res == 0 && beside)
        res = wait_ready(host->netns, LAB_HOST, beside);
    if (res == 0 && beside)
        res = wait_ready(host->router.netns, LAB_LAN, &beside[1]);
    return res < 0 ? lab_host_fail(host, res, "its link to the router does not come up", err) : 0;
}

void lab_router_close(struct lab_router *router)
{
    lab_nl_close(&router->ct);
    if (router->count_fd >= 0)
        close(router->count_fd);
    if (router->netns >= 0)
        close(router->netns);
    router->count_fd = router->netns = -1;
}

/* ---- state ----------------------------------------------------------------------------------- */

int lab_router_keep(struct lab_router *router, const union base_ep *keep, char err[LAB_ERROR_LEN])
{
    char rules[256], spared[128];
    int saved;
    rule_keep(keep, spared, sizeof(spared));
    snprintf(rules, sizeof(rules), "flush chain inet lab keep\n%s%s", *spared ? "add rule inet lab keep " : "", spared);
    int res = lab_ns_enter(router->netns, &saved);
    if (res < 0)
        return res;
    res = lab_router_nft(rules, err);
    lab_ns_leave(saved);
    return res;
}

int lab_router_reset(struct lab_router *router)
{
    return lab_ct_flush(&router->ct, KEEP_MARK);
}

int lab_router_restart(struct lab_router *router)
{
    int saved, res = router->maps ? lab_ns_enter(router->netns, &saved) : 0;
    if (router->maps && res == 0) {
        res = lab_mapper_forget();
        lab_ns_leave(saved);
    }
    return res == 0 ? lab_ct_flush(&router->ct, 0) : res;
}

int lab_router_mappings(struct lab_router *router, uint64_t *out)
{
    char text[32];
    ssize_t n = pread(router->count_fd, text, sizeof(text) - 1, 0);
    if (n < 0)
        return -errno;
    text[n] = '\0';
    *out = strtoull(text, NULL, 10);
    return 0;
}

/* In the words of the emulated NATs where they mean the same. */
int lab_router_counters(struct lab_router *router, struct lab_counter out[LAB_ROUTER_COUNTERS])
{
    struct lab_nft_counter seen[] = {{"out", 0}, {"in", 0}, {"unsolicited", 0}};
    struct lab_ct_stats ct;
    int res = lab_nft_counters(&router->ct, "lab", seen, BASE_ARRAY_LEN(seen));
    if (res == 0)
        res = lab_ct_stats(&router->ct, &ct);
    if (res < 0)
        return res;
    const struct lab_counter all[LAB_ROUTER_COUNTERS] = {
        {"out", seen[0].packets},
        {"in", seen[1].packets},
        {"drop-unsolicited", seen[2].packets},
        {"conntrack-invalid", ct.invalid},
        {"conntrack-insert-failed", ct.insert_failed},
        {"conntrack-drop", ct.drop},
        {"conntrack-early-drop", ct.early_drop},
        {"conntrack-error", ct.error},
    };
    memcpy(out, all, sizeof(all));
    return 0;
}
