/*
 * The two NATs of the differential test: a netfilter router in a namespace between two TUNs, and the emulated one. A
 * packet goes through the router alone: a marker that follows it and comes out proves that it was dropped.
 */
#ifndef TESTS_LAB_DIFFERENTIAL_NATS_H
#define TESTS_LAB_DIFFERENTIAL_NATS_H

#include "bench/lab/internal.h"
#include "bench/lab/netns.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "tests/lab/differential_sequence.h"

/* Reached only when a packet that must come does not. */
#define MUST_MS 5000

#define GATEWAY     "10.1.0.1"
#define MARKER_HOST "10.1.0.250:9"
#define MARKER_FAR  "203.0.113.250:9"
#define MARKER_NEAR ROUTER_EXT ":9"

struct result {
    enum lab_nat_verdict verdict;
    bool leaked; /* it left the real router untranslated */
    struct pkt p;
};

struct pair {
    struct lab lab;
    struct lab_host host;
    int fds[2]; /* TUNs, by the direction of what is written to them */
    struct lab_nat *twin;
    unsigned marks;
};

/* In the router's namespace: a TUN where the host's veth was. The rules know it by its name only. */
static int replace_lan(struct pair *pair)
{
    static const char *const del[] = {"ip", "link", "del", LAB_LAN, NULL};
    union base_ep gateway = ep_of(GATEWAY);
    char err[LAB_ERROR_LEN];
    struct lab_nl nl;
    int res = lab_ns_run(del, "", err, sizeof(err));
    if (res == 0)
        res = lab_ns_tun(LAB_LAN, &pair->fds[OUT]);
    if (res == 0)
        res = lab_nl_open(&nl);
    if (res < 0)
        return res;
    res = lab_nl_addr(&nl, LAB_LAN, &gateway, 24);
    if (res == 0)
        res = lab_nl_link_up(&nl, LAB_LAN, 1000);
    lab_nl_close(&nl);
    return res;
}

static struct lab_profile profile_of(const char *name)
{
    char err[LAB_ERROR_LEN];
    struct lab_profile p;
    if (lab_profile_find("bench/profiles", name, &p, err) < 0)
        fail_msg("%s", err);
    return p;
}

static struct pair *pair_new(const char *real, enum lab_window window)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    assert_non_null(pair);
    struct lab_host *h = &pair->host;
    char err[LAB_ERROR_LEN] = "";
    int saved;
    *h = (struct lab_host){.lab = &pair->lab, .name = "r", .profile = profile_of(real), .n_addrs = 1, .tun = -1};
    h->netns = h->router.netns = h->router.count_fd = -1;
    h->addrs[0] = ep_of(ROUTER_EXT);
    h->own = ep_of(insides[0]);
    if (lab_host_build(h, err) < 0)
        fail_msg("%s", err);
    assert_int_equal(lab_ns_enter(h->router.netns, &saved), 0);
    int res = replace_lan(pair);
    lab_ns_leave(saved);
    assert_int_equal(res, 0);
    pair->fds[IN] = h->tun;
    struct lab_profile twin = profile_of("linux-strict-emulated");
    union base_ep external = ep_of(ROUTER_EXT), gateway = ep_of(GATEWAY);
    twin.window = window;
    assert_int_equal(lab_nat_create(&pair->twin, &twin, &external, 1, &gateway, 7, base_now_ns()), 0);
    return pair;
}

static void pair_free(struct pair *pair)
{
    close(pair->fds[OUT]);
    lab_host_close(&pair->host);
    lab_nat_destroy(pair->twin);
    free(pair);
}

static void put(struct pair *pair, enum lab_nat_dir dir, const struct pkt *p)
{
    assert_int_equal(write(pair->fds[dir], p->b, p->len), (ssize_t)p->len);
}

/* Reads one packet; false when there is none within so many milliseconds. */
static bool get(int fd, struct pkt *p, int within_ms)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    ssize_t n = read(fd, p->b, sizeof(p->b));
    if (n < 0 && errno == EAGAIN && within_ms && poll(&ready, 1, within_ms) == 1)
        n = read(fd, p->b, sizeof(p->b));
    p->len = n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* Sends the next marker the same way, and reads what comes out until it does. */
static void until_marker(struct pair *pair, enum lab_nat_dir dir, struct result *out)
{
    struct pkt mark = dir == OUT ? udp(MARKER_HOST, MARKER_FAR) : udp(MARKER_FAR, MARKER_NEAR), got;
    w32(mark.b + 28, ++pair->marks);
    seal(&mark);
    put(pair, dir, &mark);
    for (;;) {
        if (!get(pair->fds[!dir], &got, MUST_MS))
            fail_msg("marker %u did not come out of the router", pair->marks);
        const char *far = dir == OUT ? dst_of(&got) : src_of(&got);
        if (got.b[9] == UDP && strcmp(far, MARKER_FAR) == 0) {
            assert_memory_equal(got.b + 28, mark.b + 28, 4);
            return;
        }
        assert_int_equal(out->verdict, LAB_NAT_DROP); /* one packet in, one out */
        out->verdict = LAB_NAT_FORWARD;
        out->p = got;
    }
}

static struct result through_real(struct pair *pair, enum lab_nat_dir dir, const struct pkt *p)
{
    struct result out = {.verdict = LAB_NAT_DROP};
    struct pkt back;
    put(pair, dir, p);
    until_marker(pair, dir, &out);
    while (get(pair->fds[dir], &back, 0)) {
        assert_int_equal(out.verdict, LAB_NAT_DROP);
        out.verdict = LAB_NAT_REPLY;
        out.p = back;
    }
    /* INVALID is not translated, and the router forwards it as it is: to an internet that drops it (RFC 2827). */
    if (out.verdict == LAB_NAT_FORWARD && dir == OUT && strncmp(src_of(&out.p), ROUTER_EXT ":", 13) != 0) {
        out.verdict = LAB_NAT_DROP;
        out.leaked = true;
    }
    return out;
}

static struct result through_twin(struct pair *pair, enum lab_nat_dir dir, const struct pkt *p)
{
    struct result out = {.p = *p};
    struct lab_nat_out reply;
    out.verdict = lab_nat_packet(pair->twin, dir, out.p.b, out.p.len, base_now_ns(), &reply);
    if (out.verdict == LAB_NAT_REPLY) {
        memcpy(out.p.b, reply.reply, reply.reply_len);
        out.p.len = reply.reply_len;
    }
    return out;
}

static void pair_reset(struct pair *pair)
{
    struct result none = {.verdict = LAB_NAT_DROP};
    assert_int_equal(lab_router_reset(&pair->host.router), 0);
    lab_nat_reset(pair->twin, NULL, base_now_ns());
    until_marker(pair, OUT, &none); /* markers may come in from now on */
}

#endif
