/*
 * The life of one trial on one side: sample, exchange, plan, start, punch, report, close. S tells when a trial begins
 * and when its joint record stands; everything between is here.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/peer/internal.h"

/* New attempts beyond the rate that may go at once: one burst of a small search. */
#define THROTTLE_BURST 64
/* How sure it then is that a NAT lets only the last destination answer: nothing else is known to look like that. */
#define LAST_ONLY_P 0.95
/* Answered UDP paths are repeated every half RTT within these bounds, until one is agreed. */
#define TICK_MIN_NS (10 * BASE_NS_PER_MS)
#define TICK_MAX_NS (100 * BASE_NS_PER_MS)
/* After the agreement only heartbeats are due. */
#define TICK_SLOW_NS BASE_NS_PER_S

/* ---- services -------------------------------------------------------------------------------- */

void *peer_trial_state(struct peer_trial *t)
{
    return t->technique_state;
}

struct loop *peer_trial_loop(struct peer_trial *t)
{
    return t->peer->loop;
}

const struct peer_plan *peer_trial_plan(const struct peer_trial *t)
{
    return &t->plan;
}

const struct peer_options *peer_trial_options(const struct peer_trial *t)
{
    return &t->peer->config.options;
}

enum wire_role peer_trial_role(const struct peer_trial *t)
{
    return t->peer->role;
}

const struct peer_candidates *peer_trial_candidates(const struct peer_trial *t)
{
    return t->peer->role == WIRE_ROLE_A ? &t->plan.for_a : &t->plan.for_b;
}

uint64_t peer_trial_start_ns(const struct peer_trial *t)
{
    return t->start_ns;
}

uint64_t peer_trial_deadline_ns(const struct peer_trial *t)
{
    return t->start_ns + t->plan.deadline_ns;
}

struct base_rng *peer_trial_rng(struct peer_trial *t)
{
    return &t->rng;
}

bool peer_trial_over(const struct peer_trial *t)
{
    return t->agreed || t->state >= PEER_TRIAL_REPORTED;
}

uint16_t peer_trial_port(const struct peer_trial *t)
{
    return t->port;
}

uint64_t peer_trial_now_ns(const struct peer_trial *t)
{
    uint64_t now = base_now_ns();
    return now > t->start_ns ? now : t->start_ns;
}

static void count(struct peer_trial *t, const char *name, uint64_t n, bool is_error)
{
    for (size_t i = 0; i < t->n_counters; i++)
        if (strcmp(t->counters[i].name, name) == 0) {
            t->counters[i].n += n;
            return;
        }
    if (t->n_counters < PEER_MAX_COUNTERS)
        t->counters[t->n_counters++] = (struct peer_counter){name, n, is_error};
}

void peer_trial_count(struct peer_trial *t, const char *counter, uint64_t n)
{
    count(t, counter, n, false);
}

void peer_trial_error(struct peer_trial *t, const char *counter)
{
    count(t, counter, 1, true);
}

void peer_trial_why(struct peer_trial *t, const char *why)
{
    t->why = why;
}

void peer_trial_field(struct peer_trial *t, const char *name, json_t *value)
{
    if (!t->fields)
        t->fields = json_object();
    json_object_set_new(t->fields, name, value);
}

void peer_trial_fail(struct peer_trial *t, enum record_outcome outcome)
{
    if (t->state == PEER_TRIAL_PUNCHING && !t->agreed && !peer_resort_takes_over(t, outcome))
        peer_trial_finish(t, outcome, 0);
}

static uint64_t counted(const struct peer_trial *t, const char *counter)
{
    for (size_t i = 0; i < t->n_counters; i++)
        if (strcmp(t->counters[i].name, counter) == 0)
            return t->counters[i].n;
    return 0;
}

int peer_trial_hops(const struct peer_trial *t)
{
    return t->peer->hops.result;
}

uint64_t peer_trial_throttle(struct peer_trial *t)
{
    uint64_t now = base_now_ns();
    return base_bucket_take(&t->throttle, now) ? 0 : base_bucket_wait_ns(&t->throttle, 1, now);
}

void peer_trial_event(struct peer_trial *t, const struct peer_event *event)
{
    if (t->technique_open && t->state >= PEER_TRIAL_PUNCHING && t->state < PEER_TRIAL_CLOSING)
        t->acting->event(t, event);
}

/* ---- life and death -------------------------------------------------------------------------- */

