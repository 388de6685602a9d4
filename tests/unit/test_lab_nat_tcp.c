/*
 * TCP through the emulated NAT. Pins: a strict window check that lets a listener's SYN-ACK out of somebody else's hole
 * (or keeps a held socket's in), a simultaneous open that does not get through (RFC 5382 REQ-2), a RST that closes what
 * it may not or leaves open what it must close, an unsolicited SYN that is answered against the policy or too early, a
 * TCP timer that fires early.
 */
#include "tests/unit/nat_tcp.h"

static void handshake_data_close(void **state)
{
    (void)state;
    struct world w = world_of(strict());
    open_connection(&w);
    assert_true(tcp_out(&w, ACK, 1001, 5001, 1000));
    assert_true(tcp_in(&w, ACK, 5001, 2001, 1000));
    assert_true(tcp_out(&w, ACK | FIN, 2001, 6001, 0));
    assert_true(tcp_in(&w, ACK | FIN, 6001, 2002, 0));
    assert_true(tcp_out(&w, ACK, 2002, 6002, 0));
    w.now += 60 * S - 1;
    assert_true(tcp_in(&w, ACK, 6002, 2002, 0));
    w.now += 60 * S;
    assert_false(tcp_in(&w, ACK, 6002, 2002, 0));
    assert_int_equal(counters(&w).mappings, 0);
    world_end(&w);
}

/* RFC 5382 REQ-2, RFC 9293 section 3.5: both SYNs, then both SYN-ACKs with the numbers that were already sent. */
static void simultaneous_open(void **state)
{
    (void)state;
    for (int window = LAB_WINDOW_STRICT; window <= LAB_WINDOW_NONE; window++) {
        struct lab_profile p = strict();
        p.window = (enum lab_window)window;
        struct world w = world_of(p);
        assert_true(tcp_out(&w, SYN, 1000, 0, 0));
        assert_true(tcp_in(&w, SYN, 5000, 0, 0));
        assert_true(tcp_out(&w, SYN | ACK, 1000, 5001, 0));
        assert_true(tcp_in(&w, SYN | ACK, 5000, 1001, 0));
        assert_true(tcp_out(&w, ACK, 1001, 5001, 0));
        assert_true(tcp_in(&w, ACK, 5001, 1001, 500));
        assert_true(tcp_out(&w, ACK, 1001, 5501, 500));
        w.now += 7440 * S - 1;
        assert_true(tcp_in(&w, ACK, 5501, 1501, 1));
        world_end(&w);
    }
}

/* A listener answers through another socket's hole: its number is later than the remembered one, and invalid; an
 * unrelated number passes half of the time, from below. Without windows both pass. */
static void listener_behind_a_hole(void **state)
{
    static const struct {
        enum lab_window window;
        uint32_t isn;
        bool through;
    } cases[] = {
        {LAB_WINDOW_STRICT, 1000, true},
        {LAB_WINDOW_STRICT, 1000 + 1000000, false},
        {LAB_WINDOW_STRICT, 1000 + 30000, true},
        {LAB_WINDOW_STRICT, 1000 - 1000000, true},
        {LAB_WINDOW_LIBERAL, 1000 + 1000000, true},
        {LAB_WINDOW_LIBERAL, 1000 - 1000000, true},
        {LAB_WINDOW_NONE, 1000 + 1000000, true},
        {LAB_WINDOW_NONE, 1000 - 1000000, true},
    };
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        struct lab_profile p = strict();
        p.window = cases[i].window;
        struct world w = world_of(p);
        uint32_t isn = cases[i].isn;
        assert_true(tcp_out(&w, SYN, 1000, 0, 0));
        assert_true(tcp_in(&w, SYN, 5000, 0, 0));
        assert_int_equal(tcp_out(&w, SYN | ACK, isn, 5001, 0), cases[i].through);
        if (cases[i].through) {
            assert_true(tcp_in(&w, ACK, 5001, isn + 1, 100));
            /* Strictly, a SYN-ACK from below passed unseen: the opener's own segments come too early. */
            assert_int_equal(tcp_out(&w, ACK, isn + 1, 5101, 100), p.window != LAB_WINDOW_STRICT || isn == 1000);
        } else {
            assert_int_equal(w.out.reason, LAB_NAT_DROP_INVALID);
        }
        world_end(&w);
    }
}

