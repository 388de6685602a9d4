/* TCP: local ports that several sockets share, and connections with a STUN question on them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/discover/internal.h"

#define MAX_DRAWS 256
/* One lost SYN (1 s) and its answer. */
#define LINK_LIMIT_NS (3 * BASE_NS_PER_S)

void close_reset(int fd)
{
    struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
}

/* ---- slots ----------------------------------------------------------------------------------- */

static void set_reuse(int fd)
{
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
}

static void slot_stop(struct item *item)
{
    struct slot *slot = (struct slot *)item;
    slot_drop(slot);
    if (slot->listener >= 0)
        close(slot->listener);
    if (slot->fd >= 0)
        close(slot->fd);
    slot->fd = slot->listener = -1;
}

void slot_close(struct slot *slot)
{
    slot_stop(&slot->item);
}

static bool slot_pending(const struct item *item)
{
    (void)item;
    return false;
}

/* Binding without SO_REUSEADDR finds the ports that others use, TIME_WAIT included; setting it afterwards lets our own
 * sockets join. */
static int reserve(union base_ep *local)
{
    int fd = socket(local->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, &local->sa, base_ep_len(local)) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    set_reuse(fd);
    return fd;
}

struct slot *slot_open(struct discover *d)
{
    struct slot *slot = calloc(1, sizeof(*slot));
    if (!slot)
        return NULL;
    slot->d = d;
    slot->fd = slot->listener = slot->held = -1;
    for (int i = 0; i < MAX_DRAWS && slot->fd < 0; i++) {
        slot->local = d->local;
        base_ep_set_port(&slot->local, (uint16_t)(d->config.port_lo +
                                                  base_rng_below(&d->rng, 1U + d->config.port_hi - d->config.port_lo)));
        slot->fd = reserve(&slot->local);
    }
    if (slot->fd < 0) {
        free(slot);
        return NULL;
    }
    slot->item = (struct item){.stop = slot_stop, .pending = slot_pending};
    item_add(d, &slot->item);
    return slot;
}

