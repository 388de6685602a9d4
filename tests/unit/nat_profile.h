/*
 * A plain profile for the tests of the emulator's keys, to be changed in the key that a test is about.
 */
#ifndef TESTS_UNIT_NAT_PROFILE_H
#define TESTS_UNIT_NAT_PROFILE_H

#include "tests/unit/nat_packets.h"

static inline struct lab_profile base_profile(void)
{
    return (struct lab_profile){.backend = LAB_BACKEND_EMULATED,
                                .mapping = LAB_MAP_EI,
                                .filtering = LAB_FILTER_APD,
                                .ports = LAB_PORTS_RANDOM,
                                .unsolicited = LAB_UNSOLICITED_DROP,
                                .window = LAB_WINDOW_STRICT,
                                .refresh = LAB_REFRESH_BOTH,
                                .rst = LAB_RST_CLOSES,
                                .udp_new_s = 30,
                                .udp_stream_s = 120};
}

/* A datagram of an inside socket of its own: its external port, or 0 where it gets none. */
static inline unsigned nth_port(struct world *w, unsigned n)
{
    char src[32];
    snprintf(src, sizeof(src), "10.0.0.2:%u", 2000 + n);
    struct pkt p = udp(src, S1);
    if (give(w, OUT, &p) != LAB_NAT_FORWARD)
        return 0;
    return src_port(&p);
}

#endif
