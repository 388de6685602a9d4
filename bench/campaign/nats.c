/* What the NATs did in a trial, put into its record: so that a failure can be explained. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/hosts.h"
#include "bench/record/record.h"

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

/* ---- the path ---------------------------------------------------------------------------------- */

static bool counted(const struct lab_nat_view *v, const char *name)
{
    for (size_t i = 0; i < v->n; i++)
        if (strcmp(v->counters[i].name, name) == 0)
            return v->counters[i].value > 0;
    return false;
}

static bool is_behind(const struct lab_nat_view *v, const char *host)
{
    for (size_t i = 0; i < v->n_behind; i++)
        if (strcmp(v->behind[i], host) == 0)
            return true;
    return false;
}

/* A NAT that both peers are behind sent something back inside. */
static bool hairpinned(struct lab *lab)
{
    struct lab_nat_view views[MAX_NATS];
    int n = lab_nats(lab, views, MAX_NATS);
    for (int i = 0; i < n; i++)
        if (is_behind(&views[i], "a") && is_behind(&views[i], "b") && counted(&views[i], "hairpinned"))
            return true;
    return false;
}

int campaign_nats_path(struct lab *lab, char **record)
{
    if (!strstr(*record, "\"path\":\"direct\"") || !hairpinned(lab))
        return 0;
    json_t *json = json_loads(*record, JSON_REJECT_DUPLICATES, NULL);
    const char *path = json_string_value(json_object_get(json, "path"));
    if (!path || strcmp(path, "direct") != 0) {
        json_decref(json);
        return json ? 0 : -EBADMSG;
    }
    json_object_set_new(json, "path", json_string(record_path_name(RECORD_PATH_HAIRPIN)));
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)), *line = NULL;
    json_decref(json);
    if (!text || asprintf(&line, "%s\n", text) < 0)
        line = NULL;
    free(text);
    if (!line)
        return -ENOMEM;
    free(*record);
    *record = line;
    return 0;
}

/* ---- the list -------------------------------------------------------------------------------------- */

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
