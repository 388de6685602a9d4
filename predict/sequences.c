/*
 * Draws as sequences: each port is joined to the nearest sequence on its address or begins a new one. A step's
 * likelihood is that of the foreign allocations that the gaps then stand for; a gap that no number of them explains is
 * a jump, and costs as much as a port drawn at random.
 */
#include <math.h>
#include <stdlib.h>

#include "predict/internal.h"

/* Ports that a sequence may move between two draws at once, and per second in between. */
#define REACH   200
#define REACH_S 2000.0
/* Answers to requests that were sent together come in any order. */
#define TOGETHER_S 0.005
/* ... but seldom in one that is far from theirs: what each exchange of two neighbours costs. Without it, any draws that
 * came together would make a sequence. */
#define P_SWAP 0.2
#define P_JUMP 0.02
/* Ascending is by far the commoner direction. */
#define P_DESCENDING 0.1
#define P_NEW        0.02

struct fit {
    const struct draws *d;
    unsigned begin; /* of the draws that count */
    unsigned of[MOST_DRAWS];
    uint32_t lo, range;
};

/* From a to b around the range, nearest way: -range/2 ... range/2. */
static int32_t gap_of(const struct fit *f, uint16_t a, uint16_t b)
{
    int32_t gap = (int32_t)b - a, range = (int32_t)f->range;
    return gap > range / 2 ? gap - range : gap < -range / 2 ? gap + range : gap;
}

/* The nearest sequence that could have got there. Past the last one: a new one. */
static unsigned nearest(const struct fit *f, const struct sequences *q, const struct draw *d)
{
    unsigned best = q->n;
    int32_t best_gap = INT32_MAX;
    for (unsigned i = 0; i < q->n; i++) {
        const struct sequence *s = &q->s[i];
        int32_t gap = abs(gap_of(f, s->from, d->port));
        if (s->address == d->address && gap < best_gap && gap <= REACH + REACH_S * (d->t - s->t)) {
            best = i;
            best_gap = gap;
        }
    }
    return best;
}

static void assign(struct fit *f, struct sequences *q)
{
    for (unsigned i = f->begin; i < f->d->n; i++) {
        const struct draw *d = &f->d->d[i];
        unsigned k = nearest(f, q, d);
        if (k == q->n && q->n == PREDICT_MAX_SEQUENCES) {
            k = 0;
            q->jumps++;
        }
        struct sequence *s = &q->s[k];
        if (k == q->n) {
            *s = (struct sequence){.address = d->address};
            q->n++;
        } else if (gap_of(f, s->from, d->port) != 0)
            s->direction += gap_of(f, s->from, d->port) > 0 ? 1 : -1;
        s->from = d->port;
        s->t = d->t;
        s->n++;
        f->of[i] = k;
    }
}

/* The members of sequence k in its direction's order, as far as they came together. Returns how many. */
static unsigned members(const struct fit *f, unsigned k, int direction, struct draw *out, unsigned *swaps)
{
    unsigned n = 0;
    for (unsigned i = f->begin; i < f->d->n; i++) {
        if (f->of[i] != k)
            continue;
        unsigned at = n++;
        out[at] = f->d->d[i];
        for (; at > 0 && out[at].t - out[at - 1].t <= TOGETHER_S &&
               direction * gap_of(f, out[at - 1].port, out[at].port) < 0;
             at--) {
            /* Ports change places; times stay in order. */
            uint16_t port = out[at].port;
            out[at].port = out[at - 1].port;
            out[at - 1].port = port;
            ++*swaps;
        }
    }
    return n;
}

static void add_gap(struct gaps *g, uint32_t x, double dt)
{
    if (g->n < MOST_GAPS) {
        g->x[g->n] = x;
        g->dt[g->n++] = dt;
    }
}

/* Gaps of one sequence, for the step; what it cannot explain counts as a jump. */
static void read_gaps(const struct fit *f, struct sequences *q, unsigned k)
{
    struct draw m[MOST_DRAWS];
    struct sequence *s = &q->s[k];
    unsigned n = members(f, k, s->direction, m, &q->swaps);
    for (unsigned i = 1; i < n; i++) {
        int32_t gap = s->direction * gap_of(f, m[i - 1].port, m[i].port);
        /* Against its direction: all the way around, which only many seconds explain; else a jump. */
        if (gap <= 0 || gap % q->step != 0)
            q->jumps++;
        else
            add_gap(&q->gaps, (uint32_t)(gap / q->step - 1), m[i].t - m[i - 1].t);
    }
    if (n > 0)
        s->from = m[n - 1].port;
}

/* A direction for those that have shown none: as the others of its address, or up. */
static void settle_directions(struct sequences *q)
{
    int sum = 0;
    for (unsigned i = 0; i < q->n; i++)
        sum += q->s[i].direction;
    for (unsigned i = 0; i < q->n; i++)
        q->s[i].direction = q->s[i].direction > 0 || (q->s[i].direction == 0 && sum >= 0) ? 1 : -1;
}

