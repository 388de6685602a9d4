/*
 * Profiles: one INI file each, read through a table of keys. A key names the backends that have it, a value (where
 * values are words) the backends that can do it; so a new backend is a bit in each row.
 */
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lab/lab.h"

#define ON_NONE      (1u << LAB_BACKEND_NONE)
#define ON_NETFILTER (1u << LAB_BACKEND_NETFILTER)
#define ON_EMULATED  (1u << LAB_BACKEND_EMULATED)
#define ON_NAT       (ON_NETFILTER | ON_EMULATED)
#define ON_ALL       (ON_NONE | ON_NAT)

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
struct reading;
typedef int parse_fn(struct reading *r, const struct key *key, const char *value);

struct key {
    const char *name;
    unsigned backends;
    parse_fn *parse;          /* NULL: free text, or a key of no backend */
    size_t offset;            /* into struct lab_profile, of the first value */
    const struct word *words; /* for parse_word, ended by text NULL */
    unsigned least, most;     /* for parse_seconds: how many values; for parse_number: their bounds */
    size_t word_offset;       /* for parse_number with words: where the word goes */
};

struct reading {
    const char *path;
    FILE *file;
    int line;
    bool too_long;
    struct lab_profile *profile;
    char *err; /* the first error wins; it is on line err_line */
    int err_line;
    bool follow;    /* the profile that it is under is read, too */
    int *key_lines; /* by index in the table; 0 = not seen */
};

static const struct word backend_words[] = {{"none", LAB_BACKEND_NONE, ON_ALL},
                                            {"netfilter", LAB_BACKEND_NETFILTER, ON_ALL},
                                            {"emulated", LAB_BACKEND_EMULATED, ON_ALL},
                                            {NULL, 0, 0}};
static const struct word mapping_words[] = {{"endpoint-independent", LAB_MAP_EI, ON_NAT},
                                            {"address-dependent", LAB_MAP_AD, ON_EMULATED},
                                            {"address-and-port-dependent", LAB_MAP_APD, ON_NAT},
                                            {"connection-dependent", LAB_MAP_CONNECTION, ON_EMULATED},
                                            {NULL, 0, 0}};
static const struct word filtering_words[] = {{"endpoint-independent", LAB_FILTER_EI, ON_EMULATED},
                                              {"address-dependent", LAB_FILTER_AD, ON_EMULATED},
                                              {"address-and-port-dependent", LAB_FILTER_APD, ON_NAT},
                                              {"last-destination-only", LAB_FILTER_LAST, ON_EMULATED},
                                              {NULL, 0, 0}};
static const struct word ports_words[] = {{"preserve", LAB_PORTS_PRESERVE, ON_NAT},
                                          {"random", LAB_PORTS_RANDOM, ON_NAT},
                                          {"sequential", LAB_PORTS_SEQUENTIAL, ON_EMULATED},
                                          {"parity", LAB_PORTS_PARITY, ON_EMULATED},
                                          {"block", LAB_PORTS_BLOCK, ON_EMULATED},
                                          {"band", LAB_PORTS_BAND, ON_EMULATED},
                                          {NULL, 0, 0}};
static const struct word unsolicited_words[] = {{"drop", LAB_UNSOLICITED_DROP, ON_NAT},
                                                {"rst", LAB_UNSOLICITED_RST, ON_NAT},
                                                {"icmp", LAB_UNSOLICITED_ICMP, ON_EMULATED},
                                                {"hold", LAB_UNSOLICITED_HOLD, ON_EMULATED},
                                                {NULL, 0, 0}};
static const struct word window_words[] = {{"strict", LAB_WINDOW_STRICT, ON_NAT},
                                           {"liberal", LAB_WINDOW_LIBERAL, ON_NAT},
                                           {"none", LAB_WINDOW_NONE, ON_EMULATED},
                                           {NULL, 0, 0}};
static const struct word hairpin_words[] = {{"off", LAB_HAIRPIN_OFF, ON_EMULATED},
                                            {"internal-source", LAB_HAIRPIN_INTERNAL, ON_EMULATED},
                                            {"external-source", LAB_HAIRPIN_EXTERNAL, ON_EMULATED},
                                            {NULL, 0, 0}};
