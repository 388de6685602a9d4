/*
 * Which port and address a mapping gets, key by key, packet by packet. Pins: a port chosen against its rule or out of
 * its range, a range that ends before it is full, blocks that are shared, a subscriber with two addresses where they
 * are paired, cross traffic that takes too much or keeps it.
 */
#include "tests/unit/nat_profile.h"

/* RFC 4787 section 4.2.1: preserved, and another port where it is taken or out of range. */
static void ports_preserve(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.ports = LAB_PORTS_PRESERVE;
    struct world w = world_of(p);
    assert_string_equal(udp_out(&w, A, S1), EXT ":5000");
    assert_string_not_equal(udp_out(&w, B, S1), EXT ":5000");
    assert_string_equal(udp_out(&w, A2, S1), EXT ":5001");
    struct pkt low = udp("10.0.0.2:80", S1), t = tcp(B, S1, SYN, 1, 0);
    passes(&w, OUT, &low);
    assert_in_range(src_port(&low), 1024, 65535);
    passes(&w, OUT, &t); /* protocols have ports of their own */
    assert_string_equal(src_of(&t), EXT ":5000");
    world_end(&w);
}

/* No RFC asks for it: the next free one, `step` further, around the range; every port of it is reached. */
static void ports_sequential(void **state)
{
    static const int steps[] = {1, 2, -1, -3};
    (void)state;
    for (size_t k = 0; k < BASE_ARRAY_LEN(steps); k++) {
        struct lab_profile p = base_profile();
        p.ports = LAB_PORTS_SEQUENTIAL;
        p.step = steps[k];
        p.port_lo = 10000;
        p.port_hi = 10099;
        struct world w = world_of(p);
        unsigned before = nth_port(&w, 0), all = 1;
        for (unsigned i = 1; i < 100; i++, all++) {
            unsigned port = nth_port(&w, i), want = (before - 10000 + 100 + (unsigned)(100 + steps[k])) % 100 + 10000;
            /* An even step turns once around and then takes the ports that it has left out. */
            if (steps[k] != 2 || i != 50)
                assert_int_equal(port, want);
            before = port;
        }
        assert_int_equal(all, 100);
        assert_int_equal(nth_port(&w, 100), 0);
        assert_int_equal(counters(&w).drops[LAB_NAT_DROP_PORTS], 1);
        world_end(&w);
    }
}

/* RFC 4787 section 4.2.2. */
static void ports_parity(void **state)
{
    (void)state;
    for (int step = 1; step <= 2; step++) {
        struct lab_profile p = base_profile();
        p.ports = LAB_PORTS_PARITY;
        p.step = step;
        struct world w = world_of(p);
        unsigned before = nth_port(&w, 0);
        for (unsigned i = 1; i < 50; i++) {
            unsigned port = nth_port(&w, i * 2);
            assert_int_equal(port % 2, 0);
            if (before < 65534)
                assert_int_equal(port, before + 2);
            before = port;
        }
        assert_int_equal(nth_port(&w, 1) % 2, 1);
        world_end(&w);
    }
}

/* RFC 7422, RFC 6888 REQ-4: a subscriber has blocks of its own, and no more than `blocks`. */
static void ports_block(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.ports = LAB_PORTS_BLOCK;
    p.block_size = 16;
    p.blocks = 2;
    p.port_lo = 2000;
    p.port_hi = 2000 + 16 * 4 - 1;
    struct world w = world_of(p);
    unsigned used[4] = {0};
    for (unsigned i = 0; i < 32; i++) {
        unsigned port = nth_port(&w, i);
        assert_in_range(port, 2000, 2063);
        used[(port - 2000) / 16]++;
        /* A second block comes only when the first is full. */
        if (i == 15)
            assert_int_equal(used[0] | used[1] | used[2] | used[3], 16);
    }
    assert_int_equal(nth_port(&w, 32), 0);
    struct pkt other = udp(B, S1);
    passes(&w, OUT, &other);
    assert_int_equal(used[(src_port(&other) - 2000) / 16], 0);
    world_end(&w);
}

