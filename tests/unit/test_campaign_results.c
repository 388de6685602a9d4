/*
 * What a campaign counts and writes. Pins: a trial counted twice or not at all, a gap that a resumed run misses, a torn
 * line that counts, a rate or a quantile on the wrong trials, a control that lets one miss pass, an ETA out of nothing.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/campaign/config.h"
#include "bench/campaign/pace.h"
#include "bench/campaign/results.h"

static struct campaign_config config;
static struct campaign_cell cells[2];
static struct campaign_tally tallies[2];

static int setup(void **state)
{
    (void)state;
    char err[CAMPAIGN_ERROR_LEN];
    config = (struct campaign_config){.path = "c.ini", .trials = 10, .n_links = 1};
    assert_int_equal(campaign_link_set(&config.links[0], "rtt", "40ms", 0, err), 0);
    campaign_link_finish(&config.links[0]);
    snprintf(config.nats_a[0].name, sizeof(config.nats_a[0].name), "open");
    snprintf(config.nats_a[1].name, sizeof(config.nats_a[1].name), "linux-random");
    assert_int_equal(campaign_choice_parse("portspray:punch", &config.techniques[0], err), 0);
    for (size_t i = 0; i < 2; i++) {
        cells[i] = (struct campaign_cell){.nat_a = &config.nats_a[0],
                                          .nat_b = &config.nats_a[i],
                                          .choice = &config.techniques[0],
                                          .link = &config.links[0]};
        snprintf(cells[i].name, sizeof(cells[i].name), "open/%s/portspray-punch/rtt40", cells[i].nat_b->name);
        assert_int_equal(campaign_tally_init(&tallies[i], 0, config.trials), 0);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    campaign_tally_free(&tallies[0]);
    campaign_tally_free(&tallies[1]);
    return 0;
}

static int add(struct campaign_tally *t, uint64_t trial, enum record_outcome outcome, uint64_t connect_ns)
{
    struct record_view v = {.trial = trial, .outcome = outcome, .connect_ns = connect_ns, .predicted_p = NAN};
    return campaign_tally_add(t, &v);
}

/* ---- tally ----------------------------------------------------------------------------------- */

static void counts_each_trial_once(void **state)
{
    (void)state;
    struct campaign_tally *t = &tallies[0];
    assert_int_equal(add(t, 0, RECORD_OK, 5), 0);
    assert_int_equal(add(t, 0, RECORD_OK, 5), -EEXIST);
    assert_int_equal(add(t, 9, RECORD_TIMEOUT, 0), 0);
    assert_int_equal(add(t, 10, RECORD_OK, 5), -ERANGE);
    assert_true(t->measured == 2 && t->n_connect == 1 && t->outcomes[RECORD_OK] == 1);
}

static void finds_every_gap(void **state)
{
    (void)state;
    struct campaign_tally *t = &tallies[0];
    uint64_t first, count;
    assert_true(campaign_tally_missing(t, 0, &first, &count) && first == 0 && count == 10);
    static const uint64_t done[] = {0, 1, 4, 9};
    for (size_t i = 0; i < BASE_ARRAY_LEN(done); i++)
        assert_int_equal(add(t, done[i], RECORD_TIMEOUT, 0), 0);
    assert_true(campaign_tally_missing(t, 0, &first, &count) && first == 2 && count == 2);
    assert_true(campaign_tally_missing(t, 4, &first, &count) && first == 5 && count == 4);
    assert_false(campaign_tally_missing(t, 9, &first, &count));
    assert_false(campaign_tally_missing(t, 10, &first, &count));
}

/* ---- resuming -------------------------------------------------------------------------------- */

static int resume(const char *text, long *good, bool *torn, char err[CAMPAIGN_ERROR_LEN])
{
    FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    assert_non_null(in);
    int res = campaign_resume_read(in, cells, tallies, 2, good, torn, err);
    fclose(in);
    return res;
}

