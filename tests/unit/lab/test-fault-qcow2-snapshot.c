/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Failing calls below qcow2 while snapshots are made, applied and deleted.  If the header was
 * written but neither its flush nor its restoring went well, the new state may be in force.
 */
#include "qemu/osdep.h"

#include "../../../block/format/qcow2/counts.h"
#include "block/snapshot.h"
#include "fault-lab.h"

#define OPEN "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': 'disk'}}"
#define MAKE "'driver': 'qcow2', 'file': 'file-disk'"
#define SIZE (128 * KiB)
#define OLD 0x11
#define NEW 0x22

static void coroutine_fn co_fill(FaultRun *r, uint8_t value)
{
    g_autofree uint8_t *buf = g_malloc(SIZE);

    memset(buf, value, SIZE);
    g_assert_cmpint(bdrv_co_pwrite(r->user->root, 0, SIZE, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
}

static void coroutine_fn co_prepare(FaultRun *r)
{
    co_fill(r, OLD);
    g_assert_true(bdrv_co_snapshot_create_now(r->user->bs, "old", &error_abort));
    co_fill(r, NEW);
}

/* Refcounts have no room in memory as a whole, so that new ones are written bit by bit. */
static void coroutine_fn co_prepare_pieces(FaultRun *r)
{
    qcow2_counts_budget = 0;
    co_prepare(r);
}

static void coroutine_fn co_assert_holds(FaultRun *r, uint8_t value)
{
    g_autofree uint8_t *buf = g_malloc(SIZE);

    g_assert_cmpint(bdrv_co_pread(r->user->root, 0, SIZE, buf, 0), ==, 0);
    for (int64_t i = 0; i < SIZE; i++) {
        g_assert_cmphex(buf[i], ==, value);
    }
}

static bool has_snapshot(FaultRun *r, const char *name)
{
    g_autoptr(SnapshotInfo) info = bdrv_snapshot_find(r->user->bs, NULL, name);

    return info;
}

/* ---- operations ------------------------------------------------------------------------------ */

static bool coroutine_fn co_create(FaultRun *r, Error **errp)
{
    return bdrv_co_snapshot_create_now(r->user->bs, "new", errp);
}

static void coroutine_fn co_judge_create(FaultRun *r, bool done)
{
    co_assert_holds(r, NEW);
    g_assert_true(has_snapshot(r, "old"));
    g_assert_true(!done || has_snapshot(r, "new"));
}

static bool coroutine_fn co_delete(FaultRun *r, Error **errp)
{
    return !has_snapshot(r, "old") || bdrv_co_snapshot_delete(r->user->bs, "1", errp);
}

static void coroutine_fn co_judge_delete(FaultRun *r, bool done)
{
    co_assert_holds(r, NEW);
    g_assert_false(done && has_snapshot(r, "old"));
}

static bool coroutine_fn co_apply(FaultRun *r, Error **errp)
{
    return bdrv_co_snapshot_goto(r->user->bs, "old", errp);
}

static void coroutine_fn co_judge_apply(FaultRun *r, bool done)
{
    uint8_t first;

    g_assert_cmpint(bdrv_co_pread(r->user->root, 0, 1, &first, 0), ==, 0);
    g_assert_true(first == OLD || (first == NEW && !done));
    co_assert_holds(r, first);
    g_assert_true(has_snapshot(r, "old"));
}

static const FaultCase cases[] = {
    { .path = "/qcow2/fault/snapshot-create/old-or-new", .open = OPEN,
      .create = { "{" MAKE ", 'size': 131072, 'cluster-size': 4096}" },
      .co_prepare = co_prepare, .co_operate = co_create, .co_judge = co_judge_create },
    { .path = "/qcow2/fault/snapshot-create-small-clusters/old-or-new", .open = OPEN,
      .create = { "{" MAKE ", 'size': 131072, 'cluster-size': 512, 'refcount-bits': 64}" },
      .co_prepare = co_prepare, .co_operate = co_create, .co_judge = co_judge_create },
    { .path = "/qcow2/fault/snapshot-delete/old-or-new", .open = OPEN,
      .create = { "{" MAKE ", 'size': 131072, 'cluster-size': 4096}" },
      .co_prepare = co_prepare, .co_operate = co_delete, .co_judge = co_judge_delete },
    { .path = "/qcow2/fault/snapshot-apply/old-or-new", .open = OPEN,
      .create = { "{" MAKE ", 'size': 131072, 'cluster-size': 4096}" },
      .co_prepare = co_prepare, .co_operate = co_apply, .co_judge = co_judge_apply },
    /* The last ones: it stays so. */
    { .path = "/qcow2/fault/snapshot-create-in-pieces/old-or-new", .open = OPEN,
      .create = { "{" MAKE ", 'size': 131072, 'cluster-size': 512, 'refcount-bits': 64}" },
      .co_prepare = co_prepare_pieces, .co_operate = co_create, .co_judge = co_judge_create },
    { .path = "/qcow2/fault/snapshot-delete-in-pieces/old-or-new", .open = OPEN,
      .create = { "{" MAKE ", 'size': 131072, 'cluster-size': 512, 'refcount-bits': 64}" },
      .co_prepare = co_prepare_pieces, .co_operate = co_delete, .co_judge = co_judge_delete },
    { .path = "/qcow2/fault/snapshot-apply-in-pieces/old-or-new", .open = OPEN,
      .create = { "{" MAKE ", 'size': 131072, 'cluster-size': 512, 'refcount-bits': 64}" },
      .co_prepare = co_prepare_pieces, .co_operate = co_apply, .co_judge = co_judge_apply },
};

int main(int argc, char **argv)
{
    return fault_lab_main(argc, argv, cases, ARRAY_SIZE(cases));
}
