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
    F_CANDIDATE_A, /* no longer sent */
    F_CANDIDATE_B, /* no longer sent */
    F_CANDIDATE_EP,
    F_SEARCH, /* the fixed part of a search, search_put() */
    F_RANDOM_AT,
    F_RUN, /* candidates on one address, put_run(); the endpoint follows */
    F_TAKEN,
    F_PORTS,     /* low << 16 | high */
    F_BEHAVIOUR, /* put_behaviour() */
    F_POOL,
    F_STRATEGY,
    F_GAP, /* ns between a search's holes; absent = none */
    F_RESORT,
    F_WAITS,   /* reversal: the role that waits; absent = none */
    F_WAIT_NS, /* ... and how long */
    F_STEPS,   /* a step and a reason, a byte each */
};

#define PROBABILITY_UNIT 1e9

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

/* ---- behaviour ------------------------------------------------------------------------------- */

/*
 * A behaviour, in one field: for each property its value (a byte) and confidence (4 bytes, 1e-9), then step (4,
 * signed), sequences, keeps_parity (a byte each), port_min, port_max, range_lo, range_hi (2 each), port_draws,
 * pool_size, samples (4 each), foreign_seen, foreign_seconds, foreign_dispersion, lifetime (8 each, 1e-6); big-endian.
 * Longer ones are of newer versions.
 */
#define BEHAVIOUR_LEN (PREDICT_N_PROPERTIES * 5 + 4 + 2 + 8 + 12 + 32)
#define MICRO         1e6

static void put_micro(uint8_t **p, double value)
{
    put_be(p, value > 0 && value < 1e12 ? (uint64_t)llround(value * MICRO) : 0, 8);
}

static void put_behaviour(struct wire_writer *w, const struct predict_behaviour *from)
{
    struct predict_behaviour b = *from;
    uint8_t buf[BEHAVIOUR_LEN], *p = buf;
    for (int i = 0; i < PREDICT_N_PROPERTIES; i++) {
        const struct predict_belief *belief = predict_belief(&b, (enum predict_property)i);
        put_be(&p, (uint64_t)belief->value, 1);
        put_be(&p, (uint64_t)llround(belief->confidence * PROBABILITY_UNIT), 4);
    }
    put_be(&p, (uint32_t)b.step, 4);
    put_be(&p, b.sequences, 1);
    put_be(&p, b.keeps_parity, 1);
    put_be(&p, b.port_min, 2);
    put_be(&p, b.port_max, 2);
    put_be(&p, b.range_lo, 2);
    put_be(&p, b.range_hi, 2);
    put_be(&p, b.port_draws, 4);
    put_be(&p, b.pool_size, 4);
    put_be(&p, b.samples, 4);
    put_micro(&p, b.foreign_seen);
    put_micro(&p, b.foreign_seconds);
    put_micro(&p, b.foreign_dispersion);
    put_micro(&p, b.lifetime_s);
    wire_put_bytes(w, F_BEHAVIOUR, buf, sizeof(buf));
    for (unsigned i = 0; i < b.pool_seen && i < PREDICT_MAX_POOL; i++) {
        union base_ep ep = base_ep_from_bytes(b.pool[i].len == 16 ? AF_INET6 : AF_INET, b.pool[i].addr, 0);
        wire_put_ep(w, F_POOL, &ep);
    }
}

static double get_micro(const uint8_t **p)
{
    return (double)get_be(p, 8) / MICRO;
}

