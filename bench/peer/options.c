/* Options as tables: the command line, the session's text and the typed getters read the same rows. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer/internal.h"

/* Past the SYN timers of NATs that forget soon, and the longest wait of a SYN's third repetition. */
#define SKEW_MAX_NS (30 * BASE_NS_PER_S)
/* They tell a mapping that stays from one that moves. */
#define DEFAULT_SAMPLES 4

static const char *const roles[] = {"a", "b", NULL};
static const char *const hold_dead[] = {"ok", "fail", NULL};

/* The chassis's own; role a's rule, like the technique's. */
static const struct peer_option chassis_options[] = {
    {.name = "mode",
     .arg = "MODE",
     .help = "how to punch; 'none' sends nothing (the control)",
     .kind = PEER_OPT_CHOICE},
    {.name = "timeout",
     .arg = "TIME",
     .value = "10s",
     .help = "a trial's deadline, from the start instant",
     .kind = PEER_OPT_DURATION,
     .lo = 10 * BASE_NS_PER_MS,
     .hi = 3600 * BASE_NS_PER_S},
    {.name = "rate",
     .arg = "N",
     .value = "2000",
     .help = "new attempts a second at most; 0: unlimited",
     .kind = PEER_OPT_U64,
     .lo = 0,
     .hi = 10000000},
    {.name = "samples",
     .arg = "N",
     .value = "", /* choose_samples() */
     .help = "STUN endpoints of the server to sample the mapping at, before each trial; in mode auto 32 unless given",
     .kind = PEER_OPT_U64,
     .lo = 1,
     .hi = PEER_MAX_STUN},
    {.name = "skew",
     .arg = "TIME",
     .value = "0",
     .help = "let role b begin so much after role a, or with a minus before it",
     .kind = PEER_OPT_OFFSET,
     .hi = SKEW_MAX_NS},
    {.name = "hold-for",
     .arg = "TIME",
     .value = "0",
     .help = "after success keep silent for so long, then say whether the path still lives; lies within --timeout",
     .kind = PEER_OPT_DURATION,
     .lo = 0,
     .hi = 12 * 3600 * BASE_NS_PER_S},
    {.name = "hold-by",
     .arg = "ROLE",
     .value = "a",
     .help = "who speaks first after --hold-for",
     .kind = PEER_OPT_CHOICE,
     .choices = roles},
    {.name = "hold-dead",
     .arg = "OUTCOME",
     .value = "ok",
     .help = "what a trial is whose path did not outlive --hold-for",
     .kind = PEER_OPT_CHOICE,
     .choices = hold_dead},
    {.name = "quality",
     .arg = "TIME",
     .value = "0",
     .help = "after success measure round trips, and for so long the throughput each way; twice that lies within "
             "--timeout",
     .kind = PEER_OPT_DURATION,
     .lo = 0,
     .hi = 600 * BASE_NS_PER_S},
    {.name = "quality-rate",
     .arg = "N",
     .value = "1000",
     .help = "Mbit/s that --quality sends at most",
     .kind = PEER_OPT_U64,
     .lo = 1,
     .hi = 100000},
};

static bool is_mode(const struct peer_technique *technique, const char *value)
{
    if (strcmp(value, "none") == 0)
        return true;
    for (const char *const *m = technique->modes; *m; m++)
        if (strcmp(*m, value) == 0)
            return true;
    return false;
}

static bool is_choice(const char *const *choices, const char *value)
{
    for (; *choices; choices++)
        if (strcmp(*choices, value) == 0)
            return true;
    return false;
}

/* "99%", "99.95%": strictly between 0 and 100. */
static bool parse_percent(const char *value, double *out)
{
    size_t len = strlen(value);
    if (len < 2 || value[len - 1] != '%' || strspn(value, "0123456789.") != len - 1)
        return false;
    char *end;
    double percent = strtod(value, &end);
    *out = percent / 100;
    return end == value + len - 1 && percent > 0 && percent < 100;
}

