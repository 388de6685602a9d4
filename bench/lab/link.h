/*
 * Links and the delay queue. Pure: time and randomness are arguments; memory is bounded.
 */
#ifndef BENCH_LAB_LINK_H
#define BENCH_LAB_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/base/base.h"
#include "bench/lab/lab.h"

/* A way, and where its transmitter and its order stand (times; 0 at first). */
struct lab_lane {
    struct lab_way way;
    uint64_t busy_ns; /* the transmitter is free from here on */
    uint64_t last_ns; /* the latest arrival of what kept its order */
};

/* Each of two lanes may double a packet. */
#define LAB_COPIES_MAX 4

/* What became of a packet: its arrivals, in the order in which they are to be delivered at equal times. */
struct lab_crossing {
    uint64_t due_ns[LAB_COPIES_MAX];
    unsigned n; /* 0 = it does not arrive */
    unsigned lost, duplicated, reordered, rate_dropped;
};

/*
 * A packet of len bytes enters `first` at now_ns and then `second` (NULL = there is none). Calls for one lane come in
 * the order of their times; so a lane with a rate, which packets from several hosts share, is `first` always:
 * lab_lane_alone() says so. *last_ns is the latest arrival so far on this path, and is moved on: what is not reordered
 * keeps its order.
 */
void lab_lane_cross(struct lab_lane *first, struct lab_lane *second, struct base_rng *rng, uint64_t now_ns, size_t len,
                    uint64_t *last_ns, struct lab_crossing *out);
static inline bool lab_lane_alone(const struct lab_lane *lane)
{
    return lane->way.rate != 0;
}
/* Forgets what went before. */
void lab_lane_reset(struct lab_lane *lane);

/* A packet on its way. */
struct lab_parcel {
    uint64_t due_ns;
    void *to; /* the caller's */
    uint32_t len;
    uint32_t stage; /* the caller's */
    uint8_t data[];
};

/* Parcels by time, and at equal times in the order in which they came: a binary heap. */
struct lab_queue {
    struct lab_queue_slot {
        uint64_t due_ns;
        uint64_t seq;
        struct lab_parcel *parcel;
    } * slots;
    size_t n, capacity;
    size_t bytes;
    uint64_t seq;
    size_t max_parcels, max_bytes;
};

void lab_queue_init(struct lab_queue *q, size_t max_parcels, size_t max_bytes);
void lab_queue_free(struct lab_queue *q);
/* Copies the packet. 0, or -ENOBUFS when the queue is full, or -ENOMEM. */
int lab_queue_push(struct lab_queue *q, uint64_t due_ns, void *to, uint32_t stage, const uint8_t *data, size_t len);
/* The earliest due time; UINT64_MAX when empty. */
static inline uint64_t lab_queue_next(const struct lab_queue *q)
{
    return q->n ? q->slots[0].due_ns : UINT64_MAX;
}
/* The earliest parcel if it is due by now_ns, else NULL. The caller frees it. */
struct lab_parcel *lab_queue_pop(struct lab_queue *q, uint64_t now_ns);

/* Drops every parcel that `keep` refuses; the others stay in their order. */
typedef bool lab_keep_fn(const struct lab_parcel *parcel, void *user);
void lab_queue_filter(struct lab_queue *q, lab_keep_fn *keep, void *user);

/* How late parcels were let go: counts in steps of 10 us, everything above 10.24 ms in the last. */
#define LAB_LATE_STEP_NS 10000u
#define LAB_LATE_STEPS   1024u
struct lab_lateness {
    uint64_t counts[LAB_LATE_STEPS];
    uint64_t n;
    uint64_t max_ns;
};
void lab_lateness_add(struct lab_lateness *l, uint64_t late_ns);
void lab_lateness_clear(struct lab_lateness *l);
/* The upper edge of the step in which quantile q lies; 0 when nothing was counted. */
uint64_t lab_lateness_quantile(const struct lab_lateness *l, double q);

#endif
