/*
 * Classifiers, on ports from allocators of the test's own. Pins: a kind of NAT taken for another one; a confident
 * answer where the samples cannot tell; samples out of order, doubled or meaningless that change the answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "predict/predict.h"

#define SEEDS 60
/* Of so many seeds this many may be called unknown; none may be called wrong but one. */
#define MOST_UNKNOWN 6
#define MOST_WRONG   1

static uint64_t state_of_rng;

/* Not the library's: an LCG (Knuth's MMIX). */
static uint32_t draw(uint32_t below)
{
    state_of_rng = state_of_rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state_of_rng >> 33) % below);
}

static struct predict_ep ep(uint8_t a, uint8_t b, uint16_t port)
{
    return (struct predict_ep){.addr = {198, 51, a, b}, .len = 4, .port = port};
}

struct nat {
    int step[4];                            /* of interleaved sequences */
    unsigned sequences, addresses, foreign; /* at most so many foreign ones between two samples */
    uint32_t lo, hi;                        /* random, where sequences is 0 */
    bool preserve;
    double apart; /* seconds; 0: 0.04 */
    bool swapped; /* every third answer overtakes the one before */
    uint32_t at[4];
};

static uint16_t wrap(int64_t port)
{
    int64_t range = 65535 - 1024 + 1, at = (port - 1024) % range;
    return (uint16_t)(1024 + (at < 0 ? at + range : at));
}

/* n samples, each from a local port of its own, 40 ms apart or as far as the NAT says. */
static void sample(struct nat *nat, struct predict_sample *s, unsigned n)
{
    for (unsigned i = 0; i < 4; i++)
        nat->at[i] = 1024 + draw(64512);
    for (unsigned i = 0; i < n; i++) {
        uint16_t local = (uint16_t)(20000 + draw(12000)), port = local;
        unsigned k = nat->sequences ? draw(nat->sequences) : 0;
        if (nat->sequences) {
            nat->at[k] = wrap((int64_t)nat->at[k] + nat->step[k] * (1 + (int)draw(nat->foreign + 1)));
            port = (uint16_t)nat->at[k];
        } else if (!nat->preserve)
            port = (uint16_t)(nat->lo + draw(nat->hi - nat->lo + 1));
        s[i] = (struct predict_sample){i * (nat->apart > 0 ? nat->apart : 0.04), ep(1, 1, local),
                                       ep(2, (uint8_t)(1 + i % 2), 3478),
                                       ep(3, (uint8_t)(1 + draw(nat->addresses ? nat->addresses : 1)), port)};
    }
    for (unsigned i = 2; i < n && nat->swapped; i += 3) {
        struct predict_ep mapped = s[i].mapped;
        s[i].mapped = s[i - 1].mapped;
        s[i - 1].mapped = mapped;
    }
}

static void expect_ports(const struct nat *nat, unsigned n, enum predict_ports want, int step)
{
    unsigned unknown = 0, wrong = 0;
    struct predict_sample s[64];
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct predict_behaviour b = {0};
        struct nat copy = *nat;
        state_of_rng = seed;
        sample(&copy, s, n);
        predict_classify(s, n, &b);
        bool right = b.ports.value == (int)want && (step == 0 || b.step == step);
        unknown += b.ports.value == PREDICT_PORTS_UNKNOWN;
        wrong += !right && b.ports.value != PREDICT_PORTS_UNKNOWN;
        assert_true(b.ports.confidence >= 0 && b.ports.confidence <= 1);
    }
    if (unknown > MOST_UNKNOWN || wrong > MOST_WRONG)
        fail_msg("%s, step %d: %u of %d unknown, %u wrong", predict_value_name(PREDICT_PORTS, (int)want), step, unknown,
                 SEEDS, wrong);
}

static void allocators(void **state)
{
    (void)state;
    expect_ports(&(struct nat){.preserve = true}, 3, PREDICT_PORTS_PRESERVE, 0);
    expect_ports(&(struct nat){.sequences = 1, .step = {1}}, 4, PREDICT_PORTS_SEQUENTIAL, 1);
    expect_ports(&(struct nat){.sequences = 1, .step = {1}, .foreign = 20}, 6, PREDICT_PORTS_SEQUENTIAL, 0);
    expect_ports(&(struct nat){.sequences = 1, .step = {2}}, 4, PREDICT_PORTS_SEQUENTIAL, 2);
    expect_ports(&(struct nat){.sequences = 1, .step = {2}, .foreign = 8}, 10, PREDICT_PORTS_SEQUENTIAL, 2);
    expect_ports(&(struct nat){.sequences = 1, .step = {-1}, .foreign = 3}, 10, PREDICT_PORTS_SEQUENTIAL, -1);
    expect_ports(&(struct nat){.sequences = 1, .step = {8}}, 5, PREDICT_PORTS_SEQUENTIAL, 8);
    expect_ports(&(struct nat){.sequences = 1, .step = {-100}}, 5, PREDICT_PORTS_SEQUENTIAL, -100);
    expect_ports(&(struct nat){.lo = 1024, .hi = 65535}, 6, PREDICT_PORTS_RANDOM, 0);
    expect_ports(&(struct nat){.lo = 50001, .hi = 65535}, 12, PREDICT_PORTS_RANDOM, 0);
    expect_ports(&(struct nat){.lo = 20100, .hi = 20350}, 32, PREDICT_PORTS_BAND, 0);
    expect_ports(&(struct nat){.lo = 1024, .hi = 65535, .addresses = 4}, 12, PREDICT_PORTS_RANDOM, 0);
}

