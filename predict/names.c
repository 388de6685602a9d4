/* Names of the properties' values, and of what older terms call a NAT. */
#include <string.h>

#include "predict/internal.h"

#define MOST_VALUES 8

static const struct {
    const char *name;
    size_t offset;
    const char *values[MOST_VALUES];
} properties[PREDICT_N_PROPERTIES] = {
    [PREDICT_MAPPING] = {"mapping",
                         offsetof(struct predict_behaviour, mapping),
                         {"unknown", "none", "endpoint-independent", "address-dependent", "address-and-port-dependent",
                          "connection-dependent"}},
    [PREDICT_FILTERING] = {"filtering",
                           offsetof(struct predict_behaviour, filtering),
                           {"unknown", "none", "endpoint-independent", "address-dependent",
                            "address-and-port-dependent", "last-destination-only"}},
    [PREDICT_PORTS] = {"ports",
                       offsetof(struct predict_behaviour, ports),
                       {"unknown", "preserve", "sequential", "block", "band", "random"}},
    [PREDICT_POOLING] = {"pooling",
                         offsetof(struct predict_behaviour, pooling),
                         {"unknown", "single", "paired", "arbitrary"}},
    [PREDICT_HAIRPIN] = {"hairpin",
                         offsetof(struct predict_behaviour, hairpin),
                         {"unknown", "off", "internal-source", "external-source"}},
    [PREDICT_SYN] = {"unsolicited-syn",
                     offsetof(struct predict_behaviour, syn),
                     {"unknown", "drop", "rst", "icmp", "hold"}},
    [PREDICT_RST] = {"rst", offsetof(struct predict_behaviour, rst), {"unknown", "closes", "survives"}},
    [PREDICT_WINDOW] = {"tcp-window-check",
                        offsetof(struct predict_behaviour, window),
                        {"unknown", "strict", "unchecked"}},
};

static const char *const kinds[PREDICT_N_KINDS] = {"mixture", "preserve", "sequential", "range",  "pool",
                                                   "random",  "+50",      "+-10",       "-20+30", "scan"};

const char *predict_property_name(enum predict_property property)
{
    return properties[property].name;
}

const char *predict_value_name(enum predict_property property, int value)
{
    return value >= 0 && value < MOST_VALUES ? properties[property].values[value] : NULL;
}

int predict_value_of(enum predict_property property, const char *name)
{
    for (int i = 0; i < MOST_VALUES && properties[property].values[i]; i++)
        if (strcmp(properties[property].values[i], name) == 0)
            return i;
    return -1;
}

struct predict_belief *predict_belief(struct predict_behaviour *b, enum predict_property property)
{
    return (struct predict_belief *)(void *)((char *)b + properties[property].offset);
}

const char *predict_kind_name(enum predict_kind kind)
{
    return kinds[kind];
}

int predict_kind_of(const char *name)
{
    for (int i = 0; i < PREDICT_N_KINDS; i++)
        if (strcmp(kinds[i], name) == 0)
            return i;
    return -1;
}

/* 0 open, 1 to 4 as NAT1 to NAT4, -1 unknown. A mapping that depends on the destination is NAT4, whatever is filtered.
 */
static int number_of(const struct predict_behaviour *b)
{
    switch ((enum predict_mapping)b->mapping.value) {
    case PREDICT_MAPPING_AD:
    case PREDICT_MAPPING_APD:
    case PREDICT_MAPPING_CD:
        return 4;
    case PREDICT_MAPPING_NONE:
    case PREDICT_MAPPING_EI:
        break;
    default:
        return -1;
    }
    switch ((enum predict_filtering)b->filtering.value) {
    case PREDICT_FILTERING_NONE:
        return b->mapping.value == PREDICT_MAPPING_NONE ? 0 : 1;
    case PREDICT_FILTERING_EI:
        return 1;
    case PREDICT_FILTERING_AD:
        return 2;
    case PREDICT_FILTERING_APD:
    case PREDICT_FILTERING_LAST:
        return 3;
    default:
        return -1;
    }
}

const char *predict_nat_number(const struct predict_behaviour *b)
{
    static const char *const names[] = {"open", "NAT1", "NAT2", "NAT3", "NAT4"};
    int i = number_of(b);
    return i < 0 ? "unknown" : names[i];
}

const char *predict_rfc3489_name(const struct predict_behaviour *b)
{
    static const char *const names[] = {"Open Internet", "Full Cone", "Restricted Cone", "Port Restricted Cone",
                                        "Symmetric"};
    int i = number_of(b);
    return i < 0 ? "Unknown" : i > 0 && b->mapping.value == PREDICT_MAPPING_NONE ? "Symmetric UDP Firewall" : names[i];
}
