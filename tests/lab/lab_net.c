/*
 * The internet between hosts, and the life of namespaces and programs.
 *
 * Pins: packets that arrive earlier than their links allow or out of order, loss and unknown destinations that are not
 * counted, wrong checksums after veth and NAT, a TTL that does not die where it should or without an answer, IPv6 that
 * is not carried; programs that start in the wrong place, and programs or namespaces that outlive lab_destroy() or a
 * kill -9, daemons included.
 */
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* It uses struct timespec without including it. */
#include <linux/errqueue.h>

#include "tests/lab/world.h"

/* ---- links ----------------------------------------------------------------------------------- */

static void nothing_arrives_early(void **state)
{
    (void)state;
    struct lab_way way = {.delay_ns = 10 * BASE_NS_PER_MS, .jitter_ns = 3 * BASE_NS_PER_MS};
    struct world w = world_new("open", lab_link_both(way));
    struct lab_counters c;
    int a = sock_in(w.a, SOCK_DGRAM, 5000), b = sock_in(w.b, SOCK_DGRAM, 6000);
    for (int i = 0; i < 10; i++) {
        uint64_t start = base_now_ns();
        send_to(a, "198.51.100.2", 6000);
        came_from(&w, b);
        assert_true(base_now_ns() - start >= 2 * way.delay_ns);
    }
    lab_counters(w.lab, &c);
    assert_int_equal(c.packets, 10);
    assert_int_equal(c.delayed, 10);
    assert_int_equal(c.overflow, 0);
    close(a), close(b);
    world_free(&w);
}

static void jitter_keeps_order(void **state)
{
    enum { N = 200 };
    (void)state;
    struct world w = world_new("open", lab_link_both((struct lab_way){.jitter_ns = 5 * BASE_NS_PER_MS}));
    int a = sock_in(w.a, SOCK_DGRAM, 5000), b = sock_in(w.b, SOCK_DGRAM, 6000);
    union base_ep to = ep("198.51.100.2", 6000);
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(sendto(a, &i, sizeof(i), 0, &to.sa, base_ep_len(&to)), sizeof(i));
    for (uint32_t i = 0, got; i < N; i++) {
        assert_true(wait_fd(&w, b, POLLIN, MUST_NS) & POLLIN);
        assert_int_equal(recv(b, &got, sizeof(got), 0), sizeof(got));
        assert_int_equal(got, i);
    }
    close(a), close(b);
    world_free(&w);
}

static void loss_and_nowhere_are_counted(void **state)
{
    (void)state;
    struct world w = world_new("linux-strict", lab_link_both((struct lab_way){.loss = 1.0}));
    struct lab_counters c;
    int a = sock_in(w.a, SOCK_DGRAM, 5000), s = sock_in(w.s, SOCK_DGRAM, 1001);
    send_to(a, "203.0.113.9", 1001);
    send_to(s, "203.0.113.77", 1001);
    assert_int_equal(wait_fd(&w, s, POLLIN, MUST_NOT_NS), 0);
    lab_counters(w.lab, &c);
    assert_int_equal(c.lost, 1);
    assert_int_equal(c.no_route, 1);
    assert_int_equal(c.packets, 0);
    close(a), close(s);
    world_free(&w);
}

/* Segmentation and checksums are left to "hardware" by the veth: what comes out of the TUN has to be whole. */
static void bulk_tcp_is_intact(void **state)
{
    enum { TOTAL = 4 << 20 };
    (void)state;
    struct world w = world_new("linux-random", lab_link_both((struct lab_way){.delay_ns = BASE_NS_PER_MS}));
    int listener = listen_in(w.s, 2000);
    struct pair p = connect_pair(&w, w.a, listener, 2000);
    static uint8_t out[65536], in[65536];
    size_t sent = 0, got = 0;
    uint64_t deadline = base_now_ns() + 4 * MUST_NS;
    while ((got < sent || sent < TOTAL) && base_now_ns() < deadline) {
        for (size_t i = 0; i < sizeof(out); i++)
            out[i] = (uint8_t)((sent + i) % 251);
        ssize_t n = sent < TOTAL ? send(p.client, out, sizeof(out), MSG_NOSIGNAL) : 0;
        sent += n > 0 ? (size_t)n : 0;
        assert_int_equal(loop_run_once(w.loop, BASE_NS_PER_MS / 4), 0);
        while ((n = recv(p.server, in, sizeof(in), 0)) > 0)
            for (ssize_t i = 0; i < n; i++, got++)
                if (in[i] != (uint8_t)(got % 251))
                    fail_msg("byte %zu differs", got);
    }
    assert_int_equal(got, sent);
    assert_true(got >= TOTAL);
    close(p.client), close(p.server), close(listener);
    world_free(&w);
}

