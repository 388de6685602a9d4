/*
 * The keys of a profile, a table: a key names the backends that have it, a value (where values are words) the backends
 * that can do it; so a new backend is a bit in each row. Pure.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lab/profile_internal.h"

#define ON_NONE      (1u << LAB_BACKEND_NONE)
#define ON_NETFILTER (1u << LAB_BACKEND_NETFILTER)
#define ON_EMULATED  (1u << LAB_BACKEND_EMULATED)
#define ON_PROGRAM   (1u << LAB_BACKEND_PROGRAM)
#define ON_NAT       (ON_NETFILTER | ON_EMULATED)
/* What a program NAT is found to do can be said, and is then checked; it cannot be set. */
#define ON_SAID (ON_NAT | ON_PROGRAM)
#define ON_ALL  (ON_NONE | ON_SAID)

#define BLOCKS_MOST 16u /* of one subscriber; as the emulator has them */

/* Longer than any timer of RFC 4787 and 5382; netfilter's largest is five days. */
#define TIMEOUT_MAX_S (30u * 86400u)

#define SESSIONS_MOST 10000000u

struct word {
    const char *text;
    int value;
    unsigned backends;
};

struct key;
typedef int parse_fn(struct profile_reading *r, const struct key *key, const char *value);

struct key {
    const char *name;
    unsigned backends;
    parse_fn *parse;          /* NULL: free text, or a key of no backend */
    size_t offset;            /* into struct lab_profile, of the first value */
    const struct word *words; /* for parse_word, ended by text NULL */
    unsigned least, most;     /* for parse_seconds: how many values; for parse_number: their bounds */
    size_t word_offset;       /* for parse_number with words: where the word goes */
};

static const struct word backend_words[] = {{"none", LAB_BACKEND_NONE, ON_ALL},
                                            {"netfilter", LAB_BACKEND_NETFILTER, ON_ALL},
                                            {"emulated", LAB_BACKEND_EMULATED, ON_ALL},
                                            {"program", LAB_BACKEND_PROGRAM, ON_ALL},
                                            {NULL, 0, 0}};
static const struct word mapping_words[] = {{"endpoint-independent", LAB_MAP_EI, ON_SAID},
                                            {"address-dependent", LAB_MAP_AD, ON_EMULATED | ON_PROGRAM},
                                            {"address-and-port-dependent", LAB_MAP_APD, ON_SAID},
                                            {"connection-dependent", LAB_MAP_CONNECTION, ON_EMULATED | ON_PROGRAM},
                                            {"none", LAB_MAP_NONE, ON_NETFILTER},
                                            {NULL, 0, 0}};
static const struct word filtering_words[] = {{"endpoint-independent", LAB_FILTER_EI, ON_EMULATED | ON_PROGRAM},
                                              {"address-dependent", LAB_FILTER_AD, ON_EMULATED | ON_PROGRAM},
                                              {"address-and-port-dependent", LAB_FILTER_APD, ON_SAID},
                                              {"last-destination-only", LAB_FILTER_LAST, ON_EMULATED | ON_PROGRAM},
                                              {NULL, 0, 0}};
static const struct word ports_words[] = {{"preserve", LAB_PORTS_PRESERVE, ON_SAID},
                                          {"random", LAB_PORTS_RANDOM, ON_SAID},
                                          {"sequential", LAB_PORTS_SEQUENTIAL, ON_EMULATED | ON_PROGRAM},
                                          {"parity", LAB_PORTS_PARITY, ON_EMULATED | ON_PROGRAM},
                                          {"block", LAB_PORTS_BLOCK, ON_EMULATED | ON_PROGRAM},
                                          {"band", LAB_PORTS_BAND, ON_EMULATED | ON_PROGRAM},
                                          {NULL, 0, 0}};
static const struct word family_words[] = {{"ipv4", false, ON_NETFILTER}, {"ipv6", true, ON_NETFILTER}, {NULL, 0, 0}};
static const struct word program_words[] = {
    {"slirp4netns", LAB_PROGRAM_SLIRP4NETNS, ON_PROGRAM}, {"pasta", LAB_PROGRAM_PASTA, ON_PROGRAM}, {NULL, 0, 0}};
static const struct word unsolicited_words[] = {{"drop", LAB_UNSOLICITED_DROP, ON_SAID},
                                                {"rst", LAB_UNSOLICITED_RST, ON_SAID},
                                                {"icmp", LAB_UNSOLICITED_ICMP, ON_EMULATED | ON_PROGRAM},
                                                {"hold", LAB_UNSOLICITED_HOLD, ON_EMULATED | ON_PROGRAM},
                                                {NULL, 0, 0}};
