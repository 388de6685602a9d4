/*
 * What reports and comparisons make of records. Pins: a trial counted for another cell or twice, a difference with the
 * wrong sign, pairs made of trials that one side does not have, a family of comparisons that counts cells with nothing
 * to compare, an option read from inside another one; a quality of a path that counts for another kind of path, or as 0
 * where it was not measured.
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

#include "bench/campaign/report.h"

static struct report_set set;

static int teardown(void **state)
{
    (void)state;
    report_set_free(&set);
    return 0;
}

static int add(const char *cell, uint64_t trial, enum record_outcome outcome, uint64_t connect_ns, double p,
               const char *why)
{
    struct record_view v = {.trial = trial, .outcome = outcome, .connect_ns = connect_ns, .predicted_p = p};
    struct report_cell *c = report_cell_get(&set, 0, cell);
    assert_non_null(c);
    return report_cell_add(&set, c, &v, why);
}

/* ---- cells ----------------------------------------------------------------------------------- */

static void finds_each_of_many_cells(void **state)
{
    (void)state;
    char name[64];
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "a%u/b/t/l", i);
        for (size_t run = 0; run < 2; run++)
            assert_non_null(report_cell_get(&set, run, name));
    }
    assert_int_equal(set.n, 6000);
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "a%u/b/t/l", i);
        for (size_t run = 0; run < 2; run++) {
            const struct report_cell *c = report_cell_find(&set, run, name);
            assert_true(c && c->run == run && strcmp(c->name, name) == 0);
        }
    }
    assert_null(report_cell_find(&set, 0, "a3000/b/t/l"));
    assert_null(report_cell_find(&set, 2, "a1/b/t/l"));
}

static void splits_names(void **state)
{
    (void)state;
    struct report_cell c = {.name = "home@x/open/tcp-1x1/rtt40"};
    report_cell_name_parts(&c, "ignored");
    assert_string_equal(c.nat_a, "home@x");
    assert_string_equal(c.nat_b, "open");
    assert_string_equal(c.label, "tcp-1x1");
    assert_string_equal(c.link, "rtt40");
    static const char *const odd[] = {"session", "a/b/c", "a/b/c/d/e"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(odd); i++) {
        struct report_cell o = {.run = 0};
        snprintf(o.name, sizeof(o.name), "%s", odd[i]);
        report_cell_name_parts(&o, "simopen-plain");
        assert_string_equal(o.nat_a, odd[i]);
        assert_string_equal(o.nat_b, "-");
        assert_string_equal(o.label, "simopen-plain");
        assert_string_equal(o.link, "-");
    }
    /* Longer than a part can be. */
    struct report_cell o = {.run = 0};
    memset(o.name, 'x', 200);
    snprintf(o.name + 200, sizeof(o.name) - 200, "/b/c/d");
    report_cell_name_parts(&o, NULL);
    assert_int_equal(strlen(o.nat_a), REPORT_PART_LEN - 1);
    assert_string_equal(o.label, "-");
}

static void counts_each_trial_once(void **state)
{
    (void)state;
    assert_int_equal(add("c", 0, RECORD_OK, 5, 0.5, ""), 0);
    assert_int_equal(add("c", 0, RECORD_OK, 5, 0.5, ""), -EEXIST);
    assert_int_equal(add("c", 1000, RECORD_TIMEOUT, 0, 0.7, ""), 0);
    assert_int_equal(add("c", 1000, RECORD_TIMEOUT, 0, 0.7, ""), -EEXIST);
    assert_int_equal(add("c", CAMPAIGN_MAX_TRIALS, RECORD_OK, 5, 0, ""), -ERANGE);
    /* Not tried, so no word on the prediction. */
    assert_int_equal(add("c", 2, RECORD_INFEASIBLE, 0, 0, ""), 0);
    const struct report_cell *c = report_cell_find(&set, 0, "c");
    assert_true(c->n == 3 && c->ok == 1 && c->n_connect == 1);
    assert_true(c->calibration.n == 2 && fabs(report_predicted(&c->calibration) - 0.6) < 1e-12);
    assert_true(report_cell_bit(c->won, c->bits, 0) && !report_cell_bit(c->won, c->bits, 1000));
    assert_true(report_cell_bit(c->seen, c->bits, 1000) && !report_cell_bit(c->seen, c->bits, 999));
    assert_false(report_cell_bit(c->seen, c->bits, UINT64_MAX));
}

