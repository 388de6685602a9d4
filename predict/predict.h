/*
 * predict: what will this NAT do next? Pure: no I/O, no clock, no globals; randomness is passed in. libc and libm only.
 *
 * 1. Samples in. A sample is one observed mapping: (time, local, remote, mapped). predict_classify() turns samples into
 *    a `struct predict_behaviour`: one record of one NAT over one transport, in which every property is a belief: a
 * value (0 is always "unknown") and a confidence. What samples cannot tell (filtering, windows, ...) others fill in.
 *
 * 2. Candidates out. predict_model_create() takes samples, behaviour and a query: who probes (local), at whom (remote),
 *    how long after the last sample, with how many probes. predict_rank() lists (address, port) in best order. A
 *    candidate's p is what it ADDS to the success probability of those before it, so the sum of the first K is the
 *    success probability of K holes against all the query's probes, and the sum of all is at most 1. With one probe, p
 *    is simply the probability of that port.
 *
 *        struct predict_behaviour b = {0};
 *        predict_classify(samples, n, &b);
 *        struct predict_query q = {.after = 0.04, .probes = 32};
 *        struct predict_model *m = predict_model_create(PREDICT_MIXTURE, samples, n, &b, &q);
 *        struct predict_candidate c[256];
 *        size_t k = predict_rank(m, c, 256, &rng);
 *        double p = predict_sum(c, k);
 *        predict_model_free(m);
 *
 * 3. Budgets. predict_plan() takes both sides and the caps and says who opens, how many holes and probes reach the
 *    target probability, or that nothing does ("infeasible", with the probability). It knows two ways:
 *      search: the opener's mapping stands still; its K holes go to the first K candidates of the prober's model, the M
 *              probes all go to the opener's one endpoint (the first candidate of the opener's model).
 *      meet:   both move. K holes from K mappings of the opener, all to ONE endpoint of the prober; M probes from M
 *              mappings of the prober, all to ONE endpoint of the opener. Both sequences then sweep through the port
 *              that the other one aims at: P is the product, which no spread over several targets improves.
 *
 * Units: seconds, ports, per second. Functions without a word on errors cannot fail. Memory: a model is one create/free
 * pair, and ranking needs no more; predict_plan() and the simulator say -ENOMEM, predict_success() and
 * predict_p_sweep() need scratch memory and answer 0 without it; nothing else allocates. Names are RFC 4787's and RFC
 * 5780's.
 */
#ifndef PREDICT_PREDICT_H
#define PREDICT_PREDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- endpoints, samples, randomness ------------------------------------------------------------------------------ */

/* len 4 or 16 (an IPv4 address is always 4 long, never ::ffff:); 0: none. Bytes in network order, port in host order.
 */
struct predict_ep {
    uint8_t addr[16];
    uint8_t len;
    uint16_t port;
};

/* t: when the answer came, by any one clock. local may be unset, and mapped.port must not be 0. */
struct predict_sample {
    double t;
    struct predict_ep local, remote, mapped;
};

bool predict_ep_same_address(const struct predict_ep *a, const struct predict_ep *b);
bool predict_ep_equal(const struct predict_ep *a, const struct predict_ep *b);
/* "192.0.2.1:53", "[2001:db8::1]:53"; "-" when unset. Cut to size. Returns buf. */
#define PREDICT_EP_TEXT 56
char *predict_ep_text(const struct predict_ep *ep, char *buf, size_t size);
/* The reverse, of len bytes. 0 or -EINVAL. */
int predict_ep_parse(const char *text, size_t len, struct predict_ep *ep);

/* xoshiro256++ (Blackman, Vigna 2019). */
struct predict_rng {
    uint64_t s[4];
};
void predict_rng_seed(struct predict_rng *rng, uint64_t seed);

/* ---- behaviour --------------------------------------------------------------------------------------------------- */

