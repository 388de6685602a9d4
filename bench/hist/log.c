/* The lines of an HdrHistogram log, format version 1.3, written and read. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/hist/internal.h"

#define TAG_FIELD "Tag="
/* 30000 years: what any clock says, and far from overflow. */
#define SECONDS_MAX 1000000000000ULL

/* ---- writing --------------------------------------------------------------------------------- */

int hist_log_head(uint64_t start_ms, char **out)
{
    time_t seconds = (time_t)(start_ms / 1000);
    struct tm tm = {0};
    char date[40] = "?";
    if (gmtime_r(&seconds, &tm))
        strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &tm);
    uint64_t s = start_ms / 1000, ms = start_ms % 1000;
    int len = asprintf(out,
                       "#[Histogram log format version 1.3]\n"
                       "#[StartTime: %" PRIu64 ".%03" PRIu64 " (seconds since epoch), %s]\n"
                       "#[BaseTime: %" PRIu64 ".%03" PRIu64 " (seconds since epoch)]\n"
                       "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
                       s, ms, date, s, ms);
    if (len < 0)
        *out = NULL;
    return len < 0 ? -ENOMEM : 0;
}

/* Bytes that stand in a tag as they are: none that a reader might take for a delimiter, an escape or a line's end. */
static bool tag_plain(unsigned char c)
{
    return c > ' ' && c < 0x7f && c != ',' && c != '"' && c != '%';
}

/* "Tag=TAG,", or nothing for an empty tag. */
static void put_tag(const char *tag, char *out)
{
    *out = '\0';
    if (tag[0] == '\0')
        return;
    out = stpcpy(out, TAG_FIELD);
    for (; *tag; tag++) {
        if (tag_plain((unsigned char)*tag))
            *out++ = *tag;
        else
            out += sprintf(out, "%%%02X", (unsigned char)*tag);
    }
    out[0] = ',';
    out[1] = '\0';
}

int hist_log_line(const char *tag, uint64_t start_ms, uint64_t length_ms, const struct hist *h, char **out)
{
    char field[sizeof(TAG_FIELD) + 3 * HIST_TAG_MAX + 1], *payload;
    *out = NULL;
    if (tag && strlen(tag) > HIST_TAG_MAX)
        return -ENAMETOOLONG;
    put_tag(tag ? tag : "", field);
    int err = hist_encode(h, &payload);
    if (err < 0)
        return err;
    uint64_t max_us = (hist_max(h) + 500) / 1000;
    int len = asprintf(out, "%s%" PRIu64 ".%03" PRIu64 ",%" PRIu64 ".%03" PRIu64 ",%" PRIu64 ".%03" PRIu64 ",%s\n",
                       field, start_ms / 1000, start_ms % 1000, length_ms / 1000, length_ms % 1000, max_us / 1000,
                       max_us % 1000, payload);
    free(payload);
    if (len < 0)
        *out = NULL;
    return len < 0 ? -ENOMEM : 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* What is left of a line. */
struct cursor {
    const char *at, *end;
};

static bool take_text(struct cursor *c, const char *text)
{
    size_t len = strlen(text);
    if ((size_t)(c->end - c->at) < len || memcmp(c->at, text, len) != 0)
        return false;
    c->at += len;
    return true;
}

/* "12", "12.5", "12.3456": thousandths, the rest cut off. */
static bool take_thousandths(struct cursor *c, uint64_t *out)
{
    uint64_t whole = 0, part = 0;
    const char *begin = c->at;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        whole = whole * 10 + (uint64_t)(*c->at - '0');
        if (whole > SECONDS_MAX)
            return false;
    }
    if (c->at == begin)
        return false;
    if (take_text(c, ".")) {
        uint64_t unit = 100;
        for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++, unit /= 10)
            part += unit * (uint64_t)(*c->at - '0');
    }
    *out = whole * 1000 + part;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that %XX stands for; -1 for a '%' that another writer meant as such, and for %00, which no string can hold.
 */
static int escaped_byte(const struct cursor *c)
{
    if (c->end - c->at < 3 || *c->at != '%')
        return -1;
    int high = hex_digit(c->at[1]), low = hex_digit(c->at[2]);
    int byte = high < 0 || low < 0 ? -1 : high << 4 | low;
    return byte > 0 ? byte : -1;
}

static bool take_tag(struct cursor *c, char tag[HIST_TAG_MAX + 1])
{
    size_t len = 0;
    while (c->at < c->end && *c->at != ',') {
        int byte = escaped_byte(c);
        if (len == HIST_TAG_MAX || *c->at == '\0')
            return false;
        tag[len++] = byte < 0 ? *c->at : (char)byte;
        c->at += byte < 0 ? 1 : 3;
    }
    tag[len] = '\0';
    return take_text(c, ",");
}

static int parse_interval(struct cursor *c, struct hist_log_entry *out)
{
    uint64_t max;
    if (take_text(c, TAG_FIELD) && !take_tag(c, out->tag))
        return -EBADMSG;
    /* The maximum stands in the histogram too, in a unit that is certain. */
    if (!take_thousandths(c, &out->time_ms) || !take_text(c, ",") || !take_thousandths(c, &out->length_ms) ||
        !take_text(c, ",") || !take_thousandths(c, &max) || !take_text(c, ","))
        return -EBADMSG;
    out->kind = HIST_LOG_INTERVAL;
    return hist_decode(c->at, (size_t)(c->end - c->at), &out->hist);
}

int hist_log_parse(const char *line, size_t len, struct hist_log_entry *out)
{
    *out = (struct hist_log_entry){.kind = HIST_LOG_NOTHING};
    if (len > 0 && line[len - 1] == '\n')
        len--;
    if (len > 0 && line[len - 1] == '\r')
        len--;
    struct cursor c = {line, line + len};
    if (len == 0 || take_text(&c, "\"StartTimestamp\""))
        return 0;
    if (!take_text(&c, "#"))
        return parse_interval(&c, out);
    enum hist_log_kind kind = HIST_LOG_NOTHING;
    if (take_text(&c, "[StartTime: "))
        kind = HIST_LOG_START_TIME;
    else if (take_text(&c, "[BaseTime: "))
        kind = HIST_LOG_BASE_TIME;
    if (kind != HIST_LOG_NOTHING && !take_thousandths(&c, &out->time_ms))
        return -EBADMSG;
    out->kind = kind;
    return 0;
}
