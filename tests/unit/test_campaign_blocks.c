/*
 * Ranges of trials. Pins: a trial that no shard measures or that two do, a shard that differs between two machines, a
 * cell that goes on after its interval is narrow enough or ends before, a range across a block's end, a budget that
 * rules the wrong cells, numbers of trials that do not begin behind the warm-up's, and a latency.hlog that does not
 * agree with the trials.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/campaign/config.h"
#include "bench/campaign/results.h"
#include "bench/hist/hist.h"

#define CELLS 7

static struct campaign_config config;
static struct campaign_tally tallies[CELLS];
/* One shorter than a block, one exactly as long, some that end amid one. */
static const uint64_t budgets[CELLS] = {1, 9, 10, 11, 100, 105, 30};

static int setup(void **state)
{
    (void)state;
    config = (struct campaign_config){.seed = 3, .trials = 100, .block = 10};
    for (size_t i = 0; i < CELLS; i++)
        assert_int_equal(campaign_tally_init(&tallies[i], 0, budgets[i]), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < CELLS; i++)
        campaign_tally_free(&tallies[i]);
    return 0;
}

static void add(struct campaign_tally *t, uint64_t trial, bool ok)
{
    struct record_view v = {
        .trial = trial, .outcome = ok ? RECORD_OK : RECORD_TIMEOUT, .connect_ns = 1000000 * trial, .total_ns = 3000000};
    assert_int_equal(campaign_tally_add(t, &v), 0);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static void ranges_end_where_blocks_do(void **state)
{
    (void)state;
    static const struct {
        uint64_t first, count;
    } want[] = {{0, 3}, {4, 6}, {10, 10}, {20, 3}, {25, 5}};
    uint64_t from = 0, first, count;
    add(&tallies[6], 3, true);
    add(&tallies[6], 23, true);
    add(&tallies[6], 24, true);
    for (size_t i = 0; i < BASE_ARRAY_LEN(want); i++) {
        assert_true(campaign_range_next(&config, &tallies[6], &from, &first, &count));
        assert_true(first == want[i].first && count == want[i].count && from == first + count);
    }
    assert_false(campaign_range_next(&config, &tallies[6], &from, &first, &count));
}

static void trials_begin_behind_the_warm_up(void **state)
{
    (void)state;
    struct campaign_tally t;
    uint64_t from = 0, first, count;
    assert_int_equal(campaign_tally_init(&t, 4, 15), 0);
    struct record_view v = {.trial = 3, .outcome = RECORD_TIMEOUT};
    assert_int_equal(campaign_tally_add(&t, &v), -ERANGE);
    v.trial = 19;
    assert_int_equal(campaign_tally_add(&t, &v), -ERANGE);
    assert_true(campaign_range_next(&config, &t, &from, &first, &count) && first == 4 && count == 10);
    assert_true(campaign_range_next(&config, &t, &from, &first, &count) && first == 14 && count == 5);
    assert_false(campaign_range_next(&config, &t, &from, &first, &count));
    assert_false(campaign_tally_has(&t, 4));
    add(&t, 4, true);
    assert_true(campaign_tally_has(&t, 4) && !campaign_tally_has(&t, 0) && !campaign_tally_has(&t, 19));
    campaign_tally_free(&t);
}

/* ---- until ----------------------------------------------------------------------------------- */

/* Measures as a campaign would; how many trials came of it. */
static uint64_t measure(struct campaign_tally *t, unsigned ok_of_10)
{
    uint64_t from = 0, first, count;
    while (campaign_range_next(&config, t, &from, &first, &count)) {
        /* One block at a time. */
        uint64_t again = first + count, f, n;
        assert_false(campaign_range_next(&config, t, &again, &f, &n));
        for (uint64_t i = 0; i < count; i++)
            add(t, first + i, (first + i) % 10 < ok_of_10);
        from = 0;
    }
    return t->measured;
}

static void a_cell_ends_when_its_interval_is_narrow(void **state)
{
    (void)state;
    /* Wilson, 95 %, of 10 of 10: 0.2775 wide; of 20 of 20: 0.1611; of 30 of 30: 0.1135 (Newcombe 1998a). */
    config.until_width = 0.28;
    assert_int_equal(measure(&tallies[4], 10), 10);
    campaign_tally_free(&tallies[4]);
    assert_int_equal(campaign_tally_init(&tallies[4], 0, 100), 0);
    config.until_width = 0.162;
    assert_int_equal(measure(&tallies[4], 10), 20);
    /* Half of them fail: 100 trials are 0.1923 wide, 90 are 0.2024. */
    config.until_width = 0.2;
    assert_int_equal(measure(&tallies[5], 5), 100);
    /* And the budget ends it at the latest. */
    assert_int_equal(measure(&tallies[6], 5), 30);
    assert_int_equal(measure(&tallies[3], 5), 11);
    assert_int_equal(measure(&tallies[0], 5), 1);
}

static void a_cell_that_was_interrupted_is_made_whole_first(void **state)
{
    (void)state;
    uint64_t from = 0, first, count;
    config.until_width = 0.17;
    for (uint64_t i = 0; i < 15; i++)
        if (i != 4)
            add(&tallies[4], i, true);
    assert_true(campaign_range_next(&config, &tallies[4], &from, &first, &count) && first == 4 && count == 1);
    assert_true(campaign_range_next(&config, &tallies[4], &from, &first, &count) && first == 15 && count == 5);
    assert_false(campaign_range_next(&config, &tallies[4], &from, &first, &count));
    add(&tallies[4], 4, true);
    assert_int_equal(measure(&tallies[4], 10), 20);
}

static void expects_what_the_rate_so_far_needs(void **state)
{
    (void)state;
    config.until_width = 0.2;
    assert_int_equal(campaign_trials_expected(&config, &tallies[5]), 105);
    for (uint64_t i = 0; i < 10; i++)
        add(&tallies[5], i, i < 5);
    assert_int_equal(campaign_trials_expected(&config, &tallies[5]), 100);
    for (uint64_t i = 0; i < 10; i++)
        add(&tallies[4], i, true);
    assert_int_equal(campaign_trials_expected(&config, &tallies[4]), 20);
    config.until_width = 0;
    assert_int_equal(campaign_trials_expected(&config, &tallies[4]), 100);
}

/* ---- shards ---------------------------------------------------------------------------------- */

static uint64_t unmark(void)
{
    uint64_t all = 0;
    for (size_t i = 0; i < CELLS; i++) {
        all += campaign_tally_mine(&tallies[i]);
        free(tallies[i].mine);
        tallies[i].mine = NULL;
    }
    return all;
}

static void shards_are_exactly_the_campaign(void **state)
{
    (void)state;
    for (uint64_t count = 1; count <= 9; count++) {
        unsigned made[CELLS][128] = {0};
        for (uint64_t index = 1; index <= count; index++) {
            assert_int_equal(campaign_shard_mark(&config, tallies, CELLS, (struct campaign_shard){index, count}), 0);
            for (size_t i = 0; i < CELLS; i++) {
                uint64_t from = 0, first, n;
                while (campaign_range_next(&config, &tallies[i], &from, &first, &n)) {
                    assert_int_equal(first / 10, (first + n - 1) / 10);
                    for (uint64_t t = first; t < first + n; t++)
                        made[i][t]++;
                }
            }
            uint64_t mine = unmark();
            /* 30 blocks of up to 10 trials: no shard has more than its part and one block. */
            assert_true(mine <= 10 * (30 / count + 1));
            assert_true(mine > 0);
        }
        for (size_t i = 0; i < CELLS; i++)
            for (uint64_t t = 0; t < 128; t++)
                assert_int_equal(made[i][t], t < budgets[i]);
    }
    assert_int_equal(campaign_shard_mark(&config, tallies, CELLS, (struct campaign_shard){0}), 0);
    assert_int_equal(unmark(), 1 + 9 + 10 + 11 + 100 + 105 + 30);
}

static void with_until_a_cell_is_one_shards(void **state)
{
    (void)state;
    unsigned owners[CELLS] = {0};
    config.until_width = 0.1;
    for (uint64_t index = 1; index <= 3; index++) {
        assert_int_equal(campaign_shard_mark(&config, tallies, CELLS, (struct campaign_shard){index, 3}), 0);
        for (size_t i = 0; i < CELLS; i++) {
            uint64_t mine = campaign_tally_mine(&tallies[i]), from = 0, first, count;
            assert_true(mine == 0 || mine == budgets[i]);
            assert_true(campaign_range_next(&config, &tallies[i], &from, &first, &count) == (mine > 0));
            owners[i] += mine > 0;
        }
        unmark();
    }
    for (size_t i = 0; i < CELLS; i++)
        assert_int_equal(owners[i], 1);
}

static void shards_are_written_as_one_of_many(void **state)
{
    (void)state;
    struct campaign_shard s = {0};
    assert_int_equal(campaign_shard_parse("2/4", &s), 0);
    assert_true(s.index == 2 && s.count == 4);
    static const char *const bad[] = {"", "/", "2", "2/", "/4", "0/4", "5/4", "1/0", "-1/4", "1/4/4", "1/4x", " 1/4"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++)
        assert_int_equal(campaign_shard_parse(bad[i], &s), -EINVAL);
}

/* ---- budgets --------------------------------------------------------------------------------- */

static void budgets_are_refused_or_read(void **state)
{
    (void)state;
    char err[CAMPAIGN_ERROR_LEN];
    struct campaign_budget b;
    assert_int_equal(campaign_budget_parse("*/linux-*/none/rtt40", "20", &b, err), 0);
    assert_true(b.trials == 20);
    assert_string_equal(b.cells.nat_b, "linux-*");
    assert_string_equal(b.cells.link, "rtt40");
    assert_string_equal(b.text, "*/linux-*/none/rtt40 = 20");
    assert_int_equal(campaign_budget_parse("*/none", "20", &b, err), -EINVAL);
    assert_non_null(strstr(err, "no pattern"));
    static const char *const bad[] = {"", "0", "-1", "1000001", "20%", "many"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++)
        assert_int_equal(campaign_budget_parse("*/*/*", bad[i], &b, err), -EINVAL);
}

/* ---- latency.hlog ---------------------------------------------------------------------------- */

static void the_log_holds_the_successes(void **state)
{
    (void)state;
    char dir[] = "/tmp/punchbench-test.XXXXXX", path[64], *line = NULL;
    static struct campaign_cell cells[2];
    size_t cap = 0, n = 0;
    ssize_t len;
    strcpy(cells[0].name, "open/open/simopen/rtt40");
    strcpy(cells[1].name, "open/a@b/none/rtt40");
    for (uint64_t i = 0; i < 10; i++)
        add(&tallies[4], i + 40, i < 7);
    assert_non_null(mkdtemp(dir));
    assert_int_equal(campaign_hlog_write(dir, 1700000000000, cells, &tallies[4], 2), 0);
    snprintf(path, sizeof(path), "%s/latency.hlog", dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while ((len = getline(&line, &cap, f)) > 0) {
        struct hist_log_entry e;
        assert_int_equal(hist_log_parse(line, (size_t)len, &e), 0);
        assert_true(e.kind != HIST_LOG_START_TIME || e.time_ms == 1700000000000);
        if (e.kind == HIST_LOG_INTERVAL) {
            assert_string_equal(e.tag, cells[n].name);
            assert_int_equal(e.hist.total, n == 0 ? 7 : 0);
            assert_int_equal(e.length_ms, n == 0 ? 30 : 0);
            assert_true(n == 1 ||
                        hist_lowest_equivalent(43000000) == hist_lowest_equivalent(hist_quantile(&e.hist, 0.5)));
            n++;
        }
        hist_clear(&e.hist);
    }
    free(line);
    fclose(f);
    assert_int_equal(n, 2);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(campaign_hlog_write(dir, 0, cells, &tallies[4], 2), -ENOENT);
}

#define WITH_TALLIES(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TALLIES(ranges_end_where_blocks_do),
        WITH_TALLIES(trials_begin_behind_the_warm_up),
        WITH_TALLIES(a_cell_ends_when_its_interval_is_narrow),
        WITH_TALLIES(a_cell_that_was_interrupted_is_made_whole_first),
        WITH_TALLIES(expects_what_the_rate_so_far_needs),
        WITH_TALLIES(shards_are_exactly_the_campaign),
        WITH_TALLIES(with_until_a_cell_is_one_shards),
        cmocka_unit_test(shards_are_written_as_one_of_many),
        cmocka_unit_test(budgets_are_refused_or_read),
        WITH_TALLIES(the_log_holds_the_successes),
    };
    return cmocka_run_group_tests_name("campaign_blocks", tests, NULL, NULL);
}
