/* Reads a campaign file. Every mistake is found here, with its line, before anything is started. */
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/config.h"

/* Long enough that building the lab and starting the programs (some 60 ms of a processor) weighs little. */
#define DEFAULT_BLOCK 50
/* The punch's own deadline. */
#define TIMEOUT_MIN_NS (10 * BASE_NS_PER_MS)
#define TIMEOUT_MAX_NS (3600 * BASE_NS_PER_S)
/* 53 bits: what every JSON reader has exactly. */
#define SEED_MAX ((1ULL << 53) - 1)

struct reading;
typedef int set_fn(struct reading *r, const char *value);

struct key {
    const char *section, *name;
    set_fn *set;
    bool needed;
    bool list; /* may go on in an indented line */
};

/* A NAT list may name its profiles before the file's errors are known: they are read at the end. */
struct nat_list {
    char names[CAMPAIGN_MAX_NATS][CAMPAIGN_SIDE_LEN + 1];
    size_t n;
    int line;
};

struct pair_list {
    char names[CAMPAIGN_MAX_PAIRS][2][CAMPAIGN_SIDE_LEN + 1];
    size_t n;
    int line;
};

/* So may a technique list: [technique LABEL] may come behind it. */
struct technique_list {
    char names[CAMPAIGN_MAX_TECHNIQUES][64];
    int lines[CAMPAIGN_MAX_TECHNIQUES];
    size_t n;
};

struct reading {
    const char *path;
    FILE *file;
    int line;
    bool indented;
    const struct key *last;
    int key_lines[16]; /* by index in the table; 0 = not seen */
    struct nat_list a, b;
    struct pair_list pairs;
    struct technique_list techniques;
    struct campaign_variants variants;
    struct campaign_link *link; /* whose section this is */
    char section[64];           /* of that link, as inih tells it */
    bool comment;               /* this line has one behind its value */
    struct campaign_config *config;
    char *err; /* the first error wins */
    bool failed;
};

static set_fn set_name, set_seed, set_trials, set_warmup, set_block, set_until_width, set_timeout, set_parallel,
    set_nats, set_nats_a, set_nats_b, set_pairs, set_techniques;

static const struct key keys[] = {
    {"campaign", "name", set_name, true, false},
    {"campaign", "seed", set_seed, false, false},
    {"campaign", "trials", set_trials, true, false},
    {"campaign", "timeout", set_timeout, false, false},
    {"campaign", "warmup", set_warmup, false, false},
    {"campaign", "block", set_block, false, false},
    {"campaign", "until-width", set_until_width, false, false},
    {"campaign", "parallel", set_parallel, false, false},
    {"campaign", "nats", set_nats, false, true},
    {"campaign", "nats-a", set_nats_a, false, true},
    {"campaign", "nats-b", set_nats_b, false, true},
    {"campaign", "pairs", set_pairs, false, true},
    {"campaign", "techniques", set_techniques, true, true},
};
#define N_KEYS BASE_ARRAY_LEN(keys)
_Static_assert(N_KEYS <= 16, "struct reading has too few key_lines");

/* ---- errors ---------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static int refuse(struct reading *r, int line, const char *fmt, ...)
{
    if (r->failed)
        return -EINVAL;
    r->failed = true;
    int len = snprintf(r->err, CAMPAIGN_ERROR_LEN, "%.200s:%d: ", r->path, line);
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->err + len, CAMPAIGN_ERROR_LEN - (size_t)len, fmt, args);
    va_end(args);
    return -EINVAL;
}

/* ---- single values --------------------------------------------------------------------------- */

static int set_name(struct reading *r, const char *value)
{
    size_t len = strlen(value);
    bool good = len > 0 && len < sizeof(r->config->name) && *value != '.' && *value != '-';
    for (size_t i = 0; good && i < len; i++)
        good = isalnum((unsigned char)value[i]) || strchr("-_.", value[i]);
    if (!good)
        return refuse(r, r->line, "'%.80s' is no name; write 1 to %zu letters, digits, '-', '_' or '.'", value,
                      sizeof(r->config->name) - 1);
    memcpy(r->config->name, value, len + 1);
    return 0;
}

static int set_u64(struct reading *r, const char *key, const char *value, uint64_t lo, uint64_t hi, uint64_t *out)
{
    if (base_parse_u64(value, lo, hi, out) < 0)
        return refuse(r, r->line, "'%s = %.40s': write a number from %llu to %llu", key, value, (unsigned long long)lo,
                      (unsigned long long)hi);
    return 0;
}

