/*
 * Sessions that go wrong. Pins: a peer that dies or goes silent in any phase and takes the other's record or connection
 * with it; one that gives up and ends the trial for one side only; frames out of turn that pass, or that crossed an
 * abort and are punished for it; whatever two peers may send that leaves a session without an end.
 */
#include "tests/unit/session_world.h"

static void expect_error(struct fake *f, enum wire_error code, const char *part)
{
    struct wire_reader r = expect(f, WIRE_ERROR);
    assert_int_equal(number(&r, WIRE_F_CODE), code);
    expect_text(&r, WIRE_F_TEXT, part);
}

/* ---- death in each phase --------------------------------------------------------------------- */

enum stage { STEP_WAIT, NO_FACTS, ONE_FACT, NO_PLAN, PUNCHING, ONE_REPORT };

static void bring_to(struct world *w, enum stage stage)
{
    w->host.step = stage == STEP_WAIT;
    both_join(w);
    if (stage == STEP_WAIT) {
        w->a.read = w->a.n;
        return;
    }
    skip_to_trial(&w->a);
    skip_to_trial(&w->b);
    if (stage == ONE_FACT) {
        assert_int_equal(say(w, &w->b, WIRE_FACTS, (struct said){.body = "b"}), 0);
        expect(&w->a, WIRE_FACTS);
    }
    if (stage >= NO_PLAN)
        exchange(w);
    if (stage >= PUNCHING)
        plan(w, 1000 * MS);
    if (stage == ONE_REPORT)
        assert_int_equal(say(w, &w->b, WIRE_REPORT, (struct said){.text = report_ok}), 0);
}

static void death(struct world *w, enum stage stage, const char *phase, bool b_reported)
{
    bring_to(w, stage);
    session_left(w->s, WIRE_ROLE_B);
    if (phase) {
        struct wire_reader r = expect(&w->a, WIRE_RECORD);
        assert_int_equal(w->n_records, 1);
        expect_text(&r, WIRE_F_TEXT, w->records[0]);
        assert_non_null(strstr(w->records[0], "\"outcome\":\"error\""));
        assert_non_null(strstr(w->records[0], "\"a\":null"));
        assert_int_equal(strstr(w->records[0], "\"b\":null") != NULL, !b_reported);
        char member[64];
        snprintf(member, sizeof(member), "\"phase\":\"%s\"", phase);
        if (!strstr(w->records[0], member))
            fail_msg("no %s in %s", member, w->records[0]);
    }
    expect_error(&w->a, WIRE_E_PEER_LEFT, phase ? "in trial 5" : "between trials");
    expect_nothing(&w->a);
    assert_true(w->a.finished && session_over(w->s));
    session_left(w->s, WIRE_ROLE_A); /* its connection ends, too: nothing more */
    assert_int_equal(w->n_records, phase ? 1 : 0);
}

static void death_between(void **state)
{
    death(*state, STEP_WAIT, NULL, false);
}

static void death_before_facts(void **state)
{
    death(*state, NO_FACTS, "sample", false);
}

static void death_after_one_fact(void **state)
{
    death(*state, ONE_FACT, "exchange", false);
}

static void death_before_plan(void **state)
{
    death(*state, NO_PLAN, "plan", false);
}

static void death_while_punching(void **state)
{
    death(*state, PUNCHING, "open", false);
}

static void death_after_its_report(void **state)
{
    death(*state, ONE_REPORT, "open", true);
}

/* ---- silence --------------------------------------------------------------------------------- */

static void silence_of_b_before_facts(void **state)
{
    struct world *w = *state;
    bring_to(w, NO_FACTS);
    assert_int_equal(say(w, &w->a, WIRE_FACTS, (struct said){.body = "a"}), 0);
    expect(&w->b, WIRE_FACTS);
    session_tick(w->s, w->now + SESSION_FACTS_NS - 1);
    expect_nothing(&w->a);
    session_tick(w->s, w->now + SESSION_FACTS_NS);
    expect_error(&w->b, WIRE_E_TIMEOUT, "too long");
    expect(&w->a, WIRE_RECORD);
    expect_error(&w->a, WIRE_E_PEER_LEFT, "peer b kept the server waiting in trial 5 (exchange)");
    assert_true(w->a.finished && w->b.finished && session_over(w->s));
}

