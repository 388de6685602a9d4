/*
 * Reading a profile, inside:
 *   profile.c        files, lines and names
 *   profile_keys.c   the table of keys and words, and what their values may be (pure)
 *   profile_check.c  what the keys say together (pure, but for the profile that one is under)
 */
#ifndef BENCH_LAB_PROFILE_INTERNAL_H
#define BENCH_LAB_PROFILE_INTERNAL_H

#include <stdio.h>

#include "bench/lab/lab.h"

#define PROFILE_KEYS_MOST 48

struct profile_reading {
    const char *path;
    FILE *file;
    int line;
    struct lab_profile *profile;
    char *err; /* the first error wins; it is on line err_line */
    int err_line;
    bool follow;                      /* the profile that it is under is read, too */
    int key_lines[PROFILE_KEYS_MOST]; /* by index in the table; 0 = not seen */
};

/* Says what is wrong with a line, unless an earlier one was wrong already. -EINVAL. */
__attribute__((format(printf, 3, 4))) int profile_refuse(struct profile_reading *r, int line, const char *fmt, ...);

/* ---- the keys (profile_keys.c) --------------------------------------------------------------- */

/* KEY = VALUE of line r->line. 0, or -EINVAL when it was refused. */
int profile_key_read(struct profile_reading *r, const char *name, const char *value);
/* The line that gave a known key; of one that was not given, the backend's. */
int profile_line_of(const struct profile_reading *r, const char *name);
bool profile_seen(const struct profile_reading *r, const char *name);
const char *profile_backend_name(enum lab_backend backend);

/* ---- together (profile_check.c) -------------------------------------------------------------- */

/* Whether the keys go together; fills in what they leave open. 0, or -EINVAL when something was refused. */
int profile_check(struct profile_reading *r);
/* Reads one file; follow: that of the profile that it is under too. 0, or -errno with err filled. */
int profile_read(const char *path, bool follow, struct lab_profile *out, char err[LAB_ERROR_LEN]);

#endif
