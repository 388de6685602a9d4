/* What one side of a search aims at, in order. Pure. */
#include "bench/peer/internal.h"

static uint64_t random_ports(const struct peer_search *s)
{
    return base_ep_is_set(&s->random_at) && s->random_lo && s->random_lo <= s->random_hi
               ? (uint64_t)(s->random_hi - s->random_lo) + 1
               : 0;
}

void peer_holes_init(struct peer_holes *h, const struct peer_plan *plan, enum wire_role role, unsigned attempt)
{
    const struct peer_search *s = &plan->search;
    const struct peer_candidates *c = role == WIRE_ROLE_A ? &plan->for_a : &plan->for_b;
    bool opens = s->opener == role;
    *h = (struct peer_holes){.search = s, .list = c, .limit = opens ? s->holes : (uint32_t)c->n};
    h->draws = opens && random_ports(s) > 0;
    if (!h->draws)
        return;
    base_perm_init(&h->perm, random_ports(s), s->seed + attempt);
    for (size_t i = 0; i < c->n && i < s->holes; i++)
        if (base_ep_same_addr(&c->list[i].ep, &s->random_at)) {
            uint16_t port = base_ep_port(&c->list[i].ep);
            h->listed[port / 8] |= (uint8_t)(1 << port % 8);
        }
}

bool peer_holes_next(struct peer_holes *h, union base_ep *out)
{
    const struct peer_search *s = h->search;
    if (h->next == h->limit)
        return false;
    if (h->next < h->list->n) {
        *out = h->list->list[h->next++].ep;
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
