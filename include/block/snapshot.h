/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots: states of a disk, and perhaps of a machine, kept within its image.
 *
 * A node that cannot keep any itself passes on to its only child (raw, filters).  Each operation
 * freezes the node and is on stable storage when it returns true; after a crash in the middle the
 * image is as before or as after.  Main thread, control lock held, but for the vmstate functions.
 */
#ifndef BLOCK_SNAPSHOT_H
#define BLOCK_SNAPSHOT_H

#include "block/block.h"
#include "qapi/gen/block-info-types.h"
#include "qemu/iov.h"

/** The node that keeps snapshots of what @bs shows: @bs or one below; NULL: none can. */
BlockDriverState *bdrv_snapshot_node(BlockDriverState *bs);
/** Can snapshots be made of @bs now?  Not of what is read-only, for one. */
bool bdrv_can_snapshot(BlockDriverState *bs);
/** All snapshots, oldest first; the caller's.  NULL: there are none. */
SnapshotInfoList *bdrv_snapshot_list(BlockDriverState *bs);
/** The first one with this @id and @name, of which one may be NULL; the caller's, or NULL. */
SnapshotInfo *bdrv_snapshot_find(BlockDriverState *bs, const char *id, const char *name);
/** The one with id @text, else the first one of that name. */
SnapshotInfo *bdrv_snapshot_find_either(BlockDriverState *bs, const char *text);

/** Make a snapshot as @info says; its id is ignored: the format chooses one. */
bool coroutine_fn bdrv_co_snapshot_create(BlockDriverState *bs, const SnapshotInfo *info,
                                          Error **errp);
/** A disk-only snapshot called @name, of this moment. */
bool coroutine_fn bdrv_co_snapshot_create_now(BlockDriverState *bs, const char *name, Error **errp);
/** Go back to the snapshot whose id, or else name, is @snapshot. */
bool coroutine_fn bdrv_co_snapshot_goto(BlockDriverState *bs, const char *snapshot, Error **errp);
/** The same below a machine that goes back, too, and so expects another content. */
bool coroutine_fn bdrv_co_snapshot_goto_with_users(BlockDriverState *bs, const char *snapshot,
                                                   Error **errp);
/** Delete the one with @id. */
bool coroutine_fn bdrv_co_snapshot_delete(BlockDriverState *bs, const char *id, Error **errp);
/**
 * Let the read-only @bs show a snapshot instead of the active image, until it is closed.  @id or
 * @name may be NULL.
 */
bool coroutine_fn bdrv_co_snapshot_load_tmp(BlockDriverState *bs, const char *id, const char *name,
                                            Error **errp);
/**
 * The same for what users write: "snapshot.id=ID,snapshot.name=NAME" (either may be missing), or an
 * id or name.
 */
bool coroutine_fn bdrv_co_snapshot_load_tmp_by_text(BlockDriverState *bs, const char *text,
                                                    Error **errp);

/**
 * Write (read) the state of a machine beside the disk, at @pos; the next snapshot that is made with
 * a vm_state_size takes it.  0 or a negative errno; -ENOTSUP: nowhere to put it.
 */
int coroutine_fn bdrv_co_save_vmstate(BlockDriverState *bs, QEMUIOVector *qiov, int64_t pos);
int coroutine_fn bdrv_co_load_vmstate(BlockDriverState *bs, QEMUIOVector *qiov, int64_t pos);
/**
 * Read the state that snapshot @id has; @pos and the length are multiples of BDRV_SECTOR_SIZE, and
 * what was never written is zero.  Context: control lock, so that the snapshot stays.
 */
int coroutine_fn bdrv_co_snapshot_load_vmstate(BlockDriverState *bs, const char *id,
                                               QEMUIOVector *qiov, int64_t pos);
/** Free state that was saved, but is in no snapshot.  Context: control lock. */
int coroutine_fn bdrv_co_drop_vmstate(BlockDriverState *bs);

#endif
