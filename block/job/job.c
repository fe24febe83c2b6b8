/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of a job: created, run, paused, cancelled, ended.
 */
#include "qemu/osdep.h"

#include "block/freeze.h"
#include "block/graph.h"
#include "job-int.h"
#include "qemu/cutils.h"
#include "qemu/thread.h"

static QTAILQ_HEAD(, Job) jobs = QTAILQ_HEAD_INITIALIZER(jobs); /* latest first */

/* ---- life ------------------------------------------------------------------------------------ */

bool job_id_is_free(const char *id, Error **errp)
{
    if (!id_wellformed(id)) {
        error_setg(errp, "Invalid job ID '%s'", id);
        return false;
    }
    if (job_get(id)) {
        error_setg(errp, "Job ID '%s' already in use", id);
        return false;
    }
    return true;
}

Job *job_create(const char *id, const JobDriver *driver, JobTxn *txn, int flags, Error **errp)
{
    Job *job;

    GLOBAL_STATE_CODE();
    assert(!id == !!(flags & JOB_INTERNAL));
    assert(!(flags & JOB_INTERNAL) || !(flags & (JOB_MANUAL_FINALIZE | JOB_MANUAL_DISMISS)));
    if (id && !job_id_is_free(id, errp)) {
        return NULL;
    }
    job = g_malloc0(driver->instance_size);
    job->driver = driver;
    job->id = g_strdup(id);
    job->refcnt = 1;
    job->auto_finalize = !(flags & JOB_MANUAL_FINALIZE);
    job->auto_dismiss = !(flags & JOB_MANUAL_DISMISS);
    qemu_co_queue_init(&job->ended);
    progress_init(&job->progress);
    QTAILQ_INSERT_HEAD(&jobs, job, next);
    if (txn) {
        job_txn_add(txn, job);
    } else {
        g_autoptr(JobTxn) own = job_txn_new();

        job_txn_add(own, job);
    }
    job_set_status(job, JOB_STATUS_CREATED);
    return job;
}

Job *job_ref(Job *job)
{
    job->refcnt++;
    return job;
}

void job_unref(Job *job)
{
    GLOBAL_STATE_CODE();
    if (!job || --job->refcnt > 0) {
        return;
    }
    assert(job->status == JOB_STATUS_NULL && !job->txn);
    if (job->driver->free) {
        job->driver->free(job);
    }
    error_free(job->err);
    g_free(job->pause_cause);
    g_free(job->id);
    g_free(job);
}

Job *job_get(const char *id)
{
    Job *job;

    QTAILQ_FOREACH(job, &jobs, next) {
        if (job->id && strcmp(job->id, id) == 0) {
            return job;
        }
    }
    return NULL;
}

Job *job_next(Job *job)
{
    GLOBAL_STATE_CODE();
    do {
        job = job ? QTAILQ_NEXT(job, next) : QTAILQ_FIRST(&jobs);
    } while (job && !job->id);
    return job;
}

/* Out of the list; drops the list's reference. */
static void job_remove(Job *job)
{
    job_set_status(job, JOB_STATUS_NULL);
    QTAILQ_REMOVE(&jobs, job, next);
    qemu_co_queue_restart_all(&job->ended);
    job_unref(job);
}

void job_early_fail(Job *job)
{
    assert(job->status == JOB_STATUS_CREATED);
    job_txn_remove(job);
    job_remove(job);
}

void coroutine_fn job_co_abandon(Job *job)
{
    assert(!job->co);
    if (job->status == JOB_STATUS_CREATED) {
        job_flag_cancelled(job, true);
        job_txn_co_done(job);
    }
}

void job_conclude(Job *job)
{
    job_set_status(job, JOB_STATUS_CONCLUDED);
    if (job->auto_dismiss || job->drop_on_end || !job->co) {
        job_remove(job);
    } else {
        qemu_co_queue_restart_all(&job->ended);
    }
}