void peer_trial_hold(struct peer_trial *t)
{
    t->holds++;
}

void peer_trial_release(struct peer_trial *t)
{
    if (--t->holds > 0 || t->state != PEER_TRIAL_CLOSING)
        return;
    if (t->reserve_fd >= 0)
        close(t->reserve_fd);
    if (t->reserve_other_fd >= 0)
        close(t->reserve_other_fd);
    peer_facts_free(&t->ours);
    peer_facts_free(&t->theirs);
    peer_plan_free(&t->plan);
    record_side_clear(&t->side);
    json_decref(t->fields);
    free(t->technique_state);
    free(t->resort.punch_state);
    peer_skew_free(&t->early);
    free(t);
}

void peer_trial_closed(struct peer_trial *t)
{
    if (t->unclosed == 0)
        abort(); /* the contract says once */
    t->unclosed--;
    peer_trial_release(t);
}

void peer_trial_end(struct peer_trial *t)
{
    if (t->state == PEER_TRIAL_CLOSING)
        return;
    peer_trial_hold(t); /* what closes at once must not free the trial under us */
    t->state = PEER_TRIAL_CLOSING;
    if (t->peer->trial == t)
        t->peer->trial = NULL;
    loop_cancel(t->peer->loop, &t->start_timer);
    loop_cancel(t->peer->loop, &t->deadline_timer);
    loop_cancel(t->peer->loop, &t->tick_timer);
    peer_hold_close(t);
    peer_quality_close(t);
    peer_resort_close(t);
    if (t->technique_open)
        t->acting->close(t);
    peer_streams_close(t, NULL);
    peer_datagrams_close(t);
    peer_sampler_close(t);
    peer_resample_close(t);
    peer_trial_release(t);
}

/* ---- the report ------------------------------------------------------------------------------ */

enum record_phase peer_trial_phase(const struct peer_trial *t)
{
    switch (t->state) {
    case PEER_TRIAL_SAMPLING:
        return RECORD_PHASE_SAMPLE;
    case PEER_TRIAL_EXCHANGING:
        return t->have_theirs ? RECORD_PHASE_PLAN : RECORD_PHASE_EXCHANGE;
    case PEER_TRIAL_PLANNED:
        return RECORD_PHASE_PLAN;
    default:
        if (t->opened_ns == 0)
            return RECORD_PHASE_OPEN;
        return t->paths || counted(t, "established") ? RECORD_PHASE_VERIFY : RECORD_PHASE_ESTABLISHED;
    }
}

static json_t *side_fields(const struct peer_trial *t)
{
    char text[BASE_EP_STRLEN];
    union base_ep mapped = peer_facts_mapped(&t->ours);
    json_t *errors = json_object();
    json_t *fields = json_object();
    json_object_set_new(fields, "role", json_string(t->peer->role == WIRE_ROLE_A ? "a" : "b"));
    json_object_set_new(fields, "mapped", json_string(base_ep_format(&mapped, text)));
    json_object_set_new(fields, "mapping", json_string(peer_facts_mapping(&t->ours)));
    json_object_set_new(fields, "local_port", json_integer(t->port));
    json_object_set_new(fields, "samples", json_integer((json_int_t)t->ours.n_samples));
    json_object_set_new(fields, "rtt_ns", json_integer((json_int_t)t->peer->rtt_ns));
    json_object_set_new(fields, "open_files", json_integer((json_int_t)base_open_files()));
    for (size_t i = 0; i < t->n_counters; i++)
        json_object_set_new(t->counters[i].is_error ? errors : fields, t->counters[i].name,
                            json_integer((json_int_t)t->counters[i].n));
    json_object_set_new(fields, "errors", errors);
    if (t->why && t->side.outcome != RECORD_OK)
        json_object_set_new(fields, "why", json_string(t->why));
    if (t->side.outcome == RECORD_OK) {
        json_object_set_new(fields, "remote", json_string(base_ep_format(&t->chosen->remote, text)));
        json_object_set_new(fields, "family",
                            json_string(t->chosen->remote.sa.sa_family == AF_INET6 ? "ipv6" : "ipv4"));
    }
    if (t->fields)
        json_object_update(fields, t->fields);
    return fields;
}

static uint64_t span(uint64_t from, uint64_t to)
{
    return from && to > from ? to - from : 0;
}