enum predict_mapping {
    PREDICT_MAPPING_UNKNOWN,
    PREDICT_MAPPING_NONE, /* no NAT: mapped is local */
    PREDICT_MAPPING_EI,   /* endpoint-independent */
    PREDICT_MAPPING_AD,   /* address-dependent */
    PREDICT_MAPPING_APD,  /* address-and-port-dependent */
    PREDICT_MAPPING_CD,   /* connection-dependent: a new port even for the same 5-tuple */
};

enum predict_filtering {
    PREDICT_FILTERING_UNKNOWN,
    PREDICT_FILTERING_NONE, /* no NAT and no firewall */
    PREDICT_FILTERING_EI,
    PREDICT_FILTERING_AD,
    PREDICT_FILTERING_APD,
    PREDICT_FILTERING_LAST, /* only the last destination may answer */
};

enum predict_ports {
    PREDICT_PORTS_UNKNOWN,
    PREDICT_PORTS_PRESERVE,
    PREDICT_PORTS_SEQUENTIAL, /* step, sequences, keeps_parity say how */
    PREDICT_PORTS_BLOCK,      /* random in an aligned block of the subscriber's */
    PREDICT_PORTS_BAND,       /* random in a narrow range that is no aligned block */
    PREDICT_PORTS_RANDOM,     /* random over a wide range */
};

/* RFC 4787, 4.1 */
enum predict_pooling {
    PREDICT_POOLING_UNKNOWN,
    PREDICT_POOLING_SINGLE, /* one external address was ever seen: a pool of one, or paired */
    PREDICT_POOLING_PAIRED, /* several addresses are known of; this host keeps one */
    PREDICT_POOLING_ARBITRARY,
};

/* RFC 4787, 6 */
enum predict_hairpin {
    PREDICT_HAIRPIN_UNKNOWN,
    PREDICT_HAIRPIN_OFF,
    PREDICT_HAIRPIN_INTERNAL, /* seen from the internal source */
    PREDICT_HAIRPIN_EXTERNAL,
};

/* RFC 5382, 4.3: what an unsolicited SYN gets */
enum predict_syn {
    PREDICT_SYN_UNKNOWN,
    PREDICT_SYN_DROP,
    PREDICT_SYN_RST,
    PREDICT_SYN_ICMP,
    PREDICT_SYN_HOLD, /* nothing for 6 s, then ICMP */
};

enum predict_rst {
    PREDICT_RST_UNKNOWN,
    PREDICT_RST_CLOSES,   /* a RST from the peer's side closes the hole */
    PREDICT_RST_SURVIVES, /* the hole stays */
};

enum predict_window {
    PREDICT_WINDOW_UNKNOWN,
    PREDICT_WINDOW_STRICT,
    PREDICT_WINDOW_UNCHECKED,
};

/* value: of the property's enum; confidence: 0 to 1, the probability that the value is right; 0 when unknown. */
struct predict_belief {
    int value;
    double confidence;
};

#define PREDICT_MAX_POOL      16
#define PREDICT_MAX_SEQUENCES 8

/* One NAT over one transport. {0} is "nothing known", and every number that is 0 is not known. */
struct predict_behaviour {
    struct predict_belief mapping, filtering, ports, pooling, hairpin, syn, rst, window;

    /* Sequential: ports from one allocation to the next, signed; several sequences may be interleaved ("two-ended"),
       then step is the first one's. keeps_parity: an even local port gets an even mapped one (RFC 4787, 4.2.2). */
    int step;
    unsigned sequences;
    bool keeps_parity;

    /* The smallest and largest mapped port that was drawn from the range, and from how many draws; then where the
       range is thought to end (formula 2, or the block's or a customary range's bounds). */
    uint16_t port_min, port_max;
    unsigned port_draws;
    uint16_t range_lo, range_hi;

    /* External addresses seen (ports 0), and the most likely size of the pool. */
    struct predict_ep pool[PREDICT_MAX_POOL];
    unsigned pool_seen, pool_size;

