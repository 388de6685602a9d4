/* bench compare: two runs cell by cell, or two techniques of one run pair by pair. */
#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/commands.h"
#include "bench/campaign/report.h"

enum { KEY_TECHNIQUES = 't', KEY_PAIRED = 256, KEY_JSON, KEY_CSV };

struct options {
    const char *dirs[2];
    size_t n;
    const char *labels[2]; /* of --techniques */
    bool paired, json, csv;
};

static const struct argp_option option_table[] = {
    {"techniques", KEY_TECHNIQUES, "X,Y", 0, "of one run: X beside Y, for each pair of NATs and link", 1},
    {"paired", KEY_PAIRED, NULL, 0,
     "trials of the same number were measured under the same conditions (field runs that took turns): exact test of "
     "pairs",
     1},
    {"json", KEY_JSON, NULL, 0, "an object a comparison, one a line", 2},
    {"csv", KEY_CSV, NULL, 0, "a row a comparison", 2},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const char doc[] =
    "Differences between two recorded runs, or between two techniques of one.\v"
    "  bench compare results/quick --techniques simopen,portspray-punch    TCP beside UDP\n"
    "  bench compare results/monday results/tuesday                        cell by cell\n"
    "\n"
    "Success: the difference of the rates, Newcombe's 95 % interval, and the p-value of Fisher's exact test. In the "
    "lab "
    "the trials of two cells share nothing but their number, so they are not paired; with --paired they are, and the "
    "interval and the test (McNemar's, exact) are those of pairs. Latency, of the successes: the difference of the "
    "medians with a 95 % interval, and Kolmogorov and Smirnov's two-sample test. Of 20 comparisons without any "
    "difference one has p <= 0.05 by chance, so p-values are also given as adjusted by Holm's method over all "
    "comparisons: of those at 0.05 or less hardly any is false. Benjamini and Hochberg's, which finds more and of "
    "those "
    "one in 20 wrongly, is counted below the table, and is in --json and --csv.\n"
    "\n"
    "Exit status: 0 compared, and for two runs: no adjusted p-value is 0.05 or less; 1 usage or environment, or "
    "nothing to compare; 2 two "
    "runs differ.";

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case KEY_TECHNIQUES:
        if (!report_split_labels(arg, o->labels)) {
            argp_error(state, "--techniques %s: write two, as X,Y", arg);
            return EINVAL;
        }
        return 0;
    case KEY_PAIRED:
        o->paired = true;
        return 0;
    case KEY_JSON:
        o->json = true;
        return 0;
    case KEY_CSV:
        o->csv = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->n == 2)
            argp_error(state, "at most two folders, and '%s' is a third one", arg);
        o->dirs[o->n++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (o->n != (o->labels[0] ? 1 : 2))
            argp_error(state, "write two folders of results, or one and --techniques X,Y");
        if (o->json && o->csv)
            argp_error(state, "--json or --csv, not both");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- what is compared ------------------------------------------------------------------------ */

struct comparison {
    struct options options;
    struct report_set set;
    struct report_difference *list;
    size_t n;
    size_t alone[2]; /* cells that only one side has */
    char names[2][REPORT_PART_LEN];
};

static void alone(struct comparison *c, const struct report_cell *cell, unsigned side)
{
    c->alone[side]++;
    if (!c->options.json && !c->options.csv)
        printf("only in %s: %s\n", c->names[side], cell->name);
    else
        base_warn("only in %s: %s", c->names[side], cell->name);
}

/* The cell that stands opposite, or NULL. */
static struct report_cell *opposite(const struct comparison *c, const struct report_cell *cell, const char *label,
                                    size_t run)
{
    char name[sizeof(cell->name)];
    if (!label)
        return report_cell_find(&c->set, run, cell->name);
    int len = snprintf(name, sizeof(name), "%s/%s/%s/%s", cell->nat_a, cell->nat_b, label, cell->link);
    return (size_t)len < sizeof(name) ? report_cell_find(&c->set, run, name) : NULL;
}

static bool is_of(const struct report_cell *cell, const char *label, size_t run)
{
    return label ? strcmp(cell->label, label) == 0 : cell->run == run;
}

/* Cells without a trial have nothing to compare: as if they were not there. */
static int collect(struct comparison *c)
{
    const char *const *label = c->options.labels;
    c->list = calloc(c->set.n + 1, sizeof(*c->list));
    if (!c->list)
        return -ENOMEM;
    for (size_t i = 0; i < c->set.n; i++) {
        struct report_cell *cell = &c->set.cells[i];
        for (unsigned side = 0; side < 2; side++) {
            if (!cell->n || !is_of(cell, label[side], side))
                continue;
            struct report_cell *other = opposite(c, cell, label[!side], label[0] ? 0 : !side);
            if (!other || !other->n)
                alone(c, cell, side);
            else if (side == 0)
                report_compare(cell, other, c->options.paired, &c->list[c->n++]);
        }
    }
    return report_adjust(c->list, c->n);
}

static int load(struct comparison *c)
{
    const struct options *o = &c->options;
    char err[CAMPAIGN_ERROR_LEN];
    for (size_t i = 0; i < o->n; i++)
        if (report_read(&c->set, o->dirs[i], err) < 0) {
            base_error("%s", err);
            return -EINVAL;
        }
    for (size_t i = 0; i < 2; i++)
        snprintf(c->names[i], REPORT_PART_LEN, "%.*s", REPORT_PART_LEN - 1,
                 o->labels[0] ? o->labels[i] : c->set.runs[i].dir);
    if (o->labels[0] &&
        (report_check_label(&c->set, o->labels[0]) < 0 || report_check_label(&c->set, o->labels[1]) < 0))
        return -EINVAL;
    int res = collect(c);
    if (res < 0)
        base_error("no memory");
    return res;
}

/* ---- for people ------------------------------------------------------------------------------ */

static const char *p_text(double p, char buf[24])
{
    if (isnan(p))
        return "-";
    snprintf(buf, 24, p < 1e-4 ? "< 0.0001" : "%.4f", p);
    return buf;
}

static void score(const struct report_cell *c, char buf[48])
{
    snprintf(buf, 48, "%llu/%llu", (unsigned long long)c->ok, (unsigned long long)c->n);
}

static void medians(const struct report_difference *d, char buf[64])
{
    char lo[24] = "?", hi[24] = "?";
    snprintf(buf, 64, "-");
    if (isnan(d->median_diff))
        return;
    if (isfinite(d->median_i.lo))
        snprintf(lo, sizeof(lo), "%+.1f", d->median_i.lo / 1e6);
    if (isfinite(d->median_i.hi))
        snprintf(hi, sizeof(hi), "%+.1f", d->median_i.hi / 1e6);
    snprintf(buf, 64, "%+.1f [%s, %s]", d->median_diff / 1e6, lo, hi);
}

static void table_row(const struct comparison *c, const struct report_difference *d, int width)
{
    char a[48], b[48], diff[64], p[24], holm[24], ms[64], ks[24], ks_holm[24], name[512];
    score(d->a, a);
    score(d->b, b);
    medians(d, ms);
    snprintf(diff, sizeof(diff), "%+.1f [%+.1f, %+.1f]", 100 * d->diff, 100 * d->interval.lo, 100 * d->interval.hi);
    snprintf(name, sizeof(name), c->options.labels[0] ? "%s/%s/%s" : "%s",
             c->options.labels[0] ? d->a->nat_a : d->a->name, d->a->nat_b, d->a->link);
    printf("%-*s  %9s  %9s  %24s  %8s  %8s  %22s  %8s  %8s%s\n", width, name, a, b, diff, p_text(d->p, p),
           p_text(d->p_holm, holm), ms, p_text(d->ks_p, ks), p_text(d->ks_p_holm, ks_holm),
           d->p_holm <= REPORT_ALPHA || d->ks_p_holm <= REPORT_ALPHA ? "  differs" : "");
}

static size_t different(const struct comparison *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += c->list[i].p_holm <= REPORT_ALPHA || c->list[i].ks_p_holm <= REPORT_ALPHA;
    return n;
}

static void print_table(const struct comparison *c)
{
    int width = 9;
    for (size_t i = 0; i < c->n; i++) {
        const struct report_cell *a = c->list[i].a;
        int len =
            (int)(c->options.labels[0] ? strlen(a->nat_a) + strlen(a->nat_b) + strlen(a->link) + 2 : strlen(a->name));
        width = len > width ? len : width;
    }
    printf("A = %s, B = %s: A minus B\n", c->names[0], c->names[1]);
    printf("%-*s  %9s  %9s  %24s  %8s  %8s  %22s  %8s  %8s\n", width, "", "A ok", "B ok", "success, points [95 %]", "p",
           "p (Holm)", "median, ms [95 %]", "p (KS)", "p (Holm)");
    for (size_t i = 0; i < c->n; i++)
        table_row(c, &c->list[i], width);
    struct report_counts k = report_count(c->list, c->n);
    printf("success: of %zu intervals %zu exclude 0 (%zu above, %zu below), without any difference up to %.0f would by "
           "chance; %zu differ after Holm's adjustment, %zu after Benjamini and Hochberg's\n",
           k.n, k.above + k.below, k.above, k.below, 0.05 * (double)k.n, k.holm, k.bh);
    printf("%zu compared; %zu differ in success or latency at %.2f after Holm's adjustment over all of them; %s\n",
           c->n, different(c), REPORT_ALPHA,
           c->options.paired ? "trials paired by number (exact McNemar test)"
                             : "trials are independent (Fisher's exact test)");
    if (c->alone[0] || c->alone[1])
        printf("only in %s: %zu cells; only in %s: %zu\n", c->names[0], c->alone[0], c->names[1], c->alone[1]);
}

/* ---- for programs ---------------------------------------------------------------------------- */

static json_t *real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *side_json(const struct report_cell *c, const struct report_latency *l)
{
    return json_pack("{s:s, s:I, s:I, s:o}", "cell", c->name, "trials", (json_int_t)c->n, "ok", (json_int_t)c->ok,
                     "connect_p50_ns", l->n ? json_integer((json_int_t)l->median) : json_null());
}

static json_t *difference_json(const struct report_difference *d)
{
    json_t *out = json_pack("{s:i, s:s, s:o, s:o}", "schema", RECORD_SCHEMA, "type", "difference", "a",
                            side_json(d->a, &d->la), "b", side_json(d->b, &d->lb));
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"rate_difference", d->diff},
        {"rate_difference_lo", d->interval.lo},
        {"rate_difference_hi", d->interval.hi},
        {"p", d->p},
        {"p_holm", d->p_holm},
        {"p_bh", d->p_bh},
        {"median_difference_ns", d->median_diff},
        {"median_difference_lo_ns", d->median_i.lo},
        {"median_difference_hi_ns", d->median_i.hi},
        {"ks_d", d->ks_d},
        {"ks_p", d->ks_p},
        {"ks_p_holm", d->ks_p_holm},
    };
    json_object_set_new(out, "paired", json_boolean(d->paired));
    for (size_t i = 0; i < BASE_ARRAY_LEN(numbers); i++)
        json_object_set_new(out, numbers[i].name, real_or_null(numbers[i].value));
    return out;
}

