/*
 * Pins: a codec that disagrees with RFC 8489's own vectors (RFC 5769); a decoder that believes lengths, positions or
 * checksums that are wrong, or reads past the end; an encoder whose output its decoder does not take back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <openssl/evp.h>

#include "bench/wire/wire.h"
#include "tests/vectors/rfc5769.h"

static const uint8_t txid[WIRE_STUN_TXID_LEN] = "transaction";

/* A copy of exactly len bytes, so that the sanitizer sees a read past the end. */
static int decode_exact(const uint8_t *buf, size_t len, struct wire_stun *out)
{
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, buf, len);
    int err = wire_stun_decode(copy, len, out);
    free(copy);
    return err;
}

static union base_ep ep(const char *text)
{
    union base_ep out;
    assert_int_equal(base_ep_parse(text, &out), 0);
    return out;
}

static bool vector_integrity(const uint8_t *buf, size_t len, const void *key, size_t key_len)
{
    struct wire_stun msg;
    assert_int_equal(wire_stun_decode(buf, len, &msg), 0);
    return wire_stun_check_integrity(buf, len, &msg, key, key_len);
}

static void vector_request(void **state)
{
    (void)state;
    struct wire_stun msg;
    assert_int_equal(wire_stun_decode(rfc5769_request, sizeof(rfc5769_request), &msg), 0);
    assert_int_equal(msg.cls, WIRE_STUN_REQUEST);
    assert_int_equal(msg.method, WIRE_STUN_BINDING);
    assert_memory_equal(msg.txid, rfc5769_request + 8, WIRE_STUN_TXID_LEN);
    assert_int_equal(msg.software_len, 16);
    assert_memory_equal(msg.software, "STUN test client", 16);
    assert_true(msg.has_fingerprint);
    assert_int_equal(msg.n_unknown, 0);
    assert_true(wire_stun_check_integrity(rfc5769_request, sizeof(rfc5769_request), &msg,
                                          (const uint8_t *)rfc5769_password, strlen(rfc5769_password)));
    assert_false(
        wire_stun_check_integrity(rfc5769_request, sizeof(rfc5769_request), &msg, (const uint8_t *)"wrong", 5));
}

static void vector_responses(void **state)
{
    (void)state;
    struct wire_stun msg;
    union base_ep v4 = ep("192.0.2.1:32853"), v6 = ep("[2001:db8:1234:5678:11:2233:4455:6677]:32853");
    assert_int_equal(wire_stun_decode(rfc5769_response_ipv4, sizeof(rfc5769_response_ipv4), &msg), 0);
    assert_int_equal(msg.cls, WIRE_STUN_SUCCESS);
    assert_true(base_ep_equal(&msg.xor_mapped, &v4));
    assert_int_equal(wire_stun_decode(rfc5769_response_ipv6, sizeof(rfc5769_response_ipv6), &msg), 0);
    assert_true(base_ep_equal(&msg.xor_mapped, &v6));
    assert_true(vector_integrity(rfc5769_response_ipv4, sizeof(rfc5769_response_ipv4), rfc5769_password,
                                 strlen(rfc5769_password)));
    assert_true(vector_integrity(rfc5769_response_ipv6, sizeof(rfc5769_response_ipv6), rfc5769_password,
                                 strlen(rfc5769_password)));
}

static void vector_long_term(void **state)
{
    (void)state;
    uint8_t key[EVP_MAX_MD_SIZE];
    unsigned key_len;
    assert_int_equal(
        EVP_Digest(rfc5769_long_term_key_text, strlen(rfc5769_long_term_key_text), key, &key_len, EVP_md5(), NULL), 1);
    assert_true(vector_integrity(rfc5769_long_term, sizeof(rfc5769_long_term), key, key_len));
}

