/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs in general: life, verbs, cancelling at each pause point, transactions, freezes. */
#include "qemu/osdep.h"

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"
#include "events.h"

#include "block/blockjob.h"

/* ---- a job that does a number of steps ------------------------------------------------------- */

typedef struct StepJob {
    BlockJob common;
    int steps, done;
    bool sleeps;    /* between steps, for long */
    bool gets_ready; /* after the steps: ready, until completed */
    bool completed;
    int fail_at;    /* step, or -1 */
    int prepare_ret;
    char *log;      /* of the end: p(repare) c(ommit) a(bort) l(clean) */
} StepJob;

static char *ends; /* the log of the job that was freed last */

static void step_log(Job *job, const char *what)
{
    StepJob *s = (StepJob *)job;
    g_autofree char *old = s->log;

    s->log = g_strconcat(old ? old : "", what, NULL);
}

static int coroutine_fn step_co_run(Job *job, Error **errp)
{
    StepJob *s = (StepJob *)job;

    job_progress_set_remaining(job, s->steps);
    while (s->done < s->steps && !job_is_cancelled(job)) {
        if (s->done == s->fail_at) {
            error_setg(errp, "step %d failed", s->done);
            return -EIO;
        }
        s->done++;
        job_progress_update(job, 1);
        if (s->sleeps) {
            job_co_sleep_ns(job, INT64_MAX / 2, "the next step");
        } else {
            job_co_pause_point(job);
        }
    }
    if (s->gets_ready && !job_is_cancelled(job)) {
        job_transition_to_ready(job);
        while (!s->completed && !job_cancel_requested(job)) {
            job_co_yield(job, "job-complete");
        }
    }
    return job_is_cancelled(job) ? -ECANCELED : 0;
}

static void step_complete(Job *job, Error **errp)
{
    ((StepJob *)job)->completed = true;
    job_enter(job);
}

static bool step_cancel(Job *job, bool force)
{
    return force || !job_is_ready(job);
}

static int coroutine_fn step_co_prepare(Job *job, Error **errp)
{
    step_log(job, "p");
    return ((StepJob *)job)->prepare_ret;
}

static void step_commit(Job *job)
{
    step_log(job, "c");
}

static void step_abort(Job *job)
{
    step_log(job, "a");
}

static void coroutine_fn step_co_clean(Job *job)
{
    step_log(job, "l");
    block_job_co_remove_all_bdrv((BlockJob *)job);
    g_free(ends);
    ends = g_steal_pointer(&((StepJob *)job)->log);
}

static const JobDriver step_driver = {
    .instance_size = sizeof(StepJob),
    .job_type = JOB_TYPE_STREAM,
    .co_run = step_co_run,
    .complete = step_complete,
    .cancel = step_cancel,
    .co_prepare = step_co_prepare,
    .commit = step_commit,
    .abort = step_abort,
    .co_clean = step_co_clean,
    .user_resume = block_job_user_resume,
    .event = block_job_event,
    .free = block_job_free,
};

static BlockDriverState *disk;

static StepJob *coroutine_fn co_new_job(const char *id, JobTxn *txn, int flags)
{
    BlockJobArgs args = {
        .id = id, .driver = &step_driver, .txn = txn, .device = disk, .flags = flags,
    };
    StepJob *s = block_job_create(&args, &error_abort);

    s->steps = 3;
    s->fail_at = -1;
    block_job_co_add_bdrv(&s->common, "main node", disk, 0, BLK_PERM_ALL, 0, &error_abort);
    return s;
}

static void coroutine_fn co_set_up(void)
{
    disk = memdisk_co_new("disk", MiB);
    events_start();
}

static void coroutine_fn co_tear_down(void)
{
    qapi_event_set_emitter(NULL);
    g_string_free(events_text, TRUE);
    bdrv_unref(disk);
    g_clear_pointer(&ends, g_free);
}

