/*
 * Pins: a packet sequence, however bent, that makes the emulated NAT crash, forward what is no packet, pass its caps,
 * or keep state over a reset.
 *
 * The input is 8 bytes of configuration, and then packets: one byte of what (bit 0: from outside; bit 1: make the IPv4
 * header checksum right; bit 2: the ICMP checksum too; bits 3-5: seconds that pass; bit 6: call the timer; bit 7:
 * reset), one of length, the bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/lab/nat.h"

#define CONFIG_LEN 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static struct lab_profile profile_of(const uint8_t *c)
{
    struct lab_profile p = {.backend = LAB_BACKEND_EMULATED};
    p.mapping = (enum lab_mapping)(1 + c[0] % 4);
    p.filtering = (enum lab_filtering)(1 + c[0] / 4 % 4);
    p.ports = (enum lab_ports)(1 + c[1] % 6);
    p.unsolicited = (enum lab_unsolicited)(1 + c[1] / 6 % 4);
    p.window = (enum lab_window)(1 + c[2] % 3);
    p.rst = (enum lab_rst)(1 + c[2] / 3 % 3);
    p.hairpin = (enum lab_hairpin)(1 + c[2] / 9 % 3);
    p.refresh = (enum lab_refresh)(1 + c[3] % 2);
    p.pooling = (enum lab_pooling)(1 + c[3] / 2 % 2);
    p.table_at_cap = p.host_at_cap = (enum lab_at_cap)(1 + c[3] / 4 % 2);
    p.rewrite_payload = c[3] / 8 % 2;
    p.cross = (enum lab_cross)(c[3] / 16 % 3);
    p.cross_rate = 3;
    p.cross_dispersion = 2;
    p.table_size = c[4] % 16;
    p.host_limit = c[4] / 16;
    p.step = (int)(c[5] % 9) - 4;
    p.block_size = 4 + c[5] / 16;
    p.port_lo = 1000;
    p.port_hi = (uint16_t)(1000 + 20 + c[6]);
    p.udp_new_s = 1 + c[7] % 4;
    p.blacklist_after = c[7] / 4 % 4;
    p.blacklist_s = 3;
    p.new_per_s = c[7] / 16 % 4;
    p.restart_after_s = c[7] / 64 * 5;
    return p;
}

static bool ipv4_sum_ok(const uint8_t *packet, const struct lab_packet *ip)
{
    return lab_sum_finish(lab_sum(packet, ip->header_len, 0)) == 0;
}

static void mend(uint8_t *packet, size_t len, bool icmp)
{
    struct lab_packet ip;
    if (!lab_packet_parse(packet, len, &ip) || ip.version != 4)
        return;
    packet[10] = packet[11] = 0;
    uint16_t sum = lab_sum_finish(lab_sum(packet, ip.header_len, 0));
    packet[10] = (uint8_t)(sum >> 8);
    packet[11] = (uint8_t)sum;
    uint8_t *body = packet + ip.header_len;
    if (!icmp || ip.proto != 1 || ip.len < ip.header_len + 4)
        return;
    body[2] = body[3] = 0;
    sum = lab_sum_finish(lab_sum(body, ip.len - ip.header_len, 0));
    body[2] = (uint8_t)(sum >> 8);
    body[3] = (uint8_t)sum;
}

static void check_reply(const struct lab_nat_out *out)
{
    struct lab_packet ip;
    require(out->reply_len > 0 && out->reply_len <= LAB_ICMP_MAX);
    require(lab_packet_parse(out->reply, out->reply_len, &ip) && lab_packet_checksums_ok(out->reply, &ip));
}

static void give(struct lab_nat *nat, enum lab_nat_dir dir, uint8_t *packet, size_t len, uint64_t now)
{
    struct lab_nat_out out;
    struct lab_packet ip;
    switch (lab_nat_packet(nat, dir, packet, len, now, &out)) {
    case LAB_NAT_FORWARD:
    case LAB_NAT_HAIRPIN:
        require(lab_packet_parse(packet, len, &ip) && ip.version == 4 && ipv4_sum_ok(packet, &ip));
        break;
    case LAB_NAT_REPLY:
        check_reply(&out);
        break;
    case LAB_NAT_DROP:
        require(out.reason > LAB_NAT_DROP_NONE && out.reason < LAB_NAT_DROP_N);
        break;
    }
}

static void check_caps(const struct lab_nat *nat, const struct lab_profile *p)
{
    struct lab_nat_counters c;
    lab_nat_counters(nat, &c);
    require(c.mappings <= c.sessions && (!p->table_size || c.sessions <= p->table_size));
}

static void check_reset(struct lab_nat *nat, uint64_t now)
{
    struct lab_nat_counters c;
    lab_nat_reset(nat, NULL, now);
    lab_nat_counters(nat, &c);
    require(c.mappings == 0 && c.sessions == 0 && c.held == 0 && lab_nat_next(nat) == UINT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct lab_nat *nat;
    struct lab_nat_out out;
    union base_ep external[2], gateway;
    uint64_t now = 0;
    if (len < CONFIG_LEN)
        return 0;
    struct lab_profile p = profile_of(data);
    base_ep_parse_addr("203.0.113.1", &external[0]);
    base_ep_parse_addr("203.0.113.2", &external[1]);
    base_ep_parse_addr("10.0.0.1", &gateway);
    require(lab_nat_create(&nat, &p, external, 2, &gateway, 1, now) == 0);
    for (size_t at = CONFIG_LEN; at + 2 <= len;) {
        uint8_t what = data[at], packet[255];
        size_t n = data[at + 1] < len - at - 2 ? data[at + 1] : len - at - 2;
        memcpy(packet, data + at + 2, n);
        at += 2 + n;
        if (what & 2)
            mend(packet, n, what & 4);
        now += (what >> 3 & 7) * BASE_NS_PER_S;
        give(nat, what & 1 ? LAB_NAT_IN : LAB_NAT_OUT, packet, n, now);
        while (what & 64 && lab_nat_timer(nat, now, &out))
            check_reply(&out);
        check_caps(nat, &p);
        if (what & 128)
            check_reset(nat, now);
    }
    check_reset(nat, now);
    lab_nat_destroy(nat);
    return 0;
}
