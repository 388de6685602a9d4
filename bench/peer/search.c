/* The plan of a search: who opens, how many holes and probes, where to, in which order. Pure. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/peer/internal.h"

/* Ports that NATs draw from where nothing narrower is known: all but the privileged ones. */
#define RANDOM_LO 1024
#define RANDOM_HI 65535
/* Descriptors that a peer needs beside its holes or probes: ring, control, samples, listener, streams. */
#define SPARE_FILES 64
/*
 * The mappings decide the plan's probability; lost packets and holes that came too late take something off it. So the
 * budget aims at a quarter of the failures that the target allows: what is reached then lies above the target, not
 * around it.
 */
#define FAILURE_SHARE 0.25

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
     .value = "1",
     .help = "searches in one trial, each with another strategy than the one before",
     .kind = PEER_OPT_U64,
     .lo = 1,
     .hi = 100},
};

const char *peer_order_name(enum peer_order order)
{
    static const char *const names[PEER_ORDERS] = {"together", "holes", "probes"};
    return order < PEER_ORDERS ? names[order] : "together";
}

/* ---- probabilities ----------------------------------------------------------------------------- */

/* LITERATURE.md, formula 1: K of n ports hit by M draws without replacement. */
static double p_random(uint32_t n, uint32_t k, uint32_t m)
{
    double miss = 1;
    if (k == 0 || m == 0)
        return 0;
    if (k + m > n)
        return 1;
    for (uint32_t i = 0; i < k && miss > 0; i++)
        miss *= (double)(n - m - i) / (double)(n - i);
    return 1 - miss;
}

/* ---- the budget ------------------------------------------------------------------------------ */

struct budget {
    uint32_t holes, probes; /* 0: to be chosen */
    uint32_t max_holes, max_probes;
    double aim;
};

static uint32_t cap_of(const struct peer_facts *f, uint64_t entries, bool descriptors)
{
    uint64_t cap = entries;
    if (descriptors && f->open_files && f->open_files - SPARE_FILES < cap)
        cap = f->open_files > SPARE_FILES ? f->open_files - SPARE_FILES : 1;
    return (uint32_t)cap;
}

/* The cheapest K + M that reaches the aim over n ports: both alike, but for what is fixed or capped. */
static void choose(struct budget *b, uint32_t n)
{
    uint32_t holes = b->holes ? b->holes : 1, probes = b->probes ? b->probes : 1;
    while (p_random(n, holes, probes) < b->aim) {
        bool more_holes = !b->holes && holes < b->max_holes && holes < n;
        bool more_probes = !b->probes && probes < b->max_probes;
        if (!more_holes && !more_probes)
            break;
        if (more_holes && (holes <= probes || !more_probes))
            holes++;
        else
            probes++;
    }
    b->holes = holes;
    b->probes = probes;
}

/* ---- where to -------------------------------------------------------------------------------- */

static bool is_stable(const struct peer_facts *f)
{
    return f->n_samples > 1 && strcmp(peer_facts_mapping(f), "same") == 0;
}

/* What was seen last. */
static union base_ep last_mapped(const struct peer_facts *f)
{
    size_t last = 0;
    for (size_t i = 1; i < f->n_samples; i++)
        if (f->samples[i].t_ns >= f->samples[last].t_ns)
            last = i;
    return f->samples[last].mapped;
}

static enum peer_path_kind kind_of(const struct peer_facts *from, const union base_ep *target)
{
    union base_ep own = peer_facts_mapped(from);
    return base_ep_same_addr(&own, target) ? PEER_PATH_HAIRPIN : PEER_PATH_DIRECT;
}

static struct peer_candidates *list_of(struct peer_plan *p, enum wire_role role)
{
    return role == WIRE_ROLE_A ? &p->for_a : &p->for_b;
}

