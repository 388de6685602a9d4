/*
 * NATs that are programs: slirp4netns and pasta, which give containers without privileges their way out. The program
 * runs in a namespace whose way out is the TUN, and makes a device in the host's: it takes packets there, and its own
 * sockets send what was in them. So it is no router: it ends TCP connections and opens others, and what it maps to
 * which port is its kernel's choice. What it knows lives as long as it does: lab_reset_nats() leaves it alone.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/lab/internal.h"
#include "bench/lab/netns.h"

/* From its start to the device in the host: some tens of milliseconds on a quiet machine. */
#define READY_NS (10 * BASE_NS_PER_S)
#define STEP_NS  (2 * BASE_NS_PER_MS)
#define MAX_ARGS 32

/* The host's namespace is its stdin: a path through our own descriptors is closed to those who dropped capabilities. */
#define HOST_NS "/proc/self/fd/0"

struct args {
    const char *argv[MAX_ARGS];
    char address[BASE_EP_STRLEN], gateway[BASE_EP_STRLEN], cidr[BASE_EP_STRLEN + 4];
};

static void add_args(struct args *a, const char *const *list)
{
    size_t n = 0;
    while (list[n] && n + 1 < MAX_ARGS) {
        a->argv[n] = list[n];
        n++;
    }
    a->argv[n] = NULL;
}

/* It gives the host .100, and takes .2 and .3 of the network itself. */
static void slirp4netns_args(struct args *a)
{
    add_args(a,
             (const char *const[]){"slirp4netns", "--configure", "--mtu=1500", "--disable-host-loopback",
                                   "--disable-dns", "--cidr", a->cidr, "--netns-type=path", HOST_NS, LAB_HOST, NULL});
}

/* Nothing from outside is forwarded by name: only what the host began. A TUN has no MAC address to take over; and as
 * "nobody" it could not open the host's namespace. */
static void pasta_args(struct args *a)
{
    add_args(a, (const char *const[]){"pasta",       "--foreground",
                                      "--quiet",     "--config-net",
                                      "--runas",     "0",
                                      "-M",          "02:00:00:00:00:01",
                                      "--no-map-gw", "-I",
                                      LAB_HOST,      "-i",
                                      LAB_WAN,       "-m",
                                      "1500",        "-a",
                                      a->address,    "-n",
                                      "24",          "-g",
                                      a->gateway,    "-t",
                                      "none",        "-u",
                                      "none",        "-T",
                                      "none",        "-U",
                                      "none",        "--netns",
                                      HOST_NS,       NULL});
}

static void make_args(const struct lab_host *host, struct args *a)
{
    union base_ep gateway = lab_gateway_of(&host->own), network = gateway;
    char text[BASE_EP_STRLEN];
    network.v4.sin_addr.s_addr &= htonl(0xffffff00u);
    base_ep_format_addr(&host->own, a->address);
    base_ep_format_addr(&gateway, a->gateway);
    base_ep_format_addr(&network, text);
    snprintf(a->cidr, sizeof(a->cidr), "%s/24", text);
    if (host->profile.program == LAB_PROGRAM_PASTA)
        pasta_args(a);
    else
        slirp4netns_args(a);
}

/* Whether the host's address is there: a socket can have it. In the host's namespace. */
static bool has_address(const union base_ep *own)
{
    int fd = socket(own->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, &own->sa, base_ep_len(own)) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

/* 0; -ECHILD: the program ended; -ETIMEDOUT. */
static int wait_ready(const struct lab_host *host)
{
    struct pollfd ended = {.fd = host->userspace.pidfd, .events = POLLIN};
    uint64_t deadline = base_now_ns() + READY_NS;
    int saved, res = lab_ns_enter(host->netns, &saved);
    if (res < 0)
        return res;
    while (res == 0 && !has_address(&host->own)) {
        if (poll(&ended, 1, 0) == 1)
            res = -ECHILD;
        else if (base_now_ns() > deadline)
            res = -ETIMEDOUT;
        nanosleep(&(struct timespec){.tv_nsec = STEP_NS}, NULL);
    }
    lab_ns_leave(saved);
    return res;
}

/* The namespace that the program runs in, with the TUN. */
static int build_outside(struct lab_host *host, char err[LAB_ERROR_LEN])
{
    int saved, res = lab_ns_create(&host->userspace.netns);
    if (res < 0)
        return lab_host_fail(host, res, "could not make its NAT's namespace", err);
    res = lab_ns_enter(host->userspace.netns, &saved);
    if (res < 0)
        return lab_host_fail(host, res, "could not enter its NAT's namespace", err);
    lab_host_quiet(false);
    res = lab_host_tun(host, LAB_WAN, err);
    lab_ns_leave(saved);
    return res;
}

int lab_userspace_build(struct lab_host *host, char err[LAB_ERROR_LEN])
{
    struct args args;
    pid_t pid;
    int res = build_outside(host, err);
    if (res < 0)
        return res;
    make_args(host, &args);
    const struct lab_command cmd = {.argv = args.argv, .fd_in = host->netns, .fd_out = -1, .fd_err = -1};
    res = lab_spawn_at(host->lab, host->userspace.netns, &cmd, &pid, &host->userspace.pidfd);
    if (res == -ENOENT) {
        snprintf(err, LAB_ERROR_LEN, "the program %s is missing: install the package %s", args.argv[0],
                 host->profile.program == LAB_PROGRAM_PASTA ? "passt" : args.argv[0]);
        return res;
    }
    if (res < 0)
        return lab_host_fail(host, res, "could not start its NAT", err);
    res = wait_ready(host);
    if (res == -ECHILD)
        snprintf(err, LAB_ERROR_LEN, "host %s: %s ended at once: try it by hand in a network namespace", host->name,
                 args.argv[0]);
    else if (res < 0)
        lab_host_fail(host, res, "its NAT did not give it an address", err);
    return res;
}

void lab_userspace_close(struct lab_userspace *userspace)
{
    if (userspace->pidfd >= 0)
        close(userspace->pidfd);
    if (userspace->netns >= 0)
        close(userspace->netns);
    userspace->netns = userspace->pidfd = -1;
}