/* A new SYN from the same endpoints moves the remembered number forward, never back. */
static void sprayed_again(void **state)
{
    (void)state;
    struct world w = world_of(strict());
    assert_true(tcp_out(&w, SYN, 1000, 0, 0));
    assert_true(tcp_out(&w, SYN, 500000, 0, 0));
    assert_true(tcp_in(&w, SYN, 5000, 0, 0));
    assert_true(tcp_out(&w, SYN | ACK, 500000, 5001, 0));
    world_end(&w);
}

static void windows(void **state)
{
    (void)state;
    struct world w = world_of(strict());
    open_connection(&w);
    assert_false(tcp_in(&w, ACK, 5001 + 200000, 1001, 10)); /* beyond the window */
    assert_int_equal(w.out.reason, LAB_NAT_DROP_INVALID);
    assert_false(tcp_in(&w, ACK, 5001, 1001 + 200000, 10)); /* acknowledges what was not sent */
    assert_true(tcp_in(&w, ACK, 5001 - 200000, 1001, 10));  /* old: passes */
    assert_true(tcp_in(&w, ACK, 5001, 1001, 10));
    assert_true(tcp_in(&w, ACK, 5011 + 60000, 1001, 10)); /* inside the window */
    world_end(&w);
}

/* Scaled windows (RFC 7323): the same distance is inside when both sides scale. */
static void window_scaling(void **state)
{
    (void)state;
    for (int scaled = 0; scaled < 2; scaled++) {
        struct world w = world_of(strict());
        struct pkt syn = tcp_data(A, S1, SYN, 1000, 0, 4), ack = tcp_data(S1, X, SYN | ACK, 5000, 1001, 4);
        syn.b[32] = ack.b[32] = 6 << 4;
        memcpy(syn.b + 40, "\x01\x03\x03\x07", 4);
        memcpy(ack.b + 40, scaled ? "\x03\x03\x07\x00" : "\x01\x01\x01\x00", 4);
        seal(&syn);
        seal(&ack);
        passes(&w, OUT, &syn);
        passes(&w, IN, &ack);
        assert_true(tcp_out(&w, ACK, 1001, 5001, 0));
        assert_int_equal(tcp_in(&w, ACK, 5001 + 1000000, 1001, 10), scaled);
        world_end(&w);
    }
}

/* Sequences that Linux 6.18 was seen to treat so. */
static void as_linux_does(void **state)
{
    (void)state;
    struct world w = world_of(strict());
    assert_true(tcp_out(&w, SYN, 1001000, 0, 0));
    assert_true(tcp_in(&w, SYN, 5000, 0, 0));
    assert_false(tcp_out(&w, SYN | ACK, 1000, 5002, 0));   /* acknowledges too much: from below, too */
    assert_true(tcp_out(&w, SYN | ACK, 1001099, 5001, 0)); /* a little above */
    assert_true(tcp_out(&w, RST, 1001100, 0, 0));
    world_end(&w);
    w = world_of(strict());
    assert_true(tcp_out(&w, SYN, 1000, 0, 0));
    assert_true(tcp_in(&w, ACK, 70, 1001, 0));
    assert_true(tcp_in(&w, RST, 5000, 0, 0));  /* not the first answer: the entry stays, closed */
    assert_true(tcp_out(&w, SYN, 1000, 0, 0)); /* ignored: the other side had aborted */
    assert_true(tcp_out(&w, ACK, 1001, 5000, 0));
    assert_false(tcp_in(&w, SYN, 5000, 0, 0));
    world_end(&w);
}

