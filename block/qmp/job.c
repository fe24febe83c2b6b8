/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs: verbs and queries, and blockdev-create.
 *
 * Verbs run without the control lock; job-finalize takes it itself, so that its reply comes after
 * the end.  block-job-VERB and job-VERB differ in the errors for an unknown job.
 */
#include "qemu/osdep.h"

#include "block/blockjob.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "qapi/gen/block-core-commands.h"
#include "qapi/gen/block-info-commands.h"
#include "qapi/gen/job-commands.h"
#include "qmp-block.h"

static Job *find_job(const char *id, Error **errp)
{
    Job *job = job_get(id);

    if (!job) {
        error_setg(errp, "Job not found");
    }
    return job;
}

static Job *find_block_job(const char *id, Error **errp)
{
    BlockJob *job = block_job_get(id, errp);

    return job ? &job->job : NULL;
}

/* ---- job-* ----------------------------------------------------------------------------------- */

void coroutine_fn qmp_job_pause(const char *id, Error **errp)
{
    Job *job = find_job(id, errp);

    if (job) {
        job_user_pause(job, errp);
    }
}

void coroutine_fn qmp_job_resume(const char *id, Error **errp)
{
    Job *job = find_job(id, errp);

    if (job) {
        job_user_resume(job, errp);
    }
}

void coroutine_fn qmp_job_cancel(const char *id, Error **errp)
{
    Job *job = find_job(id, errp);

    if (job) {
        job_user_cancel(job, true, errp);
    }
}

void coroutine_fn qmp_job_complete(const char *id, Error **errp)
{
    Job *job = find_job(id, errp);

    if (job) {
        job_complete(job, errp);
    }
}

void coroutine_fn qmp_job_finalize(const char *id, Error **errp)
{
    BDRV_CONTROL_GUARD();
    Job *job = find_job(id, errp);

    if (job) {
        job_co_finalize(job, errp);
    }
}

void coroutine_fn qmp_job_dismiss(const char *id, Error **errp)
{
    Job *job = find_job(id, errp);

    if (job) {
        job_dismiss(job, errp);
    }
}

/* ---- block-job-* ----------------------------------------------------------------------------- */

void coroutine_fn qmp_block_job_set_speed(const char *device, int64_t speed, Error **errp)
{
    BlockJob *job = block_job_get(device, errp);

    if (job) {
        block_job_set_speed(job, speed, errp);
    }
}

void coroutine_fn qmp_block_job_change(BlockJobChangeOptions *arg, Error **errp)
{
    BlockJob *job = block_job_get(arg->id, errp);

    if (job) {
        block_job_change(job, arg, errp);
    }
}

void coroutine_fn qmp_block_job_cancel(const char *device, bool has_force, bool force, Error **errp)
{
    Job *job = find_block_job(device, errp);

    if (!job) {
        return;
    }
    if (job->user_paused && !force) {
        error_setg(errp, "The block job for device '%s' is currently paused", device);
        return;
    }
    job_user_cancel(job, force, errp);
}

void coroutine_fn qmp_block_job_pause(const char *device, Error **errp)
{
    Job *job = find_block_job(device, errp);

    if (job) {
        job_user_pause(job, errp);
    }
}

void coroutine_fn qmp_block_job_resume(const char *device, Error **errp)
{
    Job *job = find_block_job(device, errp);

    if (job) {
        job_user_resume(job, errp);
    }
}

void coroutine_fn qmp_block_job_complete(const char *device, Error **errp)
{
    Job *job = find_block_job(device, errp);

    if (job) {
        job_complete(job, errp);
    }
}

void coroutine_fn qmp_block_job_finalize(const char *id, Error **errp)
{
    BDRV_CONTROL_GUARD();
    Job *job = find_block_job(id, errp);

    if (job) {
        job_co_finalize(job, errp);
    }
}

void coroutine_fn qmp_block_job_dismiss(const char *id, Error **errp)
{
    Job *job = find_block_job(id, errp);

    if (job) {
        job_dismiss(job, errp);
    }
}

/* ---- queries --------------------------------------------------------------------------------- */

JobInfoList *coroutine_fn qmp_query_jobs(Error **errp)
{
    JobInfoList *list = NULL, **tail = &list;

    for (Job *job = job_next(NULL); job; job = job_next(job)) {
        QAPI_LIST_APPEND(tail, job_query(job));
    }
    return list;
}

BlockJobInfoList *coroutine_fn qmp_query_block_jobs(Error **errp)
{
    BlockJobInfoList *list = NULL, **tail = &list;

    for (Job *job = job_next(NULL); job; job = job_next(job)) {
        if (job_is_block_job(job)) {
            QAPI_LIST_APPEND(tail, block_job_query((BlockJob *)job));
        }
    }
    return list;
}

/* ---- blockdev-create ------------------------------------------------------------------------- */

/* A step is as long as a guest may have to wait for its disk. */
#define COMPACT_STEP_DEFAULT (16 * MiB)
#define COMPACT_STEP_MIN (64 * KiB)
#define COMPACT_STEP_MAX (1 * GiB)

void coroutine_fn qmp_block_compact(const char *job_id, const char *node_name, bool has_step,
                                    uint64_t step, bool has_auto_finalize, bool auto_finalize,
                                    bool has_auto_dismiss, bool auto_dismiss, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(NULL, node_name, errp);

    step = has_step ? step : COMPACT_STEP_DEFAULT;
    if (!bs) {
        return;
    }
    if (step < COMPACT_STEP_MIN || step > COMPACT_STEP_MAX) {
        error_setg(errp, "Parameter 'step' expects a size from 64 KiB to 1 GiB");
        return;
    }
    compact_job_co_start(job_id, bs, step, job_flags(has_auto_finalize, auto_finalize,
                                                     has_auto_dismiss, auto_dismiss), errp);
}

void coroutine_fn qmp_x_blockdev_amend(const char *job_id, const char *node_name,
                                       BlockdevAmendOptions *options, bool has_force, bool force,
                                       Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(node_name);

    if (!bs) {
        error_setg(errp, "Cannot find device='' nor node-name='%s'", node_name);
        return;
    }
    amend_job_start(job_id, bs, options, has_force && force, errp);
}

void coroutine_fn qmp_blockdev_create(const char *job_id, BlockdevCreateOptions *options,
                                      Error **errp)
{
    create_job_start(job_id, options, errp);
}
