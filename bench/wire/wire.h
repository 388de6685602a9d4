/*
 * bench/wire: the bytes that go between programs. STUN (RFC 8489, RFC 5780), TURN (RFC 8656, RFC 6062), the control
 * protocol between a peer and S, and the path messages between two peers. Memory in, memory out: no I/O, no clock, and
 * no allocation but in struct wire_kept.
 *
 * Telling them apart by the first byte (RFC 7983): 0-3 is STUN and TURN, 64-79 TURN's channel data, WIRE_FRAME_MAGIC a
 * control frame, WIRE_PATH_MAGIC a path message.
 *
 * Decoders take any bytes: they return -EBADMSG for what cannot be right, -EAGAIN for what is not yet whole
 * (streams), and never read past `len`.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/base/base.h"

/* ---- STUN: RFC 8489, RFC 5780 ---------------------------------------------------------------- */

#define WIRE_STUN_HEADER_LEN 20
#define WIRE_STUN_COOKIE     0x2112A442u
#define WIRE_STUN_TXID_LEN   12
/* Longest message that we build or accept: PADDING of an Ethernet MTU (RFC 5780, 7.6) and the rest. A binding exchange
 * without it needs under 100 bytes. */
#define WIRE_STUN_MAX_LEN 2048

enum wire_stun_class {
    WIRE_STUN_REQUEST = 0,
    WIRE_STUN_INDICATION = 1,
    WIRE_STUN_SUCCESS = 2,
    WIRE_STUN_ERROR = 3,
};

enum { WIRE_STUN_BINDING = 0x001 };

enum wire_stun_attr {
    WIRE_STUN_MAPPED_ADDRESS = 0x0001,
    WIRE_STUN_CHANGE_REQUEST = 0x0003, /* RFC 5780 */
    WIRE_STUN_USERNAME = 0x0006,
    WIRE_STUN_MESSAGE_INTEGRITY = 0x0008,
    WIRE_STUN_ERROR_CODE = 0x0009,
    WIRE_STUN_UNKNOWN_ATTRIBUTES = 0x000A,
    WIRE_STUN_REALM = 0x0014,
    WIRE_STUN_NONCE = 0x0015,
    WIRE_STUN_XOR_MAPPED_ADDRESS = 0x0020,
    WIRE_STUN_PRIORITY = 0x0024,
    WIRE_STUN_PADDING = 0x0026,       /* RFC 5780 */
    WIRE_STUN_RESPONSE_PORT = 0x0027, /* RFC 5780 */
    WIRE_STUN_SOFTWARE = 0x8022,
    WIRE_STUN_FINGERPRINT = 0x8028,
    WIRE_STUN_ICE_CONTROLLED = 0x8029,
    WIRE_STUN_ICE_CONTROLLING = 0x802A,
    WIRE_STUN_RESPONSE_ORIGIN = 0x802B, /* RFC 5780 */
    WIRE_STUN_OTHER_ADDRESS = 0x802C,   /* RFC 5780 */
    /* Ours, in the range for anybody's use (RFC 8489, 18.3): answer so many ms later. WIRE_STUN_DELAY_LEN bytes, the
     * first two are the delay; the rest pays for the answer, which is never longer than the request. */
    WIRE_STUN_DELAY = 0xC0B5,
};
#define WIRE_STUN_DELAY_LEN    20
#define WIRE_STUN_DELAY_MAX_MS 10000

/* CHANGE-REQUEST flags (RFC 5780, 7.2). */
enum { WIRE_STUN_CHANGE_IP = 0x4, WIRE_STUN_CHANGE_PORT = 0x2 };

#define WIRE_STUN_MAX_UNKNOWN 16

