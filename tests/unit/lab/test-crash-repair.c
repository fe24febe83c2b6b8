/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts while an image is repaired.  The dirty bit makes every later opening repair again, so
 * in each state the content must be whole, and the image in order once it is open for writing.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"
#include "crash-lab.h"
#include "qemu/bswap.h"

#define OPEN "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': 'disk'}}"
#define MAKE "'driver': 'qcow2', 'file': 'file-disk'"
#define HDR_INCOMPAT_LOW 79
#define HDR_REFTABLE 48
#define HDR_L1 40
#define HDR_SNAPSHOTS 64
#define OFFSET UINT64_C(0x00fffffffffffe00)

static void coroutine_fn co_fill(CrashRun *r)
{
    crash_co_fill(r);
    mem_co_unuse(r->user);
}

static uint8_t *disk(void)
{
    return mem_file("disk")->data->data;
}

static uint8_t *first_refblock(void)
{
    return disk() + ldq_be_p(disk() + ldq_be_p(disk() + HDR_REFTABLE));
}

/* Open it as check does, without repair. */
static void coroutine_fn co_set_dirty(CrashRun *r)
{
    disk()[HDR_INCOMPAT_LOW] |= 1;
    r->user = lab_co_use(r->k->open, BDRV_O_RDWR | BDRV_O_CHECK);
}

/* Counts that are too high, and of clusters that nothing uses. */
static void coroutine_fn co_damage_counts(CrashRun *r)
{
    co_fill(r);
    for (int i = 5; i < 60; i += 3) {
        stw_be_p(first_refblock() + 2 * i, 1 + (i % 2) * 4);
    }
    for (int i = 0; i < 20; i++) {
        stw_be_p(first_refblock() + 2 * (90 + i), 1);
    }
    co_set_dirty(r);
}

/* All counts are gone: everything is written anew. */
static void coroutine_fn co_damage_block(CrashRun *r)
{
    co_fill(r);
    memset(first_refblock(), 0, 512);
    co_set_dirty(r);
}

/* COPIED flags are missing. */
static void coroutine_fn co_damage_flags(CrashRun *r)
{
    uint8_t *l2;

    co_fill(r);
    l2 = disk() + (ldq_be_p(disk() + ldq_be_p(disk() + HDR_L1)) & OFFSET);
    for (int i = 0; i < 40; i++) {
        stq_be_p(l2 + 8 * i, ldq_be_p(l2 + 8 * i) & ~(UINT64_C(1) << 63));
    }
    co_set_dirty(r);
}

/* A list of snapshots whose one entry lacks the extra data of version 3. */
static void coroutine_fn co_damage_list(CrashRun *r)
{
    uint8_t *entry;

    co_fill(r);
    r->user = lab_co_use(r->k->open, BDRV_O_RDWR);
    g_assert_true(bdrv_co_snapshot_create_now(r->user->bs, "kept", &error_abort));
    mem_co_unuse(r->user);
    entry = disk() + ldq_be_p(disk() + HDR_SNAPSHOTS);
    stl_be_p(entry + 36, 0);
    memmove(entry + 40, entry + 64, 1 + strlen("kept"));
    co_set_dirty(r);
}

/* What a snapshot takes for data are the L2 and the L1 table of the disk; the counts say so. */
static void coroutine_fn co_damage_places(CrashRun *r)
{
    g_autofree uint8_t *buf = g_malloc0(512);
    uint64_t l1, l2;
    uint8_t *old;

    co_fill(r);
    r->user = lab_co_use(r->k->open, BDRV_O_RDWR);
    g_assert_true(bdrv_co_snapshot_create_now(r->user->bs, "kept", &error_abort));
    g_assert_cmpint(bdrv_co_pread(r->user->root, 0, 512, buf, 0), ==, 0);
    g_assert_cmpint(bdrv_co_pwrite(r->user->root, 0, 512, buf, 0), ==, 0);
    mem_co_unuse(r->user);
    l1 = ldq_be_p(disk() + HDR_L1);
    l2 = ldq_be_p(disk() + l1) & OFFSET;
    old = disk() + ldq_be_p(disk() + ldq_be_p(disk() + HDR_SNAPSHOTS));
    old = disk() + (ldq_be_p(old) & OFFSET);
    stq_be_p(disk() + l1, l2);
    stq_be_p(old, l2);
    stq_be_p(old + 8, l1);
    stw_be_p(first_refblock() + 2 * (l2 / 4096), 2);
    stw_be_p(first_refblock() + 2 * (l1 / 4096), 2);
    co_set_dirty(r);
}

static void coroutine_fn co_judge_list(CrashRun *r, MemUser *user, guint cut)
{
    g_autoptr(SnapshotInfo) info = bdrv_snapshot_find(user->bs, NULL, "kept");

    g_assert_nonnull(info);
}

static void coroutine_fn co_repair(CrashRun *r)
{
    BdrvCheckResult res = { .report = lab_report };

    g_assert_cmpint(bdrv_co_check(r->user->bs, &res, BDRV_FIX_LEAKS | BDRV_FIX_ERRORS), ==, 0);
    g_assert_cmpint(res.corruptions, ==, 0);
    g_assert_cmpint(res.corruptions_fixed + res.leaks_fixed, >, 0);
}

#define CASE_FIELDS(name, prepare) \
    .path = "/qcow2/crash/R7-repair/" name, \
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096}" }, .open = OPEN, \
      .disk_bytes = 256 * KiB, .cluster_size = 4096, .mix = { .flush = 1 }, .rounds = 1, \
      .step = 1, .open_writes = true, .co_prepare = prepare, .co_beside = co_repair

#define CASE(name, prepare) { CASE_FIELDS(name, prepare) }

static const CrashCase cases[] = {
    CASE("counts-in-place", co_damage_counts),
    CASE("a-new-structure", co_damage_block),
    CASE("copied-flags", co_damage_flags),
    { CASE_FIELDS("list-of-snapshots", co_damage_list), .co_judge = co_judge_list },
    { CASE_FIELDS("tables-that-are-data", co_damage_places), .co_judge = co_judge_list },
};

int main(int argc, char **argv)
{
    return crash_lab_main(argc, argv, cases, ARRAY_SIZE(cases));
}
