/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Coroutines: functions with their own stack that give up the thread where they would wait.
 *
 * - qemu_coroutine_enter starts or continues one; it returns when the coroutine yields or ends.
 *   A coroutine that ends is freed by itself.
 * - Whoever makes an inactive coroutine continue uses aio_co_wake, from any thread: the coroutine
 *   goes on in the loop it last ran in.  qemu_coroutine_enter is for starting, and for the loop's
 *   own thread only.
 * - A coroutine must be woken once per yield.  It may be woken before it has yielded, by another
 *   thread or by itself; it then goes on after its yield.
 * - The stack has 256 KiB and a guard page.  Arrays above a few KiB belong on the heap.
 * - Only co_run leads from plain code into a coroutine and waits for it.
 */
#ifndef BLOCK_COROUTINE_H
#define BLOCK_COROUTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qemu/compiler.h"
#include "qemu/timer.h"

typedef struct AioContext AioContext;
typedef struct Coroutine Coroutine;
typedef void coroutine_fn CoroutineEntry(void *opaque);

/* ---- life ------------------------------------------------------------------------------------ */
/** Make a coroutine that will run @entry(@opaque) when first entered. */
Coroutine *qemu_coroutine_create(CoroutineEntry *entry, void *opaque);

/**
 * Run @co in this thread until it yields or ends.
 * Context: the thread of the loop that @co last ran in, or any for a new one; @co not running.
 */
void qemu_coroutine_enter(Coroutine *co);

/**
 * Is little left of this coroutine's stack?  Then a function that may recurse deeply goes on with a
 * new one, by qemu_co_call().  False outside of coroutines.
 */
bool qemu_co_stack_is_low(void);
/** Run @fn(@opaque) in a coroutine of its own, and wait until it has ended. */
void coroutine_fn qemu_co_call(CoroutineEntry *fn, void *opaque);

/** Like qemu_coroutine_enter, with @ctx (the current thread's loop) as its home from now on. */
void qemu_aio_coroutine_enter(AioContext *ctx, Coroutine *co);

/** Give the thread back to whoever entered; returns when the coroutine is entered again. */
void coroutine_fn qemu_coroutine_yield(void);

/** The running coroutine; outside any, an object that stands for the thread's own stack. */
Coroutine *qemu_coroutine_self(void);

/** Whether the caller runs in a coroutine. */
bool qemu_in_coroutine(void);

/** True while @co runs, or waits for a coroutine that it entered.  Same thread only. */
bool qemu_coroutine_entered(const Coroutine *co);

/** The loop that @co last ran in, where aio_co_wake continues it; NULL if it never ran. */
AioContext *qemu_coroutine_get_aio_context(const Coroutine *co);

/**
 * The bridge from plain code: run @entry(@opaque) as a coroutine, and the current thread's loop
 * until it ends.  Whatever is ready in the loop meanwhile runs too; GLib sources do not.
 * Context: a loop thread, not in a coroutine.
 */
void co_run(CoroutineEntry *entry, void *opaque);

/* ---- waking ---------------------------------------------------------------------------------- */
/**
 * Continue @co in its loop.  Any thread.
 * From a coroutine of the same loop: after that one yields.  From plain code of the same loop: at
 * once, before this returns.  Else soon.
 */
void aio_co_wake(Coroutine *co);

/** Run or continue @co in @ctx soon, never before this returns.  Any thread. */
void aio_co_schedule(AioContext *ctx, Coroutine *co);

/** Run or continue @co in @ctx: as aio_co_wake does, but @ctx becomes its home. */
void aio_co_enter(AioContext *ctx, Coroutine *co);

/** Continue the calling coroutine in the thread of @ctx. */
void coroutine_fn aio_co_reschedule_self(AioContext *ctx);

/* ---- sleeping -------------------------------------------------------------------------------- */
/* A sleep that can be ended early.  Zeroed: nobody sleeps. */
typedef struct QemuCoSleep {
    Coroutine *to_wake;
} QemuCoSleep;

/** Sleep for @ns of @type's time. */
void coroutine_fn qemu_co_sleep_ns(QEMUClockType type, int64_t ns);

/** The same until qemu_co_sleep_wake(@w). */
void coroutine_fn qemu_co_sleep_ns_wakeable(QemuCoSleep *w, QEMUClockType type, int64_t ns);

/** Sleep until qemu_co_sleep_wake(@w). */
void coroutine_fn qemu_co_sleep(QemuCoSleep *w);

/** End the sleep; nothing happens when nobody sleeps.  Any thread while @w is kept alive. */
void qemu_co_sleep_wake(QemuCoSleep *w);

/** Wait until @fd, watched by nobody else, can be read. */
void coroutine_fn yield_until_fd_readable(int fd);

#endif
