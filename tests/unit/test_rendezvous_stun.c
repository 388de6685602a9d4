/*
 * Pins: STUN answers that a foreign client would not understand, or that go out from the wrong address; requests that
 * cannot be honoured and are answered as if they had been; answers to what must not be answered; an amplifier; rate
 * limits that one address can dodge or that lock out another; alternates that do not lead back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "bench/rendezvous/internal.h"
#include "tests/vectors/rfc5769.h"

static const uint8_t txid[WIRE_STUN_TXID_LEN] = "transaction";

static union base_ep ep(const char *text)
{
    union base_ep out;
    assert_int_equal(base_ep_parse(text, &out), 0);
    return out;
}

static void is_ep(const union base_ep *got, const char *want)
{
    char text[BASE_EP_STRLEN];
    assert_string_equal(base_ep_format(got, text), want);
}

/* A request under construction, and what came back. */
struct exchange {
    union base_ep from, site[4];
    struct stun_ask ask;
    uint8_t request[WIRE_STUN_MAX_LEN], reply[WIRE_STUN_MAX_LEN];
    struct wire_stun_writer w;
    size_t request_len;
    struct stun_reply answer;
    struct wire_stun msg;
};

static void begin(struct exchange *x, bool alternates, bool stream)
{
    static const char *const sites[] = {"192.0.2.1:3478", "192.0.2.1:3479", "192.0.2.2:3478", "192.0.2.2:3479"};
    memset(x, 0, sizeof(*x));
    x->from = ep("198.51.100.7:4242");
    x->ask = (struct stun_ask){.from = &x->from, .stream = stream};
    for (size_t i = 0; i < 4; i++) {
        x->site[i] = ep(sites[i]);
        if (i == 0 || alternates)
            x->ask.site[i] = &x->site[i];
    }
    wire_stun_begin(&x->w, x->request, sizeof(x->request), WIRE_STUN_REQUEST, WIRE_STUN_BINDING, txid);
}

/* Sends it; the answer must decode and belong to it. */
static void ask(struct exchange *x, bool fingerprint)
{
    int len = wire_stun_end(&x->w, fingerprint);
    assert_true(len > 0);
    x->request_len = (size_t)len;
    x->answer = stun_answer(&x->ask, x->request, x->request_len, x->reply);
    assert_true(x->answer.len > 0);
    assert_int_equal(wire_stun_decode(x->reply, x->answer.len, &x->msg), 0);
    assert_memory_equal(x->msg.txid, txid, sizeof(txid));
    assert_int_equal(x->msg.has_fingerprint, fingerprint);
}

static void is_420(struct exchange *x, uint16_t attr)
{
    assert_int_equal(x->msg.cls, WIRE_STUN_ERROR);
    assert_int_equal(x->msg.error_code, 420);
    const uint8_t list[] = {0x00, 0x0A, 0x00, 0x02, (uint8_t)(attr >> 8), (uint8_t)attr};
    assert_non_null(memmem(x->reply, x->answer.len, list, sizeof(list)));
    assert_int_equal(x->answer.change, 0);
}

static void plain_binding(void **state)
{
    (void)state;
    struct exchange x;
    begin(&x, false, false);
    ask(&x, false);
    assert_int_equal(x.msg.cls, WIRE_STUN_SUCCESS);
    is_ep(&x.msg.xor_mapped, "198.51.100.7:4242");
    is_ep(&x.msg.origin, "192.0.2.1:3478");
    assert_false(base_ep_is_set(&x.msg.other)); /* RFC 5780: only with two addresses */
    assert_false(base_ep_is_set(&x.msg.mapped));
    is_ep(&x.answer.to, "198.51.100.7:4242");
    /* A source may be forged: what it gets for 20 bytes stays near the least that an answer can be (RFC 8489: 32). */
    assert_in_range(x.answer.len, 32, 44);
    begin(&x, true, false);
    ask(&x, true);
    is_ep(&x.msg.other, "192.0.2.2:3479");
    assert_in_range(x.answer.len, 32, 2 * x.request_len + 8);
    assert_null(x.msg.software);
    begin(&x, false, false);
    wire_stun_put(&x.w, WIRE_STUN_SOFTWARE, "client", 6);
    ask(&x, false);
    assert_non_null(x.msg.software);
}

