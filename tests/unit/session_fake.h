/* A peer of a session in memory: what S sent it, what it expects of that, and whether S is done with it. */
#ifndef TESTS_UNIT_SESSION_FAKE_H
#define TESTS_UNIT_SESSION_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/rendezvous/session.h"

#define MS        BASE_NS_PER_MS
#define MAX_FRAME 64

struct fake {
    enum wire_role role;
    size_t n, read;
    uint8_t *frames[MAX_FRAME];
    size_t len[MAX_FRAME];
    bool finished;
    uint64_t lasting; /* frames that it has read and that last: what it says it has when it comes back */
};

static inline void fake_send(void *peer, const uint8_t *frame, size_t len)
{
    struct fake *f = peer;
    assert_false(f->finished);
    assert_in_range(f->n, 0, MAX_FRAME - 1);
    f->frames[f->n] = malloc(len);
    assert_non_null(f->frames[f->n]);
    memcpy(f->frames[f->n], frame, len);
    f->len[f->n++] = len;
}

static inline void fake_finish(void *peer)
{
    struct fake *f = peer;
    assert_false(f->finished);
    f->finished = true;
}

static inline void fake_free(struct fake *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->frames[i]);
}

/* The next frame that S sent must be of this type. */
static inline struct wire_reader expect(struct fake *f, enum wire_frame_type type)
{
    struct wire_reader r;
    enum wire_frame_type got;
    assert_in_range(f->read + 1, 1, f->n);
    assert_int_equal(wire_frame_open(f->frames[f->read], f->len[f->read], &got, &r), 0);
    assert_int_equal(got, type);
    f->read++;
    f->lasting += wire_frame_lasts(type);
    return r;
}

static inline void expect_nothing(const struct fake *f)
{
    assert_int_equal(f->read, f->n);
}

static inline uint64_t number(const struct wire_reader *r, uint16_t field)
{
    uint64_t n;
    assert_int_equal(wire_get_u64(r, field, &n), 0);
    return n;
}

static inline void expect_text(const struct wire_reader *r, uint16_t field, const char *part)
{
    static char text[WIRE_FRAME_MAX];
    assert_int_equal(wire_get_text(r, field, text, sizeof(text)), 0);
    if (!strstr(text, part))
        fail_msg("'%s' is not in '%s'", part, text);
}

#endif
