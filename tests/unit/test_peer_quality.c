/*
 * --quality, what is pure of it. Pins: round trips that are no one's, a throughput above what arrived, datagrams
 * counted twice or lost twice, loss that is only another order; a window that stays on a slow link, empties a fast one,
 * does not yield to loss, or never comes back from it or from silence; an acknowledgement of what was never sent; a
 * message of a stranger's bytes.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/peer/quality.h"

#define MS BASE_NS_PER_MS
#define S  BASE_NS_PER_S

/* ---- messages -------------------------------------------------------------------------------- */

static void messages_come_back(void **state)
{
    (void)state;
    for (unsigned kind = PEER_QUALITY_PING; kind < PEER_QUALITY_KINDS; kind++) {
        struct peer_quality_msg in = {(enum peer_quality_kind)kind, kind % 2, 0x0102030405060708, UINT64_MAX, kind},
                                out;
        uint8_t buf[PEER_QUALITY_MSG_LEN + 1] = {0};
        peer_quality_encode(&in, buf);
        for (size_t len = 0; len < PEER_QUALITY_MSG_LEN; len++)
            assert_int_equal(peer_quality_decode(buf, len, &out), -EBADMSG);
        for (size_t len = PEER_QUALITY_MSG_LEN; len <= sizeof(buf); len++) {
            assert_int_equal(peer_quality_decode(buf, len, &out), 0);
            assert_true(out.kind == in.kind && out.ask == in.ask && out.number == in.number &&
                        out.amount == in.amount && out.ns == in.ns);
        }
    }
}

static void unknown_messages_are_refused(void **state)
{
    (void)state;
    struct peer_quality_msg out;
    uint8_t buf[PEER_QUALITY_MSG_LEN] = {0};
    assert_int_equal(peer_quality_decode(buf, sizeof(buf), &out), -EBADMSG);
    buf[0] = PEER_QUALITY_KINDS;
    assert_int_equal(peer_quality_decode(buf, sizeof(buf), &out), -EBADMSG);
    buf[0] = PEER_QUALITY_BULK;
    buf[1] = 2;
    assert_int_equal(peer_quality_decode(buf, sizeof(buf), &out), -EBADMSG);
}

/* ---- round trips ----------------------------------------------------------------------------- */

static void round_trips(void **state)
{
    (void)state;
    struct peer_rtts r = {.n = 0};
    struct peer_rtt_summary none = peer_rtts_summary(&r);
    assert_true(none.min == 0 && none.p50 == 0 && none.max == 0);
    static const uint64_t ns[] = {50, 40, 90, 60};
    for (size_t i = 0; i < BASE_ARRAY_LEN(ns); i++)
        peer_rtts_add(&r, ns[i]);
    struct peer_rtt_summary s = peer_rtts_summary(&r);
    assert_true(s.min == 40 && s.p50 == 55 && s.max == 90);
    for (size_t i = 0; i < 2 * PEER_QUALITY_PINGS; i++)
        peer_rtts_add(&r, 1000 + i);
    assert_int_equal(r.n, PEER_QUALITY_PINGS);
    assert_int_equal(peer_rtts_summary(&r).max, 1000 + PEER_QUALITY_PINGS - 5);
}

/* ---- what came ------------------------------------------------------------------------------- */

static void the_clock_runs_from_the_first_arrival(void **state)
{
    (void)state;
    struct peer_arrivals a;
    peer_arrivals_init(&a);
    /* One each ms: 1000 bytes in each, so 8 Mbit/s; the first and what came with it took no time. */
    assert_true(peer_arrivals_add(&a, 0, 1000, 5 * MS));
    assert_true(peer_arrivals_add(&a, 1, 1000, 5 * MS));
    assert_int_equal(a.bytes, 0);
    assert_int_equal(peer_quality_bps(a.bytes, a.last_ns - a.first_ns), 0);
    for (uint64_t i = 2; i < 12; i++)
        assert_true(peer_arrivals_add(&a, i, 1000, (4 + i) * MS));
    assert_true(a.received == 12 && a.lost == 0 && a.bytes == 10000);
    assert_int_equal(peer_quality_bps(a.bytes, a.last_ns - a.first_ns), 8000000);
}