static bool parse_signed(const char *text, size_t len, uint64_t lo, uint64_t hi, int *out)
{
    char digits[PEER_OPTION_VALUE];
    bool negative = len > 0 && *text == '-';
    uint64_t n;
    if (len == 0 || len >= sizeof(digits))
        return false;
    snprintf(digits, sizeof(digits), "%.*s", (int)(len - negative), text + negative);
    if (base_parse_u64(digits, lo, hi, &n) < 0)
        return false;
    *out = negative ? -(int)n : (int)n;
    return true;
}

static bool parse_span(const struct peer_option *option, const char *value, int *lo, int *hi)
{
    size_t comma = strcspn(value, ",");
    return value[comma] && parse_signed(value, comma, option->lo, option->hi, lo) &&
           parse_signed(value + comma + 1, strlen(value + comma + 1), option->lo, option->hi, hi) && *lo <= *hi;
}

static bool parse_offset(const struct peer_option *option, const char *value, int64_t *out)
{
    bool negative = *value == '-';
    uint64_t ns;
    if (base_parse_duration(value + negative, &ns) < 0 || ns > option->hi)
        return false;
    *out = negative ? -(int64_t)ns : (int64_t)ns;
    return true;
}

static bool value_ok(const struct peer_option *option, const struct peer_technique *technique, const char *value)
{
    uint64_t n;
    double fraction;
    int64_t offset;
    union base_ep ep;
    int lo, hi;
    if (strlen(value) >= PEER_OPTION_VALUE)
        return false;
    switch (option->kind) {
    case PEER_OPT_U64:
        return base_parse_u64(value, option->lo, option->hi, &n) == 0;
    case PEER_OPT_DURATION:
        return base_parse_duration(value, &n) == 0 && n >= option->lo && n <= option->hi;
    case PEER_OPT_CHOICE:
        return option->choices ? is_choice(option->choices, value) : is_mode(technique, value);
    case PEER_OPT_WORD_OR_U64:
        return is_choice(option->choices, value) || base_parse_u64(value, option->lo, option->hi, &n) == 0;
    case PEER_OPT_PERCENT:
        return parse_percent(value, &fraction);
    case PEER_OPT_SPAN:
        return strcmp(value, "off") == 0 || parse_span(option, value, &lo, &hi);
    case PEER_OPT_OFFSET:
        return parse_offset(option, value, &offset);
    case PEER_OPT_ENDPOINT:
        return !*value || (base_ep_parse(value, &ep) == 0 && base_ep_port(&ep) != 0);
    case PEER_OPT_TEXT:
        return true;
    }
    return false;
}

static void add(struct peer_options *o, const struct peer_option *option, const char *value)
{
    if (o->n == PEER_MAX_OPTIONS)
        abort(); /* a table outgrew PEER_MAX_OPTIONS */
    o->table[o->n] = option;
    o->given[o->n] = false;
    snprintf(o->value[o->n++], PEER_OPTION_VALUE, "%s", value);
}

static size_t find(const struct peer_options *o, const char *name)
{
    size_t i = 0;
    while (i < o->n && strcmp(o->table[i]->name, name) != 0)
        i++;
    return i;
}

/* Mode auto decides by what the samples show, so it takes more of them. */
static void choose_samples(struct peer_options *o, const struct peer_technique *technique)
{
    size_t i = find(o, "samples");
    unsigned samples = technique->samples ? technique->samples : DEFAULT_SAMPLES;
    if (strcmp(peer_option_text(o, "mode"), "auto") == 0 && samples < PEER_AUTO_SAMPLES)
        samples = PEER_AUTO_SAMPLES;
    if (!o->given[i])
        snprintf(o->value[i], PEER_OPTION_VALUE, "%u", samples);
}

