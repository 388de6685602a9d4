/*
 * May this process build a lab? Everything is tried in a child first, so that a half-possible way changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/lab/lab.h"
#include "bench/lab/netns.h"

/* How far an attempt came. */
enum step { STEP_DONE, STEP_UNSHARE, STEP_MAP, STEP_TUN_OPEN, STEP_TUN_MAKE, STEP_FORK };

struct attempt {
    enum step step; /* where it failed */
    int err;        /* errno */
};

static struct attempt failed(enum step step)
{
    return (struct attempt){step, errno};
}

/* ---- a user namespace ------------------------------------------------------------------------ */

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, text, strlen(text));
    int err = errno;
    close(fd);
    errno = err;
    return n < 0 ? -1 : 0;
}

/* Root inside is this user outside. */
static struct attempt enter_user_ns(void)
{
    char uid_map[32], gid_map[32];
    snprintf(uid_map, sizeof(uid_map), "0 %u 1", (unsigned)geteuid());
    snprintf(gid_map, sizeof(gid_map), "0 %u 1", (unsigned)getegid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return failed(STEP_UNSHARE);
    /* Without this the kernel refuses gid_map (user_namespaces(7)). */
    if (write_file("/proc/self/setgroups", "deny") < 0 && errno != ENOENT)
        return failed(STEP_MAP);
    if (write_file("/proc/self/uid_map", uid_map) < 0 || write_file("/proc/self/gid_map", gid_map) < 0)
        return failed(STEP_MAP);
    return (struct attempt){STEP_DONE, 0};
}

/* ---- attempts -------------------------------------------------------------------------------- */

static struct attempt try_here(bool user_ns)
{
    int tun, res;
    if (user_ns) {
        struct attempt a = enter_user_ns();
        if (a.step != STEP_DONE)
            return a;
    } else if (unshare(CLONE_NEWNET) < 0) {
        return failed(STEP_UNSHARE);
    }
    tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (tun < 0)
        return failed(STEP_TUN_OPEN);
    close(tun);
    res = lab_ns_tun("probe", &tun);
    if (res < 0) {
        errno = -res;
        return failed(STEP_TUN_MAKE);
    }
    close(tun);
    return (struct attempt){STEP_DONE, 0};
}

static struct attempt try_in_child(bool user_ns)
{
    struct attempt a = {STEP_FORK, 0};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return failed(STEP_FORK);
    pid_t pid = fork();
    if (pid == 0) {
        a = try_here(user_ns);
        _exit(write(ends[1], &a, sizeof(a)) == (ssize_t)sizeof(a) ? 0 : 1);
    }
    a.err = errno;
    close(ends[1]);
    if (pid > 0) {
        if (read(ends[0], &a, sizeof(a)) != (ssize_t)sizeof(a))
            a = (struct attempt){STEP_FORK, EIO};
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    close(ends[0]);
    return a;
}

/* ---- the sentence ---------------------------------------------------------------------------- */

static void explain(struct attempt a, char err[LAB_ERROR_LEN])
{
    /* ENOSPC is what unshare(2) says for a limit of namespaces. */
    const char *why = a.err == ENOSPC ? "user.max_user_namespaces is used up or 0" : strerror(a.err);
    switch (a.step) {
    case STEP_TUN_OPEN:
        if (a.err == EACCES || a.err == EPERM)
            snprintf(err, LAB_ERROR_LEN, "the lab may not open /dev/net/tun (%s): run as root (sudo)", why);
        else
            snprintf(
                err, LAB_ERROR_LEN,
                "the lab needs /dev/net/tun (%s): load the module (modprobe tun), or give the container the device",
                why);
        break;
    case STEP_TUN_MAKE:
        snprintf(err, LAB_ERROR_LEN, "the lab could not make a TUN device (%s): run as root (sudo)", why);
        break;
    case STEP_MAP:
    case STEP_UNSHARE:
        snprintf(
            err, LAB_ERROR_LEN,
            "the lab needs root, or unprivileged user namespaces, which this system refuses (%s): run as root (sudo)",
            why);
        break;
    default:
        snprintf(err, LAB_ERROR_LEN, "the lab could not start a process (%s)", why);
    }
}

int lab_enter(char err[LAB_ERROR_LEN])
{
    struct attempt a = try_in_child(false);
    if (a.step == STEP_DONE)
        return 0;
    /* Root that may unshare but lacks the device gains nothing from a user namespace. */
    if (a.step == STEP_UNSHARE) {
        a = try_in_child(true);
        if (a.step == STEP_DONE)
            a = enter_user_ns();
        if (a.step == STEP_DONE)
            return 0;
    }
    explain(a, err);
    return a.err ? -a.err : -EPERM;
}
