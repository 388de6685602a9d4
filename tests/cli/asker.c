/*
 * Asks a rendezvous server what no peer would ask, for its tests. Blocking calls, each bounded by a timeout.
 *
 *   asker stun-udp ADDR:PORT [N]    N requests one after the other; "from ADDR:PORT mapped ADDR:PORT" of the last, and
 *                                   "answered K of N"
 *   asker stun-tcp ADDR:PORT N      N requests on one connection in one write; the same lines
 *   asker send ADDR:PORT HEX|-      sends the bytes (or those of stdin), then says what comes: "frame TYPE",
 *                                   "error CODE TEXT", "stun", "closed" or "silence"
 *   asker drip ADDR:PORT            a HELLO byte by byte, then the same
 *   asker crowd ADDR:PORT N         joins N sessions with two silent peers each, says "joined N" or why not, and holds
 *                                   them until stdin ends
 *
 * Exit status: 0 when something was asked, 1 when it could not be.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/base/base.h"
#include "bench/wire/wire.h"

#define WAIT_S      3
#define WAIT_MS     (WAIT_S * 1000)
#define UDP_WAIT_MS 300

static uint8_t buf[WIRE_FRAME_MAX];

static void die(const char *why)
{
    fprintf(stderr, "asker: %s: %s\n", why, strerror(errno));
    exit(1);
}

static int open_to(const union base_ep *to, int type)
{
    struct timeval wait = {.tv_sec = WAIT_S};
    int fd = socket(to->sa.sa_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
        (type == SOCK_STREAM && connect(fd, &to->sa, base_ep_len(to)) < 0))
        die("cannot connect");
    return fd;
}

static bool read_all(int fd, uint8_t *at, size_t len)
{
    while (len > 0) {
        ssize_t n = read(fd, at, len);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static size_t make_request(uint8_t out[64], uint32_t id)
{
    uint8_t txid[WIRE_STUN_TXID_LEN] = "asker";
    struct wire_stun_writer w;
    memcpy(txid + 8, &id, sizeof(id));
    wire_stun_begin(&w, out, 64, WIRE_STUN_REQUEST, WIRE_STUN_BINDING, txid);
    return (size_t)wire_stun_end(&w, true);
}

static void print_answer(const union base_ep *from, size_t len, unsigned answered, unsigned asked)
{
    char a[BASE_EP_STRLEN], b[BASE_EP_STRLEN];
    struct wire_stun msg;
    if (answered && wire_stun_decode(buf, len, &msg) == 0)
        printf("from %s mapped %s\n", base_ep_format(from, a), base_ep_format(&msg.xor_mapped, b));
    printf("answered %u of %u\n", answered, asked);
}

static void stun_udp(const union base_ep *to, unsigned n)
{
    union base_ep from = {0};
    unsigned answered = 0;
    ssize_t got, len = 0;
    int fd = open_to(to, SOCK_DGRAM);
    for (unsigned i = 0; i < n; i++) {
        uint8_t request[64];
        socklen_t from_len = sizeof(from);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (sendto(fd, request, make_request(request, i), 0, &to->sa, base_ep_len(to)) < 0)
            die("cannot send");
        if (poll(&p, 1, UDP_WAIT_MS) == 1 && (got = recvfrom(fd, buf, sizeof(buf), 0, &from.sa, &from_len)) > 0) {
            answered++;
            len = got;
        }
    }
    print_answer(&from, (size_t)len, answered, n);
}

static void stun_tcp(const union base_ep *to, unsigned n)
{
    unsigned answered = 0;
    int len = 0, fd = open_to(to, SOCK_STREAM);
    for (unsigned i = 0; i < n; i++) {
        size_t at = (size_t)len;
        len += (int)make_request(buf + at, i);
    }
    if (write(fd, buf, (size_t)len) != len)
        die("cannot send");
    for (; answered < n; answered++) {
        if (!read_all(fd, buf, WIRE_STUN_HEADER_LEN))
            break;
        len = wire_stun_frame_len(buf, WIRE_STUN_HEADER_LEN);
        if (len < 0 || !read_all(fd, buf + WIRE_STUN_HEADER_LEN, (size_t)len - WIRE_STUN_HEADER_LEN))
            break;
    }
    print_answer(to, (size_t)len, answered, n);
}

static void print_frame(size_t len)
{
    struct wire_reader r;
    enum wire_frame_type type;
    uint64_t code = 0;
    char text[512] = "";
    if (wire_frame_open(buf, len, &type, &r) < 0)
        printf("a bad frame\n");
    else if (type != WIRE_ERROR)
        printf("frame %d\n", type);
    else if (wire_get_u64(&r, WIRE_F_CODE, &code) == 0 && wire_get_text(&r, WIRE_F_TEXT, text, sizeof(text)) == 0)
        printf("error %llu %s\n", (unsigned long long)code, text);
}

/* Reads frames until there are no more for a while. */
static void listen_to(int fd)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, WAIT_MS) == 0) {
            printf("silence\n");
            return;
        }
        if (!read_all(fd, buf, 1)) {
            printf("closed\n");
            return;
        }
        if (buf[0] < 4) {
            printf("stun\n");
            return;
        }
        int len = read_all(fd, buf + 1, WIRE_FRAME_HEADER - 1) ? wire_frame_len(buf, WIRE_FRAME_HEADER) : -1;
        if (len < 0 || !read_all(fd, buf + WIRE_FRAME_HEADER, (size_t)len - WIRE_FRAME_HEADER))
            die("bytes that are no frame");
        print_frame((size_t)len);
        if (buf[1] == WIRE_CHALLENGE)
            return;
    }
}