/* The encoder makes the RFC's own bytes. */
static void encodes_the_vector(void **state)
{
    (void)state;
    uint8_t buf[256];
    struct wire_stun_writer w;
    union base_ep mapped = ep("192.0.2.1:32853");
    wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_SUCCESS, WIRE_STUN_BINDING, rfc5769_response_ipv4 + 8);
    wire_stun_put(&w, WIRE_STUN_SOFTWARE, "test vector", 11);
    buf[w.len - 1] = ' '; /* the RFC pads with a space */
    wire_stun_put_address(&w, WIRE_STUN_XOR_MAPPED_ADDRESS, &mapped);
    wire_stun_put_integrity(&w, (const uint8_t *)rfc5769_password, strlen(rfc5769_password));
    assert_int_equal(wire_stun_end(&w, true), sizeof(rfc5769_response_ipv4));
    assert_memory_equal(buf, rfc5769_response_ipv4, sizeof(rfc5769_response_ipv4));
}

/* Every truncation is refused, and a stream decoder knows how much it still needs. */
static void truncations(void **state)
{
    (void)state;
    struct wire_stun msg;
    for (size_t n = 0; n < sizeof(rfc5769_request); n++) {
        assert_int_equal(decode_exact(rfc5769_request, n, &msg), -EBADMSG);
        assert_int_equal(wire_stun_frame_len(rfc5769_request, n),
                         n < WIRE_STUN_HEADER_LEN ? -EAGAIN : (int)sizeof(rfc5769_request));
    }
}

/* A fingerprint guards every bit in front of it. */
static void bit_flips(void **state)
{
    (void)state;
    uint8_t buf[sizeof(rfc5769_request)];
    struct wire_stun msg;
    unsigned unguarded = 0;
    for (size_t bit = 0; bit < 8 * sizeof(buf); bit++) {
        memcpy(buf, rfc5769_request, sizeof(buf));
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int err = decode_exact(buf, sizeof(buf), &msg);
        /* A flip may make the fingerprint another attribute, or a part of one; then it must not be claimed. */
        assert_true(err == -EBADMSG || !msg.has_fingerprint);
        unguarded += err == 0;
    }
    assert_in_range(unguarded, 1, 20);
}

/* Without a fingerprint a flip may go unseen, but nothing breaks. */
static void random_bytes_are_harmless(void **state)
{
    (void)state;
    struct base_rng rng;
    struct wire_stun msg;
    uint8_t buf[128];
    base_rng_seed(&rng, 1);
    unsigned taken = 0;
    for (unsigned i = 0; i < 20000; i++) {
        size_t len = WIRE_STUN_HEADER_LEN + 4 * base_rng_below(&rng, (sizeof(buf) - WIRE_STUN_HEADER_LEN) / 4 + 1);
        memcpy(buf, rfc5769_response_ipv6, 20);
        for (size_t k = 20; k < len; k++)
            buf[k] = (uint8_t)(base_rng_below(&rng, 3) ? 0 : base_rng_u64(&rng));
        buf[2] = 0;
        buf[3] = (uint8_t)(len - 20);
        taken += decode_exact(buf, len, &msg) == 0;
    }
    assert_in_range(taken, 1, 19999);
}

static size_t request_with(uint8_t *buf, const uint8_t *attrs, size_t len)
{
    struct wire_stun_writer w;
    wire_stun_begin(&w, buf, WIRE_STUN_MAX_LEN, WIRE_STUN_REQUEST, WIRE_STUN_BINDING, txid);
    if (len)
        memcpy(buf + w.len, attrs, len);
    w.len += len;
    int n = wire_stun_end(&w, false);
    assert_true(n > 0);
    return (size_t)n;
}

static int decode_attrs(const uint8_t *attrs, size_t len, struct wire_stun *msg)
{
    uint8_t buf[WIRE_STUN_MAX_LEN];
    return decode_exact(buf, request_with(buf, attrs, len), msg);
}

