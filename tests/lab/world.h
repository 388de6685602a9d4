/*
 * A small world for lab tests: hosts a and b behind routers of one profile, s with a public address; and ordinary
 * sockets that live in their namespaces, while this process moves the packets.
 */
#ifndef TESTS_LAB_WORLD_H
#define TESTS_LAB_WORLD_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

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

/* ---- building -------------------------------------------------------------------------------- */

static inline union base_ep ep(const char *addr, uint16_t port)
{
    union base_ep out;
    assert_int_equal(base_ep_parse_addr(addr, &out), 0);
    base_ep_set_port(&out, port);
    return out;
}

static inline struct lab_host *add(struct world *w, const char *name, const char *profile, const char *pub,
                                   const char *priv, struct lab_link link)
{
    char err[LAB_ERROR_LEN] = "";
    struct lab_profile p;
    struct lab_host *host = NULL;
    union base_ep public_addr = ep(pub, 0), private_addr = ep(priv, 0);
    if (lab_profile_find("bench/profiles", profile, &p, err) < 0 ||
        lab_add_host(w->lab, name, &p, &public_addr, 1, &private_addr, &link, &host, err) < 0)
        fail_msg("%s", err);
    return host;
}

/* A lab without hosts. */
static inline struct world world_empty(void)
{
    struct world w = {0};
    char err[LAB_ERROR_LEN];
    union base_ep keep = ep("203.0.113.9", KEEP_PORT);
    assert_int_equal(loop_create(&w.loop, 0), 0);
    assert_int_equal(lab_create(&w.lab, w.loop, 1, err), 0);
    assert_int_equal(lab_set_keep(w.lab, &keep), 0);
    return w;
}

/* a and b behind `profile`, each with this link, and s with a public address and no delay. */
static inline struct world world_new(const char *profile, struct lab_link link)
{
    struct world w = world_empty();
    w.a = add(&w, "a", profile, "198.51.100.1", "10.1.0.2", link);
    w.b = add(&w, "b", profile, "198.51.100.2", "10.1.0.2", link);
    w.s = add(&w, "s", "open", "203.0.113.9", "10.9.0.2", (struct lab_link){0});
    return w;
}

static inline void world_free(struct world *w)
{
    lab_destroy(w->lab);
    assert_int_equal(loop_pending(w->loop), 0);
    loop_destroy(w->loop);
}

/* The same, and nothing has left a NAT with an address that it does not have. */
static inline void world_done(struct world *w)
{
    struct lab_counters c;
    lab_counters(w->lab, &c);
    assert_int_equal(c.bad_source, 0);
    assert_int_equal(c.malformed, 0);
    world_free(w);
}

/* ---- sockets in hosts ------------------------------------------------------------------------ */

static inline int sock_at(struct lab_host *host, int type, union base_ep local)
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

static inline int sock_in(struct lab_host *host, int type, uint16_t port)
{
    union base_ep local = *lab_host_addr(host);
    base_ep_set_port(&local, port);
    return sock_at(host, type, local);
}

/* Lets packets move until fd is ready; returns the ready events, 0 after `within_ns`. */
static inline int wait_fd(struct world *w, int fd, short events, uint64_t within_ns)
{
    uint64_t deadline = base_now_ns() + within_ns;
    struct pollfd p = {.fd = fd, .events = events};
    while (poll(&p, 1, 0) == 0 && base_now_ns() < deadline)
        assert_int_equal(loop_run_once(w->loop, BASE_NS_PER_MS / 2), 0);
    return p.revents;
}

static inline void pump(struct world *w, uint64_t ns)
{
    for (uint64_t end = base_now_ns() + ns; base_now_ns() < end;)
        assert_int_equal(loop_run_once(w->loop, BASE_NS_PER_MS / 2), 0);
}

static inline void send_to(int fd, const char *addr, uint16_t port)
{
    union base_ep to = ep(addr, port);
    assert_int_equal(sendto(fd, "x", 1, 0, &to.sa, base_ep_len(&to)), 1);
}

/* The sender of the next datagram at fd, which must come. */
static inline union base_ep came_from(struct world *w, int fd)
{
    union base_ep from = {0};
    char buf[16];
    socklen_t len = sizeof(from);
    assert_true(wait_fd(w, fd, POLLIN, MUST_NS) & POLLIN);
    assert_int_equal(recvfrom(fd, buf, sizeof(buf), 0, &from.sa, &len), 1);
    return from;
}

static inline int listen_in(struct lab_host *host, uint16_t port)
{
    int fd = sock_in(host, SOCK_STREAM, port);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

struct pair {
    int client, server;
};

static inline struct pair connect_pair(struct world *w, struct lab_host *from, int listener, uint16_t port)
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

static inline uint64_t mappings(struct world *w, struct lab_host *host)
{
    uint64_t n = 0;
    assert_int_equal(lab_host_mappings(w->lab, host, &n), 0);
    return n;
}

/* ---- main ---------------------------------------------------------------------------------------- */

static char why_no_lab[LAB_ERROR_LEN];

static inline void no_lab_here(void **state)
{
    (void)state;
    print_message("skip: %s\n", why_no_lab);
    skip();
}

/* Runs the tests, or skips with lab_enter's reason. */
#define world_run(tests)                                                                                               \
    (lab_enter(why_no_lab) < 0                                                                                         \
         ? cmocka_run_group_tests(((const struct CMUnitTest[]){cmocka_unit_test(no_lab_here)}), NULL, NULL)            \
         : cmocka_run_group_tests(tests, NULL, NULL))

#endif
