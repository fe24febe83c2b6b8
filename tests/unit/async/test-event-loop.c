/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One iteration of a loop: descriptors, bottom halves, timers, hooks, GLib, signals.
 */
#include "qemu/osdep.h"

#include <signal.h>
#include <sys/socket.h>

#include "block/aio.h"
#include "qemu/error.h"
#include "qemu/iothread.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "../../lib/testlib.h"

static AioContext *ctx;

static bool poll_until_idle(void)
{
    bool progress = false;

    while (aio_poll(ctx, false)) {
        progress = true;
    }
    return progress;
}

static void count_cb(void *opaque)
{
    (*(int *)opaque)++;
}

/* ---- bottom halves --------------------------------------------------------------------------- */
static void test_bh_runs_once_per_schedule(void)
{
    int n = 0;
    QEMUBH *bh = aio_bh_new(ctx, count_cb, &n);

    qemu_bh_schedule(bh);
    qemu_bh_schedule(bh);
    g_assert_cmpint(n, ==, 0);
    g_assert_true(aio_poll(ctx, false));
    g_assert_cmpint(n, ==, 1);
    g_assert_false(aio_poll(ctx, false));
    qemu_bh_schedule(bh);
    g_assert_true(aio_poll(ctx, true));
    g_assert_cmpint(n, ==, 2);
    qemu_bh_delete(bh);
    poll_until_idle();
}

static void test_bh_cancelled_does_not_run(void)
{
    int n = 0;
    QEMUBH *bh = aio_bh_new(ctx, count_cb, &n);

    qemu_bh_schedule(bh);
    qemu_bh_cancel(bh);
    g_assert_false(aio_poll(ctx, false));
    qemu_bh_schedule(bh);
    poll_until_idle();
    g_assert_cmpint(n, ==, 1);
    qemu_bh_schedule(bh);
    qemu_bh_delete(bh);
    poll_until_idle();
    g_assert_cmpint(n, ==, 1);
}

typedef struct SelfBh {
    QEMUBH *bh;
    int n;
    int max;
} SelfBh;

static void delete_self(void *opaque)
{
    SelfBh *s = opaque;

    s->n++;
    qemu_bh_delete(s->bh);
}

static void test_bh_may_delete_itself(void)
{
    SelfBh s = { 0 };

    s.bh = aio_bh_new(ctx, delete_self, &s);
    qemu_bh_schedule(s.bh);
    poll_until_idle();
    g_assert_cmpint(s.n, ==, 1);
}

static void schedule_self(void *opaque)
{
    SelfBh *s = opaque;

    if (++s->n < s->max) {
        qemu_bh_schedule(s->bh);
    }
}

static void test_bh_rescheduled_waits_for_next_iteration(void)
{
    SelfBh s = { .max = 50 };

    s.bh = aio_bh_new(ctx, schedule_self, &s);
    qemu_bh_schedule(s.bh);
    for (int i = 1; i <= 50; i++) {
        g_assert_true(aio_poll(ctx, true));
        g_assert_cmpint(s.n, ==, i);
    }
    qemu_bh_delete(s.bh);
    poll_until_idle();
}

static void append_a(void *opaque)
{
    g_string_append_c(opaque, 'a');
}

static void poll_inside(void *opaque)
{
    g_string_append_c(opaque, '(');
    aio_poll(ctx, false);
    g_string_append_c(opaque, ')');
}

static void test_bh_nested_poll_runs_the_rest(void)
{
    g_autoptr(GString) log = g_string_new("");

    aio_bh_schedule_oneshot(ctx, append_a, log);
    aio_bh_schedule_oneshot(ctx, poll_inside, log);
    aio_bh_schedule_oneshot(ctx, append_a, log);
    aio_bh_schedule_oneshot(ctx, append_a, log);
    poll_until_idle();
    g_assert_cmpstr(log->str, ==, "a(aa)");
}

/* Two threads schedule one bottom half of a sleeping loop; no request may get lost. */
typedef struct PingPong {
    QEMUBH *bh;
    int wanted;         /* atomic */
    int seen;
} PingPong;

