/*
 * The technique `mapped`: role a's gateway maps its registered port (PCP, NAT-PMP, UPnP-IGD), and role b goes there.
 * What a home router offers to those who ask; the side of the peer is that of the relay.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "bench/baseline/relay.h"

/* Longer than any trial: what Ctrl-C or a crash may leave behind ends by itself. */
#define LIFETIME_S 120
/* Of the deadline, as the relay's. */
#define PATIENCE(deadline_ns) ((deadline_ns) / 4 * 3)

static const char *const modes[] = {"udp", "tcp", NULL};
static const char *const tcp_modes[] = {"tcp", NULL};
static const char *const protocols[] = {"auto", "pcp", "nat-pmp", "upnp", NULL};

static const struct peer_option mapped_options[] = {
    {.name = "protocol",
     .arg = "auto|pcp|nat-pmp|upnp",
     .value = "auto",
     .help = "role a: how to ask; auto: one after the other, until one is answered",
     .kind = PEER_OPT_CHOICE,
     .choices = protocols,
     .local = true},
    {.name = "gateway",
     .arg = "ADDR:PORT",
     .value = "",
     .help = "role a: the gateway to ask by PCP and NAT-PMP, at its port 5351 (that of the default route)",
     .kind = PEER_OPT_ENDPOINT,
     .local = true},
};

static bool maps(const struct relay *r)
{
    return peer_trial_role(r->trial) == WIRE_ROLE_A;
}

static int mapped_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                       struct base_rng *rng, struct peer_plan *out)
{
    (void)options;
    (void)rng;
    return peer_plan_registered(a, b, out);
}

static void settle(struct relay *r, enum baseline_portmap_fate fate)
{
    peer_trial_why(r->trial, baseline_portmap_fate_name(fate));
    peer_trial_fail(r->trial, fate == BASELINE_PORTMAP_NO_ANSWER  ? RECORD_TIMEOUT
                              : fate == BASELINE_PORTMAP_PROTOCOL ? RECORD_ERROR
                                                                  : RECORD_REFUSED);
}

static const char *advice_of(enum baseline_portmap_fate fate)
{
    switch (fate) {
    case BASELINE_PORTMAP_NO_ANSWER:
        return "it does not answer: it does not speak what it was asked (--protocol), or that is switched off";
    case BASELINE_PORTMAP_UNREACHABLE:
        return "nobody is there: it does not speak what it was asked (--protocol), or give --gateway";
    case BASELINE_PORTMAP_REFUSED:
        return "it is not allowed: allow it in the router's settings";
    case BASELINE_PORTMAP_RESOURCES:
        return "no port is left, or this host has its quota";
    case BASELINE_PORTMAP_NETWORK:
        return "the router has no address outside, or a private one: it is behind another NAT";
    default:
        return "it said what makes no sense";
    }
}

static void give_up(struct relay *r, enum baseline_portmap_fate fate, uint16_t code)
{
    struct relay_note note = {.kind = RELAY_NOTE_FAILED, .fate = (enum baseline_turn_fate)fate};
    base_error("the gateway %s: %s", peer_trial_over(r->trial) ? "has ended the mapping" : "maps no port",
               advice_of(fate));
    if (code)
        peer_trial_field(r->trial, "map_code", json_integer(code));
    if (!peer_trial_over(r->trial))
        relay_tell(r, &note);
    settle(r, fate);
}

static void mapped(struct relay *r, const struct baseline_portmap_event *event)
{
    char text[BASE_EP_STRLEN];
    peer_trial_field(r->trial, "mapped_port", json_string(base_ep_format(&event->external, text)));
    peer_trial_field(r->trial, "mapped_by", json_string(baseline_portmap_protocol_name(event->protocol)));
    if (event->found_ns)
        relay_mark(r, "gateway_ns", event->found_ns);
    relay_mark(r, "mapped_ns", base_now_ns());
    relay_tell(r, &(struct relay_note){.kind = RELAY_NOTE_AT, .at = event->external});
}

