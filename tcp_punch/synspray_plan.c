/* What to open and what to probe: pure. */
#include <string.h>

#include "tcp_punch/synspray.h"

int synspray_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                  struct base_rng *rng, struct peer_plan *out)
{
    static const struct peer_ways ways = {.punch = "hold", .search = "hold", .tcp = true};
    if (strcmp(peer_option_text(options, "mode"), "auto") == 0)
        return peer_auto_plan(a, b, options, rng, &ways, out);
    return peer_search_plan(a, b, options, rng, true, out);
}
