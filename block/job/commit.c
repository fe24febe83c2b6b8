/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commit job: what a part of a backing chain holds goes down into the node below it, and the
 * part goes out of the chain.  The active node itself is committed by the mirror job.
 *
 * A commit_top filter stands over the part meanwhile, so that others read what they always read
 * while single nodes below stop to be consistent.  The job's edges: "main node" (the active one),
 * "intermediate node" (each one that is emptied) and "base".  The base and the images of the part
 * say the same until the overlay names the base, so a crash leaves a chain that is right.
 */
#include "qemu/osdep.h"

#include "block/commit-top.h"
#include "copying.h"
#include "job-chain.h"

#define WORKERS 16

typedef struct CommitJob {
    BlockJob common;
    BlockDriverState *filter;  /* commit_top, a reference; NULL: out of the graph */
    BlockDriverState *top, *base, *overlay; /* references */
    BlockDriverState *bottom;  /* the last one above base that is no filter */
    BdrvChild *top_edge, *base_edge;
    char *backing_file;        /* or NULL */
    bool mask_protocol;
    bool base_was_read_only;
    BlockCopyState *state;
    JobCopying copying;
} CommitJob;

/* A base that is too short gets the length of top. */
static int coroutine_fn co_grow_base(CommitJob *s, Error **errp)
{
    int64_t bytes = bdrv_getlength(s->top);

    if (bdrv_getlength(s->base) >= bytes) {
        return 0;
    }
    return bdrv_co_truncate(s->base_edge, bytes, false, PREALLOC_MODE_OFF, 0, errp);
}

