/* SPDX-License-Identifier: GPL-2.0-or-later */
/* compress: whole clusters are written compressed; a disk does not grow by it. */
#include "qemu/osdep.h"

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

extern BlockDriver bdrv_compress;

#define CLUSTER (64 * KiB)

/* ---- a disk that has clusters and takes compressed writes ------------------------------------ */

static int compressed_writes;

static int coroutine_fn clustered_co_pwritev_compressed(BlockDriverState *bs, int64_t offset,
                                                        int64_t bytes, QEMUIOVector *qiov,
                                                        size_t qiov_offset)
{
    g_assert_true(QEMU_IS_ALIGNED(offset, CLUSTER) && QEMU_IS_ALIGNED(bytes, CLUSTER));
    g_assert_cmpint(offset + bytes, <=, memdisk(bs)->bytes);
    compressed_writes += bytes / CLUSTER;
    return memdisk_co_pwritev(bs, offset, bytes, qiov, qiov_offset, 0);
}

static int clustered_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    *info = (BlockDriverInfo){ .cluster_size = CLUSTER };
    return 0;
}

static BlockDriver clustered_driver;
static BlockDriver *const drivers[] = { &clustered_driver, &bdrv_compress, NULL };

static void coroutine_fn co_check(int64_t disk_bytes, int64_t offset, int64_t bytes, int compressed)
{
    BlockDriver plain = memdisk_driver;
    BlockDriverState *disk, *filter;
    g_autofree uint8_t *buf = g_malloc(bytes);
    QDict *options = qdict_new();
    MemUser user;

    /* memdisk_co_new() makes nodes of this driver; until they are gone. */
    memdisk_driver = clustered_driver;
    disk = memdisk_co_new("disk", disk_bytes);
    memset(memdisk(disk)->data, 0xbb, disk_bytes);
    memset(buf, 0x11, bytes);
    qdict_put_str(options, "driver", "compress");
    qdict_put_str(options, "file", "disk");
    filter = bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR, &error_abort);
    memuser_co_attach(&user, filter, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE, BLK_PERM_ALL);
    compressed_writes = 0;
    g_assert_cmpint(bdrv_co_pwrite(user.root, offset, bytes, buf, 0), ==, 0);
    g_assert_cmpint(compressed_writes, ==, compressed);
    g_assert_cmpint(bdrv_getlength(filter), ==, disk_bytes);
    g_assert_cmpint(bdrv_getlength(disk), ==, disk_bytes);
    for (int64_t i = 0; i < disk_bytes; i++) {
        bool written = i >= offset && i < offset + bytes;

        g_assert_cmpint(memdisk(disk)->data[i], ==, written ? 0x11 : 0xbb);
    }
    memuser_co_detach(&user);
    bdrv_unref(filter);
    bdrv_unref(disk);
    bdrv_co_reap();
    memdisk_driver = plain;
}

static void coroutine_fn co_whole_clusters(void)
{
    co_check(16 * CLUSTER, 2 * CLUSTER, 3 * CLUSTER, 3);
}

/* The core reads the rest of each cluster. */
static void coroutine_fn co_parts_of_clusters(void)
{
    co_check(16 * CLUSTER, 2 * CLUSTER + 512, CLUSTER, 2);
    co_check(16 * CLUSTER, 15 * CLUSTER + 1024, CLUSTER - 1024, 1);
}

static void coroutine_fn co_odd_length(void)
{
    co_check(3 * CLUSTER + 512, CLUSTER + 512, 2 * CLUSTER, 1);
}

static void coroutine_fn co_no_support(void)
{
    BlockDriverState *disk = memdisk_co_new("disk", MiB);
    QDict *options = qdict_new();
    Error *err = NULL;

    qdict_put_str(options, "driver", "compress");
    qdict_put_str(options, "file", "disk");
    g_assert_null(bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Compression is not supported for underlying format: memdisk");
    error_free(err);
    bdrv_unref(disk);
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/compress/write/whole-clusters", co_whole_clusters },
        { "/compress/write/parts-of-clusters", co_parts_of_clusters },
        { "/compress/write/disk-of-odd-length", co_odd_length },
        { "/compress/open/refused-without-support", co_no_support },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    clustered_driver = memdisk_driver;
    clustered_driver.format_name = "clustered";
    clustered_driver.bdrv_get_info = clustered_get_info;
    clustered_driver.bdrv_co_pwritev_compressed = clustered_co_pwritev_compressed;
    mem_drivers = drivers;
    mem_add_cases(cases, G_N_ELEMENTS(cases));
    return g_test_run();
}
