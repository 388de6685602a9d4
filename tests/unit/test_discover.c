/*
 * Pins: a discovery that believes a STUN server that lies, that hangs or ends twice, that leaves operations behind, or
 * that says a guess is knowledge.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>

#include "bench/discover/discover.h"

static union base_ep ep(const char *text)
{
    union base_ep out;
    assert_int_equal(base_ep_parse(text, &out), 0);
    return out;
}

/* ---- answers --------------------------------------------------------------------------------- */

static const uint8_t txid[WIRE_STUN_TXID_LEN] = "transaction";

struct said {
    enum wire_stun_class cls;
    const char *xor_mapped, *mapped, *other; /* NULL = not there */
    uint16_t error;
    const uint8_t *txid;
};

static size_t say(uint8_t *buf, const struct said *s)
{
    struct wire_stun_writer w;
    const char *const texts[] = {s->xor_mapped, s->mapped, s->other};
    const uint16_t attrs[] = {WIRE_STUN_XOR_MAPPED_ADDRESS, WIRE_STUN_MAPPED_ADDRESS, WIRE_STUN_OTHER_ADDRESS};
    wire_stun_begin(&w, buf, WIRE_STUN_MAX_LEN, s->cls, WIRE_STUN_BINDING, s->txid ? s->txid : txid);
    for (size_t i = 0; i < 3; i++) {
        union base_ep addr = texts[i] ? ep(texts[i]) : (union base_ep){0};
        if (texts[i])
            wire_stun_put_address(&w, attrs[i], &addr);
    }
    if (s->error)
        wire_stun_put_error(&w, s->error, "no");
    int len = wire_stun_end(&w, true);
    assert_true(len > 0);
    return (size_t)len;
}

static void answers(void **state)
{
    (void)state;
    static const uint8_t other_txid[WIRE_STUN_TXID_LEN] = "another one";
    const enum wire_stun_class ok = WIRE_STUN_SUCCESS;
    const struct {
        struct said said;
        enum discover_verdict verdict;
    } cases[] = {
        {{ok, "198.51.100.1:4000", NULL, "192.0.2.2:3479", 0, NULL}, DISCOVER_ANSWER},
        {{ok, NULL, "198.51.100.1:4000", NULL, 0, NULL}, DISCOVER_ANSWER},
        {{ok, "198.51.100.1:4000", "0.0.0.0:0", NULL, 0, NULL}, DISCOVER_ANSWER},
        {{ok, NULL, NULL, NULL, 0, NULL}, DISCOVER_NO_MAPPED},
        {{ok, "198.51.100.1:0", NULL, NULL, 0, NULL}, DISCOVER_PORT_ZERO},
        {{ok, "[2001:db8::1]:4000", NULL, NULL, 0, NULL}, DISCOVER_OTHER_FAMILY},
        {{ok, "0.0.0.0:4000", NULL, NULL, 0, NULL}, DISCOVER_NO_HOST},
        {{ok, "0.1.2.3:4000", NULL, NULL, 0, NULL}, DISCOVER_NO_HOST},
        {{ok, "224.0.0.1:4000", NULL, NULL, 0, NULL}, DISCOVER_NO_HOST},
        {{ok, "255.255.255.255:4000", NULL, NULL, 0, NULL}, DISCOVER_NO_HOST},
        {{ok, "198.51.100.1:4000", NULL, NULL, 0, other_txid}, DISCOVER_OTHER_TXID},
        {{WIRE_STUN_ERROR, NULL, NULL, NULL, 420, NULL}, DISCOVER_ERROR},
        {{WIRE_STUN_REQUEST, "198.51.100.1:4000", NULL, NULL, 0, NULL}, DISCOVER_NOT_STUN},
        {{WIRE_STUN_INDICATION, "198.51.100.1:4000", NULL, NULL, 0, NULL}, DISCOVER_NOT_STUN},
    };
    uint8_t buf[WIRE_STUN_MAX_LEN];
    struct discover_answer out;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        size_t len = say(buf, &cases[i].said);
        assert_int_equal(discover_read_answer(buf, len, txid, AF_INET, &out), cases[i].verdict);
        assert_int_equal(base_ep_is_set(&out.mapped), cases[i].verdict == DISCOVER_ANSWER);
        assert_int_equal(discover_read_answer(buf, len - 1, txid, AF_INET, &out), DISCOVER_NOT_STUN);
    }
    size_t len = say(buf, &cases[0].said);
    union base_ep other = ep("192.0.2.2:3479");
    assert_int_equal(discover_read_answer(buf, len, txid, AF_INET, &out), DISCOVER_ANSWER);
    assert_true(base_ep_equal(&out.other, &other));
    len = say(buf, &(struct said){ok, "198.51.100.1:4000", NULL, "0.0.0.0:0", 0, NULL});
    assert_int_equal(discover_read_answer(buf, len, txid, AF_INET, &out), DISCOVER_ANSWER);
    assert_false(base_ep_is_set(&out.other));
}

