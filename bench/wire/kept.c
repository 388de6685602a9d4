/* Frames that outlive their connection. */
#include <errno.h>
#include <stdlib.h>

#include "bench/wire/internal.h"

bool wire_frame_lasts(enum wire_frame_type type)
{
    switch (type) {
    case WIRE_READY:
    case WIRE_TRIAL:
    case WIRE_FACTS:
    case WIRE_PLAN:
    case WIRE_REPORT:
    case WIRE_RECORD:
    case WIRE_ABORT:
    case WIRE_BYE:
    case WIRE_NOTE:
        return true;
    default:
        return false;
    }
}

static int reserve(struct wire_kept *k, size_t need)
{
    size_t cap = k->cap ? k->cap : 512, max = k->max ? k->max : WIRE_KEPT_MAX;
    if (need > max)
        return -ENOSPC;
    while (cap < need)
        cap *= 2;
    if (cap == k->cap)
        return 0;
    uint8_t *grown = realloc(k->bytes, cap);
    if (!grown)
        return -ENOMEM;
    k->bytes = grown;
    k->cap = cap;
    return 0;
}

void wire_kept_add(struct wire_kept *k, const uint8_t *frame, size_t len)
{
    k->next++;
    if (k->torn)
        return;
    if (reserve(k, k->len + len) < 0) {
        k->torn = true;
        return;
    }
    memcpy(k->bytes + k->len, frame, len);
    k->len += len;
}

int wire_kept_drop(struct wire_kept *k, uint64_t received)
{
    size_t at = 0;
    if (received > k->next)
        return -EPROTO;
    /* Less than before: it was said earlier, on a connection that is gone. */
    for (; k->first < received && at < k->len; k->first++) {
        int len = wire_frame_len(k->bytes + at, k->len - at);
        if (len <= 0)
            return -EPROTO;
        at += (size_t)len;
    }
    if (received == k->next) {
        k->first = received;
        k->torn = false;
    }
    if (at == k->len) {
        free(k->bytes);
        k->bytes = NULL;
        k->len = k->cap = 0;
    } else if (at) {
        memmove(k->bytes, k->bytes + at, k->len - at);
        k->len -= at;
    }
    return 0;
}

size_t wire_kept_next(const struct wire_kept *k, size_t *at, const uint8_t **frame)
{
    int len = *at < k->len ? wire_frame_len(k->bytes + *at, k->len - *at) : 0;
    if (len <= 0)
        return 0;
    *frame = k->bytes + *at;
    *at += (size_t)len;
    return (size_t)len;
}

void wire_kept_free(struct wire_kept *k)
{
    free(k->bytes);
    *k = (struct wire_kept){0};
}
