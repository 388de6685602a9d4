/*
 * What is held against what: techniques over TCP and UDP, cells and their plans' predictions, and how many comparisons
 * remain when there are many. Pins: the second technique beside the first one's counterpart, cells of one link beside
 * those of another, a prediction that leaves out what was called infeasible, a cell outside its prediction that counts
 * as inside or the other way round, adjustments that count cells with nothing to compare, causes of failure in an order
 * that the order of the trials decides.
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

#include "bench/campaign/report_plots.h"

static struct report_set set;

static int teardown(void **state)
{
    (void)state;
    report_set_free(&set);
    return 0;
}

static struct report_cell *cell(const char *name, const char *transport)
{
    struct report_cell *c = report_cell_get(&set, 0, name);
    assert_non_null(c);
    report_cell_name_parts(c, NULL);
    snprintf(c->transport, sizeof(c->transport), "%s", transport);
    return c;
}

/* `n` further trials with that end. */
static void add(const char *name, unsigned n, enum record_outcome outcome, double p, const char *why)
{
    struct report_cell *c = report_cell_find(&set, 0, name);
    assert_non_null(c);
    for (unsigned i = 0; i < n; i++) {
        struct record_view v = {
            .trial = c->n, .outcome = outcome, .connect_ns = outcome == RECORD_OK ? 1000000 : 0, .predicted_p = p};
        assert_int_equal(report_cell_add(&set, c, &v, why), 0);
    }
}

/* ---- TCP beside UDP -------------------------------------------------------------------------- */

static void make_techniques(void)
{
    static const struct {
        const char *label, *transport;
    } techniques[] = {{"t1", "tcp"}, {"t2", "tcp"}, {"u1", "udp"}, {"none", "udp"}, {"u2", "udp"}, {"u3", "udp"}};
    static const char *const links[] = {"rtt40", "dsl"}, *const nats[] = {"x", "y"};
    char name[64];
    for (size_t l = 0; l < 2; l++)
        for (size_t n = 0; n < 2; n++)
            for (size_t i = 0; i < BASE_ARRAY_LEN(techniques); i++) {
                snprintf(name, sizeof(name), "a/%s/%s/%s", nats[n], techniques[i].label, links[l]);
                cell(name, techniques[i].transport);
            }
}

static void techniques_pair_up_in_their_order(void **state)
{
    (void)state;
    make_techniques();
    struct report_pairings p;
    assert_int_equal(report_pairings_find(&set, &p), 0);
    static const char *const want[][3] = {
        {"t1", "u1", "rtt40"}, {"t2", "u2", "rtt40"}, {"t1", "u1", "dsl"}, {"t2", "u2", "dsl"}};
    assert_int_equal(p.n, BASE_ARRAY_LEN(want));
    for (size_t i = 0; i < p.n; i++) {
        assert_string_equal(p.list[i].tcp->label, want[i][0]);
        assert_string_equal(p.list[i].udp->label, want[i][1]);
        assert_string_equal(p.list[i].tcp->link, want[i][2]);
        assert_string_equal(p.list[i].udp->link, want[i][2]);
    }
    /* One over UDP is left; the control is no technique. */
    assert_int_equal(p.n_alone, 2);
    assert_string_equal(p.alone[0]->label, "u3");
    report_pairings_free(&p);
}

static void techniques_pair_up_as_asked(void **state)
{
    (void)state;
    make_techniques();
    set.beside[0][0] = "t2";
    set.beside[0][1] = "u1";
    set.beside[1][0] = "u2";
    set.beside[1][1] = "u3";
    set.n_beside = 2;
    struct report_pairings p;
    assert_int_equal(report_pairings_find(&set, &p), 0);
    assert_int_equal(p.n, 4);
    assert_string_equal(p.list[0].tcp->label, "t2");
    assert_string_equal(p.list[0].udp->label, "u1");
    assert_string_equal(p.list[1].tcp->label, "u2");
    assert_string_equal(p.list[1].udp->label, "u3");
    assert_true(report_same_place(p.list[2].tcp, p.list[3].udp) && !report_same_place(p.list[1].tcp, p.list[2].tcp));
    assert_int_equal(p.n_alone, 2);
    assert_string_equal(p.alone[0]->label, "t1");
    report_pairings_free(&p);
}

static void labels_are_two(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a", ",", "a,", ",b", "a,b,c"};
    const char *out[2];
    char text[16];
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof(text), "%s", bad[i]);
        assert_false(report_split_labels(text, out));
    }
    snprintf(text, sizeof(text), "a,b");
    assert_true(report_split_labels(text, out));
    assert_string_equal(out[0], "a");
    assert_string_equal(out[1], "b");
}

/* ---- predictions ----------------------------------------------------------------------------- */

static const struct report_prediction *prediction_of(const struct report_predictions *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->list[i].cell->name, name) == 0)
            return &p->list[i];
    return NULL;
}

