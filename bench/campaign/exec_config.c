/* The keys of a section [technique LABEL] with `use = exec`: anybody's pair of commands, and how to judge them. */
#include <errno.h>
#include <regex.h>
#include <string.h>

#include "bench/campaign/config.h"

/* As for the campaign's own. */
#define TIMEOUT_MIN_NS (10 * BASE_NS_PER_MS)
#define TIMEOUT_MAX_NS (3600 * BASE_NS_PER_S)

typedef int set_fn(struct campaign_exec *e, int which, const char *key, const char *value,
                   char err[CAMPAIGN_ERROR_LEN]);

static set_fn set_run, set_ready, set_success, set_start, set_delay, set_server, set_timeout, set_transport,
    set_gave_up;

static const struct key {
    const char *name;
    set_fn *set;
    int which; /* the host; -1 = both */
} keys[] = {
    {"run-a", set_run, CAMPAIGN_A},
    {"run-b", set_run, CAMPAIGN_B},
    {"run-s", set_run, CAMPAIGN_S},
    {"success", set_success, -1},
    {"success-a", set_success, CAMPAIGN_A},
    {"success-b", set_success, CAMPAIGN_B},
    {"ready-a", set_ready, CAMPAIGN_A},
    {"ready-b", set_ready, CAMPAIGN_B},
    {"ready-s", set_ready, CAMPAIGN_S},
    {"start", set_start, -1},
    {"delay", set_delay, -1},
    {"server", set_server, -1},
    {"timeout", set_timeout, -1},
    {"transport", set_transport, -1},
    {"gave-up", set_gave_up, -1},
};

const char *campaign_exec_keys(void)
{
    return "run-a, run-b, run-s, success, success-a, success-b, ready-a, ready-b, ready-s, start, delay, server, "
           "timeout, transport, gave-up";
}

/* ---- single keys ----------------------------------------------------------------------------- */

static int twice(const char *key, char err[CAMPAIGN_ERROR_LEN])
{
    return campaign_fail(-EINVAL, err, "'%s' is given twice", key);
}

static int set_run(struct campaign_exec *e, int which, const char *key, const char *value, char err[CAMPAIGN_ERROR_LEN])
{
    if (*e->run[which])
        return twice(key, err);
    if (strlen(value) >= sizeof(e->run[which]))
        return campaign_fail(-EINVAL, err, "'%s' has more than %zu characters: put them into a script", key,
                             sizeof(e->run[which]) - 1);
    snprintf(e->run[which], sizeof(e->run[which]), "%s", value);
    return 0;
}

/* A further line of a command. */
static int go_on(struct campaign_exec *e, int which, const char *key, const char *value, char err[CAMPAIGN_ERROR_LEN])
{
    size_t len = strlen(e->run[which]);
    if (len + 1 + strlen(value) >= sizeof(e->run[which]))
        return campaign_fail(-EINVAL, err, "'%s' has more than %zu characters: put them into a script", key,
                             sizeof(e->run[which]) - 1);
    snprintf(e->run[which] + len, sizeof(e->run[which]) - len, "\n%s", value);
    return 0;
}

static int set_pattern(char out[CAMPAIGN_PATTERN_LEN], const char *key, const char *value, char err[CAMPAIGN_ERROR_LEN])
{
    char why[128];
    regex_t compiled;
    if (*out)
        return twice(key, err);
    if (strlen(value) >= CAMPAIGN_PATTERN_LEN)
        return campaign_fail(-EINVAL, err, "'%s' has more than %d characters", key, CAMPAIGN_PATTERN_LEN - 1);
    int res = regcomp(&compiled, value, REG_EXTENDED | REG_NOSUB);
    if (res != 0) {
        regerror(res, &compiled, why, sizeof(why));
        return campaign_fail(-EINVAL, err, "'%s = %.60s' is no extended regular expression: %s", key, value, why);
    }
    regfree(&compiled);
    snprintf(out, CAMPAIGN_PATTERN_LEN, "%s", value);
    return 0;
}

static int set_ready(struct campaign_exec *e, int which, const char *key, const char *value,
                     char err[CAMPAIGN_ERROR_LEN])
{
    return set_pattern(e->ready[which], key, value, err);
}