/* ---- hops ------------------------------------------------------------------------------------ */

/* Who says that fd's packet died on its way; unset when nobody does. */
static union base_ep who_dropped(struct world *w, int fd)
{
    char control[512], data[64];
    union base_ep to = {0};
    struct iovec iov = {data, sizeof(data)};
    struct msghdr msg = {.msg_name = &to,
                         .msg_namelen = sizeof(to),
                         .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    union base_ep who = {0};
    if (!(wait_fd(w, fd, 0, MUST_NOT_NS) & POLLERR) || recvmsg(fd, &msg, MSG_ERRQUEUE) < 0)
        return who;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        const struct sock_extended_err *e = (const void *)CMSG_DATA(c);
        bool mine = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
        if (mine && e->ee_errno == EHOSTUNREACH)
            memcpy(&who, SO_EE_OFFENDER(e), c->cmsg_level == IPPROTO_IP ? sizeof(who.v4) : sizeof(who.v6));
    }
    return who;
}

static void ttl_dies_between_the_routers(void **state)
{
    (void)state;
    struct world w = world_new("linux-strict", lab_link_both((struct lab_way){.delay_ns = BASE_NS_PER_MS}));
    int a = sock_in(w.a, SOCK_DGRAM, 5000), s = sock_in(w.s, SOCK_DGRAM, 1001), one = 1, ttl = 2;
    union base_ep lab = ep("192.0.0.8", 0), who;
    assert_int_equal(setsockopt(a, IPPROTO_IP, IP_RECVERR, &one, sizeof(one)), 0);
    /* One hop is a's own router; the second is the lab. */
    assert_int_equal(setsockopt(a, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)), 0);
    send_to(a, "203.0.113.9", 1001);
    who = who_dropped(&w, a);
    assert_true(base_ep_same_addr(&who, &lab));
    ttl = 3;
    assert_int_equal(setsockopt(a, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)), 0);
    send_to(a, "203.0.113.9", 1001);
    who = came_from(&w, s);
    assert_int_equal(base_ep_port(&who), 5000);
    close(a), close(s);
    world_free(&w);
}

/* ---- IPv6 ------------------------------------------------------------------------------------ */

static void ipv6_is_carried_and_translated(void **state)
{
    (void)state;
    struct world w = world_new("open", (struct lab_link){0});
    struct lab_host *a6 = add(&w, "a6", "linux-random", "2001:db8:1::1", "fd00:1::2", (struct lab_link){0});
    struct lab_host *s6 = add(&w, "s6", "open", "2001:db8:9::9", "fd00:9::2", (struct lab_link){0});
    int a = sock_in(a6, SOCK_DGRAM, 5000), s = sock_in(s6, SOCK_DGRAM, 1001), one = 1, hops = 2;
    union base_ep want = ep("2001:db8:1::1", 0), lab = ep("2001:db8:ffff::8", 0);
    /* The first one, at once: the lab does not hand out a host whose link is not ready. */
    send_to(a, "2001:db8:9::9", 1001);
    union base_ep from = came_from(&w, s);
    assert_true(base_ep_same_addr(&from, &want));
    assert_int_equal(sendto(s, "y", 1, 0, &from.sa, base_ep_len(&from)), 1);
    from = came_from(&w, a);
    assert_int_equal(base_ep_port(&from), 1001);
    assert_int_equal(setsockopt(a, IPPROTO_IPV6, IPV6_RECVERR, &one, sizeof(one)), 0);
    assert_int_equal(setsockopt(a, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof(hops)), 0);
    send_to(a, "2001:db8:9::9", 1001);
    from = who_dropped(&w, a);
    assert_true(base_ep_same_addr(&from, &lab));
    close(a), close(s);
    world_free(&w);
}

static bool nothing_comes(struct world *w, int fd)
{
    return wait_fd(w, fd, POLLIN, MUST_NOT_NS) == 0;
}

