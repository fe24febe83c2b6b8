/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of block/qmp/ share: the steps of commands that transactions do, too.
 *
 * All in the main thread; the _co_ functions under the control lock.
 */
#ifndef BLOCK_QMP_QMP_BLOCK_H
#define BLOCK_QMP_QMP_BLOCK_H

#include "block/block-backend.h"
#include "block/dirty-bitmap.h"
#include "block/job.h"
#include "qapi/gen/block-core-types.h"

/* ---- life (shutdown.c) ----------------------------------------------------------------------- */

/**
 * Let other commands run until command_co_lock(), while this one waits for storage.  The end of the
 * program waits for it.
 */
void coroutine_fn command_co_unlock(void);
void coroutine_fn command_co_lock(void);
/** Wait until no command is between the two. */
void coroutine_fn command_co_wait_for_all(void);

/* ---- drives (media.c) ------------------------------------------------------------------------ */

/** The backend meant by a drive's name or by its device's id; exactly one of them is given. */
BlockBackend *block_backend_lookup(const char *device, const char *id, Error **errp);

/* ---- bitmaps (bitmap.c) ---------------------------------------------------------------------- */

/** The bitmap @name of @node (a node or device), whose node is put in *@bs (may be NULL). */
BdrvDirtyBitmap *block_dirty_bitmap_lookup(const char *node, const char *name,
                                           BlockDriverState **bs, Error **errp);

/** Make the bitmap that block-dirty-bitmap-add describes. */
BdrvDirtyBitmap *coroutine_fn block_dirty_bitmap_co_add(const BlockDirtyBitmapAdd *args,
                                                        Error **errp);

/**
 * Merge @sources into bitmap @target of @node; all or nothing.
 * @backup: receives the old content for bdrv_restore_dirty_bitmap(); may be NULL.
 */
BdrvDirtyBitmap *coroutine_fn block_dirty_bitmap_co_merge(const char *node, const char *target,
                                                          const BlockDirtyBitmapOrStrList *sources,
                                                          HBitmap **backup, Error **errp);

/** Remove a bitmap, from its image as well. */
bool coroutine_fn block_dirty_bitmap_co_remove(const char *node, const char *name, Error **errp);

/* ---- nodes (node.c) -------------------------------------------------------------------------- */

/**
 * The node or device @name, if nothing but a user is above it: else @errp is "Need a root block
 * node", with who is above it in the hint.
 */
BlockDriverState *qmp_lookup_root(const char *name, Error **errp);

/* ---- targets of jobs (drive-target.c) -------------------------------------------------------- */

/* The image that drive-backup or drive-mirror fills. */
typedef struct DriveTarget {
    BlockDriverState *source;
    const char *filename;
    const char *format;        /* NULL: probe the existing image */
    MirrorSyncMode sync;
    bool existing;             /* it is found, not made */
    BlockDriverState *backing; /* of a new image; or NULL */
    int flags;                 /* BDRV_O_* */
} DriveTarget;

/**
 * Fill in what follows from the members up to @existing: the source's format for a new image, its
 * backing, flags to open it with; sync=top of an image that backs on nothing is full.
 */
void drive_target_resolve(DriveTarget *target);

/** Make the image, unless it exists. */
bool coroutine_fn drive_target_co_create(const DriveTarget *target, Error **errp);

/* ---- external snapshots (snapshot.c) --------------------------------------------------------- */

/* An overlay in place that can still be taken away again. */
typedef struct SnapshotAction SnapshotAction;

/** Do blockdev-snapshot, until snapshot_co_commit() with a way back. */
SnapshotAction *coroutine_fn snapshot_co_prepare(const BlockdevSnapshot *args, Error **errp);
/** The same of blockdev-snapshot-sync. */
SnapshotAction *coroutine_fn snapshot_sync_co_prepare(const BlockdevSnapshotSync *args,
                                                      Error **errp);
/** Keep the overlay: the node below becomes read-only.  Takes @action. */
void coroutine_fn snapshot_co_commit(SnapshotAction *action);
/**
 * Take the overlay away; a file that was made for it stays.  If that fails, which is reported, the
 * overlay stays in place.  Takes @action.
 */
void coroutine_fn snapshot_co_abort(SnapshotAction *action);

/* ---- internal snapshots (internal-snapshot.c) ------------------------------------------------ */

/* A snapshot that was made and can still be deleted again. */
typedef struct InternalSnapshotAction InternalSnapshotAction;

/** Do blockdev-snapshot-internal-sync. */
InternalSnapshotAction *coroutine_fn
internal_snapshot_co_prepare(const BlockdevSnapshotInternal *args, Error **errp);
/** It stays.  Takes @action. */
void internal_snapshot_commit(InternalSnapshotAction *action);
/** Delete it; a failure is reported.  Takes @action. */
void coroutine_fn internal_snapshot_co_abort(InternalSnapshotAction *action);

/* ---- the machine with its disks (vm-snapshot.c, vm-state.c) ---------------------------------- */

/** Can all of @disks (BlockDriverState) keep snapshots? */
bool vm_disks_can_snapshot(const GPtrArray *disks, Error **errp);
/** Is a snapshot of this name on all of them? */
bool vm_disks_have_snapshot(const GPtrArray *disks, const char *name);
/**
 * Save the machine to snapshots @tag of @disks, its state to the node @vmstate; NULL: to the first,
 * and snapshots of that name are replaced.  @job: that may be cancelled, or NULL.
 */
bool coroutine_fn vm_snapshot_co_save(const GPtrArray *disks, const char *tag, const char *vmstate,
                                      Job *job, Error **errp);
/** Bring disks and machine back. */
bool coroutine_fn vm_snapshot_co_go_back(const GPtrArray *disks, const char *tag,
                                         const char *vmstate, Job *job, Error **errp);

/* HMP commands about them. */
void hmp_snapshot_register(void);
/** Add the names of @bs's snapshots to what completes @prefix. */
void hmp_add_snapshots(GPtrArray *words, BlockDriverState *bs, const char *prefix);
/** Those about all disks together (vm-snapshot.c). */
void hmp_vm_snapshot_register(void);
/** The same for commit (hmp-commit.c). */
void hmp_commit_register(void);
/** The same for the NBD server. */
void hmp_nbd_register(void);
void hmp_objects_register(void);

/* ---- jobs ------------------------------------------------------------------------------------ */

/** JobFlags for what the user says of the end; both default to true. */
static inline int job_flags(bool has_finalize, bool finalize, bool has_dismiss, bool dismiss)
{
    return (has_finalize && !finalize ? JOB_MANUAL_FINALIZE : 0) |
           (has_dismiss && !dismiss ? JOB_MANUAL_DISMISS : 0);
}

/* ---- start-up -------------------------------------------------------------------------------- */

void hmp_block_register(void);
/** Make the kinds of objects known that are event loops (loop-objects.c). */
void loop_objects_register(void);

/* ---- limits of drives (throttle.c) ----------------------------------------------------------- */

/** The limits of @blk into @info, if it has any. */
void throttle_fill_info(BlockBackend *blk, BlockDeviceInfo *info);

#endif
