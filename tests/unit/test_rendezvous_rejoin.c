/*
 * Coming back to a session. Pins: a frame that is lost or comes twice to one whose connection was replaced; a place
 * that is given to somebody else meanwhile, or kept for ever; a peer that ended its connection and is waited for; a
 * last record that the one who was away never sees; a name that stays taken once all is done.
 */
#include <errno.h>

#include "tests/unit/session_fake.h"

struct world {
    struct session_host host; /* first */
    struct fake fakes[8];     /* connections, as they come */
    struct fake *a, *b;
    struct session *s;
    char records[4][4096];
    size_t n_records;
    uint64_t started, started_trial;
    uint64_t now;
};

static void fake_record(struct session_host *host, const char *line)
{
    struct world *w = (struct world *)host;
    assert_in_range(w->n_records, 0, 3);
    snprintf(w->records[w->n_records++], sizeof(w->records[0]), "%s", line);
}

static void fake_started(struct session_host *host, const struct session *s, uint64_t trial, uint64_t in_ns)
{
    struct world *w = (struct world *)host;
    assert_ptr_equal(s, w->s);
    w->started_trial = trial;
    w->started = in_ns;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->host.send = fake_send;
    w->host.finish = fake_finish;
    w->host.record = fake_record;
    w->host.started = fake_started;
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
    for (size_t i = 0; i < BASE_ARRAY_LEN(w->fakes); i++)
        fake_free(&w->fakes[i]);
    session_free(w->s);
    free(w);
    return 0;
}

/* ---- what peers do --------------------------------------------------------------------------- */

static const uint8_t token_a[WIRE_TOKEN_LEN] = "token of a", token_b[WIRE_TOKEN_LEN] = "token of b";

static struct session_place place_of(enum wire_role role, const union base_ep *seen)
{
    return (struct session_place){
        .stun = seen, .n_stun = 1, .seen = seen, .rtt_ns = 40 * MS, .token = role == WIRE_ROLE_A ? token_a : token_b};
}

static int join(struct world *w, struct fake *f, enum wire_role role, bool can_rejoin)
{
    struct session_hello h = {.role = role, .trials = 2, .technique = "portspray", .can_rejoin = can_rejoin};
    union base_ep seen;
    const char *why = NULL;
    assert_int_equal(base_ep_parse("198.51.100.7:4242", &seen), 0);
    struct session_place place = place_of(role, &seen);
    int err = session_join(w->s, &h, &place, f, w->now, &f->role, &why);
    assert_true(err == 0 || why != NULL);
    return err;
}

static int rejoin(struct world *w, struct fake *f, enum wire_role role, uint64_t received)
{
    struct session_hello h = {.role = role, .can_rejoin = true, .rejoin = true, .received = received};
    union base_ep seen;
    const char *why = NULL;
    assert_int_equal(base_ep_parse("198.51.100.101:5151", &seen), 0);
    struct session_place place = place_of(role, &seen);
    f->role = role;
    int err = session_rejoin(w->s, &h, &place, f, w->now, &why);
    f->lasting = received;
    assert_true(err == 0 || why != NULL);
    return err;
}

static int say_with(struct world *w, struct fake *f, enum wire_frame_type type, const char *text, const uint64_t *stamp,
                    const uint64_t *received)
{
    static uint8_t buf[WIRE_FRAME_MAX];
    struct wire_writer out;
    struct wire_reader r;
    enum wire_frame_type got;
    const char *why = NULL;
    wire_frame_begin(&out, buf, sizeof(buf), type);
    if (text)
        wire_put_text(&out, type == WIRE_REPORT ? WIRE_F_TEXT : WIRE_F_BODY, text);
    if (stamp)
        wire_put_u64(&out, WIRE_F_STAMP, *stamp);
    if (received)
        wire_put_u64(&out, WIRE_F_RECEIVED, *received);
    int len = wire_frame_end(&out, 3);
    assert_true(len > 0);
    assert_int_equal(wire_frame_open(buf, (size_t)len, &got, &r), 0);
    int err = session_frame(w->s, f->role, type, &r, w->now, &why);
    assert_true(err == 0 || (err == -EPROTO && why));
    return err;
}

