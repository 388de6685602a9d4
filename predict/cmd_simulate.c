/* predict simulate: a simulated NAT, foreign traffic, a predictor and a budget; beside it the closed form. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "predict/internal.h"
#include "predict/program.h"

#define Z99 2.575829

enum {
    KEY_PORTS = 256,
    KEY_RANGE,
    KEY_STEP,
    KEY_POOL,
    KEY_FOREIGN,
    KEY_RATE,
    KEY_DISPERSION,
    KEY_SAMPLES,
    KEY_SAMPLE_INTERVAL,
    KEY_JITTER,
    KEY_AFTER,
    KEY_INTERVAL,
    KEY_OWN,
    KEY_PROBES,
    KEY_HOLES,
    KEY_PREDICTOR,
    KEY_WINDOW,
    KEY_TRIALS,
    KEY_SEED,
    KEY_COMPARE,
    KEY_JSON,
};

struct job {
    struct predict_sim sim;
    uint64_t trials, seed;
    bool window, compare, json;
    uint32_t ahead; /* 0: the best place */
};

struct outcome {
    uint64_t trials, hits;
    double predicted, brier, closed; /* NAN: does not apply */
    const char *closed_name;
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "The NAT:", 1},
    {"ports", KEY_PORTS, "HOW", 0, "sequential (default), random, block, band, preserve", 1},
    {"range", KEY_RANGE, "LO-HI", 0, "its ports (1024-65535)", 1},
    {"step", KEY_STEP, "N", 0, "of a sequence, may be negative (1)", 1},
    {"pool", KEY_POOL, "N", 0, "external addresses, one at random each time (1)", 1},
    {"foreign", KEY_FOREIGN, "HOW", 0, "allocations by others: none, poisson (default), negative-binomial", 1},
    {"rate", KEY_RATE, "N", 0, "of these, per second (51)", 1},
    {"dispersion", KEY_DISPERSION, "N", 0, "variance over mean of the negative binomial (2)", 1},
    {NULL, 0, NULL, 0, "What is done:", 2},
    {"samples", KEY_SAMPLES, "N", 0, "before the punch (5)", 2},
    {"sample-interval", KEY_SAMPLE_INTERVAL, "TIME", 0, "between two of them (40ms)", 2},
    {"jitter", KEY_JITTER, "TIME", 0, "by which their times are off at most (0)", 2},
    {"after", KEY_AFTER, "TIME", 0, "from the last sample to the first probe (100ms)", 2},
    {"own", KEY_OWN, "N", 0, "mappings of ours in between (0)", 2},
    {"probes", KEY_PROBES, "M", 0, "(1)", 2},
    {"interval", KEY_INTERVAL, "TIME", 0, "between two probes (0)", 2},
    {"holes", KEY_HOLES, "K", 0, "(16)", 2},
    {"predictor", KEY_PREDICTOR, "NAME", 0,
     "mixture (default), preserve, sequential, range, pool, random, +50, +-10, -20+30, scan", 2},
    {"window", KEY_WINDOW, "AHEAD", 0,
     "no predictor: K holes in a row, the first AHEAD allocations past the last sample (best: where formula 7 puts "
     "it). "
     "Random ports: any K. Fast, and what the closed forms describe",
     2},
    {NULL, 0, NULL, 0, "The run:", 3},
    {"trials", KEY_TRIALS, "N", 0, "(1000; with --window 1000000; with --compare 400 a cell)", 3},
    {"seed", KEY_SEED, "N", 0, "(1)", 3},
    {"compare", KEY_COMPARE, NULL, 0,
     "the table: sequential NATs of step 1 and 2, foreign rates 0 to 264/s, Poisson and negative binomial: the model "
     "against fixed windows at equal budgets",
     3},
    {"json", KEY_JSON, NULL, 0, "JSON on stdout", 3},
    {0},
};

static void set_range(struct argp_state *state, struct predict_sim *sim, const char *arg)
{
    char text[32];
    snprintf(text, sizeof(text), "%s", arg);
    char *dash = strchr(text, '-');
    if (!dash)
        argp_error(state, "--range '%s': LO-HI is needed, as 50001-65535", arg);
    else {
        *dash = 0;
        sim->lo = (uint16_t)program_integer(state, "range", text, 1, 65535);
        sim->hi = (uint16_t)program_integer(state, "range", dash + 1, sim->lo, 65535);
    }
}

static int one_of(struct argp_state *state, const char *name, const char *arg, const char *const names[], int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(arg, names[i]) == 0)
            return i;
    argp_error(state, "--%s '%s' is none of its values: see --help", name, arg);
    return 0;
}

