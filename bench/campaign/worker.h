/*
 * bench/campaign, for the worker's own files: one range of one cell's trials in a process of its own.
 *
 *   worker.c   the lab, the trials one after the other, what the coordinator is told
 *   program.c  a program in a host, and waiting for what it does
 *   peers.c    measures with rendezvous and a technique's program     exec.c   measures with a section's own commands
 *   turn.c     the TURN server beside rendezvous, where a technique relays
 */
#ifndef BENCH_CAMPAIGN_WORKER_H
#define BENCH_CAMPAIGN_WORKER_H

#include "bench/campaign/lines.h"
#include "bench/campaign/measure.h"

/* Starting a program on a busy machine; measured: some 10 ms each on an idle one. */
#define WORKER_START_LIMIT_NS (10 * BASE_NS_PER_S)
/* One wait of the loop: how soon a deadline or a dead program is noticed. */
#define WORKER_STEP_NS (100 * BASE_NS_PER_MS)

#define WORKER_LAST_LINES    16
#define WORKER_LAST_LINE_LEN 160

/* A program in a host. */
struct worker_program {
    const char *name, *role; /* "simopen", "a" */
    struct loop *loop;
    struct loop_op died_op;
    pid_t pid;
    int pidfd;
    bool running;
    bool ready; /* a line with "ready" was on its stderr */
    int status; /* as of waitid(): si_status, and killed by a signal or not */
    bool killed;
    struct campaign_lines err, out;
    char last[WORKER_LAST_LINES][WORKER_LAST_LINE_LEN]; /* a ring of what it said last */
    size_t n_last;
};

struct worker;

/* What makes a trial: the technique's own peers, or a stranger's commands. Each gives 0, or what worker_failed() does.
 */
struct worker_measurer {
    int (*begin)(struct worker *w);
    /* The NATs are fresh. Leaves the joint record of that trial, a line of its own, in w->record. */
    int (*trial)(struct worker *w, uint64_t trial);
    int (*end)(struct worker *w); /* after the last trial */
    /* Stops what still runs, and frees; the lab is gone already. After a failure, too. */
    void (*stop)(struct worker *w);
};

extern const struct worker_measurer worker_peers, worker_exec;

struct worker_exec_state;

/* A TURN server in host s. */
struct worker_turn {
    struct worker_program program;
    bool wanted;
    char dir[32];        /* its files, until they are gone; "" = none */
    bool udp, tcp;       /* it listens there */
    uint64_t made, gone; /* allocations, as its log has them */
};

struct worker {
    const struct campaign_job *job;
    struct loop *loop;
    struct campaign_hosts hosts;
    struct worker_program s, a, b;
    int fd; /* to the coordinator */
    uint64_t told_late_ns;
    char *record; /* the line that came; owned */
    bool failed;
    struct campaign_restarts restarts;
    /* the peers' */
    int step_fd; /* S's stdin */
    bool told_s_closed;
    struct worker_turn turn;
    /* the commands' */
    struct worker_exec_state *exec;
};

/* The warm-up's first, whose records nobody gets. */
static inline uint64_t worker_first_made(const struct worker *w)
{
    return w->job->first - w->job->config->warmup;
}

/* ---- telling the coordinator (worker.c) ------------------------------------------------------ */

void worker_tell(struct worker *w, const char *line, size_t len);
/* Says what failed, once: the first failure explains the others. -EIO. */
__attribute__((format(printf, 2, 3))) int worker_failed(struct worker *w, const char *fmt, ...);

/* ---- the TURN server (turn.c) ---------------------------------------------------------------- */

/* Starts it, if the cell's technique relays, and waits until it listens. These give 0, or what worker_failed() does. */
int worker_turn_begin(struct worker *w);
/* Before a trial: starts it again where it has died. */
int worker_turn_check(struct worker *w);
/* After a trial: gives the peers a moment to delete their allocations, before their NATs forget the way there. */
void worker_turn_settle(struct worker *w);
void worker_turn_stop(struct worker *w);
/* The options that tell a peer of it, each with its value behind it, NULL-terminated; static. Empty where there is
 * none. */
const char *const *worker_turn_options(const struct worker *w);

/* ---- programs and waiting (program.c) -------------------------------------------------------- */

void worker_program_init(struct worker_program *p, const char *name, const char *role, struct loop *loop);
/* Starts it in the host. Takes fd_in and fd_out, which may be -1. */
int worker_program_start(struct worker *w, struct worker_program *p, struct lab_host *host, const char *const *argv,
                         int fd_in, int fd_out);
/* From now on it is watched: `cmd` runs as pid, and says things on fd_err. Takes pidfd and fd_err. */
void worker_program_watch(struct worker *w, struct worker_program *p, int pidfd, int fd_err);
/* Keeps a line among its last ones. */
void worker_program_said(struct worker_program *p, const char *line);
/* The last lines it said, `most` at most, oldest first. */
void worker_program_words(const struct worker_program *p, size_t most, char *buf, size_t cap);
/* Stops listening to it; its operations are over when this returns. It is to be dead, or to be killed by others. */
void worker_program_close(struct worker *w, struct worker_program *p);
/* worker_failed(): it ended, or hung, while `doing` (ends the sentence). */
int worker_program_explain(struct worker *w, const struct worker_program *p, const char *doing);

typedef bool worker_condition_fn(const struct worker *w);
/* Runs the loop until the condition holds (true) or the deadline has passed (false). */
bool worker_wait_until(struct worker *w, worker_condition_fn *condition, uint64_t deadline_ns);

#endif
