/* bench merge: the shards of a campaign become one folder of results. */
#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/campaign/commands.h"
#include "bench/campaign/folder.h"
#include "bench/campaign/places.h"
#include "bench/campaign/results.h"

#define MAX_FOLDERS 4096

struct options {
    const char *out;
    char **dirs;
    size_t n;
};

static const char doc[] =
    "Makes one folder of results out of those of a campaign's shards (bench run --shard).\v"
    "  bench run my.ini --shard 1/2 --out s1          on one machine\n"
    "  bench run my.ini --shard 2/2 --out s2          on another one\n"
    "  bench merge all s1 s2\n"
    "\n"
    "The folders must be of the same campaign, measured by the same version, and no trial may be in two of them. OUT "
    "must not exist, or be empty; nothing else is written to. What is missing is said; 'bench run CAMPAIGN --resume "
    "--out OUT' measures it. bench/scripts has scripts that run shards with GNU parallel and Slurm.\n"
    "\n"
    "Exit status: 0 all of the campaign is there; 1 nothing was merged; 2 merged, but something is missing.";

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (!o->out) {
            o->out = arg;
            return 0;
        }
        return ARGP_ERR_UNKNOWN;
    case ARGP_KEY_ARGS:
        o->dirs = state->argv + state->next;
        o->n = (size_t)(state->argc - state->next);
        return 0;
    case ARGP_KEY_END:
        if (o->n == 0)
            argp_error(state, "which folders? OUT, and then one of each shard");
        if (o->n > MAX_FOLDERS)
            argp_error(state, "more than %d folders", MAX_FOLDERS);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- what there is --------------------------------------------------------------------------- */

struct merge {
    const struct options *options;
    struct campaign_folder *folders;
    size_t n; /* folders that are open */
    struct campaign_index index;
    struct campaign_tally *tallies;
    uint16_t **owners; /* by cell and trial: which folder it came from */
    size_t now;        /* the folder that is being read */
    FILE *trials;      /* of OUT */
    bool said;         /* why it failed */
};

static const char *version_of(const struct campaign_folder *f)
{
    const char *version = json_string_value(json_object_get(f->run, "version"));
    return version ? version : "unknown";
}

/* All must be what the first one is. */
static int check_same(const struct merge *m, const struct campaign_folder *f, char err[CAMPAIGN_ERROR_LEN])
{
    const struct campaign_folder *first = &m->folders[0];
    char why[CAMPAIGN_ERROR_LEN];
    if (!campaign_run_same(first->run, f->run, why))
        return campaign_fail(-EINVAL, err, "%.100s holds another campaign than %.100s: %.250s", f->dir, first->dir,
                             why);
    if (strcmp(version_of(first), version_of(f)) != 0)
        return campaign_fail(-EINVAL, err, "%.100s was measured by version %.60s, %.100s by %.60s: measure one anew",
                             first->dir, version_of(first), f->dir, version_of(f));
    struct campaign_shard here = campaign_run_shard(f->run);
    for (const struct campaign_folder *other = first; other < f; other++) {
        struct campaign_shard there = campaign_run_shard(other->run);
        if (here.count != there.count)
            return campaign_fail(-EINVAL, err, "%.100s is of %llu shards, %.100s of %llu (0: no shard)", other->dir,
                                 (unsigned long long)there.count, f->dir, (unsigned long long)here.count);
        if (here.count && here.index == there.index)
            return campaign_fail(-EEXIST, err, "%.100s and %.100s are both shard %llu/%llu; leave one of them out",
                                 other->dir, f->dir, (unsigned long long)here.index, (unsigned long long)here.count);
    }
    return 0;
}

static int open_folders(struct merge *m, char err[CAMPAIGN_ERROR_LEN])
{
    m->folders = calloc(m->options->n, sizeof(*m->folders));
    if (!m->folders)
        return campaign_fail(-ENOMEM, err, "no memory");
    int res = 0;
    for (; res == 0 && m->n < m->options->n; m->n++) {
        res = campaign_folder_open(&m->folders[m->n], m->options->dirs[m->n], err);
        if (res == 0)
            res = check_same(m, &m->folders[m->n], err);
    }
    return res;
}

static int make_tallies(struct merge *m, char err[CAMPAIGN_ERROR_LEN])
{
    const struct campaign_folder *f = &m->folders[0];
    m->tallies = calloc(f->n, sizeof(*m->tallies));
    m->owners = calloc(f->n, sizeof(*m->owners));
    int res = m->tallies && m->owners ? campaign_index_make(&m->index, f->cells, f->n) : -ENOMEM;
    for (size_t i = 0; res == 0 && i < f->n; i++) {
        res = campaign_tally_init(&m->tallies[i], f->config->warmup, f->cells[i].trials);
        m->owners[i] = calloc(f->cells[i].trials, sizeof(*m->owners[i]));
        if (!m->owners[i])
            res = -ENOMEM;
    }
    return res < 0 ? campaign_fail(res, err, "no memory for %zu cells", f->n) : 0;
}

