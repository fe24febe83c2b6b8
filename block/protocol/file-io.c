/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and writing of files and devices of the host: from the page cache at once, else by worker
 * threads, linux-aio or io_uring.
 *
 * A file system has cached writes of one file wait for each other, so these go to the workers as a
 * group: one worker does those that wait, and those that follow one another with one call.
 */
#include "qemu/osdep.h"

#include "file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "qemu/atomic.h"
#include "qemu/hostfile.h"

/* All but what engines set themselves, which is most of it. */
static void file_io_init(AioFileIO *io, const FileState *s, bool is_write, int64_t offset,
                         const QEMUIOVector *qiov)
{
    io->fd = s->fd;
    io->op = is_write ? AIO_FILE_WRITE : AIO_FILE_READ;
    io->offset = offset;
    io->iov = qiov->iov;
    io->niov = qiov->niov;
    io->bytes = qiov->size;
    io->max_batch = s->max_batch;
    io->done = 0;
    io->ret = 0;
    io->rest = NULL;
    io->n_rest = 0;
}

/* Worker. */
static int read_worker(void *opaque)
{
    const AioFileIO *io = opaque;
    ssize_t ret = qemu_preadv_full(io->fd, io->iov, io->niov, io->offset);

    if (ret < 0) {
        return ret;
    }
    /* The file ends inside its last block: the rest reads as zeroes. */
    if ((size_t)ret < io->bytes) {
        iov_memset(io->iov, io->niov, ret, 0, io->bytes - ret);
    }
    return 0;
}

static int write_vector(int fd, const struct iovec *iov, int niov, int64_t offset, size_t bytes)
{
    ssize_t ret = qemu_pwritev_full(fd, iov, niov, offset);

    if (ret < 0) {
        return ret;
    }
    return (size_t)ret == bytes ? 0 : -ENOSPC;
}

/* Worker. */
static int write_worker(void *opaque)
{
    const AioFileIO *io = opaque;

    return write_vector(io->fd, io->iov, io->niov, io->offset, io->bytes);
}

static ThreadPoolFunc *worker_for(bool is_write)
{
    return is_write ? write_worker : read_worker;
}

/* ---- large cached writes --------------------------------------------------------------------- */

/*
 * The page cache takes memory in pieces as large as the call.  Linux searches long for pieces of
 * 2 MiB, and moves other pages away to make them: five times the work, for nothing.
 */
#define MAX_CALL (1 * MiB)
#define CALL_IOV 64
/* Shorter writes do not gain by it. */
#define MIN_TAKEN (256 * KiB)

/*
 * Let a write to new space have its blocks beforehand, as one extent, so that ext4 need not reserve
 * each of them as it comes: a quarter of the work.  If it fails, writing will tell why.
 */
static void take_blocks(const AioFileIO *io)
{
    struct statfs fs;
    off_t data;

    if (io->bytes < MIN_TAKEN || fstatfs(io->fd, &fs) < 0 || fs.f_type != EXT4_SUPER_MAGIC) {
        return;
    }
    data = lseek(io->fd, io->offset, SEEK_DATA);
    if (data < 0 ? errno != ENXIO : data < io->offset + (int64_t)io->bytes) {
        return;
    }
    if (fallocate(io->fd, FALLOC_FL_KEEP_SIZE, io->offset, io->bytes) < 0) {
        return;
    }
}

/* In calls of a size that the host likes. */
static int write_cached(const AioFileIO *io)
{
    struct iovec part[CALL_IOV];
    size_t done = 0;
    int ret = 0;

    take_blocks(io);
    if (io->bytes <= MAX_CALL) {
        return write_vector(io->fd, io->iov, io->niov, io->offset, io->bytes);
    }
    while (done < io->bytes && ret >= 0) {
        int niov = iov_copy(part, CALL_IOV, io->iov, io->niov, done,
                            MIN(MAX_CALL, io->bytes - done));
        size_t bytes = iov_size(part, niov);

        ret = write_vector(io->fd, part, niov, io->offset + done, bytes);
        done += bytes;
    }
    return ret;
}

/* ---- groups of cached writes ----------------------------------------------------------------- */

