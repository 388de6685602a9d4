/* What the command lines of the programs share. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/base/base.h"

void base_arg_program(const char *name)
{
    static char version[128];
    snprintf(version, sizeof(version), "%s (punchbench) %s", name, base_version());
    argp_program_version = version;
    argp_err_exit_status = BASE_EXIT_USAGE;
}

void base_arg_number(struct argp_state *state, const char *name, const char *arg, uint64_t lo, uint64_t hi,
                     uint64_t *out)
{
    if (base_parse_u64(arg, lo, hi, out) < 0)
        argp_failure(state, BASE_EXIT_USAGE, 0, "--%s '%s': a number from %llu to %llu is needed", name, arg,
                     (unsigned long long)lo, (unsigned long long)hi);
}

void base_arg_key(struct argp_state *state, const char *path, uint8_t *key, size_t cap, size_t *len)
{
    int err = base_read_key(path, key, cap, len);
    if (err == -ENODATA)
        argp_failure(state, BASE_EXIT_USAGE, 0, "the key file %s is empty: put a secret in it", path);
    else if (err < 0)
        argp_failure(state, BASE_EXIT_USAGE, 0, "cannot read the key file %s: %s", path, strerror(-err));
}
