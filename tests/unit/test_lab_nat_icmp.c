/*
 * ICMP through the emulated NAT (RFC 5508), and packets that are not what they should be. Pins: an error whose quoted
 * packet or checksum is not translated, one about nobody's session that passes, one that ends a mapping (RFC 5382
 * REQ-10), echoes that reach the wrong host, a hop that is not counted, a fragment or truncation that is translated.
 */
#include "tests/unit/nat_packets.h"

static struct world world(void)
{
    struct lab_profile p = {.backend = LAB_BACKEND_EMULATED,
                            .mapping = LAB_MAP_EI,
                            .filtering = LAB_FILTER_APD,
                            .ports = LAB_PORTS_RANDOM,
                            .unsolicited = LAB_UNSOLICITED_DROP,
                            .window = LAB_WINDOW_STRICT,
                            .refresh = LAB_REFRESH_BOTH,
                            .rst = LAB_RST_CLOSES};
    return world_of(p);
}

static struct pkt quoted(const struct pkt *error)
{
    struct pkt q = {.len = error->len - 28};
    memcpy(q.b, error->b + 28, q.len);
    return q;
}

static bool ip_sum_ok(const struct pkt *p)
{
    return lab_sum_finish(lab_sum(p->b, 20, 0)) == 0;
}

/* RFC 5508 section 4.2, REQ-4: the whole packet back, and its first eight bytes only. */
static void errors_in(void **state)
{
    static const uint8_t types[] = {3, 11, 12};
    (void)state;
    struct world w = world();
    for (size_t t = 0; t < 2 * sizeof(types); t++) {
        bool is_tcp = t >= sizeof(types);
        struct pkt p = is_tcp ? tcp(A, S1, SYN, 1, 0) : udp(A, S1), before = p;
        passes(&w, OUT, &p);
        for (int whole = 0; whole < 2; whole++) {
            struct pkt e = icmp_error(types[t % 3], 3, "192.0.2.9", EXT, &p, whole ? p.len : 28);
            passes(&w, IN, &e);
            assert_string_equal(ep_text(e.b + 12, 0, text_slot()), "192.0.2.9:0");
            assert_string_equal(ep_text(e.b + 16, 0, text_slot()), "10.0.0.2:0");
            struct pkt q = quoted(&e);
            assert_string_equal(src_of(&q), A);
            assert_string_equal(dst_of(&q), S1);
            assert_true(ip_sum_ok(&q));
            before.b[8] = q.b[8]; /* a hop was counted on the way out */
            w16(before.b + 10, 0);
            w16(before.b + 10, lab_sum_finish(lab_sum(before.b, 20, 0)));
            assert_memory_equal(q.b, before.b, q.len);
        }
    }
    /* RFC 5382 REQ-10: the session is still there. */
    assert_int_equal(counters(&w).sessions, 2);
    world_end(&w);
}

/* RFC 5508 section 4.2, REQ-5. */
static void errors_out(void **state)
{
    (void)state;
    struct world w = world();
    struct pkt p = udp(A, S1);
    passes(&w, OUT, &p);
    struct pkt back = udp(S1, src_of(&p)), as_sent = back;
    passes(&w, IN, &back);
    struct pkt e = icmp_error(3, 3, "10.0.0.2", "198.51.100.1", &back, back.len);
    passes(&w, OUT, &e);
    assert_string_equal(ep_text(e.b + 12, 0, text_slot()), EXT ":0");
    struct pkt q = quoted(&e);
    assert_string_equal(src_of(&q), S1);
    assert_string_equal(dst_of(&q), src_of(&p));
    assert_true(ip_sum_ok(&q));
    assert_memory_equal(q.b + 20, as_sent.b + 20, q.len - 20);
    world_end(&w);
}

/* RFC 5508 REQ-3 and REQ-4: silently dropped. */
static void errors_about_nothing(void **state)
{
    (void)state;
    struct world w = world();
    struct pkt p = udp(A, S1);
    passes(&w, OUT, &p);
    struct pkt other = udp(src_of(&p), S2), e = icmp_error(3, 3, "192.0.2.9", EXT, &other, 28);
    dropped(&w, IN, &e, "related");
    other = udp(EXT ":9", S1);
    e = icmp_error(3, 3, "192.0.2.9", EXT, &other, 28);
    dropped(&w, IN, &e, "related");
    e = icmp_error(3, 3, "192.0.2.9", EXT, &p, 28);
    e.b[22] ^= 1;
    dropped(&w, IN, &e, "malformed");
    e = icmp_error(3, 3, "192.0.2.9", EXT, &p, 27);
    dropped(&w, IN, &e, "malformed");
    e = icmp_error(5, 0, "192.0.2.9", EXT, &p, 28); /* a redirect is not for others to see */
    dropped(&w, IN, &e, "protocol");
    e = icmp_error(3, 3, "10.0.0.2", "198.51.100.2", &other, 28);
    dropped(&w, OUT, &e, "related");
    world_end(&w);
}

