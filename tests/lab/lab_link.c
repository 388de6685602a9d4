/*
 * Links, by real sockets: what each direction does to a host's packets.
 *
 * Pins: a way up that acts on what comes down, copies that are damaged by being delivered twice, held packets that
 * nobody passes, a rate that is exceeded, or shared wrongly by two senders, and what a link did that is not counted.
 */
#include <net/if.h>
#include <sys/ioctl.h>

#include "tests/lab/world.h"

#define MS BASE_NS_PER_MS

/* a and b with the open profile, s; b's link does nothing. */
static struct world world_of(struct lab_link a, struct lab_link s)
{
    struct world w;
    char err[LAB_ERROR_LEN];
    assert_int_equal(loop_create(&w.loop, 0), 0);
    assert_int_equal(lab_create(&w.lab, w.loop, 1, err), 0);
    w.a = add(&w, "a", "port-restricted", "198.51.100.1", "10.1.0.2", a);
    w.b = add(&w, "b", "open", "198.51.100.2", "10.2.0.2", (struct lab_link){0});
    w.s = add(&w, "s", "open", "203.0.113.9", "10.9.0.2", s);
    return w;
}

static struct lab_counters counters(struct world *w)
{
    struct lab_counters c;
    lab_counters(w->lab, &c);
    return c;
}

/* Numbered datagrams; each makes an IP packet of this many bytes. The default receive buffer holds 90 of them. */
#define DATAGRAM 1000
#define PORT     2001

static void send_numbered(int fd, const char *to, uint32_t from, uint32_t n)
{
    char data[DATAGRAM - 28] = {0};
    union base_ep remote = ep(to, PORT);
    for (uint32_t i = from; i < from + n; i++) {
        memcpy(data, &i, sizeof(i));
        assert_int_equal(sendto(fd, data, sizeof(data), 0, &remote.sa, base_ep_len(&remote)), sizeof(data));
    }
}

/* The next number at fd; UINT32_MAX when none comes. */
static uint32_t next_number(struct world *w, int fd, uint64_t within_ns)
{
    char data[DATAGRAM];
    uint32_t number;
    if (!(wait_fd(w, fd, POLLIN, within_ns) & POLLIN))
        return UINT32_MAX;
    assert_int_equal(recv(fd, data, sizeof(data), 0), DATAGRAM - 28);
    memcpy(&number, data, sizeof(number));
    return number;
}

static void loss_has_a_direction(void **state)
{
    (void)state;
    struct world w = world_of((struct lab_link){.down = {.loss = 1}}, (struct lab_link){0});
    int a = sock_in(w.a, SOCK_DGRAM, PORT), s = sock_in(w.s, SOCK_DGRAM, PORT);
    send_numbered(a, "203.0.113.9", 1, 10);
    for (uint32_t i = 1; i <= 10; i++)
        assert_int_equal(next_number(&w, s, MUST_NS), i);
    assert_int_equal(counters(&w).lost, 0);
    send_numbered(s, "198.51.100.1", 1, 10);
    assert_int_equal(next_number(&w, a, MUST_NOT_NS), UINT32_MAX);
    assert_int_equal(counters(&w).lost, 10);
    assert_int_equal(counters(&w).packets, 10);
    close(a), close(s);
    world_free(&w);
}

/* The way down to a NAT: each copy is translated anew. */
static void delay_and_copies_have_a_direction(void **state)
{
    enum { N = 20 };
    (void)state;
    struct world w =
        world_of((struct lab_link){.up = {.delay_ns = 30 * MS}, .down = {.duplication = 1}}, (struct lab_link){0});
    int a = sock_in(w.a, SOCK_DGRAM, PORT), s = sock_in(w.s, SOCK_DGRAM, PORT);
    uint64_t start = base_now_ns();
    send_numbered(a, "203.0.113.9", 1, 1);
    assert_int_equal(next_number(&w, s, MUST_NS), 1);
    assert_true(base_now_ns() - start >= 30 * MS);
    assert_int_equal(counters(&w).duplicated, 0);
    assert_int_equal(counters(&w).delayed, 1);
    send_numbered(s, "198.51.100.1", 1, N);
    for (uint32_t i = 1; i <= N; i++) {
        assert_int_equal(next_number(&w, a, MUST_NS), i);
        assert_int_equal(next_number(&w, a, MUST_NS), i);
    }
    assert_int_equal(counters(&w).duplicated, N);
    assert_int_equal(counters(&w).delayed, 1);
    close(a), close(s);
    world_free(&w);
}

static void held_packets_are_passed(void **state)
{
    enum { N = 80 };
    (void)state;
    struct lab_way way = {.reordering = 0.3, .reorder_ns = 30 * MS};
    struct world w = world_of((struct lab_link){.up = way}, (struct lab_link){0});
    int a = sock_in(w.a, SOCK_DGRAM, PORT), s = sock_in(w.s, SOCK_DGRAM, PORT);
    uint32_t most = 0, passed = 0;
    send_numbered(a, "203.0.113.9", 1, N);
    for (uint32_t i = 1; i <= N; i++) {
        uint32_t got = next_number(&w, s, MUST_NS);
        assert_in_range(got, 1, N);
        passed += got < most;
        most = got > most ? got : most;
    }
    /* Only a held one can come after its successors; the last ones have none. */
    assert_true(passed > 0 && passed <= counters(&w).reordered);
    assert_in_range(counters(&w).reordered, 8, 45);
    close(a), close(s);
    world_free(&w);
}

