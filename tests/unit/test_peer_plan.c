/*
 * Facts, plans and options. Pins: a plan that differs between the two sides after the wire, a truncated or altered body
 * that crashes or is half taken, an endpoint listed twice, a hairpin taken for a direct path, options out of bounds.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/peer/internal.h"
#include "tcp_punch/simopen.h"
#include "udp_punch/portspray.h"

static union base_ep ep(const char *text)
{
    union base_ep out;
    assert_int_equal(base_ep_parse(text, &out), 0);
    return out;
}

static struct peer_facts facts(const char *mapped, const char *second, const char *private_ep, uint8_t nonce)
{
    struct peer_facts f = {.n_private = 1, .open_files = 1024};
    memset(f.nonce, nonce, sizeof(f.nonce));
    f.private_eps[0] = ep(private_ep);
    f.n_samples = second ? 2 : 1;
    f.samples = calloc(2, sizeof(*f.samples));
    f.samples[0] = (struct peer_sample){1000, ep(private_ep), ep("192.0.2.1:3478"), ep(mapped)};
    if (second)
        f.samples[1] = (struct peer_sample){2000, ep(private_ep), ep("192.0.2.2:3478"), ep(second)};
    return f;
}

static void facts_survive_the_wire(void **state)
{
    (void)state;
    uint8_t buf[1024];
    struct peer_facts in = facts("198.51.100.1:4000", "198.51.100.1:4001", "10.1.0.2:4000", 5), out;
    int len = peer_facts_encode(&in, buf, sizeof(buf));
    assert_true(len > 0);
    assert_int_equal(peer_facts_decode(buf, (size_t)len, &out), 0);
    assert_memory_equal(in.nonce, out.nonce, sizeof(in.nonce));
    assert_int_equal(out.n_samples, 2);
    assert_int_equal(out.samples[1].t_ns, 2000);
    assert_true(base_ep_equal(&out.samples[1].mapped, &in.samples[1].mapped));
    assert_true(base_ep_equal(&out.private_eps[0], &in.private_eps[0]));
    assert_string_equal(peer_facts_mapping(&out), "varies");
    peer_facts_free(&out);
    /* Every truncation and every flipped bit: refused or decoded, never a crash (the sanitizers watch). */
    for (int cut = 0; cut < len; cut++)
        if (peer_facts_decode(buf, (size_t)cut, &out) == 0)
            peer_facts_free(&out);
    for (int bit = 0; bit < len * 8; bit++) {
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (peer_facts_decode(buf, (size_t)len, &out) == 0)
            peer_facts_free(&out);
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    peer_facts_free(&in);
}

static void plan_aims_at_public_then_private(void **state)
{
    (void)state;
    int (*const plans[])(const struct peer_facts *, const struct peer_facts *, const struct peer_options *,
                         struct base_rng *, struct peer_plan *) = {simopen_plan, portspray_plan};
    for (size_t i = 0; i < BASE_ARRAY_LEN(plans); i++) {
        struct peer_facts a = facts("198.51.100.1:4000", NULL, "10.1.0.2:4000", 1);
        struct peer_facts b = facts("203.0.113.1:5000", NULL, "10.2.0.2:5000", 2);
        struct peer_plan plan = {.predicted_p = NAN};
        assert_int_equal(plans[i](&a, &b, NULL, NULL, &plan), 0);
        assert_int_equal(plan.for_a.n, 2);
        union base_ep public_b = ep("203.0.113.1:5000"), private_a = ep("10.1.0.2:4000");
        assert_true(base_ep_equal(&plan.for_a.list[0].ep, &public_b));
        assert_int_equal(plan.for_a.list[0].kind, PEER_PATH_DIRECT);
        assert_true(base_ep_equal(&plan.for_b.list[1].ep, &private_a));
        assert_int_equal(plan.for_b.list[1].kind, PEER_PATH_PRIVATE);
        peer_plan_free(&plan);
        peer_facts_free(&a);
        peer_facts_free(&b);
    }
}

static void one_address_is_a_hairpin(void **state)
{
    (void)state;
    struct peer_facts a = facts("198.51.100.1:4000", NULL, "10.1.0.2:4000", 1);
    struct peer_facts b = facts("198.51.100.1:5000", NULL, "10.1.0.3:5000", 2);
    struct peer_plan plan = {0};
    assert_int_equal(peer_plan_registered(&a, &b, &plan), 0);
    assert_int_equal(plan.for_a.list[0].kind, PEER_PATH_HAIRPIN);
    peer_plan_free(&plan);
    /* A public host's private endpoint is its public one: once is enough. */
    struct peer_facts open = facts("203.0.113.1:6000", NULL, "203.0.113.1:6000", 3);
    assert_int_equal(peer_plan_registered(&a, &open, &plan), 0);
    assert_int_equal(plan.for_a.n, 1);
    peer_plan_free(&plan);
    /* Without a sample there is nothing to aim at. */
    open.n_samples = 0;
    assert_int_equal(peer_plan_registered(&a, &open, &plan), -EINVAL);
    peer_plan_free(&plan);
    peer_facts_free(&a);
    peer_facts_free(&b);
    peer_facts_free(&open);
}

