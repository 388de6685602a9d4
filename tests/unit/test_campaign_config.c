/*
 * Campaign files and cells. Pins: a key that is silently ignored, a value that means something else than written, a
 * cell that is missing or there twice, a seed that two cells share or that changes between versions, a control that
 * judges the wrong cells.
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

#define PROFILES "bench/profiles"

static struct campaign_config config;
static char err[CAMPAIGN_ERROR_LEN];

static int read_text(const char *text)
{
    char path[] = "/tmp/test_campaign_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    err[0] = '\0';
    int res = campaign_config_read(path, PROFILES, &config, err);
    unlink(path);
    return res;
}

#define HEAD "[campaign]\nname = x\ntrials = 5\n"
#define REST "nats = open, linux-strict\ntechniques = simopen, none\n"
#define LINK "[link]\nrtt = 40ms\n"

static void reads_every_key(void **state)
{
    (void)state;
    assert_int_equal(read_text("; a comment\n[campaign]\nname = my-run.2\nseed = 9007199254740991\ntrials = 7\n"
                               "timeout = 1.5s\nparallel = 3\nnats-a = open\nnats-b = linux-strict , linux-random\n"
                               "techniques = simopen, portspray:punch, none\n[link]\nrtt = 40ms\njitter = 2ms\n"
                               "loss = 0.5%\n[expect]\nopen/*/simopen = 100%\n*/*/none = <= 1%\n"),
                     0);
    assert_string_equal(config.name, "my-run.2");
    assert_true(config.seed == 9007199254740991ULL && config.trials == 7 && config.parallel == 3);
    assert_true(config.timeout_ns == 1500 * BASE_NS_PER_MS);
    assert_int_equal(config.n_links, 1);
    assert_string_equal(config.links[0].label, "rtt40");
    assert_true(campaign_link_rtt(&config.links[0], CAMPAIGN_A, CAMPAIGN_S) == 40 * BASE_NS_PER_MS);
    assert_int_equal(config.profiles.n, 3);
    assert_true(config.n_a == 1 && config.n_b == 2 && config.n_techniques == 3);
    assert_string_equal(config.nats_b[1].name, "linux-random");
    assert_string_equal(config.techniques[1].label, "portspray-punch");
    assert_int_equal(config.n_expects, 2);
    assert_int_equal(config.expects[1].op, CAMPAIGN_AT_MOST);
    assert_true(config.expects[1].rate == 0.01);
    assert_int_equal(config.expects[1].line, 17);
}

static void defaults(void **state)
{
    (void)state;
    assert_int_equal(read_text(HEAD REST "parallel = auto\n" LINK), 0);
    assert_true(config.parallel == 0 && config.seed == 1);
    assert_true(config.timeout_ns > 0);
    const struct lab_way *up = &config.links[0].access[CAMPAIGN_A].up;
    assert_true(up->jitter_ns == 0 && up->loss == 0 && up->duplication == 0 && up->reordering == 0 && up->rate == 0);
    assert_true(config.n_a == 2 && config.n_b == 2 && config.profiles.n == 2);
}

static void lists_go_on_in_indented_lines(void **state)
{
    (void)state;
    assert_int_equal(read_text(HEAD "nats = open,\n  linux-strict,\n  linux-random\ntechniques = none\n" LINK), 0);
    assert_true(config.n_a == 3 && config.n_b == 3);
    assert_int_equal(read_text("[campaign]\nname = x\n  y\n"), -EINVAL);
    assert_non_null(strstr(err, ":3: 'name' was already given in line 2"));
}

static void refuses_with_the_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *where;
    } cases[] = {
        {"", ":1: 'name' is missing in [campaign]"},
        {HEAD REST, ":5: 'rtt' is missing in [link]"},
        {HEAD "techniques = none\n" LINK, ":6: 'nats' (or 'nats-a' and 'nats-b', or 'pairs') is missing"},
        {HEAD "nats-a = open\ntechniques = none\n" LINK,
         ":7: 'nats' (or 'nats-a' and 'nats-b', or 'pairs') is missing"},
        {HEAD REST "nats-a = linux-random\n" LINK, ":6: 'nats' in line 4 sets both sides already"},
        {HEAD REST "trials = 6\n" LINK, ":6: 'trials' was already given in line 3"},
        {HEAD "nats = open,,open\n", ":4: the list of NATs has an empty"},
        {HEAD "nats = open, open\n", ":4: NAT 'open' is listed twice"},
        {HEAD "nats =\n", ":4: 'nats' has no value"},
        {HEAD "techniques = none, none\n", ":4: technique 'none' is listed twice"},
        {HEAD "techniques = simopen, simopen:plain\n", ":4: technique 'simopen' is listed twice"},
        {HEAD "techniques = none:punch\n", ":4: technique none has no modes; write just 'none'"},
        {HEAD "techniques = simopen:punch\n",
         ":4: technique simopen has no mode 'punch'; use one of: plain, auto, none"},
        {HEAD "techniques = simopen:\n", ":4: technique simopen has no mode ''"},
        {HEAD "techniques = sim\n", ":4: there is no technique 'sim'; use one of: simopen, synspray, portspray, none"},
        {HEAD "nats = ../profiles/open\ntechniques = none\n" LINK, ":4: '../profiles/open' is no profile name"},
        {HEAD "nats = nope\ntechniques = none\n" LINK, ":4: no profile 'nope'"},
        {"[campaign]\nname = a/b\n", ":2: 'a/b' is no name"},
        {"[campaign]\nname = .hidden\n", ":2: '.hidden' is no name"},
        {"[campaign]\nname = -o\n", ":2: '-o' is no name"},
        {"[campaign]\ntrials = 0\n", ":2: 'trials = 0': write a number from 1 to 1000000"},
        {"[campaign]\ntrials = 1e3\n", ":2: 'trials = 1e3'"},
        {"[campaign]\nseed = 9007199254740992\n", ":2: 'seed = 9007199254740992'"},
        {"[campaign]\ntimeout = 1ms\n", ":2: 'timeout = 1ms': write a time like"},
        {"[campaign]\nparallel = 0\n", ":2: 'parallel = 0': write auto"},
        {"[link]\nrtt = 40\n", ":2: 'rtt = 40': write a time"},
        {"[link]\nrtt = 11s\n", ":2: 'rtt = 11s': write a time"},
        {"[link]\nloss = 101%\n", ":2: 'loss = 101%'"},
        {"[link]\nloss = nan%\n", ":2: 'loss = nan%'"},
        {"[link]\ndelay = 1ms\n", ":2: [link] has no key 'delay'; use one of: rtt, jitter, loss"},
        {"[link]\nc-loss = 1%\n", ":2: [link] has no key 'c-loss'"},
        {"[link]\na-loss-left = 1%\n", ":2: [link] has no key 'a-loss-left'"},
        {"[link]\n-up = 1%\n", ":2: [link] has no key '-up'"},
        {"[link]\na- = 1%\n", ":2: [link] has no key 'a-'"},
        {"[link]\nrtt = 1ms\nrtt = 2ms\n", ":3: 'rtt' was already given in line 2"},
        {"[link]\na-loss-up =\n", ":2: 'a-loss-up' has no value"},
        {"[link]\nduplication = 1\n", ":2: 'duplication = 1': write a percentage"},
        {"[link]\nb-reordering-down = -1%\n", ":2: 'b-reordering-down = -1%': write a percentage"},
        {"[link]\nreordering-delay = 5\n", ":2: 'reordering-delay = 5': write a time"},
        {"[link]\nqueue = 11s\n", ":2: 'queue = 11s': write a time"},
        {"[link]\nrate = 1\n", ":2: 'rate = 1': write a rate like 512kbit"},
        {"[link]\nrate = 1kbit\n", ":2: 'rate = 1kbit'"},
        {"[link]\nrate = 11gbit\n", ":2: 'rate = 11gbit'"},
        {"[link]\nrate = mbit\n", ":2: 'rate = mbit'"},
        {"[link]\nrate = 1.2.3mbit\n", ":2: 'rate = 1.2.3mbit'"},
        {"[link]\nrate = 1e3mbit\n", ":2: 'rate = 1e3mbit'"},
        {"[link]\nrate = 1mbit/h\n", ":2: 'rate = 1mbit/h'"},
        {"[link]\nrate = nan\n", ":2: 'rate = nan'"},
        {"[link a/b]\n", ":1: 'a/b' is no name for a link"},
        {"[link two words]\n", ":1: 'two words' is no name for a link"},
        {"[link x23456789012345678901234567890123456789012]\n", ":1: 'x2345"},
        {"[linkx]\nrtt = 1ms\n", ":2: there is no section [linkx]"},
        {HEAD REST LINK "[link x]\n[link x]\nrtt = 1ms\n", ":9: [link x] was already there in line 8"},
        {HEAD REST LINK LINK, ":8: [link] was already there in line 6"},
        {HEAD REST LINK "[link x]\nloss = 1%\n", ":8: 'rtt' is missing in [link x]"},
        {HEAD REST LINK "[link x]\n", ":8: 'rtt' is missing in [link x]"},
        {HEAD REST LINK "[link rtt40]\nrtt = 9ms\n", ":8: the links of lines 6 and 8 are both called rtt40"},
        {"name = x\n", ":1: 'name' stands before any section"},
        {"[cell]\nx = 1\n", ":2: there is no section [cell]"},
        {"[expect]\n*/* = 1%\n", ":2: '*/*' is no pattern"},
        {"[expect]\n*/*/*/*/* = 1%\n", ":2: '*/*/*/*/*' is no pattern"},
        {"[expect]\n*/*/*/ = 1%\n", ":2: '*/*/*/' is no pattern"},
        {"[expect]\n*//* = 1%\n", ":2: '*//*' is no pattern"},
        {"[expect]\n*/*/portspray:punch = 1%\n", ":2: "},
        {"[expect]\n*/*/* = > 1%\n", ":2: '> 1%' is no rate"},
        {"[expect]\n*/*/* = 0.1.2%\n", ":2: '0.1.2%' is no rate"},
        {"[expect]\n*/*/* = 100% sideways\n", ":2: '100% sideways': behind the rate stand"},
        {"[expect]\n*/*/* = 100% private|\n", ":2: '100% private|': behind the rate stand"},
        {"[expect]\n*/*/* = private\n", ":2: 'private' is no rate"},
        {"junk\n", ":1: neither KEY = VALUE"},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        int res = read_text(cases[i].text);
        if (res >= 0 || !strstr(err, cases[i].where))
            fail_msg("for:\n%s\nwanted: %s\n   got: %s", cases[i].text, cases[i].where, err);
        assert_null(strchr(err, '\n'));
    }
}