static void bad_attributes(void **state)
{
    (void)state;
    struct wire_stun msg;
    static const uint8_t overlong[] = {0x80, 0x22, 0x00, 0x05, 'a', 'b', 'c', 'd'};
    static const uint8_t unpadded[] = {0x80, 0x22, 0x00, 0x09, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'};
    static const uint8_t family[] = {0x00, 0x01, 0x00, 0x08, 0, 3, 0, 1, 1, 2, 3, 4};
    static const uint8_t short_v6[] = {0x00, 0x01, 0x00, 0x08, 0, 2, 0, 1, 1, 2, 3, 4};
    static const uint8_t no_address[] = {0x00, 0x20, 0x00, 0x00};
    static const uint8_t short_error[] = {0x00, 0x09, 0x00, 0x00};
    static const uint8_t error_199[] = {0x00, 0x09, 0x00, 0x04, 0, 0, 1, 99};
    static const uint8_t error_4_100[] = {0x00, 0x09, 0x00, 0x04, 0, 0, 4, 100};
    static const uint8_t change[] = {0x00, 0x03, 0x00, 0x02, 0, 0, 0, 0};
    static const uint8_t integrity[] = {0x00, 0x08, 0x00, 0x04, 1, 2, 3, 4};
    static const uint8_t fingerprint[] = {0x80, 0x28, 0x00, 0x04, 1, 2, 3, 4};
    static const uint8_t response_port[] = {0x00, 0x27, 0x00, 0x00};
    assert_int_equal(decode_attrs(overlong, sizeof(overlong), &msg), -EBADMSG);
    assert_int_equal(decode_attrs(unpadded, sizeof(unpadded), &msg), -EBADMSG);
    assert_int_equal(decode_attrs(family, sizeof(family), &msg), -EBADMSG);
    assert_int_equal(decode_attrs(short_v6, sizeof(short_v6), &msg), -EBADMSG);
    assert_int_equal(decode_attrs(no_address, sizeof(no_address), &msg), -EBADMSG);
    assert_int_equal(decode_attrs(short_error, sizeof(short_error), &msg), -EBADMSG);
    assert_int_equal(decode_attrs(error_199, sizeof(error_199), &msg), -EBADMSG);
    assert_int_equal(decode_attrs(error_4_100, sizeof(error_4_100), &msg), -EBADMSG);
    assert_int_equal(decode_attrs(change, sizeof(change), &msg), -EBADMSG);
    assert_int_equal(decode_attrs(integrity, sizeof(integrity), &msg), -EBADMSG);
    assert_int_equal(decode_attrs(fingerprint, sizeof(fingerprint), &msg), -EBADMSG);
    assert_int_equal(decode_attrs(response_port, sizeof(response_port), &msg), -EBADMSG);
}

static void bad_headers(void **state)
{
    (void)state;
    struct wire_stun msg;
    uint8_t buf[40] = {0};
    assert_int_equal(request_with(buf, NULL, 0), 20);
    assert_int_equal(decode_exact(buf, 20, &msg), 0);
    assert_int_equal(decode_exact(buf, 24, &msg), -EBADMSG); /* bytes after the message */
    buf[3] = 2;                                              /* not a multiple of four */
    assert_int_equal(wire_stun_frame_len(buf, 22), -EBADMSG);
    buf[2] = 0x07; /* 2,032 and the header: over the limit */
    buf[3] = 0xF0;
    assert_int_equal(wire_stun_frame_len(buf, 20), -EBADMSG);
    buf[2] = buf[3] = 0;
    buf[4] ^= 1; /* the cookie */
    assert_int_equal(wire_stun_frame_len(buf, 20), -EBADMSG);
    buf[4] ^= 1;
    buf[0] = 0x40; /* no STUN, as the first byte says */
    assert_int_equal(wire_stun_frame_len(buf, 1), -EBADMSG);
}

static void fingerprint_is_last(void **state)
{
    (void)state;
    struct wire_stun msg;
    uint8_t buf[64];
    struct wire_stun_writer w;
    wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_REQUEST, WIRE_STUN_BINDING, txid);
    int len = wire_stun_end(&w, true);
    assert_int_equal(len, 28);
    assert_int_equal(decode_exact(buf, 28, &msg), 0);
    assert_true(msg.has_fingerprint);
    wire_stun_put(&w, WIRE_STUN_SOFTWARE, "late", 4);
    assert_int_equal(wire_stun_end(&w, false), 36);
    assert_int_equal(decode_exact(buf, 36, &msg), -EBADMSG);
}

