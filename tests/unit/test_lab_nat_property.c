/*
 * Invariants of the emulated NAT over random packet sequences and random configurations (seeded). Pins: two mappings on
 * one external endpoint, a translation that is not undone on the way back, an incremental checksum that differs from
 * the full one, state that survives a reset, a timer that fires early, a cap that is passed.
 */
#include "bench/lab/nat_state.h"
#include "tests/unit/nat_packets.h"

#define WORLDS  150
#define PACKETS 600
#define HOSTS   4
#define REMOTES 6

struct flow {
    struct pkt sent; /* as the inside sent it */
    char in[32], remote[32], external[32];
    uint64_t at;
};

static struct base_rng rng;

static uint64_t pick(uint64_t n)
{
    return base_rng_below(&rng, n);
}

static struct lab_profile random_profile(void)
{
    struct lab_profile p = {.backend = LAB_BACKEND_EMULATED};
    p.mapping = (enum lab_mapping)(1 + pick(4));
    p.filtering = (enum lab_filtering)(1 + pick(4));
    p.ports = (enum lab_ports)(1 + pick(6));
    p.unsolicited = (enum lab_unsolicited)(1 + pick(4));
    p.window = (enum lab_window)(1 + pick(3));
    p.pooling = (enum lab_pooling)(1 + pick(2));
    p.hairpin = (enum lab_hairpin)(1 + pick(3));
    p.refresh = (enum lab_refresh)(1 + pick(2));
    p.rst = (enum lab_rst)(1 + pick(3));
    p.step = (int)pick(7) - 3;
    p.block_size = 1u << (3 + pick(5));
    p.blocks = 1 + (unsigned)pick(4);
    p.cross = (enum lab_cross)pick(3);
    p.cross_rate = 20;
    p.cross_dispersion = 3;
    p.port_lo = 10000;
    p.port_hi = (uint16_t)(pick(2) ? 60000 : 10300);
    p.table_size = pick(2) ? 0 : 20 + (unsigned)pick(50);
    p.host_limit = pick(2) ? 0 : 5 + (unsigned)pick(20);
    p.table_at_cap = p.host_at_cap = (enum lab_at_cap)(1 + pick(2));
    p.new_per_s = pick(3) ? 0 : 2 + (unsigned)pick(20);
    p.blacklist_after = pick(3) ? 0 : 5;
    p.blacklist_s = 5;
    p.udp_new_s = 1 + (unsigned)pick(20);
    p.udp_stream_s = p.udp_new_s + (unsigned)pick(20);
    p.tcp_syn_sent_s = 1 + (unsigned)pick(20);
    p.tcp_closing_s = 1 + (unsigned)pick(20);
    p.tcp_established_s = 30;
    return p;
}

static void random_ep(char buf[32], bool inside)
{
    if (inside)
        snprintf(buf, 32, "10.0.0.%u:%u", 2 + (unsigned)pick(HOSTS), 5000 + (unsigned)pick(8));
    else
        snprintf(buf, 32, "198.51.100.%u:%u", 1 + (unsigned)pick(REMOTES), 80 + (unsigned)pick(3));
}

static struct pkt random_packet(const char *src, const char *dst)
{
    static const unsigned flags[] = {SYN, SYN, SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, RST, RST | ACK};
    if (pick(2))
        return udp(src, dst);
    return tcp_data(src, dst, flags[pick(BASE_ARRAY_LEN(flags))], (uint32_t)pick(3000), (uint32_t)pick(3000), pick(40));
}

/* What went out comes back from its remote to where it came from. */
static void translates_back(struct world *w, const struct lab_profile *p, const struct flow *f)
{
    struct pkt back = f->sent.b[9] == 17 ? udp(f->remote, f->external) : tcp(f->remote, f->external, ACK, 1, 1);
    enum lab_nat_verdict v = give(w, IN, &back);
    if (v == LAB_NAT_FORWARD) {
        assert_string_equal(dst_of(&back), f->in);
        assert_string_equal(src_of(&back), f->remote);
        return;
    }
    /* TCP may be invalid, and a source may have been shut out; UDP is translated. */
    if (f->sent.b[9] == 17)
        assert_int_equal(w->out.reason, LAB_NAT_DROP_BLACKLISTED);
    else if (p->window == LAB_WINDOW_NONE && !(f->sent.b[33] & RST))
        assert_int_equal(w->out.reason, LAB_NAT_DROP_BLACKLISTED);
}

