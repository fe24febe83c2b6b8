/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Zoned devices, by a model behind the calls of the file driver: writes in order, appends, states
 * of zones, failures, several writers, what passes zones on and what may not stand above them.
 */
#include "qemu/osdep.h"

#include "../../lib/devmodel.h"
#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"

#include "block/block-backend.h"
#include "block/dirty-bitmap.h"
#include "block/freeze.h"
#include "block/throttle-group.h"
#include "qemu/iothread.h"
#include "qobject/json-parser.h"

/* Two conventional zones and six of 128 KiB, of which 96 KiB can be written. */
#define ZONE (128 * KiB)
#define CAP (96 * KiB)
#define N_CONV 2
#define N_ZONES 8
#define SEQ(n) ((N_CONV + (n)) * (int64_t)ZONE)

#define READ_WRITE (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE)

static char *path;
static DevModel model;

static void make_device(void)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, N_ZONES * ZONE), ==, 0);
    close(fd);
    dev_make_zoned(&model, N_ZONES, N_CONV, ZONE / 512, CAP / 512);
}

/* A node by JSON, in which %s is the device: @format has one. */
static BlockDriverState *coroutine_fn co_open_json(const char *format, int flags, Error **errp)
{
    g_autofree char *device = g_strdup_printf("{'driver': 'host_device', 'filename': '%s', "
                                              "'cache': {'direct': true}}", path);
    GString *json = g_string_new(format);
    QDict *dict;

    g_string_replace(json, "DEVICE", device, 0);
    dict = qobject_to(QDict, qobject_from_json(json->str, &error_abort));
    g_string_free(json, TRUE);
    return bdrv_co_open(NULL, NULL, dict, flags, errp);
}

static BlockBackend *coroutine_fn co_user_of(const char *format)
{
    g_autoptr(BlockDriverState) bs = co_open_json(format, BDRV_O_RDWR | BDRV_O_UNMAP,
                                                  &error_abort);

    return blk_co_new_with_bs(bs, READ_WRITE, BLK_PERM_ALL, &error_abort);
}

static BlockBackend *coroutine_fn co_user(void)
{
    make_device();
    return co_user_of("DEVICE");
}

static int coroutine_fn co_write(BlockBackend *blk, int64_t offset, int64_t bytes, int value)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    memset(buf, value, bytes);
    return blk_co_pwrite(blk, offset, bytes, buf, 0);
}

static int coroutine_fn co_append(BlockBackend *blk, int64_t *offset, int64_t bytes, int value)
{
    g_autofree uint8_t *buf = g_malloc(bytes + 1);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, bytes);

    memset(buf, value, bytes);
    return blk_co_zone_append(blk, offset, &qiov, 0);
}

/* Where an append to the zone at @zone went, which must succeed. */
static int64_t coroutine_fn co_appended(BlockBackend *blk, int64_t zone, int64_t bytes, int value)
{
    g_assert_cmpint(co_append(blk, &zone, bytes, value), ==, 0);
    return zone;
}

static void coroutine_fn co_expect(BlockBackend *blk, int64_t offset, int64_t bytes, int value)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    g_assert_cmpint(blk_co_pread(blk, offset, bytes, buf, 0), ==, 0);
    for (int64_t i = 0; i < bytes; i++) {
        g_assert_cmpint(buf[i], ==, value);
    }
}

static BlockZoneDescriptor coroutine_fn co_zone(BlockBackend *blk, int64_t offset)
{
    BlockZoneDescriptor zone;
    unsigned n = 1;

    g_assert_cmpint(blk_co_zone_report(blk, offset, &n, &zone), ==, 0);
    g_assert_cmpint(n, ==, 1);
    g_assert_cmpint(zone.start, ==, offset / ZONE * ZONE);
    return zone;
}

/* ---- reports --------------------------------------------------------------------------------- */

