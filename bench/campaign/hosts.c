/* The three hosts of every cell: two peers behind their NATs, and the server. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "bench/campaign/hosts.h"

static union base_ep addr(const char *text)
{
    union base_ep ep = {0};
    /* A constant above. */
    (void)base_ep_parse_addr(text, &ep);
    return ep;
}

const struct campaign_server *campaign_server_of(bool ipv6)
{
    static const struct campaign_server servers[2] = {
        {"192.0.2.1:3478", "192.0.2.1:3479", "192.0.2.2", "192.0.2.1"},
        {"[2001:db8:5::1]:3478", "[2001:db8:5::1]:3479", "2001:db8:5::2", "2001:db8:5::1"},
    };
    return &servers[ipv6];
}

/* It has the addresses of both families. */
static int add_server(struct lab *lab, const struct lab_link *link, struct lab_host **out, char err[LAB_ERROR_LEN])
{
    static const struct lab_profile none = {.name = "open", .backend = LAB_BACKEND_NONE};
    union base_ep addrs[4];
    for (int ipv6 = 0; ipv6 < 2; ipv6++) {
        const struct campaign_server *server = campaign_server_of(ipv6);
        /* Constants above. */
        (void)base_ep_parse(server->listen, &addrs[2 * ipv6]);
        addrs[2 * ipv6 + 1] = addr(server->alternate);
    }
    return lab_add_host(lab, "s", &none, addrs, BASE_ARRAY_LEN(addrs), NULL, link, out, err);
}

/* ---- the peers ------------------------------------------------------------------------------- */

/* Of each of the two. Documentation networks (RFC 5737, 3849) outside, 10/8 and fd00::/8 inside; the homes differ, so
 * that a private address never works by accident. */
static const struct {
    const char *name, *public_addr, *home, *neighbour;
    unsigned last; /* of its address in a carrier's network: a pool's further ones follow it */
    const char *public6, *home6;
} peers[2] = {
    {"a", "198.51.100.1", "10.1.0.2", "10.1.0.2", 2, "2001:db8:a::2", "fd00:a::2"},
    {"b", "203.0.113.1", "10.2.0.2", "10.1.0.3", 66, "2001:db8:b::2", "fd00:b::2"},
};

/* Inside carriers: 100.80.0.0/24 and so on (RFC 6598). The networks below 100.80 are between a profile and its
 * `under`. */
#define CARRIER_NETWORK "100.80.0.2"

/* Between a host and its home's NAT, and between a carrier and the internet. */
static const struct lab_link no_link;

struct plan {
    struct lab *lab;
    const struct campaign_side *sides[2];
    size_t shared;
    unsigned carriers;             /* that have a network already */
    const struct lab_link *access; /* of each; to a home that they share, a's */
    bool both;                     /* families */
};

/* Whether the innermost NAT behind an '@' is a home's, with hosts and nothing else directly behind it; else it is a
 * carrier's, with a line to each subscriber. */
static bool at_home(const struct plan *plan, int who)
{
    const struct campaign_side *own = plan->sides[who], *other = plan->sides[!who];
    if (own->nats[0])
        return false;
    return own->n - 1 > plan->shared || (!other->nats[0] && other->n - 1 == plan->shared);
}

static bool shares_home(const struct plan *plan, int who)
{
    return at_home(plan, who) && plan->sides[who]->n - 1 == plan->shared;
}

static union base_ep in_network(const struct lab_host *nat, unsigned last)
{
    union base_ep at = *lab_host_addr(nat);
    at.v4.sin_addr.s_addr = (at.v4.sin_addr.s_addr & htonl(0xffffff00u)) | htonl(last);
    return at;
}

static union base_ep next_carrier_network(struct plan *plan)
{
    union base_ep at = addr(CARRIER_NETWORK);
    at.v4.sin_addr.s_addr = htonl(ntohl(at.v4.sin_addr.s_addr) + (plan->carriers++ << 16));
    return at;
}

/* One NAT behind an '@'; *above becomes it. */
static int add_carrier(struct plan *plan, int who, size_t nat, struct lab_host **above, char err[LAB_ERROR_LEN])
{
    const struct campaign_side *side = plan->sides[who];
    bool shared = side->n - nat <= plan->shared, home = nat == 1 && at_home(plan, who);
    union base_ep outside = *above ? in_network(*above, peers[who].last) : addr(peers[who].public_addr);
    union base_ep inside = home ? addr(peers[who].home) : next_carrier_network(plan);
    struct lab_place place = {.profile = side->nats[nat],
                              .behind = *above,
                              .outside = &outside,
                              .n_outside = 1,
                              .inside = &inside,
                              .link = home ? plan->access[who] : no_link};
    char name[sizeof(side->nats[nat]->name) + 8];
    snprintf(name, sizeof(name), "@%s%s%s", side->nats[nat]->name, shared ? "" : "-", shared ? "" : peers[who].name);
    place.name = name;
    return lab_add_shared(plan->lab, &place, above, err);
}

