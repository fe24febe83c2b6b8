/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Storms: jobs of all kinds are started on one chain and paused, resumed, hurried, cancelled and
 * completed at random, up to three at a time, while guests write from two threads.  Whatever is
 * refused, the guests find what they wrote, and in the end nobody holds anything.  LAB_STATES=n:
 * that many orders per storm.
 */
#include "qemu/osdep.h"

#include "job-guests.h"

#define STORMS 3
#define ORDERS 300
#define JOBS 3 /* at a time */

typedef struct Storm {
    Chain *chain;
    Job *job[JOBS]; /* references, or NULL */
    int started, refused, ended_well, failed;
} Storm;

/* ---- starting -------------------------------------------------------------------------------- */

/* One of the chain as it is now, but filters; NULL: below the last. */
static BlockDriverState *random_layer(const Storm *s)
{
    BlockDriverState *bs = bdrv_skip_filters(blk_bs(s->chain->blk));

    for (int n = g_random_int_range(0, LAYERS); bs && n > 0; n--) {
        bs = bdrv_backing_chain_next(bs);
    }
    return bs;
}

static BlockdevOnError random_policy(void)
{
    static const BlockdevOnError policies[] = {
        BLOCKDEV_ON_ERROR_REPORT, BLOCKDEV_ON_ERROR_IGNORE, BLOCKDEV_ON_ERROR_STOP,
        BLOCKDEV_ON_ERROR_ENOSPC,
    };

    return policies[g_random_int_range(0, ARRAY_SIZE(policies))];
}

/* Every other one has a place that cannot be written once. */
static BlockDriverState *coroutine_fn co_new_target(Storm *s)
{
    g_autofree char *name = g_strdup_printf("t%d", s->started);
    g_autofree char *file = image_name(s->chain, name);
    QDict *options;

    co_make_image(s->chain, name, 65536, NULL);
    if (g_random_boolean()) {
        return co_open_image(s->chain, name, NULL, BDRV_O_RDWR);
    }
    options = qdict_new();
    qdict_put_str(options, "driver", "qcow2");
    qdict_put_str(options, "node-name", name);
    qdict_put_str(options, "cache.no-flush", "on");
    qdict_put_str(options, "file.driver", "blkdebug");
    qdict_put_str(options, "file.image.driver", "file");
    qdict_put_str(options, "file.image.filename", file);
    qdict_put_str(options, "file.inject-error.0.event", "write_aio");
    qdict_put_str(options, "file.inject-error.0.once", "on");
    qdict_put_int(options, "file.inject-error.0.errno", g_random_boolean() ? EIO : ENOSPC);
    qdict_put_int(options, "file.inject-error.0.sector",
                  DISK_BYTES / 512 / 8 * g_random_int_range(1, 8));
    return bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR, &error_abort);
}

static BlockJob *coroutine_fn co_start_stream(Storm *s, const char *id, int64_t speed, Error **errp)
{
    StreamJobArgs args = {
        .job_id = id, .bs = random_layer(s), .base = random_layer(s), .speed = speed,
    };

    if (!args.bs || args.base == args.bs ||
        (args.base && !bdrv_chain_contains(args.bs, args.base))) {
        args.bs = bdrv_skip_filters(blk_bs(s->chain->blk));
        args.base = NULL;
    }
    for (BlockDriverState *bs = args.bs; bs && bs != args.base; bs = bdrv_filter_or_cow_bs(bs)) {
        if (bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_STREAM, errp)) {
            return NULL;
        }
    }
    return stream_job_co_create(&args, errp);
}

static BlockJob *coroutine_fn co_start_commit(Storm *s, const char *id, int64_t speed, Error **errp)
{
    BlockDriverState *active = blk_bs(s->chain->blk);
    CommitJobArgs args = {
        .job_id = id, .bs = active, .top = random_layer(s), .base = random_layer(s),
        .speed = speed, .write_blocking = g_random_boolean(),
    };

    if (!args.top || !args.base || args.top == args.base ||
        !bdrv_chain_contains(args.top, args.base) || bdrv_skip_filters(active) != active) {
        error_setg(errp, "not a part of the chain");
        return NULL;
    }
    for (BlockDriverState *bs = args.top; bs; bs = bdrv_filter_or_cow_bs(bs)) {
        if (bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_COMMIT_TARGET, errp)) {
            return NULL;
        }
        if (bs == args.base) {
            break;
        }
    }
    return args.top == active ? commit_active_job_co_create(&args, errp)
                              : commit_job_co_create(&args, errp);
}

static BlockJob *coroutine_fn co_start_mirror(Storm *s, const char *id, int64_t speed, Error **errp)
{
    g_autoptr(BlockDriverState) target = co_new_target(s);
    MirrorJobArgs args = {
        .job_id = id, .bs = blk_bs(s->chain->blk), .target = target, .speed = speed,
        .sync = MIRROR_SYNC_MODE_FULL, .copy_mode = g_random_int_range(0, 2),
        .on_target_error = random_policy(),
    };

    if (!bdrv_is_root_node(args.bs)) {
        error_setg(errp, "Need a root block node");
        return NULL;
    }
    return mirror_job_co_create(&args, errp);
}