/* A decoded message. Pointers point into the decoded bytes and live as long as they do. */
struct wire_stun {
    enum wire_stun_class cls;
    uint16_t method;
    uint8_t txid[WIRE_STUN_TXID_LEN];
    union base_ep xor_mapped; /* XOR-MAPPED-ADDRESS */
    union base_ep mapped;     /* MAPPED-ADDRESS (RFC 3489 servers) */
    union base_ep other;      /* OTHER-ADDRESS */
    union base_ep origin;     /* RESPONSE-ORIGIN */
    uint16_t error_code;      /* 300-699, 0 = none */
    const char *reason;
    size_t reason_len;
    const char *software;
    size_t software_len;
    bool has_change_request;
    uint32_t change_request; /* WIRE_STUN_CHANGE_* */
    bool has_response_port;
    uint16_t response_port;
    size_t padding_len;
    bool has_delay;
    uint16_t delay_ms;
    bool has_fingerprint;                    /* present; it was right, or decoding had failed */
    const uint8_t *integrity;                /* MESSAGE-INTEGRITY's 20 bytes, NULL = none */
    uint16_t unknown[WIRE_STUN_MAX_UNKNOWN]; /* unknown comprehension-required attributes */
    size_t n_unknown;
};

/* Bytes of the whole message whose start is in buf: header + length field (streams, RFC 8489 6.2.2).
 * -EAGAIN under 20 bytes, -EBADMSG for what is not STUN or longer than WIRE_STUN_MAX_LEN. */
int wire_stun_frame_len(const uint8_t *buf, size_t len);
/* Decodes one whole message of exactly len bytes. 0, or -EBADMSG. A FINGERPRINT, where present, must be right. */
int wire_stun_decode(const uint8_t *buf, size_t len, struct wire_stun *out);
/* HMAC-SHA1 check of MESSAGE-INTEGRITY under `key` (RFC 8489, 14.5). `buf`, `len` and `msg` as for wire_stun_decode.
 * True when present and right. */
bool wire_stun_check_integrity(const uint8_t *buf, size_t len, const struct wire_stun *msg, const uint8_t *key,
                               size_t key_len);

/* An encoder over the caller's buffer. Errors stick: wire_stun_end() reports them. */
struct wire_stun_writer {
    uint8_t *buf;
    size_t cap;
    size_t len;
    bool overflow;
};

void wire_stun_begin(struct wire_stun_writer *w, uint8_t *buf, size_t cap, enum wire_stun_class cls, uint16_t method,
                     const uint8_t txid[WIRE_STUN_TXID_LEN]);
void wire_stun_put(struct wire_stun_writer *w, uint16_t attr, const void *value, size_t len);
void wire_stun_put_u32(struct wire_stun_writer *w, uint16_t attr, uint32_t value);
/* XORed where attr is XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS or XOR-RELAYED-ADDRESS, else a plain address. */
void wire_stun_put_address(struct wire_stun_writer *w, uint16_t attr, const union base_ep *ep);
void wire_stun_put_error(struct wire_stun_writer *w, uint16_t code, const char *reason);
void wire_stun_put_unknown(struct wire_stun_writer *w, const uint16_t *attrs, size_t n);
void wire_stun_put_integrity(struct wire_stun_writer *w, const uint8_t *key, size_t key_len);
/* Adds FINGERPRINT when asked, fixes the length field; the message's length, or -ENOSPC. */
int wire_stun_end(struct wire_stun_writer *w, bool fingerprint);

/* ---- TURN: RFC 8656, and over TCP RFC 6062 --------------------------------------------------- */

/* Methods. A peer is whoever is on the other side of the relay. */
enum {
    WIRE_TURN_ALLOCATE = 0x003,
    WIRE_TURN_REFRESH = 0x004,
    WIRE_TURN_SEND = 0x006, /* indication, to a peer */
    WIRE_TURN_DATA = 0x007, /* indication, from a peer */
    WIRE_TURN_CREATE_PERMISSION = 0x008,
    WIRE_TURN_CHANNEL_BIND = 0x009,
    WIRE_TURN_CONNECT = 0x00A,            /* RFC 6062 */
    WIRE_TURN_CONNECTION_BIND = 0x00B,    /* RFC 6062 */
    WIRE_TURN_CONNECTION_ATTEMPT = 0x00C, /* RFC 6062: indication, a peer has connected */
};

