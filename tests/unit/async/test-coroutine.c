/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Coroutines in one thread, and moving between threads.
 */
#include "qemu/osdep.h"

#include <fenv.h>
#include <sys/wait.h>

#include "block/aio.h"
#include "block/coroutine.h"
#include "qemu/error.h"
#include "qemu/iothread.h"
#include "qemu/main-loop.h"
#include "../../lib/testlib.h"

/* ---- entering and yielding ------------------------------------------------------------------- */
static void coroutine_fn count_three(void *opaque)
{
    int *steps = opaque;

    for (int i = 0; i < 3; i++) {
        (*steps)++;
        qemu_coroutine_yield();
    }
}

static void test_enter_runs_until_yield(void)
{
    int steps = 0;
    Coroutine *co = qemu_coroutine_create(count_three, &steps);

    g_assert_cmpint(steps, ==, 0);
    for (int i = 1; i <= 3; i++) {
        qemu_coroutine_enter(co);
        g_assert_cmpint(steps, ==, i);
    }
    qemu_coroutine_enter(co);
    g_assert_cmpint(steps, ==, 3);
}

static void coroutine_fn check_self(void *opaque)
{
    Coroutine **seen = opaque;

    g_assert_true(qemu_in_coroutine());
    *seen = qemu_coroutine_self();
    g_assert_true(qemu_coroutine_entered(*seen));
    qemu_coroutine_yield();
    g_assert_true(qemu_coroutine_self() == *seen);
}

static void test_self_is_the_running_one(void)
{
    Coroutine *seen = NULL;
    Coroutine *co = qemu_coroutine_create(check_self, &seen);

    g_assert_false(qemu_in_coroutine());
    qemu_coroutine_enter(co);
    g_assert_true(seen == co);
    g_assert_false(qemu_coroutine_entered(co));
    g_assert_false(qemu_in_coroutine());
    qemu_coroutine_enter(co);
}

typedef struct Nest {
    int depth;
    int max;
} Nest;

static void coroutine_fn nest(void *opaque)
{
    Nest *n = opaque;

    if (++n->depth < n->max) {
        qemu_coroutine_enter(qemu_coroutine_create(nest, n));
    }
    n->depth--;
}

static void test_nested_enter_returns_to_caller(void)
{
    Nest n = { .max = 500 };

    qemu_coroutine_enter(qemu_coroutine_create(nest, &n));
    g_assert_cmpint(n.depth, ==, 0);
}

static void coroutine_fn round_upwards(void *opaque)
{
    (void)opaque;
    fesetround(FE_UPWARD);
    qemu_coroutine_yield();
    g_assert_cmpint(fegetround(), ==, FE_UPWARD);
}

static void test_switch_keeps_rounding_mode(void)
{
    Coroutine *co = qemu_coroutine_create(round_upwards, NULL);

    qemu_coroutine_enter(co);
    g_assert_cmpint(fegetround(), ==, FE_TONEAREST);
    qemu_coroutine_enter(co);
    g_assert_cmpint(fegetround(), ==, FE_TONEAREST);
}

static void coroutine_fn fill_stack(void *opaque)
{
    volatile char frame[64 * 1024];

    memset((char *)frame, *(char *)opaque, sizeof(frame));
    qemu_coroutine_yield();
    for (size_t i = 0; i < sizeof(frame); i++) {
        g_assert_cmpint(frame[i], ==, *(char *)opaque);
    }
}

static void test_stacks_are_apart(void)
{
    Coroutine *co[300];
    char fill[300];

    for (int i = 0; i < 300; i++) {
        fill[i] = i % 100;
        co[i] = qemu_coroutine_create(fill_stack, &fill[i]);
        qemu_coroutine_enter(co[i]);
    }
    for (int i = 0; i < 300; i++) {
        qemu_coroutine_enter(co[i]);
    }
}

static void coroutine_fn overflow(void *opaque)
{
    volatile char frame[4096];

    frame[0] = 1;
    if (opaque) {
        overflow(opaque);
    }
    frame[1] = frame[0];
}