static const struct word refresh_words[] = {
    {"outbound", LAB_REFRESH_OUTBOUND, ON_EMULATED}, {"both", LAB_REFRESH_BOTH, ON_EMULATED}, {NULL, 0, 0}};
static const struct word rst_words[] = {{"closes", LAB_RST_CLOSES, ON_EMULATED},
                                        {"closes-if-in-window", LAB_RST_IN_WINDOW, ON_EMULATED},
                                        {"ignored", LAB_RST_IGNORED, ON_EMULATED},
                                        {NULL, 0, 0}};
/* The word after a number. */
static const struct word pooling_words[] = {
    {"paired", LAB_POOL_PAIRED, ON_EMULATED}, {"arbitrary", LAB_POOL_ARBITRARY, ON_EMULATED}, {NULL, 0, 0}};
static const struct word at_cap_words[] = {
    {"drop", LAB_AT_CAP_DROP, ON_EMULATED}, {"evict", LAB_AT_CAP_EVICT, ON_EMULATED}, {NULL, 0, 0}};

static parse_fn parse_text, parse_word, parse_range, parse_seconds, parse_number, parse_step, parse_cross, parse_switch,
    parse_blacklist, parse_under;

#define FIELD(f) offsetof(struct lab_profile, f)

static const struct key keys[] = {
    {.name = "backend", .backends = ON_ALL, .parse = parse_word, .offset = FIELD(backend), .words = backend_words},
    {.name = "source", .backends = ON_ALL, .parse = parse_text},
    {.name = "mapping", .backends = ON_NAT, .parse = parse_word, .offset = FIELD(mapping), .words = mapping_words},
    {.name = "filtering",
     .backends = ON_NAT,
     .parse = parse_word,
     .offset = FIELD(filtering),
     .words = filtering_words},
    {.name = "ports", .backends = ON_NAT, .parse = parse_word, .offset = FIELD(ports), .words = ports_words},
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
     .backends = ON_NAT,
     .parse = parse_word,
     .offset = FIELD(unsolicited),
     .words = unsolicited_words},
    {.name = "tcp-window-check",
     .backends = ON_NAT,
     .parse = parse_word,
     .offset = FIELD(window),
     .words = window_words},
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
    {.name = "hairpin", .backends = ON_EMULATED, .parse = parse_word, .offset = FIELD(hairpin), .words = hairpin_words},
    {.name = "refresh", .backends = ON_EMULATED, .parse = parse_word, .offset = FIELD(refresh), .words = refresh_words},
    {.name = "rst", .backends = ON_EMULATED, .parse = parse_word, .offset = FIELD(rst), .words = rst_words},
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