/* Whether the draws took the sequences in turn, at least twice around. */
static void find_turns(const struct fit *f, struct sequences *q)
{
    unsigned n = f->d->n - f->begin;
    q->in_turn = q->n > 1 && n >= 2 * q->n + 1;
    for (unsigned i = f->begin + q->n; i < f->d->n && q->in_turn; i++)
        q->in_turn = f->of[i] == f->of[i - q->n];
    if (q->in_turn)
        q->next_turn = f->of[f->d->n - q->n];
}

static double log_structure(const struct fit *f, const struct sequences *q)
{
    double uniform = -log((double)f->range), log_l = q->jumps * (log(P_JUMP) + uniform) + q->swaps * log(P_SWAP);
    unsigned on_address[PREDICT_MAX_POOL] = {0}, descending = 0;
    for (unsigned i = 0; i < q->n; i++) {
        log_l += uniform + (on_address[q->s[i].address]++ > 0 ? log(P_NEW) : 0);
        descending += q->s[i].direction < 0;
    }
    /* Which one a draw took, where there is a choice. */
    for (unsigned i = 0; i < q->n; i++)
        log_l -= q->in_turn ? 0 : (q->s[i].n - 1) * log(on_address[q->s[i].address]);
    if (descending == q->n && q->n > 0)
        log_l += log(P_DESCENDING);
    return log_l;
}

static void fit_step(struct fit *f, int step, double prior, struct sequences *out)
{
    *out = (struct sequences){.step = step};
    assign(f, out);
    settle_directions(out);
    for (unsigned k = 0; k < out->n; k++)
        read_gaps(f, out, k);
    find_turns(f, out);
    predict_foreign_fit(&out->gaps, &out->foreign);
    out->log_evidence = log(prior) + log_structure(f, out) + out->foreign.log_evidence;
}

static const struct {
    int step;
    double prior;
} steps[] = {{1, 0.78}, {2, 0.1}, {4, 0.03}, {8, 0.03}, {3, 0.01}, {16, 0.01}};
#define N_STEPS (sizeof(steps) / sizeof(steps[0]))
/* Any other step that the gaps have in common, up to this. */
#define MOST_STEP   1024
#define P_ODD_STEP  (0.04 / MOST_STEP) /* of each */
#define KNOWN_WORTH 20.0

static int gcd(int a, int b)
{
    while (b) {
        int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* What all the gaps are multiples of, as far as draws of one address tell; 0 without any gap. */
static int common_step(struct fit *f)
{
    struct sequences q = {.step = 1};
    int common = 0;
    assign(f, &q);
    settle_directions(&q);
    for (unsigned k = 0; k < q.n; k++)
        read_gaps(f, &q, k);
    for (unsigned i = 0; i < q.gaps.n; i++)
        common = gcd((int)q.gaps.x[i] + 1, common);
    return common;
}

static unsigned keep_best(struct sequences *out, unsigned n, const struct sequences *fit)
{
    unsigned at = n < MOST_STEPS ? n : MOST_STEPS - 1;
    if (n == MOST_STEPS && out[at].log_evidence >= fit->log_evidence)
        return n;
    for (; at > 0 && out[at - 1].log_evidence < fit->log_evidence; at--)
        out[at] = out[at - 1];
    out[at] = *fit;
    return n < MOST_STEPS ? n + 1 : n;
}

unsigned predict_sequences(const struct draws *d, int known, struct sequences out[MOST_STEPS], double *log_evidence)
{
    struct fit f = {.d = d, .begin = d->n > EVIDENCE_DRAWS ? d->n - EVIDENCE_DRAWS : 0, .lo = PORT_LO};
    struct sequences fit;
    unsigned n = 0;
    double sum = 0;
    *log_evidence = -INFINITY;
    if (d->n == 0)
        return 0;
    for (unsigned i = f.begin; i < d->n; i++)
        f.lo = d->d[i].port < f.lo ? 1 : f.lo;
    f.range = PORT_HI - f.lo + 1;
    int common = common_step(&f);
    for (unsigned i = 0; i < N_STEPS; i++) {
        if (common % steps[i].step != 0)
            continue;
        fit_step(&f, steps[i].step, steps[i].prior * (abs(known) == steps[i].step ? KNOWN_WORTH : 1), &fit);
        n = keep_best(out, n, &fit);
    }
    int odd = common > 1 ? common : abs(known);
    bool listed = odd <= 1;
    for (unsigned i = 0; i < N_STEPS; i++)
        listed |= steps[i].step == odd;
    if (!listed && odd <= MOST_STEP) {
        fit_step(&f, odd, P_ODD_STEP * (abs(known) == odd ? KNOWN_WORTH : 1), &fit);
        n = keep_best(out, n, &fit);
    }
    for (unsigned i = 0; i < n; i++)
        sum += out[i].weight = exp(out[i].log_evidence - out[0].log_evidence);
    for (unsigned i = 0; i < n; i++)
        out[i].weight /= sum;
    *log_evidence = out[0].log_evidence + log(sum);
    return n;
}