static void a_long_line_is_refused_not_cut(void **state)
{
    (void)state;
    char text[2000];
    int len = snprintf(text, sizeof(text), "[campaign]\nname = ");
    memset(text + len, 'x', sizeof(text) - (size_t)len);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(read_text(text), -EINVAL);
    assert_non_null(strstr(err, ":2: "));
    assert_int_equal(campaign_config_read("/nonexistent.ini", PROFILES, &config, err), -ENOENT);
}

/* ---- cells ----------------------------------------------------------------------------------- */

static void expands_to_every_cell_once(void **state)
{
    (void)state;
    struct campaign_cell *cells;
    size_t n;
    assert_int_equal(read_text(HEAD "nats-a = open, linux-strict\nnats-b = open, linux-random\n"
                                    "techniques = simopen, portspray, none\n" LINK),
                     0);
    assert_int_equal(campaign_expand(&config, NULL, &cells, &n), 0);
    assert_int_equal(n, 12);
    assert_string_equal(cells[0].name, "open/open/simopen/rtt40");
    assert_string_equal(cells[7].name, "linux-strict/linux-random/portspray-punch/rtt40");
    assert_string_equal(cells[11].name, "linux-strict/linux-random/none/rtt40");
    assert_string_equal(cells[11].choice->technique->program, "portspray");
    assert_string_equal(cells[11].choice->mode, "none");
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(cells[i].name, cells[k].name);
            assert_true(cells[i].seed != cells[k].seed);
        }
    free(cells);
}

