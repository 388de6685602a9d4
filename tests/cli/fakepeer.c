/*
 * A peer that misbehaves on purpose, for the tests of the real ones. It speaks the control protocol with blocking calls
 * up to a step, and then dies there, or sends what no peer would.
 *
 *   fakepeer PORT SESSION TECHNIQUE b STEP   joins as b on 127.0.0.1:PORT, exits 0 on reaching STEP:
 *                                            joined ready trial facts plan report
 *   fakepeer PORT SESSION TECHNIQUE a STEP   joins as a: joined ready trial facts (it never plans)
 *   fakepeer PORT garbage|oversize           sends that to S and prints what S does: "error CODE", "closed"
 *   fakepeer serve-garbage|serve-oversize|serve-close PORT    is a server that does that to the first who connects
 *
 * Exit status: 0 as asked, 1 anything else.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/peer/internal.h"

static uint8_t rx[WIRE_FRAME_MAX], tx[WIRE_FRAME_MAX];

static void die(const char *why)
{
    fprintf(stderr, "fakepeer: %s\n", why);
    exit(1);
}

static int dial(int port)
{
    union base_ep to = {0};
    char text[32];
    snprintf(text, sizeof(text), "127.0.0.1:%d", port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (base_ep_parse(text, &to) < 0 || fd < 0 || connect(fd, &to.sa, base_ep_len(&to)) < 0)
        die("cannot connect");
    return fd;
}

static bool read_all(int fd, uint8_t *buf, size_t len)
{
    while (len > 0) {
        ssize_t n = read(fd, buf, len);
        if (n <= 0)
            return false;
        buf += n;
        len -= (size_t)n;
    }
    return true;
}

/* The next frame that is not a PING; false when the connection ended. */
static bool next_frame(int fd, enum wire_frame_type *type, struct wire_reader *r)
{
    do {
        if (!read_all(fd, rx, WIRE_FRAME_HEADER))
            return false;
        int len = wire_frame_len(rx, WIRE_FRAME_HEADER);
        if (len < 0 || !read_all(fd, rx + WIRE_FRAME_HEADER, (size_t)len - WIRE_FRAME_HEADER))
            return false;
        if (wire_frame_open(rx, (size_t)len, type, r) < 0)
            die("bad frame from S");
    } while (*type == WIRE_PING);
    return true;
}

static void expect(int fd, enum wire_frame_type wanted, struct wire_reader *r)
{
    enum wire_frame_type type;
    do
        if (!next_frame(fd, &type, r) || type == WIRE_ERROR)
            die("S ended the session");
    while (type != wanted);
}

static void send_frame(int fd, struct wire_writer *w)
{
    int len = wire_frame_end(w, 0x5a5a5a5a);
    if (len < 0 || write(fd, tx, (size_t)len) != len)
        die("cannot send");
}

static void join(int fd, const char *session, const char *technique, enum wire_role role)
{
    uint8_t key[WIRE_KEY_LEN], nonce[WIRE_NONCE_LEN] = {1}, theirs[WIRE_NONCE_LEN], proof[WIRE_MAC_LEN];
    struct wire_writer w;
    struct wire_reader r;
    wire_session_key((const uint8_t *)"", 0, session, key);
    wire_frame_begin(&w, tx, sizeof(tx), WIRE_HELLO);
    wire_put_text(&w, WIRE_F_SESSION, session);
    wire_put_u64(&w, WIRE_F_ROLE, role);
    wire_put_bytes(&w, WIRE_F_NONCE, nonce, sizeof(nonce));
    wire_put_text(&w, WIRE_F_TECHNIQUE, technique);
    wire_put_text(&w, WIRE_F_OPTIONS,
                  strcmp(technique, "simopen") == 0 ? "transport=tcp\nmode=plain\n" : "transport=udp\nmode=punch\n");
    wire_put_u64(&w, WIRE_F_TRIALS, 3);
    wire_put_u64(&w, WIRE_F_TRIAL, 0);
    wire_put_u64(&w, WIRE_F_SEED, 1);
    send_frame(fd, &w);
    expect(fd, WIRE_CHALLENGE, &r);
    if (wire_get_exact(&r, WIRE_F_NONCE, theirs, sizeof(theirs)) < 0)
        die("challenge without a nonce");
    wire_join_proof(key, WIRE_JOIN_PEER, nonce, theirs, proof);
    wire_frame_begin(&w, tx, sizeof(tx), WIRE_PROVE);
    wire_put_bytes(&w, WIRE_F_PROOF, proof, sizeof(proof));
    send_frame(fd, &w);
    expect(fd, WIRE_JOINED, &r);
}