static void ping_bh(void *opaque)
{
    PingPong *p = opaque;

    p->seen = qatomic_load_acquire(&p->wanted);
}

static void *ping_thread(void *opaque)
{
    PingPong *p = opaque;

    for (int i = 0; i < 100000; i++) {
        qatomic_inc(&p->wanted);
        qemu_bh_schedule(p->bh);
    }
    return NULL;
}

static void test_bh_wakes_sleeping_loop(void)
{
    PingPong p = { 0 };
    QemuThread threads[2];

    p.bh = aio_bh_new(ctx, ping_bh, &p);
    for (int i = 0; i < 2; i++) {
        qemu_thread_create(&threads[i], "ping", ping_thread, &p, QEMU_THREAD_JOINABLE);
    }
    while (p.seen < 200000) {
        aio_poll(ctx, true);
    }
    for (int i = 0; i < 2; i++) {
        qemu_thread_join(&threads[i]);
    }
    qemu_bh_delete(p.bh);
    poll_until_idle();
}

/* ---- descriptors ----------------------------------------------------------------------------- */
typedef struct FdTest {
    int fds[2];
    int reads;
    int writes;
    bool stop_in_read;
} FdTest;

static void fd_test_init(FdTest *t)
{
    *t = (FdTest) { 0 };
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, t->fds), ==, 0);
}

static void fd_test_done(FdTest *t)
{
    aio_set_fd_handler(ctx, t->fds[0], NULL, NULL, NULL);
    close(t->fds[0]);
    if (t->fds[1] >= 0) {
        close(t->fds[1]);
    }
}

static void fd_readable(void *opaque)
{
    FdTest *t = opaque;
    char c;

    t->reads++;
    if (t->stop_in_read) {
        aio_set_fd_handler(ctx, t->fds[0], NULL, NULL, NULL);
    }
    g_assert_cmpint(read(t->fds[0], &c, 1), >=, 0);
}

static void fd_writable(void *opaque)
{
    ((FdTest *)opaque)->writes++;
}

static void test_fd_read_is_told(void)
{
    FdTest t;

    fd_test_init(&t);
    aio_set_fd_handler(ctx, t.fds[0], fd_readable, NULL, &t);
    g_assert_false(aio_poll(ctx, false));
    g_assert_cmpint(write(t.fds[1], "ab", 2), ==, 2);
    g_assert_true(aio_poll(ctx, true));
    g_assert_true(aio_poll(ctx, true));
    g_assert_false(aio_poll(ctx, false));
    g_assert_cmpint(t.reads, ==, 2);
    aio_set_fd_handler(ctx, t.fds[0], NULL, NULL, NULL);
    g_assert_cmpint(write(t.fds[1], "c", 1), ==, 1);
    g_assert_false(aio_poll(ctx, false));
    fd_test_done(&t);
}

static void test_fd_removed_by_read_gets_no_write(void)
{
    FdTest t;

    fd_test_init(&t);
    t.stop_in_read = true;
    g_assert_cmpint(write(t.fds[1], "a", 1), ==, 1);
    aio_set_fd_handler(ctx, t.fds[0], fd_readable, fd_writable, &t);
    g_assert_true(aio_poll(ctx, true));
    g_assert_cmpint(t.reads, ==, 1);
    g_assert_cmpint(t.writes, ==, 0);
    fd_test_done(&t);
}

static void test_fd_hangup_reaches_either_callback(void)
{
    FdTest t;

    fd_test_init(&t);
    aio_set_fd_handler(ctx, t.fds[0], fd_readable, NULL, &t);
    close(t.fds[1]);
    t.fds[1] = -1;
    g_assert_true(aio_poll(ctx, true));
    g_assert_cmpint(t.reads, ==, 1);
    aio_set_fd_handler(ctx, t.fds[0], NULL, fd_writable, &t);
    g_assert_true(aio_poll(ctx, true));
    g_assert_cmpint(t.writes, ==, 1);
    fd_test_done(&t);
}