/* ---- errors ---------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static int refuse(struct reading *r, int line, const char *fmt, ...)
{
    if (r->err_line && r->err_line <= line)
        return -EINVAL;
    char what[LAB_ERROR_LEN];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    r->err_line = line;
    if (snprintf(r->err, LAB_ERROR_LEN, "%s:%d: %s", r->path, line, what) >= LAB_ERROR_LEN)
        memcpy(r->err + LAB_ERROR_LEN - 4, "...", 4);
    return -EINVAL;
}

static const char *backend_name(enum lab_backend backend)
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

static int *field_int(struct reading *r, size_t offset)
{
    return (int *)(void *)((char *)r->profile + offset);
}

static int parse_text(struct reading *r, const struct key *key, const char *value)
{
    return *value ? 0 : refuse(r, r->line, "'%s' is empty", key->name);
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

static int parse_word(struct reading *r, const struct key *key, const char *value)
{
    enum lab_backend backend = r->profile->backend;
    char list[128];
    for (const struct word *w = key->words; w->text; w++) {
        if (strcmp(w->text, value) != 0)
            continue;
        if (!has(w->backends, backend))
            return refuse(r, r->line, "'%s = %s' is not something backend = %s does; use one of: %s", key->name, value,
                          backend_name(backend), choices(key, backend, list));
        *field_int(r, key->offset) = w->value;
        return 0;
    }
    return refuse(r, r->line, "'%s' is no value of %s; use one of: %s", value, key->name, choices(key, backend, list));
}

static int parse_range(struct reading *r, const struct key *key, const char *value)
{
    const char *dash = strchr(value, '-');
    char low[8] = "";
    uint64_t lo, hi;
    if (dash && (size_t)(dash - value) < sizeof(low))
        memcpy(low, value, (size_t)(dash - value));
    if (!dash || base_parse_u64(low, 1, 65535, &lo) < 0 || base_parse_u64(dash + 1, 1, 65535, &hi) < 0 || lo > hi)
        return refuse(r, r->line, "'%s = %s' is no range of ports; write LOW-HIGH, each 1 to 65535", key->name, value);
    r->profile->port_lo = (uint16_t)lo;
    r->profile->port_hi = (uint16_t)hi;
    return 0;
}

static int parse_seconds(struct reading *r, const struct key *key, const char *value)
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
        return refuse(r, r->line, "'%s = %s': write %s seconds, each 1 to %u", key->name, value,
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
static int parse_number(struct reading *r, const struct key *key, const char *value)
{
    char parts[2][24] = {"", ""}, list[128];
    uint64_t number;
    unsigned n = split(value, parts, 2);
    const struct word *word = key->words;
    if (word && n == 2)
        word = find_word(word, parts[1]);
    if (n > (key->words ? 2u : 1u) || base_parse_u64(parts[0], key->least, key->most, &number) < 0 ||
        (key->words && !word))
        return refuse(r, r->line, "'%s = %s': write a number, %u to %u%s%s", key->name, value, key->least, key->most,
                      key->words ? ", and then one of: " : "",
                      key->words ? choices(key, r->profile->backend, list) : "");
    *(unsigned *)(void *)field_int(r, key->offset) = (unsigned)number;
    if (word)
        *field_int(r, key->word_offset) = word->value;
    return 0;
}

static int parse_step(struct reading *r, const struct key *key, const char *value)
{
    bool minus = *value == '-';
    uint64_t step;
    if (base_parse_u64(value + (minus || *value == '+'), 1, 1000, &step) < 0)
        return refuse(r, r->line, "'%s = %s': write a number of ports, 1 to 1000 or -1 to -1000", key->name, value);
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

static int parse_cross(struct reading *r, const struct key *key, const char *value)
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
        return refuse(r, r->line,
                      "'%s = %s': write none, poisson RATE, or negative-binomial RATE DISPERSION (per second; variance "
                      "over mean, above 1)",
                      key->name, value);
    p->cross = poisson ? LAB_CROSS_POISSON : LAB_CROSS_NEGATIVE_BINOMIAL;
    return 0;
}

static int parse_switch(struct reading *r, const struct key *key, const char *value)
{
    bool yes = strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "no") != 0)
        return refuse(r, r->line, "'%s = %s': write yes or no", key->name, value);
    *(bool *)(void *)((char *)r->profile + key->offset) = yes;
    return 0;
}

static int parse_blacklist(struct reading *r, const struct key *key, const char *value)
{
    char count[16] = "";
    const char *slash = strchr(value, '/');
    uint64_t packets, seconds;
    if (slash && (size_t)(slash - value) < sizeof(count))
        memcpy(count, value, (size_t)(slash - value));
    if (!slash || base_parse_u64(count, 1, 1000000, &packets) < 0 ||
        base_parse_u64(slash + 1, 1, TIMEOUT_MAX_S, &seconds) < 0)
        return refuse(r, r->line, "'%s = %s': write PACKETS/SECONDS", key->name, value);
    r->profile->blacklist_after = (unsigned)packets;
    r->profile->blacklist_s = (unsigned)seconds;
    return 0;
}

static int parse_under(struct reading *r, const struct key *key, const char *value)
{
    struct lab_profile *p = r->profile;
    if (!*value || *value == '.' || strchr(value, '/') || strlen(value) >= sizeof(p->under))
        return refuse(r, r->line, "'%s = %s': write the name of another profile, without .ini", key->name, value);
    if (strcmp(value, p->name) == 0)
        return refuse(r, r->line, "'%s = %s': a NAT cannot sit behind itself", key->name, value);
    snprintf(p->under, sizeof(p->under), "%s", value);
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static const struct key *find_key(const char *name)
{
    for (size_t i = 0; i < N_KEYS; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

static int on_key(void *user, const char *section, const char *name, const char *value)
{
    struct reading *r = user;
    const struct key *key = find_key(name);
    if (*section)
        return refuse(r, r->line, "a profile has no sections: remove [%s]", section), 0;
    if (!key)
        return refuse(r, r->line, "there is no key '%s'", name), 0;
    int *seen = &r->key_lines[key - keys];
    if (*seen)
        return refuse(r, r->line, "'%s' was already given in line %d", name, *seen), 0;
    *seen = r->line;
    if (key != keys && !r->key_lines[0])
        return refuse(r, r->line, "'backend' must come first"), 0;
    if (!has(key->backends, r->profile->backend))
        return refuse(r, r->line, "'%s' is not something backend = %s has", name, backend_name(r->profile->backend)), 0;
    return key->parse(r, key, value) == 0;
}

/* Counts lines, which the packaged inih does not tell; and refuses to have one silently cut in two. */
static char *next_line(char *buf, int size, void *user)
{
    struct reading *r = user;
    char *got = fgets(buf, size, r->file);
    if (!got)
        return NULL;
    r->line++;
    if (!strchr(buf, '\n') && !feof(r->file)) {
        refuse(r, r->line, "the line is longer than %d characters", size - 3);
        return NULL;
    }
    return got;
}