enum wire_turn_attr {
    WIRE_TURN_CHANNEL_NUMBER = 0x000C,
    WIRE_TURN_LIFETIME = 0x000D,
    WIRE_TURN_XOR_PEER_ADDRESS = 0x0012,
    WIRE_TURN_DATA_ATTR = 0x0013,
    WIRE_TURN_XOR_RELAYED_ADDRESS = 0x0016,
    WIRE_TURN_REQUESTED_ADDRESS_FAMILY = 0x0017,
    WIRE_TURN_EVEN_PORT = 0x0018,
    WIRE_TURN_REQUESTED_TRANSPORT = 0x0019,
    WIRE_TURN_DONT_FRAGMENT = 0x001A,
    WIRE_TURN_RESERVATION_TOKEN = 0x0022,
    WIRE_TURN_CONNECTION_ID = 0x002A, /* RFC 6062 */
};

/* REQUESTED-TRANSPORT: protocol numbers of IP. */
enum { WIRE_TURN_UDP = 17, WIRE_TURN_TCP = 6 };
/* REQUESTED-ADDRESS-FAMILY. */
#define WIRE_TURN_IPV6 0x02

/* Error codes (RFC 8656, 19; RFC 6062, 6.3; RFC 8489, 14.8). */
enum {
    WIRE_TURN_E_BAD_REQUEST = 400,
    WIRE_TURN_E_UNAUTHORIZED = 401,
    WIRE_TURN_E_FORBIDDEN = 403,
    WIRE_TURN_E_ALLOCATION_MISMATCH = 437,
    WIRE_TURN_E_STALE_NONCE = 438,
    WIRE_TURN_E_ADDRESS_FAMILY = 440,
    WIRE_TURN_E_WRONG_CREDENTIALS = 441,
    WIRE_TURN_E_TRANSPORT = 442,
    WIRE_TURN_E_CONNECTION_EXISTS = 446,
    WIRE_TURN_E_CONNECTION_FAILED = 447,
    WIRE_TURN_E_QUOTA = 486,
    WIRE_TURN_E_CAPACITY = 508,
};

/* Longest realm and nonce that a server may send: both are under 128 characters (RFC 8489, 14.9 and 14.10), which are
 * at most 763 bytes. */
#define WIRE_TURN_TEXT_MAX 763
#define WIRE_TURN_KEY_LEN  16

/* A decoded message: what STUN has, and TURN's attributes; the first of each counts. Pointers point into the decoded
 * bytes. `stun.unknown` has only what neither knows. */
struct wire_turn {
    struct wire_stun stun;
    union base_ep relayed, peer;
    bool has_lifetime, has_channel, has_connection;
    uint32_t lifetime_s;
    uint16_t channel;
    uint32_t connection; /* CONNECTION-ID, as it came */
    uint8_t transport;   /* REQUESTED-TRANSPORT; 0 = none */
    const uint8_t *data; /* NULL = no DATA; may be of no bytes */
    size_t data_len;
    const char *username, *realm, *nonce; /* NULL = none; not NUL-terminated */
    size_t username_len, realm_len, nonce_len;
};

/* As wire_stun_decode(): 0 or -EBADMSG. */
int wire_turn_decode(const uint8_t *buf, size_t len, struct wire_turn *out);

/* The key of a long-term credential (RFC 8489, 9.2.2): MD5 of user ":" realm ":" password, each without preparation
 * (they are compared as bytes). 0, or -ENOTSUP where the crypto library has no MD5. */
int wire_turn_key(const char *user, const char *realm, size_t realm_len, const char *password,
                  uint8_t out[WIRE_TURN_KEY_LEN]);

/*
 * Channel data (RFC 8656, 12.4): {number u16, length u16, data}; over TCP with padding to 4 bytes.
 *
 * The client binds numbers from WIRE_TURN_CHANNEL_MIN to _MAX; RFC 5766 had more, which nobody binds here.
 */
#define WIRE_TURN_CHANNEL_MIN    0x4000
#define WIRE_TURN_CHANNEL_MAX    0x4FFF
#define WIRE_TURN_CHANNEL_HEADER 4

