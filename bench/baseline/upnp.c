/*
 * One port, mapped by UPnP-IGD: SSDP, then SOAP over HTTP, all of it libminiupnpc's. That library blocks, for seconds
 * where nobody answers, so it works in a process of its own: a fork that keeps one end of a socket pair, and of our
 * descriptors nothing else. It tells what comes of it, and holds the mapping until upnp_close(), or until we are dead,
 * also of SIGKILL.
 *
 * Freed as a TURN allocation is: at the end of a completion, once `dead` and nothing is pending.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>
#include <miniupnpc/upnperrors.h>

#include "bench/baseline/upnp.h"

/* A removal takes some round trips of the home's own network; more where nobody answers any more. */
#define LINGER_NS (2 * BASE_NS_PER_S)
/* Gateways may take so long to answer a search (MX); libminiupnpc waits this long in any case, and knows no less. */
#define SEARCH_MS 1000
/* As datagrams get lost (UPnP Device Architecture 1.1, 1.3.2); a second one only where nobody answered the first. */
#define SEARCHES 2
/* Ports outside that are asked for one after the other, while others have them. */
#define PORT_TRIES 4
#define PORT_STEP  7919u
#define PORT_LO    1024u

/* Of the gateway: WANIPConnection:2, 2.5. */
enum {
    CODE_INVALID_ACTION = 401,
    CODE_INVALID_ARGS = 402,
    CODE_ACTION_FAILED = 501,
    CODE_NOT_AUTHORIZED = 606,
    CODE_NO_SUCH_ENTRY = 714,
    CODE_CONFLICT = 718,
    CODE_ONLY_PERMANENT = 725,
    CODE_NO_PORT_MAPS = 728,
};

/* What the two processes tell each other; a packet each. */
enum word_kind { WORD_FOUND, WORD_MAPPED, WORD_FAILED, WORD_GONE };
struct word {
    enum word_kind kind;
    enum baseline_portmap_fate fate;
    uint16_t code;
    union base_ep external;
    uint32_t lifetime_s;
    uint64_t found_ns;
};

enum baseline_portmap_fate upnp_fate_of(int code)
{
    switch (code) {
    case UPNPCOMMAND_SUCCESS:
        return BASELINE_PORTMAP_OK;
    case UPNPCOMMAND_HTTP_ERROR: /* it was found, and is silent or gone */
        return BASELINE_PORTMAP_NO_ANSWER;
    case CODE_NOT_AUTHORIZED:
        return BASELINE_PORTMAP_REFUSED;
    case CODE_CONFLICT:
    case CODE_NO_PORT_MAPS:
        return BASELINE_PORTMAP_RESOURCES;
    default:
        return BASELINE_PORTMAP_PROTOCOL;
    }
}

/* ---- the process that may block --------------------------------------------------------------- */

struct worker {
    int fd;
    bool orphan; /* the parent was gone before we could watch it */
    int parent;  /* its pidfd */
    bool tcp;
    uint16_t port, outside;
    uint32_t lifetime_s;
    uint64_t found_ns;
    union base_ep external;
    struct UPNPUrls urls;
    struct IGDdatas data;
    char lan[64]; /* our address, as the gateway's network has it */
};

static void tell(const struct worker *w, enum word_kind kind, enum baseline_portmap_fate fate, int code)
{
    struct word word;
    memset(&word, 0, sizeof(word)); /* its holes, too, as all of it is sent */
    word.kind = kind;
    word.fate = fate;
    word.code = (uint16_t)(code > 0 ? code : 0);
    word.external = w->external;
    word.lifetime_s = w->lifetime_s;
    word.found_ns = w->found_ns;
    /* Nobody to hear it: then there is nobody to tell. */
    ssize_t sent = send(w->fd, &word, sizeof(word), MSG_NOSIGNAL);
    (void)sent;
}

/* Waits until the other end is closed: true; or so long (-1: for ever). Our memory keeps the parent's ring, and so what
 * that one has open, from being closed when it dies: so we also ask after itself. */
static bool is_over(const struct worker *w, int timeout_ms)
{
    struct pollfd ends[] = {{.fd = w->fd, .events = POLLIN | POLLRDHUP}, {.fd = w->parent, .events = POLLIN}};
    return w->orphan || poll(ends, BASE_ARRAY_LEN(ends), timeout_ms) != 0;
}

static const char *transport_of(const struct worker *w)
{
    return w->tcp ? "TCP" : "UDP";
}

static bool is_gateway(const struct IGDdatas *data)
{
    return strstr(data->first.servicetype, ":WANIPConnection:") ||
           strstr(data->first.servicetype, ":WANPPPConnection:");
}

