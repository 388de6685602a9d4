/* The way to a TURN server: datagrams, or one TCP connection with messages and channel data in it. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "bench/baseline/internal.h"

/* Datagrams taken at one wake-up: others must get their turn. */
#define BATCH 64

static void channel_data(struct baseline_turn *turn, const uint8_t *buf, size_t len)
{
    uint16_t number;
    struct baseline_turn_event event = {.kind = BASELINE_TURN_DATA, .fd = -1};
    if (turn->state != TURN_ALLOCATED || wire_turn_channel_decode(buf, len, &number, &event.data, &event.data_len) < 0)
        return;
    const struct turn_peer *peer = turn_find_channel(turn, number);
    if (!peer)
        return;
    event.peer = peer->ep;
    turn_emit(turn, &event);
}

static void take(struct baseline_turn *turn, const uint8_t *buf, size_t len)
{
    if (len > 0 && buf[0] < 4)
        turn_message(turn, buf, len);
    else
        channel_data(turn, buf, len);
}

/* ---- UDP ------------------------------------------------------------------------------------- */

static void udp_done(struct loop_op *op, int res)
{
    struct baseline_turn *turn = op->owner;
    for (int i = 0; i < BATCH && res > 0 && !turn->dead; i++) {
        ssize_t n = recv(turn->fd, turn->rx, sizeof(turn->rx), MSG_DONTWAIT);
        if (n >= 0) {
            take(turn, turn->rx, (size_t)n);
        } else if (errno != EINTR) {
            /* An ICMP error of the server's host; EAGAIN ends the round. */
            if (errno != EAGAIN)
                turn_fail(turn, turn_fate_of_errno(-errno), 0);
            break;
        }
    }
    if (!turn->dead && turn->state != TURN_FAILED)
        loop_poll(turn->loop, op, turn->fd, POLLIN);
    turn_maybe_free(turn);
}

/* ---- TCP ------------------------------------------------------------------------------------- */

static void tcp_flush(struct baseline_turn *turn)
{
    if (turn->send_op.pending || turn->tx_len == 0 || turn->dead || turn->connect_until_ns)
        return;
    memcpy(turn->out, turn->tx, turn->tx_len);
    turn->out_len = turn->tx_len;
    turn->tx_len = 0;
    loop_send(turn->loop, &turn->send_op, turn->fd, turn->out, turn->out_len);
}

static void tcp_sent(struct loop_op *op, int res)
{
    struct baseline_turn *turn = op->owner;
    if (res < 0 || (size_t)res != turn->out_len)
        turn_fail(turn, res < 0 ? turn_fate_of_errno(res) : BASELINE_TURN_NO_ANSWER, 0);
    else
        tcp_flush(turn);
    turn_maybe_free(turn);
}

/* Whole messages, in order. -EBADMSG when the stream is lost. */
static int tcp_split(struct baseline_turn *turn)
{
    size_t at = 0;
    int whole = 0;
    while (!turn->dead) {
        whole = wire_turn_stream_len(turn->rx + at, turn->rx_len - at);
        if (whole < 0 || (size_t)whole > turn->rx_len - at)
            break;
        take(turn, turn->rx + at, (size_t)whole);
        at += (size_t)whole;
    }
    turn->rx_len -= at;
    memmove(turn->rx, turn->rx + at, turn->rx_len);
    return whole == -EBADMSG ? whole : 0;
}

static void tcp_done(struct loop_op *op, int res)
{
    struct baseline_turn *turn = op->owner;
    if (turn->connect_until_ns && res == 0) {
        turn->connect_until_ns = 0;
        tcp_flush(turn);
    } else if (res <= 0) {
        turn_fail(turn, res < 0 ? turn_fate_of_errno(res) : BASELINE_TURN_NO_ANSWER, 0);
    } else {
        turn->rx_len += (size_t)res;
        if (tcp_split(turn) < 0)
            turn_fail(turn, BASELINE_TURN_PROTOCOL, 0);
    }
    if (!turn->dead && turn->state != TURN_FAILED && !turn->connect_until_ns)
        loop_recv(turn->loop, op, turn->fd, turn->rx + turn->rx_len, sizeof(turn->rx) - turn->rx_len);
    turn_maybe_free(turn);
}

/* ---- both ------------------------------------------------------------------------------------ */

static int udp_socket(const union base_ep *server)
{
    int fd = socket(server->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, &server->sa, base_ep_len(server)) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static int tcp_socket(const union base_ep *server)
{
    int on = 1, fd = socket(server->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

int turn_server_open(struct baseline_turn *turn)
{
    bool tcp = turn->config.tcp;
    turn->fd = tcp ? tcp_socket(&turn->config.server) : udp_socket(&turn->config.server);
    if (turn->fd < 0)
        return turn->fd;
    if (tcp)
        turn->connect_until_ns = base_now_ns() + turn_patience_ns(turn);
    loop_op_init(&turn->io_op, tcp ? tcp_done : udp_done, turn);
    loop_op_init(&turn->send_op, tcp_sent, turn);
    return 0;
}

int turn_server_move(struct baseline_turn *turn)
{
    int fd = udp_socket(&turn->config.server);
    if (fd < 0)
        return fd;
    close(turn->fd);
    turn->fd = fd; /* udp_done() polls it */
    return 0;
}

void turn_server_start(struct baseline_turn *turn)
{
    if (turn->config.tcp)
        loop_connect(turn->loop, &turn->io_op, turn->fd, &turn->config.server);
    else
        loop_poll(turn->loop, &turn->io_op, turn->fd, POLLIN);
}

int turn_server_send(struct baseline_turn *turn, const void *buf, size_t len)
{
    if (!turn->config.tcp) {
        ssize_t n = send(turn->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        return n < 0 ? -errno : 0;
    }
    if (len > sizeof(turn->tx) - turn->tx_len)
        return -EAGAIN;
    memcpy(turn->tx + turn->tx_len, buf, len);
    turn->tx_len += len;
    tcp_flush(turn);
    return 0;
}

void turn_server_cancel(struct baseline_turn *turn)
{
    loop_cancel(turn->loop, &turn->io_op);
    loop_cancel(turn->loop, &turn->send_op);
}
