/*
 * The lab against the kernel: hosts, netfilter routers and the internet between them, exercised with ordinary sockets
 * that live in the hosts' namespaces.
 *
 * Pins: a profile that does not do what its file says (ports kept, random, in range; unsolicited packets dropped or
 * answered; poisoned ports), a reset that loses the control connection or leaves a mapping, packets that arrive
 * earlier than their links allow, wrong checksums after veth and NAT, TTL that is not counted, programs or namespaces
 * that outlive a kill -9. Where no lab may be built, it skips with lab_enter's reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <dirent.h>
#include <linux/errqueue.h>

#include "bench/lab/internal.h"
#include "bench/lab/netns.h"

/* Long enough for anything that must happen; reached only when a test fails. */
#define MUST_NS (5 * BASE_NS_PER_S)
/* How long to look for what must not happen. */
#define MUST_NOT_NS (150 * BASE_NS_PER_MS)
#define KEEP_PORT   3478

struct world {
    struct loop *loop;
    struct lab *lab;
    struct lab_host *a, *b, *s;
};

static const char *profiles_dir = "bench/profiles";

/* ---- building -------------------------------------------------------------------------------- */

static union base_ep ep(const char *addr, uint16_t port)
{
    union base_ep out;
    assert_int_equal(base_ep_parse_addr(addr, &out), 0);
    base_ep_set_port(&out, port);
    return out;
}

static struct lab_host *add(struct world *w, const char *name, const char *profile, const char *pub, const char *priv,
                            struct lab_link link)
{
    char err[LAB_ERROR_LEN] = "";
    struct lab_profile p;
    struct lab_host *host;
    union base_ep public_addr = ep(pub, 0), private_addr = ep(priv, 0);
    if (lab_profile_find(profiles_dir, profile, &p, err) < 0 ||
        lab_add_host(w->lab, name, &p, &public_addr, 1, &private_addr, &link, &host, err) < 0)
        fail_msg("%s", err);
    return host;
}

/* a and b behind `profile`, each with this link, and s with a public address and no delay. */
static struct world world_new(const char *profile, struct lab_link link)
{
    struct world w;
    char err[LAB_ERROR_LEN];
    union base_ep keep = ep("203.0.113.9", KEEP_PORT);
    assert_int_equal(loop_create(&w.loop, 0), 0);
    assert_int_equal(lab_create(&w.lab, w.loop, 1, err), 0);
    assert_int_equal(lab_set_keep(w.lab, &keep), 0);
    w.a = add(&w, "a", profile, "198.51.100.1", "10.1.0.2", link);
    w.b = add(&w, "b", profile, "198.51.100.2", "10.1.0.2", link);
    w.s = add(&w, "s", "open", "203.0.113.9", "10.9.0.2", (struct lab_link){0});
    return w;
}

static void world_free(struct world *w)
{
    lab_destroy(w->lab);
    assert_int_equal(loop_pending(w->loop), 0);
    loop_destroy(w->loop);
}

/* ---- sockets in hosts ------------------------------------------------------------------------ */

static int sock_at(struct lab_host *host, int type, union base_ep local)
{
    int saved, one = 1;
    assert_int_equal(lab_ns_enter(lab_host_netns(host), &saved), 0);
    int fd = socket(local.sa.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    lab_ns_leave(saved);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(fd, &local.sa, base_ep_len(&local)), 0);
    return fd;
}

static int sock_in(struct lab_host *host, int type, uint16_t port)
{
    union base_ep local = *lab_host_addr(host);
    base_ep_set_port(&local, port);
    return sock_at(host, type, local);
}

/* Lets packets move until fd is ready; returns the ready events, 0 after `within_ns`. */
static int wait_fd(struct world *w, int fd, short events, uint64_t within_ns)
{
    uint64_t deadline = base_now_ns() + within_ns;
    struct pollfd p = {.fd = fd, .events = events};
    while (poll(&p, 1, 0) == 0 && base_now_ns() < deadline)
        assert_int_equal(loop_run_once(w->loop, BASE_NS_PER_MS / 2), 0);
    return p.revents;
}

static void pump(struct world *w, uint64_t ns)
{
    for (uint64_t end = base_now_ns() + ns; base_now_ns() < end;)
        assert_int_equal(loop_run_once(w->loop, BASE_NS_PER_MS / 2), 0);
}

static void send_to(int fd, const char *addr, uint16_t port)
{
    union base_ep to = ep(addr, port);
    assert_int_equal(sendto(fd, "x", 1, 0, &to.sa, base_ep_len(&to)), 1);
}