/* The article's: a fixed window around the last seen port. Past the ends of the port range there is nothing. */
static int add_window(const struct peer_facts *opener, const struct peer_facts *prober, int lo, int hi,
                      struct peer_candidates *out)
{
    union base_ep ep = last_mapped(prober);
    int around = base_ep_port(&ep), err = 0;
    for (int port = around + lo; port <= around + hi && err == 0; port++) {
        if (port < 1 || port > UINT16_MAX)
            continue;
        base_ep_set_port(&ep, (uint16_t)port);
        err = peer_candidates_add(out, &ep, kind_of(opener, &ep), NAN);
    }
    return err;
}

/* ---- the plan -------------------------------------------------------------------------------- */

static enum wire_role other(enum wire_role role)
{
    return role == WIRE_ROLE_A ? WIRE_ROLE_B : WIRE_ROLE_A;
}

static enum wire_role choose_opener(const struct peer_options *o, bool a_stable, bool b_stable)
{
    const char *text = peer_option_text(o, "opener");
    if (strcmp(text, "auto") != 0)
        return strcmp(text, "a") == 0 ? WIRE_ROLE_A : WIRE_ROLE_B;
    return b_stable && !a_stable ? WIRE_ROLE_B : WIRE_ROLE_A;
}

static void read_options(const struct peer_options *o, struct peer_search *s)
{
    const char *order = peer_option_text(o, "order"), *ttl = peer_option_text(o, "ttl");
    uint64_t n;
    s->attempts = (uint32_t)peer_option_u64(o, "attempts");
    s->entries = (uint32_t)peer_option_u64(o, "entries");
    s->rate = (uint32_t)peer_option_u64(o, "rate");
    s->ttl = strcmp(ttl, "auto") == 0 ? PEER_TTL_AUTO : PEER_TTL_OFF;
    if (peer_option_number(o, "ttl", &n))
        s->ttl = (uint16_t)n;
    s->order = PEER_TOGETHER;
    for (int i = 0; i < PEER_ORDERS; i++)
        if (strcmp(order, peer_order_name((enum peer_order)i)) == 0)
            s->order = (enum peer_order)i;
}

/* What was asked for must fit; what is chosen is capped. */
static int read_budget(const struct peer_options *o, const struct peer_facts *opener, const struct peer_facts *prober,
                       bool descriptors, struct budget *b, struct peer_plan *out)
{
    const struct peer_facts *sides[] = {opener, prober};
    static const char *const names[] = {"holes", "probes"};
    uint32_t *const want[] = {&b->holes, &b->probes}, *const max[] = {&b->max_holes, &b->max_probes};
    for (int i = 0; i < 2; i++) {
        uint64_t n;
        *max[i] = cap_of(sides[i], peer_option_u64(o, "entries"), descriptors);
        *want[i] = 0;
        if (!peer_option_number(o, names[i], &n))
            continue;
        *want[i] = (uint32_t)n;
        if (descriptors && sides[i]->open_files && n + SPARE_FILES > sides[i]->open_files) {
            snprintf(out->why, sizeof(out->why),
                     "%llu %s need %llu open files, but the %s's limit is %llu: raise it with 'ulimit -n', or use "
                     "fewer --%s",
                     (unsigned long long)n, names[i], (unsigned long long)n + SPARE_FILES, i ? "prober" : "opener",
                     (unsigned long long)sides[i]->open_files, names[i]);
            return -EMFILE;
        }
        if (n > peer_option_u64(o, "entries")) {
            snprintf(out->why, sizeof(out->why), "%llu %s are more than --entries %s allows in flight: raise it too",
                     (unsigned long long)n, names[i], peer_option_text(o, "entries"));
            return -E2BIG;
        }
    }
    b->aim = 1 - (1 - peer_option_fraction(o, "target")) * FAILURE_SHARE;
    return 0;
}

/* Both mappings stay: each side knows the other's endpoint, and tries it until the deadline. */
static int plan_known(const struct peer_facts *a, const struct peer_facts *b, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    int err = peer_plan_registered(a, b, out);
    s->known = true;
    s->holes = (uint32_t)list_of(out, s->opener)->n;
    s->probes = (uint32_t)list_of(out, other(s->opener))->n;
    return err;
}