    /* Allocations by others: how many were seen, in how many seconds (the evidence of formula 6), and their variance
       over mean per interval (1: Poisson). */
    double foreign_seen, foreign_seconds, foreign_dispersion;

    double lifetime_s; /* of an idle mapping */
    unsigned samples;  /* that the above was made from */
};

/* For tables, JSON and --help: all properties, their values' names, and the beliefs by number. */
enum predict_property {
    PREDICT_MAPPING,
    PREDICT_FILTERING,
    PREDICT_PORTS,
    PREDICT_POOLING,
    PREDICT_HAIRPIN,
    PREDICT_SYN,
    PREDICT_RST,
    PREDICT_WINDOW,
    PREDICT_N_PROPERTIES,
};
/* "mapping", "filtering", "ports", "pooling", "hairpin", "unsolicited-syn", "rst", "tcp-window-check" */
const char *predict_property_name(enum predict_property property);
/* "endpoint-independent", ...; "unknown" for 0; NULL past the last value. */
const char *predict_value_name(enum predict_property property, int value);
/* -1 for a name that is none. */
int predict_value_of(enum predict_property property, const char *name);
struct predict_belief *predict_belief(struct predict_behaviour *b, enum predict_property property);
/* "open", "NAT1" to "NAT4"; "unknown" when mapping or filtering is. */
const char *predict_nat_number(const struct predict_behaviour *b);
/* RFC 3489, 5: "Full Cone", "Restricted Cone", "Port Restricted Cone", "Symmetric", "Open Internet", "Unknown". */
const char *predict_rfc3489_name(const struct predict_behaviour *b);

/* Fills mapping, ports and what belongs to it, pooling, and the foreign traffic, from samples in any order; leaves
   the other properties as they are. Duplicates and samples without a mapped port are skipped. One remote address can
   tell endpoint-independent from address-dependent only by what is customary: the confidence then says 0.8. */
void predict_classify(const struct predict_sample *samples, size_t n, struct predict_behaviour *b);

/* ---- model and candidates ---------------------------------------------------------------------------------------- */

enum predict_kind {
    PREDICT_MIXTURE, /* the default: all of the below by their evidence */
    PREDICT_PRESERVE,
    PREDICT_SEQUENTIAL,
    PREDICT_RANGE,  /* block or band: around what was seen, on the last address */
    PREDICT_POOL,   /* the same on every address of the pool */
    PREDICT_RANDOM, /* 1024-65535 on the last address */
    /* What others do, K being the last mapped port; to compare with. Their p is 1/width: they claim no other. */
    PREDICT_FIXED_PLUS50,         /* K+1 ... K+50 */
    PREDICT_FIXED_PM10,           /* K-10 ... K+10 */
    PREDICT_FIXED_MINUS20_PLUS30, /* K-20 ... K+30 */
    PREDICT_FIXED_SCAN,           /* K, K+1, ... wrapping past 65535 to 1024 */
    PREDICT_N_KINDS,
};
/* "mixture", "preserve", "sequential", "range", "pool", "random", "+50", "+-10", "-20+30", "scan" */
const char *predict_kind_name(enum predict_kind kind);
int predict_kind_of(const char *name);

/* What is asked. {.probes = 1}: the very next mapping, from a fresh local port. */
struct predict_query {
    double after;        /* from the last sample to the first probe */
    unsigned own_before; /* mappings of ours that are made in between and are no probes: control connections, holes */
    unsigned probes;     /* M mappings of ours in sequence, each from a local port of its own; 0 counts as 1 */
    double interval;     /* between two probes; 0: all at once */
    /* The first probe's endpoints; port 0, or unset, where they do not matter. A sampled local port keeps its mapping
       under endpoint-independent mapping; a preserved one is predicted from it: probe j leaves from local.port + j. */
    struct predict_ep local, remote;
};

