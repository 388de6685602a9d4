/* Options that several subcommands have, and what all of them do with files. */
#include <argp.h>
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/campaign/campaign.h"

/* ---- options --------------------------------------------------------------------------------- */

enum { KEY_PROFILES = 512, KEY_PCAP, KEY_PCAP_LIMIT };

static const struct argp_option option_table[] = {
    {"pcap", KEY_PCAP, "DIR", 0, "write what passes each host's interfaces into DIR; bench run: a folder a cell", 10},
    {"pcap-limit", KEY_PCAP_LIMIT, "SIZE", 0, "how long one of these files may grow (64M)", 10},
    {"profiles", KEY_PROFILES, "DIR", 0, "where the NAT profiles are", 11},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct campaign_common *c = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        *c = (struct campaign_common){.pcap.limit = CAMPAIGN_PCAP_LIMIT};
        return 0;
    case KEY_PROFILES:
        c->profiles = arg;
        return 0;
    case KEY_PCAP:
        if (!*arg)
            argp_error(state, "--pcap needs the name of a folder");
        c->pcap.dir = arg;
        return 0;
    case KEY_PCAP_LIMIT:
        if (campaign_parse_size(arg, &c->pcap.limit) < 0)
            argp_error(state, "--pcap-limit %s: write a size like 500k, 64M or 1G", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp campaign_common_argp = {option_table, parse_option, NULL, NULL, NULL, NULL, NULL};

void campaign_profile_dir(const struct campaign_common *common, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s%s", common->profiles ? common->profiles : campaign_data_dir(),
             common->profiles ? "" : "/profiles");
}

/* ---- files that root makes for somebody else ------------------------------------------------- */

static uint64_t owner, group;

static int give_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    /* Who cannot have it, has none: the results are there all the same. */
    return lchown(path, (uid_t)owner, (gid_t)group) < 0 ? -1 : 0;
}

void campaign_give_back(const char *path)
{
    const char *uid = getenv("SUDO_UID"), *gid = getenv("SUDO_GID");
    if (geteuid() != 0 || !uid || !gid || base_parse_u64(uid, 0, UINT32_MAX - 1, &owner) < 0 ||
        base_parse_u64(gid, 0, UINT32_MAX - 1, &group) < 0)
        return;
    if (nftw(path, give_one, 8, FTW_PHYS) < 0)
        base_warn("%s could not be given to user %s: %s", path, uid, strerror(errno));
}
