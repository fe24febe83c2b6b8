/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * throttle: passes requests on at the rate that a throttle group allows.
 *
 * What reads counts as a read; writes, zeroes and discards count as writes.  Flushes and questions
 * pass freely.  While drained, nobody waits: a freeze never waits for a limit.
 */
#include "qemu/osdep.h"

#include "block/throttle-group.h"

#include "block/freeze.h"
#include "filter-int.h"

extern BlockDriver bdrv_throttle;

/* ---- requests -------------------------------------------------------------------------------- */

static int coroutine_fn throttle_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                           QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    throttle_group_co_wait(bs->opaque, THROTTLE_READ, bytes);
    return bdrv_co_preadv_part(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn throttle_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                            QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    throttle_group_co_wait(bs->opaque, THROTTLE_WRITE, bytes);
    return bdrv_co_pwritev_part(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn throttle_co_pwritev_compressed(BlockDriverState *bs, int64_t offset,
                                                       int64_t bytes, QEMUIOVector *qiov,
                                                       size_t qiov_offset)
{
    return throttle_co_pwritev(bs, offset, bytes, qiov, qiov_offset, BDRV_REQ_WRITE_COMPRESSED);
}

static int coroutine_fn throttle_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                                  int64_t bytes, unsigned flags)
{
    throttle_group_co_wait(bs->opaque, THROTTLE_WRITE, bytes);
    return bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);
}

static int coroutine_fn throttle_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    throttle_group_co_wait(bs->opaque, THROTTLE_WRITE, bytes);
    return bdrv_co_pdiscard(bs->file, offset, bytes);
}

static int coroutine_fn throttle_co_copy_range_from(BlockDriverState *bs, BdrvChild *src,
                                                    int64_t src_offset, BdrvChild *dst,
                                                    int64_t dst_offset, int64_t bytes,
                                                    unsigned flags)
{
    throttle_group_co_wait(bs->opaque, THROTTLE_READ, bytes);
    return bdrv_co_copy_range_from(bs->file, src_offset, dst, dst_offset, bytes, flags);
}

static int coroutine_fn throttle_co_copy_range_to(BlockDriverState *bs, BdrvChild *src,
                                                  int64_t src_offset, BdrvChild *dst,
                                                  int64_t dst_offset, int64_t bytes,
                                                  unsigned flags)
{
    throttle_group_co_wait(bs->opaque, THROTTLE_WRITE, bytes);
    return bdrv_co_copy_range_to(src, src_offset, bs->file, dst_offset, bytes, flags);
}

/* Not limited: nobody here knows how much it moves. */
static int coroutine_fn throttle_co_ioctl(BlockDriverState *bs, unsigned long request, void *arg)
{
    return bdrv_co_ioctl(bs->file, request, arg);
}

/* ---- zones: a report is a question, an append a write; changes of state move no data --------- */

static int coroutine_fn throttle_co_zone_report(BlockDriverState *bs, int64_t offset,
                                                unsigned *nr_zones, BlockZoneDescriptor *zones)
{
    return bdrv_co_zone_report(bs->file, offset, nr_zones, zones);
}

static int coroutine_fn throttle_co_zone_mgmt(BlockDriverState *bs, BlockZoneOp op, int64_t offset,
                                              int64_t bytes)
{
    throttle_group_co_wait(bs->opaque, THROTTLE_WRITE, 0);
    return bdrv_co_zone_mgmt(bs->file, op, offset, bytes);
}

static int coroutine_fn throttle_co_zone_append(BlockDriverState *bs, int64_t *offset,
                                                QEMUIOVector *qiov)
{
    throttle_group_co_wait(bs->opaque, THROTTLE_WRITE, qiov->size);
    return bdrv_co_zone_append(bs->file, offset, qiov, 0);
}

/* ---- drain ----------------------------------------------------------------------------------- */

/* A filter from code is no member while it is put in place. */
static void throttle_drain_begin(BlockDriverState *bs)
{
    ThrottleMember *member = bs->opaque;

    if (member->group) {
        throttle_member_release(member);
    }
}

