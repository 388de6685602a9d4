/* report.html and plots/ into a folder: prepared beside what is there, then put in its place. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/campaign/places.h"
#include "bench/campaign/report.h"

struct places {
    char fresh_plots[PATH_MAX], plots[PATH_MAX], fresh_page[PATH_MAX], page[PATH_MAX];
};

static int name_places(struct places *p, const char *dir)
{
    static const char *const names[] = {"plots.new", "plots", "report.html.new", "report.html"};
    char *const paths[] = {p->fresh_plots, p->plots, p->fresh_page, p->page};
    for (size_t i = 0; i < BASE_ARRAY_LEN(names); i++)
        if ((size_t)snprintf(paths[i], PATH_MAX, "%s/%s", dir, names[i]) >= PATH_MAX)
            return -ENAMETOOLONG;
    return 0;
}

static bool is_ours(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (strcmp(dot, ".svg") == 0 || strcmp(dot, ".tsv") == 0 || strcmp(name, "draw.gp") == 0 ||
                   strcmp(name, "gnuplot.log") == 0);
}

/* Takes away the plots in a folder, and the folder when nothing else is in it. */
static void clear_plots(const char *dir)
{
    char path[PATH_MAX];
    const struct dirent *e;
    DIR *d = opendir(dir);
    if (!d)
        return;
    while ((e = readdir(d)))
        if (is_ours(e->d_name) && (size_t)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) < sizeof(path))
            unlink(path);
    closedir(d);
    rmdir(dir);
}

static int write_page(struct report_set *set, const struct report_figures *figures, const struct places *p,
                      char err[CAMPAIGN_ERROR_LEN])
{
    FILE *out = fopen(p->fresh_page, "we");
    if (!out)
        return campaign_fail(-errno, err, "%.300s cannot be written: %s", p->fresh_page, strerror(errno));
    int res = report_html(out, set, figures, p->fresh_plots, err);
    if (fclose(out) != 0 && res == 0)
        res = campaign_fail(-EIO, err, "%.300s cannot be written: %s", p->fresh_page, strerror(errno));
    return res;
}

static int put_in_place(const struct places *p, char err[CAMPAIGN_ERROR_LEN])
{
    clear_plots(p->plots);
    if (rename(p->fresh_plots, p->plots) < 0 || rename(p->fresh_page, p->page) < 0)
        return campaign_fail(-errno, err, "%.200s cannot be put in its place: %s (is something else in plots/?)",
                             p->fresh_plots, strerror(errno));
    return 0;
}

int report_write(struct report_set *set, const char *dir, char err[CAMPAIGN_ERROR_LEN])
{
    struct places p;
    struct report_figures *figures = calloc(1, sizeof(*figures));
    int res = figures ? name_places(&p, dir) : -ENOMEM;
    if (res == 0)
        res = campaign_make_dirs(dir);
    if (res == 0) {
        clear_plots(p.fresh_plots);
        res = campaign_make_dirs(p.fresh_plots);
    }
    if (res == 0)
        res = report_plots_prepare(set, p.fresh_plots, figures);
    if (res < 0)
        campaign_fail(res, err, "%.200s: the report cannot be written: %s", dir, strerror(-res));
    if (res == 0)
        res = report_plots_draw(figures, p.fresh_plots, err);
    if (res == 0)
        res = write_page(set, figures, &p, err);
    if (res == 0)
        res = put_in_place(&p, err);
    if (res < 0 && figures) {
        clear_plots(p.fresh_plots);
        unlink(p.fresh_page);
    }
    free(figures);
    return res;
}