int slot_socket(const struct slot *slot)
{
    int fd = socket(slot->local.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    set_reuse(fd);
    if (bind(fd, &slot->local.sa, base_ep_len(&slot->local)) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

int slot_listen(struct slot *slot)
{
    int fd = slot_socket(slot);
    if (fd < 0)
        return fd;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || listen(fd, 8) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    slot->listener = fd;
    return 0;
}

int slot_syn(struct slot *slot, const union base_ep *to)
{
    int fd = slot_socket(slot);
    if (fd < 0)
        return fd;
    slot_drop(slot);
    slot->held = fd;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    if (connect(fd, &to->sa, base_ep_len(to)) < 0 && errno != EINPROGRESS)
        return -errno;
    return 0;
}

void slot_drop(struct slot *slot)
{
    if (slot->held >= 0)
        close_reset(slot->held);
    slot->held = -1;
}

/* ---- half-open connections ------------------------------------------------------------------- */

#define STATE_SYN_RECV 3

/* "0100007F:1F90": the address as 32-bit words in host order, hexadecimal. */
static bool read_hex_ep(const char *text, sa_family_t family, union base_ep *out)
{
    uint8_t addr[16];
    size_t words = family == AF_INET6 ? 4 : 1;
    unsigned word, port;
    for (size_t i = 0; i < words; i++, text += 8) {
        if (sscanf(text, "%8x", &word) != 1)
            return false;
        uint32_t w = word;
        memcpy(addr + 4 * i, &w, 4);
    }
    if (sscanf(text, ":%4x", &port) != 1)
        return false;
    *out = base_ep_from_bytes(family, addr, (uint16_t)port);
    return true;
}

/* The kernel lists half-open connections of a listener as state 3; nothing else tells of a SYN whose handshake did not
 * end. */
bool slot_half_open(const struct slot *slot, union base_ep *from)
{
    char line[512], local[64], remote[64];
    unsigned state;
    sa_family_t family = slot->local.sa.sa_family;
    FILE *file = fopen(family == AF_INET6 ? "/proc/net/tcp6" : "/proc/net/tcp", "re");
    bool found = false;
    while (file && !found && fgets(line, sizeof(line), file)) {
        union base_ep ep;
        if (sscanf(line, " %*[0-9]: %63s %63s %x", local, remote, &state) == 3 && state == STATE_SYN_RECV &&
            read_hex_ep(local, family, &ep) && base_ep_port(&ep) == base_ep_port(&slot->local))
            found = read_hex_ep(remote, family, from);
    }
    if (file)
        fclose(file);
    return found;
}

/* ---- links ----------------------------------------------------------------------------------- */

static void link_item_stop(struct item *item)
{
    link_close((struct link *)item);
}

static bool link_pending(const struct item *item)
{
    const struct link *l = (const struct link *)item;
    return loop_op_pending(&l->op) || loop_op_pending(&l->timer);
}

void link_close(struct link *l)
{
    loop_cancel(l->d->loop, &l->op);
    loop_cancel(l->d->loop, &l->timer);
    if (l->fd >= 0)
        close_reset(l->fd);
    l->fd = -1;
}

static void link_end(struct link *l, int err, enum discover_verdict verdict)
{
    if (l->done)
        return;
    l->done = true;
    l->err = err;
    l->verdict = verdict;
    l->d->result.bad[verdict]++;
    loop_cancel(l->d->loop, &l->timer);
    if (verdict != DISCOVER_ANSWER)
        link_close(l);
    test_done(l->test);
}

static void link_receive(struct link *l)
{
    l->step = LINK_RECEIVE;
    loop_recv(l->d->loop, &l->op, l->fd, l->rx + l->rx_len, sizeof(l->rx) - l->rx_len);
}

/* RFC 8489, 6.2.2: over a stream the answer may come in pieces. */
static void link_received(struct link *l, int res)
{
    struct discover *d = l->d;
    if (res <= 0) {
        link_end(l, res < 0 ? res : -ECONNRESET, DISCOVER_SILENCE);
        return;
    }
    l->rx_len += (size_t)res;
    int len = wire_stun_frame_len(l->rx, l->rx_len);
    if (len == -EAGAIN || (len > 0 && (size_t)len > l->rx_len && l->rx_len < sizeof(l->rx))) {
        link_receive(l);
        return;
    }
    if (len < 0 || (size_t)len > l->rx_len) {
        link_end(l, -EPROTO, DISCOVER_NOT_STUN);
        return;
    }
    l->answered_ns = base_now_ns();
    enum discover_verdict verdict =
        discover_read_answer(l->rx, (size_t)len, l->request.txid, d->local.sa.sa_family, &l->answer);
    if (verdict == DISCOVER_ANSWER)
        sample_add(d, &l->slot->local, &l->to, &l->answer.mapped, l->answered_ns);
    link_end(l, verdict == DISCOVER_ANSWER ? 0 : -EPROTO, verdict);
}

static void link_step(struct loop_op *op, int res)
{
    struct link *l = op->owner;
    if (discover_over(l->d) || l->done || l->fd < 0)
        return;
    if (l->step == LINK_RECEIVE) {
        link_received(l, res);
        return;
    }
    if (res == 0) {
        l->connected = true;
        /* A few bytes into an empty buffer. */
        ssize_t n = send(l->fd, l->request.bytes, l->request.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        res = n == (ssize_t)l->request.len ? 0 : n < 0 ? -errno : -EIO;
    }
    if (res < 0)
        link_end(l, res, DISCOVER_SILENCE);
    else
        link_receive(l);
}

static void link_late(struct loop_op *op, int res)
{
    struct link *l = op->owner;
    if (!discover_over(l->d) && res == 0)
        link_end(l, -ETIMEDOUT, DISCOVER_SILENCE);
}

struct link *link_start(struct test *t, struct slot *slot, const union base_ep *to, uint16_t delay_ms,
                        uint64_t limit_ns)
{
    struct request_options options = {.delay_ms = delay_ms};
    int fd = slot && base_ep_is_set(to) ? slot_socket(slot) : -EINVAL;
    struct link *l = fd >= 0 ? calloc(1, sizeof(*l)) : NULL;
    if (!l || request_make(&l->request, &options) < 0) {
        if (fd >= 0)
            close(fd);
        free(l);
        return NULL;
    }
    struct discover *d = slot->d;
    l->item = (struct item){.stop = link_item_stop, .pending = link_pending};
    l->d = d;
    l->test = t;
    l->slot = slot;
    l->to = *to;
    l->fd = fd;
    l->began_ns = base_now_ns();
    loop_op_init(&l->op, link_step, l);
    loop_op_init(&l->timer, link_late, l);
    item_add(d, &l->item);
    test_wait(t);
    loop_connect(d->loop, &l->op, fd, &l->to);
    loop_timer(d->loop, &l->timer, l->began_ns + (limit_ns ? limit_ns : LINK_LIMIT_NS));
    return l;
}
