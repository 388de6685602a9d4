/* bench/campaign: the subcommands, and what several of them have. */
#ifndef BENCH_CAMPAIGN_COMMANDS_H
#define BENCH_CAMPAIGN_COMMANDS_H

#include "bench/campaign/hosts.h"

/* ---- options that subcommands share (common.c) ------------------------------------------------ */

struct argp;
struct argp_state;

struct campaign_common {
    const char *profiles; /* NULL = where they are */
    struct campaign_pcap pcap;
};

/* As an argp child; its input is a struct campaign_common. */
extern const struct argp campaign_common_argp;
/* The value of --NAME, from lo to hi; argp says what is wrong with it. */
void campaign_parse_number(struct argp_state *state, const char *name, const char *arg, uint64_t lo, uint64_t hi,
                           uint64_t *out);
/* The folder of the profiles. */
void campaign_profile_dir(const struct campaign_common *common, char out[PATH_MAX]);

/* ---- subcommands ----------------------------------------------------------------------------- */

int campaign_cmd_run(int argc, char **argv);
int campaign_cmd_lab(int argc, char **argv);
int campaign_cmd_list(int argc, char **argv);
int campaign_cmd_report(int argc, char **argv);
int campaign_cmd_compare(int argc, char **argv);
int campaign_cmd_check(int argc, char **argv);
int campaign_cmd_merge(int argc, char **argv);
int campaign_cmd_brief(int argc, char **argv);
int campaign_cmd_field(int argc, char **argv);

#endif
