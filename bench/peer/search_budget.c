/* How large a random search is, and over which addresses: what the plans of all techniques share. Pure. */
#include <math.h>

#include "bench/peer/internal.h"

/*
 * The mappings decide the plan's probability; lost packets and holes that came too late take something off it. So the
 * budget aims at a quarter of the failures that the target allows: what is reached then lies above the target, not
 * around it.
 */
#define FAILURE_SHARE 0.25

double peer_search_aim(double target)
{
    return 1 - (1 - target) * FAILURE_SHARE;
}

uint32_t peer_search_alike(uint32_t ports, double aim, uint32_t most)
{
    uint32_t lo = 1, hi = ports / 2 < most ? ports / 2 : most;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (predict_p_random(ports, mid, mid) >= aim)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

size_t peer_facts_addresses(const struct peer_facts *f, union base_ep out[PEER_MAX_ADDRESSES])
{
    size_t n = 1;
    out[0] = peer_facts_last(f)->mapped;
    for (size_t i = 0; i < f->n_samples && n < PEER_MAX_ADDRESSES; i++) {
        size_t k = 0;
        while (k < n && !base_ep_same_addr(&out[k], &f->samples[i].mapped))
            k++;
        if (k == n)
            out[n++] = f->samples[i].mapped;
    }
    return n;
}

double peer_facts_seen_share(const struct peer_facts *f)
{
    union base_ep at[PEER_MAX_ADDRESSES];
    size_t once = 0, n_at = peer_facts_addresses(f, at);
    for (size_t i = 0; i < f->n_samples; i++) {
        size_t same = 0;
        for (size_t k = 0; k < f->n_samples; k++)
            same += base_ep_same_addr(&f->samples[i].mapped, &f->samples[k].mapped);
        once += same == 1;
    }
    if (n_at == 1 || once == 0)
        return 1;
    double missed = (double)once / (double)f->n_samples, least = 1.0 / (double)(n_at + 1);
    return 1 - fmin(0.5, fmax(missed, least));
}

double peer_search_drawn_p(uint32_t ports, double seen, uint64_t holes, uint64_t probes)
{
    uint64_t hit = (uint64_t)((double)probes * seen);
    return predict_p_random(ports, (uint32_t)(holes < ports ? holes : ports), (uint32_t)(hit < ports ? hit : ports));
}

int peer_search_draw(struct peer_plan *out, const union base_ep *at, size_t n_at)
{
    struct peer_search *s = &out->search;
    struct base_perm perm;
    base_perm_init(&perm, PEER_RANDOM_PORTS * n_at, s->seed);
    for (uint32_t i = 0; i < s->holes; i++) {
        uint64_t drawn = base_perm_at(&perm, i);
        union base_ep ep = at[drawn % n_at];
        base_ep_set_port(&ep, (uint16_t)(PEER_RANDOM_LO + drawn / n_at));
        int err = peer_candidates_append(peer_plan_list(out, s->opener), &ep, PEER_PATH_DIRECT, NAN);
        if (err < 0)
            return err;
    }
    return 0;
}
