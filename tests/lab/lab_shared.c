/*
 * NATs that hosts share, seen by ordinary sockets: two hosts behind one home router, two homes under one carrier NAT.
 *
 * Pins: a private path that is not there, or that leads into the other home's network; a hairpin where the profile has
 * none, or none where it has one, or one with the wrong source; hops that are not counted; two instances where one is
 * shared; a reset that leaves a mapping or loses the control connection behind two NATs; a link that is left out.
 */
#include "tests/lab/world.h"

#define CARRIER "198.51.100.1"
#define HOME_A  "100.80.0.2"
#define HOME_B  "100.80.0.66"

static struct lab_host *place(struct world *w, const char *name, const char *profile, struct lab_host *behind,
                              const char *outside, const char *inside, struct lab_way way, bool shared)
{
    char err[LAB_ERROR_LEN] = "";
    struct lab_profile p;
    struct lab_host *host = NULL;
    union base_ep out = ep(outside, 0), in = ep(inside, 0);
    if (lab_profile_find("bench/profiles", profile, &p, err) < 0)
        fail_msg("%s", err);
    struct lab_place facts = {.name = name,
                              .profile = &p,
                              .behind = behind,
                              .outside = &out,
                              .n_outside = 1,
                              .inside = &in,
                              .link = lab_link_both(way)};
    if ((shared ? lab_add_shared : lab_add)(w->lab, &facts, &host, err) < 0)
        fail_msg("%s", err);
    return host;
}

static struct world world_with_server(void)
{
    struct world w = world_empty();
    w.s = add(&w, "s", "open", "203.0.113.9", "10.9.0.2", (struct lab_link){0});
    return w;
}

/* Two hosts in one home. */
static struct world home_world(const char *profile, struct lab_way way)
{
    struct world w = world_with_server();
    struct lab_host *nat = place(&w, profile, profile, NULL, CARRIER, "10.1.0.2", way, true);
    w.a = place(&w, "a", "open", nat, "10.1.0.2", "10.1.0.2", (struct lab_way){0}, false);
    w.b = place(&w, "b", "open", nat, "10.1.0.3", "10.1.0.3", (struct lab_way){0}, false);
    return w;
}

/* Two homes under one carrier. */
static struct world carrier_world(const char *home_a, const char *home_b, const char *carrier, struct lab_way way)
{
    struct world w = world_with_server();
    struct lab_host *nat = place(&w, carrier, carrier, NULL, CARRIER, HOME_A, (struct lab_way){0}, true);
    w.a = place(&w, "a", home_a, nat, HOME_A, "10.1.0.2", way, false);
    w.b = place(&w, "b", home_b, nat, HOME_B, "10.2.0.2", way, false);
    return w;
}

/* The sender of the next datagram at fd, which must come, and the TTL that it came with. */
static union base_ep came_with_ttl(struct world *w, int fd, int *ttl)
{
    union base_ep from = {0};
    char data[16], control[64];
    struct iovec iov = {data, sizeof(data)};
    struct msghdr msg = {.msg_name = &from,
                         .msg_namelen = sizeof(from),
                         .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    assert_true(wait_fd(w, fd, POLLIN, MUST_NS) & POLLIN);
    assert_int_equal(recvmsg(fd, &msg, 0), 1);
    *ttl = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL)
            memcpy(ttl, CMSG_DATA(c), sizeof(*ttl));
    return from;
}

static int ttl_sock(struct lab_host *host, uint16_t port)
{
    int fd = sock_in(host, SOCK_DGRAM, port), one = 1;
    assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &one, sizeof(one)), 0);
    return fd;
}

static void assert_from(const union base_ep *from, const char *addr, uint16_t port)
{
    union base_ep want = ep(addr, port);
    assert_true(base_ep_equal(from, &want));
}

static void assert_silence(struct world *w, int fd)
{
    assert_int_equal(wait_fd(w, fd, POLLIN, MUST_NOT_NS), 0);
}

