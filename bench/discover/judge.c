/* What follows from the observations, and in which words what does not follow is said. */
#include <stdlib.h>
#include <string.h>

#include "bench/discover/internal.h"

/* One test with nothing against it; two of them that agree. */
#define LIKELY  0.95
#define CERTAIN 0.99

/* ---- mapping --------------------------------------------------------------------------------- */

/* RFC 5780, 4.3. mapped: seen by S's main endpoint, its other port, its other address, both others; unset: no answer.
 */
void judge_mapping(struct discover *d, const union base_ep mapped[4])
{
    const union base_ep *main = &mapped[0], *port = &mapped[1], *addr = &mapped[2], *both = &mapped[3];
    bool have_port = base_ep_is_set(port), have_addr = base_ep_is_set(addr), have_both = base_ep_is_set(both);
    bool port_moves = have_port && !base_ep_equal(main, port);
    bool addr_moves = have_addr && !base_ep_equal(main, addr);
    bool both_moves = have_both && !base_ep_equal(addr, both);
    d->mapping_moves = port_moves || addr_moves;
    if (base_ep_equal(main, &d->result.local) && !d->mapping_moves && (have_port || have_addr)) {
        believe(d, PREDICT_MAPPING, PREDICT_MAPPING_NONE, CERTAIN);
    } else if (port_moves || (addr_moves && both_moves)) {
        believe(d, PREDICT_MAPPING, PREDICT_MAPPING_APD, CERTAIN);
        note(d, PREDICT_MAPPING,
             is_tcp(d) ? "or connection-dependent: the server does not say where SYNs come from"
                       : "or connection-dependent, which looks the same over UDP");
    } else if (addr_moves && have_both) {
        believe(d, PREDICT_MAPPING, PREDICT_MAPPING_AD, CERTAIN);
    } else if (have_addr && have_both) {
        believe(d, PREDICT_MAPPING, PREDICT_MAPPING_EI, CERTAIN);
    } else if (base_ep_equal(main, &d->result.local)) {
        note(d, PREDICT_MAPPING, "none, as far as one endpoint of the server can tell");
    } else if (d->result.two_addresses) {
        note(d, PREDICT_MAPPING, "the server's other address does not answer");
    } else {
        note(d, PREDICT_MAPPING, "the server has one address%s",
             have_port ? ": endpoint-independent or address-dependent" : " and one port");
    }
}

/* ---- allocation ------------------------------------------------------------------------------ */

void judge_allocation(struct discover *d)
{
    struct predict_behaviour *b = &d->result.behaviour, found = {0};
    static const enum predict_property kept[] = {PREDICT_MAPPING, PREDICT_FILTERING, PREDICT_HAIRPIN,
                                                 PREDICT_SYN,     PREDICT_RST,       PREDICT_WINDOW};
    struct predict_sample *samples = calloc(d->result.n_samples + 1, sizeof(*samples));
    if (!samples)
        return;
    for (size_t i = 0; i < d->result.n_samples; i++)
        samples[i] = discover_to_predict(&d->result.samples[i]);
    predict_classify(samples, d->result.n_samples, &found);
    free(samples);
    for (size_t i = 0; i < BASE_ARRAY_LEN(kept); i++)
        *predict_belief(&found, kept[i]) = *predict_belief(b, kept[i]);
    *b = found;
    for (int i = 0; i < PREDICT_N_PROPERTIES; i++) /* sums of many small numbers */
        if (predict_belief(b, (enum predict_property)i)->confidence > 1)
            predict_belief(b, (enum predict_property)i)->confidence = 1;
}

bool allocation_narrow(const struct discover *d)
{
    int ports = d->result.behaviour.ports.value;
    return ports == PREDICT_PORTS_BLOCK || ports == PREDICT_PORTS_BAND;
}

/* Blocks are of a power of two and begin at a multiple of it (RFC 7422). */
#define BLOCK_BITS_LO 6
#define BLOCK_BITS_HI 12
/* n draws of a block leave a twentieth of it at the ends for n = 40, and a quarter never. A band that is spread like
 * that lies inside such a block by chance, once in four at most. */
#define BLOCK_FILLED 0.75

