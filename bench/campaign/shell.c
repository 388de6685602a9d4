/* A command in a host, for /bin/sh, and what its environment tells it: `bench lab --run-a` and `use = exec` alike. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "bench/campaign/hosts.h"

#define MAX_VARS 16

struct vars {
    char text[MAX_VARS][PATH_MAX + 32];
    char *list[MAX_VARS + 1];
    size_t n;
};

__attribute__((format(printf, 3, 4))) static void add(struct vars *v, const char *name, const char *fmt, ...)
{
    if (v->n == MAX_VARS)
        return;
    char *text = v->text[v->n];
    int len = snprintf(text, sizeof(v->text[0]), "PUNCHBENCH_%s=", name);
    va_list args;
    va_start(args, fmt);
    vsnprintf(text + len, sizeof(v->text[0]) - (size_t)len, fmt, args);
    va_end(args);
    v->list[v->n++] = text;
}

static void describe(const struct campaign_shell *s, struct lab_host *host, struct vars *v)
{
    static const char *const roles[CAMPAIGN_ENDS] = {[CAMPAIGN_A] = "a", [CAMPAIGN_B] = "b", [CAMPAIGN_S] = "s"};
    char addr[BASE_EP_STRLEN];
    add(v, "ROLE", "%s", roles[s->end]);
    add(v, "ADDR", "%s", base_ep_format_addr(lab_host_addr(host), addr));
    add(v, "SERVER", "%s", s->hosts->outside[CAMPAIGN_S]);
    add(v, "SERVER_ALT", "%s", campaign_server_of(s->hosts->ipv6)->alternate);
    add(v, "A", "%s", s->hosts->outside[CAMPAIGN_A]);
    add(v, "B", "%s", s->hosts->outside[CAMPAIGN_B]);
    if (s->end != CAMPAIGN_S)
        add(v, "PEER", "%s", s->hosts->outside[s->end == CAMPAIGN_A ? CAMPAIGN_B : CAMPAIGN_A]);
    add(v, "TRIAL", "%llu", (unsigned long long)s->trial);
    add(v, "SEED", "%llu", (unsigned long long)s->seed);
    add(v, "SESSION", "trial-%llu", (unsigned long long)s->trial);
    if (s->timeout_ns)
        add(v, "TIMEOUT", "%.3f", (double)s->timeout_ns / (double)BASE_NS_PER_S);
    add(v, "BIN", "%s", s->program_dir);
}

int campaign_shell_start(const struct campaign_shell *shell, pid_t *pid, int *pidfd)
{
    struct lab_host *const hosts[CAMPAIGN_ENDS] = {
        [CAMPAIGN_A] = shell->hosts->a, [CAMPAIGN_B] = shell->hosts->b, [CAMPAIGN_S] = shell->hosts->s};
    const char *argv[] = {"/bin/sh", "-c", shell->command, NULL};
    struct vars vars = {.n = 0};
    describe(shell, hosts[shell->end], &vars);
    struct lab_command cmd = {.argv = argv,
                              .fd_in = shell->fd_in,
                              .fd_out = shell->fd_out,
                              .fd_err = shell->fd_err,
                              .env = vars.list,
                              .group = shell->group};
    return lab_spawn(shell->hosts->lab, hosts[shell->end], &cmd, pid, pidfd);
}
