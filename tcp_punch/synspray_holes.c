/*
 * The opener: SYNs from the registered port to where the prober's next mappings may be.
 *
 *   hold    a socket for each SYN, kept in SYN_SENT: a probe that comes through is a simultaneous open (RFC 9293, 3.5),
 *           answered with the sequence number that the NAT has seen. A listener stands beside them.
 *   reuse   one socket: connect(), then connect() to AF_UNSPEC; then a listener.
 *   listen  a socket for each SYN, closed at once; then a listener.
 *
 * A listener's answer carries a new sequence number. A NAT that checks TCP windows against the SYN that opened the hole
 * takes it for a stranger's: so `hold`.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tcp_punch/synspray_internal.h"

#define BACKLOG 256
/* The kernel repeats a SYN after 1 s, at the time to live that the answers need: a hole is made anew before that. */
#define RENEW_NS (900 * BASE_NS_PER_MS)

/* One hole at a time: one that was answered has so many times as long to become a connection. */
#define ANSWERED_GAPS 4

/* ---- one SYN --------------------------------------------------------------------------------- */

/*
 * ICMP time exceeded, which a SYN at a low time to live draws, ends a socket in SYN_SENT (tcp_v4_err()). The kernel
 * ignores ICMP errors that quote a packet with less than the socket's IP_MINTTL; the quoted SYN has 1 or 0 left.
 * Whatever comes from the other side has more.
 */
#define MIN_TTL 2

/* The socket's SYN at the low time to live, all that follows at the usual one: a SYN-ACK of a simultaneous open must
 * arrive. -1 is the host's default. */
static void set_ttl(int fd, sa_family_t family, int ttl)
{
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &ttl, sizeof(ttl));
    else
        setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
}

static int send_syn(struct synspray *s, int fd, const union base_ep *to)
{
    int ttl = s->ttl;
    if (ttl > 0) {
        int least = MIN_TTL;
        setsockopt(fd, IPPROTO_IP, IP_MINTTL, &least, sizeof(least));
        set_ttl(fd, to->sa.sa_family, ttl);
    }
    int err = connect(fd, &to->sa, base_ep_len(to)) < 0 && errno != EINPROGRESS ? -errno : 0;
    if (ttl > 0)
        set_ttl(fd, to->sa.sa_family, -1);
    if (err == 0) {
        s->done++;
        peer_trial_count(s->trial, "holes", 1);
        peer_trial_count(s->trial, "packets", 1);
    }
    return err;
}

static int hold_hole(struct synspray *s, const union base_ep *to, uint64_t now)
{
    struct synspray_entry *e = synspray_entry_take(s);
    if (!e)
        return -EMFILE;
    int fd = peer_tcp_socket_nonblocking(s->trial);
    int err = fd < 0 ? fd : send_syn(s, fd, to);
    if (err < 0 && fd >= 0)
        synspray_close_fd(fd);
    if (err == 0)
        err = synspray_watch(s, e, fd);
    if (err < 0) {
        synspray_entry_free(s, e);
        return err;
    }
    e->to = *to;
    e->born_ns = now;
    return 0;
}

static int reuse_hole(struct synspray *s, const union base_ep *to)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    if (s->reuse_fd < 0)
        s->reuse_fd = peer_tcp_socket_nonblocking(s->trial);
    if (s->reuse_fd < 0)
        return s->reuse_fd;
    int err = send_syn(s, s->reuse_fd, to);
    if (connect(s->reuse_fd, &none, sizeof(none)) < 0 && err == 0)
        err = -errno;
    return err;
}

static int fleeting_hole(struct synspray *s, const union base_ep *to)
{
    int fd = peer_tcp_socket_nonblocking(s->trial);
    if (fd < 0)
        return fd;
    int err = send_syn(s, fd, to);
    synspray_close_fd(fd);
    return err;
}

