/*
 * A campaign's links: from the keys of a [link] section to the access link of each host. Pure.
 *
 * A bare key says what holds between any two hosts, and every access link has its share of that. With -up or -down
 * behind it, or with a host before it, a key is about the access links themselves; the one that names more rules:
 * a-loss-up before a-loss before loss-up before loss.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bench/campaign/config.h"

/* How far a campaign's link may reach. */
#define TIME_MAX_NS (10 * BASE_NS_PER_S)
/* One full packet in 1.5 s; and more than the lab carries. */
#define RATE_MIN 8000.0
#define RATE_MAX 10e9
/* Longer than the gaps of a spray or a heartbeat burst, shorter than a retransmission timeout. */
#define REORDERING_DELAY_NS (5 * BASE_NS_PER_MS)
/* A home router's buffer, neither bloated nor starved. */
#define QUEUE_NS (100 * BASE_NS_PER_MS)

enum kind { TIME, PERCENT, RATE };
enum { RTT, JITTER, LOSS, DUPLICATION, REORDERING, REORDERING_DELAY, RATE_KEY, QUEUE, RESTART, READDRESS };

static const struct {
    const char *name;
    enum kind kind;
} keys[CAMPAIGN_LINK_KEYS] = {
    [RTT] = {"rtt", TIME},
    [JITTER] = {"jitter", TIME},
    [LOSS] = {"loss", PERCENT},
    [DUPLICATION] = {"duplication", PERCENT},
    [REORDERING] = {"reordering", PERCENT},
    [REORDERING_DELAY] = {"reordering-delay", TIME},
    [RATE_KEY] = {"rate", RATE},
    [QUEUE] = {"queue", TIME},
    [RESTART] = {"restart", TIME},
    [READDRESS] = {"readdress", TIME},
};

/* ---- keys and values ------------------------------------------------------------------------- */

/* Which host and which way a key names; 0 = any. */
struct place {
    unsigned key, host, way;
};

static bool ends_with(const char *text, size_t *len, const char *end)
{
    size_t n = strlen(end);
    if (*len <= n || memcmp(text + *len - n, end, n) != 0)
        return false;
    *len -= n;
    return true;
}

static bool find_place(const char *name, struct place *out)
{
    static const char hosts[] = "abs";
    const char *host = name[0] && name[1] == '-' ? strchr(hosts, name[0]) : NULL;
    *out = (struct place){0};
    if (host) {
        out->host = 1 + (unsigned)(host - hosts);
        name += 2;
    }
    size_t len = strlen(name);
    if (ends_with(name, &len, "-up"))
        out->way = 1;
    else if (ends_with(name, &len, "-down"))
        out->way = 2;
    for (out->key = 0; out->key < CAMPAIGN_LINK_KEYS; out->key++)
        if (strlen(keys[out->key].name) == len && memcmp(keys[out->key].name, name, len) == 0)
            return true;
    return false;
}

/* "512kbit", "1.5mbit", "1gbit"; also with "/s" behind it, and with a capital. */
static int parse_rate(const char *text, double *out)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}};
    size_t digits = strspn(text, "0123456789.");
    const char *unit = text + digits;
    char *end;
    size_t len = strlen(unit);
    *out = strtod(text, &end);
    if (digits == 0 || end != unit)
        return -EINVAL;
    (void)ends_with(unit, &len, "/s");
    for (size_t i = 0; i < BASE_ARRAY_LEN(units); i++)
        if (strlen(units[i].name) == len && strncasecmp(unit, units[i].name, len) == 0) {
            *out *= units[i].factor;
            return *out >= RATE_MIN && *out <= RATE_MAX ? 0 : -EINVAL;
        }
    return -EINVAL;
}

