/* The joint record of a trial: what S makes of both sides' reports. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "bench/record/internal.h"

/* How one trial ended, all told. */
struct ending {
    enum record_outcome outcome;
    enum record_phase phase;
    int error;
    const struct record_side *from; /* whose phases describe the trial; NULL = nobody reported */
};

/* The most specific outcome explains a failure best: a wrong key or a broken socket on one side is why the other one
 * only saw a timeout. */
static const int specificity[RECORD_OUTCOMES] = {
    [RECORD_OK] = 0,      [RECORD_TIMEOUT] = 1, [RECORD_PREDICT_MISS] = 2, [RECORD_INFEASIBLE] = 3,
    [RECORD_REFUSED] = 4, [RECORD_ERROR] = 5,   [RECORD_AUTH_FAILED] = 6,
};

/* An "ok" that the other side did not confirm, or without a time, is not one. */
static bool backed(const struct record_side *side)
{
    return side->outcome == RECORD_OK && side->acked && side->connect_ns > 0;
}

static struct ending ending_of(const struct record_side *side, const struct record_side *other)
{
    if (!side)
        return (struct ending){RECORD_ERROR, other ? other->phase : RECORD_PHASE_JOIN, ENODATA, other};
    if (side->outcome == RECORD_OK && !backed(side))
        return (struct ending){RECORD_ERROR, RECORD_PHASE_VERIFY, EPROTO, side};
    return (struct ending){side->outcome, side->phase, side->error, side};
}

/* How well an error's number explains the trial. A side that S told that the other one gave up says ECANCELED: a
 * consequence, never the cause. */
static int weight_of(const struct ending *e)
{
    return e->error == ECANCELED ? 0 : e->error == 0 ? 1 : 2;
}

static struct ending join_endings(const struct record_side *a, const struct record_side *b)
{
    struct ending ea = ending_of(a, b), eb = ending_of(b, a);
    int sa = specificity[ea.outcome], sb = specificity[eb.outcome];
    if (sa != sb)
        return sa > sb ? ea : eb;
    if (ea.outcome == RECORD_OK)
        return a->connect_ns >= b->connect_ns ? ea : eb;
    /* Alike: a side that reported tells more than one that did not, a cause more than its consequence, then the one
     * that went on longer. */
    if (!a || !b)
        return a ? ea : eb;
    if (ea.outcome == RECORD_ERROR && weight_of(&ea) != weight_of(&eb))
        return weight_of(&ea) > weight_of(&eb) ? ea : eb;
    return a->total_ns >= b->total_ns ? ea : eb;
}

static uint64_t longest_total(const struct record_side *a, const struct record_side *b)
{
    uint64_t ta = a ? a->total_ns : 0, tb = b ? b->total_ns : 0;
    return ta > tb ? ta : tb;
}

/* a chooses the path, so a's word names it. */
static const char *path_of(const struct record_side *a, const struct record_side *b)
{
    if (a && a->path[0])
        return a->path;
    return b && b->path[0] ? b->path : NULL;
}

static json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

static json_t *side_or_null(const struct record_side *side)
{
    return side ? record_side_to_json(side) : json_null();
}

static int set_trial(json_t *out, const struct record_trial *trial)
{
    int res = json_object_set_new(out, "schema", json_integer(RECORD_SCHEMA));
    res |= json_object_set_new(out, "type", json_string("trial"));
    res |= json_object_set_new(out, "cell", json_string(trial->cell ? trial->cell : ""));
    res |= json_object_set_new(out, "trial", record_int(trial->trial));
    /* Not clamped: a seed has to come back as it was, also where a reader shows it as negative. */
    res |= json_object_set_new(out, "seed", json_integer((json_int_t)trial->seed));
    res |= json_object_set_new(out, "technique", text_or_null(trial->technique));
    res |= json_object_set_new(out, "mode", text_or_null(trial->mode));
    return res | json_object_set_new(out, "transport", text_or_null(trial->transport));
}

json_t *record_joint(const struct record_trial *trial, const struct record_side *a, const struct record_side *b)
{
    static const uint64_t no_phases[RECORD_PHASES];
    struct ending end = join_endings(a, b);
    bool ok = end.outcome == RECORD_OK;
    bool predicted = isfinite(trial->predicted_p);
    json_t *out = json_object();
    if (!out)
        return NULL;
    int res = set_trial(out, trial);
    res |= json_object_set_new(out, "outcome", json_string(record_outcome_name(end.outcome)));
    if (!ok)
        res |= record_set_end(out, end.outcome, end.phase, end.error);
    res |= json_object_set_new(out, "path", ok ? text_or_null(path_of(a, b)) : json_null());
    res |= json_object_set_new(out, "connect_ns", ok ? record_int(end.from->connect_ns) : json_null());
    res |= json_object_set_new(out, "total_ns", record_int(longest_total(a, b)));
    res |= json_object_set_new(out, "rtt_ns", record_int_or_null(trial->rtt_ns));
    res |= json_object_set_new(out, "predicted_p", predicted ? json_real(trial->predicted_p) : json_null());
    res |= json_object_set_new(out, "phases_ns", record_phases(end.from ? end.from->phase_ns : no_phases));
    res |= json_object_set_new(out, "a", side_or_null(a));
    res |= json_object_set_new(out, "b", side_or_null(b));
    if (res == 0)
        return out;
    json_decref(out);
    return NULL;
}

int record_write_line(FILE *out, const json_t *record)
{
    char *line = json_dumps(record, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (!line)
        return -ENOMEM;
    errno = 0;
    bool written = fputs(line, out) >= 0 && fputc('\n', out) != EOF && fflush(out) == 0;
    int res = written ? 0 : -(errno ? errno : EIO);
    free(line);
    return res;
}
