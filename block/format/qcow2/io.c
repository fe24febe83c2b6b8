/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and writing: ask for the mapping of a run under the lock, do the I/O without it, go on.
 */
#include "qemu/osdep.h"

#include "qcow2.h"
#include "qemu/atomic.h"
#include "qemu/iszero.h"

/* ---- reading ------------------------------------------------------------------------------- */

static int coroutine_fn co_read_backing(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        QEMUIOVector *qiov, size_t qiov_offset)
{
    if (qcow2_backing_is_zero(bs, offset)) {
        qemu_iovec_memset(qiov, qiov_offset, 0, bytes);
        return 0;
    }
    /* A shorter backing file reads as zeroes past its end. */
    BLKDBG_CO_EVENT(bs->file, READ_BACKING_AIO);
    return bdrv_co_preadv_part(bs->backing, offset, bytes, qiov, qiov_offset, 0);
}

int coroutine_fn qcow2_co_read_mapped(BlockDriverState *bs, const Qcow2Mapping *map, int64_t offset,
                                      QEMUIOVector *qiov, size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;

    switch (map->kind) {
    case QCOW2_DATA:
        BLKDBG_CO_EVENT(bs->file, READ_AIO);
        return qcow2_co_read_data(bs, offset, map->host_offset, map->bytes, qiov, qiov_offset);
    case QCOW2_DEFLATED:
        return qcow2_co_read_compressed(bs, map, qcow2_offset_in_cluster(s, offset), map->bytes,
                                        qiov, qiov_offset);
    case QCOW2_ZERO_PLAIN:
    case QCOW2_ZERO_ALLOC:
        qemu_iovec_memset(qiov, qiov_offset, 0, map->bytes);
        return 0;
    default:
        return co_read_backing(bs, offset, map->bytes, qiov, qiov_offset);
    }
}

int coroutine_fn qcow2_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                 QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    Qcow2State *s = bs->opaque;

    while (bytes > 0) {
        Qcow2Mapping map;
        int64_t done;

        qemu_co_mutex_lock(&s->lock);
        done = qcow2_co_map(bs, offset, bytes, &map);
        qemu_co_mutex_unlock(&s->lock);
        if (done >= 0 && map.kind == QCOW2_DEFLATED && bytes > s->cluster_size) {
            done = qcow2_co_read_compressed_run(bs, offset, bytes, qiov, qiov_offset);
        }
        if (done == 0) {
            done = qcow2_co_read_mapped(bs, &map, offset, qiov, qiov_offset);
            done = done < 0 ? done : map.bytes;
        }
        if (done < 0) {
            return done;
        }
        offset += done;
        bytes -= done;
        qiov_offset += done;
    }
    return 0;
}

/* ---- copy on write ------------------------------------------------------------------------- */

/* Bytes of the first or last cluster of an allocating write that the guest does not write. */
typedef struct CowPart {
    int64_t offset, bytes;
    uint8_t *buf; /* NULL: not to be written, the host has it */
} CowPart;

/* What the guest sees there now. */
static int coroutine_fn co_read_old(BlockDriverState *bs, const CowPart *part)
{
    int64_t total = qatomic_read(&bs->total_bytes);
    int64_t readable = MIN(part->bytes, MAX(total - part->offset, 0));
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, part->buf, readable);

    memset(part->buf + readable, 0, part->bytes - readable);
    if (readable == 0) {
        return 0;
    }
    BLKDBG_CO_EVENT(bs->file, COW_READ);
    return qcow2_co_preadv(bs, part->offset, readable, &qiov, 0, 0);
}

static int coroutine_fn co_prepare_cow(BlockDriverState *bs, CowPart *part, bool is_zero,
                                       bool is_fresh)
{
    int ret = 0;

    if (part->bytes == 0 || (is_zero && is_fresh)) {
        return 0;
    }
    part->buf = bdrv_try_blockalign(qcow2_data(bs)->bs, part->bytes);
    if (!part->buf) {
        return -ENOMEM;
    }
    if (is_zero) {
        memset(part->buf, 0, part->bytes);
    } else {
        ret = co_read_old(bs, part);
    }
    if (ret >= 0 && is_fresh && buffer_is_zero(part->buf, part->bytes)) {
        qemu_vfree(part->buf);
        part->buf = NULL;
    }
    return ret;
}

