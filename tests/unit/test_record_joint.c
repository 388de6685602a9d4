/*
 * bench/record sides, joint records and views. Pins: a trial counted as ok on one side's word; a failure that leaks
 * into the latencies; a report that loses or gains members on its way; foreign JSON of wrong types that crashes or
 * passes; a record that spans two lines; a failure that is explained by what followed from it.
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

#include "bench/record/record.h"

static const struct record_trial trial = {.cell = "open/open/simopen/rtt40",
                                          .trial = 17,
                                          .seed = 4711,
                                          .technique = "simopen",
                                          .mode = "punch",
                                          .transport = "tcp",
                                          .rtt_ns = 40000000,
                                          .predicted_p = NAN};

static struct record_side ok_side(uint64_t connect_ns)
{
    struct record_side s = {.outcome = RECORD_OK,
                            .phase = RECORD_PHASE_VERIFY,
                            .path = "direct",
                            .connect_ns = connect_ns,
                            .total_ns = connect_ns * 3,
                            .choose_ns = connect_ns + 1,
                            .acked = true};
    for (unsigned i = 0; i < RECORD_PHASES; i++)
        s.phase_ns[i] = connect_ns + i;
    return s;
}

static struct record_side failed_side(enum record_outcome outcome, enum record_phase phase, int error)
{
    return (struct record_side){.outcome = outcome, .phase = phase, .error = error, .total_ns = 1000};
}

static const char *text(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));
    return s ? s : "(none)";
}

static json_int_t number(const json_t *j, const char *key)
{
    return json_integer_value(json_object_get(j, key));
}

/* ---- sides ----------------------------------------------------------------------------------- */

static void side_round_trips(void **state)
{
    (void)state;
    struct record_side in = ok_side(41873211), out;
    in.fields = json_pack("{s:s, s:i, s:{s:i}}", "role", "a", "packets", 3, "errors", "ECONNREFUSED", 2);
    json_t *json = record_side_to_json(&in);
    assert_int_equal(record_side_from_json(json, &out), 0);
    assert_int_equal(out.outcome, RECORD_OK);
    assert_string_equal(out.path, "direct");
    assert_true(out.connect_ns == in.connect_ns && out.total_ns == in.total_ns && out.choose_ns == in.choose_ns);
    assert_memory_equal(out.phase_ns, in.phase_ns, sizeof(in.phase_ns));
    assert_true(out.acked);
    assert_true(json_equal(out.fields, in.fields));
    json_t *again = record_side_to_json(&out);
    assert_true(json_equal(json, again));
    json_decref(json);
    json_decref(again);
    record_side_clear(&in);
    record_side_clear(&out);
    assert_null(out.fields);
}

static void failed_side_round_trips(void **state)
{
    (void)state;
    for (unsigned o = RECORD_TIMEOUT; o < RECORD_OUTCOMES; o++)
        for (unsigned p = 0; p < RECORD_PHASES; p++) {
            bool error = o == RECORD_ERROR;
            struct record_side in = failed_side(o, p, error ? EADDRNOTAVAIL : 0), out;
            json_t *json = record_side_to_json(&in);
            assert_string_equal(text(json, "phase"), record_phase_name(p));
            assert_string_equal(text(json, "errno_name"), error ? "EADDRNOTAVAIL" : "(none)");
            assert_true(json_is_null(json_object_get(json, "connect_ns")));
            assert_int_equal(record_side_from_json(json, &out), 0);
            assert_int_equal(out.outcome, o);
            assert_int_equal(out.phase, p);
            assert_int_equal(out.error, in.error);
            assert_null(out.fields);
            json_decref(json);
        }
}

static void a_field_cannot_replace_a_member(void **state)
{
    (void)state;
    struct record_side in = failed_side(RECORD_TIMEOUT, RECORD_PHASE_OPEN, 0);
    in.fields = json_pack("{s:s, s:b, s:i, s:s}", "outcome", "ok", "acked", 1, "errno", 5, "errno_name", "EIO");
    json_t *json = record_side_to_json(&in);
    assert_string_equal(text(json, "outcome"), "timeout");
    assert_true(json_is_false(json_object_get(json, "acked")));
    assert_null(json_object_get(json, "errno"));
    assert_null(json_object_get(json, "errno_name"));
    json_decref(json);
    record_side_clear(&in);
}

