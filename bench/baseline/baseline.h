/*
 * bench/baseline: what punching is measured against.
 *
 * A TURN client (RFC 8656; over TCP to the peer RFC 6062) on bench/loop: one object is one allocation on a server. It
 * authenticates with long-term credentials (RFC 8489, 9.2), keeps the allocation, its permissions and its channels
 * alive until it is closed, and deletes the allocation then.
 *
 * Nothing here blocks, and nothing calls back from within the call that started it: events come from loop_run().
 */
#ifndef BENCH_BASELINE_H
#define BENCH_BASELINE_H

#include "bench/base/base.h"
#include "bench/loop/loop.h"
#include "bench/peer/technique.h"

/* ---- a TURN allocation ----------------------------------------------------------------------- */

/* How a request or the whole allocation ended. */
enum baseline_turn_fate {
    BASELINE_TURN_OK,
    BASELINE_TURN_NO_ANSWER,         /* nothing came within `patience_ns`; or the TCP connection ended */
    BASELINE_TURN_UNREACHABLE,       /* refused by the server's host (ICMP, RST), or there is no way to it */
    BASELINE_TURN_WRONG_CREDENTIALS, /* 401 or 441 although we had authenticated */
    BASELINE_TURN_STALE_NONCE,       /* 438 also with the new nonce */
    BASELINE_TURN_GONE,              /* 437: the server has no such allocation (any more), or has one already for each
                                      * of three ports that we tried */
    BASELINE_TURN_QUOTA,             /* 486: this user has too many */
    BASELINE_TURN_CAPACITY,          /* 508: the server has no port left */
    BASELINE_TURN_FORBIDDEN,         /* 403 */
    BASELINE_TURN_UNSUPPORTED,       /* 400, 420, 440, 442: not this transport, not this family */
    BASELINE_TURN_PEER_UNREACHABLE,  /* 447: the server could not connect to the peer */
    BASELINE_TURN_PROTOCOL,          /* an answer that makes no sense, or another error code */
    BASELINE_TURN_FATES
};
/* "turn_ok", "turn_no_answer", "turn_wrong_credentials", ...: one word, for records; static storage. */
const char *baseline_turn_fate_name(enum baseline_turn_fate fate);

enum baseline_turn_event_kind {
    BASELINE_TURN_ALLOCATED, /* peer: the relayed endpoint; mapped: ours, as the server sees it */
    BASELINE_TURN_PERMITTED, /* peer: as it was asked for */
    BASELINE_TURN_BOUND,     /* peer: as it was asked for; data to it goes through a channel from now on */
    BASELINE_TURN_DATA,      /* peer: who sent it; data, data_len: until the callback returns */
    BASELINE_TURN_CONNECTED, /* RFC 6062. peer; incoming; fd: a blocking TCP socket that is yours now. Nothing behind
                              * the server's last answer has been read from it: what the peer sent early is still there.
                              */
    BASELINE_TURN_REFUSED,   /* one request for `peer` failed: fate, code; the allocation stands */
    BASELINE_TURN_FAILED,    /* the allocation is not to be had, or lost: fate, code. Only CLOSED follows. */
    BASELINE_TURN_CLOSED,    /* after baseline_turn_close(): the last event, the object is gone */
};

struct baseline_turn_event {
    enum baseline_turn_event_kind kind;
    union base_ep peer, mapped;
    const uint8_t *data;
    size_t data_len;
    int fd;
    bool incoming; /* the peer connected to the relayed endpoint */
    enum baseline_turn_fate fate;
    uint16_t code; /* the server's error code, 0 = none */
};

struct baseline_turn_config {
    union base_ep server;
    bool tcp;       /* the way to the server; else UDP */
    bool relay_tcp; /* the relayed transport (RFC 6062): needs tcp; else UDP */
    /* Copied. As bytes: no preparation of Unicode (RFC 8265) is done. */
    const char *user, *password;
    uint32_t lifetime_s; /* to ask for; 0 = what the server likes */
    /* UDP: the first retransmission after rto_ns, then doubling (RFC 8489, 6.2.1); 0 = 500 ms. An answer is waited for
     * for patience_ns in all; 0 = 39.5 s, the RFC's. */
    uint64_t rto_ns, patience_ns;
    /* When a permission and a channel are asked for again; 0 = 240 s of the 300, and 540 s of the 600, that they last
     * (RFC 8656, 9 and 12). */
    uint64_t permission_ns, channel_ns;
    void (*event)(void *owner, const struct baseline_turn_event *event);
    void *owner;
};

struct baseline_turn;

#define BASELINE_TURN_MAX_NAME  508 /* USERNAME, in bytes (RFC 8489, 14.3) */
#define BASELINE_TURN_MAX_PEERS 8
/* Longest datagram: fits a message of WIRE_STUN_MAX_LEN beside the address. */
#define BASELINE_TURN_MAX_DATA 1400

/* Begins an allocation. 0; -EINVAL for a config that cannot be, -ENOMEM, or -errno of the socket. On 0 the object lives
 * until BASELINE_TURN_CLOSED, whatever happens. */
int baseline_turn_open(struct loop *loop, const struct baseline_turn_config *config, struct baseline_turn **out);
/* Deletes the allocation (Refresh with lifetime 0, waited for a second at most) and closes everything but descriptors
 * that were handed out. The server closes those connections then. From here on only CLOSED comes. */
void baseline_turn_close(struct baseline_turn *turn);

/* The rest: after ALLOCATED. 0, -ENOTCONN before it or when it is lost, -ENOSPC with too many peers or requests. */

