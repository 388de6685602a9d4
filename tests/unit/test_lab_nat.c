/*
 * The emulated NAT, key by key, packet by packet. Pins: a mapping that is shared or split against its class, a filter
 * that lets in or keeps out the wrong remote, a timer that fires early or late or is restarted by the wrong direction,
 * a cap that is passed, a hairpinned packet with the wrong source. Ports and pools: test_lab_nat_ports.c.
 */
#include "tests/unit/nat_profile.h"

static bool same_out(struct world *w, const char *dst1, const char *dst2)
{
    char first[32];
    snprintf(first, sizeof(first), "%s", udp_out(w, A, dst1));
    return strcmp(first, udp_out(w, A, dst2)) == 0;
}

/* RFC 4787 section 4.1. */
static void mapping_classes(void **state)
{
    static const struct {
        enum lab_mapping mapping;
        bool other_port, other_addr;
    } cases[] = {{LAB_MAP_EI, true, true},
                 {LAB_MAP_AD, true, false},
                 {LAB_MAP_APD, false, false},
                 {LAB_MAP_CONNECTION, false, false}};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        struct lab_profile p = base_profile();
        p.mapping = cases[i].mapping;
        struct world w = world_of(p);
        assert_true(same_out(&w, S1, S1));
        assert_int_equal(same_out(&w, S1, S1B), cases[i].other_port);
        assert_int_equal(same_out(&w, S1, S2), cases[i].other_addr);
        char mine[32];
        snprintf(mine, sizeof(mine), "%s", udp_out(&w, A, S1));
        assert_string_not_equal(mine, udp_out(&w, A2, S1));
        assert_string_not_equal(mine, udp_out(&w, B, S1));
        world_end(&w);
    }
}

static const char *syn_out(struct world *w, const char *src, const char *dst)
{
    struct pkt p = tcp(src, dst, SYN, 1000, 0);
    passes(w, OUT, &p);
    return src_of(&p);
}

static bool syn_in(struct world *w, const char *src, const char *external)
{
    struct pkt p = tcp(src, external, SYN, 5000, 0);
    return give(w, IN, &p) == LAB_NAT_FORWARD;
}

/* RFC 5382 section 4.1, REQ-1: the same classes for TCP. */
static void mapping_classes_of_tcp(void **state)
{
    static const struct {
        enum lab_mapping mapping;
        bool other_port, other_addr;
    } cases[] = {{LAB_MAP_EI, true, true},
                 {LAB_MAP_AD, true, false},
                 {LAB_MAP_APD, false, false},
                 {LAB_MAP_CONNECTION, false, false}};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        struct lab_profile p = base_profile();
        p.mapping = cases[i].mapping;
        struct world w = world_of(p);
        char mine[32];
        snprintf(mine, sizeof(mine), "%s", syn_out(&w, A, S1));
        assert_int_equal(strcmp(mine, syn_out(&w, A, S1B)) == 0, cases[i].other_port);
        assert_int_equal(strcmp(mine, syn_out(&w, A, S2)) == 0, cases[i].other_addr);
        assert_string_not_equal(mine, syn_out(&w, B, S1));
        world_end(&w);
    }
}

/* RFC 5382 section 4.3, REQ-3: the same for TCP, where a SYN asks. */
static void filtering_classes_of_tcp(void **state)
{
    static const struct {
        enum lab_filtering filtering;
        bool other_port, other_addr, old;
    } cases[] = {{LAB_FILTER_EI, true, true, true},
                 {LAB_FILTER_AD, true, false, true},
                 {LAB_FILTER_APD, false, false, true},
                 {LAB_FILTER_LAST, false, false, false}};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        struct lab_profile p = base_profile();
        p.filtering = cases[i].filtering;
        struct world w = world_of(p);
        char x[32];
        snprintf(x, sizeof(x), "%s", syn_out(&w, A, S1));
        assert_int_equal(syn_in(&w, S1B, x), cases[i].other_port);
        assert_int_equal(syn_in(&w, S2, x), cases[i].other_addr);
        assert_true(syn_in(&w, S1, x));
        syn_out(&w, A, S2);
        assert_true(syn_in(&w, S2, x));
        assert_int_equal(syn_in(&w, S1, x), cases[i].old);
        world_end(&w);
    }
}

