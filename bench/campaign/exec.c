/*
 * Measures with anybody's commands (`use = exec`): in each trial they are started, and succeed when the lines that were
 * asked for have come on their stdout. What they do in between is theirs; nobody proves a path here. The time runs from
 * the start of the first one, so starting the programs is in it. Then all that they started is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/campaign/worker.h"

/* Of a line, for the patterns; what follows is not looked at. */
#define LINE_MAX_LEN 4096
/* What a shell says of a command that cannot be run (POSIX): nothing was measured then. */
#define STATUS_NOT_EXECUTABLE 126
#define STATUS_NOT_FOUND      127

/* What the last trial's programs had sent, and what their hosts answer after their end (ICMP, RST), may still be on its
 * way through the kernel to a router: it must not open a hole in this trial, nor reach its programs. */
#define SETTLE_NS (10 * BASE_NS_PER_MS)

/* A command in a trial. */
struct command {
    struct worker_program *program;
    const struct worker *worker;
    regex_t success, ready;
    bool asked, has_ready; /* has the one pattern; the other */
    /* in this trial */
    bool started, is_ready;
    uint64_t started_ns, matched_ns; /* 0 = not yet */
};

struct worker_exec_state {
    const struct campaign_exec *config;
    struct command commands[CAMPAIGN_ENDS];
    struct lab_group *group, *server; /* of this trial; of all */
    uint64_t begin_ns;                /* of the first command's start */
    uint64_t seed;
};

static struct command *command_of(const struct worker *w, int end)
{
    return &w->exec->commands[end];
}

/* ---- what they say --------------------------------------------------------------------------- */

static void on_out_line(struct campaign_lines *lines, char *line, size_t len)
{
    struct command *c = lines->owner;
    uint64_t now = base_now_ns();
    /* The end; what came without a newline counts here. */
    if (!line && lines->len > 0 && lines->len < lines->cap) {
        line = lines->buf;
        len = lines->len < LINE_MAX_LEN ? lines->len : LINE_MAX_LEN;
        line[len] = '\0';
    }
    if (!line)
        return;
    worker_program_said(c->program, line);
    if (c->has_ready && !c->is_ready)
        c->is_ready = regexec(&c->ready, line, 0, NULL, 0) == 0;
    if (c->asked && !c->matched_ns && regexec(&c->success, line, 0, NULL, 0) == 0)
        c->matched_ns = now;
}

/* ---- how they stand -------------------------------------------------------------------------- */

/* It has ended, and nobody writes to its stdout any more. */
static bool is_over(const struct command *c)
{
    return c->started && !c->program->running && c->program->out.ended;
}

static bool went_wrong(const struct command *c)
{
    const struct campaign_exec *e = c->worker->exec->config;
    const struct worker_program *p = c->program;
    if (!is_over(c) || c->matched_ns)
        return false;
    for (size_t i = 0; i < e->n_gave_up && !p->killed; i++)
        if (e->gave_up[i] == p->status)
            return false;
    return p->killed || p->status != 0;
}

static bool succeeded(const struct worker *w)
{
    for (int i = 0; i < 2; i++)
        if (command_of(w, i)->asked && !command_of(w, i)->matched_ns)
            return false;
    return true;
}

static bool is_settled(const struct worker *w)
{
    if (succeeded(w))
        return true;
    for (int i = 0; i < 2; i++) {
        const struct command *c = command_of(w, i);
        if (went_wrong(c) || (c->asked && !c->matched_ns && is_over(c)))
            return true;
    }
    return false;
}

static bool server_is_ready(const struct worker *w)
{
    return command_of(w, CAMPAIGN_S)->is_ready || is_over(command_of(w, CAMPAIGN_S));
}

static bool first_is_ready(const struct worker *w)
{
    bool b = w->exec->config->start == CAMPAIGN_B_FIRST;
    return command_of(w, b ? CAMPAIGN_B : CAMPAIGN_A)->is_ready || is_settled(w);
}

/* ---- starting -------------------------------------------------------------------------------- */

static uint64_t timeout_of(const struct worker *w)
{
    uint64_t own = w->exec->config->timeout_ns;
    return own ? own : w->job->config->timeout_ns;
}

