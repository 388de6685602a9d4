/*
 * The emulated NATs between a host and the internet: the host's own, and the one that it sits under. The way of a
 * packet through them; what comes out is the lab's to carry.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/lab/internal.h"

/* Between two NATs of one host: 100.64.LEVEL.0/24 (RFC 6598), the outer one at .1, the inner one's addresses from .2
 * on. */
#define BETWEEN "100.64.0.0"

/* ---- building -------------------------------------------------------------------------------- */

int lab_box_profiles(struct lab_host *host, char err[LAB_ERROR_LEN])
{
    struct lab_box *box = &host->box;
    if (host->profile.backend != LAB_BACKEND_EMULATED)
        return 0;
    box->profiles[box->n++] = host->profile;
    for (const struct lab_profile *p = &host->profile; *p->under; p = &box->profiles[box->n - 1]) {
        if (box->n == LAB_BOX_MAX)
            return lab_host_fail(host, -EINVAL, "at most four NATs, one under the other", err);
        int res = lab_profile_find(p->dir, p->under, &box->profiles[box->n], err);
        if (res < 0)
            return res;
        if (box->profiles[box->n].backend != LAB_BACKEND_EMULATED)
            return lab_host_fail(host, -EINVAL, "the profile that its NAT is under needs backend = emulated", err);
        box->n++;
    }
    return 0;
}

unsigned lab_box_pool(const struct lab_box *box)
{
    unsigned pool = box->n ? box->profiles[box->n - 1].pool : 0;
    return pool ? pool : 1;
}

union base_ep lab_box_address(const union base_ep *first, unsigned i)
{
    union base_ep out = *first;
    out.v4.sin_addr.s_addr = htonl(ntohl(first->v4.sin_addr.s_addr) + i);
    return out;
}

/* The inner NATs' addresses lie in the network before the next one. */
static unsigned external_of(const struct lab_host *host, unsigned level, union base_ep out[LAB_MAX_PUBLIC])
{
    union base_ep net;
    unsigned n = host->box.profiles[level].pool;
    if (level + 1 == host->box.n) {
        memcpy(out, host->addrs, host->n_addrs * sizeof(*out));
        return (unsigned)host->n_addrs;
    }
    /* A constant. */
    (void)base_ep_parse_addr(BETWEEN, &net);
    net = lab_box_address(&net, level << 8);
    n = n == 0 ? 1 : n > LAB_MAX_PUBLIC ? LAB_MAX_PUBLIC : n;
    for (unsigned i = 0; i < n; i++)
        out[i] = lab_box_address(&net, 2 + i);
    return n;
}

int lab_box_build(struct lab_host *host, char err[LAB_ERROR_LEN])
{
    union base_ep external[LAB_MAX_PUBLIC], inside = host->own;
    for (unsigned i = 0; i < host->box.n; i++) {
        union base_ep gateway = lab_gateway_of(&inside);
        unsigned n = external_of(host, i, external);
        struct base_rng rng;
        base_rng_derive(&rng, host->lab->seed, host->name, 1 + i);
        int res = lab_nat_create(&host->box.nats[i], &host->box.profiles[i], external, n, &gateway, base_rng_u64(&rng),
                                 base_now_ns());
        if (res < 0)
            return lab_host_fail(host, res, "could not make the emulated NAT", err);
        inside = external[0];
    }
    return 0;
}

void lab_box_close(struct lab_box *box)
{
    for (unsigned i = 0; i < LAB_BOX_MAX; i++)
        lab_nat_destroy(box->nats[i]);
    memset(box->nats, 0, sizeof(box->nats));
    box->n = 0;
}

/* ---- the way --------------------------------------------------------------------------------- */

static void turn_into_reply(struct lab_box_packet *packet, const struct lab_nat_out *out)
{
    memcpy(packet->reply, out->reply, out->reply_len);
    packet->data = packet->reply;
    packet->len = out->reply_len;
}

