/*
 * How many packets a second the lab carries on one core, and how exactly it keeps time.
 *
 * All in one process and on one core: bursts of UDP datagrams of 100 bytes are sent in host a, carried to host b by the
 * loop, and received there. Only the CPU time (user and system) of the loop is counted, divided into the packets
 * delivered: polling and reading a's TUN, looking up, counting the TTL down, and writing into b's TUN, which includes
 * b's kernel receiving the packet up to the socket. Sending and receiving are not counted.
 *
 * lab_packets_per_second           no delay
 * lab_packets_per_second_delayed   5 ms through the delay queue
 * lab_packets_per_second_netfilter through two routers: the write then also carries b's router
 * lab_packets_per_second_emulated  through two emulated NATs
 * lab_tun_floor_per_second         the same packets with nothing but read() and write(): what the devices cost here;
 *                                  the lab itself writes in batches
 * lab_tun_read_ns                  of that, the read() of one packet; the rest is its write()
 * lab_syscall_ns                   of each of the two, what any system call costs here
 * lab_late_p99_us                  how late the delay queue lets a packet go: 400 single packets on an idle lab
 * lab_sleep_late_p99_us            how late the kernel wakes a plain sleep here, in steps of 10 us as above
 * lab_late_first_p99_us            lab_late_p99_us when nothing else may go before it (SCHED_FIFO): on a busy machine,
 *                                  what an idle one would show; absent where the system does not let us
 * lab_reset_us                     one lab_reset_nats() of two routers with 2,000 mappings in each
 *
 * Bounded: 300,000 packets or 4 s a way. Needs root or user namespaces, as the lab does.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench/lab/internal.h"
#include "bench/lab/netns.h"

#define PAYLOAD     72 /* 100 bytes with the IPv4 and UDP headers */
#define PORT        7000
#define WAY_NS      (4 * BASE_NS_PER_S)
#define WAY_PACKETS 300000u
#define BURST       256
#define N_TIMED     400
#define GAP_NS      (3 * BASE_NS_PER_MS)
#define N_MAPPING   2000
#define N_SYSCALLS  200000

struct way {
    struct loop *loop;
    struct lab *lab;
    struct lab_host *a, *b;
};

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "perf_lab: %s\n", what);
    exit(1);
}

static union base_ep ep(const char *addr, uint16_t port)
{
    union base_ep out;
    if (base_ep_parse_addr(addr, &out) < 0)
        die(addr);
    base_ep_set_port(&out, port);
    return out;
}

static struct way build(const char *profile, struct lab_link link)
{
    struct way w;
    struct lab_profile p;
    char err[LAB_ERROR_LEN];
    union base_ep pub_a = ep("198.51.100.1", 0), pub_b = ep("198.51.100.2", 0), priv = ep("10.0.0.2", 0);
    int res = loop_create(&w.loop, 0);
    if (res < 0)
        die(loop_explain(res));
    if (lab_create(&w.lab, w.loop, 1, err) < 0 || lab_profile_find("bench/profiles", profile, &p, err) < 0 ||
        lab_add_host(w.lab, "a", &p, &pub_a, 1, &priv, &link, &w.a, err) < 0 ||
        lab_add_host(w.lab, "b", &p, &pub_b, 1, &priv, &link, &w.b, err) < 0)
        die(err);
    return w;
}

static void destroy(struct way *w)
{
    lab_destroy(w->lab);
    loop_destroy(w->loop);
}

static int udp_in(struct lab_host *host, const char *to)
{
    union base_ep local = *lab_host_addr(host), remote = ep(to, PORT);
    int saved, size = 4 << 20;
    base_ep_set_port(&local, PORT);
    if (lab_ns_enter(lab_host_netns(host), &saved) < 0)
        die("no way into the host");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    lab_ns_leave(saved);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (bind(fd, &local.sa, base_ep_len(&local)) < 0 || connect(fd, &remote.sa, base_ep_len(&remote)) < 0)
        die("no socket in the host");
    return fd;
}

/* ---- throughput ------------------------------------------------------------------------------ */

static double cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void run_for(struct way *w, uint64_t ns)
{
    for (uint64_t end = base_now_ns() + ns; base_now_ns() < end;)
        loop_run_once(w->loop, BASE_NS_PER_MS);
}

static void send_burst(int fd)
{
    static char data[PAYLOAD];
    static struct mmsghdr msgs[BURST];
    static struct iovec iov = {data, PAYLOAD};
    for (int i = 0; i < BURST; i++)
        msgs[i].msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
    if (sendmmsg(fd, msgs, BURST, 0) != BURST)
        die("a burst could not be sent");
}

static unsigned drain(int fd)
{
    char buf[PAYLOAD];
    unsigned n = 0;
    while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
        n++;
    return n;
}

/* Moves one burst from a to b. */
typedef void carry_fn(struct way *w);

static void carry_by_lab(struct way *w)
{
    struct lab_counters c;
    lab_counters(w->lab, &c);
    uint64_t target = c.packets + BURST, deadline = base_now_ns() + BASE_NS_PER_S;
    while (c.packets < target && base_now_ns() < deadline) {
        loop_run_once(w->loop, 10 * BASE_NS_PER_MS);
        lab_counters(w->lab, &c);
    }
}

static double read_ns;

static void carry_by_hand(struct way *w)
{
    static uint8_t bufs[BURST][256];
    ssize_t lens[BURST];
    unsigned n = 0;
    double start = cpu_ns();
    while (n < BURST && (lens[n] = read(w->a->tun, bufs[n], sizeof(bufs[n]))) > 0)
        n++;
    read_ns += cpu_ns() - start;
    for (unsigned i = 0; i < n; i++)
        if (write(w->b->tun, bufs[i], (size_t)lens[i]) != lens[i])
            die("a TUN device refused a packet");
}

