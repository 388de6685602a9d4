/*
 * A latency log for tests/dev/hlog-check: `hlog write` makes one, `hlog dump` says what stands in the one on stdin, in
 * the words of hlog-check.js, so that the two compare as text.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/hist/hist.h"

#define START_MS 1700000000123ULL

static void die(const char *what, int err)
{
    fprintf(stderr, "hlog: %s: %s\n", what, strerror(-err));
    exit(1);
}

static void must(int err, const char *what)
{
    if (err < 0)
        die(what, err);
}

static void write_interval(const char *tag, uint64_t start_ms, struct hist *h)
{
    char *line;
    must(hist_log_line(tag, start_ms, 1500, h, &line), "interval");
    fputs(line, stdout);
    free(line);
    hist_clear(h);
}

/* One interval for each thing that an encoding can get wrong. */
static int write_log(void)
{
    char *head;
    must(hist_log_head(START_MS, &head), "head");
    fputs(head, stdout);
    free(head);
    struct hist h = {0};
    write_interval("empty", 0, &h);
    must(hist_record(&h, 40000000), "one value");
    write_interval("one", 1, &h);
    must(hist_record(&h, HIST_MAX_NS), "the maximum");
    write_interval("max", 2000, &h);
    must(hist_record_corrected(&h, 1000000000, 3, 10000000), "corrected");
    write_interval("corrected", 3000, &h);
    /* Counts of every length that LEB128 has, as far as doubles tell quantiles apart. */
    for (unsigned bit = 0; bit < 48; bit++)
        must(hist_record_n(&h, 1000 + 1000 * bit, 1ULL << bit), "counts");
    write_interval("counts, with spaces", 4000, &h);
    struct base_rng rng;
    base_rng_seed(&rng, 7);
    for (unsigned i = 0; i < 100000; i++)
        must(hist_record(&h, base_rng_u64(&rng) % HIST_MAX_NS >> base_rng_below(&rng, 42)), "random");
    write_interval("random", 123456, &h);
    for (unsigned i = 0; i < 100; i++)
        must(hist_record(&h, 20000000 + base_rng_below(&rng, 60000000)), "untagged");
    write_interval(NULL, 200000, &h);
    return 0;
}

/* Buckets of another layout have other upper ends: of those only what stays the same is said. */
static void dump(const struct hist_log_entry *e)
{
    static const double q[] = {0, 0.07, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
    const struct hist *h = &e->hist;
    printf("tag %s\nstart %" PRIu64 "\nlength %" PRIu64 "\ntotal %" PRIu64 "\n", e->tag, e->time_ms, e->length_ms,
           h->total);
    if (strncmp(e->tag, "foreign", 7) != 0) {
        printf("max %" PRIu64 "\nmean %.3f\n", hist_max(h), hist_mean(h));
        for (size_t i = 0; i < BASE_ARRAY_LEN(q); i++)
            printf("q%g %" PRIu64 "\n", q[i], hist_quantile(h, q[i]));
    }
    struct hist_iter it = {0};
    while (hist_next(h, &it))
        printf("bucket %" PRIu64 " %" PRIu64 "\n", it.lo, it.count);
}

static int dump_log(void)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    while ((len = getline(&line, &size, stdin)) > 0) {
        struct hist_log_entry e;
        must(hist_log_parse(line, (size_t)len, &e), line);
        if (e.kind == HIST_LOG_BASE_TIME)
            printf("base %" PRIu64 "\n", e.time_ms);
        if (e.kind == HIST_LOG_INTERVAL)
            dump(&e);
        hist_clear(&e.hist);
    }
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "write") == 0)
        return write_log();
    if (argc == 2 && strcmp(argv[1], "dump") == 0)
        return dump_log();
    fprintf(stderr, "usage: hlog write >LOG | hlog dump <LOG\n");
    return 1;
}