static int set_success(struct campaign_exec *e, int which, const char *key, const char *value,
                       char err[CAMPAIGN_ERROR_LEN])
{
    if (which >= 0)
        return set_pattern(e->success[which], key, value, err);
    int res = set_pattern(e->success[CAMPAIGN_A], key, value, err);
    return res < 0 ? res : set_pattern(e->success[CAMPAIGN_B], key, value, err);
}

static int set_start(struct campaign_exec *e, int which, const char *key, const char *value,
                     char err[CAMPAIGN_ERROR_LEN])
{
    static const char *const names[] = {
        [CAMPAIGN_TOGETHER] = "together", [CAMPAIGN_A_FIRST] = "a-first", [CAMPAIGN_B_FIRST] = "b-first"};
    (void)which;
    if (e->start)
        return twice(key, err);
    for (enum campaign_start s = CAMPAIGN_TOGETHER; s <= CAMPAIGN_B_FIRST; s++)
        if (strcmp(value, names[s]) == 0)
            e->start = s;
    return e->start ? 0 : campaign_fail(-EINVAL, err, "'start = %.40s': write together, a-first or b-first", value);
}

static int set_time(const char *key, const char *value, uint64_t lo, uint64_t *out, char err[CAMPAIGN_ERROR_LEN])
{
    uint64_t ns;
    if (*out)
        return twice(key, err);
    if (base_parse_duration(value, &ns) < 0 || ns < lo || ns > TIMEOUT_MAX_NS)
        return campaign_fail(-EINVAL, err, "'%s = %.40s': write a time like 200ms or 1.5s, from %llu ms to an hour",
                             key, value, (unsigned long long)(lo / BASE_NS_PER_MS));
    *out = ns;
    return 0;
}

static int set_delay(struct campaign_exec *e, int which, const char *key, const char *value,
                     char err[CAMPAIGN_ERROR_LEN])
{
    (void)which;
    return set_time(key, value, BASE_NS_PER_MS, &e->delay_ns, err);
}

static int set_timeout(struct campaign_exec *e, int which, const char *key, const char *value,
                       char err[CAMPAIGN_ERROR_LEN])
{
    (void)which;
    return set_time(key, value, TIMEOUT_MIN_NS, &e->timeout_ns, err);
}

static int set_server(struct campaign_exec *e, int which, const char *key, const char *value,
                      char err[CAMPAIGN_ERROR_LEN])
{
    (void)which;
    if (e->server)
        return twice(key, err);
    e->server = strcmp(value, "trial") == 0  ? CAMPAIGN_STARTS_ANEW
                : strcmp(value, "cell") == 0 ? CAMPAIGN_STARTS_ONCE
                                             : CAMPAIGN_STARTS_UNSET;
    return e->server ? 0
                     : campaign_fail(-EINVAL, err,
                                     "'server = %.40s': write trial (run-s starts anew in each trial) or cell", value);
}

static int set_transport(struct campaign_exec *e, int which, const char *key, const char *value,
                         char err[CAMPAIGN_ERROR_LEN])
{
    (void)which;
    if (e->transport)
        return twice(key, err);
    e->transport = strcmp(value, "tcp") == 0 ? "tcp" : strcmp(value, "udp") == 0 ? "udp" : NULL;
    return e->transport ? 0 : campaign_fail(-EINVAL, err, "'transport = %.40s': write tcp or udp", value);
}

/* "1, 2" */
static int set_gave_up(struct campaign_exec *e, int which, const char *key, const char *value,
                       char err[CAMPAIGN_ERROR_LEN])
{
    char text[64], *rest = NULL;
    uint64_t status;
    (void)which;
    if (e->n_gave_up)
        return twice(key, err);
    bool good = (size_t)snprintf(text, sizeof(text), "%s", value) < sizeof(text);
    for (char *word = strtok_r(text, ", \t", &rest); word && good; word = strtok_r(NULL, ", \t", &rest)) {
        good = e->n_gave_up < CAMPAIGN_MAX_STATUSES && base_parse_u64(word, 0, 125, &status) == 0;
        if (good)
            e->gave_up[e->n_gave_up++] = (uint8_t)status;
    }
    if (good && e->n_gave_up)
        return 0;
    return campaign_fail(-EINVAL, err, "'gave-up = %.40s': write up to %d exit statuses from 0 to 125, like 1, 2",
                         value, CAMPAIGN_MAX_STATUSES);
}

