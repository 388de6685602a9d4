/* The program `synspray`. */
#include "bench/peer/peer.h"
#include "tcp_punch/synspray.h"

int main(int argc, char **argv)
{
    return peer_main(&synspray_technique, argc, argv);
}
