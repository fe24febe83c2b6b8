/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and writing of files and devices of the host: from the page cache at once, else by worker
 * threads, linux-aio or io_uring.
 */
#include "qemu/osdep.h"

#include "file.h"

#include "block/thread-pool.h"
#include "qemu/atomic.h"
#include "qemu/hostfile.h"

/* Worker. */
static int read_worker(void *opaque)
{
    FileRequest *req = opaque;
    ssize_t ret = qemu_preadv_full(req->s->fd, req->iov, req->niov, req->offset);

    if (ret < 0) {
        return ret;
    }
    /* The file ends inside its last block: the rest reads as zeroes. */
    if (ret < req->bytes) {
        iov_memset(req->iov, req->niov, ret, 0, req->bytes - ret);
    }
    return 0;
}

/* Worker. */
static int write_worker(void *opaque)
{
    FileRequest *req = opaque;
    ssize_t ret = qemu_pwritev_full(req->s->fd, req->iov, req->niov, req->offset);

    if (ret < 0) {
        return ret;
    }
    return ret == req->bytes ? 0 : -ENOSPC;
}

/* Copying more than this at once would hold up the loop for longer than a thread takes to wake. */
#define MAX_INLINE (256 * KiB)

/*
 * What the page cache can give or take without waiting is done at once, without a thread.  Returns
 * how many bytes were; 0 also if it cannot be done so at all.
 */
static int64_t transfer_cached(FileState *s, bool is_write, int64_t offset,
                               const QEMUIOVector *qiov)
{
    bool *is_missing = is_write ? &s->no_nowait_write : &s->no_nowait_read;
    ssize_t ret;

    if (s->direct || qiov->size > MAX_INLINE || qatomic_read(is_missing)) {
        return 0;
    }
    ret = is_write ? pwritev2(s->fd, qiov->iov, qiov->niov, offset, RWF_NOWAIT)
                   : preadv2(s->fd, qiov->iov, qiov->niov, offset, RWF_NOWAIT);
    if (ret < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        qatomic_set(is_missing, true);
    }
    return MAX(ret, 0);
}

/*
 * What does the transfers.  A loop thread that cannot have the kernel's interface (limits of the
 * host) uses workers.  In place of workers that do direct I/O the kernel's own are taken, where it
 * has them: they need neither a system call nor two switches for each request.
 */
static BlockdevAioOptions engine(const FileState *s)
{
    if (s->aio == BLOCKDEV_AIO_OPTIONS_NATIVE && laio_setup(NULL)) {
        return BLOCKDEV_AIO_OPTIONS_NATIVE;
    }
    if ((s->aio == BLOCKDEV_AIO_OPTIONS_IO_URING || s->direct) && luring_setup(NULL)) {
        return BLOCKDEV_AIO_OPTIONS_IO_URING;
    }
    return BLOCKDEV_AIO_OPTIONS_THREADS;
}

/* The kernel's interface cannot do with this file what workers perhaps can. */
static bool wants_worker(int ret)
{
    return ret == -EOPNOTSUPP || ret == -EINVAL;
}

static int coroutine_fn co_submit(FileState *s, bool is_write, int64_t offset, QEMUIOVector *qiov)
{
    AioFileOp op = is_write ? AIO_FILE_WRITE : AIO_FILE_READ;
    FileRequest req = { .s = s, .offset = offset, .bytes = qiov->size,
                        .iov = qiov->iov, .niov = qiov->niov };

    BlockdevAioOptions how = engine(s);
    int ret = -EOPNOTSUPP;

    if (how == BLOCKDEV_AIO_OPTIONS_NATIVE) {
        ret = laio_co_submit(s->fd, offset, qiov, op);
    } else if (how == BLOCKDEV_AIO_OPTIONS_IO_URING) {
        ret = luring_co_submit(s->fd, offset, qiov, op);
    }
    return wants_worker(ret) ? thread_pool_submit_co(is_write ? write_worker : read_worker, &req)
                             : ret;
}

static int coroutine_fn co_transfer(FileState *s, bool is_write, int64_t offset,
                                    QEMUIOVector *qiov)
{
    int64_t done = transfer_cached(s, is_write, offset, qiov);
    QEMUIOVector rest;
    int ret;

    if (done == (int64_t)qiov->size) {
        return 0;
    }
    if (likely(done == 0)) {
        return co_submit(s, is_write, offset, qiov);
    }
    qemu_iovec_init_slice(&rest, qiov, done, qiov->size - done);
    ret = co_submit(s, is_write, offset + done, &rest);
    qemu_iovec_destroy(&rest);
    return ret;
}

