/*
 * Pins: a path message that proves itself under another key, role, nonce or trial; one that is taken when a bit of it
 * changed; join proofs that can be sent back to whoever made them; a MAC that depends on what was made before it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "bench/wire/wire.h"

static const struct wire_path_keys keys = {
    .key = "a key of thirty-two bytes, ascii",
    .nonce_a = "nonce of peer a",
    .nonce_b = "nonce of peer b",
    .trial = 7,
};
static const struct wire_path_msg sample = {
    .flags = WIRE_PATH_PROOF | WIRE_PATH_ACK,
    .trial = 7,
    .path_id = 0x0102030405060708,
    .peer_path_id = 0x1112131415161718,
};

static int decode_exact(const struct wire_path_keys *k, enum wire_role role, const uint8_t *buf, size_t len,
                        struct wire_path_msg *out)
{
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, buf, len);
    int err = wire_path_decode(k, role, copy, len, out);
    free(copy);
    return err;
}

static void round_trip(void **state)
{
    (void)state;
    struct base_rng rng;
    base_rng_seed(&rng, 3);
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t buf[WIRE_PATH_LEN];
        enum wire_role role = base_rng_below(&rng, 2) ? WIRE_ROLE_A : WIRE_ROLE_B;
        struct wire_path_msg in = {.flags = (uint8_t)(base_rng_u64(&rng) | WIRE_PATH_DATA),
                                   .data_len = (uint16_t)base_rng_below(&rng, WIRE_PATH_MAX_DATA + 1),
                                   .trial = keys.trial,
                                   .path_id = base_rng_u64(&rng),
                                   .peer_path_id = base_rng_u64(&rng)};
        struct wire_path_msg out;
        wire_path_encode(&keys, role, &in, buf);
        assert_int_equal(decode_exact(&keys, role, buf, sizeof(buf), &out), 0);
        assert_int_equal(out.flags, in.flags);
        assert_int_equal(out.data_len, in.data_len);
        assert_int_equal(out.trial, in.trial);
        assert_int_equal(out.path_id, in.path_id);
        assert_int_equal(out.peer_path_id, in.peer_path_id);
    }
}

static void every_bit_counts(void **state)
{
    (void)state;
    uint8_t buf[WIRE_PATH_LEN];
    struct wire_path_msg out;
    for (size_t bit = 0; bit < 8 * sizeof(buf); bit++) {
        wire_path_encode(&keys, WIRE_ROLE_A, &sample, buf);
        buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(decode_exact(&keys, WIRE_ROLE_A, buf, sizeof(buf), &out), 0);
    }
}

static void truncations(void **state)
{
    (void)state;
    uint8_t buf[WIRE_PATH_LEN];
    struct wire_path_msg out;
    wire_path_encode(&keys, WIRE_ROLE_A, &sample, buf);
    for (size_t n = 0; n < sizeof(buf); n++)
        assert_int_equal(decode_exact(&keys, WIRE_ROLE_A, buf, n, &out), -EAGAIN);
    assert_int_equal(decode_exact(&keys, WIRE_ROLE_A, (const uint8_t *)"\x16", 1, &out), -EBADMSG);
}

/* A proof holds for one key, one role, one pair of nonces in their order, one trial. */
static void strangers_are_refused(void **state)
{
    (void)state;
    uint8_t buf[WIRE_PATH_LEN];
    struct wire_path_msg out;
    struct wire_path_keys other;
    wire_path_encode(&keys, WIRE_ROLE_A, &sample, buf);
    assert_int_equal(wire_path_decode(&keys, WIRE_ROLE_B, buf, sizeof(buf), &out), -EACCES);
    other = keys;
    other.key[31] ^= 1;
    assert_int_equal(wire_path_decode(&other, WIRE_ROLE_A, buf, sizeof(buf), &out), -EACCES);
    other = keys;
    memcpy(other.nonce_a, keys.nonce_b, WIRE_NONCE_LEN);
    memcpy(other.nonce_b, keys.nonce_a, WIRE_NONCE_LEN);
    assert_int_equal(wire_path_decode(&other, WIRE_ROLE_A, buf, sizeof(buf), &out), -EACCES);
    other = keys;
    other.trial++;
    assert_int_equal(wire_path_decode(&other, WIRE_ROLE_A, buf, sizeof(buf), &out), -EACCES);
    assert_int_equal(wire_path_decode(&keys, WIRE_ROLE_A, buf, sizeof(buf), &out), 0);
}

