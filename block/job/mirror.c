/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mirror job: a target is brought in step with a node and kept so, until the user lets the
 * target take the node's place ("complete") or leaves the target as a copy (cancel when ready).
 * Committing a node that is written to is a mirror on a node of its own backing chain.
 *
 * A mirror_top filter over the source tells what is to be copied.  Before the job ends it changes
 * to write-blocking, so what is left for the end, which copies under a freeze, is little.  The
 * job's edges: "main node" (the filter), "source", "target", and for a commit the nodes between.
 */
#include "qemu/osdep.h"

#include "block/freeze.h"
#include "block/mirror-top.h"
#include "copying.h"
#include "mirror.h"

#define POLL_NS (100 * SCALE_MS)

/* ---- the work -------------------------------------------------------------------------------- */

/* A base that is too short gets the length of what is committed to it. */
static int coroutine_fn co_grow_target(MirrorJob *s, Error **errp)
{
    int64_t bytes = bdrv_getlength(s->source);

    if (!s->is_commit || bdrv_getlength(s->target) >= bytes) {
        return 0;
    }
    return bdrv_co_truncate(mirror_top_target(s->filter), bytes, false, PREALLOC_MODE_OFF, 0, errp);
}

/* Bytes to copy: the last cluster may be shorter than the bit that stands for it. */
static int64_t bytes_left(MirrorJob *s)
{
    BdrvDirtyBitmap *left = block_copy_dirty_bitmap(s->state);
    int64_t length = bdrv_getlength(s->source);
    int64_t tail = length % block_copy_cluster_size(s->state);
    int64_t bytes = bdrv_get_dirty_count(left);

    if (tail && bdrv_dirty_bitmap_get(left, length - 1)) {
        bytes -= block_copy_cluster_size(s->state) - tail;
    }
    return bytes;
}

static bool is_asked_to_end(const MirrorJob *s)
{
    return s->should_complete || job_cancel_requested(&s->common.job);
}

/* Bring the target in step; guests may be ahead of it again when this returns. */
static int coroutine_fn co_catch_up(MirrorJob *s)
{
    job_progress_set_remaining(&s->common.job, bytes_left(s));
    return job_copying_co_all(&s->copying);
}

static int coroutine_fn mirror_co_run(Job *job, Error **errp)
{
    MirrorJob *s = (MirrorJob *)job;
    int ret = co_grow_target(s, errp);

    if (ret >= 0 && s->first == MIRROR_FIRST_ALLOCATED) {
        ret = job_copying_co_scan(&s->copying, s->bottom, BLOCK_COPY_MARK_ALLOCATED);
    } else if (ret >= 0 && s->first == MIRROR_FIRST_NONZERO) {
        ret = job_copying_co_scan(&s->copying, NULL, BLOCK_COPY_MARK_NONZERO);
    }
    while (ret >= 0) {
        ret = co_catch_up(s);
        if (ret < 0) {
            break;
        }
        if (!job_is_ready(job)) {
            job_progress_set_remaining(job, 0);
            job_transition_to_ready(job);
        }
        if (is_asked_to_end(s)) {
            /* From here on guests keep the target in step themselves. */
            mirror_top_set_mode(s->filter, MIRROR_COPY_MODE_WRITE_BLOCKING);
            return co_catch_up(s);
        }
        job_co_poll_ns(job, POLL_NS, "writes to copy, job-complete or job-cancel");
        ret = job_is_cancelled(job) ? -ECANCELED : 0;
    }
    return ret;
}

/* ---- verbs ----------------------------------------------------------------------------------- */

static void mirror_complete(Job *job, Error **errp)
{
    MirrorJob *s = (MirrorJob *)job;

    if (s->should_complete) {
        return;
    }
    if (s->replaces) {
        BlockDriverState *bs = bdrv_find_node(s->replaces);

        if (!bs) {
            error_setg(errp, "Node name '%s' not found", s->replaces);
            return;
        }
        if (!block_job_forbid(&s->common, bs, BLK_RIGHTS_ALL_OPS,
                              "block device is in use by block-job-complete", errp)) {
            return;
        }
        s->to_replace = bdrv_ref(bs);
    }
    s->should_complete = true;
    job_enter(job);
}

