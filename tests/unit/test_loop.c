/*
 * bench/loop: the completion contract. Pins: an op that completes twice, never, or inside the call that started it; a
 * cancel that loses the completion or hits a later use of the same op; completions lost when the queues overflow or
 * when a callback stops the loop; a timer that fires early or that busy ops starve; a missing io_uring that crashes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/loop/loop.h"
#include "tests/unit/loop_seen.h"

/* ---- life ------------------------------------------------------------------------------------ */

static void every_size_can_be_made(void **state)
{
    (void)state;
    /* The completion queue is a multiple of the submission queue and has a limit of its own in the kernel. */
    static const unsigned sizes[] = {0, 1, 2, 8, 1000, 4096, 8192, 32768};
    for (size_t i = 0; i < BASE_ARRAY_LEN(sizes); i++) {
        struct loop *loop = make(sizes[i]);
        assert_int_equal(loop_pending(loop), 0);
        assert_true(strlen(loop_features(loop)) > 0);
        /* Nothing pending: returns at once. */
        run(loop);
        assert_int_equal(loop_run_once(loop, 0), 0);
        loop_destroy(loop);
    }
    loop_destroy(NULL);
}

/* ---- timers ---------------------------------------------------------------------------------- */

static void timers_fire_once_and_never_early(void **state)
{
    (void)state;
    struct loop *loop = make(0);
    struct seen s[50];
    uint64_t now = base_now_ns();
    for (size_t i = 0; i < BASE_ARRAY_LEN(s); i++) {
        seen_init(&s[i], loop);
        s[i].when_ns = now + (i * 7919 % 50) * 200 * BASE_NS_PER_US;
        loop_timer(loop, &s[i].op, s[i].when_ns);
        assert_true(loop_op_pending(&s[i].op));
        /* Never from within the call that started it, even when the time is past. */
        assert_int_equal(s[i].calls, 0);
    }
    assert_int_equal(loop_pending(loop), 50);
    run(loop);
    for (size_t i = 0; i < BASE_ARRAY_LEN(s); i++) {
        assert_int_equal(s[i].calls, 1);
        assert_int_equal(s[i].res, 0);
        assert_false(s[i].early);
        assert_false(loop_op_pending(&s[i].op));
    }
    assert_int_equal(loop_pending(loop), 0);
    loop_destroy(loop);
}

static void past_and_far_timers(void **state)
{
    (void)state;
    struct loop *loop = make(0);
    struct seen past, zero, never;
    seen_init(&past, loop);
    seen_init(&zero, loop);
    seen_init(&never, loop);
    loop_timer(loop, &past.op, base_now_ns() - BASE_NS_PER_S);
    loop_timer(loop, &zero.op, 0);
    loop_timer(loop, &never.op, UINT64_MAX);
    alarm(60);
    while (past.calls + zero.calls < 2)
        assert_int_equal(loop_run_once(loop, BASE_NS_PER_S), 0);
    alarm(0);
    assert_int_equal(past.res, 0);
    assert_int_equal(zero.res, 0);
    assert_int_equal(never.calls, 0);
    loop_cancel(loop, &never.op);
    run(loop);
    assert_int_equal(never.calls, 1);
    assert_int_equal(never.res, -ECANCELED);
    loop_destroy(loop);
}

static void op_restarts_in_its_own_callback(void **state)
{
    (void)state;
    struct loop *loop = make(8);
    struct seen s;
    seen_init(&s, loop);
    s.restarts = 1000;
    loop_timer(loop, &s.op, 0);
    run(loop);
    assert_int_equal(s.calls, 1001);
    assert_int_equal(loop_pending(loop), 0);
    loop_destroy(loop);
}

/* More ops than the submission and the completion queue hold, and than the slot table begins with. */
static void many(unsigned entries, size_t n)
{
    struct loop *loop = make(entries);
    struct seen *s = calloc(n, sizeof(*s));
    assert_non_null(s);
    uint64_t when = base_now_ns() + BASE_NS_PER_MS;
    for (size_t i = 0; i < n; i++) {
        seen_init(&s[i], loop);
        s[i].when_ns = when;
        s[i].restarts = i % 3 == 0;
        loop_timer(loop, &s[i].op, when);
    }
    assert_int_equal(loop_pending(loop), n);
    /* Every seventh is cancelled while its submission may still be queued. */
    for (size_t i = 0; i < n; i += 7)
        loop_cancel(loop, &s[i].op);
    run(loop);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(s[i].calls, i % 3 == 0 ? 2 : 1);
        assert_true(s[i].res == 0 || (i % 7 == 0 && s[i].res == -ECANCELED));
        assert_false(s[i].early);
    }
    assert_int_equal(loop_pending(loop), 0);
    free(s);
    loop_destroy(loop);
}

