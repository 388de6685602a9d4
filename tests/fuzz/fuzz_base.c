/*
 * Endpoints and numbers as text: what people and other machines write. Pins: a read past the end, and an endpoint that
 * parses, prints, and then is another one.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A copy of exactly that length, so that the sanitizer sees the first byte too many. */
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    union base_ep ep, again;
    char buf[BASE_EP_STRLEN];
    if (base_ep_parse(text, &ep) == 0 &&
        (base_ep_parse(base_ep_format(&ep, buf), &again) < 0 || !base_ep_equal(&ep, &again)))
        abort();
    if (base_ep_parse_addr(text, &ep) == 0 &&
        (base_ep_parse_addr(base_ep_format_addr(&ep, buf), &again) < 0 || !base_ep_same_addr(&ep, &again)))
        abort();
    uint64_t value;
    if (base_parse_duration(text, &value) == 0 && value > 366ULL * 86400 * BASE_NS_PER_S)
        abort();
    if (base_parse_u64(text, 5, 9, &value) == 0 && (value < 5 || value > 9))
        abort();
    free(text);
    return 0;
}