static int line_of(const struct reading *r, const char *name)
{
    int line = r->key_lines[find_key(name) - keys];
    return line ? line : r->key_lines[0];
}

static bool seen(const struct reading *r, const char *name)
{
    return r->key_lines[find_key(name) - keys] != 0;
}

static int need(struct reading *r, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!seen(r, names[i]))
            return refuse(r, r->key_lines[0], "backend = %s needs '%s'", backend_name(r->profile->backend), names[i]);
    return 0;
}

/* Labels lie: what a profile declares has to be what its rules make. Linux maps each 5-tuple by itself, but as long
 * as it preserves ports every destination sees the same one. */
static int check_netfilter(struct reading *r)
{
    static const char *const needed[] = {"mapping", "filtering", "ports", "unsolicited-syn", "tcp-window-check"};
    const struct lab_profile *p = r->profile;
    if (need(r, needed, BASE_ARRAY_LEN(needed)) < 0)
        return -EINVAL;
    if (p->ports == LAB_PORTS_PRESERVE && p->mapping != LAB_MAP_EI)
        return refuse(r, line_of(r, "mapping"), "ports = preserve makes mapping = endpoint-independent");
    if (p->ports == LAB_PORTS_RANDOM && p->mapping != LAB_MAP_APD)
        return refuse(r, line_of(r, "mapping"), "ports = random makes mapping = address-and-port-dependent");
    if (p->port_lo && p->ports != LAB_PORTS_RANDOM)
        return refuse(r, line_of(r, "port-range"), "a port-range needs ports = random");
    return 0;
}