static void fill_phases(struct peer_trial *t, struct record_side *side)
{
    uint64_t established = t->chosen ? t->chosen->established_ns : 0;
    uint64_t verified = t->chosen ? t->chosen->verified_ns : 0;
    uint64_t exchanged = t->plan_sent_ns ? t->plan_sent_ns : t->planned_ns;
    side->phase_ns[RECORD_PHASE_JOIN] = t->number == t->peer->first_trial ? t->peer->join_ns : 0;
    side->phase_ns[RECORD_PHASE_SAMPLE] = span(t->begin_ns, t->sampled_ns);
    side->phase_ns[RECORD_PHASE_EXCHANGE] = span(t->sampled_ns, exchanged);
    side->phase_ns[RECORD_PHASE_PLAN] = span(t->plan_sent_ns, t->planned_ns);
    side->phase_ns[RECORD_PHASE_OPEN] = span(t->start_ns, t->opened_ns);
    side->phase_ns[RECORD_PHASE_ESTABLISHED] = span(t->start_ns, established);
    side->phase_ns[RECORD_PHASE_VERIFY] = span(established, verified);
    /* 0 would say "not verified": a path that the other side's earlier start verified at our start takes 1 ns. */
    side->connect_ns = verified ? (verified > t->start_ns ? verified - t->start_ns : 1) : 0;
    side->choose_ns = t->agreed ? span(t->start_ns, t->agreed_ns > t->start_ns ? t->agreed_ns : t->end_ns) : 0;
    side->total_ns = span(t->begin_ns, t->end_ns) + side->phase_ns[RECORD_PHASE_JOIN];
}

static void send_report(struct peer_trial *t, enum wire_frame_type type)
{
    struct record_side *side = &t->side;
    side->fields = side_fields(t);
    peer_sampler_hang_up(t);
    json_t *json = record_side_to_json(side);
    if (t->peer->role == WIRE_ROLE_A && t->have_plan && !isnan(t->plan.predicted_p))
        json_object_set_new(json, "predicted_p", json_real(t->plan.predicted_p));
    char *text = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(json);
    struct wire_writer *w = peer_control_begin(t->peer, type);
    wire_put_u64(w, WIRE_F_TRIAL, t->number);
    wire_put_text(w, WIRE_F_TEXT, text ? text : "{}");
    peer_control_end(t->peer);
    free(text);
}

void peer_trial_finish(struct peer_trial *t, enum record_outcome outcome, int err)
{
    if (t->state >= PEER_TRIAL_REPORTED)
        return;
    t->side.outcome = outcome;
    t->side.error = err < 0 ? -err : 0;
    t->side.phase = outcome == RECORD_OK ? RECORD_PHASE_VERIFY : peer_trial_phase(t);
    t->side.acked = t->chosen && t->chosen->verify.ack_in;
    if (outcome == RECORD_OK)
        snprintf(t->side.path, sizeof(t->side.path), "%s", peer_path_name(t->chosen->kind));
    /* Holding a path in silence is no part of the trial's time, nor is measuring it. */
    t->end_ns = t->hold.on || t->quality.on ? t->agreed_ns : base_now_ns();
    fill_phases(t, &t->side);
    peer_steps_note(t, outcome);
    t->state = PEER_TRIAL_REPORTED;
    send_report(t, WIRE_REPORT);
}

void peer_trial_abort(struct peer_trial *t, enum record_phase phase, int err)
{
    if (t->state >= PEER_TRIAL_REPORTED)
        return;
    t->side.outcome = RECORD_ERROR;
    t->side.error = -err;
    t->side.phase = phase;
    t->end_ns = base_now_ns();
    fill_phases(t, &t->side);
    t->state = PEER_TRIAL_REPORTED;
    send_report(t, WIRE_ABORT);
}

/* ---- sample and exchange --------------------------------------------------------------------- */

/* A technique that wants to stay below the other peer's NAT learns how far that is, once a
 * session. Who moves opens nothing, and would take ports from under its own prediction. */
static void measure_hops(struct peer_trial *t)
{
    const struct peer_options *options = &t->peer->config.options;
    union base_ep own = peer_facts_mapped(&t->ours), other = peer_facts_mapped(&t->theirs);
    if (peer_options_find(options, "ttl") && strcmp(peer_option_text(options, "ttl"), "auto") == 0 &&
        strcmp(peer_option_text(options, "mode"), "none") != 0 && strcmp(peer_facts_mapping(&t->ours), "varies") != 0)
        peer_hops_measure(&t->peer->hops, &own, &other, (t->ours.rtt_ns + t->theirs.rtt_ns) / 2);
}

