/*
 * bench/loop: the io_uring event loop; the only user of liburing.
 *
 * Rules, once for all:
 * - One ring per thread. A loop is used only by the thread (and process) that made it.
 * - An operation is a struct loop_op embedded in its owner. From the call that starts it until its
 *   `done` callback it is *pending*, and neither it nor its buffers may be freed, moved or re-used.
 * - Every started operation completes exactly once, always from within loop_run(), never from within
 *   the call that started it. `done` may start the same op again, or free its owner.
 * - loop_cancel() asks; the completion still comes, with -ECANCELED or with the result that won the race.
 *   Cancelling an op that is not pending does nothing.
 * - Results are as of the system call: >= 0, or -errno. A timer that fires completes with 0.
 * - Descriptors are blocking ones: the ring waits for them. On one with O_NONBLOCK an operation that would wait
 *   completes with -EAGAIN; use loop_poll() there.
 * - Descriptors belong to the caller; loop_close() takes one over. They are blocking ones: with O_NONBLOCK the kernel
 *   answers -EAGAIN (a connect -EINPROGRESS) instead of waiting.
 * - Starting an op cannot fail; what the kernel refuses comes as its completion.
 */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "bench/base/base.h"

struct loop;
struct loop_op;

typedef void loop_done_fn(struct loop_op *op, int res);

struct loop_op {
    loop_done_fn *done; /* set by loop_op_init */
    void *owner;        /* for the callback; the loop does not read it */
    /* private to the loop */
    uint32_t slot;
    bool pending;
    bool timer;
    struct {
        int64_t tv_sec;
        long long tv_nsec;
    } ts;
};

/* Makes a loop whose submission queue holds `entries` (0 = a default). 0, or -errno: -ENOSYS or -EPERM where
 * io_uring is missing or disabled; loop_explain() has the sentence for it. */
int loop_create(struct loop **out, unsigned entries);
/* No op may be pending but those on descriptors the caller has closed; see loop_pending(). */
void loop_destroy(struct loop *loop);
/* One clear sentence for a failed loop_create(); static storage. */
const char *loop_explain(int err);
/* "single_issuer defer_taskrun", ... for the run description; static storage. */
const char *loop_features(const struct loop *loop);

/* Runs until loop_stop(), or until nothing is pending. 0, or -errno of the ring itself. After a stop the completions
 * that were ready, and the ops that were queued, keep for the next run. */
int loop_run(struct loop *loop);
/* One round: submits, waits at most timeout_ns (0 = do not wait) and completes what is ready. */
int loop_run_once(struct loop *loop, uint64_t timeout_ns);
/* From a callback: its run ends when it returns. Between runs it does nothing. */
void loop_stop(struct loop *loop);
/* Operations started and not yet completed. */
unsigned loop_pending(const struct loop *loop);
/* Hands queued operations to the kernel now instead of at the end of the callback. */
void loop_flush(struct loop *loop);

void loop_op_init(struct loop_op *op, loop_done_fn *done, void *owner);
static inline bool loop_op_pending(const struct loop_op *op)
{
    return op->pending;
}
void loop_cancel(struct loop *loop, struct loop_op *op);

/* Fires at when_ns on base_now_ns()'s clock; at once when that is past. */
void loop_timer(struct loop *loop, struct loop_op *op, uint64_t when_ns);
/* Completes once when one of `events` (POLLIN, POLLOUT, ...) is ready; res is the ready mask. */
void loop_poll(struct loop *loop, struct loop_op *op, int fd, unsigned events);

/* res is the new descriptor, CLOEXEC. The peer's address is left to getpeername(). */
void loop_accept(struct loop *loop, struct loop_op *op, int fd);
/* *to must live until completion. */
void loop_connect(struct loop *loop, struct loop_op *op, int fd, const union base_ep *to);
void loop_recv(struct loop *loop, struct loop_op *op, int fd, void *buf, size_t len);
/* Sends all of buf where the kernel can (MSG_WAITALL), without SIGPIPE. */
void loop_send(struct loop *loop, struct loop_op *op, int fd, const void *buf, size_t len);
void loop_recvmsg(struct loop *loop, struct loop_op *op, int fd, struct msghdr *msg);
void loop_sendmsg(struct loop *loop, struct loop_op *op, int fd, const struct msghdr *msg);
/* For pipes, terminals and files (at the file's own position). */
void loop_read(struct loop *loop, struct loop_op *op, int fd, void *buf, size_t len);
void loop_write(struct loop *loop, struct loop_op *op, int fd, const void *buf, size_t len);
/*
 * SIGINT, SIGTERM and SIGHUP no longer end the program but make the returned descriptor readable (signalfd), for
 * loop_poll(); SIGPIPE is ignored. The descriptor is the caller's. -errno when there is none to be had.
 */
int loop_signal_fd(void);
/* Closes fd; res is close()'s. */
void loop_close(struct loop *loop, struct loop_op *op, int fd);

/*
 * Many small writes to descriptors that never make them wait, in order, in one system call. Nothing of the loop:
 * done when the call returns. Where the kernel would leave them to worker threads, or has no ring to give, plain calls
 * are made instead; so creating one cannot fail (*out may be NULL, which is one with plain calls).
 */
struct loop_batch;
struct loop_io {
    int fd;
    int res; /* as of write(), or -errno */
    const void *data;
    size_t len;
};

/* `entries` at most go into one system call. */
void loop_batch_create(struct loop_batch **out, unsigned entries);
void loop_batch_destroy(struct loop_batch *batch);
bool loop_batch_is_plain(const struct loop_batch *batch);
void loop_batch_write(struct loop_batch *batch, struct loop_io *ios, unsigned n);

#endif