static const struct word window_words[] = {{"strict", LAB_WINDOW_STRICT, ON_SAID},
                                           {"liberal", LAB_WINDOW_LIBERAL, ON_SAID},
                                           {"none", LAB_WINDOW_NONE, ON_EMULATED | ON_PROGRAM},
                                           {NULL, 0, 0}};
static const struct word hairpin_words[] = {{"off", LAB_HAIRPIN_OFF, ON_EMULATED | ON_PROGRAM},
                                            {"internal-source", LAB_HAIRPIN_INTERNAL, ON_EMULATED | ON_PROGRAM},
                                            {"external-source", LAB_HAIRPIN_EXTERNAL, ON_EMULATED | ON_PROGRAM},
                                            {NULL, 0, 0}};
static const struct word refresh_words[] = {{"outbound", LAB_REFRESH_OUTBOUND, ON_EMULATED | ON_PROGRAM},
                                            {"both", LAB_REFRESH_BOTH, ON_EMULATED | ON_PROGRAM},
                                            {NULL, 0, 0}};
static const struct word rst_words[] = {{"closes", LAB_RST_CLOSES, ON_EMULATED | ON_PROGRAM},
                                        {"closes-if-in-window", LAB_RST_IN_WINDOW, ON_EMULATED | ON_PROGRAM},
                                        {"ignored", LAB_RST_IGNORED, ON_EMULATED | ON_PROGRAM},
                                        {NULL, 0, 0}};
/* The word after a number. */
static const struct word pooling_words[] = {{"paired", LAB_POOL_PAIRED, ON_EMULATED | ON_PROGRAM},
                                            {"arbitrary", LAB_POOL_ARBITRARY, ON_EMULATED | ON_PROGRAM},
                                            {NULL, 0, 0}};
static const struct word at_cap_words[] = {{"drop", LAB_AT_CAP_DROP, ON_EMULATED | ON_PROGRAM},
                                           {"evict", LAB_AT_CAP_EVICT, ON_EMULATED | ON_PROGRAM},
                                           {NULL, 0, 0}};

static parse_fn parse_text, parse_word, parse_said, parse_family, parse_range, parse_seconds, parse_number, parse_step,
    parse_cross, parse_switch, parse_blacklist, parse_under;

#define FIELD(f) offsetof(struct lab_profile, f)

