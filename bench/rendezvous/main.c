/* rendezvous: the command line. */
#include <argp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/rendezvous/internal.h"

#define DEFAULT_STUN_RATE    1000
#define DEFAULT_JOIN_RATE    50
#define DEFAULT_MAX_SESSIONS 100000
/* For each of these three. */
#define MAX_NUMBER 1000000000

enum {
    KEY_LISTEN = 256,
    KEY_ALTERNATE,
    KEY_SAMPLE_PORTS,
    KEY_KEY_FILE,
    KEY_RECORD,
    KEY_JSON,
    KEY_STEP,
    KEY_STARTS,
    KEY_STUN_RATE,
    KEY_JOIN_RATE,
    KEY_MAX_SESSIONS,
};

static const struct argp_option options[] = {
    {"listen", KEY_LISTEN, "ADDR:PORT", 0, "serve here, over UDP and TCP; repeatable", 1},
    {"alternate", KEY_ALTERNATE, "ADDR", 0,
     "a second address of this host, for NAT behaviour discovery (RFC 5780); every port is opened there too, and with "
     "one --listen the next port as well",
     1},
    {"sample-ports", KEY_SAMPLE_PORTS, "N[@FIRST]", 0,
     "N further ports on each address (default 0), which answer STUN: peers that predict ports sample there, all in "
     "one "
     "round trip. They begin at FIRST, or after the last port that is served; open them in the firewall, over UDP and "
     "TCP",
     1},
    {"key-file", KEY_KEY_FILE, "FILE", 0, "the key that peers must prove (without it, anybody may join)", 1},
    {"record", KEY_RECORD, "DIR", 0, "append the joint records to DIR/trials.jsonl", 2},
    {"json", KEY_JSON, NULL, 0, "one joint record a line on stdout, and nothing else", 2},
    {"step", KEY_STEP, NULL, 0, "begin each trial when a line comes on stdin; its end stops the server", 2},
    {"starts", KEY_STARTS, NULL, 0, "on stdout also a line when a trial's plan went out: when it starts", 2},
    {"stun-rate", KEY_STUN_RATE, "N", 0, "STUN requests per source address and second (1000; 0 = no limit)", 3},
    {"join-rate", KEY_JOIN_RATE, "N", 0, "joins per source address and second (50; 0 = no limit)", 3},
    {"max-sessions", KEY_MAX_SESSIONS, "N", 0, "sessions at once (100000)", 3},
    {"quiet", 'q', NULL, 0, "log only what is wrong, once ready", 4},
    {0},
};

static const char doc[] = "The meeting place of two peers: tells each its mapped endpoint (STUN), brings the pair "
                          "together, starts both at the same instant, and writes the joint records.\v"
                          "On a server that both can reach, here with two addresses:\n"
                          "  rendezvous --listen 192.0.2.1:3478 --alternate 192.0.2.2 --record results\n"
                          "On each of the two hosts:\n"
                          "  simopen --server 192.0.2.1:3478 --session try1 --trials 20\n\n"
                          "With a key, so that nobody else can join: head -c 32 /dev/urandom | base64 > key, and "
                          "--key-file key on all three.\n\n"
                          "Exit status: 0 stopped by a signal, or by the end of stdin with --step; 1 usage or "
                          "environment.";

static void set_listen(struct argp_state *state, struct rendezvous_config *c, const char *arg)
{
    union base_ep ep;
    if (base_ep_parse(arg, &ep) < 0 || base_ep_port(&ep) == 0)
        argp_failure(state, BASE_EXIT_USAGE, 0,
                     "--listen '%s': ADDR:PORT is needed, numeric, as 192.0.2.1:3478 or [2001:db8::1]:3478", arg);
    else if (c->n_listen == RENDEZVOUS_MAX_LISTEN)
        argp_failure(state, BASE_EXIT_USAGE, 0, "--listen: at most %d times", RENDEZVOUS_MAX_LISTEN);
    else
        c->listen[c->n_listen++] = ep;
}

static void set_alternate(struct argp_state *state, struct rendezvous_config *c, const char *arg)
{
    if (base_ep_parse_addr(arg, &c->alternate) < 0 || base_ep_is_any(&c->alternate))
        argp_failure(state, BASE_EXIT_USAGE, 0, "--alternate '%s': an address is needed, numeric, as 192.0.2.2", arg);
}

static void set_sample_ports(struct argp_state *state, struct rendezvous_config *c, const char *arg)
{
    char text[32];
    uint64_t first = 0;
    snprintf(text, sizeof(text), "%s", arg);
    char *at = strchr(text, '@');
    if (at)
        *at = '\0';
    if (base_parse_u64(text, 0, RENDEZVOUS_MAX_SAMPLE_PORTS, &c->sample_ports) < 0 ||
        (at && base_parse_u64(at + 1, 1, UINT16_MAX, &first) < 0))
        argp_failure(state, BASE_EXIT_USAGE, 0, "--sample-ports '%s': N or N@FIRST is needed, N from 0 to %d, as %s",
                     arg, RENDEZVOUS_MAX_SAMPLE_PORTS, "16@40000");
    c->sample_first = (uint16_t)first;
}

static error_t parse_one(int key, char *arg, struct argp_state *state)
{
    struct rendezvous_config *c = state->input;
    switch (key) {
    case KEY_LISTEN:
        set_listen(state, c, arg);
        break;
    case KEY_ALTERNATE:
        set_alternate(state, c, arg);
        break;
    case KEY_SAMPLE_PORTS:
        set_sample_ports(state, c, arg);
        break;
    case KEY_KEY_FILE:
        base_arg_key(state, arg, c->key, sizeof(c->key), &c->key_len);
        break;
    case KEY_RECORD:
        c->record_dir = arg;
        break;
    case KEY_JSON:
        c->json = true;
        break;
    case KEY_STEP:
        c->step = true;
        break;
    case KEY_STARTS:
        c->starts = true;
        break;
    case KEY_STUN_RATE:
        base_arg_number(state, "stun-rate", arg, 0, MAX_NUMBER, &c->stun_rate);
        break;
    case KEY_JOIN_RATE:
        base_arg_number(state, "join-rate", arg, 0, MAX_NUMBER, &c->join_rate);
        break;
    case KEY_MAX_SESSIONS:
        base_arg_number(state, "max-sessions", arg, 1, MAX_NUMBER, &c->max_sessions);
        break;
    case 'q':
        c->quiet = true;
        break;
    case ARGP_KEY_ARG:
        argp_failure(state, BASE_EXIT_USAGE, 0, "unexpected argument '%s'", arg);
        break;
    case ARGP_KEY_END:
        if (c->n_listen == 0)
            argp_failure(state, BASE_EXIT_USAGE, 0, "--listen is needed, as: rendezvous --listen 192.0.2.1:3478");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct rendezvous_config config = {
        .stun_rate = DEFAULT_STUN_RATE,
        .join_rate = DEFAULT_JOIN_RATE,
        .max_sessions = DEFAULT_MAX_SESSIONS,
    };
    const struct argp argp = {.options = options, .parser = parse_one, .doc = doc};
    base_log_init("rendezvous", BASE_LOG_INFO);
    base_arg_program("rendezvous");
    argp_parse(&argp, argc, argv, 0, NULL, &config);
    base_raise_open_files();
    return rendezvous_run(&config);
}