/* Wait with the lock free, as commands do. */
static int coroutine_fn co_wait(Job *job)
{
    int ret;

    bdrv_co_control_unlock();
    ret = job_co_wait(job);
    bdrv_co_control_lock();
    return ret;
}

/* Let everything run that can. */
static void coroutine_fn co_settle(void)
{
    bdrv_co_control_unlock();
    for (int i = 0; i < 50; i++) {
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
    bdrv_co_control_lock();
}

static void coroutine_fn co_start(StepJob *s)
{
    job_start(&s->common.job);
    co_settle();
}

/* ---- life ------------------------------------------------------------------------------------ */

static void coroutine_fn co_success(void)
{
    co_set_up();
    StepJob *s = co_new_job("j", NULL, JOB_DEFAULT);
    g_autoptr(Job) job = job_ref(&s->common.job);

    job_start(job);
    g_assert_cmpint(co_wait(job), ==, 0);
    events_expect("j:created j:running j:waiting j:pending BLOCK_JOB_COMPLETED:j j:concluded "
                  "j:null");
    g_assert_cmpstr(ends, ==, "pcl");
    g_assert_null(job_get("j"));
    co_tear_down();
}

static void coroutine_fn co_failure(void)
{
    co_set_up();
    StepJob *s = co_new_job("j", NULL, JOB_DEFAULT);
    g_autoptr(Job) job = job_ref(&s->common.job);

    s->fail_at = 1;
    job_start(job);
    g_assert_cmpint(co_wait(job), ==, -EIO);
    events_expect("j:created j:running j:aborting BLOCK_JOB_COMPLETED:j:step 1 failed j:concluded "
                  "j:null");
    g_assert_cmpstr(ends, ==, "al");
    co_tear_down();
}

static void coroutine_fn co_prepare_fails(void)
{
    co_set_up();
    StepJob *s = co_new_job("j", NULL, JOB_DEFAULT);
    g_autoptr(Job) job = job_ref(&s->common.job);

    s->prepare_ret = -ENOSPC;
    job_start(job);
    g_assert_cmpint(co_wait(job), ==, -ENOSPC);
    events_expect("j:created j:running j:waiting j:pending j:aborting "
                  "BLOCK_JOB_COMPLETED:j:No space left on device j:concluded j:null");
    g_assert_cmpstr(ends, ==, "pal");
    co_tear_down();
}

static void coroutine_fn co_manual(void)
{
    co_set_up();
    StepJob *s = co_new_job("j", NULL, JOB_MANUAL_FINALIZE | JOB_MANUAL_DISMISS);
    Job *job = &s->common.job;
    JobInfo *info;
    Error *err = NULL;

    co_start(s);
    events_expect("j:created j:running j:waiting j:pending BLOCK_JOB_PENDING:j");
    g_assert_null(ends);
    g_assert_false(job_dismiss(job, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Job 'j' in state 'pending' cannot accept command verb 'dismiss'");
    error_free(err);
    g_assert_true(job_co_finalize(job, &error_abort));
    events_expect("BLOCK_JOB_COMPLETED:j j:concluded");
    info = job_query(job);
    g_assert_cmpint(info->current_progress, ==, 3);
    g_assert_cmpint(info->total_progress, ==, 3);
    g_assert_cmpint(info->status, ==, JOB_STATUS_CONCLUDED);
    qapi_free_JobInfo(info);
    g_assert_true(job_dismiss(job, &error_abort));
    events_expect("j:null");
    g_assert_null(job_get("j"));
    co_tear_down();
}

static void coroutine_fn co_cancel_pending(void)
{
    co_set_up();
    StepJob *s = co_new_job("j", NULL, JOB_MANUAL_FINALIZE);

    co_start(s);
    events_forget();
    g_assert_true(job_user_cancel(&s->common.job, false, &error_abort));
    co_settle();
    events_expect("j:aborting BLOCK_JOB_CANCELLED:j j:concluded j:null");
    g_assert_cmpstr(ends, ==, "al");
    co_tear_down();
}

static void coroutine_fn co_not_started(void)
{
    co_set_up();
    StepJob *s = co_new_job("j", NULL, JOB_MANUAL_DISMISS);

    job_co_abandon(&s->common.job);
    events_expect("j:created j:aborting j:concluded j:null");
    s = co_new_job("k", NULL, JOB_DEFAULT);
    block_job_co_remove_all_bdrv(&s->common);
    job_early_fail(&s->common.job);
    events_expect("k:created k:null");
    co_tear_down();
}

static void coroutine_fn co_ids(void)
{
    Error *err = NULL;

    co_set_up();
    StepJob *s = co_new_job("j", NULL, JOB_DEFAULT);
    g_assert_false(job_id_is_free("j", &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Job ID 'j' already in use");
    g_clear_pointer(&err, error_free);
    g_assert_false(job_id_is_free("1 2", &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Invalid job ID '1 2'");
    g_clear_pointer(&err, error_free);
    BlockJobArgs args = { .driver = &step_driver, .device = disk };
    g_assert_null(block_job_choose_id(&args, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Invalid job ID ''");
    g_clear_pointer(&err, error_free);
    g_assert_null(block_job_get("nope", &err));
    g_assert_cmpint(error_get_class(err), ==, ERROR_CLASS_DEVICE_NOT_ACTIVE);
    error_free(err);
    job_co_abandon(&s->common.job);
    co_tear_down();
}

static void coroutine_fn co_internal(void)
{
    co_set_up();
    StepJob *s = co_new_job(NULL, NULL, JOB_INTERNAL);
    g_autoptr(Job) job = job_ref(&s->common.job);

    g_assert_null(job_next(NULL));
    job_start(job);
    g_assert_cmpint(co_wait(job), ==, 0);
    events_expect("");
    co_tear_down();
}

/* ---- verbs ----------------------------------------------------------------------------------- */

static void coroutine_fn co_pause_resume(void)
{
    Error *err = NULL;

    co_set_up();
    StepJob *s = co_new_job("j", NULL, JOB_DEFAULT);
    g_autoptr(Job) job = job_ref(&s->common.job);

    s->sleeps = true;
    co_start(s);
    g_assert_cmpint(s->done, ==, 1);
    g_assert_false(job_user_resume(job, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Can't resume a job that was not paused");
    g_clear_pointer(&err, error_free);
    g_assert_true(job_user_pause(job, &error_abort));
    co_settle();
    events_expect("j:created j:running j:paused");
    g_assert_false(job_user_pause(job, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Job is already paused");
    g_clear_pointer(&err, error_free);
    job_enter(job); /* wakes, and is of no use */
    co_settle();
    g_assert_cmpint(s->done, ==, 1);
    g_assert_true(job_user_resume(job, &error_abort));
    co_settle();
    g_assert_cmpint(s->done, ==, 2);
    events_expect("j:running");
    g_assert_true(job_user_cancel(job, false, &error_abort));
    co_settle();
    events_expect("j:aborting BLOCK_JOB_CANCELLED:j j:concluded j:null");
    co_tear_down();
}

static void coroutine_fn co_pause_after_cancel(void)
{
    Error *err = NULL;

    co_set_up();
    StepJob *s = co_new_job("j", NULL, JOB_DEFAULT);
    g_autoptr(Job) job = job_ref(&s->common.job);

    s->sleeps = true;
    co_start(s);
    job_user_cancel(job, true, &error_abort);
    g_assert_false(job_user_pause(job, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Job 'j' is being cancelled");
    error_free(err);
    block_job_error_action(&s->common, BLOCKDEV_ON_ERROR_STOP, true, EIO);
    g_assert_cmpint(co_wait(job), ==, -ECANCELED);
    co_tear_down();
}

static void coroutine_fn co_ready(void)
{
    Error *err = NULL;

    co_set_up();
    for (int way = 0; way < 3; way++) {
        StepJob *s = co_new_job("j", NULL, JOB_DEFAULT);
        g_autoptr(Job) job = job_ref(&s->common.job);

        s->gets_ready = true;
        g_assert_false(job_complete(job, &err));
        g_assert_cmpstr(error_get_pretty(err), ==,
                        "Job 'j' in state 'created' cannot accept command verb 'complete'");
        g_clear_pointer(&err, error_free);
        co_start(s);
        events_expect("j:created j:running j:ready BLOCK_JOB_READY:j");
        job_user_pause(job, &error_abort);
        co_settle();
        events_expect("j:standby");
        job_user_resume(job, &error_abort);
        co_settle();
        events_expect("j:ready");
        if (way == 0) {
            g_assert_true(job_complete(job, &error_abort));
        } else {
            /* Without force a job that is ready ends well. */
            job_user_cancel(job, way == 2, &error_abort);
        }
        g_assert_cmpint(co_wait(job), ==, way == 2 ? -ECANCELED : 0);
        events_expect(way == 2 ? "j:aborting BLOCK_JOB_CANCELLED:j j:concluded j:null"
                               : "j:waiting j:pending BLOCK_JOB_COMPLETED:j j:concluded j:null");
    }
    co_tear_down();
}

/* Let a sleeping job make @n steps, pause it on the way every second time, then cancel. */
static void coroutine_fn co_cancel_everywhere(void)
{
    co_set_up();
    for (int n = 0; n < 3; n++) {
        for (int paused = 0; paused < 2; paused++) {
            StepJob *s = co_new_job("j", NULL, JOB_MANUAL_DISMISS);
            g_autoptr(Job) job = job_ref(&s->common.job);

            s->sleeps = true;
            co_start(s);
            for (int i = 0; i < n; i++) {
                job_enter(job);
                co_settle();
            }
            if (n < 3 && paused && !job_has_ended(job)) {
                job_user_pause(job, &error_abort);
                co_settle();
            }
            bdrv_co_control_unlock();
            g_assert_cmpint(job_co_cancel_sync(job), ==, -ECANCELED);
            bdrv_co_control_lock();
            g_assert_cmpint(s->done, ==, n + 1);
            /* Nobody is asked to dismiss what was cancelled like that. */
            g_assert_null(job_get("j"));
        }
    }
    co_tear_down();
}

static void coroutine_fn co_cancel_all(void)
{
    co_set_up();
    StepJob *done = co_new_job("done", NULL, JOB_MANUAL_DISMISS);
    StepJob *pending = co_new_job("pending", NULL, JOB_MANUAL_FINALIZE);
    StepJob *busy = co_new_job("busy", NULL, JOB_DEFAULT);

    co_new_job("idle", NULL, JOB_DEFAULT);
    busy->sleeps = true;
    job_start(&done->common.job);
    job_start(&pending->common.job);
    job_start(&busy->common.job);
    co_settle();
    events_forget();
    bdrv_co_control_unlock();
    job_co_cancel_sync_all();
    bdrv_co_control_lock();
    events_expect("idle:aborting idle:concluded idle:null "
                  "busy:aborting BLOCK_JOB_CANCELLED:busy busy:concluded busy:null "
                  "pending:aborting BLOCK_JOB_CANCELLED:pending pending:concluded pending:null "
                  "done:null");
    g_assert_null(job_next(NULL));
    co_tear_down();
}

/* ---- transactions ---------------------------------------------------------------------------- */

static void coroutine_fn co_txn_success(void)
{
    co_set_up();
    g_autoptr(JobTxn) txn = job_txn_new();
    StepJob *a = co_new_job("a", txn, JOB_DEFAULT), *b = co_new_job("b", txn, JOB_DEFAULT);

    a->sleeps = true;
    job_start(&a->common.job);
    job_start(&b->common.job);
    co_settle();
    events_expect("a:created b:created a:running b:running b:waiting");
    g_autoptr(Job) job = job_ref(&a->common.job);
    while (!job_has_ended(job)) {
        job_enter(job);
        co_settle();
    }
    events_expect("a:waiting b:pending a:pending BLOCK_JOB_COMPLETED:b b:concluded b:null "
                  "BLOCK_JOB_COMPLETED:a a:concluded a:null");
    co_tear_down();
}

static void coroutine_fn co_txn_failure(void)
{
    co_set_up();
    g_autoptr(JobTxn) txn = job_txn_new();
    StepJob *a = co_new_job("a", txn, JOB_DEFAULT), *b = co_new_job("b", txn, JOB_DEFAULT);
    StepJob *c = co_new_job("c", txn, JOB_DEFAULT);

    c->sleeps = true;
    b->fail_at = 0;
    job_start(&a->common.job); /* done and waiting when b fails */
    job_start(&c->common.job); /* asleep then */
    co_settle();
    events_forget();
    co_start(b);
    events_expect("b:running b:aborting c:aborting a:aborting BLOCK_JOB_CANCELLED:c c:concluded "
                  "c:null BLOCK_JOB_COMPLETED:b:step 0 failed b:concluded b:null "
                  "BLOCK_JOB_CANCELLED:a a:concluded a:null");
    g_assert_cmpstr(ends, ==, "al");
    co_tear_down();
}

static void coroutine_fn co_txn_prepare_fails(void)
{
    co_set_up();
    g_autoptr(JobTxn) txn = job_txn_new();
    StepJob *a = co_new_job("a", txn, JOB_DEFAULT), *b = co_new_job("b", txn, JOB_DEFAULT);

    a->prepare_ret = -EIO;
    job_start(&a->common.job);
    co_start(b);
    events_expect("a:created b:created a:running b:running a:waiting b:waiting b:pending a:pending "
                  "a:aborting b:aborting BLOCK_JOB_CANCELLED:b b:concluded b:null "
                  "BLOCK_JOB_COMPLETED:a:Input/output error a:concluded a:null");
    co_tear_down();
}

static void coroutine_fn co_txn_manual_finalize(void)
{
    co_set_up();
    g_autoptr(JobTxn) txn = job_txn_new();
    StepJob *a = co_new_job("a", txn, JOB_MANUAL_FINALIZE), *b = co_new_job("b", txn, JOB_DEFAULT);

    job_start(&a->common.job);
    co_start(b);
    events_expect("a:created b:created a:running b:running a:waiting b:waiting b:pending a:pending "
                  "BLOCK_JOB_PENDING:a");
    /* The user may tell any of them. */
    g_assert_true(job_co_finalize(&b->common.job, &error_abort));
    events_expect("BLOCK_JOB_COMPLETED:b b:concluded b:null BLOCK_JOB_COMPLETED:a a:concluded "
                  "a:null");
    co_tear_down();
}

static void coroutine_fn co_txn_cancel_waiting(void)
{
    co_set_up();
    g_autoptr(JobTxn) txn = job_txn_new();
    StepJob *a = co_new_job("a", txn, JOB_DEFAULT), *b = co_new_job("b", txn, JOB_DEFAULT);

    b->sleeps = true;
    job_start(&a->common.job);
    co_start(b);
    events_forget();
    g_assert_true(job_user_cancel(&a->common.job, false, &error_abort));
    co_settle();
    events_expect("b:aborting a:aborting BLOCK_JOB_CANCELLED:b b:concluded b:null "
                  "BLOCK_JOB_CANCELLED:a a:concluded a:null");
    co_tear_down();
}

/* ---- freezes, claims, speed ------------------------------------------------------------------ */

static void coroutine_fn co_started_frozen(void)
{
    co_set_up();
    BdrvFreeze *freeze = bdrv_co_freeze_node(disk);
    StepJob *s = co_new_job("j", NULL, JOB_DEFAULT);

    co_start(s);
    g_assert_cmpint(s->done, ==, 0);
    events_expect("j:created j:running j:paused");
    bdrv_thaw(freeze);
    events_expect("j:running");
    co_settle();
    events_expect("j:waiting j:pending BLOCK_JOB_COMPLETED:j j:concluded j:null");
    co_tear_down();
}

static void coroutine_fn co_asleep_is_quiet(void)
{
    co_set_up();
    StepJob *s = co_new_job("j", NULL, JOB_DEFAULT);

    s->sleeps = true;
    co_start(s);
    events_forget();
    BdrvFreeze *freeze = bdrv_co_freeze_node(disk);
    /* Woken meanwhile, it stops before its next step. */
    job_enter(&s->common.job);
    co_settle();
    g_assert_cmpint(s->done, ==, 1);
    /* Cancelled meanwhile, it ends after the thaw. */
    job_user_cancel(&s->common.job, true, &error_abort);
    co_settle();
    events_expect("j:paused");
    bdrv_thaw(freeze);
    co_settle();
    events_expect("j:running j:aborting BLOCK_JOB_CANCELLED:j j:concluded j:null");
    co_tear_down();
}

static void coroutine_fn co_given_up_frozen(void)
{
    co_set_up();
    g_autoptr(BdrvFreeze) outer = bdrv_co_freeze_node(disk);
    g_autoptr(BdrvFreeze) inner = bdrv_co_freeze_node(disk);
    StepJob *s = co_new_job("j", NULL, JOB_DEFAULT);

    job_co_abandon(&s->common.job);
    g_assert_null(job_get("j"));
    co_tear_down();
}

static void coroutine_fn co_claims(void)
{
    Error *err = NULL;

    co_set_up();
    StepJob *s = co_new_job("j", NULL, JOB_DEFAULT);

    for (int op = 0; op < BLOCK_OP_TYPE_MAX; op++) {
        g_assert_true(bdrv_op_is_blocked(disk, op, &err));
        g_assert_cmpstr(error_get_pretty(err), ==,
                        "Node 'disk' is busy: block device is in use by block job: stream");
        g_assert_nonnull(strstr(error_get_hint(err), "stream job 'j'"));
        g_clear_pointer(&err, error_free);
    }
    job_co_abandon(&s->common.job);
    g_assert_true(bdrv_op_blocker_is_empty(disk));
    g_assert_cmpint(bdrv_parent_count(disk), ==, 0);
    co_tear_down();
}

static void coroutine_fn co_speed(void)
{
    Error *err = NULL;

    co_set_up();
    StepJob *s = co_new_job("j", NULL, JOB_DEFAULT);
    BlockJob *job = &s->common;

    block_job_ratelimit_account(job, 1 * GiB);
    g_assert_cmpint(block_job_ratelimit_delay(job), ==, 0);
    g_assert_false(block_job_set_speed(job, -1, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Parameter 'speed' expects a non-negative value");
    error_free(err);
    g_assert_true(block_job_set_speed(job, MiB, &error_abort));
    g_assert_cmpint(block_job_ratelimit_delay(job), ==, 0);
    block_job_ratelimit_account(job, 64 * KiB); /* 62 ms: within the burst */
    g_assert_cmpint(block_job_ratelimit_delay(job), ==, 0);
    block_job_ratelimit_account(job, 10 * MiB);
    g_assert_cmpint(block_job_ratelimit_delay(job), >, 9 * NANOSECONDS_PER_SECOND);
    g_assert_cmpint(block_job_ratelimit_delay(job), <, 11 * NANOSECONDS_PER_SECOND);
    g_assert_true(block_job_set_speed(job, 1, &error_abort));
    block_job_ratelimit_account(job, INT64_MAX);
    block_job_ratelimit_account(job, INT64_MAX);
    g_assert_cmpint(block_job_ratelimit_delay(job), >, NANOSECONDS_PER_SECOND);
    g_assert_true(block_job_set_speed(job, 0, &error_abort));
    g_assert_cmpint(block_job_ratelimit_delay(job), ==, 0);
    job_co_abandon(&job->job);
    co_tear_down();
}

static void coroutine_fn co_error_policy(void)
{
    static const struct {
        BlockdevOnError policy;
        int error;
        BlockErrorAction action;
        const char *event;
    } cases[] = {
        { BLOCKDEV_ON_ERROR_REPORT, EIO, BLOCK_ERROR_ACTION_REPORT, "read:report" },
        { BLOCKDEV_ON_ERROR_AUTO, EIO, BLOCK_ERROR_ACTION_REPORT, "read:report" },
        { BLOCKDEV_ON_ERROR_IGNORE, EIO, BLOCK_ERROR_ACTION_IGNORE, "read:ignore" },
        { BLOCKDEV_ON_ERROR_ENOSPC, EIO, BLOCK_ERROR_ACTION_REPORT, "read:report" },
        { BLOCKDEV_ON_ERROR_ENOSPC, ENOSPC, BLOCK_ERROR_ACTION_STOP, "read:stop" },
        { BLOCKDEV_ON_ERROR_STOP, EIO, BLOCK_ERROR_ACTION_STOP, "read:stop" },
    };

    co_set_up();
    StepJob *s = co_new_job("j", NULL, JOB_DEFAULT);
    BlockJob *job = &s->common;

    events_forget();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *event = g_strdup_printf("BLOCK_JOB_ERROR:j:%s", cases[i].event);
        bool stops = cases[i].action == BLOCK_ERROR_ACTION_STOP;
        BlockDeviceIoStatus failed = cases[i].error == ENOSPC ? BLOCK_DEVICE_IO_STATUS_NOSPACE
                                                              : BLOCK_DEVICE_IO_STATUS_FAILED;

        g_assert_cmpint(block_job_error_action(job, cases[i].policy, true, cases[i].error), ==,
                        cases[i].action);
        events_expect(event);
        g_assert_cmpint(job->iostatus, ==, stops ? failed : BLOCK_DEVICE_IO_STATUS_OK);
        g_assert_cmpint(job->job.pause_count, ==, stops);
        if (stops) {
            job_user_resume(&job->job, &error_abort);
            g_assert_cmpint(job->iostatus, ==, BLOCK_DEVICE_IO_STATUS_OK);
        }
    }
    job_co_abandon(&job->job);
    co_tear_down();
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/job/life/success", co_success },
        { "/job/life/failure", co_failure },
        { "/job/life/prepare-fails", co_prepare_fails },
        { "/job/life/manual-finalize-and-dismiss", co_manual },
        { "/job/life/cancel-while-pending", co_cancel_pending },
        { "/job/life/never-started", co_not_started },
        { "/job/life/ids", co_ids },
        { "/job/life/internal-is-silent", co_internal },
        { "/job/verbs/pause-and-resume", co_pause_resume },
        { "/job/verbs/pause-after-cancel", co_pause_after_cancel },
        { "/job/verbs/ready-complete-cancel", co_ready },
        { "/job/verbs/cancel-at-every-pause-point", co_cancel_everywhere },
        { "/job/verbs/cancel-all", co_cancel_all },
        { "/job/txn/success", co_txn_success },
        { "/job/txn/one-fails", co_txn_failure },
        { "/job/txn/prepare-fails", co_txn_prepare_fails },
        { "/job/txn/one-waits-for-finalize", co_txn_manual_finalize },
        { "/job/txn/cancel-one-that-waits", co_txn_cancel_waiting },
        { "/job/freeze/started-frozen", co_started_frozen },
        { "/job/freeze/asleep", co_asleep_is_quiet },
        { "/job/freeze/given-up-frozen", co_given_up_frozen },
        { "/job/claims/every-operation", co_claims },
        { "/job/speed/delay", co_speed },
        { "/job/errors/policy", co_error_policy },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
