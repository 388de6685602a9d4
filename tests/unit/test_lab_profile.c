/*
 * The profile reader. Pins: an unknown key, a bad value or a key that the backend does not have that is accepted or
 * blamed on the wrong line; a label that contradicts the rules; a shipped profile that does not parse or does not say
 * what its name says.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/lab/lab.h"
#include "bench/lab/nat.h"

static char folder[] = "/tmp/lab-profile-XXXXXX";

static int folder_made(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_removed(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void write_profile(const char *name, const char *text)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/%s.ini", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
}

static void remove_profile(const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/%s.ini", folder, name);
    unlink(path);
}

static struct lab_profile read_text(const char *text, int want, char err[LAB_ERROR_LEN])
{
    char path[64];
    struct lab_profile p = {0};
    write_profile("it", text);
    snprintf(path, sizeof(path), "%s/it.ini", folder);
    err[0] = '\0';
    assert_int_equal(lab_profile_read(path, &p, err), want);
    remove_profile("it");
    return p;
}

/* It is refused in line `line`, with these words. */
static void refused(const char *text, int line, const char *words)
{
    char err[LAB_ERROR_LEN], where[16];
    read_text(text, -EINVAL, err);
    snprintf(where, sizeof(where), ":%d: ", line);
    if (!strstr(err, where) || !strstr(err, words) || strchr(err, '\n'))
        fail_msg("'%s' is not about line %d and '%s'", err, line, words);
}

#define HEAD "backend = netfilter\nsource = proposal\n"
#define REST                                                                                                           \
    "filtering = address-and-port-dependent\nunsolicited-syn = drop\ntcp-window-check = strict\n"                      \
    "ports = random\nmapping = address-and-port-dependent\n"

static void a_whole_profile(void **state)
{
    (void)state;
    char err[LAB_ERROR_LEN];
    struct lab_profile p = read_text("; comment\n" HEAD REST "port-range = 40000-41999\nudp-timeout = 30/120\n"
                                     "tcp-timeout = 5/86400/60 ; a comment\n",
                                     0, err);
    assert_int_equal(p.backend, LAB_BACKEND_NETFILTER);
    assert_int_equal(p.mapping, LAB_MAP_APD);
    assert_int_equal(p.filtering, LAB_FILTER_APD);
    assert_int_equal(p.ports, LAB_PORTS_RANDOM);
    assert_int_equal(p.port_lo, 40000);
    assert_int_equal(p.port_hi, 41999);
    assert_int_equal(p.unsolicited, LAB_UNSOLICITED_DROP);
    assert_int_equal(p.window, LAB_WINDOW_STRICT);
    assert_int_equal(p.udp_new_s, 30);
    assert_int_equal(p.udp_stream_s, 120);
    assert_int_equal(p.tcp_syn_sent_s, 5);
    assert_int_equal(p.tcp_established_s, 86400);
    assert_int_equal(p.tcp_closing_s, 60);
    p = read_text(HEAD REST "udp-timeout = 60\n", 0, err);
    assert_int_equal(p.udp_stream_s, 60);
    assert_int_equal(p.tcp_closing_s, 0);
}

static void wrong_keys(void **state)
{
    (void)state;
    refused(HEAD "mappnig = endpoint-independent\n", 3, "no key 'mappnig'");
    refused(HEAD "step = 1\n", 3, "backend = netfilter");
    refused("backend = none\nsource = x\nports = random\n", 3, "backend = none");
    refused(HEAD REST "ports = random\n", 8, "already given in line 6");
    refused("\nports = random\nbackend = netfilter\n", 2, "must come first");
    refused(HEAD "[nat]\nports = random\n", 4, "no sections");
    refused(HEAD "what is this\n", 3, "KEY = VALUE");
    refused("", 1, "'backend' is missing");
    refused("backend = netfilter\n", 1, "'source' is missing");
    refused(HEAD "ports = random\n", 1, "needs 'mapping'");
}

