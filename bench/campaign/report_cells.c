/* Cells of recorded results: by name, and what was seen of each. Pure. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/report.h"

/* ---- by name --------------------------------------------------------------------------------- */

/* FNV-1a. */
static size_t slot_of(const struct report_set *set, size_t run, const char *name)
{
    uint64_t h = 14695981039346656037ULL ^ run;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 1099511628211ULL;
    return (size_t)(h ^ h >> 32) & (set->slots - 1);
}

/* Where it is, or where it would go. */
static size_t probe(const struct report_set *set, size_t run, const char *name)
{
    size_t slot = slot_of(set, run, name);
    for (; set->index[slot]; slot = (slot + 1) & (set->slots - 1)) {
        const struct report_cell *c = &set->cells[set->index[slot] - 1];
        if (c->run == run && strcmp(c->name, name) == 0)
            break;
    }
    return slot;
}

struct report_cell *report_cell_find(const struct report_set *set, size_t run, const char *name)
{
    if (!set->slots)
        return NULL;
    uint32_t at = set->index[probe(set, run, name)];
    return at ? &set->cells[at - 1] : NULL;
}

static bool grow(struct report_set *set)
{
    size_t cap = set->cap ? 2 * set->cap : 64;
    struct report_cell *cells = calloc(cap, sizeof(*cells));
    uint32_t *index = calloc(4 * cap, sizeof(*index));
    if (!cells || !index) {
        free(cells);
        free(index);
        return false;
    }
    if (set->cells)
        memcpy(cells, set->cells, set->n * sizeof(*cells));
    free(set->cells);
    free(set->index);
    set->cells = cells;
    set->cap = cap;
    set->index = index;
    set->slots = 4 * cap;
    for (size_t i = 0; i < set->n; i++)
        index[probe(set, cells[i].run, cells[i].name)] = (uint32_t)i + 1;
    return true;
}

struct report_cell *report_cell_get(struct report_set *set, size_t run, const char *name)
{
    struct report_cell *cell = report_cell_find(set, run, name);
    if (cell)
        return cell;
    if (set->n >= REPORT_MAX_CELLS || ((set->n == set->cap || !set->cells) && !grow(set)))
        return NULL;
    set->index[probe(set, run, name)] = (uint32_t)set->n + 1;
    cell = &set->cells[set->n++];
    *cell = (struct report_cell){.run = run};
    snprintf(cell->name, sizeof(cell->name), "%s", name);
    return cell;
}

void report_cell_name_parts(struct report_cell *cell, const char *label)
{
    char *const parts[] = {cell->nat_a, cell->nat_b, cell->label, cell->link};
    const char *p = cell->name;
    size_t n = 0;
    for (;; n++) {
        size_t len = strcspn(p, "/");
        if (n == BASE_ARRAY_LEN(parts) || len >= REPORT_PART_LEN)
            break;
        memcpy(parts[n], p, len);
        parts[n][len] = '\0';
        p += len;
        if (!*p++) {
            n++;
            break;
        }
    }
    if (n == BASE_ARRAY_LEN(parts) && p[-1] == '\0')
        return;
    snprintf(cell->nat_a, REPORT_PART_LEN, "%.*s", REPORT_PART_LEN - 1, cell->name);
    strcpy(cell->nat_b, "-");
    snprintf(cell->label, REPORT_PART_LEN, "%s", label && *label ? label : "-");
    strcpy(cell->link, "-");
}

void report_set_free(struct report_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        free(set->cells[i].connect_ns);
        free(set->cells[i].quality);
        free(set->cells[i].seen);
        free(set->cells[i].won);
    }
    for (size_t i = 0; i < set->n_runs; i++)
        json_decref(set->runs[i].json);
    free(set->cells);
    free(set->index);
    *set = (struct report_set){0};
}

/* ---- what was seen --------------------------------------------------------------------------- */

bool report_cell_bit(const uint8_t *bits, uint64_t n, uint64_t trial)
{
    return trial < n && (bits[trial / 8] >> trial % 8 & 1);
}

static int make_bits(struct report_cell *cell, uint64_t trial)
{
    uint64_t bits = cell->bits ? cell->bits : 64;
    if (trial < cell->bits)
        return 0;
    while (bits <= trial)
        bits *= 2;
    uint8_t *seen = realloc(cell->seen, bits / 8);
    if (seen)
        cell->seen = seen;
    uint8_t *won = realloc(cell->won, bits / 8);
    if (won)
        cell->won = won;
    if (!seen || !won)
        return -ENOMEM;
    memset(seen + cell->bits / 8, 0, (bits - cell->bits) / 8);
    memset(won + cell->bits / 8, 0, (bits - cell->bits) / 8);
    cell->bits = bits;
    return 0;
}

