/*
 * Pins: the third peer on a session, two peers with one role, two techniques in one session; start delays that would
 * not let both sides start together; a peer that dies or goes silent in any phase and takes the other's record or
 * connection with it; frames out of turn that pass, or that crossed an abort and are punished for it.
 */
#include <errno.h>

#include "tests/unit/session_fake.h"

struct world {
    struct session_host host; /* first */
    struct fake a, b, c;
    struct session *s;
    char records[4][8192];
    size_t n_records;
    unsigned stepping;
    uint64_t now;
};

static void fake_record(struct session_host *host, const char *line)
{
    struct world *w = (struct world *)host;
    assert_in_range(w->n_records, 0, 3);
    snprintf(w->records[w->n_records++], sizeof(w->records[0]), "%s", line);
}

static void fake_want_step(struct session_host *host, struct session *s)
{
    struct world *w = (struct world *)host;
    assert_ptr_equal(s, w->s);
    w->stepping++;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->host.send = fake_send;
    w->host.finish = fake_finish;
    w->host.record = fake_record;
    w->host.want_step = fake_want_step;
    base_rng_seed(&w->host.masks, 1);
    base_log_init("test", BASE_LOG_ERROR);
    w->now = 1000 * MS;
    w->s = session_create(&w->host, "cell/one");
    *state = w;
    return w->s ? 0 : -1;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    struct fake *all[] = {&w->a, &w->b, &w->c};
    for (size_t i = 0; i < BASE_ARRAY_LEN(all); i++)
        fake_free(all[i]);
    session_free(w->s);
    free(w);
    return 0;
}

/* ---- what peers do --------------------------------------------------------------------------- */

static struct session_hello hello_of(enum wire_role role, const char *technique)
{
    struct session_hello h = {.role = role, .trials = 2, .first = 5, .seed = 77};
    snprintf(h.technique, sizeof(h.technique), "%s", technique);
    snprintf(h.options, sizeof(h.options), "transport=tcp\nmode=plain\nmodest=no\n");
    return h;
}

static int join(struct world *w, struct fake *f, enum wire_role role, const char *technique, uint64_t rtt_ns)
{
    struct session_hello h = hello_of(role, technique);
    union base_ep stun, seen;
    const char *why = NULL;
    assert_int_equal(base_ep_parse("192.0.2.1:3478", &stun), 0);
    assert_int_equal(base_ep_parse("198.51.100.7:4242", &seen), 0);
    struct session_place place = {.stun = &stun, .n_stun = 1, .seen = &seen, .rtt_ns = rtt_ns};
    int err = session_join(w->s, &h, &place, f, w->now, &f->role, &why);
    assert_true(err == 0 || why != NULL);
    return err;
}

/* The next frame that S sent to f must be of this type. */
static struct wire_reader expect(struct fake *f, enum wire_frame_type type)
{
    struct wire_reader r;
    enum wire_frame_type got;
    assert_in_range(f->read + 1, 1, f->n);
    assert_int_equal(wire_frame_open(f->frames[f->read], f->len[f->read], &got, &r), 0);
    assert_int_equal(got, type);
    f->read++;
    return r;
}

static void expect_nothing(const struct fake *f)
{
    assert_int_equal(f->read, f->n);
}

static uint64_t number(const struct wire_reader *r, uint16_t field)
{
    uint64_t n;
    assert_int_equal(wire_get_u64(r, field, &n), 0);
    return n;
}

static void expect_text(const struct wire_reader *r, uint16_t field, const char *part)
{
    static char text[WIRE_FRAME_MAX];
    assert_int_equal(wire_get_text(r, field, text, sizeof(text)), 0);
    if (!strstr(text, part))
        fail_msg("'%s' is not in '%s'", part, text);
}

static void expect_error(struct fake *f, enum wire_error code, const char *part)
{
    struct wire_reader r = expect(f, WIRE_ERROR);
    assert_int_equal(number(&r, WIRE_F_CODE), code);
    expect_text(&r, WIRE_F_TEXT, part);
}

struct said {
    const char *body, *text;
    const uint64_t *stamp, *trial;
};

