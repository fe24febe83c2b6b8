/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all channels have in common: life, waiting, transfers of a whole iovec. */
#include "qemu/osdep.h"
#include <sys/socket.h>

#include "channel-int.h"

#include "qemu/atomic.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"

/* ---- life ------------------------------------------------------------------------------------ */

static void make_nonblocking(int fd)
{
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

    if (flags >= 0 && !(flags & O_NONBLOCK)) {
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
}

QIOChannel *qio_channel_new(const QIOChannelOps *ops, int read_fd, int write_fd)
{
    QIOChannel *ioc = g_new0(QIOChannel, 1);

    ioc->ops = ops;
    ioc->refcnt = 1;
    ioc->read_fd = read_fd;
    ioc->write_fd = write_fd;
    qemu_mutex_init(&ioc->lock);
    make_nonblocking(read_fd);
    make_nonblocking(write_fd);
    return ioc;
}

void qio_channel_unref(QIOChannel *ioc)
{
    if (!ioc || qatomic_fetch_dec(&ioc->refcnt) > 1) {
        return;
    }
    qio_channel_close(ioc);
    qemu_mutex_destroy(&ioc->lock);
    g_free(ioc);
}

bool qio_channel_passes_fds(const QIOChannel *ioc)
{
    int domain;
    socklen_t len = sizeof(domain);

    return ioc->read_fd >= 0 &&
           getsockopt(ioc->read_fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
           domain == AF_UNIX;
}

/* ---- watching -------------------------------------------------------------------------------- */

static void channel_readable(void *opaque);
static void channel_writable(void *opaque);

/* Watch what is wanted now.  Called with the lock held, after read_ctx or write_ctx changed;
 * @old_ctx: the context left, or NULL. */
static void update_watch(QIOChannel *ioc, AioContext *old_ctx)
{
    AioContext *read_ctx = ioc->read_ctx;
    AioContext *write_ctx = ioc->write_ctx;
    bool is_one_fd = ioc->read_fd == ioc->write_fd;

    if (old_ctx && old_ctx != read_ctx && ioc->read_fd >= 0 &&
        !(is_one_fd && old_ctx == write_ctx)) {
        aio_set_fd_handler(old_ctx, ioc->read_fd, NULL, NULL, NULL);
    }
    if (old_ctx && old_ctx != write_ctx && ioc->write_fd >= 0 &&
        !(is_one_fd && old_ctx == read_ctx)) {
        aio_set_fd_handler(old_ctx, ioc->write_fd, NULL, NULL, NULL);
    }
    if (is_one_fd && read_ctx && read_ctx == write_ctx) {
        aio_set_fd_handler(read_ctx, ioc->read_fd, channel_readable, channel_writable, ioc);
        return;
    }
    if (read_ctx) {
        aio_set_fd_handler(read_ctx, ioc->read_fd, channel_readable, NULL, ioc);
    }
    if (write_ctx) {
        aio_set_fd_handler(write_ctx, ioc->write_fd, NULL, channel_writable, ioc);
    }
}

static void set_read_ctx(QIOChannel *ioc, AioContext *ctx)
{
    AioContext *old = ioc->read_ctx;

    if (old != ctx) {
        ioc->read_ctx = ctx;
        update_watch(ioc, old);
    }
}

static void set_write_ctx(QIOChannel *ioc, AioContext *ctx)
{
    AioContext *old = ioc->write_ctx;

    if (old != ctx) {
        ioc->write_ctx = ctx;
        update_watch(ioc, old);
    }
}

static void wake_reader(QIOChannel *ioc)
{
    Coroutine *co = NULL;

    WITH_QEMU_LOCK_GUARD(&ioc->lock) {
        co = g_steal_pointer(&ioc->reader);
        if (co) {
            set_read_ctx(ioc, NULL);
        }
    }
    if (co) {
        aio_co_wake(co);
    }
}

static void wake_writer(QIOChannel *ioc)
{
    Coroutine *co = NULL;

    WITH_QEMU_LOCK_GUARD(&ioc->lock) {
        co = g_steal_pointer(&ioc->writer);
        if (co) {
            set_write_ctx(ioc, NULL);
        }
    }
    if (co) {
        aio_co_wake(co);
    }
}

static void channel_readable(void *opaque)
{
    QIOChannel *ioc = opaque;

    if (ioc->on_readable) {
        ioc->on_readable(ioc->opaque);
    } else {
        wake_reader(ioc);
    }
}

static void channel_writable(void *opaque)
{
    QIOChannel *ioc = opaque;

    if (ioc->on_writable) {
        ioc->on_writable(ioc->opaque);
    } else {
        wake_writer(ioc);
    }
}

void qio_channel_set_fd_handler(QIOChannel *ioc, AioContext *ctx, IOHandler *read,
                                IOHandler *write, void *opaque)
{
    QEMU_LOCK_GUARD(&ioc->lock);

    assert(!ioc->reader && !ioc->writer);
    ioc->on_readable = read;
    ioc->on_writable = write;
    ioc->opaque = opaque;
    set_read_ctx(ioc, read && ioc->read_fd >= 0 ? ctx : NULL);
    set_write_ctx(ioc, write && ioc->write_fd >= 0 ? ctx : NULL);
}

void coroutine_fn qio_channel_co_wait_read(QIOChannel *ioc)
{
    WITH_QEMU_LOCK_GUARD(&ioc->lock) {
        if (ioc->is_closed || ioc->read_fd < 0) {
            return;
        }
        assert(!ioc->reader);
        ioc->reader = qemu_coroutine_self();
        set_read_ctx(ioc, qemu_get_current_aio_context());
    }
    qemu_coroutine_yield();
}

void coroutine_fn qio_channel_co_wait_write(QIOChannel *ioc)
{
    WITH_QEMU_LOCK_GUARD(&ioc->lock) {
        if (ioc->is_closed || ioc->write_fd < 0) {
            return;
        }
        assert(!ioc->writer);
        ioc->writer = qemu_coroutine_self();
        set_write_ctx(ioc, qemu_get_current_aio_context());
    }
    qemu_coroutine_yield();
}

void qio_channel_wake_read(QIOChannel *ioc)
{
    wake_reader(ioc);
}

/* ---- ending ---------------------------------------------------------------------------------- */

void qio_channel_shutdown(QIOChannel *ioc, QIOChannelShutdown how)
{
    if (!ioc->is_closed) {
        ioc->ops->shutdown(ioc, how);
    }
}

void qio_channel_close(QIOChannel *ioc)
{
    int read_fd, write_fd;

    WITH_QEMU_LOCK_GUARD(&ioc->lock) {
        if (ioc->is_closed) {
            return;
        }
        ioc->is_closed = true;
        ioc->on_readable = NULL;
        ioc->on_writable = NULL;
        set_read_ctx(ioc, NULL);
        set_write_ctx(ioc, NULL);
        read_fd = ioc->read_fd;
        write_fd = ioc->write_fd;
        ioc->read_fd = -1;
        ioc->write_fd = -1;
    }
    if (read_fd >= 0) {
        close(read_fd);
    }
    if (write_fd >= 0 && write_fd != read_fd) {
        close(write_fd);
    }
    wake_reader(ioc);
    wake_writer(ioc);
}

/* ---- transfers ------------------------------------------------------------------------------- */

ssize_t qio_channel_readv(QIOChannel *ioc, const struct iovec *iov, size_t niov, int **fds,
                          size_t *nfds, Error **errp)
{
    if (fds) {
        *fds = NULL;
        *nfds = 0;
    }
    if (ioc->read_fd < 0) {
        error_setg(errp, "Channel is closed");
        return -1;
    }
    return ioc->ops->readv(ioc, iov, MIN(niov, IOV_MAX), fds, nfds, errp);
}

ssize_t qio_channel_writev(QIOChannel *ioc, const struct iovec *iov, size_t niov, const int *fds,
                           size_t nfds, Error **errp)
{
    if (ioc->write_fd < 0) {
        error_setg(errp, "Channel is closed");
        return -1;
    }
    assert(nfds <= QIO_CHANNEL_MAX_FDS);
    return ioc->ops->writev(ioc, iov, MIN(niov, IOV_MAX), fds, nfds, errp);
}

ssize_t coroutine_fn qio_channel_co_readv(QIOChannel *ioc, const struct iovec *iov, size_t niov,
                                          Error **errp)
{
    for (;;) {
        ssize_t ret = qio_channel_readv(ioc, iov, niov, NULL, NULL, errp);

        if (ret != QIO_CHANNEL_ERR_BLOCK) {
            return ret;
        }
        qio_channel_co_wait_read(ioc);
    }
}

ssize_t coroutine_fn qio_channel_co_writev(QIOChannel *ioc, const struct iovec *iov, size_t niov,
                                           Error **errp)
{
    for (;;) {
        ssize_t ret = qio_channel_writev(ioc, iov, niov, NULL, 0, errp);

        if (ret != QIO_CHANNEL_ERR_BLOCK) {
            return ret;
        }
        qio_channel_co_wait_write(ioc);
    }
}

/* A copy of an iovec that is used up from the front. */
typedef struct Rest {
    struct iovec *all;
    struct iovec *iov;
    size_t niov;
    size_t bytes;
} Rest;

static void rest_init(Rest *rest, const struct iovec *iov, size_t niov)
{
    rest->all = g_memdup2(iov, niov * sizeof(*iov));
    rest->iov = rest->all;
    rest->niov = niov;
    rest->bytes = 0;
    for (size_t i = 0; i < niov; i++) {
        rest->bytes += iov[i].iov_len;
    }
}

static void rest_advance(Rest *rest, size_t bytes)
{
    rest->bytes -= bytes;
    while (rest->niov && bytes >= rest->iov->iov_len) {
        bytes -= rest->iov->iov_len;
        rest->iov++;
        rest->niov--;
    }
    if (bytes) {
        rest->iov->iov_base = (char *)rest->iov->iov_base + bytes;
        rest->iov->iov_len -= bytes;
    }
}

static void rest_done(Rest *rest)
{
    g_free(rest->all);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Rest, rest_done)

int coroutine_fn qio_channel_co_readv_all(QIOChannel *ioc, const struct iovec *iov, size_t niov,
                                          Error **errp)
{
    g_auto(Rest) rest;
    bool is_partial = false;

    rest_init(&rest, iov, niov);
    while (rest.bytes) {
        ssize_t ret = qio_channel_co_readv(ioc, rest.iov, rest.niov, errp);

        if (ret < 0) {
            return -1;
        }
        if (ret == 0) {
            if (!is_partial) {
                return 0;
            }
            error_setg(errp, "Unexpected end-of-file before all data were read");
            return -1;
        }
        is_partial = true;
        rest_advance(&rest, ret);
    }
    return 1;
}

int coroutine_fn qio_channel_co_writev_all(QIOChannel *ioc, const struct iovec *iov, size_t niov,
                                           Error **errp)
{
    g_auto(Rest) rest;

    rest_init(&rest, iov, niov);
    while (rest.bytes) {
        ssize_t ret = qio_channel_co_writev(ioc, rest.iov, rest.niov, errp);

        if (ret < 0) {
            return -1;
        }
        rest_advance(&rest, ret);
    }
    return 0;
}

int coroutine_fn qio_channel_co_read_all(QIOChannel *ioc, void *buf, size_t size, Error **errp)
{
    struct iovec iov = { .iov_base = buf, .iov_len = size };

    return qio_channel_co_readv_all(ioc, &iov, 1, errp);
}

int coroutine_fn qio_channel_co_write_all(QIOChannel *ioc, const void *buf, size_t size,
                                          Error **errp)
{
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = size };

    return qio_channel_co_writev_all(ioc, &iov, 1, errp);
}
