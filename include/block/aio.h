/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop of one thread: descriptors, bottom halves, timers, and asynchronous file I/O.
 *
 * - Each loop thread (main, iothreads) has one AioContext, all its life: that thread is its home.
 *   Callbacks run there, never in a coroutine, and may do anything but block.
 * - Any thread: bottom halves, timers, aio_set_fd_handler, aio_notify, reference counts.
 *   Home thread only: aio_poll, pollers, deferred calls, file I/O.
 *
 * One iteration, in this order:
 *   1. deferred calls (aio_defer_call): batches are submitted
 *   2. pollers and descriptors are asked; the loop sleeps only if nothing is ready or due
 *   3. bottom halves scheduled before this point, in order of scheduling
 *   4. callbacks of ready descriptors, reads before writes
 *   5. timers that are due
 *   6. deferred calls again, so that nothing waits for a next iteration
 */
#ifndef BLOCK_AIO_H
#define BLOCK_AIO_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "block/coroutine.h"
#include "qemu/compiler.h"
#include "qemu/iov.h"
#include "qemu/queue.h"
#include "qemu/timer.h"

typedef struct AioContext AioContext;
typedef struct Error Error;
typedef struct QEMUBH QEMUBH;
typedef void QEMUBHFunc(void *opaque);
typedef void IOHandler(void *opaque);

/* ---- life ------------------------------------------------------------------------------------ */
/**
 * Make a loop; the caller owns a reference.  It has no home until aio_context_set_home.
 * Returns: NULL with @errp set when the system has no descriptors left.
 */
AioContext *aio_context_new(Error **errp);
AioContext *aio_context_ref(AioContext *ctx);
/** NULL is fine.  The last reference must not be dropped inside the loop's own callbacks. */
void aio_context_unref(AioContext *ctx);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AioContext, aio_context_unref)

/** Make the calling thread the home of @ctx, or (NULL) let it have no loop any more. */
void aio_context_set_home(AioContext *ctx);

/** The main loop's context. */
AioContext *qemu_get_aio_context(void);

/** The context of the calling thread; NULL in a thread that has no loop. */
AioContext *qemu_get_current_aio_context(void);

/** Whether the calling thread is the home of @ctx. */
bool in_aio_context_home_thread(const AioContext *ctx);

/** A small number of the calling thread's loop: 0, 1, ...; reused when a loop ends.  0 without. */
unsigned aio_current_loop_index(void);

/* ---- running --------------------------------------------------------------------------------- */
/**
 * Run one iteration.
 * @blocking: sleep until there is something to do.
 * Context: home thread, not in a coroutine; callbacks may call it again.
 * Returns: whether any callback was called.
 */
bool aio_poll(AioContext *ctx, bool blocking);

/** Make a sleeping loop look at its state again.  Any thread; cheap unless it really sleeps. */
void aio_notify(AioContext *ctx);

/**
 * Before sleeping, ask pollers for up to @max_ns if that has paid off lately; 0: never (default).
 * @grow, @shrink: factor by which the time is changed, 0: the default (2, and back to 0).
 * @weight: the last wait counts 1/2^@weight against those before it; 0: it alone counts.
 */
void aio_context_set_poll_params(AioContext *ctx, int64_t max_ns, int64_t grow, int64_t shrink,
                                 int64_t weight);

/**
 * linux-aio and io_uring get what an iteration submits at its end; if this is not 0, also as soon
 * as there is so much.  Any thread.
 */
void aio_context_set_max_batch(AioContext *ctx, int64_t max_batch);
int64_t aio_context_max_batch(const AioContext *ctx);

/**
 * Run @cb(@opaque) in @ctx and wait until it returned; nothing of the caller's loop runs meanwhile,
 * so @cb must not wait for that.  Not from a coroutine.
 */
void aio_wait_bh_oneshot(AioContext *ctx, QEMUBHFunc *cb, void *opaque);

/* ---- descriptors ----------------------------------------------------------------------------- */
/**
 * Watch @fd: call @io_read(@opaque) when it can be read (or has hung up), @io_write when it can be
 * written.  Replaces what was set for @fd; both NULL: stop watching, before @fd is closed.
 * Any thread; from another one than the home, a callback may still be running on return.
 */
void aio_set_fd_handler(AioContext *ctx, int fd, IOHandler *io_read, IOHandler *io_write,
                        void *opaque);