static void coroutine_fn co_reports(void)
{
    BlockBackend *blk = co_user();
    BlockZoneLimits limits = blk_get_zone_limits(blk);
    BlockZoneDescriptor zones[N_ZONES + 1];
    unsigned n = N_ZONES + 1;

    g_assert_cmpint(limits.model, ==, BLK_Z_HM);
    g_assert_cmpint(limits.zone_size, ==, ZONE);
    g_assert_cmpint(limits.nr_zones, ==, N_ZONES);
    g_assert_cmpint(limits.max_append, ==, ZONE);
    g_assert_cmpint(limits.write_granularity, ==, 512);
    g_assert_cmpint(blk_co_zone_report(blk, 0, &n, zones), ==, 0);
    g_assert_cmpint(n, ==, N_ZONES);
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmpint(zones[i].start, ==, i * (int64_t)ZONE);
        g_assert_cmpint(zones[i].length, ==, ZONE);
        g_assert_cmpint(zones[i].cap, ==, i < N_CONV ? ZONE : CAP);
        g_assert_cmpint(zones[i].wp, ==, zones[i].start + (i < N_CONV ? ZONE : 0));
        g_assert_cmpint(zones[i].type, ==, i < N_CONV ? BLK_ZT_CONV : BLK_ZT_SWR);
        g_assert_cmpint(zones[i].state, ==, i < N_CONV ? BLK_ZS_NOT_WP : BLK_ZS_EMPTY);
    }
    n = 3;
    g_assert_cmpint(blk_co_zone_report(blk, SEQ(4) + 4096, &n, zones), ==, 0);
    g_assert_cmpint(n, ==, 2);
    g_assert_cmpint(zones[0].start, ==, SEQ(4));
    n = 0;
    g_assert_cmpint(blk_co_zone_report(blk, 0, &n, zones), ==, -EINVAL);
    n = 1;
    g_assert_cmpint(blk_co_zone_report(blk, SEQ(6), &n, zones), ==, -EINVAL);
    g_assert_cmpint(blk_co_zone_report(blk, -1, &n, zones), ==, -EINVAL);
    blk_co_unref(blk);
}

/* A device that says nonsense is not believed. */
static void coroutine_fn co_nonsense(void)
{
    BlockBackend *blk = co_user();
    BlockZoneDescriptor zone;
    unsigned n = 1;

    model.zone[3].cap = 2 * ZONE / 512;
    g_assert_cmpint(blk_co_zone_report(blk, SEQ(1), &n, &zone), ==, -EIO);
    g_assert_cmpint(co_write(blk, SEQ(1), 4096, 1), ==, -EIO);
    g_assert_cmpint(co_write(blk, SEQ(0), 4096, 1), ==, 0);
    blk_co_unref(blk);
    make_device();
    model.zone_sectors = 0;
    model.n_zones = 0;
    {
        Error *err = NULL;

        g_assert_null(co_open_json("DEVICE", BDRV_O_RDWR, &err));
        g_assert_cmpstr(error_get_pretty(err), ==,
                        "The zoned device does not say how large its zones are");
        error_free(err);
    }
}

static void coroutine_fn co_not_zoned(void)
{
    BlockZoneDescriptor zone;
    unsigned n = 1;
    int64_t offset = 0;
    BlockBackend *blk;

    make_device();
    model.kind = 'b';
    blk = co_user_of("DEVICE");
    g_assert_cmpint(blk_get_zone_limits(blk).model, ==, BLK_Z_NONE);
    g_assert_cmpint(blk_co_zone_report(blk, 0, &n, &zone), ==, -ENOTSUP);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, 0, ZONE), ==, -ENOTSUP);
    g_assert_cmpint(co_append(blk, &offset, 4096, 1), ==, -ENOTSUP);
    blk_co_unref(blk);
}

/* ---- writes ---------------------------------------------------------------------------------- */

static void coroutine_fn co_in_order(void)
{
    BlockBackend *blk = co_user();

    /* Anywhere in a conventional zone. */
    g_assert_cmpint(co_write(blk, 64 * KiB, 4096, 1), ==, 0);
    g_assert_cmpint(co_write(blk, 1000, 3000, 2), ==, 0);
    /* At the write pointer only. */
    g_assert_cmpint(co_write(blk, SEQ(0) + 4096, 4096, 3), ==, -EIO);
    g_assert_cmpint(co_write(blk, SEQ(0), 4096, 3), ==, 0);
    g_assert_cmpint(co_write(blk, SEQ(0), 4096, 4), ==, -EIO);
    g_assert_cmpint(co_write(blk, SEQ(0) + 4096, 8192, 5), ==, 0);
    g_assert_cmpint(co_zone(blk, SEQ(0)).wp, ==, SEQ(0) + 12288);
    g_assert_cmpint(co_zone(blk, SEQ(0)).state, ==, BLK_ZS_IOPEN);
    /* Zeroes are data, discards do nothing. */
    g_assert_cmpint(blk_co_pwrite_zeroes(blk, SEQ(0) + 12288, 4096, BDRV_REQ_MAY_UNMAP), ==, 0);
    g_assert_cmpint(co_zone(blk, SEQ(0)).wp, ==, SEQ(0) + 16384);
    g_assert_cmpint(blk_co_pdiscard(blk, SEQ(0), 4096), ==, 0);
    co_expect(blk, SEQ(0), 4096, 3);
    co_expect(blk, SEQ(0) + 4096, 8192, 5);
    co_expect(blk, SEQ(0) + 12288, 4096, 0);
    /* Not past what can be written; then it is full. */
    g_assert_cmpint(co_write(blk, SEQ(0) + 16384, CAP, 6), ==, -EIO);
    g_assert_cmpint(co_write(blk, SEQ(0) + 16384, CAP - 16384, 6), ==, 0);
    g_assert_cmpint(co_zone(blk, SEQ(0)).state, ==, BLK_ZS_FULL);
    g_assert_cmpint(co_write(blk, SEQ(0) + CAP, 4096, 6), ==, -EIO);
    blk_co_unref(blk);
}

