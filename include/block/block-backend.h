/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BlockBackend: a user's way into the graph.  Device models, jobs' tools, exports and commands see
 * a BlockBackend, never the inside of a node.
 *
 * Rules of use
 *  - Life (new, insert, remove, ref, unref, names): main thread.
 *  - blk_co_*: any loop thread, coroutine; enters the gate once per request.
 *  - blk_aio_*: starts a request and returns; @cb runs later in the loop thread that started it. 
 *  When
 *    called from a thread without a loop of its own (a vCPU), it posts to the backend's loop
 *    (blk_set_aio_context, default: main) and @cb runs there.
 *  - Requests are range-checked here: a bad one gets -EIO, no medium -ENOMEDIUM.
 *  - A frozen gate delays requests and never fails them.
 *  - Each request is accounted here (blk_get_stats); devices count only what they merged.
 */
#ifndef BLOCK_BLOCK_BACKEND_H
#define BLOCK_BLOCK_BACKEND_H

#include "block/accounting.h"
#include "block/aio.h"
#include "block/block.h"
#include "block/claim.h"
#include "block/zoned.h"
#include "qapi/gen/block-info-types.h"

typedef struct BlockBackend BlockBackend;
typedef struct BlockAIOCB BlockAIOCB;
typedef void BlockCompletionFunc(void *opaque, int ret);

/* What a device tells its backend.  All called in the main thread unless said otherwise. */
typedef struct BlockDevOps {
    /* The medium came (@load) or went.  With a tray: the tray is to be closed or opened. */
    void (*change_media_cb)(void *opaque, bool load, Error **errp);
    void (*eject_request_cb)(void *opaque, bool force);
    bool (*is_tray_open)(void *opaque);
    bool (*is_medium_locked)(void *opaque);
    /* The node has a new size. */
    void (*resize_cb)(void *opaque);
    /* New requests stop (frozen) and may start again: stop and start processing queues. */
    void (*drained_begin)(void *opaque);
    void (*drained_end)(void *opaque);
    /* True while the device still has requests it parked itself (error policy "stop"). */
    bool (*drained_poll)(void *opaque);
    /* Where the part with the disk is in the tree of objects, for BLOCK_IO_ERROR.  Any thread. */
    char *(*get_path)(void *opaque);
} BlockDevOps;

/* ---- life ------------------------------------------------------------------------------------ */

/**
 * A backend without a medium. @perm/@shared: BLK_PERM_* used and shared at its root once it has
 * one.
 */
BlockBackend *blk_new(uint64_t perm, uint64_t shared);
/** blk_new() and blk_co_insert_bs(). */
BlockBackend *coroutine_fn blk_co_new_with_bs(BlockDriverState *bs, uint64_t perm, uint64_t shared,
                                              Error **errp);
/** Open a node and a backend on it; @flags without RDWR: read only.  @options: taken. */
BlockBackend *coroutine_fn blk_co_new_open(const char *filename, const char *reference,
                                           QDict *options, int flags, Error **errp);
/** Take a reference.  Main thread. */
BlockBackend *blk_ref(BlockBackend *blk);
/**
 * Drop a reference; NULL is fine.  Of the last one: the root is detached by a coroutine of the main
 * loop as soon as the control lock is free; blk_co_unref(), under the lock, does it at once.
 */
void blk_unref(BlockBackend *blk);
/** The same, under the control lock. */
void coroutine_fn blk_co_unref(BlockBackend *blk);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockBackend, blk_unref)

/** Attach @bs as root (takes a reference of its own). */
bool coroutine_fn blk_co_insert_bs(BlockBackend *blk, BlockDriverState *bs, Error **errp);
/**
 * Wait for the requests in flight, then detach the root, if there is one.  Context: control lock.
 */
void coroutine_fn blk_co_remove_bs(BlockBackend *blk);
/** The node at the root, or NULL; no reference is taken.  Main thread, or inside of the gate. */
BlockDriverState *blk_bs(const BlockBackend *blk);
/** The same as an edge, for what the core offers beyond requests. */
BdrvChild *blk_root(const BlockBackend *blk);
/**
 * Use and share other rights.  False with @errp set, and nothing changed, if others at the root do
 * not agree.  Context: control lock.
 */
bool coroutine_fn blk_co_set_perm(BlockBackend *blk, uint64_t perm, uint64_t shared, Error **errp);
/** The rights last asked for, in force if there is a root. */
void blk_get_perm(const BlockBackend *blk, uint64_t *perm, uint64_t *shared);

