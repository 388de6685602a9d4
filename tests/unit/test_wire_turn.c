/*
 * Pins: a TURN codec that XORs the wrong addresses, believes lengths, takes its own attributes for unknown ones (or
 * others' for known), makes another key than RFC 8489's, or loses its place in a stream that comes in pieces.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "bench/wire/wire.h"
#include "tests/vectors/rfc5769.h"

static const uint8_t txid[WIRE_STUN_TXID_LEN] = "transaction";

static union base_ep ep(const char *text)
{
    union base_ep out;
    assert_int_equal(base_ep_parse(text, &out), 0);
    return out;
}

static int decode_exact(const uint8_t *buf, size_t len, struct wire_turn *out)
{
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, buf, len);
    int err = wire_turn_decode(copy, len, out);
    free(copy);
    return err;
}

/* RFC 5769, 2.4: the only vector with a long-term credential, and its text attributes. */
static void vector_long_term(void **state)
{
    (void)state;
    struct wire_turn msg;
    uint8_t key[WIRE_TURN_KEY_LEN];
    char user[32], realm[] = "example.org";
    assert_int_equal(wire_turn_decode(rfc5769_long_term, sizeof(rfc5769_long_term), &msg), 0);
    assert_int_equal(msg.username_len, 18);
    memcpy(user, msg.username, 18);
    user[18] = '\0';
    assert_int_equal(msg.realm_len, strlen(realm));
    assert_memory_equal(msg.realm, realm, strlen(realm));
    assert_int_equal(msg.nonce_len, 28);
    assert_memory_equal(msg.nonce, "f//499k954d6OL34oL9FSTvy64sA", 28);
    assert_int_equal(wire_turn_key(user, realm, strlen(realm), "TheMatrIX", key), 0);
    assert_true(wire_stun_check_integrity(rfc5769_long_term, sizeof(rfc5769_long_term), &msg.stun, key, sizeof(key)));
    assert_int_equal(wire_turn_key(user, realm, strlen(realm), "TheMatrix", key), 0);
    assert_false(wire_stun_check_integrity(rfc5769_long_term, sizeof(rfc5769_long_term), &msg.stun, key, sizeof(key)));
}

/* RFC 8489, 9.2.2's own example: user, realm and password "user", "realm", "pass". */
static void key_of_the_rfc(void **state)
{
    (void)state;
    static const uint8_t want[] = {0x84, 0x93, 0xfb, 0xc5, 0x3b, 0xa5, 0x82, 0xfb,
                                   0x4c, 0x04, 0x4c, 0x45, 0x6b, 0xdc, 0x40, 0xeb};
    uint8_t key[WIRE_TURN_KEY_LEN];
    assert_int_equal(wire_turn_key("user", "realm", 5, "pass", key), 0);
    assert_memory_equal(key, want, sizeof(key));
}

/* An Allocate success, byte by byte: the addresses are those of RFC 8656's example, XORed by hand. */
static const uint8_t allocated[] = {
    0x01, 0x03, 0x00, 0x20, 0x21, 0x12, 0xa4, 0x42,                         /* Allocate success, 32 bytes */
    0xc2, 0x71, 0xe9, 0x32, 0xad, 0x74, 0x46, 0xa3, 0x2c, 0x23, 0x44, 0x92, /* transaction id */
    0x00, 0x0d, 0x00, 0x04, 0x00, 0x00, 0x04, 0xb0,                         /* LIFETIME 1200 */
    0x00, 0x16, 0x00, 0x08, 0x00, 0x01, 0xe2, 0x42, 0xe1, 0x12, 0xa6, 0x4d, /* RELAYED 192.0.2.15:50000 */
    0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0x3a, 0x4a, 0xe1, 0x12, 0xa6, 0x43, /* MAPPED 192.0.2.1:7000 */
};

static void allocate_success(void **state)
{
    (void)state;
    struct wire_turn msg;
    union base_ep relayed = ep("192.0.2.15:50000"), mapped = ep("192.0.2.1:7000");
    assert_int_equal(decode_exact(allocated, sizeof(allocated), &msg), 0);
    assert_int_equal(msg.stun.cls, WIRE_STUN_SUCCESS);
    assert_int_equal(msg.stun.method, WIRE_TURN_ALLOCATE);
    assert_true(base_ep_equal(&msg.relayed, &relayed));
    assert_true(base_ep_equal(&msg.stun.xor_mapped, &mapped));
    assert_true(msg.has_lifetime && msg.lifetime_s == 1200);
    assert_false(msg.has_channel || msg.has_connection || msg.data);
    assert_int_equal(msg.stun.n_unknown, 0);
    for (size_t n = 0; n < sizeof(allocated); n++)
        assert_int_equal(decode_exact(allocated, n, &msg), -EBADMSG);
}

