/* Output for people and output for programs. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "bench/discover/show.h"

#define LABEL "  %-22s "

static const char *transport_name(const struct discover_config *config)
{
    return config->transport == DISCOVER_TCP ? "tcp" : "udp";
}

static struct predict_belief belief_of(const struct discover_result *r, int i)
{
    struct predict_behaviour b = r->behaviour;
    return *predict_belief(&b, (enum predict_property)i);
}

/* ---- for people ------------------------------------------------------------------------------ */

static void text_ports(FILE *out, const struct predict_behaviour *b)
{
    if (b->ports.value == PREDICT_PORTS_SEQUENTIAL)
        fprintf(out, ", step %+d%s%s", b->step, b->keeps_parity ? ", parity kept" : "",
                b->sequences > 1 ? ", several sequences" : "");
    else if (b->ports.value > PREDICT_PORTS_SEQUENTIAL && b->range_hi)
        fprintf(out, ", %u to %u", b->range_lo, b->range_hi);
}

static void text_property(FILE *out, const struct discover_result *r, int i)
{
    struct predict_belief belief = belief_of(r, i);
    fprintf(out, LABEL "%s", predict_property_name((enum predict_property)i),
            predict_value_name((enum predict_property)i, belief.value));
    if (i == PREDICT_PORTS)
        text_ports(out, &r->behaviour);
    if (i == PREDICT_POOLING && r->behaviour.pool_seen > 1)
        fprintf(out, ", %u addresses seen", r->behaviour.pool_seen);
    if (*r->notes[i])
        fprintf(out, " (%s)", r->notes[i]);
    fputc('\n', out);
}

static void text_bad(FILE *out, const struct discover_result *r)
{
    for (int v = DISCOVER_NOT_STUN; v < DISCOVER_N_VERDICTS; v++)
        if (r->bad[v])
            fprintf(out, LABEL "%llu x %s\n", "bad answers", (unsigned long long)r->bad[v],
                    discover_verdict_text((enum discover_verdict)v));
}

void show_text(FILE *out, const struct discover_config *config, const struct discover_result *r)
{
    char server[BASE_EP_STRLEN], local[BASE_EP_STRLEN], mapped[BASE_EP_STRLEN];
    fprintf(out, "NAT behaviour over %s, seen from %s: %s with %s, %.1f ms away\n",
            config->transport == DISCOVER_TCP ? "TCP" : "UDP", base_ep_format(&config->server, server),
            r->rendezvous ? "a rendezvous server" : "a plain STUN server",
            r->two_addresses ? "two addresses" : "one address", (double)r->rtt_ns / 1e6);
    fprintf(out, LABEL "%s\n", "mapped endpoint", base_ep_format(&r->mapped, mapped));
    fprintf(out, LABEL "%s\n", "local endpoint", base_ep_format(&r->local, local));
    for (int i = 0; i < PREDICT_N_PROPERTIES; i++)
        text_property(out, r, i);
    fprintf(out, LABEL "%s\n", "type", predict_nat_number(&r->behaviour));
    fprintf(out, LABEL "%s\n", "RFC 3489 name", predict_rfc3489_name(&r->behaviour));
    if (r->lifetime_hi_s > 0)
        fprintf(out, LABEL "between %.1f and %.1f s\n", "idle mapping lives", r->lifetime_lo_s, r->lifetime_hi_s);
    else if (r->lifetime_lo_s > 0)
        fprintf(out, LABEL "more than %.1f s\n", "idle mapping lives", r->lifetime_lo_s);
    text_bad(out, r);
}

/* ---- for programs ---------------------------------------------------------------------------- */

static json_t *json_ep(const union base_ep *ep)
{
    char text[BASE_EP_STRLEN];
    return base_ep_is_set(ep) ? json_string(base_ep_format(ep, text)) : json_null();
}

