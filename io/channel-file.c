/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Channels over pipes and terminals. */
#include "qemu/osdep.h"

#include "channel-int.h"

static ssize_t file_readv(QIOChannel *ioc, const struct iovec *iov, size_t niov, int **fds,
                          size_t *nfds, Error **errp)
{
    ssize_t ret;

    do {
        ret = readv(ioc->read_fd, iov, niov);
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return QIO_CHANNEL_ERR_BLOCK;
        }
        error_setg_errno(errp, errno, "Unable to read from file");
        return -1;
    }
    return ret;
}

static ssize_t file_writev(QIOChannel *ioc, const struct iovec *iov, size_t niov, const int *fds,
                           size_t nfds, Error **errp)
{
    ssize_t ret;

    if (nfds) {
        error_setg(errp, "Channel cannot pass file descriptors");
        return -1;
    }
    do {
        ret = writev(ioc->write_fd, iov, niov);
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return QIO_CHANNEL_ERR_BLOCK;
        }
        error_setg_errno(errp, errno, "Unable to write to file");
        return -1;
    }
    return ret;
}

/* A pipe has no shutdown: closing an end is the only way to say it. */
static void file_shutdown(QIOChannel *ioc, QIOChannelShutdown how)
{
    if (how == QIO_CHANNEL_SHUTDOWN_BOTH) {
        qio_channel_close(ioc);
    }
}

static const QIOChannelOps file_ops = {
    .name = "file",
    .readv = file_readv,
    .writev = file_writev,
    .shutdown = file_shutdown,
};

QIOChannel *qio_channel_file_new_fds(int read_fd, int write_fd)
{
    return qio_channel_new(&file_ops, read_fd, write_fd);
}
