/* Reading joint records back: what summaries need of one line. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "bench/record/internal.h"

static int check_kind(const json_t *json)
{
    const json_t *schema = json_object_get(json, "schema");
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!json_is_integer(schema) || json_integer_value(schema) < 1)
        return -EBADMSG;
    if (json_integer_value(schema) > RECORD_SCHEMA)
        return -EPROTONOSUPPORT;
    return type && strcmp(type, "trial") == 0 ? 0 : -EBADMSG;
}

static int get_seed(const json_t *json, uint64_t *out)
{
    const json_t *seed = json_object_get(json, "seed");
    if (seed && !json_is_integer(seed))
        return -EBADMSG;
    *out = (uint64_t)json_integer_value(seed);
    return 0;
}

static int get_probability(const json_t *json, double *out)
{
    const json_t *p = json_object_get(json, "predicted_p");
    *out = NAN;
    if (!p || json_is_null(p))
        return 0;
    if (!json_is_number(p))
        return -EBADMSG;
    *out = json_number_value(p);
    return 0;
}

static int get_outcome(const json_t *json, struct record_view *out)
{
    const char *name = json_string_value(json_object_get(json, "outcome"));
    if (!name || record_outcome_parse(name, &out->outcome) < 0)
        return -EBADMSG;
    /* A success has a time, a failure has none: else one of the two would distort the latencies. */
    return (out->outcome == RECORD_OK) == (out->connect_ns > 0) ? 0 : -EBADMSG;
}

/* Role a's side has it. */
static int get_quality(const json_t *json, struct record_view *out)
{
    const json_t *side = json_object_get(json, "a"),
                 *q = json_is_object(side) ? json_object_get(side, "quality") : NULL;
    const struct {
        const char *name;
        uint64_t *to;
    } members[] = {
        {"rtt_min_ns", &out->quality.rtt_min_ns}, {"rtt_p50_ns", &out->quality.rtt_p50_ns},
        {"rtt_max_ns", &out->quality.rtt_max_ns}, {"up_bps", &out->quality.up_bps},
        {"down_bps", &out->quality.down_bps},     {"up_sent", &out->quality.up_sent},
        {"up_lost", &out->quality.up_lost},       {"down_sent", &out->quality.down_sent},
        {"down_lost", &out->quality.down_lost},
    };
    int res = 0;
    if (!q || json_is_null(q))
        return 0;
    if (!json_is_object(q))
        return -EBADMSG;
    out->measured = true;
    for (size_t i = 0; i < BASE_ARRAY_LEN(members); i++)
        res |= record_get_u64(q, members[i].name, members[i].to);
    return res;
}

/* Role a writes down what was considered; records of other modes, and older ones, say nothing. */
static int get_step(const json_t *json, struct record_view *out)
{
    struct record_step steps[RECORD_MAX_STEPS];
    int n = record_steps_read(json_object_get(json, "a"), steps, RECORD_MAX_STEPS);
    for (int i = 0; i < n; i++)
        if (steps[i].result == RECORD_STEP_OK)
            memcpy(out->step, steps[i].step, sizeof(out->step));
    return n < 0 ? n : 0;
}

int record_view_read(const json_t *json, struct record_view *out)
{
    *out = (struct record_view){.predicted_p = NAN};
    int res = check_kind(json);
    if (res < 0)
        return res;
    if (!json_is_integer(json_object_get(json, "trial")))
        return -EBADMSG;
    res |= record_get_text(json, "cell", out->cell, sizeof(out->cell));
    res |= record_get_u64(json, "trial", &out->trial);
    res |= record_get_text(json, "technique", out->technique, sizeof(out->technique));
    res |= record_get_text(json, "mode", out->mode, sizeof(out->mode));
    res |= record_get_text(json, "transport", out->transport, sizeof(out->transport));
    res |= record_get_text(json, "path", out->path, sizeof(out->path));
    res |= record_get_u64(json, "connect_ns", &out->connect_ns);
    res |= record_get_u64(json, "total_ns", &out->total_ns);
    res |= get_seed(json, &out->seed);
    res |= get_probability(json, &out->predicted_p);
    res |= get_quality(json, out);
    res |= get_step(json, out);
    if (res != 0 || !out->cell[0])
        return -EBADMSG;
    return get_outcome(json, out);
}

int record_view_parse(const char *line, size_t len, struct record_view *out)
{
    json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json)
        return -EBADMSG;
    int res = record_view_read(json, out);
    json_decref(json);
    return res;
}
