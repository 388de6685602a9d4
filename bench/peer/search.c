/* The plan of a search: who opens, how many holes and probes, where to, in which order. Pure. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer/internal.h"

/*
 * Several external addresses mean a carrier, and carriers limit the flows of a subscriber (RFC 6888, REQ-4), often to
 * about a thousand: the prober's share of a search stays below that, and more holes make up for it.
 */
#define CARRIER_PROBES 900
/* Of the article's window: how many probes, unless told. */
#define WINDOW_PROBES  32
#define DEFAULT_TARGET 0.99
/* A property that is known so well is relied on. */
#define SURE_ENOUGH 0.9
/* Descriptors that a peer needs beside its holes or probes: ring, control, samples, listener, streams. */
#define SPARE_FILES 64
static const char *const ttl_words[] = {"off", "auto", NULL};
static const char *const auto_word[] = {"auto", NULL};
static const char *const openers[] = {"auto", "a", "b", NULL};
static const char *const orders[] = {"auto", "together", "holes", "probes", NULL};

const struct peer_option peer_search_options[PEER_SEARCH_N_OPTIONS] = {
    {.name = "target",
     .arg = "P%",
     .value = "99%",
     .help = "success probability that the budget is planned for",
     .kind = PEER_OPT_PERCENT},
    {.name = "holes",
     .arg = "N",
     .value = "auto",
     .help = "holes that the opener makes",
     .kind = PEER_OPT_WORD_OR_U64,
     .lo = 1,
     .hi = 65535,
     .choices = auto_word},
    {.name = "probes",
     .arg = "N",
     .value = "auto",
     .help = "probes that the prober sends",
     .kind = PEER_OPT_WORD_OR_U64,
     .lo = 1,
     .hi = 65535,
     .choices = auto_word},
    {.name = "window",
     .arg = "LO,HI",
     .value = "off",
     .help = "holes to the ports from LO to HI beside the prober's last seen one, and no others",
     .kind = PEER_OPT_SPAN,
     .lo = 0,
     .hi = 65535},
    {.name = "ttl",
     .arg = "TTL",
     .value = "auto",
     .help = "time to live of the opener's holes; auto: they end before the prober's NAT where that may answer them",
     .kind = PEER_OPT_WORD_OR_U64,
     .lo = 1,
     .hi = 255,
     .choices = ttl_words},
    {.name = "order",
     .arg = "ORDER",
     .value = "auto",
     .help = "what comes first",
     .kind = PEER_OPT_CHOICE,
     .choices = orders},
    {.name = "opener",
     .arg = "ROLE",
     .value = "auto",
     .help = "who makes the holes",
     .kind = PEER_OPT_CHOICE,
     .choices = openers},
    {.name = "entries",
     .arg = "N",
     .value = "2000",
     .help = "holes or probes in flight at most, on each side",
     .kind = PEER_OPT_U64,
     .lo = 1,
     .hi = 65535},
    {.name = "attempts",
     .arg = "N",
     .value = "auto",
     .help = "searches in one trial, each with another strategy than the one before; auto: 1, in mode auto up to 3",
     .kind = PEER_OPT_WORD_OR_U64,
     .lo = 1,
     .hi = 100,
     .choices = auto_word},
};

const char *peer_order_name(enum peer_order order)
{
    static const char *const names[PEER_ORDERS] = {"together", "holes", "probes"};
    return order < PEER_ORDERS ? names[order] : "together";
}

/* ---- sides ----------------------------------------------------------------------------------- */

enum wire_role peer_other(enum wire_role role)
{
    return role == WIRE_ROLE_A ? WIRE_ROLE_B : WIRE_ROLE_A;
}

struct peer_candidates *peer_plan_list(struct peer_plan *p, enum wire_role role)
{
    return role == WIRE_ROLE_A ? &p->for_a : &p->for_b;
}

bool peer_facts_stable(const struct peer_facts *f)
{
    return f->n_samples > 1 && strcmp(peer_facts_mapping(f), "same") == 0;
}

static enum peer_path_kind kind_of(const struct peer_facts *from, const union base_ep *target)
{
    union base_ep own = peer_facts_mapped(from);
    return base_ep_same_addr(&own, target) ? PEER_PATH_HAIRPIN : PEER_PATH_DIRECT;
}

static int role_index(enum wire_role role)
{
    return role == WIRE_ROLE_A ? 0 : 1;
}