/* What follows MESSAGE-INTEGRITY is not covered by it: it does not count. */
static void after_integrity_nothing_counts(void **state)
{
    (void)state;
    uint8_t buf[128];
    struct wire_stun msg;
    struct wire_stun_writer w;
    union base_ep mapped = ep("192.0.2.9:9");
    wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_REQUEST, WIRE_STUN_BINDING, txid);
    wire_stun_put_integrity(&w, (const uint8_t *)"key", 3);
    wire_stun_put_address(&w, WIRE_STUN_MAPPED_ADDRESS, &mapped);
    wire_stun_put_u32(&w, WIRE_STUN_CHANGE_REQUEST, WIRE_STUN_CHANGE_IP);
    wire_stun_put(&w, 0x7777, NULL, 0);
    int len = wire_stun_end(&w, true);
    assert_true(len > 0);
    assert_int_equal(wire_stun_decode(buf, (size_t)len, &msg), 0);
    assert_false(base_ep_is_set(&msg.mapped));
    assert_false(msg.has_change_request);
    assert_int_equal(msg.n_unknown, 0);
    assert_true(wire_stun_check_integrity(buf, (size_t)len, &msg, (const uint8_t *)"key", 3));
}

static void unknown_attributes(void **state)
{
    (void)state;
    uint8_t buf[WIRE_STUN_MAX_LEN];
    struct wire_stun msg;
    struct wire_stun_writer w;
    wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_REQUEST, WIRE_STUN_BINDING, txid);
    wire_stun_put(&w, 0x8055, "x", 1); /* optional to understand */
    wire_stun_put(&w, 0x0055, "x", 1);
    wire_stun_put(&w, 0x0055, "x", 1); /* named once */
    for (uint16_t i = 0; i < 40; i++)
        wire_stun_put(&w, 0x0100 + i, NULL, 0);
    int len = wire_stun_end(&w, false);
    assert_true(len > 0);
    assert_int_equal(wire_stun_decode(buf, (size_t)len, &msg), 0);
    assert_int_equal(msg.n_unknown, WIRE_STUN_MAX_UNKNOWN);
    assert_int_equal(msg.unknown[0], 0x0055);
    assert_int_equal(msg.unknown[1], 0x0100);

    wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_ERROR, WIRE_STUN_BINDING, txid);
    wire_stun_put_error(&w, 420, "Unknown Attribute");
    wire_stun_put_unknown(&w, msg.unknown, 3);
    len = wire_stun_end(&w, false);
    static const uint8_t list[] = {0x00, 0x0A, 0x00, 0x06, 0x00, 0x55, 0x01, 0x00, 0x01, 0x01, 0x00, 0x00};
    assert_int_equal(wire_stun_decode(buf, (size_t)len, &msg), 0);
    assert_int_equal(msg.error_code, 420);
    assert_int_equal(msg.reason_len, 17);
    assert_memory_equal(msg.reason, "Unknown Attribute", 17);
    assert_memory_equal(buf + len - (int)sizeof(list), list, sizeof(list));
}

static void overflow_sticks(void **state)
{
    (void)state;
    uint8_t buf[32];
    struct wire_stun_writer w;
    wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_REQUEST, WIRE_STUN_BINDING, txid);
    wire_stun_put(&w, WIRE_STUN_SOFTWARE, "nine byte", 9);
    wire_stun_put(&w, WIRE_STUN_SOFTWARE, "", 0);
    assert_int_equal(wire_stun_end(&w, false), -ENOSPC);
    wire_stun_begin(&w, buf, 19, WIRE_STUN_REQUEST, WIRE_STUN_BINDING, txid);
    assert_int_equal(wire_stun_end(&w, false), -ENOSPC);
    /* The fingerprint itself may be what does not fit. */
    wire_stun_begin(&w, buf, sizeof(buf), WIRE_STUN_REQUEST, WIRE_STUN_BINDING, txid);
    wire_stun_put(&w, WIRE_STUN_SOFTWARE, "12345678", 8);
    assert_int_equal(wire_stun_end(&w, true), -ENOSPC);
}