static const struct key keys[] = {
    {.name = "backend", .backends = ON_ALL, .parse = parse_word, .offset = FIELD(backend), .words = backend_words},
    {.name = "source", .backends = ON_ALL, .parse = parse_text},
    {.name = "mapping", .backends = ON_SAID, .parse = parse_word, .offset = FIELD(mapping), .words = mapping_words},
    {.name = "filtering",
     .backends = ON_SAID,
     .parse = parse_word,
     .offset = FIELD(filtering),
     .words = filtering_words},
    {.name = "ports", .backends = ON_SAID, .parse = parse_word, .offset = FIELD(ports), .words = ports_words},
    {.name = "port-range", .backends = ON_NAT, .parse = parse_range, .offset = FIELD(port_lo)},
    {.name = "udp-timeout",
     .backends = ON_NAT,
     .parse = parse_seconds,
     .offset = FIELD(udp_new_s),
     .least = 1,
     .most = 2},
    {.name = "tcp-timeout",
     .backends = ON_NAT,
     .parse = parse_seconds,
     .offset = FIELD(tcp_syn_sent_s),
     .least = 2,
     .most = 3},
    {.name = "unsolicited-syn",
     .backends = ON_SAID,
     .parse = parse_word,
     .offset = FIELD(unsolicited),
     .words = unsolicited_words},
    {.name = "tcp-window-check",
     .backends = ON_SAID,
     .parse = parse_word,
     .offset = FIELD(window),
     .words = window_words},
    {.name = "program", .backends = ON_PROGRAM, .parse = parse_word, .offset = FIELD(program), .words = program_words},
    {.name = "tcp-mapping", .backends = ON_PROGRAM, .parse = parse_said, .words = mapping_words},
    {.name = "tcp-filtering", .backends = ON_PROGRAM, .parse = parse_said, .words = filtering_words},
    {.name = "tcp-ports", .backends = ON_PROGRAM, .parse = parse_said, .words = ports_words},
    {.name = "tcp-hairpin", .backends = ON_PROGRAM, .parse = parse_said, .words = hairpin_words},
    {.name = "family", .backends = ON_NETFILTER, .parse = parse_family, .words = family_words},
    {.name = "step", .backends = ON_EMULATED, .parse = parse_step},
    {.name = "block-size",
     .backends = ON_EMULATED,
     .parse = parse_number,
     .offset = FIELD(block_size),
     .least = 2,
     .most = 65535},
    {.name = "blocks",
     .backends = ON_EMULATED,
     .parse = parse_number,
     .offset = FIELD(blocks),
     .least = 1,
     .most = BLOCKS_MOST},
    {.name = "cross-traffic", .backends = ON_EMULATED, .parse = parse_cross},
    {.name = "pool",
     .backends = ON_EMULATED,
     .parse = parse_number,
     .offset = FIELD(pool),
     .words = pooling_words,
     .word_offset = FIELD(pooling),
     .least = 1,
     .most = 16},
    {.name = "hairpin",
     .backends = ON_EMULATED | ON_PROGRAM,
     .parse = parse_word,
     .offset = FIELD(hairpin),
     .words = hairpin_words},
    {.name = "refresh", .backends = ON_EMULATED, .parse = parse_word, .offset = FIELD(refresh), .words = refresh_words},
    {.name = "rst",
     .backends = ON_EMULATED | ON_PROGRAM,
     .parse = parse_word,
     .offset = FIELD(rst),
     .words = rst_words},
    {.name = "table-size",
     .backends = ON_EMULATED,
     .parse = parse_number,
     .offset = FIELD(table_size),
     .words = at_cap_words,
     .word_offset = FIELD(table_at_cap),
     .least = 1,
     .most = SESSIONS_MOST},
    {.name = "host-limit",
     .backends = ON_EMULATED,
     .parse = parse_number,
     .offset = FIELD(host_limit),
     .words = at_cap_words,
     .word_offset = FIELD(host_at_cap),
     .least = 1,
     .most = SESSIONS_MOST},
    {.name = "new-per-second",
     .backends = ON_EMULATED,
     .parse = parse_number,
     .offset = FIELD(new_per_s),
     .least = 1,
     .most = SESSIONS_MOST},
    {.name = "blacklist-after", .backends = ON_EMULATED, .parse = parse_blacklist},
    {.name = "rewrite-payload", .backends = ON_EMULATED, .parse = parse_switch, .offset = FIELD(rewrite_payload)},
    {.name = "restart-after",
     .backends = ON_EMULATED,
     .parse = parse_number,
     .offset = FIELD(restart_after_s),
     .least = 1,
     .most = TIMEOUT_MAX_S},
    {.name = "under", .backends = ON_EMULATED, .parse = parse_under},
};

#define N_KEYS BASE_ARRAY_LEN(keys)
_Static_assert(N_KEYS <= PROFILE_KEYS_MOST, "a line for each key");

const char *profile_backend_name(enum lab_backend backend)
{
    for (const struct word *w = backend_words; w->text; w++)
        if (w->value == (int)backend)
            return w->text;
    return "?";
}

static bool has(unsigned backends, enum lab_backend backend)
{
    return backends & 1u << backend;
}

/* ---- values ---------------------------------------------------------------------------------- */

static int *field_int(struct profile_reading *r, size_t offset)
{
    return (int *)(void *)((char *)r->profile + offset);
}

static int parse_text(struct profile_reading *r, const struct key *key, const char *value)
{
    return *value ? 0 : profile_refuse(r, r->line, "'%s' is empty", key->name);
}

/* The words that the backend can do, as "a, b". */
static const char *choices(const struct key *key, enum lab_backend backend, char buf[128])
{
    size_t len = 0;
    buf[0] = '\0';
    for (const struct word *w = key->words; w->text; w++)
        if (has(w->backends, backend) && len < 128)
            len += (size_t)snprintf(buf + len, 128 - len, "%s%s", len ? ", " : "", w->text);
    return buf;
}

static int parse_word(struct profile_reading *r, const struct key *key, const char *value)
{
    enum lab_backend backend = r->profile->backend;
    char list[128];
    for (const struct word *w = key->words; w->text; w++) {
        if (strcmp(w->text, value) != 0)
            continue;
        if (!has(w->backends, backend))
            return profile_refuse(r, r->line, "'%s = %s' is not something backend = %s does; use one of: %s", key->name,
                                  value, profile_backend_name(backend), choices(key, backend, list));
        *field_int(r, key->offset) = w->value;
        return 0;
    }
    return profile_refuse(r, r->line, "'%s' is no value of %s; use one of: %s", value, key->name,
                          choices(key, backend, list));
}