/* One request over several zones is as many writes, in their order. */
static void coroutine_fn co_over_zones(void)
{
    BlockBackend *blk;

    make_device();
    dev_make_zoned(&model, N_ZONES, N_CONV, ZONE / 512, ZONE / 512);
    blk = co_user_of("{'driver': 'raw', 'file': DEVICE}");
    g_assert_cmpint(co_write(blk, SEQ(0) - 8192, ZONE + 12288, 7), ==, 0);
    co_expect(blk, SEQ(0) - 8192, ZONE + 12288, 7);
    g_assert_cmpint(co_zone(blk, SEQ(0)).state, ==, BLK_ZS_FULL);
    g_assert_cmpint(co_zone(blk, SEQ(1)).wp, ==, SEQ(1) + 4096);
    g_assert_cmpint(model.n_writes, ==, 3);
    blk_co_unref(blk);
}

static void coroutine_fn co_granularity(void)
{
    int64_t offset = SEQ(0);
    BlockBackend *blk;

    make_device();
    model.granularity = 4096;
    model.max_append = 16384;
    blk = co_user_of("DEVICE");
    g_assert_cmpint(blk_get_zone_limits(blk).max_append, ==, 16384);
    g_assert_cmpint(co_write(blk, SEQ(0), 512, 1), ==, -EIO);
    g_assert_cmpint(co_write(blk, 512, 512, 1), ==, 0);
    g_assert_cmpint(co_append(blk, &offset, 512, 1), ==, -EINVAL);
    g_assert_cmpint(co_append(blk, &offset, 20480, 1), ==, -EINVAL);
    g_assert_cmpint(co_append(blk, &offset, 16384, 1), ==, 0);
    g_assert_cmpint(co_write(blk, SEQ(0) + 16384, 8192, 1), ==, 0);
    blk_co_unref(blk);
}

/* What another user of the device wrote is found out. */
static void coroutine_fn co_others_write(void)
{
    BlockBackend *blk = co_user();

    g_assert_cmpint(co_write(blk, SEQ(0), 4096, 1), ==, 0);
    model.zone[N_CONV].wp += 8;
    g_assert_cmpint(co_write(blk, SEQ(0) + 8192, 4096, 1), ==, 0);
    model.zone[N_CONV].wp += 8;
    g_assert_cmpint(co_write(blk, SEQ(0) + 12288, 4096, 1), ==, -EIO);
    /* The failure told where it is. */
    g_assert_cmpint(co_appended(blk, SEQ(0), 4096, 2), ==, SEQ(0) + 16384);
    /* Who gives up writing does not believe what was once known. */
    g_assert_true(blk_co_set_perm(blk, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort));
    model.zone[N_CONV].wp += 16;
    g_assert_true(blk_co_set_perm(blk, READ_WRITE, BLK_PERM_ALL, &error_abort));
    g_assert_cmpint(co_appended(blk, SEQ(0), 4096, 3), ==, SEQ(0) + 28672);
    blk_co_unref(blk);
}

static void coroutine_fn co_torn(void)
{
    BlockBackend *blk = co_user();
    int64_t offset = SEQ(0);

    g_assert_cmpint(co_write(blk, SEQ(0), 4096, 1), ==, 0);
    model.tear_write = 1;
    g_assert_cmpint(co_write(blk, SEQ(0) + 4096, 8192, 2), ==, -EIO);
    g_assert_cmpint(co_write(blk, SEQ(0) + 8192, 4096, 3), ==, 0);
    model.tear_write = 1;
    g_assert_cmpint(co_append(blk, &offset, 8192, 4), ==, -EIO);
    g_assert_cmpint(offset, ==, SEQ(0));
    g_assert_cmpint(co_appended(blk, SEQ(0), 4096, 5), ==, SEQ(0) + 16384);
    co_expect(blk, SEQ(0) + 8192, 4096, 3);
    co_expect(blk, SEQ(0) + 16384, 4096, 5);
    blk_co_unref(blk);
}

