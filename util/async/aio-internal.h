/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of the event loop: what event-loop.c and the files beside it share.
 */
#ifndef AIO_INTERNAL_H
#define AIO_INTERNAL_H

#include <poll.h>

#include "block/aio.h"
#include "qemu/thread.h"

typedef struct AioHandler AioHandler;
typedef struct LaioState LaioState;
typedef struct LuringState LuringState;
typedef struct PoolClient PoolClient;

/* Timers of one clock: a binary heap, the next to expire first. */
typedef struct TimerList {
    QemuMutex lock;
    QEMUTimer **heap;             /* under @lock, as the next two */
    int count;
    int capacity;
    int64_t first_ns;             /* atomic: when heap[0] expires; INT64_MAX if none */
} TimerList;

typedef struct FdMonitor {
    /* Under @lock. */
    QemuMutex lock;
    QLIST_HEAD(, AioHandler) handlers;
    QLIST_HEAD(, AioHandler) dead;        /* to be freed when no callback is on the stack */
    bool has_dead;                        /* set atomically */
    int count;
    int epoll_fd;                         /* set atomically; -1: few descriptors, ppoll is used */
    bool is_stale;                        /* atomic: @fds does not match @handlers */
    int n_always_ready;                   /* set atomically: files that epoll does not take */

    /* Home thread. */
    struct pollfd *fds;                   /* in ppoll mode one per handler, after @extra ones */
    AioHandler **owners;
    int n_fds;
    int capacity;
    QSIMPLEQ_HEAD(, AioHandler) ready;
} FdMonitor;

struct AioContext {
    /* Fixed. */
    unsigned index;
    int event_fd;
    QEMUBH *scheduled_bh;

    /* Any thread, atomic. */
    int refcount;
    QSLIST_HEAD(, QEMUBH) posted;         /* newest first */
    QSLIST_HEAD(, Coroutine) scheduled;   /* newest first */
    bool is_sleeping;                     /* or about to: changes must be notified */
    bool is_notified;                     /* @event_fd was or will be written since */

    /* Any thread, own locks. */
    TimerList timers[QEMU_CLOCK__MAX];
    FdMonitor fds;

    /* Home thread. */
    int depth;                            /* nesting of aio_poll inside callbacks */
    int skipped_waits;                    /* iterations since descriptors were looked at */
    QSIMPLEQ_HEAD(, QEMUBH) bh_ready;     /* in order */
    QLIST_HEAD(, AioDeferred) deferred;
    QLIST_HEAD(, AioPoller) pollers;
    int64_t poll_ns;                      /* how long to poll before sleeping, adapted */
    int64_t wait_ns;                      /* how long waits were lately, in the weighted mean */
    LaioState *laio;
    LuringState *luring;
    bool luring_is_refused;               /* the kernel did not want to make one */
    PoolClient *pool;

    /* Any thread, atomic. */
    int64_t poll_max_ns;
    int64_t poll_grow;
    int64_t poll_shrink;
    int64_t poll_weight;
    int64_t max_batch;

    /* Under the lock of all contexts. */
    QLIST_ENTRY(AioContext) next;
};

/* ---- event-loop.c ---------------------------------------------------------------------------- */
/**
 * One iteration that waits at most @max_wait_ns (-1: no limit), also for @extra descriptors, whose
 * revents are set.  Returns whether any callback was called.
 */
bool aio_iterate(AioContext *ctx, int64_t max_wait_ns, struct pollfd *extra, int n_extra);
/** Call aio_notify for every context. */
void aio_notify_all(void);
/** The main loop's context is made by main-loop.c. */
void aio_set_main_context(AioContext *ctx);

/* ---- bottom-half.c --------------------------------------------------------------------------- */
bool aio_bh_dispatch(AioContext *ctx);
/** Free bottom halves that were deleted, when the context goes. */
void aio_bh_done(AioContext *ctx);
/** Whether any is waiting to be called. */
static inline bool aio_bh_waiting(AioContext *ctx)
{
    return qatomic_load_acquire(&ctx->posted.first) || !QSIMPLEQ_EMPTY(&ctx->bh_ready);
}

/* ---- timer.c --------------------------------------------------------------------------------- */
void aio_timers_init(AioContext *ctx);
void aio_timers_done(AioContext *ctx);
/** Nanoseconds until the first timer is due, 0 if one is; -1: there is none. */
int64_t aio_timers_deadline(AioContext *ctx);
bool aio_timers_run(AioContext *ctx);

/* ---- fd-monitor.c ---------------------------------------------------------------------------- */
void fd_monitor_init(FdMonitor *m);
void fd_monitor_done(FdMonitor *m);
/** Wait for descriptors; remembers which are ready. */
void fd_monitor_wait(FdMonitor *m, int64_t timeout_ns, struct pollfd *extra, int n_extra);
bool fd_monitor_dispatch(FdMonitor *m);
/** Free handlers removed meanwhile; no callback of this loop may be on the stack. */
void fd_monitor_reap(FdMonitor *m);
/** Watch without counting as progress: the loop's own event_fd. */
void fd_monitor_add_internal(FdMonitor *m, int fd, IOHandler *io_read, void *opaque);

/* ---- coroutine.c ----------------------------------------------------------------------------- */
void aio_run_scheduled_coroutines(void *opaque);

/* ---- engines, made at first use -------------------------------------------------------------- */
void laio_done(LaioState *s);
void luring_done(LuringState *s);
void pool_client_free(PoolClient *client);

/* ---- file-io.c: what linux-aio and io_uring have in common ----------------------------------- */
/**
 * Account for a finished step of @io that the kernel answered with @res.
 * Returns true when the transfer is over and io->ret is set; false when io->rest is to be
 * submitted at io->offset + io->done.
 */
bool aio_file_step_done(AioFileIO *io, int64_t res);
/** Prepare a record; to be called first by each engine. */
static inline void aio_file_start(AioFileIO *io)
{
    io->done = 0;
    io->ret = 0;
    io->rest = NULL;
}
/** Free what the engine attached and call the submitter back. */
void aio_file_complete(AioFileIO *io);
/** The part still to be transferred. */
static inline const struct iovec *aio_file_iov(const AioFileIO *io, int *niov)
{
    *niov = io->rest ? io->n_rest : io->niov;
    return io->rest ? io->rest : io->iov;
}
/** Whether @n requests, the last of which is @io, are to be submitted without waiting for more. */
static inline bool aio_file_batch_is_full(const AioContext *ctx, const AioFileIO *io, int n)
{
    int64_t of_loop = qatomic_read(&ctx->max_batch);

    return (io->max_batch && n >= io->max_batch) || (of_loop && n >= of_loop);
}
int coroutine_fn aio_file_co_submit(void (*submit)(AioFileIO *io), AioFileIO *io);

#endif
