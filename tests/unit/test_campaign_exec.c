/*
 * Sections with `use = exec`. Pins: a command that a comment or a second line cuts short, a pattern that no trial could
 * match, a combination of keys that would wait for ever or for nothing, run.json without what was run.
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

#include "bench/campaign/campaign.h"

static struct campaign_config config;
static char err[CAMPAIGN_ERROR_LEN];

static int read_text(const char *text)
{
    char path[] = "/tmp/test_campaign_exec_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    err[0] = '\0';
    int res = campaign_config_read(path, "bench/profiles", &config, err);
    unlink(path);
    return res;
}

/* Nine lines. */
#define HEAD                                                                                                           \
    "[campaign]\nname = x\ntrials = 5\nnats = open\ntechniques = t\n[link]\nrtt = 0\n[technique t]\nuse = exec\n"
#define RUN  "run-a = one\nrun-b = two\n"
#define REST "success = ok\ntransport = udp\n"

static void reads_every_key(void **state)
{
    (void)state;
    assert_int_equal(read_text(HEAD "run-a = first;second\n  third | fourth\nrun-b = two\nrun-s = srv\n"
                                    "success-a = ^got [0-9]+$\nready-b = listening\nready-s = up|ready\n"
                                    "start = b-first\ndelay = 200ms\nserver = cell\ntimeout = 1.5s\ntransport = tcp\n"
                                    "gave-up = 1, 2\n"),
                     0);
    const struct campaign_exec *e = &config.techniques[0].exec;
    assert_true(e->used);
    assert_string_equal(e->run[CAMPAIGN_A], "first;second\nthird | fourth");
    assert_string_equal(e->run[CAMPAIGN_B], "two");
    assert_string_equal(e->run[CAMPAIGN_S], "srv");
    assert_string_equal(e->success[CAMPAIGN_A], "^got [0-9]+$");
    assert_string_equal(e->success[CAMPAIGN_B], "");
    assert_string_equal(e->ready[CAMPAIGN_S], "up|ready");
    assert_int_equal(e->start, CAMPAIGN_B_FIRST);
    assert_int_equal(e->server, CAMPAIGN_STARTS_ONCE);
    assert_true(e->delay_ns == 200 * BASE_NS_PER_MS && e->timeout_ns == 1500 * BASE_NS_PER_MS);
    assert_int_equal(e->n_gave_up, 2);
    assert_int_equal(e->gave_up[1], 2);
    assert_string_equal(campaign_choice_transport(&config.techniques[0]), "tcp");
    assert_string_equal(config.techniques[0].label, "t");
}

static void one_pattern_for_both(void **state)
{
    (void)state;
    assert_int_equal(read_text(HEAD RUN REST), 0);
    const struct campaign_exec *e = &config.techniques[0].exec;
    assert_string_equal(e->success[CAMPAIGN_A], "ok");
    assert_string_equal(e->success[CAMPAIGN_B], "ok");
    assert_true(e->timeout_ns == 0 && e->n_gave_up == 0);
}

static void refuses_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *what;
    } cases[] = {
        {HEAD "run-b = two\n" REST, ":5: [technique t] has no 'run-a'"},
        {HEAD "run-a = one\n" REST, "has no 'run-b'"},
        {HEAD RUN "transport = udp\n", "has no 'success'"},
        {HEAD RUN "success = ok\n", "has no 'transport'"},
        {HEAD RUN "success = (ok\n", ":12: 'success = (ok' is no extended regular expression: "},
        {HEAD RUN "success = ok\nsuccess-a = ok\n", ":13: 'success-a' is given twice"},
        {HEAD RUN "run-a = three\n", ":12: 'run-a' is given twice"},
        {HEAD RUN "transport = sctp\n", ":12: 'transport = sctp': write tcp or udp"},
        {HEAD RUN "timeout = 5\n", ":12: 'timeout = 5': write a time"},
        {HEAD RUN "gave-up = 1, many\n", ":12: 'gave-up = 1, many': write up to 8 exit statuses"},
        {HEAD RUN "gave-up = 126\n", ":12: 'gave-up = 126'"},
        {HEAD RUN "start = at noon\n", ":12: 'start = at noon': write together, a-first or b-first"},
        {HEAD RUN "server = never\n", ":12: 'server = never': write trial"},
        {HEAD RUN "run-c = x\n", ":12: [technique t] has no key 'run-c'; use one of: use, options, relay, run-a"},
        {HEAD RUN "run-s =\n", ":12: 'run-s' has no value"},
        {HEAD "run-a = one ; two\n", ":10: a ';' behind a blank begins a comment, and would cut 'run-a' short"},
        {HEAD "run-a = one\n  two ; three\n", ":11: a ';' behind a blank"},
        {HEAD RUN REST "start = a-first\n", "has 'start = a-first' without 'ready-a' or 'delay'"},
        {HEAD RUN REST "delay = 1s\n", "has 'delay', which needs 'start = a-first'"},
        {HEAD RUN REST "ready-a = x\n", "has 'ready-a', which needs 'start = a-first'"},
        {HEAD RUN REST "start = b-first\nready-a = x\ndelay = 1s\n", "has 'ready-a', which needs 'start = a-first'"},
        {HEAD RUN REST "ready-s = x\n", "has 'ready-s' without 'run-s'"},
        {HEAD RUN REST "server = cell\n", "has 'server' without 'run-s'"},
        {HEAD RUN REST "options = --fast\n", "has options: with 'use = exec' write them into the commands"},
        {"[campaign]\nname = x\ntrials = 5\nnats = open\ntechniques = exec\n[link]\nrtt = 0\n",
         ":5: technique exec needs a section [technique LABEL]"},
        {"[campaign]\nname = x\ntrials = 5\nnats = open\ntechniques = t\n[link]\nrtt = 0\n[technique t]\nuse = "
         "simopen\n"
         "run-a = one\n",
         ":5: [technique t] has commands, which only 'use = exec' runs"},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        assert_int_equal(read_text(cases[i].text), -EINVAL);
        if (!strstr(err, cases[i].what))
            fail_msg("case %zu: '%s' is not in '%s'", i, cases[i].what, err);
    }
}

static void a_command_has_a_longest_length(void **state)
{
    (void)state;
    static char text[8192];
    strcpy(text, HEAD "run-a = begin\n");
    for (int i = 0; i < 50; i++)
        sprintf(text + strlen(text), "  %0100d\n", i);
    assert_int_equal(read_text(text), -EINVAL);
    assert_non_null(strstr(err, "'run-a' has more than 4095 characters"));
}

static void run_json_tells_all(void **state)
{
    (void)state;
    assert_int_equal(read_text(HEAD RUN REST "run-s = srv\nready-s = up\ngave-up = 2\n"), 0);
    json_t *json = campaign_exec_json(&config.techniques[0].exec);
    const char *s = NULL, *success = NULL, *start = NULL, *server = NULL;
    int status = 0;
    assert_int_equal(json_unpack(json, "{s:{s:s}, s:{s:s}, s:s, s:s, s:[i]}", "run", "s", &s, "success", "b", &success,
                                 "start", &start, "server", &server, "gave_up", &status),
                     0);
    assert_string_equal(s, "srv");
    assert_string_equal(success, "ok");
    assert_string_equal(start, "together");
    assert_string_equal(server, "trial");
    assert_int_equal(status, 2);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_key),       cmocka_unit_test(one_pattern_for_both),
        cmocka_unit_test(refuses_with_a_reason), cmocka_unit_test(a_command_has_a_longest_length),
        cmocka_unit_test(run_json_tells_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