static void say(struct world *w, struct fake *f, enum wire_frame_type type, const char *text)
{
    assert_int_equal(say_with(w, f, type, text, NULL, NULL), 0);
}

static const char report_ok[] = "{\"outcome\":\"ok\",\"path\":\"direct\",\"connect_ns\":41000000,"
                                "\"total_ns\":90000000,\"acked\":true,\"phases_ns\":{}}";

static void skip_to_trial(struct fake *f, const uint8_t *token)
{
    uint8_t got[WIRE_TOKEN_LEN];
    struct wire_reader r = expect(f, WIRE_JOINED);
    assert_int_equal(wire_get_exact(&r, WIRE_F_TOKEN, got, sizeof(got)), 0);
    assert_memory_equal(got, token, sizeof(got));
    assert_int_equal(number(&r, WIRE_F_RECEIVED), 0);
    expect(f, WIRE_PING);
    expect(f, WIRE_READY);
    expect(f, WIRE_TRIAL);
    expect(f, WIRE_PING);
}

static void in_first_trial(struct world *w)
{
    w->a = &w->fakes[0];
    w->b = &w->fakes[1];
    assert_int_equal(join(w, w->a, WIRE_ROLE_A, true), 0);
    assert_int_equal(join(w, w->b, WIRE_ROLE_B, true), 0);
    skip_to_trial(w->a, token_a);
    skip_to_trial(w->b, token_b);
}

static void plan(struct world *w)
{
    uint64_t deadline = 2000 * MS;
    assert_int_equal(say_with(w, w->a, WIRE_PLAN, "plan", &deadline, NULL), 0);
}

/* b's place on the next connection. */
static void b_comes_back(struct world *w, uint64_t received)
{
    struct fake *back = w->b + 1;
    assert_int_equal(rejoin(w, back, WIRE_ROLE_B, received), 0);
    w->b = back;
    struct wire_reader r = expect(w->b, WIRE_JOINED);
    assert_int_equal(number(&r, WIRE_F_ROLE), WIRE_ROLE_B);
    assert_true(wire_get_u64(&r, WIRE_F_RECEIVED, &(uint64_t){0}) == 0);
}

/* ---- a trial goes on ------------------------------------------------------------------------- */

/* b is away while the facts, the plan and a note come, and has read only the trial's beginning. */
static void away_for_most_of_a_trial(void **state)
{
    struct world *w = *state;
    in_first_trial(w);
    uint64_t had = w->b->lasting; /* READY, TRIAL */
    assert_int_equal(had, 2);
    say(w, w->b, WIRE_FACTS, "facts of b");
    session_vanished(w->s, WIRE_ROLE_B, w->now);
    assert_false(session_over(w->s));
    expect(w->a, WIRE_FACTS);
    say(w, w->a, WIRE_FACTS, "facts of a");
    plan(w);
    assert_int_equal(w->started_trial, 0);
    assert_int_equal(w->started, 20 * MS);
    expect(w->a, WIRE_PLAN);
    say(w, w->a, WIRE_NOTE, "a note");
    expect_nothing(w->b);
    w->now += SESSION_AWAY_NS - 1;
    session_tick(w->s, w->now);
    expect_nothing(w->a); /* nobody is told of it: it is in time */

    b_comes_back(w, had);
    struct wire_reader r = expect(w->b, WIRE_FACTS);
    expect_text(&r, WIRE_F_BODY, "facts of a");
    r = expect(w->b, WIRE_PLAN);
    expect_text(&r, WIRE_F_BODY, "plan");
    r = expect(w->b, WIRE_NOTE);
    expect_text(&r, WIRE_F_BODY, "a note");
    expect(w->b, WIRE_PING);
    expect_nothing(w->b);
    /* And it goes on as if nothing had been. */
    say(w, w->b, WIRE_NOTE, "back");
    expect(w->a, WIRE_NOTE);
    say(w, w->a, WIRE_REPORT, report_ok);
    say(w, w->b, WIRE_REPORT, report_ok);
    assert_int_equal(w->n_records, 1);
    assert_non_null(strstr(w->records[0], "\"outcome\":\"ok\""));
    expect(w->b, WIRE_RECORD);
    expect(w->b, WIRE_TRIAL);
}