/* No RFC: a subscriber's ports lie in one band, drawn where it likes. */
static void ports_band(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.ports = LAB_PORTS_BAND;
    p.block_size = 251;
    struct world w = world_of(p);
    unsigned lo = 65536, hi = 0;
    for (unsigned i = 0; i < 251; i++) {
        unsigned port = nth_port(&w, i);
        lo = port < lo ? port : lo;
        hi = port > hi ? port : hi;
    }
    assert_int_equal(hi - lo, 250);
    assert_int_equal(nth_port(&w, 251), 0);
    world_end(&w);
}

/* RFC 4787 section 4.1, REQ-2. */
static void pools(void **state)
{
    (void)state;
    for (int pooling = LAB_POOL_PAIRED; pooling <= LAB_POOL_ARBITRARY; pooling++) {
        struct lab_profile p = base_profile();
        p.pooling = (enum lab_pooling)pooling;
        struct world w = world_pool(&p, 4, 3);
        unsigned seen = 0;
        for (unsigned i = 0; i < 64; i++) {
            char src[32];
            snprintf(src, sizeof(src), "10.0.0.2:%u", 2000 + i);
            struct pkt x = udp(src, S1);
            passes(&w, OUT, &x);
            seen |= 1u << x.b[15];
        }
        if (pooling == LAB_POOL_PAIRED)
            assert_int_equal(seen & (seen - 1), 0);
        else
            assert_int_equal(seen, 0x1e);
        world_end(&w);
    }
}

/* RFC 7857 section 9: not guessed from the one before, and within port-range; each once, until there is none. */
static void ports_random(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.port_lo = 40000;
    p.port_hi = 41999;
    struct world w = world_of(p);
    bool seen[2000] = {false};
    unsigned next_door = 0;
    for (unsigned i = 0, before = 0; i < 2000; i++) {
        unsigned port = nth_port(&w, i);
        assert_in_range(port, 40000, 41999);
        assert_false(seen[port - 40000]);
        seen[port - 40000] = true;
        next_door += port == before + 1 || port + 1 == before;
        before = port;
    }
    assert_in_range(next_door, 0, 20); /* two expected */
    assert_int_equal(nth_port(&w, 2000), 0);
    assert_int_equal(counters(&w).drops[LAB_NAT_DROP_PORTS], 1);
    world_end(&w);
}

/* Foreign allocations move the sequence on, and give their ports back. */
static void cross_traffic(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.ports = LAB_PORTS_SEQUENTIAL;
    p.cross = LAB_CROSS_POISSON;
    p.cross_rate = 100;
    struct world w = world_of(p);
    unsigned a = nth_port(&w, 0);
    w.now += 10 * S;
    unsigned b = nth_port(&w, 1), moved = (b + 64512 - a) % 64512;
    assert_in_range(moved, 900, 1100);
    struct lab_nat_counters c = counters(&w);
    assert_in_range(c.foreign, 3600, 4400); /* thirty seconds before the first, and ten between */
    world_end(&w);
}

/* 64,512 mappings of one session each, in under 16 MB; and the table gives them all back. */
static void full_table(void **state)
{
    (void)state;
    struct lab_profile p = base_profile();
    p.mapping = LAB_MAP_APD;
    struct world w = world_of(p);
    struct pkt x = udp(A, S1);
    for (uint32_t i = 0; i < 64513; i++) {
        struct pkt y = x;
        w32(y.b + 16, 0xc6336401u + i);
        seal(&y);
        assert_int_equal(give(&w, OUT, &y), i < 64512 ? LAB_NAT_FORWARD : LAB_NAT_DROP);
    }
    struct lab_nat_counters c = counters(&w);
    assert_int_equal(c.mappings, 64512);
    assert_int_equal(c.drops[LAB_NAT_DROP_PORTS], 1);
    assert_in_range(c.bytes, 1, 16u << 20);
    w.now += 30 * S;
    udp_out(&w, A, S1);
    assert_int_equal(counters(&w).mappings, 1);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_preserve), cmocka_unit_test(ports_random),  cmocka_unit_test(ports_sequential),
        cmocka_unit_test(ports_parity),   cmocka_unit_test(ports_block),   cmocka_unit_test(ports_band),
        cmocka_unit_test(pools),          cmocka_unit_test(cross_traffic), cmocka_unit_test(full_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
