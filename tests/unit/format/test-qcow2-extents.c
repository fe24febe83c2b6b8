/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many extents at once say what one question after the other says, for overlays with every kind of
 * cluster, short backing files and lists of any size.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"
#include "qapi/gen/block-info-types.h"
#include "qcow2-test.h"
#include "qemu/iszero.h"
#include "qobject/opts.h"

#define DISK_BYTES (3 * MiB + 5 * 512)
#define BASE_BYTES (2 * MiB + 3 * 512)
#define CLUSTER 4096
#define ROUNDS 120

static void coroutine_fn co_make_of(uint32_t cluster_size, const char *name, int64_t bytes,
                                    const char *backing, bool extended)
{
    BlockdevCreateOptionsQcow2 o = {
        .size = bytes,
        .has_cluster_size = true,
        .cluster_size = cluster_size,
        .has_extended_l2 = true,
        .extended_l2 = extended,
        .backing_file = (char *)backing,
        .has_backing_fmt = backing,
        .backing_fmt = BLOCKDEV_DRIVER_QCOW2,
    };

    g_assert_true(qcow2_test_create(name, &o, &error_abort));
}

static void coroutine_fn co_make(const char *name, int64_t bytes, const char *backing,
                                 bool extended)
{
    co_make_of(extended ? 16 * KiB : CLUSTER, name, bytes, backing, extended);
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

/* ---- how much of it is data ------------------------------------------------------------------ */

/* Bytes of the units of @unit that have data in them, by asking for one range after the other. */
static int64_t coroutine_fn co_count_data(BlockDriverState *bs, int64_t unit)
{
    int64_t bytes = bdrv_getlength(bs), counted = 0, sum = 0, pnum;

    for (int64_t at = 0; at < bytes; at += pnum) {
        int flags = bdrv_co_block_status_above(bs, NULL, at, bytes - at, &pnum, NULL, NULL, NULL);
        int64_t end = QEMU_ALIGN_UP(at + pnum, unit);

        g_assert_cmpint(flags, >=, 0);
        g_assert_cmpint(pnum, >, 0);
        if ((flags & BDRV_BLOCK_DATA) && !(flags & BDRV_BLOCK_ZERO) && end > counted) {
            sum += end - MAX(counted, QEMU_ALIGN_DOWN(at, unit));
            counted = end;
        }
    }
    return sum;
}

/* Measured for images of any cluster size; what is no data is metadata, as of a full image. */
static void coroutine_fn co_measure(BlockDriverState *bs)
{
    QemuOptsList *list = qemu_opts_append(NULL, bdrv_qcow2.create_opts);

    for (int64_t unit = 512; unit <= 2 * MiB; unit *= 2) {
        g_autoptr(QemuOpts) opts = qemu_opts_create(list, NULL, false, &error_abort);
        BlockMeasureInfo *info;

        qemu_opt_set_number(opts, "cluster_size", unit, &error_abort);
        info = bdrv_co_measure(&bdrv_qcow2, opts, bs, &error_abort);
        g_assert_cmpint(info->required - (info->fully_allocated -
                                          QEMU_ALIGN_UP(bdrv_getlength(bs), unit)), ==,
                        co_count_data(bs, unit));
        qapi_free_BlockMeasureInfo(info);
    }
    qemu_opts_free(list);
}

/* Tables in several pieces, of which some are counted at once and others are not. */
#define MEASURED_BYTES (10 * MiB + 3 * 512)

static void coroutine_fn co_fill(MemUser *user, int64_t at, int64_t bytes, uint8_t value)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    memset(buf, value, bytes);
    g_assert_cmpint(bdrv_co_pwrite(user->root, at, bytes, buf, 0), ==, 0);
}

static void coroutine_fn co_measure_one(uint32_t cluster_size, const char *backing, bool extended)
{
    QDict *options = qcow2_test_options("disk");
    MemUser *user;

    co_make_of(cluster_size, "disk", MEASURED_BYTES, backing, extended);
    if (backing) {
        qdict_put_str(options, "backing.driver", "qcow2");
        qdict_put_str(options, "backing.file.driver", "file");
        qdict_put_str(options, "backing.file.filename", backing);
    }
    user = mem_co_use(options, BDRV_O_RDWR | BDRV_O_UNMAP, &error_abort);
    co_measure(user->bs);
    co_fill(user, 100 * 512, 64 * KiB, 0); /* all holes, where the file has any */
    co_measure(user->bs);
    co_fill(user, 7 * MiB, 2 * MiB, 0x5a);
    co_measure(user->bs);
    co_fill(user, 5 * MiB, 64 * KiB, 0); /* behind those in the file */
    co_measure(user->bs);
    co_fill(user, MEASURED_BYTES - 512, 512, 0x5a);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(user->root, 8 * MiB, 64 * KiB, 0), ==, 0);
    co_measure(user->bs);
    g_assert_true(bdrv_co_snapshot_create_now(user->bs, "then", &error_abort));
    co_scribble(user, MEASURED_BYTES, false);
    co_measure(user->bs);
    if (!extended) {
        co_scribble(user, 8 * MiB, true);
        co_measure(user->bs);
    }
    mem_co_unuse(user);
    user = qcow2_test_open("disk", 0);
    co_measure(user->bs);
    g_assert_true(bdrv_co_snapshot_load_tmp_by_text(user->bs, "then", &error_abort));
    co_measure(user->bs);
    mem_co_unuse(user);
}

