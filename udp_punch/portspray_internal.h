/*
 * udp_punch/portspray, for its own files only.
 *
 *   portspray.c         the contract: roles, turns, the end
 *   portspray_holes.c   the opener: from one socket to many ports
 *   portspray_probes.c  the prober: from many sockets to one endpoint
 *   portspray_notes.c   what the sides tell each other through S; aiming anew
 *   portspray_aim.c     where to: the sweep over all ports, and a plan moved to a new endpoint; pure
 *   portspray_plan.c    the plan; pure
 */
#ifndef UDP_PUNCH_PORTSPRAY_INTERNAL_H
#define UDP_PUNCH_PORTSPRAY_INTERNAL_H

#include "udp_punch/portspray.h"

/* All ports but 0, which is none. Past 65535 the sweep goes on at 1: NATs that preserve ports use the low ones too. */
#define PORTSPRAY_LO 1
#define PORTSPRAY_HI 65535

/* ---- where to (portspray_aim.c; pure) -------------------------------------------------------- */

enum portspray_order {
    PORTSPRAY_OUTWARD, /* start, +1, -1, +2, ... */
    PORTSPRAY_SCAN,    /* start, +1, +2, ... */
    PORTSPRAY_SHUFFLED,
};

/* Each port from lo to hi exactly once; past one end the sweep goes on at the other. */
struct portspray_sweep {
    enum portspray_order order;
    uint32_t lo, size, start, next;
    struct base_perm perm;
};
void portspray_sweep_init(struct portspray_sweep *s, enum portspray_order order, uint16_t start, uint16_t lo,
                          uint16_t hi, uint64_t seed);
/* False when all are through. */
bool portspray_sweep_next(struct portspray_sweep *s, uint16_t *port);

/*
 * The plan's opener aims at where the prober is now: candidates move along with the port from `was` to `now` (past an
 * end of the range on at the other); what went to the address of `was` goes to that of `now`.
 */
void portspray_aim_anew(struct peer_plan *plan, const union base_ep *was, const union base_ep *now);
/*
 * The same where S saw the prober at several new endpoints, the last one last. Addresses of a pool that the plan did
 * not know are aimed at too; where all addresses are others, the old ones are left. 0, or -errno.
 */
int portspray_aim_pool(struct peer_plan *plan, const union base_ep *was, const union base_ep *now, size_t n);

/* How long nothing comes before nothing is to come. */
uint64_t portspray_silence_of(uint64_t rtt_ns);

/* ---- one trial ------------------------------------------------------------------------------- */

struct portspray {
    struct peer_trial *trial;
    struct peer_plan plan; /* as sent, but for the candidates and the target of later attempts */
    bool opener;           /* by role */
    bool punch;            /* the other side's endpoint is known: no search */
    bool begun;            /* punch: its packets are under way */
    bool aiming;           /* many endpoints from one socket; else one endpoint from many sockets */
    bool full;
    enum portspray_order order;
    unsigned attempt, attempts;
    uint32_t rounds; /* 0: until the deadline */
    uint64_t interval_ns;
    int ttl; /* of the holes; 0: the host's default; -1: being measured */

    struct loop_op timer;
    struct base_bucket bucket;
    uint64_t begin_ns; /* UINT64_MAX: waits for the other side */

    /* of this attempt */
    uint32_t round;
    uint64_t round_ns; /* when the round began */
    bool round_begun, done;
    struct peer_holes holes;
    struct portspray_sweep sweep;
    uint16_t swept; /* the sweep's port, and whose turn it is of the addresses */
    size_t next_at;
    union base_ep batch[PEER_UDP_BATCH]; /* taken, not sent yet */
    size_t n_batch;
    uint64_t first_out_ns; /* all of the first round have left; 0 = not yet */

    unsigned first_socket, n_sockets; /* of this attempt; socket 0 is the first attempt's */
    uint32_t next_probe;
    union base_ep target;

    uint64_t other_ready_ns; /* the other side's first round is out; 0 = not yet */
    uint64_t quiet_ns;       /* when this attempt's last packet left */
    unsigned hole_socket;    /* opener: what its holes are of */
    bool resampling;         /* opener: where our NAT has that is not known yet */
    bool told_ready, told_spent;
    bool forgotten; /* prober: its NAT has lost the mappings of the attempt so far */
    bool verified;
    uint64_t verified_ns;  /* base_now_ns() of the last path that was */
    bool opener_moved;     /* opener: its samples are for a new target of the prober */
    union base_ep seen_at; /* prober: where its NAT had it when this attempt was aimed */

    bool stopping, closing;
};

/* ---- portspray.c ---- */

/* Looks at what is due now. */
void portspray_wake(struct portspray *s);
/* What was verified was not agreed in time, or cannot be any more: the search goes on. */
void portspray_unverify(struct portspray *s);
/* Begins attempt n: 0 or later. */
void portspray_attempt(struct portspray *s, unsigned n);

/* ---- portspray_holes.c ---- */

void portspray_holes_begin(struct portspray *s);
/* Sends what is due; returns when to come again (UINT64_MAX: not before something happens). */
uint64_t portspray_holes_turn(struct portspray *s, uint64_t now);

/* ---- portspray_probes.c ---- */

/* Opens this attempt's sockets. 0, or -errno when not one could be had. */
int portspray_probes_open(struct portspray *s);
uint64_t portspray_probes_turn(struct portspray *s, uint64_t now);

/* ---- portspray_notes.c ---- */

void portspray_tell_ready(struct portspray *s);
/* Our NAT may have forgotten everything: what it forgot is opened anew, and where we are now is told. */
void portspray_rejoined(struct portspray *s);
/* The prober's attempt is spent: the next one, or the end. */
void portspray_spent(struct portspray *s);
void portspray_note(struct portspray *s, const uint8_t *note, size_t len);
/* What S says of our mapping now, and what it said when the plan was made. */
void portspray_sampled(struct portspray *s, const union base_ep *was, const union base_ep *eps, size_t n);

#endif