static int print_json(const struct comparison *c)
{
    for (size_t i = 0; i < c->n; i++) {
        json_t *line = difference_json(&c->list[i]);
        int res = line ? record_write_line(stdout, line) : -ENOMEM;
        json_decref(line);
        if (res < 0)
            return res;
    }
    return 0;
}

static void csv_number(double value)
{
    if (isfinite(value))
        printf(",%.10g", value);
    else
        putchar(',');
}

/* Names from a lab have no commas and no quotes; what others wrote loses them. */
static void csv_name(const char *name)
{
    for (; *name; name++)
        putchar(*name == ',' || *name == '"' || (unsigned char)*name < ' ' ? '_' : *name);
}

static void print_csv(const struct comparison *c)
{
    puts("cell_a,cell_b,trials_a,ok_a,trials_b,ok_b,paired,rate_difference,rate_difference_lo,rate_difference_hi,p,p_"
         "holm,p_bh,median_difference_ns,median_difference_lo_ns,median_difference_hi_ns,ks_d,ks_p,ks_p_holm");
    for (size_t i = 0; i < c->n; i++) {
        const struct report_difference *d = &c->list[i];
        csv_name(d->a->name);
        putchar(',');
        csv_name(d->b->name);
        printf(",%llu,%llu,%llu,%llu,%d", (unsigned long long)d->a->n, (unsigned long long)d->a->ok,
               (unsigned long long)d->b->n, (unsigned long long)d->b->ok, d->paired);
        const double numbers[] = {d->diff,        d->interval.lo, d->interval.hi, d->p,    d->p_holm, d->p_bh,
                                  d->median_diff, d->median_i.lo, d->median_i.hi, d->ks_d, d->ks_p,   d->ks_p_holm};
        for (size_t k = 0; k < BASE_ARRAY_LEN(numbers); k++)
            csv_number(numbers[k]);
        putchar('\n');
    }
}

static int show(const struct comparison *c)
{
    int res = 0;
    if (c->options.json)
        res = print_json(c);
    else if (c->options.csv)
        print_csv(c);
    else
        print_table(c);
    if (res == 0 && (fflush(stdout) != 0 || ferror(stdout)))
        res = -EIO;
    if (res < 0) {
        base_error("the comparison could not be written: %s", strerror(-res));
        return BASE_EXIT_USAGE;
    }
    if (!c->n) {
        base_error("%s and %s have no cell in common: nothing was compared", c->names[0], c->names[1]);
        return BASE_EXIT_USAGE;
    }
    return !c->options.labels[0] && different(c) ? BASE_EXIT_FAILED : BASE_EXIT_OK;
}

int campaign_cmd_compare(int argc, char **argv)
{
    static const struct argp argp = {option_table, parse_option, "A B\nDIR --techniques X,Y", doc, NULL, NULL, NULL};
    struct comparison c = {.n = 0};
    argp_parse(&argp, argc, argv, 0, NULL, &c.options);
    int status = load(&c) < 0 ? BASE_EXIT_USAGE : show(&c);
    free(c.list);
    report_set_free(&c.set);
    return status;
}
