/*
 * Links, the delay queue and the address directory, in virtual time. Pins: a packet that comes early, out of order or
 * never; loss, duplication, reordering or a rate that is not what was asked for; a queue without a bound; a lost or
 * doubled parcel; an address that is not found after the table has grown.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/lab/internal.h"

#define MS BASE_NS_PER_MS

static struct lab_lane lane(struct lab_way way)
{
    return (struct lab_lane){.way = way};
}

/* A packet of 100 bytes over both; it must come once. When. */
static uint64_t due_of(struct lab_lane *a, struct lab_lane *b, struct base_rng *rng, uint64_t now, uint64_t *last)
{
    struct lab_crossing x;
    lab_lane_cross(a, b, rng, now, 100, last, &x);
    assert_int_equal(x.n, 1);
    return x.due_ns[0];
}

static void delays_add_up(void **state)
{
    (void)state;
    struct lab_lane a = lane((struct lab_way){.delay_ns = 10 * MS}), b = lane((struct lab_way){.delay_ns = 7 * MS});
    struct lab_lane none = {0};
    struct base_rng rng;
    uint64_t last = 0;
    base_rng_seed(&rng, 1);
    assert_int_equal(due_of(&a, &b, &rng, 5 * MS, &last), 22 * MS);
    assert_int_equal(last, 22 * MS);
    last = 0;
    assert_int_equal(due_of(&none, &none, &rng, 5 * MS, &last), 5 * MS);
    last = 0;
    assert_int_equal(due_of(&a, NULL, &rng, 5 * MS, &last), 15 * MS);
}

static void jitter_stays_in_bounds_and_order(void **state)
{
    (void)state;
    struct lab_lane a = lane((struct lab_way){.delay_ns = 10 * MS, .jitter_ns = 4 * MS});
    struct lab_lane b = lane((struct lab_way){.delay_ns = MS, .jitter_ns = 2 * MS});
    struct base_rng rng;
    uint64_t last = 0, before = 0, least = UINT64_MAX, most = 0;
    base_rng_seed(&rng, 2);
    for (uint64_t now = 0; now < 2000 * MS; now += MS / 10) {
        uint64_t due = due_of(&a, &b, &rng, now, &last);
        assert_true(due >= before);
        assert_true(due >= now + 11 * MS && due < now + 17 * MS);
        least = due - now < least ? due - now : least;
        most = due - now > most ? due - now : most;
        before = due;
    }
    /* Spread over its range: order only ever pushes later. */
    assert_true(least < 15 * MS && most > 16 * MS);
}

static void loss_is_what_was_asked_for(void **state)
{
    enum { N = 100000 };
    (void)state;
    struct lab_lane a = lane((struct lab_way){.loss = 0.1}), b = lane((struct lab_way){.loss = 0.2});
    struct lab_lane whole = lane((struct lab_way){.loss = 1.0}), none = {0};
    struct lab_crossing x;
    struct base_rng rng;
    uint64_t last = 0;
    unsigned passed = 0, lost = 0;
    base_rng_seed(&rng, 3);
    for (int i = 0; i < N; i++) {
        lab_lane_cross(&a, &b, &rng, 0, 100, &last, &x);
        passed += x.n;
        lost += x.lost;
    }
    /* 0.72 with a standard deviation of 0.0014. */
    assert_in_range(passed, (int)(0.71 * N), (int)(0.73 * N));
    assert_int_equal(passed + lost, N);
    lab_lane_cross(&none, &whole, &rng, 0, 100, &last, &x);
    assert_true(x.n == 0 && x.lost == 1);
    lab_lane_cross(&none, &none, &rng, 0, 100, &last, &x);
    assert_true(x.n == 1 && x.lost == 0);
}

static void one_seed_one_sequence(void **state)
{
    (void)state;
    struct lab_way way = {.jitter_ns = MS, .loss = 0.3, .duplication = 0.3, .reordering = 0.3, .reorder_ns = 7 * MS};
    struct lab_lane a = lane(way), b = lane(way);
    struct base_rng one, two;
    base_rng_seed(&one, 4);
    base_rng_seed(&two, 4);
    for (uint64_t i = 0, la = 0, lb = 0; i < 1000; i++) {
        struct lab_crossing xa, xb;
        lab_lane_cross(&a, &a, &one, i, 100, &la, &xa);
        lab_lane_cross(&b, &b, &two, i, 100, &lb, &xb);
        assert_memory_equal(&xa, &xb, sizeof(xa));
    }
}