int peer_search_plan(const struct peer_facts *a, const struct peer_facts *b, const struct peer_options *options,
                     struct base_rng *rng, bool descriptors, struct peer_plan *out)
{
    struct peer_search *s = &out->search;
    bool a_stable = is_stable(a), b_stable = is_stable(b);
    *s = (struct peer_search){.on = true, .opener = choose_opener(options, a_stable, b_stable)};
    const struct peer_facts *opener = s->opener == WIRE_ROLE_A ? a : b, *prober = s->opener == WIRE_ROLE_A ? b : a;
    struct budget budget;
    uint64_t n;
    int lo, hi;
    read_options(options, s);
    s->seed = base_rng_u64(rng);
    int err = read_budget(options, opener, prober, descriptors, &budget, out);
    if (err < 0)
        return err;
    if (opener->n_samples == 0 || prober->n_samples == 0)
        return -EINVAL;
    bool window = peer_option_span(options, "window", &lo, &hi);
    bool fixed = window || peer_option_number(options, "holes", &n) || peer_option_number(options, "probes", &n);
    if (a_stable && b_stable && !fixed)
        return plan_known(a, b, out);

    struct peer_candidates *holes = list_of(out, s->opener), *probes = list_of(out, other(s->opener));
    union base_ep target = peer_facts_mapped(opener);
    err = peer_candidates_add(probes, &target, kind_of(prober, &target), NAN);
    if (err < 0)
        return err;
    if (window) {
        err = add_window(opener, prober, lo, hi, holes);
        budget.holes = (uint32_t)holes->n;
        budget.probes = budget.probes ? budget.probes : budget.max_probes < 32 ? budget.max_probes : 32;
    } else {
        uint32_t ports = RANDOM_HI - RANDOM_LO + 1;
        choose(&budget, ports);
        s->random_at = last_mapped(prober);
        base_ep_set_port(&s->random_at, 0);
        s->random_lo = RANDOM_LO;
        s->random_hi = RANDOM_HI;
        out->predicted_p = p_random(ports, budget.holes, budget.probes);
    }
    s->holes = budget.holes;
    s->probes = budget.probes;
    return err;
}

/* ---- the holes ------------------------------------------------------------------------------- */

static uint64_t random_ports(const struct peer_search *s)
{
    return base_ep_is_set(&s->random_at) && s->random_lo && s->random_lo <= s->random_hi
               ? (uint64_t)(s->random_hi - s->random_lo) + 1
               : 0;
}

void peer_holes_init(struct peer_holes *h, const struct peer_plan *plan, enum wire_role role, unsigned attempt)
{
    const struct peer_search *s = &plan->search;
    const struct peer_candidates *c = role == WIRE_ROLE_A ? &plan->for_a : &plan->for_b;
    bool opens = s->opener == role;
    *h = (struct peer_holes){.search = s, .list = c, .limit = opens ? s->holes : (uint32_t)c->n};
    h->draws = opens && random_ports(s) > 0;
    if (!h->draws)
        return;
    base_perm_init(&h->perm, random_ports(s), s->seed + attempt);
    for (size_t i = 0; i < c->n && i < s->holes; i++)
        if (base_ep_same_addr(&c->list[i].ep, &s->random_at)) {
            uint16_t port = base_ep_port(&c->list[i].ep);
            h->listed[port / 8] |= (uint8_t)(1 << port % 8);
        }
}

bool peer_holes_next(struct peer_holes *h, union base_ep *out)
{
    const struct peer_search *s = h->search;
    if (h->next == h->limit)
        return false;
    if (h->next < h->list->n) {
        *out = h->list->list[h->next++].ep;
        return true;
    }
    while (h->draws && h->drawn < random_ports(s)) {
        uint16_t port = (uint16_t)(s->random_lo + base_perm_at(&h->perm, h->drawn++));
        if (h->listed[port / 8] & 1 << port % 8)
            continue;
        *out = s->random_at;
        base_ep_set_port(out, port);
        h->next++;
        return true;
    }
    return false;
}
