/* bench report: recorded results as one page with plots. */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/commands.h"
#include "bench/campaign/places.h"
#include "bench/campaign/report.h"

struct options {
    const char *dirs[REPORT_MAX_RUNS];
    size_t n;
    const char *out;
    const char *beside[REPORT_MAX_BESIDE][2];
    size_t n_beside;
};

static const struct argp_option option_table[] = {
    {"out", 'o', "DIR", 0, "where report.html and plots/ go (DIR itself; needed for several)", 1},
    {"techniques", 't', "X,Y", 0,
     "compare X with Y, instead of TCP with UDP in the campaign's order; more than once for more of them", 1},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const char doc[] =
    "Recorded results as one self-contained page, report.html, and its plots as files, plots/*.svg with their data.\v"
    "  bench report results/quick                            into that folder\n"
    "  bench report results/lab results/home --out both      several runs on one page, kept apart\n"
    "  bench report results/budget --techniques hold-619,random-619    these two beside each other\n"
    "\n"
    "The page needs no network and no scripts, and reads in light and dark, in black and white and by colour-blind "
    "readers. The plots are drawn by gnuplot. Nothing but report.html and plots/ is written.\n"
    "\n"
    "Exit status: 0 written; 1 usage or environment: no such results, records of a newer version, no gnuplot.";

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case 'o':
        if (!*arg)
            argp_error(state, "--out needs the name of a folder");
        o->out = arg;
        return 0;
    case 't':
        if (o->n_beside == REPORT_MAX_BESIDE || !report_split_labels(arg, o->beside[o->n_beside])) {
            argp_error(state, "--techniques %s: write two, as X,Y; %d times at most", arg, REPORT_MAX_BESIDE);
            return EINVAL;
        }
        o->n_beside++;
        return 0;
    case ARGP_KEY_ARG:
        if (o->n == REPORT_MAX_RUNS)
            argp_error(state, "at most %d folders at once", REPORT_MAX_RUNS);
        o->dirs[o->n++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->n)
            argp_error(state, "which folder of results?");
        if (o->n > 1 && !o->out)
            argp_error(state, "several folders need --out DIR: where their common report goes");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Which techniques to compare. 0, or -ENOENT: said. */
static int name_techniques(const struct options *o, struct report_set *set)
{
    int res = 0;
    for (size_t i = 0; res == 0 && i < o->n_beside; i++)
        for (size_t k = 0; res == 0 && k < 2; k++)
            res = report_check_label(set, o->beside[i][k]);
    memcpy(set->beside, o->beside, sizeof(set->beside));
    set->n_beside = o->n_beside;
    return res;
}

static int report(const struct options *o, struct report_set *set)
{
    char err[CAMPAIGN_ERROR_LEN];
    const char *out = o->out ? o->out : o->dirs[0];
    int res = 0;
    for (size_t i = 0; res == 0 && i < o->n; i++)
        res = report_read(set, o->dirs[i], err);
    if (res == 0 && name_techniques(o, set) < 0)
        return BASE_EXIT_USAGE;
    if (res == 0)
        res = report_write(set, out, err);
    if (res < 0) {
        base_error("%s", err);
        return BASE_EXIT_USAGE;
    }
    campaign_give_back(out);
    printf("report: %s/report.html\n", out);
    return BASE_EXIT_OK;
}

int campaign_cmd_report(int argc, char **argv)
{
    static const struct argp argp = {option_table, parse_option, "DIR...", doc, NULL, NULL, NULL};
    struct options o = {.n = 0};
    struct report_set set = {.n = 0};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    int status = report(&o, &set);
    report_set_free(&set);
    return status;
}
