/* The side that has an allocation: from the first Allocate to a path through the server. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bench/baseline/relay.h"

/* Of what is left of the deadline: a server that is silent for so long is given up while the other side can still be
 * told. */
#define PATIENCE(left_ns) ((left_ns) / 4 * 3)
#define RTO_MIN_NS        (100 * BASE_NS_PER_MS)

/* ---- who we are to the server ---------------------------------------------------------------- */

/* Of the addresses that S saw the other side at; what else is bound needs room in the allocation, too. */
#define MAX_PERMITTED (BASELINE_TURN_MAX_PEERS / 2)

static int read_password(struct relay *r, const char *path)
{
    size_t len;
    int err = base_read_key(path, (uint8_t *)r->password, sizeof(r->password) - 1, &len);
    if (err < 0) {
        base_error("cannot read the TURN password from %s: %s", path, err == -ENODATA ? "it is empty" : strerror(-err));
        return err;
    }
    r->password[len] = '\0';
    return 0;
}

int relay_credentials(struct relay *r)
{
    const struct peer_options *o = peer_trial_options(r->trial);
    union base_ep server;
    const struct relay_account *names = r->account;
    if (!peer_option_ep(o, names->server, &server) || !*peer_option_text(o, names->user)) {
        base_error("role %s makes the allocation: --%s ADDR:PORT and --%s are needed here",
                   peer_trial_role(r->trial) == WIRE_ROLE_A ? "a" : "b", names->server, names->user);
        return -EINVAL;
    }
    memcpy(r->user, peer_option_text(o, names->user), sizeof(r->user));
    memcpy(r->password, peer_option_text(o, names->password), sizeof(r->password));
    const char *file = peer_option_text(o, names->password_file);
    return *file ? read_password(r, file) : 0;
}

/* ---- events ---------------------------------------------------------------------------------- */

static void tell(struct relay *r, enum relay_note_kind kind)
{
    relay_tell(r, &(struct relay_note){.kind = kind, .at = r->own});
}

static const union base_ep *other_side(const struct relay *r)
{
    return r->mode.both ? &r->theirs : &peer_trial_candidates(r->trial)->list[0].ep;
}

/* A NAT with several addresses may show the relay any of them. */
static void permit(struct relay *r)
{
    union base_ep seen[PEER_MAX_ADDRESSES];
    size_t n = r->resort ? peer_trial_other(r->trial, seen) : 0;
    if (n == 0) {
        r->asked = baseline_turn_permit(r->turn, other_side(r)) == 0;
        return;
    }
    for (size_t i = 0; i < n && i < MAX_PERMITTED; i++)
        r->asked += baseline_turn_permit(r->turn, &seen[i]) == 0;
}

static void allocated(struct relay *r, const struct baseline_turn_event *event)
{
    char text[BASE_EP_STRLEN];
    r->own = event->peer;
    relay_mark(r, "allocated_ns", base_now_ns());
    peer_trial_field(r->trial, "relayed", json_string(base_ep_format(&r->own, text)));
    /* Where the other side comes to us it must not come before its permission stands. */
    if (r->mode.both)
        tell(r, RELAY_NOTE_AT);
    if (!r->mode.both || base_ep_is_set(&r->theirs))
        permit(r);
}

static void permitted(struct relay *r)
{
    if (++r->granted < r->asked)
        return;
    r->permitted = true;
    relay_mark(r, "permitted_ns", base_now_ns());
    if (r->mode.both)
        tell(r, RELAY_NOTE_READY);
    else
        tell(r, RELAY_NOTE_AT);
    relay_meet(r);
}

void relay_meet(struct relay *r)
{
    bool connects = r->mode.opener == RELAY_CONNECTS && peer_trial_role(r->trial) == WIRE_ROLE_A;
    if (r->mode.both && !r->permitted && base_ep_is_set(&r->own) && base_ep_is_set(&r->theirs))
        baseline_turn_permit(r->turn, &r->theirs); /* asked twice at worst */
    if (!connects || r->connecting || !r->permitted || (r->mode.both && !r->ready))
        return;
    r->connecting = baseline_turn_connect(r->turn, other_side(r)) == 0;
}

