/*
 * One port, mapped by the gateway: PCP (RFC 6887), else NAT-PMP (RFC 6886). Asked for, renewed at half time, removed.
 *
 * Freed as a TURN allocation is: at the end of a completion, once `dead` and nothing is pending.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/baseline/baseline.h"
#include "bench/wire/wire.h"

/* The first repetition of a request (RFC 6886, 3.1), then doubling. */
#define RTO_NS    (250 * BASE_NS_PER_MS)
#define LINGER_NS BASE_NS_PER_S
#define BATCH     8

struct baseline_portmap {
    struct loop *loop;
    struct baseline_portmap_config config;
    struct wire_portmap ask; /* what is asked for, or granted */
    union base_ep address;   /* NAT-PMP: the gateway's outside */
    bool waiting, mapped, failed, closing, dead;
    uint64_t again_ns, interval_ns, until_ns, renew_ns;
    int fd;
    struct loop_op poll_op, timer;
    uint64_t timer_ns;
};

const char *baseline_portmap_fate_name(enum baseline_portmap_fate fate)
{
    static const char *const names[BASELINE_PORTMAP_FATES] = {
        "map_ok", "map_no_answer", "map_unreachable", "map_refused", "map_resources", "map_network", "map_protocol",
    };
    return fate < BASELINE_PORTMAP_FATES ? names[fate] : "map_protocol";
}

/* The same numbers mean different things. */
static enum baseline_portmap_fate fate_of(const struct wire_portmap *answer)
{
    bool pcp = answer->protocol == WIRE_PORTMAP_PCP;
    if (answer->result == WIRE_PORTMAP_NOT_AUTHORIZED)
        return BASELINE_PORTMAP_REFUSED;
    if (answer->result == (pcp ? WIRE_PCP_NETWORK_FAILURE : WIRE_NATPMP_NETWORK_FAILURE))
        return BASELINE_PORTMAP_NETWORK;
    if (answer->result == (pcp ? WIRE_PCP_NO_RESOURCES : WIRE_NATPMP_NO_RESOURCES) ||
        (pcp && answer->result == WIRE_PCP_USER_EX_QUOTA))
        return BASELINE_PORTMAP_RESOURCES;
    return BASELINE_PORTMAP_PROTOCOL;
}

