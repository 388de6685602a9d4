/*
 * Latency logs as other machines write them. The first byte says what the rest is: '#' what stands inside of the
 * deflated payload, which a fuzzer cannot get its checksum past; anything else, with the byte, a line of a log. Pins: a
 * read past the end, a count out of bounds, and a histogram that is read and then is another one.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "bench/hist/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct hist *h)
{
    uint64_t sum = 0, last = 0;
    struct hist_iter it = {0}, again = {0};
    while (hist_next(h, &it)) {
        if (it.lo < last || it.hi < it.lo || it.count == 0)
            abort();
        last = it.hi + 1;
        sum += it.count;
    }
    if (sum != h->total || hist_quantile(h, 0.5) > hist_max(h) || hist_min(h) > hist_quantile(h, 0.5))
        abort();
    char *text;
    struct hist back;
    if (hist_encode(h, &text) < 0 || hist_decode(text, strlen(text), &back) < 0 || back.total != h->total)
        abort();
    it = (struct hist_iter){0};
    while (hist_next(h, &it))
        if (!hist_next(&back, &again) || again.lo != it.lo || again.count != it.count)
            abort();
    free(text);
    hist_clear(&back);
}

static void fuzz_plain(const uint8_t *plain, size_t size)
{
    uLongf len = compressBound(size);
    uint8_t *packed = malloc(HIST_OUTER_LEN + len);
    if (!packed)
        return;
    if (compress2(packed + HIST_OUTER_LEN, &len, plain, size, 1) != Z_OK)
        abort();
    const uint8_t outer[HIST_OUTER_LEN] = {
        0x1c, 0x84, 0x93, 0x14, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};
    memcpy(packed, outer, sizeof(outer));
    char *text = malloc(HIST_BASE64_LEN(HIST_OUTER_LEN + len));
    struct hist h;
    if (text && hist_decode(text, hist_base64_encode(packed, HIST_OUTER_LEN + len, text), &h) == 0) {
        check(&h);
        hist_clear(&h);
    }
    free(text);
    free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == '#')
        fuzz_plain(data + 1, size - 1);
    struct hist_log_entry e;
    if (hist_log_parse((const char *)data, size, &e) == 0 && e.kind == HIST_LOG_INTERVAL)
        check(&e.hist);
    hist_clear(&e.hist);
    return 0;
}
