/* What to open and what to probe: pure. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tcp_punch/synspray.h"

/* A property that is known so well is relied on. */
#define SURE_ENOUGH 0.9
/* Beyond the round trip: what hosts take to answer. */
#define GAP_MORE_NS (10 * BASE_NS_PER_MS)
/* Of the deadline, so much is for the last hole's answer and the proofs over it. */
#define END_RTTS 4
/* Descriptors that a peer needs beside its probes. */
#define SPARE_FILES 64

static bool only_the_last(const struct peer_facts *f)
{
    return f->behaviour.filtering.value == PREDICT_FILTERING_LAST && f->behaviour.filtering.confidence >= SURE_ENOUGH;
}

static bool is_auto(const struct peer_options *options, const char *name)
{
    return strcmp(peer_option_text(options, name), "auto") == 0;
}

/* Nobody has asked for something else. */
static bool is_free(const struct peer_options *options)
{
    int lo, hi;
    return strcmp(peer_option_text(options, "mode"), "hold") == 0 && is_auto(options, "holes") &&
           is_auto(options, "probes") && is_auto(options, "order") && is_auto(options, "ttl") &&
           !peer_option_span(options, "window", &lo, &hi);
}

/*
 * An opener's NAT that lets only the last destination answer has one hole at a time, the last: of many made at once all
 * others are gone before a probe comes. But a SYN that goes all the way and finds a probe's mapping at the prober's NAT
 * is answered within a round trip. So all probes first, as many as the caps allow; then one hole after the other, each
 * for as long as an answer takes.
 */
static void one_at_a_time(const struct peer_facts *prober, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    uint64_t gap = out->rtt_ns + GAP_MORE_NS;
    bool random = base_ep_is_set(&s->random_at) && s->random_hi > 0;
    uint64_t files = prober->open_files > SPARE_FILES ? prober->open_files - SPARE_FILES : s->entries;
    uint32_t most = files < s->entries ? (uint32_t)files : s->entries;
    uint32_t probes = random ? most : s->probes;
    uint64_t lead = (s->rate ? probes * BASE_NS_PER_S / s->rate : 0) + END_RTTS * out->rtt_ns;
    uint64_t holes = out->deadline_ns > lead ? (out->deadline_ns - lead) / gap : 1;
    s->order = PEER_PROBES_FIRST;
    s->ttl = PEER_TTL_OFF;
    s->gap_ns = gap;
    s->probes = probes;
    if (random) {
        s->holes = holes < UINT16_MAX ? (uint32_t)holes : UINT16_MAX;
        out->predicted_p = predict_p_random((uint32_t)(s->random_hi - s->random_lo) + 1, s->holes, s->probes);
    } else if (holes < s->holes) {
        s->holes = (uint32_t)holes;
        out->predicted_p = NAN;
    }
}

/*
 * Once more as if holes could stand together: predict, which knows that they cannot, then lets each go from a port of
 * its own, whose mapping nobody has seen.
 */
static int plan_again(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                      struct base_rng *rng, struct peer_plan *out)
{
    struct peer_facts sides[2] = {*a, *b};
    sides[0].behaviour.filtering = sides[1].behaviour.filtering = (struct predict_belief){0, 0};
    free(out->for_a.list);
    free(out->for_b.list);
    out->for_a = out->for_b = (struct peer_candidates){NULL, 0};
    return peer_search_plan(&sides[0], &sides[1], options, rng, true, out);
}

int synspray_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                  struct base_rng *rng, struct peer_plan *out)
{
    static const struct peer_ways ways = {.punch = "hold", .search = "hold", .tcp = true};
    const struct peer_search *s = &out->search;
    if (strcmp(peer_option_text(options, "mode"), "auto") == 0)
        return peer_auto_plan(a, b, options, rng, &ways, out);
    int err = peer_search_plan(a, b, options, rng, true, out);
    const struct peer_facts *opener = s->opener == WIRE_ROLE_A ? a : b;
    if (err < 0 || out->infeasible || !s->on || s->known || !is_free(options) || !only_the_last(opener))
        return err;
    if (s->meet && peer_facts_stable(opener))
        err = plan_again(a, b, options, rng, out);
    opener = s->opener == WIRE_ROLE_A ? a : b;
    if (err == 0 && !s->meet && s->attempts == 1 && !out->infeasible && only_the_last(opener))
        one_at_a_time(opener == a ? b : a, out);
    return err;
}
