/*
 * --quality: how good is the path that was agreed? Role a leads, and its record has it all; no clock is compared.
 *
 *   pings     one after the other, PEER_QUALITY_PINGS of them or PINGS_NS: round trips of the path without a load
 *   up        a sends for the option's time, b counts; then down, b to a, alike. Over TCP into the stream as long as it
 *             takes; over UDP datagrams of 1200 bytes under a window (struct peer_flight), none sent twice. Neither
 *             goes beyond --quality-rate.
 *   the end   who has sent says how many that were, and the other one how many came, of how many bytes, in which time:
 *             from its first to its last arrival, without what came with the first. So throughput is what arrived, and
 *             neither an empty queue at the beginning nor a full one at the end makes it larger than the path's.
 *
 * All are path messages, proven like every other, on the path's own way: over TCP in its stream, over UDP from its
 * socket, through a relay where it goes through one. Over UDP what is to be answered is said again until it is. A path
 * that is lost meanwhile is no failed trial: it was agreed. What could not be measured is missing, and `why` says why.
 */
#include "bench/peer/quality.h"

#include <string.h>

#include "bench/peer/internal.h"

/* Who is not answered by then has no better time for it. The sum of these is under PEER_QUALITY_EXTRA_NS. */
#define PINGS_NS (1500 * BASE_NS_PER_MS)
#define DRAIN_NS BASE_NS_PER_S
#define LAST_NS  (500 * BASE_NS_PER_MS)
/* What is on its way for so long is lost, or the path's queue is long. */
#define WORD_MIN_NS (200 * BASE_NS_PER_MS)
#define WORD_RTTS   3
/* Timeouts and the rate's cap are looked at this often; answers are taken when they come. */
#define TICK_NS (5 * BASE_NS_PER_MS)
/* At one go: others must get their turn. */
#define BURST 256
/* What the cap lets through at once: two ticks' worth. */
#define CAP_TICKS 2
#define CAP_LEAST 2

static uint8_t bulk[PEER_QUALITY_BULK_LEN];

uint64_t peer_quality_ns(const struct peer_options *o)
{
    return peer_option_u64(o, "quality");
}

static const struct peer_options *options_of(const struct peer_trial *t)
{
    return &t->peer->config.options;
}

static bool leads(const struct peer_trial *t)
{
    return t->peer->role == WIRE_ROLE_A;
}

static uint64_t word_ns(const struct peer_trial *t)
{
    uint64_t word = WORD_RTTS * t->plan.rtt_ns;
    return word > WORD_MIN_NS ? word : WORD_MIN_NS;
}

/* ---- the record ------------------------------------------------------------------------------ */

static void set_int(json_t *o, const char *name, uint64_t value)
{
    json_object_set_new(o, name, json_integer((json_int_t)value));
}

static void set_flow(json_t *o, const char *const names[3], bool tcp, uint64_t bps, uint64_t sent, uint64_t received)
{
    json_object_set_new(o, names[0], bps ? json_integer((json_int_t)bps) : json_null());
    if (tcp || !sent)
        return;
    set_int(o, names[1], sent);
    set_int(o, names[2], sent > received ? sent - received : 0);
}

static void set_record(struct peer_trial *t)
{
    static const char *const up[] = {"up_bps", "up_sent", "up_lost"};
    static const char *const down[] = {"down_bps", "down_sent", "down_lost"};
    struct peer_quality *q = &t->quality;
    struct peer_rtt_summary rtt = peer_rtts_summary(&q->rtts);
    bool tcp = peer_trial_is_tcp(t);
    json_t *o = json_object();
    set_int(o, "time_ns", peer_quality_ns(options_of(t)));
    set_int(o, "pings", q->pings);
    set_int(o, "pings_lost", q->pings - q->rtts.n);
    json_object_set_new(o, "rtt_min_ns", q->rtts.n ? json_integer((json_int_t)rtt.min) : json_null());
    json_object_set_new(o, "rtt_p50_ns", q->rtts.n ? json_integer((json_int_t)rtt.p50) : json_null());
    json_object_set_new(o, "rtt_max_ns", q->rtts.n ? json_integer((json_int_t)rtt.max) : json_null());
    set_flow(o, up, tcp, q->have_result ? peer_quality_bps(q->result.amount, q->result.ns) : 0,
             q->have_result ? q->out.sent : 0, q->result.number);
    set_flow(o, down, tcp, peer_quality_bps(q->in.bytes, q->in.last_ns - q->in.first_ns),
             q->have_stop ? q->stop.number : 0, q->in.received);
    if (q->why)
        json_object_set_new(o, "why", json_string(q->why));
    peer_trial_field(t, "quality", o);
}