/* Names: a backend named by -drive id= belongs to the monitor and is found by blk_by_name(). */
bool blk_set_name(BlockBackend *blk, const char *name, Error **errp); /* NULL takes the name away */
const char *blk_name(const BlockBackend *blk); /* "" if none */
/** The backend of that name, or NULL; no reference is taken.  Main thread, as all about names. */
BlockBackend *blk_by_name(const char *name);
BlockBackend *blk_next(BlockBackend *blk);     /* every named backend */
BlockBackend *blk_all_next(BlockBackend *blk); /* every backend */
/** How the backend is called in messages when it has no name ("export 'e'"); copied. */
void blk_set_owner(BlockBackend *blk, BdrvOwner owner);

/**
 * The node a QMP command means by @device and/or @node_name; sets DeviceNotFound or
 * "Cannot find device='x' nor node-name='y'".
 */
BlockDriverState *bdrv_lookup_bs(const char *device, const char *node_name, Error **errp);

/* ---- who uses which node --------------------------------------------------------------------- */

/**
 * The claims on @bs, or on every node if it is NULL (query-block-blockers).  @op: whether each of
 * them would refuse this now, or NULL.  Does not yield.  Caller frees.
 */
BlockBlockerInfoList *bdrv_blockers_info(BlockDriverState *bs, const BlockOperation *op);

/**
 * Append to @out the claims on node or device @node (NULL: all), a paragraph for each; with @op, an
 * operation or right in the schema's words, only those that would refuse it now.  False with @errp
 * set if a name is unknown.
 */
bool bdrv_blockers_dump(const char *node, const char *op, GString *out, Error **errp);

/* ---- the device ------------------------------------------------------------------------------ */

/** Attach a device; one per backend.  @id: qdev id or path. */
bool blk_attach_dev(BlockBackend *blk, void *dev, const char *id, Error **errp);
/** The device @dev goes; its operations are not called any more.  Drops the reference it had. */
void blk_detach_dev(BlockBackend *blk, void *dev);
/** What blk_attach_dev() was given, or NULL. */
void *blk_get_attached_dev(const BlockBackend *blk);
const char *blk_get_attached_dev_id(const BlockBackend *blk); /* "" if none */
/** The backend of the device called @id, or at path @id; DeviceNotFound. */
BlockBackend *blk_by_qdev_id(const char *id, Error **errp);
/** Offer upward calls; @ops and @opaque live until blk_detach_dev().  Main thread. */
void blk_set_dev_ops(BlockBackend *blk, const BlockDevOps *ops, void *opaque);
/** May the medium change while the device is there?  Without a device: yes. */
bool blk_dev_has_removable_media(const BlockBackend *blk);
/**
 * About the tray and the door, as the device says now.  Without a tray: shut, without a door: not
 * locked.
 */
bool blk_dev_has_tray(const BlockBackend *blk);
bool blk_dev_is_tray_open(const BlockBackend *blk);
bool blk_dev_is_medium_locked(const BlockBackend *blk);
/** Tell the guest that the user wants its medium; @force: it is taken anyway. */
void blk_dev_eject_request(BlockBackend *blk, bool force);
/** Open or close the tray; the device may refuse. */
bool blk_dev_move_tray(BlockBackend *blk, bool open, Error **errp);
/** The device, or its guest, moved the tray: tell those who listen to events. */
void blk_dev_tray_moved(BlockBackend *blk, bool open);
/**
 * The guest opened (@eject) or closed the tray, or locked the door: those who listen to events are
 * told of a tray, and a drive of the host does the same, in the background and in this order; what
 * it fails to do is warned of.  Main thread.
 */
void blk_eject(BlockBackend *blk, bool eject);
void blk_lock_medium(BlockBackend *blk, bool locked);
/** A medium came (@load) or is about to go: tell a device without a tray, which may refuse. */
bool blk_dev_change_medium(BlockBackend *blk, bool load, Error **errp);

/** Loop in which blk_aio_* of threads without a loop run and complete.  Device not running. */
void blk_set_aio_context(BlockBackend *blk, AioContext *ctx);

/* ---- state ----------------------------------------------------------------------------------- */

/**
 * Is there a node, and a medium in it?  As last known.  Main thread, or inside of the gate, as the
 * next three.
 */