/* Everything that goes out comes back, over both families. */
static void round_trip(void **state)
{
    (void)state;
    const union base_ep peers[] = {ep("203.0.113.9:1"), ep("[2001:db8::9]:65535")};
    for (size_t i = 0; i < BASE_ARRAY_LEN(peers); i++) {
        uint8_t buf[512], key[WIRE_TURN_KEY_LEN] = {7}, number[4] = {0x4a, 0xbc}, transport[4] = {WIRE_TURN_TCP};
        struct wire_stun_writer w;
        struct wire_turn msg;
        wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_INDICATION, WIRE_TURN_CONNECTION_ATTEMPT, txid);
        wire_stun_put_address(&w, WIRE_TURN_XOR_PEER_ADDRESS, &peers[i]);
        wire_stun_put_address(&w, WIRE_TURN_XOR_RELAYED_ADDRESS, &peers[1 - i]);
        wire_stun_put_u32(&w, WIRE_TURN_CONNECTION_ID, 0xdeadbeef);
        wire_stun_put_u32(&w, WIRE_TURN_LIFETIME, 0);
        wire_stun_put(&w, WIRE_TURN_CHANNEL_NUMBER, number, sizeof(number));
        wire_stun_put(&w, WIRE_TURN_REQUESTED_TRANSPORT, transport, sizeof(transport));
        wire_stun_put(&w, WIRE_TURN_DATA_ATTR, "five!", 5);
        wire_stun_put(&w, WIRE_STUN_REALM, "r", 1);
        wire_stun_put_integrity(&w, key, sizeof(key));
        int len = wire_stun_end(&w, true);
        assert_true(len > 0);
        /* Plain on the wire it is not: no NAT that rewrites addresses in payloads can find it. */
        size_t addr_len;
        const uint8_t *addr = base_ep_bytes(&peers[i], &addr_len);
        assert_null(memmem(buf, (size_t)len, addr, addr_len));
        assert_int_equal(wire_turn_decode(buf, (size_t)len, &msg), 0);
        assert_int_equal(msg.stun.method, WIRE_TURN_CONNECTION_ATTEMPT);
        assert_int_equal(msg.stun.cls, WIRE_STUN_INDICATION);
        assert_true(base_ep_equal(&msg.peer, &peers[i]) && base_ep_equal(&msg.relayed, &peers[1 - i]));
        assert_true(msg.has_connection && msg.connection == 0xdeadbeef);
        assert_true(msg.has_lifetime && msg.lifetime_s == 0);
        assert_true(msg.has_channel && msg.channel == 0x4abc);
        assert_int_equal(msg.transport, WIRE_TURN_TCP);
        assert_int_equal(msg.data_len, 5);
        assert_memory_equal(msg.data, "five!", 5);
        assert_true(wire_stun_check_integrity(buf, (size_t)len, &msg.stun, key, sizeof(key)));
    }
}

static int one_attr(uint16_t type, const void *value, size_t len, struct wire_turn *out)
{
    static uint8_t buf[2048];
    struct wire_stun_writer w;
    wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_SUCCESS, WIRE_TURN_ALLOCATE, txid);
    wire_stun_put(&w, type, value, len);
    return wire_turn_decode(buf, (size_t)wire_stun_end(&w, false), out);
}

/* A value of the wrong size is no value. */
static void bad_attributes(void **state)
{
    (void)state;
    static const uint8_t zeros[1024];
    static const uint16_t of_four[] = {WIRE_TURN_CHANNEL_NUMBER, WIRE_TURN_LIFETIME, WIRE_TURN_CONNECTION_ID,
                                       WIRE_TURN_REQUESTED_TRANSPORT};
    struct wire_turn msg;
    for (size_t i = 0; i < BASE_ARRAY_LEN(of_four); i++)
        for (size_t len = 0; len < 10; len++)
            assert_int_equal(one_attr(of_four[i], zeros, len, &msg), len == 4 ? 0 : -EBADMSG);
    assert_int_equal(one_attr(WIRE_TURN_XOR_PEER_ADDRESS, zeros, 8, &msg), -EBADMSG); /* family 0 */
    assert_int_equal(one_attr(WIRE_STUN_REALM, zeros, WIRE_TURN_TEXT_MAX, &msg), 0);
    assert_int_equal(one_attr(WIRE_STUN_REALM, zeros, WIRE_TURN_TEXT_MAX + 1, &msg), -EBADMSG);
    assert_int_equal(one_attr(WIRE_TURN_DATA_ATTR, zeros, 0, &msg), 0);
    assert_true(msg.data && msg.data_len == 0);
}

/* What TURN has is known here and unknown to plain STUN, whose server must refuse it (420); the rest is unknown. */
static void unknown_attributes(void **state)
{
    (void)state;
    uint8_t buf[128];
    struct wire_stun_writer w;
    struct wire_turn msg;
    struct wire_stun stun;
    wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_SUCCESS, WIRE_TURN_ALLOCATE, txid);
    wire_stun_put_u32(&w, WIRE_TURN_LIFETIME, 1);
    wire_stun_put_u32(&w, 0x7777, 1);
    wire_stun_put_u32(&w, WIRE_TURN_CONNECTION_ID, 1);
    int len = wire_stun_end(&w, false);
    assert_int_equal(wire_stun_decode(buf, (size_t)len, &stun), 0);
    assert_int_equal(stun.n_unknown, 3);
    assert_int_equal(wire_turn_decode(buf, (size_t)len, &msg), 0);
    assert_int_equal(msg.stun.n_unknown, 1);
    assert_int_equal(msg.stun.unknown[0], 0x7777);
}

