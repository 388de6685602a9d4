/*
 * The port-mapping client against a gateway that answers as told. Pins: a gateway of NAT-PMP only that is given up, or
 * told of PCP for ever; a refusal or a silence that is not told, or told twice; a mapping that is not renewed, or not
 * removed when it is closed; another's answer that is taken for ours; a removal that nobody confirms and that is taken
 * for one. UPnP-IGD is tests/lab/mapped.bats': here only what its error codes mean.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>

#include "bench/baseline/upnp.h"
#include "bench/wire/wire.h"

#define MS BASE_NS_PER_MS

struct gateway {
    struct loop *loop;
    struct loop_op op;
    int fd;
    union base_ep ep, from;
    bool pcp, natpmp, mute_pcp, wrong_nonce;
    uint8_t result;
    uint32_t lifetime_s;
    char log[128]; /* M: PCP's MAP, m: NAT-PMP's, a: the address; D, d: deletions */
};

struct client {
    struct gateway gateway;
    struct loop *loop;
    struct baseline_portmap *map;
    struct baseline_portmap_config config;
    struct baseline_portmap_event last;
    unsigned told[BASELINE_PORTMAP_CLOSED + 1];
};

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void note(struct gateway *g, char c)
{
    size_t len = strlen(g->log);
    if (len + 1 < sizeof(g->log))
        g->log[len] = c;
}

static void answer(struct gateway *g, const uint8_t *buf, size_t len)
{
    assert_int_equal(sendto(g->fd, buf, len, 0, &g->from.sa, base_ep_len(&g->from)), (ssize_t)len);
}

/* A MAP request becomes its own answer. */
static void answer_pcp(struct gateway *g, uint8_t *buf, size_t len)
{
    static const uint8_t outside[] = {198, 51, 100, 1};
    uint32_t wanted = (uint32_t)(buf[4] << 24 | buf[5] << 16 | buf[6] << 8 | buf[7]);
    note(g, wanted ? 'M' : 'D');
    if (g->mute_pcp)
        return;
    buf[1] |= 0x80;
    buf[3] = g->result;
    put32(buf + 4, wanted ? g->lifetime_s : 0);
    memset(buf + 8, 0, 16);
    memcpy(buf + len - 4, outside, 4);
    if (g->wrong_nonce) {
        buf[24] ^= 1;
        answer(g, buf, len);
        buf[24] ^= 1;
    }
    answer(g, buf, len);
}

static void answer_natpmp(struct gateway *g, const uint8_t *buf, size_t len)
{
    uint8_t out[16] = {0, (uint8_t)(buf[1] + 128), 0, g->result, 0, 0, 0, 9};
    if (len == 2) {
        static const uint8_t outside[] = {198, 51, 100, 1};
        note(g, 'a');
        memcpy(out + 8, outside, sizeof(outside));
        answer(g, out, 12);
        return;
    }
    bool removes = buf[8] == 0 && buf[9] == 0 && buf[10] == 0 && buf[11] == 0;
    note(g, removes ? 'd' : 'm');
    memcpy(out + 8, buf + 4, 2);
    memcpy(out + 10, buf + 4, 2);
    put32(out + 12, removes ? 0 : g->lifetime_s);
    answer(g, out, 16);
}

static void gateway_done(struct loop_op *op, int res)
{
    struct gateway *g = op->owner;
    uint8_t buf[256];
    socklen_t from_len = sizeof(g->from);
    ssize_t n = res > 0 ? recvfrom(g->fd, buf, sizeof(buf), MSG_DONTWAIT, &g->from.sa, &from_len) : -1;
    if (n == 60 && buf[0] == 2 && g->pcp) {
        answer_pcp(g, buf, 60);
    } else if (n > 1 && buf[0] == 2 && g->natpmp) {
        uint8_t old[8] = {0, (uint8_t)(128 + buf[1]), 0, WIRE_PORTMAP_UNSUPP_VERSION};
        answer(g, old, sizeof(old));
    } else if (n > 1 && buf[0] == 0 && g->natpmp) {
        answer_natpmp(g, buf, (size_t)n);
    }
    if (res > 0)
        loop_poll(g->loop, op, g->fd, POLLIN);
}

static void on_event(void *owner, const struct baseline_portmap_event *event)
{
    struct client *c = owner;
    assert_int_equal(c->told[BASELINE_PORTMAP_CLOSED], 0);
    c->told[event->kind]++;
    c->last = *event;
}

