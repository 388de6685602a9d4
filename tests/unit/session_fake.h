/* A peer of a session in memory: what S sent it, and whether S is done with it. */
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

#endif
