/*
 * One range of one cell's trials, in a process of its own: a lab, the server S and both peers in it, and step by step:
 * fresh NATs, "\n" to S, one joint record from S. It goes from wait to wait, each with a deadline; the loop runs, and
 * with it the lab's packets, inside the waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/campaign/campaign.h"

/* Starting a program on a busy machine; measured: some 10 ms each on an idle one. */
#define START_LIMIT_NS (10 * BASE_NS_PER_S)
/* Over the punch's own timeout. S bounds each phase itself (facts 20 s, plan 10 s, report 10 s) and records who fell
 * silent; this bounds S, and the lab. */
#define TRIAL_MARGIN_NS (45 * BASE_NS_PER_S)
/* Round trips of one trial outside the punch: a TCP sample, the exchange, the plan, the report; twice that. */
#define TRIAL_MARGIN_RTTS 20
/* For S to tell of a peer that died, and for peers to end after the last trial. */
#define END_LIMIT_NS   (2 * BASE_NS_PER_S)
#define DRAIN_LIMIT_NS (200 * BASE_NS_PER_MS)
#define LAST_LINES     3
#define LAST_LINE_LEN  160
#define MAX_ARGS       40
/* One wait of the loop: how soon a deadline or a dead program is noticed. */
#define WAIT_STEP_NS (100 * BASE_NS_PER_MS)

/* A program in a host. */
struct program {
    const char *name, *role; /* "simopen", "a" */
    struct loop *loop;
    struct loop_op died_op;
    pid_t pid;
    int pidfd;
    bool running;
    bool ready; /* a line with "ready" was on its stderr */
    int status; /* as of waitid(): si_status, and killed by a signal or not */
    bool killed;
    struct campaign_lines err, out;
    char last[LAST_LINES][LAST_LINE_LEN];
    size_t n_last;
};

struct worker {
    const struct campaign_job *job;
    struct loop *loop;
    struct campaign_hosts hosts;
    struct program s, a, b;
    int step_fd;  /* S's stdin */
    int fd;       /* to the coordinator */
    char *record; /* the line that came; owned */
    bool failed;
    bool told_s_closed;
    struct campaign_restarts restarts;
};

/* The warm-up's first, whose records nobody gets. */
static uint64_t first_made(const struct worker *w)
{
    return w->job->first - w->job->config->warmup;
}

/* ---- telling the coordinator ----------------------------------------------------------------- */

static void tell(struct worker *w, const char *line, size_t len)
{
    while (len > 0) {
        ssize_t n = write(w->fd, line, len);
        if (n < 0 && errno == EINTR)
            continue;
        /* The coordinator is gone: so is the reason to go on. */
        if (n < 0)
            _exit(BASE_EXIT_FAILED);
        line += n;
        len -= (size_t)n;
    }
}

/* Says what failed, once: the first failure explains the others. */
__attribute__((format(printf, 2, 3))) static int failed(struct worker *w, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    if (w->failed)
        return -EIO;
    w->failed = true;
    line[0] = CAMPAIGN_LINE_FAILED;
    va_start(args, fmt);
    vsnprintf(line + 1, sizeof(line) - 2, fmt, args);
    va_end(args);
    size_t len = strlen(line);
    for (size_t i = 0; i < len; i++)
        if (line[i] == '\n')
            line[i] = ' ';
    line[len] = '\n';
    tell(w, line, len + 1);
    return -EIO;
}

/* ---- programs -------------------------------------------------------------------------------- */

static void died(struct loop_op *op, int res)
{
    struct program *p = op->owner;
    siginfo_t info = {0};
    if (res == -ECANCELED || waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG) < 0)
        return;
    if (info.si_pid == 0) {
        loop_poll(p->loop, op, p->pidfd, POLLIN);
        return;
    }
    p->running = false;
    p->killed = info.si_code != CLD_EXITED;
    p->status = info.si_status;
}

static void on_err_line(struct campaign_lines *lines, char *line, size_t len)
{
    struct program *p = lines->owner;
    if (!line || len == 0)
        return;
    if (strstr(line, "ready"))
        p->ready = true;
    snprintf(p->last[p->n_last++ % LAST_LINES], LAST_LINE_LEN, "%s", line);
}

