/* Who is in a session: joining, coming back after a lost connection, leaving. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rendezvous/session_state.h"

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
    uint64_t role = WIRE_ROLE_NONE, rejoin = 0;
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
    out->can_rejoin = wire_get_u64(r, WIRE_F_RECEIVED, &out->received) == 0;
    out->rejoin = out->can_rejoin && wire_get_u64(r, WIRE_F_REJOIN, &rejoin) == 0 && rejoin;
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
    for (size_t i = 0; i < 2; i++) {
        record_side_clear(&s->sides[i].report);
        wire_kept_free(&s->sides[i].kept);
    }
    free(s->technique);
    free(s->options);
    free(s);
}

/* The place for a peer that asks for `wanted`, or the error that it gets. */
static int choose_role(const struct session *s, enum wire_role wanted, enum wire_role *out, const char **why)
{
    bool a = session_seated(&s->sides[0]), b = session_seated(&s->sides[1]);
    *why = "the session has two peers already";
    if (s->state != SESSION_WAITING || (a && b))
        return WIRE_E_SESSION_FULL;
    *why = wanted == WIRE_ROLE_B ? "role b is taken" : "role a is taken";
    if ((wanted == WIRE_ROLE_A && a) || (wanted == WIRE_ROLE_B && b))
        return WIRE_E_ROLE_TAKEN;
    *out = wanted != WIRE_ROLE_NONE ? wanted : a ? WIRE_ROLE_B : WIRE_ROLE_A;
    return 0;
}

static void send_joined(struct session *s, struct session_side *to, enum wire_role role,
                        const struct session_place *place)
{
    struct wire_writer w;
    session_begin(s, &w, WIRE_JOINED);
    wire_put_u64(&w, WIRE_F_ROLE, role);
    for (size_t i = 0; i < place->n_stun; i++)
        wire_put_ep(&w, WIRE_F_STUN, &place->stun[i]);
    wire_put_ep(&w, WIRE_F_SEEN, place->seen);
    wire_put_u64(&w, WIRE_F_RTT_NS, session_rtt(to));
    if (to->can_rejoin) {
        wire_put_bytes(&w, WIRE_F_TOKEN, to->token, sizeof(to->token));
        wire_put_u64(&w, WIRE_F_RECEIVED, to->received);
    }
    session_end(s, &w, to);
}