static void out_one(struct world *w, const struct lab_profile *p)
{
    struct flow f;
    random_ep(f.in, true);
    random_ep(f.remote, false);
    f.sent = random_packet(f.in, f.remote);
    struct pkt moved = f.sent;
    uint64_t sessions = counters(w).sessions;
    if (give(w, OUT, &moved) != LAB_NAT_FORWARD) {
        assert_true(counters(w).sessions <= sessions);
        return;
    }
    assert_string_equal(dst_of(&moved), f.remote);
    snprintf(f.external, sizeof(f.external), "%s", src_of(&moved));
    unsigned port = src_port(&moved);
    assert_in_range(port, p->port_lo, p->port_hi);
    if (p->ports == LAB_PORTS_PARITY)
        assert_int_equal(port % 2, src_port(&f.sent) % 2);
    /* Nothing changed but addresses, ports, TTL and sums: put back, it is what it was. */
    struct pkt undone = moved;
    memcpy(undone.b + 12, f.sent.b + 12, 4);
    memcpy(undone.b + 20, f.sent.b + 20, 2);
    undone.b[8]++;
    seal(&undone);
    assert_memory_equal(undone.b, f.sent.b, f.sent.len);
    if (pick(2))
        translates_back(w, p, &f);
}

static void in_one(struct world *w)
{
    char src[32], dst[32];
    random_ep(src, false);
    snprintf(dst, sizeof(dst), "203.0.113.%u:%u", 1 + (unsigned)pick(2), 10000 + (unsigned)pick(300));
    struct pkt p = random_packet(src, dst);
    give(w, IN, &p);
}

static void caps_hold(const struct world *w, const struct lab_profile *p)
{
    struct lab_nat_counters c = counters(w);
    uint64_t seconds = (w->now - 100 * S) / S + 1;
    assert_true(c.mappings <= c.sessions);
    assert_true(c.held <= NAT_MAX_HELD);
    if (p->table_size)
        assert_true(c.sessions <= p->table_size);
    if (p->new_per_s)
        assert_true(c.sessions_made <= p->new_per_s * (seconds + 1));
    for (uint32_t i = 0; i < w->nat->hosts.n; i++) /* hosts are never removed here */
        assert_true(!p->host_limit || nat_host(w->nat, i)->sessions <= p->host_limit);
}

/* An external endpoint has one owner, so two mappings on one would leave one of them without. */
static void every_mapping_owns_its_port(const struct world *w)
{
    const struct lab_nat *nat = w->nat;
    uint32_t seen = 0;
    for (uint32_t h = 0; h < nat->mappings.n_heads; h++)
        for (uint32_t i = nat->mappings.heads[h]; i != NAT_NIL; i = nat_table_next(&nat->mappings, i), seen++) {
            const struct nat_mapping *m = nat_mapping(nat, i);
            assert_int_equal(nat_ports_get(nat_ports(nat, m->external, m->proto), m->port), i + 1);
            assert_true(m->sessions > 0);
        }
    assert_int_equal(seen, nat->mappings.n);
}

static uint32_t ports_in_use(const struct lab_nat *nat)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < nat->n_external * 3; i++)
        n += 65536 - nat_ports_count_free(&nat->ports[i], 0, 65535);
    return n;
}

static void random_walk(void **state)
{
    (void)state;
    base_rng_seed(&rng, 20);
    for (unsigned n = 0; n < WORLDS; n++) {
        struct lab_profile p = random_profile();
        struct world w = world_pool(&p, 2, n);
        for (unsigned i = 0; i < PACKETS; i++) {
            if (pick(3))
                out_one(&w, &p);
            else
                in_one(&w);
            caps_hold(&w, &p);
            every_mapping_owns_its_port(&w);
            w.now += pick(4) ? pick(10 * MS) : pick(4 * S);
            while (lab_nat_next(w.nat) <= w.now && lab_nat_timer(w.nat, w.now, &w.out))
                assert_true(sums_ok(w.out.reply, w.out.reply_len));
        }
        world_end(&w);
    }
}

