/* The server: opens the sites, keeps the sessions by name, writes the records, and runs until it is told to stop. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/rendezvous/internal.h"

/* How often deadlines are looked at: they are of seconds. */
#define TICK_NS (250 * BASE_NS_PER_MS)
/* A bucket holds this many seconds' worth: peers of one site start together. */
#define BURST_SECONDS 2
/* Connects to one address for behaviour discovery, a second and at once. */
#define PROBE_RATE  20
#define PROBE_BURST 100

/* ---- sessions by name ------------------------------------------------------------------------ */

static struct session **bucket_of(struct server *server, const char *name)
{
    uint64_t h = server->hash_seed ^ 0xcbf29ce484222325ULL; /* FNV-1a */
    for (const char *p = name; *p; p++)
        h = (h ^ (uint8_t)*p) * 0x100000001b3ULL;
    return &server->buckets[(h ^ h >> 32) % SERVER_BUCKETS];
}

struct session *server_find(struct server *server, const char *name)
{
    struct session *s = *bucket_of(server, name);
    while (s && strcmp(session_name(s), name) != 0)
        s = session_links(s)->next;
    return s;
}

static struct session *add_session(struct server *server, const char *name, const char **why)
{
    *why = "the server has as many sessions as it may";
    if (server->n_sessions >= server->config->max_sessions)
        return NULL;
    *why = "the server is out of memory";
    struct session *s = session_create(&server->host, name);
    if (!s)
        return NULL;
    struct session **bucket = bucket_of(server, name);
    session_links(s)->next = *bucket;
    *bucket = s;
    server->n_sessions++;
    return s;
}

static void step_remove(struct server *server, struct session *s)
{
    struct session **at = &server->step_first;
    while (*at && *at != s)
        at = &session_links(*at)->step_next;
    if (!*at)
        return;
    *at = session_links(s)->step_next;
    if (server->step_last == &session_links(s)->step_next)
        server->step_last = at;
    session_links(s)->stepping = false;
}

static void remove_session(struct server *server, struct session *s)
{
    if (session_links(s)->stepping)
        step_remove(server, s);
    struct session **at = bucket_of(server, session_name(s));
    while (*at != s)
        at = &session_links(*at)->next;
    *at = session_links(s)->next;
    server->n_sessions--;
    session_free(s);
}

void server_settle(struct server *server, struct session *s)
{
    if (session_over(s))
        remove_session(server, s);
}

int server_join(struct server *server, const struct session_hello *hello, const struct session_place *place,
                struct conn *peer, struct session **session, enum wire_role *role, const char **why)
{
    struct session *s = server_find(server, hello->session);
    /* One that is done only waits for its peers to close: its name is free. */
    if (s && session_ended(s)) {
        session_give_up(s);
        remove_session(server, s);
        s = NULL;
    }
    if (!s && !(s = add_session(server, hello->session, why)))
        return WIRE_E_BUSY;
    int err = session_join(s, hello, place, peer, base_now_ns(), role, why);
    *session = s;
    server_settle(server, s);
    return err;
}

/* ---- what sessions need of us ---------------------------------------------------------------- */

static void host_send(void *peer, const uint8_t *frame, size_t len)
{
    conn_send(peer, frame, len);
}

static void host_finish(void *peer)
{
    conn_finish(peer);
}

static int write_line(FILE *out, const char *line)
{
    errno = 0;
    bool written = fputs(line, out) >= 0 && fputc('\n', out) != EOF && fflush(out) == 0;
    clearerr(out);
    return written ? 0 : -(errno ? errno : EIO);
}

static void host_record(struct session_host *host, const char *line)
{
    struct server *server = (struct server *)host;
    int err;
    /* A trial that our own end cut off says nothing about the pair. */
    if (server->stopping)
        return;
    if (server->record && (err = write_line(server->record, line)) < 0)
        base_error("cannot write to %s/trials.jsonl: %s", server->config->record_dir, strerror(-err));
    if (server->config->json && (err = write_line(stdout, line)) < 0)
        base_error("cannot write the record to stdout: %s", strerror(-err));
}

static void host_started(struct session_host *host, const struct session *s, uint64_t trial, uint64_t in_ns)
{
    struct server *server = (struct server *)host;
    json_t *json = json_pack("{s:i, s:s, s:s, s:I, s:I}", "schema", RECORD_SCHEMA, "type", "start", "cell",
                             session_name(s), "trial", (json_int_t)trial, "in_ns", (json_int_t)in_ns);
    char *line = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (line && !server->stopping)
        write_line(stdout, line);
    free(line);
    json_decref(json);
}

