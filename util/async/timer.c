/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clocks, and the timers of each loop: one binary heap per clock.
 */
#include "qemu/osdep.h"

#include "aio-internal.h"
#include "qemu/timer.h"

/* ---- clocks ---------------------------------------------------------------------------------- */
static int64_t read_clock(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return ts.tv_sec * NANOSECONDS_PER_SECOND + ts.tv_nsec;
}

int64_t get_clock(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/*
 * The virtual clock in one word, so that readers need no lock:
 * 0: not read yet; > 0: runs, and was 0 when the monotonic clock showed this;
 * < 0: stands still, at the number of nanoseconds that ~ gives.
 */
static int64_t virtual_clock;

/* Atomic: it moves only when told to, and its timers fire though it stands still. */
static bool virtual_clock_is_stepped;

static int64_t virtual_clock_load(void)
{
    int64_t state = qatomic_load_acquire(&virtual_clock);

    if (unlikely(state == 0)) {
        int64_t now = get_clock();

        state = qatomic_cmpxchg(&virtual_clock, 0, now);
        state = state ? state : now;
    }
    return state;
}

static int64_t virtual_clock_get(int64_t state)
{
    return state < 0 ? ~state : get_clock() - state;
}

int64_t qemu_clock_get_ns(QEMUClockType type)
{
    switch (type) {
    case QEMU_CLOCK_VIRTUAL:
        return virtual_clock_get(virtual_clock_load());
    case QEMU_CLOCK_HOST:
        return read_clock(CLOCK_REALTIME);
    default:
        return get_clock();
    }
}

int64_t qemu_clock_get_ms(QEMUClockType type)
{
    return qemu_clock_get_ns(type) / SCALE_MS;
}

static bool clock_is_stepped(QEMUClockType type)
{
    return type == QEMU_CLOCK_VIRTUAL && qatomic_read(&virtual_clock_is_stepped);
}

bool qemu_clock_is_enabled(QEMUClockType type)
{
    return type != QEMU_CLOCK_VIRTUAL || virtual_clock_load() > 0 ||
           qatomic_read(&virtual_clock_is_stepped);
}

void qemu_clock_enable(QEMUClockType type, bool enabled)
{
    int64_t before, after;

    assert(type == QEMU_CLOCK_VIRTUAL);
    if (qatomic_read(&virtual_clock_is_stepped)) {
        return;
    }
    do {
        before = virtual_clock_load();
        if ((before > 0) == enabled) {
            return;
        }
        after = enabled ? get_clock() - ~before : ~virtual_clock_get(before);
    } while (qatomic_cmpxchg(&virtual_clock, before, after) != before);
    if (enabled) {
        aio_notify_all();
    }
}

void qemu_clock_set_ns(QEMUClockType type, int64_t ns)
{
    assert(type == QEMU_CLOCK_VIRTUAL && virtual_clock_load() < 0 && ns >= 0);
    qatomic_set(&virtual_clock, ~ns);
}

/* ---- heap ------------------------------------------------------------------------------------ */
static void heap_put(TimerList *list, int slot, QEMUTimer *t)
{
    list->heap[slot] = t;
    t->slot = slot;
}

static void heap_up(TimerList *list, int slot)
{
    QEMUTimer *t = list->heap[slot];

    while (slot > 0) {
        int parent = (slot - 1) / 2;

        if (list->heap[parent]->expire_ns <= t->expire_ns) {
            break;
        }
        heap_put(list, slot, list->heap[parent]);
        slot = parent;
    }
    heap_put(list, slot, t);
}

static void heap_down(TimerList *list, int slot)
{
    QEMUTimer *t = list->heap[slot];

    for (;;) {
        int child = 2 * slot + 1;

        if (child + 1 < list->count &&
            list->heap[child + 1]->expire_ns < list->heap[child]->expire_ns) {
            child++;
        }
        if (child >= list->count || list->heap[child]->expire_ns >= t->expire_ns) {
            break;
        }
        heap_put(list, slot, list->heap[child]);
        slot = child;
    }
    heap_put(list, slot, t);
}

static void heap_remove(TimerList *list, QEMUTimer *t)
{
    int slot = t->slot;
    QEMUTimer *last = list->heap[--list->count];

    t->slot = -1;
    if (last != t) {
        heap_put(list, slot, last);
        heap_down(list, slot);
        heap_up(list, last->slot);
    }
}

static void heap_insert(TimerList *list, QEMUTimer *t)
{
    if (list->count == list->capacity) {
        list->capacity = MAX(8, list->capacity * 2);
        list->heap = g_renew(QEMUTimer *, list->heap, list->capacity);
    }
    heap_put(list, list->count++, t);
    heap_up(list, t->slot);
}

static void list_changed(TimerList *list)
{
    qatomic_store_release(&list->first_ns, list->count ? list->heap[0]->expire_ns : INT64_MAX);
}

/* ---- timers ---------------------------------------------------------------------------------- */
static TimerList *timer_list(const QEMUTimer *t)
{
    return &t->ctx->timers[t->type];
}

void timer_init_full(QEMUTimer *t, AioContext *ctx, QEMUClockType type, int scale,
                     QEMUTimerCB *cb, void *opaque)
{
    *t = (QEMUTimer) {
        .ctx = ctx,
        .cb = cb,
        .opaque = opaque,
        .type = type,
        .scale = scale,
        .expire_ns = -1,
        .slot = -1,
    };
}

void aio_timer_init(AioContext *ctx, QEMUTimer *t, QEMUClockType type, int scale, QEMUTimerCB *cb,
                    void *opaque)
{
    timer_init_full(t, ctx, type, scale, cb, opaque);
}

QEMUTimer *aio_timer_new(AioContext *ctx, QEMUClockType type, int scale, QEMUTimerCB *cb,
                         void *opaque)
{
    QEMUTimer *t = g_new(QEMUTimer, 1);

    timer_init_full(t, ctx, type, scale, cb, opaque);
    return t;
}

QEMUTimer *timer_new(QEMUClockType type, int scale, QEMUTimerCB *cb, void *opaque)
{
    return aio_timer_new(qemu_get_aio_context(), type, scale, cb, opaque);
}

QEMUTimer *timer_new_ns(QEMUClockType type, QEMUTimerCB *cb, void *opaque)
{
    return timer_new(type, SCALE_NS, cb, opaque);
}

QEMUTimer *timer_new_ms(QEMUClockType type, QEMUTimerCB *cb, void *opaque)
{
    return timer_new(type, SCALE_MS, cb, opaque);
}

void timer_free(QEMUTimer *t)
{
    if (t) {
        timer_del(t);
        g_free(t);
    }
}

void timer_del(QEMUTimer *t)
{
    TimerList *list = timer_list(t);

    qemu_mutex_lock(&list->lock);
    if (t->slot >= 0) {
        heap_remove(list, t);
        list_changed(list);
    }
    qemu_mutex_unlock(&list->lock);
}

static void timer_set(QEMUTimer *t, int64_t expire_ns, bool only_earlier)
{
    TimerList *list = timer_list(t);
    AioContext *ctx = t->ctx;
    bool is_first = false;

    expire_ns = MAX(expire_ns, 0);
    qemu_mutex_lock(&list->lock);
    if (!only_earlier || t->slot < 0 || expire_ns < t->expire_ns) {
        if (t->slot >= 0) {
            heap_remove(list, t);
        }
        t->expire_ns = expire_ns;
        heap_insert(list, t);
        list_changed(list);
        is_first = t->slot == 0;
    }
    qemu_mutex_unlock(&list->lock);
    if (is_first) {
        aio_notify(ctx);
    }
}

void timer_mod_ns(QEMUTimer *t, int64_t expire_ns)
{
    timer_set(t, expire_ns, false);
}

void timer_mod(QEMUTimer *t, int64_t expire_time)
{
    int64_t expire_ns;

    if (__builtin_mul_overflow(expire_time, (int64_t)t->scale, &expire_ns)) {
        expire_ns = expire_time < 0 ? 0 : INT64_MAX - 1;
    }
    timer_set(t, expire_ns, false);
}

void timer_mod_anticipate_ns(QEMUTimer *t, int64_t expire_ns)
{
    timer_set(t, expire_ns, true);
}

int64_t timer_expire_time_ns(QEMUTimer *t)
{
    TimerList *list = timer_list(t);
    int64_t expire_ns;

    qemu_mutex_lock(&list->lock);
    expire_ns = t->slot >= 0 ? t->expire_ns : -1;
    qemu_mutex_unlock(&list->lock);
    return expire_ns;
}

void timer_restore_ns(QEMUTimer *t, int64_t expire_ns)
{
    if (expire_ns < 0) {
        timer_del(t);
    } else {
        timer_mod_ns(t, expire_ns);
    }
}

bool timer_pending(QEMUTimer *t)
{
    return timer_expire_time_ns(t) >= 0;
}

bool timer_expired(QEMUTimer *t, int64_t now_ns)
{
    int64_t expire_ns = timer_expire_time_ns(t);

    return expire_ns >= 0 && expire_ns <= now_ns;
}

/* ---- the loop's side ------------------------------------------------------------------------- */
void aio_timers_init(AioContext *ctx)
{
    for (int type = 0; type < QEMU_CLOCK__MAX; type++) {
        qemu_mutex_init(&ctx->timers[type].lock);
        ctx->timers[type].first_ns = INT64_MAX;
    }
}

void aio_timers_done(AioContext *ctx)
{
    for (int type = 0; type < QEMU_CLOCK__MAX; type++) {
        qemu_mutex_destroy(&ctx->timers[type].lock);
        g_free(ctx->timers[type].heap);
    }
}

int64_t aio_timers_deadline(AioContext *ctx)
{
    int64_t deadline = INT64_MAX;

    for (int type = 0; type < QEMU_CLOCK__MAX; type++) {
        int64_t first_ns = qatomic_load_acquire(&ctx->timers[type].first_ns);

        if (first_ns != INT64_MAX && qemu_clock_is_enabled(type)) {
            /* Read once: MIN and MAX evaluate twice, and the clock goes on. */
            int64_t left_ns = first_ns - qemu_clock_get_ns(type);

            left_ns = MAX(left_ns, 0);
            /* No sleep makes a stepped clock reach its timers. */
            if (!left_ns || !clock_is_stepped(type)) {
                deadline = MIN(deadline, left_ns);
            }
        }
    }
    return deadline == INT64_MAX ? -1 : deadline;
}

/* Take the first timer off @list if it is due. */
static bool timer_pop(TimerList *list, int64_t now_ns, QEMUTimerCB **cb, void **opaque)
{
    bool is_due;

    qemu_mutex_lock(&list->lock);
    is_due = list->count && list->heap[0]->expire_ns <= now_ns;
    if (is_due) {
        QEMUTimer *t = list->heap[0];

        *cb = t->cb;
        *opaque = t->opaque;
        heap_remove(list, t);
        list_changed(list);
    }
    qemu_mutex_unlock(&list->lock);
    return is_due;
}

static bool timer_list_run(TimerList *list, QEMUClockType type)
{
    int64_t now_ns;
    QEMUTimerCB *cb;
    void *opaque;
    int limit;

    if (qatomic_load_acquire(&list->first_ns) == INT64_MAX || !qemu_clock_is_enabled(type)) {
        return false;
    }
    now_ns = qemu_clock_get_ns(type);
    qemu_mutex_lock(&list->lock);
    /* A callback that starts its timer in the past must not keep us here. */
    limit = list->count;
    qemu_mutex_unlock(&list->lock);
    for (int i = 0; i < limit; i++) {
        if (!timer_pop(list, now_ns, &cb, &opaque)) {
            return i > 0;
        }
        cb(opaque);
    }
    return limit > 0;
}

bool aio_timers_run(AioContext *ctx)
{
    bool progress = false;

    for (int type = 0; type < QEMU_CLOCK__MAX; type++) {
        progress |= timer_list_run(&ctx->timers[type], type);
    }
    return progress;
}

/* ---- stepping -------------------------------------------------------------------------------- */
void qemu_clock_set_stepped(void)
{
    qatomic_set(&virtual_clock_is_stepped, true);
    qatomic_set_mb(&virtual_clock, ~INT64_C(0));
}

int64_t qemu_clock_next_virtual_ns(void)
{
    return qatomic_load_acquire(&qemu_get_aio_context()->timers[QEMU_CLOCK_VIRTUAL].first_ns);
}

void qemu_clock_step_to(int64_t ns)
{
    TimerList *list = &qemu_get_aio_context()->timers[QEMU_CLOCK_VIRTUAL];
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);

    assert(clock_is_stepped(QEMU_CLOCK_VIRTUAL));
    while (now < ns) {
        /* Read once: other threads may move timers, and the macros evaluate twice. */
        int64_t next_ns = qemu_clock_next_virtual_ns();

        next_ns = MIN(next_ns, ns);
        now = MAX(now, next_ns);
        qatomic_set_mb(&virtual_clock, ~now);
        timer_list_run(list, QEMU_CLOCK_VIRTUAL);
    }
    aio_notify_all();
}
