#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <string.h>
#include <time.h>

#include "bench/lab/netlink.h"

/* A request here has a handful of attributes; libmnl's advice is a page or 8 KB for what is received. */
#define BUFFER_LEN 8192

/* ---- sockets --------------------------------------------------------------------------------- */

static int open_bus(struct lab_nl *nl, int bus)
{
    *nl = (struct lab_nl){.sock = mnl_socket_open2(bus, SOCK_CLOEXEC)};
    if (!nl->sock)
        return -errno;
    if (mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0) {
        int res = -errno;
        lab_nl_close(nl);
        return res;
    }
    return 0;
}

int lab_nl_open(struct lab_nl *nl)
{
    return open_bus(nl, NETLINK_ROUTE);
}

int lab_ct_open(struct lab_nl *nl)
{
    return open_bus(nl, NETLINK_NETFILTER);
}

void lab_nl_close(struct lab_nl *nl)
{
    if (nl->sock)
        mnl_socket_close(nl->sock);
    nl->sock = NULL;
}

/* Sends one request, gives each answer to cb (NULL = there are none), and waits for the last. */
static int exchange(struct lab_nl *nl, struct nlmsghdr *nlh, mnl_cb_t cb, void *data)
{
    char buf[BUFFER_LEN] __attribute__((aligned(NLMSG_ALIGNTO)));
    unsigned port = mnl_socket_get_portid(nl->sock);
    nlh->nlmsg_flags |= NLM_F_REQUEST;
    nlh->nlmsg_seq = ++nl->seq;
    if (mnl_socket_sendto(nl->sock, nlh, nlh->nlmsg_len) < 0)
        return -errno;
    int more = 1;
    while (more > 0) {
        ssize_t n = mnl_socket_recvfrom(nl->sock, buf, sizeof(buf));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        more = mnl_cb_run(buf, (size_t)n, nl->seq, port, cb, data);
        if (more < 0)
            return -errno;
    }
    return 0;
}

/* Sends one request and waits for its acknowledgement. */
static int talk(struct lab_nl *nl, struct nlmsghdr *nlh)
{
    nlh->nlmsg_flags |= NLM_F_ACK;
    return exchange(nl, nlh, NULL, NULL);
}

/* Where a request is built: the header, zeroed behind it. */
struct request {
    char buf[BUFFER_LEN] __attribute__((aligned(NLMSG_ALIGNTO)));
};

static struct nlmsghdr *request_start(struct request *req, uint16_t type, uint16_t flags)
{
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(req->buf);
    nlh->nlmsg_type = type;
    nlh->nlmsg_flags = flags;
    return nlh;
}

static void put_addr(struct nlmsghdr *nlh, uint16_t type, const union base_ep *addr)
{
    size_t len;
    const uint8_t *bytes = base_ep_bytes(addr, &len);
    mnl_attr_put(nlh, type, len, bytes);
}

/* ---- devices --------------------------------------------------------------------------------- */

int lab_nl_link_up(struct lab_nl *nl, const char *dev, unsigned txqlen)
{
    struct request req;
    struct nlmsghdr *nlh = request_start(&req, RTM_NEWLINK, 0);
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(nlh, sizeof(*info));
    info->ifi_family = AF_UNSPEC;
    info->ifi_change = info->ifi_flags = IFF_UP;
    mnl_attr_put_strz(nlh, IFLA_IFNAME, dev);
    if (txqlen)
        mnl_attr_put_u32(nlh, IFLA_TXQLEN, txqlen);
    return talk(nl, nlh);
}

static int on_link(const struct nlmsghdr *nlh, void *data)
{
    uint8_t *state = data;
    const struct nlattr *attr;
    mnl_attr_for_each(attr, nlh, sizeof(struct ifinfomsg))
    {
        if (mnl_attr_get_type(attr) == IFLA_OPERSTATE)
            *state = mnl_attr_get_u8(attr);
    }
    return MNL_CB_OK;
}

/* What the kernel leaves to deferred work is done in less than a millisecond when it is idle. */
#define READY_STEP_NS  (100 * BASE_NS_PER_US)
#define READY_LIMIT_NS (2 * BASE_NS_PER_S)

/* False: it took too long. */
static bool wait_a_step(uint64_t since_ns)
{
    static const struct timespec step = {.tv_nsec = READY_STEP_NS};
    nanosleep(&step, NULL);
    return base_now_ns() < since_ns + READY_LIMIT_NS;
}

int lab_nl_wait_ready(struct lab_nl *nl, const char *dev)
{
    uint64_t since = base_now_ns();
    do {
        struct request req;
        uint8_t state = IF_OPER_UNKNOWN;
        struct nlmsghdr *nlh = request_start(&req, RTM_GETLINK, NLM_F_ACK);
        mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
        mnl_attr_put_strz(nlh, IFLA_IFNAME, dev);
        int res = exchange(nl, nlh, on_link, &state);
        if (res < 0 || state == IF_OPER_UP)
            return res;
    } while (wait_a_step(since));
    return -ETIMEDOUT;
}