/* Bodies are built here before a frame takes them: one at a time, one thread. */
static uint8_t body[WIRE_FRAME_MAX];

void peer_trial_sampled(struct peer_trial *t, int err)
{
    if (err == 0)
        err = base_random_bytes(t->ours.nonce, sizeof(t->ours.nonce));
    if (err < 0) {
        peer_trial_abort(t, RECORD_PHASE_SAMPLE, err);
        return;
    }
    t->sampled_ns = base_now_ns();
    t->ours.taken_ns = t->sampled_ns - t->begin_ns;
    t->ours.open_files = t->peer->open_files;
    t->ours.port_lo = t->peer->config.port_lo;
    t->ours.port_hi = t->peer->config.port_hi;
    t->ours.behaviour = t->peer->behaviour;
    if (t->last_only && t->ours.behaviour.filtering.value == PREDICT_FILTERING_UNKNOWN)
        t->ours.behaviour.filtering = (struct predict_belief){PREDICT_FILTERING_LAST, LAST_ONLY_P};
    peer_predict_learn(&t->ours, &t->peer->behaviour);
    peer_private_list(t);
    int len = peer_facts_encode(&t->ours, body, sizeof(body) / 2);
    if (len < 0) {
        peer_trial_abort(t, RECORD_PHASE_SAMPLE, len);
        return;
    }
    t->state = PEER_TRIAL_EXCHANGING;
    struct wire_writer *w = peer_control_begin(t->peer, WIRE_FACTS);
    wire_put_bytes(w, WIRE_F_BODY, body, (size_t)len);
    peer_control_end(t->peer);
    if (t->have_theirs) {
        measure_hops(t);
        peer_trial_make_plan(t);
    }
}

/* ---- plan ------------------------------------------------------------------------------------ */

static int make_plan(struct peer_trial *t)
{
    const struct peer_options *options = &t->peer->config.options;
    struct peer_plan *plan = &t->plan;
    const char *mode = peer_option_text(options, "mode");
    plan->predicted_p = NAN;
    int err = peer_after_deadline(options, plan);
    if (err < 0)
        return err;
    plan->rtt_ns = (t->ours.rtt_ns + t->theirs.rtt_ns) / 2;
    snprintf(plan->mode, sizeof(plan->mode), "%s", mode);
    memcpy(plan->nonce_a, t->ours.nonce, WIRE_NONCE_LEN);
    memcpy(plan->nonce_b, t->theirs.nonce, WIRE_NONCE_LEN);
    if (strcmp(mode, "none") == 0)
        return 0;
    plan->resort = peer_resort_given(options, t->technique);
    return t->technique->plan(&t->ours, &t->theirs, options, &t->rng, plan);
}

void peer_trial_facts(struct peer_trial *t, const struct wire_reader *r)
{
    const uint8_t *bytes;
    size_t len;
    int err = wire_get_bytes(r, WIRE_F_BODY, &bytes, &len);
    if (t->have_theirs || t->state > PEER_TRIAL_EXCHANGING)
        return;
    if (err == 0)
        err = peer_facts_decode(bytes, len, &t->theirs);
    if (err < 0) {
        peer_trial_abort(t, RECORD_PHASE_EXCHANGE, err);
        return;
    }
    t->have_theirs = true;
    t->theirs_ns = base_now_ns();
    wire_get_u64(r, WIRE_F_RTT_NS, &t->ours.rtt_ns);
    wire_get_u64(r, WIRE_F_PEER_RTT_NS, &t->theirs.rtt_ns);
    if (t->state == PEER_TRIAL_EXCHANGING)
        measure_hops(t);
    if (t->state == PEER_TRIAL_EXCHANGING)
        peer_trial_make_plan(t);
}