/* ---- bottom halves: calls made soon, from the loop's own stack ------------------------------- */
/** Make a bottom half; @name appears in debuggers. Any thread, as all of these. */
#define aio_bh_new(ctx, cb, opaque) aio_bh_new_full(ctx, cb, opaque, #cb)
QEMUBH *aio_bh_new_full(AioContext *ctx, QEMUBHFunc *cb, void *opaque, const char *name);

/** Call @cb(@opaque) once. */
#define aio_bh_schedule_oneshot(ctx, cb, opaque) \
    aio_bh_schedule_oneshot_full(ctx, cb, opaque, #cb)
void aio_bh_schedule_oneshot_full(AioContext *ctx, QEMUBHFunc *cb, void *opaque,
                                  const char *name);

/** Call it once in the next iteration, however often this is called before. */
void qemu_bh_schedule(QEMUBH *bh);
/** Do not call it, unless scheduled again. */
void qemu_bh_cancel(QEMUBH *bh);
/** Cancel and free it; NULL is fine.  Its own callback may do this. */
void qemu_bh_delete(QEMUBH *bh);

/* ---- hooks of one iteration ------------------------------------------------------------------ */
/* A call at the end of this iteration, once however often it is asked for. */
typedef struct AioDeferred {
    void (*fn)(void *opaque);
    void *opaque;
    bool is_pending;                      /* zeroed at first; then the loop's */
    QLIST_ENTRY(AioDeferred) next;
} AioDeferred;

/** Call @d->fn before the loop of this thread sleeps next.  Home thread. */
void aio_defer_call(AioContext *ctx, AioDeferred *d);
/** Take back aio_defer_call. */
void aio_defer_cancel(AioContext *ctx, AioDeferred *d);

/* Something that may have finished without a descriptor having said so. */
typedef struct AioPoller {
    bool (*poll)(void *opaque);           /* handle what is finished; whether there was any */
    void *opaque;
    QLIST_ENTRY(AioPoller) next;
} AioPoller;

/** Ask @poller in each iteration, and again and again while the loop polls.  Home thread. */
void aio_add_poller(AioContext *ctx, AioPoller *poller);

/* ---- asynchronous file I/O ------------------------------------------------------------------- */
typedef enum AioFileOp {
    AIO_FILE_READ,
    AIO_FILE_WRITE,
    AIO_FILE_FDATASYNC,
} AioFileOp;

/*
 * One transfer.  The caller fills the first group, and keeps the record and the iovec (not changed)
 * alive until @cb.  Submitted in the current thread's loop, in one batch with all others of the
 * iteration; @cb is called there, never before the submitting call returned.
 *
 * @cb's @ret: 0, or a negative errno.  Short transfers are continued; a read beyond the end of the
 * file gives zeroes; a write that the device cannot take in full gives -ENOSPC.
 */
typedef struct AioFileIO AioFileIO;
struct AioFileIO {
    int fd;
    AioFileOp op;
    int64_t offset;
    const struct iovec *iov;
    int niov;
    size_t bytes;                         /* sum of @iov */
    int64_t max_batch;                    /* go to the kernel when so many wait; 0: no matter */
    void (*cb)(AioFileIO *io, int ret);
    void *opaque;                         /* for @cb */

    /* The engine's. */
    size_t done;
    int ret;
    struct iovec *rest;                   /* heap; what a short transfer left to do */
    int n_rest;
    uint64_t kernel_request[8];           /* linux-aio: struct iocb */
    QSIMPLEQ_ENTRY(AioFileIO) next;
};

/**
 * Linux native AIO, meant for files opened with O_DIRECT; others block in submission.
 * Flushes go to the thread pool.
 */
/** Make the current loop ready for it.  Returns false with @errp set when the kernel refuses. */
bool laio_setup(Error **errp);
/** Start @io; laio_setup must have succeeded in this loop. */
void laio_submit(AioFileIO *io);
/** Do @io, whose cb and opaque need not be set.  Returns as AioFileIO::cb's @ret. */
int coroutine_fn laio_co_submit(AioFileIO *io);

/** io_uring, for any descriptor; see laio_setup.  Always fails in a program built without it. */
bool luring_setup(Error **errp);
/** See laio_submit. */
void luring_submit(AioFileIO *io);
/** See laio_co_submit. */
int coroutine_fn luring_co_submit(AioFileIO *io);
/** Whether this program was built with io_uring. */
bool luring_is_built_in(void);

#endif