static void silence_of_a_before_plan(void **state)
{
    struct world *w = *state;
    bring_to(w, NO_PLAN);
    session_tick(w->s, w->now + SESSION_PLAN_NS);
    expect_error(&w->a, WIRE_E_TIMEOUT, "too long");
    expect(&w->b, WIRE_RECORD);
    expect_error(&w->b, WIRE_E_PEER_LEFT, "peer a");
    assert_int_equal(w->n_records, 1);
}

/* The plan's own deadline counts, and a little more. */
static void silence_after_plan(void **state)
{
    struct world *w = *state;
    bring_to(w, ONE_REPORT);
    session_tick(w->s, w->now + 1000 * MS + SESSION_REPORT_NS - 1);
    expect_nothing(&w->a);
    session_tick(w->s, w->now + 1000 * MS + SESSION_REPORT_NS);
    expect_error(&w->a, WIRE_E_TIMEOUT, "too long");
    expect(&w->b, WIRE_RECORD);
    expect_error(&w->b, WIRE_E_PEER_LEFT, "peer a");
    assert_non_null(strstr(w->records[0], "\"a\":null"));
    assert_null(strstr(w->records[0], "\"b\":null"));
}

static void silence_of_both(void **state)
{
    struct world *w = *state;
    bring_to(w, PUNCHING);
    session_tick(w->s, w->now + 1000 * MS + SESSION_REPORT_NS);
    expect_error(&w->a, WIRE_E_TIMEOUT, "too long");
    expect_error(&w->b, WIRE_E_TIMEOUT, "too long");
    expect_nothing(&w->a);
    expect_nothing(&w->b);
    assert_int_equal(w->n_records, 1);
    assert_true(session_over(w->s));
}

/* ---- aborts ---------------------------------------------------------------------------------- */

static const char report_abort[] = "{\"outcome\":\"error\",\"phase\":\"sample\",\"errno\":98}";

/* An abort before the plan ends the trial for both, and the next one begins; what crosses it is let pass. */
static void abort_before_plan(void **state)
{
    struct world *w = *state;
    uint64_t deadline = MS;
    in_first_trial(w);
    assert_int_equal(say(w, &w->a, WIRE_ABORT, (struct said){.text = report_abort}), 0);
    struct wire_reader r = expect(&w->b, WIRE_ABORT);
    expect_text(&r, WIRE_F_TEXT, "peer a gave up (sample): Address already in use");
    assert_int_equal(say(w, &w->b, WIRE_FACTS, (struct said){.body = "crossed"}), 0);
    assert_int_equal(say(w, &w->b, WIRE_PLAN, (struct said){.body = "b", .stamp = &deadline}), -EPROTO);
    expect_nothing(&w->a);
    assert_int_equal(say(w, &w->b, WIRE_ABORT, (struct said){.text = report_abort}), 0);
    assert_int_equal(w->n_records, 1);
    expect(&w->a, WIRE_RECORD);
    expect(&w->a, WIRE_TRIAL);
    expect(&w->b, WIRE_RECORD);
    expect(&w->b, WIRE_TRIAL);
}

/* b's abort crosses a's plan. */
static void abort_crosses_plan(void **state)
{
    struct world *w = *state;
    uint64_t deadline = MS;
    in_first_trial(w);
    exchange(w);
    assert_int_equal(say(w, &w->b, WIRE_ABORT, (struct said){.text = report_abort}), 0);
    expect(&w->a, WIRE_ABORT);
    assert_int_equal(say(w, &w->a, WIRE_PLAN, (struct said){.body = "plan", .stamp = &deadline}), 0);
    expect_nothing(&w->b);
    assert_int_equal(say(w, &w->a, WIRE_ABORT, (struct said){.text = report_abort}), 0);
    expect(&w->b, WIRE_RECORD);
}