static void ipv6(void **state)
{
    (void)state;
    struct exchange x;
    begin(&x, false, false);
    x.from = ep("[2001:db8::7]:4242");
    x.site[0] = ep("[2001:db8::1]:3478");
    ask(&x, false);
    is_ep(&x.msg.xor_mapped, "[2001:db8::7]:4242");
    is_ep(&x.msg.origin, "[2001:db8::1]:3478");
}

static void change_request(void **state)
{
    (void)state;
    static const struct {
        uint32_t flags;
        unsigned change;
        const char *origin;
    } cases[] = {{0, 0, "192.0.2.1:3478"},
                 {WIRE_STUN_CHANGE_PORT, 1, "192.0.2.1:3479"},
                 {WIRE_STUN_CHANGE_IP, 2, "192.0.2.2:3478"},
                 {WIRE_STUN_CHANGE_IP | WIRE_STUN_CHANGE_PORT, 3, "192.0.2.2:3479"}};
    struct exchange x;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        begin(&x, true, false);
        wire_stun_put_u32(&x.w, WIRE_STUN_CHANGE_REQUEST, cases[i].flags);
        ask(&x, false);
        assert_int_equal(x.msg.cls, WIRE_STUN_SUCCESS);
        assert_int_equal(x.answer.change, cases[i].change);
        is_ep(&x.msg.origin, cases[i].origin);
        is_ep(&x.msg.other, "192.0.2.2:3479");
    }
    /* With one address, or over a stream, it cannot be done, and the client is told so. */
    begin(&x, false, false);
    wire_stun_put_u32(&x.w, WIRE_STUN_CHANGE_REQUEST, WIRE_STUN_CHANGE_IP);
    ask(&x, true);
    is_420(&x, WIRE_STUN_CHANGE_REQUEST);
    begin(&x, true, true);
    wire_stun_put_u32(&x.w, WIRE_STUN_CHANGE_REQUEST, WIRE_STUN_CHANGE_PORT);
    ask(&x, false);
    is_420(&x, WIRE_STUN_CHANGE_REQUEST);
}

static void stream_binding(void **state)
{
    (void)state;
    struct exchange x;
    begin(&x, true, true);
    ask(&x, true);
    is_ep(&x.msg.xor_mapped, "198.51.100.7:4242");
    is_ep(&x.msg.other, "192.0.2.2:3479");
    assert_int_equal(x.msg.software_len, 10);
}

static void response_port(void **state)
{
    (void)state;
    struct exchange x;
    begin(&x, true, false);
    wire_stun_put_u32(&x.w, WIRE_STUN_RESPONSE_PORT, 5555u << 16);
    ask(&x, false);
    is_ep(&x.answer.to, "198.51.100.7:5555"); /* the asker's own address, never another */
    is_ep(&x.msg.xor_mapped, "198.51.100.7:4242");
    begin(&x, true, true);
    wire_stun_put_u32(&x.w, WIRE_STUN_RESPONSE_PORT, 5555u << 16);
    ask(&x, false);
    is_420(&x, WIRE_STUN_RESPONSE_PORT);
}

static void padding(void **state)
{
    (void)state;
    static const uint8_t zeros[WIRE_STUN_MAX_LEN];
    static const size_t sizes[] = {4, 1500, WIRE_STUN_MAX_LEN - WIRE_STUN_HEADER_LEN - 4};
    struct exchange x;
    for (size_t i = 0; i < BASE_ARRAY_LEN(sizes); i++) {
        begin(&x, true, false);
        wire_stun_put(&x.w, WIRE_STUN_PADDING, zeros, sizes[i]);
        ask(&x, false);
        assert_in_range(x.msg.padding_len, 1, sizes[i]);
        assert_in_range(x.answer.len, x.request_len < 2000 ? x.request_len : 2000, x.request_len + 60);
    }
    /* Both at once would be a padded answer to any port (RFC 5780, 6.1). */
    begin(&x, true, false);
    wire_stun_put(&x.w, WIRE_STUN_PADDING, zeros, 64);
    wire_stun_put_u32(&x.w, WIRE_STUN_RESPONSE_PORT, 5555u << 16);
    ask(&x, false);
    assert_int_equal(x.msg.error_code, 400);
    is_ep(&x.answer.to, "198.51.100.7:4242");
}

