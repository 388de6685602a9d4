/*
 * bench/campaign: reading what a campaign file says, part by part. For the files that read it, and for who takes the
 * same words from elsewhere (options, run.json).
 */
#ifndef BENCH_CAMPAIGN_CONFIG_H
#define BENCH_CAMPAIGN_CONFIG_H

#include "bench/campaign/campaign.h"

/* ---- sections [technique LABEL] (techniques.c) ----------------------------------------------- */

/* The sections [technique LABEL], with the keys `use` (NAME or NAME:MODE), `options` and `relay`, or those of exec. */
struct campaign_variants {
    struct campaign_choice list[CAMPAIGN_MAX_TECHNIQUES]; /* technique NULL: `use` has not come yet */
    size_t n;
};

/* These give 0, or -EINVAL with what is wrong, without a place, in err. `more`: an indented line that goes on with the
 * key before. */
int campaign_variant_set(struct campaign_variants *v, const char *label, const char *key, const char *value, bool more,
                         char err[CAMPAIGN_ERROR_LEN]);
/* A label of a section, or else what campaign_choice_parse() takes. */
int campaign_variant_resolve(const struct campaign_variants *v, const char *text, struct campaign_choice *out,
                             char err[CAMPAIGN_ERROR_LEN]);
int campaign_choice_parse(const char *text, struct campaign_choice *out, char err[CAMPAIGN_ERROR_LEN]);

/* ---- those with `use = exec` (exec_config.c; pure) ------------------------------------------- */

/* KEY = VALUE of a [technique LABEL] section with `use = exec`; `more`: an indented line that goes on with the key
 * before. -ENOENT for a key that exec has not; -EINVAL with err filled (without a place). */
int campaign_exec_set(struct campaign_exec *e, const char *key, const char *value, bool more,
                      char err[CAMPAIGN_ERROR_LEN]);
/* Whether all that must be given is, and fits together. 0, or -EINVAL with err filled. */
int campaign_exec_check(const struct campaign_exec *e, char err[CAMPAIGN_ERROR_LEN]);
/* The keys, with commas between them; static. */
const char *campaign_exec_keys(void);

/* ---- sections [link] (link.c; pure) ---------------------------------------------------------- */

/* KEY = VALUE of a [link] section; line 0 = not from a file, may be set again. 0, or -EINVAL with err filled (without a
 * place). */
int campaign_link_set(struct campaign_link *link, const char *key, const char *value, int line,
                      char err[CAMPAIGN_ERROR_LEN]);
/* Whether all that must be given is: a round trip. */
bool campaign_link_complete(const struct campaign_link *link);
void campaign_link_finish(struct campaign_link *link);

/* ---- what a host is behind (side.c) ---------------------------------------------------------- */

/* Reads the profiles that it names from dir; the side points into them. 0, or -errno with what is wrong, without a
 * place, in err. */
int campaign_side_read(const char *text, const char *dir, struct campaign_profiles *profiles, struct campaign_side *out,
                       char err[CAMPAIGN_ERROR_LEN]);
/* Whether one family will do for both. 0, or -EINVAL with what is wrong, without a place, in err. */
int campaign_sides_check(const struct campaign_side *a, const struct campaign_side *b, char err[CAMPAIGN_ERROR_LEN]);
/* Whether the peers can have both families. 0, or -EINVAL with what is wrong, without a place, in err. */
int campaign_sides_check_both(const struct campaign_side *a, const struct campaign_side *b,
                              char err[CAMPAIGN_ERROR_LEN]);

/* ---- values (values.c; pure) ----------------------------------------------------------------- */

/* "1%", "0.5%", "0"; *out in [0, 1]. 0, or -EINVAL. */
int campaign_parse_percent(const char *text, double *out);
/* "64M", "1G", "500k", "4096": bytes, by powers of 1024. 0, or -EINVAL. */
int campaign_parse_size(const char *text, uint64_t *out);
/* PATTERN/PATTERN/PATTERN[/PATTERN] and a number of trials. 0, or -EINVAL with err filled (without a place). */
int campaign_budget_parse(const char *pattern, const char *value, struct campaign_budget *out,
                          char err[CAMPAIGN_ERROR_LEN]);
/* PATTERN/PATTERN/PATTERN[/PATTERN] and "100%", ">= 99%", "<= 1%", "~ 25%" or "predicted", each also with a path or
 * several behind it: "100% private", "100% private|hairpin". 0, or -EINVAL with err filled (without a place). */
int campaign_expect_parse(const char *pattern, const char *value, struct campaign_expect *out,
                          char err[CAMPAIGN_ERROR_LEN]);

#endif