static void coroutine_fn co_host_aware(void)
{
    BlockBackend *blk;

    make_device();
    model.is_host_aware = true;
    for (unsigned i = N_CONV; i < N_ZONES; i++) {
        model.zone[i].type = BLK_ZONE_TYPE_SEQWRITE_PREF;
    }
    blk = co_user_of("DEVICE");
    g_assert_cmpint(blk_get_zone_limits(blk).model, ==, BLK_Z_HA);
    g_assert_cmpint(co_write(blk, SEQ(0) + 8192, 4096, 1), ==, 0);
    g_assert_cmpint(co_appended(blk, SEQ(0), 4096, 2), ==, SEQ(0) + 12288);
    g_assert_cmpint(co_write(blk, SEQ(0), 4096, 3), ==, 0);
    g_assert_cmpint(co_appended(blk, SEQ(0), 4096, 4), ==, SEQ(0) + 16384);
    blk_co_unref(blk);
}

/* ---- appends --------------------------------------------------------------------------------- */

static void coroutine_fn co_appends(void)
{
    BlockBackend *blk = co_user();
    BlockAcctStats *stats = blk_get_stats(blk);
    int64_t offset = SEQ(0);

    block_acct_cleanup(stats);
    block_acct_init(stats, true, true);
    g_assert_cmpint(co_appended(blk, SEQ(0), 4096, 1), ==, SEQ(0));
    g_assert_cmpint(co_appended(blk, SEQ(0), 8192, 2), ==, SEQ(0) + 4096);
    g_assert_cmpint(co_appended(blk, SEQ(5), 512, 3), ==, SEQ(5));
    co_expect(blk, SEQ(0), 4096, 1);
    co_expect(blk, SEQ(0) + 4096, 8192, 2);
    g_assert_cmpint(stats->ops[BLOCK_ACCT_ZONE_APPEND], ==, 3);
    g_assert_cmpint(stats->bytes[BLOCK_ACCT_ZONE_APPEND], ==, 4096 + 8192 + 512);
    /* All of it or nothing. */
    g_assert_cmpint(co_append(blk, &offset, CAP - 8192, 4), ==, -EIO);
    g_assert_cmpint(co_zone(blk, SEQ(0)).wp, ==, SEQ(0) + 12288);
    g_assert_cmpint(stats->failed_ops[BLOCK_ACCT_ZONE_APPEND], ==, 1);
    g_assert_cmpint(co_appended(blk, SEQ(0), CAP - 12288, 5), ==, SEQ(0) + 12288);
    g_assert_cmpint(co_append(blk, &offset, 512, 6), ==, -EIO);
    /* Not where no zone starts, nor to one without write pointer, nor nothing, nor outside. */
    offset = SEQ(1) + 4096;
    g_assert_cmpint(co_append(blk, &offset, 4096, 7), ==, -EINVAL);
    offset = 0;
    g_assert_cmpint(co_append(blk, &offset, 4096, 7), ==, -EIO);
    offset = SEQ(1);
    g_assert_cmpint(co_append(blk, &offset, 0, 7), ==, -EINVAL);
    g_assert_cmpint(co_append(blk, &offset, 100, 7), ==, -EINVAL);
    offset = SEQ(6);
    g_assert_cmpint(co_append(blk, &offset, 4096, 7), ==, -EIO);
    g_assert_cmpint(stats->invalid_ops[BLOCK_ACCT_ZONE_APPEND], ==, 1);
    blk_co_unref(blk);
}

static bool is_dirty(BdrvDirtyBitmap *bitmap, int64_t offset)
{
    return bdrv_dirty_bitmap_get(bitmap, offset);
}

static void coroutine_fn co_bitmaps(void)
{
    BlockBackend *blk = co_user();
    BdrvDirtyBitmap *bitmap = bdrv_create_dirty_bitmap(blk_bs(blk), 4096, "b", &error_abort);

    g_assert_cmpint(co_appended(blk, SEQ(0), 4096, 1), ==, SEQ(0));
    g_assert_cmpint(co_appended(blk, SEQ(0), 4096, 1), ==, SEQ(0) + 4096);
    g_assert_true(is_dirty(bitmap, SEQ(0) + 4096));
    g_assert_false(is_dirty(bitmap, SEQ(0) + 8192));
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_FINISH, SEQ(1), ZONE), ==, 0);
    g_assert_false(is_dirty(bitmap, SEQ(1)));
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, SEQ(1), ZONE), ==, 0);
    g_assert_true(is_dirty(bitmap, SEQ(1)));
    g_assert_true(is_dirty(bitmap, SEQ(1) + ZONE - 4096));
    g_assert_false(is_dirty(bitmap, SEQ(2)));
    bdrv_release_dirty_bitmap(bitmap);
    blk_co_unref(blk);
}

