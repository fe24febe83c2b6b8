/* SPDX-License-Identifier: GPL-2.0-or-later */
/* copy-before-write: the target holds the point in time, whatever guests do; errors, timeouts. */
#include "qemu/osdep.h"

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-backend.h"
#include "block/copy-before-write.h"
#include "qemu/iothread.h"
#include "qobject/json-parser.h"

#define DISK_BYTES (4 * MiB)
#define CLUSTER (64 * KiB)

/* ---- a guest, its disk and a target ---------------------------------------------------------- */

typedef struct Setup {
    BlockDriverState *source, *target, *cbw;
    BlockBackend *guest;
    BlockCopyState *bcs;
    uint8_t *moment; /* content of the source when the filter was put in */
} Setup;

static void coroutine_fn co_set_up(Setup *s)
{
    g_autoptr(GRand) rand = test_rand_new();

    memset(s, 0, sizeof(*s));
    s->source = memdisk_co_new("source", DISK_BYTES);
    s->target = memdisk_co_new("target", DISK_BYTES);
    test_rand_fill(rand, memdisk(s->source)->data, DISK_BYTES);
    memset(memdisk(s->source)->data + MiB, 0, MiB);
    memset(memdisk(s->target)->data, 0xa5, DISK_BYTES);
    s->guest = blk_co_new_with_bs(s->source, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE |
                                  BLK_PERM_RESIZE, BLK_PERM_CONSISTENT_READ, &error_abort);
}

/* The moment is taken in the same freeze as the filter is put in. */
static void coroutine_fn co_insert(Setup *s, CbwArgs args)
{
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(s->source);

    s->moment = g_memdup2(memdisk(s->source)->data, DISK_BYTES);
    args.source = s->source;
    args.target = s->target;
    args.filter_node_name = "cbw";
    s->cbw = cbw_co_insert(&args, &s->bcs, &error_abort);
    g_assert_true(blk_bs(s->guest) == s->cbw);
    g_assert_cmpint(bdrv_getlength(s->cbw), ==, DISK_BYTES);
}

static void coroutine_fn co_tear_down(Setup *s)
{
    if (s->cbw) {
        g_assert_true(cbw_co_drop(s->cbw, &error_abort));
        g_assert_true(blk_bs(s->guest) == s->source);
    }
    blk_co_unref(s->guest);
    bdrv_unref(s->source);
    bdrv_unref(s->target);
    g_free(s->moment);
}

static bool is_saved(Setup *s, int64_t offset, int64_t bytes)
{
    return memcmp(s->moment + offset, memdisk(s->target)->data + offset, bytes) == 0;
}

static int coroutine_fn co_guest_write(Setup *s, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    memset(buf, g_random_int(), bytes);
    return blk_co_pwrite(s->guest, offset, bytes, buf, 0);
}

static BlockDriverState *coroutine_fn co_open_json(const char *json, Error **errp)
{
    QDict *options = qobject_to(QDict, qobject_from_json(json, &error_abort));

    return bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR, errp);
}

/* ---- one guest request ----------------------------------------------------------------------- */

static void coroutine_fn co_write_is_saved(void)
{
    Setup s;

    co_set_up(&s);
    co_insert(&s, (CbwArgs){ 0 });
    g_assert_cmpint(co_guest_write(&s, 5 * CLUSTER + 512, 1024), ==, 0);
    g_assert_true(is_saved(&s, 5 * CLUSTER, CLUSTER));
    g_assert_cmpint(memdisk(s.target)->data[4 * CLUSTER], ==, 0xa5);
    g_assert_cmpint(memdisk(s.target)->data[6 * CLUSTER], ==, 0xa5);
    g_assert_true(memcmp(memdisk(s.source)->data, s.moment, DISK_BYTES) != 0);
    /* The same cluster again: nothing is left to save. */
    g_assert_cmpint(co_guest_write(&s, 5 * CLUSTER, 512), ==, 0);
    g_assert_cmpint(memdisk(s.target)->writes, ==, 1);
    co_tear_down(&s);
}

