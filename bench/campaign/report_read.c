/* Folders of results, read back: run.json whole, and what trials.jsonl says. */
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/campaign/report.h"

/* ---- run.json -------------------------------------------------------------------------------- */

static int load_run(struct report_run *run, char err[CAMPAIGN_ERROR_LEN])
{
    char path[PATH_MAX];
    json_error_t where;
    if ((size_t)snprintf(path, sizeof(path), "%s/run.json", run->dir) >= sizeof(path))
        return campaign_fail(-ENAMETOOLONG, err, "%.200s: the path is too long", run->dir);
    if (access(path, R_OK) < 0)
        return campaign_fail(-errno, err,
                             "%.200s is no folder of results: run.json: %s (rendezvous --record alone writes none; "
                             "see results/FORMATS.md)",
                             run->dir, strerror(errno));
    run->json = json_load_file(path, 0, &where);
    if (!run->json)
        return campaign_fail(-EBADMSG, err, "%.200s/run.json: line %d: %.150s", run->dir, where.line, where.text);
    const json_t *schema = json_object_get(run->json, "schema");
    if (!json_is_integer(schema) || json_integer_value(schema) < 1)
        return campaign_fail(-EBADMSG, err, "%.200s/run.json is no run description: it has no schema", run->dir);
    if (json_integer_value(schema) > RECORD_SCHEMA)
        return campaign_fail(-EPROTONOSUPPORT, err,
                             "%.200s was written by a newer version (schema %lld, this one knows %d): use that version",
                             run->dir, (long long)json_integer_value(schema), RECORD_SCHEMA);
    return 0;
}

/* The technique that a label stands for; NULL = none. */
static const json_t *technique_of(const struct report_run *run, const char *label)
{
    const json_t *list = json_object_get(json_object_get(run->json, "campaign"), "techniques"), *each;
    size_t i;
    json_array_foreach(list, i, each)
    {
        const char *text = json_string_value(json_object_get(each, "label"));
        if (text && strcmp(text, label) == 0)
            return each;
    }
    return NULL;
}

static void take_text(const json_t *object, const char *key, char *out, size_t cap)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (text && !*out)
        snprintf(out, cap, "%s", text);
}

/* What the campaign says of the technique, before any trial does. */
static void describe(const struct report_run *run, struct report_cell *cell)
{
    const json_t *technique = technique_of(run, cell->label);
    const char *options = json_string_value(json_object_get(technique, "options"));
    take_text(technique, "transport", cell->transport, sizeof(cell->transport));
    take_text(technique, "technique", cell->technique, sizeof(cell->technique));
    take_text(technique, "mode", cell->mode, sizeof(cell->mode));
    if (!options)
        return;
    cell->holes = report_option(options, "holes");
    cell->probes = report_option(options, "probes");
}

static struct report_cell *new_cell(struct report_set *set, size_t run, const char *name, const char *label)
{
    struct report_cell *cell = report_cell_find(set, run, name);
    if (cell)
        return cell;
    cell = report_cell_get(set, run, name);
    if (!cell)
        return NULL;
    report_cell_name_parts(cell, label);
    describe(&set->runs[run], cell);
    return cell;
}

static int make_cells(struct report_set *set, size_t run, char err[CAMPAIGN_ERROR_LEN])
{
    const json_t *list = json_object_get(set->runs[run].json, "cells"), *each;
    size_t i;
    json_array_foreach(list, i, each)
    {
        const char *name = json_string_value(json_object_get(each, "cell"));
        if (!name || !*name || strlen(name) > CAMPAIGN_CELL_NAME)
            return campaign_fail(-EBADMSG, err, "%.200s/run.json: cell %zu has no name", set->runs[run].dir, i);
        if (!new_cell(set, run, name, NULL))
            return campaign_fail(-ENOMEM, err, "%.200s: more than %d cells, or no memory", set->runs[run].dir,
                                 REPORT_MAX_CELLS);
    }
    return 0;
}

