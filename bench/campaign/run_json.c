/* run.json: what is measured, with every value filled in, and on what machine. */
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench/campaign/results.h"

/* ---- parts ----------------------------------------------------------------------------------- */

static json_t *names_json(const struct campaign_side *sides, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(sides[i].name));
    return list;
}

static json_t *pairs_json(const struct campaign_config *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->n_pairs; i++)
        json_array_append_new(list, names_json(c->pairs[i], 2));
    return list;
}

static json_t *techniques_json(const struct campaign_config *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->n_techniques; i++) {
        const struct campaign_choice *choice = &c->techniques[i];
        json_t *item = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "label", choice->label, "technique",
                                 choice->technique->name, "program", choice->technique->program, "transport",
                                 campaign_choice_transport(choice), "mode", choice->mode, "options", choice->options);
        if (choice->relay)
            json_object_set_new(item, "relay", json_true());
        if (choice->exec.used)
            json_object_set_new(item, "exec", campaign_exec_json(&choice->exec));
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *expects_json(const struct campaign_config *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->n_expects; i++)
        json_array_append_new(list, json_string(c->expects[i].text));
    return list;
}

static int on_profile_key(void *user, const char *section, const char *name, const char *value)
{
    (void)section;
    return json_object_set_new(user, name, json_string(value)) == 0;
}

/* The file's own keys and values, so that a new key needs nothing here. */
static json_t *profile_json(const char *dir, const char *name)
{
    char path[PATH_MAX];
    json_t *out = json_object();
    if ((size_t)snprintf(path, sizeof(path), "%s/%s.ini", dir, name) < sizeof(path))
        ini_parse(path, on_profile_key, out);
    return out;
}

static json_t *profiles_json(const struct campaign_config *c, const char *dir)
{
    json_t *out = json_object();
    for (size_t i = 0; i < c->profiles.n; i++) {
        const char *name = c->profiles.list[i].name;
        /* And the NATs that it is under; two that are under each other end it, too. */
        while (name && !json_object_get(out, name)) {
            json_t *profile = profile_json(dir, name);
            json_object_set_new(out, name, profile);
            name = json_string_value(json_object_get(profile, "under"));
        }
    }
    return out;
}

static json_t *budgets_json(const struct campaign_config *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->n_budgets; i++)
        json_array_append_new(list, json_string(c->budgets[i].text));
    return list;
}

static json_t *cells_json(const struct campaign_cell *cells, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:s}", "cell", cells[i].name, "trials",
                                              (json_int_t)cells[i].trials, "seed", (json_int_t)cells[i].seed, "link",
                                              cells[i].link->label));
    return list;
}

static json_t *links_json(const struct campaign_config *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->n_links; i++)
        json_array_append_new(list, campaign_link_json(&c->links[i]));
    return list;
}

static json_t *campaign_json(const struct campaign_config *c, const char *filter)
{
    json_t *out = json_pack("{s:s, s:I, s:I, s:I}", "name", c->name, "seed", (json_int_t)c->seed, "trials",
                            (json_int_t)c->trials, "timeout_ns", (json_int_t)c->timeout_ns);
    json_object_set_new(out, "warmup", json_integer((json_int_t)c->warmup));
    json_object_set_new(out, "block", json_integer((json_int_t)c->block));
    json_object_set_new(out, "until_width", c->until_width > 0 ? json_real(c->until_width) : json_null());
    json_object_set_new(out, "budgets", budgets_json(c));
    json_object_set_new(out, "nats_a", names_json(c->nats_a, c->n_a));
    json_object_set_new(out, "nats_b", names_json(c->nats_b, c->n_b));
    if (c->n_pairs)
        json_object_set_new(out, "pairs", pairs_json(c));
    json_object_set_new(out, "techniques", techniques_json(c));
    json_object_set_new(out, "links", links_json(c));
    json_object_set_new(out, "expect", expects_json(c));
    json_object_set_new(out, "filter", filter ? json_string(filter) : json_null());
    return out;
}

static json_t *started_json(void)
{
    char text[32] = "";
    time_t now = time(NULL);
    struct tm tm;
    if (gmtime_r(&now, &tm))
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

json_t *campaign_run_json(const struct campaign_config *config, const struct campaign_cell *cells, size_t n,
                          const char *filter, const char *profile_dir, const char *loop_features)
{
    struct utsname uts;
    if (uname(&uts) < 0)
        return NULL;
    json_t *out = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:i, s:s}", "schema", RECORD_SCHEMA, "type", "run",
                            "version", base_version(), "kernel", uts.release, "machine", uts.machine, "loop_features",
                            loop_features, "cpus", (int)sysconf(_SC_NPROCESSORS_ONLN), "clock", "CLOCK_MONOTONIC");
    if (!out)
        return NULL;
    json_object_set_new(out, "started", started_json());
    json_object_set_new(out, "parallel", config->parallel ? json_integer((json_int_t)config->parallel) : json_null());
    campaign_run_set_shard(out, (struct campaign_shard){0});
    json_object_set_new(out, "campaign", campaign_json(config, filter));
    json_object_set_new(out, "profiles", profiles_json(config, profile_dir));
    json_object_set_new(out, "cells", cells_json(cells, n));
    return out;
}

