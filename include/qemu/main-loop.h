/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The main thread's loop: its AioContext, GLib's default context and signals, in one wait.
 *
 * - qemu_init_main_loop comes first in every program and test that uses a loop.
 * - The machine lock ("bql") guards the emulated machine's registers.  The main loop drops it while
 *   it sleeps, if it holds it.  Block code neither takes nor needs it.
 */
#ifndef QEMU_MAIN_LOOP_H
#define QEMU_MAIN_LOOP_H

#include <stdbool.h>

#include "block/aio.h"
#include "qemu/thread.h"

/** Make the calling thread the main thread and give it its loop.  Once per process. */
bool qemu_init_main_loop(Error **errp);

/**
 * Wait for and handle what the main AioContext, GLib and signals bring: one iteration.
 * @nonblocking: only what is ready.
 * Context: main thread, not in a coroutine, not in one of the loop's callbacks.
 */
void main_loop_wait(bool nonblocking);

/** Make a sleeping main loop go round once.  Any thread. */
void qemu_notify_event(void);

/** Watch @fd in the main loop; see aio_set_fd_handler. */
void qemu_set_fd_handler(int fd, IOHandler *io_read, IOHandler *io_write, void *opaque);

/** A bottom half of the main loop; see aio_bh_new. */
#define qemu_bh_new(cb, opaque) aio_bh_new_full(qemu_get_aio_context(), cb, opaque, #cb)

/* What a signal's sender told; @pid and @uid are 0 when the kernel does not know. */
typedef struct QemuSignalInfo {
    int signo;
    int pid;
    unsigned uid;
} QemuSignalInfo;
typedef void QemuSignalHandler(const QemuSignalInfo *info, void *opaque);

/**
 * Handle @signo by calling @handler in the main loop, as often as it is delivered.
 * Blocks the signal in this thread and in all started later: call it before starting any.
 * NULL: unblock it and give it back its default.
 */
void qemu_main_loop_set_signal(int signo, QemuSignalHandler *handler, void *opaque);

/* ---- the machine lock ------------------------------------------------------------------------ */
void bql_lock(void);
void bql_unlock(void);
/** Whether the calling thread holds it. */
bool bql_locked(void);

#endif