static void plan_survives_the_wire(void **state)
{
    (void)state;
    static uint8_t buf[65536];
    struct peer_plan in = {.mode = "punch", .deadline_ns = 123456789, .rtt_ns = 40000000, .predicted_p = 0.25}, out;
    union base_ep target = ep("203.0.113.1:1");
    for (int i = 1; i <= 300; i++) {
        base_ep_set_port(&target, (uint16_t)i);
        assert_int_equal(peer_candidates_add(&in.for_a, &target, PEER_PATH_DIRECT, i % 2 ? 0.5f : NAN), 0);
    }
    union base_ep v6 = ep("[2001:db8::1]:443");
    assert_int_equal(peer_candidates_add(&in.for_b, &v6, PEER_PATH_PRIVATE, 1), 0);
    int len = peer_plan_encode(&in, buf, sizeof(buf));
    assert_true(len > 0);
    assert_int_equal(peer_plan_decode(buf, (size_t)len, &out), 0);
    assert_string_equal(out.mode, "punch");
    assert_int_equal(out.deadline_ns, 123456789);
    assert_float_equal(out.predicted_p, 0.25, 1e-9);
    assert_false(out.resort);
    assert_int_equal(out.for_a.n, 300);
    assert_int_equal(base_ep_port(&out.for_a.list[299].ep), 300);
    assert_true(isnan(out.for_a.list[1].p));
    assert_float_equal(out.for_a.list[0].p, 0.5, 1e-6);
    assert_true(base_ep_equal(&out.for_b.list[0].ep, &v6));
    peer_plan_free(&out);
    for (int cut = 0; cut < len; cut += 7)
        if (peer_plan_decode(buf, (size_t)cut, &out) == 0)
            peer_plan_free(&out);
    peer_plan_free(&in);
    in.predicted_p = NAN;
    in.resort = true;
    len = peer_plan_encode(&in, buf, sizeof(buf));
    assert_int_equal(peer_plan_decode(buf, (size_t)len, &out), 0);
    assert_true(isnan(out.predicted_p));
    assert_true(out.resort);
}

static void options_keep_their_bounds(void **state)
{
    (void)state;
    struct peer_options o, copy;
    const struct peer_technique *t = &portspray_technique;
    peer_options_init(&o, t);
    assert_string_equal(peer_option_text(&o, "mode"), "punch");
    assert_int_equal(peer_option_u64(&o, "timeout"), 10 * BASE_NS_PER_S);
    assert_int_equal(peer_options_set(&o, t, "interval", "5ms"), 0);
    assert_int_equal(peer_option_u64(&o, "interval"), 5 * BASE_NS_PER_MS);
    static const char *const bad[][2] = {
        {"interval", "0"}, {"interval", "11s"}, {"interval", "5"},  {"mode", "plain"}, {"rate", "1e3"},
        {"rate", "-1"},    {"timeout", "soon"}, {"samples", "257"}, {"samples", ""},   {"skew", "30"},
        {"skew", "--1ms"}, {"skew", "-31s"},    {"skew", "31s"},    {"skew", "-"}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++)
        assert_int_equal(peer_options_set(&o, t, bad[i][0], bad[i][1]), -EINVAL);
    assert_int_equal(peer_options_set(&o, t, "colour", "red"), -ENOENT);
    assert_int_equal(peer_options_set(&o, t, "mode", "none"), 0);
    assert_int_equal(peer_option_offset(&o, "skew"), 0);
    assert_int_equal(peer_options_set(&o, t, "skew", "30s"), 0);
    assert_int_equal(peer_option_offset(&o, "skew"), 30 * (int64_t)BASE_NS_PER_S);
    assert_int_equal(peer_options_set(&o, t, "skew", "-20ms"), 0);

    char text[1024], line[64];
    assert_true(peer_options_to_text(&o, t, text, sizeof(text)) > 0);
    peer_options_init(&copy, t);
    assert_int_equal(peer_options_from_text(&copy, t, text, line, sizeof(line)), 0);
    assert_string_equal(peer_option_text(&copy, "mode"), "none");
    assert_int_equal(peer_option_u64(&copy, "interval"), 5 * BASE_NS_PER_MS);
    assert_int_equal(peer_option_offset(&copy, "skew"), -20 * (int64_t)BASE_NS_PER_MS);
    /* What role a set is no word of role b's. */
    assert_true(peer_option_given(&o, "interval"));
    assert_false(peer_option_given(&copy, "interval"));
    assert_int_equal(peer_options_from_text(&copy, t, "transport=tcp\n", line, sizeof(line)), -EINVAL);
    assert_int_equal(peer_options_from_text(&copy, t, "rate=5\nflux=1\n", line, sizeof(line)), -EINVAL);
    assert_string_equal(line, "flux=1");
    assert_int_equal(peer_options_to_text(&o, t, text, 10), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_survive_the_wire),    cmocka_unit_test(plan_aims_at_public_then_private),
        cmocka_unit_test(one_address_is_a_hairpin),  cmocka_unit_test(plan_survives_the_wire),
        cmocka_unit_test(options_keep_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
