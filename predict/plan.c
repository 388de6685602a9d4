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

struct search {
    const struct predict_side *prober;
    const struct predict_caps *caps;
    struct predict_candidate *candidates;
    struct option options[MOST_GRID];
    unsigned n, max_holes;
};

struct predict_caps predict_default_caps(void)
{
    return (struct predict_caps){.target = 0.99, .hopeless = 0.01, .max_holes = 2000, .max_probes = 2000};
}

static struct predict_model *model_of(const struct predict_side *side, unsigned probes)
{
    struct predict_query q = side->query;
    q.probes = probes;
    return predict_model_create(PREDICT_MIXTURE, side->samples, side->n, side->behaviour, &q);
}

/* The probability of the best single candidate for `mappings` in sequence. Negative: -errno. */
static double first_candidate(const struct predict_side *side, unsigned mappings, double *address)
{
    struct predict_candidate c;
    struct predict_model *m = model_of(side, mappings);
    if (!m)
        return -ENOMEM;
    double p = predict_rank(m, &c, 1, NULL) ? c.p : 0;
    for (unsigned i = 0; address && i < m->addresses; i++)
        *address = fmax(*address, m->p_address[i]);
    predict_model_free(m);
    return p;
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

static int try_probes(struct search *s, unsigned probes)
{
    struct option *o = &s->options[s->n];
    struct predict_model *m = model_of(s->prober, probes);
    double sum = 0;
    *o = (struct option){.m = probes, .sum = calloc(s->max_holes, sizeof(double))};
    if (!m || !o->sum) {
        predict_model_free(m);
        free(o->sum);
        return -ENOMEM;
    }
    s->n++;
    o->n = predict_rank(m, s->candidates, s->max_holes, NULL);
    for (size_t k = 0; k < o->n; k++)
        o->sum[k] = fmin(1, sum += s->candidates[k].p);
    predict_model_free(m);
    return 0;
}

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

static int search_grid(struct search *s, double want, struct predict_plan *out)
{
    unsigned grid[MOST_GRID], n = make_grid(s->caps->max_probes, grid), holes = 0;
    for (unsigned i = 0; i < n; i++) {
        int err = try_probes(s, grid[i]);
        if (err < 0)
            return err;
        /* One probe that needs one hole: nothing is cheaper. */
        if (i == 0 && holes_for(&s->options[0], want) == 1)
            break;
    }
    double p = best_of(s) >= want ? want : fmax(best_of(s) - NEARLY, best_of(s) / 2);
    const struct option *o = cheapest(s, p, &holes);
    if (o && o->m + holes > 8) {
        int err = refine(s, o->m);
        if (err < 0)
            return err;
        o = cheapest(s, p, &holes);
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

static int plan_search(const struct predict_side *opener, const struct predict_side *prober,
                       const struct predict_caps *caps, struct predict_plan *out)
{
    double address = 0, passes, opener_p = first_candidate(opener, 1, NULL);
    double prober_p = first_candidate(prober, 1, &address);
    struct search s = {.prober = prober, .caps = caps, .max_holes = caps->max_holes};
    if (opener_p < 0 || prober_p < 0)
        return -ENOMEM;
    out->way = PREDICT_SEARCH;
    if (needs_no_search(opener, address, &passes) && passes >= caps->target * 0.9) {
        out->holes = out->probes = 1;
        out->p = opener_p * passes;
        return 0;
    }
    if (opener->behaviour && opener->behaviour->filtering.value == PREDICT_FILTERING_LAST)
        s.max_holes = 1;
    s.candidates = malloc(s.max_holes * sizeof(*s.candidates));
    double want = opener_p > 0 && caps->target / opener_p <= MOST_WANTED ? caps->target / opener_p : caps->target;
    int err = s.candidates ? search_grid(&s, want, out) : -ENOMEM;
    out->p *= opener_p;
    for (unsigned i = 0; i < s.n; i++)
        free(s.options[i].sum);
    free(s.candidates);
    return err;
}

/* ---- meet ---------------------------------------------------------------------------------------- */

static int firsts(const struct predict_side *side, const unsigned *grid, unsigned n, double *p)
{
    for (unsigned i = 0; i < n; i++) {
        p[i] = first_candidate(side, grid[i], NULL);
        if (p[i] < 0)
            return -ENOMEM;
    }
    return 0;
}

static int plan_meet(const struct predict_side *opener, const struct predict_side *prober,
                     const struct predict_caps *caps, struct predict_plan *out)
{
    unsigned ks[MOST_GRID], ms[MOST_GRID], nk = make_grid(caps->max_holes, ks), nm = make_grid(caps->max_probes, ms);
    double a[MOST_GRID], b[MOST_GRID], best = 0;
    if (firsts(opener, ks, nk, a) < 0 || firsts(prober, ms, nm, b) < 0)
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
static int plan_roles(const struct predict_side *opener, const struct predict_side *prober,
                      const struct predict_caps *caps, struct predict_plan *out)
{
    struct predict_plan meet;
    int err = 0;
    *out = (struct predict_plan){.way = PREDICT_MEET};
    if (stands_still(opener)) {
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
    struct predict_plan plans[2];
    bool have[2] = {opener != 1, opener != 0};
    if (!(caps->target > 0 && caps->target <= 1) || caps->max_holes == 0 || caps->max_probes == 0 ||
        caps->max_holes > 65536 || caps->max_probes > 65536 || opener < -1 || opener > 1)
        return -EINVAL;
    for (int i = 0; i < 2; i++) {
        int err = !have[i] ? 0 : plan_roles(i ? second : first, i ? first : second, caps, &plans[i]);
        if (err < 0)
            return err;
        plans[i].opener = i;
    }
    int chosen = !have[0] || (have[1] && better(&plans[1], &plans[0], caps));
    *out = plans[chosen];
    out->verdict = out->p >= caps->target     ? PREDICT_REACHED
                   : out->p >= caps->hopeless ? PREDICT_BEST_EFFORT
                                              : PREDICT_INFEASIBLE;
    return 0;
}
