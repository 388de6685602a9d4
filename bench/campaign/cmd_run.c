/* bench run: measures a campaign. */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/campaign/commands.h"
#include "bench/campaign/measure.h"
#include "bench/campaign/places.h"

/* The lab's own lateness over this is worth a word. Of a few hundred packets a cell, the 99th percentile is nearly the
 * worst one, and a millisecond or two comes from scheduling alone. */
#define LATE_NS (5 * BASE_NS_PER_MS)

/* Open files: a worker with its lab has some 40, and starts with few others; this process has two for each worker. */
#define FILES_BASE 64
#define FILES_EACH 2

enum {
    KEY_OUT = 'o',
    KEY_RESUME = 256,
    KEY_TRIALS,
    KEY_PARALLEL,
    KEY_SEED,
    KEY_FILTER,
    KEY_SHARD,
    KEY_PROFILES,
    KEY_PCAP,
    KEY_PCAP_LIMIT
};

struct options {
    const char *campaign, *out, *filter;
    uint64_t trials, parallel, seed;
    struct campaign_shard shard;
    struct campaign_common common;
    bool resume, has_trials, has_parallel, has_seed;
};

static const struct argp_option option_table[] = {
    {"out", KEY_OUT, "DIR", 0, "where the results go (results/NAME-TIME)", 1},
    {"resume", KEY_RESUME, NULL, 0,
     "go on with what DIR has: measures exactly what is missing; with more --trials than it has, what they add", 1},
    {"shard", KEY_SHARD, "I/N", 0, "only the I-th of N parts of the campaign, for one of N machines", 1},
    {"trials", KEY_TRIALS, "N", 0, "trials of each cell, instead of the file's", 2},
    {"parallel", KEY_PARALLEL, "N", 0, "workers at once, or auto (as many as the machine bears), instead of the file's",
     2},
    {"seed", KEY_SEED, "N", 0, "instead of the file's", 2},
    {"filter", KEY_FILTER, "GLOB", 0, "only the cells whose name (NAT-A/NAT-B/TECHNIQUE/LINK) matches", 2},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const char doc[] =
    "Measures a campaign: every NAT pair with every technique, in a lab of its own.\v"
    "CAMPAIGN is an INI file, or the name of one that comes with this program (bench list).\n"
    "\n"
    "  bench run quick                                  a first look, a minute\n"
    "  bench run quick --filter '*/portspray-punch/*'   only some of its cells\n"
    "  bench run my.ini --out r1                        your own campaign, into r1\n"
    "  bench run my.ini --out r1 --resume               go on after an interruption\n"
    "  bench run my.ini --out s2 --shard 2/4            the second of four machines; then: bench merge\n"
    "\n"
    "Into DIR go run.json (what was measured, on what), trials.jsonl (a line a trial, written as it happens), "
    "summary.csv and latency.hlog; results/FORMATS.md describes them. Needs root, or unprivileged user namespaces.\n"
    "\n"
    "Exit status: 0 measured, and the campaign's expectations hold; 1 usage or environment, nothing was started; 2 "
    "an expectation does not hold, cells could not be measured, or it was interrupted. A trial that fails is a "
    "result and no error.";

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case KEY_OUT:
        if (!*arg)
            argp_error(state, "--out needs the name of a folder");
        o->out = arg;
        return 0;
    case KEY_RESUME:
        o->resume = true;
        return 0;
    case KEY_TRIALS:
        campaign_parse_number(state, "trials", arg, 1, CAMPAIGN_MAX_TRIALS, &o->trials);
        o->has_trials = true;
        return 0;
    case KEY_PARALLEL:
        if (strcmp(arg, "auto") != 0)
            campaign_parse_number(state, "parallel", arg, 1, CAMPAIGN_MAX_PARALLEL, &o->parallel);
        o->has_parallel = true;
        return 0;
    case KEY_SEED:
        campaign_parse_number(state, "seed", arg, 0, (1ULL << 53) - 1, &o->seed);
        o->has_seed = true;
        return 0;
    case KEY_SHARD:
        if (campaign_shard_parse(arg, &o->shard) < 0)
            argp_error(state, "--shard %s: write I/N, like 1/4 for the first of four", arg);
        return 0;
    case KEY_FILTER:
        o->filter = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (o->campaign)
            argp_error(state, "one campaign at a time, and '%s' is a second one", arg);
        o->campaign = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->campaign)
            argp_error(state, "which CAMPAIGN? An INI file, or a name that 'bench list' shows");
        if (o->resume && !o->out)
            argp_error(state, "--resume needs --out DIR: which results to go on with");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- what is to be measured ------------------------------------------------------------------ */

struct plan {
    struct options options;
    struct campaign_config config;
    struct campaign_cell *cells;
    struct campaign_tally *tallies;
    size_t n;
    char profile_dir[PATH_MAX];
    char program_dir[PATH_MAX];
};