/* Copies come right behind their original; those of two ways multiply. */
static void duplicates_are_what_was_asked_for(void **state)
{
    enum { N = 100000 };
    (void)state;
    struct lab_lane a = lane((struct lab_way){.duplication = 0.1, .delay_ns = MS}), none = {0};
    struct lab_lane always = lane((struct lab_way){.duplication = 1});
    struct lab_crossing x;
    struct base_rng rng;
    uint64_t last = 0;
    unsigned copies = 0, came = 0;
    base_rng_seed(&rng, 7);
    for (uint64_t i = 0; i < N; i++) {
        lab_lane_cross(&a, &none, &rng, i, 100, &last, &x);
        assert_true(x.n == 1 || (x.n == 2 && x.due_ns[0] == x.due_ns[1]));
        assert_int_equal(x.due_ns[0], i + MS);
        came += x.n;
        copies += x.duplicated;
    }
    assert_int_equal(came, N + copies);
    assert_in_range(copies, (int)(0.095 * N), (int)(0.105 * N));
    lab_lane_cross(&always, &always, &rng, N, 100, &last, &x);
    assert_true(x.n == 4 && x.duplicated == 3);
    lab_lane_cross(&always, NULL, &rng, N, 100, &last, &x);
    assert_true(x.n == 2 && x.duplicated == 1);
}

/* A held packet comes exactly so much later, and those behind it do not wait for it. */
static void reordered_packets_are_passed(void **state)
{
    enum { N = 100000 };
    (void)state;
    struct lab_lane a = lane((struct lab_way){.delay_ns = MS, .reordering = 0.05, .reorder_ns = 3 * MS}), none = {0};
    struct lab_crossing x;
    struct base_rng rng;
    uint64_t last = 0;
    unsigned held = 0;
    base_rng_seed(&rng, 8);
    for (uint64_t i = 0; i < N; i++) {
        lab_lane_cross(&a, &none, &rng, i * 1000, 100, &last, &x);
        assert_int_equal(x.n, 1);
        assert_int_equal(x.due_ns[0], i * 1000 + (x.reordered ? 4 : 1) * MS);
        held += x.reordered;
    }
    /* 0.05 with a standard deviation of 0.0007. */
    assert_in_range(held, (int)(0.0465 * N), (int)(0.0535 * N));
}

/* 100 bytes at 8 Mbit/s take 100 us. */
static void rate_spaces_packets(void **state)
{
    (void)state;
    struct lab_lane a = lane((struct lab_way){.rate = 8000000, .queue_ns = MS, .delay_ns = 5 * MS});
    struct lab_crossing x;
    struct base_rng rng;
    uint64_t last = 0, now = MS;
    base_rng_seed(&rng, 9);
    /* One is being sent and ten wait, the last of them for a millisecond; there is no place for a twelfth. */
    for (unsigned i = 1; i <= 11; i++)
        assert_int_equal(due_of(&a, NULL, &rng, now, &last), now + i * MS / 10 + 5 * MS);
    for (unsigned i = 0; i < 5; i++) {
        lab_lane_cross(&a, NULL, &rng, now, 100, &last, &x);
        assert_true(x.n == 0 && x.rate_dropped == 1 && x.lost == 0);
    }
    /* A tenth of a millisecond later one place is free, and only one. */
    now += MS / 10;
    assert_int_equal(due_of(&a, NULL, &rng, now, &last), now + 11 * MS / 10 + 5 * MS);
    lab_lane_cross(&a, NULL, &rng, now, 100, &last, &x);
    assert_true(x.n == 0 && x.rate_dropped == 1);
    /* An idle transmitter saves nothing up. */
    now += 100 * MS;
    assert_int_equal(due_of(&a, NULL, &rng, now, &last), now + MS / 10 + 5 * MS);
    assert_int_equal(due_of(&a, NULL, &rng, now, &last), now + 2 * MS / 10 + 5 * MS);
    lab_lane_reset(&a);
    last = 0;
    assert_int_equal(due_of(&a, NULL, &rng, now, &last), now + MS / 10 + 5 * MS);
}

