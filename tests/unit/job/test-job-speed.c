/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Speed limits of jobs, by a clock that moves when told to: what is copied in which time. */
#include "qemu/osdep.h"

#include "../../lib/testlib.h"

#include "block/block-backend.h"
#include "block/blockjob.h"
#include "block/graph.h"
#include "qemu/main-loop.h"
#include "qobject/qdict.h"

#define DISK_BYTES (24 * MiB)

/* ---- a chain base <- mid <- top with the data in mid, and a target --------------------------- */

static const char *const names[] = { "base", "mid", "top", "target" };
enum { BASE, MID, TOP, TARGET, N_NODES };

static char *image_name(int node)
{
    return test_tmpfile(names[node]);
}

static void coroutine_fn co_make_image(int node)
{
    g_autofree char *file = image_name(node);
    g_autofree char *below = node == MID || node == TOP ? image_name(node - 1) : NULL;
    BdrvImgCreate create = {
        .filename = file,
        .format = "qcow2",
        .backing_filename = below,
        .backing_format = below ? "qcow2" : NULL,
        .size = DISK_BYTES,
        .flags = BDRV_O_NO_BACKING,
        .quiet = true,
    };

    g_assert_true(bdrv_co_img_create(&create, &error_abort));
}

static BlockDriverState *coroutine_fn co_open_image(int node)
{
    g_autofree char *file = image_name(node);
    QDict *options = qdict_new();

    qdict_put_str(options, "driver", "qcow2");
    qdict_put_str(options, "node-name", names[node]);
    qdict_put_str(options, "cache.no-flush", "on");
    if (node == MID || node == TOP) {
        qdict_put_str(options, "backing", names[node - 1]);
    }
    return bdrv_co_open(file, NULL, options, BDRV_O_RDWR, &error_abort);
}

