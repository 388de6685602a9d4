/*
 * Pins: a frame that is lost, doubled or cut when a connection is replaced; a number of the other end that cannot be
 * and is believed; memory without bound for a peer that never acknowledges; a proof that holds for another place,
 * another key or another meeting.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "bench/wire/wire.h"

static size_t make(uint8_t *buf, size_t cap, uint64_t number, size_t padding)
{
    static const uint8_t zeros[4096];
    struct wire_writer w;
    wire_frame_begin(&w, buf, cap, WIRE_NOTE);
    wire_put_u64(&w, WIRE_F_TRIAL, number);
    wire_put_bytes(&w, WIRE_F_BODY, zeros, padding);
    int len = wire_frame_end(&w, (uint32_t)(number * 77 + 1));
    assert_true(len > 0);
    return (size_t)len;
}

static void add(struct wire_kept *k, uint64_t number, size_t padding)
{
    uint8_t buf[8192];
    wire_kept_add(k, buf, make(buf, sizeof(buf), number, padding));
}

/* What is there must be exactly the frames from..to-1. */
static void expect(const struct wire_kept *k, uint64_t from, uint64_t to)
{
    const uint8_t *frame;
    size_t len, at = 0;
    uint64_t i = from, number;
    while ((len = wire_kept_next(k, &at, &frame)) > 0) {
        uint8_t copy[8192];
        enum wire_frame_type type;
        struct wire_reader r;
        memcpy(copy, frame, len);
        assert_int_equal(wire_frame_open(copy, len, &type, &r), 0);
        assert_int_equal(wire_get_u64(&r, WIRE_F_TRIAL, &number), 0);
        assert_int_equal(number, i++);
    }
    assert_int_equal(i, to);
    assert_int_equal(at, k->len);
}

static void kept_until_acknowledged(void **state)
{
    (void)state;
    struct wire_kept k = {0};
    for (uint64_t i = 0; i < 100; i++)
        add(&k, i, i * 13 % 700);
    expect(&k, 0, 100);
    assert_int_equal(wire_kept_drop(&k, 0), 0);
    expect(&k, 0, 100);
    assert_int_equal(wire_kept_drop(&k, 41), 0);
    expect(&k, 41, 100);
    /* Said earlier, come later. */
    assert_int_equal(wire_kept_drop(&k, 7), 0);
    expect(&k, 41, 100);
    assert_int_equal(wire_kept_drop(&k, 101), -EPROTO);
    assert_int_equal(wire_kept_drop(&k, UINT64_MAX), -EPROTO);
    expect(&k, 41, 100);
    assert_int_equal(wire_kept_drop(&k, 100), 0);
    expect(&k, 100, 100);
    assert_int_equal(k.cap, 0); /* nothing is held for one who has all */
    add(&k, 100, 5);
    expect(&k, 100, 101);
    wire_kept_free(&k);
}

static void bounded(void **state)
{
    (void)state;
    struct wire_kept k = {.max = 10000};
    for (uint64_t i = 0; i < 100; i++) {
        add(&k, i, 1000);
        assert_in_range(k.len, 0, 10000);
    }
    assert_true(k.torn);
    /* Whoever has all of it lacks nothing; whoever has not cannot come back. */
    assert_int_equal(wire_kept_drop(&k, 99), 0);
    assert_true(k.torn);
    assert_int_equal(wire_kept_drop(&k, 100), 0);
    assert_false(k.torn);
    add(&k, 100, 1000);
    expect(&k, 100, 101);
    wire_kept_free(&k);
}

static void what_lasts(void **state)
{
    (void)state;
    static const enum wire_frame_type of_a_connection[] = {WIRE_HELLO, WIRE_CHALLENGE, WIRE_PROVE, WIRE_JOINED,
                                                           WIRE_PING,  WIRE_PONG,      WIRE_ERROR, WIRE_PROBE};
    static const enum wire_frame_type of_the_session[] = {WIRE_READY,  WIRE_TRIAL, WIRE_FACTS, WIRE_PLAN, WIRE_REPORT,
                                                          WIRE_RECORD, WIRE_ABORT, WIRE_BYE,   WIRE_NOTE};
    for (size_t i = 0; i < BASE_ARRAY_LEN(of_a_connection); i++)
        assert_false(wire_frame_lasts(of_a_connection[i]));
    for (size_t i = 0; i < BASE_ARRAY_LEN(of_the_session); i++)
        assert_true(wire_frame_lasts(of_the_session[i]));
}

/* One bit of any input makes another proof. */
static void proofs(void **state)
{
    (void)state;
    uint8_t in[WIRE_KEY_LEN + WIRE_TOKEN_LEN + 2 * WIRE_NONCE_LEN], proof[WIRE_MAC_LEN], other[WIRE_MAC_LEN];
    uint8_t *token = in + WIRE_KEY_LEN, *one = token + WIRE_TOKEN_LEN, *two = one + WIRE_NONCE_LEN;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i * 31);
    wire_rejoin_proof(in, token, one, two, proof);
    for (size_t bit = 0; bit < 8 * sizeof(in); bit++) {
        in[bit / 8] ^= (uint8_t)(1 << bit % 8);
        wire_rejoin_proof(in, token, one, two, other);
        assert_false(wire_proof_equal(proof, other));
        in[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    wire_rejoin_proof(in, token, one, two, other);
    assert_true(wire_proof_equal(proof, other));
    wire_join_proof(in, WIRE_JOIN_PEER, one, two, other);
    assert_false(wire_proof_equal(proof, other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_until_acknowledged),
        cmocka_unit_test(bounded),
        cmocka_unit_test(what_lasts),
        cmocka_unit_test(proofs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