static void begin(struct client *c)
{
    socklen_t len = sizeof(c->gateway.ep);
    memset(c, 0, sizeof(*c));
    assert_int_equal(loop_create(&c->loop, 0), 0);
    struct gateway *g = &c->gateway;
    *g = (struct gateway){.loop = c->loop, .lifetime_s = 600, .fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    base_ep_parse("127.0.0.1:0", &g->ep);
    assert_int_equal(bind(g->fd, &g->ep.sa, base_ep_len(&g->ep)), 0);
    assert_int_equal(getsockname(g->fd, &g->ep.sa, &len), 0);
    loop_op_init(&g->op, gateway_done, g);
    loop_poll(c->loop, &g->op, g->fd, POLLIN);
    c->config = (struct baseline_portmap_config){
        .gateway = g->ep, .port = 20000, .lifetime_s = 120, .patience_ns = 1000 * MS, .event = on_event, .owner = c};
}

static void run_until(struct client *c, enum baseline_portmap_event_kind kind)
{
    alarm(60); /* in place of a hang */
    while (!c->told[kind])
        assert_int_equal(loop_run_once(c->loop, 50 * MS), 0);
    alarm(0);
}

static void end(struct client *c)
{
    baseline_portmap_close(c->map);
    baseline_portmap_close(c->map);
    run_until(c, BASELINE_PORTMAP_CLOSED);
    loop_cancel(c->loop, &c->gateway.op);
    alarm(60);
    assert_int_equal(loop_run(c->loop), 0); /* nothing is left pending */
    alarm(0);
    assert_int_equal(c->told[BASELINE_PORTMAP_CLOSED], 1);
    close(c->gateway.fd);
    loop_destroy(c->loop);
}

static void open_and_wait(struct client *c, enum baseline_portmap_event_kind kind)
{
    assert_int_equal(baseline_portmap_open(c->loop, &c->config, &c->map), 0);
    run_until(c, kind);
}

static void outside_is(struct client *c, const char *text)
{
    char got[BASE_EP_STRLEN];
    assert_string_equal(base_ep_format(&c->last.external, got), text);
}

static void by_pcp(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    c.gateway.pcp = c.gateway.wrong_nonce = true;
    open_and_wait(&c, BASELINE_PORTMAP_MAPPED);
    outside_is(&c, "198.51.100.1:20000");
    assert_int_equal(c.last.protocol, BASELINE_PORTMAP_PCP);
    assert_int_equal(c.last.lifetime_s, 600);
    end(&c);
    assert_int_equal(c.last.fate, BASELINE_PORTMAP_OK); /* of the removal */
    assert_string_equal(c.gateway.log, "MD");
}

/* The gateway says that it is too old for PCP. */
static void by_natpmp(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    c.gateway.natpmp = c.config.tcp = true;
    open_and_wait(&c, BASELINE_PORTMAP_MAPPED);
    outside_is(&c, "198.51.100.1:20000");
    assert_int_equal(c.last.protocol, BASELINE_PORTMAP_NATPMP);
    end(&c);
    assert_non_null(strchr(c.gateway.log, 'a'));
    assert_int_equal(c.gateway.log[strlen(c.gateway.log) - 1], 'd');
    assert_int_equal(c.told[BASELINE_PORTMAP_MAPPED], 1);
}

/* It does not even say so. */
static void by_natpmp_after_silence(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    c.gateway.pcp = c.gateway.mute_pcp = c.gateway.natpmp = true;
    c.config.patience_ns = 400 * MS;
    open_and_wait(&c, BASELINE_PORTMAP_MAPPED);
    assert_int_equal(c.last.protocol, BASELINE_PORTMAP_NATPMP);
    assert_int_equal(c.gateway.log[0], 'M');
    end(&c);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        bool pcp;
        uint8_t result;
        enum baseline_portmap_fate fate;
    } all[] = {
        {true, 2, BASELINE_PORTMAP_REFUSED},    {true, 8, BASELINE_PORTMAP_RESOURCES},
        {true, 10, BASELINE_PORTMAP_RESOURCES}, {true, 7, BASELINE_PORTMAP_NETWORK},
        {true, 12, BASELINE_PORTMAP_PROTOCOL},  {false, 2, BASELINE_PORTMAP_REFUSED},
        {false, 3, BASELINE_PORTMAP_NETWORK},   {false, 4, BASELINE_PORTMAP_RESOURCES},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(all); i++) {
        struct client c;
        begin(&c);
        c.gateway.pcp = all[i].pcp;
        c.gateway.natpmp = !all[i].pcp;
        c.gateway.result = all[i].result;
        open_and_wait(&c, BASELINE_PORTMAP_FAILED);
        assert_int_equal(c.last.fate, all[i].fate);
        assert_int_equal(c.last.code, all[i].result);
        end(&c);
        assert_int_equal(c.told[BASELINE_PORTMAP_FAILED], 1);
        assert_null(strpbrk(c.gateway.log, "Dd")); /* nothing to remove */
    }
}

