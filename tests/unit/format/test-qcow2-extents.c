/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many extents at once say what one question after the other says, for overlays with every kind of
 * cluster, short backing files and lists of any size.
 */
#include "qemu/osdep.h"

#include "qcow2-test.h"

#define DISK_BYTES (3 * MiB + 5 * 512)
#define BASE_BYTES (2 * MiB + 3 * 512)
#define CLUSTER 4096
#define ROUNDS 120

static void coroutine_fn co_make(const char *name, int64_t bytes, const char *backing,
                                 bool extended)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = bytes,
        .has_cluster_size = true,
        .cluster_size = extended ? 16 * KiB : CLUSTER,
        .has_extended_l2 = true,
        .extended_l2 = extended,
        .backing_file = (char *)backing,
        .has_backing_fmt = backing,
        .backing_fmt = BLOCKDEV_DRIVER_QCOW2,
    };

    g_assert_true(qcow2_test_create(name, &o, &error_abort));
}

/* Data, zeroes, discards and packed clusters at random. */
static void coroutine_fn co_scribble(MemUser *user, int64_t bytes, bool can_pack)
{
    g_autofree uint8_t *buf = g_malloc(128 * KiB);

    memset(buf, 0x5a, 128 * KiB);
    for (int i = 0; i < ROUNDS; i++) {
        int64_t n = g_test_rand_int_range(1, 65) * 512;
        int64_t at = g_test_rand_int_range(0, (bytes - n) / 512 + 1) * 512;
        int ret;

        switch (g_test_rand_int_range(0, can_pack ? 4 : 3)) {
        case 0:
            ret = bdrv_co_pwrite(user->root, at, n, buf, 0);
            break;
        case 1:
            ret = bdrv_co_pwrite_zeroes(user->root, at, n, i % 2 ? BDRV_REQ_MAY_UNMAP : 0);
            break;
        case 2:
            ret = bdrv_co_pdiscard(user->root, at, n);
            break;
        default:
            at = QEMU_ALIGN_DOWN(MIN(at, bytes - CLUSTER), CLUSTER);
            ret = bdrv_co_pwrite(user->root, at, CLUSTER, buf, BDRV_REQ_WRITE_COMPRESSED);
            break;
        }
        g_assert_cmpint(ret, >=, 0);
    }
}

/* The list of [start, end) against single answers; pieces may be cut elsewhere. */
static void coroutine_fn co_compare(BlockDriverState *bs, BlockDriverState *base, int64_t start,
                                    int64_t end, int max)
{
    g_autofree BdrvExtent *list = g_new(BdrvExtent, max);

    while (start < end) {
        int n = bdrv_co_block_extents_above(bs, base, start, end - start, list, max);

        g_assert_cmpint(n, >, 0);
        g_assert_cmpint(n, <=, max);
        for (int i = 0; i < n; i++) {
            int64_t stop = start + list[i].bytes;

            g_assert_cmpint(list[i].bytes, >, 0);
            g_assert_cmpint(stop, <=, end);
            for (int64_t at = start, pnum; at < stop; at += pnum) {
                BlockDriverState *file = NULL;
                int64_t map = 0;
                int depth;
                int flags = bdrv_co_block_status_above(bs, base, at, stop - at, &pnum, &map, &file,
                                                       &depth);

                g_assert_cmpint(flags & ~BDRV_BLOCK_EOF, ==, list[i].flags & ~BDRV_BLOCK_EOF);
                g_assert_cmpint(depth, ==, list[i].depth);
                if (flags & BDRV_BLOCK_OFFSET_VALID) {
                    g_assert_true(file == list[i].file);
                    g_assert_cmpint(map, ==, list[i].map + at - start);
                }
                g_assert_cmpint(pnum, >, 0);
            }
            start = stop;
        }
    }
    g_assert_cmpint(start, ==, end);
}

