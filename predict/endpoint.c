/* Endpoints as text. The room has its own: it stands below bench/base. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "predict/internal.h"

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool predict_ep_same_address(const struct predict_ep *a, const struct predict_ep *b)
{
    return a->len == b->len && a->len <= sizeof(a->addr) && memcmp(a->addr, b->addr, a->len) == 0;
}

bool predict_ep_equal(const struct predict_ep *a, const struct predict_ep *b)
{
    return a->port == b->port && predict_ep_same_address(a, b);
}

char *predict_ep_text(const struct predict_ep *ep, char *buf, size_t size)
{
    char host[INET6_ADDRSTRLEN];
    bool v4 = ep->len == 4;
    if ((!v4 && ep->len != 16) || !inet_ntop(v4 ? AF_INET : AF_INET6, ep->addr, host, sizeof(host)))
        snprintf(buf, size, "-");
    else
        snprintf(buf, size, v4 ? "%s:%u" : "[%s]:%u", host, ep->port);
    return buf;
}

/* Digits only, 0 to 65535. */
static int parse_port(const char *text, size_t len, uint16_t *port)
{
    uint32_t value = 0;
    if (len == 0 || len > 5)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EINVAL;
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= UINT16_MAX ? 0 : -EINVAL;
}

int predict_ep_parse(const char *text, size_t len, struct predict_ep *ep)
{
    char host[INET6_ADDRSTRLEN];
    struct predict_ep parsed = {0};
    if (len == 1 && text[0] == '-') {
        *ep = parsed;
        return 0;
    }
    bool v6 = len > 0 && text[0] == '[';
    const char *colon = memrchr(text, ':', len), *begin = text + v6;
    if (!colon || colon <= begin + v6 || (v6 && colon[-1] != ']'))
        return -EINVAL;
    size_t host_len = (size_t)(colon - begin) - v6;
    if (host_len >= sizeof(host) || memchr(begin, 0, host_len))
        return -EINVAL;
    memcpy(host, begin, host_len);
    host[host_len] = 0;
    parsed.len = v6 ? 16 : 4;
    if (inet_pton(v6 ? AF_INET6 : AF_INET, host, parsed.addr) != 1 ||
        parse_port(colon + 1, len - (size_t)(colon + 1 - text), &parsed.port) < 0)
        return -EINVAL;
    if (v6 && memcmp(parsed.addr, v4_mapped, sizeof(v4_mapped)) == 0) {
        memmove(parsed.addr, parsed.addr + 12, 4);
        memset(parsed.addr + 4, 0, 12);
        parsed.len = 4;
    }
    *ep = parsed;
    return 0;
}
