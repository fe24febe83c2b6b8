/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job that makes the file of an image shorter: block-compact.
 *
 * It works in steps (bdrv_co_compact()), each under the control lock and with the node frozen;
 * between two steps requests and other commands have their turn, and the job can be paused or
 * cancelled: what was gained so far stays.
 */
#include "qemu/osdep.h"

#include "block/blockjob.h"
#include "block/claim.h"

/* How long others have their turn between two steps. */
#define TURN_NS (2 * 1000 * 1000)

typedef struct CompactJob {
    Job job;
    BlockDriverState *bs; /* a reference */
    BdrvClaim *claim;     /* keeps other operations away from it */
    char *description;
    int64_t step;
} CompactJob;

/* Bytes gained, 0 at the end. */
static int64_t coroutine_fn co_one_step(CompactJob *s, Error **errp)
{
    int64_t gained = 0, left = 0;

    job_co_control_begin(&s->job);
    if (!job_is_cancelled(&s->job)) {
        gained = bdrv_co_compact(s->bs, s->step, &left, errp);
    }
    job_co_control_end(&s->job);
    if (gained >= 0) {
        /* The offset of the job is what was gained, its length that and what may be gained yet. */
        job_progress_update(&s->job, gained);
        job_progress_set_remaining(&s->job, left);
    }
    return gained;
}

static int coroutine_fn compact_co_run(Job *job, Error **errp)
{
    CompactJob *s = (CompactJob *)job;
    int64_t gained;

    do {
        gained = co_one_step(s, errp);
        if (gained < 0) {
            return gained;
        }
        job_co_sleep_ns(job, TURN_NS, "others to have their turn");
    } while (gained && !job_is_cancelled(job));
    return 0;
}

static void coroutine_fn compact_co_clean(Job *job)
{
    CompactJob *s = (CompactJob *)job;

    bdrv_claim_release(g_steal_pointer(&s->claim));
    bdrv_unref(g_steal_pointer(&s->bs));
}

static void compact_free(Job *job)
{
    g_free(((CompactJob *)job)->description);
}

static const JobDriver compact_job_driver = {
    .instance_size = sizeof(CompactJob),
    .job_type = JOB_TYPE_COMPACT,
    .co_run = compact_co_run,
    .co_clean = compact_co_clean,
    .free = compact_free,
};

bool coroutine_fn compact_job_co_start(const char *job_id, BlockDriverState *bs, int64_t step,
                                       int flags, Error **errp)
{
    CompactJob *s;

    if (bdrv_is_read_only(bs)) {
        error_setg(errp, "Node '%s' is read-only", bdrv_get_node_name(bs));
        return false;
    }
    /* What must not change an image's length must not change what its file holds, either. */
    if (bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_RESIZE, errp)) {
        return false;
    }
    s = (CompactJob *)job_create(job_id, &compact_job_driver, NULL, flags, errp);
    if (!s) {
        return false;
    }
    s->description = g_strdup_printf("compact job '%s'", job_id);
    BdrvOwner owner = { BDRV_OWNER_JOB, s, job_id, s->description };
    s->claim = bdrv_claim(bs, owner, 0, BLK_RIGHTS_ALL_OPS,
                          "block device is in use by block job: compact", errp);
    if (!s->claim) {
        job_early_fail(&s->job);
        return false;
    }
    s->bs = bdrv_ref(bs);
    s->step = step;
    job_start(&s->job);
    return true;
}