/* It tells the reader, and the test that holds discovery against it; nothing is built from it. */
static int parse_said(struct profile_reading *r, const struct key *key, const char *value)
{
    char list[128];
    for (const struct word *w = key->words; w->text; w++)
        if (strcmp(w->text, value) == 0 && has(w->backends, r->profile->backend))
            return 0;
    return profile_refuse(r, r->line, "'%s' is no value of %s; use one of: %s", value, key->name,
                          choices(key, r->profile->backend, list));
}

static int parse_family(struct profile_reading *r, const struct key *key, const char *value)
{
    r->profile->ipv6 = strcmp(value, "ipv6") == 0;
    return parse_said(r, key, value);
}

static int parse_range(struct profile_reading *r, const struct key *key, const char *value)
{
    const char *dash = strchr(value, '-');
    char low[8] = "";
    uint64_t lo, hi;
    if (dash && (size_t)(dash - value) < sizeof(low))
        memcpy(low, value, (size_t)(dash - value));
    if (!dash || base_parse_u64(low, 1, 65535, &lo) < 0 || base_parse_u64(dash + 1, 1, 65535, &hi) < 0 || lo > hi)
        return profile_refuse(r, r->line, "'%s = %s' is no range of ports; write LOW-HIGH, each 1 to 65535", key->name,
                              value);
    r->profile->port_lo = (uint16_t)lo;
    r->profile->port_hi = (uint16_t)hi;
    return 0;
}

static int parse_seconds(struct profile_reading *r, const struct key *key, const char *value)
{
    unsigned *out = (unsigned *)(void *)field_int(r, key->offset);
    unsigned n = 0;
    for (const char *p = value; p; n++) {
        char part[16] = "";
        size_t len = strcspn(p, "/");
        uint64_t seconds;
        if (len < sizeof(part))
            memcpy(part, p, len);
        if (n == key->most || base_parse_u64(part, 1, TIMEOUT_MAX_S, &seconds) < 0) {
            n = 0;
            break;
        }
        out[n] = (unsigned)seconds;
        p = p[len] ? p + len + 1 : NULL;
    }
    if (n < key->least)
        return profile_refuse(r, r->line, "'%s = %s': write %s seconds, each 1 to %u", key->name, value,
                              key->most == 2 ? "NEW/STREAM" : "SYN-SENT/ESTABLISHED[/CLOSING]", TIMEOUT_MAX_S);
    if (key->least == 1 && n == 1)
        out[1] = out[0];
    return 0;
}

/* Cuts value into its words, at blanks. How many there are; more than `most` are not looked at. */
static unsigned split(const char *value, char words[][24], unsigned most)
{
    unsigned n = 0;
    for (const char *p = value + strspn(value, " \t"); *p; p += strspn(p, " \t"), n++) {
        size_t len = strcspn(p, " \t");
        if (n < most)
            snprintf(words[n], 24, "%.*s", (int)(len < 24 ? len : 23), p);
        p += len;
    }
    return n;
}

static const struct word *find_word(const struct word *words, const char *text)
{
    for (const struct word *w = words; w->text; w++)
        if (strcmp(w->text, text) == 0)
            return w;
    return NULL;
}

/* N, or N WORD where the key has words (the first one is meant without). */
static int parse_number(struct profile_reading *r, const struct key *key, const char *value)
{
    char parts[2][24] = {"", ""}, list[128];
    uint64_t number;
    unsigned n = split(value, parts, 2);
    const struct word *word = key->words;
    if (word && n == 2)
        word = find_word(word, parts[1]);
    if (n > (key->words ? 2u : 1u) || base_parse_u64(parts[0], key->least, key->most, &number) < 0 ||
        (key->words && !word))
        return profile_refuse(r, r->line, "'%s = %s': write a number, %u to %u%s%s", key->name, value, key->least,
                              key->most, key->words ? ", and then one of: " : "",
                              key->words ? choices(key, r->profile->backend, list) : "");
    *(unsigned *)(void *)field_int(r, key->offset) = (unsigned)number;
    if (word)
        *field_int(r, key->word_offset) = word->value;
    return 0;
}