struct predict_candidate {
    struct predict_ep ep;
    double p; /* adds this to the success probability of those before it */
};

struct predict_model;
/* Samples may be few, or none where the behaviour says enough (port_min ... foreign_seconds). b may be NULL: samples
   are classified. Copies what it needs. NULL: no memory. Without any sample and any range: 1024-65535 on no address. */
struct predict_model *predict_model_create(enum predict_kind kind, const struct predict_sample *samples, size_t n,
                                           const struct predict_behaviour *b, const struct predict_query *query);
void predict_model_free(struct predict_model *m);

/* The best max candidates, best first; equals in random order where rng is given (else by port). Returns how many. All
   64,512 ports take under 5 ms. */
size_t predict_rank(struct predict_model *m, struct predict_candidate *out, size_t max, struct predict_rng *rng);
/* Success probability of exactly these holes (p is ignored), each at most once. */
double predict_success(const struct predict_model *m, const struct predict_candidate *holes, size_t n);
/* Sum of p, at most 1. */
double predict_sum(const struct predict_candidate *c, size_t n);

/* ---- plans ------------------------------------------------------------------------------------------------------- */

/* What is known of one side. query.probes, and own_before for its own holes, are the plan's to fill in. */
struct predict_side {
    const struct predict_sample *samples;
    size_t n;
    const struct predict_behaviour *behaviour;
    struct predict_query query;
};

struct predict_caps {
    double target;       /* 0.99 */
    double hopeless;     /* below this probability the plan says infeasible: 0.01 */
    unsigned max_holes;  /* 2000 */
    unsigned max_probes; /* 2000 */
    bool no_meet;        /* where one side's mapping stays, its holes leave from the registered port alone */
};
struct predict_caps predict_default_caps(void);

enum predict_way { PREDICT_SEARCH, PREDICT_MEET };
enum predict_verdict { PREDICT_REACHED, PREDICT_BEST_EFFORT, PREDICT_INFEASIBLE };

/* The candidates of a plan are ranked from the same samples and behaviours: search: K of the prober's model with probes
   = M, and the first one of the opener's with probes = 1. Meet: the first one of each, with probes = K and M. */
struct predict_plan {
    enum predict_verdict verdict;
    enum predict_way way;
    int opener;      /* 0: the first side, 1: the second */
    unsigned holes;  /* K: the opener's */
    unsigned probes; /* M: the prober's */
    double p;        /* of the plan, as far as the mappings decide */
};

/* The cheapest (K + M) plan that reaches the target, or the likeliest one under the caps. Fixed roles: opener 0 or 1;
   -1: both are tried. 0, -ENOMEM, -EINVAL (caps). */
int predict_plan(const struct predict_side *first, const struct predict_side *second, int opener,
                 const struct predict_caps *caps, struct predict_plan *out);

/* ---- closed forms ------------------------------------------------------------------------------------------------ */

/* 1. K holes, M probes, one side random over N ports without replacement. 1 when K + M > N (and both are not 0). */
double predict_p_random(uint32_t n, uint32_t k, uint32_t m);
/* The least K that reaches p against M probes; n when only all do, 0 when M is 0 and none can. */
uint32_t predict_k_random(uint32_t n, uint32_t m, double p);
/* 2. The same with the K holes spread over R >= N ports. */
double predict_p_spread(uint32_t n, uint32_t r, uint32_t k, uint32_t m);
/* Width of a range of whose n uniform draws the smallest and largest are spread apart; n >= 2. */
double predict_range_width(double spread, uint32_t n);
/* Probability that the next draw falls between the smallest and largest of n. */
double predict_range_inside(uint32_t n);
/* 3. r independent attempts; one persistent mapping scanned over scanned ports in all, none twice. */
double predict_p_retries(double p, double r);
double predict_p_scan(uint32_t n, double scanned);
/* 4. Both random: a and b distinct (source, destination) pairs on the two sides, of n x n. */
double predict_p_both(uint32_t n, double a, double b);
/* 5. Poisson; and the mass of the best w consecutive counts of foreign allocations at rate (1/s) after t. */
double predict_poisson(double mean, uint32_t x);
double predict_p_sequential(double rate, double t, uint32_t w);
/* 6. Negative binomial, r failures, (1-p)^x; and the same with the rate unknown: seen foreign ones in seconds. */
double predict_negative_binomial(double r, double p, uint32_t x);
double predict_p_sequential_unknown(double seen, double seconds, double t, uint32_t w);
/* 7. Sweeping m sockets, interval apart, the first after t; w consecutive holes, the first one `ahead` allocations past
   the last sample (1: the very next). Poisson at rate. */
