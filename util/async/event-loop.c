/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AioContext: one iteration of the loop, notification, and the home of the parts beside.
 *
 * How a notification is saved: a thread that changes something (posts a bottom half, starts a
 * timer) first makes the change, then reads is_sleeping; the loop first sets is_sleeping, then
 * looks for changes a last time.  Both steps are ordered by full barriers, so one of them sees the
 * other, and the eventfd is written only when the loop really sleeps.  is_notified saves further
 * writes; while it is set, the eventfd is readable, about to be written, or the loop awake.
 */
#include "qemu/osdep.h"

#include <sys/eventfd.h>

#include "aio-internal.h"
#include "qemu/error.h"
#include "qemu/main-loop.h"

/* How often in a row bottom halves may keep the loop from looking at its descriptors. */
#define MAX_SKIPPED_WAITS 8
#define POLL_NS_START 4000

static __thread AioContext *my_context __attribute__((tls_model("initial-exec")));
static AioContext *main_context;

static QemuMutex all_lock = QEMU_MUTEX_INITIALIZER;
static QLIST_HEAD(, AioContext) all_contexts;      /* under all_lock */

/* ---- life ------------------------------------------------------------------------------------ */
static void event_fd_drain(void *opaque)
{
    AioContext *ctx = opaque;
    uint64_t count;
    ssize_t ret;

    do {
        ret = read(ctx->event_fd, &count, sizeof(count));
    } while (ret < 0 && errno == EINTR);
    /* A write that came late, after the loop woke for another reason, has set it again. */
    qatomic_set_mb(&ctx->is_notified, false);
}

static void context_register(AioContext *ctx)
{
    AioContext *other;
    bool is_taken;

    qemu_mutex_lock(&all_lock);
    do {
        is_taken = false;
        QLIST_FOREACH(other, &all_contexts, next) {
            is_taken |= other->index == ctx->index;
        }
        ctx->index += is_taken;
    } while (is_taken);
    QLIST_INSERT_HEAD(&all_contexts, ctx, next);
    qemu_mutex_unlock(&all_lock);
}

AioContext *aio_context_new(Error **errp)
{
    AioContext *ctx;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Could not create an event loop");
        return NULL;
    }
    ctx = g_new0(AioContext, 1);
    ctx->event_fd = fd;
    ctx->refcount = 1;
    QSIMPLEQ_INIT(&ctx->bh_ready);
    aio_timers_init(ctx);
    fd_monitor_init(&ctx->fds);
    fd_monitor_add_internal(&ctx->fds, fd, event_fd_drain, ctx);
    ctx->scheduled_bh = aio_bh_new(ctx, aio_run_scheduled_coroutines, ctx);
    context_register(ctx);
    return ctx;
}

AioContext *aio_context_ref(AioContext *ctx)
{
    qatomic_inc(&ctx->refcount);
    return ctx;
}

static void context_free(AioContext *ctx)
{
    assert(ctx->depth == 0 && QSLIST_EMPTY(&ctx->scheduled));
    qemu_mutex_lock(&all_lock);
    QLIST_REMOVE(ctx, next);
    qemu_mutex_unlock(&all_lock);

    laio_done(ctx->laio);
    luring_done(ctx->luring);
    pool_client_free(ctx->pool);
    qemu_bh_delete(ctx->scheduled_bh);
    aio_bh_done(ctx);
    aio_timers_done(ctx);
    fd_monitor_done(&ctx->fds);
    close(ctx->event_fd);
    g_free(ctx);
}

void aio_context_unref(AioContext *ctx)
{
    if (ctx && qatomic_fetch_dec(&ctx->refcount) == 1) {
        context_free(ctx);
    }
}

void aio_context_set_home(AioContext *ctx)
{
    my_context = ctx;
}

void aio_set_main_context(AioContext *ctx)
{
    main_context = ctx;
    aio_context_set_home(ctx);
}

AioContext *qemu_get_aio_context(void)
{
    return main_context;
}

/* Not inlined: a coroutine may ask again after it moved to another thread. */
AioContext * __attribute__((noinline)) qemu_get_current_aio_context(void)
{
    __asm__ volatile("");
    return my_context;
}

bool in_aio_context_home_thread(const AioContext *ctx)
{
    return ctx == qemu_get_current_aio_context();
}

unsigned aio_current_loop_index(void)
{
    AioContext *ctx = qemu_get_current_aio_context();

    return ctx ? ctx->index : 0;
}

