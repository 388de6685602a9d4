#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lab/link.h"

/* ---- crossing -------------------------------------------------------------------------------- */

static bool cross_one(const struct lab_link *link, struct base_rng *rng, uint64_t *at_ns)
{
    if (link->loss > 0 && base_rng_double(rng) < link->loss)
        return false;
    *at_ns += link->delay_ns;
    if (link->jitter_ns)
        *at_ns += base_rng_below(rng, link->jitter_ns);
    return true;
}

bool lab_link_cross(const struct lab_link *from, const struct lab_link *to, struct base_rng *rng, uint64_t now_ns,
                    uint64_t *last_ns, uint64_t *due_ns)
{
    uint64_t at = now_ns;
    if (!cross_one(from, rng, &at) || !cross_one(to, rng, &at))
        return false;
    if (at < *last_ns)
        at = *last_ns;
    *last_ns = at;
    *due_ns = at;
    return true;
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

int lab_queue_push(struct lab_queue *q, uint64_t due_ns, void *to, const uint8_t *data, size_t len)
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