/* conntrack's INVALID and picked-up connections. */
static void beginnings(void **state)
{
    (void)state;
    struct world w = world_of(strict());
    assert_false(tcp_out(&w, SYN | ACK, 1000, 5001, 0));
    assert_int_equal(w.out.reason, LAB_NAT_DROP_INVALID);
    assert_false(tcp_out(&w, RST, 1000, 0, 0));
    assert_false(tcp_out(&w, FIN | ACK, 1000, 1, 0));
    assert_int_equal(counters(&w).mappings, 0);
    assert_true(tcp_out(&w, ACK, 1000, 5001, 10));
    assert_true(tcp_in(&w, ACK, 5001, 1010, 10));
    world_end(&w);
}

/* The answer to a SYN that met nobody. */
static void rst_to_syn(void **state)
{
    static const struct {
        enum lab_rst rst;
        bool open_after;
    } cases[] = {{LAB_RST_CLOSES, false}, {LAB_RST_IN_WINDOW, false}, {LAB_RST_IGNORED, true}};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        struct lab_profile p = strict();
        p.rst = cases[i].rst;
        struct world w = world_of(p);
        assert_true(tcp_out(&w, SYN, 1000, 0, 0));
        assert_true(tcp_in(&w, RST | ACK, 0, 1001, 0)); /* it reaches the socket */
        assert_int_equal(counters(&w).sessions, cases[i].open_after);
        assert_int_equal(tcp_in(&w, SYN, 5000, 0, 0), cases[i].open_after);
        world_end(&w);
    }
}

/* RFC 5961 section 3: blind resets. */
static void rst_on_established(void **state)
{
    static const struct {
        enum lab_rst rst;
        uint32_t seq;
        bool passes, open_after;
    } cases[] = {
        {LAB_RST_CLOSES, 5001 + 9000000, true, false},
        {LAB_RST_CLOSES, 5001, true, false},
        {LAB_RST_IN_WINDOW, 5001 + 9000000, false, true},
        {LAB_RST_IN_WINDOW, 5001 + 100, true, false}, /* in doubt, and nothing more was heard */
        {LAB_RST_IN_WINDOW, 5001 - 100, false, true},
        {LAB_RST_IN_WINDOW, 5001, true, false},
        {LAB_RST_IGNORED, 5001, true, true},
    };
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        struct lab_profile p = strict();
        p.rst = cases[i].rst;
        struct world w = world_of(p);
        open_connection(&w);
        assert_int_equal(tcp_in(&w, RST, cases[i].seq, 0, 0), cases[i].passes);
        w.now += 11 * S; /* a closed connection's entry stays for ten seconds */
        assert_int_equal(tcp_in(&w, ACK, 5001, 1001, 10), cases[i].open_after);
        world_end(&w);
    }
}

/* Open again from the same endpoints, after the end. */
static void reopened(void **state)
{
    (void)state;
    struct world w = world_of(strict());
    open_connection(&w);
    assert_true(tcp_in(&w, RST, 5001, 0, 0));
    assert_false(tcp_in(&w, SYN, 7000, 0, 0));
    assert_true(tcp_out(&w, SYN, 90000000, 0, 0));
    assert_true(tcp_in(&w, SYN | ACK, 7000, 90000001, 0));
    assert_true(tcp_out(&w, ACK, 90000001, 7001, 0));
    w.now += 7000 * S;
    assert_true(tcp_in(&w, ACK, 7001, 90000001, 10));
    world_end(&w);
}

/* RFC 5382 REQ-5. */
static void timers(void **state)
{
    (void)state;
    struct lab_profile p = strict();
    p.tcp_syn_sent_s = 5;
    p.refresh = LAB_REFRESH_OUTBOUND;
    struct world w = world_of(p);
    assert_true(tcp_out(&w, SYN, 1000, 0, 0));
    w.now += 5 * S - 1;
    assert_true(tcp_in(&w, SYN | ACK, 5000, 1001, 0)); /* moves the state, and so the timer */
    w.now += 5 * S - 1;
    assert_true(tcp_out(&w, ACK, 1001, 5001, 0));
    w.now += 7440 * S - 1;
    assert_true(tcp_in(&w, ACK, 5001, 1001, 10)); /* from outside: restarts nothing */
    w.now += 1;
    assert_false(tcp_in(&w, ACK, 5011, 1001, 10));
    assert_true(tcp_out(&w, SYN, 1000, 0, 0));
    w.now += 5 * S;
    assert_false(tcp_in(&w, SYN | ACK, 5000, 1001, 0));
    world_end(&w);
}

