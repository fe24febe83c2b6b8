/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs: long-running operations with a life of their own.
 *
 *   created -> running <-> paused -> [ready <-> standby] -> waiting -> pending -> concluded -> null
 *                 \__________________ aborting ____________________/
 *
 * Rules of use
 *  - All in the main thread: job code runs in a coroutine of the main loop; data may be moved by
 *    any thread.
 *  - co_run is straight-line code with job_co_pause_point() between requests, where nothing of its
 *    own is in flight.  A job is not in the way of a freeze while it sleeps, waits at a pause
 *    point, waits for the control lock or has returned.
 *  - The end is in the control plane: co_prepare of every job of the transaction (may fail, may do
 *    I/O), then commit or abort of each (no I/O, cannot fail), then co_clean.
 *  - Verbs take no lock; they set flags and wake the job.
 *  - job-state.c holds the tables: status x next status, verb x status.
 */
#ifndef BLOCK_JOB_H
#define BLOCK_JOB_H

#include "block/aio.h"
#include "block/coroutine.h"
#include "qapi/gen/job-types.h"
#include "qemu/co-lock.h"
#include "qemu/error.h"
#include "qemu/progress.h"
#include "qemu/queue.h"
#include "qemu/timer.h"

typedef struct Job Job;
typedef struct JobTxn JobTxn;

/* What users ask of a job.  The words are in error messages. */
typedef enum JobVerb {
    JOB_VERB_CANCEL,
    JOB_VERB_PAUSE,
    JOB_VERB_RESUME,
    JOB_VERB_SET_SPEED,
    JOB_VERB_CHANGE,
    JOB_VERB_COMPLETE,
    JOB_VERB_FINALIZE,
    JOB_VERB_DISMISS,
    JOB_VERB__MAX,
} JobVerb;

/* What a kind of jobs tells the world beside JOB_STATUS_CHANGE. */
typedef enum JobEvent {
    JOB_EVENT_READY,
    JOB_EVENT_PENDING,   /* waits for the user's "finalize" */
    JOB_EVENT_COMPLETED, /* well, or with an error */
    JOB_EVENT_CANCELLED,
} JobEvent;

/* A kind of job.  Contexts: co_ in a coroutine; the others without waiting. */
typedef struct JobDriver {
    size_t instance_size; /* of the struct that begins with a Job */
    JobType job_type;
    /* The work.  0, or a negative errno; an Error in *errp is more exact. */
    int coroutine_fn (*co_run)(Job *job, Error **errp);
    /* Called when the job becomes paused, and before it runs on. */
    void (*pause)(Job *job);
    void (*resume)(Job *job);
    /* The user resumed a job that a user or the error policy had paused. */
    void (*user_resume)(Job *job);
    /* The user's "complete" verb; NULL: the job cannot be completed by hand. */
    void (*complete)(Job *job, Error **errp);
    /* A request to cancel; returns whether it is forced.  NULL: every cancel is forced. */
    bool (*cancel)(Job *job, bool force);
    /* The end, under the control lock.  One of commit and abort is called, then co_clean. */
    int coroutine_fn (*co_prepare)(Job *job, Error **errp);
    void (*commit)(Job *job);
    void (*abort)(Job *job);
    void coroutine_fn (*co_clean)(Job *job);
    /* Send the event of this kind of jobs; never called for internal jobs. */
    void (*event)(Job *job, JobEvent event);
    /* Free what the struct holds; the last call.  Nodes went in co_clean. */
    void (*free)(Job *job);
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

    JobStatus status;
    int refcnt;
    JobTxn *txn; /* until the end */
    int ret;
    Error *err;

    Coroutine *co;    /* NULL: not started */
    bool busy;        /* between pause points: a freeze waits */
    bool paused;      /* at a pause point, shown by the status */
    bool done;        /* has run, and its transaction knows */
    int pause_count;  /* reasons to pause: the user (at most one), freezes */
    bool user_paused; /* by the user or the error policy; the user may resume */
    char *pause_cause; /* of the error policy, a clause for people; else NULL */
    bool cancelled;    /* asked to end; a job that is ready may still end well */
    bool force_cancel; /* ... at once */
    bool drop_on_end;  /* somebody waits for it to go: do not wait to be dismissed */

    QemuCoSleep sleep;
    const char *waits_for; /* a clause for people, "rate limit"; NULL: nothing; static text */
    int64_t wakes_ns;      /* with waits_for: when by itself, by job_clock_ns(); 0: it does not */
    CoQueue ended;         /* those who wait until it has concluded, or is ready */
    ProgressMeter progress;
    QTAILQ_ENTRY(Job) next, next_in_txn;
};

/* ---- life ------------------------------------------------------------------------------------ */

/**
 * Make a job, status "created".
 *
 * @id: NULL with JOB_INTERNAL only.  @txn: NULL for one of its own.
 * Returns a job whose reference belongs to the list of jobs, or NULL with @errp set: "Job ID 'x'
 * already in use", "Invalid job ID 'x'".
 */