static int parse_step(struct profile_reading *r, const struct key *key, const char *value)
{
    bool minus = *value == '-';
    uint64_t step;
    if (base_parse_u64(value + (minus || *value == '+'), 1, 1000, &step) < 0)
        return profile_refuse(r, r->line, "'%s = %s': write a number of ports, 1 to 1000 or -1 to -1000", key->name,
                              value);
    r->profile->step = minus ? -(int)step : (int)step;
    return 0;
}

/* A decimal number over `more_than`, up to a million. */
static bool parse_real(const char *text, double more_than, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return *text >= '0' && *text <= '9' && *end == '\0' && *out > more_than && *out <= 1e6;
}

static int parse_cross(struct profile_reading *r, const struct key *key, const char *value)
{
    struct lab_profile *p = r->profile;
    char parts[3][24] = {"", "", ""};
    unsigned n = split(value, parts, 3);
    bool poisson = n == 2 && strcmp(parts[0], "poisson") == 0;
    bool negative = n == 3 && strcmp(parts[0], "negative-binomial") == 0;
    if (n == 1 && strcmp(parts[0], "none") == 0)
        return 0;
    if (!(poisson || negative) || !parse_real(parts[1], 0, &p->cross_rate) ||
        (negative && !parse_real(parts[2], 1, &p->cross_dispersion)))
        return profile_refuse(
            r, r->line,
            "'%s = %s': write none, poisson RATE, or negative-binomial RATE DISPERSION (per second; variance "
            "over mean, above 1)",
            key->name, value);
    p->cross = poisson ? LAB_CROSS_POISSON : LAB_CROSS_NEGATIVE_BINOMIAL;
    return 0;
}

static int parse_switch(struct profile_reading *r, const struct key *key, const char *value)
{
    bool yes = strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "no") != 0)
        return profile_refuse(r, r->line, "'%s = %s': write yes or no", key->name, value);
    *(bool *)(void *)((char *)r->profile + key->offset) = yes;
    return 0;
}

static int parse_blacklist(struct profile_reading *r, const struct key *key, const char *value)
{
    char count[16] = "";
    const char *slash = strchr(value, '/');
    uint64_t packets, seconds;
    if (slash && (size_t)(slash - value) < sizeof(count))
        memcpy(count, value, (size_t)(slash - value));
    if (!slash || base_parse_u64(count, 1, 1000000, &packets) < 0 ||
        base_parse_u64(slash + 1, 1, TIMEOUT_MAX_S, &seconds) < 0)
        return profile_refuse(r, r->line, "'%s = %s': write PACKETS/SECONDS", key->name, value);
    r->profile->blacklist_after = (unsigned)packets;
    r->profile->blacklist_s = (unsigned)seconds;
    return 0;
}

static int parse_under(struct profile_reading *r, const struct key *key, const char *value)
{
    struct lab_profile *p = r->profile;
    if (!*value || *value == '.' || strchr(value, '/') || strlen(value) >= sizeof(p->under))
        return profile_refuse(r, r->line, "'%s = %s': write the name of another profile, without .ini", key->name,
                              value);
    if (strcmp(value, p->name) == 0)
        return profile_refuse(r, r->line, "'%s = %s': a NAT cannot sit behind itself", key->name, value);
    snprintf(p->under, sizeof(p->under), "%s", value);
    return 0;
}

/* ---- the table in use ------------------------------------------------------------------------ */

static const struct key *find_key(const char *name)
{
    for (size_t i = 0; i < N_KEYS; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

int profile_line_of(const struct profile_reading *r, const char *name)
{
    int line = r->key_lines[find_key(name) - keys];
    return line ? line : r->key_lines[0];
}

bool profile_seen(const struct profile_reading *r, const char *name)
{
    return r->key_lines[find_key(name) - keys] != 0;
}

int profile_key_read(struct profile_reading *r, const char *name, const char *value)
{
    const struct key *key = find_key(name);
    if (!key)
        return profile_refuse(r, r->line, "there is no key '%s'", name);
    int *seen = &r->key_lines[key - keys];
    if (*seen)
        return profile_refuse(r, r->line, "'%s' was already given in line %d", name, *seen);
    *seen = r->line;
    if (key != keys && !r->key_lines[0])
        return profile_refuse(r, r->line, "'backend' must come first");
    if (!has(key->backends, r->profile->backend))
        return profile_refuse(r, r->line, "'%s' is not something backend = %s has", name,
                              profile_backend_name(r->profile->backend));
    return key->parse(r, key, value);
}
