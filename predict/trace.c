/* Traces, one line at a time: results/FORMATS.md, "Traces of mappings". */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "predict/internal.h"

/* A century: what is later is no measurement in seconds. */
#define LATEST_S 3.2e9
/* 9 digits of seconds and as many after the point are exact in the sum below. */
#define MOST_DIGITS 9

char *predict_trace_format(const struct predict_sample *s, char *buf, size_t size)
{
    char local[PREDICT_EP_TEXT], remote[PREDICT_EP_TEXT], mapped[PREDICT_EP_TEXT];
    snprintf(buf, size, "%.9f,%s,%s,%s", s->t, predict_ep_text(&s->local, local, sizeof(local)),
             predict_ep_text(&s->remote, remote, sizeof(remote)), predict_ep_text(&s->mapped, mapped, sizeof(mapped)));
    return buf;
}

static size_t digits(const char *text, size_t len, double *value)
{
    size_t n = 0;
    for (*value = 0; n < len && text[n] >= '0' && text[n] <= '9'; n++)
        *value = *value * 10 + (text[n] - '0');
    return n;
}

/* Seconds with an optional fraction: no sign, no exponent, no locale. */
static int parse_time(const char *text, size_t len, double *t)
{
    double whole, fraction = 0;
    size_t n = digits(text, len, &whole), m = 0;
    if (n == 0 || n > MOST_DIGITS + 1)
        return -EINVAL;
    if (n < len) {
        if (text[n] != '.')
            return -EINVAL;
        m = digits(text + n + 1, len - n - 1, &fraction);
        if (m == 0 || m > MOST_DIGITS || n + 1 + m != len)
            return -EINVAL;
    }
    *t = whole + fraction * pow(10, -(double)m);
    return *t <= LATEST_S ? 0 : -EINVAL;
}

static int bad(const char **why, const char *what)
{
    *why = what;
    return -EINVAL;
}

int predict_trace_parse(const char *line, size_t len, struct predict_sample *s, const char **why)
{
    const char *field[4] = {line, line, line, line};
    size_t field_len[4] = {0}, n = 0;
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        len--;
    for (const char *at = line, *end = line + len; n < 4; n++) {
        const char *comma = n < 3 ? memchr(at, ',', (size_t)(end - at)) : end;
        if (!comma)
            return bad(why, "fewer than four fields (" PREDICT_TRACE_HEADER ")");
        field[n] = at;
        field_len[n] = (size_t)(comma - at);
        at = comma + (n < 3);
    }
    if (memchr(field[3], ',', field_len[3]))
        return bad(why, "more than four fields (" PREDICT_TRACE_HEADER ")");
    *s = (struct predict_sample){0};
    if (parse_time(field[0], field_len[0], &s->t) < 0)
        return bad(why, "time is not in seconds, such as 12.003456");
    if (predict_ep_parse(field[1], field_len[1], &s->local) < 0)
        return bad(why, "local is no endpoint (192.0.2.1:53, [2001:db8::1]:53, or - for unknown)");
    if (predict_ep_parse(field[2], field_len[2], &s->remote) < 0)
        return bad(why, "remote is no endpoint (192.0.2.1:53, [2001:db8::1]:53, or - for unknown)");
    if (predict_ep_parse(field[3], field_len[3], &s->mapped) < 0)
        return bad(why, "mapped is no endpoint (192.0.2.1:53 or [2001:db8::1]:53, ports from 1 to 65535)");
    if (s->mapped.len == 0 || s->mapped.port == 0)
        return bad(why, "mapped must be an address and a port from 1 to 65535");
    if ((s->local.len && s->local.len != s->remote.len && s->remote.len))
        return bad(why, "local and remote are of different address families");
    return 0;
}
