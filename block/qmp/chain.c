/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block-stream and block-commit: jobs that shorten backing chains.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/blockjob.h"
#include "block/graph.h"
#include "qapi/gen/block-core-commands.h"
#include "qmp-block.h"

/* Is @op allowed on every node from @top down to, not including, @end? */
static bool chain_allows(BlockDriverState *top, BlockDriverState *end, BlockOpType op, Error **errp)
{
    for (BlockDriverState *bs = top; bs && bs != end; bs = bdrv_filter_or_cow_bs(bs)) {
        if (bdrv_op_is_blocked(bs, op, errp)) {
            return false;
        }
    }
    return true;
}

static BlockDriverState *coroutine_fn co_find_image(BlockDriverState *top, const char *filename,
                                                    Error **errp)
{
    BlockDriverState *bs = bdrv_co_find_backing_image(top, filename);

    if (!bs) {
        error_setg(errp, "Can't find '%s' in the backing chain", filename);
    }
    return bs;
}

/* ---- block-stream ---------------------------------------------------------------------------- */

static bool refuse_both(const char *a, const char *name_a, const char *b, const char *name_b,
                        Error **errp)
{
    if (a && b) {
        error_setg(errp, "'%s' and '%s' cannot be specified at the same time", name_a, name_b);
    }
    return a && b;
}

static BlockDriverState *find_base_node(BlockDriverState *bs, const BlockStreamArgs *arg,
                                        Error **errp)
{
    BlockDriverState *base = bdrv_lookup_bs(NULL, arg->base_node, errp);

    if (base && (base == bs || !bdrv_chain_contains(bs, base))) {
        error_setg(errp, "Node '%s' is not a backing image of '%s'", arg->base_node, arg->device);
        return NULL;
    }
    return base;
}

static BlockDriverState *find_bottom(BlockDriverState *bs, const BlockStreamArgs *arg, Error **errp)
{
    BlockDriverState *bottom = bdrv_lookup_bs(NULL, arg->bottom, errp);

    if (!bottom) {
        return NULL;
    }
    if (bdrv_is_filter(bottom)) {
        error_setg(errp, "Node '%s' is a filter, use a non-filter node as 'bottom'", arg->bottom);
        return NULL;
    }
    if (!bdrv_chain_contains(bs, bottom)) {
        error_setg(errp, "Node '%s' is not in a chain starting from '%s'", arg->bottom,
                   arg->device);
        return NULL;
    }
    return bottom;
}

/* The node that stays, and the last that goes; both NULL: all go. */
static bool coroutine_fn co_find_stream_end(const BlockStreamArgs *arg, StreamJobArgs *args,
                                            Error **errp)
{
    if (arg->base) {
        args->base = co_find_image(args->bs, arg->base, errp);
        return args->base != NULL;
    }
    if (arg->base_node) {
        args->base = find_base_node(args->bs, arg, errp);
        return args->base != NULL;
    }
    if (arg->bottom) {
        args->bottom = find_bottom(args->bs, arg, errp);
        return args->bottom != NULL;
    }
    return true;
}

void coroutine_fn qmp_block_stream(BlockStreamArgs *arg, Error **errp)
{
    StreamJobArgs args = {
        .job_id = arg->job_id,
        .filter_node_name = arg->filter_node_name,
        .backing_file = arg->backing_file,
        .mask_protocol = arg->backing_mask_protocol,
        .speed = arg->speed,
        .on_error = arg->on_error,
        .flags = job_flags(arg->has_auto_finalize, arg->auto_finalize, arg->has_auto_dismiss,
                           arg->auto_dismiss),
    };
    BlockDriverState *end;
    BlockJob *job;

    if (refuse_both(arg->base, "base", arg->base_node, "base-node", errp) ||
        refuse_both(arg->base, "base", arg->bottom, "bottom", errp) ||
        refuse_both(arg->bottom, "bottom", arg->base_node, "base-node", errp)) {
        return;
    }
    args.bs = bdrv_lookup_bs(arg->device, arg->device, errp);
    if (!args.bs || !co_find_stream_end(arg, &args, errp)) {
        return;
    }
    end = args.bottom ? bdrv_filter_or_cow_bs(args.bottom) : args.base;
    if (!chain_allows(args.bs, end, BLOCK_OP_TYPE_STREAM, errp)) {
        return;
    }
    if (!end && arg->backing_file) {
        error_setg(errp, "backing file specified, but streaming the entire chain");
        return;
    }
    job = stream_job_co_create(&args, errp);
    if (job) {
        job_start(&job->job);
    }
}

/* ---- block-commit ---------------------------------------------------------------------------- */

