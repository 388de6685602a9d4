/* The status line: on a terminal only, on stderr, so that it never mixes with output. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/campaign/campaign.h"

#define CLEAR_LINE "\r\033[K"

void campaign_progress_init(struct campaign_progress *p, uint64_t total, uint64_t before)
{
    const char *term = getenv("TERM");
    *p = (struct campaign_progress){.total = total, .before = before, .begin_ns = base_now_ns()};
    p->terminal = isatty(STDERR_FILENO) == 1 && !(term && strcmp(term, "dumb") == 0);
}

static void format_time(double seconds, char *buf, size_t cap)
{
    if (seconds < 120)
        snprintf(buf, cap, "%.0f s", seconds);
    else if (seconds < 7200)
        snprintf(buf, cap, "%.0f min", seconds / 60);
    else
        snprintf(buf, cap, "%.1f h", seconds / 3600);
}

void campaign_progress_format(const struct campaign_progress *p, uint64_t done, size_t running, uint64_t now_ns,
                              char *buf, size_t cap)
{
    int len = snprintf(buf, cap, "%llu/%llu trials, %zu cells running", (unsigned long long)done,
                       (unsigned long long)p->total, running);
    if (len < 0 || (size_t)len >= cap || done <= p->before || done >= p->total || now_ns <= p->begin_ns)
        return;
    /* Cells differ, their order is random: the mean so far is the best guess. */
    double each = (double)(now_ns - p->begin_ns) / (double)(done - p->before);
    char left[32];
    format_time(each * (double)(p->total - done) / (double)BASE_NS_PER_S, left, sizeof(left));
    snprintf(buf + len, cap - (size_t)len, ", about %s left", left);
}

void campaign_progress_show(struct campaign_progress *p, uint64_t done, size_t running)
{
    char text[160];
    if (!p->terminal)
        return;
    campaign_progress_format(p, done, running, base_now_ns(), text, sizeof(text));
    fprintf(stderr, CLEAR_LINE "%s", text);
    fflush(stderr);
    p->shown = true;
}

void campaign_progress_hide(struct campaign_progress *p)
{
    if (!p->shown)
        return;
    fputs(CLEAR_LINE, stderr);
    fflush(stderr);
    p->shown = false;
}
