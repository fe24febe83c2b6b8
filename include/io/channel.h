/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A byte channel: a socket, a pair of pipe ends, or bytes wrapped by another channel.
 *
 * - Reference-counted; the last unref closes.  Descriptors given to a constructor are taken.
 * - Descriptors are non-blocking.  The plain calls return QIO_CHANNEL_ERR_BLOCK instead of
 *   waiting; the _co_ calls wait in the AioContext of the current thread.
 * - At most one coroutine reads and one writes at a time; each may use its own thread.
 * - shutdown may be called from anywhere: it makes waiting readers and writers return.
 */
#ifndef IO_CHANNEL_H
#define IO_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "block/aio.h"
#include "qapi/gen/sockets-types.h"
#include "qemu/compiler.h"
#include "qemu/error.h"

typedef struct QIOChannel QIOChannel;

/* Returned by the plain calls where they would have to wait. */
#define QIO_CHANNEL_ERR_BLOCK (-2)

/* Most descriptors that one message carries. */
#define QIO_CHANNEL_MAX_FDS 16

typedef enum QIOChannelShutdown {
    QIO_CHANNEL_SHUTDOWN_READ = 1,
    QIO_CHANNEL_SHUTDOWN_WRITE = 2,
    QIO_CHANNEL_SHUTDOWN_BOTH = 3,
} QIOChannelShutdown;

/* ---- life ------------------------------------------------------------------------------------ */

/** A channel over a connected stream socket; takes @fd and makes it non-blocking. */
QIOChannel *qio_channel_socket_new_fd(int fd);

/**
 * Connect to @addr, waiting in the coroutine; names are looked up by a worker thread.
 * Returns: a channel, or NULL with @errp set.
 */
QIOChannel *coroutine_fn qio_channel_socket_co_connect(const SocketAddress *addr, Error **errp);

/**
 * Take the next connection from the listening socket @listen_fd.
 * Returns: a channel; NULL with @errp set, or without it when nobody is waiting.
 */
QIOChannel *qio_channel_socket_accept(int listen_fd, Error **errp);

/**
 * A channel that reads @read_fd and writes @write_fd; both are taken, either may be -1, and they
 * may be the same.  For pipes and terminals; a regular file never makes anybody wait.
 */
QIOChannel *qio_channel_file_new_fds(int read_fd, int write_fd);

/** Drop a reference; NULL is allowed. */
void qio_channel_unref(QIOChannel *ioc);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QIOChannel, qio_channel_unref)

/** Close now, whatever the number of references.  Idempotent; later calls fail. */
void qio_channel_close(QIOChannel *ioc);
/** End one or both directions; the other side sees the end of the stream. */
void qio_channel_shutdown(QIOChannel *ioc, QIOChannelShutdown how);

/** The descriptor of a socket channel, for options and peer names; else -1.  Borrowed. */
int qio_channel_socket_fd(const QIOChannel *ioc);
/** Whether descriptors can be passed along: a unix socket. */
bool qio_channel_passes_fds(const QIOChannel *ioc);

/* ---- without waiting ------------------------------------------------------------------------- */

/**
 * Read what there is, up to the size of @iov.
 *
 * @fds, @nfds: where received descriptors go (close-on-exec; the caller owns them and frees the
 * array), or both NULL: they are closed.
 * Returns: bytes; 0 at the end; QIO_CHANNEL_ERR_BLOCK; -1 with @errp set.
 */
ssize_t qio_channel_readv(QIOChannel *ioc, const struct iovec *iov, size_t niov, int **fds,
                          size_t *nfds, Error **errp);

/**
 * Write what fits.  @fds: descriptors sent along with the first byte, or NULL.
 * Returns: bytes; QIO_CHANNEL_ERR_BLOCK; -1 with @errp set (never SIGPIPE on a socket).
 */
ssize_t qio_channel_writev(QIOChannel *ioc, const struct iovec *iov, size_t niov, const int *fds,
                           size_t nfds, Error **errp);

/**
 * Call back in @ctx while the channel is readable or writable; NULL for no interest.
 * Not while a coroutine waits in the same direction.
 */
void qio_channel_set_fd_handler(QIOChannel *ioc, AioContext *ctx, IOHandler *read,
                                IOHandler *write, void *opaque);

/* ---- in coroutines --------------------------------------------------------------------------- */

/** As the plain calls, but waits; never returns QIO_CHANNEL_ERR_BLOCK. */
ssize_t coroutine_fn qio_channel_co_readv(QIOChannel *ioc, const struct iovec *iov, size_t niov,
                                          Error **errp);
ssize_t coroutine_fn qio_channel_co_writev(QIOChannel *ioc, const struct iovec *iov, size_t niov,
                                           Error **errp);

/**
 * Read all of @iov.
 * Returns: 1; 0 if the stream ended before the first byte; -1 with @errp set, also for an end in
 * the middle.
 */
int coroutine_fn qio_channel_co_readv_all(QIOChannel *ioc, const struct iovec *iov, size_t niov,
                                          Error **errp);
/** Write all of @iov.  Returns: 0, or -1 with @errp set. */
int coroutine_fn qio_channel_co_writev_all(QIOChannel *ioc, const struct iovec *iov, size_t niov,
                                           Error **errp);
int coroutine_fn qio_channel_co_read_all(QIOChannel *ioc, void *buf, size_t size, Error **errp);
int coroutine_fn qio_channel_co_write_all(QIOChannel *ioc, const void *buf, size_t size,
                                          Error **errp);

/** Wait until reading (or writing) would not block, or somebody wakes. */
void coroutine_fn qio_channel_co_wait_read(QIOChannel *ioc);
void coroutine_fn qio_channel_co_wait_write(QIOChannel *ioc);
/** Let a coroutine waiting in qio_channel_co_wait_read() go on; nothing if there is none. */
void qio_channel_wake_read(QIOChannel *ioc);

#endif
