/* Techniques that the user names. */
#include <errno.h>
#include <string.h>

#include "bench/campaign/report.h"

bool report_split_labels(char *arg, const char *out[2])
{
    char *comma = strchr(arg, ',');
    if (!comma || comma == arg || !comma[1] || strchr(comma + 1, ','))
        return false;
    *comma = '\0';
    out[0] = arg;
    out[1] = comma + 1;
    return true;
}

int report_check_label(const struct report_set *set, const char *label)
{
    char names[400] = "";
    for (size_t i = 0; i < set->n; i++) {
        const char *here = set->cells[i].label;
        if (strcmp(here, label) == 0)
            return 0;
        size_t len = strlen(names);
        bool there = i > 0 && strcmp(here, set->cells[i - 1].label) == 0;
        if (!there && !strstr(names, here))
            snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "", here);
    }
    base_error("no cell of this run has the technique '%s'; there are: %s", label, names);
    return -ENOENT;
}
