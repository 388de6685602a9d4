/* bench/discover, for its own files only. */
#ifndef BENCH_DISCOVER_INTERNAL_H
#define BENCH_DISCOVER_INTERNAL_H

#include "bench/discover/discover.h"

#define DISCOVER_PORT_LO  20000
#define DISCOVER_PORT_HI  32767
#define DISCOVER_SAMPLES  24
#define DISCOVER_KEY_MAX  1024
#define DISCOVER_STUN_MAX 16

/* ---- tests: stages one after the other (engine.c) -------------------------------------------- */

/*
 * A test is a list of stages. A stage starts operations in the name of its test and returns; once all of them have
 * completed, the next stage is called. Operations that are started without a test ("background") are waited for by
 * nobody; a later stage looks at them. All operations live until the discovery is freed.
 */
struct test;
typedef void stage_fn(struct test *t);

#define TEST_OPS 128

struct test {
    struct discover *d;
    struct test *next;
    stage_fn *const *stages; /* NULL-terminated */
    unsigned waiting;
    bool running, over;
    void *ops[TEST_OPS]; /* the test's own memory of what it started */
    unsigned n, round;
};

void test_begin(struct discover *d, stage_fn *const *stages);
/* One operation more is waited for; one has completed. With t NULL nothing. */
void test_wait(struct test *t);
void test_done(struct test *t);
/* From a stage: no further ones. */
void test_end(struct test *t);
/* From a stage: the same one is called again after this round of operations. */
void test_again(struct test *t);
/* From the last stage: the whole test once more, until it has run so many times. */
void test_repeat(struct test *t, stage_fn *const *stages, unsigned most);
/* Waits for so long. */
void wait_start(struct test *t, uint64_t ns);

/* What is in every operation. */
struct item {
    struct item *next;
    void (*stop)(struct item *item);       /* cancels, closes */
    bool (*pending)(const struct item *i); /* does an operation of the loop still point here? */
};
void item_add(struct discover *d, struct item *item);
/* From a completion: true when the discovery is over, so that nothing is to be done. */
bool discover_over(struct discover *d);

/* ---- samples and notes ------------------------------------------------------------------------ */

void sample_add(struct discover *d, const union base_ep *local, const union base_ep *remote,
                const union base_ep *mapped, uint64_t now_ns);
