/* Profiles: one INI file each. */
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lab/profile_internal.h"

int profile_refuse(struct profile_reading *r, int line, const char *fmt, ...)
{
    if (r->err_line && r->err_line <= line)
        return -EINVAL;
    char what[LAB_ERROR_LEN];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    r->err_line = line;
    if (snprintf(r->err, LAB_ERROR_LEN, "%s:%d: %s", r->path, line, what) >= LAB_ERROR_LEN)
        memcpy(r->err + LAB_ERROR_LEN - 4, "...", 4);
    return -EINVAL;
}

static int on_key(void *user, const char *section, const char *name, const char *value)
{
    struct profile_reading *r = user;
    if (*section)
        return profile_refuse(r, r->line, "a profile has no sections: remove [%s]", section), 0;
    return profile_key_read(r, name, value) == 0;
}

/* Counts lines, which the packaged inih does not tell; and refuses to have one silently cut in two. */
static char *next_line(char *buf, int size, void *user)
{
    struct profile_reading *r = user;
    char *got = fgets(buf, size, r->file);
    if (!got)
        return NULL;
    r->line++;
    if (!strchr(buf, '\n') && !feof(r->file)) {
        profile_refuse(r, r->line, "the line is longer than %d characters", size - 3);
        return NULL;
    }
    return got;
}

static int set_dir(struct lab_profile *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = !slash ? 1 : slash == path ? 1 : (size_t)(slash - path);
    if (len >= sizeof(out->dir))
        return -ENAMETOOLONG;
    memcpy(out->dir, slash ? path : ".", len);
    return 0;
}

static int set_name(struct lab_profile *out, const char *path)
{
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    size_t len = strlen(base);
    if (len > 4 && strcmp(base + len - 4, ".ini") == 0)
        len -= 4;
    if (len == 0 || len >= sizeof(out->name))
        return -ENAMETOOLONG;
    memcpy(out->name, base, len);
    return 0;
}

int profile_read(const char *path, bool follow, struct lab_profile *out, char err[LAB_ERROR_LEN])
{
    struct lab_profile profile = {0};
    struct profile_reading r = {.path = path, .profile = &profile, .err = err, .follow = follow};
    if (set_name(&profile, path) < 0) {
        snprintf(err, LAB_ERROR_LEN, "%s: a profile's name has 1 to %zu characters", path, sizeof(profile.name) - 1);
        return -ENAMETOOLONG;
    }
    if (set_dir(&profile, path) < 0) {
        snprintf(err, LAB_ERROR_LEN, "%.100s...: the folder's path is longer than %zu bytes", path,
                 sizeof(profile.dir) - 1);
        return -ENAMETOOLONG;
    }
    r.file = fopen(path, "re");
    if (!r.file) {
        int res = -errno;
        snprintf(err, LAB_ERROR_LEN, "%s: %s", path, strerror(-res));
        return res;
    }
    int bad_line = ini_parse_stream(next_line, &r, on_key, &r);
    bool io_error = ferror(r.file);
    fclose(r.file);
    if (io_error) {
        snprintf(err, LAB_ERROR_LEN, "%s: could not be read", path);
        return -EIO;
    }
    if (bad_line > 0)
        profile_refuse(&r, bad_line, "neither KEY = VALUE nor a comment");
    if (r.err_line || profile_check(&r) < 0)
        return -EINVAL;
    *out = profile;
    return 0;
}

int lab_profile_read(const char *path, struct lab_profile *out, char err[LAB_ERROR_LEN])
{
    return profile_read(path, true, out, err);
}

int lab_profile_find(const char *dir, const char *name, struct lab_profile *out, char err[LAB_ERROR_LEN])
{
    char path[4096];
    if (!*name || *name == '.' || strchr(name, '/') || strlen(name) >= sizeof(out->name)) {
        snprintf(err, LAB_ERROR_LEN, "'%.80s' is no profile name: use the name of a file in %.100s, without .ini", name,
                 dir);
        return -EINVAL;
    }
    if ((size_t)snprintf(path, sizeof(path), "%s/%s.ini", dir, name) >= sizeof(path)) {
        snprintf(err, LAB_ERROR_LEN, "the profile folder's path is too long");
        return -ENAMETOOLONG;
    }
    int res = lab_profile_read(path, out, err);
    if (res == -ENOENT)
        snprintf(err, LAB_ERROR_LEN, "no profile '%.63s': no such file in %.160s", name, dir);
    return res;
}
