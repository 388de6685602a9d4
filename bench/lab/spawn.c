/*
 * Programs in hosts. All of them live in one PID namespace, whose first process does nothing but wait for this
 * process to end; with it the kernel kills everything in the namespace, grandchildren and daemons included, whatever
 * ended us. They are still our own children, with ordinary pids for us to wait for.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/lab/internal.h"

/* ---- the first process ----------------------------------------------------------------------- */

/* Reaps orphans by ignoring SIGCHLD; ends when the lifeline does. */
static void __attribute__((noreturn)) init_main(int lifeline)
{
    sigset_t all;
    char byte;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGCHLD, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "lab-init");
    if (lifeline != 0)
        dup2(lifeline, 0);
    close_range(1, ~0U, 0);
    while (read(0, &byte, 1) < 0 && errno == EINTR)
        ;
    _exit(0);
}

static int open_pid_ns(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
    return open(path, O_RDONLY | O_CLOEXEC);
}

void lab_spawner_init(struct lab_spawner *s)
{
    int ends[2];
    *s = (struct lab_spawner){.pid_ns = -1, .lifeline = -1};
    if (pipe2(ends, O_CLOEXEC) < 0)
        return;
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) {
        close(ends[1]);
        init_main(ends[0]);
    }
    close(ends[0]);
    if (pid < 0) {
        /* No PID namespaces here: PR_SET_PDEATHSIG alone has to do. */
        close(ends[1]);
        return;
    }
    s->init = pid;
    s->lifeline = ends[1];
    s->pid_ns = open_pid_ns(pid);
}

/* ---- the list of children -------------------------------------------------------------------- */