#define LINE(cell, trial, end) "{\"schema\":1,\"type\":\"trial\",\"cell\":\"" cell "\",\"trial\":" trial "," end "}"
#define A                      "open/open/portspray-punch/rtt40"
#define B                      "open/linux-random/portspray-punch/rtt40"
#define OK                     "\"outcome\":\"ok\",\"connect_ns\":41000000"
#define LATE                   "\"outcome\":\"timeout\""

static void resumes_what_is_there(void **state)
{
    (void)state;
    char err[CAMPAIGN_ERROR_LEN];
    long good;
    bool torn;
    const char *text = LINE(A, "3", OK) "\n" LINE(B, "0", LATE) "\n";
    assert_int_equal(resume(text, &good, &torn, err), 0);
    assert_false(torn);
    assert_int_equal(good, strlen(text));
    assert_true(tallies[0].done[3] && tallies[0].outcomes[RECORD_OK] == 1);
    assert_true(tallies[1].done[0] && tallies[1].outcomes[RECORD_TIMEOUT] == 1);
}

static void a_torn_line_does_not_count(void **state)
{
    (void)state;
    char err[CAMPAIGN_ERROR_LEN];
    long good;
    bool torn;
    /* Whole but for its end: it was never finished, so it is measured again. */
    assert_int_equal(resume(LINE(A, "3", OK) "\n" LINE(B, "0", LATE), &good, &torn, err), 0);
    assert_true(torn);
    assert_int_equal(good, strlen(LINE(A, "3", OK) "\n"));
    assert_true(tallies[0].measured == 1 && tallies[1].measured == 0);
}