static int set_seed(struct reading *r, const char *value)
{
    return set_u64(r, "seed", value, 0, SEED_MAX, &r->config->seed);
}

static int set_trials(struct reading *r, const char *value)
{
    return set_u64(r, "trials", value, 1, CAMPAIGN_MAX_TRIALS, &r->config->trials);
}

static int set_warmup(struct reading *r, const char *value)
{
    return set_u64(r, "warmup", value, 0, CAMPAIGN_MAX_WARMUP, &r->config->warmup);
}

static int set_block(struct reading *r, const char *value)
{
    return set_u64(r, "block", value, 1, CAMPAIGN_MAX_TRIALS, &r->config->block);
}

static int set_until_width(struct reading *r, const char *value)
{
    double *width = &r->config->until_width;
    if (campaign_parse_percent(value, width) < 0 || *width <= 0 || *width >= 1)
        return refuse(r, r->line, "'until-width = %.40s': write a percentage, over 0%% and under 100%%", value);
    return 0;
}

static int set_parallel(struct reading *r, const char *value)
{
    if (strcmp(value, "auto") == 0) {
        r->config->parallel = 0;
        return 0;
    }
    if (base_parse_u64(value, 1, CAMPAIGN_MAX_PARALLEL, &r->config->parallel) < 0)
        return refuse(r, r->line, "'parallel = %.40s': write auto, or a number of cells from 1 to %d", value,
                      CAMPAIGN_MAX_PARALLEL);
    return 0;
}

static int set_duration(struct reading *r, const char *key, const char *value, uint64_t lo, uint64_t hi, uint64_t *out)
{
    uint64_t ns;
    if (base_parse_duration(value, &ns) < 0 || ns < lo || ns > hi)
        return refuse(r, r->line, "'%s = %.40s': write a time like 40ms or 1.5s, from %llu ms to %llu s", key, value,
                      (unsigned long long)(lo / BASE_NS_PER_MS), (unsigned long long)(hi / BASE_NS_PER_S));
    *out = ns;
    return 0;
}

