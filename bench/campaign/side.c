/* What a host is behind: HOME@CARRIER. */
#include <errno.h>
#include <string.h>

#include "bench/campaign/config.h"

static int read_profile(const char *name, const char *dir, struct campaign_profiles *profiles,
                        const struct lab_profile **out, char err[CAMPAIGN_ERROR_LEN])
{
    char why[LAB_ERROR_LEN] = "";
    for (size_t i = 0; i < profiles->n; i++)
        if (strcmp(profiles->list[i].name, name) == 0) {
            *out = &profiles->list[i];
            return 0;
        }
    if (profiles->n == CAMPAIGN_MAX_PROFILES)
        return campaign_fail(-E2BIG, err, "more than %d profiles", CAMPAIGN_MAX_PROFILES);
    int res = lab_profile_find(dir, name, &profiles->list[profiles->n], why);
    if (res < 0)
        return campaign_fail(res, err, "%s ('bench list' shows the profiles)", why);
    *out = &profiles->list[profiles->n++];
    return 0;
}

/* The NATs that a profile makes: it, the one that it is under, and so on. At most one more than there may be. */
static int count_nats(const struct lab_profile *profile, size_t *n, char err[CAMPAIGN_ERROR_LEN])
{
    struct lab_profile p = *profile, outer;
    char why[LAB_ERROR_LEN] = "";
    *n += p.backend != LAB_BACKEND_NONE;
    while (*p.under && *n <= LAB_CHAIN_MAX) {
        int res = lab_profile_find(p.dir, p.under, &outer, why);
        if (res < 0)
            return campaign_fail(res, err, "%s is under another NAT, and %s", p.name, why);
        p = outer;
        ++*n;
    }
    return 0;
}

static int check_chain(const struct campaign_side *side, char err[CAMPAIGN_ERROR_LEN])
{
    size_t n = 0;
    for (size_t i = 0; i < side->n; i++) {
        int res = side->nats[i] ? count_nats(side->nats[i], &n, err) : 0;
        if (res < 0)
            return res;
    }
    return n > LAB_CHAIN_MAX
               ? campaign_fail(-EINVAL, err, "'%s' has more than %d NATs, each with those that it is `under`",
                               side->name, LAB_CHAIN_MAX)
               : 0;
}

/* One of the names between the '@'. */
static int add_nat(const char *text, size_t len, const char *dir, struct campaign_profiles *profiles,
                   struct campaign_side *out, char err[CAMPAIGN_ERROR_LEN])
{
    char name[sizeof(out->name)];
    const struct lab_profile **nat = &out->nats[out->n];
    memcpy(name, text, len);
    name[len] = '\0';
    *nat = NULL;
    if (len == 0 && out->n > 0)
        return campaign_fail(-EINVAL, err, "'%s': a profile's name is missing behind an '@'", out->name);
    int res = len ? read_profile(name, dir, profiles, nat, err) : 0;
    if (res < 0)
        return res;
    if (out->n > 0 && *nat && (*nat)->backend == LAB_BACKEND_NONE)
        return campaign_fail(-EINVAL, err, "'%s': %s cannot stand behind an '@'; it is no NAT", out->name, name);
    out->n++;
    return 0;
}

int campaign_side_read(const char *text, const char *dir, struct campaign_profiles *profiles, struct campaign_side *out,
                       char err[CAMPAIGN_ERROR_LEN])
{
    *out = (struct campaign_side){.n = 0};
    if ((size_t)snprintf(out->name, sizeof(out->name), "%s", text) >= sizeof(out->name))
        return campaign_fail(-EINVAL, err, "'%.40s...' is longer than %d characters", text, CAMPAIGN_SIDE_LEN);
    for (const char *at = out->name;; at++) {
        size_t len = strcspn(at, "@");
        if (out->n == BASE_ARRAY_LEN(out->nats))
            return campaign_fail(-EINVAL, err, "'%s' has more than %d NATs", out->name, LAB_CHAIN_MAX);
        int res = add_nat(at, len, dir, profiles, out, err);
        if (res < 0)
            return res;
        at += len;
        if (!*at)
            break;
    }
    if (out->n == 1 && !out->nats[0])
        return campaign_fail(-EINVAL, err, "the name of a NAT is missing");
    return check_chain(out, err);
}

size_t campaign_sides_shared(const struct campaign_side *a, const struct campaign_side *b)
{
    size_t n = 0;
    while (n + 1 < a->n && n + 1 < b->n && strcmp(a->nats[a->n - 1 - n]->name, b->nats[b->n - 1 - n]->name) == 0)
        n++;
    return n;
}

bool campaign_sides_ipv6(const struct campaign_side *a, const struct campaign_side *b)
{
    const struct campaign_side *const sides[] = {a, b};
    for (size_t s = 0; s < BASE_ARRAY_LEN(sides); s++)
        for (size_t i = 0; i < sides[s]->n; i++)
            if (sides[s]->nats[i] && sides[s]->nats[i]->ipv6)
                return true;
    return false;
}

int campaign_sides_check(const struct campaign_side *a, const struct campaign_side *b, char err[CAMPAIGN_ERROR_LEN])
{
    const struct campaign_side *const sides[] = {a, b};
    if (!campaign_sides_ipv6(a, b))
        return 0;
    for (size_t s = 0; s < BASE_ARRAY_LEN(sides); s++)
        if (sides[s]->n > 1 || sides[s]->nats[0]->backend == LAB_BACKEND_EMULATED ||
            sides[s]->nats[0]->backend == LAB_BACKEND_PROGRAM)
            return campaign_fail(
                -EINVAL, err,
                "%s / %s: one is for IPv6, and %s for IPv4 only; beside it can stand netfilter routers "
                "and hosts without one",
                a->name, b->name, sides[s]->name);
    return 0;
}

int campaign_sides_check_both(const struct campaign_side *a, const struct campaign_side *b,
                              char err[CAMPAIGN_ERROR_LEN])
{
    const struct campaign_side *const sides[] = {a, b};
    for (size_t s = 0; s < BASE_ARRAY_LEN(sides); s++) {
        const struct lab_profile *nat = sides[s]->nats[0];
        bool fits = sides[s]->n == 1 && !nat->ipv6 && nat->mapping != LAB_MAP_NONE &&
                    (nat->backend == LAB_BACKEND_NETFILTER || nat->backend == LAB_BACKEND_NONE);
        if (!fits)
            return campaign_fail(
                -EINVAL, err,
                "%s / %s: with family = both each side is a netfilter NAT for IPv4, or none, and %s is "
                "neither",
                a->name, b->name, sides[s]->name);
    }
    return 0;
}
