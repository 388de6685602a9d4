/* Facts and plans: from structs to the fields that S forwards unread, and back from a stranger's bytes. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer/internal.h"

/* Inside WIRE_F_BODY. Numbers are never re-used: either side may be newer. */
enum body_field {
    F_NONCE = WIRE_F_BODY_FIRST,
    F_PRIVATE,
    F_SAMPLE_TIME, /* begins a sample; the three endpoints follow */
    F_SAMPLE_LOCAL,
    F_SAMPLE_REMOTE,
    F_SAMPLE_MAPPED,
    F_OPEN_FILES,
    F_MODE,
    F_NONCE_A,
    F_NONCE_B,
    F_DEADLINE,
    F_RTT,
    F_PREDICTED, /* probability in units of 1e-9; absent = none */
    F_INFEASIBLE,
    F_CANDIDATE_A, /* side (in the field), kind, probability in 1e-9 + 1 (0 = none); the endpoint follows */
    F_CANDIDATE_B,
    F_CANDIDATE_EP,
    F_SEARCH, /* the fixed part of a search, search_put() */
    F_RANDOM_AT,
};

#define PROBABILITY_UNIT 1e9

/* ---- facts ----------------------------------------------------------------------------------- */

int peer_facts_encode(const struct peer_facts *f, uint8_t *buf, size_t cap)
{
    struct wire_writer w;
    wire_fields_begin(&w, buf, cap);
    wire_put_bytes(&w, F_NONCE, f->nonce, sizeof(f->nonce));
    wire_put_u64(&w, F_OPEN_FILES, f->open_files);
    for (size_t i = 0; i < f->n_private; i++)
        wire_put_ep(&w, F_PRIVATE, &f->private_eps[i]);
    for (size_t i = 0; i < f->n_samples; i++) {
        wire_put_u64(&w, F_SAMPLE_TIME, f->samples[i].t_ns);
        wire_put_ep(&w, F_SAMPLE_LOCAL, &f->samples[i].local);
        wire_put_ep(&w, F_SAMPLE_REMOTE, &f->samples[i].remote);
        wire_put_ep(&w, F_SAMPLE_MAPPED, &f->samples[i].mapped);
    }
    return wire_fields_end(&w);
}