/* ---- states ---------------------------------------------------------------------------------- */

static void coroutine_fn co_states(void)
{
    BlockBackend *blk = co_user();

    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_OPEN, SEQ(0), 2 * ZONE), ==, 0);
    g_assert_cmpint(co_zone(blk, SEQ(1)).state, ==, BLK_ZS_EOPEN);
    g_assert_cmpint(co_write(blk, SEQ(1), 4096, 1), ==, 0);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_CLOSE, SEQ(0), 2 * ZONE), ==, 0);
    g_assert_cmpint(co_zone(blk, SEQ(0)).state, ==, BLK_ZS_EMPTY);
    g_assert_cmpint(co_zone(blk, SEQ(1)).state, ==, BLK_ZS_CLOSED);
    g_assert_cmpint(co_write(blk, SEQ(1) + 4096, 4096, 2), ==, 0);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_FINISH, SEQ(1), ZONE), ==, 0);
    g_assert_cmpint(co_zone(blk, SEQ(1)).state, ==, BLK_ZS_FULL);
    g_assert_cmpint(co_zone(blk, SEQ(1)).wp, ==, SEQ(2));
    g_assert_cmpint(co_write(blk, SEQ(1) + 8192, 4096, 2), ==, -EIO);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, SEQ(1), ZONE), ==, 0);
    co_expect(blk, SEQ(1), 8192, 0);
    g_assert_cmpint(co_write(blk, SEQ(1), 4096, 3), ==, 0);
    /* Of the whole device: conventional zones keep what they have. */
    g_assert_cmpint(co_write(blk, 0, 4096, 4), ==, 0);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, 0, N_ZONES * ZONE), ==, 0);
    co_expect(blk, 0, 4096, 4);
    g_assert_cmpint(co_zone(blk, SEQ(1)).state, ==, BLK_ZS_EMPTY);
    /* Whole zones, inside the device, with a write pointer. */
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, 0, ZONE), ==, -EIO);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, SEQ(0) + 4096, ZONE), ==, -EINVAL);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, SEQ(0), 4096), ==, -EINVAL);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, SEQ(0), 0), ==, -EINVAL);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, SEQ(5), 2 * ZONE), ==, -EINVAL);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, INT64_MAX - ZONE + 1, ZONE), ==, -EINVAL);
    blk_co_unref(blk);
}

static void coroutine_fn co_failing_reset(void)
{
    BlockBackend *blk = co_user();

    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(co_write(blk, SEQ(i), 4096 * (i + 1), 1), ==, 0);
    }
    model.fail_mgmt = 2;
    model.mgmt_errno = EREMOTEIO;
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, SEQ(0), 3 * ZONE), ==, -EREMOTEIO);
    g_assert_cmpint(co_appended(blk, SEQ(0), 4096, 2), ==, SEQ(0));
    g_assert_cmpint(co_appended(blk, SEQ(1), 4096, 2), ==, SEQ(1) + 8192);
    g_assert_cmpint(co_appended(blk, SEQ(2), 4096, 2), ==, SEQ(2) + 12288);
    blk_co_unref(blk);
}

static void coroutine_fn co_resources(void)
{
    int64_t offset = SEQ(3);
    BlockBackend *blk;

    make_device();
    model.max_open = 2;
    model.max_active = 3;
    blk = co_user_of("DEVICE");
    g_assert_cmpint(blk_get_zone_limits(blk).max_open_zones, ==, 2);
    g_assert_cmpint(blk_get_zone_limits(blk).max_active_zones, ==, 3);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_OPEN, SEQ(0), 2 * ZONE), ==, 0);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_OPEN, SEQ(2), ZONE), ==, -ETOOMANYREFS);
    g_assert_cmpint(co_write(blk, SEQ(0), 4096, 1), ==, 0);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_CLOSE, SEQ(0), ZONE), ==, 0);
    g_assert_cmpint(co_write(blk, SEQ(2), 4096, 1), ==, 0);
    g_assert_cmpint(co_append(blk, &offset, 4096, 1), ==, -EOVERFLOW);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_FINISH, SEQ(0), ZONE), ==, 0);
    g_assert_cmpint(co_append(blk, &offset, 4096, 1), ==, 0);
    /* Dead zones. */
    model.zone[N_CONV + 4].cond = BLK_ZONE_COND_READONLY;
    model.zone[N_CONV + 5].cond = BLK_ZONE_COND_OFFLINE;
    g_assert_cmpint(co_write(blk, SEQ(4), 4096, 1), ==, -EIO);
    offset = SEQ(5);
    g_assert_cmpint(co_append(blk, &offset, 4096, 1), ==, -EIO);
    blk_co_unref(blk);
}