static void many_ops_overflow_the_queues(void **state)
{
    (void)state;
    many(8, 10000);
    many(0, 10000);
}

/* Ops that complete at once and start again keep the completion queue full: a timer must still get its turn. */
static unsigned spins;

static void spin_done(struct loop_op *op, int res)
{
    struct seen *timer = op->owner;
    assert_int_equal(res, 1);
    if (++spins < 100000 && timer->calls == 0)
        loop_write(timer->loop, op, (int)timer->when_ns, "x", 1);
}

static void starve(bool by_rounds)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_true(null >= 0);
    struct loop *loop = make(8);
    struct seen timer;
    struct loop_op busy[24]; /* more than the submission queue: it is handed over within the callbacks */
    seen_init(&timer, loop);
    timer.when_ns = (uint64_t)null;
    spins = 0;
    for (size_t i = 0; i < BASE_ARRAY_LEN(busy); i++) {
        loop_op_init(&busy[i], spin_done, &timer);
        loop_write(loop, &busy[i], null, "x", 1);
    }
    loop_timer(loop, &timer.op, base_now_ns() + BASE_NS_PER_MS);
    alarm(60);
    while (by_rounds && loop_pending(loop) > 0)
        assert_int_equal(loop_run_once(loop, BASE_NS_PER_S), 0);
    run(loop);
    assert_int_equal(timer.calls, 1);
    assert_true(spins < 100000);
    loop_destroy(loop);
    close(null);
}

static void busy_ops_do_not_starve_a_timer(void **state)
{
    (void)state;
    starve(false);
    starve(true);
}

/* ---- cancel ---------------------------------------------------------------------------------- */

static void cancel_each_kind(bool submitted)
{
    struct loop *loop = make(0);
    union base_ep at;
    int sv[2], pipes[2], listening = listener(&at);
    char buf[4];
    bound_pair(sv);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    struct iovec iov = {buf, sizeof(buf)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct seen s[6];
    for (size_t i = 0; i < BASE_ARRAY_LEN(s); i++)
        seen_init(&s[i], loop);
    loop_timer(loop, &s[0].op, base_now_ns() + 3600 * BASE_NS_PER_S);
    loop_poll(loop, &s[1].op, sv[0], POLLIN);
    loop_recv(loop, &s[2].op, sv[0], buf, sizeof(buf));
    loop_accept(loop, &s[3].op, listening);
    loop_read(loop, &s[4].op, pipes[0], buf, sizeof(buf));
    loop_recvmsg(loop, &s[5].op, sv[1], &msg);
    if (submitted)
        assert_int_equal(loop_run_once(loop, 0), 0);
    for (size_t i = 0; i < BASE_ARRAY_LEN(s); i++) {
        loop_cancel(loop, &s[i].op);
        loop_cancel(loop, &s[i].op); /* twice asks for no more than once */
        assert_int_equal(s[i].calls, 0);
        assert_true(loop_op_pending(&s[i].op));
    }
    run(loop);
    for (size_t i = 0; i < BASE_ARRAY_LEN(s); i++) {
        assert_int_equal(s[i].calls, 1);
        assert_int_equal(s[i].res, -ECANCELED);
        loop_cancel(loop, &s[i].op); /* not pending: does nothing */
    }
    assert_int_equal(loop_run_once(loop, 0), 0);
    for (size_t i = 0; i < BASE_ARRAY_LEN(s); i++)
        assert_int_equal(s[i].calls, 1);
    loop_destroy(loop);
    close(listening);
    for (int i = 0; i < 2; i++) {
        close(sv[i]);
        close(pipes[i]);
    }
}

static void cancel_gives_one_completion(void **state)
{
    (void)state;
    cancel_each_kind(true);
    cancel_each_kind(false);
}

static void cancel_loses_to_a_result(void **state)
{
    (void)state;
    struct loop *loop = make(0);
    int sv[2];
    char buf[4] = "";
    struct seen s;
    bound_pair(sv);
    seen_init(&s, loop);
    assert_int_equal(write(sv[1], "abc", 3), 3);
    loop_recv(loop, &s.op, sv[0], buf, sizeof(buf));
    loop_flush(loop); /* it has completed in the kernel; the callback has not run */
    loop_cancel(loop, &s.op);
    run(loop);
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.res, 3);
    assert_memory_equal(buf, "abc", 3);
    loop_destroy(loop);
    close(sv[0]);
    close(sv[1]);
}