void judge_narrow(struct discover *d)
{
    struct predict_behaviour *b = &d->result.behaviour;
    uint32_t lo = UINT16_MAX, hi = 0, n = 0;
    if (!allocation_narrow(d))
        return;
    for (size_t i = 0; i < d->result.n_samples; i++) {
        uint32_t port = base_ep_port(&d->result.samples[i].mapped);
        lo = port < lo ? port : lo;
        hi = port > hi ? port : hi;
        n++;
    }
    b->port_min = (uint16_t)lo;
    b->port_max = (uint16_t)hi;
    b->port_draws = n;
    for (unsigned bits = BLOCK_BITS_LO; bits <= BLOCK_BITS_HI; bits++) {
        double filled = (hi - lo + 1.0) / (1u << bits);
        if (lo >> bits != hi >> bits || filled < BLOCK_FILLED)
            continue;
        b->ports = (struct predict_belief){PREDICT_PORTS_BLOCK, filled};
        b->range_lo = (uint16_t)(lo >> bits << bits);
        b->range_hi = (uint16_t)(b->range_lo + (1u << bits) - 1);
        return;
    }
    double slack = n > 1 ? (predict_range_width(hi - lo, n) - (hi - lo)) / 2 : 0;
    slack = slack > 0 ? slack : 0;
    b->ports = (struct predict_belief){PREDICT_PORTS_BAND, LIKELY};
    b->range_lo = (uint16_t)(lo > slack + 1 ? lo - slack : 1);
    b->range_hi = (uint16_t)(hi + slack < UINT16_MAX ? hi + slack : UINT16_MAX);
}

/* ---- filtering ------------------------------------------------------------------------------- */

static enum predict_filtering filtering_of(struct discover *d)
{
    bool none = d->result.behaviour.mapping.value == PREDICT_MAPPING_NONE;
    if (d->filter.last_known && d->filter.last && !d->filter.other_addr && !d->filter.other_port)
        return PREDICT_FILTERING_LAST;
    if (d->result.two_addresses && d->filter.other_addr)
        return none ? PREDICT_FILTERING_NONE : PREDICT_FILTERING_EI;
    if (d->result.two_addresses && d->filter.other_port)
        return PREDICT_FILTERING_AD;
    if (!d->filter.other_port)
        return PREDICT_FILTERING_APD;
    note(d, PREDICT_FILTERING, "the server has one address: endpoint-independent or address-dependent");
    return PREDICT_FILTERING_UNKNOWN;
}

void judge_filtering(struct discover *d)
{
    if (!d->filter.asked) {
        if (!*d->result.notes[PREDICT_FILTERING])
            note(d, PREDICT_FILTERING, "%s", *d->control_problem ? d->control_problem : "the server cannot tell");
        return;
    }
    enum predict_filtering value = filtering_of(d);
    believe(d, PREDICT_FILTERING, (int)value, value ? LIKELY : 0);
    if (value == PREDICT_FILTERING_APD && !d->mapping_moves && !d->filter.last_known)
        note(d, PREDICT_FILTERING, "or last-destination-only: no late answer of the server was heard");
}

/* ---- holes ----------------------------------------------------------------------------------- */

void judge_holes(struct discover *d)
{
    bool checked = d->hole.held_ok > 0 && d->hole.remade > 0;
    if (!is_tcp(d) || !d->result.rendezvous)
        return;
    if (checked && d->hole.remade_ok > 0) {
        believe(d, PREDICT_WINDOW, PREDICT_WINDOW_UNCHECKED, CERTAIN);
    } else if (checked) {
        believe(d, PREDICT_WINDOW, PREDICT_WINDOW_STRICT, d->hole.remade > 1 ? CERTAIN : 0.8);
    } else {
        note(d, PREDICT_WINDOW, "%s",
             d->hole.held == 0 ? "the server does not say where SYNs come from: it needs raw sockets (CAP_NET_RAW)"
                               : "not even a held hole lets the server's SYN through");
    }
    if (d->hole.rst_through || d->hole.rst_reached)
        believe(d, PREDICT_RST, PREDICT_RST_SURVIVES, CERTAIN);
    else if (d->hole.rst_tried && d->hole.held_ok > 0)
        believe(d, PREDICT_RST, PREDICT_RST_CLOSES, LIKELY);
    else
        note(d, PREDICT_RST, "%s", d->result.notes[PREDICT_WINDOW]);
}

/* ---- the rest -------------------------------------------------------------------------------- */

void judge_unknown(struct discover *d)
{
    for (int i = 0; i < PREDICT_N_PROPERTIES; i++) {
        enum predict_property property = (enum predict_property)i;
        bool tcp_only = property == PREDICT_SYN || property == PREDICT_RST || property == PREDICT_WINDOW;
        if (predict_belief(&d->result.behaviour, property)->value || *d->result.notes[i])
            continue;
        if (tcp_only && !is_tcp(d))
            note(d, property, "a property of TCP");
        else if (*d->result.problem)
            note(d, property, "not reached");
        else if (*d->control_problem && property != PREDICT_PORTS && property != PREDICT_POOLING)
            note(d, property, "%s", d->control_problem);
        else if (property == PREDICT_SYN)
            note(d, property, "the server has one address, whose SYNs the filter lets in");
        else
            note(d, property, "too few answers");
    }
}