/* Only what it lacks, although S does not know yet that the connection before is dead; and that one is finished. */
static void again_and_again(void **state)
{
    struct world *w = *state;
    in_first_trial(w);
    say(w, w->a, WIRE_FACTS, "facts of a");
    expect(w->b, WIRE_FACTS);
    struct fake *before = w->b;
    b_comes_back(w, before->lasting);
    assert_true(before->finished);
    expect(w->b, WIRE_PING);
    expect_nothing(w->b);
    say(w, w->b, WIRE_FACTS, "facts of b");
    plan(w);
    before = w->b;
    b_comes_back(w, before->lasting);
    assert_true(before->finished);
    expect(w->b, WIRE_PLAN);
    expect(w->b, WIRE_PING);
    expect_nothing(w->b);
    /* The answer to the first JOINED never came: the same once more. */
    b_comes_back(w, before->lasting);
    expect(w->b, WIRE_PLAN);
}

/* What S has of the peer is told, so that the peer sends only the rest. */
static void tells_what_came(void **state)
{
    struct world *w = *state;
    uint64_t stamp = 9;
    in_first_trial(w);
    say(w, w->b, WIRE_FACTS, "facts of b");
    assert_int_equal(say_with(w, w->b, WIRE_PING, NULL, &stamp, &w->b->lasting), 0);
    struct wire_reader r = expect(w->b, WIRE_PONG);
    assert_int_equal(number(&r, WIRE_F_STAMP), 9);
    assert_int_equal(number(&r, WIRE_F_RECEIVED), 1);
    assert_int_equal(rejoin(w, w->b + 1, WIRE_ROLE_B, w->b->lasting), 0);
    r = expect(w->b + 1, WIRE_JOINED);
    assert_int_equal(number(&r, WIRE_F_RECEIVED), 1);
    expect(w->b + 1, WIRE_PING);
    expect_nothing(w->b + 1);
}

/* ---- who may not ----------------------------------------------------------------------------- */

static void nobody_else(void **state)
{
    struct world *w = *state;
    in_first_trial(w);
    session_vanished(w->s, WIRE_ROLE_B, w->now);
    assert_int_equal(join(w, &w->fakes[5], WIRE_ROLE_B, true), WIRE_E_SESSION_FULL);
    assert_int_equal(join(w, &w->fakes[5], WIRE_ROLE_NONE, false), WIRE_E_SESSION_FULL);
    expect_nothing(&w->fakes[5]);
    assert_memory_equal(session_token(w->s, WIRE_ROLE_A), token_a, WIRE_TOKEN_LEN);
    assert_memory_equal(session_token(w->s, WIRE_ROLE_B), token_b, WIRE_TOKEN_LEN);
    assert_null(session_token(w->s, WIRE_ROLE_NONE));
    /* More than S ever said. */
    assert_int_equal(rejoin(w, &w->fakes[5], WIRE_ROLE_B, 99), WIRE_E_GONE);
    assert_int_equal(rejoin(w, w->b + 1, WIRE_ROLE_B, w->b->lasting), 0);
}

/* A place that nobody took, or whose peer cannot come back, has no token. */
static void no_such_place(void **state)
{
    struct world *w = *state;
    assert_int_equal(join(w, &w->fakes[0], WIRE_ROLE_A, false), 0);
    struct wire_reader r = expect(&w->fakes[0], WIRE_JOINED);
    uint8_t token[WIRE_TOKEN_LEN];
    assert_int_equal(wire_get_exact(&r, WIRE_F_TOKEN, token, sizeof(token)), -ENOENT);
    assert_null(session_token(w->s, WIRE_ROLE_A));
    assert_null(session_token(w->s, WIRE_ROLE_B));
    assert_int_equal(rejoin(w, &w->fakes[2], WIRE_ROLE_A, 0), WIRE_E_GONE);
    assert_int_equal(rejoin(w, &w->fakes[2], WIRE_ROLE_B, 0), WIRE_E_GONE);
    session_vanished(w->s, WIRE_ROLE_A, w->now);
    assert_true(session_over(w->s));
}