double predict_p_sweep(double rate, double t, double interval, uint32_t m, uint32_t w, uint32_t ahead);
/* The best place for it. */
uint32_t predict_best_ahead(double rate, double t, double interval, uint32_t m, uint32_t w);
/* 8. TCP timing: no SYN is unsolicited if the sides start less than a one-way delay apart. */
bool predict_no_unsolicited(double skew, double delay);

/* Wilson's interval for k of n at z (2.5758: 99 %), Newcombe 1998, method 3. */
void predict_wilson(uint64_t k, uint64_t n, double z, double *lo, double *hi);

/* ---- simulator --------------------------------------------------------------------------------------------------- */

enum predict_foreign { PREDICT_FOREIGN_NONE, PREDICT_FOREIGN_POISSON, PREDICT_FOREIGN_NEGATIVE_BINOMIAL };

/* A NAT that allocates, foreign traffic, and what we do. */
struct predict_sim {
    enum predict_ports ports; /* sequential, or random, block, band: uniform over [lo, hi] without replacement */
    uint16_t lo, hi;
    int step;
    unsigned addresses; /* arbitrary pool of so many; 0 is 1 */
    enum predict_foreign foreign;
    double rate, dispersion; /* variance over mean, for the negative binomial */

    unsigned samples;       /* made before the punch ... */
    double sample_interval; /* ... so far apart */
    double jitter;          /* each sample's time is off by up to this */
    double after, interval; /* as in the query */
    unsigned own_before, probes, holes;
    enum predict_kind kind;
};

/* predicted: the mean of what the model said; brier: of it against the outcome. bins: by predicted tenths. */
struct predict_bin {
    uint64_t n, hits;
    double predicted; /* sum */
};
struct predict_sim_result {
    uint64_t trials, hits;
    double predicted, brier;
    struct predict_bin bins[10];
};
/* Whole trials: samples, classification, ranking, probes. 0, -EINVAL, -ENOMEM. */
int predict_simulate(const struct predict_sim *sim, uint64_t trials, struct predict_rng *rng,
                     struct predict_sim_result *out);
/* Punches only, the allocator's truth against a fixed set of w ports `ahead` of the last sample (sequential), or any K
   holes (random): what the closed forms describe, and fast. Returns hits. */
uint64_t predict_simulate_window(const struct predict_sim *sim, uint32_t ahead, uint64_t trials,
                                 struct predict_rng *rng);

/* ---- traces ------------------------------------------------------------------------------------------------------ */

/* results/FORMATS.md. A file is the header line, then a line a sample, in time order. */
#define PREDICT_TRACE_HEADER "time,local,remote,mapped"
#define PREDICT_TRACE_LINE   (3 * PREDICT_EP_TEXT + 40)
/* Without the newline, into buf of PREDICT_TRACE_LINE bytes. Returns buf. */
char *predict_trace_format(const struct predict_sample *s, char *buf, size_t size);
/* One line, with or without its newline. 0; -EINVAL, and *why then says what is wrong with it. */
int predict_trace_parse(const char *line, size_t len, struct predict_sample *s, const char **why);

#endif
