/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying with a bitmap of what is left: alone, by many at once, with errors on the way. */
#include "qemu/osdep.h"

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-copy.h"
#include "qemu/iothread.h"

#define DISK_BYTES (4 * MiB + 512 * 3)
#define CLUSTER (64 * KiB)
#define N_CLUSTERS ((DISK_BYTES + CLUSTER - 1) / CLUSTER)

/* ---- two disks and a copy state -------------------------------------------------------------- */

typedef struct Setup {
    BlockDriverState *source, *target;
    MemUser reader, writer;
    BlockCopyState *state;
    int64_t progress; /* atomic */
} Setup;

static void count_progress(void *opaque, int64_t bytes, bool moved)
{
    Setup *setup = opaque;

    qatomic_add(&setup->progress, bytes);
}

/* Every fifth run of 128 KiB stays zero in the source; the target holds something else. */
static void fill(Setup *setup)
{
    g_autoptr(GRand) rand = test_rand_new();
    MemDisk *source = memdisk(setup->source);

    test_rand_fill(rand, source->data, DISK_BYTES);
    for (int64_t offset = 0; offset < DISK_BYTES; offset += 5 * 128 * KiB) {
        memset(source->data + offset, 0, MIN(128 * KiB, DISK_BYTES - offset));
    }
    memset(memdisk(setup->target)->data, 0xa5, DISK_BYTES);
}

static void coroutine_fn co_set_up(Setup *setup, BlockCopyArgs args)
{
    memset(setup, 0, sizeof(*setup));
    setup->source = memdisk_co_new("source", DISK_BYTES);
    setup->target = memdisk_co_new("target", DISK_BYTES);
    memuser_co_attach(&setup->reader, setup->source,
                      BLK_PERM_CONSISTENT_READ | (args.discard_source ? BLK_PERM_WRITE : 0),
                      BLK_PERM_ALL);
    memuser_co_attach(&setup->writer, setup->target, BLK_PERM_WRITE, BLK_PERM_ALL);
    fill(setup);
    args.source = setup->reader.root;
    args.target = setup->writer.root;
    setup->state = block_copy_state_new(&args, &error_abort);
    block_copy_set_progress(setup->state, count_progress, setup);
}

static void coroutine_fn co_tear_down(Setup *setup)
{
    block_copy_state_free(setup->state);
    memuser_co_detach(&setup->reader);
    memuser_co_detach(&setup->writer);
    bdrv_unref(setup->source);
    bdrv_unref(setup->target);
}

static bool is_copied(Setup *setup, int64_t offset, int64_t bytes)
{
    return memcmp(memdisk(setup->source)->data + offset, memdisk(setup->target)->data + offset,
                  bytes) == 0;
}

static bool is_untouched(Setup *setup, int64_t offset, int64_t bytes)
{
    const uint8_t *data = memdisk(setup->target)->data;

    for (int64_t i = offset; i < offset + bytes; i++) {
        if (data[i] != 0xa5) {
            return false;
        }
    }
    return true;
}

/* ---- alone ----------------------------------------------------------------------------------- */

static void coroutine_fn co_range_is_rounded(void)
{
    Setup s;
    bool is_read;

    co_set_up(&s, (BlockCopyArgs){ 0 });
    g_assert_cmpint(block_copy_cluster_size(s.state), ==, CLUSTER);
    g_assert_cmpint(block_copy_co_range(s.state, 3 * CLUSTER + 5, 1, &is_read), ==, 0);
    g_assert_true(is_copied(&s, 3 * CLUSTER, CLUSTER));
    g_assert_true(is_untouched(&s, 0, 3 * CLUSTER));
    g_assert_true(is_untouched(&s, 4 * CLUSTER, DISK_BYTES - 4 * CLUSTER));
    g_assert_cmpint(bdrv_get_dirty_count(block_copy_dirty_bitmap(s.state)), ==,
                    (N_CLUSTERS - 1) * CLUSTER);
    g_assert_cmpint(s.progress, ==, CLUSTER);
    co_tear_down(&s);
}

static void coroutine_fn co_range_at_end(void)
{
    Setup s;
    bool is_read;

    co_set_up(&s, (BlockCopyArgs){ 0 });
    g_assert_cmpint(block_copy_co_range(s.state, DISK_BYTES - 1, 1, &is_read), ==, 0);
    g_assert_true(is_copied(&s, 4 * MiB, DISK_BYTES - 4 * MiB));
    /* Beyond the end there is nothing to copy. */
    g_assert_cmpint(block_copy_co_range(s.state, 64 * MiB, CLUSTER, &is_read), ==, 0);
    co_tear_down(&s);
}

