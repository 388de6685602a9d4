/* The session with S: join, prove, wait for the other peer, run the trials, end with a status. */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/peer/internal.h"

/* S answers a handshake step within a round trip. Where one of five packets is lost, a SYN in 1,000 comes through after
 * seven tries only, and what follows it is sent again after 3, 9 and 21 s. */
#define SERVER_WAIT_NS (40 * BASE_NS_PER_S)
/* Control connection, ring, listener, the raced endpoints, and standard streams; over TCP each sample takes one more.
 */
#define MIN_OPEN_FILES 48

static const char *server_text(const struct peer *peer, char buf[BASE_EP_STRLEN])
{
    return base_ep_format(&peer->config.server, buf);
}

static void arm_wait(struct peer *peer, uint64_t wait_ns)
{
    if (!peer->wait_timer.pending)
        loop_timer(peer->loop, &peer->wait_timer, base_now_ns() + wait_ns);
}

static void wait_done(struct loop_op *op, int res)
{
    struct peer *peer = op->owner;
    char server[BASE_EP_STRLEN];
    if (res == -ECANCELED && peer->state == PEER_WAITING)
        arm_wait(peer, peer->config.wait_ns);
    if (res != 0)
        return;
    if (peer->state == PEER_CONNECTING || peer->state == PEER_JOINING) {
        base_error("no answer from the server %s within %llu s: check the address and that rendezvous runs there",
                   server_text(peer, server), (unsigned long long)(SERVER_WAIT_NS / BASE_NS_PER_S));
        peer_session_end(peer, BASE_EXIT_USAGE);
    } else if (peer->state == PEER_WAITING) {
        base_error("no other peer joined session '%s' within %llu s: start it with the same --server and --session",
                   peer->config.session, (unsigned long long)(peer->config.wait_ns / BASE_NS_PER_S));
        peer_session_end(peer, BASE_EXIT_USAGE);
    }
}

static void enter(struct peer *peer, enum peer_session_state state)
{
    peer->state = state;
    loop_cancel(peer->loop, &peer->wait_timer);
}

/* ---- ending ---------------------------------------------------------------------------------- */

void peer_session_end(struct peer *peer, int status)
{
    if (peer->state == PEER_ENDING)
        return;
    peer->status = status;
    enter(peer, PEER_ENDING);
    loop_cancel(peer->loop, &peer->signal_op);
    peer_control_close(peer->control);
    peer->control = NULL;
    peer_rejoin_stop(peer);
    peer_hops_stop(&peer->hops);
    peer_pipe_stop(peer);
    if (peer->trial)
        peer_trial_end(peer->trial);
}

/* Trials that were asked for and have no `ok` are failed trials, whatever the reason. */
static int status_now(const struct peer *peer)
{
    bool begun = peer->done > 0 || peer->trial;
    if (peer->trials && peer->ok == peer->trials)
        return BASE_EXIT_OK;
    return begun ? BASE_EXIT_FAILED : BASE_EXIT_USAGE;
}

static void print_human(const struct peer *peer, const char *line)
{
    struct record_view v;
    FILE *out = peer->config.pipe ? stderr : stdout;
    if (peer->config.quiet || record_view_parse(line, strlen(line), &v) < 0)
        return;
    if (v.outcome == RECORD_OK)
        fprintf(out, "trial %llu: ok, %s path, connected in %.1f ms\n", (unsigned long long)v.trial, v.path,
                (double)v.connect_ns / 1e6);
    else
        fprintf(out, "trial %llu: %s\n", (unsigned long long)v.trial, record_outcome_name(v.outcome));
    fflush(out);
}

static void take_record(struct peer *peer, const char *line)
{
    struct record_view v;
    if (record_view_parse(line, strlen(line), &v) == 0 && v.outcome == RECORD_OK)
        peer->ok++;
    peer->done++;
    if (peer->config.json) {
        fputs(line, stdout);
        if (line[0] && line[strlen(line) - 1] != '\n')
            fputc('\n', stdout);
        fflush(stdout);
    } else {
        print_human(peer, line);
    }
}