static int start(struct worker *w, int end, struct lab_group *group, uint64_t trial)
{
    struct command *c = command_of(w, end);
    int out[2], err[2], pidfd;
    if (pipe2(out, O_CLOEXEC) < 0)
        return worker_failed(w, "no pipe: %s", strerror(errno));
    if (pipe2(err, O_CLOEXEC) < 0) {
        close(out[0]);
        close(out[1]);
        return worker_failed(w, "no pipe: %s", strerror(errno));
    }
    struct campaign_shell shell = {.hosts = &w->hosts,
                                   .end = end,
                                   .command = w->exec->config->run[end],
                                   .program_dir = w->job->program_dir,
                                   .trial = trial,
                                   .seed = w->exec->seed,
                                   .timeout_ns = timeout_of(w),
                                   .fd_in = -1,
                                   .fd_out = out[1],
                                   .fd_err = err[1],
                                   .group = group};
    worker_program_init(c->program, "the command", c->program->role, w->loop);
    c->started_ns = base_now_ns();
    int res = campaign_shell_start(&shell, &c->program->pid, &pidfd);
    close(out[1]);
    close(err[1]);
    if (res < 0) {
        close(out[0]);
        close(err[0]);
        return worker_failed(w, "/bin/sh could not be started: %s", strerror(-res));
    }
    c->started = true;
    worker_program_watch(w, c->program, pidfd, err[0]);
    campaign_lines_start(&c->program->out, w->loop, out[0], LINE_MAX_LEN, on_out_line, c);
    return 0;
}

static int start_server(struct worker *w, struct lab_group *group, uint64_t trial)
{
    const struct command *c = command_of(w, CAMPAIGN_S);
    if (!*w->exec->config->run[CAMPAIGN_S])
        return 0;
    int res = start(w, CAMPAIGN_S, group, trial);
    if (res < 0 || !c->has_ready)
        return res;
    if (!worker_wait_until(w, server_is_ready, base_now_ns() + WORKER_START_LIMIT_NS) || !c->is_ready)
        return worker_program_explain(w, c->program, "without having said what 'ready-s' waits for");
    return 0;
}

static void let_time_pass(struct worker *w, uint64_t until_ns)
{
    worker_wait_until(w, is_settled, until_ns);
}

/* The second one, when the first one is ready and its delay is over. Not being ready at all is a trial that failed. */
static int start_second(struct worker *w, int first, uint64_t trial, uint64_t deadline_ns)
{
    uint64_t delay_ns = w->exec->config->delay_ns;
    if (command_of(w, first)->has_ready && !worker_wait_until(w, first_is_ready, deadline_ns))
        return 0;
    if (delay_ns) {
        uint64_t until = base_now_ns() + delay_ns;
        let_time_pass(w, until < deadline_ns ? until : deadline_ns);
    }
    if (is_settled(w) || base_now_ns() >= deadline_ns)
        return 0;
    return start(w, !first, w->exec->group, trial);
}

/* ---- the record ------------------------------------------------------------------------------ */

