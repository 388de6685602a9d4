/*
 * The steps of a record: written, read back, and missing. Pins: an older record, or one of another mode, that is
 * refused; foreign members that crash or pass; a step that succeeded and is not the view's.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/record/record.h"

#define HEAD                                                                                                           \
    "{\"schema\":1,\"type\":\"trial\",\"cell\":\"c\",\"trial\":0,\"outcome\":\"ok\",\"path\":\"direct\",\"connect_"    \
    "ns\":1"

static int view(const char *rest, struct record_view *out)
{
    char line[2048];
    int len = snprintf(line, sizeof(line), "%s%s}", HEAD, rest);
    return record_view_parse(line, (size_t)len, out);
}

static void steps_come_back(void **state)
{
    (void)state;
    static const struct record_step in[] = {
        {"private", RECORD_STEP_SKIPPED, "other_address", 0, 0},
        {"reversed", RECORD_STEP_FAILED, "", 0, 300000000},
        {"punch", RECORD_STEP_OK, "", 300000000, 41000000},
        {"relay", RECORD_STEP_BEATEN, "", 1, 2},
    };
    struct record_step out[RECORD_MAX_STEPS];
    json_t *side = json_pack("{s:o}", "steps", record_steps_to_json(in, 4));
    assert_non_null(side);
    assert_int_equal(record_steps_read(side, out, RECORD_MAX_STEPS), 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(out[i].step, in[i].step);
        assert_string_equal(out[i].reason, in[i].reason);
        assert_int_equal(out[i].result, in[i].result);
        assert_int_equal(out[i].start_ns, in[i].start_ns);
        assert_int_equal(out[i].took_ns, in[i].took_ns);
    }
    assert_int_equal(record_steps_read(side, out, 2), 2);
    /* What was not tried took no time: not 0, nothing. */
    assert_null(json_object_get(json_array_get(json_object_get(side, "steps"), 0), "took_ns"));
    json_decref(side);
}

static void records_without_steps_are_read(void **state)
{
    (void)state;
    struct record_view v;
    assert_int_equal(view("", &v), 0);
    assert_string_equal(v.step, "");
    assert_int_equal(view(",\"a\":null,\"b\":null", &v), 0);
    assert_int_equal(view(",\"a\":{\"strategy\":\"punch\"}", &v), 0);
    assert_string_equal(v.step, "");
    assert_int_equal(view(",\"a\":{\"steps\":[{\"step\":\"private\",\"result\":\"beaten\",\"took_ns\":3},"
                          "{\"step\":\"punch\",\"result\":\"ok\",\"start_ns\":0,\"took_ns\":3}]}",
                          &v),
                     0);
    assert_string_equal(v.step, "punch");
}

static void foreign_steps_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "7",
        "{}",
        "[7]",
        "[{}]",
        "[{\"step\":\"punch\"}]",
        "[{\"step\":\"punch\",\"result\":\"perhaps\"}]",
        "[{\"step\":7,\"result\":\"ok\"}]",
        "[{\"step\":\"a name that is far too long\",\"result\":\"ok\"}]",
        "[{\"step\":\"punch\",\"result\":\"ok\",\"took_ns\":-1}]",
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++) {
        struct record_view v;
        char rest[256];
        snprintf(rest, sizeof(rest), ",\"a\":{\"steps\":%s}", bad[i]);
        assert_int_equal(view(rest, &v), -EBADMSG);
    }
}

static void paths_have_names(void **state)
{
    (void)state;
    for (unsigned i = 0; i < RECORD_PATHS; i++) {
        enum record_path path;
        assert_int_equal(record_path_parse(record_path_name((enum record_path)i), &path), 0);
        assert_int_equal(path, i);
    }
    enum record_path path;
    assert_int_equal(record_path_parse("", &path), -EINVAL);
    assert_int_equal(record_path_parse("?", &path), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_come_back),
        cmocka_unit_test(records_without_steps_are_read),
        cmocka_unit_test(foreign_steps_are_refused),
        cmocka_unit_test(paths_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
