/* bench check: recorded results against what their campaign says should come out. */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/commands.h"
#include "bench/campaign/config.h"
#include "bench/campaign/report.h"
#include "bench/campaign/results.h"

static const char doc[] =
    "Recorded results against their campaign's expectations (the [expect] lines, as run.json has them).\v"
    "  bench check results/quick             one line a cell that is not as expected\n"
    "  bench check results/*                 every one of these folders\n"
    "\n"
    "Where several lines match a cell, the last one rules; cells without a trial are not judged, and counted. A line "
    "'= predicted' holds when the 99.9 % interval of what was measured contains the mean of what the trials' plans "
    "predicted (0 for what they called infeasible). Of such a campaign it is also said how many 95 % intervals contain "
    "it, which do not, and how many of those remain when so many comparisons are adjusted for.\n"
    "\n"
    "Exit status: 0 all is as expected, or nothing is expected; 1 usage or environment, a folder that cannot be read; "
    "2 a cell is not as expected.";

/* ---- expectations ---------------------------------------------------------------------------- */

/* "PATTERN = VALUE", as written into run.json. */
static int parse_expect(const char *text, struct campaign_expect *out, char err[CAMPAIGN_ERROR_LEN])
{
    char pattern[160];
    const char *equals = strstr(text, " = ");
    if (!equals || (size_t)(equals - text) >= sizeof(pattern))
        return campaign_fail(-EINVAL, err, "'%.100s' is no expectation", text);
    snprintf(pattern, sizeof(pattern), "%.*s", (int)(equals - text), text);
    return campaign_expect_parse(pattern, equals + 3, out, err);
}

struct expects {
    struct campaign_expect *list;
    size_t n;
};

static int read_expects(const struct report_run *run, struct expects *out, char err[CAMPAIGN_ERROR_LEN])
{
    const json_t *lines = json_object_get(json_object_get(run->json, "campaign"), "expect"), *each;
    char why[CAMPAIGN_ERROR_LEN];
    size_t i;
    *out = (struct expects){.list = calloc(json_array_size(lines) + 1, sizeof(*out->list))};
    if (!out->list)
        return campaign_fail(-ENOMEM, err, "no memory");
    json_array_foreach(lines, i, each)
    {
        const char *text = json_string_value(each);
        int res = text ? parse_expect(text, &out->list[out->n++], why) : campaign_fail(-EINVAL, why, "no text");
        if (res < 0)
            return campaign_fail(res, err, "%.150s/run.json: expectation %zu: %.250s", run->dir, i + 1, why);
    }
    return 0;
}

static const struct campaign_expect *rule_of(const struct expects *e, const struct report_cell *c)
{
    for (size_t i = e->n; i > 0; i--)
        if (campaign_pattern_matches(&e->list[i - 1].cells, c->nat_a, c->nat_b, c->label, c->link))
            return &e->list[i - 1];
    return NULL;
}

int report_check(FILE *out, const struct report_set *set, size_t run, size_t *judged, char err[CAMPAIGN_ERROR_LEN])
{
    struct expects expects;
    char found[160];
    int res = read_expects(&set->runs[run], &expects, err), violated = 0;
    *judged = 0;
    for (size_t i = 0; res == 0 && i < set->n; i++) {
        const struct report_cell *c = &set->cells[i];
        const struct campaign_expect *e = c->run == run && c->n ? rule_of(&expects, c) : NULL;
        *judged += e != NULL;
        if (!e || campaign_expect_holds(e, c->ok, c->n, report_expected(c), c->paths))
            continue;
        campaign_expect_found(found, sizeof(found), e, c->ok, c->n, c->paths);
        fprintf(out, "not as expected: %s: %s, but %s says %s\n", c->name, found, set->runs[run].name, e->text);
        violated++;
    }
    free(expects.list);
    return res < 0 ? res : violated;
}

int report_asked(const struct report_set *set, size_t run, struct report_predictions *predictions,
                 char err[CAMPAIGN_ERROR_LEN])
{
    struct expects expects;
    int res = read_expects(&set->runs[run], &expects, err);
    predictions->asked = predictions->asked_inside = 0;
    for (size_t i = 0; res == 0 && i < predictions->n; i++) {
        struct report_prediction *p = &predictions->list[i];
        const struct campaign_expect *e = rule_of(&expects, p->cell);
        p->asked = e && e->op == CAMPAIGN_PREDICTED;
        predictions->asked += p->asked;
        predictions->asked_inside += p->asked && p->inside;
    }
    free(expects.list);
    return res;
}