static void reasons_beyond_the_last_are_other(void **state)
{
    (void)state;
    char why[32];
    for (unsigned i = 0; i < 40; i++) {
        snprintf(why, sizeof(why), "why%u", i);
        assert_int_equal(add("c", i, RECORD_TIMEOUT, 0, NAN, why), 0);
    }
    assert_int_equal(add("c", 40, RECORD_PREDICT_MISS, 0, NAN, "predict_miss"), 0);
    assert_int_equal(set.n_reasons, REPORT_REASONS);
    assert_string_equal(set.reasons[0], "timeout: why0");
    assert_string_equal(set.reasons[REPORT_REASONS - 1], "other");
    assert_true(set.cells[0].reasons[0] == 1 && set.cells[0].reasons[REPORT_REASONS - 1] == 41 - (REPORT_REASONS - 1));
    uint64_t sum = 0;
    for (size_t i = 0; i < REPORT_REASONS; i++)
        sum += set.cells[0].reasons[i];
    assert_true(sum == set.cells[0].n);
}

static void an_outcome_that_says_it_all_is_not_said_twice(void **state)
{
    (void)state;
    assert_int_equal(add("c", 0, RECORD_PREDICT_MISS, 0, NAN, "predict_miss"), 0);
    assert_int_equal(add("c", 1, RECORD_PREDICT_MISS, 0, NAN, ""), 0);
    assert_int_equal(set.n_reasons, 1);
    assert_string_equal(set.reasons[0], "predict_miss");
}

static void reads_options(void **state)
{
    (void)state;
    static const struct {
        const char *options, *name;
        uint64_t value;
    } cases[] = {
        {"--holes 545 --probes 11", "holes", 545},
        {"--holes 545 --probes=11", "probes", 11},
        {"--no-holes 5", "holes", 0},
        {"--holes-x 5 --holes 6", "holes", 6},
        {"--holes", "holes", 0},
        {"--holes x", "holes", 0},
        {"--holes 0", "holes", 0},
        {"--holes 99999999999999999999999", "holes", 0},
        {"", "holes", 0},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++)
        assert_true(report_option(cases[i].options, cases[i].name) == cases[i].value);
}

/* ---- quality of paths ------------------------------------------------------------------------ */

static void measure(const char *cell, uint64_t trial, const char *path, struct record_quality q)
{
    struct record_view v = {
        .trial = trial, .outcome = RECORD_OK, .connect_ns = 1, .predicted_p = NAN, .measured = true, .quality = q};
    snprintf(v.path, sizeof(v.path), "%s", path);
    struct report_cell *c = report_cell_get(&set, 0, cell);
    assert_non_null(c);
    if (!*c->link)
        report_cell_name_parts(c, "");
    assert_int_equal(report_cell_add(&set, c, &v, ""), 0);
}

static void qualities_are_of_a_cell_and_a_kind_of_path(void **state)
{
    (void)state;
    measure("a/b/relay/l1", 0, "relay", (struct record_quality){80, 85, 90, 5, 6, 0, 0, 0, 0});
    measure("a/b/udp/l2", 0, "direct", (struct record_quality){1, 2, 3, 4, 5, 0, 0, 0, 0});
    measure("a/b/udp/l1", 0, "hairpin", (struct record_quality){10, 11, 12, 7, 8, 100, 1, 50, 0});
    for (uint64_t i = 0; i < 3; i++)
        measure("a/b/udp/l1", 1 + i, "direct",
                (struct record_quality){40 - i, 42 + i, 50 + i, 10 * i, 20, 10, i, 10, 0});
    /* Not measured, and one that failed. */
    assert_int_equal(add("a/b/udp/l1", 9, RECORD_OK, 5, NAN, ""), 0);
    assert_int_equal(add("a/b/udp/l1", 10, RECORD_TIMEOUT, 0, NAN, ""), 0);
    struct report_quality_row *rows;
    size_t n;
    assert_int_equal(report_quality_rows(&set, &rows, &n), 0);
    assert_int_equal(n, 4);
    static const char *const want[][2] = {
        {"a/b/udp/l1", "direct"}, {"a/b/udp/l1", "hairpin"}, {"a/b/relay/l1", "relay"}, {"a/b/udp/l2", "direct"}};
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(rows[i].cell->name, want[i][0]);
        assert_string_equal(rows[i].path, want[i][1]);
    }
    const struct report_quality_row *r = &rows[0];
    assert_true(r->n == 3 && r->rtt.lo == 38 && r->rtt.mid == 43 && r->rtt.hi == 52);
    /* The first has no throughput up: it is no 0 in the median. */
    assert_true(r->up.n == 2 && r->up.lo == 10 && r->up.mid == 15 && r->up.hi == 20 && r->down.n == 3);
    assert_true(r->sent[0] == 30 && r->lost[0] == 3 && r->sent[1] == 30 && r->lost[1] == 0);
    assert_true(rows[1].n == 1 && rows[1].sent[0] == 100 && rows[1].lost[0] == 1);
    free(rows);
}

