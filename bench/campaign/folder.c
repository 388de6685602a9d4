/* A folder of results, read back without its campaign file or profiles: what summaries need of the cells. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/folder.h"
#include "bench/record/record.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static uint64_t number_of(const json_t *object, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(object, key));
    return n < 0 ? 0 : (uint64_t)n;
}

/* The next part of a cell's name into out; NULL: it is none. */
static const char *take_part(const char *from, char *out, size_t cap)
{
    size_t len = strcspn(from, "/");
    if (len == 0 || len >= cap)
        return NULL;
    memcpy(out, from, len);
    out[len] = '\0';
    return from[len] ? from + len + 1 : from + len;
}

static void fill_choice(const json_t *list, struct campaign_choice *choice, struct campaign_technique *technique)
{
    const json_t *each;
    size_t i;
    *technique = (struct campaign_technique){.name = "", .transport = ""};
    choice->technique = technique;
    choice->mode = "";
    json_array_foreach(list, i, each)
    {
        if (strcmp(text_of(each, "label"), choice->label) != 0)
            continue;
        *technique =
            (struct campaign_technique){.name = text_of(each, "technique"), .transport = text_of(each, "transport")};
        choice->mode = text_of(each, "mode");
    }
}

static void fill_link(const json_t *list, struct campaign_link *link)
{
    const json_t *each;
    size_t i;
    /* The round trip is all that a summary shows of it. */
    json_array_foreach(list, i, each) if (strcmp(text_of(each, "name"), link->label) == 0) link->access[CAMPAIGN_A]
        .up.delay_ns = number_of(each, "rtt_ns");
}

static int fill_cell(const struct campaign_folder *f, const json_t *each, struct campaign_folder_cell *out,
                     struct campaign_cell *cell)
{
    const json_t *campaign = json_object_get(f->run, "campaign");
    const char *name = text_of(each, "cell");
    const char *at = take_part(name, out->a.name, sizeof(out->a.name));
    at = at ? take_part(at, out->b.name, sizeof(out->b.name)) : NULL;
    at = at ? take_part(at, out->choice.label, sizeof(out->choice.label)) : NULL;
    at = at ? take_part(at, out->link.label, sizeof(out->link.label)) : NULL;
    uint64_t trials = number_of(each, "trials");
    if (!at || *at || strlen(name) > CAMPAIGN_CELL_NAME || trials < 1 || trials > CAMPAIGN_MAX_TRIALS)
        return -EBADMSG;
    fill_choice(json_object_get(campaign, "techniques"), &out->choice, &out->technique);
    fill_link(json_object_get(campaign, "links"), &out->link);
    *cell = (struct campaign_cell){.nat_a = &out->a,
                                   .nat_b = &out->b,
                                   .choice = &out->choice,
                                   .link = &out->link,
                                   .trials = trials,
                                   .seed = number_of(each, "seed")};
    memcpy(cell->name, name, strlen(name) + 1);
    return 0;
}

static int fill_cells(struct campaign_folder *f, char err[CAMPAIGN_ERROR_LEN])
{
    const json_t *list = json_object_get(f->run, "cells"), *each;
    size_t i;
    f->cells = calloc(json_array_size(list) + 1, sizeof(*f->cells));
    f->storage = calloc(json_array_size(list) + 1, sizeof(*f->storage));
    if (!f->cells || !f->storage)
        return campaign_fail(-ENOMEM, err, "no memory");
    json_array_foreach(list, i, each)
    {
        if (fill_cell(f, each, &f->storage[i], &f->cells[i]) < 0)
            return campaign_fail(-EBADMSG, err, "%.200s/run.json: cell %zu is none", f->dir, i + 1);
        f->n++;
    }
    return f->n ? 0 : campaign_fail(-EBADMSG, err, "%.200s/run.json names no cell", f->dir);
}

static int fill_config(struct campaign_folder *f, char err[CAMPAIGN_ERROR_LEN])
{
    const json_t *campaign = json_object_get(f->run, "campaign");
    struct campaign_config *c = f->config;
    c->seed = number_of(campaign, "seed");
    c->warmup = number_of(campaign, "warmup");
    c->block = number_of(campaign, "block");
    c->until_width = json_number_value(json_object_get(campaign, "until_width"));
    if (c->block < 1 || c->warmup > CAMPAIGN_MAX_WARMUP || !(c->until_width >= 0 && c->until_width < 1))
        return campaign_fail(-EBADMSG, err, "%.200s/run.json: campaign: block, warmup or until_width is none", f->dir);
    return 0;
}

static int load(struct campaign_folder *f, char err[CAMPAIGN_ERROR_LEN])
{
    char path[PATH_MAX];
    json_error_t where;
    if ((size_t)snprintf(path, sizeof(path), "%s/run.json", f->dir) >= sizeof(path))
        return campaign_fail(-ENAMETOOLONG, err, "%.200s: the path is too long", f->dir);
    f->run = json_load_file(path, 0, &where);
    if (!f->run)
        return campaign_fail(-EINVAL, err, "%.200s is no folder of results: run.json: %.150s", f->dir, where.text);
    const json_t *schema = json_object_get(f->run, "schema");
    if (!json_is_integer(schema) || json_integer_value(schema) < 1)
        return campaign_fail(-EBADMSG, err, "%.200s/run.json is no run description", f->dir);
    if (json_integer_value(schema) > RECORD_SCHEMA)
        return campaign_fail(-EPROTONOSUPPORT, err, "%.200s/run.json: of a newer version: use that version", f->dir);
    return 0;
}

int campaign_folder_open(struct campaign_folder *f, const char *dir, char err[CAMPAIGN_ERROR_LEN])
{
    *f = (struct campaign_folder){.config = calloc(1, sizeof(*f->config))};
    int res = f->config ? 0 : campaign_fail(-ENOMEM, err, "no memory");
    if (res == 0 && (size_t)snprintf(f->dir, sizeof(f->dir), "%s", dir) >= sizeof(f->dir))
        res = campaign_fail(-ENAMETOOLONG, err, "%.200s: the path is too long", dir);
    if (res == 0)
        res = load(f, err);
    if (res == 0)
        res = fill_config(f, err);
    if (res == 0)
        res = fill_cells(f, err);
    if (res < 0)
        campaign_folder_close(f);
    return res;
}

void campaign_folder_close(struct campaign_folder *f)
{
    json_decref(f->run);
    free(f->cells);
    free(f->storage);
    free(f->config);
    *f = (struct campaign_folder){0};
}
