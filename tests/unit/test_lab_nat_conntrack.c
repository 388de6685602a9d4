/*
 * TCP as Linux's connection tracking follows it (6.18, nf_conntrack_proto_tcp), packet by packet: each test is a rule
 * that random sequences through a netfilter router and the emulated NAT have shown (tests/lab/lab_differential.c), cut
 * down to the packets that show it. Pins: a segment that is INVALID to one of the two only, a state or number that is
 * remembered or forgotten against Linux, a timer that a packet restarts or shortens against it.
 */
#include "tests/unit/nat_tcp.h"

#define URG 32u
#define PSH 8u

/* Options of a SYN: scaling by 2^7, selective acknowledgements, both, or nothing that matters. */
#define OPT_SCALE "\x03\x03\x07\x01"
#define OPT_SACK  "\x04\x02\x01\x01"
#define OPT_NONE  "\x01\x01\x01\x01"

static struct pkt with_options(const char *src, const char *dst, unsigned flags, uint32_t seq, uint32_t ack,
                               const char *options, size_t n)
{
    struct pkt p = tcp_data(src, dst, flags, seq, ack, n);
    p.b[32] = (uint8_t)((20 + n) / 4 << 4);
    memcpy(p.b + 40, options, n);
    seal(&p);
    return p;
}

static bool syn_out(struct world *w, unsigned flags, uint32_t seq, uint32_t ack, const char *options)
{
    struct pkt p = with_options(A, S1, flags, seq, ack, options, 4);
    return give(w, OUT, &p) == LAB_NAT_FORWARD;
}

static bool syn_in(struct world *w, unsigned flags, uint32_t seq, uint32_t ack, const char *options)
{
    struct pkt p = with_options(S1, X, flags, seq, ack, options, 4);
    return give(w, IN, &p) == LAB_NAT_FORWARD;
}

static struct world world_with(enum lab_window window)
{
    struct lab_profile p = strict();
    p.window = window;
    return world_of(p);
}

static struct world open_world(void)
{
    struct world w = world_of(strict());
    open_connection(&w);
    assert_true(tcp_in(&w, ACK, 5001, 1001, 0));
    return w;
}

#define invalid(w, sent)                                                                                               \
    do {                                                                                                               \
        assert_false(sent);                                                                                            \
        assert_int_equal((w)->out.reason, LAB_NAT_DROP_INVALID);                                                       \
    } while (0)

/* ---- flags and numbers ----------------------------------------------------------------------- */

/* RFC 9293 section 3.1 gives these no meaning together; PSH never matters, URG where there is data. */
static void flags_that_no_tcp_sends(void **state)
{
    static const unsigned senseless[] = {0, FIN, PSH, URG, SYN | FIN, SYN | RST, FIN | URG | PSH, FIN | RST | ACK};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(senseless); i++)
        for (int window = LAB_WINDOW_STRICT; window <= LAB_WINDOW_NONE; window++) {
            struct world w = world_with((enum lab_window)window);
            open_connection(&w);
            assert_int_equal(tcp_out(&w, senseless[i], 1001, 5001, 0), window == LAB_WINDOW_NONE);
            world_end(&w);
        }
    struct world w = open_world();
    assert_true(tcp_out(&w, ACK | URG | PSH, 1001, 5001, 5));
    assert_true(tcp_out(&w, FIN | ACK | URG, 1006, 5001, 0));
    assert_true(tcp_out(&w, SYN | URG, 1, 0, 0));
    world_end(&w);
}

/* Numbers are compared modulo 2^32 (RFC 9293 section 3.4); half of the circle ahead is ahead. */
static void half_of_the_circle(void **state)
{
    (void)state;
    struct world w = world_of(strict());
    assert_true(tcp_out(&w, SYN, 1000, 0, 0));
    assert_true(tcp_in(&w, SYN, 5000, 0, 0));
    invalid(&w, tcp_out(&w, SYN | ACK, 1001 + 0x80000000u, 5001, 0));
    assert_true(tcp_out(&w, SYN | ACK, 1001 + 0x80000001u, 5001, 0));
    world_end(&w);
}

/* Bound I: what is above the window by no more than the receiver's window passes, and counts as sent: its
 * acknowledgement is not INVALID. It says nothing else: a FIN there closes nothing. */