/* ---- options --------------------------------------------------------------------------------- */

/* What the options leave open is 0 (holes, probes) or -1 (opener). */
struct asked {
    uint32_t holes, probes;
    bool window;
    int lo, hi;
    int opener; /* 0: a, 1: b */
    bool any_order, any_ttl;
};

/* A technique without the search's options has their defaults. */
static const char *text_of(const struct peer_options *o, const char *name)
{
    for (size_t i = 0; i < PEER_SEARCH_N_OPTIONS && !peer_options_find(o, name); i++)
        if (strcmp(peer_search_options[i].name, name) == 0)
            return peer_search_options[i].value;
    return peer_option_text(o, name);
}

static bool number_of(const struct peer_options *o, const char *name, uint64_t *n)
{
    return base_parse_u64(text_of(o, name), 0, UINT64_MAX, n) == 0;
}

static double aim_of(const struct peer_options *o)
{
    return peer_search_aim(peer_options_find(o, "target") ? peer_option_fraction(o, "target") : DEFAULT_TARGET);
}

static void read_options(const struct peer_options *o, struct asked *asked, struct peer_search *s)
{
    const char *order = text_of(o, "order"), *ttl = text_of(o, "ttl"), *opener = text_of(o, "opener");
    uint64_t n;
    *asked = (struct asked){.opener = strcmp(opener, "a") == 0 ? 0 : strcmp(opener, "b") == 0 ? 1 : -1};
    asked->holes = number_of(o, "holes", &n) ? (uint32_t)n : 0;
    asked->probes = number_of(o, "probes", &n) ? (uint32_t)n : 0;
    asked->window = peer_options_find(o, "window") && peer_option_span(o, "window", &asked->lo, &asked->hi);
    asked->any_ttl = strcmp(ttl, "auto") == 0;
    asked->any_order = strcmp(order, "auto") == 0;
    s->attempts = number_of(o, "attempts", &n) ? (uint32_t)n : 1;
    s->entries = number_of(o, "entries", &n) ? (uint32_t)n : 1;
    s->rate = (uint32_t)peer_option_u64(o, "rate");
    s->ttl = asked->any_ttl ? PEER_TTL_AUTO : PEER_TTL_OFF;
    if (number_of(o, "ttl", &n))
        s->ttl = (uint16_t)n;
    s->order = PEER_TOGETHER;
    for (int i = 0; i < PEER_ORDERS; i++)
        if (strcmp(order, peer_order_name((enum peer_order)i)) == 0)
            s->order = (enum peer_order)i;
}

static uint64_t most_files(const struct peer_facts *f)
{
    return f->open_files == 0 ? UINT64_MAX : f->open_files > SPARE_FILES ? f->open_files - SPARE_FILES : 1;
}

/* What was asked for must fit; what is chosen is capped. */
static int check_files(const struct peer_facts *f, const char *who, const char *what, uint32_t want,
                       const struct peer_search *s, bool descriptors, struct peer_plan *out)
{
    if (descriptors && want > most_files(f)) {
        snprintf(out->why, sizeof(out->why),
                 "%u %s need %u open files, but the %s's limit is %llu: raise it with 'ulimit -n', or use fewer --%s",
                 want, what, want + SPARE_FILES, who, (unsigned long long)f->open_files, what);
        return -EMFILE;
    }
    if (descriptors && want > s->entries) {
        snprintf(out->why, sizeof(out->why), "%u %s are more than --entries %u allows in flight: raise it too", want,
                 what, s->entries);
        return -E2BIG;
    }
    return 0;
}

/* ---- what the NATs answer decides the order and the time to live ------------------------------- */

static bool answers(const struct peer_facts *f)
{
    int syn = f->behaviour.syn.value;
    return syn == PREDICT_SYN_RST || syn == PREDICT_SYN_ICMP || syn == PREDICT_SYN_HOLD;
}

/*
 * Holes that reach a NAT which drops what it did not ask for do no harm, and a SYN that finds a probe's mapping there
 * comes through. One that answers with RST closes the hole: then SYNs end before it; or, at the full time to live, they
 * must find the probes' mappings ready. Where the opener's NAT answers, probes wait until the holes stand.
 */
