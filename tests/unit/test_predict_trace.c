/*
 * Traces: lines, endpoints, and the replay. Pins: a line that is written and cannot be read again; rubbish that is
 * taken for a sample; scores that do not count what they say.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "predict/evaluate.h"

static int parse(const char *line, struct predict_sample *s)
{
    const char *why = NULL;
    int err = predict_trace_parse(line, strlen(line), s, &why);
    assert_true((err == 0) == (why == NULL));
    return err;
}

static void there_and_back(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "0.000000000,10.0.0.2:40000,192.0.2.1:3478,198.51.100.7:1",
        "12.003456789,-,192.0.2.1:3478,198.51.100.7:65535",
        "1.500000000,[fd00::2]:40000,[2001:db8::1]:3478,[2001:db8::ffff]:5000",
        "3200000000.000000000,-,-,198.51.100.7:65535",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct predict_sample s;
        char buf[PREDICT_TRACE_LINE];
        assert_int_equal(parse(lines[i], &s), 0);
        assert_string_equal(predict_trace_format(&s, buf, sizeof(buf)), lines[i]);
    }
    struct predict_sample s;
    assert_int_equal(parse("7,10.0.0.2:0,192.0.2.1:3478,198.51.100.7:9\r\n", &s), 0);
    assert_true(s.t == 7 && s.mapped.port == 9 && s.local.port == 0 && s.local.len == 4);
    /* One and the same endpoint has one form. */
    assert_int_equal(parse("7,-,-,[::ffff:198.51.100.7]:9", &s), 0);
    assert_true(s.mapped.len == 4 && s.mapped.addr[0] == 198);
}

static void rubbish(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        ",",
        "0",
        "0,,,",
        "0,-,-,-",
        "0,-,-,198.51.100.7:0",
        "0,-,-,198.51.100.7:65536",
        "0,-,-,198.51.100.7:-1",
        "0,-,-,198.51.100.7",
        "0,-,-,198.51.100.7:",
        "0,-,-,198.51.100:80",
        "0,-,-,198.51.100.7:80,",
        "0,-,-,:80",
        "-1,-,-,198.51.100.7:80",
        "nan,-,-,198.51.100.7:80",
        "1e3,-,-,198.51.100.7:80",
        "inf,-,-,198.51.100.7:80",
        ".5,-,-,198.51.100.7:80",
        "5.,-,-,198.51.100.7:80",
        "9999999999,-,-,198.51.100.7:80",
        "0.1234567890123,-,-,198.51.100.7:80",
        "0,10.0.0.2:1,[2001:db8::1]:2,198.51.100.7:80",
        "0,-,-,[2001:db8::1:80",
        "0,-,-,2001:db8::1]:80",
        "0,-,-,[]:80",
        "0,-,-,[198.51.100.7]:80",
        "0,-,-,198.51.100.7:000080",
        " 0,-,-,198.51.100.7:80",
        "0,-,-,198.51.100.7:80 ",
        PREDICT_TRACE_HEADER,
    };
    struct predict_sample s;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        if (parse(lines[i], &s) != -22)
            fail_msg("taken for a sample: '%s'", lines[i]);
    const char *why, nul[] = "0,-,-,198.51\0.100.7:80";
    assert_int_equal(predict_trace_parse(nul, sizeof(nul) - 1, &s, &why), -22);
}

static struct predict_sample at(double t, uint16_t port)
{
    return (struct predict_sample){
        .t = t,
        .local = {.addr = {10, 0, 0, 2}, .len = 4, .port = (uint16_t)(20000 + 7919 * port % 9973)},
        .remote = {.addr = {192, 0, 2, 1}, .len = 4, .port = 3478},
        .mapped = {.addr = {198, 51, 100, 7}, .len = 4, .port = port}};
}

/* A counter that is read every 40 ms. */
static void replay(void **state)
{
    (void)state;
    struct evaluate *e = calloc(1, sizeof(*e));
    assert_non_null(e);
    predict_rng_seed(&e->rng, 1);
    uint16_t port = 30000;
    for (int i = 0; i < 60; i++) {
        struct predict_sample s = at(i * 0.04, port);
        assert_int_equal(predict_evaluate_add(e, &s, i % 2 == 1), 0);
        port = (uint16_t)(port + 2);
    }
    /* Every second one was skipped, and of the others the first had nothing before it. */
    assert_int_equal(e->predictions, 29);
    const struct evaluate_score *ours = &e->score[PREDICT_MIXTURE], *plus50 = &e->score[PREDICT_FIXED_PLUS50];
    assert_true(ours->hits[0] >= 27 && ours->hits[1] >= 28 && ours->hits[2] == 29 && ours->hits[3] == 29);
    assert_true(plus50->hits[0] == 0 && plus50->hits[1] == 29 && plus50->hits[3] == 29);
    assert_true(ours->bits / 29 < 1.5);
    assert_true(fabs(plus50->bits / 29 - log2(50)) < 1e-9);
    assert_true(e->score[PREDICT_PRESERVE].bits / 29 == EVALUATE_FLOOR_BITS);
    uint64_t n = 0, hits = 0;
    for (int i = 0; i < 10; i++) {
        n += ours->bins[i].n;
        hits += ours->bins[i].hits;
    }
    assert_true(n == 29 && hits == ours->hits[2]);
    predict_evaluate_forget(e);
    struct predict_sample s = at(100, 1024);
    assert_int_equal(predict_evaluate_add(e, &s, false), 0);
    assert_int_equal(e->predictions, 29);
    free(e);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(rubbish),
        cmocka_unit_test(replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
