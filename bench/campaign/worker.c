/*
 * One range of one cell's trials, in a process of its own: a lab, programs in it, and trial by trial: fresh NATs, one
 * joint record. It goes from wait to wait, each with a deadline; the loop runs, and with it the lab's packets, inside
 * the waits.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/campaign/worker.h"

/* How often the coordinator hears how late packets are. */
#define LATE_EVERY_NS (500 * BASE_NS_PER_MS)

/* ---- telling the coordinator ----------------------------------------------------------------- */

void worker_tell(struct worker *w, const char *line, size_t len)
{
    while (len > 0) {
        ssize_t n = write(w->fd, line, len);
        if (n < 0 && errno == EINTR)
            continue;
        /* The coordinator is gone: so is the reason to go on. */
        if (n < 0)
            _exit(BASE_EXIT_FAILED);
        line += n;
        len -= (size_t)n;
    }
}

int worker_failed(struct worker *w, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    if (w->failed)
        return -EIO;
    w->failed = true;
    line[0] = CAMPAIGN_LINE_FAILED;
    va_start(args, fmt);
    vsnprintf(line + 1, sizeof(line) - 2, fmt, args);
    va_end(args);
    size_t len = strlen(line);
    for (size_t i = 0; i < len; i++)
        if (line[i] == '\n')
            line[i] = ' ';
    line[len] = '\n';
    worker_tell(w, line, len + 1);
    return -EIO;
}

/* ---- trials ---------------------------------------------------------------------------------- */

static int check_record(struct worker *w, uint64_t trial)
{
    struct record_view view;
    int res = record_view_parse(w->record, strlen(w->record), &view);
    if (res < 0)
        return worker_failed(w, "rendezvous wrote something else than a record: %.200s", w->record);
    if (strcmp(view.cell, w->job->cell->name) != 0 || view.trial != trial)
        return worker_failed(w, "rendezvous wrote trial %llu of %s where trial %llu of %s was due",
                             (unsigned long long)view.trial, view.cell, (unsigned long long)trial, w->job->cell->name);
    return 0;
}

static const struct worker_measurer *measurer_of(const struct worker *w)
{
    return w->job->cell->choice->exec.used ? &worker_exec : &worker_peers;
}

static int run_trial(struct worker *w, uint64_t trial)
{
    int res = lab_reset_nats(w->hosts.lab);
    if (res < 0)
        return worker_failed(w, "the NATs could not be reset: %s", strerror(-res));
    res = measurer_of(w)->trial(w, trial);
    campaign_restarts_stop(&w->restarts);
    if (res == 0)
        res = check_record(w, trial);
    if (res == 0 && w->restarts.err < 0)
        res = worker_failed(w, "a NAT could not restart: %s", campaign_restarts_explain(w->restarts.err));
    if (res == 0 &&
        (campaign_nats_path(w->hosts.lab, &w->record) < 0 || campaign_nats_append(w->hosts.lab, &w->record) < 0))
        res = worker_failed(w, "what the NATs did could not be read");
    if (res == 0 && trial >= w->job->first)
        worker_tell(w, w->record, strlen(w->record));
    free(w->record);
    w->record = NULL;
    return res;
}

/* Since it was last told, at most so often. */
static void tell_lateness(struct worker *w, uint64_t interval_ns)
{
    struct lab_counters counters;
    uint64_t now = base_now_ns();
    char line[32];
    if (!w->hosts.lab || now - w->told_late_ns < interval_ns)
        return;
    w->told_late_ns = now;
    lab_counters(w->hosts.lab, &counters);
    lab_restart_lateness(w->hosts.lab);
    int len = snprintf(line, sizeof(line), "%c%llu\n", CAMPAIGN_LINE_LATE, (unsigned long long)counters.late_p99_ns);
    worker_tell(w, line, (size_t)len);
}

static int start_capture(struct worker *w)
{
    const struct campaign_job *job = w->job;
    char dir[PATH_MAX], err[LAB_ERROR_LEN];
    if (!job->pcap.dir)
        return 0;
    if (campaign_pcap_dir(&job->pcap, job->cell->name, worker_first_made(w), dir) < 0)
        return worker_failed(w, "--pcap %.200s: the path is too long", job->pcap.dir);
    if (campaign_pcap_start(w->hosts.lab, dir, job->pcap.limit, err) < 0)
        return worker_failed(w, "no capture: %s", err);
    return 0;
}

static int measure(struct worker *w)
{
    static const char started[2] = {CAMPAIGN_LINE_STARTED, '\n'};
    const struct campaign_job *job = w->job;
    char err[LAB_ERROR_LEN];
    int res = campaign_hosts_create(&w->hosts, w->loop, job->cell->seed, job->cell->nat_a, job->cell->nat_b,
                                    job->cell->link, err);
    if (res < 0)
        return worker_failed(w, "no lab: %s", err);
    campaign_restarts_init(&w->restarts, w->loop, &w->hosts, job->cell->link);
    if (start_capture(w) < 0)
        return -EIO;
    res = measurer_of(w)->begin(w);
    if (res == 0)
        worker_tell(w, started, sizeof(started));
    w->told_late_ns = base_now_ns();
    for (uint64_t t = worker_first_made(w); res == 0 && t < job->first + job->count; t++) {
        res = run_trial(w, t);
        tell_lateness(w, LATE_EVERY_NS);
    }
    return res == 0 ? measurer_of(w)->end(w) : res;
}

/* ---- life ------------------------------------------------------------------------------------ */

int campaign_worker_main(const struct campaign_job *job, int fd)
{
    struct worker w = {.job = job, .fd = fd, .step_fd = -1};
    /* A program that has died is noticed by its pidfd. */
    signal(SIGPIPE, SIG_IGN);
    int res = loop_create(&w.loop, 0);
    if (res < 0) {
        worker_failed(&w, "%s", loop_explain(res));
        return BASE_EXIT_FAILED;
    }
    worker_program_init(&w.s, "rendezvous", "s", w.loop);
    worker_program_init(&w.a, "peer", "a", w.loop);
    worker_program_init(&w.b, "peer", "b", w.loop);
    res = measure(&w);
    tell_lateness(&w, 0);
    /* Kills what still runs; then nothing can come from the pipes any more. */
    campaign_hosts_destroy(&w.hosts);
    campaign_restarts_stop(&w.restarts);
    measurer_of(&w)->stop(&w);
    free(w.record);
    while (loop_pending(w.loop) > 0 && loop_run_once(w.loop, WORKER_STEP_NS) == 0)
        ;
    loop_destroy(w.loop);
    return res == 0 ? BASE_EXIT_OK : BASE_EXIT_FAILED;
}
