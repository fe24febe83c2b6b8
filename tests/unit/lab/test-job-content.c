/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs on a chain of qcow2 images while guests in another thread write at random: what the guests
 * see is at any time what they wrote, and in the end it is in the images that the job promises.
 */
#include "qemu/osdep.h"

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-backend.h"
#include "block/blockjob.h"
#include "block/freeze.h"
#include "qemu/iothread.h"

#include <glib/gstdio.h>

#define SECTORS 4096 /* of the disk */
#define DISK_BYTES (SECTORS * 512)
#define GUESTS 4
#define LAYERS 4 /* n0 is the lowest */

typedef struct Chain {
    char *folder;
    BlockDriverState *node[LAYERS];
    BlockBackend *blk;
    uint8_t shadow[SECTORS]; /* the byte that fills each sector */
} Chain;

/* ---- the chain ------------------------------------------------------------------------------- */

static char *image_name(const Chain *chain, const char *name)
{
    return g_strdup_printf("%s/%s.qcow2", chain->folder, name);
}

static void coroutine_fn co_make_image(const Chain *chain, const char *name, int64_t cluster,
                                       const char *backing)
{
    g_autofree char *file = image_name(chain, name);
    g_autofree char *back = backing ? image_name(chain, backing) : NULL;
    g_autofree char *options = g_strdup_printf("cluster_size=%" PRId64, cluster);
    BdrvImgCreate create = {
        .filename = file,
        .format = "qcow2",
        .backing_filename = back,
        .backing_format = back ? "qcow2" : NULL,
        .options = options,
        .size = DISK_BYTES,
        .flags = BDRV_O_NO_BACKING,
        .quiet = true,
    };

    g_assert_true(bdrv_co_img_create(&create, &error_abort));
}

static BlockDriverState *coroutine_fn co_open_image(const Chain *chain, const char *name,
                                                    const char *backing, int flags)
{
    g_autofree char *file = image_name(chain, name);
    QDict *options = qdict_new();

    qdict_put_str(options, "driver", "qcow2");
    qdict_put_str(options, "node-name", name);
    qdict_put_str(options, "discard", "unmap");
    qdict_put_str(options, "cache.no-flush", "on");
    if (backing) {
        qdict_put_str(options, "backing", backing);
    }
    return bdrv_co_open(file, NULL, options, flags, &error_abort);
}

/* Fill a third of the disk at random, in pieces of up to 64 sectors. */
static void coroutine_fn co_fill(Chain *chain, BlockDriverState *bs)
{
    BlockBackend *blk = blk_co_new_with_bs(bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                                           BLK_PERM_ALL, &error_abort);
    g_autofree uint8_t *buf = g_malloc(64 * 512);

    for (int i = 0; i < SECTORS / 100; i++) {
        int first = g_random_int_range(0, SECTORS - 64), n = g_random_int_range(1, 64);
        uint8_t value = g_random_int_range(1, 256);

        memset(buf, value, n * 512);
        memset(chain->shadow + first, value, n);
        g_assert_cmpint(blk_co_pwrite(blk, first * 512, n * 512, buf, 0), ==, 0);
    }
    blk_co_unref(blk);
}

static void coroutine_fn co_chain_make(Chain *chain)
{
    static const int64_t clusters[] = { 65536, 4096, 16384, 65536 };

    memset(chain, 0, sizeof(*chain));
    chain->folder = g_dir_make_tmp("jobs-XXXXXX", NULL);
    for (int i = 0; i < LAYERS; i++) {
        g_autofree char *name = g_strdup_printf("n%d", i);
        g_autofree char *below = i ? g_strdup_printf("n%d", i - 1) : NULL;

        co_make_image(chain, name, clusters[g_random_int_range(0, 4)], below);
        chain->node[i] = co_open_image(chain, name, below, BDRV_O_RDWR);
        co_fill(chain, chain->node[i]);
        if (i < LAYERS - 1) {
            g_assert_true(bdrv_co_reopen_set_read_only(chain->node[i], true, &error_abort));
        }
    }
    chain->blk = blk_co_new_with_bs(chain->node[LAYERS - 1],
                                    BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                                    BLK_PERM_ALL & ~(BLK_PERM_RESIZE | BLK_PERM_WRITE),
                                    &error_abort);
}

static void coroutine_fn co_chain_free(Chain *chain)
{
    g_autoptr(GDir) dir = NULL;
    const char *name;

    blk_co_unref(chain->blk);
    for (int i = LAYERS - 1; i >= 0; i--) {
        g_assert_true(bdrv_op_blocker_is_empty(chain->node[i]) || i < LAYERS - 1);
        bdrv_unref(chain->node[i]);
    }
    bdrv_co_control_unlock();
    bdrv_co_control_lock();
    dir = g_dir_open(chain->folder, 0, NULL);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(chain->folder, name, NULL);

        g_unlink(path);
    }
    g_rmdir(chain->folder);
    g_free(chain->folder);
}

