/*
 * bench/discover: what the NAT before this host does, over one transport: RFC 4787's and RFC 5382's properties by RFC
 * 5780's tests, and what those leave out (allocation, windows, RSTs, last-destination-only filtering).
 *
 * Works with any STUN server for what plain STUN tells; a rendezvous server with two addresses tells everything. What
 * could not be learnt is "unknown", with the reason in a note.
 *
 * Asynchronous on the caller's loop: discover_start(), then exactly one call of `done`, from within the loop and with
 * nothing pending any more; then discover_free().
 */
#ifndef BENCH_DISCOVER_H
#define BENCH_DISCOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/base/base.h"
#include "bench/loop/loop.h"
#include "bench/wire/wire.h"
#include "predict/predict.h"

/* ---- STUN answers, as a stranger sent them: pure (answer.c) ------------------------------------ */

enum discover_verdict {
    DISCOVER_ANSWER,       /* good */
    DISCOVER_SILENCE,      /* none came */
    DISCOVER_NOT_STUN,     /* bytes that are no STUN message */
    DISCOVER_OTHER_TXID,   /* an answer to a question that we did not ask */
    DISCOVER_ERROR,        /* an error answer */
    DISCOVER_NO_MAPPED,    /* no mapped address */
    DISCOVER_OTHER_FAMILY, /* IPv6 asked, IPv4 answered, or the reverse */
    DISCOVER_PORT_ZERO,
    DISCOVER_NO_HOST,      /* 0.0.0.0, multicast, broadcast */
    DISCOVER_OTHER_ORIGIN, /* right, but from an endpoint that was not asked */
    DISCOVER_CHANGING,     /* asked twice at once, two answers */
    DISCOVER_N_VERDICTS,
};

struct discover_answer {
    union base_ep mapped;
    union base_ep other; /* the server's alternate address and port (RFC 5780); unset = none */
    uint16_t error;      /* of DISCOVER_ERROR */
};

/* Reads the answer to the request with that transaction id, sent over `family`. */
enum discover_verdict discover_read_answer(const uint8_t *buf, size_t len, const uint8_t txid[WIRE_STUN_TXID_LEN],
                                           sa_family_t family, struct discover_answer *out);
/* "a mapped address of another family", ... */
const char *discover_verdict_text(enum discover_verdict verdict);

/* ---- discovery ------------------------------------------------------------------------------- */

enum discover_transport { DISCOVER_UDP, DISCOVER_TCP };

/* One observed mapping. t_ns from discover_start(). */
struct discover_sample {
    uint64_t t_ns;
    union base_ep local, remote, mapped;
};

typedef void discover_sample_fn(const struct discover_sample *sample, void *owner);

struct discover_config {
    union base_ep server;
    enum discover_transport transport;
    const uint8_t *key; /* what the key file holds; NULL = none. Copied */
    size_t key_len;
    unsigned samples;          /* new mappings to learn the allocation from; 0 = 24 */
    uint16_t port_lo, port_hi; /* local ports; 0 = 20000-32767 */
    uint64_t seed;             /* drives the choice of ports */
    uint64_t lifetime_max_s;   /* over UDP: measure an idle mapping's lifetime up to this; 0 = do not */
    /* After all else so many samples more, from a new local port each, so far apart. They are not classified. */
    uint64_t series, series_interval_ns;
    discover_sample_fn *on_sample; /* called for each sample as it comes; NULL = nobody */
};

#define DISCOVER_NOTE 160

struct discover_result {
    /* 0; -ETIMEDOUT, -ECONNREFUSED, ...: no answer from the server; -EPROTO: it answers, but nothing that can be used;
     * -ECANCELED: stopped. `problem` then says it in words, and the behaviour holds what was known by then. */
    int err;
    char problem[DISCOVER_NOTE];
    struct predict_behaviour behaviour;
    char notes[PREDICT_N_PROPERTIES][DISCOVER_NOTE]; /* "" = nothing to say */
    bool rendezvous, two_addresses;                  /* what the server is */
    bool sees_syns;                                  /* it may see where SYNs come from (raw sockets) */
    uint64_t rtt_ns, took_ns;
    union base_ep local, mapped; /* the first sample */
    struct discover_sample *samples;
    size_t n_samples;
    uint64_t bad[DISCOVER_N_VERDICTS];   /* answers of each bad kind */
    double lifetime_lo_s, lifetime_hi_s; /* an idle mapping was there after lo, gone after hi; 0 = not known */
};

struct discover;
typedef void discover_done_fn(struct discover *d, void *owner);

/* 0, or -errno (then `done` is not called). */
int discover_start(struct loop *loop, const struct discover_config *config, discover_done_fn *done, void *owner,
                   struct discover **out);
/* Ends it early: `done` comes soon, with -ECANCELED. */
void discover_stop(struct discover *d);
/* Good until discover_free(). */
const struct discover_result *discover_result(const struct discover *d);
/* After `done`. */
void discover_free(struct discover *d);

/* A sample as predict takes it. */
struct predict_sample discover_to_predict(const struct discover_sample *s);

#endif
