/* Values of a campaign file that are more than a number: percentages, expectations. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/config.h"
#include "bench/record/record.h"

/* Digits with at most one point: what strtod takes beyond that (hex, "inf", signs) nobody means here. */
static bool is_decimal(const char *text, size_t len)
{
    size_t digits = 0, points = 0;
    for (size_t i = 0; i < len; i++) {
        digits += isdigit((unsigned char)text[i]) != 0;
        points += text[i] == '.';
    }
    return digits > 0 && points <= 1 && digits + points == len;
}

int campaign_parse_percent(const char *text, double *out)
{
    size_t len = strlen(text);
    if (strcmp(text, "0") == 0) {
        *out = 0;
        return 0;
    }
    if (len < 2 || text[len - 1] != '%' || !is_decimal(text, len - 1))
        return -EINVAL;
    double value = strtod(text, NULL) / 100;
    if (value > 1)
        return -EINVAL;
    *out = value;
    return 0;
}

static int parse_pattern(const char *pattern, struct campaign_pattern *out)
{
    char *const parts[] = {out->nat_a, out->nat_b, out->technique, out->link};
    size_t n = 0;
    strcpy(out->link, "*");
    for (;; pattern++) {
        size_t len = strcspn(pattern, "/");
        if (n == BASE_ARRAY_LEN(parts) || len == 0 || len >= sizeof(out->nat_a))
            return -EINVAL;
        memcpy(parts[n], pattern, len);
        parts[n++][len] = '\0';
        pattern += len;
        if (!*pattern)
            return n >= 3 ? 0 : -EINVAL;
    }
}

int campaign_parse_size(const char *text, uint64_t *out)
{
    static const char units[] = "kMG";
    char digits[24];
    size_t len = strlen(text);
    const char *unit = len > 0 ? strchr(units, text[len - 1]) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    uint64_t n;
    len -= unit != NULL;
    if (len >= sizeof(digits))
        return -EINVAL;
    memcpy(digits, text, len);
    digits[len] = '\0';
    if (base_parse_u64(digits, 0, UINT64_MAX >> shift, &n) < 0)
        return -EINVAL;
    *out = n << shift;
    return 0;
}

static int no_pattern(const char *pattern, char err[CAMPAIGN_ERROR_LEN])
{
    return campaign_fail(-EINVAL, err,
                         "'%.80s' is no pattern; write NAT-A/NAT-B/TECHNIQUE or NAT-A/NAT-B/TECHNIQUE/LINK, each with "
                         "* where any will do, and a mode as TECHNIQUE-MODE",
                         pattern);
}

int campaign_budget_parse(const char *pattern, const char *value, struct campaign_budget *out,
                          char err[CAMPAIGN_ERROR_LEN])
{
    *out = (struct campaign_budget){0};
    snprintf(out->text, sizeof(out->text), "%.100s = %.50s", pattern, value);
    if (parse_pattern(pattern, &out->cells) < 0)
        return no_pattern(pattern, err);
    if (base_parse_u64(value, 1, CAMPAIGN_MAX_TRIALS, &out->trials) < 0)
        return campaign_fail(-EINVAL, err, "'%.40s' is no number of trials; write one from 1 to %d", value,
                             CAMPAIGN_MAX_TRIALS);
    return 0;
}

/* "private", "private|hairpin". 0 for anything else. */
static unsigned parse_paths(const char *text)
{
    unsigned paths = 0;
    char name[16];
    for (;; text++) {
        enum record_path path;
        size_t len = strcspn(text, "|");
        if (len == 0 || len >= sizeof(name))
            return 0;
        memcpy(name, text, len);
        name[len] = '\0';
        if (record_path_parse(name, &path) < 0)
            return 0;
        paths |= 1u << path;
        text += len;
        if (!*text)
            return paths;
    }
}

/* Takes the paths off the end of "100% private"; the rate is left in `rate`. */
static int split_paths(const char *value, char *rate, size_t cap, unsigned *paths)
{
    size_t len = strlen(value);
    if (len >= cap)
        return -EINVAL;
    memcpy(rate, value, len + 1);
    char *last = rate + len;
    while (last > rate && last[-1] != ' ' && last[-1] != '\t')
        last--;
    *paths = 0;
    /* A rate has digits, an operator none. */
    if (last == rate || !isalpha((unsigned char)*last))
        return 0;
    *paths = parse_paths(last);
    while (last > rate && (last[-1] == ' ' || last[-1] == '\t'))
        last--;
    *last = '\0';
    return *paths ? 0 : -EINVAL;
}

int campaign_expect_parse(const char *pattern, const char *value, struct campaign_expect *out,
                          char err[CAMPAIGN_ERROR_LEN])
{
    *out = (struct campaign_expect){.op = CAMPAIGN_EXACTLY};
    snprintf(out->text, sizeof(out->text), "%.100s = %.50s", pattern, value);
    char rate[64];
    if (parse_pattern(pattern, &out->cells) < 0)
        return no_pattern(pattern, err);
    if (split_paths(value, rate, sizeof(rate), &out->paths) < 0)
        return campaign_fail(-EINVAL, err,
                             "'%.40s': behind the rate stand direct, private, hairpin, reversed or relay, or several "
                             "of them with | between",
                             value);
    value = rate;
    if (strcmp(value, "predicted") == 0) {
        out->op = CAMPAIGN_PREDICTED;
        return 0;
    }
    if (strncmp(value, ">=", 2) == 0 || strncmp(value, "<=", 2) == 0) {
        out->op = *value == '>' ? CAMPAIGN_AT_LEAST : CAMPAIGN_AT_MOST;
        value += 2 + strspn(value + 2, " \t");
    } else if (*value == '~') {
        out->op = CAMPAIGN_ABOUT;
        value += 1 + strspn(value + 1, " \t");
    }
    if (campaign_parse_percent(value, &out->rate) < 0)
        return campaign_fail(-EINVAL, err,
                             "'%.40s' is no rate; write 100%%, >= 99%%, <= 1%%, ~ 25%% or predicted, and a path behind "
                             "it if that matters",
                             value);
    return 0;
}
