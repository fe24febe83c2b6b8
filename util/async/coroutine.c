/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Coroutines: life, switching, waking.
 *
 * The code here must not keep the address of a thread-local variable across a switch: the
 * coroutine may come back on another thread.  Hence the accessors that are never inlined.
 */
#include "qemu/osdep.h"

#include <pthread.h>

#include "aio-internal.h"
#include "block/coroutine_int.h"
#include "qemu/thread.h"

#ifdef CONFIG_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CONFIG_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* Stands for the thread's own stack. */
static __thread Coroutine leader __attribute__((tls_model("initial-exec")));
static __thread Coroutine *current __attribute__((tls_model("initial-exec")));

/* ---- sanitizers: they must know of each switch ----------------------------------------------- */
static void leader_init(Coroutine *co)
{
    QSIMPLEQ_INIT(&co->wakeups);
#ifdef CONFIG_ASAN
    pthread_attr_t attr;

    if (pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstack(&attr, &co->stack_low, &co->stack_size);
        pthread_attr_destroy(&attr);
    }
#endif
#ifdef CONFIG_TSAN
    co->tsan_fiber = __tsan_get_current_fiber();
#endif
}

static inline void sanitizer_create(Coroutine *co)
{
#ifdef CONFIG_TSAN
    co->tsan_fiber = __tsan_create_fiber(0);
#endif
    (void)co;
}

static inline void sanitizer_destroy(Coroutine *co)
{
#ifdef CONFIG_TSAN
    __tsan_destroy_fiber(co->tsan_fiber);
#endif
    (void)co;
}

static inline void sanitizer_leave(Coroutine *from, Coroutine *to)
{
#ifdef CONFIG_ASAN
    /* NULL: the stack left is not returned to. */
    __sanitizer_start_switch_fiber(from->ended ? NULL : &from->asan_fake_stack, to->stack_low,
                                   to->stack_size);
#endif
#ifdef CONFIG_TSAN
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
    (void)from;
    (void)to;
}

static inline void sanitizer_arrive(void *fake_stack)
{
#ifdef CONFIG_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, NULL, NULL);
#endif
    (void)fake_stack;
}

/* ---- who runs -------------------------------------------------------------------------------- */
Coroutine * __attribute__((noinline)) qemu_coroutine_self(void)
{
    __asm__ volatile("");
    if (unlikely(!current)) {
        leader_init(&leader);
        current = &leader;
    }
    return current;
}

static void __attribute__((noinline)) set_current(Coroutine *co)
{
    __asm__ volatile("");
    current = co;
}

bool __attribute__((noinline)) qemu_in_coroutine(void)
{
    __asm__ volatile("");
    return current && current != &leader;
}

bool qemu_coroutine_entered(const Coroutine *co)
{
    return co->caller != NULL;
}

AioContext *qemu_coroutine_get_aio_context(const Coroutine *co)
{
    return qatomic_load_acquire(&co->ctx);
}

/* ---- switching ------------------------------------------------------------------------------- */
/* Run @to; returns when somebody runs @from again. */
static void coroutine_switch(Coroutine *from, Coroutine *to)
{
    set_current(to);
    sanitizer_leave(from, to);
    coroutine_context_switch(&from->context, to->context);
    sanitizer_arrive(from->asan_fake_stack);
}

void coroutine_main(void)
{
    Coroutine *self = qemu_coroutine_self();
    Coroutine *caller;

    sanitizer_arrive(NULL);
    self->entry(self->opaque);

    caller = self->caller;
    self->caller = NULL;
    self->ended = true;
    coroutine_switch(self, caller);
    abort();
}

static void QEMU_NORETURN coroutine_misuse(const Coroutine *co, const char *what, const char *by)
{
    fprintf(stderr, "coroutine %p %s%s\n", (const void *)co, what, by);
    abort();
}

/* Give @co its first or next turn; returns at its yield or end. */
static inline void coroutine_turn(AioContext *ctx, Coroutine *from, Coroutine *co)
{
    const char *scheduled = qatomic_read(&co->scheduled);

    if (unlikely(scheduled)) {
        coroutine_misuse(co, "entered although it was posted by ", scheduled);
    }
    co->caller = from;
    /* Whoever finds @co in a list of waiters will send it back to where it yields now. */
    qatomic_store_release(&co->ctx, ctx);
    coroutine_switch(from, co);
}

