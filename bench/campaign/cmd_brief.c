/* bench brief: records without the details of their successes, for keeping. */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/commands.h"
#include "bench/campaign/report.h"

static const char doc[] =
    "Prints a folder's records, those of successes without what only one side knows, and without what the NATs did.\v"
    "  bench brief results/matrix | xz -9e >trials.jsonl.xz\n"
    "\n"
    "For campaigns too large to be kept whole. Of a success the joint members stay as they are, and of each side its "
    "counters: its durations and endpoints go, and the NATs' counters. Such a record has \"brief\": true. Failures "
    "stay "
    "whole. bench report, compare and check say the same of both. The order of the trials stays.\n"
    "\n"
    "Exit status: 0 printed; 1 usage or environment: no such results, a broken record, a full disk.";

/* What is of one side alone: durations on its own clock, and where it was. */
static const char *const of_a_side[] = {"connect_ns", "total_ns", "choose_ns",  "rtt_ns",    "spray_ns",
                                        "phases_ns",  "mapped",   "local_port", "open_files"};

static int make_brief(json_t *record)
{
    static const char *const sides[] = {"a", "b"};
    for (size_t s = 0; s < BASE_ARRAY_LEN(sides); s++) {
        json_t *side = json_object_get(record, sides[s]);
        for (size_t i = 0; i < BASE_ARRAY_LEN(of_a_side); i++)
            json_object_del(side, of_a_side[i]);
    }
    json_object_del(record, "nats");
    return json_object_set_new(record, "brief", json_true()) < 0 ? -ENOMEM : 0;
}

static int put_line(void *user, const char *line, size_t len, char err[CAMPAIGN_ERROR_LEN])
{
    FILE *out = user;
    struct record_view view;
    json_t *record = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    int res = record ? record_view_read(record, &view) : -EBADMSG;
    if (res < 0)
        campaign_fail(res, err, "%s",
                      res == -EPROTONOSUPPORT ? "a record of a newer version: use that version"
                                              : "no trial record; look at it, and remove it to go on");
    if (res == 0 && view.outcome == RECORD_OK) {
        res = make_brief(record);
        if (res == 0)
            res = record_write_line(out, record);
    } else if (res == 0 && fprintf(out, "%s\n", line) < 0) {
        res = -EIO;
    }
    if (res < 0 && res != -EBADMSG && res != -EPROTONOSUPPORT)
        campaign_fail(res, err, "cannot be printed: %s", strerror(-res));
    json_decref(record);
    return res;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    const char **dir = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (*dir)
            return ARGP_ERR_UNKNOWN;
        *dir = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which folder of results?");
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int campaign_cmd_brief(int argc, char **argv)
{
    static const struct argp argp = {NULL, parse_option, "DIR", doc, NULL, NULL, NULL};
    const char *dir = NULL;
    char err[CAMPAIGN_ERROR_LEN];
    argp_parse(&argp, argc, argv, 0, NULL, &dir);
    if (report_lines(dir, put_line, stdout, err) < 0) {
        base_error("%s", err);
        return BASE_EXIT_USAGE;
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        base_error("the records could not be written: %s", strerror(errno));
        return BASE_EXIT_USAGE;
    }
    return BASE_EXIT_OK;
}
