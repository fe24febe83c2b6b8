/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The request path against an array in memory: random, unaligned, concurrent requests on raw over a
 * file, from the main loop and from iothreads, with the alignment of both nodes varied.
 *
 * Each worker owns every n-th piece of the disk, so that its content is known at any time; pieces
 * begin and end inside alignment blocks, so that read-modify-write cycles of neighbours meet.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/block_int.h"
#include "block/freeze.h"
#include "qemu/atomic.h"
#include "qemu/iothread.h"
#include "qemu/main-loop.h"

#include "../../lib/testlib.h"

#define DISK_BYTES (1 * MiB)
#define WORKERS 6

typedef struct Setup {
    BlockBackend *blk;
    uint8_t *model;
    uint32_t align;
    int64_t piece; /* bytes; no multiple of the alignment */
    BlockdevAioOptions aio;
    int n_iothreads;
    int requests;
    int running; /* atomic */
    Coroutine *waiter;
} Setup;

typedef struct Worker {
    Setup *setup;
    GRand *rand;
    int index;
} Worker;

/* ---- half of the requests by coroutine, half with a callback --------------------------------- */

typedef struct Call {
    Coroutine *co;
    int ret;
} Call;

static void call_done(void *opaque, int ret)
{
    Call *call = opaque;

    call->ret = ret;
    aio_co_wake(call->co);
}

static int coroutine_fn co_readv(Worker *w, int64_t offset, QEMUIOVector *qiov)
{
    Call call = { .co = qemu_coroutine_self() };

    if (!w->rand || g_rand_boolean(w->rand)) {
        return blk_co_preadv(w->setup->blk, offset, qiov->size, qiov, 0);
    }
    blk_aio_preadv(w->setup->blk, offset, qiov, 0, call_done, &call);
    qemu_coroutine_yield();
    return call.ret;
}

static int coroutine_fn co_writev(Worker *w, int64_t offset, QEMUIOVector *qiov, unsigned flags)
{
    Call call = { .co = qemu_coroutine_self() };

    if (g_rand_boolean(w->rand)) {
        return blk_co_pwritev(w->setup->blk, offset, qiov->size, qiov, flags);
    }
    blk_aio_pwritev(w->setup->blk, offset, qiov, flags, call_done, &call);
    qemu_coroutine_yield();
    return call.ret;
}

/* ---- the workers ----------------------------------------------------------------------------- */

static void coroutine_fn co_check_read(Worker *w, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc(bytes);
    struct iovec iov[3] = {
        { buf, bytes / 3 }, { buf + bytes / 3, bytes / 3 },
        { buf + 2 * (bytes / 3), bytes - 2 * (bytes / 3) },
    };
    QEMUIOVector qiov;

    qemu_iovec_init_external(&qiov, iov, 3);
    g_assert_cmpint(co_readv(w, offset, &qiov), ==, 0);
    g_assert_cmpmem(buf, bytes, w->setup->model + offset, bytes);
}

static void coroutine_fn co_write(Worker *w, int64_t offset, int64_t bytes)
{
    uint8_t *model = w->setup->model + offset;
    unsigned flags = g_rand_int_range(w->rand, 0, 8) ? 0 : BDRV_REQ_FUA;
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, model, bytes);

    memset(model, g_rand_int_range(w->rand, 0, 256), bytes);
    g_assert_cmpint(co_writev(w, offset, &qiov, flags), ==, 0);
}

static void coroutine_fn co_zero(Worker *w, int64_t offset, int64_t bytes)
{
    unsigned flags = g_rand_int_range(w->rand, 0, 2) ? 0 : BDRV_REQ_MAY_UNMAP;

    memset(w->setup->model + offset, 0, bytes);
    g_assert_cmpint(blk_co_pwrite_zeroes(w->setup->blk, offset, bytes, flags), ==, 0);
}

static void coroutine_fn co_worker(void *opaque)
{
    Worker *w = opaque;
    Setup *setup = w->setup;

    for (int i = 0; i < setup->requests; i++) {
        int64_t round = g_rand_int_range(w->rand, 0, DISK_BYTES / (setup->piece * WORKERS));
        int64_t within = g_rand_int_range(w->rand, 0, setup->piece);
        int64_t bytes = g_rand_int_range(w->rand, 1, setup->piece - within + 1);
        int64_t offset = (round * WORKERS + w->index) * setup->piece + within;

        switch (g_rand_int_range(w->rand, 0, 10)) {
        case 0 ... 3:
            co_check_read(w, offset, bytes);
            break;
        case 4 ... 7:
            co_write(w, offset, bytes);
            break;
        case 8:
            co_zero(w, offset, bytes);
            break;
        default:
            g_assert_cmpint(blk_co_flush(setup->blk), ==, 0);
            break;
        }
    }
    g_rand_free(w->rand);
    g_free(w);
    if (qatomic_fetch_dec(&setup->running) == 1) {
        aio_co_wake(setup->waiter);
    }
}

