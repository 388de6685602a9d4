/*
 * bench/campaign, for `bench field` only: a campaign between two real lines instead of the lab's.
 *
 *   cmd_field.c   the command line, the plan     field.c   what S recorded -> a folder of results
 */
#ifndef BENCH_CAMPAIGN_FIELD_H
#define BENCH_CAMPAIGN_FIELD_H

#include "bench/campaign/campaign.h"

#define FIELD_MAX_FILES 64

struct field {
    struct campaign_config config; /* one pair of NATs, and one link, as the user calls them */
    struct campaign_cell *cells;   /* owned */
    size_t n;
    const char *server; /* NULL: not told */
    char **files;       /* what S recorded */
    size_t n_files;
    const char *discovered[2][2]; /* of a and b: what `discover --json` said, over UDP and TCP; NULL: not told */
};

/* Reads what S recorded and writes the folder `out`, which must not hold anything. 0, or -errno: said on stderr.
 * *missing: trials of the campaign that nobody made. */
int field_collect(struct field *f, const char *out, uint64_t *missing);

#endif
