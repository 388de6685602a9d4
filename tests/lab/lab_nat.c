/*
 * Netfilter routers as their profiles say, seen by ordinary sockets from outside.
 *
 * Pins: a profile that does not do what its file declares (ports kept, random, in range; unsolicited packets dropped or
 * answered; poisoned ports; the window check), and a reset that loses the control connection or leaves a mapping.
 */
#include "tests/lab/world.h"

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
    struct world w = world_new("linux-strict", lab_link_both((struct lab_way){.delay_ns = 2 * BASE_NS_PER_MS}));
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

/* What is under way at a reset belongs to the last trial, but for the control connection's. */
static void reset_clears_the_wires(void **state)
{
    (void)state;
    struct world w = world_new("linux-strict", lab_link_both((struct lab_way){.delay_ns = 20 * BASE_NS_PER_MS}));
    int control = listen_in(w.s, KEEP_PORT), s = sock_in(w.s, SOCK_DGRAM, 1001), a = sock_in(w.a, SOCK_DGRAM, 5000);
    struct pair kept = connect_pair(&w, w.a, control, KEEP_PORT);
    char buf[4];
    send_to(a, "203.0.113.9", 1001);
    assert_int_equal(send(kept.client, "hey", 3, 0), 3);
    pump(&w, 3 * BASE_NS_PER_MS);
    assert_int_equal(lab_reset_nats(w.lab), 0);
    assert_int_equal(wait_fd(&w, kept.server, POLLIN, MUST_NS), POLLIN);
    assert_int_equal(recv(kept.server, buf, sizeof(buf), 0), 3);
    assert_int_equal(wait_fd(&w, s, POLLIN, MUST_NOT_NS), 0);
    close(kept.client), close(kept.server), close(control), close(s), close(a);
    world_free(&w);
}

/* ---- what the NATs tell ---------------------------------------------------------------------- */

static uint64_t told(struct world *w, const struct lab_host *host, const char *name)
{
    struct lab_nat_view views[4];
    int n = lab_nats(w->lab, views, BASE_ARRAY_LEN(views));
    assert_int_equal(n, 2);
    for (int i = 0; i < n; i++)
        for (size_t k = 0; views[i].host == host && k < views[i].n; k++)
            if (strcmp(views[i].counters[k].name, name) == 0)
                return views[i].counters[k].value;
    fail_msg("nothing told of %s", name);
    return 0;
}

/* Pins counters that are of the wrong NAT, count what was before the reset, or never move. */
static void nats_tell_what_happened_since_the_reset(void **state)
{
    static const char *const profiles[] = {"linux-strict", "linux-rst", "port-restricted"};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(profiles); i++) {
        struct world w = world_new(profiles[i], (struct lab_link){0});
        int s = sock_in(w.s, SOCK_DGRAM, 1001), a = sock_in(w.a, SOCK_DGRAM, 5000);
        for (unsigned round = 1; round <= 2; round++) {
            assert_int_equal(lab_reset_nats(w.lab), 0);
            assert_int_equal(told(&w, w.a, "out"), 0);
            for (unsigned k = 0; k < round; k++) {
                send_to(a, "203.0.113.9", 1001);
                union base_ep from = came_from(&w, s);
                assert_int_equal(sendto(s, "y", 1, 0, &from.sa, base_ep_len(&from)), 1);
                came_from(&w, a);
                send_to(s, "198.51.100.2", (uint16_t)(7000 + k));
            }
            pump(&w, 5 * BASE_NS_PER_MS);
            assert_int_equal(told(&w, w.a, "out"), round);
            assert_int_equal(told(&w, w.a, "in"), round);
            assert_int_equal(told(&w, w.a, "drop-unsolicited"), 0);
            assert_int_equal(told(&w, w.b, "out"), 0);
            assert_int_equal(told(&w, w.b, "drop-unsolicited"), round);
        }
        close(s), close(a);
        world_free(&w);
    }
}

/* A segment of a connection that conntrack has forgotten. */
static void a_lost_connection_is_told_as_unsolicited(void **state)
{
    (void)state;
    struct world w = world_new("linux-strict", (struct lab_link){0});
    int other = listen_in(w.s, KEEP_PORT + 1);
    struct pair gone = connect_pair(&w, w.a, other, KEEP_PORT + 1);
    assert_int_equal(lab_reset_nats(w.lab), 0);
    assert_int_equal(send(gone.server, "lost", 4, 0), 4);
    pump(&w, 5 * BASE_NS_PER_MS);
    assert_int_equal(told(&w, w.a, "drop-unsolicited"), 1);
    assert_int_equal(told(&w, w.b, "drop-unsolicited"), 0);
    close(gone.client), close(gone.server), close(other);
    world_free(&w);
}

int main(void)
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
        cmocka_unit_test(reset_clears_the_wires),
        cmocka_unit_test(nats_tell_what_happened_since_the_reset),
        cmocka_unit_test(a_lost_connection_is_told_as_unsolicited),
    };
    return world_run(tests) ? 1 : 0;
}
