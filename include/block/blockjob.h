/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block jobs: jobs that hold nodes, have a speed limit and an error policy.
 *
 * A block job reaches nodes only through edges in nodes[], which hang on its one gate; their claims say
 * what the job needs and forbids, so "which job blocks this" is answered by claims, not here.
 */
#ifndef BLOCK_BLOCKJOB_H
#define BLOCK_BLOCKJOB_H

#include "block/block_int.h"
#include "block/gate.h"
#include "block/job.h"
#include "qapi/gen/block-core-types.h"

typedef struct BlockJob BlockJob;

typedef struct BlockJobDriver {
    JobDriver job_driver;
    /* Wait for the job's own requests (pause, end). */
    void coroutine_fn (*co_drain)(BlockJob *job);
    void (*set_speed)(BlockJob *job, int64_t speed);
    void (*query)(BlockJob *job, BlockJobInfo *info);
} BlockJobDriver;

struct BlockJob {
    Job job;
    BdrvGate gate;   /* requests of the job pass while frozen; the job pauses */
    GPtrArray *nodes; /* of BdrvChild *, owned */
    Error *blocker;  /* "block device is in use by block job: TYPE" */
    int64_t speed;   /* bytes per second, 0: no limit */
    int64_t slice_start_ns, slice_bytes; /* rate limit */
    BlockDeviceIoStatus iostatus;
    char *device_name; /* what events call "device" */
};

/* What block_job_create() makes. */
typedef struct BlockJobArgs {
    const char *id; /* NULL: the main node's device name */
    const BlockJobDriver *driver;
    JobTxn *txn;
    BlockDriverState *bs; /* main node */
    const char *main_name; /* name of its edge, "main node" */
    uint64_t perm, shared;
    int64_t speed;
    int flags; /* JobFlags */
} BlockJobArgs;

/** Context: control lock. */
void *coroutine_fn block_job_co_create(const BlockJobArgs *args, Error **errp);

/**
 * Attach one more node, with @uses/@shared data rights, and block all node operations on it but
 * @allowed_ops (BLK_RIGHT_OP bits), by the job's reason.
 */
BdrvChild *coroutine_fn block_job_co_add_bdrv(BlockJob *job, const char *name, BlockDriverState *bs,
                                              uint64_t perm, uint64_t shared,
                                              BlockRights allowed_ops, Error **errp);
void coroutine_fn block_job_co_remove_all_bdrv(BlockJob *job);
bool block_job_has_bdrv(BlockJob *job, BlockDriverState *bs);

bool block_job_set_speed(BlockJob *job, int64_t speed, Error **errp);
/** Account @bytes; nanoseconds to sleep before the next request, 0: none. */
int64_t block_job_ratelimit_delay(BlockJob *job, uint64_t bytes);

/** Apply @on_err to an I/O error: event, iostatus, perhaps pause.  Main thread. */
BlockErrorAction block_job_error_action(BlockJob *job, BlockdevOnError on_err, bool is_read,
                                        int error);
void block_job_iostatus_reset(BlockJob *job);

BlockJob *block_job_get(const char *id);
BlockJob *block_job_next(BlockJob *job);
BlockJobInfo *block_job_query(BlockJob *job, Error **errp);

/* ---- the jobs themselves -------------------------------------------------------------------------- */

/** Start a backup; typed arguments as in the schema.  Returns the job, created but not started. */
BlockJob *coroutine_fn backup_job_co_create(const char *job_id, BlockDriverState *bs,
                                            BlockDriverState *target, const BackupCommon *args,
                                            JobTxn *txn, Error **errp);

#endif
