/* What the tests of bench/loop share: an op that remembers what its callback saw. */
#ifndef TESTS_UNIT_LOOP_SEEN_H
#define TESTS_UNIT_LOOP_SEEN_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/loop/loop.h"

/* What a callback saw. */
struct seen {
    struct loop_op op;
    struct loop *loop;
    unsigned calls;
    int res;
    uint64_t when_ns; /* timers: when it was to fire */
    bool early;
    unsigned restarts;      /* timers: how often to start again */
    struct seen *to_cancel; /* cancel this one from the callback */
    bool stops;
};

static inline void seen_done(struct loop_op *op, int res)
{
    struct seen *s = op->owner;
    s->calls++;
    s->res = res;
    s->early = s->early || (s->when_ns && res == 0 && base_now_ns() < s->when_ns);
    if (s->to_cancel)
        loop_cancel(s->loop, &s->to_cancel->op);
    if (s->stops)
        loop_stop(s->loop);
    if (s->restarts > 0) {
        s->restarts--;
        loop_timer(s->loop, op, s->when_ns);
    }
}

static inline void seen_init(struct seen *s, struct loop *loop)
{
    *s = (struct seen){.loop = loop, .res = -EDOM};
    loop_op_init(&s->op, seen_done, s);
}

/* A watchdog in place of a hang: no test here needs a second of waiting. */
static inline void run(struct loop *loop)
{
    alarm(60);
    assert_int_equal(loop_run(loop), 0);
    alarm(0);
}

static inline struct loop *make(unsigned entries)
{
    struct loop *loop = NULL;
    int err = loop_create(&loop, entries);
    if (err < 0)
        fail_msg("loop_create: %s", loop_explain(err));
    return loop;
}

static inline void bound_pair(int sv[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
}

static inline int listener(union base_ep *at)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(base_ep_parse("127.0.0.1:0", at), 0);
    assert_int_equal(bind(fd, &at->sa, base_ep_len(at)), 0);
    assert_int_equal(listen(fd, 16), 0);
    socklen_t len = sizeof(*at);
    assert_int_equal(getsockname(fd, &at->sa, &len), 0);
    return fd;
}

/* submitted: the kernel has the ops when they are cancelled; else they are still in the submission queue. */

#endif