static void coroutine_fn co_fill(BlockDriverState *bs)
{
    BlockBackend *blk = blk_co_new_with_bs(bs, BLK_PERM_WRITE, BLK_PERM_ALL, &error_abort);
    g_autofree uint8_t *buf = g_malloc(1 * MiB);

    memset(buf, 0x5a, 1 * MiB);
    for (int64_t offset = 0; offset < DISK_BYTES; offset += 1 * MiB) {
        g_assert_cmpint(blk_co_pwrite(blk, offset, 1 * MiB, buf, 0), ==, 0);
    }
    blk_co_unref(blk);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static BlockJob *coroutine_fn co_stream(BlockDriverState *const *bs, int64_t speed)
{
    StreamJobArgs args = { .job_id = "j", .bs = bs[TOP], .speed = speed };

    return stream_job_co_create(&args, &error_abort);
}

static BlockJob *coroutine_fn co_commit(BlockDriverState *const *bs, int64_t speed)
{
    CommitJobArgs args = {
        .job_id = "j",
        .bs = bs[TOP],
        .top = bs[MID],
        .base = bs[BASE],
        .speed = speed,
    };

    return commit_job_co_create(&args, &error_abort);
}

static BlockJob *coroutine_fn co_commit_active(BlockDriverState *const *bs, int64_t speed)
{
    CommitJobArgs args = {
        .job_id = "j",
        .bs = bs[TOP],
        .top = bs[TOP],
        .base = bs[BASE],
        .speed = speed,
    };

    return commit_active_job_co_create(&args, &error_abort);
}

static BlockJob *coroutine_fn co_mirror(BlockDriverState *const *bs, int64_t speed)
{
    MirrorJobArgs args = {
        .job_id = "j",
        .bs = bs[TOP],
        .target = bs[TARGET],
        .sync = MIRROR_SYNC_MODE_FULL,
        .speed = speed,
    };

    return mirror_job_co_create(&args, &error_abort);
}

static BlockJob *coroutine_fn co_backup(BlockDriverState *const *bs, int64_t speed)
{
    BackupCommon args = { .job_id = (char *)"j", .sync = MIRROR_SYNC_MODE_FULL, .speed = speed };

    return backup_job_co_create(bs[TOP], bs[TARGET], &args, NULL, &error_abort);
}

typedef struct Case {
    const char *path;
    BlockJob *coroutine_fn (*co_create)(BlockDriverState *const *bs, int64_t speed);
} Case;

static const Case cases[] = {
    { "/job/speed/stream", co_stream },
    { "/job/speed/commit", co_commit },
    { "/job/speed/commit-active", co_commit_active },
    { "/job/speed/mirror", co_mirror },
    { "/job/speed/backup", co_backup },
};

/* ---- time ------------------------------------------------------------------------------------ */

static void step_bh(void *opaque)
{
    qemu_clock_step_to(*(int64_t *)opaque);
}

/* Until the job waits for its limit: all that it may do by now is done. */
static void coroutine_fn co_settle(const Job *job)
{
    while (g_strcmp0(job->waits_for, "the speed limit") != 0) {
        g_assert_cmpint(job->status, ==, JOB_STATUS_RUNNING);
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

/* Timers of the job are @late_ns late: as on a busy host. */
static void coroutine_fn co_pass_until(const Job *job, int64_t end_ns, int64_t late_ns)
{
    while (job_clock_ns() < end_ns) {
        int64_t next_ns = qemu_clock_next_virtual_ns();
        int64_t to_ns = next_ns < end_ns ? MIN(end_ns, next_ns + late_ns) : end_ns;

        aio_bh_schedule_oneshot(qemu_get_aio_context(), step_bh, &to_ns);
        while (job_clock_ns() < to_ns) {
            aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
            qemu_coroutine_yield();
        }
        co_settle(job);
    }
}

static int64_t bytes_done(const Job *job)
{
    uint64_t done, total;

    progress_get_snapshot(&job->progress, &done, &total);
    return done;
}

/* For @ms from now the job's speed is @speed, give or take 5 %. */
static void coroutine_fn co_check_speed(const Job *job, int64_t speed, int64_t ms, int64_t late_ms)
{
    int64_t start = bytes_done(job), expected = speed * ms / 1000, moved;

    co_pass_until(job, job_clock_ns() + ms * SCALE_MS, late_ms * SCALE_MS);
    moved = bytes_done(job) - start;
    g_assert_cmpint(llabs(moved - expected), <=, expected / 20);
}

static void coroutine_fn co_run_case(const Case *k)
{
    BlockDriverState *bs[N_NODES];
    BlockJob *job;

    for (int i = 0; i < N_NODES; i++) {
        co_make_image(i);
        bs[i] = co_open_image(i);
        if (i == MID) {
            co_fill(bs[i]);
        }
    }
    job = k->co_create(bs, 1 * MiB);
    job_ref(&job->job);
    job_start(&job->job);
    co_settle(&job->job);
    co_check_speed(&job->job, 1 * MiB, 5000, 0);
    /* Changed on the way: slower, faster; what was saved up or owed does not count. */
    g_assert_true(block_job_set_speed(job, 300 * 1000, &error_abort));
    co_settle(&job->job);
    co_check_speed(&job->job, 300 * 1000, 9000, 0);
    g_assert_true(block_job_set_speed(job, 1500 * 1000, &error_abort));
    co_settle(&job->job);
    co_check_speed(&job->job, 1500 * 1000, 4500, 0);
    /* Being woken late each time costs nothing. */
    co_check_speed(&job->job, 1500 * 1000, 4500, 40);
    bdrv_co_control_unlock();
    job_co_cancel_sync(&job->job);
    bdrv_co_control_lock();
    job_unref(&job->job);
    for (int i = N_NODES; i-- > 0; ) {
        bdrv_unref(bs[i]);
    }
}

static void coroutine_fn co_main(void *opaque)
{
    BDRV_CONTROL_GUARD();
    co_run_case(opaque);
}

static void run_case(gconstpointer k)
{
    bdrv_init();
    co_run(co_main, (void *)k);
    bdrv_graph_reset();
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_clock_set_stepped();
    qemu_init_main_loop(&error_abort);
    job_set_clock(QEMU_CLOCK_VIRTUAL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_test_add_data_func(cases[i].path, &cases[i], run_case);
    }
    return g_test_run();
}
