/*
 * Sessions as they should be. Pins: the third peer on a session, two peers with one role, two techniques in one
 * session; a frame of a trial that does not come, or comes before its turn; start delays that would not let both sides
 * start together; a round trip that is not the least one measured; a HELLO that is taken though it breaks a rule.
 */
#include "tests/unit/session_world.h"

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

static void pong(struct world *w, struct fake *f, const struct wire_reader *ping, uint64_t rtt_ns)
{
    uint64_t stamp = number(ping, WIRE_F_STAMP);
    uint64_t before = w->now;
    w->now = stamp + rtt_ns;
    assert_int_equal(say(w, f, WIRE_PONG, (struct said){.stamp = &stamp}), 0);
    w->now = before > w->now ? before : w->now;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(joining),    WORLD_TEST(roles),        WORLD_TEST(first_leaves_alone),
        WORLD_TEST(two_trials), WORLD_TEST(stepping),     cmocka_unit_test(delays),
        WORLD_TEST(pings),      cmocka_unit_test(hellos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