static void measure(const char *name, const char *profile, struct lab_link link, carry_fn *carry)
{
    struct way w = build(profile, link);
    int in = udp_in(w.b, "198.51.100.1"), out = udp_in(w.a, "198.51.100.2");
    /* Each towards the other: behind routers, this opens both holes. */
    if (send(in, "x", 1, 0) < 0 || send(out, "x", 1, 0) < 0)
        die("nothing can be sent");
    run_for(&w, 50 * BASE_NS_PER_MS);
    drain(in);
    double cpu = 0;
    unsigned packets = 0;
    for (uint64_t end = base_now_ns() + WAY_NS; packets < WAY_PACKETS && base_now_ns() < end;) {
        send_burst(out);
        double start = cpu_ns();
        carry(&w);
        cpu += cpu_ns() - start;
        packets += drain(in);
    }
    printf("%s %.0f\n", name, packets / cpu * 1e9);
    if (carry == carry_by_hand)
        printf("lab_tun_read_ns %.0f\n", read_ns / packets);
    close(in), close(out);
    destroy(&w);
}

/* ---- exactness ------------------------------------------------------------------------------- */

static void measure_lateness(const char *name)
{
    struct way w =
        build("open", lab_link_both((struct lab_way){.delay_ns = 2 * BASE_NS_PER_MS, .jitter_ns = BASE_NS_PER_MS}));
    struct lab_counters c;
    int in = udp_in(w.b, "198.51.100.1"), out = udp_in(w.a, "198.51.100.2");
    for (int i = 0; i < N_TIMED; i++) {
        if (send(out, "x", 1, 0) < 0)
            die("nothing can be sent");
        run_for(&w, GAP_NS);
    }
    lab_counters(w.lab, &c);
    printf("%s %.0f\n", name, (double)c.late_p99_ns / 1e3);
    fprintf(stderr, "perf_lab: %llu packets let go at most %.0f us late\n", (unsigned long long)c.delayed,
            (double)c.late_max_ns / 1e3);
    close(in), close(out);
    destroy(&w);
}

static void measure_sleep(void)
{
    static struct lab_lateness late;
    for (int i = 0; i < N_TIMED; i++) {
        uint64_t when = base_now_ns() + GAP_NS;
        struct timespec ts = {.tv_sec = (time_t)(when / BASE_NS_PER_S), .tv_nsec = (long)(when % BASE_NS_PER_S)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) != 0)
            ;
        lab_lateness_add(&late, base_now_ns() - when);
    }
    printf("lab_sleep_late_p99_us %.0f\n", (double)lab_lateness_quantile(&late, 0.99) / 1e3);
}

static void measure_syscall(void)
{
    double start = cpu_ns();
    for (int i = 0; i < N_SYSCALLS; i++)
        syscall(SYS_getppid);
    printf("lab_syscall_ns %.0f\n", (cpu_ns() - start) / N_SYSCALLS);
}

/* It sleeps nearly all the time: nobody is kept waiting. */
static void measure_lateness_first(void)
{
    struct sched_param fifo = {.sched_priority = 1}, other = {0};
    if (sched_setscheduler(0, SCHED_FIFO, &fifo) < 0)
        return;
    measure_lateness("lab_late_first_p99_us");
    sched_setscheduler(0, SCHED_OTHER, &other);
}

static void measure_reset(void)
{
    struct way w = build("linux-strict", (struct lab_link){0});
    struct lab_host *hosts[] = {w.a, w.b};
    uint64_t n = 0, total = 0;
    for (size_t h = 0; h < BASE_ARRAY_LEN(hosts); h++) {
        int fd = udp_in(hosts[h], "203.0.113.1");
        for (unsigned i = 0; i < N_MAPPING; i++) {
            union base_ep to = ep("203.0.113.1", (uint16_t)(10000 + i));
            if (sendto(fd, "x", 1, 0, &to.sa, base_ep_len(&to)) < 0)
                die("nothing can be sent");
        }
        close(fd);
        lab_host_mappings(w.lab, hosts[h], &n);
        total += n;
    }
    uint64_t start = base_now_ns();
    if (lab_reset_nats(w.lab) < 0)
        die("the NATs could not be reset");
    printf("lab_reset_us %.0f\n", (double)(base_now_ns() - start) / 1e3);
    fprintf(stderr, "perf_lab: %llu mappings reset\n", (unsigned long long)total);
    destroy(&w);
}

int main(void)
{
    char err[LAB_ERROR_LEN];
    if (lab_enter(err) < 0) {
        printf("SKIP: %s\n", err);
        return 0;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct lab_link direct = {0}, delayed = lab_link_both((struct lab_way){.delay_ns = 5 * BASE_NS_PER_MS / 2});
    measure("lab_packets_per_second", "open", direct, carry_by_lab);
    measure("lab_packets_per_second_delayed", "open", delayed, carry_by_lab);
    measure("lab_packets_per_second_netfilter", "linux-strict", direct, carry_by_lab);
    measure("lab_packets_per_second_emulated", "port-restricted", direct, carry_by_lab);
    measure("lab_tun_floor_per_second", "open", direct, carry_by_hand);
    measure_syscall();
    measure_lateness("lab_late_p99_us");
    measure_lateness_first();
    measure_sleep();
    measure_reset();
    return 0;
}
