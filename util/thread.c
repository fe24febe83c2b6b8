/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads and their locks on top of pthreads and futexes.
 */
#include "qemu/osdep.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>

#include "qemu/thread.h"

static void check(int err, const char *what)
{
    if (unlikely(err)) {
        fprintf(stderr, "%s: %s\n", what, strerror(err));
        abort();
    }
}

/* ---- mutex ----------------------------------------------------------------------------------- */
static void mutex_init(pthread_mutex_t *lock, int kind)
{
    pthread_mutexattr_t attr;

    check(pthread_mutexattr_init(&attr), __func__);
    check(pthread_mutexattr_settype(&attr, kind), __func__);
    check(pthread_mutex_init(lock, &attr), __func__);
    pthread_mutexattr_destroy(&attr);
}

void qemu_mutex_init(QemuMutex *mutex)
{
#ifdef CONFIG_DEBUG
    mutex_init(&mutex->lock, PTHREAD_MUTEX_ERRORCHECK);
#else
    mutex_init(&mutex->lock, PTHREAD_MUTEX_NORMAL);
#endif
}

void qemu_mutex_destroy(QemuMutex *mutex)
{
    check(pthread_mutex_destroy(&mutex->lock), __func__);
}

void qemu_mutex_lock(QemuMutex *mutex)
{
    check(pthread_mutex_lock(&mutex->lock), __func__);
}

int qemu_mutex_trylock(QemuMutex *mutex)
{
    return -pthread_mutex_trylock(&mutex->lock);
}

void qemu_mutex_unlock(QemuMutex *mutex)
{
    check(pthread_mutex_unlock(&mutex->lock), __func__);
}

void qemu_rec_mutex_init(QemuRecMutex *mutex)
{
    mutex_init(&mutex->lock, PTHREAD_MUTEX_RECURSIVE);
}

void qemu_rec_mutex_destroy(QemuRecMutex *mutex)
{
    check(pthread_mutex_destroy(&mutex->lock), __func__);
}

void qemu_rec_mutex_lock(QemuRecMutex *mutex)
{
    check(pthread_mutex_lock(&mutex->lock), __func__);
}

int qemu_rec_mutex_trylock(QemuRecMutex *mutex)
{
    return -pthread_mutex_trylock(&mutex->lock);
}

void qemu_rec_mutex_unlock(QemuRecMutex *mutex)
{
    check(pthread_mutex_unlock(&mutex->lock), __func__);
}

/* ---- condition ------------------------------------------------------------------------------- */
static struct timespec deadline_in_ms(int ms)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_sec += ms / 1000;
    ts.tv_nsec += (ms % 1000) * 1000000L;
    if (ts.tv_nsec >= NANOSECONDS_PER_SECOND) {
        ts.tv_sec++;
        ts.tv_nsec -= NANOSECONDS_PER_SECOND;
    }
    return ts;
}

void qemu_cond_init(QemuCond *cond)
{
    pthread_condattr_t attr;

    check(pthread_condattr_init(&attr), __func__);
    check(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), __func__);
    check(pthread_cond_init(&cond->cond, &attr), __func__);
    pthread_condattr_destroy(&attr);
}

void qemu_cond_destroy(QemuCond *cond)
{
    check(pthread_cond_destroy(&cond->cond), __func__);
}

void qemu_cond_signal(QemuCond *cond)
{
    check(pthread_cond_signal(&cond->cond), __func__);
}

void qemu_cond_broadcast(QemuCond *cond)
{
    check(pthread_cond_broadcast(&cond->cond), __func__);
}

void qemu_cond_wait(QemuCond *cond, QemuMutex *mutex)
{
    check(pthread_cond_wait(&cond->cond, &mutex->lock), __func__);
}

static bool cond_wait_until(QemuCond *cond, QemuMutex *mutex, const struct timespec *deadline)
{
    int err = pthread_cond_timedwait(&cond->cond, &mutex->lock, deadline);

    if (err != ETIMEDOUT) {
        check(err, __func__);
    }
    return err == 0;
}

bool qemu_cond_timedwait(QemuCond *cond, QemuMutex *mutex, int ms)
{
    struct timespec deadline = deadline_in_ms(ms);

    return cond_wait_until(cond, mutex, &deadline);
}

/* ---- semaphore ------------------------------------------------------------------------------- */
void qemu_sem_init(QemuSemaphore *sem, unsigned count)
{
    qemu_mutex_init(&sem->mutex);
    qemu_cond_init(&sem->cond);
    sem->count = count;
}

void qemu_sem_destroy(QemuSemaphore *sem)
{
    qemu_cond_destroy(&sem->cond);
    qemu_mutex_destroy(&sem->mutex);
}

void qemu_sem_post(QemuSemaphore *sem)
{
    qemu_mutex_lock(&sem->mutex);
    sem->count++;
    /* Signalled under the lock, so that a waiter may destroy the semaphore at once. */
    qemu_cond_signal(&sem->cond);
    qemu_mutex_unlock(&sem->mutex);
}

void qemu_sem_wait(QemuSemaphore *sem)
{
    qemu_mutex_lock(&sem->mutex);
    while (sem->count == 0) {
        qemu_cond_wait(&sem->cond, &sem->mutex);
    }
    sem->count--;
    qemu_mutex_unlock(&sem->mutex);
}