/* Without a queue only an idle transmitter takes a packet; lost packets have used the rate up, copies have not. */
static void rate_counts_what_is_sent(void **state)
{
    (void)state;
    struct lab_lane bare = lane((struct lab_way){.rate = 8000000});
    struct lab_lane loses = lane((struct lab_way){.rate = 8000000, .queue_ns = MS, .loss = 1});
    struct lab_lane doubles = lane((struct lab_way){.rate = 8000000, .queue_ns = MS, .duplication = 1});
    struct lab_crossing x;
    struct base_rng rng;
    uint64_t last = 0;
    base_rng_seed(&rng, 10);
    assert_int_equal(due_of(&bare, NULL, &rng, 0, &last), MS / 10);
    lab_lane_cross(&bare, NULL, &rng, MS / 20, 100, &last, &x);
    assert_true(x.n == 0 && x.rate_dropped == 1);
    assert_int_equal(due_of(&bare, NULL, &rng, MS / 10, &last), 2 * MS / 10);
    lab_lane_cross(&loses, NULL, &rng, 0, 100, &last, &x);
    assert_true(x.n == 0 && x.lost == 1);
    assert_int_equal(loses.busy_ns, MS / 10);
    lab_lane_cross(&doubles, NULL, &rng, 0, 100, &last, &x);
    assert_true(x.n == 2 && x.due_ns[1] == x.due_ns[0]);
    assert_int_equal(doubles.busy_ns, MS / 10);
    assert_true(lab_lane_alone(&bare));
    assert_false(lab_lane_alone(&(struct lab_lane){.way = {.delay_ns = MS}}));
}

static void parcels_come_in_time_and_order(void **state)
{
    enum { N = 5000 };
    (void)state;
    struct lab_queue q;
    struct base_rng rng;
    static bool seen[N];
    memset(seen, 0, sizeof(seen));
    lab_queue_init(&q, N, N * sizeof(uint32_t));
    base_rng_seed(&rng, 5);
    assert_int_equal(lab_queue_next(&q), UINT64_MAX);
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(
            lab_queue_push(&q, base_rng_below(&rng, 500), &q, i % 7, (const uint8_t *)(const void *)&i, sizeof(i)), 0);
    uint64_t last_due = 0;
    uint32_t last_id = 0, n = 0;
    for (uint64_t now = 0; now < 500; now++) {
        struct lab_parcel *p;
        while ((p = lab_queue_pop(&q, now))) {
            uint32_t id;
            memcpy(&id, p->data, sizeof(id));
            assert_int_equal(p->due_ns, now);
            assert_ptr_equal(p->to, &q);
            assert_int_equal(p->stage, id % 7);
            assert_false(seen[id]);
            if (n && p->due_ns == last_due)
                assert_true(id > last_id);
            seen[id] = true;
            last_due = p->due_ns;
            last_id = id;
            n++;
            free(p);
        }
        assert_true(lab_queue_next(&q) > now);
    }
    assert_int_equal(n, N);
    assert_int_equal(q.bytes, 0);
    lab_queue_free(&q);
}

static bool even_only(const struct lab_parcel *p, void *user)
{
    (void)user;
    return p->data[0] % 2 == 0;
}

static void a_filtered_queue_keeps_order(void **state)
{
    (void)state;
    struct lab_queue q;
    struct base_rng rng;
    struct lab_parcel *p;
    uint64_t last = 0;
    unsigned want = 0, n = 0;
    lab_queue_init(&q, 1000, 1000);
    base_rng_seed(&rng, 6);
    for (int i = 0; i < 1000; i++) {
        uint8_t byte = (uint8_t)base_rng_u64(&rng);
        want += byte % 2 == 0;
        assert_int_equal(lab_queue_push(&q, base_rng_below(&rng, 300), NULL, 0, &byte, 1), 0);
    }
    lab_queue_filter(&q, even_only, NULL);
    assert_int_equal(q.bytes, want);
    for (; (p = lab_queue_pop(&q, 300)); n++) {
        assert_true(p->due_ns >= last);
        assert_int_equal(p->data[0] % 2, 0);
        last = p->due_ns;
        free(p);
    }
    assert_int_equal(n, want);
    lab_queue_free(&q);
}