int lab_nl_veth(struct lab_nl *nl, const char *dev, const uint8_t mac[6], const char *peer, int peer_ns,
                const uint8_t peer_mac[6])
{
    struct request req;
    struct nlmsghdr *nlh = request_start(&req, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(nlh, IFLA_IFNAME, dev);
    mnl_attr_put(nlh, IFLA_ADDRESS, 6, mac);
    struct nlattr *info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
    mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
    struct nlattr *other = mnl_attr_nest_start(nlh, VETH_INFO_PEER);
    mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(nlh, IFLA_IFNAME, peer);
    mnl_attr_put(nlh, IFLA_ADDRESS, 6, peer_mac);
    mnl_attr_put_u32(nlh, IFLA_NET_NS_FD, (uint32_t)peer_ns);
    mnl_attr_nest_end(nlh, other);
    mnl_attr_nest_end(nlh, data);
    mnl_attr_nest_end(nlh, info);
    return talk(nl, nlh);
}

/* ---- addresses, routes, neighbours ----------------------------------------------------------- */

/* if_nametoindex() asks in the current namespace; the device is in the socket's. */
static int index_cb(const struct nlmsghdr *nlh, void *data)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(nlh);
    *(int *)data = info->ifi_index;
    return MNL_CB_OK;
}

static int dev_index(struct lab_nl *nl, const char *dev)
{
    struct request req;
    char buf[BUFFER_LEN] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct nlmsghdr *nlh = request_start(&req, RTM_GETLINK, NLM_F_REQUEST);
    mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(nlh, IFLA_IFNAME, dev);
    nlh->nlmsg_seq = ++nl->seq;
    if (mnl_socket_sendto(nl->sock, nlh, nlh->nlmsg_len) < 0)
        return -errno;
    ssize_t n = mnl_socket_recvfrom(nl->sock, buf, sizeof(buf));
    if (n < 0)
        return -errno;
    int index = -ENODEV;
    if (mnl_cb_run(buf, (size_t)n, nl->seq, mnl_socket_get_portid(nl->sock), index_cb, &index) < 0)
        return -errno;
    return index;
}

int lab_nl_addr(struct lab_nl *nl, const char *dev, const union base_ep *addr, unsigned prefix_len)
{
    struct request req;
    int index = dev_index(nl, dev);
    if (index < 0)
        return index;
    struct nlmsghdr *nlh = request_start(&req, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
    ifa->ifa_family = (uint8_t)addr->sa.sa_family;
    ifa->ifa_prefixlen = (uint8_t)prefix_len;
    ifa->ifa_index = (uint32_t)index;
    /* Duplicate address detection would make an IPv6 address unusable for its first second. */
    ifa->ifa_flags = IFA_F_PERMANENT | IFA_F_NODAD;
    put_addr(nlh, IFA_LOCAL, addr);
    put_addr(nlh, IFA_ADDRESS, addr);
    return talk(nl, nlh);
}

static int on_route(const struct nlmsghdr *nlh, void *data)
{
    const struct rtmsg *route = mnl_nlmsg_get_payload(nlh);
    uint8_t *type = data;
    *type = route->rtm_type;
    return MNL_CB_OK;
}

int lab_nl_wait_addr(struct lab_nl *nl, const union base_ep *addr)
{
    uint64_t since = base_now_ns();
    if (addr->sa.sa_family == AF_INET)
        return 0;
    do {
        struct request req;
        uint8_t type = RTN_UNSPEC;
        struct nlmsghdr *nlh = request_start(&req, RTM_GETROUTE, NLM_F_ACK);
        struct rtmsg *route = mnl_nlmsg_put_extra_header(nlh, sizeof(*route));
        route->rtm_family = AF_INET6;
        route->rtm_dst_len = 128;
        put_addr(nlh, RTA_DST, addr);
        int res = exchange(nl, nlh, on_route, &type);
        /* Before its time there may be no route at all. */
        if (type == RTN_LOCAL || (res < 0 && res != -ENETUNREACH && res != -EHOSTUNREACH))
            return res;
    } while (wait_a_step(since));
    return -ETIMEDOUT;
}

int lab_nl_default_route(struct lab_nl *nl, const char *dev, const union base_ep *gateway, const union base_ep *source)
{
    struct request req;
    int index = dev_index(nl, dev);
    if (index < 0)
        return index;
    struct nlmsghdr *nlh = request_start(&req, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
    struct rtmsg *rt = mnl_nlmsg_put_extra_header(nlh, sizeof(*rt));
    rt->rtm_family = (uint8_t)source->sa.sa_family;
    rt->rtm_table = RT_TABLE_MAIN;
    rt->rtm_protocol = RTPROT_BOOT;
    rt->rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    rt->rtm_type = RTN_UNICAST;
    mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)index);
    put_addr(nlh, RTA_PREFSRC, source);
    if (gateway)
        put_addr(nlh, RTA_GATEWAY, gateway);
    return talk(nl, nlh);
}

