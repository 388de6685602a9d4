/* Pins: control frames whose fields reach past the frame, text that is not text, lengths over the limit. */
#include <stdlib.h>
#include <string.h>

#include "bench/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void read_fields(struct wire_reader r, const uint8_t *buf, size_t len)
{
    const uint8_t *value;
    size_t value_len;
    uint16_t field;
    uint64_t number;
    union base_ep ep;
    char text[64];
    uint8_t nonce[WIRE_NONCE_LEN];
    unsigned sum = 0;
    const struct wire_reader start = r;
    while (wire_next(&r, &field, &value, &value_len)) {
        require(value >= buf && value_len <= len && value + value_len <= buf + len);
        for (size_t i = 0; i < value_len; i++)
            sum += value[i];
        wire_value_u64(value, value_len, &number);
        wire_value_ep(value, value_len, &ep);
    }
    for (uint16_t id = 0; id < 48; id++) {
        wire_get_u64(&start, id, &number);
        wire_get_ep(&start, id, &ep);
        wire_get_exact(&start, id, nonce, sizeof(nonce));
        if (wire_get_text(&start, id, text, sizeof(text)) == 0)
            require(strlen(text) < sizeof(text));
    }
    (void)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct wire_reader r;
    enum wire_frame_type type;
    int whole = wire_frame_len(data, len);
    require(whole < 0 || (whole >= WIRE_FRAME_HEADER && whole <= WIRE_FRAME_MAX));
    /* Bare fields: what travels in a WIRE_F_BODY. */
    if (wire_fields_open(data, len, &r) == 0)
        read_fields(r, data, len);
    if (whole < 0 || (size_t)whole > len)
        return 0;
    uint8_t *copy = malloc((size_t)whole);
    require(copy != NULL);
    memcpy(copy, data, (size_t)whole);
    if (wire_frame_open(copy, (size_t)whole, &type, &r) == 0)
        read_fields(r, copy, (size_t)whole);
    free(copy);
    return 0;
}