/* A trial that S can no longer record is recorded here, from our side alone, so that nothing is lost. */
static void record_alone(struct peer *peer)
{
    struct peer_trial *t = peer->trial;
    if (!t || t->recorded)
        return;
    t->recorded = true;
    if (t->state < PEER_TRIAL_REPORTED) {
        t->side.outcome = RECORD_ERROR;
        t->side.error = ECONNABORTED;
        t->side.phase = peer_trial_phase(t);
    }
    bool is_a = peer->role == WIRE_ROLE_A;
    struct record_trial trial = {
        .cell = peer->config.session,
        .trial = t->number,
        .seed = peer->seed,
        .technique = t->technique->name,
        .mode = peer_option_text(&peer->config.options, "mode"),
        .transport = peer_trial_is_tcp(t) ? "tcp" : "udp",
        .rtt_ns = t->plan.rtt_ns,
        .predicted_p = t->have_plan ? t->plan.predicted_p : (double)NAN,
    };
    json_t *joint = record_joint(&trial, is_a ? &t->side : NULL, is_a ? NULL : &t->side);
    char *line = joint ? json_dumps(joint, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    if (line)
        take_record(peer, line);
    free(line);
    json_decref(joint);
}

static const char *doing(const struct peer *peer, char *buf, size_t cap)
{
    if (peer->trial)
        snprintf(buf, cap, "in trial %llu (%s)", (unsigned long long)peer->trial->number,
                 record_phase_name(peer_trial_phase(peer->trial)));
    else
        snprintf(buf, cap, "%s",
                 peer->state == PEER_CONNECTING ? "while connecting"
                 : peer->state == PEER_JOINING  ? "while joining"
                 : peer->state == PEER_WAITING  ? "while waiting for the other peer"
                                                : "between trials");
    return buf;
}

void peer_session_lost(struct peer *peer, int err)
{
    char server[BASE_EP_STRLEN], when[64];
    if (peer->state == PEER_ENDING || peer->state == PEER_PIPING)
        return;
    if (peer->bye) {
        peer_session_end(peer, status_now(peer));
        return;
    }
    if (peer->state == PEER_CONNECTING)
        base_error("cannot reach the server %s: %s: check the address and that rendezvous runs there",
                   server_text(peer, server), strerror(-err));
    else if (err == -EBADMSG || err == -EMSGSIZE || err == -EPROTONOSUPPORT)
        base_error("the server %s does not speak our protocol %s: check that rendezvous %s or newer runs there",
                   server_text(peer, server), doing(peer, when, sizeof(when)), base_version());
    else
        base_error("lost the server %s %s: %s: start again once it runs; finished trials are kept",
                   server_text(peer, server), doing(peer, when, sizeof(when)),
                   err ? strerror(-err) : "it closed the connection");
    record_alone(peer);
    peer_session_end(peer, status_now(peer));
}

/* ---- joining --------------------------------------------------------------------------------- */

void peer_session_hello(struct peer *peer, struct wire_writer *w, const uint8_t nonce[WIRE_NONCE_LEN])
{
    const struct peer_config *c = &peer->config;
    wire_put_text(w, WIRE_F_SESSION, c->session);
    wire_put_bytes(w, WIRE_F_NONCE, nonce, WIRE_NONCE_LEN);
    wire_put_text(w, WIRE_F_TECHNIQUE, c->technique->name);
    wire_put_u64(w, WIRE_F_RECEIVED, peer->rejoin.received);
}

static void session_connected(struct peer *peer)
{
    const struct peer_config *c = &peer->config;
    char text[1024] = "";
    peer->local = peer_control_local(peer->control);
    peer->hello_ns = base_now_ns();
    peer_options_to_text(&c->options, c->technique, text, sizeof(text));
    if (base_random_bytes(peer->nonce, sizeof(peer->nonce)) < 0) {
        peer_session_end(peer, BASE_EXIT_USAGE);
        return;
    }
    peer->state = PEER_JOINING;
    struct wire_writer *w = peer_control_begin(peer, WIRE_HELLO);
    peer_session_hello(peer, w, peer->nonce);
    wire_put_u64(w, WIRE_F_ROLE, c->role);
    wire_put_text(w, WIRE_F_OPTIONS, text);
    wire_put_u64(w, WIRE_F_TRIALS, c->trials);
    wire_put_u64(w, WIRE_F_TRIAL, c->first_trial);
    wire_put_u64(w, WIRE_F_SEED, c->seed);
    peer_control_end(peer);
}

void peer_session_rtt(struct peer *peer, uint64_t rtt_ns)
{
    if (rtt_ns && (!peer->rtt_ns || rtt_ns < peer->rtt_ns))
        peer->rtt_ns = rtt_ns;
}

static void on_challenge(struct peer *peer, const struct wire_reader *r)
{
    uint8_t nonce[WIRE_NONCE_LEN], proof[WIRE_MAC_LEN], expected[WIRE_MAC_LEN];
    if (wire_get_exact(r, WIRE_F_NONCE, nonce, sizeof(nonce)) < 0 ||
        wire_get_exact(r, WIRE_F_PROOF, proof, sizeof(proof)) < 0) {
        peer_session_lost(peer, -EBADMSG);
        return;
    }
    peer_session_rtt(peer, base_now_ns() - peer->hello_ns);
    /* We prove the key in any case: S must be able to tell a wrong key from a lost peer. What S must not do
     * without the key is send us anywhere, and it has not yet. */
    wire_join_proof(peer->key, WIRE_JOIN_SERVER, peer->nonce, nonce, expected);
    peer->server_proven = wire_proof_equal(proof, expected);
    wire_join_proof(peer->key, WIRE_JOIN_PEER, peer->nonce, nonce, proof);
    struct wire_writer *w = peer_control_begin(peer, WIRE_PROVE);
    wire_put_bytes(w, WIRE_F_PROOF, proof, sizeof(proof));
    peer_control_end(peer);
}

static void on_joined(struct peer *peer, const struct wire_reader *r)
{
    struct wire_reader all = *r;
    uint64_t role = 0, rtt;
    uint16_t field;
    const uint8_t *value;
    size_t len;
    if (!peer->server_proven) {
        base_error("the server does not hold the key of session '%s': check --key-file on both sides",
                   peer->config.session);
        peer_session_end(peer, BASE_EXIT_USAGE);
        return;
    }
    peer->n_stun = 0;
    while (wire_next(&all, &field, &value, &len))
        if (field == WIRE_F_STUN && peer->n_stun < PEER_MAX_STUN &&
            wire_value_ep(value, len, &peer->stun[peer->n_stun]) == 0)
            peer->n_stun++;
    if (wire_get_u64(r, WIRE_F_ROLE, &role) < 0 || (role != WIRE_ROLE_A && role != WIRE_ROLE_B) || peer->n_stun == 0) {
        peer_session_lost(peer, -EBADMSG);
        return;
    }
    if (wire_get_u64(r, WIRE_F_RTT_NS, &rtt) == 0)
        peer_session_rtt(peer, rtt);
    peer->role = (enum wire_role)role;
    peer->join_ns = base_now_ns() - peer->connect_ns;
    peer_rejoin_joined(peer, r);
    enter(peer, PEER_WAITING);
    if (!peer->wait_timer.pending)
        arm_wait(peer, peer->config.wait_ns);
    base_debug("joined '%s' as %s", peer->config.session, role == WIRE_ROLE_A ? "a" : "b");
    peer_rejoin_watch(peer);
}

static void on_ready(struct peer *peer, const struct wire_reader *r)
{
    const struct peer_technique *technique = peer->config.technique;
    char name[32], text[1024], bad[128];
    uint64_t first = 0;
    if (wire_get_text(r, WIRE_F_TECHNIQUE, name, sizeof(name)) < 0 ||
        wire_get_text(r, WIRE_F_OPTIONS, text, sizeof(text)) < 0 || wire_get_u64(r, WIRE_F_TRIALS, &peer->trials) < 0 ||
        wire_get_u64(r, WIRE_F_SEED, &peer->seed) < 0) {
        peer_session_lost(peer, -EBADMSG);
        return;
    }
    wire_get_u64(r, WIRE_F_TRIAL, &first);
    peer->first_trial = first;
    if (strcmp(name, technique->name) != 0) {
        base_error("the other peer runs %s, this is %s: start the same program on both sides", name, technique->name);
        peer_session_end(peer, BASE_EXIT_USAGE);
        return;
    }
    if (peer_options_from_text(&peer->config.options, technique, text, bad, sizeof(bad)) < 0) {
        base_error("the other peer's option '%s' is unknown here: run the same version on both sides", bad);
        peer_session_end(peer, BASE_EXIT_USAGE);
        return;
    }
    if (peer->config.pipe && peer->trials != 1) {
        base_error("--pipe joins one path, but role a runs %llu trials: use --trials 1 there",
                   (unsigned long long)peer->trials);
        peer_session_end(peer, BASE_EXIT_USAGE);
        return;
    }
    enter(peer, PEER_RUNNING);
}

/* ---- trials ---------------------------------------------------------------------------------- */

static void begin_trial(struct peer *peer, uint64_t number)
{
    if (peer_trial_begin(peer, number) < 0) {
        base_error("out of memory for trial %llu", (unsigned long long)number);
        peer_session_end(peer, status_now(peer));
    }
}

static void on_trial(struct peer *peer, const struct wire_reader *r)
{
    uint64_t number;
    if (peer->state != PEER_RUNNING || wire_get_u64(r, WIRE_F_TRIAL, &number) < 0 || number > UINT32_MAX) {
        peer_session_lost(peer, -EBADMSG);
        return;
    }
    if (peer->trial)
        peer_trial_end(peer->trial);
    begin_trial(peer, number);
    peer_rejoin_watch(peer);
}

static void on_record(struct peer *peer, const struct wire_reader *r)
{
    static char line[WIRE_FRAME_MAX];
    struct peer_trial *t = peer->trial;
    if (!t || wire_get_text(r, WIRE_F_TEXT, line, sizeof(line)) < 0)
        return;
    t->recorded = true;
    take_record(peer, line);
    if (peer->config.pipe && t->agreed && t->chosen) {
        int err = peer_pipe_start(peer, t->chosen);
        if (err == 0) {
            enter(peer, PEER_PIPING);
            return;
        }
        base_error("cannot join stdin and stdout to the path: %s", strerror(-err));
    }
    peer_trial_end(t);
}

static void on_bye(struct peer *peer)
{
    peer->bye = true;
    if (!peer->trial && peer->state != PEER_PIPING)
        peer_session_end(peer, status_now(peer));
}

static void on_abort(struct peer *peer, const struct wire_reader *r)
{
    char reason[256] = "";
    wire_get_text(r, WIRE_F_TEXT, reason, sizeof(reason));
    base_debug("trial aborted: %s", reason);
    if (peer->trial)
        peer_trial_abort(peer->trial, peer_trial_phase(peer->trial), -ECANCELED);
}

void peer_session_refused(struct peer *peer, const struct wire_reader *r)
{
    uint64_t code = 0;
    char reason[256] = "no reason given", when[64];
    wire_get_u64(r, WIRE_F_CODE, &code);
    wire_get_text(r, WIRE_F_TEXT, reason, sizeof(reason));
    switch (code) {
    case WIRE_E_AUTH:
        base_error("the server refused the key for session '%s': check --key-file on both sides", peer->config.session);
        break;
    case WIRE_E_ROLE_TAKEN:
        base_error("role %s of session '%s' is taken: choose the other role, or another --session",
                   peer->config.role == WIRE_ROLE_B ? "b" : "a", peer->config.session);
        break;
    case WIRE_E_SESSION_FULL:
        base_error("session '%s' has two peers already: choose another --session", peer->config.session);
        break;
    case WIRE_E_MISMATCH:
        base_error("the other peer of session '%s' runs another program: start the same one on both sides",
                   peer->config.session);
        break;
    case WIRE_E_GONE:
        base_error("the server did not take us back %s: %s: start both again", doing(peer, when, sizeof(when)), reason);
        break;
    case WIRE_E_PEER_LEFT:
        base_error("the other peer left %s: start both again", doing(peer, when, sizeof(when)));
        break;
    default:
        base_error("the server ended the session %s: %s", doing(peer, when, sizeof(when)), reason);
    }
    record_alone(peer);
    peer_session_end(peer, status_now(peer));
}

static void on_ping(struct peer *peer, const struct wire_reader *r)
{
    uint64_t stamp = 0;
    wire_get_u64(r, WIRE_F_STAMP, &stamp);
    struct wire_writer *w = peer_control_begin(peer, WIRE_PONG);
    wire_put_u64(w, WIRE_F_STAMP, stamp);
    wire_put_u64(w, WIRE_F_RECEIVED, peer->rejoin.received);
    peer_control_end(peer);
}

static void trial_frame(struct peer *peer, enum wire_frame_type type, const struct wire_reader *r)
{
    struct peer_trial *t = peer->trial;
    if (!t)
        return;
    peer_trial_hold(t);
    if (type == WIRE_FACTS)
        peer_trial_facts(t, r);
    else if (type == WIRE_PLAN)
        peer_trial_planned(t, r);
    else if (type == WIRE_NOTE)
        peer_trial_noted(t, r);
    else if (type == WIRE_RECORD)
        on_record(peer, r);
    else
        on_abort(peer, r);
    peer_trial_release(t);
}

static void session_frame(struct peer *peer, enum wire_frame_type type, const struct wire_reader *r)
{
    peer_rejoin_heard(peer, type, r);
    switch (type) {
    case WIRE_CHALLENGE:
        on_challenge(peer, r);
        break;
    case WIRE_JOINED:
        on_joined(peer, r);
        break;
    case WIRE_READY:
        on_ready(peer, r);
        break;
    case WIRE_TRIAL:
        on_trial(peer, r);
        break;
    case WIRE_FACTS:
    case WIRE_PLAN:
    case WIRE_NOTE:
    case WIRE_RECORD:
    case WIRE_ABORT:
        trial_frame(peer, type, r);
        break;
    case WIRE_PING:
        on_ping(peer, r);
        break;
    case WIRE_BYE:
        on_bye(peer);
        break;
    case WIRE_ERROR:
        peer_session_refused(peer, r);
        break;
    default:
        break; /* a newer server's frame */
    }
}

static void session_lost(struct peer *peer, int err)
{
    if (!peer_rejoin_lost(peer, err))
        peer_session_lost(peer, err);
}

const struct peer_control_events peer_session_events = {
    .connected = session_connected,
    .frame = session_frame,
    .lost = session_lost,
};

/* ---- the program ----------------------------------------------------------------------------- */

static void signal_done(struct loop_op *op, int res)
{
    struct peer *peer = op->owner;
    if (res < 0)
        return;
    base_error("interrupted after %llu trials: all of them are recorded", (unsigned long long)peer->done);
    peer_session_end(peer, peer->done > 0 || peer->trial ? BASE_EXIT_FAILED : BASE_EXIT_USAGE);
}

static int watch_signals(struct peer *peer)
{
    peer->signal_fd = loop_signal_fd();
    if (peer->signal_fd < 0)
        return peer->signal_fd;
    loop_op_init(&peer->signal_op, signal_done, peer);
    loop_poll(peer->loop, &peer->signal_op, peer->signal_fd, POLLIN);
    return 0;
}

static void hops_done(void *owner)
{
    struct peer *peer = owner;
    if (peer->trial)
        peer_trial_make_plan(peer->trial);
}

static int prepare(struct peer *peer)
{
    uint64_t needed = MIN_OPEN_FILES;
    if (peer_options_transport(&peer->config.options, peer->config.technique) == PEER_TCP)
        needed += peer_option_u64(&peer->config.options, "samples");
    peer->open_files = base_raise_open_files();
    if (peer->open_files < needed) {
        base_error("the open-file limit is %llu, at least %llu are needed: raise it with 'ulimit -n 1024'",
                   (unsigned long long)peer->open_files, (unsigned long long)needed);
        return -EMFILE;
    }
    int err = loop_create(&peer->loop, 0);
    if (err < 0) {
        base_error("%s", loop_explain(err));
        return err;
    }
    wire_session_key(peer->config.file_key, peer->config.file_key_len, peer->config.session, peer->key);
    loop_op_init(&peer->wait_timer, wait_done, peer);
    peer_rejoin_init(peer);
    peer_hops_init(&peer->hops, peer->loop, hops_done, peer);
    err = watch_signals(peer);
    if (err == 0 && peer->config.discover)
        err = peer_learn(peer);
    if (err == 0 && peer->state != PEER_ENDING)
        err = peer_control_open(peer, &peer_session_events, &peer->control);
    if (err < 0)
        base_error("cannot start: %s", strerror(-err));
    return err;
}

int peer_main(const struct peer_technique *technique, int argc, char **argv)
{
    static struct peer peer;
    base_log_init(technique->name, BASE_LOG_INFO);
    peer_config_parse(&peer.config, technique, argc, argv);
    if (prepare(&peer) < 0) {
        loop_destroy(peer.loop);
        return BASE_EXIT_USAGE;
    }
    peer.connect_ns = base_now_ns();
    if (peer.state != PEER_ENDING)
        arm_wait(&peer, SERVER_WAIT_NS);
    int err = loop_run(peer.loop);
    if (err < 0) {
        base_error("io_uring failed: %s", strerror(-err));
        peer.status = BASE_EXIT_USAGE;
    }
    loop_destroy(peer.loop);
    close(peer.signal_fd);
    if (peer.done && !peer.config.json && !peer.config.pipe && !peer.config.quiet)
        printf("%llu of %llu trials ok\n", (unsigned long long)peer.ok, (unsigned long long)peer.trials);
    return peer.status;
}
