/*
 * bench/loop on sockets, pipes and signals. Pins: results that are not the system call's, a short send that counts as
 * a whole one, SIGPIPE, addresses lost from datagrams, and a poll or a signal that nobody is told of.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "tests/unit/loop_seen.h"

/* An op that is awaited on its own. */
static int await(struct loop *loop, struct seen *s)
{
    run(loop);
    assert_int_equal(s->calls, 1);
    return s->res;
}

static void tcp_over_loopback(void **state)
{
    (void)state;
    enum { BIG = 4 << 20 };
    struct loop *loop = make(0);
    union base_ep at;
    int listening = listener(&at), client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct seen accepted, connected, sent, received, eof, closed;
    seen_init(&accepted, loop);
    seen_init(&connected, loop);
    loop_accept(loop, &accepted.op, listening);
    loop_connect(loop, &connected.op, client, &at);
    run(loop);
    assert_int_equal(connected.res, 0);
    assert_int_equal(connected.calls, 1);
    assert_int_equal(accepted.calls, 1);
    int server = accepted.res;
    assert_true(server >= 0);
    assert_true(fcntl(server, F_GETFD) & FD_CLOEXEC);

    /* More than the socket buffers hold: the send waits for the receiver and is whole in the end. */
    uint8_t *out = malloc(BIG), *in = malloc(BIG);
    assert_non_null(out);
    assert_non_null(in);
    struct base_rng rng;
    base_rng_seed(&rng, 1);
    for (size_t i = 0; i < BIG; i += 8)
        memcpy(out + i, (uint64_t[]){base_rng_u64(&rng)}, 8);
    seen_init(&sent, loop);
    loop_send(loop, &sent.op, client, out, BIG);
    for (size_t got = 0; got < BIG; got += (size_t)received.res) {
        seen_init(&received, loop);
        loop_recv(loop, &received.op, server, in + got, BIG - got);
        alarm(60);
        while (received.calls == 0)
            assert_int_equal(loop_run_once(loop, BASE_NS_PER_S), 0);
        assert_true(received.res > 0);
    }
    assert_int_equal(await(loop, &sent), BIG);
    assert_memory_equal(in, out, BIG);

    seen_init(&closed, loop);
    loop_close(loop, &closed.op, client);
    assert_int_equal(await(loop, &closed), 0);
    assert_int_equal(fcntl(client, F_GETFD), -1);
    seen_init(&eof, loop);
    loop_recv(loop, &eof.op, server, in, BIG);
    assert_int_equal(await(loop, &eof), 0);
    loop_destroy(loop);
    close(server);
    close(listening);
    free(out);
    free(in);
}

static void errors_are_the_system_calls(void **state)
{
    (void)state;
    struct loop *loop = make(0);
    union base_ep at;
    int fd = listener(&at);
    close(fd); /* nobody listens there now */
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct seen s[4];
    for (size_t i = 0; i < BASE_ARRAY_LEN(s); i++)
        seen_init(&s[i], loop);
    int sv[2];
    bound_pair(sv);
    close(sv[1]);
    loop_connect(loop, &s[0].op, fd, &at);
    loop_recv(loop, &s[1].op, -1, &at, 1);
    loop_send(loop, &s[2].op, sv[0], "x", 1); /* no SIGPIPE: it would end this program */
    loop_close(loop, &s[3].op, 1 << 20);
    run(loop);
    assert_int_equal(s[0].res, -ECONNREFUSED);
    assert_int_equal(s[1].res, -EBADF);
    assert_int_equal(s[2].res, -EPIPE);
    assert_int_equal(s[3].res, -EBADF);
    loop_destroy(loop);
    close(fd);
    close(sv[0]);
}

static void datagrams_with_addresses(void **state)
{
    (void)state;
    struct loop *loop = make(0);
    union base_ep at, from, self;
    int fd[2];
    for (int i = 0; i < 2; i++) {
        fd[i] = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_int_equal(base_ep_parse("[::1]:0", &at), 0);
        if (fd[i] < 0 || bind(fd[i], &at.sa, base_ep_len(&at)) < 0) {
            print_message("skip: no IPv6 loopback here\n");
            loop_destroy(loop);
            skip();
        }
    }
    socklen_t len = sizeof(at);
    assert_int_equal(getsockname(fd[1], &at.sa, &len), 0);
    len = sizeof(self);
    assert_int_equal(getsockname(fd[0], &self.sa, &len), 0);
    char out[] = "datagram", in[32] = "";
    struct iovec out_iov = {out, sizeof(out)}, in_iov = {in, sizeof(in)};
    struct msghdr send = {.msg_name = &at, .msg_namelen = base_ep_len(&at), .msg_iov = &out_iov, .msg_iovlen = 1};
    struct msghdr recv = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &in_iov, .msg_iovlen = 1};
    struct seen sent, received;
    seen_init(&sent, loop);
    seen_init(&received, loop);
    loop_recvmsg(loop, &received.op, fd[1], &recv);
    loop_sendmsg(loop, &sent.op, fd[0], &send);
    run(loop);
    assert_int_equal(sent.res, sizeof(out));
    assert_int_equal(received.res, sizeof(out));
    assert_string_equal(in, out);
    assert_true(base_ep_equal(&from, &self));
    loop_destroy(loop);
    close(fd[0]);
    close(fd[1]);
}

static void pipes_and_poll(void **state)
{
    (void)state;
    struct loop *loop = make(0);
    int ends[2];
    char buf[8] = "";
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    struct seen ready, wrote, got, hup;
    seen_init(&ready, loop);
    loop_poll(loop, &ready.op, ends[0], POLLIN);
    assert_int_equal(loop_run_once(loop, 0), 0);
    assert_int_equal(ready.calls, 0);
    seen_init(&wrote, loop);
    loop_write(loop, &wrote.op, ends[1], "hello", 5);
    run(loop);
    assert_int_equal(wrote.res, 5);
    assert_int_equal(ready.calls, 1);
    assert_true(ready.res & POLLIN);
    seen_init(&got, loop);
    loop_read(loop, &got.op, ends[0], buf, sizeof(buf));
    assert_int_equal(await(loop, &got), 5);
    assert_string_equal(buf, "hello");
    close(ends[1]);
    seen_init(&hup, loop);
    loop_poll(loop, &hup.op, ends[0], POLLIN);
    assert_true(await(loop, &hup) & POLLHUP);
    loop_destroy(loop);
    close(ends[0]);
}

/* In a child: the signal mask is the process's. */
static void signals_become_readable(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    pid_t pid = fork();
    if (pid == 0) {
        int fd = loop_signal_fd();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        struct signalfd_siginfo info;
        for (size_t i = 0; i < BASE_ARRAY_LEN(signals); i++) {
            bool quiet = poll(&p, 1, 0) == 0;
            kill(getpid(), signals[i]);
            if (!quiet || poll(&p, 1, 5000) != 1 || read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info) ||
                (int)info.ssi_signo != signals[i])
                _exit(1);
        }
        kill(getpid(), SIGPIPE);
        _exit(0);
    }
    int status = -1;
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_over_loopback),        cmocka_unit_test(errors_are_the_system_calls),
        cmocka_unit_test(datagrams_with_addresses), cmocka_unit_test(pipes_and_poll),
        cmocka_unit_test(signals_become_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