/* The gateway's description, its address outside. True when it has one. *fate: what is in the way. */
static bool look_at(struct worker *w, const char *url, enum baseline_portmap_fate *fate, int *code)
{
    char address[64] = "";
    if (UPNP_GetIGDFromUrl(url, &w->urls, &w->data, w->lan, sizeof(w->lan)) != 1)
        return false;
    if (!is_gateway(&w->data)) {
        FreeUPNPUrls(&w->urls);
        return false;
    }
    if (!w->found_ns)
        w->found_ns = base_now_ns();
    *code = UPNP_GetExternalIPAddress(w->urls.controlURL, w->data.first.servicetype, address);
    if (*code == UPNPCOMMAND_SUCCESS && base_ep_parse_addr(address, &w->external) == 0 && !base_ep_is_any(&w->external))
        return true;
    /* It says that the action failed, or names no address. */
    *fate =
        *code == UPNPCOMMAND_SUCCESS || *code == CODE_ACTION_FAILED ? BASELINE_PORTMAP_NETWORK : upnp_fate_of(*code);
    FreeUPNPUrls(&w->urls);
    return false;
}

static struct UPNPDev *search(const struct worker *w)
{
    static const char *const types[] = {"urn:schemas-upnp-org:device:InternetGatewayDevice:1",
                                        "urn:schemas-upnp-org:device:InternetGatewayDevice:2", NULL};
    struct UPNPDev *all = NULL;
    int err = 0;
    for (int i = 0; i < SEARCHES && !all && !is_over(w, 0); i++)
        all = upnpDiscoverDevices(types, SEARCH_MS, NULL, "", UPNP_LOCAL_PORT_ANY, 0, 2, &err, 1);
    return all;
}

/* The first gateway with an address outside. */
static bool find(struct worker *w)
{
    enum baseline_portmap_fate fate = BASELINE_PORTMAP_NO_ANSWER;
    int code = 0;
    struct UPNPDev *all = search(w);
    const struct UPNPDev *device = all;
    const char *before = "";
    bool found = false;
    for (; device && !found && !is_over(w, 0); device = device->pNext) {
        if (strcmp(device->descURL, before) != 0)
            found = look_at(w, device->descURL, &fate, &code);
        before = device->descURL;
    }
    if (!found)
        tell(w, WORD_FAILED, fate, code);
    freeUPNPDevlist(all);
    return found;
}

static int ask(const struct worker *w, uint16_t outside)
{
    char out[8], in[8], lifetime[16];
    snprintf(out, sizeof(out), "%u", outside);
    snprintf(in, sizeof(in), "%u", w->port);
    snprintf(lifetime, sizeof(lifetime), "%u", w->lifetime_s);
    return UPNP_AddPortMapping(w->urls.controlURL, w->data.first.servicetype, out, in, w->lan, "punchbench",
                               transport_of(w), NULL, lifetime);
}

/* InternetGatewayDevice:2: the gateway chooses another port where this one is taken. */
static int ask_any(struct worker *w)
{
    char port[8], got[8] = "", lifetime[16];
    uint64_t outside;
    snprintf(port, sizeof(port), "%u", w->port);
    snprintf(lifetime, sizeof(lifetime), "%u", w->lifetime_s);
    int code = UPNP_AddAnyPortMapping(w->urls.controlURL, w->data.first.servicetype, port, port, w->lan, "punchbench",
                                      transport_of(w), NULL, lifetime, got);
    if (code != UPNPCOMMAND_SUCCESS)
        return code;
    if (base_parse_u64(got, 1, UINT16_MAX, &outside) < 0)
        return UPNPCOMMAND_INVALID_RESPONSE;
    w->outside = (uint16_t)outside;
    return UPNPCOMMAND_SUCCESS;
}

static bool lacks_any(int code)
{
    return code == CODE_INVALID_ACTION || code == CODE_INVALID_ARGS || code == CODE_ACTION_FAILED;
}

static int obtain(struct worker *w)
{
    uint16_t outside = w->port;
    int code = CODE_INVALID_ACTION;
    if (strstr(w->data.first.servicetype, ":WANIPConnection:2"))
        code = ask_any(w);
    for (int i = 0; i < PORT_TRIES && (i > 0 || lacks_any(code)); i++) {
        code = ask(w, outside);
        if (code == UPNPCOMMAND_SUCCESS)
            w->outside = outside;
        else if (code == CODE_ONLY_PERMANENT && w->lifetime_s)
            w->lifetime_s = 0;
        else if (code == CODE_CONFLICT)
            outside = (uint16_t)(PORT_LO + (outside + PORT_STEP) % (UINT16_MAX - PORT_LO));
        if (code != CODE_ONLY_PERMANENT && code != CODE_CONFLICT)
            break;
    }
    return code;
}

