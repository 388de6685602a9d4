/*
 * bench/base: what every room of bench stands on. Endpoints, clock, seeded rng, permutation, token
 * bucket, log, key files, command lines. No I/O but the last three, no allocation.
 *
 * Errors travel as -errno; only main() exits, and what reads its command line, with one of BASE_EXIT_*.
 */
#ifndef BENCH_BASE_H
#define BENCH_BASE_H

#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Exit status of every program. */
enum base_exit {
    BASE_EXIT_OK = 0,     /* all trials ok */
    BASE_EXIT_USAGE = 1,  /* bad usage or environment */
    BASE_EXIT_FAILED = 2, /* some trials failed */
};

#define BASE_NS_PER_US 1000ULL
#define BASE_NS_PER_MS 1000000ULL
#define BASE_NS_PER_S  1000000000ULL

#define BASE_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The version of this build, from git describe; static storage. */
const char *base_version(void);

/* ---- endpoint: an address and a port, IPv4 or IPv6 ------------------------------------------- */

/* Passed to system calls as &ep.sa with base_ep_len(). sa.sa_family 0 means "none". */
union base_ep {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* "192.0.2.1:3478", "[2001:db8::1]:3478" and the text that base_ep_format writes. */
#define BASE_EP_STRLEN 56

/* Parses ADDR:PORT or [ADDR]:PORT; numeric only. 0, or -EINVAL (out is then untouched). */
int base_ep_parse(const char *text, union base_ep *out);
/* Parses an address without a port; port 0. 0, or -EINVAL. */
int base_ep_parse_addr(const char *text, union base_ep *out);
/* Writes the endpoint into buf and returns buf; "none" for an unset endpoint. */
const char *base_ep_format(const union base_ep *ep, char buf[BASE_EP_STRLEN]);
/* The address alone, without port or brackets. */
const char *base_ep_format_addr(const union base_ep *ep, char buf[BASE_EP_STRLEN]);
/* From network-order address bytes (4 or 16, by family AF_INET or AF_INET6) and a host-order port. */
union base_ep base_ep_from_bytes(sa_family_t family, const uint8_t *addr, uint16_t port);
/* The address's bytes, in network order; *len becomes 4 or 16 (0 for an unset endpoint). */
const uint8_t *base_ep_bytes(const union base_ep *ep, size_t *len);
socklen_t base_ep_len(const union base_ep *ep);
uint16_t base_ep_port(const union base_ep *ep); /* host order */
void base_ep_set_port(union base_ep *ep, uint16_t port);
bool base_ep_is_set(const union base_ep *ep);
bool base_ep_equal(const union base_ep *a, const union base_ep *b);
bool base_ep_same_addr(const union base_ep *a, const union base_ep *b);
bool base_ep_is_any(const union base_ep *ep); /* 0.0.0.0 or :: */

/* ---- time ------------------------------------------------------------------------------------ */

/* CLOCK_MONOTONIC, in ns. */
uint64_t base_now_ns(void);
/* Parses "40ms", "1.5s", "200us", "10ns", "2m", "1h", "0", up to a year; a bare number other than 0 is refused. 0, or
 * -EINVAL (ns is then untouched). */
int base_parse_duration(const char *text, uint64_t *ns);
/* Decimal integer in [lo, hi]. 0, -EINVAL or -ERANGE. */
int base_parse_u64(const char *text, uint64_t lo, uint64_t hi, uint64_t *out);

/* ---- random ---------------------------------------------------------------------------------- */

/* xoshiro256** (Blackman, Vigna 2018), seeded through SplitMix64. Reproducible; not for secrets. */
struct base_rng {
    uint64_t s[4];
};

void base_rng_seed(struct base_rng *rng, uint64_t seed);
/* An independent stream for (seed, label, n): one seed drives every random choice of a run. */
void base_rng_derive(struct base_rng *rng, uint64_t seed, const char *label, uint64_t n);
uint64_t base_rng_u64(struct base_rng *rng);
/* Uniform in [0, bound), bound >= 1, without modulo bias. */
uint64_t base_rng_below(struct base_rng *rng, uint64_t bound);
/* Uniform in [0, 1), 53 bits. */
double base_rng_double(struct base_rng *rng);
/* Fills buf from the kernel's CSPRNG: keys, nonces, transaction ids. 0, or -errno. */
int base_random_bytes(void *buf, size_t len);

/* ---- permutation ----------------------------------------------------------------------------- */

/* A seeded bijection of [0, size): a Feistel network over the next power of four, cycle-walking back
 * into the range (Black, Rogaway 2002). O(1) memory; size is 1 to 2^32. */
struct base_perm {
    uint64_t size;
    uint32_t half_bits;
    uint64_t keys[6];
};

void base_perm_init(struct base_perm *p, uint64_t size, uint64_t seed);
/* The index-th element, index < size. */
uint64_t base_perm_at(const struct base_perm *p, uint64_t index);

/* ---- token bucket ---------------------------------------------------------------------------- */

/* Pure: the caller passes the time. rate is tokens per second (0 = unlimited), burst the bucket's depth. */
struct base_bucket {
    double rate;
    double burst;
    double tokens;
    uint64_t last_ns;
};

void base_bucket_init(struct base_bucket *b, double rate, double burst, uint64_t now_ns);
/* Takes one token if there is one. */
bool base_bucket_take(struct base_bucket *b, uint64_t now_ns);
/* ns until n tokens are there (0 = now); UINT64_MAX when n exceeds burst, or for a wait of centuries. */
uint64_t base_bucket_wait_ns(struct base_bucket *b, double n, uint64_t now_ns);

/* ---- log and errors -------------------------------------------------------------------------- */

enum base_log_level { BASE_LOG_ERROR, BASE_LOG_WARN, BASE_LOG_INFO, BASE_LOG_DEBUG };

/* The program's name is put before each line; level INFO unless set. */
void base_log_init(const char *program, enum base_log_level level);
/* One line on stderr, whole in one write: "program: what failed, on what, and what to do about it". Control characters
 * become '?', a long line is cut, errno is kept. */
void base_log(enum base_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void base_vlog(enum base_log_level level, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));

#define base_error(...) base_log(BASE_LOG_ERROR, __VA_ARGS__)
#define base_warn(...)  base_log(BASE_LOG_WARN, __VA_ARGS__)
#define base_info(...)  base_log(BASE_LOG_INFO, __VA_ARGS__)
#define base_debug(...) base_log(BASE_LOG_DEBUG, __VA_ARGS__)

/* ---- key files ------------------------------------------------------------------------------- */

/* Reads a shared key, without the newline that an editor leaves. At most cap bytes count. 0; -errno; -ENODATA for an
 * empty file. */
int base_read_key(const char *path, uint8_t *key, size_t cap, size_t *len);

/* ---- command lines --------------------------------------------------------------------------- */

struct argp_state;

/* Before argp_parse(): what --version says ("NAME (punchbench) VERSION"), and the exit status of bad usage. */
void base_arg_program(const char *name);
/* These end the program where an option's value is wrong, as argp does, with a line that says what is needed. */
void base_arg_number(struct argp_state *state, const char *name, const char *arg, uint64_t lo, uint64_t hi,
                     uint64_t *out);
void base_arg_key(struct argp_state *state, const char *path, uint8_t *key, size_t cap, size_t *len);

/* ---- process limits -------------------------------------------------------------------------- */

/* Raises the soft open-file limit to the hard one and returns the limit now in force. */
uint64_t base_raise_open_files(void);
/* Descriptors in use; 0 where /proc is not there to tell. */
uint64_t base_open_files(void);

#endif
