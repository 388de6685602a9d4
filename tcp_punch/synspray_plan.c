/* What to open and what to probe: pure. */
#include "tcp_punch/synspray.h"

int synspray_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                  struct base_rng *rng, struct peer_plan *out)
{
    return peer_search_plan(a, b, options, rng, true, out);
}