static void settle(struct peer_trial *t)
{
    struct peer_quality *q = &t->quality;
    if (q->settled)
        return;
    q->settled = true;
    loop_cancel(t->peer->loop, &q->timer);
    if (leads(t))
        set_record(t);
    peer_trial_finish(t, RECORD_OK, 0);
}

/* ---- saying ---------------------------------------------------------------------------------- */

static int say(struct peer_trial *t, enum peer_quality_kind kind, uint64_t number, uint64_t amount, uint64_t ns)
{
    uint8_t buf[PEER_QUALITY_MSG_LEN];
    struct peer_quality_msg msg = {.kind = kind, .number = number, .amount = amount, .ns = ns};
    peer_quality_encode(&msg, buf);
    return t->chosen->measure(t->chosen, buf, sizeof(buf));
}

/* What is to be answered: once over TCP, over UDP again while it is not. */
static void ask(struct peer_trial *t, enum peer_quality_kind kind, uint64_t number, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    if (q->said_ns && (peer_trial_is_tcp(t) || now < q->said_ns + word_ns(t)))
        return;
    if (say(t, kind, number, 0, 0) < 0)
        return;
    q->said_ns = now;
}

static void enter(struct peer_quality *q, enum peer_quality_step step, uint64_t now)
{
    q->step = step;
    q->step_ns = now;
    q->said_ns = 0;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void flow_begin(struct peer_trial *t, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    struct peer_rtt_summary rtt = peer_rtts_summary(&q->rtts);
    double rate = (double)peer_option_u64(options_of(t), "quality-rate") * 1e6 / 8 / (WIRE_PATH_LEN + sizeof(bulk));
    double burst = rate * CAP_TICKS * TICK_NS / 1e9;
    for (size_t i = 0; i < sizeof(bulk); i++)
        bulk[i] = (uint8_t)base_rng_u64(&t->rng); /* no path may press it */
    q->flow = PEER_QUALITY_SENDS;
    q->flow_ns = now + peer_quality_ns(options_of(t));
    base_bucket_init(&q->cap, rate, burst > CAP_LEAST ? burst : CAP_LEAST, now);
    q->cap.tokens = 0; /* a full one would come on top of the rate */
    peer_flight_init(&q->out, rtt.min ? rtt.min : t->plan.rtt_ns, now);
}

static bool send_bulk(struct peer_trial *t, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    struct peer_quality_msg msg = {.kind = PEER_QUALITY_BULK, .number = q->out.sent};
    msg.ask = !peer_trial_is_tcp(t) && peer_flight_asks(&q->out);
    peer_quality_encode(&msg, bulk);
    if (t->chosen->measure(t->chosen, bulk, sizeof(bulk)) < 0)
        return false;
    peer_flight_sent(&q->out, now);
    return true;
}

static void pump(struct peer_trial *t, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    bool tcp = peer_trial_is_tcp(t);
    if (q->flow != PEER_QUALITY_SENDS || now >= q->flow_ns)
        return;
    if (!tcp)
        peer_flight_expired(&q->out, now);
    for (int i = 0; i < BURST && t->chosen && !q->settled; i++)
        if ((!tcp && !peer_flight_room(&q->out)) || !base_bucket_take(&q->cap, now) || !send_bulk(t, now))
            return;
}

/* The flow that is ours; once its time is over the other side is asked what came. */
static void flow_tick(struct peer_trial *t, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    if (q->flow == PEER_QUALITY_SENDS && now >= q->flow_ns) {
        q->flow = PEER_QUALITY_STOPS;
        q->flow_ns = now;
        q->said_ns = 0;
    }
    if (q->flow == PEER_QUALITY_SENDS)
        pump(t, now);
    else if (q->flow == PEER_QUALITY_STOPS && !q->have_result)
        ask(t, PEER_QUALITY_STOP, q->out.sent, now);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void ping(struct peer_trial *t, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    if (say(t, PEER_QUALITY_PING, q->pings, 0, 0) < 0)
        return;
    q->pings++;
    q->ping_ns = now;
}

static void pings_tick(struct peer_trial *t, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    bool open = q->ping_ns && now < q->ping_ns + word_ns(t);
    bool over = q->pings == PEER_QUALITY_PINGS || now >= q->step_ns + PINGS_NS;
    if (!open && over) {
        if (q->rtts.n == 0) {
            q->why = "no_answer";
            settle(t);
            return;
        }
        enter(q, PEER_QUALITY_UP, now);
        flow_begin(t, now);
        pump(t, now);
    } else if (!open) {
        ping(t, now);
    }
}

static void up_tick(struct peer_trial *t, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    flow_tick(t, now);
    bool late = q->flow == PEER_QUALITY_STOPS && now >= q->flow_ns + DRAIN_NS;
    if (q->have_result || late) {
        enter(q, PEER_QUALITY_DOWN, now);
        ask(t, PEER_QUALITY_GO, 0, now);
    }
}

static void down_tick(struct peer_trial *t, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    bool late = now >= q->step_ns + peer_quality_ns(options_of(t)) + DRAIN_NS;
    if (q->have_stop || late) {
        if (!q->have_result || !q->have_stop)
            q->why = "no_result";
        enter(q, PEER_QUALITY_LAST, now);
        ask(t, PEER_QUALITY_END, 0, now);
    } else if (q->in.received == 0) {
        ask(t, PEER_QUALITY_GO, 0, now);
    }
}

static void last_tick(struct peer_trial *t, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    if (now >= q->step_ns + LAST_NS)
        settle(t);
    else
        ask(t, PEER_QUALITY_END, 0, now);
}

static void tick(struct peer_trial *t, uint64_t now)
{
    static void (*const steps[])(struct peer_trial *, uint64_t) = {pings_tick, up_tick, down_tick, last_tick};
    struct peer_quality *q = &t->quality;
    if (now >= q->until_ns) {
        q->why = "no_result";
        settle(t);
    } else if (leads(t)) {
        steps[q->step](t, now);
    } else {
        flow_tick(t, now);
    }
}

static void again(struct peer_trial *t, uint64_t when_ns)
{
    peer_trial_hold(t);
    loop_timer(t->peer->loop, &t->quality.timer, when_ns);
}

static void timer_done(struct loop_op *op, int res)
{
    struct peer_trial *t = op->owner;
    struct peer_quality *q = &t->quality;
    uint64_t now = base_now_ns();
    if (res == 0 && !q->settled && t->state == PEER_TRIAL_PUNCHING && t->chosen) {
        if (!q->on) {
            q->on = true;
            q->step_ns = now;
            q->until_ns = now + 2 * peer_quality_ns(options_of(t)) + PEER_QUALITY_EXTRA_NS;
            if (peer_trial_is_tcp(t) && peer_stream_widen(t->chosen) < 0)
                q->until_ns = now;
        }
        if (!q->settled && t->chosen)
            tick(t, now);
        if (!q->settled)
            again(t, now + TICK_NS);
    }
    peer_trial_release(t);
}

void peer_quality_begin(struct peer_trial *t)
{
    struct peer_quality *q = &t->quality;
    q->begun = true;
    peer_arrivals_init(&q->in);
    loop_op_init(&q->timer, timer_done, t);
    /* Not from within the message that agreed: the stream that it came on is to be changed. */
    again(t, 0);
}

/* ---- hearing --------------------------------------------------------------------------------- */

static void on_pong(struct peer_trial *t, const struct peer_quality_msg *msg, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    if (!leads(t) || q->step != PEER_QUALITY_PINGING || !q->ping_ns || msg->number + 1 != q->pings)
        return;
    peer_rtts_add(&q->rtts, now - q->ping_ns);
    q->ping_ns = 0;
    tick(t, now);
}

static void on_bulk(struct peer_trial *t, const struct peer_quality_msg *msg, size_t len, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    peer_arrivals_add(&q->in, msg->number, WIRE_PATH_LEN + len, now);
    if (msg->ask)
        say(t, PEER_QUALITY_ACK, q->in.next, q->in.lost, 0);
}

static void on_stop(struct peer_trial *t, const struct peer_quality_msg *msg, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    q->have_stop = true;
    q->stop = *msg;
    say(t, PEER_QUALITY_RESULT, q->in.received, q->in.bytes, q->in.last_ns - q->in.first_ns);
    if (leads(t) && q->step == PEER_QUALITY_DOWN)
        tick(t, now);
}

static void on_result(struct peer_trial *t, const struct peer_quality_msg *msg, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    if (q->flow != PEER_QUALITY_STOPS || q->have_result)
        return;
    q->have_result = true;
    q->result = *msg;
    if (leads(t) && q->step == PEER_QUALITY_UP)
        tick(t, now);
}

static void on_end(struct peer_trial *t)
{
    if (!leads(t))
        say(t, PEER_QUALITY_END, 0, 0, 0);
    if (!leads(t) || t->quality.step == PEER_QUALITY_LAST)
        settle(t);
}

void peer_quality_message(struct peer_trial *t, const uint8_t *data, size_t len, uint64_t now)
{
    struct peer_quality *q = &t->quality;
    struct peer_quality_msg msg;
    if (!q->on || !t->chosen || peer_quality_decode(data, len, &msg) < 0)
        return;
    /* Role b has ended with the first one; role a may not have heard of it. */
    if (q->settled && msg.kind != PEER_QUALITY_END)
        return;
    if (msg.kind == PEER_QUALITY_PING)
        say(t, PEER_QUALITY_PONG, msg.number, 0, 0);
    else if (msg.kind == PEER_QUALITY_PONG)
        on_pong(t, &msg, now);
    else if (msg.kind == PEER_QUALITY_BULK)
        on_bulk(t, &msg, len, now);
    else if (msg.kind == PEER_QUALITY_STOP)
        on_stop(t, &msg, now);
    else if (msg.kind == PEER_QUALITY_RESULT)
        on_result(t, &msg, now);
    else if (msg.kind == PEER_QUALITY_END)
        on_end(t);
    else if (msg.kind == PEER_QUALITY_GO && !leads(t) && q->flow == PEER_QUALITY_IDLE)
        flow_begin(t, now);
    else if (msg.kind == PEER_QUALITY_ACK && q->flow != PEER_QUALITY_IDLE)
        peer_flight_heard(&q->out, msg.number, msg.amount, now);
    if (!q->settled && t->chosen)
        pump(t, now);
}

void peer_quality_room(struct peer_trial *t)
{
    if (t->quality.on && !t->quality.settled && t->chosen)
        pump(t, base_now_ns());
}

bool peer_quality_listens(const struct peer_trial *t, const struct peer_path *path)
{
    return t->quality.on && !t->quality.settled && path == t->chosen;
}

void peer_quality_lost(struct peer_trial *t, const struct peer_path *path)
{
    if (!peer_quality_listens(t, path))
        return;
    t->quality.why = "path_lost";
    settle(t);
}

void peer_quality_close(struct peer_trial *t)
{
    if (t->quality.timer.pending)
        loop_cancel(t->peer->loop, &t->quality.timer);
}
