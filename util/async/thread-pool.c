/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Worker threads, one set for all loops.
 *
 * A loop collects what its iteration submits and hands it over under one lock at the end.  How many
 * workers that wakes depends on what the work has been like lately: work that computes (or copies
 * from the page cache) gets no more workers than processors, work that sleeps in the kernel gets as
 * many as there are requests, so that the disk sees them all.
 *
 * Should the first of a batch hang, the loop's timer sends workers after the rest: they may be what
 * the hanging ones wait for.
 *
 * A group has a queue of its own.  While there is anything in it, its token is in the pool's queue
 * or in the hands of the one worker that does the group's jobs.
 *
 * Workers put what they finished on the loop's lock-free list and schedule one bottom half, which
 * wakes the loop only if it sleeps and only once per batch.
 */
#include "qemu/osdep.h"

#include <sched.h>

#include "aio-internal.h"
#include "block/thread-pool.h"

#define DEFAULT_MAX_WORKERS 64
#define IDLE_MS 10000
/* A worker looks at its processor time after this much work, and never for shorter spans. */
#define SAMPLE_NS 1000000
/* A batch of which nothing was taken for so long has got stuck. */
#define STUCK_NS 1000000
/* Of jobs shorter than this, a worker is woken for so many: waking takes as long as some do. */
#define SHORT_NS 20000
#define SHORT_JOBS 16
/* Kept by a loop for its next jobs. */
#define MAX_SPARE_JOBS 256
/* Most jobs of a group that are taken at once: the loop makes the next ones meanwhile. */
#define GROUP_BATCH 32

typedef struct PoolJob PoolJob;

struct PoolJob {
    ThreadPoolFunc *func;                 /* of a group's: NULL */
    void *arg;
    ThreadPoolCompletion *cb;
    void *opaque;
    PoolClient *client;
    ThreadPoolGroup *group;               /* or NULL */
    int ret;
    bool is_on_stack;                     /* a waiting coroutine's */
    QSIMPLEQ_ENTRY(PoolJob) queued;
    QSLIST_ENTRY(PoolJob) finished;
};

QSIMPLEQ_HEAD(PoolJobQueue, PoolJob);

struct ThreadPoolGroup {
    ThreadPoolGroupFunc *func;
    /* Under the pool's lock. */
    struct PoolJobQueue queue;
    bool has_worker;                      /* or the token is queued */
    PoolJob token;
};

/* The pool's side of one loop. */
struct PoolClient {
    AioContext *ctx;
    QSLIST_HEAD(, PoolJob) spare;                     /* home thread; linked by finished */
    int n_spare;
    struct PoolJobQueue submitted;        /* home thread; so are the next two */
    int n_submitted;
    bool has_grouped;                     /* some of them belong to groups */
    AioDeferred hand_over;
    QEMUTimer stuck_timer;
    unsigned taken_before;                            /* pool.taken when the timer was set */
    QSLIST_HEAD(, PoolJob) finished;                  /* atomic, newest first */
    QEMUBH *finished_bh;
};

static struct {
    QemuMutex lock;
    QemuCond work;
    struct PoolJobQueue queue;
    int queued;
    unsigned taken;                       /* jobs taken from the queue so far */
    int workers;
    int idle;                             /* workers that wait for the signal */
    int signalled;                        /* ... and of these, were sent one */
    int min;
    int max;
    bool work_sleeps;                     /* atomic: what the last samples said; so is the next */
    int64_t job_ns;                       /* mean length of a job */
} pool = {
    .work = { PTHREAD_COND_INITIALIZER },
    .queue = QSIMPLEQ_HEAD_INITIALIZER(pool.queue),
    .max = DEFAULT_MAX_WORKERS,
};
static pthread_once_t pool_once = PTHREAD_ONCE_INIT;
static int processors;

static void pool_init(void)
{
    pthread_mutexattr_t attr;
    cpu_set_t set;

    /* Held for moments only: who finds it taken looks again before it sleeps. */
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&pool.lock.lock, &attr);
    pthread_mutexattr_destroy(&attr);
    processors = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    qemu_cond_init(&pool.work);
}