static bool mirror_cancel(Job *job, bool force)
{
    return force || !job_is_ready(job);
}

static void mirror_query(BlockJob *job, BlockJobInfo *info)
{
    MirrorJob *s = (MirrorJob *)job;

    info->u.mirror.actively_synced = s->filter && s->state && job_is_ready(&job->job) &&
        mirror_top_mode(s->filter) == MIRROR_COPY_MODE_WRITE_BLOCKING &&
        bdrv_get_dirty_count(block_copy_dirty_bitmap(s->state)) == 0;
}

static void mirror_change(BlockJob *job, const BlockJobChangeOptions *options, Error **errp)
{
    MirrorJob *s = (MirrorJob *)job;

    if (is_asked_to_end(s)) {
        error_setg(errp, "Job '%s' is about to end", job->job.id);
        return;
    }
    mirror_top_set_mode(s->filter, options->u.mirror.copy_mode);
}

static const BlockJobOps mirror_ops = { .query = mirror_query, .change = mirror_change };

/* ---- the end --------------------------------------------------------------------------------- */

/* The source is frozen: what is left now is all there will be. */
static bool coroutine_fn co_copy_rest(MirrorJob *s, Error **errp)
{
    BlockCopyAll how = { .max_workers = s->copying.max_workers };
    bool is_read;
    int ret = block_copy_co_all(s->state, &how, &is_read);

    if (ret >= 0) {
        ret = bdrv_co_flush(s->target);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not copy what was written last");
    }
    return ret >= 0;
}

/* The node of the source's chain, or a new one, that the target's image names as its backing. */
static BlockDriverState *coroutine_fn co_open_named_backing(MirrorJob *s, Error **errp)
{
    g_autofree char *name = bdrv_get_full_backing_filename(s->target, errp);
    BlockDriverState *bs;
    QDict *options;

    if (!name) {
        return NULL;
    }
    for (bs = s->source; bs; bs = bdrv_backing_chain_next(bs)) {
        if (strcmp(bdrv_get_filename(bs), name) == 0) {
            return bdrv_ref(bs);
        }
    }
    options = qdict_new();
    if (s->target->backing_format && *s->target->backing_format) {
        qdict_put_str(options, "driver", s->target->backing_format);
    }
    return bdrv_co_open(name, NULL, options,
                        s->target->open_flags & ~(BDRV_O_RDWR | BDRV_O_NO_BACKING), errp);
}

static bool coroutine_fn co_attach_backing(MirrorJob *s, Error **errp)
{
    BlockDriverState *target = bdrv_skip_filters(s->target);
    Error *local_err = NULL;

    if (s->backing_mode == MIRROR_OPEN_BACKING) {
        g_autoptr(BlockDriverState) backing = co_open_named_backing(s, &local_err);

        if (local_err) {
            error_propagate(errp, local_err);
            return false;
        }
        return !backing || bdrv_co_set_backing(target, backing, errp);
    }
    if (s->backing_mode == MIRROR_SOURCE_BACKING && bdrv_cow_bs(target) != s->backing) {
        return bdrv_co_set_backing(target, s->backing, errp);
    }
    return true;
}

static bool coroutine_fn co_pivot(MirrorJob *s, Error **errp)
{
    BlockDriverState *old = s->to_replace ? s->to_replace : s->source;

    if (s->to_replace && !mirror_can_replace(s->source, s->to_replace)) {
        error_setg(errp, "Can no longer replace '%s' by '%s', because it can no longer be "
                   "guaranteed that doing so would not lead to an abrupt change of visible data",
                   bdrv_get_node_name(s->to_replace), bdrv_get_node_name(s->target));
        return false;
    }
    return bdrv_co_replace_node(old, s->target, errp);
}

