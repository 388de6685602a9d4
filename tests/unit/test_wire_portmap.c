/*
 * Pins: PCP and NAT-PMP requests that differ from RFC 6887's and RFC 6886's diagrams; a response that is believed
 * although it is too short, too long, a request, or of another operation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "bench/wire/wire.h"

static union base_ep addr(const char *text, uint16_t port)
{
    union base_ep out;
    assert_int_equal(base_ep_parse_addr(text, &out), 0);
    base_ep_set_port(&out, port);
    return out;
}

static int decode_exact(const uint8_t *buf, size_t len, struct wire_portmap *out)
{
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, buf, len);
    int err = wire_portmap_decode(copy, len, out);
    free(copy);
    return err;
}

static const uint8_t pcp_request[] = {
    2,   1,   0,   0,   0,    0,    0x0e, 0x10,                                    /* MAP for an hour */
    0,   0,   0,   0,   0,    0,    0,    0,    0,   0,   0xff, 0xff, 10, 1, 0, 2, /* from 10.1.0.2 */
    'n', 'o', 'n', 'c', 'e',  ' ',  'o',  'f',  ' ', '1', '2',  '!',               /* nonce */
    17,  0,   0,   0,   0x4e, 0x20, 0x4e, 0x21,                                    /* UDP 20000, outside 20001 */
    0,   0,   0,   0,   0,    0,    0,    0,    0,   0,   0xff, 0xff, 0,  0, 0, 0, /* any address */
};

static void pcp_is_as_in_the_rfc(void **state)
{
    (void)state;
    uint8_t buf[128];
    struct wire_portmap ask = {.protocol = WIRE_PORTMAP_PCP,
                               .transport = 17,
                               .nonce = "nonce of 12!",
                               .client = addr("10.1.0.2", 0),
                               .internal_port = 20000,
                               .external = addr("0.0.0.0", 20001),
                               .lifetime_s = 3600},
                        out;
    assert_int_equal(wire_portmap_encode(&ask, buf, sizeof(buf)), sizeof(pcp_request));
    assert_memory_equal(buf, pcp_request, sizeof(pcp_request));
    assert_int_equal(wire_portmap_encode(&ask, buf, sizeof(pcp_request) - 1), -ENOSPC);
    assert_int_equal(wire_portmap_decode(pcp_request, sizeof(pcp_request), &out), -EBADMSG); /* a request */
    ask.transport = 1;
    assert_int_equal(wire_portmap_encode(&ask, buf, sizeof(buf)), -EINVAL);
    ask.transport = 6;
    ask.client = (union base_ep){0};
    assert_int_equal(wire_portmap_encode(&ask, buf, sizeof(buf)), -EINVAL);
}

static void pcp_response(void **state)
{
    (void)state;
    static const uint8_t outside[] = {198, 51, 100, 1};
    uint8_t buf[sizeof(pcp_request) + 8] = {0};
    struct wire_portmap out;
    union base_ep want = addr("198.51.100.1", 20001), v6 = addr("2001:db8::1", 20001);
    memcpy(buf, pcp_request, sizeof(pcp_request));
    buf[1] = 0x81;
    memset(buf + 8, 0, 16);
    buf[11] = 99; /* epoch */
    memcpy(buf + sizeof(pcp_request) - 4, outside, sizeof(outside));
    for (size_t len = 0; len < sizeof(pcp_request); len++)
        assert_int_equal(decode_exact(buf, len, &out), -EBADMSG);
    for (size_t more = 0; more <= 8; more++) /* options may follow, in words */
        assert_int_equal(decode_exact(buf, sizeof(pcp_request) + more, &out), more % 4 ? -EBADMSG : 0);
    assert_int_equal(decode_exact(buf, sizeof(pcp_request), &out), 0);
    assert_true(out.protocol == WIRE_PORTMAP_PCP && out.result == 0 && out.lifetime_s == 3600 && out.epoch_s == 99);
    assert_true(out.transport == 17 && out.internal_port == 20000 && base_ep_equal(&out.external, &want));
    assert_memory_equal(out.nonce, "nonce of 12!", WIRE_PORTMAP_NONCE_LEN);
    memcpy(buf + 44, base_ep_bytes(&v6, &(size_t){0}), 16);
    assert_int_equal(decode_exact(buf, sizeof(pcp_request), &out), 0);
    assert_true(base_ep_equal(&out.external, &v6));
    /* A refusal may be the header alone. */
    buf[3] = WIRE_PORTMAP_NOT_AUTHORIZED;
    assert_int_equal(decode_exact(buf, 24, &out), 0);
    assert_int_equal(out.result, WIRE_PORTMAP_NOT_AUTHORIZED);
    buf[1] = 0x82; /* PEER */
    assert_int_equal(decode_exact(buf, sizeof(pcp_request), &out), -EBADMSG);
}

