/*
 * How many workers at once. Pure. What is watched is how late the workers' labs let packets go: a machine that has too
 * much to do delays them, and that is what would distort latencies. Each technique is held against its own lateness
 * alone on this machine, as a spray is a burst that is late by itself. As long as hardly any report is over its bound
 * the limit grows, by half until it was too high once, then by one; where many are, it shrinks by a quarter. So cells
 * that take much of a processor run in smaller numbers than those that mostly wait.
 */
#include "bench/campaign/pace.h"

/* On top of what it is alone, and as much again up to MORE_NS: of a few hundred packets the 99th percentile is nearly
 * the worst, and a millisecond or two comes from scheduling alone. */
#define MARGIN_NS (2 * BASE_NS_PER_MS)
#define MORE_NS   (5 * BASE_NS_PER_MS)
/* So many reports, or one of each worker, before the limit is judged. */
#define MIN_REPORTS 4

void campaign_pace_init(struct campaign_pace *p, size_t min, size_t max)
{
    *p = (struct campaign_pace){.min = min < max ? min : max, .max = max};
    p->limit = p->min;
}

void campaign_pace_solo(struct campaign_pace *p, size_t technique, uint64_t late_ns)
{
    if (late_ns > p->solo_ns[technique])
        p->solo_ns[technique] = late_ns;
}

uint64_t campaign_pace_bound(const struct campaign_pace *p, size_t technique)
{
    uint64_t solo = p->solo_ns[technique];
    return solo + (solo < MORE_NS ? solo : MORE_NS) + MARGIN_NS;
}

static void judge(struct campaign_pace *p, size_t running)
{
    if (4 * p->late > p->reports) {
        p->limit = p->limit * 3 / 4 > p->min ? p->limit * 3 / 4 : p->min;
        p->slow = true;
    } else if (8 * p->late <= p->reports && running >= p->limit && p->limit < p->max) {
        p->limit += p->slow || p->limit < 2 ? 1 : p->limit / 2;
        p->limit = p->limit < p->max ? p->limit : p->max;
    }
    p->reports = p->late = 0;
}

void campaign_pace_report(struct campaign_pace *p, size_t technique, uint64_t late_ns, size_t running)
{
    p->reports++;
    p->late += late_ns > campaign_pace_bound(p, technique);
    if (p->reports >= MIN_REPORTS && p->reports >= p->limit)
        judge(p, running);
}
