/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks and queues of coroutines.
 *
 * A waiter is a record on the waiting coroutine's stack, in a list under the lock's own QemuMutex.
 * Whoever takes it off the list must wake its coroutine once, and not touch the record after.  The
 * wake may come before the coroutine has yielded: aio_co_wake posts it to the coroutine's own loop,
 * which gets to it after the yield.
 */
#include "qemu/osdep.h"

#include "qemu/co-lock.h"

struct CoWaiter {
    Coroutine *co;
    bool wants_write;                     /* CoRwlock */
    QSIMPLEQ_ENTRY(CoWaiter) next;
};

static void coroutine_fn waiter_add(CoWaiterList *list, CoWaiter *w)
{
    w->co = qemu_coroutine_self();
    QSIMPLEQ_INSERT_TAIL(list, w, next);
}

/* The coroutine of the first waiter, which is taken off; NULL if nobody waits. */
static Coroutine *waiter_pop(CoWaiterList *list)
{
    CoWaiter *w = QSIMPLEQ_FIRST(list);

    if (!w) {
        return NULL;
    }
    QSIMPLEQ_REMOVE_HEAD(list, next);
    return w->co;
}

/* ---- CoMutex --------------------------------------------------------------------------------- */
/*
 * users counts the holder and all who announced themselves.  Who raises it from 0 has the lock; who
 * lowers it to something else must pass the lock on, to the first in the list or, if the announced
 * one has not arrived there yet, by a handoff that it will find.
 */
void qemu_co_mutex_init(CoMutex *mutex)
{
    *mutex = (CoMutex) { .users = 0 };
    qemu_mutex_init(&mutex->lock);
    QSIMPLEQ_INIT(&mutex->waiters);
}

static void coroutine_fn __attribute__((noinline)) co_mutex_wait(CoMutex *mutex)
{
    CoWaiter w = { 0 };
    bool must_wait;

    qemu_mutex_lock(&mutex->lock);
    must_wait = mutex->handoffs == 0;
    if (must_wait) {
        waiter_add(&mutex->waiters, &w);
    } else {
        mutex->handoffs--;
    }
    qemu_mutex_unlock(&mutex->lock);
    if (must_wait) {
        qemu_coroutine_yield();
    }
}

void coroutine_fn qemu_co_mutex_lock(CoMutex *mutex)
{
    Coroutine *self = qemu_coroutine_self();

    assert(qatomic_read(&mutex->holder) != self);
    if (unlikely(qatomic_fetch_inc(&mutex->users) != 0)) {
        co_mutex_wait(mutex);
    }
    qatomic_set(&mutex->holder, self);
}

bool qemu_co_mutex_trylock(CoMutex *mutex)
{
    if (qatomic_cmpxchg(&mutex->users, 0, 1) != 0) {
        return false;
    }
    qatomic_set(&mutex->holder, qemu_coroutine_self());
    return true;
}

static void __attribute__((noinline)) co_mutex_pass_on(CoMutex *mutex)
{
    Coroutine *next;

    qemu_mutex_lock(&mutex->lock);
    next = waiter_pop(&mutex->waiters);
    if (!next) {
        mutex->handoffs++;
    }
    qemu_mutex_unlock(&mutex->lock);
    if (next) {
        aio_co_wake(next);
    }
}

void qemu_co_mutex_unlock(CoMutex *mutex)
{
    assert(qatomic_read(&mutex->holder) == qemu_coroutine_self());
    qatomic_set(&mutex->holder, NULL);
    if (unlikely(qatomic_fetch_dec(&mutex->users) != 1)) {
        co_mutex_pass_on(mutex);
    }
}

bool qemu_co_mutex_is_locked(CoMutex *mutex)
{
    return qatomic_read(&mutex->users) != 0;
}

bool qemu_co_mutex_is_held(CoMutex *mutex)
{
    return qatomic_read(&mutex->holder) == qemu_coroutine_self();
}

