/* xoshiro256++ (Blackman, Vigna 2019), seeded by splitmix64, and the draws that the simulator needs. */
#include <math.h>

#include "predict/internal.h"

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void predict_rng_seed(struct predict_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->s[i] = splitmix(&seed);
}

uint64_t predict_rng_next(struct predict_rng *rng)
{
    uint64_t *s = rng->s, result = rotl(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

double predict_rng_double(struct predict_rng *rng)
{
    return (double)(predict_rng_next(rng) >> 11) * 0x1p-53;
}

/* Lemire 2019, without its rejection: for n up to 2^32 a value is off by less than one part in 2^32. */
uint32_t predict_rng_below(struct predict_rng *rng, uint32_t n)
{
    return (uint32_t)(((predict_rng_next(rng) >> 32) * (uint64_t)n) >> 32);
}

static double normal(struct predict_rng *rng)
{
    double u = 1.0 - predict_rng_double(rng), v = predict_rng_double(rng);
    return sqrt(-2.0 * log(u)) * cos(2.0 * M_PI * v);
}

/* Marsaglia, Tsang 2000, scale 1. */
static double gamma_draw(struct predict_rng *rng, double shape)
{
    double boost = 1.0;
    if (shape < 1.0) {
        boost = pow(1.0 - predict_rng_double(rng), 1.0 / shape);
        shape += 1.0;
    }
    double d = shape - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        double x = normal(rng), v = 1.0 + c * x;
        if (v <= 0)
            continue;
        v = v * v * v;
        if (log(1.0 - predict_rng_double(rng)) < 0.5 * x * x + d - d * v + d * log(v))
            return boost * d * v;
    }
}

/* Poisson by inversion up to this mean, and by halves of it above: exp(-mean) must not underflow. */
#define POISSON_INVERT 500.0

uint32_t predict_rng_poisson(struct predict_rng *rng, double mean)
{
    uint32_t n = 0;
    while (mean > 0) {
        double step = mean < POISSON_INVERT ? mean : POISSON_INVERT, p = exp(-step), u = predict_rng_double(rng);
        mean -= step;
        for (uint32_t x = 1; u >= p && x < 4 * POISSON_INVERT; x++) {
            u -= p;
            p *= step / x;
            n++;
        }
    }
    return n;
}

/* Poisson with a gamma mean. */
uint32_t predict_rng_count(struct predict_rng *rng, double mean, double dispersion)
{
    if (dispersion > 1 && mean > 0)
        mean = (dispersion - 1) * gamma_draw(rng, mean / (dispersion - 1));
    return predict_rng_poisson(rng, mean);
}
