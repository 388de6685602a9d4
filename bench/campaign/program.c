/* A program in a host of a worker's lab: started, listened to, waited for. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/campaign/worker.h"

#define DRAIN_LIMIT_NS (200 * BASE_NS_PER_MS)
/* What an error tells of a program's output. */
#define WORDS_LINES 3

static void died(struct loop_op *op, int res)
{
    struct worker_program *p = op->owner;
    siginfo_t info = {0};
    if (res == -ECANCELED || waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG) < 0)
        return;
    if (info.si_pid == 0) {
        loop_poll(p->loop, op, p->pidfd, POLLIN);
        return;
    }
    p->running = false;
    p->killed = info.si_code != CLD_EXITED;
    p->status = info.si_status;
}

void worker_program_said(struct worker_program *p, const char *line)
{
    snprintf(p->last[p->n_last++ % WORKER_LAST_LINES], WORKER_LAST_LINE_LEN, "%s", line);
}

static void on_err_line(struct campaign_lines *lines, char *line, size_t len)
{
    struct worker_program *p = lines->owner;
    if (!line || len == 0)
        return;
    if (strstr(line, "ready"))
        p->ready = true;
    worker_program_said(p, line);
}

void worker_program_words(const struct worker_program *p, size_t most, char *buf, size_t cap)
{
    size_t from = p->n_last > most ? p->n_last - most : 0;
    buf[0] = '\0';
    for (size_t i = from; i < p->n_last; i++) {
        size_t len = strlen(buf);
        snprintf(buf + len, cap - len, "%s%s", i > from ? " | " : "", p->last[i % WORKER_LAST_LINES]);
    }
    if (p->n_last == 0)
        snprintf(buf, cap, "it said nothing");
}

/* What a program said as it died may still be in the pipe. */
static void drain(struct worker *w, const struct worker_program *p)
{
    uint64_t deadline = base_now_ns() + DRAIN_LIMIT_NS;
    while (p->err.loop && !p->err.ended && !p->running && base_now_ns() < deadline)
        if (loop_run_once(w->loop, WORKER_STEP_NS / 10) < 0)
            break;
}

int worker_program_explain(struct worker *w, const struct worker_program *p, const char *doing)
{
    char words[WORDS_LINES * (WORKER_LAST_LINE_LEN + 4)];
    drain(w, p);
    worker_program_words(p, WORDS_LINES, words, sizeof(words));
    if (p->running)
        return worker_failed(w, "%s (%s) hung %s; %s", p->name, p->role, doing, words);
    if (p->killed)
        return worker_failed(w, "%s (%s) was killed by signal %d (%s) %s; %s", p->name, p->role, p->status,
                             strsignal(p->status), doing, words);
    return worker_failed(w, "%s (%s) ended with status %d %s; %s", p->name, p->role, p->status, doing, words);
}

void worker_program_init(struct worker_program *p, const char *name, const char *role, struct loop *loop)
{
    *p = (struct worker_program){.name = name, .role = role, .loop = loop, .pidfd = -1};
    loop_op_init(&p->died_op, died, p);
}

void worker_program_watch(struct worker *w, struct worker_program *p, int pidfd, int fd_err)
{
    p->pidfd = pidfd;
    p->running = true;
    campaign_lines_start(&p->err, w->loop, fd_err, WORKER_LAST_LINE_LEN, on_err_line, p);
    loop_poll(w->loop, &p->died_op, pidfd, POLLIN);
}

int worker_program_start(struct worker *w, struct worker_program *p, struct lab_host *host, const char *const *argv,
                         int fd_in, int fd_out)
{
    int err[2], pidfd = -1;
    int res = pipe2(err, O_CLOEXEC) < 0 ? -errno : 0;
    if (res == 0) {
        struct lab_command cmd = {.argv = argv, .fd_in = fd_in, .fd_out = fd_out, .fd_err = err[1]};
        res = lab_spawn(w->hosts.lab, host, &cmd, &p->pid, &pidfd);
        close(err[1]);
        if (res < 0)
            close(err[0]);
    }
    if (fd_in >= 0)
        close(fd_in);
    if (fd_out >= 0)
        close(fd_out);
    if (res < 0)
        return worker_failed(w, "%s could not be started: %s", argv[0], strerror(-res));
    worker_program_watch(w, p, pidfd, err[0]);
    return 0;
}

void worker_program_close(struct worker *w, struct worker_program *p)
{
    loop_cancel(w->loop, &p->died_op);
    campaign_lines_stop(&p->err);
    campaign_lines_stop(&p->out);
    while ((loop_op_pending(&p->died_op) || (p->err.loop && loop_op_pending(&p->err.op)) ||
            (p->out.loop && loop_op_pending(&p->out.op))) &&
           loop_run_once(w->loop, WORKER_STEP_NS) == 0)
        ;
    campaign_lines_free(&p->err);
    campaign_lines_free(&p->out);
    if (p->pidfd >= 0)
        close(p->pidfd);
    p->pidfd = -1;
}

bool worker_wait_until(struct worker *w, worker_condition_fn *condition, uint64_t deadline_ns)
{
    while (!condition(w)) {
        uint64_t now = base_now_ns();
        if (now >= deadline_ns || w->failed)
            return false;
        uint64_t left = deadline_ns - now;
        int res = loop_run_once(w->loop, left < WORKER_STEP_NS ? left : WORKER_STEP_NS);
        if (res < 0) {
            worker_failed(w, "the event loop failed: %s", strerror(-res));
            return false;
        }
    }
    return true;
}
