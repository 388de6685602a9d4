/* Endpoints: parsing, printing, comparing. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/base/base.h"

static int parse_port(const char *text, uint16_t *port)
{
    uint64_t value;
    if (base_parse_u64(text, 0, 65535, &value) < 0)
        return -EINVAL;
    *port = (uint16_t)value;
    return 0;
}

int base_ep_parse_addr(const char *text, union base_ep *out)
{
    union base_ep ep;
    memset(&ep, 0, sizeof(ep));
    if (inet_pton(AF_INET, text, &ep.v4.sin_addr) == 1)
        ep.v4.sin_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &ep.v6.sin6_addr) == 1)
        ep.v6.sin6_family = AF_INET6;
    else
        return -EINVAL;
    *out = ep;
    return 0;
}

int base_ep_parse(const char *text, union base_ep *out)
{
    char addr[BASE_EP_STRLEN];
    const char *colon = strrchr(text, ':');
    if (!colon)
        return -EINVAL;
    const char *begin = text, *end = colon;
    bool bracketed = text[0] == '[';
    if (bracketed) {
        begin++;
        end--;
        if (end < begin || *end != ']')
            return -EINVAL;
    }
    size_t len = (size_t)(end - begin);
    if (len == 0 || len >= sizeof(addr))
        return -EINVAL;
    memcpy(addr, begin, len);
    addr[len] = '\0';

    union base_ep ep;
    uint16_t port;
    if (base_ep_parse_addr(addr, &ep) < 0 || parse_port(colon + 1, &port) < 0)
        return -EINVAL;
    /* "::1:80" would be ambiguous, and "[10.0.0.1]:80" is no notation at all. */
    if (bracketed != (ep.sa.sa_family == AF_INET6))
        return -EINVAL;
    base_ep_set_port(&ep, port);
    *out = ep;
    return 0;
}

const char *base_ep_format_addr(const union base_ep *ep, char buf[BASE_EP_STRLEN])
{
    const void *addr = ep->sa.sa_family == AF_INET6 ? (const void *)&ep->v6.sin6_addr : &ep->v4.sin_addr;
    if (!base_ep_is_set(ep) || !inet_ntop(ep->sa.sa_family, addr, buf, BASE_EP_STRLEN))
        snprintf(buf, BASE_EP_STRLEN, "none");
    return buf;
}

const char *base_ep_format(const union base_ep *ep, char buf[BASE_EP_STRLEN])
{
    char addr[BASE_EP_STRLEN];
    base_ep_format_addr(ep, addr);
    if (!base_ep_is_set(ep))
        snprintf(buf, BASE_EP_STRLEN, "none");
    else if (ep->sa.sa_family == AF_INET6)
        snprintf(buf, BASE_EP_STRLEN, "[%.46s]:%u", addr, base_ep_port(ep));
    else
        snprintf(buf, BASE_EP_STRLEN, "%.46s:%u", addr, base_ep_port(ep));
    return buf;
}

union base_ep base_ep_from_bytes(sa_family_t family, const uint8_t *addr, uint16_t port)
{
    union base_ep ep;
    memset(&ep, 0, sizeof(ep));
    ep.sa.sa_family = family;
    if (family == AF_INET6)
        memcpy(&ep.v6.sin6_addr, addr, 16);
    else
        memcpy(&ep.v4.sin_addr, addr, 4);
    base_ep_set_port(&ep, port);
    return ep;
}

const uint8_t *base_ep_bytes(const union base_ep *ep, size_t *len)
{
    if (ep->sa.sa_family == AF_INET6) {
        *len = 16;
        return (const uint8_t *)&ep->v6.sin6_addr;
    }
    *len = ep->sa.sa_family == AF_INET ? 4 : 0;
    return (const uint8_t *)&ep->v4.sin_addr;
}

socklen_t base_ep_len(const union base_ep *ep)
{
    return ep->sa.sa_family == AF_INET6 ? sizeof(ep->v6) : sizeof(ep->v4);
}

uint16_t base_ep_port(const union base_ep *ep)
{
    return ntohs(ep->sa.sa_family == AF_INET6 ? ep->v6.sin6_port : ep->v4.sin_port);
}

void base_ep_set_port(union base_ep *ep, uint16_t port)
{
    if (ep->sa.sa_family == AF_INET6)
        ep->v6.sin6_port = htons(port);
    else
        ep->v4.sin_port = htons(port);
}

bool base_ep_is_set(const union base_ep *ep)
{
    return ep->sa.sa_family == AF_INET || ep->sa.sa_family == AF_INET6;
}

bool base_ep_same_addr(const union base_ep *a, const union base_ep *b)
{
    size_t a_len, b_len;
    const uint8_t *x = base_ep_bytes(a, &a_len), *y = base_ep_bytes(b, &b_len);
    return a_len == b_len && memcmp(x, y, a_len) == 0;
}

bool base_ep_equal(const union base_ep *a, const union base_ep *b)
{
    return base_ep_same_addr(a, b) && base_ep_port(a) == base_ep_port(b);
}

bool base_ep_is_any(const union base_ep *ep)
{
    static const uint8_t zero[16];
    size_t len;
    const uint8_t *bytes = base_ep_bytes(ep, &len);
    return len > 0 && memcmp(bytes, zero, len) == 0;
}
