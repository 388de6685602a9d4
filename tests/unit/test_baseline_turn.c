/*
 * The TURN client against a server that answers as told. Pins: a challenge that is not answered or answered for ever; a
 * nonce that expires; an answer that is believed without its MAC; what must be renewed and is not; an end (wrong
 * password, expired allocation, full quota, vanished server) that is unclear or never told; a peer's early data that is
 * eaten with the answer before it; a close that leaves something pending or tells twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>

#include "bench/baseline/baseline.h"
#include "tests/unit/turn_server.h"

#define MS BASE_NS_PER_MS

/* The client's side of one test: what it was told, and until what the loop runs. */
struct client {
    struct fake server;
    struct loop *loop;
    struct baseline_turn *turn;
    struct baseline_turn_config config;
    union base_ep peer; /* the other side of what is relayed */
    enum baseline_turn_event_kind until;
    bool met;
    unsigned told[BASELINE_TURN_CLOSED + 1];
    struct baseline_turn_event last; /* of kind `until` */
    char data[64];
    int close_after; /* events; -1 = never by itself */
};

static void on_event(void *owner, const struct baseline_turn_event *event)
{
    struct client *c = owner;
    assert_int_equal(c->told[BASELINE_TURN_CLOSED], 0);
    if (event->kind != BASELINE_TURN_CLOSED)
        assert_int_equal(c->told[BASELINE_TURN_FAILED], 0);
    c->told[event->kind]++;
    if (event->kind == BASELINE_TURN_DATA) {
        assert_true(event->data_len < sizeof(c->data));
        memcpy(c->data, event->data, event->data_len);
        c->data[event->data_len] = '\0';
    }
    if (event->kind == c->until) {
        c->last = *event;
        c->met = true;
        loop_stop(c->loop);
    } else if (event->kind == BASELINE_TURN_CONNECTED) {
        close(event->fd);
    }
    if (c->close_after >= 0 && c->close_after-- == 0 && event->kind != BASELINE_TURN_CLOSED)
        baseline_turn_close(c->turn);
}

static void begin(struct client *c)
{
    memset(c, 0, sizeof(*c));
    c->close_after = -1;
    base_ep_parse(FAKE_PEER, &c->peer);
    assert_int_equal(loop_create(&c->loop, 0), 0);
    assert_true(fake_open(&c->server, c->loop));
    c->config = (struct baseline_turn_config){.server = c->server.ep,
                                              .user = "user",
                                              .password = "secret",
                                              .rto_ns = 20 * MS,
                                              .patience_ns = 2000 * MS,
                                              .event = on_event,
                                              .owner = c};
}

static void run_until(struct client *c, enum baseline_turn_event_kind kind)
{
    c->until = kind;
    c->met = false;
    alarm(60); /* in place of a hang */
    assert_int_equal(loop_run(c->loop), 0);
    alarm(0);
    assert_true(c->met);
}

static void open_turn(struct client *c)
{
    assert_int_equal(baseline_turn_open(c->loop, &c->config, &c->turn), 0);
}

static void allocate(struct client *c)
{
    open_turn(c);
    run_until(c, BASELINE_TURN_ALLOCATED);
    union base_ep relayed;
    base_ep_parse("192.0.2.15:50000", &relayed);
    assert_true(base_ep_equal(&c->last.peer, &relayed));
}

static void end(struct client *c)
{
    if (!c->told[BASELINE_TURN_CLOSED]) {
        baseline_turn_close(c->turn);
        run_until(c, BASELINE_TURN_CLOSED);
    }
    fake_close(&c->server);
    alarm(60);
    assert_int_equal(loop_run(c->loop), 0); /* nothing is left pending */
    alarm(0);
    assert_int_equal(loop_pending(c->loop), 0);
    assert_int_equal(c->told[BASELINE_TURN_CLOSED], 1);
    fake_free(&c->server);
    loop_destroy(c->loop);
}

static void permit(struct client *c)
{
    assert_int_equal(baseline_turn_permit(c->turn, &c->peer), 0);
    run_until(c, BASELINE_TURN_PERMITTED);
}

/* From now on the server refuses that method. */
static void refuse(struct client *c, unsigned method, unsigned code)
{
    c->server.method = method;
    c->server.code = code;
}

static void refused_with(struct client *c, enum baseline_turn_fate fate)
{
    run_until(c, BASELINE_TURN_REFUSED);
    assert_int_equal(c->last.fate, fate);
}

static void failed_with(struct client *c, enum baseline_turn_fate fate, unsigned code)
{
    run_until(c, BASELINE_TURN_FAILED);
    assert_string_equal(baseline_turn_fate_name(c->last.fate), baseline_turn_fate_name(fate));
    assert_int_equal(c->last.code, code);
    assert_int_equal(baseline_turn_permit(c->turn, &c->peer), -ENOTCONN);
    assert_int_equal(baseline_turn_send(c->turn, &c->peer, "x", 1), -ENOTCONN);
    end(c);
}

