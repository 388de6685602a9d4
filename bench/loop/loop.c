/*
 * The ring, the slot table, and the run loop. A completion carries a slot and its generation; the slot leads to the
 * op. A slot is freed when its op completes, and its generation moves on, so that a stale completion finds nobody.
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

#include "bench/loop/loop.h"

#define DEFAULT_ENTRIES 256
/* More than one burst of completions; the kernel keeps what overflows. */
#define CQ_FACTOR 16
#define NO_SLOT   UINT32_MAX

_Static_assert(sizeof(((struct loop_op *)0)->ts) == sizeof(struct __kernel_timespec), "timespec layout");

struct slot {
    struct loop_op *op; /* NULL = free, then next_free counts */
    uint32_t generation;
    uint32_t next_free;
};

struct loop {
    struct io_uring ring;
    struct slot *slots;
    uint32_t n_slots;
    uint32_t free_slot;
    unsigned pending;
    bool stop;
    char features[64];
};

/* ---- user data ------------------------------------------------------------------------------- */

/* Completions that concern no op: cancel requests. (UINT64_MAX itself is liburing's.) */
#define DATA_NOBODY (UINT64_MAX - 1)

static uint64_t data_pack(uint32_t slot, uint32_t generation)
{
    return (uint64_t)generation << 32 | slot;
}

static struct slot *data_unpack(struct loop *loop, uint64_t data)
{
    uint32_t index = (uint32_t)data;
    if (data == DATA_NOBODY || index >= loop->n_slots)
        return NULL;
    struct slot *slot = &loop->slots[index];
    return slot->op && slot->generation == (uint32_t)(data >> 32) ? slot : NULL;
}

static uint32_t slot_take(struct loop *loop)
{
    if (loop->free_slot == NO_SLOT) {
        uint32_t n = loop->n_slots ? loop->n_slots * 2 : 64;
        struct slot *grown = realloc(loop->slots, n * sizeof(*grown));
        /* The table is small beside what an op's owner already holds: out of memory here is the end. */
        if (!grown)
            abort();
        for (uint32_t i = loop->n_slots; i < n; i++)
            grown[i] = (struct slot){.next_free = i + 1 < n ? i + 1 : NO_SLOT};
        loop->free_slot = loop->n_slots;
        loop->slots = grown;
        loop->n_slots = n;
    }
    uint32_t index = loop->free_slot;
    loop->free_slot = loop->slots[index].next_free;
    return index;
}

static void slot_give(struct loop *loop, struct slot *slot)
{
    slot->op = NULL;
    slot->generation++;
    slot->next_free = loop->free_slot;
    loop->free_slot = (uint32_t)(slot - loop->slots);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int ring_init(struct loop *loop, unsigned entries)
{
    /* Newest first; Linux 6.1 has them all, an older kernel refuses unknown flags with EINVAL. */
    static const struct {
        unsigned flags;
        const char *name;
    } tries[] = {
        {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, "single_issuer defer_taskrun"},
        {IORING_SETUP_COOP_TASKRUN, "coop_taskrun"},
        {0, "plain"},
    };
    int err = -EINVAL;
    for (size_t i = 0; i < BASE_ARRAY_LEN(tries) && err == -EINVAL; i++) {
        /* CLAMP: the completion queue's own maximum is 65,536. */
        struct io_uring_params params = {
            .flags = tries[i].flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL,
            .cq_entries = entries * CQ_FACTOR,
        };
        err = io_uring_queue_init_params(entries, &loop->ring, &params);
        strncpy(loop->features, tries[i].name, sizeof(loop->features) - 1);
    }
    return err;
}

int loop_create(struct loop **out, unsigned entries)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return -ENOMEM;
    int err = ring_init(loop, entries ? entries : DEFAULT_ENTRIES);
    if (err < 0) {
        free(loop);
        return err;
    }
    loop->free_slot = NO_SLOT;
    *out = loop;
    return 0;
}

void loop_destroy(struct loop *loop)
{
    if (!loop)
        return;
    io_uring_queue_exit(&loop->ring);
    free(loop->slots);
    free(loop);
}

