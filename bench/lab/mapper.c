/*
 * Port mapping on a netfilter router: Debian's miniupnpd beside the router's own rules. It writes its own rules into a
 * table of its own; the router's table lets through what those have redirected.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/lab/internal.h"
#include "bench/lab/netns.h"

/* From its start until it listens: some milliseconds on a quiet machine. */
#define READY_NS (10 * BASE_NS_PER_S)
#define READY    "Listening for NAT-PMP/PCP"
#define SAID_LEN 4096

/* The configuration is its stdin. It would write its pid into a file and remove that in the end: here there is none. */
#define CONFIG  "/proc/self/fd/0"
#define NO_FILE "/proc/self/fd/0/none"

static const char table[] =
    "insert rule inet lab through iifname \"" LAB_WAN "\" ct status dnat counter name in accept\n"
    "table inet mapper {\n"
    "  chain forward {\n  }\n"
    "  chain prerouting {\n  }\n"
    "  chain postrouting {\n  }\n"
    "  chain at_forward {\n"
    "    type filter hook forward priority filter; policy accept;\n"
    "    jump forward\n"
    "  }\n"
    "  chain at_prerouting {\n"
    "    type nat hook prerouting priority dstnat; policy accept;\n"
    "    jump prerouting\n"
    "  }\n"
    "  chain at_postrouting {\n"
    "    type nat hook postrouting priority srcnat; policy accept;\n"
    "    jump postrouting\n"
    "  }\n"
    "}\n";

int lab_mapper_forget(void)
{
    char err[LAB_ERROR_LEN];
    return lab_router_nft("flush chain inet mapper forward\n"
                          "flush chain inet mapper prerouting\n"
                          "flush chain inet mapper postrouting\n",
                          err);
}

static int config_file(const union base_ep *outside)
{
    char text[1024], addr[BASE_EP_STRLEN] = "";
    if (outside)
        base_ep_format_addr(outside, addr);
    snprintf(text, sizeof(text),
             "ext_ifname=" LAB_WAN "\n"
             "%s%s\n"
             "listening_ip=" LAB_LAN "\n"
             "port=0\n"
             "enable_natpmp=yes\n"
             "enable_upnp=yes\n"
             "secure_mode=yes\n"
             "min_lifetime=1\n"
             "max_lifetime=86400\n"
             "upnp_table_name=mapper\n"
             "upnp_nat_table_name=mapper\n"
             "upnp_forward_chain=forward\n"
             "upnp_nat_chain=prerouting\n"
             "upnp_nat_postrouting_chain=postrouting\n"
             "allow 1024-65535 0.0.0.0/0 1024-65535\n"
             "deny 0-65535 0.0.0.0/0 0-65535\n",
             outside ? "ext_ip=" : "", addr);
    return lab_ns_memory_file(text);
}

/* Reads what it says until it listens. 0; -ECHILD: it ended, and `said` has its last words; -ETIMEDOUT. */
static int wait_ready(int fd, char said[SAID_LEN])
{
    uint64_t deadline = base_now_ns() + READY_NS;
    size_t len = 0;
    said[0] = '\0';
    while (!strstr(said, READY)) {
        struct pollfd more = {.fd = fd, .events = POLLIN};
        uint64_t now = base_now_ns();
        if (now >= deadline)
            return -ETIMEDOUT;
        if (poll(&more, 1, (int)((deadline - now) / BASE_NS_PER_MS) + 1) <= 0)
            continue;
        if (len + 1 >= SAID_LEN)
            len = 0; /* what it said first is no news any more */
        ssize_t n = read(fd, said + len, SAID_LEN - 1 - len);
        if (n == 0)
            return -ECHILD;
        len += n > 0 ? (size_t)n : 0;
        said[len] = '\0';
    }
    return 0;
}

static const char *last_line(char *said)
{
    size_t len = strlen(said);
    while (len > 0 && said[len - 1] == '\n')
        said[--len] = '\0';
    const char *newline = strrchr(said, '\n');
    return newline ? newline + 1 : said;
}

static int start(struct lab *lab, struct lab_host *host, int config, char err[LAB_ERROR_LEN])
{
    static const char *const argv[] = {LAB_MAPPER, "-d", "-f", CONFIG, "-P", NO_FILE, NULL};
    char said[SAID_LEN];
    int ends[2], pidfd = -1;
    pid_t pid;
    /* Nobody reads what it says later: it is not to wait for that. */
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return lab_host_fail(host, -errno, "no pipe", err);
    const struct lab_command cmd = {.argv = argv, .fd_in = config, .fd_out = -1, .fd_err = ends[1]};
    int res = lab_spawn_at(lab, host->router.netns, &cmd, &pid, &pidfd);
    close(ends[1]);
    if (res == -ENOENT)
        snprintf(err, LAB_ERROR_LEN, "the program %s is missing: install the package %s", LAB_MAPPER,
                 LAB_MAPPER_PACKAGE);
    else if (res < 0)
        lab_host_fail(host, res, "could not start " LAB_MAPPER, err);
    if (res == 0) {
        close(pidfd);
        res = wait_ready(ends[0], said);
        if (res < 0)
            snprintf(err, LAB_ERROR_LEN, "host %s: " LAB_MAPPER " %s: %.80s (is it " LAB_MAPPER_PACKAGE "'s?)",
                     host->name, res == -ECHILD ? "ended at once" : "does not come up", last_line(said));
    }
    close(ends[0]);
    return res;
}

/* In the router's namespace. */
static int prepare(struct lab_host *host, const union base_ep *outside, char err[LAB_ERROR_LEN])
{
    struct lab_nl nl;
    int res = lab_router_nft(table, err);
    if (res < 0 || !outside)
        return res;
    res = lab_nl_open(&nl);
    if (res == 0)
        res = lab_nl_addr(&nl, LAB_WAN, outside, 32);
    if (res == 0)
        res = lab_nl_wait_addr(&nl, outside);
    lab_nl_close(&nl);
    return res < 0 ? lab_host_fail(host, res, "its router could not have a further address", err) : 0;
}

static int take_address(struct lab_host *host, const union base_ep *outside, char err[LAB_ERROR_LEN])
{
    if (host->n_addrs == LAB_MAX_PUBLIC || outside->sa.sa_family != AF_INET)
        return lab_host_fail(host, -EINVAL, "no place for that further address", err);
    struct lab_addr key = lab_addr_of(outside);
    int res = lab_directory_add(lab_host_network(host), key, host);
    if (res < 0)
        return lab_host_fail(host, res, "its further address is taken", err);
    host->addrs[host->n_addrs] = *outside;
    host->keys[host->n_addrs++] = key;
    return 0;
}

int lab_offer_mappings(struct lab *lab, struct lab_host *host, const union base_ep *outside, char err[LAB_ERROR_LEN])
{
    int saved, res = 0;
    if (host->shared || host->router.netns < 0 || lab_host_is_firewalled(host) || host->own.sa.sa_family != AF_INET ||
        host->router.maps)
        return -ENOTSUP;
    if (outside)
        res = take_address(host, outside, err);
    if (res < 0)
        return res;
    res = lab_ns_enter(host->router.netns, &saved);
    if (res < 0)
        return lab_host_fail(host, res, "could not enter its router's namespace", err);
    res = prepare(host, outside, err);
    lab_ns_leave(saved);
    if (res < 0)
        return res;
    int config = config_file(outside);
    if (config < 0)
        return lab_host_fail(host, config, "no memory for a configuration", err);
    res = start(lab, host, config, err);
    close(config);
    host->router.maps = res == 0;
    return res;
}