static int add_host(struct plan *plan, int who, struct lab_host *above, struct lab_host **out, char err[LAB_ERROR_LEN])
{
    static const struct lab_profile none = {.name = "open", .backend = LAB_BACKEND_NONE};
    const struct campaign_side *side = plan->sides[who];
    bool home = at_home(plan, who);
    union base_ep inside = addr(shares_home(plan, who) ? peers[who].neighbour : peers[who].home), outside = inside;
    if (!home)
        outside = above ? in_network(above, peers[who].last) : addr(peers[who].public_addr);
    union base_ep beside = addr(peers[who].public6);
    struct lab_place place = {.name = peers[who].name,
                              .beside = plan->both ? &beside : NULL,
                              .profile = side->nats[0] ? side->nats[0] : &none,
                              .behind = above,
                              .outside = &outside,
                              .n_outside = 1,
                              .inside = &inside,
                              .link = home ? no_link : plan->access[who]};
    return lab_add(plan->lab, &place, out, err);
}

/* Over IPv6 each is on its own: carriers are IPv4's. */
static int add_peers6(struct plan *plan, struct lab_host *out[2], char err[LAB_ERROR_LEN])
{
    for (int who = 0; who < 2; who++) {
        union base_ep outside = addr(peers[who].public6), inside = addr(peers[who].home6);
        struct lab_place place = {.name = peers[who].name,
                                  .profile = plan->sides[who]->nats[0],
                                  .outside = &outside,
                                  .n_outside = 1,
                                  .inside = &inside,
                                  .link = plan->access[who]};
        int res = plan->sides[who]->n > 1 ? -EINVAL : 0;
        if (res < 0)
            snprintf(err, LAB_ERROR_LEN, "%s: what stands behind an '@' is IPv4's", plan->sides[who]->name);
        if (res == 0)
            res = lab_add(plan->lab, &place, &out[who], err);
        if (res < 0)
            return res;
    }
    return 0;
}

/* What they share from the outside inwards, then each one's own. */
static int add_peers(struct plan *plan, struct lab_host *out[2], char err[LAB_ERROR_LEN])
{
    struct lab_host *shared = NULL;
    size_t n = plan->sides[0]->n;
    int res = 0;
    for (size_t i = 1; i <= plan->shared && res == 0; i++)
        res = add_carrier(plan, 0, n - i, &shared, err);
    for (int who = 0; who < 2 && res == 0; who++) {
        struct lab_host *above = shared;
        for (size_t nat = plan->sides[who]->n - 1 - plan->shared; nat > 0 && res == 0; nat--)
            res = add_carrier(plan, who, nat, &above, err);
        if (res == 0)
            res = add_host(plan, who, above, &out[who], err);
    }
    return res;
}

/* ---- the three ------------------------------------------------------------------------------- */

static void tell_addresses(const struct plan *plan, bool ipv6, struct campaign_hosts *out)
{
    int b = plan->shared ? 0 : 1; /* whose outermost NAT it is */
    out->ipv6 = ipv6;
    out->outside[CAMPAIGN_S] = campaign_server_of(ipv6)->addr;
    out->outside[CAMPAIGN_A] = ipv6 ? peers[0].public6 : peers[0].public_addr;
    out->outside[CAMPAIGN_B] = ipv6 ? peers[1].public6 : peers[b].public_addr;
}

int campaign_hosts_create(struct campaign_hosts *out, struct loop *loop, uint64_t seed,
                          const struct campaign_side *nat_a, const struct campaign_side *nat_b,
                          const struct campaign_link *link, char err[LAB_ERROR_LEN])
{
    struct plan plan = {.sides = {nat_a, nat_b},
                        .shared = campaign_sides_shared(nat_a, nat_b),
                        .access = link->access,
                        .both = link->both};
    struct lab_host *both[2] = {NULL, NULL};
    union base_ep keep;
    *out = (struct campaign_hosts){0};
    int res = lab_create(&out->lab, loop, seed, err);
    if (res < 0)
        return res;
    plan.lab = out->lab;
    bool ipv6 = campaign_sides_ipv6(nat_a, nat_b);
    res = base_ep_parse(campaign_server_of(ipv6)->listen, &keep);
    if (res == 0)
        res = lab_set_keep(out->lab, &keep);
    if (res < 0)
        snprintf(err, LAB_ERROR_LEN, "the lab could not be told which connection to keep");
    if (res == 0)
        res = add_server(out->lab, &link->access[CAMPAIGN_S], &out->s, err);
    if (res == 0)
        res = ipv6 ? add_peers6(&plan, both, err) : add_peers(&plan, both, err);
    out->a = both[0];
    out->b = both[1];
    tell_addresses(&plan, ipv6, out);
    if (res < 0)
        campaign_hosts_destroy(out);
    return res;
}

void campaign_hosts_destroy(struct campaign_hosts *hosts)
{
    lab_destroy(hosts->lab);
    *hosts = (struct campaign_hosts){0};
}