/* ---- workers --------------------------------------------------------------------------------- */
/* What one worker knows of its own work. */
typedef struct WorkerClock {
    int64_t busy_ns;                      /* spent in jobs since the last sample */
    int jobs;
    int64_t cpu_ns;                       /* thread's processor time at the last sample */
} WorkerClock;

static int64_t thread_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * NANOSECONDS_PER_SECOND + ts.tv_nsec;
}

static void worker_account(WorkerClock *clock, int64_t ns)
{
    clock->busy_ns += ns;
    clock->jobs++;
    if (clock->busy_ns >= SAMPLE_NS) {
        int64_t cpu_ns = thread_cpu_ns();

        qatomic_set(&pool.work_sleeps, cpu_ns - clock->cpu_ns < clock->busy_ns / 2);
        qatomic_set(&pool.job_ns, clock->busy_ns / clock->jobs);
        clock->cpu_ns = cpu_ns;
        clock->busy_ns = 0;
        clock->jobs = 0;
    }
}

/* Tell the loop of jobs that are finished: @newest, the one before it, ... @oldest, all of it. */
static void jobs_publish(PoolJob *newest, PoolJob *oldest)
{
    PoolClient *client = newest->client;
    AioContext *ctx = client->ctx;

    /* Once the loop has seen the jobs, the client may go; the bottom half is part of it. */
    aio_context_ref(ctx);
    if (!QSLIST_INSERT_CHAIN_ATOMIC_FETCH(&client->finished, newest, oldest, finished)) {
        qemu_bh_schedule(client->finished_bh);
    }
    aio_context_unref(ctx);
}

static void job_run(PoolJob *job, WorkerClock *clock)
{
    int64_t start = get_clock();

    job->ret = job->func(job->arg);
    worker_account(clock, get_clock() - start);
    jobs_publish(job, job);
}

/* ---- groups ---------------------------------------------------------------------------------- */
/* Jobs of a group that a worker took. */
typedef struct GroupBatch {
    PoolJob *jobs[GROUP_BATCH];
    void *args[GROUP_BATCH];
    int rets[GROUP_BATCH];
    int n;
} GroupBatch;

/* Under the lock. */
static void queue_token(ThreadPoolGroup *group)
{
    group->has_worker = true;
    QSIMPLEQ_INSERT_TAIL(&pool.queue, &group->token, queued);
    pool.queued++;
}

/* Under the lock. */
static void group_take(ThreadPoolGroup *group, GroupBatch *batch)
{
    PoolJob *job;

    batch->n = 0;
    while (batch->n < GROUP_BATCH && (job = QSIMPLEQ_FIRST(&group->queue))) {
        QSIMPLEQ_REMOVE_HEAD(&group->queue, queued);
        batch->jobs[batch->n] = job;
        batch->args[batch->n++] = job->arg;
    }
}

/* Tell of the jobs of @batch from @i to before @end, those of a loop together. */
static void group_publish(GroupBatch *batch, int i, int end)
{
    while (i < end) {
        PoolJob *oldest = batch->jobs[i], *newest = oldest;

        oldest->ret = batch->rets[i];
        while (++i < end && batch->jobs[i]->client == oldest->client) {
            batch->jobs[i]->ret = batch->rets[i];
            batch->jobs[i]->finished.next = newest;
            newest = batch->jobs[i];
        }
        jobs_publish(newest, oldest);
    }
}

/*
 * Before the last jobs are told of, the group is
 * left for good or is in the queue again: whoever sees them may free it.
 */
static void group_run(ThreadPoolGroup *group, GroupBatch *batch, WorkerClock *clock)
{
    int done = 0, n;

    while (true) {
        int64_t start = get_clock();

        n = group->func(batch->args + done, batch->rets + done, batch->n - done);
        assert(n > 0 && n <= batch->n - done);
        worker_account(clock, get_clock() - start);
        if (done + n == batch->n) {
            break;
        }
        group_publish(batch, done, done + n);
        done += n;
    }
    qemu_mutex_lock(&pool.lock);
    if (QSIMPLEQ_EMPTY(&group->queue)) {
        group->has_worker = false;
    } else {
        queue_token(group);
    }
    qemu_mutex_unlock(&pool.lock);
    group_publish(batch, done, batch->n);
}

