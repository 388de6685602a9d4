/* Whom to send to, from how many sockets: pure. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "predict/predict.h"
#include "udp_punch/portspray_internal.h"

/* What NATs draw from where nothing narrower is known. */
#define RANDOM_LO 1024
#define RANDOM_HI 65535
/* Descriptors beside the probes' sockets: ring, control, registered, epoll, standard streams. */
#define SPARE_FILES 64
/* As in the search plan: lost packets take something off what the mappings decide, so the budget aims above the
 * target, at a quarter of the failures that it allows. */
#define FAILURE_SHARE 0.25
#define MAX_ADDRESSES 16

static struct peer_candidates *list_of(struct peer_plan *p, enum wire_role role)
{
    return role == WIRE_ROLE_A ? &p->for_a : &p->for_b;
}

static void drop_list(struct peer_candidates *c)
{
    free(c->list);
    *c = (struct peer_candidates){.list = NULL};
}

/* The distinct addresses that the samples show, the last one first. */
static size_t addresses_of(const struct peer_facts *f, union base_ep out[MAX_ADDRESSES])
{
    size_t n = 1;
    out[0] = peer_facts_last(f)->mapped;
    for (size_t i = 0; i < f->n_samples && n < MAX_ADDRESSES; i++) {
        size_t k = 0;
        while (k < n && !base_ep_same_addr(&out[k], &f->samples[i].mapped))
            k++;
        if (k == n)
            out[n++] = f->samples[i].mapped;
    }
    return n;
}

/*
 * The share of new mappings that fall on an address that was seen. One address, seen each time, is taken for the only
 * one. Of several, n samples of which k saw an address that no other saw miss about k of n of the pool (Good 1953); at
 * least one more address is allowed for then.
 */
static double seen_share(const struct peer_facts *f, size_t n_at)
{
    size_t once = 0;
    for (size_t i = 0; i < f->n_samples; i++) {
        size_t same = 0;
        for (size_t k = 0; k < f->n_samples; k++)
            same += base_ep_same_addr(&f->samples[i].mapped, &f->samples[k].mapped);
        once += same == 1;
    }
    if (n_at == 1 || once == 0)
        return 1;
    double missed = (double)once / (double)f->n_samples, least = 1.0 / (double)(n_at + 1);
    return 1 - fmin(0.5, fmax(missed, least));
}

/* ---- the budget ------------------------------------------------------------------------------ */

/* The least number that reaches the aim where as many holes as probes are made. */
static uint32_t both_alike(uint32_t ports, double aim)
{
    uint32_t lo = 1, hi = ports / 2;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (predict_p_random(ports, mid, mid) >= aim)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static uint32_t at_most(uint64_t n, uint64_t cap)
{
    return (uint32_t)(n < cap ? n : cap);
}

/* K and M over so many ports: what was asked for, else alike, under the caps of an attempt. */
static void set_budget(const struct peer_options *o, uint64_t open_files, uint32_t ports, struct peer_search *s)
{
    double aim = 1 - (1 - peer_option_fraction(o, "target")) * FAILURE_SHARE;
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
        holes = probes = both_alike(ports, aim);
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
static double over_attempts(uint32_t ports, const struct peer_search *s)
{
    uint64_t holes = (uint64_t)s->holes * s->attempts, probes = (uint64_t)s->probes * s->attempts;
    return predict_p_random(ports, at_most(holes, ports), at_most(probes, ports));
}

/* ---- the modes ------------------------------------------------------------------------------- */

/* K ports on each address in turn, none twice. */
static int draw(struct peer_plan *out, const union base_ep *at, size_t n_at)
{
    struct peer_search *s = &out->search;
    struct base_perm perm;
    base_perm_init(&perm, (RANDOM_HI - RANDOM_LO + 1) * n_at, s->seed);
    for (uint32_t i = 0; i < s->holes; i++) {
        uint64_t drawn = base_perm_at(&perm, i);
        union base_ep ep = at[drawn % n_at];
        base_ep_set_port(&ep, (uint16_t)(RANDOM_LO + drawn / n_at));
        int err = peer_candidates_add(list_of(out, s->opener), &ep, PEER_PATH_DIRECT, NAN);
        if (err < 0)
            return err;
    }
    return 0;
}

static int plan_random(const struct peer_facts *prober, const struct peer_options *o, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    union base_ep at[MAX_ADDRESSES];
    size_t n_at = addresses_of(prober, at);
    uint32_t ports = (uint32_t)((RANDOM_HI - RANDOM_LO + 1) * n_at);
    drop_list(list_of(out, s->opener));
    set_budget(o, prober->open_files, ports, s);
    fit_attempts(out);
    out->predicted_p = over_attempts(ports, s) * seen_share(prober, n_at);
    s->random_at = at[0];
    base_ep_set_port(&s->random_at, 0);
    s->random_lo = RANDOM_LO;
    s->random_hi = RANDOM_HI;
    /* On one address the opener draws by itself: nothing to send. Too many to list: the last address alone. */
    if (n_at == 1)
        return 0;
    if (s->holes > PEER_MAX_CANDIDATES) {
        out->predicted_p = over_attempts(ports / (uint32_t)n_at, s) / (double)n_at;
        return 0;
    }
    return draw(out, at, n_at);
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
    union base_ep at[MAX_ADDRESSES];
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
    size_t n_at = addresses_of(prober, at);
    double out_in_time = s->rate ? (double)s->rate * (double)out->deadline_ns / 1e9 / (double)n_at : ports;
    uint32_t sent = out_in_time < s->holes ? (uint32_t)out_in_time : s->holes;
    out->predicted_p = predict_p_random(ports, sent, s->probes) * seen_share(prober, n_at);
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

int portspray_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                   struct base_rng *rng, struct peer_plan *out)
{
    const char *mode = options ? peer_option_text(options, "mode") : "punch";
    if (strcmp(mode, "punch") == 0)
        return peer_plan_registered(a, b, out);
    int err = peer_search_plan(a, b, options, rng, false, out);
    if (err < 0 || out->infeasible || out->search.known)
        return err;
    /* A NAT that answers SYNs is likely to answer datagrams too (ICMP), and to keep the port for itself. Others drop.
     */
    if (out->search.ttl == PEER_TTL_AUTO && !answers(out->search.opener == WIRE_ROLE_A ? b : a))
        out->search.ttl = PEER_TTL_OFF;
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