static void choose_order(const struct peer_facts *opener, const struct peer_facts *prober, const struct asked *asked,
                         bool tcp, struct peer_search *s)
{
    /* Where both move each SYN may be the one that the other side waits for: all go all the way, and stay. */
    if (s->meet) {
        s->ttl = asked->any_ttl ? PEER_TTL_OFF : s->ttl;
        return;
    }
    if (asked->any_ttl && prober->behaviour.syn.value == PREDICT_SYN_DROP &&
        prober->behaviour.syn.confidence >= SURE_ENOUGH)
        s->ttl = PEER_TTL_OFF;
    if (!asked->any_order)
        return;
    /* Probes that come before their holes would use up what a carrier allows. */
    if (answers(opener) || (s->pool && tcp && s->ttl != PEER_TTL_OFF))
        s->order = PEER_HOLES_FIRST;
    else if (answers(prober) && s->ttl == PEER_TTL_OFF)
        s->order = PEER_PROBES_FIRST;
}

/* ---- the ways -------------------------------------------------------------------------------- */

void peer_search_known(struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    s->known = true;
    s->ttl = PEER_TTL_OFF;
    s->order = PEER_TOGETHER;
    s->holes = (uint32_t)peer_plan_list(out, s->opener)->n;
    s->probes = (uint32_t)peer_plan_list(out, peer_other(s->opener))->n;
}

/* Both mappings stay: each side knows the other's endpoint, and tries it until the deadline. */
static int plan_known(const struct peer_facts *a, const struct peer_facts *b, struct peer_plan *out)
{
    int err = peer_plan_registered(a, b, out);
    peer_search_known(out);
    return err;
}

/* The prober aims at one endpoint: the opener's registered one, or its likeliest next one. */
static int aim_probes(const struct peer_facts *opener, const struct peer_facts *prober,
                      const struct peer_timing *timing, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    union base_ep target = peer_facts_mapped(opener);
    double share = 1;
    int err = s->meet ? peer_predict_one(opener, s->holes, timing, &target, &share) : 0;
    if (err < 0)
        return err;
    out->predicted_p *= share;
    return peer_candidates_add(peer_plan_list(out, peer_other(s->opener)), &target, kind_of(prober, &target), NAN);
}

/* Where holes are drawn from when the list ends: the range that the behaviour names, else all unprivileged ports. */
static void draw_rest(const struct peer_facts *prober, struct peer_search *s)
{
    s->random_at = prober->samples[0].mapped;
    base_ep_set_port(&s->random_at, 0);
    s->random_lo = PEER_RANDOM_LO;
    s->random_hi = PEER_RANDOM_HI;
}

/* Spread over all addresses of a pool. */
static int aim_at_pool(const struct peer_facts *prober, struct peer_plan *out)
{
    union base_ep at[PEER_MAX_ADDRESSES];
    return peer_search_draw(out, at, peer_facts_addresses(prober, at));
}

static int aim_holes(const struct peer_facts *opener, const struct peer_facts *prober, const struct peer_timing *timing,
                     struct base_rng *rng, bool one, double *p, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    struct peer_candidates *list = peer_plan_list(out, s->opener);
    if (one) {
        union base_ep target;
        double share;
        int res = peer_predict_one(prober, s->probes, timing, &target, &share);
        out->predicted_p *= share;
        return res < 0 ? res : peer_candidates_append(list, &target, kind_of(opener, &target), NAN);
    }
    /* A later attempt makes more holes: the next best ones. */
    uint32_t most = s->attempts > 1 && s->entries > s->holes ? s->entries : s->holes;
    uint32_t want = most < PEER_MAX_CANDIDATES ? most : PEER_MAX_CANDIDATES;
    union base_ep *eps = calloc(want, sizeof(*eps));
    float *ps = calloc(want, sizeof(*ps));
    int n = eps && ps ? peer_predict_rank(prober, s->probes, timing, rng, eps, ps, want) : -ENOMEM;
    int err = n < 0 ? n : 0;
    *p = 0;
    for (int i = 0; i < n && err == 0; i++) {
        *p += (uint32_t)i < s->holes ? (double)ps[i] : 0;
        err = peer_candidates_append(list, &eps[i], kind_of(opener, &eps[i]), ps[i]);
    }
    free(eps);
    free(ps);
    if (err == 0 && (uint32_t)n == want && want < s->holes)
        draw_rest(prober, s);
    else if (err == 0 && (uint32_t)n < s->holes)
        s->holes = (uint32_t)n;
    return err;
}