static void a_little_above(void **state)
{
    (void)state;
    struct world w = open_world();
    uint32_t edge = 1001 + 64240;
    assert_true(tcp_out(&w, ACK | FIN, edge + 1000, 5001, 100));
    assert_true(tcp_in(&w, ACK, 5001, edge + 1101, 0));
    invalid(&w, tcp_in(&w, ACK, 5001, edge + 1102, 0));
    invalid(&w, tcp_out(&w, ACK, edge + 300000, 5001, 0));
    w.now += 7000 * S; /* still established */
    assert_true(tcp_in(&w, ACK, 5001, 1001, 10));
    world_end(&w);
}

/* Bounds II and IV: what is below, or acknowledges late, passes and says nothing. */
static void from_below(void **state)
{
    (void)state;
    struct world w = open_world();
    assert_true(tcp_out(&w, ACK | FIN, 1001 - 100000, 5001, 0));
    for (uint32_t at = 5001; at < 5001 + 100000; at += 1000) {
        assert_true(tcp_in(&w, ACK, at, 1001, 1000));
        assert_true(tcp_out(&w, ACK, 1001, at + 1000, 0));
    }
    assert_true(tcp_out(&w, ACK | FIN, 1001, 5001, 0)); /* 100,000 late; 66,000 would do */
    w.now += 7000 * S;
    assert_true(tcp_in(&w, ACK, 105001, 1001, 10));
    world_end(&w);
}

/* RFC 2018: a block's right edge is acknowledged, where the SYN said that it may be. */
static void selective_acknowledgements(void **state)
{
    (void)state;
    for (int agreed = 0; agreed < 2; agreed++) {
        struct world w = world_of(strict());
        assert_true(syn_out(&w, SYN, 1000, 0, agreed ? OPT_SACK : OPT_NONE));
        assert_true(syn_in(&w, SYN | ACK, 5000, 1001, agreed ? OPT_SACK : OPT_NONE));
        assert_true(tcp_out(&w, ACK, 1001, 5001, 100));
        char block[16] = {1, 1, 5, 10, 0, 0, 0x04, 0x4c, 0, 0, 0x04, 0x4e}; /* 1100 to 1102: one too many */
        struct pkt p = with_options(S1, X, ACK, 5001, 1001, block, sizeof(block));
        assert_int_equal(give(&w, IN, &p) == LAB_NAT_FORWARD, !agreed);
        block[11] = 0x4d;
        p = with_options(S1, X, ACK, 5001, 1001, block, sizeof(block));
        passes(&w, IN, &p);
        block[3] = 12; /* not 2 + 8n bytes: no blocks at all */
        block[11] = 0x4e;
        p = with_options(S1, X, ACK, 5001, 1001, block, sizeof(block));
        passes(&w, IN, &p);
        world_end(&w);
    }
}

/* A later SYN begins again with what it says; one without options leaves what the last one said (RFC 7323 section 2.2:
 * scaling needs both sides). */
static void options_of_the_last_syn(void **state)
{
    static const struct {
        const char *again; /* NULL = without options */
        bool scaled;
    } cases[] = {{NULL, true}, {OPT_NONE, false}, {OPT_SCALE, true}};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        struct world w = world_of(strict());
        assert_true(syn_out(&w, SYN, 1000, 0, OPT_SCALE));
        assert_true(cases[i].again ? syn_out(&w, SYN, 2000, 0, cases[i].again) : tcp_out(&w, SYN, 2000, 0, 0));
        assert_true(syn_in(&w, SYN | ACK, 5000, 2001, OPT_SCALE));
        assert_true(tcp_out(&w, ACK, 2001, 5001, 0));
        assert_int_equal(tcp_in(&w, ACK, 5001 + 1000000, 2001, 10), cases[i].scaled);
        world_end(&w);
    }
}

/* A connection that is older than the table: no window is known to be scaled, so none is checked, from either side. */
static void picked_up_midway(void **state)
{
    (void)state;
    struct world w = world_of(strict());
    assert_true(tcp_out(&w, ACK, 1000, 5001, 10));
    assert_true(tcp_in(&w, ACK, 5001, 1010, 10));
    assert_true(tcp_in(&w, ACK, 5011 + 9000000, 1010, 10));
    assert_true(tcp_out(&w, ACK, 1010 + 9000000, 5011, 10));
    world_end(&w);
}