static void wrong_values(void **state)
{
    (void)state;
    refused("backend = emulator\n", 1, "none, netfilter");
    refused(HEAD "filtering = endpoint-independent\n", 3, "address-and-port-dependent");
    refused(HEAD "ports = sequential\n", 3, "preserve, random");
    refused(HEAD "ports = Random\n", 3, "no value of ports");
    refused(HEAD "unsolicited-syn = hold\n", 3, "drop, rst");
    refused(HEAD "source =\n", 3, "already given");
    refused("backend = none\nsource =\n", 2, "empty");
    static const char *const ranges[] = {"0-10",    "10",  "10-",   "-10",           "20-10",
                                         "1-65536", "a-b", "1-2-3", "000001000-2000"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(ranges); i++) {
        char text[64];
        snprintf(text, sizeof(text), HEAD "port-range = %s\n", ranges[i]);
        refused(text, 3, "LOW-HIGH");
    }
    static const char *const timers[] = {"0/120", "30/", "/", "30/120/5", "x", "30/-1", "9999999999", "30//120"};
    for (size_t i = 0; i < BASE_ARRAY_LEN(timers); i++) {
        char text[64];
        snprintf(text, sizeof(text), HEAD "udp-timeout = %s\n", timers[i]);
        refused(text, 3, "NEW/STREAM");
    }
    refused(HEAD "tcp-timeout = 30\n", 3, "SYN-SENT/ESTABLISHED");
}

#define EMULATED "backend = emulated\nsource = proposal\n" /* two lines, and seven more */
#define EMULATED_REST                                                                                                  \
    "mapping = address-dependent\nfiltering = last-destination-only\nunsolicited-syn = hold\n"                         \
    "tcp-window-check = none\nudp-timeout = 60\ntcp-timeout = 60/1800\nports = "

static void every_emulated_key(void **state)
{
    (void)state;
    char err[LAB_ERROR_LEN];
    write_profile("cgn-block", EMULATED EMULATED_REST "random\n");
    struct lab_profile p =
        read_text(EMULATED EMULATED_REST "sequential\nstep = -2\ncross-traffic = negative-binomial 51 2.5\n"
                                         "pool = 4 arbitrary\nhairpin = internal-source\nrefresh = outbound\n"
                                         "rst = ignored\ntable-size = 9000 evict\nhost-limit = 128\n"
                                         "new-per-second = 50\nblacklist-after = 8/60\nrewrite-payload = yes\n"
                                         "restart-after = 30\nunder = cgn-block\nport-range = 2000-3000\n",
                  0, err);
    assert_int_equal(p.backend, LAB_BACKEND_EMULATED);
    assert_int_equal(p.mapping, LAB_MAP_AD);
    assert_int_equal(p.filtering, LAB_FILTER_LAST);
    assert_int_equal(p.ports, LAB_PORTS_SEQUENTIAL);
    assert_int_equal(p.unsolicited, LAB_UNSOLICITED_HOLD);
    assert_int_equal(p.window, LAB_WINDOW_NONE);
    assert_int_equal(p.step, -2);
    assert_int_equal(p.cross, LAB_CROSS_NEGATIVE_BINOMIAL);
    assert_true(p.cross_rate == 51.0 && p.cross_dispersion == 2.5);
    assert_int_equal(p.pool, 4);
    assert_int_equal(p.pooling, LAB_POOL_ARBITRARY);
    assert_int_equal(p.hairpin, LAB_HAIRPIN_INTERNAL);
    assert_int_equal(p.refresh, LAB_REFRESH_OUTBOUND);
    assert_int_equal(p.rst, LAB_RST_IGNORED);
    assert_int_equal(p.table_size, 9000);
    assert_int_equal(p.table_at_cap, LAB_AT_CAP_EVICT);
    assert_int_equal(p.host_limit, 128);
    assert_int_equal(p.host_at_cap, LAB_AT_CAP_DROP);
    assert_int_equal(p.new_per_s, 50);
    assert_int_equal(p.blacklist_after, 8);
    assert_int_equal(p.blacklist_s, 60);
    assert_true(p.rewrite_payload);
    assert_int_equal(p.restart_after_s, 30);
    assert_string_equal(p.under, "cgn-block");
    remove_profile("cgn-block");
    p = read_text(EMULATED EMULATED_REST "block\nblock-size = 128\nblocks = 2\n", 0, err);
    assert_int_equal(p.block_size, 128);
    assert_int_equal(p.blocks, 2);
    assert_int_equal(p.pool, 1);
    assert_int_equal(p.hairpin, LAB_HAIRPIN_OFF);
    assert_int_equal(p.refresh, LAB_REFRESH_BOTH);
}