/* From the NAT at `level` on; a reply turns round and passes those on its way, as a packet of its own. */
static enum lab_box_exit walk(struct lab_box *box, int level, enum lab_nat_dir dir, struct lab_box_packet *packet,
                              uint64_t now_ns)
{
    struct lab_nat_out out;
    while (level >= 0 && level < (int)box->n) {
        lab_tap(box, (unsigned)level + (dir == LAB_NAT_IN), packet->data, packet->len);
        switch (lab_nat_packet(box->nats[level], dir, packet->data, packet->len, now_ns, &out)) {
        case LAB_NAT_FORWARD:
            break;
        case LAB_NAT_HAIRPIN:
            dir = LAB_NAT_IN;
            break;
        case LAB_NAT_REPLY:
            turn_into_reply(packet, &out);
            dir = dir == LAB_NAT_OUT ? LAB_NAT_IN : LAB_NAT_OUT;
            break;
        default:
            return LAB_BOX_NOWHERE;
        }
        level += dir == LAB_NAT_OUT ? 1 : -1;
    }
    lab_tap(box, level < 0 ? 0 : box->n, packet->data, packet->len);
    return level < 0 ? LAB_BOX_INSIDE : LAB_BOX_OUTSIDE;
}

enum lab_box_exit lab_box_pass(struct lab_box *box, enum lab_nat_dir dir, struct lab_box_packet *packet,
                               uint64_t now_ns)
{
    return walk(box, dir == LAB_NAT_OUT ? 0 : (int)box->n - 1, dir, packet, now_ns);
}

uint64_t lab_box_next(const struct lab_box *box)
{
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < box->n; i++) {
        uint64_t at = lab_nat_next(box->nats[i]);
        next = at < next ? at : next;
    }
    return next;
}

enum lab_box_exit lab_box_timer(struct lab_box *box, struct lab_box_packet *packet, uint64_t now_ns)
{
    struct lab_nat_out out;
    for (unsigned i = 0; i < box->n; i++)
        while (lab_nat_next(box->nats[i]) <= now_ns && lab_nat_timer(box->nats[i], now_ns, &out)) {
            turn_into_reply(packet, &out);
            enum lab_box_exit exit = walk(box, (int)i + 1, LAB_NAT_OUT, packet, now_ns);
            if (exit != LAB_BOX_NOWHERE)
                return exit;
        }
    return LAB_BOX_NOWHERE;
}

/* ---- state ----------------------------------------------------------------------------------- */

void lab_box_reset(struct lab_box *box, const union base_ep *keep, uint64_t now_ns)
{
    for (unsigned i = 0; i < box->n; i++)
        lab_nat_reset(box->nats[i], keep, now_ns);
}

uint64_t lab_box_mappings(const struct lab_box *box, unsigned level)
{
    struct lab_nat_counters c;
    lab_nat_counters(box->nats[level], &c);
    return c.mappings;
}

static void tell(struct lab_counter *out, size_t *n, const char *kind, const char *name, uint64_t value)
{
    snprintf(out[*n].name, sizeof(out->name), "%s%s", kind, name);
    out[(*n)++].value = value;
}

_Static_assert(LAB_NAT_COUNTERS >= 9 + LAB_NAT_DROP_N - 1, "room for every counter");

size_t lab_box_counters(const struct lab_box *box, unsigned level, struct lab_counter out[LAB_NAT_COUNTERS])
{
    struct lab_nat_counters c;
    size_t n = 0;
    lab_nat_counters(box->nats[level], &c);
    tell(out, &n, "", "mappings-made", c.mappings_made);
    tell(out, &n, "", "sessions-made", c.sessions_made);
    tell(out, &n, "", "sessions-expired", c.sessions_expired);
    tell(out, &n, "", "sessions-evicted", c.sessions_evicted);
    tell(out, &n, "", "foreign", c.foreign);
    tell(out, &n, "", "out", c.out);
    tell(out, &n, "", "in", c.in);
    tell(out, &n, "", "hairpinned", c.hairpinned);
    tell(out, &n, "", "replies", c.replies);
    for (int i = LAB_NAT_DROP_NONE + 1; i < LAB_NAT_DROP_N; i++)
        tell(out, &n, "drop-", lab_nat_drop_name((enum lab_nat_drop)i), c.drops[i]);
    return n;
}