int baseline_gateway(union base_ep *out)
{
    char line[256];
    unsigned destination, gateway;
    int err = -ENETUNREACH;
    FILE *in = fopen("/proc/net/route", "re");
    while (in && err < 0 && fgets(line, sizeof(line), in)) {
        /* Interface, then addresses as the host's words of network-order bytes. */
        if (sscanf(line, "%*s %x %x", &destination, &gateway) != 2 || destination != 0 || gateway == 0)
            continue;
        uint8_t bytes[4];
        memcpy(bytes, &gateway, sizeof(bytes));
        *out = base_ep_from_bytes(AF_INET, bytes, WIRE_PORTMAP_PORT);
        err = 0;
    }
    if (in)
        fclose(in);
    return err;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void wake(struct baseline_portmap *m)
{
    uint64_t next = m->closing || m->failed ? UINT64_MAX : m->renew_ns ? m->renew_ns : UINT64_MAX;
    if (m->dead)
        return;
    if (m->waiting) {
        next = m->again_ns < next ? m->again_ns : next;
        next = m->until_ns < next ? m->until_ns : next;
    } else if (m->closing) {
        next = 0;
    }
    if (next == UINT64_MAX)
        return;
    if (!m->timer.pending) {
        m->timer_ns = next;
        loop_timer(m->loop, &m->timer, next);
    } else if (next < m->timer_ns) {
        m->timer_ns = 0;
        loop_cancel(m->loop, &m->timer); /* its completion sets it anew */
    }
}

/* What the socket has no room for, or the network no way for now, is sent again. */
static void transmit(struct baseline_portmap *m)
{
    uint8_t buf[WIRE_PORTMAP_MAX_LEN];
    struct wire_portmap address = {.protocol = WIRE_PORTMAP_NATPMP, .address = true};
    int len = wire_portmap_encode(&m->ask, buf, sizeof(buf));
    ssize_t sent = len > 0 ? send(m->fd, buf, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (m->ask.protocol == WIRE_PORTMAP_NATPMP && !base_ep_is_set(&m->address) && !m->closing) {
        len = wire_portmap_encode(&address, buf, sizeof(buf));
        sent = send(m->fd, buf, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    (void)sent;
}

static void begin(struct baseline_portmap *m, uint64_t patience_ns)
{
    uint64_t now = base_now_ns();
    m->waiting = true;
    m->interval_ns = RTO_NS;
    m->again_ns = now + RTO_NS;
    m->until_ns = now + patience_ns;
    transmit(m);
    wake(m);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void fail(struct baseline_portmap *m, enum baseline_portmap_fate fate, uint16_t code)
{
    struct baseline_portmap_event event = {.kind = BASELINE_PORTMAP_FAILED, .fate = fate, .code = code};
    bool told = m->failed || m->closing;
    m->failed = true;
    m->waiting = false;
    wake(m);
    if (!told)
        m->config.event(m->config.owner, &event);
}

static void fall_back(struct baseline_portmap *m)
{
    m->ask.protocol = WIRE_PORTMAP_NATPMP;
    begin(m, m->config.patience_ns / 2);
}

static void granted(struct baseline_portmap *m, const struct wire_portmap *answer)
{
    union base_ep external = answer->external;
    if (answer->protocol == WIRE_PORTMAP_NATPMP) {
        uint16_t port = base_ep_port(&external);
        external = m->address;
        base_ep_set_port(&external, port);
    }
    bool news = !m->mapped || !base_ep_equal(&external, &m->ask.external);
    struct baseline_portmap_event event = {.kind = BASELINE_PORTMAP_MAPPED,
                                           .external = external,
                                           .natpmp = answer->protocol == WIRE_PORTMAP_NATPMP,
                                           .lifetime_s = answer->lifetime_s};
    m->waiting = false;
    m->mapped = true;
    m->ask.external = external;
    /* Half of it, as both RFCs have it; a gateway that grants next to nothing is not asked all the time. */
    uint64_t half = answer->lifetime_s * BASE_NS_PER_S / 2;
    m->renew_ns = base_now_ns() + (half > BASE_NS_PER_S ? half : BASE_NS_PER_S);
    wake(m);
    if (news)
        m->config.event(m->config.owner, &event);
}

static bool is_ours(const struct baseline_portmap *m, const struct wire_portmap *answer)
{
    if (answer->protocol != m->ask.protocol || answer->transport != m->ask.transport ||
        answer->internal_port != m->ask.internal_port)
        return false;
    return answer->protocol == WIRE_PORTMAP_NATPMP || memcmp(answer->nonce, m->ask.nonce, sizeof(m->ask.nonce)) == 0;
}

static void take(struct baseline_portmap *m, const uint8_t *buf, size_t len)
{
    struct wire_portmap answer;
    if (wire_portmap_decode(buf, len, &answer) < 0 || !m->waiting)
        return;
    bool pcp = m->ask.protocol == WIRE_PORTMAP_PCP;
    if (pcp && answer.result == WIRE_PORTMAP_UNSUPP_VERSION) {
        fall_back(m);
    } else if (answer.address && !answer.result) {
        m->address = answer.external;
        transmit(m); /* the mapping may have been granted before; it is told again */
    } else if (answer.result && answer.protocol == m->ask.protocol) {
        fail(m, fate_of(&answer), answer.result);
    } else if (is_ours(m, &answer) && m->closing && !answer.lifetime_s) {
        m->waiting = false; /* it is gone; an answer to what was asked before is not that */
        wake(m);
    } else if (is_ours(m, &answer) && !m->closing && answer.lifetime_s && (pcp || base_ep_is_set(&m->address))) {
        granted(m, &answer);
    }
}

/* ---- time and life --------------------------------------------------------------------------- */

static void maybe_free(struct baseline_portmap *m)
{
    struct baseline_portmap_event event = {.kind = BASELINE_PORTMAP_CLOSED};
    if (!m->dead || m->timer.pending || m->poll_op.pending)
        return;
    close(m->fd);
    m->config.event(m->config.owner, &event);
    free(m);
}

static void poll_done(struct loop_op *op, int res)
{
    struct baseline_portmap *m = op->owner;
    uint8_t buf[WIRE_PORTMAP_MAX_LEN];
    for (int i = 0; i < BATCH && res > 0 && !m->dead; i++) {
        ssize_t n = recv(m->fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n >= 0) {
            take(m, buf, (size_t)n);
        } else if (errno != EINTR) {
            if (errno != EAGAIN)
                fail(m, BASELINE_PORTMAP_UNREACHABLE, 0);
            break;
        }
    }
    if (!m->dead && !m->failed)
        loop_poll(m->loop, op, m->fd, POLLIN);
    maybe_free(m);
}

static void due(struct baseline_portmap *m, uint64_t now)
{
    if (m->waiting && now >= m->until_ns) {
        if (m->ask.protocol == WIRE_PORTMAP_PCP && !m->mapped && !m->closing)
            fall_back(m);
        else
            fail(m, BASELINE_PORTMAP_NO_ANSWER, 0);
    } else if (m->waiting && now >= m->again_ns) {
        m->interval_ns *= 2;
        m->again_ns = now + m->interval_ns;
        transmit(m);
    } else if (!m->waiting && m->renew_ns && now >= m->renew_ns && !m->closing && !m->failed) {
        m->renew_ns = 0;
        begin(m, m->config.patience_ns);
    }
}

static void timer_done(struct loop_op *op, int res)
{
    struct baseline_portmap *m = op->owner;
    (void)op;
    (void)res; /* cancelled: to be set anew */
    due(m, base_now_ns());
    if (m->closing && !m->waiting) {
        m->dead = true;
        loop_cancel(m->loop, &m->poll_op);
    }
    wake(m);
    maybe_free(m);
}

/* The socket, and our own address towards the gateway, which PCP compares with what it sees. */
static int open_socket(struct baseline_portmap *m)
{
    const union base_ep *gateway = &m->config.gateway;
    socklen_t len = sizeof(m->ask.client);
    m->fd = socket(gateway->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (m->fd < 0)
        return -errno;
    int err = base_random_bytes(m->ask.nonce, sizeof(m->ask.nonce));
    if (err == 0 &&
        (connect(m->fd, &gateway->sa, base_ep_len(gateway)) < 0 || getsockname(m->fd, &m->ask.client.sa, &len) < 0))
        err = -errno;
    if (err < 0)
        close(m->fd);
    base_ep_set_port(&m->ask.client, 0);
    return err;
}

int baseline_portmap_open(struct loop *loop, const struct baseline_portmap_config *config,
                          struct baseline_portmap **out)
{
    struct baseline_portmap *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->loop = loop;
    m->config = *config;
    m->ask = (struct wire_portmap){.protocol = WIRE_PORTMAP_PCP,
                                   .transport = config->tcp ? IPPROTO_TCP : IPPROTO_UDP,
                                   .internal_port = config->port,
                                   .lifetime_s = config->lifetime_s};
    base_ep_parse_addr("0.0.0.0", &m->ask.external);
    base_ep_set_port(&m->ask.external, config->port); /* the same outside, where it is free */
    int err = open_socket(m);
    if (err < 0) {
        free(m);
        return err;
    }
    loop_op_init(&m->poll_op, poll_done, m);
    loop_op_init(&m->timer, timer_done, m);
    loop_poll(loop, &m->poll_op, m->fd, POLLIN);
    begin(m, config->patience_ns / 2);
    *out = m;
    return 0;
}

void baseline_portmap_close(struct baseline_portmap *m)
{
    if (m->closing)
        return;
    bool remove = !m->failed && (m->mapped || m->waiting); /* what was asked for may have been granted */
    m->closing = true;
    m->waiting = false;
    m->ask.lifetime_s = 0;
    if (remove)
        begin(m, LINGER_NS);
    wake(m);
}