/* ---- CoQueue --------------------------------------------------------------------------------- */
void qemu_co_queue_init(CoQueue *queue)
{
    qemu_mutex_init(&queue->lock);
    QSIMPLEQ_INIT(&queue->waiters);
}

void coroutine_fn qemu_co_queue_wait_impl(CoQueue *queue, QemuLockable *lock)
{
    CoWaiter w = { 0 };

    qemu_mutex_lock(&queue->lock);
    waiter_add(&queue->waiters, &w);
    qemu_mutex_unlock(&queue->lock);
    qemu_lockable_unlock(lock);
    qemu_coroutine_yield();
    qemu_lockable_lock(lock);
}

static Coroutine *co_queue_pop(CoQueue *queue)
{
    Coroutine *co;

    qemu_mutex_lock(&queue->lock);
    co = waiter_pop(&queue->waiters);
    qemu_mutex_unlock(&queue->lock);
    return co;
}

/*
 * Waking outside of the queue's lock is safe: in plain code the woken one runs at once, and may
 * wait again.  Hence also the list that restart_all takes away first.
 */
bool qemu_co_queue_next(CoQueue *queue)
{
    Coroutine *co = co_queue_pop(queue);

    if (co) {
        aio_co_wake(co);
    }
    return co != NULL;
}

static void co_queue_take_all(CoQueue *queue, CoWaiterList *all)
{
    QSIMPLEQ_INIT(all);
    qemu_mutex_lock(&queue->lock);
    QSIMPLEQ_CONCAT(all, &queue->waiters);
    qemu_mutex_unlock(&queue->lock);
}

void qemu_co_queue_restart_all(CoQueue *queue)
{
    CoWaiterList all;
    Coroutine *co;

    co_queue_take_all(queue, &all);
    while ((co = waiter_pop(&all))) {
        aio_co_wake(co);
    }
}

bool qemu_co_enter_next_impl(CoQueue *queue, QemuLockable *lock)
{
    Coroutine *co = co_queue_pop(queue);

    if (co) {
        qemu_lockable_unlock(lock);
        aio_co_wake(co);
        qemu_lockable_lock(lock);
    }
    return co != NULL;
}

void qemu_co_enter_all_impl(CoQueue *queue, QemuLockable *lock)
{
    CoWaiterList all;
    Coroutine *co;

    co_queue_take_all(queue, &all);
    while ((co = waiter_pop(&all))) {
        qemu_lockable_unlock(lock);
        aio_co_wake(co);
        qemu_lockable_lock(lock);
    }
}

bool qemu_co_queue_empty(CoQueue *queue)
{
    bool is_empty;

    qemu_mutex_lock(&queue->lock);
    is_empty = QSIMPLEQ_EMPTY(&queue->waiters);
    qemu_mutex_unlock(&queue->lock);
    return is_empty;
}

/* ---- CoRwlock -------------------------------------------------------------------------------- */
void qemu_co_rwlock_init(CoRwlock *lock)
{
    qemu_mutex_init(&lock->lock);
    lock->owners = 0;
    QSIMPLEQ_INIT(&lock->waiters);
}

static bool rwlock_may_enter(const CoRwlock *lock, bool wants_write)
{
    return wants_write ? lock->owners == 0 : lock->owners >= 0;
}

static void rwlock_enter(CoRwlock *lock, bool wants_write)
{
    lock->owners = wants_write ? -1 : lock->owners + 1;
}

/* Let in from the front as many as may; they are moved to @woken.  Under lock->lock. */
static void rwlock_admit(CoRwlock *lock, CoWaiterList *woken)
{
    CoWaiter *w;

    QSIMPLEQ_INIT(woken);
    while ((w = QSIMPLEQ_FIRST(&lock->waiters)) && rwlock_may_enter(lock, w->wants_write)) {
        rwlock_enter(lock, w->wants_write);
        QSIMPLEQ_REMOVE_HEAD(&lock->waiters, next);
        QSIMPLEQ_INSERT_TAIL(woken, w, next);
    }
}