static void filters(void **state)
{
    (void)state;
    struct campaign_cell *cells;
    size_t n;
    assert_int_equal(read_text(HEAD REST LINK), 0);
    assert_int_equal(campaign_expand(&config, "*/none/*", &cells, &n), 0);
    assert_int_equal(n, 4);
    free(cells);
    assert_int_equal(campaign_expand(&config, "open/*", &cells, &n), 0);
    assert_int_equal(n, 4);
    /* A filtered cell is the same cell. */
    assert_string_equal(cells[1].name, "open/linux-strict/simopen/rtt40");
    uint64_t seed = cells[1].seed;
    free(cells);
    assert_int_equal(campaign_expand(&config, NULL, &cells, &n), 0);
    assert_true(cells[1].seed == seed);
    free(cells);
    assert_int_equal(campaign_expand(&config, "open", &cells, &n), -ENOENT);
}

/* Recorded seeds must reproduce for ever. */
static void seeds_stay(void **state)
{
    (void)state;
    struct campaign_cell *cells;
    size_t n;
    assert_int_equal(read_text(HEAD "seed = 42\n" REST LINK), 0);
    assert_int_equal(campaign_expand(&config, "open/open/simopen/*", &cells, &n), 0);
    struct base_rng rng;
    base_rng_derive(&rng, 42, "open/open/simopen/rtt40", 0);
    assert_true(cells[0].seed == base_rng_u64(&rng) >> 11);
    assert_true(cells[0].seed < 1ULL << 53);
    free(cells);
}

