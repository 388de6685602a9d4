/* bench/campaign: reading lines from a pipe. */
#ifndef BENCH_CAMPAIGN_LINES_H
#define BENCH_CAMPAIGN_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "bench/loop/loop.h"

struct campaign_lines;
/* One line, NUL instead of '\n'; or NULL at the end of the stream. */
typedef void campaign_line_fn(struct campaign_lines *lines, char *line, size_t len);

struct campaign_lines {
    struct loop *loop;
    struct loop_op op;
    int fd; /* owned */
    bool ended;
    campaign_line_fn *on_line;
    void *owner;
    char *buf;
    size_t len, cap, max;
};

/* Reads fd until its end. A line longer than max is cut. */
void campaign_lines_start(struct campaign_lines *l, struct loop *loop, int fd, size_t max, campaign_line_fn *on_line,
                          void *owner);
/* Cancels; the owner waits until loop_op_pending(&l->op) is false, then frees. */
void campaign_lines_stop(struct campaign_lines *l);
void campaign_lines_free(struct campaign_lines *l);

#endif
