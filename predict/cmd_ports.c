/* predict ports FILE: samples in, behaviour and ranked candidates out. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "predict/program.h"

/* Of a longer trace the end counts. */
#define MOST_KEPT 128

enum {
    KEY_AFTER = 256,
    KEY_OWN,
    KEY_PROBES,
    KEY_INTERVAL,
    KEY_PREDICTOR,
    KEY_TOP,
    KEY_LOCAL,
    KEY_TARGET,
    KEY_SEED,
    KEY_JSON
};

struct ports {
    const char *path;
    struct predict_query query;
    enum predict_kind kind;
    unsigned top;
    double target;
    uint64_t seed;
    bool json;
    struct predict_sample samples[MOST_KEPT];
    unsigned n;
    struct predict_behaviour behaviour;
    struct predict_candidate candidates[65536];
    size_t found, enough;
};

static const struct argp_option options[] = {
    {"after", KEY_AFTER, "TIME", 0, "from the last sample to the first probe (100ms)", 1},
    {"probes", KEY_PROBES, "M", 0, "mappings in sequence of which any may hit (1)", 1},
    {"interval", KEY_INTERVAL, "TIME", 0, "between two probes (0: all at once)", 1},
    {"own", KEY_OWN, "N", 0, "other mappings of ours made before them (0)", 1},
    {"local", KEY_LOCAL, "ADDR:PORT", 0, "where the first probe comes from, if that is known", 1},
    {"predictor", KEY_PREDICTOR, "NAME", 0,
     "mixture (default), preserve, sequential, range, pool, random, +50, +-10, -20+30, scan", 2},
    {"target", KEY_TARGET, "P", 0, "say how many holes reach this probability (0.99)", 2},
    {"top", KEY_TOP, "N", 0, "candidates to print (20)", 2},
    {"seed", KEY_SEED, "N", 0, "orders candidates that are equally likely (1)", 2},
    {"json", KEY_JSON, NULL, 0, "one JSON object on stdout", 3},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct ports *p = state->input;
    switch (key) {
    case KEY_AFTER:
        p->query.after = program_seconds(state, "after", arg);
        break;
    case KEY_INTERVAL:
        p->query.interval = program_seconds(state, "interval", arg);
        break;
    case KEY_OWN:
        p->query.own_before = (unsigned)program_integer(state, "own", arg, 0, 65535);
        break;
    case KEY_PROBES:
        p->query.probes = (unsigned)program_integer(state, "probes", arg, 1, 65535);
        break;
    case KEY_LOCAL:
        if (predict_ep_parse(arg, strlen(arg), &p->query.local) < 0 || p->query.local.port == 0)
            argp_error(state, "--local '%s': ADDR:PORT is needed, as 10.0.0.2:40000", arg);
        break;
    case KEY_PREDICTOR:
        p->kind = program_kind(state, arg);
        break;
    case KEY_TARGET:
        p->target = program_number(state, "target", arg, 0, 1);
        break;
    case KEY_TOP:
        p->top = (unsigned)program_integer(state, "top", arg, 0, 65536);
        break;
    case KEY_SEED:
        p->seed = program_integer(state, "seed", arg, 0, UINT64_MAX);
        break;
    case KEY_JSON:
        p->json = true;
        break;
    case ARGP_KEY_ARG:
        if (p->path)
            argp_error(state, "one FILE at a time");
        p->path = arg;
        break;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "FILE is needed: a trace (see predict --help), or - for stdin");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static bool read_samples(struct ports *p)
{
    struct program_trace t;
    struct predict_sample s;
    enum program_next next;
    if (!program_trace_open(&t, p->path))
        return false;
    while ((next = program_trace_next(&t, &s)) == PROGRAM_SAMPLE || next == PROGRAM_RESTART) {
        p->n = next == PROGRAM_RESTART ? 0 : p->n;
        if (p->n == MOST_KEPT)
            memmove(p->samples, p->samples + 1, --p->n * sizeof(p->samples[0]));
        p->samples[p->n++] = s;
    }
    program_trace_close(&t);
    if (next == PROGRAM_END && p->n == 0)
        fprintf(stderr, "predict: %s has no samples\n", p->path);
    return next == PROGRAM_END && p->n > 0;
}

static bool predict(struct ports *p)
{
    struct predict_rng rng;
    predict_rng_seed(&rng, p->seed);
    predict_classify(p->samples, p->n, &p->behaviour);
    struct predict_model *m = predict_model_create(p->kind, p->samples, p->n, &p->behaviour, &p->query);
    if (!m) {
        fprintf(stderr, "predict: out of memory\n");
        return false;
    }
    p->found = predict_rank(m, p->candidates, sizeof(p->candidates) / sizeof(p->candidates[0]), &rng);
    predict_model_free(m);
    double sum = 0;
    for (size_t i = 0; i < p->found && p->enough == 0; i++) {
        sum += p->candidates[i].p;
        p->enough = sum >= p->target ? i + 1 : 0;
    }
    return true;
}

/* ---- for people ---------------------------------------------------------------------------------- */

static void print_behaviour(struct predict_behaviour *b)
{
    for (int i = 0; i < PREDICT_N_PROPERTIES; i++) {
        const struct predict_belief *belief = predict_belief(b, (enum predict_property)i);
        if (belief->value)
            printf("%-10s %s (%.1f %%)\n", predict_property_name((enum predict_property)i),
                   predict_value_name((enum predict_property)i, belief->value), 100 * belief->confidence);
    }
    if (b->step)
        printf("step       %+d, %u sequence%s\n", b->step, b->sequences, b->sequences == 1 ? "" : "s");
    if (b->foreign_seconds > 0)
        printf("others     %.0f allocations in %.3f s (variance / mean %.1f)\n", b->foreign_seen, b->foreign_seconds,
               b->foreign_dispersion);
    if (b->range_hi)
        printf("range      %u-%u (seen: %u-%u in %u draws)\n", b->range_lo, b->range_hi, b->port_min, b->port_max,
               b->port_draws);
    if (b->pool_seen > 1)
        printf("pool       %u addresses seen, %u likely\n", b->pool_seen, b->pool_size);
}

static void print_people(struct ports *p)
{
    char text[PREDICT_EP_TEXT];
    double sum = 0;
    printf("samples    %u\n", p->behaviour.samples);
    print_behaviour(&p->behaviour);
    if (p->enough)
        printf("holes      %zu for %.1f %% (%u probe%s)\n", p->enough, 100 * p->target, p->query.probes,
               p->query.probes == 1 ? "" : "s");
    else
        printf("holes      %.1f %% is out of reach: all %zu candidates together have %.1f %%\n", 100 * p->target,
               p->found, 100 * predict_sum(p->candidates, p->found));
    printf("\n%6s  %-24s %12s %12s\n", "rank", "candidate", "p", "sum");
    for (size_t i = 0; i < p->found && i < p->top; i++) {
        sum += p->candidates[i].p;
        printf("%6zu  %-24s %12.8f %12.8f\n", i + 1, predict_ep_text(&p->candidates[i].ep, text, sizeof(text)),
               p->candidates[i].p, sum);
    }
}

/* ---- for programs -------------------------------------------------------------------------------- */

static json_t *behaviour_json(struct predict_behaviour *b)
{
    json_t *o = json_object();
    for (int i = 0; i < PREDICT_N_PROPERTIES; i++) {
        const struct predict_belief *belief = predict_belief(b, (enum predict_property)i);
        json_object_set_new(o, predict_property_name((enum predict_property)i),
                            json_pack("{s:s, s:f}", "value",
                                      predict_value_name((enum predict_property)i, belief->value), "confidence",
                                      belief->confidence));
    }
    bool range = b->range_hi != 0, seen = b->foreign_seconds > 0;
    json_object_set_new(o, "samples", json_integer(b->samples));
    json_object_set_new(o, "step", b->step ? json_integer(b->step) : json_null());
    json_object_set_new(o, "sequences", b->sequences ? json_integer(b->sequences) : json_null());
    json_object_set_new(o, "range_lo", range ? json_integer(b->range_lo) : json_null());
    json_object_set_new(o, "range_hi", range ? json_integer(b->range_hi) : json_null());
    json_object_set_new(o, "pool_seen", json_integer(b->pool_seen));
    json_object_set_new(o, "pool_size", json_integer(b->pool_size));
    json_object_set_new(o, "foreign_seen", seen ? json_real(b->foreign_seen) : json_null());
    json_object_set_new(o, "foreign_seconds", seen ? json_real(b->foreign_seconds) : json_null());
    json_object_set_new(o, "foreign_dispersion", seen ? json_real(b->foreign_dispersion) : json_null());
    return o;
}

static void print_json(struct ports *p)
{
    char text[PREDICT_EP_TEXT];
    json_t *list = json_array();
    for (size_t i = 0; i < p->found && i < p->top; i++)
        json_array_append_new(list, json_pack("{s:s, s:f}", "endpoint",
                                              predict_ep_text(&p->candidates[i].ep, text, sizeof(text)), "p",
                                              p->candidates[i].p));
    json_t *o = json_pack("{s:i, s:s, s:o, s:s, s:i, s:f, s:f, s:o, s:o}", "schema", 1, "type", "ports", "behaviour",
                          behaviour_json(&p->behaviour), "predictor", predict_kind_name(p->kind), "probes",
                          (int)p->query.probes, "after_s", p->query.after, "target", p->target, "holes",
                          p->enough ? json_integer((json_int_t)p->enough) : json_null(), "candidates", list);
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
    putchar('\n');
    json_decref(o);
}

int program_ports(int argc, char **argv)
{
    static const struct argp argp = {
        options,
        parse,
        "FILE",
        "What is this NAT, and which port comes next?\v"
        "A candidate's p is what it adds to the success probability of those before it: the sum column is the success "
        "probability of that many holes against all probes. Example:\n\n"
        "  predict ports samples.csv --after 80ms --probes 16",
        NULL,
        NULL,
        NULL};
    struct ports *p = calloc(1, sizeof(*p));
    if (!p) {
        fprintf(stderr, "predict: out of memory\n");
        return EXIT_USAGE;
    }
    p->query = (struct predict_query){.after = 0.1, .probes = 1};
    p->top = 20;
    p->target = 0.99;
    p->seed = 1;
    argp_parse(&argp, argc, argv, 0, NULL, p);
    bool good = read_samples(p) && predict(p);
    if (good && p->json)
        print_json(p);
    else if (good)
        print_people(p);
    free(p);
    return good ? 0 : EXIT_USAGE;
}
