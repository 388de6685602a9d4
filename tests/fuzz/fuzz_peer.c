/* Pins: facts or a plan of the other peer that crash us, are half taken, or change when they are passed on; facts from
 * which no plan can be made without a crash; words about a path's quality that break the account of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const modes[] = {"hold", NULL};
static const struct peer_technique technique = {
    .name = "fuzz",
    .transport = PEER_TCP,
    .modes = modes,
    .options = peer_search_options,
    .n_options = PEER_SEARCH_N_OPTIONS,
};

static uint8_t first[WIRE_FRAME_MAX], second[WIRE_FRAME_MAX];

static void require(bool ok)
{
    if (!ok)
        abort();
}

/* A budget of its own keeps the search for one out of the fuzzer's time. */
static void plan_with(const struct peer_facts *a, const struct peer_facts *b)
{
    struct peer_options options;
    struct base_rng rng;
    struct peer_plan plan = {.predicted_p = NAN, .rtt_ns = BASE_NS_PER_MS};
    base_rng_seed(&rng, 1);
    peer_options_init(&options, &technique);
    peer_options_set(&options, &technique, "holes", "16");
    peer_options_set(&options, &technique, "probes", "4");
    if (peer_search_plan(a, b, &options, &rng, true, &plan) == 0) {
        require(peer_plan_encode(&plan, first, sizeof(first)) > 0);
        require(plan.search.holes <= 16);
    }
    peer_plan_free(&plan);
}

static void try_facts(const uint8_t *data, size_t len)
{
    struct peer_facts f, again;
    if (peer_facts_decode(data, len, &f) < 0)
        return;
    int n = peer_facts_encode(&f, first, sizeof(first));
    require(n > 0 && peer_facts_decode(first, (size_t)n, &again) == 0);
    int m = peer_facts_encode(&again, second, sizeof(second));
    require(n == m && memcmp(first, second, (size_t)n) == 0);
    plan_with(&f, &again);
    peer_facts_free(&f);
    peer_facts_free(&again);
}

static void try_plan(const uint8_t *data, size_t len)
{
    struct peer_plan p, again;
    static struct peer_holes holes;
    union base_ep ep;
    uint32_t made = 0;
    if (peer_plan_decode(data, len, &p) < 0)
        return;
    for (enum wire_role role = WIRE_ROLE_A; role <= WIRE_ROLE_B; role++, made = 0) {
        peer_holes_init(&holes, &p, role, 1);
        while (peer_holes_next(&holes, &ep))
            require(++made <= UINT16_MAX);
    }
    int n = peer_plan_encode(&p, first, sizeof(first));
    require(n < 0 || peer_plan_decode(first, (size_t)n, &again) == 0);
    peer_plan_free(&p);
    if (n >= 0)
        peer_plan_free(&again);
}

static void try_options(const uint8_t *data, size_t len)
{
    struct peer_options options;
    char text[1024], bad[64];
    if (len >= sizeof(text))
        return;
    memcpy(text, data, len);
    text[len] = '\0';
    peer_options_init(&options, &technique);
    if (peer_options_from_text(&options, &technique, text, bad, sizeof(bad)) == 0)
        require(peer_options_to_text(&options, &technique, (char *)first, sizeof(first)) > 0);
}

/* Messages of --quality one after the other, as a flow's other side may send them. */
static void try_quality(const uint8_t *data, size_t len)
{
    struct peer_quality_msg msg;
    struct peer_arrivals in;
    struct peer_flight out;
    uint64_t now = 1;
    peer_arrivals_init(&in);
    peer_flight_init(&out, BASE_NS_PER_MS, now);
    for (; len >= PEER_QUALITY_MSG_LEN; data += PEER_QUALITY_MSG_LEN, len -= PEER_QUALITY_MSG_LEN) {
        if (peer_quality_decode(data, len, &msg) < 0)
            continue;
        peer_quality_encode(&msg, first);
        require(memcmp(first, data, PEER_QUALITY_MSG_LEN) == 0);
        now += msg.ns % BASE_NS_PER_S;
        peer_arrivals_add(&in, msg.number, msg.amount % WIRE_PATH_MAX_DATA, now);
        require(in.received <= in.next);
        for (int i = 0; i < 5 && peer_flight_room(&out); i++)
            peer_flight_sent(&out, now);
        peer_flight_heard(&out, msg.number % (out.sent + 2), msg.amount, now);
        peer_flight_expired(&out, now);
        require(out.next <= out.sent && out.window >= 2 && out.window <= 8192);
    }
    require(peer_quality_bps(in.bytes, 0) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    try_facts(data, len);
    try_plan(data, len);
    try_options(data, len);
    try_quality(data, len);
    return 0;
}
