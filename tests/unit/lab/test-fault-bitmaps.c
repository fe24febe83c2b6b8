/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Failing calls while dirty bitmaps are loaded, stored and removed. */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "fault-lab.h"

#define OPEN "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': 'disk'}}"
#define MAKE "{'driver': 'qcow2', 'file': 'file-disk', 'size': 262144, 'cluster-size': 512}"
#define SIZE (256 * KiB)

static void coroutine_fn co_prepare(FaultRun *r)
{
    for (int i = 0; i < 2; i++) {
        BdrvDirtyBitmap *bitmap = bdrv_create_dirty_bitmap(r->user->bs, 512, i ? "a" : "b",
                                                           &error_abort);

        bdrv_dirty_bitmap_set_persistence(bitmap, true);
        bdrv_set_dirty_bitmap(bitmap, 0, 512);
    }
}

static BlockDriverState *coroutine_fn co_open(Error **errp)
{
    return bdrv_co_open(NULL, NULL, lab_parse(OPEN), BDRV_O_RDWR, errp);
}

static void coroutine_fn co_close(BlockDriverState *bs)
{
    bdrv_unref(bs);
    bdrv_co_control_unlock();
    bdrv_co_control_lock();
}

static bool coroutine_fn co_load(FaultRun *r, Error **errp)
{
    BlockDriverState *bs = co_open(errp);

    if (bs) {
        co_close(bs);
    }
    return bs;
}

/* Handed over: what changed must be stored. */
static bool coroutine_fn co_store(FaultRun *r, Error **errp)
{
    BlockDriverState *bs = co_open(errp);
    BdrvDirtyBitmap *bitmap = bs ? bdrv_find_dirty_bitmap(bs, "a") : NULL;
    bool ok = false;

    /* A failed attempt may have left it in use; then another takes its place. */
    if (bitmap && bdrv_dirty_bitmap_inconsistent(bitmap)) {
        if (bdrv_co_remove_persistent_dirty_bitmap(bs, "a", errp) < 0) {
            co_close(bs);
            return false;
        }
        bdrv_release_dirty_bitmap(bitmap);
        bitmap = bdrv_create_dirty_bitmap(bs, 512, "a", &error_abort);
        bdrv_dirty_bitmap_set_persistence(bitmap, true);
        bdrv_set_dirty_bitmap(bitmap, 0, 512);
    }
    if (bitmap && bdrv_co_dirty_bitmap_before_change(bitmap, errp)) {
        bdrv_set_dirty_bitmap(bitmap, SIZE / 2, 4096);
        ok = bdrv_co_inactivate(bs, errp);
    }
    if (bs) {
        co_close(bs);
    }
    return ok;
}

static bool coroutine_fn co_remove(FaultRun *r, Error **errp)
{
    BdrvDirtyBitmap *bitmap = bdrv_find_dirty_bitmap(r->user->bs, "b");

    if (!bitmap) {
        return true; /* an attempt that failed only after the deed */
    }
    if (bdrv_co_remove_persistent_dirty_bitmap(r->user->bs, "b", errp) < 0) {
        return false;
    }
    bdrv_release_dirty_bitmap(bitmap);
    return true;
}

/* Good is right: what is not is in use. */
static void coroutine_fn co_judge(FaultRun *r, bool done)
{
    MemUser *user = r->user ? NULL : lab_co_use(OPEN, 0);
    BlockDriverState *bs = user ? user->bs : r->user->bs;
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (!bdrv_dirty_bitmap_inconsistent(bitmap)) {
            g_assert_true(bdrv_dirty_bitmap_get(bitmap, 0));
            g_assert_false(bdrv_dirty_bitmap_get(bitmap, 512));
        }
    }
    if (user) {
        mem_co_unuse(user);
    }
}

static void coroutine_fn co_judge_store(FaultRun *r, bool done)
{
    MemUser *user = lab_co_use(OPEN, 0);
    BdrvDirtyBitmap *bitmap = bdrv_find_dirty_bitmap(user->bs, "a");

    g_assert_true(!done || !bdrv_dirty_bitmap_inconsistent(bitmap));
    if (done) {
        g_assert_true(bdrv_dirty_bitmap_get(bitmap, SIZE / 2));
    }
    mem_co_unuse(user);
    co_judge(r, done);
}

static void coroutine_fn co_judge_removed(FaultRun *r, bool done)
{
    g_assert_true(!done || !bdrv_find_dirty_bitmap(r->user->bs, "b"));
    co_judge(r, done);
}

static void coroutine_fn co_prepare_closed(FaultRun *r)
{
    r->user = lab_co_use(OPEN, BDRV_O_RDWR);
    co_prepare(r);
}

static const FaultCase cases[] = {
    { .path = "/qcow2/fault/bitmaps/load", .create = { MAKE }, .co_prepare = co_prepare_closed,
      .co_operate = co_load, .co_judge = co_judge },
    { .path = "/qcow2/fault/bitmaps/store", .create = { MAKE }, .co_prepare = co_prepare_closed,
      .co_operate = co_store, .co_judge = co_judge_store },
    { .path = "/qcow2/fault/bitmaps/remove", .create = { MAKE }, .open = OPEN,
      .co_prepare = co_prepare, .co_operate = co_remove, .co_judge = co_judge_removed },
};

int main(int argc, char **argv)
{
    return fault_lab_main(argc, argv, cases, ARRAY_SIZE(cases));
}
