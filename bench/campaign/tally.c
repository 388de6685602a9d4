/* Counting a cell's trials. Pure. */
#include <errno.h>
#include <stdlib.h>

#include "bench/campaign/campaign.h"

int campaign_tally_init(struct campaign_tally *t, uint64_t trials)
{
    *t = (struct campaign_tally){.trials = trials};
    t->done = calloc(trials, sizeof(*t->done));
    t->connect_ns = calloc(trials, sizeof(*t->connect_ns));
    if (t->done && t->connect_ns)
        return 0;
    campaign_tally_free(t);
    return -ENOMEM;
}

void campaign_tally_free(struct campaign_tally *t)
{
    free(t->done);
    free(t->connect_ns);
    *t = (struct campaign_tally){0};
}

int campaign_tally_add(struct campaign_tally *t, const struct record_view *view)
{
    if (view->trial >= t->trials)
        return -ERANGE;
    if (t->done[view->trial])
        return -EEXIST;
    t->done[view->trial] = true;
    t->measured++;
    t->outcomes[view->outcome]++;
    if (view->outcome == RECORD_OK)
        t->connect_ns[t->n_connect++] = view->connect_ns;
    /* What was called infeasible was not tried. */
    if (view->outcome != RECORD_INFEASIBLE)
        record_calibration_add(&t->calibration, view->predicted_p, view->outcome == RECORD_OK);
    return 0;
}

bool campaign_tally_missing(const struct campaign_tally *t, uint64_t from, uint64_t *first, uint64_t *count)
{
    while (from < t->trials && t->done[from])
        from++;
    if (from >= t->trials)
        return false;
    *first = from;
    while (from < t->trials && !t->done[from])
        from++;
    *count = from - *first;
    return true;
}