static int parse_value(enum kind kind, const char *key, const char *text, double *out, char err[CAMPAIGN_ERROR_LEN])
{
    uint64_t ns;
    switch (kind) {
    case TIME:
        if (base_parse_duration(text, &ns) < 0 || ns > TIME_MAX_NS)
            return campaign_fail(-EINVAL, err, "'%s = %.40s': write a time like 40ms or 1.5s, from 0 to 10 s", key,
                                 text);
        *out = (double)ns;
        return 0;
    case PERCENT:
        if (campaign_parse_percent(text, out) < 0)
            return campaign_fail(-EINVAL, err, "'%s = %.40s': write a percentage like 1%% or 0.5%%, up to 100%%", key,
                                 text);
        return 0;
    default:
        if (parse_rate(text, out) < 0)
            return campaign_fail(-EINVAL, err, "'%s = %.40s': write a rate like 512kbit or 1.5mbit, 8kbit to 10gbit",
                                 key, text);
        return 0;
    }
}

/* What the peers have, and no number. */
static int set_family(struct campaign_link *link, const char *value, int line, char err[CAMPAIGN_ERROR_LEN])
{
    if (link->both_line)
        return campaign_fail(-EINVAL, err, "'family' was already given in line %d", link->both_line);
    if (strcmp(value, "both") != 0 && strcmp(value, "one") != 0)
        return campaign_fail(-EINVAL, err, "'family = %.40s': write one (what the NATs are for), or both", value);
    link->both = strcmp(value, "both") == 0;
    link->both_line = line;
    return 0;
}

int campaign_link_set(struct campaign_link *link, const char *name, const char *value, int line,
                      char err[CAMPAIGN_ERROR_LEN])
{
    struct place at;
    char names[192] = "";
    if (strcmp(name, "family") == 0)
        return set_family(link, value, line, err);
    if (!find_place(name, &at)) {
        for (unsigned i = 0; i < CAMPAIGN_LINK_KEYS; i++)
            snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i ? ", " : "", keys[i].name);
        return campaign_fail(
            -EINVAL, err,
            "[link] has no key '%.40s'; use one of: %s, family; all but the last also with a-, b- or s- before them, "
            "and with -up or -down behind them",
            name, names);
    }
    if ((at.key == RESTART || at.key == READDRESS) && (at.way || at.host < 1 || at.host > 2))
        return campaign_fail(-EINVAL, err, "'%s' is about the NAT of one peer: write a-%s or b-%s", name,
                             keys[at.key].name, keys[at.key].name);
    struct campaign_link_value *v = &link->given[at.key][at.host][at.way];
    if (v->set && v->line)
        return campaign_fail(-EINVAL, err, "'%s' was already given in line %d", name, v->line);
    int res = parse_value(keys[at.key].kind, name, value, &v->value, err);
    if (res < 0)
        return res;
    v->set = true;
    v->line = line;
    return 0;
}

/* ---- access links ---------------------------------------------------------------------------- */

/* What two access links in a row do with this probability each does it with that altogether. */
static double half_of_way(double probability)
{
    return 1 - sqrt(1 - probability);
}

/* An access link's share of what holds between two hosts: a round trip crosses four of them, one way crosses two. */
static double share(unsigned key, double value)
{
    switch (key) {
    case RTT:
        return value / 4;
    case JITTER:
        return value / 2;
    case LOSS:
    case DUPLICATION:
    case REORDERING:
        return half_of_way(value);
    default:
        return value;
    }
}

/* Of one way of one host's access link; both from 1. */
static double value_of(const struct campaign_link *link, unsigned key, unsigned host, unsigned way, double otherwise)
{
    const struct campaign_link_value(*given)[3] = link->given[key];
    if (given[host][way].set)
        return given[host][way].value;
    /* There and back over one access link. */
    if (given[host][0].set)
        return key == RTT ? given[host][0].value / 2 : given[host][0].value;
    if (given[0][way].set)
        return given[0][way].value;
    return given[0][0].set ? share(key, given[0][0].value) : otherwise;
}