static bool is_reaped(int pidfd)
{
    siginfo_t info;
    return waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

/* Forgets children that the caller has waited for, and makes room for one more. */
static int tidy(struct lab_spawner *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (is_reaped(s->pidfds[i]))
            close(s->pidfds[i]);
        else
            s->pidfds[kept++] = s->pidfds[i];
    }
    s->n = kept;
    if (s->n < s->capacity)
        return 0;
    size_t capacity = s->capacity ? s->capacity * 2 : 16;
    int *grown = realloc(s->pidfds, capacity * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    s->pidfds = grown;
    s->capacity = capacity;
    return 0;
}

static void wait_gone(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static void reap(int pidfd)
{
    siginfo_t info;
    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
        ;
}

void lab_spawner_stop(struct lab_spawner *s)
{
    for (size_t i = 0; i < s->n; i++) {
        syscall(SYS_pidfd_send_signal, s->pidfds[i], SIGKILL, NULL, 0);
        /* Before init: the end of a PID namespace waits until every process of it has been reaped. */
        reap(s->pidfds[i]);
        close(s->pidfds[i]);
    }
    free(s->pidfds);
    if (s->init > 0) {
        kill(s->init, SIGKILL);
        wait_gone(s->init);
    }
    int fds[] = {s->lifeline, s->pid_ns};
    for (size_t i = 0; i < BASE_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    *s = (struct lab_spawner){.pid_ns = -1, .lifeline = -1};
}

struct lab_group {
    struct lab_spawner spawner;
};

int lab_group_create(struct lab_group **out)
{
    *out = calloc(1, sizeof(**out));
    if (!*out)
        return -ENOMEM;
    lab_spawner_init(&(*out)->spawner);
    return 0;
}

void lab_group_end(struct lab_group *group)
{
    if (group)
        lab_spawner_stop(&group->spawner);
    free(group);
}

/* ---- a child --------------------------------------------------------------------------------- */

static void reset_signals(void)
{
    sigset_t none;
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Puts fds onto 0, 1 and 2. They may be any descriptors, these three included: first out of the way, then down. */
static int place_stdio(const struct lab_command *cmd)
{
    int wanted[3] = {cmd->fd_in, cmd->fd_out, cmd->fd_err};
    for (int i = 0; i < 3; i++) {
        int fd = wanted[i] >= 0 ? wanted[i] : open("/dev/null", O_RDWR | O_CLOEXEC);
        wanted[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (wanted[i] < 0)
            return -errno;
    }
    for (int i = 0; i < 3; i++)
        if (dup2(wanted[i], i) < 0)
            return -errno;
    return 0;
}

/* What the helper and the child say through a pipe that closes with exec. */
struct report {
    pid_t pid; /* 0: this is an error */
    int err;
};

static void say(int fd, struct report report)
{
    /* Nothing to do when it fails: then the parent is gone. */
    ssize_t ignored = write(fd, &report, sizeof(report));
    (void)ignored;
}

static void __attribute__((noreturn)) child_main(int netns, const struct lab_command *cmd, int report, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* The parent may have gone before that; 0: it is outside our PID namespace, whose init then takes us along. */
    if (getppid() != parent && getppid() != 0)
        _exit(127);
    reset_signals();
    /* "kill 0" in a stranger's script must not reach us. */
    if (cmd->group)
        setsid();
    for (char *const *var = cmd->env; var && *var; var++)
        putenv(*var);
    int res = setns(netns, CLONE_NEWNET) < 0 ? -errno : place_stdio(cmd);
    if (res == 0) {
        close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
        execvp(cmd->argv[0], (char *const *)(uintptr_t)cmd->argv);
        res = -errno;
    }
    say(report, (struct report){.err = res});
    _exit(127);
}

/* Entering a PID namespace counts for later children only, and may not be undone everywhere (a user namespace cannot
 * return to its parent's): so a helper enters it, and leaves us the child as our own (CLONE_PARENT). */
static void __attribute__((noreturn))
helper_main(const struct lab_spawner *s, int netns, const struct lab_command *cmd, int report, pid_t parent)
{
    pid_t pid = -1;
    if (s->pid_ns < 0 || setns(s->pid_ns, CLONE_NEWPID) == 0)
        pid = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0)
        child_main(netns, cmd, report, parent);
    struct report result = {.pid = pid};
    if (pid < 0)
        result = (struct report){.err = -errno};
    say(report, result);
    _exit(0);
}

/* Until helper and child have both closed the pipe. Returns the child's pid, or -errno when none runs. */
static pid_t read_reports(int fd)
{
    struct report report;
    pid_t pid = 0;
    int err = 0;
    ssize_t n;
    while ((n = read(fd, &report, sizeof(report))) != 0) {
        if (n < 0 && errno != EINTR)
            break;
        if (n == (ssize_t)sizeof(report) && report.pid)
            pid = report.pid;
        else if (n > 0)
            err = report.err;
    }
    if (err && pid)
        wait_gone(pid);
    return err ? err : pid ? pid : -ECHILD;
}

static pid_t start(const struct lab_spawner *s, int netns, const struct lab_command *cmd)
{
    int report[2];
    pid_t parent = getpid();
    if (pipe2(report, O_CLOEXEC) < 0)
        return -errno;
    pid_t helper = fork();
    if (helper == 0)
        helper_main(s, netns, cmd, report[1], parent);
    pid_t res = helper < 0 ? -errno : 0;
    close(report[1]);
    if (helper > 0) {
        res = read_reports(report[0]);
        wait_gone(helper);
    }
    close(report[0]);
    return res;
}

int lab_spawn_at(struct lab *lab, int netns, const struct lab_command *cmd, pid_t *pid, int *pidfd)
{
    struct lab_spawner *s = cmd->group ? &cmd->group->spawner : &lab->spawner;
    int res = tidy(s);
    pid_t child = res < 0 ? res : start(s, netns, cmd);
    if (child < 0)
        return child;
    int own = (int)syscall(SYS_pidfd_open, child, 0);
    int theirs = own < 0 ? -1 : fcntl(own, F_DUPFD_CLOEXEC, 0);
    if (theirs < 0) {
        res = -errno;
        kill(child, SIGKILL);
        wait_gone(child);
        if (own >= 0)
            close(own);
        return res;
    }
    s->pidfds[s->n++] = own;
    *pid = child;
    *pidfd = theirs;
    return 0;
}

int lab_spawn(struct lab *lab, struct lab_host *host, const struct lab_command *cmd, pid_t *pid, int *pidfd)
{
    return lab_spawn_at(lab, host->netns, cmd, pid, pidfd);
}