static void natpmp_is_as_in_the_rfc(void **state)
{
    (void)state;
    static const uint8_t map[] = {0, 2, 0, 0, 0x4e, 0x20, 0x4e, 0x21, 0, 0, 0x0e, 0x10}, address[] = {0, 0},
                         gone[] = {0, 1, 0, 0, 0x4e, 0x20, 0, 0, 0, 0, 0, 0};
    uint8_t buf[16];
    struct wire_portmap ask = {
        .transport = 6, .internal_port = 20000, .external = addr("0.0.0.0", 20001), .lifetime_s = 3600};
    assert_int_equal(wire_portmap_encode(&ask, buf, sizeof(buf)), sizeof(map));
    assert_memory_equal(buf, map, sizeof(map));
    ask.transport = 17;
    ask.lifetime_s = 0;
    assert_int_equal(wire_portmap_encode(&ask, buf, sizeof(buf)), sizeof(gone));
    assert_memory_equal(buf, gone, sizeof(gone));
    ask.address = true;
    assert_int_equal(wire_portmap_encode(&ask, buf, sizeof(buf)), sizeof(address));
    assert_memory_equal(buf, address, sizeof(address));
    assert_int_equal(wire_portmap_encode(&ask, buf, 1), -ENOSPC);
}

static void natpmp_responses(void **state)
{
    (void)state;
    static const uint8_t mapped[] = {0, 129, 0, 0, 0, 0, 0, 7, 0x4e, 0x20, 0x4e, 0x21, 0, 0, 0x0e, 0x10};
    static const uint8_t address[] = {0, 128, 0, 0, 0, 0, 0, 7, 198, 51, 100, 1};
    static const uint8_t refused[] = {0, 130, 0, 2, 0, 0, 0, 7}, old[] = {0, 129, 0, 1, 0, 0, 0, 7};
    struct wire_portmap out;
    union base_ep want = addr("198.51.100.1", 0);
    for (size_t len = 0; len < sizeof(mapped); len++)
        assert_int_equal(decode_exact(mapped, len, &out), -EBADMSG);
    assert_int_equal(decode_exact(mapped, sizeof(mapped), &out), 0);
    assert_true(out.protocol == WIRE_PORTMAP_NATPMP && !out.address && out.transport == 17 && out.epoch_s == 7);
    assert_true(out.internal_port == 20000 && base_ep_port(&out.external) == 20001 && out.lifetime_s == 3600);
    assert_int_equal(decode_exact(address, sizeof(address), &out), 0);
    assert_true(out.address && base_ep_equal(&out.external, &want));
    assert_int_equal(decode_exact(refused, sizeof(refused), &out), 0);
    assert_true(out.result == WIRE_PORTMAP_NOT_AUTHORIZED && out.transport == 6);
    assert_int_equal(decode_exact(old, sizeof(old), &out), 0);
    assert_int_equal(out.result, WIRE_PORTMAP_UNSUPP_VERSION);
    static const uint8_t bad[][8] = {{1}, {3, 0x81}, {0, 127}, {0, 131}, {0, 1}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++)
        assert_int_equal(decode_exact(bad[i], 8, &out), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pcp_is_as_in_the_rfc),
        cmocka_unit_test(pcp_response),
        cmocka_unit_test(natpmp_is_as_in_the_rfc),
        cmocka_unit_test(natpmp_responses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