/* All asked at once, the answers a millisecond apart: their order says little, but it is not nothing. */
static void together(void **state)
{
    (void)state;
    expect_ports(&(struct nat){.lo = 20100, .hi = 20350, .apart = 0.001}, 32, PREDICT_PORTS_BAND, 0);
    expect_ports(&(struct nat){.lo = 1024, .hi = 65535, .apart = 0.001}, 32, PREDICT_PORTS_RANDOM, 0);
    expect_ports(&(struct nat){.sequences = 1, .step = {1}, .apart = 0.001}, 12, PREDICT_PORTS_SEQUENTIAL, 1);
    expect_ports(&(struct nat){.sequences = 1, .step = {1}, .apart = 0.001, .swapped = true}, 12,
                 PREDICT_PORTS_SEQUENTIAL, 1);
    expect_ports(&(struct nat){.sequences = 1, .step = {2}, .foreign = 1, .apart = 0.001, .swapped = true}, 24,
                 PREDICT_PORTS_SEQUENTIAL, 2);
}

/* A 128-port block: an aligned one and a band that happens to fit look alike; narrow must be seen, and its place. */
static void block_is_narrow(void **state)
{
    (void)state;
    unsigned block = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct predict_sample s[16];
        struct predict_behaviour b = {0};
        struct nat nat = {.lo = 30080, .hi = 30207};
        state_of_rng = seed;
        sample(&nat, s, 12);
        predict_classify(s, 12, &b);
        assert_true(b.ports.value == PREDICT_PORTS_BLOCK || b.ports.value == PREDICT_PORTS_BAND ||
                    b.ports.value == PREDICT_PORTS_UNKNOWN);
        block += b.ports.value == PREDICT_PORTS_BLOCK && b.range_lo == 30080 && b.range_hi == 30207;
    }
    assert_true(block >= SEEDS * 3 / 4);
}

/* "Two-ended": one sequence counts up from below, the other down from above. */
static void two_ended(void **state)
{
    (void)state;
    unsigned right = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct predict_sample s[16];
        struct predict_behaviour b = {0};
        struct nat nat = {.sequences = 2, .step = {1, -1}, .foreign = 2};
        state_of_rng = seed;
        sample(&nat, s, 12);
        predict_classify(s, 12, &b);
        right += b.ports.value == PREDICT_PORTS_SEQUENTIAL && b.sequences == 2 && abs(b.step) == 1;
    }
    assert_true(right >= SEEDS - 4);
}

static void pools(void **state)
{
    (void)state;
    struct predict_sample s[16];
    struct predict_behaviour b = {0};
    struct nat nat = {.lo = 1024, .hi = 65535, .addresses = 4};
    state_of_rng = 3;
    sample(&nat, s, 12);
    predict_classify(s, 12, &b);
    assert_int_equal(b.pooling.value, PREDICT_POOLING_ARBITRARY);
    assert_true(b.pool_seen >= 3 && b.pool_size >= b.pool_seen && b.pool_size <= 6);
    nat.addresses = 1;
    sample(&nat, s, 12);
    predict_classify(s, 12, &b);
    assert_int_equal(b.pooling.value, PREDICT_POOLING_SINGLE);
    assert_true(b.pooling.confidence > 0.95);
    /* Moved once, for good: still one at a time. */
    for (unsigned i = 6; i < 12; i++)
        s[i].mapped.addr[3] = 77;
    predict_classify(s, 12, &b);
    assert_int_equal(b.pooling.value, PREDICT_POOLING_PAIRED);
}

/* ---- mapping ------------------------------------------------------------------------------------- */

static struct predict_sample seen(double t, uint16_t local, uint8_t server, uint16_t server_port, uint16_t mapped)
{
    return (struct predict_sample){t, ep(1, 1, local), ep(2, server, server_port), ep(3, 1, mapped)};
}

static struct predict_belief mapping_of(const struct predict_sample *s, size_t n)
{
    struct predict_behaviour b = {0};
    predict_classify(s, n, &b);
    return b.mapping;
}

