/* What the keys of a profile say together: what is missing, contradicts, or says nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/lab/profile_internal.h"

static int need(struct profile_reading *r, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!profile_seen(r, names[i]))
            return profile_refuse(r, r->key_lines[0], "backend = %s needs '%s'",
                                  profile_backend_name(r->profile->backend), names[i]);
    return 0;
}

/* Labels lie: what a profile declares has to be what its rules make. Linux maps each 5-tuple by itself, but as long
 * as it preserves ports every destination sees the same one. */
static int check_netfilter(struct profile_reading *r)
{
    static const char *const needed[] = {"mapping", "filtering", "ports", "unsolicited-syn", "tcp-window-check"};
    const struct lab_profile *p = r->profile;
    if (need(r, needed, BASE_ARRAY_LEN(needed)) < 0)
        return -EINVAL;
    if (p->mapping == LAB_MAP_NONE && p->ports != LAB_PORTS_PRESERVE)
        return profile_refuse(r, profile_line_of(r, "ports"),
                              "mapping = none leaves ports as they are: ports = preserve");
    if (p->ports == LAB_PORTS_PRESERVE && p->mapping != LAB_MAP_EI && p->mapping != LAB_MAP_NONE)
        return profile_refuse(r, profile_line_of(r, "mapping"),
                              "ports = preserve makes mapping = endpoint-independent");
    if (p->ports == LAB_PORTS_RANDOM && p->mapping != LAB_MAP_APD)
        return profile_refuse(r, profile_line_of(r, "mapping"),
                              "ports = random makes mapping = address-and-port-dependent");
    if (p->port_lo && p->ports != LAB_PORTS_RANDOM)
        return profile_refuse(r, profile_line_of(r, "port-range"), "a port-range needs ports = random");
    return 0;
}

/* Keys that say nothing, or the contrary of another one. */
static int check_ports(struct profile_reading *r)
{
    const struct lab_profile *p = r->profile;
    bool in_turn = p->ports == LAB_PORTS_SEQUENTIAL || p->ports == LAB_PORTS_PARITY;
    bool placed = p->ports == LAB_PORTS_BLOCK || p->ports == LAB_PORTS_BAND;
    unsigned width = p->port_hi ? p->port_hi - p->port_lo + 1u : 64512;
    if (p->step && !in_turn)
        return profile_refuse(r, profile_line_of(r, "step"), "a step needs ports = sequential or parity");
    if (p->block_size && !placed)
        return profile_refuse(r, profile_line_of(r, "block-size"), "a block-size needs ports = block or band");
    if (placed && !p->block_size)
        return profile_refuse(r, profile_line_of(r, "ports"), "ports = block and band need a block-size");
    if (p->blocks && p->ports != LAB_PORTS_BLOCK)
        return profile_refuse(r, profile_line_of(r, "blocks"), "blocks needs ports = block");
    if (p->block_size > width)
        return profile_refuse(r, profile_line_of(r, "block-size"), "a block of %u ports does not fit into %u",
                              p->block_size, width);
    if (p->ports == LAB_PORTS_PRESERVE && p->mapping == LAB_MAP_CONNECTION)
        return profile_refuse(r, profile_line_of(r, "mapping"),
                              "a new port for each connection is not ports = preserve");
    if (in_turn && width > 1 && (unsigned)abs(p->step) >= width)
        return profile_refuse(r, profile_line_of(r, "step"), "a step of %d leads out of a range of %u ports", p->step,
                              width);
    if (p->ports == LAB_PORTS_PARITY && width == 1)
        return profile_refuse(r, profile_line_of(r, "port-range"), "ports = parity needs an even port and an odd one");
    if (p->pooling == LAB_POOL_ARBITRARY && p->pool == 1)
        return profile_refuse(r, profile_line_of(r, "pool"), "one address leaves nothing arbitrary");
    if (p->pooling == LAB_POOL_ARBITRARY && placed)
        return profile_refuse(r, profile_line_of(r, "pool"), "a block or band lies on one address: the pool is paired");
    return 0;
}