static int side_of(const char *text_json, struct record_side *out)
{
    json_t *json = json_loads(text_json, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    int res = record_side_from_json(json, out);
    json_decref(json);
    return res;
}

static void foreign_sides_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "3",
        "[]",
        "{}",
        "{\"outcome\":1}",
        "{\"outcome\":\"fine\"}",
        "{\"outcome\":\"ok\",\"connect_ns\":-1}",
        "{\"outcome\":\"ok\",\"connect_ns\":\"5\"}",
        "{\"outcome\":\"ok\",\"connect_ns\":1.5}",
        "{\"outcome\":\"ok\",\"path\":\"a path too long\"}",
        "{\"outcome\":\"ok\",\"path\":[]}",
        "{\"outcome\":\"ok\",\"acked\":1}",
        "{\"outcome\":\"ok\",\"total_ns\":{}}",
        "{\"outcome\":\"error\",\"errno\":4096}",
        "{\"outcome\":\"error\",\"errno\":true}",
        "{\"outcome\":\"error\",\"phase\":\"lunch\"}",
        "{\"outcome\":\"error\",\"phase\":7}",
        "{\"outcome\":\"error\",\"phases_ns\":[]}",
        "{\"outcome\":\"error\",\"phases_ns\":{\"join\":\"x\"}}",
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++) {
        struct record_side out;
        memset(&out, 0xff, sizeof(out));
        if (side_of(bad[i], &out) != -EBADMSG)
            fail_msg("accepted: %s", bad[i]);
        assert_null(out.fields);
    }
}

static void missing_members_are_zero(void **state)
{
    (void)state;
    struct record_side out;
    assert_int_equal(side_of("{\"outcome\":\"timeout\",\"x\":null,\"errno\":null}", &out), 0);
    assert_int_equal(out.outcome, RECORD_TIMEOUT);
    assert_true(out.connect_ns == 0 && out.total_ns == 0 && !out.acked && out.error == 0 && out.path[0] == '\0');
    assert_int_equal(json_object_size(out.fields), 1);
    record_side_clear(&out);
}

/* ---- joint ----------------------------------------------------------------------------------- */

static void joint_takes_the_later_side(void **state)
{
    (void)state;
    struct record_side a = ok_side(41000000), b = ok_side(42000000);
    a.total_ns = 900000000;
    json_t *j = record_joint(&trial, &a, &b);
    assert_string_equal(text(j, "outcome"), "ok");
    assert_int_equal(number(j, "schema"), 1);
    assert_string_equal(text(j, "type"), "trial");
    assert_string_equal(text(j, "cell"), trial.cell);
    assert_int_equal(number(j, "trial"), 17);
    assert_int_equal(number(j, "seed"), 4711);
    assert_string_equal(text(j, "path"), "direct");
    assert_int_equal(number(j, "connect_ns"), 42000000);
    assert_int_equal(number(j, "total_ns"), 900000000);
    assert_int_equal(number(j, "rtt_ns"), 40000000);
    assert_true(json_is_null(json_object_get(j, "predicted_p")));
    assert_int_equal(number(json_object_get(j, "phases_ns"), "verify"), 42000000 + RECORD_PHASE_VERIFY);
    assert_int_equal(number(json_object_get(j, "a"), "connect_ns"), 41000000);
    assert_int_equal(number(json_object_get(j, "b"), "connect_ns"), 42000000);
    assert_null(json_object_get(j, "phase"));
    json_decref(j);
}

static void assert_joint(const struct record_side *a, const struct record_side *b, const char *outcome,
                         const char *phase, const char *errno_name)
{
    json_t *j = record_joint(&trial, a, b);
    assert_string_equal(text(j, "outcome"), outcome);
    assert_string_equal(text(j, "phase"), phase);
    assert_string_equal(text(j, "errno_name"), errno_name);
    assert_true(json_is_null(json_object_get(j, "connect_ns")));
    assert_true(json_is_null(json_object_get(j, "path")));
    json_decref(j);
}

