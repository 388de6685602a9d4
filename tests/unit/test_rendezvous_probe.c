/*
 * What S does for a discovering peer, over real sockets. Pins: connects towards anybody but the peer that asks, before
 * the key is proven, or without end; a lease that answers a SYN, or one that is refused and is not; a late answer that
 * is longer than its question.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include "bench/rendezvous/internal.h"

#define KEY "secret"

static pid_t server_pid;
static union base_ep server_ep;

static union base_ep ep(const char *text)
{
    union base_ep out;
    assert_int_equal(base_ep_parse(text, &out), 0);
    return out;
}

/* Bound to a free port of that address. */
static int tcp_socket(const char *addr, union base_ep *at)
{
    socklen_t len = sizeof(*at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(base_ep_parse_addr(addr, at), 0);
    assert_int_equal(bind(fd, &at->sa, base_ep_len(at)), 0);
    assert_int_equal(getsockname(fd, &at->sa, &len), 0);
    return fd;
}

static int start_server(void **state)
{
    static struct rendezvous_config config = {.n_listen = 1, .key_len = sizeof(KEY) - 1, .max_sessions = 10};
    int ready[2], fd = tcp_socket("127.0.0.1", &server_ep);
    (void)state;
    close(fd);
    memcpy(config.key, KEY, sizeof(KEY));
    config.listen[0] = server_ep;
    assert_int_equal(pipe(ready), 0);
    server_pid = fork();
    assert_true(server_pid >= 0);
    if (server_pid == 0) {
        /* Its "ready" line goes to us. */
        dup2(ready[1], STDERR_FILENO);
        close(ready[0]);
        _exit(rendezvous_run(&config));
    }
    close(ready[1]);
    char line[256];
    assert_true(read(ready[0], line, sizeof(line)) > 0);
    return 0;
}

static int stop_server(void **state)
{
    int status;
    (void)state;
    kill(server_pid, SIGTERM);
    assert_int_equal(waitpid(server_pid, &status, 0), server_pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return 0;
}

/* ---- a peer ---------------------------------------------------------------------------------- */

struct frame {
    enum wire_frame_type type;
    struct wire_reader r;
    uint8_t buf[4096];
};

static int connect_server(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 5};
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    assert_int_equal(connect(fd, &server_ep.sa, base_ep_len(&server_ep)), 0);
    return fd;
}

static void send_frame(int fd, struct wire_writer *w)
{
    int len = wire_frame_end(w, 0x01020304);
    assert_true(len > 0);
    assert_int_equal(send(fd, w->buf, (size_t)len, MSG_NOSIGNAL), len);
}

static void read_frame(int fd, struct frame *f)
{
    assert_int_equal(recv(fd, f->buf, WIRE_FRAME_HEADER, MSG_WAITALL), WIRE_FRAME_HEADER);
    int len = wire_frame_len(f->buf, WIRE_FRAME_HEADER);
    assert_in_range(len, WIRE_FRAME_HEADER, sizeof(f->buf));
    if (len > WIRE_FRAME_HEADER)
        assert_int_equal(recv(fd, f->buf + WIRE_FRAME_HEADER, (size_t)len - WIRE_FRAME_HEADER, MSG_WAITALL),
                         len - WIRE_FRAME_HEADER);
    assert_int_equal(wire_frame_open(f->buf, (size_t)len, &f->type, &f->r), 0);
}

/* As far as the proof; whatever S says then is in *f. */
static int join(const char *key_text, struct frame *f)
{
    uint8_t buf[256], key[WIRE_KEY_LEN], nonce[WIRE_NONCE_LEN] = "0123456789abcde", theirs[WIRE_NONCE_LEN];
    uint8_t proof[WIRE_MAC_LEN];
    struct wire_writer w;
    int fd = connect_server();
    wire_frame_begin(&w, buf, sizeof(buf), WIRE_HELLO);
    wire_put_text(&w, WIRE_F_SESSION, "discover");
    wire_put_text(&w, WIRE_F_TECHNIQUE, WIRE_DISCOVER);
    wire_put_bytes(&w, WIRE_F_NONCE, nonce, sizeof(nonce));
    send_frame(fd, &w);
    read_frame(fd, f);
    assert_int_equal(f->type, WIRE_CHALLENGE);
    assert_int_equal(wire_get_exact(&f->r, WIRE_F_NONCE, theirs, sizeof(theirs)), 0);
    wire_session_key((const uint8_t *)key_text, strlen(key_text), "discover", key);
    wire_join_proof(key, WIRE_JOIN_PEER, nonce, theirs, proof);
    wire_frame_begin(&w, buf, sizeof(buf), WIRE_PROVE);
    wire_put_bytes(&w, WIRE_F_PROOF, proof, sizeof(proof));
    send_frame(fd, &w);
    read_frame(fd, f);
    return fd;
}

static void probe_begin(struct wire_writer *w, uint8_t *buf, size_t cap, uint64_t stamp, enum wire_probe what)
{
    wire_frame_begin(w, buf, cap, WIRE_PROBE);
    wire_put_u64(w, WIRE_F_STAMP, stamp);
    wire_put_u64(w, WIRE_F_PROBE, what);
}

static enum wire_probed answer_of(int fd, uint64_t stamp, struct frame *f)
{
    uint64_t got, result;
    read_frame(fd, f);
    assert_int_equal(f->type, WIRE_PROBED);
    assert_int_equal(wire_get_u64(&f->r, WIRE_F_STAMP, &got), 0);
    assert_int_equal(got, stamp);
    assert_int_equal(wire_get_u64(&f->r, WIRE_F_PROBED, &result), 0);
    return (enum wire_probed)result;
}

static void send_connect(int fd, uint64_t stamp, enum wire_from from, uint64_t lease, const union base_ep *to,
                         uint64_t wait_ns)
{
    uint8_t buf[256];
    struct wire_writer w;
    probe_begin(&w, buf, sizeof(buf), stamp, WIRE_PROBE_CONNECT);
    wire_put_u64(&w, WIRE_F_FROM, from);
    wire_put_u64(&w, WIRE_F_LEASE, lease);
    wire_put_ep(&w, WIRE_F_TARGET, to);
    wire_put_u64(&w, WIRE_F_WAIT_NS, wait_ns);
    send_frame(fd, &w);
}

static enum wire_probed connect_to(int fd, enum wire_from from, uint64_t lease, const union base_ep *to)
{
    static uint64_t stamp = 1000;
    struct frame f;
    send_connect(fd, ++stamp, from, lease, to, 300 * BASE_NS_PER_MS);
    return answer_of(fd, stamp, &f);
}

static uint64_t lease(int fd, enum wire_probe what, union base_ep *out)
{
    uint8_t buf[64];
    struct wire_writer w;
    struct frame f;
    uint64_t n;
    probe_begin(&w, buf, sizeof(buf), 7, what);
    send_frame(fd, &w);
    assert_int_equal(answer_of(fd, 7, &f), WIRE_PROBED_DONE);
    assert_int_equal(wire_get_u64(&f.r, WIRE_F_LEASE, &n), 0);
    assert_int_equal(wire_get_ep(&f.r, WIRE_F_STUN, out), 0);
    return n;
}

/* What a SYN gets within 200 ms: 0, or the errno; EINPROGRESS for nothing. */
static int syn_to(const union base_ep *to)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err = 0;
    socklen_t len = sizeof(err);
    assert_true(fd >= 0);
    if (connect(fd, &to->sa, base_ep_len(to)) < 0)
        err = errno;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    if (err == EINPROGRESS && poll(&p, 1, 200) == 1)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
    close(fd);
    return err;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void needs_the_key(void **state)
{
    (void)state;
    struct frame f;
    uint8_t buf[64];
    struct wire_writer w;
    int fd = join("another", &f);
    assert_int_equal(f.type, WIRE_ERROR);
    close(fd);
    /* Without a word about who we are. */
    fd = connect_server();
    probe_begin(&w, buf, sizeof(buf), 1, WIRE_PROBE_SILENT);
    send_frame(fd, &w);
    read_frame(fd, &f);
    assert_int_equal(f.type, WIRE_ERROR);
    close(fd);
}

static void joined(void **state)
{
    (void)state;
    struct frame f;
    union base_ep seen, own = {0};
    socklen_t len = sizeof(own);
    int fd = join(KEY, &f);
    assert_int_equal(f.type, WIRE_JOINED);
    assert_int_equal(wire_get_ep(&f.r, WIRE_F_SEEN, &seen), 0);
    assert_int_equal(getsockname(fd, &own.sa, &len), 0);
    assert_true(base_ep_equal(&seen, &own));
    close(fd);
}

/* The loopback addresses are different hosts to S. */
static void only_towards_the_asker(void **state)
{
    (void)state;
    struct frame f;
    union base_ep mine, foreign, zero = ep("127.0.0.1:0"), v6 = ep("[::1]:9");
    int fd = join(KEY, &f), listener = tcp_socket("127.0.0.1", &mine), other = tcp_socket("127.0.0.9", &foreign);
    assert_int_equal(listen(listener, 4), 0);
    assert_int_equal(listen(other, 4), 0);
    assert_int_equal(connect_to(fd, WIRE_FROM_OTHER_PORT, 0, &mine), WIRE_PROBED_ESTABLISHED);
    assert_int_equal(connect_to(fd, WIRE_FROM_OTHER_PORT, 0, &foreign), WIRE_PROBED_REFUSED);
    assert_int_equal(connect_to(fd, WIRE_FROM_OTHER_PORT, 0, &zero), WIRE_PROBED_REFUSED);
    assert_int_equal(connect_to(fd, WIRE_FROM_OTHER_PORT, 0, &v6), WIRE_PROBED_REFUSED);
    assert_int_equal(connect_to(fd, WIRE_FROM_OTHER_ADDRESS, 0, &mine), WIRE_PROBED_CANNOT);
    assert_int_equal(connect_to(fd, WIRE_FROM_LEASE, 0, &mine), WIRE_PROBED_CANNOT);
    /* Nobody knocked there. */
    fcntl(other, F_SETFL, O_NONBLOCK);
    assert_int_equal(accept(other, NULL, NULL), -1);
    close(listener);
    assert_int_equal(connect_to(fd, WIRE_FROM_OTHER_PORT, 0, &mine), WIRE_PROBED_RST);
    close(other);
    close(fd);
}

static void leases(void **state)
{
    (void)state;
    struct frame f;
    union base_ep silent, closed, mine, peer = {0};
    socklen_t len = sizeof(peer);
    int fd = join(KEY, &f), listener = tcp_socket("127.0.0.1", &mine);
    assert_int_equal(listen(listener, 4), 0);
    uint64_t n = lease(fd, WIRE_PROBE_SILENT, &silent), m = lease(fd, WIRE_PROBE_CLOSED, &closed);
    assert_int_equal(syn_to(&silent), EINPROGRESS);
    assert_int_equal(syn_to(&closed), ECONNREFUSED);
    /* S connects from there. */
    assert_int_equal(connect_to(fd, WIRE_FROM_LEASE, n, &mine), WIRE_PROBED_ESTABLISHED);
    int got = accept(listener, &peer.sa, &len);
    assert_true(got >= 0 && base_ep_equal(&peer, &silent));
    close(got);
    assert_int_equal(connect_to(fd, WIRE_FROM_LEASE, m, &mine), WIRE_PROBED_ESTABLISHED);
    close(listener);
    /* They end with the connection: then the kernel refuses. */
    close(fd);
    for (int i = 0; i < 50 && syn_to(&silent) != ECONNREFUSED; i++)
        usleep(20000);
    assert_int_equal(syn_to(&silent), ECONNREFUSED);
}

/* Sixteen at once, and a bounded number of leases: more is refused, and the connection goes on. */
static void bounded(void **state)
{
    (void)state;
    struct frame f;
    union base_ep mine, lease_ep;
    unsigned refused = 0, others = 0;
    uint64_t result;
    int fd = join(KEY, &f), hole = tcp_socket("127.0.0.1", &mine);
    /* A listener with a full backlog leaves SYNs unanswered, so that connects last. */
    assert_int_equal(listen(hole, 0), 0);
    for (int i = 0; i < 4; i++)
        syn_to(&mine);
    for (uint64_t i = 0; i < 40; i++)
        send_connect(fd, i, WIRE_FROM_OTHER_PORT, 0, &mine, 200 * BASE_NS_PER_MS);
    for (unsigned i = 0; i < 40; i++) {
        read_frame(fd, &f);
        assert_int_equal(wire_get_u64(&f.r, WIRE_F_PROBED, &result), 0);
        refused += result == WIRE_PROBED_REFUSED;
        others += result != WIRE_PROBED_REFUSED;
    }
    assert_true(refused >= 8 && others >= 16);
    for (unsigned i = 0; i < 32; i++)
        lease(fd, WIRE_PROBE_SILENT, &lease_ep);
    uint8_t buf[64];
    struct wire_writer w;
    probe_begin(&w, buf, sizeof(buf), 9, WIRE_PROBE_SILENT);
    send_frame(fd, &w);
    assert_int_equal(answer_of(fd, 9, &f), WIRE_PROBED_REFUSED);
    close(hole);
    close(fd);
}

/* ---- late answers ---------------------------------------------------------------------------- */

static size_t ask_late(uint8_t *buf, uint16_t ms, size_t value_len)
{
    static const uint8_t txid[WIRE_STUN_TXID_LEN] = "transaction";
    uint8_t value[WIRE_STUN_DELAY_LEN] = {(uint8_t)(ms >> 8), (uint8_t)ms};
    struct wire_stun_writer w;
    wire_stun_begin(&w, buf, WIRE_STUN_MAX_LEN, WIRE_STUN_REQUEST, WIRE_STUN_BINDING, txid);
    wire_stun_put(&w, WIRE_STUN_DELAY, value, value_len);
    int len = wire_stun_end(&w, false);
    assert_true(len > 0);
    return (size_t)len;
}

static void late_answers(void **state)
{
    (void)state;
    static const char *const from[] = {"198.51.100.1:4000", "[2001:db8::1]:4000"};
    uint8_t request[WIRE_STUN_MAX_LEN], out[WIRE_STUN_MAX_LEN];
    for (size_t i = 0; i < 2; i++) {
        union base_ep peer = ep(from[i]), site = ep(i ? "[2001:db8::2]:3478" : "192.0.2.1:3478");
        struct stun_ask ask = {.from = &peer, .site = {&site}};
        struct wire_stun msg;
        size_t len = ask_late(request, 500, WIRE_STUN_DELAY_LEN);
        struct stun_reply reply = stun_answer(&ask, request, len, out);
        assert_int_equal(reply.delay_ms, 500);
        assert_in_range(reply.len, 1, len);
        assert_int_equal(wire_stun_decode(out, reply.len, &msg), 0);
        assert_true(base_ep_equal(&msg.xor_mapped, &peer));
        len = ask_late(request, WIRE_STUN_DELAY_MAX_MS + 1, WIRE_STUN_DELAY_LEN);
        assert_int_equal(stun_answer(&ask, request, len, out).len, 0);
        len = ask_late(request, 500, 2);
        assert_int_equal(stun_answer(&ask, request, len, out).len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needs_the_key), cmocka_unit_test(joined),  cmocka_unit_test(only_towards_the_asker),
        cmocka_unit_test(leases),        cmocka_unit_test(bounded), cmocka_unit_test(late_answers),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
