/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a kind of channel provides, and what all have in common.  Private to io/. */
#ifndef IO_CHANNEL_INT_H
#define IO_CHANNEL_INT_H

#include "io/channel.h"
#include "qemu/thread.h"

typedef struct QIOChannelOps {
    const char *name;
    ssize_t (*readv)(QIOChannel *ioc, const struct iovec *iov, size_t niov, int **fds, size_t *nfds,
                     Error **errp);
    ssize_t (*writev)(QIOChannel *ioc, const struct iovec *iov, size_t niov, const int *fds,
                      size_t nfds, Error **errp);
    void (*shutdown)(QIOChannel *ioc, QIOChannelShutdown how);
} QIOChannelOps;

struct QIOChannel {
    const QIOChannelOps *ops;
    int refcnt;       /* atomic */
    bool is_closed;
    /* -1: none.  May be the same descriptor. */
    int read_fd;
    int write_fd;

    /* Guards the rest: a reader and a writer of different threads share one descriptor. */
    QemuMutex lock;
    Coroutine *reader;
    Coroutine *writer;
    AioContext *read_ctx;
    AioContext *write_ctx;
    IOHandler *on_readable;
    IOHandler *on_writable;
    void *opaque;
};

/** A channel with one reference; takes the descriptors and makes them non-blocking. */
QIOChannel *qio_channel_new(const QIOChannelOps *ops, int read_fd, int write_fd);

#endif
