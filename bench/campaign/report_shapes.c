/* From counts and latencies to what plots show. Pure. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/report.h"

/* ---- text ------------------------------------------------------------------------------------ */

/* Bytes of the UTF-8 character that begins with c. */
static size_t char_len(unsigned char c)
{
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

void report_plain(const char *text, size_t most, char *out, size_t cap)
{
    size_t len = 0, chars = 0;
    for (const char *p = text; *p && len + 8 < cap; chars++) {
        size_t n = char_len((unsigned char)*p);
        if (chars == most) {
            memcpy(out + len, "...", 3);
            len += 3;
            break;
        }
        bool special = (unsigned char)*p < ' ' || *p == 0x7f || strchr("'\"\\`#", *p);
        for (size_t i = 0; i < n && *p; i++, p++)
            out[len++] = special ? '_' : *p;
    }
    if (!len)
        out[len++] = '-';
    out[len] = '\0';
}

void report_file_part(const char *text, char *out, size_t cap)
{
    size_t len = 0;
    for (; *text && len + 1 < cap; text++)
        out[len++] = isalnum((unsigned char)*text) || *text == '-' || *text == '.' ? *text : '_';
    out[len] = '\0';
}

void report_percent(uint64_t ok, uint64_t n, char out[8])
{
    double p = n ? 100 * (double)ok / (double)n : 0;
    const char *sign = "";
    out[0] = '\0';
    if (!n)
        return;
    if (ok > 0 && p < 1) {
        sign = "<";
        p = 1;
    } else if (ok < n && p > 99) {
        sign = ">";
        p = 99;
    }
    snprintf(out, 8, "%s%.0f", sign, p);
}

void report_ms(double ms, char out[8])
{
    if (ms < 1)
        snprintf(out, 8, "<1");
    else if (ms < 999.5)
        snprintf(out, 8, "%.0f", ms);
    else if (ms < 9950)
        snprintf(out, 8, "%.1fs", ms / 1000);
    else
        snprintf(out, 8, "%.0fs", fmin(ms / 1000, 99999));
}

size_t report_name(struct report_names *names, const char *text)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->list[i], text) == 0)
            return i;
    if (names->n == names->cap) {
        size_t cap = names->cap ? 2 * names->cap : 32;
        const char **list = realloc(names->list, cap * sizeof(*list));
        if (!list)
            return SIZE_MAX;
        names->list = list;
        names->cap = cap;
    }
    names->list[names->n] = text;
    return names->n++;
}

void report_names_free(struct report_names *names)
{
    free(names->list);
    *names = (struct report_names){0};
}

/* ---- latencies ------------------------------------------------------------------------------- */

int report_sample_make(const struct report_set *set, report_take_fn *take, const void *user, struct report_sample *out)
{
    size_t n = 0;
    *out = (struct report_sample){0};
    for (size_t i = 0; i < set->n; i++)
        if (take(&set->cells[i], user)) {
            n += set->cells[i].n_connect;
            out->trials += set->cells[i].n;
        }
    out->ns = malloc((n + 1) * sizeof(*out->ns));
    if (!out->ns)
        return -ENOMEM;
    for (size_t i = 0; i < set->n; i++) {
        const struct report_cell *c = &set->cells[i];
        if (c->n_connect && take(c, user)) {
            memcpy(out->ns + out->n, c->connect_ns, c->n_connect * sizeof(*out->ns));
            out->n += c->n_connect;
        }
    }
    record_quantile(out->ns, out->n, 0.5); /* sorts */
    return 0;
}

void report_cdf(const struct report_sample *s, size_t most, report_point_fn *put, void *user)
{
    size_t step = s->n / most + 1;
    for (size_t i = 0; i < s->n; i += step)
        put(user, (double)s->ns[i], (double)(i + 1) / (double)s->trials);
    if (s->n)
        put(user, (double)s->ns[s->n - 1], (double)s->n / (double)s->trials);
}

struct report_axis report_axis(const struct report_sample *samples, size_t n)
{
    double lo = INFINITY, hi = 0;
    for (size_t i = 0; i < n; i++) {
        if (!samples[i].n)
            continue;
        lo = fmin(lo, (double)samples[i].ns[0] / 1e6);
        hi = fmax(hi, (double)samples[i].ns[samples[i].n - 1] / 1e6);
    }
    if (!(lo <= hi))
        return (struct report_axis){0, 1, false};
    if (hi / lo > 6)
        return (struct report_axis){lo / 1.15, hi * 1.15, true};
    double air = fmax((hi - lo) * 0.05, hi * 0.01);
    return (struct report_axis){fmax(0, lo - air), hi + air, false};
}

static double edge(const struct report_axis *a, size_t i, size_t n)
{
    double part = (double)i / (double)n;
    return a->logarithmic ? a->lo * pow(a->hi / a->lo, part) : a->lo + (a->hi - a->lo) * part;
}

void report_histogram(const struct report_sample *s, const struct report_axis *axis, struct report_bin *bins, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        struct report_bin *b = &bins[i];
        *b = (struct report_bin){.lo = edge(axis, i, n), .hi = edge(axis, i + 1, n)};
        size_t from = at;
        /* The last one takes what rounding leaves. */
        while (at < s->n && ((double)s->ns[at] / 1e6 < b->hi || i + 1 == n))
            at++;
        b->share = s->trials ? (double)(at - from) / (double)s->trials : 0;
    }
}
