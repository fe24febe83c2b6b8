/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the two kernel interfaces for asynchronous file I/O have in common: carrying on after short
 * transfers, and waiting in a coroutine.
 */
#include "qemu/osdep.h"

#include "aio-internal.h"
#include "qemu/error.h"
#include "qemu/iov.h"

/* Whether the file ends at or before @offset; other things than plain files never do. */
static bool is_at_end(int fd, int64_t offset)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && offset >= st.st_size;
}

static void make_rest(AioFileIO *io)
{
    int niov = io->niov;
    struct iovec *iov;
    struct iovec *from;
    unsigned left = niov;

    g_free(io->rest);
    iov = g_memdup2(io->iov, sizeof(*iov) * niov);
    from = iov;
    iov_discard_front(&from, &left, io->done);
    memmove(iov, from, left * sizeof(*iov));
    io->rest = iov;
    io->n_rest = left;
}

bool aio_file_step_done(AioFileIO *io, int64_t res)
{
    io->ret = res < 0 ? res : 0;
    if (res < 0 || io->op == AIO_FILE_FDATASYNC) {
        return true;
    }
    io->done += res;
    if (io->done >= io->bytes) {
        return true;
    }
    if (io->op == AIO_FILE_WRITE) {
        if (res == 0) {
            io->ret = -ENOSPC;
            return true;
        }
    } else if (res == 0 || is_at_end(io->fd, io->offset + io->done)) {
        iov_memset(io->iov, io->niov, io->done, 0, io->bytes - io->done);
        return true;
    }
    make_rest(io);
    return false;
}

void aio_file_complete(AioFileIO *io)
{
    if (unlikely(io->rest)) {
        g_free(io->rest);
        io->rest = NULL;
    }
    io->cb(io, io->ret);
}

/* ---- coroutines ------------------------------------------------------------------------------ */
static void file_co_done(AioFileIO *io, int ret)
{
    (void)ret;
    aio_co_wake(io->opaque);
}

int coroutine_fn aio_file_co_submit(void (*submit)(AioFileIO *io), AioFileIO *io)
{
    io->cb = file_co_done;
    io->opaque = qemu_coroutine_self();
    submit(io);
    qemu_coroutine_yield();
    return io->ret;
}

/* ---- programs built without io_uring --------------------------------------------------------- */
#ifndef CONFIG_LINUX_IO_URING
bool luring_is_built_in(void)
{
    return false;
}

bool luring_setup(Error **errp)
{
    error_setg(errp, "io_uring is not supported by this program");
    return false;
}

void luring_submit(AioFileIO *io)
{
    (void)io;
    /* No loop can have been set up. */
    abort();
}

int coroutine_fn luring_co_submit(AioFileIO *io)
{
    return aio_file_co_submit(luring_submit, io);
}

void luring_done(LuringState *s)
{
    assert(!s);
}
#endif
