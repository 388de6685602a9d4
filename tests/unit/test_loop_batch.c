/*
 * Writes in batches. Pins: packets that are lost, doubled or out of order, results that belong to another write, an
 * error of one that stops the others, more writes than the ring has entries, and a kernel without a ring.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/loop/loop.h"

#define ENTRIES 8

/* Packets of 1 to 5 bytes, alternately into two sockets; those whose number `bad` divides go nowhere. */
static void write_many(struct loop_batch *batch, unsigned n, unsigned bad)
{
    static uint8_t data[64][5];
    struct loop_io ios[64];
    int ends[2][2];
    for (int k = 0; k < 2; k++)
        assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends[k]), 0);
    for (unsigned i = 0; i < n; i++) {
        memset(data[i], (int)i, sizeof(data[i]));
        ios[i] = (struct loop_io){
            .fd = bad && i % bad == 0 ? -1 : ends[i % 2][0], .res = 77, .data = data[i], .len = 1 + i % 5};
    }
    loop_batch_write(batch, ios, n);
    for (unsigned i = 0; i < n; i++) {
        uint8_t got[16];
        if (bad && i % bad == 0) {
            assert_int_equal(ios[i].res, -EBADF);
            continue;
        }
        assert_int_equal(ios[i].res, 1 + i % 5);
        assert_int_equal(read(ends[i % 2][1], got, sizeof(got)), 1 + i % 5);
        assert_int_equal(got[0], i);
    }
    for (int k = 0; k < 2; k++) {
        uint8_t byte;
        assert_int_equal(read(ends[k][1], &byte, 1), -1);
        close(ends[k][0]), close(ends[k][1]);
    }
}

static void write_all_kinds(struct loop_batch *batch)
{
    static const unsigned counts[] = {0, 1, 2, 3, ENTRIES, ENTRIES + 1, 20};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        write_many(batch, counts[i], 0);
        write_many(batch, counts[i], 3);
    }
}

static void through_a_ring(void **state)
{
    (void)state;
    struct loop_batch *batch;
    loop_batch_create(&batch, ENTRIES);
    assert_non_null(batch);
    write_all_kinds(batch);
    loop_batch_destroy(batch);
}

static void through_plain_calls(void **state)
{
    (void)state;
    assert_true(loop_batch_is_plain(NULL));
    write_all_kinds(NULL);
    loop_batch_destroy(NULL);
}

/* A pipe that is full: the write waits, so the kernel does not complete it at once, and the batch waits for it. */
static void what_has_to_wait_makes_it_plain(void **state)
{
    (void)state;
    struct loop_batch *batch;
    struct loop_io ios[3];
    static uint8_t data[4096];
    int ends[2], pid;
    loop_batch_create(&batch, ENTRIES);
    if (loop_batch_is_plain(batch))
        skip();
    assert_int_equal(pipe(ends), 0);
    int size = fcntl(ends[1], F_SETPIPE_SZ, 4096);
    assert_true(size > 0 && size < 3 * (int)sizeof(data));
    pid = fork();
    if (pid == 0) {
        for (size_t left = sizeof(data) * 3; left;) {
            ssize_t n = read(ends[0], data, sizeof(data));
            left -= n > 0 ? (size_t)n : left;
        }
        _exit(0);
    }
    for (int i = 0; i < 3; i++)
        ios[i] = (struct loop_io){.fd = ends[1], .data = data, .len = sizeof(data)};
    loop_batch_write(batch, ios, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ios[i].res, sizeof(data));
    assert_true(loop_batch_is_plain(batch));
    close(ends[0]), close(ends[1]);
    loop_batch_destroy(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(through_a_ring),
        cmocka_unit_test(through_plain_calls),
        cmocka_unit_test(what_has_to_wait_makes_it_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
