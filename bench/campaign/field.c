/*
 * A field campaign's results: what S recorded, in one file or several (S may have moved), becomes a folder as the lab
 * makes it. A trial that was begun again after a drop-out is in there once: as the first record that both sides
 * reported to, or else as the first one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/field.h"
#include "bench/campaign/results.h"

struct kept {
    char *line; /* with its '\n'; owned */
    size_t len, cell;
    bool whole; /* both sides reported */
};

struct collection {
    struct field *field;
    struct campaign_index index;
    struct campaign_tally *tallies;
    struct kept *list; /* in the order of the files */
    size_t n, cap;
    size_t **where; /* by cell and trial: its number in the list, plus 1 */
    uint64_t *rtts; /* as S measured them */
    size_t n_rtts;
    uint64_t foreign, again;
};

/* ---- reading --------------------------------------------------------------------------------- */

static bool both_reported(const json_t *record)
{
    return json_is_object(json_object_get(record, "a")) && json_is_object(json_object_get(record, "b"));
}

static int grow(struct collection *c)
{
    if (c->n < c->cap)
        return 0;
    size_t cap = c->cap ? c->cap * 2 : 256;
    struct kept *list = realloc(c->list, cap * sizeof(*list));
    if (!list)
        return -ENOMEM;
    c->list = list;
    uint64_t *rtts = realloc(c->rtts, cap * sizeof(*rtts));
    if (!rtts)
        return -ENOMEM;
    c->rtts = rtts;
    c->cap = cap;
    return 0;
}

static int keep(struct collection *c, size_t cell, const struct record_view *view, const char *line, size_t len)
{
    json_t *record = json_loadb(line, len, 0, NULL);
    size_t *at = &c->where[cell][view->trial];
    bool whole = both_reported(record);
    json_int_t rtt = json_integer_value(json_object_get(record, "rtt_ns"));
    json_decref(record);
    c->again += *at != 0;
    if (*at && (c->list[*at - 1].whole || !whole))
        return 0;
    char *copy = grow(c) == 0 ? malloc(len) : NULL;
    if (!copy)
        return -ENOMEM;
    memcpy(copy, line, len);
    if (*at) {
        free(c->list[*at - 1].line);
        c->list[*at - 1].line = NULL;
    }
    c->list[c->n] = (struct kept){.line = copy, .len = len, .cell = cell, .whole = whole};
    *at = ++c->n;
    if (rtt > 0)
        c->rtts[c->n_rtts++] = (uint64_t)rtt;
    return 0;
}

/* Where S was killed while it wrote and then started anew, a whole record follows a torn one in the same line. */
static const char *last_record(const char *line, size_t len)
{
    static const char begin[] = "{\"schema\":";
    const char *found = NULL, *at = line;
    while ((at = memmem(at + 1, len - (size_t)(at + 1 - line), begin, sizeof(begin) - 1)))
        found = at;
    return found;
}

static int take_line(struct collection *c, const char *line, size_t len, char err[CAMPAIGN_ERROR_LEN])
{
    struct record_view view;
    int res = record_view_parse(line, len - 1, &view);
    const char *last = res == -EBADMSG ? last_record(line, len) : NULL;
    if (last) {
        len -= (size_t)(last - line);
        line = last;
        res = record_view_parse(line, len - 1, &view);
    }
    if (res == -EPROTONOSUPPORT)
        return campaign_fail(res, err, "a record of a newer version: use that version");
    if (res < 0)
        return campaign_fail(res, err, "no trial record; look at it, and remove it to go on");
    size_t cell = campaign_index_find(&c->index, view.cell);
    /* S may have served others, or another campaign. */
    if (cell == c->index.n || view.trial >= c->field->cells[cell].trials || view.seed != c->field->cells[cell].seed) {
        c->foreign++;
        return 0;
    }
    res = keep(c, cell, &view, line, len);
    return res < 0 ? campaign_fail(res, err, "no memory") : 0;
}

static int read_file(struct collection *c, const char *path)
{
    char *line = NULL, err[CAMPAIGN_ERROR_LEN];
    size_t cap = 0, number = 0;
    ssize_t len;
    FILE *in = fopen(path, "re");
    int res = in ? 0 : -errno;
    if (!in) {
        base_error("%s: %s", path, strerror(-res));
        return res;
    }
    while (res == 0 && (len = getline(&line, &cap, in)) > 0) {
        number++;
        /* S was killed while it wrote: the trial was made again, or is missing. */
        if (line[len - 1] != '\n') {
            base_warn("%s: its last line was torn by a kill and does not count", path);
            break;
        }
        res = take_line(c, line, (size_t)len, err);
        if (res < 0)
            base_error("%s: line %zu: %s", path, number, err);
    }
    if (res == 0 && ferror(in)) {
        res = -EIO;
        base_error("%s could not be read", path);
    }
    free(line);
    fclose(in);
    return res;
}

/* ---- run.json -------------------------------------------------------------------------------- */

