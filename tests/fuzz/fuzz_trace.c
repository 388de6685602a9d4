/*
 * The trace reader: any lines. What is taken for a sample must read back the same after it was written, and nothing
 * that samples can say may crash or derail the classifier and the model.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "predict/predict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As many as one input may bring: enough for every kind of sequence. */
#define MOST 48

static void write_and_read(const struct predict_sample *s)
{
    char buf[PREDICT_TRACE_LINE], twice[PREDICT_TRACE_LINE];
    struct predict_sample again;
    const char *why;
    predict_trace_format(s, buf, sizeof(buf));
    if (predict_trace_parse(buf, strlen(buf), &again, &why) < 0)
        abort();
    if (strcmp(buf, predict_trace_format(&again, twice, sizeof(twice))) != 0)
        abort();
}

static void predict(const struct predict_sample *samples, size_t n)
{
    static struct predict_candidate candidates[3000];
    struct predict_behaviour b = {0};
    struct predict_query q = {.after = 0.1, .probes = (unsigned)(1 + n % 40), .interval = n % 3 * 0.001};
    predict_classify(samples, n, &b);
    struct predict_model *m = predict_model_create(PREDICT_MIXTURE, samples, n, &b, &q);
    if (!m)
        return;
    size_t found = predict_rank(m, candidates, sizeof(candidates) / sizeof(candidates[0]), NULL);
    for (size_t i = 0; i < found; i++)
        if (!(candidates[i].p >= 0 && candidates[i].p <= 1) || candidates[i].ep.port == 0)
            abort();
    double p = predict_success(m, candidates, found);
    if (!(p >= 0 && p <= 1))
        abort();
    predict_model_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct predict_sample samples[MOST];
    size_t n = 0;
    const char *why, *at = (const char *)data, *end = at + size;
    while (at < end && n < MOST) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline + 1 : end;
        if (predict_trace_parse(at, (size_t)(stop - at), &samples[n], &why) == 0)
            write_and_read(&samples[n++]);
        at = stop;
    }
    predict(samples, n);
    return 0;
}