static void each_counts_once(void **state)
{
    (void)state;
    struct peer_arrivals a;
    peer_arrivals_init(&a);
    assert_true(peer_arrivals_add(&a, 0, 1, 1));
    assert_false(peer_arrivals_add(&a, 0, 1, 2));
    assert_true(peer_arrivals_add(&a, 2, 1, 3));
    assert_true(peer_arrivals_add(&a, 3, 1, 4));
    /* Two later ones do not make it lost; it comes, in another order. */
    assert_int_equal(a.lost, 0);
    assert_true(peer_arrivals_add(&a, 1, 1, 5));
    assert_false(peer_arrivals_add(&a, 1, 1, 6));
    assert_true(a.received == 4 && a.next == 4 && a.lost == 0 && a.bytes == 3);
    /* 4 is missing: lost with the third after it, and not any more when it comes late. */
    for (uint64_t i = 5; i < 7; i++)
        assert_true(peer_arrivals_add(&a, i, 1, 7));
    assert_int_equal(a.lost, 0);
    assert_true(peer_arrivals_add(&a, 7, 1, 7));
    assert_int_equal(a.lost, 1);
    assert_true(peer_arrivals_add(&a, 4, 1, 8));
    assert_true(a.lost == 0 && a.received == 8);
}

static void long_gaps(void **state)
{
    (void)state;
    struct peer_arrivals a;
    peer_arrivals_init(&a);
    assert_true(peer_arrivals_add(&a, 999, 1, 1));
    /* All of 0 to 998 but the last two, after which three have not come yet. */
    assert_true(a.next == 1000 && a.received == 1 && a.lost == 997);
    for (uint64_t i = 1000; i < 1003; i++)
        assert_true(peer_arrivals_add(&a, i, 1, 2));
    assert_int_equal(a.lost, 999);
    /* Too old to tell whether it came before. */
    assert_false(peer_arrivals_add(&a, 1002 - 64, 1, 3));
    assert_true(peer_arrivals_add(&a, 1002 - 63, 1, 3));
    assert_true(a.lost == 998 && a.received == 5);
    /* Nonsense ends nowhere. */
    assert_false(peer_arrivals_add(&a, UINT64_MAX, 1, 4));
    assert_true(peer_arrivals_add(&a, UINT64_MAX - 1, 1, 4));
    assert_true(a.next == UINT64_MAX && a.received == 6);
    assert_false(peer_arrivals_add(&a, 5, 1, 5));
}

/* ---- datagrams out --------------------------------------------------------------------------- */

static uint64_t send_all(struct peer_flight *f, uint64_t now)
{
    uint64_t n = 0;
    for (; peer_flight_room(f); n++)
        peer_flight_sent(f, now);
    return n;
}

static void the_window_bounds_what_is_in_flight(void **state)
{
    (void)state;
    struct peer_flight f;
    peer_flight_init(&f, 40 * MS, 0);
    uint64_t first = send_all(&f, 1);
    assert_int_equal(first, 10);
    /* Slow start: one more for each two that came. */
    peer_flight_heard(&f, 10, 0, 41 * MS);
    assert_int_equal(send_all(&f, 41 * MS), 15);
    /* 0.7 of it for a loss, once for all that was in flight then. */
    peer_flight_heard(&f, 20, 1, 82 * MS);
    assert_int_equal((int)f.window, 10);
    peer_flight_heard(&f, 25, 4, 83 * MS);
    assert_int_equal((int)f.window, 10);
    assert_int_equal(send_all(&f, 83 * MS), 10);
    peer_flight_heard(&f, 33, 5, 130 * MS);
    assert_int_equal((int)f.window, 7);
    /* From there one a round trip, and more of them the longer no loss comes. */
    uint64_t now = 130 * MS;
    send_all(&f, now);
    peer_flight_heard(&f, f.sent, 5, now += 40 * MS);
    assert_int_equal((int)f.window, 8);
    for (unsigned i = 0; i < 500; i++) {
        send_all(&f, now);
        peer_flight_heard(&f, f.sent, 5, now += 40 * MS);
    }
    assert_true(f.window > 2 * (8 + 500));
}