/* Keys that say nothing, or the contrary of another one. */
static int check_ports(struct reading *r)
{
    const struct lab_profile *p = r->profile;
    bool in_turn = p->ports == LAB_PORTS_SEQUENTIAL || p->ports == LAB_PORTS_PARITY;
    bool placed = p->ports == LAB_PORTS_BLOCK || p->ports == LAB_PORTS_BAND;
    unsigned width = p->port_hi ? p->port_hi - p->port_lo + 1u : 64512;
    if (p->step && !in_turn)
        return refuse(r, line_of(r, "step"), "a step needs ports = sequential or parity");
    if (p->block_size && !placed)
        return refuse(r, line_of(r, "block-size"), "a block-size needs ports = block or band");
    if (placed && !p->block_size)
        return refuse(r, line_of(r, "ports"), "ports = block and band need a block-size");
    if (p->blocks && p->ports != LAB_PORTS_BLOCK)
        return refuse(r, line_of(r, "blocks"), "blocks needs ports = block");
    if (p->block_size > width)
        return refuse(r, line_of(r, "block-size"), "a block of %u ports does not fit into %u", p->block_size, width);
    if (p->ports == LAB_PORTS_PRESERVE && p->mapping == LAB_MAP_CONNECTION)
        return refuse(r, line_of(r, "mapping"), "a new port for each connection is not ports = preserve");
    if (in_turn && width > 1 && (unsigned)abs(p->step) >= width)
        return refuse(r, line_of(r, "step"), "a step of %d leads out of a range of %u ports", p->step, width);
    if (p->ports == LAB_PORTS_PARITY && width == 1)
        return refuse(r, line_of(r, "port-range"), "ports = parity needs an even port and an odd one");
    if (p->pooling == LAB_POOL_ARBITRARY && p->pool == 1)
        return refuse(r, line_of(r, "pool"), "one address leaves nothing arbitrary");
    if (p->pooling == LAB_POOL_ARBITRARY && placed)
        return refuse(r, line_of(r, "pool"), "a block or band lies on one address: the pool is paired");
    return 0;
}

static int read_profile(const char *path, bool follow, struct lab_profile *out, char err[LAB_ERROR_LEN]);

/* One NAT under another, and no more: so nothing is under itself in the end, either. */
static int check_under(struct reading *r)
{
    const struct lab_profile *p = r->profile;
    struct lab_profile outer;
    char path[sizeof(p->dir) + sizeof(p->under) + 8], err[LAB_ERROR_LEN] = "";
    int line = line_of(r, "under");
    if (!*p->under || !r->follow)
        return 0;
    snprintf(path, sizeof(path), "%s/%s.ini", p->dir, p->under);
    if (read_profile(path, false, &outer, err) < 0)
        return refuse(r, line, "under = %s: %s", p->under, err);
    if (outer.backend != LAB_BACKEND_EMULATED)
        return refuse(r, line, "under = %s: that profile needs backend = emulated", p->under);
    if (*outer.under)
        return refuse(r, line, "under = %s: that one is under %s itself; at most two NATs, one under the other",
                      p->under, outer.under);
    return 0;
}

/* What was answered is kept no shorter than what was not. */
static int check_timers(struct reading *r)
{
    const struct lab_profile *p = r->profile;
    if (p->udp_stream_s < p->udp_new_s)
        return refuse(r, line_of(r, "udp-timeout"), "a stream's %u s are fewer than the %u s of a single packet",
                      p->udp_stream_s, p->udp_new_s);
    if (p->tcp_established_s < p->tcp_syn_sent_s)
        return refuse(r, line_of(r, "tcp-timeout"), "an established connection's %u s are fewer than a SYN's %u s",
                      p->tcp_established_s, p->tcp_syn_sent_s);
    return 0;
}

static int check_emulated(struct reading *r)
{
    static const char *const needed[] = {"mapping",          "filtering",   "ports",      "unsolicited-syn",
                                         "tcp-window-check", "udp-timeout", "tcp-timeout"};
    struct lab_profile *p = r->profile;
    if (need(r, needed, BASE_ARRAY_LEN(needed)) < 0 || check_ports(r) < 0 || check_timers(r) < 0)
        return -EINVAL;
    if (p->rst == LAB_RST_IN_WINDOW && p->window == LAB_WINDOW_NONE)
        return refuse(r, line_of(r, "rst"), "tcp-window-check = none knows no window");
    if (p->table_size && p->host_limit > p->table_size)
        return refuse(r, line_of(r, "host-limit"), "one host cannot have more than the table-size of %u",
                      p->table_size);
    if (check_under(r) < 0)
        return -EINVAL;
    if (p->hairpin == LAB_HAIRPIN_UNSET)
        p->hairpin = LAB_HAIRPIN_OFF;
    if (p->refresh == LAB_REFRESH_UNSET)
        p->refresh = LAB_REFRESH_BOTH;
    if (p->rst == LAB_RST_UNSET)
        p->rst = LAB_RST_CLOSES;
    if (p->pool == 0)
        p->pool = 1;
    if (p->pooling == LAB_POOL_UNSET)
        p->pooling = LAB_POOL_PAIRED;
    return 0;
}

