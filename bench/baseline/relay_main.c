/* The program `relay`. */
#include "bench/baseline/baseline.h"
#include "bench/peer/peer.h"

int main(int argc, char **argv)
{
    return peer_main(&relay_technique, argc, argv);
}
