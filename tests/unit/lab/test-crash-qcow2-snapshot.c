/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts while snapshots of qcow2 images are made, applied and deleted (R9, R15).  In every
 * state the disk and the one snapshot with known content read right.
 */
#include "qemu/osdep.h"

#include "../../../block/format/qcow2/counts.h"
#include "block/snapshot.h"
#include "crash-lab.h"

#define OPEN "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': 'disk'}}"
#define MAKE "'driver': 'qcow2', 'file': 'file-disk'"
#define OLD 0x01010101u
#define NEW 0x02020202u

static void coroutine_fn co_fill(CrashRun *r, int64_t start, int64_t bytes, uint32_t value)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    memset(buf, value & 0xff, bytes);
    crash_stamp_begin(r, start / 512, bytes / 512, value);
    g_assert_cmpint(bdrv_co_pwrite(r->user->root, start, bytes, buf, 0), ==, 0);
}

/* ---- made and deleted while others write ----------------------------------------------------- */

/* Half of the disk is OLD, and so it is in the snapshot "known". */
static void coroutine_fn co_prepare_known(CrashRun *r)
{
    r->log = mem_journal_new(); /* stamps look at its length */
    co_fill(r, 0, r->k->disk_bytes / 2, OLD);
    crash_stamp_end(r, 0, crash_sectors(r) / 2);
    g_clear_pointer(&r->log, g_array_unref);
    g_assert_true(bdrv_co_snapshot_create_now(r->user->bs, "known", &error_abort));
}

/* Refcounts have no room in memory as a whole, so that new ones are written bit by bit. */
static void divide_memory(void)
{
    qcow2_counts_budget = 0;
    qcow2_walk_window_bytes = 1024; /* so are tables, while the next are read */
}

static void coroutine_fn co_prepare_pieces(CrashRun *r)
{
    divide_memory();
    co_prepare_known(r);
}

static void coroutine_fn co_make_and_delete(CrashRun *r)
{
    for (int i = 0; i < 6; i++) {
        g_autofree char *name = g_strdup_printf("s%d", i);
        g_autoptr(SnapshotInfo) info = NULL;

        crash_co_dawdle(r);
        g_assert_true(bdrv_co_snapshot_create_now(r->user->bs, name, &error_abort));
        crash_co_dawdle(r);
        if (i % 3) {
            info = bdrv_snapshot_find(r->user->bs, NULL, name);
            g_assert_true(bdrv_co_snapshot_delete(r->user->bs, info->id, &error_abort));
        }
    }
}

/* Every snapshot that is there can be read; the known one is there and holds what it did. */
static void coroutine_fn co_judge_known(CrashRun *r, MemUser *user, guint cut)
{
    g_autoptr(SnapshotInfoList) list = bdrv_snapshot_list(user->bs);
    g_autofree uint32_t *buf = g_malloc(r->k->disk_bytes);

    g_assert_nonnull(list);
    g_assert_cmpstr(list->value->name, ==, "known");
    for (SnapshotInfoList *entry = list; entry; entry = entry->next) {
        g_assert_true(bdrv_co_snapshot_load_tmp(user->bs, entry->value->id, NULL, &error_abort));
        g_assert_cmpint(bdrv_co_pread(user->root, 0, r->k->disk_bytes, buf, 0), ==, 0);
        for (int64_t i = 0; entry == list && i < r->k->disk_bytes / 4; i++) {
            g_assert_cmphex(buf[i], ==, i < r->k->disk_bytes / 8 ? OLD : 0);
        }
    }
}

/* ---- applied --------------------------------------------------------------------------------- */

/* All was OLD when the snapshot was made, all is NEW now; both stay allowed. */
static void coroutine_fn co_prepare_apply(CrashRun *r)
{
    r->log = mem_journal_new();
    co_fill(r, 0, r->k->disk_bytes, OLD);
    crash_stamp_end(r, 0, crash_sectors(r));
    g_assert_true(bdrv_co_snapshot_create_now(r->user->bs, "old", &error_abort));
    co_fill(r, 0, r->k->disk_bytes, NEW);
    g_assert_true(bdrv_co_snapshot_create_now(r->user->bs, "new", &error_abort));
    g_clear_pointer(&r->log, g_array_unref);
}

