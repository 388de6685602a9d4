/*
 * TCP simultaneous open (RFC 9293, 3.5; Ford, Srisuresh, Kegel 2005, section 4). Both sides connect from the port that
 * S saw and listen on it. A SYN that meets a SYN makes a connection on both; one that comes before its counterpart has
 * left finds the listener, where no NAT drops it.
 */
#include "tcp_punch/simopen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The plan of a plain punch has one public and at most PEER_MAX_PRIVATE private endpoints, one that predicts some
 * dozens of public ones. */
#define MAX_ATTEMPTS 64
/* Connections from strangers may come too; the chassis bounds how many it takes. */
#define BACKLOG 16
/* No SYN waits for the kernel's retransmission after 1 s: a lost one shows as silence over some round trips. */
#define SILENCE_RTTS   3
#define SILENCE_MIN_NS (150 * BASE_NS_PER_MS)
/* The port is taken for a moment by a connection that just ended: looked at again this soon. */
#define BUSY_NS (10 * BASE_NS_PER_MS)

struct simopen;

/* One endpoint, tried until something better has come. */
struct attempt {
    struct simopen *owner;
    union base_ep to;
    int fd; /* -1 = none under way */
    struct loop_op connect_op, timer;
    bool handed_over; /* the chassis has its connection: not tried again unless it is lost */
};

/* One for each family that the trial has. */
struct listener {
    struct simopen *owner;
    int fd;
    struct loop_op op;
};
static const sa_family_t families[] = {AF_INET, AF_INET6};
#define FAMILIES BASE_ARRAY_LEN(families)

struct simopen {
    struct peer_trial *trial;
    struct listener listeners[FAMILIES];
    struct attempt attempts[MAX_ATTEMPTS];
    size_t n;
    bool stopping; /* nothing new is started */
    bool closing;  /* close() was called */
    bool closed;
};

static void try_connect(struct attempt *a);