static error_t parse_nat(int key, char *arg, struct argp_state *state, struct job *j)
{
    static const char *const foreign[] = {"none", "poisson", "negative-binomial"};
    struct predict_sim *s = &j->sim;
    switch (key) {
    case KEY_PORTS:
        if (predict_value_of(PREDICT_PORTS, arg) <= 0)
            argp_error(state, "--ports '%s': sequential, random, block, band or preserve is needed", arg);
        s->ports = (enum predict_ports)predict_value_of(PREDICT_PORTS, arg);
        break;
    case KEY_RANGE:
        set_range(state, s, arg);
        break;
    case KEY_STEP:
        s->step = (int)program_number(state, "step", arg, -1024, 1024);
        break;
    case KEY_POOL:
        s->addresses = (unsigned)program_integer(state, "pool", arg, 1, PREDICT_MAX_POOL);
        break;
    case KEY_FOREIGN:
        s->foreign = (enum predict_foreign)one_of(state, "foreign", arg, foreign, 3);
        break;
    case KEY_RATE:
        s->rate = program_number(state, "rate", arg, 0, 1e5);
        break;
    case KEY_DISPERSION:
        s->dispersion = program_number(state, "dispersion", arg, 1, 1000);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t parse_punch(int key, char *arg, struct argp_state *state, struct job *j)
{
    struct predict_sim *s = &j->sim;
    switch (key) {
    case KEY_SAMPLES:
        s->samples = (unsigned)program_integer(state, "samples", arg, 1, 128);
        break;
    case KEY_SAMPLE_INTERVAL:
        s->sample_interval = program_seconds(state, "sample-interval", arg);
        break;
    case KEY_JITTER:
        s->jitter = program_seconds(state, "jitter", arg);
        break;
    case KEY_AFTER:
        s->after = program_seconds(state, "after", arg);
        break;
    case KEY_INTERVAL:
        s->interval = program_seconds(state, "interval", arg);
        break;
    case KEY_OWN:
        s->own_before = (unsigned)program_integer(state, "own", arg, 0, 10000);
        break;
    case KEY_PROBES:
        s->probes = (unsigned)program_integer(state, "probes", arg, 1, 65535);
        break;
    case KEY_HOLES:
        s->holes = (unsigned)program_integer(state, "holes", arg, 1, 65535);
        break;
    case KEY_PREDICTOR:
        s->kind = program_kind(state, arg);
        break;
    case KEY_WINDOW:
        j->window = true;
        j->ahead = strcmp(arg, "best") == 0 ? 0 : (uint32_t)program_integer(state, "window", arg, 1, 65535);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct job *j = state->input;
    if (parse_nat(key, arg, state, j) == 0 || parse_punch(key, arg, state, j) == 0)
        return 0;
    switch (key) {
    case KEY_TRIALS:
        j->trials = program_integer(state, "trials", arg, 1, 100000000000);
        break;
    case KEY_SEED:
        j->seed = program_integer(state, "seed", arg, 0, UINT64_MAX);
        break;
    case KEY_COMPARE:
        j->compare = true;
        break;
    case KEY_JSON:
        j->json = true;
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': simulate takes options only", arg);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* ---- the closed form beside it ------------------------------------------------------------------- */

static double rate_of(const struct predict_sim *s)
{
    return s->foreign == PREDICT_FOREIGN_NONE ? 0 : s->rate;
}

static void closed_form(const struct job *j, struct outcome *o)
{
    const struct predict_sim *s = &j->sim;
    bool poisson = s->foreign != PREDICT_FOREIGN_NEGATIVE_BINOMIAL || s->dispersion <= 1;
    uint32_t width = (uint32_t)s->hi - s->lo + 1, pool = s->addresses ? s->addresses : 1;
    o->closed = NAN;
    o->closed_name = "none that applies";
    if (s->ports == PREDICT_PORTS_PRESERVE)
        return;
    if (s->ports != PREDICT_PORTS_SEQUENTIAL) {
        o->closed = predict_p_random(width * pool, s->holes, s->probes);
        o->closed_name = "formula 1, range known";
    } else if (j->window && poisson && s->own_before < j->ahead) {
        o->closed = predict_p_sweep(rate_of(s), s->after, s->interval, s->probes, s->holes, j->ahead - s->own_before);
        o->closed_name = "formula 7, rate known";
    } else if (!j->window && pool == 1 && (s->probes == 1 || s->interval <= 0)) {
        uint64_t covered = (uint64_t)s->holes * s->probes;
        o->closed = predict_p_overdispersed(rate_of(s) * s->after, poisson ? 1 : s->dispersion,
                                            covered < width ? (uint32_t)covered : width);
        o->closed_name = "formula 5, rate known";
    }
}

/* ---- the run ------------------------------------------------------------------------------------- */

static int run(struct job *j, struct outcome *o)
{
    struct predict_rng rng;
    struct predict_sim_result r;
    predict_rng_seed(&rng, j->seed);
    if (j->window && j->ahead == 0)
        j->ahead = predict_best_ahead(rate_of(&j->sim), j->sim.after, j->sim.interval, j->sim.probes, j->sim.holes) +
                   j->sim.own_before;
    *o = (struct outcome){.trials = j->trials, .predicted = NAN, .brier = NAN};
    closed_form(j, o);
    if (j->window) {
        int err = predict_simulate(&j->sim, 0, &rng, &r);
        if (err == 0)
            o->hits = predict_simulate_window(&j->sim, j->ahead, j->trials, &rng);
        return err;
    }
    int err = predict_simulate(&j->sim, j->trials, &rng, &r);
    o->hits = r.hits;
    o->predicted = r.predicted;
    o->brier = r.brier;
    return err;
}

static void print_people(const struct job *j, const struct outcome *o)
{
    double lo, hi;
    predict_wilson(o->hits, o->trials, Z99, &lo, &hi);
    printf("trials      %llu (seed %llu)\n", (unsigned long long)o->trials, (unsigned long long)j->seed);
    printf("holes       %u, probes %u%s", j->sim.holes, j->sim.probes, j->window ? "" : ", predictor ");
    printf("%s\n", j->window ? "" : predict_kind_name(j->sim.kind));
    if (j->window && j->sim.ports == PREDICT_PORTS_SEQUENTIAL)
        printf("window      from %u allocations ahead\n", j->ahead);
    printf("success     %.4f  (%llu hits, 99 %% interval %.4f - %.4f)\n", (double)o->hits / (double)o->trials,
           (unsigned long long)o->hits, lo, hi);
    if (!isnan(o->predicted))
        printf("predicted   %.4f  (mean of what the predictor said; Brier score %.4f)\n", o->predicted, o->brier);
    if (isnan(o->closed))
        printf("closed form %s\n", o->closed_name);
    else
        printf("closed form %.4f  (%s%s)\n", o->closed, o->closed_name,
               j->window ? "" : ": what nobody who must learn it can beat");
}

static json_t *number(double x)
{
    return isnan(x) ? json_null() : json_real(x);
}

static void print_json(const struct job *j, const struct outcome *o)
{
    double lo, hi;
    const struct predict_sim *s = &j->sim;
    predict_wilson(o->hits, o->trials, Z99, &lo, &hi);
    json_t *out = json_pack(
        "{s:i, s:s, s:I, s:s, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:i, s:i, s:I, s:I, s:f, s:f, s:o, s:o, s:o}",
        "schema", 1, "type", "simulate", "seed", (json_int_t)j->seed, "ports",
        predict_value_name(PREDICT_PORTS, s->ports), "lo", s->lo, "hi", s->hi, "step", s->step, "pool",
        (int)(s->addresses ? s->addresses : 1), "rate", rate_of(s), "dispersion",
        s->foreign == PREDICT_FOREIGN_NEGATIVE_BINOMIAL ? s->dispersion : 1.0, "after_s", s->after, "holes",
        (int)s->holes, "probes", (int)s->probes, "trials", (json_int_t)o->trials, "hits", (json_int_t)o->hits,
        "wilson99_lo", lo, "wilson99_hi", hi, "predicted", number(o->predicted), "brier", number(o->brier), "closed",
        number(o->closed));
    json_object_set_new(out, "predictor", j->window ? json_null() : json_string(predict_kind_name(s->kind)));
    json_object_set_new(out, "window_ahead", j->window ? json_integer(j->ahead) : json_null());
    json_dumpf(out, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
    putchar('\n');
    json_decref(out);
}

int program_simulate(int argc, char **argv)
{
    static const struct argp argp = {
        options,
        parse,
        NULL,
        "How often does a budget hit, on a simulated NAT?\v"
        "A formula's check, and a learner's result beside what perfect knowledge would reach:\n\n"
        "  predict simulate --ports random --range 1024-2047 --holes 16 --probes 64 --window best\n"
        "  predict simulate --rate 264 --foreign negative-binomial --dispersion 4 --holes 64\n"
        "  predict simulate --compare",
        NULL,
        NULL,
        NULL};
    struct job j = {.seed = 1,
                    .sim = {.ports = PREDICT_PORTS_SEQUENTIAL,
                            .lo = 1024,
                            .hi = 65535,
                            .step = 1,
                            .foreign = PREDICT_FOREIGN_POISSON,
                            .rate = 51,
                            .dispersion = 2,
                            .samples = 5,
                            .sample_interval = 0.04,
                            .after = 0.1,
                            .probes = 1,
                            .holes = 16}};
    struct outcome o;
    argp_parse(&argp, argc, argv, 0, NULL, &j);
    if (j.compare)
        return program_compare(&j.sim, j.trials ? j.trials : 400, j.seed, j.json);
    j.trials = j.trials ? j.trials : j.window ? 1000000 : 1000;
    int err = run(&j, &o);
    if (err < 0) {
        fprintf(stderr, "predict: simulate: %s\n",
                err == -EINVAL ? "these options contradict each other: a step of 0, or more of our mappings than ports"
                               : strerror(-err));
        return EXIT_USAGE;
    }
    if (j.json)
        print_json(&j, &o);
    else
        print_people(&j, &o);
    return 0;
}