/* The sender of the next datagram at fd, which must come. */
static union base_ep came_from(struct world *w, int fd)
{
    union base_ep from = {0};
    char buf[16];
    socklen_t len = sizeof(from);
    assert_true(wait_fd(w, fd, POLLIN, MUST_NS) & POLLIN);
    assert_int_equal(recvfrom(fd, buf, sizeof(buf), 0, &from.sa, &len), 1);
    return from;
}

static int listen_in(struct lab_host *host, uint16_t port)
{
    int fd = sock_in(host, SOCK_STREAM, port);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

struct pair {
    int client, server;
};

static struct pair connect_pair(struct world *w, struct lab_host *from, int listener, uint16_t port)
{
    union base_ep to = ep("203.0.113.9", port);
    struct pair p = {.client = sock_in(from, SOCK_STREAM, 0)};
    assert_int_equal(connect(p.client, &to.sa, base_ep_len(&to)), -1);
    assert_int_equal(errno, EINPROGRESS);
    assert_true(wait_fd(w, listener, POLLIN, MUST_NS) & POLLIN);
    p.server = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(p.server >= 0);
    assert_int_equal(wait_fd(w, p.client, POLLOUT, MUST_NS), POLLOUT);
    return p;
}

static uint64_t mappings(struct world *w, struct lab_host *host)
{
    uint64_t n = 0;
    assert_int_equal(lab_host_mappings(w->lab, host, &n), 0);
    return n;
}

/* ---- mapping --------------------------------------------------------------------------------- */

static void ports_are_preserved(void **state)
{
    (void)state;
    struct world w = world_new("linux-strict", (struct lab_link){0});
    int s1 = sock_in(w.s, SOCK_DGRAM, 1001), s2 = sock_in(w.s, SOCK_DGRAM, 1002), a = sock_in(w.a, SOCK_DGRAM, 5000);
    union base_ep want = ep("198.51.100.1", 5000), got;
    send_to(a, "203.0.113.9", 1001);
    got = came_from(&w, s1);
    assert_true(base_ep_equal(&got, &want));
    send_to(a, "203.0.113.9", 1002);
    got = came_from(&w, s2);
    assert_true(base_ep_equal(&got, &want));
    assert_int_equal(mappings(&w, w.a), 2);
    close(s1), close(s2), close(a);
    world_free(&w);
}

/* With n destinations, how many of the mapped ports differ, and in which range they lie. */
static void look_at_ports(const char *profile, unsigned lo, unsigned hi)
{
    enum { N = 12 };
    struct world w = world_new(profile, (struct lab_link){0});
    unsigned ports[N], distinct = 0;
    int a = sock_in(w.a, SOCK_DGRAM, 5000);
    for (unsigned i = 0; i < N; i++) {
        int s = sock_in(w.s, SOCK_DGRAM, (uint16_t)(2000 + i));
        send_to(a, "203.0.113.9", (uint16_t)(2000 + i));
        union base_ep from = came_from(&w, s);
        ports[i] = base_ep_port(&from);
        assert_in_range(ports[i], lo, hi);
        bool seen = false;
        for (unsigned j = 0; j < i; j++)
            seen |= ports[j] == ports[i];
        distinct += !seen;
        close(s);
    }
    /* In 2,000 ports, three or more coincidences among 12 have a probability below 1e-5. */
    assert_true(distinct >= N - 2);
    close(a);
    world_free(&w);
}

static void ports_are_random(void **state)
{
    (void)state;
    look_at_ports("linux-random", 1024, 65535);
}

static void ports_are_in_range(void **state)
{
    (void)state;
    look_at_ports("linux-range", 40000, 41999);
}

/* ---- filtering ------------------------------------------------------------------------------- */

static void only_the_destination_may_answer(void **state)
{
    (void)state;
    struct world w = world_new("linux-strict", (struct lab_link){0});
    int s1 = sock_in(w.s, SOCK_DGRAM, 1001), s2 = sock_in(w.s, SOCK_DGRAM, 1002), a = sock_in(w.a, SOCK_DGRAM, 5000);
    send_to(a, "203.0.113.9", 1001);
    came_from(&w, s1);
    send_to(s2, "198.51.100.1", 5000);
    assert_int_equal(wait_fd(&w, a, POLLIN, MUST_NOT_NS), 0);
    send_to(s1, "198.51.100.1", 5000);
    union base_ep from = came_from(&w, a);
    assert_int_equal(base_ep_port(&from), 1001);
    close(s1), close(s2), close(a);
    world_free(&w);
}

/* b knocks at a's port before a uses it towards b; which port does b then see? */
static unsigned port_after_knock(const char *profile, uint64_t *entries)
{
    struct world w = world_new(profile, (struct lab_link){0});
    int s = sock_in(w.s, SOCK_DGRAM, 1001), a = sock_in(w.a, SOCK_DGRAM, 5000);
    send_to(s, "198.51.100.1", 5000);
    pump(&w, 20 * BASE_NS_PER_MS);
    *entries = mappings(&w, w.a);
    int error;
    socklen_t len = sizeof(error);
    getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &len);
    send_to(a, "203.0.113.9", 1001);
    union base_ep from = came_from(&w, s);
    close(s), close(a);
    world_free(&w);
    return base_ep_port(&from);
}