static int say(struct world *w, struct fake *f, enum wire_frame_type type, struct said said)
{
    static uint8_t buf[WIRE_FRAME_MAX];
    struct wire_writer out;
    struct wire_reader r;
    enum wire_frame_type got;
    const char *why = NULL;
    wire_frame_begin(&out, buf, sizeof(buf), type);
    if (said.body)
        wire_put_text(&out, WIRE_F_BODY, said.body);
    if (said.text)
        wire_put_text(&out, WIRE_F_TEXT, said.text);
    if (said.stamp)
        wire_put_u64(&out, WIRE_F_STAMP, *said.stamp);
    if (said.trial)
        wire_put_u64(&out, WIRE_F_TRIAL, *said.trial);
    int len = wire_frame_end(&out, 3);
    assert_true(len > 0);
    assert_int_equal(wire_frame_open(buf, (size_t)len, &got, &r), 0);
    int err = session_frame(w->s, f->role, type, &r, w->now, &why);
    assert_true(err == 0 || (err == -EPROTO && why));
    return err;
}

static void pong(struct world *w, struct fake *f, const struct wire_reader *ping, uint64_t rtt_ns)
{
    uint64_t stamp = number(ping, WIRE_F_STAMP);
    uint64_t before = w->now;
    w->now = stamp + rtt_ns;
    assert_int_equal(say(w, f, WIRE_PONG, (struct said){.stamp = &stamp}), 0);
    w->now = before > w->now ? before : w->now;
}

static const char report_ok[] =
    "{\"outcome\":\"ok\",\"path\":\"direct\",\"connect_ns\":41000000,\"total_ns\":90000000,\"acked\":true,"
    "\"predicted_p\":0.75,\"phases_ns\":{}}";
static const char report_timeout[] = "{\"outcome\":\"timeout\",\"phase\":\"open\",\"total_ns\":90000000}";

/* Both join and the first trial begins; RTTs of 40 and 100 ms. */
static void both_join(struct world *w)
{
    assert_int_equal(join(w, &w->a, WIRE_ROLE_NONE, "simopen", 40 * MS), 0);
    assert_int_equal(w->a.role, WIRE_ROLE_A);
    assert_int_equal(join(w, &w->b, WIRE_ROLE_NONE, "simopen", 100 * MS), 0);
    assert_int_equal(w->b.role, WIRE_ROLE_B);
}

static void skip_to_trial(struct fake *f)
{
    expect(f, WIRE_JOINED);
    expect(f, WIRE_PING);
    expect(f, WIRE_READY);
    struct wire_reader r = expect(f, WIRE_TRIAL);
    assert_int_equal(number(&r, WIRE_F_TRIAL), 5);
    expect(f, WIRE_PING);
}

static void in_first_trial(struct world *w)
{
    both_join(w);
    skip_to_trial(&w->a);
    skip_to_trial(&w->b);
}

static void exchange(struct world *w)
{
    assert_int_equal(say(w, &w->b, WIRE_FACTS, (struct said){.body = "facts of b"}), 0);
    assert_int_equal(say(w, &w->a, WIRE_FACTS, (struct said){.body = "facts of a"}), 0);
    expect(&w->a, WIRE_FACTS);
    expect(&w->b, WIRE_FACTS);
}

static void plan(struct world *w, uint64_t deadline_ns)
{
    assert_int_equal(say(w, &w->a, WIRE_PLAN, (struct said){.body = "plan", .stamp = &deadline_ns}), 0);
    expect(&w->a, WIRE_PLAN);
    expect(&w->b, WIRE_PLAN);
}

/* ---- joining --------------------------------------------------------------------------------- */

