/* The command line of a technique's program. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/peer/internal.h"

/* Outside the kernel's own range for outgoing connections (32768-60999), so that the two do not meet. */
#define DEFAULT_PORT_LO 20000
#define DEFAULT_PORT_HI 32767
#define PORT_LEAST      1024
#define DEFAULT_WAIT_NS (300 * BASE_NS_PER_S)

enum {
    KEY_SERVER = 256,
    KEY_SESSION,
    KEY_KEY_FILE,
    KEY_ROLE,
    KEY_TRIALS,
    KEY_FIRST_TRIAL,
    KEY_SEED,
    KEY_WAIT,
    KEY_PORTS,
    KEY_JSON,
    KEY_PIPE,
    KEY_DISCOVER,
    KEY_TABLE = 512, /* + index in the options table */
};

static const struct argp_option fixed_options[] = {
    {"server", KEY_SERVER, "ADDR:PORT", 0, "the rendezvous server; numeric", 1},
    {"session", KEY_SESSION, "NAME", 0, "the name that both peers join", 1},
    {"key-file", KEY_KEY_FILE, "FILE", 0, "the key shared with the server and the other peer", 1},
    {"role", KEY_ROLE, "a|b", 0, "a or b; without it the first to join is a. Role a's options rule", 1},
    {"trials", KEY_TRIALS, "N", 0, "how many trials (1)", 2},
    {"first-trial", KEY_FIRST_TRIAL, "N", 0, "number of the first one (0)", 2},
    {"seed", KEY_SEED, "N", 0, "drives every random choice (drawn at random, and recorded)", 2},
    {"wait", KEY_WAIT, "TIME", 0, "how long to wait for the other peer (300s)", 2},
    {"ports", KEY_PORTS, "LO-HI", 0, "local ports to punch from (20000-32767)", 2},
    {"discover", KEY_DISCOVER, NULL, 0, "learn what this host's NAT does first, for the plan (some seconds)", 2},
    {"json", KEY_JSON, NULL, 0, "one record a line on stdout, and nothing else", 4},
    {"pipe", KEY_PIPE, NULL, 0, "after the punch, join stdin and stdout to the path", 4},
    {"quiet", 'q', NULL, 0, "no line for each trial", 4},
    {"verbose", 'v', NULL, 0, "say more on stderr", 4},
    {0},
};

struct parse {
    struct peer_config *config;
    bool have_server, have_session, have_seed;
};

static void set_ports(struct argp_state *state, struct peer_config *c, const char *arg)
{
    char text[32];
    uint64_t lo = 0, hi = 0;
    snprintf(text, sizeof(text), "%s", arg);
    char *dash = strchr(text, '-');
    if (dash)
        *dash = '\0';
    if (!dash || base_parse_u64(text, PORT_LEAST, 65535, &lo) < 0 || base_parse_u64(dash + 1, lo, 65535, &hi) < 0)
        argp_failure(
            state, BASE_EXIT_USAGE, 0,
            "--ports '%s': LO-HI is needed, both from %d to 65535 (lower ones are privileged), LO not above HI", arg,
            PORT_LEAST);
    c->port_lo = (uint16_t)lo;
    c->port_hi = (uint16_t)hi;
}

static void set_session(struct argp_state *state, struct parse *p, const char *arg)
{
    size_t len = strlen(arg);
    bool ok = len >= 1 && len <= PEER_MAX_SESSION;
    for (size_t i = 0; i < len; i++)
        ok = ok && (unsigned char)arg[i] >= 0x20 && arg[i] != 0x7f;
    if (!ok)
        argp_failure(state, BASE_EXIT_USAGE, 0, "--session: 1 to %d printable bytes are needed", PEER_MAX_SESSION);
    snprintf(p->config->session, sizeof(p->config->session), "%s", arg);
    p->have_session = true;
}

static void set_role(struct argp_state *state, struct peer_config *c, const char *arg)
{
    if (strcmp(arg, "a") != 0 && strcmp(arg, "b") != 0)
        argp_failure(state, BASE_EXIT_USAGE, 0, "--role '%s': a or b is needed", arg);
    c->role = arg[0] == 'a' ? WIRE_ROLE_A : WIRE_ROLE_B;
}

static void set_table(struct argp_state *state, struct peer_config *c, size_t index, const char *arg)
{
    char expects[256];
    const struct peer_option *option = c->options.table[index];
    if (peer_options_set(&c->options, c->technique, option->name, arg) < 0)
        argp_failure(state, BASE_EXIT_USAGE, 0, "--%s '%s': %s is needed", option->name, arg,
                     peer_option_expects(option, c->technique, expects, sizeof(expects)));
}

