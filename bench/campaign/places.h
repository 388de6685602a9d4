/* bench/campaign: where things are, and whose. */
#ifndef BENCH_CAMPAIGN_PLACES_H
#define BENCH_CAMPAIGN_PLACES_H

#include <limits.h>
#include <stdbool.h>

/* Profiles and campaigns: $PUNCHBENCH_DATA, or where they were when this was built. */
const char *campaign_data_dir(void);
/* A campaign that somebody named: a file, or else the name of one that came with the program. */
void campaign_find(const char *given, char out[PATH_MAX]);
/* The folder of this very program, where its companions are. 0, or -errno. */
int campaign_program_dir(char out[PATH_MAX]);
/* Whether it would be found by its name. */
bool campaign_in_path(const char *program);
/* mkdir -p. 0, or -errno. */
int campaign_make_dirs(const char *path);
/* Gives what `sudo` made to the user who called it ($SUDO_UID, $SUDO_GID): path and all that is in it. */
void campaign_give_back(const char *path);

#endif
