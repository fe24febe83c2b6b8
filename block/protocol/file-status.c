/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Zeroes, discard, and where a file of the host has data.
 */
#include "qemu/osdep.h"

#include "file.h"

#include "block/thread-pool.h"
#include "qemu/atomic.h"
#include "qemu/hostfile.h"

/* ---- zeroes, discard ------------------------------------------------------------------------- */

int file_try_method(int (*method)(int fd, int64_t offset, int64_t len), bool *is_missing,
                    FileRequest *req)
{
    int ret = -ENOTSUP;

    if (!qatomic_read(is_missing)) {
        ret = method(req->s->fd, req->offset, req->bytes);
        if (ret == -ENOTSUP) {
            qatomic_set(is_missing, true);
        }
    }
    return ret;
}

static int allocate(int fd, int64_t offset, int64_t len)
{
    return qemu_fallocate(fd, 0, offset, len);
}

/* Worker. */
static int zero_worker(void *opaque)
{
    FileRequest *req = opaque;
    FileState *s = req->s;
    struct stat st;
    int ret;

    if (fstat(s->fd, &st) < 0) {
        return -errno;
    }
    if (req->may_unmap && req->offset + req->bytes <= st.st_size) {
        ret = file_try_method(qemu_punch_hole, &s->no_punch, req);
        if (ret != -ENOTSUP && ret != -EINVAL && ret != -EBUSY) {
            return ret;
        }
    }
    ret = file_try_method(qemu_zero_range, &s->no_zero_range, req);
    if (ret != -ENOTSUP && ret != -EINVAL) {
        return ret;
    }
    if (req->offset < st.st_size) {
        ret = file_try_method(qemu_punch_hole, &s->no_punch, req);
        if (ret < 0) {
            return ret == -EINVAL ? -ENOTSUP : ret;
        }
    }
    return file_try_method(allocate, &s->no_fallocate, req);
}

int coroutine_fn file_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       unsigned flags)
{
    FileState *s = bs->opaque;
    FileRequest req = { .s = s, .offset = offset, .bytes = bytes,
                        .may_unmap = flags & BDRV_REQ_MAY_UNMAP,
                        .no_fallback = flags & BDRV_REQ_NO_FALLBACK };

    file_extents_forget(s, offset, bytes);
    return thread_pool_submit_co(s->kind->zero ? s->kind->zero : zero_worker, &req);
}

/* Worker. */
static int discard_worker(void *opaque)
{
    FileRequest *req = opaque;

    return file_try_method(qemu_punch_hole, &req->s->no_punch, req);
}

int coroutine_fn file_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    FileState *s = bs->opaque;
    FileRequest req = { .s = s, .offset = offset, .bytes = bytes };
    int ret;

    file_extents_forget(s, offset, bytes);
    ret = thread_pool_submit_co(s->kind->discard ? s->kind->discard : discard_worker, &req);
    if (ret < 0) {
        qatomic_inc(&s->discards_failed);
    } else {
        qatomic_inc(&s->discards_ok);
        qatomic_add(&s->discard_bytes_ok, bytes);
    }
    return ret;
}

/*
 * ---- where data is ---------------------------------------------------------------------------
 *
 * Data extents that the host told of are remembered, so that the status of an image whose clusters
 * lie scattered costs about two calls for each extent of the file, not for each cluster.  Only data
 * is remembered: to call a hole that came since "data" is safe, the reverse is not.
 */

#define MAX_EXTENTS 8192 /* more are forgotten and asked for again */
#define MAX_STEPS 4      /* extents walked through to find where one begins */

typedef struct Extent {
    int64_t start, end;
} Extent;

void file_extents_init(FileState *s)
{
    qemu_mutex_init(&s->extent_lock);
    s->extents = NULL;
}

void file_extents_destroy(FileState *s)
{
    g_clear_pointer(&s->extents, g_array_unref);
    qemu_mutex_destroy(&s->extent_lock);
}

static Extent *extent_at(FileState *s, unsigned i)
{
    return &g_array_index(s->extents, Extent, i);
}