/* ---- simultaneous open ----------------------------------------------------------------------- */

/* RFC 5382 REQ-2: after both SYNs the ACK that establishes may come from either side; REQ-5: and brings the long
 * timer. */
static void established_from_either_side(void **state)
{
    (void)state;
    for (int outbound = 0; outbound < 2; outbound++) {
        struct world w = world_of(strict());
        assert_true(tcp_out(&w, SYN, 1000, 0, 0));
        assert_true(tcp_in(&w, SYN, 5000, 0, 0));
        assert_true(tcp_out(&w, SYN | ACK, 1000, 5001, 0));
        assert_true(outbound ? tcp_out(&w, ACK, 1001, 5001, 0) : tcp_in(&w, ACK, 5001, 1001, 0));
        w.now += 7440 * S - 1;
        assert_true(tcp_in(&w, ACK, 5001, 1001, 10));
        world_end(&w);
    }
    /* The answer to an ordinary open does not: its opener has not acknowledged yet. */
    struct world w = world_of(strict());
    assert_true(tcp_out(&w, SYN, 1000, 0, 0));
    assert_true(tcp_in(&w, SYN | ACK, 5000, 1001, 0));
    assert_true(tcp_in(&w, ACK, 5001, 1001, 0));
    w.now += 120 * S;
    assert_false(tcp_in(&w, ACK, 5001, 1001, 10));
    world_end(&w);
}

/* ---- a SYN that is let through unchecked ----------------------------------------------------- */

/* Inside and outside agree on a new connection that the table does not know: its answer brings the table in line,
 * with the options that the SYN had. */
static void answered_after_all(void **state)
{
    (void)state;
    for (int scaled = 0; scaled < 2; scaled++) {
        struct world w = open_world();
        assert_true(syn_out(&w, SYN, 900000, 0, scaled ? OPT_SCALE : OPT_NONE));
        assert_true(syn_in(&w, SYN | ACK, 700000, 900002, OPT_SCALE)); /* acknowledges another: nothing */
        invalid(&w, tcp_out(&w, ACK, 900001, 700001, 0));
        assert_true(syn_out(&w, SYN, 900000, 0, scaled ? OPT_SCALE : OPT_NONE));
        assert_true(syn_in(&w, SYN | ACK, 700000, 900001, OPT_SCALE));
        assert_true(tcp_out(&w, ACK, 900001, 700001, 0));
        assert_true(tcp_in(&w, ACK, 700001, 900001, 10));
        assert_int_equal(tcp_in(&w, ACK, 700011 + 1000000, 900001, 10), scaled);
        world_end(&w);
    }
}

/* What is begun anew has not begun to close: an abort by the other side leaves it to be ignored, not reopened. */
static void begun_anew_is_not_closing(void **state)
{
    (void)state;
    for (int anew = 0; anew < 2; anew++) {
        struct world w = open_world();
        assert_true(tcp_out(&w, FIN | ACK, 1001, 5001, 0));
        if (anew) {
            assert_true(tcp_out(&w, SYN, 900000, 0, 0));
            assert_true(tcp_in(&w, SYN | ACK, 700000, 900001, 0));
        }
        assert_true(tcp_in(&w, RST | ACK, anew ? 700001 : 5001, anew ? 900001 : 1002, 0));
        assert_true(tcp_out(&w, SYN, 3000, 0, 0));
        assert_int_equal(tcp_in(&w, SYN, 8000, 0, 0), !anew); /* reopened: a simultaneous open */
        world_end(&w);
    }
}

/* What was picked up midway and begun anew: checked from the side that began, not from the other. */
static void begun_anew_after_midway(void **state)
{
    (void)state;
    struct world w = world_of(strict());
    assert_true(tcp_out(&w, ACK, 1000, 5001, 10));
    assert_true(tcp_in(&w, ACK, 5001, 1010, 10));
    assert_true(tcp_out(&w, SYN, 900000, 0, 0));
    assert_true(tcp_in(&w, SYN | ACK, 700000, 900001, 0));
    assert_true(tcp_out(&w, ACK, 900001, 700001, 0));
    assert_true(tcp_in(&w, ACK, 700001 + 9000000, 900001, 10));
    invalid(&w, tcp_out(&w, ACK, 900001 + 9000000, 700001, 10));
    world_end(&w);
}

