/* predict simulate --compare: the model against the fixed windows of other programs, at equal budgets, in one run. */
#include <jansson.h>
#include <string.h>

#include "predict/program.h"

/* Budgets at which one of the windows is complete: +-10 has 21 ports, +50 has 50, -20+30 has 51. */
static const unsigned budgets[] = {21, 51};
static const double rates[] = {0, 1, 10, 51, 264};
static const int steps[] = {1, 2};
static const struct {
    const char *name;
    enum predict_foreign foreign;
    double dispersion;
} traffic[] = {
    {"poisson", PREDICT_FOREIGN_POISSON, 1},
    {"negative-binomial 2", PREDICT_FOREIGN_NEGATIVE_BINOMIAL, 2},
    {"negative-binomial 4", PREDICT_FOREIGN_NEGATIVE_BINOMIAL, 4},
};
static const enum predict_kind kinds[] = {PREDICT_MIXTURE, PREDICT_FIXED_PLUS50, PREDICT_FIXED_PM10,
                                          PREDICT_FIXED_MINUS20_PLUS30, PREDICT_FIXED_SCAN};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* How many samples, how far apart, and how long until the probe: as given. */
static struct predict_sim cell(const struct predict_sim *how, unsigned budget, int step, double rate, size_t t)
{
    return (struct predict_sim){.ports = PREDICT_PORTS_SEQUENTIAL,
                                .lo = 1024,
                                .hi = 65535,
                                .step = step,
                                .foreign = traffic[t].foreign,
                                .rate = rate,
                                .dispersion = traffic[t].dispersion,
                                .samples = how->samples,
                                .sample_interval = how->sample_interval,
                                .jitter = 0.002,
                                .after = how->after,
                                .probes = 1,
                                .holes = budget};
}

static int measure(const struct predict_sim *base, uint64_t trials, uint64_t seed, struct predict_sim_result *out)
{
    for (size_t k = 0; k < COUNT(kinds); k++) {
        struct predict_sim sim = *base;
        struct predict_rng rng;
        sim.kind = kinds[k];
        predict_rng_seed(&rng, seed);
        int err = predict_simulate(&sim, trials, &rng, &out[k]);
        if (err < 0)
            return err;
    }
    return 0;
}

static void print_row(const struct predict_sim *s, size_t t, const struct predict_sim_result *r)
{
    printf("%6u %5d %6g  %-20s", s->holes, s->step, s->rate, traffic[t].name);
    for (size_t k = 0; k < COUNT(kinds); k++)
        printf(" %8.2f %%", 100 * (double)r[k].hits / (double)r[k].trials);
    printf("   %8.2f %%\n", 100 * r[0].predicted);
}

static void print_json_row(const struct predict_sim *s, size_t t, const struct predict_sim_result *r)
{
    json_t *hits = json_object();
    for (size_t k = 0; k < COUNT(kinds); k++)
        json_object_set_new(hits, predict_kind_name(kinds[k]), json_integer((json_int_t)r[k].hits));
    json_t *o = json_pack("{s:i, s:s, s:i, s:i, s:f, s:s, s:I, s:o, s:f, s:f}", "schema", 1, "type", "compare", "holes",
                          (int)s->holes, "step", s->step, "rate", s->rate, "foreign", traffic[t].name, "trials",
                          (json_int_t)r[0].trials, "hits", hits, "predicted", r[0].predicted, "brier", r[0].brier);
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
    putchar('\n');
    json_decref(o);
}

int program_compare(const struct predict_sim *how, uint64_t trials, uint64_t seed, bool json)
{
    struct predict_sim_result r[COUNT(kinds)];
    if (!json) {
        printf("One probe, %u samples %g ms apart, the probe %g ms after the last; %llu trials a cell, seed %llu\n\n",
               how->samples, 1e3 * how->sample_interval, 1e3 * how->after, (unsigned long long)trials,
               (unsigned long long)seed);
        printf("%6s %5s %6s  %-20s", "holes", "step", "rate/s", "foreign");
        for (size_t k = 0; k < COUNT(kinds); k++)
            printf(" %10s", k ? predict_kind_name(kinds[k]) : "model");
        printf("   %10s\n", "it said");
    }
    for (size_t b = 0; b < COUNT(budgets); b++)
        for (size_t s = 0; s < COUNT(steps); s++)
            for (size_t i = 0; i < COUNT(rates); i++)
                for (size_t t = 0; t < COUNT(traffic) && (rates[i] > 0 || t == 0); t++) {
                    struct predict_sim sim = cell(how, budgets[b], steps[s], rates[i], t);
                    int err = measure(&sim, trials, seed, r);
                    if (err < 0) {
                        fprintf(stderr, "predict: simulate --compare: %s\n", strerror(-err));
                        return EXIT_USAGE;
                    }
                    (json ? print_json_row : print_row)(&sim, t, r);
                }
    return 0;
}
