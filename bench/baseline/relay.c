/*
 * The technique `relay`: what connects when nothing else does, at its price. Role a has an allocation on a TURN server
 * (RFC 8656, RFC 6062); role b is an ordinary peer that sends or connects to the relayed endpoint, which every NAT
 * lets it do. Both prove the key over the relayed path as over any other.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "bench/baseline/relay.h"

static const char *const modes[] = {"udp-send", "udp-channel", "tcp", "tcp-connect", "tcp-both", NULL};
static const char *const tcp_modes[] = {"tcp", "tcp-connect", "tcp-both", NULL};
static const char *const transports[] = {"udp", "tcp", NULL};

static const struct peer_option relay_options[] = {
    {.name = "turn",
     .arg = "ADDR:PORT",
     .value = "",
     .help = "the TURN server; role a needs it, and with tcp-both role b too",
     .kind = PEER_OPT_ENDPOINT,
     .local = true},
    {.name = "turn-user", .arg = "NAME", .value = "", .help = "user there", .kind = PEER_OPT_TEXT, .local = true},
    {.name = "turn-password",
     .arg = "WORD",
     .value = "",
     .help = "password there; other users of this host can see it: better the next one",
     .kind = PEER_OPT_TEXT,
     .local = true},
    {.name = "turn-password-file",
     .arg = "FILE",
     .value = "",
     .help = "the password is in this file",
     .kind = PEER_OPT_TEXT,
     .local = true},
    {.name = "turn-transport",
     .arg = "udp|tcp",
     .value = "udp",
     .help = "how to reach the TURN server where the relayed transport is UDP",
     .kind = PEER_OPT_CHOICE,
     .choices = transports},
};

static const struct relay_account relay_account = {"turn", "turn-user", "turn-password", "turn-password-file",
                                                   "turn-transport"};

static struct relay_mode mode_of(const char *name)
{
    static const struct relay_mode all[] = {
        {.name = "udp-send"},
        {.name = "udp-channel", .channel = true},
        {.name = "tcp", .tcp = true, .opener = RELAY_WAITS},
        {.name = "tcp-connect", .tcp = true, .opener = RELAY_CONNECTS},
        {.name = "tcp-both", .tcp = true, .opener = RELAY_CONNECTS, .both = true},
    };
    for (size_t i = 0; i < BASE_ARRAY_LEN(all); i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i];
    return all[0];
}

static bool allocates(const struct relay *r)
{
    return r->mode.both || peer_trial_role(r->trial) == WIRE_ROLE_A;
}

/* Whom the permission is for: the address that S saw. Pure. */
static int relay_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                      struct base_rng *rng, struct peer_plan *out)
{
    const struct peer_sample *at_a = peer_facts_last(a), *at_b = peer_facts_last(b);
    (void)options;
    (void)rng;
    if (!at_a || !at_b)
        return -EINVAL;
    int err = peer_candidates_add(&out->for_a, &at_b->mapped, PEER_PATH_RELAY, NAN);
    return err ? err : peer_candidates_add(&out->for_b, &at_a->mapped, PEER_PATH_RELAY, NAN);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static enum record_outcome outcome_of(enum baseline_turn_fate fate)
{
    switch (fate) {
    case BASELINE_TURN_NO_ANSWER:
        return RECORD_TIMEOUT;
    case BASELINE_TURN_WRONG_CREDENTIALS:
    case BASELINE_TURN_STALE_NONCE:
        return RECORD_AUTH_FAILED;
    case BASELINE_TURN_UNREACHABLE:
    case BASELINE_TURN_QUOTA:
    case BASELINE_TURN_CAPACITY:
    case BASELINE_TURN_FORBIDDEN:
    case BASELINE_TURN_UNSUPPORTED:
    case BASELINE_TURN_PEER_UNREACHABLE:
        return RECORD_REFUSED;
    default:
        return RECORD_ERROR;
    }
}

static const char *advice_of(enum baseline_turn_fate fate)
{
    switch (fate) {
    case BASELINE_TURN_NO_ANSWER:
        return "it does not answer: is it running, and can this host reach it?";
    case BASELINE_TURN_UNREACHABLE:
        return "it cannot be reached: is it running there?";
    case BASELINE_TURN_WRONG_CREDENTIALS:
        return "wrong user or password: check those that it was given";
    case BASELINE_TURN_STALE_NONCE:
        return "it calls each new nonce stale: check its clock and configuration";
    case BASELINE_TURN_GONE:
        return "it does not know the allocation (any more)";
    case BASELINE_TURN_QUOTA:
        return "this user has its quota of allocations: wait for old ones to expire, or raise it there";
    case BASELINE_TURN_CAPACITY:
        return "it has no relayed port left: widen its range";
    case BASELINE_TURN_FORBIDDEN:
        return "it forbids this peer: check its allowed and denied peers";
    case BASELINE_TURN_UNSUPPORTED:
        return "it does not relay this transport or family";
    case BASELINE_TURN_PEER_UNREACHABLE:
        return "it could not connect to the other peer, whose NAT lets nobody in: use --mode tcp";
    default:
        return "it said what makes no sense";
    }
}

static void settle(struct relay *r, enum baseline_turn_fate fate)
{
    peer_trial_why(r->trial, baseline_turn_fate_name(fate));
    peer_trial_fail(r->trial, outcome_of(fate));
}

void relay_tell(struct relay *r, const struct relay_note *note)
{
    uint8_t buf[RELAY_NOTE_MAX];
    peer_trial_note(r->trial, buf, relay_note_encode(note, buf));
}

void relay_mark(struct relay *r, const char *name, uint64_t at_ns)
{
    uint64_t start = peer_trial_start_ns(r->trial);
    peer_trial_field(r->trial, name, json_integer((json_int_t)(at_ns > start ? at_ns - start : 0)));
}

void relay_give_up(struct relay *r, enum baseline_turn_fate fate, uint16_t code)
{
    char server[BASE_EP_STRLEN];
    struct relay_note note = {.kind = RELAY_NOTE_FAILED, .fate = fate};
    union base_ep ep = {0};
    peer_option_ep(peer_trial_options(r->trial), r->account->server, &ep);
    base_error("the TURN server %s%s: %s", base_ep_format(&ep, server),
               peer_trial_over(r->trial) ? " has ended the relay" : " gives no relay", advice_of(fate));
    if (code)
        peer_trial_field(r->trial, "turn_code", json_integer(code));
    if (!peer_trial_over(r->trial))
        relay_tell(r, &note);
    settle(r, fate);
}

void relay_maybe_closed(struct relay *r)
{
    if (!r->closing || r->closed || r->turn || r->map || r->timer.pending || r->tcp_op.pending)
        return;
    r->closed = true;
    explicit_bzero(r->password, sizeof(r->password));
    peer_trial_closed(r->trial);
}

/* ---- the contract ---------------------------------------------------------------------------- */

struct relay *relay_begin(struct peer_trial *t, struct relay_mode mode)
{
    struct relay *r = peer_trial_state(t);
    r->trial = t;
    r->mode = mode;
    r->fd = -1;
    loop_op_init(&r->timer, relay_timer_done, r);
    loop_op_init(&r->tcp_op, relay_tcp_done, r);
    return r;
}

static int relay_open(struct peer_trial *t)
{
    struct relay *r = relay_begin(t, mode_of(peer_trial_plan(t)->mode));
    r->account = &relay_account;
    peer_trial_relayed(t, NULL);
    return allocates(r) ? relay_credentials(r) : relay_peer_open(r);
}

static void relay_go(struct peer_trial *t)
{
    struct relay *r = peer_trial_state(t);
    if (!allocates(r))
        return; /* until we are told the relayed endpoint */
    int err = relay_allocate(r);
    if (err < 0)
        relay_give_up(
            r, err == -ENETUNREACH || err == -EHOSTUNREACH ? BASELINE_TURN_UNREACHABLE : BASELINE_TURN_PROTOCOL, 0);
}

static void noted(struct relay *r, const struct relay_note *note)
{
    switch (note->kind) {
    case RELAY_NOTE_AT:
        if (allocates(r) && !r->mode.both)
            return; /* nothing that role b could know */
        r->theirs = note->at;
        if (r->resort)
            peer_trial_relayed(r->trial, &r->theirs);
        if (r->mode.both)
            relay_meet(r);
        else
            relay_peer_go(r);
        break;
    case RELAY_NOTE_READY:
        r->ready = true;
        relay_meet(r);
        break;
    case RELAY_NOTE_FAILED:
        settle(r, note->fate);
        break;
    }
}

void relay_stop(struct relay *r)
{
    r->stopping = true;
    relay_peer_stop(r);
}

static void relay_event(struct peer_trial *t, const struct peer_event *event)
{
    struct relay *r = peer_trial_state(t);
    struct relay_note note;
    switch (event->kind) {
    case PEER_EVENT_NOTE:
        if (!r->stopping && relay_note_decode(event->note, event->note_len, &note) == 0)
            noted(r, &note);
        break;
    case PEER_EVENT_LOST:
        peer_trial_error(t, event->err == -EACCES ? "strangers" : "reset");
        /* Not of a path that was punched. */
        if (!allocates(r) && !r->stopping && base_ep_equal(&event->remote, &r->theirs))
            relay_peer_again(r);
        break;
    case PEER_EVENT_VERIFIED:
        loop_cancel(peer_trial_loop(t), &r->timer);
        break;
    case PEER_EVENT_CHOSEN:
        relay_stop(r); /* the allocation stays: the path goes through it */
        break;
    default:
        break;
    }
}

static void relay_close(struct peer_trial *t)
{
    struct relay *r = peer_trial_state(t);
    r->closing = true;
    relay_stop(r);
    if (r->turn)
        baseline_turn_close(r->turn);
    relay_maybe_closed(r);
}

const struct peer_technique relay_technique = {
    .name = "relay",
    .doc =
        "Connects two peers through a TURN server, and measures it: what would have worked without punching, at what "
        "cost. Role a makes the allocation.",
    .transport = PEER_UDP,
    .modes = modes,
    .tcp_modes = tcp_modes,
    .options = relay_options,
    .n_options = BASE_ARRAY_LEN(relay_options),
    .samples = 1,
    .plan = relay_plan,
    .state_size = sizeof(struct relay),
    .open = relay_open,
    .go = relay_go,
    .event = relay_event,
    .close = relay_close,
};

/* ---- as the last resort of another technique -------------------------------------------------- */

static const struct peer_option resort_options[] = {
    {.name = "relay",
     .arg = "ADDR:PORT",
     .value = "",
     .help = "role a, mode auto: where punching cannot do it or fails, go through this TURN server",
     .kind = PEER_OPT_ENDPOINT,
     .local = true},
    {.name = "relay-user", .arg = "NAME", .value = "", .help = "user there", .kind = PEER_OPT_TEXT, .local = true},
    {.name = "relay-password",
     .arg = "WORD",
     .value = "",
     .help = "password there; other users of this host can see it: better the next one",
     .kind = PEER_OPT_TEXT,
     .local = true},
    {.name = "relay-password-file",
     .arg = "FILE",
     .value = "",
     .help = "the password is in this file",
     .kind = PEER_OPT_TEXT,
     .local = true},
};

static const struct relay_account resort_account = {"relay", "relay-user", "relay-password", "relay-password-file",
                                                    NULL};

static int resort_open(struct peer_trial *t)
{
    bool tcp = peer_trial_transport(t) == PEER_TCP;
    struct relay *r = relay_begin(t, mode_of(tcp ? "tcp" : "udp-channel"));
    r->account = &resort_account;
    r->resort = true;
    /* What was punched before has its kind; over UDP the carrier's paths have theirs. */
    if (tcp && allocates(r))
        peer_trial_relayed(t, NULL);
    return allocates(r) ? relay_credentials(r) : relay_peer_open(r);
}

const struct peer_technique relay_resort = {
    .name = "relay",
    .options = resort_options,
    .n_options = BASE_ARRAY_LEN(resort_options),
    .state_size = sizeof(struct relay),
    .open = resort_open,
    .go = relay_go,
    .event = relay_event,
    .close = relay_close,
};