/* ---- life of a worker ------------------------------------------------------------------------ */

/* Wait for a job; NULL: time to end.  Under the lock. */
static PoolJob *worker_next_job(void)
{
    PoolJob *job;

    while (QSIMPLEQ_EMPTY(&pool.queue)) {
        bool was_signalled;

        pool.idle++;
        was_signalled = qemu_cond_timedwait(&pool.work, &pool.lock, IDLE_MS);
        pool.idle--;
        if (pool.signalled > 0) {
            pool.signalled--;
        }
        if (!was_signalled && QSIMPLEQ_EMPTY(&pool.queue) && pool.workers > pool.min) {
            return NULL;
        }
    }
    job = QSIMPLEQ_FIRST(&pool.queue);
    QSIMPLEQ_REMOVE_HEAD(&pool.queue, queued);
    pool.queued--;
    pool.taken++;
    return job;
}

static int wake_workers(int wanted);
static void release_and_signal(int n);

static void *worker_main(void *opaque)
{
    WorkerClock clock = { 0 };
    GroupBatch batch;
    PoolJob *job;

    (void)opaque;
    qemu_mutex_lock(&pool.lock);
    while (pool.workers <= pool.max && (job = worker_next_job())) {
        /* The others of a batch that was thought to be computing need not wait for us. */
        bool wake = qatomic_read(&pool.work_sleeps) && pool.queued > 0;

        if (job->group) {
            group_take(job->group, &batch);
        }
        release_and_signal(wake ? wake_workers(2) : 0);
        if (job->group) {
            group_run(job->group, &batch, &clock);
        } else {
            job_run(job, &clock);
        }
        qemu_mutex_lock(&pool.lock);
    }
    pool.workers--;
    qemu_mutex_unlock(&pool.lock);
    return NULL;
}

/*
 * Get @wanted more workers going, as far as jobs and limits allow.  Under the lock.  Returns how
 * many idle ones release_and_signal() is to wake.
 */
static int wake_workers(int wanted)
{
    int signals;

    wanted = MIN(wanted, pool.queued);
    signals = CLAMP(pool.idle - pool.signalled, 0, wanted);
    pool.signalled += signals;
    wanted -= signals;
    while (wanted > 0 && pool.workers < pool.max) {
        QemuThread thread;
        int ret = qemu_thread_try_create(&thread, "worker", worker_main, NULL,
                                         QEMU_THREAD_DETACHED);

        if (ret < 0) {
            if (pool.workers == 0) {
                fprintf(stderr, "no thread for blocking calls: %s\n", strerror(-ret));
                abort();
            }
            break;
        }
        pool.workers++;
        wanted--;
    }
    return signals;
}

/* Release the lock, then wake @n workers, which need it first of all. */
static void release_and_signal(int n)
{
    qemu_mutex_unlock(&pool.lock);
    while (n-- > 0) {
        qemu_cond_signal(&pool.work);
    }
}

void thread_pool_set_limits(int min, int max)
{
    assert(min >= 0 && min <= max && max > 0);
    pthread_once(&pool_once, pool_init);
    qemu_mutex_lock(&pool.lock);
    pool.min = min;
    pool.max = max;
    qemu_cond_broadcast(&pool.work);
    qemu_mutex_unlock(&pool.lock);
}

int thread_pool_processors(void)
{
    pthread_once(&pool_once, pool_init);
    return processors;
}

/* ---- the loop's side ------------------------------------------------------------------------- */
/* Under the lock. */
static void client_watch_queue(PoolClient *client)
{
    client->taken_before = pool.taken;
    timer_mod_ns(&client->stuck_timer, get_clock() + STUCK_NS);
}

