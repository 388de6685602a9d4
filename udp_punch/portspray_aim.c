/* Where to: the sweep over all ports, a plan moved to another endpoint. Pure. */
#include <string.h>

#include "udp_punch/portspray_internal.h"

void portspray_sweep_init(struct portspray_sweep *s, enum portspray_order order, uint16_t start, uint16_t lo,
                          uint16_t hi, uint64_t seed)
{
    *s = (struct portspray_sweep){.order = order, .lo = lo, .size = (uint32_t)(hi - lo) + 1};
    s->start = start >= lo && start <= hi ? (uint32_t)(start - lo) : 0;
    if (order == PORTSPRAY_SHUFFLED)
        base_perm_init(&s->perm, s->size, seed);
}

bool portspray_sweep_next(struct portspray_sweep *s, uint16_t *port)
{
    uint32_t i = s->next, at;
    if (i >= s->size)
        return false;
    s->next++;
    if (s->order == PORTSPRAY_SHUFFLED)
        at = (uint32_t)base_perm_at(&s->perm, i);
    else if (s->order == PORTSPRAY_SCAN)
        at = (s->start + i) % s->size;
    else if (i % 2)
        at = (s->start + (i + 1) / 2) % s->size;
    else
        at = (s->start + s->size - i / 2) % s->size;
    *port = (uint16_t)(s->lo + at);
    return true;
}

static uint16_t moved(uint16_t port, int by)
{
    int size = PORTSPRAY_HI - PORTSPRAY_LO + 1;
    return (uint16_t)(PORTSPRAY_LO + (port - PORTSPRAY_LO + by % size + size) % size);
}

void portspray_aim_anew(struct peer_plan *plan, const union base_ep *was, const union base_ep *now)
{
    struct peer_search *s = &plan->search;
    struct peer_candidates *c = s->opener == WIRE_ROLE_A ? &plan->for_a : &plan->for_b;
    int by = base_ep_port(now) - base_ep_port(was);
    for (size_t i = 0; i < c->n; i++) {
        uint16_t port = base_ep_port(&c->list[i].ep);
        if (c->list[i].kind == PEER_PATH_PRIVATE)
            continue;
        /* Another address of a pool stays as likely as it was. */
        if (base_ep_same_addr(&c->list[i].ep, was))
            c->list[i].ep = *now;
        base_ep_set_port(&c->list[i].ep, moved(port, by));
    }
    if (base_ep_is_set(&s->random_at)) {
        s->random_at = *now;
        base_ep_set_port(&s->random_at, 0);
    }
}

/* What was silent for some round trips stays silent. */
#define SILENCE_RTTS   3
#define SILENCE_MIN_NS (150 * BASE_NS_PER_MS)

uint64_t portspray_silence_of(uint64_t rtt_ns)
{
    return SILENCE_RTTS * rtt_ns > SILENCE_MIN_NS ? SILENCE_RTTS * rtt_ns : SILENCE_MIN_NS;
}
