/*
 * A stranger: flood ADDR:PORT N SEED sends N datagrams of garbage there: noise, bent path messages, STUN answers that
 * nobody asked for. From port 3479, in batches with pauses: about 50,000 a second.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench/base/base.h"
#include "bench/wire/wire.h"

#define BATCH 64

static size_t garbage(struct base_rng *rng, uint8_t buf[512])
{
    size_t len = 1 + base_rng_below(rng, 511);
    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t)base_rng_u64(rng);
    switch (base_rng_below(rng, 3)) {
    case 0:
        buf[0] = WIRE_PATH_MAGIC;
        if (len > 8)
            memset(buf + 4, 0, 4); /* the first trial's number */
        break;
    case 1:
        buf[0] = 1;
        break;
    default:
        break;
    }
    return len;
}

int main(int argc, char **argv)
{
    union base_ep to, from = {0};
    uint64_t n, seed, sent = 0;
    struct base_rng rng;
    if (argc != 4 || base_ep_parse(argv[1], &to) < 0 || base_parse_u64(argv[2], 1, 10000000, &n) < 0 ||
        base_parse_u64(argv[3], 0, UINT64_MAX, &seed) < 0) {
        fprintf(stderr, "usage: flood ADDR:PORT N SEED\n");
        return 1;
    }
    base_rng_seed(&rng, seed);
    from.sa.sa_family = to.sa.sa_family;
    base_ep_set_port(&from, 3479);
    int fd = socket(to.sa.sa_family, SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, &from.sa, base_ep_len(&from)) < 0) {
        perror("flood: socket");
        return 1;
    }
    for (uint64_t i = 0; i < n; i++) {
        uint8_t buf[512];
        size_t len = garbage(&rng, buf);
        sent += sendto(fd, buf, len, 0, &to.sa, base_ep_len(&to)) == (ssize_t)len;
        if (i % BATCH == BATCH - 1)
            nanosleep(&(struct timespec){.tv_nsec = 1200000}, NULL);
    }
    printf("%llu\n", (unsigned long long)sent);
    return sent == n ? 0 : 1;
}
