/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What jobs that copy with a BlockCopyState have in common: rounds of copying between pause points,
 * within the speed limit, with the user's error policy.
 */
#ifndef BLOCK_JOB_COPYING_H
#define BLOCK_JOB_COPYING_H

#include "block/block-copy.h"
#include "block/blockjob.h"

typedef struct JobCopying {
    BlockJob *job;
    BlockCopyState *state;
    BlockDriverState *written; /* flushed when all is copied */
    BlockdevOnError on_source_error, on_target_error;
    bool skip_ignored;         /* "ignore": leave out what fails, instead of trying again */
    int skipped_error;         /* negative errno: the first error that was ignored so */
    int max_workers;
    int64_t max_chunk;         /* bytes, 0: default */
    bool in_order;             /* written one piece after the other */
    int (*broken)(BlockJob *job); /* a negative errno: no use in going on; or NULL */
    int workers;               /* of the round under way */
} JobCopying;

/** Ready to copy from @state; it reports progress to the job from now on. */
void job_copying_init(JobCopying *copying, BlockJob *job, BlockCopyState *state);

/**
 * Copy all that is left and flush.  Pauses, sleeps for the speed limit.  Returns 0, -ECANCELED when
 * the job is cancelled, or the negative errno to fail with.
 */
int coroutine_fn job_copying_co_all(JobCopying *copying);

/** block_copy_co_scan() under the same rules. */
int coroutine_fn job_copying_co_scan(JobCopying *copying, BlockDriverState *bottom,
                                     BlockCopyScan what);

#endif
