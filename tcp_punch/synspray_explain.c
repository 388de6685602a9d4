/* Why a search failed, as far as one side can tell from what became of its packets. */
#include <stdio.h>
#include <string.h>

#include "tcp_punch/synspray_internal.h"

/* SYN_RECV in /proc/net/tcp: a SYN came, our SYN-ACK went, and nothing confirmed it. */
#define STATE_SYN_RECV 3

static const char *const reasons[] = {
    "",
    "predict_miss", /* no hole and no probe met */
    "refused",      /* RSTs closed the holes, or answered the probes */
    "window_check", /* something came through, and no answer to it: the opener's NAT takes them for a stranger's */
    "capped",       /* descriptors, ports or the budget ran out */
    "no_holes",     /* the opener's holes were not ready in time */
};

uint8_t synspray_why_number(const char *why)
{
    for (size_t i = 0; i < BASE_ARRAY_LEN(reasons); i++)
        if (strcmp(reasons[i], why) == 0)
            return (uint8_t)i;
    return 0;
}

const char *synspray_why_name(uint8_t number)
{
    return reasons[number < BASE_ARRAY_LEN(reasons) ? number : 0];
}

static unsigned count_half_open(const char *path, uint16_t port)
{
    char line[512];
    unsigned n = 0, local, state;
    FILE *in = fopen(path, "re");
    if (!in)
        return 0;
    while (fgets(line, sizeof(line), in))
        if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x", &local, &state) == 2)
            n += local == port && state == STATE_SYN_RECV;
    fclose(in);
    return n;
}

static unsigned half_open(const struct synspray *s)
{
    union base_ep local = {0};
    socklen_t len = sizeof(local);
    if (s->listen_fd < 0 || getsockname(s->listen_fd, &local.sa, &len) < 0)
        return 0;
    return count_half_open(local.sa.sa_family == AF_INET6 ? "/proc/net/tcp6" : "/proc/net/tcp", base_ep_port(&local));
}

struct synspray_verdict synspray_judge(const struct synspray *s, enum record_outcome outcome)
{
    unsigned unconfirmed = s->opener ? half_open(s) : 0;
    if (unconfirmed > 0)
        peer_trial_field(s->trial, "half_open", json_integer(unconfirmed));
    if (outcome == RECORD_AUTH_FAILED || s->search.known)
        return (struct synspray_verdict){outcome, ""};
    if (unconfirmed > 0 || s->live > 0)
        return (struct synspray_verdict){RECORD_TIMEOUT, "window_check"};
    if (s->capped)
        return (struct synspray_verdict){RECORD_TIMEOUT, "capped"};
    if (s->refused > 0 && s->refused >= s->done / 2)
        return (struct synspray_verdict){RECORD_REFUSED, "refused"};
    /* The deadline came first: a machine that had no time for it. */
    bool holes_ready = s->opener ? s->told_ready : s->other_ready_ns != 0;
    if (!holes_ready)
        return (struct synspray_verdict){RECORD_TIMEOUT, "no_holes"};
    return (struct synspray_verdict){RECORD_PREDICT_MISS, "predict_miss"};
}
