/* Token bucket. */
#include <math.h>

#include "bench/base/base.h"

void base_bucket_init(struct base_bucket *b, double rate, double burst, uint64_t now_ns)
{
    *b = (struct base_bucket){.rate = rate, .burst = burst, .tokens = burst, .last_ns = now_ns};
}

static void refill(struct base_bucket *b, uint64_t now_ns)
{
    if (now_ns <= b->last_ns)
        return;
    b->tokens = fmin(b->burst, b->tokens + b->rate * (double)(now_ns - b->last_ns) * 1e-9);
    b->last_ns = now_ns;
}

bool base_bucket_take(struct base_bucket *b, uint64_t now_ns)
{
    if (b->rate <= 0)
        return true;
    refill(b, now_ns);
    if (b->tokens < 1)
        return false;
    b->tokens -= 1;
    return true;
}

uint64_t base_bucket_wait_ns(struct base_bucket *b, double n, uint64_t now_ns)
{
    if (b->rate <= 0)
        return 0;
    if (n > b->burst)
        return UINT64_MAX;
    refill(b, now_ns);
    double wait = fmax(0, ceil((n - b->tokens) / b->rate * 1e9));
    return wait < 0x1p63 ? (uint64_t)wait : UINT64_MAX;
}
