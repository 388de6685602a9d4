/*
 * What the predictor costs: simulated punches a second on one core (sequential model, 51/s, a window of 16), and the
 * time to rank all 64,512 ports, the worst of three situations. Prints lines NAME VALUE.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "predict/predict.h"

#define PUNCHES 20000000
#define ROUNDS  20

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double punch_rate(double dispersion, unsigned probes)
{
    struct predict_sim sim = {.ports = PREDICT_PORTS_SEQUENTIAL,
                              .lo = 1024,
                              .hi = 65535,
                              .step = 1,
                              .samples = 1,
                              .foreign = PREDICT_FOREIGN_NEGATIVE_BINOMIAL,
                              .rate = 51,
                              .dispersion = dispersion,
                              .after = 0.2,
                              .interval = 0.001,
                              .probes = probes,
                              .holes = 16};
    struct predict_rng rng;
    predict_rng_seed(&rng, 1);
    double begin = seconds();
    uint64_t hits = predict_simulate_window(&sim, 8, PUNCHES, &rng);
    double took = seconds() - begin;
    return hits > 0 && took > 0 ? PUNCHES / took : 0;
}

/* The samples of a NAT: in sequence, at random, at random on four addresses. */
static void make_samples(int how, struct predict_sample *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        s[i] = (struct predict_sample){
            .t = i * 0.04,
            .local = {.addr = {10, 0, 0, 2}, .len = 4, .port = (uint16_t)(20000 + 37 * i)},
            .remote = {.addr = {192, 0, 2, 1}, .len = 4, .port = (uint16_t)(3478 + i)},
            .mapped = {.addr = {198, 51, 100, (uint8_t)(how == 2 ? i % 4 : 1)},
                       .len = 4,
                       .port = (uint16_t)(how ? 1024 + i * 40503u % 64512 : 30000 + 3 * i)},
        };
}

/* ms to make the model and to rank, the worst so far. False: it could not be done. */
static bool rank(int how, unsigned probes, struct predict_candidate *out, double *create, double *ranked)
{
    struct predict_sample s[8];
    struct predict_query q = {.after = 0.1, .probes = probes, .interval = 0.001};
    struct predict_rng rng;
    double created = 0, total = 0;
    predict_rng_seed(&rng, 1);
    make_samples(how, s, 8);
    for (int i = 0; i < ROUNDS; i++) {
        double begin = seconds();
        struct predict_model *m = predict_model_create(PREDICT_MIXTURE, s, 8, NULL, &q);
        created += seconds() - begin;
        begin = seconds();
        if (!m || predict_rank(m, out, 64512, &rng) < 60000) {
            predict_model_free(m);
            return false;
        }
        total += seconds() - begin;
        predict_model_free(m);
    }
    *create = created / ROUNDS * 1e3 > *create ? created / ROUNDS * 1e3 : *create;
    *ranked = total / ROUNDS * 1e3 > *ranked ? total / ROUNDS * 1e3 : *ranked;
    return true;
}

int main(void)
{
    struct predict_candidate *out = malloc(64512 * sizeof(*out));
    double create = 0, ranked = 0, poisson = punch_rate(1, 1), bursts = punch_rate(4, 1), sweep = punch_rate(2, 8);
    bool good = out && poisson > 0 && bursts > 0 && sweep > 0;
    for (int how = 0; how < 3; how++)
        for (unsigned probes = 1; good && probes <= 512; probes *= 8)
            good = rank(how, probes, out, &create, &ranked);
    free(out);
    if (!good)
        return 1;
    printf("predict_punches_per_second %.0f\n", poisson < bursts ? poisson : bursts);
    printf("predict_sweeps_per_second %.0f\n", sweep);
    printf("predict_rank_ms %.3f\n", ranked);
    printf("predict_model_ms %.3f\n", create);
    return 0;
}
