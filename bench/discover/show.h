/* What the program prints; for its own files only. */
#ifndef BENCH_DISCOVER_SHOW_H
#define BENCH_DISCOVER_SHOW_H

#include <stdio.h>

#include "bench/discover/discover.h"

/* For people. */
void show_text(FILE *out, const struct discover_config *config, const struct discover_result *r);
/* For programs: one line (results/FORMATS.md). 0, or -errno. */
int show_json(FILE *out, const struct discover_config *config, const struct discover_result *r);

#endif