static void coroutine_fn co_all_uses_zeroes(void)
{
    BlockCopyAll how = { .max_workers = 4 };
    Setup s;
    bool is_read;

    co_set_up(&s, (BlockCopyArgs){ 0 });
    g_assert_cmpint(block_copy_co_all(s.state, &how, &is_read), ==, 0);
    g_assert_true(is_copied(&s, 0, DISK_BYTES));
    g_assert_cmpint(s.progress, ==, DISK_BYTES);
    g_assert_cmpint(memdisk(s.target)->zeroes, >=, 6);
    g_assert_cmpint(bdrv_get_dirty_count(block_copy_dirty_bitmap(s.state)), ==, 0);
    co_tear_down(&s);
}

static void coroutine_fn co_bitmap_limits(void)
{
    BlockCopyAll how = { .max_workers = 4 };
    BlockDriverState *other = memdisk_co_new("other", DISK_BYTES);
    BdrvDirtyBitmap *bitmap = bdrv_create_dirty_bitmap(other, 4096, "b", &error_abort);
    Setup s;
    bool is_read;

    bdrv_set_dirty_bitmap(bitmap, 10 * CLUSTER + 4096, 4096);
    co_set_up(&s, (BlockCopyArgs){ .bitmap = bitmap });
    g_assert_cmpint(block_copy_co_all(s.state, &how, &is_read), ==, 0);
    g_assert_true(is_copied(&s, 10 * CLUSTER, CLUSTER));
    g_assert_true(is_untouched(&s, 0, 10 * CLUSTER));
    g_assert_true(is_untouched(&s, 11 * CLUSTER, DISK_BYTES - 11 * CLUSTER));
    co_tear_down(&s);
    bdrv_unref(other);
}

static void coroutine_fn co_discards_source(void)
{
    Setup s;
    bool is_read;

    co_set_up(&s, (BlockCopyArgs){ .discard_source = true });
    g_assert_cmpint(block_copy_co_range(s.state, 20 * CLUSTER, CLUSTER, &is_read), ==, 0);
    g_assert_cmpint(memdisk(s.source)->discards, ==, 1);
    co_tear_down(&s);
}

static void coroutine_fn co_bad_cluster_size(void)
{
    static const struct {
        uint64_t size;
        const char *text;
    } cases[] = {
        { 3 * KiB, "min-cluster-size needs to be a power of 2" },
        { UINT64_C(1) << 40, "min-cluster-size too large: 1099511627776 > 1073741824" },
    };
    Setup s;

    co_set_up(&s, (BlockCopyArgs){ 0 });
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        BlockCopyArgs args = {
            .source = s.reader.root,
            .target = s.writer.root,
            .min_cluster_size = cases[i].size,
        };
        Error *err = NULL;

        g_assert_null(block_copy_state_new(&args, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, cases[i].text);
        error_free(err);
    }
    co_tear_down(&s);
}

/* Reading takes its time; still each write ends before the next one begins. */
static void coroutine_fn co_writes_in_order(void)
{
    for (int workers = 1; workers <= 8; workers++) {
        BlockCopyAll how = { .max_workers = workers, .max_chunk = CLUSTER, .in_order = true };
        Setup s;
        bool is_read;

        co_set_up(&s, (BlockCopyArgs){ 0 });
        memdisk(s.source)->max_yields = memdisk(s.target)->max_yields = 5;
        g_assert_cmpint(block_copy_co_all(s.state, &how, &is_read), ==, 0);
        g_assert_true(is_copied(&s, 0, DISK_BYTES));
        g_assert_cmpint(memdisk(s.target)->writes, >, 40);
        g_assert_cmpint(memdisk(s.target)->n_backward, ==, 0);
        co_tear_down(&s);
    }
}

