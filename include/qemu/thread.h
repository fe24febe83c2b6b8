/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads, and what threads wait on.  Code that runs in coroutines waits on qemu/co-lock.h
 * instead; a QemuMutex may be held there only for a few instructions and never across a yield.
 *
 * - A refused operation aborts: it is a bug of the caller.  configure --enable-debug also finds
 *   a QemuMutex that is taken twice or released by a stranger.
 * - All timed waits count on the monotonic clock.
 * - A zeroed QemuMutex is initialised and unlocked.
 */
#ifndef QEMU_THREAD_H
#define QEMU_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "qemu/atomic.h"
#include "qemu/notify.h"

typedef struct QemuMutex {
    pthread_mutex_t lock;
} QemuMutex;

/* May be taken again by the thread that holds it. */
typedef struct QemuRecMutex {
    pthread_mutex_t lock;
} QemuRecMutex;

typedef struct QemuCond {
    pthread_cond_t cond;
} QemuCond;

typedef struct QemuSemaphore {
    QemuMutex mutex;
    QemuCond cond;
    unsigned count;
} QemuSemaphore;

/* A gate that threads wait at: shut by reset, opened for everyone by set. */
typedef struct QemuEvent {
    uint32_t value;
} QemuEvent;

typedef struct QemuThread {
    pthread_t thread;
} QemuThread;

enum {
    QEMU_THREAD_JOINABLE,
    QEMU_THREAD_DETACHED,
};

#define QEMU_MUTEX_INITIALIZER { PTHREAD_MUTEX_INITIALIZER }

/* ---- mutex ----------------------------------------------------------------------------------- */
void qemu_mutex_init(QemuMutex *mutex);
void qemu_mutex_destroy(QemuMutex *mutex);
void qemu_mutex_lock(QemuMutex *mutex);
/** Returns 0 when the lock was taken, -EBUSY otherwise. */
int qemu_mutex_trylock(QemuMutex *mutex);
void qemu_mutex_unlock(QemuMutex *mutex);

void qemu_rec_mutex_init(QemuRecMutex *mutex);
void qemu_rec_mutex_destroy(QemuRecMutex *mutex);
void qemu_rec_mutex_lock(QemuRecMutex *mutex);
int qemu_rec_mutex_trylock(QemuRecMutex *mutex);
void qemu_rec_mutex_unlock(QemuRecMutex *mutex);

/* ---- condition, semaphore, event ------------------------------------------------------------- */
void qemu_cond_init(QemuCond *cond);
void qemu_cond_destroy(QemuCond *cond);
void qemu_cond_signal(QemuCond *cond);
void qemu_cond_broadcast(QemuCond *cond);
/** Release @mutex, sleep until signalled (or for no reason), take @mutex again. */
void qemu_cond_wait(QemuCond *cond, QemuMutex *mutex);
/** Like qemu_cond_wait, for at most @ms milliseconds.  Returns false when they passed. */
bool qemu_cond_timedwait(QemuCond *cond, QemuMutex *mutex, int ms);

void qemu_sem_init(QemuSemaphore *sem, unsigned count);
void qemu_sem_destroy(QemuSemaphore *sem);
void qemu_sem_post(QemuSemaphore *sem);
void qemu_sem_wait(QemuSemaphore *sem);
/** Returns 0, or -ETIMEDOUT after @ms milliseconds without a post. */
int qemu_sem_timedwait(QemuSemaphore *sem, int ms);

void qemu_event_init(QemuEvent *event, bool is_set);
void qemu_event_destroy(QemuEvent *event);
/** Let everyone through.  What was written before is seen by those who passed qemu_event_wait. */
void qemu_event_set(QemuEvent *event);
/** Shut the gate; then look again at the condition it stands for, before waiting. */
void qemu_event_reset(QemuEvent *event);
void qemu_event_wait(QemuEvent *event);

/* ---- threads --------------------------------------------------------------------------------- */
/**
 * Start a thread that runs @start(@arg) with all signals blocked.
 *
 * @name: shown by debuggers, cut to 15 characters.
 * Aborts when the system refuses: callers cannot do without.
 */
void qemu_thread_create(QemuThread *thread, const char *name, void *(*start)(void *), void *arg,
                        int mode);
/** Like qemu_thread_create, but returns 0 or a negative errno. */
int qemu_thread_try_create(QemuThread *thread, const char *name, void *(*start)(void *),
                           void *arg, int mode);
/** Wait for a joinable thread to end; returns its result. */
void *qemu_thread_join(QemuThread *thread);
void qemu_thread_get_self(QemuThread *thread);
bool qemu_thread_is_self(const QemuThread *thread);
/** The kernel's number of this thread, as QMP's thread-id shows it. */
int qemu_get_thread_id(void);

/** Call @notifier (data NULL) when the current thread ends, by return or exit; newest first. */
void qemu_thread_atexit_add(Notifier *notifier);
void qemu_thread_atexit_remove(Notifier *notifier);

/* ---- which thread is this? ------------------------------------------------------------------- */
/** Declare the current thread the main thread; qemu_init_main_loop does it. */
void qemu_thread_set_main(void);
/** True in the main thread; also everywhere before one was declared (early start-up, tests). */
bool qemu_in_main_thread(void);

/* The two planes of code, asserted: control code, and code for any loop thread. */
#define GLOBAL_STATE_CODE() assert(qemu_in_main_thread())
#define IO_CODE() ((void)0)

#endif
