/* What a trials.jsonl already has. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/campaign.h"

static struct campaign_tally *find_tally(const char *cell, const struct campaign_cell *cells,
                                         struct campaign_tally *tallies, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(cells[i].name, cell) == 0)
            return &tallies[i];
    return NULL;
}

static int take_line(const char *line, size_t len, const struct campaign_cell *cells, struct campaign_tally *tallies,
                     size_t n, size_t number, char err[CAMPAIGN_ERROR_LEN])
{
    struct record_view view;
    int res = record_view_parse(line, len, &view);
    if (res == -EPROTONOSUPPORT)
        return campaign_fail(res, err, "line %zu: a record of a newer version: use that version", number);
    if (res < 0)
        return campaign_fail(res, err, "line %zu: no trial record; look at it, and remove it to go on", number);
    struct campaign_tally *tally = find_tally(view.cell, cells, tallies, n);
    if (!tally)
        return campaign_fail(-EINVAL, err, "line %zu: this campaign has no cell '%.200s'", number, view.cell);
    res = campaign_tally_add(tally, &view);
    if (res == -ERANGE)
        return campaign_fail(res, err, "line %zu: this campaign has no trial %llu", number,
                             (unsigned long long)view.trial);
    if (res == -EEXIST)
        return campaign_fail(res, err, "line %zu: trial %llu of %.200s is there twice; remove one", number,
                             (unsigned long long)view.trial, view.cell);
    return res;
}

int campaign_resume_read(FILE *in, const struct campaign_cell *cells, struct campaign_tally *tallies, size_t n,
                         long *good, bool *torn, char err[CAMPAIGN_ERROR_LEN])
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    int res = 0;
    *good = 0;
    *torn = false;
    for (size_t number = 1; res == 0 && (len = getline(&line, &cap, in)) > 0; number++) {
        /* Only a whole line was ever meant to count: a kill can tear the last one. */
        if (line[len - 1] != '\n') {
            *torn = true;
            break;
        }
        res = take_line(line, (size_t)len - 1, cells, tallies, n, number, err);
        *good += len;
    }
    if (res == 0 && ferror(in))
        res = campaign_fail(-EIO, err, "could not be read");
    free(line);
    return res;
}