/* A new connection from the same endpoints gets a new port; a retransmission of its SYN does not. */
static void connection_dependent(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.mapping = LAB_MAP_CONNECTION;
    struct world w = world_of(p);
    struct pkt a = tcp(A, S1, SYN, 1000, 0), b = tcp(A, S1, SYN, 1000, 0), c = tcp(A, S1, SYN, 99000, 0);
    passes(&w, OUT, &a);
    passes(&w, OUT, &b);
    assert_string_equal(src_of(&a), src_of(&b));
    passes(&w, OUT, &c);
    assert_string_not_equal(src_of(&a), src_of(&c));
    assert_int_equal(counters(&w).mappings, 1);
    world_end(&w);
    p.mapping = LAB_MAP_APD;
    w = world_of(p);
    a = tcp(A, S1, SYN, 1000, 0);
    c = tcp(A, S1, SYN, 99000, 0);
    passes(&w, OUT, &a);
    passes(&w, OUT, &c);
    assert_string_equal(src_of(&a), src_of(&c));
    world_end(&w);
}

/* RFC 4787 section 5. */
static void filtering_classes(void **state)
{
    static const struct {
        enum lab_filtering filtering;
        bool exact, other_port, other_addr;
    } cases[] = {{LAB_FILTER_EI, true, true, true},
                 {LAB_FILTER_AD, true, true, false},
                 {LAB_FILTER_APD, true, false, false},
                 {LAB_FILTER_LAST, true, false, false}};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        struct lab_profile p = base_profile();
        p.filtering = cases[i].filtering;
        struct world w = world_of(p);
        char x[32];
        snprintf(x, sizeof(x), "%s", udp_out(&w, A, S1));
        assert_int_equal(udp_in(&w, S2, x), cases[i].other_addr);
        assert_int_equal(udp_in(&w, S1B, x), cases[i].other_port);
        assert_int_equal(udp_in(&w, S1, x), cases[i].exact);
        struct pkt back = udp(S1, x);
        passes(&w, IN, &back);
        assert_string_equal(dst_of(&back), A);
        assert_false(udp_in(&w, S1, EXT ":9"));
        world_end(&w);
    }
}

/* Address-dependent filtering holds where mappings depend on the remote, too, and ends with the session. */
static void filtering_by_address(void **state)
{
    (void)state;
    for (int mapping = LAB_MAP_EI; mapping <= LAB_MAP_APD; mapping++) {
        struct lab_profile p = base_profile();
        p.filtering = LAB_FILTER_AD;
        p.mapping = (enum lab_mapping)mapping;
        p.refresh = LAB_REFRESH_OUTBOUND;
        struct world w = world_of(p);
        char x[32];
        snprintf(x, sizeof(x), "%s", udp_out(&w, A, S1));
        assert_true(udp_in(&w, S1B, x));
        assert_false(udp_in(&w, S2, x));
        w.now += 20 * S;
        snprintf(x, sizeof(x), "%s", udp_out(&w, A, mapping == LAB_MAP_EI ? S2 : S1));
        w.now += 15 * S; /* the session with S1 has ended under endpoint-independent mapping */
        assert_int_equal(udp_in(&w, S1B, x), mapping != LAB_MAP_EI);
        world_end(&w);
    }
}

/* The last destination is the only one that may answer. */
static void last_destination(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.filtering = LAB_FILTER_LAST;
    struct world w = world_of(p);
    char x[32];
    snprintf(x, sizeof(x), "%s", udp_out(&w, A, S1));
    assert_true(udp_in(&w, S1, x));
    udp_out(&w, A, S2);
    assert_false(udp_in(&w, S1, x));
    assert_true(udp_in(&w, S2, x));
    udp_out(&w, A, S1);
    assert_true(udp_in(&w, S1, x));
    world_end(&w);
}