/* A cancel that arrives after its op completed must not hit the same op started anew. */
static void reuse_done(struct loop_op *op, int res)
{
    struct seen *s = op->owner;
    s->calls++;
    s->res = res;
    if (s->calls == 1)
        loop_timer(s->loop, op, base_now_ns() + 2 * BASE_NS_PER_MS);
}

static void stale_cancel_hits_nobody(void **state)
{
    (void)state;
    struct loop *loop = make(0);
    struct seen s;
    seen_init(&s, loop);
    loop_op_init(&s.op, reuse_done, &s);
    loop_timer(loop, &s.op, 0);
    loop_flush(loop);
    loop_cancel(loop, &s.op);
    run(loop);
    assert_int_equal(s.calls, 2);
    assert_int_equal(s.res, 0);
    loop_destroy(loop);
}

static void cancel_from_a_callback(void **state)
{
    (void)state;
    struct loop *loop = make(0);
    struct seen first, second, far;
    seen_init(&first, loop);
    seen_init(&second, loop);
    seen_init(&far, loop);
    /* The second may have completed in the same batch, or be cancelled: once in either case. */
    first.to_cancel = &second;
    second.to_cancel = &far;
    loop_timer(loop, &first.op, 0);
    loop_timer(loop, &second.op, 0);
    loop_timer(loop, &far.op, base_now_ns() + 3600 * BASE_NS_PER_S);
    run(loop);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 1);
    assert_int_equal(far.calls, 1);
    assert_int_equal(far.res, -ECANCELED);
    loop_destroy(loop);
}

/* ---- stop ------------------------------------------------------------------------------------ */

static void stop_keeps_the_rest(void **state)
{
    (void)state;
    struct loop *loop = make(8);
    struct seen s[300];
    for (size_t i = 0; i < BASE_ARRAY_LEN(s); i++) {
        seen_init(&s[i], loop);
        s[i].stops = true;
        loop_timer(loop, &s[i].op, 0);
    }
    loop_stop(loop); /* between runs: no effect */
    /* Each run ends after the callback that stopped it, and the others wait for the next run. */
    for (size_t i = 0; i < BASE_ARRAY_LEN(s); i++) {
        assert_int_equal(loop_pending(loop), BASE_ARRAY_LEN(s) - i);
        run(loop);
    }
    assert_int_equal(loop_pending(loop), 0);
    for (size_t i = 0; i < BASE_ARRAY_LEN(s); i++)
        assert_int_equal(s[i].calls, 1);
    loop_destroy(loop);
}

static void run_once_bounds_its_wait(void **state)
{
    (void)state;
    struct loop *loop = make(0);
    struct seen s;
    seen_init(&s, loop);
    loop_timer(loop, &s.op, base_now_ns() + 3600 * BASE_NS_PER_S);
    alarm(60);
    assert_int_equal(loop_run_once(loop, 0), 0);
    assert_int_equal(loop_run_once(loop, BASE_NS_PER_MS), 0);
    alarm(0);
    assert_int_equal(s.calls, 0);
    loop_cancel(loop, &s.op);
    run(loop);
    assert_int_equal(s.calls, 1);
    loop_destroy(loop);
}

/* ---- owners ---------------------------------------------------------------------------------- */

/* A callback may free its owner: the loop must not look at the op again. */
static void free_done(struct loop_op *op, int res)
{
    assert_int_equal(res, 0);
    memset(op, 0xa5, sizeof(*op));
    free(op);
}