/* Lets the peer's address (its port does not matter) through, until close. PERMITTED or REFUSED follows. */
int baseline_turn_permit(struct baseline_turn *turn, const union base_ep *peer);
/* Binds a channel to exactly this endpoint, until close; permits its address too. BOUND or REFUSED follows. */
int baseline_turn_bind(struct baseline_turn *turn, const union base_ep *peer);
/* Sends a datagram: through the channel where one is bound, else as a Send indication. Lossy, as UDP. -EMSGSIZE over
 * BASELINE_TURN_MAX_DATA; -EAGAIN when the way to the server is full. */
int baseline_turn_send(struct baseline_turn *turn, const union base_ep *peer, const void *data, size_t len);
/* RFC 6062: has the server connect to the peer. CONNECTED or REFUSED follows. Peers that connect to the relayed
 * endpoint and are permitted are accepted always. */
int baseline_turn_connect(struct baseline_turn *turn, const union base_ep *peer);

/* ---- a mapped port --------------------------------------------------------------------------- */

enum baseline_portmap_protocol {
    BASELINE_PORTMAP_AUTO,   /* the first of the others that is answered */
    BASELINE_PORTMAP_PCP,    /* RFC 6887 */
    BASELINE_PORTMAP_NATPMP, /* RFC 6886 */
    BASELINE_PORTMAP_UPNP,   /* UPnP-IGD: InternetGatewayDevice:1 and :2 */
    BASELINE_PORTMAP_PROTOCOLS
};
/* "auto", "pcp", "nat-pmp", "upnp"; static storage. */
const char *baseline_portmap_protocol_name(enum baseline_portmap_protocol protocol);

enum baseline_portmap_fate {
    BASELINE_PORTMAP_OK,
    BASELINE_PORTMAP_NO_ANSWER,   /* the gateway is silent, or was when the mapping was to be renewed */
    BASELINE_PORTMAP_UNREACHABLE, /* nobody there speaks PCP or NAT-PMP (ICMP), or there is no gateway */
    BASELINE_PORTMAP_REFUSED,     /* not authorized: switched off, or not for us */
    BASELINE_PORTMAP_RESOURCES,   /* no port left, our quota is full, or (UPnP) all ports that we tried are others' */
    BASELINE_PORTMAP_NETWORK,     /* the gateway itself has no address outside */
    BASELINE_PORTMAP_PROTOCOL,    /* another error, or an answer that makes no sense */
    BASELINE_PORTMAP_FATES
};
/* "map_ok", "map_no_answer", ...; static storage. */
const char *baseline_portmap_fate_name(enum baseline_portmap_fate fate);

enum baseline_portmap_event_kind {
    BASELINE_PORTMAP_MAPPED, /* external: where the port is outside now; again when that changes */
    BASELINE_PORTMAP_FAILED, /* fate, code; only CLOSED follows */
    /* After baseline_portmap_close(): the object is gone. fate: whether a mapping that stood is gone, too, or nobody
     * said so (NO_ANSWER), and it stands until its lifetime is over. */
    BASELINE_PORTMAP_CLOSED,
};

struct baseline_portmap_event {
    enum baseline_portmap_event_kind kind;
    union base_ep external;
    enum baseline_portmap_protocol protocol; /* that it was granted by, or refused last */
    uint64_t found_ns;                       /* UPnP: when the gateway had been found; 0 = it was not */
    uint32_t lifetime_s;                     /* 0 = for ever (UPnP) */
    enum baseline_portmap_fate fate;
    uint16_t code; /* the gateway's result code, 0 = none */
};

struct baseline_portmap_config {
    enum baseline_portmap_protocol protocol;
    union base_ep gateway; /* of PCP and NAT-PMP; UPnP finds its own */
    bool tcp;              /* what is mapped; else UDP */
    uint16_t port;
    uint32_t lifetime_s;  /* to ask for; renewed at half of what is granted */
    uint64_t patience_ns; /* for an answer; of AUTO PCP has a quarter of it, NAT-PMP another one, UPnP the rest */
    void (*event)(void *owner, const struct baseline_portmap_event *event);
    void *owner;
};

struct baseline_portmap;

/* The IPv4 gateway of the default route, with the port that PCP and NAT-PMP have. 0, or -ENETUNREACH. */
int baseline_gateway(union base_ep *out);
/*
 * Asks for a mapping. 0, or -errno; then the object lives until CLOSED. UPnP is libminiupnpc's, which blocks: it runs
 * in a process of its own, forked from this one, that ends with the object. If this process is killed, that one
 * removes the mapping.
 */
int baseline_portmap_open(struct loop *loop, const struct baseline_portmap_config *config,
                          struct baseline_portmap **out);
/* Removes the mapping, waiting a second for the answer at most (UPnP: two). From here on only CLOSED comes. */
void baseline_portmap_close(struct baseline_portmap *map);

/* ---- the techniques --------------------------------------------------------------------------- */

/*
 * `relay`: role a has an allocation, role b is its peer; with tcp-both each has one. The allocation is made after the
 * start instant, so connect_ns has all that a relay costs. The other side is told the relayed endpoint, or what went
 * wrong, by a note through S.
 */
extern const struct peer_technique relay_technique;

/*
 * The last resort of mode auto, for programs to join to a punching technique (peer_technique.last_resort): the relay,
 * in a channel where that technique is UDP's, else by RFC 6062. Options --relay, --relay-user, ...: role a's, as for
 * the technique `relay`.
 */
extern const struct peer_technique relay_resort;

/*
 * `mapped`: role a has its registered port mapped by its gateway, and role b goes there. The mapping is asked for after
 * the start instant, and removed when the trial ends.
 */
extern const struct peer_technique mapped_technique;

#endif
