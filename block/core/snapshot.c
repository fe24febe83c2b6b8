/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Internal snapshots: which node keeps them, and the frame around the driver's callbacks. */
#include "qemu/osdep.h"

#include "block/freeze.h"
#include "block/snapshot.h"
#include "core-int.h"
#include "qemu/atomic.h"
#include "qobject/opts.h"
#include "qobject/qdict.h"

/* ---- where ----------------------------------------------------------------------------------- */

/* The only child of a node that stores nothing beside it. */
static BlockDriverState *only_child(BlockDriverState *bs)
{
    BdrvChild *child = QLIST_FIRST(&bs->children);

    return child && !QLIST_NEXT(child, next) ? child->bs : NULL;
}

BlockDriverState *bdrv_snapshot_node(BlockDriverState *bs)
{
    while (bs && bs->drv && !bs->drv->bdrv_co_snapshot_create) {
        bs = only_child(bs);
    }
    return bs && bs->drv ? bs : NULL;
}

bool bdrv_can_snapshot(BlockDriverState *bs)
{
    return bs && bs->drv && !bs->read_only && bdrv_is_inserted(bs) && bdrv_snapshot_node(bs);
}

SnapshotInfoList *bdrv_snapshot_list(BlockDriverState *bs)
{
    BlockDriverState *node = bdrv_snapshot_node(bs);

    return node && node->drv->bdrv_get_snapshots ? node->drv->bdrv_get_snapshots(node) : NULL;
}

SnapshotInfo *bdrv_snapshot_find(BlockDriverState *bs, const char *id, const char *name)
{
    g_autoptr(SnapshotInfoList) list = bdrv_snapshot_list(bs);

    for (SnapshotInfoList *entry = list; entry; entry = entry->next) {
        if ((!id || strcmp(entry->value->id, id) == 0) &&
            (!name || strcmp(entry->value->name, name) == 0)) {
            return g_steal_pointer(&entry->value);
        }
    }
    return NULL;
}

SnapshotInfo *bdrv_snapshot_find_either(BlockDriverState *bs, const char *text)
{
    SnapshotInfo *info = bdrv_snapshot_find(bs, text, NULL);

    return info ? info : bdrv_snapshot_find(bs, NULL, text);
}

/* ---- changing -------------------------------------------------------------------------------- */

/* The node to work on, or NULL with @errp set. */
static BlockDriverState *find_node(BlockDriverState *bs, Error **errp)
{
    BlockDriverState *node = bdrv_snapshot_node(bs);

    if (!bdrv_is_inserted(bs)) {
        error_setg(errp, "Device '%s' has no medium", bdrv_get_device_or_node_name(bs));
    } else if (!node) {
        error_setg(errp, "Block driver '%s' does not support internal snapshots",
                   bdrv_get_format_name(bs));
    } else if (bs->read_only || node->read_only) {
        error_setg(errp, "Node '%s' is read-only", node->node_name);
    } else {
        return node;
    }
    return NULL;
}

static BdrvClaim *claim_node(BlockDriverState *node, BlockRights uses, const char *what,
                             Error **errp)
{
    BdrvOwner owner = { BDRV_OWNER_OPERATION, NULL, NULL, what };

    return bdrv_claim(node, owner, uses, 0, what, errp);
}