static void rtt_in_names(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"0", "rtt0"}, {"500us", "rtt0.5"}, {"1.5s", "rtt1500"}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        struct campaign_cell *cells;
        char text[200];
        size_t n;
        snprintf(text, sizeof(text), HEAD REST "[link]\nrtt = %s\n", cases[i][0]);
        assert_int_equal(read_text(text), 0);
        assert_int_equal(campaign_expand(&config, NULL, &cells, &n), 0);
        assert_string_equal(strrchr(cells[0].name, '/') + 1, cases[i][1]);
        free(cells);
    }
}

/* The links of a file whose [link] sections these are. */
static void links(const char *text)
{
    char whole[1000];
    snprintf(whole, sizeof(whole), HEAD REST "%s", text);
    if (read_text(whole) < 0)
        fail_msg("%s", err);
}

static bool nearly(double is, double want)
{
    return is > want - 1e-12 && is < want + 1e-12;
}

/* What holds between two hosts is made of their access links' shares. */
static void shares_add_up(void **state)
{
    (void)state;
    links("[link]\nrtt = 40ms\njitter = 4ms\nloss = 19%\nduplication = 36%\nreordering = 51%\nrate = 1.5Mbit/s\n");
    for (unsigned i = 0; i < CAMPAIGN_ENDS; i++) {
        struct lab_way up = config.links[0].access[i].up, down = config.links[0].access[i].down;
        assert_memory_equal(&up, &down, sizeof(up));
        assert_true(up.delay_ns == 10 * BASE_NS_PER_MS && up.jitter_ns == 2 * BASE_NS_PER_MS);
        assert_true(nearly(up.loss, 0.1) && nearly(up.duplication, 0.2) && nearly(up.reordering, 0.3));
        assert_true(up.rate == 1500000 && up.queue_ns > 0 && up.reorder_ns > 0);
    }
}

/* Most of a home: a slow way up, a loss on one side, and a server that is near. */
static void the_key_that_names_more_rules(void **state)
{
    (void)state;
    links("[link]\na-loss-up = 4%\na-loss = 3%\nloss-up = 2%\nloss = 19%\nrtt = 40ms\nrtt-up = 1ms\n"
          "a-rtt = 30ms\nb-rtt-down = 7ms\ns-rtt = 0\njitter-down = 3ms\nrate-up = 512kbit\nb-rate = 1gbit\n"
          "queue = 20ms\ns-queue-up = 0\nreordering-delay = 9ms\n");
    const struct lab_link *l = config.links[0].access;
    const struct lab_link *a = &l[CAMPAIGN_A], *b = &l[CAMPAIGN_B], *s = &l[CAMPAIGN_S];
    assert_true(a->up.loss == 0.04 && a->down.loss == 0.03);
    assert_true(b->up.loss == 0.02 && nearly(b->down.loss, 0.1) && s->up.loss == 0.02);
    assert_true(a->up.delay_ns == 15 * BASE_NS_PER_MS && a->down.delay_ns == 15 * BASE_NS_PER_MS);
    assert_true(b->up.delay_ns == BASE_NS_PER_MS && b->down.delay_ns == 7 * BASE_NS_PER_MS);
    assert_true(s->up.delay_ns == 0 && s->down.delay_ns == 0);
    assert_true(a->up.jitter_ns == 0 && a->down.jitter_ns == 3 * BASE_NS_PER_MS);
    assert_true(a->up.rate == 512000 && a->down.rate == 0 && b->up.rate == 1000000000 && b->down.rate == 1000000000);
    assert_true(a->up.queue_ns == 20 * BASE_NS_PER_MS && s->up.queue_ns == 0 && s->down.queue_ns == a->up.queue_ns);
    assert_true(a->up.reorder_ns == 9 * BASE_NS_PER_MS);
    assert_true(campaign_link_rtt(&config.links[0], CAMPAIGN_A, CAMPAIGN_B) == 38 * BASE_NS_PER_MS);
    assert_true(campaign_link_rtt(&config.links[0], CAMPAIGN_S, CAMPAIGN_B) == 8 * BASE_NS_PER_MS);
    assert_true(campaign_link_longest(&config.links[0]) == 38 * BASE_NS_PER_MS);
    assert_string_equal(config.links[0].label, "rtt40");
}

