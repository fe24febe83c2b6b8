/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Coroutine locks: order in one loop, exclusion between loops.
 */
#include "qemu/osdep.h"

#include "block/aio.h"
#include "qemu/co-lock.h"
#include "qemu/error.h"
#include "qemu/iothread.h"
#include "qemu/main-loop.h"
#include "../../lib/testlib.h"

static void poll_until_idle(void)
{
    while (aio_poll(qemu_get_aio_context(), false)) {
        continue;
    }
}

/* ---- one loop: coroutines that log what they do ---------------------------------------------- */
typedef struct Log {
    GString *text;
    CoMutex mutex;
    CoQueue queue;
    CoRwlock rwlock;
    CoSemaphore sem;
} Log;

typedef struct Actor {
    Log *log;
    char name;
    Coroutine *co;
} Actor;

static void log_init(Log *log)
{
    log->text = g_string_new("");
    qemu_co_mutex_init(&log->mutex);
    qemu_co_queue_init(&log->queue);
    qemu_co_rwlock_init(&log->rwlock);
    qemu_co_sem_init(&log->sem, 2);
}

static void log_expect(Log *log, const char *expected)
{
    g_assert_cmpstr(log->text->str, ==, expected);
    g_string_free(log->text, true);
}

static void say(Actor *a, char what)
{
    g_string_append_c(a->log->text, a->name);
    g_string_append_c(a->log->text, what);
}

static void start(Actor *a, Log *log, char name, CoroutineEntry *entry)
{
    *a = (Actor) { .log = log, .name = name };
    a->co = qemu_coroutine_create(entry, a);
    qemu_coroutine_enter(a->co);
}

static void coroutine_fn take_mutex(void *opaque)
{
    Actor *a = opaque;
    CO_LOCK_GUARD(&a->log->mutex);

    say(a, '+');
    g_assert_true(qemu_co_mutex_is_held(&a->log->mutex));
    qemu_coroutine_yield();
    say(a, '-');
}

static void test_mutex_is_fifo(void)
{
    Log log;
    Actor a, b, c;

    log_init(&log);
    start(&a, &log, 'a', take_mutex);
    start(&b, &log, 'b', take_mutex);
    start(&c, &log, 'c', take_mutex);
    g_assert_cmpstr(log.text->str, ==, "a+");
    aio_co_wake(a.co);
    g_assert_cmpstr(log.text->str, ==, "a+a-b+");
    aio_co_wake(b.co);
    aio_co_wake(c.co);
    g_assert_false(qemu_co_mutex_is_locked(&log.mutex));
    log_expect(&log, "a+a-b+b-c+c-");
}

static void coroutine_fn try_mutex(void *opaque)
{
    Actor *a = opaque;
    bool taken = qemu_co_mutex_trylock(&a->log->mutex);

    say(a, taken ? '+' : 'x');
    if (taken) {
        qemu_co_mutex_unlock(&a->log->mutex);
    }
}

static void test_trylock_does_not_wait(void)
{
    Log log;
    Actor a, b, c;

    log_init(&log);
    start(&a, &log, 'a', take_mutex);
    start(&b, &log, 'b', try_mutex);
    aio_co_wake(a.co);
    start(&c, &log, 'c', try_mutex);
    log_expect(&log, "a+bxa-c+");
}

static void coroutine_fn with_guard_breaks(void *opaque)
{
    Actor *a = opaque;

    WITH_QEMU_LOCK_GUARD(&a->log->mutex) {
        say(a, '1');
        if (qemu_co_mutex_is_held(&a->log->mutex)) {
            break;
        }
        say(a, '!');
    }
    g_assert_false(qemu_co_mutex_is_locked(&a->log->mutex));
    say(a, '2');
}

static void test_guard_break_releases_once(void)
{
    Log log;
    Actor a;

    log_init(&log);
    start(&a, &log, 'a', with_guard_breaks);
    log_expect(&log, "a1a2");
}

static void coroutine_fn wait_in_queue(void *opaque)
{
    Actor *a = opaque;

    qemu_co_mutex_lock(&a->log->mutex);
    say(a, '<');
    qemu_co_queue_wait(&a->log->queue, &a->log->mutex);
    g_assert_true(qemu_co_mutex_is_held(&a->log->mutex));
    say(a, '>');
    qemu_co_mutex_unlock(&a->log->mutex);
}

