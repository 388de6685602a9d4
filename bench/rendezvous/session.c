/* The session's state machine. Frames of one peer arrive in order, and a trial ends only when both sides have reported
 * or one is gone, so nothing of an old trial can arrive in a new one. */
#include "bench/rendezvous/session.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RTT_SAMPLES 8
/* Room in a forwarded frame for what S adds to the body. */
#define FORWARD_ROOM 128

enum session_state {
    SESSION_WAITING, /* for the second peer */
    SESSION_STEPPING,
    SESSION_FACTS,
    SESSION_PLAN,
    SESSION_PUNCH,
    SESSION_ABORTED, /* without a plan: only the reports are missing */
    SESSION_ENDED,
};

struct side {
    void *peer; /* NULL = not there */
    uint64_t rtt_ns[RTT_SAMPLES];
    unsigned n_rtt;
    uint64_t ping_stamp; /* 0 = none under way */
    bool facts, reported;
    struct record_side report;
};

struct session {
    struct session_host *host;
    struct session_links links;
    enum session_state state;
    uint64_t deadline_ns;
    uint64_t trials, first, trial, seed;
    double predicted_p;
    struct side sides[2]; /* a, b */
    char *technique;
    char *options;
    char name[];
};

static struct side *side_of(struct session *s, enum wire_role role)
{
    return &s->sides[role == WIRE_ROLE_B];
}

static const char *role_name(enum wire_role role)
{
    return role == WIRE_ROLE_B ? "b" : "a";
}