static void check(struct argp_state *state, struct parse *p)
{
    struct peer_config *c = p->config;
    if (!p->have_server)
        argp_failure(state, BASE_EXIT_USAGE, 0, "--server ADDR:PORT is needed");
    if (!p->have_session)
        argp_failure(state, BASE_EXIT_USAGE, 0, "--session NAME is needed");
    if (c->json && c->pipe)
        argp_failure(state, BASE_EXIT_USAGE, 0, "--json and --pipe both want stdout: choose one");
    const struct peer_technique *last = c->technique->last_resort;
    bool mode_is_known = c->role == WIRE_ROLE_A || peer_option_given(&c->options, "mode");
    if (last && mode_is_known && *peer_option_text(&c->options, last->options[0].name) &&
        !peer_resort_given(&c->options, c->technique))
        argp_failure(state, BASE_EXIT_USAGE, 0, "--%s is the last resort of --mode auto: add that",
                     last->options[0].name);
    if (c->pipe && c->trials != 1)
        argp_failure(state, BASE_EXIT_USAGE, 0, "--pipe joins one path: leave --trials at 1");
    if (!p->have_seed && base_random_bytes(&c->seed, sizeof(c->seed)) < 0)
        argp_failure(state, BASE_EXIT_USAGE, errno, "no random seed");
    c->seed &= INT64_MAX; /* JSON readers take 64-bit signed numbers at best */
}

static error_t parse_one(int key, char *arg, struct argp_state *state)
{
    struct parse *p = state->input;
    struct peer_config *c = p->config;
    switch (key) {
    case KEY_SERVER:
        if (base_ep_parse(arg, &c->server) < 0 || base_ep_port(&c->server) == 0)
            argp_failure(state, BASE_EXIT_USAGE, 0,
                         "--server '%s': ADDR:PORT is needed, numeric, as 192.0.2.1:3478 or [2001:db8::1]:3478", arg);
        p->have_server = true;
        break;
    case KEY_SESSION:
        set_session(state, p, arg);
        break;
    case KEY_KEY_FILE:
        base_arg_key(state, arg, c->file_key, sizeof(c->file_key), &c->file_key_len);
        break;
    case KEY_ROLE:
        set_role(state, c, arg);
        break;
    case KEY_TRIALS:
        base_arg_number(state, "trials", arg, 1, 1000000000, &c->trials);
        break;
    case KEY_FIRST_TRIAL:
        base_arg_number(state, "first-trial", arg, 0, 1000000000, &c->first_trial);
        break;
    case KEY_SEED:
        base_arg_number(state, "seed", arg, 0, INT64_MAX, &c->seed);
        p->have_seed = true;
        break;
    case KEY_WAIT:
        if (base_parse_duration(arg, &c->wait_ns) < 0 || c->wait_ns == 0)
            argp_failure(state, BASE_EXIT_USAGE, 0, "--wait '%s': a time with its unit is needed, as 30s", arg);
        break;
    case KEY_PORTS:
        set_ports(state, c, arg);
        break;
    case KEY_JSON:
        c->json = true;
        break;
    case KEY_DISCOVER:
        c->discover = true;
        break;
    case KEY_PIPE:
        c->pipe = true;
        break;
    case 'q':
        c->quiet = true;
        break;
    case 'v':
        base_log_init(c->technique->name, BASE_LOG_DEBUG);
        break;
    case ARGP_KEY_ARG:
        argp_failure(state, BASE_EXIT_USAGE, 0, "unexpected argument '%s'", arg);
        break;
    case ARGP_KEY_END:
        check(state, p);
        break;
    default:
        if (key < KEY_TABLE || key >= KEY_TABLE + (int)c->options.n)
            return ARGP_ERR_UNKNOWN;
        set_table(state, c, (size_t)(key - KEY_TABLE), arg);
    }
    return 0;
}

/* fixed options, then a row for each option of the table; static storage. */
static const struct argp_option *make_options(const struct peer_config *c)
{
    enum { FIXED = BASE_ARRAY_LEN(fixed_options) - 1 };
    static struct argp_option all[FIXED + PEER_MAX_OPTIONS + 1];
    static char docs[PEER_MAX_OPTIONS][256];
    memcpy(all, fixed_options, sizeof(fixed_options));
    for (size_t i = 0; i < c->options.n; i++) {
        const struct peer_option *o = c->options.table[i];
        char expects[160] = "";
        if (o->kind == PEER_OPT_CHOICE)
            peer_option_expects(o, c->technique, expects, sizeof(expects));
        snprintf(docs[i], sizeof(docs[i]), "%s%s%s (%s)", o->help, *expects ? ": " : "", expects, c->options.value[i]);
        all[FIXED + i] = (struct argp_option){o->name, KEY_TABLE + (int)i, o->arg, 0, docs[i], 3};
    }
    return all;
}

void peer_config_parse(struct peer_config *config, const struct peer_technique *technique, int argc, char **argv)
{
    static char doc[2048];
    struct parse parse = {.config = config};
    *config = (struct peer_config){
        .technique = technique,
        .trials = 1,
        .wait_ns = DEFAULT_WAIT_NS,
        .port_lo = DEFAULT_PORT_LO,
        .port_hi = DEFAULT_PORT_HI,
    };
    peer_options_init(&config->options, technique);
    snprintf(doc, sizeof(doc),
             "%s\v"
             "On a server that both can reach:\n"
             "  rendezvous --listen 192.0.2.1:3478\n"
             "On each of the two hosts:\n"
             "  %s --server 192.0.2.1:3478 --session try1 --trials 20\n\n"
             "Exit status: 0 all trials ok, 1 usage or environment, 2 some trials failed.",
             technique->doc, technique->name);
    base_arg_program(technique->name);
    struct argp argp = {.options = make_options(config), .parser = parse_one, .doc = doc};
    argp_parse(&argp, argc, argv, 0, NULL, &parse);
}