static void test_queue_wakes_in_order(void)
{
    Log log;
    Actor a, b, c;

    log_init(&log);
    start(&a, &log, 'a', wait_in_queue);
    start(&b, &log, 'b', wait_in_queue);
    start(&c, &log, 'c', wait_in_queue);
    g_assert_false(qemu_co_queue_empty(&log.queue));
    g_assert_true(qemu_co_queue_next(&log.queue));
    g_assert_cmpstr(log.text->str, ==, "a<b<c<a>");
    qemu_co_queue_restart_all(&log.queue);
    g_assert_true(qemu_co_queue_empty(&log.queue));
    g_assert_false(qemu_co_queue_next(&log.queue));
    log_expect(&log, "a<b<c<a>b>c>");
}

static void coroutine_fn wait_twice(void *opaque)
{
    Actor *a = opaque;

    qemu_co_queue_wait(&a->log->queue, NULL);
    say(a, '1');
    qemu_co_queue_wait(&a->log->queue, NULL);
    say(a, '2');
}

static void test_restart_all_wakes_once(void)
{
    Log log;
    Actor a, b;

    log_init(&log);
    start(&a, &log, 'a', wait_twice);
    start(&b, &log, 'b', wait_twice);
    qemu_co_queue_restart_all(&log.queue);
    g_assert_cmpstr(log.text->str, ==, "a1b1");
    qemu_co_enter_all(&log.queue, NULL);
    log_expect(&log, "a1b1a2b2");
}

static void test_enter_next_drops_lock(void)
{
    Log log;
    Actor a;
    QemuMutex lock;

    log_init(&log);
    qemu_mutex_init(&lock);
    start(&a, &log, 'a', wait_in_queue);
    qemu_mutex_lock(&lock);
    g_assert_true(qemu_co_enter_next(&log.queue, &lock));
    g_assert_cmpint(qemu_mutex_trylock(&lock), ==, -EBUSY);
    g_assert_false(qemu_co_enter_next(&log.queue, &lock));
    qemu_mutex_unlock(&lock);
    qemu_mutex_destroy(&lock);
    log_expect(&log, "a<a>");
}

static void coroutine_fn reader(void *opaque)
{
    Actor *a = opaque;

    qemu_co_rwlock_rdlock(&a->log->rwlock);
    say(a, 'r');
    qemu_coroutine_yield();
    qemu_co_rwlock_unlock(&a->log->rwlock);
}

static void coroutine_fn writer(void *opaque)
{
    Actor *a = opaque;

    qemu_co_rwlock_wrlock(&a->log->rwlock);
    say(a, 'w');
    qemu_coroutine_yield();
    qemu_co_rwlock_unlock(&a->log->rwlock);
}

static void test_rwlock_is_fair(void)
{
    Log log;
    Actor a, b, c, d, e;

    log_init(&log);
    start(&a, &log, 'a', reader);
    start(&b, &log, 'b', reader);
    start(&c, &log, 'c', writer);
    start(&d, &log, 'd', reader);
    start(&e, &log, 'e', reader);
    g_assert_cmpstr(log.text->str, ==, "arbr");
    aio_co_wake(a.co);
    aio_co_wake(b.co);
    g_assert_cmpstr(log.text->str, ==, "arbrcw");
    aio_co_wake(c.co);
    g_assert_cmpstr(log.text->str, ==, "arbrcwdrer");
    aio_co_wake(d.co);
    aio_co_wake(e.co);
    g_assert_cmpint(log.rwlock.owners, ==, 0);
    log_expect(&log, "arbrcwdrer");
}

static void coroutine_fn upgrader(void *opaque)
{
    Actor *a = opaque;

    qemu_co_rwlock_rdlock(&a->log->rwlock);
    say(a, 'r');
    qemu_coroutine_yield();
    say(a, qemu_co_rwlock_upgrade(&a->log->rwlock) ? 'U' : 'u');
    qemu_coroutine_yield();
    qemu_co_rwlock_downgrade(&a->log->rwlock);
    say(a, 'd');
    qemu_coroutine_yield();
    qemu_co_rwlock_unlock(&a->log->rwlock);
}