static int coroutine_fn commit_co_run(Job *job, Error **errp)
{
    CommitJob *s = (CommitJob *)job;
    int ret;

    job_progress_set_remaining(job, bdrv_getlength(s->top));
    ret = co_grow_base(s, errp);
    if (ret >= 0) {
        ret = job_copying_co_scan(&s->copying, s->bottom, BLOCK_COPY_FORGET_REST);
    }
    return ret < 0 ? ret : job_copying_co_all(&s->copying);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Images that name top as their backing file name the base instead. */
static bool coroutine_fn co_rename(CommitJob *s, Error **errp)
{
    BdrvChild *edge;
    g_autoptr(GPtrArray) upper = g_ptr_array_new();

    g_ptr_array_add(upper, s->overlay);
    QTAILQ_FOREACH(edge, &s->filter->parents, next_parent) {
        if (edge->parent && (edge->role & BDRV_CHILD_COW) && edge->parent != s->overlay) {
            g_ptr_array_add(upper, edge->parent);
        }
    }
    for (unsigned i = 0; i < upper->len; i++) {
        if (!job_chain_co_write_backing(g_ptr_array_index(upper, i), s->base, s->backing_file,
                                        s->mask_protocol, errp)) {
            return false;
        }
    }
    return true;
}

static int coroutine_fn commit_co_prepare(Job *job, Error **errp)
{
    CommitJob *s = (CommitJob *)job;

    /* From here to the end others are kept out by the control lock. */
    block_copy_state_free(g_steal_pointer(&s->state));
    block_job_co_remove_all_bdrv(&s->common);
    if (!co_rename(s, errp) || !bdrv_co_replace_node(s->filter, s->base, errp)) {
        return -EIO;
    }
    bdrv_refresh_filename(s->overlay);
    bdrv_unref(g_steal_pointer(&s->filter));
    return 0;
}

static void coroutine_fn commit_co_clean(Job *job)
{
    CommitJob *s = (CommitJob *)job;
    Error *local_err = NULL;

    block_copy_state_free(g_steal_pointer(&s->state));
    block_job_co_remove_all_bdrv(&s->common);
    if (s->filter && !commit_top_co_drop(g_steal_pointer(&s->filter), &local_err)) {
        warn_report_err(local_err);
    }
    if (s->base_was_read_only) {
        /* Somebody may have come who writes: then it stays writable. */
        bdrv_co_reopen_set_read_only(s->base, true, NULL);
    }
    bdrv_unref(g_steal_pointer(&s->overlay));
    bdrv_unref(g_steal_pointer(&s->top));
    bdrv_unref(g_steal_pointer(&s->base));
}

static void commit_free(Job *job)
{
    CommitJob *s = (CommitJob *)job;

    g_free(s->backing_file);
    block_job_free(job);
}

static const JobDriver commit_job_driver = {
    .instance_size = sizeof(CommitJob),
    .job_type = JOB_TYPE_COMMIT,
    .co_run = commit_co_run,
    .user_resume = block_job_user_resume,
    .co_prepare = commit_co_prepare,
    .co_clean = commit_co_clean,
    .event = block_job_event,
    .free = commit_free,
};

/* ---- creation -------------------------------------------------------------------------------- */

static bool coroutine_fn co_take_nodes(CommitJob *s, BlockDriverState *active, Error **errp)
{
    const BlockRights writing = BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED;
    BlockRights base_uses = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE;
    BlockDriverState *bs;

    if (!block_job_co_add_bdrv(&s->common, "main node", active, 0, BLK_PERM_ALL, 0, errp)) {
        return false;
    }
    /* Nobody may rely on what one of them holds: with the base it changes below them. */
    for (bs = s->top; bs != s->base; bs = bdrv_filter_or_cow_bs(bs)) {
        BdrvChild *edge = block_job_co_add_bdrv(&s->common, "intermediate node", bs, 0, writing, 0,
                                                errp);
        if (!edge) {
            return false;
        }
        s->top_edge = s->top_edge ? s->top_edge : edge;
    }
    if (bdrv_getlength(s->base) < bdrv_getlength(s->top)) {
        base_uses |= BLK_PERM_RESIZE;
    }
    s->base_edge = block_job_co_add_bdrv(&s->common, "base", s->base, base_uses,
                                         BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED, 0,
                                         errp);
    if (!s->base_edge) {
        return false;
    }
    block_job_freeze_chain(&s->common, s->filter, s->base);
    return true;
}

static bool coroutine_fn co_set_up(CommitJob *s, const CommitJobArgs *args, Error **errp)
{
    BlockCopyArgs copy = { .bottom = s->bottom };

    s->filter = commit_top_co_insert(args->top, args->filter_node_name, s, errp);
    if (!s->filter) {
        return false;
    }
    if (bdrv_is_read_only(s->base)) {
        if (!bdrv_co_reopen_set_read_only(s->base, false, errp)) {
            return false;
        }
        s->base_was_read_only = true;
    }
    if (!co_take_nodes(s, args->bs, errp)) {
        return false;
    }
    copy.source = s->top_edge;
    copy.target = s->base_edge;
    s->state = block_copy_state_new(&copy, errp);
    return s->state != NULL;
}

BlockJob *coroutine_fn commit_job_co_create(const CommitJobArgs *args, Error **errp)
{
    BlockJobArgs job_args = {
        .id = args->job_id,
        .driver = &commit_job_driver,
        .device = args->bs,
        .speed = args->speed,
        .flags = args->flags,
    };
    BlockDriverState *overlay = bdrv_find_overlay(args->bs, args->top);
    CommitJob *s;

    CONTROL_PATH();
    if (args->top == args->base) {
        error_setg(errp, "Invalid files for merge: top and base are the same");
        return NULL;
    }
    if (!overlay) {
        error_setg(errp, "Could not find overlay image for %s",
                   bdrv_get_device_or_node_name(args->top));
        return NULL;
    }
    s = block_job_create(&job_args, errp);
    if (!s) {
        return NULL;
    }
    s->top = bdrv_ref(args->top);
    s->base = bdrv_ref(args->base);
    s->overlay = bdrv_ref(overlay);
    s->bottom = job_chain_last_above(args->top, args->base);
    s->backing_file = g_strdup(args->backing_file);
    s->mask_protocol = args->mask_protocol;
    if (!co_set_up(s, args, errp)) {
        commit_co_clean(&s->common.job);
        job_early_fail(&s->common.job);
        return NULL;
    }
    s->copying = (JobCopying) {
        .written = s->base,
        .on_source_error = args->on_error,
        .on_target_error = args->on_error,
        .max_workers = WORKERS,
    };
    job_copying_init(&s->copying, &s->common, s->state);
    return &s->common;
}
