/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocking calls by worker threads.
 */
#include "qemu/osdep.h"

#include "block/aio.h"
#include "block/thread-pool.h"
#include "qemu/error.h"
#include "qemu/iothread.h"
#include "qemu/main-loop.h"
#include "../../lib/testlib.h"

static int add_one(void *arg)
{
    return qatomic_fetch_inc((int *)arg) + 1;
}

static void coroutine_fn submit_one(void *opaque)
{
    int n = 41;

    *(int *)opaque = thread_pool_submit_co(add_one, &n);
}

static void test_co_returns_result(void)
{
    int result = 0;

    co_run(submit_one, &result);
    g_assert_cmpint(result, ==, 42);
}

typedef struct Batch {
    int done;
    int calls;
} Batch;

static void batch_cb(void *opaque, int ret)
{
    Batch *b = opaque;

    g_assert_cmpint(ret, >, 0);
    b->done++;
}

static void test_aio_completes_each_once(void)
{
    Batch b = { 0 };

    for (int i = 0; i < 10000; i++) {
        thread_pool_submit_aio(add_one, &b.calls, batch_cb, &b);
    }
    while (b.done < 10000) {
        aio_poll(qemu_get_aio_context(), true);
    }
    g_assert_cmpint(qatomic_read(&b.calls), ==, 10000);
}

/* Numbers to be taken once each. */
typedef struct Shared {
    int next;  /* atomic */
    int sum;   /* atomic */
    int calls; /* atomic */
    int odd_one_out;
    int result;
} Shared;

#define SHARED_NUMBERS 1000

static int take_numbers(void *opaque)
{
    Shared *shared = opaque;
    int i, ret = 0;

    qatomic_inc(&shared->calls);
    while ((i = qatomic_fetch_inc(&shared->next)) < SHARED_NUMBERS) {
        qatomic_add(&shared->sum, i);
        if (i == shared->odd_one_out) {
            ret = -EDOM;
        }
    }
    return ret;
}

static void coroutine_fn share_numbers(void *opaque)
{
    Shared *shared = opaque;

    shared->result = thread_pool_share_co(take_numbers, shared, 16);
}

static void coroutine_fn share_with_one(void *opaque)
{
    Shared *shared = opaque;

    shared->result = thread_pool_share_co(take_numbers, shared, 1);
}

static void test_share_returns_when_all_are_done(void)
{
    Shared all = { .odd_one_out = -1 }, failing = { .odd_one_out = 500 }, one = { 0 };

    co_run(share_numbers, &all);
    g_assert_cmpint(all.result, ==, 0);
    g_assert_cmpint(all.sum, ==, SHARED_NUMBERS * (SHARED_NUMBERS - 1) / 2);
    g_assert_cmpint(all.calls, ==, MIN(16, thread_pool_processors()));
    co_run(share_numbers, &failing);
    g_assert_cmpint(failing.result, ==, -EDOM);
    g_assert_cmpint(failing.sum, ==, SHARED_NUMBERS * (SHARED_NUMBERS - 1) / 2);
    co_run(share_with_one, &one);
    g_assert_cmpint(one.calls, ==, 1);
}

/* All of them must be in their workers at the same time. */
typedef struct Meeting {
    QemuMutex lock;
    QemuCond all_here;
    int here;
    int expected;
    int done;
} Meeting;

static int meet(void *arg)
{
    Meeting *m = arg;

    qemu_mutex_lock(&m->lock);
    if (++m->here == m->expected) {
        qemu_cond_broadcast(&m->all_here);
    }
    while (m->here < m->expected) {
        qemu_cond_wait(&m->all_here, &m->lock);
    }
    qemu_mutex_unlock(&m->lock);
    return 0;
}

static void meet_cb(void *opaque, int ret)
{
    Meeting *m = opaque;

    (void)ret;
    m->done++;
}