static void silence_and_nobody(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    c.config.protocol = BASELINE_PORTMAP_PCP;
    c.config.patience_ns = 200 * MS;
    open_and_wait(&c, BASELINE_PORTMAP_FAILED);
    assert_int_equal(c.last.fate, BASELINE_PORTMAP_NO_ANSWER);
    end(&c);
    begin(&c);
    c.config.protocol = BASELINE_PORTMAP_NATPMP;
    base_ep_set_port(&c.config.gateway, 1); /* nobody's, below what the kernel gives away */
    open_and_wait(&c, BASELINE_PORTMAP_FAILED);
    assert_int_equal(c.last.fate, BASELINE_PORTMAP_UNREACHABLE);
    end(&c);
}

/* Renewed before it ends, told once; and a gateway that has vanished by then is told of. */
static void renewals(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    c.gateway.pcp = true;
    c.gateway.lifetime_s = 2;
    c.config.patience_ns = 300 * MS;
    open_and_wait(&c, BASELINE_PORTMAP_MAPPED);
    alarm(60);
    while (strlen(c.gateway.log) < 2)
        assert_int_equal(loop_run_once(c.loop, 50 * MS), 0);
    alarm(0);
    assert_string_equal(c.gateway.log, "MM");
    assert_int_equal(c.told[BASELINE_PORTMAP_MAPPED], 1);
    c.gateway.mute_pcp = true;
    run_until(&c, BASELINE_PORTMAP_FAILED);
    assert_int_equal(c.last.fate, BASELINE_PORTMAP_NO_ANSWER);
    end(&c);
}

/* Closed before the answer: what may have been granted is taken back. */
static void closed_at_once(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    c.gateway.pcp = true;
    assert_int_equal(baseline_portmap_open(c.loop, &c.config, &c.map), 0);
    end(&c);
    assert_string_equal(c.gateway.log, "MD");
    assert_int_equal(c.told[BASELINE_PORTMAP_MAPPED], 0);
}

/* One protocol, and no other. */
static void only_one(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    c.gateway.natpmp = true;
    c.config.protocol = BASELINE_PORTMAP_PCP;
    open_and_wait(&c, BASELINE_PORTMAP_FAILED);
    assert_int_equal(c.last.fate, BASELINE_PORTMAP_UNREACHABLE);
    assert_int_equal(c.last.code, WIRE_PORTMAP_UNSUPP_VERSION);
    end(&c);
    assert_string_equal(c.gateway.log, "");
    begin(&c);
    c.gateway.pcp = c.gateway.natpmp = true;
    c.config.protocol = BASELINE_PORTMAP_NATPMP;
    open_and_wait(&c, BASELINE_PORTMAP_MAPPED);
    end(&c);
    assert_null(strpbrk(c.gateway.log, "MD"));
}

static void vanished_in_the_end(void **state)
{
    (void)state;
    struct client c;
    begin(&c);
    c.gateway.pcp = true;
    open_and_wait(&c, BASELINE_PORTMAP_MAPPED);
    c.gateway.mute_pcp = true;
    end(&c);
    assert_int_equal(c.last.fate, BASELINE_PORTMAP_NO_ANSWER);
    assert_int_equal(c.told[BASELINE_PORTMAP_FAILED], 0);
}

static void upnp_codes(void **state)
{
    (void)state;
    assert_int_equal(upnp_fate_of(0), BASELINE_PORTMAP_OK);
    assert_int_equal(upnp_fate_of(606), BASELINE_PORTMAP_REFUSED);
    assert_int_equal(upnp_fate_of(718), BASELINE_PORTMAP_RESOURCES);
    assert_int_equal(upnp_fate_of(728), BASELINE_PORTMAP_RESOURCES);
    assert_int_equal(upnp_fate_of(501), BASELINE_PORTMAP_PROTOCOL);
    assert_int_equal(upnp_fate_of(-3), BASELINE_PORTMAP_NO_ANSWER);
    assert_int_equal(upnp_fate_of(-4), BASELINE_PORTMAP_PROTOCOL);
    assert_string_equal(baseline_portmap_protocol_name(BASELINE_PORTMAP_UPNP), "upnp");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_pcp),
        cmocka_unit_test(by_natpmp),
        cmocka_unit_test(by_natpmp_after_silence),
        cmocka_unit_test(refusals),
        cmocka_unit_test(silence_and_nobody),
        cmocka_unit_test(renewals),
        cmocka_unit_test(closed_at_once),
        cmocka_unit_test(only_one),
        cmocka_unit_test(vanished_in_the_end),
        cmocka_unit_test(upnp_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
