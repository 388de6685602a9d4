/*
 * Pins: a frame that does not come back as it was written; inner addresses that a NAT could see on the wire; fields
 * that reach past their frame; text with NULs or control bytes; lengths that let one peer make the other hold more
 * than WIRE_FRAME_MAX.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "bench/wire/wire.h"

static int open_exact(const uint8_t *buf, size_t len, enum wire_frame_type *type, unsigned *fields)
{
    uint8_t *copy = malloc(len ? len : 1);
    struct wire_reader r;
    const uint8_t *value;
    size_t value_len;
    uint16_t field;
    assert_non_null(copy);
    memcpy(copy, buf, len);
    int err = wire_frame_open(copy, len, type, &r);
    for (*fields = 0; err == 0 && wire_next(&r, &field, &value, &value_len); (*fields)++)
        assert_true(value >= copy && value_len <= len && value + value_len <= copy + len);
    free(copy);
    return err;
}

static size_t sample_frame(uint8_t *buf, size_t cap)
{
    struct wire_writer w;
    union base_ep v4, v6;
    assert_int_equal(base_ep_parse("192.0.2.77:4242", &v4), 0);
    assert_int_equal(base_ep_parse("[2001:db8::77]:4242", &v6), 0);
    wire_frame_begin(&w, buf, cap, WIRE_JOINED);
    wire_put_u64(&w, WIRE_F_ROLE, WIRE_ROLE_B);
    wire_put_ep(&w, WIRE_F_STUN, &v4);
    wire_put_ep(&w, WIRE_F_STUN, &v6);
    wire_put_text(&w, WIRE_F_TEXT, "two\nlines");
    wire_put_bytes(&w, WIRE_F_BODY, NULL, 0);
    int len = wire_frame_end(&w, 0xA1B2C3D4);
    assert_true(len > 0);
    return (size_t)len;
}

static void written_and_read(void **state)
{
    (void)state;
    uint8_t buf[256];
    size_t len = sample_frame(buf, sizeof(buf)), n, value_len, found = 0;
    enum wire_frame_type type;
    struct wire_reader r;
    uint64_t role;
    char text[16];
    const uint8_t *value;
    uint16_t field;
    union base_ep ep;
    for (n = 0; n < len; n++)
        assert_int_equal(wire_frame_len(buf, n), n < WIRE_FRAME_HEADER ? -EAGAIN : (int)len);
    assert_int_equal(wire_frame_open(buf, len, &type, &r), 0);
    assert_int_equal(type, WIRE_JOINED);
    assert_int_equal(wire_get_u64(&r, WIRE_F_ROLE, &role), 0);
    assert_int_equal(role, WIRE_ROLE_B);
    assert_int_equal(wire_get_text(&r, WIRE_F_TEXT, text, sizeof(text)), 0);
    assert_string_equal(text, "two\nlines");
    assert_int_equal(wire_get_bytes(&r, WIRE_F_BODY, &value, &value_len), 0);
    assert_int_equal(value_len, 0);
    assert_int_equal(wire_get_u64(&r, WIRE_F_SEED, &role), -ENOENT);
    assert_int_equal(wire_get_u64(&r, WIRE_F_TEXT, &role), -EBADMSG);
    assert_int_equal(wire_get_ep(&r, WIRE_F_TEXT, &ep), -EBADMSG);
    while (wire_next(&r, &field, &value, &value_len)) {
        char shown[BASE_EP_STRLEN];
        if (field != WIRE_F_STUN)
            continue;
        assert_int_equal(wire_value_ep(value, value_len, &ep), 0);
        assert_string_equal(base_ep_format(&ep, shown), found++ ? "[2001:db8::77]:4242" : "192.0.2.77:4242");
    }
    assert_int_equal(found, 2);
    /* Opened again (a copy was kept), the frame is the same. */
    assert_int_equal(wire_frame_open(buf, len, &type, &r), 0);
    assert_int_equal(wire_get_text(&r, WIRE_F_TEXT, text, sizeof(text)), 0);
}

