/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs on a chain of qcow2 images while guests in another thread write at random: what the guests
 * see is at any time what they wrote, and in the end it is in the images that the job promises.
 */
#include "qemu/osdep.h"

#include "job-guests.h"

#include "block/dirty-bitmap.h"

/* ---- one job --------------------------------------------------------------------------------- */

typedef struct Case {
    const char *path;
    BlockJob *coroutine_fn (*co_create)(Chain *chain);
    void coroutine_fn (*co_check)(Chain *chain, Job *job);
    bool completes; /* by hand, when it is ready */
    bool cancels;   /* when it is ready, softly */
    void coroutine_fn (*co_turn)(Chain *chain, Job *job, int turn); /* meanwhile, or NULL */
} Case;

/* In the background it may run after guests that never rest for ever; then it works with them. */
static void work_with_guests(Job *job)
{
    BlockJobChangeOptions change = {
        .id = job->id,
        .type = JOB_TYPE_MIRROR,
        .u.mirror.copy_mode = MIRROR_COPY_MODE_WRITE_BLOCKING,
    };

    if (job->driver->job_type == JOB_TYPE_MIRROR && job->status == JOB_STATUS_RUNNING) {
        block_job_change((BlockJob *)job, &change, &error_abort);
    }
}

/* Pauses and drains on the way to ready or to the end. */
static void coroutine_fn co_disturb(Chain *chain, Job *job, const Case *k, int *running, int *stop)
{
    bool asked = false;

    for (int turn = 0; !job_has_ended(job); turn++) {
        if (turn == 100) {
            work_with_guests(job);
        }
        co_turns(20);
        if (g_random_int_range(0, 20) == 0 && job_user_pause(job, NULL)) {
            co_turns(10);
            job_user_resume(job, NULL); /* refused if it came to its end meanwhile */
        }
        if (g_random_int_range(0, 50) == 0) {
            BDRV_CONTROL_GUARD();
            bdrv_co_drain(chain->node[g_random_int_range(0, LAYERS)]);
        }
        if (k->co_turn) {
            k->co_turn(chain, job, turn);
        }
        if (job->status == JOB_STATUS_READY && !asked && (k->completes || k->cancels)) {
            asked = true;
            co_turns(100);
            if (k->completes) {
                job_complete(job, &error_abort);
            } else {
                co_stop_guests(running, stop);
                job_user_cancel(job, false, &error_abort);
            }
        }
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, SCALE_MS / 10);
    }
}

static void coroutine_fn co_run_case(const Case *k, AioContext *ctx)
{
    g_autofree Chain *chain = g_new0(Chain, 1);
    int running, stop = 0;
    g_autoptr(Job) job = NULL;
    BlockJob *block_job;

    co_chain_make(chain);
    co_start_guests(chain, &ctx, 1, &running, &stop);
    block_job = k->co_create(chain);
    job = job_ref(&block_job->job);
    job_start(job);
    bdrv_co_control_unlock();
    co_disturb(chain, job, k, &running, &stop);
    if (!k->cancels) {
        co_turns(50);
    }
    co_stop_guests(&running, &stop);
    bdrv_co_control_lock();
    g_assert_cmpint(job->ret, ==, k->co_turn ? -ECANCELED : 0);
    g_assert_cmpint(blk_co_flush(chain->blk), ==, 0);
    co_assert_shadow(chain, chain->blk);
    k->co_check(chain, job);
    co_chain_free(chain);
}

/* ---- cases ----------------------------------------------------------------------------------- */

static BlockJob *coroutine_fn co_stream_all(Chain *chain)
{
    StreamJobArgs args = { .job_id = "j", .bs = chain->node[3] };

    return stream_job_co_create(&args, &error_abort);
}

static void coroutine_fn co_streamed_all(Chain *chain, Job *job)
{
    g_assert_null(bdrv_cow_bs(chain->node[3]));
    g_assert_true(blk_bs(chain->blk) == chain->node[3]);
    g_assert_cmpstr(chain->node[3]->backing_file, ==, "");
}

static BlockJob *coroutine_fn co_stream_part(Chain *chain)
{
    StreamJobArgs args = { .job_id = "j", .bs = chain->node[2], .base = chain->node[0] };

    return stream_job_co_create(&args, &error_abort);
}

static void coroutine_fn co_streamed_part(Chain *chain, Job *job)
{
    g_assert_true(bdrv_cow_bs(chain->node[2]) == chain->node[0]);
    g_assert_true(bdrv_cow_bs(chain->node[3]) == chain->node[2]);
    g_assert_true(bdrv_is_read_only(chain->node[2]));
}

static BlockJob *coroutine_fn co_commit_part(Chain *chain)
{
    CommitJobArgs args = {
        .job_id = "j", .bs = chain->node[3], .top = chain->node[2], .base = chain->node[0],
    };

    return commit_job_co_create(&args, &error_abort);
}

