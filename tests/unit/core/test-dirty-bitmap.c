/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty bitmaps: states, successors, merging, bits against an array. */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "fake.h"

#define GRANULARITY 4096

static void coroutine_fn co_names(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    g_autofree char *longest = g_strnfill(BDRV_BITMAP_NAME_MAX + 1, 'x');
    Error *err = NULL;
    BdrvDirtyBitmap *a = bdrv_create_dirty_bitmap(bs, GRANULARITY, "a", &error_abort);
    g_assert_true(bdrv_find_dirty_bitmap(bs, "a") == a);
    g_assert_null(bdrv_find_dirty_bitmap(bs, "b"));
    g_assert_null(bdrv_create_dirty_bitmap(bs, GRANULARITY, "a", &err));
    fake_expect_error(g_steal_pointer(&err), "Bitmap already exists: a");
    g_assert_null(bdrv_create_dirty_bitmap(bs, GRANULARITY, longest, &err));
    g_assert_true(g_str_has_prefix(error_get_pretty(err), "Bitmap name too long: "));
    error_free(err);
    bdrv_release_dirty_bitmap(a);
    g_assert_null(bdrv_find_dirty_bitmap(bs, "a"));
}

static void coroutine_fn co_states(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    BdrvDirtyBitmap *b = bdrv_create_dirty_bitmap(bs, GRANULARITY, "b", &error_abort);
    Error *err = NULL;
    bdrv_set_dirty(bs, 5000, 1);
    bdrv_disable_dirty_bitmap(b);
    bdrv_set_dirty(bs, 100000, 1);
    g_assert_cmpint(bdrv_get_dirty_count(b), ==, GRANULARITY);
    g_assert_true(bdrv_dirty_bitmap_get(b, 4096) && !bdrv_dirty_bitmap_get(b, 100000));

    bdrv_dirty_bitmap_set_busy(b, true);
    g_assert_false(bdrv_dirty_bitmap_check(b, BDRV_BITMAP_DEFAULT, &err));
    fake_expect_error(g_steal_pointer(&err),
                      "Bitmap 'b' is currently in use by another operation and cannot be used");
    bdrv_dirty_bitmap_set_busy(b, false);
    bdrv_dirty_bitmap_set_readonly(b, true);
    g_assert_false(bdrv_dirty_bitmap_check(b, BDRV_BITMAP_DEFAULT, &err));
    fake_expect_error(g_steal_pointer(&err), "Bitmap 'b' is readonly and cannot be modified");
    g_assert_true(bdrv_dirty_bitmap_check(b, BDRV_BITMAP_ALLOW_RO, NULL));
    bdrv_dirty_bitmap_set_readonly(b, false);
    bdrv_dirty_bitmap_set_persistence(b, true);
    bdrv_dirty_bitmap_set_inconsistent(b);
    g_assert_false(bdrv_dirty_bitmap_check(b, BDRV_BITMAP_DEFAULT, &err));
    fake_expect_error(err, "Bitmap 'b' is inconsistent and cannot be used");
}

static void coroutine_fn co_successor(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    BdrvDirtyBitmap *b = bdrv_create_dirty_bitmap(bs, GRANULARITY, "b", &error_abort);
    bdrv_set_dirty(bs, 0, 1);
    g_assert_true(bdrv_dirty_bitmap_create_successor(b, &error_abort));
    g_assert_false(bdrv_dirty_bitmap_create_successor(b, NULL));
    bdrv_set_dirty(bs, 8192, 1);
    g_assert_cmpint(bdrv_get_dirty_count(b), ==, GRANULARITY);

    /* Failed: what came meanwhile is added. */
    g_assert_true(bdrv_reclaim_dirty_bitmap(b, &error_abort) == b);
    g_assert_cmpint(bdrv_get_dirty_count(b), ==, 2 * GRANULARITY);
    g_assert_true(bdrv_dirty_bitmap_enabled(b) && !bdrv_dirty_bitmap_busy(b));

    /* Done: only what came meanwhile is dirty. */
    g_assert_true(bdrv_dirty_bitmap_create_successor(b, &error_abort));
    bdrv_set_dirty(bs, 20480, 4096);
    b = bdrv_dirty_bitmap_abdicate(b, &error_abort);
    g_assert_true(bdrv_find_dirty_bitmap(bs, "b") == b);
    g_assert_cmpint(bdrv_get_dirty_count(b), ==, GRANULARITY);
    g_assert_true(bdrv_dirty_bitmap_get(b, 20480));
}

static void coroutine_fn co_merge(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    BdrvDirtyBitmap *a = bdrv_create_dirty_bitmap(bs, GRANULARITY, "a", &error_abort);
    bdrv_set_dirty(bs, 0, 4096);
    BdrvDirtyBitmap *b = bdrv_create_dirty_bitmap(bs, 4 * GRANULARITY, "b", &error_abort);
    bdrv_set_dirty_bitmap(b, 65536, 1);
    HBitmap *backup;
    g_assert_true(bdrv_merge_dirty_bitmap(a, b, &backup, &error_abort));
    g_assert_cmpint(bdrv_get_dirty_count(a), ==, GRANULARITY * 5);
    bdrv_restore_dirty_bitmap(a, backup);
    g_assert_cmpint(bdrv_get_dirty_count(a), ==, GRANULARITY);
    bdrv_clear_dirty_bitmap(a, &backup);
    g_assert_cmpint(bdrv_get_dirty_count(a), ==, 0);
    bdrv_restore_dirty_bitmap(a, backup);
    g_assert_cmpint(bdrv_get_dirty_count(a), ==, GRANULARITY);
}

