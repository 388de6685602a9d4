/* Ranges of trials: what may be started next, where a cell ends, and which shard's it is. Pure. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/results.h"

/* ---- a cell's next trials -------------------------------------------------------------------- */

static double width_of(uint64_t ok, uint64_t n)
{
    struct record_interval i = record_wilson(ok, n, RECORD_Z95);
    return i.hi - i.lo;
}

/* How many trials come before the end of the block in which the i-th lies. */
static uint64_t block_end(const struct campaign_config *c, const struct campaign_tally *t, uint64_t i)
{
    uint64_t end = i - i % c->block + c->block;
    return end < t->trials ? end : t->trials;
}

/* With until_width: how many trials there are to be, by what is known. Blocks that were begun are made whole. */
static uint64_t until_end(const struct campaign_config *c, const struct campaign_tally *t)
{
    uint64_t begun = t->trials;
    while (begun > 0 && !t->done[begun - 1])
        begun--;
    if (begun == 0)
        return block_end(c, t, 0);
    uint64_t end = block_end(c, t, begun - 1);
    if (t->measured < end || end == t->trials || width_of(t->outcomes[RECORD_OK], t->measured) <= c->until_width)
        return end;
    return block_end(c, t, end);
}

bool campaign_range_next(const struct campaign_config *config, const struct campaign_tally *t, uint64_t *from,
                         uint64_t *first, uint64_t *count)
{
    if (!campaign_tally_missing(t, *from, first, count))
        return false;
    uint64_t i = *first - t->first, end = block_end(config, t, i);
    if (config->until_width > 0) {
        uint64_t last = until_end(config, t);
        if (i >= last)
            return false;
        end = end < last ? end : last;
    }
    if (i + *count > end)
        *count = end - i;
    *from = *first + *count;
    return true;
}

uint64_t campaign_trials_expected(const struct campaign_config *c, const struct campaign_tally *t)
{
    if (c->until_width <= 0 || t->measured == 0)
        return campaign_tally_mine(t);
    double rate = (double)t->outcomes[RECORD_OK] / (double)t->measured;
    uint64_t end = until_end(c, t);
    while (end < t->trials && width_of((uint64_t)(rate * (double)end + 0.5), end) > c->until_width)
        end = block_end(c, t, end);
    return end;
}

/* ---- shards ---------------------------------------------------------------------------------- */

int campaign_shard_parse(const char *text, struct campaign_shard *out)
{
    char index[24];
    size_t len = strcspn(text, "/");
    if (len >= sizeof(index) || text[len] != '/')
        return -EINVAL;
    memcpy(index, text, len);
    index[len] = '\0';
    struct campaign_shard s;
    if (base_parse_u64(text + len + 1, 1, CAMPAIGN_MAX_TRIALS, &s.count) < 0 ||
        base_parse_u64(index, 1, s.count, &s.index) < 0)
        return -EINVAL;
    *out = s;
    return 0;
}

/* The pieces that are dealt out: a cell's blocks, or with until_width the cell. */
static uint64_t piece_len(const struct campaign_config *c, const struct campaign_tally *t)
{
    return c->until_width > 0 || c->block > t->trials ? t->trials : c->block;
}

static uint64_t count_pieces(const struct campaign_config *c, const struct campaign_tally *tallies, size_t n)
{
    uint64_t pieces = 0;
    for (size_t i = 0; i < n; i++)
        pieces += (tallies[i].trials + piece_len(c, &tallies[i]) - 1) / piece_len(c, &tallies[i]);
    return pieces;
}

int campaign_shard_mark(const struct campaign_config *config, struct campaign_tally *tallies, size_t n,
                        struct campaign_shard shard)
{
    struct base_perm deal;
    struct base_rng rng;
    uint64_t piece = 0;
    if (shard.count == 0)
        return 0;
    base_rng_derive(&rng, config->seed, "shards", 0);
    base_perm_init(&deal, count_pieces(config, tallies, n), base_rng_u64(&rng));
    for (size_t i = 0; i < n; i++) {
        struct campaign_tally *t = &tallies[i];
        uint64_t len = piece_len(config, t);
        t->mine = calloc(t->trials, sizeof(*t->mine));
        if (!t->mine)
            return -ENOMEM;
        for (uint64_t at = 0; at < t->trials; at += len, piece++)
            if (base_perm_at(&deal, piece) % shard.count == shard.index - 1)
                memset(t->mine + at, true, at + len < t->trials ? len : t->trials - at);
    }
    return 0;
}