static int set_timeout(struct reading *r, const char *value)
{
    return set_duration(r, "timeout", value, TIMEOUT_MIN_NS, TIMEOUT_MAX_NS, &r->config->timeout_ns);
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* Takes the next item of a comma list into buf. False at the end; an empty or too long item is "". */
static bool next_item(const char **list, char *buf, size_t cap)
{
    const char *p = *list;
    if (!p)
        return false;
    p += strspn(p, " \t");
    size_t len = strcspn(p, ",");
    *list = p[len] ? p + len + 1 : NULL;
    /* A trailing comma before an indented line is how people write lists. */
    if (*list && !(*list)[strspn(*list, " \t")])
        *list = NULL;
    while (len > 0 && isspace((unsigned char)p[len - 1]))
        len--;
    if (len >= cap)
        len = 0;
    memcpy(buf, p, len);
    buf[len] = '\0';
    return true;
}

static int add_nats(struct reading *r, const char *value, struct nat_list *out)
{
    char name[sizeof(out->names[0])];
    if (!out->line)
        out->line = r->line;
    while (next_item(&value, name, sizeof(name))) {
        if (!*name)
            return refuse(r, r->line, "the list of NATs has an empty or too long name");
        for (size_t i = 0; i < out->n; i++)
            if (strcmp(out->names[i], name) == 0)
                return refuse(r, r->line, "NAT '%s' is listed twice", name);
        if (out->n == CAMPAIGN_MAX_NATS)
            return refuse(r, r->line, "more than %d NATs", CAMPAIGN_MAX_NATS);
        memcpy(out->names[out->n++], name, sizeof(name));
    }
    return 0;
}

static int set_nats_a(struct reading *r, const char *value)
{
    return add_nats(r, value, &r->a);
}

static int set_nats_b(struct reading *r, const char *value)
{
    return add_nats(r, value, &r->b);
}

static int set_nats(struct reading *r, const char *value)
{
    int res = add_nats(r, value, &r->a);
    return res < 0 ? res : add_nats(r, value, &r->b);
}

/* One side of "A / B", which ends at `end`; without the spaces around it. */
static bool take_side(const char *from, const char *end, char out[CAMPAIGN_SIDE_LEN + 1])
{
    while (from < end && isspace((unsigned char)*from))
        from++;
    while (end > from && isspace((unsigned char)end[-1]))
        end--;
    size_t len = (size_t)(end - from);
    if (len == 0 || len > CAMPAIGN_SIDE_LEN)
        return false;
    memcpy(out, from, len);
    out[len] = '\0';
    return true;
}

static int set_pairs(struct reading *r, const char *value)
{
    struct pair_list *p = &r->pairs;
    char text[2 * CAMPAIGN_SIDE_LEN + 16];
    if (!p->line)
        p->line = r->line;
    while (next_item(&value, text, sizeof(text))) {
        const char *slash = strchr(text, '/');
        if (p->n == CAMPAIGN_MAX_PAIRS)
            return refuse(r, r->line, "more than %d pairs", CAMPAIGN_MAX_PAIRS);
        if (!slash || strchr(slash + 1, '/') || !take_side(text, slash, p->names[p->n][0]) ||
            !take_side(slash + 1, text + strlen(text), p->names[p->n][1]))
            return refuse(r, r->line, "'%.80s' is no pair; write NAT / NAT, with commas between pairs", text);
        p->n++;
    }
    return 0;
}

static int set_techniques(struct reading *r, const char *value)
{
    struct technique_list *t = &r->techniques;
    char text[sizeof(t->names[0])];
    while (next_item(&value, text, sizeof(text))) {
        if (!*text)
            return refuse(r, r->line, "the list of techniques has an empty or too long name");
        if (t->n == CAMPAIGN_MAX_TECHNIQUES)
            return refuse(r, r->line, "more than %d techniques", CAMPAIGN_MAX_TECHNIQUES);
        t->lines[t->n] = r->line;
        memcpy(t->names[t->n++], text, sizeof(text));
    }
    return 0;
}

static int add_expect(struct reading *r, const char *pattern, const char *value)
{
    struct campaign_config *c = r->config;
    char why[CAMPAIGN_ERROR_LEN];
    if (c->n_expects == CAMPAIGN_MAX_EXPECT)
        return refuse(r, r->line, "more than %d expectations", CAMPAIGN_MAX_EXPECT);
    struct campaign_expect *e = &c->expects[c->n_expects];
    if (campaign_expect_parse(pattern, value, e, why) < 0)
        return refuse(r, r->line, "%s", why);
    e->line = r->line;
    c->n_expects++;
    return 0;
}

static int add_budget(struct reading *r, const char *pattern, const char *value)
{
    struct campaign_config *c = r->config;
    char why[CAMPAIGN_ERROR_LEN];
    if (c->n_budgets == CAMPAIGN_MAX_BUDGETS)
        return refuse(r, r->line, "more than %d lines in [trials]", CAMPAIGN_MAX_BUDGETS);
    if (campaign_budget_parse(pattern, value, &c->budgets[c->n_budgets], why) < 0)
        return refuse(r, r->line, "%s", why);
    c->n_budgets++;
    return 0;
}

/* ---- links ----------------------------------------------------------------------------------- */

/* "link", or "link NAME" with one name: what stands behind "link". NULL for another section. */
static const char *link_of_section(const char *section)
{
    if (strncmp(section, "link", 4) != 0 || (section[4] && !isspace((unsigned char)section[4])))
        return NULL;
    return section + 4 + strspn(section + 4, " \t");
}

static int begin_link(struct reading *r, const char *section)
{
    struct campaign_config *c = r->config;
    struct campaign_link *link = &c->links[c->n_links];
    const char *name = link_of_section(section);
    size_t len = strlen(name);
    bool good = len < sizeof(link->name) && *name != '.' && *name != '-';
    for (size_t i = 0; good && i < len; i++)
        good = isalnum((unsigned char)name[i]) || strchr("-_.", name[i]);
    if (!good)
        return refuse(r, r->line, "'%.60s' is no name for a link; write 1 to %d letters, digits, '-', '_' or '.'", name,
                      CAMPAIGN_LINK_NAME);
    for (size_t i = 0; i < c->n_links; i++)
        if (strcmp(c->links[i].name, name) == 0)
            return refuse(r, r->line, "[%s] was already there in line %d; give one of them another name", section,
                          c->links[i].line);
    if (c->n_links == CAMPAIGN_MAX_LINKS)
        return refuse(r, r->line, "more than %d links", CAMPAIGN_MAX_LINKS);
    c->n_links++;
    *link = (struct campaign_link){.line = r->line};
    memcpy(link->name, name, len + 1);
    snprintf(r->section, sizeof(r->section), "%s", section);
    r->link = link;
    return 0;
}

/* inih is silent about a section without keys, or one that is there twice. */
static void note_section(struct reading *r, const char *line)
{
    char section[64];
    size_t len = strcspn(line + 1, "]\n");
    if (line[1 + len] != ']' || len >= sizeof(section))
        return;
    memcpy(section, line + 1, len);
    section[len] = '\0';
    if (link_of_section(section))
        begin_link(r, section);
}

static int set_link(struct reading *r, const char *section, const char *name, const char *value)
{
    char why[CAMPAIGN_ERROR_LEN];
    /* One whose header is indented. */
    if (strcmp(section, r->section) != 0 && begin_link(r, section) < 0)
        return -EINVAL;
    if (!*value)
        return refuse(r, r->line, "'%s' has no value", name);
    return campaign_link_set(r->link, name, value, r->line, why) < 0 ? refuse(r, r->line, "%s", why) : 0;
}

/* ---- techniques with options ----------------------------------------------------------------- */

/* "technique LABEL": the label. NULL for another section. */
static const char *label_of_section(const char *section)
{
    if (strncmp(section, "technique", 9) != 0 || !isspace((unsigned char)section[9]))
        return NULL;
    return section + 9 + strspn(section + 9, " \t");
}

static int set_variant(struct reading *r, const char *label, const char *name, const char *value)
{
    char why[CAMPAIGN_ERROR_LEN];
    /* A shell's ';' would end the command without a word. */
    if (r->comment && strncmp(name, "run-", 4) == 0)
        return refuse(r, r->line,
                      "a ';' behind a blank begins a comment, and would cut '%.40s' short: write it without "
                      "the blank",
                      name);
    return campaign_variant_set(&r->variants, label, name, value, r->indented, why) < 0 ? refuse(r, r->line, "%s", why)
                                                                                        : 0;
}

static int resolve_techniques(struct reading *r)
{
    struct campaign_config *c = r->config;
    char why[CAMPAIGN_ERROR_LEN];
    for (size_t i = 0; i < r->techniques.n; i++) {
        struct campaign_choice *choice = &c->techniques[i];
        if (campaign_variant_resolve(&r->variants, r->techniques.names[i], choice, why) < 0)
            return refuse(r, r->techniques.lines[i], "%s", why);
        for (size_t k = 0; k < i; k++)
            if (strcmp(c->techniques[k].label, choice->label) == 0)
                return refuse(r, r->techniques.lines[i], "technique '%s' is listed twice", choice->label);
        c->n_techniques++;
    }
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static const struct key *find_key(const char *section, const char *name)
{
    for (size_t i = 0; i < N_KEYS; i++)
        if (strcmp(keys[i].section, section) == 0 && strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

static int no_key(struct reading *r, const char *section, const char *name)
{
    if (strcmp(section, "campaign") != 0)
        return *section ? refuse(r, r->line,
                                 "there is no section [%.40s]; use [campaign], [link], [link NAME], [technique LABEL], "
                                 "[trials] or [expect]",
                                 section)
                        : refuse(r, r->line, "'%.40s' stands before any section; begin with [campaign]", name);
    char names[200] = "";
    for (size_t i = 0; i < N_KEYS; i++)
        if (strcmp(keys[i].section, section) == 0)
            snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", *names ? ", " : "", keys[i].name);
    return refuse(r, r->line, "[%s] has no key '%.40s'; use one of: %s", section, name, names);
}

/* inih's convention: 1 goes on, 0 stops. */
static int on_key(void *user, const char *section, const char *name, const char *value)
{
    struct reading *r = user;
    if (strcmp(section, "expect") == 0)
        return add_expect(r, name, value) == 0;
    if (strcmp(section, "trials") == 0)
        return add_budget(r, name, value) == 0;
    if (link_of_section(section))
        return set_link(r, section, name, value) == 0;
    if (label_of_section(section))
        return set_variant(r, label_of_section(section), name, value) == 0;
    const struct key *key = find_key(section, name);
    if (!key)
        return no_key(r, section, name), 0;
    int *seen = &r->key_lines[key - keys];
    bool more = r->indented && r->last == key && key->list;
    if (*seen && !more)
        return refuse(r, r->line, "'%s' was already given in line %d", name, *seen), 0;
    if (!*seen)
        *seen = r->line;
    r->last = key;
    if (!*value)
        return refuse(r, r->line, "'%s' has no value", name), 0;
    return key->set(r, value) == 0;
}

/* inih's rule: a ';' behind a blank. */
static bool has_comment(const char *line)
{
    for (const char *at = strchr(line, ';'); at; at = strchr(at + 1, ';'))
        if (at > line && isspace((unsigned char)at[-1]))
            return true;
    return false;
}

/* Counts lines, which the packaged inih does not tell; and refuses to have one silently cut in two. */
static char *next_line(char *buf, int size, void *user)
{
    struct reading *r = user;
    char *got = fgets(buf, size, r->file);
    if (!got || r->failed)
        return NULL;
    r->line++;
    r->indented = isspace((unsigned char)*buf);
    r->comment = has_comment(buf);
    if (*buf == '[')
        note_section(r, buf);
    if (!strchr(buf, '\n') && !feof(r->file)) {
        refuse(r, r->line, "the line is longer than %d characters; go on in an indented line", size - 3);
        return NULL;
    }
    return got;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int read_side(struct reading *r, int line, const char *text, const char *dir, struct campaign_side *out)
{
    char why[CAMPAIGN_ERROR_LEN];
    if (campaign_side_read(text, dir, &r->config->profiles, out, why) < 0)
        return refuse(r, line, "%s", why);
    return 0;
}

static bool named(const struct campaign_side *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return true;
    return false;
}

static int check_pair(struct reading *r, size_t i)
{
    const struct campaign_config *c = r->config;
    const char *a = c->pairs[i][0].name, *b = c->pairs[i][1].name;
    bool twice = named(c->nats_a, c->n_a, a) && named(c->nats_b, c->n_b, b);
    for (size_t k = 0; k < i; k++)
        twice |= strcmp(c->pairs[k][0].name, a) == 0 && strcmp(c->pairs[k][1].name, b) == 0;
    return twice ? refuse(r, r->pairs.line, "the pair %s / %s is there twice", a, b) : 0;
}

static int check_family(struct reading *r, int line, const struct campaign_side *a, const struct campaign_side *b)
{
    char why[CAMPAIGN_ERROR_LEN];
    const struct campaign_config *c = r->config;
    if (campaign_sides_check(a, b, why) < 0)
        return refuse(r, line, "%s", why);
    for (size_t i = 0; i < c->n_links; i++)
        if (c->links[i].both && campaign_sides_check_both(a, b, why) < 0)
            return refuse(r, c->links[i].both_line, "%s", why);
    return 0;
}

static int check_families(struct reading *r)
{
    const struct campaign_config *c = r->config;
    int res = 0;
    for (size_t i = 0; i < c->n_a * c->n_b && res == 0; i++)
        res = check_family(r, r->a.line, &c->nats_a[i / c->n_b], &c->nats_b[i % c->n_b]);
    for (size_t i = 0; i < c->n_pairs && res == 0; i++)
        res = check_family(r, r->pairs.line, &c->pairs[i][0], &c->pairs[i][1]);
    return res;
}

static int read_profiles(struct reading *r, const char *dir)
{
    struct campaign_config *c = r->config;
    for (; c->n_a < r->a.n; c->n_a++)
        if (read_side(r, r->a.line, r->a.names[c->n_a], dir, &c->nats_a[c->n_a]) < 0)
            return -EINVAL;
    for (; c->n_b < r->b.n; c->n_b++)
        if (read_side(r, r->b.line, r->b.names[c->n_b], dir, &c->nats_b[c->n_b]) < 0)
            return -EINVAL;
    for (size_t i = 0; i < r->pairs.n; i++) {
        for (int k = 0; k < 2; k++)
            if (read_side(r, r->pairs.line, r->pairs.names[i][k], dir, &c->pairs[i][k]) < 0)
                return -EINVAL;
        if (check_pair(r, i) < 0)
            return -EINVAL;
        c->n_pairs++;
    }
    return check_families(r);
}

static size_t longest_name(const struct campaign_side *list, size_t n)
{
    size_t longest = 0;
    for (size_t i = 0; i < n; i++)
        longest = strlen(list[i].name) > longest ? strlen(list[i].name) : longest;
    return longest;
}

/* A cell's name is its session's: S takes so many characters. */
static int check_names(struct reading *r)
{
    const struct campaign_config *c = r->config;
    size_t len = longest_name(c->nats_a, c->n_a) + longest_name(c->nats_b, c->n_b), rest[2] = {0, 0};
    for (size_t i = 0; i < c->n_pairs; i++) {
        size_t both = strlen(c->pairs[i][0].name) + strlen(c->pairs[i][1].name);
        len = both > len ? both : len;
    }
    for (size_t i = 0; i < c->n_techniques; i++)
        rest[0] = strlen(c->techniques[i].label) > rest[0] ? strlen(c->techniques[i].label) : rest[0];
    for (size_t i = 0; i < c->n_links; i++)
        rest[1] = strlen(c->links[i].label) > rest[1] ? strlen(c->links[i].label) : rest[1];
    if (len + rest[0] + rest[1] + 3 > CAMPAIGN_CELL_NAME)
        return refuse(r, r->pairs.line ? r->pairs.line : r->a.line,
                      "the longest name of a cell has more than %d characters: use shorter names of profiles or links",
                      CAMPAIGN_CELL_NAME);
    return 0;
}

static int key_line(const struct reading *r, const char *name)
{
    return r->key_lines[find_key("campaign", name) - keys];
}

static int check_links(struct reading *r, int end)
{
    struct campaign_config *c = r->config;
    if (c->n_links == 0)
        return refuse(r, end, "'rtt' is missing in [link]");
    for (size_t i = 0; i < c->n_links; i++) {
        struct campaign_link *link = &c->links[i];
        if (!campaign_link_complete(link))
            return refuse(r, link->line, "'rtt' is missing in [link%s%s]", *link->name ? " " : "", link->name);
        campaign_link_finish(link);
        for (size_t k = 0; k < i; k++)
            if (strcmp(c->links[k].label, link->label) == 0)
                return refuse(r, link->line, "the links of lines %d and %d are both called %s in cell names",
                              c->links[k].line, link->line, link->label);
    }
    return 0;
}

static int check(struct reading *r)
{
    int end = r->line ? r->line : 1;
    for (size_t i = 0; i < N_KEYS; i++)
        if (keys[i].needed && !r->key_lines[i])
            return refuse(r, end, "'%s' is missing in [%s]", keys[i].name, keys[i].section);
    int nats = key_line(r, "nats"), nats_a = key_line(r, "nats-a"), nats_b = key_line(r, "nats-b");
    if (nats && (nats_a || nats_b))
        return refuse(r, nats_a ? nats_a : nats_b, "'nats' in line %d sets both sides already; use one or the other",
                      nats);
    if (!nats && !(nats_a && nats_b) && (nats_a || nats_b || !key_line(r, "pairs")))
        return refuse(r, end, "'nats' (or 'nats-a' and 'nats-b', or 'pairs') is missing in [campaign]");
    return check_links(r, end);
}

static int parse(struct reading *r)
{
    int bad_line = ini_parse_stream(next_line, r, on_key, r);
    if (ferror(r->file) && !r->failed)
        return campaign_fail(-EIO, r->err, "%.200s: could not be read", r->path);
    if (bad_line > 0)
        refuse(r, bad_line, "neither KEY = VALUE, nor [SECTION], nor a comment");
    return r->failed || resolve_techniques(r) < 0 ? -EINVAL : check(r);
}

int campaign_config_read(const char *path, const char *profile_dir, struct campaign_config *out,
                         char err[CAMPAIGN_ERROR_LEN])
{
    struct reading *r = calloc(1, sizeof(*r));
    if (!r)
        return campaign_fail(-ENOMEM, err, "no memory");
    *out = (struct campaign_config){.seed = 1, .block = DEFAULT_BLOCK, .timeout_ns = 2 * BASE_NS_PER_S};
    r->path = path;
    r->config = out;
    r->err = err;
    r->file = fopen(path, "re");
    int res = 0;
    if (!r->file) {
        res = -errno;
        campaign_fail(res, err, "%.200s: %s", path, strerror(-res));
    } else {
        res = parse(r);
        fclose(r->file);
    }
    if (res == 0)
        res = read_profiles(r, profile_dir);
    if (res == 0)
        res = check_names(r);
    snprintf(out->path, sizeof(out->path), "%s", path);
    free(r);
    return res;
}
