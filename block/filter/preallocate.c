/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * preallocate: a write past the end of "file" makes the file longer than needed, by much, so that
 * the host's file system allocates rarely and in large pieces.
 *
 * Nobody above sees it: the length of this node is data_end, the end of what was written.  The rest
 * of the file, up to file_end, is allocated and zero.  It is cut off when nobody writes through the
 * node any more, when it is closed or becomes read-only; until then the filter holds on to the
 * right to resize the file.
 *
 * file_end and data_end only grow while requests run, under @lock; they are read without it.  -1:
 * nothing was written yet, so the file is as long as it says.
 */
#include "qemu/osdep.h"

#include "filter-int.h"

#include "block/freeze.h"
#include "qemu/atomic.h"
#include "qemu/co-lock.h"
#include "qemu/lockable.h"

#define DEFAULT_ALIGN (1 * MiB)
#define DEFAULT_SIZE (128 * MiB)

typedef struct PreallocateState {
    /* Changed only while frozen. */
    int64_t align, size;

    CoMutex lock;
    int64_t data_end, file_end; /* atomic */
} PreallocateState;

/* ---- options --------------------------------------------------------------------------------- */

static bool take_options(PreallocateState *s, const BlockdevOptionsPreallocate *opts, Error **errp)
{
    int64_t align = opts->has_prealloc_align ? opts->prealloc_align : DEFAULT_ALIGN;
    int64_t size = opts->has_prealloc_size ? opts->prealloc_size : DEFAULT_SIZE;

    if (align <= 0 || align % BDRV_SECTOR_SIZE || align > BDRV_MAX_LENGTH) {
        error_setg(errp, "prealloc-align parameter of preallocate filter is not aligned to %d",
                   (int)BDRV_SECTOR_SIZE);
        return false;
    }
    if (size < 0 || size > BDRV_MAX_LENGTH) {
        error_setg(errp, "prealloc-size parameter of preallocate filter is out of range");
        return false;
    }
    s->align = align;
    s->size = size;
    return true;
}

/* ---- growing --------------------------------------------------------------------------------- */

/* Under the lock: from now on the end of the data is known here. */
static int coroutine_fn co_begin(BlockDriverState *bs)
{
    PreallocateState *s = bs->opaque;
    int64_t bytes;

    if (s->file_end >= 0) {
        return 0;
    }
    bytes = bdrv_co_getlength(bs->file->bs);
    if (bytes < 0) {
        return bytes;
    }
    qatomic_set(&s->data_end, bytes);
    qatomic_set(&s->file_end, bytes);
    return 0;
}

/* Under the lock: make the file reach beyond @end.  If the host cannot, the write will do it. */
static void coroutine_fn co_allocate(BlockDriverState *bs, int64_t end)
{
    PreallocateState *s = bs->opaque;
    int64_t new_end = QEMU_ALIGN_UP(MIN(end + s->size, BDRV_MAX_LENGTH - s->align), s->align);

    if (new_end > s->file_end &&
        bdrv_co_truncate(bs->file, new_end, false, PREALLOC_MODE_FALLOC, 0, NULL) >= 0) {
        qatomic_set(&s->file_end, new_end);
    }
}

/* Before a change of [.., end): allocate, if that is past what is. */
static void coroutine_fn co_before_change(BlockDriverState *bs, int64_t end)
{
    PreallocateState *s = bs->opaque;

    if (end <= qatomic_read(&s->file_end)) {
        return;
    }
    CO_LOCK_GUARD(&s->lock);
    if (co_begin(bs) >= 0 && end > s->file_end) {
        co_allocate(bs, end);
    }
}

/*
 * After it: the data reaches that far.  Of a write that failed, a part may be there, and then it is
 * not to come up when the disk gets longer.
 */
static void coroutine_fn co_after_change(BlockDriverState *bs, int64_t end, int ret)
{
    PreallocateState *s = bs->opaque;

    if (end <= qatomic_read(&s->data_end)) {
        return;
    }
    CO_LOCK_GUARD(&s->lock);
    if (s->data_end < 0 || end <= s->data_end) {
        return;
    }
    if (ret < 0) {
        int64_t len = bdrv_co_getlength(bs->file->bs);

        end = CLAMP(len, s->data_end, end);
    }
    qatomic_set(&s->data_end, end);
    qatomic_set(&s->file_end, MAX(s->file_end, end));
}

/* Give back what was allocated ahead.  Nobody writes meanwhile. */
static int coroutine_fn co_drop(BlockDriverState *bs, Error **errp)
{
    PreallocateState *s = bs->opaque;
    int ret = 0;

    if (s->file_end > s->data_end) {
        ret = bdrv_co_truncate(bs->file, s->data_end, true, PREALLOC_MODE_OFF, 0, errp);
        if (ret < 0) {
            error_prepend(errp, "Failed to drop preallocation: ");
        }
    }
    if (ret >= 0) {
        qatomic_set(&s->file_end, -1);
        qatomic_set(&s->data_end, -1);
    }
    return ret;
}

/* ---- requests -------------------------------------------------------------------------------- */

static int coroutine_fn preallocate_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                               QEMUIOVector *qiov, size_t qiov_offset,
                                               unsigned flags)
{
    int ret;

    co_before_change(bs, offset + bytes);
    ret = bdrv_co_pwritev_part(bs->file, offset, bytes, qiov, qiov_offset, flags);
    co_after_change(bs, offset + bytes, ret);
    return ret;
}