static void one_sides_word_is_not_enough(void **state)
{
    (void)state;
    struct record_side ok = ok_side(41000000), unacked = ok, timeless = ok;
    unacked.acked = false;
    timeless.connect_ns = 0;
    struct record_side late = failed_side(RECORD_TIMEOUT, RECORD_PHASE_VERIFY, 0);
    assert_joint(&ok, &late, "timeout", "verify", "(none)");
    assert_joint(&late, &ok, "timeout", "verify", "(none)");
    assert_joint(&ok, &unacked, "error", "verify", "EPROTO");
    assert_joint(&unacked, &unacked, "error", "verify", "EPROTO");
    assert_joint(&timeless, &ok, "error", "verify", "EPROTO");
    assert_joint(&ok, NULL, "error", "verify", "ENODATA");
    assert_joint(NULL, &late, "error", "verify", "ENODATA");
    assert_joint(NULL, NULL, "error", "join", "ENODATA");
}

static void the_most_specific_outcome_stands(void **state)
{
    (void)state;
    static const enum record_outcome order[] = {RECORD_TIMEOUT, RECORD_PREDICT_MISS, RECORD_INFEASIBLE,
                                                RECORD_REFUSED, RECORD_ERROR,        RECORD_AUTH_FAILED};
    for (size_t lo = 0; lo < BASE_ARRAY_LEN(order); lo++)
        for (size_t hi = lo; hi < BASE_ARRAY_LEN(order); hi++) {
            struct record_side a = failed_side(order[lo], RECORD_PHASE_OPEN, order[lo] == RECORD_ERROR ? EMFILE : 0);
            struct record_side b = failed_side(order[hi], RECORD_PHASE_OPEN, order[hi] == RECORD_ERROR ? EMFILE : 0);
            const char *name = record_outcome_name(order[hi]);
            const char *number_name = order[hi] == RECORD_ERROR ? "EMFILE" : "(none)";
            assert_joint(&a, &b, name, "open", number_name);
            assert_joint(&b, &a, name, "open", number_name);
        }
    /* Both in error, but only one of them could say why. */
    struct record_side error = failed_side(RECORD_ERROR, RECORD_PHASE_SAMPLE, ENETUNREACH);
    assert_joint(NULL, &error, "error", "sample", "ENETUNREACH");
}

/* Whoever is told that the other side gave up often goes on for longer: what it was told is not why. */
static void a_cause_stands_before_its_consequence(void **state)
{
    (void)state;
    struct record_side cause = failed_side(RECORD_ERROR, RECORD_PHASE_PLAN, EMFILE);
    struct record_side told = failed_side(RECORD_ERROR, RECORD_PHASE_EXCHANGE, ECANCELED);
    struct record_side mute = failed_side(RECORD_ERROR, RECORD_PHASE_OPEN, 0);
    told.total_ns = 3 * cause.total_ns;
    mute.total_ns = 2 * cause.total_ns;
    assert_joint(&cause, &told, "error", "plan", "EMFILE");
    assert_joint(&told, &cause, "error", "plan", "EMFILE");
    assert_joint(&mute, &cause, "error", "plan", "EMFILE");
    assert_joint(&told, &mute, "error", "open", "(none)");
    /* Two causes: of the side that went on longer. */
    struct record_side later = failed_side(RECORD_ERROR, RECORD_PHASE_SAMPLE, ENETUNREACH);
    later.total_ns = 2 * cause.total_ns;
    assert_joint(&cause, &later, "error", "sample", "ENETUNREACH");
    assert_joint(&later, &cause, "error", "sample", "ENETUNREACH");
}

/* ---- views ----------------------------------------------------------------------------------- */

static char *line_of(const struct record_trial *t, const struct record_side *a, const struct record_side *b)
{
    char *buf = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&buf, &len);
    json_t *j = record_joint(t, a, b);
    assert_int_equal(record_write_line(f, j), 0);
    json_decref(j);
    fclose(f);
    return buf;
}