/* What s sees of a socket of a host behind the NATs. */
static union base_ep mapped(struct world *w, int fd, int s)
{
    send_to(fd, "203.0.113.9", 1001);
    return came_from(w, s);
}

static void send_ep(int fd, const union base_ep *to)
{
    assert_int_equal(sendto(fd, "x", 1, 0, &to->sa, base_ep_len(to)), 1);
}

/* ---- two hosts in one home ------------------------------------------------------------------- */

static void neighbours_reach_each_other_without_the_nat(void **state)
{
    (void)state;
    struct world w = home_world("port-restricted", (struct lab_way){0});
    int a = ttl_sock(w.a, 5000), b = ttl_sock(w.b, 6000), ttl;
    send_to(a, "10.1.0.3", 6000);
    union base_ep from = came_with_ttl(&w, b, &ttl);
    assert_from(&from, "10.1.0.2", 5000);
    assert_int_equal(ttl, 64);
    send_to(b, "10.1.0.2", 5000);
    from = came_with_ttl(&w, a, &ttl);
    assert_from(&from, "10.1.0.3", 6000);
    /* Nobody has that address, here or outside. */
    send_to(a, "10.1.0.4", 6000);
    assert_silence(&w, b);
    close(a), close(b);
    world_done(&w);
}

static void behind_one(const char *profile)
{
    struct world w = home_world(profile, (struct lab_way){.delay_ns = 2 * BASE_NS_PER_MS});
    int a = ttl_sock(w.a, 5000), b = ttl_sock(w.b, 5000), s = ttl_sock(w.s, 1001), ttl;
    struct lab_nat_view views[4];
    send_to(a, "203.0.113.9", 1001);
    union base_ep of_a = came_with_ttl(&w, s, &ttl);
    assert_int_equal(ttl, 62); /* the NAT, and the internet */
    union base_ep of_b = mapped(&w, b, s);
    /* Preserved for the first; one endpoint for both it cannot be. */
    assert_from(&of_a, CARRIER, 5000);
    assert_true(base_ep_same_addr(&of_a, &of_b) && base_ep_port(&of_b) != 5000);
    send_ep(s, &of_b);
    came_with_ttl(&w, b, &ttl);
    assert_int_equal(ttl, 62);
    assert_int_equal(lab_nats(w.lab, views, BASE_ARRAY_LEN(views)), 1);
    assert_int_equal(views[0].n_behind, 2);
    assert_int_equal(views[0].mappings, 2);
    close(a), close(b), close(s);
    world_done(&w);
}

static void both_are_behind_one_nat(void **state)
{
    (void)state;
    behind_one("full-cone");
    behind_one("linux-strict");
}

/* a writes to b's public endpoint; whom b sees, or nobody. */
static void hairpin(const char *profile, const char *seen, uint16_t port)
{
    struct world w = home_world(profile, (struct lab_way){0});
    int a = ttl_sock(w.a, 5000), b = ttl_sock(w.b, 6000), s = sock_in(w.s, SOCK_DGRAM, 1001), ttl;
    union base_ep of_a = mapped(&w, a, s), of_b = mapped(&w, b, s);
    /* Filters of the shared NAT look at what comes back in, too. */
    send_ep(b, &of_a);
    pump(&w, 5 * BASE_NS_PER_MS);
    for (int tries = 0; tries < 4; tries++)
        (void)recv(a, &(char){0}, 1, 0); /* and what the router said of it */
    sendto(a, "x", 1, 0, &of_b.sa, base_ep_len(&of_b));
    if (seen) {
        union base_ep from = came_with_ttl(&w, b, &ttl);
        assert_from(&from, seen, port);
        assert_int_equal(ttl, 63);
    } else {
        assert_silence(&w, b);
    }
    close(a), close(b), close(s);
    world_done(&w);
}

static void hairpin_is_as_declared(void **state)
{
    (void)state;
    hairpin("full-cone", CARRIER, 5000);
    hairpin("port-restricted", NULL, 0);
    hairpin("sym-random", NULL, 0);
    /* Masquerading alone does not hairpin: such a packet is the router's own. */
    hairpin("linux-strict", NULL, 0);
}

