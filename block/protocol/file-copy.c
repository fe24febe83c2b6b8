/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying from file to file without the data passing through us. */
#include "qemu/osdep.h"

#include "file.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

#include "block/thread-pool.h"
#include "qemu/atomic.h"

typedef struct CopyRange {
    int from, to;
    int64_t from_offset, to_offset, bytes;
} CopyRange;

/* Worker. */
static int copy_worker(void *opaque)
{
    CopyRange *copy = opaque;
    off_t from = copy->from_offset, to = copy->to_offset;
    int64_t left = copy->bytes;

    while (left > 0) {
        ssize_t ret = copy_file_range(copy->from, &from, copy->to, &to, left, 0);

        if (ret < 0 && errno == EINTR) {
            continue;
        }
        if (ret < 0) {
            return errno == ENOSYS || errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP
                       ? -ENOTSUP : -errno;
        }
        if (ret == 0) {
            /* The source ends before the range does. */
            return -ENOTSUP;
        }
        left -= ret;
    }
    return 0;
}

static bool is_never(int error)
{
    return error == EOPNOTSUPP || error == ENOTTY || error == ENOSYS || error == EXDEV;
}

/* Worker: both files have the same blocks then, and the host copies when one is changed. */
static int share_worker(void *opaque)
{
    const CopyRange *copy = opaque;
    struct file_clone_range range = {
        .src_fd = copy->from,
        .src_offset = copy->from_offset,
        .src_length = copy->bytes,
        .dest_offset = copy->to_offset,
    };
    int ret;

    do {
        ret = ioctl(copy->to, FICLONERANGE, &range);
    } while (ret < 0 && errno == EINTR);
    if (ret == 0) {
        return 0;
    }
    /* Blocks that are not whole, or have too many owners: copying does it, or says why not. */
    return is_never(errno) ? -EXDEV : -ENOTSUP;
}

/* Worker: does the file system share blocks at all?  A range and itself change nothing. */
static int probe_worker(void *opaque)
{
    FileState *s = opaque;
    struct file_clone_range range = { .src_fd = s->fd, .src_length = FILE_MAX_ALIGN };
    bool never = ioctl(s->fd, FICLONERANGE, &range) < 0 && is_never(errno);

    qatomic_set(&s->sharing, never ? FILE_SHARES_NOTHING : FILE_MAY_SHARE);
    return 0;
}

static int coroutine_fn co_may_share(FileState *s)
{
    if (qatomic_read(&s->sharing) == FILE_SHARING_UNKNOWN) {
        thread_pool_submit_co(probe_worker, s);
    }
    return qatomic_read(&s->sharing) == FILE_SHARES_NOTHING ? -EXDEV : 0;
}

int coroutine_fn file_co_copy_range_from(BlockDriverState *bs, BdrvChild *src, int64_t src_offset,
                                         BdrvChild *dst, int64_t dst_offset, int64_t bytes,
                                         unsigned flags)
{
    return bdrv_co_copy_range_to(src, src_offset, dst, dst_offset, bytes, flags);
}

int coroutine_fn file_co_copy_range_to(BlockDriverState *bs, BdrvChild *src, int64_t src_offset,
                                       BdrvChild *dst, int64_t dst_offset, int64_t bytes,
                                       unsigned flags)
{
    FileState *s = bs->opaque;
    bool shares = flags & BDRV_REQ_NO_FALLBACK;
    CopyRange copy = { .to = s->fd, .from_offset = src_offset, .to_offset = dst_offset,
                       .bytes = bytes };

    if (src->bs->drv != bs->drv) {
        return shares ? -EXDEV : -ENOTSUP;
    }
    if (shares && bytes == 0) {
        return co_may_share(s);
    }
    copy.from = ((const FileState *)src->bs->opaque)->fd;
    return thread_pool_submit_co(shares ? share_worker : copy_worker, &copy);
}