int campaign_exec_set(struct campaign_exec *e, const char *key, const char *value, bool more,
                      char err[CAMPAIGN_ERROR_LEN])
{
    for (size_t i = 0; i < BASE_ARRAY_LEN(keys); i++) {
        if (strcmp(keys[i].name, key) != 0)
            continue;
        e->used = true;
        if (!*value)
            return campaign_fail(-EINVAL, err, "'%s' has no value", key);
        if (more && keys[i].set == set_run)
            return go_on(e, keys[i].which, key, value, err);
        return keys[i].set(e, keys[i].which, key, value, err);
    }
    return -ENOENT;
}

/* ---- the whole ------------------------------------------------------------------------------- */

int campaign_exec_check(const struct campaign_exec *e, char err[CAMPAIGN_ERROR_LEN])
{
    bool in_order = e->start == CAMPAIGN_A_FIRST || e->start == CAMPAIGN_B_FIRST;
    int first = e->start == CAMPAIGN_B_FIRST ? CAMPAIGN_B : CAMPAIGN_A;
    for (int i = 0; i < 2; i++) {
        if (!*e->run[i])
            return campaign_fail(-EINVAL, err, "has no 'run-%c': the command for host %c", "ab"[i], "ab"[i]);
        if (*e->ready[i] && (!in_order || first != i))
            return campaign_fail(-EINVAL, err, "has 'ready-%c', which needs 'start = %c-first'", "ab"[i], "ab"[i]);
    }
    if (!*e->success[CAMPAIGN_A] && !*e->success[CAMPAIGN_B])
        return campaign_fail(-EINVAL, err,
                             "has no 'success': the pattern that both sides print, or success-a or "
                             "success-b for one of them");
    if (!e->transport)
        return campaign_fail(-EINVAL, err, "has no 'transport': write tcp or udp, for the tables");
    if (in_order && !*e->ready[first] && !e->delay_ns)
        return campaign_fail(-EINVAL, err,
                             "has 'start = %c-first' without 'ready-%c' or 'delay': when does the other "
                             "one start?",
                             "ab"[first], "ab"[first]);
    if (!in_order && e->delay_ns)
        return campaign_fail(-EINVAL, err, "has 'delay', which needs 'start = a-first' or 'start = b-first'");
    if (!*e->run[CAMPAIGN_S] && (*e->ready[CAMPAIGN_S] || e->server))
        return campaign_fail(-EINVAL, err, "has '%s' without 'run-s'", e->server ? "server" : "ready-s");
    return 0;
}

static json_t *texts_json(const char *a, const char *b, const char *s)
{
    json_t *out = json_object();
    if (*a)
        json_object_set_new(out, "a", json_string(a));
    if (*b)
        json_object_set_new(out, "b", json_string(b));
    if (*s)
        json_object_set_new(out, "s", json_string(s));
    return out;
}

json_t *campaign_exec_json(const struct campaign_exec *e)
{
    const char *start = e->start == CAMPAIGN_A_FIRST   ? "a-first"
                        : e->start == CAMPAIGN_B_FIRST ? "b-first"
                                                       : "together";
    json_t *gave_up = json_array();
    for (size_t i = 0; i < e->n_gave_up; i++)
        json_array_append_new(gave_up, json_integer(e->gave_up[i]));
    return json_pack("{s:o, s:o, s:o, s:s, s:I, s:s, s:I, s:o}", "run",
                     texts_json(e->run[CAMPAIGN_A], e->run[CAMPAIGN_B], e->run[CAMPAIGN_S]), "success",
                     texts_json(e->success[CAMPAIGN_A], e->success[CAMPAIGN_B], ""), "ready",
                     texts_json(e->ready[CAMPAIGN_A], e->ready[CAMPAIGN_B], e->ready[CAMPAIGN_S]), "start", start,
                     "delay_ns", (json_int_t)e->delay_ns, "server",
                     e->server == CAMPAIGN_STARTS_ONCE ? "cell" : "trial", "timeout_ns", (json_int_t)e->timeout_ns,
                     "gave_up", gave_up);
}
