/* What can be measured: the techniques, and the programs that do them. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "bench/campaign/campaign.h"

/* The only mode of a technique goes unnamed in cell names. */
#define PLAIN "plain"

static const char *const simopen_modes[] = {PLAIN, "none", NULL};
static const char *const synspray_modes[] = {"hold", "reuse", "listen", "none", NULL};
static const char *const portspray_modes[] = {"punch", "none", NULL};
static const char *const no_modes[] = {NULL};

static const struct campaign_technique table[] = {
    {"simopen", "simopen", "tcp", PLAIN, simopen_modes,
     "TCP simultaneous open from the registered port, with a listener on the same port"},
    {"synspray", "synspray", "tcp", "hold", synspray_modes,
     "TCP against a NAT whose ports move: SYNs to many ports, held, re-used or closed, and many probes"},
    {"portspray", "portspray", "udp", "punch", portspray_modes, "UDP hole punching; punch: the classic one"},
    {"none", "portspray", "udp", "none", no_modes, "control: sends nothing, so nothing may connect"},
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
