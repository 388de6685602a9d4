/*
 * The TURN server of a cell whose technique relays: coturn's turnserver in host s, beside rendezvous, for as long as
 * the worker lives. It is a program like the peers: when it dies the trial that it was in tells so, and the next one
 * gets a new one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/campaign/worker.h"

#define PROGRAM "turnserver"
#define PACKAGE "coturn"
/* Behind the ports of rendezvous and its sample ports, below those that it relays from (49152 and up). */
#define PORT     "4478"
#define USER     "bench"
#define PASSWORD "in-the-lab"
static const char account[] = USER ":" PASSWORD;
/* campaign_server_of()'s addresses */
static const char at_ipv4[] = "192.0.2.1:" PORT, at_ipv6[] = "[2001:db8:5::1]:" PORT;
/* Beyond two round trips: what deletes an allocation comes that soon after the trial's record. */
#define SETTLE_NS    (50 * BASE_NS_PER_MS)
#define SETTLE_RTTS  2
#define LOG_LINE_MAX 512

/* ---- before anything runs -------------------------------------------------------------------- */

static bool in_path(const char *program)
{
    const char *path = getenv("PATH");
    char full[PATH_MAX];
    for (size_t len; path && *path; path += len + (path[len] == ':')) {
        len = strcspn(path, ":");
        if ((size_t)snprintf(full, sizeof(full), "%.*s/%s", (int)len, path, program) < sizeof(full) &&
            access(full, X_OK) == 0)
            return true;
    }
    return false;
}

int campaign_turn_check(const struct campaign_cell *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!campaign_choice_relays(cells[i].choice) || in_path(PROGRAM))
            continue;
        base_error("%s needs a TURN server, and there is no %s: install the package %s, or leave the relay out "
                   "(--filter)",
                   cells[i].name, PROGRAM, PACKAGE);
        return -ENOENT;
    }
    return 0;
}

/* ---- what it says ---------------------------------------------------------------------------- */

static void on_log_line(struct campaign_lines *lines, char *line, size_t len)
{
    struct worker_turn *turn = lines->owner;
    if (!line || len == 0)
        return;
    turn->udp = turn->udp || strstr(line, "UDP listener opened");
    turn->tcp = turn->tcp || strstr(line, "TCP listener opened");
    turn->made += strstr(line, ": new, ") != NULL;
    turn->gone += strstr(line, ": delete: ") != NULL;
    worker_program_said(&turn->program, line);
}

static bool is_ready(const struct worker *w)
{
    return (w->turn.udp && w->turn.tcp) || !w->turn.program.running;
}

static bool has_no_allocation(const struct worker *w)
{
    return w->turn.gone >= w->turn.made || !w->turn.program.running;
}

/* ---- its life -------------------------------------------------------------------------------- */

static const char *address_of(const struct worker *w)
{
    return campaign_server_of(w->hosts.ipv6)->addr;
}

/* It wants to write down its number, and a list of users. Neither is looked at again, and a worker may be killed: so
 * they go as soon as they are there, which the list may be a moment after it listens. */
static void remove_files(struct worker_turn *turn)
{
    static const char *const names[] = {"pid", "users", "users-journal"};
    char path[sizeof(turn->dir) + 16];
    if (!*turn->dir)
        return;
    for (size_t i = 0; i < BASE_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", turn->dir, names[i]);
        unlink(path);
    }
    if (rmdir(turn->dir) == 0)
        turn->dir[0] = '\0';
}

static int start(struct worker *w)
{
    struct worker_turn *turn = &w->turn;
    char pid[sizeof(turn->dir) + 16], users[sizeof(turn->dir) + 16];
    const char *addr = address_of(w);
    const char *argv[] = {PROGRAM,        "-n",         "--lt-cred-mech",
                          "-u",           account,      "-r",
                          "lab",          "--no-cli",   "--no-tls",
                          "--no-dtls",    "-L",         addr,
                          "-E",           addr,         "-p",
                          PORT,           "-m",         "1",
                          "-v",           "--log-file", "stdout",
                          "--simple-log", "--pidfile",  pid,
                          "--userdb",     users,        NULL};
    int out[2];
    snprintf(pid, sizeof(pid), "%s/pid", turn->dir);
    snprintf(users, sizeof(users), "%s/users", turn->dir);
    if (pipe2(out, O_CLOEXEC) < 0)
        return worker_failed(w, "no pipe: %s", strerror(errno));
    worker_program_init(&turn->program, PROGRAM, "s", w->loop);
    turn->udp = turn->tcp = false;
    turn->made = turn->gone = 0;
    int res = worker_program_start(w, &turn->program, w->hosts.s, argv, -1, out[1]);
    if (res < 0) {
        close(out[0]);
        return res;
    }
    campaign_lines_start(&turn->program.out, w->loop, out[0], LOG_LINE_MAX, on_log_line, turn);
    if (!worker_wait_until(w, is_ready, base_now_ns() + WORKER_START_LIMIT_NS) || !turn->program.running)
        return worker_program_explain(w, &turn->program, "before it listened");
    return 0;
}

int worker_turn_begin(struct worker *w)
{
    struct worker_turn *turn = &w->turn;
    turn->wanted = campaign_choice_relays(w->job->cell->choice);
    if (!turn->wanted)
        return 0;
    snprintf(turn->dir, sizeof(turn->dir), "/tmp/punchbench-turn-XXXXXX");
    if (!mkdtemp(turn->dir)) {
        turn->dir[0] = '\0';
        return worker_failed(w, "no folder for " PROGRAM " in /tmp: %s", strerror(errno));
    }
    int res = start(w);
    remove_files(turn);
    return res;
}

int worker_turn_check(struct worker *w)
{
    if (!w->turn.wanted || w->turn.program.running)
        return 0;
    worker_turn_stop(w);
    return worker_turn_begin(w);
}

void worker_turn_settle(struct worker *w)
{
    if (!w->turn.wanted)
        return;
    remove_files(&w->turn);
    worker_wait_until(w, has_no_allocation,
                      base_now_ns() + SETTLE_RTTS * campaign_link_longest(w->job->cell->link) + SETTLE_NS);
}

void worker_turn_stop(struct worker *w)
{
    if (w->turn.wanted)
        worker_program_close(w, &w->turn.program);
    remove_files(&w->turn);
}

/* ---- what the peers are told ----------------------------------------------------------------- */

const char *const *worker_turn_options(const struct worker *w)
{
    static const char *options[][2][7] = {
        {{"--turn", at_ipv4, "--turn-user", USER, "--turn-password", PASSWORD, NULL},
         {"--turn", at_ipv6, "--turn-user", USER, "--turn-password", PASSWORD, NULL}},
        {{"--relay", at_ipv4, "--relay-user", USER, "--relay-password", PASSWORD, NULL},
         {"--relay", at_ipv6, "--relay-user", USER, "--relay-password", PASSWORD, NULL}},
    };
    static const char *const none[] = {NULL};
    return w->turn.wanted ? options[w->job->cell->choice->relay][w->hosts.ipv6] : none;
}