/* Writes the header and the data (and over TCP the padding). The length, or -ENOSPC. */
int wire_turn_channel_encode(uint16_t channel, const void *data, size_t len, bool tcp, uint8_t *buf, size_t cap);
/* One whole datagram, or one whole message of a stream (padding may follow the data). 0, or -EBADMSG. */
int wire_turn_channel_decode(const uint8_t *buf, size_t len, uint16_t *channel, const uint8_t **data, size_t *data_len);
/*
 * Bytes of the message whose start is in buf, on a TCP connection to a TURN server: STUN or padded channel data.
 * -EAGAIN with under 4 bytes of it; -EBADMSG for what is neither. Up to WIRE_TURN_STREAM_MAX: messages that are too
 * long for wire_turn_decode() are to be skipped, as they are another's data; the stream goes on.
 */
#define WIRE_TURN_STREAM_MAX (WIRE_STUN_HEADER_LEN + 65536)
int wire_turn_stream_len(const uint8_t *buf, size_t len);

/* ---- port mapping: PCP (RFC 6887) and NAT-PMP (RFC 6886) -------------------------------------- */

/* Both: UDP to this port of the gateway. */
#define WIRE_PORTMAP_PORT      5351
#define WIRE_PORTMAP_NONCE_LEN 12
/* Longest message of PCP (RFC 6887, 7). */
#define WIRE_PORTMAP_MAX_LEN 1100

enum wire_portmap_protocol { WIRE_PORTMAP_NATPMP = 0, WIRE_PORTMAP_PCP = 2 }; /* as their version fields */

/* Results that the two have in common, or that tell one from the other; 0 is success. */
enum {
    WIRE_PORTMAP_UNSUPP_VERSION = 1,
    WIRE_PORTMAP_NOT_AUTHORIZED = 2,
    WIRE_NATPMP_NETWORK_FAILURE = 3,
    WIRE_NATPMP_NO_RESOURCES = 4,
    WIRE_PCP_NETWORK_FAILURE = 7,
    WIRE_PCP_NO_RESOURCES = 8,
    WIRE_PCP_USER_EX_QUOTA = 10,
    WIRE_PCP_ADDRESS_MISMATCH = 12,
};

/* A mapping as it is asked for, and as it is granted or refused. */
struct wire_portmap {
    enum wire_portmap_protocol protocol;
    bool address;                          /* NAT-PMP: the external address is asked for or told, and nothing else */
    uint8_t transport;                     /* 6 or 17, as in IP */
    uint8_t nonce[WIRE_PORTMAP_NONCE_LEN]; /* PCP */
    union base_ep client;                  /* PCP: requests, our address; port 0 */
    uint16_t internal_port;
    union base_ep external; /* NAT-PMP: a mapping has the port only, on 0.0.0.0 */
    uint32_t lifetime_s;    /* 0 deletes; of a refusal: ask again after that long (PCP) */
    uint16_t result;        /* responses: 0 = success */
    uint32_t epoch_s;       /* responses */
};

/* A request. The length, or -ENOSPC; -EINVAL for what the protocol cannot say. */
int wire_portmap_encode(const struct wire_portmap *ask, uint8_t *buf, size_t cap);
/* A response of either protocol, of exactly len bytes. 0, or -EBADMSG. */
int wire_portmap_decode(const uint8_t *buf, size_t len, struct wire_portmap *out);

/* ---- keys and proofs ------------------------------------------------------------------------- */

#define WIRE_KEY_LEN   32
#define WIRE_NONCE_LEN 16
#define WIRE_MAC_LEN   16 /* HMAC-SHA256, truncated (RFC 2104, 5) */
/* Longest session name, in bytes: printable UTF-8, no control characters. */
#define WIRE_SESSION_MAX 200

/* The session's key: HMAC(file key, "session" and the name). An absent key file is the empty key: then anybody may
 * join, and the per-trial nonces still keep strangers off the paths. */
void wire_session_key(const uint8_t *file_key, size_t len, const char *session, uint8_t out[WIRE_KEY_LEN]);

enum wire_role { WIRE_ROLE_NONE = 0, WIRE_ROLE_A = 1, WIRE_ROLE_B = 2 };