static void set_alignment(BlockDriverState *bs, uint32_t align)
{
    bs->bl.request_alignment = align;
    bs->file->bs->bl.request_alignment = align;
}

static void coroutine_fn co_setup(Setup *setup, const char *path)
{
    QDict *options = qdict_new();
    g_autoptr(BlockDriverState) bs = NULL;

    qdict_put_str(options, "driver", "raw");
    qdict_put_str(options, "file.driver", "file");
    qdict_put_str(options, "file.filename", path);
    qdict_put_str(options, "file.aio", BlockdevAioOptions_str(setup->aio));
    bdrv_co_control_lock();
    bs = bdrv_co_open(NULL, NULL, options, BDRV_O_RDWR | BDRV_O_UNMAP, &error_abort);
    setup->blk = blk_co_new_with_bs(bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE, BLK_PERM_ALL,
                                    &error_abort);
    set_alignment(bs, setup->align);
    bdrv_co_control_unlock();
}

static void coroutine_fn co_freeze_now_and_then(Setup *setup)
{
    for (int i = 0; i < 20 && qatomic_read(&setup->running) > 1; i++) {
        bdrv_co_control_lock();
        BdrvFreeze *freeze = bdrv_co_freeze_node(blk_bs(setup->blk));

        g_assert_true(bdrv_is_frozen(blk_bs(setup->blk)));
        bdrv_thaw(freeze);
        bdrv_co_control_unlock();
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, 200000);
    }
}

static void coroutine_fn co_run_setup(void *opaque)
{
    Setup *setup = opaque;
    g_autofree char *path = test_tmpfile("disk.raw");
    g_autoptr(GRand) rand = test_rand_new();
    IOThread *threads[4] = { 0 };

    setup->model = g_malloc0(DISK_BYTES);
    g_assert_true(g_file_set_contents(path, (char *)setup->model, DISK_BYTES, NULL));
    co_setup(setup, path);
    for (int i = 0; i < setup->n_iothreads; i++) {
        g_autofree char *id = g_strdup_printf("io%d", i);

        threads[i] = iothread_create(id, &error_abort);
    }

    setup->running = WORKERS + 1;
    setup->waiter = qemu_coroutine_self();
    for (int i = 0; i < WORKERS; i++) {
        Worker *w = g_new(Worker, 1);

        *w = (Worker){ setup, g_rand_new_with_seed(g_rand_int(rand)), i };
        aio_co_schedule(setup->n_iothreads
                            ? iothread_get_aio_context(threads[i % setup->n_iothreads])
                            : qemu_get_aio_context(),
                        qemu_coroutine_create(co_worker, w));
    }
    co_freeze_now_and_then(setup);
    if (qatomic_fetch_dec(&setup->running) != 1) {
        qemu_coroutine_yield();
    }

    Worker all = { .setup = setup };
    co_check_read(&all, 0, DISK_BYTES);
    bdrv_co_control_lock();
    blk_co_unref(setup->blk);
    bdrv_co_control_unlock();
    for (int i = 0; i < setup->n_iothreads; i++) {
        iothread_unref(threads[i]);
    }
    g_free(setup->model);
}

static void run(Setup setup)
{
    setup.requests = g_test_quick() ? 300 : 3000;
    setup.piece = 700;
    co_run(co_run_setup, &setup);
    setup.piece = 20001;
    co_run(co_run_setup, &setup);
}

static void test_main_loop(void)
{
    for (uint32_t align = 1; align <= 4096; align = align == 1 ? 512 : align * 8) {
        run((Setup){ .align = align, .aio = BLOCKDEV_AIO_OPTIONS_THREADS });
    }
}

static void test_iothreads(void)
{
    run((Setup){ .align = 1, .aio = BLOCKDEV_AIO_OPTIONS_THREADS, .n_iothreads = 3 });
    run((Setup){ .align = 512, .aio = BLOCKDEV_AIO_OPTIONS_THREADS, .n_iothreads = 3 });
    run((Setup){ .align = 4096, .aio = BLOCKDEV_AIO_OPTIONS_THREADS, .n_iothreads = 4 });
}

static void test_io_uring(void)
{
    if (!luring_setup(NULL)) {
        g_test_skip("this kernel or build has no io_uring");
        return;
    }
    run((Setup){ .align = 512, .aio = BLOCKDEV_AIO_OPTIONS_IO_URING, .n_iothreads = 2 });
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    bdrv_init();
    g_test_add_func("/request-path/main-loop/content-is-the-model's", test_main_loop);
    g_test_add_func("/request-path/iothreads/content-is-the-model's", test_iothreads);
    g_test_add_func("/request-path/io-uring/content-is-the-model's", test_io_uring);
    return g_test_run();
}