static void coroutine_fn co_zero_discard_truncate_are_saved(void)
{
    Setup s;

    co_set_up(&s);
    co_insert(&s, (CbwArgs){ 0 });
    g_assert_cmpint(blk_co_pwrite_zeroes(s.guest, 0, CLUSTER, BDRV_REQ_MAY_UNMAP), ==, 0);
    g_assert_true(is_saved(&s, 0, CLUSTER));
    g_assert_cmpint(blk_co_pdiscard(s.guest, 2 * CLUSTER, CLUSTER), ==, 0);
    g_assert_true(is_saved(&s, 2 * CLUSTER, CLUSTER));
    g_assert_cmpint(blk_co_truncate(s.guest, 3 * MiB + 512, true, PREALLOC_MODE_OFF, 0,
                                    &error_abort), ==, 0);
    g_assert_true(is_saved(&s, 3 * MiB, MiB));
    g_assert_cmpint(blk_co_truncate(s.guest, 8 * MiB, true, PREALLOC_MODE_OFF, 0, &error_abort),
                    ==, 0);
    g_assert_cmpint(co_guest_write(&s, 7 * MiB, 512), ==, 0);
    co_tear_down(&s);
}

static void coroutine_fn co_target_is_not_flushed(void)
{
    Setup s;

    co_set_up(&s);
    co_insert(&s, (CbwArgs){ 0 });
    g_assert_cmpint(co_guest_write(&s, 0, 512), ==, 0);
    g_assert_cmpint(blk_co_flush(s.guest), ==, 0);
    g_assert_cmpint(memdisk(s.source)->flushes, ==, 1);
    g_assert_cmpint(memdisk(s.target)->flushes, ==, 0);
    co_tear_down(&s);
}

/* ---- claims ---------------------------------------------------------------------------------- */

static void coroutine_fn co_source_is_not_shared(void)
{
    Error *err = NULL;
    Setup s;

    co_set_up(&s);
    co_insert(&s, (CbwArgs){ 0 });
    g_assert_false(bdrv_rights_available(s.source, BLK_PERM_WRITE, NULL, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "node 'cbw' (uses node 'source' as 'file'"));
    error_free(err);
    g_assert_false(bdrv_rights_available(s.source, BLK_PERM_RESIZE, NULL, NULL));
    g_assert_true(bdrv_rights_available(s.source, BLK_PERM_CONSISTENT_READ, NULL, NULL));
    g_assert_true(bdrv_rights_available(s.target, BLK_PERM_ALL & ~BLK_PERM_RESIZE, NULL, NULL));
    g_assert_false(bdrv_rights_available(s.target, BLK_PERM_RESIZE, NULL, NULL));
    co_tear_down(&s);
}