/* The article's: a fixed window around the last seen port. Past the ends of the port range there is nothing. */
static int aim_window(const struct peer_facts *opener, const struct peer_facts *prober, const struct asked *asked,
                      const struct peer_timing *timing, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    struct peer_candidates *list = peer_plan_list(out, s->opener);
    union base_ep ep = peer_facts_last(prober)->mapped;
    int around = base_ep_port(&ep), err = 0;
    for (int port = around + asked->lo; port <= around + asked->hi && err == 0; port++) {
        if (port < 1 || port > UINT16_MAX)
            continue;
        base_ep_set_port(&ep, (uint16_t)port);
        err = peer_candidates_append(list, &ep, kind_of(opener, &ep), NAN);
    }
    if (err == -ENOSPC)
        snprintf(out->why, sizeof(out->why), "the window has more than %d ports", PEER_MAX_CANDIDATES);
    s->holes = (uint32_t)list->n;
    out->predicted_p = err == 0 ? peer_predict_success(prober, s->probes, timing, list) : 0;
    return err;
}

/* ---- the plan -------------------------------------------------------------------------------- */

static void choose_roles(const struct peer_facts *const sides[2], const struct asked *asked, struct peer_search *s)
{
    int opener = asked->opener;
    if (opener < 0)
        opener = peer_facts_stable(sides[1]) && !peer_facts_stable(sides[0]) ? 1 : 0;
    s->opener = opener ? WIRE_ROLE_B : WIRE_ROLE_A;
}

/* The cheapest K + M over all unprivileged ports: K and M alike. False where the caps do not allow it. */
static bool random_budget(double aim, uint32_t most, struct peer_plan *out)
{
    uint32_t n = peer_search_alike(PEER_RANDOM_PORTS, aim, most);
    out->search.holes = out->search.probes = n;
    out->predicted_p = predict_p_random(PEER_RANDOM_PORTS, n, n);
    return out->predicted_p >= aim;
}

/* The same over all addresses that were seen: as far as the caps allow. */
static void pool_budget(const struct peer_facts *prober, double aim, uint32_t most, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    union base_ep at[PEER_MAX_ADDRESSES];
    uint32_t ports = PEER_RANDOM_PORTS * (uint32_t)peer_facts_addresses(prober, at);
    double seen = peer_facts_seen_share(prober);
    s->probes = peer_search_alike(ports, aim, most < CARRIER_PROBES ? most : CARRIER_PROBES);
    s->holes = predict_k_random(ports, (uint32_t)(s->probes * seen), aim);
    s->holes = s->holes < most ? s->holes : most;
    s->pool = true;
    out->predicted_p = peer_search_drawn_p(ports, seen, s->holes, s->probes);
}

/* Asks predict for the roles and the budget that are left open. */
static int choose_budget(const struct peer_facts *const sides[2], const struct peer_options *options,
                         const struct asked *asked, const struct peer_timing *timing,
                         const struct peer_search_limits *limits, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    struct predict_caps caps = predict_default_caps();
    struct predict_plan plan;
    uint64_t files = most_files(sides[0]) < most_files(sides[1]) ? most_files(sides[0]) : most_files(sides[1]);
    /* Where only one mapping stays there is no question who opens. */
    int opener = asked->opener;
    if (opener < 0 && peer_facts_stable(sides[0]) != peer_facts_stable(sides[1]))
        opener = peer_facts_stable(sides[0]) ? 0 : 1;
    uint32_t most = timing->tcp && files < s->entries ? (uint32_t)files : s->entries;
    double aim = aim_of(options);
    bool one_stays = opener >= 0 && peer_facts_stable(sides[opener]);
    if (!limits && one_stays && peer_predict_is_random_pool(sides[!opener], timing)) {
        s->opener = opener ? WIRE_ROLE_B : WIRE_ROLE_A;
        pool_budget(sides[!opener], aim, most, out);
        return 0;
    }
    if (!limits && one_stays && peer_predict_is_random(sides[!opener], timing) && random_budget(aim, most, out)) {
        s->opener = opener ? WIRE_ROLE_B : WIRE_ROLE_A;
        draw_rest(sides[!opener], s);
        return 0;
    }
    caps.target = aim;
    caps.no_meet = one_stays;
    caps.max_holes = limits && limits->holes && limits->holes < most ? limits->holes : most;
    caps.max_probes = limits && limits->probes && limits->probes < most ? limits->probes : most;
    int err = peer_predict_plan(sides[0], sides[1], opener, timing, &caps, &plan);
    if (err < 0)
        return err;
    s->opener = plan.opener ? WIRE_ROLE_B : WIRE_ROLE_A;
    s->meet = plan.way == PREDICT_MEET && plan.verdict != PREDICT_INFEASIBLE;
    s->holes = plan.holes;
    s->probes = plan.probes;
    out->predicted_p = plan.p;
    out->infeasible = plan.verdict == PREDICT_INFEASIBLE;
    return 0;
}

