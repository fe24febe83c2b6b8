/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watching descriptors: ppoll while there are few, epoll from then on.
 *
 * A handler is never changed: setting another callback makes a new one and marks the old one dead.
 * So the home thread calls callbacks without a lock, and looks at is_dead only.
 */
#include "qemu/osdep.h"

#include <sys/epoll.h>

#include "aio-internal.h"

#define EPOLL_FROM 9
#define EPOLL_EVENTS 64

struct AioHandler {
    /* Fixed. */
    int fd;
    IOHandler *io_read;
    IOHandler *io_write;
    void *opaque;
    bool is_internal;
    bool is_always_ready;              /* epoll refused it: a plain file */

    bool is_dead;                      /* atomic */
    QLIST_ENTRY(AioHandler) next;      /* under the monitor's lock */

    /* Home thread. */
    short revents;
    QSIMPLEQ_ENTRY(AioHandler) ready;
};

void fd_monitor_init(FdMonitor *m)
{
    qemu_mutex_init(&m->lock);
    QLIST_INIT(&m->handlers);
    QLIST_INIT(&m->dead);
    QSIMPLEQ_INIT(&m->ready);
    m->epoll_fd = -1;
}

void fd_monitor_done(FdMonitor *m)
{
    AioHandler *h, *next;

    QLIST_FOREACH_SAFE(h, &m->handlers, next, next) {
        g_free(h);
    }
    QLIST_FOREACH_SAFE(h, &m->dead, next, next) {
        g_free(h);
    }
    if (m->epoll_fd >= 0) {
        close(m->epoll_fd);
    }
    g_free(m->fds);
    g_free(m->owners);
    qemu_mutex_destroy(&m->lock);
}

static short handler_events(const AioHandler *h)
{
    return (h->io_read ? POLLIN : 0) | (h->io_write ? POLLOUT : 0);
}

/* ---- changing; under the lock ---------------------------------------------------------------- */
static void epoll_change(FdMonitor *m, AioHandler *old, AioHandler *h)
{
    struct epoll_event event = { 0 };
    int op = EPOLL_CTL_DEL;
    int fd = h ? h->fd : old->fd;

    if (old && old->is_always_ready) {
        qatomic_dec(&m->n_always_ready);
        old = NULL;
    }
    if (h) {
        op = old ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
        /* The bits of poll and epoll are the same. */
        event.events = handler_events(h);
        event.data.ptr = h;
    }
    if ((old || h) && epoll_ctl(m->epoll_fd, op, fd, &event) < 0 && h) {
        h->is_always_ready = true;
        qatomic_inc(&m->n_always_ready);
    }
}

static void epoll_start(FdMonitor *m)
{
    AioHandler *h;

    int fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd < 0) {
        /* ppoll does it too. */
        return;
    }
    qatomic_set(&m->epoll_fd, fd);
    QLIST_FOREACH(h, &m->handlers, next) {
        epoll_change(m, NULL, h);
    }
}

static void handlers_replace(FdMonitor *m, int fd, AioHandler *h)
{
    AioHandler *old;

    QLIST_FOREACH(old, &m->handlers, next) {
        if (old->fd == fd) {
            break;
        }
    }
    if (!old && !h) {
        return;
    }
    if (old) {
        QLIST_REMOVE(old, next);
        m->count--;
        qatomic_store_release(&old->is_dead, true);
        QLIST_INSERT_HEAD(&m->dead, old, next);
        qatomic_set(&m->has_dead, true);
    }
    if (h) {
        QLIST_INSERT_HEAD(&m->handlers, h, next);
        m->count++;
    }
    if (m->epoll_fd >= 0) {
        epoll_change(m, old, h);
    } else if (m->count >= EPOLL_FROM) {
        epoll_start(m);
    }
    qatomic_set(&m->is_stale, true);
}

static AioHandler *handler_new(int fd, IOHandler *io_read, IOHandler *io_write, void *opaque)
{
    AioHandler *h = g_new0(AioHandler, 1);

    h->fd = fd;
    h->io_read = io_read;
    h->io_write = io_write;
    h->opaque = opaque;
    return h;
}

void aio_set_fd_handler(AioContext *ctx, int fd, IOHandler *io_read, IOHandler *io_write,
                        void *opaque)
{
    AioHandler *h = io_read || io_write ? handler_new(fd, io_read, io_write, opaque) : NULL;

    qemu_mutex_lock(&ctx->fds.lock);
    handlers_replace(&ctx->fds, fd, h);
    qemu_mutex_unlock(&ctx->fds.lock);
    aio_notify(ctx);
}

void fd_monitor_add_internal(FdMonitor *m, int fd, IOHandler *io_read, void *opaque)
{
    AioHandler *h = handler_new(fd, io_read, NULL, opaque);

    h->is_internal = true;
    qemu_mutex_lock(&m->lock);
    handlers_replace(m, fd, h);
    qemu_mutex_unlock(&m->lock);
}

