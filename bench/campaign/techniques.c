/* What can be measured: the techniques, and the programs that do them. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "bench/campaign/config.h"

/* The only mode of a technique goes unnamed in cell names. */
#define PLAIN "plain"

static const char *const simopen_modes[] = {PLAIN, "auto", "none", NULL};
static const char *const synspray_modes[] = {"hold", "reuse", "listen", "auto", "none", NULL};
static const char *const portspray_modes[] = {"punch", "window", "random", "full", "auto", "none", NULL};
static const char *const relay_modes[] = {"udp-send", "udp-channel", "tcp", "tcp-connect", "tcp-both", "none", NULL};
static const char *const mapped_modes[] = {"udp", "tcp", "none", NULL};
static const char *const no_modes[] = {NULL};

static const struct campaign_technique table[] = {
    {"simopen", "simopen", "tcp", PLAIN, simopen_modes,
     "TCP simultaneous open from the registered port, with a listener on the same port"},
    {"synspray", "synspray", "tcp", "hold", synspray_modes,
     "TCP against a NAT whose ports move: SYNs to many ports, held, re-used or closed, and many probes"},
    {"portspray", "portspray", "udp", "punch", portspray_modes,
     "UDP hole punching; punch: the classic one; against NATs whose ports move: window, random, full"},
    {"none", "portspray", "udp", "none", no_modes, "control: sends nothing, so nothing may connect"},
    {"relay", "relay", "udp", "udp-channel", relay_modes,
     "through a TURN server beside S (needs turnserver): what would have worked without punching"},
    {"mapped", "mapped", "udp", "udp", mapped_modes,
     "by a port that side a's router maps when it is asked (needs miniupnpd): what it gives without punching"},
    {"exec", "/bin/sh", "", PLAIN, no_modes, "any two commands; a section [technique LABEL] says which"},
    {NULL, NULL, NULL, NULL, NULL, NULL},
};

const struct campaign_technique *campaign_techniques(void)
{
    return table;
}

int campaign_fail(int res, char err[CAMPAIGN_ERROR_LEN], const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(err, CAMPAIGN_ERROR_LEN, fmt, args);
    va_end(args);
    return res;
}

static void add_word(char *buf, size_t cap, const char *word)
{
    size_t len = strlen(buf);
    snprintf(buf + len, cap - len, "%s%s", len ? ", " : "", word);
}

static int no_technique(const char *text, char err[CAMPAIGN_ERROR_LEN])
{
    char names[160] = "";
    for (const struct campaign_technique *t = table; t->name; t++)
        add_word(names, sizeof(names), t->name);
    return campaign_fail(-EINVAL, err, "there is no technique '%.80s'; use one of: %s", text, names);
}

static int find_mode(const struct campaign_technique *t, const char *mode, const char **out,
                     char err[CAMPAIGN_ERROR_LEN])
{
    char names[160] = "";
    for (const char *const *m = t->modes; *m; m++) {
        if (strcmp(*m, mode) == 0) {
            *out = *m;
            return 0;
        }
        add_word(names, sizeof(names), *m);
    }
    if (!*names)
        return campaign_fail(-EINVAL, err, "technique %s has no modes; write just '%s'", t->name, t->name);
    return campaign_fail(-EINVAL, err, "technique %s has no mode '%.40s'; use one of: %s", t->name, mode, names);
}

int campaign_choice_parse(const char *text, struct campaign_choice *out, char err[CAMPAIGN_ERROR_LEN])
{
    const char *colon = strchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    const struct campaign_technique *t = table;
    while (t->name && (strlen(t->name) != len || strncmp(t->name, text, len) != 0))
        t++;
    if (!t->name)
        return no_technique(text, err);
    *out = (struct campaign_choice){.technique = t, .mode = t->mode};
    if (colon) {
        int res = find_mode(t, colon + 1, &out->mode, err);
        if (res < 0)
            return res;
    }
    /* The control is its own name already. */
    if (strcmp(out->mode, PLAIN) != 0 && strcmp(t->name, out->mode) != 0)
        snprintf(out->label, sizeof(out->label), "%s-%s", t->name, out->mode);
    else
        snprintf(out->label, sizeof(out->label), "%s", t->name);
    return 0;
}

/* ---- [technique LABEL] ----------------------------------------------------------------------- */

/* The section of that label, begun if need be; NULL with err filled. */
static struct campaign_choice *variant_of(struct campaign_variants *v, const char *label, char err[CAMPAIGN_ERROR_LEN])
{
    size_t len = strlen(label);
    bool good = len > 0 && len < sizeof(v->list[0].label) && *label != '.' && *label != '-';
    for (size_t i = 0; i < v->n; i++)
        if (strcmp(v->list[i].label, label) == 0)
            return &v->list[i];
    for (size_t i = 0; good && i < len; i++)
        good = isalnum((unsigned char)label[i]) || strchr("-_.", label[i]);
    if (!good)
        campaign_fail(-EINVAL, err,
                      "'%.60s' is no label for a technique; write 1 to %zu letters, digits, '-', '_' or '.'", label,
                      sizeof(v->list[0].label) - 1);
    else if (v->n == CAMPAIGN_MAX_TECHNIQUES)
        campaign_fail(-EINVAL, err, "more than %d techniques", CAMPAIGN_MAX_TECHNIQUES);
    if (!good || v->n == CAMPAIGN_MAX_TECHNIQUES)
        return NULL;
    struct campaign_choice *variant = &v->list[v->n++];
    *variant = (struct campaign_choice){.technique = NULL};
    memcpy(variant->label, label, len + 1);
    return variant;
}

