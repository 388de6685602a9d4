/*
 * Captures, read back by code of their own. Pins: a file that pcap readers refuse, a packet that is missing on one side
 * of a NAT, untranslated or not, or there twice, a checksum that is wrong on the wire, time that goes back, a file that
 * grows past its limit, and a full disk that stops more than the capture.
 */
#include <arpa/inet.h>
#include <ftw.h>
#include <sys/stat.h>

#include "tests/lab/world.h"

#define MAX_BYTES 65536

struct capture {
    uint8_t bytes[MAX_BYTES];
    size_t len, at;
    uint64_t last_ns;
};

static uint32_t word(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static void open_capture(struct capture *c, const char *dir, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    if (!f)
        fail_msg("no %s", path);
    c->len = fread(c->bytes, 1, sizeof(c->bytes), f);
    fclose(f);
    assert_in_range(c->len, 24, MAX_BYTES - 1);
    assert_int_equal(word(c->bytes), 0xa1b23c4d); /* nanoseconds */
    assert_int_equal(word(c->bytes + 4), 2 | 4 << 16);
    assert_int_equal(word(c->bytes + 20), 101); /* raw IP */
    c->at = 24;
    c->last_ns = 0;
}

/* RFC 1071, byte by byte. */
static unsigned sum16(const uint8_t *p, size_t len, unsigned sum)
{
    for (size_t i = 0; i < len; i++)
        sum += (unsigned)p[i] << (i & 1 ? 0 : 8);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static void check_sums(const uint8_t *ip, size_t len)
{
    size_t head = 4u * (ip[0] & 15);
    unsigned pseudo = sum16(ip + 12, 8, ip[9] + (unsigned)(len - head));
    assert_int_equal(sum16(ip, head, 0), 0xffff);
    assert_int_equal(sum16(ip + head, len - head, pseudo), 0xffff);
}

/* The next packet, whole and sound, or NULL at the end. */
static const uint8_t *next_packet(struct capture *c, size_t *len)
{
    if (c->at == c->len)
        return NULL;
    assert_true(c->at + 16 <= c->len);
    const uint8_t *header = c->bytes + c->at, *ip = header + 16;
    uint64_t ns = (uint64_t)word(header) * BASE_NS_PER_S + word(header + 4);
    assert_true(word(header + 4) < BASE_NS_PER_S && ns >= c->last_ns);
    c->last_ns = ns;
    *len = word(header + 8);
    assert_int_equal(*len, word(header + 12));
    c->at += 16 + *len;
    assert_true(c->at <= c->len);
    assert_int_equal(ip[0] >> 4, 4);
    assert_int_equal(*len, (size_t)(ip[2] << 8 | ip[3]));
    check_sums(ip, *len);
    return ip;
}

/* Packets of the file whose source is (dir 12) or whose destination is (dir 16) that address. */
static unsigned count(const char *dir, const char *name, size_t offset, const char *addr)
{
    static struct capture c;
    uint32_t want = inet_addr(addr);
    const uint8_t *ip;
    size_t len;
    unsigned n = 0;
    open_capture(&c, dir, name);
    while ((ip = next_packet(&c, &len)))
        n += word(ip + offset) == want;
    return n;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

static void remove_dir(const char *dir)
{
    assert_int_equal(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static struct world captured_world(const char *profile, const char *dir, uint64_t limit)
{
    char err[LAB_ERROR_LEN] = "";
    struct world w;
    assert_int_equal(loop_create(&w.loop, 0), 0);
    assert_int_equal(lab_create(&w.lab, w.loop, 1, err), 0);
    w.a = add(&w, "a", profile, "198.51.100.1", "10.1.0.2", (struct lab_link){0});
    w.b = add(&w, "b", "open", "198.51.100.65", "10.2.0.2", (struct lab_link){0});
    w.s = add(&w, "s", "open", "203.0.113.9", "10.9.0.2", (struct lab_link){0});
    if (lab_capture(w.lab, dir, limit, err) < 0)
        fail_msg("%s", err);
    return w;
}

enum { SOURCE = 12, DESTINATION = 16 };

/* A TCP connection and `n` datagrams, there and back. */
static void talk(struct world *w, int n)
{
    int control = listen_in(w->s, 8000), s = sock_in(w->s, SOCK_DGRAM, 1001), a = sock_in(w->a, SOCK_DGRAM, 5000);
    struct pair p = connect_pair(w, w->a, control, 8000);
    for (int i = 0; i < n; i++) {
        send_to(a, "203.0.113.9", 1001);
        union base_ep from = came_from(w, s);
        assert_int_equal(sendto(s, "y", 1, 0, &from.sa, base_ep_len(&from)), 1);
        came_from(w, a);
    }
    close(p.client), close(p.server), close(control), close(s), close(a);
}

static void each_side_of_a_nat_is_there(void **state)
{
    (void)state;
    char dir[] = "/tmp/punchbench-pcap.XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct world w = captured_world("double-nat", dir, 1 << 20);
    talk(&w, 3);
    world_free(&w);
    unsigned out = count(dir, "a.pcap", SOURCE, "10.1.0.2"), in = count(dir, "a.pcap", DESTINATION, "10.1.0.2");
    /* SYN, ACK and what is sent at the end; the datagrams. */
    assert_true(out >= 3 + 2 && in >= 3 + 1);
    assert_int_equal(count(dir, "a-out.pcap", SOURCE, "100.64.0.2"), out);
    assert_int_equal(count(dir, "a-out.pcap", DESTINATION, "100.64.0.2"), in);
    assert_int_equal(count(dir, "a-out2.pcap", SOURCE, "203.0.113.9"), in);
    assert_int_equal(count(dir, "a-out2.pcap", DESTINATION, "203.0.113.9"), out);
    assert_int_equal(count(dir, "a-out.pcap", SOURCE, "10.1.0.2"), 0);
    assert_int_equal(count(dir, "s.pcap", SOURCE, "203.0.113.9"), in);
    assert_int_equal(count(dir, "s.pcap", DESTINATION, "203.0.113.9"), out);
    assert_int_equal(count(dir, "b.pcap", SOURCE, "10.1.0.2"), 0);
    remove_dir(dir);
}

static void a_router_shows_its_outside(void **state)
{
    (void)state;
    char dir[] = "/tmp/punchbench-pcap.XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    struct world w = captured_world("linux-strict", dir, 1 << 20);
    talk(&w, 3);
    world_free(&w);
    assert_true(count(dir, "a-out.pcap", SOURCE, "198.51.100.1") >= 5);
    assert_int_equal(count(dir, "a-out.pcap", SOURCE, "10.1.0.2"), 0);
    snprintf(path, sizeof(path), "%s/a.pcap", dir);
    assert_int_equal(access(path, F_OK), -1);
    remove_dir(dir);
}

static void a_file_ends_at_its_limit(void **state)
{
    (void)state;
    char dir[] = "/tmp/punchbench-pcap.XXXXXX", path[64];
    struct stat st;
    assert_non_null(mkdtemp(dir));
    struct world w = captured_world("full-cone", dir, 1000);
    talk(&w, 40);
    world_free(&w);
    snprintf(path, sizeof(path), "%s/a.pcap", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_in_range(st.st_size, 900, 1000);
    /* And it is whole up to there. */
    assert_true(count(dir, "a.pcap", SOURCE, "10.1.0.2") > 5);
    remove_dir(dir);
}

static void what_cannot_be_written_stops_the_capture_only(void **state)
{
    (void)state;
    struct lab_pcap *p;
    char err[LAB_ERROR_LEN];
    assert_int_equal(lab_pcap_open(&p, "/dev/full", 1 << 20), 0);
    for (int i = 0; i < 3; i++) {
        lab_pcap_packet(p, (const uint8_t *)"packet", 6);
        lab_pcap_flush(p);
    }
    lab_pcap_close(p);
    struct world w = world_new("full-cone", (struct lab_link){0});
    assert_int_equal(lab_capture(w.lab, "/nonexistent", 1 << 20, err), -ENOENT);
    assert_non_null(strstr(err, "/nonexistent/a.pcap cannot be written"));
    talk(&w, 1);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_side_of_a_nat_is_there),
        cmocka_unit_test(a_router_shows_its_outside),
        cmocka_unit_test(a_file_ends_at_its_limit),
        cmocka_unit_test(what_cannot_be_written_stops_the_capture_only),
    };
    return world_run(tests) ? 1 : 0;
}