/* ---- trials.jsonl ---------------------------------------------------------------------------- */

static const char *why_of(const json_t *record)
{
    const char *a = json_string_value(json_object_get(json_object_get(record, "a"), "why"));
    const char *b = json_string_value(json_object_get(json_object_get(record, "b"), "why"));
    return a ? a : b ? b : "";
}

static int take_record(struct report_set *set, size_t run, const json_t *record, char err[CAMPAIGN_ERROR_LEN])
{
    struct record_view view;
    char label[REPORT_PART_LEN];
    int res = record_view_read(record, &view);
    if (res == -EPROTONOSUPPORT)
        return campaign_fail(res, err, "a record of a newer version: use that version");
    if (res < 0)
        return campaign_fail(res, err, "no trial record; look at it, and remove it to go on");
    snprintf(label, sizeof(label), "%s%s%s", view.technique, *view.mode ? "-" : "", view.mode);
    struct report_cell *cell = new_cell(set, run, view.cell, label);
    if (!cell)
        return campaign_fail(-ENOMEM, err, "more than %d cells, or no memory", REPORT_MAX_CELLS);
    /* Of a field run, the records alone say it. */
    if (!*cell->technique)
        memcpy(cell->technique, view.technique, sizeof(cell->technique));
    if (!*cell->mode)
        memcpy(cell->mode, view.mode, sizeof(cell->mode));
    if (!*cell->transport)
        memcpy(cell->transport, view.transport, sizeof(cell->transport));
    res = report_cell_add(set, cell, &view, why_of(record));
    if (res == -EEXIST)
        return campaign_fail(res, err, "trial %llu of %.200s is there twice; remove one",
                             (unsigned long long)view.trial, view.cell);
    if (res == -ERANGE)
        return campaign_fail(res, err, "trial %llu: numbers end at %d", (unsigned long long)view.trial,
                             CAMPAIGN_MAX_TRIALS - 1);
    return res < 0 ? campaign_fail(res, err, "no memory") : 0;
}

static int take_line(struct report_set *set, size_t run, const char *line, size_t len, char err[CAMPAIGN_ERROR_LEN])
{
    json_t *record = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    if (!record)
        return campaign_fail(-EBADMSG, err, "no trial record; look at it, and remove it to go on");
    int res = take_record(set, run, record, err);
    json_decref(record);
    return res;
}

struct reading {
    struct report_set *set;
    size_t run;
};

static int read_line(void *user, const char *line, size_t len, char err[CAMPAIGN_ERROR_LEN])
{
    const struct reading *r = user;
    int res = take_line(r->set, r->run, line, len, err);
    r->set->runs[r->run].records += res == 0;
    return res;
}

int report_read(struct report_set *set, const char *dir, char err[CAMPAIGN_ERROR_LEN])
{
    char copy[PATH_MAX];
    if (set->n_runs == REPORT_MAX_RUNS)
        return campaign_fail(-E2BIG, err, "at most %d folders at once", REPORT_MAX_RUNS);
    size_t at = set->n_runs++, len = strlen(dir);
    struct report_run *run = &set->runs[at];
    *run = (struct report_run){.json = NULL};
    while (len > 1 && dir[len - 1] == '/')
        len--;
    if (len == 0 || len >= sizeof(run->dir))
        return campaign_fail(-EINVAL, err, "'%.100s' is no name of a folder", dir);
    memcpy(run->dir, dir, len);
    /* "." has a name, too. */
    if (!realpath(run->dir, copy))
        memcpy(copy, run->dir, len + 1);
    snprintf(run->name, sizeof(run->name), "%.*s", REPORT_PART_LEN - 1, basename(copy));
    int res = load_run(run, err);
    if (res == 0)
        res = make_cells(set, at, err);
    struct reading reading = {set, at};
    if (res == 0)
        res = report_lines(run->dir, read_line, &reading, err);
    report_reasons_sort(set);
    return res;
}