static void send_bytes(const union base_ep *to, const char *hex)
{
    size_t len = 0;
    int fd = open_to(to, SOCK_STREAM);
    if (strcmp(hex, "-") == 0)
        len = fread(buf, 1, sizeof(buf), stdin);
    for (; *hex != '-' && hex[0] && hex[1]; hex += 2) {
        char byte[3] = {hex[0], hex[1], '\0'};
        buf[len++] = (uint8_t)strtoul(byte, NULL, 16);
    }
    /* It may be refused before it has all arrived. */
    if (send(fd, buf, len, MSG_NOSIGNAL) < 0)
        printf("refused while sending\n");
    listen_to(fd);
}

static int make_hello(const char *session, const uint8_t nonce[WIRE_NONCE_LEN])
{
    struct wire_writer w;
    wire_frame_begin(&w, buf, sizeof(buf), WIRE_HELLO);
    wire_put_text(&w, WIRE_F_SESSION, session);
    wire_put_bytes(&w, WIRE_F_NONCE, nonce, WIRE_NONCE_LEN);
    wire_put_text(&w, WIRE_F_TECHNIQUE, "asker");
    wire_put_text(&w, WIRE_F_OPTIONS, "transport=tcp\nmode=none\ntimeout=5s\nheartbeat=1s\nrate=2000\nlimit=2000\n");
    return wire_frame_end(&w, 0x13572468);
}

static void drip(const union base_ep *to)
{
    const uint8_t nonce[WIRE_NONCE_LEN] = {1};
    int fd = open_to(to, SOCK_STREAM), len = make_hello("drip", nonce);
    for (int i = 0; i < len; i++)
        if (send(fd, buf + i, 1, MSG_NOSIGNAL) != 1 || usleep(500) < 0)
            die("cannot send");
    listen_to(fd);
}

/* The next frame of that type; false on anything else. */
static bool await(int fd, enum wire_frame_type wanted, struct wire_reader *r)
{
    enum wire_frame_type type;
    if (!read_all(fd, buf, WIRE_FRAME_HEADER))
        return false;
    int len = wire_frame_len(buf, WIRE_FRAME_HEADER);
    if (len < 0 || !read_all(fd, buf + WIRE_FRAME_HEADER, (size_t)len - WIRE_FRAME_HEADER))
        return false;
    if (wire_frame_open(buf, (size_t)len, &type, r) == 0 && type == wanted)
        return true;
    print_frame((size_t)len);
    return false;
}

static bool join(const union base_ep *to, const char *session)
{
    const uint8_t nonce[WIRE_NONCE_LEN] = {1};
    uint8_t server_nonce[WIRE_NONCE_LEN], key[WIRE_KEY_LEN], proof[WIRE_MAC_LEN];
    struct wire_reader r;
    struct wire_writer w;
    int fd = open_to(to, SOCK_STREAM), len = make_hello(session, nonce);
    if (write(fd, buf, (size_t)len) != len || !await(fd, WIRE_CHALLENGE, &r) ||
        wire_get_exact(&r, WIRE_F_NONCE, server_nonce, sizeof(server_nonce)) < 0)
        return false;
    wire_session_key(NULL, 0, session, key);
    wire_join_proof(key, WIRE_JOIN_PEER, nonce, server_nonce, proof);
    wire_frame_begin(&w, buf, sizeof(buf), WIRE_PROVE);
    wire_put_bytes(&w, WIRE_F_PROOF, proof, sizeof(proof));
    len = wire_frame_end(&w, 7);
    return write(fd, buf, (size_t)len) == len && await(fd, WIRE_JOINED, &r);
}

static void crowd(const union base_ep *to, unsigned n)
{
    char session[32];
    for (unsigned i = 0; i < 2 * n; i++) {
        snprintf(session, sizeof(session), "crowd/%u", i / 2);
        if (!join(to, session)) {
            printf("stopped at %u\n", i / 2);
            return;
        }
    }
    printf("joined %u\n", n);
    fflush(stdout);
    while (getchar() != EOF)
        ;
}

int main(int argc, char **argv)
{
    union base_ep to;
    if (argc < 3 || base_ep_parse(argv[2], &to) < 0) {
        fprintf(stderr, "asker: usage: see its head\n");
        return 1;
    }
    base_raise_open_files();
    unsigned n = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1;
    if (strcmp(argv[1], "stun-udp") == 0)
        stun_udp(&to, n);
    else if (strcmp(argv[1], "stun-tcp") == 0)
        stun_tcp(&to, n);
    else if (strcmp(argv[1], "send") == 0 && argc == 4)
        send_bytes(&to, argv[3]);
    else if (strcmp(argv[1], "drip") == 0)
        drip(&to);
    else if (strcmp(argv[1], "crowd") == 0)
        crowd(&to, n);
    else
        return 1;
    return 0;
}
