/* Time, and the numbers that people write on a command line. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/base/base.h"

uint64_t base_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * BASE_NS_PER_S + (uint64_t)ts.tv_nsec;
}

int base_parse_duration(const char *text, uint64_t *ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
    /* strtod would also take "inf", "0x1p3", "1e3", signs and leading blanks. */
    size_t digits = strspn(text, "0123456789.");
    char *end;
    double value = strtod(text, &end);
    if (digits == 0 || end != text + digits)
        return -EINVAL;
    if (value == 0 && *end == '\0') {
        *ns = 0;
        return 0;
    }
    for (size_t i = 0; i < BASE_ARRAY_LEN(units); i++) {
        /* A year bounds the sum of any two durations well below 2^64 ns. */
        if (strcmp(end, units[i].unit) == 0 && value * units[i].ns <= 365.0 * 86400e9) {
            *ns = (uint64_t)llround(value * units[i].ns);
            return 0;
        }
    }
    return -EINVAL;
}

int base_parse_u64(const char *text, uint64_t lo, uint64_t hi, uint64_t *out)
{
    if (*text == '\0' || strspn(text, "0123456789") != strlen(text))
        return -EINVAL;
    errno = 0;
    uint64_t value = strtoull(text, NULL, 10);
    if (errno || value < lo || value > hi)
        return -ERANGE;
    *out = value;
    return 0;
}
