/* bench/campaign: the three hosts of a cell in a lab, and what can be done with them. */
#ifndef BENCH_CAMPAIGN_HOSTS_H
#define BENCH_CAMPAIGN_HOSTS_H

#include "bench/campaign/campaign.h"
#include "bench/loop/loop.h"

/* ---- building them (hosts.c) ----------------------------------------------------------------- */

/* The three hosts of every cell. */
struct campaign_hosts {
    struct lab *lab;
    struct lab_host *a, *b, *s;
    bool ipv6;
    const char *outside[CAMPAIGN_ENDS]; /* the address that the internet sees, of a pool the first; static */
};

/* Where rendezvous runs: two ports of host s's first address, and its second address; the first address alone. */
struct campaign_server {
    const char *listen, *listen_2, *alternate, *addr;
};
const struct campaign_server *campaign_server_of(bool ipv6);
/* On each of the two addresses; a technique asks for as many as it wants. */
#define CAMPAIGN_SAMPLE_PORTS "32"

/* Builds s, a and b. 0, or -errno with err filled; *out is then empty. */
int campaign_hosts_create(struct campaign_hosts *out, struct loop *loop, uint64_t seed,
                          const struct campaign_side *nat_a, const struct campaign_side *nat_b,
                          const struct campaign_link *link, char err[LAB_ERROR_LEN]);
void campaign_hosts_destroy(struct campaign_hosts *hosts);

/* ---- NATs that restart in the middle of a trial, as a link says (restart.c) ------------------ */

struct campaign_restarts {
    struct loop *loop;
    const struct campaign_hosts *hosts;
    const struct campaign_link *link;
    struct loop_op ops[2];
    int err; /* the first that failed; 0 = none did */
};

bool campaign_restarts_any(const struct campaign_link *link);
void campaign_restarts_init(struct campaign_restarts *r, struct loop *loop, const struct campaign_hosts *hosts,
                            const struct campaign_link *link);
/* The trial starts at start_ns: its restarts are then due. */
void campaign_restarts_begin(struct campaign_restarts *r, uint64_t start_ns);
/* A line of `rendezvous --starts`: true when it tells of a start, and of nothing else; the trial's restarts are then
 * due. */
bool campaign_restarts_line(struct campaign_restarts *r, const char *line, size_t len);
/* Of `err`. */
const char *campaign_restarts_explain(int err);
/* The trial is over: what did not come in time does not come. */
void campaign_restarts_stop(struct campaign_restarts *r);

/* ---- a command in a host (shell.c) ----------------------------------------------------------- */

struct campaign_shell {
    const struct campaign_hosts *hosts;
    enum campaign_end end;   /* where */
    const char *command;     /* for /bin/sh -c */
    const char *program_dir; /* our own programs' */
    uint64_t trial, seed;
    uint64_t timeout_ns;
    int fd_in, fd_out, fd_err; /* as in struct lab_command */
    struct lab_group *group;   /* as there */
};

/* Starts it, with what it has to know in its environment: PUNCHBENCH_ROLE, ... (the README lists them). As lab_spawn().
 */
int campaign_shell_start(const struct campaign_shell *shell, pid_t *pid, int *pidfd);

/* ---- what passes the hosts' interfaces, on request (pcap.c) ---------------------------------- */

struct campaign_pcap {
    const char *dir; /* NULL: nothing is captured */
    uint64_t limit;  /* bytes a file */
};

#define CAMPAIGN_PCAP_LIMIT (64ULL << 20)

/* Makes the folder. 0, or -errno: said on stderr. */
int campaign_pcap_prepare(const struct campaign_pcap *pcap);
/* The folder of one cell's captures: its name with '+' for '/', and where it does not begin with trial 0, that one. */
int campaign_pcap_dir(const struct campaign_pcap *pcap, const char *cell, uint64_t first_trial, char out[PATH_MAX]);
/* Makes dir, and captures into it from now on. 0, or -errno with err filled. */
int campaign_pcap_start(struct lab *lab, const char *dir, uint64_t limit, char err[LAB_ERROR_LEN]);

/* ---- what the lab's NATs did (nats.c) -------------------------------------------------------- */

/* Since the last reset; new reference, NULL: it could not be read. */
json_t *campaign_nats_json(struct lab *lab);
/* What peers take for a direct path may be a hairpin: through a NAT with several addresses they cannot tell. The lab's
 * NAT that both are behind can; `path` of the record becomes its word, those of the sides stay theirs. 0, or -errno. */
int campaign_nats_path(struct lab *lab, char **record);
/* Puts that into a record, a JSON object in a line of its own on the heap, as its last member. 0, or -errno. */
int campaign_nats_append(struct lab *lab, char **record);

#endif