const char *loop_explain(int err)
{
    switch (err) {
    case -ENOSYS:
        return "this kernel has no io_uring: Linux 6.1 or newer is needed";
    case -EPERM:
    case -EACCES:
        return "io_uring is disabled here: set sysctl kernel.io_uring_disabled=0, or allow it in the container's "
               "seccomp profile";
    case -ENOMEM:
        return "no memory for io_uring: raise the locked-memory limit (ulimit -l)";
    case -EMFILE:
    case -ENFILE:
        return "no descriptor left for io_uring: raise the open-file limit (ulimit -n)";
    default:
        return "io_uring could not be set up: Linux 6.1 or newer is needed";
    }
}

const char *loop_features(const struct loop *loop)
{
    return loop->features;
}

/* ---- running --------------------------------------------------------------------------------- */

static void complete_ready(struct loop *loop)
{
    struct io_uring_cqe *cqe;
    /* Only what is there now: ops that complete at once and start again would otherwise keep this going, and timers,
     * which need a wait to be delivered, would never come. */
    unsigned ready = io_uring_cq_ready(&loop->ring);
    /* One at a time, seen before the callback: the callback may start ops and flush. */
    for (; ready > 0 && !loop->stop && io_uring_peek_cqe(&loop->ring, &cqe) == 0; ready--) {
        uint64_t data = cqe->user_data;
        int res = cqe->res;
        io_uring_cqe_seen(&loop->ring, cqe);
        struct slot *slot = data_unpack(loop, data);
        if (!slot)
            continue;
        struct loop_op *op = slot->op;
        slot_give(loop, slot);
        /* A timer's own success is -ETIME. */
        if (op->timer && res == -ETIME)
            res = 0;
        op->pending = op->timer = false;
        loop->pending--;
        op->done(op, res);
    }
}

static int submit_and_wait(struct loop *loop, uint64_t timeout_ns)
{
    struct __kernel_timespec ts = {.tv_sec = (long long)(timeout_ns / BASE_NS_PER_S),
                                   .tv_nsec = (long long)(timeout_ns % BASE_NS_PER_S)};
    struct io_uring_cqe *cqe;
    int err;
    if (timeout_ns == UINT64_MAX)
        err = io_uring_submit_and_wait(&loop->ring, 1);
    else if (timeout_ns == 0 || io_uring_cq_ready(&loop->ring) > 0)
        /* The timed call does not fetch events where some are ready, and timers are such events. */
        err = io_uring_submit_and_get_events(&loop->ring);
    else
        err = io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1, &ts, NULL);
    /* EBUSY and EAGAIN: the completion queue is full or memory is short; completing what is there helps. */
    if (err == -EINTR || err == -ETIME || err == -EBUSY || err == -EAGAIN)
        return 0;
    return err < 0 ? err : 0;
}

int loop_run_once(struct loop *loop, uint64_t timeout_ns)
{
    loop->stop = false;
    int err = submit_and_wait(loop, timeout_ns);
    if (err == 0)
        complete_ready(loop);
    return err;
}

int loop_run(struct loop *loop)
{
    loop->stop = false;
    while (!loop->stop && loop->pending > 0) {
        int err = submit_and_wait(loop, UINT64_MAX);
        if (err < 0)
            return err;
        complete_ready(loop);
    }
    return 0;
}

void loop_stop(struct loop *loop)
{
    loop->stop = true;
}

unsigned loop_pending(const struct loop *loop)
{
    return loop->pending;
}

void loop_flush(struct loop *loop)
{
    io_uring_submit(&loop->ring);
}

/* ---- operations ------------------------------------------------------------------------------ */

static struct io_uring_sqe *get_sqe(struct loop *loop)
{
    struct io_uring_sqe *sqe;
    /* A full submission queue empties on submit; EBUSY (full completion queue) needs the events taken first. */
    while (!(sqe = io_uring_get_sqe(&loop->ring))) {
        int err = io_uring_submit(&loop->ring);
        if (err == -EBUSY)
            io_uring_get_events(&loop->ring);
        /* EEXIST: another thread or process than the loop's own. The caller could not go on, nor could this loop. */
        if (err < 0 && err != -EBUSY && err != -EAGAIN && err != -EINTR) {
            base_error("io_uring takes no operations: %s", strerror(-err));
            abort();
        }
    }
    return sqe;
}

void loop_op_init(struct loop_op *op, loop_done_fn *done, void *owner)
{
    *op = (struct loop_op){.done = done, .owner = owner, .slot = NO_SLOT};
}