static void send_facts(int fd)
{
    uint8_t body[1024];
    struct peer_sample sample = {0};
    struct peer_facts f = {.nonce = {7}, .samples = &sample, .n_samples = 1};
    struct wire_writer w;
    base_ep_parse("127.0.0.1:9", &sample.mapped);
    base_ep_parse("127.0.0.1:9", &sample.local);
    base_ep_parse("127.0.0.1:9", &sample.remote);
    int len = peer_facts_encode(&f, body, sizeof(body));
    wire_frame_begin(&w, tx, sizeof(tx), WIRE_FACTS);
    wire_put_bytes(&w, WIRE_F_BODY, body, (size_t)len);
    send_frame(fd, &w);
}

static void walk(int fd, const char *step)
{
    struct wire_reader r;
    struct wire_writer w;
    if (strcmp(step, "joined") == 0)
        return;
    expect(fd, WIRE_READY, &r);
    if (strcmp(step, "ready") == 0)
        return;
    expect(fd, WIRE_TRIAL, &r);
    if (strcmp(step, "trial") == 0)
        return;
    send_facts(fd);
    expect(fd, WIRE_FACTS, &r);
    if (strcmp(step, "facts") == 0)
        return;
    expect(fd, WIRE_PLAN, &r);
    if (strcmp(step, "plan") == 0)
        return;
    wire_frame_begin(&w, tx, sizeof(tx), WIRE_REPORT);
    wire_put_text(&w, WIRE_F_TEXT, "{\"outcome\":\"timeout\"}");
    send_frame(fd, &w);
}

/* What S does with bytes that are no frame. */
static int provoke(int fd, const char *what)
{
    enum wire_frame_type type;
    struct wire_reader r;
    uint64_t code = 0;
    size_t len = 64;
    memset(tx, 0xee, 64);
    if (strcmp(what, "oversize") == 0) {
        static const uint8_t header[WIRE_FRAME_HEADER] = {WIRE_FRAME_MAGIC, WIRE_HELLO, 0, 1, 0x7f, 0xff, 0xff, 0xff};
        memcpy(tx, header, sizeof(header));
        len = sizeof(header);
    }
    if (write(fd, tx, len) != (ssize_t)len)
        die("cannot send");
    while (next_frame(fd, &type, &r)) {
        wire_get_u64(&r, WIRE_F_CODE, &code);
        printf("error %llu\n", (unsigned long long)code);
    }
    puts("closed");
    return 0;
}

static int serve(int port, const char *what)
{
    union base_ep at = {0};
    char text[32];
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    snprintf(text, sizeof(text), "127.0.0.1:%d", port);
    base_ep_parse(text, &at);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, &at.sa, base_ep_len(&at)) < 0 || listen(listener, 1) < 0)
        die("cannot listen");
    puts("ready");
    fflush(stdout);
    alarm(20); /* nobody came */
    int fd = accept(listener, NULL, NULL);
    size_t len = 0;
    memset(tx, 0xee, 4096);
    if (strcmp(what, "serve-garbage") == 0)
        len = 4096;
    if (strcmp(what, "serve-oversize") == 0) {
        static const uint8_t header[WIRE_FRAME_HEADER] = {WIRE_FRAME_MAGIC, WIRE_CHALLENGE, 0, 1, 0x7f};
        memcpy(tx, header, sizeof(header));
        len = sizeof(header);
    }
    if (len > 0 && write(fd, tx, len) != (ssize_t)len)
        die("cannot send");
    if (len > 0)
        while (read(fd, rx, sizeof(rx)) > 0)
            ; /* until the peer has had enough */
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strncmp(argv[1], "serve-", 6) == 0)
        return serve(atoi(argv[2]), argv[1]);
    if (argc == 3)
        return provoke(dial(atoi(argv[1])), argv[2]);
    if (argc != 6)
        die("see the head of fakepeer.c");
    int fd = dial(atoi(argv[1]));
    join(fd, argv[2], argv[3], strcmp(argv[4], "a") == 0 ? WIRE_ROLE_A : WIRE_ROLE_B);
    walk(fd, argv[5]);
    close(fd);
    return 0;
}
