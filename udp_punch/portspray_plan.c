/* Whom to send to: pure. */
#include "udp_punch/portspray.h"

int portspray_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                   struct base_rng *rng, struct peer_plan *out)
{
    (void)options;
    (void)rng;
    return peer_plan_registered(a, b, out);
}