static void coroutine_fn co_sizes_must_match(void)
{
    BlockDriverState *small = memdisk_co_new("small", MiB);
    CbwArgs args = { .target = small };
    BlockCopyState *bcs;
    Error *err = NULL;
    Setup s;

    co_set_up(&s);
    args.source = s.source;
    g_assert_null(cbw_co_insert(&args, &bcs, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Source and target image have different sizes");
    error_free(err);
    g_assert_true(blk_bs(s.guest) == s.source);
    co_tear_down(&s);
    bdrv_unref(small);
}

/* What fails late leaves the guest where it was. */
static void coroutine_fn co_insert_fails_late(void)
{
    CbwArgs args = { .min_cluster_size = 3 };
    BlockCopyState *bcs;
    Error *err = NULL;
    Setup s;

    co_set_up(&s);
    args.source = s.source;
    args.target = s.target;
    g_assert_null(cbw_co_insert(&args, &bcs, &err));
    error_free(err);
    g_assert_true(blk_bs(s.guest) == s.source);
    g_assert_cmpint(co_guest_write(&s, 0, 512), ==, 0);
    co_tear_down(&s);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void coroutine_fn co_guest_write_breaks(void)
{
    Setup s;

    co_set_up(&s);
    co_insert(&s, (CbwArgs){ .on_cbw_error = ON_CBW_ERROR_BREAK_GUEST_WRITE });
    memdisk(s.target)->fail_writes = 1;
    g_assert_cmpint(co_guest_write(&s, 0, 512), ==, -ENOSPC);
    g_assert_cmpmem(memdisk(s.source)->data, 512, s.moment, 512);
    g_assert_cmpint(cbw_snapshot_error(s.cbw), ==, 0);
    g_assert_cmpint(co_guest_write(&s, 0, 512), ==, 0);
    g_assert_true(is_saved(&s, 0, CLUSTER));
    co_tear_down(&s);
}

static void coroutine_fn co_snapshot_breaks(void)
{
    Setup s;

    co_set_up(&s);
    co_insert(&s, (CbwArgs){ .on_cbw_error = ON_CBW_ERROR_BREAK_SNAPSHOT });
    memdisk(s.target)->fail_writes = 1;
    g_assert_cmpint(co_guest_write(&s, 0, 512), ==, 0);
    g_assert_cmpint(cbw_snapshot_error(s.cbw), ==, -ENOSPC);
    g_assert_cmpint(co_guest_write(&s, CLUSTER, 512), ==, 0);
    g_assert_cmpint(memdisk(s.target)->writes, ==, 0);
    co_tear_down(&s);
}

/* The target hangs; the guest is let go, and the copy ends when the target comes back. */
static void coroutine_fn co_timeout(OnCbwError policy)
{
    CoQueue hold;
    Setup s;

    co_set_up(&s);
    co_insert(&s, (CbwArgs){ .on_cbw_error = policy, .cbw_timeout = 1 });
    g_assert_cmpint(co_guest_write(&s, 3 * CLUSTER, 512), ==, 0);
    g_assert_true(is_saved(&s, 3 * CLUSTER, CLUSTER));
    qemu_co_queue_init(&hold);
    memdisk(s.target)->hold_writes = &hold;
    if (policy == ON_CBW_ERROR_BREAK_SNAPSHOT) {
        g_assert_cmpint(co_guest_write(&s, 0, 512), ==, 0);
        g_assert_cmpint(cbw_snapshot_error(s.cbw), ==, -ETIMEDOUT);
    } else {
        g_assert_cmpint(co_guest_write(&s, 0, 512), ==, -ETIMEDOUT);
        g_assert_cmpmem(memdisk(s.source)->data, 512, s.moment, 512);
    }
    memdisk(s.target)->hold_writes = NULL;
    qemu_co_queue_restart_all(&hold);
    co_tear_down(&s); /* waits for it */
}

static void coroutine_fn co_timeout_breaks_guest(void)
{
    co_timeout(ON_CBW_ERROR_BREAK_GUEST_WRITE);
}

static void coroutine_fn co_timeout_breaks_snapshot(void)
{
    co_timeout(ON_CBW_ERROR_BREAK_SNAPSHOT);
}

/* ---- the moment, with guests and a copying job at work --------------------------------------- */

typedef struct Guests {
    Setup *setup;
    int running, stop; /* atomic */
} Guests;

static void coroutine_fn co_random_guest(void *opaque)
{
    Guests *guests = opaque;
    Setup *s = guests->setup;

    while (!qatomic_read(&guests->stop)) {
        int64_t offset = g_random_int_range(0, DISK_BYTES / 512) * 512;
        int64_t bytes = g_random_int_range(1, 400) * 512;
        int ret;

        bytes = MIN(bytes, DISK_BYTES - offset);
        switch (g_random_int_range(0, 8)) {
        case 0:
            ret = blk_co_pwrite_zeroes(s->guest, offset, bytes, BDRV_REQ_MAY_UNMAP);
            break;
        case 1:
            ret = blk_co_pdiscard(s->guest, offset, bytes);
            break;
        default:
            ret = co_guest_write(s, offset, bytes);
            break;
        }
        g_assert_cmpint(ret, ==, 0);
    }
    qatomic_dec(&guests->running);
}

static void coroutine_fn co_start_guests(Guests *guests, AioContext *other)
{
    for (int i = 0; i < 6; i++) {
        qatomic_inc(&guests->running);
        aio_co_schedule(other && i % 2 ? other : qemu_get_aio_context(),
                        qemu_coroutine_create(co_random_guest, guests));
    }
    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, SCALE_MS);
}

static void coroutine_fn co_stop_guests(Guests *guests)
{
    qatomic_set(&guests->stop, 1);
    while (qatomic_load_acquire(&guests->running)) {
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, 100 * SCALE_US);
    }
}

static void coroutine_fn co_moment_rounds(AioContext *other)
{
    BlockCopyAll how = { .max_workers = 4, .max_chunk = 2 * CLUSTER };

    for (int round = 0; round < 10; round++) {
        Setup s;
        Guests guests = { .setup = &s };
        bool is_read;

        co_set_up(&s);
        memdisk(s.source)->max_yields = memdisk(s.target)->max_yields = 3;
        co_start_guests(&guests, other);
        co_insert(&s, (CbwArgs){ .cbw_timeout = round % 2 ? 60 : 0 });
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, SCALE_MS);
        g_assert_cmpint(block_copy_co_all(s.bcs, &how, &is_read), ==, 0);
        g_assert_true(is_saved(&s, 0, DISK_BYTES));
        g_assert_true(cbw_co_drop(g_steal_pointer(&s.cbw), &error_abort));
        g_assert_true(blk_bs(s.guest) == s.source);
        co_stop_guests(&guests);
        g_assert_true(is_saved(&s, 0, DISK_BYTES));
        co_tear_down(&s);
    }
}