Job *job_create(const char *id, const JobDriver *driver, JobTxn *txn, int flags, Error **errp);
/** Would job_create() take @id?  For those who have work to do before. */
bool job_id_is_free(const char *id, Error **errp);
/** Run it; it works until it yields before this returns. */
void job_start(Job *job);
/** References; main thread.  The last one frees. */
Job *job_ref(Job *job);
void job_unref(Job *job);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Job, job_unref)
/** Drop a job that was created but whose creation then failed; its driver's end is not called. */
void job_early_fail(Job *job);
/** End a job that was not started, as if cancelled.  Context: control lock. */
void coroutine_fn job_co_abandon(Job *job);
/** The job called @id, or NULL. */
Job *job_get(const char *id);
/** Every job that is not internal, latest first; NULL starts, NULL ends. */
Job *job_next(Job *job);

/** A group of jobs that succeed or fail together; each holds a reference, the caller one. */
JobTxn *job_txn_new(void);
void job_txn_unref(JobTxn *txn);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JobTxn, job_txn_unref)

/* ---- verbs ----------------------------------------------------------------------------------- */

/** Is @verb accepted in this state?  Sets "Job 'x' in state 's' cannot accept command verb 'v'". */
bool job_verb_allowed(Job *job, JobVerb verb, Error **errp);
/** What the user asks for: each false with @errp set if the verb is not accepted now. */
bool job_user_pause(Job *job, Error **errp);
bool job_user_resume(Job *job, Error **errp);
/** @force false: a job that is ready may end well instead. */
bool job_user_cancel(Job *job, bool force, Error **errp);
/** Let a job that is ready end well. */
bool job_complete(Job *job, Error **errp);
/** Make the results of the job's whole transaction permanent.  Context: control lock. */
bool coroutine_fn job_co_finalize(Job *job, Error **errp);
/** Forget a job that has concluded, and drop the list's reference. */
bool job_dismiss(Job *job, Error **errp);
/**
 * Cancel by force and wait until it has ended and gone from the list, or, if that comes first, has
 * ended well.  Not under the control lock.  Returns the job's result.
 */
int coroutine_fn job_co_cancel_sync(Job *job);
/** The same with every job, internal ones too, until there is none. */
void coroutine_fn job_co_cancel_sync_all(void);
/** Complete it as soon as it is ready, and wait for its end.  Not under the control lock. */
int coroutine_fn job_co_complete_sync(Job *job, Error **errp);
/** Wait until it has concluded.  Not under the control lock.  Returns its result. */
int coroutine_fn job_co_wait(Job *job);

/* ---- for co_run ------------------------------------------------------------------------------ */

/** Wait while there is a reason to be paused. */
void coroutine_fn job_co_pause_point(Job *job);
/** The clock that jobs' sleeps and speed limits go by, which only a test changes; nanoseconds. */
int64_t job_clock_ns(void);
void job_set_clock(QEMUClockType clock);
/** Sleep @ns, woken by verbs; is a pause point.  @why: static text. */
void coroutine_fn job_co_sleep_ns(Job *job, int64_t ns, const char *why);
/** The same, where the end of the time only means to look again. */
void coroutine_fn job_co_poll_ns(Job *job, int64_t ns, const char *why);
/** Sleep until job_enter(); is a pause point.  @why: static text. */
void coroutine_fn job_co_yield(Job *job, const char *why);
/** Take the control lock; the end is a pause point. */
void coroutine_fn job_co_control_begin(Job *job);
void coroutine_fn job_co_control_end(Job *job);
/** Wake a sleeping job. */
void job_enter(Job *job);
/** By force: stop now. */
bool job_is_cancelled(const Job *job);
/** Cancelled by force, or asked to pause: get to the next pause point. */
bool job_is_interrupted(const Job *job);
/** In any way. */
bool job_cancel_requested(const Job *job);
/** The target has what the source has: tell it by status and event; to be called once. */
void job_transition_to_ready(Job *job);
/** Ready, or paused while ready. */
bool job_is_ready(const Job *job);
/** Concluded, or gone. */
bool job_has_ended(const Job *job);
/** Must a freeze wait for it? */
bool job_is_busy(const Job *job);

/* Progress: any thread; in the job's own unit, bytes as a rule. */
void job_progress_update(Job *job, uint64_t done);
void job_progress_set_remaining(Job *job, uint64_t remaining);

/* Pause for an inner reason (freeze); nests.  Takes effect at the next pause point. */
void job_pause(Job *job);
void job_resume(Job *job);
/** Pause so that the user may resume.  @cause: a clause for people; NULL: the user wanted it. */
void job_pause_for_user(Job *job, const char *cause);

/** A sentence for people: what the job waits for; NULL: it works.  Free with g_free. */
char *job_waits_for(const Job *job);
/** One row of query-jobs. */
JobInfo *job_query(const Job *job);
/** The schema's word for its type. */
const char *job_type_str(const Job *job);

#endif