/* ---- two homes under one carrier ------------------------------------------------------------- */

static void homes_do_not_see_each_other(void **state)
{
    (void)state;
    struct world w = carrier_world("full-cone", "linux-strict", "cgn-block", (struct lab_way){0});
    int a = sock_in(w.a, SOCK_DGRAM, 5000), b = sock_in(w.b, SOCK_DGRAM, 6000);
    send_to(a, "10.2.0.2", 6000);
    send_to(b, "10.1.0.2", 5000);
    assert_silence(&w, a);
    assert_silence(&w, b);
    close(a), close(b);
    world_done(&w);
}

/* UDP through the carrier's hairpin, once both sides have made their holes; the TTL at s and at b. */
static void hairpin_of(const char *home, const char *carrier, bool works)
{
    struct world w = carrier_world(home, home, carrier, (struct lab_way){.delay_ns = BASE_NS_PER_MS});
    int a = ttl_sock(w.a, 5000), b = ttl_sock(w.b, 6000), s = ttl_sock(w.s, 1001), ttl;
    send_to(a, "203.0.113.9", 1001);
    union base_ep of_a = came_with_ttl(&w, s, &ttl);
    assert_int_equal(ttl, 61); /* home, carrier, internet */
    union base_ep of_b = mapped(&w, b, s), carrier_ep = ep(CARRIER, 0), second = ep("198.51.100.2", 0);
    assert_true(base_ep_same_addr(&of_a, &carrier_ep) || base_ep_same_addr(&of_a, &second));
    for (int i = 0; i < 2; i++) {
        send_ep(a, &of_b);
        send_ep(b, &of_a);
        pump(&w, 10 * BASE_NS_PER_MS);
    }
    if (works) {
        union base_ep from = came_with_ttl(&w, b, &ttl);
        assert_true(base_ep_equal(&from, &of_a));
        assert_int_equal(ttl, 61); /* home, carrier, home */
        from = came_with_ttl(&w, a, &ttl);
        assert_true(base_ep_equal(&from, &of_b));
    } else {
        assert_silence(&w, a);
        assert_silence(&w, b);
    }
    close(a), close(b), close(s);
    world_done(&w);
}

static void the_carrier_hairpins_as_declared(void **state)
{
    (void)state;
    hairpin_of("port-restricted", "cgn-block", true);
    hairpin_of("linux-strict", "cgn-block", true);
    hairpin_of("port-restricted", "cgn-block-no-hairpin", false);
    hairpin_of("linux-strict", "cgn-block-no-hairpin", false);
    hairpin_of("port-restricted", "linux-strict", false);
}

