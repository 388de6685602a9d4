/* One line, one write: lines of several processes do not mix. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/base/base.h"

#ifndef PUNCHBENCH_VERSION
#error "PUNCHBENCH_VERSION comes from the Makefile"
#endif

static const char *log_program = "punchbench";
static enum base_log_level log_level = BASE_LOG_INFO;

const char *base_version(void)
{
    return PUNCHBENCH_VERSION;
}

void base_log_init(const char *program, enum base_log_level level)
{
    log_program = program;
    log_level = level;
}

/* Text from the other end of a connection must not forge lines or drive the terminal: ASCII controls, and the C1 ones
 * (U+0080 to U+009F) that some terminals obey in UTF-8. */
static void neutralise(char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)line[i];
        if (c < 0x20 || c == 0x7f)
            line[i] = '?';
        else if (c == 0xc2 && i + 1 < len && ((unsigned char)line[i + 1] & 0xe0) == 0x80)
            line[i] = line[i + 1] = '?';
    }
}

void base_vlog(enum base_log_level level, const char *fmt, va_list args)
{
    static const char *const prefix[] = {"", "warning: ", "", "debug: "};
    char line[1024];
    if (level > log_level)
        return;
    int saved_errno = errno;
    int head = snprintf(line, sizeof(line), "%.100s: %s", log_program, prefix[level]);
    int body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, fmt, args);
    size_t len = (size_t)head + (size_t)(body < 0 ? 0 : body);
    if (len > sizeof(line) - 2)
        len = sizeof(line) - 2;
    neutralise(line, len);
    line[len++] = '\n';
    ssize_t n;
    do
        n = write(STDERR_FILENO, line, len);
    while (n < 0 && errno == EINTR);
    errno = saved_errno;
}

void base_log(enum base_log_level level, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    base_vlog(level, fmt, args);
    va_end(args);
}

uint64_t base_raise_open_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    return limit.rlim_cur;
}

uint64_t base_open_files(void)
{
    uint64_t n = 0;
    struct stat st;
    /* Since Linux 6.2 their number is the directory's size, and thousands need not be listed. */
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return (uint64_t)st.st_size;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the directory itself */
}
