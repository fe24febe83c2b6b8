/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Gates and freezes, alone and with requests from several threads. */
#include "qemu/osdep.h"

#include "fake.h"

#include "qemu/atomic.h"
#include "qemu/iothread.h"

/* ---- one thread ------------------------------------------------------------------------------ */

static void coroutine_fn co_nests(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    FakeUser user = { .name = "" };
    g_assert_true(fake_co_attach(&user, bs, 0, BLK_PERM_ALL, &error_abort));
    user.quiesced = user.resumed = 0;
    BdrvFreeze *outer = bdrv_co_freeze_node(bs->file->bs);
    BdrvFreeze *inner = bdrv_co_freeze_node(bs);
    g_assert_true(bdrv_is_frozen(bs) && bdrv_is_frozen(bs->file->bs));
    g_assert_false(bdrv_gate_try_enter(&user.gate));
    bdrv_thaw(outer); /* in any order */
    g_assert_true(bdrv_is_frozen(bs));
    g_assert_false(bdrv_is_frozen(bs->file->bs));
    g_assert_false(bdrv_gate_try_enter(&user.gate));
    bdrv_thaw(inner);
    g_assert_true(bdrv_gate_try_enter(&user.gate));
    bdrv_gate_leave(&user.gate);
    g_assert_cmpint(user.quiesced, ==, 1);
    g_assert_cmpint(user.resumed, ==, 1);
    fake_co_detach(&user);
}

static void coroutine_fn co_other_branch_runs(void)
{
    g_autoptr(BlockDriverState) a = fake_co_open_image("a", "c0");
    g_autoptr(BlockDriverState) b = fake_co_open_image("b", "d0");
    FakeUser ua = { .name = "" }, ub = { .name = "" };
    g_assert_true(fake_co_attach(&ua, a, 0, BLK_PERM_ALL, &error_abort));
    g_assert_true(fake_co_attach(&ub, b, 0, BLK_PERM_ALL, &error_abort));
    BdrvFreeze *freeze = bdrv_co_freeze_node(a);
    g_assert_true(bdrv_gate_try_enter(&ub.gate));
    bdrv_gate_leave(&ub.gate);
    bdrv_thaw(freeze);
    fake_co_detach(&ua);
    fake_co_detach(&ub);
}

/* Whoever attaches above a frozen node is frozen, too, until that freeze ends. */
static void coroutine_fn co_attach_above_frozen(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    FakeUser user = { .name = "" };
    BdrvFreeze *freeze = bdrv_co_freeze_node(bs);
    g_assert_true(fake_co_attach(&user, bs, 0, BLK_PERM_ALL, &error_abort));
    g_assert_false(bdrv_gate_try_enter(&user.gate));
    bdrv_thaw(freeze);
    g_assert_true(bdrv_gate_try_enter(&user.gate));
    bdrv_gate_leave(&user.gate);
    fake_co_detach(&user);
}

/* A node nobody refers to any more, not closed yet, is no reason to fail. */
static void coroutine_fn co_dead_parent(void)
{
    BlockDriverState *bs = fake_co_open_image("n", "c0");
    g_autoptr(BlockDriverState) file = bdrv_ref(bs->file->bs);
    bdrv_unref(bs);
    BdrvFreeze *freeze = bdrv_co_freeze_node(file);
    g_assert_true(bdrv_is_frozen(file));
    bdrv_thaw(freeze);
    bdrv_co_reap();
    g_assert_null(bdrv_find_node("n"));
}

static void end_work(void *opaque)
{
    FakeUser *user = opaque;
    user->busy = false;
    bdrv_freeze_kick();
}

static void coroutine_fn co_waits_for_job(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    FakeUser job = { .name = "" };
    g_assert_true(fake_co_attach(&job, bs, 0, BLK_PERM_ALL, &error_abort));
    job.gate.is_job = true;
    job.busy = true;
    aio_bh_schedule_oneshot(qemu_get_aio_context(), end_work, &job);
    BdrvFreeze *freeze = bdrv_co_freeze_node(bs);
    g_assert_false(job.busy);
    g_assert_true(bdrv_gate_try_enter(&job.gate)); /* a job's own requests pass */
    bdrv_gate_leave(&job.gate);
    bdrv_thaw(freeze);
    job.gate.is_job = false;
    fake_co_detach(&job);
}

static void end_activity(void *opaque)
{
    bdrv_activity_end(opaque);
}

static void coroutine_fn co_waits_for_activity(void)
{
    g_autoptr(BlockDriverState) bs = fake_co_open_image("n", "c0");
    bdrv_activity_begin(bs);
    aio_bh_schedule_oneshot(qemu_get_aio_context(), end_activity, bs);
    BdrvFreeze *freeze = bdrv_co_freeze_node(bs);
    g_assert_cmpint(qatomic_read(&bs->activities), ==, 0);
    bdrv_thaw(freeze);
}