/* After the plan it is one side's report and no more. */
static void abort_after_plan(void **state)
{
    struct world *w = *state;
    in_first_trial(w);
    exchange(w);
    plan(w, 1000 * MS);
    assert_int_equal(say(w, &w->a, WIRE_ABORT, (struct said){.text = report_abort}), 0);
    expect_nothing(&w->b);
    assert_int_equal(say(w, &w->b, WIRE_REPORT, (struct said){.text = report_timeout}), 0);
    assert_int_equal(w->n_records, 1);
}

/* ---- frames out of turn ---------------------------------------------------------------------- */

static void out_of_turn(void **state)
{
    struct world *w = *state;
    uint64_t deadline = MS, forever = UINT64_MAX, other_trial = 6;
    assert_int_equal(join(w, &w->a, WIRE_ROLE_A, "simopen", MS), 0);
    assert_int_equal(say(w, &w->a, WIRE_FACTS, (struct said){.body = "alone"}), -EPROTO);
    assert_int_equal(say(w, &w->a, WIRE_HELLO, (struct said){0}), -EPROTO);
    assert_int_equal(join(w, &w->b, WIRE_ROLE_NONE, "simopen", MS), 0);
    assert_int_equal(say(w, &w->a, WIRE_TRIAL, (struct said){0}), -EPROTO);
    assert_int_equal(say(w, &w->a, WIRE_PONG, (struct said){0}), -EPROTO);
    assert_int_equal(say(w, &w->a, WIRE_FACTS, (struct said){0}), -EPROTO);
    assert_int_equal(say(w, &w->a, WIRE_PLAN, (struct said){.body = "early", .stamp = &deadline}), -EPROTO);
    assert_int_equal(say(w, &w->a, WIRE_FACTS, (struct said){.body = "a"}), 0);
    assert_int_equal(say(w, &w->a, WIRE_FACTS, (struct said){.body = "again"}), -EPROTO);
    assert_int_equal(say(w, &w->b, WIRE_FACTS, (struct said){.body = "b"}), 0);
    assert_int_equal(say(w, &w->b, WIRE_PLAN, (struct said){.body = "b's", .stamp = &deadline}), -EPROTO);
    assert_int_equal(say(w, &w->a, WIRE_PLAN, (struct said){.body = "no deadline"}), -EPROTO);
    assert_int_equal(say(w, &w->a, WIRE_PLAN, (struct said){.body = "endless", .stamp = &forever}), -EPROTO);
    assert_int_equal(say(w, &w->a, WIRE_PLAN, (struct said){.body = "plan", .stamp = &deadline}), 0);
    assert_int_equal(say(w, &w->a, WIRE_PLAN, (struct said){.body = "again", .stamp = &deadline}), -EPROTO);
    assert_int_equal(say(w, &w->a, WIRE_REPORT, (struct said){.text = "not json"}), -EPROTO);
    assert_int_equal(say(w, &w->a, WIRE_REPORT, (struct said){.text = "[]"}), -EPROTO);
    assert_int_equal(say(w, &w->a, WIRE_REPORT, (struct said){0}), -EPROTO);
    assert_int_equal(say(w, &w->a, WIRE_REPORT, (struct said){.text = report_ok, .trial = &other_trial}), -EPROTO);
    assert_int_equal(say(w, &w->a, WIRE_REPORT, (struct said){.text = report_ok}), 0);
    assert_int_equal(say(w, &w->a, WIRE_REPORT, (struct said){.text = report_ok}), -EPROTO);
    assert_int_equal(w->n_records, 0);
}

/* ---- anything at all ------------------------------------------------------------------------- */

/* A peer that only counts: nothing may come for it once S is done with it. */
struct counter {
    bool finished;
    unsigned frames;
};

static void count_send(void *peer, const uint8_t *frame, size_t len)
{
    struct counter *c = peer;
    assert_false(c->finished);
    assert_int_equal(wire_frame_len(frame, len), len);
    c->frames++;
}

