/* A seeded permutation without memory: a Feistel network, walked until it lands in the range. */
#include "bench/base/base.h"

void base_perm_init(struct base_perm *p, uint64_t size, uint64_t seed)
{
    p->size = size;
    p->half_bits = 1;
    while ((1ULL << (2 * p->half_bits)) < size)
        p->half_bits++;
    struct base_rng rng;
    base_rng_derive(&rng, seed, "perm", size);
    for (size_t i = 0; i < BASE_ARRAY_LEN(p->keys); i++)
        p->keys[i] = base_rng_u64(&rng);
}

static uint64_t feistel(const struct base_perm *p, uint64_t x)
{
    uint64_t mask = (1ULL << p->half_bits) - 1;
    uint64_t left = x >> p->half_bits, right = x & mask;
    for (size_t i = 0; i < BASE_ARRAY_LEN(p->keys); i++) {
        uint64_t f = (right + p->keys[i]) * 0xbf58476d1ce4e5b9ULL;
        f = (f ^ (f >> 32)) * 0x94d049bb133111ebULL;
        uint64_t next = left ^ ((f >> 29) & mask);
        left = right;
        right = next;
    }
    return (left << p->half_bits) | right;
}

uint64_t base_perm_at(const struct base_perm *p, uint64_t index)
{
    /* The domain is under 4 x size, so the walk takes under 4 steps on average; it ends because the
     * network is a bijection and index itself is in the range. */
    do
        index = feistel(p, index);
    while (index >= p->size);
    return index;
}