bool coroutine_fn bdrv_co_snapshot_create(BlockDriverState *bs, const SnapshotInfo *info,
                                          Error **errp)
{
    CONTROL_PATH();
    BlockDriverState *node = find_node(bs, errp);
    BlockRights rights = BLK_PERM_WRITE_UNCHANGED |
                         BLK_RIGHT_OP(BLOCK_OP_TYPE_INTERNAL_SNAPSHOT);
    g_autoptr(BdrvClaim) claim = node ? claim_node(node, rights,
                                                   "an internal snapshot being made", errp)
                                      : NULL;

    if (!claim) {
        return false;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(node);
    qatomic_inc(&node->write_gen);
    return node->drv->bdrv_co_snapshot_create(node, info, errp);
}

bool coroutine_fn bdrv_co_snapshot_create_now(BlockDriverState *bs, const char *name, Error **errp)
{
    int64_t now_us = g_get_real_time();
    SnapshotInfo info = {
        .id = (char *)"",
        .name = (char *)name,
        .date_sec = now_us / G_USEC_PER_SEC,
        .date_nsec = now_us % G_USEC_PER_SEC * 1000,
        .has_icount = true,
    };

    return bdrv_co_snapshot_create(bs, &info, errp);
}

static bool coroutine_fn co_snapshot_goto(BlockDriverState *bs, const char *snapshot,
                                          BlockRights rights, Error **errp)
{
    BlockDriverState *node = find_node(bs, errp);
    g_autoptr(SnapshotInfo) info = NULL;

    if (!node) {
        return false;
    }
    if (!QLIST_EMPTY(&bs->dirty_bitmaps) || !QLIST_EMPTY(&node->dirty_bitmaps)) {
        error_setg(errp, "Device has active dirty bitmaps");
        return false;
    }
    info = bdrv_snapshot_find_either(node, snapshot);
    if (!info) {
        error_setg_errno(errp, ENOENT, "Failed to load snapshot");
        return false;
    }
    g_autoptr(BdrvClaim) claim = claim_node(node, rights, "an internal snapshot being applied",
                                            errp);
    if (!claim) {
        return false;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(node);
    qatomic_inc(&node->write_gen);
    bool ok = node->drv->bdrv_co_snapshot_goto(node, info->id, errp);
    bdrv_chains_changed();
    if (!ok) {
        return false;
    }
    for (BlockDriverState *at = bs; at != node; at = only_child(at)) {
        bdrv_co_refresh_length(at);
    }
    bdrv_co_refresh_length(node);
    return true;
}

bool coroutine_fn bdrv_co_snapshot_goto(BlockDriverState *bs, const char *snapshot, Error **errp)
{
    CONTROL_PATH();
    return co_snapshot_goto(bs, snapshot, BLK_PERM_WRITE | BLK_PERM_RESIZE |
                            BLK_RIGHT_OP(BLOCK_OP_TYPE_INTERNAL_SNAPSHOT), errp);
}

bool coroutine_fn bdrv_co_snapshot_goto_with_users(BlockDriverState *bs, const char *snapshot,
                                                   Error **errp)
{
    CONTROL_PATH();
    return co_snapshot_goto(bs, snapshot, BLK_PERM_WRITE_UNCHANGED |
                            BLK_RIGHT_OP(BLOCK_OP_TYPE_INTERNAL_SNAPSHOT), errp);
}

bool coroutine_fn bdrv_co_snapshot_delete(BlockDriverState *bs, const char *id, Error **errp)
{
    CONTROL_PATH();
    BlockDriverState *node = find_node(bs, errp);
    BlockRights rights = BLK_PERM_WRITE_UNCHANGED |
                         BLK_RIGHT_OP(BLOCK_OP_TYPE_INTERNAL_SNAPSHOT_DELETE);
    g_autoptr(BdrvClaim) claim = node ? claim_node(node, rights,
                                                   "an internal snapshot being deleted", errp)
                                      : NULL;

    if (!claim) {
        return false;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(node);
    qatomic_inc(&node->write_gen);
    return node->drv->bdrv_co_snapshot_delete(node, id, errp);
}

/* ---- looking into one ------------------------------------------------------------------------ */

bool coroutine_fn bdrv_co_snapshot_load_tmp(BlockDriverState *bs, const char *id, const char *name,
                                            Error **errp)
{
    CONTROL_PATH();
    BlockDriverState *node = bdrv_snapshot_node(bs);
    g_autoptr(SnapshotInfo) info = NULL;

    if (!node || !node->drv->bdrv_co_snapshot_load_tmp) {
        error_setg(errp, "Block format '%s' used by device '%s' does not support temporarily "
                   "loading internal snapshots", bdrv_get_format_name(bs),
                   bdrv_get_device_name(bs));
        return false;
    }
    info = bdrv_snapshot_find(node, id, name);
    if (!info) {
        error_setg(errp, "Can't find snapshot");
        return false;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(node);
    return node->drv->bdrv_co_snapshot_load_tmp(node, info->id, errp);
}

static const QemuOptDesc snapshot_desc[] = {
    { .name = "snapshot.id", .type = QEMU_OPT_STRING },
    { .name = "snapshot.name", .type = QEMU_OPT_STRING },
    { .name = NULL },
};

bool coroutine_fn bdrv_co_snapshot_load_tmp_by_text(BlockDriverState *bs, const char *text,
                                                    Error **errp)
{
    QemuOptsList list = { .name = "snapshot", .desc = snapshot_desc };
    g_autoptr(SnapshotInfo) info = NULL;
    bool ok = false;

    if (g_str_has_prefix(text, "snapshot.")) {
        QemuOpts *opts = qemu_opts_parse(&list, text, false, errp);

        if (opts) {
            ok = bdrv_co_snapshot_load_tmp(bs, qemu_opt_get(opts, "snapshot.id"),
                                           qemu_opt_get(opts, "snapshot.name"), errp);
            qemu_opts_del(opts);
        }
        qemu_opts_reset(&list);
        return ok;
    }
    info = bdrv_snapshot_find_either(bs, text);
    return bdrv_co_snapshot_load_tmp(bs, info ? info->id : text, NULL, errp);
}

/* ---- the state of a machine ------------------------------------------------------------------ */

static int coroutine_fn co_vmstate(BlockDriverState *bs, QEMUIOVector *qiov, int64_t pos,
                                   bool is_write)
{
    BlockDriverState *node = bdrv_snapshot_node(bs);
    int ret;

    if (!node || !node->drv->bdrv_co_save_vmstate) {
        return -ENOTSUP;
    }
    if (pos < 0 || pos > BDRV_MAX_LENGTH - (int64_t)qiov->size) {
        return -EINVAL;
    }
    if (is_write && (bs->read_only || node->read_only)) {
        return -EACCES;
    }
    bdrv_activity_begin(node);
    ret = is_write ? node->drv->bdrv_co_save_vmstate(node, qiov, pos)
                   : node->drv->bdrv_co_load_vmstate(node, qiov, pos);
    if (is_write) {
        qatomic_inc(&node->write_gen);
    }
    bdrv_activity_end(node);
    return ret;
}

int coroutine_fn bdrv_co_save_vmstate(BlockDriverState *bs, QEMUIOVector *qiov, int64_t pos)
{
    return co_vmstate(bs, qiov, pos, true);
}

int coroutine_fn bdrv_co_load_vmstate(BlockDriverState *bs, QEMUIOVector *qiov, int64_t pos)
{
    return co_vmstate(bs, qiov, pos, false);
}

int coroutine_fn bdrv_co_snapshot_load_vmstate(BlockDriverState *bs, const char *id,
                                               QEMUIOVector *qiov, int64_t pos)
{
    CONTROL_PATH();
    BlockDriverState *node = bdrv_snapshot_node(bs);
    int ret;

    if (!node || !node->drv->bdrv_co_snapshot_load_vmstate) {
        return -ENOTSUP;
    }
    if (pos < 0 || (pos | qiov->size) % BDRV_SECTOR_SIZE) {
        return -EINVAL;
    }
    bdrv_activity_begin(node);
    ret = node->drv->bdrv_co_snapshot_load_vmstate(node, id, qiov, pos);
    bdrv_activity_end(node);
    return ret;
}

int coroutine_fn bdrv_co_drop_vmstate(BlockDriverState *bs)
{
    CONTROL_PATH();
    BlockDriverState *node = bdrv_snapshot_node(bs);
    int ret;

    if (!node || !node->drv->bdrv_co_drop_vmstate || node->read_only) {
        return 0;
    }
    bdrv_activity_begin(node);
    ret = node->drv->bdrv_co_drop_vmstate(node);
    qatomic_inc(&node->write_gen);
    bdrv_activity_end(node);
    return ret;
}