/* A peer's proof to S, and S's to the peer, that they hold the key: over both nonces and the prover's place. */
enum wire_join_side { WIRE_JOIN_PEER = 1, WIRE_JOIN_SERVER = 2 };
void wire_join_proof(const uint8_t key[WIRE_KEY_LEN], enum wire_join_side side,
                     const uint8_t peer_nonce[WIRE_NONCE_LEN], const uint8_t server_nonce[WIRE_NONCE_LEN],
                     uint8_t out[WIRE_MAC_LEN]);
/* The same of a peer that comes back after its connection was lost: it also knows the token that S gave the place. */
#define WIRE_TOKEN_LEN 16
void wire_rejoin_proof(const uint8_t key[WIRE_KEY_LEN], const uint8_t token[WIRE_TOKEN_LEN],
                       const uint8_t peer_nonce[WIRE_NONCE_LEN], const uint8_t server_nonce[WIRE_NONCE_LEN],
                       uint8_t out[WIRE_MAC_LEN]);
/* Compares two proofs in constant time. */
bool wire_proof_equal(const uint8_t a[WIRE_MAC_LEN], const uint8_t b[WIRE_MAC_LEN]);

/* ---- path messages: peer to peer, on the punched path ---------------------------------------- */

/*
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +---------------+---------------+-------------------------------+
 * |  magic 0xB4   |     flags     |        length of data         |
 * +---------------+---------------+-------------------------------+
 * |                        trial number                           |
 * +---------------------------------------------------------------+
 * |             sender's path id (64 bits, random)                |
 * +---------------------------------------------------------------+
 * |   path id of the other side's that ACK answers, 0 without     |
 * +---------------------------------------------------------------+
 * |        MAC (128 bits) over role, nonces and all the above     |
 * +---------------------------------------------------------------+
 *
 * followed by `length` bytes of data (flags DATA and MEASURE only). No endpoint is ever in a path message.
 */
#define WIRE_PATH_MAGIC    0xB4
#define WIRE_PATH_LEN      40
#define WIRE_PATH_MAX_DATA 1200

enum wire_path_flag {
    WIRE_PATH_PROOF = 0x01,     /* "this is me": every message is one */
    WIRE_PATH_ACK = 0x02,       /* "and I have verified your proof with this path id" */
    WIRE_PATH_CHOSEN = 0x04,    /* role a: this is the path; role b: agreed */
    WIRE_PATH_HEARTBEAT = 0x08, /* keeps the path alive */
    WIRE_PATH_DATA = 0x10,      /* user bytes follow */
    WIRE_PATH_FIN = 0x20,       /* no more user bytes */
    WIRE_PATH_MEASURE = 0x40,   /* a message of --quality follows */
};

/* What the MACs of one trial are made with: the session key and both fresh nonces of the plan. */
struct wire_path_keys {
    uint8_t key[WIRE_KEY_LEN];
    uint8_t nonce_a[WIRE_NONCE_LEN];
    uint8_t nonce_b[WIRE_NONCE_LEN];
    uint32_t trial;
};

struct wire_path_msg {
    uint8_t flags;
    uint16_t data_len;
    uint32_t trial;
    uint64_t path_id;
    uint64_t peer_path_id;
};

/* Writes WIRE_PATH_LEN bytes, proven as `role`. */
void wire_path_encode(const struct wire_path_keys *keys, enum wire_role role, const struct wire_path_msg *msg,
                      uint8_t out[WIRE_PATH_LEN]);
/* Reads and verifies a message that `role` must have sent. 0; -EAGAIN when fewer than WIRE_PATH_LEN bytes;
 * -EBADMSG when it is not a path message; -EACCES when the MAC or the trial is wrong. Constant time in the MAC. Whether
 * data_len bytes of data really follow is for the caller to see: the MAC does not cover them. */
int wire_path_decode(const struct wire_path_keys *keys, enum wire_role role, const uint8_t *buf, size_t len,
                     struct wire_path_msg *out);

/* ---- control protocol: peer to S, frames on TCP ---------------------------------------------- */

/*
 * +---------------+---------------+-------------------------------+
 * |  magic 0xB5   |     type      |       version (16 bits)       |
 * +---------------+---------------+-------------------------------+
 * |                    length of the body                         |
 * +---------------------------------------------------------------+
 * |                    mask (32 bits, random)                     |
 * +---------------------------------------------------------------+
 * |  body: fields {id u16, length u32, value}, XORed with the mask ...
 *
 * The mask is there for the same reason as XOR-MAPPED-ADDRESS (RFC 8489, 14.2): some NATs rewrite whatever looks
 * like an inner address in the payload. Unknown fields are skipped, so either end may be newer.
 */