static void merge_free(struct merge *m)
{
    for (size_t i = 0; m->tallies && m->owners && i < m->folders[0].n; i++) {
        campaign_tally_free(&m->tallies[i]);
        free(m->owners[i]);
    }
    free(m->tallies);
    free(m->owners);
    campaign_index_free(&m->index);
    for (size_t i = 0; i < m->n; i++)
        campaign_folder_close(&m->folders[i]);
    free(m->folders);
}

/* ---- trials ---------------------------------------------------------------------------------- */

static int take_trial(void *owner, size_t cell, const struct record_view *view, const char *line, size_t len, int res,
                      char err[CAMPAIGN_ERROR_LEN])
{
    struct merge *m = owner;
    uint64_t i = view->trial - m->tallies[cell].first;
    if (res == -EEXIST) {
        size_t where = m->owners[cell][i];
        return where == m->now ? res
                               : campaign_fail(res, err, "trial %llu of %.200s is in %.150s, too",
                                               (unsigned long long)view->trial, view->cell, m->folders[where].dir);
    }
    m->owners[cell][i] = (uint16_t)m->now;
    errno = 0;
    if (fwrite(line, 1, len, m->trials) != len) {
        res = -(errno ? errno : EIO);
        return campaign_fail(res, err, "cannot be copied: %s", strerror(-res));
    }
    return 0;
}

/* A run that is still writing there holds the other kind of lock. */
static FILE *open_trials(const char *path, int *res)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    FILE *f = fopen(path, "re");
    *res = f ? 0 : -errno;
    if (f && fcntl(fileno(f), F_OFD_SETLK, &lock) < 0) {
        *res = errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
        fclose(f);
        f = NULL;
    }
    return f;
}

static int read_folder(struct merge *m, char err[CAMPAIGN_ERROR_LEN])
{
    const char *dir = m->folders[m->now].dir;
    char path[PATH_MAX], why[CAMPAIGN_ERROR_LEN];
    bool torn;
    int res = (size_t)snprintf(path, sizeof(path), "%s/trials.jsonl", dir) < sizeof(path) ? 0 : -ENAMETOOLONG;
    FILE *in = res == 0 ? open_trials(path, &res) : NULL;
    if (res == -EBUSY)
        return campaign_fail(res, err, "%.200s: a bench is still writing there; wait for it", dir);
    if (!in)
        return campaign_fail(res, err, "%.200s/trials.jsonl: %s", dir, strerror(-res));
    res = campaign_trials_read(in, &m->index, m->tallies, take_trial, m, &torn, why);
    fclose(in);
    if (res < 0)
        return campaign_fail(res, err, "%.150s/trials.jsonl: %.300s", dir, why);
    if (torn)
        base_warn("%s/trials.jsonl: its last line was torn by a kill and does not count", dir);
    return 0;
}

static int write_trials(FILE *out, const void *what)
{
    struct merge *m = *(struct merge *const *)what;
    char err[CAMPAIGN_ERROR_LEN];
    m->trials = out;
    int res = 0;
    for (m->now = 0; res == 0 && m->now < m->n; m->now++)
        res = read_folder(m, err);
    if (res < 0)
        base_error("%s", err);
    m->said = res < 0;
    return res;
}

/* ---- run.json -------------------------------------------------------------------------------- */

/* What describes a machine or a run, and may differ from shard to shard. */
static const char *const of_machines[] = {"kernel", "machine", "cpus", "loop_features", "parallel", "loads"};

static json_t *part_json(const struct campaign_folder *f)
{
    char dir[PATH_MAX];
    memcpy(dir, f->dir, sizeof(dir));
    json_t *out = json_pack("{s:s, s:O?, s:O?}", "folder", basename(dir), "shard", json_object_get(f->run, "shard"),
                            "started", json_object_get(f->run, "started"));
    for (size_t i = 0; i < BASE_ARRAY_LEN(of_machines); i++)
        json_object_set(out, of_machines[i], json_object_get(f->run, of_machines[i]));
    return out;
}

/* The whole campaign's: what all machines have in common, when the first began, and each part's own. */
static json_t *merged_json(const struct merge *m)
{
    json_t *run = json_copy(m->folders[0].run), *parts = json_array();
    const struct campaign_folder *earliest = &m->folders[0];
    for (size_t i = 0; i < m->n; i++) {
        const struct campaign_folder *f = &m->folders[i];
        json_array_append_new(parts, part_json(f));
        if (campaign_run_started_ms(f->run) < campaign_run_started_ms(earliest->run))
            earliest = f;
        for (size_t k = 0; k < BASE_ARRAY_LEN(of_machines); k++)
            if (!json_equal(json_object_get(f->run, of_machines[k]), json_object_get(run, of_machines[k])))
                json_object_set_new(run, of_machines[k], json_null());
    }
    json_object_set(run, "started", json_object_get(earliest->run, "started"));
    json_object_del(run, "loads");
    campaign_run_set_shard(run, (struct campaign_shard){0});
    json_object_set_new(run, "merged", parts);
    return run;
}