static int add_sample(struct peer_facts *f, uint64_t t_ns)
{
    if (f->n_samples == PEER_MAX_SAMPLES)
        return -EBADMSG;
    /* Powers of two: grow when the count is one. */
    if ((f->n_samples & (f->n_samples - 1)) == 0) {
        size_t cap = f->n_samples ? f->n_samples * 2 : 1;
        struct peer_sample *grown = realloc(f->samples, cap * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        f->samples = grown;
    }
    f->samples[f->n_samples] = (struct peer_sample){.t_ns = t_ns};
    f->n_samples++;
    return 0;
}

static int facts_field(struct peer_facts *f, uint16_t field, const uint8_t *value, size_t len)
{
    struct peer_sample *last = f->n_samples ? &f->samples[f->n_samples - 1] : NULL;
    uint64_t t_ns;
    switch (field) {
    case F_OPEN_FILES:
        return wire_value_u64(value, len, &f->open_files);
    case F_PRIVATE:
        if (f->n_private == PEER_MAX_PRIVATE)
            return 0;
        return wire_value_ep(value, len, &f->private_eps[f->n_private++]);
    case F_SAMPLE_TIME:
        return wire_value_u64(value, len, &t_ns) < 0 ? -EBADMSG : add_sample(f, t_ns);
    case F_SAMPLE_LOCAL:
        return last ? wire_value_ep(value, len, &last->local) : -EBADMSG;
    case F_SAMPLE_REMOTE:
        return last ? wire_value_ep(value, len, &last->remote) : -EBADMSG;
    case F_SAMPLE_MAPPED:
        return last ? wire_value_ep(value, len, &last->mapped) : -EBADMSG;
    default:
        return 0;
    }
}

int peer_facts_decode(const uint8_t *buf, size_t len, struct peer_facts *out)
{
    struct wire_reader r;
    uint16_t field;
    const uint8_t *value;
    size_t value_len;
    memset(out, 0, sizeof(*out));
    if (wire_fields_open(buf, len, &r) < 0 || wire_get_exact(&r, F_NONCE, out->nonce, sizeof(out->nonce)) < 0)
        return -EBADMSG;
    while (wire_next(&r, &field, &value, &value_len)) {
        int err = facts_field(out, field, value, value_len);
        if (err < 0) {
            peer_facts_free(out);
            return err;
        }
    }
    return 0;
}

void peer_facts_free(struct peer_facts *f)
{
    free(f->samples);
    memset(f, 0, sizeof(*f));
}

union base_ep peer_facts_mapped(const struct peer_facts *f)
{
    return f->n_samples ? f->samples[0].mapped : (union base_ep){0};
}

const char *peer_facts_mapping(const struct peer_facts *f)
{
    if (f->n_samples < 2)
        return "unknown";
    for (size_t i = 1; i < f->n_samples; i++)
        if (!base_ep_equal(&f->samples[0].mapped, &f->samples[i].mapped))
            return "varies";
    return "same";
}

/* ---- candidates and plan --------------------------------------------------------------------- */

int peer_candidates_add(struct peer_candidates *c, const union base_ep *ep, enum peer_path_kind kind, float p)
{
    for (size_t i = 0; i < c->n; i++)
        if (base_ep_equal(&c->list[i].ep, ep))
            return 0;
    if (c->n == PEER_MAX_CANDIDATES)
        return -ENOSPC;
    if ((c->n & (c->n - 1)) == 0) {
        size_t cap = c->n ? c->n * 2 : 1;
        struct peer_candidate *grown = realloc(c->list, cap * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        c->list = grown;
    }
    c->list[c->n++] = (struct peer_candidate){.ep = *ep, .kind = kind, .p = p};
    return 0;
}

/* What one side aims at: the other's registered endpoint, then its private ones. */
static int aim_at(const struct peer_facts *from, const struct peer_facts *to, struct peer_candidates *out)
{
    union base_ep own = peer_facts_mapped(from), target = peer_facts_mapped(to);
    if (!base_ep_is_set(&target))
        return -EINVAL;
    enum peer_path_kind kind = base_ep_same_addr(&own, &target) ? PEER_PATH_HAIRPIN : PEER_PATH_DIRECT;
    int err = peer_candidates_add(out, &target, kind, NAN);
    for (size_t i = 0; i < to->n_private && err == 0; i++)
        err = peer_candidates_add(out, &to->private_eps[i], PEER_PATH_PRIVATE, NAN);
    return err;
}

int peer_plan_registered(const struct peer_facts *a, const struct peer_facts *b, struct peer_plan *out)
{
    int err = aim_at(a, b, &out->for_a);
    return err < 0 ? err : aim_at(b, a, &out->for_b);
}

void peer_plan_free(struct peer_plan *p)
{
    free(p->for_a.list);
    free(p->for_b.list);
    memset(p, 0, sizeof(*p));
}

static void put_candidates(struct wire_writer *w, uint16_t field, const struct peer_candidates *c)
{
    for (size_t i = 0; i < c->n; i++) {
        uint64_t p = isnan(c->list[i].p) ? 0 : 1 + (uint64_t)llround((double)c->list[i].p * PROBABILITY_UNIT);
        wire_put_u64(w, field, (uint64_t)c->list[i].kind << 32 | p);
        wire_put_ep(w, F_CANDIDATE_EP, &c->list[i].ep);
    }
}

/*
 * A search, in one field: opener, order, known, meet (a byte each), ttl, random_lo, random_hi (2 bytes each), holes,
 * probes, attempts, rate, entries (4 each), seed (8); big-endian. Longer ones are of newer versions.
 */
#define SEARCH_LEN 38

static void put_be(uint8_t **p, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *(*p)++ = (uint8_t)(value >> 8 * i);
}

static uint64_t get_be(const uint8_t **p, int bytes)
{
    uint64_t value = 0;
    while (bytes-- > 0)
        value = value << 8 | *(*p)++;
    return value;
}

static void put_search(struct wire_writer *w, const struct peer_search *s)
{
    uint8_t buf[SEARCH_LEN], *p = buf;
    if (!s->on)
        return;
    put_be(&p, s->opener, 1);
    put_be(&p, s->order, 1);
    put_be(&p, s->known, 1);
    put_be(&p, s->meet, 1);
    put_be(&p, s->ttl, 2);
    put_be(&p, s->random_lo, 2);
    put_be(&p, s->random_hi, 2);
    put_be(&p, s->holes, 4);
    put_be(&p, s->probes, 4);
    put_be(&p, s->attempts, 4);
    put_be(&p, s->rate, 4);
    put_be(&p, s->entries, 4);
    put_be(&p, s->seed, 8);
    wire_put_bytes(w, F_SEARCH, buf, sizeof(buf));
    if (base_ep_is_set(&s->random_at))
        wire_put_ep(w, F_RANDOM_AT, &s->random_at);
}

/* Bounds that the rest relies on: roles, orders, a TTL, counts that fit a port range. */
static bool search_ok(const struct peer_search *s)
{
    return (s->opener == WIRE_ROLE_A || s->opener == WIRE_ROLE_B) && s->order < PEER_ORDERS && s->ttl <= PEER_TTL_AUTO &&
           s->holes <= UINT16_MAX && s->probes <= UINT16_MAX && s->attempts >= 1 && s->rate >= 1 && s->entries >= 1 &&
           s->random_lo <= s->random_hi;
}

static int get_search(const struct wire_reader *r, struct peer_search *s)
{
    const uint8_t *p, *at;
    size_t len;
    *s = (struct peer_search){.on = false};
    if (wire_get_bytes(r, F_SEARCH, &p, &len) < 0)
        return 0;
    if (len < SEARCH_LEN)
        return -EBADMSG;
    s->on = true;
    s->opener = (enum wire_role)get_be(&p, 1);
    s->order = (enum peer_order)get_be(&p, 1);
    s->known = get_be(&p, 1) != 0;
    s->meet = get_be(&p, 1) != 0;
    s->ttl = (uint16_t)get_be(&p, 2);
    s->random_lo = (uint16_t)get_be(&p, 2);
    s->random_hi = (uint16_t)get_be(&p, 2);
    s->holes = (uint32_t)get_be(&p, 4);
    s->probes = (uint32_t)get_be(&p, 4);
    s->attempts = (uint32_t)get_be(&p, 4);
    s->rate = (uint32_t)get_be(&p, 4);
    s->entries = (uint32_t)get_be(&p, 4);
    s->seed = get_be(&p, 8);
    if (wire_get_bytes(r, F_RANDOM_AT, &at, &len) == 0 && wire_value_ep(at, len, &s->random_at) < 0)
        return -EBADMSG;
    return search_ok(s) ? 0 : -EBADMSG;
}

int peer_plan_encode(const struct peer_plan *p, uint8_t *buf, size_t cap)
{
    struct wire_writer w;
    wire_fields_begin(&w, buf, cap);
    wire_put_text(&w, F_MODE, p->mode);
    wire_put_bytes(&w, F_NONCE_A, p->nonce_a, sizeof(p->nonce_a));
    wire_put_bytes(&w, F_NONCE_B, p->nonce_b, sizeof(p->nonce_b));
    wire_put_u64(&w, F_DEADLINE, p->deadline_ns);
    wire_put_u64(&w, F_RTT, p->rtt_ns);
    if (!isnan(p->predicted_p))
        wire_put_u64(&w, F_PREDICTED, (uint64_t)llround(p->predicted_p * PROBABILITY_UNIT));
    wire_put_u64(&w, F_INFEASIBLE, p->infeasible);
    put_search(&w, &p->search);
    put_candidates(&w, F_CANDIDATE_A, &p->for_a);
    put_candidates(&w, F_CANDIDATE_B, &p->for_b);
    return wire_fields_end(&w);
}

static int plan_candidates(const struct wire_reader *from, struct peer_plan *out)
{
    struct wire_reader r = *from;
    struct peer_candidates *to = NULL;
    uint64_t head = 0;
    uint16_t field;
    const uint8_t *value;
    size_t len;
    while (wire_next(&r, &field, &value, &len)) {
        union base_ep ep;
        if (field == F_CANDIDATE_A || field == F_CANDIDATE_B) {
            to = field == F_CANDIDATE_A ? &out->for_a : &out->for_b;
            if (wire_value_u64(value, len, &head) < 0 || head >> 32 >= PEER_PATH_KINDS)
                return -EBADMSG;
        } else if (field == F_CANDIDATE_EP) {
            if (!to || wire_value_ep(value, len, &ep) < 0)
                return -EBADMSG;
            uint64_t p = head & UINT32_MAX;
            float probability = p ? (float)((double)(p - 1) / PROBABILITY_UNIT) : NAN;
            if (peer_candidates_add(to, &ep, (enum peer_path_kind)(head >> 32), probability) < 0)
                return -EBADMSG;
            to = NULL;
        }
    }
    return 0;
}

int peer_plan_decode(const uint8_t *buf, size_t len, struct peer_plan *out)
{
    struct wire_reader r;
    uint64_t predicted, infeasible = 0;
    memset(out, 0, sizeof(*out));
    out->predicted_p = NAN;
    if (wire_fields_open(buf, len, &r) < 0 || wire_get_text(&r, F_MODE, out->mode, sizeof(out->mode)) < 0 ||
        wire_get_exact(&r, F_NONCE_A, out->nonce_a, sizeof(out->nonce_a)) < 0 ||
        wire_get_exact(&r, F_NONCE_B, out->nonce_b, sizeof(out->nonce_b)) < 0 ||
        wire_get_u64(&r, F_DEADLINE, &out->deadline_ns) < 0 || wire_get_u64(&r, F_RTT, &out->rtt_ns) < 0)
        return -EBADMSG;
    if (wire_get_u64(&r, F_PREDICTED, &predicted) == 0)
        out->predicted_p = fmin(1, (double)predicted / PROBABILITY_UNIT);
    wire_get_u64(&r, F_INFEASIBLE, &infeasible);
    out->infeasible = infeasible != 0;
    int err = get_search(&r, &out->search);
    if (err == 0)
        err = plan_candidates(&r, out);
    if (err < 0)
        peer_plan_free(out);
    return err;
}
