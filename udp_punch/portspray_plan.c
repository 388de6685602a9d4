/* Whom to send to, from how many sockets: pure. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "predict/predict.h"
#include "udp_punch/portspray_internal.h"

/* Descriptors beside the probes' sockets: ring, control, registered, epoll, standard streams. */
#define SPARE_FILES 64

static struct peer_candidates *list_of(struct peer_plan *p, enum wire_role role)
{
    return role == WIRE_ROLE_A ? &p->for_a : &p->for_b;
}

static void drop_list(struct peer_candidates *c)
{
    free(c->list);
    *c = (struct peer_candidates){.list = NULL};
}

/* ---- the budget ------------------------------------------------------------------------------ */

static uint32_t at_most(uint64_t n, uint64_t cap)
{
    return (uint32_t)(n < cap ? n : cap);
}

/* K and M over so many ports: what was asked for, else alike, under the caps of an attempt. */
static void set_budget(const struct peer_options *o, uint64_t open_files, uint32_t ports, struct peer_search *s)
{
    double aim = peer_search_aim(peer_option_fraction(o, "target"));
    uint64_t cap = s->entries / s->attempts, files = open_files > SPARE_FILES ? open_files - SPARE_FILES : 1;
    uint64_t holes = 0, probes = 0;
    bool want_holes = peer_option_number(o, "holes", &holes), want_probes = peer_option_number(o, "probes", &probes);
    if (cap == 0)
        cap = 1;
    if (files / s->attempts < cap && open_files)
        files = files / s->attempts ? files / s->attempts : 1;
    else
        files = cap;
    if (!want_holes && !want_probes)
        holes = probes = peer_search_alike(ports, aim, ports);
    if (!want_probes)
        probes = at_most(want_holes ? predict_k_random(ports, (uint32_t)holes, aim) : probes, files);
    if (!want_holes) {
        holes = probes ? predict_k_random(ports, (uint32_t)probes, aim) : 0;
        holes = at_most(holes, cap < ports ? cap : ports);
    }
    s->holes = (uint32_t)holes;
    s->probes = (uint32_t)probes;
}

/* A socket for each probe, of all attempts: they stay open, so that a late answer counts. */
static int check_files(const struct peer_options *o, const struct peer_facts *prober, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    uint64_t need = (uint64_t)s->probes * s->attempts + SPARE_FILES, n;
    if (!prober->open_files || need <= prober->open_files)
        return 0;
    if (!peer_option_number(o, "probes", &n)) {
        uint64_t room = prober->open_files > SPARE_FILES ? (prober->open_files - SPARE_FILES) / s->attempts : 1;
        s->probes = room ? (uint32_t)room : 1;
        return 0;
    }
    snprintf(
        out->why, sizeof(out->why),
        "%u probes in %u attempts need %llu open files, but the prober's limit is %llu: raise it with 'ulimit -n', "
        "or use fewer --probes",
        s->probes, s->attempts, (unsigned long long)need, (unsigned long long)prober->open_files);
    return -EMFILE;
}

/*
 * All attempts together stay under the cap on entries, and as many are planned as the deadline has room for: each takes
 * what the rate needs, the silence after it, and the samples of the next one.
 */
static void fit_attempts(struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    uint32_t most = s->holes > s->probes ? s->holes : s->probes;
    uint64_t one = portspray_silence_of(out->rtt_ns) + 2 * out->rtt_ns;
    if (most == 0)
        return;
    if (s->rate)
        one += 2 * (uint64_t)most * BASE_NS_PER_S / s->rate;
    uint64_t fit = s->entries / most < out->deadline_ns / one ? s->entries / most : out->deadline_ns / one;
    if (fit < s->attempts)
        s->attempts = fit ? (uint32_t)fit : 1;
}

/* What earlier attempts opened and probed still stands: the attempts add up to one large search. */
static double over_attempts(uint32_t ports, double seen, const struct peer_search *s)
{
    return peer_search_drawn_p(ports, seen, (uint64_t)s->holes * s->attempts, (uint64_t)s->probes * s->attempts);
}

/* ---- the modes ------------------------------------------------------------------------------- */

static int plan_random(const struct peer_facts *prober, const struct peer_options *o, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    union base_ep at[PEER_MAX_ADDRESSES];
    size_t n_at = peer_facts_addresses(prober, at);
    uint32_t ports = (uint32_t)(PEER_RANDOM_PORTS * n_at);
    drop_list(list_of(out, s->opener));
    set_budget(o, prober->open_files, ports, s);
    fit_attempts(out);
    out->predicted_p = over_attempts(ports, peer_facts_seen_share(prober), s);
    s->random_at = at[0];
    base_ep_set_port(&s->random_at, 0);
    s->random_lo = PEER_RANDOM_LO;
    s->random_hi = PEER_RANDOM_HI;
    /* On one address the opener draws by itself: nothing to send. Too many to list: the last address alone. */
    if (n_at == 1)
        return 0;
    if (s->holes > PEER_MAX_CANDIDATES) {
        out->predicted_p = over_attempts(ports / (uint32_t)n_at, 1 / (double)n_at, s);
        return 0;
    }
    return peer_search_draw(out, at, n_at);
}