static void view_reads_what_joint_wrote(void **state)
{
    (void)state;
    struct record_trial t = trial;
    t.predicted_p = 0.991;
    t.seed = UINT64_MAX - 1;
    struct record_side a = ok_side(41000000), b = ok_side(42000000);
    a.fields = json_pack("{s:s}", "note", "two\nlines");
    char *line = line_of(&t, &a, &b);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    struct record_view v;
    assert_int_equal(record_view_parse(line, strlen(line), &v), 0);
    assert_string_equal(v.cell, trial.cell);
    assert_string_equal(v.technique, "simopen");
    assert_string_equal(v.mode, "punch");
    assert_string_equal(v.transport, "tcp");
    assert_string_equal(v.path, "direct");
    assert_true(v.trial == 17 && v.seed == UINT64_MAX - 1 && v.connect_ns == 42000000);
    assert_int_equal(v.outcome, RECORD_OK);
    assert_true(fabs(v.predicted_p - 0.991) < 1e-9);
    free(line);
    record_side_clear(&a);

    line = line_of(&trial, &b, NULL);
    assert_int_equal(record_view_parse(line, strlen(line), &v), 0);
    assert_int_equal(v.outcome, RECORD_ERROR);
    assert_true(v.connect_ns == 0 && v.path[0] == '\0' && isnan(v.predicted_p));
    free(line);
}

static void view_reads_the_quality_of_the_path(void **state)
{
    (void)state;
    struct record_side a = ok_side(41000000), b = ok_side(42000000);
    a.fields = json_pack("{s:{s:I, s:I, s:I, s:I, s:n, s:I, s:I, s:s}}", "quality", "rtt_min_ns", (json_int_t)1,
                         "rtt_p50_ns", (json_int_t)2, "rtt_max_ns", (json_int_t)3, "up_bps", (json_int_t)50000000,
                         "down_bps", "up_sent", (json_int_t)100, "up_lost", (json_int_t)4, "why", "no_result");
    char *line = line_of(&trial, &a, &b);
    struct record_view v;
    assert_int_equal(record_view_parse(line, strlen(line), &v), 0);
    assert_true(v.measured);
    const struct record_quality *q = &v.quality;
    assert_true(q->rtt_min_ns == 1 && q->rtt_p50_ns == 2 && q->rtt_max_ns == 3);
    assert_true(q->up_bps == 50000000 && q->down_bps == 0 && q->up_sent == 100 && q->up_lost == 4);
    assert_true(q->down_sent == 0 && q->down_lost == 0);
    free(line);
    /* Role a's is it; who has none was not measured. */
    line = line_of(&trial, &b, &a);
    assert_int_equal(record_view_parse(line, strlen(line), &v), 0);
    assert_true(!v.measured && v.quality.up_bps == 0);
    free(line);
    record_side_clear(&a);
}

