/* bench/rendezvous, for its own files only. */
#ifndef BENCH_RENDEZVOUS_INTERNAL_H
#define BENCH_RENDEZVOUS_INTERNAL_H

#include <stdio.h>

#include "bench/base/base.h"
#include "bench/loop/loop.h"
#include "bench/rendezvous/session.h"
#include "bench/wire/wire.h"

#define RENDEZVOUS_MAX_LISTEN 16
/* Further ports on each address, that answer STUN: two descriptors each. */
#define RENDEZVOUS_MAX_SAMPLE_PORTS 256
/* Every --listen twice with --alternate, the second port, and the sampling ports of the addresses. */
#define RENDEZVOUS_MAX_SITES (2 * (RENDEZVOUS_MAX_LISTEN + 1) + 4 * RENDEZVOUS_MAX_SAMPLE_PORTS)
#define RENDEZVOUS_MAX_KEY   1024

struct rendezvous_config {
    union base_ep listen[RENDEZVOUS_MAX_LISTEN];
    size_t n_listen;
    union base_ep alternate; /* port 0; unset = none */
    uint64_t sample_ports;   /* further ports on each address */
    uint16_t sample_first;   /* 0 = after the last port that is served */
    uint8_t key[RENDEZVOUS_MAX_KEY];
    size_t key_len;
    const char *record_dir; /* NULL = none */
    bool json, step, starts, quiet;
    uint64_t stun_rate, join_rate; /* per source address and second; 0 = unlimited */
    uint64_t max_sessions;
};

/* Runs until a signal or, with step, the end of stdin. An enum base_exit. */
int rendezvous_run(const struct rendezvous_config *config);

/* ---- rates per source address: pure (limits.c) ----------------------------------------------- */

struct limits;
/* rate per second, 0 = unlimited. Holds a bounded number of addresses. NULL when out of memory. */
struct limits *limits_create(double rate, double burst, uint64_t seed);
void limits_free(struct limits *l);
/* Takes one for the address (IPv6: its /64, which one customer owns). */
bool limits_take(struct limits *l, const union base_ep *from, uint64_t now_ns);

/* ---- what STUN answers: pure (stun_answer.c) ------------------------------------------------- */

/* How a request came. */
struct stun_ask {
    const union base_ep *from;
    /* The endpoint that was asked, and what CHANGE-REQUEST may change it to, by stun_change(); NULL = not there. */
    const union base_ep *site[4];
    bool stream;
};

struct stun_reply {
    unsigned change; /* which of ask->site it goes out from */
    uint16_t delay_ms;
    union base_ep to;
    size_t len; /* 0 = say nothing */
};

/* CHANGE-REQUEST's flags as an index: 0 none, 1 port, 2 address, 3 both. */
static inline unsigned stun_change(uint32_t flags)
{
    return flags >> 1 & 3;
}

/* Answers one whole message (its bytes may be changed) into out, of WIRE_STUN_MAX_LEN bytes. */
struct stun_reply stun_answer(const struct stun_ask *ask, uint8_t *request, size_t len, uint8_t *out);

/* ---- where S is reachable (site.c) ----------------------------------------------------------- */

struct server;

/* One endpoint, over UDP and TCP. */
struct site {
    struct server *server;
    union base_ep ep;
    int udp_fd, tcp_fd;
    bool sample;    /* one of --sample-ports */
    bool any;       /* bound to 0.0.0.0 or ::, the asked address comes with each packet */
    size_t twin[4]; /* by stun_change(): where an answer goes out from; SIZE_MAX = nowhere */
    struct loop_op udp_op, tcp_op, retry_op;
};

/* Lists the sites of a configuration: pure. 0, or -EINVAL with one sentence in why. */
int site_plan(const struct rendezvous_config *config, struct site *sites, size_t *n, char *why, size_t cap);
/* Opens both sockets. 0, or -errno with *what ("TCP" or "UDP") naming which. */
int site_open(struct site *site, const char **what);
void site_close(struct site *site);
/* How a request to `asked` on this site came. */
void site_ask(const struct site *site, const union base_ep *asked, struct stun_ask *ask);
/* S's STUN endpoints of the family of `asked`, and that one first; at most max. */
size_t site_stun_list(const struct server *server, const union base_ep *asked, union base_ep *out, size_t max);