#define WIRE_FRAME_MAGIC   0xB5
#define WIRE_FRAME_VERSION 1
#define WIRE_FRAME_HEADER  12
/* Bounds what one peer can make the other hold: 4,096 samples or 16,384 candidates and their text fit. */
#define WIRE_FRAME_MAX (256 * 1024)

enum wire_frame_type {
    /* peer to S, S to peer: joining */
    WIRE_HELLO = 1,     /* peer: session, role, peer nonce, technique, options, trials */
    WIRE_CHALLENGE = 2, /* S: server nonce, S's proof */
    WIRE_PROVE = 3,     /* peer: its proof */
    WIRE_JOINED = 4,    /* S: role, S's STUN endpoints, the endpoint that S sees, */
    WIRE_READY = 5,     /* S: both are here: role a's technique, options and trials */
    /* one trial */
    WIRE_TRIAL = 6,   /* S: trial number */
    WIRE_FACTS = 7,   /* peer to S, forwarded to the other peer */
    WIRE_PLAN = 8,    /* a to S, forwarded to both with the start delay: it is the go signal */
    WIRE_REPORT = 9,  /* peer: its side of the record */
    WIRE_RECORD = 10, /* S: the joint record, one JSON line */
    WIRE_ABORT = 11,  /* peer: this trial cannot go on here, with the reason; counts as its report */
    /* any time */
    WIRE_PING = 12,  /* a stamp; from a peer: only to an S that gave it a token */
    WIRE_PONG = 13,  /* the same stamp, at once */
    WIRE_ERROR = 14, /* S: code and reason; S then closes */
    WIRE_BYE = 15,   /* S: all trials are done */
    WIRE_NOTE = 16,  /* peer to peer through S, opaque to S, during a trial (re-aim, "holes ready") */
    /* behaviour discovery, on a connection that said HELLO with the technique WIRE_DISCOVER and joins no session */
    WIRE_PROBE = 17,  /* peer: stamp, enum wire_probe and its fields */
    WIRE_PROBED = 18, /* S: the same stamp, enum wire_probed and its fields */
};

#define WIRE_DISCOVER "discover"

/*
 * Coming back. A NAT that restarts takes the connection to S with it, but not the place in the session. HELLO with
 * WIRE_F_RECEIVED says that the peer can come back; JOINED then gives the place's token. Both ends keep the frames that
 * last (wire_frame_lasts()) until the other end has them: PING and PONG say how many came so far, in WIRE_F_RECEIVED.
 * To come back, a peer opens a new connection and says HELLO with the same session and its role, WIRE_F_REJOIN and
 * WIRE_F_RECEIVED; it proves the key and the token (WIRE_F_PROOF, WIRE_F_TOKEN); JOINED, with WIRE_F_RECEIVED, puts it
 * back. Then each end sends again what the other one lacks.
 */

/*
 * What STUN has no words for. S opens TCP connections towards the peer's NAT: only to the address that it sees on this
 * very connection, or that a SYN to one of this connection's leased endpoints came from; a few, and one SYN for each
 * unless `wait` is long.
 */
enum wire_probe {
    WIRE_PROBE_SILENT = 1, /* lease an endpoint on this connection's address of S that ignores every SYN: LEASE, STUN */
    WIRE_PROBE_CLOSED = 2, /* lease one that answers RST */
    WIRE_PROBE_SOURCE = 3, /* LEASE: where the latest SYN to it came from: SOURCE, COUNT */
    WIRE_PROBE_CONNECT = 4, /* FROM, LEASE, TARGET, WAIT_NS: connect, say what happens, and close */
};

enum wire_from { WIRE_FROM_LEASE = 0, WIRE_FROM_OTHER_PORT = 1, WIRE_FROM_OTHER_ADDRESS = 2 };