/* What a newer version believes in and we do not know is unknown. */
static int get_behaviour(const uint8_t *p, size_t len, struct predict_behaviour *b)
{
    if (len < BEHAVIOUR_LEN)
        return -EBADMSG;
    for (int i = 0; i < PREDICT_N_PROPERTIES; i++) {
        struct predict_belief *belief = predict_belief(b, (enum predict_property)i);
        belief->value = (int)get_be(&p, 1);
        belief->confidence = fmin(1, (double)get_be(&p, 4) / PROBABILITY_UNIT);
        if (!predict_value_name((enum predict_property)i, belief->value))
            *belief = (struct predict_belief){.value = 0};
    }
    b->step = (int)(int32_t)(uint32_t)get_be(&p, 4);
    b->sequences = (unsigned)get_be(&p, 1);
    b->keeps_parity = get_be(&p, 1) != 0;
    b->port_min = (uint16_t)get_be(&p, 2);
    b->port_max = (uint16_t)get_be(&p, 2);
    b->range_lo = (uint16_t)get_be(&p, 2);
    b->range_hi = (uint16_t)get_be(&p, 2);
    b->port_draws = (unsigned)get_be(&p, 4);
    b->pool_size = (unsigned)get_be(&p, 4);
    b->samples = (unsigned)get_be(&p, 4);
    b->foreign_seen = get_micro(&p);
    b->foreign_seconds = get_micro(&p);
    b->foreign_dispersion = get_micro(&p);
    b->lifetime_s = get_micro(&p);
    bool sane = b->port_min <= b->port_max && b->range_lo <= b->range_hi && b->sequences <= PREDICT_MAX_SEQUENCES &&
                b->pool_size <= 65536 && b->step >= -65535 && b->step <= 65535;
    return sane ? 0 : -EBADMSG;
}

static int get_pool(const uint8_t *value, size_t len, struct predict_behaviour *b)
{
    union base_ep ep;
    size_t n;
    if (b->pool_seen == PREDICT_MAX_POOL)
        return 0;
    if (wire_value_ep(value, len, &ep) < 0)
        return -EBADMSG;
    struct predict_ep *out = &b->pool[b->pool_seen++];
    const uint8_t *bytes = base_ep_bytes(&ep, &n);
    out->len = (uint8_t)n;
    memcpy(out->addr, bytes, n);
    return 0;
}

/* ---- facts ----------------------------------------------------------------------------------- */