static void views_refuse_what_is_no_record(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int res;
    } cases[] = {
        {"", -EBADMSG},
        {"{", -EBADMSG},
        {"[1]", -EBADMSG},
        {"{}", -EBADMSG},
        {"{\"schema\":2,\"type\":\"trial\"}", -EPROTONOSUPPORT},
        {"{\"schema\":2,\"type\":\"other\"}", -EPROTONOSUPPORT},
        {"{\"schema\":\"1\",\"type\":\"trial\"}", -EBADMSG},
        {"{\"schema\":1,\"type\":\"run\",\"cell\":\"x\",\"trial\":0,\"outcome\":\"timeout\"}", -EBADMSG},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":\"x\",\"trial\":0,\"outcome\":\"timeout\"}", 0},
        {"{\"schema\":1,\"type\":\"trial\",\"trial\":0,\"outcome\":\"timeout\"}", -EBADMSG},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":\"x\",\"outcome\":\"timeout\"}", -EBADMSG},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":\"x\",\"trial\":-1,\"outcome\":\"timeout\"}", -EBADMSG},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":\"x\",\"trial\":0,\"outcome\":\"fine\"}", -EBADMSG},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":\"x\",\"trial\":0,\"outcome\":\"ok\"}", -EBADMSG},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":\"x\",\"trial\":0,\"outcome\":\"ok\",\"connect_ns\":9}", 0},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":\"x\",\"trial\":0,\"outcome\":\"timeout\",\"connect_ns\":9}",
         -EBADMSG},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":7,\"trial\":0,\"outcome\":\"timeout\"}", -EBADMSG},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":\"x\",\"trial\":0,\"trial\":1,\"outcome\":\"timeout\"}", -EBADMSG},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":\"x\",\"trial\":0,\"outcome\":\"timeout\"} x", -EBADMSG},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":\"x\",\"trial\":0,\"outcome\":\"timeout\",\"a\":{\"quality\":null}"
         "}",
         0},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":\"x\",\"trial\":0,\"outcome\":\"timeout\",\"a\":{\"quality\":5}}",
         -EBADMSG},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":\"x\",\"trial\":0,\"outcome\":\"timeout\","
         "\"a\":{\"quality\":{\"up_bps\":-1}}}",
         -EBADMSG},
        {"{\"schema\":1,\"type\":\"trial\",\"cell\":\"x\",\"trial\":0,\"outcome\":\"timeout\","
         "\"a\":{\"quality\":{\"rtt_min_ns\":\"1\"}}}",
         -EBADMSG},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        struct record_view v;
        if (record_view_parse(cases[i].line, strlen(cases[i].line), &v) != cases[i].res)
            fail_msg("wrong verdict on: %s", cases[i].line);
    }
}

/* A torn line must never pass for a shorter record. */
static void every_cut_line_is_refused(void **state)
{
    (void)state;
    struct record_side a = ok_side(41000000), b = ok_side(42000000);
    char *line = line_of(&trial, &a, &b);
    struct record_view v;
    for (size_t len = 0; len + 1 < strlen(line); len++)
        assert_int_equal(record_view_parse(line, len, &v), -EBADMSG);
    free(line);
}

static void names_round_trip(void **state)
{
    (void)state;
    for (unsigned i = 0; i < RECORD_OUTCOMES; i++) {
        enum record_outcome o = RECORD_OUTCOMES;
        assert_int_equal(record_outcome_parse(record_outcome_name(i), &o), 0);
        assert_int_equal(o, i);
    }
    enum record_outcome o;
    assert_int_equal(record_outcome_parse("OK", &o), -EINVAL);
    assert_int_equal(record_outcome_parse("", &o), -EINVAL);
    assert_string_equal(record_phase_name(RECORD_PHASE_JOIN), "join");
    assert_string_equal(record_phase_name(RECORD_PHASES), "?");
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    FILE *full = fopen("/dev/full", "w");
    if (!full) {
        print_message("skip: there is no /dev/full\n");
        skip();
    }
    json_t *j = record_joint(&trial, NULL, NULL);
    assert_int_equal(record_write_line(full, j), -ENOSPC);
    json_decref(j);
    fclose(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(side_round_trips),
        cmocka_unit_test(failed_side_round_trips),
        cmocka_unit_test(a_field_cannot_replace_a_member),
        cmocka_unit_test(foreign_sides_are_refused),
        cmocka_unit_test(missing_members_are_zero),
        cmocka_unit_test(joint_takes_the_later_side),
        cmocka_unit_test(one_sides_word_is_not_enough),
        cmocka_unit_test(the_most_specific_outcome_stands),
        cmocka_unit_test(a_cause_stands_before_its_consequence),
        cmocka_unit_test(view_reads_what_joint_wrote),
        cmocka_unit_test(view_reads_the_quality_of_the_path),
        cmocka_unit_test(views_refuse_what_is_no_record),
        cmocka_unit_test(every_cut_line_is_refused),
        cmocka_unit_test(names_round_trip),
        cmocka_unit_test(a_full_disk_is_told),
    };
    return cmocka_run_group_tests_name("record_joint", tests, NULL, NULL);
}