/* Until the other end is closed, or the gateway lets us down. */
static void hold(struct worker *w)
{
    /* A gateway that grants next to nothing is not asked all the time. */
    unsigned half_s = w->lifetime_s / 2 > 1 ? w->lifetime_s / 2 : 1;
    while (!is_over(w, w->lifetime_s ? (int)(half_s * 1000) : -1)) {
        int code = ask(w, w->outside);
        if (code != UPNPCOMMAND_SUCCESS) {
            tell(w, WORD_FAILED, upnp_fate_of(code), code);
            is_over(w, -1);
        }
    }
}

static void take_back(struct worker *w)
{
    char outside[8];
    snprintf(outside, sizeof(outside), "%u", w->outside);
    int code = UPNP_DeletePortMapping(w->urls.controlURL, w->data.first.servicetype, outside, transport_of(w), NULL);
    tell(w, WORD_GONE, code == CODE_NO_SUCH_ENTRY ? BASELINE_PORTMAP_OK : upnp_fate_of(code), code);
}

static void work(struct worker *w)
{
    if (!find(w))
        return;
    tell(w, WORD_FOUND, BASELINE_PORTMAP_OK, 0);
    /* Who closed before was told that nothing has been asked for, and counts on it. */
    if (is_over(w, 0))
        return;
    int code = obtain(w);
    if (code != UPNPCOMMAND_SUCCESS) {
        tell(w, WORD_FAILED, upnp_fate_of(code), code);
        return;
    }
    base_ep_set_port(&w->external, w->outside);
    tell(w, WORD_MAPPED, BASELINE_PORTMAP_OK, 0);
    hold(w);
    take_back(w);
}

/* Ctrl-C reaches us, too: what it means is our parent's business. */
static void __attribute__((noreturn)) worker_main(struct worker *w, pid_t parent)
{
    enum { CHANNEL = STDERR_FILENO + 1 };
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    prctl(PR_SET_NAME, "mapped-upnp");
    w->fd = w->fd == CHANNEL ? CHANNEL : dup2(w->fd, CHANNEL);
    close_range(CHANNEL + 1, ~0U, 0);
    w->parent = (int)syscall(SYS_pidfd_open, parent, 0);
    w->orphan = getppid() != parent;
    /* The library has its own mind about what is worth a line. */
    int nothing = open("/dev/null", O_RDWR);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        dup2(nothing, fd);
    work(w);
    _exit(0);
}

/* ---- our side ---------------------------------------------------------------------------------- */

struct upnp {
    struct loop *loop;
    void (*event)(void *owner, const struct baseline_portmap_event *event);
    void *owner;
    pid_t pid; /* 0 = it has ended */
    int fd;
    bool found, mapped, failed, gone, closing, dead;
    uint64_t due_ns; /* UINT64_MAX = never */
    uint64_t timer_ns;
    struct loop_op poll_op, timer;
};

static void wake(struct upnp *u, uint64_t due_ns)
{
    u->due_ns = due_ns;
    if (due_ns == UINT64_MAX || u->dead)
        return;
    if (!u->timer.pending) {
        u->timer_ns = due_ns;
        loop_timer(u->loop, &u->timer, due_ns);
    } else if (due_ns < u->timer_ns) {
        u->timer_ns = 0;
        loop_cancel(u->loop, &u->timer); /* its completion sets it anew */
    }
}

static void pass_on(struct upnp *u, enum baseline_portmap_event_kind kind, const struct word *word)
{
    struct baseline_portmap_event event = {.kind = kind,
                                           .external = word->external,
                                           .protocol = BASELINE_PORTMAP_UPNP,
                                           .found_ns = word->found_ns,
                                           .lifetime_s = word->lifetime_s,
                                           .fate = word->fate,
                                           .code = word->code};
    if (u->failed || u->closing)
        return;
    u->failed = kind == BASELINE_PORTMAP_FAILED;
    u->event(u->owner, &event);
}

static void hear(struct upnp *u, const struct word *word)
{
    switch (word->kind) {
    case WORD_FOUND:
        u->found = true;
        break;
    case WORD_MAPPED:
        u->mapped = true;
        if (!u->closing)
            wake(u, UINT64_MAX);
        pass_on(u, BASELINE_PORTMAP_MAPPED, word);
        break;
    case WORD_FAILED:
        pass_on(u, BASELINE_PORTMAP_FAILED, word);
        break;
    case WORD_GONE:
        u->gone = word->fate == BASELINE_PORTMAP_OK;
        break;
    }
}