int qemu_sem_timedwait(QemuSemaphore *sem, int ms)
{
    struct timespec deadline = deadline_in_ms(ms);
    bool in_time = true;
    int ret = -ETIMEDOUT;

    qemu_mutex_lock(&sem->mutex);
    while (sem->count == 0 && in_time) {
        in_time = cond_wait_until(&sem->cond, &sem->mutex, &deadline);
    }
    if (sem->count > 0) {
        sem->count--;
        ret = 0;
    }
    qemu_mutex_unlock(&sem->mutex);
    return ret;
}

/* ---- event: one word; the kernel is asked only when somebody sleeps -------------------------- */
enum {
    EVENT_SET,
    EVENT_SHUT,
    /* Shut, and a thread may be asleep in the kernel. */
    EVENT_SLEEPERS,
};

static void event_futex(QemuEvent *event, int op, uint32_t val)
{
    syscall(SYS_futex, &event->value, op | FUTEX_PRIVATE_FLAG, val, NULL, NULL, 0);
}

void qemu_event_init(QemuEvent *event, bool is_set)
{
    event->value = is_set ? EVENT_SET : EVENT_SHUT;
}

void qemu_event_destroy(QemuEvent *event)
{
    (void)event;
}

void qemu_event_set(QemuEvent *event)
{
    if (qatomic_xchg(&event->value, EVENT_SET) == EVENT_SLEEPERS) {
        event_futex(event, FUTEX_WAKE, INT_MAX);
    }
}

void qemu_event_reset(QemuEvent *event)
{
    /* A full barrier: the caller's next look at its condition must not move up. */
    (void)qatomic_cmpxchg(&event->value, EVENT_SET, EVENT_SHUT);
}

void qemu_event_wait(QemuEvent *event)
{
    while (qatomic_load_acquire(&event->value) != EVENT_SET) {
        if (qatomic_cmpxchg(&event->value, EVENT_SHUT, EVENT_SLEEPERS) != EVENT_SET) {
            event_futex(event, FUTEX_WAIT, EVENT_SLEEPERS);
        }
    }
}

/* ---- threads --------------------------------------------------------------------------------- */
typedef struct ThreadStart {
    void *(*start)(void *);
    void *arg;
    char name[16];
} ThreadStart;

static __thread NotifierList thread_exit_notifiers;
static pthread_key_t thread_exit_key;
static pthread_once_t thread_exit_once = PTHREAD_ONCE_INIT;

static void thread_run_exit_notifiers(void *unused)
{
    notifier_list_notify(&thread_exit_notifiers, NULL);
}

static void thread_run_exit_notifiers_main(void)
{
    /* exit() runs no key destructors; the calling thread's notifiers still matter. */
    thread_run_exit_notifiers(NULL);
}

static void thread_exit_setup(void)
{
    check(pthread_key_create(&thread_exit_key, thread_run_exit_notifiers), __func__);
    atexit(thread_run_exit_notifiers_main);
}

void qemu_thread_atexit_add(Notifier *notifier)
{
    pthread_once(&thread_exit_once, thread_exit_setup);
    /* Any value but NULL: it makes the destructor run. */
    pthread_setspecific(thread_exit_key, &thread_exit_notifiers);
    notifier_list_add(&thread_exit_notifiers, notifier);
}

void qemu_thread_atexit_remove(Notifier *notifier)
{
    notifier_remove(notifier);
}

static void *thread_main(void *opaque)
{
    g_autofree ThreadStart *ts = opaque;
    void *(*start)(void *) = ts->start;
    void *arg = ts->arg;

    pthread_setname_np(pthread_self(), ts->name);
    g_free(g_steal_pointer(&ts));
    return start(arg);
}

int qemu_thread_try_create(QemuThread *thread, const char *name, void *(*start)(void *),
                           void *arg, int mode)
{
    ThreadStart *ts = g_new0(ThreadStart, 1);
    sigset_t all, before;
    pthread_attr_t attr;
    int err;

    ts->start = start;
    ts->arg = arg;
    g_strlcpy(ts->name, name, sizeof(ts->name));

    check(pthread_attr_init(&attr), __func__);
    if (mode == QEMU_THREAD_DETACHED) {
        check(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED), __func__);
    }
    /* Signals are the main thread's business; faults of the thread itself are not. */
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&thread->thread, &attr, thread_main, ts);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (err) {
        g_free(ts);
    }
    return -err;
}

void qemu_thread_create(QemuThread *thread, const char *name, void *(*start)(void *), void *arg,
                        int mode)
{
    check(-qemu_thread_try_create(thread, name, start, arg, mode), __func__);
}

void *qemu_thread_join(QemuThread *thread)
{
    void *result;

    check(pthread_join(thread->thread, &result), __func__);
    return result;
}

void qemu_thread_get_self(QemuThread *thread)
{
    thread->thread = pthread_self();
}

bool qemu_thread_is_self(const QemuThread *thread)
{
    return pthread_equal(pthread_self(), thread->thread);
}

int qemu_get_thread_id(void)
{
    return syscall(SYS_gettid);
}

/* ---- which thread is this? ------------------------------------------------------------------- */
static bool main_thread_known;
static __thread bool is_main_thread;

void qemu_thread_set_main(void)
{
    is_main_thread = true;
    qatomic_store_release(&main_thread_known, true);
}

bool qemu_in_main_thread(void)
{
    return is_main_thread || !qatomic_load_acquire(&main_thread_known);
}