/* "unsolicited-syn" is a member unsolicited_syn. */
static void put_property(json_t *to, const struct discover_result *r, int i)
{
    char key[64];
    struct predict_belief belief = belief_of(r, i);
    snprintf(key, sizeof(key), "%s", predict_property_name((enum predict_property)i));
    for (char *p = key; *p; p++)
        *p = *p == '-' ? '_' : *p;
    json_object_set_new(to, key,
                        json_pack("{s:s, s:f, s:s*}", "value",
                                  predict_value_name((enum predict_property)i, belief.value), "confidence",
                                  belief.confidence, "note", *r->notes[i] ? r->notes[i] : NULL));
}

static json_t *json_number_or_null(double value, bool known)
{
    return known ? json_real(value) : json_null();
}

static json_t *json_port_or_null(uint16_t port)
{
    return port ? json_integer(port) : json_null();
}

static json_t *json_allocation(const struct predict_behaviour *b)
{
    bool sequential = b->ports.value == PREDICT_PORTS_SEQUENTIAL;
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:f, s:f}", "step", sequential ? json_integer(b->step) : json_null(),
        "sequences", sequential ? json_integer(b->sequences) : json_null(), "keeps_parity",
        sequential ? json_boolean(b->keeps_parity) : json_null(), "range_lo", json_port_or_null(b->range_lo),
        "range_hi", json_port_or_null(b->range_hi), "addresses_seen", (int)b->pool_seen, "pool_size", (int)b->pool_size,
        "foreign_seen", b->foreign_seen, "foreign_seconds", b->foreign_seconds);
}

static json_t *json_bad(const struct discover_result *r)
{
    json_t *out = json_object();
    for (int v = DISCOVER_NOT_STUN; v < DISCOVER_N_VERDICTS; v++)
        if (r->bad[v])
            json_object_set_new(out, discover_verdict_text((enum discover_verdict)v),
                                json_integer((json_int_t)r->bad[v]));
    return out;
}

static json_t *json_samples(const struct discover_result *r)
{
    json_t *out = json_array();
    for (size_t i = 0; i < r->n_samples; i++)
        json_array_append_new(out, json_pack("{s:I, s:o, s:o, s:o}", "t_ns", (json_int_t)r->samples[i].t_ns, "local",
                                             json_ep(&r->samples[i].local), "remote", json_ep(&r->samples[i].remote),
                                             "mapped", json_ep(&r->samples[i].mapped)));
    return out;
}

int show_json(FILE *out, const struct discover_config *config, const struct discover_result *r)
{
    json_t *properties = json_object();
    for (int i = 0; i < PREDICT_N_PROPERTIES; i++)
        put_property(properties, r, i);
    json_t *json = json_pack("{s:i, s:s, s:s, s:s, s:o, s:b, s:b, s:b, s:I, s:I, s:o, s:o}", "schema", 1, "type",
                             "discovery", "version", base_version(), "transport", transport_name(config), "server",
                             json_ep(&config->server), "rendezvous", r->rendezvous, "two_addresses", r->two_addresses,
                             "sees_syns", r->sees_syns, "rtt_ns", (json_int_t)r->rtt_ns, "took_ns",
                             (json_int_t)r->took_ns, "local", json_ep(&r->local), "mapped", json_ep(&r->mapped));
    if (!json || !properties) {
        json_decref(properties);
        json_decref(json);
        return -ENOMEM;
    }
    json_object_set_new(json, "nat", json_string(predict_nat_number(&r->behaviour)));
    json_object_set_new(json, "rfc3489", json_string(predict_rfc3489_name(&r->behaviour)));
    json_object_set_new(json, "properties", properties);
    json_object_set_new(json, "allocation", json_allocation(&r->behaviour));
    json_object_set_new(json, "lifetime_lo_s", json_number_or_null(r->lifetime_lo_s, r->lifetime_lo_s > 0));
    json_object_set_new(json, "lifetime_hi_s", json_number_or_null(r->lifetime_hi_s, r->lifetime_hi_s > 0));
    json_object_set_new(json, "bad_answers", json_bad(r));
    json_object_set_new(json, "problem", *r->problem ? json_string(r->problem) : json_null());
    json_object_set_new(json, "samples", json_samples(r));
    int err = json_dumpf(json, out, JSON_COMPACT) < 0 || fputc('\n', out) == EOF || fflush(out) != 0 ? -EIO : 0;
    json_decref(json);
    return err;
}