static void test_two_calls_run_at_once(void)
{
    Meeting m = { .expected = 2 };

    qemu_mutex_init(&m.lock);
    qemu_cond_init(&m.all_here);
    /* In two iterations: one is blocked when the other comes. */
    thread_pool_submit_aio(meet, &m, meet_cb, &m);
    aio_poll(qemu_get_aio_context(), false);
    thread_pool_submit_aio(meet, &m, meet_cb, &m);
    while (m.done < 2) {
        aio_poll(qemu_get_aio_context(), true);
    }
    qemu_cond_destroy(&m.all_here);
    qemu_mutex_destroy(&m.lock);
}

/* More than there are processors, in one batch, each waiting for all. */
static void test_batch_of_blocked_calls_is_not_stuck(void)
{
    Meeting m = { .expected = 40 };

    qemu_mutex_init(&m.lock);
    qemu_cond_init(&m.all_here);
    for (int i = 0; i < m.expected; i++) {
        thread_pool_submit_aio(meet, &m, meet_cb, &m);
    }
    while (m.done < m.expected) {
        aio_poll(qemu_get_aio_context(), true);
    }
    qemu_cond_destroy(&m.all_here);
    qemu_mutex_destroy(&m.lock);
}

/* ---- several loops --------------------------------------------------------------------------- */
#define LOOPS 3
#define PER_LOOP 2000

typedef struct LoopLoad {
    int left;
    int counter;
    QemuSemaphore *ended;
} LoopLoad;

static void coroutine_fn load_entry(void *opaque)
{
    LoopLoad *load = opaque;
    AioContext *home = qemu_get_current_aio_context();

    for (int i = 0; i < PER_LOOP; i++) {
        thread_pool_submit_co(add_one, &load->counter);
        g_assert_true(qemu_get_current_aio_context() == home);
    }
    if (--load->left == 0) {
        qemu_sem_post(load->ended);
    }
}

static void start_load_bh(void *opaque)
{
    LoopLoad *load = opaque;

    load->left = 4;
    for (int i = 0; i < 4; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(load_entry, load));
    }
}

static void test_loops_get_their_own_completions(void)
{
    IOThread *iothreads[LOOPS];
    LoopLoad loads[LOOPS] = { 0 };
    QemuSemaphore ended;

    qemu_sem_init(&ended, 0);
    for (int i = 0; i < LOOPS; i++) {
        iothreads[i] = iothread_create("pool", &error_abort);
        loads[i].ended = &ended;
        aio_bh_schedule_oneshot(iothread_get_aio_context(iothreads[i]), start_load_bh, &loads[i]);
    }
    for (int i = 0; i < LOOPS; i++) {
        qemu_sem_wait(&ended);
    }
    for (int i = 0; i < LOOPS; i++) {
        iothread_unref(iothreads[i]);
        g_assert_cmpint(qatomic_read(&loads[i].counter), ==, 4 * PER_LOOP);
    }
    qemu_sem_destroy(&ended);
}

static void test_limit_of_one_worker_serves_all(void)
{
    Batch b = { 0 };

    thread_pool_set_limits(0, 1);
    for (int i = 0; i < 100; i++) {
        thread_pool_submit_aio(add_one, &b.calls, batch_cb, &b);
    }
    while (b.done < 100) {
        aio_poll(qemu_get_aio_context(), true);
    }
    thread_pool_set_limits(0, 64);
}

/* ---- groups ---------------------------------------------------------------------------------- */
typedef struct Chores {
    ThreadPoolGroup *group;
    int at_once;           /* workers in the function */
    int next;              /* argument to come, if there is one loop */
    int calls;
    int done;
    bool is_ordered;
} Chores;

typedef struct Chore {
    Chores *all;
    int number;
} Chore;

static int do_chores(void *const *args, int *rets, int n)
{
    Chores *all = ((Chore *)args[0])->all;
    int here = MIN(n, 5);

    g_assert_cmpint(qatomic_fetch_inc(&all->at_once), ==, 0);
    for (int i = 0; i < here; i++) {
        const Chore *chore = args[i];

        g_assert_true(!all->is_ordered || chore->number == all->next);
        all->next++;
        rets[i] = -chore->number;
        qatomic_inc(&all->calls);
    }
    g_assert_cmpint(qatomic_fetch_dec(&all->at_once), ==, 1);
    return here;
}