/* ---- several writers ------------------------------------------------------------------------- */

#define WRITERS 4
#define APPENDS 40

typedef struct Writer {
    BlockBackend *blk;
    GRand *rand;
    int id;
    int64_t where[APPENDS];
    int *running;
    Coroutine *waiter;
} Writer;

static void coroutine_fn co_keep_appending(void *opaque)
{
    Writer *w = opaque;

    for (int i = 0; i < APPENDS; i++) {
        /* The zones have room for all, and no more. */
        w->where[i] = co_appended(w->blk, SEQ(i % 4), 2048 + 512 * (i % 3 - 1), w->id + i);
    }
    if (qatomic_fetch_dec(w->running) == 1) {
        aio_co_wake(w->waiter);
    }
}

static void coroutine_fn co_several(bool in_threads)
{
    g_autofree Writer *writers = g_new0(Writer, WRITERS);
    g_autofree IOThread **threads = g_new0(IOThread *, WRITERS);
    BlockBackend *blk = co_user();
    int running = WRITERS + 1;

    for (int i = 0; i < WRITERS; i++) {
        g_autofree char *name = g_strdup_printf("t%d", i);
        Coroutine *co = qemu_coroutine_create(co_keep_appending, &writers[i]);

        writers[i] = (Writer){ .blk = blk, .id = i * APPENDS, .running = &running,
                               .waiter = qemu_coroutine_self() };
        if (in_threads) {
            threads[i] = iothread_create(name, &error_abort);
            aio_co_schedule(iothread_get_aio_context(threads[i]), co);
        } else {
            aio_co_schedule(qemu_get_aio_context(), co);
        }
    }
    if (qatomic_fetch_dec(&running) != 1) {
        qemu_coroutine_yield();
    }
    for (int i = 0; i < WRITERS * APPENDS; i++) {
        int n = i % APPENDS;

        co_expect(blk, writers[i / APPENDS].where[n], 2048 + 512 * (n % 3 - 1), i);
    }
    for (int i = 0; i < WRITERS && in_threads; i++) {
        iothread_unref(threads[i]);
    }
    blk_co_unref(blk);
}

static void coroutine_fn co_appends_together(void)
{
    co_several(false);
}

static void coroutine_fn co_appends_of_threads(void)
{
    co_several(true);
}

typedef struct Filler {
    BlockBackend *blk;
    int left;
    int done;
    int64_t at;
} Filler;

static void coroutine_fn co_fill(void *opaque)
{
    Filler *f = opaque;
    int64_t offset = SEQ(0);

    g_assert_cmpint(co_append(f->blk, &offset, 4096, 9), ==, 0);
    f->at = MAX(f->at, offset);
    f->done++;
}

/* A reset comes between writes, never into one; a drain waits for all of them. */
static void coroutine_fn co_reset_waits(void)
{
    BlockBackend *blk = co_user();
    Filler f = { .blk = blk };

    for (int i = 0; i < 4; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(co_fill, &f));
    }
    g_assert_cmpint(f.done, <, 4);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, SEQ(0), ZONE), ==, 0);
    g_assert_cmpint(f.done, ==, 4);
    g_assert_cmpint(co_zone(blk, SEQ(0)).wp, ==, SEQ(0));
    qemu_coroutine_enter(qemu_coroutine_create(co_fill, &f));
    bdrv_co_drain(blk_bs(blk));
    g_assert_cmpint(f.done, ==, 5);
    blk_co_unref(blk);
}

/* Writes sent one after the other without waiting reach the device in that order. */
typedef struct Sent {
    BlockBackend *blk;
    int64_t offset;
    int *left;
    Coroutine *waiter;
} Sent;

static void coroutine_fn co_send(void *opaque)
{
    Sent *sent = opaque;

    g_assert_cmpint(co_write(sent->blk, sent->offset, 512, 1), ==, 0);
    if (--*sent->left == 0) {
        aio_co_wake(sent->waiter);
    }
}

static void coroutine_fn co_queue_of_writes(void)
{
    BlockBackend *blk = co_user();
    Sent sent[CAP / 512];
    int left = ARRAY_SIZE(sent);

    for (unsigned i = 0; i < ARRAY_SIZE(sent); i++) {
        sent[i] = (Sent){ blk, SEQ(0) + i * 512, &left, qemu_coroutine_self() };
        qemu_coroutine_enter(qemu_coroutine_create(co_send, &sent[i]));
    }
    qemu_coroutine_yield();
    g_assert_cmpint(co_zone(blk, SEQ(0)).state, ==, BLK_ZS_FULL);
    blk_co_unref(blk);
}

