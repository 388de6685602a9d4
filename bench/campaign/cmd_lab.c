/* bench lab: the three hosts of a cell, for anybody's programs. */
#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/campaign/commands.h"
#include "bench/campaign/config.h"
#include "bench/campaign/places.h"

enum {
    KEY_A = 'a',
    KEY_B = 'b',
    KEY_RTT = 256,
    KEY_LOSS,
    KEY_JITTER,
    KEY_RUN_A,
    KEY_RUN_B,
    KEY_RUN_S,
    KEY_DUPLICATION,
    KEY_REORDERING,
    KEY_RATE,
    KEY_LINK,
    KEY_SEED,
};

enum { HOST_A = CAMPAIGN_A, HOST_B = CAMPAIGN_B, HOST_S = CAMPAIGN_S, HOSTS = CAMPAIGN_ENDS };

struct options {
    const char *nat_a, *nat_b;
    const char *run[HOSTS];
    struct campaign_link link;
    struct campaign_common common;
    uint64_t seed;
};

static const struct argp_option option_table[] = {
    {"nat-a", KEY_A, "NAT", 0, "what host a is behind: a profile (bench list shows them), or HOME@CARRIER", 1},
    {"nat-b", KEY_B, "NAT", 0, "what host b is behind; both share the NATs that both name behind an '@'", 1},
    {"rtt", KEY_RTT, "TIME", 0, "round trip between any two hosts (0)", 2},
    {"jitter", KEY_JITTER, "TIME", 0, "extra delay one way, uniform from 0 to this (0)", 2},
    {"loss", KEY_LOSS, "PERCENT", 0, "packets lost one way (0)", 2},
    {"duplication", KEY_DUPLICATION, "PERCENT", 0, "packets that come twice (0)", 2},
    {"reordering", KEY_REORDERING, "PERCENT", 0, "packets held back by 5 ms while others go past (0)", 2},
    {"rate", KEY_RATE, "RATE", 0, "of each host's access link, each way: 512kbit, 1.5mbit (no limit)", 2},
    {"link", KEY_LINK, "KEY=VALUE", 0, "any key of a campaign's [link]: a-rate-up=1mbit, s-loss=1%", 2},
    {"seed", KEY_SEED, "N", 0, "drives the links and the emulated NATs (1)", 2},
    {"run-a", KEY_RUN_A, "CMD", 0, "run this in host a, with /bin/sh -c", 3},
    {"run-b", KEY_RUN_B, "CMD", 0, "run this in host b", 3},
    {"run-s", KEY_RUN_S, "CMD", 0, "run this in host s, the server; it is stopped when a and b have ended", 3},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const char doc[] =
    "Two hosts behind two NATs and a server, on this machine, for any program.\v"
    "  bench lab -a linux-strict -b linux-random --rtt 40ms --run-a 'ping -c 3 192.0.2.1'\n"
    "  bench lab -a port-restricted@cgn-block -b linux-strict@cgn-block   two homes under one carrier NAT\n"
    "  bench lab -a @full-cone -b @full-cone    two hosts in one home\n"
    "  bench lab -a open -b linux-strict        builds it, says how to enter each host, waits for Ctrl-C\n"
    "\n"
    "Host s has 192.0.2.1 and 192.0.2.2; a is 10.1.0.2 behind 198.51.100.1, b is 10.2.0.2 behind 203.0.113.1; "
    "with profile open they have the outer address themselves, behind @NAT an address in that one's network. "
    "With a profile for IPv6, s has 2001:db8:5::1 and ::2, and a and b are 2001:db8:a::2 and 2001:db8:b::2, where "
    "nothing "
    "translates. The commands share this terminal. Everything is gone when this program is.\n"
    "\n"
    "Exit status: 0 the commands of a and b ended with 0 (or you pressed Ctrl-C where there were none); 1 usage or "
    "environment; 2 a command failed.";

/* ---- command line ---------------------------------------------------------------------------- */

static void set_link(struct argp_state *state, struct campaign_link *link, const char *key, const char *value)
{
    char err[CAMPAIGN_ERROR_LEN];
    if (campaign_link_set(link, key, value, 0, err) < 0)
        argp_error(state, "%s", err);
}

static void parse_link(struct argp_state *state, struct campaign_link *link, const char *arg)
{
    char key[64];
    size_t len = strcspn(arg, "=");
    if (!arg[len] || len >= sizeof(key)) {
        argp_error(state, "--link %s: write KEY=VALUE, like a-rate-up=1mbit", arg);
        return;
    }
    memcpy(key, arg, len);
    key[len] = '\0';
    set_link(state, link, key, arg + len + 1);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case KEY_A:
        o->nat_a = arg;
        return 0;
    case KEY_B:
        o->nat_b = arg;
        return 0;
    case KEY_RTT:
        set_link(state, &o->link, "rtt", arg);
        return 0;
    case KEY_JITTER:
        set_link(state, &o->link, "jitter", arg);
        return 0;
    case KEY_LOSS:
        set_link(state, &o->link, "loss", arg);
        return 0;
    case KEY_DUPLICATION:
        set_link(state, &o->link, "duplication", arg);
        return 0;
    case KEY_REORDERING:
        set_link(state, &o->link, "reordering", arg);
        return 0;
    case KEY_RATE:
        set_link(state, &o->link, "rate", arg);
        return 0;
    case KEY_LINK:
        parse_link(state, &o->link, arg);
        return 0;
    case KEY_SEED:
        if (base_parse_u64(arg, 0, UINT64_MAX, &o->seed) < 0)
            argp_error(state, "--seed %s: write a number", arg);
        return 0;
    case KEY_RUN_A:
    case KEY_RUN_B:
    case KEY_RUN_S:
        o->run[key - KEY_RUN_A] = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->nat_a || !o->nat_b)
            argp_error(state, "which NATs? -a NAT and -b NAT; 'bench list' shows them");
        campaign_link_finish(&o->link);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- running --------------------------------------------------------------------------------- */

struct running {
    struct show *show;
    const char *name;
    pid_t pid;
    int pidfd; /* -1 = not started, or ended */
    struct loop_op op;
};

struct show {
    const struct options *options;
    struct loop *loop;
    struct campaign_hosts hosts;
    struct running programs[HOSTS];
    int signal_fd;
    struct loop_op signal_op;
    bool failed, interrupted, over;
};

static struct lab_host *host_of(const struct show *s, int i)
{
    struct lab_host *const hosts[HOSTS] = {s->hosts.a, s->hosts.b, s->hosts.s};
    return hosts[i];
}

static bool peers_running(const struct show *s)
{
    return s->programs[HOST_A].pidfd >= 0 || s->programs[HOST_B].pidfd >= 0;
}

static bool has_peer_commands(const struct show *s)
{
    return s->options->run[HOST_A] || s->options->run[HOST_B];
}

static void program_ended(struct loop_op *op, int res)
{
    struct running *p = op->owner;
    struct show *s = p->show;
    siginfo_t info = {0};
    if (res < 0 || s->over)
        return;
    if (waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED) < 0)
        info = (siginfo_t){0};
    close(p->pidfd);
    p->pidfd = -1;
    if (info.si_code != CLD_EXITED)
        base_warn("%s's command was killed by signal %d (%s)", p->name, info.si_status, strsignal(info.si_status));
    else if (info.si_status != 0)
        base_warn("%s's command ended with status %d", p->name, info.si_status);
    bool bad = info.si_code != CLD_EXITED || info.si_status != 0;
    bool server = p == &s->programs[HOST_S];
    /* A server that ends well may have done its work; without peers its end is the end. */
    s->failed |= bad;
    if (server ? !has_peer_commands(s) : !peers_running(s))
        loop_stop(s->loop);
}