/* RFC 5961 section 4: the other end answers such a SYN with an ACK, which is not the last ACK of the closing. */
static void challenge_is_not_the_last_ack(void **state)
{
    (void)state;
    for (int challenged = 0; challenged < 2; challenged++) {
        struct world w = open_world();
        assert_true(tcp_out(&w, FIN | ACK, 1001, 5001, 0));
        assert_true(tcp_in(&w, FIN | ACK, 5001, 1002, 0));
        if (challenged)
            assert_true(tcp_out(&w, SYN, 3000, 0, 0));
        assert_true(tcp_in(&w, ACK, 5002, 1002, 0));
        /* In TIME-WAIT a SYN from outside ends the old connection, and finds no hole; in LAST-ACK it is INVALID. */
        assert_false(tcp_in(&w, SYN, 8000, 0, 0));
        assert_int_equal(w.out.reason, challenged ? LAB_NAT_DROP_INVALID : LAB_NAT_DROP_FILTERED);
        assert_int_equal(counters(&w).sessions, challenged);
        if (challenged) {
            assert_true(tcp_in(&w, ACK, 5002, 1002, 0)); /* once */
            assert_false(tcp_in(&w, SYN, 8000, 0, 0));
            assert_int_equal(counters(&w).sessions, 0);
        }
        world_end(&w);
    }
}

/* RFC 9293 section 3.10.7.4: TIME-WAIT is over with a SYN; where the filter is open, another connection begins. */
static void syn_from_outside_in_time_wait(void **state)
{
    (void)state;
    for (int open = 0; open < 2; open++) {
        struct lab_profile p = strict();
        p.filtering = open ? LAB_FILTER_EI : LAB_FILTER_APD;
        struct world w = world_of(p);
        open_connection(&w);
        assert_true(tcp_out(&w, FIN | ACK, 1001, 5001, 0));
        assert_true(tcp_in(&w, FIN | ACK, 5001, 1002, 0));
        assert_true(tcp_out(&w, ACK, 1002, 5002, 0));
        assert_int_equal(tcp_in(&w, SYN, 8000, 0, 0), open);
        assert_int_equal(counters(&w).sessions, open);
        assert_int_equal(tcp_out(&w, SYN | ACK, 9000, 8001, 0), open);
        world_end(&w);
    }
}

/* ---- RST ------------------------------------------------------------------------------------- */

/* RFC 5961 section 3: in the window but not at its edge, a RST is for the receiver to challenge. The connection stays,
 * but for ten seconds only if nothing else is heard of it. */
static void in_doubt(void **state)
{
    (void)state;
    for (int heard = 0; heard < 2; heard++) {
        struct world w = open_world();
        assert_true(tcp_in(&w, RST, 5101, 0, 0));
        w.now += 10 * S - 1;
        if (heard)
            assert_true(tcp_out(&w, ACK, 1001, 5001, 0));
        w.now += 1;
        assert_int_equal(tcp_in(&w, ACK, 5001, 1001, 10), heard);
        world_end(&w);
    }
}

/* A RST right behind the data that its sender sent last closes, though not yet acknowledged. */
static void train(void **state)
{
    (void)state;
    struct world w = open_world();
    assert_true(tcp_in(&w, ACK, 5001, 1001, 19));
    assert_true(tcp_in(&w, RST, 5020, 0, 0));
    assert_true(tcp_out(&w, ACK, 1001, 5001, 0)); /* of an established connection it would restart the timer */
    w.now += 10 * S;
    assert_false(tcp_in(&w, ACK, 5020, 1001, 0));
    world_end(&w);
}

/* After a SYN that was let through, older acknowledgements measure no RST: the answer to it closes, whatever its
 * number; unless its sender has sent a FIN or RST that does not fit since, which is remembered in its place. */
