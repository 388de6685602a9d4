/*
 * M probes of ours in one sequence, and the best holes for them. Success is submodular in the set of holes (each start
 * that is covered is covered once), so taking the hole that adds most, again and again, is within 1 - 1/e of the best
 * set, and exact for one probe and for probes without foreign ones between. Two things follow by themselves: with M
 * probes in a row one hole in M is enough, and when foreign ones come in between holes get closer again (formula 7).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "predict/internal.h"

/* Gains are searched by blocks of so many. */
#define BLOCK_BITS 6

static void find_first(struct run *r)
{
    uint32_t s = 1;
    for (uint32_t h = 1; h < r->end; h++) {
        while (s < r->size && r->past[s] <= h)
            s++;
        r->first[h] = s;
    }
}

bool predict_starts_init(struct starts *s, uint32_t own, const double *pmf, const double *rates, uint32_t n,
                         double interval)
{
    *s = (struct starts){.size = own + n + 1, .own = own};
    s->f = calloc(s->size, sizeof(double));
    s->foreign = calloc(s->size, sizeof(double));
    s->rho = calloc(s->size, sizeof(double));
    if (!s->f || !s->foreign || !s->rho) {
        predict_starts_free(s);
        return false;
    }
    for (uint32_t i = 1; i < s->size; i++) {
        s->f[i] = i > own ? pmf[i - 1 - own] : 0;
        s->foreign[i] = i > own ? rates[i - 1 - own] * interval : 0;
        s->rho[i] = 1 / (1 + s->foreign[i]);
    }
    return true;
}

void predict_starts_free(struct starts *s)
{
    free(s->f);
    free(s->foreign);
    free(s->rho);
    *s = (struct starts){.size = 0};
}

bool predict_run_init(struct run *r, const struct starts *starts, double probes)
{
    uint32_t longest = 1;
    r->size = starts->size;
    r->f = starts->f;
    r->rho = starts->rho;
    r->miss = calloc(r->size, sizeof(double));
    r->past = calloc(r->size, sizeof(uint32_t));
    if (!r->miss || !r->past)
        return false;
    for (uint32_t s = 1; s < r->size; s++) {
        double length = 1 + (probes - 1) * (1 + starts->foreign[s]);
        /* Once around, a sequence meets its own ports again. */
        r->past[s] = s + (uint32_t)fmin(fmax(1, length + 0.5), r->range);
        /* A later start never ends sooner: first[] is one interval then. */
        if (r->past[s] < r->past[s - 1])
            r->past[s] = r->past[s - 1];
        longest = r->past[s];
    }
    r->end = longest < r->range ? longest : r->range;
    r->first = calloc(r->end + 1, sizeof(uint32_t));
    r->gain = calloc(r->end + 1, sizeof(double));
    r->block = calloc((r->end >> BLOCK_BITS) + 1, sizeof(double));
    if (!r->first || !r->gain || !r->block)
        return false;
    find_first(r);
    return true;
}

void predict_run_free(struct run *r)
{
    free(r->miss);
    free(r->past);
    free(r->first);
    free(r->gain);
    free(r->block);
}

uint16_t predict_run_port(const struct run *r, uint32_t position)
{
    int64_t range = r->range, at = ((int64_t)r->from - r->lo + (int64_t)position * r->step) % range;
    return (uint16_t)(r->lo + (at < 0 ? at + range : at));
}

/* step * h = distance, modulo the range: with a step that divides nothing it may take several turns, which are left
 * out. */
uint32_t predict_run_position(const struct run *r, uint16_t port)
{
    int64_t range = r->range, distance = (int64_t)port - r->from, step = r->step;
    if (step < 0) {
        step = -step;
        distance = -distance;
    }
    for (distance += distance <= 0 ? range : 0; distance / step < r->end; distance += range)
        if (distance % step == 0)
            return (uint32_t)(distance / step);
    return 0;
}

/* What a start loses to a hole further on, per unit of its probability. */
static double open_part(const struct run *r, uint32_t s)
{
    return r->f[s] * r->miss[s] * r->rho[s];
}

/* gain[a ... b - 1] anew, by a sum that slides along. */
static void renew(struct run *r, uint32_t a, uint32_t b)
{
    double sum = 0;
    b = b < r->end ? b : r->end;
    if (a >= b)
        return;
    uint32_t from = r->first[a];
    for (uint32_t s = from; s < a && s < r->size; s++)
        sum += open_part(r, s);
    for (uint32_t h = a; h < b; h++) {
        for (; from < r->first[h] && from < h; from++)
            sum -= open_part(r, from);
        r->gain[h] = fmax(0, sum) + (h < r->size ? r->f[h] * r->miss[h] : 0);
        if (h < r->size)
            sum += open_part(r, h);
    }
    for (uint32_t k = a >> BLOCK_BITS; k <= (b - 1) >> BLOCK_BITS; k++) {
        double best = 0;
        uint32_t end = (k + 1) << BLOCK_BITS;
        for (uint32_t h = k << BLOCK_BITS; h < end && h < r->end; h++)
            best = r->gain[h] > best ? r->gain[h] : best;
        r->block[k] = best;
    }
}

void predict_run_reset(struct run *r)
{
    for (uint32_t s = 0; s < r->size; s++)
        r->miss[s] = 1;
    r->hit = 0;
    renew(r, 1, r->end);
}

uint32_t predict_run_best(const struct run *r, double *gain)
{
    uint32_t k = 0, blocks = ((r->end - 1) >> BLOCK_BITS) + 1;
    for (uint32_t i = 1; i < blocks; i++)
        k = r->block[i] > r->block[k] ? i : k;
    *gain = r->block[k];
    if (*gain <= 0)
        return 0;
    uint32_t h = k << BLOCK_BITS;
    while (r->gain[h] < *gain)
        h++;
    return h;
}

void predict_run_take(struct run *r, uint32_t h)
{
    uint32_t first = r->first[h], last = h < r->size ? h : r->size - 1;
    r->hit += r->gain[h];
    for (uint32_t s = first; s <= last; s++)
        r->miss[s] *= s == h ? 0 : 1 - r->rho[s];
    renew(r, first, last >= first ? r->past[last] : h + 1);
    r->gain[h] = 0;
}

double predict_run_success(const struct run *r, const uint64_t *ports)
{
    double p = 0;
    uint32_t *holes = calloc(r->end + 1, sizeof(*holes));
    if (!holes)
        return 0;
    for (uint32_t h = 1; h < r->end; h++)
        holes[h] = holes[h - 1] + predict_port_get(ports, predict_run_port(r, h));
    for (uint32_t s = 1; s < r->size; s++) {
        uint32_t end = (r->past[s] < r->end ? r->past[s] : r->end) - 1;
        if (s >= r->end)
            break;
        bool at_start = holes[s] != holes[s - 1];
        p += at_start ? r->f[s] : -r->f[s] * expm1((holes[end] - holes[s]) * log1p(-fmin(r->rho[s], 1 - 1e-15)));
    }
    free(holes);
    return p;
}