static void rwlock_wake(CoWaiterList *woken)
{
    Coroutine *co;

    while ((co = waiter_pop(woken))) {
        aio_co_wake(co);
    }
}

static void coroutine_fn rwlock_lock(CoRwlock *lock, bool wants_write)
{
    CoWaiter w = { .wants_write = wants_write };
    bool must_wait;

    qemu_mutex_lock(&lock->lock);
    must_wait = !QSIMPLEQ_EMPTY(&lock->waiters) || !rwlock_may_enter(lock, wants_write);
    if (must_wait) {
        waiter_add(&lock->waiters, &w);
    } else {
        rwlock_enter(lock, wants_write);
    }
    qemu_mutex_unlock(&lock->lock);
    if (must_wait) {
        qemu_coroutine_yield();
    }
}

void coroutine_fn qemu_co_rwlock_rdlock(CoRwlock *lock)
{
    rwlock_lock(lock, false);
}

void coroutine_fn qemu_co_rwlock_wrlock(CoRwlock *lock)
{
    rwlock_lock(lock, true);
}

void coroutine_fn qemu_co_rwlock_unlock(CoRwlock *lock)
{
    CoWaiterList woken;

    qemu_mutex_lock(&lock->lock);
    assert(lock->owners != 0);
    lock->owners = lock->owners < 0 ? 0 : lock->owners - 1;
    rwlock_admit(lock, &woken);
    qemu_mutex_unlock(&lock->lock);
    rwlock_wake(&woken);
}

bool coroutine_fn qemu_co_rwlock_upgrade(CoRwlock *lock)
{
    CoWaiter w = { .wants_write = true };
    CoWaiterList woken;

    qemu_mutex_lock(&lock->lock);
    assert(lock->owners > 0);
    if (lock->owners == 1 && QSIMPLEQ_EMPTY(&lock->waiters)) {
        lock->owners = -1;
        qemu_mutex_unlock(&lock->lock);
        return true;
    }
    /* Two readers that both insisted on staying would wait for each other. */
    lock->owners--;
    waiter_add(&lock->waiters, &w);
    rwlock_admit(lock, &woken);
    qemu_mutex_unlock(&lock->lock);
    rwlock_wake(&woken);
    qemu_coroutine_yield();
    return false;
}

void coroutine_fn qemu_co_rwlock_downgrade(CoRwlock *lock)
{
    CoWaiterList woken;

    qemu_mutex_lock(&lock->lock);
    assert(lock->owners == -1);
    lock->owners = 1;
    rwlock_admit(lock, &woken);
    qemu_mutex_unlock(&lock->lock);
    rwlock_wake(&woken);
}

/* ---- CoSemaphore ----------------------------------------------------------------------------- */
void qemu_co_sem_init(CoSemaphore *sem, unsigned count)
{
    qemu_mutex_init(&sem->lock);
    sem->count = count;
    QSIMPLEQ_INIT(&sem->waiters);
}

bool qemu_co_sem_try_down(CoSemaphore *sem)
{
    bool taken;

    qemu_mutex_lock(&sem->lock);
    taken = sem->count > 0;
    sem->count -= taken;
    qemu_mutex_unlock(&sem->lock);
    return taken;
}

void coroutine_fn qemu_co_sem_down(CoSemaphore *sem)
{
    CoWaiter w = { 0 };
    bool must_wait;

    qemu_mutex_lock(&sem->lock);
    /* With somebody waiting the count is 0: up passes it on directly. */
    must_wait = sem->count == 0;
    if (must_wait) {
        waiter_add(&sem->waiters, &w);
    } else {
        sem->count--;
    }
    qemu_mutex_unlock(&sem->lock);
    if (must_wait) {
        qemu_coroutine_yield();
    }
}

void qemu_co_sem_up(CoSemaphore *sem)
{
    Coroutine *co;

    qemu_mutex_lock(&sem->lock);
    co = waiter_pop(&sem->waiters);
    sem->count += co == NULL;
    qemu_mutex_unlock(&sem->lock);
    if (co) {
        aio_co_wake(co);
    }
}
