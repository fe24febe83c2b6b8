/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of coroutines, for util/async/ only.
 */
#ifndef BLOCK_COROUTINE_INT_H
#define BLOCK_COROUTINE_INT_H

#include "block/coroutine.h"
#include "qemu/queue.h"

typedef QSIMPLEQ_HEAD(CoroutineList, Coroutine) CoroutineList;

/* Lies at the top of its own stack; a thread's own stack has one in thread-local storage. */
struct Coroutine {
    /* The thread that runs or last ran it. */
    CoroutineEntry *entry;
    void *opaque;
    Coroutine *caller;           /* who entered; NULL while inactive */
    void *context;               /* backend's saved state while not running */
    bool ended;
    CoroutineList wakeups;       /* to be entered as soon as this one yields */

    /* Any thread, atomically. */
    AioContext *ctx;
    const char *scheduled;       /* function that posted it to a loop, until it is entered */

    /* Whoever holds it inactive: the list it waits in. */
    QSIMPLEQ_ENTRY(Coroutine) queue_next;
    QSLIST_ENTRY(Coroutine) scheduled_next;   /* AioContext::scheduled, or a pool */

    /* Fixed. */
    void *stack_low;             /* first usable byte */
    size_t stack_size;

    /* Sanitizers. */
    void *asan_fake_stack;
    void *tsan_fiber;
};

/* ---- backend: coroutine-switch.S, or coroutine-ucontext.c ------------------------------------ */
/**
 * Make a context that runs coroutine_main() on the stack of @co when it is first switched to.
 * Returns: the context.
 */
void *coroutine_context_init(Coroutine *co);

/** Save the running context to *@save and continue @load; returns when switched back. */
void coroutine_context_switch(void **save, void *load);

/** First function on every new stack; never returns. */
void coroutine_main(void) QEMU_NORETURN;

/* ---- coroutine-pool.c ------------------------------------------------------------------------ */
/** A coroutine with a stack, from the pools if possible; but the fixed fields all is stale. */
Coroutine *coroutine_pool_get(void);
/** Give it back after its end; freed if the pools are full. */
void coroutine_pool_put(Coroutine *co);

#endif