/* Challenge, allocation, permission, data both ways, deletion; over both transports, and byte by byte. */
static void send_and_data(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct client c;
        begin(&c);
        c.config.tcp = i > 0;
        c.server.split = i > 1;
        open_turn(&c);
        assert_int_equal(baseline_turn_permit(c.turn, &c.peer), -ENOTCONN);
        run_until(&c, BASELINE_TURN_ALLOCATED);
        permit(&c);
        assert_int_equal(baseline_turn_send(c.turn, &c.peer, "hello", 5), 0);
        run_until(&c, BASELINE_TURN_DATA);
        assert_string_equal(c.data, "hello");
        assert_true(base_ep_equal(&c.last.peer, &c.peer));
        end(&c);
        assert_string_equal(c.server.log, "aAPsR");
    }
}

static void channels(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct client c;
        begin(&c);
        c.config.tcp = i > 0;
        c.server.split = i > 1;
        allocate(&c);
        assert_int_equal(baseline_turn_bind(c.turn, &c.peer), 0);
        run_until(&c, BASELINE_TURN_BOUND);
        assert_int_equal(baseline_turn_send(c.turn, &c.peer, "channel", 7), 0);
        run_until(&c, BASELINE_TURN_DATA);
        assert_string_equal(c.data, "channel");
        assert_true(base_ep_equal(&c.last.peer, &c.peer));
        end(&c);
        assert_string_equal(c.server.log, "aACR"); /* no Send indication */
    }
}

static void wrong_password(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct client c;
        begin(&c);
        c.config.tcp = i > 0;
        c.config.password = "guess";
        open_turn(&c);
        failed_with(&c, BASELINE_TURN_WRONG_CREDENTIALS, 401);
        assert_string_equal(c.server.log, "aA");
    }
}

static void stale_nonce(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    allocate(&c);
    c.server.nonce++; /* the old one expires */
    permit(&c);
    assert_string_equal(c.server.log, "aAPP");
    c.server.stale = 2; /* the new one too */
    assert_int_equal(baseline_turn_bind(c.turn, &c.peer), 0);
    failed_with(&c, BASELINE_TURN_STALE_NONCE, 438);
    assert_string_equal(c.server.log, "aAPPCC");
}

static void refused_codes(void **state)
{
    (void)state;
    static const struct {
        unsigned code;
        enum baseline_turn_fate fate;
    } allocate_codes[] = {
        {486, BASELINE_TURN_QUOTA},     {508, BASELINE_TURN_CAPACITY},    {437, BASELINE_TURN_GONE},
        {403, BASELINE_TURN_FORBIDDEN}, {442, BASELINE_TURN_UNSUPPORTED}, {500, BASELINE_TURN_PROTOCOL},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(allocate_codes); i++) {
        struct client c;
        begin(&c);
        refuse(&c, WIRE_TURN_ALLOCATE, allocate_codes[i].code);
        open_turn(&c);
        failed_with(&c, allocate_codes[i].fate, allocate_codes[i].code);
    }
}

/* A NAT gave us a port whose last owner has left an allocation: another port is tried, three in all. */
static void taken_port(void **state)
{
    (void)state;
    for (unsigned taken = 2; taken <= 3; taken++) {
        struct client c;
        begin(&c);
        c.server.taken = taken;
        open_turn(&c);
        if (taken == 3) {
            failed_with(&c, BASELINE_TURN_GONE, 437);
        } else {
            run_until(&c, BASELINE_TURN_ALLOCATED);
            permit(&c);
            end(&c);
        }
        assert_string_equal(c.server.log, taken == 3 ? "aAAA" : "aAAAPR");
        assert_int_equal(c.server.n_ports, taken);
    }
}

/* The allocation has expired behind our back: what we ask next says so. */
static void expired_allocation(void **state)
{
    (void)state;
    static const unsigned methods[] = {WIRE_TURN_CREATE_PERMISSION, WIRE_TURN_CHANNEL_BIND, WIRE_TURN_CONNECT};
    for (size_t i = 0; i < BASE_ARRAY_LEN(methods); i++) {
        struct client c;
        begin(&c);
        allocate(&c);
        refuse(&c, methods[i], 437);
        assert_int_equal(methods[i] == WIRE_TURN_CONNECT        ? baseline_turn_connect(c.turn, &c.peer)
                         : methods[i] == WIRE_TURN_CHANNEL_BIND ? baseline_turn_bind(c.turn, &c.peer)
                                                                : baseline_turn_permit(c.turn, &c.peer),
                         0);
        failed_with(&c, BASELINE_TURN_GONE, 437);
    }
}