static int start_program(struct show *s, int i)
{
    struct running *p = &s->programs[i];
    char dir[PATH_MAX] = "";
    campaign_program_dir(dir);
    struct campaign_shell shell = {.hosts = &s->hosts,
                                   .end = (enum campaign_end)i,
                                   .command = s->options->run[i],
                                   .program_dir = dir,
                                   .seed = s->options->seed,
                                   .fd_in = STDIN_FILENO,
                                   .fd_out = STDOUT_FILENO,
                                   .fd_err = STDERR_FILENO};
    int res = campaign_shell_start(&shell, &p->pid, &p->pidfd);
    if (res < 0) {
        base_error("%s's command could not be started: %s", p->name, strerror(-res));
        return res;
    }
    loop_poll(s->loop, &p->op, p->pidfd, POLLIN);
    return 0;
}

static void on_signal(struct loop_op *op, int res)
{
    struct show *s = op->owner;
    if (res < 0 || s->over)
        return;
    s->interrupted = true;
    loop_stop(s->loop);
}

static int watch_signals(struct show *s)
{
    s->signal_fd = loop_signal_fd();
    if (s->signal_fd < 0) {
        base_error("no signalfd: %s", strerror(-s->signal_fd));
        return s->signal_fd;
    }
    loop_poll(s->loop, &s->signal_op, s->signal_fd, POLLIN);
    return 0;
}