static void coroutine_fn co_assert_shadow(const Chain *chain, BlockBackend *blk)
{
    g_autofree uint8_t *data = g_malloc(DISK_BYTES);

    g_assert_cmpint(blk_co_pread(blk, 0, DISK_BYTES, data, 0), ==, 0);
    for (int i = 0; i < SECTORS; i++) {
        for (int k = 0; k < 512; k++) {
            if (data[i * 512 + k] != chain->shadow[i]) {
                g_error("sector %d holds %d, wanted %d", i, data[i * 512 + k], chain->shadow[i]);
            }
        }
    }
}

/* ---- guests ---------------------------------------------------------------------------------- */

typedef struct Guest {
    Chain *chain;
    int index;
    int *running, *stop; /* atomic */
} Guest;

/* Each has its own blocks of 16 sectors, so that the shadow says what is last. */
static void coroutine_fn co_guest_turn(Guest *guest, GRand *rand)
{
    BlockBackend *blk = guest->chain->blk;
    int block = g_rand_int_range(rand, 0, SECTORS / 16 / GUESTS) * GUESTS + guest->index;
    int first = block * 16 + g_rand_int_range(rand, 0, 8), n = g_rand_int_range(rand, 1, 8);
    uint8_t value = g_rand_int_range(rand, 1, 256);
    uint8_t buf[8 * 512], back[8 * 512];

    memset(buf, value, sizeof(buf));
    switch (g_rand_int_range(rand, 0, 5)) {
    case 0:
        memset(guest->chain->shadow + first, 0, n);
        g_assert_cmpint(blk_co_pwrite_zeroes(blk, first * 512, n * 512, 0), ==, 0);
        break;
    case 1:
        g_assert_cmpint(blk_co_pread(blk, first * 512, n * 512, back, 0), ==, 0);
        for (int i = 0; i < n * 512; i++) {
            g_assert_cmpint(back[i], ==, guest->chain->shadow[first + i / 512]);
        }
        break;
    default:
        memset(guest->chain->shadow + first, value, n);
        g_assert_cmpint(blk_co_pwrite(blk, first * 512, n * 512, buf, 0), ==, 0);
    }
}

static void coroutine_fn co_guest(void *opaque)
{
    g_autofree Guest *guest = opaque;
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_random_int());

    while (!qatomic_read(guest->stop)) {
        co_guest_turn(guest, rand);
    }
    qatomic_dec(guest->running);
}

/* ---- one job --------------------------------------------------------------------------------- */

typedef struct Case {
    const char *path;
    BlockJob *coroutine_fn (*co_create)(Chain *chain);
    void coroutine_fn (*co_check)(Chain *chain, Job *job);
    bool completes; /* by hand, when it is ready */
    bool cancels;   /* when it is ready, softly */
} Case;

static void coroutine_fn co_turns(int n)
{
    for (int i = 0; i < n; i++) {
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

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
static void coroutine_fn co_disturb(Chain *chain, Job *job, const Case *k)
{
    bool asked = false;

    for (int turn = 0; !job_has_ended(job); turn++) {
        if (turn == 100) {
            work_with_guests(job);
        }
        co_turns(20);
        if (g_random_int_range(0, 20) == 0 && job_user_pause(job, NULL)) {
            co_turns(10);
            job_user_resume(job, &error_abort);
        }
        if (g_random_int_range(0, 50) == 0) {
            BDRV_CONTROL_GUARD();
            bdrv_co_drain(chain->node[g_random_int_range(0, LAYERS)]);
        }
        if (job->status == JOB_STATUS_READY && !asked && (k->completes || k->cancels)) {
            asked = true;
            co_turns(100);
            if (k->completes) {
                job_complete(job, &error_abort);
            } else {
                job_user_cancel(job, false, &error_abort);
            }
        }
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, SCALE_MS / 10);
    }
}

static void coroutine_fn co_run_case(const Case *k, AioContext *ctx)
{
    g_autofree Chain *chain = g_new0(Chain, 1);
    int running = GUESTS, stop = 0;
    g_autoptr(Job) job = NULL;
    BlockJob *block_job;

    co_chain_make(chain);
    for (int i = 0; i < GUESTS; i++) {
        Guest *guest = g_new(Guest, 1);

        *guest = (Guest) { chain, i, &running, &stop };
        aio_co_enter(ctx, qemu_coroutine_create(co_guest, guest));
    }
    block_job = k->co_create(chain);
    job = job_ref(&block_job->job);
    job_start(job);
    bdrv_co_control_unlock();
    co_disturb(chain, job, k);
    if (!k->cancels) {
        co_turns(50);
    }
    qatomic_set(&stop, 1);
    while (qatomic_load_acquire(&running)) {
        co_turns(1);
    }
    bdrv_co_control_lock();
    g_assert_cmpint(job->ret, ==, 0);
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

/* The guests went on after the end, so only what is in step can be compared: all that is still. */
static void coroutine_fn co_left_a_copy(Chain *chain, Job *job)
{
    g_autoptr(BlockDriverState) bs = co_open_image(chain, "target", NULL, 0);

    g_assert_true(blk_bs(chain->blk) == chain->node[3]);
    g_assert_null(bdrv_cow_bs(bs));
    g_assert_true(bdrv_op_blocker_is_empty(chain->node[3]));
}

static const Case cases[] = {
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