void peer_trial_make_plan(struct peer_trial *t)
{
    if (t->peer->role != WIRE_ROLE_A || t->state != PEER_TRIAL_EXCHANGING || !t->have_theirs || t->plan_sent_ns)
        return;
    uint64_t now = base_now_ns();
    if (peer_hops_busy(&t->peer->hops))
        return;
    t->plan_sent_ns = now;
    /* The earlier one's facts have waited for the later one's, and both for the hops. */
    peer_predict_age(&t->ours, now - t->sampled_ns, &t->theirs, now - t->theirs_ns);
    int len = make_plan(t);
    if (len == 0)
        len = peer_plan_encode(&t->plan, body, sizeof(body));
    const struct peer_options *options = &t->peer->config.options;
    /* The later side's deadline is the later one. */
    uint64_t deadline =
        peer_option_u64(options, "timeout") + peer_skew_ns(options, WIRE_ROLE_A) + peer_skew_ns(options, WIRE_ROLE_B);
    if (len < 0 && t->plan.why[0])
        base_error("trial %llu cannot be planned: %s", (unsigned long long)t->number, t->plan.why);
    peer_plan_free(&t->plan); /* both sides work from what S sends */
    if (len < 0) {
        peer_trial_abort(t, RECORD_PHASE_PLAN, len);
        return;
    }
    struct wire_writer *w = peer_control_begin(t->peer, WIRE_PLAN);
    wire_put_bytes(w, WIRE_F_BODY, body, (size_t)len);
    wire_put_u64(w, WIRE_F_STAMP, deadline);
    peer_control_end(t->peer);
}

/* ---- start and punch ------------------------------------------------------------------------- */

static void start_op(struct peer_trial *t, struct loop_op *op, uint64_t when_ns)
{
    peer_trial_hold(t);
    loop_timer(t->peer->loop, op, when_ns);
}

static uint64_t tick_ns(const struct peer_trial *t)
{
    uint64_t half = t->plan.rtt_ns / 2;
    if (t->agreed)
        return TICK_SLOW_NS;
    return half < TICK_MIN_NS ? TICK_MIN_NS : half > TICK_MAX_NS ? TICK_MAX_NS : half;
}

static void tick_done(struct loop_op *op, int res)
{
    struct peer_trial *t = op->owner;
    if (res == 0 && t->state < PEER_TRIAL_CLOSING && t->datagrams) {
        peer_datagrams_tick(t);
        start_op(t, op, base_now_ns() + tick_ns(t));
    }
    peer_trial_release(t);
}

static void deadline_done(struct loop_op *op, int res)
{
    struct peer_trial *t = op->owner;
    if (res == 0 && t->state == PEER_TRIAL_PUNCHING && !t->agreed) {
        enum record_outcome outcome = RECORD_TIMEOUT;
        if (counted(t, "auth_failures"))
            outcome = RECORD_AUTH_FAILED;
        else if (counted(t, "refused") && !counted(t, "established"))
            outcome = RECORD_REFUSED;
        if (t->resort.failed)
            outcome = t->resort.outcome;
        if (t->technique_open && t->acting->explain)
            outcome = t->acting->explain(t, outcome);
        peer_trial_finish(t, outcome, 0);
    }
    peer_trial_release(t);
}

int peer_trial_open(struct peer_trial *t)
{
    if (strcmp(t->plan.mode, "none") == 0)
        return 0;
    t->technique_state = calloc(1, t->acting->state_size ? t->acting->state_size : 1);
    if (!t->technique_state)
        return -ENOMEM;
    t->technique_open = true;
    t->unclosed++;
    peer_trial_hold(t); /* until peer_trial_closed() */
    return t->acting->open(t);
}

static void deliver_early(struct peer_trial *t)
{
    struct peer_event note;
    for (size_t at = 0; peer_skew_next(&t->early, &at, &note);)
        peer_resort_noted(t, &note);
}

static void start_done(struct loop_op *op, int res)
{
    struct peer_trial *t = op->owner;
    if (res == 0 && t->state == PEER_TRIAL_PLANNED) {
        int err = t->technique_open ? 0 : peer_trial_open(t);
        t->state = PEER_TRIAL_PUNCHING;
        start_op(t, &t->deadline_timer, peer_trial_deadline_ns(t));
        if (t->datagrams)
            start_op(t, &t->tick_timer, t->start_ns + tick_ns(t));
        if (err < 0)
            peer_trial_finish(t, RECORD_ERROR, err);
        else if (t->technique_open)
            t->acting->go(t);
        peer_resort_wait(t);
        deliver_early(t);
        t->opened_ns = peer_trial_now_ns(t);
        peer_trial_tell_rejoined(t);
        /* What came just before the start instant was verified by the chassis, but the technique was not told. */
        if (t->agreed)
            peer_trial_agreed(t, t->chosen);
    }
    peer_trial_release(t);
}