static void resume_refuses_what_is_not_its_own(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"garbage\n", "line 1: no trial record"},
        {"\n", "line 1: no trial record"},
        {LINE("mars", "0", OK) "\n", "line 1: this campaign has no cell 'mars'"},
        {LINE(A, "10", OK) "\n", "line 1: this campaign has no trial 10"},
        {LINE(A, "7", OK) "\n" LINE(A, "7", LATE) "\n", "line 2: trial 7 of " A " is there twice"},
        {"{\"schema\":2,\"type\":\"trial\"}\n", "line 1: a record of a newer version"},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        char err[CAMPAIGN_ERROR_LEN];
        long good;
        bool torn;
        assert_true(resume(cases[i].text, &good, &torn, err) < 0);
        assert_non_null(strstr(err, cases[i].why));
    }
}

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Pins a NAT whose own outer NAT may change between a run and its resumption without a word. */
static void outer_nats_are_described_and_compared(void **state)
{
    (void)state;
    char dir[] = "/tmp/punchbench-test.XXXXXX", path[PATH_MAX], err[CAMPAIGN_ERROR_LEN];
    const char *const names[] = {"inner.ini", "middle.ini", "outer.ini"};
    assert_non_null(mkdtemp(dir));
    config.profiles.n = 1;
    snprintf(config.profiles.list[0].name, sizeof(config.profiles.list[0].name), "inner");
    put_file(dir, "inner.ini", "backend = emulated\nunder = middle\n");
    put_file(dir, "middle.ini", "backend = emulated\nunder = outer\n");
    put_file(dir, "outer.ini", "udp-timeout = 30\n");
    json_t *one = campaign_run_json(&config, cells, 2, NULL, dir, "x");
    assert_int_equal(json_object_size(json_object_get(one, "profiles")), 3);
    put_file(dir, "outer.ini", "udp-timeout = 31\n");
    json_t *other = campaign_run_json(&config, cells, 2, NULL, dir, "x");
    assert_false(campaign_run_same(one, other, err));
    assert_non_null(strstr(err, "profiles outer"));
    /* Under each other: refused when a lab is made of them; here it has to end. */
    put_file(dir, "outer.ini", "under = inner\n");
    json_t *circle = campaign_run_json(&config, cells, 2, NULL, dir, "x");
    assert_int_equal(json_object_size(json_object_get(circle, "profiles")), 3);
    json_decref(one);
    json_decref(other);
    json_decref(circle);
    for (size_t i = 0; i < BASE_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}

static void run_descriptions_compare(void **state)
{
    (void)state;
    char err[CAMPAIGN_ERROR_LEN];
    json_t *one = campaign_run_json(&config, cells, 2, NULL, "bench/profiles", "x");
    json_t *same = campaign_run_json(&config, cells, 2, NULL, "bench/profiles", "another kernel");
    json_t *filtered = campaign_run_json(&config, cells, 1, "open/open/*", "bench/profiles", "x");
    config.trials = 11;
    json_t *longer = campaign_run_json(&config, cells, 2, NULL, "bench/profiles", "x");
    assert_non_null(one);
    assert_true(campaign_run_same(one, same, err));
    assert_false(campaign_run_same(one, longer, err));
    assert_string_equal(err, "campaign trials is 10 there and 11 here");
    json_t *grown = campaign_run_grow(one, longer);
    assert_non_null(grown);
    assert_true(campaign_run_same(grown, longer, err));
    assert_null(campaign_run_grow(longer, one));
    /* What is expected is no part of what is measured. */
    json_t *hoping = json_deep_copy(one);
    json_object_set_new(json_object_get(hoping, "campaign"), "expect", json_pack("[s]", "*/*/* = 100%"));
    assert_false(campaign_run_same(one, hoping, err));
    json_decref(grown);
    grown = campaign_run_grow(one, hoping);
    assert_non_null(grown);
    assert_true(campaign_run_same(grown, hoping, err));
    json_decref(hoping);
    assert_null(campaign_run_grow(filtered, longer));
    json_decref(grown);
    assert_false(campaign_run_same(one, filtered, err));
    json_object_del(same, "schema");
    assert_false(campaign_run_same(same, one, err));
    /* The same names over another link. */
    config.trials = 10;
    assert_int_equal(campaign_link_set(&config.links[0], "a-loss-up", "1%", 0, err), 0);
    campaign_link_finish(&config.links[0]);
    json_t *lossy = campaign_run_json(&config, cells, 2, NULL, "bench/profiles", "x");
    assert_false(campaign_run_same(one, lossy, err));
    assert_non_null(strstr(err, "links"));
    json_decref(lossy);
    json_t *number = json_integer(3);
    assert_false(campaign_run_same(number, one, err));
    json_decref(number);
    json_decref(one);
    json_decref(same);
    json_decref(filtered);
    json_decref(longer);
}

/* ---- summary --------------------------------------------------------------------------------- */

static char *csv(void)
{
    char *buf = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&buf, &len);
    campaign_summary_csv(f, cells, tallies, 2);
    fclose(f);
    return buf;
}

static void csv_has_a_row_a_cell(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(add(&tallies[0], i, RECORD_OK, 40000000 + 1000000 * (3 - i)), 0);
    assert_int_equal(add(&tallies[0], 5, RECORD_TIMEOUT, 0), 0);
    char *text = csv();
    assert_string_equal(
        text,
        "cell,nat_a,nat_b,technique,mode,transport,link,rtt_ms,trials,ok,rate,wilson_lo,wilson_hi,predicted,brier,"
        "connect_p50_ns,connect_p99_ns,timeout,refused,predict_miss,infeasible,auth_failed,error,direct,private,"
        "hairpin,"
        "reversed,relay\n" A
        ",open,open,portspray,punch,udp,rtt40,40,5,4,0.800000,0.375535,0.963776,,,41500000,42970000,1,0,0,0,0,"
        "0,0,0,0,0,0\n" B
        ",open,linux-random,portspray,punch,udp,rtt40,40,0,0,,0.000000,1.000000,,,,,0,0,0,0,0,0,0,0,0,0,0\n");
    free(text);
}