/* Now that the target says the same, the source need not. */
static bool coroutine_fn co_empty_source(MirrorJob *s, Error **errp)
{
    Error *local_err = NULL;
    int ret = bdrv_co_make_empty(bdrv_skip_filters(s->source), &local_err);

    if (ret == -ENOTSUP) {
        error_free(local_err);
        return true;
    }
    error_propagate(errp, local_err);
    return ret >= 0;
}

static int coroutine_fn mirror_co_prepare(Job *job, Error **errp)
{
    MirrorJob *s = (MirrorJob *)job;
    BlockDriverState *nodes[] = { s->filter, s->source, s->target };
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze(nodes, ARRAY_SIZE(nodes));

    if (!co_copy_rest(s, errp)) {
        return -EIO;
    }
    /* From here to the end others are kept out by the control lock. */
    s->state = NULL;
    mirror_top_co_stop(s->filter);
    block_job_co_remove_all_bdrv(&s->common);
    if (s->empties_source) {
        return !s->should_complete || co_empty_source(s, errp) ? 0 : -EIO;
    }
    if (!co_attach_backing(s, errp) || (s->should_complete && !co_pivot(s, errp))) {
        return -EIO;
    }
    s->has_pivoted = s->should_complete;
    return 0;
}

static void coroutine_fn mirror_co_clean(Job *job)
{
    MirrorJob *s = (MirrorJob *)job;
    Error *local_err = NULL;

    s->state = NULL;
    block_job_co_remove_all_bdrv(&s->common);
    if (s->filter && !mirror_top_co_drop(g_steal_pointer(&s->filter), &local_err)) {
        warn_report_err(local_err);
    }
    if (s->target_was_read_only && !s->has_pivoted) {
        /* Somebody may have come who writes: then it stays writable. */
        bdrv_co_reopen_set_read_only(s->target, true, NULL);
    }
    bdrv_unref(g_steal_pointer(&s->to_replace));
    bdrv_unref(g_steal_pointer(&s->backing));
    bdrv_unref(g_steal_pointer(&s->bottom));
    bdrv_unref(g_steal_pointer(&s->source));
    bdrv_unref(g_steal_pointer(&s->target));
}

static void mirror_free(Job *job)
{
    MirrorJob *s = (MirrorJob *)job;

    g_free(s->replaces);
    block_job_free(job);
}

#define MIRROR_DRIVER(type) { \
    .instance_size = sizeof(MirrorJob), \
    .job_type = (type), \
    .co_run = mirror_co_run, \
    .user_resume = block_job_user_resume, \
    .complete = mirror_complete, \
    .cancel = mirror_cancel, \
    .co_prepare = mirror_co_prepare, \
    .co_clean = mirror_co_clean, \
    .event = block_job_event, \
    .free = mirror_free, \
}

static const JobDriver mirror_job_driver = MIRROR_DRIVER(JOB_TYPE_MIRROR);
static const JobDriver commit_active_job_driver = MIRROR_DRIVER(JOB_TYPE_COMMIT);

/* ---- creation -------------------------------------------------------------------------------- */

/* Cancelled before it could start: as mirror_co_clean(), then the job goes. */
static void coroutine_fn co_give_up(MirrorJob *s)
{
    mirror_co_clean(&s->common.job);
    job_early_fail(&s->common.job);
}

static MirrorJob *mirror_job_new(const MirrorSetup *setup, Error **errp)
{
    BlockJobArgs args = setup->job;
    MirrorJob *s;

    args.driver = setup->is_commit ? &commit_active_job_driver : &mirror_job_driver;
    s = block_job_create(&args, errp);
    if (!s) {
        return NULL;
    }
    s->common.ops = setup->is_commit ? NULL : &mirror_ops;
    s->source = bdrv_ref(setup->source);
    s->target = bdrv_ref(setup->target);
    s->bottom = setup->bottom ? bdrv_ref(setup->bottom) : NULL;
    s->backing = setup->backing ? bdrv_ref(setup->backing) : NULL;
    s->backing_mode = setup->backing_mode;
    s->replaces = g_strdup(setup->replaces);
    s->is_commit = setup->is_commit;
    s->empties_source = setup->empties_source;
    s->first = setup->first;
    return s;
}

