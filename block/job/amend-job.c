/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job that changes properties of an image in use: x-blockdev-amend.
 */
#include "qemu/osdep.h"

#include "block/blockjob.h"
#include "qapi/clone.h"

typedef struct AmendJob {
    Job job;
    BlockDriverState *bs; /* a reference */
    BlockdevAmendOptions *options;
    bool force;
} AmendJob;

static int coroutine_fn amend_co_run(Job *job, Error **errp)
{
    AmendJob *s = (AmendJob *)job;
    bool ok;

    job_progress_set_remaining(job, 1);
    job_co_control_begin(job);
    ok = !job_is_cancelled(job) && bdrv_co_amend(s->bs, s->options, s->force, errp);
    job_co_control_end(job);
    job_progress_update(job, 1);
    if (!ok) {
        return job_is_cancelled(job) ? -ECANCELED : -EINVAL;
    }
    return 0;
}

static void amend_free(Job *job)
{
    AmendJob *s = (AmendJob *)job;

    qapi_free_BlockdevAmendOptions(s->options);
    bdrv_unref(s->bs);
}

static const JobDriver amend_job_driver = {
    .instance_size = sizeof(AmendJob),
    .job_type = JOB_TYPE_AMEND,
    .co_run = amend_co_run,
    .free = amend_free,
};

bool amend_job_start(const char *job_id, BlockDriverState *bs, const BlockdevAmendOptions *options,
                     bool force, Error **errp)
{
    AmendJob *s;

    if (!bdrv_check_amend(bs, options, errp)) {
        return false;
    }
    s = (AmendJob *)job_create(job_id, &amend_job_driver, NULL, JOB_MANUAL_DISMISS, errp);
    if (!s) {
        return false;
    }
    s->bs = bdrv_ref(bs);
    s->options = QAPI_CLONE(BlockdevAmendOptions, options);
    s->force = force;
    job_start(&s->job);
    return true;
}
