/*
 * One TCP connection through the emulated NAT, for its tests: between A inside and S1 outside, whose packets are given
 * by flags and numbers. The inside begins at 1000, the outside at 5000.
 */
#ifndef TESTS_UNIT_NAT_TCP_H
#define TESTS_UNIT_NAT_TCP_H

#include "tests/unit/nat_packets.h"

#define X EXT ":5000" /* A, with its port preserved */

/* A strict Linux router. */
static inline struct lab_profile strict(void)
{
    return (struct lab_profile){.backend = LAB_BACKEND_EMULATED,
                                .mapping = LAB_MAP_EI,
                                .filtering = LAB_FILTER_APD,
                                .ports = LAB_PORTS_PRESERVE,
                                .unsolicited = LAB_UNSOLICITED_DROP,
                                .window = LAB_WINDOW_STRICT,
                                .refresh = LAB_REFRESH_BOTH,
                                .rst = LAB_RST_IN_WINDOW,
                                .tcp_syn_sent_s = 120,
                                .tcp_established_s = 7440,
                                .tcp_closing_s = 60};
}

static inline bool tcp_out(struct world *w, unsigned flags, uint32_t seq, uint32_t ack, size_t len)
{
    struct pkt p = tcp_data(A, S1, flags, seq, ack, len);
    return give(w, OUT, &p) == LAB_NAT_FORWARD;
}

static inline bool tcp_in(struct world *w, unsigned flags, uint32_t seq, uint32_t ack, size_t len)
{
    struct pkt p = tcp_data(S1, X, flags, seq, ack, len);
    return give(w, IN, &p) == LAB_NAT_FORWARD;
}

/* Inside 1000, outside 5000. */
static inline void open_connection(struct world *w)
{
    assert_true(tcp_out(w, SYN, 1000, 0, 0));
    assert_true(tcp_in(w, SYN | ACK, 5000, 1001, 0));
    assert_true(tcp_out(w, ACK, 1001, 5001, 0));
}

#endif