/* The last lines it said, oldest first. */
static void last_words(const struct program *p, char *buf, size_t cap)
{
    size_t from = p->n_last > LAST_LINES ? p->n_last - LAST_LINES : 0;
    buf[0] = '\0';
    for (size_t i = from; i < p->n_last; i++)
        snprintf(buf + strlen(buf), cap - strlen(buf), "%s%s", i > from ? " | " : "", p->last[i % LAST_LINES]);
    if (p->n_last == 0)
        snprintf(buf, cap, "it said nothing");
}

/* What a program said as it died may still be in the pipe. */
static void drain(struct worker *w, const struct program *p)
{
    uint64_t deadline = base_now_ns() + DRAIN_LIMIT_NS;
    while (p->err.loop && !p->err.ended && !p->running && base_now_ns() < deadline)
        if (loop_run_once(w->loop, WAIT_STEP_NS / 10) < 0)
            break;
}

static int explain(struct worker *w, const struct program *p, const char *doing)
{
    char words[LAST_LINES * (LAST_LINE_LEN + 4)];
    drain(w, p);
    last_words(p, words, sizeof(words));
    if (p->running)
        return failed(w, "%s (%s) hung %s; %s", p->name, p->role, doing, words);
    if (p->killed)
        return failed(w, "%s (%s) was killed by signal %d (%s) %s; %s", p->name, p->role, p->status,
                      strsignal(p->status), doing, words);
    return failed(w, "%s (%s) ended with status %d %s; %s", p->name, p->role, p->status, doing, words);
}

static void program_init(struct program *p, const char *name, const char *role, struct loop *loop)
{
    *p = (struct program){.name = name, .role = role, .loop = loop, .pidfd = -1};
    loop_op_init(&p->died_op, died, p);
}

/* Takes fd_in and fd_out, which may be -1. */
static int program_start(struct worker *w, struct program *p, struct lab_host *host, const char *const *argv, int fd_in,
                         int fd_out)
{
    int err[2];
    int res = pipe2(err, O_CLOEXEC) < 0 ? -errno : 0;
    if (res == 0) {
        struct lab_command cmd = {argv, fd_in, fd_out, err[1]};
        res = lab_spawn(w->hosts.lab, host, &cmd, &p->pid, &p->pidfd);
        close(err[1]);
        if (res < 0)
            close(err[0]);
    }
    if (fd_in >= 0)
        close(fd_in);
    if (fd_out >= 0)
        close(fd_out);
    if (res < 0)
        return failed(w, "%s could not be started: %s", argv[0], strerror(-res));
    p->running = true;
    campaign_lines_start(&p->err, w->loop, err[0], LAST_LINE_LEN, on_err_line, p);
    loop_poll(w->loop, &p->died_op, p->pidfd, POLLIN);
    return 0;
}

/* ---- waiting --------------------------------------------------------------------------------- */

typedef bool condition_fn(const struct worker *w);

/* Runs the loop until the condition holds (true) or the deadline has passed (false). */
static bool wait_until(struct worker *w, condition_fn *condition, uint64_t deadline_ns)
{
    while (!condition(w)) {
        uint64_t now = base_now_ns();
        if (now >= deadline_ns || w->failed)
            return false;
        uint64_t left = deadline_ns - now;
        int res = loop_run_once(w->loop, left < WAIT_STEP_NS ? left : WAIT_STEP_NS);
        if (res < 0) {
            failed(w, "the event loop failed: %s", strerror(-res));
            return false;
        }
    }
    return true;
}

static bool s_is_ready(const struct worker *w)
{
    return w->s.ready || !w->s.running;
}

static bool record_or_death(const struct worker *w)
{
    return w->record || w->told_s_closed || !w->s.running || !w->a.running || !w->b.running;
}

static bool record_or_s_death(const struct worker *w)
{
    return w->record || !w->s.running;
}

static bool peers_ended(const struct worker *w)
{
    return !w->a.running && !w->b.running;
}

/* ---- the server ------------------------------------------------------------------------------ */

