/*
 * Silent endpoints ignore SYNs, and the kernel tells nobody of those: a raw socket does. It is open only while somebody
 * leases such an endpoint, and a filter in the kernel leaves nothing of the other packets. Without CAP_NET_RAW there is
 * none, and the discovering peers hear that.
 */
#include <errno.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/rendezvous/internal.h"

#define TCP_FLAGS_AT 13
#define TCP_SYN      0x02
#define TCP_ACK      0x10
#define READ_BURST   64

struct sniffer {
    struct server *server;
    sa_family_t family;
    unsigned wanted;
    int fd;
    struct loop_op op;
};

static struct sniffer **place_of(struct server *server, sa_family_t family)
{
    return &server->sniffers[family == AF_INET6];
}

/* An IPv4 raw socket sees the IP header, an IPv6 one begins at TCP's. */
static int attach(int fd, sa_family_t family)
{
    struct sock_filter code[] = {
        family == AF_INET6 ? (struct sock_filter)BPF_STMT(BPF_LDX | BPF_IMM, 0)
                           : (struct sock_filter)BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, TCP_FLAGS_AT),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TCP_SYN | TCP_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TCP_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0xffff),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {.len = BASE_ARRAY_LEN(code), .filter = code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

/* IPv6: the destination's address is not in what we read; leases then go by port alone. */
static void read_packet(struct sniffer *s, const uint8_t *p, size_t len, union base_ep *from)
{
    size_t at = s->family == AF_INET6 ? 0 : (size_t)(p[0] & 15) * 4;
    union base_ep to = {.sa.sa_family = s->family};
    if (len < at + TCP_FLAGS_AT + 1 || (s->family == AF_INET && len < 20))
        return;
    if (s->family == AF_INET)
        memcpy(&to.v4.sin_addr, p + 16, 4);
    base_ep_set_port(&to, (uint16_t)(p[at + 2] << 8 | p[at + 3]));
    base_ep_set_port(from, (uint16_t)(p[at] << 8 | p[at + 1]));
    prober_syn(s->server, from, &to);
}

static void ready(struct loop_op *op, int res)
{
    struct sniffer *s = op->owner;
    uint8_t packet[128];
    (void)res; /* a cancelled one may be wanted again by now */
    if (s->server->stopping || !s->wanted) {
        *place_of(s->server, s->family) = NULL;
        close(s->fd);
        free(s);
        return;
    }
    for (unsigned i = 0; i < READ_BURST; i++) {
        union base_ep from = {0};
        socklen_t from_len = sizeof(from);
        ssize_t n = recvfrom(s->fd, packet, sizeof(packet), MSG_DONTWAIT, &from.sa, &from_len);
        if (n < 0)
            break;
        if (n > 0)
            read_packet(s, packet, (size_t)n, &from);
    }
    loop_poll(s->server->loop, op, s->fd, POLLIN);
}

bool sniffer_want(struct server *server, sa_family_t family)
{
    struct sniffer **place = place_of(server, family), *s = *place;
    if (s) {
        s->wanted++;
        return true;
    }
    int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return false;
    s = attach(fd, family) == 0 ? calloc(1, sizeof(*s)) : NULL;
    if (!s) {
        close(fd);
        return false;
    }
    *s = (struct sniffer){.server = server, .family = family, .wanted = 1, .fd = fd};
    *place = s;
    loop_op_init(&s->op, ready, s);
    loop_poll(server->loop, &s->op, fd, POLLIN);
    return true;
}

/* Its last completion frees it; until then it may be wanted again. */
void sniffer_unwant(struct server *server, sa_family_t family)
{
    struct sniffer *s = *place_of(server, family);
    if (s && --s->wanted == 0)
        loop_cancel(server->loop, &s->op);
}
