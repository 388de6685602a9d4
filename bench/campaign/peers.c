/*
 * Measures with the technique's own program: the server S and both peers, started once, and step by step "\n" to S, one
 * joint record from S.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/campaign/worker.h"

/* Over the punch's own timeout. S bounds each phase itself (facts 40 s, plan 20 s, report 20 s) and records who fell
 * silent; this bounds S, and the lab. */
#define TRIAL_MARGIN_NS (85 * BASE_NS_PER_S)
/* For both to join, over a link that loses much. */
#define JOIN_LIMIT_NS (40 * BASE_NS_PER_S)
/* Round trips of one trial outside the punch: a TCP sample, the exchange, the plan, the report; twice that. */
#define TRIAL_MARGIN_RTTS 20
/* For S to tell of a peer that died (a connection that was broken is waited for, 20 s), and for peers to end after the
 * last trial. */
#define END_LIMIT_NS (25 * BASE_NS_PER_S)
/* The same for a peer that said what it lacks and ended: it does not come back. */
#define GONE_LIMIT_NS (2 * BASE_NS_PER_S)
#define MAX_ARGS      40

/* ---- conditions ------------------------------------------------------------------------------ */

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

static bool gave_up(const struct worker_program *p)
{
    return !p->running && !p->killed && p->status == BASE_EXIT_USAGE;
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
        worker_failed(w, "rendezvous wrote a record that nobody asked for");
        return;
    }
    w->record = malloc(len + 2);
    if (!w->record) {
        worker_failed(w, "no memory");
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
        return worker_failed(w, "no pipe: %s", strerror(errno));
    if (pipe2(out, O_CLOEXEC) < 0) {
        close(in[0]);
        close(in[1]);
        return worker_failed(w, "no pipe: %s", strerror(errno));
    }
    w->step_fd = in[1];
    int res = worker_program_start(w, &w->s, w->hosts.s, argv, in[0], out[1]);
    if (res < 0) {
        close(out[0]);
        return res;
    }
    campaign_lines_start(&w->s.out, w->loop, out[0], CAMPAIGN_LINE_MAX, on_record_line, w);
    if (!worker_wait_until(w, s_is_ready, base_now_ns() + WORKER_START_LIMIT_NS) || !w->s.running)
        return worker_program_explain(w, &w->s, "before it was ready");
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

static int start_peer(struct worker *w, struct worker_program *p, struct lab_host *host, const char *path)
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
        add_number(&a, "--first-trial", worker_first_made(w), "");
        add_number(&a, "--seed", job->cell->seed, "");
        add_number(&a, "--timeout", job->config->timeout_ns, "ns");
        add_arg(&a, "--mode");
        add_arg(&a, job->cell->choice->mode);
    }
    for (const char *const *word = worker_turn_options(w); *word; word++)
        add_arg(&a, *word);
    add_words(&a, options, rules);
    return worker_program_start(w, p, host, a.argv, -1, -1);
}

/* ---- trials ---------------------------------------------------------------------------------- */

/* Which program is to blame for a record that does not come. */
static int blame(struct worker *w, const char *doing)
{
    struct worker_program *const all[] = {&w->s, &w->a, &w->b};
    for (size_t i = 0; i < BASE_ARRAY_LEN(all); i++)
        if (!all[i]->running)
            return worker_program_explain(w, all[i], doing);
    return worker_program_explain(w, &w->s, doing);
}

static int peers_trial(struct worker *w, uint64_t trial)
{
    const struct campaign_job *job = w->job;
    char doing[48];
    snprintf(doing, sizeof(doing), "in trial %llu", (unsigned long long)trial);
    if (worker_turn_check(w) < 0)
        return -EIO;
    if (write(w->step_fd, "\n", 1) != 1)
        return blame(w, doing);
    uint64_t limit =
        job->config->timeout_ns + TRIAL_MARGIN_NS + TRIAL_MARGIN_RTTS * campaign_link_longest(job->cell->link);
    /* The peers join in the first one. */
    if (trial == worker_first_made(w))
        limit += WORKER_START_LIMIT_NS + JOIN_LIMIT_NS;
    worker_wait_until(w, record_or_death, base_now_ns() + limit);
    if (!w->record)
        worker_wait_until(w, record_or_s_death,
                          base_now_ns() + (gave_up(&w->a) || gave_up(&w->b) ? GONE_LIMIT_NS : END_LIMIT_NS));
    if (w->record)
        worker_turn_settle(w);
    return w->record ? 0 : blame(w, doing);
}

/* A peer that crashes on its way out has measured all the same, but it has a fault that somebody must see. */
static int peers_end(struct worker *w)
{
    struct worker_program *const peers[] = {&w->a, &w->b};
    worker_wait_until(w, peers_ended, base_now_ns() + END_LIMIT_NS);
    for (size_t i = 0; i < BASE_ARRAY_LEN(peers); i++) {
        const struct worker_program *p = peers[i];
        if (p->running || p->killed || (p->status != BASE_EXIT_OK && p->status != BASE_EXIT_FAILED))
            return worker_program_explain(w, p, "after its last trial");
    }
    return 0;
}

/* ---- what side a's router offers --------------------------------------------------------------- */

/* The address that it hands out: a public one, as miniupnpd will not have those for documentation. Nothing of this
 * network leaves the lab. */
#define MAPPED_ADDRESS "9.0.0.1"

static int offer_mappings(struct worker *w)
{
    union base_ep outside = {0};
    char err[LAB_ERROR_LEN];
    /* A constant above. */
    (void)base_ep_parse_addr(MAPPED_ADDRESS, &outside);
    /* Behind a carrier's NAT it has none but that one's. */
    bool carried = w->job->cell->nat_a->n > 1;
    int res = lab_offer_mappings(w->hosts.lab, w->hosts.a, carried ? NULL : &outside, err);
    /* What is no router of Linux maps nothing, and the record says so. */
    return res < 0 && res != -ENOTSUP ? worker_failed(w, "no port mapping: %s", err) : 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int peers_begin(struct worker *w)
{
    char s_path[PATH_MAX], peer_path[PATH_MAX];
    const struct campaign_job *job = w->job;
    if ((size_t)snprintf(s_path, PATH_MAX, "%s/rendezvous", job->program_dir) >= PATH_MAX ||
        (size_t)snprintf(peer_path, PATH_MAX, "%s/%s", job->program_dir, job->cell->choice->technique->program) >=
            PATH_MAX)
        return worker_failed(w, "%s: the path is too long", job->program_dir);
    w->s.name = "rendezvous";
    w->a.name = w->b.name = job->cell->choice->technique->program;
    int res = campaign_choice_maps(job->cell->choice) ? offer_mappings(w) : 0;
    if (res == 0)
        res = start_server(w, s_path);
    if (res == 0)
        res = worker_turn_begin(w);
    if (res == 0)
        res = start_peer(w, &w->a, w->hosts.a, peer_path);
    return res == 0 ? start_peer(w, &w->b, w->hosts.b, peer_path) : res;
}

static void peers_stop(struct worker *w)
{
    worker_program_close(w, &w->s);
    worker_program_close(w, &w->a);
    worker_program_close(w, &w->b);
    worker_turn_stop(w);
    if (w->step_fd >= 0)
        close(w->step_fd);
}

const struct worker_measurer worker_peers = {peers_begin, peers_trial, peers_end, peers_stop};