void job_send_event(Job *job, JobEvent event)
{
    if (job->id && job->driver->event) {
        job->driver->event(job, event);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static QEMUClockType job_clock = QEMU_CLOCK_REALTIME;

void job_set_clock(QEMUClockType clock)
{
    job_clock = clock;
}

int64_t job_clock_ns(void)
{
    return qemu_clock_get_ns(job_clock);
}

/* ---- the coroutine --------------------------------------------------------------------------- */

static void job_set_busy(Job *job, bool busy)
{
    job->busy = busy;
    if (!busy) {
        bdrv_freeze_kick();
    }
}

static void coroutine_fn job_co_entry(void *opaque)
{
    g_autoptr(Job) job = job_ref(opaque);

    job_co_pause_point(job);
    job->ret = job_is_cancelled(job) ? -ECANCELED : job->driver->co_run(job, &job->err);
    job_set_busy(job, false);

    BDRV_CONTROL_GUARD();
    job_txn_co_done(job);
}

void job_start(Job *job)
{
    GLOBAL_STATE_CODE();
    assert(!job->co);
    job->co = qemu_coroutine_create(job_co_entry, job);
    job->busy = true;
    job_set_status(job, JOB_STATUS_RUNNING);
    qemu_coroutine_enter(job->co);
}

/*
 * Give up the loop where nothing of the job's is in flight; @ns < 0: until woken.  @tell_when:
 * people are told the time, too.
 */
static void coroutine_fn job_co_idle(Job *job, int64_t ns, const char *why, bool tell_when)
{
    job->waits_for = why;
    job->wakes_ns = tell_when ? job_clock_ns() + ns : 0;
    job_set_busy(job, false);
    if (ns < 0) {
        qemu_co_sleep(&job->sleep);
    } else {
        qemu_co_sleep_ns_wakeable(&job->sleep, job_clock, ns);
    }
    job_set_busy(job, true);
    job->waits_for = NULL;
}

void coroutine_fn job_co_pause_point(Job *job)
{
    while (job->pause_count > 0) {
        if (!job->paused) {
            job->paused = true;
            job_set_status(job, job_is_ready(job) ? JOB_STATUS_STANDBY : JOB_STATUS_PAUSED);
            if (job->driver->pause) {
                job->driver->pause(job);
            }
        }
        job_co_idle(job, -1, "a change of the block graph to be done", false);
    }
}

void coroutine_fn job_co_sleep_ns(Job *job, int64_t ns, const char *why)
{
    if (job->pause_count == 0 && !job_is_cancelled(job) && ns > 0) {
        job_co_idle(job, ns, why, true);
    }
    job_co_pause_point(job);
}

void coroutine_fn job_co_poll_ns(Job *job, int64_t ns, const char *why)
{
    if (job->pause_count == 0 && !job_is_cancelled(job)) {
        job_co_idle(job, ns, why, false);
    }
    job_co_pause_point(job);
}

void coroutine_fn job_co_yield(Job *job, const char *why)
{
    if (job->pause_count == 0 && !job_is_cancelled(job)) {
        job_co_idle(job, -1, why, false);
    }
    job_co_pause_point(job);
}

void coroutine_fn job_co_control_begin(Job *job)
{
    job->waits_for = "the control lock";
    job->wakes_ns = 0;
    job_set_busy(job, false);
    bdrv_co_control_lock();
    job->waits_for = NULL;
}

void coroutine_fn job_co_control_end(Job *job)
{
    bdrv_co_control_unlock();
    job_set_busy(job, true);
    job_co_pause_point(job);
}

void job_enter(Job *job)
{
    GLOBAL_STATE_CODE();
    qemu_co_sleep_wake(&job->sleep);
}

bool job_is_busy(const Job *job)
{
    return job->busy;
}

/* ---- pausing --------------------------------------------------------------------------------- */

void job_pause(Job *job)
{
    GLOBAL_STATE_CODE();
    job->pause_count++;
}

void job_resume(Job *job)
{
    GLOBAL_STATE_CODE();
    assert(job->pause_count > 0);
    if (--job->pause_count > 0 || !job->paused) {
        return;
    }
    job->paused = false;
    job_set_status(job, job->status == JOB_STATUS_STANDBY ? JOB_STATUS_READY : JOB_STATUS_RUNNING);
    if (job->driver->resume) {
        job->driver->resume(job);
    }
    job_enter(job);
}

void job_pause_for_user(Job *job, const char *cause)
{
    /* Cancelling ends a pause, and there is nobody to end one that comes later. */
    if (!job->user_paused && !job_is_cancelled(job)) {
        job->user_paused = true;
        job->pause_cause = g_strdup(cause);
        job_pause(job);
    }
}

bool job_user_pause(Job *job, Error **errp)
{
    if (!job_verb_allowed(job, JOB_VERB_PAUSE, errp)) {
        return false;
    }
    if (job->user_paused) {
        error_setg(errp, "Job is already paused");
        return false;
    }
    if (job_is_cancelled(job)) {
        error_setg(errp, "Job '%s' is being cancelled", job->id);
        return false;
    }
    job_pause_for_user(job, NULL);
    job_enter(job);
    return true;
}

/* Drop the user's reason to pause. */
static void user_unpause(Job *job)
{
    if (job->user_paused) {
        job->user_paused = false;
        g_free(g_steal_pointer(&job->pause_cause));
        if (job->driver->user_resume) {
            job->driver->user_resume(job);
        }
        job_resume(job);
    }
}

bool job_user_resume(Job *job, Error **errp)
{
    if (!job->user_paused) {
        error_setg(errp, "Can't resume a job that was not paused");
        return false;
    }
    if (!job_verb_allowed(job, JOB_VERB_RESUME, errp)) {
        return false;
    }
    user_unpause(job);
    return true;
}

/* ---- ending ---------------------------------------------------------------------------------- */

bool job_is_cancelled(const Job *job)
{
    return job->force_cancel;
}

bool job_is_interrupted(const Job *job)
{
    return job->force_cancel || job->pause_count > 0;
}

bool job_cancel_requested(const Job *job)
{
    return job->cancelled;
}

void job_flag_cancelled(Job *job, bool force)
{
    if (job->driver->cancel) {
        force = job->driver->cancel(job, force);
    } else {
        force = true;
    }
    job->cancelled = true;
    job->force_cancel |= force;
    user_unpause(job);
    job_enter(job);
}

static void coroutine_fn co_cancel_done(void *opaque)
{
    g_autoptr(Job) job = opaque;
    BDRV_CONTROL_GUARD();

    /* Meanwhile it may have ended, or have been found cancelled. */
    if (job->txn && job->status != JOB_STATUS_CREATED) {
        job_txn_co_cancel(job);
    } else if (job->txn && !job->co) {
        job_co_abandon(job);
    }
}

static void job_cancel(Job *job, bool force)
{
    bool was_forced = job->force_cancel;

    if (!job->txn || job->txn->decided || (job->cancelled && (was_forced || !force))) {
        return;
    }
    job_flag_cancelled(job, force);
    if (job_is_cancelled(job) && (job->done || !job->co)) {
        qemu_coroutine_enter(qemu_coroutine_create(co_cancel_done, job_ref(job)));
    }
}

bool job_user_cancel(Job *job, bool force, Error **errp)
{
    if (!job_verb_allowed(job, JOB_VERB_CANCEL, errp)) {
        return false;
    }
    job_cancel(job, force);
    return true;
}

bool job_complete(Job *job, Error **errp)
{
    if (!job_verb_allowed(job, JOB_VERB_COMPLETE, errp)) {
        return false;
    }
    if (job_cancel_requested(job) || !job->driver->complete) {
        error_setg(errp, "The active block job '%s' cannot be completed", job->id);
        return false;
    }
    Error *local_err = NULL;

    job->driver->complete(job, &local_err);
    if (local_err) {
        error_propagate(errp, local_err);
        return false;
    }
    return true;
}

bool coroutine_fn job_co_finalize(Job *job, Error **errp)
{
    CONTROL_PATH();
    if (!job_verb_allowed(job, JOB_VERB_FINALIZE, errp)) {
        return false;
    }
    job_txn_co_finalize(job->txn);
    return true;
}

bool job_dismiss(Job *job, Error **errp)
{
    if (!job_verb_allowed(job, JOB_VERB_DISMISS, errp)) {
        return false;
    }
    job_remove(job);
    return true;
}

bool job_has_ended(const Job *job)
{
    return job->status == JOB_STATUS_CONCLUDED || job->status == JOB_STATUS_NULL;
}

int coroutine_fn job_co_wait(Job *job)
{
    g_autoptr(Job) ref = job_ref(job);

    while (!job_has_ended(job)) {
        qemu_co_queue_wait(&job->ended, NULL);
    }
    return job->ret;
}

int coroutine_fn job_co_complete_sync(Job *job, Error **errp)
{
    g_autoptr(Job) ref = job_ref(job);

    while (!job_is_ready(job) && !job_has_ended(job)) {
        qemu_co_queue_wait(&job->ended, NULL);
    }
    if (job_is_ready(job) && !job_complete(job, errp)) {
        return -EINVAL;
    }
    if (job_co_wait(job) < 0) {
        error_setg_errno(errp, -job->ret, "Block job failed");
    }
    return job->ret;
}

int coroutine_fn job_co_cancel_sync(Job *job)
{
    g_autoptr(Job) ref = job_ref(job);

    job->drop_on_end = true;
    if (job->status == JOB_STATUS_CONCLUDED) {
        job_remove(job);
    } else {
        job_cancel(job, true);
    }
    return job_co_wait(job);
}

void coroutine_fn job_co_cancel_sync_all(void)
{
    Job *job;

    while ((job = QTAILQ_FIRST(&jobs))) {
        job_co_cancel_sync(job);
    }
}

/* ---- ready, progress, query ------------------------------------------------------------------ */

void job_transition_to_ready(Job *job)
{
    job_set_status(job, JOB_STATUS_READY);
    qemu_co_queue_restart_all(&job->ended);
    job_send_event(job, JOB_EVENT_READY);
}

bool job_is_ready(const Job *job)
{
    return job->status == JOB_STATUS_READY || job->status == JOB_STATUS_STANDBY;
}

void job_progress_update(Job *job, uint64_t done)
{
    progress_work_done(&job->progress, done);
}

void job_progress_set_remaining(Job *job, uint64_t remaining)
{
    progress_set_remaining(&job->progress, remaining);
}

const char *job_type_str(const Job *job)
{
    return JobType_str(job->driver->job_type);
}

char *job_waits_for(const Job *job)
{
    switch (job->status) {
    case JOB_STATUS_CREATED:
        return g_strdup("It has not been started yet");
    case JOB_STATUS_WAITING:
        return g_strdup("Its work is done; it waits for the other jobs of its transaction");
    case JOB_STATUS_PENDING:
        return g_strdup("Its work is done; it waits for job-finalize");
    case JOB_STATUS_CONCLUDED:
        return g_strdup("It is over and waits for job-dismiss");
    default:
        break;
    }
    if (job->user_paused) {
        return g_strdup_printf("It is paused %s, and waits for job-resume",
                               job->pause_cause ? job->pause_cause : "by a user");
    }
    if (job->waits_for && job->wakes_ns > job_clock_ns() + SCALE_MS) {
        return g_strdup_printf("It waits for %s, for another %" PRId64 " ms", job->waits_for,
                               (job->wakes_ns - job_clock_ns()) / SCALE_MS);
    }
    return job->waits_for ? g_strdup_printf("It waits for %s", job->waits_for) : NULL;
}

JobInfo *job_query(const Job *job)
{
    JobInfo *info = g_new0(JobInfo, 1);
    uint64_t current, total;

    progress_get_snapshot(&job->progress, &current, &total);
    info->id = g_strdup(job->id);
    info->type = job->driver->job_type;
    info->status = job->status;
    info->current_progress = current;
    info->total_progress = total;
    info->error = job->err ? g_strdup(error_get_pretty(job->err)) : NULL;
    info->waits_for = job_waits_for(job);
    return info;
}