/* More than ppoll is used for. */
static void test_fd_many_are_all_served(void)
{
    enum { N = 100 };
    FdTest t[N];

    for (int i = 0; i < N; i++) {
        fd_test_init(&t[i]);
        aio_set_fd_handler(ctx, t[i].fds[0], fd_readable, NULL, &t[i]);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = round; i < N; i += 3) {
            g_assert_cmpint(write(t[i].fds[1], "a", 1), ==, 1);
        }
        poll_until_idle();
    }
    for (int i = 0; i < N; i++) {
        g_assert_cmpint(t[i].reads, ==, 1);
        fd_test_done(&t[i]);
    }
    g_assert_false(aio_poll(ctx, false));
}

static void read_to_end(void *opaque)
{
    FdTest *t = opaque;
    char c;

    if (read(t->fds[0], &c, 1) == 0) {
        t->reads = -1;
    } else {
        t->reads++;
    }
}

/* epoll refuses plain files; input redirected from one must work all the same. */
static void test_fd_plain_file_is_always_ready(void)
{
    FdTest t = { 0 };
    FILE *f = tmpfile();

    fputs("abc", f);
    fflush(f);
    rewind(f);
    t.fds[0] = fileno(f);
    aio_set_fd_handler(ctx, t.fds[0], read_to_end, NULL, &t);
    for (int i = 1; i <= 3; i++) {
        g_assert_true(aio_poll(ctx, true));
        g_assert_cmpint(t.reads, ==, i);
    }
    aio_set_fd_handler(ctx, t.fds[0], NULL, NULL, NULL);
    g_assert_false(aio_poll(ctx, false));
    fclose(f);
}

typedef struct RemoteFd {
    FdTest t;
    QemuEvent told;
} RemoteFd;

static void remote_fd_readable(void *opaque)
{
    RemoteFd *r = opaque;
    char c;

    g_assert_cmpint(read(r->t.fds[0], &c, 1), ==, 1);
    qemu_event_set(&r->told);
}

static void test_fd_set_from_other_thread(void)
{
    g_autoptr(IOThread) iothread = iothread_create("fd", &error_abort);
    AioContext *there = iothread_get_aio_context(iothread);
    RemoteFd r;

    fd_test_init(&r.t);
    qemu_event_init(&r.told, false);
    for (int i = 0; i < 200; i++) {
        aio_set_fd_handler(there, r.t.fds[0], remote_fd_readable, NULL, &r);
        g_assert_cmpint(write(r.t.fds[1], "a", 1), ==, 1);
        qemu_event_wait(&r.told);
        qemu_event_reset(&r.told);
        aio_set_fd_handler(there, r.t.fds[0], NULL, NULL, NULL);
    }
    iothread_stop(iothread);
    fd_test_done(&r.t);
    qemu_event_destroy(&r.told);
}

/* ---- timers ---------------------------------------------------------------------------------- */
static void test_timer_fires_once_when_due(void)
{
    int n = 0;
    QEMUTimer t;
    int64_t due = get_clock() + 2 * SCALE_MS;

    timer_init_full(&t, ctx, QEMU_CLOCK_REALTIME, SCALE_NS, count_cb, &n);
    g_assert_false(timer_pending(&t));
    timer_mod_ns(&t, due);
    g_assert_true(timer_pending(&t));
    g_assert_cmpint(timer_expire_time_ns(&t), ==, due);
    while (n == 0) {
        aio_poll(ctx, true);
    }
    g_assert_cmpint(get_clock(), >=, due);
    g_assert_false(timer_pending(&t));
    g_assert_false(aio_poll(ctx, false));
    g_assert_cmpint(n, ==, 1);
}

static void test_timer_deleted_does_not_fire(void)
{
    int n = 0;
    QEMUTimer *t = timer_new_ms(QEMU_CLOCK_REALTIME, count_cb, &n);

    timer_mod(t, 1);
    timer_del(t);
    g_assert_false(aio_poll(ctx, false));
    timer_mod(t, 1);
    g_assert_true(timer_expired(t, get_clock()));
    g_assert_true(aio_poll(ctx, true));
    g_assert_cmpint(n, ==, 1);
    timer_free(t);
}

