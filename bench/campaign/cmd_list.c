/* bench list: what there is to measure, and with what. */
#include <argp.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "bench/campaign/commands.h"
#include "bench/campaign/places.h"

enum { KEY_JSON = 256, KEY_PROFILES };

struct options {
    bool json;
    const char *profiles;
};

static const struct argp_option option_table[] = {
    {"json", KEY_JSON, NULL, 0, "one JSON object, for programs", 1},
    {"profiles", KEY_PROFILES, "DIR", 0, "where the NAT profiles are", 2},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const char doc[] = "Lists NAT profiles, campaigns and techniques.\v"
                          "  bench list\n"
                          "  bench list --json | jq -r '.profiles[].name'\n"
                          "\n"
                          "Profiles and campaigns are INI files in the folder that $PUNCHBENCH_DATA names, or where "
                          "this program was installed.";

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case KEY_JSON:
        o->json = true;
        return 0;
    case KEY_PROFILES:
        o->profiles = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- INI files describe themselves ----------------------------------------------------------- */

/* The first sentence of the comment at the top. */
static void describe(const char *path, char *buf, size_t cap)
{
    char line[512];
    FILE *f = fopen(path, "re");
    buf[0] = '\0';
    if (!f)
        return;
    while (fgets(line, sizeof(line), f) && (*line == ';' || *line == '#')) {
        char *text = line + 1 + strspn(line + 1, " \t;#");
        text[strcspn(text, "\n")] = '\0';
        size_t len = strlen(buf);
        snprintf(buf + len, cap - len, "%s%s", len ? " " : "", text);
    }
    fclose(f);
    char *end = strpbrk(buf, ".:");
    while (end && end[1] != ' ' && end[1] != '\0')
        end = strpbrk(end + 1, ".:");
    if (end)
        *end = '\0';
}

static json_t *list_folder(const char *dir)
{
    char pattern[PATH_MAX], text[2048];
    json_t *list = json_array();
    glob_t found;
    if ((size_t)snprintf(pattern, sizeof(pattern), "%s/*.ini", dir) >= sizeof(pattern) ||
        glob(pattern, 0, NULL, &found) != 0)
        return list;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i], *name = strrchr(path, '/') + 1;
        describe(path, text, sizeof(text));
        json_array_append_new(
            list, json_pack("{s:s%, s:s, s:s}", "name", name, strlen(name) - 4, "description", text, "path", path));
    }
    globfree(&found);
    return list;
}

static json_t *list_techniques(void)
{
    json_t *list = json_array();
    for (const struct campaign_technique *t = campaign_techniques(); t->name; t++) {
        json_t *modes = json_array();
        for (const char *const *m = t->modes; *m; m++)
            json_array_append_new(modes, json_string(*m));
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o, s:s}", "name", t->name, "program", t->program,
                                              "transport", t->transport, "modes", modes, "description", t->doc));
    }
    return list;
}

/* ---- output ---------------------------------------------------------------------------------- */

static void print_list(const char *title, const json_t *list)
{
    size_t i;
    json_t *item;
    printf("%s\n", title);
    if (json_array_size(list) == 0)
        puts("  (none)");
    json_array_foreach(list, i, item)
    {
        const json_t *modes = json_object_get(item, "modes");
        printf("  %-18s %s", json_string_value(json_object_get(item, "name")),
               json_string_value(json_object_get(item, "description")));
        for (size_t m = 0; m < json_array_size(modes); m++)
            printf("%s%s", m ? ", " : " (modes: ", json_string_value(json_array_get(modes, m)));
        puts(json_array_size(modes) ? ")" : "");
    }
}

int campaign_cmd_list(int argc, char **argv)
{
    static const struct argp argp = {option_table, parse_option, NULL, doc, NULL, NULL, NULL};
    struct options o = {0};
    char profiles[PATH_MAX], campaigns[PATH_MAX];
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    snprintf(profiles, sizeof(profiles), "%s%s", o.profiles ? o.profiles : campaign_data_dir(),
             o.profiles ? "" : "/profiles");
    snprintf(campaigns, sizeof(campaigns), "%s/campaigns", campaign_data_dir());
    json_t *all = json_pack("{s:i, s:o, s:o, s:o}", "schema", 1, "profiles", list_folder(profiles), "campaigns",
                            list_folder(campaigns), "techniques", list_techniques());
    if (!all) {
        base_error("no memory");
        return BASE_EXIT_USAGE;
    }
    if (o.json) {
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_list("NAT profiles:", json_object_get(all, "profiles"));
        print_list("\nCampaigns (bench run NAME):", json_object_get(all, "campaigns"));
        print_list("\nTechniques (NAME or NAME:MODE in a campaign):", json_object_get(all, "techniques"));
    }
    json_decref(all);
    return BASE_EXIT_OK;
}