static void cells_are_held_against_their_predictions(void **state)
{
    (void)state;
    static const char *const names[] = {"good", "bad", "mixed", "untried", "plain", "certain"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(names); i++)
        cell(names[i], "tcp");
    add("good", 95, RECORD_OK, 0.96, "");
    add("good", 5, RECORD_TIMEOUT, 0.96, "");
    add("bad", 50, RECORD_OK, 0.96, "");
    add("bad", 50, RECORD_TIMEOUT, 0.96, "");
    /* Half of the trials were tried, at 0.9: 0.45 of all. */
    add("mixed", 45, RECORD_OK, 0.9, "");
    add("mixed", 5, RECORD_PREDICT_MISS, 0.9, "");
    add("mixed", 50, RECORD_INFEASIBLE, 0.001, "");
    add("untried", 10, RECORD_INFEASIBLE, 0.001, "");
    add("plain", 10, RECORD_OK, NAN, "");
    /* Certain was said, and one failed: never by chance. */
    add("certain", 99, RECORD_OK, 1, "");
    add("certain", 1, RECORD_TIMEOUT, 1, "");
    assert_true(fabs(report_expected(report_cell_find(&set, 0, "mixed")) - 0.45) < 1e-12);
    assert_true(report_expected(report_cell_find(&set, 0, "untried")) == 0);
    assert_true(isnan(report_expected(report_cell_find(&set, 0, "plain"))));
    struct report_predictions p;
    assert_int_equal(report_predictions(&set, 0, &p), 0);
    assert_true(p.n == 4 && p.inside == 2 && p.untried == 1 && p.holm == 2 && p.bh == 2);
    assert_true(prediction_of(&p, "good")->inside && prediction_of(&p, "mixed")->inside);
    assert_false(prediction_of(&p, "bad")->inside);
    assert_false(prediction_of(&p, "certain")->inside);
    assert_true(p.list[0].p <= p.list[1].p && p.list[1].p <= p.list[2].p && p.list[2].p <= p.list[3].p);
    free(p.list);
    /* Of another run: nothing. */
    assert_int_equal(report_predictions(&set, 1, &p), 0);
    assert_true(p.n == 0 && p.untried == 0);
    free(p.list);
}

static void a_certain_success_is_inside(void **state)
{
    (void)state;
    cell("sure", "udp");
    add("sure", 100, RECORD_OK, 1, "");
    cell("nearly", "udp");
    add("nearly", 70, RECORD_OK, 1 - 1e-12, "");
    struct report_predictions p;
    assert_int_equal(report_predictions(&set, 0, &p), 0);
    assert_true(p.n == 2 && p.inside == 2 && p.holm == 0 && p.list[0].p == 1 && p.list[1].p == 1);
    free(p.list);
}

/* ---- many comparisons ------------------------------------------------------------------------ */

static void counts_what_remains(void **state)
{
    (void)state;
    /* 20 comparisons: one that is sure, one at p = 0.03 that only stands alone, 18 without any difference. */
    struct report_difference d[21];
    for (unsigned i = 0; i < 21; i++) {
        char a[16], b[16];
        snprintf(a, sizeof(a), "a%u", i);
        snprintf(b, sizeof(b), "b%u", i);
        cell(a, "tcp");
        cell(b, "udp");
        if (i < 20) {
            add(a, 100, i == 0 ? RECORD_TIMEOUT : RECORD_OK, NAN, "");
            add(b, i == 1 ? 94 : 100, RECORD_OK, NAN, "");
            add(b, i == 1 ? 6 : 0, RECORD_TIMEOUT, NAN, "");
        }
    }
    for (unsigned i = 0; i < 21; i++) {
        char a[16], b[16];
        snprintf(a, sizeof(a), "a%u", i);
        snprintf(b, sizeof(b), "b%u", i);
        report_compare(report_cell_find(&set, 0, a), report_cell_find(&set, 0, b), false, &d[i]);
    }
    assert_int_equal(report_adjust(d, 21), 0);
    struct report_counts k = report_count(d, 21);
    assert_true(k.n == 20 && k.above == 1 && k.below == 1 && k.holm == 1 && k.bh == 1);
    assert_true(d[1].p < 0.05 && fabs(d[1].p_holm - 19 * d[1].p) < 1e-12 && fabs(d[1].p_bh - 10 * d[1].p) < 1e-12);
    assert_true(isnan(d[20].p_bh));
}

/* ---- causes ---------------------------------------------------------------------------------- */

static void causes_do_not_depend_on_the_order_of_trials(void **state)
{
    (void)state;
    cell("c", "tcp");
    add("c", 1, RECORD_TIMEOUT, NAN, "window_check");
    add("c", 2, RECORD_REFUSED, NAN, "");
    add("c", 3, RECORD_ERROR, NAN, "capped");
    report_reasons_sort(&set);
    assert_int_equal(set.n_reasons, 3);
    assert_string_equal(set.reasons[0], "error: capped");
    assert_string_equal(set.reasons[1], "refused");
    assert_string_equal(set.reasons[2], "timeout: window_check");
    const struct report_cell *c = report_cell_find(&set, 0, "c");
    assert_true(c->reasons[0] == 3 && c->reasons[1] == 2 && c->reasons[2] == 1);
    /* What comes later finds its place. */
    add("c", 1, RECORD_REFUSED, NAN, "");
    assert_true(c->reasons[1] == 3);
    char why[16];
    for (unsigned i = 0; i < 20; i++) {
        snprintf(why, sizeof(why), "w%02u", 30 - i);
        add("c", 1, RECORD_AUTH_FAILED, NAN, why);
    }
    report_reasons_sort(&set);
    assert_string_equal(set.reasons[0], "auth_failed: w19");
    assert_string_equal(set.reasons[REPORT_REASONS - 1], "other");
    uint64_t sum = 0;
    for (size_t i = 0; i < REPORT_REASONS; i++)
        sum += c->reasons[i];
    assert_true(sum == c->n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(techniques_pair_up_in_their_order, teardown),
        cmocka_unit_test_teardown(techniques_pair_up_as_asked, teardown),
        cmocka_unit_test(labels_are_two),
        cmocka_unit_test_teardown(cells_are_held_against_their_predictions, teardown),
        cmocka_unit_test_teardown(a_certain_success_is_inside, teardown),
        cmocka_unit_test_teardown(counts_what_remains, teardown),
        cmocka_unit_test_teardown(causes_do_not_depend_on_the_order_of_trials, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
