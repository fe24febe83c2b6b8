/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits of drives: block_set_io_throttle, and what -drive throttling.* comes to.  Either way it is
 * an implicit throttle node right below the backend (throttle-group.h).
 */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/graph.h"
#include "block/throttle-group.h"
#include "qapi/gen/block-core-commands.h"
#include "qmp-block.h"

/* ---- setting --------------------------------------------------------------------------------- */

/* Any limit belongs to the group: its other members get it, too. */
static bool coroutine_fn co_join_group(BlockBackend *blk, const char *name,
                                       const ThrottleConfig *cfg, Error **errp)
{
    BlockDriverState *filter = throttle_filter_cast(blk_bs(blk));
    ThrottleGroup *group = throttle_group_use_or_new(name);
    throttle_group_set_config(group, cfg);
    if (filter) {
        throttle_filter_co_set_group(filter, group);
        return true;
    }
    g_autoptr(BlockDriverState) made = throttle_filter_co_open(blk_bs(blk), group, errp);
    return made && bdrv_co_replace_child(blk_root(blk), made, errp);
}

bool coroutine_fn blk_co_set_throttle(BlockBackend *blk, const char *name,
                                      const ThrottleConfig *cfg, Error **errp)
{
    CONTROL_PATH();
    if (!blk_bs(blk)) {
        error_setg(errp, "Device '%s' has no medium", blk_name(blk));
        return false;
    }
    if (throttle_enabled(cfg)) {
        return co_join_group(blk, name, cfg, errp);
    }
    BlockDriverState *filter = throttle_filter_cast(blk_bs(blk));
    return !filter || bdrv_co_replace_child(blk_root(blk), bdrv_filter_bs(filter), errp);
}

/* The name of the group that @blk is in or, by default, would be in. */
static const char *group_name(BlockBackend *blk)
{
    BlockDriverState *filter = throttle_filter_cast(blk_bs(blk));
    if (filter) {
        return throttle_group_name(throttle_filter_group(filter));
    }
    return *blk_name(blk) ? blk_name(blk) : blk_get_attached_dev_id(blk);
}

static LeakyBucket bucket(int64_t avg, bool has_max, int64_t max, bool has_length, int64_t length)
{
    return (LeakyBucket){
        .avg = avg,
        .max = has_max ? max : 0,
        .burst_length = has_length ? length : 1,
    };
}

#define BUCKET_OF(arg, name) \
    bucket((arg)->name, (arg)->has_##name##_max, (arg)->name##_max, \
           (arg)->has_##name##_max_length, (arg)->name##_max_length)

void coroutine_fn qmp_block_set_io_throttle(BlockIOThrottle *arg, Error **errp)
{
    ThrottleConfig cfg = {
        .buckets = {
            [THROTTLE_BPS_TOTAL] = BUCKET_OF(arg, bps),
            [THROTTLE_BPS_READ] = BUCKET_OF(arg, bps_rd),
            [THROTTLE_BPS_WRITE] = BUCKET_OF(arg, bps_wr),
            [THROTTLE_OPS_TOTAL] = BUCKET_OF(arg, iops),
            [THROTTLE_OPS_READ] = BUCKET_OF(arg, iops_rd),
            [THROTTLE_OPS_WRITE] = BUCKET_OF(arg, iops_wr),
        },
        .op_size = arg->has_iops_size ? arg->iops_size : 0,
    };
    BlockBackend *blk = block_backend_lookup(arg->device, arg->id, errp);
    if (blk && throttle_is_valid(&cfg, errp)) {
        blk_co_set_throttle(blk, arg->group ? arg->group : group_name(blk), &cfg, errp);
    }
}

/* ---- showing --------------------------------------------------------------------------------- */

#define FILL_BUCKET(info, name, bucket) \
    do { \
        const LeakyBucket *b_ = (bucket); \
        (info)->name = b_->avg; \
        (info)->has_##name##_max = (info)->has_##name##_max_length = b_->max != 0; \
        (info)->name##_max = b_->max; \
        (info)->name##_max_length = b_->burst_length; \
    } while (0)

void throttle_fill_info(BlockBackend *blk, BlockDeviceInfo *info)
{
    BlockDriverState *filter = throttle_filter_cast(blk_bs(blk));
    ThrottleConfig cfg;
    if (!filter) {
        return;
    }
    throttle_group_get_config(throttle_filter_group(filter), &cfg);
    FILL_BUCKET(info, bps, &cfg.buckets[THROTTLE_BPS_TOTAL]);
    FILL_BUCKET(info, bps_rd, &cfg.buckets[THROTTLE_BPS_READ]);
    FILL_BUCKET(info, bps_wr, &cfg.buckets[THROTTLE_BPS_WRITE]);
    FILL_BUCKET(info, iops, &cfg.buckets[THROTTLE_OPS_TOTAL]);
    FILL_BUCKET(info, iops_rd, &cfg.buckets[THROTTLE_OPS_READ]);
    FILL_BUCKET(info, iops_wr, &cfg.buckets[THROTTLE_OPS_WRITE]);
    info->has_iops_size = cfg.op_size != 0;
    info->iops_size = cfg.op_size;
    info->group = g_strdup(throttle_group_name(throttle_filter_group(filter)));
}
