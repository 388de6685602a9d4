/* What the NATs did in a trial, put into its record: so that a failure can be explained. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/campaign.h"

/* Two chains of four, and what they share. */
#define MAX_NATS 16

static json_t *counters_json(const struct lab_nat_view *v)
{
    json_t *out = json_object();
    for (size_t i = 0; i < v->n; i++)
        if (v->counters[i].value)
            json_object_set_new(out, v->counters[i].name, json_integer((json_int_t)v->counters[i].value));
    return out;
}

static json_t *behind_json(const struct lab_nat_view *v)
{
    json_t *list = json_array();
    for (size_t i = 0; i < v->n_behind; i++)
        json_array_append_new(list, json_string(v->behind[i]));
    return list;
}

static json_t *view_json(const struct lab_nat_view *v)
{
    json_t *out = json_pack("{s:o, s:s, s:s, s:i, s:I, s:o}", "behind", behind_json(v), "profile", v->profile,
                            "backend", v->backend == LAB_BACKEND_NETFILTER ? "netfilter" : "emulated", "level",
                            (int)v->level + 1, "mappings", (json_int_t)v->mappings, "counters", counters_json(v));
    if (v->restarts)
        json_object_set_new(out, "restarts", json_integer((json_int_t)v->restarts));
    return out;
}

json_t *campaign_nats_json(struct lab *lab)
{
    struct lab_nat_view views[MAX_NATS];
    int n = lab_nats(lab, views, MAX_NATS);
    json_t *list = n < 0 ? NULL : json_array();
    for (int i = 0; list && i < n; i++)
        json_array_append_new(list, view_json(&views[i]));
    return list;
}

int campaign_nats_append(struct lab *lab, char **record)
{
    size_t len = strlen(*record), end = len;
    while (end > 0 && (*record)[end - 1] != '}')
        end--;
    if (end == 0)
        return -EBADMSG;
    json_t *nats = campaign_nats_json(lab);
    char *text = nats ? json_dumps(nats, JSON_COMPACT) : NULL;
    json_decref(nats);
    char *grown = text ? realloc(*record, len + strlen(text) + sizeof(",\"nats\":")) : NULL;
    if (grown) {
        *record = grown;
        sprintf(grown + end - 1, ",\"nats\":%s}\n", text);
    }
    free(text);
    return grown ? 0 : -EIO;
}