static void throttle_drain_end(BlockDriverState *bs)
{
    ThrottleMember *member = bs->opaque;

    if (member->group) {
        throttle_member_hold(member);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Without options: throttle_filter_co_insert() does the rest. */
static bool coroutine_fn throttle_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                          int flags, Error **errp)
{
    const BlockdevOptionsThrottle *opts = options ? &options->u.throttle : NULL;
    ThrottleGroup *group;

    if (!opts) {
        return true;
    }
    if (!bdrv_co_open_file_child(bs, opts->file, errp)) {
        return false;
    }
    group = throttle_group_use(opts->throttle_group, errp);
    if (!group) {
        return false;
    }
    throttle_member_init(bs->opaque, group);
    return true;
}

static void coroutine_fn throttle_co_close(BlockDriverState *bs)
{
    ThrottleMember *member = bs->opaque;

    if (member->group) {
        throttle_member_done(member);
    }
}

/* The node is drained: nobody waits, and after the change nobody shall. */
static void change_group(BlockDriverState *bs, ThrottleGroup *group)
{
    throttle_member_done(bs->opaque);
    throttle_member_init(bs->opaque, group);
    throttle_member_release(bs->opaque);
}

static bool coroutine_fn throttle_co_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    state->opaque = throttle_group_use(state->options->u.throttle.throttle_group, errp);
    return state->opaque != NULL;
}

static void throttle_reopen_commit(BdrvReopenState *state)
{
    change_group(state->bs, g_steal_pointer(&state->opaque));
}

static void throttle_reopen_abort(BdrvReopenState *state)
{
    g_clear_pointer(&state->opaque, throttle_group_unref);
}

/* ---- from code ------------------------------------------------------------------------------- */

BlockDriverState *throttle_filter_cast(BlockDriverState *bs)
{
    return bs && bs->drv == &bdrv_throttle && bs->implicit ? bs : NULL;
}

ThrottleGroup *throttle_filter_group(BlockDriverState *filter)
{
    return ((ThrottleMember *)filter->opaque)->group;
}

void coroutine_fn throttle_filter_co_set_group(BlockDriverState *filter, ThrottleGroup *group)
{
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(filter);

    change_group(filter, group);
}

BlockDriverState *coroutine_fn throttle_filter_co_open(BlockDriverState *below,
                                                       ThrottleGroup *group, Error **errp)
{
    BlockDriverState *bs = bdrv_co_open_implicit_filter(&bdrv_throttle, below, errp);

    if (!bs) {
        throttle_group_unref(group);
        return NULL;
    }
    throttle_member_init(bs->opaque, group);
    if (bs->drained) {
        throttle_drain_begin(bs);
    }
    return bs;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static const char *const throttle_strong_opts[] = { "throttle-group", NULL };
static const char *const throttle_mutable_opts[] = { "throttle-group", NULL };

BlockDriver bdrv_throttle = {
    .format_name = "throttle",
    .instance_size = sizeof(ThrottleMember),
    .options_type = BLOCKDEV_DRIVER_THROTTLE,
    .is_filter = true,
    .supports_zoned_children = true,
    .strong_runtime_opts = throttle_strong_opts,
    .mutable_opts = throttle_mutable_opts,
    .bdrv_co_open = throttle_co_open,
    .bdrv_co_close = throttle_co_close,
    .bdrv_co_reopen_prepare = throttle_co_reopen_prepare,
    .bdrv_reopen_commit = throttle_reopen_commit,
    .bdrv_reopen_abort = throttle_reopen_abort,
    .bdrv_refresh_limits = filter_take_flags_of_file,
    .bdrv_co_preadv = throttle_co_preadv,
    .bdrv_co_pwritev = throttle_co_pwritev,
    .bdrv_co_pwritev_compressed = throttle_co_pwritev_compressed,
    .bdrv_co_pwrite_zeroes = throttle_co_pwrite_zeroes,
    .bdrv_co_pdiscard = throttle_co_pdiscard,
    .bdrv_co_copy_range_from = throttle_co_copy_range_from,
    .bdrv_co_copy_range_to = throttle_co_copy_range_to,
    .bdrv_co_ioctl = throttle_co_ioctl,
    .bdrv_co_zone_report = throttle_co_zone_report,
    .bdrv_co_zone_mgmt = throttle_co_zone_mgmt,
    .bdrv_co_zone_append = throttle_co_zone_append,
    .bdrv_drain_begin = throttle_drain_begin,
    .bdrv_drain_end = throttle_drain_end,
};