/* One of the two numbers was asked for: the other one is what reaches the target over all unprivileged ports. */
static void fill_budget(const struct peer_options *options, const struct asked *asked, struct peer_search *s)
{
    double aim = aim_of(options);
    s->holes = asked->holes ? asked->holes : predict_k_random(PEER_RANDOM_PORTS, asked->probes, aim);
    s->probes = asked->probes   ? asked->probes
                : asked->window ? WINDOW_PROBES
                                : predict_k_random(PEER_RANDOM_PORTS, s->holes, aim);
    s->holes = s->holes < s->entries || asked->holes ? s->holes : s->entries;
    s->probes = s->probes < s->entries || asked->probes ? s->probes : s->entries;
}

void peer_search_begin(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                       struct peer_plan *out)
{
    const struct peer_facts *const sides[2] = {a, b};
    struct asked asked;
    out->search = (struct peer_search){.on = true};
    read_options(options, &asked, &out->search);
    choose_roles(sides, &asked, &out->search);
}

/* sides: of a and b. */
static int plan_sides(const struct peer_facts *const sides[2], const struct peer_options *options, struct base_rng *rng,
                      bool tcp, const struct peer_search_limits *limits, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    struct asked asked;
    *s = (struct peer_search){.on = true};
    read_options(options, &asked, s);
    if (sides[0]->n_samples == 0 || sides[1]->n_samples == 0)
        return -EINVAL;
    const struct peer_timing timing = {s->rate, out->rtt_ns, tcp};
    choose_roles(sides, &asked, s);
    bool fixed = asked.window || asked.holes || asked.probes;
    if (peer_facts_stable(sides[0]) && peer_facts_stable(sides[1]) && !fixed)
        return plan_known(sides[0], sides[1], out);
    int err = 0;
    if (fixed)
        fill_budget(options, &asked, s);
    else
        err = choose_budget(sides, options, &asked, &timing, limits, out);
    if (err < 0 || out->infeasible)
        return err;
    const struct peer_facts *opener = sides[role_index(s->opener)], *prober = sides[!role_index(s->opener)];
    err = check_files(opener, "opener", "holes", s->holes, s, tcp, out);
    if (err == 0)
        err = check_files(prober, "prober", "probes", s->probes, s, tcp, out);
    if (err < 0)
        return err;
    choose_order(opener, prober, &asked, tcp, s);
    s->seed = base_rng_u64(rng);
    if (s->attempts > 1 && !s->meet)
        s->drift = peer_predict_drift(prober, s->probes, &timing);
    double p = 0;
    if (base_ep_is_set(&s->random_at)) /* nothing to rank */
        return aim_probes(opener, prober, &timing, out);
    err = asked.window ? aim_window(opener, prober, &asked, &timing, out)
          : s->pool    ? aim_at_pool(prober, out)
                       : aim_holes(opener, prober, &timing, rng, s->meet || (!fixed && s->holes == 1), &p, out);
    if (err == 0)
        err = aim_probes(opener, prober, &timing, out);
    if (fixed && !asked.window)
        out->predicted_p =
            base_ep_is_set(&s->random_at) ? predict_p_random(PEER_RANDOM_PORTS, s->holes, s->probes) : fmin(1, p);
    return err;
}

int peer_search_plan_within(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                            struct base_rng *rng, bool tcp, const struct peer_search_limits *limits,
                            struct peer_plan *out)
{
    struct peer_facts own[2] = {*a, *b}; /* the samples are the caller's */
    const struct peer_facts *const sides[2] = {&own[0], &own[1]};
    for (int i = 0; i < 2; i++)
        if (!own[i].judged)
            peer_predict_judge(&own[i]);
    return plan_sides(sides, options, rng, tcp, limits, out);
}

int peer_search_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                     struct base_rng *rng, bool tcp, struct peer_plan *out)
{
    return peer_search_plan_within(a, b, options, rng, tcp, NULL, out);
}
