/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block jobs: jobs that hold nodes, have a speed limit and an error policy.
 *
 * A block job reaches nodes only through edges in nodes[], which hang on its one gate, and through
 * filters that it inserted.  What it forbids meanwhile are claims of the job, so "which job blocks
 * this" is answered by claims, not here.  A freeze of its nodes pauses it.
 */
#ifndef BLOCK_BLOCKJOB_H
#define BLOCK_BLOCKJOB_H

#include "block/block_int.h"
#include "block/gate.h"
#include "block/job.h"
#include "qapi/gen/block-core-types.h"

typedef struct BlockJob BlockJob;

/* What some kinds of block jobs can do; main thread. */
typedef struct BlockJobOps {
    /* Fill info->u. */
    void (*query)(BlockJob *job, BlockJobInfo *info);
    /* The user's block-job-change. */
    void (*change)(BlockJob *job, const BlockJobChangeOptions *options, Error **errp);
} BlockJobOps;

struct BlockJob {
    Job job;
    const BlockJobOps *ops; /* or NULL */
    BdrvGate gate;
    char *description; /* "backup job 'j'" */
    char *reason;      /* what nodes are busy with: "block device is in use by block job: TYPE" */
    GPtrArray *nodes;  /* of BdrvChild * */
    GPtrArray *claims; /* of BdrvClaim *, one per node */
    GPtrArray *frozen; /* of BdrvClaim *: links that must stay as they are */
    int64_t speed;     /* bytes per second, 0: no limit */
    BlockDeviceIoStatus iostatus;

    QemuMutex limit_lock;
    int64_t paid_ns; /* under limit_lock: until then the limit is used up by what was copied */
};

/* What block_job_co_create() makes. */
typedef struct BlockJobArgs {
    const char *id;          /* NULL: the name of @device's backend */
    const JobDriver *driver; /* instance_size of a struct that begins with a BlockJob */
    JobTxn *txn;
    BlockDriverState *device; /* whose name the job takes by default */
    int64_t speed;
    int flags; /* JobFlags */
} BlockJobArgs;

/** The id that @args stand for, if it can be had; sets @errp otherwise. */
const char *block_job_choose_id(const BlockJobArgs *args, Error **errp);

/** A block job without nodes.  To give up: block_job_co_remove_all_bdrv(), job_early_fail(). */
void *block_job_create(const BlockJobArgs *args, Error **errp);

/**
 * Attach @bs as @name, with @perm/@shared data rights, and forbid all operations on it but
 * @allowed_ops (BLK_RIGHT_OP bits), for the job's reason.  Context: control lock.
 */
BdrvChild *coroutine_fn block_job_co_add_bdrv(BlockJob *job, const char *name, BlockDriverState *bs,
                                              uint64_t perm, uint64_t shared,
                                              BlockRights allowed_ops, Error **errp);
/** Forbid @rights on @bs to others until the job lets go of its nodes. */
bool block_job_forbid(BlockJob *job, BlockDriverState *bs, BlockRights rights, const char *reason,
                      Error **errp);
/** Detach all, and forbid nothing any more.  Context: control lock. */
void coroutine_fn block_job_co_remove_all_bdrv(BlockJob *job);
/**
 * Nobody may change the links from @top down to, not including, @bottom.  Ends with
 * block_job_unfreeze_chain(), which the job does before it changes them itself, or with the job's
 * nodes.
 */
void block_job_freeze_chain(BlockJob *job, BlockDriverState *top, BlockDriverState *bottom);
void block_job_unfreeze_chain(BlockJob *job);

/** The verb "set-speed": bytes per second, 0 for no limit. */
bool block_job_set_speed(BlockJob *job, int64_t speed, Error **errp);
/** The verb "change". */
bool block_job_change(BlockJob *job, const BlockJobChangeOptions *options, Error **errp);
/** @bytes were moved.  Any thread. */
void block_job_ratelimit_account(BlockJob *job, uint64_t bytes);
/** Nanoseconds to sleep before the next request, 0: none.  Any thread. */
int64_t block_job_ratelimit_delay(BlockJob *job);

/**
 * Apply @on_err to the I/O error @error (positive errno): event, io-status; with "stop" the job is
 * paused until the user resumes it.
 */
BlockErrorAction block_job_error_action(BlockJob *job, BlockdevOnError on_err, bool is_read,
                                        int error);

/** The block job called @id; otherwise NULL, with @errp of class DeviceNotActive. */
BlockJob *block_job_get(const char *id, Error **errp);
/** Does @job begin with a BlockJob? */
bool job_is_block_job(const Job *job);
/** One row of query-block-jobs. */
BlockJobInfo *block_job_query(BlockJob *job);

/* For the JobDriver of each block job: its members event, user_resume and free. */
void block_job_event(Job *job, JobEvent event);
void block_job_user_resume(Job *job);
void block_job_free(Job *job);