static void each_link_multiplies_the_cells(void **state)
{
    (void)state;
    struct campaign_cell *cells;
    size_t n;
    links("[link]\nrtt = 40ms\n[link dsl]\nrtt = 40ms\nrate-up = 1mbit\n[link bad.2]\nrtt = 9ms\nloss = 1%\n"
          "[expect]\n*/*/* = 100%\n*/*/simopen/bad* = >= 90%\n");
    assert_int_equal(campaign_expand(&config, NULL, &cells, &n), 0);
    assert_int_equal(n, 2 * 2 * 2 * 3);
    assert_string_equal(cells[0].name, "open/open/simopen/rtt40");
    assert_string_equal(cells[1].name, "open/open/simopen/dsl");
    assert_string_equal(cells[23].name, "linux-strict/linux-strict/none/bad.2");
    assert_true(cells[1].link->access[CAMPAIGN_B].up.rate == 1000000 && cells[0].link->access[CAMPAIGN_B].up.rate == 0);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            assert_true(cells[i].seed != cells[k].seed);
    assert_true(campaign_expect_for(&config, &cells[1])->rate == 1);
    assert_true(campaign_expect_for(&config, &cells[2])->rate == 0.9);
    assert_true(campaign_expect_for(&config, &cells[23])->rate == 1);
    free(cells);
    assert_int_equal(campaign_expand(&config, "*/dsl", &cells, &n), 0);
    assert_int_equal(n, 8);
    free(cells);
}

/* ---- NATs that both sides are behind --------------------------------------------------------- */

static size_t shared(const char *a, const char *b)
{
    static struct campaign_profiles profiles;
    struct campaign_side sides[2];
    if (campaign_side_read(a, PROFILES, &profiles, &sides[0], err) < 0 ||
        campaign_side_read(b, PROFILES, &profiles, &sides[1], err) < 0)
        fail_msg("%s", err);
    return campaign_sides_shared(&sides[0], &sides[1]);
}

/* Pins a HOME that is shared, and a carrier that is not, or that is although those outside of it differ. */
static void what_both_name_from_the_outside_is_shared(void **state)
{
    (void)state;
    assert_int_equal(shared("full-cone", "full-cone"), 0);
    assert_int_equal(shared("full-cone@cgn-block", "full-cone@cgn-block"), 1);
    assert_int_equal(shared("full-cone@cgn-block", "@cgn-block"), 1);
    assert_int_equal(shared("@full-cone", "@full-cone"), 1);
    assert_int_equal(shared("@full-cone", "full-cone"), 0);
    assert_int_equal(shared("full-cone@cgn-block", "full-cone@cgn-band"), 0);
    assert_int_equal(shared("linux-strict@full-cone@cgn-block", "linux-strict@full-cone@cgn-block"), 2);
    assert_int_equal(shared("linux-strict@full-cone@cgn-block", "@cgn-block"), 1);
    assert_int_equal(shared("@full-cone@cgn-block", "@full-cone@cgn-band"), 0);
    assert_int_equal(shared("@full-cone@cgn-block", "@full-cone"), 0);
}

