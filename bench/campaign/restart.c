/* NATs that restart in the middle of a trial: S tells when it starts, the lab does the rest. */
#include <errno.h>
#include <string.h>

#include "bench/campaign/hosts.h"

static void due(struct loop_op *op, int res)
{
    struct campaign_restarts *r = op->owner;
    size_t i = (size_t)(op - r->ops);
    if (res == -ECANCELED)
        return;
    int err = lab_restart_nat(r->hosts->lab, i == 0 ? r->hosts->a : r->hosts->b, r->link->restarts[i].readdress);
    if (err < 0 && !r->err)
        r->err = err;
}

bool campaign_restarts_any(const struct campaign_link *link)
{
    return link->restarts[0].on || link->restarts[1].on;
}

void campaign_restarts_init(struct campaign_restarts *r, struct loop *loop, const struct campaign_hosts *hosts,
                            const struct campaign_link *link)
{
    *r = (struct campaign_restarts){.loop = loop, .hosts = hosts, .link = link};
    for (size_t i = 0; i < 2; i++)
        loop_op_init(&r->ops[i], due, r);
}

void campaign_restarts_begin(struct campaign_restarts *r, uint64_t start_ns)
{
    for (size_t i = 0; i < 2; i++)
        if (r->link->restarts[i].on && !r->ops[i].pending)
            loop_timer(r->loop, &r->ops[i], start_ns + r->link->restarts[i].at_ns);
}

bool campaign_restarts_line(struct campaign_restarts *r, const char *line, size_t len)
{
    const char *type;
    json_int_t in_ns;
    json_t *json = json_loadb(line, len, 0, NULL);
    bool start = json_unpack(json, "{s:s, s:I}", "type", &type, "in_ns", &in_ns) == 0 && strcmp(type, "start") == 0;
    if (start && in_ns >= 0)
        campaign_restarts_begin(r, base_now_ns() + (uint64_t)in_ns);
    json_decref(json);
    return start;
}

const char *campaign_restarts_explain(int err)
{
    return err == -ENOENT    ? "the peer is behind none"
           : err == -ENOTSUP ? "only an emulated NAT on the internet gets other addresses"
                             : strerror(-err);
}

void campaign_restarts_stop(struct campaign_restarts *r)
{
    for (size_t i = 0; r->loop && i < 2; i++)
        loop_cancel(r->loop, &r->ops[i]);
}