static int coroutine_fn preallocate_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                                     int64_t bytes, unsigned flags)
{
    int ret;

    co_before_change(bs, offset + bytes);
    ret = bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);
    co_after_change(bs, offset + bytes, ret);
    return ret;
}

/* Growing within what is allocated costs nothing; all else is done to a file without it. */
static int coroutine_fn preallocate_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                                PreallocMode prealloc, unsigned flags,
                                                Error **errp)
{
    PreallocateState *s = bs->opaque;
    int ret;

    CO_LOCK_GUARD(&s->lock);
    if (prealloc == PREALLOC_MODE_OFF && s->data_end >= 0 && offset >= s->data_end &&
        offset <= s->file_end) {
        qatomic_set(&s->data_end, offset);
        return 0;
    }
    ret = co_drop(bs, errp);
    return ret < 0 ? ret : bdrv_co_truncate(bs->file, offset, exact, prealloc, flags, errp);
}

static int64_t coroutine_fn preallocate_co_getlength(BlockDriverState *bs)
{
    PreallocateState *s = bs->opaque;
    int64_t data_end = qatomic_read(&s->data_end);

    return data_end >= 0 ? data_end : bdrv_co_getlength(bs->file->bs);
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool coroutine_fn preallocate_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                             int flags, Error **errp)
{
    PreallocateState *s = bs->opaque;

    qemu_co_mutex_init(&s->lock);
    s->data_end = s->file_end = -1;
    return take_options(s, &options->u.preallocate, errp) &&
           bdrv_co_open_file_child(bs, options->u.preallocate.file, errp);
}

static void coroutine_fn preallocate_co_close(BlockDriverState *bs)
{
    Error *local_err = NULL;

    if (co_drop(bs, &local_err) < 0) {
        error_report_err(local_err);
    }
}

static bool coroutine_fn preallocate_co_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    g_autofree PreallocateState *new_state = g_new0(PreallocateState, 1);

    if (!take_options(new_state, &state->options->u.preallocate, errp)) {
        return false;
    }
    if (!(state->flags & BDRV_O_RDWR) && co_drop(state->bs, errp) < 0) {
        return false;
    }
    state->opaque = g_steal_pointer(&new_state);
    return true;
}

static void preallocate_reopen_commit(BdrvReopenState *state)
{
    g_autofree PreallocateState *new_state = state->opaque;
    PreallocateState *s = state->bs->opaque;

    s->align = new_state->align;
    s->size = new_state->size;
}

static void preallocate_reopen_abort(BdrvReopenState *state)
{
    g_free(state->opaque);
}

static int coroutine_fn preallocate_co_inactivate(BlockDriverState *bs)
{
    return co_drop(bs, NULL);
}

/* The last one who writes goes: then others may write to the file, and resize it. */
static void coroutine_fn preallocate_co_before_claims(BlockDriverState *bs, BlockRights uses)
{
    PreallocateState *s = bs->opaque;
    Error *local_err = NULL;

    if (uses & BLK_PERM_WRITE || qatomic_read(&s->file_end) <= qatomic_read(&s->data_end)) {
        return;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(bs);
    if (co_drop(bs, &local_err) < 0) {
        warn_report_err(local_err);
    }
}

/*
 * Whoever writes through here resizes the file, and nobody else may: what lies past the end of the
 * data looks like data to others.
 */
static BdrvChildClaims preallocate_child_claims(BlockDriverState *bs, const BdrvChild *child,
                                                BdrvChildRole role, BlockRights parent_uses,
                                                BlockRights parent_shared)
{
    PreallocateState *s = bs->opaque;
    BdrvChildClaims claims = bdrv_default_child_claims(bs, child, role, parent_uses,
                                                       parent_shared);

    if ((claims.uses & BLK_PERM_WRITE) || s->file_end > s->data_end) {
        claims.uses |= BLK_PERM_WRITE | BLK_PERM_RESIZE;
        claims.shared &= ~(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    }
    return claims;
}

static void preallocate_refresh_limits(BlockDriverState *bs)
{
    filter_take_flags_of_file(bs);
}

static const char *const preallocate_mutable_opts[] = { "prealloc-align", "prealloc-size", NULL };

BlockDriver bdrv_preallocate = {
    .format_name = "preallocate",
    .instance_size = sizeof(PreallocateState),
    .options_type = BLOCKDEV_DRIVER_PREALLOCATE,
    .is_filter = true,
    .mutable_opts = preallocate_mutable_opts,
    .bdrv_co_open = preallocate_co_open,
    .bdrv_co_close = preallocate_co_close,
    .bdrv_co_reopen_prepare = preallocate_co_reopen_prepare,
    .bdrv_reopen_commit = preallocate_reopen_commit,
    .bdrv_reopen_abort = preallocate_reopen_abort,
    .bdrv_co_inactivate = preallocate_co_inactivate,
    .bdrv_co_before_claims = preallocate_co_before_claims,
    .bdrv_child_claims = preallocate_child_claims,
    .bdrv_refresh_limits = preallocate_refresh_limits,
    .bdrv_co_pwritev = preallocate_co_pwritev,
    .bdrv_co_pwrite_zeroes = preallocate_co_pwrite_zeroes,
    .bdrv_co_truncate = preallocate_co_truncate,
    .bdrv_co_getlength = preallocate_co_getlength,
};