static int add_latency(struct report_cell *cell, uint64_t ns)
{
    if (cell->n_connect == cell->cap_connect) {
        size_t cap = cell->cap_connect ? 2 * cell->cap_connect : 16;
        uint64_t *grown = realloc(cell->connect_ns, cap * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        cell->connect_ns = grown;
        cell->cap_connect = cap;
    }
    cell->connect_ns[cell->n_connect++] = ns;
    return 0;
}

static int add_quality(struct report_cell *cell, const struct record_view *view)
{
    if (cell->n_quality == cell->cap_quality) {
        size_t cap = cell->cap_quality ? 2 * cell->cap_quality : 8;
        struct report_quality *grown = realloc(cell->quality, cap * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        cell->quality = grown;
        cell->cap_quality = cap;
    }
    struct report_quality *q = &cell->quality[cell->n_quality++];
    memcpy(q->path, view->path, sizeof(q->path));
    q->q = view->quality;
    return 0;
}

/* Foreign text becomes a name: the outcome, and why where that says more. */
static size_t reason_of(struct report_set *set, enum record_outcome outcome, const char *why)
{
    char name[REPORT_REASON_LEN];
    const char *o = record_outcome_name(outcome);
    snprintf(name, sizeof(name), "%s%s%.30s", o, *why && strcmp(why, o) != 0 ? ": " : "",
             strcmp(why, o) != 0 ? why : "");
    for (size_t i = 0; i < set->n_reasons; i++)
        if (strcmp(set->reasons[i], name) == 0)
            return i;
    if (set->n_reasons == REPORT_REASONS)
        return REPORT_REASONS - 1;
    if (set->n_reasons == REPORT_REASONS - 1)
        strcpy(name, "other");
    memcpy(set->reasons[set->n_reasons], name, sizeof(name));
    return set->n_reasons++;
}

static int by_name(const void *x, const void *y, void *names)
{
    char(*list)[REPORT_REASON_LEN] = names;
    return strcmp(list[*(const size_t *)x], list[*(const size_t *)y]);
}

void report_reasons_sort(struct report_set *set)
{
    /* "other" stays last. */
    size_t n = set->n_reasons < REPORT_REASONS ? set->n_reasons : REPORT_REASONS - 1, order[REPORT_REASONS];
    char names[REPORT_REASONS][REPORT_REASON_LEN];
    uint64_t counts[REPORT_REASONS];
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    qsort_r(order, n, sizeof(*order), by_name, set->reasons);
    memcpy(names, set->reasons, sizeof(names));
    for (size_t i = 0; i < n; i++)
        memcpy(set->reasons[i], names[order[i]], sizeof(names[i]));
    for (size_t c = 0; c < set->n; c++) {
        memcpy(counts, set->cells[c].reasons, sizeof(counts));
        for (size_t i = 0; i < n; i++)
            set->cells[c].reasons[i] = counts[order[i]];
    }
}

int report_cell_add(struct report_set *set, struct report_cell *cell, const struct record_view *view, const char *why)
{
    if (view->trial >= CAMPAIGN_MAX_TRIALS)
        return -ERANGE;
    if (report_cell_bit(cell->seen, cell->bits, view->trial))
        return -EEXIST;
    bool ok = view->outcome == RECORD_OK;
    enum record_path path;
    int res = make_bits(cell, view->trial);
    if (res == 0 && ok)
        res = add_latency(cell, view->connect_ns);
    if (res == 0 && ok && view->measured)
        res = add_quality(cell, view);
    if (res < 0)
        return res;
    uint8_t bit = (uint8_t)(1u << view->trial % 8);
    cell->seen[view->trial / 8] |= bit;
    if (ok)
        cell->won[view->trial / 8] |= bit;
    else
        cell->reasons[reason_of(set, view->outcome, why)]++;
    cell->n++;
    cell->ok += ok;
    if (ok && record_path_parse(view->path, &path) == 0)
        cell->paths[path]++;
    cell->outcomes[view->outcome]++;
    if (view->outcome != RECORD_INFEASIBLE)
        record_calibration_add(&cell->calibration, view->predicted_p, ok && strcmp(view->path, "relay") != 0);
    return 0;
}

double report_predicted(const struct record_calibration *c)
{
    double sum = 0;
    for (unsigned i = 0; i < RECORD_CALIBRATION_BINS; i++)
        sum += c->bins[i].sum_p;
    return c->n ? sum / (double)c->n : NAN;
}

bool report_is_control(const struct report_cell *cell)
{
    return strcmp(cell->technique, "none") == 0 || strcmp(cell->mode, "none") == 0 || strcmp(cell->label, "none") == 0;
}

uint64_t report_option(const char *options, const char *name)
{
    size_t len = strlen(name);
    for (const char *p = options; (p = strstr(p, "--")); p += 2) {
        if (strncmp(p + 2, name, len) != 0 || (p[2 + len] != ' ' && p[2 + len] != '='))
            continue;
        char digits[24];
        const char *value = p + 2 + len + 1;
        size_t n = strspn(value, "0123456789");
        uint64_t out;
        snprintf(digits, sizeof(digits), "%.*s", (int)(n < 20 ? n : 20), value);
        if (base_parse_u64(digits, 1, UINT32_MAX, &out) == 0)
            return out;
    }
    return 0;
}