enum wire_probed {
    WIRE_PROBED_DONE = 0, /* leased; the source is known */
    WIRE_PROBED_ESTABLISHED = 1,
    WIRE_PROBED_RST = 2,
    WIRE_PROBED_ICMP = 3,    /* F_ICMP */
    WIRE_PROBED_NOTHING = 4, /* within WAIT_NS; no SYN came yet */
    WIRE_PROBED_CANNOT = 5,  /* S has no second address, or may not see raw packets */
    WIRE_PROBED_REFUSED = 6, /* not that address, or too many */
};

enum wire_error {
    WIRE_E_AUTH = 1,         /* wrong key */
    WIRE_E_ROLE_TAKEN = 2,   /* two peers with one role */
    WIRE_E_SESSION_FULL = 3, /* a third peer */
    WIRE_E_MISMATCH = 4,     /* the peers' techniques differ */
    WIRE_E_PEER_LEFT = 5,    /* the other peer's connection ended */
    WIRE_E_BUSY = 6,         /* a rate or table limit of S */
    WIRE_E_PROTOCOL = 7,     /* a frame that cannot be */
    WIRE_E_VERSION = 8,
    WIRE_E_TIMEOUT = 9, /* the peer kept S waiting */
    WIRE_E_GONE = 10,   /* no such place to come back to: over, given up, or somebody else's */
};

enum wire_field {
    WIRE_F_SESSION = 1,      /* text */
    WIRE_F_ROLE = 2,         /* u64, enum wire_role */
    WIRE_F_NONCE = 3,        /* WIRE_NONCE_LEN bytes */
    WIRE_F_PROOF = 4,        /* WIRE_MAC_LEN bytes */
    WIRE_F_TECHNIQUE = 5,    /* text */
    WIRE_F_OPTIONS = 6,      /* text: "key=value" lines; role a's rule */
    WIRE_F_TRIALS = 7,       /* u64 */
    WIRE_F_TRIAL = 8,        /* u64, from 0 */
    WIRE_F_STUN = 9,         /* endpoint, repeated: where to sample */
    WIRE_F_SEEN = 10,        /* endpoint: the receiver as S sees it on the control connection */
    WIRE_F_RTT_NS = 11,      /* u64: S's estimate for the receiver */
    WIRE_F_DELAY_NS = 12,    /* u64: start this long after receipt */
    WIRE_F_BODY = 13,        /* bytes that S forwards unread: facts, plan, note */
    WIRE_F_TEXT = 14,        /* text: JSON (report, record) or a reason */
    WIRE_F_CODE = 15,        /* u64, enum wire_error */
    WIRE_F_STAMP = 16,       /* u64 */
    WIRE_F_PEER_RTT_NS = 17, /* u64: S's estimate for the other peer */
    WIRE_F_SEED = 18,        /* u64: role a's seed */
    /* 19 was never sent; numbers are not used again */
    WIRE_F_TOKEN = 20,    /* WIRE_TOKEN_LEN bytes: what a place is known by; in PROVE the proof of it, WIRE_MAC_LEN */
    WIRE_F_RECEIVED = 21, /* u64: lasting frames that came so far, in this session */
    WIRE_F_REJOIN = 22,   /* u64, 1: back after a lost connection */
    WIRE_F_PROBE = 32,    /* u64, enum wire_probe */
    WIRE_F_PROBED = 33,   /* u64, enum wire_probed */
    WIRE_F_FROM = 34,     /* u64, enum wire_from */
    WIRE_F_LEASE = 35,    /* u64: number of a lease */
    WIRE_F_TARGET = 36,   /* endpoint */
    WIRE_F_WAIT_NS = 37,  /* u64 */
    WIRE_F_ICMP = 38,     /* u64: type << 8 | code */
    WIRE_F_COUNT = 40,    /* u64 */
    WIRE_F_SOURCE = 39,   /* endpoint */
    /* 64 and up: inside WIRE_F_BODY, owned by bench/peer */
    WIRE_F_BODY_FIRST = 64,
};

struct wire_writer {
    uint8_t *buf;
    size_t cap;
    size_t len;
    bool overflow;
    enum wire_frame_type type; /* of the frame, 0 for bare fields */
};