/* The job's edges and claims. */
static bool coroutine_fn co_take_nodes(MirrorJob *s, Error **errp)
{
    const BlockRights others = BLK_PERM_ALL & ~BLK_PERM_RESIZE;
    BlockDriverState *bs;

    if (!block_job_co_add_bdrv(&s->common, "main node", s->filter, 0, BLK_PERM_ALL, 0, errp) ||
        !block_job_co_add_bdrv(&s->common, "source", s->source, 0, others, 0, errp) ||
        !block_job_co_add_bdrv(&s->common, "target", s->target, 0, BLK_PERM_ALL, 0, errp)) {
        return false;
    }
    /* What does not come through the filter is not followed. */
    if (!block_job_forbid(&s->common, s->source, BLK_PERM_WRITE, s->common.reason, errp)) {
        return false;
    }
    if (!s->is_commit) {
        return true;
    }
    for (bs = bdrv_filter_or_cow_bs(s->source); bs != s->target; bs = bdrv_filter_or_cow_bs(bs)) {
        if (!block_job_co_add_bdrv(&s->common, "intermediate node", bs, 0,
                                   BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED, 0, errp)) {
            return false;
        }
    }
    block_job_freeze_chain(&s->common, s->filter, s->target);
    return true;
}

static bool coroutine_fn co_set_up(MirrorJob *s, const MirrorSetup *setup, Error **errp)
{
    MirrorTopArgs top = {
        .source = setup->source,
        .target = setup->target,
        .filter_node_name = setup->filter_node_name,
        .owner_key = s,
        .copy_mode = setup->copy_mode,
        .is_commit = setup->is_commit,
        .grows_target = setup->is_commit &&
                        bdrv_getlength(setup->target) < bdrv_getlength(setup->source),
        .whole_clusters = setup->backing_mode != MIRROR_LEAVE_BACKING,
        .granularity = setup->granularity,
        .keep_allocated = setup->keep_allocated,
        .start_clean = setup->first != MIRROR_FIRST_ALL,
        .share = setup->share,
    };

    if (setup->is_commit && bdrv_is_read_only(s->target)) {
        if (!bdrv_co_reopen_set_read_only(s->target, false, errp)) {
            return false;
        }
        s->target_was_read_only = true;
    }
    s->filter = mirror_top_co_insert(&top, &s->state, errp);
    return s->filter && co_take_nodes(s, errp);
}

BlockJob *coroutine_fn mirror_job_co_begin(const MirrorSetup *setup, Error **errp)
{
    const int64_t chunk = MAX(MIN(1 * MiB, setup->buf_size), setup->granularity);
    MirrorJob *s;

    CONTROL_PATH();
    /* A filter shows what the node below it holds. */
    if (bdrv_skip_filters(setup->source) == bdrv_skip_filters(setup->target)) {
        error_setg(errp, "Can't mirror node into itself");
        return NULL;
    }
    s = mirror_job_new(setup, errp);
    if (!s) {
        return NULL;
    }
    if (!co_set_up(s, setup, errp)) {
        co_give_up(s);
        return NULL;
    }
    s->copying = (JobCopying) {
        .written = s->target,
        .on_source_error = setup->on_source_error,
        .on_target_error = setup->on_target_error,
        .max_workers = CLAMP(setup->buf_size / chunk, 1, MIRROR_MAX_WORKERS),
        .max_chunk = chunk,
        .in_order = setup->in_order,
    };
    job_copying_init(&s->copying, &s->common, s->state);
    return &s->common;
}