/* The plan must be for this trial: with our fresh nonce in our place. */
static int read_plan(struct peer_trial *t, const struct wire_reader *r)
{
    const uint8_t *bytes;
    size_t len;
    int err = wire_get_bytes(r, WIRE_F_BODY, &bytes, &len);
    if (err == 0)
        err = peer_plan_decode(bytes, len, &t->plan);
    if (err < 0)
        return err;
    t->plan.resort = t->plan.resort && t->technique->last_resort;
    const uint8_t *nonce = t->peer->role == WIRE_ROLE_A ? t->plan.nonce_a : t->plan.nonce_b;
    return memcmp(nonce, t->ours.nonce, WIRE_NONCE_LEN) == 0 ? 0 : -EBADMSG;
}

void peer_trial_planned(struct peer_trial *t, const struct wire_reader *r)
{
    uint64_t now = base_now_ns(), delay = 0, late_ns = peer_skew_ns(&t->peer->config.options, t->peer->role);
    if (t->have_plan || t->state != PEER_TRIAL_EXCHANGING)
        return;
    int err = read_plan(t, r);
    wire_get_u64(r, WIRE_F_DELAY_NS, &delay);
    t->planned_ns = now;
    t->start_ns = now + (delay < BASE_NS_PER_S * 10 ? delay : 0) + late_ns;
    if (late_ns)
        peer_trial_field(t, "skew_ns", json_integer((json_int_t)late_ns));
    memcpy(t->keys.key, t->peer->key, sizeof(t->keys.key));
    memcpy(t->keys.nonce_a, t->plan.nonce_a, WIRE_NONCE_LEN);
    memcpy(t->keys.nonce_b, t->plan.nonce_b, WIRE_NONCE_LEN);
    t->keys.trial = (uint32_t)t->number;
    t->have_plan = err == 0;
    t->state = PEER_TRIAL_PLANNED;
    if (err == 0 && t->plan.strategy)
        peer_trial_field(t, "strategy", json_string(peer_strategy_name(t->plan.strategy)));
    if (err == 0 && t->plan.infeasible && !t->plan.resort) {
        peer_trial_finish(t, RECORD_INFEASIBLE, 0);
        return;
    }
    if (err == 0 && t->plan.infeasible)
        peer_resort_instead(t);
    /* Who is late has nothing ready either. */
    if (err == 0 && !late_ns)
        err = peer_trial_open(t);
    if (err < 0)
        peer_trial_finish(t, RECORD_ERROR, err);
    else
        start_op(t, &t->start_timer, t->start_ns);
}

void peer_trial_noted(struct peer_trial *t, const struct wire_reader *r)
{
    struct peer_event event = {.kind = PEER_EVENT_NOTE};
    if (wire_get_bytes(r, WIRE_F_BODY, &event.note, &event.note_len) < 0)
        return;
    if (t->state == PEER_TRIAL_PLANNED)
        peer_skew_keep(&t->early, event.note, event.note_len);
    else
        peer_resort_noted(t, &event);
}

void peer_trial_agreed(struct peer_trial *t, struct peer_path *path)
{
    t->agreed = true;
    t->chosen = path;
    if (t->state != PEER_TRIAL_PUNCHING)
        return;
    t->agreed_ns = base_now_ns();
    peer_streams_close(t, path);
    peer_after_agreed(t);
}

int peer_trial_begin(struct peer *peer, uint64_t number)
{
    struct peer_trial *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    const char *label = peer->role == WIRE_ROLE_A ? "a" : "b";
    t->peer = peer;
    t->technique = t->acting = peer->config.technique;
    t->number = number;
    t->reserve_fd = t->reserve_other_fd = -1;
    t->begin_ns = base_now_ns();
    base_rng_derive(&t->rng, peer->seed, label, number);
    base_rng_derive(&t->port_rng, peer->seed, peer->role == WIRE_ROLE_A ? "port-a" : "port-b", number);
    base_bucket_init(&t->throttle, (double)peer_option_u64(&peer->config.options, "rate"), THROTTLE_BURST, t->begin_ns);
    loop_op_init(&t->start_timer, start_done, t);
    loop_op_init(&t->deadline_timer, deadline_done, t);
    loop_op_init(&t->tick_timer, tick_done, t);
    peer_resort_init(t);
    peer->trial = t;
    int err = peer_trial_repick(t);
    if (err == 0)
        err = peer_sampler_start(t);
    if (err < 0)
        peer_trial_abort(t, RECORD_PHASE_SAMPLE, err);
    return 0;
}
