/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Failing calls during jobs: the job ends with one error that names the cause; nodes, claims and
 * what the chain reads as are what they were, and the same job, started again, does its work.
 */
#include "qemu/osdep.h"

#include "fault-lab.h"
#include "job-lab.h"

static uint8_t content[JOB_LAB_BYTES]; /* of the chain, always */

static void coroutine_fn co_make_chain(FaultRun *r)
{
    /* A place that only each layer has, one that all have, and zeroes. */
    static const int places[JOB_LAB_LAYERS][2] = { { 0, 64 }, { 48, 40 }, { 80, 9 } };

    mem_co_unuse(r->user);
    for (int layer = 0; layer < JOB_LAB_LAYERS; layer++) {
        job_lab_co_put(layer, places[layer][0], places[layer][1], 0x11111111 * (layer + 1));
        job_lab_co_put(layer, 256, 16, 0x01010101 * (layer + 1));
        job_lab_co_put(layer, 400 + layer * 24, 8, 0x21212121 * (layer + 1));
    }
    r->user = lab_co_use(r->k->open, BDRV_O_RDWR | BDRV_O_UNMAP);
    g_assert_cmpint(bdrv_co_pread(r->user->root, 0, JOB_LAB_BYTES, content, 0), ==, 0);
}

/* Run what @create made; where its end cannot be written, the error is the job's. */
static bool coroutine_fn co_run_job(BlockJob *job, Error **errp)
{
    return job && job_lab_co_run(job, errp);
}

static void coroutine_fn co_assert_content(const char *json)
{
    MemUser *user = lab_co_use(json, 0);
    g_autofree uint8_t *buf = g_malloc(JOB_LAB_BYTES);

    lab_co_check(user);
    g_assert_cmpint(bdrv_co_pread(user->root, 0, JOB_LAB_BYTES, buf, 0), ==, 0);
    g_assert_true(memcmp(buf, content, JOB_LAB_BYTES) == 0);
    mem_co_unuse(user);
}

/* r->user is of the chain as its headers say. */
static void coroutine_fn co_judge_chain(FaultRun *r, bool done)
{
    for (BlockDriverState *bs = bdrv_cow_bs(r->user->bs); bs; bs = bdrv_cow_bs(bs)) {
        MemUser below = { .bs = bs };

        lab_co_check(&below);
    }
    co_assert_content(JOB_LAB_OPEN("n2"));
}

static void coroutine_fn co_judge_n0(FaultRun *r, bool done)
{
    co_judge_chain(r, done);
    if (done) {
        co_assert_content(JOB_LAB_OPEN("n0"));
    }
}

static void coroutine_fn co_judge_target(FaultRun *r, bool done)
{
    co_judge_chain(r, done);
    if (done) {
        co_assert_content(JOB_LAB_OPEN("target"));
    }
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static bool coroutine_fn co_stream_to(FaultRun *r, int layer, int base, Error **errp)
{
    StreamJobArgs args = {
        .job_id = "j",
        .bs = job_lab_layer(r->user->bs, layer),
        .base = base < 0 ? NULL : job_lab_layer(r->user->bs, base),
    };

    return co_run_job(stream_job_co_create(&args, errp), errp);
}

static bool coroutine_fn co_stream_all(FaultRun *r, Error **errp)
{
    return co_stream_to(r, 2, -1, errp);
}

static bool coroutine_fn co_stream_middle(FaultRun *r, Error **errp)
{
    return co_stream_to(r, 1, -1, errp);
}

static bool coroutine_fn co_commit_middle(FaultRun *r, Error **errp)
{
    CommitJobArgs args = {
        .job_id = "j",
        .bs = r->user->bs,
        .top = job_lab_layer(r->user->bs, 1),
        .base = job_lab_layer(r->user->bs, 0),
    };

    if (!args.base) {
        return true; /* it had got to the end before something failed */
    }
    return co_run_job(commit_job_co_create(&args, errp), errp);
}

static bool coroutine_fn co_commit_active(FaultRun *r, Error **errp)
{
    CommitJobArgs args = {
        .job_id = "j",
        .bs = r->user->bs,
        .top = r->user->bs,
        .base = job_lab_layer(r->user->bs, 0),
    };

    return co_run_job(commit_active_job_co_create(&args, errp), errp);
}

static bool coroutine_fn co_mirror_with(FaultRun *r, MirrorJobArgs args, Error **errp)
{
    g_autoptr(BlockDriverState) target = job_lab_co_open_target(errp);

    if (!target) {
        return false;
    }
    args.job_id = "j";
    args.bs = r->user->bs;
    args.target = target;
    args.sync = MIRROR_SYNC_MODE_FULL;
    return co_run_job(mirror_job_co_create(&args, errp), errp);
}

static bool coroutine_fn co_mirror(FaultRun *r, Error **errp)
{
    return co_mirror_with(r, (MirrorJobArgs) { .granularity = 4096 }, errp);
}

static bool coroutine_fn co_mirror_blocking(FaultRun *r, Error **errp)
{
    return co_mirror_with(r, (MirrorJobArgs) {
        .copy_mode = MIRROR_COPY_MODE_WRITE_BLOCKING,
    }, errp);
}

static bool coroutine_fn co_backup(FaultRun *r, Error **errp)
{
    BackupCommon args = { .job_id = (char *)"j", .sync = MIRROR_SYNC_MODE_FULL };
    g_autoptr(BlockDriverState) target = job_lab_co_open_target(errp);

    if (!target) {
        return false;
    }
    return co_run_job(backup_job_co_create(r->user->bs, target, &args, NULL, errp), errp);
}

#define CASE(name, operate, judge, ...) \
    { .path = "/job/fault/" name, .create = JOB_LAB_CREATE, .open = JOB_LAB_OPEN("n2"), \
      .keeps_length = true, \
      .co_prepare = co_make_chain, .co_operate = operate, .co_judge = judge, \
      __VA_ARGS__ }

static const FaultCase cases[] = {
    CASE("stream/all", co_stream_all, co_judge_chain),
    CASE("stream/middle", co_stream_middle, co_judge_chain, .may_stay_writable = true),
    CASE("commit/middle", co_commit_middle, co_judge_chain, .may_stay_writable = true),
    CASE("commit/active", co_commit_active, co_judge_n0, .may_stay_writable = true),
    CASE("mirror/background", co_mirror, co_judge_target),
    CASE("mirror/write-blocking", co_mirror_blocking, co_judge_target),
    CASE("backup", co_backup, co_judge_target),
};

int main(int argc, char **argv)
{
    return fault_lab_main(argc, argv, cases, ARRAY_SIZE(cases));
}
