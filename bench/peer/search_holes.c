/* The attempts of a search, and what one side aims at in one of them. Pure. */
#include "bench/peer/internal.h"

/* A search that has failed is repeated with so much more. */
#define GROWTH_PERCENT 150

static uint32_t grown(uint32_t n, unsigned times, uint32_t most)
{
    uint64_t value = n;
    for (; times > 0 && value < most; times--)
        value = value * GROWTH_PERCENT / 100 + 1;
    return value < most ? (uint32_t)value : n > most ? n : most;
}

/*
 * What went wrong is not known: the ports, or what the NATs answer. So both change. Holes that ended before the
 * prober's NAT now go all the way, and find the probes' mappings there if those come first.
 */
struct peer_search peer_search_attempt(const struct peer_plan *plan, unsigned n)
{
    struct peer_search s = plan->search;
    if (n == 0 || s.known)
        return s;
    s.holes = grown(s.holes, n, s.entries);
    s.probes = grown(s.probes, n, s.entries);
    s.seed += n;
    if (s.wide) {
        uint32_t wide = grown(s.wide, n - 1, s.entries);
        s.holes = s.holes > wide ? s.holes : wide;
        s.probes = s.probes > wide ? s.probes : wide;
    }
    if (s.careful) {
        s.order = PEER_HOLES_FIRST;
        s.ttl = PEER_TTL_AUTO;
    } else if (n % 2 == 1) {
        s.order = s.order == PEER_PROBES_FIRST ? PEER_HOLES_FIRST : PEER_PROBES_FIRST;
        s.ttl = PEER_TTL_OFF;
    }
    return s;
}

static uint64_t random_ports(const struct peer_search *s)
{
    return base_ep_is_set(&s->random_at) && s->random_lo && s->random_lo <= s->random_hi
               ? (uint64_t)(s->random_hi - s->random_lo) + 1
               : 0;
}

/* The sequence that the list follows has moved on by the attempts before. */
static union base_ep moved(const struct peer_holes *h, union base_ep ep)
{
    int64_t port = base_ep_port(&ep) + (int64_t)h->search.drift * h->attempt;
    if (h->search.drift != 0 && port >= 1 && port <= UINT16_MAX)
        base_ep_set_port(&ep, (uint16_t)port);
    return ep;
}

void peer_holes_init(struct peer_holes *h, const struct peer_plan *plan, enum wire_role role, unsigned attempt)
{
    const struct peer_candidates *c = role == WIRE_ROLE_A ? &plan->for_a : &plan->for_b;
    *h = (struct peer_holes){.search = peer_search_attempt(plan, attempt), .list = c, .attempt = attempt};
    const struct peer_search *s = &h->search;
    bool opens = s->opener == role;
    h->limit = opens ? s->holes : (uint32_t)c->n;
    h->draws = opens && random_ports(s) > 0 && (attempt > 0 || !s->wide);
    if (!h->draws)
        return;
    base_perm_init(&h->perm, random_ports(s), s->seed);
    for (size_t i = 0; i < c->n && i < s->holes; i++) {
        union base_ep ep = moved(h, c->list[i].ep);
        uint16_t port = base_ep_port(&ep);
        if (base_ep_same_addr(&ep, &s->random_at))
            h->listed[port / 8] |= (uint8_t)(1 << port % 8);
    }
}

bool peer_holes_next(struct peer_holes *h, union base_ep *out)
{
    const struct peer_search *s = &h->search;
    if (h->next == h->limit)
        return false;
    if (s->known && h->next < h->list->n) {
        /* The likeliest last: some NATs let only the last destination answer. */
        *out = h->list->list[h->list->n - 1 - h->next++].ep;
        return true;
    }
    if (h->next < h->list->n) {
        *out = moved(h, h->list->list[h->next++].ep);
        return true;
    }
    while (h->draws && h->drawn < random_ports(s)) {
        uint16_t port = (uint16_t)(s->random_lo + base_perm_at(&h->perm, h->drawn++));
        if (h->listed[port / 8] & 1 << port % 8)
            continue;
        *out = s->random_at;
        base_ep_set_port(out, port);
        h->next++;
        return true;
    }
    return false;
}