static void coroutine_fn co_committed_part(Chain *chain, Job *job)
{
    g_assert_true(bdrv_cow_bs(chain->node[3]) == chain->node[0]);
    g_assert_true(bdrv_is_read_only(chain->node[0]));
    g_assert_true(g_str_has_suffix(chain->node[3]->backing_file, "/n0.qcow2"));
}

static BlockJob *coroutine_fn co_commit_active(Chain *chain)
{
    CommitJobArgs args = {
        .job_id = "j", .bs = chain->node[3], .top = chain->node[3], .base = chain->node[0],
        .write_blocking = true,
    };

    return commit_active_job_co_create(&args, &error_abort);
}

static void coroutine_fn co_committed_active(Chain *chain, Job *job)
{
    g_assert_true(blk_bs(chain->blk) == chain->node[0]);
}

static BlockJob *coroutine_fn co_mirror(Chain *chain, MirrorJobArgs args, const char *backing)
{
    g_autoptr(BlockDriverState) target = NULL;

    co_make_image(chain, "target", 65536, backing);
    target = co_open_image(chain, "target", backing, BDRV_O_RDWR);
    args.job_id = "j";
    args.bs = chain->node[3];
    args.target = target;
    return mirror_job_co_create(&args, &error_abort);
}

static BlockJob *coroutine_fn co_mirror_background(Chain *chain)
{
    return co_mirror(chain, (MirrorJobArgs) { .sync = MIRROR_SYNC_MODE_FULL,
                                              .granularity = 4096 }, NULL);
}

static BlockJob *coroutine_fn co_mirror_blocking(Chain *chain)
{
    return co_mirror(chain, (MirrorJobArgs) { .sync = MIRROR_SYNC_MODE_FULL,
                                              .copy_mode = MIRROR_COPY_MODE_WRITE_BLOCKING,
                                              .target_is_zero = true }, NULL);
}

static BlockJob *coroutine_fn co_mirror_top(Chain *chain)
{
    return co_mirror(chain, (MirrorJobArgs) { .sync = MIRROR_SYNC_MODE_TOP }, "n2");
}

static BlockJob *coroutine_fn co_mirror_source_backing(Chain *chain)
{
    g_autoptr(BlockDriverState) target = NULL;
    MirrorJobArgs args = {
        .job_id = "j",
        .bs = chain->node[3],
        .sync = MIRROR_SYNC_MODE_TOP,
        .backing_mode = MIRROR_SOURCE_BACKING,
        .copy_mode = g_random_boolean() ? MIRROR_COPY_MODE_WRITE_BLOCKING
                                        : MIRROR_COPY_MODE_BACKGROUND,
    };

    co_make_image(chain, "target", 65536, "n2");
    args.target = target = co_open_image(chain, "target", NULL, BDRV_O_RDWR | BDRV_O_NO_BACKING);
    return mirror_job_co_create(&args, &error_abort);
}

static void coroutine_fn co_mirrored(Chain *chain, Job *job)
{
    g_assert_cmpstr(bdrv_get_node_name(blk_bs(chain->blk)), ==, "target");
    g_assert_true(bdrv_op_blocker_is_empty(blk_bs(chain->blk)));
}

/* The guests were at rest when the job was told to leave: the copy is all that they had written. */
static void coroutine_fn co_left_a_copy(Chain *chain, Job *job)
{
    g_autoptr(BlockDriverState) bs = co_open_image(chain, "target", NULL, 0);
    BlockBackend *copy = blk_co_new_with_bs(bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL,
                                            &error_abort);

    co_assert_shadow(chain, copy);
    blk_co_unref(copy);
    g_assert_true(blk_bs(chain->blk) == chain->node[3]);
    g_assert_null(bdrv_cow_bs(bs));
    g_assert_true(bdrv_op_blocker_is_empty(chain->node[3]));
}

/* ---- backup ---------------------------------------------------------------------------------- */

/* A backup of the disk, and what it holds at that instant. */
static BlockJob *coroutine_fn co_backup_to(Chain *chain, BlockDriverState *target,
                                           BackupCommon args)
{
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(chain->node[3]);

    args.job_id = (char *)"j";
    co_note_instant(chain);
    return backup_job_co_create(chain->node[3], target, &args, NULL, &error_abort);
}

static BlockJob *coroutine_fn co_backup(Chain *chain, BackupCommon args, const char *backing)
{
    g_autoptr(BlockDriverState) target = NULL;

    co_make_image(chain, "target", 65536, backing);
    target = co_open_image(chain, "target", backing, BDRV_O_RDWR);
    return co_backup_to(chain, target, args);
}

static BlockJob *coroutine_fn co_backup_full(Chain *chain)
{
    return co_backup(chain, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL }, NULL);
}

static BlockJob *coroutine_fn co_backup_compressed(Chain *chain)
{
    return co_backup(chain, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL, .compress = true },
                     NULL);
}

static BlockJob *coroutine_fn co_backup_top(Chain *chain)
{
    return co_backup(chain, (BackupCommon) { .sync = MIRROR_SYNC_MODE_TOP }, "n2");
}

