/* Options that several subcommands have, and how they are read. */
#include <argp.h>

#include "bench/campaign/commands.h"
#include "bench/campaign/config.h"
#include "bench/campaign/places.h"

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

void campaign_parse_number(struct argp_state *state, const char *name, const char *arg, uint64_t lo, uint64_t hi,
                           uint64_t *out)
{
    if (base_parse_u64(arg, lo, hi, out) < 0)
        argp_error(state, "--%s %s: write a number from %llu to %llu", name, arg, (unsigned long long)lo,
                   (unsigned long long)hi);
}

void campaign_profile_dir(const struct campaign_common *common, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s%s", common->profiles ? common->profiles : campaign_data_dir(),
             common->profiles ? "" : "/profiles");
}
