/* TCP simultaneous open. */
#ifndef TCP_PUNCH_SIMOPEN_H
#define TCP_PUNCH_SIMOPEN_H

#include "bench/peer/technique.h"

extern const struct peer_technique simopen_technique;

/* The pure plan: each side aims at the other's registered endpoint and its private ones. Mode auto: also at the
 * endpoints that are predicted where a side moves, all from the registered ports. */
int simopen_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                 struct base_rng *rng, struct peer_plan *out);

#endif
