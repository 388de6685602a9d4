/* The histogram itself: buckets, recording, merging, reading. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/hist/internal.h"

/* ---- the layout ------------------------------------------------------------------------------ */

/* log2 of the width of the bucket of ns: 0 below 2048. */
static unsigned width_bits(uint64_t ns)
{
    unsigned top = 63 - (unsigned)__builtin_clzll(ns | 1);
    return top > HIST_HALF_BITS ? top - HIST_HALF_BITS : 0;
}

static size_t index_of(uint64_t ns)
{
    unsigned bits = width_bits(ns);
    return ((size_t)bits << HIST_HALF_BITS) + (size_t)(ns >> bits);
}

uint64_t hist_index_value(size_t index)
{
    size_t page = index / HIST_PAGE_LEN;
    /* Pages 0 and 1 are both one ns wide. */
    return page == 0 ? index : (uint64_t)(index % HIST_PAGE_LEN + HIST_PAGE_LEN) << (page - 1);
}

uint64_t hist_lowest_equivalent(uint64_t ns)
{
    unsigned bits = width_bits(ns);
    return ns >> bits << bits;
}

uint64_t hist_highest_equivalent(uint64_t ns)
{
    return hist_lowest_equivalent(ns) + (1ULL << width_bits(ns)) - 1;
}

void hist_clear(struct hist *h)
{
    for (size_t i = 0; i < HIST_PAGES; i++)
        free(h->pages[i]);
    *h = (struct hist){0};
}

/* Pages first to last are there, and `more` values have room. Nothing can fail afterwards. */
static int reserve(struct hist *h, size_t first, size_t last, uint64_t more)
{
    if (more > (uint64_t)INT64_MAX - h->total)
        return -EOVERFLOW;
    for (size_t i = first; i <= last; i++) {
        if (!h->pages[i])
            h->pages[i] = calloc(HIST_PAGE_LEN, sizeof(**h->pages));
        if (!h->pages[i])
            return -ENOMEM;
    }
    return 0;
}

static void count_reserved(struct hist *h, uint64_t ns, uint64_t count)
{
    size_t index = index_of(ns);
    h->pages[index / HIST_PAGE_LEN][index % HIST_PAGE_LEN] += count;
    h->total += count;
}

/* ---- recording ------------------------------------------------------------------------------- */

int hist_record(struct hist *h, uint64_t ns)
{
    return hist_record_n(h, ns, 1);
}

int hist_record_n(struct hist *h, uint64_t ns, uint64_t count)
{
    if (ns > HIST_MAX_NS)
        return -ERANGE;
    if (count == 0)
        return 0;
    size_t page = index_of(ns) / HIST_PAGE_LEN;
    int err = reserve(h, page, page, count);
    if (err == 0)
        count_reserved(h, ns, count);
    return err;
}

int hist_record_corrected(struct hist *h, uint64_t ns, uint64_t count, uint64_t expected_ns)
{
    if (ns > HIST_MAX_NS)
        return -ERANGE;
    if (expected_ns == 0 || ns / expected_ns < 2 || count == 0)
        return hist_record_n(h, ns, count);
    uint64_t more;
    if (__builtin_mul_overflow(ns / expected_ns, count, &more))
        return -EOVERFLOW;
    int err = reserve(h, index_of(expected_ns) / HIST_PAGE_LEN, index_of(ns) / HIST_PAGE_LEN, more);
    if (err < 0)
        return err;
    /* A bucket at a time: all the values ns - k * expected that fall into it are counted at once. None of them is below
     * expected: down there the width of a bucket is far less than that. */
    while (ns >= expected_ns) {
        uint64_t n = (ns - hist_lowest_equivalent(ns)) / expected_ns + 1;
        count_reserved(h, ns, n * count);
        ns -= n * expected_ns;
    }
    return 0;
}

int hist_add(struct hist *into, const struct hist *from)
{
    int err = 0;
    for (size_t i = 0; i < HIST_PAGES && err == 0; i++)
        if (from->pages[i])
            err = reserve(into, i, i, from->total);
    if (err < 0)
        return err;
    uint64_t more = from->total;
    for (size_t i = 0; i < HIST_PAGES; i++)
        for (size_t j = 0; from->pages[i] && j < HIST_PAGE_LEN; j++)
            into->pages[i][j] += from->pages[i][j];
    into->total += more;
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

uint64_t hist_count_index(const struct hist *h, size_t index)
{
    const uint64_t *page = h->pages[index / HIST_PAGE_LEN];
    return page ? page[index % HIST_PAGE_LEN] : 0;
}

uint64_t hist_count_at(const struct hist *h, uint64_t ns)
{
    return ns > HIST_MAX_NS ? 0 : hist_count_index(h, index_of(ns));
}

bool hist_next(const struct hist *h, struct hist_iter *it)
{
    while (it->next < HIST_INDICES) {
        if (!h->pages[it->next / HIST_PAGE_LEN]) {
            it->next = (it->next / HIST_PAGE_LEN + 1) * HIST_PAGE_LEN;
            continue;
        }
        size_t index = it->next++;
        it->count = hist_count_index(h, index);
        if (it->count == 0)
            continue;
        it->lo = hist_index_value(index);
        it->hi = hist_highest_equivalent(it->lo);
        return true;
    }
    return false;
}

size_t hist_used(const struct hist *h)
{
    for (size_t i = HIST_INDICES; i > 0; i--) {
        if (!h->pages[(i - 1) / HIST_PAGE_LEN])
            i = (i - 1) / HIST_PAGE_LEN * HIST_PAGE_LEN + 1;
        else if (hist_count_index(h, i - 1) > 0)
            return i;
    }
    return 0;
}

uint64_t hist_min(const struct hist *h)
{
    struct hist_iter it = {0};
    return hist_next(h, &it) ? it.lo : 0;
}

uint64_t hist_max(const struct hist *h)
{
    size_t used = hist_used(h);
    return used == 0 ? 0 : hist_highest_equivalent(hist_index_value(used - 1));
}

double hist_mean(const struct hist *h)
{
    double sum = 0;
    struct hist_iter it = {0};
    while (hist_next(h, &it)) {
        uint64_t middle = it.lo + (it.hi - it.lo + 1) / 2;
        sum += (double)middle * (double)it.count;
    }
    return h->total == 0 ? 0 : sum / (double)h->total;
}

uint64_t hist_quantile(const struct hist *h, double q)
{
    /* One step down, so that 0.07 of 100 is the 7th value: 0.07 * 100 is a little over 7 in binary. */
    double wanted = ceil(nextafter(q > 1 ? 1 : q, 0) * (double)h->total);
    uint64_t rank = wanted >= 1 ? (uint64_t)wanted : 1, sum = 0;
    struct hist_iter it = {0};
    while (hist_next(h, &it)) {
        sum += it.count;
        if (sum >= rank)
            return q > 0 ? it.hi : it.lo;
    }
    return h->total == 0 ? 0 : it.hi;
}
