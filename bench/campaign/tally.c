/* Counting a cell's trials. Pure. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/results.h"

int campaign_tally_init(struct campaign_tally *t, uint64_t first, uint64_t trials)
{
    *t = (struct campaign_tally){.first = first, .trials = trials};
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
    free(t->mine);
    free(t->connect_ns);
    *t = (struct campaign_tally){0};
}

int campaign_tally_add(struct campaign_tally *t, const struct record_view *view)
{
    if (view->trial < t->first || view->trial - t->first >= t->trials)
        return -ERANGE;
    bool *done = &t->done[view->trial - t->first];
    if (*done)
        return -EEXIST;
    *done = true;
    t->measured++;
    t->outcomes[view->outcome]++;
    t->total_ns += view->total_ns;
    enum record_path path;
    if (view->outcome == RECORD_OK)
        t->connect_ns[t->n_connect++] = view->connect_ns;
    if (view->outcome == RECORD_OK && record_path_parse(view->path, &path) == 0)
        t->paths[path]++;
    /* What was called infeasible was not tried; and a relay is not what was predicted. */
    if (view->outcome != RECORD_INFEASIBLE)
        record_calibration_add(&t->calibration, view->predicted_p,
                               view->outcome == RECORD_OK && strcmp(view->path, "relay") != 0);
    return 0;
}

bool campaign_tally_has(const struct campaign_tally *t, uint64_t trial)
{
    return trial >= t->first && trial - t->first < t->trials && t->done[trial - t->first];
}

static bool missing(const struct campaign_tally *t, uint64_t i)
{
    return !t->done[i] && (!t->mine || t->mine[i]);
}

bool campaign_tally_missing(const struct campaign_tally *t, uint64_t from, uint64_t *first, uint64_t *count)
{
    uint64_t i = from > t->first ? from - t->first : 0;
    while (i < t->trials && !missing(t, i))
        i++;
    if (i >= t->trials)
        return false;
    *first = t->first + i;
    while (i < t->trials && missing(t, i))
        i++;
    *count = t->first + i - *first;
    return true;
}

uint64_t campaign_tally_mine(const struct campaign_tally *t)
{
    uint64_t n = t->mine ? 0 : t->trials;
    for (uint64_t i = 0; t->mine && i < t->trials; i++)
        n += t->mine[i];
    return n;
}
