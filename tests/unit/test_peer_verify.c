/*
 * Verification of one path. Pins: a path that counts before both directions are shown, sides that choose differently,
 * replies that never end, an acknowledgement of another path taken for ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/peer/internal.h"

/* Two ends and a wire that may drop; returns how many messages were delivered until silence. */
struct pair {
    struct peer_verify a, b;
    bool choose_at_once;
    int delivered;
};

static void init(struct pair *p, bool stream)
{
    peer_verify_init(&p->a, WIRE_ROLE_A, stream, 0xaaaa);
    peer_verify_init(&p->b, WIRE_ROLE_B, stream, 0xbbbb);
    p->choose_at_once = true;
    p->delivered = 0;
}

static void deliver(struct pair *p, struct peer_verify *from, struct peer_verify *to)
{
    struct wire_path_msg msg = peer_verify_out(from, 7);
    unsigned news = peer_verify_in(to, &msg);
    assert_true(++p->delivered < 20); /* else the two answer each other forever */
    if ((news & PEER_NEWS_VERIFIED) && to->role == WIRE_ROLE_A && p->choose_at_once)
        news |= peer_verify_choose(to);
    if (news & PEER_NEWS_REPLY)
        deliver(p, to, from);
}

static void both_orders_agree(void **state)
{
    (void)state;
    for (int stream = 0; stream < 2; stream++)
        for (int first = 0; first < 2; first++) {
            struct pair p;
            init(&p, stream);
            deliver(&p, first ? &p.a : &p.b, first ? &p.b : &p.a);
            deliver(&p, first ? &p.b : &p.a, first ? &p.a : &p.b);
            assert_true(peer_verify_agreed(&p.a));
            assert_true(peer_verify_agreed(&p.b));
        }
}

static void one_side_alone_starts_it(void **state)
{
    (void)state;
    struct pair p;
    init(&p, false);
    deliver(&p, &p.a, &p.b); /* b's own first message was lost; its reply carries everything */
    deliver(&p, &p.a, &p.b);
    assert_true(peer_verify_agreed(&p.a) && peer_verify_agreed(&p.b));
}

static void datagram_needs_the_acknowledgement(void **state)
{
    (void)state;
    struct peer_verify v;
    peer_verify_init(&v, WIRE_ROLE_A, false, 1);
    struct wire_path_msg msg = {.flags = WIRE_PATH_PROOF, .path_id = 2};
    assert_int_equal(peer_verify_in(&v, &msg) & PEER_NEWS_VERIFIED, 0);
    assert_false(peer_verify_verified(&v));
    msg.flags |= WIRE_PATH_ACK;
    msg.peer_path_id = 99; /* somebody else's */
    peer_verify_in(&v, &msg);
    assert_false(peer_verify_verified(&v));
    msg.peer_path_id = 1;
    assert_true(peer_verify_in(&v, &msg) & PEER_NEWS_VERIFIED);
    assert_false(peer_verify_in(&v, &msg) & PEER_NEWS_VERIFIED); /* news come once */
}

static void stream_verifies_by_the_proof(void **state)
{
    (void)state;
    struct peer_verify v;
    peer_verify_init(&v, WIRE_ROLE_B, true, 1);
    struct wire_path_msg msg = {.flags = WIRE_PATH_PROOF, .path_id = 2};
    assert_true(peer_verify_in(&v, &msg) & PEER_NEWS_VERIFIED);
    assert_false(peer_verify_agreed(&v));
}

static void only_role_a_chooses(void **state)
{
    (void)state;
    struct pair p;
    init(&p, true);
    p.choose_at_once = false;
    deliver(&p, &p.a, &p.b);
    deliver(&p, &p.b, &p.a);
    assert_true(peer_verify_verified(&p.a) && peer_verify_verified(&p.b));
    assert_false(peer_verify_agreed(&p.a) || peer_verify_agreed(&p.b));
    assert_true(peer_verify_choose(&p.a) & PEER_NEWS_REPLY);
    deliver(&p, &p.a, &p.b);
    assert_true(peer_verify_agreed(&p.a) && peer_verify_agreed(&p.b));
}

static void a_lost_choice_is_repeated(void **state)
{
    (void)state;
    struct pair p;
    init(&p, false);
    p.choose_at_once = false;
    deliver(&p, &p.a, &p.b);
    deliver(&p, &p.b, &p.a);
    peer_verify_choose(&p.a); /* and that message is lost */
    assert_false(peer_verify_agreed(&p.b));
    deliver(&p, &p.a, &p.b); /* the tick's repetition */
    assert_true(peer_verify_agreed(&p.a) && peer_verify_agreed(&p.b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_orders_agree),
        cmocka_unit_test(one_side_alone_starts_it),
        cmocka_unit_test(datagram_needs_the_acknowledgement),
        cmocka_unit_test(stream_verifies_by_the_proof),
        cmocka_unit_test(only_role_a_chooses),
        cmocka_unit_test(a_lost_choice_is_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