void peer_options_init(struct peer_options *o, const struct peer_technique *technique)
{
    o->n = 0;
    for (size_t i = 0; i < BASE_ARRAY_LEN(chassis_options); i++)
        add(o, &chassis_options[i], chassis_options[i].value ? chassis_options[i].value : technique->modes[0]);
    choose_samples(o, technique);
    for (size_t i = 0; i < technique->n_options; i++)
        add(o, &technique->options[i], technique->options[i].value);
    const struct peer_technique *last = technique->last_resort;
    for (size_t i = 0; last && i < last->n_options; i++)
        add(o, &last->options[i], last->options[i].value);
}

const struct peer_option *peer_options_find(const struct peer_options *o, const char *name)
{
    size_t i = find(o, name);
    return i < o->n ? o->table[i] : NULL;
}

static int assign(struct peer_options *o, const struct peer_technique *technique, const char *name, const char *value)
{
    size_t i = find(o, name);
    if (i == o->n)
        return -ENOENT;
    if (!value_ok(o->table[i], technique, value))
        return -EINVAL;
    snprintf(o->value[i], PEER_OPTION_VALUE, "%s", value);
    if (strcmp(name, "mode") == 0)
        choose_samples(o, technique);
    return 0;
}

int peer_options_set(struct peer_options *o, const struct peer_technique *technique, const char *name,
                     const char *value)
{
    int err = assign(o, technique, name, value);
    if (err == 0)
        o->given[find(o, name)] = true;
    return err;
}

static size_t list_names(char *buf, size_t cap, size_t len, const char *const *names)
{
    size_t start = len;
    for (; *names && len < cap; names++)
        len += (size_t)snprintf(buf + len, cap - len, "%s%s", len > start ? ", " : "", *names);
    return len;
}

static void format_duration(uint64_t ns, char *buf, size_t cap)
{
    if (ns >= BASE_NS_PER_S)
        snprintf(buf, cap, "%gs", (double)ns / 1e9);
    else
        snprintf(buf, cap, "%gms", (double)ns / 1e6);
}

const char *peer_option_expects(const struct peer_option *option, const struct peer_technique *technique, char *buf,
                                size_t cap)
{
    char lo[32], hi[32];
    size_t len;
    switch (option->kind) {
    case PEER_OPT_U64:
        snprintf(buf, cap, "a number from %llu to %llu", (unsigned long long)option->lo,
                 (unsigned long long)option->hi);
        break;
    case PEER_OPT_DURATION:
        format_duration(option->lo, lo, sizeof(lo));
        format_duration(option->hi, hi, sizeof(hi));
        snprintf(buf, cap, "a time with its unit from %s to %s (500ms, 2s)", lo, hi);
        break;
    case PEER_OPT_CHOICE:
        len = (size_t)snprintf(buf, cap, "one of ");
        len = list_names(buf, cap, len, option->choices ? option->choices : technique->modes);
        if (!option->choices && len < cap)
            snprintf(buf + len, cap - len, ", none");
        break;
    case PEER_OPT_WORD_OR_U64:
        len = list_names(buf, cap, 0, option->choices);
        if (len < cap)
            snprintf(buf + len, cap - len, " or a number from %llu to %llu", (unsigned long long)option->lo,
                     (unsigned long long)option->hi);
        break;
    case PEER_OPT_PERCENT:
        snprintf(buf, cap, "a percentage between 0%% and 100%% (99%%)");
        break;
    case PEER_OPT_SPAN:
        snprintf(buf, cap, "off, or LO,HI with LO not above HI and both from -%llu to %llu (-20,30)",
                 (unsigned long long)option->hi, (unsigned long long)option->hi);
        break;
    case PEER_OPT_OFFSET:
        format_duration(option->hi, hi, sizeof(hi));
        snprintf(buf, cap, "a time with its unit from -%s to %s (20ms, -1.5s)", hi, hi);
        break;
    case PEER_OPT_ENDPOINT:
        snprintf(buf, cap, "ADDR:PORT, numeric, as 192.0.2.1:3478 or [2001:db8::1]:3478");
        break;
    case PEER_OPT_TEXT:
        snprintf(buf, cap, "a text of under %d bytes", PEER_OPTION_VALUE);
        break;
    }
    return buf;
}