static void chore_done(void *opaque, int ret)
{
    Chore *chore = opaque;

    g_assert_cmpint(ret, ==, -chore->number);
    chore->all->done++;
    /* The last one may free the group at once. */
    if (chore->all->is_ordered && chore->all->done == 1000) {
        thread_pool_group_free(g_steal_pointer(&chore->all->group));
    }
}

static void test_group_is_done_in_order_by_one(void)
{
    Chores all = { .is_ordered = true, .group = thread_pool_group_new(do_chores) };
    g_autofree Chore *chores = g_new0(Chore, 1000);
    Batch others = { 0 };

    for (int i = 0; i < 1000; i++) {
        chores[i] = (Chore){ &all, i };
        thread_pool_group_submit_aio(all.group, &chores[i], chore_done, &chores[i]);
        if (i % 10 == 0) {
            thread_pool_submit_aio(add_one, &others.calls, batch_cb, &others);
        }
        if (i % 70 == 0) {
            aio_poll(qemu_get_aio_context(), false);
        }
    }
    while (all.done < 1000 || others.done < 100) {
        aio_poll(qemu_get_aio_context(), true);
    }
    g_assert_null(all.group);
    g_assert_cmpint(qatomic_read(&all.calls), ==, 1000);
}

typedef struct GroupLoad {
    Chores *all;
    QemuSemaphore *ended;
    int first;
} GroupLoad;

static void coroutine_fn group_load_entry(void *opaque)
{
    GroupLoad *load = opaque;
    AioContext *home = qemu_get_current_aio_context();

    for (int i = 0; i < PER_LOOP; i++) {
        Chore chore = { load->all, load->first + i };

        g_assert_cmpint(thread_pool_group_submit_co(load->all->group, &chore), ==,
                        -chore.number);
        g_assert_true(qemu_get_current_aio_context() == home);
    }
    qemu_sem_post(load->ended);
}

static void test_group_of_several_loops(void)
{
    Chores all = { .group = thread_pool_group_new(do_chores) };
    IOThread *iothreads[LOOPS];
    GroupLoad loads[LOOPS][4];
    QemuSemaphore ended;

    qemu_sem_init(&ended, 0);
    for (int i = 0; i < LOOPS; i++) {
        iothreads[i] = iothread_create("group", &error_abort);
        for (int j = 0; j < 4; j++) {
            loads[i][j] = (GroupLoad){ &all, &ended, (i * 4 + j) * PER_LOOP };
            aio_co_schedule(iothread_get_aio_context(iothreads[i]),
                            qemu_coroutine_create(group_load_entry, &loads[i][j]));
        }
    }
    for (int i = 0; i < LOOPS * 4; i++) {
        qemu_sem_wait(&ended);
    }
    for (int i = 0; i < LOOPS; i++) {
        iothread_unref(iothreads[i]);
    }
    thread_pool_group_free(all.group);
    g_assert_cmpint(qatomic_read(&all.calls), ==, LOOPS * 4 * PER_LOOP);
    qemu_sem_destroy(&ended);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    g_test_add_func("/thread-pool/co/returns-result", test_co_returns_result);
    g_test_add_func("/thread-pool/share/returns-when-all-are-done",
                    test_share_returns_when_all_are_done);
    g_test_add_func("/thread-pool/aio/completes-each-once", test_aio_completes_each_once);
    g_test_add_func("/thread-pool/aio/two-calls-run-at-once", test_two_calls_run_at_once);
    g_test_add_func("/thread-pool/aio/batch-of-blocked-calls-is-not-stuck",
                    test_batch_of_blocked_calls_is_not_stuck);
    g_test_add_func("/thread-pool/loops/get-their-own-completions",
                    test_loops_get_their_own_completions);
    g_test_add_func("/thread-pool/limits/one-worker-serves-all",
                    test_limit_of_one_worker_serves_all);
    g_test_add_func("/thread-pool/group/is-done-in-order-by-one",
                    test_group_is_done_in_order_by_one);
    g_test_add_func("/thread-pool/group/serves-several-loops", test_group_of_several_loops);
    return g_test_run();
}