/* A piece that fails lets those behind it go on, and is copied by the next try. */
static void coroutine_fn co_in_order_after_error(void)
{
    BlockCopyAll how = { .max_workers = 8, .max_chunk = CLUSTER, .in_order = true };
    bool is_read;
    Setup s;

    co_set_up(&s, (BlockCopyArgs){ 0 });
    memdisk(s.source)->max_yields = memdisk(s.target)->max_yields = 5;
    memdisk(s.source)->fail_reads = memdisk(s.target)->fail_writes = 1;
    g_assert_cmpint(block_copy_co_all(s.state, &how, &is_read), <, 0);
    while (block_copy_co_all(s.state, &how, &is_read) < 0) {
        /* The other of the two. */
    }
    g_assert_true(is_copied(&s, 0, DISK_BYTES));
    co_tear_down(&s);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void coroutine_fn co_error_is_told(void)
{
    BlockCopyAll how = { .max_workers = 1 };
    bool is_read;
    Setup s;

    co_set_up(&s, (BlockCopyArgs){ 0 });
    memdisk(s.source)->fail_reads = 1;
    g_assert_cmpint(block_copy_co_range(s.state, 23 * CLUSTER, 1, &is_read), ==, -EIO);
    g_assert_true(is_read);
    memdisk(s.target)->fail_writes = 1;
    g_assert_cmpint(block_copy_co_all(s.state, &how, &is_read), ==, -ENOSPC);
    g_assert_false(is_read);
    /* What failed is still to be done. */
    g_assert_cmpint(block_copy_co_all(s.state, &how, &is_read), ==, 0);
    g_assert_true(is_copied(&s, 0, DISK_BYTES));
    co_tear_down(&s);
}

static bool stop_after_three(void *opaque)
{
    return ++*(int *)opaque > 3;
}

static void coroutine_fn co_stops_and_goes_on(void)
{
    int asked = 0;
    BlockCopyAll how = {
        .max_workers = 1,
        .max_chunk = CLUSTER,
        .stop = stop_after_three,
        .opaque = &asked,
    };
    bool is_read;
    Setup s;

    co_set_up(&s, (BlockCopyArgs){ 0 });
    g_assert_cmpint(block_copy_co_all(s.state, &how, &is_read), ==, 1);
    g_assert_cmpint(s.progress, ==, 3 * CLUSTER);
    how.stop = NULL;
    g_assert_cmpint(block_copy_co_all(s.state, &how, &is_read), ==, 0);
    g_assert_true(is_copied(&s, 0, DISK_BYTES));
    co_tear_down(&s);
}

/* ---- a slow target --------------------------------------------------------------------------- */

typedef struct SlowTarget {
    MemDisk *disk;
    CoQueue hold;
    int most;     /* writes at once */
    bool is_over;
} SlowTarget;

/* Let what has come go on every now and then. */
static void coroutine_fn co_be_slow(void *opaque)
{
    SlowTarget *slow = opaque;

    while (!slow->is_over) {
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, 25 * SCALE_MS);
        slow->most = MAX(slow->most, slow->disk->n_held);
        qemu_co_queue_restart_all(&slow->hold);
    }
    slow->disk = NULL;
}

/* More workers than at the start come while pieces take long, up to the limit. */
static void coroutine_fn co_workers_grow(void)
{
    for (int limit = 6; limit <= 11; limit += 5) {
        BlockCopyAll how = { .max_workers = limit, .max_chunk = CLUSTER };
        SlowTarget slow = { 0 };
        bool is_read;
        Setup s;

        co_set_up(&s, (BlockCopyArgs){ 0 });
        slow.disk = memdisk(s.target);
        qemu_co_queue_init(&slow.hold);
        slow.disk->hold_writes = &slow.hold;
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_create(co_be_slow, &slow));
        g_assert_cmpint(block_copy_co_all(s.state, &how, &is_read), ==, 0);
        g_assert_true(is_copied(&s, 0, DISK_BYTES));
        g_assert_cmpint(slow.most, ==, limit);
        slow.is_over = true;
        while (slow.disk) {
            qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, SCALE_MS);
        }
        co_tear_down(&s);
    }
}

/* ---- many at once ---------------------------------------------------------------------------- */

typedef struct Crowd {
    Setup *setup;
    int running; /* atomic */
    bool may_fail, forgets;
    uint8_t forgotten[N_CLUSTERS]; /* set before the range is given up */
} Crowd;

