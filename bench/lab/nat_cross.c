/*
 * Cross traffic: what other people's allocations do to the ports. It is played up to now whenever a port is about to
 * be chosen; between two such moments nobody can tell. Arrivals in an interval are a draw of their number (the process
 * has independent increments, so it does not matter where intervals end), evenly spaced.
 *
 * A foreign allocation takes its port for every protocol, from the same range and by the same rule, for the profile's
 * first UDP time: sequences move on, random ports are taken. With blocks and bands it is another device of the same
 * subscriber, as other subscribers have blocks of their own.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lab/nat_state.h"

/* exp(-x) is far from underflow, and the product loop is short. */
#define POISSON_STEP 16.0
/* Above this many the normal approximation is off by less than one in a thousand of a standard deviation. */
#define POISSON_MANY 1e5

/* ---- numbers --------------------------------------------------------------------------------- */

static double normal(struct base_rng *rng)
{
    double u = 1.0 - base_rng_double(rng), v = base_rng_double(rng);
    return sqrt(-2.0 * log(u)) * cos(2.0 * M_PI * v);
}

/* Products of uniforms (Knuth), a step of the mean at a time: Poisson variables add up. */
static uint64_t poisson(struct base_rng *rng, double mean)
{
    uint64_t n = 0;
    if (mean > POISSON_MANY) {
        double x = mean + sqrt(mean) * normal(rng);
        return x > 0 ? (uint64_t)(x + 0.5) : 0;
    }
    while (mean > 0) {
        double step = mean < POISSON_STEP ? mean : POISSON_STEP, limit = exp(-step);
        double product = base_rng_double(rng);
        while (product > limit) {
            product *= base_rng_double(rng);
            n++;
        }
        mean -= step;
    }
    return n;
}

/* Marsaglia, Tsang 2000; below shape 1 by the power of a uniform. Scale 1. */
static double gamma_draw(struct base_rng *rng, double shape)
{
    double boost = 1.0;
    if (shape < 1.0) {
        boost = pow(1.0 - base_rng_double(rng), 1.0 / shape);
        shape += 1.0;
    }
    double d = shape - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        double x = normal(rng), v = 1.0 + c * x;
        if (v <= 0)
            continue;
        v = v * v * v;
        double u = 1.0 - base_rng_double(rng);
        if (log(u) < 0.5 * x * x + d - d * v + d * log(v))
            return boost * d * v;
    }
}

uint64_t nat_cross_count(struct base_rng *rng, const struct lab_profile *p, double seconds)
{
    double mean = p->cross_rate * seconds, extra = p->cross_dispersion - 1.0;
    if (p->cross == LAB_CROSS_NONE || mean <= 0)
        return 0;
    /* Poisson with a gamma mean: variance / mean = 1 + extra, at any length of the interval. */
    if (p->cross == LAB_CROSS_NEGATIVE_BINOMIAL && extra > 0)
        mean = extra * gamma_draw(rng, mean / extra);
    return poisson(rng, mean);
}

/* ---- ports ----------------------------------------------------------------------------------- */

static bool push(struct nat_foreign *f, struct nat_foreign_port entry)
{
    if (f->n == f->capacity) {
        uint32_t capacity = f->capacity ? f->capacity * 2 : 64;
        struct nat_foreign_port *ring = malloc(capacity * sizeof(*ring));
        if (!ring)
            return false;
        for (uint32_t i = 0; i < f->n; i++)
            ring[i] = f->ring[(f->head + i) & (f->capacity - 1)];
        free(f->ring);
        *f = (struct nat_foreign){.ring = ring, .n = f->n, .capacity = capacity};
    }
    f->ring[(f->head + f->n++) & (f->capacity - 1)] = entry;
    return true;
}

static void set_all(struct lab_nat *nat, uint32_t external, uint16_t port, uint32_t owner)
{
    static const uint8_t protos[] = {NAT_TCP, NAT_UDP, NAT_ICMP};
    for (size_t i = 0; i < sizeof(protos); i++) {
        struct nat_ports *ports = nat_ports(nat, external, protos[i]);
        uint32_t now = nat_ports_get(ports, port);
        if (owner ? now == 0 : now == NAT_FOREIGN)
            nat_ports_set(ports, port, owner);
    }
}

static void expire(struct lab_nat *nat, uint64_t now_ns)
{
    struct nat_foreign *f = &nat->foreign;
    while (f->n && f->ring[f->head].expires_ns <= now_ns) {
        set_all(nat, f->ring[f->head].external, f->ring[f->head].port, 0);
        f->head = (f->head + 1) & (f->capacity - 1);
        f->n--;
    }
}

