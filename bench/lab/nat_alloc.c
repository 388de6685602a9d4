/*
 * Which external address and port a new mapping gets (RFC 4787 sections 4.1 to 4.3, RFC 7857 section 9 for blocks).
 * An external endpoint belongs to one mapping of a protocol at a time: no overloading (RFC 4787 REQ-3a).
 */
#include "bench/lab/nat_state.h"

/* Draws before the free ports are counted instead: at nine tenths full one in 30 allocations gets there. */
#define DRAWS 32

bool nat_alloc_random(struct lab_nat *nat, const struct nat_ports *ports, uint32_t lo, uint32_t hi, uint16_t *port)
{
    for (int i = 0; i < DRAWS; i++) {
        *port = (uint16_t)(lo + base_rng_below(&nat->rng, hi - lo + 1));
        if (nat_ports_get(ports, *port) == 0)
            return true;
    }
    uint32_t n = nat_ports_count_free(ports, lo, hi);
    if (n == 0)
        return false;
    *port = nat_ports_nth_free(ports, lo, hi, (uint32_t)base_rng_below(&nat->rng, n));
    return true;
}

/* A step further, around the range; one further still after a whole turn, so that no step leaves ports out. */
static void advance(struct lab_nat *nat, uint32_t *at)
{
    int64_t range = (int64_t)(nat->hi - nat->lo) + 1, next = (int64_t)*at + nat->profile.step % range;
    *at = (uint32_t)((next % range + range) % range);
}

bool nat_alloc_next(struct lab_nat *nat, uint32_t external, const struct nat_ports *ports, int parity, uint16_t *port)
{
    uint32_t *at = &nat->position[external], range = nat->hi - nat->lo + 1;
    uint32_t start = *at;
    for (uint32_t tried = 0; tried < 2 * range; tried++) {
        if (tried == DRAWS && nat_ports_count_free(ports, nat->lo, nat->hi) == 0)
            return false;
        *port = (uint16_t)(nat->lo + *at);
        bool fits = parity < 0 || (*port & 1) == parity;
        if (fits && nat_ports_get(ports, *port) == 0) {
            advance(nat, at);
            return true;
        }
        /* The other parity is one port away, not one step: a step of 2 would never get there. */
        if (!fits && nat->profile.step % 2 == 0)
            *at = (*at + 1) % range;
        else
            advance(nat, at);
        if (*at == start)
            start = *at = (*at + 1) % range;
    }
    return false;
}

/* ---- blocks and bands ------------------------------------------------------------------------ */

static uint32_t block_lo(const struct lab_nat *nat, uint32_t block)
{
    return nat->lo + block * nat->profile.block_size;
}

/* One more block for a host: any that is free. */
static bool take_block(struct lab_nat *nat, struct nat_host *host)
{
    uint8_t *taken = nat->block_taken + (size_t)host->external * nat->n_blocks;
    uint32_t n = 0, most = nat->profile.blocks < LAB_NAT_MAX_BLOCKS ? nat->profile.blocks : LAB_NAT_MAX_BLOCKS;
    if (host->n_blocks >= most)
        return false;
    for (uint32_t i = 0; i < nat->n_blocks; i++)
        n += !taken[i];
    if (n == 0)
        return false;
    uint32_t k = (uint32_t)base_rng_below(&nat->rng, n), block = 0;
    while (taken[block] || k-- > 0)
        block++;
    taken[block] = 1;
    host->blocks[host->n_blocks++] = (uint16_t)block;
    return true;
}

/* Uniform over the free ports of all its blocks. */
static bool alloc_block(struct lab_nat *nat, struct nat_host *host, const struct nat_ports *ports, uint16_t *port)
{
    uint32_t size = nat->profile.block_size, n = 0, free_in[LAB_NAT_MAX_BLOCKS] = {0};
    for (uint32_t i = 0; i < host->n_blocks; i++) {
        uint32_t lo = block_lo(nat, host->blocks[i]);
        n += free_in[i] = nat_ports_count_free(ports, lo, lo + size - 1);
    }
    if (n == 0) {
        if (!take_block(nat, host))
            return false;
        uint32_t lo = block_lo(nat, host->blocks[host->n_blocks - 1]);
        return nat_alloc_random(nat, ports, lo, lo + size - 1, port);
    }
    uint32_t k = (uint32_t)base_rng_below(&nat->rng, n), i = 0;
    for (; i + 1 < host->n_blocks && k >= free_in[i]; i++)
        k -= free_in[i];
    *port = nat_ports_nth_free(ports, block_lo(nat, host->blocks[i]), block_lo(nat, host->blocks[i]) + size - 1, k);
    return true;
}

