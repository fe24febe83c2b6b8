/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io_uring: one io_uring_enter per iteration of the loop; completions are read from the ring in
 * user memory, asked before the loop sleeps and when the ring's descriptor says so.
 */
#include "qemu/osdep.h"

#include <liburing.h>

#include "aio-internal.h"
#include "qemu/error.h"

#define LURING_ENTRIES 256

struct LuringState {
    AioContext *ctx;
    struct io_uring ring;
    int in_kernel;                        /* submitted and not yet reaped */
    int prepared;                         /* in the submission ring */
    QSIMPLEQ_HEAD(, AioFileIO) waiting;   /* did not fit there yet */
    int n_waiting;
    AioDeferred submit;
    AioPoller poller;
};

/* ---- submission ------------------------------------------------------------------------------ */
static void luring_prepare(struct io_uring_sqe *sqe, AioFileIO *io)
{
    int niov;
    const struct iovec *iov = aio_file_iov(io, &niov);
    int64_t offset = io->offset + io->done;

    switch (io->op) {
    case AIO_FILE_READ:
        io_uring_prep_readv(sqe, io->fd, iov, niov, offset);
        break;
    case AIO_FILE_WRITE:
        io_uring_prep_writev(sqe, io->fd, iov, niov, offset);
        break;
    case AIO_FILE_FDATASYNC:
        io_uring_prep_fsync(sqe, io->fd, IORING_FSYNC_DATASYNC);
        break;
    }
    io_uring_sqe_set_data(sqe, io);
}

static void luring_fill_ring(LuringState *s)
{
    AioFileIO *io;

    while ((io = QSIMPLEQ_FIRST(&s->waiting))) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);

        if (!sqe) {
            break;
        }
        QSIMPLEQ_REMOVE_HEAD(&s->waiting, next);
        s->n_waiting--;
        luring_prepare(sqe, io);
        s->prepared++;
    }
}

static void luring_submit_waiting(void *opaque)
{
    LuringState *s = opaque;
    int ret;

    do {
        luring_fill_ring(s);
        if (s->prepared == 0) {
            return;
        }
        ret = io_uring_submit(&s->ring);
        if (ret > 0) {
            s->prepared -= ret;
            s->in_kernel += ret;
        }
    } while (ret > 0 || ret == -EINTR);
    /*
     * -EAGAIN, -EBUSY: the kernel is short of memory or wants its completions collected first.
     * What is left stays in the ring and goes with the next completion, or if there is none to
     * wait for, soon.
     */
    if (ret < 0 && ret != -EAGAIN && ret != -EBUSY) {
        fprintf(stderr, "io_uring: %s\n", strerror(-ret));
        abort();
    }
    if (s->in_kernel == 0) {
        aio_bh_schedule_oneshot(s->ctx, luring_submit_waiting, s);
    }
}

static void luring_enqueue(LuringState *s, AioFileIO *io)
{
    QSIMPLEQ_INSERT_TAIL(&s->waiting, io, next);
    s->n_waiting++;
    if (aio_file_batch_is_full(s->ctx, io, s->n_waiting)) {
        luring_submit_waiting(s);
    } else {
        aio_defer_call(s->ctx, &s->submit);
    }
}

/* ---- completion ------------------------------------------------------------------------------ */
static void luring_one_done(LuringState *s, AioFileIO *io, int res)
{
    s->in_kernel--;
    if (res == -EINTR || res == -EAGAIN) {
        /* Nothing was done; the kernel asks us to try again. */
        luring_enqueue(s, io);
    } else if (aio_file_step_done(io, res)) {
        aio_file_complete(io);
    } else {
        luring_enqueue(s, io);
    }
}

static bool luring_reap(void *opaque)
{
    LuringState *s = opaque;
    struct io_uring_cqe *cqe;
    bool progress = false;

    while (s->in_kernel > 0 && io_uring_peek_cqe(&s->ring, &cqe) == 0) {
        AioFileIO *io = io_uring_cqe_get_data(cqe);
        int res = cqe->res;

        /* Given back before the callback, which may poll the loop again. */
        io_uring_cqe_seen(&s->ring, cqe);
        luring_one_done(s, io, res);
        progress = true;
    }
    if (s->prepared > 0 || !QSIMPLEQ_EMPTY(&s->waiting)) {
        aio_defer_call(s->ctx, &s->submit);
    }
    return progress;
}

static void luring_fd_readable(void *opaque)
{
    luring_reap(opaque);
}

/* ---- one per loop ---------------------------------------------------------------------------- */
static int luring_init_ring(struct io_uring *ring)
{
    int ret = -EINVAL;

#if defined(IORING_SETUP_COOP_TASKRUN) && defined(IORING_SETUP_SINGLE_ISSUER)
    /*
     * Completion work is done at our next system call, not by interrupting us.  Since Linux 6.0.
     * DEFER_TASKRUN would save more, but then the ring's descriptor does not wake a poll.
     */
    ret = io_uring_queue_init(LURING_ENTRIES, ring,
                              IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN |
                              IORING_SETUP_TASKRUN_FLAG);
#endif
    if (ret == -EINVAL) {
        ret = io_uring_queue_init(LURING_ENTRIES, ring, 0);
    }
    return ret;
}

bool luring_is_built_in(void)
{
    return true;
}

bool luring_setup(Error **errp)
{
    AioContext *ctx = qemu_get_current_aio_context();
    LuringState *s;
    int ret;

    assert(ctx);
    if (ctx->luring) {
        return true;
    }
    if (ctx->luring_is_refused && !errp) {
        return false; /* nobody waits for the reason: not asked again for each request */
    }
    s = g_new0(LuringState, 1);
    s->ctx = ctx;
    ret = luring_init_ring(&s->ring);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not initialize io_uring");
        ctx->luring_is_refused = true;
        g_free(s);
        return false;
    }
    io_uring_ring_dontfork(&s->ring);
    QSIMPLEQ_INIT(&s->waiting);
    s->submit.fn = luring_submit_waiting;
    s->submit.opaque = s;
    s->poller.poll = luring_reap;
    s->poller.opaque = s;
    aio_add_poller(ctx, &s->poller);
    aio_set_fd_handler(ctx, s->ring.ring_fd, luring_fd_readable, NULL, s);
    ctx->luring = s;
    return true;
}

void luring_done(LuringState *s)
{
    if (!s) {
        return;
    }
    assert(s->in_kernel == 0 && s->prepared == 0 && QSIMPLEQ_EMPTY(&s->waiting));
    aio_set_fd_handler(s->ctx, s->ring.ring_fd, NULL, NULL, NULL);
    io_uring_queue_exit(&s->ring);
    g_free(s);
}

void luring_submit(AioFileIO *io)
{
    LuringState *s = qemu_get_current_aio_context()->luring;

    assert(s);
    aio_file_start(io);
    luring_enqueue(s, io);
}

int coroutine_fn luring_co_submit(AioFileIO *io)
{
    return aio_file_co_submit(luring_submit, io);
}