/* ---- OUT ------------------------------------------------------------------------------------- */

static int check_out(const char *dir, bool *made, char err[CAMPAIGN_ERROR_LEN])
{
    struct stat st;
    *made = stat(dir, &st) < 0;
    int res = campaign_make_dirs(dir);
    if (res < 0)
        return campaign_fail(res, err, "%.200s cannot be made: %s", dir, strerror(-res));
    DIR *d = opendir(dir);
    if (!d)
        return campaign_fail(-errno, err, "%.200s cannot be read: %s", dir, strerror(errno));
    bool empty = true;
    for (const struct dirent *e; (e = readdir(d));)
        empty &= strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    closedir(d);
    return empty ? 0 : campaign_fail(-EEXIST, err, "%.200s is not empty: name another folder", dir);
}

/* In this order: what has a run.json is a whole folder. */
static const char *const files[] = {"trials.jsonl", "summary.csv", "latency.hlog", "run.json"};

static void remove_out(const char *dir, bool made)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < BASE_ARRAY_LEN(files); i++)
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, files[i]) < sizeof(path))
            unlink(path);
    if (made)
        rmdir(dir);
}

static int write_out(struct merge *m, const char *dir)
{
    const struct campaign_folder *f = &m->folders[0];
    json_t *run = merged_json(m);
    size_t file = 0;
    int res = run ? campaign_file_replace(dir, files[0], write_trials, &m) : -ENOMEM;
    if (res == 0 && ++file)
        res = campaign_summary_write(dir, f->cells, m->tallies, f->n);
    if (res == 0 && ++file)
        res = campaign_hlog_write(dir, campaign_run_started_ms(run), f->cells, m->tallies, f->n);
    if (res == 0 && ++file)
        res = campaign_run_write(dir, run);
    json_decref(run);
    if (res < 0 && !m->said)
        base_error("%s/%s cannot be written: %s", dir, files[file], strerror(-res));
    return res;
}

/* ---- what is missing ------------------------------------------------------------------------- */

static uint64_t missing_trials(const struct merge *m, size_t *cells)
{
    uint64_t missing = 0;
    *cells = 0;
    for (size_t i = 0; i < m->folders[0].n; i++) {
        uint64_t expected = campaign_trials_expected(m->folders[0].config, &m->tallies[i]);
        uint64_t more = expected > m->tallies[i].measured ? expected - m->tallies[i].measured : 0;
        missing += more;
        *cells += more > 0;
    }
    return missing;
}

/* "2, 3": up to some of them. Empty: none is, or these are no shards. */
static void missing_shards(const struct merge *m, char *buf, size_t cap)
{
    uint64_t count = campaign_run_shard(m->folders[0].run).count;
    buf[0] = '\0';
    for (uint64_t index = 1; index <= count && strlen(buf) + 24 < cap; index++) {
        bool there = false;
        for (size_t i = 0; i < m->n; i++)
            there |= campaign_run_shard(m->folders[i].run).index == index;
        if (!there)
            snprintf(buf + strlen(buf), cap - strlen(buf), "%s%llu", *buf ? ", " : "", (unsigned long long)index);
    }
}

static bool say_missing(const struct merge *m)
{
    char shards[160];
    size_t cells;
    uint64_t trials = missing_trials(m, &cells);
    missing_shards(m, shards, sizeof(shards));
    if (trials == 0)
        return false;
    base_warn("%llu trials of %zu cells are missing%s%s%s", (unsigned long long)trials, cells,
              *shards ? ", with all of shard " : ": a shard was not measured to its end", shards,
              *shards ? "" : "; go on there with --resume, and merge again");
    return true;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int merge(struct merge *m)
{
    char err[CAMPAIGN_ERROR_LEN];
    const char *out = m->options->out;
    bool made;
    if (open_folders(m, err) < 0 || make_tallies(m, err) < 0 || check_out(out, &made, err) < 0) {
        base_error("%s", err);
        return BASE_EXIT_USAGE;
    }
    if (write_out(m, out) < 0) {
        remove_out(out, made);
        return BASE_EXIT_USAGE;
    }
    campaign_summary_table(stdout, m->folders[0].cells, m->tallies, m->folders[0].n);
    printf("results: %s\n", out);
    fflush(stdout);
    campaign_give_back(out);
    return say_missing(m) ? BASE_EXIT_FAILED : BASE_EXIT_OK;
}

int campaign_cmd_merge(int argc, char **argv)
{
    static const struct argp argp = {NULL, parse_option, "OUT DIR...", doc, NULL, NULL, NULL};
    struct options options = {0};
    struct merge m = {.options = &options};
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    int status = merge(&m);
    merge_free(&m);
    return status;
}
