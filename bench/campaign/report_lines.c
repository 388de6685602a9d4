/* trials.jsonl a line at a time, also packed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/campaign/report.h"

struct lines {
    const char *dir;
    report_line_fn *take;
    void *user;
};

static int read_lines(const struct lines *l, FILE *in, char err[CAMPAIGN_ERROR_LEN])
{
    char *line = NULL, why[CAMPAIGN_ERROR_LEN];
    size_t cap = 0;
    ssize_t len;
    uint64_t number = 0;
    int res = 0;
    while (res == 0 && (len = getline(&line, &cap, in)) > 0) {
        number++;
        if (line[len - 1] != '\n') {
            base_warn("%s/trials.jsonl: its last line was torn by a kill and does not count", l->dir);
            break;
        }
        line[len - 1] = '\0';
        res = l->take(l->user, line, (size_t)len - 1, why);
        if (res < 0)
            campaign_fail(res, err, "%.150s/trials.jsonl: line %llu: %.250s", l->dir, (unsigned long long)number, why);
    }
    if (res == 0 && ferror(in))
        res = campaign_fail(-EIO, err, "%.200s/trials.jsonl could not be read", l->dir);
    free(line);
    return res;
}

/* How recorded campaigns are kept, and who unpacks them. */
static const struct {
    const char *end, *program;
} packings[] = {{"", NULL}, {".gz", "gzip"}, {".xz", "xz"}, {".zst", "zstd"}};

static const char *const unpack_option = "-dc";

static int read_packed(const struct lines *l, const char *path, const char *program, char err[CAMPAIGN_ERROR_LEN])
{
    int ends[2], status = -1;
    if (pipe(ends) < 0)
        return campaign_fail(-errno, err, "no pipe: %s", strerror(errno));
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp(program, program, unpack_option, "--", path, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *in = pid < 0 ? NULL : fdopen(ends[0], "r");
    int res = in ? read_lines(l, in, err) : campaign_fail(-ENOMEM, err, "%s could not be started", program);
    if (in)
        fclose(in);
    else
        close(ends[0]);
    if (pid > 0 && waitpid(pid, &status, 0) < 0)
        status = -1;
    if (res == 0 && status != 0)
        return campaign_fail(-EIO, err, "%.200s: '%s %s' failed: is it installed, and the file whole?", path, program,
                             unpack_option);
    return res;
}

int report_lines(const char *dir, report_line_fn *take, void *user, char err[CAMPAIGN_ERROR_LEN])
{
    const struct lines l = {dir, take, user};
    char path[PATH_MAX];
    for (size_t i = 0; i < BASE_ARRAY_LEN(packings); i++) {
        if ((size_t)snprintf(path, sizeof(path), "%s/trials.jsonl%s", dir, packings[i].end) >= sizeof(path))
            return campaign_fail(-ENAMETOOLONG, err, "%.200s: the path is too long", dir);
        if (access(path, F_OK) < 0)
            continue;
        if (packings[i].program)
            return read_packed(&l, path, packings[i].program, err);
        FILE *in = fopen(path, "re");
        if (!in)
            return campaign_fail(-errno, err, "%.200s: %s", path, strerror(errno));
        int res = read_lines(&l, in, err);
        fclose(in);
        return res;
    }
    return campaign_fail(-ENOENT, err, "%.200s has no trials.jsonl (nor .gz, .xz, .zst)", dir);
}