/* An attacker on the way could add them. */
static void after_integrity_nothing_counts(void **state)
{
    (void)state;
    uint8_t buf[128], key[1] = {1};
    struct wire_stun_writer w;
    struct wire_turn msg;
    wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_SUCCESS, WIRE_TURN_CONNECT, txid);
    wire_stun_put_integrity(&w, key, sizeof(key));
    wire_stun_put_u32(&w, WIRE_TURN_CONNECTION_ID, 1);
    int len = wire_stun_end(&w, false);
    assert_int_equal(wire_turn_decode(buf, (size_t)len, &msg), 0);
    assert_false(msg.has_connection);
}

static void channel_data(void **state)
{
    (void)state;
    uint8_t buf[64];
    uint16_t channel;
    const uint8_t *data;
    size_t len;
    static const uint8_t over_udp[] = {0x40, 0x01, 0x00, 0x05, 'h', 'e', 'l', 'l', 'o'};
    assert_int_equal(wire_turn_channel_encode(0x4001, "hello", 5, false, buf, sizeof(buf)), sizeof(over_udp));
    assert_memory_equal(buf, over_udp, sizeof(over_udp));
    assert_int_equal(wire_turn_channel_encode(0x4001, "hello", 5, true, buf, sizeof(buf)), 12);
    assert_int_equal(wire_turn_stream_len(buf, 12), 12);
    for (size_t n = 9; n <= 12; n++) {
        assert_int_equal(wire_turn_channel_decode(buf, n, &channel, &data, &len), 0);
        assert_true(channel == 0x4001 && len == 5 && memcmp(data, "hello", 5) == 0);
    }
    for (size_t n = 0; n < 9; n++)
        assert_int_equal(wire_turn_channel_decode(buf, n, &channel, &data, &len), -EBADMSG);
    assert_int_equal(wire_turn_channel_decode(buf, 13, &channel, &data, &len), -EBADMSG);
    assert_int_equal(wire_turn_channel_encode(0x4001, "hello", 5, false, buf, 8), -ENOSPC);
    assert_int_equal(wire_turn_channel_encode(0x3fff, "hello", 5, false, buf, sizeof(buf)), -ENOSPC);
    assert_int_equal(wire_turn_channel_encode(0x5000, "hello", 5, false, buf, sizeof(buf)), -ENOSPC);
    assert_int_equal(wire_turn_channel_encode(0x4fff, NULL, 0, false, buf, sizeof(buf)), 4);
    assert_int_equal(wire_turn_channel_decode(buf, 4, &channel, &data, &len), 0);
    assert_int_equal(len, 0);
}

/* A stream of both kinds is split at the same places however it comes. */
static void stream_in_pieces(void **state)
{
    (void)state;
    uint8_t buf[256];
    size_t len = 0, starts[4] = {0};
    memcpy(buf, allocated, sizeof(allocated));
    starts[1] = len = sizeof(allocated);
    starts[2] = len += (size_t)wire_turn_channel_encode(0x4123, "xyz", 3, true, buf + len, sizeof(buf) - len);
    memcpy(buf + len, allocated, sizeof(allocated));
    starts[3] = len += sizeof(allocated);
    for (size_t i = 0; i < 3; i++)
        for (size_t n = 0; n <= len - starts[i]; n++)
            assert_int_equal(wire_turn_stream_len(buf + starts[i], n),
                             n < 4 ? -EAGAIN : (int)(starts[i + 1] - starts[i]));
    static const uint8_t bad[][8] = {
        {0x04}, {0x50}, {0x3f, 0xff, 0, 0}, {0x80}, {0xff}, {0, 1, 0, 3}, {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x43}};
    for (size_t i = 0; i < BASE_ARRAY_LEN(bad); i++)
        assert_int_equal(wire_turn_stream_len(bad[i], sizeof(bad[i])), -EBADMSG);
    static const uint8_t longest[] = {0x4f, 0xff, 0xff, 0xff}, long_stun[] = {0, 0x17, 0xff, 0xfc};
    assert_int_equal(wire_turn_stream_len(longest, 4), 4 + 65536);
    assert_in_range(wire_turn_stream_len(long_stun, 4), WIRE_STUN_MAX_LEN, WIRE_TURN_STREAM_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_long_term),
        cmocka_unit_test(key_of_the_rfc),
        cmocka_unit_test(allocate_success),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(bad_attributes),
        cmocka_unit_test(unknown_attributes),
        cmocka_unit_test(after_integrity_nothing_counts),
        cmocka_unit_test(channel_data),
        cmocka_unit_test(stream_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