static void coroutine_fn co_moment(void)
{
    co_moment_rounds(NULL);
}

static void coroutine_fn co_moment_two_threads(void)
{
    g_autoptr(IOThread) thread = iothread_create("t", &error_abort);

    co_moment_rounds(iothread_get_aio_context(thread));
}

/* ---- fleecing: the target is an overlay of the source, and is read meanwhile ----------------- */

/* Replace the target by a new qcow2 image backed by the source. */
static void coroutine_fn co_make_overlay(Setup *s)
{
    g_autofree char *name = test_tmpfile("overlay.qcow2");
    g_autofree char *json = g_strdup_printf("{'driver': 'qcow2', 'file': {'driver': 'file', "
                                            "'filename': '%s'}, 'backing': 'source'}", name);
    BdrvImgCreate create = {
        .filename = name,
        .format = "qcow2",
        .size = DISK_BYTES,
        .quiet = true,
    };

    g_assert_true(bdrv_co_img_create(&create, &error_abort));
    bdrv_unref(s->target);
    s->target = co_open_json(json, &error_abort);
}

static void coroutine_fn co_read_moment(Setup *s, BlockBackend *reader)
{
    int64_t offset = g_random_int_range(0, DISK_BYTES / 512) * 512;
    int64_t bytes = g_random_int_range(1, 400) * 512;
    g_autofree uint8_t *buf = NULL;

    bytes = MIN(bytes, DISK_BYTES - offset);
    buf = g_malloc(bytes);
    g_assert_cmpint(blk_co_pread(reader, offset, bytes, buf, 0), ==, 0);
    g_assert_cmpmem(buf, bytes, s->moment + offset, bytes);
}

static void coroutine_fn co_fleecing(void)
{
    Setup s;
    Guests guests = { .setup = &s };
    BlockBackend *reader;

    co_set_up(&s);
    co_make_overlay(&s);
    memdisk(s.source)->max_yields = 3;
    co_start_guests(&guests, NULL);
    co_insert(&s, (CbwArgs){ 0 });
    g_assert_true(s.target->backing->bs == s.source); /* not moved above the filter */
    reader = blk_co_new_with_bs(s.target, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort);
    for (int i = 0; i < 200; i++) {
        co_read_moment(&s, reader);
    }
    co_stop_guests(&guests);
    for (int i = 0; i < 50; i++) {
        co_read_moment(&s, reader);
    }
    blk_co_unref(reader);
    co_tear_down(&s);
}

/* ---- only what the top layer holds --------------------------------------------------------- */

