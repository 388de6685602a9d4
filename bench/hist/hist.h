/*
 * bench/hist: latency histograms that merge without loss, and the HdrHistogram V2 log that keeps them (latency.hlog),
 * which the public HdrHistogram tools open. Memory in, memory out: no I/O.
 *
 * Values are nanoseconds, as the tools' defaults expect of a log (they print milliseconds, and divide by 1e6 for it).
 * The layout is HdrHistogram's for 3 significant digits, a lowest discernible value of 1 ns and a highest trackable one
 * of 1 h. Below 2048 ns every value has a bucket of its own. Above, [1024 * 2^k, 2048 * 2^k) has 1024 buckets of 2^k
 * for k >= 1: a value differs from any other in its bucket by less than 2^k <= value / 1024, under 0.1 %.
 */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/base/base.h"

#define HIST_DIGITS 3
#define HIST_MAX_NS (3600 * BASE_NS_PER_S)

/* Buckets of one width, allocated together when the first value falls among them. */
#define HIST_PAGE_LEN 1024
/* 1 h >> 31 is 1676: index 31 * 1024 + 1676, in page 32. */
#define HIST_PAGES 33

/* All zero is empty. hist_clear() frees it. At most 33 pages of 8 KiB; latencies of one magnitude need two or three. */
struct hist {
    uint64_t total; /* values recorded; at most INT64_MAX, as the log's counts */
    uint64_t *pages[HIST_PAGES];
};

/* Empty again; frees what it owned. */
void hist_clear(struct hist *h);

/* ---- recording ------------------------------------------------------------------------------- */

/* These return 0; -ERANGE for a value over HIST_MAX_NS, -EOVERFLOW for more than INT64_MAX values in all, -ENOMEM.
 * Nothing is recorded then. */
int hist_record(struct hist *h, uint64_t ns);
int hist_record_n(struct hist *h, uint64_t ns, uint64_t count);
/* Corrected for coordinated omission: a value over expected_ns, the interval at which values were due, held up those
 * due after it, so ns - expected, ns - 2 * expected, ... are recorded too, down to expected_ns. 0 corrects nothing.
 * Takes a time bounded by the number of buckets, whatever the ratio. (Tene, "How NOT to Measure Latency", 2013.) */
int hist_record_corrected(struct hist *h, uint64_t ns, uint64_t count, uint64_t expected_ns);
/* As if all that was recorded in `from` had been recorded in `into`. They may be the same. */
int hist_add(struct hist *into, const struct hist *from);

/* ---- reading --------------------------------------------------------------------------------- */

/* The lowest and the highest value that are counted in the same bucket as ns <= HIST_MAX_NS. */
uint64_t hist_lowest_equivalent(uint64_t ns);
uint64_t hist_highest_equivalent(uint64_t ns);
/* Values recorded in the bucket of ns. */
uint64_t hist_count_at(const struct hist *h, uint64_t ns);

/* All of these depend on the counts alone, so a histogram reads the same after a merge or a round trip through a log,
 * and as HdrHistogram's tools read it. An empty one gives 0. */
uint64_t hist_min(const struct hist *h); /* lowest equivalent of the smallest value; tools leave zeros out of theirs */
uint64_t hist_max(const struct hist *h); /* highest equivalent of the largest value */
double hist_mean(const struct hist *h);  /* each value taken as its bucket's middle */
/* The smallest value that at least the fraction q of all values do not exceed, as its bucket's highest equivalent (q =
 * 0: the lowest equivalent of the smallest value). q outside of [0, 1] is clamped. */
uint64_t hist_quantile(const struct hist *h, double q);

/* Goes through the buckets that hold something, in ascending order: start with {0}; false at the end. */
struct hist_iter {
    size_t next;
    uint64_t lo, hi; /* the bucket's lowest and highest equivalent, ns */
    uint64_t count;  /* values in it, > 0 */
};
bool hist_next(const struct hist *h, struct hist_iter *it);

/* ---- the V2 compressed encoding, as base64 --------------------------------------------------- */

/*
 * base64( be32 0x1c849314, be32 length, zlib( header, payload ) ); the header is
 *
 *    0  be32  0x1c849313, "V2, LEB128 words"      16  be64  lowest discernible value
 *    4  be32  length of the payload               24  be64  highest trackable value
 *    8  be32  normalizing index offset            32  be64  ratio of integer to double (IEEE 754)
 *   12  be32  significant digits
 *
 * and the payload the counts from bucket 0 to the last that is not empty, ZigZag LEB128 in at most 9 bytes (the ninth
 * carries 8 bits), where a negative number -n stands for n empty buckets.
 */

/* *out becomes a NUL-terminated string that the caller frees. 0, or -ENOMEM. */
int hist_encode(const struct hist *h, char **out);
/*
 * Reads a payload of ours or of another writer into *out, which is overwritten and the caller's to clear. Other digits
 * and units are taken over as HdrHistogram's own add() does: each bucket's lowest equivalent value. Offset and ratio
 * mean nothing for integer values, and writers disagree on them: ignored. Foreign bytes: memory and time are bounded
 * by the layout, whatever they say. 0; -EBADMSG for what is corrupt or truncated, -EPROTONOSUPPORT for another
 * encoding than V2, -ERANGE for values over HIST_MAX_NS, -EOVERFLOW, -ENOMEM; *out is then empty.
 */
int hist_decode(const char *text, size_t len, struct hist *out);

/* ---- the log, format version 1.3 ------------------------------------------------------------- */

/* Bytes of a tag, without its NUL. */
#define HIST_TAG_MAX 255

/* The lines before the first interval: version, StartTime and BaseTime (start_ms, since the epoch), the legend. *out
 * becomes a string that the caller frees. 0, or -ENOMEM. */
int hist_log_head(uint64_t start_ms, char **out);
/* One interval: "Tag=TAG,start,length,max,payload\n"; start counts from the head's time; times in ms, max written in
 * ms. tag may be NULL or "": none. A tag may not hold what delimits the log: commas, quotes, '%', spaces, control
 * characters and bytes over 0x7e are written as %XX, which hist_log_parse() undoes. *out becomes a string that the
 * caller frees. 0, -ENAMETOOLONG for a tag over HIST_TAG_MAX, or -ENOMEM. */
int hist_log_line(const char *tag, uint64_t start_ms, uint64_t length_ms, const struct hist *h, char **out);

enum hist_log_kind {
    HIST_LOG_NOTHING,    /* a comment, the legend, an empty line */
    HIST_LOG_START_TIME, /* time_ms since the epoch */
    HIST_LOG_BASE_TIME,  /* time_ms since the epoch, which the intervals' times count from; none: they are absolute */
    HIST_LOG_INTERVAL,
};

struct hist_log_entry {
    enum hist_log_kind kind;
    uint64_t time_ms;
    uint64_t length_ms;
    char tag[HIST_TAG_MAX + 1]; /* "" = none */
    struct hist hist;           /* the caller's to clear */
};

/* Reads one line of a log, with or without its line end, into *out, which is overwritten. 0, or as hist_decode() does:
 * -EBADMSG for what is no line of a log; out->hist is then empty. */
int hist_log_parse(const char *line, size_t len, struct hist_log_entry *out);

#endif
