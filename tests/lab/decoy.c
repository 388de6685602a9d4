/*
 * A host that answers whoever comes: decoy ADDR LO HI takes TCP connections and datagrams on all ports from LO to HI of
 * ADDR, and gives back what it gets, as a peer that does not know the key might. Until it is killed.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/base/base.h"

#define MOST 8192

static struct pollfd fds[MOST];
static char kinds[MOST]; /* 'l'istening, 'd'atagrams, 'c'onnection */
static size_t n;

static int add(int fd, char kind)
{
    if (fd < 0 || n == MOST) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    fds[n] = (struct pollfd){.fd = fd, .events = POLLIN};
    kinds[n++] = kind;
    return 0;
}

static int open_port(union base_ep at, uint16_t port)
{
    int one = 1;
    base_ep_set_port(&at, port);
    int tcp = socket(at.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int udp = socket(at.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (tcp < 0 || udp < 0 || setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(tcp, &at.sa, base_ep_len(&at)) < 0 || listen(tcp, 64) < 0 || bind(udp, &at.sa, base_ep_len(&at)) < 0)
        return -1;
    return add(tcp, 'l') < 0 || add(udp, 'd') < 0 ? -1 : 0;
}

static void echo_datagrams(int fd)
{
    union base_ep from;
    char buf[2048];
    for (;;) {
        socklen_t len = sizeof(from);
        ssize_t got = recvfrom(fd, buf, sizeof(buf), 0, &from.sa, &len);
        if (got < 0)
            return;
        (void)!sendto(fd, buf, (size_t)got, 0, &from.sa, len);
    }
}

/* False: it is over. */
static bool echo_stream(int fd)
{
    char buf[2048];
    ssize_t got = recv(fd, buf, sizeof(buf), 0);
    if (got > 0)
        (void)!send(fd, buf, (size_t)got, MSG_NOSIGNAL);
    return got > 0 || (got < 0 && errno == EAGAIN);
}

static void serve(size_t i)
{
    if (kinds[i] == 'd') {
        echo_datagrams(fds[i].fd);
    } else if (kinds[i] == 'l') {
        add(accept4(fds[i].fd, NULL, NULL, SOCK_NONBLOCK), 'c');
    } else if (!echo_stream(fds[i].fd)) {
        close(fds[i].fd);
        n--;
        fds[i] = fds[n];
        kinds[i] = kinds[n];
    }
}

int main(int argc, char **argv)
{
    union base_ep at;
    uint64_t lo, hi;
    if (argc != 4 || base_ep_parse_addr(argv[1], &at) < 0 || base_parse_u64(argv[2], 1, 65535, &lo) < 0 ||
        base_parse_u64(argv[3], lo, 65535, &hi) < 0) {
        fprintf(stderr, "usage: decoy ADDR LO HI\n");
        return 1;
    }
    for (uint64_t port = lo; port <= hi; port++)
        if (open_port(at, (uint16_t)port) < 0) {
            perror("decoy: port");
            return 1;
        }
    puts("ready");
    fflush(stdout);
    while (poll(fds, n, -1) >= 0)
        for (size_t i = n; i-- > 0;)
            if (fds[i].revents)
                serve(i);
    return 1;
}
