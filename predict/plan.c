/*
 * Budgets. For the numbers of probes on a grid the prober's model is made and ranked, and the running sum of its
 * candidates says how many holes are enough; the cheapest pair of numbers wins. "Meet" needs one model for each number
 * of mappings of each side, of which only the first candidate counts.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "predict/internal.h"

/* Numbers of probes that are tried: 1, 2, 3, 4, 6, 8, 11, 16, ... and then between the two around the best. */
#define MOST_GRID 48
#define RATIO     1.42
#define FINER     4
/* Where the target cannot be reached, the cheapest plan so close to the best one is taken. */
#define NEARLY 0.002
/* Wanted of one part, even where the other part is imperfect. */
#define MOST_WANTED 0.9995

struct option {
    unsigned m;
    size_t n;
    double *sum; /* success of the first k + 1 holes */
};

/* One side while a plan is made: its samples are read once, whatever the number of its mappings. */
struct asked {
    const struct predict_side *side;
    struct predict_model *model; /* aimed at the number that was asked for last; NULL: nothing was */
    double address;              /* probability of the likeliest one */
    /* The best single candidate's probability by the number of mappings, over a grid up to firsts_max (0: none). */
    unsigned firsts_max;
    double firsts[MOST_GRID];
};

struct search {
    struct asked *prober;
    const struct predict_caps *caps;
    struct predict_candidate *candidates; /* room for max_holes, and of the sums for all options */
    double *sums;
    struct option options[MOST_GRID];
    unsigned n, max_holes;
    double want;
    /* Of a plain model only what may be the cheapest is looked at: cheapest holes and probes together that reach
       `want` so far, or 0. */
    bool plain;
    unsigned least;
};

struct predict_caps predict_default_caps(void)
{
    return (struct predict_caps){.target = 0.99, .hopeless = 0.01, .max_holes = 2000, .max_probes = 2000};
}

static struct predict_model *model_of(struct asked *x, unsigned probes)
{
    if (x->model)
        return predict_model_aim(x->model, probes) ? x->model : NULL;
    struct predict_query q = x->side->query;
    q.probes = probes;
    x->model = predict_model_create(PREDICT_MIXTURE, x->side->samples, x->side->n, x->side->behaviour, &q);
    for (unsigned i = 0; x->model && i < x->model->addresses; i++)
        x->address = fmax(x->address, x->model->p_address[i]);
    return x->model;
}

/* The probability of the best single candidate for `mappings` in sequence. Negative: -errno. */
static double first_candidate(struct asked *x, unsigned mappings)
{
    struct predict_candidate c;
    struct predict_model *m = model_of(x, mappings);
    if (!m)
        return -ENOMEM;
    return predict_rank(m, &c, 1, NULL) ? c.p : 0;
}

static unsigned make_grid(unsigned max, unsigned *grid)
{
    unsigned n = 0;
    for (unsigned x = 1; x < max && n < MOST_GRID / 2; x = (unsigned)fmax(x + 1.0, x * RATIO))
        grid[n++] = x;
    grid[n++] = max;
    return n;
}

/* ---- search -------------------------------------------------------------------------------------- */

/* Least holes for at least p; 0: not with this option. */
static unsigned holes_for(const struct option *o, double p)
{
    size_t lo = 0, hi = o->n;
    if (o->n == 0 || o->sum[o->n - 1] < p)
        return 0;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (o->sum[mid] >= p)
            hi = mid;
        else
            lo = mid + 1;
    }
    return (unsigned)lo + 1;
}

static void note_least(struct search *s, const struct option *o)
{
    unsigned holes = holes_for(o, s->want);
    if (holes && (!s->least || o->m + holes < s->least))
        s->least = o->m + holes;
}

static int look_at(struct search *s, struct option *o, unsigned probes)
{
    struct predict_model *m = model_of(s->prober, probes);
    double sum = 0;
    *o = (struct option){.m = probes, .sum = s->sums + (size_t)(o - s->options) * s->max_holes};
    if (!m)
        return -ENOMEM;
    if (!s->plain)
        o->n = predict_rank(m, s->candidates, s->max_holes, NULL);
    else if (!s->least || probes < s->least)
        o->n = predict_rank_enough(m, s->candidates, s->max_holes, s->least ? s->least - probes : 0, s->want);
    for (size_t k = 0; k < o->n; k++)
        o->sum[k] = fmin(1, sum += s->candidates[k].p);
    note_least(s, o);
    return 0;
}

static int try_probes(struct search *s, unsigned probes)
{
    return look_at(s, &s->options[s->n++], probes);
}