static void too_late(void **state)
{
    struct world *w = *state;
    in_first_trial(w);
    session_vanished(w->s, WIRE_ROLE_B, w->now);
    w->now += SESSION_AWAY_NS;
    session_tick(w->s, w->now);
    assert_int_equal(w->n_records, 1);
    assert_non_null(strstr(w->records[0], "\"outcome\":\"error\""));
    expect(w->a, WIRE_RECORD);
    struct wire_reader r = expect(w->a, WIRE_ERROR);
    assert_int_equal(number(&r, WIRE_F_CODE), WIRE_E_PEER_LEFT);
    expect_text(&r, WIRE_F_TEXT, "peer b did not come back within 20 s in trial 0");
    assert_true(w->a->finished && session_over(w->s));
    assert_int_equal(rejoin(w, w->b + 1, WIRE_ROLE_B, w->b->lasting), WIRE_E_GONE);
}

/* Who ends its connection is not waited for. */
static void left_is_left(void **state)
{
    struct world *w = *state;
    in_first_trial(w);
    session_left(w->s, WIRE_ROLE_B);
    expect(w->a, WIRE_RECORD);
    expect(w->a, WIRE_ERROR);
    assert_true(session_over(w->s));
    assert_null(session_token(w->s, WIRE_ROLE_B));
}

/* More than S keeps for one: it cannot come back, and everybody hears of it when its time is up. */
static void too_much(void **state)
{
    static char body[200 * 1024];
    struct world *w = *state;
    in_first_trial(w);
    memset(body, 'x', sizeof(body) - 1);
    say(w, w->a, WIRE_FACTS, "facts of a");
    session_vanished(w->s, WIRE_ROLE_B, w->now);
    for (unsigned i = 0; i < 5; i++)
        say(w, w->a, WIRE_NOTE, body);
    assert_int_equal(rejoin(w, w->b + 1, WIRE_ROLE_B, w->b->lasting), WIRE_E_GONE);
    session_tick(w->s, w->now + SESSION_AWAY_NS);
    assert_true(session_over(w->s));
}

/* ---- the end --------------------------------------------------------------------------------- */

static void whole_trial(struct world *w)
{
    say(w, w->a, WIRE_FACTS, "a");
    say(w, w->b, WIRE_FACTS, "b");
    plan(w);
    say(w, w->a, WIRE_REPORT, report_ok);
    say(w, w->b, WIRE_REPORT, report_ok);
}

/* The last record and BYE are for one who was away as well; then each end closes by itself. */
static void away_at_the_end(void **state)
{
    struct world *w = *state;
    in_first_trial(w);
    whole_trial(w);
    whole_trial(w);
    assert_true(session_ended(w->s));
    assert_false(session_over(w->s));
    session_left(w->s, WIRE_ROLE_A);
    assert_false(session_over(w->s));
    session_vanished(w->s, WIRE_ROLE_B, w->now);
    b_comes_back(w, w->b->lasting);
    static const enum wire_frame_type rest[] = {WIRE_FACTS, WIRE_PLAN, WIRE_RECORD, WIRE_TRIAL,
                                                WIRE_FACTS, WIRE_PLAN, WIRE_RECORD, WIRE_BYE};
    for (size_t i = 0; i < BASE_ARRAY_LEN(rest); i++)
        expect(w->b, rest[i]);
    session_left(w->s, WIRE_ROLE_B);
    assert_true(session_over(w->s));
}

/* Nobody is waited for without end. */
static void the_end_has_an_end(void **state)
{
    struct world *w = *state;
    in_first_trial(w);
    whole_trial(w);
    whole_trial(w);
    session_tick(w->s, w->now + SESSION_AWAY_NS);
    assert_true(w->a->finished && w->b->finished && session_over(w->s));
    assert_int_equal(w->n_records, 2);
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(away_for_most_of_a_trial),
        WORLD_TEST(again_and_again),
        WORLD_TEST(tells_what_came),
        WORLD_TEST(nobody_else),
        WORLD_TEST(no_such_place),
        WORLD_TEST(too_late),
        WORLD_TEST(left_is_left),
        WORLD_TEST(too_much),
        WORLD_TEST(away_at_the_end),
        WORLD_TEST(the_end_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
