/* Base64, RFC 4648 section 4. */
#include <errno.h>
#include <string.h>

#include "bench/hist/internal.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t hist_base64_encode(const uint8_t *data, size_t len, char *out)
{
    char *at = out;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t three = (uint32_t)data[i] << 16;
        three |= left > 1 ? (uint32_t)data[i + 1] << 8 : 0;
        three |= left > 2 ? data[i + 2] : 0;
        *at++ = alphabet[three >> 18];
        *at++ = alphabet[three >> 12 & 63];
        *at++ = left > 1 ? alphabet[three >> 6 & 63] : '=';
        *at++ = left > 2 ? alphabet[three & 63] : '=';
    }
    *at = '\0';
    return (size_t)(at - out);
}

/* The six bits of a character, or -1. */
static int sextet(char c)
{
    const char *at = c == '\0' ? NULL : strchr(alphabet, c);
    return at ? (int)(at - alphabet) : -1;
}

ptrdiff_t hist_base64_decode(const char *text, size_t len, uint8_t *out)
{
    if (len % 4 != 0)
        return -EBADMSG;
    size_t pad = 0;
    while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
        pad++;
    uint8_t *at = out;
    for (size_t i = 0; i < len; i += 4) {
        uint32_t four = 0;
        for (size_t j = i; j < i + 4; j++) {
            int bits = j >= len - pad ? 0 : sextet(text[j]);
            if (bits < 0)
                return -EBADMSG;
            four = four << 6 | (uint32_t)bits;
        }
        *at++ = (uint8_t)(four >> 16);
        *at++ = (uint8_t)(four >> 8);
        *at++ = (uint8_t)four;
    }
    return at - out - (ptrdiff_t)pad;
}
