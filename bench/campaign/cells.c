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

static void fill(const struct campaign_config *c, size_t a, size_t b, size_t t, size_t l, struct campaign_cell *out)
{
    *out = (struct campaign_cell){.nat_a = &c->profiles[c->nats_a[a]],
                                  .nat_b = &c->profiles[c->nats_b[b]],
                                  .choice = &c->techniques[t],
                                  .link = &c->links[l]};
    snprintf(out->name, sizeof(out->name), "%s/%s/%s/%s", out->nat_a->name, out->nat_b->name, out->choice->label,
             out->link->label);
    out->seed = cell_seed(c->seed, out->name);
}

int campaign_expand(const struct campaign_config *c, const char *filter, struct campaign_cell **out, size_t *n)
{
    size_t all = c->n_techniques * c->n_a * c->n_b * c->n_links;
    struct campaign_cell *cells = calloc(all, sizeof(*cells));
    *n = 0;
    if (!cells)
        return -ENOMEM;
    /* The links of one pair stand next to each other. */
    for (size_t i = 0; i < all; i++) {
        size_t rest = i / c->n_links;
        fill(c, rest / c->n_b % c->n_a, rest % c->n_b, rest / c->n_b / c->n_a, i % c->n_links, &cells[*n]);
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
    for (size_t i = config->n_expects; i > 0; i--) {
        const struct campaign_expect *e = &config->expects[i - 1];
        if (fnmatch(e->nat_a, cell->nat_a->name, 0) == 0 && fnmatch(e->nat_b, cell->nat_b->name, 0) == 0 &&
            fnmatch(e->technique, cell->choice->label, 0) == 0 && fnmatch(e->link, cell->link->label, 0) == 0)
            return e;
    }
    return NULL;
}