/* SYNs that cross in the carrier NAT (RFC 9293 3.5). */
static bool tcp_connects(const char *home, const char *carrier)
{
    struct world w = carrier_world(home, home, carrier, (struct lab_way){.delay_ns = 5 * BASE_NS_PER_MS});
    int s = listen_in(w.s, 8000), error = 0;
    socklen_t len = sizeof(error);
    union base_ep to_s = ep("203.0.113.9", 8000), of[2];
    struct lab_host *hosts[2] = {w.a, w.b};
    int first[2], again[2];
    for (int i = 0; i < 2; i++) {
        socklen_t n = sizeof(of[i]);
        first[i] = sock_in(hosts[i], SOCK_STREAM, (uint16_t)(5000 + i));
        assert_int_equal(connect(first[i], &to_s.sa, base_ep_len(&to_s)), -1);
        assert_true(wait_fd(&w, s, POLLIN, MUST_NS) & POLLIN);
        int conn = accept4(s, &of[i].sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        assert_true(conn >= 0);
        close(conn);
        again[i] = sock_in(hosts[i], SOCK_STREAM, (uint16_t)(5000 + i));
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(connect(again[i], &of[!i].sa, base_ep_len(&of[!i])), -1);
    bool connected = wait_fd(&w, again[0], POLLOUT, 300 * BASE_NS_PER_MS) & POLLOUT;
    getsockopt(again[0], SOL_SOCKET, SO_ERROR, &error, &len);
    connected = connected && error == 0 && wait_fd(&w, again[1], POLLOUT, 300 * BASE_NS_PER_MS) & POLLOUT;
    close(s), close(first[0]), close(first[1]), close(again[0]), close(again[1]);
    world_done(&w);
    return connected;
}

static void tcp_crosses_the_carrier_where_it_hairpins(void **state)
{
    (void)state;
    assert_true(tcp_connects("port-restricted", "cgn-block"));
    assert_true(tcp_connects("linux-strict", "cgn-block"));
    assert_false(tcp_connects("port-restricted", "cgn-block-no-hairpin"));
}

/* The home's link is on the way to the neighbour and to the internet alike; a rate makes a lane of its own of it. */
static void the_homes_links_count(void **state)
{
    static const struct lab_way ways[] = {
        {.loss = 1}, {.delay_ns = BASE_NS_PER_MS, .duplication = 1}, {.rate = 1000000, .queue_ns = BASE_NS_PER_S}};
    static const unsigned copies[] = {0, 4, 1};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(ways); i++) {
        struct world w = carrier_world("full-cone", "full-cone", "cgn-block", ways[i]);
        int b = sock_in(w.b, SOCK_DGRAM, 6000), a = sock_in(w.a, SOCK_DGRAM, 5000);
        unsigned n = 0;
        /* Its home's address in the carrier's network: b's router has no mapping, and counts them. */
        send_to(a, HOME_B, 6000);
        pump(&w, 20 * BASE_NS_PER_MS);
        struct lab_nat_view views[4];
        int found = lab_nats(w.lab, views, BASE_ARRAY_LEN(views));
        assert_int_equal(found, 3);
        for (int v = 0; v < found; v++)
            for (size_t k = 0; views[v].host == w.b && k < views[v].n; k++)
                n += strcmp(views[v].counters[k].name, "drop-unsolicited") == 0 ? (unsigned)views[v].counters[k].value
                                                                                : 0;
        assert_int_equal(n, copies[i]);
        close(a), close(b);
        world_done(&w);
    }
}

/* ---- state ----------------------------------------------------------------------------------- */

static void reset_under(const char *carrier)
{
    struct world w = carrier_world("port-restricted", "linux-strict", carrier, (struct lab_way){0});
    struct lab_host *hosts[2] = {w.a, w.b};
    int control = listen_in(w.s, KEEP_PORT), s = sock_in(w.s, SOCK_DGRAM, 1001);
    struct lab_nat_view views[4];
    struct pair kept[2];
    char buf[4];
    for (int i = 0; i < 2; i++) {
        int u = sock_in(hosts[i], SOCK_DGRAM, 5000);
        kept[i] = connect_pair(&w, hosts[i], control, KEEP_PORT);
        mapped(&w, u, s);
        close(u);
    }
    assert_int_equal(lab_nats(w.lab, views, BASE_ARRAY_LEN(views)), 3);
    assert_int_equal(views[0].mappings, 4);
    assert_int_equal(views[0].level, 1);
    assert_int_equal(views[1].level, 0);
    assert_int_equal(lab_reset_nats(w.lab), 0);
    assert_int_equal(lab_nats(w.lab, views, BASE_ARRAY_LEN(views)), 3);
    assert_int_equal(views[0].mappings, 2);
    for (size_t k = 0; k < views[0].n; k++)
        assert_int_equal(views[0].counters[k].value, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mappings(&w, hosts[i]), 1);
        assert_int_equal(send(kept[i].server, "hey", 3, 0), 3);
        assert_int_equal(wait_fd(&w, kept[i].client, POLLIN, MUST_NS), POLLIN);
        assert_int_equal(recv(kept[i].client, buf, sizeof(buf), 0), 3);
        close(kept[i].client), close(kept[i].server);
    }
    close(control), close(s);
    world_done(&w);
}

static void reset_spares_the_control_connection(void **state)
{
    (void)state;
    reset_under("cgn-block");
    reset_under("linux-strict");
}

