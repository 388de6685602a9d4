/* --quality, what is pure of it: messages, round trips, the window of what is in flight, the account of what came. */
#include <errno.h>
#include <math.h>

#include "bench/peer/quality.h"

/* ---- messages -------------------------------------------------------------------------------- */

static uint8_t *put_u64(uint8_t *p, uint64_t value)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        *p++ = (uint8_t)(value >> shift);
    return p;
}

static const uint8_t *get_u64(const uint8_t *p, uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < 8; i++)
        *value = *value << 8 | *p++;
    return p;
}

void peer_quality_encode(const struct peer_quality_msg *msg, uint8_t out[PEER_QUALITY_MSG_LEN])
{
    out[0] = (uint8_t)msg->kind;
    out[1] = msg->ask;
    uint8_t *p = put_u64(out + 2, msg->number);
    p = put_u64(p, msg->amount);
    put_u64(p, msg->ns);
}

int peer_quality_decode(const uint8_t *buf, size_t len, struct peer_quality_msg *out)
{
    *out = (struct peer_quality_msg){.kind = PEER_QUALITY_KINDS};
    if (len < PEER_QUALITY_MSG_LEN || buf[0] < PEER_QUALITY_PING || buf[0] >= PEER_QUALITY_KINDS || buf[1] > 1)
        return -EBADMSG;
    out->kind = (enum peer_quality_kind)buf[0];
    out->ask = buf[1];
    const uint8_t *p = get_u64(buf + 2, &out->number);
    p = get_u64(p, &out->amount);
    get_u64(p, &out->ns);
    return 0;
}

/* ---- round trips ----------------------------------------------------------------------------- */

void peer_rtts_add(struct peer_rtts *r, uint64_t ns)
{
    if (r->n < PEER_QUALITY_PINGS)
        r->ns[r->n++] = ns;
}

struct peer_rtt_summary peer_rtts_summary(struct peer_rtts *r)
{
    return (struct peer_rtt_summary){
        .min = record_quantile(r->ns, r->n, 0),
        .p50 = record_quantile(r->ns, r->n, 0.5),
        .max = record_quantile(r->ns, r->n, 1),
    };
}

/* ---- datagrams out --------------------------------------------------------------------------- */

/* RFC 6928's initial window, in datagrams. */
#define WINDOW_FIRST 10
#define WINDOW_LEAST 2
/* 1 Gbit/s over 80 ms. */
#define WINDOW_MOST 8192
#define ASK_EACH    4
/* RFC 9438: what is left of the window after a loss, and how fast it comes back (datagrams/s^3). */
#define BETA    0.7
#define CUBIC_C 0.4
/* Half as much again each round trip, not twice: what is beyond the path's queue is lost. */
#define SLOW_START 0.5
/* Beyond two round trips; what a queue may suddenly add. */
#define SILENCE_NS (200 * BASE_NS_PER_MS)

void peer_flight_init(struct peer_flight *f, uint64_t rtt_ns, uint64_t now_ns)
{
    *f = (struct peer_flight){.window = WINDOW_FIRST, .threshold = WINDOW_MOST, .rtt_ns = rtt_ns, .last_ns = now_ns};
}

/* What was heard of, or given up. */
static uint64_t settled(const struct peer_flight *f)
{
    return f->next > f->given_up ? f->next : f->given_up;
}

static uint64_t in_flight(const struct peer_flight *f)
{
    return f->sent - settled(f);
}

uint64_t peer_flight_room(const struct peer_flight *f)
{
    uint64_t used = in_flight(f), window = (uint64_t)f->window;
    return used < window ? window - used : 0;
}

bool peer_flight_asks(const struct peer_flight *f)
{
    return f->sent % ASK_EACH == ASK_EACH - 1 || peer_flight_room(f) == 1;
}

void peer_flight_sent(struct peer_flight *f, uint64_t now_ns)
{
    if (!f->timed_ns && peer_flight_asks(f)) {
        f->timed = f->sent;
        f->timed_ns = now_ns;
    }
    f->sent++;
    f->last_ns = now_ns;
}

static void set_window(struct peer_flight *f, double window)
{
    f->window = window < WINDOW_LEAST ? WINDOW_LEAST : window > WINDOW_MOST ? WINDOW_MOST : window;
}

static void time_it(struct peer_flight *f, uint64_t now_ns)
{
    if (!f->timed_ns || f->next <= f->timed)
        return;
    f->rtt_ns = now_ns - f->timed_ns;
    f->timed_ns = 0;
}

