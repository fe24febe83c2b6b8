/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts while dirty bitmaps are used, stored and removed (R10): a bitmap that says it is good
 * covers every sector that was written since it was made.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "crash-lab.h"

#define OPEN "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': 'disk'}}"
#define MAKE "'driver': 'qcow2', 'file': 'file-disk'"

/* What was found in all states: a test that never sees one kind proves nothing. */
static guint n_good, n_inconsistent;
/* Larger words were written since the bitmaps were made. */
static uint32_t filled;

static BdrvDirtyBitmap *add(BlockDriverState *bs, const char *name, uint32_t granularity)
{
    BdrvDirtyBitmap *bitmap = bdrv_create_dirty_bitmap(bs, granularity, name, &error_abort);

    bdrv_dirty_bitmap_set_persistence(bitmap, true);
    return bitmap;
}

/* Bitmaps "a" and "b" are stored, all clean. */
static void coroutine_fn co_prepare(CrashRun *r)
{
    filled = r->next_value;
    add(r->user->bs, "a", 512);
    add(r->user->bs, "b", 4096);
    mem_co_unuse(r->user);
    r->user = lab_co_use(r->k->open, BDRV_O_RDWR | BDRV_O_UNMAP);
}

/* So, and the disk is full: the first write changes data in place, no metadata before it. */
static void coroutine_fn co_prepare_full(CrashRun *r)
{
    crash_co_fill(r);
    co_prepare(r);
}

/* One bitmap goes and another comes, while the disk is written. */
static void coroutine_fn co_change(CrashRun *r)
{
    BlockDriverState *bs = r->user->bs;

    g_assert_cmpint(bdrv_co_remove_persistent_dirty_bitmap(bs, "b", &error_abort), ==, 0);
    bdrv_release_dirty_bitmap(bdrv_find_dirty_bitmap(bs, "b"));
    add(bs, "late", 1024);
}

static void coroutine_fn co_judge(CrashRun *r, MemUser *user, guint cut)
{
    g_autofree uint32_t *buf = g_malloc(r->k->disk_bytes);
    BdrvDirtyBitmap *bitmap = NULL;

    g_assert_cmpint(bdrv_co_pread(user->root, 0, r->k->disk_bytes, buf, 0), ==, 0);
    while ((bitmap = bdrv_dirty_bitmap_next(user->bs, bitmap))) {
        if (bdrv_dirty_bitmap_inconsistent(bitmap)) {
            n_inconsistent++;
            continue;
        }
        n_good++;
        if (strcmp(bdrv_dirty_bitmap_name(bitmap), "late") == 0) {
            continue; /* it missed what was written before it came */
        }
        for (int64_t i = 0; i < crash_sectors(r); i++) {
            if (buf[i * 128] > filled && !bdrv_dirty_bitmap_get(bitmap, i * 512)) {
                g_error("cut at %u: bitmap '%s' misses sector %" PRIi64, cut,
                        bdrv_dirty_bitmap_name(bitmap), i);
            }
        }
    }
}

static const CrashCase cases[] = {
    { .path = "/qcow2/crash/R10-bitmaps/good-or-in-use",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096}" }, .open = OPEN,
      .disk_bytes = 256 * KiB, .cluster_size = 4096, .mix = { 10, 1, 1, 2, 16 }, .rounds = 25,
      .step = 2, .co_prepare = co_prepare, .co_judge = co_judge },
    { .path = "/qcow2/crash/R10-bitmaps/come-and-go",
      .create = { "{" MAKE ", 'size': 524288, 'cluster-size': 512}" }, .open = OPEN,
      .disk_bytes = 512 * KiB, .cluster_size = 512, .mix = { 10, 1, 1, 2, 16 }, .rounds = 20,
      .step = 2, .co_prepare = co_prepare, .co_beside = co_change, .co_judge = co_judge },
    { .path = "/qcow2/crash/R10-bitmaps/in-use-before-the-first-change",
      .create = { "{" MAKE ", 'size': 65536, 'cluster-size': 4096}" }, .open = OPEN,
      .disk_bytes = 64 * KiB, .cluster_size = 4096, .mix = { .write = 1, .max_sectors = 16 },
      .rounds = 4, .step = 1, .co_prepare = co_prepare_full, .co_judge = co_judge },
};

int main(int argc, char **argv)
{
    int ret = crash_lab_main(argc, argv, cases, ARRAY_SIZE(cases));

    printf("# %u good bitmaps, %u inconsistent ones seen\n", n_good, n_inconsistent);
    return ret ? ret : !n_good || !n_inconsistent;
}
