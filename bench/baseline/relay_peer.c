/* The side that is the allocation's peer: plain packets to and from the relayed endpoint. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/baseline/relay.h"

/* The first datagram may be lost, and the server may close a connection that comes too early. */
#define AGAIN_MIN_NS (50 * BASE_NS_PER_MS)
#define BACKLOG      16

static void set_timer(struct relay *r)
{
    uint64_t wait = 2 * peer_trial_plan(r->trial)->rtt_ns;
    if (!r->timer.pending && !r->stopping)
        loop_timer(peer_trial_loop(r->trial), &r->timer, base_now_ns() + (wait > AGAIN_MIN_NS ? wait : AGAIN_MIN_NS));
}

/* tcp-connect: the server comes to us. */
static bool listens(const struct relay *r)
{
    return r->mode.opener == RELAY_CONNECTS;
}

static void end_fd(struct relay *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

int relay_peer_open(struct relay *r)
{
    if (!r->mode.tcp || !listens(r))
        return 0;
    r->fd = peer_tcp_listener(r->trial, BACKLOG);
    if (r->fd < 0)
        return r->fd;
    loop_accept(peer_trial_loop(r->trial), &r->tcp_op, r->fd);
    return 0;
}

static void tcp_connect(struct relay *r)
{
    if (r->tcp_op.pending || r->handed_over || r->stopping)
        return;
    r->fd = socket(r->theirs.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (r->fd < 0) {
        set_timer(r);
        return;
    }
    peer_trial_count(r->trial, "packets", 1);
    loop_connect(peer_trial_loop(r->trial), &r->tcp_op, r->fd, &r->theirs);
}

void relay_peer_go(struct relay *r)
{
    if (!base_ep_is_set(&r->theirs) || peer_trial_over(r->trial))
        return;
    if (!r->mode.tcp) {
        peer_udp_probe(r->trial, &r->theirs);
        set_timer(r);
    } else if (!listens(r)) {
        tcp_connect(r);
    }
}

void relay_peer_again(struct relay *r)
{
    r->handed_over = false;
    if (base_ep_is_set(&r->theirs))
        set_timer(r);
}

void relay_timer_done(struct loop_op *op, int res)
{
    struct relay *r = op->owner;
    if (res == 0 && !r->stopping)
        relay_peer_go(r);
    relay_maybe_closed(r);
}

void relay_tcp_done(struct loop_op *op, int res)
{
    struct relay *r = op->owner;
    struct loop *loop = peer_trial_loop(r->trial);
    union base_ep remote = {0};
    socklen_t len = sizeof(remote);
    if (listens(r)) {
        if (res >= 0 && (r->stopping || getpeername(res, &remote.sa, &len) < 0))
            close(res);
        else if (res >= 0)
            peer_tcp_offer(r->trial, res, &remote);
        if (!r->stopping)
            loop_accept(loop, op, r->fd);
    } else if (res == 0 && !r->stopping) {
        int fd = r->fd;
        r->fd = -1;
        r->handed_over = true;
        peer_tcp_offer(r->trial, fd, &r->theirs);
    } else {
        end_fd(r);
        if (!r->stopping)
            peer_trial_error(r->trial, res == -ECONNREFUSED ? "refused" : "failed");
        set_timer(r);
    }
    relay_maybe_closed(r);
}

void relay_peer_stop(struct relay *r)
{
    loop_cancel(peer_trial_loop(r->trial), &r->timer);
    loop_cancel(peer_trial_loop(r->trial), &r->tcp_op);
    if (listens(r) || !r->tcp_op.pending)
        end_fd(r);
}