int campaign_run_add_load(const char *dir, json_t *load)
{
    char path[PATH_MAX];
    json_t *run =
        (size_t)snprintf(path, sizeof(path), "%s/run.json", dir) < sizeof(path) ? json_load_file(path, 0, NULL) : NULL;
    json_t *loads = json_object_get(run, "loads");
    if (run && !json_is_array(loads)) {
        loads = json_array();
        json_object_set_new(run, "loads", loads);
    }
    int res = run && json_array_append(loads, load) == 0 ? campaign_run_write(dir, run) : -EIO;
    json_decref(run);
    json_decref(load);
    return res;
}

/* ---- reading --------------------------------------------------------------------------------- */

void campaign_run_set_shard(json_t *run, struct campaign_shard shard)
{
    json_t *value = shard.count
                        ? json_pack("{s:I, s:I}", "index", (json_int_t)shard.index, "count", (json_int_t)shard.count)
                        : json_null();
    json_object_set_new(run, "shard", value);
}

struct campaign_shard campaign_run_shard(const json_t *run)
{
    const json_t *shard = json_object_get(run, "shard");
    json_int_t index = json_integer_value(json_object_get(shard, "index"));
    json_int_t count = json_integer_value(json_object_get(shard, "count"));
    if (index < 1 || count < index)
        return (struct campaign_shard){0};
    return (struct campaign_shard){(uint64_t)index, (uint64_t)count};
}

uint64_t campaign_run_started_ms(const json_t *run)
{
    const char *text = json_string_value(json_object_get(run, "started"));
    struct tm tm = {0};
    if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm))
        return 0;
    time_t seconds = timegm(&tm);
    return seconds < 0 ? 0 : (uint64_t)seconds * 1000;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void shorten(const json_t *value, char *buf, size_t cap)
{
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    snprintf(buf, cap, "%.*s%s", (int)cap - 4, text ? text : "nothing", text && strlen(text) > cap - 4 ? "..." : "");
    free(text);
}

/* The first member that differs; NULL = none. */
static const char *find_difference(const json_t *there, const json_t *here)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)here, key, value) if (!json_equal(json_object_get(there, key), value)) return key;
    json_object_foreach((json_t *)there, key, value) if (!json_object_get(here, key)) return key;
    return NULL;
}

static bool same_part(const json_t *there, const json_t *here, const char *part, char err[CAMPAIGN_ERROR_LEN])
{
    const json_t *old = json_object_get(there, part), *new = json_object_get(here, part);
    const char *key = find_difference(old, new);
    char was[120], is[120];
    if (!key)
        return true;
    shorten(json_object_get(old, key), was, sizeof(was));
    shorten(json_object_get(new, key), is, sizeof(is));
    snprintf(err, CAMPAIGN_ERROR_LEN, "%s %s is %s there and %s here", part, key, was, is);
    return false;
}

bool campaign_run_same(const json_t *there, const json_t *here, char err[CAMPAIGN_ERROR_LEN])
{
    const json_t *schema = json_object_get(there, "schema");
    if (!json_is_integer(schema) || json_integer_value(schema) != RECORD_SCHEMA)
        return campaign_fail(false, err, "it is not a run.json of this version's format (schema %d)", RECORD_SCHEMA);
    if (!same_part(there, here, "campaign", err) || !same_part(there, here, "profiles", err))
        return false;
    if (!json_equal(json_object_get(there, "cells"), json_object_get(here, "cells")))
        return campaign_fail(false, err, "its cells or their seeds are others");
    return true;
}

/* The same with as many trials a cell as HERE has, and its expectations; NULL where those are fewer. New reference. */
static json_t *with_plan_of(const json_t *there, const json_t *here)
{
    json_t *out = json_deep_copy(there);
    json_t *campaign = json_object_get(out, "campaign"), *cells = json_object_get(out, "cells"), *cell;
    const json_t *now = json_object_get(json_object_get(here, "campaign"), "trials");
    size_t i;
    bool more = json_is_object(campaign) && json_is_array(cells) &&
                json_integer_value(json_object_get(campaign, "trials")) <= json_integer_value(now);
    if (more) {
        json_object_set_new(campaign, "trials", json_deep_copy(now));
        json_object_set(campaign, "expect", json_object_get(json_object_get(here, "campaign"), "expect"));
    }
    json_array_foreach(cells, i, cell)
    {
        const json_t *trials = json_object_get(json_array_get(json_object_get(here, "cells"), i), "trials");
        if (json_integer_value(json_object_get(cell, "trials")) > json_integer_value(trials))
            more = false;
        json_object_set_new(cell, "trials", json_deep_copy(trials));
    }
    if (more)
        return out;
    json_decref(out);
    return NULL;
}

json_t *campaign_run_grow(const json_t *there, const json_t *here)
{
    char why[CAMPAIGN_ERROR_LEN];
    json_t *grown = with_plan_of(there, here);
    if (grown && campaign_run_same(grown, here, why))
        return grown;
    json_decref(grown);
    return NULL;
}
