/* Where profiles, campaigns and the companion programs are; making folders, and whose what is made will be. */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/base/base.h"
#include "bench/campaign/places.h"

#ifndef BENCH_DATADIR
#error "BENCH_DATADIR comes from the Makefile"
#endif

const char *campaign_data_dir(void)
{
    const char *dir = getenv("PUNCHBENCH_DATA");
    return dir && *dir ? dir : BENCH_DATADIR;
}

int campaign_program_dir(char out[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (n < 0)
        return -errno;
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (!slash)
        return -ENOENT;
    *slash = '\0';
    return 0;
}

void campaign_find(const char *given, char out[PATH_MAX])
{
    const char *end = strlen(given) > 4 && strcmp(given + strlen(given) - 4, ".ini") == 0 ? "" : ".ini";
    snprintf(out, PATH_MAX, "%s", given);
    if (access(given, F_OK) == 0 || strchr(given, '/'))
        return;
    char shipped[PATH_MAX];
    if ((size_t)snprintf(shipped, PATH_MAX, "%s/campaigns/%s%s", campaign_data_dir(), given, end) < PATH_MAX &&
        access(shipped, F_OK) == 0)
        memcpy(out, shipped, PATH_MAX);
}

bool campaign_in_path(const char *program)
{
    const char *path = getenv("PATH");
    char each[PATH_MAX];
    while (path && *path) {
        size_t len = strcspn(path, ":");
        if ((size_t)snprintf(each, sizeof(each), "%.*s/%s", (int)len, path, program) < sizeof(each) &&
            access(each, X_OK) == 0)
            return true;
        path += len + (path[len] == ':');
    }
    return false;
}

/* ---- files that root makes for somebody else ------------------------------------------------- */

static uint64_t owner, group;

static int give_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    /* Who cannot have it, has none: the results are there all the same. */
    return lchown(path, (uid_t)owner, (gid_t)group) < 0 ? -1 : 0;
}

void campaign_give_back(const char *path)
{
    const char *uid = getenv("SUDO_UID"), *gid = getenv("SUDO_GID");
    if (geteuid() != 0 || !uid || !gid || base_parse_u64(uid, 0, UINT32_MAX - 1, &owner) < 0 ||
        base_parse_u64(gid, 0, UINT32_MAX - 1, &group) < 0)
        return;
    if (nftw(path, give_one, 8, FTW_PHYS) < 0)
        base_warn("%s could not be given to user %s: %s", path, uid, strerror(errno));
}

/* ---- folders --------------------------------------------------------------------------------- */

static int make_dir(const char *path)
{
    if (mkdir(path, 0777) < 0)
        return errno == EEXIST ? 0 : -1;
    campaign_give_back(path);
    return 0;
}

int campaign_make_dirs(const char *path)
{
    char buf[PATH_MAX];
    size_t len = strlen(path);
    if (len >= sizeof(buf))
        return -ENAMETOOLONG;
    memcpy(buf, path, len + 1);
    for (char *p = buf + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (make_dir(buf) < 0)
            return -errno;
        *p = '/';
    }
    return make_dir(buf) < 0 ? -errno : 0;
}