/* ---- servers that lie ------------------------------------------------------------------------ */

enum lie { HONEST, SILENT, GARBAGE, WRONG_TXID, WRONG_FAMILY, PORT_ZERO, EMPTY, ERROR, CHANGING, ELSEWHERE, LIES };

struct liar {
    struct loop *loop;
    enum lie lie;
    int fd, other_fd;
    unsigned asked;
    struct loop_op op;
    struct discover_config config;
    struct discover *discover;
    unsigned done;
};

static int udp_socket(union base_ep *at)
{
    socklen_t len = sizeof(*at);
    *at = ep("127.0.0.1:0");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, &at->sa, base_ep_len(at)), 0);
    assert_int_equal(getsockname(fd, &at->sa, &len), 0);
    return fd;
}

static size_t lie_to(struct liar *l, const struct wire_stun *request, const union base_ep *from, uint8_t *out)
{
    static const uint8_t other_txid[WIRE_STUN_TXID_LEN] = "another one";
    char text[BASE_EP_STRLEN];
    union base_ep mapped = *from;
    struct said said = {WIRE_STUN_SUCCESS, NULL, NULL, NULL, 0, request->txid};
    if (l->lie == PORT_ZERO)
        base_ep_set_port(&mapped, 0);
    if (l->lie == CHANGING)
        base_ep_set_port(&mapped, (uint16_t)(1000 + l->asked));
    said.xor_mapped = base_ep_format(&mapped, text);
    if (l->lie == WRONG_TXID)
        said.txid = other_txid;
    if (l->lie == WRONG_FAMILY)
        said.xor_mapped = "[2001:db8::1]:4000";
    if (l->lie == EMPTY)
        said.xor_mapped = NULL;
    if (l->lie == ERROR)
        said = (struct said){WIRE_STUN_ERROR, NULL, NULL, NULL, 500, request->txid};
    return say(out, &said);
}

static void asked(struct loop_op *op, int res)
{
    struct liar *l = op->owner;
    uint8_t buf[WIRE_STUN_MAX_LEN], out[WIRE_STUN_MAX_LEN] = "this is no STUN message";
    union base_ep from = {0};
    socklen_t from_len = sizeof(from);
    struct wire_stun request;
    ssize_t n;
    if (res < 0)
        return;
    while ((n = recvfrom(l->fd, buf, sizeof(buf), 0, &from.sa, &from_len)) > 0) {
        l->asked++;
        /* A plain server: it knows neither CHANGE-REQUEST nor delays. */
        if (l->lie == SILENT || wire_stun_decode(buf, (size_t)n, &request) < 0 || request.cls != WIRE_STUN_REQUEST)
            continue;
        size_t len = l->lie == GARBAGE ? 24 : lie_to(l, &request, &from, out);
        sendto(l->lie == ELSEWHERE ? l->other_fd : l->fd, out, len, 0, &from.sa, from_len);
    }
    loop_poll(l->loop, op, l->fd, POLLIN);
}

static void ended(struct discover *d, void *owner)
{
    struct liar *l = owner;
    assert_ptr_equal(d, l->discover);
    l->done++;
    loop_cancel(l->loop, &l->op);
}

static void liar_start(struct liar *l, struct loop *loop, enum lie lie)
{
    union base_ep other;
    *l = (struct liar){.loop = loop, .lie = lie, .config = {.seed = lie, .samples = 6}};
    l->fd = udp_socket(&l->config.server);
    l->other_fd = udp_socket(&other);
    loop_op_init(&l->op, asked, l);
    loop_poll(loop, &l->op, l->fd, POLLIN);
    assert_int_equal(discover_start(loop, &l->config, ended, l, &l->discover), 0);
}

static void liar_end(struct liar *l)
{
    assert_int_equal(l->done, 1);
    discover_free(l->discover);
    close(l->fd);
    close(l->other_fd);
}

