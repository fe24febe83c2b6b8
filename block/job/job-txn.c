/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transactions of jobs: all succeed or all are undone.
 *
 * Everything here happens under the control lock, in one of two orders of events:
 *   every job returned well: waiting; all pending, [the user's finalize,] prepare all, commit all;
 *   one failed or is cancelled: cancel the others by force, wait until each has returned (each
 *   comes by here then), undo all.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "job-int.h"

JobTxn *job_txn_new(void)
{
    JobTxn *txn = g_new0(JobTxn, 1);

    txn->refcnt = 1;
    QTAILQ_INIT(&txn->jobs);
    return txn;
}

void job_txn_unref(JobTxn *txn)
{
    if (txn && --txn->refcnt == 0) {
        assert(QTAILQ_EMPTY(&txn->jobs));
        g_free(txn);
    }
}

void job_txn_add(JobTxn *txn, Job *job)
{
    assert(!txn->aborting && !txn->decided);
    job->txn = txn;
    txn->refcnt++;
    QTAILQ_INSERT_HEAD(&txn->jobs, job, next_in_txn);
}

void job_txn_remove(Job *job)
{
    JobTxn *txn = job->txn;

    QTAILQ_REMOVE(&txn->jobs, job, next_in_txn);
    job->txn = NULL;
    job_txn_unref(txn);
}

static bool all_done(const JobTxn *txn)
{
    const Job *job;

    QTAILQ_FOREACH(job, &txn->jobs, next_in_txn) {
        if (!job->done) {
            return false;
        }
    }
    return true;
}

/* A job that is cancelled has not succeeded, and one that failed says why. */
static void settle_result(Job *job)
{
    if (job->ret >= 0 && job_is_cancelled(job)) {
        job->ret = -ECANCELED;
    }
    if (job->ret < 0) {
        if (!job->err) {
            error_setg(&job->err, "%s", strerror(-job->ret));
        }
        if (job->status != JOB_STATUS_ABORTING) {
            job_set_status(job, JOB_STATUS_ABORTING);
        }
    }
}

static void coroutine_fn co_end_job(Job *job)
{
    bool cancelled = job_is_cancelled(job);

    if (job->ret < 0) {
        if (job->driver->abort) {
            job->driver->abort(job);
        }
    } else if (job->driver->commit) {
        job->driver->commit(job);
    }
    if (job->driver->co_clean) {
        job->driver->co_clean(job);
        /* Whoever acts on the event finds the images closed. */
        bdrv_co_reap();
    }
    if (job->co) {
        job_send_event(job, cancelled ? JOB_EVENT_CANCELLED : JOB_EVENT_COMPLETED);
    }
    job_txn_remove(job);
    job_conclude(job);
}

/* The jobs leave the transaction one by one; the last one's end would free it. */
static void coroutine_fn co_end_all(JobTxn *txn)
{
    Job *job;

    txn->refcnt++;
    while ((job = QTAILQ_FIRST(&txn->jobs))) {
        co_end_job(job);
    }
    job_txn_unref(txn);
}

static void coroutine_fn co_abort(JobTxn *txn)
{
    Job *job;

    if (!txn->aborting) {
        txn->aborting = true;
        QTAILQ_FOREACH(job, &txn->jobs, next_in_txn) {
            if (job->ret >= 0) {
                job_flag_cancelled(job, true);
            }
            job->done |= !job->co;
        }
    }
    if (!all_done(txn)) {
        return;
    }
    QTAILQ_FOREACH(job, &txn->jobs, next_in_txn) {
        settle_result(job);
    }
    co_end_all(txn);
}

static bool coroutine_fn co_prepare_all(JobTxn *txn)
{
    Job *job;

    QTAILQ_FOREACH(job, &txn->jobs, next_in_txn) {
        if (job->driver->co_prepare) {
            job->ret = job->driver->co_prepare(job, &job->err);
        }
    }
    /* Preparing may have taken long, and verbs take no lock. */
    QTAILQ_FOREACH(job, &txn->jobs, next_in_txn) {
        settle_result(job);
        if (job->ret < 0) {
            return false;
        }
    }
    return true;
}

void coroutine_fn job_txn_co_finalize(JobTxn *txn)
{
    CONTROL_PATH();
    if (co_prepare_all(txn)) {
        txn->decided = true;
        co_end_all(txn);
    } else {
        co_abort(txn);
    }
}

static void coroutine_fn co_succeed(Job *job)
{
    JobTxn *txn = job->txn;
    bool by_itself = true;

    job_set_status(job, JOB_STATUS_WAITING);
    if (!all_done(txn)) {
        return;
    }
    QTAILQ_FOREACH(job, &txn->jobs, next_in_txn) {
        job_set_status(job, JOB_STATUS_PENDING);
        if (!job->auto_finalize) {
            by_itself = false;
            job_send_event(job, JOB_EVENT_PENDING);
        }
    }
    if (by_itself) {
        job_txn_co_finalize(txn);
    }
}

void coroutine_fn job_txn_co_done(Job *job)
{
    JobTxn *txn = job->txn;

    CONTROL_PATH();
    job->done = true;
    settle_result(job);
    if (job->ret < 0 || txn->aborting) {
        co_abort(txn);
    } else {
        co_succeed(job);
    }
}

void coroutine_fn job_txn_co_cancel(Job *job)
{
    CONTROL_PATH();
    if (job->txn) {
        co_abort(job->txn);
    }
}
