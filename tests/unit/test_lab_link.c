/*
 * Links, the delay queue and the address directory, in virtual time. Pins: a packet that comes early, out of order or
 * never; loss that is not what was asked for; a queue without a bound; a lost or doubled parcel; an address that is not
 * found after the table has grown.
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

static void delays_add_up(void **state)
{
    (void)state;
    struct lab_link a = {.delay_ns = 10 * MS}, b = {.delay_ns = 7 * MS};
    struct base_rng rng;
    uint64_t last = 0, due;
    base_rng_seed(&rng, 1);
    assert_true(lab_link_cross(&a, &b, &rng, 5 * MS, &last, &due));
    assert_int_equal(due, 22 * MS);
    assert_int_equal(last, due);
    struct lab_link none = {0};
    last = 0;
    assert_true(lab_link_cross(&none, &none, &rng, 5 * MS, &last, &due));
    assert_int_equal(due, 5 * MS);
}

static void jitter_stays_in_bounds_and_order(void **state)
{
    (void)state;
    struct lab_link a = {.delay_ns = 10 * MS, .jitter_ns = 4 * MS}, b = {.delay_ns = MS, .jitter_ns = 2 * MS};
    struct base_rng rng;
    uint64_t last = 0, before = 0, due, least = UINT64_MAX, most = 0;
    base_rng_seed(&rng, 2);
    for (uint64_t now = 0; now < 2000 * MS; now += MS / 10) {
        assert_true(lab_link_cross(&a, &b, &rng, now, &last, &due));
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
    struct lab_link a = {.loss = 0.1}, b = {.loss = 0.2}, whole = {.loss = 1.0}, none = {0};
    struct base_rng rng;
    uint64_t last = 0, due;
    int passed = 0;
    base_rng_seed(&rng, 3);
    for (int i = 0; i < N; i++)
        passed += lab_link_cross(&a, &b, &rng, 0, &last, &due);
    /* 0.72 with a standard deviation of 0.0014. */
    assert_in_range(passed, (int)(0.71 * N), (int)(0.73 * N));
    assert_false(lab_link_cross(&none, &whole, &rng, 0, &last, &due));
    assert_true(lab_link_cross(&none, &none, &rng, 0, &last, &due));
}

static void one_seed_one_sequence(void **state)
{
    (void)state;
    struct lab_link a = {.jitter_ns = MS, .loss = 0.5};
    struct base_rng one, two;
    base_rng_seed(&one, 4);
    base_rng_seed(&two, 4);
    for (uint64_t i = 0, la = 0, lb = 0; i < 1000; i++) {
        uint64_t da = 0, db = 0;
        assert_int_equal(lab_link_cross(&a, &a, &one, i, &la, &da), lab_link_cross(&a, &a, &two, i, &lb, &db));
        assert_int_equal(da, db);
    }
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
            lab_queue_push(&q, base_rng_below(&rng, 500), &q, (const uint8_t *)(const void *)&i, sizeof(i)), 0);
    uint64_t last_due = 0;
    uint32_t last_id = 0, n = 0;
    for (uint64_t now = 0; now < 500; now++) {
        struct lab_parcel *p;
        while ((p = lab_queue_pop(&q, now))) {
            uint32_t id;
            memcpy(&id, p->data, sizeof(id));
            assert_int_equal(p->due_ns, now);
            assert_ptr_equal(p->to, &q);
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
        assert_int_equal(lab_queue_push(&q, base_rng_below(&rng, 300), NULL, &byte, 1), 0);
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
        assert_int_equal(lab_queue_push(&q, 1, NULL, data, 10), 0);
    assert_int_equal(lab_queue_push(&q, 1, NULL, data, 10), -ENOBUFS);
    free(lab_queue_pop(&q, 1));
    assert_int_equal(lab_queue_push(&q, 1, NULL, data, 10), 0);
    lab_queue_free(&q);
    lab_queue_init(&q, 100, 250);
    assert_int_equal(lab_queue_push(&q, 1, NULL, data, 100), 0);
    assert_int_equal(lab_queue_push(&q, 1, NULL, data, 100), 0);
    assert_int_equal(lab_queue_push(&q, 1, NULL, data, 100), -ENOBUFS);
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
        cmocka_unit_test(parcels_come_in_time_and_order),
        cmocka_unit_test(a_filtered_queue_keeps_order),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(lateness_has_quantiles),
        cmocka_unit_test(addresses_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
