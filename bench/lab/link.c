#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lab/link.h"

/* ---- crossing -------------------------------------------------------------------------------- */

static bool happens(double probability, struct base_rng *rng)
{
    return probability > 0 && base_rng_double(rng) < probability;
}

/* The transmitter sends one packet after the other. False: the packet would wait for too long. */
static bool transmit(struct lab_lane *lane, size_t len, uint64_t *at_ns)
{
    const struct lab_way *way = &lane->way;
    if (!way->rate)
        return true;
    if (lane->busy_ns > *at_ns + way->queue_ns)
        return false;
    if (lane->busy_ns > *at_ns)
        *at_ns = lane->busy_ns;
    *at_ns += ((uint64_t)len * 8 * BASE_NS_PER_S + way->rate - 1) / way->rate;
    lane->busy_ns = *at_ns;
    return true;
}

/* A packet on its way; loose: it has left the order. */
struct flight {
    uint64_t at_ns;
    bool loose;
};

/* How many of it come out: 0, 1 or 2, all at *flight. */
static unsigned cross_one(struct lab_lane *lane, struct base_rng *rng, size_t len, struct flight *flight,
                          struct lab_crossing *out)
{
    const struct lab_way *way = &lane->way;
    unsigned copies = 1;
    if (!transmit(lane, len, &flight->at_ns)) {
        out->rate_dropped++;
        return 0;
    }
    if (happens(way->loss, rng)) {
        out->lost++;
        return 0;
    }
    flight->at_ns += way->delay_ns;
    if (way->jitter_ns)
        flight->at_ns += base_rng_below(rng, way->jitter_ns);
    if (happens(way->reordering, rng)) {
        flight->at_ns += way->reorder_ns;
        flight->loose = true;
        out->reordered++;
    }
    if (happens(way->duplication, rng)) {
        copies = 2;
        out->duplicated++;
    }
    return copies;
}

static void arrive(struct flight flight, unsigned copies, uint64_t *last_ns, struct lab_crossing *out)
{
    if (!flight.loose && flight.at_ns < *last_ns)
        flight.at_ns = *last_ns;
    if (!flight.loose && copies)
        *last_ns = flight.at_ns;
    for (unsigned i = 0; i < copies; i++)
        out->due_ns[out->n++] = flight.at_ns;
}

void lab_lane_cross(struct lab_lane *first, struct lab_lane *second, struct base_rng *rng, uint64_t now_ns, size_t len,
                    uint64_t *last_ns, struct lab_crossing *out)
{
    struct flight start = {.at_ns = now_ns};
    *out = (struct lab_crossing){0};
    unsigned copies = cross_one(first, rng, len, &start, out);
    if (!second) {
        arrive(start, copies, last_ns, out);
        return;
    }
    for (unsigned i = 0; i < copies; i++) {
        struct flight flight = start;
        unsigned arriving = cross_one(second, rng, len, &flight, out);
        arrive(flight, arriving, last_ns, out);
    }
}

void lab_lane_reset(struct lab_lane *lane)
{
    lane->busy_ns = lane->last_ns = 0;
}

/* ---- the queue ------------------------------------------------------------------------------- */

#define FIRST_CAPACITY 1024

void lab_queue_init(struct lab_queue *q, size_t max_parcels, size_t max_bytes)
{
    *q = (struct lab_queue){.max_parcels = max_parcels, .max_bytes = max_bytes};
}

void lab_queue_free(struct lab_queue *q)
{
    for (size_t i = 0; i < q->n; i++)
        free(q->slots[i].parcel);
    free(q->slots);
    *q = (struct lab_queue){0};
}

static bool earlier(const struct lab_queue_slot *a, const struct lab_queue_slot *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->seq < b->seq;
}

static int make_room(struct lab_queue *q)
{
    if (q->n < q->capacity)
        return 0;
    size_t capacity = q->capacity ? q->capacity * 2 : FIRST_CAPACITY;
    struct lab_queue_slot *grown = realloc(q->slots, capacity * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    q->slots = grown;
    q->capacity = capacity;
    return 0;
}

static void sift_up(struct lab_queue *q, size_t i, struct lab_queue_slot slot)
{
    while (i > 0 && earlier(&slot, &q->slots[(i - 1) / 2])) {
        q->slots[i] = q->slots[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    q->slots[i] = slot;
}

static void sift_down(struct lab_queue *q, size_t i, struct lab_queue_slot slot)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= q->n)
            break;
        if (child + 1 < q->n && earlier(&q->slots[child + 1], &q->slots[child]))
            child++;
        if (!earlier(&q->slots[child], &slot))
            break;
        q->slots[i] = q->slots[child];
        i = child;
    }
    q->slots[i] = slot;
}

int lab_queue_push(struct lab_queue *q, uint64_t due_ns, void *to, uint32_t stage, const uint8_t *data, size_t len)
{
    if (q->n >= q->max_parcels || q->bytes + len > q->max_bytes)
        return -ENOBUFS;
    struct lab_parcel *parcel = malloc(sizeof(*parcel) + len);
    if (!parcel)
        return -ENOMEM;
    if (make_room(q) < 0) {
        free(parcel);
        return -ENOMEM;
    }
    parcel->due_ns = due_ns;
    parcel->to = to;
    parcel->stage = stage;
    parcel->len = (uint32_t)len;
    memcpy(parcel->data, data, len);
    q->bytes += len;
    struct lab_queue_slot slot = {.due_ns = due_ns, .seq = q->seq++};
    slot.parcel = parcel;
    sift_up(q, q->n++, slot);
    return 0;
}

struct lab_parcel *lab_queue_pop(struct lab_queue *q, uint64_t now_ns)
{
    if (q->n == 0 || q->slots[0].due_ns > now_ns)
        return NULL;
    struct lab_parcel *parcel = q->slots[0].parcel;
    q->bytes -= parcel->len;
    q->n--;
    if (q->n)
        sift_down(q, 0, q->slots[q->n]);
    return parcel;
}

void lab_queue_filter(struct lab_queue *q, lab_keep_fn *keep, void *user)
{
    size_t n = q->n;
    q->n = 0;
    /* What stays is sifted up again behind what was already looked at: never ahead of the reading index. */
    for (size_t i = 0; i < n; i++) {
        struct lab_queue_slot slot = q->slots[i];
        if (keep(slot.parcel, user)) {
            sift_up(q, q->n++, slot);
        } else {
            q->bytes -= slot.parcel->len;
            free(slot.parcel);
        }
    }
}

/* ---- lateness -------------------------------------------------------------------------------- */

void lab_lateness_add(struct lab_lateness *l, uint64_t late_ns)
{
    uint64_t step = late_ns / LAB_LATE_STEP_NS;
    l->counts[step < LAB_LATE_STEPS ? step : LAB_LATE_STEPS - 1]++;
    l->n++;
    if (late_ns > l->max_ns)
        l->max_ns = late_ns;
}

void lab_lateness_clear(struct lab_lateness *l)
{
    *l = (struct lab_lateness){0};
}

uint64_t lab_lateness_quantile(const struct lab_lateness *l, double q)
{
    uint64_t want = (uint64_t)ceil(q * (double)l->n), seen = 0;
    for (uint64_t i = 0; i < LAB_LATE_STEPS && l->n; i++) {
        seen += l->counts[i];
        if (seen >= want)
            return i + 1 == LAB_LATE_STEPS ? l->max_ns : (i + 1) * LAB_LATE_STEP_NS;
    }
    return 0;
}