void qemu_aio_coroutine_enter(AioContext *ctx, Coroutine *co)
{
    Coroutine *from = qemu_coroutine_self();
    CoroutineList turns;

    if (unlikely(co->caller)) {
        coroutine_misuse(co, "entered while it runs", "");
    }
    QSIMPLEQ_INIT(&turns);
    QSIMPLEQ_INSERT_HEAD(&turns, co, queue_next);

    while ((co = QSIMPLEQ_FIRST(&turns))) {
        QSIMPLEQ_REMOVE_HEAD(&turns, queue_next);
        if (unlikely(co->caller)) {
            /* One of those below us on the stack: its turn is after it has yielded. */
            aio_co_schedule(ctx, co);
            continue;
        }
        coroutine_turn(ctx, from, co);
        /* Nobody else continues @co but this thread's loop, so it is still ours to look at. */
        QSIMPLEQ_PREPEND(&turns, &co->wakeups);
        if (co->ended) {
            sanitizer_destroy(co);
            coroutine_pool_put(co);
        }
    }
}

void qemu_coroutine_enter(Coroutine *co)
{
    qemu_aio_coroutine_enter(qemu_get_current_aio_context(), co);
}

void coroutine_fn qemu_coroutine_yield(void)
{
    Coroutine *self = qemu_coroutine_self();
    Coroutine *caller = self->caller;

    if (unlikely(!caller)) {
        coroutine_misuse(self, "yields but was never entered", "");
    }
    self->caller = NULL;
    coroutine_switch(self, caller);
}

/* ---- life ------------------------------------------------------------------------------------ */
Coroutine *qemu_coroutine_create(CoroutineEntry *entry, void *opaque)
{
    Coroutine *co = coroutine_pool_get();

    co->entry = entry;
    co->opaque = opaque;
    co->caller = NULL;
    co->ended = false;
    co->ctx = NULL;
    co->scheduled = NULL;
    co->asan_fake_stack = NULL;
    QSIMPLEQ_INIT(&co->wakeups);
    sanitizer_create(co);
    co->context = coroutine_context_init(co);
    return co;
}

typedef struct CoRun {
    CoroutineEntry *entry;
    void *opaque;
    AioContext *ctx;
    bool done;
} CoRun;

static void co_run_done_bh(void *opaque)
{
    CoRun *run = opaque;

    run->done = true;
}

static void coroutine_fn co_run_entry(void *opaque)
{
    CoRun *run = opaque;

    run->entry(run->opaque);
    if (in_aio_context_home_thread(run->ctx)) {
        run->done = true;
    } else {
        /* It ends in another loop, where @run may not be touched once the waiter knows. */
        aio_bh_schedule_oneshot(run->ctx, co_run_done_bh, run);
    }
}

void co_run(CoroutineEntry *entry, void *opaque)
{
    CoRun run = { .entry = entry, .opaque = opaque, .ctx = qemu_get_current_aio_context() };

    assert(run.ctx && !qemu_in_coroutine());
    qemu_coroutine_enter(qemu_coroutine_create(co_run_entry, &run));
    while (!run.done) {
        aio_poll(run.ctx, true);
    }
}

/* ---- waking ---------------------------------------------------------------------------------- */
void aio_co_schedule(AioContext *ctx, Coroutine *co)
{
    const char *before = qatomic_cmpxchg(&co->scheduled, NULL, __func__);

    if (unlikely(before)) {
        coroutine_misuse(co, "posted although it was posted by ", before);
    }
    /* The loop must outlive this call even if @co ends it. */
    aio_context_ref(ctx);
    QSLIST_INSERT_HEAD_ATOMIC(&ctx->scheduled, co, scheduled_next);
    qemu_bh_schedule(ctx->scheduled_bh);
    aio_context_unref(ctx);
}

void aio_run_scheduled_coroutines(void *opaque)
{
    AioContext *ctx = opaque;
    QSLIST_HEAD(, Coroutine) newest_first, in_order;

    QSLIST_INIT(&in_order);
    QSLIST_MOVE_ATOMIC(&newest_first, &ctx->scheduled);
    while (!QSLIST_EMPTY(&newest_first)) {
        Coroutine *co = QSLIST_FIRST(&newest_first);

        QSLIST_REMOVE_HEAD(&newest_first, scheduled_next);
        QSLIST_INSERT_HEAD(&in_order, co, scheduled_next);
    }
    while (!QSLIST_EMPTY(&in_order)) {
        Coroutine *co = QSLIST_FIRST(&in_order);

        QSLIST_REMOVE_HEAD(&in_order, scheduled_next);
        qatomic_set(&co->scheduled, NULL);
        qemu_aio_coroutine_enter(ctx, co);
    }
}