/* The candidates are the search plan's. A later attempt aims anew, and is as likely as the first. */
static void plan_window(struct peer_plan *out)
{
    fit_attempts(out);
    out->predicted_p = predict_p_retries(out->predicted_p, out->search.attempts);
}

/* Full, by name, lifts the caps that are not given. */
static int plan_full(const struct peer_facts *prober, const struct peer_options *o, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    struct peer_candidates *holes = list_of(out, s->opener);
    union base_ep first = holes->n && !isnan(holes->list[0].p) ? holes->list[0].ep : peer_facts_last(prober)->mapped;
    uint32_t ports = PORTSPRAY_HI - PORTSPRAY_LO + 1;
    union base_ep at[PEER_MAX_ADDRESSES];
    uint64_t n;
    drop_list(holes);
    if (!peer_option_given(o, "rate"))
        s->rate = 0;
    if (!peer_option_given(o, "entries"))
        s->entries = ports;
    s->holes = at_most(peer_option_number(o, "holes", &n) ? n : ports, s->entries);
    s->probes = peer_option_number(o, "probes", &n) ? (uint32_t)n : 1;
    s->random_at = first;
    base_ep_set_port(&s->random_at, 0);
    s->random_lo = PORTSPRAY_LO;
    s->random_hi = PORTSPRAY_HI;
    size_t n_at = peer_facts_addresses(prober, at);
    double out_in_time = s->rate ? (double)s->rate * (double)out->deadline_ns / 1e9 / (double)n_at : ports;
    uint32_t sent = out_in_time < s->holes ? (uint32_t)out_in_time : s->holes;
    out->predicted_p = predict_p_random(ports, sent, s->probes) * peer_facts_seen_share(prober);
    /* One candidate for each address: the sweep goes to all of them with each port. */
    int err = peer_candidates_add(holes, &first, PEER_PATH_DIRECT, NAN);
    for (size_t i = 0; i < n_at && err == 0; i++) {
        base_ep_set_port(&at[i], base_ep_port(&first));
        err = peer_candidates_add(holes, &at[i], PEER_PATH_DIRECT, NAN);
    }
    return err;
}

static bool moves(const struct peer_facts *f)
{
    for (size_t i = 1; i < f->n_samples; i++)
        if (!base_ep_equal(&f->samples[0].mapped, &f->samples[i].mapped))
            return true;
    return false;
}

/* One sample says nothing of the opener's mapping: by name, these modes take it that it stays. */
static int from_registered(const struct peer_facts *opener, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    struct peer_candidates *probes = list_of(out, s->opener == WIRE_ROLE_A ? WIRE_ROLE_B : WIRE_ROLE_A);
    s->meet = false;
    drop_list(probes);
    return peer_candidates_add(probes, &opener->samples[0].mapped, PEER_PATH_DIRECT, NAN);
}

static bool answers(const struct peer_facts *f)
{
    int syn = f->behaviour.syn.value;
    return syn == PREDICT_SYN_RST || syn == PREDICT_SYN_ICMP;
}

/* A NAT that answers SYNs is likely to answer datagrams too (ICMP), and to keep the port for itself. Others drop. */
static void choose_ttl(const struct peer_facts *a, const struct peer_facts *b, struct peer_search *s)
{
    if (s->ttl == PEER_TTL_AUTO && !answers(s->opener == WIRE_ROLE_A ? b : a))
        s->ttl = PEER_TTL_OFF;
}

static int plan_auto(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                     struct base_rng *rng, const struct peer_ways *ways, struct peer_plan *out)
{
    int err = peer_auto_plan(a, b, options, rng, ways, out);
    choose_ttl(a, b, &out->search);
    return err < 0 || out->infeasible || out->search.known
               ? err
               : check_files(options, out->search.opener == WIRE_ROLE_A ? b : a, out);
}

int portspray_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                   struct base_rng *rng, struct peer_plan *out)
{
    static const struct peer_ways ways = {.punch = "punch", .search = "window"};
    const char *mode = options ? peer_option_text(options, "mode") : "punch";
    if (strcmp(mode, "auto") == 0)
        return plan_auto(a, b, options, rng, &ways, out);
    if (strcmp(mode, "punch") == 0)
        return peer_plan_registered(a, b, out);
    int err = peer_search_plan(a, b, options, rng, false, out);
    if (err < 0 || out->infeasible || out->search.known)
        return err;
    choose_ttl(a, b, &out->search);
    const struct peer_facts *opener = out->search.opener == WIRE_ROLE_A ? a : b;
    const struct peer_facts *prober = out->search.opener == WIRE_ROLE_A ? b : a;
    /* Where both move, only the search plan knows a way. */
    if (out->search.meet && moves(opener))
        return check_files(options, prober, out);
    if (out->search.meet && strcmp(mode, "window") != 0)
        err = from_registered(opener, out);
    if (err < 0)
        return err;
    if (strcmp(mode, "random") == 0)
        err = plan_random(prober, options, out);
    else if (strcmp(mode, "full") == 0)
        err = plan_full(prober, options, out);
    else
        plan_window(out);
    return err < 0 ? err : check_files(options, prober, out);
}
