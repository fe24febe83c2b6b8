/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by job.c, job-state.c and job-txn.c only.
 */
#ifndef BLOCK_JOB_INT_H
#define BLOCK_JOB_INT_H

#include "block/job.h"

/*
 * A group of jobs.  Its fate is decided once: aborting, by the first job that fails or is
 * cancelled; or decided, when all have been prepared.
 */
struct JobTxn {
    int refcnt;
    bool aborting;
    bool decided; /* to commit; too late to cancel */
    QTAILQ_HEAD(, Job) jobs; /* latest first */
};

/* ---- job-state.c ----------------------------------------------------------------------------- */

bool job_status_can_follow(JobStatus from, JobStatus to);
bool job_verb_in_status(JobVerb verb, JobStatus status);
const char *job_verb_name(JobVerb verb);
/** Move to @status, which must be allowed, and send JOB_STATUS_CHANGE. */
void job_set_status(Job *job, JobStatus status);

/* ---- job-txn.c ------------------------------------------------------------------------------- */

void job_txn_add(JobTxn *txn, Job *job);
void job_txn_remove(Job *job);
/** @job has nothing left to run: it returned, or never started.  Context: control lock. */
void coroutine_fn job_txn_co_done(Job *job);
/** @job was cancelled after it had returned: undo its transaction.  Context: control lock. */
void coroutine_fn job_txn_co_cancel(Job *job);
/** All jobs are pending: prepare and commit, or undo.  Context: control lock. */
void coroutine_fn job_txn_co_finalize(JobTxn *txn);

/* ---- job.c ----------------------------------------------------------------------------------- */

/** Flag @job as cancelled; drops the user's reason to pause and wakes it. */
void job_flag_cancelled(Job *job, bool force);
void job_send_event(Job *job, JobEvent event);
/** Its end has been carried out: concluded, perhaps gone. */
void job_conclude(Job *job);

#endif
