/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img commit: what an overlay holds goes down into an image of its backing chain.
 *
 * The work is done by the job of block-commit.  The overlay is emptied when the data is safe below
 * it, so at every instant the overlay reads the same.
 */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/blockjob.h"
#include "block/coroutine.h"
#include "block/graph.h"
#include "qemu-img.h"
#include "qemu/progress.h"

#define MIN_POLL_NS (1 * SCALE_MS)
#define MAX_POLL_NS (10 * SCALE_MS)
#define COMPACT_STEP (64 * MiB)

typedef struct CommitOptions {
    bool quiet, image_opts, progress, keep;
    const char *format, *cache, *base, *rate;
} CommitOptions;

static const ImgOption commit_options[] = {
    IMG_OPT_QUIET(CommitOptions),
    IMG_OPT_FORMAT(CommitOptions),
    IMG_OPT_CACHE(CommitOptions),
    { 'b', "backing", IMG_STRING, offsetof(CommitOptions, base), "BASE",
      "the image of the chain to commit into (default: the next one); implies -d" },
    { 'r', "rate-limit", IMG_STRING, offsetof(CommitOptions, rate), "RATE",
      "copy at most RATE bytes per second" },
    { 'd', "drop", IMG_FLAG, offsetof(CommitOptions, keep), NULL,
      "do not empty FILE: it is going to be deleted" },
    IMG_OPT_PROGRESS(CommitOptions),
    IMG_OPT_IMAGE_OPTS(CommitOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

/* ---- the job --------------------------------------------------------------------------------- */

static BlockDriverState *coroutine_fn co_find_base(const CommitOptions *opts, BlockDriverState *bs,
                                                   const char *filename)
{
    BlockDriverState *base = opts->base ? bdrv_co_find_backing_image(bs, opts->base)
                                        : bdrv_backing_chain_next(bs);

    if (!base && opts->base) {
        error_report("Did not find '%s' in the backing chain of '%s'", opts->base, filename);
    } else if (!base) {
        error_report("Image does not have a backing file");
    }
    return base;
}

/* The job, with a reference for the caller, or NULL. */
static Job *coroutine_fn co_make_job(const CommitOptions *opts, BlockDriverState *bs,
                                     const char *filename, int64_t rate)
{
    CommitJobArgs args = {
        .job_id = "commit",
        .bs = bs,
        .top = bs,
        .in_order = true,
        .share = true,
        .speed = rate,
        .on_error = BLOCKDEV_ON_ERROR_REPORT,
    };
    Error *local_err = NULL;
    BlockJob *job;

    args.base = co_find_base(opts, bs, filename);
    if (!args.base) {
        return NULL;
    }
    job = commit_active_job_co_create(&args, &local_err);
    if (!job) {
        error_report_err(local_err);
        return NULL;
    }
    return job_ref(&job->job);
}

static void show_progress(const Job *job)
{
    uint64_t done, total;

    progress_get_snapshot(&job->progress, &done, &total);
    qemu_progress_print(total ? 100.0 * done / total : 0, 0);
}

static bool coroutine_fn co_run_job(Job *job)
{
    int64_t pause = MIN_POLL_NS;
    int ret;

    job_start(job);
    while (!job_is_ready(job) && !job_has_ended(job)) {
        show_progress(job);
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, pause);
        pause = MIN(2 * pause, MAX_POLL_NS);
    }
    if (job_is_ready(job)) {
        job_complete(job, &error_abort); /* nobody else can have asked for its end */
    }
    ret = job_co_wait(job);
    if (ret < 0) {
        error_report("Block job failed: %s", g_strerror(-ret));
        return false;
    }
    qemu_progress_print(100, 0);
    return true;
}

/* ---- the overlay ----------------------------------------------------------------------------- */

/* Nobody uses @bs any more. */
static bool coroutine_fn co_empty(BlockDriverState *bs)
{
    Error *local_err = NULL;
    BlockBackend *blk;
    int64_t left;
    int ret;

    BDRV_CONTROL_GUARD();
    blk = blk_co_new_with_bs(bs, BLK_PERM_WRITE, BLK_PERM_ALL, &local_err);
    ret = blk ? bdrv_co_make_empty(bs, &local_err) : -EPERM;
    if (ret >= 0) {
        /* The room it took; where the format cannot give it back it stays. */
        while (bdrv_co_compact(bs, COMPACT_STEP, &left, NULL) > 0) {
            /* On. */
        }
    }
    blk_co_unref(blk);
    if (ret < 0 && ret != -ENOTSUP) {
        error_reportf_err(local_err, "Could not empty the image: ");
        return false;
    }
    error_free(local_err);
    return true;
}

static void coroutine_fn co_forget(BlockDriverState *bs)
{
    BDRV_CONTROL_GUARD();
    bdrv_unref(bs);
}

/* ---- running --------------------------------------------------------------------------------- */

static bool coroutine_fn co_commit(const CommitOptions *opts, ImgBackend *image,
                                   const char *filename, int64_t rate)
{
    BlockDriverState *bs;
    Job *job;
    bool ok;

    bdrv_co_control_lock();
    bs = bdrv_ref(bdrv_skip_filters(blk_bs(image)));
    job = co_make_job(opts, bs, filename, rate);
    bdrv_co_control_unlock();
    ok = job && co_run_job(job);
    job_unref(job);
    if (ok && !opts->keep && !opts->base) {
        ok = co_empty(bs);
    }
    co_forget(bs);
    return ok;
}

static int coroutine_fn co_run_with(const CommitOptions *opts, const char *filename, int64_t rate)
{
    ImgOpen how = {
        .filename = filename,
        .format = opts->format,
        .image_opts = opts->image_opts,
        .flags = BDRV_O_RDWR | BDRV_O_UNMAP,
    };
    bool ok;

    if (!img_parse_cache(&how, "cache", opts->cache ? opts->cache : "writeback")) {
        return 1;
    }
    g_autoptr(ImgBackend) image = img_co_open(&how);
    if (!image) {
        return 1;
    }
    qemu_progress_init(opts->progress && !opts->quiet, 1.0);
    qemu_progress_print(0, 100);
    ok = co_commit(opts, image, filename, rate);
    qemu_progress_end();
    if (ok && !opts->quiet) {
        puts("Image committed.");
    }
    return ok ? 0 : 1;
}

static int coroutine_fn co_run_commit(int argc, char **argv)
{
    CommitOptions opts = { 0 };
    int64_t rate = 0;
    int status;

    if (!img_parse(&img_commit, &opts, argc, argv, &status)) {
        return status;
    }
    if (opts.rate && !img_parse_size("rate limit", opts.rate, 0, INT64_MAX, &rate)) {
        return 1;
    }
    if (argc - optind != 1) {
        return img_usage_error(&img_commit, "Expecting one image file name");
    }
    return co_run_with(&opts, argv[optind], rate);
}

const ImgCommand img_commit = {
    .name = "commit",
    .arguments = "FILE",
    .summary = "Move what FILE holds into its backing file, or into another one of its chain.",
    .options = commit_options,
    .co_run = co_run_commit,
};
