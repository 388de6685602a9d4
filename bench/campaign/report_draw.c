/* gnuplot draws all plots of a report in one run: it is started, never linked. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/campaign/places.h"
#include "bench/campaign/report.h"

#define DRIVER "draw.gp"
#define LOG    "gnuplot.log"

/* One assignment list and one script a figure. Nothing in it comes from records but what report_plain() and
 * report_file_part() made. */
static int write_driver(const struct report_figures *figures, const char *dir)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof(path), "%s/" DRIVER, dir) >= sizeof(path))
        return -ENAMETOOLONG;
    FILE *f = fopen(path, "we");
    if (!f)
        return -errno;
    for (size_t i = 0; i < figures->n; i++) {
        const struct report_figure *fig = &figures->list[i];
        fprintf(f, "data = '%s.tsv'; out = '%s.svg'; name = 'f%zu'; %s\nload '%s'\n", fig->id, fig->id, i, fig->params,
                fig->script);
    }
    /* Without it the last file stays open. */
    fputs("unset output\n", f);
    bool bad = ferror(f) != 0;
    return fclose(f) != 0 || bad ? -EIO : 0;
}

/* In the child. */
static void become_gnuplot(const char *dir)
{
    char scripts[PATH_MAX];
    char *absolute;
    snprintf(scripts, sizeof(scripts), "%s/report", campaign_data_dir());
    /* Where `load` looks; the data are in the folder that we go to. */
    absolute = realpath(scripts, NULL);
    if (absolute)
        setenv("GNUPLOT_LIB", absolute, 1);
    int log = chdir(dir) == 0 ? open(LOG, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
    int none = open("/dev/null", O_RDWR);
    if (log < 0 || none < 0)
        _exit(126);
    dup2(none, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    /* -d: nobody's own settings. */
    execlp("gnuplot", "gnuplot", "-d", DRIVER, (char *)NULL);
    _exit(errno == ENOENT ? 127 : 126);
}

/* The first line that gnuplot said, for people. */
static void first_word(const char *dir, char *out, size_t cap)
{
    char path[PATH_MAX], line[256];
    snprintf(out, cap, "it said nothing");
    if ((size_t)snprintf(path, sizeof(path), "%s/" LOG, dir) >= sizeof(path))
        return;
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[strspn(line, " ^")] && strstr(line, "line ")) {
            snprintf(out, cap, "%.200s", line);
            break;
        }
    }
    fclose(f);
}

static void remove_file(const char *dir, const char *name)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) < sizeof(path))
        unlink(path);
}

int report_plots_draw(const struct report_figures *figures, const char *dir, char err[CAMPAIGN_ERROR_LEN])
{
    int status = 0;
    char said[CAMPAIGN_ERROR_LEN];
    int res = write_driver(figures, dir);
    if (res < 0)
        return campaign_fail(res, err, "%.200s/" DRIVER " cannot be written: %s", dir, strerror(-res));
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        become_gnuplot(dir);
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return campaign_fail(-errno, err, "gnuplot could not be started: %s", strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return campaign_fail(-ENOENT, err,
                             "gnuplot is missing, which draws the plots: install it (Debian: gnuplot-nox)");
    first_word(dir, said, sizeof(said));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return campaign_fail(-EIO, err, "gnuplot failed: %.300s", said);
    remove_file(dir, DRIVER);
    remove_file(dir, LOG);
    return 0;
}