static const struct option *cheapest(const struct search *s, double p, unsigned *holes)
{
    const struct option *best = NULL;
    for (unsigned i = 0; i < s->n; i++) {
        unsigned k = holes_for(&s->options[i], p);
        if (k && (!best || k + s->options[i].m < *holes + best->m)) {
            best = &s->options[i];
            *holes = k;
        }
    }
    return best;
}

static double best_of(const struct search *s)
{
    double p = 0;
    for (unsigned i = 0; i < s->n; i++)
        if (s->options[i].n)
            p = fmax(p, s->options[i].sum[s->options[i].n - 1]);
    return p;
}

static int refine(struct search *s, unsigned around)
{
    unsigned below = 1, above = s->caps->max_probes;
    for (unsigned i = 0; i < s->n; i++) {
        below = s->options[i].m < around && s->options[i].m > below ? s->options[i].m : below;
        above = s->options[i].m > around && s->options[i].m < above ? s->options[i].m : above;
    }
    for (unsigned i = 1; i <= FINER; i++) {
        unsigned lower = below + (around - below) * i / (FINER + 1);
        unsigned upper = around + (above - around) * i / (FINER + 1);
        int err = lower > below && lower < around ? try_probes(s, lower) : 0;
        if (err == 0 && upper > around && upper < above)
            err = try_probes(s, upper);
        if (err < 0)
            return err;
    }
    return 0;
}

/* What the best plan reaches, or all but a little of it. */
static double nearly_best(const struct search *s)
{
    return best_of(s) >= s->want ? s->want : fmax(best_of(s) - NEARLY, best_of(s) / 2);
}

static int look_at_grid(struct search *s)
{
    unsigned grid[MOST_GRID], n = make_grid(s->caps->max_probes, grid);
    int err = 0;
    for (unsigned i = 0; i < n && err == 0; i++) {
        err = try_probes(s, grid[i]);
        /* One probe that needs one hole: nothing is cheaper. */
        if (err == 0 && i == 0 && holes_for(&s->options[0], s->want) == 1)
            break;
    }
    if (err == 0)
        s->want = nearly_best(s);
    return err;
}

/* Nothing is likelier than the most probes; with fewer of them there may be no more holes than make it cheaper. */
static int look_at_plain(struct search *s)
{
    unsigned grid[MOST_GRID], n = s->n = make_grid(s->caps->max_probes, grid);
    int err = look_at(s, &s->options[n - 1], grid[n - 1]);
    s->want = nearly_best(s);
    note_least(s, &s->options[n - 1]);
    for (unsigned i = n - 1; i-- > 0 && err == 0;)
        err = look_at(s, &s->options[i], grid[i]);
    return err;
}

static int search_grid(struct search *s, struct predict_plan *out)
{
    unsigned holes = 0;
    s->plain = predict_model_plain(s->prober->model);
    int err = s->plain ? look_at_plain(s) : look_at_grid(s);
    if (err < 0)
        return err;
    const struct option *o = cheapest(s, s->want, &holes);
    if (o && o->m + holes > 8) {
        err = refine(s, o->m);
        if (err < 0)
            return err;
        o = cheapest(s, s->want, &holes);
    }
    out->holes = holes;
    out->probes = o ? o->m : 0;
    out->p = o ? o->sum[holes - 1] : 0;
    return 0;
}

/* The opener lets in more than the exact endpoints that it has sent to. */
static bool needs_no_search(const struct predict_side *opener, double address, double *p)
{
    const struct predict_belief *f = opener->behaviour ? &opener->behaviour->filtering : &(struct predict_belief){0, 0};
    bool all = f->value == PREDICT_FILTERING_NONE || f->value == PREDICT_FILTERING_EI;
    *p = f->confidence * (all ? 1 : address);
    return f->confidence > 0.5 && (all || f->value == PREDICT_FILTERING_AD);
}

static bool stands_still(const struct predict_side *side)
{
    int mapping = side->behaviour ? side->behaviour->mapping.value : PREDICT_MAPPING_UNKNOWN;
    return mapping != PREDICT_MAPPING_APD && mapping != PREDICT_MAPPING_CD;
}

static int plan_search(struct asked *opener, struct asked *prober, const struct predict_caps *caps,
                       struct predict_plan *out)
{
    const struct predict_behaviour *known = opener->side->behaviour;
    double passes, opener_p = first_candidate(opener, 1), prober_p = first_candidate(prober, 1);
    struct search s = {.prober = prober, .caps = caps, .max_holes = caps->max_holes};
    if (opener_p < 0 || prober_p < 0)
        return -ENOMEM;
    out->way = PREDICT_SEARCH;
    if (needs_no_search(opener->side, prober->address, &passes) && passes >= caps->target * 0.9) {
        out->holes = out->probes = 1;
        out->p = opener_p * passes;
        return 0;
    }
    if (known && known->filtering.value == PREDICT_FILTERING_LAST)
        s.max_holes = 1;
    s.candidates = malloc(s.max_holes * sizeof(*s.candidates));
    /* What no option comes to is never touched. */
    s.sums = malloc(MOST_GRID * s.max_holes * sizeof(*s.sums));
    s.want = opener_p > 0 && caps->target / opener_p <= MOST_WANTED ? caps->target / opener_p : caps->target;
    int err = s.candidates && s.sums ? search_grid(&s, out) : -ENOMEM;
    out->p *= opener_p;
    free(s.sums);
    free(s.candidates);
    return err;
}