/* NATs that rewrite what looks like an address must not find one (RFC 8489, 14.2). */
static void addresses_are_masked(void **state)
{
    (void)state;
    uint8_t buf[256];
    size_t len = sample_frame(buf, sizeof(buf));
    static const uint8_t addr[] = {192, 0, 2, 77};
    assert_null(memmem(buf, len, addr, sizeof(addr)));
    assert_null(memmem(buf, len, "\x20\x01\x0d\xb8", 4));
    assert_null(memmem(buf, len, "lines", 5));
}

static void damage_is_harmless(void **state)
{
    (void)state;
    uint8_t buf[256], bad[256];
    size_t len = sample_frame(buf, sizeof(buf));
    enum wire_frame_type type;
    unsigned fields, refused = 0;
    for (size_t n = 0; n < len; n++)
        assert_int_equal(open_exact(buf, n, &type, &fields), -EBADMSG);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        memcpy(bad, buf, len);
        bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
        refused += open_exact(bad, len, &type, &fields) < 0;
    }
    assert_in_range(refused, 100, 8 * len);
}

static void headers(void **state)
{
    (void)state;
    uint8_t h[WIRE_FRAME_HEADER] = {WIRE_FRAME_MAGIC, WIRE_PING, 0, WIRE_FRAME_VERSION};
    enum wire_frame_type type;
    unsigned fields;
    assert_int_equal(wire_frame_len(h, sizeof(h)), WIRE_FRAME_HEADER);
    assert_int_equal(open_exact(h, sizeof(h), &type, &fields), 0);
    h[5] = 0x10; /* a megabyte */
    assert_int_equal(wire_frame_len(h, sizeof(h)), -EMSGSIZE);
    h[5] = 0x03; /* exactly the limit, then one more */
    h[6] = 0xFF;
    h[7] = 0xF4;
    assert_int_equal(wire_frame_len(h, sizeof(h)), WIRE_FRAME_MAX);
    h[7]++;
    assert_int_equal(wire_frame_len(h, sizeof(h)), -EMSGSIZE);
    h[3]++;
    assert_int_equal(wire_frame_len(h, sizeof(h)), -EPROTONOSUPPORT);
    h[0] = 'G';
    assert_int_equal(wire_frame_len(h, 1), -EBADMSG);
    uint8_t unknown[WIRE_FRAME_HEADER] = {WIRE_FRAME_MAGIC, 200, 0, WIRE_FRAME_VERSION};
    assert_int_equal(open_exact(unknown, sizeof(unknown), &type, &fields), -EBADMSG);
}

static void bad_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        int expect;
    } cases[] = {
        {"fine", 4, 0},        {"", 0, 0},
        {"a\0b", 3, -EBADMSG}, {"a\x1b[2J", 5, -EBADMSG},
        {"a\tb\n", 4, 0},      {"del\x7f", 4, -EBADMSG},
        {"1234567", 7, 0},     {"12345678", 8, -EBADMSG},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        uint8_t buf[64];
        char out[8] = "";
        struct wire_writer w;
        struct wire_reader r;
        wire_fields_begin(&w, buf, sizeof(buf));
        wire_put_bytes(&w, WIRE_F_TEXT, cases[i].text, cases[i].len);
        int len = wire_fields_end(&w);
        assert_int_equal(len, 6 + cases[i].len);
        assert_int_equal(wire_fields_open(buf, (size_t)len, &r), 0);
        assert_int_equal(wire_get_text(&r, WIRE_F_TEXT, out, sizeof(out)), cases[i].expect);
        if (!cases[i].expect)
            assert_string_equal(out, cases[i].text);
    }
}

