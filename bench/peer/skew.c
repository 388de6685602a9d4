/*
 * --skew: one side begins later than the common start instant. What S forwards to it meanwhile from the other side's
 * technique waits for it: that goes over a stream, and no late reader would miss it.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/peer/internal.h"

/* A technique says a few words in a trial; who says more than this has gone wrong. */
#define KEPT_MAX 65536

uint64_t peer_skew_ns(const struct peer_options *options, enum wire_role role)
{
    int64_t skew = peer_option_offset(options, "skew");
    if (role == WIRE_ROLE_A)
        skew = -skew;
    return skew > 0 ? (uint64_t)skew : 0;
}

void peer_skew_keep(struct peer_skew_notes *kept, const uint8_t *note, size_t len)
{
    size_t size = sizeof(len) + len;
    if (size > KEPT_MAX - kept->len)
        return;
    uint8_t *grown = realloc(kept->bytes, kept->len + size);
    if (!grown)
        return;
    memcpy(grown + kept->len, &len, sizeof(len));
    memcpy(grown + kept->len + sizeof(len), note, len);
    kept->bytes = grown;
    kept->len += size;
}

bool peer_skew_next(const struct peer_skew_notes *kept, size_t *at, struct peer_event *event)
{
    size_t len;
    if (*at == kept->len)
        return false;
    memcpy(&len, kept->bytes + *at, sizeof(len));
    *event = (struct peer_event){.kind = PEER_EVENT_NOTE, .note = kept->bytes + *at + sizeof(len), .note_len = len};
    *at += sizeof(len) + len;
    return true;
}

void peer_skew_free(struct peer_skew_notes *kept)
{
    free(kept->bytes);
    *kept = (struct peer_skew_notes){0};
}
