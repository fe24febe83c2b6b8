/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * commit_top: reads pass, claims do not.
 */
#include "qemu/osdep.h"

#include "block/commit-top.h"

#include "filter-int.h"

extern BlockDriver bdrv_commit_top;

static int coroutine_fn commit_top_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                             QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    return bdrv_co_preadv_part(bs->backing, offset, bytes, qiov, qiov_offset, flags);
}

static BdrvChildClaims commit_top_child_claims(BlockDriverState *bs, const BdrvChild *child,
                                               BdrvChildRole role, BlockRights parent_uses,
                                               BlockRights parent_shared)
{
    return (BdrvChildClaims) { .uses = 0, .shared = BLK_PERM_ALL };
}

BlockDriverState *coroutine_fn commit_top_co_insert(BlockDriverState *bs,
                                                    const char *filter_node_name,
                                                    const void *owner_key, Error **errp)
{
    FilterSpec spec = {
        .drv = &bdrv_commit_top,
        .child_name = "backing",
        .node_name = filter_node_name,
        .owner_key = owner_key,
    };

    return filter_co_insert(&spec, bs, NULL, NULL, errp);
}

bool coroutine_fn commit_top_co_drop(BlockDriverState *filter, Error **errp)
{
    return filter_co_drop(filter, errp);
}

BlockDriver bdrv_commit_top = {
    .format_name = "commit_top",
    .options_type = BLOCKDEV_DRIVER__MAX,
    .is_filter = true,
    .filtered_is_backing = true,
    .bdrv_child_claims = commit_top_child_claims,
    .bdrv_co_preadv = commit_top_co_preadv,
};
