/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs: long-running operations with a life of their own.
 *
 *   created -> running <-> paused -> [ready <-> standby] -> waiting -> pending -> concluded -> null
 *                 \__________________ aborting ____________________/
 *
 * Rules of use
 *  - Status changes in the main thread only (job-state.c holds the table status x verb).  co_run runs as
 *    a coroutine, in the main loop; it sees flags and posts.
 *  - co_run is straight-line code with job_co_pause_point() between requests.  A job counts as paused
 *    while it sleeps or waits at a pause point.
 *  - The end is in the control plane: co_prepare of every job of the transaction (may fail, may do
 *    I/O), then commit or abort of each (no I/O, cannot fail), then clean.
 *  - Job verbs take no lock; they set flags and wake the job.
 */
#ifndef BLOCK_JOB_H
#define BLOCK_JOB_H

#include "block/aio.h"
#include "block/coroutine.h"
#include "qapi/gen/job-types.h"
#include "qemu/error.h"
#include "qemu/progress.h"
#include "qemu/queue.h"

typedef struct Job Job;
typedef struct JobTxn JobTxn;

/* A kind of job.  Contexts: co_ in a coroutine; the others in the main thread and without waiting. */
typedef struct JobDriver {
    size_t instance_size; /* of the struct that begins with a Job */
    JobType job_type;
    /* The work.  0 or a negative errno (an Error in *errp is more exact). */
    int coroutine_fn (*co_run)(Job *job, Error **errp);
    /* Called when the job becomes paused, and before it runs on. */
    void (*pause)(Job *job);
    void (*resume)(Job *job);
    /* The user's "complete" verb; NULL: the job cannot be completed by hand. */
    void (*complete)(Job *job, Error **errp);
    /* A request to cancel; returns whether it is forced.  NULL: every cancel is forced. */
    bool (*cancel)(Job *job, bool force);
    /* The end.  co_prepare: control lock held.  commit, abort: exactly one is called. */
    int coroutine_fn (*co_prepare)(Job *job);
    void (*commit)(Job *job);
    void (*abort)(Job *job);
    void (*clean)(Job *job);
    /* Release what the struct holds; last call, control lock held. */
    void coroutine_fn (*co_free)(Job *job);
    /* Fill the type's part of query-jobs. */
    void (*query)(Job *job, JobInfo *info);
} JobDriver;

/* Flags of job_create(). */
typedef enum JobFlags {
    JOB_DEFAULT = 0,
    JOB_INTERNAL = 1,          /* no id, no events, invisible */
    JOB_MANUAL_FINALIZE = 2,
    JOB_MANUAL_DISMISS = 4,
} JobFlags;

struct Job {
    const JobDriver *driver;
    char *id; /* NULL: internal */
    bool auto_finalize, auto_dismiss;

    /* Main thread only. */
    JobStatus status;
    int refcnt;
    int pause_count;  /* reasons to pause: the user (at most one), freezes, error policy */
    bool user_paused;
    JobTxn *txn;
    int ret;
    Error *err;
    bool deferred_to_main_loop; /* co_run has returned */
    QTAILQ_ENTRY(Job) next, next_txn;

    /* Atomics, seen by co_run. */
    bool paused;          /* at a pause point, or asleep */
    bool cancelled;       /* asked to end */
    bool force_cancel;    /* ... at once, even if ready */
    bool busy;            /* running code between pause points */

    Coroutine *co;
    QemuCoSleep sleep;
    ProgressMeter progress; /* thread-safe */
    char *waits_for;        /* one clause for people: "rate limit", NULL: nothing */
};

/* ---- life (main thread, control lock for create) ------------------------------------------------ */

/** @id: NULL with JOB_INTERNAL only.  @txn: NULL for one of its own. */
Job *job_create(const char *id, const JobDriver *driver, JobTxn *txn, int flags, Error **errp);
void job_start(Job *job);
Job *job_ref(Job *job);
void job_unref(Job *job);
/** End a job that was created but not started. */
void job_early_fail(Job *job);
Job *job_get(const char *id);
Job *job_next(Job *job);

JobTxn *job_txn_new(void);
void job_txn_unref(JobTxn *txn);

/* ---- verbs (main thread) ------------------------------------------------------------------------ */

/** Would @verb be refused in this state?  Sets "Job 'x' in state 's' cannot accept command verb 'v'". */
bool job_verb_allowed(Job *job, JobVerb verb, Error **errp);
void job_user_pause(Job *job, Error **errp);
void job_user_resume(Job *job, Error **errp);
void job_user_cancel(Job *job, bool force, Error **errp);
void job_complete(Job *job, Error **errp);
void job_finalize(Job *job, Error **errp);
void job_dismiss(Job **job, Error **errp);
/** Cancel by force and wait until it has ended; not under the control lock. */
int coroutine_fn job_co_cancel_sync(Job *job);
void coroutine_fn job_co_cancel_sync_all(void);

/* ---- for co_run --------------------------------------------------------------------------------- */

void coroutine_fn job_co_pause_point(Job *job);
/** Sleep @ns, woken by verbs; is a pause point. */
void coroutine_fn job_co_sleep_ns(Job *job, int64_t ns, const char *why);
/** Sleep until job_enter(); is a pause point. */
void coroutine_fn job_co_yield(Job *job);
/** Wake a sleeping job.  Any thread. */
void job_enter(Job *job);
bool job_is_cancelled(Job *job);      /* by force: stop now */
bool job_cancel_requested(Job *job);  /* any kind */
void job_transition_to_ready(Job *job);
bool job_is_ready(Job *job);
bool job_is_completed(Job *job);
bool job_is_paused(Job *job);
void job_progress_update(Job *job, uint64_t done);
void job_progress_set_remaining(Job *job, uint64_t remaining);
void job_progress_increase_remaining(Job *job, uint64_t delta);

/* Pause for an inner reason (freeze, error policy); nests. */
void job_pause(Job *job);
void job_resume(Job *job);

/** One row of query-jobs. */
JobInfo *job_query(Job *job, Error **errp);
const char *job_type_str(const Job *job);

#endif
