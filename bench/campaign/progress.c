/* The status line: on a terminal only, on stderr, so that it never mixes with output. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/campaign/pace.h"

#define CLEAR_LINE "\r\033[K"

void campaign_progress_init(struct campaign_progress *p)
{
    const char *term = getenv("TERM");
    *p = (struct campaign_progress){.terminal = isatty(STDERR_FILENO) == 1 && !(term && strcmp(term, "dumb") == 0)};
}

/* ---- how long it will take ------------------------------------------------------------------- */

struct mean {
    double spent, made;
};

static void add(struct mean *m, const struct campaign_left *cell)
{
    m->spent += (double)cell->spent_ns / (double)BASE_NS_PER_S;
    m->made += (double)cell->made;
}

double campaign_eta(const struct campaign_left *cells, size_t n, size_t workers)
{
    struct mean all = {0, 0}, techniques[CAMPAIGN_MAX_TECHNIQUES] = {{0, 0}};
    double work = 0, longest = 0;
    for (size_t i = 0; i < n; i++) {
        add(&all, &cells[i]);
        add(&techniques[cells[i].technique], &cells[i]);
    }
    if (all.made == 0 || workers == 0)
        return NAN;
    for (size_t i = 0; i < n; i++) {
        struct mean own = {0, 0};
        add(&own, &cells[i]);
        const struct mean *m = own.made > 0 ? &own : &techniques[cells[i].technique];
        double each = m->made > 0 ? m->spent / m->made : all.spent / all.made;
        work += each * (double)cells[i].left;
        longest = fmax(longest, each * (double)cells[i].chain);
    }
    return fmax(work / (double)workers, longest);
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

void campaign_progress_format(uint64_t done, uint64_t total, size_t workers, double eta_s, char *buf, size_t cap)
{
    char left[32];
    int len = snprintf(buf, cap, "%llu/%llu trials, %zu workers", (unsigned long long)done, (unsigned long long)total,
                       workers);
    if (len < 0 || (size_t)len >= cap || isnan(eta_s) || done >= total)
        return;
    format_time(eta_s, left, sizeof(left));
    snprintf(buf + len, cap - (size_t)len, ", about %s left", left);
}

void campaign_progress_show(struct campaign_progress *p, const char *text)
{
    if (!p->terminal)
        return;
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
