/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux native AIO.  One io_submit per iteration of the loop, or more if batches are limited;
 * completions are read from the kernel's ring in user memory, asked before the loop sleeps and when
 * the eventfd says so.
 */
#include "qemu/osdep.h"

#include <libaio.h>
#include <sys/eventfd.h>

#include "aio-internal.h"
#include "block/thread-pool.h"
#include "qemu/error.h"

#define LAIO_EVENTS 1024
#define LAIO_BATCH 128
#define LAIO_RING_MAGIC 0xa10a10a1

G_STATIC_ASSERT(sizeof(struct iocb) <= sizeof(((AioFileIO *)0)->kernel_request));

/* The kernel's completion ring, mapped at the address that serves as context id. */
typedef struct LaioRing {
    unsigned id;
    unsigned nr;
    unsigned head;                        /* ours */
    unsigned tail;                        /* the kernel's */
    unsigned magic;
    unsigned compat_features;
    unsigned incompat_features;
    unsigned header_length;
    struct io_event events[];
} LaioRing;

struct LaioState {
    AioContext *ctx;
    io_context_t kernel;
    int event_fd;
    int in_kernel;                        /* submitted and not yet reaped */
    bool is_blocked;                      /* the kernel took no more; go on after a completion */
    QSIMPLEQ_HEAD(, AioFileIO) waiting;
    int n_waiting;
    AioDeferred submit;
    AioPoller poller;
};

static struct iocb *iocb_of(AioFileIO *io)
{
    return (struct iocb *)io->kernel_request;
}

/* ---- submission ------------------------------------------------------------------------------ */
static void laio_prepare(LaioState *s, AioFileIO *io)
{
    struct iocb *cb = iocb_of(io);
    int niov;
    const struct iovec *iov = aio_file_iov(io, &niov);

    if (io->op == AIO_FILE_READ) {
        io_prep_preadv(cb, io->fd, iov, niov, io->offset + io->done);
    } else {
        io_prep_pwritev(cb, io->fd, iov, niov, io->offset + io->done);
    }
    cb->data = io;
    io_set_eventfd(cb, s->event_fd);
}

static void laio_failed_bh(void *opaque)
{
    aio_file_complete(opaque);
}

/* The kernel refuses the first one waiting for good; its callback may not be called from here. */
static void laio_fail_first(LaioState *s, int ret)
{
    AioFileIO *io = QSIMPLEQ_FIRST(&s->waiting);

    QSIMPLEQ_REMOVE_HEAD(&s->waiting, next);
    s->n_waiting--;
    io->ret = ret;
    aio_bh_schedule_oneshot(s->ctx, laio_failed_bh, io);
}

static void laio_submit_waiting(void *opaque)
{
    LaioState *s = opaque;

    s->is_blocked = false;
    while (!QSIMPLEQ_EMPTY(&s->waiting) && !s->is_blocked) {
        struct iocb *batch[LAIO_BATCH];
        int n = 0;
        int ret;
        AioFileIO *io;

        QSIMPLEQ_FOREACH(io, &s->waiting, next) {
            if (n == LAIO_BATCH || s->in_kernel + n == LAIO_EVENTS) {
                break;
            }
            batch[n++] = iocb_of(io);
        }
        ret = n ? io_submit(s->kernel, n, batch) : -EAGAIN;
        if (ret == -EAGAIN && s->in_kernel > 0) {
            s->is_blocked = true;
        } else if (ret == -EAGAIN) {
            /* The system's limit, and no completion of ours will tell when to try again. */
            laio_fail_first(s, ret);
        } else if (ret < 0 && ret != -EINTR) {
            laio_fail_first(s, ret);
        }
        for (int i = 0; i < ret; i++) {
            QSIMPLEQ_REMOVE_HEAD(&s->waiting, next);
            s->n_waiting--;
            s->in_kernel++;
        }
    }
}

static void laio_enqueue(LaioState *s, AioFileIO *io)
{
    laio_prepare(s, io);
    QSIMPLEQ_INSERT_TAIL(&s->waiting, io, next);
    s->n_waiting++;
    if (s->is_blocked) {
        return;
    }
    if (aio_file_batch_is_full(s->ctx, io, s->n_waiting)) {
        laio_submit_waiting(s);
    } else {
        aio_defer_call(s->ctx, &s->submit);
    }
}

