/* The program `portspray`: the technique, and the relay as its last resort. */
#include "bench/baseline/baseline.h"
#include "bench/peer/peer.h"
#include "udp_punch/portspray.h"

int main(int argc, char **argv)
{
    struct peer_technique technique = portspray_technique;
    technique.last_resort = &relay_resort;
    return peer_main(&technique, argc, argv);
}