static bool is_mem_aligned(const FileState *s, const QEMUIOVector *qiov)
{
    for (int i = 0; i < qiov->niov; i++) {
        if (((uintptr_t)qiov->iov[i].iov_base | qiov->iov[i].iov_len) & (s->mem_align - 1)) {
            return false;
        }
    }
    return true;
}

/* Direct I/O from or to memory that is not aligned for it. */
static int coroutine_fn co_bounced(FileState *s, bool is_write, int64_t offset, QEMUIOVector *qiov)
{
    QEMU_AUTO_VFREE uint8_t *buf = qemu_try_memalign(MAX(s->mem_align, (size_t)FILE_MAX_ALIGN),
                                                     qiov->size);
    QEMUIOVector one = QEMU_IOVEC_INIT_BUF(one, buf, qiov->size);
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    if (is_write) {
        qemu_iovec_to_buf(qiov, 0, buf, qiov->size);
    }
    ret = co_transfer(s, is_write, offset, &one);
    if (ret >= 0 && !is_write) {
        qemu_iovec_from_buf(qiov, 0, buf, qiov->size);
    }
    return ret;
}

static int coroutine_fn co_rw(BlockDriverState *bs, bool is_write, int64_t offset, int64_t bytes,
                              QEMUIOVector *qiov, size_t qiov_offset)
{
    FileState *s = bs->opaque;
    QEMUIOVector slice;
    bool whole = qiov_offset == 0 && qiov->size == (size_t)bytes;
    int ret;

    if (!whole) {
        qemu_iovec_init_slice(&slice, qiov, qiov_offset, bytes);
        qiov = &slice;
    }
    if (unlikely(s->direct && !is_mem_aligned(s, qiov))) {
        ret = co_bounced(s, is_write, offset, qiov);
    } else {
        ret = co_transfer(s, is_write, offset, qiov);
    }
    if (!whole) {
        qemu_iovec_destroy(&slice);
    }
    return ret;
}

int coroutine_fn file_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    return co_rw(bs, false, offset, bytes, qiov, qiov_offset);
}

int coroutine_fn file_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                 QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    return co_rw(bs, true, offset, bytes, qiov, qiov_offset);
}

/* ---- without a coroutine --------------------------------------------------------------------- */

BdrvMapKind file_map(BlockDriverState *bs, bool is_write, int64_t offset, int64_t bytes,
                     BdrvMapping *map)
{
    return BDRV_MAP_HERE;
}

/* Worker. */
static int direct_worker(void *opaque)
{
    BdrvDirectIO *io = opaque;
    FileRequest req = { .s = io->bs->opaque, .offset = io->offset, .bytes = io->bytes,
                        .iov = io->qiov->iov, .niov = io->qiov->niov };

    return io->is_write ? write_worker(&req) : read_worker(&req);
}

static void direct_worker_done(void *opaque, int ret)
{
    BdrvDirectIO *io = opaque;

    io->done(io, ret);
}

static void direct_done(AioFileIO *file, int ret)
{
    BdrvDirectIO *io = file->opaque;

    if (unlikely(wants_worker(ret))) {
        thread_pool_submit_aio(direct_worker, io, direct_worker_done, io);
    } else {
        io->done(io, ret);
    }
}

int file_submit(BlockDriverState *bs, BdrvDirectIO *io)
{
    FileState *s = bs->opaque;
    int64_t done;

    if (io->qiov_offset || (int64_t)io->qiov->size != io->bytes ||
        (s->direct && !is_mem_aligned(s, io->qiov))) {
        return BDRV_FAST_NO;
    }
    done = transfer_cached(s, io->is_write, io->offset, io->qiov);
    if (done) {
        /* A part of it: the full path does all of it again. */
        return done == io->bytes ? 0 : BDRV_FAST_NO;
    }
    io->file = (AioFileIO){ .fd = s->fd, .op = io->is_write ? AIO_FILE_WRITE : AIO_FILE_READ,
                            .offset = io->offset, .iov = io->qiov->iov, .niov = io->qiov->niov,
                            .bytes = io->bytes, .cb = direct_done, .opaque = io };
    switch (engine(s)) {
    case BLOCKDEV_AIO_OPTIONS_NATIVE:
        laio_submit(&io->file);
        break;
    case BLOCKDEV_AIO_OPTIONS_IO_URING:
        luring_submit(&io->file);
        break;
    default:
        thread_pool_submit_aio(direct_worker, io, direct_worker_done, io);
        break;
    }
    return BDRV_FAST_PENDING;
}
