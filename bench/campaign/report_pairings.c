/* Which technique over TCP stands beside which one over UDP. Pure. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/report_plots.h"

/* What the user asked for, where that is of this place. */
static const struct report_cell *named(const struct report_kinds *k, const struct report_cell *place, const char *label)
{
    for (size_t i = 0; i < k->n; i++)
        if (report_same_place(k->list[i], place) && strcmp(k->list[i]->label, label) == 0)
            return k->list[i];
    return NULL;
}

static void add(struct report_pairings *p, const struct report_cell *tcp, const struct report_cell *udp)
{
    if (tcp && udp)
        p->list[p->n++] = (struct report_pairing){tcp, udp};
}

static void by_names(const struct report_set *set, const struct report_kinds *k, struct report_pairings *out)
{
    for (size_t i = 0; i < k->n; i++) {
        bool first = true;
        for (size_t j = 0; j < i && first; j++)
            first = !report_same_place(k->list[j], k->list[i]);
        for (size_t n = 0; first && n < set->n_beside; n++)
            add(out, named(k, k->list[i], set->beside[n][0]), named(k, k->list[i], set->beside[n][1]));
    }
}

/* The one over UDP that has the same place among those over UDP, in the campaign's order, as this one among those over
 * TCP. */
static const struct report_cell *counterpart(const struct report_kinds *k, const struct report_cell *tcp)
{
    size_t at = 0, i;
    for (i = 0; i < k->n && k->list[i] != tcp; i++)
        at += report_same_place(k->list[i], tcp) && report_is_tcp(k->list[i]);
    for (i = 0; i < k->n; i++)
        if (report_same_place(k->list[i], tcp) && report_is_udp(k->list[i]) && at-- == 0)
            return k->list[i];
    return NULL;
}

static bool is_paired(const struct report_pairings *p, const struct report_cell *kind)
{
    bool found = false;
    for (size_t i = 0; i < p->n && !found; i++)
        found = p->list[i].tcp == kind || p->list[i].udp == kind;
    return found;
}

int report_pairings_find(struct report_set *set, struct report_pairings *out)
{
    struct report_kinds k;
    int res = report_kinds_find(set, report_same_panel, report_is_technique, &k);
    *out = (struct report_pairings){0};
    if (res < 0)
        return res;
    size_t most = set->n_beside ? k.n * set->n_beside : k.n;
    out->list = calloc(most + 1, sizeof(*out->list));
    out->alone = calloc(k.n + 1, sizeof(const struct report_cell *));
    if (!out->list || !out->alone)
        res = -ENOMEM;
    if (res == 0 && set->n_beside)
        by_names(set, &k, out);
    for (size_t i = 0; res == 0 && !set->n_beside && i < k.n; i++)
        if (report_is_tcp(k.list[i]))
            add(out, k.list[i], counterpart(&k, k.list[i]));
    for (size_t i = 0; res == 0 && i < k.n; i++)
        if (!is_paired(out, k.list[i]))
            out->alone[out->n_alone++] = k.list[i];
    free(k.list);
    if (res < 0)
        report_pairings_free(out);
    return res;
}

void report_pairings_free(struct report_pairings *p)
{
    free(p->list);
    free(p->alone);
    *p = (struct report_pairings){0};
}
