/* UDP hole punching. */
#ifndef UDP_PUNCH_PORTSPRAY_H
#define UDP_PUNCH_PORTSPRAY_H

#include "bench/peer/technique.h"

extern const struct peer_technique portspray_technique;

/* The pure plan. Mode punch: each side aims at the other's registered endpoint and its private ones. */
int portspray_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                   struct base_rng *rng, struct peer_plan *out);

#endif
