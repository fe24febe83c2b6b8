/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stream job: a node gets what nodes below it hold, until it can do without them.
 *
 * A copy-on-read filter over the node does the moving, both for guests who read and for the job,
 * which reads all there is.  The job's edges: "main node" (the filter), "active node" (the one that
 * is filled), and those that will be let go.  The base below them may be exchanged meanwhile: what
 * is there in the end is the new backing node.
 */
#include "qemu/osdep.h"

#include "block/copy-on-read.h"
#include "copying.h"
#include "job-chain.h"

#define WORKERS 16

typedef struct StreamJob {
    BlockJob common;
    BlockDriverState *cor;    /* a reference; NULL: out of the graph */
    BlockDriverState *target; /* a reference */
    BlockDriverState *bottom; /* a reference: the lowest node whose data moves */
    BlockDriverState *lowest; /* @bottom, or the lowest filter below it: right above the base */
    char *backing_file;       /* or NULL */
    bool mask_protocol;
    bool was_read_only;
    BlockCopyState *state;
    JobCopying copying;
} StreamJob;

static int coroutine_fn stream_co_run(Job *job, Error **errp)
{
    StreamJob *s = (StreamJob *)job;
    int ret;

    if (s->bottom == s->target) {
        return 0;
    }
    job_progress_set_remaining(job, bdrv_getlength(s->target));
    ret = job_copying_co_scan(&s->copying, s->bottom, BLOCK_COPY_FORGET_REST);
    return ret < 0 ? ret : job_copying_co_all(&s->copying);
}

/* The image stops naming what it does not need any more, then the node lets go of it. */
static int coroutine_fn stream_co_prepare(Job *job, Error **errp)
{
    StreamJob *s = (StreamJob *)job;
    BlockDriverState *base = bdrv_filter_or_cow_bs(s->lowest);

    block_job_unfreeze_chain(&s->common);
    if (s->bottom == s->target || !bdrv_cow_bs(s->target)) {
        return 0;
    }
    if (!job_chain_co_write_backing(s->target, base, s->backing_file, s->mask_protocol, errp) ||
        !bdrv_co_set_backing(s->target, base, errp)) {
        return -EIO;
    }
    return 0;
}

static void coroutine_fn stream_co_clean(Job *job)
{
    StreamJob *s = (StreamJob *)job;
    Error *local_err = NULL;

    block_job_co_remove_all_bdrv(&s->common);
    block_copy_state_free(g_steal_pointer(&s->state));
    if (s->cor && !cor_co_drop(g_steal_pointer(&s->cor), &local_err)) {
        warn_report_err(local_err);
    }
    if (s->was_read_only) {
        /* Somebody may have come who writes: then it stays writable. */
        bdrv_co_reopen_set_read_only(s->target, true, NULL);
    }
    bdrv_unref(g_steal_pointer(&s->bottom));
    bdrv_unref(g_steal_pointer(&s->target));
}

static void stream_free(Job *job)
{
    StreamJob *s = (StreamJob *)job;

    g_free(s->backing_file);
    block_job_free(job);
}

static const JobDriver stream_job_driver = {
    .instance_size = sizeof(StreamJob),
    .job_type = JOB_TYPE_STREAM,
    .co_run = stream_co_run,
    .user_resume = block_job_user_resume,
    .co_prepare = stream_co_prepare,
    .co_clean = stream_co_clean,
    .event = block_job_event,
    .free = stream_free,
};

/* ---- creation -------------------------------------------------------------------------------- */

/* The job's edges and claims along the chain. */
static bool coroutine_fn co_take_nodes(StreamJob *s, Error **errp)
{
    const BlockRights reading = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED;
    BlockDriverState *end = bdrv_filter_or_cow_bs(s->lowest);

    if (!block_job_co_add_bdrv(&s->common, "main node", s->cor, BLK_PERM_CONSISTENT_READ,
                               reading | BLK_PERM_WRITE, 0, errp) ||
        !block_job_co_add_bdrv(&s->common, "active node", s->target, 0,
                               reading | BLK_PERM_WRITE, 0, errp)) {
        return false;
    }
    for (BlockDriverState *bs = bdrv_filter_or_cow_bs(s->target);
         s->bottom != s->target && bs && bs != end; bs = bdrv_filter_or_cow_bs(bs)) {
        if (!block_job_co_add_bdrv(&s->common, "intermediate node", bs, 0, reading, 0, errp)) {
            return false;
        }
    }
    block_job_freeze_chain(&s->common, s->cor, s->lowest);
    return true;
}

static bool coroutine_fn co_set_up(StreamJob *s, const StreamJobArgs *args, Error **errp)
{
    BlockCopyArgs copy = { .bottom = s->bottom };

    if (bdrv_is_read_only(s->target)) {
        if (!bdrv_co_reopen_set_read_only(s->target, false, errp)) {
            return false;
        }
        s->was_read_only = true;
    }
    s->cor = cor_co_insert(args->bs, s->bottom, args->filter_node_name, s, errp);
    if (!s->cor || !co_take_nodes(s, errp)) {
        return false;
    }
    copy.source = g_ptr_array_index(s->common.nodes, 0);
    s->state = block_copy_state_new(&copy, errp);
    return s->state != NULL;
}

BlockJob *coroutine_fn stream_job_co_create(const StreamJobArgs *args, Error **errp)
{
    BlockJobArgs job_args = {
        .id = args->job_id,
        .driver = &stream_job_driver,
        .device = args->bs,
        .speed = args->speed,
        .flags = args->flags,
    };
    StreamJob *s;

    CONTROL_PATH();
    assert(!(args->base && args->bottom));
    s = block_job_create(&job_args, errp);
    if (!s) {
        return NULL;
    }
    s->target = bdrv_ref(bdrv_skip_filters(args->bs));
    s->bottom = bdrv_ref(args->bottom ? args->bottom : job_chain_last_above(s->target, args->base));
    s->lowest = args->bottom ? s->bottom : job_chain_right_above(s->target, args->base);
    s->backing_file = g_strdup(args->backing_file);
    s->mask_protocol = args->mask_protocol;
    if (!co_set_up(s, args, errp)) {
        stream_co_clean(&s->common.job);
        job_early_fail(&s->common.job);
        return NULL;
    }
    s->copying = (JobCopying) {
        .written = s->target,
        .on_source_error = args->on_error,
        .on_target_error = args->on_error,
        .skip_ignored = true,
        .max_workers = WORKERS,
    };
    job_copying_init(&s->copying, &s->common, s->state);
    return &s->common;
}
