/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Other sizes for files of the host, with or without space set aside.
 */
#include "qemu/osdep.h"

#include "file.h"

#include "block/thread-pool.h"
#include "qemu/hostfile.h"

typedef struct Truncate {
    int fd;
    int64_t offset;
    PreallocMode prealloc;
    const char *failed; /* what could not be done */
} Truncate;

#define FULL_CHUNK (64 * KiB)
#define FIRST_BLOCK (4 * KiB)

static int write_zero_bytes(int fd, int64_t offset, int64_t end)
{
    g_autofree uint8_t *zeroes = g_malloc0(FULL_CHUNK);

    while (offset < end) {
        ssize_t ret = qemu_pwrite_full(fd, zeroes, MIN(FULL_CHUNK, end - offset), offset);

        if (ret < 0) {
            return ret;
        }
        if (ret == 0) {
            return -ENOSPC;
        }
        offset += ret;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

static int grow(Truncate *t, int64_t old_bytes)
{
    int ret;

    switch (t->prealloc) {
    case PREALLOC_MODE_FALLOC:
        t->failed = "Could not preallocate data for the new file";
        return old_bytes == t->offset
                   ? 0 : -posix_fallocate(t->fd, old_bytes, t->offset - old_bytes);
    case PREALLOC_MODE_FULL:
        t->failed = "Could not write zeros for preallocation";
        ret = ftruncate(t->fd, t->offset) < 0 ? -errno : 0;
        return ret < 0 ? ret : write_zero_bytes(t->fd, old_bytes, t->offset);
    default:
        t->failed = "Failed to resize the file";
        return ftruncate(t->fd, t->offset) < 0 ? -errno : 0;
    }
}

/*
 * A file that begins with a hole hides the alignment that direct I/O needs: reading a hole works
 * with any.  So the first block of a file that was empty is written.  If that fails, so be it.
 */
static void allocate_first_block(const Truncate *t)
{
    QEMU_AUTO_VFREE uint8_t *zeroes = qemu_memalign(FIRST_BLOCK, FIRST_BLOCK);
    int64_t bytes = t->offset < FIRST_BLOCK ? MIN(t->offset, BDRV_SECTOR_SIZE) : FIRST_BLOCK;

    memset(zeroes, 0, FIRST_BLOCK);
    if (qemu_pwrite_full(t->fd, zeroes, bytes, 0) < 0) {
        return;
    }
}

static bool has_length(int fd, int64_t bytes)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_size == bytes;
}

/* Worker.  On failure the file has its old length again. */
static int truncate_worker(void *opaque)
{
    Truncate *t = opaque;
    struct stat st;
    int ret;

    t->failed = "Could not stat file";
    if (fstat(t->fd, &st) < 0) {
        return -errno;
    }
    if (t->offset < st.st_size && t->prealloc != PREALLOC_MODE_OFF) {
        t->failed = "Preallocation can't be used for shrinking files";
        return -ENOTSUP;
    }
    ret = grow(t, st.st_size);
    if (ret < 0 && !has_length(t->fd, st.st_size) && ftruncate(t->fd, st.st_size) < 0) {
        error_report("Failed to restore old file length: %s", strerror(errno));
    }
    if (ret >= 0 && st.st_size == 0 && S_ISREG(st.st_mode) && t->prealloc != PREALLOC_MODE_FULL) {
        allocate_first_block(t);
    }
    return ret;
}

int coroutine_fn file_co_truncate_fd(int fd, int64_t offset, PreallocMode prealloc, Error **errp)
{
    Truncate t = { .fd = fd, .offset = offset, .prealloc = prealloc };
    int ret;

    if (prealloc == PREALLOC_MODE_METADATA) {
        error_setg(errp, "Unsupported preallocation mode: %s", PreallocMode_str(prealloc));
        return -ENOTSUP;
    }
    ret = thread_pool_submit_co(truncate_worker, &t);
    if (ret == -ENOTSUP && offset >= 0 && prealloc != PREALLOC_MODE_OFF) {
        error_setg(errp, "%s", t.failed);
    } else if (ret < 0) {
        error_setg_errno(errp, -ret, "%s", t.failed);
    }
    return ret;
}

int coroutine_fn file_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                  PreallocMode prealloc, unsigned flags, Error **errp)
{
    FileState *s = bs->opaque;

    file_extents_forget(s, 0, INT64_MAX);
    return file_co_truncate_fd(s->fd, offset, prealloc, errp);
}