/* A unit whose first part is holes, and counted at once; the rest is data, and not. */
static void coroutine_fn co_measure_border(void)
{
    g_autofree uint8_t *buf = g_malloc(CLUSTER);
    MemUser *user;

    memset(buf, 0x5a, CLUSTER);
    co_make_of(512, "disk", 1 * MiB, NULL, false);
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    co_fill(user, 64 * KiB, 32 * KiB, 0); /* what one L2 table describes */
    g_assert_cmpint(bdrv_co_pwrite(user->root, 96 * KiB, CLUSTER, buf,
                                   BDRV_REQ_WRITE_COMPRESSED), ==, 0);
    co_measure(user->bs);
    mem_co_unuse(user);
}

/* A full table whose clusters are in the file from the last to the first; these are holes. */
static void coroutine_fn co_measure_backwards(void)
{
    MemUser *user;

    co_make_of(512, "disk", 1 * MiB, NULL, false);
    user = qcow2_test_open("disk", BDRV_O_RDWR);
    for (int i = 63; i >= 0; i--) {
        co_fill(user, i * 512, 512, i < 20 ? 0 : 0x5a);
    }
    co_measure(user->bs);
    mem_co_unuse(user);
}

static void coroutine_fn co_measure_all(void)
{
    MemUser *user;

    co_make("base", BASE_BYTES, NULL, false);
    user = qcow2_test_open("base", BDRV_O_RDWR | BDRV_O_UNMAP);
    co_scribble(user, BASE_BYTES, true);
    mem_co_unuse(user);
    co_measure_border();
    co_measure_backwards();
    co_measure_one(512, NULL, false);
    co_measure_one(CLUSTER, NULL, false);
    co_measure_one(512, "base", false);
    co_measure_one(16 * KiB, NULL, true);
}

/* A status of the file: sectors of zeroes are holes. */
static int coroutine_fn co_status_with_holes(BlockDriverState *bs, bool want_zero, int64_t offset,
                                             int64_t bytes, int64_t *pnum, int64_t *map,
                                             BlockDriverState **file)
{
    const GByteArray *data = mem_of(bs)->data;
    int flags = 0;

    *map = offset;
    *file = bs;
    for (*pnum = 0; *pnum < bytes; *pnum += MIN(512, bytes - *pnum)) {
        int64_t at = offset + *pnum, have = MAX(MIN(512, (int64_t)data->len - at), 0);
        bool is_zero = have == 0 || buffer_is_zero(data->data + at, have);

        if (flags && is_zero != !!(flags & BDRV_BLOCK_ZERO)) {
            break;
        }
        flags = BDRV_BLOCK_OFFSET_VALID | (is_zero ? BDRV_BLOCK_ZERO : BDRV_BLOCK_DATA);
    }
    return flags;
}

static void test_measure_holes(void)
{
    BlockDriver with_holes = mem_driver;
    BlockDriver *const drivers[] = { &bdrv_qcow2, &bdrv_raw, &with_holes, NULL };

    with_holes.bdrv_co_block_status = co_status_with_holes;
    mem_run_case(drivers, co_measure_all);
}

int main(int argc, char **argv)
{
    static const Qcow2TestCase cases[] = {
        { "/qcow2/extents/as-one-by-one", co_plain },
        { "/qcow2/extents/of-subclusters", co_extended },
        { "/qcow2/extents/of-one-alone", co_alone },
        { "/qcow2/extents/of-whole-tables", co_whole_tables },
        { "/qcow2/extents/at-the-end", co_at_end },
        { "/qcow2/measure/as-one-by-one", co_measure_all },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    qcow2_test_add_cases(cases, ARRAY_SIZE(cases));
    g_test_add_func("/qcow2/measure/holes-in-the-file", test_measure_holes);
    return g_test_run();
}