bool blk_is_inserted(BlockBackend *blk);
/** The same, and the tray is shut: would requests reach the medium? */
bool blk_is_available(BlockBackend *blk);
/** Could the right to write be had, as far as the node is concerned?  Without one: yes. */
bool blk_supports_write_perm(BlockBackend *blk);
int64_t blk_getlength(BlockBackend *blk); /* bytes as last known; -ENOMEDIUM.  Any thread */
/** Length in bytes, asking the driver again; -ENOMEDIUM.  Inside of the gate, or main thread. */
int64_t coroutine_fn blk_co_getlength(BlockBackend *blk);
/**
 * Limits of requests that go through without being cut or padded; bytes, and elements of a vector.
 * Without a root: the least.
 */
uint32_t blk_get_request_alignment(BlockBackend *blk);
uint64_t blk_get_max_transfer(BlockBackend *blk); /* bytes, never 0 */

/** Inside of the gate, or while nobody changes the root. */
BlockZoneLimits blk_get_zone_limits(BlockBackend *blk);
/** Is a write done before it is on stable storage?  Any thread, as all to blk_get_stats(). */
bool blk_enable_write_cache(const BlockBackend *blk);
/** false: every write is followed by a flush. */
void blk_set_enable_write_cache(BlockBackend *blk, bool wce);
/** May requests reach past the end?  For who makes images; else they get -EIO. */
bool blk_get_allow_write_beyond_eof(const BlockBackend *blk);
void blk_set_allow_write_beyond_eof(BlockBackend *blk, bool allow);
/** The counters, which count from the first call on; they live as long as @blk. */
BlockAcctStats *blk_get_stats(BlockBackend *blk);
/** Memory for requests that need no other buffer; a size of 0 is fine.  Any thread. */
void *blk_blockalign(BlockBackend *blk, size_t size); /* aborts if out of memory; qemu_vfree() */
void *blk_try_blockalign(BlockBackend *blk, size_t size);

/* ---- error policy ---------------------------------------------------------------------------- */

/** What is to happen when a request of the device fails.  Main thread; no request is in flight. */
void blk_set_on_error(BlockBackend *blk, BlockdevOnError on_read, BlockdevOnError on_write);
BlockdevOnError blk_get_on_error(const BlockBackend *blk, bool is_read);
/** What is to be done about @error (positive errno), by that policy. */
BlockErrorAction blk_get_error_action(BlockBackend *blk, bool is_read, int error);
/** Carry out @action: event BLOCK_IO_ERROR, stop of the machine (by the hook below), iostatus. */
void blk_error_action(BlockBackend *blk, BlockErrorAction action, bool is_read, int error);
/**
 * Whether query-block tells of the first error since the last reset; only with a policy that stops.
 */
void blk_iostatus_enable(BlockBackend *blk);
bool blk_iostatus_is_enabled(const BlockBackend *blk);
BlockDeviceIoStatus blk_iostatus(const BlockBackend *blk);
void blk_iostatus_reset(BlockBackend *blk);
/**
 * Set by the machine: @stop all vCPUs because of an I/O error.  @announce is called before clients
 * hear of the error, which is before they hear of the stop.  Any thread.
 */
void blk_set_stop_hooks(void (*announce)(void), void (*stop)(void));

/* ---- coroutine I/O --------------------------------------------------------------------------- */

/*
 * Each enters the gate, where it may sleep while the graph changes, and is counted until it ends.
 * Any thread with a loop.  @offset and @bytes: bytes; @flags: BDRV_REQ_*.  Return 0 or a negative
 * errno: -ENOMEDIUM without a medium or with an open tray, -EIO past the end, else the driver's.
 */

/** Read into, or write from, the vector; buffers live until it returns.  @qiov: borrowed. */
int coroutine_fn blk_co_preadv(BlockBackend *blk, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                               unsigned flags);
int coroutine_fn blk_co_pwritev(BlockBackend *blk, int64_t offset, int64_t bytes,
                                QEMUIOVector *qiov, unsigned flags);
/** The same with one buffer. */
int coroutine_fn blk_co_pread(BlockBackend *blk, int64_t offset, int64_t bytes, void *buf,
                              unsigned flags);
int coroutine_fn blk_co_pwrite(BlockBackend *blk, int64_t offset, int64_t bytes, const void *buf,
                               unsigned flags);
/** Make a range read as zeroes; without BDRV_REQ_MAY_UNMAP its space stays taken. */
int coroutine_fn blk_co_pwrite_zeroes(BlockBackend *blk, int64_t offset, int64_t bytes,
                                      unsigned flags);
