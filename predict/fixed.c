/* What others do: a window of fixed width around the last mapped port K, or a scan from it. */
#include "predict/internal.h"

static const struct {
    int first, last; /* from K */
} windows[PREDICT_N_KINDS] = {
    [PREDICT_FIXED_PLUS50] = {1, 50},
    [PREDICT_FIXED_PM10] = {-10, 10},
    [PREDICT_FIXED_MINUS20_PLUS30] = {-20, 30},
    [PREDICT_FIXED_SCAN] = {0, (int)(PORT_HI - PORT_LO)},
};

/* The i-th port of a window: outward from K where it has two sides, so that a smaller budget gets the better part. */
static int nth(enum predict_kind kind, int i)
{
    int below = -windows[kind].first, both = below > 0 ? 2 * below + 1 : 0;
    if (i < both)
        return i % 2 ? (i + 1) / 2 : -(i / 2);
    return below > 0 ? i - below : windows[kind].first + i;
}

size_t predict_fixed_rank(const struct predict_model *m, struct predict_candidate *out, size_t max)
{
    int width = windows[m->kind].last - windows[m->kind].first + 1;
    size_t n = 0;
    for (int i = 0; i < width && n < max; i++) {
        int64_t port = (int64_t)m->last_port + nth(m->kind, i);
        if (m->kind == PREDICT_FIXED_SCAN && port > PORT_HI)
            port -= PORT_HI - PORT_LO + 1;
        if (port < 1 || port > PORT_HI)
            continue;
        out[n] = (struct predict_candidate){.ep = m->pool[m->last], .p = 1.0 / width};
        out[n++].ep.port = (uint16_t)port;
    }
    return n;
}