static void the_queue_is_bounded(void **state)
{
    (void)state;
    struct lab_queue q;
    uint8_t data[100] = {0};
    lab_queue_init(&q, 3, 1000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(lab_queue_push(&q, 1, NULL, 0, data, 10), 0);
    assert_int_equal(lab_queue_push(&q, 1, NULL, 0, data, 10), -ENOBUFS);
    free(lab_queue_pop(&q, 1));
    assert_int_equal(lab_queue_push(&q, 1, NULL, 0, data, 10), 0);
    lab_queue_free(&q);
    lab_queue_init(&q, 100, 250);
    assert_int_equal(lab_queue_push(&q, 1, NULL, 0, data, 100), 0);
    assert_int_equal(lab_queue_push(&q, 1, NULL, 0, data, 100), 0);
    assert_int_equal(lab_queue_push(&q, 1, NULL, 0, data, 100), -ENOBUFS);
    lab_queue_free(&q);
}

static void lateness_has_quantiles(void **state)
{
    (void)state;
    static struct lab_lateness l;
    memset(&l, 0, sizeof(l));
    assert_int_equal(lab_lateness_quantile(&l, 0.99), 0);
    for (int i = 0; i < 990; i++)
        lab_lateness_add(&l, 4000);
    for (int i = 0; i < 10; i++)
        lab_lateness_add(&l, 55000);
    assert_int_equal(lab_lateness_quantile(&l, 0.5), 10000);
    assert_int_equal(lab_lateness_quantile(&l, 0.99), 10000);
    assert_int_equal(lab_lateness_quantile(&l, 0.991), 60000);
    lab_lateness_add(&l, 5 * BASE_NS_PER_S);
    assert_int_equal(lab_lateness_quantile(&l, 1.0), 5 * BASE_NS_PER_S);
    assert_int_equal(l.max_ns, 5 * BASE_NS_PER_S);
}

static void addresses_are_found(void **state)
{
    enum { N = 1000 };
    (void)state;
    struct lab_directory dir = {0};
    static struct lab_host hosts[2];
    union base_ep ep;
    uint8_t bytes[16] = {0x20, 0x01};
    assert_null(lab_directory_find(&dir, (struct lab_addr){1, 2}));
    for (unsigned i = 0; i < N; i++) {
        bytes[14] = (uint8_t)(i >> 8);
        bytes[15] = (uint8_t)i;
        ep = base_ep_from_bytes(AF_INET6, bytes, 5);
        assert_int_equal(lab_directory_add(&dir, lab_addr_of(&ep), &hosts[i % 2]), 0);
        assert_int_equal(lab_directory_add(&dir, lab_addr_of(&ep), &hosts[0]), -EEXIST);
    }
    for (unsigned i = 0; i < N + 100; i++) {
        bytes[14] = (uint8_t)(i >> 8);
        bytes[15] = (uint8_t)i;
        ep = base_ep_from_bytes(AF_INET6, bytes, 0);
        assert_ptr_equal(lab_directory_find(&dir, lab_addr_of(&ep)), i < N ? &hosts[i % 2] : NULL);
    }
    lab_directory_free(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_add_up),
        cmocka_unit_test(jitter_stays_in_bounds_and_order),
        cmocka_unit_test(loss_is_what_was_asked_for),
        cmocka_unit_test(one_seed_one_sequence),
        cmocka_unit_test(duplicates_are_what_was_asked_for),
        cmocka_unit_test(reordered_packets_are_passed),
        cmocka_unit_test(rate_spaces_packets),
        cmocka_unit_test(rate_counts_what_is_sent),
        cmocka_unit_test(parcels_come_in_time_and_order),
        cmocka_unit_test(a_filtered_queue_keeps_order),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(lateness_has_quantiles),
        cmocka_unit_test(addresses_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