static void test_stack_overflow_is_caught(void)
{
    if (g_test_subprocess()) {
        qemu_coroutine_enter(qemu_coroutine_create(overflow, (void *)1));
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
}

static void coroutine_fn enter_self(void *opaque)
{
    (void)opaque;
    qemu_coroutine_enter(qemu_coroutine_self());
}

static void test_reentering_aborts(void)
{
    if (g_test_subprocess()) {
        qemu_coroutine_enter(qemu_coroutine_create(enter_self, NULL));
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*entered while it runs*");
}

/* ---- waking ---------------------------------------------------------------------------------- */
typedef struct Pair {
    Coroutine *first;
    GString *log;
} Pair;

static void coroutine_fn sleep_once(void *opaque)
{
    Pair *p = opaque;

    g_string_append(p->log, "a");
    qemu_coroutine_yield();
    g_string_append(p->log, "d");
}

static void coroutine_fn wake_first(void *opaque)
{
    Pair *p = opaque;

    g_string_append(p->log, "b");
    aio_co_wake(p->first);
    g_string_append(p->log, "c");
}

static void test_wake_in_coroutine_runs_after_waker(void)
{
    Pair p = { .log = g_string_new("") };

    p.first = qemu_coroutine_create(sleep_once, &p);
    qemu_coroutine_enter(p.first);
    qemu_coroutine_enter(qemu_coroutine_create(wake_first, &p));
    g_assert_cmpstr(p.log->str, ==, "abcd");
    g_string_free(p.log, true);
}

static void coroutine_fn wake_self_then_yield(void *opaque)
{
    int *steps = opaque;

    aio_co_wake(qemu_coroutine_self());
    (*steps)++;
    qemu_coroutine_yield();
    (*steps)++;
}

static void test_wake_of_self_is_kept(void)
{
    int steps = 0;

    qemu_coroutine_enter(qemu_coroutine_create(wake_self_then_yield, &steps));
    g_assert_cmpint(steps, ==, 2);
}

static void coroutine_fn wake_opaque(void *opaque)
{
    aio_co_wake(opaque);
}

static void coroutine_fn let_child_wake_us(void *opaque)
{
    qemu_coroutine_enter(qemu_coroutine_create(wake_opaque, qemu_coroutine_self()));
    qemu_coroutine_yield();
    *(bool *)opaque = true;
}

static void test_wake_of_caller_comes_after_its_yield(void)
{
    bool done = false;

    co_run(let_child_wake_us, &done);
    g_assert_true(done);
}

static void coroutine_fn append_char(void *opaque)
{
    Pair *p = opaque;

    g_string_append_c(p->log, 'a' + p->log->len);
}

static void test_schedule_runs_in_order_and_later(void)
{
    Pair p = { .log = g_string_new("") };

    for (int i = 0; i < 5; i++) {
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_create(append_char, &p));
    }
    g_assert_cmpuint(p.log->len, ==, 0);
    while (aio_poll(qemu_get_aio_context(), false)) {
        continue;
    }
    g_assert_cmpstr(p.log->str, ==, "abcde");
    g_string_free(p.log, true);
}

/* ---- the bridge, sleeping, moving ------------------------------------------------------------ */
static void coroutine_fn sleep_5ms(void *opaque)
{
    int64_t start = get_clock();

    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, 5 * SCALE_MS);
    *(int64_t *)opaque = get_clock() - start;
}

static void test_run_waits_for_the_end(void)
{
    int64_t ns = 0;

    co_run(sleep_5ms, &ns);
    g_assert_cmpint(ns, >=, 5 * SCALE_MS);
}

static void coroutine_fn sleep_long(void *opaque)
{
    qemu_co_sleep_ns_wakeable(opaque, QEMU_CLOCK_REALTIME, INT64_C(3600) * 1000 * SCALE_MS);
}

static void wake_sleeper_bh(void *opaque)
{
    qemu_co_sleep_wake(opaque);
}

static void test_sleep_can_be_ended(void)
{
    QemuCoSleep w = { NULL };

    aio_bh_schedule_oneshot(qemu_get_aio_context(), wake_sleeper_bh, &w);
    co_run(sleep_long, &w);
    g_assert_null(w.to_wake);
}

typedef struct Travel {
    AioContext *there;
    int hops;
} Travel;