/* A server that calls such a request bad is asked whether it still has the allocation. */
static void bad_request(void **state)
{
    (void)state;
    for (unsigned gone = 0; gone < 2; gone++) {
        struct client c;
        begin(&c);
        allocate(&c);
        refuse(&c, WIRE_TURN_CREATE_PERMISSION, 400);
        c.server.refresh = gone ? 437 : 0;
        assert_int_equal(baseline_turn_permit(c.turn, &c.peer), 0);
        if (gone) {
            failed_with(&c, BASELINE_TURN_GONE, 437);
            continue;
        }
        refused_with(&c, BASELINE_TURN_UNSUPPORTED);
        assert_int_equal(c.last.code, 400);
        assert_true(base_ep_equal(&c.last.peer, &c.peer));
        c.server.code = 0;
        permit(&c);
        end(&c);
    }
}

/* One peer that is forbidden or out of reach does not end the allocation. */
static void refused_peer(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    allocate(&c);
    refuse(&c, WIRE_TURN_CREATE_PERMISSION, 403);
    assert_int_equal(baseline_turn_permit(c.turn, &c.peer), 0);
    refused_with(&c, BASELINE_TURN_FORBIDDEN);
    assert_true(base_ep_equal(&c.last.peer, &c.peer));
    refuse(&c, WIRE_TURN_CONNECT, 447);
    assert_int_equal(baseline_turn_connect(c.turn, &c.peer), 0);
    refused_with(&c, BASELINE_TURN_PEER_UNREACHABLE);
    c.server.code = 0;
    permit(&c);
    end(&c);
}

/* Lost requests are repeated, doubling; a server that is mute is given up. */
static void loss_and_silence(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    c.server.lose = 2;
    allocate(&c);
    assert_string_equal(c.server.log, "aaaA");
    end(&c);
    begin(&c);
    c.config.patience_ns = 200 * MS;
    allocate(&c);
    c.server.mute = true;
    assert_int_equal(baseline_turn_permit(c.turn, &c.peer), 0);
    failed_with(&c, BASELINE_TURN_NO_ANSWER, 0);
    /* At 0, 20, 60 and 140 ms; a machine that sleeps may skip some, none comes more often. */
    assert_in_range(strlen(c.server.log), strlen("aAPP"), strlen("aAPPPP"));
    assert_int_equal(strncmp(c.server.log, "aAPP", 4), 0);
}

/* The same over TCP: no repetition there; and a connection that ends. */
static void silence_over_tcp(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    c.config.tcp = true;
    c.config.patience_ns = 100 * MS;
    allocate(&c);
    c.server.mute = true;
    assert_int_equal(baseline_turn_permit(c.turn, &c.peer), 0);
    failed_with(&c, BASELINE_TURN_NO_ANSWER, 0);
    assert_string_equal(c.server.log, "aAP");
    begin(&c);
    c.config.tcp = true;
    allocate(&c);
    shutdown(c.server.connections[0].fd, SHUT_RDWR);
    failed_with(&c, BASELINE_TURN_NO_ANSWER, 0);
}

static void nobody_there(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct client c;
        begin(&c);
        c.config.tcp = i > 0;
        base_ep_set_port(&c.config.server, 1); /* tcpmux: nobody's, below what the kernel gives away */
        open_turn(&c);
        failed_with(&c, BASELINE_TURN_UNREACHABLE, 0);
    }
}

/* Allocation, permission and channel are asked for again before they end. */
static void renewals(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    c.config.permission_ns = 40 * MS;
    c.config.channel_ns = 60 * MS;
    c.server.lifetime_s = 1;
    allocate(&c);
    assert_int_equal(baseline_turn_bind(c.turn, &c.peer), 0);
    run_until(&c, BASELINE_TURN_BOUND);
    alarm(60);
    while (!strchr(c.server.log, 'R')) /* at half of the lifetime */
        assert_int_equal(loop_run_once(c.loop, 100 * MS), 0);
    alarm(0);
    size_t permissions = 0, bindings = 0;
    for (const char *p = c.server.log; *p; p++) {
        permissions += *p == 'P';
        bindings += *p == 'C';
    }
    assert_in_range(permissions, 2, 13);
    assert_in_range(bindings, 3, 9);
    assert_int_equal(c.told[BASELINE_TURN_BOUND], 1); /* told once */
    assert_int_equal(c.told[BASELINE_TURN_FAILED], 0);
    end(&c);
}

/* A success without the right MAC is as if it never came; the true one counts. */
static void forged_answers(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct client c;
        begin(&c);
        c.config.tcp = i > 0;
        c.server.forge = true;
        allocate(&c);
        permit(&c);
        end(&c);
    }
}