static void unsolicited_drop_and_rst(void **state)
{
    (void)state;
    struct world w = world_of(strict());
    assert_false(tcp_in(&w, SYN, 5000, 0, 0));
    assert_int_equal(w.out.reply_len, 0);
    world_end(&w);

    struct lab_profile p = strict();
    p.unsolicited = LAB_UNSOLICITED_RST;
    w = world_of(p);
    struct pkt syn = tcp(S1, X, SYN, 5000, 0), ack = tcp(S1, X, ACK, 5000, 777), rst = tcp(S1, X, RST, 1, 0);
    assert_int_equal(give(&w, IN, &syn), LAB_NAT_REPLY);
    struct pkt want = tcp(X, S1, RST | ACK, 0, 5001);
    assert_memory_equal(w.out.reply + 12, want.b + 12, 22); /* addresses, ports, numbers, flags */
    assert_int_equal(give(&w, IN, &ack), LAB_NAT_REPLY);
    want = tcp(X, S1, RST, 777, 0);
    assert_memory_equal(w.out.reply + 12, want.b + 12, 22);
    assert_int_equal(give(&w, IN, &rst), LAB_NAT_DROP); /* never a RST for a RST */
    assert_int_equal(counters(&w).replies, 2);
    world_end(&w);
}

static void assert_unreachable(const struct world *w, const char *syn_src, size_t quoted)
{
    struct pkt p = {.len = w->out.reply_len};
    memcpy(p.b, w->out.reply, p.len);
    struct lab_packet ip;
    assert_true(lab_packet_parse(p.b, p.len, &ip) && lab_packet_checksums_ok(p.b, &ip));
    assert_int_equal(p.b[9], 1);
    assert_int_equal(p.b[20], 3);
    assert_int_equal(p.b[21], 3);
    assert_int_equal(p.len, 28 + quoted);
    struct pkt inner = {.len = quoted};
    memcpy(inner.b, p.b + 28, quoted);
    assert_string_equal(src_of(&inner), syn_src);
}

static void unsolicited_icmp(void **state)
{
    (void)state;
    struct lab_profile p = strict();
    p.unsolicited = LAB_UNSOLICITED_ICMP;
    struct world w = world_of(p);
    struct pkt syn = tcp(S1, X, SYN, 5000, 0);
    assert_int_equal(give(&w, IN, &syn), LAB_NAT_REPLY);
    assert_unreachable(&w, S1, 40);
    assert_false(tcp_in(&w, ACK, 5000, 1, 0));
    assert_int_equal(w.out.reply_len, 0);
    world_end(&w);
}

/* RFC 5382 REQ-4. */
static void unsolicited_hold(void **state)
{
    (void)state;
    struct lab_profile p = strict();
    p.unsolicited = LAB_UNSOLICITED_HOLD;
    struct world w = world_of(p);
    assert_int_equal(lab_nat_next(w.nat), UINT64_MAX);
    struct pkt one = tcp(S1, X, SYN, 5000, 0), two = tcp(S2, X, SYN, 5000, 0), three = tcp(S1B, X, SYN, 1, 0);
    dropped(&w, IN, &one, "held");
    w.now += S;
    dropped(&w, IN, &two, "held");
    dropped(&w, IN, &three, "held");
    one = tcp(S1, X, SYN, 5000, 0);
    dropped(&w, IN, &one, "held"); /* a retransmission: one answer, six seconds after the first */
    assert_int_equal(counters(&w).held, 3);
    assert_int_equal(lab_nat_next(w.nat), 106 * S);
    struct pkt own = tcp(A, S2, SYN, 1000, 0);
    passes(&w, OUT, &own); /* the inside's SYN for the same connection: its held one is never answered */
    w.now = 106 * S - 1;
    assert_false(lab_nat_timer(w.nat, w.now, &w.out));
    w.now++;
    assert_true(lab_nat_timer(w.nat, w.now, &w.out));
    assert_unreachable(&w, S1, 40);
    assert_false(lab_nat_timer(w.nat, w.now, &w.out));
    w.now += S;
    assert_true(lab_nat_timer(w.nat, w.now, &w.out));
    assert_unreachable(&w, S1B, 40);
    assert_false(lab_nat_timer(w.nat, w.now, &w.out));
    assert_int_equal(lab_nat_next(w.nat), UINT64_MAX);
    /* The hole that the own SYN made lets the peer's next one in. */
    two = tcp(S2, X, SYN, 5000, 0);
    passes(&w, IN, &two);
    world_end(&w);
}

