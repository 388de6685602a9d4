/*
 * What the emulated NAT itself costs, without devices: UDP packets of existing mappings, outbound, in random order, at
 * several sizes of its table.
 *
 * nat_packet_ns_N     one packet with N mappings: checks, both lookups, refresh, translation, checksums
 * nat_touch_ns_N      the same entries in the same order, their cache lines read and nothing else: what the memory
 * costs nat_chain_N         entries looked at in one lookup, both tables (2 = none in vain) nat_bytes           memory
 * with 64,512 mappings
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/lab/nat_state.h"

#define LOOKUPS 400000u
#define ROUNDS  5
#define PORT_LO 1024u

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "perf_nat: %s\n", what);
    exit(1);
}

static union base_ep ep(const char *addr)
{
    union base_ep out;
    if (base_ep_parse_addr(addr, &out) < 0)
        die(addr);
    return out;
}

/* From 10.0.0.2, port 1024 + i, to 198.51.100.1:7000; no UDP checksum. */
static void packet(uint8_t out[100], unsigned i)
{
    static const uint8_t head[24] = {0x45, 0, 0, 100, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 198, 51, 100, 1};
    memcpy(out, head, sizeof(head));
    uint16_t check = lab_sum_finish(lab_sum(out, 20, 0));
    nat_put16(out + 10, check);
    nat_put16(out + 20, PORT_LO + i);
    nat_put16(out + 22, 7000);
    nat_put16(out + 24, 80);
    nat_put16(out + 26, 0);
}

static struct lab_nat *nat_with(unsigned n)
{
    char err[LAB_ERROR_LEN];
    struct lab_profile p;
    struct lab_nat *nat;
    struct lab_nat_out out;
    uint8_t data[100] = {0};
    union base_ep external = ep("203.0.113.1"), gateway = ep("10.0.0.1");
    if (lab_profile_find("bench/profiles", "port-restricted", &p, err) < 0)
        die(err);
    if (lab_nat_create(&nat, &p, &external, 1, &gateway, 1, 1) < 0)
        die("no memory");
    for (unsigned i = 0; i < n; i++) {
        packet(data, i);
        if (lab_nat_packet(nat, LAB_NAT_OUT, data, sizeof(data), 1, &out) != LAB_NAT_FORWARD)
            die("a mapping was refused");
    }
    return nat;
}

static double thread_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* The least of several rounds: what else the machine does only adds. */
typedef void round_fn(struct lab_nat *nat, const uint32_t *order);

static double measure(round_fn *round, struct lab_nat *nat, const uint32_t *order)
{
    double least = 1e18;
    for (int i = 0; i < ROUNDS; i++) {
        double start = thread_ns();
        round(nat, order);
        double ns = (thread_ns() - start) / LOOKUPS;
        least = ns < least ? ns : least;
    }
    return least;
}

static void translate(struct lab_nat *nat, const uint32_t *order)
{
    static uint8_t fresh[100], data[100];
    struct lab_nat_out out;
    packet(fresh, 0);
    for (unsigned i = 0; i < LOOKUPS; i++) {
        memcpy(data, fresh, 28);
        nat_put16(data + 20, PORT_LO + order[i]);
        if (lab_nat_packet(nat, LAB_NAT_OUT, data, sizeof(data), 2, &out) != LAB_NAT_FORWARD)
            die("a packet was dropped");
    }
}

static volatile uint64_t sink;
static volatile uint32_t nothing;

/* Entries lie in the order in which they were made; packet number i made mapping and session i. */
static void touch(struct lab_nat *nat, const uint32_t *order)
{
    uint64_t sum = 0;
    uint32_t none = nothing;
    for (unsigned i = 0; i < LOOKUPS; i++) {
        /* The last sum is part of the address: one packet's memory is waited for before the next one's. */
        uint32_t at = order[i] + ((uint32_t)sum & none);
        struct nat_mapping *m = nat_mapping(nat, at);
        struct nat_session *s = nat_session(nat, at);
        sum += nat->mappings.heads[m->link.hash & (nat->mappings.n_heads - 1)];
        sum += nat->sessions.heads[s->link.hash & (nat->sessions.n_heads - 1)];
        sum += m->port + s->expires_ns + s->remote_port;
    }
    sink = sum;
}

static double chain(const struct nat_table *t, unsigned n)
{
    double steps = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t at = nat_table_first(t, ((struct nat_link *)nat_table_at(t, i))->hash);;
             at = nat_table_next(t, at)) {
            steps++;
            if (at == i)
                break;
        }
    return steps / n;
}

static void at_size(unsigned n)
{
    static uint32_t order[LOOKUPS];
    struct lab_nat *nat = nat_with(n);
    struct base_rng rng;
    base_rng_seed(&rng, n);
    for (unsigned i = 0; i < LOOKUPS; i++)
        order[i] = (uint32_t)base_rng_below(&rng, n);
    printf("nat_packet_ns_%u %.0f\n", n, measure(translate, nat, order));
    printf("nat_touch_ns_%u %.1f\n", n, measure(touch, nat, order));
    printf("nat_chain_%u %.2f\n", n, chain(&nat->mappings, n) + chain(&nat->sessions, n));
    lab_nat_destroy(nat);
}

int main(void)
{
    static const unsigned sizes[] = {100, 1000, 10000, 60000};
    struct lab_nat_counters c;
    for (size_t i = 0; i < BASE_ARRAY_LEN(sizes); i++)
        at_size(sizes[i]);
    struct lab_nat *nat = nat_with(64512);
    lab_nat_counters(nat, &c);
    printf("nat_bytes %llu\n", (unsigned long long)c.bytes);
    lab_nat_destroy(nat);
    return 0;
}
