/*
 * What a spray is measured against: perf_spray ADDR sends one datagram of a proof's size to each of the 65,535 ports of
 * ADDR, from one socket, by sendmmsg in batches of 64, and waits where the socket's buffer is full. Nothing else.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench/base/base.h"
#include "bench/wire/wire.h"

#define BATCH 64
#define PORTS 65535

static int send_all(int fd, union base_ep to)
{
    static uint8_t datagram[WIRE_PATH_LEN];
    struct iovec iov = {datagram, sizeof(datagram)};
    uint32_t port = 1;
    while (port <= PORTS) {
        union base_ep eps[BATCH];
        struct mmsghdr batch[BATCH];
        unsigned n = PORTS - port + 1 < BATCH ? PORTS - port + 1 : BATCH;
        memset(batch, 0, sizeof(batch));
        for (unsigned i = 0; i < n; i++) {
            eps[i] = to;
            base_ep_set_port(&eps[i], (uint16_t)(port + i));
            batch[i].msg_hdr = (struct msghdr){
                .msg_name = &eps[i], .msg_namelen = base_ep_len(&eps[i]), .msg_iov = &iov, .msg_iovlen = 1};
        }
        int sent = sendmmsg(fd, batch, n, MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != ENOBUFS)
            return -errno;
        struct pollfd writable = {fd, POLLOUT, 0};
        if (sent < 0 && poll(&writable, 1, 1) < 0)
            return -errno;
        port += sent > 0 ? (uint32_t)sent : 0;
    }
    return 0;
}

int main(int argc, char **argv)
{
    union base_ep to;
    if (argc != 2 || base_ep_parse_addr(argv[1], &to) < 0) {
        fprintf(stderr, "usage: perf_spray ADDR\n");
        return 1;
    }
    int fd = socket(to.sa.sa_family, SOCK_DGRAM, 0);
    uint64_t begin = base_now_ns();
    int err = fd < 0 ? -errno : send_all(fd, to);
    if (err < 0) {
        fprintf(stderr, "perf_spray: %s\n", strerror(-err));
        return 1;
    }
    printf("plain_ns %llu\n", (unsigned long long)(base_now_ns() - begin));
    return 0;
}
