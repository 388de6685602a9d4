/* latency.hlog: how long the successes of each cell took, for HdrHistogram's tools. Always made anew from all trials,
 * so that it agrees with trials.jsonl. */
#include <errno.h>
#include <stdlib.h>

#include "bench/campaign/results.h"
#include "bench/hist/hist.h"

struct hlog {
    uint64_t started_ms;
    const struct campaign_cell *cells;
    const struct campaign_tally *tallies;
    size_t n;
};

static int put(FILE *out, int res, char *text)
{
    if (res == 0 && fputs(text, out) == EOF)
        res = -(errno ? errno : EIO);
    free(text);
    return res;
}

static int write_cell(FILE *out, const struct campaign_cell *cell, const struct campaign_tally *t)
{
    struct hist h = {0};
    char *line = NULL;
    int res = 0;
    /* A punch's deadline is an hour at most: what is above is some margin. */
    for (size_t i = 0; res == 0 && i < t->n_connect; i++)
        res = hist_record(&h, t->connect_ns[i] < HIST_MAX_NS ? t->connect_ns[i] : HIST_MAX_NS);
    if (res == 0)
        res = hist_log_line(cell->name, 0, t->total_ns / BASE_NS_PER_MS, &h, &line);
    hist_clear(&h);
    return put(out, res, line);
}

static int write_all(FILE *out, const void *what)
{
    const struct hlog *l = what;
    char *head;
    int res = hist_log_head(l->started_ms, &head);
    res = put(out, res, head);
    for (size_t i = 0; res == 0 && i < l->n; i++)
        res = write_cell(out, &l->cells[i], &l->tallies[i]);
    return res;
}

int campaign_hlog_write(const char *dir, uint64_t started_ms, const struct campaign_cell *cells,
                        const struct campaign_tally *tallies, size_t n)
{
    const struct hlog l = {started_ms, cells, tallies, n};
    return campaign_file_replace(dir, "latency.hlog", write_all, &l);
}
