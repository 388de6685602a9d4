/*
 * What the NATs of a lab did, in one form for emulated NATs and netfilter routers: since they were made, and since the
 * last reset, so that a trial can be explained by what happened in it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/lab/internal.h"

/* ---- one NAT --------------------------------------------------------------------------------- */

static unsigned levels_of(const struct lab_host *host)
{
    return host->router.netns >= 0 ? 1 : host->box.n;
}

static struct lab_counter *base_of(struct lab_host *host, unsigned level)
{
    return host->router.netns >= 0 ? host->router.base : host->box.base[level];
}

/* Since it was made. How many, or -errno. */
static int read_counters(struct lab_host *host, unsigned level, struct lab_counter out[LAB_NAT_COUNTERS])
{
    if (host->router.netns < 0)
        return (int)lab_box_counters(&host->box, level, out);
    int res = lab_router_counters(&host->router, out);
    return res < 0 ? res : LAB_ROUTER_COUNTERS;
}

static int read_mappings(struct lab_host *host, unsigned level, uint64_t *out)
{
    if (host->router.netns >= 0)
        return lab_router_mappings(&host->router, out);
    *out = lab_box_mappings(&host->box, level);
    return 0;
}

/* NATs from the host, or from the farthest one behind it, to its outside. */
static unsigned depth_of(const struct lab_host *host)
{
    unsigned depth = 0;
    for (size_t i = 0; host->shared && i < host->lab->n_hosts; i++) {
        const struct lab_host *member = host->lab->hosts[i];
        unsigned its = member->above == host ? depth_of(member) : 0;
        depth = its > depth ? its : depth;
    }
    return depth + levels_of(host);
}

static void name_hosts(const struct lab_host *host, struct lab_nat_view *out)
{
    for (size_t i = 0; i < host->lab->n_hosts; i++) {
        const struct lab_host *h = host->lab->hosts[i], *at = h;
        while (at && at != host)
            at = at->above;
        if (at && !h->shared && out->n_behind < LAB_VIEW_HOSTS)
            out->behind[out->n_behind++] = h->name;
    }
}

static int read_view(struct lab_host *host, unsigned level, struct lab_nat_view *out)
{
    const struct lab_counter *base = base_of(host, level);
    *out = (struct lab_nat_view){.host = host,
                                 .level = depth_of(host) - levels_of(host) + level,
                                 .backend = host->profile.backend,
                                 .profile = host->box.n ? host->box.profiles[level].name : host->profile.name};
    out->restarts = host->restarts;
    name_hosts(host, out);
    int n = read_counters(host, level, out->counters);
    if (n < 0)
        return n;
    out->n = (size_t)n;
    for (size_t i = 0; i < out->n; i++)
        out->counters[i].value -= base[i].value;
    return read_mappings(host, level, &out->mappings);
}

/* ---- the lab's ------------------------------------------------------------------------------- */

int lab_view_reset(struct lab_host *host)
{
    int res = 0;
    host->restarts = 0;
    for (unsigned level = 0; level < levels_of(host) && res >= 0; level++)
        res = read_counters(host, level, base_of(host, level));
    return res < 0 ? res : 0;
}

int lab_nats(struct lab *lab, struct lab_nat_view *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < lab->n_hosts; i++)
        for (unsigned level = 0; level < levels_of(lab->hosts[i]) && n < cap; level++) {
            int res = read_view(lab->hosts[i], level, &out[n++]);
            if (res < 0)
                return res;
        }
    return (int)n;
}

int lab_host_mappings(struct lab *lab, struct lab_host *host, uint64_t *out)
{
    (void)lab;
    *out = 0;
    return levels_of(host) ? read_mappings(host, 0, out) : 0;
}

_Static_assert(LAB_MAX_COUNTERS >= LAB_BOX_MAX * LAB_NAT_COUNTERS, "room for every counter");

static void prefix_of(unsigned level, char out[24])
{
    out[0] = '\0';
    if (level == 1)
        snprintf(out, 24, "outer-");
    else if (level > 1)
        snprintf(out, 24, "outer%u-", level);
}

int lab_host_counters(struct lab *lab, struct lab_host *host, struct lab_counter out[LAB_MAX_COUNTERS])
{
    size_t n = 0;
    (void)lab;
    for (unsigned level = 0; level < host->box.n; level++) {
        struct lab_counter own[LAB_NAT_COUNTERS];
        size_t count = lab_box_counters(&host->box, level, own);
        char prefix[24];
        prefix_of(level, prefix);
        for (size_t i = 0; i < count; i++, n++) {
            snprintf(out[n].name, sizeof(out->name), "%.16s%.23s", prefix, own[i].name);
            out[n].value = own[i].value;
        }
    }
    return (int)n;
}
