/* Pins: --skew that delays the wrong role, or both; a word of the other side's technique that is lost, cut, out of
 * order or without bound while a late side has not begun. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "bench/peer/internal.h"
#include "udp_punch/portspray.h"

static void one_role_is_late(void **state)
{
    (void)state;
    struct peer_options o;
    peer_options_init(&o, &portspray_technique);
    assert_int_equal(peer_skew_ns(&o, WIRE_ROLE_A), 0);
    assert_int_equal(peer_skew_ns(&o, WIRE_ROLE_B), 0);
    assert_int_equal(peer_options_set(&o, &portspray_technique, "skew", "1.5s"), 0);
    assert_int_equal(peer_skew_ns(&o, WIRE_ROLE_A), 0);
    assert_int_equal(peer_skew_ns(&o, WIRE_ROLE_B), 1500 * BASE_NS_PER_MS);
    assert_int_equal(peer_options_set(&o, &portspray_technique, "skew", "-20ms"), 0);
    assert_int_equal(peer_skew_ns(&o, WIRE_ROLE_A), 20 * BASE_NS_PER_MS);
    assert_int_equal(peer_skew_ns(&o, WIRE_ROLE_B), 0);
}

static void notes_wait_in_order(void **state)
{
    (void)state;
    static const uint8_t words[] = "one two";
    struct peer_skew_notes kept = {0};
    struct peer_event event;
    size_t at = 0;
    assert_false(peer_skew_next(&kept, &at, &event));
    peer_skew_keep(&kept, words, 3);
    peer_skew_keep(&kept, words, 0);
    peer_skew_keep(&kept, words + 4, 3);
    assert_true(peer_skew_next(&kept, &at, &event));
    assert_int_equal(event.kind, PEER_EVENT_NOTE);
    assert_int_equal(event.note_len, 3);
    assert_memory_equal(event.note, "one", 3);
    assert_true(peer_skew_next(&kept, &at, &event));
    assert_int_equal(event.note_len, 0);
    assert_true(peer_skew_next(&kept, &at, &event));
    assert_memory_equal(event.note, "two", 3);
    assert_false(peer_skew_next(&kept, &at, &event));
    peer_skew_free(&kept);
    at = 0;
    assert_false(peer_skew_next(&kept, &at, &event));
}

static void a_flood_is_bounded(void **state)
{
    (void)state;
    static uint8_t big[1000];
    struct peer_skew_notes kept = {0};
    struct peer_event event;
    size_t at = 0, n = 0;
    for (int i = 0; i < 1000; i++)
        peer_skew_keep(&kept, big, sizeof(big));
    while (peer_skew_next(&kept, &at, &event)) {
        assert_int_equal(event.note_len, sizeof(big));
        n++;
    }
    assert_true(n > 50 && n < 100);
    peer_skew_free(&kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_role_is_late),
        cmocka_unit_test(notes_wait_in_order),
        cmocka_unit_test(a_flood_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