static void test_timer_anticipate_only_moves_forward(void)
{
    int n = 0;
    QEMUTimer t;

    timer_init_full(&t, ctx, QEMU_CLOCK_REALTIME, SCALE_NS, count_cb, &n);
    timer_mod_ns(&t, INT64_MAX - 10);
    timer_mod_anticipate_ns(&t, INT64_MAX - 5);
    g_assert_cmpint(timer_expire_time_ns(&t), ==, INT64_MAX - 10);
    timer_mod_anticipate_ns(&t, INT64_MAX - 20);
    g_assert_cmpint(timer_expire_time_ns(&t), ==, INT64_MAX - 20);
    timer_del(&t);
    g_assert_cmpint(timer_expire_time_ns(&t), ==, -1);
}

typedef struct Ordered {
    QEMUTimer t;
    int64_t due;
    int64_t *last;
} Ordered;

static void ordered_cb(void *opaque)
{
    Ordered *o = opaque;

    g_assert_cmpint(o->due, >=, *o->last);
    *o->last = o->due;
}

static void test_timers_fire_in_order(void)
{
    enum { N = 500 };
    g_autofree Ordered *o = g_new0(Ordered, N);
    int64_t last = -1;

    for (int i = 0; i < N; i++) {
        o[i].last = &last;
        timer_init_full(&o[i].t, ctx, QEMU_CLOCK_REALTIME, SCALE_NS, ordered_cb, &o[i]);
        o[i].due = g_test_rand_int_range(0, 1000);
        timer_mod_ns(&o[i].t, o[i].due);
    }
    for (int i = 0; i < N; i += 3) {
        if (i % 2) {
            timer_del(&o[i].t);
        } else {
            o[i].due = g_test_rand_int_range(0, 1000);
            timer_mod_ns(&o[i].t, o[i].due);
        }
    }
    poll_until_idle();
    for (int i = 0; i < N; i++) {
        g_assert_false(timer_pending(&o[i].t));
    }
}

static void test_virtual_clock_stops(void)
{
    int n = 0;
    QEMUTimer t;
    int64_t stopped_at;

    timer_init_full(&t, ctx, QEMU_CLOCK_VIRTUAL, SCALE_NS, count_cb, &n);
    qemu_clock_enable(QEMU_CLOCK_VIRTUAL, false);
    g_assert_false(qemu_clock_is_enabled(QEMU_CLOCK_VIRTUAL));
    stopped_at = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
    timer_mod_ns(&t, 0);
    g_assert_false(aio_poll(ctx, false));
    g_assert_cmpint(qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL), ==, stopped_at);
    qemu_clock_enable(QEMU_CLOCK_VIRTUAL, true);
    g_assert_true(aio_poll(ctx, true));
    g_assert_cmpint(n, ==, 1);
    g_assert_cmpint(qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL), >=, stopped_at);
}

static void set_event(void *opaque)
{
    qemu_event_set(opaque);
}

static void test_timer_started_by_other_thread_wakes_loop(void)
{
    g_autoptr(IOThread) iothread = iothread_create("timer", &error_abort);
    QEMUTimer t;
    QemuEvent fired;

    qemu_event_init(&fired, false);
    timer_init_full(&t, iothread_get_aio_context(iothread), QEMU_CLOCK_REALTIME, SCALE_NS,
                    set_event, &fired);
    for (int i = 0; i < 200; i++) {
        timer_mod_ns(&t, get_clock() + i * 1000);
        qemu_event_wait(&fired);
        qemu_event_reset(&fired);
    }
    iothread_stop(iothread);
    qemu_event_destroy(&fired);
}

/* ---- hooks ----------------------------------------------------------------------------------- */
static void test_deferred_call_comes_once_at_the_end(void)
{
    int n = 0;
    AioDeferred d = { .fn = count_cb, .opaque = &n };

    aio_defer_call(ctx, &d);
    aio_defer_call(ctx, &d);
    g_assert_cmpint(n, ==, 0);
    aio_poll(ctx, false);
    g_assert_cmpint(n, ==, 1);
    aio_defer_call(ctx, &d);
    aio_defer_cancel(ctx, &d);
    aio_poll(ctx, false);
    g_assert_cmpint(n, ==, 1);
}

