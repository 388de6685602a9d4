/*
 * Token buckets per source address, in a table of fixed size: four ways a set, and the address that was quiet longest
 * makes room. Whoever can forge sources can push others out, which costs those nothing: a new bucket is a full one.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/rendezvous/internal.h"

#define WAYS 4
#define SETS 2048

struct entry {
    uint64_t key; /* 0 = free */
    struct base_bucket bucket;
};

struct limits {
    double rate, burst;
    uint64_t seed;
    struct entry entries[SETS][WAYS];
};

struct limits *limits_create(double rate, double burst, uint64_t seed)
{
    struct limits *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->rate = rate;
    l->burst = burst;
    l->seed = seed;
    return l;
}

void limits_free(struct limits *l)
{
    free(l);
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

static uint64_t address_key(const struct limits *l, const union base_ep *from)
{
    size_t len;
    const uint8_t *addr = base_ep_bytes(from, &len);
    uint64_t prefix = 0;
    memcpy(&prefix, addr, len < sizeof(prefix) ? len : sizeof(prefix));
    uint64_t key = mix(prefix ^ mix(l->seed + len));
    return key ? key : 1;
}

bool limits_take(struct limits *l, const union base_ep *from, uint64_t now_ns)
{
    if (l->rate <= 0)
        return true;
    uint64_t key = address_key(l, from);
    struct entry *set = l->entries[key % SETS], *use = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == key)
            return base_bucket_take(&set[i].bucket, now_ns);
        if (use->key && (!set[i].key || set[i].bucket.last_ns < use->bucket.last_ns))
            use = &set[i];
    }
    use->key = key;
    base_bucket_init(&use->bucket, l->rate, l->burst, now_ns);
    return base_bucket_take(&use->bucket, now_ns);
}
