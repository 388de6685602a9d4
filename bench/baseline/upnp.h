/* bench/baseline, for portmap.c: one port, mapped by UPnP-IGD. */
#ifndef BENCH_BASELINE_UPNP_H
#define BENCH_BASELINE_UPNP_H

#include "bench/baseline/baseline.h"

struct upnp;

/* As baseline_portmap_open(), with the whole patience; MAPPED and FAILED come at most once each. */
int upnp_open(struct loop *loop, const struct baseline_portmap_config *config, struct upnp **out);
/* As baseline_portmap_close(). */
void upnp_close(struct upnp *u);

/* Of what a request came back with: 0, an error code of the gateway (WANIPConnection:2, 2.5), or one of libminiupnpc's
 * own, which are negative. Pure. */
enum baseline_portmap_fate upnp_fate_of(int code);

#endif
