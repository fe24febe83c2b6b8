/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taking over a file that another host has written: what the page cache here holds of it is old and
 * must go, or guests would read it (drop-cache=on).  x-check-cache-dropped=on makes sure that it
 * went, for tests of that.
 */
#include "qemu/osdep.h"

#include "file.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "block/thread-pool.h"

#define WINDOW (128 * MiB)

typedef struct DropCache {
    int fd;
    bool is_checked;
    Error *err;
} DropCache;

/* Is a page of [offset, offset + len) in memory?  1, 0, or a negative errno. */
static int has_cached_page(int fd, int64_t offset, size_t len)
{
    size_t pages = DIV_ROUND_UP(len, (size_t)sysconf(_SC_PAGESIZE));
    g_autofree unsigned char *resident = g_malloc(pages);
    void *window = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, offset);
    int ret = 0;

    if (window == MAP_FAILED) {
        return -errno;
    }
    if (mincore(window, len, resident) < 0) {
        ret = -errno;
    }
    for (size_t i = 0; i < pages && ret == 0; i++) {
        ret = resident[i] & 1;
    }
    munmap(window, len);
    return ret;
}

static int check_dropped(DropCache *drop)
{
    int64_t end = lseek(drop->fd, 0, SEEK_END);
    int ret = end < 0 ? -errno : 0;

    for (int64_t offset = 0; offset < end && ret == 0; offset += WINDOW) {
        ret = has_cached_page(drop->fd, offset, MIN((int64_t)WINDOW, end - offset));
    }
    if (ret > 0) {
        error_setg(&drop->err, "The page cache is still in use");
        return -EIO;
    }
    if (ret < 0) {
        error_setg_errno(&drop->err, -ret, "Could not look at the page cache");
    }
    return ret;
}

/* Worker. */
static int drop_cache(void *opaque)
{
    DropCache *drop = opaque;
    int ret;

    /* Pages that are not written yet would stay. */
    if (fdatasync(drop->fd) < 0) {
        ret = -errno;
        error_setg_errno(&drop->err, -ret, "Could not flush the page cache");
        return ret;
    }
    ret = posix_fadvise(drop->fd, 0, 0, POSIX_FADV_DONTNEED);
    if (ret && ret != ENOSYS) {
        error_setg_errno(&drop->err, ret, "Could not drop the page cache");
        return -ret;
    }
    return drop->is_checked ? check_dropped(drop) : 0;
}

bool coroutine_fn file_co_activate(BlockDriverState *bs, Error **errp)
{
    const FileState *s = bs->opaque;
    DropCache drop = { .fd = s->fd, .is_checked = s->checks_cache };

    file_extents_forget(bs->opaque, 0, INT64_MAX);
    if (s->direct || s->keeps_cache) {
        return true;
    }
    if (thread_pool_submit_co(drop_cache, &drop) < 0) {
        error_propagate(errp, drop.err);
        return false;
    }
    return true;
}