/* Foreign bytes, and a line may have been cut within a character. */
static json_t *text_json(const char *text)
{
    char plain[WORKER_LAST_LINE_LEN];
    json_t *out = json_string(text);
    if (out)
        return out;
    snprintf(plain, sizeof(plain), "%s", text);
    for (char *c = plain; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
            *c = '?';
    return json_string(plain);
}

static void put_end(json_t *fields, const struct worker_program *p, bool started)
{
    bool ended = started && !p->running;
    json_object_set_new(fields, "exit_status", ended && !p->killed ? json_integer(p->status) : json_null());
    if (ended && p->killed)
        json_object_set_new(fields, "signal", json_integer(p->status));
}

static void put_output(json_t *fields, const struct worker_program *p)
{
    json_t *list = json_array();
    size_t from = p->n_last > WORKER_LAST_LINES ? p->n_last - WORKER_LAST_LINES : 0;
    for (size_t i = from; i < p->n_last; i++)
        json_array_append_new(list, text_json(p->last[i % WORKER_LAST_LINES]));
    json_object_set_new(fields, "output", list);
}

/* A side without its line: how it ended. */
static void describe_failure(const struct command *c, struct record_side *side)
{
    const char *why = NULL;
    bool over = is_over(c);
    side->outcome = went_wrong(c) ? RECORD_ERROR : RECORD_TIMEOUT;
    side->phase = c->started ? RECORD_PHASE_ESTABLISHED : RECORD_PHASE_JOIN;
    if (side->outcome == RECORD_ERROR)
        why = c->program->killed ? "killed" : "exit_status";
    else if (over && c->asked)
        why = "gave_up";
    else if (is_settled(c->worker) && c->asked)
        why = "other_side";
    if (why)
        json_object_set_new(side->fields, "why", json_string(why));
}

static void describe_side(const struct worker *w, int end, bool ok, uint64_t now_ns, struct record_side *side)
{
    const struct command *c = command_of(w, end), *other = command_of(w, !end);
    uint64_t begin_ns = w->exec->begin_ns;
    uint64_t matched_ns = c->asked || !ok ? c->matched_ns : other->matched_ns;
    *side = (struct record_side){.fields = json_object()};
    json_object_set_new(side->fields, "role", json_string(c->program->role));
    json_object_set_new(side->fields, "asked", json_boolean(c->asked));
    put_end(side->fields, c->program, c->started);
    if (!ok)
        put_output(side->fields, c->program);
    side->total_ns = now_ns - begin_ns;
    /* Never 0, which is "not reached". */
    side->phase_ns[RECORD_PHASE_OPEN] = c->started ? c->started_ns - begin_ns + 1 : 0;
    if (!matched_ns) {
        describe_failure(c, side);
        return;
    }
    side->outcome = RECORD_OK;
    side->acked = true;
    side->connect_ns = matched_ns - begin_ns;
    side->phase_ns[RECORD_PHASE_ESTABLISHED] = side->connect_ns;
}

static void put_server(const struct worker *w, json_t *record)
{
    const struct command *c = command_of(w, CAMPAIGN_S);
    json_t *s = json_object();
    if (!c->started) {
        json_decref(s);
        return;
    }
    put_end(s, c->program, true);
    put_output(s, c->program);
    json_object_set_new(record, "s", s);
}

static int make_record(struct worker *w, uint64_t trial)
{
    const struct campaign_cell *cell = w->job->cell;
    uint64_t now_ns = base_now_ns();
    bool ok = succeeded(w);
    struct record_side a, b;
    struct record_trial t = {.cell = cell->name,
                             .trial = trial,
                             .seed = cell->seed,
                             .technique = cell->choice->technique->name,
                             .mode = cell->choice->mode,
                             .transport = campaign_choice_transport(cell->choice),
                             .predicted_p = NAN};
    describe_side(w, CAMPAIGN_A, ok, now_ns, &a);
    describe_side(w, CAMPAIGN_B, ok, now_ns, &b);
    json_t *record = record_joint(&t, &a, &b);
    if (record && !ok)
        put_server(w, record);
    char *line = record ? json_dumps(record, JSON_COMPACT) : NULL;
    size_t len = line ? strlen(line) : 0;
    w->record = line ? realloc(line, len + 2) : NULL;
    if (w->record)
        memcpy(w->record + len, "\n", 2);
    json_decref(record);
    record_side_clear(&a);
    record_side_clear(&b);
    return w->record ? 0 : worker_failed(w, "no memory");
}

/* ---- a trial --------------------------------------------------------------------------------- */

/* A command that the shell could not run has measured nothing. */
static int check_commands(struct worker *w)
{
    for (int i = 0; i < 2; i++) {
        const struct command *c = command_of(w, i);
        const struct worker_program *p = c->program;
        if (is_over(c) && !c->matched_ns && !p->killed &&
            (p->status == STATUS_NOT_EXECUTABLE || p->status == STATUS_NOT_FOUND))
            return worker_program_explain(w, p, "as a shell says of what it cannot run");
    }
    return 0;
}

static int run_commands(struct worker *w, uint64_t trial)
{
    const struct campaign_exec *e = w->exec->config;
    int first = e->start == CAMPAIGN_B_FIRST ? CAMPAIGN_B : CAMPAIGN_A;
    bool together = e->start != CAMPAIGN_A_FIRST && e->start != CAMPAIGN_B_FIRST;
    w->exec->begin_ns = base_now_ns();
    campaign_restarts_begin(&w->restarts, w->exec->begin_ns);
    uint64_t deadline_ns = w->exec->begin_ns + timeout_of(w);
    int res = start(w, first, w->exec->group, trial);
    if (res == 0)
        res = together ? start(w, !first, w->exec->group, trial) : start_second(w, first, trial, deadline_ns);
    if (res < 0)
        return res;
    worker_wait_until(w, is_settled, deadline_ns);
    if (w->failed)
        return -EIO;
    res = check_commands(w);
    return res < 0 ? res : make_record(w, trial);
}

static void forget(struct worker *w, int end)
{
    struct command *c = command_of(w, end);
    if (c->started)
        worker_program_close(w, c->program);
    c->started = c->is_ready = false;
    c->started_ns = c->matched_ns = 0;
}

/* Whatever they started goes before the next trial's fresh NATs. */
static void end_trial(struct worker *w)
{
    lab_group_end(w->exec->group);
    w->exec->group = NULL;
    forget(w, CAMPAIGN_A);
    forget(w, CAMPAIGN_B);
    if (!w->exec->server)
        forget(w, CAMPAIGN_S);
}

static bool never(const struct worker *w)
{
    (void)w;
    return false;
}

/* The links are empty since the reset just now; what still came out of the hosts since then goes with another one. */
static int settle(struct worker *w)
{
    worker_wait_until(w, never, base_now_ns() + SETTLE_NS);
    int res = lab_reset_nats(w->hosts.lab);
    return res < 0 ? worker_failed(w, "the NATs could not be reset: %s", strerror(-res)) : 0;
}

static int exec_trial(struct worker *w, uint64_t trial)
{
    struct worker_exec_state *x = w->exec;
    struct base_rng rng;
    if (settle(w) < 0)
        return -EIO;
    if (lab_group_create(&x->group) < 0)
        return worker_failed(w, "no memory");
    base_rng_derive(&rng, w->job->cell->seed, "exec", trial);
    x->seed = base_rng_u64(&rng) >> 11; /* 53 bits */
    int res = x->server ? 0 : start_server(w, x->group, trial);
    if (res == 0)
        res = run_commands(w, trial);
    end_trial(w);
    return res;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* The patterns were compiled once already, when the campaign was read. */
static bool compile(const char *pattern, regex_t *out)
{
    return *pattern && regcomp(out, pattern, REG_EXTENDED | REG_NOSUB) == 0;
}

static int exec_begin(struct worker *w)
{
    struct worker_program *const programs[CAMPAIGN_ENDS] = {
        [CAMPAIGN_A] = &w->a, [CAMPAIGN_B] = &w->b, [CAMPAIGN_S] = &w->s};
    struct worker_exec_state *x = calloc(1, sizeof(*x));
    if (!x)
        return worker_failed(w, "no memory");
    w->exec = x;
    x->config = &w->job->cell->choice->exec;
    for (int i = 0; i < CAMPAIGN_ENDS; i++) {
        struct command *c = &x->commands[i];
        c->program = programs[i];
        c->worker = w;
        c->has_ready = compile(x->config->ready[i], &c->ready);
        c->asked = i < 2 && compile(x->config->success[i], &c->success);
    }
    if (!*x->config->run[CAMPAIGN_S] || x->config->server != CAMPAIGN_STARTS_ONCE)
        return 0;
    if (lab_group_create(&x->server) < 0)
        return worker_failed(w, "no memory");
    return start_server(w, x->server, worker_first_made(w));
}

static int exec_end(struct worker *w)
{
    (void)w;
    return 0;
}

static void exec_stop(struct worker *w)
{
    struct worker_exec_state *x = w->exec;
    if (!x)
        return;
    lab_group_end(x->group);
    lab_group_end(x->server);
    for (int i = 0; i < CAMPAIGN_ENDS; i++) {
        struct command *c = &x->commands[i];
        forget(w, i);
        if (c->has_ready)
            regfree(&c->ready);
        if (c->asked)
            regfree(&c->success);
    }
    free(x);
    w->exec = NULL;
}

const struct worker_measurer worker_exec = {exec_begin, exec_trial, exec_end, exec_stop};
