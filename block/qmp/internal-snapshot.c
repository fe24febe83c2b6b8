/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots of one disk from the monitors; vm-snapshot.c has those of all disks.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/qapi.h"
#include "block/snapshot.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/gen/block-core-commands.h"
#include "qemu/timer.h"
#include "qmp-block.h"
#include "qobject/qdict.h"

/* ---- one disk: making ------------------------------------------------------------------------ */

struct InternalSnapshotAction {
    BlockDriverState *bs; /* referenced */
    char *device, *name, *id;
};

static void action_free(InternalSnapshotAction *action)
{
    bdrv_unref(action->bs);
    g_free(action->device);
    g_free(action->name);
    g_free(action->id);
    g_free(action);
}

static bool check_snapshot(BlockDriverState *bs, const BlockdevSnapshotInternal *args, Error **errp)
{
    g_autoptr(SnapshotInfo) old = NULL;

    if (bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_INTERNAL_SNAPSHOT, errp)) {
        return false;
    }
    if (bdrv_is_read_only(bs)) {
        error_setg(errp, "Device '%s' is read only", args->device);
        return false;
    }
    if (!bdrv_can_snapshot(bs)) {
        error_setg(errp, "Block format '%s' used by device '%s' does not support internal "
                   "snapshots", bdrv_get_format_name(bs), args->device);
        return false;
    }
    if (!*args->name) {
        error_setg(errp, "Name is empty");
        return false;
    }
    old = bdrv_snapshot_find(bs, NULL, args->name);
    if (old) {
        error_setg(errp, "Snapshot with name '%s' already exists on device '%s'", args->name,
                   args->device);
        return false;
    }
    return true;
}

InternalSnapshotAction *coroutine_fn
internal_snapshot_co_prepare(const BlockdevSnapshotInternal *args, Error **errp)
{
    CONTROL_PATH();
    BlockDriverState *bs = qmp_lookup_root(args->device, errp);
    int64_t now_us = g_get_real_time(), vm_clock = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
    SnapshotInfo info = {
        .id = (char *)"",
        .name = args->name,
        .date_sec = now_us / G_USEC_PER_SEC,
        .date_nsec = now_us % G_USEC_PER_SEC * 1000,
        .vm_clock_sec = vm_clock / NANOSECONDS_PER_SECOND,
        .vm_clock_nsec = vm_clock % NANOSECONDS_PER_SECOND,
    };
    g_autoptr(SnapshotInfo) made = NULL;

    if (!bs || !check_snapshot(bs, args, errp)) {
        return NULL;
    }
    if (!bdrv_co_snapshot_create(bs, &info, errp)) {
        error_prepend(errp, "Failed to create snapshot '%s' on device '%s': ", args->name,
                      args->device);
        return NULL;
    }
    made = bdrv_snapshot_find(bs, NULL, args->name);
    InternalSnapshotAction *action = g_new0(InternalSnapshotAction, 1);
    action->bs = bdrv_ref(bs);
    action->device = g_strdup(args->device);
    action->name = g_strdup(args->name);
    action->id = g_strdup(made ? made->id : "");
    return action;
}

void internal_snapshot_commit(InternalSnapshotAction *action)
{
    action_free(action);
}

void coroutine_fn internal_snapshot_co_abort(InternalSnapshotAction *action)
{
    Error *local_err = NULL;

    if (!bdrv_co_snapshot_delete(action->bs, action->id, &local_err)) {
        error_reportf_err(local_err, "Failed to delete snapshot with id '%s' and name '%s' on "
                          "device '%s' in abort: ", action->id, action->name, action->device);
    }
    action_free(action);
}

void coroutine_fn qmp_blockdev_snapshot_internal_sync(BlockdevSnapshotInternal *arg, Error **errp)
{
    InternalSnapshotAction *action = internal_snapshot_co_prepare(arg, errp);

    if (action) {
        internal_snapshot_commit(action);
    }
}

/* ---- one disk: deleting ---------------------------------------------------------------------- */

SnapshotInfo *coroutine_fn qmp_blockdev_snapshot_delete_internal_sync(const char *device,
                                                                      const char *id,
                                                                      const char *name,
                                                                      Error **errp)
{
    BlockDriverState *bs = qmp_lookup_root(device, errp);
    g_autoptr(SnapshotInfo) info = NULL;

    if (!bs) {
        return NULL;
    }
    if (!id && !name) {
        error_setg(errp, "Name or id must be provided");
        return NULL;
    }
    if (bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_INTERNAL_SNAPSHOT_DELETE, errp)) {
        return NULL;
    }
    if (!bdrv_snapshot_node(bs)) {
        error_setg_errno(errp, ENOTSUP, "Failed to get a snapshot list");
        return NULL;
    }
    info = bdrv_snapshot_find(bs, id, name);
    if (!info) {
        error_setg(errp, "Snapshot with id '%s' and name '%s' does not exist on device '%s'",
                   id ? id : "null", name ? name : "null", device);
        return NULL;
    }
    return bdrv_co_snapshot_delete(bs, info->id, errp) ? g_steal_pointer(&info) : NULL;
}

static void coroutine_fn hmp_snapshot_blkdev_internal(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    BlockdevSnapshotInternal snapshot = {
        .device = (char *)qdict_get_str(args, "device"),
        .name = (char *)qdict_get_str(args, "name"),
    };

    qmp_blockdev_snapshot_internal_sync(&snapshot, &err);
    hmp_handle_error(mon, err);
}

static void coroutine_fn hmp_snapshot_delete_blkdev_internal(Monitor *mon, const QDict *args)
{
    Error *err = NULL;
    g_autoptr(SnapshotInfo) info =
        qmp_blockdev_snapshot_delete_internal_sync(qdict_get_str(args, "device"),
                                                   qdict_get_try_str(args, "id"),
                                                   qdict_get_str(args, "name"), &err);

    hmp_handle_error(mon, err);
}

void hmp_add_snapshots(GPtrArray *words, BlockDriverState *bs, const char *prefix)
{
    g_autoptr(SnapshotInfoList) list = bdrv_snapshot_list(bs);

    for (SnapshotInfoList *entry = list; entry; entry = entry->next) {
        hmp_add_choice(words, entry->value->name, prefix);
    }
}

static void complete_name(GPtrArray *words, const GPtrArray *before, const char *prefix)
{
    BlockDriverState *bs = qmp_lookup_root(before->pdata[0], NULL);

    if (bs) {
        hmp_add_snapshots(words, bs, prefix);
    }
}

/* ---- tables ---------------------------------------------------------------------------------- */

static const HMPCommand commands[] = {
    { "snapshot_blkdev_internal", "device:B,name:s", "device name",
      "make a snapshot of a device within its image", hmp_snapshot_blkdev_internal, false },
    { "snapshot_delete_blkdev_internal", "device:B,name:s,id:s?", "device name [id]",
      "delete a snapshot of a device within its image", hmp_snapshot_delete_blkdev_internal,
      false },
    { .name = NULL },
};

void hmp_snapshot_register(void)
{
    hmp_register_commands(commands);
    hmp_set_completer("snapshot_delete_blkdev_internal", 1, complete_name);
    hmp_vm_snapshot_register();
}