/** The content of a range is not needed any more: a hint, whose unaligned ends may be left out. */
int coroutine_fn blk_co_pdiscard(BlockBackend *blk, int64_t offset, int64_t bytes);
/** What was written before is on stable storage when this returns 0. */
int coroutine_fn blk_co_flush(BlockBackend *blk);
/** Copy without the data passing through us; -ENOTSUP: read and write instead. */
int coroutine_fn blk_co_copy_range(BlockBackend *src, int64_t src_offset, BlockBackend *dst,
                                   int64_t dst_offset, int64_t bytes, unsigned flags);
/** Change the length to @offset bytes, as bdrv_co_truncate(). */
int coroutine_fn blk_co_truncate(BlockBackend *blk, int64_t offset, bool exact,
                                 PreallocMode prealloc, unsigned flags, Error **errp);
/** As bdrv_co_block_status_above(). */
int coroutine_fn blk_co_block_status_above(BlockBackend *blk, BlockDriverState *base,
                                           int64_t offset, int64_t bytes, int64_t *pnum,
                                           int64_t *map, BlockDriverState **file, int *depth);
/** As bdrv_co_block_extents_above(). */
int coroutine_fn blk_co_block_extents_above(BlockBackend *blk, BlockDriverState *base,
                                            int64_t offset, int64_t bytes, BdrvExtent *extents,
                                            int max);
/** As bdrv_co_is_allocated_above(). */
int coroutine_fn blk_co_is_allocated_above(BlockBackend *blk, BlockDriverState *base,
                                           bool include_base, int64_t offset, int64_t bytes,
                                           int64_t *pnum);
/** Pass a command to the device, as bdrv_co_ioctl(); an empty drive answers, too. */
int coroutine_fn blk_co_ioctl(BlockBackend *blk, unsigned long request, void *arg);
/** Zones: as bdrv_co_zone_report(), _mgmt() and _append(); without a medium -ENOMEDIUM. */
int coroutine_fn blk_co_zone_report(BlockBackend *blk, int64_t offset, unsigned *nr_zones,
                                    BlockZoneDescriptor *zones);
int coroutine_fn blk_co_zone_mgmt(BlockBackend *blk, BlockZoneOp op, int64_t offset, int64_t bytes);
int coroutine_fn blk_co_zone_append(BlockBackend *blk, int64_t *offset, QEMUIOVector *qiov,
                                    unsigned flags);
/** Wait until none of this backend's requests is in flight. */
void coroutine_fn blk_co_drain(BlockBackend *blk);
/** Flush every backend that has a medium; 0, or the first error, after trying all.  Main thread. */
int coroutine_fn blk_co_flush_all(void);

/* ---- callback I/O ---------------------------------------------------------------------------- */

/*
 * The same without a coroutine of the caller's.  Any thread: @cb gets what the coroutine would
 * return, once: in the caller's loop, and not before this returns; or in the loop that
 * blk_set_aio_context() named if the caller has none.  Vectors and buffers live until @cb.  What is
 * returned is only good for being compared.
 */

/** Read and write; zeroes; discard; flush. */
BlockAIOCB *blk_aio_preadv(BlockBackend *blk, int64_t offset, QEMUIOVector *qiov, unsigned flags,
                           BlockCompletionFunc *cb, void *opaque);
BlockAIOCB *blk_aio_pwritev(BlockBackend *blk, int64_t offset, QEMUIOVector *qiov, unsigned flags,
                            BlockCompletionFunc *cb, void *opaque);
BlockAIOCB *blk_aio_pwrite_zeroes(BlockBackend *blk, int64_t offset, int64_t bytes, unsigned flags,
                                  BlockCompletionFunc *cb, void *opaque);
BlockAIOCB *blk_aio_pdiscard(BlockBackend *blk, int64_t offset, int64_t bytes,
                             BlockCompletionFunc *cb, void *opaque);
BlockAIOCB *blk_aio_flush(BlockBackend *blk, BlockCompletionFunc *cb, void *opaque);
/* @arg and what it points to live until @cb. */
BlockAIOCB *blk_aio_ioctl(BlockBackend *blk, unsigned long request, void *arg,
                          BlockCompletionFunc *cb, void *opaque);
/** How many requests are inside of the gate now. */
int blk_in_flight(BlockBackend *blk);

#endif