/* 1000 bytes at 8 Mbit/s are a millisecond each. */
static void rate_is_held(void **state)
{
    enum { N = 60 };
    (void)state;
    struct lab_way way = {.rate = 8000000, .queue_ns = 500 * MS};
    struct world w = world_of((struct lab_link){.up = way}, (struct lab_link){0});
    int a = sock_in(w.a, SOCK_DGRAM, PORT), s = sock_in(w.s, SOCK_DGRAM, PORT);
    uint64_t start = base_now_ns();
    send_numbered(a, "203.0.113.9", 1, N);
    for (uint32_t i = 1; i <= N; i++) {
        assert_int_equal(next_number(&w, s, MUST_NS), i);
        assert_true(base_now_ns() - start >= i * MS);
    }
    assert_int_equal(counters(&w).rate_dropped, 0);
    /* The other direction has no rate. */
    send_numbered(s, "198.51.100.1", 1, N);
    for (uint32_t i = 1; i <= N; i++)
        assert_int_equal(next_number(&w, a, MUST_NS), i);
    assert_int_equal(counters(&w).delayed, N);
    close(a), close(s);
    world_free(&w);
}

/* Two senders share s's way down, whose queue holds 20 ms. */
static void a_way_down_is_shared(void **state)
{
    enum { N = 40 };
    (void)state;
    struct lab_way way = {.rate = 8000000, .queue_ns = 20 * MS};
    struct world w = world_of((struct lab_link){.up = {.delay_ns = 10 * MS}}, (struct lab_link){.down = way});
    int a = sock_in(w.a, SOCK_DGRAM, PORT), b = sock_in(w.b, SOCK_DGRAM, PORT), s = sock_in(w.s, SOCK_DGRAM, PORT);
    uint64_t start = base_now_ns(), came = 0;
    send_numbered(a, "203.0.113.9", 1000, N);
    send_numbered(b, "203.0.113.9", 1, N);
    /* b's came first, though a's were sent first. */
    assert_int_equal(next_number(&w, s, MUST_NS), 1);
    for (came = 1; next_number(&w, s, MUST_NOT_NS) != UINT32_MAX; came++)
        assert_true(base_now_ns() - start >= came * MS);
    assert_true(counters(&w).rate_dropped > 0);
    assert_int_equal(came + counters(&w).rate_dropped, 2 * N);
    assert_int_equal(counters(&w).packets, came);
    close(a), close(b), close(s);
    world_free(&w);
}

/* Else a spray of the trial before would slow down the next one. */
static void reset_empties_the_queue(void **state)
{
    (void)state;
    struct lab_way way = {.rate = 80000, .queue_ns = 100 * BASE_NS_PER_S};
    struct world w = world_of((struct lab_link){.up = way}, (struct lab_link){0});
    int a = sock_in(w.a, SOCK_DGRAM, PORT), s = sock_in(w.s, SOCK_DGRAM, PORT);
    send_numbered(a, "203.0.113.9", 1, 100); /* ten seconds' worth */
    pump(&w, 20 * MS);
    assert_int_equal(lab_reset_nats(w.lab), 0);
    send_numbered(a, "203.0.113.9", 1000, 1);
    assert_int_equal(next_number(&w, s, MUST_NS), 1000);
    close(a), close(s);
    world_free(&w);
}

static void set_down(struct lab_host *host)
{
    struct ifreq req = {.ifr_flags = 0};
    int fd = sock_in(host, SOCK_DGRAM, 0);
    strcpy(req.ifr_name, LAB_HOST);
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &req), 0);
    close(fd);
}

/* A command in a host may do that; the others' packets go on. */
static void a_device_that_is_down_takes_nothing(void **state)
{
    (void)state;
    struct world w = world_of((struct lab_link){0}, (struct lab_link){0});
    int a = sock_in(w.a, SOCK_DGRAM, PORT), b = sock_in(w.b, SOCK_DGRAM, PORT);
    set_down(w.s);
    send_numbered(a, "203.0.113.9", 1, 20);
    send_numbered(a, "198.51.100.2", 1, 20);
    for (uint32_t i = 1; i <= 20; i++)
        assert_int_equal(next_number(&w, b, MUST_NS), i);
    assert_int_equal(counters(&w).overflow, 20);
    assert_int_equal(counters(&w).packets, 20);
    close(a), close(b);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_has_a_direction),
        cmocka_unit_test(delay_and_copies_have_a_direction),
        cmocka_unit_test(held_packets_are_passed),
        cmocka_unit_test(rate_is_held),
        cmocka_unit_test(a_way_down_is_shared),
        cmocka_unit_test(reset_empties_the_queue),
        cmocka_unit_test(a_device_that_is_down_takes_nothing),
    };
    return world_run(tests);
}
