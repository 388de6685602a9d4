/*
 * The technique `relay`, without a network: the notes between its two sides, and its plan. Pins: a note that comes back
 * as another; one of wrong length or kind that is believed; a plan that lets another address through than the one that
 * S saw last; credentials that leave the host, or that the other side can set; a mode's transport.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "bench/baseline/relay.h"
#include "bench/peer/internal.h"
#include "tcp_punch/synspray.h"
#include "udp_punch/portspray.h"

static union base_ep ep(const char *text)
{
    union base_ep out;
    assert_int_equal(base_ep_parse(text, &out), 0);
    return out;
}

static void notes_round_trip(void **state)
{
    (void)state;
    const struct relay_note notes[] = {
        {.kind = RELAY_NOTE_AT, .at = ep("192.0.2.2:50000")},
        {.kind = RELAY_NOTE_AT, .at = ep("[2001:db8::2]:1")},
        {.kind = RELAY_NOTE_READY},
        {.kind = RELAY_NOTE_FAILED, .fate = BASELINE_TURN_QUOTA},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(notes); i++) {
        uint8_t buf[RELAY_NOTE_MAX];
        struct relay_note out;
        size_t len = relay_note_encode(&notes[i], buf);
        assert_in_range(len, 1, sizeof(buf));
        assert_int_equal(relay_note_decode(buf, len, &out), 0);
        assert_int_equal(out.kind, notes[i].kind);
        assert_int_equal(out.fate, notes[i].fate);
        assert_int_equal(base_ep_is_set(&out.at), base_ep_is_set(&notes[i].at));
        assert_true(!base_ep_is_set(&out.at) || base_ep_equal(&out.at, &notes[i].at));
        /* A copy of its own size: a read past the end is seen. Seven bytes are an IPv4 note. */
        for (size_t n = 0; n < len; n++) {
            uint8_t *cut = malloc(n ? n : 1);
            assert_non_null(cut);
            memcpy(cut, buf, n);
            assert_int_equal(relay_note_decode(cut, n, &out), n == 7 ? 0 : -EBADMSG);
            free(cut);
        }
    }
}

static void bad_notes(void **state)
{
    (void)state;
    struct relay_note out;
    const uint8_t fate[] = {RELAY_NOTE_FAILED, BASELINE_TURN_FATES}, long_one[RELAY_NOTE_MAX] = {RELAY_NOTE_AT},
                  unknown[] = {9}, ready_and_more[] = {RELAY_NOTE_READY, 0};
    assert_int_equal(relay_note_decode(fate, sizeof(fate), &out), -EBADMSG);
    assert_int_equal(relay_note_decode(long_one, sizeof(long_one), &out), -EBADMSG);
    assert_int_equal(relay_note_decode(unknown, sizeof(unknown), &out), -EBADMSG);
    assert_int_equal(relay_note_decode(ready_and_more, sizeof(ready_and_more), &out), -EBADMSG);
}

/* Every way to end has a word of its own. */
static void fates_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < BASELINE_TURN_FATES; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(baseline_turn_fate_name((enum baseline_turn_fate)i),
                                    baseline_turn_fate_name((enum baseline_turn_fate)j));
}

static void plan_aims_at_what_the_server_saw(void **state)
{
    (void)state;
    struct peer_sample at_a[] = {{.mapped = ep("198.51.100.1:1000")}};
    struct peer_sample at_b[] = {{.t_ns = 1, .mapped = ep("203.0.113.1:2000")},
                                 {.t_ns = 2, .mapped = ep("203.0.113.9:2001")}};
    struct peer_facts a = {.samples = at_a, .n_samples = 1}, b = {.samples = at_b, .n_samples = 2}, none = {0};
    struct peer_plan plan = {.predicted_p = NAN};
    struct base_rng rng;
    base_rng_seed(&rng, 1);
    assert_int_equal(relay_technique.plan(&a, &b, NULL, &rng, &plan), 0);
    assert_int_equal(plan.for_a.n, 1);
    assert_int_equal(plan.for_b.n, 1);
    assert_true(base_ep_equal(&plan.for_a.list[0].ep, &at_b[1].mapped));
    assert_true(base_ep_equal(&plan.for_b.list[0].ep, &at_a[0].mapped));
    assert_int_equal(plan.for_a.list[0].kind, PEER_PATH_RELAY);
    free(plan.for_a.list);
    free(plan.for_b.list);
    plan = (struct peer_plan){.predicted_p = NAN};
    assert_true(relay_technique.plan(&a, &none, NULL, &rng, &plan) < 0);
}