static void wrong_emulated_values(void **state)
{
    static const struct {
        const char *line, *words;
    } cases[] = {{"step = 0", "1 to 1000"},
                 {"step = --1", "1 to 1000"},
                 {"cross-traffic = poisson", "RATE"},
                 {"cross-traffic = poisson -1", "RATE"},
                 {"cross-traffic = poisson nan", "RATE"},
                 {"cross-traffic = negative-binomial 51 1", "DISPERSION"},
                 {"pool = 17", "1 to 16"},
                 {"pool = 2 some", "paired, arbitrary"},
                 {"pool = 2 paired 3", "paired, arbitrary"},
                 {"table-size = 0", "1 to"},
                 {"new-per-second = 5 evict", "write a number"},
                 {"blacklist-after = 8", "PACKETS/SECONDS"},
                 {"rewrite-payload = maybe", "yes or no"},
                 {"hairpin = on", "off, internal-source"},
                 {"under = ../x", "name of another profile"},
                 {"block-size = 1", "2 to 65535"}};
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        char text[128];
        snprintf(text, sizeof(text), EMULATED "%s\n", cases[i].line);
        refused(text, 3, cases[i].words);
    }
    refused(EMULATED "ports = random\n", 1, "backend = emulated needs 'mapping'");
}

/* The tenth line, or the one that it contradicts. */
static void emulated_contradictions(void **state)
{
    static const struct {
        const char *rest;
        int line;
        const char *words;
    } cases[] = {
        {"random\nstep = 1\n", 10, "needs ports = sequential"},
        {"random\nblock-size = 10\n", 10, "needs ports = block"},
        {"band\n", 9, "need a block-size"},
        {"band\nblock-size = 10\nblocks = 1\n", 11, "needs ports = block"},
        {"block\nblock-size = 200\nport-range = 2000-2100\n", 10, "does not fit"},
        {"random\npool = 1 arbitrary\n", 10, "one address"},
        {"block\nblock-size = 200\npool = 2 arbitrary\n", 11, "is paired"},
        {"random\nrst = closes-if-in-window\n", 10, "knows no window"},
        {"random\nhost-limit = 10\ntable-size = 9\n", 10, "table-size of 9"},
        {"preserve\nstep = 1\n", 10, "needs ports = sequential"},
        {"preserve\nblock-size = 10\n", 10, "needs ports = block"},
        {"random\nblocks = 2\n", 10, "needs ports = block"},
        {"sequential\nport-range = 2000-2009\nstep = -10\n", 11, "range of 10 ports"},
        {"parity\nport-range = 2000-2000\n", 10, "an even port and an odd one"},
        {"random\nport-range = 3000-2000\n", 10, "LOW-HIGH"},
        {"random\nblacklist-after = 8\n", 10, "PACKETS/SECONDS"},
        {"random\npool = arbitrary\n", 10, "write a number"},
        {"random\nunder = it\n", 10, "behind itself"},
        {"random\nunder = nowhere\n", 10, "nowhere"},
    };
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        char text[512];
        snprintf(text, sizeof(text), EMULATED EMULATED_REST "%s", cases[i].rest);
        refused(text, cases[i].line, cases[i].words);
    }
    refused(EMULATED "mapping = connection-dependent\nfiltering = address-dependent\nunsolicited-syn = drop\n"
                     "tcp-window-check = none\nudp-timeout = 60\ntcp-timeout = 60/1800\nports = preserve\n",
            3, "not ports = preserve");
    refused(EMULATED "udp-timeout = 60/59\ntcp-timeout = 60/60\nmapping = endpoint-independent\nports = random\n"
                     "filtering = address-dependent\nunsolicited-syn = drop\ntcp-window-check = none\n",
            3, "59 s are fewer");
    refused(EMULATED "udp-timeout = 60\ntcp-timeout = 60/59\nmapping = endpoint-independent\nports = random\n"
                     "filtering = address-dependent\nunsolicited-syn = drop\ntcp-window-check = none\n",
            4, "59 s are fewer");
}

#define PROGRAM "backend = program\nsource = proposal\n"