/* Head, the guest's data and tail in one write. */
static int coroutine_fn co_write_with_cow(BlockDriverState *bs, const Qcow2Alloc *alloc,
                                          const CowPart *head, const CowPart *tail,
                                          QEMUIOVector *qiov, size_t qiov_offset)
{
    int64_t data_len = alloc->data_end - alloc->data_start, offset = alloc->data_start;
    int64_t host = alloc->host_offset + (offset - alloc->guest_offset);
    QEMUIOVector joined;
    int ret;

    if (!head->buf && !tail->buf) {
        BLKDBG_CO_EVENT(bs->file, WRITE_AIO);
        return qcow2_co_write_data(bs, offset, host, data_len, qiov, qiov_offset);
    }
    qemu_iovec_init(&joined, qiov->niov + 2);
    if (head->buf) {
        offset -= head->bytes;
        host -= head->bytes;
        qemu_iovec_add(&joined, head->buf, head->bytes);
    }
    qemu_iovec_concat(&joined, qiov, qiov_offset, data_len);
    if (tail->buf) {
        qemu_iovec_add(&joined, tail->buf, tail->bytes);
    }
    BLKDBG_CO_EVENT(bs->file, COW_WRITE);
    BLKDBG_CO_EVENT(bs->file, WRITE_AIO);
    ret = qcow2_co_write_data(bs, offset, host, joined.size, &joined, 0);
    qemu_iovec_destroy(&joined);
    return ret;
}

static int coroutine_fn co_write_alloc(BlockDriverState *bs, const Qcow2Alloc *alloc,
                                       QEMUIOVector *qiov, size_t qiov_offset)
{
    CowPart head = { alloc->cow_start, alloc->data_start - alloc->cow_start, NULL };
    CowPart tail = { alloc->data_end, alloc->cow_end - alloc->data_end, NULL };
    int ret = co_prepare_cow(bs, &head, alloc->head_is_zero, alloc->is_fresh);

    if (ret >= 0) {
        ret = co_prepare_cow(bs, &tail, alloc->tail_is_zero, alloc->is_fresh);
    }
    if (ret >= 0) {
        ret = co_write_with_cow(bs, alloc, &head, &tail, qiov, qiov_offset);
    }
    qemu_vfree(head.buf);
    qemu_vfree(tail.buf);
    return ret;
}

/* ---- writing ------------------------------------------------------------------------------- */

int coroutine_fn qcow2_co_before_change(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    if (unlikely(qatomic_read(&s->is_corrupt))) {
        return -EIO;
    }
    if (unlikely(s->has_shared_tables)) {
        /* Counts mean nothing then, and a search for free clusters would have no end. */
        CO_LOCK_GUARD(&s->lock);
        qcow2_co_mark_corrupt(bs, s->reftable.offset, (uint64_t)s->reftable.size * 8,
                              "Table shared with another entry");
        return -EIO;
    }
    return unlikely(qatomic_read(&s->needs_autoclear)) ? qcow2_co_prepare_change(bs) : 0;
}

int coroutine_fn qcow2_co_after_step(BlockDriverState *bs, int ret)
{
    if (ret == -EAGAIN) {
        return qcow2_refcount_co_grow(bs);
    }
    return ret < 0 ? ret : qcow2_co_relieve(bs);
}

/* A prefix of a request that is written at once. */
typedef struct WriteStep {
    int64_t offset, bytes;
    uint64_t host;
    Qcow2Alloc *alloc;  /* to be ended; NULL: in place */
    bool wants_relief;
} WriteStep;

/* Where it goes; @step->bytes is shortened to that.  Lock held. */
static int coroutine_fn co_find_place(BlockDriverState *bs, WriteStep *step)
{
    Qcow2State *s = bs->opaque;
    int ret = qcow2_alloc_co_begin(bs, step->offset, &step->bytes, &step->host, &step->alloc);

    if (ret >= 0 && !s->has_data_file && !(step->alloc && step->alloc->is_checked)) {
        int clear = qcow2_overlap_co_check(bs, step->host, step->bytes);

        if (clear < 0) {
            return step->alloc ? qcow2_alloc_co_end(bs, step->alloc, clear) : clear;
        }
    }
    if (ret == 0 && step->alloc->can_be_ahead) {
        ret = qcow2_alloc_co_link_ahead(bs, step->alloc);
        step->alloc = NULL;
    }
    return ret;
}

/* The same under the lock; what becomes of an allocation is up to co_end_step(). */
static int coroutine_fn co_begin_step(BlockDriverState *bs, WriteStep *step)
{
    Qcow2State *s = bs->opaque;
    int ret;

    CO_LOCK_GUARD(&s->lock);
    ret = co_find_place(bs, step);
    step->wants_relief = qcow2_wants_relief(s);
    return ret;
}