static void joining(void **state)
{
    struct world *w = *state;
    assert_int_equal(join(w, &w->a, WIRE_ROLE_NONE, "simopen", 40 * MS), 0);
    struct wire_reader r = expect(&w->a, WIRE_JOINED);
    union base_ep ep;
    char text[BASE_EP_STRLEN];
    assert_int_equal(number(&r, WIRE_F_ROLE), WIRE_ROLE_A);
    assert_int_equal(number(&r, WIRE_F_RTT_NS), 40 * MS);
    assert_int_equal(wire_get_ep(&r, WIRE_F_STUN, &ep), 0);
    assert_string_equal(base_ep_format(&ep, text), "192.0.2.1:3478");
    assert_int_equal(wire_get_ep(&r, WIRE_F_SEEN, &ep), 0);
    assert_string_equal(base_ep_format(&ep, text), "198.51.100.7:4242");
    expect(&w->a, WIRE_PING);
    expect_nothing(&w->a); /* no READY before the second is there */

    struct session_hello other = hello_of(WIRE_ROLE_NONE, "simopen");
    assert_int_equal(join(w, &w->b, WIRE_ROLE_NONE, "simopen", 100 * MS), 0);
    for (int i = 0; i < 2; i++) {
        struct fake *f = i ? &w->b : &w->a;
        if (i)
            expect(f, WIRE_JOINED), expect(f, WIRE_PING);
        r = expect(f, WIRE_READY);
        expect_text(&r, WIRE_F_TECHNIQUE, "simopen");
        expect_text(&r, WIRE_F_OPTIONS, other.options);
        assert_int_equal(number(&r, WIRE_F_TRIALS), 2);
        assert_int_equal(number(&r, WIRE_F_TRIAL), 5);
        assert_int_equal(number(&r, WIRE_F_SEED), 77);
    }
    assert_int_equal(join(w, &w->c, WIRE_ROLE_NONE, "simopen", 0), WIRE_E_SESSION_FULL);
    assert_int_equal(join(w, &w->c, WIRE_ROLE_B, "simopen", 0), WIRE_E_SESSION_FULL);
    expect_nothing(&w->c);
}

static void roles(void **state)
{
    struct world *w = *state;
    assert_int_equal(join(w, &w->b, WIRE_ROLE_B, "simopen", MS), 0);
    assert_int_equal(join(w, &w->c, WIRE_ROLE_B, "simopen", MS), WIRE_E_ROLE_TAKEN);
    assert_int_equal(join(w, &w->c, WIRE_ROLE_NONE, "portspray", MS), WIRE_E_MISMATCH);
    assert_int_equal(join(w, &w->a, WIRE_ROLE_NONE, "simopen", MS), 0);
    assert_int_equal(w->a.role, WIRE_ROLE_A); /* what is free, though it came second */
    assert_false(session_over(w->s));
}

static void first_leaves_alone(void **state)
{
    struct world *w = *state;
    assert_int_equal(join(w, &w->a, WIRE_ROLE_NONE, "simopen", MS), 0);
    session_left(w->s, WIRE_ROLE_A);
    assert_true(session_over(w->s));
    assert_int_equal(w->n_records, 0);
}

/* ---- a whole session ------------------------------------------------------------------------- */