static void on_event(void *owner, const struct baseline_portmap_event *event)
{
    struct relay *r = owner;
    switch (event->kind) {
    case BASELINE_PORTMAP_MAPPED:
        mapped(r, event);
        break;
    case BASELINE_PORTMAP_FAILED:
        give_up(r, event->fate, event->code);
        break;
    case BASELINE_PORTMAP_CLOSED:
        if (event->fate != BASELINE_PORTMAP_OK)
            base_warn("the gateway does not say that the mapped port is closed again: it closes by itself, within %d s",
                      LIFETIME_S);
        r->map = NULL;
        relay_maybe_closed(r);
        break;
    }
}

static int mapped_open(struct peer_trial *t)
{
    struct relay_mode mode = {.name = "mapped", .tcp = strcmp(peer_trial_plan(t)->mode, "tcp") == 0};
    struct relay *r = relay_begin(t, mode);
    /* Role a listens, role b connects. */
    r->mode.opener = maps(r) ? RELAY_CONNECTS : RELAY_WAITS;
    return maps(r) ? relay_peer_open(r) : 0;
}

static enum baseline_portmap_protocol protocol_of(const struct peer_options *options)
{
    const char *name = peer_option_text(options, "protocol");
    int protocol = BASELINE_PORTMAP_AUTO;
    while (protocol + 1 < BASELINE_PORTMAP_PROTOCOLS && strcmp(baseline_portmap_protocol_name(protocol), name) != 0)
        protocol++;
    return (enum baseline_portmap_protocol)protocol;
}

static void mapped_go(struct peer_trial *t)
{
    struct relay *r = peer_trial_state(t);
    struct baseline_portmap_config config = {.protocol = protocol_of(peer_trial_options(t)),
                                             .tcp = r->mode.tcp,
                                             .port = peer_trial_port(t),
                                             .lifetime_s = LIFETIME_S,
                                             .patience_ns = PATIENCE(peer_trial_plan(t)->deadline_ns),
                                             .event = on_event,
                                             .owner = r};
    int err = 0;
    if (!maps(r))
        return; /* until we are told where */
    if (config.protocol != BASELINE_PORTMAP_UPNP && !peer_option_ep(peer_trial_options(t), "gateway", &config.gateway))
        err = baseline_gateway(&config.gateway);
    if (err == 0)
        err = baseline_portmap_open(peer_trial_loop(t), &config, &r->map);
    if (err < 0)
        give_up(r, BASELINE_PORTMAP_UNREACHABLE, 0);
}

static void mapped_event(struct peer_trial *t, const struct peer_event *event)
{
    struct relay *r = peer_trial_state(t);
    struct relay_note note;
    switch (event->kind) {
    case PEER_EVENT_NOTE:
        if (maps(r) || r->stopping || relay_note_decode(event->note, event->note_len, &note) < 0)
            break;
        if (note.kind == RELAY_NOTE_FAILED) {
            settle(r, (enum baseline_portmap_fate)note.fate);
        } else if (note.kind == RELAY_NOTE_AT) {
            r->theirs = note.at;
            relay_peer_go(r);
        }
        break;
    case PEER_EVENT_LOST:
        peer_trial_error(t, event->err == -EACCES ? "strangers" : "reset");
        if (!maps(r) && !r->stopping)
            relay_peer_again(r);
        break;
    case PEER_EVENT_VERIFIED:
        loop_cancel(peer_trial_loop(t), &r->timer);
        break;
    case PEER_EVENT_CHOSEN:
        relay_stop(r); /* the mapping stays: the path goes through it */
        break;
    default:
        break;
    }
}

static void mapped_close(struct peer_trial *t)
{
    struct relay *r = peer_trial_state(t);
    r->closing = true;
    relay_stop(r);
    if (r->map)
        baseline_portmap_close(r->map);
    relay_maybe_closed(r);
}

const struct peer_technique mapped_technique = {
    .name = "mapped",
    .doc = "Connects two peers by a port that the gateway of role a maps for it (PCP, NAT-PMP, UPnP-IGD), and measures "
           "it: what a router gives to those who ask, to compare punching with.",
    .transport = PEER_UDP,
    .modes = modes,
    .tcp_modes = tcp_modes,
    .options = mapped_options,
    .n_options = BASE_ARRAY_LEN(mapped_options),
    .samples = 1,
    .plan = mapped_plan,
    .state_size = sizeof(struct relay),
    .open = mapped_open,
    .go = mapped_go,
    .event = mapped_event,
    .close = mapped_close,
};