static BlockJob *coroutine_fn co_start_backup(Storm *s, const char *id, int64_t speed, Error **errp)
{
    g_autoptr(BlockDriverState) target = co_new_target(s);
    BackupCommon args = {
        .job_id = (char *)id, .speed = speed, .sync = MIRROR_SYNC_MODE_FULL,
        .on_cbw_error = ON_CBW_ERROR_BREAK_SNAPSHOT, .on_target_error = random_policy(),
    };
    BlockDriverState *bs = random_layer(s);

    return backup_job_co_create(bs ? bs : blk_bs(s->chain->blk), target, &args, NULL, errp);
}

static void coroutine_fn co_start(Storm *s, Job **slot)
{
    static BlockJob *coroutine_fn (*const start[])(Storm *, const char *, int64_t, Error **) = {
        co_start_stream, co_start_commit, co_start_mirror, co_start_backup,
    };
    g_autofree char *id = g_strdup_printf("j%d", s->started);
    int64_t speed = g_random_boolean() ? 0 : g_random_int_range(1, 20) * MiB;
    g_autoptr(Error) err = NULL;
    BlockJob *job;

    BDRV_CONTROL_GUARD();
    job = start[g_random_int_range(0, ARRAY_SIZE(start))](s, id, speed, &err);
    g_assert_true(!job == !!err);
    s->started += job != NULL;
    s->refused += job == NULL;
    if (job) {
        *slot = job_ref(&job->job);
        job_start(&job->job);
    }
}

/* ---- orders ---------------------------------------------------------------------------------- */

/* Any may be refused: then it says why. */
static void give_order(Job *job)
{
    BlockJobChangeOptions change = {
        .id = job->id,
        .type = JOB_TYPE_MIRROR,
        .u.mirror.copy_mode = MIRROR_COPY_MODE_WRITE_BLOCKING,
    };
    g_autoptr(Error) err = NULL;
    bool ok;

    switch (g_random_int_range(0, 16)) {
    case 0 ... 3:
        ok = job_user_pause(job, &err);
        break;
    case 4 ... 8:
        ok = job_user_resume(job, &err);
        break;
    case 9:
        ok = job_user_cancel(job, g_random_boolean(), &err);
        break;
    case 10 ... 11:
        ok = block_job_set_speed((BlockJob *)job, g_random_int_range(0, 3) * 4 * MiB, &err);
        break;
    case 12:
        ok = block_job_change((BlockJob *)job, &change, &err);
        break;
    default:
        ok = job_complete(job, &err);
    }
    g_assert_true(ok == !err);
}

static void coroutine_fn co_order(Storm *s)
{
    Job **slot = &s->job[g_random_int_range(0, JOBS)];

    if (*slot && job_has_ended(*slot)) {
        s->ended_well += (*slot)->ret == 0;
        s->failed += (*slot)->ret < 0 && (*slot)->ret != -ECANCELED;
        job_unref(g_steal_pointer(slot));
    }
    if (*slot) {
        give_order(*slot);
    } else {
        co_start(s, slot);
    }
}

/* All that is left is told to stop, and does. */
static void coroutine_fn co_end(Storm *s)
{
    for (int i = 0; i < JOBS; i++) {
        Job *job = g_steal_pointer(&s->job[i]);

        if (job && !job_has_ended(job)) {
            job_user_resume(job, NULL);
            job_user_cancel(job, true, NULL);
        }
        while (job && !job_has_ended(job)) {
            co_turns(1);
        }
        if (job) {
            job_unref(job);
        }
    }
}

/* ---- a storm --------------------------------------------------------------------------------- */

static int orders_wanted(void)
{
    return MAX(ORDERS, (int)test_states_wanted() / 100);
}

static void coroutine_fn co_storm(Storm *s, AioContext *const *ctxs)
{
    int running, stop = 0;

    co_chain_make(s->chain);
    co_start_guests(s->chain, ctxs, 2, &running, &stop);
    bdrv_co_control_unlock();
    for (int i = orders_wanted(); i > 0; i--) {
        co_order(s);
        co_turns(g_random_int_range(0, 30));
        if (g_random_int_range(0, 20) == 0) {
            BDRV_CONTROL_GUARD();
            bdrv_co_drain(blk_bs(s->chain->blk));
        }
    }
    co_end(s);
    co_stop_guests(&running, &stop);
    bdrv_co_control_lock();
    co_assert_shadow(s->chain, s->chain->blk);
    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        g_assert_true(!bdrv_is_filter(bs) || !strcmp(bs->drv->format_name, "blkdebug"));
    }
    co_chain_free(s->chain);
}

static void coroutine_fn co_main(void *opaque)
{
    g_autoptr(IOThread) one = iothread_create("one", &error_abort);
    g_autoptr(IOThread) two = iothread_create("two", &error_abort);
    AioContext *const ctxs[] = { iothread_get_aio_context(one), iothread_get_aio_context(two) };
    g_autofree Chain *chain = g_new0(Chain, 1);
    Storm storm = { .chain = chain };

    BDRV_CONTROL_GUARD();
    for (int i = 0; i < STORMS; i++) {
        co_storm(&storm, ctxs);
    }
    g_test_message("%d jobs, %d came to their end, %d failed, %d were refused", storm.started,
                   storm.ended_well, storm.failed, storm.refused);
    g_assert_cmpint(storm.started, >, 0);
}

static void test_storm(void)
{
    bdrv_init();
    co_run(co_main, NULL);
    g_assert_null(bdrv_next_node(NULL));
    bdrv_graph_reset();
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    g_test_add_func("/job/storm/two-threads", test_storm);
    return g_test_run();
}