static void unsolicited_occupies_no_port(void **state)
{
    (void)state;
    uint64_t entries;
    assert_int_equal(port_after_knock("linux-strict", &entries), 5000);
    assert_int_equal(entries, 0);
}

static void unsolicited_poisons_the_port_of_rst_profiles(void **state)
{
    (void)state;
    uint64_t entries;
    assert_int_not_equal(port_after_knock("linux-rst", &entries), 5000);
    assert_int_equal(entries, 1);
}

/* What a SYN to a's router gets: the socket's error, or 0 for silence. */
static int knock_with_syn(const char *profile)
{
    struct world w = world_new(profile, (struct lab_link){0});
    union base_ep to = ep("198.51.100.1", 5000);
    int s = sock_in(w.s, SOCK_STREAM, 0), error = 0;
    socklen_t len = sizeof(error);
    assert_int_equal(connect(s, &to.sa, base_ep_len(&to)), -1);
    wait_fd(&w, s, POLLOUT, MUST_NOT_NS);
    getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &len);
    close(s);
    world_free(&w);
    return error;
}

static void unsolicited_syn_is_dropped_or_reset(void **state)
{
    (void)state;
    assert_int_equal(knock_with_syn("linux-strict"), 0);
    assert_int_equal(knock_with_syn("linux-random"), 0);
    assert_int_equal(knock_with_syn("linux-rst"), ECONNREFUSED);
    assert_int_equal(knock_with_syn("linux-random-rst"), ECONNREFUSED);
}

static void both_sides_punch(void **state)
{
    (void)state;
    struct world w = world_new("linux-strict", (struct lab_link){.delay_ns = 2 * BASE_NS_PER_MS});
    int a = sock_in(w.a, SOCK_DGRAM, 5000), b = sock_in(w.b, SOCK_DGRAM, 6000);
    send_to(a, "198.51.100.2", 6000);
    send_to(b, "198.51.100.1", 5000);
    union base_ep from = came_from(&w, a), want = ep("198.51.100.2", 6000);
    assert_true(base_ep_equal(&from, &want));
    from = came_from(&w, b);
    want = ep("198.51.100.1", 5000);
    assert_true(base_ep_equal(&from, &want));
    close(a), close(b);
    world_free(&w);
}

/*
 * a opens a hole towards s with a SYN that dies on its way, closes that socket and listens on its port; then s connects
 * through the hole. The listener's SYN-ACK has another sequence number than the SYN that conntrack remembers.
 */
static bool closed_hole_connects(const char *profile)
{
    struct world w = world_new(profile, (struct lab_link){0});
    union base_ep to = ep("203.0.113.9", 6000), back = ep("198.51.100.1", 5000);
    int dying = 2, opener = sock_in(w.a, SOCK_STREAM, 5000);
    assert_int_equal(setsockopt(opener, IPPROTO_IP, IP_TTL, &dying, sizeof(dying)), 0);
    assert_int_equal(connect(opener, &to.sa, base_ep_len(&to)), -1);
    pump(&w, 10 * BASE_NS_PER_MS);
    assert_int_equal(mappings(&w, w.a), 1);
    close(opener);
    int listener = listen_in(w.a, 5000), prober = sock_in(w.s, SOCK_STREAM, 6000);
    assert_int_equal(connect(prober, &back.sa, base_ep_len(&back)), -1);
    bool connected = wait_fd(&w, prober, POLLOUT, MUST_NOT_NS) == POLLOUT;
    close(listener), close(prober);
    world_free(&w);
    return connected;
}

static void window_check_is_as_declared(void **state)
{
    (void)state;
    assert_false(closed_hole_connects("linux-strict"));
    assert_true(closed_hole_connects("linux-liberal"));
}

/* ---- reset ----------------------------------------------------------------------------------- */