static void test_rwlock_upgrade_and_downgrade(void)
{
    Log log;
    Actor a, b;

    log_init(&log);
    start(&a, &log, 'a', upgrader);
    start(&b, &log, 'b', upgrader);
    aio_co_wake(a.co);                 /* waits for b to stop reading */
    g_assert_cmpstr(log.text->str, ==, "arbr");
    aio_co_wake(b.co);                 /* queues behind a, which gets it */
    g_assert_cmpstr(log.text->str, ==, "arbrau");
    aio_co_wake(a.co);                 /* downgrades; b still wants to write */
    aio_co_wake(a.co);                 /* releases */
    g_assert_cmpstr(log.text->str, ==, "arbrauadbu");
    aio_co_wake(b.co);
    aio_co_wake(b.co);
    g_assert_cmpint(log.rwlock.owners, ==, 0);

    start(&a, &log, 'c', upgrader);
    aio_co_wake(a.co);                 /* alone: at once */
    aio_co_wake(a.co);
    aio_co_wake(a.co);
    log_expect(&log, "arbrauadbubdcrcUcd");
}

static void coroutine_fn pass_sem(void *opaque)
{
    Actor *a = opaque;

    qemu_co_sem_down(&a->log->sem);
    say(a, '+');
    qemu_coroutine_yield();
    qemu_co_sem_up(&a->log->sem);
}

static void test_semaphore_lets_in_as_many(void)
{
    Log log;
    Actor a, b, c;

    log_init(&log);
    start(&a, &log, 'a', pass_sem);
    start(&b, &log, 'b', pass_sem);
    start(&c, &log, 'c', pass_sem);
    g_assert_false(qemu_co_sem_try_down(&log.sem));
    g_assert_cmpstr(log.text->str, ==, "a+b+");
    aio_co_wake(a.co);
    aio_co_wake(b.co);
    aio_co_wake(c.co);
    g_assert_true(qemu_co_sem_try_down(&log.sem));
    log_expect(&log, "a+b+c+");
}

/* ---- several loops: a counter that only the lock protects ------------------------------------ */
#define LOOPS 4
#define PER_LOOP 8
#define ROUNDS 2000

typedef struct Stress {
    CoMutex mutex;
    CoRwlock rwlock;
    CoSemaphore sem;
    CoQueue queue;
    CoroutineEntry *entry;
    QemuSemaphore ended;
    int running;            /* atomic */
    /* Under the lock that is tested. */
    int64_t counter;
    int64_t counter_again;
    int tokens;
} Stress;

static Stress stress;

static void coroutine_fn stress_end(void)
{
    if (qatomic_fetch_dec(&stress.running) == 1) {
        qemu_sem_post(&stress.ended);
    }
}

static void coroutine_fn step_aside(int i)
{
    if (i % 7 == 0) {
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

static void coroutine_fn touch(int i)
{
    g_assert_cmpint(stress.counter, ==, stress.counter_again);
    stress.counter++;
    step_aside(i);
    stress.counter_again++;
}

static void coroutine_fn stress_mutex(void *opaque)
{
    (void)opaque;
    for (int i = 0; i < ROUNDS; i++) {
        CO_LOCK_GUARD(&stress.mutex);
        touch(i);
    }
    stress_end();
}

static void coroutine_fn stress_rwlock(void *opaque)
{
    (void)opaque;
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 4 == 0) {
            qemu_co_rwlock_wrlock(&stress.rwlock);
            touch(i);
            qemu_co_rwlock_downgrade(&stress.rwlock);
        } else if (i % 4 == 1) {
            qemu_co_rwlock_rdlock(&stress.rwlock);
            qemu_co_rwlock_upgrade(&stress.rwlock);
            touch(i);
        } else {
            qemu_co_rwlock_rdlock(&stress.rwlock);
            step_aside(i);
        }
        g_assert_cmpint(stress.counter, ==, stress.counter_again);
        qemu_co_rwlock_unlock(&stress.rwlock);
    }
    stress_end();
}

