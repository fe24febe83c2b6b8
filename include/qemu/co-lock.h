/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks and queues that coroutines wait on.
 *
 * - All are first come, first served, and may be shared by coroutines of different loops.
 * - They may be held across a yield, and released by another thread than the one that took them
 *   (the coroutine may have moved), but only by the coroutine that took them.
 * - Waking someone does not yield: the woken one runs when the waker yields, or in its own loop.
 * - None needs a destructor; nobody may wait any more when it goes.
 */
#ifndef QEMU_CO_LOCK_H
#define QEMU_CO_LOCK_H

#include <stdbool.h>

#include "block/coroutine.h"
#include "qemu/lockable.h"
#include "qemu/queue.h"

typedef struct CoWaiter CoWaiter;
typedef QSIMPLEQ_HEAD(CoWaiterList, CoWaiter) CoWaiterList;

/* ---- CoMutex: uncontended, one atomic operation each way ------------------------------------- */
struct CoMutex {
    unsigned users;              /* holder and everyone on the way to it */
    QemuMutex lock;              /* guards the next two */
    unsigned handoffs;           /* released to a waiter that is not yet in @waiters */
    CoWaiterList waiters;
    Coroutine *holder;
};

void qemu_co_mutex_init(CoMutex *mutex);
void coroutine_fn qemu_co_mutex_lock(CoMutex *mutex);
/** Take it if it is free.  Does not yield; also outside of coroutines, in a loop's thread. */
bool qemu_co_mutex_trylock(CoMutex *mutex);
/**
 * Give it to whoever waits longest.  Does not yield, but outside of coroutines that waiter runs
 * before this returns.
 */
void qemu_co_mutex_unlock(CoMutex *mutex);
/** Whether anybody holds it. */
bool qemu_co_mutex_is_locked(CoMutex *mutex);
/** Whether the running coroutine holds it. */
bool qemu_co_mutex_is_held(CoMutex *mutex);

/* ---- CoQueue: condition variable ------------------------------------------------------------- */
typedef struct CoQueue {
    QemuMutex lock;
    CoWaiterList waiters;
} CoQueue;

void qemu_co_queue_init(CoQueue *queue);

/**
 * Release @lock (QemuMutex *, CoMutex *, or NULL), sleep until woken, take @lock again.
 * The condition waited for must be looked at again afterwards.
 */
#define qemu_co_queue_wait(queue, lock) \
    ({ \
        QemuLockable co_queue_lock_ = QEMU_MAKE_LOCKABLE(lock); \
        qemu_co_queue_wait_impl(queue, &co_queue_lock_); \
    })
void coroutine_fn qemu_co_queue_wait_impl(CoQueue *queue, QemuLockable *lock);

/** Wake the one that has waited longest; whether there was one.  Any context, as the next. */
bool qemu_co_queue_next(CoQueue *queue);
/** Wake everyone who waits now. */
void qemu_co_queue_restart_all(CoQueue *queue);

/**
 * Plain code of a loop thread: release @lock, run the one that has waited longest until it yields,
 * take @lock again; whether there was one.
 */
#define qemu_co_enter_next(queue, lock) \
    ({ \
        QemuLockable co_queue_lock_ = QEMU_MAKE_LOCKABLE(lock); \
        qemu_co_enter_next_impl(queue, &co_queue_lock_); \
    })
bool qemu_co_enter_next_impl(CoQueue *queue, QemuLockable *lock);
/** The same for everyone who waits now. */
#define qemu_co_enter_all(queue, lock) \
    ({ \
        QemuLockable co_queue_lock_ = QEMU_MAKE_LOCKABLE(lock); \
        qemu_co_enter_all_impl(queue, &co_queue_lock_); \
    })
void qemu_co_enter_all_impl(CoQueue *queue, QemuLockable *lock);

bool qemu_co_queue_empty(CoQueue *queue);

/* ---- CoRwlock: a waiting writer holds back later readers ------------------------------------- */
typedef struct CoRwlock {
    QemuMutex lock;
    int owners;                  /* number of readers, or -1: a writer */
    CoWaiterList waiters;
} CoRwlock;

void qemu_co_rwlock_init(CoRwlock *lock);
void coroutine_fn qemu_co_rwlock_rdlock(CoRwlock *lock);
void coroutine_fn qemu_co_rwlock_wrlock(CoRwlock *lock);
/**
 * Turn a read lock into the write lock.
 * Earlier waiters may go first: what was read before must be looked at again, unless it returns
 * true, which says that the lock was never given up in between.
 */
bool coroutine_fn qemu_co_rwlock_upgrade(CoRwlock *lock);
/** Turn the write lock into a read lock; does not yield. */
void coroutine_fn qemu_co_rwlock_downgrade(CoRwlock *lock);
/** Release either kind. */
void coroutine_fn qemu_co_rwlock_unlock(CoRwlock *lock);

/* ---- CoSemaphore ----------------------------------------------------------------------------- */
typedef struct CoSemaphore {
    QemuMutex lock;
    unsigned count;
    CoWaiterList waiters;
} CoSemaphore;

/** @count: how many may pass before somebody has to wait. */
void qemu_co_sem_init(CoSemaphore *sem, unsigned count);
void coroutine_fn qemu_co_sem_down(CoSemaphore *sem);
/** Take one if that needs no waiting. */
bool qemu_co_sem_try_down(CoSemaphore *sem);
/** Any context. */
void qemu_co_sem_up(CoSemaphore *sem);

#endif
