/*
 * A peer that loses its connection to S and comes back, rightly or not. It joins as role a, breaks the connection with
 * a RST, connects again and says what S answers: "joined ROLE RECEIVED" or "error CODE".
 *
 *   rejoiner PORT SESSION KEY CASE    with S on 127.0.0.1 and KEY its key, as text. CASE:
 *     good          as it should be
 *     twice         and once more, without losing the second connection first
 *     wrong-key     with the right token
 *     wrong-token   with the right key
 *     no-token      with the right key
 *     other-place   role b's, with the token of a
 *     fresh         as if it came for the first time
 *     left          after it has ended its connection properly
 *
 * Exit status: 0 S answered, 1 anything else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/wire/wire.h"

static uint8_t rx[WIRE_FRAME_MAX], tx[4096];

static void die(const char *why)
{
    fprintf(stderr, "rejoiner: %s\n", why);
    exit(1);
}

static int dial(const char *port)
{
    union base_ep to;
    char text[32];
    snprintf(text, sizeof(text), "127.0.0.1:%s", port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (base_ep_parse(text, &to) < 0 || fd < 0 || connect(fd, &to.sa, base_ep_len(&to)) < 0)
        die("cannot connect");
    return fd;
}

static void read_all(int fd, uint8_t *buf, size_t len)
{
    while (len > 0) {
        ssize_t n = read(fd, buf, len);
        if (n <= 0)
            die("S closed the connection");
        buf += n;
        len -= (size_t)n;
    }
}

/* The next of S's frames that is one of these two. */
static enum wire_frame_type expect(int fd, enum wire_frame_type one, enum wire_frame_type two, struct wire_reader *r)
{
    enum wire_frame_type type;
    do {
        read_all(fd, rx, WIRE_FRAME_HEADER);
        int len = wire_frame_len(rx, WIRE_FRAME_HEADER);
        if (len < 0)
            die("no frame from S");
        read_all(fd, rx + WIRE_FRAME_HEADER, (size_t)len - WIRE_FRAME_HEADER);
        if (wire_frame_open(rx, (size_t)len, &type, r) < 0)
            die("a bad frame from S");
    } while (type != one && type != two);
    return type;
}

static void send_frame(int fd, struct wire_writer *w)
{
    int len = wire_frame_end(w, 0x5a5a5a5a);
    if (len < 0 || write(fd, tx, (size_t)len) != len)
        die("cannot send");
}

struct visit {
    const char *session, *key;
    uint64_t role;
    const uint8_t *token; /* NULL: none is proven */
    bool rejoin;
};

/* Up to S's answer. */
static enum wire_frame_type visit(int fd, const struct visit *v, struct wire_reader *r)
{
    static uint8_t count;
    uint8_t key[WIRE_KEY_LEN], nonce[WIRE_NONCE_LEN] = {++count}, theirs[WIRE_NONCE_LEN], proof[WIRE_MAC_LEN];
    struct wire_writer w;
    wire_session_key((const uint8_t *)v->key, strlen(v->key), v->session, key);
    wire_frame_begin(&w, tx, sizeof(tx), WIRE_HELLO);
    wire_put_text(&w, WIRE_F_SESSION, v->session);
    wire_put_u64(&w, WIRE_F_ROLE, v->role);
    wire_put_bytes(&w, WIRE_F_NONCE, nonce, sizeof(nonce));
    wire_put_text(&w, WIRE_F_TECHNIQUE, "portspray");
    wire_put_u64(&w, WIRE_F_RECEIVED, 0);
    if (v->rejoin)
        wire_put_u64(&w, WIRE_F_REJOIN, 1);
    send_frame(fd, &w);
    if (expect(fd, WIRE_CHALLENGE, WIRE_ERROR, r) == WIRE_ERROR)
        return WIRE_ERROR;
    if (wire_get_exact(r, WIRE_F_NONCE, theirs, sizeof(theirs)) < 0)
        die("a challenge without a nonce");
    wire_frame_begin(&w, tx, sizeof(tx), WIRE_PROVE);
    wire_join_proof(key, WIRE_JOIN_PEER, nonce, theirs, proof);
    wire_put_bytes(&w, WIRE_F_PROOF, proof, sizeof(proof));
    if (v->rejoin && v->token) {
        wire_rejoin_proof(key, v->token, nonce, theirs, proof);
        wire_put_bytes(&w, WIRE_F_TOKEN, proof, sizeof(proof));
    }
    send_frame(fd, &w);
    return expect(fd, WIRE_JOINED, WIRE_ERROR, r);
}

static void tell(enum wire_frame_type type, const struct wire_reader *r)
{
    uint64_t one = 0, two = 0;
    wire_get_u64(r, type == WIRE_JOINED ? WIRE_F_ROLE : WIRE_F_CODE, &one);
    if (type == WIRE_JOINED && wire_get_u64(r, WIRE_F_RECEIVED, &two) == 0)
        printf("joined %llu %llu\n", (unsigned long long)one, (unsigned long long)two);
    else if (type == WIRE_JOINED)
        die("JOINED without what S received");
    else
        printf("error %llu\n", (unsigned long long)one);
}

static void end(int fd, bool properly)
{
    struct linger reset = {.l_onoff = 1};
    if (!properly)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    else
        shutdown(fd, SHUT_WR);
    while (properly && read(fd, rx, sizeof(rx)) > 0)
        ; /* until S has closed too */
    close(fd);
}

int main(int argc, char **argv)
{
    uint8_t token[WIRE_TOKEN_LEN];
    struct wire_reader r;
    if (argc != 5)
        die("usage: rejoiner PORT SESSION KEY CASE");
    const char *port = argv[1], *what = argv[4];
    struct visit v = {.session = argv[2], .key = argv[3], .role = WIRE_ROLE_A};
    alarm(20);
    int fd = dial(port);
    if (visit(fd, &v, &r) != WIRE_JOINED || wire_get_exact(&r, WIRE_F_TOKEN, token, sizeof(token)) < 0)
        die("no place with a token");
    end(fd, strcmp(what, "left") == 0);
    v.token = token;
    v.rejoin = strcmp(what, "fresh") != 0;
    if (strcmp(what, "wrong-key") == 0)
        v.key = "another key";
    else if (strcmp(what, "wrong-token") == 0)
        token[WIRE_TOKEN_LEN - 1] ^= 1;
    else if (strcmp(what, "no-token") == 0)
        v.token = NULL;
    else if (strcmp(what, "other-place") == 0)
        v.role = WIRE_ROLE_B;
    fd = dial(port);
    tell(visit(fd, &v, &r), &r);
    if (strcmp(what, "twice") != 0)
        return 0;
    int second = dial(port);
    tell(visit(second, &v, &r), &r);
    /* The first one is finished. */
    while (read(fd, rx, sizeof(rx)) > 0)
        ;
    puts("the other one ended");
    return 0;
}
