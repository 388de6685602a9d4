/*
 * What the lab does to a packet. Pins: an incremental checksum that differs from the full one, a TTL that wraps, an
 * ICMP answer that quotes wrongly, has a wrong checksum or is sent where none may be, and a parser that reads beyond a
 * truncated packet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/lab/packet.h"

#define UDP  17
#define ICMP 1
#define PAY  64u

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* An IPv4 packet with random fields, options included, and right checksums. Returns its length. */
static size_t random_v4(struct base_rng *rng, uint8_t proto, uint8_t *out)
{
    size_t header = 20 + 4 * base_rng_below(rng, 11), body = 8 + base_rng_below(rng, PAY);
    for (size_t i = 0; i < header + body; i++)
        out[i] = (uint8_t)base_rng_u64(rng);
    out[0] = (uint8_t)(0x40 | header / 4);
    put16(out + 2, (unsigned)(header + body));
    put16(out + 6, 0);
    out[9] = proto;
    out[12] = 10;
    put16(out + 10, 0);
    put16(out + 10, lab_sum_finish(lab_sum(out, header, 0)));
    if (proto == ICMP) {
        out[header] = 8;
        put16(out + header + 2, 0);
        put16(out + header + 2, lab_sum_finish(lab_sum(out + header, body, 0)));
    } else {
        put16(out + header + 6, 0);
        uint32_t sum = lab_sum(out + 12, 8, (uint32_t)(UDP + body));
        uint16_t check = lab_sum_finish(lab_sum(out + header, body, sum));
        put16(out + header + 6, check ? check : 0xffff);
    }
    return header + body;
}

static size_t random_v6(struct base_rng *rng, uint8_t *out)
{
    size_t body = 8 + base_rng_below(rng, PAY);
    for (size_t i = 0; i < 40 + body; i++)
        out[i] = (uint8_t)base_rng_u64(rng);
    out[0] = 0x60;
    put16(out + 4, (unsigned)body);
    out[6] = UDP;
    out[8] = 0x20;
    put16(out + 46, 0);
    uint32_t sum = lab_sum(out + 8, 32, (uint32_t)(UDP + body));
    put16(out + 46, lab_sum_finish(lab_sum(out + 40, body, sum)));
    return 40 + body;
}

static void a_hop_keeps_the_checksum(void **state)
{
    (void)state;
    struct base_rng rng;
    uint8_t p[256];
    struct lab_packet packet;
    base_rng_seed(&rng, 1);
    for (int i = 0; i < 20000; i++) {
        size_t len = random_v4(&rng, i % 2 ? UDP : ICMP, p);
        uint8_t ttl = p[8];
        assert_true(lab_packet_parse(p, len, &packet));
        assert_true(lab_packet_checksums_ok(p, &packet));
        bool passed = lab_packet_hop(p, 4);
        assert_int_equal(passed, ttl > 1);
        assert_int_equal(p[8], passed ? ttl - 1 : ttl);
        assert_true(lab_packet_checksums_ok(p, &packet));
    }
}

/* RFC 1624's trap: sums that pass through 0xffff and 0. */
static void a_hop_through_every_checksum(void **state)
{
    (void)state;
    uint8_t p[28] = {0x45, 0, 0, 28, [8] = 2, [9] = UDP, [12] = 10, [16] = 10};
    struct lab_packet packet;
    for (unsigned id = 0; id < 65536; id++) {
        put16(p + 4, id);
        p[8] = 2;
        put16(p + 10, 0);
        put16(p + 10, lab_sum_finish(lab_sum(p, 20, 0)));
        assert_true(lab_packet_hop(p, 4));
        assert_true(lab_packet_parse(p, sizeof(p), &packet));
        assert_true(lab_packet_checksums_ok(p, &packet));
    }
}

static void a_broken_checksum_is_seen(void **state)
{
    (void)state;
    struct base_rng rng;
    uint8_t p[256];
    struct lab_packet packet;
    base_rng_seed(&rng, 2);
    for (int i = 0; i < 2000; i++) {
        size_t len = i % 2 ? random_v4(&rng, UDP, p) : random_v6(&rng, p);
        assert_true(lab_packet_parse(p, len, &packet));
        assert_true(lab_packet_checksums_ok(p, &packet));
        p[packet.header_len] ^= 1;
        assert_false(lab_packet_checksums_ok(p, &packet));
    }
}

static void truncated_packets_are_none(void **state)
{
    (void)state;
    struct base_rng rng;
    uint8_t p[256];
    struct lab_packet packet;
    base_rng_seed(&rng, 3);
    for (int i = 0; i < 200; i++) {
        size_t len = i % 2 ? random_v4(&rng, UDP, p) : random_v6(&rng, p);
        for (size_t cut = 0; cut < len; cut++) {
            /* Its own allocation, so that a sanitizer sees a read beyond it. */
            uint8_t *copy = malloc(cut ? cut : 1);
            assert_non_null(copy);
            memcpy(copy, p, cut);
            assert_false(lab_packet_parse(copy, cut, &packet));
            free(copy);
        }
        assert_true(lab_packet_parse(p, len, &packet));
    }
    uint8_t odd[40] = {0x44, 0, 0, 40};
    assert_false(lab_packet_parse(odd, sizeof(odd), &packet)); /* a header of 16 bytes */
    odd[0] = 0x45;
    odd[3] = 19;
    assert_false(lab_packet_parse(odd, sizeof(odd), &packet)); /* shorter than its header */
    odd[0] = 0x55;
    assert_false(lab_packet_parse(odd, sizeof(odd), &packet));
}