static void expect_early(struct client *c)
{
    char got[64] = "";
    ssize_t n = recv(c->last.fd, got, sizeof(got) - 1, MSG_DONTWAIT);
    assert_int_equal(n, (ssize_t)strlen(c->server.early));
    assert_string_equal(got, c->server.early);
    close(c->last.fd);
}

/* RFC 6062 both ways; the peer's first bytes come in one segment with the answer to ConnectionBind. */
static void tcp_relays(void **state)
{
    (void)state;
    for (int stale = 0; stale < 2; stale++) {
        struct client c;
        begin(&c);
        c.config.tcp = c.config.relay_tcp = true;
        c.server.early = "the peer was first";
        allocate(&c);
        assert_int_equal(baseline_turn_connect(c.turn, &c.peer), 0);
        c.server.nonce += (unsigned)stale;
        run_until(&c, BASELINE_TURN_CONNECTED);
        assert_false(c.last.incoming);
        assert_true(base_ep_equal(&c.last.peer, &c.peer));
        expect_early(&c);
        c.server.nonce += (unsigned)stale;
        fake_attempt(&c.server);
        run_until(&c, BASELINE_TURN_CONNECTED);
        assert_true(c.last.incoming);
        assert_true(base_ep_equal(&c.last.peer, &c.peer));
        expect_early(&c);
        end(&c);
        assert_string_equal(c.server.log, stale ? "aAXXBBBR" : "aAXBBR");
    }
}

/* The bind of a data connection that is refused is told, and the allocation stands. */
static void tcp_bind_refused(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    c.config.tcp = c.config.relay_tcp = true;
    allocate(&c);
    refuse(&c, WIRE_TURN_CONNECTION_BIND, 447);
    fake_attempt(&c.server);
    refused_with(&c, BASELINE_TURN_PEER_UNREACHABLE);
    assert_true(c.last.incoming);
    end(&c);
}

/* Closing at every point: at once, and from within each event. */
static void close_anywhere(void **state)
{
    (void)state;
    for (int transport = 0; transport < 2; transport++)
        for (int after = -1; after < 5; after++) {
            struct client c;
            begin(&c);
            c.config.tcp = transport > 0;
            c.config.relay_tcp = transport > 0;
            open_turn(&c);
            if (after < 0) {
                baseline_turn_close(c.turn);
                baseline_turn_close(c.turn);
                run_until(&c, BASELINE_TURN_CLOSED);
                end(&c);
                continue;
            }
            c.close_after = after;
            c.until = BASELINE_TURN_CLOSED;
            alarm(60);
            for (int step = 0; !c.told[BASELINE_TURN_CLOSED]; step++) {
                assert_int_equal(loop_run_once(c.loop, 50 * MS), 0);
                if (c.told[BASELINE_TURN_ALLOCATED] == 1 && !c.told[BASELINE_TURN_CLOSED] && c.close_after >= 0) {
                    baseline_turn_permit(c.turn, &c.peer);
                    baseline_turn_bind(c.turn, &c.peer);
                    baseline_turn_send(c.turn, &c.peer, "x", 1);
                    if (transport)
                        baseline_turn_connect(c.turn, &c.peer);
                }
            }
            alarm(0);
            end(&c);
        }
}

static void bad_configs(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    struct baseline_turn_config config = c.config;
    config.relay_tcp = true; /* without tcp */
    assert_int_equal(baseline_turn_open(c.loop, &config, &c.turn), -EINVAL);
    config = c.config;
    config.user = "";
    assert_int_equal(baseline_turn_open(c.loop, &config, &c.turn), -EINVAL);
    config = c.config;
    config.server = (union base_ep){0};
    assert_int_equal(baseline_turn_open(c.loop, &config, &c.turn), -EINVAL);
    allocate(&c);
    static const uint8_t big[BASELINE_TURN_MAX_DATA + 1];
    assert_int_equal(baseline_turn_send(c.turn, &c.peer, big, sizeof(big)), -EMSGSIZE);
    assert_int_equal(baseline_turn_send(c.turn, &c.peer, big, sizeof(big) - 1), 0);
    end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(send_and_data),      cmocka_unit_test(channels),         cmocka_unit_test(wrong_password),
        cmocka_unit_test(stale_nonce),        cmocka_unit_test(refused_codes),    cmocka_unit_test(taken_port),
        cmocka_unit_test(expired_allocation), cmocka_unit_test(refused_peer),     cmocka_unit_test(bad_request),
        cmocka_unit_test(loss_and_silence),   cmocka_unit_test(silence_over_tcp), cmocka_unit_test(nobody_there),
        cmocka_unit_test(renewals),           cmocka_unit_test(forged_answers),   cmocka_unit_test(tcp_relays),
        cmocka_unit_test(tcp_bind_refused),   cmocka_unit_test(close_anywhere),   cmocka_unit_test(bad_configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