/* RFC 4787 section 6, REQ-9. */
static void hairpins(void **state)
{
    (void)state;
    for (int hairpin = LAB_HAIRPIN_OFF; hairpin <= LAB_HAIRPIN_EXTERNAL; hairpin++) {
        struct lab_profile p = base_profile();
        p.hairpin = (enum lab_hairpin)hairpin;
        p.filtering = LAB_FILTER_EI;
        struct world w = world_of(p);
        char xa[32], xb[32];
        snprintf(xa, sizeof(xa), "%s", udp_out(&w, A, S1));
        snprintf(xb, sizeof(xb), "%s", udp_out(&w, B, S1));
        struct pkt x = udp(A, xb);
        if (hairpin == LAB_HAIRPIN_OFF) {
            dropped(&w, OUT, &x, "hairpin");
        } else {
            assert_int_equal(give(&w, OUT, &x), LAB_NAT_HAIRPIN);
            assert_string_equal(dst_of(&x), B);
            assert_string_equal(src_of(&x), hairpin == LAB_HAIRPIN_EXTERNAL ? xa : A);
        }
        world_end(&w);
    }
}

/* Hairpinned traffic meets the filter of the mapping it goes to. */
static void hairpin_is_filtered(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.hairpin = LAB_HAIRPIN_EXTERNAL;
    struct world w = world_of(p);
    char xa[32], xb[32];
    snprintf(xa, sizeof(xa), "%s", udp_out(&w, A, S1));
    snprintf(xb, sizeof(xb), "%s", udp_out(&w, B, S1));
    struct pkt x = udp(A, xb), y = udp(B, xa), z = udp(A, xb);
    dropped(&w, OUT, &x, "filtered");
    assert_int_equal(give(&w, OUT, &y), LAB_NAT_HAIRPIN); /* A has sent to xb */
    assert_int_equal(give(&w, OUT, &z), LAB_NAT_HAIRPIN);
    world_end(&w);
}

/* RFC 4787 section 4.3, REQ-5: never early, and gone at the deadline. */
static void udp_timers(void **state)
{
    (void)state;
    struct world w = world_of(base_profile());
    char x[32];
    snprintf(x, sizeof(x), "%s", udp_out(&w, A, S1));
    w.now += 30 * S - 1;
    assert_true(udp_in(&w, S1, x)); /* both ways now: the longer time */
    w.now += 120 * S - 1;
    assert_true(udp_in(&w, S1, x));
    w.now += 120 * S;
    assert_false(udp_in(&w, S1, x));
    assert_int_equal(w.out.reason, LAB_NAT_DROP_UNSOLICITED);
    assert_int_equal(counters(&w).mappings, 0);
    snprintf(x, sizeof(x), "%s", udp_out(&w, A, S1));
    w.now += 30 * S;
    assert_false(udp_in(&w, S1, x));
    world_end(&w);
}

/* RFC 4787 section 4.3, REQ-6. */
static void refresh_outbound(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.refresh = LAB_REFRESH_OUTBOUND;
    p.filtering = LAB_FILTER_EI;
    struct world w = world_of(p);
    char x[32];
    snprintf(x, sizeof(x), "%s", udp_out(&w, A, S1));
    for (int i = 0; i < 2; i++) {
        w.now += 14 * S;
        assert_true(udp_in(&w, S1, x));
        assert_true(udp_in(&w, S2, x));
    }
    w.now += 2 * S;
    assert_false(udp_in(&w, S1, x));
    snprintf(x, sizeof(x), "%s", udp_out(&w, A, S1));
    assert_true(udp_in(&w, S1, x));
    udp_out(&w, A, S1); /* a stream, and restarted from inside */
    w.now += 120 * S - 1;
    assert_true(udp_in(&w, S1, x));
    w.now += 1;
    assert_false(udp_in(&w, S1, x));
    world_end(&w);
}

/* RFC 6888 REQ-5: what a state costs is bounded. */
static void table_cap(void **state)
{
    (void)state;
    for (int at_cap = LAB_AT_CAP_DROP; at_cap <= LAB_AT_CAP_EVICT; at_cap++) {
        struct lab_profile p = base_profile();
        p.table_size = 4;
        p.table_at_cap = (enum lab_at_cap)at_cap;
        struct world w = world_of(p);
        char first[32];
        for (unsigned i = 0; i < 4; i++, w.now += MS) {
            unsigned port = nth_port(&w, i);
            assert_int_not_equal(port, 0);
            if (i == 0)
                snprintf(first, sizeof(first), EXT ":%u", port);
        }
        bool made = nth_port(&w, 4) != 0;
        assert_int_equal(made, at_cap == LAB_AT_CAP_EVICT);
        assert_int_equal(counters(&w).sessions, 4);
        /* The one that would have ended first is the one that went. */
        assert_int_equal(udp_in(&w, S1, first), at_cap == LAB_AT_CAP_DROP);
        assert_int_equal(counters(&w).drops[LAB_NAT_DROP_TABLE], at_cap == LAB_AT_CAP_DROP);
        w.now += 150 * S;
        assert_int_not_equal(nth_port(&w, 5), 0);
        world_end(&w);
    }
}

