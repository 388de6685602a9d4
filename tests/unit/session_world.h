/* A session in memory with two peers, a third one that comes too late, and what they do. */
#ifndef TESTS_UNIT_SESSION_WORLD_H
#define TESTS_UNIT_SESSION_WORLD_H

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

static inline void fake_record(struct session_host *host, const char *line)
{
    struct world *w = (struct world *)host;
    assert_in_range(w->n_records, 0, 3);
    snprintf(w->records[w->n_records++], sizeof(w->records[0]), "%s", line);
}

static inline void fake_want_step(struct session_host *host, struct session *s)
{
    struct world *w = (struct world *)host;
    assert_ptr_equal(s, w->s);
    w->stepping++;
}

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
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

static inline struct session_hello hello_of(enum wire_role role, const char *technique)
{
    struct session_hello h = {.role = role, .trials = 2, .first = 5, .seed = 77};
    snprintf(h.technique, sizeof(h.technique), "%s", technique);
    snprintf(h.options, sizeof(h.options), "transport=tcp\nmode=plain\nmodest=no\n");
    return h;
}

static inline int join(struct world *w, struct fake *f, enum wire_role role, const char *technique, uint64_t rtt_ns)
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

struct said {
    const char *body, *text;
    const uint64_t *stamp, *trial;
};

static inline int say(struct world *w, struct fake *f, enum wire_frame_type type, struct said said)
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

static const char report_ok[] =
    "{\"outcome\":\"ok\",\"path\":\"direct\",\"connect_ns\":41000000,\"total_ns\":90000000,\"acked\":true,"
    "\"predicted_p\":0.75,\"phases_ns\":{}}";
static const char report_timeout[] = "{\"outcome\":\"timeout\",\"phase\":\"open\",\"total_ns\":90000000}";

/* Both join and the first trial begins; RTTs of 40 and 100 ms. */
static inline void both_join(struct world *w)
{
    assert_int_equal(join(w, &w->a, WIRE_ROLE_NONE, "simopen", 40 * MS), 0);
    assert_int_equal(w->a.role, WIRE_ROLE_A);
    assert_int_equal(join(w, &w->b, WIRE_ROLE_NONE, "simopen", 100 * MS), 0);
    assert_int_equal(w->b.role, WIRE_ROLE_B);
}

static inline void skip_to_trial(struct fake *f)
{
    expect(f, WIRE_JOINED);
    expect(f, WIRE_PING);
    expect(f, WIRE_READY);
    struct wire_reader r = expect(f, WIRE_TRIAL);
    assert_int_equal(number(&r, WIRE_F_TRIAL), 5);
    expect(f, WIRE_PING);
}

static inline void in_first_trial(struct world *w)
{
    both_join(w);
    skip_to_trial(&w->a);
    skip_to_trial(&w->b);
}

static inline void exchange(struct world *w)
{
    assert_int_equal(say(w, &w->b, WIRE_FACTS, (struct said){.body = "facts of b"}), 0);
    assert_int_equal(say(w, &w->a, WIRE_FACTS, (struct said){.body = "facts of a"}), 0);
    expect(&w->a, WIRE_FACTS);
    expect(&w->b, WIRE_FACTS);
}

static inline void plan(struct world *w, uint64_t deadline_ns)
{
    assert_int_equal(say(w, &w->a, WIRE_PLAN, (struct said){.body = "plan", .stamp = &deadline_ns}), 0);
    expect(&w->a, WIRE_PLAN);
    expect(&w->b, WIRE_PLAN);
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
