/* Random numbers: reproducible ones from a seed, and secret ones from the kernel. */
#include <errno.h>
#include <sys/random.h>

#include "bench/base/base.h"

/* SplitMix64 (Steele, Lea, Flood 2014): spreads any seed, zero included, over the whole state. */
static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

void base_rng_seed(struct base_rng *rng, uint64_t seed)
{
    for (size_t i = 0; i < BASE_ARRAY_LEN(rng->s); i++)
        rng->s[i] = splitmix64(&seed);
}

void base_rng_derive(struct base_rng *rng, uint64_t seed, const char *label, uint64_t n)
{
    /* FNV-1a over the label: streams of different labels are unrelated. */
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (; *label; label++)
        hash = (hash ^ (uint8_t)*label) * 0x100000001b3ULL;
    uint64_t mixed = seed;
    mixed = splitmix64(&mixed) ^ hash;
    mixed = splitmix64(&mixed) ^ n;
    base_rng_seed(rng, splitmix64(&mixed));
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t base_rng_u64(struct base_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t base_rng_below(struct base_rng *rng, uint64_t bound)
{
    /* Draws under 2^64 mod bound would make the low values likelier. */
    uint64_t reject = -bound % bound, x;
    do
        x = base_rng_u64(rng);
    while (x < reject);
    return x % bound;
}

double base_rng_double(struct base_rng *rng)
{
    return (double)(base_rng_u64(rng) >> 11) * 0x1p-53;
}

int base_random_bytes(void *buf, size_t len)
{
    uint8_t *p = buf;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}
