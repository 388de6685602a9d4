/* discover: the command line. */
#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/discover/show.h"

#define KEY_MAX             1024
#define DEFAULT_COUNT       100
#define DEFAULT_INTERVAL_NS (100 * BASE_NS_PER_MS)
#define DEFAULT_LIFETIME_S  600
#define DEFAULT_SAMPLES     24

enum {
    KEY_SERVER = 256,
    KEY_TRANSPORT,
    KEY_KEY_FILE,
    KEY_SAMPLES,
    KEY_LIFETIME,
    KEY_TRACE,
    KEY_COUNT,
    KEY_INTERVAL,
    KEY_PORTS,
    KEY_SEED,
    KEY_JSON,
};

static const struct argp_option option_table[] = {
    {"server", KEY_SERVER, "ADDR:PORT", 0, "a rendezvous server, or any STUN server; numeric", 1},
    {"transport", KEY_TRANSPORT, "udp|tcp", 0, "over which to ask (udp): NATs treat the two differently", 1},
    {"key-file", KEY_KEY_FILE, "FILE", 0, "the rendezvous server's key", 1},
    {"samples", KEY_SAMPLES, "N", 0, "new mappings to learn from how ports are chosen (24)", 2},
    {"lifetime", KEY_LIFETIME, "SECONDS", OPTION_ARG_OPTIONAL,
     "over UDP: also measure how long an idle mapping lives, up to so long (600); slow", 2},
    {"trace", KEY_TRACE, "FILE", 0, "write every observed mapping to FILE, as CSV for 'predict evaluate'", 3},
    {"count", KEY_COUNT, "N", 0, "with --trace: so many mappings more, after all else (100)", 3},
    {"interval", KEY_INTERVAL, "TIME", 0, "so far apart (100ms)", 3},
    {"ports", KEY_PORTS, "LO-HI", 0, "local ports to use (20000-32767)", 4},
    {"seed", KEY_SEED, "N", 0, "drives the choice of ports (drawn at random)", 4},
    {"json", KEY_JSON, NULL, 0, "one JSON line on stdout, and nothing else", 4},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const char doc[] =
    "What the NAT before this host does.\v"
    "  discover --server 192.0.2.1:3478\n"
    "  discover --server 192.0.2.1:3478 --transport tcp --json\n"
    "  discover --server 192.0.2.1:3478 --trace line.csv --count 600 --interval 1s\n"
    "\n"
    "A rendezvous server with two addresses (--listen A:P --alternate B) tells everything; over TCP it takes raw "
    "sockets there (CAP_NET_RAW) to look into symmetric NATs. Any STUN server tells a part; what stays unknown is "
    "said, "
    "with the reason. Over TCP it takes some eight seconds: a NAT may hold a SYN for six.\n"
    "\n"
    "Exit status: 0 done (or stopped by Ctrl-C while tracing); 1 usage or environment, or no answer from the server; 2 "
    "the server's answers cannot be used.";

struct options {
    struct discover_config config;
    uint8_t key[KEY_MAX];
    const char *trace_path;
    bool json, have_seed, have_count, have_interval;
};

struct program {
    struct options options;
    struct loop *loop;
    struct discover *discover;
    FILE *trace;
    int trace_err;
    int signal_fd;
    struct loop_op signal_op;
};

/* ---- command line ---------------------------------------------------------------------------- */

static void set_server(struct argp_state *state, struct options *o, const char *arg)
{
    if (base_ep_parse(arg, &o->config.server) < 0 || base_ep_port(&o->config.server) == 0 ||
        base_ep_is_any(&o->config.server))
        argp_failure(state, BASE_EXIT_USAGE, 0,
                     "--server '%s': ADDR:PORT is needed, numeric, as 192.0.2.1:3478 or [2001:db8::1]:3478", arg);
}

static void set_transport(struct argp_state *state, struct options *o, const char *arg)
{
    if (strcmp(arg, "udp") != 0 && strcmp(arg, "tcp") != 0)
        argp_failure(state, BASE_EXIT_USAGE, 0, "--transport '%s': udp or tcp is needed", arg);
    o->config.transport = arg[0] == 't' ? DISCOVER_TCP : DISCOVER_UDP;
}

static void set_ports(struct argp_state *state, struct options *o, const char *arg)
{
    char text[32];
    uint64_t lo = 0, hi = 0;
    snprintf(text, sizeof(text), "%s", arg);
    char *dash = strchr(text, '-');
    if (dash)
        *dash = '\0';
    if (!dash || base_parse_u64(text, 1, UINT16_MAX, &lo) < 0 || base_parse_u64(dash + 1, lo, UINT16_MAX, &hi) < 0)
        argp_failure(state, BASE_EXIT_USAGE, 0, "--ports '%s': LO-HI is needed, both from 1 to 65535, LO not above HI",
                     arg);
    o->config.port_lo = (uint16_t)lo;
    o->config.port_hi = (uint16_t)hi;
}

static void check(struct argp_state *state, struct options *o)
{
    struct discover_config *c = &o->config;
    if (!base_ep_is_set(&c->server))
        argp_failure(state, BASE_EXIT_USAGE, 0, "--server is needed, as: discover --server 192.0.2.1:3478");
    if ((o->have_count || o->have_interval) && !o->trace_path)
        argp_failure(state, BASE_EXIT_USAGE, 0, "--count and --interval are about --trace FILE, which is not there");
    if (c->lifetime_max_s && c->transport == DISCOVER_TCP)
        argp_failure(state, BASE_EXIT_USAGE, 0, "--lifetime is measured over UDP only");
    if (o->trace_path && !o->have_count)
        c->series = DEFAULT_COUNT;
    if (!o->have_interval)
        c->series_interval_ns = DEFAULT_INTERVAL_NS;
    if (!o->have_seed && base_random_bytes(&c->seed, sizeof(c->seed)) < 0)
        argp_failure(state, BASE_EXIT_USAGE, errno, "no random seed");
}

static error_t parse_one(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    struct discover_config *c = &o->config;
    uint64_t n = 0;
    switch (key) {
    case KEY_SERVER:
        set_server(state, o, arg);
        break;
    case KEY_TRANSPORT:
        set_transport(state, o, arg);
        break;
    case KEY_KEY_FILE:
        base_arg_key(state, arg, o->key, sizeof(o->key), &c->key_len);
        c->key = o->key;
        break;
    case KEY_SAMPLES:
        base_arg_number(state, "samples", arg, 4, 60, &n);
        c->samples = (unsigned)n;
        break;
    case KEY_LIFETIME:
        c->lifetime_max_s = DEFAULT_LIFETIME_S;
        if (arg)
            base_arg_number(state, "lifetime", arg, 5, 3600, &c->lifetime_max_s);
        break;
    case KEY_TRACE:
        o->trace_path = arg;
        break;
    case KEY_COUNT:
        base_arg_number(state, "count", arg, 0, 1000000, &c->series);
        o->have_count = true;
        break;
    case KEY_INTERVAL:
        if (base_parse_duration(arg, &c->series_interval_ns) < 0 || c->series_interval_ns < BASE_NS_PER_MS)
            argp_failure(state, BASE_EXIT_USAGE, 0, "--interval '%s': a time with its unit is needed, from 1ms", arg);
        o->have_interval = true;
        break;
    case KEY_PORTS:
        set_ports(state, o, arg);
        break;
    case KEY_SEED:
        base_arg_number(state, "seed", arg, 0, UINT64_MAX, &c->seed);
        o->have_seed = true;
        break;
    case KEY_JSON:
        o->json = true;
        break;
    case ARGP_KEY_ARG:
        argp_failure(state, BASE_EXIT_USAGE, 0, "unexpected argument '%s'", arg);
        break;
    case ARGP_KEY_END:
        check(state, o);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* ---- running --------------------------------------------------------------------------------- */

/* Flushed line by line: whatever ends this program, what was traced stays. */
static void on_sample(const struct discover_sample *sample, void *owner)
{
    struct program *p = owner;
    char line[PREDICT_TRACE_LINE];
    struct predict_sample s = discover_to_predict(sample);
    if (!p->trace || p->trace_err)
        return;
    errno = 0;
    if (fprintf(p->trace, "%s\n", predict_trace_format(&s, line, sizeof(line))) < 0 || fflush(p->trace) != 0)
        p->trace_err = errno ? -errno : -EIO;
}

static void on_done(struct discover *d, void *owner)
{
    struct program *p = owner;
    (void)d;
    loop_cancel(p->loop, &p->signal_op);
}

static void on_signal(struct loop_op *op, int res)
{
    struct program *p = op->owner;
    if (res >= 0)
        discover_stop(p->discover);
}

static int open_trace(struct program *p)
{
    const char *path = p->options.trace_path;
    if (!path)
        return 0;
    p->trace = fopen(path, "we");
    if (p->trace && fputs(PREDICT_TRACE_HEADER "\n", p->trace) >= 0 && fflush(p->trace) == 0)
        return 0;
    base_error("cannot write the trace %s: %s", path, strerror(errno));
    return -EIO;
}

static int run(struct program *p)
{
    struct options *o = &p->options;
    o->config.on_sample = on_sample;
    int err = loop_create(&p->loop, 0);
    if (err < 0) {
        base_error("%s", loop_explain(err));
        return err;
    }
    err = p->signal_fd = loop_signal_fd();
    if (err >= 0)
        err = discover_start(p->loop, &o->config, on_done, p, &p->discover);
    if (err < 0) {
        base_error("cannot start: %s", strerror(-err));
        return err;
    }
    loop_op_init(&p->signal_op, on_signal, p);
    loop_poll(p->loop, &p->signal_op, p->signal_fd, POLLIN);
    err = loop_run(p->loop);
    if (err < 0)
        base_error("the event loop failed: %s", strerror(-err));
    return err;
}

static int show(const struct program *p)
{
    const struct discover_result *r = discover_result(p->discover);
    int err = 0;
    if (r->err < 0)
        base_error("%s", r->problem);
    if (p->trace_err)
        base_error("cannot write the trace %s: %s", p->options.trace_path, strerror(-p->trace_err));
    if (p->options.json)
        err = show_json(stdout, &p->options.config, r);
    else if (r->n_samples)
        show_text(stdout, &p->options.config, r);
    if (err < 0 || p->trace_err || (r->err < 0 && r->err != -EPROTO))
        return BASE_EXIT_USAGE;
    return r->err == -EPROTO ? BASE_EXIT_FAILED : BASE_EXIT_OK;
}

int main(int argc, char **argv)
{
    static struct program program = {.signal_fd = -1};
    struct program *p = &program;
    const struct argp argp = {option_table, parse_one, NULL, doc, NULL, NULL, NULL};
    int status = BASE_EXIT_USAGE;
    base_log_init("discover", BASE_LOG_INFO);
    base_arg_program("discover");
    p->options.config.samples = DEFAULT_SAMPLES;
    argp_parse(&argp, argc, argv, 0, NULL, &p->options);
    base_raise_open_files();
    if (open_trace(p) == 0 && run(p) == 0)
        status = show(p);
    if (p->trace && fclose(p->trace) != 0)
        status = BASE_EXIT_USAGE;
    loop_destroy(p->loop);
    discover_free(p->discover);
    if (p->signal_fd >= 0)
        close(p->signal_fd);
    return status;
}
