/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts of qcow2.  Cases bear the numbers of the rules in block/format/qcow2/README.md that
 * they are meant to break.
 */
#include "qemu/osdep.h"

#include "../../../block/format/qcow2/layout.h"
#include "block/snapshot.h"
#include "crash-lab.h"
#include "qemu/bswap.h"
#include "qemu/iszero.h"

#define DISK "'driver': 'qcow2', 'file': {'driver': 'file', 'filename': 'disk'}"
#define OPEN "{" DISK "}"
#define DATA_FILE "'data-file': {'driver': 'file', 'filename': 'data'}"
#define MAKE "'driver': 'qcow2', 'file': 'file-disk'"

/* Larger by a lot, which moves the L1 table, while the others go on. */
static void coroutine_fn co_resize(CrashRun *r)
{
    for (int i = 2; i <= 128; i *= 4) {
        g_assert_cmpint(bdrv_co_truncate(r->user->root, i * r->k->disk_bytes, true,
                                         PREALLOC_MODE_OFF, 0, &error_abort), ==, 0);
    }
}

/* Larger, written to, and as small as before: clusters go, and the file gets shorter. */
static void coroutine_fn co_shrink(CrashRun *r)
{
    g_autofree uint8_t *buf = g_malloc(r->k->disk_bytes);

    memset(buf, 0x5a, r->k->disk_bytes);
    for (int i = 0; i < 4; i++) {
        g_assert_cmpint(bdrv_co_truncate(r->user->root, 2 * r->k->disk_bytes, true,
                                         PREALLOC_MODE_OFF, 0, &error_abort), ==, 0);
        g_assert_cmpint(bdrv_co_pwrite(r->user->root, r->k->disk_bytes, r->k->disk_bytes, buf, 0),
                        ==, 0);
        g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
        g_assert_cmpint(bdrv_co_truncate(r->user->root, r->k->disk_bytes, true, PREALLOC_MODE_OFF,
                                         0, &error_abort), ==, 0);
    }
}

/* ---- the header (R5) ------------------------------------------------------------------------- */

static const uint8_t *header(void)
{
    return mem_file("disk")->data->data;
}

/* Is the header written about here? */
static bool is_about_header(const CrashRun *r, guint cut)
{
    for (guint i = MAX(cut, 2) - 2; i < MIN(cut + 2, r->log->len); i++) {
        const MemOp *op = &g_array_index(r->log, MemOp, i);

        if (op->kind == MEM_WRITE && op->offset < 512) {
            return true;
        }
    }
    return false;
}

