/* Pins: a STUN answer from a stranger that is read past its end, or a mapped endpoint that no host can have. */
#include <stdlib.h>
#include <string.h>

#include "bench/discover/discover.h"

#define TXID_AT 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool ok)
{
    if (!ok)
        abort();
}

/* The first byte chooses the family, and whether the transaction id is the right one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t txid[WIRE_STUN_TXID_LEN] = "transaction";
    struct discover_answer answer;
    if (len < 1)
        return 0;
    sa_family_t family = data[0] & 1 ? AF_INET6 : AF_INET;
    if (data[0] & 2 && len >= 1 + TXID_AT + sizeof(txid))
        memcpy(txid, data + 1 + TXID_AT, sizeof(txid));
    enum discover_verdict verdict = discover_read_answer(data + 1, len - 1, txid, family, &answer);
    require(verdict < DISCOVER_N_VERDICTS && strlen(discover_verdict_text(verdict)) > 1);
    require((verdict == DISCOVER_ANSWER) == base_ep_is_set(&answer.mapped));
    /* An error without its number is one, too. */
    require(verdict == DISCOVER_ERROR || answer.error == 0);
    if (verdict != DISCOVER_ANSWER)
        return 0;
    require(answer.mapped.sa.sa_family == family && base_ep_port(&answer.mapped) && !base_ep_is_any(&answer.mapped));
    require(!base_ep_is_set(&answer.other) || answer.other.sa.sa_family == family);
    return 0;
}