static void nonsense_is_not_heard(void **state)
{
    (void)state;
    struct peer_flight f;
    peer_flight_init(&f, 40 * MS, 0);
    send_all(&f, 1);
    peer_flight_heard(&f, 5, 0, 40 * MS);
    struct peer_flight before = f;
    peer_flight_heard(&f, f.sent + 1, 0, 41 * MS);
    peer_flight_heard(&f, UINT64_MAX, UINT64_MAX, 41 * MS);
    peer_flight_heard(&f, 4, 100, 41 * MS);
    assert_memory_equal(&f, &before, sizeof(f));
}

static void silence_gives_up_what_was_in_flight(void **state)
{
    (void)state;
    struct peer_flight f;
    peer_flight_init(&f, 40 * MS, 0);
    assert_false(peer_flight_expired(&f, 10 * S)); /* nothing is in flight */
    send_all(&f, 10 * S);
    assert_false(peer_flight_expired(&f, 10 * S + 200 * MS));
    assert_true(peer_flight_expired(&f, 10 * S + 300 * MS));
    assert_int_equal(send_all(&f, 10 * S + 300 * MS), 2);
    /* All of it is lost: a small window. */
    struct peer_flight lost = f;
    peer_flight_heard(&lost, 12, 10, 10 * S + 340 * MS);
    assert_int_equal(peer_flight_room(&lost), 3);
    /* What was given up comes all the same: nothing has happened. */
    peer_flight_heard(&f, 10, 0, 10 * S + 301 * MS);
    assert_int_equal(peer_flight_room(&f), 8);
    peer_flight_heard(&f, 12, 0, 10 * S + 340 * MS);
    assert_int_equal(peer_flight_room(&f), 10);
}

static void asks_with_the_last_that_has_room(void **state)
{
    (void)state;
    struct peer_flight f;
    peer_flight_init(&f, 40 * MS, 0);
    unsigned asked = 0;
    bool last = false;
    while (peer_flight_room(&f)) {
        last = peer_flight_asks(&f);
        asked += last;
        peer_flight_sent(&f, 1);
    }
    /* 3, 7 and the last, 9: else all would wait for an acknowledgement that nobody asked for. */
    assert_true(last);
    assert_int_equal(asked, 3);
}

/* ---- both, over a link ----------------------------------------------------------------------- */

#define LENGTH   1228 /* of a packet */
#define MOST     200000
#define TICK     (5 * MS)
#define DURATION (5 * S)

struct link {
    double rate_bps;
    uint64_t delay_ns, queue_ns;
    double loss; /* of datagrams and of acknowledgements */
};

struct event {
    uint64_t when, number, lost;
    bool ask;
};
static struct event data[MOST], acks[MOST];

struct run {
    struct link link;
    struct base_rng rng;
    struct peer_flight out;
    struct peer_arrivals in;
    size_t data_in, data_out, acks_in, acks_out;
    uint64_t busy_ns, dropped, longest_ns;
};

static void transmit(struct run *r, uint64_t now)
{
    while (peer_flight_room(&r->out)) {
        bool ask = peer_flight_asks(&r->out);
        uint64_t number = r->out.sent, wait = r->busy_ns > now ? r->busy_ns - now : 0;
        peer_flight_sent(&r->out, now);
        if (wait > r->link.queue_ns || base_rng_double(&r->rng) < r->link.loss) {
            r->dropped++;
            continue;
        }
        r->longest_ns = wait > r->longest_ns ? wait : r->longest_ns;
        r->busy_ns = now + wait + (uint64_t)(LENGTH * 8e9 / r->link.rate_bps);
        assert_true(r->data_in < MOST);
        data[r->data_in++] = (struct event){.when = r->busy_ns + r->link.delay_ns, .number = number, .ask = ask};
    }
}