static void coroutine_fn co_write_far(CrashRun *r, int64_t from, int64_t to)
{
    g_autofree uint8_t *buf = g_malloc(to - from);

    memset(buf, 0x5a, to - from);
    g_assert_cmpint(bdrv_co_pwrite(r->user->root, from, to - from, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
}

/* Nearly all that one cluster of refcount table can count is in use, ... */
static void coroutine_fn co_fill_table(CrashRun *r)
{
    co_write_far(r, 1 * MiB, 1 * MiB + 1700 * KiB);
}

/* ... and then more. */
static void coroutine_fn co_grow_table(CrashRun *r)
{
    g_assert_cmpuint(ldl_be_p(header() + QCOW2_HDR_REFTABLE + 8), ==, 1);
    for (int64_t at = 3 * MiB; at < 3 * MiB + 512 * KiB; at += 64 * KiB) {
        co_write_far(r, at, at + 64 * KiB);
    }
    g_assert_cmpuint(ldl_be_p(header() + QCOW2_HDR_REFTABLE + 8), >, 1);
}

/* The machine's state lies behind the end of the disk ... */
static void coroutine_fn co_save_state(CrashRun *r)
{
    g_autofree uint8_t *buf = g_malloc(100 * KiB);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, 100 * KiB);

    memset(buf, 0x99, 100 * KiB);
    g_assert_cmpint(bdrv_co_save_vmstate(r->user->bs, &qiov, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
}

/* What was cut off in the middle of a cluster lies there still ... */
static void coroutine_fn co_cut_off(CrashRun *r)
{
    int64_t size = r->k->disk_bytes;

    g_assert_cmpint(bdrv_co_truncate(r->user->root, 2 * size, true, PREALLOC_MODE_OFF, 0,
                                     &error_abort), ==, 0);
    co_write_far(r, size, 2 * size);
    g_assert_cmpint(bdrv_co_truncate(r->user->root, size, true, PREALLOC_MODE_OFF, 0,
                                     &error_abort), ==, 0);
    g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
}

/* ... and the disk grows over it ... */
static void coroutine_fn co_grow_over(CrashRun *r)
{
    g_assert_cmpint(bdrv_co_truncate(r->user->root, 4 * r->k->disk_bytes, true, PREALLOC_MODE_OFF,
                                     0, &error_abort), ==, 0);
}

/* ... and never shows it. */
static void coroutine_fn co_judge_grown(CrashRun *r, MemUser *user, guint cut)
{
    int64_t more = bdrv_getlength(user->bs) - r->k->disk_bytes;
    g_autofree uint8_t *buf = g_malloc(MAX(more, 1));

    g_assert_true(more == 0 || more == 3 * r->k->disk_bytes);
    g_assert_cmpint(bdrv_co_pread(user->root, r->k->disk_bytes, more, buf, 0), ==, 0);
    g_assert_true(buffer_is_zero(buf, more));
}

/* Nor is there anything to mend in an image whose refcounts may be lazy (R7). */
static void coroutine_fn co_judge_clean(CrashRun *r, MemUser *user, guint cut)
{
    g_assert_cmpint(header()[QCOW2_HDR_INCOMPAT + 7] & QCOW2_INCOMPAT_DIRTY, ==, 0);
}

static const CrashCase cases[] = {
    { .path = "/qcow2/crash/R1-R2-allocate/leaks-at-most",
      .create = { "{" MAKE ", 'size': 1048576, 'cluster-size': 4096}" }, .open = OPEN,
      .disk_bytes = 1 * MiB, .cluster_size = 4096, .mix = { 10, 0, 0, 1, 16 }, .rounds = 60,
      .step = 5 },
    { .path = "/qcow2/crash/R2-copy-on-write/keeps-neighbours",
      .create = { "{" MAKE ", 'size': 1048576}" }, .open = OPEN,
      .disk_bytes = 1 * MiB, .mix = { 12, 0, 0, 2, 4 }, .rounds = 60, .step = 5 },
    { .path = "/qcow2/crash/R2-linked-ahead/keeps-neighbours",
      .create = { "{" MAKE ", 'size': 1048576, 'cluster-size': 16384}" }, .open = OPEN,
      .disk_bytes = 1 * MiB, .mix = { 12, 0, 0, 1, 10 }, .block = 10, .rounds = 60, .step = 5 },
    { .path = "/qcow2/crash/R2-room-for-direct-writes/keeps-neighbours",
      .create = { "{" MAKE ", 'size': 1048576, 'cluster-size': 16384}" },
      .open = "{" DISK ", 'cache': {'direct': true}}",
      .disk_bytes = 1 * MiB, .mix = { 12, 2, 0, 1, 10 }, .block = 10, .rounds = 60, .step = 5 },
    { .path = "/qcow2/crash/R2-backing/keeps-neighbours",
      .create = { "{" MAKE ", 'size': 524288, 'cluster-size': 8192, 'backing-file': 'base', "
                  "'backing-fmt': 'raw'}" }, .open = OPEN, .has_base = true,
      .disk_bytes = 512 * KiB, .cluster_size = 8192, .mix = { 12, 2, 2, 2, 4 }, .rounds = 50,
      .step = 5 },
    { .path = "/qcow2/crash/R3-new-tables/leaks-at-most",
      .create = { "{" MAKE ", 'size': 6291456, 'cluster-size': 512, 'refcount-bits': 64}" },
      .open = OPEN, .disk_bytes = 6 * MiB, .cluster_size = 512, .mix = { 10, 0, 0, 1, 16 },
      .rounds = 150, .step = 41 },
    { .path = "/qcow2/crash/R3-small-cache/leaks-at-most",
      .create = { "{" MAKE ", 'size': 1048576, 'cluster-size': 512}" },
      .open = "{" DISK ", 'l2-cache-size': 1024}",
      .disk_bytes = 1 * MiB, .cluster_size = 512, .mix = { 10, 1, 1, 1, 16 }, .rounds = 60,
      .step = 11 },
    { .path = "/qcow2/crash/R4-free-and-reuse/never-used-twice",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096}" }, .open = OPEN,
      .disk_bytes = 256 * KiB, .cluster_size = 4096, .mix = { 10, 6, 6, 3, 16 }, .rounds = 120,
      .step = 5 },
    { .path = "/qcow2/crash/R4-kept-places/never-discarded-in-use",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096}" },
      .open = "{" DISK ", 'discard': 'unmap', 'discard-no-unref': true}",
      .disk_bytes = 256 * KiB, .cluster_size = 4096, .mix = { 10, 6, 6, 3, 16 }, .rounds = 120,
      .step = 5 },
    { .path = "/qcow2/crash/R4-kept-places-in-a-data-file/never-discarded-in-use",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096, 'data-file': 'file-data'}" },
      .open = "{" DISK ", 'discard': 'unmap', 'discard-no-unref': true}",
      .disk_bytes = 256 * KiB, .cluster_size = 4096, .mix = { 10, 6, 6, 3, 16 }, .rounds = 120,
      .step = 5, .files = { "disk", "data" } },
    { .path = "/qcow2/crash/R4-version-2/never-used-twice",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096, 'version': 'v2'}" },
      .open = OPEN, .disk_bytes = 256 * KiB, .cluster_size = 4096, .mix = { 10, 4, 6, 3, 16 },
      .rounds = 100, .step = 5 },
    { .path = "/qcow2/crash/R2-subclusters/keeps-neighbours",
      .create = { "{" MAKE ", 'size': 524288, 'cluster-size': 16384, 'extended-l2': true, "
                  "'backing-file': 'base', 'backing-fmt': 'raw'}" }, .open = OPEN,
      .has_base = true, .disk_bytes = 512 * KiB, .mix = { 12, 4, 2, 2, 4 }, .rounds = 60,
      .step = 5 },
    { .path = "/qcow2/crash/R4-compressed/never-used-twice",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096, 'refcount-bits': 4}" },
      .open = OPEN, .disk_bytes = 256 * KiB, .cluster_size = 4096,
      .mix = { 4, 2, 2, 2, 8, .compress = 10 }, .rounds = 100, .step = 5 },
    { .path = "/qcow2/crash/R4-subclusters/never-used-twice",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 16384, 'extended-l2': true}" },
      .open = OPEN, .disk_bytes = 256 * KiB, .mix = { 8, 4, 4, 2, 8 }, .rounds = 80,
      .step = 5 },
    { .path = "/qcow2/crash/R5-resize/old-or-new-size",
      .create = { "{" MAKE ", 'size': 524288, 'cluster-size': 512}" }, .open = OPEN,
      .disk_bytes = 512 * KiB, .cluster_size = 512, .mix = { 10, 1, 1, 1, 16 }, .rounds = 50,
      .step = 7, .co_beside = co_resize },
    { .path = "/qcow2/crash/R5-refcount-table/old-or-new",
      .create = { "{" MAKE ", 'size': 4194304, 'cluster-size': 512, 'refcount-bits': 64}" },
      .open = OPEN, .disk_bytes = 64 * KiB, .cluster_size = 512, .mix = { 1, 0, 0, 1, 16 },
      .rounds = 10, .step = 1, .co_prepare = co_fill_table, .co_beside = co_grow_table,
      .wants_cut = is_about_header },
    { .path = "/qcow2/crash/R5-machine-state/never-shown",
      .create = { "{" MAKE ", 'size': 65536, 'cluster-size': 512}" },
      .open = OPEN, .disk_bytes = 64 * KiB, .cluster_size = 512, .mix = { .flush = 1 },
      .rounds = 1, .step = 1, .co_prepare = co_save_state, .co_beside = co_grow_over,
      .co_judge = co_judge_grown },
    { .path = "/qcow2/crash/R5-last-cluster/never-shown",
      .create = { "{" MAKE ", 'size': 31232, 'cluster-size': 4096}" },
      .open = OPEN, .disk_bytes = 61 * 512, .cluster_size = 4096, .mix = { .flush = 1 },
      .rounds = 1, .step = 1, .co_prepare = co_cut_off, .co_beside = co_grow_over,
      .co_judge = co_judge_grown },
    { .path = "/qcow2/crash/R7-lazy/never-dirty",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096, 'lazy-refcounts': true}" },
      .open = "{" DISK ", 'lazy-refcounts': true}", .disk_bytes = 256 * KiB,
      .cluster_size = 4096, .mix = { 10, 2, 2, 2, 16 }, .rounds = 15, .step = 3,
      .co_judge = co_judge_clean },
    { .path = "/qcow2/crash/R4-shrink/never-cut-too-short",
      .create = { "{" MAKE ", 'size': 131072, 'cluster-size': 4096}" }, .open = OPEN,
      .disk_bytes = 128 * KiB, .cluster_size = 4096, .mix = { 10, 2, 2, 3, 16 }, .rounds = 40,
      .step = 3, .co_beside = co_shrink },
    { .path = "/qcow2/crash/R4-compressed-64k/never-used-twice",
      .create = { "{" MAKE ", 'size': 1048576}" }, .open = OPEN, .disk_bytes = 1 * MiB,
      .cluster_size = 65536, .mix = { 4, 1, 1, 2, 8, .compress = 8 }, .block = 128, .rounds = 50,
      .step = 7 },
    { .path = "/qcow2/crash/R11-data-file/keeps-neighbours",
      .create = { "{" MAKE ", 'data-file': 'file-data', 'size': 524288, 'cluster-size': 8192}" },
      .open = "{" DISK ", " DATA_FILE "}", .files = { "disk", "data" },
      .disk_bytes = 512 * KiB, .cluster_size = 8192, .mix = { 12, 3, 3, 3, 8 }, .rounds = 60,
      .step = 5 },
    { .path = "/qcow2/crash/R11-raw-data-file/keeps-neighbours",
      .create = { "{" MAKE ", 'data-file': 'file-data', 'data-file-raw': true, 'size': 524288, "
                  "'cluster-size': 8192}" },
      .open = "{" DISK ", " DATA_FILE "}", .files = { "disk", "data" },
      .disk_bytes = 512 * KiB, .cluster_size = 8192, .mix = { 12, 3, 3, 3, 8 }, .rounds = 60,
      .step = 5 },
};

int main(int argc, char **argv)
{
    return crash_lab_main(argc, argv, cases, ARRAY_SIZE(cases));
}
