/*
 * bench/peer: the chassis that every technique runs in. A technique's program is one line: peer_main().
 * The contract with techniques is technique.h.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "bench/peer/technique.h"

/* The whole program around one technique; returns its exit status (enum base_exit). */
int peer_main(const struct peer_technique *technique, int argc, char **argv);

#endif