static int compare_u64(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The line's round trip: the median of what S measured. */
static void tell_rtt(struct collection *c)
{
    struct lab_link *access = c->field->config.links[0].access;
    if (c->n_rtts == 0)
        return;
    qsort(c->rtts, c->n_rtts, sizeof(*c->rtts), compare_u64);
    access[CAMPAIGN_A].up.delay_ns = c->rtts[c->n_rtts / 2];
}

/* What discovery said of a NAT, as the keys and values of a profile. */
static void add_properties(json_t *profile, const json_t *discovery)
{
    const char *transport = json_string_value(json_object_get(discovery, "transport")), *key;
    const json_t *property;
    char name[80];
    json_object_foreach((json_t *)json_object_get(discovery, "properties"), key, property)
    {
        snprintf(name, sizeof(name), "%s-%.60s", transport ? transport : "?", key);
        json_object_set(profile, name, json_object_get(property, "value"));
    }
}

static int add_discovery(const char *path, json_t *profile, json_t *list)
{
    json_error_t where;
    json_t *discovery = json_load_file(path, 0, &where);
    const char *type = json_string_value(json_object_get(discovery, "type"));
    if (!type || strcmp(type, "discovery") != 0) {
        base_error("%s is not what 'discover --json' prints%s%s", path, discovery ? "" : ": ",
                   discovery ? "" : where.text);
        json_decref(discovery);
        return -EINVAL;
    }
    json_object_del(discovery, "samples");
    add_properties(profile, discovery);
    return json_array_append_new(list, discovery) < 0 ? -ENOMEM : 0;
}

static json_t *run_json(struct field *f)
{
    static const char *const names[2] = {"a", "b"};
    json_t *run = campaign_run_json(&f->config, f->cells, f->n, NULL, "", "");
    json_t *field = json_pack("{s:s?}", "server", f->server);
    int res = run && field ? 0 : -ENOMEM;
    for (int i = 0; i < 2 && res == 0; i++) {
        const char *nat = i == 0 ? f->config.nats_a[0].name : f->config.nats_b[0].name;
        json_t *profile = json_pack("{s:s}", "backend", "field"), *list = json_array();
        for (int k = 0; k < 2 && res == 0; k++)
            if (f->discovered[i][k])
                res = add_discovery(f->discovered[i][k], profile, list);
        json_object_set_new(json_object_get(run, "profiles"), nat, profile);
        json_object_set_new(field, names[i], list);
    }
    json_object_set_new(run, "field", field);
    /* Of the machine that collects, which measured nothing. */
    json_object_set_new(run, "loop_features", json_null());
    if (res == 0)
        return run;
    json_decref(run);
    return NULL;
}

/* ---- the folder ------------------------------------------------------------------------------ */

static int make_tallies(struct collection *c)
{
    const struct field *f = c->field;
    c->tallies = calloc(f->n, sizeof(*c->tallies));
    c->where = calloc(f->n, sizeof(*c->where));
    int res = c->tallies && c->where ? campaign_index_make(&c->index, f->cells, f->n) : -ENOMEM;
    for (size_t i = 0; res == 0 && i < f->n; i++) {
        res = campaign_tally_init(&c->tallies[i], 0, f->cells[i].trials);
        c->where[i] = calloc(f->cells[i].trials, sizeof(*c->where[i]));
        if (!c->where[i])
            res = -ENOMEM;
    }
    if (res < 0)
        base_error("no memory for %zu cells", f->n);
    return res;
}

static void collection_free(struct collection *c)
{
    for (size_t i = 0; i < c->field->n; i++) {
        if (c->tallies)
            campaign_tally_free(&c->tallies[i]);
        if (c->where)
            free(c->where[i]);
    }
    for (size_t i = 0; i < c->n; i++)
        free(c->list[i].line);
    free(c->tallies);
    free(c->where);
    free(c->list);
    free(c->rtts);
    campaign_index_free(&c->index);
}

static int write_trials(struct collection *c, struct campaign_results *results)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct kept *k = &c->list[i];
        struct record_view view;
        int res = 0;
        if (!k->line)
            continue;
        if (record_view_parse(k->line, k->len - 1, &view) == 0)
            res = campaign_tally_add(&c->tallies[k->cell], &view);
        if (res == 0)
            res = campaign_results_append(results, k->line, k->len);
        if (res < 0) {
            base_error("%s/trials.jsonl cannot be written: %s", results->dir, strerror(-res));
            return res;
        }
    }
    return 0;
}

static int write_folder(struct collection *c, const char *out)
{
    const struct field *f = c->field;
    struct campaign_results results;
    char err[CAMPAIGN_ERROR_LEN];
    json_t *run = run_json(c->field);
    if (!run)
        return -EINVAL;
    int res = campaign_results_open(&results, out, false, run, f->cells, c->tallies, f->n, err);
    if (res < 0) {
        base_error("%s", err);
        json_decref(run);
        return res;
    }
    res = write_trials(c, &results);
    int sum = res == 0 ? campaign_summary_write(results.dir, f->cells, c->tallies, f->n) : 0;
    if (sum == 0 && res == 0)
        sum = campaign_hlog_write(results.dir, campaign_run_started_ms(run), f->cells, c->tallies, f->n);
    if (sum < 0)
        base_error("%s cannot be written: %s", results.dir, strerror(-sum));
    campaign_summary_table(stdout, f->cells, c->tallies, f->n);
    json_decref(run);
    campaign_results_close(&results);
    return res < 0 ? res : sum;
}

int field_collect(struct field *f, const char *out, uint64_t *missing)
{
    struct collection c = {.field = f};
    int res = make_tallies(&c);
    for (size_t i = 0; res == 0 && i < f->n_files; i++)
        res = read_file(&c, f->files[i]);
    if (res == 0 && c.n == 0) {
        base_error("no trial of this campaign is there: the NATs' names, the link's and the seed must be as they were");
        res = -ENOENT;
    }
    if (res == 0) {
        tell_rtt(&c);
        res = write_folder(&c, out);
    }
    *missing = 0;
    for (size_t i = 0; res == 0 && i < f->n; i++)
        *missing += f->cells[i].trials - c.tallies[i].measured;
    if (res == 0 && c.again)
        base_info("%llu trials were made again after a drop-out, and count once", (unsigned long long)c.again);
    if (res == 0 && c.foreign)
        base_info("%llu records are of other sessions, and stay out", (unsigned long long)c.foreign);
    collection_free(&c);
    return res;
}
