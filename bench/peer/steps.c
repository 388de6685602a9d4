/* The ways that mode auto considered, and what became of each: from the plan and the trial's times to the record. */
#include <string.h>

#include "bench/peer/internal.h"

const char *peer_step_name(enum peer_step step)
{
    static const char *const names[PEER_STEPS] = {
        [PEER_STEP_PRIVATE] = "private", [PEER_STEP_HAIRPIN] = "hairpin", [PEER_STEP_REVERSED] = "reversed",
        [PEER_STEP_DIRECT] = "direct",   [PEER_STEP_PUNCH] = "punch",     [PEER_STEP_PREDICTED] = "predicted",
        [PEER_STEP_RANDOM] = "random",   [PEER_STEP_BOTH] = "both",       [PEER_STEP_MEET] = "meet",
        [PEER_STEP_RELAY] = "relay",
    };
    return step < PEER_STEPS ? names[step] : "";
}

static const char *reason_name(unsigned reason)
{
    static const char *const names[PEER_STEP_REASONS] = {
        [PEER_STEP_TRIED] = "",
        [PEER_STEP_ONE_ADDRESS] = "one_address",
        [PEER_STEP_OTHER_ADDRESS] = "other_address",
        [PEER_STEP_NONE_REACHABLE] = "none_reachable",
        [PEER_STEP_BOTH_REACHABLE] = "both_reachable",
        [PEER_STEP_FILTERED] = "filtered",
        [PEER_STEP_MOVES] = "moves",
        [PEER_STEP_NOT_PREDICTABLE] = "not_predictable",
        [PEER_STEP_HOPELESS] = "hopeless",
        [PEER_STEP_NOT_ASKED] = "not_asked",
    };
    return reason < PEER_STEP_REASONS ? names[reason] : "";
}

enum peer_step peer_step_of(enum peer_strategy strategy)
{
    static const enum peer_step steps[PEER_STRATEGIES] = {
        [PEER_STRATEGY_NONE] = PEER_STEP_PUNCH,        [PEER_STRATEGY_DIRECT] = PEER_STEP_DIRECT,
        [PEER_STRATEGY_PUNCH] = PEER_STEP_PUNCH,       [PEER_STRATEGY_PREDICTED] = PEER_STEP_PREDICTED,
        [PEER_STRATEGY_RANDOM] = PEER_STEP_RANDOM,     [PEER_STRATEGY_BOTH] = PEER_STEP_BOTH,
        [PEER_STRATEGY_MEET] = PEER_STEP_MEET,         [PEER_STRATEGY_INFEASIBLE] = PEER_STEP_RANDOM,
        [PEER_STRATEGY_REVERSED] = PEER_STEP_REVERSED,
    };
    return strategy < PEER_STRATEGIES ? steps[strategy] : PEER_STEP_PUNCH;
}

/* ---- the list: pure -------------------------------------------------------------------------- */

struct listing {
    const struct peer_plan *plan;
    const struct peer_step_times *times;
    struct record_step *out;
    size_t n;
    uint64_t end_ns; /* of all but the relay */
    bool won;        /* one of them has succeeded */
};

static struct record_step *add(struct listing *l, enum peer_step step)
{
    static struct record_step spare;
    struct record_step *s = l->n < RECORD_MAX_STEPS ? &l->out[l->n++] : &spare;
    *s = (struct record_step){.result = RECORD_STEP_FAILED};
    snprintf(s->step, sizeof(s->step), "%s", peer_step_name(step));
    return s;
}

static void skip(struct listing *l, enum peer_step step, unsigned reason)
{
    struct record_step *s = add(l, step);
    s->result = RECORD_STEP_SKIPPED;
    snprintf(s->reason, sizeof(s->reason), "%s", reason_name(reason));
}

static void tried(struct listing *l, enum peer_step step, uint64_t from_ns, uint64_t to_ns, bool ok)
{
    struct record_step *s = add(l, step);
    s->start_ns = from_ns;
    s->took_ns = to_ns > from_ns ? to_ns - from_ns : 0;
    /* What was still under way when another one was through did not fail; a reversal that became a direct path did. */
    bool late = step == PEER_STEP_REVERSED && l->times->kind == PEER_PATH_DIRECT;
    bool beaten = l->times->ok && to_ns >= l->times->end_ns && !late;
    s->result = ok ? RECORD_STEP_OK : beaten ? RECORD_STEP_BEATEN : RECORD_STEP_FAILED;
    l->won |= ok;
}

