/* bench/record, for its own files only. */
#ifndef BENCH_RECORD_INTERNAL_H
#define BENCH_RECORD_INTERNAL_H

#include "bench/record/record.h"

/* A count or a duration as a JSON integer: JSON libraries stop at int64, so does this. New reference. */
json_t *record_int(uint64_t value);
/* The same, with 0 as null: "not reached", "not known". New reference. */
json_t *record_int_or_null(uint64_t value);
/* phases_ns with every phase named. New reference. */
json_t *record_phases(const uint64_t phase_ns[RECORD_PHASES]);
/* Adds "phase" and, for an error with a number, "errno" and "errno_name". 0, or -1. */
int record_set_end(json_t *object, enum record_outcome outcome, enum record_phase phase, int error);

/* Foreign members. A missing or null one leaves *out at what it was. 0, or -EBADMSG for a wrong type or range. */
int record_get_u64(const json_t *object, const char *key, uint64_t *out);
int record_get_text(const json_t *object, const char *key, char *out, size_t cap);

#endif
