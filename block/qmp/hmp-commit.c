/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The human monitor's "commit": what a disk's image holds goes down into its backing file, and the
 * image is empty then.  The prompt waits; guests do not, but for the last moment.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/blockjob.h"
#include "block/graph.h"
#include "monitor/hmp.h"
#include "qmp-block.h"

/* The job, with a reference for the caller; NULL: nothing can be committed. */
static Job *coroutine_fn co_make_job(BlockBackend *blk, Error **errp)
{
    BlockDriverState *bs = bdrv_skip_implicit_filters(blk_bs(blk));
    BlockDriverState *base = bdrv_backing_chain_next(bs);
    CommitJobArgs args = {
        .bs = bs,
        .top = bdrv_skip_filters(bs),
        .base = base,
        .empties_top = true,
        .on_error = BLOCKDEV_ON_ERROR_REPORT,
        .flags = JOB_INTERNAL,
    };
    BlockJob *job;

    if (!base) {
        error_setg_errno(errp, ENOTSUP, "The image has no backing file");
        return NULL;
    }
    if (bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_COMMIT_SOURCE, errp) ||
        bdrv_op_is_blocked(base, BLOCK_OP_TYPE_COMMIT_TARGET, errp)) {
        return NULL;
    }
    job = commit_active_job_co_create(&args, errp);
    return job ? job_ref(&job->job) : NULL;
}

/* False, and it was said why. */
static bool coroutine_fn co_commit(BlockBackend *blk)
{
    g_autofree char *name = g_strdup(blk_name(blk));
    Error *local_err = NULL;
    Job *job = co_make_job(blk, &local_err);

    if (job) {
        job_start(job);
        command_co_unlock();
        job_co_complete_sync(job, &local_err);
        command_co_lock();
        job_unref(job);
    }
    if (local_err) {
        error_reportf_err(local_err, "'commit' error for '%s': ", name);
        return false;
    }
    return true;
}

/* Disks may come and go while one is committed: their names are gathered before. */
static void coroutine_fn co_commit_all(void)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    bool ok = true;

    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        if (blk_is_available(blk) && bdrv_backing_chain_next(blk_bs(blk))) {
            g_ptr_array_add(names, g_strdup(blk_name(blk)));
        }
    }
    for (unsigned i = 0; ok && i < names->len; i++) {
        BlockBackend *blk = blk_by_name(g_ptr_array_index(names, i));

        ok = !blk || !blk_is_available(blk) || co_commit(blk);
    }
}

static void coroutine_fn hmp_commit(Monitor *mon, const QDict *args)
{
    const char *device = qdict_get_str(args, "device");
    BlockBackend *blk;

    if (strcmp(device, "all") == 0) {
        co_commit_all();
        return;
    }
    blk = blk_by_name(device);
    if (!blk) {
        error_report("Device '%s' not found", device);
    } else if (!blk_is_available(blk)) {
        error_report("Device '%s' has no medium", device);
    } else {
        co_commit(blk);
    }
}

static const HMPCommand commands[] = {
    { "commit", "device:B", "device|all",
      "move what the image of a disk holds into its backing file", hmp_commit, false },
    { .name = NULL },
};

void hmp_commit_register(void)
{
    hmp_register_commands(commands);
}