/* ---- several threads ------------------------------------------------------------------------- */

#define THREADS 3
#define COROUTINES 4
#define ROUNDS 150

typedef struct Load {
    FakeUser users[2];
    BlockDriverState *node;
    int plain;       /* written while frozen, read by requests: no atomics on purpose */
    bool stop;       /* atomic */
    int running;     /* atomic */
    int inside;      /* atomic: past the gate */
    int64_t done;    /* atomic */
} Load;

typedef struct Worker {
    Load *load;
    int index;
} Worker;

static void coroutine_fn co_requests(void *opaque)
{
    g_autofree Worker *worker = opaque;
    Load *load = worker->load;
    FakeUser *user = &load->users[worker->index % 2];
    uint8_t buf[512];
    while (!qatomic_load_acquire(&load->stop)) {
        bdrv_gate_co_enter(&user->gate);
        qatomic_inc(&load->inside);
        int before = load->plain;
        BlockDriverState *root = user->root->bs;
        g_assert_cmpint(bdrv_co_pread(user->root, 0, sizeof(buf), buf, 0), ==, 0);
        if (worker->index % 3 == 0) {
            aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
            qemu_coroutine_yield();
        }
        g_assert_cmpint(before, ==, load->plain);
        g_assert_true(root == user->root->bs);
        qatomic_dec(&load->inside);
        bdrv_gate_leave(&user->gate);
        qatomic_inc(&load->done);
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
    qatomic_dec(&load->running);
}

static void start_worker(void *opaque)
{
    qemu_coroutine_enter(qemu_coroutine_create(co_requests, opaque));
}

static void coroutine_fn co_pause(void)
{
    aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
}

static void coroutine_fn co_many_threads(void)
{
    g_autoptr(BlockDriverState) one = fake_co_open_image("one", "c0");
    g_autoptr(BlockDriverState) two = fake_co_open_image("two", "d0");
    Load load = { .node = one };
    IOThread *threads[THREADS];
    for (int i = 0; i < 2; i++) {
        load.users[i].name = "";
        g_assert_true(fake_co_attach(&load.users[i], one, 0, BLK_PERM_ALL, &error_abort));
    }
    for (int i = 0; i < THREADS; i++) {
        g_autofree char *id = g_strdup_printf("t%d", i);
        threads[i] = iothread_create(id, &error_abort);
        for (int k = 0; k < COROUTINES; k++) {
            Worker *worker = g_new(Worker, 1);
            *worker = (Worker) { .load = &load, .index = i * COROUTINES + k };
            qatomic_inc(&load.running);
            aio_bh_schedule_oneshot(iothread_get_aio_context(threads[i]), start_worker, worker);
        }
    }
    /* Threads that have not had their turn yet would prove nothing. */
    for (int round = 0; round < ROUNDS || qatomic_read(&load.done) < THREADS; round++) {
        BlockDriverState *from = round % 2 ? two : one, *to = round % 2 ? one : two;
        BdrvFreeze *freeze = bdrv_co_freeze_node(from);
        g_assert_cmpint(qatomic_read(&load.inside), ==, 0);
        load.plain++;
        BdrvFreeze *nested = round % 3 == 0 ? bdrv_co_freeze_node(from->file->bs) : NULL;
        g_assert_true(bdrv_co_replace_node(from, to, &error_abort));
        load.plain++;
        bdrv_thaw(freeze);
        bdrv_thaw(nested);
        co_pause();
    }
    qatomic_store_release(&load.stop, true);
    while (qatomic_load_acquire(&load.running)) {
        co_pause();
    }
    for (int i = 0; i < THREADS; i++) {
        iothread_stop(threads[i]);
        iothread_unref(threads[i]);
    }
    g_assert_cmpint(load.done, >=, THREADS);
    fake_co_detach(&load.users[0]);
    fake_co_detach(&load.users[1]);
}

int main(int argc, char **argv)
{
    static const FakeCase cases[] = {
        { "/freeze/nested/ends-with-the-last", co_nests },
        { "/freeze/branch/others-run", co_other_branch_runs },
        { "/freeze/attach/joins-the-freeze", co_attach_above_frozen },
        { "/freeze/dead-parent/is-left-alone", co_dead_parent },
        { "/freeze/job/is-waited-for", co_waits_for_job },
        { "/freeze/activity/is-waited-for", co_waits_for_activity },
        { "/freeze/threads/no-request-sees-a-change", co_many_threads },
    };
    return fake_main(argc, argv, cases, ARRAY_SIZE(cases));
}