void believe(struct discover *d, enum predict_property property, int value, double confidence);
void note(struct discover *d, enum predict_property property, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Ends the discovery with an error and one sentence. */
void discover_fail(struct discover *d, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The request's bytes; 0 for delay, change and response_port where they are not wanted. The length, or -errno. */
struct request {
    uint8_t txid[WIRE_STUN_TXID_LEN];
    uint8_t bytes[64];
    size_t len;
};
struct request_options {
    uint32_t change; /* WIRE_STUN_CHANGE_* */
    uint16_t delay_ms, response_port;
};
int request_make(struct request *r, const struct request_options *options);

/* ---- UDP (datagram.c) -------------------------------------------------------------------------- */

/* A local port with its socket. */
struct port {
    struct item item;
    struct discover *d;
    int fd;
    union base_ep local;
    struct loop_op op;
    struct ask *asks;
    union base_ep hairpin_from; /* where our own datagram came from */
};

/* NULL when there is none to be had. */
struct port *port_open(struct discover *d);

struct ask {
    struct item item;
    struct discover *d;
    struct test *test;
    struct port *port;  /* where the answer comes, */
    struct port *asker; /* and where the question leaves */
    struct ask *next;   /* of this port */
    union base_ep to;
    struct request request;
    struct request_options options;
    unsigned tries; /* left */
    uint64_t rto_ns, sent_ns, answered_ns;
    bool done;
    enum discover_verdict verdict;
    struct discover_answer answer;
    union base_ep from;
    struct loop_op timer;
};

/* Asks from a port; NULL (and no wait) where that is impossible. tries 0 = the usual. `last_ns` is how long to wait for
 * the last try's answer, 0 = the usual. */
struct ask *ask_start(struct test *t, struct port *port, const union base_ep *to, const struct request_options *options,
                      unsigned tries, uint64_t last_ns);
/* Closes its socket, while nobody waits for answers. */
void port_close(struct port *port);
/* Our own datagram to another port's mapped endpoint. */
void port_hairpin(struct port *port, const union base_ep *to);

/* ---- TCP (stream.c) ---------------------------------------------------------------------------- */

/* A local port that is held for us: sockets join it by SO_REUSEADDR and SO_REUSEPORT. */
struct slot {
    struct item item;
    struct discover *d;
    int fd;
    int listener, held; /* -1 = none */
    union base_ep local;
};

struct slot *slot_open(struct discover *d);
/* A non-blocking socket on the slot's port, or -errno. */
int slot_socket(const struct slot *slot);
/* Opens a listener beside. 0, or -errno. */
int slot_listen(struct slot *slot);
/* A SYN to that endpoint; its socket is held until slot_drop(), one at a time. 0, or -errno. */
int slot_syn(struct slot *slot, const union base_ep *to);
void slot_drop(struct slot *slot);
void slot_close(struct slot *slot);
void close_reset(int fd);
/* Whether a SYN came to the port and waits for its handshake's end, and from where (ports of /proc/net/tcp). */
bool slot_half_open(const struct slot *slot, union base_ep *from);

/* A connection with a STUN request on it. Stays open until closed: it keeps the mapping. */
struct link {
    struct item item;
    struct discover *d;
    struct test *test;
    struct slot *slot;
    union base_ep to;
    struct request request;
    int fd;
    bool done, connected;
    int err;
    enum discover_verdict verdict;
    struct discover_answer answer;
    uint64_t began_ns, answered_ns;
    size_t rx_len;
    uint8_t rx[512];
    struct loop_op op, timer;
    enum { LINK_CONNECT, LINK_RECEIVE } step;
};

struct link *link_start(struct test *t, struct slot *slot, const union base_ep *to, uint16_t delay_ms,
                        uint64_t limit_ns);
void link_close(struct link *l);

/* ---- the control connection (control.c) --------------------------------------------------------- */

struct control;
/* Joins S from the slot's port; the test goes on whether that works or not. */
void control_start(struct test *t, struct slot *slot);
/* Joined, or it never will be. */
bool control_settled(const struct discover *d);

/* One request to S. */
struct probe {
    struct item item;
    struct test *test;
    uint64_t stamp, sent_ns, answered_ns;
    bool done;
    enum wire_probed result;
    uint64_t icmp, lease, count;
    union base_ep ep; /* leased, or the source */
};

struct probe *probe_lease(struct test *t, bool silent);
struct probe *probe_source(struct test *t, const struct probe *lease);
struct probe *probe_connect(struct test *t, enum wire_from from, const struct probe *lease, const union base_ep *to,
                            uint64_t wait_ns);

/* ---- one discovery ------------------------------------------------------------------------------ */

/* The n-th sample of a series goes to this one of S's endpoints. */
const union base_ep *series_remote(const struct discover *d, unsigned n);

enum phase { PHASE_CONTACT, PHASE_MAPPING, PHASE_ALLOCATION, PHASE_REST, PHASE_SLOW, PHASE_END };

struct discover {
    struct discover_config config;
    uint8_t key[DISCOVER_KEY_MAX];
    struct loop *loop;
    discover_done_fn *done;
    void *owner;
    struct discover_result result;
    size_t cap_samples;
    struct base_rng rng;
    uint64_t start_ns;
    union base_ep local; /* this host's address on the way to S; port 0 */
    bool over, told, in_series;
    struct loop_op end_op;
    enum phase phase;
    struct test *tests;
    unsigned running;
    struct item *items;
    uint8_t hairpin_txid[WIRE_STUN_TXID_LEN];

    /* the server's endpoints: unset where there is none */
    union base_ep other_port, other_addr, other_both;
    union base_ep stun[DISCOVER_STUN_MAX]; /* as it announced them */
    size_t n_stun;

    struct port *first_port;
    struct slot *first_slot, *control_slot;
    struct link *first_link;
    struct control *control; /* joined, or NULL */
    union base_ep seen;      /* the control connection's mapped endpoint */
    char control_problem[DISCOVER_NOTE];

    /* what judges at the end look at */
    bool mapping_moves;
    struct {
        bool asked, other_addr, other_port, last, last_known;
    } filter;
    struct {
        double lo, hi; /* what the coarse pass of the lifetime test found */
    } life;
    struct {
        unsigned held, held_ok, remade, remade_ok;
        bool rst_tried, rst_through, rst_reached;
    } hole;
};

static inline bool is_tcp(const struct discover *d)
{
    return d->config.transport == DISCOVER_TCP;
}

/* A wait that an answer should not outlast: three round trips and some slack for a busy machine. */
uint64_t patience_ns(const struct discover *d);
/* How long S waits for a connect to come through: as long as it can before it repeats its SYN, where that is enough. */
uint64_t short_wait_ns(const struct discover *d);
/* The same with one repetition. */
uint64_t repeat_wait_ns(const struct discover *d);
/* Takes what an answer or an announcement says of S's other endpoints. */
void learn_server(struct discover *d, const union base_ep *other);

/* How often last-destination-only is tested for until a late answer has been heard. */
#define LAST_ROUNDS 3

/* The tests (udp.c, tcp.c, holes.c). */
extern stage_fn *const udp_contact[],
    *const udp_mapping[], *const udp_allocation[], *const udp_filter[], *const udp_last[], *const udp_hairpin[],
                                                                                               *const udp_lifetime[],
                                                                                                   *const udp_series[];
extern stage_fn *const tcp_contact[],
    *const tcp_mapping[], *const tcp_allocation[],
                              *const tcp_filter[], *const tcp_last[], *const tcp_hairpin[], *const tcp_series[],
                                                                                                *const hole_window[],
                                                                                                    *const hole_reset[];
/* What follows from the observations of all tests (judge.c). */
void judge_mapping(struct discover *d, const union base_ep mapped[4]);
void judge_allocation(struct discover *d);
/* A narrow range: a block or a band? Where it ends takes more samples to tell: judge_narrow() then looks at all. */
bool allocation_narrow(const struct discover *d);
void judge_narrow(struct discover *d);
void judge_filtering(struct discover *d);
void judge_holes(struct discover *d);
/* What a SYN that nobody asked for got; unused: at a port without a mapping. */
void judge_syn(struct discover *d, const struct probe *p, bool unused);
void judge_unknown(struct discover *d);

#endif