/* ---- predictions ----------------------------------------------------------------------------- */

static void print_outside(const struct report_prediction *p)
{
    const struct report_cell *c = p->cell;
    char score[48];
    snprintf(score, sizeof(score), "%llu/%llu", (unsigned long long)c->ok, (unsigned long long)c->n);
    printf("%9s  %5.1f %%  %5.1f - %5.1f %%  %6.2f %%  %8.2g  %8.2g  %-3s  %s\n", score,
           100 * (double)c->ok / (double)c->n, 100 * p->interval.lo, 100 * p->interval.hi, 100 * p->predicted, p->p,
           p->p_holm, p->asked ? "yes" : "no", c->name);
}

/* Only where a campaign asks for it: others' plans may predict for techniques that do not follow them. */
static void print_predictions(const struct report_run *run, const struct report_predictions *p)
{
    if (!p->asked)
        return;
    if (p->inside < p->n)
        printf("outside of their prediction:\n%9s  %7s  %15s  %8s  %8s  %8s  %-3s  %s\n", "ok/trials", "rate",
               "95 % interval", "predict.", "p", "p (Holm)", "asked", "cell");
    for (size_t i = 0; i < p->n; i++)
        if (!p->list[i].inside)
            print_outside(&p->list[i]);
    printf("%s: as predicted: %zu of %zu cells (%.1f %%) that are expected to be, %zu of %zu (%.1f %%) of all with a "
           "prediction; of %zu true predictions up to %.0f lie outside of a 95 %% interval by chance; %zu remain "
           "outside after Holm's adjustment, %zu after Benjamini and Hochberg's\n",
           run->dir, p->asked_inside, p->asked, 100 * (double)p->asked_inside / (double)p->asked, p->inside, p->n,
           100 * (double)p->inside / (double)p->n, p->n, 0.05 * (double)p->n, p->holm, p->bh);
    if (p->untried)
        printf("%s: %zu further cells were called infeasible in every trial, and not tried\n", run->dir, p->untried);
}

static int check_predictions(const struct report_set *set, size_t run, char err[CAMPAIGN_ERROR_LEN])
{
    struct report_predictions p;
    int res = report_predictions(set, run, &p);
    res = res < 0 ? campaign_fail(res, err, "no memory") : report_asked(set, run, &p, err);
    if (res == 0)
        print_predictions(&set->runs[run], &p);
    free(p.list);
    return res;
}

/* ---- the command ----------------------------------------------------------------------------- */

struct options {
    struct report_set set;
    const char *dirs[REPORT_MAX_RUNS];
    size_t n;
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (o->n == REPORT_MAX_RUNS)
            argp_error(state, "at most %d folders at once", REPORT_MAX_RUNS);
        o->dirs[o->n++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->n)
            argp_error(state, "which folder of results?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* How many cells are not as expected, or -errno: said on stderr. */
static int check_run(struct report_set *set, size_t run)
{
    char err[CAMPAIGN_ERROR_LEN];
    size_t judged, cells = 0, empty = 0;
    int violated = report_check(stdout, set, run, &judged, err);
    int res = violated < 0 ? violated : check_predictions(set, run, err);
    if (res < 0) {
        base_error("%s", err);
        return res;
    }
    for (size_t i = 0; i < set->n; i++) {
        cells += set->cells[i].run == run;
        empty += set->cells[i].run == run && !set->cells[i].n;
    }
    printf("%s: %zu cells, %zu without a trial, %zu with an expectation, %d not as expected\n", set->runs[run].dir,
           cells, empty, judged, violated);
    return violated;
}

static int check(struct options *o)
{
    char err[CAMPAIGN_ERROR_LEN];
    int violated = 0;
    for (size_t i = 0; i < o->n; i++) {
        if (report_read(&o->set, o->dirs[i], err) < 0) {
            base_error("%s", err);
            return BASE_EXIT_USAGE;
        }
        int n = check_run(&o->set, i);
        if (n < 0)
            return BASE_EXIT_USAGE;
        violated += n;
    }
    return violated ? BASE_EXIT_FAILED : BASE_EXIT_OK;
}

int campaign_cmd_check(int argc, char **argv)
{
    static const struct argp argp = {NULL, parse_option, "DIR...", doc, NULL, NULL, NULL};
    struct options o = {.n = 0};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    int status = check(&o);
    report_set_free(&o.set);
    return status;
}