static void program_nats(void **state)
{
    (void)state;
    refused(PROGRAM "mapping = endpoint-independent\nfiltering = endpoint-independent\nports = random\n", 1,
            "needs 'program'");
    refused(PROGRAM "program = qemu\n", 3, "slirp4netns, pasta");
    refused(PROGRAM "program = pasta\nudp-timeout = 30\n", 4, "not something backend = program has");
    refused(PROGRAM "program = pasta\ntcp-mapping = none\n", 4, "use one of");
    refused(EMULATED "tcp-mapping = endpoint-independent\n", 3, "not something backend = emulated has");
    refused(EMULATED "program = pasta\n", 3, "not something backend = emulated has");
    refused(EMULATED "family = ipv6\n", 3, "not something backend = emulated has");
    refused("backend = netfilter\nsource = x\nfamily = ipx\n", 3, "ipv4, ipv6");
    refused("backend = netfilter\nsource = x\nmapping = none\nfiltering = address-and-port-dependent\nports = random\n"
            "unsolicited-syn = drop\ntcp-window-check = strict\n",
            5, "ports = preserve");
}

/* One emulated NAT under another, and no more: a chain or a ring of them is refused where it begins. */
static void nats_under_nats(void **state)
{
    static const struct {
        const char *outer, *words;
    } cases[] = {
        {EMULATED EMULATED_REST "random\nunder = it\n", "at most two NATs"},
        {EMULATED EMULATED_REST "random\nunder = third\n", "under third itself"},
        {HEAD REST, "needs backend = emulated"},
        {"backend = none\nsource = proposal\n", "needs backend = emulated"},
        {EMULATED EMULATED_REST "random\nstep = 1\n", "outer.ini:10: a step needs"},
    };
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(cases); i++) {
        write_profile("outer", cases[i].outer);
        refused(EMULATED EMULATED_REST "random\nhairpin = off\nunder = outer\n", 11, cases[i].words);
    }
    remove_profile("outer");
}

/* Every shipped emulated profile is one that the emulator takes. */
static void the_emulated_set(void **state)
{
    static const char *const names[] = {"full-cone",
                                        "restricted-cone",
                                        "port-restricted",
                                        "address-dependent",
                                        "sym-seq-quiet",
                                        "sym-seq-busy",
                                        "sym-seq-still",
                                        "sym-seq-slow",
                                        "cgn-block-no-hairpin",
                                        "sym-seq-peak",
                                        "sym-random",
                                        "pf-random",
                                        "mobile-sym-random",
                                        "cgn-block",
                                        "cgn-band",
                                        "double-nat",
                                        "picky",
                                        "hostile",
                                        "linux-strict-emulated"};
    (void)state;
    union base_ep external[4], gateway;
    base_ep_parse_addr("203.0.113.1", &external[0]);
    base_ep_parse_addr("10.0.0.1", &gateway);
    external[1] = external[2] = external[3] = external[0];
    for (size_t i = 0; i < BASE_ARRAY_LEN(names); i++) {
        struct lab_profile p, under;
        struct lab_nat *nat;
        char err[LAB_ERROR_LEN] = "";
        if (lab_profile_find("bench/profiles", names[i], &p, err) < 0 ||
            (*p.under && lab_profile_find("bench/profiles", p.under, &under, err) < 0))
            fail_msg("%s", err);
        assert_int_equal(p.backend, LAB_BACKEND_EMULATED);
        assert_int_equal(lab_nat_create(&nat, &p, external, p.pool, &gateway, 1, 0), 0);
        lab_nat_destroy(nat);
    }
}

static void the_first_error_is_told(void **state)
{
    (void)state;
    refused(HEAD "nonsense\nports = bad\n", 3, "KEY = VALUE");
    refused(HEAD "ports = bad\nnonsense\n", 3, "no value of ports");
}

static void labels_that_lie(void **state)
{
    (void)state;
    refused(HEAD "mapping = address-and-port-dependent\nports = preserve\nfiltering = address-and-port-dependent\n"
                 "unsolicited-syn = drop\ntcp-window-check = strict\n",
            3, "endpoint-independent");
    refused(HEAD "mapping = endpoint-independent\nports = random\nfiltering = address-and-port-dependent\n"
                 "unsolicited-syn = drop\ntcp-window-check = strict\n",
            3, "address-and-port-dependent");
    refused(HEAD "mapping = endpoint-independent\nports = preserve\nfiltering = address-and-port-dependent\n"
                 "unsolicited-syn = drop\ntcp-window-check = strict\nport-range = 1024-2000\n",
            8, "needs ports = random");
}

