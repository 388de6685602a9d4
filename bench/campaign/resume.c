/* What a trials.jsonl already has. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/results.h"

/* ---- finding a line's cell ------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    const struct campaign_name *x = a, *y = b;
    return strcmp(x->name, y->name);
}

int campaign_index_make(struct campaign_index *index, const struct campaign_cell *cells, size_t n)
{
    *index = (struct campaign_index){.n = n, .sorted = calloc(n + 1, sizeof(struct campaign_name))};
    if (!index->sorted)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        index->sorted[i] = (struct campaign_name){cells[i].name, i};
    qsort(index->sorted, n, sizeof(struct campaign_name), compare_names);
    return 0;
}

size_t campaign_index_find(const struct campaign_index *index, const char *name)
{
    const struct campaign_name key = {name, 0};
    const struct campaign_name *found =
        bsearch(&key, index->sorted, index->n, sizeof(struct campaign_name), compare_names);
    return found ? found->cell : index->n;
}

void campaign_index_free(struct campaign_index *index)
{
    free(index->sorted);
    *index = (struct campaign_index){0};
}

/* ---- reading --------------------------------------------------------------------------------- */

static int take_line(const struct campaign_index *index, struct campaign_tally *tallies, const char *line, size_t len,
                     size_t *cell, struct record_view *view, char err[CAMPAIGN_ERROR_LEN])
{
    int res = record_view_parse(line, len, view);
    if (res == -EPROTONOSUPPORT)
        return campaign_fail(res, err, "a record of a newer version: use that version");
    if (res < 0)
        return campaign_fail(res, err, "no trial record; look at it, and remove it to go on");
    *cell = campaign_index_find(index, view->cell);
    if (*cell == index->n)
        return campaign_fail(-EINVAL, err, "this campaign has no cell '%.200s'", view->cell);
    res = campaign_tally_add(&tallies[*cell], view);
    if (res == -ERANGE)
        return campaign_fail(res, err, "this campaign has no trial %llu", (unsigned long long)view->trial);
    if (res == -EEXIST)
        return campaign_fail(res, err, "trial %llu of %.200s is there twice; remove one",
                             (unsigned long long)view->trial, view->cell);
    return res;
}

int campaign_trials_read(FILE *in, const struct campaign_index *index, struct campaign_tally *tallies,
                         campaign_trial_fn *on_trial, void *owner, bool *torn, char err[CAMPAIGN_ERROR_LEN])
{
    char *line = NULL, why[CAMPAIGN_ERROR_LEN];
    size_t cap = 0, number = 0;
    ssize_t len;
    int res = 0;
    *torn = false;
    while (res == 0 && (len = getline(&line, &cap, in)) > 0) {
        struct record_view view;
        size_t cell = 0;
        number++;
        /* Only a whole line was ever meant to count: a kill can tear the last one. */
        if (line[len - 1] != '\n') {
            *torn = true;
            break;
        }
        res = take_line(index, tallies, line, (size_t)len - 1, &cell, &view, why);
        if (on_trial && (res == 0 || res == -EEXIST))
            res = on_trial(owner, cell, &view, line, (size_t)len, res, why);
        if (res < 0)
            campaign_fail(res, err, "line %zu: %.400s", number, why);
    }
    if (res == 0 && ferror(in))
        res = campaign_fail(-EIO, err, "could not be read");
    free(line);
    return res;
}

static int add_length(void *owner, size_t cell, const struct record_view *view, const char *line, size_t len, int res,
                      char err[CAMPAIGN_ERROR_LEN])
{
    (void)cell;
    (void)view;
    (void)line;
    (void)err;
    *(long *)owner += (long)len;
    return res;
}

int campaign_resume_read(FILE *in, const struct campaign_cell *cells, struct campaign_tally *tallies, size_t n,
                         long *good, bool *torn, char err[CAMPAIGN_ERROR_LEN])
{
    struct campaign_index index;
    *good = 0;
    if (campaign_index_make(&index, cells, n) < 0)
        return campaign_fail(-ENOMEM, err, "no memory");
    int res = campaign_trials_read(in, &index, tallies, add_length, good, torn, err);
    campaign_index_free(&index);
    return res;
}