static void coroutine_fn stress_sem(void *opaque)
{
    (void)opaque;
    for (int i = 0; i < ROUNDS; i++) {
        qemu_co_sem_down(&stress.sem);
        touch(i);
        qemu_co_sem_up(&stress.sem);
    }
    stress_end();
}

/* Tokens go round: everyone puts one in and takes one out. */
static void coroutine_fn stress_queue(void *opaque)
{
    (void)opaque;
    for (int i = 0; i < ROUNDS; i++) {
        CO_LOCK_GUARD(&stress.mutex);
        if (i % 2) {
            stress.tokens++;
            qemu_co_queue_next(&stress.queue);
        } else {
            while (stress.tokens == 0) {
                qemu_co_queue_wait(&stress.queue, &stress.mutex);
            }
            stress.tokens--;
            touch(i);
        }
    }
    stress_end();
}

static void stress_start_bh(void *opaque)
{
    (void)opaque;
    for (int i = 0; i < PER_LOOP; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(stress.entry, NULL));
    }
}

static void run_stress(CoroutineEntry *entry, int64_t expected)
{
    IOThread *iothreads[LOOPS];

    memset(&stress, 0, sizeof(stress));
    qemu_co_mutex_init(&stress.mutex);
    qemu_co_rwlock_init(&stress.rwlock);
    qemu_co_sem_init(&stress.sem, 1);
    qemu_co_queue_init(&stress.queue);
    qemu_sem_init(&stress.ended, 0);
    stress.entry = entry;
    stress.running = LOOPS * PER_LOOP;
    stress.tokens = LOOPS * PER_LOOP;

    for (int i = 0; i < LOOPS; i++) {
        iothreads[i] = iothread_create("stress", &error_abort);
        aio_bh_schedule_oneshot(iothread_get_aio_context(iothreads[i]), stress_start_bh, NULL);
    }
    qemu_sem_wait(&stress.ended);
    for (int i = 0; i < LOOPS; i++) {
        iothread_unref(iothreads[i]);
    }
    qemu_sem_destroy(&stress.ended);
    g_assert_cmpint(stress.counter, ==, expected);
    g_assert_false(qemu_co_mutex_is_locked(&stress.mutex));
}

static void test_mutex_excludes_between_loops(void)
{
    run_stress(stress_mutex, (int64_t)LOOPS * PER_LOOP * ROUNDS);
}

static void test_rwlock_excludes_between_loops(void)
{
    run_stress(stress_rwlock, (int64_t)LOOPS * PER_LOOP * ROUNDS / 2);
}

static void test_sem_excludes_between_loops(void)
{
    run_stress(stress_sem, (int64_t)LOOPS * PER_LOOP * ROUNDS);
}

static void test_queue_loses_no_wakeup_between_loops(void)
{
    run_stress(stress_queue, (int64_t)LOOPS * PER_LOOP * ROUNDS / 2);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    g_test_add_func("/co-lock/mutex/is-fifo", test_mutex_is_fifo);
    g_test_add_func("/co-lock/mutex/trylock-does-not-wait", test_trylock_does_not_wait);
    g_test_add_func("/co-lock/guard/break-releases-once", test_guard_break_releases_once);
    g_test_add_func("/co-lock/queue/wakes-in-order", test_queue_wakes_in_order);
    g_test_add_func("/co-lock/queue/restart-all-wakes-once", test_restart_all_wakes_once);
    g_test_add_func("/co-lock/queue/enter-next-drops-lock", test_enter_next_drops_lock);
    g_test_add_func("/co-lock/rwlock/is-fair", test_rwlock_is_fair);
    g_test_add_func("/co-lock/rwlock/upgrade-and-downgrade", test_rwlock_upgrade_and_downgrade);
    g_test_add_func("/co-lock/sem/lets-in-as-many", test_semaphore_lets_in_as_many);
    g_test_add_func("/co-lock/mutex/excludes-between-loops", test_mutex_excludes_between_loops);
    g_test_add_func("/co-lock/rwlock/excludes-between-loops", test_rwlock_excludes_between_loops);
    g_test_add_func("/co-lock/sem/excludes-between-loops", test_sem_excludes_between_loops);
    g_test_add_func("/co-lock/queue/loses-no-wakeup", test_queue_loses_no_wakeup_between_loops);
    poll_until_idle();
    return g_test_run();
}
