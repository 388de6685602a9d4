/* The three hosts of every cell: two peers behind their NATs, and the server. */
#include <errno.h>

#include "bench/campaign/campaign.h"

/* Documentation networks (RFC 5737) outside, 10/8 inside; the homes differ, so that a private address never works by
 * accident. */
#define PUBLIC_A  "198.51.100.1"
#define PUBLIC_B  "203.0.113.1"
#define PRIVATE_A "10.1.0.2"
#define PRIVATE_B "10.2.0.2"
#define PUBLIC_S  "192.0.2.1"

static union base_ep addr(const char *text)
{
    union base_ep ep = {0};
    /* A constant above. */
    (void)base_ep_parse_addr(text, &ep);
    return ep;
}

static int add_peer(struct lab *lab, const char *name, const struct lab_profile *nat, const char *public_addr,
                    const char *private_addr, const struct lab_link *link, struct lab_host **out,
                    char err[LAB_ERROR_LEN])
{
    union base_ep outside = addr(public_addr), inside = addr(private_addr);
    return lab_add_host(lab, name, nat, &outside, 1, &inside, link, out, err);
}

static int add_server(struct lab *lab, const struct lab_link *link, struct lab_host **out, char err[LAB_ERROR_LEN])
{
    static const struct lab_profile none = {.name = "open", .backend = LAB_BACKEND_NONE};
    union base_ep addrs[] = {addr(PUBLIC_S), addr(CAMPAIGN_SERVER_ALT)};
    return lab_add_host(lab, "s", &none, addrs, BASE_ARRAY_LEN(addrs), NULL, link, out, err);
}

int campaign_hosts_create(struct campaign_hosts *out, struct loop *loop, uint64_t seed, const struct lab_profile *nat_a,
                          const struct lab_profile *nat_b, const struct campaign_link *link, char err[LAB_ERROR_LEN])
{
    union base_ep keep;
    *out = (struct campaign_hosts){0};
    int res = lab_create(&out->lab, loop, seed, err);
    if (res < 0)
        return res;
    res = base_ep_parse(CAMPAIGN_SERVER, &keep);
    if (res == 0)
        res = lab_set_keep(out->lab, &keep);
    if (res < 0)
        snprintf(err, LAB_ERROR_LEN, "the lab could not be told which connection to keep");
    if (res == 0)
        res = add_server(out->lab, &link->access[CAMPAIGN_S], &out->s, err);
    if (res == 0)
        res = add_peer(out->lab, "a", nat_a, PUBLIC_A, PRIVATE_A, &link->access[CAMPAIGN_A], &out->a, err);
    if (res == 0)
        res = add_peer(out->lab, "b", nat_b, PUBLIC_B, PRIVATE_B, &link->access[CAMPAIGN_B], &out->b, err);
    if (res < 0)
        campaign_hosts_destroy(out);
    return res;
}

void campaign_hosts_destroy(struct campaign_hosts *hosts)
{
    lab_destroy(hosts->lab);
    *hosts = (struct campaign_hosts){0};
}
