/*
 * One port, mapped by the gateway: PCP (RFC 6887), else NAT-PMP (RFC 6886), else UPnP-IGD (upnp.c). Asked for, renewed
 * at half time, removed.
 *
 * Freed as a TURN allocation is: at the end of a completion, once `dead` and nothing is pending.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/baseline/upnp.h"
#include "bench/wire/wire.h"

/* The first repetition of a request (RFC 6886, 3.1), then doubling. */
#define RTO_NS    (250 * BASE_NS_PER_MS)
#define LINGER_NS BASE_NS_PER_S
#define BATCH     8

struct baseline_portmap {
    struct loop *loop;
    struct baseline_portmap_config config;
    struct wire_portmap ask;   /* what is asked for, or granted */
    union base_ep address;     /* NAT-PMP: the gateway's outside */
    struct wire_portmap early; /* NAT-PMP: granted before that was known; lifetime_s 0 = nothing */
    bool waiting, mapped, failed, closing, dead;
    bool left; /* it was not confirmed that the mapping is gone */
    uint64_t again_ns, interval_ns, until_ns, renew_ns;
    int fd;                            /* of PCP and NAT-PMP; -1 = none */
    struct upnp *upnp;                 /* NULL = none (any more) */
    enum baseline_portmap_fate before; /* AUTO: how the others ended */
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

const char *baseline_portmap_protocol_name(enum baseline_portmap_protocol protocol)
{
    static const char *const names[BASELINE_PORTMAP_PROTOCOLS] = {"auto", "pcp", "nat-pmp", "upnp"};
    return protocol < BASELINE_PORTMAP_PROTOCOLS ? names[protocol] : "auto";
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
    } else if (m->closing && !m->upnp) {
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

/* What the socket has no room for, or the network no way for now, is sent again later. */
static void put(const struct baseline_portmap *m, const struct wire_portmap *request)
{
    uint8_t buf[WIRE_PORTMAP_MAX_LEN];
    int len = wire_portmap_encode(request, buf, sizeof(buf));
    /* A refusal of what was sent before (ICMP) is told once, to whoever calls next: it is to be poll_done(). */
    for (int i = 0; i < 2 && len > 0; i++)
        if (send(m->fd, buf, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno != ECONNREFUSED)
            break;
}

static void transmit(struct baseline_portmap *m)
{
    const struct wire_portmap address = {.protocol = WIRE_PORTMAP_NATPMP, .address = true};
    put(m, &m->ask);
    if (m->ask.protocol == WIRE_PORTMAP_NATPMP && !base_ep_is_set(&m->address) && !m->closing)
        put(m, &address);
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

/* ---- ends, and the next protocol ---------------------------------------------------------------- */

static enum baseline_portmap_protocol asked_by(const struct baseline_portmap *m)
{
    return m->ask.protocol == WIRE_PORTMAP_PCP ? BASELINE_PORTMAP_PCP : BASELINE_PORTMAP_NATPMP;
}

static void fail(struct baseline_portmap *m, const struct baseline_portmap_event *event)
{
    bool told = m->failed || m->closing;
    m->left = m->left || (m->closing && m->mapped);
    m->failed = true;
    m->waiting = false;
    wake(m);
    if (!told)
        m->config.event(m->config.owner, event);
}

static void upnp_event(void *owner, const struct baseline_portmap_event *event)
{
    struct baseline_portmap *m = owner;
    struct baseline_portmap_event told = *event;
    switch (event->kind) {
    case BASELINE_PORTMAP_MAPPED:
        m->mapped = true;
        if (!m->closing && !m->failed)
            m->config.event(m->config.owner, event);
        break;
    case BASELINE_PORTMAP_FAILED:
        /* No such gateway is to be found: what the others met with says more. */
        if (m->config.protocol == BASELINE_PORTMAP_AUTO && !event->found_ns)
            told.fate = m->before;
        fail(m, &told);
        break;
    case BASELINE_PORTMAP_CLOSED:
        m->upnp = NULL;
        m->left = event->fate != BASELINE_PORTMAP_OK;
        wake(m);
        break;
    }
}

static int upnp_start(struct baseline_portmap *m, uint64_t patience_ns)
{
    struct baseline_portmap_config config = m->config;
    config.patience_ns = patience_ns;
    config.event = upnp_event;
    config.owner = m;
    return upnp_open(m->loop, &config, &m->upnp);
}

/* PCP's, and NAT-PMP's. */
static uint64_t share(const struct baseline_portmap *m)
{
    return m->config.protocol == BASELINE_PORTMAP_AUTO ? m->config.patience_ns / 4 : m->config.patience_ns;
}

/* Nobody speaks what was asked. */
static void lost(struct baseline_portmap *m, enum baseline_portmap_fate fate, uint16_t code)
{
    struct baseline_portmap_event event = {
        .kind = BASELINE_PORTMAP_FAILED, .protocol = asked_by(m), .fate = fate, .code = code};
    m->before = fate;
    m->waiting = false;
    if (m->config.protocol != BASELINE_PORTMAP_AUTO || m->mapped || m->failed || m->closing ||
        upnp_start(m, m->config.patience_ns / 2) < 0)
        fail(m, &event);
    else
        wake(m);
}

static void fall_back(struct baseline_portmap *m)
{
    m->ask.protocol = WIRE_PORTMAP_NATPMP;
    begin(m, share(m));
}

/* ---- answers --------------------------------------------------------------------------------- */

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
                                           .protocol = asked_by(m),
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
    if (answer.result == WIRE_PORTMAP_UNSUPP_VERSION && pcp && m->config.protocol == BASELINE_PORTMAP_AUTO) {
        fall_back(m);
    } else if (answer.result == WIRE_PORTMAP_UNSUPP_VERSION) {
        lost(m, BASELINE_PORTMAP_UNREACHABLE, answer.result);
    } else if (answer.address && !answer.result) {
        m->address = answer.external;
        if (m->early.lifetime_s && !m->closing)
            granted(m, &m->early);
        m->early.lifetime_s = 0;
    } else if (answer.result && answer.protocol == m->ask.protocol) {
        struct baseline_portmap_event event = {
            .kind = BASELINE_PORTMAP_FAILED, .protocol = asked_by(m), .fate = fate_of(&answer), .code = answer.result};
        fail(m, &event);
    } else if (is_ours(m, &answer) && m->closing && !answer.lifetime_s) {
        m->waiting = false; /* it is gone; an answer to what was asked before is not that */
        wake(m);
    } else if (is_ours(m, &answer) && !m->closing && answer.lifetime_s) {
        if (pcp || base_ep_is_set(&m->address))
            granted(m, &answer);
        else
            m->early = answer;
    }
}

/* ---- time and life --------------------------------------------------------------------------- */

static void maybe_free(struct baseline_portmap *m)
{
    struct baseline_portmap_event event = {.kind = BASELINE_PORTMAP_CLOSED,
                                           .fate = m->left ? BASELINE_PORTMAP_NO_ANSWER : BASELINE_PORTMAP_OK};
    if (!m->dead || m->timer.pending || m->poll_op.pending)
        return;
    if (m->fd >= 0)
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
            /* What comes when nothing is awaited is about what was sent before. */
            if (errno != EAGAIN && m->waiting)
                lost(m, BASELINE_PORTMAP_UNREACHABLE, 0);
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
        if (m->ask.protocol == WIRE_PORTMAP_PCP && m->config.protocol == BASELINE_PORTMAP_AUTO && !m->mapped &&
            !m->closing)
            fall_back(m);
        else
            lost(m, BASELINE_PORTMAP_NO_ANSWER, 0);
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
    if (m->closing && !m->waiting && !m->upnp) {
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

static int start(struct baseline_portmap *m)
{
    if (m->config.protocol == BASELINE_PORTMAP_UPNP)
        return upnp_start(m, m->config.patience_ns);
    int err = open_socket(m);
    if (err < 0)
        return err;
    loop_poll(m->loop, &m->poll_op, m->fd, POLLIN);
    begin(m, share(m));
    return 0;
}

int baseline_portmap_open(struct loop *loop, const struct baseline_portmap_config *config,
                          struct baseline_portmap **out)
{
    struct baseline_portmap *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->loop = loop;
    m->config = *config;
    m->fd = -1;
    m->ask = (struct wire_portmap){.protocol = config->protocol == BASELINE_PORTMAP_NATPMP ? WIRE_PORTMAP_NATPMP
                                                                                           : WIRE_PORTMAP_PCP,
                                   .transport = config->tcp ? IPPROTO_TCP : IPPROTO_UDP,
                                   .internal_port = config->port,
                                   .lifetime_s = config->lifetime_s};
    base_ep_parse_addr("0.0.0.0", &m->ask.external);
    base_ep_set_port(&m->ask.external, config->port); /* the same outside, where it is free */
    loop_op_init(&m->poll_op, poll_done, m);
    loop_op_init(&m->timer, timer_done, m);
    int err = start(m);
    if (err < 0) {
        free(m);
        return err;
    }
    *out = m;
    return 0;
}

void baseline_portmap_close(struct baseline_portmap *m)
{
    if (m->closing)
        return;
    /* What was asked for may have been granted. */
    bool remove = !m->failed && !m->upnp && (m->mapped || m->waiting);
    m->closing = true;
    m->waiting = false;
    m->ask.lifetime_s = 0;
    if (m->upnp)
        upnp_close(m->upnp);
    if (remove)
        begin(m, LINGER_NS);
    wake(m);
}
