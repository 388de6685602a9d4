/* --discover: what our own NAT does, learnt once before the session. A plan that knows how both NATs answer is better.
 */
#include <errno.h>
#include <string.h>

#include "bench/discover/discover.h"
#include "bench/peer/internal.h"

#define ROUND_NS (100 * BASE_NS_PER_MS)

static void learnt(struct discover *d, void *owner)
{
    (void)d;
    *(bool *)owner = true;
}

int peer_learn(struct peer *peer)
{
    const struct peer_config *c = &peer->config;
    struct discover_config config = {
        .server = c->server,
        .transport = c->technique->transport == PEER_TCP ? DISCOVER_TCP : DISCOVER_UDP,
        .key = c->file_key_len ? c->file_key : NULL,
        .key_len = c->file_key_len,
        .port_lo = c->port_lo,
        .port_hi = c->port_hi,
        .seed = c->seed,
    };
    struct discover *d;
    bool done = false, stopped = false;
    int err = discover_start(peer->loop, &config, learnt, &done, &d);
    if (err < 0)
        return err;
    while (!done && err == 0) {
        err = loop_run_once(peer->loop, ROUND_NS);
        if (peer->state == PEER_ENDING && !stopped) {
            stopped = true; /* a signal came */
            discover_stop(d);
        }
    }
    if (err < 0)
        return err; /* the ring is gone: nothing can be freed under it */
    const struct discover_result *r = discover_result(d);
    if (r->err == 0) {
        struct predict_behaviour b = r->behaviour;
        peer->behaviour = b;
        base_info("this NAT: %s, mapping %s, filtering %s, ports %s, unsolicited SYN %s", predict_nat_number(&b),
                  predict_value_name(PREDICT_MAPPING, b.mapping.value),
                  predict_value_name(PREDICT_FILTERING, b.filtering.value),
                  predict_value_name(PREDICT_PORTS, b.ports.value), predict_value_name(PREDICT_SYN, b.syn.value));
    } else if (!stopped) {
        base_warn("this NAT could not be discovered: %s; going on without", r->problem);
    }
    discover_free(d);
    return 0;
}