static void send_ready(struct session *s)
{
    for (size_t i = 0; i < 2; i++) {
        struct wire_writer w;
        session_begin(s, &w, WIRE_READY);
        wire_put_text(&w, WIRE_F_TECHNIQUE, s->technique);
        wire_put_text(&w, WIRE_F_OPTIONS, s->options);
        wire_put_u64(&w, WIRE_F_TRIALS, s->trials);
        wire_put_u64(&w, WIRE_F_TRIAL, s->first);
        wire_put_u64(&w, WIRE_F_SEED, s->seed);
        session_end(s, &w, &s->sides[i]);
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
    struct session_side *side = session_side(s, *role);
    side->peer = peer;
    side->can_rejoin = hello->can_rejoin && place->token;
    side->kept.max = SESSION_KEPT_MAX;
    if (side->can_rejoin)
        memcpy(side->token, place->token, sizeof(side->token));
    session_rtt_add(side, place->rtt_ns);
    send_joined(s, side, *role, place);
    session_ping(s, side, now);
    if (session_seated(&s->sides[0]) && session_seated(&s->sides[1])) {
        send_ready(s);
        session_next_trial(s, now);
    }
    return 0;
}

/* ---- coming back ----------------------------------------------------------------------------- */

const uint8_t *session_token(const struct session *s, enum wire_role role)
{
    const struct session_side *side = &s->sides[role == WIRE_ROLE_B];
    return role != WIRE_ROLE_NONE && side->can_rejoin && session_seated(side) ? side->token : NULL;
}

int session_rejoin(struct session *s, const struct session_hello *hello, const struct session_place *place, void *peer,
                   uint64_t now, const char **why)
{
    struct session_side *side = session_side(s, hello->role);
    const uint8_t *frame;
    size_t len, at = 0;
    *why = "there is no such place to come back to";
    if (!session_token(s, hello->role))
        return WIRE_E_GONE;
    *why = "too much was said meanwhile to come back";
    if (side->kept.torn || wire_kept_drop(&side->kept, hello->received) < 0)
        return WIRE_E_GONE;
    session_dismiss(s, side);
    side->peer = peer;
    side->away_until_ns = 0;
    session_rtt_add(side, place->rtt_ns);
    send_joined(s, side, hello->role, place);
    while ((len = wire_kept_next(&side->kept, &at, &frame)) > 0)
        s->host->send(peer, frame, len);
    session_ping(s, side, now);
    base_info("session '%s': peer %s is back", s->name, session_role_name(hello->role));
    return 0;
}

/* ---- ends before its time -------------------------------------------------------------------- */

/* Whoever is gone has peer NULL by now; whoever is left hears about it. */
static void end_early(struct session *s, const char *what)
{
    char text[160];
    if (session_in_trial(s))
        snprintf(text, sizeof(text), "%s in trial %llu (%s)", what, (unsigned long long)s->trial,
                 record_phase_name(session_phase(s)));
    else
        snprintf(text, sizeof(text), "%s %s", what,
                 s->state == SESSION_WAITING ? "before the other one came" : "between trials");
    base_info("session '%s': %s", s->name, text);
    if (session_in_trial(s))
        session_close_trial(s);
    s->state = SESSION_ENDED;
    for (size_t i = 0; i < 2; i++)
        if (s->sides[i].peer)
            session_send_text(s, &s->sides[i], WIRE_ERROR, WIRE_E_PEER_LEFT, text);
    session_give_up(s);
}

void session_give_up(struct session *s)
{
    s->state = SESSION_ENDED;
    for (size_t i = 0; i < 2; i++) {
        session_dismiss(s, &s->sides[i]);
        s->sides[i].away_until_ns = 0;
    }
}

void session_left(struct session *s, enum wire_role role)
{
    char what[32];
    session_side(s, role)->peer = NULL;
    if (s->state == SESSION_ENDED)
        return;
    snprintf(what, sizeof(what), "peer %s left", session_role_name(role));
    end_early(s, what);
}

void session_vanished(struct session *s, enum wire_role role, uint64_t now)
{
    struct session_side *side = session_side(s, role);
    if (!side->can_rejoin) {
        session_left(s, role);
        return;
    }
    side->peer = NULL;
    side->away_until_ns = now + SESSION_AWAY_NS;
    base_info("session '%s': the connection of peer %s broke: its place is kept for %llu s", s->name,
              session_role_name(role), (unsigned long long)(SESSION_AWAY_NS / BASE_NS_PER_S));
}

/* Nobody comes back after that. */
static void tick_away(struct session *s, uint64_t now)
{
    for (size_t i = 0; i < 2; i++) {
        char what[64];
        if (!s->sides[i].away_until_ns || now < s->sides[i].away_until_ns)
            continue;
        s->sides[i].away_until_ns = 0;
        snprintf(what, sizeof(what), "peer %s did not come back within %llu s", i ? "b" : "a",
                 (unsigned long long)(SESSION_AWAY_NS / BASE_NS_PER_S));
        if (s->state != SESSION_ENDED)
            end_early(s, what);
    }
}

/* Does this side owe S anything now? */
static bool owes(const struct session *s, const struct session_side *side)
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
    tick_away(s, now);
    if (s->state == SESSION_ENDED && s->deadline_ns && now >= s->deadline_ns)
        session_give_up(s);
    if (!session_in_trial(s) || now < s->deadline_ns)
        return;
    for (size_t i = 0; i < 2; i++)
        late[i] = owes(s, &s->sides[i]);
    for (size_t i = 0; i < 2; i++) {
        if (!late[i])
            continue;
        session_send_text(s, &s->sides[i], WIRE_ERROR, WIRE_E_TIMEOUT, "the server waited too long for this peer");
        session_dismiss(s, &s->sides[i]);
    }
    snprintf(what, sizeof(what), "%s%s kept the server waiting", late[0] && late[1] ? "both peers" : "peer ",
             late[0] && late[1] ? ""
             : late[0]          ? "a"
                                : "b");
    end_early(s, what);
}

bool session_over(const struct session *s)
{
    return !session_seated(&s->sides[0]) && !session_seated(&s->sides[1]);
}

bool session_ended(const struct session *s)
{
    return s->state == SESSION_ENDED;
}

const char *session_name(const struct session *s)
{
    return s->name;
}

struct session_links *session_links(struct session *s)
{
    return &s->links;
}