/* RFC 6888 REQ-4: what one subscriber may have. */
static void host_cap(void **state)
{
    (void)state;
    for (int at_cap = LAB_AT_CAP_DROP; at_cap <= LAB_AT_CAP_EVICT; at_cap++) {
        struct lab_profile p = base_profile();
        p.host_limit = 3;
        p.host_at_cap = (enum lab_at_cap)at_cap;
        struct world w = world_of(p);
        udp_out(&w, B, S1);
        for (unsigned i = 0; i < 3; i++)
            assert_int_not_equal(nth_port(&w, i), 0);
        assert_int_equal(nth_port(&w, 3) != 0, at_cap == LAB_AT_CAP_EVICT);
        udp_out(&w, B, S2); /* another host has its own share */
        assert_int_equal(counters(&w).sessions, 5);
        assert_int_equal(counters(&w).sessions_evicted, at_cap == LAB_AT_CAP_EVICT);
        assert_int_equal(counters(&w).drops[LAB_NAT_DROP_HOST_LIMIT], at_cap == LAB_AT_CAP_DROP);
        world_end(&w);
    }
}

/* An endpoint-independent mapping may itself be the victim of its next session. */
static void evicting_its_own(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.host_limit = p.table_size = 1;
    p.host_at_cap = p.table_at_cap = LAB_AT_CAP_EVICT;
    p.filtering = LAB_FILTER_EI;
    struct world w = world_of(p);
    udp_out(&w, A, S1);
    char x[32];
    snprintf(x, sizeof(x), "%s", udp_out(&w, A, S2));
    assert_int_equal(counters(&w).mappings, 1);
    assert_int_equal(counters(&w).sessions, 1);
    assert_false(udp_in(&w, S1, x)); /* would need a session, for which this mapping's own had to go */
    assert_int_equal(counters(&w).mappings, 0);
    world_end(&w);
}

/* RFC 6888 REQ-4 C: how fast. */
static void rate_cap(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.new_per_s = 10;
    struct world w = world_of(p);
    unsigned made = 0;
    for (unsigned i = 0; i < 100; i++, w.now += 20 * MS)
        made += nth_port(&w, i) != 0;
    /* The second's worth that the bucket holds, and two seconds of refilling. */
    assert_in_range(made, 29, 30);
    udp_out(&w, "10.0.0.2:2000", S1); /* old sessions are not asked */
    world_end(&w);
}

/* No RFC: strangers are shut out, with whom the inside talks too; nobody else is. */
static void blacklist(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.blacklist_after = 3;
    p.blacklist_s = 60;
    struct world w = world_of(p);
    char x[32];
    snprintf(x, sizeof(x), "%s", udp_out(&w, A, S1));
    for (int i = 0; i < 2; i++)
        assert_false(udp_in(&w, S1B, EXT ":7"));
    assert_true(udp_in(&w, S1, x));
    assert_false(udp_in(&w, S1B, EXT ":7"));
    assert_false(udp_in(&w, S1, x)); /* now everything from there */
    assert_int_equal(w.out.reason, LAB_NAT_DROP_BLACKLISTED);
    assert_false(udp_in(&w, S2, EXT ":7"));
    assert_int_equal(w.out.reason, LAB_NAT_DROP_UNSOLICITED);
    w.now += 60 * S - 1;
    assert_false(udp_in(&w, S1, x));
    assert_int_equal(w.out.reason, LAB_NAT_DROP_BLACKLISTED);
    w.now += 1;
    assert_true(udp_in(&w, S1, x));
    world_end(&w);
}

