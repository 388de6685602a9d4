/* The program `predict`. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "predict/program.h"

const char *argp_program_version = PUNCHBENCH_VERSION;
error_t argp_err_exit_status = EXIT_USAGE;

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"ports", program_ports},
    {"simulate", program_simulate},
    {"evaluate", program_evaluate},
};

static const char doc[] =
    "What will this NAT do next?\v"
    "Commands (each has its own --help):\n"
    "  ports FILE          samples in, behaviour and ranked candidates out\n"
    "  simulate            a simulated NAT, foreign traffic, a predictor, a budget: how often does it hit?\n"
    "  evaluate TRACE.csv  replays a recorded trace: how often would each predictor have hit?\n\n"
    "Traces are what discover --trace writes: CSV with the header " PREDICT_TRACE_HEADER ", such as\n"
    "  0.000000,10.0.0.2:40000,192.0.2.1:3478,198.51.100.7:23001\n"
    "  0.050000,10.0.0.2:40000,192.0.2.1:3479,198.51.100.7:23002";

struct choice {
    int index; /* of the command's name in argv */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct choice *choice = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        (void)arg;
        choice->index = state->next - 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "a command is needed: ports, simulate or evaluate");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "COMMAND [OPTION...]", doc, NULL, NULL, NULL};
    struct choice choice = {0};
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &choice);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[choice.index], commands[i].name) == 0) {
            char name[64];
            snprintf(name, sizeof(name), "predict %s", commands[i].name);
            argv[choice.index] = name;
            return commands[i].run(argc - choice.index, argv + choice.index);
        }
    fprintf(stderr, "predict: no command '%s': ports, simulate or evaluate\n", argv[choice.index]);
    return EXIT_USAGE;
}

/* ---- arguments ----------------------------------------------------------------------------------- */

double program_number(struct argp_state *state, const char *name, const char *arg, double lo, double hi)
{
    char *end;
    double x = strtod(arg, &end);
    if (end == arg || *end || !(x >= lo && x <= hi))
        argp_error(state, "--%s '%s': a number from %g to %g is needed", name, arg, lo, hi);
    return x;
}

double program_seconds(struct argp_state *state, const char *name, const char *arg)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"", 1}, {"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"min", 60}};
    char *end;
    double x = strtod(arg, &end);
    for (size_t i = 0; end != arg && i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(end, units[i].unit) == 0 && x >= 0 && x * units[i].seconds <= 1e5)
            return x * units[i].seconds;
    argp_error(state, "--%s '%s': a time is needed, such as 0.2, 200ms or 1min", name, arg);
    return 0;
}

uint64_t program_integer(struct argp_state *state, const char *name, const char *arg, uint64_t lo, uint64_t hi)
{
    char *end;
    unsigned long long x = strtoull(arg, &end, 10);
    if (arg[0] < '0' || arg[0] > '9' || *end || x < lo || x > hi)
        argp_error(state, "--%s '%s': a whole number from %llu to %llu is needed", name, arg, (unsigned long long)lo,
                   (unsigned long long)hi);
    return x;
}

enum predict_kind program_kind(struct argp_state *state, const char *arg)
{
    int kind = predict_kind_of(arg);
    if (kind < 0)
        argp_error(state,
                   "--predictor '%s': mixture, preserve, sequential, range, pool, random, +50, +-10, -20+30 or "
                   "scan is needed",
                   arg);
    return kind < 0 ? PREDICT_MIXTURE : (enum predict_kind)kind;
}