int peer_facts_encode(const struct peer_facts *f, uint8_t *buf, size_t cap)
{
    struct wire_writer w;
    wire_fields_begin(&w, buf, cap);
    wire_put_bytes(&w, F_NONCE, f->nonce, sizeof(f->nonce));
    wire_put_u64(&w, F_OPEN_FILES, f->open_files);
    wire_put_u64(&w, F_TAKEN, f->taken_ns);
    wire_put_u64(&w, F_PORTS, (uint64_t)f->port_lo << 16 | f->port_hi);
    if (f->behaviour.mapping.value != PREDICT_MAPPING_UNKNOWN ||
        f->behaviour.filtering.value != PREDICT_FILTERING_UNKNOWN)
        put_behaviour(&w, &f->behaviour);
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
    case F_TAKEN:
        return wire_value_u64(value, len, &f->taken_ns);
    case F_PORTS:
        if (wire_value_u64(value, len, &t_ns) < 0)
            return -EBADMSG;
        f->port_lo = (uint16_t)(t_ns >> 16);
        f->port_hi = (uint16_t)t_ns;
        return 0;
    case F_BEHAVIOUR:
        return get_behaviour(value, len, &f->behaviour);
    case F_POOL:
        return get_pool(value, len, &f->behaviour);
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

const struct peer_sample *peer_facts_last(const struct peer_facts *f)
{
    const struct peer_sample *last = f->samples;
    for (size_t i = 1; i < f->n_samples; i++)
        if (f->samples[i].t_ns >= last->t_ns)
            last = &f->samples[i];
    return f->n_samples ? last : NULL;
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

int peer_candidates_append(struct peer_candidates *c, const union base_ep *ep, enum peer_path_kind kind, float p)
{
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

int peer_candidates_add(struct peer_candidates *c, const union base_ep *ep, enum peer_path_kind kind, float p)
{
    for (size_t i = 0; i < c->n; i++)
        if (base_ep_equal(&c->list[i].ep, ep))
            return 0;
    return peer_candidates_append(c, ep, kind, p);
}

bool peer_facts_share_address(const struct peer_facts *a, const struct peer_facts *b)
{
    union base_ep of_a[PEER_MAX_ADDRESSES], of_b[PEER_MAX_ADDRESSES];
    size_t n_a = a->n_samples ? peer_facts_addresses(a, of_a) : 0;
    size_t n_b = b->n_samples ? peer_facts_addresses(b, of_b) : 0;
    for (size_t i = 0; i < n_a; i++)
        for (size_t k = 0; k < n_b; k++)
            if (base_ep_same_addr(&of_a[i], &of_b[k]))
                return true;
    return false;
}

static bool in_one_network(const union base_ep *x, const union base_ep *y)
{
    size_t n;
    if (x->sa.sa_family != AF_INET6 || y->sa.sa_family != AF_INET6)
        return false;
    return memcmp(base_ep_bytes(x, &n), base_ep_bytes(y, &n), 8) == 0; /* a /64 */
}

/*
 * Of the family that S was not asked in: only the host's own addresses are known. One of the internet leads there
 * directly, as far as firewalls let it. PEER_PATH_KINDS: there is no way to it from here.
 */
static enum peer_path_kind other_kind(const struct peer_facts *from, const union base_ep *to)
{
    enum peer_path_kind kind = PEER_PATH_KINDS;
    for (size_t i = 0; i < from->n_private; i++) {
        const union base_ep *own = &from->private_eps[i];
        if (own->sa.sa_family != to->sa.sa_family)
            continue;
        if (in_one_network(own, to) || !peer_is_public(to))
            return PEER_PATH_PRIVATE;
        kind = PEER_PATH_DIRECT;
    }
    return kind;
}

/* What one side aims at: the other's registered endpoint, then its own addresses. */
static int aim_at(const struct peer_facts *from, const struct peer_facts *to, struct peer_candidates *out)
{
    union base_ep target = peer_facts_mapped(to);
    if (!base_ep_is_set(&target))
        return -EINVAL;
    enum peer_path_kind kind = peer_facts_share_address(from, to) ? PEER_PATH_HAIRPIN : PEER_PATH_DIRECT;
    int err = peer_candidates_add(out, &target, kind, NAN);
    for (size_t i = 0; i < to->n_private && err == 0; i++) {
        const union base_ep *ep = &to->private_eps[i];
        kind = ep->sa.sa_family == target.sa.sa_family ? PEER_PATH_PRIVATE : other_kind(from, ep);
        if (kind != PEER_PATH_KINDS)
            err = peer_candidates_add(out, ep, kind, NAN);
    }
    return err;
}

int peer_plan_registered(const struct peer_facts *a, const struct peer_facts *b, struct peer_plan *out)
{
    int err = aim_at(a, b, &out->for_a);
    return err < 0 ? err : aim_at(b, a, &out->for_b);
}

void peer_plan_drop_lists(struct peer_plan *p)
{
    free(p->for_a.list);
    free(p->for_b.list);
    p->for_a = p->for_b = (struct peer_candidates){.list = NULL};
}

void peer_plan_free(struct peer_plan *p)
{
    peer_plan_drop_lists(p);
    memset(p, 0, sizeof(*p));
}

/*
 * Candidates in order, those on one address together: side and kind (a byte each), then for each the port (2 bytes) and
 * the probability in 1e-9 + 1 (4 bytes; 0 = none).
 */
#define RUN_HEAD 2
#define RUN_ITEM 6
#define RUN_MAX  4096 /* candidates; a field holds 65,535 bytes */

static void put_run(struct wire_writer *w, enum wire_role side, const struct peer_candidate *list, size_t n)
{
    static uint8_t buf[RUN_HEAD + RUN_MAX * RUN_ITEM]; /* one thread */
    uint8_t *p = buf;
    put_be(&p, side, 1);
    put_be(&p, list[0].kind, 1);
    for (size_t i = 0; i < n; i++) {
        put_be(&p, base_ep_port(&list[i].ep), 2);
        put_be(&p, isnan(list[i].p) ? 0 : 1 + (uint64_t)llround((double)list[i].p * PROBABILITY_UNIT), 4);
    }
    wire_put_bytes(w, F_RUN, buf, (size_t)(p - buf));
    wire_put_ep(w, F_CANDIDATE_EP, &list[0].ep);
}

static void put_candidates(struct wire_writer *w, enum wire_role side, const struct peer_candidates *c)
{
    size_t n;
    for (size_t from = 0; from < c->n; from += n) {
        const struct peer_candidate *first = &c->list[from];
        n = 1;
        while (n < RUN_MAX && from + n < c->n && first[n].kind == first->kind &&
               base_ep_same_addr(&first[n].ep, &first->ep))
            n++;
        put_run(w, side, first, n);
    }
}

static int get_run(const uint8_t *p, size_t len, union base_ep ep, struct peer_plan *out)
{
    if (len < RUN_HEAD || (len - RUN_HEAD) % RUN_ITEM != 0)
        return -EBADMSG;
    uint64_t side = get_be(&p, 1), kind = get_be(&p, 1);
    if ((side != WIRE_ROLE_A && side != WIRE_ROLE_B) || kind >= PEER_PATH_KINDS)
        return -EBADMSG;
    struct peer_candidates *to = side == WIRE_ROLE_A ? &out->for_a : &out->for_b;
    for (size_t n = (len - RUN_HEAD) / RUN_ITEM; n > 0; n--) {
        base_ep_set_port(&ep, (uint16_t)get_be(&p, 2));
        uint64_t unit = get_be(&p, 4);
        float probability = unit ? (float)fmin(1, (double)(unit - 1) / PROBABILITY_UNIT) : NAN;
        if (base_ep_port(&ep) == 0 || peer_candidates_append(to, &ep, (enum peer_path_kind)kind, probability) < 0)
            return -EBADMSG;
    }
    return 0;
}

/*
 * A search, in one field: opener, order, known, meet (a byte each), ttl, random_lo, random_hi (2 bytes each), holes,
 * probes, attempts, rate, entries (4 each), seed (8), drift (4, signed), wide (4), careful (1); big-endian. Longer ones
 * are of newer versions.
 */
#define SEARCH_LEN 47

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
    put_be(&p, (uint32_t)s->drift, 4);
    put_be(&p, s->wide, 4);
    put_be(&p, s->careful, 1);
    wire_put_bytes(w, F_SEARCH, buf, sizeof(buf));
    if (base_ep_is_set(&s->random_at))
        wire_put_ep(w, F_RANDOM_AT, &s->random_at);
    if (s->gap_ns)
        wire_put_u64(w, F_GAP, s->gap_ns);
}

#define MAX_GAP_NS (3600 * BASE_NS_PER_S)

/* Bounds that the rest relies on: roles, orders, a TTL, counts that fit a port range. */
static bool search_ok(const struct peer_search *s)
{
    return (s->opener == WIRE_ROLE_A || s->opener == WIRE_ROLE_B) && s->order < PEER_ORDERS &&
           s->ttl <= PEER_TTL_AUTO && s->holes <= UINT16_MAX && s->probes <= UINT16_MAX && s->attempts >= 1 &&
           s->entries >= 1 && s->random_lo <= s->random_hi && s->drift >= -UINT16_MAX && s->drift <= UINT16_MAX &&
           s->wide <= UINT16_MAX && s->gap_ns <= MAX_GAP_NS;
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
    s->drift = (int32_t)(uint32_t)get_be(&p, 4);
    s->wide = (uint32_t)get_be(&p, 4);
    s->careful = get_be(&p, 1) != 0;
    if (wire_get_bytes(r, F_RANDOM_AT, &at, &len) == 0 && wire_value_ep(at, len, &s->random_at) < 0)
        return -EBADMSG;
    wire_get_u64(r, F_GAP, &s->gap_ns); /* may be missing */
    return search_ok(s) ? 0 : -EBADMSG;
}

/* What mode auto adds to a plan. */
static void put_order(struct wire_writer *w, const struct peer_plan *p)
{
    uint8_t buf[2 * PEER_MAX_STEPS];
    for (size_t i = 0; i < p->n_steps; i++) {
        buf[2 * i] = p->steps[i].step;
        buf[2 * i + 1] = p->steps[i].reason;
    }
    if (p->n_steps)
        wire_put_bytes(w, F_STEPS, buf, 2 * p->n_steps);
    if (p->waits == WIRE_ROLE_NONE)
        return;
    wire_put_u64(w, F_WAITS, p->waits);
    wire_put_u64(w, F_WAIT_NS, p->wait_ns);
}

#define MAX_WAIT_NS (3600 * BASE_NS_PER_S)

/* Steps and reasons of newer versions are left out; all of it may be missing. */
static int get_order(const struct wire_reader *r, struct peer_plan *p)
{
    const uint8_t *steps;
    size_t len = 0;
    uint64_t waits = WIRE_ROLE_NONE;
    if (wire_get_bytes(r, F_STEPS, &steps, &len) < 0)
        len = 0;
    for (size_t i = 0; i + 1 < len && p->n_steps < PEER_MAX_STEPS; i += 2)
        if (steps[i] < PEER_STEPS && steps[i + 1] < PEER_STEP_REASONS)
            p->steps[p->n_steps++] = (struct peer_considered){steps[i], steps[i + 1]};
    wire_get_u64(r, F_WAITS, &waits);
    wire_get_u64(r, F_WAIT_NS, &p->wait_ns);
    if (waits > WIRE_ROLE_B || p->wait_ns > MAX_WAIT_NS)
        return -EBADMSG;
    p->waits = (enum wire_role)waits;
    return 0;
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
    wire_put_u64(&w, F_STRATEGY, p->strategy);
    if (p->resort)
        wire_put_u64(&w, F_RESORT, p->resort);
    put_search(&w, &p->search);
    put_order(&w, p);
    put_candidates(&w, WIRE_ROLE_A, &p->for_a);
    put_candidates(&w, WIRE_ROLE_B, &p->for_b);
    return wire_fields_end(&w);
}

static int plan_candidates(const struct wire_reader *from, struct peer_plan *out)
{
    struct wire_reader r = *from;
    const uint8_t *value, *run = NULL;
    size_t len, run_len = 0;
    uint16_t field;
    while (wire_next(&r, &field, &value, &len)) {
        union base_ep ep;
        if (field == F_RUN) {
            run = value;
            run_len = len;
        } else if (field == F_CANDIDATE_EP) {
            if (!run || wire_value_ep(value, len, &ep) < 0 || get_run(run, run_len, ep, out) < 0)
                return -EBADMSG;
            run = NULL;
        }
    }
    return 0;
}

int peer_plan_decode(const uint8_t *buf, size_t len, struct peer_plan *out)
{
    struct wire_reader r;
    uint64_t predicted, infeasible = 0, strategy = 0, resort = 0;
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
    wire_get_u64(&r, F_RESORT, &resort);
    out->resort = resort != 0;
    wire_get_u64(&r, F_STRATEGY, &strategy);
    out->strategy = strategy < PEER_STRATEGIES ? (enum peer_strategy)strategy : PEER_STRATEGY_NONE;
    int err = get_search(&r, &out->search);
    if (err == 0)
        err = get_order(&r, out);
    if (err == 0)
        err = plan_candidates(&r, out);
    if (err < 0)
        peer_plan_free(out);
    return err;
}
