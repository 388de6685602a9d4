/* The joint record of one trial: made of both reports, written down, sent to both. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rendezvous/session_state.h"

/* The value of a "key=value" line; "" when there is none or it does not fit. */
static const char *option_value(const char *options, const char *key, char *buf, size_t cap)
{
    size_t key_len = strlen(key);
    buf[0] = '\0';
    for (const char *line = options; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        if (strncmp(line, key, key_len) != 0 || line[key_len] != '=')
            continue;
        const char *value = line + key_len + 1;
        size_t len = strcspn(value, "\n");
        if (len < cap) {
            memcpy(buf, value, len);
            buf[len] = '\0';
        }
        break;
    }
    return buf;
}

enum record_phase session_phase(const struct session *s)
{
    switch (s->state) {
    case SESSION_FACTS:
        return s->sides[0].facts || s->sides[1].facts ? RECORD_PHASE_EXCHANGE : RECORD_PHASE_SAMPLE;
    case SESSION_PLAN:
    case SESSION_ABORTED:
        return RECORD_PHASE_PLAN;
    case SESSION_PUNCH:
        return RECORD_PHASE_OPEN;
    default:
        return RECORD_PHASE_JOIN;
    }
}

static json_t *make_record(const struct session *s)
{
    char mode[32], transport[8];
    const struct session_side *a = &s->sides[0], *b = &s->sides[1];
    struct record_trial trial = {
        .cell = s->name,
        .trial = s->trial,
        .seed = s->seed,
        .technique = s->technique,
        .mode = option_value(s->options, "mode", mode, sizeof(mode)),
        .transport = option_value(s->options, "transport", transport, sizeof(transport)),
        .rtt_ns = (session_rtt(a) + session_rtt(b)) / 2,
        .predicted_p = s->predicted_p,
    };
    json_t *record = record_joint(&trial, a->reported ? &a->report : NULL, b->reported ? &b->report : NULL);
    /* Of a side that never reported, only S knows where it ended. */
    if (record && (!a->reported || !b->reported))
        json_object_set_new(record, "phase", json_string(record_phase_name(session_phase(s))));
    return record;
}

static char *record_line(const json_t *record)
{
    char *line = NULL;
    size_t len = 0;
    FILE *out = record ? open_memstream(&line, &len) : NULL;
    int err = out ? record_write_line(out, record) : -ENOMEM;
    if (out && fclose(out) != 0)
        err = -ENOMEM;
    if (err < 0 || !line || len == 0) {
        free(line);
        return NULL;
    }
    line[len - 1] = '\0'; /* the newline */
    return line;
}

static void send_record(struct session *s, const char *line)
{
    for (size_t i = 0; i < 2; i++) {
        struct wire_writer w;
        session_begin(s, &w, WIRE_RECORD);
        wire_put_u64(&w, WIRE_F_TRIAL, s->trial);
        wire_put_text(&w, WIRE_F_TEXT, line);
        if (session_end(s, &w, &s->sides[i]) == 0)
            continue;
        /* Numbers may take more room than they did in the reports. It is written down here all the same. */
        session_begin(s, &w, WIRE_RECORD);
        wire_put_u64(&w, WIRE_F_TRIAL, s->trial);
        wire_put_text(&w, WIRE_F_TEXT, "{}");
        session_end(s, &w, &s->sides[i]);
    }
}

void session_close_trial(struct session *s)
{
    json_t *record = make_record(s);
    char *line = record_line(record);
    if (line) {
        s->host->record(s->host, line);
        send_record(s, line);
    } else {
        base_error("session '%s' trial %llu: out of memory for its record", s->name, (unsigned long long)s->trial);
    }
    free(line);
    json_decref(record);
    for (size_t i = 0; i < 2; i++)
        record_side_clear(&s->sides[i].report);
}