static void data(struct relay *r, const struct baseline_turn_event *event)
{
    if (!r->mode.channel || base_ep_equal(&event->peer, &r->theirs)) {
        peer_udp_carried(r->trial, r->carrier, &event->peer, event->data, event->data_len);
        return;
    }
    /* Only now do we know where the other side's NAT has it. Strangers behind the same address are not let in by
     * this: what they send is proven or thrown away like any other datagram. */
    if (event->data_len > sizeof(r->held.data) || base_ep_equal(&event->peer, &r->held.from))
        return;
    r->held.from = event->peer;
    r->held.len = event->data_len;
    memcpy(r->held.data, event->data, event->data_len);
    baseline_turn_bind(r->turn, &event->peer);
}

static void bound(struct relay *r, const struct baseline_turn_event *event)
{
    if (!base_ep_equal(&event->peer, &r->held.from))
        return;
    r->theirs = event->peer;
    relay_mark(r, "bound_ns", base_now_ns());
    peer_udp_carried(r->trial, r->carrier, &event->peer, r->held.data, r->held.len);
}

static void on_event(void *owner, const struct baseline_turn_event *event)
{
    struct relay *r = owner;
    switch (event->kind) {
    case BASELINE_TURN_ALLOCATED:
        allocated(r, event);
        break;
    case BASELINE_TURN_PERMITTED:
        permitted(r);
        break;
    case BASELINE_TURN_BOUND:
        bound(r, event);
        break;
    case BASELINE_TURN_DATA:
        data(r, event);
        break;
    case BASELINE_TURN_CONNECTED:
        peer_trial_count(r->trial, event->incoming ? "accepted" : "connected", 1);
        peer_tcp_offer(r->trial, event->fd, &event->peer);
        break;
    case BASELINE_TURN_REFUSED:
        peer_trial_error(r->trial, "turn_refused");
        if (!event->incoming)
            relay_give_up(r, event->fate, event->code);
        break;
    case BASELINE_TURN_FAILED:
        relay_give_up(r, event->fate, event->code);
        break;
    case BASELINE_TURN_CLOSED:
        r->turn = NULL;
        relay_maybe_closed(r);
        break;
    }
}

/* ---- beginning ------------------------------------------------------------------------------- */

static int carry(void *owner, const union base_ep *to, const void *buf, size_t len)
{
    struct relay *r = owner;
    return r->turn ? baseline_turn_send(r->turn, to, buf, len) : -ENOTCONN;
}

int relay_allocate(struct relay *r)
{
    struct peer_trial *t = r->trial;
    const struct peer_options *o = peer_trial_options(t);
    const struct peer_plan *plan = peer_trial_plan(t);
    const char *way = r->account->transport ? peer_option_text(o, r->account->transport) : "udp";
    uint64_t now = base_now_ns(), deadline = peer_trial_deadline_ns(t);
    struct baseline_turn_config config = {
        .tcp = r->mode.tcp || strcmp(way, "tcp") == 0,
        .relay_tcp = r->mode.tcp,
        .user = r->user,
        .password = r->password,
        .rto_ns = 2 * plan->rtt_ns > RTO_MIN_NS ? 2 * plan->rtt_ns : RTO_MIN_NS,
        .patience_ns = deadline > now ? PATIENCE(deadline - now) : 1,
        .event = on_event,
        .owner = r,
    };
    peer_option_ep(o, r->account->server, &config.server);
    if (!r->mode.tcp) {
        int carrier = peer_udp_carrier(t, carry, r);
        if (carrier < 0)
            return carrier;
        r->carrier = (unsigned)carrier;
    }
    return baseline_turn_open(peer_trial_loop(t), &config, &r->turn);
}