/* RFC 6092: the host's own address outside, answers let in, strangers not; and the router is there to be seen. */
static void a_firewall_filters_and_translates_nothing(void **state)
{
    (void)state;
    struct world w = world_new("open", (struct lab_link){0});
    struct lab_host *a6 = add(&w, "a6", "firewall6", "2001:db8:1::2", "fd00:1::2", (struct lab_link){0});
    struct lab_host *s6 = add(&w, "s6", "open", "2001:db8:9::9", "fd00:9::2", (struct lab_link){0});
    int a = sock_in(a6, SOCK_DGRAM, 5000), s = sock_in(s6, SOCK_DGRAM, 1001), other = sock_in(s6, SOCK_DGRAM, 1002);
    int one = 1, hops = 1;
    union base_ep want = ep("2001:db8:1::2", 5000), router = ep("2001:db8:1::1", 0);
    send_to(s, "2001:db8:1::2", 5000);
    assert_true(nothing_comes(&w, a));
    send_to(a, "2001:db8:9::9", 1001);
    union base_ep from = came_from(&w, s);
    assert_true(base_ep_equal(&from, &want));
    send_to(other, "2001:db8:1::2", 5000);
    assert_true(nothing_comes(&w, a));
    send_to(s, "2001:db8:1::2", 5000);
    came_from(&w, a);
    assert_int_equal(setsockopt(a, IPPROTO_IPV6, IPV6_RECVERR, &one, sizeof(one)), 0);
    assert_int_equal(setsockopt(a, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof(hops)), 0);
    send_to(a, "2001:db8:9::9", 1001);
    from = who_dropped(&w, a);
    assert_true(base_ep_same_addr(&from, &router));
    close(a), close(s), close(other);
    world_free(&w);
}

static void a_firewall_wants_its_own_family(void **state)
{
    (void)state;
    struct world w = world_new("open", (struct lab_link){0});
    struct lab_profile p;
    struct lab_host *host;
    char err[LAB_ERROR_LEN] = "";
    union base_ep v4 = ep("198.51.100.77", 0), inside = ep("10.1.0.2", 0);
    struct lab_link link = {0};
    assert_int_equal(lab_profile_find("bench/profiles", "firewall6", &p, err), 0);
    assert_int_equal(lab_add_host(w.lab, "f", &p, &v4, 1, &inside, &link, &host, err), -EINVAL);
    assert_non_null(strstr(err, "IPv6"));
    world_free(&w);
}

/* ---- programs that are NATs ------------------------------------------------------------------- */

static void a_missing_program_is_named(void **state)
{
    (void)state;
    struct world w = world_new("open", (struct lab_link){0});
    struct lab_profile p;
    struct lab_host *host;
    const char *was = getenv("PATH");
    char err[LAB_ERROR_LEN] = "", *path = strdup(was ? was : "");
    union base_ep outside = ep("198.51.100.77", 0), inside = ep("10.1.0.2", 0);
    struct lab_link link = {0};
    assert_int_equal(lab_profile_find("bench/profiles", "pasta", &p, err), 0);
    assert_int_equal(setenv("PATH", "/nowhere", 1), 0);
    assert_int_equal(lab_add_host(w.lab, "c", &p, &outside, 1, &inside, &link, &host, err), -ENOENT);
    assert_non_null(strstr(err, "package passt"));
    assert_int_equal(setenv("PATH", path, 1), 0);
    free(path);
    world_free(&w);
}

/* ---- programs -------------------------------------------------------------------------------- */

static int spawn_sh(struct world *w, struct lab_host *host, const char *script, int out, pid_t *pid, int *pidfd)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    struct lab_command cmd = {.argv = argv, .fd_in = -1, .fd_out = out, .fd_err = STDERR_FILENO};
    return lab_spawn(w->lab, host, &cmd, pid, pidfd);
}

static void programs_run_in_their_host(void **state)
{
    (void)state;
    struct world w = world_new("linux-strict", (struct lab_link){0});
    const char *nothing[] = {"/nonexistent/program", NULL};
    struct lab_command bad = {.argv = nothing, .fd_in = -1, .fd_out = -1, .fd_err = -1};
    int ends[2], pidfd, status;
    char text[64] = "", want[64];
    struct stat st;
    pid_t pid;
    assert_int_equal(lab_spawn(w.lab, w.a, &bad, &pid, &pidfd), -ENOENT);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(spawn_sh(&w, w.a, "readlink /proc/self/ns/net; exit 7", ends[1], &pid, &pidfd), 0);
    close(ends[1]);
    assert_true(wait_fd(&w, pidfd, POLLIN, MUST_NS) & POLLIN);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(fstat(lab_host_netns(w.a), &st), 0);
    snprintf(want, sizeof(want), "net:[%lu]\n", (unsigned long)st.st_ino);
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    assert_string_equal(text, want);
    close(ends[0]), close(pidfd);
    world_free(&w);
}

