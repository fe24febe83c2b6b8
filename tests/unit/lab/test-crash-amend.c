/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts while an image is amended (R15): old or new at every instant, and never damaged.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"
#include "crash-lab.h"

#define OPEN "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': 'disk'}}"
#define MAKE "'driver': 'qcow2', 'file': 'file-disk'"

static void coroutine_fn co_amend(BlockDriverState *bs, const char *text)
{
    g_assert_true(lab_co_amend(bs, text, false, &error_abort));
}

/* A disk with something of everything. */
static void coroutine_fn co_fill(CrashRun *r)
{
    for (int i = 0; i < 80; i++) {
        CrashWorker w = { r, i % CRASH_WORKERS };

        if (i % 4) {
            crash_co_write(&w, 0);
        } else {
            crash_co_zero(&w);
        }
    }
    crash_co_flush(r);
}

/* While requests are running. */
static void coroutine_fn co_widths(CrashRun *r)
{
    co_amend(r->user->bs, "refcount_bits=64");
    co_amend(r->user->bs, "refcount_bits=1");
}

static void coroutine_fn co_versions(CrashRun *r)
{
    co_fill(r);
    co_amend(r->user->bs, "compat=0.10");
    co_amend(r->user->bs, "compat=1.1,lazy_refcounts=on,refcount_bits=8");
    co_amend(r->user->bs, "compat=0.10,refcount_bits=16");
}

/* The disk shares tables with a snapshot; zero clusters must be gone from them before the step. */
static void coroutine_fn co_version_with_snapshot(CrashRun *r)
{
    co_fill(r);
    g_assert_true(bdrv_co_snapshot_create_now(r->user->bs, "kept", &error_abort));
    co_amend(r->user->bs, "compat=0.10");
}

static void coroutine_fn co_size(CrashRun *r)
{
    g_autofree char *text = g_strdup_printf("size=%" PRIi64, 3 * r->k->disk_bytes);

    co_amend(r->user->bs, text);
}

static const CrashCase cases[] = {
    { .path = "/qcow2/crash/R15-amend/refcount-width",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 512}" }, .open = OPEN,
      .disk_bytes = 256 * KiB, .cluster_size = 512, .mix = { 10, 2, 2, 2, 16 }, .rounds = 30,
      .step = 3, .co_beside = co_widths },
    { .path = "/qcow2/crash/R15-amend/version",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096}" }, .open = OPEN,
      .disk_bytes = 256 * KiB, .cluster_size = 4096, .mix = { 0, 0, 0, 1, 16 }, .rounds = 5,
      .step = 1, .co_beside = co_versions },
    { .path = "/qcow2/crash/R15-amend/version-over-backing",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096, 'backing-file': 'base', "
                  "'backing-fmt': 'raw'}" }, .open = OPEN, .has_base = true,
      .disk_bytes = 256 * KiB, .cluster_size = 4096, .mix = { 0, 0, 0, 1, 16 }, .rounds = 5,
      .step = 1, .co_beside = co_versions },
    { .path = "/qcow2/crash/R15-amend/version-with-snapshot",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 4096}" }, .open = OPEN,
      .disk_bytes = 256 * KiB, .cluster_size = 4096, .mix = { 0, 0, 0, 1, 16 }, .rounds = 5,
      .step = 1, .co_beside = co_version_with_snapshot },
    { .path = "/qcow2/crash/R15-amend/size",
      .create = { "{" MAKE ", 'size': 262144, 'cluster-size': 512}" }, .open = OPEN,
      .disk_bytes = 256 * KiB, .cluster_size = 512, .mix = { 10, 2, 2, 2, 16 }, .rounds = 30,
      .step = 3, .co_beside = co_size },
};

int main(int argc, char **argv)
{
    return crash_lab_main(argc, argv, cases, ARRAY_SIZE(cases));
}