static int check(struct reading *r)
{
    if (!r->key_lines[0])
        return refuse(r, r->line ? r->line : 1, "'backend' is missing; use one of: none, netfilter, emulated");
    if (!seen(r, "source"))
        return refuse(r, r->key_lines[0],
                      "'source' is missing: name what the profile was measured on, or \"proposal\"");
    switch (r->profile->backend) {
    case LAB_BACKEND_NETFILTER:
        return check_netfilter(r);
    case LAB_BACKEND_EMULATED:
        return check_emulated(r);
    default:
        return 0;
    }
}

static int set_dir(struct lab_profile *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = !slash ? 1 : slash == path ? 1 : (size_t)(slash - path);
    if (len >= sizeof(out->dir))
        return -ENAMETOOLONG;
    memcpy(out->dir, slash ? path : ".", len);
    return 0;
}

static int set_name(struct lab_profile *out, const char *path)
{
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    size_t len = strlen(base);
    if (len > 4 && strcmp(base + len - 4, ".ini") == 0)
        len -= 4;
    if (len == 0 || len >= sizeof(out->name))
        return -ENAMETOOLONG;
    memcpy(out->name, base, len);
    return 0;
}

static int read_profile(const char *path, bool follow, struct lab_profile *out, char err[LAB_ERROR_LEN])
{
    struct lab_profile profile = {0};
    int lines[N_KEYS] = {0};
    struct reading r = {.path = path, .profile = &profile, .err = err, .follow = follow, .key_lines = lines};
    if (set_name(&profile, path) < 0) {
        snprintf(err, LAB_ERROR_LEN, "%s: a profile's name has 1 to %zu characters", path, sizeof(profile.name) - 1);
        return -ENAMETOOLONG;
    }
    if (set_dir(&profile, path) < 0) {
        snprintf(err, LAB_ERROR_LEN, "%.100s...: the folder's path is longer than %zu bytes", path,
                 sizeof(profile.dir) - 1);
        return -ENAMETOOLONG;
    }
    r.file = fopen(path, "re");
    if (!r.file) {
        int res = -errno;
        snprintf(err, LAB_ERROR_LEN, "%s: %s", path, strerror(-res));
        return res;
    }
    int bad_line = ini_parse_stream(next_line, &r, on_key, &r);
    bool io_error = ferror(r.file);
    fclose(r.file);
    if (io_error) {
        snprintf(err, LAB_ERROR_LEN, "%s: could not be read", path);
        return -EIO;
    }
    if (bad_line > 0)
        refuse(&r, bad_line, "neither KEY = VALUE nor a comment");
    if (r.err_line || check(&r) < 0)
        return -EINVAL;
    *out = profile;
    return 0;
}

int lab_profile_read(const char *path, struct lab_profile *out, char err[LAB_ERROR_LEN])
{
    return read_profile(path, true, out, err);
}

int lab_profile_find(const char *dir, const char *name, struct lab_profile *out, char err[LAB_ERROR_LEN])
{
    char path[4096];
    if (!*name || *name == '.' || strchr(name, '/') || strlen(name) >= sizeof(out->name)) {
        snprintf(err, LAB_ERROR_LEN, "'%.80s' is no profile name: use the name of a file in %.100s, without .ini", name,
                 dir);
        return -EINVAL;
    }
    if ((size_t)snprintf(path, sizeof(path), "%s/%s.ini", dir, name) >= sizeof(path)) {
        snprintf(err, LAB_ERROR_LEN, "the profile folder's path is too long");
        return -ENAMETOOLONG;
    }
    int res = lab_profile_read(path, out, err);
    if (res == -ENOENT)
        snprintf(err, LAB_ERROR_LEN, "no profile '%.63s': no such file in %.160s", name, dir);
    return res;
}