/* It was written, or not, as @ret says; the bytes that are done to *@done. */
static int coroutine_fn co_end_step(BlockDriverState *bs, const WriteStep *step, int ret,
                                    int64_t *done)
{
    if (step->alloc) {
        ret = qcow2_alloc_co_finish(bs, step->alloc, ret);
    } else if (ret >= 0) {
        ret = step->wants_relief;
    }
    /* -EAGAIN also from linking: then the data went to clusters that were given back. */
    *done = ret >= 0 ? step->bytes : 0;
    return ret == 0 ? 0 : qcow2_co_after_step(bs, ret);
}

/* Write a prefix; its length to *@done, which may be 0: try again. */
static int coroutine_fn co_write_step(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      QEMUIOVector *qiov, size_t qiov_offset, int64_t *done)
{
    WriteStep step = { .offset = offset, .bytes = bytes };
    int ret = co_begin_step(bs, &step);

    *done = 0;
    if (ret < 0) {
        return qcow2_co_after_step(bs, ret);
    }
    if (step.alloc) {
        ret = co_write_alloc(bs, step.alloc, qiov, qiov_offset);
    } else {
        BLKDBG_CO_EVENT(bs->file, WRITE_AIO);
        ret = qcow2_co_write_data(bs, offset, step.host, step.bytes, qiov, qiov_offset);
    }
    return co_end_step(bs, &step, ret, done);
}

int coroutine_fn qcow2_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                  QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    int ret = qcow2_co_before_change(bs);

    while (bytes > 0 && ret >= 0) {
        int64_t done;

        ret = co_write_step(bs, offset, bytes, qiov, qiov_offset, &done);
        offset += done;
        bytes -= done;
        qiov_offset += done;
    }
    return ret;
}

/* ---- copying inside the host ----------------------------------------------------------------- */

int coroutine_fn qcow2_co_copy_range_from(BlockDriverState *bs, BdrvChild *src, int64_t src_offset,
                                          BdrvChild *dst, int64_t dst_offset, int64_t bytes,
                                          unsigned flags)
{
    Qcow2State *s = bs->opaque;

    while (bytes > 0) {
        Qcow2Mapping map;
        BdrvChild *from = bs->backing;
        int64_t from_offset = src_offset;
        int ret;

        qemu_co_mutex_lock(&s->lock);
        ret = qcow2_co_map(bs, src_offset, bytes, &map);
        qemu_co_mutex_unlock(&s->lock);
        if (ret < 0) {
            return ret;
        }
        if (map.kind == QCOW2_DATA) {
            from = qcow2_data(bs);
            from_offset = map.host_offset;
        } else if ((map.kind != QCOW2_UNALLOCATED && map.kind != QCOW2_UNALLOCATED_RESERVED) ||
                   qcow2_backing_is_zero(bs, src_offset + map.bytes - 1)) {
            return -ENOTSUP; /* no file has it as it is */
        }
        ret = bdrv_co_copy_range_from(from, from_offset, dst, dst_offset, map.bytes, flags);
        if (ret < 0) {
            return ret;
        }
        src_offset += map.bytes;
        dst_offset += map.bytes;
        bytes -= map.bytes;
    }
    return 0;
}

int coroutine_fn qcow2_co_copy_range_to(BlockDriverState *bs, BdrvChild *src, int64_t src_offset,
                                        BdrvChild *dst, int64_t dst_offset, int64_t bytes,
                                        unsigned flags)
{
    Qcow2State *s = bs->opaque;
    int ret;

    if (qcow2_offset_in_cluster(s, dst_offset) || qcow2_offset_in_cluster(s, bytes)) {
        return -ENOTSUP; /* the rest of a cluster is ours to write */
    }
    ret = qcow2_co_before_change(bs);
    if (ret >= 0 && (flags & BDRV_REQ_NO_FALLBACK)) {
        ret = bdrv_co_copy_range_to(src, src_offset, qcow2_data(bs), 0, 0, flags);
    }
    while (bytes > 0 && ret >= 0) {
        WriteStep step = { .offset = dst_offset, .bytes = bytes };
        int64_t done = 0;

        ret = co_begin_step(bs, &step);
        if (ret < 0) {
            ret = qcow2_co_after_step(bs, ret);
            continue;
        }
        ret = bdrv_co_copy_range_to(src, src_offset, qcow2_data(bs), step.host, step.bytes, flags);
        ret = co_end_step(bs, &step, ret, &done);
        src_offset += done;
        dst_offset += done;
        bytes -= done;
    }
    return ret;
}