static void maybe_closed(struct simopen *s)
{
    if (!s->closing || s->closed)
        return;
    for (size_t i = 0; i < FAMILIES; i++)
        if (s->listeners[i].op.pending)
            return;
    for (size_t i = 0; i < s->n; i++)
        if (s->attempts[i].connect_op.pending || s->attempts[i].timer.pending)
            return;
    s->closed = true;
    peer_trial_closed(s->trial);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void drop_socket(struct attempt *a)
{
    if (a->fd < 0)
        return;
    struct linger reset = {.l_onoff = 1};
    setsockopt(a->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(a->fd);
    a->fd = -1;
}

static void set_timer(struct attempt *a, uint64_t wait_ns)
{
    struct loop *loop = peer_trial_loop(a->owner->trial);
    if (a->timer.pending)
        loop_cancel(loop, &a->timer); /* its completion sees that an attempt is under way, and waits anew */
    else
        loop_timer(loop, &a->timer, base_now_ns() + wait_ns);
}

static uint64_t silence_ns(const struct simopen *s)
{
    uint64_t silence = SILENCE_RTTS * peer_trial_plan(s->trial)->rtt_ns;
    silence = silence > SILENCE_MIN_NS ? silence : SILENCE_MIN_NS;
    /* Two new SYNs that meet at a router may both be lost there: not again at the next ones. */
    return peer_trial_role(s->trial) == WIRE_ROLE_B ? silence + silence / 8 : silence;
}

static void count_failure(struct simopen *s, int err)
{
    const char *name = err == -ECONNREFUSED                          ? "refused"
                       : err == -ECONNRESET                          ? "reset"
                       : err == -EADDRNOTAVAIL || err == -EADDRINUSE ? "port_busy"
                       : err == -EHOSTUNREACH || err == -ENETUNREACH ? "unreachable"
                       : err == -ETIMEDOUT                           ? "timed_out"
                                                                     : "failed";
    peer_trial_error(s->trial, name);
}

/* Refused, reset or busy: again, at once where the rate cap lets us. */
static void try_again(struct attempt *a, int err)
{
    bool busy = err == -EADDRNOTAVAIL || err == -EADDRINUSE;
    uint64_t wait_ns = peer_trial_throttle(a->owner->trial);
    if (busy && wait_ns < BUSY_NS)
        wait_ns = BUSY_NS;
    if (wait_ns == 0)
        try_connect(a);
    else
        set_timer(a, wait_ns);
}

static void connect_done(struct loop_op *op, int res)
{
    struct attempt *a = op->owner;
    struct simopen *s = a->owner;
    if (res == 0 && !s->stopping) {
        int fd = a->fd;
        a->fd = -1;
        a->handed_over = true;
        peer_tcp_offer(s->trial, fd, &a->to);
    } else {
        drop_socket(a);
        if (!s->stopping) {
            if (res != -ECANCELED)
                count_failure(s, res);
            try_again(a, res);
        }
    }
    maybe_closed(s);
}

static void try_connect(struct attempt *a)
{
    struct simopen *s = a->owner;
    if (s->stopping || a->handed_over || a->connect_op.pending || peer_trial_over(s->trial))
        return;
    a->fd = peer_tcp_socket_of(s->trial, a->to.sa.sa_family);
    if (a->fd < 0) {
        count_failure(s, a->fd);
        if (a->fd != -EAFNOSUPPORT)
            set_timer(a, BUSY_NS);
        return;
    }
    peer_trial_count(s->trial, "holes", 1);
    peer_trial_count(s->trial, "packets", 1);
    loop_connect(peer_trial_loop(s->trial), &a->connect_op, a->fd, &a->to);
    set_timer(a, silence_ns(s));
}

static void timer_done(struct loop_op *op, int res)
{
    struct attempt *a = op->owner;
    struct simopen *s = a->owner;
    if (!s->stopping && !a->handed_over) {
        if (res == -ECANCELED && a->connect_op.pending)
            set_timer(a, silence_ns(s));
        else if (a->connect_op.pending)
            loop_cancel(peer_trial_loop(s->trial), &a->connect_op); /* silence: a new SYN from a new socket */
        else
            try_connect(a);
    }
    maybe_closed(s);
}

/* ---- listening ------------------------------------------------------------------------------- */

static void accept_done(struct loop_op *op, int res)
{
    struct listener *l = op->owner;
    struct simopen *s = l->owner;
    union base_ep remote = {0};
    socklen_t len = sizeof(remote);
    if (res >= 0 && (s->stopping || getpeername(res, &remote.sa, &len) < 0)) {
        close(res);
    } else if (res >= 0) {
        peer_trial_count(s->trial, "accepted", 1);
        peer_tcp_offer(s->trial, res, &remote);
    }
    if (!s->stopping)
        loop_accept(peer_trial_loop(s->trial), op, l->fd);
    maybe_closed(s);
}

static int open_listeners(struct simopen *s)
{
    for (size_t i = 0; i < FAMILIES; i++) {
        struct listener *l = &s->listeners[i];
        if (!peer_trial_has_family(s->trial, families[i]))
            continue;
        l->fd = peer_tcp_listener_of(s->trial, families[i], BACKLOG);
        if (l->fd < 0)
            return l->fd;
        loop_accept(peer_trial_loop(s->trial), &l->op, l->fd);
    }
    return 0;
}

/* ---- the contract ---------------------------------------------------------------------------- */

static int simopen_open(struct peer_trial *t)
{
    struct simopen *s = peer_trial_state(t);
    const struct peer_candidates *c = peer_trial_candidates(t);
    s->trial = t;
    s->n = c->n < MAX_ATTEMPTS ? c->n : MAX_ATTEMPTS;
    for (size_t i = 0; i < FAMILIES; i++) {
        s->listeners[i] = (struct listener){.owner = s, .fd = -1};
        loop_op_init(&s->listeners[i].op, accept_done, &s->listeners[i]);
    }
    for (size_t i = 0; i < s->n; i++) {
        struct attempt *a = &s->attempts[i];
        *a = (struct attempt){.owner = s, .to = c->list[i].ep, .fd = -1};
        loop_op_init(&a->connect_op, connect_done, a);
        loop_op_init(&a->timer, timer_done, a);
    }
    return open_listeners(s);
}

static void simopen_go(struct peer_trial *t)
{
    struct simopen *s = peer_trial_state(t);
    uint64_t wait_ns = peer_trial_wait_ns(t);
    /* The likeliest last: some NATs let only the last destination answer. Who is to be connected to listens first. */
    for (size_t i = s->n; i-- > 0;)
        if (wait_ns > 0)
            set_timer(&s->attempts[i], wait_ns);
        else
            try_connect(&s->attempts[i]);
    loop_flush(peer_trial_loop(t)); /* the SYNs leave now */
}

static void stop(struct simopen *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    for (size_t i = 0; i < FAMILIES; i++) {
        loop_cancel(peer_trial_loop(s->trial), &s->listeners[i].op);
        if (s->listeners[i].fd >= 0)
            close(s->listeners[i].fd); /* whoever waits in its backlog is reset */
        s->listeners[i].fd = -1;
    }
    for (size_t i = 0; i < s->n; i++) {
        loop_cancel(peer_trial_loop(s->trial), &s->attempts[i].connect_op);
        loop_cancel(peer_trial_loop(s->trial), &s->attempts[i].timer);
    }
}

static void simopen_event(struct peer_trial *t, const struct peer_event *event)
{
    struct simopen *s = peer_trial_state(t);
    if (event->kind == PEER_EVENT_CHOSEN)
        stop(s);
    if (event->kind != PEER_EVENT_LOST || s->stopping)
        return;
    count_failure(s, event->err);
    for (size_t i = 0; i < s->n; i++) {
        struct attempt *a = &s->attempts[i];
        if (!a->handed_over || !base_ep_equal(&a->to, &event->remote))
            continue;
        a->handed_over = false;
        try_again(a, event->err);
    }
}

static void simopen_close(struct peer_trial *t)
{
    struct simopen *s = peer_trial_state(t);
    stop(s);
    s->closing = true;
    for (size_t i = 0; i < s->n; i++)
        if (!s->attempts[i].connect_op.pending)
            drop_socket(&s->attempts[i]);
    maybe_closed(s);
}

static const char *const modes[] = {"plain", "auto", NULL};

const struct peer_technique simopen_technique = {
    .name = "simopen",
    .doc = "Punches a TCP path through two NATs by simultaneous open, and measures it: whether it succeeds, how long "
           "it takes, why it fails.",
    .transport = PEER_TCP,
    .modes = modes,
    .dual_modes = modes,
    .plan = simopen_plan,
    .state_size = sizeof(struct simopen),
    .open = simopen_open,
    .go = simopen_go,
    .event = simopen_event,
    .close = simopen_close,
};
