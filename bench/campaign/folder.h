/* A folder of results, read back without its campaign file or profiles. */
#ifndef BENCH_CAMPAIGN_FOLDER_H
#define BENCH_CAMPAIGN_FOLDER_H

#include "bench/campaign/campaign.h"

/* What a cell points to. */
struct campaign_folder_cell {
    struct campaign_side a, b;
    struct campaign_technique technique;
    struct campaign_choice choice;
    struct campaign_link link;
};

struct campaign_folder {
    char dir[PATH_MAX];
    json_t *run;
    struct campaign_config *config; /* seed, warmup, block and until_width; the rest is empty */
    struct campaign_cell *cells;    /* names, trials, seeds; of links the round trip from a to b; no profiles */
    size_t n;
    struct campaign_folder_cell *storage;
};

/* Reads run.json. 0; -EPROTONOSUPPORT for a newer schema; -errno; err is then filled. */
int campaign_folder_open(struct campaign_folder *f, const char *dir, char err[CAMPAIGN_ERROR_LEN]);
void campaign_folder_close(struct campaign_folder *f);

#endif
