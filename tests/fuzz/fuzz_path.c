/* Pins: a path message that is taken without its proof, or whose own proof is refused. */
#include <stdlib.h>
#include <string.h>

#include "bench/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct wire_path_keys keys = {.key = "fuzz", .nonce_a = "a", .nonce_b = "b", .trial = 1};
    struct wire_path_msg msg = {0}, again;
    uint8_t buf[WIRE_PATH_LEN];
    int err = wire_path_decode(&keys, WIRE_ROLE_A, data, len, &msg);
    if (err == 0) {
        /* A seed holds a right proof: exactly these bytes are what encodes to it. */
        wire_path_encode(&keys, WIRE_ROLE_A, &msg, buf);
        require(memcmp(buf, data, sizeof(buf)) == 0);
        require(wire_path_decode(&keys, WIRE_ROLE_B, data, len, &again) < 0);
    }
    /* The fuzzer cannot make a MAC: prove whatever the bytes say, and see whether it is taken. */
    if (len < sizeof(msg))
        return 0;
    memcpy(&msg, data, sizeof(msg));
    keys.trial = msg.trial;
    wire_path_encode(&keys, WIRE_ROLE_B, &msg, buf);
    err = wire_path_decode(&keys, WIRE_ROLE_B, buf, sizeof(buf), &again);
    bool fits =
        msg.data_len <= WIRE_PATH_MAX_DATA && (!msg.data_len || msg.flags & (WIRE_PATH_DATA | WIRE_PATH_MEASURE));
    require((err == 0) == fits);
    if (fits)
        require(again.path_id == msg.path_id && again.peer_path_id == msg.peer_path_id && again.flags == msg.flags);
    return 0;
}
