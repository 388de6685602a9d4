/*
 * The coordinator: starts a worker process for each job, as many at once as the machine bears, and is the only writer
 * of trials.jsonl.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/campaign/coordinator.h"

/* Cells mostly wait for packets that are on their way: with twelve a core at RTT 40 ms a processor is idle for nine
 * tenths of the time. More need more memory than they gain. */
#define WORKERS_PER_CPU 24
/* Over a link without delay nothing waits but for the processor, and no packet can be seen to be late: measured, more
 * gain no trials a second. */
#define BLIND_PER_CPU 2
/* What is measured of a technique alone, before several are at once, is for not longer than this. */
#define SOLO_NS   (3 * BASE_NS_PER_S)
#define STATUS_NS (200 * BASE_NS_PER_MS)

static void fill_slots(struct coordinator *c);

static size_t count_cpus(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (size_t)CPU_COUNT(&set) : 1;
}

size_t campaign_auto_parallel(const struct campaign_config *config, size_t ranges)
{
    bool blind = false;
    for (size_t i = 0; i < config->n_links; i++)
        blind |= campaign_link_longest(&config->links[i]) == 0;
    size_t n = count_cpus() * (blind ? BLIND_PER_CPU : WORKERS_PER_CPU);
    if (n > CAMPAIGN_MAX_PARALLEL)
        n = CAMPAIGN_MAX_PARALLEL;
    return n < ranges ? n : ranges;
}

/* ---- stopping -------------------------------------------------------------------------------- */

/* A worker's lab and programs die with it. What it has written already is still read. */
void coordinator_stop_workers(struct coordinator *c)
{
    for (size_t i = 0; i < c->run->parallel; i++)
        if (c->slots[i].busy)
            syscall(SYS_pidfd_send_signal, c->slots[i].pidfd, SIGKILL, NULL, 0);
}

void coordinator_stop_for(struct coordinator *c, int err)
{
    if (coordinator_stopping(c))
        return;
    c->err = err;
    coordinator_stop_workers(c);
}

static void on_signal(struct loop_op *op, int res)
{
    struct coordinator *c = op->owner;
    struct signalfd_siginfo info;
    if (res < 0 || c->over)
        return;
    if (read(c->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info) && !coordinator_stopping(c)) {
        c->run->signal = (int)info.ssi_signo;
        coordinator_stop_workers(c);
    }
    loop_poll(c->loop, op, c->signal_fd, POLLIN);
}

/* ---- records --------------------------------------------------------------------------------- */

int coordinator_keep_record(struct coordinator *c, struct campaign_tally *tally, const struct record_view *view,
                            const char *line, size_t len)
{
    int res = campaign_results_append(c->run->results, line, len);
    if (res < 0) {
        campaign_progress_hide(&c->progress);
        base_error("%s/trials.jsonl cannot be written: %s; what is there stays, go on with --resume",
                   c->run->results->dir, strerror(-res));
        coordinator_stop_for(c, res);
        return res;
    }
    c->done++;
    return campaign_tally_add(tally, view);
}

void coordinator_say(struct coordinator *c, size_t cell, const char *what)
{
    campaign_progress_hide(&c->progress);
    base_warn("%s: %s", c->run->cells[cell].name, what);
}

static void take_record(struct slot *slot, char *line, size_t len)
{
    struct coordinator *c = slot->c;
    struct campaign_tally *tally = &c->run->tallies[slot->job.range.cell];
    struct record_view view;
    int res = record_view_parse(line, len, &view);
    /* The worker has looked at it already: this guards the file against a worker that went wrong. */
    if (res < 0 || strcmp(view.cell, c->run->cells[slot->job.range.cell].name) != 0 ||
        view.trial < slot->job.range.first || view.trial - slot->job.range.first >= slot->job.range.count ||
        campaign_tally_has(tally, view.trial)) {
        coordinator_say(c, slot->job.range.cell, "its worker wrote a record that is not its own");
        slot->refused = true;
        return;
    }
    line[len] = '\n';
    if (coordinator_keep_record(c, tally, &view, line, len + 1) < 0)
        return;
    uint64_t now = base_now_ns();
    c->proven++;
    c->times[slot->job.range.cell].made++;
    c->times[slot->job.range.cell].spent_ns += now - slot->since_ns;
    slot->since_ns = now;
}

