/* The program `predict`: the only place in this room that reads files, prints, and includes jansson. */
#ifndef PREDICT_PROGRAM_H
#define PREDICT_PROGRAM_H

#include <argp.h>
#include <stdio.h>

#include "predict/predict.h"

/* Usage and environment. */
#define EXIT_USAGE 1

/* Options' arguments: they end the program with one line when the argument is none. */
double program_seconds(struct argp_state *state, const char *name, const char *arg);
double program_number(struct argp_state *state, const char *name, const char *arg, double lo, double hi);
uint64_t program_integer(struct argp_state *state, const char *name, const char *arg, uint64_t lo, uint64_t hi);
enum predict_kind program_kind(struct argp_state *state, const char *arg);

/* A trace, line by line. What is wrong with it is said on stderr, with the line's number. */
struct program_trace {
    const char *path;
    FILE *file;
    uint64_t line;
    struct predict_sample last; /* mapped.len 0: none yet */
    uint64_t samples, duplicates, restarts, gaps, families;
};

enum program_next {
    PROGRAM_END,
    PROGRAM_SAMPLE,
    PROGRAM_RESTART, /* a sample, and what came before it is of another recording, or too long ago */
    PROGRAM_BAD,     /* said already */
};

/* Opens it ("-": stdin) and reads the header. False: said already. */
bool program_trace_open(struct program_trace *t, const char *path);
enum program_next program_trace_next(struct program_trace *t, struct predict_sample *s);
void program_trace_close(struct program_trace *t);

int program_ports(int argc, char **argv);
int program_simulate(int argc, char **argv);
int program_evaluate(int argc, char **argv);
/* The table of the model against fixed windows, within simulate. */
int program_compare(const struct predict_sim *how, uint64_t trials, uint64_t seed, bool json);

#endif