/* Also if it is found out only when all has been looked at: sizes are compared where bits are. */
static void coroutine_fn co_merge_of_other_size(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    BdrvDirtyBitmap *a = bdrv_create_dirty_bitmap(bs, GRANULARITY, "a", &error_abort);
    BdrvDirtyBitmap *b = bdrv_create_dirty_bitmap(bs->file->bs, GRANULARITY, "b", &error_abort);
    Error *err = NULL;
    bdrv_set_dirty_bitmap(b, 0, 1);
    bdrv_size_changed(bs->file->bs, 2 * FAKE_BYTES);
    g_assert_false(bdrv_merge_dirty_bitmap(a, b, NULL, &err));
    fake_expect_error(err, "Bitmaps are of different sizes (destination size is 1048576, source "
                      "size is 2097152) and can't be merged");
    g_assert_cmpint(bdrv_get_dirty_count(a), ==, 0);
    bdrv_size_changed(bs->file->bs, FAKE_BYTES);
    g_assert_true(bdrv_merge_dirty_bitmap(a, b, NULL, &error_abort));
    g_assert_true(bdrv_merge_dirty_bitmap(a, a, NULL, &error_abort));
    g_assert_cmpint(bdrv_get_dirty_count(a), ==, GRANULARITY);
    bdrv_release_dirty_bitmap(b);
}

static void coroutine_fn co_resize(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    BdrvDirtyBitmap *b = bdrv_create_dirty_bitmap(bs, GRANULARITY, "b", &error_abort);
    bdrv_set_dirty(bs, FAKE_BYTES - 1, 100);
    g_assert_cmpint(bdrv_get_dirty_count(b), ==, GRANULARITY);
    bdrv_size_changed(bs, FAKE_BYTES / 2);
    g_assert_cmpint(bdrv_get_dirty_count(b), ==, 0);
    bdrv_size_changed(bs, 2 * FAKE_BYTES);
    bdrv_set_dirty(bs, 2 * FAKE_BYTES - 1, 1);
    g_assert_cmpint(bdrv_dirty_bitmap_next_dirty(b, 0, INT64_MAX), ==, 2 * FAKE_BYTES - 4096);
}

/* A write that makes a file longer: what it appended is dirty, too. */
static void coroutine_fn co_growing_write(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    BlockDriverState *file = bs->file->bs;
    BdrvDirtyBitmap *b = bdrv_create_dirty_bitmap(file, GRANULARITY, "b", &error_abort);
    uint8_t data[2 * GRANULARITY] = { 1 };

    g_assert_cmpint(bdrv_co_pwrite(bs->file, FAKE_BYTES, sizeof(data), data, 0), ==, 0);
    g_assert_cmpint(bdrv_getlength(file), ==, FAKE_BYTES + sizeof(data));
    g_assert_cmpint(bdrv_get_dirty_count(b), ==, sizeof(data));
    bdrv_release_dirty_bitmap(b);
}

static void check_iteration(BdrvDirtyBitmap *b, const bool *model, size_t n)
{
    int64_t at = 0, end = (int64_t)n * GRANULARITY;
    for (size_t i = 0; i < n; i++) {
        if (model[i]) {
            at = bdrv_dirty_bitmap_next_dirty(b, at, end - at);
            g_assert_cmpint(at, ==, (int64_t)i * GRANULARITY);
            at += GRANULARITY;
        }
    }
    g_assert_cmpint(bdrv_dirty_bitmap_next_dirty(b, at, end - at), ==, -1);
}

static void coroutine_fn co_random(void)
{
    enum { GRANULES = FAKE_BYTES / GRANULARITY };
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    BdrvDirtyBitmap *b = bdrv_create_dirty_bitmap(bs, GRANULARITY, "b", &error_abort);
    bool model[GRANULES] = { false };
    for (int round = 0; round < 3000; round++) {
        int first = g_test_rand_int_range(0, GRANULES);
        int n = g_test_rand_int_range(1, GRANULES - first + 1);
        bool set = g_test_rand_bit();
        int64_t offset = (int64_t)first * GRANULARITY, bytes = (int64_t)n * GRANULARITY;
        if (set) {
            /* Any byte of a granule makes it dirty. */
            int cut = g_test_rand_int_range(0, GRANULARITY);
            bdrv_set_dirty(bs, offset + cut, bytes - cut - (n > 1 ? cut : 0));
        } else {
            bdrv_reset_dirty_bitmap(b, offset, bytes);
        }
        int64_t count = 0;
        for (int i = 0; i < GRANULES; i++) {
            model[i] = i >= first && i < first + n ? set : model[i];
            count += model[i] ? GRANULARITY : 0;
        }
        g_assert_cmpint(bdrv_get_dirty_count(b), ==, count);
        if (round % 50 == 0) {
            check_iteration(b, model, GRANULES);
        }
    }
}

int main(int argc, char **argv)
{
    static const FakeCase cases[] = {
        { "/dirty-bitmap/name/is-unique", co_names },
        { "/dirty-bitmap/state/is-checked", co_states },
        { "/dirty-bitmap/successor/reclaim-and-abdicate", co_successor },
        { "/dirty-bitmap/merge/can-be-undone", co_merge },
        { "/dirty-bitmap/merge/of-another-size-is-refused", co_merge_of_other_size },
        { "/dirty-bitmap/resize/cuts-and-grows", co_resize },
        { "/dirty-bitmap/resize/knows-what-a-write-appended", co_growing_write },
        { "/dirty-bitmap/random/agrees-with-array", co_random },
    };
    return fake_main(argc, argv, cases, ARRAY_SIZE(cases));
}