static void two_trials(void **state)
{
    struct world *w = *state;
    in_first_trial(w);
    assert_int_equal(say(w, &w->b, WIRE_FACTS, (struct said){.body = "facts of b"}), 0);
    struct wire_reader r = expect(&w->a, WIRE_FACTS); /* forwarded at once */
    expect_text(&r, WIRE_F_BODY, "facts of b");
    assert_int_equal(number(&r, WIRE_F_RTT_NS), 40 * MS);
    assert_int_equal(number(&r, WIRE_F_PEER_RTT_NS), 100 * MS);
    assert_int_equal(say(w, &w->a, WIRE_FACTS, (struct said){.body = "facts of a"}), 0);
    expect(&w->b, WIRE_FACTS);

    uint64_t deadline = 5000 * MS;
    assert_int_equal(say(w, &w->a, WIRE_PLAN, (struct said){.body = "the plan", .stamp = &deadline}), 0);
    r = expect(&w->a, WIRE_PLAN);
    expect_text(&r, WIRE_F_BODY, "the plan");
    assert_int_equal(number(&r, WIRE_F_DELAY_NS), 30 * MS); /* 50 - 20 */
    assert_int_equal(number(&r, WIRE_F_RTT_NS), 40 * MS);
    assert_int_equal(number(&r, WIRE_F_PEER_RTT_NS), 100 * MS);
    r = expect(&w->b, WIRE_PLAN);
    assert_int_equal(number(&r, WIRE_F_DELAY_NS), 0);
    assert_int_equal(number(&r, WIRE_F_RTT_NS), 100 * MS);

    assert_int_equal(say(w, &w->b, WIRE_NOTE, (struct said){.body = "holes ready"}), 0);
    r = expect(&w->a, WIRE_NOTE);
    expect_text(&r, WIRE_F_BODY, "holes ready");

    uint64_t trial = 5;
    assert_int_equal(say(w, &w->a, WIRE_REPORT, (struct said){.text = report_ok, .trial = &trial}), 0);
    expect_nothing(&w->b);
    assert_int_equal(say(w, &w->b, WIRE_NOTE, (struct said){.body = "late"}), 0); /* a is done: dropped */
    expect_nothing(&w->a);
    assert_int_equal(say(w, &w->b, WIRE_REPORT, (struct said){.text = report_ok, .trial = &trial}), 0);
    assert_int_equal(w->n_records, 1);
    static const char *const parts[] = {"\"cell\":\"cell/one\"", "\"trial\":5",         "\"seed\":77",
                                        "\"mode\":\"plain\"",    "\"outcome\":\"ok\"",  "\"transport\":\"tcp\"",
                                        "\"rtt_ns\":70000000",   "\"predicted_p\":0.75"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(parts); i++)
        if (!strstr(w->records[0], parts[i]))
            fail_msg("no %s in %s", parts[i], w->records[0]);
    r = expect(&w->a, WIRE_RECORD);
    expect_text(&r, WIRE_F_TEXT, w->records[0]);
    assert_int_equal(number(&r, WIRE_F_TRIAL), 5);
    expect(&w->b, WIRE_RECORD);

    r = expect(&w->a, WIRE_TRIAL);
    assert_int_equal(number(&r, WIRE_F_TRIAL), 6);
    expect(&w->a, WIRE_PING);
    expect(&w->b, WIRE_TRIAL);
    expect(&w->b, WIRE_PING);
    exchange(w);
    plan(w, deadline);
    assert_int_equal(say(w, &w->b, WIRE_REPORT, (struct said){.text = report_timeout}), 0);
    assert_int_equal(say(w, &w->a, WIRE_REPORT, (struct said){.text = report_timeout}), 0);
    assert_int_equal(w->n_records, 2);
    assert_non_null(strstr(w->records[1], "\"outcome\":\"timeout\""));
    expect(&w->a, WIRE_RECORD);
    expect(&w->b, WIRE_RECORD);
    expect(&w->a, WIRE_BYE);
    expect(&w->b, WIRE_BYE);
    assert_true(w->a.finished && w->b.finished && session_over(w->s));
}

/* With step, each trial waits for its line. */
static void stepping(void **state)
{
    struct world *w = *state;
    w->host.step = true;
    both_join(w);
    expect(&w->a, WIRE_JOINED);
    expect(&w->a, WIRE_PING);
    expect(&w->a, WIRE_READY);
    expect_nothing(&w->a);
    assert_int_equal(w->stepping, 1);
    session_tick(w->s, w->now + 3600 * BASE_NS_PER_S); /* nobody owes anything meanwhile */
    expect_nothing(&w->a);
    session_step(w->s, w->now);
    expect(&w->a, WIRE_TRIAL);
}

/* ---- round trips and delays ------------------------------------------------------------------ */

static void delays(void **state)
{
    (void)state;
    static const struct {
        uint64_t rtt_a, rtt_b, delay_a, delay_b;
    } cases[] = {{0, 0, 0, 0}, {40, 40, 0, 0}, {40, 100, 30, 0}, {100, 40, 0, 30}, {0, 1000, 500, 0}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        uint64_t a, b;
        session_delays(cases[i].rtt_a, cases[i].rtt_b, &a, &b);
        assert_int_equal(a, cases[i].delay_a);
        assert_int_equal(b, cases[i].delay_b);
        /* Both start when the plan's way out and the delay are over. */
        assert_int_equal(cases[i].rtt_a / 2 + a, cases[i].rtt_b / 2 + b);
    }
}