static union base_ep addr(const char *text)
{
    union base_ep ep;
    assert_int_equal(base_ep_parse_addr(text, &ep), 0);
    return ep;
}

static void time_exceeded_v4(void **state)
{
    (void)state;
    struct base_rng rng;
    uint8_t p[256], out[LAB_ICMP_MAX];
    struct lab_packet packet, answer;
    union base_ep router = addr("192.0.0.8"), other = addr("2001:db8::1");
    base_rng_seed(&rng, 4);
    for (int i = 0; i < 500; i++) {
        size_t len = random_v4(&rng, i % 2 ? UDP : ICMP, p);
        assert_true(lab_packet_parse(p, len, &packet));
        size_t n = lab_packet_time_exceeded(p, &packet, &router, out);
        assert_true(lab_packet_parse(out, n, &answer));
        assert_int_equal(answer.len, n);
        assert_true(lab_packet_checksums_ok(out, &answer));
        assert_int_equal(answer.proto, ICMP);
        assert_int_equal(out[20], 11);
        assert_int_equal(out[21], 0);
        assert_true(lab_addr_equal(answer.src, lab_addr_of(&router)));
        assert_true(lab_addr_equal(answer.dst, packet.src));
        assert_memory_equal(out + 28, p, n - 28);
        assert_true(n - 28 >= packet.header_len + 8);
        assert_int_equal(lab_packet_time_exceeded(p, &packet, &other, out), 0);
    }
}

static void time_exceeded_is_bounded(void **state)
{
    (void)state;
    uint8_t out[LAB_ICMP_MAX];
    static uint8_t p[1500] = {0x45, [2] = 1500 >> 8, [3] = 1500 & 255, [9] = UDP, [12] = 10};
    static uint8_t p6[1500] = {0x60, [4] = 1460 >> 8, [5] = 1460 & 255, [6] = UDP, [8] = 0x20};
    struct lab_packet packet;
    union base_ep v4 = addr("192.0.0.8"), v6 = addr("2001:db8::1");
    assert_true(lab_packet_parse(p, sizeof(p), &packet));
    assert_int_equal(lab_packet_time_exceeded(p, &packet, &v4, out), 576);
    assert_true(lab_packet_parse(p6, sizeof(p6), &packet));
    assert_int_equal(lab_packet_time_exceeded(p6, &packet, &v6, out), 1280);
    assert_true(lab_packet_parse(out, 1280, &packet));
    assert_true(lab_packet_checksums_ok(out, &packet));
    assert_int_equal(out[40], 3);
}

/* RFC 1812 4.3.2.7, RFC 4443 2.4 (e). */
static void no_answer_to_errors_fragments_and_groups(void **state)
{
    (void)state;
    uint8_t out[LAB_ICMP_MAX];
    uint8_t p[28] = {0x45, 0, 0, 28, [8] = 1, [9] = ICMP, [12] = 10, [20] = 11};
    uint8_t p6[48] = {0x60, [5] = 8, [6] = 58, [8] = 0x20, [40] = 3};
    struct lab_packet packet;
    union base_ep v4 = addr("192.0.0.8"), v6 = addr("2001:db8::1");
    assert_true(lab_packet_parse(p, sizeof(p), &packet));
    assert_int_equal(lab_packet_time_exceeded(p, &packet, &v4, out), 0);
    p[20] = 8;
    assert_int_not_equal(lab_packet_time_exceeded(p, &packet, &v4, out), 0);
    p[7] = 1;
    assert_int_equal(lab_packet_time_exceeded(p, &packet, &v4, out), 0);
    p[7] = 0;
    p[12] = 224;
    assert_int_equal(lab_packet_time_exceeded(p, &packet, &v4, out), 0);
    assert_true(lab_packet_parse(p6, sizeof(p6), &packet));
    assert_int_equal(lab_packet_time_exceeded(p6, &packet, &v6, out), 0);
    p6[40] = 128;
    assert_int_not_equal(lab_packet_time_exceeded(p6, &packet, &v6, out), 0);
    p6[8] = 0xff;
    assert_int_equal(lab_packet_time_exceeded(p6, &packet, &v6, out), 0);
}

static void an_ipv6_hop(void **state)
{
    (void)state;
    uint8_t p[40] = {0x60, [7] = 2};
    assert_true(lab_packet_hop(p, 6));
    assert_int_equal(p[7], 1);
    assert_false(lab_packet_hop(p, 6));
    assert_int_equal(p[7], 1);
}

/* RFC 1071's own example. */
static void the_sum_of_rfc_1071(void **state)
{
    (void)state;
    static const uint8_t data[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    assert_int_equal(lab_sum(data, sizeof(data), 0), 0x2ddf0);
    assert_int_equal(lab_sum_finish(0x2ddf0), 0xffff & ~0xddf2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sum_of_rfc_1071),
        cmocka_unit_test(a_hop_keeps_the_checksum),
        cmocka_unit_test(a_hop_through_every_checksum),
        cmocka_unit_test(an_ipv6_hop),
        cmocka_unit_test(a_broken_checksum_is_seen),
        cmocka_unit_test(truncated_packets_are_none),
        cmocka_unit_test(time_exceeded_v4),
        cmocka_unit_test(time_exceeded_is_bounded),
        cmocka_unit_test(no_answer_to_errors_fragments_and_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