static union base_ep random_ep(struct base_rng *rng)
{
    uint8_t addr[16];
    for (size_t i = 0; i < sizeof(addr); i++)
        addr[i] = (uint8_t)base_rng_u64(rng);
    return base_ep_from_bytes(base_rng_below(rng, 2) ? AF_INET6 : AF_INET, addr, (uint16_t)base_rng_u64(rng));
}

/* Any message that can be written reads back the same. */
static void round_trip(void **state)
{
    (void)state;
    struct base_rng rng;
    base_rng_seed(&rng, 7);
    for (unsigned i = 0; i < 2000; i++) {
        uint8_t buf[WIRE_STUN_MAX_LEN], id[WIRE_STUN_TXID_LEN], padding[64] = {0};
        struct wire_stun_writer w;
        struct wire_stun msg;
        union base_ep mapped = random_ep(&rng), xored = random_ep(&rng), other = random_ep(&rng),
                      origin = random_ep(&rng);
        enum wire_stun_class cls = (enum wire_stun_class)base_rng_below(&rng, 4);
        uint16_t method = (uint16_t)base_rng_below(&rng, 0x1000), code = (uint16_t)(300 + base_rng_below(&rng, 400)),
                 port = (uint16_t)base_rng_u64(&rng);
        size_t pad = base_rng_below(&rng, sizeof(padding) + 1);
        bool fingerprint = base_rng_below(&rng, 2);
        for (size_t k = 0; k < sizeof(id); k++)
            id[k] = (uint8_t)base_rng_u64(&rng);
        wire_stun_begin(&w, buf, sizeof(buf), cls, method, id);
        wire_stun_put_address(&w, WIRE_STUN_MAPPED_ADDRESS, &mapped);
        wire_stun_put_address(&w, WIRE_STUN_XOR_MAPPED_ADDRESS, &xored);
        wire_stun_put_address(&w, WIRE_STUN_OTHER_ADDRESS, &other);
        wire_stun_put_address(&w, WIRE_STUN_RESPONSE_ORIGIN, &origin);
        wire_stun_put_error(&w, code, "why");
        wire_stun_put(&w, WIRE_STUN_PADDING, padding, pad);
        wire_stun_put_u32(&w, WIRE_STUN_RESPONSE_PORT, (uint32_t)port << 16);
        wire_stun_put_u32(&w, WIRE_STUN_CHANGE_REQUEST, WIRE_STUN_CHANGE_PORT);
        int len = wire_stun_end(&w, fingerprint);
        assert_true(len > 0);
        assert_int_equal(wire_stun_frame_len(buf, (size_t)len), len);
        assert_int_equal(decode_exact(buf, (size_t)len, &msg), 0);
        assert_int_equal(msg.cls, cls);
        assert_int_equal(msg.method, method);
        assert_memory_equal(msg.txid, id, sizeof(id));
        assert_true(base_ep_equal(&msg.mapped, &mapped) && base_ep_equal(&msg.xor_mapped, &xored));
        assert_true(base_ep_equal(&msg.other, &other) && base_ep_equal(&msg.origin, &origin));
        assert_int_equal(msg.error_code, code);
        assert_int_equal(msg.padding_len, pad);
        assert_true(msg.has_response_port && msg.response_port == port);
        assert_true(msg.has_change_request && msg.change_request == WIRE_STUN_CHANGE_PORT);
        assert_int_equal(msg.has_fingerprint, fingerprint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_request),
        cmocka_unit_test(vector_responses),
        cmocka_unit_test(vector_long_term),
        cmocka_unit_test(encodes_the_vector),
        cmocka_unit_test(truncations),
        cmocka_unit_test(bit_flips),
        cmocka_unit_test(random_bytes_are_harmless),
        cmocka_unit_test(bad_attributes),
        cmocka_unit_test(bad_headers),
        cmocka_unit_test(fingerprint_is_last),
        cmocka_unit_test(after_integrity_nothing_counts),
        cmocka_unit_test(unknown_attributes),
        cmocka_unit_test(overflow_sticks),
        cmocka_unit_test(round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