static void coroutine_fn co_prepare_apply_pieces(CrashRun *r)
{
    divide_memory();
    co_prepare_apply(r);
}

static void coroutine_fn co_apply(CrashRun *r)
{
    for (int i = 0; i < 6; i++) {
        crash_co_dawdle(r);
        g_assert_true(bdrv_co_snapshot_goto(r->user->bs, i % 2 ? "new" : "old", &error_abort));
    }
}

static void coroutine_fn co_judge_apply(CrashRun *r, MemUser *user, guint cut)
{
    g_autofree uint32_t *buf = g_malloc(r->k->disk_bytes);

    g_assert_cmpint(bdrv_co_pread(user->root, 0, r->k->disk_bytes, buf, 0), ==, 0);
    for (int64_t i = 1; i < r->k->disk_bytes / 4; i++) {
        g_assert_cmphex(buf[i], ==, buf[0]);
    }
}

static const CrashCase cases[] = {
    { .path = "/qcow2/crash/R6-R9-R15-snapshots/old-or-new",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096}" }, .open = OPEN,
      .disk_bytes = 256 * KiB, .cluster_size = 4096, .mix = { 10, 3, 3, 3, 16 }, .rounds = 80,
      .step = 5, .co_prepare = co_prepare_known, .co_beside = co_make_and_delete,
      .co_judge = co_judge_known },
    { .path = "/qcow2/crash/R9-R15-snapshots-small-clusters/old-or-new",
      .create = { "{" MAKE ", 'size': 524288, 'cluster-size': 512, 'refcount-bits': 64}" },
      .open = OPEN, .disk_bytes = 512 * KiB, .cluster_size = 512, .mix = { 10, 2, 2, 1, 16 },
      .rounds = 50, .step = 23, .co_prepare = co_prepare_known, .co_beside = co_make_and_delete,
      .co_judge = co_judge_known },
    { .path = "/qcow2/crash/R9-R15-snapshots-version-2/old-or-new",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096, 'version': 'v2'}" },
      .open = OPEN, .disk_bytes = 256 * KiB, .cluster_size = 4096, .mix = { 10, 2, 2, 2, 16 },
      .rounds = 60, .step = 7, .co_prepare = co_prepare_known, .co_beside = co_make_and_delete,
      .co_judge = co_judge_known },
    { .path = "/qcow2/crash/R9-R15-apply/old-or-new",
      .create = { "{" MAKE ", 'size': 131072, 'cluster-size': 4096}" }, .open = OPEN,
      .disk_bytes = 128 * KiB, .cluster_size = 4096, .mix = { 0, 0, 0, 1, 1 }, .rounds = 10,
      .step = 1, .co_prepare = co_prepare_apply, .co_beside = co_apply,
      .co_judge = co_judge_apply },
    /* The last ones: it stays so. */
    { .path = "/qcow2/crash/R9-R15-snapshots-in-pieces/old-or-new",
      .create = { "{" MAKE ", 'size': 524288, 'cluster-size': 512, 'refcount-bits': 64}" },
      .open = OPEN, .disk_bytes = 512 * KiB, .cluster_size = 512, .mix = { 10, 2, 2, 1, 16 },
      .rounds = 50, .step = 23, .co_prepare = co_prepare_pieces, .co_beside = co_make_and_delete,
      .co_judge = co_judge_known },
    { .path = "/qcow2/crash/R9-R15-apply-in-pieces/old-or-new",
      .create = { "{" MAKE ", 'size': 131072, 'cluster-size': 512, 'refcount-bits': 64}" },
      .open = OPEN, .disk_bytes = 128 * KiB, .cluster_size = 512, .mix = { 0, 0, 0, 1, 1 },
      .rounds = 10, .step = 2, .co_prepare = co_prepare_apply_pieces, .co_beside = co_apply,
      .co_judge = co_judge_apply },
};

int main(int argc, char **argv)
{
    return crash_lab_main(argc, argv, cases, ARRAY_SIZE(cases));
}