static void client_stuck_cb(void *opaque)
{
    PoolClient *client = opaque;
    int signals = 0;

    qemu_mutex_lock(&pool.lock);
    if (pool.queued > 0) {
        if (pool.taken == client->taken_before) {
            signals = wake_workers(pool.queued);
        }
        client_watch_queue(client);
    }
    release_and_signal(signals);
}

/* How many of @n jobs to begin at once, if they compute. */
static int workers_for(int n)
{
    int64_t ns = qatomic_read(&pool.job_ns);

    if (ns && ns < SHORT_NS) {
        n = DIV_ROUND_UP(n, SHORT_JOBS);
    }
    return MIN(n, processors);
}

/* Under the lock: put what was submitted where it belongs.  Returns for how many workers. */
static int sort_into_queues(PoolClient *client)
{
    int before = pool.queued;
    PoolJob *job;

    if (likely(!client->has_grouped)) {
        QSIMPLEQ_CONCAT(&pool.queue, &client->submitted);
        pool.queued += client->n_submitted;
        return client->n_submitted;
    }
    while ((job = QSIMPLEQ_FIRST(&client->submitted))) {
        ThreadPoolGroup *group = job->group;

        QSIMPLEQ_REMOVE_HEAD(&client->submitted, queued);
        QSIMPLEQ_INSERT_TAIL(group ? &group->queue : &pool.queue, job, queued);
        if (!group) {
            pool.queued++;
        } else if (!group->has_worker) {
            queue_token(group);
        }
    }
    return pool.queued - before;
}

static void client_hand_over(void *opaque)
{
    PoolClient *client = opaque;
    int n, wanted, signals;

    qemu_mutex_lock(&pool.lock);
    n = sort_into_queues(client);
    client->n_submitted = 0;
    client->has_grouped = false;
    wanted = qatomic_read(&pool.work_sleeps) ? n : workers_for(n);
    signals = wake_workers(wanted);
    if (wanted < n && !timer_pending(&client->stuck_timer)) {
        client_watch_queue(client);
    }
    release_and_signal(signals);
}

static void job_recycle(PoolClient *client, PoolJob *job)
{
    if (client->n_spare == MAX_SPARE_JOBS) {
        g_free(job);
        return;
    }
    QSLIST_INSERT_HEAD(&client->spare, job, finished);
    client->n_spare++;
}

static void client_finished_bh(void *opaque)
{
    PoolClient *client = opaque;
    QSLIST_HEAD(, PoolJob) newest_first, in_order;
    PoolJob *job;

    QSLIST_INIT(&in_order);
    QSLIST_MOVE_ATOMIC(&newest_first, &client->finished);
    while ((job = QSLIST_FIRST(&newest_first))) {
        QSLIST_REMOVE_HEAD(&newest_first, finished);
        QSLIST_INSERT_HEAD(&in_order, job, finished);
    }
    while ((job = QSLIST_FIRST(&in_order))) {
        ThreadPoolCompletion *cb = job->cb;
        void *opaque_cb = job->opaque;
        int ret = job->ret;

        QSLIST_REMOVE_HEAD(&in_order, finished);
        if (!job->is_on_stack) {
            job_recycle(client, job);
        }
        if (cb) {
            cb(opaque_cb, ret);
        }
    }
}

static PoolClient *current_client(void)
{
    AioContext *ctx = qemu_get_current_aio_context();

    assert(ctx);
    if (unlikely(!ctx->pool)) {
        PoolClient *client = g_new0(PoolClient, 1);

        pthread_once(&pool_once, pool_init);
        client->ctx = ctx;
        QSIMPLEQ_INIT(&client->submitted);
        client->hand_over.fn = client_hand_over;
        client->hand_over.opaque = client;
        aio_timer_init(ctx, &client->stuck_timer, QEMU_CLOCK_REALTIME, SCALE_NS, client_stuck_cb,
                       client);
        client->finished_bh = aio_bh_new(ctx, client_finished_bh, client);
        ctx->pool = client;
    }
    return ctx->pool;
}