void aio_co_enter(AioContext *ctx, Coroutine *co)
{
    if (ctx != qemu_get_current_aio_context()) {
        aio_co_schedule(ctx, co);
    } else if (qemu_in_coroutine()) {
        Coroutine *self = qemu_coroutine_self();

        QSIMPLEQ_INSERT_TAIL(&self->wakeups, co, queue_next);
    } else {
        qemu_aio_coroutine_enter(ctx, co);
    }
}

void aio_co_wake(Coroutine *co)
{
    AioContext *ctx = qemu_coroutine_get_aio_context(co);

    assert(ctx);
    aio_co_enter(ctx, co);
}

typedef struct CoMove {
    Coroutine *co;
    AioContext *to;
} CoMove;

/* Runs in the old loop, so that the coroutine has surely yielded. */
static void co_move_bh(void *opaque)
{
    CoMove *move = opaque;

    aio_co_schedule(move->to, move->co);
}

void coroutine_fn aio_co_reschedule_self(AioContext *ctx)
{
    AioContext *from = qemu_get_current_aio_context();

    if (from != ctx) {
        CoMove move = { .co = qemu_coroutine_self(), .to = ctx };

        aio_bh_schedule_oneshot(from, co_move_bh, &move);
        qemu_coroutine_yield();
    }
}

/* ---- sleeping -------------------------------------------------------------------------------- */
void qemu_co_sleep_wake(QemuCoSleep *w)
{
    Coroutine *co = qatomic_xchg(&w->to_wake, NULL);

    if (co) {
        aio_co_wake(co);
    }
}

void coroutine_fn qemu_co_sleep(QemuCoSleep *w)
{
    Coroutine *before = qatomic_cmpxchg(&w->to_wake, NULL, qemu_coroutine_self());

    assert(!before);
    qemu_coroutine_yield();
}

static void co_sleep_timer_cb(void *opaque)
{
    qemu_co_sleep_wake(opaque);
}

void coroutine_fn qemu_co_sleep_ns_wakeable(QemuCoSleep *w, QEMUClockType type, int64_t ns)
{
    QEMUTimer timer;

    timer_init_full(&timer, qemu_get_current_aio_context(), type, SCALE_NS, co_sleep_timer_cb, w);
    timer_mod_ns(&timer, qemu_clock_get_ns(type) + ns);
    qemu_co_sleep(w);
    timer_del(&timer);
}

void coroutine_fn qemu_co_sleep_ns(QEMUClockType type, int64_t ns)
{
    QemuCoSleep w = { NULL };

    qemu_co_sleep_ns_wakeable(&w, type, ns);
}

typedef struct FdWait {
    Coroutine *co;
    AioContext *ctx;
    int fd;
} FdWait;

static void fd_wait_ready(void *opaque)
{
    FdWait *wait = opaque;

    aio_set_fd_handler(wait->ctx, wait->fd, NULL, NULL, NULL);
    aio_co_wake(wait->co);
}

void coroutine_fn yield_until_fd_readable(int fd)
{
    FdWait wait = {
        .co = qemu_coroutine_self(),
        .ctx = qemu_get_current_aio_context(),
        .fd = fd,
    };

    aio_set_fd_handler(wait.ctx, fd, fd_wait_ready, NULL, &wait);
    qemu_coroutine_yield();
}

/* ---- deep recursion -------------------------------------------------------------------------- */

bool qemu_co_stack_is_low(void)
{
    const Coroutine *co = current;

    /* The thread's own stack has no bound that is known here. */
    return co && co != &leader &&
           (uintptr_t)__builtin_frame_address(0) - (uintptr_t)co->stack_low < co->stack_size / 4;
}

typedef struct NestedCall {
    CoroutineEntry *fn;
    void *opaque;
    Coroutine *waiter; /* NULL while it is not waiting */
    bool ended;
} NestedCall;

static void coroutine_fn nested_entry(void *opaque)
{
    NestedCall *call = opaque;

    call->fn(call->opaque);
    call->ended = true;
    if (call->waiter) {
        aio_co_wake(call->waiter);
    }
}

void coroutine_fn qemu_co_call(CoroutineEntry *fn, void *opaque)
{
    NestedCall call = { .fn = fn, .opaque = opaque };

    qemu_coroutine_enter(qemu_coroutine_create(nested_entry, &call));
    if (!call.ended) {
        call.waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
}
