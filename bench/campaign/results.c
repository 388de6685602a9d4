/* The folder of results: who may write there, and how. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/campaign/places.h"
#include "bench/campaign/results.h"

/* 1 empty, 0 not, or -errno. What an interrupted start leaves behind does not count. */
static int dir_is_empty(const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *e;
    int empty = 1;
    if (!d)
        return -errno;
    while ((e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && strcmp(e->d_name, "run.json.new") != 0)
            empty = 0;
    closedir(d);
    return empty;
}

static int join_path(const char *dir, const char *file, char out[PATH_MAX])
{
    return (size_t)snprintf(out, PATH_MAX, "%s/%s", dir, file) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int campaign_file_replace(const char *dir, const char *name, campaign_write_fn *write, const void *what)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    if (join_path(dir, name, path) < 0 || (size_t)snprintf(fresh, sizeof(fresh), "%s.new", path) >= sizeof(fresh))
        return -ENAMETOOLONG;
    FILE *f = fopen(fresh, "we");
    if (!f)
        return -errno;
    errno = 0;
    int res = write(f, what);
    if (res == 0 && (fflush(f) != 0 || ferror(f)))
        res = -(errno ? errno : EIO);
    if (fclose(f) < 0 && res == 0)
        res = -errno;
    if (res == 0 && rename(fresh, path) < 0)
        res = -errno;
    if (res < 0)
        unlink(fresh);
    return res;
}

static int dump_run(FILE *out, const void *run)
{
    errno = 0;
    if (json_dumpf(run, out, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) == 0 && fputc('\n', out) != EOF)
        return 0;
    return -(errno ? errno : EIO);
}

int campaign_run_write(const char *dir, const json_t *run)
{
    return campaign_file_replace(dir, "run.json", dump_run, run);
}

/* An open-file-description lock: workers close what they inherit, so it goes when this process does. */
static int open_trials(struct campaign_results *r)
{
    char path[PATH_MAX];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (join_path(r->dir, "trials.jsonl", path) < 0)
        return -ENAMETOOLONG;
    r->trials_fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (r->trials_fd < 0)
        return -errno;
    if (fcntl(r->trials_fd, F_OFD_SETLK, &lock) < 0)
        return errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
    return 0;
}

static bool same_shard(const json_t *there, const json_t *here, char err[CAMPAIGN_ERROR_LEN])
{
    struct campaign_shard old = campaign_run_shard(there), new = campaign_run_shard(here);
    if (old.index == new.index && old.count == new.count)
        return true;
    return campaign_fail(false, err, "it is shard %llu/%llu there and %llu/%llu here (0/0: the whole)",
                         (unsigned long long)old.index, (unsigned long long)old.count, (unsigned long long)new.index,
                         (unsigned long long)new.count);
}

/* *grown: what run.json is to become, where this run adds trials; NULL as it is. New reference. */
static int check_run(const char *dir, const json_t *run, uint64_t *started_ms, json_t **grown,
                     char err[CAMPAIGN_ERROR_LEN])
{
    char path[PATH_MAX], why[CAMPAIGN_ERROR_LEN];
    json_error_t where;
    *grown = NULL;
    if (join_path(dir, "run.json", path) < 0)
        return campaign_fail(-ENAMETOOLONG, err, "%.200s: the path is too long", dir);
    json_t *there = json_load_file(path, 0, &where);
    if (!there)
        return campaign_fail(-EINVAL, err, "%.200s cannot be resumed: run.json: %.150s", dir, where.text);
    bool same = campaign_run_same(there, run, why);
    /* Another number of trials would deal a shard other blocks. */
    if (!same && campaign_run_shard(there).count == 0)
        same = (*grown = campaign_run_grow(there, run)) != NULL;
    same = same && same_shard(there, run, why);
    *started_ms = campaign_run_started_ms(there);
    const char *version = json_string_value(json_object_get(there, "version"));
    if (same && (!version || strcmp(version, base_version()) != 0))
        base_warn("%s was begun by version %s, this is %s", dir, version ? version : "unknown", base_version());
    json_decref(there);
    return same ? 0 : campaign_fail(-EINVAL, err, "%.150s holds another campaign: %.300s", dir, why);
}

static int read_back(struct campaign_results *r, const struct campaign_cell *cells, struct campaign_tally *tallies,
                     size_t n, char err[CAMPAIGN_ERROR_LEN])
{
    char why[CAMPAIGN_ERROR_LEN];
    long good;
    bool torn;
    int fd = fcntl(r->trials_fd, F_DUPFD_CLOEXEC, 3);
    FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
    if (!in)
        return campaign_fail(-ENOMEM, err, "%.200s/trials.jsonl: no memory to read it", r->dir);
    rewind(in);
    int res = campaign_resume_read(in, cells, tallies, n, &good, &torn, why);
    if (res < 0)
        campaign_fail(res, err, "%.150s/trials.jsonl: %.300s", r->dir, why);
    if (res == 0 && torn) {
        base_warn("%s/trials.jsonl: its last line was torn by a kill and is cut off; that trial is repeated", r->dir);
        if (ftruncate(r->trials_fd, good) < 0)
            res = campaign_fail(-errno, err, "%.150s/trials.jsonl cannot be cut: %s", r->dir, strerror(errno));
    }
    fclose(in);
    return res;
}

static int explain_open(int res, const char *dir, char err[CAMPAIGN_ERROR_LEN])
{
    if (res == -EBUSY)
        return campaign_fail(res, err, "%.200s: another bench is writing there; wait for it, or use another --out",
                             dir);
    return campaign_fail(res, err, "%.200s cannot be written: %s", dir, strerror(-res));
}

static int open_folder(struct campaign_results *r, bool empty, const json_t *run, const struct campaign_cell *cells,
                       struct campaign_tally *tallies, size_t n, char err[CAMPAIGN_ERROR_LEN])
{
    json_t *grown = NULL;
    int res = empty ? 0 : check_run(r->dir, run, &r->started_ms, &grown, err);
    if (res == 0 && empty && (res = campaign_run_write(r->dir, run)) < 0)
        explain_open(res, r->dir, err);
    if (res == 0 && (res = open_trials(r)) < 0)
        explain_open(res, r->dir, err);
    if (res == 0 && !empty)
        res = read_back(r, cells, tallies, n, err);
    /* Only now: the lock is ours, and the trials are what they should be. */
    if (res == 0 && grown && (res = campaign_run_write(r->dir, grown)) < 0)
        explain_open(res, r->dir, err);
    json_decref(grown);
    return res;
}

int campaign_results_open(struct campaign_results *r, const char *dir, bool resume, const json_t *run,
                          const struct campaign_cell *cells, struct campaign_tally *tallies, size_t n,
                          char err[CAMPAIGN_ERROR_LEN])
{
    *r = (struct campaign_results){.trials_fd = -1, .started_ms = campaign_run_started_ms(run)};
    if ((size_t)snprintf(r->dir, sizeof(r->dir), "%s", dir) >= sizeof(r->dir))
        return explain_open(-ENAMETOOLONG, dir, err);
    int res = campaign_make_dirs(dir);
    int empty = res < 0 ? res : dir_is_empty(dir);
    if (empty < 0)
        return explain_open(empty, dir, err);
    if (!empty && !resume)
        return campaign_fail(
            -EEXIST, err, "%.200s is not empty: add --resume to go on with what is there, or use another --out", dir);
    res = open_folder(r, empty, run, cells, tallies, n, err);
    if (res < 0)
        campaign_results_close(r);
    return res;
}

int campaign_results_append(struct campaign_results *r, const char *line, size_t len)
{
    /* One write a line: a kill tears at most the last one. A disk that fills up ends in a short write. */
    ssize_t n = write(r->trials_fd, line, len);
    if (n == (ssize_t)len)
        return 0;
    int res = n < 0 ? -errno : -ENOSPC;
    struct stat st;
    if (n > 0 && fstat(r->trials_fd, &st) == 0 && ftruncate(r->trials_fd, st.st_size - n) < 0)
        return -errno;
    return res;
}

void campaign_results_close(struct campaign_results *r)
{
    if (r->trials_fd >= 0)
        close(r->trials_fd);
    r->trials_fd = -1;
}