/* Begins a frame (or, with wire_fields_begin, bare fields for a WIRE_F_BODY). Errors stick until the end. */
void wire_frame_begin(struct wire_writer *w, uint8_t *buf, size_t cap, enum wire_frame_type type);
void wire_fields_begin(struct wire_writer *w, uint8_t *buf, size_t cap);
void wire_put_u64(struct wire_writer *w, uint16_t field, uint64_t value);
void wire_put_bytes(struct wire_writer *w, uint16_t field, const void *value, size_t len);
void wire_put_text(struct wire_writer *w, uint16_t field, const char *text);
/* An unset endpoint is left out: the reader then has none, too. */
void wire_put_ep(struct wire_writer *w, uint16_t field, const union base_ep *ep);
/* Sets the length and masks the body with `mask`; the frame's whole length, or -ENOSPC. */
int wire_frame_end(struct wire_writer *w, uint32_t mask);
/* The fields' length, or -ENOSPC. */
int wire_fields_end(const struct wire_writer *w);

/* The whole length of the frame that starts in buf: -EAGAIN under WIRE_FRAME_HEADER bytes, -EBADMSG for a wrong
 * magic, -EPROTONOSUPPORT for another version, -EMSGSIZE over WIRE_FRAME_MAX. */
int wire_frame_len(const uint8_t *buf, size_t len);

struct wire_reader {
    const uint8_t *buf;
    size_t len;
    size_t pos;
};

/* Opens one whole frame of len bytes: unmasks it in place, checks that its fields fit. 0 with *type,
 * or -EBADMSG, also for a type that this version does not have. */
int wire_frame_open(uint8_t *buf, size_t len, enum wire_frame_type *type, struct wire_reader *out);
int wire_fields_open(const uint8_t *buf, size_t len, struct wire_reader *out);
/* The next field; false at the end. *value points into the frame. */
bool wire_next(struct wire_reader *r, uint16_t *field, const uint8_t **value, size_t *len);
/* The first field of that id, from the start. 0, -ENOENT, or -EBADMSG where the value has the wrong size. */
int wire_get_u64(const struct wire_reader *r, uint16_t field, uint64_t *out);
int wire_get_bytes(const struct wire_reader *r, uint16_t field, const uint8_t **out, size_t *len);
/* Exactly len bytes into out. */
int wire_get_exact(const struct wire_reader *r, uint16_t field, void *out, size_t len);
/* Copies text, NUL-terminated; -EBADMSG when it does not fit or has a NUL or control byte other than \n and \t. */
int wire_get_text(const struct wire_reader *r, uint16_t field, char *out, size_t cap);
int wire_get_ep(const struct wire_reader *r, uint16_t field, union base_ep *out);
/* Decode one value that wire_next gave. */
int wire_value_u64(const uint8_t *value, size_t len, uint64_t *out);
int wire_value_ep(const uint8_t *value, size_t len, union base_ep *out);

/* ---- frames that outlive their connection (kept.c) ------------------------------------------- */

/* The session's own frames, as against what a connection begins and is watched with: these arrive once each, in order,
 * however many connections that takes. */
bool wire_frame_lasts(enum wire_frame_type type);

/* Whole lasting frames that the other end may lack, oldest first. Zeroed is empty. */
struct wire_kept {
    uint8_t *bytes;
    size_t len, cap, max; /* max: bytes at most; 0 = WIRE_KEPT_MAX */
    uint64_t first, next; /* numbers, from 0, of the oldest frame here and of the next one to come */
    bool torn;            /* one did not fit: nobody can come back to this */
};
#define WIRE_KEPT_MAX (4u * WIRE_FRAME_MAX)

/* Takes a copy of one whole frame. */
void wire_kept_add(struct wire_kept *k, const uint8_t *frame, size_t len);
/* The other end has so many, of all that there were. 0, or -EPROTO for a number that cannot be. */
int wire_kept_drop(struct wire_kept *k, uint64_t received);
/* The frame at *at, which moves behind it, from 0 on; its length, 0 at the end. */
size_t wire_kept_next(const struct wire_kept *k, size_t *at, const uint8_t **frame);
void wire_kept_free(struct wire_kept *k);

#endif