static void slot_started(struct slot *slot)
{
    slot->c->starting -= slot->starting;
    slot->starting = false;
}

static void take_lateness(struct slot *slot, const char *text)
{
    struct coordinator *c = slot->c;
    size_t technique = coordinator_technique_of(c, slot->job.range.cell);
    uint64_t late;
    if (base_parse_u64(text, 0, UINT64_MAX, &late) < 0)
        return;
    /* An hour is late enough. */
    hist_record(&c->late, late < HIST_MAX_NS ? late : HIST_MAX_NS);
    if (slot->job.solo)
        campaign_pace_solo(&c->pace, technique, late);
    else if (c->run->paced)
        campaign_pace_report(&c->pace, technique, late, c->running);
    fill_slots(c);
}

static void take_line(struct slot *slot, char *line, size_t len)
{
    struct coordinator *c = slot->c;
    if (slot->refused || c->err)
        return;
    switch (*line) {
    case CAMPAIGN_LINE_FAILED:
        coordinator_say(c, slot->job.range.cell, line + 1);
        break;
    case CAMPAIGN_LINE_STARTED:
        slot_started(slot);
        fill_slots(c);
        break;
    case CAMPAIGN_LINE_LATE:
        take_lateness(slot, line + 1);
        break;
    default:
        take_record(slot, line, len);
    }
}

/* ---- workers --------------------------------------------------------------------------------- */

/* In the worker: nothing of the coordinator but its memory, its stderr and one end of the pipe. */
static void __attribute__((noreturn)) worker_main(struct coordinator *c, const struct job *job, int fd, pid_t parent)
{
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(BASE_EXIT_FAILED);
    /* A Ctrl-C is the coordinator's to handle. */
    setpgid(0, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(fd, 3) < 0 || close_range(4, ~0U, 0) < 0)
        _exit(BASE_EXIT_FAILED);
    struct campaign_job work = {.config = c->run->config,
                                .cell = &c->run->cells[job->range.cell],
                                .program_dir = c->run->program_dir,
                                .pcap = c->run->pcap,
                                .first = job->range.first,
                                .count = job->range.count};
    _exit(campaign_worker_main(&work, fcntl(3, F_SETFD, FD_CLOEXEC) < 0 ? -1 : 3));
}

/* How many workers there were, weighed by time. */
static void count_running(struct coordinator *c, int change)
{
    uint64_t now = base_now_ns();
    c->worker_ns += c->running * (now - c->changed_ns);
    c->changed_ns = now;
    c->running += (size_t)change;
    if (c->running > c->run->most)
        c->run->most = c->running;
}

static void slot_check_end(struct slot *slot)
{
    struct coordinator *c = slot->c;
    if (!slot->busy || slot->pidfd >= 0 || loop_op_pending(&slot->lines.op) || !slot->lines.ended)
        return;
    campaign_lines_free(&slot->lines);
    slot_started(slot);
    slot->busy = false;
    if (slot->job.solo)
        c->alone_until_ns = 0;
    count_running(c, -1);
    coordinator_job_ended(c, slot->index);
    fill_slots(c);
}

static void on_worker_line(struct campaign_lines *lines, char *line, size_t len)
{
    if (line)
        take_line(lines->owner, line, len);
    else
        slot_check_end(lines->owner);
}

static void worker_died(struct loop_op *op, int res)
{
    struct slot *slot = op->owner;
    siginfo_t info = {0};
    (void)res;
    if (waitid(P_PIDFD, (id_t)slot->pidfd, &info, WEXITED) == 0 && info.si_code != CLD_EXITED &&
        !coordinator_stopping(slot->c))
        coordinator_say(slot->c, slot->job.range.cell, "its worker was killed");
    close(slot->pidfd);
    slot->pidfd = -1;
    slot_check_end(slot);
}