static void count_finish(void *peer)
{
    struct counter *c = peer;
    assert_false(c->finished);
    c->finished = true;
}

static void count_record(struct session_host *host, const char *line)
{
    struct record_view v;
    struct world *w = (struct world *)host;
    assert_int_equal(record_view_parse(line, strlen(line), &v), 0);
    w->n_records++;
}

/* One random event of a session of two. */
static void stir(struct world *w, struct base_rng *rng, struct counter peers[2])
{
    static const enum wire_frame_type usual[] = {WIRE_FACTS, WIRE_FACTS, WIRE_PLAN, WIRE_REPORT, WIRE_ABORT, WIRE_NOTE};
    static const char *const texts[] = {report_ok, report_timeout, "{}", "[1]", "{"};
    uint64_t dice = base_rng_below(rng, 40), deadline = base_rng_below(rng, 10) * BASE_NS_PER_S;
    size_t i = base_rng_below(rng, 2);
    struct fake f = {.role = i ? WIRE_ROLE_B : WIRE_ROLE_A};
    struct said said = {
        .body = "b", .text = texts[base_rng_below(rng, 30) % 5 % (base_rng_below(rng, 8) ? 2 : 5)], .stamp = &deadline};
    enum wire_frame_type type = usual[base_rng_below(rng, BASE_ARRAY_LEN(usual))];
    w->now += base_rng_below(rng, BASE_NS_PER_S);
    if (dice == 0)
        w->now += 15 * BASE_NS_PER_S;
    if (dice == 1)
        type = (enum wire_frame_type)(1 + base_rng_below(rng, WIRE_NOTE));
    session_tick(w->s, w->now);
    /* As a host does: no word from a peer that S is done with, and no second word from one that broke the rules. */
    if (peers[i].finished || session_over(w->s))
        return;
    if (dice == 2 || say(w, &f, type, said) < 0) {
        peers[i].finished = true;
        session_left(w->s, f.role);
    }
}

static void anything(void **state)
{
    struct world *w = *state;
    struct base_rng rng;
    unsigned frames = 0;
    base_rng_seed(&rng, 11);
    w->host.send = count_send;
    w->host.finish = count_finish;
    w->host.record = count_record;
    for (unsigned round = 0; round < 3000; round++) {
        struct counter peers[2] = {0};
        enum wire_role role;
        const char *why;
        union base_ep seen = {0};
        struct session_hello h = hello_of(WIRE_ROLE_NONE, "simopen");
        struct session_place place = {.seen = &seen};
        session_free(w->s);
        w->s = session_create(&w->host, "any");
        assert_non_null(w->s);
        for (size_t i = 0; i < 2; i++)
            assert_int_equal(session_join(w->s, &h, &place, &peers[i], w->now, &role, &why), 0);
        for (unsigned step = 0; step < 60 && !session_over(w->s); step++)
            stir(w, &rng, peers);
        if (!session_over(w->s))
            session_left(w->s, WIRE_ROLE_A);
        assert_true(session_over(w->s));
        assert_true(peers[0].finished || peers[1].finished);
        frames += peers[0].frames + peers[1].frames;
    }
    assert_in_range(w->n_records, 1000, 6000);
    assert_in_range(frames, 20000, UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(death_between),
        WORLD_TEST(death_before_facts),
        WORLD_TEST(death_after_one_fact),
        WORLD_TEST(death_before_plan),
        WORLD_TEST(death_while_punching),
        WORLD_TEST(death_after_its_report),
        WORLD_TEST(silence_of_b_before_facts),
        WORLD_TEST(silence_of_a_before_plan),
        WORLD_TEST(silence_after_plan),
        WORLD_TEST(silence_of_both),
        WORLD_TEST(abort_before_plan),
        WORLD_TEST(abort_crosses_plan),
        WORLD_TEST(abort_after_plan),
        WORLD_TEST(out_of_turn),
        WORLD_TEST(anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
