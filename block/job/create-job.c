/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job that makes an image: blockdev-create.
 */
#include "qemu/osdep.h"

#include "block/blockjob.h"
#include "qapi/clone.h"

typedef struct CreateJob {
    Job job;
    BlockdevCreateOptions *options;
} CreateJob;

static int coroutine_fn create_co_run(Job *job, Error **errp)
{
    CreateJob *s = (CreateJob *)job;
    bool ok;

    job_progress_set_remaining(job, 1);
    job_co_control_begin(job);
    ok = !job_is_cancelled(job) && bdrv_co_create(s->options, errp);
    job_co_control_end(job);
    job_progress_update(job, 1);
    if (!ok) {
        return job_is_cancelled(job) ? -ECANCELED : -EINVAL;
    }
    return 0;
}

static void create_free(Job *job)
{
    qapi_free_BlockdevCreateOptions(((CreateJob *)job)->options);
}

static const JobDriver create_job_driver = {
    .instance_size = sizeof(CreateJob),
    .job_type = JOB_TYPE_CREATE,
    .co_run = create_co_run,
    .free = create_free,
};

bool create_job_start(const char *job_id, const BlockdevCreateOptions *options, Error **errp)
{
    CreateJob *s = (CreateJob *)job_create(job_id, &create_job_driver, NULL, JOB_MANUAL_DISMISS,
                                           errp);

    if (!s) {
        return false;
    }
    s->options = QAPI_CLONE(BlockdevCreateOptions, options);
    job_start(&s->job);
    return true;
}