static size_t check(const char *value, char **out)
{
    char err[CAMPAIGN_ERROR_LEN];
    size_t len = 0;
    FILE *f = open_memstream(out, &len);
    assert_int_equal(campaign_expect_parse("open/*/*", value, &config.expects[0], err), 0);
    config.expects[0].line = 9;
    config.n_expects = 1;
    size_t violated = campaign_summary_check(f, &config, cells, tallies, 2);
    fclose(f);
    return violated;
}

static void one_miss_violates_a_control(void **state)
{
    (void)state;
    char *text;
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(add(&tallies[0], i, i ? RECORD_OK : RECORD_TIMEOUT, i ? 40000000 : 0), 0);
    assert_int_equal(check("100%", &text), 1);
    assert_string_equal(text, "not as expected: " A ": 9 of 10 ok, but c.ini:9 says open/*/* = 100%\n");
    free(text);
    static const struct {
        const char *value;
        size_t violated;
    } cases[] = {{"90%", 0},
                 {">= 90%", 0},
                 {">= 91%", 0},
                 {">= 96%", 1},
                 {"<= 90%", 0},
                 {"<= 80%", 1},
                 {"0%", 1},
                 /* Wilson at 99.9 %: 0.392 to 0.992. */
                 {"~ 40%", 0},
                 {"~39%", 1},
                 {"~ 99%", 0},
                 {"~ 99.5%", 1}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        assert_int_equal(check(cases[i].value, &text), cases[i].violated);
        free(text);
    }
}

/* Nine private ones and a hairpin. */
static void a_path_that_was_not_expected_violates_a_control(void **state)
{
    (void)state;
    char *text;
    for (uint64_t i = 0; i < 10; i++) {
        struct record_view v = {.trial = i, .outcome = RECORD_OK, .connect_ns = 40000000, .predicted_p = NAN};
        snprintf(v.path, sizeof(v.path), "%s", i ? "private" : "hairpin");
        assert_int_equal(campaign_tally_add(&tallies[0], &v), 0);
    }
    assert_int_equal(check("100% private", &text), 1);
    assert_string_equal(text, "not as expected: " A ": 10 of 10 ok, by private 9, hairpin 1, but c.ini:9 says "
                              "open/*/* = 100% private\n");
    free(text);
    static const struct {
        const char *value;
        size_t violated;
    } cases[] = {{"100%", 0},
                 {"100% private|hairpin", 0},
                 {">= 99%  relay|hairpin|private", 0},
                 {"100% direct|private", 1},
                 {"~ 99% hairpin", 1},
                 {"50% private|hairpin", 1}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        assert_int_equal(check(cases[i].value, &text), cases[i].violated);
        free(text);
    }
}

/* Two cells of which the plans said 0.9 and 0.75; what was called infeasible was not tried. */
static void predictions_beside_outcomes(void **state)
{
    (void)state;
    char *text;
    size_t len = 0;
    for (uint64_t i = 0; i < 10; i++) {
        struct record_view v = {.trial = i, .outcome = i < 9 ? RECORD_OK : RECORD_PREDICT_MISS, .predicted_p = 0.9};
        assert_int_equal(campaign_tally_add(&tallies[0], &v), 0);
        v = (struct record_view){
            .trial = i, .outcome = i < 2 ? RECORD_INFEASIBLE : RECORD_TIMEOUT, .predicted_p = 0.75};
        assert_int_equal(campaign_tally_add(&tallies[1], &v), 0);
    }
    FILE *f = open_memstream(&text, &len);
    campaign_summary_calibration(f, tallies, 2);
    fclose(f);
    assert_string_equal(text, "predicted    mean   ok/trials  measured    95 % interval\n"
                              "0.7 - 0.8  0.7500        0/8     0.0 %    0.0 -  32.4 %  outside\n"
                              "0.9 - 1.0  0.9000       9/10    90.0 %   59.6 -  98.2 %\n"
                              "Brier score 0.3000 over 18 trials\n");
    free(text);
    /* Open/open is as predicted, open/linux-random is not. */
    assert_int_equal(check("predicted", &text), 1);
    assert_non_null(strstr(text, "not as expected: " B ": 0 of 10 ok"));
    free(text);
}

