/* Reading traces. Lines are bounded, nothing is kept but the last sample. */
#include <errno.h>
#include <string.h>

#include "predict/program.h"

/* Longer pauses than this a NAT's tables do not outlive: what came before says nothing about what comes. */
#define LONGEST_PAUSE_S 3600.0

static void say(const struct program_trace *t, const char *what)
{
    fprintf(stderr, "predict: %s, line %llu: %s\n", t->path, (unsigned long long)t->line, what);
}

/* False: the end (*bad: by an error). The line's length goes to *len. */
static bool read_line(struct program_trace *t, char *line, size_t size, size_t *len, bool *bad)
{
    size_t n = 0;
    int c;
    *bad = false;
    while ((c = getc_unlocked(t->file)) != EOF && c != '\n') {
        if (n + 1 == size) {
            t->line++;
            say(t, "longer than any sample");
            *bad = true;
            return false;
        }
        line[n++] = (char)c;
    }
    if (ferror(t->file)) {
        fprintf(stderr, "predict: cannot read %s: %s\n", t->path, strerror(errno));
        *bad = true;
    }
    t->line++;
    *len = n;
    return !*bad && (n > 0 || c != EOF);
}

bool program_trace_open(struct program_trace *t, const char *path)
{
    char line[PREDICT_TRACE_LINE];
    size_t len;
    bool bad;
    *t = (struct program_trace){.path = path};
    t->file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (!t->file) {
        fprintf(stderr, "predict: cannot open %s: %s\n", path, strerror(errno));
        return false;
    }
    bool any = read_line(t, line, sizeof(line), &len, &bad);
    while (any && len > 0 && line[len - 1] == '\r')
        len--;
    if (any && len == strlen(PREDICT_TRACE_HEADER) && memcmp(line, PREDICT_TRACE_HEADER, len) == 0)
        return true;
    if (!bad)
        fprintf(stderr, "predict: %s is no trace: its first line must be %s\n", path, PREDICT_TRACE_HEADER);
    program_trace_close(t);
    return false;
}

static bool is_duplicate(const struct predict_sample *a, const struct predict_sample *b)
{
    return a->t == b->t && predict_ep_equal(&a->local, &b->local) && predict_ep_equal(&a->remote, &b->remote) &&
           predict_ep_equal(&a->mapped, &b->mapped);
}

/* The first of a kind is told with its line, the others are counted. */
static void note(struct program_trace *t, uint64_t *count, const char *what)
{
    if ((*count)++ == 0)
        say(t, what);
}

enum program_next program_trace_next(struct program_trace *t, struct predict_sample *s)
{
    char line[PREDICT_TRACE_LINE];
    const char *why;
    size_t len;
    bool bad;
    for (;;) {
        if (!read_line(t, line, sizeof(line), &len, &bad))
            return bad ? PROGRAM_BAD : PROGRAM_END;
        if (predict_trace_parse(line, len, s, &why) < 0) {
            say(t, why);
            return PROGRAM_BAD;
        }
        bool first = t->last.mapped.len == 0;
        if (!first && s->mapped.len != t->last.mapped.len) {
            note(t, &t->families, "an address of the other family (IPv4, IPv6): left out, record them apart");
            continue;
        }
        if (!first && is_duplicate(s, &t->last)) {
            note(t, &t->duplicates, "the same sample again: left out");
            continue;
        }
        enum program_next next = PROGRAM_SAMPLE;
        if (!first && s->t < t->last.t) {
            note(t, &t->restarts, "time goes back: taken as another recording, from its beginning");
            next = PROGRAM_RESTART;
        } else if (!first && s->t - t->last.t > LONGEST_PAUSE_S) {
            note(t, &t->gaps, "more than an hour after the sample before: what came before is left aside");
            next = PROGRAM_RESTART;
        }
        t->last = *s;
        t->samples++;
        return next;
    }
}

void program_trace_close(struct program_trace *t)
{
    if (t->file && t->file != stdin)
        fclose(t->file);
    t->file = NULL;
}