void pool_client_free(PoolClient *client)
{
    if (client) {
        assert(client->n_submitted == 0 && QSLIST_EMPTY(&client->finished));
        timer_del(&client->stuck_timer);
        qemu_bh_delete(client->finished_bh);
        while (client->n_spare-- > 0) {
            PoolJob *job = QSLIST_FIRST(&client->spare);

            QSLIST_REMOVE_HEAD(&client->spare, finished);
            g_free(job);
        }
        g_free(client);
    }
}

static void job_submit(PoolClient *client, PoolJob *job)
{
    job->client = client;
    QSIMPLEQ_INSERT_TAIL(&client->submitted, job, queued);
    client->n_submitted++;
    client->has_grouped |= job->group != NULL;
    aio_defer_call(client->ctx, &client->hand_over);
}

static void submit_aio(ThreadPoolGroup *group, ThreadPoolFunc *func, void *arg,
                       ThreadPoolCompletion *cb, void *opaque)
{
    PoolClient *client = current_client();
    PoolJob *job = QSLIST_FIRST(&client->spare);

    if (job) {
        QSLIST_REMOVE_HEAD(&client->spare, finished);
        client->n_spare--;
    } else {
        job = g_new(PoolJob, 1);
    }
    *job = (PoolJob){
        .group = group,
        .func = func,
        .arg = arg,
        .cb = cb,
        .opaque = opaque,
    };
    job_submit(client, job);
}

void thread_pool_submit_aio(ThreadPoolFunc *func, void *arg, ThreadPoolCompletion *cb,
                            void *opaque)
{
    submit_aio(NULL, func, arg, cb, opaque);
}

void thread_pool_group_submit_aio(ThreadPoolGroup *group, void *arg, ThreadPoolCompletion *cb,
                                  void *opaque)
{
    submit_aio(group, NULL, arg, cb, opaque);
}

typedef struct PoolCo {
    Coroutine *co;
    int ret;
} PoolCo;

static void pool_co_done(void *opaque, int ret)
{
    PoolCo *wait = opaque;

    wait->ret = ret;
    aio_co_wake(wait->co);
}

static int coroutine_fn co_submit(ThreadPoolGroup *group, ThreadPoolFunc *func, void *arg)
{
    PoolCo wait = { .co = qemu_coroutine_self() };
    PoolJob job = {
        .group = group,
        .func = func,
        .arg = arg,
        .cb = pool_co_done,
        .opaque = &wait,
        .is_on_stack = true,
    };

    job_submit(current_client(), &job);
    qemu_coroutine_yield();
    return wait.ret;
}

int coroutine_fn thread_pool_submit_co(ThreadPoolFunc *func, void *arg)
{
    return co_submit(NULL, func, arg);
}

int coroutine_fn thread_pool_group_submit_co(ThreadPoolGroup *group, void *arg)
{
    return co_submit(group, NULL, arg);
}

ThreadPoolGroup *thread_pool_group_new(ThreadPoolGroupFunc *func)
{
    ThreadPoolGroup *group = g_new0(ThreadPoolGroup, 1);

    group->func = func;
    group->token.group = group;
    QSIMPLEQ_INIT(&group->queue);
    return group;
}

void thread_pool_group_free(ThreadPoolGroup *group)
{
    if (group) {
        assert(QSIMPLEQ_EMPTY(&group->queue) && !group->has_worker);
        g_free(group);
    }
}

typedef struct PoolShare {
    Coroutine *co;
    int running;
    int ret;
} PoolShare;

static void pool_share_done(void *opaque, int ret)
{
    PoolShare *share = opaque;

    if (ret < 0) {
        share->ret = ret;
    }
    if (--share->running == 0) {
        aio_co_wake(share->co);
    }
}

int coroutine_fn thread_pool_share_co(ThreadPoolFunc *func, void *arg, int max)
{
    int n = CLAMP(thread_pool_processors(), 1, max);
    PoolShare share = { .co = qemu_coroutine_self(), .running = n };

    for (int i = 0; i < n; i++) {
        thread_pool_submit_aio(func, arg, pool_share_done, &share);
    }
    qemu_coroutine_yield();
    return share.ret;
}