/* ---- completion ------------------------------------------------------------------------------ */
static void laio_one_done(LaioState *s, const struct io_event *event)
{
    AioFileIO *io = event->data;

    s->in_kernel--;
    if (aio_file_step_done(io, (int64_t)event->res)) {
        aio_file_complete(io);
    } else {
        laio_enqueue(s, io);
    }
}

/* Take one event out of the ring before its callback, which may poll the loop again. */
static bool laio_reap_ring(LaioState *s)
{
    LaioRing *ring = (LaioRing *)s->kernel;
    bool progress = false;

    while (ring->head != qatomic_load_acquire(&ring->tail)) {
        struct io_event event = ring->events[ring->head];

        qatomic_store_release(&ring->head, (ring->head + 1) % ring->nr);
        laio_one_done(s, &event);
        progress = true;
    }
    return progress;
}

static bool laio_reap_syscall(LaioState *s)
{
    struct timespec zero = { 0, 0 };
    struct io_event event;
    bool progress = false;

    while (s->in_kernel > 0 && io_getevents(s->kernel, 0, 1, &event, &zero) == 1) {
        laio_one_done(s, &event);
        progress = true;
    }
    return progress;
}

static bool laio_reap(void *opaque)
{
    LaioState *s = opaque;
    LaioRing *ring = (LaioRing *)s->kernel;
    bool progress;

    if (s->in_kernel == 0) {
        return false;
    }
    if (ring->magic == LAIO_RING_MAGIC && ring->incompat_features == 0) {
        progress = laio_reap_ring(s);
    } else {
        progress = laio_reap_syscall(s);
    }
    if (progress && s->is_blocked) {
        s->is_blocked = false;
        aio_defer_call(s->ctx, &s->submit);
    }
    return progress;
}

static void laio_event_fd_readable(void *opaque)
{
    LaioState *s = opaque;
    uint64_t count;

    while (read(s->event_fd, &count, sizeof(count)) < 0 && errno == EINTR) {
        continue;
    }
    laio_reap(s);
}

/* ---- one per loop ---------------------------------------------------------------------------- */
bool laio_setup(Error **errp)
{
    AioContext *ctx = qemu_get_current_aio_context();
    LaioState *s;
    int ret;

    assert(ctx);
    if (ctx->laio) {
        return true;
    }
    s = g_new0(LaioState, 1);
    s->ctx = ctx;
    s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ret = s->event_fd < 0 ? -errno : io_setup(LAIO_EVENTS, &s->kernel);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not initialize Linux AIO");
        if (s->event_fd >= 0) {
            close(s->event_fd);
        }
        g_free(s);
        return false;
    }
    QSIMPLEQ_INIT(&s->waiting);
    s->submit.fn = laio_submit_waiting;
    s->submit.opaque = s;
    s->poller.poll = laio_reap;
    s->poller.opaque = s;
    aio_add_poller(ctx, &s->poller);
    aio_set_fd_handler(ctx, s->event_fd, laio_event_fd_readable, NULL, s);
    ctx->laio = s;
    return true;
}

void laio_done(LaioState *s)
{
    if (!s) {
        return;
    }
    assert(s->in_kernel == 0 && QSIMPLEQ_EMPTY(&s->waiting));
    aio_set_fd_handler(s->ctx, s->event_fd, NULL, NULL, NULL);
    io_destroy(s->kernel);
    close(s->event_fd);
    g_free(s);
}

static int laio_fdatasync(void *arg)
{
    AioFileIO *io = arg;

    return fdatasync(io->fd) < 0 ? -errno : 0;
}

static void laio_fdatasync_done(void *opaque, int ret)
{
    AioFileIO *io = opaque;

    io->ret = ret;
    aio_file_complete(io);
}

void laio_submit(AioFileIO *io)
{
    LaioState *s = qemu_get_current_aio_context()->laio;

    assert(s);
    aio_file_start(io);
    if (io->op == AIO_FILE_FDATASYNC) {
        thread_pool_submit_aio(laio_fdatasync, io, laio_fdatasync_done, io);
    } else {
        laio_enqueue(s, io);
    }
}

int coroutine_fn laio_co_submit(AioFileIO *io)
{
    return aio_file_co_submit(laio_submit, io);
}