static void coroutine_fn travel(void *opaque)
{
    Travel *t = opaque;
    AioContext *home = qemu_get_current_aio_context();

    for (int i = 0; i < 200; i++) {
        aio_co_reschedule_self(t->there);
        g_assert_true(qemu_get_current_aio_context() == t->there);
        t->hops++;
        aio_co_reschedule_self(home);
        g_assert_true(qemu_get_current_aio_context() == home);
        t->hops++;
    }
    /* End in the other loop. */
    aio_co_reschedule_self(t->there);
}

static void test_reschedule_moves_between_threads(void)
{
    g_autoptr(IOThread) iothread = iothread_create("t", &error_abort);
    Travel t = { .there = iothread_get_aio_context(iothread) };

    co_run(travel, &t);
    g_assert_cmpint(t.hops, ==, 400);
}

static void coroutine_fn read_byte(void *opaque)
{
    int fd = *(int *)opaque;
    char c;

    yield_until_fd_readable(fd);
    g_assert_cmpint(read(fd, &c, 1), ==, 1);
}

static void write_byte_bh(void *opaque)
{
    g_assert_cmpint(write(*(int *)opaque, "x", 1), ==, 1);
}

static void test_yield_until_readable(void)
{
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    aio_bh_schedule_oneshot(qemu_get_aio_context(), write_byte_bh, &fds[1]);
    co_run(read_byte, &fds[0]);
    close(fds[0]);
    close(fds[1]);
}

/* ---- speed: shown, not judged ---------------------------------------------------------------- */
static void coroutine_fn yield_forever(void *opaque)
{
    bool *stop = opaque;

    while (!*stop) {
        qemu_coroutine_yield();
    }
}

static void coroutine_fn nothing(void *opaque)
{
    (void)opaque;
}

static void test_speed(void)
{
    const int n = 10000000;
    bool stop = false;
    Coroutine *co = qemu_coroutine_create(yield_forever, &stop);
    int64_t start = get_clock();

    for (int i = 0; i < n; i++) {
        qemu_coroutine_enter(co);
    }
    g_test_message("enter and yield: %.1f ns", (double)(get_clock() - start) / n);
    stop = true;
    qemu_coroutine_enter(co);

    start = get_clock();
    for (int i = 0; i < n; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(nothing, NULL));
    }
    g_test_message("create, enter, end: %.1f ns", (double)(get_clock() - start) / n);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    g_test_add_func("/coroutine/enter/runs-until-yield", test_enter_runs_until_yield);
    g_test_add_func("/coroutine/self/is-the-running-one", test_self_is_the_running_one);
    g_test_add_func("/coroutine/enter/nested-returns-to-caller",
                    test_nested_enter_returns_to_caller);
    g_test_add_func("/coroutine/switch/keeps-rounding-mode", test_switch_keeps_rounding_mode);
    g_test_add_func("/coroutine/stack/each-has-its-own", test_stacks_are_apart);
    g_test_add_func("/coroutine/stack/overflow-is-caught", test_stack_overflow_is_caught);
    g_test_add_func("/coroutine/enter/running-one-aborts", test_reentering_aborts);
    g_test_add_func("/coroutine/wake/runs-after-waker", test_wake_in_coroutine_runs_after_waker);
    g_test_add_func("/coroutine/wake/self-is-kept", test_wake_of_self_is_kept);
    g_test_add_func("/coroutine/wake/caller-after-its-yield",
                    test_wake_of_caller_comes_after_its_yield);
    g_test_add_func("/coroutine/schedule/in-order-and-later",
                    test_schedule_runs_in_order_and_later);
    g_test_add_func("/coroutine/run/waits-for-the-end", test_run_waits_for_the_end);
    g_test_add_func("/coroutine/sleep/can-be-ended", test_sleep_can_be_ended);
    g_test_add_func("/coroutine/reschedule/moves-between-threads",
                    test_reschedule_moves_between_threads);
    g_test_add_func("/coroutine/fd/yield-until-readable", test_yield_until_readable);
    if (g_test_perf()) {
        g_test_add_func("/coroutine/speed", test_speed);
    }
    return g_test_run();
}
