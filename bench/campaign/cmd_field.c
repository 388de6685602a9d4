/* bench field: a campaign between two real lines. bench/field/peer runs it on both hosts. */
#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/commands.h"
#include "bench/campaign/field.h"
#include "bench/campaign/places.h"

/* Trials of one technique in a row: a session's set-up is spread over them, and drift still hits all techniques alike.
 */
#define DEFAULT_BLOCK 5

enum {
    KEY_NAT_A = 256,
    KEY_NAT_B,
    KEY_LINK,
    KEY_BLOCK,
    KEY_TRIALS,
    KEY_SEED,
    KEY_SERVER,
    KEY_UDP_A,
    KEY_UDP_B,
    KEY_TCP_A,
    KEY_TCP_B,
    KEY_OUT = 'o',
};

struct options {
    const char *verb, *campaign, *nat_a, *nat_b, *link, *out;
    struct campaign_common common;
    uint64_t block, trials, seed;
    bool has_trials, has_seed;
    struct field field;
};

static const struct argp_option option_table[] = {
    {"nat-a", KEY_NAT_A, "NAME", 0, "what you call the NAT of host a", 1},
    {"nat-b", KEY_NAT_B, "NAME", 0, "and that of host b", 1},
    {"link", KEY_LINK, "NAME", 0, "what you call the way between them (field)", 1},
    {"trials", KEY_TRIALS, "N", 0, "trials a technique, instead of the file's", 2},
    {"seed", KEY_SEED, "N", 0, "instead of the file's", 2},
    {"block", KEY_BLOCK, "N", 0, "trials of one technique in a row (5)", 2},
    {"out", KEY_OUT, "DIR", 0, "collect: where the results go", 3},
    {"server", KEY_SERVER, "TEXT", 0, "collect: where S was, for run.json", 3},
    {"discovered-udp-a", KEY_UDP_A, "FILE", 0, "collect: what 'discover --json' said on host a", 3},
    {"discovered-tcp-a", KEY_TCP_A, "FILE", 0, "collect: the same over TCP", 3},
    {"discovered-udp-b", KEY_UDP_B, "FILE", 0, "collect: what it said on host b", 3},
    {"discovered-tcp-b", KEY_TCP_B, "FILE", 0, "collect: the same over TCP", 3},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const char doc[] =
    "A campaign between two real lines: the same file as for the lab, whose techniques and trials count.\v"
    "  bench field plan CAMPAIGN --nat-a home --nat-b office        its steps, one a line\n"
    "  bench field collect CAMPAIGN --nat-a home --nat-b office --out r1 TRIALS.jsonl...\n"
    "\n"
    "The script bench/field/peer runs the plan on both hosts; S records (rendezvous --record DIR). 'collect' makes a "
    "folder of results, as 'bench run' does, of S's trials.jsonl: with the options of the plan. All techniques are "
    "measured in blocks, whose order is drawn anew from the seed in each round. A step has, with tabs between: its "
    "round, cell, first trial, trials, seed, program, mode, timeout in ns, and options.\n"
    "\n"
    "Exit status: 0 done; 1 usage or environment; 2 collected, but trials are missing.";

/* A part of cells' names. */
static const char *checked(struct argp_state *state, const char *option, const char *name, size_t longest)
{
    size_t len = strlen(name);
    bool good = len > 0 && len <= longest && *name != '.' && *name != '-';
    for (size_t i = 0; good && i < len; i++)
        good = isalnum((unsigned char)name[i]) || strchr("-_.", name[i]);
    if (!good)
        argp_error(state, "--%s '%s': write 1 to %zu letters, digits, '-', '_' or '.'", option, name, longest);
    return name;
}

static void take_word(struct argp_state *state, struct options *o, char *arg)
{
    if (!o->verb)
        o->verb = arg;
    else if (!o->campaign)
        o->campaign = arg;
    else if (o->field.n_files == FIELD_MAX_FILES)
        argp_error(state, "more than %d files", FIELD_MAX_FILES);
    else
        o->field.files[o->field.n_files++] = arg;
}

static void check_words(struct argp_state *state, const struct options *o)
{
    bool collect = o->verb && strcmp(o->verb, "collect") == 0;
    if (!o->verb || (!collect && strcmp(o->verb, "plan") != 0))
        argp_error(state, "say plan or collect first%s%s", o->verb ? ", not " : "", o->verb ? o->verb : "");
    if (!o->campaign)
        argp_error(state, "which CAMPAIGN? An INI file, or a name that 'bench list' shows");
    if (!o->nat_a || !o->nat_b)
        argp_error(state, "--nat-a and --nat-b are needed: what you call the two NATs");
    if (collect && (!o->out || o->field.n_files == 0))
        argp_error(state, "collect needs --out DIR, and the trials.jsonl that S recorded");
    if (!collect && o->field.n_files)
        argp_error(state, "plan takes one CAMPAIGN, and '%s' is too much", o->field.files[0]);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case KEY_NAT_A:
        o->nat_a = checked(state, "nat-a", arg, CAMPAIGN_SIDE_LEN);
        return 0;
    case KEY_NAT_B:
        o->nat_b = checked(state, "nat-b", arg, CAMPAIGN_SIDE_LEN);
        return 0;
    case KEY_LINK:
        o->link = checked(state, "link", arg, CAMPAIGN_LINK_NAME);
        return 0;
    case KEY_BLOCK:
        campaign_parse_number(state, "block", arg, 1, CAMPAIGN_MAX_TRIALS, &o->block);
        return 0;
    case KEY_TRIALS:
        campaign_parse_number(state, "trials", arg, 1, CAMPAIGN_MAX_TRIALS, &o->trials);
        o->has_trials = true;
        return 0;
    case KEY_SEED:
        campaign_parse_number(state, "seed", arg, 0, (1ULL << 53) - 1, &o->seed);
        o->has_seed = true;
        return 0;
    case KEY_OUT:
        o->out = arg;
        return 0;
    case KEY_SERVER:
        o->field.server = arg;
        return 0;
    case KEY_UDP_A:
    case KEY_UDP_B:
        o->field.discovered[key - KEY_UDP_A][0] = arg;
        return 0;
    case KEY_TCP_A:
    case KEY_TCP_B:
        o->field.discovered[key - KEY_TCP_A][1] = arg;
        return 0;
    case ARGP_KEY_ARG:
        take_word(state, o, arg);
        return 0;
    case ARGP_KEY_END:
        check_words(state, o);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- the campaign, between two lines --------------------------------------------------------- */

static void put_field(struct campaign_config *c, const struct options *o)
{
    c->nats_a[0] = (struct campaign_side){.n = 0};
    c->nats_b[0] = (struct campaign_side){.n = 0};
    snprintf(c->nats_a[0].name, sizeof(c->nats_a[0].name), "%s", o->nat_a);
    snprintf(c->nats_b[0].name, sizeof(c->nats_b[0].name), "%s", o->nat_b);
    c->n_a = c->n_b = c->n_links = 1;
    c->n_pairs = c->profiles.n = c->n_expects = 0;
    c->links[0] = (struct campaign_link){.line = 0};
    snprintf(c->links[0].label, sizeof(c->links[0].label), "%s", o->link);
    c->warmup = 0;
    c->until_width = 0;
    c->parallel = 1;
    c->block = o->block;
    if (o->has_seed)
        c->seed = o->seed;
    if (o->has_trials) {
        c->trials = o->trials;
        c->n_budgets = 0;
    }
}

static int read_field(struct options *o)
{
    struct field *f = &o->field;
    char path[PATH_MAX], profiles[PATH_MAX], err[CAMPAIGN_ERROR_LEN];
    campaign_profile_dir(&o->common, profiles);
    campaign_find(o->campaign, path);
    int res = campaign_config_read(path, profiles, &f->config, err);
    for (size_t i = 0; res == 0 && i < f->config.n_techniques; i++)
        if (f->config.techniques[i].exec.used)
            res = campaign_fail(-EINVAL, err, "%.200s: technique %s runs commands in the lab, and not in the field",
                                path, f->config.techniques[i].label);
    if (res < 0) {
        base_error("%s", err);
        return res;
    }
    put_field(&f->config, o);
    res = campaign_expand(&f->config, NULL, &f->cells, &f->n);
    for (size_t i = 0; res == 0 && i < f->n; i++)
        if (strlen(f->cells[i].name) >= CAMPAIGN_CELL_NAME) {
            base_error("%s is too long for a cell's name: use shorter names", f->cells[i].name);
            return -EINVAL;
        }
    if (res < 0)
        base_error("no memory");
    return res;
}

/* ---- the plan -------------------------------------------------------------------------------- */

static void print_step(uint64_t round, const struct campaign_cell *cell, uint64_t block, uint64_t timeout_ns)
{
    uint64_t first = round * block, left = first < cell->trials ? cell->trials - first : 0;
    if (left == 0)
        return;
    printf("%llu\t%s\t%llu\t%llu\t%llu\t%s\t%s\t%llu\t%s\n", (unsigned long long)round, cell->name,
           (unsigned long long)first, (unsigned long long)(left < block ? left : block), (unsigned long long)cell->seed,
           cell->choice->technique->program, cell->choice->mode, (unsigned long long)timeout_ns, cell->choice->options);
}

static int print_plan(const struct field *f)
{
    uint64_t block = f->config.block, most = 0;
    for (size_t i = 0; i < f->n; i++)
        most = f->cells[i].trials > most ? f->cells[i].trials : most;
    for (uint64_t round = 0; round * block < most; round++) {
        struct base_perm order;
        struct base_rng rng;
        base_rng_derive(&rng, f->config.seed, "field order", round);
        base_perm_init(&order, f->n, base_rng_u64(&rng));
        for (size_t i = 0; i < f->n; i++)
            print_step(round, &f->cells[base_perm_at(&order, i)], block, f->config.timeout_ns);
    }
    return fflush(stdout) == 0 ? BASE_EXIT_OK : BASE_EXIT_USAGE;
}

static int collect(struct options *o)
{
    uint64_t missing;
    if (field_collect(&o->field, o->out, &missing) < 0)
        return BASE_EXIT_USAGE;
    campaign_give_back(o->out);
    if (missing)
        printf("%llu trials are missing\n", (unsigned long long)missing);
    printf("results: %s\n", o->out);
    return missing ? BASE_EXIT_FAILED : BASE_EXIT_OK;
}

int campaign_cmd_field(int argc, char **argv)
{
    static const struct argp_child children[] = {{&campaign_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
    static const struct argp argp = {
        option_table, parse_option, "plan|collect CAMPAIGN [TRIALS.jsonl...]", doc, children, NULL, NULL};
    static struct options o = {.block = DEFAULT_BLOCK, .link = "field"};
    static char *files[FIELD_MAX_FILES];
    o.field.files = files;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    int status = read_field(&o) < 0               ? BASE_EXIT_USAGE
                 : strcmp(o.verb, "collect") == 0 ? collect(&o)
                                                  : print_plan(&o.field);
    free(o.field.cells);
    return status;
}