static void pairs_are_cells(void **state)
{
    (void)state;
    struct campaign_cell *cells;
    size_t n;
    assert_int_equal(read_text(HEAD
                               "nats-a = open\nnats-b = linux-strict@cgn-block\npairs = @full-cone / @full-cone,\n"
                               "   linux-strict@cgn-block/port-restricted@cgn-block\ntechniques = simopen, none\n" LINK
                               "[expect]\n@full-cone/@full-cone/* = 100%\n"),
                     0);
    assert_int_equal(campaign_expand(&config, NULL, &cells, &n), 0);
    assert_int_equal(n, 6);
    assert_string_equal(cells[0].name, "open/linux-strict@cgn-block/simopen/rtt40");
    assert_string_equal(cells[1].name, "@full-cone/@full-cone/simopen/rtt40");
    assert_string_equal(cells[5].name, "linux-strict@cgn-block/port-restricted@cgn-block/none/rtt40");
    assert_non_null(campaign_expect_for(&config, &cells[1]));
    assert_null(campaign_expect_for(&config, &cells[5]));
    free(cells);
    assert_int_equal(read_text(HEAD "pairs = open / open\ntechniques = none\n" LINK), 0);
    assert_int_equal(campaign_expand(&config, NULL, &cells, &n), 0);
    assert_int_equal(n, 1);
    free(cells);
}

static void bad_pairs_name_their_line(void **state)
{
    static const char *const cases[][2] = {
        {"open", "'open' is no pair"},
        {"open / open / open", "is no pair"},
        {"/ open", "is no pair"},
        {"open /", "is no pair"},
        {"open / open, open/open", "the pair open / open is there twice"},
        {"open / full-cone@", "a profile's name is missing behind an '@'"},
        {"open / @", "missing behind an '@'"},
        {"open / full-cone@@cgn-block", "missing behind an '@'"},
        {"open / linux-strict@open", "open cannot stand behind an '@'"},
        {"open / @open", "open cannot stand behind an '@'"},
        {"open / nope@cgn-block", "no profile 'nope'"},
        {"open / open@../open", "no pair"},
        {"open / @full-cone@full-cone@full-cone@full-cone@full-cone", "has more than 4 NATs"},
        {"open / double-nat@double-nat@full-cone", "has more than 4 NATs, each with"},
        {"open / aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "no pair"},
    };
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        char text[400];
        snprintf(text, sizeof(text), HEAD "pairs = %s\ntechniques = none\n" LINK, cases[i][0]);
        if (read_text(text) >= 0 || !strstr(err, cases[i][1]) || !strstr(err, ":4: "))
            fail_msg("for: %s\nwanted: %s\n   got: %s", cases[i][0], cases[i][1], err);
    }
    /* 2 x 72, 15, 40, and the slashes. */
#define LONG  "linux-strict-emulated@linux-strict-emulated@cgn-block-no-hairpin@hostile"
#define LINKS "[link aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\nrtt = 0\n"
    assert_int_equal(read_text(HEAD "pairs = " LONG "/" LONG "\ntechniques = portspray:punch\n" LINKS), -EINVAL);
    assert_non_null(strstr(err, ":4: the longest name of a cell has more than 200 characters"));
    assert_int_equal(read_text(HEAD "pairs = " LONG "/" LONG "\ntechniques = simopen\n" LINKS), 0);
#undef LONG
#undef LINKS
    assert_int_equal(read_text(HEAD "nats = open\npairs = open/open\ntechniques = none\n" LINK), -EINVAL);
    assert_non_null(strstr(err, ":5: the pair open / open is there twice"));
}

/* ---- expectations ---------------------------------------------------------------------------- */

static void the_last_matching_line_rules(void **state)
{
    (void)state;
    struct campaign_cell *cells;
    size_t n;
    assert_int_equal(
        read_text(HEAD REST LINK "[expect]\nopen/*/* = 100%\n*/*/none = 0%\nopen/linux-?trict/sim* = >= 99%\n"), 0);
    assert_int_equal(campaign_expand(&config, NULL, &cells, &n), 0);
    assert_int_equal(n, 8);
    assert_int_equal(campaign_expect_for(&config, &cells[0])->line, 9);
    assert_int_equal(campaign_expect_for(&config, &cells[1])->line, 11);
    assert_null(campaign_expect_for(&config, &cells[2]));
    assert_int_equal(campaign_expect_for(&config, &cells[4])->line, 10);
    assert_int_equal(campaign_expect_for(&config, &cells[7])->line, 10);
    free(cells);
}