static void coroutine_fn co_test(bool extended)
{
    QDict *options = qcow2_test_options("disk");
    MemUser *user;

    co_make("base", BASE_BYTES, NULL, false);
    user = qcow2_test_open("base", BDRV_O_RDWR | BDRV_O_UNMAP);
    co_scribble(user, BASE_BYTES, true);
    mem_co_unuse(user);
    co_make("disk", DISK_BYTES, NULL, extended);
    qdict_put_str(options, "backing.driver", "qcow2");
    qdict_put_str(options, "backing.file.driver", "file");
    qdict_put_str(options, "backing.file.filename", "base");
    user = mem_co_use(options, BDRV_O_RDWR | BDRV_O_UNMAP, &error_abort);
    co_scribble(user, DISK_BYTES, !extended);
    /* The longest list is for who goes through all tables once. */
    for (int max = 1; max < 10000; max = max * 3 + 1) {
        co_compare(user->bs, NULL, 0, DISK_BYTES, max);
        co_compare(user->bs, user->bs->backing->bs, 0, DISK_BYTES, max);
        co_compare(user->bs, NULL, 512, BASE_BYTES + 512, max);
        co_compare(user->bs, NULL, 3 * 512 + 1, DISK_BYTES - 77, max);
    }
    mem_co_unuse(user);
}

static void coroutine_fn co_plain(void)
{
    co_test(false);
}

static void coroutine_fn co_extended(void)
{
    co_test(true);
}

/* Without anything below; tables that are changed and not written yet count, too. */
static void coroutine_fn co_alone(void)
{
    MemUser *user;

    for (int extended = 0; extended < 2; extended++) {
        co_make("disk", DISK_BYTES, NULL, extended);
        user = qcow2_test_open("disk", BDRV_O_RDWR | BDRV_O_UNMAP);
        for (int round = 0; round < 3; round++) {
            co_scribble(user, DISK_BYTES, !extended);
            for (int max = 1; max < 10000; max = max * 20 + 1) {
                co_compare(user->bs, NULL, 0, DISK_BYTES, max);
            }
        }
        mem_co_unuse(user);
        user = qcow2_test_open("disk", 0);
        co_compare(user->bs, NULL, 0, DISK_BYTES, 8192);
        mem_co_unuse(user);
    }
}

#define TABLE_BYTES (CLUSTER / 8 * CLUSTER)

/* A list for who goes through all tables ends with the last table that is sure to fit. */
static void coroutine_fn co_whole_tables(void)
{
    const int per_table = CLUSTER / 8, max = 8 * per_table + per_table / 2;
    g_autofree BdrvExtent *list = g_new(BdrvExtent, max);
    g_autofree uint8_t *buf = g_malloc0(CLUSTER);
    MemUser *user;

    co_make("disk", 10 * TABLE_BYTES, NULL, false);
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    for (int64_t at = 0; at < 10 * TABLE_BYTES; at += 2 * CLUSTER) {
        g_assert_cmpint(bdrv_co_pwrite(user->root, at, CLUSTER, buf, 0), ==, 0);
    }
    g_assert_cmpint(bdrv_co_block_extents_above(user->bs, NULL, 0, 10 * TABLE_BYTES, list, max), ==,
                    8 * per_table);
    co_compare(user->bs, NULL, 0, 10 * TABLE_BYTES, max);
    co_compare(user->bs, NULL, 3 * CLUSTER, 9 * TABLE_BYTES + 5 * CLUSTER, max);
    mem_co_unuse(user);
}

/* Nothing there: no extents, and no error. */
static void coroutine_fn co_at_end(void)
{
    BdrvExtent extent;
    MemUser *user;

    co_make("disk", DISK_BYTES, NULL, false);
    user = qcow2_test_open("disk", 0);
    g_assert_cmpint(bdrv_co_block_extents_above(user->bs, NULL, DISK_BYTES, 512, &extent, 1), ==,
                    0);
    g_assert_cmpint(bdrv_co_block_extents_above(user->bs, NULL, 0, 0, &extent, 1), ==, 0);
    g_assert_cmpint(bdrv_co_block_extents_above(user->bs, NULL, -512, 512, &extent, 1), <, 0);
    g_assert_cmpint(bdrv_co_block_extents_above(user->bs, NULL, 0, DISK_BYTES, &extent, 1), ==, 1);
    g_assert_cmpint(extent.bytes, ==, DISK_BYTES);
    g_assert_true(extent.flags & BDRV_BLOCK_EOF);
    mem_co_unuse(user);
}

int main(int argc, char **argv)
{
    static const Qcow2TestCase cases[] = {
        { "/qcow2/extents/as-one-by-one", co_plain },
        { "/qcow2/extents/of-subclusters", co_extended },
        { "/qcow2/extents/of-one-alone", co_alone },
        { "/qcow2/extents/of-whole-tables", co_whole_tables },
        { "/qcow2/extents/at-the-end", co_at_end },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    qcow2_test_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
