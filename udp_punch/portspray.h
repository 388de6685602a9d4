/* UDP hole punching. */
#ifndef UDP_PUNCH_PORTSPRAY_H
#define UDP_PUNCH_PORTSPRAY_H

#include "bench/peer/technique.h"

extern const struct peer_technique portspray_technique;

/*
 * The pure plan.
 *   punch   each side aims at the other's registered endpoint and its private ones
 *   window  peer_search_plan()'s candidates, or the fixed --window
 *   random  K ports drawn from 1024-65535 on the addresses that the prober was seen with, none twice
 *   full    all 65,535 ports of the addresses that the prober was seen with, from the predicted one on
 *   auto    peer_auto_plan(): punch, or predicted and drawn ports together
 * Where both mappings stay the same each is punch. 0; -EMFILE or -E2BIG for a budget over a limit (out->why says
 * which), or -errno.
 */
int portspray_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                   struct base_rng *rng, struct peer_plan *out);

#endif
