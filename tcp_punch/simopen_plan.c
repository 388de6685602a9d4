/* Whom to connect to: pure. */
#include <string.h>

#include "tcp_punch/simopen.h"

int simopen_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                 struct base_rng *rng, struct peer_plan *out)
{
    static const struct peer_ways ways = {.punch = "plain", .search = "plain", .registered_only = true, .tcp = true};
    if (options && strcmp(peer_option_text(options, "mode"), "auto") == 0)
        return peer_auto_plan(a, b, options, rng, &ways, out);
    return peer_plan_registered(a, b, out);
}
