/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts while an image is compacted and written at the same time (R14, R15): in each state the
 * image is the old one or the new one.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "block/snapshot.h"
#include "crash-lab.h"
#include "secrets.h"

#define OPEN "{'driver': 'qcow2', 'discard': 'unmap', " \
             "'file': {'driver': 'file', 'filename': 'disk'}}"
#define OPEN_ENCRYPTED "{'driver': 'qcow2', 'discard': 'unmap', " \
                       "'encrypt': {'format': 'auto', 'key-secret': 'keeper'}, " \
                       "'file': {'driver': 'file', 'filename': 'disk'}}"
#define MAKE "'driver': 'qcow2', 'file': 'file-disk'"
#define LUKS "'encrypt': {'format': 'luks', 'key-secret': 'keeper', 'iter-time': 1, " \
    "'cipher-alg': 'aes-128', 'cipher-mode': 'cbc', 'ivgen-alg': 'essiv'}"
#define AES "'encrypt': {'format': 'qcow', 'key-secret': 'keeper'}"

/* What all runs gained: a test in which nothing moves proves nothing. */
static int64_t gained;

/* Some of the file is free: what the disk held at first was written and dropped. */
static void coroutine_fn co_make_holes(CrashRun *r)
{
    int64_t bytes = r->k->disk_bytes;
    g_autofree uint8_t *buf = g_malloc0(bytes);

    memset(buf, 0x11, bytes);
    g_assert_cmpint(bdrv_co_pwrite(r->user->root, 0, bytes, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_pdiscard(r->user->root, 0, bytes), ==, 0);
    g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
    memset(buf, 0, bytes);
    g_assert_cmpint(bdrv_co_pwrite(r->user->root, bytes / 2, bytes / 2, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_pwrite(r->user->root, 0, bytes / 2, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_pdiscard(r->user->root, bytes / 2, bytes / 4), ==, 0);
    g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
}

static void coroutine_fn co_make_holes_below_snapshot(CrashRun *r)
{
    co_make_holes(r);
    g_assert_true(bdrv_co_snapshot_create_now(r->user->bs, "kept", &error_abort));
}

/* Compressed clusters, of which some go; all of the disk is zeroes again then, as others expect. */
static void coroutine_fn co_make_packed_holes(CrashRun *r)
{
    uint32_t size = r->k->cluster_size;
    g_autofree uint8_t *buf = g_malloc0(size);

    co_make_holes(r);
    for (int64_t at = 0; at < r->k->disk_bytes; at += size) {
        for (uint32_t i = 0; i < size / 3; i++) {
            buf[i] = g_rand_int(r->rand);
        }
        g_assert_cmpint(bdrv_co_pwrite(r->user->root, at, size, buf, BDRV_REQ_WRITE_COMPRESSED), ==,
                        0);
    }
    memset(buf, 0, size);
    for (int64_t at = 0; at < r->k->disk_bytes; at += size) {
        g_assert_cmpint(bdrv_co_pwrite(r->user->root, at, size, buf, at % (5 * size) ? 0
                                       : BDRV_REQ_WRITE_COMPRESSED), ==, 0);
    }
    g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
}

/* A bitmap that is stored at the end. */
static void coroutine_fn co_make_holes_below_bitmap(CrashRun *r)
{
    BdrvDirtyBitmap *bitmap = bdrv_create_dirty_bitmap(r->user->bs, 512, "kept", &error_abort);

    bdrv_dirty_bitmap_set_persistence(bitmap, true);
    co_make_holes(r);
    mem_co_unuse(r->user);
    r->user = lab_co_use(r->k->open, BDRV_O_RDWR | BDRV_O_UNMAP);
}

/* It is there, good or in use. */
static void coroutine_fn co_judge_bitmap(CrashRun *r, MemUser *user, guint cut)
{
    g_assert_nonnull(bdrv_find_dirty_bitmap(user->bs, "kept"));
}

static void coroutine_fn co_compact(CrashRun *r)
{
    int64_t step, left;

    for (int i = 0; i < 4; i++) {
        step = bdrv_co_compact(r->user->bs, 64 * KiB, &left, &error_abort);
        g_assert_cmpint(step, >=, 0);
        gained += step;
    }
}

#define CASE(name, prepare, size, n_rounds) \
    { .path = "/qcow2/crash/R14-compact/" name, \
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': " #size "}" }, .open = OPEN, \
      .disk_bytes = 256 * KiB, .cluster_size = size, .mix = { 10, 1, 1, 3, 16 }, \
      .rounds = n_rounds, .step = 3, .co_prepare = prepare, .co_beside = co_compact }

#define ENCRYPTED(name, prepare, options, n_rounds) \
    { .path = "/qcow2/crash/R14-compact/" name, \
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096, " options "}" }, \
      .open = OPEN_ENCRYPTED, .disk_bytes = 256 * KiB, .cluster_size = 4096, \
      .mix = { 10, 1, 1, 3, 16 }, .rounds = n_rounds, .step = 5, .co_prepare = prepare, \
      .co_beside = co_compact }
#define NB_ENCRYPTED 3 /* the last ones */

static const CrashCase cases[] = {
    CASE("beside-writes", co_make_holes, 4096, 12),
    CASE("small-clusters", co_make_holes, 512, 6),
    CASE("with-a-snapshot", co_make_holes_below_snapshot, 4096, 8),
    { .path = "/qcow2/crash/R14-compact/compressed",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096}" }, .open = OPEN,
      .disk_bytes = 256 * KiB, .cluster_size = 4096, .mix = { 6, 1, 1, 3, 8, .compress = 4 },
      .rounds = 8, .step = 3, .co_prepare = co_make_packed_holes, .co_beside = co_compact },
    { .path = "/qcow2/crash/R14-compact/bitmap",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096}" }, .open = OPEN,
      .disk_bytes = 256 * KiB, .cluster_size = 4096, .mix = { 10, 1, 1, 3, 16 },
      .rounds = 8, .step = 3, .co_prepare = co_make_holes_below_bitmap, .co_beside = co_compact,
      .co_judge = co_judge_bitmap },
    ENCRYPTED("luks", co_make_holes, LUKS, 8),
    ENCRYPTED("luks-snapshot", co_make_holes_below_snapshot, LUKS, 4),
    ENCRYPTED("aes", co_make_holes, AES, 4),
};

int main(int argc, char **argv)
{
    guint n = ARRAY_SIZE(cases) - (lab_add_secrets() ? 0 : NB_ENCRYPTED);
    int ret = crash_lab_main(argc, argv, cases, n);

    printf("# %" PRId64 " bytes gained\n", gained);
    return ret ? ret : gained == 0;
}
