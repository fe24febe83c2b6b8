/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rounds of copying.  A round ends when all is copied, at an error, or when the job should get to
 * a pause point: then nothing of it is in flight.
 */
#include "qemu/osdep.h"

#include "copying.h"

#define DEFAULT_CHUNK (1 * MiB)
#define RETRY_NS (100 * SCALE_MS)

/* In the thread that copied. */
static void copying_progress(void *opaque, int64_t bytes, bool moved)
{
    BlockJob *job = opaque;

    job_progress_update(&job->job, bytes);
    if (moved) {
        block_job_ratelimit_account(job, bytes);
    }
}

void job_copying_init(JobCopying *copying, BlockJob *job, BlockCopyState *state)
{
    copying->job = job;
    copying->state = state;
    block_copy_set_progress(state, copying_progress, job);
}

/* With a speed limit, pieces of a tenth of a second; clusters may be larger. */
static int64_t wanted_chunk(const JobCopying *copying)
{
    int64_t chunk = copying->max_chunk ? copying->max_chunk : DEFAULT_CHUNK;

    return copying->job->speed ? CLAMP(copying->job->speed / 10, 1, chunk) : chunk;
}

/* ... and not more of them at once than fit into that time, but one. */
static int wanted_workers(const JobCopying *copying)
{
    if (copying->job->speed == 0) {
        return copying->max_workers;
    }
    return CLAMP(copying->job->speed / 10 / wanted_chunk(copying), 1, copying->max_workers);
}

static int broken(const JobCopying *copying)
{
    return copying->broken ? copying->broken(copying->job) : 0;
}

static bool should_stop(void *opaque)
{
    JobCopying *copying = opaque;

    return job_is_interrupted(&copying->job->job) || copying->workers != wanted_workers(copying) ||
           broken(copying) < 0 || block_job_ratelimit_delay(copying->job) > 0;
}

/* Returns 0 to go on (perhaps after a pause), or the negative errno to fail with. */
static int coroutine_fn co_handle_error(JobCopying *copying, int ret, bool is_read)
{
    BlockdevOnError on_err = is_read ? copying->on_source_error : copying->on_target_error;

    switch (block_job_error_action(copying->job, on_err, is_read, -ret)) {
    case BLOCK_ERROR_ACTION_REPORT:
        return ret;
    case BLOCK_ERROR_ACTION_IGNORE:
        if (copying->skip_ignored) {
            block_copy_drop_failed_piece(copying->state);
            copying->skipped_error = copying->skipped_error ? copying->skipped_error : ret;
            return 0;
        }
        job_co_sleep_ns(&copying->job->job, RETRY_NS, "another try after an I/O error");
        return 0;
    default:
        job_co_pause_point(&copying->job->job);
        return 0;
    }
}

/* Between rounds: 0 to go on, or a negative errno. */
static int coroutine_fn co_rest(JobCopying *copying)
{
    Job *job = &copying->job->job;

    job_co_sleep_ns(job, block_job_ratelimit_delay(copying->job), "the speed limit");
    return job_is_cancelled(job) ? -ECANCELED : broken(copying);
}

/* One round of copying; 0: all is copied, 1: not yet. */
static int coroutine_fn co_copy_round(JobCopying *copying)
{
    BlockCopyAll how = {
        .max_chunk = wanted_chunk(copying),
        .in_order = copying->in_order,
        .stop = should_stop,
        .opaque = copying,
    };
    bool is_read, is_flush = false;
    int ret;

    copying->workers = how.max_workers = wanted_workers(copying);
    ret = block_copy_co_all(copying->state, &how, &is_read);
    if (ret == 0) {
        /* What is told to be complete survives a crash. */
        is_read = false;
        is_flush = true;
        ret = bdrv_co_flush(copying->written);
    }
    if (ret < 0) {
        if (is_flush && copying->skip_ignored) {
            /* There is no piece to leave out. */
            return ret;
        }
        ret = co_handle_error(copying, ret, is_read);
        return ret < 0 ? ret : 1;
    }
    return ret;
}

int coroutine_fn job_copying_co_all(JobCopying *copying)
{
    int ret;

    while ((ret = co_copy_round(copying)) == 1) {
        ret = co_rest(copying);
        if (ret < 0) {
            return ret;
        }
    }
    return ret < 0 ? ret : copying->skipped_error;
}

int coroutine_fn job_copying_co_scan(JobCopying *copying, BlockDriverState *bottom,
                                     BlockCopyScan what)
{
    BlockCopyAll how = { .stop = should_stop, .opaque = copying };
    int64_t offset = 0;
    int ret;

    copying->workers = wanted_workers(copying);
    while ((ret = block_copy_co_scan(copying->state, bottom, what, &how, &offset)) != 0) {
        if (ret < 0 && what == BLOCK_COPY_FORGET_REST) {
            /* It only saves time: what is wrong shows where it matters. */
            return 0;
        }
        if (ret < 0) {
            ret = co_handle_error(copying, ret, true);
            if (ret < 0) {
                return ret;
            }
        }
        ret = co_rest(copying);
        if (ret < 0) {
            return ret;
        }
        copying->workers = wanted_workers(copying);
    }
    return 0;
}