/* ---- notification ---------------------------------------------------------------------------- */
void aio_notify(AioContext *ctx)
{
    uint64_t one = 1;

    smp_mb();
    if (qatomic_read(&ctx->is_sleeping) && !qatomic_xchg(&ctx->is_notified, true)) {
        /* Fails only when the counter is full, and then the loop wakes as well. */
        while (write(ctx->event_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
            continue;
        }
    }
}

void aio_notify_all(void)
{
    AioContext *ctx;

    qemu_mutex_lock(&all_lock);
    QLIST_FOREACH(ctx, &all_contexts, next) {
        aio_notify(ctx);
    }
    qemu_mutex_unlock(&all_lock);
}

/* ---- hooks ----------------------------------------------------------------------------------- */
void aio_defer_call(AioContext *ctx, AioDeferred *d)
{
    if (!d->is_pending) {
        d->is_pending = true;
        QLIST_INSERT_HEAD(&ctx->deferred, d, next);
    }
}

void aio_defer_cancel(AioContext *ctx, AioDeferred *d)
{
    (void)ctx;
    if (d->is_pending) {
        d->is_pending = false;
        QLIST_REMOVE(d, next);
    }
}

static void run_deferred(AioContext *ctx)
{
    QLIST_HEAD(, AioDeferred) batch;
    AioDeferred *d = QLIST_FIRST(&ctx->deferred);

    if (!d) {
        return;
    }
    /* What they defer again belongs to the next round. */
    batch.first = d;
    d->next.pprev = &batch.first;
    QLIST_INIT(&ctx->deferred);
    while ((d = QLIST_FIRST(&batch))) {
        QLIST_REMOVE(d, next);
        d->is_pending = false;
        d->fn(d->opaque);
    }
}

void aio_add_poller(AioContext *ctx, AioPoller *poller)
{
    QLIST_INSERT_HEAD(&ctx->pollers, poller, next);
}

static bool ask_pollers(AioContext *ctx)
{
    AioPoller *poller, *next;
    bool progress = false;

    QLIST_FOREACH_SAFE(poller, &ctx->pollers, next, next) {
        progress |= poller->poll(poller->opaque);
    }
    return progress;
}

/* ---- polling instead of sleeping ------------------------------------------------------------- */
void aio_context_set_poll_params(AioContext *ctx, int64_t max_ns, int64_t grow, int64_t shrink,
                                 int64_t weight)
{
    qatomic_set(&ctx->poll_max_ns, max_ns);
    qatomic_set(&ctx->poll_grow, grow);
    qatomic_set(&ctx->poll_shrink, shrink);
    qatomic_set(&ctx->poll_weight, weight);
    aio_notify(ctx);
}

void aio_context_set_max_batch(AioContext *ctx, int64_t max_batch)
{
    qatomic_set(&ctx->max_batch, max_batch);
}

int64_t aio_context_max_batch(const AioContext *ctx)
{
    return qatomic_read(&ctx->max_batch);
}

/* Returns whether there is something to do. */
static bool poll_for(AioContext *ctx, int64_t ns)
{
    int64_t end = get_clock() + ns;

    do {
        if (aio_bh_waiting(ctx) || ask_pollers(ctx)) {
            return true;
        }
        cpu_relax();
    } while (get_clock() < end);
    return false;
}

/* The wait took @ns in all: would another poll time have been better? */
static void poll_adapt(AioContext *ctx, int64_t ns, int64_t max_ns)
{
    int64_t grow = qatomic_read(&ctx->poll_grow);
    int64_t shrink = qatomic_read(&ctx->poll_shrink);
    int64_t weight = qatomic_read(&ctx->poll_weight);

    /* Waits that come now and then, long or short, shall not decide alone. */
    ctx->wait_ns += (ns - ctx->wait_ns) / (INT64_C(1) << MIN(weight, 62));
    ns = ctx->wait_ns;
    if (ns <= ctx->poll_ns) {
        return;
    }
    if (ns > max_ns) {
        ctx->poll_ns = shrink ? ctx->poll_ns / shrink : 0;
    } else if (ctx->poll_ns < max_ns) {
        ctx->poll_ns = ctx->poll_ns ? ctx->poll_ns * (grow ? grow : 2) : POLL_NS_START;
    }
    ctx->poll_ns = MIN(ctx->poll_ns, max_ns);
}

/* ---- one iteration --------------------------------------------------------------------------- */
static int64_t sooner(int64_t a_ns, int64_t b_ns)
{
    return a_ns < 0 ? b_ns : b_ns < 0 ? a_ns : MIN(a_ns, b_ns);
}

static void wait_for_fds(AioContext *ctx, int64_t timeout_ns, struct pollfd *extra, int n_extra)
{
    bool had_bql = bql_locked();

    if (timeout_ns != 0) {
        qatomic_set_mb(&ctx->is_sleeping, true);
        /* The last look at what others may have changed: they notify from here on. */
        timeout_ns = aio_bh_waiting(ctx) ? 0 : sooner(timeout_ns, aio_timers_deadline(ctx));
    }
    if (had_bql) {
        bql_unlock();
    }
    fd_monitor_wait(&ctx->fds, timeout_ns, extra, n_extra);
    if (had_bql) {
        bql_lock();
    }
    if (qatomic_read(&ctx->is_sleeping)) {
        qatomic_store_release(&ctx->is_sleeping, false);
        if (qatomic_read(&ctx->is_notified)) {
            qatomic_set_mb(&ctx->is_notified, false);
        }
    }
}

/* Poll, then sleep if nothing turned up. */
static void wait_adaptively(AioContext *ctx, int64_t timeout_ns, struct pollfd *extra,
                            int n_extra)
{
    int64_t max_ns = qatomic_read(&ctx->poll_max_ns);
    int64_t start;
    bool found;

    if (max_ns <= 0 || QLIST_EMPTY(&ctx->pollers)) {
        wait_for_fds(ctx, timeout_ns, extra, n_extra);
        return;
    }
    start = get_clock();
    found = ctx->poll_ns > 0 &&
            poll_for(ctx, sooner(MIN(ctx->poll_ns, max_ns),
                                 sooner(timeout_ns, aio_timers_deadline(ctx))));
    wait_for_fds(ctx, found ? 0 : timeout_ns, extra, n_extra);
    poll_adapt(ctx, get_clock() - start, max_ns);
}

static bool wait_for_work(AioContext *ctx, int64_t max_wait_ns, struct pollfd *extra, int n_extra)
{
    bool progress = ask_pollers(ctx);

    /* What a deferred call deferred again does not wait for an event. */
    if (progress || aio_bh_waiting(ctx) || !QLIST_EMPTY(&ctx->deferred)) {
        /* Completions and bottom halves come in bursts; do not ask the kernel after each. */
        if (max_wait_ns != 0 && ctx->skipped_waits++ < MAX_SKIPPED_WAITS) {
            for (int i = 0; i < n_extra; i++) {
                extra[i].revents = 0;
            }
            return progress;
        }
        max_wait_ns = 0;
    }
    ctx->skipped_waits = 0;
    if (max_wait_ns == 0) {
        wait_for_fds(ctx, 0, extra, n_extra);
    } else {
        wait_adaptively(ctx, max_wait_ns, extra, n_extra);
    }
    return progress;
}

bool aio_iterate(AioContext *ctx, int64_t max_wait_ns, struct pollfd *extra, int n_extra)
{
    bool progress;

    assert(in_aio_context_home_thread(ctx) && !qemu_in_coroutine());
    ctx->depth++;
    run_deferred(ctx);
    progress = wait_for_work(ctx, max_wait_ns, extra, n_extra);
    progress |= aio_bh_dispatch(ctx);
    progress |= fd_monitor_dispatch(&ctx->fds);
    progress |= aio_timers_run(ctx);
    run_deferred(ctx);
    if (--ctx->depth == 0) {
        fd_monitor_reap(&ctx->fds);
    }
    return progress;
}

bool aio_poll(AioContext *ctx, bool blocking)
{
    return aio_iterate(ctx, blocking ? -1 : 0, NULL, 0);
}

/* ---- calls into another loop ----------------------------------------------------------------- */
typedef struct RemoteCall {
    QEMUBHFunc *cb;
    void *opaque;
    QemuEvent done;
} RemoteCall;

static void remote_call_bh(void *opaque)
{
    RemoteCall *call = opaque;

    call->cb(call->opaque);
    qemu_event_set(&call->done);
}

void aio_wait_bh_oneshot(AioContext *ctx, QEMUBHFunc *cb, void *opaque)
{
    RemoteCall call = { .cb = cb, .opaque = opaque };

    assert(!qemu_in_coroutine());
    if (in_aio_context_home_thread(ctx)) {
        cb(opaque);
        return;
    }
    qemu_event_init(&call.done, false);
    aio_bh_schedule_oneshot(ctx, remote_call_bh, &call);
    qemu_event_wait(&call.done);
    qemu_event_destroy(&call.done);
}