static void arrive(struct run *r)
{
    const struct event *e = &data[r->data_out++];
    assert_true(peer_arrivals_add(&r->in, e->number, LENGTH, e->when));
    if (e->ask && base_rng_double(&r->rng) >= r->link.loss) {
        assert_true(r->acks_in < MOST);
        acks[r->acks_in++] = (struct event){e->when + r->link.delay_ns, r->in.next, r->in.lost, false};
    }
}

/* The share of the link's rate that arrived. */
static double run(struct run *r, struct link link)
{
    *r = (struct run){.link = link};
    base_rng_seed(&r->rng, 1);
    peer_arrivals_init(&r->in);
    peer_flight_init(&r->out, 2 * link.delay_ns, 0);
    for (uint64_t now = 0, tick = 0; now < DURATION;) {
        transmit(r, now);
        uint64_t next_data = r->data_out < r->data_in ? data[r->data_out].when : UINT64_MAX;
        uint64_t next_ack = r->acks_out < r->acks_in ? acks[r->acks_out].when : UINT64_MAX;
        now = next_data < next_ack ? next_data : next_ack;
        if (tick + TICK < now) {
            now = tick += TICK;
            peer_flight_expired(&r->out, now);
        } else if (now == next_data) {
            arrive(r);
        } else {
            const struct event *e = &acks[r->acks_out++];
            peer_flight_heard(&r->out, e->number, e->lost, now);
        }
    }
    while (r->data_out < r->data_in)
        arrive(r);
    assert_int_equal(r->out.sent - r->in.received, r->dropped);
    assert_true(r->in.lost <= r->dropped);
    return (double)peer_quality_bps(r->in.bytes, r->in.last_ns - r->in.first_ns) / link.rate_bps;
}

static void a_link_is_filled_and_not_exceeded(void **state)
{
    (void)state;
    static const struct link links[] = {
        {50e6, 20 * MS, 100 * MS, 0},
        {8e6, 10 * MS, 100 * MS, 0},
        {1e6, 10 * MS, 100 * MS, 0},
        {100e6, 100 * BASE_NS_PER_US, 20 * MS, 0},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(links); i++) {
        static struct run r;
        double share = run(&r, links[i]);
        print_message("%.0f Mbit/s: %.3f of it, %llu of %llu lost\n", links[i].rate_bps / 1e6, share,
                      (unsigned long long)r.dropped, (unsigned long long)r.out.sent);
        assert_true(share > 0.85 && share <= 1.0001);
        /* It yields: what is lost is little. */
        assert_true((double)r.dropped < 0.05 * (double)r.out.sent);
    }
}

static void loss_slows_it_down_and_does_not_stop_it(void **state)
{
    (void)state;
    static struct run r;
    double little = run(&r, (struct link){50e6, 20 * MS, 100 * MS, 0.01});
    assert_true(little > 0.02 && little < 0.6); /* Mathis et al. 1997: some 12 datagrams a round trip */
    double much = run(&r, (struct link){50e6, 20 * MS, 100 * MS, 0.3});
    assert_true(much < little && r.in.received > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_back),
        cmocka_unit_test(unknown_messages_are_refused),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(the_clock_runs_from_the_first_arrival),
        cmocka_unit_test(each_counts_once),
        cmocka_unit_test(long_gaps),
        cmocka_unit_test(the_window_bounds_what_is_in_flight),
        cmocka_unit_test(nonsense_is_not_heard),
        cmocka_unit_test(silence_gives_up_what_was_in_flight),
        cmocka_unit_test(asks_with_the_last_that_has_room),
        cmocka_unit_test(a_link_is_filled_and_not_exceeded),
        cmocka_unit_test(loss_slows_it_down_and_does_not_stop_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