static void unknown_attribute(void **state)
{
    (void)state;
    struct exchange x;
    begin(&x, false, false);
    wire_stun_put(&x.w, 0x8099, "fine", 4);
    wire_stun_put(&x.w, 0x0099, "what?", 5);
    ask(&x, true);
    is_420(&x, 0x0099);
}

/* RFC 3489: no cookie, 128 bits of transaction id, an unmasked address. */
static void classic(void **state)
{
    (void)state;
    uint8_t reply[WIRE_STUN_MAX_LEN];
    uint8_t request[20] = {0, 1, 0, 0, 0xDE, 0xAD, 0xBE, 0xEF, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    static const uint8_t expected[] = {0x01, 0x01, 0x00, 0x0C, 0xDE, 0xAD, 0xBE, 0xEF, 1,   2, 3,
                                       4,    5,    6,    7,    8,    9,    10,   11,   12,  0, 1,
                                       0,    8,    0,    1,    0x10, 0x92, 198,  51,   100, 7};
    union base_ep from = ep("198.51.100.7:4242"), site = ep("192.0.2.1:3478");
    struct stun_ask how = {.from = &from, .site = {&site}};
    struct stun_reply got = stun_answer(&how, request, sizeof(request), reply);
    assert_int_equal(got.len, sizeof(expected));
    assert_memory_equal(reply, expected, sizeof(expected));
}

/* Silence is the answer to all else: two servers must not talk to each other for ever. */
static void silence(void **state)
{
    (void)state;
    static const enum wire_stun_class classes[] = {WIRE_STUN_INDICATION, WIRE_STUN_SUCCESS, WIRE_STUN_ERROR};
    struct exchange x;
    for (size_t i = 0; i < BASE_ARRAY_LEN(classes); i++) {
        begin(&x, true, false);
        wire_stun_begin(&x.w, x.request, sizeof(x.request), classes[i], WIRE_STUN_BINDING, txid);
        int len = wire_stun_end(&x.w, true);
        assert_int_equal(stun_answer(&x.ask, x.request, (size_t)len, x.reply).len, 0);
    }
    begin(&x, true, false); /* ALLOCATE */
    wire_stun_begin(&x.w, x.request, sizeof(x.request), WIRE_STUN_REQUEST, 0x003, txid);
    assert_int_equal(stun_answer(&x.ask, x.request, (size_t)wire_stun_end(&x.w, false), x.reply).len, 0);
    uint8_t bad[sizeof(rfc5769_request)];
    for (size_t n = 0; n < sizeof(bad); n++) {
        memcpy(bad, rfc5769_request, sizeof(bad));
        assert_int_equal(stun_answer(&x.ask, bad, n, x.reply).len, 0);
    }
    memcpy(bad, rfc5769_request, sizeof(bad));
    bad[50] ^= 1; /* its fingerprint is wrong now */
    assert_int_equal(stun_answer(&x.ask, bad, sizeof(bad), x.reply).len, 0);
    memcpy(bad, rfc5769_request, sizeof(bad));
    assert_true(stun_answer(&x.ask, bad, sizeof(bad), x.reply).len > 0);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void rates(void **state)
{
    (void)state;
    struct limits *l = limits_create(10, 20, 1);
    union base_ep one = ep("198.51.100.1:1"), other_port = ep("198.51.100.1:2"), two = ep("198.51.100.2:1");
    uint64_t now = BASE_NS_PER_S;
    assert_non_null(l);
    for (int i = 0; i < 20; i++)
        assert_true(limits_take(l, i % 2 ? &one : &other_port, now));
    assert_false(limits_take(l, &one, now));
    assert_false(limits_take(l, &other_port, now));
    assert_true(limits_take(l, &two, now));
    assert_true(limits_take(l, &one, now + BASE_NS_PER_S / 10));
    assert_false(limits_take(l, &one, now + BASE_NS_PER_S / 10));
    limits_free(l);
    /* One customer has a whole /64. */
    union base_ep v6 = ep("[2001:db8:1:2::1]:1"), same = ep("[2001:db8:1:2:3::9]:1"), other = ep("[2001:db8:1:3::1]:1");
    l = limits_create(1, 1, 1);
    assert_non_null(l);
    assert_true(limits_take(l, &v6, now));
    assert_false(limits_take(l, &same, now));
    assert_true(limits_take(l, &other, now));
    limits_free(l);
    l = limits_create(0, 0, 1);
    assert_non_null(l);
    for (int i = 0; i < 1000; i++)
        assert_true(limits_take(l, &one, now));
    limits_free(l);
}

/* A flood of forged sources locks nobody out, and an honest address that asks now keeps its place among new ones. */
static void flood(void **state)
{
    (void)state;
    struct limits *l = limits_create(1, 1, 7);
    uint64_t now = BASE_NS_PER_S;
    assert_non_null(l);
    for (uint32_t i = 0; i < 200000; i++) {
        uint32_t addr = htonl(0x0A000000 + i);
        union base_ep from = base_ep_from_bytes(AF_INET, (const uint8_t *)&addr, 1);
        assert_true(limits_take(l, &from, now + i));
    }
    union base_ep honest = ep("198.51.100.1:1");
    assert_true(limits_take(l, &honest, now + 300000));
    assert_false(limits_take(l, &honest, now + 300001));
    limits_free(l);
}

/* ---- sites ----------------------------------------------------------------------------------- */

static int plan(struct rendezvous_config *c, struct site *sites, size_t *n)
{
    char why[160] = "";
    int err = site_plan(c, sites, n, why, sizeof(why));
    assert_int_equal(err < 0, why[0] != '\0');
    return err;
}

static void alternates(void **state)
{
    (void)state;
    struct site sites[RENDEZVOUS_MAX_SITES];
    size_t n;
    for (size_t ports = 1; ports <= 4; ports++) {
        struct rendezvous_config c = {.n_listen = ports};
        for (size_t i = 0; i < ports; i++) {
            c.listen[i] = ep("192.0.2.1:3478");
            base_ep_set_port(&c.listen[i], (uint16_t)(3478 + 10 * i));
        }
        assert_int_equal(plan(&c, sites, &n), 0);
        assert_int_equal(n, ports);
        assert_int_equal(sites[0].twin[3], SIZE_MAX);
        assert_int_equal(base_ep_parse_addr("192.0.2.2", &c.alternate), 0);
        assert_int_equal(plan(&c, sites, &n), 0);
        assert_int_equal(n, ports == 1 ? 4 : 2 * ports);
        for (size_t i = 0; i < n; i++) {
            const struct site *port = &sites[sites[i].twin[1]], *addr = &sites[sites[i].twin[2]],
                              *both = &sites[sites[i].twin[3]];
            assert_true(base_ep_same_addr(&port->ep, &sites[i].ep));
            assert_int_not_equal(base_ep_port(&port->ep), base_ep_port(&sites[i].ep));
            assert_false(base_ep_same_addr(&addr->ep, &sites[i].ep));
            assert_int_equal(base_ep_port(&addr->ep), base_ep_port(&sites[i].ep));
            assert_true(base_ep_same_addr(&both->ep, &addr->ep));
            assert_int_equal(base_ep_port(&both->ep), base_ep_port(&port->ep));
            if (ports != 3)
                assert_int_equal(both->twin[3], i);
        }
    }
}

static void bad_alternates(void **state)
{
    (void)state;
    struct site sites[RENDEZVOUS_MAX_SITES];
    size_t n;
    static const char *const cases[][2] = {
        {"192.0.2.1:3478", "192.0.2.1"},   {"0.0.0.0:3478", "192.0.2.2"}, {"192.0.2.1:65535", "192.0.2.2"},
        {"192.0.2.1:3478", "2001:db8::2"}, {"[::]:3478", "2001:db8::2"},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        struct rendezvous_config c = {.n_listen = 1};
        c.listen[0] = ep(cases[i][0]);
        assert_int_equal(base_ep_parse_addr(cases[i][1], &c.alternate), 0);
        assert_int_equal(plan(&c, sites, &n), -EINVAL);
    }
    struct rendezvous_config twice = {.n_listen = 2};
    twice.listen[0] = twice.listen[1] = ep("192.0.2.1:3478");
    assert_int_equal(plan(&twice, sites, &n), -EINVAL);
}

/* Peers sample at the address they came to first, and at no other family's. */
static void stun_list(void **state)
{
    (void)state;
    static struct server server;
    union base_ep list[8], asked = ep("192.0.2.9:3479");
    size_t n;
    struct rendezvous_config c = {.n_listen = 3};
    c.listen[0] = ep("192.0.2.1:3478");
    c.listen[1] = ep("0.0.0.0:3479");
    c.listen[2] = ep("[2001:db8::1]:3478");
    assert_int_equal(plan(&c, server.sites, &server.n_sites), 0);
    n = site_stun_list(&server, &asked, list, BASE_ARRAY_LEN(list));
    assert_int_equal(n, 2);
    is_ep(&list[0], "192.0.2.9:3479");
    is_ep(&list[1], "192.0.2.1:3478");
    asked = ep("192.0.2.1:3478");
    n = site_stun_list(&server, &asked, list, BASE_ARRAY_LEN(list));
    assert_int_equal(n, 2);
    is_ep(&list[0], "192.0.2.1:3478");
    is_ep(&list[1], "192.0.2.1:3479");
    assert_int_equal(site_stun_list(&server, &asked, list, 1), 1);
}

/* Sampling ports are on every address once, after the ports that are served, and end where ports end. */
static void sample_ports(void **state)
{
    (void)state;
    static struct server server;
    struct site *sites = server.sites;
    union base_ep list[64], asked = ep("192.0.2.1:3478");
    size_t n;
    struct rendezvous_config c = {.n_listen = 2, .sample_ports = 8};
    c.listen[0] = ep("192.0.2.1:3478");
    c.listen[1] = ep("192.0.2.1:3490");
    assert_int_equal(base_ep_parse_addr("192.0.2.2", &c.alternate), 0);
    assert_int_equal(plan(&c, sites, &n), 0);
    assert_int_equal(n, 4 + 16);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(sites[i].sample, i >= 4);
        assert_int_equal(sites[i].twin[0], i);
        assert_int_equal(sites[i].twin[3] == SIZE_MAX, i >= 4);
        if (i >= 4)
            assert_int_equal(base_ep_port(&sites[i].ep), 3491 + (i - 4) / 2);
    }
    server.n_sites = n;
    assert_int_equal(site_stun_list(&server, &asked, list, BASE_ARRAY_LEN(list)), 20);
    is_ep(&list[0], "192.0.2.1:3478");
    is_ep(&list[3], "192.0.2.2:3490");
    c.sample_first = 65528;
    assert_int_equal(plan(&c, sites, &n), 0);
    c.sample_first++;
    assert_int_equal(plan(&c, sites, &n), -EINVAL);
    c.sample_first = 3485;
    assert_int_equal(plan(&c, sites, &n), -EINVAL);
    /* As many as there can be fit, and one address more does not. */
    struct rendezvous_config many = {.n_listen = 5, .sample_ports = RENDEZVOUS_MAX_SAMPLE_PORTS};
    static const char *const addrs[] = {"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "[2001:db8::1]:1", "192.0.2.4:1"};
    for (size_t i = 0; i < 5; i++)
        many.listen[i] = ep(addrs[i]);
    assert_int_equal(plan(&many, sites, &n), -EINVAL);
    many.n_listen = 4;
    assert_int_equal(plan(&many, sites, &n), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_binding),
        cmocka_unit_test(ipv6),
        cmocka_unit_test(change_request),
        cmocka_unit_test(stream_binding),
        cmocka_unit_test(response_port),
        cmocka_unit_test(padding),
        cmocka_unit_test(unknown_attribute),
        cmocka_unit_test(classic),
        cmocka_unit_test(silence),
        cmocka_unit_test(rates),
        cmocka_unit_test(flood),
        cmocka_unit_test(alternates),
        cmocka_unit_test(bad_alternates),
        cmocka_unit_test(stun_list),
        cmocka_unit_test(sample_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