/*
 * A call writes at most this much, or a request: the loop gets to know of a call's as a whole.
 * Calls of several end at multiples of it: the page cache then takes larger pieces of memory.
 */
#define MAX_JOINED (128 * KiB)
#define MAX_JOINED_IOV 128

/* Of @n, how many can be written by one call. */
static int count_adjacent(AioFileIO *const *ios, int n)
{
    int64_t limit = QEMU_ALIGN_DOWN(ios[0]->offset, MAX_JOINED) + MAX_JOINED;
    int64_t end = ios[0]->offset + (int64_t)ios[0]->bytes;
    int niov = ios[0]->niov, i;

    for (i = 1; i < n; i++) {
        niov += ios[i]->niov;
        if (ios[i]->offset != end || end + (int64_t)ios[i]->bytes > limit ||
            niov > MAX_JOINED_IOV) {
            break;
        }
        end += ios[i]->bytes;
    }
    return i;
}

/* All in one call; whether it was. */
static bool write_joined(AioFileIO *const *ios, int n)
{
    struct iovec iov[MAX_JOINED_IOV];
    size_t bytes = 0;
    int niov = 0;

    for (int i = 0; i < n; i++) {
        memcpy(iov + niov, ios[i]->iov, ios[i]->niov * sizeof(*iov));
        niov += ios[i]->niov;
        bytes += ios[i]->bytes;
    }
    return pwritev(ios[0]->fd, iov, niov, ios[0]->offset) == (ssize_t)bytes;
}

/* Worker: a ThreadPoolGroupFunc. */
int file_write_group(void *const *args, int *rets, int n)
{
    AioFileIO *const *ios = (AioFileIO *const *)args;
    size_t bytes = 0;
    int done = 0;

    do {
        int run = count_adjacent(ios + done, n - done);
        bool all = run > 1 && write_joined(ios + done, run);

        /* Of a call that failed or was short, each gets to know how it went with its own part. */
        for (int end = done + run; done < end; done++) {
            rets[done] = all ? 0 : write_cached(ios[done]);
            bytes += ios[done]->bytes;
        }
    } while (done < n && bytes < MAX_JOINED);
    return done;
}

static bool is_grouped(const FileState *s, bool is_write)
{
    return is_write && !s->direct && s->writes;
}

/* ---- choice of the way ----------------------------------------------------------------------- */

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
    BlockdevAioOptions how = engine(s);
    int ret = -EOPNOTSUPP;
    AioFileIO io;

    file_io_init(&io, s, is_write, offset, qiov);
    if (how == BLOCKDEV_AIO_OPTIONS_NATIVE) {
        ret = laio_co_submit(&io);
    } else if (how == BLOCKDEV_AIO_OPTIONS_IO_URING) {
        ret = luring_co_submit(&io);
    }
    if (!wants_worker(ret)) {
        return ret;
    }
    return is_grouped(s, is_write) ? thread_pool_group_submit_co(s->writes, &io)
                                   : thread_pool_submit_co(worker_for(is_write), &io);
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

static void direct_worker_done(void *opaque, int ret)
{
    BdrvDirectIO *io = opaque;

    io->done(io, ret);
}

static void submit_to_workers(BdrvDirectIO *io)
{
    const FileState *s = io->bs->opaque;

    if (is_grouped(s, io->is_write)) {
        thread_pool_group_submit_aio(s->writes, &io->file, direct_worker_done, io);
    } else {
        thread_pool_submit_aio(worker_for(io->is_write), &io->file, direct_worker_done, io);
    }
}

static void direct_done(AioFileIO *file, int ret)
{
    BdrvDirectIO *io = file->opaque;

    if (unlikely(wants_worker(ret))) {
        submit_to_workers(io);
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
    file_io_init(&io->file, s, io->is_write, io->offset, io->qiov);
    io->file.cb = direct_done;
    io->file.opaque = io;
    switch (engine(s)) {
    case BLOCKDEV_AIO_OPTIONS_NATIVE:
        laio_submit(&io->file);
        break;
    case BLOCKDEV_AIO_OPTIONS_IO_URING:
        luring_submit(&io->file);
        break;
    default:
        submit_to_workers(io);
        break;
    }
    return BDRV_FAST_PENDING;
}
