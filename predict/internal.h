/* Private to predict/: how a model is made of parts. */
#ifndef PREDICT_INTERNAL_H
#define PREDICT_INTERNAL_H

#include "predict/predict.h"

/* ---- rng.c --------------------------------------------------------------------------------------- */

uint64_t predict_rng_next(struct predict_rng *rng);
/* [0, 1) */
double predict_rng_double(struct predict_rng *rng);
/* [0, n) */
uint32_t predict_rng_below(struct predict_rng *rng, uint32_t n);
uint32_t predict_rng_poisson(struct predict_rng *rng, double mean);
/* Poisson where dispersion (variance over mean) is at most 1, else negative binomial. */
uint32_t predict_rng_count(struct predict_rng *rng, double mean, double dispersion);

/* ---- closed.c ------------------------------------------------------------------------------------ */

/* Formula 5 with a negative binomial of this variance over mean; Poisson for 1. */
double predict_p_overdispersed(double mean, double dispersion, uint32_t w);

/* ---- draws.c: what samples say, in time order ---------------------------------------------------- */

/* Later ones matter more: of longer traces the last so many are looked at. */
#define MOST_DRAWS 128

/* Where NATs that use everything allocate: the well-known ports are left out (RFC 4787, 4.2.1 allows it; all do). */
#define PORT_LO 1024u
#define PORT_HI 65535u

/* One allocation of the NAT: a sample whose mapping was new. */
struct draw {
    double t;
    uint16_t local_port, port; /* local_port 0: not known */
    uint8_t address;           /* in pool[] */
};

/* How often two samples that differ in the named way only had the same mapping, and how often not. */
struct agreement {
    unsigned same, different;
};

struct draws {
    struct draw d[MOST_DRAWS];
    unsigned n;       /* draws */
    unsigned samples; /* looked at, without duplicates */
    struct predict_ep pool[PREDICT_MAX_POOL];
    unsigned pool_n[PREDICT_MAX_POOL]; /* draws on each */
    unsigned pool_seen;
    struct predict_sample last;
    struct agreement connection, port, address; /* same 5-tuple; other remote port; other remote address */
    unsigned no_nat, preserved, known_local;
    struct predict_belief mapping;
};

void predict_draws(const struct predict_sample *samples, size_t n, struct draws *out);

/* ---- foreign.c: how many allocations do others make? --------------------------------------------- */

#define MOST_GAPS 32

/* Counts of foreign allocations, each with the time it took. */
struct gaps {
    unsigned n;
    uint32_t x[MOST_GAPS];
    double dt[MOST_GAPS];
};

/* Variances over mean that are told apart; the first is Poisson. */
#define N_DISPERSIONS 4
#define N_RATES       40

/* Posterior of (rate, dispersion). Poisson has its closed form (formula 6), the others a grid of rates. */
struct foreign {
    double log_evidence;
    double weight[N_DISPERSIONS];
    double shape, seconds; /* Poisson: rate ~ Gamma(shape, seconds) */
    double rate[N_RATES];
    double grid[N_DISPERSIONS][N_RATES]; /* weights, of each dispersion's own posterior */
};

void predict_foreign_fit(const struct gaps *gaps, struct foreign *out);
double predict_foreign_dispersion(const struct foreign *f);
double predict_foreign_rate(const struct foreign *f);
/* pmf[x] for x < size: probability of x foreign allocations in t, and rate[x]: their rate given that. Returns how many
   entries are worth having: the rest, under 1e-9 in all, is left out, and what is there is no probability. */
uint32_t predict_foreign_counts(const struct foreign *f, double t, double *pmf, double *rate, uint32_t size);

/* ---- sequences.c: which counters are the ports taken from? --------------------------------------- */

struct sequence {
    uint8_t address;
    uint16_t from; /* its last port */
    double t;      /* of that */
    int direction; /* +1, -1 */
    unsigned n;    /* draws */
};