/* One NAT under another, and no more: so nothing is under itself in the end, either. */
static int check_under(struct profile_reading *r)
{
    const struct lab_profile *p = r->profile;
    struct lab_profile outer;
    char path[sizeof(p->dir) + sizeof(p->under) + 8], err[LAB_ERROR_LEN] = "";
    int line = profile_line_of(r, "under");
    if (!*p->under || !r->follow)
        return 0;
    snprintf(path, sizeof(path), "%s/%s.ini", p->dir, p->under);
    if (profile_read(path, false, &outer, err) < 0)
        return profile_refuse(r, line, "under = %s: %s", p->under, err);
    if (outer.backend != LAB_BACKEND_EMULATED)
        return profile_refuse(r, line, "under = %s: that profile needs backend = emulated", p->under);
    if (*outer.under)
        return profile_refuse(r, line, "under = %s: that one is under %s itself; at most two NATs, one under the other",
                              p->under, outer.under);
    return 0;
}

/* What was answered is kept no shorter than what was not. */
static int check_timers(struct profile_reading *r)
{
    const struct lab_profile *p = r->profile;
    if (p->udp_stream_s < p->udp_new_s)
        return profile_refuse(r, profile_line_of(r, "udp-timeout"),
                              "a stream's %u s are fewer than the %u s of a single packet", p->udp_stream_s,
                              p->udp_new_s);
    if (p->tcp_established_s < p->tcp_syn_sent_s)
        return profile_refuse(r, profile_line_of(r, "tcp-timeout"),
                              "an established connection's %u s are fewer than a SYN's %u s", p->tcp_established_s,
                              p->tcp_syn_sent_s);
    return 0;
}

static int check_emulated(struct profile_reading *r)
{
    static const char *const needed[] = {"mapping",          "filtering",   "ports",      "unsolicited-syn",
                                         "tcp-window-check", "udp-timeout", "tcp-timeout"};
    struct lab_profile *p = r->profile;
    if (need(r, needed, BASE_ARRAY_LEN(needed)) < 0 || check_ports(r) < 0 || check_timers(r) < 0)
        return -EINVAL;
    if (p->rst == LAB_RST_IN_WINDOW && p->window == LAB_WINDOW_NONE)
        return profile_refuse(r, profile_line_of(r, "rst"), "tcp-window-check = none knows no window");
    if (p->table_size && p->host_limit > p->table_size)
        return profile_refuse(r, profile_line_of(r, "host-limit"),
                              "one host cannot have more than the table-size of %u", p->table_size);
    if (check_under(r) < 0)
        return -EINVAL;
    if (p->hairpin == LAB_HAIRPIN_UNSET)
        p->hairpin = LAB_HAIRPIN_OFF;
    if (p->refresh == LAB_REFRESH_UNSET)
        p->refresh = LAB_REFRESH_BOTH;
    if (p->rst == LAB_RST_UNSET)
        p->rst = LAB_RST_CLOSES;
    if (p->pool == 0)
        p->pool = 1;
    if (p->pooling == LAB_POOL_UNSET)
        p->pooling = LAB_POOL_PAIRED;
    return 0;
}

int profile_check(struct profile_reading *r)
{
    if (!r->key_lines[0])
        return profile_refuse(r, r->line ? r->line : 1,
                              "'backend' is missing; use one of: none, netfilter, emulated, program");
    if (!profile_seen(r, "source"))
        return profile_refuse(r, r->key_lines[0],
                              "'source' is missing: name what the profile was measured on, or \"proposal\"");
    switch (r->profile->backend) {
    case LAB_BACKEND_NETFILTER:
        return check_netfilter(r);
    case LAB_BACKEND_EMULATED:
        return check_emulated(r);
    case LAB_BACKEND_PROGRAM: {
        static const char *const needed[] = {"program", "mapping", "filtering", "ports"};
        return need(r, needed, BASE_ARRAY_LEN(needed));
    }
    default:
        return 0;
    }
}