/* Any host but in the emptiest case: a device beside the ones that are known. */
static const struct nat_host *some_host(const struct lab_nat *nat)
{
    return nat->hosts.high ? nat_host(nat, 0) : NULL;
}

static bool choose(struct lab_nat *nat, uint32_t *external, uint16_t *port)
{
    const struct nat_ports *ports = nat_ports(nat, *external, NAT_UDP);
    const struct nat_host *host;
    uint32_t lo = nat->lo, hi = nat->hi;
    switch (nat->profile.ports) {
    case LAB_PORTS_SEQUENTIAL:
        return nat_alloc_next(nat, *external, ports, -1, port);
    case LAB_PORTS_PARITY:
        return nat_alloc_next(nat, *external, ports, (int)base_rng_below(&nat->rng, 2), port);
    case LAB_PORTS_BLOCK:
    case LAB_PORTS_BAND:
        host = some_host(nat);
        /* Placed, but without a block: all were taken when it came. */
        if (!host || !host->placed || (nat->profile.ports == LAB_PORTS_BLOCK && host->n_blocks == 0))
            return false;
        *external = host->external;
        ports = nat_ports(nat, *external, NAT_UDP);
        lo = host->band_lo;
        if (nat->profile.ports == LAB_PORTS_BLOCK)
            lo = nat->lo + nat->profile.block_size * host->blocks[base_rng_below(&nat->rng, host->n_blocks)];
        hi = lo + nat->profile.block_size - 1;
        return nat_alloc_random(nat, ports, lo, hi < nat->hi ? hi : nat->hi, port);
    default: /* preserved ones, too, are anybody's guess from here */
        return nat_alloc_random(nat, ports, lo, hi, port);
    }
}

static void arrive(struct lab_nat *nat, uint64_t expires_ns)
{
    uint32_t external = (uint32_t)base_rng_below(&nat->rng, nat->n_external);
    uint16_t port;
    if (!choose(nat, &external, &port))
        return;
    nat->counters.foreign++;
    if (push(&nat->foreign, (struct nat_foreign_port){expires_ns, port, (uint8_t)external}))
        set_all(nat, external, port, NAT_FOREIGN);
}

/* Arrivals whose ports are given back already: only the sequences remember them. */
static void pass_by(struct lab_nat *nat, uint64_t n)
{
    uint64_t range = nat->hi - nat->lo + 1;
    nat->counters.foreign += n;
    for (uint32_t i = 0; i < nat->n_external; i++) {
        int64_t step = (int64_t)(n / nat->n_external % range) * nat->profile.step % (int64_t)range;
        nat->position[i] = (uint32_t)(((int64_t)nat->position[i] + step + (int64_t)range) % (int64_t)range);
    }
}

void nat_cross_run(struct lab_nat *nat, uint64_t now_ns)
{
    uint64_t hold = nat_after(0, nat->profile.udp_new_s), span = now_ns - nat->foreign_ns, begin;
    if (nat->profile.cross == LAB_CROSS_NONE)
        return;
    expire(nat, now_ns);
    if (span > hold)
        pass_by(nat, nat_cross_count(&nat->rng, &nat->profile, (double)(span - hold) / 1e9));
    if (nat->foreign_warm || span > hold)
        span = hold;
    nat->foreign_warm = false;
    nat->foreign_ns = now_ns;
    uint64_t n = nat_cross_count(&nat->rng, &nat->profile, (double)span / 1e9);
    /* More than there are ports have no effect but on the sequence. */
    uint64_t most = (uint64_t)(nat->hi - nat->lo + 1) * nat->n_external;
    if (n > most) {
        pass_by(nat, n - most);
        n = most;
    }
    begin = now_ns + hold - span;
    for (uint64_t i = 0; i < n; i++)
        arrive(nat, begin + (uint64_t)((double)span * (double)(i + 1) / (double)(n + 1)) + 1);
}

void nat_cross_reset(struct lab_nat *nat, uint64_t now_ns)
{
    for (uint32_t i = 0; i < nat->n_external * 3 && nat->foreign.n; i++)
        nat_ports_clear_foreign(&nat->ports[i]);
    nat->foreign.head = nat->foreign.n = 0;
    nat->foreign_ns = now_ns;
    nat->foreign_warm = true;
}