static void host_want_step(struct session_host *host, struct session *s)
{
    struct server *server = (struct server *)host;
    if (server->step_lines > 0) {
        server->step_lines--;
        session_step(s, base_now_ns());
        return;
    }
    session_links(s)->stepping = true;
    session_links(s)->step_next = NULL;
    *server->step_last = s;
    server->step_last = &session_links(s)->step_next;
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void server_stop(struct server *server)
{
    if (server->stopping)
        return;
    server->stopping = true;
    if (server->violations)
        base_info("stopping: %llu connections broke the protocol", (unsigned long long)server->violations);
    loop_cancel(server->loop, &server->tick_op);
    loop_cancel(server->loop, &server->signal_op);
    loop_cancel(server->loop, &server->stdin_op);
    loop_cancel(server->loop, &server->delay_op);
    for (size_t i = 0; i < server->n_sites; i++) {
        loop_cancel(server->loop, &server->sites[i].udp_op);
        loop_cancel(server->loop, &server->sites[i].tcp_op);
        loop_cancel(server->loop, &server->sites[i].retry_op);
    }
    /* Each is freed by its own last completion; the loop then runs dry. */
    for (struct conn *c = server->conns, *next; c; c = next) {
        next = conn_next(c);
        conn_close_now(c);
    }
}

static void signalled(struct loop_op *op, int res)
{
    struct server *server = op->owner;
    if (res != -ECANCELED)
        server_stop(server);
}

/* Each line lets one trial begin, in the order in which sessions came to want it. */
static void take_lines(struct server *server, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        struct session *s = server->step_first;
        if (server->stdin_buf[i] != '\n')
            continue;
        if (!s) {
            server->step_lines++;
            continue;
        }
        step_remove(server, s);
        session_step(s, base_now_ns());
    }
}

static void stdin_read(struct loop_op *op, int res)
{
    struct server *server = op->owner;
    if (server->stopping)
        return;
    if (res <= 0) {
        server_stop(server);
        return;
    }
    take_lines(server, (size_t)res);
    loop_read(server->loop, op, STDIN_FILENO, server->stdin_buf, sizeof(server->stdin_buf));
}

/* ---- time ------------------------------------------------------------------------------------ */

static void tick(struct loop_op *op, int res)
{
    struct server *server = op->owner;
    if (res == -ECANCELED || server->stopping)
        return;
    uint64_t now = base_now_ns();
    conn_tick(server, now);
    for (size_t i = 0; server->n_sessions && i < SERVER_BUCKETS; i++) {
        for (struct session *s = server->buckets[i], *next; s; s = next) {
            next = session_links(s)->next;
            session_tick(s, now);
            server_settle(server, s);
        }
    }
    server_wake(server);
}

/* Without connections and sessions there are no deadlines, and an idle server sleeps. */
void server_wake(struct server *server)
{
    if ((server->conns || server->n_sessions) && !server->tick_op.pending && !server->stopping)
        loop_timer(server->loop, &server->tick_op, base_now_ns() + TICK_NS);
}

/* ---- setting up ------------------------------------------------------------------------------ */

static int make_dir(const char *path)
{
    char part[4096];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(part))
        return -ENAMETOOLONG;
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0777) < 0 && errno != EEXIST)
            return -errno;
    }
    return 0;
}

/* A line that an earlier server was killed in the middle of must not swallow the next one. */
static int end_last_line(FILE *file)
{
    char last;
    int fd = fileno(file);
    off_t size = lseek(fd, 0, SEEK_END);
    if (size <= 0 || pread(fd, &last, 1, size - 1) != 1 || last == '\n')
        return 0;
    return fputc('\n', file) == EOF || fflush(file) != 0 ? -EIO : 0;
}

static int open_record(struct server *server)
{
    const char *dir = server->config->record_dir;
    char path[4096];
    if (!dir)
        return 0;
    int err = make_dir(dir);
    if (!err && (size_t)snprintf(path, sizeof(path), "%s/trials.jsonl", dir) >= sizeof(path))
        err = -ENAMETOOLONG;
    if (!err) {
        server->record = fopen(path, "a+e");
        err = server->record ? end_last_line(server->record) : -errno;
    }
    if (err)
        base_error("cannot write records to %s: %s", dir, strerror(-err));
    return err;
}

static int open_sites(struct server *server)
{
    char why[160], ep[BASE_EP_STRLEN];
    const char *what;
    int err = site_plan(server->config, server->sites, &server->n_sites, why, sizeof(why));
    if (err < 0) {
        base_error("%s", why);
        return err;
    }
    for (size_t i = 0; i < server->n_sites; i++) {
        struct site *site = &server->sites[i];
        site->server = server;
        err = site_open(site, &what);
        if (err == 0)
            continue;
        base_error("cannot listen on %s over %s: %s", base_ep_format(&site->ep, ep), what,
                   err == -EADDRINUSE      ? "something else listens there: choose another port"
                   : err == -EADDRNOTAVAIL ? "this host does not have that address"
                                           : strerror(-err));
        return err;
    }
    return 0;
}

