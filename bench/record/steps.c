/* The ways that mode auto considered, as they stand in a record. */
#include <errno.h>
#include <string.h>

#include "bench/record/internal.h"

static const char *const result_names[RECORD_STEP_RESULTS] = {
    [RECORD_STEP_SKIPPED] = "skipped",
    [RECORD_STEP_FAILED] = "failed",
    [RECORD_STEP_BEATEN] = "beaten",
    [RECORD_STEP_OK] = "ok",
};

static json_t *step_json(const struct record_step *s)
{
    json_t *out = json_pack("{s:s, s:s}", "step", s->step, "result", result_names[s->result]);
    int res = out ? 0 : -1;
    if (res == 0 && s->reason[0])
        res = json_object_set_new(out, "reason", json_string(s->reason));
    if (res == 0 && s->result != RECORD_STEP_SKIPPED) {
        res = json_object_set_new(out, "start_ns", record_int(s->start_ns));
        res |= json_object_set_new(out, "took_ns", record_int(s->took_ns));
    }
    if (res == 0)
        return out;
    json_decref(out);
    return NULL;
}

json_t *record_steps_to_json(const struct record_step *steps, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        if (json_array_append_new(list, step_json(&steps[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static int read_result(const json_t *json, enum record_step_result *out)
{
    const char *name = json_string_value(json_object_get(json, "result"));
    for (unsigned i = 0; name && i < RECORD_STEP_RESULTS; i++)
        if (strcmp(result_names[i], name) == 0) {
            *out = (enum record_step_result)i;
            return 0;
        }
    return -EBADMSG;
}

static int read_step(const json_t *json, struct record_step *out)
{
    *out = (struct record_step){.result = RECORD_STEP_SKIPPED};
    int res = record_get_text(json, "step", out->step, sizeof(out->step));
    res |= record_get_text(json, "reason", out->reason, sizeof(out->reason));
    res |= record_get_u64(json, "start_ns", &out->start_ns);
    res |= record_get_u64(json, "took_ns", &out->took_ns);
    return res == 0 && out->step[0] && read_result(json, &out->result) == 0 ? 0 : -EBADMSG;
}

int record_steps_read(const json_t *side, struct record_step *out, size_t max)
{
    const json_t *list = json_object_get(side, "steps"), *each;
    size_t i, n = 0;
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list))
        return -EBADMSG;
    json_array_foreach(list, i, each)
    {
        if (n == max)
            break;
        if (read_step(each, &out[n++]) < 0)
            return -EBADMSG;
    }
    return (int)n;
}