static int check_programs(const struct plan *p)
{
    char path[PATH_MAX];
    for (size_t i = 0; i <= p->config.n_techniques; i++) {
        const struct campaign_choice *choice = i < p->config.n_techniques ? &p->config.techniques[i] : NULL;
        const char *name = choice ? choice->technique->program : "rendezvous";
        if (choice && choice->exec.used)
            continue;
        if ((size_t)snprintf(path, PATH_MAX, "%s/%s", p->program_dir, name) >= PATH_MAX || access(path, X_OK) < 0) {
            base_error("the program %s is not beside this one, in %s: build or install all of them", name,
                       p->program_dir);
            return -ENOENT;
        }
    }
    return 0;
}

/* Whether the router before side a is one of Linux, that can map ports. */
static bool needs_mapper(const struct campaign_cell *cell)
{
    const struct lab_profile *home = cell->nat_a->nats[0];
    return campaign_choice_maps(cell->choice) && home && home->backend == LAB_BACKEND_NETFILTER &&
           home->mapping != LAB_MAP_NONE;
}

static int check_mapper(const struct plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (!needs_mapper(&p->cells[i]) || campaign_in_path(LAB_MAPPER))
            continue;
        base_error("technique %s: the program %s is missing, which maps ports on the lab's Linux routers: install the "
                   "package %s",
                   p->cells[i].choice->label, LAB_MAPPER, LAB_MAPPER_PACKAGE);
        return -ENOENT;
    }
    return 0;
}

static int read_plan(struct plan *p)
{
    const struct options *o = &p->options;
    char path[PATH_MAX], err[CAMPAIGN_ERROR_LEN];
    campaign_profile_dir(&o->common, p->profile_dir);
    campaign_find(o->campaign, path);
    int res = campaign_config_read(path, p->profile_dir, &p->config, err);
    if (res < 0) {
        base_error("%s", err);
        return res;
    }
    if (o->has_trials) {
        p->config.trials = o->trials;
        p->config.n_budgets = 0;
    }
    if (o->has_parallel)
        p->config.parallel = o->parallel;
    if (o->has_seed)
        p->config.seed = o->seed;
    res = campaign_expand(&p->config, o->filter, &p->cells, &p->n);
    if (res == -ENOENT)
        base_error("no cell matches --filter '%s': names are like open/linux-strict/simopen/rtt40", o->filter);
    else if (res < 0)
        base_error("no memory");
    return res;
}

static int make_tallies(struct plan *p)
{
    p->tallies = calloc(p->n, sizeof(*p->tallies));
    int res = p->tallies ? 0 : -ENOMEM;
    for (size_t i = 0; res == 0 && i < p->n; i++)
        res = campaign_tally_init(&p->tallies[i], p->config.warmup, p->cells[i].trials);
    if (res == 0)
        res = campaign_shard_mark(&p->config, p->tallies, p->n, p->options.shard);
    if (res < 0)
        base_error("no memory for %zu cells of %llu trials", p->n, (unsigned long long)p->config.trials);
    return res;
}

static void plan_free(struct plan *p)
{
    for (size_t i = 0; p->tallies && i < p->n; i++)
        campaign_tally_free(&p->tallies[i]);
    free(p->tallies);
    free(p->cells);
    free(p);
}

/* ---- measuring ------------------------------------------------------------------------------- */

static void default_out(const struct plan *p, char out[PATH_MAX])
{
    char stamp[32] = "";
    time_t now = time(NULL);
    struct tm tm;
    if (gmtime_r(&now, &tm))
        strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
    snprintf(out, PATH_MAX, "results/%s-%s", p->config.name, stamp);
}

static int open_results(struct plan *p, struct loop *loop, struct campaign_results *results)
{
    char out[PATH_MAX], err[CAMPAIGN_ERROR_LEN];
    default_out(p, out);
    json_t *run = campaign_run_json(&p->config, p->cells, p->n, p->options.filter, p->profile_dir, loop_features(loop));
    if (!run) {
        base_error("no memory");
        return -ENOMEM;
    }
    campaign_run_set_shard(run, p->options.shard);
    int res = campaign_results_open(results, p->options.out ? p->options.out : out, p->options.resume, run, p->cells,
                                    p->tallies, p->n, err);
    json_decref(run);
    if (res < 0)
        base_error("%s", err);
    return res;
}

static uint64_t measured(const struct plan *p)
{
    uint64_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        n += p->tallies[i].measured;
    return n;
}

static uint64_t expected(const struct plan *p)
{
    uint64_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        n += campaign_trials_expected(&p->config, &p->tallies[i]);
    return n;
}

/* How many ranges one worker each could be given. */
static size_t count_ranges(const struct plan *p)
{
    size_t ranges = 0;
    for (size_t i = 0; i < p->n; i++) {
        uint64_t from = 0, first, count;
        while (campaign_range_next(&p->config, &p->tallies[i], &from, &first, &count))
            ranges++;
    }
    return ranges ? ranges : 1;
}

static void say_how_to_resume(const struct plan *p, const struct campaign_run *run)
{
    base_warn("%s; %llu of %llu trials are in %s; go on with the same command and --out %s --resume",
              run->signal ? strsignal(run->signal) : "stopped", (unsigned long long)measured(p),
              (unsigned long long)expected(p), run->results->dir, run->results->dir);
}