static void start(struct loop *loop, struct loop_op *op, struct io_uring_sqe *sqe)
{
    /* Two completions for one op would be the end of the contract: fail loudly, in every build. */
    if (op->pending)
        abort();
    op->slot = slot_take(loop);
    op->pending = true;
    loop->pending++;
    loop->slots[op->slot].op = op;
    io_uring_sqe_set_data64(sqe, data_pack(op->slot, loop->slots[op->slot].generation));
}

void loop_cancel(struct loop *loop, struct loop_op *op)
{
    if (!op->pending)
        return;
    struct io_uring_sqe *sqe = get_sqe(loop);
    io_uring_prep_cancel64(sqe, data_pack(op->slot, loop->slots[op->slot].generation), 0);
    io_uring_sqe_set_data64(sqe, DATA_NOBODY);
}

void loop_timer(struct loop *loop, struct loop_op *op, uint64_t when_ns)
{
    struct io_uring_sqe *sqe = get_sqe(loop);
    op->ts.tv_sec = (int64_t)(when_ns / BASE_NS_PER_S);
    op->ts.tv_nsec = (long long)(when_ns % BASE_NS_PER_S);
    io_uring_prep_timeout(sqe, (struct __kernel_timespec *)(void *)&op->ts, 0, IORING_TIMEOUT_ABS);
    start(loop, op, sqe);
    op->timer = true;
}

void loop_poll(struct loop *loop, struct loop_op *op, int fd, unsigned events)
{
    struct io_uring_sqe *sqe = get_sqe(loop);
    io_uring_prep_poll_add(sqe, fd, events);
    start(loop, op, sqe);
}

void loop_accept(struct loop *loop, struct loop_op *op, int fd)
{
    struct io_uring_sqe *sqe = get_sqe(loop);
    io_uring_prep_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    start(loop, op, sqe);
}

void loop_connect(struct loop *loop, struct loop_op *op, int fd, const union base_ep *to)
{
    struct io_uring_sqe *sqe = get_sqe(loop);
    io_uring_prep_connect(sqe, fd, &to->sa, base_ep_len(to));
    start(loop, op, sqe);
}

void loop_recv(struct loop *loop, struct loop_op *op, int fd, void *buf, size_t len)
{
    struct io_uring_sqe *sqe = get_sqe(loop);
    io_uring_prep_recv(sqe, fd, buf, len, 0);
    start(loop, op, sqe);
}

void loop_send(struct loop *loop, struct loop_op *op, int fd, const void *buf, size_t len)
{
    struct io_uring_sqe *sqe = get_sqe(loop);
    io_uring_prep_send(sqe, fd, buf, len, MSG_NOSIGNAL | MSG_WAITALL);
    start(loop, op, sqe);
}

void loop_recvmsg(struct loop *loop, struct loop_op *op, int fd, struct msghdr *msg)
{
    struct io_uring_sqe *sqe = get_sqe(loop);
    io_uring_prep_recvmsg(sqe, fd, msg, 0);
    start(loop, op, sqe);
}

void loop_sendmsg(struct loop *loop, struct loop_op *op, int fd, const struct msghdr *msg)
{
    struct io_uring_sqe *sqe = get_sqe(loop);
    io_uring_prep_sendmsg(sqe, fd, msg, MSG_NOSIGNAL);
    start(loop, op, sqe);
}

void loop_read(struct loop *loop, struct loop_op *op, int fd, void *buf, size_t len)
{
    struct io_uring_sqe *sqe = get_sqe(loop);
    io_uring_prep_read(sqe, fd, buf, (unsigned)len, (uint64_t)-1);
    start(loop, op, sqe);
}

void loop_write(struct loop *loop, struct loop_op *op, int fd, const void *buf, size_t len)
{
    struct io_uring_sqe *sqe = get_sqe(loop);
    io_uring_prep_write(sqe, fd, buf, (unsigned)len, (uint64_t)-1);
    start(loop, op, sqe);
}

void loop_close(struct loop *loop, struct loop_op *op, int fd)
{
    struct io_uring_sqe *sqe = get_sqe(loop);
    io_uring_prep_close(sqe, fd);
    start(loop, op, sqe);
}

/* ---- signals --------------------------------------------------------------------------------- */

int loop_signal_fd(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}
