/* Thousands of sockets in flight: a table, and one epoll descriptor that the loop polls for all of them. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tcp_punch/synspray_internal.h"

#define NO_ENTRY UINT32_MAX
/* Events taken in one go. */
#define MAX_EVENTS 64

int synspray_sockets_open(struct synspray *s, uint32_t n)
{
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll_fd < 0)
        return -errno;
    s->entries = calloc(n, sizeof(*s->entries));
    if (!s->entries)
        return -ENOMEM;
    s->n_entries = n;
    for (uint32_t i = 0; i < n; i++) {
        s->entries[i].fd = -1;
        s->entries[i].next_free = i + 1 < n ? i + 1 : NO_ENTRY;
    }
    return 0;
}

struct synspray_entry *synspray_entry_take(struct synspray *s)
{
    if (s->free_entry == NO_ENTRY || s->n_entries == 0)
        return NULL;
    struct synspray_entry *e = &s->entries[s->free_entry];
    s->free_entry = e->next_free;
    return e;
}

void synspray_entry_free(struct synspray *s, struct synspray_entry *e)
{
    e->fd = -1;
    e->generation++; /* an event of its old socket finds nobody */
    e->next_free = s->free_entry;
    s->free_entry = (uint32_t)(e - s->entries);
}

void synspray_close_fd(int fd)
{
    /* A socket in SYN_SENT goes silently; one that has just connected is reset. */
    struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
}

int synspray_watch(struct synspray *s, struct synspray_entry *e, int fd)
{
    struct epoll_event event = {.events = EPOLLOUT,
                                .data.u64 = (uint64_t)e->generation << 32 | (uint32_t)(e - s->entries)};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        int err = -errno;
        synspray_close_fd(fd);
        return err;
    }
    e->fd = fd;
    s->in_flight++;
    return 0;
}

void synspray_entry_drop(struct synspray *s, struct synspray_entry *e)
{
    synspray_close_fd(e->fd);
    s->in_flight--;
    synspray_entry_free(s, e);
}

void synspray_drop_all(struct synspray *s)
{
    for (uint32_t i = 0; i < s->n_entries && s->in_flight > 0; i++)
        if (s->entries[i].fd >= 0)
            synspray_entry_drop(s, &s->entries[i]);
}

static void connected(struct synspray *s, struct synspray_entry *e)
{
    union base_ep remote = e->to;
    int fd = e->fd;
    epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    s->in_flight--;
    synspray_entry_free(s, e);
    peer_trial_count(s->trial, "landed", 1);
    s->landed++;
    if (peer_tcp_offer(s->trial, fd, &remote) == 0)
        s->live++;
}

static void one_ready(struct synspray *s, uint64_t data)
{
    struct synspray_entry *e = &s->entries[(uint32_t)data];
    int err = 0;
    socklen_t len = sizeof(err);
    if (e->fd < 0 || e->generation != (uint32_t)(data >> 32))
        return;
    if (getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        err = errno;
    if (err == 0)
        connected(s, e);
    else if (s->aiming)
        synspray_hole_failed(s, e, -err);
    else
        synspray_probe_failed(s, e, -err);
}

void synspray_ready(struct synspray *s)
{
    struct epoll_event events[MAX_EVENTS];
    int n = epoll_wait(s->epoll_fd, events, MAX_EVENTS, 0);
    for (int i = 0; i < n && !s->stopping; i++)
        one_ready(s, events[i].data.u64);
}

void synspray_sockets_close(struct synspray *s)
{
    synspray_drop_all(s);
    if (s->epoll_fd >= 0)
        close(s->epoll_fd);
    s->epoll_fd = -1;
    free(s->entries);
    s->entries = NULL;
    s->n_entries = 0;
}
