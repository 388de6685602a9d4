/* Notes of the technique `relay`: {kind u8} and then, by kind, {port u16, address} or {fate u8}. */
#include <errno.h>
#include <string.h>

#include "bench/baseline/relay.h"

size_t relay_note_encode(const struct relay_note *note, uint8_t out[RELAY_NOTE_MAX])
{
    size_t len = 0;
    out[0] = (uint8_t)note->kind;
    out[1] = (uint8_t)note->fate;
    if (note->kind == RELAY_NOTE_READY)
        return 1;
    if (note->kind == RELAY_NOTE_FAILED)
        return 2;
    const uint8_t *addr = base_ep_bytes(&note->at, &len);
    out[1] = (uint8_t)(base_ep_port(&note->at) >> 8);
    out[2] = (uint8_t)base_ep_port(&note->at);
    memcpy(out + 3, addr, len);
    return 3 + len;
}

int relay_note_decode(const uint8_t *buf, size_t len, struct relay_note *out)
{
    *out = (struct relay_note){.fate = BASELINE_TURN_OK};
    if (len == 1 && buf[0] == RELAY_NOTE_READY) {
        out->kind = RELAY_NOTE_READY;
    } else if (len == 2 && buf[0] == RELAY_NOTE_FAILED && buf[1] < BASELINE_TURN_FATES) {
        out->kind = RELAY_NOTE_FAILED;
        out->fate = (enum baseline_turn_fate)buf[1];
    } else if ((len == 7 || len == 19) && buf[0] == RELAY_NOTE_AT) {
        out->kind = RELAY_NOTE_AT;
        out->at = base_ep_from_bytes(len == 7 ? AF_INET : AF_INET6, buf + 3, (uint16_t)(buf[1] << 8 | buf[2]));
    } else {
        return -EBADMSG;
    }
    return 0;
}