static int variant_key(struct campaign_choice *variant, const char *key, const char *value, bool more,
                       char err[CAMPAIGN_ERROR_LEN])
{
    int res = campaign_exec_set(&variant->exec, key, value, more, err);
    if (res != -ENOENT)
        return res;
    return campaign_fail(-EINVAL, err, "[technique %s] has no key '%.40s'; use one of: use, options, relay, %s",
                         variant->label, key, campaign_exec_keys());
}

/* relay = yes */
static int set_relay(struct campaign_choice *variant, const char *value, char err[CAMPAIGN_ERROR_LEN])
{
    bool yes = strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "no") != 0)
        return campaign_fail(-EINVAL, err, "'relay = %.40s': write yes or no", value);
    if (variant->relay_given)
        return campaign_fail(-EINVAL, err, "[technique %s] has 'relay' twice", variant->label);
    variant->relay_given = true;
    variant->relay = yes;
    return 0;
}

int campaign_variant_set(struct campaign_variants *v, const char *label, const char *key, const char *value, bool more,
                         char err[CAMPAIGN_ERROR_LEN])
{
    struct campaign_choice *variant = variant_of(v, label, err), choice = {.technique = NULL};
    bool use = strcmp(key, "use") == 0;
    if (!variant)
        return -EINVAL;
    if (strcmp(key, "relay") == 0)
        return set_relay(variant, value, err);
    if (!use && strcmp(key, "options") != 0)
        return variant_key(variant, key, value, more, err);
    if (use ? variant->technique != NULL : variant->options[0])
        return campaign_fail(-EINVAL, err, "[technique %s] has '%s' twice", label, key);
    if (!use && (!*value || strlen(value) >= sizeof(variant->options)))
        return campaign_fail(-EINVAL, err, "'options' has no value, or one of more than %zu characters",
                             sizeof(variant->options) - 1);
    if (!use) {
        snprintf(variant->options, sizeof(variant->options), "%s", value);
        return 0;
    }
    int res = campaign_choice_parse(value, &choice, err);
    variant->technique = choice.technique;
    variant->mode = choice.mode;
    return res;
}

static bool is_exec(const struct campaign_choice *choice)
{
    return strcmp(choice->technique->name, "exec") == 0;
}

static int check_variant(struct campaign_choice *variant, char err[CAMPAIGN_ERROR_LEN])
{
    char why[CAMPAIGN_ERROR_LEN - 100];
    if (variant->relay && strcmp(variant->mode, "auto") != 0)
        return campaign_fail(
            -EINVAL, err,
            "[technique %s] has 'relay = yes', the last resort of mode auto: write 'use = simopen:auto', "
            "synspray:auto or portspray:auto, or use the technique relay",
            variant->label);
    if (!is_exec(variant) && variant->exec.used)
        return campaign_fail(-EINVAL, err, "[technique %s] has commands, which only 'use = exec' runs", variant->label);
    if (!is_exec(variant))
        return 0;
    if (*variant->options)
        return campaign_fail(-EINVAL, err, "[technique %s] has options: with 'use = exec' write them into the commands",
                             variant->label);
    variant->exec.used = true;
    if (campaign_exec_check(&variant->exec, err) == 0)
        return 0;
    snprintf(why, sizeof(why), "%s", err);
    return campaign_fail(-EINVAL, err, "[technique %s] %s", variant->label, why);
}

int campaign_variant_resolve(const struct campaign_variants *v, const char *text, struct campaign_choice *out,
                             char err[CAMPAIGN_ERROR_LEN])
{
    for (size_t i = 0; i < v->n; i++) {
        if (strcmp(v->list[i].label, text) != 0)
            continue;
        *out = v->list[i];
        if (!out->technique)
            return campaign_fail(-EINVAL, err, "[technique %s] needs 'use = NAME' or 'use = NAME:MODE'", text);
        return check_variant(out, err);
    }
    int res = campaign_choice_parse(text, out, err);
    if (res == 0 && is_exec(out))
        return campaign_fail(-EINVAL, err,
                             "technique exec needs a section [technique LABEL] with 'use = exec' and its commands; "
                             "name that LABEL here");
    return res;
}

const char *campaign_choice_transport(const struct campaign_choice *choice)
{
    if (choice->exec.transport)
        return choice->exec.transport;
    /* Baselines that do both say so in the mode. */
    return strncmp(choice->mode, "tcp", 3) == 0 ? "tcp" : choice->technique->transport;
}

bool campaign_choice_maps(const struct campaign_choice *choice)
{
    return strcmp(choice->technique->name, "mapped") == 0 && strcmp(choice->mode, "none") != 0;
}

bool campaign_choice_relays(const struct campaign_choice *choice)
{
    return choice->relay || (strcmp(choice->technique->name, "relay") == 0 && strcmp(choice->mode, "none") != 0);
}