/* The least of the last samples counts; a stamp that was not sent is worth nothing. */
static void pings(void **state)
{
    struct world *w = *state;
    both_join(w);
    expect(&w->a, WIRE_JOINED);
    struct wire_reader r = expect(&w->a, WIRE_PING);
    uint64_t forged = number(&r, WIRE_F_STAMP) - 1;
    assert_int_equal(say(w, &w->a, WIRE_PONG, (struct said){.stamp = &forged}), 0);
    expect(&w->a, WIRE_READY);
    expect(&w->a, WIRE_TRIAL);
    r = expect(&w->a, WIRE_PING);
    pong(w, &w->a, &r, 38 * MS);
    assert_int_equal(say(w, &w->b, WIRE_FACTS, (struct said){.body = "x"}), 0);
    r = expect(&w->a, WIRE_FACTS);
    assert_int_equal(number(&r, WIRE_F_RTT_NS), 38 * MS);
    /* The same answer twice is one sample. */
    uint64_t none = 0;
    assert_int_equal(say(w, &w->a, WIRE_PONG, (struct said){.stamp = &none}), 0);
    assert_int_equal(say(w, &w->a, WIRE_FACTS, (struct said){.body = "x"}), 0);
    for (size_t i = 0; i < 4; i++)
        expect(&w->b, (enum wire_frame_type[]){WIRE_JOINED, WIRE_PING, WIRE_READY, WIRE_TRIAL}[i]);
    expect(&w->b, WIRE_PING);
    r = expect(&w->b, WIRE_FACTS);
    assert_int_equal(number(&r, WIRE_F_PEER_RTT_NS), 38 * MS);
}

/* ---- death in each phase --------------------------------------------------------------------- */

enum stage { JOINED_ALONE, STEP_WAIT, NO_FACTS, ONE_FACT, NO_PLAN, PUNCHING, ONE_REPORT };

static void bring_to(struct world *w, enum stage stage)
{
    if (stage == JOINED_ALONE) {
        assert_int_equal(join(w, &w->a, WIRE_ROLE_A, "simopen", MS), 0);
        expect(&w->a, WIRE_JOINED);
        expect(&w->a, WIRE_PING);
        return;
    }
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

/* ---- HELLO ----------------------------------------------------------------------------------- */

static int read_hello(const char *session, size_t session_len, const char *technique, uint64_t role, uint64_t trials)
{
    uint8_t buf[512], nonce[WIRE_NONCE_LEN] = {0};
    struct wire_writer out;
    struct wire_reader r;
    struct session_hello hello;
    const char *why = NULL;
    wire_fields_begin(&out, buf, sizeof(buf));
    wire_put_bytes(&out, WIRE_F_SESSION, session, session_len);
    wire_put_text(&out, WIRE_F_TECHNIQUE, technique);
    wire_put_bytes(&out, WIRE_F_NONCE, nonce, sizeof(nonce));
    wire_put_u64(&out, WIRE_F_ROLE, role);
    wire_put_u64(&out, WIRE_F_TRIALS, trials);
    int len = wire_fields_end(&out);
    assert_true(len > 0);
    assert_int_equal(wire_fields_open(buf, (size_t)len, &r), 0);
    int err = session_read_hello(&r, &hello, &why);
    assert_true(err == 0 || why);
    return err;
}

static void hellos(void **state)
{
    (void)state;
    char name[WIRE_SESSION_MAX + 1];
    memset(name, 'n', sizeof(name));
    assert_int_equal(read_hello("cell/one \xc3\xa9", 11, "simopen", 0, 1), 0);
    assert_int_equal(read_hello(name, WIRE_SESSION_MAX, "simopen", 2, SESSION_TRIALS_MAX), 0);
    assert_int_equal(read_hello(name, WIRE_SESSION_MAX + 1, "simopen", 0, 1), -EBADMSG);
    assert_int_equal(read_hello("", 0, "simopen", 0, 1), -EBADMSG);
    assert_int_equal(read_hello("a\nb", 3, "simopen", 0, 1), -EBADMSG);
    assert_int_equal(read_hello("a\0b", 3, "simopen", 0, 1), -EBADMSG);
    assert_int_equal(read_hello("a\x1b[2J", 5, "simopen", 0, 1), -EBADMSG);
    assert_int_equal(read_hello("s", 1, "", 0, 1), -EBADMSG);
    assert_int_equal(read_hello("s", 1, "a technique whose name is too long", 0, 1), -EBADMSG);
    assert_int_equal(read_hello("s", 1, "simopen", 3, 1), -EBADMSG);
    assert_int_equal(read_hello("s", 1, "simopen", 0, 0), -EBADMSG);
    assert_int_equal(read_hello("s", 1, "simopen", 0, SESSION_TRIALS_MAX + 1), -EBADMSG);
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(joining),
        WORLD_TEST(roles),
        WORLD_TEST(first_leaves_alone),
        WORLD_TEST(two_trials),
        WORLD_TEST(stepping),
        cmocka_unit_test(delays),
        WORLD_TEST(pings),
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
        cmocka_unit_test(hellos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
