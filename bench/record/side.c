/* One side of a trial: names, and the JSON object that travels in a report. */
#include <errno.h>
#include <string.h>

#include "bench/record/internal.h"

/* Linux errno numbers end at 4095 (the kernel's MAX_ERRNO). */
#define ERRNO_MAX 4095

static const char *const outcome_names[RECORD_OUTCOMES] = {
    [RECORD_OK] = "ok",
    [RECORD_TIMEOUT] = "timeout",
    [RECORD_REFUSED] = "refused",
    [RECORD_PREDICT_MISS] = "predict_miss",
    [RECORD_INFEASIBLE] = "infeasible",
    [RECORD_AUTH_FAILED] = "auth_failed",
    [RECORD_ERROR] = "error",
};

static const char *const phase_names[RECORD_PHASES] = {
    [RECORD_PHASE_JOIN] = "join",     [RECORD_PHASE_SAMPLE] = "sample", [RECORD_PHASE_EXCHANGE] = "exchange",
    [RECORD_PHASE_PLAN] = "plan",     [RECORD_PHASE_OPEN] = "open",     [RECORD_PHASE_ESTABLISHED] = "established",
    [RECORD_PHASE_VERIFY] = "verify",
};

static const char *const path_names[RECORD_PATHS] = {
    [RECORD_PATH_DIRECT] = "direct",     [RECORD_PATH_PRIVATE] = "private", [RECORD_PATH_HAIRPIN] = "hairpin",
    [RECORD_PATH_REVERSED] = "reversed", [RECORD_PATH_RELAY] = "relay",
};

/* What record_side_to_json writes itself; every other member is one of `fields`. */
static const char *const own_members[] = {"outcome",    "phase",    "errno",     "errno_name", "path",
                                          "connect_ns", "total_ns", "choose_ns", "acked",      "phases_ns"};

const char *record_outcome_name(enum record_outcome outcome)
{
    return (unsigned)outcome < RECORD_OUTCOMES ? outcome_names[outcome] : "?";
}

int record_outcome_parse(const char *name, enum record_outcome *out)
{
    for (unsigned i = 0; i < RECORD_OUTCOMES; i++)
        if (strcmp(outcome_names[i], name) == 0) {
            *out = (enum record_outcome)i;
            return 0;
        }
    return -EINVAL;
}

const char *record_phase_name(enum record_phase phase)
{
    return (unsigned)phase < RECORD_PHASES ? phase_names[phase] : "?";
}

const char *record_path_name(enum record_path path)
{
    return (unsigned)path < RECORD_PATHS ? path_names[path] : "?";
}

int record_path_parse(const char *name, enum record_path *out)
{
    for (unsigned i = 0; i < RECORD_PATHS; i++)
        if (strcmp(path_names[i], name) == 0) {
            *out = (enum record_path)i;
            return 0;
        }
    return -EINVAL;
}

void record_side_clear(struct record_side *side)
{
    json_decref(side->fields);
    *side = (struct record_side){0};
}

/* ---- writing --------------------------------------------------------------------------------- */

