/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks released by leaving the block, for QemuMutex, QemuRecMutex and CoMutex alike.
 *
 *     QEMU_LOCK_GUARD(&s->lock);                   until the end of the enclosing block
 *     WITH_QEMU_LOCK_GUARD(&s->lock) { ... }       for these statements
 *     CO_LOCK_GUARD(&s->lock);                     the same for a CoMutex, saying that it may yield
 *
 * - Inside WITH_QEMU_LOCK_GUARD, return, break and goto release the lock; break leaves only it.
 * - For a CoMutex, include qemu/co-lock.h as well; locking may yield.
 */
#ifndef QEMU_LOCKABLE_H
#define QEMU_LOCKABLE_H

#include "qemu/compiler.h"
#include "qemu/thread.h"

typedef struct CoMutex CoMutex;
void coroutine_fn qemu_co_mutex_lock(CoMutex *mutex);
void coroutine_fn qemu_co_mutex_unlock(CoMutex *mutex);

/* A lock of any kind; @object NULL is no lock at all. */
typedef struct QemuLockable {
    void *object;
    void (*lock)(void *object);
    void (*unlock)(void *object);
} QemuLockable;

static inline void lockable_mutex_lock(void *object)
{
    qemu_mutex_lock(object);
}

static inline void lockable_mutex_unlock(void *object)
{
    qemu_mutex_unlock(object);
}

static inline void lockable_rec_mutex_lock(void *object)
{
    qemu_rec_mutex_lock(object);
}

static inline void lockable_rec_mutex_unlock(void *object)
{
    qemu_rec_mutex_unlock(object);
}

static inline void coroutine_fn lockable_co_mutex_lock(void *object)
{
    qemu_co_mutex_lock(object);
}

static inline void coroutine_fn lockable_co_mutex_unlock(void *object)
{
    qemu_co_mutex_unlock(object);
}

#define QEMU_LOCKABLE_OP_(x, op) \
    _Generic((x), \
        QemuMutex *: lockable_mutex_##op, \
        QemuRecMutex *: lockable_rec_mutex_##op, \
        CoMutex *: lockable_co_mutex_##op, \
        void *: NULL)
/* @x: pointer to a lock, or plain NULL. */
#define QEMU_MAKE_LOCKABLE(x) \
    ((QemuLockable){ (x), QEMU_LOCKABLE_OP_(x, lock), QEMU_LOCKABLE_OP_(x, unlock) })

static inline void qemu_lockable_lock(QemuLockable *lockable)
{
    if (lockable->object) {
        lockable->lock(lockable->object);
    }
}

static inline void qemu_lockable_unlock(QemuLockable *lockable)
{
    if (lockable->object) {
        lockable->unlock(lockable->object);
    }
}

static inline QemuLockable qemu_lockable_locked(QemuLockable lockable)
{
    qemu_lockable_lock(&lockable);
    return lockable;
}

#define QEMU_LOCK_GUARD_NAME2_(line) qemu_lock_guard_##line
#define QEMU_LOCK_GUARD_NAME_(line) QEMU_LOCK_GUARD_NAME2_(line)
#define QEMU_LOCK_GUARD_VAR_(x, name) \
    __attribute__((cleanup(qemu_lockable_unlock), unused)) QemuLockable name = \
        qemu_lockable_locked(QEMU_MAKE_LOCKABLE(x))

#define QEMU_LOCK_GUARD(x) QEMU_LOCK_GUARD_VAR_(x, QEMU_LOCK_GUARD_NAME_(__LINE__))
#define CO_LOCK_GUARD(x) QEMU_LOCK_GUARD(x)
/* The inner loop runs once; it only declares the guard in front of the caller's block. */
#define WITH_QEMU_LOCK_GUARD(x) \
    for (bool qemu_lock_once_ = true; qemu_lock_once_; qemu_lock_once_ = false) \
        for (QEMU_LOCK_GUARD_VAR_(x, qemu_lock_scope_); qemu_lock_once_; qemu_lock_once_ = false)

#endif
