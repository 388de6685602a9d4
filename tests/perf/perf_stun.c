/*
 * How many STUN Binding requests a second a server answers (RFC 8489, UDP), asked by one thread that keeps a window of
 * them in flight. Only well-formed success responses to our own transactions count.
 *
 * perf_stun ADDR:PORT [SECONDS]    prints "requests_per_second N"; exit 1 when nothing was answered
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/base/base.h"

#define REQUEST_LEN  20
#define RESPONSE_MAX 512
/* In flight: keeps the server busy, and fits the smallest default socket buffer (212,992 bytes at about 1 KB each). */
#define WINDOW 128
/* One call sends or takes this many: the client's cost must not be what is measured. */
#define BATCH 32
/* An answer that takes this long is lost. */
#define LOST_MS 20

static const uint8_t magic[4] = {0x21, 0x12, 0xa4, 0x42};

struct asker {
    int fd;
    uint64_t next, answered;
    unsigned in_flight;
    uint8_t out[BATCH][REQUEST_LEN], in[BATCH][RESPONSE_MAX];
};

static void request_fill(uint8_t out[REQUEST_LEN], uint64_t id)
{
    /* Binding request, no attributes, the magic cookie, and a counter as transaction id. */
    memset(out, 0, REQUEST_LEN);
    out[1] = 1;
    memcpy(out + 4, magic, sizeof(magic));
    memcpy(out + 8, &id, sizeof(id));
}

static bool is_answer(const struct asker *a, const uint8_t *in, size_t len)
{
    uint64_t id;
    if (len < REQUEST_LEN || in[0] != 1 || in[1] != 1 || memcmp(in + 4, magic, sizeof(magic)) != 0)
        return false;
    memcpy(&id, in + 8, sizeof(id));
    return id < a->next && (size_t)(in[2] << 8 | in[3]) + REQUEST_LEN == len;
}

static int send_some(struct asker *a)
{
    struct mmsghdr messages[BATCH];
    struct iovec iov[BATCH];
    memset(messages, 0, sizeof(messages));
    unsigned n = 0;
    for (; n < BATCH && a->in_flight + n < WINDOW; n++) {
        request_fill(a->out[n], a->next + n);
        iov[n] = (struct iovec){a->out[n], REQUEST_LEN};
        messages[n].msg_hdr.msg_iov = &iov[n];
        messages[n].msg_hdr.msg_iovlen = 1;
    }
    int sent = n ? sendmmsg(a->fd, messages, n, MSG_DONTWAIT) : 0;
    if (sent < 0)
        return errno == EAGAIN || errno == ENOBUFS ? 0 : -errno;
    a->next += (unsigned)sent;
    a->in_flight += (unsigned)sent;
    return 0;
}

/* Takes what is there; waits for it when the window is full. */
static int take_some(struct asker *a)
{
    struct mmsghdr messages[BATCH];
    struct iovec iov[BATCH];
    memset(messages, 0, sizeof(messages));
    for (unsigned i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec){a->in[i], RESPONSE_MAX};
        messages[i].msg_hdr.msg_iov = &iov[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    int got = recvmmsg(a->fd, messages, BATCH, MSG_DONTWAIT, NULL);
    if (got < 0 && errno != EAGAIN)
        return -errno;
    if (got < 0 && a->in_flight >= WINDOW) {
        struct pollfd p = {.fd = a->fd, .events = POLLIN};
        if (poll(&p, 1, LOST_MS) == 0)
            a->in_flight = 0;
    }
    for (int i = 0; i < got; i++) {
        a->answered += is_answer(a, a->in[i], messages[i].msg_len);
        a->in_flight -= a->in_flight > 0;
    }
    return 0;
}

static int ask(struct asker *a, const union base_ep *server, uint64_t duration_ns, double *per_second)
{
    int err = 0;
    a->fd = socket(server->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (a->fd < 0 || connect(a->fd, &server->sa, base_ep_len(server)) < 0)
        err = -errno;
    uint64_t begin = base_now_ns(), now = begin;
    for (; err == 0 && now - begin < duration_ns; now = base_now_ns()) {
        err = send_some(a);
        if (err == 0)
            err = take_some(a);
    }
    if (a->fd >= 0)
        close(a->fd);
    *per_second = now > begin ? (double)a->answered * 1e9 / (double)(now - begin) : 0;
    return err;
}

int main(int argc, char **argv)
{
    static struct asker asker;
    union base_ep server;
    uint64_t duration_ns = BASE_NS_PER_S;
    base_log_init("perf_stun", BASE_LOG_INFO);
    if (argc < 2 || argc > 3 || base_ep_parse(argv[1], &server) < 0 ||
        (argc == 3 && base_parse_duration(argv[2], &duration_ns) < 0)) {
        base_error("usage: perf_stun ADDR:PORT [DURATION], like 127.0.0.1:3478 2s");
        return BASE_EXIT_USAGE;
    }
    double per_second;
    int err = ask(&asker, &server, duration_ns, &per_second);
    if (err < 0 || asker.answered == 0) {
        base_error("%s: %s", argv[1], err < 0 ? strerror(-err) : "no answer");
        return BASE_EXIT_USAGE;
    }
    printf("requests_per_second %.0f\n", per_second);
    return BASE_EXIT_OK;
}
