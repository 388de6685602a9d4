/* bench: measures NAT hole punching. A screen that dispatches. */
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "bench/campaign/commands.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *doc;
} commands[] = {
    {"run", campaign_cmd_run, "measure a campaign: NAT pairs x techniques, in a lab"},
    {"lab", campaign_cmd_lab, "two NATs and a server on this machine: run your own programs in them"},
    {"list", campaign_cmd_list, "the NAT profiles, campaigns and techniques that there are"},
    {"report", campaign_cmd_report, "recorded results as one page with plots"},
    {"compare", campaign_cmd_compare, "two runs, or two techniques of one: differences with intervals"},
    {"check", campaign_cmd_check, "recorded results against what their campaign expects"},
    {"merge", campaign_cmd_merge, "one folder of results out of a campaign's shards"},
    {"brief", campaign_cmd_brief, "records without the details of their successes, for keeping"},
    {"field", campaign_cmd_field, "a campaign between two real lines: its steps, and its results"},
};

static void usage(FILE *out)
{
    fputs("Usage: bench COMMAND [OPTION...]\n"
          "Measures NAT hole punching: how often, how fast, and why not.\n\n",
          out);
    for (size_t i = 0; i < BASE_ARRAY_LEN(commands); i++)
        fprintf(out, "  bench %-8s %s\n", commands[i].name, commands[i].doc);
    fputs("\n  bench COMMAND --help   options and examples\n"
          "  bench --version        the version\n\n"
          "Begin with: sudo bench run quick\n",
          out);
}

static void print_version(FILE *out, struct argp_state *state)
{
    (void)state;
    fprintf(out, "bench %s\n", base_version());
}

static int unknown(const char *name)
{
    char names[128] = "";
    for (size_t i = 0; i < BASE_ARRAY_LEN(commands); i++)
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", *names ? ", " : "", commands[i].name);
    base_error("there is no command '%s'; there are: %s", name, names);
    return BASE_EXIT_USAGE;
}

static int dispatch(int argc, char **argv)
{
    for (size_t i = 0; i < BASE_ARRAY_LEN(commands); i++) {
        char name[32];
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        /* What argp puts before its messages. */
        snprintf(name, sizeof(name), "bench %s", commands[i].name);
        argv[1] = name;
        base_raise_open_files();
        return commands[i].run(argc - 1, argv + 1);
    }
    return unknown(argv[1]);
}

int main(int argc, char **argv)
{
    base_log_init("bench", BASE_LOG_INFO);
    argp_err_exit_status = BASE_EXIT_USAGE;
    argp_program_version_hook = print_version;
    if (argc < 2) {
        usage(stderr);
        return BASE_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return BASE_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        print_version(stdout, NULL);
        return BASE_EXIT_OK;
    }
    return dispatch(argc, argv);
}