static int make_hole(struct synspray *s, const union base_ep *to, uint64_t now)
{
    switch (s->mode) {
    case SYNSPRAY_REUSE:
        return reuse_hole(s, to);
    case SYNSPRAY_LISTEN:
        return fleeting_hole(s, to);
    default:
        return hold_hole(s, to, now);
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

static bool out_of_files(int err)
{
    return err == -EMFILE || err == -ENFILE || err == -ENOBUFS || err == -ENOMEM;
}

/* Nothing has come in yet. What has is a connection, or becomes one, and stays. */
static bool unanswered(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state == TCP_SYN_SENT;
}

/*
 * One hole at a time: ns until the next one may be made, for which the one before goes. While a connection stands, or
 * becomes one, nothing is sent elsewhere: the NAT would let it answer no more.
 */
static uint64_t wait_for_gap(struct synspray *s, uint64_t now)
{
    uint64_t gap = s->search.gap_ns;
    if (gap == 0 || s->in_flight == 0)
        return gap > 0 && s->live > 0 ? gap : 0;
    for (uint32_t i = 0; i < s->n_entries; i++) {
        struct synspray_entry *e = &s->entries[i];
        uint64_t most = e->fd >= 0 && !unanswered(e->fd) ? ANSWERED_GAPS * gap : gap;
        if (e->fd >= 0 && now - e->born_ns < most)
            return e->born_ns + most - now < gap ? e->born_ns + most - now : gap;
    }
    if (s->live > 0)
        return gap;
    synspray_drop_all(s);
    return 0;
}

/* 0 when something was made or nothing is left; else ns to wait for the rate cap. */
static uint64_t make_next(struct synspray *s, uint64_t now)
{
    if (!s->have_next)
        s->have_next = peer_holes_next(&s->holes, &s->next_hole);
    if (!s->have_next) {
        s->holes_done = true;
        return 0;
    }
    uint64_t wait = wait_for_gap(s, now);
    if (wait == 0)
        wait = peer_trial_throttle(s->trial);
    if (wait > 0)
        return wait;
    s->first_ns = s->first_ns ? s->first_ns : now;
    int err = make_hole(s, &s->next_hole, now);
    if (err < 0)
        synspray_count_failure(s, err);
    if (out_of_files(err)) {
        s->capped = true;
        s->holes_done = true;
    }
    s->have_next = false;
    return 0;
}

int synspray_listen(struct synspray *s)
{
    int fd = peer_tcp_listener(s->trial, BACKLOG);
    if (fd < 0)
        return fd;
    s->listen_fd = fd;
    loop_accept(peer_trial_loop(s->trial), &s->accept_op, fd);
    return 0;
}

/* The article's step 6: the sockets are gone, the listener comes. */
static void all_made(struct synspray *s)
{
    uint64_t now = base_now_ns();
    peer_trial_field(s->trial, "spray_ns", json_integer((json_int_t)(s->first_ns ? now - s->first_ns : 0)));
    if (s->reuse_fd >= 0)
        synspray_close_fd(s->reuse_fd);
    s->reuse_fd = -1;
    if (s->listen_fd < 0) {
        int err = synspray_listen(s);
        if (err < 0)
            synspray_count_failure(s, err);
    }
    synspray_tell_ready(s);
}

/* How old a hole may get; UINT64_MAX: as old as the trial. */
static uint64_t age_limit(const struct synspray *s)
{
    if (s->search.known)
        return synspray_silence_ns(s);
    return s->ttl > 0 ? RENEW_NS : UINT64_MAX;
}

static void renew(struct synspray *s, struct synspray_entry *e, uint64_t now)
{
    union base_ep to = e->to;
    synspray_entry_drop(s, e);
    if (hold_hole(s, &to, now) < 0)
        s->capped = true;
}

/* A batch at a time, as what has come in is served between the turns. */
static uint64_t renew_old(struct synspray *s, uint64_t now)
{
    uint64_t limit = age_limit(s);
    if (s->mode != SYNSPRAY_HOLD || limit == UINT64_MAX)
        return UINT64_MAX;
    if (now < s->scan_ns)
        return s->scan_ns;
    int renewed = 0;
    for (; s->scan_at < s->n_entries && renewed < SYNSPRAY_BATCH; s->scan_at++) {
        struct synspray_entry *e = &s->entries[s->scan_at];
        bool old = e->fd >= 0 && now - e->born_ns >= limit;
        if (e->fd >= 0 && !old && e->born_ns < s->scan_oldest)
            s->scan_oldest = e->born_ns;
        if (!old || !unanswered(e->fd))
            continue;
        uint64_t wait = peer_trial_throttle(s->trial);
        if (wait > 0)
            return now + (wait > SYNSPRAY_TURN_NS ? wait : SYNSPRAY_TURN_NS);
        renew(s, e, now);
        renewed++;
    }
    if (s->scan_at < s->n_entries)
        return now;
    uint64_t next = (s->scan_oldest < now ? s->scan_oldest : now) + limit;
    s->scan_ns = next > now + SYNSPRAY_TURN_NS ? next : now + SYNSPRAY_TURN_NS;
    s->scan_at = 0;
    s->scan_oldest = UINT64_MAX;
    return s->scan_ns;
}

/* False while the distance to the other NAT is being measured. Where it cannot be, holes go all the way. */
static bool choose_ttl(struct synspray *s)
{
    if (s->ttl >= 0)
        return true;
    bool automatic = s->search.ttl == PEER_TTL_AUTO;
    int hops = automatic && !s->search.known ? peer_trial_hops(s->trial) : s->search.ttl;
    if (s->search.known)
        hops = 0; /* nothing is sprayed: each side's SYN is what the other waits for */
    if (automatic && hops == 0 && !s->search.known)
        return false;
    s->ttl = hops > 0 ? hops : 0;
    peer_trial_field(s->trial, "ttl",
                     hops < 0     ? json_string("unmeasured")
                     : s->ttl > 0 ? json_integer(s->ttl)
                                  : json_null());
    return true;
}

uint64_t synspray_holes_turn(struct synspray *s, uint64_t now)
{
    if (now < s->begin_ns)
        return s->begin_ns;
    if (!choose_ttl(s))
        return now + SYNSPRAY_TURN_NS;
    for (int i = 0; i < SYNSPRAY_BATCH && !s->holes_done; i++) {
        uint64_t wait = make_next(s, now);
        if (wait > 0)
            return now + (wait > SYNSPRAY_TURN_NS ? wait : SYNSPRAY_TURN_NS);
    }
    if (!s->holes_done)
        return now;
    if (!s->told_ready)
        all_made(s);
    return renew_old(s, now);
}

/* Refused: the prober's NAT has answered with RST, and the hole is gone. Where both mappings are known the other side
 * is only not there yet. */
void synspray_hole_failed(struct synspray *s, struct synspray_entry *e, int err)
{
    union base_ep to = e->to;
    synspray_count_failure(s, err);
    s->refused += err == -ECONNREFUSED || err == -ECONNRESET;
    synspray_entry_drop(s, e);
    if (s->search.known && peer_trial_throttle(s->trial) == 0)
        hold_hole(s, &to, base_now_ns());
    if (s->search.gap_ns)
        synspray_wake(s);
}

void synspray_holes_begin(struct synspray *s)
{
    peer_holes_init(&s->holes, s->plan, peer_trial_role(s->trial), s->attempt);
    s->holes_done = s->have_next = s->told_ready = false;
    s->scan_ns = s->first_ns = 0;
    s->scan_at = 0;
    s->scan_oldest = UINT64_MAX;
    s->ttl = -1;
}