static void list_attempts(struct listing *l, bool ok)
{
    const struct peer_step_times *t = l->times;
    for (unsigned n = 0; n <= t->n_attempts; n++) {
        bool last = n == t->n_attempts;
        uint64_t from = n ? t->attempt_ns[n - 1] : 0, to = last ? l->end_ns : t->attempt_ns[n];
        tried(l, peer_step_of(peer_strategy_of(l->plan, n)), from, to, last && ok);
    }
}

/* Whether the path that won is this step's. */
static bool is_path_of(const struct listing *l, enum peer_step step)
{
    enum peer_path_kind kind = l->times->kind;
    if (!l->times->ok || l->won)
        return false;
    switch (step) {
    case PEER_STEP_PRIVATE:
        return kind == PEER_PATH_PRIVATE;
    case PEER_STEP_HAIRPIN:
        return kind == PEER_PATH_HAIRPIN;
    case PEER_STEP_REVERSED:
        return kind == PEER_PATH_REVERSED;
    default:
        return kind != PEER_PATH_RELAY && kind != PEER_PATH_PRIVATE;
    }
}

static void list_one(struct listing *l, enum peer_step step)
{
    const struct peer_plan *plan = l->plan;
    uint64_t end = l->end_ns, from = 0, to = end;
    bool ok = is_path_of(l, step), after = step == PEER_STEP_PUNCH || step == PEER_STEP_DIRECT;
    if (step == PEER_STEP_REVERSED && plan->wait_ns < end && !ok)
        to = plan->wait_ns;
    if (after && plan->waits != WIRE_ROLE_NONE) {
        from = plan->wait_ns < end ? plan->wait_ns : end;
        if (l->won || (!ok && plan->wait_ns >= end))
            return; /* it never came to that */
    }
    if (step >= PEER_STEP_PREDICTED && step < PEER_STEP_RELAY)
        list_attempts(l, ok);
    else
        tried(l, step, from, to, ok);
}

size_t peer_steps_list(const struct peer_plan *plan, const struct peer_step_times *times,
                       struct record_step out[RECORD_MAX_STEPS])
{
    struct listing l = {.plan = plan, .times = times, .out = out, .end_ns = times->end_ns};
    bool relayed = times->ok && times->kind == PEER_PATH_RELAY;
    /* What punching had made before may still win. */
    if (times->relay && (relayed || !times->ok) && times->relay_ns < l.end_ns)
        l.end_ns = times->relay_ns;
    for (size_t i = 0; i < plan->n_steps; i++)
        if (plan->steps[i].reason != PEER_STEP_TRIED)
            skip(&l, (enum peer_step)plan->steps[i].step, plan->steps[i].reason);
        else
            list_one(&l, (enum peer_step)plan->steps[i].step);
    if (times->relay || relayed)
        tried(&l, PEER_STEP_RELAY, times->relay_ns, times->end_ns, relayed);
    else if (!times->ok)
        skip(&l, PEER_STEP_RELAY, PEER_STEP_NOT_ASKED);
    return l.n;
}

/* ---- in a trial ------------------------------------------------------------------------------ */

uint64_t peer_trial_wait_ns(const struct peer_trial *t)
{
    return t->plan.waits == peer_trial_role(t) ? t->plan.wait_ns : 0;
}

/* Both sides begin together but for so much. */
#define STARTS_DIFFER_NS (10 * BASE_NS_PER_MS)

bool peer_trial_still_waits(const struct peer_trial *t)
{
    return t->plan.waits != WIRE_ROLE_NONE && base_now_ns() + STARTS_DIFFER_NS < t->start_ns + t->plan.wait_ns;
}

void peer_trial_attempt(struct peer_trial *t, unsigned attempt)
{
    struct peer_step_times *s = &t->steps;
    if (attempt != s->n_attempts + 1 || s->n_attempts == BASE_ARRAY_LEN(s->attempt_ns))
        return;
    s->attempt_ns[s->n_attempts++] = peer_trial_now_ns(t) - t->start_ns;
}

void peer_steps_note(struct peer_trial *t, enum record_outcome outcome)
{
    struct record_step steps[RECORD_MAX_STEPS];
    if (!t->have_plan || t->plan.n_steps == 0 || peer_trial_role(t) != WIRE_ROLE_A)
        return;
    t->steps.ok = outcome == RECORD_OK;
    t->steps.kind = t->chosen ? t->chosen->kind : PEER_PATH_DIRECT;
    t->steps.end_ns = t->end_ns > t->start_ns && t->start_ns ? t->end_ns - t->start_ns : 0;
    size_t n = peer_steps_list(&t->plan, &t->steps, steps);
    json_t *list = record_steps_to_json(steps, n);
    if (list)
        peer_trial_field(t, "steps", list);
}