static void coroutine_fn co_skip_unallocated(void)
{
    BlockDriverState *target = memdisk_co_new("other", DISK_BYTES);
    BlockCopyAll how = { .max_workers = 3 };
    CbwArgs args = { .target = target, .skip_unallocated = true };
    uint8_t *copied = memdisk(target)->data;
    BlockDriverState *cbw;
    BlockCopyState *bcs;
    BlockBackend *top;
    bool is_read;
    Setup s;

    co_set_up(&s);
    g_assert_true(blk_co_set_perm(s.guest, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort));
    co_make_overlay(&s);
    memset(copied, 0xa5, DISK_BYTES);
    top = blk_co_new_with_bs(s.target, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                             BLK_PERM_CONSISTENT_READ, &error_abort);
    g_assert_cmpint(blk_co_pwrite_zeroes(top, 3 * CLUSTER + 512, 512, 0), ==, 0);
    args.source = s.target;
    cbw = cbw_co_insert(&args, &bcs, &error_abort);
    /* What comes later into the layer was not in it at the moment. */
    g_assert_cmpint(blk_co_pwrite_zeroes(top, 9 * CLUSTER, CLUSTER, 0), ==, 0);
    g_assert_cmpint(block_copy_co_all(bcs, &how, &is_read), ==, 0);
    for (int64_t i = 0; i < DISK_BYTES; i++) {
        bool is_zeroed = i >= 3 * CLUSTER + 512 && i < 3 * CLUSTER + 1024;
        bool is_in_layer = i / CLUSTER == 3;

        g_assert_cmpint(copied[i], ==, is_zeroed ? 0 : is_in_layer ? memdisk(s.source)->data[i]
                                                                   : 0xa5);
    }
    g_assert_true(cbw_co_drop(cbw, &error_abort));
    blk_co_unref(top);
    co_tear_down(&s);
    bdrv_unref(target);
}

/* ---- options --------------------------------------------------------------------------------- */

static void coroutine_fn co_opened_by_options(void)
{
    Setup s;
    BlockDriverState *bs;
    Error *err = NULL;

    co_set_up(&s);
    s.moment = g_memdup2(memdisk(s.source)->data, DISK_BYTES);
    bdrv_create_dirty_bitmap(s.source, 4096, "b", &error_abort);
    bdrv_set_dirty_bitmap(bdrv_find_dirty_bitmap(s.source, "b"), 0, 4096);
    g_assert_null(co_open_json("{'driver': 'copy-before-write', 'file': 'source', 'target': "
                               "'target', 'bitmap': {'node': 'source', 'name': 'x'}}", &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Dirty bitmap 'x' not found");
    error_free(err);
    bs = co_open_json("{'driver': 'copy-before-write', 'node-name': 'c', 'file': 'source', "
                      "'target': 'target', 'min-cluster-size': 131072, 'on-cbw-error': "
                      "'break-snapshot', 'cbw-timeout': 45, 'bitmap': {'node': 'source', 'name': "
                      "'b'}}", &error_abort);
    g_assert_true(bdrv_co_replace_child((BdrvChild *)blk_root(s.guest), bs, &error_abort));
    /* Only what the bitmap marks is saved, in whole clusters. */
    g_assert_cmpint(co_guest_write(&s, 512, 512), ==, 0);
    g_assert_cmpint(co_guest_write(&s, 128 * KiB, 512), ==, 0);
    g_assert_true(is_saved(&s, 0, 128 * KiB));
    g_assert_cmpint(memdisk(s.target)->data[128 * KiB], ==, 0xa5);
    bdrv_unref(bs);
    co_tear_down(&s);
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/cbw/write/is-saved-once", co_write_is_saved },
        { "/cbw/zero-discard-truncate/are-saved", co_zero_discard_truncate_are_saved },
        { "/cbw/flush/leaves-the-target-alone", co_target_is_not_flushed },
        { "/cbw/claims/keep-writers-off-the-source", co_source_is_not_shared },
        { "/cbw/insert/sizes-must-match", co_sizes_must_match },
        { "/cbw/insert/failing-late-changes-nothing", co_insert_fails_late },
        { "/cbw/errors/break-guest-write", co_guest_write_breaks },
        { "/cbw/errors/break-snapshot", co_snapshot_breaks },
        { "/cbw/timeout/break-guest-write", co_timeout_breaks_guest },
        { "/cbw/timeout/break-snapshot", co_timeout_breaks_snapshot },
        { "/cbw/moment/is-exact", co_moment },
        { "/cbw/moment/is-exact-in-two-threads", co_moment_two_threads },
        { "/cbw/fleecing/overlay-shows-the-moment", co_fleecing },
        { "/cbw/copy/top-layer-only", co_skip_unallocated },
        { "/cbw/options/bitmap-and-cluster-size", co_opened_by_options },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