static void on_record_line(struct campaign_lines *lines, char *line, size_t len)
{
    struct worker *w = lines->owner;
    if (!line) {
        w->told_s_closed = true;
        return;
    }
    if (campaign_restarts_any(w->job->cell->link) && campaign_restarts_line(&w->restarts, line, len))
        return;
    if (w->record) {
        failed(w, "rendezvous wrote a record that nobody asked for");
        return;
    }
    w->record = malloc(len + 2);
    if (!w->record) {
        failed(w, "no memory");
        return;
    }
    memcpy(w->record, line, len);
    memcpy(w->record + len, "\n", 2);
}

static const struct campaign_server *server_of(const struct worker *w)
{
    return campaign_server_of(campaign_sides_ipv6(w->job->cell->nat_a, w->job->cell->nat_b));
}

static int start_server(struct worker *w, const char *path)
{
    const struct campaign_server *server = server_of(w);
    const char *argv[] = {path,
                          "--listen",
                          server->listen,
                          "--listen",
                          server->listen_2,
                          "--alternate",
                          server->alternate,
                          "--sample-ports",
                          CAMPAIGN_SAMPLE_PORTS,
                          "--json",
                          "--step",
                          "--stun-rate",
                          "0",
                          "--join-rate",
                          "0",
                          campaign_restarts_any(w->job->cell->link) ? "--starts" : NULL,
                          NULL};
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0)
        return failed(w, "no pipe: %s", strerror(errno));
    if (pipe2(out, O_CLOEXEC) < 0) {
        close(in[0]);
        close(in[1]);
        return failed(w, "no pipe: %s", strerror(errno));
    }
    w->step_fd = in[1];
    int res = program_start(w, &w->s, w->hosts.s, argv, in[0], out[1]);
    if (res < 0) {
        close(out[0]);
        return res;
    }
    campaign_lines_start(&w->s.out, w->loop, out[0], CAMPAIGN_LINE_MAX, on_record_line, w);
    if (!wait_until(w, s_is_ready, base_now_ns() + START_LIMIT_NS) || !w->s.running)
        return explain(w, &w->s, "before it was ready");
    return 0;
}

/* ---- the peers ------------------------------------------------------------------------------- */

struct args {
    const char *argv[MAX_ARGS];
    char text[MAX_ARGS][32];
    size_t n;
};

static void add_arg(struct args *a, const char *arg)
{
    if (a->n + 1 < MAX_ARGS)
        a->argv[a->n++] = arg;
}

static void add_number(struct args *a, const char *option, uint64_t value, const char *unit)
{
    char *text = a->text[a->n];
    snprintf(text, sizeof(a->text[0]), "%llu%s", (unsigned long long)value, unit);
    add_arg(a, option);
    add_arg(a, text);
}

/* Options that each side has for itself: nobody tells b of a's. */
static const struct {
    const char *name;
    bool value; /* its value may be the next word */
} local_options[] = {{"--discover", false}, {"--ports", true}};

/* Whether the word is one of them; *value: what follows belongs to it. */
static bool is_local(const char *word, bool *value)
{
    size_t len = strcspn(word, "=");
    for (size_t i = 0; i < BASE_ARRAY_LEN(local_options); i++)
        if (strlen(local_options[i].name) == len && strncmp(word, local_options[i].name, len) == 0) {
            *value = local_options[i].value && !word[len];
            return true;
        }
    return false;
}