/* All that has been said. False: and nothing will be any more. */
static bool listen_to(struct upnp *u)
{
    struct word word;
    for (;;) {
        ssize_t n = recv(u->fd, &word, sizeof(word), MSG_DONTWAIT);
        if (n == (ssize_t)sizeof(word))
            hear(u, &word);
        else if (n >= 0 || (errno != EAGAIN && errno != EINTR))
            return false;
        else if (errno == EAGAIN)
            return true;
    }
}

static void maybe_free(struct upnp *u)
{
    struct baseline_portmap_event event = {.kind = BASELINE_PORTMAP_CLOSED,
                                           .protocol = BASELINE_PORTMAP_UPNP,
                                           .fate = u->mapped && !u->gone ? BASELINE_PORTMAP_NO_ANSWER
                                                                         : BASELINE_PORTMAP_OK};
    if (!u->dead || u->timer.pending || u->poll_op.pending)
        return;
    close(u->fd);
    u->event(u->owner, &event);
    free(u);
}

/* Its end of the socket pair closes as it exits: there is next to nothing to wait for. */
static void reap(struct upnp *u)
{
    while (u->pid > 0 && waitpid(u->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    u->pid = 0;
}

static void ended(struct upnp *u)
{
    static const struct word crashed = {.fate = BASELINE_PORTMAP_PROTOCOL};
    reap(u);
    pass_on(u, BASELINE_PORTMAP_FAILED, &crashed); /* unless it has said why */
    if (u->closing)
        u->dead = true;
    if (u->dead)
        loop_cancel(u->loop, &u->timer);
}

static void poll_done(struct loop_op *op, int res)
{
    struct upnp *u = op->owner;
    if (res > 0 && !listen_to(u))
        ended(u);
    else if (!u->dead && res >= 0)
        loop_poll(u->loop, op, u->fd, POLLIN);
    maybe_free(u);
}

static void expire(struct upnp *u)
{
    static const struct word silent = {.fate = BASELINE_PORTMAP_NO_ANSWER};
    if (!u->closing) {
        pass_on(u, BASELINE_PORTMAP_FAILED, &silent);
    } else if (u->pid) {
        kill(u->pid, SIGKILL); /* its end tells us */
    } else {
        u->dead = true;
    }
}

static void timer_done(struct loop_op *op, int res)
{
    struct upnp *u = op->owner;
    uint64_t due = u->due_ns;
    (void)op;
    (void)res; /* cancelled: to be set anew */
    if (base_now_ns() >= due) {
        u->due_ns = UINT64_MAX;
        expire(u);
    } else {
        wake(u, due);
    }
    maybe_free(u);
}

static int start_worker(struct upnp *u, const struct baseline_portmap_config *config)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    pid_t self = getpid();
    u->pid = fork();
    if (u->pid == 0) {
        struct worker w = {.fd = ends[1], .tcp = config->tcp, .port = config->port, .lifetime_s = config->lifetime_s};
        worker_main(&w, self);
    }
    int err = u->pid < 0 ? -errno : 0;
    close(ends[1]);
    if (err < 0)
        close(ends[0]);
    u->fd = ends[0];
    return err;
}

int upnp_open(struct loop *loop, const struct baseline_portmap_config *config, struct upnp **out)
{
    struct upnp *u = calloc(1, sizeof(*u));
    if (!u)
        return -ENOMEM;
    u->loop = loop;
    u->event = config->event;
    u->owner = config->owner;
    loop_op_init(&u->poll_op, poll_done, u);
    loop_op_init(&u->timer, timer_done, u);
    int err = start_worker(u, config);
    if (err < 0) {
        free(u);
        return err;
    }
    loop_poll(loop, &u->poll_op, u->fd, POLLIN);
    wake(u, base_now_ns() + config->patience_ns);
    *out = u;
    return 0;
}

void upnp_close(struct upnp *u)
{
    uint64_t now = base_now_ns();
    if (u->closing)
        return;
    u->closing = true;
    if (!u->pid) {
        wake(u, now);
        return;
    }
    /* From here on it asks for nothing that it has not told of. */
    shutdown(u->fd, SHUT_WR);
    listen_to(u);
    if (!u->found)
        kill(u->pid, SIGKILL);
    wake(u, now + LINGER_NS);
}
