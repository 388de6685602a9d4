/* TCP against a NAT whose ports move: one side opens many holes, the other probes. */
#ifndef TCP_PUNCH_SYNSPRAY_H
#define TCP_PUNCH_SYNSPRAY_H

#include "bench/peer/technique.h"

extern const struct peer_technique synspray_technique;

/* The pure plan: peer_search_plan() with one descriptor for each hole and probe; in mode auto peer_auto_plan(). */
int synspray_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                  struct base_rng *rng, struct peer_plan *out);

#endif