static int allocate(struct server *server)
{
    const struct rendezvous_config *c = server->config;
    uint64_t seeds[3];
    if (base_random_bytes(seeds, sizeof(seeds)) < 0)
        return -EIO;
    server->hash_seed = seeds[0];
    base_rng_seed(&server->host.masks, seeds[1]);
    server->stun_limits = limits_create((double)c->stun_rate, BURST_SECONDS * (double)c->stun_rate, seeds[2]);
    server->join_limits = limits_create((double)c->join_rate, BURST_SECONDS * (double)c->join_rate, seeds[2]);
    /* A SYN costs as much as a STUN answer; a discovery makes some thirty. */
    server->probe_limits = limits_create(PROBE_RATE, PROBE_BURST, seeds[2]);
    server->batch = udp_batch_create();
    server->scratch = malloc(SERVER_SCRATCH);
    return server->stun_limits && server->join_limits && server->probe_limits && server->batch && server->scratch
               ? 0
               : -ENOMEM;
}

static int set_up(struct server *server)
{
    int err = loop_create(&server->loop, 0);
    if (err < 0) {
        base_error("%s", loop_explain(err));
        return err;
    }
    err = allocate(server);
    if (!err)
        err = server->signal_fd = loop_signal_fd();
    if (err < 0) {
        base_error("cannot start: %s", strerror(-err));
        return err;
    }
    err = open_record(server);
    return err < 0 ? err : open_sites(server);
}

static void announce(const struct server *server)
{
    char line[900], ep[BASE_EP_STRLEN];
    size_t len = 0, samples = 0;
    line[0] = '\0';
    for (size_t i = 0; i < server->n_sites && len < sizeof(line) - sizeof(ep); i++) {
        samples += server->sites[i].sample;
        if (!server->sites[i].sample)
            len += (size_t)snprintf(line + len, sizeof(line) - len, " %s", base_ep_format(&server->sites[i].ep, ep));
    }
    if (samples)
        snprintf(line + len, sizeof(line) - len, " and %zu sampling endpoints from port %u", samples,
                 base_ep_port(&server->sites[server->n_sites - samples].ep));
    base_info("ready: listening on%s", line);
    if (server->config->quiet)
        base_log_init("rendezvous", BASE_LOG_WARN);
}

static void start(struct server *server)
{
    loop_op_init(&server->tick_op, tick, server);
    loop_op_init(&server->signal_op, signalled, server);
    loop_op_init(&server->stdin_op, stdin_read, server);
    delay_init(server);
    for (size_t i = 0; i < server->n_sites; i++) {
        udp_start(&server->sites[i]);
        conn_accept_start(&server->sites[i]);
    }
    loop_poll(server->loop, &server->signal_op, server->signal_fd, POLLIN);
    if (server->config->step)
        loop_read(server->loop, &server->stdin_op, STDIN_FILENO, server->stdin_buf, sizeof(server->stdin_buf));
}

static int tear_down(struct server *server)
{
    int err = 0;
    for (size_t i = 0; i < server->n_sites; i++)
        site_close(&server->sites[i]);
    if (server->signal_fd >= 0)
        close(server->signal_fd);
    if (server->record && fclose(server->record) != 0)
        err = -errno;
    loop_destroy(server->loop);
    limits_free(server->stun_limits);
    limits_free(server->join_limits);
    limits_free(server->probe_limits);
    delay_free(server);
    udp_batch_free(server->batch);
    free(server->scratch);
    free(server);
    return err;
}

int rendezvous_run(const struct rendezvous_config *config)
{
    struct server *server = calloc(1, sizeof(*server));
    if (!server) {
        base_error("out of memory");
        return BASE_EXIT_USAGE;
    }
    server->config = config;
    server->signal_fd = -1;
    server->step_last = &server->step_first;
    server->host.send = host_send;
    server->host.finish = host_finish;
    server->host.record = host_record;
    server->host.want_step = host_want_step;
    server->host.step = config->step;
    if (config->starts)
        server->host.started = host_started;
    int err = set_up(server);
    if (!err) {
        start(server);
        announce(server);
        err = loop_run(server->loop);
        if (err < 0)
            base_error("the event loop failed: %s", strerror(-err));
    }
    if (tear_down(server) < 0 && !err)
        err = -EIO;
    return err < 0 ? BASE_EXIT_USAGE : BASE_EXIT_OK;
}