static struct lab_way way_of(const struct campaign_link *link, unsigned host, unsigned way)
{
    return (struct lab_way){
        .delay_ns = (uint64_t)value_of(link, RTT, host, way, 0),
        .jitter_ns = (uint64_t)value_of(link, JITTER, host, way, 0),
        .loss = value_of(link, LOSS, host, way, 0),
        .duplication = value_of(link, DUPLICATION, host, way, 0),
        .reordering = value_of(link, REORDERING, host, way, 0),
        .reorder_ns = (uint64_t)value_of(link, REORDERING_DELAY, host, way, REORDERING_DELAY_NS),
        .rate = (uint64_t)value_of(link, RATE_KEY, host, way, 0),
        .queue_ns = (uint64_t)value_of(link, QUEUE, host, way, QUEUE_NS),
    };
}

uint64_t campaign_link_rtt(const struct campaign_link *link, enum campaign_end one, enum campaign_end other)
{
    const struct lab_link *x = &link->access[one], *y = &link->access[other];
    return x->up.delay_ns + y->down.delay_ns + y->up.delay_ns + x->down.delay_ns;
}

uint64_t campaign_link_longest(const struct campaign_link *link)
{
    uint64_t ab = campaign_link_rtt(link, CAMPAIGN_A, CAMPAIGN_B), as = campaign_link_rtt(link, CAMPAIGN_A, CAMPAIGN_S);
    uint64_t bs = campaign_link_rtt(link, CAMPAIGN_B, CAMPAIGN_S), longest = ab > as ? ab : as;
    return longest > bs ? longest : bs;
}

void campaign_link_finish(struct campaign_link *link)
{
    for (unsigned i = 0; i < CAMPAIGN_ENDS; i++)
        link->access[i] = (struct lab_link){.up = way_of(link, 1 + i, 1), .down = way_of(link, 1 + i, 2)};
    for (unsigned i = 0; i < 2; i++) {
        const struct campaign_link_value *restart = &link->given[RESTART][1 + i][0];
        const struct campaign_link_value *readdress = &link->given[READDRESS][1 + i][0];
        link->restarts[i] = (struct campaign_restart){
            .on = restart->set || readdress->set,
            .readdress = readdress->set,
            .at_ns = (uint64_t)(readdress->set ? readdress->value : restart->value),
        };
    }
    if (*link->name)
        memcpy(link->label, link->name, sizeof(link->label));
    else /* milliseconds, as few digits as will do */
        snprintf(link->label, sizeof(link->label), "rtt%.10g", link->given[RTT][0][0].value / (double)BASE_NS_PER_MS);
}

bool campaign_link_complete(const struct campaign_link *link)
{
    return link->given[RTT][0][0].set;
}

/* ---- run.json -------------------------------------------------------------------------------- */

static json_t *way_json(const struct lab_way *w)
{
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:I, s:I, s:I}", "delay_ns", (json_int_t)w->delay_ns, "jitter_ns",
                     (json_int_t)w->jitter_ns, "loss", w->loss, "duplication", w->duplication, "reordering",
                     w->reordering, "reordering_delay_ns", (json_int_t)w->reorder_ns, "rate_bps", (json_int_t)w->rate,
                     "queue_ns", (json_int_t)w->queue_ns);
}

json_t *campaign_link_json(const struct campaign_link *link)
{
    static const char *const names[CAMPAIGN_ENDS] = {"a", "b", "s"};
    json_t *access = json_object();
    for (unsigned i = 0; i < CAMPAIGN_ENDS; i++)
        json_object_set_new(
            access, names[i],
            json_pack("{s:o, s:o}", "up", way_json(&link->access[i].up), "down", way_json(&link->access[i].down)));
    json_t *out = json_pack("{s:s, s:I, s:o}", "name", link->label, "rtt_ns",
                            (json_int_t)campaign_link_rtt(link, CAMPAIGN_A, CAMPAIGN_B), "access", access);
    if (link->both)
        json_object_set_new(out, "family", json_string("both"));
    for (unsigned i = 0; i < 2; i++)
        if (link->restarts[i].on)
            json_object_set_new(out, i ? "b_restart" : "a_restart",
                                json_pack("{s:I, s:b}", "at_ns", (json_int_t)link->restarts[i].at_ns, "readdress",
                                          link->restarts[i].readdress));
    return out;
}
