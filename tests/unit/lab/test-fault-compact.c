/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Failing calls while an image is compacted: plain, compressed and encrypted clusters, a bitmap in
 * the way.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "fault-lab.h"
#include "secrets.h"

#define OPEN "{'driver': 'qcow2', 'discard': 'unmap', " \
             "'file': {'driver': 'file', 'filename': 'disk'}}"
#define OPEN_ENCRYPTED "{'driver': 'qcow2', 'discard': 'unmap', " \
                       "'encrypt': {'format': 'luks', 'key-secret': 'keeper'}, " \
                       "'file': {'driver': 'file', 'filename': 'disk'}}"
#define MAKE_ANY "'driver': 'qcow2', 'file': 'file-disk', 'size': 262144, 'cluster-size': 4096"
#define MAKE "{" MAKE_ANY "}"
#define MAKE_ENCRYPTED "{" MAKE_ANY ", 'encrypt': {'format': 'luks', 'key-secret': 'keeper', " \
    "'iter-time': 1, 'cipher-alg': 'aes-128', 'cipher-mode': 'cbc'}}"
#define SIZE (256 * KiB)
#define CLUSTER 4096

/* In all runs: a test in which nothing moves proves nothing. */
static int64_t gained;

static uint8_t value_at(int64_t offset)
{
    return offset < SIZE / 2 ? 0 : 1 + offset / CLUSTER;
}

static void coroutine_fn co_write(FaultRun *r, int64_t from, int64_t to, BdrvRequestFlags flags)
{
    uint8_t buf[CLUSTER];

    for (int64_t at = from; at < to; at += CLUSTER) {
        memset(buf, value_at(at) ? value_at(at) : 0xee, CLUSTER);
        g_assert_cmpint(bdrv_co_pwrite(r->user->root, at, CLUSTER, buf, flags), ==, 0);
    }
}

/* The first half is written first, and dropped at last. */
static void coroutine_fn co_prepare_plain(FaultRun *r)
{
    co_write(r, 0, SIZE, 0);
    g_assert_cmpint(bdrv_co_pdiscard(r->user->root, 0, SIZE / 2), ==, 0);
    g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
}

static void coroutine_fn co_prepare_packed(FaultRun *r)
{
    co_write(r, 0, SIZE / 2, 0);
    co_write(r, SIZE / 2, SIZE, BDRV_REQ_WRITE_COMPRESSED);
    g_assert_cmpint(bdrv_co_pdiscard(r->user->root, 0, SIZE / 2), ==, 0);
    g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
}

static void coroutine_fn co_prepare_bitmap(FaultRun *r)
{
    BdrvDirtyBitmap *bitmap;

    co_write(r, 0, SIZE / 2, 0);
    bitmap = bdrv_create_dirty_bitmap(r->user->bs, 512, "kept", &error_abort);
    bdrv_dirty_bitmap_set_persistence(bitmap, true);
    co_write(r, SIZE / 2, SIZE, 0);
    mem_co_unuse(r->user);
    r->user = lab_co_use(OPEN, BDRV_O_RDWR | BDRV_O_UNMAP);
    g_assert_cmpint(bdrv_co_pdiscard(r->user->root, 0, SIZE / 2), ==, 0);
    g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
}

static bool coroutine_fn co_compact(FaultRun *r, Error **errp)
{
    int64_t gain, left;

    do {
        gain = bdrv_co_compact(r->user->bs, 64 * KiB, &left, errp);
        gained += MAX(gain, 0);
    } while (gain > 0);
    return gain == 0;
}

static void coroutine_fn co_judge(FaultRun *r, bool done)
{
    g_autofree uint8_t *buf = g_malloc(SIZE);

    g_assert_cmpint(bdrv_co_pread(r->user->root, 0, SIZE, buf, 0), ==, 0);
    for (int64_t i = 0; i < SIZE; i++) {
        g_assert_cmphex(buf[i], ==, value_at(i));
    }
}

static void coroutine_fn co_judge_bitmap(FaultRun *r, bool done)
{
    co_judge(r, done);
    g_assert_nonnull(bdrv_find_dirty_bitmap(r->user->bs, "kept"));
}

static const FaultCase cases[] = {
    { .path = "/qcow2/fault/compact/plain", .create = { MAKE }, .open = OPEN,
      .co_prepare = co_prepare_plain, .co_operate = co_compact, .co_judge = co_judge },
    { .path = "/qcow2/fault/compact/compressed", .create = { MAKE }, .open = OPEN,
      .co_prepare = co_prepare_packed, .co_operate = co_compact, .co_judge = co_judge },
    { .path = "/qcow2/fault/compact/bitmap", .create = { MAKE }, .open = OPEN,
      .co_prepare = co_prepare_bitmap, .co_operate = co_compact, .co_judge = co_judge_bitmap },
    { .path = "/qcow2/fault/compact/encrypted", .create = { MAKE_ENCRYPTED },
      .open = OPEN_ENCRYPTED, .co_prepare = co_prepare_plain, .co_operate = co_compact,
      .co_judge = co_judge },
};

int main(int argc, char **argv)
{
    guint n = ARRAY_SIZE(cases) - (lab_add_secrets() ? 0 : 1);
    int ret = fault_lab_main(argc, argv, cases, n);

    printf("# %" PRId64 " bytes gained\n", gained);
    return ret ? ret : gained == 0;
}