static int start_worker(struct coordinator *c, struct slot *slot, size_t index)
{
    struct job job = c->jobs[index];
    int ends[2];
    pid_t parent = getpid();
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    /* What is buffered must not be written twice. */
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        worker_main(c, &job, ends[1], parent);
    int res = pid < 0 ? -errno : 0;
    close(ends[1]);
    int pidfd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
    if (pid > 0 && pidfd < 0) {
        res = -errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    if (res < 0) {
        close(ends[0]);
        return res;
    }
    *slot = (struct slot){.c = c, .job = job, .index = index, .busy = true, .starting = true, .pidfd = pidfd};
    loop_op_init(&slot->died_op, worker_died, slot);
    loop_poll(c->loop, &slot->died_op, pidfd, POLLIN);
    campaign_lines_start(&slot->lines, c->loop, ends[0], CAMPAIGN_LINE_MAX, on_worker_line, slot);
    slot->since_ns = base_now_ns();
    count_running(c, 1);
    c->starting++;
    return 0;
}

/* Whether the next job has to wait for others, or others for it. */
static bool must_wait(struct coordinator *c)
{
    size_t limit = c->run->paced ? c->pace.limit : c->run->parallel;
    /* Building labs is what takes the processor: one a core at a time, so that it does not disturb those that run. */
    if (c->running >= limit || c->starting >= c->max_starting || base_now_ns() < c->alone_until_ns)
        return true;
    return false;
}

static void on_alone(struct loop_op *op, int res)
{
    struct coordinator *c = op->owner;
    if (res < 0 || c->over)
        return;
    /* Another one may have begun meanwhile. */
    if (base_now_ns() < c->alone_until_ns)
        loop_timer(c->loop, op, c->alone_until_ns);
    else
        fill_slots(c);
}

/* Those before were alone, too, unless one takes longer than it should: then it mostly waits for a deadline. */
static void begin_alone(struct coordinator *c)
{
    c->alone_until_ns = base_now_ns() + SOLO_NS;
    if (!loop_op_pending(&c->alone_op))
        loop_timer(c->loop, &c->alone_op, c->alone_until_ns);
}

static struct slot *free_slot(struct coordinator *c)
{
    for (size_t i = 0; i < c->run->parallel; i++)
        if (!c->slots[i].busy)
            return &c->slots[i];
    return NULL;
}

static void fill_slots(struct coordinator *c)
{
    struct slot *slot;
    while (c->next < c->end && !coordinator_stopping(c) && !must_wait(c) && (slot = free_slot(c))) {
        int res = start_worker(c, slot, c->next);
        if (res < 0) {
            base_error("no worker could be started: %s", strerror(-res));
            coordinator_stop_for(c, res);
            return;
        }
        c->next++;
        if (slot->job.solo)
            begin_alone(c);
    }
    if (c->running == 0)
        loop_stop(c->loop);
}

/* ---- life ------------------------------------------------------------------------------------ */

static uint64_t expected(struct coordinator *c)
{
    uint64_t total = 0;
    for (size_t i = 0; i < c->run->n; i++) {
        const struct campaign_tally *t = &c->run->tallies[i];
        uint64_t trials = campaign_trials_expected(c->run->config, t);
        struct campaign_left *left = &c->times[i];
        left->technique = coordinator_technique_of(c, i);
        left->left = trials > t->measured ? trials - t->measured : 0;
        left->chain =
            c->run->config->until_width > 0 || left->left < c->run->config->block ? left->left : c->run->config->block;
        total += trials;
    }
    return total;
}

static void on_status(struct loop_op *op, int res)
{
    struct coordinator *c = op->owner;
    char text[160];
    if (res < 0 || c->over)
        return;
    uint64_t total = expected(c);
    /* One that is alone for a moment says nothing of how many there will be. */
    bool alone = base_now_ns() < c->alone_until_ns;
    double eta = alone ? NAN : campaign_eta(c->times, c->run->n, c->running);
    campaign_progress_format(c->done, total, c->running, eta, text, sizeof(text));
    campaign_progress_show(&c->progress, text);
    loop_timer(c->loop, op, base_now_ns() + STATUS_NS);
}

static void begin_progress(struct coordinator *c)
{
    for (size_t i = 0; i < c->run->n; i++)
        c->done += c->run->tallies[i].measured;
    campaign_progress_init(&c->progress);
    loop_op_init(&c->status_op, on_status, c);
    if (c->progress.terminal)
        loop_timer(c->loop, &c->status_op, base_now_ns() + STATUS_NS);
}

/* They stay blocked when we are done: one that comes while the summary is being written must not lose it. */
static int watch_signals(struct coordinator *c)
{
    loop_op_init(&c->signal_op, on_signal, c);
    c->signal_fd = loop_signal_fd();
    if (c->signal_fd < 0)
        return c->signal_fd;
    loop_poll(c->loop, &c->signal_op, c->signal_fd, POLLIN);
    return 0;
}

/* What this machine bore. New reference. */
static json_t *load_json(const struct coordinator *c)
{
    uint64_t took = c->changed_ns - c->begin_ns;
    json_t *solo = json_object();
    for (size_t i = 0; i < c->run->config->n_techniques; i++)
        if (c->pace.solo_ns[i])
            json_object_set_new(solo, c->run->config->techniques[i].label,
                                json_integer((json_int_t)c->pace.solo_ns[i]));
    return json_pack("{s:b, s:I, s:I, s:f, s:I, s:I, s:o}", "paced", c->run->paced, "trials", (json_int_t)c->proven,
                     "workers_most", (json_int_t)c->run->most, "workers_mean",
                     took ? (double)c->worker_ns / (double)took : 0.0, "took_ns", (json_int_t)took, "late_p99_ns",
                     (json_int_t)c->run->late_ns, "late_p99_alone_ns", solo);
}

static void finish(struct coordinator *c)
{
    c->run->err = c->err;
    c->run->late_ns = hist_quantile(&c->late, 0.5);
    c->over = true;
    loop_cancel(c->loop, &c->status_op);
    loop_cancel(c->loop, &c->signal_op);
    loop_cancel(c->loop, &c->alone_op);
    while (loop_pending(c->loop) > 0 && loop_run_once(c->loop, STATUS_NS) == 0)
        ;
    if (c->signal_fd >= 0)
        close(c->signal_fd);
    count_running(c, 0);
    c->run->load = c->proven ? load_json(c) : NULL;
    hist_clear(&c->late);
    free(c->slots);
    free(c->jobs);
    free(c->times);
    free(c->unmeasured);
    free(c->pending);
}

static int prepare(struct coordinator *c)
{
    const struct campaign_run *run = c->run;
    c->slots = calloc(run->parallel, sizeof(*c->slots));
    c->unmeasured = calloc(run->n, sizeof(*c->unmeasured));
    c->pending = calloc(run->n, sizeof(*c->pending));
    c->times = calloc(run->n, sizeof(*c->times));
    c->begin_ns = c->changed_ns = base_now_ns();
    loop_op_init(&c->alone_op, on_alone, c);
    campaign_pace_init(&c->pace, c->max_starting, run->parallel);
    return c->slots && c->unmeasured && c->pending && c->times ? coordinator_plan_jobs(c) : -ENOMEM;
}

int campaign_coordinate(struct campaign_run *run)
{
    struct coordinator c = {.run = run, .loop = run->loop, .signal_fd = -1, .max_starting = count_cpus()};
    int res = prepare(&c);
    if (res == 0)
        res = watch_signals(&c);
    if (res == 0) {
        begin_progress(&c);
        fill_slots(&c);
        while (c.running > 0 && res == 0)
            res = loop_run(c.loop);
    }
    if (res < 0 && !c.err)
        base_error("the campaign could not be run: %s", strerror(-res));
    campaign_progress_hide(&c.progress);
    coordinator_settle_lost(&c);
    finish(&c);
    if (res == 0 && c.err)
        res = c.err;
    return res == 0 && c.hopeless ? -ECANCELED : res;
}