static void coroutine_fn co_one_of_many(void *opaque)
{
    Crowd *crowd = opaque;
    Setup *s = crowd->setup;

    for (int i = 0; i < 40; i++) {
        int64_t offset = g_random_int_range(0, DISK_BYTES);
        int64_t bytes = g_random_int_range(1, 5 * CLUSTER);
        bool is_read, ok;

        bytes = MIN(bytes, DISK_BYTES - offset);
        if (crowd->forgets && g_random_int_range(0, 20) == 0) {
            crowd->forgotten[offset / CLUSTER] = 1;
            block_copy_co_forget(s->state, offset, 1);
            continue;
        }
        ok = block_copy_co_range(s->state, offset, bytes, &is_read) == 0;
        g_assert_true(ok || crowd->may_fail);
        if (ok && !crowd->forgets) {
            g_assert_true(is_copied(s, offset, bytes));
        }
    }
    qatomic_dec(&crowd->running);
}

static void coroutine_fn co_run_crowd(Crowd *crowd, AioContext *other)
{
    BlockCopyAll how = { .max_workers = 5, .max_chunk = 3 * CLUSTER };
    bool is_read;

    for (int i = 0; i < 16; i++) {
        qatomic_inc(&crowd->running);
        aio_co_schedule(other && i % 2 ? other : qemu_get_aio_context(),
                        qemu_coroutine_create(co_one_of_many, crowd));
    }
    while (block_copy_co_all(crowd->setup->state, &how, &is_read) < 0) {
        g_assert_true(crowd->may_fail);
    }
    while (qatomic_load_acquire(&crowd->running)) {
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, 100 * SCALE_US);
    }
}

static void check_crowd(Crowd *crowd)
{
    MemDisk *target = memdisk(crowd->setup->target);

    for (int i = 0; i < N_CLUSTERS; i++) {
        int64_t offset = i * CLUSTER, bytes = MIN(CLUSTER, DISK_BYTES - offset);

        g_assert_true(is_copied(crowd->setup, offset, bytes) ||
                      (crowd->forgotten[i] && is_untouched(crowd->setup, offset, bytes)));
        if (!crowd->may_fail) {
            g_assert_cmpint(target->block_writes[i], <=, 1);
        }
    }
    g_assert_cmpint(bdrv_get_dirty_count(block_copy_dirty_bitmap(crowd->setup->state)), ==, 0);
}

static void coroutine_fn co_crowd_case(bool may_fail, bool forgets, AioContext *other)
{
    for (int round = 0; round < 8; round++) {
        Setup s;
        Crowd crowd = { .setup = &s, .may_fail = may_fail, .forgets = forgets };

        co_set_up(&s, (BlockCopyArgs){ 0 });
        memdisk(s.source)->max_yields = memdisk(s.target)->max_yields = 3;
        memdisk(s.source)->fail_reads = may_fail ? 5 : 0;
        memdisk(s.target)->fail_writes = may_fail ? 5 : 0;
        co_run_crowd(&crowd, other);
        check_crowd(&crowd);
        co_tear_down(&s);
    }
}

static void coroutine_fn co_each_cluster_once(void)
{
    co_crowd_case(false, false, NULL);
}

static void coroutine_fn co_errors_among_many(void)
{
    co_crowd_case(true, false, NULL);
}

static void coroutine_fn co_forgetting_among_many(void)
{
    co_crowd_case(true, true, NULL);
}

static void coroutine_fn co_in_two_threads(void)
{
    g_autoptr(IOThread) thread = iothread_create("t", &error_abort);

    co_crowd_case(false, false, iothread_get_aio_context(thread));
    co_crowd_case(true, true, iothread_get_aio_context(thread));
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/block-copy/range/is-rounded-to-clusters", co_range_is_rounded },
        { "/block-copy/range/ends-with-the-source", co_range_at_end },
        { "/block-copy/all/writes-zeroes-as-such", co_all_uses_zeroes },
        { "/block-copy/new/takes-a-bitmap", co_bitmap_limits },
        { "/block-copy/new/refuses-bad-cluster-sizes", co_bad_cluster_size },
        { "/block-copy/range/discards-the-source", co_discards_source },
        { "/block-copy/errors/leave-it-to-be-done", co_error_is_told },
        { "/block-copy/all/stops-and-goes-on", co_stops_and_goes_on },
        { "/block-copy/all/grows-to-the-limit-where-it-is-slow", co_workers_grow },
        { "/block-copy/all/writes-in-order", co_writes_in_order },
        { "/block-copy/all/goes-on-in-order-after-errors", co_in_order_after_error },
        { "/block-copy/many/copy-each-cluster-once", co_each_cluster_once },
        { "/block-copy/many/survive-errors", co_errors_among_many },
        { "/block-copy/many/forget", co_forgetting_among_many },
        { "/block-copy/many/in-two-threads", co_in_two_threads },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    mem_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
