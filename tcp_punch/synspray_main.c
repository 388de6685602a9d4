/* The program `synspray`: the technique, and the relay as its last resort. */
#include "bench/baseline/baseline.h"
#include "bench/peer/peer.h"
#include "tcp_punch/synspray.h"

int main(int argc, char **argv)
{
    struct peer_technique technique = synspray_technique;
    technique.last_resort = &relay_resort;
    return peer_main(&technique, argc, argv);
}