/* Whether any process is in the network namespace, or holds a descriptor of it. */
static bool netns_in_use(unsigned long ino)
{
    char want[64], path[600], link[64];
    snprintf(want, sizeof(want), "net:[%lu]", ino);
    DIR *proc = opendir("/proc");
    bool used = false;
    assert_non_null(proc);
    for (struct dirent *p; !used && (p = readdir(proc));) {
        if (p->d_name[0] < '0' || p->d_name[0] > '9')
            continue;
        snprintf(path, sizeof(path), "/proc/%s/ns/net", p->d_name);
        ssize_t n = readlink(path, link, sizeof(link) - 1);
        used = n > 0 && (link[n] = '\0', strcmp(link, want) == 0);
        snprintf(path, sizeof(path), "/proc/%s/fd", p->d_name);
        DIR *fds = used ? NULL : opendir(path);
        for (struct dirent *f; fds && !used && (f = readdir(fds));) {
            snprintf(path, sizeof(path), "/proc/%s/fd/%s", p->d_name, f->d_name);
            n = readlink(path, link, sizeof(link) - 1);
            used = n > 0 && (link[n] = '\0', strcmp(link, want) == 0);
        }
        if (fds)
            closedir(fds);
    }
    closedir(proc);
    return used;
}

/* The numbers of a's namespaces: its own, and its router's. */
struct netns_pair {
    unsigned long host, router;
};

static struct netns_pair netns_of(const struct lab_host *host)
{
    struct stat h, r;
    assert_int_equal(fstat(host->netns, &h), 0);
    assert_int_equal(fstat(host->router.netns, &r), 0);
    return (struct netns_pair){(unsigned long)h.st_ino, (unsigned long)r.st_ino};
}

/* With a daemon: a grandchild in a session of its own, whose parent is gone. */
static const char daemon_script[] = "(setsid sleep 1000 &) ; exec sleep 1000";

static void __attribute__((noreturn)) doomed_lab(int tell)
{
    struct world w = world_new("linux-strict", (struct lab_link){0});
    pid_t pid;
    int pidfd;
    if (spawn_sh(&w, w.a, daemon_script, -1, &pid, &pidfd) < 0)
        _exit(1);
    pump(&w, 100 * BASE_NS_PER_MS);
    struct netns_pair ns = netns_of(w.a);
    if (write(tell, &ns, sizeof(ns)) != (ssize_t)sizeof(ns))
        _exit(1);
    for (;;)
        pause();
}

static void kill_leaves_nothing(void **state)
{
    (void)state;
    int ends[2];
    struct netns_pair ns = {0};
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0)
        doomed_lab(ends[1]);
    close(ends[1]);
    assert_int_equal(read(ends[0], &ns, sizeof(ns)), sizeof(ns));
    assert_true(netns_in_use(ns.host));
    assert_true(netns_in_use(ns.router));
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    uint64_t deadline = base_now_ns() + MUST_NS;
    while ((netns_in_use(ns.host) || netns_in_use(ns.router)) && base_now_ns() < deadline)
        usleep(1000);
    assert_false(netns_in_use(ns.host));
    assert_false(netns_in_use(ns.router));
    close(ends[0]);
}

static void destroy_leaves_nothing(void **state)
{
    (void)state;
    struct world w = world_new("linux-strict", (struct lab_link){0});
    pid_t pid;
    int pidfd;
    assert_int_equal(spawn_sh(&w, w.a, daemon_script, -1, &pid, &pidfd), 0);
    pump(&w, 100 * BASE_NS_PER_MS);
    struct netns_pair ns = netns_of(w.a);
    assert_true(netns_in_use(ns.host));
    world_free(&w);
    assert_false(netns_in_use(ns.host));
    assert_false(netns_in_use(ns.router));
    close(pidfd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_arrives_early),
        cmocka_unit_test(jitter_keeps_order),
        cmocka_unit_test(loss_and_nowhere_are_counted),
        cmocka_unit_test(bulk_tcp_is_intact),
        cmocka_unit_test(ttl_dies_between_the_routers),
        cmocka_unit_test(ipv6_is_carried_and_translated),
        cmocka_unit_test(a_firewall_filters_and_translates_nothing),
        cmocka_unit_test(a_firewall_wants_its_own_family),
        cmocka_unit_test(a_missing_program_is_named),
        cmocka_unit_test(programs_run_in_their_host),
        cmocka_unit_test(kill_leaves_nothing),
        cmocka_unit_test(destroy_leaves_nothing),
    };
    return world_run(tests) ? 1 : 0;
}
