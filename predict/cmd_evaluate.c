/* predict evaluate TRACE.csv: how often would each predictor have hit? */
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "predict/evaluate.h"
#include "predict/program.h"

enum { KEY_MAX = 256, KEY_SEED, KEY_JSON };

/* A prediction by every predictor takes milliseconds: of a million lines so many, evenly spread, are predicted. */
#define DEFAULT_MAX 5000
#define Z95         1.959964

struct job {
    const char *path;
    uint64_t max, seed, lines, every;
    bool json;
    struct program_trace trace;
    struct evaluate evaluate;
};

static const struct argp_option options[] = {
    {"max", KEY_MAX, "N", 0, "predict at most so many of the samples, evenly spread (5000)", 1},
    {"seed", KEY_SEED, "N", 0, "orders candidates that are equally likely (1)", 1},
    {"json", KEY_JSON, NULL, 0, "one JSON object on stdout", 2},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct job *j = state->input;
    switch (key) {
    case KEY_MAX:
        j->max = program_integer(state, "max", arg, 1, 1000000000);
        break;
    case KEY_SEED:
        j->seed = program_integer(state, "seed", arg, 0, UINT64_MAX);
        break;
    case KEY_JSON:
        j->json = true;
        break;
    case ARGP_KEY_ARG:
        if (j->path)
            argp_error(state, "one TRACE at a time");
        j->path = arg;
        break;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "TRACE.csv is needed (see predict --help for its form)");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* One pass counts, so that the predictions can be spread. Stdin is read once, and predicted from its beginning. */
static void count_lines(struct job *j)
{
    j->every = 1;
    if (j->path[0] == '-' && j->path[1] == 0)
        return;
    struct stat st;
    FILE *file = stat(j->path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(j->path, "r") : NULL;
    if (!file)
        return; /* a pipe is read once; opening what is not there says why */
    for (int c; (c = getc_unlocked(file)) != EOF;)
        j->lines += c == '\n';
    fclose(file);
    /* The first line is the header. */
    j->every = j->lines > 1 ? (j->lines - 1 + j->max - 1) / j->max : 1;
}

static bool replay(struct job *j)
{
    struct predict_sample s;
    enum program_next next;
    if (!program_trace_open(&j->trace, j->path))
        return false;
    while ((next = program_trace_next(&j->trace, &s)) == PROGRAM_SAMPLE || next == PROGRAM_RESTART) {
        if (next == PROGRAM_RESTART)
            predict_evaluate_forget(&j->evaluate);
        bool skip = j->trace.samples % j->every != 0 || j->evaluate.predictions >= j->max;
        if (predict_evaluate_add(&j->evaluate, &s, skip) < 0) {
            fprintf(stderr, "predict: out of memory\n");
            next = PROGRAM_BAD;
            break;
        }
    }
    program_trace_close(&j->trace);
    if (next == PROGRAM_END && j->evaluate.predictions == 0)
        fprintf(stderr, "predict: %s has %llu samples: two or more are needed\n", j->path,
                (unsigned long long)j->trace.samples);
    return next == PROGRAM_END && j->evaluate.predictions > 0;
}

/* ---- output -------------------------------------------------------------------------------------- */

static void print_people(const struct job *j)
{
    const struct evaluate *e = &j->evaluate;
    double n = (double)e->predictions, lo, hi;
    printf("samples %llu, predicted %llu (each from the %d before it)\n", (unsigned long long)j->trace.samples,
           (unsigned long long)e->predictions, EVALUATE_CONTEXT);
    if (j->trace.duplicates + j->trace.restarts + j->trace.gaps + j->trace.families)
        printf(
            "left out: %llu duplicates, %llu of the other family; recordings begun anew: %llu, after long gaps: %llu\n",
            (unsigned long long)j->trace.duplicates, (unsigned long long)j->trace.families,
            (unsigned long long)j->trace.restarts, (unsigned long long)j->trace.gaps);
    printf("\n%-12s %9s %9s %9s %9s   %10s\n", "predictor", "hits @1", "@10", "@50", "@1000", "bits");
    for (int k = 0; k < PREDICT_N_KINDS; k++) {
        printf("%-12s", predict_kind_name((enum predict_kind)k));
        for (int i = 0; i < EVALUATE_BUDGETS; i++)
            printf(" %7.2f %%", 100 * (double)e->score[k].hits[i] / n);
        printf("   %10.3f\n", e->score[k].bits / n);
    }
    printf("\nbits: mean -log2 of the probability given to the port that came, at most %g\n", EVALUATE_FLOOR_BITS);
    printf("\nmixture at 50 candidates: predicted, and what came\n%-12s %9s %12s %9s  95 %% interval\n", "predicted",
           "n", "mean", "hits");
    for (int i = 0; i < 10; i++) {
        const struct predict_bin *b = &e->score[PREDICT_MIXTURE].bins[i];
        if (b->n == 0)
            continue;
        predict_wilson(b->hits, b->n, Z95, &lo, &hi);
        printf("%.1f - %.1f    %9llu %12.4f %9.4f  %.4f - %.4f\n", i / 10.0, (i + 1) / 10.0, (unsigned long long)b->n,
               b->predicted / (double)b->n, (double)b->hits / (double)b->n, lo, hi);
    }
}

static json_t *calibration_json(const struct evaluate_score *score)
{
    json_t *list = json_array();
    for (int i = 0; i < 10; i++)
        if (score->bins[i].n)
            json_array_append_new(list,
                                  json_pack("{s:f, s:I, s:f, s:I}", "from", i / 10.0, "n", (json_int_t)score->bins[i].n,
                                            "predicted", score->bins[i].predicted / (double)score->bins[i].n, "hits",
                                            (json_int_t)score->bins[i].hits));
    return list;
}

static void print_json(const struct job *j)
{
    const struct evaluate *e = &j->evaluate;
    json_t *predictors = json_object();
    for (int k = 0; k < PREDICT_N_KINDS; k++) {
        json_t *hits = json_object();
        for (int i = 0; i < EVALUATE_BUDGETS; i++) {
            char budget[16];
            snprintf(budget, sizeof(budget), "%u", predict_budgets[i]);
            json_object_set_new(hits, budget, json_integer((json_int_t)e->score[k].hits[i]));
        }
        json_object_set_new(predictors, predict_kind_name((enum predict_kind)k),
                            json_pack("{s:o, s:f, s:o}", "hits", hits, "bits",
                                      e->score[k].bits / (double)e->predictions, "calibration",
                                      calibration_json(&e->score[k])));
    }
    json_t *o =
        json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "schema", 1, "type", "evaluate", "samples",
                  (json_int_t)j->trace.samples, "predictions", (json_int_t)e->predictions, "duplicates",
                  (json_int_t)j->trace.duplicates, "restarts", (json_int_t)j->trace.restarts, "gaps",
                  (json_int_t)j->trace.gaps, "other_family", (json_int_t)j->trace.families, "predictors", predictors);
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
    putchar('\n');
    json_decref(o);
}

int program_evaluate(int argc, char **argv)
{
    static const struct argp argp = {
        options,
        parse,
        "TRACE.csv",
        "Replays a trace: each mapping is predicted from those before it, by every predictor.\v"
        "hits @N: the port that came was among the first N candidates. Fixed windows (+50, +-10, -20+30, scan) are "
        "what "
        "other programs do. Example:\n\n  predict evaluate line.csv",
        NULL,
        NULL,
        NULL};
    struct job *j = calloc(1, sizeof(*j));
    if (!j) {
        fprintf(stderr, "predict: out of memory\n");
        return EXIT_USAGE;
    }
    j->max = DEFAULT_MAX;
    j->seed = 1;
    argp_parse(&argp, argc, argv, 0, NULL, j);
    predict_rng_seed(&j->evaluate.rng, j->seed);
    count_lines(j);
    bool good = replay(j);
    if (good && j->json)
        print_json(j);
    else if (good)
        print_people(j);
    free(j);
    return good ? 0 : EXIT_USAGE;
}