/* What is made of all trials anew. 0, or -errno: said on stderr. */
static int derive(const struct plan *p, const struct campaign_results *r)
{
    const char *name = "summary.csv";
    int res = campaign_summary_write(r->dir, p->cells, p->tallies, p->n);
    if (res == 0) {
        name = "latency.hlog";
        res = campaign_hlog_write(r->dir, r->started_ms, p->cells, p->tallies, p->n);
    }
    if (res < 0)
        base_error("%s/%s cannot be written: %s; --resume makes it once it can be", r->dir, name, strerror(-res));
    return res;
}

/* Everything that people read; the exit status. */
static int conclude(const struct plan *p, const struct campaign_run *run, bool complete)
{
    /* What could not be written has been said; of the rest nothing would find place either. */
    int res = run->err ? run->err : derive(p, run->results);
    campaign_summary_table(stdout, p->cells, p->tallies, p->n);
    campaign_summary_calibration(stdout, p->tallies, p->n);
    size_t violated = campaign_summary_check(stdout, &p->config, p->cells, p->tallies, p->n);
    if (run->unmeasured)
        printf("%zu cells could not be measured completely: see above\n", run->unmeasured);
    printf("results: %s\n", run->results->dir);
    fflush(stdout);
    if (run->late_ns > LATE_NS)
        base_warn(
            "the machine was busy: half of the time the lab's packets were at times %.1f ms late or more, which is "
            "in the slow tail of the latencies; %s",
            (double)run->late_ns / (double)BASE_NS_PER_MS,
            run->paced ? "something else took its processors" : "use --parallel auto, or less");
    if (!complete && !run->err)
        say_how_to_resume(p, run);
    return complete && res == 0 && !violated && !run->unmeasured ? BASE_EXIT_OK : BASE_EXIT_FAILED;
}

static size_t parallel_of(const struct plan *p)
{
    if (!p->config.parallel)
        return campaign_auto_parallel(&p->config, count_ranges(p));
    return p->config.parallel < count_ranges(p) ? (size_t)p->config.parallel : count_ranges(p);
}

static int check_open_files(const struct plan *p)
{
    uint64_t limit = base_raise_open_files(), needed = FILES_BASE + FILES_EACH * parallel_of(p);
    if (limit >= needed)
        return 0;
    base_error(
        "the limit of open files is %llu, and %zu cells at once need %llu: raise it (ulimit -n), or use --parallel",
        (unsigned long long)limit, parallel_of(p), (unsigned long long)needed);
    return -EMFILE;
}

static int measure(struct plan *p, struct loop *loop)
{
    struct campaign_results results;
    int res = open_results(p, loop, &results);
    if (res < 0)
        return BASE_EXIT_USAGE;
    struct campaign_run run = {.config = &p->config,
                               .cells = p->cells,
                               .tallies = p->tallies,
                               .n = p->n,
                               .program_dir = p->program_dir,
                               .pcap = p->options.common.pcap,
                               .results = &results,
                               .loop = loop,
                               .parallel = parallel_of(p),
                               .paced = p->config.parallel == 0};
    res = campaign_coordinate(&run);
    int status = conclude(p, &run, res == 0 && !run.signal);
    if (run.load && !run.err && (res = campaign_run_add_load(results.dir, run.load)) < 0)
        base_warn("%s/run.json: what the machine bore could not be added: %s", results.dir, strerror(-res));
    else if (run.load && run.err)
        json_decref(run.load);
    campaign_results_close(&results);
    campaign_give_back(results.dir);
    if (run.pcap.dir)
        campaign_give_back(run.pcap.dir);
    return status;
}

static int run_plan(struct plan *p)
{
    char err[LAB_ERROR_LEN];
    struct loop *loop;
    int res = campaign_program_dir(p->program_dir);
    if (res < 0)
        base_error("this program's own place is not to be found: %s", strerror(-res));
    if (res < 0 || read_plan(p) < 0 || check_programs(p) < 0 || campaign_turn_check(p->cells, p->n) < 0 ||
        check_mapper(p) < 0 || make_tallies(p) < 0 || check_open_files(p) < 0 ||
        campaign_pcap_prepare(&p->options.common.pcap) < 0)
        return BASE_EXIT_USAGE;
    if (lab_enter(err) < 0) {
        base_error("%s", err);
        return BASE_EXIT_USAGE;
    }
    res = loop_create(&loop, 0);
    if (res < 0) {
        base_error("%s", loop_explain(res));
        return BASE_EXIT_USAGE;
    }
    int status = measure(p, loop);
    loop_destroy(loop);
    return status;
}

int campaign_cmd_run(int argc, char **argv)
{
    static const struct argp_child children[] = {{&campaign_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
    static const struct argp argp = {option_table, parse_option, "CAMPAIGN", doc, children, NULL, NULL};
    struct plan *p = calloc(1, sizeof(*p));
    if (!p) {
        base_error("no memory");
        return BASE_EXIT_USAGE;
    }
    argp_parse(&argp, argc, argv, 0, NULL, &p->options);
    int status = run_plan(p);
    plan_free(p);
    return status;
}