/* The target holds the disk as it was when the bitmap began; what is copied is what changed. */
static BlockJob *coroutine_fn co_backup_incremental(Chain *chain)
{
    g_autoptr(BlockDriverState) target = NULL;
    BdrvFreeze *freeze;
    BlockBackend *blk;

    co_make_image(chain, "target", 65536, NULL);
    target = co_open_image(chain, "target", NULL, BDRV_O_RDWR);
    freeze = bdrv_co_freeze_node(chain->node[3]);
    co_note_instant(chain);
    g_assert_nonnull(bdrv_create_dirty_bitmap(chain->node[3], 65536, "since", &error_abort));
    bdrv_thaw(freeze);
    blk = blk_co_new_with_bs(target, BLK_PERM_WRITE, BLK_PERM_ALL, &error_abort);
    g_assert_cmpint(blk_co_pwrite(blk, 0, DISK_BYTES, chain->instant, 0), ==, 0);
    blk_co_unref(blk);
    co_turns(50);
    return co_backup_to(chain, target, (BackupCommon) {
        .sync = MIRROR_SYNC_MODE_INCREMENTAL,
        .bitmap = (char *)"since",
    });
}

static void coroutine_fn co_assert_copy(Chain *chain, const char *backing)
{
    g_autoptr(BlockDriverState) bs = co_open_image(chain, "target", backing, 0);

    co_assert_instant(chain, bs);
    g_assert_true(blk_bs(chain->blk) == chain->node[3]);
    g_assert_true(bdrv_op_blocker_is_empty(chain->node[3]));
}

static void coroutine_fn co_backed_up(Chain *chain, Job *job)
{
    co_assert_copy(chain, NULL);
}

static void coroutine_fn co_backed_up_top(Chain *chain, Job *job)
{
    co_assert_copy(chain, "n2");
}

/* Fleecing: the target over the disk shows the instant, as long as the job runs. */
static BlockJob *coroutine_fn co_backup_none(Chain *chain)
{
    g_autoptr(BlockDriverState) target = NULL;

    co_make_image(chain, "target", 65536, "n3");
    target = co_open_image(chain, "target", "n3", BDRV_O_RDWR);
    return co_backup_to(chain, target, (BackupCommon) { .sync = MIRROR_SYNC_MODE_NONE });
}

static void coroutine_fn co_look_at_fleece(Chain *chain, Job *job, int turn)
{
    BDRV_CONTROL_GUARD();
    if (turn <= 20) {
        co_assert_instant(chain, bdrv_find_node("target"));
    }
    if (turn == 20) {
        job_user_cancel(job, true, &error_abort);
    }
}

static void coroutine_fn co_fleeced(Chain *chain, Job *job)
{
    g_assert_true(blk_bs(chain->blk) == chain->node[3]);
    g_assert_true(bdrv_op_blocker_is_empty(chain->node[3]));
}

static const Case cases[] = {
    { "/job/content/backup/full", co_backup_full, co_backed_up, .cancels = false },
    { "/job/content/backup/compressed", co_backup_compressed, co_backed_up, .cancels = false },
    { "/job/content/backup/top", co_backup_top, co_backed_up_top, .cancels = false },
    { "/job/content/backup/incremental", co_backup_incremental, co_backed_up, .cancels = false },
    { "/job/content/backup/none", co_backup_none, co_fleeced, .co_turn = co_look_at_fleece },
    { "/job/content/stream/all", co_stream_all, co_streamed_all, .cancels = false },
    { "/job/content/stream/part", co_stream_part, co_streamed_part, .cancels = false },
    { "/job/content/commit/part", co_commit_part, co_committed_part, .cancels = false },
    { "/job/content/commit/active", co_commit_active, co_committed_active, .completes = true },
    { "/job/content/mirror/background", co_mirror_background, co_mirrored, .completes = true },
    { "/job/content/mirror/write-blocking", co_mirror_blocking, co_mirrored, .completes = true },
    { "/job/content/mirror/top", co_mirror_top, co_mirrored, .completes = true },
    { "/job/content/mirror/source-backing", co_mirror_source_backing, co_mirrored,
      .completes = true },
    { "/job/content/mirror/left", co_mirror_blocking, co_left_a_copy, .cancels = true },
};

static void coroutine_fn co_main(void *opaque)
{
    const Case *k = opaque;
    g_autoptr(IOThread) thread = iothread_create("guest", &error_abort);

    BDRV_CONTROL_GUARD();
    for (int round = 0; round < 3; round++) {
        co_run_case(k, round % 2 ? iothread_get_aio_context(thread) : qemu_get_aio_context());
    }
}

static void run_case(gconstpointer k)
{
    bdrv_init();
    co_run(co_main, (void *)k);
    g_assert_null(bdrv_next_node(NULL));
    bdrv_graph_reset();
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_test_add_data_func(cases[i].path, &cases[i], run_case);
    }
    return g_test_run();
}
