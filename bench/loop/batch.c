/*
 * Many small writes in one system call: a ring of its own, submitted and reaped at once. A system call costs
 * as much as a packet's way through half of a device here, and io_uring's own work per operation less than half of
 * that.
 *
 * It pays only where the kernel does the work within the call. Whether it does is seen from the first batch on: what is
 * not complete when the submission returns went to a worker thread, and from then on plain calls are made.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/loop/loop.h"

/* Below this many, plain calls are as quick. */
#define WORTH_IT 3

struct loop_batch {
    struct io_uring ring;
    unsigned entries;
    bool has_ring;
    bool plain;
};

void loop_batch_create(struct loop_batch **out, unsigned entries)
{
    struct loop_batch *batch = calloc(1, sizeof(*batch));
    *out = batch;
    if (!batch)
        return;
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                              IORING_SETUP_SUBMIT_ALL};
    batch->entries = entries;
    batch->has_ring = io_uring_queue_init_params(entries, &batch->ring, &params) == 0;
    batch->plain = !batch->has_ring;
}

void loop_batch_destroy(struct loop_batch *batch)
{
    if (batch && batch->has_ring)
        io_uring_queue_exit(&batch->ring);
    free(batch);
}

bool loop_batch_is_plain(const struct loop_batch *batch)
{
    return !batch || batch->plain;
}

static void write_plain(struct loop_io *ios, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        ssize_t res = write(ios[i].fd, ios[i].data, ios[i].len);
        ios[i].res = res < 0 ? -errno : (int)res;
    }
}

static unsigned reap(struct io_uring *ring)
{
    struct io_uring_cqe *cqe;
    unsigned head, n = 0;
    io_uring_for_each_cqe(ring, head, cqe)
    {
        struct loop_io *io = io_uring_cqe_get_data(cqe);
        io->res = cqe->res;
        n++;
    }
    io_uring_cq_advance(ring, n);
    return n;
}

static void write_ring(struct loop_batch *batch, struct loop_io *ios, unsigned n)
{
    struct io_uring_cqe *cqe;
    for (unsigned i = 0; i < n; i++) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&batch->ring);
        io_uring_prep_write(sqe, ios[i].fd, ios[i].data, (unsigned)ios[i].len, 0);
        io_uring_sqe_set_data(sqe, &ios[i]);
        ios[i].res = -ECANCELED;
    }
    int submitted = io_uring_submit(&batch->ring);
    unsigned done = reap(&batch->ring);
    if (submitted != (int)n || done != n)
        batch->plain = true;
    /* Its buffers are the caller's: nothing may be under way when this returns. */
    while (submitted > 0 && done < (unsigned)submitted && io_uring_wait_cqe(&batch->ring, &cqe) == 0)
        done += reap(&batch->ring);
}

void loop_batch_write(struct loop_batch *batch, struct loop_io *ios, unsigned n)
{
    while (n) {
        if (loop_batch_is_plain(batch) || n < WORTH_IT) {
            write_plain(ios, n);
            return;
        }
        unsigned part = n < batch->entries ? n : batch->entries;
        write_ring(batch, ios, part);
        ios += part;
        n -= part;
    }
}