/* ---- against the model ----------------------------------------------------------------------- */

/* What the test believes of a zone. */
typedef struct Believed {
    int64_t wp;
    uint8_t data[ZONE];
} Believed;

static void coroutine_fn co_random_step(BlockBackend *blk, GRand *rand, Believed *all)
{
    unsigned i = test_rand_below(rand, N_ZONES - N_CONV);
    Believed *zone = &all[i];
    int64_t bytes = 512 * (1 + test_rand_below(rand, 40)), offset = SEQ(i);
    int value = test_rand_below(rand, 256), ret;
    bool fits = bytes <= CAP - zone->wp;

    switch (test_rand_below(rand, 8)) {
    case 0:
        g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, offset, ZONE), ==, 0);
        memset(zone, 0, sizeof(*zone));
        return;
    case 1:
        model.tear_write = 1;
        ret = co_append(blk, &offset, bytes, value);
        g_assert_cmpint(ret, ==, -EIO);
        model.tear_write = 0;
        bytes = fits ? bytes / 2 & ~511 : 0;
        break;
    case 2:
        offset += zone->wp + 512;
        g_assert_cmpint(co_write(blk, offset, 512, value), ==, -EIO);
        return;
    case 3:
    case 4:
        ret = co_write(blk, offset + zone->wp, bytes, value);
        g_assert_cmpint(ret, ==, fits ? 0 : -EIO);
        bytes = fits ? bytes : 0;
        break;
    default:
        ret = co_append(blk, &offset, bytes, value);
        g_assert_cmpint(ret, ==, fits ? 0 : -EIO);
        g_assert_cmpint(offset, ==, fits ? SEQ(i) + zone->wp : SEQ(i));
        bytes = fits ? bytes : 0;
    }
    memset(zone->data + zone->wp, value, bytes);
    zone->wp += bytes;
}

static void coroutine_fn co_random(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    g_autofree Believed *all = g_new0(Believed, N_ZONES - N_CONV);
    g_autofree uint8_t *buf = g_malloc(ZONE);
    BlockBackend *blk;

    make_device();
    blk = co_user_of("{'driver': 'raw', 'file': DEVICE}");
    for (int step = 0; step < 400; step++) {
        co_random_step(blk, rand, all);
    }
    for (unsigned i = 0; i < N_ZONES - N_CONV; i++) {
        BlockZoneDescriptor zone = co_zone(blk, SEQ(i));

        g_assert_cmpint(zone.wp, ==, SEQ(i) + (all[i].wp == CAP ? ZONE : all[i].wp));
        g_assert_cmpint(blk_co_pread(blk, SEQ(i), ZONE, buf, 0), ==, 0);
        g_assert_cmpmem(buf, ZONE, all[i].data, ZONE);
    }
    blk_co_unref(blk);
}

/* ---- what stands above ----------------------------------------------------------------------- */

static void coroutine_fn co_raw_window(void)
{
    BlockZoneDescriptor zones[N_ZONES];
    unsigned n = N_ZONES;
    BlockBackend *blk;

    make_device();
    /* Zones 2 to 4. */
    blk = co_user_of("{'driver': 'raw', 'offset': 262144, 'size': 393216, 'file': DEVICE}");
    g_assert_cmpint(blk_get_zone_limits(blk).nr_zones, ==, 3);
    g_assert_cmpint(co_appended(blk, ZONE, 4096, 1), ==, ZONE);
    g_assert_cmpint(co_appended(blk, ZONE, 4096, 1), ==, ZONE + 4096);
    g_assert_cmpint(blk_co_zone_report(blk, 0, &n, zones), ==, 0);
    g_assert_cmpint(n, ==, 3);
    g_assert_cmpint(zones[1].start, ==, ZONE);
    g_assert_cmpint(zones[1].wp, ==, ZONE + 8192);
    g_assert_cmpint(model.zone[3].wp, ==, (SEQ(1) + 8192) / 512);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, 0, 3 * ZONE), ==, 0);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, 3 * ZONE, ZONE), ==, -EINVAL);
    g_assert_cmpint(co_zone(blk, ZONE).state, ==, BLK_ZS_EMPTY);
    blk_co_unref(blk);
    /* Off the zones' bounds there are none. */
    blk = co_user_of("{'driver': 'raw', 'offset': 4096, 'file': DEVICE}");
    g_assert_cmpint(blk_get_zone_limits(blk).model, ==, BLK_Z_NONE);
    g_assert_cmpint(blk_co_zone_report(blk, 0, &n, zones), ==, -ENOTSUP);
    blk_co_unref(blk);
}