/* Role a's options rule, but not those of the TURN server; and they are not told. */
static void credentials_stay_here(void **state)
{
    (void)state;
    static const char *const own[] = {"turn", "turn-user", "turn-password", "turn-password-file"};
    struct peer_options o;
    char text[2048], line[128], bad[128];
    union base_ep server, want = ep("192.0.2.2:3478");
    peer_options_init(&o, &relay_technique);
    assert_false(peer_option_ep(&o, "turn", &server));
    assert_int_equal(peer_options_set(&o, &relay_technique, "turn", "192.0.2.2"), -EINVAL);
    assert_int_equal(peer_options_set(&o, &relay_technique, "turn", "192.0.2.2:3478"), 0);
    assert_true(peer_option_ep(&o, "turn", &server) && base_ep_equal(&server, &want));
    assert_int_equal(peer_options_set(&o, &relay_technique, "turn-password", "very secret"), 0);
    assert_int_equal(peer_options_set(&o, &relay_technique, "mode", "tcp"), 0);
    assert_true(peer_options_to_text(&o, &relay_technique, text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "mode=tcp\n"));
    assert_non_null(strstr(text, "turn-transport=udp\n"));
    assert_null(strstr(text, "secret"));
    for (size_t i = 0; i < BASE_ARRAY_LEN(own); i++) {
        snprintf(line, sizeof(line), "\n%s=", own[i]);
        assert_null(strstr(text, line));
        snprintf(line, sizeof(line), "%s=198.51.100.6:3478\n", own[i]);
        assert_int_equal(peer_options_from_text(&o, &relay_technique, line, bad, sizeof(bad)), -EINVAL);
    }
    assert_string_equal(peer_option_text(&o, "turn-password"), "very secret");
    struct peer_options other;
    peer_options_init(&other, &relay_technique);
    assert_int_equal(peer_options_transport(&other, &relay_technique), PEER_UDP);
    assert_int_equal(peer_options_from_text(&other, &relay_technique, text, bad, sizeof(bad)), 0);
    assert_int_equal(peer_options_transport(&other, &relay_technique), PEER_TCP);
}

/* Joined to a technique it is on only in mode auto, by its first option, which stays on this side. */
static void is_the_last_resort_of_auto(void **state)
{
    (void)state;
    const struct peer_technique *const all[] = {&synspray_technique, &portspray_technique};
    for (size_t i = 0; i < BASE_ARRAY_LEN(all); i++) {
        struct peer_technique technique = *all[i];
        struct peer_options o;
        char text[2048];
        peer_options_init(&o, &technique);
        assert_int_equal(peer_options_set(&o, &technique, "relay", "192.0.2.2:3478"), -ENOENT);
        assert_false(peer_resort_given(&o, &technique));
        technique.last_resort = &relay_resort;
        peer_options_init(&o, &technique);
        assert_int_equal(peer_options_set(&o, &technique, "mode", "auto"), 0);
        assert_false(peer_resort_given(&o, &technique));
        assert_int_equal(peer_options_set(&o, &technique, "relay", "192.0.2.2"), -EINVAL);
        assert_int_equal(peer_options_set(&o, &technique, "relay", "192.0.2.2:3478"), 0);
        assert_int_equal(peer_options_set(&o, &technique, "relay-password", "very secret"), 0);
        assert_true(peer_resort_given(&o, &technique));
        assert_true(peer_options_to_text(&o, &technique, text, sizeof(text)) > 0);
        assert_null(strstr(text, "relay"));
        assert_null(strstr(text, "secret"));
        assert_int_equal(peer_options_set(&o, &technique, "mode", "none"), 0);
        assert_false(peer_resort_given(&o, &technique));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notes_round_trip),      cmocka_unit_test(bad_notes),
        cmocka_unit_test(fates_have_names),      cmocka_unit_test(plan_aims_at_what_the_server_saw),
        cmocka_unit_test(credentials_stay_here), cmocka_unit_test(is_the_last_resort_of_auto),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
