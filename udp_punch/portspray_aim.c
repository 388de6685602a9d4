/* Where to: the sweep over all ports, a plan moved to another endpoint. Pure. */
#include <math.h>
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

static size_t add_address(union base_ep list[PEER_MAX_ADDRESSES], size_t n, const union base_ep *ep)
{
    for (size_t i = 0; i < n; i++)
        if (base_ep_same_addr(&list[i], ep))
            return n;
    if (n < PEER_MAX_ADDRESSES && base_ep_is_set(ep))
        list[n++] = *ep;
    return n;
}

/* Where the plan's holes are. */
static size_t old_addresses(const struct peer_plan *plan, const struct peer_candidates *c,
                            union base_ep out[PEER_MAX_ADDRESSES])
{
    size_t n = add_address(out, 0, &plan->search.random_at);
    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].kind != PEER_PATH_PRIVATE)
            n = add_address(out, n, &c->list[i].ep);
    return n;
}

/* Nothing is left of a pool that moved: its first address is now the first new one, and so on. */
static void move_addresses(struct peer_candidates *c, const union base_ep *old, size_t n_old, const union base_ep *new,
                           size_t n_new)
{
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < n_old; k++)
            if (c->list[i].kind != PEER_PATH_PRIVATE && base_ep_same_addr(&c->list[i].ep, &old[k])) {
                uint16_t port = base_ep_port(&c->list[i].ep);
                c->list[i].ep = new[k % n_new];
                base_ep_set_port(&c->list[i].ep, port);
                break;
            }
}

int portspray_aim_pool(struct peer_plan *plan, const union base_ep *was, const union base_ep *now, size_t n)
{
    struct peer_candidates *c = plan->search.opener == WIRE_ROLE_A ? &plan->for_a : &plan->for_b;
    union base_ep old[PEER_MAX_ADDRESSES], all[PEER_MAX_ADDRESSES];
    size_t n_old = old_addresses(plan, c, old), n_all = 0, n_kept = 0;
    for (size_t i = n; i-- > 0;)
        n_all = add_address(all, n_all, &now[i]);
    for (size_t k = 0; k < n_old; k++)
        for (size_t i = 0; i < n_all; i++)
            n_kept += base_ep_same_addr(&old[k], &all[i]);
    if (n_all == 0)
        return 0;
    if (n_kept == 0)
        move_addresses(c, old, n_old, all, n_all);
    for (size_t k = 0; k < n_old && n_kept > 0; k++)
        n_all = add_address(all, n_all, &old[k]);
    portspray_aim_anew(plan, was, &now[n - 1]);
    /* What is predicted has its ports; what is drawn is drawn again, over all of them. */
    if (n_all < 2 || (c->n > 0 && !isnan(c->list[0].p)))
        return 0;
    c->n = 0;
    if (strcmp(plan->mode, "full") != 0) {
        plan->search.seed++;
        return peer_search_draw(plan, all, n_all);
    }
    int err = 0;
    for (size_t i = 0; i < n_all && err == 0; i++) {
        base_ep_set_port(&all[i], base_ep_port(&now[n - 1]));
        err = peer_candidates_add(c, &all[i], PEER_PATH_DIRECT, NAN);
    }
    return err;
}

/* What was silent for some round trips stays silent. */
#define SILENCE_RTTS   3
#define SILENCE_MIN_NS (150 * BASE_NS_PER_MS)

uint64_t portspray_silence_of(uint64_t rtt_ns)
{
    return SILENCE_RTTS * rtt_ns > SILENCE_MIN_NS ? SILENCE_RTTS * rtt_ns : SILENCE_MIN_NS;
}