void fd_monitor_reap(FdMonitor *m)
{
    AioHandler *h, *next;

    if (!qatomic_read(&m->has_dead)) {
        return;
    }
    qemu_mutex_lock(&m->lock);
    QLIST_FOREACH_SAFE(h, &m->dead, next, next) {
        g_free(h);
    }
    QLIST_INIT(&m->dead);
    qatomic_set(&m->has_dead, false);
    /* The next wait must not see the old ones in the table. */
    qatomic_set(&m->is_stale, true);
    qemu_mutex_unlock(&m->lock);
}

/* ---- waiting --------------------------------------------------------------------------------- */
static void handler_ready(FdMonitor *m, AioHandler *h, short revents)
{
    if (!h->revents) {
        QSIMPLEQ_INSERT_TAIL(&m->ready, h, ready);
    }
    h->revents |= revents;
}

/* Lay out @fds: @n_extra places, then the handlers, or the epoll descriptor. */
static void table_build(FdMonitor *m, int n_extra)
{
    int need;
    AioHandler *h;

    qemu_mutex_lock(&m->lock);
    need = n_extra + (m->epoll_fd >= 0 ? 1 : m->count);
    if (need > m->capacity) {
        m->capacity = need * 2;
        m->fds = g_renew(struct pollfd, m->fds, m->capacity);
        m->owners = g_renew(AioHandler *, m->owners, m->capacity);
    }
    m->n_fds = n_extra;
    if (m->epoll_fd >= 0) {
        m->owners[m->n_fds] = NULL;
        m->fds[m->n_fds++] = (struct pollfd) { .fd = m->epoll_fd, .events = POLLIN };
    } else {
        QLIST_FOREACH(h, &m->handlers, next) {
            m->owners[m->n_fds] = h;
            m->fds[m->n_fds++] = (struct pollfd) { .fd = h->fd, .events = handler_events(h) };
        }
    }
    qatomic_set(&m->is_stale, n_extra > 0);
    qemu_mutex_unlock(&m->lock);
}

static void epoll_collect(FdMonitor *m, int timeout_ms)
{
    struct epoll_event events[EPOLL_EVENTS];
    int n = epoll_wait(m->epoll_fd, events, EPOLL_EVENTS, timeout_ms);

    for (int i = 0; i < n; i++) {
        handler_ready(m, events[i].data.ptr, events[i].events);
    }
}

static void always_ready_collect(FdMonitor *m)
{
    AioHandler *h;

    qemu_mutex_lock(&m->lock);
    QLIST_FOREACH(h, &m->handlers, next) {
        if (h->is_always_ready) {
            handler_ready(m, h, handler_events(h) & (POLLIN | POLLOUT));
        }
    }
    qemu_mutex_unlock(&m->lock);
}

static void poll_collect(FdMonitor *m, int64_t timeout_ns, struct pollfd *extra, int n_extra)
{
    struct timespec ts = {
        .tv_sec = timeout_ns / NANOSECONDS_PER_SECOND,
        .tv_nsec = timeout_ns % NANOSECONDS_PER_SECOND,
    };
    int n;

    if (n_extra > 0 || qatomic_read(&m->is_stale) || m->n_fds == 0) {
        table_build(m, n_extra);
        /* extra may be NULL then, which memcpy does not like. */
        if (n_extra > 0) {
            memcpy(m->fds, extra, n_extra * sizeof(*extra));
        }
    }
    n = ppoll(m->fds, m->n_fds, timeout_ns < 0 ? NULL : &ts, NULL);
    for (int i = 0; i < n_extra; i++) {
        extra[i].revents = n > 0 ? m->fds[i].revents : 0;
    }
    for (int i = n_extra; n > 0 && i < m->n_fds; i++) {
        if (m->fds[i].revents && m->owners[i]) {
            handler_ready(m, m->owners[i], m->fds[i].revents);
        } else if (m->fds[i].revents) {
            epoll_collect(m, 0);
        }
    }
}

void fd_monitor_wait(FdMonitor *m, int64_t timeout_ns, struct pollfd *extra, int n_extra)
{
    if (unlikely(qatomic_read(&m->n_always_ready))) {
        always_ready_collect(m);
        timeout_ns = 0;
    }
    if (qatomic_read(&m->epoll_fd) >= 0 && n_extra == 0 && timeout_ns <= 0) {
        epoll_collect(m, timeout_ns < 0 ? -1 : 0);
    } else {
        /* epoll_wait counts in milliseconds only. */
        poll_collect(m, timeout_ns, extra, n_extra);
    }
}

/* ---- calling --------------------------------------------------------------------------------- */
bool fd_monitor_dispatch(FdMonitor *m)
{
    bool progress = false;

    while (!QSIMPLEQ_EMPTY(&m->ready)) {
        AioHandler *h = QSIMPLEQ_FIRST(&m->ready);
        short revents = h->revents;

        QSIMPLEQ_REMOVE_HEAD(&m->ready, ready);
        h->revents = 0;
        if (h->io_read && (revents & (POLLIN | POLLHUP | POLLERR | POLLNVAL)) &&
            !qatomic_load_acquire(&h->is_dead)) {
            h->io_read(h->opaque);
            progress |= !h->is_internal;
        }
        if (h->io_write && (revents & (POLLOUT | POLLHUP | POLLERR | POLLNVAL)) &&
            !qatomic_load_acquire(&h->is_dead)) {
            h->io_write(h->opaque);
            progress = true;
        }
    }
    return progress;
}