/* ---- GLib and signals in the main loop ------------------------------------------------------- */
static gboolean glib_idle(gpointer opaque)
{
    (*(int *)opaque)++;
    return G_SOURCE_REMOVE;
}

static void test_main_loop_runs_glib_sources(void)
{
    int n = 0;

    g_idle_add(glib_idle, &n);
    g_timeout_add(1, glib_idle, &n);
    while (n < 2) {
        main_loop_wait(false);
    }
}

static void test_main_loop_runs_context(void)
{
    int n = 0;

    aio_bh_schedule_oneshot(ctx, count_cb, &n);
    main_loop_wait(false);
    g_assert_cmpint(n, ==, 1);
    main_loop_wait(true);
}

typedef struct Stop {
    bool requested;      /* atomic */
} Stop;

static void *notify_thread(void *opaque)
{
    Stop *s = opaque;

    qatomic_set(&s->requested, true);
    qemu_notify_event();
    return NULL;
}

static void test_main_loop_notify_is_not_lost(void)
{
    for (int i = 0; i < 200; i++) {
        Stop s = { false };
        QemuThread thread;

        qemu_thread_create(&thread, "notify", notify_thread, &s, QEMU_THREAD_JOINABLE);
        while (!qatomic_read(&s.requested)) {
            main_loop_wait(false);
        }
        qemu_thread_join(&thread);
    }
}

static void got_signal(const QemuSignalInfo *info, void *opaque)
{
    g_assert_cmpint(info->signo, ==, SIGUSR1);
    g_assert_cmpint(info->pid, ==, getpid());
    (*(int *)opaque)++;
}

static void test_main_loop_handles_signals(void)
{
    int n = 0;

    qemu_main_loop_set_signal(SIGUSR1, got_signal, &n);
    kill(getpid(), SIGUSR1);
    while (n == 0) {
        main_loop_wait(false);
    }
    qemu_main_loop_set_signal(SIGUSR1, NULL, NULL);
    g_assert_cmpint(n, ==, 1);
}

static void *take_bql(void *opaque)
{
    bql_lock();
    qemu_bh_schedule(opaque);
    bql_unlock();
    return NULL;
}

static void test_main_loop_drops_machine_lock_asleep(void)
{
    int n = 0;
    QEMUBH *bh = aio_bh_new(ctx, count_cb, &n);
    QemuThread thread;

    bql_lock();
    qemu_thread_create(&thread, "vcpu", take_bql, bh, QEMU_THREAD_JOINABLE);
    while (n == 0) {
        main_loop_wait(false);
        g_assert_true(bql_locked());
    }
    bql_unlock();
    qemu_thread_join(&thread);
    qemu_bh_delete(bh);
    poll_until_idle();
}

/* ---- iothreads ------------------------------------------------------------------------------- */
typedef struct Where {
    AioContext *expected;
    int n;
} Where;

static void check_where(void *opaque)
{
    Where *w = opaque;

    g_assert_true(qemu_get_current_aio_context() == w->expected);
    g_assert_cmpuint(aio_current_loop_index(), >, 0);
    g_assert_false(qemu_in_main_thread());
    w->n++;
}

static void test_iothread_runs_its_context(void)
{
    g_autoptr(IOThread) iothread = iothread_create("io0", &error_abort);
    Where w = { .expected = iothread_get_aio_context(iothread) };
    IOThreadPollParams poll;

    g_assert_true(iothread_by_id("io0") == iothread);
    g_assert_null(iothread_by_id("io1"));
    g_assert_cmpint(iothread_get_thread_id(iothread), >, 0);
    g_assert_cmpint(iothread_get_thread_id(iothread), !=, qemu_get_thread_id());
    iothread_get_poll_params(iothread, &poll);
    g_assert_cmpint(poll.max_ns, ==, IOTHREAD_POLL_MAX_NS_DEFAULT);
    aio_wait_bh_oneshot(w.expected, check_where, &w);
    g_assert_cmpint(w.n, ==, 1);
}