/* Every live mapping that the outside can see belongs to one internal endpoint, under no class and no allocator. */
static void no_shared_endpoint(void **state)
{
    (void)state;
    base_rng_seed(&rng, 21);
    for (unsigned n = 0; n < WORLDS; n++) {
        static char owner[2][65536][72];
        struct lab_profile p = random_profile();
        p.udp_new_s = 1000;
        p.udp_stream_s = 1000;
        p.table_size = p.host_limit = p.new_per_s = 0;
        struct world w = world_pool(&p, 2, n);
        memset(owner, 0, sizeof(owner));
        for (unsigned i = 0; i < PACKETS; i++) {
            char in[32], remote[32], key[72];
            random_ep(in, true);
            random_ep(remote, false);
            struct pkt x = udp(in, remote);
            if (give(&w, OUT, &x) != LAB_NAT_FORWARD)
                continue;
            bool by_addr = p.mapping == LAB_MAP_AD, by_port = p.mapping >= LAB_MAP_APD;
            if (by_addr)
                *strchr(remote, ':') = '\0';
            snprintf(key, sizeof(key), "%s %s", in, by_addr || by_port ? remote : "*");
            char *seen = owner[x.b[15] - 1][src_port(&x)];
            if (*seen)
                assert_string_equal(seen, key);
            memcpy(seen, key, sizeof(key));
            w.now += pick(10 * MS);
        }
        world_end(&w);
    }
}

/* After a reset nobody gets in and nothing is counted; and the same seed does the same things again. */
static void nothing_survives_reset(void **state)
{
    (void)state;
    base_rng_seed(&rng, 22);
    for (unsigned n = 0; n < WORLDS; n++) {
        struct lab_profile p = random_profile();
        struct world w = world_pool(&p, 2, n);
        char externals[64][32], remotes[64][32];
        bool is_tcp[64];
        unsigned made = 0;
        for (unsigned i = 0; i < 64; i++) {
            char in[32];
            random_ep(in, true);
            random_ep(remotes[made], false);
            struct pkt x = i % 2 ? udp(in, remotes[made]) : tcp(in, remotes[made], SYN, 1, 0);
            is_tcp[made] = i % 2 == 0;
            if (give(&w, OUT, &x) == LAB_NAT_FORWARD)
                snprintf(externals[made++], 32, "%s", src_of(&x));
            in_one(&w);
        }
        lab_nat_reset(w.nat, NULL, w.now);
        struct lab_nat_counters c = counters(&w);
        assert_int_equal(c.sessions + c.mappings + c.held, 0);
        assert_int_equal(w.nat->hosts.n + w.nat->permits.n + w.nat->sources.n + w.nat->heap.n + w.nat->foreign.n, 0);
        assert_int_equal(ports_in_use(w.nat), 0);
        assert_int_equal(lab_nat_next(w.nat), UINT64_MAX);
        for (unsigned i = 0; i < made && i < 4; i++) { /* fewer than a blacklist counts */
            struct pkt x = is_tcp[i] ? tcp(remotes[i], externals[i], SYN | ACK, 1, 2) : udp(remotes[i], externals[i]);
            assert_int_not_equal(give(&w, IN, &x), LAB_NAT_FORWARD);
            assert_int_equal(w.out.reason, LAB_NAT_DROP_UNSOLICITED);
        }
        world_end(&w);
    }
}

static void same_seed_same_ports(void **state)
{
    (void)state;
    base_rng_seed(&rng, 23);
    for (unsigned n = 0; n < 50; n++) {
        struct lab_profile p = random_profile();
        struct world a = world_pool(&p, 2, n), b = world_pool(&p, 2, n);
        for (unsigned i = 0; i < 40; i++) {
            char in[32], remote[32];
            random_ep(in, true);
            random_ep(remote, false);
            struct pkt x = random_packet(in, remote), y = x;
            assert_int_equal(give(&a, OUT, &x), give(&b, OUT, &y));
            assert_memory_equal(x.b, y.b, x.len);
            a.now = b.now += pick(S);
        }
        world_end(&a);
        world_end(&b);
    }
}