static void held_are_bounded(void **state)
{
    (void)state;
    struct lab_profile p = strict();
    p.unsolicited = LAB_UNSOLICITED_HOLD;
    struct world w = world_of(p);
    for (unsigned i = 1; i <= 5000; i++) {
        char src[32];
        snprintf(src, sizeof(src), "198.51.100.1:%u", i);
        struct pkt syn = tcp(src, X, SYN, 1, 0);
        dropped(&w, IN, &syn, "held");
    }
    assert_int_equal(counters(&w).held, 4096);
    lab_nat_reset(w.nat, NULL, w.now);
    assert_int_equal(counters(&w).held, 0);
    assert_int_equal(lab_nat_next(w.nat), UINT64_MAX);
    world_end(&w);
}

/* Endpoint-independent filtering: a connection from outside to a mapped port. */
static void full_cone(void **state)
{
    (void)state;
    struct lab_profile p = strict();
    p.filtering = LAB_FILTER_EI;
    struct world w = world_of(p);
    struct pkt first = tcp(A, S2, SYN, 1, 0);
    passes(&w, OUT, &first);
    assert_false(tcp_in(&w, SYN | ACK, 5000, 1, 0));
    assert_true(tcp_in(&w, SYN, 5000, 0, 0));
    assert_true(tcp_out(&w, SYN | ACK, 1000, 5001, 0));
    assert_true(tcp_in(&w, ACK, 5001, 1001, 0));
    assert_true(tcp_in(&w, ACK, 5001, 1001, 100));
    assert_true(tcp_out(&w, ACK, 1001, 5101, 100));
    world_end(&w);
}

/* 65,000 holes of one socket, and each is found. */
static void spray(void **state)
{
    (void)state;
    struct world w = world_of(strict());
    char dst[32];
    for (unsigned i = 1; i <= 65000; i++) {
        snprintf(dst, sizeof(dst), "198.51.100.1:%u", i);
        struct pkt syn = tcp(A, dst, SYN, i, 0);
        passes(&w, OUT, &syn);
    }
    assert_int_equal(counters(&w).mappings, 1);
    assert_int_equal(counters(&w).sessions, 65000);
    for (unsigned i = 1; i <= 65000; i += 999) {
        snprintf(dst, sizeof(dst), "198.51.100.1:%u", i);
        struct pkt syn = tcp(dst, X, SYN, 7, 0);
        passes(&w, IN, &syn);
    }
    struct pkt miss = tcp("198.51.100.1:65001", X, SYN, 7, 0);
    dropped(&w, IN, &miss, "filtered");
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake_data_close),
        cmocka_unit_test(simultaneous_open),
        cmocka_unit_test(listener_behind_a_hole),
        cmocka_unit_test(sprayed_again),
        cmocka_unit_test(windows),
        cmocka_unit_test(window_scaling),
        cmocka_unit_test(as_linux_does),
        cmocka_unit_test(beginnings),
        cmocka_unit_test(rst_to_syn),
        cmocka_unit_test(rst_on_established),
        cmocka_unit_test(reopened),
        cmocka_unit_test(timers),
        cmocka_unit_test(unsolicited_drop_and_rst),
        cmocka_unit_test(unsolicited_icmp),
        cmocka_unit_test(unsolicited_hold),
        cmocka_unit_test(held_are_bounded),
        cmocka_unit_test(full_cone),
        cmocka_unit_test(spray),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
