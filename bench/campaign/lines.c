/* Lines out of a pipe, on the loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/campaign/lines.h"

#define READ_SIZE 4096

static void start_read(struct campaign_lines *l)
{
    if (l->cap - l->len < READ_SIZE) {
        size_t cap = l->cap ? l->cap * 2 : 2 * READ_SIZE;
        char *grown = realloc(l->buf, cap);
        /* Nothing sensible goes on without these few kilobytes. */
        if (!grown)
            abort();
        l->buf = grown;
        l->cap = cap;
    }
    loop_read(l->loop, &l->op, l->fd, l->buf + l->len, READ_SIZE);
}

static void give_lines(struct campaign_lines *l)
{
    size_t from = 0;
    char *end;
    while (!l->ended && (end = memchr(l->buf + from, '\n', l->len - from))) {
        *end = '\0';
        l->on_line(l, l->buf + from, (size_t)(end - l->buf) - from);
        from = (size_t)(end - l->buf) + 1;
    }
    memmove(l->buf, l->buf + from, l->len - from);
    l->len -= from;
    /* A line without an end: keep its beginning. */
    if (l->len > l->max)
        l->len = l->max;
}

static void read_done(struct loop_op *op, int res)
{
    struct campaign_lines *l = op->owner;
    if (l->ended)
        return;
    if (res == -EINTR || res == -EAGAIN) {
        start_read(l);
        return;
    }
    if (res <= 0) {
        l->ended = true;
        l->on_line(l, NULL, 0);
        return;
    }
    l->len += (size_t)res;
    give_lines(l);
    if (!l->ended)
        start_read(l);
}

void campaign_lines_start(struct campaign_lines *l, struct loop *loop, int fd, size_t max, campaign_line_fn *on_line,
                          void *owner)
{
    *l = (struct campaign_lines){.loop = loop, .fd = fd, .max = max, .on_line = on_line, .owner = owner};
    loop_op_init(&l->op, read_done, l);
    start_read(l);
}

void campaign_lines_stop(struct campaign_lines *l)
{
    l->ended = true;
    if (l->loop)
        loop_cancel(l->loop, &l->op);
}

void campaign_lines_free(struct campaign_lines *l)
{
    if (!l->loop)
        return;
    free(l->buf);
    close(l->fd);
    *l = (struct campaign_lines){0};
}