/* A reading of the draws as sequences of one step. */
struct sequences {
    int step; /* without its sign */
    unsigned n, jumps, swaps;
    struct sequence s[PREDICT_MAX_SEQUENCES];
    bool in_turn; /* strictly one after the other: next_turn is the next one's */
    unsigned next_turn;
    struct gaps gaps;
    struct foreign foreign;
    double log_evidence, weight;
};

#define MOST_STEPS 4

/* The steps that are possible, weights adding up to 1, likeliest first; known: the step as it is known from elsewhere,
   or 0. *log_evidence: of the ports of the last EVIDENCE_DRAWS draws under all of them. */
unsigned predict_sequences(const struct draws *d, int known, struct sequences out[MOST_STEPS], double *log_evidence);

/* As many draws as evidence for one kind of allocation against another is taken from. */
#define EVIDENCE_DRAWS 32

/* ---- ranges.c: from which range are random ports drawn? ------------------------------------------ */

struct span {
    uint32_t lo, hi;
    double weight;
};

#define MOST_SPANS 32

/* n uniform draws had this smallest and largest (n 0: nothing is known). Weights add up to 1. */
unsigned predict_spans(uint32_t min, uint32_t max, unsigned n, struct span out[MOST_SPANS]);
double predict_spans_evidence(uint32_t min, uint32_t max, unsigned n);

/* ---- pool.c: which address will it be? ----------------------------------------------------------- */

/* fixed: the last one again; else one of size addresses, each as likely. */
struct pool_belief {
    double fixed;
    unsigned likeliest; /* size of the pool, 1 when fixed is likeliest */
    /* weight and size of the arbitrary ones */
    double weight[6];
    unsigned size[6];
};

void predict_pool(const struct draws *d, struct pool_belief *out);

/* ---- weigh.c ------------------------------------------------------------------------------------- */

/* Posterior of the kinds of allocation, adding up to 1, and the sequences that go with one of them. */
struct weights {
    double preserve, sequential, range;
    struct sequences readings[MOST_STEPS];
    unsigned n_readings;
};

/* known: from more samples than these, or NULL. */
void predict_weigh(const struct draws *d, const struct predict_behaviour *known, struct weights *out);

/* ---- run.c: where M probes of ours will be in one sequence --------------------------------------- */

/*
 * Where in a sequence the first probe of ours is, however many follow: at s < size with probability f[s]. Between two
 * probes then come foreign[s] other allocations, so that each position is ours with probability rho[s].
 */
struct starts {
    uint32_t size, own; /* own: allocations of ours before the first probe */
    double *f, *foreign, *rho;
};

/* From the counts of others that come first (pmf[x], x < n) and their rates then. False: no memory. */
bool predict_starts_init(struct starts *s, uint32_t own, const double *pmf, const double *rates, uint32_t n,
                         double interval);
void predict_starts_free(struct starts *s);

/*
 * Positions are allocations past the sequence's last port. The first probe is at s with probability f[s]; the others
 * follow, foreign ones between them: up to past[s] each position is ours with probability rho[s], the first one surely.
 * A hole at h is then met from the starts first[h] ... h. miss[s] is what is left of s when holes are chosen.
 */
struct run {
    uint8_t address;
    int step;
    uint16_t from;
    uint32_t lo, range;
    unsigned group; /* the reading of the draws that it belongs to */
    double share;   /* probability that any of our probes is there, given the reading */
    uint32_t size, end;
    const double *f, *rho; /* of its starts */
    double *miss, *gain, *block;
    uint32_t *past, *first;
    double hit; /* by the holes chosen so far */
};

/* The starts outlive it. False: no memory. */
bool predict_run_init(struct run *r, const struct starts *starts, double probes);
void predict_run_free(struct run *r);
void predict_run_reset(struct run *r);
uint16_t predict_run_port(const struct run *r, uint32_t position);
/* The reverse, within the first turn; 0: it never comes to this port. */
uint32_t predict_run_position(const struct run *r, uint16_t port);
/* The best next hole's position (0: none), and what it adds to hit. */
uint32_t predict_run_best(const struct run *r, double *gain);
/* Takes it. */
void predict_run_take(struct run *r, uint32_t position);
/* Success of holes at the ports marked in the bit map, without regard to what was taken. */
double predict_run_success(const struct run *r, const uint64_t *ports);