static void long_lines(void **state)
{
    (void)state;
    char text[1024], filler[700];
    memset(filler, 'x', sizeof(filler));
    snprintf(text, sizeof(text), HEAD "; %.*s\nports = random\n", (int)sizeof(filler), filler);
    refused(text, 3, "longer than");
}

static void finding_by_name(void **state)
{
    (void)state;
    struct lab_profile p = {0};
    char err[LAB_ERROR_LEN];
    assert_int_equal(lab_profile_find("bench/profiles", "../lab", &p, err), -EINVAL);
    assert_int_equal(lab_profile_find("bench/profiles", "", &p, err), -EINVAL);
    assert_int_equal(lab_profile_find("bench/profiles", ".hidden", &p, err), -EINVAL);
    assert_int_equal(lab_profile_find("bench/profiles", "no-such", &p, err), -ENOENT);
    assert_non_null(strstr(err, "no-such"));
    assert_string_equal(p.name, "");
}

static void the_shipped_set(void **state)
{
    static const struct {
        const char *name;
        enum lab_ports ports;
        enum lab_unsolicited unsolicited;
        enum lab_window window;
        unsigned width; /* of the port range; 0 = none */
    } set[] = {
        {"open", LAB_PORTS_UNSET, LAB_UNSOLICITED_UNSET, LAB_WINDOW_UNSET, 0},
        {"linux-strict", LAB_PORTS_PRESERVE, LAB_UNSOLICITED_DROP, LAB_WINDOW_STRICT, 0},
        {"linux-liberal", LAB_PORTS_PRESERVE, LAB_UNSOLICITED_DROP, LAB_WINDOW_LIBERAL, 0},
        {"linux-rst", LAB_PORTS_PRESERVE, LAB_UNSOLICITED_RST, LAB_WINDOW_STRICT, 0},
        {"linux-random", LAB_PORTS_RANDOM, LAB_UNSOLICITED_DROP, LAB_WINDOW_STRICT, 0},
        {"linux-range", LAB_PORTS_RANDOM, LAB_UNSOLICITED_DROP, LAB_WINDOW_STRICT, 2000},
        {"linux-random-rst", LAB_PORTS_RANDOM, LAB_UNSOLICITED_RST, LAB_WINDOW_STRICT, 0},
        {"firewall6", LAB_PORTS_PRESERVE, LAB_UNSOLICITED_DROP, LAB_WINDOW_STRICT, 0},
    };
    (void)state;
    for (size_t i = 0; i < BASE_ARRAY_LEN(set); i++) {
        struct lab_profile p;
        char err[LAB_ERROR_LEN] = "";
        if (lab_profile_find("bench/profiles", set[i].name, &p, err) < 0)
            fail_msg("%s", err);
        assert_string_equal(p.name, set[i].name);
        assert_int_equal(p.backend == LAB_BACKEND_NONE, p.ports == LAB_PORTS_UNSET);
        assert_int_equal(p.ports, set[i].ports);
        assert_int_equal(p.unsolicited, set[i].unsolicited);
        assert_int_equal(p.window, set[i].window);
        assert_int_equal(p.port_lo ? p.port_hi - p.port_lo + 1u : 0, set[i].width);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_profile),
        cmocka_unit_test(wrong_keys),
        cmocka_unit_test(wrong_values),
        cmocka_unit_test(the_first_error_is_told),
        cmocka_unit_test(labels_that_lie),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(finding_by_name),
        cmocka_unit_test(the_shipped_set),
        cmocka_unit_test(every_emulated_key),
        cmocka_unit_test(wrong_emulated_values),
        cmocka_unit_test(emulated_contradictions),
        cmocka_unit_test(program_nats),
        cmocka_unit_test(nats_under_nats),
        cmocka_unit_test(the_emulated_set),
    };
    return cmocka_run_group_tests(tests, folder_made, folder_removed);
}
