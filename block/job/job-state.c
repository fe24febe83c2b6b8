/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The states of a job, as data: which may follow which, and which verb is accepted in which.
 */
#include "qemu/osdep.h"

#include "job-int.h"
#include "qapi/gen/job-events.h"

#define S(status) (1u << JOB_STATUS_##status)

static const unsigned next_statuses[JOB_STATUS__MAX] = {
    [JOB_STATUS_UNDEFINED] = S(CREATED),
    [JOB_STATUS_CREATED] = S(RUNNING) | S(ABORTING) | S(NULL),
    [JOB_STATUS_RUNNING] = S(PAUSED) | S(READY) | S(WAITING) | S(ABORTING),
    [JOB_STATUS_PAUSED] = S(RUNNING),
    [JOB_STATUS_READY] = S(STANDBY) | S(WAITING) | S(ABORTING),
    [JOB_STATUS_STANDBY] = S(READY),
    [JOB_STATUS_WAITING] = S(PENDING) | S(ABORTING),
    [JOB_STATUS_PENDING] = S(ABORTING) | S(CONCLUDED),
    [JOB_STATUS_ABORTING] = S(CONCLUDED),
    [JOB_STATUS_CONCLUDED] = S(NULL),
    [JOB_STATUS_NULL] = 0,
};

#define ALIVE (S(CREATED) | S(RUNNING) | S(PAUSED) | S(READY) | S(STANDBY))

static const struct {
    const char *name;
    unsigned statuses;
} verbs[JOB_VERB__MAX] = {
    [JOB_VERB_CANCEL] = { "cancel", ALIVE | S(WAITING) | S(PENDING) },
    [JOB_VERB_PAUSE] = { "pause", ALIVE },
    [JOB_VERB_RESUME] = { "resume", ALIVE },
    [JOB_VERB_SET_SPEED] = { "set-speed", ALIVE },
    [JOB_VERB_CHANGE] = { "change", ALIVE },
    /* On standby: it completes when it goes on. */
    [JOB_VERB_COMPLETE] = { "complete", S(READY) | S(STANDBY) },
    [JOB_VERB_FINALIZE] = { "finalize", S(PENDING) },
    [JOB_VERB_DISMISS] = { "dismiss", S(CONCLUDED) },
};

bool job_status_can_follow(JobStatus from, JobStatus to)
{
    return next_statuses[from] & (1u << to);
}

bool job_verb_in_status(JobVerb verb, JobStatus status)
{
    return verbs[verb].statuses & (1u << status);
}

const char *job_verb_name(JobVerb verb)
{
    return verbs[verb].name;
}

void job_set_status(Job *job, JobStatus status)
{
    assert(job_status_can_follow(job->status, status));
    job->status = status;
    if (job->id) {
        qapi_event_send_job_status_change(job->id, status);
    }
}

bool job_verb_allowed(Job *job, JobVerb verb, Error **errp)
{
    if (job_verb_in_status(verb, job->status)) {
        return true;
    }
    error_setg(errp, "Job '%s' in state '%s' cannot accept command verb '%s'", job->id,
               JobStatus_str(job->status), job_verb_name(verb));
    return false;
}