/* ---- model.c ------------------------------------------------------------------------------------- */

/* Random ports: n of them on one address, or on every one of the pool. */
struct cover {
    uint32_t lo, hi;
    bool everywhere;
    double weight, n;
    double miss, holes; /* while ranking: what is left, and holes chosen in it */
    double next;        /* what is left after one more; negative: to be found */
};

/* Ports on one address that lie in the same covers: all alike. */
struct cell {
    uint8_t address;
    uint32_t lo, hi;
    uint64_t covers;
    double density;
};

#define MOST_RUNS   (MOST_STEPS * PREDICT_MAX_SEQUENCES)
#define MOST_COVERS 64
#define MOST_CELLS  (PREDICT_MAX_POOL * (2 * MOST_COVERS + 1))
#define PORT_WORDS  (65536 / 64)

struct predict_model {
    enum predict_kind kind;
    unsigned probes;

    /* What it was made from, for as long as the number of probes may change. */
    struct predict_query q;
    struct draws d;
    struct weights w;

    struct predict_ep pool[PREDICT_MAX_POOL];
    unsigned addresses, last; /* pool[last]: the last mapping's */
    uint16_t last_port;
    double p_address[PREDICT_MAX_POOL];

    struct predict_ep same; /* the mapping that is there already */
    double p_same;
    uint16_t local_port; /* preserved ones begin here */
    double p_preserve;
    /* Readings of the draws that are likely enough: indices into w.readings. */
    unsigned group_reading[MOST_STEPS];
    double group_weight[MOST_STEPS];
    struct starts starts[MOST_STEPS][PREDICT_MAX_SEQUENCES];
    uint32_t lowest; /* port of the sequences */
    struct run runs[MOST_RUNS];
    unsigned n_runs, n_groups;
    struct cover covers[MOST_COVERS];
    unsigned n_covers;
    bool have_cells; /* made at the first ranking */
    unsigned n_cells;

    /* From here on only what is used is set: a model is made many times in a plan, and most of this lies idle. */
    struct cell cells[MOST_CELLS]; /* n_cells, densest first */
    /* Of the first so many addresses. used: by mappings of ours, which are not drawn again while they live */
    uint64_t used[PREDICT_MAX_POOL][PORT_WORDS];
    uint64_t taken[PREDICT_MAX_POOL][PORT_WORDS];
    uint16_t order[65536]; /* of the ports of one cell, where they are shuffled */
};

/* A port that is preserved is so unless somebody else has it. */
#define P_PRESERVED 0.98

static inline bool predict_port_get(const uint64_t *ports, uint32_t port)
{
    return ports[port >> 6] >> (port & 63) & 1;
}

static inline void predict_port_set(uint64_t *ports, uint32_t port)
{
    ports[port >> 6] |= UINT64_C(1) << (port & 63);
}

/* The same model for another number of probes: the samples are not read again. False: no memory, and the model is then
   good for nothing but to be freed. */
bool predict_model_aim(struct predict_model *m, unsigned probes);

/* Index of the address in the model's pool; -1: not in it. */
int predict_model_address(const struct predict_model *m, const struct predict_ep *ep);

/* Misses of a cover when holes more are chosen in it: the factor on miss. */
double predict_cover_miss(double n, double holes, double more, double probes);

/* Success of what the runs have hit, hit[i] of each; of all groups together. */
double predict_runs_success(const struct predict_model *m, const double *hit);

/* rank.c: whether all candidates are of ranges, each counted once. Their order is then the same for any number of
   probes, and K holes gain by each further probe. */
bool predict_model_plain(const struct predict_model *m);
/* The first candidates of a plain model, as predict_rank() has them by port: until the sum of p reaches `enough`, or
   with `within` not 0 until it is clear that so many do not reach it. Returns how many. */
size_t predict_rank_enough(struct predict_model *m, struct predict_candidate *out, size_t max, size_t within,
                           double enough);

/* fixed.c */
size_t predict_fixed_rank(const struct predict_model *m, struct predict_candidate *out, size_t max);

#endif