/* ---- STUN over UDP (udp.c) ------------------------------------------------------------------- */

struct udp_batch;
struct udp_batch *udp_batch_create(void);
void udp_batch_free(struct udp_batch *batch);
void udp_start(struct site *site);
/* Answers that were asked to come later (delay.c): a bounded queue; without room they are lost, as datagrams may be. */
void delay_init(struct server *server);
void delay_put(struct site *site, const union base_ep *asked, const struct stun_reply *reply, const uint8_t *bytes);
void delay_free(struct server *server);
/* Sends one datagram from the address that was asked. */
void udp_send(const struct site *site, const union base_ep *asked, const union base_ep *to, const uint8_t *bytes,
              size_t len);

/* ---- TCP connections (conn.c, control.c) ----------------------------------------------------- */

struct conn;
void conn_accept_start(struct site *site);
/* Sends a whole frame; a peer that does not read is dropped. */
void conn_send(struct conn *c, const uint8_t *bytes, size_t len);
/* No more frames: sends what is queued, then closes once the peer has, or after a while. */
void conn_finish(struct conn *c);
void conn_close_now(struct conn *c);
struct conn *conn_next(const struct conn *c);
/* Looks at the deadlines of all connections. */
void conn_tick(struct server *server, uint64_t now);

/* ---- behaviour discovery (probe.c) ----------------------------------------------------------- */

/* What S does for one connection that discovers its NAT. */
struct prober;
/* The connection came from `from` to `asked`, on that site. Tells it so (WIRE_JOINED). NULL when out of memory. */
struct prober *prober_open(struct conn *c, const struct site *site, const union base_ep *asked,
                           const union base_ep *from, uint64_t rtt_ns);
/* A frame. 0, or -EPROTO with a reason. */
int prober_frame(struct prober *p, enum wire_frame_type type, const struct wire_reader *r, uint64_t now,
                 const char **why);
/* The connection is gone: everything ends, soon. */
void prober_close(struct prober *p);

/* Where SYNs to silent endpoints come from (sniff.c): a raw socket while anybody leases one. */
struct sniffer;
/* One more, or one less, wants to see. False where S may not (CAP_NET_RAW). */
bool sniffer_want(struct server *server, sa_family_t family);
void sniffer_unwant(struct server *server, sa_family_t family);
/* A SYN from outside to one of our endpoints (probe.c). */
void prober_syn(struct server *server, const union base_ep *from, const union base_ep *to);

/* ---- the server (server.c) ------------------------------------------------------------------- */

#define SERVER_BUCKETS 16384

struct server {
    struct session_host host; /* first: a host is its server */
    const struct rendezvous_config *config;
    struct loop *loop;
    bool stopping;
    struct site sites[RENDEZVOUS_MAX_SITES];
    size_t n_sites;
    struct limits *stun_limits, *join_limits;
    struct udp_batch *batch;

    struct conn *conns; /* all, newest first */
    size_t n_conns;
    uint8_t *scratch; /* one read's worth, shared by all connections */
    uint64_t last_accept_error_ns;
    uint64_t violations;

    struct session *buckets[SERVER_BUCKETS];
    size_t n_sessions;
    uint64_t hash_seed;

    struct prober *probers;
    struct sniffer *sniffers[2]; /* IPv4, IPv6 */
    struct limits *probe_limits;
    struct delayed *delayed; /* soonest first */
    size_t n_delayed;

    struct loop_op tick_op, signal_op, stdin_op, delay_op;
    int signal_fd;
    FILE *record;
    uint64_t step_lines; /* lines that came before anybody wanted one */
    struct session *step_first, **step_last;
    char stdin_buf[4096];
};

/* One read from a connection: what may come in one go. */
#define SERVER_SCRATCH (64 * 1024)

/* A proven peer joins the session of that name. 0 with *session and *role, or an enum wire_error with a reason. */
int server_join(struct server *server, const struct session_hello *hello, const struct session_place *place,
                struct conn *peer, struct session **session, enum wire_role *role, const char **why);
/* NULL: there is none of that name. */
struct session *server_find(struct server *server, const char *name);
/* Keeps the deadlines watched while there are connections, or places kept for those that were lost. */
void server_wake(struct server *server);
/* Frees the session once nobody is in it: call it after each call into a session. */
void server_settle(struct server *server, struct session *s);

#endif