static void owner_may_be_freed_in_the_callback(void **state)
{
    (void)state;
    struct loop *loop = make(0);
    for (int i = 0; i < 200; i++) {
        struct loop_op *op = malloc(sizeof(*op));
        assert_non_null(op);
        loop_op_init(op, free_done, NULL);
        loop_timer(loop, op, 0);
    }
    run(loop);
    assert_int_equal(loop_pending(loop), 0);
    loop_destroy(loop);
}

/* Callbacks that start ops make the slot table grow under the loop. */
static void grow_done(struct loop_op *op, int res)
{
    struct seen *all = op->owner;
    (void)res;
    all->calls++;
    for (int i = 0; i < 500; i++)
        loop_timer(all[1 + i].loop, &all[1 + i].op, 0);
}

static void slots_grow_within_a_callback(void **state)
{
    (void)state;
    struct loop *loop = make(8);
    struct seen *s = calloc(501, sizeof(*s));
    assert_non_null(s);
    for (int i = 0; i <= 500; i++)
        seen_init(&s[i], loop);
    loop_op_init(&s[0].op, grow_done, s);
    loop_timer(loop, &s[0].op, 0);
    run(loop);
    for (int i = 0; i <= 500; i++)
        assert_int_equal(s[i].calls, 1);
    free(s);
    loop_destroy(loop);
}

/* ---- misuse ---------------------------------------------------------------------------------- */

/* In a child, which the ring does not accept: a full submission queue cannot be emptied, and must not spin for ever. */
static void another_process_is_refused(void **state)
{
    (void)state;
    struct loop *loop = make(8);
    if (!strstr(loop_features(loop), "single_issuer")) {
        loop_destroy(loop);
        print_message("skip: this kernel has no IORING_SETUP_SINGLE_ISSUER\n");
        skip();
    }
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        static struct loop_op ops[9];
        close(STDERR_FILENO);
        alarm(20);
        for (size_t i = 0; i < BASE_ARRAY_LEN(ops); i++) {
            loop_op_init(&ops[i], seen_done, NULL);
            loop_timer(loop, &ops[i], 0);
        }
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    loop_destroy(loop);
}

/* The same op started twice would complete twice. */
static void starting_a_pending_op_aborts(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct loop *loop = make(8);
        static struct loop_op op;
        loop_op_init(&op, seen_done, NULL);
        loop_timer(loop, &op, 0);
        loop_timer(loop, &op, 0);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* ---- no io_uring ----------------------------------------------------------------------------- */

static void deny_io_uring(int err)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {.len = BASE_ARRAY_LEN(code), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
        _exit(77);
}

static void without_io_uring(void **state)
{
    (void)state;
    static const struct {
        int err;
        const char *word;
    } cases[] = {
        {EPERM, "disabled"}, {ENOSYS, "no io_uring"}, {EINVAL, "6.1"}, {ENOMEM, "memory"}, {EMFILE, "ulimit -n"}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            deny_io_uring(cases[i].err);
            struct loop *loop = (struct loop *)&cases;
            int err = loop_create(&loop, 0);
            const char *why = loop_explain(err);
            /* The caller's pointer is untouched, the error is the kernel's, the sentence names the cause. */
            _exit(err == -cases[i].err && loop == (struct loop *)&cases && strstr(why, cases[i].word) &&
                          !strchr(why, '\n')
                      ? 0
                      : 1);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
            print_message("skip: this kernel lets no one set a seccomp filter\n");
            skip();
        }
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_io_uring),
        cmocka_unit_test(every_size_can_be_made),
        cmocka_unit_test(timers_fire_once_and_never_early),
        cmocka_unit_test(past_and_far_timers),
        cmocka_unit_test(op_restarts_in_its_own_callback),
        cmocka_unit_test(many_ops_overflow_the_queues),
        cmocka_unit_test(busy_ops_do_not_starve_a_timer),
        cmocka_unit_test(cancel_gives_one_completion),
        cmocka_unit_test(cancel_loses_to_a_result),
        cmocka_unit_test(stale_cancel_hits_nobody),
        cmocka_unit_test(cancel_from_a_callback),
        cmocka_unit_test(stop_keeps_the_rest),
        cmocka_unit_test(run_once_bounds_its_wait),
        cmocka_unit_test(owner_may_be_freed_in_the_callback),
        cmocka_unit_test(slots_grow_within_a_callback),
        cmocka_unit_test(another_process_is_refused),
        cmocka_unit_test(starting_a_pending_op_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
