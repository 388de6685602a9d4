/*
 * A decoy: another host in a's home owns the private address that b has in its own home, and answers on b's port with
 * what it is sent. Pins: a decoy that is taken for the peer, over TCP or UDP; one that keeps the peer from being found.
 * It is the keyed verification that refuses it: the decoy gives back proofs, but none of its own.
 */
#include <jansson.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/lab/world.h"

#define TRIALS "1000"
#define SERVER "203.0.113.9:3478"
#define LO     "20000"
#define HI     "20199"
#define PORTS  "20000-20199"
#define B_HOME "10.1.0.3" /* of b in its home, and of the decoy in a's */

#define PATIENCE_NS (180 * BASE_NS_PER_S)

static char dir[] = "/tmp/lab_decoy.XXXXXX";

static struct lab_host *place(struct world *w, const char *name, const char *profile, struct lab_host *behind,
                              const char *outside, const char *inside, bool shared)
{
    char err[LAB_ERROR_LEN] = "";
    struct lab_profile p;
    struct lab_host *host = NULL;
    union base_ep out = ep(outside, 0), in = ep(inside, 0);
    const struct lab_place facts = {
        .name = name, .profile = &p, .behind = behind, .outside = &out, .n_outside = 1, .inside = &in};
    if (lab_profile_find("bench/profiles", profile, &p, err) < 0 ||
        (shared ? lab_add_shared : lab_add)(w->lab, &facts, &host, err) < 0)
        fail_msg("%s", err);
    return host;
}

static int output(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static int start(struct world *w, struct lab_host *host, const char *name, const char *const argv[])
{
    pid_t pid;
    int pidfd, out = output(name);
    const struct lab_command cmd = {.argv = argv, .fd_in = -1, .fd_out = out, .fd_err = STDERR_FILENO};
    assert_int_equal(lab_spawn(w->lab, host, &cmd, &pid, &pidfd), 0);
    close(out);
    return pidfd;
}

static const char *program(const char *name, char path[512])
{
    const char *build = getenv("BUILD");
    snprintf(path, 512, "%s/%s", build ? build : "build", name);
    return path;
}

static void ready(struct world *w, const char *name, const char *text)
{
    char path[256], line[512] = "";
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    for (int i = 0; i < 2000 && !strstr(line, text); i++) {
        FILE *f = fopen(path, "re");
        if (f && !fgets(line, sizeof(line), f))
            line[0] = '\0';
        if (f)
            fclose(f);
        pump(w, 5 * BASE_NS_PER_MS);
    }
    assert_non_null(strstr(line, text));
}

/* Each record is `ok` on a direct path. Returns how often anybody could not prove the key, or was a stranger. */
static long judge(const char *name)
{
    char path[256];
    long refused = 0, trials = 0;
    char *line = NULL;
    size_t cap = 0;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (getline(&line, &cap, f) > 0) {
        json_t *record = json_loads(line, 0, NULL);
        assert_non_null(record);
        const char *outcome = json_string_value(json_object_get(record, "outcome"));
        if (!outcome || strcmp(outcome, "ok") != 0)
            fail_msg("%s", line);
        assert_string_equal(json_string_value(json_object_get(record, "path")), "direct");
        json_t *errors = json_object_get(json_object_get(record, "a"), "errors");
        refused += (long)json_integer_value(json_object_get(errors, "auth_failures"));
        refused += (long)json_integer_value(json_object_get(errors, "strangers"));
        trials++;
        json_decref(record);
    }
    free(line);
    fclose(f);
    assert_int_equal(trials, atoi(TRIALS));
    return refused;
}

static int peer(struct world *w, struct lab_host *host, const char *technique, const char *role)
{
    char path[512], tool[64];
    snprintf(tool, sizeof(tool), "bin/%s", technique);
    return start(w, host, role,
                 (const char *const[]){program(tool, path), "--server", SERVER, "--session", "decoy", "--role", role,
                                       "--ports", PORTS, "--quiet", "--trials", TRIALS, "--seed", "1", NULL});
}

static void refused(const char *technique)
{
    char path[512];
    struct world w;
    char err[LAB_ERROR_LEN];
    assert_int_equal(loop_create(&w.loop, 0), 0);
    assert_int_equal(lab_create(&w.lab, w.loop, 1, err), 0);
    w.s = add(&w, "s", "open", "203.0.113.9", "10.9.0.2", (struct lab_link){0});
    struct lab_host *home = place(&w, "home", "port-restricted", NULL, "198.51.100.1", "10.1.0.2", true);
    w.a = place(&w, "a", "open", home, "10.1.0.2", "10.1.0.2", false);
    struct lab_host *decoy = place(&w, "decoy", "open", home, B_HOME, B_HOME, false);
    w.b = place(&w, "b", "linux-strict", NULL, "198.51.100.77", B_HOME, false);
    int fds[4];
    fds[0] = start(&w, decoy, "decoy", (const char *const[]){program("tests/decoy", path), B_HOME, LO, HI, NULL});
    ready(&w, "decoy", "ready");
    fds[1] = start(&w, w.s, "s",
                   (const char *const[]){program("bin/rendezvous", path), "--listen", SERVER, "--json", "--quiet",
                                         "--stun-rate", "0", "--join-rate", "0", NULL});
    fds[2] = peer(&w, w.a, technique, "a");
    fds[3] = peer(&w, w.b, technique, "b");
    for (int i = 2; i < 4; i++)
        assert_true(wait_fd(&w, fds[i], POLLIN, PATIENCE_NS) & POLLIN);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    world_free(&w);
    /* The decoy was met: otherwise this shows nothing. */
    long met = judge("s");
    print_message("%s: %ld answers of the decoy refused\n", technique, met);
    assert_true(met >= atoi(TRIALS) / 2);
}

static void over_tcp(void **state)
{
    (void)state;
    refused("simopen");
}

static void over_udp(void **state)
{
    (void)state;
    refused("portspray");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(over_tcp), cmocka_unit_test(over_udp)};
    assert_non_null(mkdtemp(dir));
    int failed = world_run(tests);
    static const char *const files[] = {"decoy", "s", "a", "b"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(files); i++) {
        char path[256];
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        unlink(path);
    }
    return rmdir(dir) == 0 && failed == 0 ? 0 : 1;
}