static void coroutine_fn co_throttled(void)
{
    g_autoptr(ThrottleGroup) group = throttle_group_use_or_new("g");
    BlockBackend *blk;

    make_device();
    blk = co_user_of("{'driver': 'throttle', 'throttle-group': 'g', 'file': DEVICE}");
    g_assert_cmpint(co_appended(blk, SEQ(0), 4096, 1), ==, SEQ(0));
    g_assert_cmpint(co_write(blk, SEQ(0) + 4096, 4096, 1), ==, 0);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_FINISH, SEQ(0), ZONE), ==, 0);
    g_assert_cmpint(co_zone(blk, SEQ(0)).state, ==, BLK_ZS_FULL);
    blk_co_unref(blk);
}

/* What writes in another order than it is told to has no place above zones. */
static void coroutine_fn co_refused_above(void)
{
    static const char *const above[] = {
        "{'driver': 'copy-on-read', 'file': {'driver': 'host_device', 'node-name': 'zoned', %s",
        "{'driver': 'preallocate', 'file': {'driver': 'host_device', 'node-name': 'zoned', %s",
        ("{'driver': 'blkverify', 'test': {'driver': 'null-co'}, "
         "'raw': {'driver': 'host_device', 'node-name': 'zoned', %s"),
    };
    g_autofree char *rest = g_strdup_printf("'filename': '%s', 'cache': {'direct': true}}}", path);

    make_device();
    for (unsigned i = 0; i < ARRAY_SIZE(above); i++) {
        g_autofree char *json = g_strdup_printf(above[i], rest);
        Error *err = NULL;

        g_assert_null(co_open_json(json, BDRV_O_RDWR, &err));
        g_assert_nonnull(strstr(error_get_pretty(err),
                                "cannot use 'zoned', a host-managed zoned device"));
        error_free(err);
    }
}

static void coroutine_fn co_rights(void)
{
    g_autofree char *json = g_strdup_printf("{'driver': 'host_device', 'filename': '%s'}", path);
    g_autoptr(BlockDriverState) bs = NULL;
    BlockZoneDescriptor zone;
    unsigned n = 1;
    Error *err = NULL;
    BlockBackend *blk;

    /* Through the page cache: only for reading. */
    make_device();
    bs = co_open_json(json, BDRV_O_RDWR, &error_abort);
    g_assert_null(blk_co_new_with_bs(bs, READ_WRITE, BLK_PERM_ALL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "A host-managed zoned device can only be written with cache.direct=on");
    error_free(err);
    blk = blk_co_new_with_bs(bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, &error_abort);
    g_assert_cmpint(blk_co_zone_report(blk, 0, &n, &zone), ==, 0);
    g_assert_cmpint(blk_co_zone_mgmt(blk, BLK_ZO_RESET, SEQ(0), ZONE), ==, -EPERM);
    g_assert_cmpint(co_append(blk, &(int64_t){ SEQ(0) }, 4096, 1), ==, -EPERM);
    g_assert_cmpint(model.n_mgmt + model.n_writes, ==, 0);
    blk_co_unref(blk);
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/zoned/report/tells-all", co_reports },
        { "/zoned/report/nonsense", co_nonsense },
        { "/zoned/report/other-devices-have-none", co_not_zoned },
        { "/zoned/write/in-order", co_in_order },
        { "/zoned/write/over-zones", co_over_zones },
        { "/zoned/write/granularity", co_granularity },
        { "/zoned/write/others-do", co_others_write },
        { "/zoned/write/torn", co_torn },
        { "/zoned/write/host-aware", co_host_aware },
        { "/zoned/write/queue-keeps-its-order", co_queue_of_writes },
        { "/zoned/append/tells-where", co_appends },
        { "/zoned/append/bitmaps-see-it", co_bitmaps },
        { "/zoned/append/several-together", co_appends_together },
        { "/zoned/append/of-several-threads", co_appends_of_threads },
        { "/zoned/mgmt/states", co_states },
        { "/zoned/mgmt/failing-reset", co_failing_reset },
        { "/zoned/mgmt/resources", co_resources },
        { "/zoned/mgmt/waits-for-writes", co_reset_waits },
        { "/zoned/model/random", co_random },
        { "/zoned/above/raw-window", co_raw_window },
        { "/zoned/above/throttle", co_throttled },
        { "/zoned/above/refused", co_refused_above },
        { "/zoned/above/rights", co_rights },
    };

    test_init(&argc, &argv);
    path = test_tmpfile("zoned.img");
    dev = &model;
    dev_match = "/zoned.img";
    qemu_init_main_loop(&error_abort);
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