/* A model of the deadline beside the NAT: one session, refreshed at random; it lives to the last nanosecond. */
static void never_early(void **state)
{
    (void)state;
    base_rng_seed(&rng, 24);
    for (unsigned n = 0; n < 200; n++) {
        struct lab_profile p = random_profile();
        p.mapping = LAB_MAP_EI;
        p.filtering = LAB_FILTER_APD;
        p.cross = LAB_CROSS_NONE;
        p.table_size = p.host_limit = p.blacklist_after = p.new_per_s = 0;
        struct world w = world_pool(&p, 1, n);
        char x[32];
        snprintf(x, sizeof(x), "%s", udp_out(&w, A, S1));
        uint64_t deadline = w.now + p.udp_new_s * S;
        bool stream = false;
        for (unsigned i = 0; i < 20; i++) {
            w.now = pick(3) ? w.now + pick(deadline - w.now) : deadline - 1;
            if (pick(2)) {
                assert_true(udp_in(&w, S1, x));
                stream = true;
                if (p.refresh == LAB_REFRESH_OUTBOUND)
                    continue;
            } else {
                assert_string_equal(udp_out(&w, A, S1), x);
            }
            deadline = w.now + (stream ? p.udp_stream_s : p.udp_new_s) * S;
        }
        w.now = deadline - 1;
        uint64_t before = counters(&w).sessions_expired;
        struct pkt other = udp(S2, EXT ":9");
        give(&w, IN, &other);
        assert_int_equal(counters(&w).sessions_expired, before);
        w.now = deadline;
        assert_false(udp_in(&w, S1, x));
        assert_int_equal(counters(&w).sessions_expired, before + 1);
        world_end(&w);
    }
}

static bool tcp_step(struct world *w, bool outbound, const char *x, unsigned flags, uint32_t seq, uint32_t ack)
{
    struct pkt p = outbound ? tcp(A, S1, flags, seq, ack) : tcp(S1, x, flags, seq, ack);
    return give(w, outbound ? OUT : IN, &p) == LAB_NAT_FORWARD;
}

/* The same for TCP (RFC 5382 REQ-5): opening, established and closing, each to the last nanosecond; what moves the
 * state restarts the timer from either side, everything else from the side that `refresh` says. */
static void never_early_in_tcp(void **state)
{
    (void)state;
    base_rng_seed(&rng, 25);
    for (unsigned n = 0; n < 300; n++) {
        struct lab_profile p = random_profile();
        p.mapping = LAB_MAP_EI;
        p.filtering = LAB_FILTER_APD;
        p.cross = LAB_CROSS_NONE;
        p.rst = LAB_RST_IN_WINDOW;
        p.table_size = p.host_limit = p.blacklist_after = p.new_per_s = 0;
        struct world w = world_pool(&p, 1, n);
        struct pkt syn = tcp(A, S1, SYN, 1000, 0);
        char x[32];
        passes(&w, OUT, &syn);
        snprintf(x, sizeof(x), "%s", src_of(&syn));
        uint64_t opening = p.tcp_syn_sent_s * S, deadline = w.now + opening;
        w.now = deadline - 1 - pick(2) * pick(S);
        assert_true(tcp_step(&w, false, x, SYN | ACK, 5000, 1001));
        deadline = w.now + opening;
        w.now = deadline - 1 - pick(2) * pick(S);
        assert_true(tcp_step(&w, true, x, ACK, 1001, 5001));
        deadline = w.now + p.tcp_established_s * S;
        for (unsigned i = 0; i < 20; i++) {
            bool outbound = pick(2);
            w.now = pick(3) ? w.now + pick(deadline - w.now) : deadline - 1;
            assert_true(tcp_step(&w, outbound, x, ACK, outbound ? 1001 : 5001, outbound ? 5001 : 1001));
            if (outbound || p.refresh == LAB_REFRESH_BOTH)
                deadline = w.now + p.tcp_established_s * S;
        }
        if (pick(2)) {
            w.now = deadline - 1;
            assert_true(tcp_step(&w, false, x, FIN | ACK, 5001, 1001));
            deadline = w.now + p.tcp_closing_s * S;
        }
        w.now = deadline - 1;
        nat_run_to(w.nat, w.now);
        assert_int_equal(counters(&w).sessions_expired, 0);
        nat_run_to(w.nat, deadline);
        assert_int_equal(counters(&w).sessions_expired, 1);
        assert_int_equal(counters(&w).mappings, 0);
        world_end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_walk),
        cmocka_unit_test(no_shared_endpoint),
        cmocka_unit_test(nothing_survives_reset),
        cmocka_unit_test(same_seed_same_ports),
        cmocka_unit_test(never_early),
        cmocka_unit_test(never_early_in_tcp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