json_t *record_int(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

json_t *record_int_or_null(uint64_t value)
{
    return value ? record_int(value) : json_null();
}

json_t *record_phases(const uint64_t phase_ns[RECORD_PHASES])
{
    json_t *phases = json_object();
    for (unsigned i = 0; phases && i < RECORD_PHASES; i++)
        if (json_object_set_new(phases, phase_names[i], record_int(phase_ns[i])) < 0) {
            json_decref(phases);
            return NULL;
        }
    return phases;
}

int record_set_end(json_t *object, enum record_outcome outcome, enum record_phase phase, int error)
{
    int res = json_object_set_new(object, "phase", json_string(record_phase_name(phase)));
    if (outcome != RECORD_ERROR || error <= 0)
        return res;
    const char *name = strerrorname_np(error);
    res |= json_object_set_new(object, "errno", json_integer(error));
    return res | json_object_set_new(object, "errno_name", name ? json_string(name) : json_null());
}

json_t *record_side_to_json(const struct record_side *side)
{
    json_t *out = json_object();
    if (!out)
        return NULL;
    /* The fields first: a counter cannot replace what the record itself says. */
    int res = side->fields ? json_object_update(out, side->fields) : 0;
    for (size_t i = 0; i < BASE_ARRAY_LEN(own_members); i++)
        json_object_del(out, own_members[i]);
    res |= json_object_set_new(out, "outcome", json_string(record_outcome_name(side->outcome)));
    if (side->outcome != RECORD_OK)
        res |= record_set_end(out, side->outcome, side->phase, side->error);
    res |= json_object_set_new(out, "path", side->path[0] ? json_string(side->path) : json_null());
    res |= json_object_set_new(out, "connect_ns", record_int_or_null(side->connect_ns));
    res |= json_object_set_new(out, "total_ns", record_int(side->total_ns));
    res |= json_object_set_new(out, "choose_ns", record_int_or_null(side->choose_ns));
    res |= json_object_set_new(out, "acked", json_boolean(side->acked));
    res |= json_object_set_new(out, "phases_ns", record_phases(side->phase_ns));
    if (res == 0)
        return out;
    json_decref(out);
    return NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

int record_get_u64(const json_t *object, const char *key, uint64_t *out)
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return -EBADMSG;
    *out = (uint64_t)json_integer_value(value);
    return 0;
}

int record_get_text(const json_t *object, const char *key, char *out, size_t cap)
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value) || json_string_length(value) >= cap)
        return -EBADMSG;
    memcpy(out, json_string_value(value), json_string_length(value) + 1);
    return 0;
}

static int get_outcome(const json_t *json, enum record_outcome *out)
{
    const char *name = json_string_value(json_object_get(json, "outcome"));
    return name && record_outcome_parse(name, out) == 0 ? 0 : -EBADMSG;
}

static int get_phase(const json_t *json, enum record_phase *out)
{
    char name[16] = "";
    if (record_get_text(json, "phase", name, sizeof(name)) < 0)
        return -EBADMSG;
    if (!name[0])
        return 0;
    for (unsigned i = 0; i < RECORD_PHASES; i++)
        if (strcmp(phase_names[i], name) == 0) {
            *out = (enum record_phase)i;
            return 0;
        }
    return -EBADMSG;
}

static int get_phases(const json_t *json, uint64_t out[RECORD_PHASES])
{
    const json_t *phases = json_object_get(json, "phases_ns");
    if (!phases || json_is_null(phases))
        return 0;
    if (!json_is_object(phases))
        return -EBADMSG;
    int res = 0;
    for (unsigned i = 0; i < RECORD_PHASES; i++)
        res |= record_get_u64(phases, phase_names[i], &out[i]);
    return res;
}

static int get_fields(const json_t *json, json_t **out)
{
    json_t *fields = json_copy((json_t *)json);
    if (!fields)
        return -EBADMSG;
    for (size_t i = 0; i < BASE_ARRAY_LEN(own_members); i++)
        json_object_del(fields, own_members[i]);
    if (json_object_size(fields) > 0)
        *out = fields;
    else
        json_decref(fields);
    return 0;
}

int record_side_from_json(const json_t *json, struct record_side *out)
{
    struct record_side side = {0};
    uint64_t error = 0;
    *out = side;
    if (!json_is_object(json) || get_outcome(json, &side.outcome) < 0 || get_phase(json, &side.phase) < 0 ||
        get_phases(json, side.phase_ns) < 0)
        return -EBADMSG;
    int res = record_get_u64(json, "errno", &error);
    res |= record_get_text(json, "path", side.path, sizeof(side.path));
    res |= record_get_u64(json, "connect_ns", &side.connect_ns);
    res |= record_get_u64(json, "total_ns", &side.total_ns);
    res |= record_get_u64(json, "choose_ns", &side.choose_ns);
    const json_t *acked = json_object_get(json, "acked");
    if (res != 0 || error > ERRNO_MAX || (acked && !json_is_boolean(acked)))
        return -EBADMSG;
    side.error = (int)error;
    side.acked = json_is_true(acked);
    if (get_fields(json, &side.fields) < 0)
        return -EBADMSG;
    *out = side;
    return 0;
}