/* RFC 5508 section 3: by identifier. */
static void echoes(void **state)
{
    (void)state;
    struct world w = world();
    struct pkt a = echo(8, "10.0.0.2", "198.51.100.1", 7), b = echo(8, "10.0.0.3", "198.51.100.1", 7);
    passes(&w, OUT, &a);
    passes(&w, OUT, &b);
    unsigned ida = r16(a.b + 24), idb = r16(b.b + 24);
    assert_int_not_equal(ida, idb);
    struct pkt back = echo(0, "198.51.100.1", EXT, idb), wrong = echo(0, "198.51.100.2", EXT, idb);
    passes(&w, IN, &back);
    assert_string_equal(ep_text(back.b + 16, r16(back.b + 24), text_slot()), "10.0.0.3:7");
    dropped(&w, IN, &wrong, "filtered");
    struct pkt ping = echo(8, "198.51.100.1", EXT, 7);
    dropped(&w, IN, &ping, "unsolicited");
    struct pkt e = icmp_error(11, 0, "192.0.2.9", EXT, &a, a.len);
    passes(&w, IN, &e);
    assert_int_equal(r16(e.b + 28 + 24), 7);
    w.now += 60 * S - 1; /* REQ-2 */
    back = echo(0, "198.51.100.1", EXT, ida);
    passes(&w, IN, &back);
    w.now += 60 * S;
    back = echo(0, "198.51.100.1", EXT, ida);
    dropped(&w, IN, &back, "unsolicited");
    world_end(&w);
}

/* A NAT is a router: it takes a hop, and answers from the side that the packet came from. */
static void hops(void **state)
{
    (void)state;
    struct world w = world();
    struct pkt p = udp(A, S1), dead = udp(A, S2);
    passes(&w, OUT, &p);
    assert_int_equal(p.b[8], 63);
    dead.b[8] = 1;
    seal(&dead);
    assert_int_equal(give(&w, OUT, &dead), LAB_NAT_REPLY);
    assert_int_equal(w.out.reason, LAB_NAT_DROP_TTL);
    assert_int_equal(w.out.reply[20], 11);
    assert_string_equal(ep_text(w.out.reply + 12, 0, text_slot()), "10.0.0.1:0");
    assert_int_equal(counters(&w).sessions, 1); /* no state for what goes nowhere */
    struct pkt back = udp(S1, src_of(&p));
    back.b[8] = 1;
    seal(&back);
    assert_int_equal(give(&w, IN, &back), LAB_NAT_REPLY);
    assert_string_equal(ep_text(w.out.reply + 12, 0, text_slot()), EXT ":0");
    world_end(&w);
}

/* The first fragment is translated, the others have no ports. */
static void fragments(void **state)
{
    (void)state;
    struct world w = world();
    struct pkt whole = udp(A, S1), first = udp(A, S1), later = udp(A, S1);
    passes(&w, OUT, &whole);
    uint16_t sum = (uint16_t)r16(first.b + 26);
    w16(first.b + 6, 0x2000);
    w16(first.b + 10, 0);
    w16(first.b + 10, lab_sum_finish(lab_sum(first.b, 20, 0)));
    passes(&w, OUT, &first);
    assert_string_equal(src_of(&first), src_of(&whole));
    assert_int_equal(r16(first.b + 26), r16(whole.b + 26)); /* the same difference as in the whole */
    assert_int_not_equal(r16(first.b + 26), sum);
    w16(later.b + 6, 0x0010);
    w16(later.b + 10, 0);
    w16(later.b + 10, lab_sum_finish(lab_sum(later.b, 20, 0)));
    dropped(&w, OUT, &later, "fragment");
    world_end(&w);
}

/* No checksum stays none (RFC 768), a wrong one stays wrong. */
static void checksums(void **state)
{
    (void)state;
    struct world w = world();
    struct pkt none = udp(A, S1), wrong = udp(A, S1);
    w16(none.b + 26, 0);
    passes(&w, OUT, &none);
    assert_int_equal(r16(none.b + 26), 0);
    wrong.b[26] ^= 0x55;
    assert_int_equal(lab_nat_packet(w.nat, OUT, wrong.b, wrong.len, w.now, &w.out), LAB_NAT_FORWARD);
    assert_false(sums_ok(wrong.b, wrong.len));
    world_end(&w);
}

static void malformed(void **state)
{
    (void)state;
    struct world w = world();
    struct pkt p = tcp(A, S1, SYN, 1, 0);
    for (size_t len = 0; len < p.len; len++) {
        struct pkt cut = p;
        cut.len = len;
        dropped(&w, OUT, &cut, "malformed");
    }
    struct pkt x = p;
    x.b[32] = 15 << 4; /* options beyond the end */
    seal(&x);
    dropped(&w, OUT, &x, "malformed");
    x = p;
    x.b[10] ^= 1;
    dropped(&w, OUT, &x, "malformed");
    x = ip_packet(47, A, S1, 8);
    seal(&x);
    dropped(&w, OUT, &x, "protocol");
    struct pkt six = {.len = 48};
    six.b[0] = 0x60;
    w16(six.b + 4, 8);
    dropped(&w, OUT, &six, "not-ipv4");
    x = udp(S1, "203.0.113.77:1");
    dropped(&w, IN, &x, "not-ours");
    assert_int_equal(counters(&w).sessions, 0);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_in), cmocka_unit_test(errors_out), cmocka_unit_test(errors_about_nothing),
        cmocka_unit_test(echoes),    cmocka_unit_test(hops),       cmocka_unit_test(fragments),
        cmocka_unit_test(checksums), cmocka_unit_test(malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
