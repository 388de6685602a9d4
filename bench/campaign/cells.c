/* From a campaign to its cells. Pure. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/campaign.h"

static uint64_t cell_seed(uint64_t seed, const char *name)
{
    struct base_rng rng;
    base_rng_derive(&rng, seed, name, 0);
    return base_rng_u64(&rng) >> 11;
}

bool campaign_pattern_matches(const struct campaign_pattern *p, const char *nat_a, const char *nat_b,
                              const char *technique, const char *link)
{
    return fnmatch(p->nat_a, nat_a, 0) == 0 && fnmatch(p->nat_b, nat_b, 0) == 0 &&
           fnmatch(p->technique, technique, 0) == 0 && fnmatch(p->link, link, 0) == 0;
}

static bool matches(const struct campaign_pattern *p, const struct campaign_cell *cell)
{
    return campaign_pattern_matches(p, cell->nat_a->name, cell->nat_b->name, cell->choice->label, cell->link->label);
}

static uint64_t trials_for(const struct campaign_config *c, const struct campaign_cell *cell)
{
    for (size_t i = c->n_budgets; i > 0; i--)
        if (matches(&c->budgets[i - 1].cells, cell))
            return c->budgets[i - 1].trials;
    return c->trials;
}

static void fill(const struct campaign_config *c, const struct campaign_side *a, const struct campaign_side *b,
                 const struct campaign_choice *choice, const struct campaign_link *link, struct campaign_cell *out)
{
    *out = (struct campaign_cell){.nat_a = a, .nat_b = b, .choice = choice, .link = link};
    snprintf(out->name, sizeof(out->name), "%s/%s/%s/%s", a->name, b->name, choice->label, link->label);
    out->seed = cell_seed(c->seed, out->name);
    out->trials = trials_for(c, out);
}

/* The i-th pair of NATs: each of the one list with each of the other, then those that were named. */
static void pair_at(const struct campaign_config *c, size_t i, const struct campaign_side **a,
                    const struct campaign_side **b)
{
    size_t crossed = c->n_a * c->n_b;
    *a = i < crossed ? &c->nats_a[i / c->n_b] : &c->pairs[i - crossed][0];
    *b = i < crossed ? &c->nats_b[i % c->n_b] : &c->pairs[i - crossed][1];
}

int campaign_expand(const struct campaign_config *c, const char *filter, struct campaign_cell **out, size_t *n)
{
    size_t n_pairs = c->n_a * c->n_b + c->n_pairs, all = c->n_techniques * n_pairs * c->n_links;
    struct campaign_cell *cells = calloc(all, sizeof(*cells));
    *n = 0;
    if (!cells)
        return -ENOMEM;
    /* The links of one pair stand next to each other. */
    for (size_t i = 0; i < all; i++) {
        const struct campaign_side *a, *b;
        size_t rest = i / c->n_links;
        pair_at(c, rest % n_pairs, &a, &b);
        fill(c, a, b, &c->techniques[rest / n_pairs], &c->links[i % c->n_links], &cells[*n]);
        if (!filter || fnmatch(filter, cells[*n].name, 0) == 0)
            (*n)++;
    }
    if (*n == 0) {
        free(cells);
        return -ENOENT;
    }
    *out = cells;
    return 0;
}

const struct campaign_expect *campaign_expect_for(const struct campaign_config *config,
                                                  const struct campaign_cell *cell)
{
    for (size_t i = config->n_expects; i > 0; i--)
        if (matches(&config->expects[i - 1].cells, cell))
            return &config->expects[i - 1];
    return NULL;
}