static BlockDriverState *find_in_chain(BlockDriverState *top, const char *name, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(NULL, name, errp);

    if (bs && !bdrv_chain_contains(top, bs)) {
        error_setg(errp, "'%s' is not in this backing file chain", name);
        return NULL;
    }
    return bs;
}

static BlockDriverState *coroutine_fn co_find_top(BlockDriverState *bs, const BlockCommitArgs *arg,
                                                  Error **errp)
{
    BlockDriverState *top;

    if (arg->top_node && arg->top) {
        error_setg(errp, "'top-node' and 'top' are mutually exclusive");
        return NULL;
    }
    if (arg->top_node) {
        return find_in_chain(bs, arg->top_node, errp);
    }
    if (!arg->top || strcmp(bdrv_get_filename(bs), arg->top) == 0) {
        return bs;
    }
    top = bdrv_co_find_backing_image(bs, arg->top);
    if (!top) {
        error_setg(errp, "Top image file %s not found", arg->top);
    }
    return top;
}

static BlockDriverState *coroutine_fn co_find_base(BlockDriverState *top,
                                                   const BlockCommitArgs *arg, Error **errp)
{
    BlockDriverState *base, *below;

    if (arg->base_node && arg->base) {
        error_setg(errp, "'base-node' and 'base' are mutually exclusive");
        return NULL;
    }
    if (arg->base_node) {
        return find_in_chain(top, arg->base_node, errp);
    }
    if (arg->base) {
        return co_find_image(top, arg->base, errp);
    }
    for (base = bdrv_skip_filters(top); (below = bdrv_backing_chain_next(base)); base = below) {
    }
    return base;
}

static BlockDriverState *find_active(const BlockCommitArgs *arg, Error **errp)
{
    Error *local_err = NULL;
    BlockDriverState *bs = bdrv_lookup_bs(arg->device, arg->device, &local_err);

    if (!bs && blk_by_name(arg->device)) {
        error_propagate(errp, local_err);
        return NULL;
    }
    if (!bs) {
        error_free(local_err);
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", arg->device);
        return NULL;
    }
    if (!bdrv_is_root_node(bs)) {
        error_setg(errp, "Need a root block node");
        bdrv_append_users_hint(bs, errp);
        return NULL;
    }
    return bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_COMMIT_SOURCE, errp) ? NULL : bs;
}

/* May data still be written to @top, so that it has to be kept in step to the end? */
static bool is_written_to(BlockDriverState *bs, BlockDriverState *top)
{
    BlockRights uses, forbids;

    bdrv_get_cumulative_rights(top, &uses, &forbids);
    return (uses & BLK_PERM_WRITE) || bdrv_skip_filters(top) == bdrv_skip_filters(bs);
}

static BlockJob *coroutine_fn co_commit_active(const CommitJobArgs *args, Error **errp)
{
    if (args->backing_file) {
        error_setg(errp, "'backing-file' specified, but 'top' %s",
                   bdrv_skip_filters(args->top) == bdrv_skip_filters(args->bs)
                   ? "is the active layer" : "has a writer on it");
        return NULL;
    }
    return commit_active_job_co_create(args, errp);
}

static BlockJob *coroutine_fn co_commit(const CommitJobArgs *args, Error **errp)
{
    BlockDriverState *overlay = bdrv_find_overlay(args->bs, args->top);

    if (overlay && bdrv_op_is_blocked(overlay, BLOCK_OP_TYPE_COMMIT_TARGET, errp)) {
        return NULL;
    }
    return commit_job_co_create(args, errp);
}

void coroutine_fn qmp_block_commit(BlockCommitArgs *arg, Error **errp)
{
    CommitJobArgs args = {
        .job_id = arg->job_id,
        .filter_node_name = arg->filter_node_name,
        .bs = find_active(arg, errp),
        .backing_file = arg->backing_file,
        .mask_protocol = arg->backing_mask_protocol,
        .speed = arg->speed,
        .on_error = arg->on_error,
        .flags = job_flags(arg->has_auto_finalize, arg->auto_finalize, arg->has_auto_dismiss,
                           arg->auto_dismiss),
    };
    BlockJob *job;

    args.top = args.bs ? co_find_top(args.bs, arg, errp) : NULL;
    args.base = args.top ? co_find_base(args.top, arg, errp) : NULL;
    if (!args.base || !chain_allows(args.top, bdrv_filter_or_cow_bs(args.base),
                                    BLOCK_OP_TYPE_COMMIT_TARGET, errp)) {
        return;
    }
    if (args.top == args.base) {
        error_setg(errp, "cannot commit an image into itself");
        return;
    }
    job = is_written_to(args.bs, args.top) ? co_commit_active(&args, errp)
                                           : co_commit(&args, errp);
    if (job) {
        job_start(&job->job);
    }
}