/* Cuts words at its blanks: they must live as long as the arguments. */
static void add_words(struct args *a, char *words, bool all)
{
    char *rest = NULL;
    bool take = false; /* the value of the option before */
    for (char *word = strtok_r(words, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
        bool value = false, local = is_local(word, &value);
        if (all || take || local)
            add_arg(a, word);
        take = local && value;
    }
}

static int start_peer(struct worker *w, struct program *p, struct lab_host *host, const char *path)
{
    const struct campaign_job *job = w->job;
    struct args a = {.n = 0};
    char options[CAMPAIGN_OPTIONS_LEN];
    memcpy(options, job->cell->choice->options, sizeof(options));
    add_arg(&a, path);
    add_arg(&a, "--server");
    add_arg(&a, server_of(w)->listen);
    add_arg(&a, "--session");
    add_arg(&a, job->cell->name);
    add_arg(&a, "--role");
    add_arg(&a, p->role);
    add_arg(&a, "--quiet");
    /* Role a's options rule. */
    bool rules = strcmp(p->role, "a") == 0;
    if (rules) {
        add_number(&a, "--trials", job->count + job->config->warmup, "");
        add_number(&a, "--first-trial", first_made(w), "");
        add_number(&a, "--seed", job->cell->seed, "");
        add_number(&a, "--timeout", job->config->timeout_ns, "ns");
        add_arg(&a, "--mode");
        add_arg(&a, job->cell->choice->mode);
    }
    add_words(&a, options, rules);
    return program_start(w, p, host, a.argv, -1, -1);
}

/* ---- trials ---------------------------------------------------------------------------------- */

/* Which program is to blame for a record that does not come. */
static int blame(struct worker *w, const char *doing)
{
    struct program *const all[] = {&w->s, &w->a, &w->b};
    for (size_t i = 0; i < BASE_ARRAY_LEN(all); i++)
        if (!all[i]->running)
            return explain(w, all[i], doing);
    return explain(w, &w->s, doing);
}

static int check_record(struct worker *w, uint64_t trial)
{
    struct record_view view;
    int res = record_view_parse(w->record, strlen(w->record), &view);
    if (res < 0)
        return failed(w, "rendezvous wrote something else than a record: %.200s", w->record);
    if (strcmp(view.cell, w->job->cell->name) != 0 || view.trial != trial)
        return failed(w, "rendezvous wrote trial %llu of %s where trial %llu of %s was due",
                      (unsigned long long)view.trial, view.cell, (unsigned long long)trial, w->job->cell->name);
    return 0;
}

static int run_trial(struct worker *w, uint64_t trial)
{
    const struct campaign_config *c = w->job->config;
    char doing[48];
    snprintf(doing, sizeof(doing), "in trial %llu", (unsigned long long)trial);
    int res = lab_reset_nats(w->hosts.lab);
    if (res < 0)
        return failed(w, "the NATs could not be reset: %s", strerror(-res));
    if (write(w->step_fd, "\n", 1) != 1)
        return blame(w, doing);
    uint64_t limit = c->timeout_ns + TRIAL_MARGIN_NS + TRIAL_MARGIN_RTTS * campaign_link_longest(w->job->cell->link);
    /* The peers join in the first one. */
    if (trial == first_made(w))
        limit += START_LIMIT_NS;
    wait_until(w, record_or_death, base_now_ns() + limit);
    if (!w->record)
        wait_until(w, record_or_s_death, base_now_ns() + END_LIMIT_NS);
    if (!w->record)
        return blame(w, doing);
    campaign_restarts_stop(&w->restarts);
    res = check_record(w, trial);
    if (res == 0 && w->restarts.err < 0)
        res = failed(w, "a NAT could not restart: %s", campaign_restarts_explain(w->restarts.err));
    if (res == 0 && campaign_nats_append(w->hosts.lab, &w->record) < 0)
        res = failed(w, "what the NATs did could not be read");
    if (res == 0 && trial >= w->job->first)
        tell(w, w->record, strlen(w->record));
    free(w->record);
    w->record = NULL;
    return res;
}

/* A peer that crashes on its way out has measured all the same, but it has a fault that somebody must see. */
static int check_end(struct worker *w)
{
    struct program *const peers[] = {&w->a, &w->b};
    wait_until(w, peers_ended, base_now_ns() + END_LIMIT_NS);
    for (size_t i = 0; i < BASE_ARRAY_LEN(peers); i++) {
        const struct program *p = peers[i];
        if (p->running || p->killed || (p->status != BASE_EXIT_OK && p->status != BASE_EXIT_FAILED))
            return explain(w, p, "after its last trial");
    }
    return 0;
}

static int start_capture(struct worker *w)
{
    const struct campaign_job *job = w->job;
    char dir[PATH_MAX], err[LAB_ERROR_LEN];
    if (!job->pcap.dir)
        return 0;
    if (campaign_pcap_dir(&job->pcap, job->cell->name, first_made(w), dir) < 0)
        return failed(w, "--pcap %.200s: the path is too long", job->pcap.dir);
    if (campaign_pcap_start(w->hosts.lab, dir, job->pcap.limit, err) < 0)
        return failed(w, "no capture: %s", err);
    return 0;
}

static int measure(struct worker *w)
{
    static const char started[2] = {CAMPAIGN_LINE_STARTED, '\n'};
    char s_path[PATH_MAX], peer_path[PATH_MAX], err[LAB_ERROR_LEN];
    const struct campaign_job *job = w->job;
    if ((size_t)snprintf(s_path, PATH_MAX, "%s/rendezvous", job->program_dir) >= PATH_MAX ||
        (size_t)snprintf(peer_path, PATH_MAX, "%s/%s", job->program_dir, job->cell->choice->technique->program) >=
            PATH_MAX)
        return failed(w, "%s: the path is too long", job->program_dir);
    w->s.name = "rendezvous";
    w->a.name = w->b.name = job->cell->choice->technique->program;
    int res = campaign_hosts_create(&w->hosts, w->loop, job->cell->seed, job->cell->nat_a, job->cell->nat_b,
                                    job->cell->link, err);
    if (res < 0)
        return failed(w, "no lab: %s", err);
    campaign_restarts_init(&w->restarts, w->loop, &w->hosts, job->cell->link);
    if (start_capture(w) < 0)
        return -EIO;
    res = start_server(w, s_path);
    if (res == 0)
        res = start_peer(w, &w->a, w->hosts.a, peer_path);
    if (res == 0)
        res = start_peer(w, &w->b, w->hosts.b, peer_path);
    if (res == 0)
        tell(w, started, sizeof(started));
    for (uint64_t t = first_made(w); res == 0 && t < job->first + job->count; t++)
        res = run_trial(w, t);
    return res == 0 ? check_end(w) : res;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void tell_lateness(struct worker *w)
{
    struct lab_counters counters;
    char line[32];
    if (!w->hosts.lab)
        return;
    lab_counters(w->hosts.lab, &counters);
    int len = snprintf(line, sizeof(line), "%c%llu\n", CAMPAIGN_LINE_LATE, (unsigned long long)counters.late_p99_ns);
    tell(w, line, (size_t)len);
}

static void stop_programs(struct worker *w)
{
    struct program *const all[] = {&w->s, &w->a, &w->b};
    campaign_restarts_stop(&w->restarts);
    for (size_t i = 0; i < BASE_ARRAY_LEN(all); i++) {
        loop_cancel(w->loop, &all[i]->died_op);
        campaign_lines_stop(&all[i]->err);
        campaign_lines_stop(&all[i]->out);
    }
    while (loop_pending(w->loop) > 0 && loop_run_once(w->loop, WAIT_STEP_NS) == 0)
        ;
    for (size_t i = 0; i < BASE_ARRAY_LEN(all); i++) {
        campaign_lines_free(&all[i]->err);
        campaign_lines_free(&all[i]->out);
        if (all[i]->pidfd >= 0)
            close(all[i]->pidfd);
    }
    if (w->step_fd >= 0)
        close(w->step_fd);
    free(w->record);
}

int campaign_worker_main(const struct campaign_job *job, int fd)
{
    struct worker w = {.job = job, .fd = fd, .step_fd = -1};
    /* A program that has died is noticed by its pidfd. */
    signal(SIGPIPE, SIG_IGN);
    int res = loop_create(&w.loop, 0);
    if (res < 0) {
        failed(&w, "%s", loop_explain(res));
        return BASE_EXIT_FAILED;
    }
    program_init(&w.s, "rendezvous", "s", w.loop);
    program_init(&w.a, "peer", "a", w.loop);
    program_init(&w.b, "peer", "b", w.loop);
    res = measure(&w);
    tell_lateness(&w);
    /* Kills what still runs; then nothing can come from the pipes any more. */
    campaign_hosts_destroy(&w.hosts);
    stop_programs(&w);
    loop_destroy(w.loop);
    return res == 0 ? BASE_EXIT_OK : BASE_EXIT_FAILED;
}