/* ---- chains, and what cannot be built -------------------------------------------------------- */

static int try(struct world *w, const char *name, const char *profile, struct lab_host *behind, const char *outside,
               bool shared, struct lab_host **out, char err[LAB_ERROR_LEN])
{
    struct lab_profile p;
    union base_ep addr = ep(outside, 0), inside = ep("10.7.0.2", 0);
    assert_int_equal(lab_profile_find("bench/profiles", profile, &p, err), 0);
    struct lab_place facts = {
        .name = name, .profile = &p, .behind = behind, .outside = &addr, .n_outside = 1, .inside = &inside};
    return (shared ? lab_add_shared : lab_add)(w->lab, &facts, out, err);
}

static void four_nats_and_no_more(void **state)
{
    (void)state;
    char err[LAB_ERROR_LEN] = "";
    struct world w = world_with_server();
    struct lab_way no = {0};
    struct lab_host *outer = place(&w, "outer", "cgn-block", NULL, CARRIER, "100.80.0.2", no, true), *host;
    struct lab_host *middle = place(&w, "middle", "full-cone", outer, "100.80.0.2", "100.81.0.2", no, true);
    w.a = place(&w, "a", "double-nat", middle, "100.81.0.2", "10.1.0.2", no, false);
    int a = sock_in(w.a, SOCK_DGRAM, 5000), s = ttl_sock(w.s, 1001), ttl;
    send_to(a, "203.0.113.9", 1001);
    union base_ep from = came_with_ttl(&w, s, &ttl);
    assert_int_equal(ttl, 59);
    send_ep(s, &from);
    came_from(&w, a);
    close(a), close(s);
    struct lab_host *inner = place(&w, "inner", "double-nat", middle, "100.81.0.99", "100.82.0.2", no, true);
    assert_int_equal(try(&w, "x", "full-cone", inner, "100.82.0.2", false, &host, err), -EINVAL);
    assert_non_null(strstr(err, "four NATs"));
    assert_int_equal(try(&w, "x", "open", inner, "100.82.0.2", false, &host, err), 0);
    world_done(&w);
}

static void what_cannot_be_built_is_refused(void **state)
{
    (void)state;
    char err[LAB_ERROR_LEN] = "";
    struct lab_host *host;
    struct world w = home_world("full-cone", (struct lab_way){0});
    struct lab_host *nat = w.a->above;
    assert_int_equal(try(&w, "x", "open", NULL, "198.51.100.9", true, &host, err), -EINVAL);
    assert_non_null(strstr(err, "has to be a NAT"));
    assert_int_equal(try(&w, "x", "open", nat, "10.1.0.1", false, &host, err), -EINVAL);
    assert_non_null(strstr(err, "network of the NAT"));
    assert_int_equal(try(&w, "x", "open", nat, "10.2.0.9", false, &host, err), -EINVAL);
    assert_int_equal(try(&w, "x", "open", nat, "2001:db8::1", false, &host, err), -EINVAL);
    assert_int_equal(try(&w, "x", "open", nat, "10.1.0.3", false, &host, err), -EEXIST);
    assert_int_equal(try(&w, "x", "open", w.a, "10.1.0.9", false, &host, err), -EINVAL);
    assert_non_null(strstr(err, "only a shared NAT"));
    assert_int_equal(try(&w, "x", "open", nat, "10.1.0.9", false, &host, err), 0);
    world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_reach_each_other_without_the_nat),
        cmocka_unit_test(both_are_behind_one_nat),
        cmocka_unit_test(hairpin_is_as_declared),
        cmocka_unit_test(homes_do_not_see_each_other),
        cmocka_unit_test(the_carrier_hairpins_as_declared),
        cmocka_unit_test(tcp_crosses_the_carrier_where_it_hairpins),
        cmocka_unit_test(the_homes_links_count),
        cmocka_unit_test(reset_spares_the_control_connection),
        cmocka_unit_test(four_nats_and_no_more),
        cmocka_unit_test(what_cannot_be_built_is_refused),
    };
    return world_run(tests) ? 1 : 0;
}
