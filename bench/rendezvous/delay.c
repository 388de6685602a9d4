/*
 * STUN answers that were asked to come later: so a client sees whether its NAT lets an endpoint answer after another
 * one was sent to. They are kept as bytes, soonest first; no more than a bounded number.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/rendezvous/internal.h"

#define DELAYED_MAX 4096

struct delayed {
    struct delayed *next;
    uint64_t due_ns;
    struct site *site;
    union base_ep asked, to;
    uint8_t len, bytes[64];
};

static void due(struct loop_op *op, int res)
{
    struct server *server = op->owner;
    if (server->stopping)
        return;
    uint64_t now = base_now_ns();
    while (server->delayed && server->delayed->due_ns <= now) {
        struct delayed *d = server->delayed;
        server->delayed = d->next;
        server->n_delayed--;
        udp_send(d->site, &d->asked, &d->to, d->bytes, d->len);
        free(d);
    }
    (void)res; /* cancelled by a sooner one, or due: what is first decides */
    if (server->delayed)
        loop_timer(server->loop, op, server->delayed->due_ns);
}

void delay_put(struct site *site, const union base_ep *asked, const struct stun_reply *reply, const uint8_t *bytes)
{
    struct server *server = site->server;
    struct delayed **at = &server->delayed, *d;
    if (server->n_delayed == DELAYED_MAX || reply->len > sizeof(d->bytes) || !(d = malloc(sizeof(*d))))
        return;
    *d = (struct delayed){.due_ns = base_now_ns() + reply->delay_ms * BASE_NS_PER_MS, .site = site, .asked = *asked};
    d->to = reply->to;
    d->len = (uint8_t)reply->len;
    memcpy(d->bytes, bytes, reply->len);
    while (*at && (*at)->due_ns <= d->due_ns)
        at = &(*at)->next;
    d->next = *at;
    *at = d;
    server->n_delayed++;
    if (!server->delay_op.pending)
        loop_timer(server->loop, &server->delay_op, d->due_ns);
    else if (server->delayed == d)
        loop_cancel(server->loop, &server->delay_op);
}

void delay_init(struct server *server)
{
    loop_op_init(&server->delay_op, due, server);
}

void delay_free(struct server *server)
{
    while (server->delayed) {
        struct delayed *d = server->delayed;
        server->delayed = d->next;
        free(d);
    }
}