static bool in_trial(const struct session *s)
{
    return s->state >= SESSION_FACTS && s->state <= SESSION_ABORTED;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void begin(struct session *s, struct wire_writer *w, enum wire_frame_type type)
{
    wire_frame_begin(w, s->host->scratch, sizeof(s->host->scratch), type);
}

/* 0, or -ENOSPC for what does not fit into a frame. */
static int end(struct session *s, struct wire_writer *w, struct side *to)
{
    int len = wire_frame_end(w, (uint32_t)base_rng_u64(&s->host->masks));
    if (len > 0 && to->peer)
        s->host->send(to->peer, s->host->scratch, (size_t)len);
    return len < 0 ? len : 0;
}

static void send_text(struct session *s, struct side *to, enum wire_frame_type type, uint64_t code, const char *text)
{
    struct wire_writer w;
    begin(s, &w, type);
    if (code)
        wire_put_u64(&w, WIRE_F_CODE, code);
    wire_put_text(&w, WIRE_F_TEXT, text);
    end(s, &w, to);
}

static void dismiss(struct session *s, struct side *side)
{
    if (side->peer)
        s->host->finish(side->peer);
    side->peer = NULL;
}

static void ping(struct session *s, struct side *to, uint64_t now)
{
    struct wire_writer w;
    to->ping_stamp = now;
    begin(s, &w, WIRE_PING);
    wire_put_u64(&w, WIRE_F_STAMP, now);
    end(s, &w, to);
}

/* ---- round trips ----------------------------------------------------------------------------- */

static void rtt_add(struct side *side, uint64_t rtt_ns)
{
    side->rtt_ns[side->n_rtt++ % RTT_SAMPLES] = rtt_ns;
}

/* The least of the last few: what is above it is queues and schedulers. */
static uint64_t rtt_of(const struct side *side)
{
    unsigned n = side->n_rtt < RTT_SAMPLES ? side->n_rtt : RTT_SAMPLES;
    uint64_t least = n ? side->rtt_ns[0] : 0;
    for (unsigned i = 1; i < n; i++)
        if (side->rtt_ns[i] < least)
            least = side->rtt_ns[i];
    return least;
}

void session_delays(uint64_t rtt_a_ns, uint64_t rtt_b_ns, uint64_t *delay_a_ns, uint64_t *delay_b_ns)
{
    uint64_t a = rtt_a_ns / 2, b = rtt_b_ns / 2, most = a > b ? a : b;
    *delay_a_ns = most - a;
    *delay_b_ns = most - b;
}

static int on_pong(struct side *from, const struct wire_reader *r, uint64_t now)
{
    uint64_t stamp;
    if (wire_get_u64(r, WIRE_F_STAMP, &stamp) < 0)
        return -EPROTO;
    if (from->ping_stamp && stamp == from->ping_stamp && now >= stamp) {
        rtt_add(from, now - stamp);
        from->ping_stamp = 0;
    }
    return 0;
}

/* ---- records --------------------------------------------------------------------------------- */

/* The value of a "key=value" line; "" when there is none or it does not fit. */
static const char *option_value(const char *options, const char *key, char *buf, size_t cap)
{
    size_t key_len = strlen(key);
    buf[0] = '\0';
    for (const char *line = options; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        if (strncmp(line, key, key_len) != 0 || line[key_len] != '=')
            continue;
        const char *value = line + key_len + 1;
        size_t len = strcspn(value, "\n");
        if (len < cap) {
            memcpy(buf, value, len);
            buf[len] = '\0';
        }
        break;
    }
    return buf;
}

/* How far the trial had come, as far as S can see. */
static enum record_phase phase_of(const struct session *s)
{
    switch (s->state) {
    case SESSION_FACTS:
        return s->sides[0].facts || s->sides[1].facts ? RECORD_PHASE_EXCHANGE : RECORD_PHASE_SAMPLE;
    case SESSION_PLAN:
    case SESSION_ABORTED:
        return RECORD_PHASE_PLAN;
    case SESSION_PUNCH:
        return RECORD_PHASE_OPEN;
    default:
        return RECORD_PHASE_JOIN;
    }
}

static json_t *make_record(const struct session *s)
{
    char mode[32], transport[8];
    const struct side *a = &s->sides[0], *b = &s->sides[1];
    struct record_trial trial = {
        .cell = s->name,
        .trial = s->trial,
        .seed = s->seed,
        .technique = s->technique,
        .mode = option_value(s->options, "mode", mode, sizeof(mode)),
        .transport = option_value(s->options, "transport", transport, sizeof(transport)),
        .rtt_ns = (rtt_of(a) + rtt_of(b)) / 2,
        .predicted_p = s->predicted_p,
    };
    json_t *record = record_joint(&trial, a->reported ? &a->report : NULL, b->reported ? &b->report : NULL);
    /* Of a side that never reported, only S knows where it ended. */
    if (record && (!a->reported || !b->reported))
        json_object_set_new(record, "phase", json_string(record_phase_name(phase_of(s))));
    return record;
}

static char *record_line(const json_t *record)
{
    char *line = NULL;
    size_t len = 0;
    FILE *out = record ? open_memstream(&line, &len) : NULL;
    int err = out ? record_write_line(out, record) : -ENOMEM;
    if (out && fclose(out) != 0)
        err = -ENOMEM;
    if (err < 0 || !line || len == 0) {
        free(line);
        return NULL;
    }
    line[len - 1] = '\0'; /* the newline */
    return line;
}

static void send_record(struct session *s, const char *line)
{
    for (size_t i = 0; i < 2; i++) {
        struct wire_writer w;
        begin(s, &w, WIRE_RECORD);
        wire_put_u64(&w, WIRE_F_TRIAL, s->trial);
        wire_put_text(&w, WIRE_F_TEXT, line);
        if (end(s, &w, &s->sides[i]) == 0)
            continue;
        /* Numbers may take more room than they did in the reports. It is written down here all the same. */
        begin(s, &w, WIRE_RECORD);
        wire_put_u64(&w, WIRE_F_TRIAL, s->trial);
        wire_put_text(&w, WIRE_F_TEXT, "{}");
        end(s, &w, &s->sides[i]);
    }
}

static void close_trial(struct session *s)
{
    json_t *record = make_record(s);
    char *line = record_line(record);
    if (line) {
        s->host->record(s->host, line);
        send_record(s, line);
    } else {
        base_error("session '%s' trial %llu: out of memory for its record", s->name, (unsigned long long)s->trial);
    }
    free(line);
    json_decref(record);
    for (size_t i = 0; i < 2; i++)
        record_side_clear(&s->sides[i].report);
}

/* ---- trials ---------------------------------------------------------------------------------- */

static void start_trial(struct session *s, uint64_t now)
{
    s->state = SESSION_FACTS;
    s->deadline_ns = now + SESSION_FACTS_NS;
    s->predicted_p = (double)NAN;
    for (size_t i = 0; i < 2; i++) {
        struct side *side = &s->sides[i];
        struct wire_writer w;
        side->facts = side->reported = false;
        begin(s, &w, WIRE_TRIAL);
        wire_put_u64(&w, WIRE_F_TRIAL, s->trial);
        end(s, &w, side);
        ping(s, side, now);
    }
}

static void next_trial(struct session *s, uint64_t now)
{
    if (s->trial == s->first + s->trials) {
        struct wire_writer w;
        s->state = SESSION_ENDED;
        base_info("session '%s': done, %llu trials", s->name, (unsigned long long)s->trials);
        for (size_t i = 0; i < 2; i++) {
            begin(s, &w, WIRE_BYE);
            end(s, &w, &s->sides[i]);
            dismiss(s, &s->sides[i]);
        }
    } else if (s->host->step) {
        s->state = SESSION_STEPPING;
        s->host->want_step(s->host, s);
    } else {
        start_trial(s, now);
    }
}

void session_step(struct session *s, uint64_t now)
{
    if (s->state == SESSION_STEPPING)
        start_trial(s, now);
}

static void maybe_close_trial(struct session *s, uint64_t now)
{
    if (!s->sides[0].reported || !s->sides[1].reported)
        return;
    close_trial(s);
    s->trial++;
    next_trial(s, now);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static int get_body(const struct wire_reader *r, const uint8_t **body, size_t *len)
{
    if (wire_get_bytes(r, WIRE_F_BODY, body, len) < 0 || *len > WIRE_FRAME_MAX - FORWARD_ROOM)
        return -EPROTO;
    return 0;
}

static void put_rtts(struct wire_writer *w, const struct side *own, const struct side *other)
{
    wire_put_u64(w, WIRE_F_RTT_NS, rtt_of(own));
    wire_put_u64(w, WIRE_F_PEER_RTT_NS, rtt_of(other));
}

static int on_facts(struct session *s, struct side *from, struct side *to, const struct wire_reader *r, uint64_t now,
                    const char **why)
{
    const uint8_t *body;
    size_t len;
    struct wire_writer w;
    if (s->state == SESSION_ABORTED)
        return 0; /* it crossed our ABORT */
    *why = s->state != SESSION_FACTS || from->facts ? "facts out of turn" : "facts without a body, or too large";
    if (s->state != SESSION_FACTS || from->facts || get_body(r, &body, &len) < 0)
        return -EPROTO;
    from->facts = true;
    begin(s, &w, WIRE_FACTS);
    wire_put_bytes(&w, WIRE_F_BODY, body, len);
    put_rtts(&w, to, from);
    end(s, &w, to);
    if (to->facts) {
        s->state = SESSION_PLAN;
        s->deadline_ns = now + SESSION_PLAN_NS;
    }
    return 0;
}

static int on_plan(struct session *s, struct side *from, const struct wire_reader *r, uint64_t now, const char **why)
{
    struct side *a = &s->sides[0], *b = &s->sides[1];
    const uint8_t *body;
    size_t len;
    uint64_t deadline_ns, delay[2];
    if (s->state == SESSION_ABORTED && from == a)
        return 0;
    *why = from != a                  ? "a plan from role b"
           : s->state != SESSION_PLAN ? "a plan out of turn"
                                      : "a plan without body and deadline, or too large";
    if (from != a || s->state != SESSION_PLAN || get_body(r, &body, &len) < 0 ||
        wire_get_u64(r, WIRE_F_STAMP, &deadline_ns) < 0 || deadline_ns > SESSION_DEADLINE_MAX_NS)
        return -EPROTO;
    session_delays(rtt_of(a), rtt_of(b), &delay[0], &delay[1]);
    /* The farther one first: the nearer one has time to spare. */
    for (size_t n = 0; n < 2; n++) {
        size_t i = delay[0] <= delay[1] ? n : 1 - n;
        struct wire_writer w;
        begin(s, &w, WIRE_PLAN);
        wire_put_bytes(&w, WIRE_F_BODY, body, len);
        wire_put_u64(&w, WIRE_F_DELAY_NS, delay[i]);
        put_rtts(&w, &s->sides[i], &s->sides[1 - i]);
        end(s, &w, &s->sides[i]);
    }
    s->state = SESSION_PUNCH;
    s->deadline_ns = now + deadline_ns + SESSION_REPORT_NS;
    return 0;
}

static int on_note(struct session *s, struct side *to, const struct wire_reader *r, const char **why)
{
    const uint8_t *body;
    size_t len;
    struct wire_writer w;
    *why = "a note without a body, or too large";
    if (get_body(r, &body, &len) < 0)
        return -EPROTO;
    if (!in_trial(s) || to->reported)
        return 0; /* the trial ended while the note was on its way */
    begin(s, &w, WIRE_NOTE);
    wire_put_bytes(&w, WIRE_F_BODY, body, len);
    end(s, &w, to);
    return 0;
}

static int read_report(struct session *s, struct side *from, const struct wire_reader *r)
{
    const uint8_t *text;
    size_t len;
    if (wire_get_bytes(r, WIRE_F_TEXT, &text, &len) < 0 || len > SESSION_REPORT_MAX)
        return -EBADMSG;
    json_t *json = json_loadb((const char *)text, len, 0, NULL);
    int err = json ? record_side_from_json(json, &from->report) : -EBADMSG;
    if (err == 0 && from == &s->sides[0]) {
        const json_t *p = json_object_get(json, "predicted_p");
        s->predicted_p = json_is_number(p) ? json_number_value(p) : (double)NAN;
    }
    json_decref(json);
    return err;
}

/* Before the plan, one side's report ends the trial for the other as well. */
static void abort_other(struct session *s, enum wire_role from, uint64_t now)
{
    char text[160];
    const struct record_side *report = &side_of(s, from)->report;
    struct side *other = &s->sides[from == WIRE_ROLE_A];
    if (s->state != SESSION_FACTS && s->state != SESSION_PLAN)
        return;
    s->state = SESSION_ABORTED;
    s->deadline_ns = now + SESSION_REPORT_NS;
    snprintf(text, sizeof(text), "peer %s gave up (%s): %s", role_name(from), record_phase_name(report->phase),
             report->error ? strerror(report->error) : record_outcome_name(report->outcome));
    base_info("session '%s' trial %llu: %s", s->name, (unsigned long long)s->trial, text);
    if (!other->reported)
        send_text(s, other, WIRE_ABORT, 0, text);
}

static int on_report(struct session *s, enum wire_role role, const struct wire_reader *r, uint64_t now,
                     const char **why)
{
    struct side *from = side_of(s, role);
    uint64_t trial = s->trial;
    *why = "a report out of turn";
    wire_get_u64(r, WIRE_F_TRIAL, &trial);
    if (!in_trial(s) || from->reported || trial != s->trial)
        return -EPROTO;
    *why = "a report that is no JSON object, or too large";
    if (read_report(s, from, r) < 0)
        return -EPROTO;
    from->reported = true;
    abort_other(s, role, now);
    maybe_close_trial(s, now);
    return 0;
}

int session_frame(struct session *s, enum wire_role role, enum wire_frame_type type, const struct wire_reader *r,
                  uint64_t now, const char **why)
{
    struct side *from = side_of(s, role), *to = &s->sides[role == WIRE_ROLE_A];
    *why = "a frame that does not belong here";
    if (type == WIRE_PONG)
        return on_pong(from, r, now);
    if (s->state == SESSION_WAITING || s->state == SESSION_ENDED)
        return -EPROTO;
    switch (type) {
    case WIRE_FACTS:
        return on_facts(s, from, to, r, now, why);
    case WIRE_PLAN:
        return on_plan(s, from, r, now, why);
    case WIRE_NOTE:
        return on_note(s, to, r, why);
    case WIRE_REPORT:
    case WIRE_ABORT:
        return on_report(s, role, r, now, why);
    default:
        return -EPROTO;
    }
}

/* ---- joining --------------------------------------------------------------------------------- */

static int hello_number(const struct wire_reader *r, uint16_t field, uint64_t lo, uint64_t hi, uint64_t *out)
{
    int err = wire_get_u64(r, field, out);
    if (err == -ENOENT)
        return 0; /* the default stands */
    return err < 0 || *out < lo || *out > hi ? -EBADMSG : 0;
}

int session_read_hello(const struct wire_reader *r, struct session_hello *out, const char **why)
{
    uint64_t role = WIRE_ROLE_NONE;
    *out = (struct session_hello){.trials = 1};
    *why = "a session name has 1 to 200 printable bytes";
    if (wire_get_text(r, WIRE_F_SESSION, out->session, sizeof(out->session)) < 0 || !out->session[0] ||
        strpbrk(out->session, "\n\t"))
        return -EBADMSG;
    *why = "HELLO without nonce or technique, or with numbers out of range";
    if (wire_get_exact(r, WIRE_F_NONCE, out->nonce, sizeof(out->nonce)) < 0 ||
        wire_get_text(r, WIRE_F_TECHNIQUE, out->technique, sizeof(out->technique)) < 0 || !out->technique[0] ||
        strpbrk(out->technique, "\n\t"))
        return -EBADMSG;
    int err = wire_get_text(r, WIRE_F_OPTIONS, out->options, sizeof(out->options));
    if ((err < 0 && err != -ENOENT) || hello_number(r, WIRE_F_ROLE, 0, WIRE_ROLE_B, &role) < 0 ||
        hello_number(r, WIRE_F_TRIALS, 1, SESSION_TRIALS_MAX, &out->trials) < 0 ||
        hello_number(r, WIRE_F_TRIAL, 0, SESSION_TRIALS_MAX, &out->first) < 0 ||
        hello_number(r, WIRE_F_SEED, 0, UINT64_MAX, &out->seed) < 0)
        return -EBADMSG;
    out->role = (enum wire_role)role;
    return 0;
}

struct session *session_create(struct session_host *host, const char *name)
{
    size_t len = strlen(name) + 1;
    struct session *s = calloc(1, sizeof(*s) + len);
    if (!s)
        return NULL;
    s->host = host;
    memcpy(s->name, name, len);
    return s;
}

void session_free(struct session *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < 2; i++)
        record_side_clear(&s->sides[i].report);
    free(s->technique);
    free(s->options);
    free(s);
}

/* The place for a peer that asks for `wanted`, or the error that it gets. */
static int choose_role(const struct session *s, enum wire_role wanted, enum wire_role *out, const char **why)
{
    bool a = s->sides[0].peer, b = s->sides[1].peer;
    *why = "the session has two peers already";
    if (s->state != SESSION_WAITING || (a && b))
        return WIRE_E_SESSION_FULL;
    *why = wanted == WIRE_ROLE_B ? "role b is taken" : "role a is taken";
    if ((wanted == WIRE_ROLE_A && a) || (wanted == WIRE_ROLE_B && b))
        return WIRE_E_ROLE_TAKEN;
    *out = wanted != WIRE_ROLE_NONE ? wanted : a ? WIRE_ROLE_B : WIRE_ROLE_A;
    return 0;
}

static void send_joined(struct session *s, struct side *to, enum wire_role role, const struct session_place *place)
{
    struct wire_writer w;
    begin(s, &w, WIRE_JOINED);
    wire_put_u64(&w, WIRE_F_ROLE, role);
    for (size_t i = 0; i < place->n_stun; i++)
        wire_put_ep(&w, WIRE_F_STUN, &place->stun[i]);
    wire_put_ep(&w, WIRE_F_SEEN, place->seen);
    wire_put_u64(&w, WIRE_F_RTT_NS, rtt_of(to));
    end(s, &w, to);
}

static void send_ready(struct session *s)
{
    for (size_t i = 0; i < 2; i++) {
        struct wire_writer w;
        begin(s, &w, WIRE_READY);
        wire_put_text(&w, WIRE_F_TECHNIQUE, s->technique);
        wire_put_text(&w, WIRE_F_OPTIONS, s->options);
        wire_put_u64(&w, WIRE_F_TRIALS, s->trials);
        wire_put_u64(&w, WIRE_F_TRIAL, s->first);
        wire_put_u64(&w, WIRE_F_SEED, s->seed);
        end(s, &w, &s->sides[i]);
    }
}

/* Role a's word rules: what it runs, how often, from which seed. */
static int take_terms(struct session *s, const struct session_hello *hello, enum wire_role role)
{
    if (!s->technique && !(s->technique = strdup(hello->technique)))
        return -ENOMEM;
    if (role != WIRE_ROLE_A)
        return 0;
    if (!(s->options = strdup(hello->options)))
        return -ENOMEM;
    s->trials = hello->trials;
    s->first = s->trial = hello->first;
    s->seed = hello->seed;
    return 0;
}

int session_join(struct session *s, const struct session_hello *hello, const struct session_place *place, void *peer,
                 uint64_t now, enum wire_role *role, const char **why)
{
    int err = choose_role(s, hello->role, role, why);
    if (err)
        return err;
    *why = "the other peer runs another technique";
    if (s->technique && strcmp(s->technique, hello->technique) != 0)
        return WIRE_E_MISMATCH;
    *why = "the server is out of memory";
    if (take_terms(s, hello, *role) < 0)
        return WIRE_E_BUSY;
    struct side *side = side_of(s, *role);
    side->peer = peer;
    rtt_add(side, place->rtt_ns);
    send_joined(s, side, *role, place);
    ping(s, side, now);
    if (s->sides[0].peer && s->sides[1].peer) {
        send_ready(s);
        next_trial(s, now);
    }
    return 0;
}

/* ---- ends before its time -------------------------------------------------------------------- */

/* Whoever is gone has peer NULL by now; whoever is left hears about it. */
static void end_early(struct session *s, const char *what)
{
    char text[160];
    if (in_trial(s))
        snprintf(text, sizeof(text), "%s in trial %llu (%s)", what, (unsigned long long)s->trial,
                 record_phase_name(phase_of(s)));
    else
        snprintf(text, sizeof(text), "%s %s", what,
                 s->state == SESSION_WAITING ? "before the other one came" : "between trials");
    base_info("session '%s': %s", s->name, text);
    if (in_trial(s))
        close_trial(s);
    s->state = SESSION_ENDED;
    for (size_t i = 0; i < 2; i++)
        if (s->sides[i].peer)
            send_text(s, &s->sides[i], WIRE_ERROR, WIRE_E_PEER_LEFT, text);
    for (size_t i = 0; i < 2; i++)
        dismiss(s, &s->sides[i]);
}

void session_left(struct session *s, enum wire_role role)
{
    char what[32];
    side_of(s, role)->peer = NULL;
    if (s->state == SESSION_ENDED)
        return;
    snprintf(what, sizeof(what), "peer %s left", role_name(role));
    end_early(s, what);
}

/* Does this side owe S anything now? */
static bool owes(const struct session *s, const struct side *side)
{
    switch (s->state) {
    case SESSION_FACTS:
        return !side->facts;
    case SESSION_PLAN:
        return side == &s->sides[0];
    default:
        return !side->reported;
    }
}

void session_tick(struct session *s, uint64_t now)
{
    char what[48];
    bool late[2];
    if (!in_trial(s) || now < s->deadline_ns)
        return;
    for (size_t i = 0; i < 2; i++)
        late[i] = owes(s, &s->sides[i]);
    for (size_t i = 0; i < 2; i++) {
        if (!late[i])
            continue;
        send_text(s, &s->sides[i], WIRE_ERROR, WIRE_E_TIMEOUT, "the server waited too long for this peer");
        dismiss(s, &s->sides[i]);
    }
    snprintf(what, sizeof(what), "%s%s kept the server waiting", late[0] && late[1] ? "both peers" : "peer ",
             late[0] && late[1] ? ""
             : late[0]          ? "a"
                                : "b");
    end_early(s, what);
}

bool session_over(const struct session *s)
{
    return s->state == SESSION_ENDED || (!s->sides[0].peer && !s->sides[1].peer);
}

const char *session_name(const struct session *s)
{
    return s->name;
}

struct session_links *session_links(struct session *s)
{
    return &s->links;
}