/* ---- the jobs themselves --------------------------------------------------------------------- */

/**
 * Make a backup job; the copy is of @bs at this instant.  Everything of @args but device applies.
 * To have one instant for several, hold a freeze of their sources around it.
 * Context: control lock.  Returns the job, not started, or NULL with @errp set.
 */
BlockJob *coroutine_fn backup_job_co_create(BlockDriverState *bs, BlockDriverState *target,
                                            const BackupCommon *args, JobTxn *txn, Error **errp);

/* What stream_job_co_create() makes. */
typedef struct StreamJobArgs {
    const char *job_id, *filter_node_name; /* or NULL */
    BlockDriverState *bs;
    BlockDriverState *base;   /* what it and those below it hold stays there; NULL: nothing stays */
    BlockDriverState *bottom; /* instead of @base: the last one whose data moves, not a filter */
    const char *backing_file; /* to write into the image instead of the name of base; or NULL */
    bool mask_protocol;       /* a protocol as base is called "raw" in the image */
    int64_t speed;
    BlockdevOnError on_error;
    int flags; /* JobFlags */
} StreamJobArgs;

/**
 * Make a job that moves data up into @args->bs, which then does without the nodes between it and
 * the base.  Context: control lock.  Returns the job, not started, or NULL with @errp set.
 */
BlockJob *coroutine_fn stream_job_co_create(const StreamJobArgs *args, Error **errp);

/* What commit_job_co_create() makes. */
typedef struct CommitJobArgs {
    const char *job_id, *filter_node_name; /* or NULL */
    BlockDriverState *bs;        /* above top in the chain: the active node */
    BlockDriverState *top, *base;
    const char *backing_file;    /* to write into the overlay of top; NULL: the name of base */
    bool mask_protocol;
    bool write_blocking;         /* active commit: keep in step as guests write */
    bool empties_top;            /* active commit: top is emptied and stays in the chain */
    bool in_order;               /* active commit: where the base puts data depends on no timing */
    bool share;                  /* active commit: of the files' blocks, where the host can */
    int64_t speed;
    BlockdevOnError on_error;
    int flags; /* JobFlags */
} CommitJobArgs;

/**
 * Make a job that moves data from the nodes from @args->top to above @args->base down into the
 * base, and then takes these nodes out of the chain.  Nobody may write to them.  Context: control
 * lock.  Returns the job, not started, or NULL with @errp set.
 */
BlockJob *coroutine_fn commit_job_co_create(const CommitJobArgs *args, Error **errp);

/**
 * The same for a node that is written to: the job gets ready, keeps the base in step, and when it
 * is completed the base takes the place of @args->top, or top is emptied if its format can be.
 * @args->backing_file does not apply.
 */
BlockJob *coroutine_fn commit_active_job_co_create(const CommitJobArgs *args, Error **errp);

/* What becomes of the target's backing node when the copy is complete. */
typedef enum MirrorBackingMode {
    MIRROR_LEAVE_BACKING,
    MIRROR_SOURCE_BACKING, /* it gets the source's (sync=none: the source itself) */
    MIRROR_OPEN_BACKING,   /* what its image names */
} MirrorBackingMode;

/* What mirror_job_co_create() makes. */
typedef struct MirrorJobArgs {
    const char *job_id, *filter_node_name, *replaces; /* or NULL */
    BlockDriverState *bs, *target;
    MirrorSyncMode sync;
    MirrorCopyMode copy_mode;
    MirrorBackingMode backing_mode;
    bool target_is_zero; /* sync=full: zeroes need not be written */
    bool keep_allocated; /* zeroes must not become unallocated */
    uint32_t granularity; /* bytes, 0: default */
    int64_t buf_size;     /* bytes in flight, 0: default */
    int64_t speed;
    BlockdevOnError on_source_error, on_target_error;
    int flags; /* JobFlags */
} MirrorJobArgs;

/**
 * Make a job that keeps args->target in step with args->bs.  Context: control lock.  Returns the
 * job, not started, or NULL with @errp set.
 */
BlockJob *coroutine_fn mirror_job_co_create(const MirrorJobArgs *args, Error **errp);

/**
 * Start a job that makes the file of @bs shorter, @step bytes at a time while requests to it wait.
 * Context: control lock.
 */
bool coroutine_fn compact_job_co_start(const char *job_id, BlockDriverState *bs, int64_t step,
                                       int flags, Error **errp);

/** Start a job that changes an image by what bdrv_co_amend() can change; @options: copied. */
bool amend_job_start(const char *job_id, BlockDriverState *bs, const BlockdevAmendOptions *options,
                     bool force, Error **errp);
/** Start a job that makes an image from @options (copied): blockdev-create. */
bool create_job_start(const char *job_id, const BlockdevCreateOptions *options, Error **errp);

#endif
