/* The program `mapped`. */
#include "bench/baseline/baseline.h"
#include "bench/peer/peer.h"

int main(int argc, char **argv)
{
    return peer_main(&mapped_technique, argc, argv);
}
