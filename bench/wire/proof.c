/* Keys and proofs. One keyed context a thread: path MACs are made for every probe of a spray, and fetching the
 * algorithm from the provider costs more than the MAC itself. */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <stdlib.h>

#include "bench/wire/internal.h"

/* The keys of sessions and trials, which repeat; longer ones (key files) are set anew each time. */
#define CACHED_KEY_MAX 64

static _Thread_local struct {
    EVP_MAC_CTX *ctx;
    uint8_t key[CACHED_KEY_MAX];
    size_t key_len;
    bool keyed;
} hmac;

static EVP_MAC_CTX *new_context(void)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac); /* the context holds its own reference */
    if (ctx && !EVP_MAC_CTX_set_params(ctx, params)) {
        EVP_MAC_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

/* Makes hmac.ctx ready for one message under `key`. */
static bool set_key(const uint8_t *key, size_t key_len)
{
    static const uint8_t empty[1];
    if (!hmac.ctx && !(hmac.ctx = new_context()))
        return false;
    if (hmac.keyed && hmac.key_len == key_len && memcmp(hmac.key, key_len ? key : empty, key_len) == 0)
        return EVP_MAC_init(hmac.ctx, NULL, 0, NULL);
    hmac.keyed = key_len <= sizeof(hmac.key);
    if (hmac.keyed) {
        wire_copy(hmac.key, key, key_len);
        hmac.key_len = key_len;
    }
    /* A NULL key would mean "the last one". */
    return EVP_MAC_init(hmac.ctx, key_len ? key : empty, key_len, NULL);
}

void wire_hmac_sha256(const uint8_t *key, size_t key_len, const uint8_t *data, size_t len, uint8_t out[WIRE_SHA256_LEN])
{
    size_t out_len;
    /* Only out of memory or without a crypto provider; a MAC that was not made must never be sent or accepted. */
    if (!set_key(key, key_len) || !EVP_MAC_update(hmac.ctx, data, len) ||
        !EVP_MAC_final(hmac.ctx, out, &out_len, WIRE_SHA256_LEN) || out_len != WIRE_SHA256_LEN)
        abort();
}

void wire_hmac_sha1(const uint8_t *key, size_t key_len, const uint8_t *data, size_t len, uint8_t out[WIRE_SHA1_LEN])
{
    unsigned out_len = 0;
    if (!HMAC(EVP_sha1(), key_len ? (const void *)key : "", (int)key_len, data, len, out, &out_len) ||
        out_len != WIRE_SHA1_LEN)
        abort();
}

bool wire_mac_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void wire_session_key(const uint8_t *file_key, size_t len, const char *session, uint8_t out[WIRE_KEY_LEN])
{
    static const char label[] = "punchbench session";
    uint8_t text[sizeof(label) + WIRE_SESSION_MAX];
    size_t session_len = strnlen(session, WIRE_SESSION_MAX);
    /* The label's NUL separates the two. */
    memcpy(text, label, sizeof(label));
    memcpy(text + sizeof(label), session, session_len);
    wire_hmac_sha256(file_key, len, text, sizeof(label) + session_len, out);
}

void wire_join_proof(const uint8_t key[WIRE_KEY_LEN], enum wire_join_side side,
                     const uint8_t peer_nonce[WIRE_NONCE_LEN], const uint8_t server_nonce[WIRE_NONCE_LEN],
                     uint8_t out[WIRE_MAC_LEN])
{
    static const char label[] = "punchbench join";
    uint8_t text[sizeof(label) + 1 + 2 * WIRE_NONCE_LEN];
    uint8_t mac[WIRE_SHA256_LEN];
    uint8_t *p = text + sizeof(label);
    memcpy(text, label, sizeof(label));
    *p++ = (uint8_t)side;
    memcpy(p, peer_nonce, WIRE_NONCE_LEN);
    memcpy(p + WIRE_NONCE_LEN, server_nonce, WIRE_NONCE_LEN);
    wire_hmac_sha256(key, WIRE_KEY_LEN, text, sizeof(text), mac);
    memcpy(out, mac, WIRE_MAC_LEN);
}

void wire_rejoin_proof(const uint8_t key[WIRE_KEY_LEN], const uint8_t token[WIRE_TOKEN_LEN],
                       const uint8_t peer_nonce[WIRE_NONCE_LEN], const uint8_t server_nonce[WIRE_NONCE_LEN],
                       uint8_t out[WIRE_MAC_LEN])
{
    static const char label[] = "punchbench rejoin";
    uint8_t text[sizeof(label) + WIRE_TOKEN_LEN + 2 * WIRE_NONCE_LEN];
    uint8_t mac[WIRE_SHA256_LEN];
    uint8_t *p = text + sizeof(label);
    memcpy(text, label, sizeof(label));
    memcpy(p, token, WIRE_TOKEN_LEN);
    memcpy(p + WIRE_TOKEN_LEN, peer_nonce, WIRE_NONCE_LEN);
    memcpy(p + WIRE_TOKEN_LEN + WIRE_NONCE_LEN, server_nonce, WIRE_NONCE_LEN);
    wire_hmac_sha256(key, WIRE_KEY_LEN, text, sizeof(text), mac);
    memcpy(out, mac, WIRE_MAC_LEN);
}

bool wire_proof_equal(const uint8_t a[WIRE_MAC_LEN], const uint8_t b[WIRE_MAC_LEN])
{
    return wire_mac_equal(a, b, WIRE_MAC_LEN);
}