/* ---- differences ----------------------------------------------------------------------------- */

static struct report_cell *fill(const char *name, unsigned n, unsigned ok, uint64_t first_ns)
{
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(add(name, i, i < ok ? RECORD_OK : RECORD_TIMEOUT, i < ok ? first_ns + i : 0, NAN, ""), 0);
    return report_cell_find(&set, 0, name);
}

static void compares_independent_cells(void **state)
{
    (void)state;
    fill("a", 70, 56, 1000);
    fill("b", 80, 48, 2000);
    struct report_difference d;
    report_compare(report_cell_find(&set, 0, "a"), report_cell_find(&set, 0, "b"), false, &d);
    /* Newcombe 1998b, table II, (a): 56/70 - 48/80, method 10. */
    assert_true(fabs(d.diff - 0.2) < 1e-12);
    assert_true(fabs(d.interval.lo - 0.0524) < 5e-5 && fabs(d.interval.hi - 0.3339) < 5e-5);
    assert_true(d.median_diff < 0 && d.median_i.lo < d.median_diff && d.median_diff < d.median_i.hi);
    assert_true(d.ks_d == 1 && d.ks_p < 1e-9);
}

static void pairs_only_what_both_have(void **state)
{
    (void)state;
    fill("a", 10, 8, 1000);
    fill("b", 6, 2, 2000);
    struct report_difference d;
    report_compare(report_cell_find(&set, 0, "a"), report_cell_find(&set, 0, "b"), true, &d);
    assert_true(d.pairs.both == 2 && d.pairs.only_a == 4 && d.pairs.only_b == 0 && d.pairs.neither == 0);
    assert_true(fabs(d.diff - 4.0 / 6) < 1e-12);
    assert_true(fabs(d.p - 2 * pow(0.5, 4)) < 1e-12);
}

static void adjusts_only_what_was_compared(void **state)
{
    (void)state;
    fill("a", 20, 20, 1000);
    fill("b", 20, 0, 0);
    fill("c", 20, 20, 1000);
    report_cell_get(&set, 0, "empty");
    struct report_difference d[3];
    report_compare(report_cell_find(&set, 0, "a"), report_cell_find(&set, 0, "b"), false, &d[0]);
    report_compare(report_cell_find(&set, 0, "a"), report_cell_find(&set, 0, "c"), false, &d[1]);
    report_compare(report_cell_find(&set, 0, "a"), report_cell_find(&set, 0, "empty"), false, &d[2]);
    assert_int_equal(report_adjust(d, 3), 0);
    assert_true(fabs(d[0].p_holm - 2 * d[0].p) < 1e-15 && d[1].p_holm == 1);
    assert_true(isnan(d[2].diff) && isnan(d[2].p_holm));
    /* No success on one side: nothing to say of latencies. */
    assert_true(isnan(d[0].ks_p) && isnan(d[0].ks_p_holm) && isnan(d[0].median_diff));
    assert_true(d[1].ks_p == 1 && d[1].ks_p_holm == 1);
}

static void few_successes_leave_the_median_open(void **state)
{
    (void)state;
    fill("a", 20, 3, 1000);
    fill("b", 20, 20, 1000);
    struct report_latency l = report_latency(report_cell_find(&set, 0, "a"));
    assert_true(l.n == 3 && l.median == 1001 && l.lo == 0 && l.hi == 0);
    struct report_difference d;
    report_compare(report_cell_find(&set, 0, "a"), report_cell_find(&set, 0, "b"), false, &d);
    assert_true(isinf(d.median_i.lo) && isinf(d.median_i.hi));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(finds_each_of_many_cells, teardown),
        cmocka_unit_test_teardown(splits_names, teardown),
        cmocka_unit_test_teardown(counts_each_trial_once, teardown),
        cmocka_unit_test_teardown(reasons_beyond_the_last_are_other, teardown),
        cmocka_unit_test_teardown(an_outcome_that_says_it_all_is_not_said_twice, teardown),
        cmocka_unit_test_teardown(reads_options, teardown),
        cmocka_unit_test_teardown(qualities_are_of_a_cell_and_a_kind_of_path, teardown),
        cmocka_unit_test_teardown(compares_independent_cells, teardown),
        cmocka_unit_test_teardown(pairs_only_what_both_have, teardown),
        cmocka_unit_test_teardown(adjusts_only_what_was_compared, teardown),
        cmocka_unit_test_teardown(few_successes_leave_the_median_open, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