static void percentages(void **state)
{
    (void)state;
    double p;
    assert_true(campaign_parse_percent("0", &p) == 0 && p == 0);
    assert_true(campaign_parse_percent("100%", &p) == 0 && p == 1);
    assert_true(campaign_parse_percent("2.5%", &p) == 0 && p == 0.025);
    static const char *const bad[] = {"", "%", "1", "-1%", "100.1%", "1e1%", "0x1%", "inf%", "1 %", "1%%", ".%", "+1%"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++)
        assert_int_equal(campaign_parse_percent(bad[i], &p), -EINVAL);
}

static void sizes_are_read(void **state)
{
    static const char *const bad[] = {"", "M", "-1", "1.5M", "3x", "17179869184G", "99999999999999999999999", "1M1"};
    uint64_t n = 7;
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++)
        assert_true(campaign_parse_size(bad[i], &n) < 0);
    assert_int_equal(n, 7);
    assert_int_equal(campaign_parse_size("4096", &n), 0);
    assert_int_equal(n, 4096);
    assert_int_equal(campaign_parse_size("500k", &n), 0);
    assert_int_equal(n, 512000);
    assert_int_equal(campaign_parse_size("3G", &n), 0);
    assert_int_equal(n, 3ULL << 30);
}

#define RELAYS "[campaign]\nname = x\ntrials = 5\nnats = open\ntechniques = relay, relay:tcp-both, relay:none, t\n" LINK
#define AUTO   "[technique t]\nuse = synspray:auto\n"

static void relays_are_given_a_server(void **state)
{
    static const struct {
        const char *text, *what;
    } bad[] = {
        {RELAYS "[technique t]\nuse = synspray:hold\nrelay = yes\n",
         ":5: [technique t] has 'relay = yes', the last resort"},
        {RELAYS AUTO "relay = maybe\n", ":10: 'relay = maybe': write yes or no"},
        {RELAYS AUTO "relay = yes\nrelay = yes\n", ":11: [technique t] has 'relay' twice"},
    };
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++) {
        assert_int_equal(read_text(bad[i].text), -EINVAL);
        if (!strstr(err, bad[i].what))
            fail_msg("case %zu: '%s' is not in '%s'", i, bad[i].what, err);
    }
    assert_int_equal(read_text(RELAYS AUTO "relay = yes\n"), 0);
    static const char *const transports[] = {"udp", "tcp", "udp", "tcp"};
    static const bool given[] = {true, true, false, true};
    for (size_t i = 0; i < BASE_ARRAY_LEN(given); i++) {
        assert_string_equal(campaign_choice_transport(&config.techniques[i]), transports[i]);
        assert_int_equal(campaign_choice_relays(&config.techniques[i]), given[i]);
    }
    assert_string_equal(config.techniques[0].label, "relay-udp-channel");
    assert_int_equal(read_text(RELAYS AUTO "relay = no\n"), 0);
    assert_false(campaign_choice_relays(&config.techniques[3]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_key),
        cmocka_unit_test(defaults),
        cmocka_unit_test(lists_go_on_in_indented_lines),
        cmocka_unit_test(refuses_with_the_line),
        cmocka_unit_test(a_long_line_is_refused_not_cut),
        cmocka_unit_test(expands_to_every_cell_once),
        cmocka_unit_test(filters),
        cmocka_unit_test(seeds_stay),
        cmocka_unit_test(rtt_in_names),
        cmocka_unit_test(shares_add_up),
        cmocka_unit_test(the_key_that_names_more_rules),
        cmocka_unit_test(each_link_multiplies_the_cells),
        cmocka_unit_test(the_last_matching_line_rules),
        cmocka_unit_test(percentages),
        cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(what_both_name_from_the_outside_is_shared),
        cmocka_unit_test(pairs_are_cells),
        cmocka_unit_test(bad_pairs_name_their_line),
        cmocka_unit_test(relays_are_given_a_server),
    };
    return cmocka_run_group_tests_name("campaign_config", tests, NULL, NULL);
}