static void reset_spares_the_control_connection(void **state)
{
    static const char *const profiles[] = {"linux-strict", "linux-random", "linux-range", "linux-random-rst"};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(profiles); i++) {
        struct world w = world_new(profiles[i], (struct lab_link){0});
        int control = listen_in(w.s, KEEP_PORT), other = listen_in(w.s, KEEP_PORT + 1);
        int u = sock_in(w.a, SOCK_DGRAM, 5000);
        char buf[4];
        struct pair kept = connect_pair(&w, w.a, control, KEEP_PORT);
        struct pair gone = connect_pair(&w, w.a, other, KEEP_PORT + 1);
        send_to(u, "203.0.113.9", 1001);
        pump(&w, 5 * BASE_NS_PER_MS);
        assert_int_equal(mappings(&w, w.a), 3);
        assert_int_equal(lab_reset_nats(w.lab), 0);
        assert_int_equal(mappings(&w, w.a), 1);
        /* From outside first: only a surviving entry lets that in. */
        assert_int_equal(send(kept.server, "hey", 3, 0), 3);
        assert_int_equal(wait_fd(&w, kept.client, POLLIN, MUST_NS), POLLIN);
        assert_int_equal(recv(kept.client, buf, sizeof(buf), 0), 3);
        assert_int_equal(send(kept.client, "you", 3, 0), 3);
        assert_int_equal(wait_fd(&w, kept.server, POLLIN, MUST_NS), POLLIN);
        send(gone.server, "lost", 4, 0);
        assert_false(wait_fd(&w, gone.client, POLLIN, MUST_NOT_NS) & POLLIN);
        close(kept.client), close(kept.server), close(gone.client), close(gone.server);
        close(control), close(other), close(u);
        world_free(&w);
    }
}

/* ---- links ----------------------------------------------------------------------------------- */

static void nothing_arrives_early(void **state)
{
    (void)state;
    struct lab_link link = {.delay_ns = 10 * BASE_NS_PER_MS, .jitter_ns = 3 * BASE_NS_PER_MS};
    struct world w = world_new("open", link);
    struct lab_counters c;
    int a = sock_in(w.a, SOCK_DGRAM, 5000), b = sock_in(w.b, SOCK_DGRAM, 6000);
    for (int i = 0; i < 10; i++) {
        uint64_t start = base_now_ns();
        send_to(a, "198.51.100.2", 6000);
        came_from(&w, b);
        assert_true(base_now_ns() - start >= 2 * link.delay_ns);
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
    struct world w = world_new("open", (struct lab_link){.jitter_ns = 5 * BASE_NS_PER_MS});
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
    struct world w = world_new("linux-strict", (struct lab_link){.loss = 1.0});
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
    struct world w = world_new("linux-random", (struct lab_link){.delay_ns = BASE_NS_PER_MS});
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
    struct world w = world_new("linux-strict", (struct lab_link){.delay_ns = BASE_NS_PER_MS});
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

/* ---- programs -------------------------------------------------------------------------------- */

static int spawn_sh(struct world *w, struct lab_host *host, const char *script, int out, pid_t *pid, int *pidfd)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    struct lab_command cmd = {argv, -1, out, STDERR_FILENO};
    return lab_spawn(w->lab, host, &cmd, pid, pidfd);
}

static void programs_run_in_their_host(void **state)
{
    (void)state;
    struct world w = world_new("linux-strict", (struct lab_link){0});
    const char *nothing[] = {"/nonexistent/program", NULL};
    struct lab_command bad = {nothing, -1, -1, -1};
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

static char why_not[LAB_ERROR_LEN];

static void no_lab_here(void **state)
{
    (void)state;
    print_message("skip: %s\n", why_not);
    skip();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_are_preserved),
        cmocka_unit_test(ports_are_random),
        cmocka_unit_test(ports_are_in_range),
        cmocka_unit_test(only_the_destination_may_answer),
        cmocka_unit_test(unsolicited_occupies_no_port),
        cmocka_unit_test(unsolicited_poisons_the_port_of_rst_profiles),
        cmocka_unit_test(unsolicited_syn_is_dropped_or_reset),
        cmocka_unit_test(both_sides_punch),
        cmocka_unit_test(window_check_is_as_declared),
        cmocka_unit_test(reset_spares_the_control_connection),
        cmocka_unit_test(nothing_arrives_early),
        cmocka_unit_test(jitter_keeps_order),
        cmocka_unit_test(loss_and_nowhere_are_counted),
        cmocka_unit_test(bulk_tcp_is_intact),
        cmocka_unit_test(ttl_dies_between_the_routers),
        cmocka_unit_test(ipv6_is_carried_and_translated),
        cmocka_unit_test(programs_run_in_their_host),
        cmocka_unit_test(destroy_leaves_nothing),
        cmocka_unit_test(kill_leaves_nothing),
    };
    const struct CMUnitTest skipping[] = {cmocka_unit_test(no_lab_here)};
    if (argc > 1)
        profiles_dir = argv[1];
    if (lab_enter(why_not) < 0)
        return cmocka_run_group_tests(skipping, NULL, NULL) ? 1 : 0;
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
