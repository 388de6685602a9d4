/* The program `simopen`. */
#include "bench/peer/peer.h"
#include "tcp_punch/simopen.h"

int main(int argc, char **argv)
{
    return peer_main(&simopen_technique, argc, argv);
}