/* In a user namespace of our own, entering a host means entering that as well. */
static void print_doors(const struct show *s, bool user_ns)
{
    char text[BASE_EP_STRLEN];
    for (int i = 0; i < HOSTS; i++) {
        printf("%s  %-12s ", s->programs[i].name, base_ep_format_addr(lab_host_addr(host_of(s, i)), text));
        printf(user_ns ? "nsenter --user=/proc/%d/ns/user --preserve-credentials" : "nsenter", (int)getpid());
        printf(" --net=/proc/%d/fd/%d sh\n", (int)getpid(), lab_host_netns(host_of(s, i)));
    }
    puts("The lab stands until Ctrl-C.");
    fflush(stdout);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void show_init(struct show *s, const struct options *o)
{
    static const char *const names[HOSTS] = {"a", "b", "s"};
    *s = (struct show){.options = o, .signal_fd = -1};
    loop_op_init(&s->signal_op, on_signal, s);
    for (int i = 0; i < HOSTS; i++) {
        s->programs[i] = (struct running){.show = s, .name = names[i], .pidfd = -1};
        loop_op_init(&s->programs[i].op, program_ended, &s->programs[i]);
    }
}

static void show_end(struct show *s)
{
    s->over = true;
    loop_cancel(s->loop, &s->signal_op);
    for (int i = 0; i < HOSTS; i++)
        loop_cancel(s->loop, &s->programs[i].op);
    campaign_hosts_destroy(&s->hosts);
    while (loop_pending(s->loop) > 0 && loop_run_once(s->loop, BASE_NS_PER_S) == 0)
        ;
    for (int i = 0; i < HOSTS; i++)
        if (s->programs[i].pidfd >= 0)
            close(s->programs[i].pidfd);
    if (s->signal_fd >= 0)
        close(s->signal_fd);
    loop_destroy(s->loop);
}

static int run_show(struct show *s, bool user_ns)
{
    /* The server first, but nobody can know when a stranger's server is ready: peers have to try again. */
    static const int order[HOSTS] = {HOST_S, HOST_A, HOST_B};
    bool any = false;
    for (int i = 0; i < HOSTS; i++) {
        if (!s->options->run[order[i]])
            continue;
        any = true;
        if (start_program(s, order[i]) < 0)
            return BASE_EXIT_USAGE;
    }
    if (!any)
        print_doors(s, user_ns);
    int res = loop_run(s->loop);
    if (res < 0) {
        base_error("the event loop failed: %s", strerror(-res));
        return BASE_EXIT_USAGE;
    }
    return s->failed || (any && s->interrupted) ? BASE_EXIT_FAILED : BASE_EXIT_OK;
}

static int build(struct show *s, const struct campaign_side *nat_a, const struct campaign_side *nat_b)
{
    char err[LAB_ERROR_LEN];
    int res = loop_create(&s->loop, 0);
    if (res < 0) {
        base_error("%s", loop_explain(res));
        return res;
    }
    res = campaign_hosts_create(&s->hosts, s->loop, s->options->seed, nat_a, nat_b, &s->options->link, err);
    if (res == 0 && s->options->common.pcap.dir)
        res = campaign_pcap_start(s->hosts.lab, s->options->common.pcap.dir, s->options->common.pcap.limit, err);
    if (res < 0)
        base_error("%s", err);
    else
        res = watch_signals(s);
    if (res < 0)
        show_end(s);
    return res;
}

static int read_side(const struct options *o, const char *name, struct campaign_profiles *profiles,
                     struct campaign_side *out)
{
    char dir[PATH_MAX], err[CAMPAIGN_ERROR_LEN];
    campaign_profile_dir(&o->common, dir);
    int res = campaign_side_read(name, dir, profiles, out, err);
    if (res < 0)
        base_error("%s", err);
    return res;
}

int campaign_cmd_lab(int argc, char **argv)
{
    static const struct argp_child children[] = {{&campaign_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
    static const struct argp argp = {option_table, parse_option, NULL, doc, children, NULL, NULL};
    struct options o = {.seed = 1};
    static struct campaign_profiles profiles;
    struct campaign_side nat_a, nat_b;
    struct show s;
    char err[LAB_ERROR_LEN];
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (read_side(&o, o.nat_a, &profiles, &nat_a) < 0 || read_side(&o, o.nat_b, &profiles, &nat_b) < 0)
        return BASE_EXIT_USAGE;
    bool root = geteuid() == 0;
    if (lab_enter(err) < 0) {
        base_error("%s", err);
        return BASE_EXIT_USAGE;
    }
    show_init(&s, &o);
    if (build(&s, &nat_a, &nat_b) < 0)
        return BASE_EXIT_USAGE;
    int status = run_show(&s, !root);
    show_end(&s);
    if (o.common.pcap.dir)
        campaign_give_back(o.common.pcap.dir);
    return status;
}
