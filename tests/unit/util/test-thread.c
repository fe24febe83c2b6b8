/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads and what they wait on; lock guards.
 */
#include "qemu/osdep.h"

#include "qemu/lockable.h"
#include "qemu/thread.h"
#include "../../lib/testlib.h"

enum { THREADS = 4, ROUNDS = 20000 };

typedef struct Shared {
    QemuMutex lock;
    QemuSemaphore sem;
    QemuEvent event;
    int counter;
    int early_return;
    int exits;
} Shared;

static Shared shared;

static void add_with_guard(void)
{
    QEMU_LOCK_GUARD(&shared.lock);

    if (shared.counter++ % 2) {
        shared.early_return++;
        return;
    }
    shared.early_return++;
}

static void *add_many(void *opaque)
{
    for (int i = 0; i < ROUNDS; i++) {
        add_with_guard();
        WITH_QEMU_LOCK_GUARD(&shared.lock) {
            if (i % 3 == 0) {
                continue;
            }
            shared.counter++;
        }
    }
    return opaque;
}

static void test_guards_exclude(void)
{
    QemuThread threads[THREADS];

    shared.counter = 0;
    for (int i = 0; i < THREADS; i++) {
        qemu_thread_create(&threads[i], "add", add_many, &threads[i], QEMU_THREAD_JOINABLE);
    }
    for (int i = 0; i < THREADS; i++) {
        g_assert_true(qemu_thread_join(&threads[i]) == &threads[i]);
    }
    g_assert_cmpint(shared.early_return, ==, THREADS * ROUNDS);
    g_assert_cmpint(shared.counter, ==, THREADS * (ROUNDS + ROUNDS - DIV_ROUND_UP(ROUNDS, 3)));
}

static void test_trylock_says_busy(void)
{
    QemuRecMutex rec;

    qemu_mutex_lock(&shared.lock);
    g_assert_cmpint(qemu_mutex_trylock(&shared.lock), ==, -EBUSY);
    qemu_mutex_unlock(&shared.lock);
    g_assert_cmpint(qemu_mutex_trylock(&shared.lock), ==, 0);
    qemu_mutex_unlock(&shared.lock);

    qemu_rec_mutex_init(&rec);
    qemu_rec_mutex_lock(&rec);
    g_assert_cmpint(qemu_rec_mutex_trylock(&rec), ==, 0);
    qemu_rec_mutex_unlock(&rec);
    qemu_rec_mutex_unlock(&rec);
    qemu_rec_mutex_destroy(&rec);
}

static void *post_many(void *opaque)
{
    for (int i = 0; i < ROUNDS; i++) {
        qemu_sem_post(&shared.sem);
    }
    return opaque;
}

static void test_semaphore_counts(void)
{
    QemuThread thread;

    qemu_sem_init(&shared.sem, 1);
    qemu_thread_create(&thread, "post", post_many, NULL, QEMU_THREAD_JOINABLE);
    for (int i = 0; i < ROUNDS + 1; i++) {
        qemu_sem_wait(&shared.sem);
    }
    qemu_thread_join(&thread);
    g_assert_cmpint(qemu_sem_timedwait(&shared.sem, 1), ==, -ETIMEDOUT);
    qemu_sem_post(&shared.sem);
    g_assert_cmpint(qemu_sem_timedwait(&shared.sem, 1000), ==, 0);
    qemu_sem_destroy(&shared.sem);
}

static void test_cond_times_out(void)
{
    QemuCond cond;

    qemu_cond_init(&cond);
    qemu_mutex_lock(&shared.lock);
    g_assert_false(qemu_cond_timedwait(&cond, &shared.lock, 1));
    qemu_mutex_unlock(&shared.lock);
    qemu_cond_destroy(&cond);
}

/* One side sets a number and the event; the other resets, looks, waits. */
static void *count_and_set(void *opaque)
{
    for (int i = 0; i < ROUNDS; i++) {
        qatomic_inc(&shared.counter);
        qemu_event_set(&shared.event);
    }
    return opaque;
}

static void test_event_loses_no_set(void)
{
    QemuThread threads[2];

    shared.counter = 0;
    qemu_event_init(&shared.event, false);
    for (int i = 0; i < 2; i++) {
        qemu_thread_create(&threads[i], "set", count_and_set, NULL, QEMU_THREAD_JOINABLE);
    }
    for (;;) {
        qemu_event_reset(&shared.event);
        if (qatomic_read(&shared.counter) == 2 * ROUNDS) {
            break;
        }
        qemu_event_wait(&shared.event);
    }
    for (int i = 0; i < 2; i++) {
        qemu_thread_join(&threads[i]);
    }
    qemu_event_destroy(&shared.event);
}

static void count_exit(Notifier *notifier, void *data)
{
    (void)notifier;
    (void)data;
    shared.exits++;
}

static void *end_with_notifier(void *opaque)
{
    static Notifier kept = { .notify = count_exit };
    static Notifier removed = { .notify = count_exit };

    qemu_thread_atexit_add(&kept);
    qemu_thread_atexit_add(&removed);
    qemu_thread_atexit_remove(&removed);
    g_assert_false(qemu_in_main_thread());
    return opaque;
}

static void test_exit_notifier_is_called(void)
{
    QemuThread thread;

    qemu_thread_create(&thread, "ends", end_with_notifier, NULL, QEMU_THREAD_JOINABLE);
    g_assert_false(qemu_thread_is_self(&thread));
    qemu_thread_join(&thread);
    g_assert_cmpint(shared.exits, ==, 1);
    qemu_thread_get_self(&thread);
    g_assert_true(qemu_thread_is_self(&thread));
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_mutex_init(&shared.lock);
    qemu_thread_set_main();
    g_assert_true(qemu_in_main_thread());
    g_test_add_func("/thread/guard/excludes", test_guards_exclude);
    g_test_add_func("/thread/mutex/trylock-says-busy", test_trylock_says_busy);
    g_test_add_func("/thread/sem/counts", test_semaphore_counts);
    g_test_add_func("/thread/cond/times-out", test_cond_times_out);
    g_test_add_func("/thread/event/loses-no-set", test_event_loses_no_set);
    g_test_add_func("/thread/exit/notifier-is-called", test_exit_notifier_is_called);
    return g_test_run();
}
