/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Channels over stream sockets, with descriptors passed along on unix ones. */
#include "qemu/osdep.h"
#include <sys/socket.h>

#include "channel-int.h"

#include "block/thread-pool.h"
#include "io/sockets.h"

/* ---- descriptors in messages ----------------------------------------------------------------- */

typedef union ControlBuffer {
    char bytes[CMSG_SPACE(sizeof(int) * QIO_CHANNEL_MAX_FDS)];
    struct cmsghdr align;
} ControlBuffer;

/* Collect the descriptors of @msg, or close them if the caller wants none. */
static void take_fds(struct msghdr *msg, int **fds, size_t *nfds)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        const unsigned char *data = CMSG_DATA(cmsg);

        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, data + i * sizeof(int), sizeof(int));
            if (!fds) {
                close(fd);
                continue;
            }
            *fds = g_renew(int, *fds, *nfds + 1);
            (*fds)[(*nfds)++] = fd;
        }
    }
}

static void put_fds(struct msghdr *msg, ControlBuffer *control, const int *fds, size_t nfds)
{
    memset(control, 0, sizeof(*control));
    msg->msg_control = control->bytes;
    msg->msg_controllen = CMSG_SPACE(sizeof(int) * nfds);

    struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);

    cmsg->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * nfds);
}

/* ---- transfers ------------------------------------------------------------------------------- */

static ssize_t socket_readv(QIOChannel *ioc, const struct iovec *iov, size_t niov, int **fds,
                            size_t *nfds, Error **errp)
{
    ControlBuffer control;
    struct msghdr msg = {
        .msg_iov = (struct iovec *)iov,
        .msg_iovlen = niov,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    ssize_t ret;

    do {
        ret = recvmsg(ioc->read_fd, &msg, MSG_CMSG_CLOEXEC);
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return QIO_CHANNEL_ERR_BLOCK;
        }
        error_setg_errno(errp, errno, "Unable to read from socket");
        return -1;
    }
    take_fds(&msg, fds, nfds);
    return ret;
}

static ssize_t socket_writev(QIOChannel *ioc, const struct iovec *iov, size_t niov,
                             const int *fds, size_t nfds, Error **errp)
{
    ControlBuffer control;
    struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = niov };
    ssize_t ret;

    if (nfds) {
        put_fds(&msg, &control, fds, nfds);
    }
    do {
        ret = sendmsg(ioc->write_fd, &msg, MSG_NOSIGNAL);
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return QIO_CHANNEL_ERR_BLOCK;
        }
        error_setg_errno(errp, errno, "Unable to write to socket");
        return -1;
    }
    return ret;
}

static void socket_shutdown(QIOChannel *ioc, QIOChannelShutdown how)
{
    /* The values were chosen so that SHUT_x is the direction less one. */
    G_STATIC_ASSERT(SHUT_RD == QIO_CHANNEL_SHUTDOWN_READ - 1);
    G_STATIC_ASSERT(SHUT_RDWR == QIO_CHANNEL_SHUTDOWN_BOTH - 1);
    shutdown(ioc->read_fd, how - 1);
}

static const QIOChannelOps socket_ops = {
    .name = "socket",
    .readv = socket_readv,
    .writev = socket_writev,
    .shutdown = socket_shutdown,
};

/* ---- making ---------------------------------------------------------------------------------- */

QIOChannel *qio_channel_socket_new_fd(int fd)
{
    return qio_channel_new(&socket_ops, fd, fd);
}

int qio_channel_socket_fd(const QIOChannel *ioc)
{
    return ioc->ops == &socket_ops ? ioc->read_fd : -1;
}

typedef struct Connect {
    const SocketAddress *addr;
    int fd;
    Error *err;
} Connect;

static int connect_worker(void *opaque)
{
    Connect *c = opaque;

    c->fd = socket_connect(c->addr, &c->err);
    return 0;
}

QIOChannel *coroutine_fn qio_channel_socket_co_connect(const SocketAddress *addr, Error **errp)
{
    Connect c = { .addr = addr, .fd = -1 };

    thread_pool_submit_co(connect_worker, &c);
    if (c.fd < 0) {
        error_propagate(errp, c.err);
        return NULL;
    }
    return qio_channel_socket_new_fd(c.fd);
}

QIOChannel *qio_channel_socket_accept(int listen_fd, Error **errp)
{
    int fd;

    do {
        fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        /* A client that is gone again is nobody. */
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ECONNABORTED) {
            error_setg_errno(errp, errno, "Unable to accept connection");
        }
        return NULL;
    }
    return qio_channel_socket_new_fd(fd);
}
