/*
 * What a hole costs with plain calls and no loop around them: the yardstick for synspray's own.
 *
 * Usage: perf_synspray ADDR N [LOCAL-PORT]
 * N sockets bound to one port and connecting to N ports of ADDR, kept; then one socket that connects N times. Prints
 * plain_held_us, plain_reused_us (each), held_kernel_bytes (of each kept socket, from the slab's growth; on a machine
 * that does nothing else), and what it costs to be told of answers: epoll_us (one more call for each socket).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/base/base.h"

#define FIRST_PORT 2000
#define MOST       60000

static int fds[MOST];

static uint64_t slab_bytes(void)
{
    char line[128];
    unsigned long long kb = 0;
    FILE *in = fopen("/proc/meminfo", "re");
    while (in && fgets(line, sizeof(line), in))
        if (sscanf(line, "Slab: %llu kB", &kb) == 1)
            break;
    if (in)
        fclose(in);
    return kb * 1024;
}

static int die(const char *what)
{
    fprintf(stderr, "perf_synspray: %s: %s\n", what, strerror(errno));
    return BASE_EXIT_USAGE;
}

static int open_socket(uint16_t port)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
        return -1;
    return fd;
}

static int start_connect(int fd, union base_ep *to, int i)
{
    base_ep_set_port(to, (uint16_t)(FIRST_PORT + i));
    return connect(fd, &to->sa, base_ep_len(to)) < 0 && errno != EINPROGRESS ? -1 : 0;
}

static double us_each(uint64_t from, int n)
{
    return (double)(base_now_ns() - from) / 1e3 / n;
}

static int hold(union base_ep *to, int n, uint16_t port)
{
    uint64_t slab = slab_bytes(), from = base_now_ns();
    for (int i = 0; i < n; i++) {
        fds[i] = open_socket(port);
        if (fds[i] < 0 || start_connect(fds[i], to, i) < 0)
            return die("a held socket");
    }
    printf("plain_held_us %.3f\n", us_each(from, n));
    printf("held_kernel_bytes %.0f\n", ((double)slab_bytes() - (double)slab) / n);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    from = base_now_ns();
    for (int i = 0; i < n; i++) {
        struct epoll_event event = {.events = EPOLLOUT};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) < 0)
            return die("epoll");
    }
    printf("epoll_us %.3f\n", us_each(from, n));
    for (int i = 0; i < n; i++)
        close(fds[i]);
    close(epoll);
    return 0;
}

static int reuse(union base_ep *to, int n, uint16_t port)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    int fd = open_socket(port);
    uint64_t from = base_now_ns();
    for (int i = 0; i < n; i++)
        if (fd < 0 || start_connect(fd, to, i) < 0 || connect(fd, &none, sizeof(none)) < 0)
            return die("a re-used socket");
    printf("plain_reused_us %.3f\n", us_each(from, n));
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    union base_ep to;
    uint64_t n = 0, port = 30000;
    if (argc < 3 || base_ep_parse_addr(argv[1], &to) < 0 || base_parse_u64(argv[2], 1, MOST, &n) < 0 ||
        (argc > 3 && base_parse_u64(argv[3], 1024, 65000, &port) < 0)) {
        fprintf(stderr, "usage: perf_synspray ADDR N [LOCAL-PORT]\n");
        return BASE_EXIT_USAGE;
    }
    if (base_raise_open_files() < n + 16) {
        fprintf(stderr, "perf_synspray: the open-file limit is too low for %d sockets\n", (int)n);
        return BASE_EXIT_USAGE;
    }
    int err = hold(&to, (int)n, (uint16_t)port);
    return err ? err : reuse(&to, (int)n, (uint16_t)(port + 1));
}