static void test_iothread_stop_runs_what_is_queued(void)
{
    IOThread *iothread = iothread_create("io0", &error_abort);
    Where w = { .expected = iothread_get_aio_context(iothread) };

    for (int i = 0; i < 100; i++) {
        aio_bh_schedule_oneshot(w.expected, check_where, &w);
    }
    iothread_stop(iothread);
    g_assert_cmpint(w.n, ==, 100);
    iothread_stop(iothread);
    iothread_unref(iothread);
    g_assert_null(iothread_by_id("io0"));
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    ctx = qemu_get_aio_context();
    g_test_add_func("/bh/schedule/runs-once", test_bh_runs_once_per_schedule);
    g_test_add_func("/bh/cancel/does-not-run", test_bh_cancelled_does_not_run);
    g_test_add_func("/bh/delete/by-itself", test_bh_may_delete_itself);
    g_test_add_func("/bh/schedule/by-itself-next-iteration",
                    test_bh_rescheduled_waits_for_next_iteration);
    g_test_add_func("/bh/nested-poll/runs-the-rest", test_bh_nested_poll_runs_the_rest);
    g_test_add_func("/bh/schedule/wakes-sleeping-loop", test_bh_wakes_sleeping_loop);
    g_test_add_func("/fd/read/is-told", test_fd_read_is_told);
    g_test_add_func("/fd/remove/in-read-gets-no-write", test_fd_removed_by_read_gets_no_write);
    g_test_add_func("/fd/hangup/reaches-either-callback", test_fd_hangup_reaches_either_callback);
    g_test_add_func("/fd/plain-file/is-always-ready", test_fd_plain_file_is_always_ready);
    g_test_add_func("/fd/many/are-all-served", test_fd_many_are_all_served);
    g_test_add_func("/fd/set/from-other-thread", test_fd_set_from_other_thread);
    /* By now the main context uses epoll. */
    g_test_add_func("/fd-epoll/plain-file/is-always-ready", test_fd_plain_file_is_always_ready);
    g_test_add_func("/fd-epoll/read/is-told", test_fd_read_is_told);
    g_test_add_func("/fd-epoll/remove/in-read-gets-no-write",
                    test_fd_removed_by_read_gets_no_write);
    g_test_add_func("/fd-epoll/hangup/reaches-either-callback",
                    test_fd_hangup_reaches_either_callback);
    g_test_add_func("/timer/mod/fires-once-when-due", test_timer_fires_once_when_due);
    g_test_add_func("/timer/del/does-not-fire", test_timer_deleted_does_not_fire);
    g_test_add_func("/timer/anticipate/only-forward", test_timer_anticipate_only_moves_forward);
    g_test_add_func("/timer/many/fire-in-order", test_timers_fire_in_order);
    g_test_add_func("/timer/virtual/stops", test_virtual_clock_stops);
    g_test_add_func("/timer/mod/by-other-thread", test_timer_started_by_other_thread_wakes_loop);
    g_test_add_func("/defer/call/once-at-the-end", test_deferred_call_comes_once_at_the_end);
    g_test_add_func("/main-loop/wait/runs-glib-sources", test_main_loop_runs_glib_sources);
    g_test_add_func("/main-loop/wait/runs-context", test_main_loop_runs_context);
    g_test_add_func("/main-loop/notify/is-not-lost", test_main_loop_notify_is_not_lost);
    g_test_add_func("/main-loop/signal/is-handled", test_main_loop_handles_signals);
    g_test_add_func("/main-loop/bql/dropped-asleep", test_main_loop_drops_machine_lock_asleep);
    g_test_add_func("/iothread/context/runs-there", test_iothread_runs_its_context);
    g_test_add_func("/iothread/stop/runs-what-is-queued", test_iothread_stop_runs_what_is_queued);
    return g_test_run();
}