static void overflow_sticks(void **state)
{
    (void)state;
    uint8_t buf[32];
    struct wire_writer w;
    wire_frame_begin(&w, buf, sizeof(buf), WIRE_PING);
    wire_put_u64(&w, WIRE_F_STAMP, 1);
    wire_put_u64(&w, WIRE_F_STAMP, 2);
    wire_put_bytes(&w, WIRE_F_BODY, NULL, 0);
    assert_int_equal(wire_frame_end(&w, 1), -ENOSPC);
    wire_frame_begin(&w, buf, WIRE_FRAME_HEADER - 1, WIRE_PING);
    assert_int_equal(wire_frame_end(&w, 1), -ENOSPC);
    wire_fields_begin(&w, buf, 6);
    wire_put_bytes(&w, WIRE_F_BODY, "x", 1);
    assert_int_equal(wire_fields_end(&w), -ENOSPC);
}

/* The largest frame can be written, is announced in full, and reads back. */
static void largest(void **state)
{
    (void)state;
    uint8_t *buf = calloc(1, WIRE_FRAME_MAX + 64);
    assert_non_null(buf);
    struct wire_writer w;
    struct wire_reader r;
    enum wire_frame_type type;
    const uint8_t *value;
    size_t room = WIRE_FRAME_MAX - WIRE_FRAME_HEADER - 6, len;
    uint8_t *body = malloc(room + 1);
    assert_non_null(body);
    for (size_t i = 0; i <= room; i++)
        body[i] = (uint8_t)(i * 31);
    wire_frame_begin(&w, buf, WIRE_FRAME_MAX + 64, WIRE_FACTS);
    wire_put_bytes(&w, WIRE_F_BODY, body, room + 1);
    assert_int_equal(wire_frame_end(&w, 0), -ENOSPC);
    wire_frame_begin(&w, buf, WIRE_FRAME_MAX + 64, WIRE_FACTS);
    wire_put_bytes(&w, WIRE_F_BODY, body, room);
    assert_int_equal(wire_frame_end(&w, 0x01020304), WIRE_FRAME_MAX);
    assert_int_equal(wire_frame_open(buf, WIRE_FRAME_MAX, &type, &r), 0);
    assert_int_equal(wire_get_bytes(&r, WIRE_F_BODY, &value, &len), 0);
    assert_int_equal(len, room);
    assert_memory_equal(value, body, room);
    free(body);
    free(buf);
}

static void exact_values(void **state)
{
    (void)state;
    uint8_t buf[64], nonce[WIRE_NONCE_LEN] = "0123456789abcde", out[WIRE_NONCE_LEN];
    struct wire_writer w;
    struct wire_reader r;
    union base_ep none = {0}, ep;
    wire_fields_begin(&w, buf, sizeof(buf));
    wire_put_bytes(&w, WIRE_F_NONCE, nonce, sizeof(nonce));
    wire_put_ep(&w, WIRE_F_SEEN, &none); /* left out */
    int len = wire_fields_end(&w);
    assert_int_equal(len, 6 + WIRE_NONCE_LEN);
    assert_int_equal(wire_fields_open(buf, (size_t)len, &r), 0);
    assert_int_equal(wire_get_exact(&r, WIRE_F_NONCE, out, sizeof(out)), 0);
    assert_memory_equal(out, nonce, sizeof(out));
    assert_int_equal(wire_get_exact(&r, WIRE_F_NONCE, out, sizeof(out) - 1), -EBADMSG);
    assert_int_equal(wire_get_exact(&r, WIRE_F_PROOF, out, sizeof(out)), -ENOENT);
    assert_int_equal(wire_get_ep(&r, WIRE_F_SEEN, &ep), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_and_read),
        cmocka_unit_test(addresses_are_masked),
        cmocka_unit_test(damage_is_harmless),
        cmocka_unit_test(headers),
        cmocka_unit_test(bad_text),
        cmocka_unit_test(overflow_sticks),
        cmocka_unit_test(largest),
        cmocka_unit_test(exact_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