static bool alloc_band(struct lab_nat *nat, const struct nat_host *host, const struct nat_ports *ports, uint16_t *port)
{
    uint32_t hi = host->band_lo + nat->profile.block_size - 1;
    return nat_alloc_random(nat, ports, host->band_lo, hi < nat->hi ? hi : nat->hi, port);
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* What a subscriber keeps: its address (paired pooling; blocks and bands lie on one), and where its band begins. */
static void place(struct lab_nat *nat, struct nat_host *host)
{
    uint32_t range = nat->hi - nat->lo + 1, size = nat->profile.block_size;
    if (host->placed)
        return;
    host->external = (uint8_t)base_rng_below(&nat->rng, nat->n_external);
    host->band_lo = (uint16_t)nat->lo;
    if (nat->profile.ports == LAB_PORTS_BAND && size < range)
        host->band_lo = (uint16_t)(nat->lo + base_rng_below(&nat->rng, range - size + 1));
    host->placed = true;
}

static bool alloc_on(struct lab_nat *nat, struct nat_host *host, uint32_t external, uint8_t proto, uint16_t in_port,
                     uint16_t *port)
{
    const struct nat_ports *ports = nat_ports(nat, external, proto);
    switch (nat->profile.ports) {
    case LAB_PORTS_SEQUENTIAL:
        return nat_alloc_next(nat, external, ports, -1, port);
    case LAB_PORTS_PARITY:
        return nat_alloc_next(nat, external, ports, in_port & 1, port);
    case LAB_PORTS_BLOCK:
        return alloc_block(nat, host, ports, port);
    case LAB_PORTS_BAND:
        return alloc_band(nat, host, ports, port);
    case LAB_PORTS_RANDOM:
        return nat_alloc_random(nat, ports, nat->lo, nat->hi, port);
    default:
        *port = in_port;
        if (in_port >= nat->lo && in_port <= nat->hi && nat_ports_get(ports, in_port) == 0)
            return true;
        return nat_alloc_random(nat, ports, nat->lo, nat->hi, port);
    }
}

bool nat_alloc(struct lab_nat *nat, struct nat_host *host, uint8_t proto, uint16_t in_port, uint64_t now_ns,
               uint8_t *external, uint16_t *port)
{
    bool arbitrary = nat->profile.pooling == LAB_POOL_ARBITRARY && nat->profile.ports != LAB_PORTS_BLOCK &&
                     nat->profile.ports != LAB_PORTS_BAND;
    place(nat, host);
    if (nat->profile.ports == LAB_PORTS_BLOCK && host->n_blocks == 0 && !take_block(nat, host))
        return false;
    nat_cross_run(nat, now_ns);
    *external = host->external;
    if (!arbitrary)
        return alloc_on(nat, host, *external, proto, in_port, port);
    uint32_t first = (uint32_t)base_rng_below(&nat->rng, nat->n_external);
    for (uint32_t i = 0; i < nat->n_external; i++) {
        *external = (uint8_t)((first + i) % nat->n_external);
        if (alloc_on(nat, host, *external, proto, in_port, port))
            return true;
    }
    return false;
}

void nat_alloc_reset(struct lab_nat *nat)
{
    for (uint32_t i = 0; i < nat->n_external; i++)
        nat->position[i] = (uint32_t)base_rng_below(&nat->rng, nat->hi - nat->lo + 1);
    for (size_t i = 0; i < (size_t)nat->n_external * nat->n_blocks; i++)
        nat->block_taken[i] = 0;
}