/* Lengths that cannot be are refused even under the right key. */
static void bad_data_length(void **state)
{
    (void)state;
    uint8_t buf[WIRE_PATH_LEN];
    struct wire_path_msg msg = sample, out;
    msg.data_len = 1;
    wire_path_encode(&keys, WIRE_ROLE_A, &msg, buf);
    assert_int_equal(wire_path_decode(&keys, WIRE_ROLE_A, buf, sizeof(buf), &out), -EBADMSG);
    msg.flags |= WIRE_PATH_DATA;
    msg.data_len = WIRE_PATH_MAX_DATA + 1;
    wire_path_encode(&keys, WIRE_ROLE_A, &msg, buf);
    assert_int_equal(wire_path_decode(&keys, WIRE_ROLE_A, buf, sizeof(buf), &out), -EBADMSG);
}

/* The MAC that is made with a cached key is HMAC-SHA256 over what wire.h says, whatever was made before. */
static void mac_is_hmac_sha256(void **state)
{
    (void)state;
    static const char label[] = "punchbench path";
    struct wire_path_keys mine = keys;
    for (uint8_t i = 0; i < 6; i++) {
        uint8_t buf[WIRE_PATH_LEN], text[128], expect[EVP_MAX_MD_SIZE], key[WIRE_KEY_LEN], *p = text;
        mine.key[0] = i / 2; /* each key twice: set, then cached */
        if (i % 3 == 0)
            wire_session_key(text, 0, "between", key);
        wire_path_encode(&mine, WIRE_ROLE_B, &sample, buf);
        p = (uint8_t *)memcpy(p, label, sizeof(label)) + sizeof(label);
        *p++ = WIRE_ROLE_B;
        p = (uint8_t *)memcpy(p, mine.nonce_a, WIRE_NONCE_LEN) + WIRE_NONCE_LEN;
        p = (uint8_t *)memcpy(p, mine.nonce_b, WIRE_NONCE_LEN) + WIRE_NONCE_LEN;
        p = (uint8_t *)memcpy(p, buf, WIRE_PATH_LEN - WIRE_MAC_LEN) + WIRE_PATH_LEN - WIRE_MAC_LEN;
        assert_non_null(HMAC(EVP_sha256(), mine.key, WIRE_KEY_LEN, text, (size_t)(p - text), expect, NULL));
        assert_memory_equal(buf + WIRE_PATH_LEN - WIRE_MAC_LEN, expect, WIRE_MAC_LEN);
    }
}

static void session_keys(void **state)
{
    (void)state;
    uint8_t a[WIRE_KEY_LEN], b[WIRE_KEY_LEN], expect[EVP_MAX_MD_SIZE];
    wire_session_key((const uint8_t *)"secret", 6, "one", a);
    wire_session_key((const uint8_t *)"secret", 6, "one", b);
    assert_memory_equal(a, b, sizeof(a));
    wire_session_key((const uint8_t *)"secret", 6, "two", b);
    assert_memory_not_equal(a, b, sizeof(a));
    wire_session_key((const uint8_t *)"Secret", 6, "one", b);
    assert_memory_not_equal(a, b, sizeof(a));
    /* The empty key is a key, not the last one that was used. */
    wire_session_key(NULL, 0, "one", b);
    assert_non_null(HMAC(EVP_sha256(), "", 0, (const uint8_t *)"punchbench session\0one", 22, expect, NULL));
    assert_memory_equal(b, expect, sizeof(b));
    /* A key file longer than the cache, twice. */
    uint8_t file[200] = {1};
    wire_session_key(file, sizeof(file), "one", a);
    file[150] = 1;
    wire_session_key(file, sizeof(file), "one", b);
    assert_memory_not_equal(a, b, sizeof(a));
}

static void join_proofs(void **state)
{
    (void)state;
    const uint8_t peer[WIRE_NONCE_LEN] = "peer's nonce", server[WIRE_NONCE_LEN] = "server's nonce";
    uint8_t from_peer[WIRE_MAC_LEN], from_server[WIRE_MAC_LEN], other[WIRE_MAC_LEN];
    wire_join_proof(keys.key, WIRE_JOIN_PEER, peer, server, from_peer);
    wire_join_proof(keys.key, WIRE_JOIN_SERVER, peer, server, from_server);
    assert_false(wire_proof_equal(from_peer, from_server));
    wire_join_proof(keys.key, WIRE_JOIN_PEER, server, peer, other);
    assert_false(wire_proof_equal(from_peer, other));
    wire_join_proof(keys.key, WIRE_JOIN_PEER, peer, server, other);
    assert_true(wire_proof_equal(from_peer, other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),      cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(truncations),     cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(bad_data_length), cmocka_unit_test(mac_is_hmac_sha256),
        cmocka_unit_test(session_keys),    cmocka_unit_test(join_proofs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
