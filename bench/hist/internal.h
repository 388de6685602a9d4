/* bench/hist, for its own files only. */
#ifndef BENCH_HIST_INTERNAL_H
#define BENCH_HIST_INTERNAL_H

#include "bench/hist/hist.h"

/* log2 of HIST_PAGE_LEN. */
#define HIST_HALF_BITS 10
#define HIST_INDICES   ((size_t)HIST_PAGES * HIST_PAGE_LEN)

/* The count in a bucket, and the bucket's lowest value. index < HIST_INDICES. */
uint64_t hist_count_index(const struct hist *h, size_t index);
uint64_t hist_index_value(size_t index);
/* One past the last bucket that holds something; 0 for an empty histogram. */
size_t hist_used(const struct hist *h);

/* The second nibble from the right holds the word size, 1 for LEB128; readers mask it. */
#define HIST_COOKIE_V2            0x1c849303U
#define HIST_COOKIE_V2_COMPRESSED 0x1c849304U
#define HIST_COOKIE_WORD          0x10U
#define HIST_COOKIE_WORD_MASK     0xf0U
#define HIST_OUTER_LEN            8
#define HIST_HEADER_LEN           40
#define HIST_LEB128_MAX           9

/* Bytes that hist_base64_encode() writes, with the NUL. */
#define HIST_BASE64_LEN(n) (((n) + 2) / 3 * 4 + 1)
/* RFC 4648, section 4, with padding. Returns the length without the NUL. */
size_t hist_base64_encode(const uint8_t *data, size_t len, char *out);
/* out has room for len / 4 * 3 bytes. The number of bytes, or -EBADMSG. */
ptrdiff_t hist_base64_decode(const char *text, size_t len, uint8_t *out);

#endif
