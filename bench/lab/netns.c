#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/lab/netlink.h"
#include "bench/lab/netns.h"

static int open_self_ns(void)
{
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void lab_ns_leave(int saved)
{
    if (setns(saved, CLONE_NEWNET) < 0)
        abort();
    close(saved);
}

int lab_ns_enter(int fd, int *saved)
{
    int own = open_self_ns();
    if (own < 0)
        return own;
    if (setns(fd, CLONE_NEWNET) < 0) {
        int res = -errno;
        close(own);
        return res;
    }
    *saved = own;
    return 0;
}

static int lo_up(void)
{
    struct lab_nl nl;
    int res = lab_nl_open(&nl);
    if (res < 0)
        return res;
    res = lab_nl_link_up(&nl, "lo", 0);
    lab_nl_close(&nl);
    return res;
}

int lab_ns_create(int *fd)
{
    int saved = open_self_ns();
    if (saved < 0)
        return saved;
    if (unshare(CLONE_NEWNET) < 0) {
        int res = -errno;
        close(saved);
        return res;
    }
    int made = open_self_ns();
    int res = made < 0 ? made : lo_up();
    lab_ns_leave(saved);
    if (res < 0) {
        if (made >= 0)
            close(made);
        return res;
    }
    *fd = made;
    return 0;
}

int lab_ns_sysctl(const char *path, const char *value)
{
    char full[256];
    snprintf(full, sizeof(full), "/proc/sys/%s", path);
    int fd = open(full, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, value, strlen(value));
    int res = n < 0 ? -errno : 0;
    close(fd);
    return res;
}

int lab_ns_tun(const char *name, int *fd)
{
    struct ifreq req = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun < 0)
        return -errno;
    strncpy(req.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(tun, TUNSETIFF, &req) < 0) {
        int res = -errno;
        close(tun);
        return res;
    }
    *fd = tun;
    return 0;
}

/* ---- a helper program ------------------------------------------------------------------------ */

int lab_ns_memory_file(const char *text)
{
    int fd = memfd_create("lab", MFD_CLOEXEC);
    size_t len = strlen(text);
    if (fd < 0)
        return -errno;
    if (write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) < 0) {
        close(fd);
        return -EIO;
    }
    return fd;
}

static void first_line(int fd, char *out, size_t out_len)
{
    ssize_t n = pread(fd, out, out_len - 1, 0);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

static int wait_status(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define STATUS_NOT_FOUND 127

int lab_ns_run(const char *const argv[], const char *input, char *err, size_t err_len)
{
    int in = lab_ns_memory_file(input), out = lab_ns_memory_file("");
    int res = in < 0 ? in : out < 0 ? out : 0;
    pid_t pid = res < 0 ? -1 : fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
            _exit(STATUS_NOT_FOUND - 1);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_FOUND - 1);
    }
    if (res == 0 && pid < 0)
        res = -errno;
    if (pid > 0) {
        int status = wait_status(pid);
        res = status < 0 ? status : status == STATUS_NOT_FOUND ? -ENOENT : status ? -EIO : 0;
        first_line(out, err, err_len);
    }
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return res;
}