int lab_nl_neighbour(struct lab_nl *nl, const char *dev, const union base_ep *addr, const uint8_t mac[6])
{
    struct request req;
    int index = dev_index(nl, dev);
    if (index < 0)
        return index;
    struct nlmsghdr *nlh = request_start(&req, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
    struct ndmsg *nd = mnl_nlmsg_put_extra_header(nlh, sizeof(*nd));
    nd->ndm_family = (uint8_t)addr->sa.sa_family;
    nd->ndm_ifindex = index;
    nd->ndm_state = NUD_PERMANENT;
    put_addr(nlh, NDA_DST, addr);
    mnl_attr_put(nlh, NDA_LLADDR, 6, mac);
    return talk(nl, nlh);
}

/* ---- conntrack ------------------------------------------------------------------------------- */

int lab_ct_flush(struct lab_nl *ct, uint32_t keep_mark)
{
    struct request req;
    struct nlmsghdr *nlh = request_start(&req, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, 0);
    struct nfgenmsg *gen = mnl_nlmsg_put_extra_header(nlh, sizeof(*gen));
    gen->nfgen_family = AF_UNSPEC;
    gen->version = NFNETLINK_V0;
    if (keep_mark) {
        /* Entries go for which (mark & mask) == 0. */
        mnl_attr_put_u32(nlh, CTA_MARK, htonl(0));
        mnl_attr_put_u32(nlh, CTA_MARK_MASK, htonl(keep_mark));
    }
    return talk(ct, nlh);
}

/* One message a processor. */
static int stats_cb(const struct nlmsghdr *nlh, void *data)
{
    struct lab_ct_stats *sum = data;
    const struct nlattr *attr;
    mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
    {
        uint64_t *const fields[__CTA_STATS_MAX] = {
            [CTA_STATS_INVALID] = &sum->invalid, [CTA_STATS_INSERT_FAILED] = &sum->insert_failed,
            [CTA_STATS_DROP] = &sum->drop,       [CTA_STATS_EARLY_DROP] = &sum->early_drop,
            [CTA_STATS_ERROR] = &sum->error,
        };
        uint16_t type = mnl_attr_get_type(attr);
        if (type < __CTA_STATS_MAX && fields[type] && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
            *fields[type] += ntohl(mnl_attr_get_u32(attr));
    }
    return MNL_CB_OK;
}

int lab_ct_stats(struct lab_nl *ct, struct lab_ct_stats *out)
{
    struct request req;
    struct nlmsghdr *nlh = request_start(&req, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS_CPU, NLM_F_DUMP);
    struct nfgenmsg *gen = mnl_nlmsg_put_extra_header(nlh, sizeof(*gen));
    gen->nfgen_family = AF_UNSPEC;
    gen->version = NFNETLINK_V0;
    *out = (struct lab_ct_stats){0};
    return exchange(ct, nlh, stats_cb, out);
}

/* ---- nftables' counters ---------------------------------------------------------------------- */

struct counter_list {
    struct lab_nft_counter *counters;
    size_t n;
};

static uint64_t packets_of(const struct nlattr *data)
{
    const struct nlattr *attr;
    mnl_attr_for_each_nested(attr, data) if (mnl_attr_get_type(attr) == NFTA_COUNTER_PACKETS &&
                                             mnl_attr_validate(attr, MNL_TYPE_U64) ==
                                                 0) return be64toh(mnl_attr_get_u64(attr));
    return 0;
}

static int counter_cb(const struct nlmsghdr *nlh, void *user)
{
    const struct counter_list *list = user;
    const struct nlattr *attr, *data = NULL;
    const char *name = NULL;
    mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(attr) == NFTA_OBJ_NAME && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
            name = mnl_attr_get_str(attr);
        else if (mnl_attr_get_type(attr) == NFTA_OBJ_DATA && mnl_attr_validate(attr, MNL_TYPE_NESTED) == 0)
            data = attr;
    }
    for (size_t i = 0; name && data && i < list->n; i++)
        if (strcmp(list->counters[i].name, name) == 0)
            list->counters[i].packets = packets_of(data);
    return MNL_CB_OK;
}

int lab_nft_counters(struct lab_nl *nf, const char *table, struct lab_nft_counter *counters, size_t n)
{
    struct request req;
    struct counter_list list = {counters, n};
    struct nlmsghdr *nlh = request_start(&req, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETOBJ, NLM_F_DUMP);
    struct nfgenmsg *gen = mnl_nlmsg_put_extra_header(nlh, sizeof(*gen));
    gen->nfgen_family = NFPROTO_INET;
    gen->version = NFNETLINK_V0;
    mnl_attr_put_strz(nlh, NFTA_OBJ_TABLE, table);
    mnl_attr_put_u32(nlh, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
    for (size_t i = 0; i < n; i++)
        counters[i].packets = 0;
    return exchange(nf, nlh, counter_cb, &list);
}