bool peer_option_given(const struct peer_options *o, const char *name)
{
    size_t i = find(o, name);
    return i < o->n && o->given[i];
}

const char *peer_option_text(const struct peer_options *o, const char *name)
{
    size_t i = find(o, name);
    if (i == o->n)
        abort();
    return o->value[i];
}

uint64_t peer_option_u64(const struct peer_options *o, const char *name)
{
    size_t i = find(o, name);
    uint64_t n = 0;
    if (i == o->n)
        abort();
    if (o->table[i]->kind == PEER_OPT_DURATION)
        base_parse_duration(o->value[i], &n);
    else
        base_parse_u64(o->value[i], 0, UINT64_MAX, &n);
    return n;
}

bool peer_option_number(const struct peer_options *o, const char *name, uint64_t *n)
{
    return base_parse_u64(peer_option_text(o, name), 0, UINT64_MAX, n) == 0;
}

double peer_option_fraction(const struct peer_options *o, const char *name)
{
    double fraction = 0;
    parse_percent(peer_option_text(o, name), &fraction);
    return fraction;
}

bool peer_option_span(const struct peer_options *o, const char *name, int *lo, int *hi)
{
    size_t i = find(o, name);
    if (i == o->n)
        abort();
    return strcmp(o->value[i], "off") != 0 && parse_span(o->table[i], o->value[i], lo, hi);
}

bool peer_option_ep(const struct peer_options *o, const char *name, union base_ep *out)
{
    return base_ep_parse(peer_option_text(o, name), out) == 0;
}

enum peer_transport peer_options_transport(const struct peer_options *o, const struct peer_technique *technique)
{
    if (technique->tcp_modes && is_choice(technique->tcp_modes, peer_option_text(o, "mode")))
        return PEER_TCP;
    return technique->transport;
}

int64_t peer_option_offset(const struct peer_options *o, const char *name)
{
    size_t i = find(o, name);
    int64_t ns = 0;
    if (i == o->n)
        abort();
    parse_offset(o->table[i], o->value[i], &ns);
    return ns;
}

int peer_options_to_text(const struct peer_options *o, const struct peer_technique *technique, char *buf, size_t cap)
{
    size_t len =
        (size_t)snprintf(buf, cap, "transport=%s\n", peer_options_transport(o, technique) == PEER_TCP ? "tcp" : "udp");
    for (size_t i = 0; i < o->n && len < cap; i++)
        if (!o->table[i]->local)
            len += (size_t)snprintf(buf + len, cap - len, "%s=%s\n", o->table[i]->name, o->value[i]);
    return len < cap ? (int)len : -ENOSPC;
}

static int set_line(struct peer_options *o, const struct peer_technique *technique, char *line)
{
    char *equals = strchr(line, '=');
    if (!equals)
        return -EINVAL;
    *equals = '\0';
    int err = 0;
    const struct peer_option *known = peer_options_find(o, line);
    if (known && known->local)
        err = -EINVAL;
    else if (strcmp(line, "transport") == 0 && technique->tcp_modes)
        err = 0; /* the mode, which comes later, says it too */
    else if (strcmp(line, "transport") == 0)
        err = strcmp(equals + 1, technique->transport == PEER_TCP ? "tcp" : "udp") == 0 ? 0 : -EINVAL;
    else if (assign(o, technique, line, equals + 1) < 0)
        err = -EINVAL;
    *equals = '=';
    return err;
}

int peer_options_from_text(struct peer_options *o, const struct peer_technique *technique, const char *text, char *bad,
                           size_t cap)
{
    while (*text) {
        char line[128];
        size_t len = strcspn(text, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)(len < sizeof(line) ? len : sizeof(line) - 1), text);
        if (len >= sizeof(line) || set_line(o, technique, line) < 0) {
            snprintf(bad, cap, "%s", line);
            return -EINVAL;
        }
        text += len + (text[len] == '\n');
    }
    return 0;
}