/* RFC 5389 section 2 tells of NATs that do this. */
static void payload(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.rewrite_payload = true;
    struct world w = world_of(p);
    struct pkt x = tcp_data("10.10.100.2:5000", S1, ACK, 1, 1, 40);
    memcpy(x.b + 41, "\x0a\x0a\x64\x02", 4); /* an odd offset */
    memcpy(x.b + 50, "10.10.100.2", 11);
    memcpy(x.b + 76, "\x0a\x0a\x64\x02", 4);
    seal(&x);
    passes(&w, OUT, &x);
    assert_memory_equal(x.b + 41, "\xcb\x00\x71\x01", 4);
    assert_memory_equal(x.b + 50, "203.0.113.1", 11);
    assert_memory_equal(x.b + 76, "\xcb\x00\x71\x01", 4);
    /* A text of another length stays. */
    struct pkt y = tcp_data(A, S1, ACK, 1, 1, 20);
    memcpy(y.b + 40, "10.0.0.2", 8);
    seal(&y);
    passes(&w, OUT, &y);
    assert_memory_equal(y.b + 40, "10.0.0.2", 8);
    world_end(&w);
}

/* No RFC: the power goes, once, and all state with it. */
static void restart(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.restart_after_s = 10;
    struct world w = world_of(p);
    char x[32];
    snprintf(x, sizeof(x), "%s", udp_out(&w, A, S1));
    w.now += 10 * S - 1;
    assert_true(udp_in(&w, S1, x));
    w.now += 1;
    assert_false(udp_in(&w, S1, x));
    snprintf(x, sizeof(x), "%s", udp_out(&w, A, S1));
    w.now += 11 * S; /* once */
    assert_true(udp_in(&w, S1, x));
    world_end(&w);
}

static void reset_keeps(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.mapping = LAB_MAP_APD;
    struct world w = world_of(p);
    union base_ep keep = ep_of(S1);
    struct pkt t = tcp(A, S1, SYN, 1, 0), u = tcp(A, S1B, SYN, 1, 0);
    passes(&w, OUT, &t);
    passes(&w, OUT, &u);
    udp_out(&w, A, S1);
    lab_nat_reset(w.nat, &keep, w.now);
    assert_int_equal(counters(&w).sessions, 1);
    struct pkt back = tcp(S1, src_of(&t), SYN | ACK, 9, 2), gone = tcp(S1B, src_of(&u), SYN | ACK, 9, 2);
    passes(&w, IN, &back);
    dropped(&w, IN, &gone, "unsolicited");
    lab_nat_reset(w.nat, NULL, w.now);
    assert_int_equal(counters(&w).sessions, 0);
    assert_int_equal(counters(&w).mappings, 0);
    world_end(&w);
}

static void bad_configurations(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    struct lab_nat *nat;
    union base_ep four = ep_of(EXT), six = ep_of("2001:db8::1");
    assert_true(lab_nat_create(&nat, &p, &four, 0, &four, 1, 0) < 0);
    assert_true(lab_nat_create(&nat, &p, &six, 1, &four, 1, 0) < 0);
    assert_true(lab_nat_create(&nat, &p, &four, 1, &six, 1, 0) < 0);
    p.port_lo = 10;
    p.port_hi = 9;
    assert_true(lab_nat_create(&nat, &p, &four, 1, &four, 1, 0) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mapping_classes),
        cmocka_unit_test(mapping_classes_of_tcp),
        cmocka_unit_test(filtering_classes_of_tcp),
        cmocka_unit_test(connection_dependent),
        cmocka_unit_test(filtering_classes),
        cmocka_unit_test(filtering_by_address),
        cmocka_unit_test(last_destination),
        cmocka_unit_test(hairpins),
        cmocka_unit_test(hairpin_is_filtered),
        cmocka_unit_test(udp_timers),
        cmocka_unit_test(refresh_outbound),
        cmocka_unit_test(table_cap),
        cmocka_unit_test(host_cap),
        cmocka_unit_test(evicting_its_own),
        cmocka_unit_test(rate_cap),
        cmocka_unit_test(blacklist),
        cmocka_unit_test(payload),
        cmocka_unit_test(restart),
        cmocka_unit_test(reset_keeps),
        cmocka_unit_test(bad_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