static void mappings(void **state)
{
    (void)state;
    struct predict_sample ei[] = {seen(0, 5000, 1, 1, 40000), seen(0.1, 5000, 1, 2, 40000),
                                  seen(0.2, 5000, 2, 1, 40000)};
    struct predict_sample ad[] = {seen(0, 5000, 1, 1, 40000), seen(0.1, 5000, 1, 2, 40000),
                                  seen(0.2, 5000, 2, 1, 51234)};
    struct predict_sample apd[] = {seen(0, 5000, 1, 1, 40000), seen(0.1, 5000, 1, 2, 51234),
                                   seen(0.2, 5000, 1, 1, 40000)};
    struct predict_sample cd[] = {seen(0, 5000, 1, 1, 40000), seen(0.1, 5000, 1, 1, 40120),
                                  seen(0.2, 5000, 1, 1, 40077)};
    struct predict_sample none[] = {seen(0, 5000, 1, 1, 5000), seen(0.1, 5001, 1, 2, 5001)};
    assert_int_equal(mapping_of(ei, 3).value, PREDICT_MAPPING_EI);
    assert_true(mapping_of(ei, 3).confidence > 0.95);
    assert_int_equal(mapping_of(ad, 3).value, PREDICT_MAPPING_AD);
    assert_int_equal(mapping_of(apd, 3).value, PREDICT_MAPPING_APD);
    assert_int_equal(mapping_of(cd, 3).value, PREDICT_MAPPING_CD);
    for (int i = 0; i < 2; i++)
        none[i].mapped = none[i].local;
    assert_int_equal(mapping_of(none, 2).value, PREDICT_MAPPING_NONE);
    /* One address of S: endpoint-independent is what is customary, and no more than that. */
    assert_int_equal(mapping_of(ei, 2).value, PREDICT_MAPPING_EI);
    assert_true(mapping_of(ei, 2).confidence < 0.9);
    assert_int_equal(mapping_of(ei, 1).value, PREDICT_MAPPING_UNKNOWN);
    assert_true(mapping_of(ei, 0).confidence == 0);
    /* A minute later the mapping may have timed out: that is no sign of connection-dependence. */
    cd[1].t = cd[2].t = 60;
    cd[2].mapped = cd[1].mapped;
    assert_int_not_equal(mapping_of(cd, 2).value, PREDICT_MAPPING_CD);
}

static void order_and_rubbish(void **state)
{
    (void)state;
    struct predict_sample s[16], mixed[40];
    struct predict_behaviour a = {.filtering = {PREDICT_FILTERING_APD, 0.9}}, b = a;
    struct nat nat = {.sequences = 1, .step = {2}, .foreign = 3};
    unsigned n = 0;
    state_of_rng = 9;
    sample(&nat, s, 12);
    predict_classify(s, 12, &a);
    /* Backwards, each twice, and samples without a mapping in between. */
    for (unsigned i = 12; i-- > 0;) {
        mixed[n++] = s[i];
        mixed[n++] = s[i];
        mixed[n] = s[i];
        mixed[n++].mapped.port = 0;
    }
    predict_classify(mixed, n, &b);
    assert_memory_equal(&a, &b, sizeof(a));
    assert_int_equal(a.samples, 12);
    /* What samples cannot tell stays as it was. */
    assert_int_equal(a.filtering.value, PREDICT_FILTERING_APD);
    assert_true(a.filtering.confidence == 0.9);
    assert_true(a.foreign_seconds > 0.4 && a.foreign_seconds < 0.5 && a.foreign_seen > 0);
}

static void names(void **state)
{
    (void)state;
    struct predict_behaviour b = {0};
    for (int p = 0; p < PREDICT_N_PROPERTIES; p++) {
        assert_string_equal(predict_value_name((enum predict_property)p, 0), "unknown");
        for (int v = 0; predict_value_name((enum predict_property)p, v); v++)
            assert_int_equal(
                predict_value_of((enum predict_property)p, predict_value_name((enum predict_property)p, v)), v);
        assert_int_equal(predict_value_of((enum predict_property)p, "nonsense"), -1);
        assert_null(predict_value_name((enum predict_property)p, -1));
        assert_null(predict_value_name((enum predict_property)p, 99));
    }
    assert_ptr_equal(predict_belief(&b, PREDICT_WINDOW), &b.window);
    assert_ptr_equal(predict_belief(&b, PREDICT_MAPPING), &b.mapping);
    assert_string_equal(predict_nat_number(&b), "unknown");
    b.mapping.value = PREDICT_MAPPING_EI;
    b.filtering.value = PREDICT_FILTERING_EI;
    assert_string_equal(predict_nat_number(&b), "NAT1");
    assert_string_equal(predict_rfc3489_name(&b), "Full Cone");
    b.filtering.value = PREDICT_FILTERING_AD;
    assert_string_equal(predict_rfc3489_name(&b), "Restricted Cone");
    b.filtering.value = PREDICT_FILTERING_APD;
    assert_string_equal(predict_nat_number(&b), "NAT3");
    b.mapping.value = PREDICT_MAPPING_CD;
    assert_string_equal(predict_nat_number(&b), "NAT4");
    assert_string_equal(predict_rfc3489_name(&b), "Symmetric");
    for (int k = 0; k < PREDICT_N_KINDS; k++)
        assert_int_equal(predict_kind_of(predict_kind_name((enum predict_kind)k)), k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocators),        cmocka_unit_test(together), cmocka_unit_test(block_is_narrow),
        cmocka_unit_test(two_ended),         cmocka_unit_test(pools),    cmocka_unit_test(mappings),
        cmocka_unit_test(order_and_rubbish), cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
