/*
 * Samples to draws: sorted by time, duplicates out, the mapping behaviour from pairs of samples (RFC 4787, 4.1), and
 * of the samples those whose mapping was made for them: only these say how the NAT chooses ports.
 */
#include <string.h>

#include "predict/internal.h"

struct recent {
    struct predict_sample s[MOST_DRAWS];
    unsigned n;
};

static bool same_sample(const struct predict_sample *a, const struct predict_sample *b)
{
    return a->t == b->t && predict_ep_equal(&a->local, &b->local) && predict_ep_equal(&a->remote, &b->remote) &&
           predict_ep_equal(&a->mapped, &b->mapped);
}

/* Keeps the latest ones in order. Ordered input costs one comparison a sample. */
static void insert(struct recent *r, const struct predict_sample *s)
{
    unsigned at = r->n;
    if (s->mapped.port == 0 || s->mapped.len == 0)
        return;
    while (at > 0 && r->s[at - 1].t > s->t)
        at--;
    for (unsigned i = at; i > 0 && r->s[i - 1].t == s->t; i--)
        if (same_sample(&r->s[i - 1], s))
            return;
    if (r->n == MOST_DRAWS) {
        if (at == 0)
            return;
        memmove(&r->s[0], &r->s[1], (at - 1) * sizeof(r->s[0]));
        r->s[at - 1] = *s;
        return;
    }
    memmove(&r->s[at + 1], &r->s[at], (r->n - at) * sizeof(r->s[0]));
    r->s[at] = *s;
    r->n++;
}

/* A mapping that is older than this may have timed out: a difference then says nothing. RFC 4787, REQ-5, is 2 min. */
#define STALE_S 20.0

static void compare(struct draws *out, const struct predict_sample *a, const struct predict_sample *b)
{
    if (a->local.port == 0 || !predict_ep_equal(&a->local, &b->local) || a->remote.len == 0 || b->remote.len == 0)
        return;
    bool same = predict_ep_equal(&a->mapped, &b->mapped);
    if (!same && b->t - a->t > STALE_S)
        return;
    struct agreement *which = predict_ep_equal(&a->remote, &b->remote)          ? &out->connection
                              : predict_ep_same_address(&a->remote, &b->remote) ? &out->port
                                                                                : &out->address;
    *(same ? &which->same : &which->different) += 1;
}

/* One chance agreement among differences is what a narrow band gives. */
static bool varies(const struct agreement *a)
{
    return a->different > 0 && a->different >= a->same;
}

static struct predict_belief believe(int value, double confidence)
{
    return (struct predict_belief){value, confidence};
}

static struct predict_belief mapping_of(const struct draws *d)
{
    if (d->samples > 0 && d->no_nat == d->samples)
        return believe(PREDICT_MAPPING_NONE, 0.99);
    if (varies(&d->connection))
        return believe(PREDICT_MAPPING_CD, d->connection.different > 1 ? 0.99 : 0.95);
    /* Connection-dependence is rare, so its absence is believed in without a test. */
    double repeatable = d->connection.same > 0 ? 0.99 : 0.9;
    if (varies(&d->port))
        return believe(PREDICT_MAPPING_APD, repeatable);
    if (varies(&d->address))
        return d->port.same > 0 ? believe(PREDICT_MAPPING_AD, d->port.same > 1 ? 0.99 : 0.97)
                                : believe(PREDICT_MAPPING_APD, repeatable - 0.1);
    if (d->address.same > 0)
        return believe(PREDICT_MAPPING_EI, d->address.same > 1 ? 0.995 : 0.98);
    /* One address of S: address-dependent would look the same, but is seldom met. */
    if (d->port.same > 0)
        return believe(PREDICT_MAPPING_EI, 0.8);
    return believe(PREDICT_MAPPING_UNKNOWN, 0);
}

static uint8_t address_index(struct draws *out, const struct predict_ep *mapped)
{
    for (unsigned i = 0; i < out->pool_seen; i++)
        if (predict_ep_same_address(&out->pool[i], mapped))
            return (uint8_t)i;
    /* More addresses than there is room for share the last one's place. */
    if (out->pool_seen == PREDICT_MAX_POOL)
        return PREDICT_MAX_POOL - 1;
    out->pool[out->pool_seen] = *mapped;
    out->pool[out->pool_seen].port = 0;
    return (uint8_t)out->pool_seen++;
}

/* Whether s shows the mapping of an earlier sample again. */
static bool is_old(const struct recent *r, unsigned i, const struct draws *d)
{
    const struct predict_sample *s = &r->s[i];
    int mapping = d->mapping.value;
    for (unsigned j = 0; j < i; j++) {
        const struct predict_sample *e = &r->s[j];
        if (!predict_ep_equal(&e->mapped, &s->mapped) || !predict_ep_equal(&e->local, &s->local) || s->local.port == 0)
            continue;
        if ((mapping != PREDICT_MAPPING_APD && mapping != PREDICT_MAPPING_CD) ||
            (mapping == PREDICT_MAPPING_APD && predict_ep_equal(&e->remote, &s->remote)))
            return true;
    }
    return false;
}

static void add_draw(struct draws *out, const struct predict_sample *s)
{
    uint8_t address = address_index(out, &s->mapped);
    out->pool_n[address]++;
    out->d[out->n++] = (struct draw){s->t, s->local.port, s->mapped.port, address};
    out->known_local += s->local.port != 0;
    out->preserved += s->local.port != 0 && s->local.port == s->mapped.port;
}

void predict_draws(const struct predict_sample *samples, size_t n, struct draws *out)
{
    struct recent r = {.n = 0};
    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < n; i++)
        insert(&r, &samples[i]);
    out->samples = r.n;
    for (unsigned i = 0; i < r.n; i++) {
        out->no_nat += predict_ep_equal(&r.s[i].mapped, &r.s[i].local);
        for (unsigned j = 0; j < i; j++)
            compare(out, &r.s[j], &r.s[i]);
    }
    out->mapping = mapping_of(out);
    for (unsigned i = 0; i < r.n; i++)
        if (!is_old(&r, i, out))
            add_draw(out, &r.s[i]);
    if (r.n > 0)
        out->last = r.s[r.n - 1];
}