/* Where the window should be a round trip from now (RFC 9438, 4.2). */
static double cubic(struct peer_flight *f, uint64_t now_ns)
{
    if (!f->epoch_ns) {
        f->epoch_ns = now_ns;
        f->knee_s = cbrt(fmax(0, f->before - f->window) / CUBIC_C);
    }
    double s = (double)(now_ns - f->epoch_ns + f->rtt_ns) / 1e9 - f->knee_s;
    return CUBIC_C * s * s * s + f->before;
}

static void grow(struct peer_flight *f, double news, uint64_t now_ns)
{
    double most = news * SLOW_START;
    if (f->window < f->threshold)
        set_window(f, f->window + most);
    else /* at least as RFC 5681 has it: one a round trip */
        set_window(f, f->window + fmin(most, news / f->window * fmax(1, cubic(f, now_ns) - f->window)));
}

/* What was given up comes all the same: it was the machine or a queue that was slow (RFC 5682), nothing is lost. */
static bool take_back(struct peer_flight *f, uint64_t heard, uint64_t lost)
{
    if (f->given_up <= heard || f->next <= heard || lost > f->lost)
        return false;
    f->window = f->kept;
    f->threshold = f->kept_threshold;
    f->given_up = 0;
    return true;
}

static void shrink(struct peer_flight *f)
{
    f->before = f->window;
    f->epoch_ns = 0;
    f->recover = f->sent;
    set_window(f, f->window * BETA);
    f->threshold = f->window;
}

void peer_flight_heard(struct peer_flight *f, uint64_t next, uint64_t lost, uint64_t now_ns)
{
    if (next > f->sent || next < f->next)
        return;
    /* A window that is not used says nothing of the path. */
    bool used = (double)in_flight(f) >= f->window / 2;
    uint64_t before = settled(f), heard = f->next;
    f->next = next;
    double news = (double)(settled(f) - before);
    f->last_ns = now_ns;
    time_it(f, now_ns);
    if (take_back(f, heard, lost)) {
        f->lost = lost;
        return;
    }
    if (lost > f->lost && next > f->recover) {
        shrink(f);
    } else if (used) {
        grow(f, news, now_ns);
    }
    f->lost = lost;
}

bool peer_flight_expired(struct peer_flight *f, uint64_t now_ns)
{
    if (in_flight(f) == 0 || now_ns < f->last_ns + 2 * f->rtt_ns + SILENCE_NS)
        return false;
    /* One silence is one loss, however long it is. */
    if (f->given_up <= f->next) {
        f->kept = f->window;
        f->kept_threshold = f->threshold;
        shrink(f);
    }
    f->window = WINDOW_LEAST;
    f->given_up = f->sent;
    f->recover = f->sent + WINDOW_LEAST;
    f->timed_ns = 0;
    f->last_ns = now_ns;
    return true;
}

/* ---- what came ------------------------------------------------------------------------------- */

#define SEEN_BITS 64
/* RFC 5681: three later ones make a missing one a lost one. */
#define REORDERED 3

void peer_arrivals_init(struct peer_arrivals *a)
{
    *a = (struct peer_arrivals){.seen = UINT64_MAX};
}

/* Each step looks at one more number that is now so far back that it counts as lost. */
static void advance(struct peer_arrivals *a, uint64_t steps)
{
    uint64_t near = steps < SEEN_BITS ? steps : SEEN_BITS;
    for (uint64_t i = 0; i < near; i++) {
        a->seen <<= 1;
        a->lost += !(a->seen >> REORDERED & 1);
    }
    a->lost += steps - near;
    a->next += steps;
}

/* Whether it is new. */
static bool mark(struct peer_arrivals *a, uint64_t number)
{
    if (number >= a->next)
        advance(a, number - a->next + 1);
    uint64_t back = a->next - 1 - number;
    if (back >= SEEN_BITS || (a->seen >> back & 1))
        return false;
    a->seen |= 1ULL << back;
    a->lost -= back >= REORDERED;
    return true;
}

bool peer_arrivals_add(struct peer_arrivals *a, uint64_t number, uint64_t bytes, uint64_t now_ns)
{
    if (number == UINT64_MAX || !mark(a, number))
        return false;
    /* The time runs from the first arrival: what came with it took none of it. */
    if (a->received == 0)
        a->first_ns = a->last_ns = now_ns;
    if (now_ns > a->first_ns) {
        a->bytes += bytes;
        a->last_ns = now_ns;
    }
    a->received++;
    return true;
}

uint64_t peer_quality_bps(uint64_t bytes, uint64_t ns)
{
    double bps = ns ? (double)bytes * 8e9 / (double)ns : 0;
    return bps < 0x1p63 ? (uint64_t)bps : UINT64_MAX / 2;
}