static void the_table_is_for_people(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    assert_int_equal(add(&tallies[0], 0, RECORD_OK, 41873211), 0);
    assert_int_equal(add(&tallies[1], 0, RECORD_TIMEOUT, 0), 0);
    FILE *f = open_memstream(&text, &len);
    campaign_summary_table(f, cells, tallies, 2);
    fclose(f);
    assert_non_null(strstr(text, "1/1"));
    assert_non_null(strstr(text, " 20.7 - 100.0 %      41.9 ms      41.9 ms\n"));
    assert_non_null(strstr(text, "0/1    0.0 -  79.3 %            -            -\n"));
    free(text);
}

/* ---- progress -------------------------------------------------------------------------------- */

static void the_status_line(void **state)
{
    (void)state;
    char buf[160];
    campaign_progress_format(40, 100, 3, NAN, buf, sizeof(buf));
    assert_string_equal(buf, "40/100 trials, 3 workers");
    campaign_progress_format(50, 100, 3, 25.4, buf, sizeof(buf));
    assert_string_equal(buf, "50/100 trials, 3 workers, about 25 s left");
    campaign_progress_format(100, 100, 0, 0, buf, sizeof(buf));
    assert_string_equal(buf, "100/100 trials, 0 workers");
    campaign_progress_format(50, 100000, 3, 49975, buf, sizeof(buf));
    assert_string_equal(buf, "50/100000 trials, 3 workers, about 13.9 h left");
}

/* Mixed cells: 0.1 s and 2 s a trial. A mean over all trials would say 20 s for the first case. */
static void the_time_left_is_of_the_cells_that_are_left(void **state)
{
    (void)state;
    struct campaign_left mixed[] = {
        {.technique = 0, .left = 0, .made = 90, .spent_ns = 9 * BASE_NS_PER_S},
        {.technique = 1, .left = 100, .chain = 50, .made = 10, .spent_ns = 20 * BASE_NS_PER_S},
    };
    assert_true(fabs(campaign_eta(mixed, 2, 1) - 200) < 1e-9);
    assert_true(fabs(campaign_eta(mixed, 2, 2) - 100) < 1e-9);
    /* However many workers there are, one has to make the longest range. */
    assert_true(fabs(campaign_eta(mixed, 2, 100) - 100) < 1e-9);
    /* A cell that has not begun takes what its technique takes; a technique that has not, what all take. */
    struct campaign_left fresh[] = {mixed[0], {.technique = 0, .left = 10, .chain = 1}};
    assert_true(fabs(campaign_eta(fresh, 2, 1) - 1) < 1e-9);
    struct campaign_left other[] = {mixed[0], mixed[1], {.technique = 2, .left = 100, .chain = 1}};
    other[1].left = other[1].chain = 0;
    assert_true(fabs(campaign_eta(other, 3, 1) - 29) < 1e-9);
    assert_true(isnan(campaign_eta(&fresh[1], 1, 4)) && isnan(campaign_eta(mixed, 2, 0)));
}

#define WITH_CELLS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CELLS(counts_each_trial_once),
        WITH_CELLS(finds_every_gap),
        WITH_CELLS(resumes_what_is_there),
        WITH_CELLS(a_torn_line_does_not_count),
        WITH_CELLS(resume_refuses_what_is_not_its_own),
        WITH_CELLS(run_descriptions_compare),
        WITH_CELLS(outer_nats_are_described_and_compared),
        WITH_CELLS(csv_has_a_row_a_cell),
        WITH_CELLS(one_miss_violates_a_control),
        WITH_CELLS(a_path_that_was_not_expected_violates_a_control),
        WITH_CELLS(predictions_beside_outcomes),
        WITH_CELLS(the_table_is_for_people),
        cmocka_unit_test(the_status_line),
        cmocka_unit_test(the_time_left_is_of_the_cells_that_are_left),
    };
    return cmocka_run_group_tests_name("campaign_results", tests, NULL, NULL);
}
