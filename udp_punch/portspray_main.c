/* The program `portspray`. */
#include "bench/peer/peer.h"
#include "udp_punch/portspray.h"

int main(int argc, char **argv)
{
    return peer_main(&portspray_technique, argc, argv);
}