static void liars(void **state)
{
    (void)state;
    static const struct {
        int err;
        enum discover_verdict counted;
        const char *text;
    } expected[LIES] = {
        [HONEST] = {0, DISCOVER_ANSWER, ""},
        [SILENT] = {-ETIMEDOUT, DISCOVER_SILENCE, "no answer"},
        [GARBAGE] = {-EPROTO, DISCOVER_NOT_STUN, "no STUN answer"},
        [WRONG_TXID] = {-EPROTO, DISCOVER_OTHER_TXID, "wrong transaction id"},
        [WRONG_FAMILY] = {-EPROTO, DISCOVER_OTHER_FAMILY, "another family"},
        [PORT_ZERO] = {-EPROTO, DISCOVER_PORT_ZERO, "port 0"},
        [EMPTY] = {-EPROTO, DISCOVER_NO_MAPPED, "without a mapped address"},
        [ERROR] = {-EPROTO, DISCOVER_ERROR, "an error"},
        [CHANGING] = {-EPROTO, DISCOVER_CHANGING, "it lies"},
        [ELSEWHERE] = {-EPROTO, DISCOVER_OTHER_ORIGIN, "not asked"},
    };
    struct liar all[LIES];
    struct loop *loop;
    assert_int_equal(loop_create(&loop, 0), 0);
    for (int i = 0; i < LIES; i++)
        liar_start(&all[i], loop, (enum lie)i);
    assert_int_equal(loop_run(loop), 0);
    assert_int_equal(loop_pending(loop), 0);
    for (int i = 0; i < LIES; i++) {
        const struct discover_result *r = discover_result(all[i].discover);
        if (r->err != expected[i].err || !strstr(r->problem, expected[i].text))
            fail_msg("lie %d: %d '%s'", i, r->err, r->problem);
        assert_true(r->bad[expected[i].counted] > 0);
        if (i != HONEST)
            assert_int_equal(r->behaviour.filtering.value, PREDICT_FILTERING_UNKNOWN);
    }
    /* One honest endpoint: what it shows is said, what it cannot show is unknown, with the reason. */
    const struct discover_result *r = discover_result(all[HONEST].discover);
    assert_false(r->rendezvous);
    assert_int_equal(r->behaviour.mapping.value, PREDICT_MAPPING_UNKNOWN);
    assert_non_null(strstr(r->notes[PREDICT_MAPPING], "one endpoint"));
    assert_int_equal(r->behaviour.filtering.value, PREDICT_FILTERING_UNKNOWN);
    assert_non_null(strstr(r->notes[PREDICT_FILTERING], "does not answer from elsewhere"));
    assert_int_equal(r->behaviour.ports.value, PREDICT_PORTS_PRESERVE);
    for (int i = 0; i < PREDICT_N_PROPERTIES; i++) {
        struct predict_behaviour b = r->behaviour;
        assert_true(predict_belief(&b, (enum predict_property)i)->value || r->notes[i][0]);
    }
    for (int i = 0; i < LIES; i++)
        liar_end(&all[i]);
    loop_destroy(loop);
}

/* Stopped at any moment: one `done`, and nothing is left. */
static void stopped(void **state)
{
    (void)state;
    for (unsigned rounds = 0; rounds < 12; rounds++) {
        struct liar l;
        struct loop *loop;
        assert_int_equal(loop_create(&loop, 0), 0);
        liar_start(&l, loop, HONEST);
        for (unsigned i = 0; i < rounds * rounds && !l.done; i++)
            assert_int_equal(loop_run_once(loop, 20 * BASE_NS_PER_MS), 0);
        /* What it had ended with stays. */
        int err = l.done ? discover_result(l.discover)->err : -ECANCELED;
        discover_stop(l.discover);
        discover_stop(l.discover);
        assert_int_equal(loop_run(loop), 0);
        assert_int_equal(loop_pending(loop), 0);
        assert_int_equal(discover_result(l.discover)->err, err);
        liar_end(&l);
        loop_destroy(loop);
    }
}

static void nobody_there(void **state)
{
    (void)state;
    struct liar l = {.config = {.transport = DISCOVER_TCP}};
    assert_int_equal(loop_create(&l.loop, 0), 0);
    close(udp_socket(&l.config.server)); /* nobody listens there over TCP */
    loop_op_init(&l.op, asked, &l);
    assert_int_equal(discover_start(l.loop, &l.config, ended, &l, &l.discover), 0);
    assert_int_equal(loop_run(l.loop), 0);
    assert_int_equal(l.done, 1);
    assert_int_equal(discover_result(l.discover)->err, -ECONNREFUSED);
    discover_free(l.discover);
    loop_destroy(l.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(liars),
        cmocka_unit_test(stopped),
        cmocka_unit_test(nobody_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