/* ---- meet ---------------------------------------------------------------------------------------- */

/* Either side may open, with the same numbers of mappings: they are looked at once. */
static int find_firsts(struct asked *x, unsigned max)
{
    unsigned grid[MOST_GRID], n = make_grid(max, grid);
    for (unsigned i = 0; i < n && x->firsts_max != max; i++) {
        x->firsts[i] = first_candidate(x, grid[i]);
        if (x->firsts[i] < 0)
            return -ENOMEM;
    }
    x->firsts_max = max;
    return 0;
}

static int plan_meet(struct asked *opener, struct asked *prober, const struct predict_caps *caps,
                     struct predict_plan *out)
{
    unsigned ks[MOST_GRID], ms[MOST_GRID], nk = make_grid(caps->max_holes, ks), nm = make_grid(caps->max_probes, ms);
    const double *a = opener->firsts, *b = prober->firsts;
    double best = 0;
    if (find_firsts(opener, caps->max_holes) < 0 || find_firsts(prober, caps->max_probes) < 0)
        return -ENOMEM;
    for (unsigned i = 0; i < nk; i++)
        for (unsigned j = 0; j < nm; j++)
            best = fmax(best, a[i] * b[j]);
    double want = best >= caps->target ? caps->target : fmax(best - NEARLY, best * 0.98);
    *out = (struct predict_plan){.way = PREDICT_MEET};
    for (unsigned i = 0; i < nk; i++)
        for (unsigned j = 0; j < nm; j++)
            if (a[i] * b[j] >= want && (out->holes == 0 || ks[i] + ms[j] < out->holes + out->probes)) {
                out->holes = ks[i];
                out->probes = ms[j];
                out->p = a[i] * b[j];
            }
    return 0;
}

/* ---- both ---------------------------------------------------------------------------------------- */

static bool better(const struct predict_plan *a, const struct predict_plan *b, const struct predict_caps *caps)
{
    bool a_reached = a->p >= caps->target, b_reached = b->p >= caps->target;
    if (a_reached != b_reached)
        return a_reached;
    if (a_reached || fabs(a->p - b->p) < NEARLY)
        return a->holes + a->probes < b->holes + b->probes;
    return a->p > b->p;
}

/* Both ways with the first side as the opener. */
static int plan_roles(struct asked *opener, struct asked *prober, const struct predict_caps *caps,
                      struct predict_plan *out)
{
    struct predict_plan meet;
    int err = 0;
    *out = (struct predict_plan){.way = PREDICT_MEET};
    if (stands_still(opener->side)) {
        err = plan_search(opener, prober, caps, out);
        if (err < 0 || out->p >= caps->target || caps->no_meet)
            return err;
    }
    err = plan_meet(opener, prober, caps, &meet);
    if (err == 0 && (out->probes == 0 || better(&meet, out, caps)))
        *out = meet;
    return err;
}

int predict_plan(const struct predict_side *first, const struct predict_side *second, int opener,
                 const struct predict_caps *caps, struct predict_plan *out)
{
    struct asked sides[2] = {{.side = first}, {.side = second}};
    struct predict_plan plans[2];
    bool have[2] = {opener != 1, opener != 0};
    if (!(caps->target > 0 && caps->target <= 1) || caps->max_holes == 0 || caps->max_probes == 0 ||
        caps->max_holes > 65536 || caps->max_probes > 65536 || opener < -1 || opener > 1)
        return -EINVAL;
    int err = 0;
    for (int i = 0; i < 2 && err == 0; i++) {
        err = have[i] ? plan_roles(&sides[i], &sides[!i], caps, &plans[i]) : 0;
        plans[i].opener = i;
    }
    predict_model_free(sides[0].model);
    predict_model_free(sides[1].model);
    if (err < 0)
        return err;
    int chosen = !have[0] || (have[1] && better(&plans[1], &plans[0], caps));
    *out = plans[chosen];
    out->verdict = out->p >= caps->target     ? PREDICT_REACHED
                   : out->p >= caps->hopeless ? PREDICT_BEST_EFFORT
                                              : PREDICT_INFEASIBLE;
    return 0;
}