static void rst_to_an_unseen_syn(void **state)
{
    static const struct {
        unsigned between; /* flags of a segment far out of the window; 0 = none */
        bool passes;
    } cases[] = {{0, true}, {FIN | ACK, false}, {RST, false}, {ACK, true}};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        struct world w = open_world();
        assert_true(tcp_out(&w, SYN, 900000, 0, 0));
        if (cases[i].between)
            invalid(&w, tcp_out(&w, cases[i].between, 1001 + 9000000, 5001, 0));
        assert_int_equal(tcp_in(&w, RST | ACK, 0, 900001, 0), cases[i].passes);
        w.now += 10 * S;
        assert_int_equal(tcp_in(&w, ACK, 5001, 1001, 10), !cases[i].passes);
        world_end(&w);
    }
}

/* Only what comes from the other side is an answer. */
static void rst_after_the_own_syn(void **state)
{
    (void)state;
    struct world w = world_of(strict());
    assert_true(tcp_out(&w, SYN, 1000, 0, 0));
    assert_true(tcp_in(&w, SYN, 3000000000, 0, 0));
    invalid(&w, tcp_in(&w, RST, 0, 0, 0));
    assert_true(tcp_in(&w, RST, 3000000001, 0, 0));
    world_end(&w);
}

/* A RST with number 0 answers a SYN; before anything is established it closes, acknowledgements or not. */
static void rst_zero(void **state)
{
    (void)state;
    struct world w = world_of(strict());
    assert_true(tcp_out(&w, SYN, 1000, 0, 0));
    assert_true(tcp_in(&w, SYN | ACK, 5000, 1001, 0));
    assert_true(tcp_out(&w, RST, 0, 0, 0));
    invalid(&w, tcp_in(&w, SYN, 8000, 0, 0)); /* closed */
    world_end(&w);
    w = open_world();
    invalid(&w, tcp_in(&w, RST, 0, 0, 0));
    world_end(&w);
}

/* RFC 5961 section 4, half-open: an old connection's end answers the SYN with an ACK, and the SYN's sender that ACK
 * with a RST of the number that it acknowledged. It passes, so that the old end learns of it, and a new SYN begins. */
static void rst_to_a_challenge(void **state)
{
    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        struct world w = world_of(strict());
        assert_true(tcp_out(&w, SYN, 1000, 0, 0));
        assert_true(tcp_in(&w, ACK, 70, 900000, 0));
        assert_int_equal(tcp_out(&w, RST, exact ? 900000 : 900001, 0, 0), exact);
        assert_true(tcp_out(&w, SYN, 2000, 0, 0));
        assert_true(tcp_in(&w, SYN, 5000, 0, 0));
        world_end(&w);
    }
}

/* ---- timers ---------------------------------------------------------------------------------- */

/* A SYN again, unanswered, restarts nothing; without tracking it is a packet like any other (RFC 5382 REQ-5). */
static void unanswered_again(void **state)
{
    (void)state;
    for (int window = LAB_WINDOW_STRICT; window <= LAB_WINDOW_NONE; window++) {
        struct world w = world_with((enum lab_window)window);
        assert_true(tcp_out(&w, SYN, 1000, 0, 0));
        w.now += 119 * S;
        assert_true(tcp_out(&w, SYN, 1000, 0, 0));
        w.now += S;
        assert_int_equal(tcp_in(&w, SYN | ACK, 5000, 1001, 0), window == LAB_WINDOW_NONE);
        world_end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_that_no_tcp_sends),
        cmocka_unit_test(half_of_the_circle),
        cmocka_unit_test(a_little_above),
        cmocka_unit_test(from_below),
        cmocka_unit_test(selective_acknowledgements),
        cmocka_unit_test(options_of_the_last_syn),
        cmocka_unit_test(picked_up_midway),
        cmocka_unit_test(established_from_either_side),
        cmocka_unit_test(answered_after_all),
        cmocka_unit_test(begun_anew_is_not_closing),
        cmocka_unit_test(begun_anew_after_midway),
        cmocka_unit_test(challenge_is_not_the_last_ack),
        cmocka_unit_test(syn_from_outside_in_time_wait),
        cmocka_unit_test(in_doubt),
        cmocka_unit_test(train),
        cmocka_unit_test(rst_to_an_unseen_syn),
        cmocka_unit_test(rst_after_the_own_syn),
        cmocka_unit_test(rst_zero),
        cmocka_unit_test(rst_to_a_challenge),
        cmocka_unit_test(unanswered_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