/* Under the lock: the first extent that ends at @offset or behind it. */
static unsigned find_extent(FileState *s, int64_t offset)
{
    unsigned low = 0, high = s->extents ? s->extents->len : 0;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;

        if (extent_at(s, mid)->end < offset) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static void remember_extent(FileState *s, int64_t start, int64_t end)
{
    QEMU_LOCK_GUARD(&s->extent_lock);
    Extent merged = { start, end };
    unsigned first = find_extent(s, start), last;

    if (!s->extents) {
        s->extents = g_array_new(false, false, sizeof(Extent));
    }
    for (last = first; last < s->extents->len && extent_at(s, last)->start <= end; last++) {
        merged.start = MIN(merged.start, extent_at(s, last)->start);
        merged.end = MAX(merged.end, extent_at(s, last)->end);
    }
    g_array_remove_range(s->extents, first, last - first);
    if (s->extents->len >= MAX_EXTENTS) {
        g_array_set_size(s->extents, 0);
        first = 0;
    }
    g_array_insert_val(s->extents, first, merged);
}

void file_extents_forget(FileState *s, int64_t offset, int64_t bytes)
{
    QEMU_LOCK_GUARD(&s->extent_lock);
    int64_t end = bytes > INT64_MAX - offset ? INT64_MAX : offset + bytes;
    unsigned i = find_extent(s, offset);

    while (s->extents && i < s->extents->len && extent_at(s, i)->start < end) {
        Extent *extent = extent_at(s, i);
        Extent rest = { end, extent->end };

        if (extent->start < offset) {
            extent->end = offset;
            i++;
        } else {
            g_array_remove_index(s->extents, i);
        }
        if (rest.start < rest.end) {
            g_array_insert_val(s->extents, i, rest);
            return;
        }
    }
}

/* Is @offset in data?  If so, @end is where that ends; else where the data before it does. */
static bool in_known_extent(FileState *s, int64_t offset, int64_t *end)
{
    QEMU_LOCK_GUARD(&s->extent_lock);
    unsigned i = find_extent(s, offset + 1);

    if (s->extents && i < s->extents->len && extent_at(s, i)->start <= offset) {
        *end = extent_at(s, i)->end;
        return true;
    }
    *end = i > 0 ? extent_at(s, i - 1)->end : 0;
    return false;
}

/*
 * As qemu_find_allocation() at @offset, but coming from @from, the end of what is known before it:
 * that finds the beginning of the extent, too, which the host has no question for.
 */
static int find_allocation(FileState *s, int64_t from, int64_t offset, int64_t *data, int64_t *hole)
{
    for (int i = 0; i < MAX_STEPS && from < offset; i++) {
        int ret = qemu_find_allocation(s->fd, from, data, hole);

        if (ret == -ENXIO || (ret == 0 && *data > offset)) {
            return ret;
        }
        if (ret < 0) {
            break;
        }
        if (*data > from) {
            from = *data;
            continue;
        }
        remember_extent(s, *data, *hole);
        if (*hole > offset) {
            *data = offset;
            return 0;
        }
        from = *hole;
    }
    return qemu_find_allocation(s->fd, offset, data, hole);
}

int coroutine_fn file_co_block_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                                      int64_t bytes, int64_t *pnum, int64_t *map,
                                      BlockDriverState **file)
{
    FileState *s = bs->opaque;
    int64_t data, hole, known, end = offset + bytes;
    int flags = BDRV_BLOCK_OFFSET_VALID;
    int ret;

    *map = offset;
    *file = bs;
    *pnum = bytes;
    if (!want_zero) {
        return flags | BDRV_BLOCK_DATA;
    }
    if (in_known_extent(s, offset, &known)) {
        *pnum = MIN(known, end) - offset;
        return flags | BDRV_BLOCK_DATA;
    }
    ret = find_allocation(s, known, offset, &data, &hole);
    if (ret == -ENXIO) {
        /* Nothing but a hole up to the end of the file. */
        return flags | BDRV_BLOCK_ZERO;
    }
    if (ret < 0) {
        return flags | BDRV_BLOCK_DATA;
    }
    if (data > offset) {
        *pnum = MIN(data, end) - offset;
        return flags | BDRV_BLOCK_ZERO;
    }
    /* The last block of the file counts as a whole. */
    hole = QEMU_ALIGN_UP(hole, (int64_t)bs->bl.request_alignment);
    remember_extent(s, offset, hole);
    *pnum = MIN(hole, end) - offset;
    return flags | BDRV_BLOCK_DATA;
}
